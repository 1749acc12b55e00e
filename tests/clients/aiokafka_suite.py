"""Keylane through aiokafka, which speaks older versions of the protocol."""

import asyncio
import logging
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata

import checks
from checks import BOOTSTRAP, CODECS, EPOCH_MS, Record, check, equal, judge, records, topic


async def create(name, partitions):
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1)])
        end = time.monotonic() + 20
        while name not in await admin.list_topics():
            assert time.monotonic() < end, f"{name} is not listed"
            await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def produce(name, sent, **options):
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, **options)
    await producer.start()
    try:
        waiting = [
            await producer.send(name, key=record.key, value=record.value, timestamp_ms=record.time_ms,
                                headers=list(record.headers))
            for record in sent
        ]
        return await asyncio.gather(*waiting)
    finally:
        await producer.stop()


async def read_all(name, partitions):
    reader = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=None, enable_auto_commit=False,
                              auto_offset_reset="earliest")  # else its own reset to the end can overtake the seek
    await reader.start()
    try:
        places = [TopicPartition(name, p) for p in range(partitions)]
        reader.assign(places)
        equal(set((await reader.beginning_offsets(places)).values()), {0}, "beginnings")
        ends = await reader.end_offsets(places)
        await reader.seek_to_beginning()
        got = {p: [] for p in range(partitions)}
        end = time.monotonic() + 60
        while any(len(got[place.partition]) < ends[place] for place in places):
            assert time.monotonic() < end, f"{name} is not read within 60 s"
            for place, rows in (await reader.getmany(timeout_ms=500)).items():
                got[place.partition] += [
                    (row.offset, Record(row.key, row.value, tuple(row.headers), row.timestamp)) for row in rows
                ]
        return got
    finally:
        await reader.stop()


async def round_trip(codec):
    name = topic(f"aio-{codec}")
    await create(name, 3)
    # This client cannot send null header values.
    sent = [Record(r.key, r.value, tuple(h for h in r.headers if h[1] is not None), r.time_ms) for r in records(2000)]
    await produce(name, sent, compression_type=None if codec == "none" else codec)
    judge(sent, await read_all(name, 3))


async def acks(level):
    name = topic(f"aio-acks{level}")
    await create(name, 1)
    sent = records(300, headers=False)
    await produce(name, sent, acks=level)
    await asyncio.sleep(1 if level == 0 else 0)
    judge(sent, await read_all(name, 1))


async def idempotent():
    name = topic("aio-idempotent")
    await create(name, 2)
    sent = records(3000, headers=False)
    await produce(name, sent, enable_idempotence=True, max_batch_size=2000)
    judge(sent, await read_all(name, 2))


async def times():
    name = topic("aio-times")
    await create(name, 1)
    await produce(name, [Record(b"k", b"v", (), EPOCH_MS + i * 1000) for i in range(50)])
    reader = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=None, auto_offset_reset="earliest")
    await reader.start()
    try:
        place = TopicPartition(name, 0)
        reader.assign([place])
        for at, wanted in [(0, 0), (EPOCH_MS + 20_001, 21), (EPOCH_MS + 49_000, 49)]:
            equal((await reader.offsets_for_times({place: at}))[place].offset, wanted, f"offset at {at}")
        equal((await reader.offsets_for_times({place: EPOCH_MS + 49_001}))[place], None, "after the last")
    finally:
        await reader.stop()


async def committed():
    name, group = topic("aio-committed"), topic("aio-group")
    await create(name, 2)
    await produce(name, [Record(b"k", b"%d" % i, (), EPOCH_MS + i) for i in range(20)])
    places = [TopicPartition(name, 0), TopicPartition(name, 1)]

    def consumer():
        return AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=group, enable_auto_commit=False,
                                auto_offset_reset="earliest")

    reader = consumer()
    await reader.start()
    try:
        reader.assign(places)
        equal([await reader.committed(place) for place in places], [None, None], "before")
        await reader.commit({places[0]: (5, "pünktlich"), places[1]: OffsetAndMetadata(7, "")})
    finally:
        await reader.stop()
    reader = consumer()
    await reader.start()
    try:
        reader.assign(places)
        equal([await reader.committed(place) for place in places], [5, 7], "committed")
        equal(await reader.position(places[0]), 5, "where it goes on")
    finally:
        await reader.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group)
        equal({p: tuple(o) for p, o in found.items()}, {places[0]: (5, "pünktlich"), places[1]: (7, "")}, "offsets")
        assert group in [listed[0] for listed in await admin.list_consumer_groups()], "the group is not listed"
        about = (await admin.describe_consumer_groups([group]))[0].groups[0]
        equal((about[0], about[1], about[2]), (0, group, "Empty"), "described")
    finally:
        await admin.close()


async def subscribe():
    name = topic("aio-subscribed")
    await create(name, 1)
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP)
    await producer.start()
    await producer.send_and_wait(name, b"one")
    await producer.stop()
    group = topic("aio-subscribed-group")
    for value in (b"one", b"two"):
        reader = AIOKafkaConsumer(name, bootstrap_servers=BOOTSTRAP, group_id=group, auto_offset_reset="earliest",
                                  enable_auto_commit=False)
        await reader.start()
        try:
            equal((await asyncio.wait_for(reader.getone(), 20)).value, value, "record")
            await reader.commit()
        finally:
            await reader.stop()
        producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP)
        await producer.start()
        await producer.send_and_wait(name, b"two")
        await producer.stop()


def run(test, *args):
    asyncio.run(asyncio.wait_for(test(*args), 90))


def main():
    for codec in CODECS:
        check(f"round trip, {codec}", run, round_trip, codec)
    for level in [0, 1, "all"]:
        check(f"acks={level}", run, acks, level)
    check("idempotent", run, idempotent)
    check("offsets by time", run, times)
    check("committed offsets, groups", run, committed)
    check("subscribe, commit, resume", run, subscribe)
    checks.finish()


main()
