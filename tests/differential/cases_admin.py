"""What there is for more than one node, asked of one: elections, reassignments, directories; pages of partitions; producers, quorum,
features, what has settings."""

from batch import batch
from case import VERSIONS, Topic, case
from cases_produce import at_t

NONE = "no-such-topic"


def topics(*named, name="Topic", partitions="Partitions"):
    return [{name: topic, partitions: list(numbers)} for topic, numbers in named]


for v in VERSIONS["ElectLeaders"]:
    @case(f"elect-leaders/v{v}", Topic(2))
    def _(c, v=v):
        for kind in (0, 1, 2, -1):
            c.ask("ElectLeaders", v, f"type {kind}", ElectionType=kind, TimeoutMs=10_000, TopicPartitions=topics((c.topic, [0, 1, 7]), (NONE, [0])))
        answer = c.ask("ElectLeaders", v, show=False, ElectionType=0, TimeoutMs=10_000, TopicPartitions=None)
        c.show("of all", [t for t in answer["ReplicaElectionResults"] if t["PartitionResult"]])
        c.ask("ElectLeaders", v, "of none", ElectionType=0, TimeoutMs=10_000, TopicPartitions=[])
        c.ask("ElectLeaders", v, "twice", ElectionType=0, TimeoutMs=10_000, TopicPartitions=topics((c.topic, [0, 0])))


for v in VERSIONS["AlterPartitionReassignments"]:
    @case(f"alter-partition-reassignments/v{v}", Topic(2))
    def _(c, v=v):
        def move(replicas, topic=None, partition=0, note=None):
            c.ask("AlterPartitionReassignments", v, note or f"to {replicas}", TimeoutMs=10_000, AllowReplicationFactorChange=True, Topics=[
                {"Name": topic or c.topic, "Partitions": [{"PartitionIndex": partition, "Replicas": replicas}]}])
        for replicas in ([0], [], [0, 0], [1], [0, 1], [-1], None):
            move(replicas)
        move([0], NONE, note="no such topic")
        move(None, NONE, note="no such topic, given up")
        move([0], partition=5, note="no such partition")
        move([0], topic="__consumer_offsets", note="of the server's own")
        c.ask("AlterPartitionReassignments", v, "of nothing", TimeoutMs=10_000, Topics=[])
        if v >= 1:
            c.ask("AlterPartitionReassignments", v, "with the same number of replicas", TimeoutMs=10_000, AllowReplicationFactorChange=False,
                  Topics=[{"Name": c.topic, "Partitions": [{"PartitionIndex": p, "Replicas": r} for p, r in ((0, [0]), (1, [0, 1]))]}])


for v in VERSIONS["ListPartitionReassignments"]:
    @case(f"list-partition-reassignments/v{v}", Topic())
    def _(c, v=v):
        for note, named in (("all", None), ("none", []), ("one", [(c.topic, [0, 5])]), ("no such topic", [(NONE, [0])])):
            c.ask("ListPartitionReassignments", v, note, TimeoutMs=10_000,
                  Topics=None if named is None else topics(*named, name="Name", partitions="PartitionIndexes"))


for v in VERSIONS["AlterReplicaLogDirs"]:
    @case(f"alter-replica-log-dirs/v{v}", Topic(2))
    def _(c, v=v):
        told = c.ask("DescribeLogDirs", 1, show=False, Topics=[])
        own = told["Results"][0]["LogDir"]
        for note, path in (("where it is", own), ("elsewhere", "/no/such/directory"), ("without a path", ""), ("a relative path", "data")):
            c.ask("AlterReplicaLogDirs", v, note, Dirs=[{"Path": path, "Topics": topics((c.topic, [0, 1, 7]), (NONE, [0]), name="Name")}])
        c.ask("AlterReplicaLogDirs", v, "nothing", Dirs=[])


for v in VERSIONS["DescribeTopicPartitions"]:
    @case(f"describe-topic-partitions/v{v}", Topic(3), Topic(2), Topic())
    def _(c, v=v):
        def page(note, named, cursor=None, most=2000):
            c.ask("DescribeTopicPartitions", v, note, ResponsePartitionLimit=most, Topics=[{"Name": n} for n in named],
                  Cursor=cursor and {"TopicName": cursor[0], "PartitionIndex": cursor[1]})
        first, second, third = sorted(c.topics)
        page("all three", c.topics)
        page("one twice", [first, first])
        page("not there", [NONE, third])
        for most in (0, 1, 2, 3, 4, 5, -1, 2 ** 31 - 1):
            page(f"at most {most}", c.topics, most=most)
        for cursor in ((first, 0), (first, 2), (first, 3), (first, 9), (first, -1), (second, 1), (third, 1), (NONE, 0), (c.broker.prefix + "a", 0)):
            page(f"from {cursor[0].replace(c.broker.prefix, '')} {cursor[1]}", c.topics, cursor, most=3)
        page("from one that is not named", [second], (first, 1))

    @case(f"describe-topic-partitions/not-possible-v{v}", Topic())
    def _(c, v=v):
        c.ask("DescribeTopicPartitions", v, ResponsePartitionLimit=10, Topics=[{"Name": n} for n in (c.topic, "a b", "")], Cursor=None)

    @case(f"describe-topic-partitions/cursor-not-there-v{v}", Topic(2))
    def _(c, v=v):
        gone = c.topic + "-gone"
        c.ask("DescribeTopicPartitions", v, "from a topic that is gone", ResponsePartitionLimit=10, Topics=[{"Name": c.topic}, {"Name": gone}],
              Cursor={"TopicName": gone, "PartitionIndex": 0})


for v in VERSIONS["ListConfigResources"]:
    @case(f"list-config-resources/v{v}", Topic())
    def _(c, v=v):
        def listed(note, **body):
            answer = c.ask("ListConfigResources", v, show=False, **body)
            own = [r for r in answer["ConfigResources"] if r.get("ResourceType", 16) != 2 or r["ResourceName"] == c.topic]
            c.show(note, {"ErrorCode": answer["ErrorCode"], "own": sorted((r.get("ResourceType", 16), r["ResourceName"]) for r in own)})
        if v == 0:
            return listed("client metrics")
        for kinds in ([], [2], [4], [8], [16], [32], [2, 4], [4, 4], [3], [0], [-1], [4, 99]):
            listed(f"kinds {kinds}", ResourceTypes=kinds)


for v in VERSIONS["DescribeProducers"]:
    @case(f"describe-producers/v{v}", Topic(2))
    def _(c, v=v):
        def told(note, *named):
            c.ask("DescribeProducers", v, note, Topics=topics(*named, name="Name", partitions="PartitionIndexes"))
        told("nobody", (c.topic, [0, 1]))
        c.produce(at_t(), show=False)
        told("without an id", (c.topic, [0]))
        for sequences in ((0, 3), (0, 1, 2)):
            producer = c.new_producer()
            for sequence in sequences:
                c.produce(batch([{"value": b"x"}] * (3 if sequences[1] == 3 else 1), producer=producer, epoch=0, sequence=sequence), show=False)
        told("two of them", (c.topic, [0, 1]))
        told("not there", (c.topic, [5]), (NONE, [0]))
        told("nothing")


for v in VERSIONS["DescribeQuorum"]:
    @case(f"describe-quorum/v{v}", Topic())
    def _(c, v=v):
        answer = c.ask("DescribeQuorum", v, show=False, Topics=[{"TopicName": "__cluster_metadata", "Partitions": [{"PartitionIndex": 0}]}])
        p = answer["Topics"][0]["Partitions"][0]
        c.show("quorum", {"error": answer["ErrorCode"], "of": p["ErrorCode"], "leader": p["LeaderId"], "observers": p["Observers"],
                          "voters": [r["ReplicaId"] for r in p["CurrentVoters"]], "has all": [r["LogEndOffset"] >= p["HighWatermark"] for r in p["CurrentVoters"]],
                          "an offset": p["HighWatermark"] > 0, "an epoch": p["LeaderEpoch"] >= 0, "nodes": [n["NodeId"] for n in answer.get("Nodes", [])]})
        for name, partition in ((c.topic, 0), (NONE, 0), ("__cluster_metadata", 1)):
            c.ask("DescribeQuorum", v, f"of {name.replace(c.broker.prefix, '')} {partition}", Topics=[{"TopicName": name, "Partitions": [{"PartitionIndex": partition}]}])
        c.ask("DescribeQuorum", v, "of nothing", Topics=[])


for v in VERSIONS["UpdateFeatures"]:
    @case(f"update-features/v{v}")
    def _(c, v=v):
        def update(note, *updates, **more):
            c.ask("UpdateFeatures", v, note, timeoutMs=10_000, FeatureUpdates=[
                {"Feature": name, "MaxVersionLevel": level, "AllowDowngrade": kind > 1, "UpgradeType": kind} for name, level, kind in updates], **more)
        for kind in (1, 2, 3):
            update(f"as it is, type {kind}", ("group.version", 1, kind))
        update("too high", ("group.version", 7, 1))
        update("below 0", ("group.version", -1, 1))
        update("no such feature", ("no.such.feature", 1, 1))
        update("no such feature, off", ("no.such.feature", 0, 2))
        update("one good, one bad", ("group.version", 1, 1), ("no.such.feature", 1, 1))
        update("nothing")
        if v >= 1:
            update("only looked at", ("group.version", 7, 1), ValidateOnly=True)
            update("an unknown type", ("group.version", 1, 9))
