#!/usr/bin/env python3
"""Which records keep their order in a topic, and why: parcels that are scanned on their way.

    python3 kafka_ordering.py HOST:PORT [--keys parcel|random] [--grow]

Each scan of a parcel is a record. With the parcel's number as key, all scans of a parcel lie in one partition, in the
order in which they were sent. With random keys they lie in all partitions, and a reader of the partitions gets them in
another order. --grow gives the topic more partitions between the scans: keys move then, and a reader of one partition after
the other may find the later scans of a parcel first. Who notes where the partitions ended, and reads up to there before all
else, finds each parcel's scans in order.

Ends with code 0 if every parcel is in order, else with 1. Needs confluent-kafka (`pip install confluent-kafka`).
"""

import argparse
import json
import sys
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

STEPS = ["picked up", "at the depot", "on the lorry", "at the border", "in the city", "at the door", "delivered"]
PARCELS = [f"parcel-{number}" for number in range(1, 9)]
PARTITIONS, MORE_PARTITIONS = 3, 4
PATIENCE_S = 20


def scan(server, topic, steps, keys):
    """Sends one record per step and parcel, each with its place in the parcel's history; all are durable afterwards."""
    failed = []
    # A producer that may send records again keeps their order only if the broker knows their numbers.
    producer = Producer({"bootstrap.servers": server, "enable.idempotence": True})
    for place, step in steps:
        for parcel in PARCELS:
            key = parcel if keys == "parcel" else uuid.uuid4().hex
            event = {"parcel": parcel, "place": place, "step": step}
            producer.produce(topic, json.dumps(event), key, on_delivery=lambda error, _: error and failed.append(error))
    left = producer.flush(PATIENCE_S)
    if left or failed:
        sys.exit(f"{left} records were not acked, {len(failed)} refused: {failed[:1]}")


def ends(consumer, topic, partitions):
    """Behind the last record of each partition."""
    return [consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=PATIENCE_S)[1]
            for number in range(partitions)]


def read(consumer, topic, partition, start, end):
    """The records of a partition from one offset up to before another."""
    events = []
    consumer.assign([TopicPartition(topic, partition, start)])
    while start < end:
        message = consumer.poll(PATIENCE_S)
        if message is None:
            sys.exit(f"partition {partition} stops at offset {start} of {end}")
        if message.error():
            sys.exit(f"partition {partition}: {message.error()}")
        start = message.offset() + 1
        events.append(json.loads(message.value()))
    return events


def in_order(events):
    """How many parcels are in order, and what is told of each."""
    seen = {parcel: [] for parcel in PARCELS}
    for event in events:
        seen[event["parcel"]].append(event["place"])
    wanted = list(range(len(STEPS)))
    told = [f"{parcel}: {'in order' if places == wanted else f'out of order {places}'}" for parcel, places in seen.items()]
    return sum(places == wanted for places in seen.values()), told


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("server", metavar="HOST:PORT")
    options.add_argument("--keys", choices=["parcel", "random"], default="parcel")
    options.add_argument("--grow", action="store_true")
    options = options.parse_args()

    admin = AdminClient({"bootstrap.servers": options.server})
    topic = f"parcels-{uuid.uuid4().hex[:8]}"
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(PATIENCE_S)
    settings = {"bootstrap.servers": options.server, "group.id": topic, "enable.auto.commit": False}
    consumer = Consumer(settings)
    steps, partitions = list(enumerate(STEPS)), PARTITIONS
    scan(options.server, topic, steps[:4], options.keys)
    grown_at = ends(consumer, topic, PARTITIONS)
    if options.grow:
        partitions = MORE_PARTITIONS
        admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(PATIENCE_S)
        # A consumer that began before learns of new partitions only after some minutes.
        consumer.close()
        consumer = Consumer(settings)
        print(f"from {PARTITIONS} to {partitions} partitions, at the offsets {grown_at}")
    scan(options.server, topic, steps[4:], options.keys)

    last = ends(consumer, topic, partitions)
    replay = []
    for partition in range(partitions):
        events = read(consumer, topic, partition, 0, last[partition])
        print(f"partition {partition}: {len(events)} records of {len({event['parcel'] for event in events})} parcels")
        replay += events
    ordered, told = in_order(replay)
    if options.grow:
        print(f"read one partition after the other: {ordered} of {len(PARCELS)} parcels are in order")
        first = [event for number, end in enumerate(grown_at) for event in read(consumer, topic, number, 0, end)]
        begin = grown_at + [0] * (partitions - PARTITIONS)
        then = [event for number, start in enumerate(begin) for event in read(consumer, topic, number, start, last[number])]
        print("read up to where the partitions had ended, and then the rest:")
        ordered, told = in_order(first + then)
    print("\n".join(told))
    consumer.close()
    admin.delete_topics([topic])[topic].result(PATIENCE_S)
    print(f"{ordered} of {len(PARCELS)} parcels are in order")
    sys.exit(0 if ordered == len(PARCELS) else 1)


if __name__ == "__main__":
    main()
