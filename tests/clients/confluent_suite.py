"""Keylane through confluent-kafka (librdkafka)."""

import json
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, OFFSET_INVALID, OFFSET_STORED, TIMESTAMP_LOG_APPEND_TIME, Consumer, ConsumerGroupState, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import ConsumerGroupTopicPartitions, TopicCollection
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, NewTopic, OffsetSpec, ResourceType

import checks
from checks import BOOTSTRAP, CODECS, EPOCH_MS, Record, check, equal, expect, judge, raises, records, topic, wait_for

admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def create(name, partitions, config=None):
    new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config or {})
    admin.create_topics([new])[name].result(20)

    def there():
        found = admin.list_topics(timeout=10).topics.get(name)
        return found and len(found.partitions) == partitions and all(p.leader >= 0 for p in found.partitions.values())

    wait_for(f"topic {name} with leaders", 20, there)

    # A leader that is not ready refuses batches, and without idempotence their repetition changes the order.
    def leaders_answer():
        wanted = {TopicPartition(name, p): OffsetSpec.latest() for p in range(partitions)}
        try:
            return all(found.result(10) for found in admin.list_offsets(wanted).values())
        except KafkaException as cause:
            if cause.args[0].retriable() or cause.args[0].code() == KafkaError.NOT_LEADER_FOR_PARTITION:
                return False
            raise

    wait_for(f"leaders of {name}", 20, leaders_answer)


def consumer(**options):
    settings = {"bootstrap.servers": BOOTSTRAP, "group.id": "unused", "enable.auto.commit": False,
                "allow.auto.create.topics": False, "auto.offset.reset": "error"}
    return Consumer({**settings, **options})


def produce(name, sent, partition=None, **options):
    """Sends records and returns {partition: [offsets]} of the acknowledgements, in their order."""
    acked, errors = {}, []

    def report(error, message):
        if error:
            errors.append(error)
        else:
            acked.setdefault(message.partition(), []).append(message.offset())

    producer = Producer({"bootstrap.servers": BOOTSTRAP, **options})
    where = {} if partition is None else {"partition": partition}
    for record in sent:
        while True:
            try:
                producer.produce(name, key=record.key, value=record.value, headers=list(record.headers),
                                 timestamp=record.time_ms or 0, on_delivery=report, **where)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    equal(producer.flush(60), 0, "records without a report")
    equal(errors, [], "delivery errors")
    return acked


def read_message(message):
    headers = tuple(message.headers() or ())
    return message.offset(), Record(message.key(), message.value(), headers, message.timestamp()[1])


def read_all(name, partitions, start=OFFSET_BEGINNING, **options):
    """Reads the partitions to their end: {partition: [(offset, Record)]}."""
    reader = consumer(**options)
    try:
        ends = {p: reader.get_watermark_offsets(TopicPartition(name, p), timeout=10)[1] for p in range(partitions)}
        reader.assign([TopicPartition(name, p, start) for p in range(partitions)])
        got = {p: [] for p in range(partitions)}
        left = {p for p, end in ends.items() if end > 0}
        deadline = time.monotonic() + 60
        while left:
            expect(time.monotonic() < deadline, f"partitions {left} of {name} are not read to {ends} within 60 s")
            for message in reader.consume(1000, 0.5):
                expect(message.error() is None, f"while reading: {message.error()}")
                row = read_message(message)
                got[message.partition()].append(row)
                if row[0] + 1 >= ends[message.partition()]:
                    left.discard(message.partition())
        return got
    finally:
        reader.close()


def round_trip(codec):
    name, sent = topic(f"rt-{codec}"), records(3000)
    create(name, 3)
    acked = produce(name, sent, **{"compression.type": codec})
    got = read_all(name, 3)
    judge(sent, got)
    for partition, offsets in acked.items():
        equal(sorted(offsets), [offset for offset, _ in got[partition]], f"acked offsets of {partition}")
    expect(len([p for p in got if got[p]]) > 1, "keys spread over partitions")


def compressed_on_the_wire(codec):
    """librdkafka turns compression off without a word when a broker does not state the right versions."""
    name, seen = topic(f"wire-{codec}"), {}
    create(name, 1)
    sent = [Record(None, b"the same bytes again " * 50) for _ in range(1000)]

    def statistics(text):
        seen.update(json.loads(text))

    producer = Producer({"bootstrap.servers": BOOTSTRAP, "compression.type": codec, "linger.ms": 50,
                         "statistics.interval.ms": 200, "stats_cb": statistics})
    for record in sent:
        producer.produce(name, value=record.value)
    equal(producer.flush(30), 0, "records without a report")
    seen.clear()
    wait_for("statistics", 5, lambda: (producer.poll(0.3), seen)[1])
    wire, plain = seen["tx_bytes"], sum(len(record.value) for record in sent)
    if codec == "none":
        expect(wire > plain, f"{wire} bytes sent for {plain}")
    else:
        expect(wire < plain / 2, f"{wire} bytes sent for {plain}: not compressed")


def acks(level):
    name = topic(f"acks-{level}")
    create(name, 1)
    sent = records(500)
    produce(name, sent, acks=level)
    wait_for("records", 10, lambda: consumer().get_watermark_offsets(TopicPartition(name, 0), timeout=10)[1] == 500)
    judge(sent, read_all(name, 1))


def idempotent():
    """Many small requests in flight; every record once and in order."""
    name = topic("idempotent")
    create(name, 2)
    sent = [Record(b"ab"[i % 2 : i % 2 + 1], b"%d" % i, (), EPOCH_MS + i) for i in range(20_000)]
    produce(name, sent, **{"enable.idempotence": True, "batch.num.messages": 20, "linger.ms": 0})
    got = read_all(name, 2)
    judge(sent, got)


def explicit_partition():
    name = topic("explicit")
    create(name, 5)
    sent = [Record(None, b"v%d" % i, (), EPOCH_MS) for i in range(10)]
    equal(produce(name, sent, partition=3), {3: list(range(10))}, "acked")
    got = read_all(name, 5)
    equal({p: len(rows) for p, rows in got.items()}, {0: 0, 1: 0, 2: 0, 3: 10, 4: 0}, "records per partition")
    equal([record.value for _, record in got[3]], [record.value for record in sent], "values")


def offsets():
    """Beginning, end and by time, from the consumer and from the admin client."""
    name = topic("offsets")
    create(name, 2)
    produce(name, [Record(b"k", b"%d" % i, (), EPOCH_MS + i * 1000) for i in range(100)], partition=1,
            **{"batch.num.messages": 7})
    reader = consumer()
    equal(reader.get_watermark_offsets(TopicPartition(name, 0), timeout=10), (0, 0), "bounds of the empty one")
    equal(reader.get_watermark_offsets(TopicPartition(name, 1), timeout=10), (0, 100), "bounds")
    for time_ms, wanted in [(0, 0), (EPOCH_MS, 0), (EPOCH_MS + 1, 1), (EPOCH_MS + 41_000, 41),
                            (EPOCH_MS + 41_001, 42), (EPOCH_MS + 99_000, 99)]:
        found = reader.offsets_for_times([TopicPartition(name, 1, time_ms)], timeout=10)[0]
        equal((found.error, found.offset), (None, wanted), f"offset at {time_ms}")
    beyond = reader.offsets_for_times([TopicPartition(name, 1, EPOCH_MS + 99_001)], timeout=10)[0]
    expect(beyond.offset < 0, f"an offset after the last time: {beyond.offset}")
    reader.close()
    for spec, wanted in [(OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 100), (OffsetSpec.max_timestamp(), 99)]:
        where = TopicPartition(name, 1)
        equal(admin.list_offsets({where: spec})[where].result(10).offset, wanted, f"admin's {spec}")


def seek_into_a_batch():
    name = topic("seek")
    create(name, 1)
    produce(name, [Record(None, b"%d" % i, (), EPOCH_MS) for i in range(1000)], **{"linger.ms": 200})
    for start in [0, 1, 500, 999]:
        rows = read_all(name, 1, start)[0]
        equal([offset for offset, _ in rows], list(range(start, 1000)), f"offsets from {start}")


def out_of_range():
    name = topic("range")
    create(name, 1)
    produce(name, [Record(None, b"x")])
    reader = consumer()
    reader.assign([TopicPartition(name, 0, 50)])
    message = reader.poll(15)
    reader.close()
    expect(message is not None and message.error() is not None, f"no error, but {message}")
    equal(message.error().code(), KafkaError._AUTO_OFFSET_RESET, "error")
    expect("out of range" in message.error().str().lower(), message.error().str())


def tail():
    """A consumer that waits at the end gets a record soon after it is written."""
    name = topic("tail")
    create(name, 1)
    reader = consumer(**{"fetch.wait.max.ms": 10_000})
    reader.assign([TopicPartition(name, 0, 0)])
    expect(reader.poll(1.5) is None, "a record in an empty partition")
    for i in range(3):
        produce(name, [Record(None, b"%d" % i)])
        start = time.monotonic()
        message = reader.poll(5)
        expect(message is not None and message.error() is None, f"record {i}: {message and message.error()}")
        expect(time.monotonic() - start < 2, f"record {i} took {time.monotonic() - start:.1f} s")
        equal(message.value(), b"%d" % i, "value")
    reader.close()


def large_records():
    name = topic("large")
    create(name, 1)
    sent = [Record(b"k", bytes([i]) * 900_000, (), EPOCH_MS + i) for i in range(8)]
    produce(name, sent)
    # Smaller fetch limits than a record: the first batch comes whole nevertheless.
    judge(sent, read_all(name, 1, **{"fetch.message.max.bytes": 1000}))


def too_large():
    name = topic("toolarge")
    create(name, 1, {"max.message.bytes": "10000"})
    errors = []
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    producer.produce(name, value=b"x" * 50_000, on_delivery=lambda error, _: errors.append(error))
    equal(producer.flush(20), 0, "records without a report")
    expect(errors[0] is not None, "a record above max.message.bytes was accepted")
    equal(errors[0].code(), KafkaError.MSG_SIZE_TOO_LARGE, "error")
    equal(consumer().get_watermark_offsets(TopicPartition(name, 0), timeout=10), (0, 0), "bounds")


def auto_create():
    name = topic("auto")
    produce(name, [Record(b"k", b"v", (), EPOCH_MS)])
    found = admin.list_topics(timeout=10).topics[name]
    got = read_all(name, len(found.partitions))
    equal(sum(len(rows) for rows in got.values()), 1, "records")


def unknown_topic():
    name = topic("nobody-made-this")
    reader = consumer()
    found = reader.list_topics(name, timeout=10).topics[name]
    reader.close()
    expect(found.error is not None, "a topic that does not exist is described")
    equal(found.error.code(), KafkaError.UNKNOWN_TOPIC_OR_PART, "error")
    expect(name not in admin.list_topics(timeout=10).topics, "asking created the topic")


def describe():
    name = topic("described")
    create(name, 4)
    cluster = admin.describe_cluster().result(10)
    expect(cluster.cluster_id, "a cluster id")
    equal(len(cluster.nodes), 1, "nodes")
    host, port = BOOTSTRAP.rsplit(":", 1)
    equal((cluster.nodes[0].host, cluster.nodes[0].port), (host, int(port)), "address of the node")
    about = admin.describe_topics(TopicCollection([name]))[name].result(10)
    equal(sorted(p.id for p in about.partitions), [0, 1, 2, 3], "partitions")
    expect(all(p.leader.id == cluster.nodes[0].id for p in about.partitions), "leaders")
    expect(name in admin.list_topics(timeout=10).topics, "listed")


def configs():
    name = topic("configured")
    create(name, 1, {"max.message.bytes": "123456"})
    where = ConfigResource(ResourceType.TOPIC, name)
    found = admin.describe_configs([where])[where].result(10)
    limit = found["max.message.bytes"]
    equal((limit.value, limit.is_default), ("123456", False), "max.message.bytes")
    equal(limit.source, ConfigSource.DYNAMIC_TOPIC_CONFIG.value, "source of max.message.bytes")
    for key in ["retention.ms", "cleanup.policy", "compression.type", "message.timestamp.type"]:
        expect(key in found and found[key].value, f"{key} is not described")
        expect(found[key].is_default, f"{key} is not a default")
    missing = ConfigResource(ResourceType.TOPIC, topic("nobody-made-this"))
    error = raises(KafkaException, lambda: admin.describe_configs([missing])[missing].result(10), "configs of nothing")
    equal(error.args[0].code(), KafkaError.UNKNOWN_TOPIC_OR_PART, "error")


def alter_configs():
    name = topic("altered")
    create(name, 1, {"segment.ms": "3600000"})

    def alter(*changes):
        entries = [ConfigEntry(key, value, incremental_operation=kind) for kind, key, value in changes]
        where = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        admin.incremental_alter_configs([where])[where].result(10)

    def value(key):
        where = ConfigResource(ResourceType.TOPIC, name)
        return admin.describe_configs([where])[where].result(10)[key].value

    alter((AlterConfigOpType.SET, "retention.ms", "86400000"), (AlterConfigOpType.APPEND, "cleanup.policy", "compact"))
    wait_for("the change", 20, lambda: value("retention.ms") == "86400000")
    equal((value("cleanup.policy"), value("segment.ms")), ("delete,compact", "3600000"), "the others")
    alter((AlterConfigOpType.DELETE, "retention.ms", None))
    wait_for("the change", 20, lambda: value("retention.ms") == "604800000")
    bad = (AlterConfigOpType.SET, "retention.ms", "soon")
    error = raises(KafkaException, lambda: alter(bad), "a bad value")
    equal(error.args[0].code(), KafkaError.INVALID_CONFIG, "error")


def delete_records():
    name = topic("delete-records")
    create(name, 1)
    produce(name, records(100))
    place = TopicPartition(name, 0, 40)
    equal(admin.delete_records([place])[place].result(20).low_watermark, 40, "low watermark")
    equal(consumer().get_watermark_offsets(TopicPartition(name, 0), timeout=10), (40, 100), "bounds")
    equal([offset for offset, _ in read_all(name, 1)[0]], list(range(40, 100)), "what is left")
    above = TopicPartition(name, 0, 101)
    error = raises(KafkaException, lambda: admin.delete_records([above])[above].result(20), "above the end")
    equal(error.args[0].code(), KafkaError.OFFSET_OUT_OF_RANGE, "error")


def places(found):
    return [(place.partition, place.offset, place.metadata) for place in found]


def committed_offsets():
    """A consumer that assigns its partitions commits, with metadata; another one of its group finds that."""
    name, group = topic("committed"), topic("group")
    create(name, 3)
    produce(name, records(50), partition=1)
    first = consumer(**{"group.id": group})
    both = [TopicPartition(name, p) for p in range(3)]
    equal(places(first.committed(both, timeout=10)), [(p, OFFSET_INVALID, None) for p in range(3)], "before")
    first.assign([TopicPartition(name, 1, OFFSET_BEGINNING)])
    message = first.poll(20)
    # A message without a value is as long as nothing, and passes for false.
    expect(message is not None and not message.error(), "a record")
    equal(places(first.commit(message, asynchronous=False)), [(1, 1, None)], "commit of a message")
    text = "p\u00fcnktlich \U0001f600"
    first.commit(offsets=[TopicPartition(name, 1, 20, text), TopicPartition(name, 2, 9)], asynchronous=False)
    first.close()
    second = consumer(**{"group.id": group})
    wanted = [(0, OFFSET_INVALID, None), (1, 20, text), (2, 9, None)]
    equal(places(second.committed(both, timeout=10)), wanted, "committed")
    second.assign([TopicPartition(name, 1, OFFSET_STORED)])
    message = second.poll(20)
    expect(message is not None, "a record for the second one")
    equal(message.offset(), 20, "where the second one goes on")
    second.close()
    other = consumer(**{"group.id": topic("other-group")})
    equal(places(other.committed(both, timeout=10))[1], (1, OFFSET_INVALID, None), "of another group")
    other.close()


def auto_commit():
    name, group = topic("auto-commit"), topic("auto-group")
    create(name, 1)
    produce(name, records(30), partition=0)
    options = {"group.id": group, "enable.auto.commit": True, "auto.commit.interval.ms": 100, "auto.offset.reset": "earliest"}
    reader = consumer(**options)
    reader.assign([TopicPartition(name, 0)])
    wait_for("records", 20, lambda: len(reader.consume(30, 1)) > 0)
    reader.close()
    reader = consumer(**options)
    found = reader.committed([TopicPartition(name, 0)], timeout=10)[0].offset
    reader.close()
    expect(0 < found <= 30, f"{found} committed when it was closed")


def commit_errors():
    name = topic("commit-errors")
    create(name, 1)
    reader = consumer(**{"group.id": topic("commit-errors-group")})

    def code(place):
        done = raises(KafkaException, lambda: reader.commit(offsets=[place], asynchronous=False), str(place))
        return done.args[0].code()

    equal(code(TopicPartition(name, 0, 1, "x" * 4097)), KafkaError.OFFSET_METADATA_TOO_LARGE, "long metadata")
    equal(code(TopicPartition(name, 7, 1)), KafkaError.UNKNOWN_TOPIC_OR_PART, "no such partition")
    reader.close()


def groups():
    """Groups that are nothing but their offsets, through the admin client."""
    name, group = topic("groups"), topic("admin-group")
    create(name, 2)

    def listed():
        request = [ConsumerGroupTopicPartitions(group)]
        return places(admin.list_consumer_group_offsets(request)[group].result(20).topic_partitions)

    equal(listed(), [], "before")
    wanted = [TopicPartition(name, 0, 3, "m"), TopicPartition(name, 1, 4)]
    request = [ConsumerGroupTopicPartitions(group, wanted)]
    admin.alter_consumer_group_offsets(request)[group].result(20)
    equal(sorted(listed()), [(0, 3, "m"), (1, 4, None)], "offsets")
    found = {g.group_id: g for g in admin.list_consumer_groups(request_timeout=10).result(20).valid}
    expect(group in found and found[group].is_simple_consumer_group, "listed")
    equal(found[group].state, ConsumerGroupState.EMPTY, "state in the list")
    about = admin.describe_consumer_groups([group], request_timeout=10)[group].result(20)
    equal((about.state, len(about.members)), (ConsumerGroupState.EMPTY, 0), "state")
    admin.delete_consumer_groups([group], request_timeout=10)[group].result(20)
    equal(listed(), [], "after it was deleted")
    again = lambda: admin.delete_consumer_groups([group], request_timeout=10)[group].result(20)
    equal(raises(KafkaException, again, "again").args[0].code(), KafkaError.GROUP_ID_NOT_FOUND, "error")


def create_errors():
    name = topic("twice")
    create(name, 1)

    def code(new):
        return raises(KafkaException, lambda: admin.create_topics([new])[new.topic].result(10), new.topic).args[0].code()

    equal(code(NewTopic(name, 1, 1)), KafkaError.TOPIC_ALREADY_EXISTS, "the same again")
    equal(code(NewTopic("not a name!", 1, 1)), KafkaError.TOPIC_EXCEPTION, "bad name")
    equal(code(NewTopic(topic("replicas"), 1, 3)), KafkaError.INVALID_REPLICATION_FACTOR, "three replicas")


def delete():
    """A deleted topic is unknown; one made anew under its name is empty."""
    name = topic("deleted")
    create(name, 2)
    produce(name, records(200))
    admin.delete_topics([name])[name].result(20)
    wait_for("the topic is gone", 10, lambda: name not in admin.list_topics(timeout=10).topics)
    error = raises(KafkaException, lambda: admin.delete_topics([name])[name].result(10), "deleting it again")
    equal(error.args[0].code(), KafkaError.UNKNOWN_TOPIC_OR_PART, "error")
    create(name, 2)
    equal(consumer().get_watermark_offsets(TopicPartition(name, 0), timeout=10), (0, 0), "bounds of the new one")
    sent = records(100)
    produce(name, sent)
    judge(sent, read_all(name, 2))


def many_partitions():
    """Every partition has its own offsets, in one log or not."""
    name, count = topic("many"), 50
    create(name, count)
    sent = [Record(b"%d" % (i % 500), b"%d" % i, (), EPOCH_MS + i) for i in range(5000)]
    produce(name, sent, **{"partitioner": "murmur2_random"})
    judge(sent, read_all(name, count))


def append_time():
    """Topics with LogAppendTime: the report and what is read carry the broker's time, whatever the producer wrote."""
    name, reports = topic("append-time"), []
    create(name, 1, {"message.timestamp.type": "LogAppendTime"})
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 200})
    before = int(time.time() * 1000)
    for i in range(10):
        producer.produce(name, value=b"v", timestamp=EPOCH_MS + i, on_delivery=lambda *report: reports.append(report))
    equal(producer.flush(30), 0, "records without a report")
    after = int(time.time() * 1000)
    equal([error for error, _ in reports], [None] * 10, "delivery errors")
    for _, message in reports:
        kind, at = message.timestamp()
        equal(kind, TIMESTAMP_LOG_APPEND_TIME, "kind of time in the report")
        expect(before <= at <= after, f"time in the report: {at}, between {before} and {after}")
    times = [record.time_ms for _, record in read_all(name, 1)[0]]
    equal(times, [message.timestamp()[1] for _, message in reports], "times read")


def ordering_example(*arguments):
    program = Path(__file__).resolve().parent.parent.parent / "docs/examples/kafka_ordering.py"
    done = subprocess.run([sys.executable, program, BOOTSTRAP, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=120)
    expect(done.stdout, done.stderr[-300:])
    return done.returncode, done.stdout.splitlines()


def parcels_in_order():
    for more in [[], ["--grow"]]:
        code, lines = ordering_example(*more)
        equal((code, lines[-1]), (0, "8 of 8 parcels are in order"), "verdict")
        equal(sum(line.startswith("partition ") for line in lines), 4 if more else 3, "partitions")
        # Two parcels move to a partition that is read before the one in which they began.
        told = "read one partition after the other: 6 of 8 parcels are in order"
        equal(told in lines, bool(more), "what moving keys do to a replay")


def parcels_out_of_order():
    code, lines = ordering_example("--keys", "random")
    # A parcel can be in order by chance: if its seven records come to lie in partitions that never go down.
    expect(code == 1 and sum("out of order" in line for line in lines) >= 4, f"{lines}")


def main():
    for codec in CODECS:
        check(f"round trip, {codec}", round_trip, codec)
        check(f"compressed on the wire, {codec}", compressed_on_the_wire, codec)
    for level in ["0", "1", "all"]:
        check(f"acks={level}", acks, level)
    for test in [idempotent, explicit_partition, offsets, seek_into_a_batch, out_of_range, tail, large_records,
                 too_large, auto_create, unknown_topic, describe, configs, alter_configs,
                 delete_records, committed_offsets, auto_commit, commit_errors, groups, create_errors, delete,
                 many_partitions, append_time, parcels_in_order, parcels_out_of_order]:
        check(test.__name__.replace("_", " "), test)
    checks.finish()


main()
