"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, and every setting of topics."""

import time

from case import VERSIONS, Topic, case
from cases_produce import at_t

PLAIN = Topic()
TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)

# Every setting of topics that Kafka has, with values to try: good ones and bad ones.
SETTINGS = {
    "cleanup.policy": ["delete", "compact", "compact,delete", "delete,compact", "", "nonsense", "compact,compact", " delete ", "DELETE"],
    "compression.type": ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd", "none", "nonsense", "GZIP", ""],
    "compression.gzip.level": ["-1", "0", "1", "9", "10", "x"],
    "compression.lz4.level": ["0", "1", "9", "17", "18", "x"],
    "compression.zstd.level": ["-131073", "-131072", "0", "3", "22", "23", "x"],
    "delete.retention.ms": ["0", "1", "-1", "9223372036854775807", "9223372036854775808", "x", "1.5", "", " 5 "],
    "file.delete.delay.ms": ["0", "60000", "-1", "x"],
    "flush.messages": ["0", "1", "9223372036854775807", "-1", "x"],
    "flush.ms": ["0", "1", "9223372036854775807", "-1", "x"],
    "follower.replication.throttled.replicas": ["", "*", "0:0", "0:0,1:0", "nonsense", "none"],
    "index.interval.bytes": ["0", "4096", "-1", "2147483648", "x"],
    "leader.replication.throttled.replicas": ["", "*", "0:0", "nonsense"],
    "local.retention.bytes": ["-2", "-1", "0", "1000", "-3", "x"],
    "local.retention.ms": ["-2", "-1", "0", "1000", "-3", "x"],
    "max.compaction.lag.ms": ["1", "0", "9223372036854775807", "-1", "x"],
    "max.message.bytes": ["0", "1000", "-1", "2147483647", "2147483648", "x"],
    "message.timestamp.after.max.ms": ["0", "1", "9223372036854775807", "-1", "x"],
    "message.timestamp.before.max.ms": ["0", "1", "9223372036854775807", "-1", "x"],
    "message.timestamp.type": ["CreateTime", "LogAppendTime", "createtime", "nonsense", ""],
    "min.cleanable.dirty.ratio": ["0", "0.5", "1", "1.1", "-0.1", "x", "1e-1", "NaN"],
    "min.compaction.lag.ms": ["0", "1", "9223372036854775807", "-1", "x"],
    "min.insync.replicas": ["1", "2", "0", "-1", "x"],
    "preallocate": ["true", "false", "TRUE", "1", "x", ""],
    "remote.log.copy.disable": ["true", "false", "x"],
    "remote.log.delete.on.disable": ["true", "false", "x"],
    "remote.storage.enable": ["false", "true", "x"],
    "retention.bytes": ["-1", "0", "1000", "-2", "x"],
    "retention.ms": ["-1", "0", "1000", "-2", "x"],
    "segment.bytes": ["1048576", "1048575", "14", "2147483647", "2147483648", "-1", "x"],
    "segment.index.bytes": ["4", "3", "10485760", "-1", "x"],
    "segment.jitter.ms": ["0", "1000", "-1", "x"],
    "segment.ms": ["1", "0", "-1", "9223372036854775807", "x"],
    "unclean.leader.election.enable": ["true", "false", "x"],
    "message.format.version": ["3.0", "nonsense"],
    "message.downconversion.enable": ["true"],
    "message.timestamp.difference.max.ms": ["1000"],
    "nonsense.setting": ["1"],
}


def describe(c, *keys, version=4, kind=TOPIC, name=None, synonyms=True, docs=False, show=True, note=""):
    return c.ask("DescribeConfigs", version, note, show=show, IncludeSynonyms=synonyms, IncludeDocumentation=docs, Resources=[
        {"ResourceType": kind, "ResourceName": c.topic if name is None else name, "ConfigurationKeys": list(keys) or None}])


def change(c, *ops, version=1, kind=TOPIC, name=None, validate=False, note=""):
    return c.ask("IncrementalAlterConfigs", version, note, ValidateOnly=validate, Resources=[
        {"ResourceType": kind, "ResourceName": c.topic if name is None else name, "Configs": [
            {"Name": key, "ConfigOperation": op, "Value": value} for key, op, value in ops]}])


def replace(c, *values, version=2, kind=TOPIC, name=None, validate=False, note=""):
    return c.ask("AlterConfigs", version, note, ValidateOnly=validate, Resources=[
        {"ResourceType": kind, "ResourceName": c.topic if name is None else name, "Configs": [
            {"Name": key, "Value": value} for key, value in values]}])


for setting, values in SETTINGS.items():
    @case(f"settings/{setting}", PLAIN)
    def _(c, setting=setting, values=values):
        describe(c, setting, note="before")
        for value in values:
            change(c, (setting, SET, value), note=f"set {value!r}")
            describe(c, setting, note=f"after {value!r}")
        change(c, (setting, DELETE, None), note="delete")
        describe(c, setting, note="after delete")

    @case(f"settings/{setting}-at-creation")
    def _(c, setting=setting, values=values):
        for i, value in enumerate(values):
            answer = c.ask("CreateTopics", 7, repr(value), show=False, timeoutMs=9000, validateOnly=True, Topics=[
                {"Name": c.broker.prefix + c.slug, "NumPartitions": 1, "ReplicationFactor": 1,
                 "Configs": [{"Name": setting, "Value": value}]}])
            topic = answer["Topics"][0]
            own = [config for config in topic["Configs"] or [] if config["Name"] == setting]
            c.show(f"CreateTopics {value!r}", {**topic, "Configs": own})


# DescribeConfigs.
for v in VERSIONS["DescribeConfigs"]:
    @case(f"describe-configs/v{v}", Topic(retention_ms=5000, cleanup_policy="compact"))
    def _(c, v=v):
        c.hidden.add("Documentation")
        for synonyms in (False, True):
            describe(c, "retention.ms", "cleanup.policy", "segment.ms", version=v, synonyms=synonyms, note=f"synonyms {synonyms}")
        describe(c, "retention.ms", version=v, docs=True, note="with documentation")
        describe(c, "nonsense", version=v, note="an unknown setting")
        describe(c, "retention.ms", version=v, name=c.broker.prefix + "no-such-topic", note="no such topic")


def names_only(c, answer, label):
    """Which settings an answer lists, with their types."""
    found = answer["Results"][0]
    c.show(label, {"ErrorCode": found["ErrorCode"],
                   "Configs": {one["Name"]: one.get("ConfigType") for one in found["Configs"]}})


@case("describe-configs/all-names", PLAIN)
def _(c):
    for label, keys in (("null", None), ("empty", [])):
        answer = c.ask("DescribeConfigs", 4, show=False, Resources=[
            {"ResourceType": TOPIC, "ResourceName": c.topic, "ConfigurationKeys": keys}])
        names_only(c, answer, f"settings with a list of keys that is {label}")


@case("describe-configs/all-values", PLAIN)
def _(c):
    c.hidden.update(("Documentation",))
    describe(c)


@case("describe-configs/resources", PLAIN)
def _(c):
    for kind, name in ((0, "x"), (1, "x"), (3, "x"), (99, "x"), (-1, "x"), (TOPIC, ""), (TOPIC, "a b"), (TOPIC, "x" * 250),
                       (BROKER, "5"), (BROKER, "x"), (BROKER_LOGGER, "5"), (BROKER_LOGGER, "x"), (CLIENT_METRICS, "x"), (GROUP, "x")):
        describe(c, "nonsense", kind=kind, name=name, note=f"kind {kind} {name[:9]!r}")


@case("describe-configs/broker", PLAIN)
def _(c):
    c.hidden.update(("Documentation",))
    for keys in (["log.retention.ms"], ["log.cleanup.policy"], ["log.segment.bytes"], ["message.max.bytes"], ["num.partitions"],
                 ["auto.create.topics.enable"], ["nonsense"]):
        describe(c, *keys, kind=BROKER, name="0", note=str(keys))
    describe(c, "log.retention.ms", kind=BROKER, name="", note="the default of all brokers")


@case("describe-configs/twice", PLAIN)
def _(c):
    one = {"ResourceType": TOPIC, "ResourceName": c.topic, "ConfigurationKeys": ["retention.ms", "retention.ms"]}
    c.ask("DescribeConfigs", 4, "a setting twice", Resources=[one])
    c.ask("DescribeConfigs", 4, "a topic twice", Resources=[one, {**one, "ConfigurationKeys": ["segment.ms"]}])
    c.ask("DescribeConfigs", 4, "nothing", Resources=[])


# IncrementalAlterConfigs.
for v in VERSIONS["IncrementalAlterConfigs"]:
    @case(f"incremental-alter-configs/v{v}", PLAIN)
    def _(c, v=v):
        steps = {
            "set": [("retention.ms", SET, "1000")], "only looked at": None,
            "delete": [("retention.ms", DELETE, None)], "delete what is not set": [("segment.ms", DELETE, None)],
            "delete with a value": [("retention.ms", DELETE, "5")],
            "delete an unknown one": [("nonsense", DELETE, None)], "set an unknown one": [("nonsense", SET, "1")],
            "append": [("cleanup.policy", APPEND, "compact")], "append what is there": [("cleanup.policy", APPEND, "compact")],
            "append nonsense": [("cleanup.policy", APPEND, "nonsense")],
            "subtract": [("cleanup.policy", SUBTRACT, "delete")], "subtract what is not there": [("cleanup.policy", SUBTRACT, "delete")],
            "subtract all": [("cleanup.policy", SUBTRACT, "compact")],
            "append to what is no list": [("retention.ms", APPEND, "5")], "subtract from what is no list": [("retention.ms", SUBTRACT, "5")],
            "append to a list": [("leader.replication.throttled.replicas", APPEND, "0:0")],
            "append another": [("leader.replication.throttled.replicas", APPEND, "1:0")],
            "set without a value": [("retention.ms", SET, None)], "append without a value": [("cleanup.policy", APPEND, None)],
            "an unknown operation": [("retention.ms", 4, "5")], "a negative operation": [("retention.ms", -1, "5")],
            "twice": [("retention.ms", SET, "7"), ("retention.ms", SET, "8")],
            "set and delete": [("retention.ms", SET, "7"), ("retention.ms", DELETE, None)],
            "one good, one bad": [("retention.ms", SET, "99"), ("segment.ms", SET, "x")], "two": [("retention.ms", SET, "99"), ("segment.ms", SET, "98")],
            "none": [],
        }
        for name, ops in steps.items():
            if ops is None:
                change(c, ("retention.ms", SET, "77"), version=v, validate=True, note=name)
            else:
                change(c, *ops, version=v, note=name)
            describe(c, "retention.ms", "cleanup.policy", "segment.ms", synonyms=False, note=f"after {name}")


@case("incremental-alter-configs/resources", PLAIN)
def _(c):
    for kind, name in ((0, "x"), (1, "x"), (99, "x"), (-1, "x"), (TOPIC, ""), (TOPIC, "a b"), (TOPIC, "no-such-topic"), (TOPIC, "x" * 250),
                       (BROKER, "5"), (BROKER, "x"), (CLIENT_METRICS, ""), (BROKER_LOGGER, "5")):
        change(c, ("nonsense", SET, "1"), kind=kind, name=name, note=f"kind {kind} {name[:9]!r}", validate=True)


@case("incremental-alter-configs/twice", PLAIN)
def _(c):
    one = {"ResourceType": TOPIC, "ResourceName": c.topic, "Configs": [{"Name": "retention.ms", "ConfigOperation": SET, "Value": "5"}]}
    other = {**one, "Configs": [{"Name": "segment.ms", "ConfigOperation": SET, "Value": "6"}]}
    c.ask("IncrementalAlterConfigs", 1, "a topic twice", Resources=[one, other])
    describe(c, "retention.ms", "segment.ms", synonyms=False)
    c.ask("IncrementalAlterConfigs", 1, "nothing", Resources=[])


# AlterConfigs.
for v in VERSIONS["AlterConfigs"]:
    @case(f"alter-configs/v{v}", PLAIN)
    def _(c, v=v):
        steps = {
            "one": [("retention.ms", "1000")], "another": [("segment.ms", "2000")], "two": [("retention.ms", "5"), ("segment.ms", "6")],
            "an unknown one": [("nonsense", "1")], "a bad value": [("retention.ms", "x")],
            "twice": [("retention.ms", "7"), ("retention.ms", "8")], "without a value": [("retention.ms", None)], "none": [],
        }
        for name, values in steps.items():
            replace(c, *values, version=v, note=name)
            describe(c, "retention.ms", "segment.ms", synonyms=False, note=f"after {name}")
        replace(c, ("retention.ms", "9"), version=v, validate=True, note="only looked at")
        describe(c, "retention.ms", synonyms=False, note="after only looked at")


@case("alter-configs/resources", PLAIN)
def _(c):
    for kind, name in ((0, "x"), (1, "x"), (99, "x"), (TOPIC, ""), (TOPIC, "a b"), (TOPIC, "no-such-topic"), (BROKER, "5"), (BROKER, "x")):
        replace(c, ("nonsense", "1"), kind=kind, name=name, note=f"kind {kind} {name!r}", validate=True)


@case("settings/lags-that-contradict", PLAIN)
def _(c):
    change(c, ("min.compaction.lag.ms", SET, "100"), ("max.compaction.lag.ms", SET, "50"), note="min above max")
    change(c, ("max.compaction.lag.ms", SET, "50"), note="max")
    change(c, ("min.compaction.lag.ms", SET, "100"), note="min above the max that is set")
    describe(c, "min.compaction.lag.ms", "max.compaction.lag.ms")


@case("settings/local-above-whole", PLAIN)
def _(c):
    change(c, ("retention.ms", SET, "100"), ("local.retention.ms", SET, "200"), note="local above the whole, ms")
    change(c, ("retention.bytes", SET, "100"), ("local.retention.bytes", SET, "200"), note="local above the whole, bytes")


@case("settings/min-insync-replicas-two", PLAIN)
def _(c):
    change(c, ("min.insync.replicas", SET, "2"))
    c.settle()
    time.sleep(0.3)
    for acks in (1, -1):
        c.produce(at_t(), acks=acks, note=f"acks {acks}")
    c.read()
