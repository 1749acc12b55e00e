"""Produce: every version, every lie in a batch, every codec, and what is stored afterwards."""

from time import sleep

from batch import CODECS, batch, compress, gzip, lz4, old_message, record, snappy, zstd
from case import VERSIONS, Topic, add, case
from client import HOUR, T

PLAIN = Topic()
COMPACTED = Topic(cleanup_policy="compact")


def at_t(records=None, **header):
    """A batch whose first record is of the time that cases reckon from."""
    return batch(records, **{"first_time": T, **header})


def stores(data, version=9, **more):
    """A case that produces one thing, then reads what is there."""
    def function(c):
        c.produce(data, version=version, **more)
        c.read()
    return function


for v in VERSIONS["Produce"]:
    add(f"produce/v{v}", stores(at_t([{}, {"value": b"second", "time": 5, "headers": [(b"h", b"x"), (b"h", None)]}]), v), PLAIN)
    add(f"produce/v{v}-refused", stores(at_t(crc=7), v), PLAIN)


@case("produce/versions-no-longer-served", PLAIN)
def _(c):
    for v in (0, 1, 2):
        c.ask("Produce", 3, f"as v{v}", header={"version": v}, Acks=-1, TimeoutMs=1000, TopicData=[
            {"Name": c.topic, "PartitionData": [{"Index": 0, "Records": at_t()}]}])
        c.alive()


# What a batch's header claims.
TWO = [{}, {"time": 3}]
HEADERS = {
    "crc": dict(crc=0x12345678),
    "magic-0": dict(magic=0), "magic-1": dict(magic=1), "magic-3": dict(magic=3), "magic-negative": dict(magic=-1),
    "count-too-high": dict(count=3), "count-too-low": dict(count=1), "count-zero": dict(count=0),
    "count-negative": dict(count=-1), "count-huge": dict(count=0x7FFFFFFF),
    "last-delta-too-high": dict(last_delta=5), "last-delta-too-low": dict(last_delta=0),
    "last-delta-negative": dict(last_delta=-1),
    "size-too-small": dict(size=20), "size-too-large": dict(size=5000), "size-zero": dict(size=0),
    "size-negative": dict(size=-1), "size-one-less": dict(size=49 + 2 * 18 - 1),
    "base-offset": dict(base_offset=42), "base-offset-negative": dict(base_offset=-5),
    "leader-epoch": dict(leader_epoch=9),
    "max-time-minus-one": dict(max_time=-1), "max-time-zero": dict(max_time=0), "max-time-small": dict(max_time=1000),
    "max-time-far-future": dict(max_time=T + 24 * HOUR), "max-time-one-less": dict(max_time=T + 2),
    "max-time-lowest": dict(max_time=-2 ** 63), "max-time-highest": dict(max_time=2 ** 63 - 1),
    "first-time-minus-one": dict(first_time=-1, max_time=-1), "first-time-lowest": dict(first_time=-2 ** 63, max_time=0),
    "first-time-highest": dict(first_time=2 ** 63 - 1, max_time=0),
    "log-append-time-bit": dict(attributes=8), "log-append-time-bit-and-max": dict(attributes=8, max_time=T + 9),
    "transactional-bit": dict(attributes=16), "control-bit": dict(attributes=32),
    "transactional-and-control": dict(attributes=48), "delete-horizon-bit": dict(attributes=64),
    "unused-bits": dict(attributes=0x7F80), "all-high-bits": dict(attributes=-0x80),
    "codec-5": dict(codec=0, attributes=5), "codec-7": dict(codec=0, attributes=7),
    "producer-without-epoch": dict(producer=5), "epoch-without-producer": dict(epoch=0),
    "sequence-without-producer": dict(sequence=0), "producer-without-sequence": dict(producer=5, epoch=0),
    "producer-negative": dict(producer=-2, epoch=0, sequence=0),
}
for name, claims in HEADERS.items():
    add(f"produce/header/{name}", stores(at_t(TWO, **claims)), PLAIN)
    if name.startswith(("count", "last-delta", "max-time", "log-append")):
        add(f"produce/header/{name}-gzip", stores(at_t(TWO, **{"codec": CODECS["gzip"], **claims})), PLAIN)

# Records that contradict themselves; each also inside a compressed batch.
RECORDS = {
    "null-header-key": [{"headers": [(None, b"x")]}],
    "null-header-value": [{"headers": [(b"h", None)]}],
    "empty-header-key": [{"headers": [(b"", b"")]}],
    "header-key-negative": [{"headers": [], "header_count": 1, "extra": b"\x03\x01"}],
    "header-value-size-minus-two": [{"headers": [], "header_count": 1, "extra": b"\x02h\x03"}],
    "header-key-not-utf8": [{"headers": [(b"\xff\xfe", b"x")]}],
    "header-count-too-high": [{"header_count": 1}],
    "header-count-too-low": [{"headers": [(b"a", b"b")], "header_count": 0}],
    "header-count-negative": [{"header_count": -1}],
    "header-count-huge": [{"header_count": 0x7FFFFFFF}],
    "null-value": [{"value": None}], "null-key": [{"key": None}], "null-both": [{"key": None, "value": None}],
    "empty-value-and-key": [{"key": b"", "value": b""}],
    "key-size-minus-two": [{"key": None, "key_size": -2}], "value-size-minus-two": [{"value": None, "value_size": -2}],
    "key-size-too-large": [{"key_size": 100}], "value-size-too-large": [{"value_size": 100}],
    "value-size-too-small": [{"value_size": 2}],
    "size-too-large": [{"size": 60}], "size-too-small": [{"size": 5}], "size-zero": [{"size": 0}],
    "size-negative": [{"size": -1}], "size-huge": [{"size": 0x7FFFFFFF}], "size-of-six-bytes": [b"\x80\x80\x80\x80\x80\x01"],
    "bytes-in-a-record": [{"extra": b"zz"}], "bytes-after-the-last": [{}, record(delta=1) + b"zz"],
    "delta-gap": [{}, {"delta": 2}], "delta-twice": [{}, {"delta": 0}], "delta-backwards": [{"delta": 1}, {"delta": 0}],
    "delta-negative": [{"delta": -1}, {"delta": 1}], "delta-not-from-zero": [{"delta": 5}],
    "record-attributes": [{"attributes": 5}],
    "time-backwards": [{"time": 10}, {"time": -10}], "time-overflows": [{"time": 2 ** 62}, {"time": 2 ** 63 - 1}],
    "no-records": [], "an-empty-record": [b"\0"],
}
for name, records in RECORDS.items():
    add(f"produce/record/{name}", stores(at_t(records)), PLAIN)
    add(f"produce/record/{name}-gzip", stores(at_t(records, codec=CODECS["gzip"])), PLAIN)

# Codecs: good ones, and streams that are not what they say.
RECORD = record()
for name, codec in CODECS.items():
    good = compress(codec, record() + record(delta=1))
    bodies = {
        "good": {}, "garbage": dict(body=b"\x5a" * 40), "empty": dict(body=b""),
        "cut": dict(body=good[:len(good) * 2 // 3]), "cut-one": dict(body=good[:-1]),
        "bytes-after": dict(body=good + b"\0\0\0"), "garbage-after": dict(body=good + b"\x5a" * 9),
        "records-after": dict(body=compress(codec, record() + record(delta=1) + record(delta=2))),
        "bytes-after-records": dict(body=compress(codec, record() + record(delta=1) + b"zz")),
        "not-compressed": dict(body=record() + record(delta=1)),
        "two-frames": dict(body=compress(codec, record()) + compress(codec, record(delta=1))),
        "half-a-record": dict(body=compress(codec, (record() + record(delta=1))[:-4])),
        "wrong-delta": dict(body=compress(codec, record() + record(delta=3))),
        "null-header-key": dict(body=compress(codec, record() + record(delta=1, headers=[(None, b"x")]))),
    }
    for kind, claims in bodies.items():
        add(f"produce/{name}/{kind}", stores(at_t([{}, {}], codec=codec, **claims)), PLAIN)

FRAMINGS = {
    "snappy/bare": (CODECS["snappy"], snappy(RECORD, framed=False)),
    "snappy/wrong-size": (CODECS["snappy"], snappy(RECORD, framed=False).replace(b"\x14", b"\x7f", 1)),
    "snappy/block-size-negative": (CODECS["snappy"], snappy(RECORD)[:16] + b"\xff\xff\xff\xff" + snappy(RECORD)[20:]),
    "lz4/no-end-mark": (CODECS["lz4"], lz4(RECORD, end=False)),
    "lz4/wrong-check": (CODECS["lz4"], lz4(RECORD, check=0)),
    "lz4/dependent-blocks": (CODECS["lz4"], lz4(RECORD, descriptor=b"\x40\x40")),
    "lz4/version-0": (CODECS["lz4"], lz4(RECORD, descriptor=b"\x20\x40")),
    "lz4/reserved-bit": (CODECS["lz4"], lz4(RECORD, descriptor=b"\x62\x40")),
    "lz4/block-size-0": (CODECS["lz4"], lz4(RECORD, descriptor=b"\x60\x00")),
    "zstd/without-size": (CODECS["zstd"], zstd(RECORD, sized=False)),
    "zstd/wrong-size": (CODECS["zstd"], zstd(RECORD).replace(b"\xa0" + bytes([len(RECORD)]), b"\xa0\x7f", 1)),
    "zstd/skippable-frame-first": (CODECS["zstd"], b"\x50\x2a\x4d\x18\x02\0\0\0zz" + zstd(RECORD)),
    "zstd/dictionary": (CODECS["zstd"], b"\x28\xb5\x2f\xfd\xa1\x07" + zstd(RECORD)[5:]),
    "gzip/name-in-header": (CODECS["gzip"], gzip(RECORD)[:3] + b"\x08" + gzip(RECORD)[4:10] + b"n\0" + gzip(RECORD)[10:]),
    "gzip/wrong-check": (CODECS["gzip"], gzip(RECORD)[:-8] + b"\1\2\3\4" + gzip(RECORD)[-4:]),
    "gzip/wrong-size": (CODECS["gzip"], gzip(RECORD)[:-4] + b"\1\2\3\4"),
}
for name, (codec, body) in FRAMINGS.items():
    add(f"produce/{name}", stores(at_t([{}], codec=codec, body=body)), PLAIN)
for v in (3, 6, 7):
    add(f"produce/zstd/v{v}", stores(at_t(codec=CODECS["zstd"]), v), PLAIN)

# What stands where the batch should be.
SHAPES = {
    "two-batches": at_t() + at_t(), "a-batch-and-bytes": at_t() + b"\0\0\0", "a-batch-and-half": at_t() + at_t()[:40],
    "a-batch-cut": at_t()[:-3], "half-a-batch": at_t()[:40], "twelve-bytes": at_t()[:12], "three-bytes": at_t()[:3],
    "empty": b"", "message-v0": old_message(0), "message-v1": old_message(1, time=T),
    "message-v1-and-batch": old_message(1, time=T) + at_t(), "batch-and-message-v1": at_t() + old_message(1, time=T),
    "zeros": bytes(80),
}
for name, data in SHAPES.items():
    add(f"produce/shape/{name}", stores(data), PLAIN)


@case("produce/shape/null", PLAIN)
def _(c):
    c.produce(None)
    c.read()


# Timestamps.
for name, time in {"two-hours-ahead": 2 * HOUR, "in-59-minutes": 59 * 60_000, "a-year-ahead": 365 * 24 * HOUR,
                   "a-year-ago": -365 * 24 * HOUR}.items():
    add(f"produce/time/{name}", stores(at_t([{}, {"time": time}])), PLAIN)
    add(f"produce/time/{name}-gzip", stores(at_t([{}, {"time": time}], codec=1)), PLAIN)
add("produce/time/after-max-set", stores(at_t([{"time": 20 * 60_000 + 60_000}])), Topic(message_timestamp_after_max_ms=600_000))
add("produce/time/after-max-off", stores(at_t([{"time": 9 * HOUR}])), Topic(message_timestamp_after_max_ms=2 ** 63 - 1))
add("produce/time/before-max-set", stores(at_t([{}, {"time": -HOUR}])), Topic(message_timestamp_before_max_ms=600_000))
add("produce/time/before-max-kept", stores(at_t([{}, {"time": -HOUR}])), Topic(message_timestamp_before_max_ms=2 * HOUR))
add("produce/time/minus-one-before-max", stores(batch(first_time=-1)), Topic(message_timestamp_before_max_ms=600_000))


# LogAppendTime.
LAT = Topic(message_timestamp_type="LogAppendTime")
for name, claims in {
        "plain": {}, "gzip": dict(codec=1), "future": dict(first_time=T + 9 * HOUR), "bit-set": dict(attributes=8),
        "max-time-minus-one": dict(max_time=-1), "old": dict(first_time=0), "garbage": dict(codec=1, body=b"zzzz")}.items():
    add(f"produce/log-append-time/{name}", stores(at_t(TWO, **claims)), LAT)


@case("produce/log-append-time/lists-by-time", LAT)
def _(c):
    c.produce(at_t(TWO))
    # Within one millisecond both batches would have the latest time, and the first one would be named.
    sleep(0.05)
    c.produce(at_t(TWO))
    for when in (T, T + 9 * HOUR, 0, -3):
        c.list(when)


@case("produce/log-append-time/duplicate", LAT)
def _(c):
    pid = c.new_producer()
    for _ in range(2):
        c.produce(at_t(TWO, producer=pid, epoch=0, sequence=0))
    c.read()


# Compacted topics.
for name, records in {
        "null-key": [{"key": None}], "null-key-second": [{}, {"key": None}, {"key": None}], "tombstone": [{"value": None}],
        "empty-key": [{"key": b""}]}.items():
    add(f"produce/compacted/{name}", stores(at_t(records)), COMPACTED)
    add(f"produce/compacted/{name}-v7", stores(at_t(records), 7), COMPACTED)
    add(f"produce/compacted/{name}-zstd", stores(at_t(records, codec=4)), COMPACTED)

# compression.type: what is stored is compressed as the topic says.
LONG = [{"value": b"abcdefgh" * 40}, {"value": b"abcdefgh" * 40, "key": None, "headers": [(b"h", b"v")]}]
for kind in ("uncompressed", "gzip", "snappy", "lz4", "producer"):
    for name, codec in {"none": 0, **CODECS}.items():
        def recompressed(c, codec=codec, kind=kind):
            if kind not in ("uncompressed", "producer"):
                c.hidden.add("size")
            c.produce(at_t(LONG, codec=codec))
            c.read()
        add(f"produce/compression-type/{kind}-from-{name}", recompressed, Topic(compression_type=kind))


@case("produce/compression-type/zstd", Topic(compression_type="zstd"))
def _(c):
    c.hidden.update(("size", "records"))
    for codec in range(5):
        c.produce(at_t(LONG, codec=codec))
    c.read()


@case("produce/compression-type/idempotent", Topic(compression_type="gzip"))
def _(c):
    c.hidden.add("size")
    pid = c.new_producer()
    for sequence in (0, 2, 2, 0):
        c.produce(at_t(TWO, producer=pid, epoch=0, sequence=sequence, codec=3))
    c.read()


# Acks, and partitions and topics that are not there.
for acks in (0, 1, -1, 2, -2, 32767):
    add(f"produce/acks/{acks}", stores(at_t(), acks=acks), PLAIN)
add("produce/acks/0-refused", stores(at_t(crc=1), acks=0), PLAIN)
add("produce/acks/0-unknown-partition", stores(at_t(), acks=0, partition=7), PLAIN)
add("produce/acks/2-unknown-partition", stores(at_t(), acks=2, partition=7), PLAIN)
for v in (3, 9, 12, 13):
    for partition in (1, -1, 2 ** 31 - 1):
        add(f"produce/unknown/partition-{partition}-v{v}", stores(at_t(), v, partition=partition), PLAIN)


@case("produce/unknown/topic")
def _(c):
    for v in VERSIONS["Produce"]:
        c.produce(at_t(), version=v, topic=c.broker.prefix + "no-such-topic", note="no such topic")


@case("produce/unknown/names")
def _(c):
    for name in ("", ".", "..", "a b", "a/b", "x" * 249, "x" * 250, "\u00e9"):
        c.produce(at_t(), topic=name, note=f"{len(name)} {name[:9]}")


@case("produce/empty/no-topics")
def _(c):
    for v in VERSIONS["Produce"]:
        c.produce(version=v, topics=[], note="no topics")


@case("produce/empty/no-partitions", PLAIN)
def _(c):
    for v in (3, 9, 12, 13):
        c.produce(version=v, topics=[{"Name": c.topic, "TopicId": c.id(), "PartitionData": []}], note="no partitions")


@case("produce/twice/partition", PLAIN)
def _(c):
    part = {"Index": 0, "Records": at_t()}
    c.produce(topics=[{"Name": c.topic, "PartitionData": [part, part]}])
    c.read()


@case("produce/twice/topic", Topic(2))
def _(c):
    c.produce(topics=[{"Name": c.topic, "PartitionData": [{"Index": i, "Records": at_t()}]} for i in (0, 1)])
    c.read()
    c.read(partition=1)


@case("produce/many/one-bad", Topic(3))
def _(c):
    parts = [{"Index": 0, "Records": at_t()}, {"Index": 1, "Records": at_t(crc=1)}, {"Index": 2, "Records": at_t()},
             {"Index": 3, "Records": at_t()}]
    c.produce(topics=[{"Name": c.topic, "PartitionData": parts}])
    for partition in range(3):
        c.read(partition=partition)


@case("produce/transactional-id", PLAIN)
def _(c):
    c.produce(at_t(), transactional="some-id", note="with a plain batch")
    c.read()


# Sizes.
SMALL = Topic(max_message_bytes=200)
for size in (100, 200 - 80, 300):
    add(f"produce/size/value-{size}", stores(at_t([{"value": b"x" * size}])), SMALL)
add("produce/size/just-fits", stores(at_t([{"value": b"x" * (200 - 61 - 12), "key": b"k"}])), SMALL)
for size in range(125, 134):
    add(f"produce/size/edge-{size}", lambda c, size=size: c.produce(at_t([{"value": b"x" * size, "key": None}])), SMALL)
add("produce/size/default-limit", lambda c: c.produce(at_t([{"value": bytes(1_048_588)}]), show=True), PLAIN)
add("produce/size/bomb-small", stores(at_t([{"value": bytes(4000)}], codec=1)), SMALL)

for count, codec in ((5_000, 0), (100_000, 1)):
    @case(f"produce/many-records/{count}-{'gzip' if codec else 'none'}", PLAIN)
    def _(c, count=count, codec=codec):
        c.produce(at_t([{"key": None, "value": b""}] * count, codec=codec))
        for when in (-1, -3, T + 1):
            c.list(when)
        c.produce(at_t([{"key": None, "value": b""}] * count, codec=codec, count=count - 1), note="one too many")
        c.list(-1)


# A little that becomes much.
for size in (1 << 20, 20 << 20):
    @case(f"produce/bomb/{size >> 20}-mib-of-zeros", PLAIN)
    def _(c, size=size):
        c.produce(at_t([{"value": bytes(size)}], codec=1))
        c.read()
        c.produce(at_t([{"value": bytes(size), "headers": [(None, b"")]}], codec=1), note="with a null header key")
        c.list(-1)


# Idempotence: (sequence, records, epoch) one after another.
SEQUENCES = {
    "in-order": [(0, 2, 0), (2, 1, 0), (3, 1, 0)], "duplicate": [(0, 2, 0), (0, 2, 0), (2, 1, 0), (0, 2, 0)],
    "gap": [(0, 1, 0), (2, 1, 0), (1, 1, 0)], "first-not-zero": [(7, 1, 0), (8, 1, 0)],
    "first-not-zero-then-zero": [(7, 1, 0), (0, 1, 0)],
    "overlap": [(0, 3, 0), (1, 3, 0), (2, 1, 0)], "part-of-duplicate": [(0, 3, 0), (0, 2, 0), (0, 4, 0)],
    "newer-epoch": [(0, 1, 0), (0, 1, 1), (1, 1, 1)], "newer-epoch-not-zero": [(0, 1, 0), (1, 1, 1)],
    "older-epoch": [(0, 1, 1), (0, 1, 0), (1, 1, 1)], "epoch-jump": [(0, 1, 0), (0, 1, 30000)],
    "wrap": [(2 ** 31 - 2, 2, 0), (0, 1, 0), (1, 1, 0)], "wrap-inside": [(2 ** 31 - 2, 4, 0), (2, 1, 0)],
    "wrap-wrong": [(2 ** 31 - 1, 1, 0), (1, 1, 0)],
    "sixth-last-duplicate": [(i, 1, 0) for i in range(7)] + [(i, 1, 0) for i in range(7)],
    "negative-sequence": [(-2, 1, 0)], "negative-epoch": [(0, 1, -1)], "sequence-minus-one": [(-1, 1, 0)],
}
for name, steps in SEQUENCES.items():
    def sequences(c, steps=steps):
        pid = c.new_producer()
        for sequence, count, epoch in steps:
            c.produce(at_t([{}] * count, producer=pid, epoch=epoch, sequence=sequence), note=f"{sequence}+{count} e{epoch}")
        c.read()
    add(f"idempotence/{name}", sequences, PLAIN)


@case("idempotence/unknown-producer", PLAIN)
def _(c):
    c.produce(at_t(producer=123456, epoch=0, sequence=0))
    c.produce(at_t(producer=123456, epoch=0, sequence=5), note="gap")
    c.produce(at_t(producer=2 ** 62, epoch=3, sequence=9), note="first not 0")
    c.read()


@case("idempotence/two-producers", PLAIN)
def _(c):
    one, two = c.new_producer(), c.new_producer()
    for pid, sequence in [(one, 0), (two, 0), (one, 1), (two, 1), (one, 0), (two, 2)]:
        c.produce(at_t(producer=pid, epoch=0, sequence=sequence))
    c.read()


@case("idempotence/two-partitions", Topic(2))
def _(c):
    pid = c.new_producer()
    for partition, sequence in [(0, 0), (1, 0), (0, 1), (1, 2)]:
        c.produce(at_t(producer=pid, epoch=0, sequence=sequence), partition=partition)
    c.read()


@case("idempotence/duplicate-other-content", PLAIN)
def _(c):
    pid = c.new_producer()
    c.produce(at_t([{}], producer=pid, epoch=0, sequence=0))
    c.produce(at_t([{"value": b"something else"}], producer=pid, epoch=0, sequence=0))
    c.read()


@case("idempotence/after-delete-records", PLAIN)
def _(c):
    pid = c.new_producer()
    c.produce(at_t([{}, {}], producer=pid, epoch=0, sequence=0))
    c.ask("DeleteRecords", 2, TimeoutMs=5000, Topics=[
        {"Name": c.topic, "Partitions": [{"PartitionIndex": 0, "Offset": -1}]}])
    c.produce(at_t([{}], producer=pid, epoch=0, sequence=0), note="older")
    c.produce(at_t([{}], producer=pid, epoch=0, sequence=2), note="next")
    c.produce(at_t([{}], producer=pid, epoch=0, sequence=9), note="gap")
    c.read()


@case("idempotence/transactional-batch", PLAIN)
def _(c):
    pid = c.new_producer()
    c.produce(at_t(producer=pid, epoch=0, sequence=0, attributes=16), note="without an id")
    c.produce(at_t(producer=pid, epoch=0, sequence=0, attributes=16), transactional="an-id", note="with an id")
    c.produce(at_t(producer=pid, epoch=0, sequence=-1, attributes=48), note="control")
    c.read()
