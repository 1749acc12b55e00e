"""Metadata, CreateTopics, DeleteTopics, CreatePartitions."""

import uuid

from case import VERSIONS, Topic, case
from cases_produce import at_t

PLAIN = Topic()
SOME_ID = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def own(c, answer):
    """Only the topics of this case, of an answer that lists all."""
    return None if answer is None else {**answer, "Topics": [t for t in answer["Topics"] if t["Name"] in c.topics]}


# Metadata.
for v in VERSIONS["Metadata"]:
    @case(f"metadata/v{v}", Topic(3), PLAIN)
    def _(c, v=v):
        c.ask("Metadata", v, Topics=[{"Name": name} for name in c.topics], AllowAutoTopicCreation=False)
        everything = c.ask("Metadata", v, show=False, Topics=None if v else [])
        c.show("Metadata of all topics", own(c, everything))

    if v >= 4:
        @case(f"metadata/v{v}-unknown")
        def _(c, v=v):
            for name in ("no-such-topic", "", ".", "a b", "x" * 250):
                c.ask("Metadata", v, repr(name[:9]), Topics=[{"Name": name and name if len(name) < 3 or " " in name or len(name) > 99
                                                              else c.broker.prefix + name}], AllowAutoTopicCreation=False)


@case("metadata/none-asked")
def _(c):
    for v in VERSIONS["Metadata"]:
        if v:
            c.ask("Metadata", v, "an empty list", Topics=[])


for v in (10, 11, 12, 13):
    @case(f"metadata/ids-v{v}", PLAIN)
    def _(c, v=v):
        c.ask("Metadata", v, "by id", Topics=[{"TopicId": c.id(), "Name": None}])
        c.ask("Metadata", v, "by an id that is unknown", Topics=[{"TopicId": SOME_ID, "Name": None}])
        c.ask("Metadata", v, "without name and id", Topics=[{"Name": None}])
        c.ask("Metadata", v, "by id and name", Topics=[{"TopicId": c.id(), "Name": c.topic}])
        c.ask("Metadata", v, "by an id and another name", Topics=[{"TopicId": SOME_ID, "Name": c.topic}])


@case("metadata/twice", PLAIN)
def _(c):
    for v in (1, 9, 12):
        c.ask("Metadata", v, "a topic twice", Topics=[{"Name": c.topic}, {"Name": c.topic}])


@case("metadata/authorized-operations", PLAIN)
def _(c):
    for v in (8, 9, 10, 11):
        c.ask("Metadata", v, "with operations", Topics=[{"Name": c.topic}], IncludeClusterAuthorizedOperations=True,
              IncludeTopicAuthorizedOperations=True)


@case("metadata/auto-creation-bad-names")
def _(c):
    for name in ("", ".", "..", "a b", "a/b", "x" * 250, "\u00e9"):
        c.ask("Metadata", 9, repr(name[:9]), Topics=[{"Name": name}], AllowAutoTopicCreation=True)


@case("metadata/auto-creation")
def _(c):
    name = c.broker.prefix + "made-by-metadata"
    c.ask("Metadata", 9, "the first time", Topics=[{"Name": name}], AllowAutoTopicCreation=True)


# CreateTopics.
def create(c, version=7, validate=False, note="", timeout=20_000, **fields):
    """Creates one topic, called after the case if it has no name."""
    name = fields.pop("Name", None)
    name = c.broker.prefix + c.slug if name is None else name
    topic = {"Name": name, "NumPartitions": 1, "ReplicationFactor": 1, **fields}
    # Settings have cases of their own.
    c.hidden.add("Configs")
    return c.ask("CreateTopics", version, note, Topics=[topic], timeoutMs=timeout, validateOnly=validate)


for v in VERSIONS["CreateTopics"]:
    @case(f"create-topics/v{v}")
    def _(c, v=v):
        create(c, v, note="only looked at", validate=True, NumPartitions=3)
        create(c, v, NumPartitions=3)
        create(c, v, note="again")
        create(c, v, note="only looked at again", validate=True)
        create(c, v, Name="a b", note="an illegal name")
        create(c, v, Name=c.broker.prefix + c.slug + "x", NumPartitions=0, note="no partitions")
        create(c, v, Name=c.broker.prefix + c.slug + "x", ReplicationFactor=3, note="three replicas")
        create(c, v, Name=c.broker.prefix + c.slug + "x", Configs=[{"Name": "nonsense", "Value": "1"}], note="an unknown setting")
        c.ask("Metadata", 9, Topics=[{"Name": c.broker.prefix + c.slug}], AllowAutoTopicCreation=False)


@case("create-topics/names")
def _(c):
    for name in ("", ".", "..", "a b", "a/b", "a\0b", "x" * 250, "\u00e9", "a,b", "a:b", "__consumer_offsets", "__transaction_state"):
        create(c, Name=name, note=repr(name[:20]))
        create(c, Name=name, note=repr(name[:20]) + " only looked at", validate=True)


@case("create-topics/long-name")
def _(c):
    create(c, Name=(c.broker.prefix + "x" * 249)[:249], note="of 249 characters")


@case("create-topics/names-that-collide")
def _(c):
    create(c, Name=c.broker.prefix + "one.two_three")
    for name in ("one_two.three", "one.two.three", "one_two_three", "one.two-three"):
        create(c, Name=c.broker.prefix + name, note=name)
    c.ask("CreateTopics", 7, "two that collide", timeoutMs=9000, Topics=[
        {"Name": c.broker.prefix + name, "NumPartitions": 1, "ReplicationFactor": 1} for name in ("p.q", "p_q")])


@case("create-topics/partition-counts")
def _(c):
    for count in (0, -1, -2, 10_001, 20_000, 100_001, 2 ** 31 - 1, -2 ** 31):
        create(c, NumPartitions=count, validate=True, note=f"{count} partitions, only looked at")
    for count in (0, -2, 10_001, 2 ** 31 - 1):
        create(c, NumPartitions=count, note=f"{count} partitions")


@case("create-topics/replication-factors")
def _(c):
    for factor in (0, -1, -2, 2, 32767):
        create(c, ReplicationFactor=factor, validate=True, note=f"{factor} replicas")


@case("create-topics/defaults")
def _(c):
    create(c, NumPartitions=-1, ReplicationFactor=-1)


@case("create-topics/assignments")
def _(c):
    def assigned(*parts):
        return [{"PartitionIndex": i, "BrokerIds": brokers} for i, brokers in parts]
    for name, parts, more in (
            ("two", [(0, [0]), (1, [0])], {}), ("gap", [(0, [0]), (2, [0])], {}), ("from one", [(1, [0])], {}),
            ("twice", [(0, [0]), (0, [0])], {}), ("no broker", [(0, [])], {}), ("unknown broker", [(0, [5])], {}),
            ("broker twice", [(0, [0, 0])], {}), ("negative broker", [(0, [-1])], {}), ("negative partition", [(-1, [0])], {}),
            ("lengths differ", [(0, [0]), (1, [0, 5])], {}),
            ("with a count", [(0, [0])], {"NumPartitions": 1}), ("with a factor", [(0, [0])], {"ReplicationFactor": 1})):
        create(c, validate=True, note=name, Assignments=assigned(*parts), **{"NumPartitions": -1, "ReplicationFactor": -1, **more})
    create(c, note="made", Assignments=assigned((1, [0]), (0, [0])), NumPartitions=-1, ReplicationFactor=-1)


@case("create-topics/twice-in-one")
def _(c):
    topic = {"Name": c.broker.prefix + c.slug, "NumPartitions": 1, "ReplicationFactor": 1}
    c.ask("CreateTopics", 7, "twice the same", timeoutMs=9000, Topics=[topic, topic])
    c.ask("CreateTopics", 7, "one twice, one good", timeoutMs=9000, validateOnly=True, Topics=[
        topic, {**topic, "NumPartitions": 2}, {**topic, "Name": topic["Name"] + "2"}])
    c.ask("CreateTopics", 7, "none", timeoutMs=9000, Topics=[])


@case("create-topics/one-good-one-bad")
def _(c):
    good = {"Name": c.broker.prefix + c.slug, "NumPartitions": 1, "ReplicationFactor": 1}
    c.ask("CreateTopics", 7, timeoutMs=9000, Topics=[good, {**good, "Name": c.broker.prefix + "bad", "NumPartitions": 0}])


@case("create-topics/settings-twice")
def _(c):
    two = [{"Name": "retention.ms", "Value": "1000"}, {"Name": "retention.ms", "Value": "2000"}]
    create(c, Configs=two, validate=True, note="a setting twice")
    create(c, Configs=[{"Name": "retention.ms", "Value": None}], validate=True, note="a setting without a value")
    create(c, Configs=[{"Name": "", "Value": "1"}], validate=True, note="a setting without a name")


@case("create-topics/time-out")
def _(c):
    for timeout in (0, -1):
        create(c, timeout=timeout, validate=True, note=f"in {timeout} ms, only looked at")


# DeleteTopics.
for v in VERSIONS["DeleteTopics"]:
    @case(f"delete-topics/v{v}", PLAIN)
    def _(c, v=v):
        def names(*wanted):
            return {"Topics": [{"Name": n} for n in wanted], "TopicNames": wanted, "TimeoutMs": 9000}
        c.ask("DeleteTopics", v, **names(c.topic))
        c.ask("DeleteTopics", v, "again", **names(c.topic))
        for name in ("", "a b", "x" * 250):
            c.ask("DeleteTopics", v, repr(name[:9]), **names(name))
        c.ask("DeleteTopics", v, "none", **names())
        c.ask("Metadata", 9, Topics=[{"Name": c.topic}], AllowAutoTopicCreation=False)


@case("delete-topics/by-id", PLAIN, PLAIN)
def _(c):
    def ids(*topics):
        return {"Topics": list(topics), "TimeoutMs": 9000}
    gone = {"TopicId": c.id(), "Name": None}
    c.ask("DeleteTopics", 6, "by id", **ids(gone))
    c.ask("DeleteTopics", 6, "by id again", **ids(gone))
    c.ask("DeleteTopics", 6, "an unknown id", **ids({"TopicId": SOME_ID, "Name": None}))
    c.ask("DeleteTopics", 6, "neither", **ids({"Name": None}))
    c.ask("DeleteTopics", 6, "name and id", **ids({"Name": c.topics[1], "TopicId": c.id(c.topics[1])}))
    c.ask("DeleteTopics", 6, "name and an unknown id", **ids({"Name": c.topics[1], "TopicId": SOME_ID}))
    c.fetch(0, 13, note="by the id that is gone")
    c.produce(at_t(), version=13, note="by the id that is gone")


@case("delete-topics/twice", PLAIN, PLAIN)
def _(c):
    one, two = c.topics
    for v in (1, 5, 6):
        c.ask("DeleteTopics", v, "a topic twice", TimeoutMs=9000, TopicNames=[one, one], Topics=[{"Name": one}, {"Name": one}])
    c.ask("DeleteTopics", 6, "by name and by id", TimeoutMs=9000, Topics=[{"Name": two}, {"Name": None, "TopicId": c.id(two)}])
    c.ask("DeleteTopics", 6, "an id twice", TimeoutMs=9000, Topics=[{"Name": None, "TopicId": c.id(two)}] * 2)
    c.ask("DeleteTopics", 6, "an unknown id twice", TimeoutMs=9000, Topics=[{"Name": None, "TopicId": SOME_ID}] * 2)


@case("delete-topics/made-again", PLAIN)
def _(c):
    c.produce(at_t())
    c.ask("DeleteTopics", 5, TimeoutMs=9000, TopicNames=[c.topic])
    create(c, Name=c.topic)
    c.fetch(0, 13, note="by the old id")


# CreatePartitions.
for v in VERSIONS["CreatePartitions"]:
    @case(f"create-partitions/v{v}", Topic(2))
    def _(c, v=v):
        def grow(count, note="", validate=False, name=None, **fields):
            c.ask("CreatePartitions", v, note or f"to {count}", TimeoutMs=9000, ValidateOnly=validate, Topics=[
                {"Name": c.topic if name is None else name, "Count": count, "Assignments": None, **fields}])
        # Not the highest of all: Kafka makes a list that long, and its controller is busy for ten seconds.
        for count in (0, -1, 1, 2):
            grow(count)
            grow(count, validate=True, note=f"to {count}, only looked at")
        grow(3, validate=True, note="to 3, only looked at")
        grow(3)
        grow(3, note="to 3 again")
        grow(4, name=c.broker.prefix + "no-such-topic", note="no such topic")
        for name in ("", "a b"):
            grow(4, name=name, note=repr(name))
        for given, parts in {"one": [[0]], "two": [[0], [0]], "none": [], "unknown": [[5]], "empty": [[]], "twice": [[0, 0]],
                             "negative": [[-1]]}.items():
            grow(4, Assignments=[{"BrokerIds": p} for p in parts], validate=True, note=f"assigned: {given}")
        grow(4, Assignments=[{"BrokerIds": [0]}], note="assigned")
        c.ask("Metadata", 9, Topics=[{"Name": c.topic}], AllowAutoTopicCreation=False)


@case("create-partitions/very-many", PLAIN)
def _(c):
    # Only looked at: asked to make them Kafka refuses, makes 10,001, and is busy with them for a minute.
    c.ask("CreatePartitions", 3, "to 20,000, only looked at", TimeoutMs=9000, ValidateOnly=True, Topics=[
        {"Name": c.topic, "Count": 20_000, "Assignments": None}])
    answer = c.ask("Metadata", 9, show=False, Topics=[{"Name": c.topic}], AllowAutoTopicCreation=False)
    c.show("partitions", len(answer["Topics"][0]["Partitions"]))


@case("create-partitions/twice", PLAIN)
def _(c):
    topic = {"Name": c.topic, "Count": 2, "Assignments": None}
    c.ask("CreatePartitions", 3, "a topic twice", TimeoutMs=9000, Topics=[topic, {**topic, "Count": 3}])
    c.ask("CreatePartitions", 3, "none", TimeoutMs=9000, Topics=[])
    c.ask("Metadata", 9, Topics=[{"Name": c.topic}], AllowAutoTopicCreation=False)


@case("create-partitions/data-stays", PLAIN)
def _(c):
    c.produce(at_t())
    c.ask("CreatePartitions", 3, TimeoutMs=9000, Topics=[{"Name": c.topic, "Count": 2, "Assignments": None}])
    c.read()
