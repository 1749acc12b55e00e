"""FindCoordinator, committed offsets and groups."""

import time
import uuid

from case import VERSIONS, Topic, add

PLAIN = Topic(3)


def commit(c, *offsets, version=8, group="", note="", generation=-1, member="", instance=None, topic=None, **fields):
    """Commits (partition, offset, metadata) of one topic."""
    return c.ask("OffsetCommit", version, note, GroupId=c.group + group, GenerationIdOrMemberEpoch=generation, MemberId=member,
                 GroupInstanceId=instance, Topics=[{"Name": c.topic if topic is None else topic, "TopicId": c.id(topic), "Partitions": [
                     {"PartitionIndex": p, "CommittedOffset": offset, "CommittedMetadata": metadata, **fields}
                     for p, offset, metadata in offsets]}])


def fetch_offsets(c, *partitions, version=7, group="", note="", topic=None, stable=False, all_topics=False):
    topics = None if all_topics else [{"Name": c.topic if topic is None else topic, "PartitionIndexes": list(partitions)}]
    if version >= 8:
        topics = topics and [{**t, "TopicId": c.id(topic)} for t in topics]
        return c.ask("OffsetFetch", version, note, RequireStable=stable, Groups=[
            {"GroupId": c.group + group, "MemberId": None, "MemberEpoch": -1, "Topics": topics}])
    return c.ask("OffsetFetch", version, note, GroupId=c.group + group, Topics=topics, RequireStable=stable)


def settle(c):
    """Waits until the coordinator of the case's group answers: a broker may have to make its topic first."""
    for _ in range(50):
        answer = c.ask("FindCoordinator", 3, show=False, Key=c.group, KeyType=0)
        if answer and not answer["ErrorCode"]:
            listed = c.ask("OffsetFetch", 7, show=False, GroupId=c.group, Topics=None)
            if listed and not listed["ErrorCode"]:
                return
        time.sleep(0.1)
    raise RuntimeError("no coordinator")


def group_case(name, *topics):
    def decorate(function):
        def settled(c):
            settle(c)
            function(c)
        add(name, settled, *topics)
        return function
    return decorate


for v in VERSIONS["FindCoordinator"]:
    @group_case(f"find-coordinator/v{v}")
    def _(c, v=v):
        if v >= 4:
            c.ask("FindCoordinator", v, "one group", KeyType=0, CoordinatorKeys=[c.group])
            c.ask("FindCoordinator", v, "two groups", KeyType=0, CoordinatorKeys=[c.group, c.group + "b"])
            c.ask("FindCoordinator", v, "a group twice", KeyType=0, CoordinatorKeys=[c.group, c.group])
            c.ask("FindCoordinator", v, "none", KeyType=0, CoordinatorKeys=[])
            c.ask("FindCoordinator", v, "the empty group", KeyType=0, CoordinatorKeys=[""])
            c.ask("FindCoordinator", v, "kind 9", KeyType=9, CoordinatorKeys=[c.group])
            c.ask("FindCoordinator", v, "kind -1", KeyType=-1, CoordinatorKeys=[c.group])
        else:
            c.ask("FindCoordinator", v, "a group", Key=c.group, KeyType=0)
            c.ask("FindCoordinator", v, "the empty group", Key="", KeyType=0)
            if v:
                c.ask("FindCoordinator", v, "kind 9", Key=c.group, KeyType=9)
                c.ask("FindCoordinator", v, "kind -1", Key=c.group, KeyType=-1)


@group_case("find-coordinator/transactions")
def _(c):
    c.ask("FindCoordinator", 3, "of a transactional id", Key="an-id", KeyType=1)
    c.ask("FindCoordinator", 4, "of a transactional id", CoordinatorKeys=["an-id"], KeyType=1)


@group_case("find-coordinator/share-groups")
def _(c):
    for v in (4, 5, 6):
        c.ask("FindCoordinator", v, "of a share group", CoordinatorKeys=["g:6ba7b810-9dad-11d1-80b4-00c04fd430c8:0"], KeyType=2)


for v in VERSIONS["OffsetCommit"]:
    @group_case(f"offset-commit/v{v}", PLAIN)
    def _(c, v=v):
        commit(c, (0, 5, "m"), (1, 0, ""), (2, 7, None), version=v)
        fetch_offsets(c, 0, 1, 2)
        commit(c, (0, 3, None), version=v, note="back")
        commit(c, (0, -1, None), version=v, note="-1")
        commit(c, (0, -2, None), version=v, note="-2")
        commit(c, (9, 1, None), version=v, note="no such partition")
        commit(c, (-1, 1, None), version=v, note="partition -1")
        commit(c, (0, 1, None), version=v, topic=c.broker.prefix + "no-such-topic", note="no such topic")
        commit(c, (0, 1, None), version=v, topic="a b", note="illegal name")
        commit(c, (0, 1, None), version=v, generation=0, note="generation 0")
        commit(c, (0, 1, None), version=v, generation=5, member="someone", note="a member")
        commit(c, (0, 1, None), version=v, member="someone", note="a member without generation")
        commit(c, (0, 1, None), version=v, generation=-2, note="generation -2")
        if v >= 7:
            commit(c, (0, 1, None), version=v, instance="an-instance", note="an instance")
        commit(c, version=v, note="no partitions")
        fetch_offsets(c, 0, 1, 2)


for v in VERSIONS["OffsetFetch"]:
    @group_case(f"offset-fetch/v{v}", PLAIN)
    def _(c, v=v):
        fetch_offsets(c, 0, 7, version=v, note="before")
        commit(c, (0, 5, "m"), (1, 8, None), CommittedLeaderEpoch=0)
        fetch_offsets(c, 0, 1, 2, 7, -1, version=v, note="after")
        fetch_offsets(c, 0, version=v, topic=c.broker.prefix + "no-such-topic", note="no such topic")
        fetch_offsets(c, version=v, note="no partitions")
        if v >= 2:
            fetch_offsets(c, version=v, all_topics=True, note="all")
            fetch_offsets(c, version=v, group="-none", all_topics=True, note="all of a group that is not there")
        fetch_offsets(c, 0, version=v, group="-none", note="of a group that is not there")
        if v >= 7:
            fetch_offsets(c, 0, version=v, stable=True, note="stable")


@group_case("offset-commit/topic-ids", PLAIN, Topic())
def _(c):
    part = {"PartitionIndex": 0, "CommittedOffset": 4}
    stranger = uuid.UUID(int=0x6ba7b8109dad11d180b400c04fd430c8)
    c.ask("OffsetCommit", 10, "two topics, one unknown, one without an id", GroupId=c.group, Topics=[
        {"TopicId": i, "Partitions": [part]} for i in (c.id(), stranger, c.id(c.topics[1]), uuid.UUID(int=0))])
    one = {"GroupId": c.group, "MemberId": None, "MemberEpoch": -1}
    c.ask("OffsetFetch", 10, "two topics, one unknown", Groups=[{**one, "Topics": [
        {"TopicId": i, "PartitionIndexes": [0, 1, 9]} for i in (stranger, c.id(), c.id(c.topics[1]))]}])
    c.ask("OffsetFetch", 10, "all", Groups=[{**one, "Topics": None}])
    c.ask("DeleteTopics", 5, TimeoutMs=9000, TopicNames=[c.topics[1]])
    c.ask("OffsetCommit", 10, "of a deleted topic", GroupId=c.group, Topics=[{"TopicId": c.id(c.topics[1]), "Partitions": [part]}])
    c.ask("OffsetFetch", 10, "of a deleted topic", Groups=[{**one, "Topics": [
        {"TopicId": c.id(c.topics[1]), "PartitionIndexes": [0]}]}])


@group_case("offset-fetch/several-groups", PLAIN)
def _(c):
    commit(c, (0, 5, "m"))
    commit(c, (1, 6, None), group="-b")
    for v in (8, 9):
        one = {"MemberId": None, "MemberEpoch": -1, "Topics": [{"Name": c.topic, "PartitionIndexes": [0, 1]}]}
        c.ask("OffsetFetch", v, "three groups", Groups=[{"GroupId": c.group + g, **one} for g in ("", "-b", "-none")])
        c.ask("OffsetFetch", v, "a group twice", Groups=[{"GroupId": c.group, **one}] * 2)
        c.ask("OffsetFetch", v, "none", Groups=[])
        c.ask("OffsetFetch", v, "all of two groups", Groups=[{"GroupId": c.group + g, **one, "Topics": None} for g in ("", "-b")])


@group_case("offset-fetch/members", PLAIN)
def _(c):
    commit(c, (0, 5, "m"))
    for member, epoch in (("someone", -1), ("someone", 0), (None, 0), ("", -1), ("", 5)):
        c.ask("OffsetFetch", 9, f"member {member} epoch {epoch}", Groups=[
            {"GroupId": c.group, "MemberId": member, "MemberEpoch": epoch, "Topics": [{"Name": c.topic, "PartitionIndexes": [0]}]}])


@group_case("offset-commit/metadata-sizes", PLAIN)
def _(c):
    for size in (4095, 4096, 4097, 30_000):
        commit(c, (0, 1, "m" * size), note=f"{size} bytes of metadata")
    fetch_offsets(c, 0)
    commit(c, (0, 2, "m" * 5000), (1, 3, "fine"), note="one too long")
    fetch_offsets(c, 0, 1)


@group_case("offset-commit/leader-epochs", PLAIN)
def _(c):
    for epoch in (0, 3, -1, -2):
        commit(c, (0, 1, None), version=8, note=f"epoch {epoch}", CommittedLeaderEpoch=epoch)
        fetch_offsets(c, 0)


@group_case("offset-commit/retention", PLAIN)
def _(c):
    for v in (2, 4):
        c.ask("OffsetCommit", v, "with a retention time", GroupId=c.group, RetentionTimeMs=1000, Topics=[
            {"Name": c.topic, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 4}]}])
    fetch_offsets(c, 0)


@group_case("offset-commit/twice", PLAIN)
def _(c):
    commit(c, (0, 1, "a"), (0, 2, "b"), note="a partition twice")
    fetch_offsets(c, 0)


# The one case that uses the group without a name: all cases share it.
@group_case("offset-commit/empty-group", PLAIN)
def _(c):
    part = [{"Name": c.topic, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 4}]}]
    for v in (2, 8):
        c.ask("OffsetCommit", v, "without a group", GroupId="", Topics=part)
    c.ask("OffsetFetch", 7, "without a group", GroupId="", Topics=[{"Name": c.topic, "PartitionIndexes": [0]}])
    c.ask("DescribeGroups", 5, "without a name", Groups=[""])
    c.ask("OffsetDelete", 0, "without a group", GroupId="", Topics=[{"Name": c.topic, "Partitions": [{"PartitionIndex": 0}]}])
    for v in (0, 1, 2):
        c.ask("DeleteGroups", v, "without a name", GroupsNames=[""])
    c.ask("OffsetCommit", 8, "no topics", GroupId=c.group, Topics=[])


@group_case("offset-commit/deleted-topic", Topic(), Topic())
def _(c):
    commit(c, (0, 4, None))
    commit(c, (0, 5, None), topic=c.topics[1])
    c.ask("DeleteTopics", 5, TimeoutMs=9000, TopicNames=[c.topics[1]])
    commit(c, (0, 6, None), topic=c.topics[1], note="of a deleted topic")


@group_case("offset-delete/v0", PLAIN)
def _(c):
    def delete(*partitions, topic=None, group="", note=""):
        c.ask("OffsetDelete", 0, note, GroupId=c.group + group, Topics=[
            {"Name": topic or c.topic, "Partitions": [{"PartitionIndex": p} for p in partitions]}])
    delete(0, note="of a group that is not there")
    commit(c, (0, 4, None), (1, 5, None), (2, 6, None))
    delete(0, 1, note="two")
    delete(0, note="again")
    delete(9, -1, note="no such partitions")
    delete(0, topic=c.broker.prefix + "no-such-topic", note="no such topic")
    delete(note="no partitions")
    c.ask("OffsetDelete", 0, "no topics", GroupId=c.group, Topics=[])
    fetch_offsets(c, 0, 1, 2)
    delete(2, note="the last")
    fetch_offsets(c, all_topics=True, note="all")
    c.ask("DescribeGroups", 5, Groups=[c.group])


for v in VERSIONS["DescribeGroups"]:
    @group_case(f"describe-groups/v{v}", PLAIN)
    def _(c, v=v):
        c.hidden.add("AuthorizedOperations")
        commit(c, (0, 4, None))
        c.ask("DescribeGroups", v, Groups=[c.group])
        c.ask("DescribeGroups", v, "not there", Groups=[c.group + "-none"])
        c.ask("DescribeGroups", v, "twice", Groups=[c.group, c.group])
        c.ask("DescribeGroups", v, "none", Groups=[])


@group_case("describe-groups/authorized-operations", PLAIN)
def _(c):
    commit(c, (0, 4, None))
    for v in (3, 5):
        for wanted in (False, True):
            c.ask("DescribeGroups", v, f"operations {wanted}", Groups=[c.group], IncludeAuthorizedOperations=wanted)


for v in VERSIONS["ListGroups"]:
    @group_case(f"list-groups/v{v}", PLAIN)
    def _(c, v=v):
        commit(c, (0, 4, None))
        filters = [{}]
        if v >= 4:
            filters += [{"StatesFilter": [s]} for s in ("Empty", "empty", "Stable", "Dead", "nonsense")]
        if v >= 5:
            filters += [{"TypesFilter": [t]} for t in ("classic", "Classic", "consumer", "share", "nonsense")]
            filters += [{"StatesFilter": ["Empty"], "TypesFilter": ["classic"]}]
        for one in filters:
            answer = c.ask("ListGroups", v, show=False, **one)
            if answer:
                c.show(f"ListGroups v{v} {one}", {**answer, "Groups": [g for g in answer["Groups"] if g["GroupId"].startswith(c.group)]})


for v in VERSIONS["DeleteGroups"]:
    @group_case(f"delete-groups/v{v}", PLAIN)
    def _(c, v=v):
        commit(c, (0, 4, None))
        c.ask("DeleteGroups", v, "not there", GroupsNames=[c.group + "-none"])
        c.ask("DeleteGroups", v, "none", GroupsNames=[])
        c.ask("DeleteGroups", v, "two", GroupsNames=[c.group, c.group + "-none"])
        c.ask("DeleteGroups", v, "again", GroupsNames=[c.group])
        fetch_offsets(c, all_topics=True, note="all")
        c.ask("DescribeGroups", 5, Groups=[c.group])


@group_case("delete-groups/twice", PLAIN)
def _(c):
    commit(c, (0, 4, None))
    c.ask("DeleteGroups", 2, "a group twice", GroupsNames=[c.group, c.group])
