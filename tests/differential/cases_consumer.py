"""ConsumerGroupHeartbeat, ConsumerGroupDescribe: members of consumer groups (KIP-848), and what other APIs say of such groups.

Both brokers run with group.consumer.session.timeout.ms=5000, group.consumer.heartbeat.interval.ms=1000 and
group.consumer.max.size=4. Where several members share several topics, the order in which Kafka goes through its tables is
chance: such cases have one topic, or compare what was made of it.
"""

import time

from case import VERSIONS, Topic, add
from cases_groups import commit, settle
from members import REBALANCING, SESSION, Member, member_case, subscription

NOT_SAID = object()
SHORT = 1000


class Consumer:
    """A member. Heartbeats do not wait for others, so all members of a case have one connection."""

    def __init__(self, case, id="A", instance=None, topics=None, regex=None, assignor=None, rebalance=SESSION):
        self.case, self.id, self.instance, self.assignor = case, id, instance, assignor
        self.topics = topics if topics is not None or regex is not None else case.topics[:1]
        self.regex, self.rebalance, self.epoch = regex, rebalance, 0

    def owns(self, *partitions, topic=None):
        return [{"TopicId": self.case.id(topic), "Partitions": list(partitions)}]

    def beat(self, note="", epoch=None, version=1, id=None, instance=NOT_SAID, group=None, show=True, **body):
        body.update(GroupId=self.case.group if group is None else group, MemberId=self.id if id is None else id,
                    MemberEpoch=self.epoch if epoch is None else epoch, InstanceId=self.instance if instance is NOT_SAID else instance)
        answer = self.case.ask("ConsumerGroupHeartbeat", version, f"{self.id}: {note}", show=show, **body)
        if answer and not answer["ErrorCode"]:
            self.epoch = max(answer["MemberEpoch"], 0)
        return answer

    def join(self, note="joins", version=1, owned=(), **body):
        usual = {"RebalanceTimeoutMs": self.rebalance, "SubscribedTopicNames": self.topics, "TopicPartitions": list(owned),
                 "ServerAssignor": self.assignor}
        if self.regex is not None:
            usual["SubscribedTopicRegex"] = self.regex
        usual.update(body)
        return self.beat(note, 0, version, **{key: value for key, value in usual.items() if value is not NOT_SAID})

    def leave(self, note="leaves", epoch=-1, **more):
        return self.beat(note, epoch, **more)


def describe(c, note="", version=1, group=""):
    answer = c.ask("ConsumerGroupDescribe", version, show=False, GroupIds=[c.group + group], IncludeAuthorizedOperations=True)
    for member in (answer["Groups"][0]["Members"] if answer else ()):
        # Kafka has them in a table without order.
        member["SubscribedTopicNames"].sort()
    c.show(f"ConsumerGroupDescribe v{version} {note}", answer)


def listed(c, note=""):
    answer = c.ask("ListGroups", 5, show=False, StatesFilter=[], TypesFilter=[])
    c.show(f"ListGroups {note}", [g for g in answer["Groups"] if g["GroupId"] == c.group])


def consumer_case(name, *topics):
    def decorate(function):
        def settled(c):
            settle(c)
            function(c)
        add(name, settled, *topics)
        return function
    return decorate


for v in VERSIONS["ConsumerGroupHeartbeat"]:
    @consumer_case(f"consumer-group-heartbeat/v{v}", Topic(4))
    def _(c, v=v):
        a, b = Consumer(c, "A"), Consumer(c, "B")
        a.beat("no such group", 1, v)
        a.leave("leaves no such group", version=v)
        a.join(version=v)
        a.beat("idle", version=v)
        a.beat("says all", version=v, RebalanceTimeoutMs=SESSION, SubscribedTopicNames=a.topics, TopicPartitions=a.owns(0, 1, 2, 3))
        a.beat("says what it has", version=v, TopicPartitions=a.owns(0, 1, 2, 3))
        a.beat("an epoch after", 2, v)
        b.beat("no such member", 1, v)
        b.join(version=v)
        describe(c, "before A gives back", v)
        a.beat("is asked to give back", version=v)
        a.beat("has not given back", version=v, TopicPartitions=a.owns(0, 1, 2, 3))
        b.beat("waits", version=v)
        describe(c, "while A gives back", v)
        a.beat("has given back", version=v, TopicPartitions=a.owns(0, 1))
        a.beat("the answer was lost", 1, v, TopicPartitions=a.owns(0, 1))
        a.beat("an epoch before, with too much", 1, v, TopicPartitions=a.owns(0, 1, 2))
        a.beat("an epoch before, saying nothing", 1, v)
        b.beat("gets its part", version=v)
        b.beat("idle", version=v)
        describe(c, "stable", v)
        listed(c, "stable")
        a.leave("an id that is not there", version=v, id="nobody")
        a.leave(version=v)
        a.leave("leaves again", version=v)
        describe(c, "after A left", v)
        b.beat("gets the rest", version=v)
        b.leave(version=v)
        describe(c, "empty", v)
        listed(c, "empty")
        c.ask("DeleteGroups", 2, GroupsNames=[c.group])
        describe(c, "deleted", v)
        b.beat("deleted", 2, v)


@consumer_case("consumer-groups/requests-that-make-no-sense", Topic(2))
def _(c):
    a = Consumer(c)
    for note, body in {
        "no rebalance time-out": {"RebalanceTimeoutMs": -1}, "no topics": {"SubscribedTopicNames": None},
        "no partitions": {"TopicPartitions": None}, "partitions": {"TopicPartitions": a.owns(0)}, "no assignor": {"ServerAssignor": "sticky"},
        "an empty assignor": {"ServerAssignor": ""}, "an empty rack": {"RackId": ""},
        "a pattern that is none": {"SubscribedTopicNames": None, "SubscribedTopicRegex": "("},
        "a pattern that looks ahead": {"SubscribedTopicNames": None, "SubscribedTopicRegex": "(?=a)"},
        "a pattern that refers back": {"SubscribedTopicNames": None, "SubscribedTopicRegex": r"(a)\1"},
    }.items():
        a.join(note, **body)
    a.join("an empty instance", instance="")
    a.join("no group", group="")
    a.join("no id", id="")
    a.beat("no id", 1, id="")
    a.beat("no id", 1, version=0, id="")
    a.beat("epoch -3", -3)
    a.leave("leaves for a while without a name", -2)
    a.join("joins no topics", SubscribedTopicNames=[])
    describe(c)


@consumer_case("consumer-groups/id-given-by-the-server", Topic(1))
def _(c):
    answer = Consumer(c).join(version=0, id="", show=False)
    c.show("an id", [len(answer["MemberId"]) > 20, answer["MemberEpoch"], answer["ErrorCode"]])


@consumer_case("consumer-groups/static-member", Topic(4), Topic(1))
def _(c):
    a, other, b = Consumer(c, "A", "i"), Consumer(c, "A2", "i"), Consumer(c, "B", "i")
    a.join()
    other.join("joins under the same name")
    other.beat("lives under the same name", 1)
    a.beat("without its name", instance=None)
    a.beat("another name", instance="j")
    a.beat("an epoch after", 2)
    other.leave("leaves for a while", -2)
    a.leave("leaves for a while under another name", -2, instance="j")
    a.leave("leaves for a while", -2)
    describe(c, "while it is away")
    a.beat("after it left", 1)
    a.leave("leaves for a while again", -2)
    b.join("comes back")
    a.beat("the process before", 1)
    describe(c, "after it came back")
    b.leave("leaves for a while", -2)
    b.id = "C"
    b.join("comes back with other topics", SubscribedTopicNames=c.topics)
    b.leave()
    describe(c)


@consumer_case("consumer-groups/three-members", Topic(7))
def _(c):
    members = [Consumer(c, name) for name in "ABC"]
    for one in members:
        one.join()
    describe(c, "all have joined")
    members[0].beat("gives back")
    members[0].beat("has given back", TopicPartitions=members[0].owns(0, 1, 2))
    for one in members[1:]:
        one.beat("gets its part")
    describe(c, "stable")
    members[1].leave()
    for one in members[::2]:
        one.beat("gets what is free")
    describe(c, "without B")


@consumer_case("consumer-groups/again", Topic(4))
def _(c):
    a, b, s = Consumer(c, "A"), Consumer(c, "B"), Consumer(c, "S", "i")
    a.join()
    a.join("joins once more, the answer was lost")
    b.join()
    a.beat("gives back")
    a.join("joins again while it gives back")
    b.leave()
    a.leave(show=False)
    s.join(show=False)
    s.join("joins again under its name")


@consumer_case("consumer-groups/full", Topic(4))
def _(c):
    for name in "ABCD":
        Consumer(c, name).join(show=False)
    Consumer(c, "E").join("is one too many")
    Consumer(c, "A").beat("lives", 1)


@consumer_case("consumer-groups/range", Topic(7), Topic(5))
def _(c):
    for name, instance in (("A", None), ("B", None), ("C", "z")):
        Consumer(c, name, instance, topics=c.topics, assignor="range").join(show=False)
    describe(c, "three members")
    a = Consumer(c, "A", topics=c.topics)
    a.epoch = 1
    a.beat("wants uniform", ServerAssignor="uniform")
    describe(c, "two of three want range")
    a.leave()
    Consumer(c, "B").beat("gives back nothing", 2, show=False)
    describe(c, "two members")


@consumer_case("consumer-groups/other-topics", Topic(4), Topic(2))
def _(c):
    a = Consumer(c)
    a.join()
    a.beat("wants the other topic too", SubscribedTopicNames=c.topics)
    a.beat("says it again", SubscribedTopicNames=c.topics[::-1])
    a.beat("wants the other topic only", SubscribedTopicNames=c.topics[1:])
    describe(c, "while it gives back")
    a.beat("has given back", TopicPartitions=a.owns(0, 1, topic=c.topics[1]))
    a.beat("wants a topic that is not there", SubscribedTopicNames=[c.topics[1], "nothing"])
    describe(c)
    a.beat("wants nothing", SubscribedTopicNames=[])
    a.beat("has nothing", TopicPartitions=[])
    describe(c, "nothing wanted")


@consumer_case("consumer-groups/topics-that-change", Topic(2), Topic(1))
def _(c):
    a = Consumer(c, topics=c.topics)
    a.join()
    c.ask("CreatePartitions", 3, show=False, Topics=[{"Name": c.topics[1], "Count": 3, "Assignments": None}], TimeoutMs=9000, ValidateOnly=False)
    until(a, lambda answer: answer["MemberEpoch"] == 2)
    describe(c, "after a topic grew")
    c.ask("DeleteTopics", 6, show=False, Topics=[{"Name": c.topics[1], "TopicId": c.id("none")}], TimeoutMs=9000)
    until(a, lambda answer: answer["Assignment"])
    a.beat("has given back", TopicPartitions=a.owns(0, 1))
    describe(c, "after a topic was deleted")


def until(member, ready):
    """Heartbeats until the broker has heard of a change."""
    for _ in range(100):
        answer = member.beat(show=False)
        if answer is None or answer["ErrorCode"] or ready(answer):
            break
        time.sleep(0.05)
    member.case.show(f"{member.id}: heard of a change", answer)


@consumer_case("consumer-groups/pattern", Topic(3), Topic(1))
def _(c):
    a = Consumer(c, regex=f"{c.topics[0]}.{{0,2}}", topics=[])
    # Kafka looks patterns up in the background.
    has = a.join(show=False)["Assignment"]["TopicPartitions"]
    for _ in range(100):
        if sum(len(topic["Partitions"]) for topic in has) == 4:
            break
        time.sleep(0.05)
        has = (a.beat(show=False)["Assignment"] or {"TopicPartitions": has})["TopicPartitions"]
    c.show("has", has)
    answer = c.ask("ConsumerGroupDescribe", 1, show=False, GroupIds=[c.group])
    member = answer["Groups"][0]["Members"][0]
    c.show("member", {key: member[key] for key in ("SubscribedTopicNames", "Assignment", "TargetAssignment")})
    c.ask("OffsetDelete", 0, "of a topic that a pattern fits", GroupId=c.group, Topics=[{"Name": c.topics[1], "Partitions": [{"PartitionIndex": 0}]}])


@consumer_case("consumer-groups/session-time-out", Topic(4))
def _(c):
    a, b = Consumer(c, "A", rebalance=SHORT), Consumer(c, "B")
    a.join()
    b.join()
    a.beat("is asked to give back")
    time.sleep(1.5)
    a.beat("gave nothing back in time")
    describe(c, "without A")
    b.beat("gets all")
    time.sleep(5.6)
    b.beat("was silent for too long")
    describe(c, "without B")


@consumer_case("consumer-groups/offsets", Topic(2), Topic(1))
def _(c):
    a = Consumer(c)

    def fetch(note, member, epoch, version=9):
        c.ask("OffsetFetch", version, note, Groups=[{"GroupId": c.group, "MemberId": member, "MemberEpoch": epoch, "Topics": [
            {"Name": c.topic, "TopicId": c.id(), "PartitionIndexes": [0]}]}])

    def tries(note):
        for label, epoch, id in (("", 1, "A"), ("epoch before", 0, "A"), ("epoch after", 2, "A"), ("no such member", 1, "nobody"),
                                 ("no id", 1, ""), ("no member", -1, ""), ("no epoch", -1, "A")):
            for version in (8, 9, 10):
                commit(c, (0, 5, "m"), version=version, generation=epoch, member=id, note=f"{note}: {label}")
            for version in (9, 10):
                fetch(f"{note}: {label}", id, epoch, version)
        fetch(f"{note}: nobody", None, -1)

    tries("no group")
    a.join()
    tries("a member")
    commit(c, (0, 5, "m"), version=9, generation=1, member="A", instance="nobody", note="an instance that is not there")
    c.ask("OffsetDelete", 0, GroupId=c.group, Topics=[{"Name": topic, "Partitions": [{"PartitionIndex": 0}]} for topic in c.topics])
    c.ask("DeleteGroups", 2, GroupsNames=[c.group])
    a.leave()
    tries("no members")
    c.ask("OffsetDelete", 0, GroupId=c.group, Topics=[{"Name": topic, "Partitions": [{"PartitionIndex": 0}]} for topic in c.topics])
    c.ask("DeleteGroups", 2, GroupsNames=[c.group])
    describe(c)


@consumer_case("consumer-groups/described-as-classic", Topic(1))
def _(c):
    Consumer(c).join(show=False)
    for version in (5, 6):
        c.ask("DescribeGroups", version, Groups=[c.group])
    for types in (["consumer"], ["CLASSIC"]):
        answer = c.ask("ListGroups", 5, show=False, StatesFilter=[], TypesFilter=types)
        c.show(f"ListGroups {types}", [g for g in answer["Groups"] if g["GroupId"] == c.group])
    c.ask("ConsumerGroupDescribe", 1, "the empty group", GroupIds=[""])
    c.ask("ConsumerGroupDescribe", 1, "none", GroupIds=[])


@member_case("consumer-groups/empty-classic-group", Topic(2))
def _(c):
    """An empty group becomes one of the other kind, both ways."""
    commit(c, (0, 5, "m"), version=8)
    a = Consumer(c)
    a.join("joins a group with offsets only")
    listed(c, "with a member")
    a.leave()
    classic = Member(c, "M", wants=subscription(c.topic))
    classic.alone()
    listed(c, "after JoinGroup")
    describe(c, "after JoinGroup")
    classic.leave()
    listed(c, "empty again")
    a.join("joins an empty classic group")
    listed(c, "with a member again")
    c.ask("OffsetFetch", 7, GroupId=c.group, Topics=[{"Name": c.topic, "PartitionIndexes": [0]}])


@consumer_case("consumer-groups/classic-group-of-another-kind", Topic(2))
def _(c):
    classic = {"GroupId": c.group, "SessionTimeoutMs": SESSION, "RebalanceTimeoutMs": SESSION, "ProtocolType": "connect",
               "Protocols": [{"Name": "sessioned", "Metadata": b"x"}]}
    c.ask("JoinGroup", 3, show=False, MemberId="", **classic)
    a = Consumer(c)
    a.join("joins a group of connectors")
    a.beat("lives in a group of connectors", 1)
    a.leave("leaves a group of connectors")


def assignment(topic, *partitions):
    """What a classic member gets, in version 0."""
    name = topic.encode()
    return (b"\0\0\0\0\0\1" + len(name).to_bytes(2, "big") + name + len(partitions).to_bytes(4, "big")
            + b"".join(p.to_bytes(4, "big") for p in partitions) + b"\xff\xff\xff\xff")


@member_case("consumer-groups/members-of-both-kinds", Topic(4))
def _(c):
    """A group goes from classic to consumer and back while it has members."""
    a, b = Member(c, "A", wants=subscription(c.topic)), Consumer(c, "B")
    a.enter()
    a.sync(parts={a.id: assignment(c.topic, 0, 1, 2, 3)})
    commit(c, (0, 5, "m"), version=8, generation=a.generation, member=a.id)
    b.join("joins a classic group")
    listed(c, "of both kinds")
    a.beat(note="is told to join again")
    commit(c, (0, 6, "m"), version=8, generation=a.generation, member=a.id, note="before it joins again")
    a.sync(note="before it joins again")
    # An eager member has given everything back.
    a.join(note="again")
    a.beat(note="in its generation")
    a.beat(note="generation before", generation=a.generation - 1)
    a.sync(note="gets its part")
    b.beat("gets its part")
    describe(c, "of both kinds")
    commit(c, (0, 7, "m"), version=8, generation=a.generation, member=a.id)
    commit(c, (0, 8, "m"), version=8, generation=a.generation - 1, member=a.id, note="generation before")
    a.join(note="another protocol", protocols=["sticky"])
    a.join(note="another kind", kind="connect")
    other = Member(c, "C", wants=subscription(c.topic))
    other.enter()
    # Kafka's ids have another form here.
    c.names[other.id] = "C1"
    other.sync(note="gets its part")
    a.beat(note="after C joined")
    other.leave()
    a.beat(note="after C left")
    a.join(note="again")
    a.sync(note="gets its part")
    b.beat("gets its part", TopicPartitions=[])
    b.leave()
    a.beat_until(REBALANCING, "after the last of KIP-848 left")
    listed(c, "classic again")
    a.join(note="leads again")
    a.sync(parts={a.id: assignment(c.topic, 0, 1, 2, 3)})
    a.beat()
    a.leave()


@member_case("consumer-groups/classic-member-that-is-silent", Topic(2))
def _(c):
    a, b = Member(c, "A", wants=subscription(c.topic), session=SHORT), Consumer(c, "B")
    a.enter()
    a.sync(parts={a.id: assignment(c.topic, 0, 1)})
    b.join("joins a classic group")
    time.sleep(1.5)
    a.beat(note="was silent for too long")
    b.beat("gets all")
    describe(c)
