"""What was acked survives the end of the server. Run once per phase; STATE carries what was acked."""

import json
import os
import pathlib
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

import checks
from checks import BOOTSTRAP, check, equal, expect

PHASE = os.environ["PHASE"]
STATE = pathlib.Path(os.environ["STATE"])
PARTITIONS = 4


def load():
    return json.loads(STATE.read_text())


def write():
    """Appends records with and without idempotence; notes each acked offset and value."""
    state = load()
    for idempotent in [False, True]:
        errors = []

        def report(error, message):
            if error:
                errors.append(str(error))
            else:
                state["acked"].append([message.partition(), message.offset(), message.value().decode()])

        producer = Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": idempotent, "acks": "all"})
        for i in range(2000):
            value = f"{PHASE} {idempotent} {i} " + "x" * (i % 700)
            producer.produce(state["topic"], value=value, partition=i % PARTITIONS, on_delivery=report)
            producer.poll(0)
        equal(producer.flush(30), 0, "records without a report")
        equal(errors, [], "errors")
    STATE.write_text(json.dumps(state))


def read():
    """Exactly the acked records are there, at the offsets that were acked."""
    state = load()
    expect(state["acked"], "something was acked before")
    reader = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "unused", "enable.auto.commit": False})
    reader.assign([TopicPartition(state["topic"], p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    got, end = [], time.monotonic() + 60
    while len(got) < len(state["acked"]):
        expect(time.monotonic() < end, f"{len(got)} of {len(state['acked'])} records within 60 s")
        for message in reader.consume(1000, 0.5):
            expect(message.error() is None, f"{message.error()}")
            got.append([message.partition(), message.offset(), message.value().decode()])
    for p in range(PARTITIONS):
        mine = sorted(row for row in state["acked"] if row[0] == p)
        equal(reader.get_watermark_offsets(TopicPartition(state["topic"], p), timeout=10), (0, len(mine)), "bounds")
        equal([row[1] for row in mine], list(range(len(mine))), f"acked offsets of partition {p}")
    reader.close()
    equal(sorted(got), sorted(state["acked"]), "records")


def offsets(places):
    return [[place.partition, place.offset, place.metadata] for place in places]


def group(state):
    return Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": state["topic"], "enable.auto.commit": False})


def commit():
    """Commits how far each partition was acked, with the phase as metadata; notes what was answered."""
    state = load()
    ends = [sum(1 for row in state["acked"] if row[0] == p) for p in range(PARTITIONS)]
    wanted = [TopicPartition(state["topic"], p, ends[p], PHASE) for p in range(PARTITIONS)]
    keeper = group(state)
    keeper.commit(offsets=wanted, asynchronous=False)
    keeper.close()
    state["committed"] = offsets(wanted)
    STATE.write_text(json.dumps(state))


def committed():
    """The group is where it was."""
    state = load()
    keeper = group(state)
    found = keeper.committed([TopicPartition(state["topic"], p) for p in range(PARTITIONS)], timeout=20)
    keeper.close()
    equal(offsets(found), state["committed"], "committed offsets")


def create():
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    name = checks.topic("restart")
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(20)
    checks.wait_for("the topic", 20, lambda: name in admin.list_topics(timeout=10).topics)
    STATE.write_text(json.dumps({"topic": name, "acked": []}))


def main():
    if PHASE == "first":
        check("create", create)
    else:
        check("acked records are there", read)
        check("committed offsets are there", committed)
    check("write", write)
    check("acked records are there after writing", read)
    check("commit", commit)
    checks.finish()


main()
