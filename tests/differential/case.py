"""The list of cases: what each needs, and the function that asks one broker and traces its answers."""

from client import STARTED

# Names of topics and groups begin with it, so that a run finds none of an earlier one; traces leave it out.
PREFIX = f"d{STARTED % 10 ** 9:09d}-"
CASES = []


class Topic:
    """A topic that is there before the case begins."""

    def __init__(self, partitions=1, **configs):
        self.partitions = partitions
        self.configs = {name.replace("_", "."): str(value) for name, value in configs.items()}


class Case:
    def __init__(self, name, function, topics, alone=False):
        self.name, self.function, self.alone = name, function, alone
        self.slug = name.replace("/", "-")
        self.topics = {f"{PREFIX}{self.slug}" + (f"-{i}" if i else ""): t for i, t in enumerate(topics)}


def add(name, function, *topics, alone=False):
    """Adds a case; without topics it gets none. `alone`: it changes what other cases see, and runs after them."""
    assert name not in {c.name for c in CASES}, name
    CASES.append(Case(name, function, topics, alone))


def case(name, *topics, alone=False):
    """Decorates a function that is a case."""
    def decorate(function):
        add(name, function, *topics, alone=alone)
        return function
    return decorate


# The versions that both serve (each has its case where that is cheap).
VERSIONS = {
    "Produce": range(3, 14), "Fetch": range(4, 19), "ListOffsets": range(1, 11), "Metadata": range(0, 14),
    "OffsetCommit": range(2, 11), "OffsetFetch": range(1, 11), "FindCoordinator": range(0, 7),
    "DescribeGroups": range(0, 7), "ListGroups": range(0, 6), "ApiVersions": range(0, 5), "CreateTopics": range(2, 8),
    "DeleteTopics": range(1, 7), "DeleteRecords": range(0, 3), "InitProducerId": range(0, 6),
    "DescribeConfigs": range(1, 5), "AlterConfigs": range(0, 3), "CreatePartitions": range(0, 4),
    "DeleteGroups": range(0, 3), "IncrementalAlterConfigs": range(0, 2), "OffsetDelete": range(0, 1),
    "OffsetForLeaderEpoch": range(2, 5), "DescribeCluster": range(0, 3), "DescribeLogDirs": range(1, 5), "JoinGroup": range(0, 10), "SyncGroup": range(0, 6), "Heartbeat": range(0, 5),
    "LeaveGroup": range(0, 6), "ConsumerGroupHeartbeat": range(0, 2), "ConsumerGroupDescribe": range(0, 2),
    "ElectLeaders": range(0, 3), "AlterPartitionReassignments": range(0, 2),
    "ListPartitionReassignments": range(0, 1), "AlterReplicaLogDirs": range(1, 3), "DescribeTopicPartitions": range(0, 1),
    "ListConfigResources": range(0, 2), "DescribeProducers": range(0, 1), "DescribeQuorum": range(0, 3), "UpdateFeatures": range(0, 3),
}
