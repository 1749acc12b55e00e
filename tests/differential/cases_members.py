"""JoinGroup, SyncGroup, Heartbeat, LeaveGroup: members of classic groups.

Both brokers run with group.initial.rebalance.delay.ms=0, group.min.session.timeout.ms=1000 and group.max.size=4.
"""

import time

from case import VERSIONS, Topic
from cases_groups import commit, fetch_offsets
from members import REBALANCING, SHORT, Member, describe, follow, member_case, pair, rebalanced, subscription

GROUP_SIZE_MAX = 4

for v in VERSIONS["JoinGroup"]:
    @member_case(f"join-group/v{v}")
    def _(c, v=v):
        a, b = Member(c, "A"), Member(c, "B")
        a.join(v, "no such member", id="nobody")
        a.join(v, "no protocols", protocols=[])
        a.join(v, "no protocol type", kind="")
        a.join(v, "session too short", session=999)
        a.join(v, "session too long", session=1_800_001)
        a.join(v, "session below zero", session=-1)
        a.join(v, "no group", group="")
        a.enter(v)
        a.join(v, "again before it is synced")
        a.sync()
        b.join(v, "another protocol type", kind="connect")
        b.join(v, "no protocol in common", protocols=["sticky"])
        b.join(v, "no such member", id="nobody")
        if v >= 5:
            a.join(v, "an instance that is not there", instance="nobody")
        joining = b.entering(v)
        a.beat_until(REBALANCING, "while B joins")
        a.sync(note="while B joins")
        joining.waits()
        a.join(v, "again")
        joining.get()
        synced = b.syncing()
        a.sync()
        synced.get()
        b.join(v, "again, as before")
        a.leave()
        b.beat_until(REBALANCING, "after A left")
        b.enter(v)
        b.leave()
        describe(c)


for v in VERSIONS["SyncGroup"]:
    @member_case(f"sync-group/v{v}")
    def _(c, v=v):
        a, b = Member(c, "A"), Member(c, "B")
        a.sync(v, "no such group", generation=0, id="nobody")
        a.sync(v, "no group", group="", generation=0, id="nobody")
        a.enter()
        a.sync(v, "no such member", id="nobody")
        a.sync(v, "no id", id="")
        a.sync(v, "generation before", generation=a.generation - 1)
        a.sync(v, "generation after", generation=a.generation + 1)
        a.sync(v, "generation -1", generation=-1)
        if v >= 3:
            a.sync(v, "an instance that is not there", instance="nobody")
        a.sync(v, "another protocol type", kind="connect")
        a.sync(v, "another protocol", protocol="sticky")
        a.sync(v, "a part for nobody too", parts={a.id: b"mine", "nobody": b"none"})
        a.sync(v, "again", parts={a.id: b"other"})
        joining = b.entering()
        a.beat_until(REBALANCING)
        a.sync(v, "while B joins")
        a.join(note="again")
        joining.get()
        waiting = b.syncing(v).waits()
        a.sync(v, "no part for B", parts={a.id: b"all"})
        waiting.get()
        b.sync(v, "again, with a part", parts={b.id: b"mine"})


@member_case("sync-group/protocol-left-out")
def _(c):
    a = Member(c, "A")
    a.enter()
    fields = {"GroupId": a.group, "GenerationId": a.generation, "MemberId": a.id, "Assignments": []}
    for kind, protocol in ((None, None), ("consumer", None), (None, "range"), ("", ""), ("consumer", ""), ("consumer", "range")):
        c.ask("SyncGroup", 5, f"type {kind} protocol {protocol}", **fields, ProtocolType=kind, ProtocolName=protocol)


for v in VERSIONS["Heartbeat"]:
    @member_case(f"heartbeat/v{v}")
    def _(c, v=v):
        a, b = Member(c, "A"), Member(c, "B")
        a.beat(v, "no such group", generation=0, id="nobody")
        a.beat(v, "no group", group="", generation=0, id="nobody")
        a.join(note="for an id")
        a.beat(v, "with an id that has not joined", generation=0)
        a.enter()
        a.beat(v, "before it is synced")
        a.sync()
        a.beat(v, "stable")
        a.beat(v, "no such member", id="nobody")
        a.beat(v, "no id", id="")
        a.beat(v, "generation before", generation=a.generation - 1)
        a.beat(v, "generation after", generation=a.generation + 1)
        a.beat(v, "generation -1", generation=-1)
        if v >= 3:
            a.beat(v, "an instance that is not there", instance="nobody")
        joining = b.entering()
        a.beat_until(REBALANCING)
        a.beat(v, "while B joins")
        a.leave()
        joining.get()
        a.beat(v, "after it left")


for v in VERSIONS["LeaveGroup"]:
    @member_case(f"leave-group/v{v}")
    def _(c, v=v):
        a, b = Member(c, "A"), Member(c, "B")
        a.leave(v, "no such group", id="nobody")
        a.leave(v, "no group", id="nobody", group="")
        pair(c, a, b)
        a.leave(v, "no such member", id="nobody")
        a.leave(v, "no id", id="")
        if v >= 3:
            a.leave(v, "an instance that is not there", instance="nobody")
            a.leave(v, "an instance that is not there, no id", id="", instance="nobody")
            a.leave(v, "nobody", members=[])
            twice = {"MemberId": b.id, "GroupInstanceId": None}
            b.leave(v, "twice, and somebody else", members=[twice, twice, {"MemberId": "nobody", "GroupInstanceId": None}])
        else:
            b.leave(v)
        a.beat_until(REBALANCING, "after B left")
        a.leave(v)
        a.leave(v, "again")
        describe(c)


@member_case("leave-group/id-that-has-not-joined")
def _(c):
    for v in (1, 3):
        a = Member(c, f"A{v}")
        a.join(note="for an id")
        a.leave(v)
        a.join(note="with the id that left")


# Reports from the field.

@member_case("groups/v0-without-a-rebalance-time-out")
def _(c):
    a, b = Member(c, "A", session=3000), Member(c, "B", session=3000)
    a.enter(0)
    a.sync(0)
    joining = b.entering(0)
    a.beat_until(REBALANCING)
    time.sleep(1)
    joining.waits()
    a.enter(0)
    joining.get()
    synced = b.syncing(0)
    a.sync(0)
    synced.get()
    describe(c)


@member_case("groups/id-that-nobody-uses")
def _(c):
    lost, a = Member(c, "lost", session=SHORT), Member(c, "A", session=SHORT)
    lost.join(note="for an id, and never comes back")
    began = time.monotonic()
    a.enter()
    c.write("no longer than its session", time.monotonic() - began < 1.6)
    lost.join(note="too late")
    a.leave()
    describe(c)


@member_case("groups/id-that-nobody-uses-in-an-empty-group")
def _(c):
    lost, a = Member(c, "lost", session=SHORT), Member(c, "A")
    a.alone()
    lost.join(note="for an id")
    a.leave()
    rebalanced(c)
    describe(c, "with an id that has not joined")
    c.ask("DeleteGroups", 2, "with an id that has not joined", GroupsNames=[c.group])
    lost.join(note="after the group was deleted")


@member_case("groups/static-member-fenced-while-it-waits")
def _(c):
    a, first = Member(c, "A"), Member(c, "first", instance="one")
    second = Member(c, "second", instance="one")
    a.alone()
    waiting = first.joining()
    a.beat_until(REBALANCING)
    other = second.joining()
    waiting.get()
    first.id = next((m for m in c.names if c.names[m] == "first1"), "")
    a.join(note="again")
    other.get()
    synced = second.syncing()
    a.sync()
    synced.get()
    first.beat(note="with the instance and a stranger's id", id="one-stranger", generation=second.generation)
    first.join(note="with the instance and a stranger's id", id="one-stranger")
    second.beat(note="the owner")
    describe(c)


@member_case("groups/static-member-fenced-while-it-syncs")
def _(c):
    a, first, second = Member(c, "A"), Member(c, "first", instance="one"), Member(c, "second", instance="one")
    a.alone()
    joining = first.joining()
    a.beat_until(REBALANCING)
    a.join(note="again")
    joining.get()
    syncing = first.syncing().waits()
    other = second.joining()
    syncing.get()
    a.beat_until(REBALANCING)
    a.join(note="again")
    other.get()
    first.beat(note="fenced")
    first.sync(note="fenced")
    first.leave(note="fenced")


for v in (5, 8, 9):
    @member_case(f"groups/static-member-comes-back/v{v}")
    def _(c, v=v):
        a, b = Member(c, "A", instance="one"), Member(c, "B", instance="two")
        a.join(v)
        a.sync()
        joining = b.joining(v)
        a.beat_until(REBALANCING)
        a.join(v, "again")
        joining.get()
        synced = b.syncing()
        a.sync()
        synced.get()
        follower, leader = Member(c, "new B", instance="two"), Member(c, "new A", instance="one")
        follower.join(v, "in the follower's place")
        follower.sync()
        a.beat(note="sees no rebalance")
        leader.join(v, "in the leader's place")
        leader.sync(parts={})
        follower.beat(note="sees no rebalance")
        a.beat(note="fenced")
        b.join(v, "fenced")
        b.ask("OffsetCommit", 8, "fenced", GroupId=b.group, GenerationIdOrMemberEpoch=b.generation, MemberId=b.id, GroupInstanceId="two",
              Topics=[]).get()
        describe(c)
        wants_more = follower.joining(v, "with other wishes", wants=subscription("more"))
        leader.beat_until(REBALANCING)
        leader.join(v, "again")
        wants_more.get()


@member_case("groups/static-member-comes-back-with-other-wishes")
def _(c):
    a, b = Member(c, "A", instance="one"), Member(c, "B", instance="two")
    pair(c, a, b)
    new = Member(c, "new B", instance="two", wants=subscription("other"))
    new.join()
    new.sync()
    a.beat()
    describe(c)


@member_case("groups/static-members-leave")
def _(c):
    a, b = Member(c, "A", instance="one"), Member(c, "B", instance="two")
    pair(c, a, b)
    a.leave(3, "the other by name", members=[{"MemberId": "", "GroupInstanceId": "two"}])
    a.beat_until(REBALANCING)
    a.leave(3, "with a stranger's id", id="stranger")
    a.leave(3, "by its id alone", members=[{"MemberId": a.id, "GroupInstanceId": None}])
    describe(c)


@member_case("groups/leave-an-unknown-group")
def _(c):
    for v in (2, 3):
        a = Member(c, "A", group="-none")
        a.leave(v, id="nobody")
        a.leave(v, id="", instance="one")


# Names, sizes.

@member_case("groups/names")
def _(c):
    for note, name in (("one space", " "), ("249 bytes", "g" * 249), ("250 bytes", "g" * 250), ("32000 bytes", "g" * 32_000),
                       ("outside ASCII", "gr\u00fcppe-\u65e5\u672c-\U0001f600"), ("slashes and dots", "a/b/../c."), ("a tab", "a\tb")):
        name = c.broker.prefix + name
        a = Member(c, "A")
        a.group = name
        a.join(note=note)
        a.join(note="with its id")
        a.sync()
        a.beat()
        answer = c.ask("DescribeGroups", 5, show=False, Groups=[name])
        c.show(f"DescribeGroups v5 {note}", answer and [(g["ErrorCode"], g["GroupState"], len(g["Members"])) for g in answer["Groups"]])
        a.leave()
        c.ask("DeleteGroups", 2, note, GroupsNames=[name])


@member_case("groups/names/empty")
def _(c):
    a = Member(c, "A")
    for v in (0, 5, 9):
        a.join(v, "no group", group="")
    for v in (0, 5):
        a.sync(v, "no group", group="", generation=1)
        a.leave(v, "no group", group="")
    for v in (0, 4):
        a.beat(v, "no group", group="", generation=1)


@member_case("groups/large-metadata")
def _(c):
    data = bytes(range(256)) * 400
    wants = subscription("t", data=data)
    a = Member(c, "A", wants=wants)
    a.enter()
    a.sync(parts={a.id: data})
    describe(c)
    b = Member(c, "B", wants=wants)
    follow(a, b)
    describe(c)


@member_case("groups/many-protocols")
def _(c):
    a = Member(c, "A", protocols=[f"p{i}" for i in range(50)])
    a.enter()
    a.sync()
    b = Member(c, "B", protocols=["p40", "p3", "p7"])
    joining = b.entering()
    a.beat_until(REBALANCING)
    a.join(note="again")
    joining.get()


@member_case("groups/protocol-of-the-majority")
def _(c):
    a, b = Member(c, "A", protocols=["x", "y", "z"]), Member(c, "B", protocols=["z", "y", "x"])
    d = Member(c, "D", protocols=["z", "x"])
    a.enter()
    a.sync()
    joins = [b.entering()]
    a.beat_until(REBALANCING)
    joins.append(d.entering())
    time.sleep(0.2)
    a.join(note="again")
    for asked in joins:
        asked.get()
    for m in (a, b, d):
        m.protocols = ["z", *m.protocols]
    syncs = [b.syncing(5), d.syncing(5)]
    a.sync(5)
    for asked in syncs:
        asked.get()


@member_case("groups/protocol-without-a-name")
def _(c):
    Member(c, "A").enter(5, protocols=[""])
    Member(c, "B", group="-b").enter(protocols=["", "range"])


@member_case("groups/as-many-as-there-may-be")
def _(c):
    members = [Member(c, f"M{i}", rebalance=3000) for i in range(GROUP_SIZE_MAX)]
    members[0].alone()
    follow(members[0], *members[1:])
    more = Member(c, "more")
    more.join(3, "one more, without an id first")
    more.join(4, "one more")
    members[1].join(note="a follower, again")
    static = Member(c, "static", instance="one")
    static.join(5, "one more, with a name")
    members[1].leave()
    members[0].beat_until(REBALANCING)


@member_case("groups/ids-that-nobody-uses")
def _(c):
    for i in range(GROUP_SIZE_MAX + 2):
        Member(c, f"M{i}", session=SHORT).join(note="for an id")


# States.

@member_case("groups/states")
def _(c):
    a, b = Member(c, "A"), Member(c, "B")
    listed = lambda note: [  # noqa: E731
        c.show(f"ListGroups v5 {note} {f}", [g for g in c.ask("ListGroups", 5, show=False, **f)["Groups"] if g["GroupId"] == c.group])
        for f in ({}, {"StatesFilter": ["Stable"]}, {"StatesFilter": ["CompletingRebalance", "PreparingRebalance"]})]
    # Nobody looks before the first assignment: what Kafka shows then depends on whether other groups are written to meanwhile.
    a.join(note="for an id")
    a.join(note="with its id")
    a.sync()
    describe(c, "stable")
    listed("stable")
    joining = b.entering()
    a.beat_until(REBALANCING)
    describe(c, "while B joins")
    listed("while B joins")
    c.ask("DeleteGroups", 2, "with members", GroupsNames=[c.group])
    a.join(note="again")
    joining.get()
    describe(c, "before the next assignment")
    a.leave()
    b.leave()
    describe(c, "empty")
    listed("empty")
    c.ask("DeleteGroups", 2, "empty", GroupsNames=[c.group])
    describe(c, "deleted")
    b.beat(note="deleted")
    b.join(note="deleted")


@member_case("groups/other-kinds")
def _(c):
    a = Member(c, "A", kind="connect", protocols=("sessioned", "compatible"))
    a.alone()
    describe(c)
    c.ask("OffsetDelete", 0, "of a group of connectors", GroupId=c.group, Topics=[{"Name": "x", "Partitions": [{"PartitionIndex": 0}]}])
    a.leave()
    b = Member(c, "B", kind="consumer")
    b.enter()


@member_case("groups/rebalance-time-out")
def _(c):
    a, b = Member(c, "A", rebalance=SHORT), Member(c, "B", rebalance=SHORT)
    a.alone()
    joining = b.entering()
    a.beat_until(REBALANCING)
    joining.get()
    a.beat(note="left behind")
    a.join(note="left behind")


@member_case("groups/session-time-out")
def _(c):
    a = Member(c, "A", session=SHORT)
    a.alone()
    time.sleep(1.5)
    a.beat(note="after its session")
    a.sync(note="after its session")
    describe(c)


@member_case("groups/leader-that-does-not-assign")
def _(c):
    a, b = Member(c, "A", rebalance=SHORT), Member(c, "B", rebalance=SHORT)
    a.alone()
    joining = b.entering()
    a.beat_until(REBALANCING)
    a.join(note="again")
    joining.get()
    b.syncing().get()
    b.beat(note="after it waited")


@member_case("groups/offsets-of-members", Topic(2))
def _(c):
    a, b = Member(c, "A"), Member(c, "B")

    def tries(who, note):
        for label, generation, id in (("", who.generation, who.id), ("generation before", who.generation - 1, who.id),
                                      ("generation after", who.generation + 1, who.id), ("no such member", who.generation, "nobody"),
                                      ("no id", who.generation, ""), ("generation -1, no id", -1, ""), ("generation -1", -1, who.id)):
            for version in (2, 8, 9):
                commit(c, (0, 5, "m"), version=version, generation=generation, member=id, note=f"{note} {label}")
        commit(c, (0, 5, "m"), version=8, generation=who.generation, member=who.id, instance="nobody", note=f"{note} instance")
    a.enter()
    tries(a, "before the assignment")
    a.sync()
    tries(a, "stable")
    commit(c, (0, 5, "m"), (9, 5, "m"), (1, 7, ""), version=8, generation=a.generation, member=a.id, note="a partition that is not there")
    joining = b.entering()
    a.beat_until(REBALANCING)
    tries(a, "while B joins")
    a.join(note="again")
    joining.get()
    tries(a, "before the next assignment")
    a.leave()
    b.leave()
    tries(a, "after all left")
    fetch_offsets(c, 0, 1)
    fetch_offsets(c, 0, 1, version=9)


@member_case("groups/offsets-of-subscribed-topics", Topic(2), Topic(1))
def _(c):
    a = Member(c, "A")
    a.wants = subscription(c.topics[0])
    a.alone()
    commit(c, (0, 5, "m"), generation=a.generation, member=a.id)
    commit(c, (0, 5, "m"), topic=c.topics[1], generation=a.generation, member=a.id)
    c.ask("OffsetDelete", 0, "of a subscribed topic and another", GroupId=c.group, Topics=[
        {"Name": topic, "Partitions": [{"PartitionIndex": 0}]} for topic in c.topics])
    fetch_offsets(c, all_topics=True)
