"""Kinesis with boto3 as it comes from PyPI, told where the server is by AWS_ENDPOINT_URL alone."""

import base64
import hashlib
import os
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import boto3
from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import iter_deaggregate_records
from botocore.config import Config
from botocore.exceptions import ClientError
from checks import BOOTSTRAP, cell, check, equal, expect, finish, raises, topic, wait_for
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "docs/examples"
MIDDLE = 1 << 127
# One try each: an error that is hidden by a second try is an error.
kinesis = boto3.client("kinesis", config=Config(retries={"total_max_attempts": 1}))


def stream(name, shards=1, **more):
    name = topic(name)
    kinesis.create_stream(StreamName=name, ShardCount=shards, **more)
    kinesis.get_waiter("stream_exists").wait(StreamName=name)
    return name


def iterator(name, shard, kind="TRIM_HORIZON", **more):
    return kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]


def read(name, shard, at=None, limit=1000):
    """All records of a shard, from an iterator on if there is one."""
    at, out = at or iterator(name, shard), []
    while at:
        answer = kinesis.get_records(ShardIterator=at, Limit=limit)
        out += answer["Records"]
        if not answer["Records"] and answer["MillisBehindLatest"] == 0:
            break
        at = answer.get("NextShardIterator")
    return out


def shards(name, **more):
    return kinesis.list_shards(StreamName=name, **more)["Shards"]


def ids(name):
    return [shard["ShardId"] for shard in shards(name)]


def refused(code, action, **arguments):
    cause = raises(ClientError, lambda: action(**arguments), f"{code} expected")
    equal(cause.response["Error"]["Code"], code, str(cause))
    expect(len(cause.response["ResponseMetadata"]["RequestId"]) == 36, "no request id")
    return cause.response["Error"]["Message"]


def lives_and_goes():
    begun = time.monotonic()
    name = stream("life", 3)
    expect(time.monotonic() - begun < 8, "a new stream is active at the first look")
    description = kinesis.describe_stream(StreamName=name)["StreamDescription"]
    equal([shard["ShardId"] for shard in description["Shards"]], [f"shardId-{n:012}" for n in range(3)], "shards")
    equal(description["Shards"][1]["HashKeyRange"]["StartingHashKey"], str((1 << 128) // 3), "a hash range")
    equal((description["StreamStatus"], description["RetentionPeriodHours"]), ("ACTIVE", 24), "description")
    age = datetime.now(timezone.utc) - description["StreamCreationTimestamp"]
    expect(abs(age.total_seconds()) < 60, f"created {age} ago")
    arn = description["StreamARN"]
    equal(arn, f"arn:aws:kinesis:{kinesis.meta.region_name}:123456789012:stream/{name}", "ARN")
    summary = kinesis.describe_stream_summary(StreamARN=arn)["StreamDescriptionSummary"]
    equal((summary["OpenShardCount"], summary["ConsumerCount"], summary["EncryptionType"]), (3, 0, "NONE"), "summary")
    expect(kinesis.describe_limits()["OpenShardCount"] >= 3, "limits")
    refused("ResourceInUseException", kinesis.create_stream, StreamName=name, ShardCount=1)
    kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
    kinesis.get_waiter("stream_not_exists").wait(StreamName=name)
    text = refused("ResourceNotFoundException", kinesis.describe_stream, StreamName=name)
    equal(text, f"Stream {name} under account 123456789012 not found.", "text")


def settings():
    name = stream("settings")
    arn = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=168)
    kinesis.decrease_stream_retention_period(StreamName=name, RetentionPeriodHours=48)
    kinesis.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    kinesis.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=2048)
    kinesis.add_tags_to_stream(StreamName=name, Tags={f"tag-{n:02}": str(n) for n in range(30)})
    kinesis.remove_tags_from_stream(StreamName=name, TagKeys=["tag-03", "tag-05"])
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    equal((summary["RetentionPeriodHours"], summary["StreamModeDetails"]["StreamMode"]), (48, "ON_DEMAND"), "settings")
    tags = {}
    while True:
        page = kinesis.list_tags_for_stream(StreamName=name, Limit=10, **({"ExclusiveStartTagKey": max(tags)} if tags else {}))
        tags |= {tag["Key"]: tag["Value"] for tag in page["Tags"]}
        if not page["HasMoreTags"]:
            break
    equal(tags, {f"tag-{n:02}": str(n) for n in range(30) if n not in (3, 5)}, "tags")
    large = b"x" * (2 << 20)
    refused("ValidationException", kinesis.put_record, StreamName=name, PartitionKey="k", Data=large)
    kinesis.put_record(StreamName=name, PartitionKey="k", Data=large[:-1])
    kinesis.delete_stream(StreamName=name)
    on_demand = topic("on-demand")
    kinesis.create_stream(StreamName=on_demand, StreamModeDetails={"StreamMode": "ON_DEMAND"}, Tags={"a": "b"})
    equal(len(shards(on_demand)), 4, "shards of an on-demand stream")
    told = kinesis.update_stream_warm_throughput(StreamName=on_demand, WarmThroughputMiBps=100)
    equal(told["WarmThroughput"], {"TargetMiBps": 100, "CurrentMiBps": 100}, "warm throughput")
    refused("ValidationException", kinesis.update_shard_count, StreamName=on_demand, TargetShardCount=8, ScalingType="UNIFORM_SCALING")
    account = kinesis.describe_account_settings()["MinimumThroughputBillingCommitment"]
    equal(account, {"Status": "DISABLED"}, "settings of the account")
    kinesis.update_account_settings(MinimumThroughputBillingCommitment=account)


def records():
    name = stream("records", 4)
    sent = [{"PartitionKey": f"key-{n % 40}", "Data": bytes([n % 256]) * (n * 7 % 3000)} for n in range(500)]
    sent[7]["PartitionKey"] = "\U0001f600" * 256
    sent[9] |= {"ExplicitHashKey": str((1 << 128) - 1)}
    begun = datetime.now(timezone.utc)
    put = kinesis.put_records(StreamName=name, Records=sent)
    equal(put["FailedRecordCount"], 0, "failed")
    wanted = {shard: [] for shard in ids(name)}
    for answer, record in zip(put["Records"], sent, strict=True):
        wanted[answer["ShardId"]].append((answer["SequenceNumber"], record["PartitionKey"], record["Data"]))
    for shard, rows in wanted.items():
        got = read(name, shard, limit=37)
        equal([(r["SequenceNumber"], r["PartitionKey"], r["Data"]) for r in got], rows, f"records of {shard}")
        numbers = [int(r["SequenceNumber"]) for r in got]
        equal(numbers, sorted(set(numbers)), "sequence numbers")
        ages = [(r["ApproximateArrivalTimestamp"] - begun).total_seconds() for r in got]
        expect(all(-1 < age < 30 for age in ages), f"arrival times {ages[:3]}")
    for record, answer in zip(sent[:9], put["Records"]):
        hashed = int.from_bytes(hashlib.md5(record["PartitionKey"].encode()).digest())
        equal(answer["ShardId"], f"shardId-{hashed >> 126:012}", "shard of a key")
    equal(put["Records"][9]["ShardId"], "shardId-000000000003", "shard of an explicit hash")


def iterators():
    name, shard = stream("iterators"), "shardId-000000000000"
    latest = iterator(name, shard, "LATEST")
    numbers, last = [], "0"
    for n in range(10):
        last = kinesis.put_record(StreamName=name, PartitionKey="k", Data=str(n), SequenceNumberForOrdering=last)["SequenceNumber"]
        numbers.append(last)
        time.sleep(0.002)
    times = [record["ApproximateArrivalTimestamp"] for record in read(name, shard)]
    kinds = [("AT_SEQUENCE_NUMBER", {"StartingSequenceNumber": numbers[4]}, 4),
             ("AFTER_SEQUENCE_NUMBER", {"StartingSequenceNumber": numbers[4]}, 5),
             ("AT_TIMESTAMP", {"Timestamp": times[6]}, 6), ("LATEST", {}, 10), ("TRIM_HORIZON", {}, 0)]
    for kind, more, first in kinds:
        got = read(name, shard, iterator(name, shard, kind, **more), 3)
        equal([r["SequenceNumber"] for r in got], numbers[first:], kind)
    equal(len(read(name, shard, latest)), 10, "records after LATEST")
    cause = raises(kinesis.exceptions.InvalidArgumentException,
                   lambda: kinesis.get_records(ShardIterator="AAAA"), "a forged iterator")
    equal(cause.response["Error"]["Message"], "Invalid ShardIterator.", "text")


def pages():
    names = [topic(f"page-{n:03}") for n in range(300)]
    for name in names:
        kinesis.create_stream(StreamName=name, ShardCount=1)
    listed = [name for page in kinesis.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 70})
              for name in page["StreamNames"]]
    equal([name for name in listed if name in set(names)], names, "streams of the paginator")
    equal(len(listed), len(set(listed)), "streams that came twice")
    many = stream("many", 1000)
    # As at AWS, the paginator of ListShards fails at the second page, because it names the stream again
    # (https://github.com/boto/botocore/issues/2009); programs go on with the token alone.
    paginator = kinesis.get_paginator("list_shards").paginate(StreamName=many, PaginationConfig={"PageSize": 300})
    cause = raises(kinesis.exceptions.InvalidArgumentException, lambda: list(paginator), "ListShards with a name and a token")
    equal(cause.response["Error"]["Message"], "NextToken and StreamName cannot be provided together.", "text")
    page = kinesis.list_shards(StreamName=many, MaxResults=300)
    paged = page["Shards"]
    while page.get("NextToken"):
        page = kinesis.list_shards(NextToken=page["NextToken"], MaxResults=300)
        paged += page["Shards"]
    equal([shard["ShardId"] for shard in paged], [f"shardId-{n:012}" for n in range(1000)], "shards of ListShards")
    paged = [shard["ShardId"] for page in kinesis.get_paginator("describe_stream").paginate(
        StreamName=many, PaginationConfig={"PageSize": 300}) for shard in page["StreamDescription"]["Shards"]]
    equal(len(paged), 1000, "shards of DescribeStream")
    for name in [many, *names]:
        kinesis.delete_stream(StreamName=name)


def errors():
    name = stream("errors")
    refused("ResourceNotFoundException", kinesis.put_record, StreamName="nobody", PartitionKey="k", Data=b"x")
    refused("ResourceNotFoundException", kinesis.get_shard_iterator, StreamName=name, ShardId="shardId-000000000001",
            ShardIteratorType="LATEST")
    refused("ValidationException", kinesis.put_records, StreamName=name, Records=[{"PartitionKey": "k", "Data": b""}] * 501)
    refused("ValidationException", kinesis.put_record, StreamName=name, PartitionKey="k", Data=b"x", ExplicitHashKey="abc")
    refused("InvalidArgumentException", kinesis.put_record, StreamName=name, PartitionKey="k", Data=b"x",
            ExplicitHashKey=str(1 << 128))
    refused("LimitExceededException", kinesis.update_shard_count, StreamName=name, TargetShardCount=5,
            ScalingType="UNIFORM_SCALING")
    refused("InvalidArgumentException", kinesis.split_shard, StreamName=name, ShardToSplit="shardId-000000000000",
            NewStartingHashKey="0")


def signatures():
    def code(**credentials):
        other = boto3.client("kinesis", config=Config(retries={"total_max_attempts": 1}), **credentials)
        cause = raises(ClientError, other.list_streams, f"{credentials}")
        return cause.response["Error"]["Code"]

    equal(code(aws_access_key_id="any", aws_secret_access_key="other"), "InvalidSignatureException", "another secret")
    equal(code(aws_access_key_id="other", aws_secret_access_key="any"), "UnrecognizedClientException", "another key")


def reshard():
    name = stream("reshard", 2)
    told = kinesis.update_shard_count(StreamName=name, TargetShardCount=4, ScalingType="UNIFORM_SCALING")
    equal((told["CurrentShardCount"], told["TargetShardCount"]), (2, 4), "counts")
    opened = shards(name, ShardFilter={"Type": "AT_LATEST"})
    equal([s["ParentShardId"][-1] for s in opened], ["0", "0", "1", "1"], "parents")
    equal([int(s["HashKeyRange"]["StartingHashKey"]) >> 126 for s in opened], [0, 1, 2, 3], "ranges")
    expect("EndingSequenceNumber" in shards(name)[0]["SequenceNumberRange"], "a closed shard says where it ended")
    answer = kinesis.get_records(ShardIterator=iterator(name, "shardId-000000000000"))
    expect("NextShardIterator" not in answer, "the end of a closed shard has no next iterator")
    equal([c["ShardId"] for c in answer["ChildShards"]], ["shardId-000000000002", "shardId-000000000003"], "children")


def pushed():
    name, shard = stream("pushed"), "shardId-000000000000"
    arn = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    for n in range(5):
        kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=f"consumer-{n}")
    paged = [consumer["ConsumerName"] for page in kinesis.get_paginator("list_stream_consumers").paginate(
        StreamARN=arn, PaginationConfig={"PageSize": 2}) for consumer in page["Consumers"]]
    equal(paged, [f"consumer-{n}" for n in range(5)], "consumers")
    told = kinesis.describe_stream_consumer(StreamARN=arn, ConsumerName="consumer-0")["ConsumerDescription"]
    equal((told["ConsumerStatus"], told["StreamARN"]), ("ACTIVE", arn), "consumer")
    number, got = None, []
    for begin in [0, 60]:
        position = {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": number} if number else {"Type": "TRIM_HORIZON"}
        events = wait_for("a subscription", 5, lambda: subscription(told["ConsumerARN"], shard, position))
        for n in range(begin, begin + 60):
            kinesis.put_record(StreamName=name, PartitionKey=f"key-{n}", Data=b"%d" % n)
        for event in events:
            event = event["SubscribeToShardEvent"]
            got += [(record["PartitionKey"], record["Data"]) for record in event["Records"]]
            number = event["ContinuationSequenceNumber"]
            if len(got) >= begin + 60:
                break
        events.close()
    equal(got, [(f"key-{n}", b"%d" % n) for n in range(120)], "records of two subscriptions")
    kinesis.deregister_stream_consumer(ConsumerARN=told["ConsumerARN"])
    refused("ResourceNotFoundException", kinesis.describe_stream_consumer, ConsumerARN=told["ConsumerARN"])
    refused("ResourceInUseException", kinesis.delete_stream, StreamName=name)
    kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True)


def kept():
    name = stream("kept")
    arn = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    told = kinesis.enable_enhanced_monitoring(StreamName=name, ShardLevelMetrics=["ALL"])
    equal((told["CurrentShardLevelMetrics"], len(told["DesiredShardLevelMetrics"])), ([], 7), "metrics")
    told = kinesis.disable_enhanced_monitoring(StreamARN=arn, ShardLevelMetrics=["IncomingBytes"])
    equal((len(told["CurrentShardLevelMetrics"]), len(told["DesiredShardLevelMetrics"])), (7, 6), "metrics")
    kinesis.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId="alias/aws/kinesis")
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    equal((summary["EncryptionType"], summary.get("KeyId")), ("KMS", "alias/aws/kinesis"), "encryption")
    equal(len(summary["EnhancedMonitoring"][0]["ShardLevelMetrics"]), 6, "metrics of the summary")
    kinesis.stop_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId="alias/aws/kinesis")
    equal(kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["EncryptionType"], "NONE", "encryption")
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c", Tags={"x": "y"})["Consumer"]["ConsumerARN"]
    for resource, tags in [(arn, {}), (consumer, {"x": "y"})]:
        kinesis.tag_resource(ResourceARN=resource, Tags={"a": "1", "b": "2"})
        kinesis.untag_resource(ResourceARN=resource, TagKeys=["a"])
        listed = kinesis.list_tags_for_resource(ResourceARN=resource)["Tags"]
        equal({tag["Key"]: tag["Value"] for tag in listed}, tags | {"b": "2"}, "tags of a resource")
        refused("ResourceNotFoundException", kinesis.get_resource_policy, ResourceARN=resource)
        kinesis.put_resource_policy(ResourceARN=resource, Policy='{"Version": "2012-10-17"}')
        equal(kinesis.get_resource_policy(ResourceARN=resource)["Policy"], '{"Version": "2012-10-17"}', "policy")
        kinesis.delete_resource_policy(ResourceARN=resource)
        refused("ResourceNotFoundException", kinesis.delete_resource_policy, ResourceARN=resource)
    kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True)


def aggregated():
    """Many small records in one, as the Kinesis Producer Library packs them: the bytes come back as they were put."""
    name, packer = stream("aggregated", 2), RecordAggregator(50_000)
    sent = [(f"key-{n % 7}", f"record {n} ".encode() * (1 + n % 30)) for n in range(1000)]
    packed = [packer.add_user_record(key, data) for key, data in sent]
    packed = [record for record in [*packed, packer.clear_and_get()] if record]
    expect(len(packed) > 1, "one record has them all")
    for record in packed:
        key, _, data = record.get_contents()
        kinesis.put_record(StreamName=name, PartitionKey=key, Data=data)
    rows = [row for shard in ids(name) for row in read(name, shard)]
    got = [record["kinesis"] for record in iter_deaggregate_records(rows, "Boto3")]
    expect(all(record["aggregated"] for record in got), "a record is not known as an aggregated one")
    equal(sorted((record["partitionKey"], base64.b64decode(record["data"])) for record in got), sorted(sent), "records")


def subscription(consumer, shard, position):
    """A subscription, or nothing as long as the one before lives."""
    try:
        answer = kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=shard, StartingPosition=position)
        return answer["EventStream"]
    except kinesis.exceptions.ResourceInUseException:
        return None


class Log:
    """A stream as Kafka's clients see it."""

    def __init__(self, name):
        self.name = name
        self.consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "none", "enable.auto.commit": False})

    def read(self, partition):
        """All records of a partition: key and value."""
        at = TopicPartition(self.name, partition, OFFSET_BEGINNING)
        _, end = self.consumer.get_watermark_offsets(at, timeout=10)
        self.consumer.assign([at])
        out, until = [], time.monotonic() + 20
        while len(out) < end and time.monotonic() < until:
            for message in self.consumer.consume(500, 0.2):
                expect(message.error() is None, message.error())
                out.append((message.key().decode(), message.value()))
        return out


def judge(sent, by_shard, lineage):
    """Every key's values in the order of sending, when shards are read parents first."""
    got = {key: [] for key in sent}
    for shard in lineage:
        for key, value in by_shard[shard]:
            got[key].append(value)
    for key, values in sent.items():
        equal(got[key], values, f"values of {key}")


def put_all(name, sent, first, last):
    for n in range(first, last, 100):
        chunk = [(f"key-{i % 30}", f"{i:06}".encode()) for i in range(n, n + 100)]
        put = kinesis.put_records(StreamName=name, Records=[{"PartitionKey": k, "Data": v} for k, v in chunk])
        equal(put["FailedRecordCount"], 0, "failed")
        for key, value in chunk:
            sent[key].append(value)


def halve_and_join(name):
    """Splits shard 0, and merges the two behind it."""
    kinesis.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(MIDDLE // 3))
    kinesis.merge_shards(StreamName=name, ShardToMerge="shardId-000000000001", AdjacentShardToMerge="shardId-000000000002")


def to_kafka():
    name = stream("to-kafka", 3)
    sent = {f"key-{n}": [] for n in range(30)}
    put_all(name, sent, 0, 900)
    halve_and_join(name)
    put_all(name, sent, 900, 1800)
    log = Log(name)
    by_shard = {partition: log.read(partition) for partition in range(6)}
    log.consumer.close()
    expect(all(by_shard.values()), f"a partition is empty: {[len(rows) for rows in by_shard.values()]}")
    judge(sent, by_shard, range(6))
    # The judge itself: two records that changed places are found.
    rows = by_shard[0]
    later = next(i for i in range(1, len(rows)) if rows[i][0] == rows[0][0])
    rows[0], rows[later] = rows[later], rows[0]
    raises(AssertionError, lambda: judge(sent, by_shard, range(6)), "records that changed places")


def from_kafka():
    name = stream("from-kafka", 3)
    sent = {f"key-{n}": [] for n in range(30)}

    def produce(opened, first, last, codec):
        """Each key to the open shard that its hash belongs to, as a careful Kafka producer beside Kinesis' would."""
        producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5, "compression.type": codec})
        starts = sorted((int(s["HashKeyRange"]["StartingHashKey"]), int(s["ShardId"][-12:])) for s in opened)
        for i in range(first, last):
            key, value = f"key-{i % 30}", f"{i:06}".encode()
            hashed = int.from_bytes(hashlib.md5(key.encode()).digest())
            producer.produce(name, value, key, partition=max(s for s in starts if s[0] <= hashed)[1])
            sent[key].append(value)
        equal(producer.flush(20), 0, "records not acknowledged")

    latest = {"ShardFilter": {"Type": "AT_LATEST"}}
    produce(shards(name, **latest), 0, 900, "zstd")
    halve_and_join(name)
    produce(shards(name, **latest), 900, 1800, "lz4")
    by_shard = {shard: [(r["PartitionKey"], r["Data"]) for r in read(name, shard)] for shard in ids(name)}
    judge(sent, by_shard, sorted(by_shard))
    # A partition that has ended refuses Kafka's producers.
    errors = []
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    producer.produce(name, b"late", partition=0, on_delivery=lambda error, _: errors.append(error))
    producer.flush(20)
    expect(errors[0] is not None and errors[0].name() == "POLICY_VIOLATION", f"{errors}")


def topic_as_stream():
    name = topic("made-by-kafka")
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result()
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    producer.produce(name, b"value", "key", partition=1)
    producer.produce(name, b"no key", partition=1)
    producer.flush(20)
    wait_for("the stream", 10, lambda: len(ids(name)) == 2)
    got = [(r["PartitionKey"], r["Data"]) for r in read(name, "shardId-000000000001")]
    equal(got, [("key", b"value"), ("", b"no key")], "records")


def example(*arguments):
    begun = time.monotonic()
    done = subprocess.run([sys.executable, EXAMPLES / "kinesis_ordering.py", *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    # About two seconds on an idle machine.
    expect(time.monotonic() - begun < 20, f"it took {time.monotonic() - begun:.1f} s")
    expect(done.stdout, done.stderr[-300:])
    return done.returncode, done.stdout.splitlines()


def parcels_in_order():
    for more in [[], ["--reshard"]]:
        code, lines = example(*more)
        equal((code, lines[-1]), (0, "8 of 8 parcels are in order"), "verdict")
        equal(sum(line.endswith(": in order") for line in lines), 8, "parcels in order")
        equal(sum(line.startswith("shardId-") for line in lines), 6 if more else 3, "shards")
        equal(any(line.startswith("split ") for line in lines), bool(more), "a reshard")


def parcels_out_of_order():
    code, lines = example("--keys", "random")
    # A parcel can be in order by chance: if its seven records come to lie in shards that never go down.
    expect(code == 1 and sum("out of order" in line for line in lines) >= 4, f"{lines}")


def main():
    expect(os.environ.get("AWS_ENDPOINT_URL"), "AWS_ENDPOINT_URL says where the server is")
    cells = {"streams": [lives_and_goes, settings, pages, kept], "put and get": [records], "iterators": [iterators],
             "reshard": [reshard], "subscribe": [pushed], "errors": [errors, signatures], "aggregated records": [aggregated]}
    for feature, tests in cells.items():
        passed = [check(test.__name__.replace("_", " "), test) for test in tests]
        cell("kinesis", "boto3", boto3.__version__, feature, lambda passed=passed: expect(all(passed), "see above"))
    for test in [to_kafka, from_kafka, topic_as_stream, parcels_in_order, parcels_out_of_order]:
        check(test.__name__.replace("_", " "), test)
    finish()


main()
