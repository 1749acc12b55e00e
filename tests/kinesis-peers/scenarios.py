"""What is asked of every server that speaks Kinesis: each scenario gives a short answer, and says what AWS documents or is known to answer.

A scenario's `aws` is what is right; `why` explains every answer beside it that Keylane or a peer gives. Names and numbers that differ
from run to run are left out of answers.
"""

import hashlib
import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlparse

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

FIRST = "shardId-000000000000"
SCENARIOS = []
# A server can be asked more than once.
RUN = f"{os.getpid()}x{int(time.time())}"


class Server:
    """A server under test, and streams made on it."""

    def __init__(self, url):
        self.url, self.count = url, 0
        # The server has to find what is wrong, and not the client.
        settings = Config(retries={"total_max_attempts": 1}, read_timeout=20, connect_timeout=5, parameter_validation=False)
        self.kinesis = boto3.client("kinesis", endpoint_url=url, region_name="us-east-1", aws_access_key_id="any",
                                    aws_secret_access_key="any", config=settings)

    def name(self):
        self.count += 1
        return f"scenario-{RUN}-{self.count}"

    def stream(self, shards=1, **more):
        name = self.name()
        if "StreamModeDetails" not in more:
            more["ShardCount"] = shards
        self.kinesis.create_stream(StreamName=name, **more)
        self.settle(name)
        return name

    def settle(self, name):
        end = time.monotonic() + 10
        while self.kinesis.describe_stream(StreamName=name)["StreamDescription"]["StreamStatus"] != "ACTIVE":
            if time.monotonic() > end:
                raise TimeoutError("the stream is not ACTIVE after 10 s")
            time.sleep(0.05)

    def put(self, name, key="k", data=b"x", **more):
        return self.kinesis.put_record(StreamName=name, PartitionKey=key, Data=data, **more)

    def at(self, name, kind="TRIM_HORIZON", shard=FIRST, **more):
        return self.kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]

    def get(self, iterator, **more):
        return self.kinesis.get_records(ShardIterator=iterator, **more)

    def refusal(self, action, text=True, **arguments):
        """The type of the error, and its text without what differs by server."""
        try:
            action(**arguments)
        except ClientError as cause:
            error = cause.response["Error"]
            said = error.get("Message", "").replace("000000000000.", "123456789012.").replace(" 000000000000 ", " 123456789012 ")
            said = re.sub(rf"scenario-{RUN}-\d+", "s", said)
            return f"{error['Code']}: {said}" if text and said else error["Code"]
        return "accepted"


def scenario(aws, why=""):
    def add(test):
        SCENARIOS.append((test.__doc__, aws, why, test))
        return test
    return add


def answer(test, server):
    """The answer of a server; an error that the scenario does not expect is an answer, too."""
    try:
        return str(test(server))
    except ClientError as cause:
        return f"fails: {cause.response['Error']['Code']}"
    except (BotoCoreError, TimeoutError) as cause:
        return f"fails: {type(cause).__name__}"
    except (KeyError, IndexError, TypeError) as cause:
        return f"fails: the answer lacks {cause}"


@scenario("CREATING", "The stream is there at once, so that programs that wait for it do not look again only after ten seconds; `--kinesis-delay-ms` of Keylane "
          "brings the states of AWS.")
def first_look(server):
    """State of a stream right after CreateStream"""
    name = server.name()
    server.kinesis.create_stream(StreamName=name, ShardCount=1)
    return server.kinesis.describe_stream(StreamName=name)["StreamDescription"]["StreamStatus"]


@scenario("ResourceInUseException: Stream s under account 123456789012 already exists.", "The text is another one.")
def exists(server):
    """CreateStream of a name that is taken"""
    return server.refusal(server.kinesis.create_stream, StreamName=server.stream(), ShardCount=1)


@scenario("ResourceNotFoundException: Stream nobody under account 123456789012 not found.", "The text is another one.")
def unknown(server):
    """DescribeStream of an unknown stream"""
    return server.refusal(server.kinesis.describe_stream, StreamName="nobody")


@scenario("10 of 10", "The paginator goes on by NextToken, which they do not give.")
def pages(server):
    """Streams that the paginator of ListStreams finds, three a page"""
    names = {server.stream() for _ in range(10)}
    paginator = server.kinesis.get_paginator("list_streams")
    found = [name for page in paginator.paginate(PaginationConfig={"PageSize": 3}) for name in page["StreamNames"]]
    return f"{len(names & set(found))} of 10"


@scenario("even, from 0 to 2^128 - 1")
def ranges(server):
    """Hash ranges of three shards"""
    shards = server.kinesis.describe_stream(StreamName=server.stream(3))["StreamDescription"]["Shards"]
    third = (1 << 128) // 3
    wanted = [(0, third - 1), (third, 2 * third - 1), (2 * third, (1 << 128) - 1)]
    got = [(int(s["HashKeyRange"]["StartingHashKey"]), int(s["HashKeyRange"]["EndingHashKey"])) for s in shards]
    return "even, from 0 to 2^128 - 1" if got == wanted else "others"


@scenario("the shard of its MD5")
def hashed(server):
    """Shard of a partition key, 50 keys over four shards"""
    name = server.stream(4)
    for n in range(50):
        hashed = int.from_bytes(hashlib.md5(f"key-{n}".encode()).digest())
        if server.put(name, f"key-{n}")["ShardId"] != f"shardId-{hashed >> 126:012}":
            return "another"
    return "the shard of its MD5"


@scenario("56 digits, rising", "moto counts; a program that keeps sequence numbers as texts and compares them goes wrong only here.")
def numbers(server):
    """Sequence numbers of a shard"""
    name = server.stream()
    got = [server.put(name)["SequenceNumber"] for _ in range(20)]
    lengths = sorted({len(number) for number in got})
    rising = all(int(a) < int(b) for a, b in zip(got, got[1:]))
    return f"{' or '.join(map(str, lengths))} digits, {'rising' if rising else 'not rising'}"


@scenario("it comes once")
def latest(server):
    """A record that is put after an iterator LATEST was taken"""
    name = server.stream()
    server.put(name, data=b"before")
    first = server.at(name, "LATEST")
    server.put(name, data=b"after")
    one = server.get(first)
    two = server.get(one["NextShardIterator"])
    got = [record["Data"] for record in one["Records"] + two["Records"]]
    return {(b"after",): "it comes once", (): "it never comes"}.get(tuple(got), f"{len(got)} records come")


@scenario("a new one each time", "A token of moto's holds the position alone.")
def tokens(server):
    """Iterators of ten empty polls"""
    iterator, seen = server.at(server.stream()), set()
    for _ in range(10):
        seen.add(iterator)
        iterator = server.get(iterator)["NextShardIterator"]
    return "a new one each time" if len(seen) == 10 else "the same again"


@scenario("that record is the first")
def at_timestamp(server):
    """AT_TIMESTAMP with exactly the arrival time of the third of five records"""
    name = server.stream()
    for n in range(5):
        server.put(name, data=b"%d" % n)
        time.sleep(0.01)
    records = server.get(server.at(name))["Records"]
    got = server.get(server.at(name, "AT_TIMESTAMP", Timestamp=records[2]["ApproximateArrivalTimestamp"]))["Records"]
    return "that record is the first" if [r["Data"] for r in got] == [b"2", b"3", b"4"] else f"{len(got)} records come"


@scenario("InvalidArgumentException: Invalid ShardIterator.", "The server fails with status 500: an SDK tries again.")
def forged(server):
    """GetRecords with an iterator that nobody gave"""
    return server.refusal(server.kinesis.get_records, ShardIterator="AAAA")


@scenario("at least 1000, then 0", "It is always 0: a reader that falls behind is not seen in tests.")
def behind(server):
    """MillisBehindLatest after the first and the second of two records 1.1 s apart"""
    name = server.stream()
    server.put(name)
    time.sleep(1.1)
    server.put(name)
    one = server.get(server.at(name), Limit=1)
    two = server.get(one["NextShardIterator"], Limit=1)
    told = "at least 1000" if one["MillisBehindLatest"] >= 1000 else one["MillisBehindLatest"]
    return f"{told}, then {two['MillisBehindLatest']}"


@scenario("the request is refused: ValidationException", "The server fails with status 500: an SDK tries again.")
def bad_hash(server):
    """PutRecords with a good record and one whose ExplicitHashKey is abc"""
    records = [{"PartitionKey": "k", "Data": b"x"}, {"PartitionKey": "k", "Data": b"x", "ExplicitHashKey": "abc"}]
    try:
        put = server.kinesis.put_records(StreamName=server.stream(), Records=records)
        return f"{put.get('FailedRecordCount')} of 2 records fail"
    except ClientError as cause:
        return f"the request is refused: {cause.response['Error']['Code']}"


@scenario("InvalidArgumentException: Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was "
          "340282366920938463463374607431768211456", "The text is another one.")
def large_hash(server):
    """PutRecord with ExplicitHashKey 2^128"""
    name = server.stream()
    return server.refusal(server.kinesis.put_record, StreamName=name, PartitionKey="k", Data=b"x", ExplicitHashKey=str(1 << 128))


@scenario("256 characters: accepted, 257: ValidationException, none: ValidationException", "AWS counts characters, not bytes, and takes no empty key.")
def keys(server):
    """Partition keys of emoji"""
    name = server.stream()
    def put(key):
        return server.refusal(server.kinesis.put_record, text=False, StreamName=name, PartitionKey=key, Data=b"x")

    smile = "\U0001f600"
    return f"256 characters: {put(smile * 256)}, 257: {put(smile * 257)}, none: {put('')}"


@scenario("ValidationException", "It takes any number.")
def too_many(server):
    """PutRecords of 501 records"""
    records = [{"PartitionKey": "k", "Data": b""}] * 501
    return server.refusal(server.kinesis.put_records, text=False, StreamName=server.stream(), Records=records)


@scenario("1 MiB with its key: accepted, one byte more: ValidationException",
          "They do not count the key.")
def large(server):
    """The largest record"""
    name = server.stream()
    def put(size):
        return server.refusal(server.kinesis.put_record, text=False, StreamName=name, PartitionKey="key", Data=b"x" * size)

    return f"1 MiB with its key: {put((1 << 20) - 3)}, one byte more: {put((1 << 20) - 2)}"


@scenario("6 MiB: accepted, 11 MiB: refused", "They have the limit of 5 MiB that AWS had before 2025; kinesis-local closes the connection.")
def much(server):
    """PutRecords of many records of 1,000,000 bytes"""
    name = server.stream(4)
    def put(count):
        records = [{"PartitionKey": f"{n}", "Data": b"x" * 1_000_000} for n in range(count)]
        return server.refusal(server.kinesis.put_records, text=False, StreamName=name, Records=records)

    six, eleven = put(6), put(11)
    return f"6 MiB: {six}, 11 MiB: {'refused' if eleven != 'accepted' else eleven}"


@scenario("1 record, no NextShardIterator, 2 children", "Without ChildShards, or without an end, the Kinesis Client Library does not go on behind a reshard.")
def end_of_parent(server):
    """The end of a shard that was split"""
    name = server.stream()
    server.put(name)
    server.kinesis.split_shard(StreamName=name, ShardToSplit=FIRST, NewStartingHashKey=str(1 << 127))
    server.settle(name)
    records, iterator = 0, server.at(name)
    for _ in range(5):
        last = server.get(iterator)
        records, iterator = records + len(last["Records"]), last.get("NextShardIterator")
        if not iterator:
            break
    end = "a" if iterator else "no"
    return f"{records} record{'s' * (records != 1)}, {end} NextShardIterator, {len(last.get('ChildShards', []))} children"


@scenario("1 open shard with 2 parents")
def merged(server):
    """MergeShards of two shards"""
    name = server.stream(2)
    server.kinesis.merge_shards(StreamName=name, ShardToMerge=FIRST, AdjacentShardToMerge="shardId-000000000001")
    server.settle(name)
    shards = server.kinesis.describe_stream(StreamName=name)["StreamDescription"]["Shards"]
    opened = [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
    parents = {opened[-1].get("ParentShardId"), opened[-1].get("AdjacentParentShardId")} - {None}
    return f"{len(opened)} open shard with {len(parents)} parents"


@scenario("2 of 3 shards", "The filter is not looked at.")
def filtered(server):
    """ListShards with the filter AT_LATEST after a split"""
    name = server.stream()
    server.kinesis.split_shard(StreamName=name, ShardToSplit=FIRST, NewStartingHashKey=str(1 << 127))
    server.settle(name)
    found = server.kinesis.list_shards(StreamName=name, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    return f"{len(found)} of 3 shards"


@scenario("InvalidArgumentException: NewStartingHashKey 0 used in SplitShard() on shard shardId-000000000000 in stream s under account 123456789012 "
          "is not both greater than one plus the shard's StartingHashKey 0 and less than the shard's EndingHashKey "
          "340282366920938463463374607431768211455.", "kinesis-local makes a shard without a hash; moto tells an EndingHashKey that is one too low.")
def split_at_start(server):
    """SplitShard at the first hash of a shard"""
    return server.refusal(server.kinesis.split_shard, StreamName=server.stream(), ShardToSplit=FIRST, NewStartingHashKey="0")


@scenario("InvalidArgumentException: Shards shardId-000000000000 and shardId-000000000002 in stream s under account 123456789012 are not an adjacent "
          "pair of shards eligible for merging", "The text is another one.")
def not_adjacent(server):
    """MergeShards of two that are no neighbours"""
    return server.refusal(server.kinesis.merge_shards, StreamName=server.stream(3), ShardToMerge=FIRST,
                          AdjacentShardToMerge="shardId-000000000002")


@scenario("LimitExceededException", "kinesalite does not know the operation, kinesis-local names another type, moto has no bounds.")
def scaled_too_far(server):
    """UpdateShardCount from one shard to three"""
    return server.refusal(server.kinesis.update_shard_count, text=False, StreamName=server.stream(), TargetShardCount=3,
                          ScalingType="UNIFORM_SCALING")


@scenario("4 shards, UpdateShardCount: ValidationException", "kinesalite is older than on-demand streams; kinesis-local lets clients set their number of shards.")
def on_demand(server):
    """A stream in on-demand mode"""
    name = server.stream(StreamModeDetails={"StreamMode": "ON_DEMAND"})
    count = len(server.kinesis.describe_stream(StreamName=name)["StreamDescription"]["Shards"])
    update = server.refusal(server.kinesis.update_shard_count, text=False, StreamName=name, TargetShardCount=count * 2,
                            ScalingType="UNIFORM_SCALING")
    return f"{count} shards, UpdateShardCount: {update}"


@scenario("InvalidArgumentException: Minimum allowed retention period is 24 hours. Requested retention period (23 hours) is too short.", "The text is another one.")
def short_retention(server):
    """DecreaseStreamRetentionPeriod to 23 hours"""
    return server.refusal(server.kinesis.decrease_stream_retention_period, StreamName=server.stream(), RetentionPeriodHours=23)


@scenario("8760 hours: accepted", "It has the older limit, 168 hours.")
def long_retention(server):
    """IncreaseStreamRetentionPeriod to a year"""
    told = server.refusal(server.kinesis.increase_stream_retention_period, text=False, StreamName=server.stream(), RetentionPeriodHours=8760)
    return f"8760 hours: {told}"


@scenario("5 of 5 records", "kinesalite has no consumers; what kinesis-local sends is no event stream for boto3, over HTTP/1.1; moto fails with status 500.")
def pushed(server):
    """Records that SubscribeToShard pushes"""
    name = server.stream()
    arn = server.kinesis.describe_stream(StreamName=name)["StreamDescription"]["StreamARN"]
    consumer = server.kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]
    end = time.monotonic() + 5
    while server.kinesis.describe_stream_consumer(ConsumerARN=consumer)["ConsumerDescription"]["ConsumerStatus"] != "ACTIVE":
        if time.monotonic() > end:
            return "the consumer is not ACTIVE after 5 s"
        time.sleep(0.05)
    for n in range(5):
        server.put(name, data=b"%d" % n)

    def listen():
        events = server.kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=FIRST, StartingPosition={"Type": "TRIM_HORIZON"})
        got, end = [], time.monotonic() + 10
        for event in events["EventStream"]:
            got += event["SubscribeToShardEvent"]["Records"]
            if len(got) >= 5 or time.monotonic() > end:
                break
        events["EventStream"].close()
        return f"{len(got)} of 5 records"

    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(listen).result(timeout=15)
    except ClientError:
        raise
    except Exception as cause:  # what a broken event stream makes of the client
        return f"fails: {type(cause).__name__}"
    finally:
        pool.shutdown(wait=False)


@scenario("answered", "The AWS SDK for JavaScript speaks HTTP/2 by default, also without TLS; with the others it has to be told not to.")
def http2(server):
    """HTTP/2 without TLS, by prior knowledge"""
    address = urlparse(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.settimeout(3)
        # The client's preface and empty settings; an HTTP/2 server answers with a frame of settings.
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        try:
            told = connection.recv(4096)
        except (TimeoutError, ConnectionError):
            told = b""
    return "answered" if len(told) > 9 and told[3] == 4 else "not understood"


def call(server, operation, content_type, body):
    """Status, content type and body of the answer to a signed request."""
    headers = {"Content-Type": content_type, "X-Amz-Target": f"Kinesis_20131202.{operation}"}
    request = AWSRequest("POST", server.url + "/", headers=headers, data=body)
    SigV4Auth(Credentials("any", "any"), "kinesis", "us-east-1").add_auth(request)
    connection = HTTPConnection(urlparse(server.url).netloc, timeout=5)
    connection.request("POST", "/", body, dict(request.headers))
    answer = connection.getresponse()
    return answer.status, answer.headers.get("Content-Type", ""), answer.read()


@scenario("400 UnknownOperationException", "They answer in other words, moto with status 500.")
def operation(server):
    """An operation that there is not"""
    status, _, body = call(server, "MakeCoffee", "application/x-amz-json-1.1", b"{}")
    return f"{status} {'UnknownOperationException' if b'UnknownOperationException' in body else 'without a type'}"


@scenario("in CBOR", "The AWS SDK for Java speaks CBOR by default; with moto it has to be told not to.")
def cbor(server):
    """ListStreams in CBOR"""
    status, content_type, _ = call(server, "ListStreams", "application/x-amz-cbor-1.1", b"\xa0")
    return "in CBOR" if status == 200 and "x-amz-cbor-1.1" in content_type else "refused or in JSON"
