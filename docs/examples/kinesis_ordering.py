#!/usr/bin/env python3
"""Which records keep their order in a stream, and why: parcels that are scanned on their way.

    export AWS_ENDPOINT_URL=http://127.0.0.1:4567 AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=eu-west-1
    python3 kinesis_ordering.py [--keys parcel|random] [--reshard]

Each scan of a parcel is a record. With the parcel's number as partition key, all scans of a parcel lie in one shard,
in the order in which they were sent. With random keys they lie in all shards, and a reader of the shards gets them
in another order. --reshard splits a shard and merges two between the scans: a reader that reads parents before
their children still finds each parcel's scans in order.

Ends with code 0 if every parcel is in order, else with 1. Needs boto3 (`pip install boto3`).
"""

import argparse
import json
import sys
import uuid

import boto3

STEPS = ["picked up", "at the depot", "on the lorry", "at the border", "in the city", "at the door", "delivered"]
PARCELS = [f"parcel-{number}" for number in range(1, 9)]


def scan(kinesis, stream, steps, keys):
    """Sends one record per step and parcel, each with its place in the parcel's history."""
    for place, step in steps:
        for parcel in PARCELS:
            key = parcel if keys == "parcel" else uuid.uuid4().hex
            event = {"parcel": parcel, "place": place, "step": step}
            kinesis.put_record(StreamName=stream, PartitionKey=key, Data=json.dumps(event).encode())


def open_shards(kinesis, stream):
    """The shards that take records, by their hash ranges."""
    shards = kinesis.list_shards(StreamName=stream, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    return sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


def reshard(kinesis, stream):
    """Splits the first open shard in the middle, and merges the last two."""
    first, *_, before_last, last = open_shards(kinesis, stream)
    start, end = (int(first["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
    middle = str((start + end) // 2 + 1)
    kinesis.split_shard(StreamName=stream, ShardToSplit=first["ShardId"], NewStartingHashKey=middle)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream)
    kinesis.merge_shards(StreamName=stream, ShardToMerge=before_last["ShardId"], AdjacentShardToMerge=last["ShardId"])
    kinesis.get_waiter("stream_exists").wait(StreamName=stream)
    print(f"split {first['ShardId']}; merged {before_last['ShardId']} and {last['ShardId']}")


def parents_first(shards):
    """The shards, each after those that it came from."""
    left, out = {shard["ShardId"]: shard for shard in shards}, []

    def take(name):
        shard = left.pop(name, None)
        if shard:
            take(shard.get("ParentShardId"))
            take(shard.get("AdjacentParentShardId"))
            out.append(shard)

    while left:
        take(next(iter(left)))
    return out


def read(kinesis, stream, shard):
    """All records that a shard has now: to its end if it has ended, else until the reader has caught up."""
    at = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    while at:
        answer = kinesis.get_records(ShardIterator=at)
        yield from (json.loads(record["Data"]) for record in answer["Records"])
        if not answer["Records"] and answer["MillisBehindLatest"] == 0:
            return
        at = answer.get("NextShardIterator")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--keys", choices=["parcel", "random"], default="parcel")
    options.add_argument("--reshard", action="store_true")
    options = options.parse_args()

    kinesis = boto3.client("kinesis")
    stream = f"parcels-{uuid.uuid4().hex[:8]}"
    kinesis.create_stream(StreamName=stream, ShardCount=3)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream)
    steps = list(enumerate(STEPS))
    scan(kinesis, stream, steps[:4], options.keys)
    if options.reshard:
        reshard(kinesis, stream)
    scan(kinesis, stream, steps[4:], options.keys)

    seen = {parcel: [] for parcel in PARCELS}
    for shard in parents_first(kinesis.list_shards(StreamName=stream)["Shards"]):
        events = list(read(kinesis, stream, shard["ShardId"]))
        for event in events:
            seen[event["parcel"]].append(event["place"])
        print(f"{shard['ShardId']}: {len(events)} records of {len({event['parcel'] for event in events})} parcels")
    wanted = list(range(len(STEPS)))
    for parcel, places in seen.items():
        print(f"{parcel}: {'in order' if places == wanted else f'out of order {places}'}")
    kinesis.delete_stream(StreamName=stream)
    ordered = sum(places == wanted for places in seen.values())
    print(f"{ordered} of {len(PARCELS)} parcels are in order")
    sys.exit(0 if ordered == len(PARCELS) else 1)


if __name__ == "__main__":
    main()
