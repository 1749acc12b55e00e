"""Settings of the broker and levels of its log, changed while it runs. They concern every topic, so these cases run alone."""

import time

from case import Topic, case
from cases_configs import APPEND, BROKER, BROKER_LOGGER, DELETE, SET, SUBTRACT, TOPIC, change, describe, replace
from cases_produce import at_t

PLAIN = Topic()
ROOT = "root"


def alone(name, *topics):
    return case(name, *topics, alone=True)


def both(c, on_broker, on_topic, note):
    """What the broker, all brokers and a topic have."""
    # The broker's own applies a change after it was answered.
    time.sleep(0.3)
    describe(c, on_broker, kind=BROKER, name="0", note=f"of the broker, {note}")
    describe(c, on_broker, kind=BROKER, name="", note=f"of all brokers, {note}")
    describe(c, on_topic, note=f"of the topic, {note}")


@alone("broker-settings/layers", PLAIN)
def _(c):
    key, on_topic = "log.segment.delete.delay.ms", "file.delete.delay.ms"
    both(c, key, on_topic, "before")
    change(c, (key, SET, "70000"), kind=BROKER, name="", note="all brokers")
    both(c, key, on_topic, "all brokers have it")
    change(c, (key, SET, "80000"), kind=BROKER, name="0", note="the broker")
    both(c, key, on_topic, "both have it")
    change(c, (on_topic, SET, "90000"), note="the topic")
    both(c, key, on_topic, "the topic has its own")
    change(c, (on_topic, DELETE, None), note="the topic no more")
    change(c, (key, DELETE, None), kind=BROKER, name="0", note="the broker no more")
    both(c, key, on_topic, "all brokers have it still")
    change(c, (key, DELETE, None), kind=BROKER, name="", note="nobody")
    both(c, key, on_topic, "after")


@alone("broker-settings/in-force", PLAIN)
def _(c):
    record = at_t([{"value": b"x" * 3000}])
    c.produce(record, note="a large batch")
    change(c, ("message.max.bytes", SET, "2000"), kind=BROKER, name="", note="less is allowed")
    time.sleep(0.5)
    c.produce(record, note="a large batch again")
    change(c, ("message.max.bytes", DELETE, None), kind=BROKER, name="", note="as before")
    time.sleep(0.5)
    c.produce(record, note="a large batch at last")


@alone("broker-settings/values", PLAIN)
def _(c):
    for name in ("0", ""):
        for key, value in (("log.retention.ms", "-2"), ("log.retention.ms", "x"), ("log.retention.ms", ""), ("log.retention.ms", None),
                           ("log.cleanup.policy", "nonsense"), ("compression.type", "deflate"), ("log.message.timestamp.type", "Now"),
                           ("log.cleaner.min.cleanable.ratio", "2")):
            change(c, (key, SET, value), kind=BROKER, name=name, note=f"{name!r} {key}={value}", validate=True)


@alone("broker-settings/read-only", PLAIN)
def _(c):
    for key, value in (("num.partitions", "5"), ("auto.create.topics.enable", "false"), ("node.id", "3"), ("broker.id", "3"), ("log.dirs", "/x"),
                       ("default.replication.factor", "2"), ("offsets.retention.minutes", "5")):
        change(c, (key, SET, value), kind=BROKER, name="0", note=f"{key}={value}", validate=True)
        change(c, (key, SET, value), kind=BROKER, name="", note=f"{key}={value} for all", validate=True)


@alone("broker-settings/operations", PLAIN)
def _(c):
    steps = {
        "set": [("log.cleanup.policy", SET, "compact")], "append": [("log.cleanup.policy", APPEND, "delete")],
        "subtract": [("log.cleanup.policy", SUBTRACT, "compact")], "twice": [("log.segment.bytes", SET, "2000000"), ("log.segment.bytes", SET, "3000000")],
        "one good, one bad": [("log.segment.delete.delay.ms", SET, "99"), ("log.cleanup.policy", SET, "x")],
        "delete what was not set": [("leader.replication.throttled.rate", DELETE, None)], "delete": [("log.cleanup.policy", DELETE, None)], "delete again": [("log.cleanup.policy", DELETE, None)], "none": [],
    }
    for name, ops in steps.items():
        change(c, *ops, kind=BROKER, name="0", note=name)
        time.sleep(0.3)
        describe(c, "log.cleanup.policy", "log.segment.delete.delay.ms", kind=BROKER, name="0", note=f"after {name}")
    change(c, ("log.segment.delete.delay.ms", SET, "5"), kind=BROKER, name="0", validate=True, note="only looked at")
    describe(c, "log.segment.delete.delay.ms", kind=BROKER, name="0", note="after only looked at")


@alone("broker-settings/replaced", PLAIN)
def _(c):
    replace(c, ("log.segment.delete.delay.ms", "70000"), ("log.flush.interval.ms", "5"), kind=BROKER, name="0", note="two")
    time.sleep(0.3)
    describe(c, "log.segment.delete.delay.ms", "log.flush.interval.ms", kind=BROKER, name="0", note="after two", synonyms=False)
    replace(c, ("log.flush.interval.ms", "6"), kind=BROKER, name="0", note="one")
    time.sleep(0.3)
    describe(c, "log.segment.delete.delay.ms", "log.flush.interval.ms", kind=BROKER, name="0", note="after one", synonyms=False)
    replace(c, kind=BROKER, name="0", note="none")
    time.sleep(0.3)
    describe(c, "log.flush.interval.ms", kind=BROKER, name="0", note="after none", synonyms=False)


@alone("broker-settings/loggers", PLAIN)
def _(c):
    def level(note, *left_out):
        described = describe(c, ROOT, kind=BROKER_LOGGER, name="0", show=False)["Results"][0]
        c.show(note, [described["ErrorCode"]] + [{k: one[k] for k in ("Name", "Value", "ReadOnly", "ConfigSource", "IsSensitive") if k not in left_out} for one in described["Configs"]])
    # They were started with different ones.
    level("before", "Value")
    change(c, (ROOT, SET, "WARN"), kind=BROKER_LOGGER, name="0", note="set")
    level("after")
    for ops, note in (([(ROOT, SET, "LOUD")], "no level"), ([(ROOT, SET, "debug")], "a small one"), ([(ROOT, SET, None)], "without a value"),
                      ([(ROOT, DELETE, None)], "delete the root's"), ([(ROOT, APPEND, "INFO")], "append"), ([(ROOT, SUBTRACT, "INFO")], "subtract"),
                      ([("no.such.logger", SET, "INFO")], "no such logger"), ([("no.such.logger", DELETE, None)], "delete no such logger"),
                      ([(ROOT, SET, "ERROR"), ("no.such.logger", SET, "INFO")], "one good, one bad"), ([], "nothing")):
        change(c, *ops, kind=BROKER_LOGGER, name="0", note=note)
        level(f"after {note}")
    change(c, (ROOT, SET, "ERROR"), kind=BROKER_LOGGER, name="0", validate=True, note="only looked at")
    level("after only looked at")
    replace(c, (ROOT, "ERROR"), kind=BROKER_LOGGER, name="0", note="replaced")
    change(c, (ROOT, SET, "INFO"), kind=BROKER_LOGGER, name="7", note="another broker's")
    change(c, (ROOT, SET, "INFO"), kind=BROKER_LOGGER, name="", note="of all brokers")
    change(c, (ROOT, SET, "INFO"), kind=BROKER_LOGGER, name="0", note="back")
