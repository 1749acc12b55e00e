"""The commands of `aws kinesis` as people type them, told where the server is by AWS_ENDPOINT_URL alone."""

import base64
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from awscli.clidriver import create_clidriver
from checks import cell, equal, expect, finish, topic

AWS = str(Path(sys.executable).parent / "aws")
FIRST = "shardId-000000000000"
os.environ |= {"AWS_MAX_ATTEMPTS": "1", "AWS_PAGER": "", "AWS_DEFAULT_OUTPUT": "json"}


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(command, *arguments):
    """What the program `aws` does, inside this process: to start Python for each command takes longer than all the rest."""
    out, said = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(said):
        code = create_clidriver().main(["kinesis", command, *map(str, arguments)])
    return Done(code, out.getvalue(), said.getvalue())


def aws(command, *arguments):
    """The answer of a command, which must succeed."""
    done = run(command, *arguments)
    expect(done.returncode == 0, f"aws kinesis {command}: {done.stderr.strip()}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def refused(code, command, *arguments):
    done = run(command, *arguments)
    expect(done.returncode != 0, f"aws kinesis {command}: no error")
    expect(f"({code})" in done.stderr, f"{code} expected: {done.stderr.strip()}")
    return done.stderr


def stream(name, shards=1):
    name = topic(f"cli-{name}")
    aws("create-stream", "--stream-name", name, "--shard-count", shards)
    aws("wait", "stream-exists", "--stream-name", name)
    return name


def iterator(name, shard, kind="TRIM_HORIZON", *more):
    return aws("get-shard-iterator", "--stream-name", name, "--shard-id", shard, "--shard-iterator-type", kind,
               *more)["ShardIterator"]


def get(name, *at):
    return [record["SequenceNumber"] for record in aws("get-records", "--shard-iterator", iterator(name, *at))["Records"]]


def streams():
    subprocess.run([AWS, "kinesis", "list-streams"], check=True, stdout=subprocess.DEVNULL)
    name = stream("life", 3)
    told = aws("describe-stream", "--stream-name", name)["StreamDescription"]
    equal(told["Shards"][1]["HashKeyRange"]["StartingHashKey"], str((1 << 128) // 3), "a hash range")
    expect(name in aws("list-streams", "--page-size", 1)["StreamNames"], "the stream is in no page")
    aws("add-tags-to-stream", "--stream-name", name, "--tags", "team=a,stage=test")
    tags = aws("list-tags-for-stream", "--stream-name", name)["Tags"]
    equal({tag["Key"]: tag["Value"] for tag in tags}, {"team": "a", "stage": "test"}, "tags")
    aws("increase-stream-retention-period", "--stream-name", name, "--retention-period-hours", 48)
    summary = aws("describe-stream-summary", "--stream-arn", told["StreamARN"])["StreamDescriptionSummary"]
    equal((summary["RetentionPeriodHours"], summary["OpenShardCount"]), (48, 3), "summary")
    aws("delete-stream", "--stream-name", name)
    aws("wait", "stream-not-exists", "--stream-name", name)


def put_and_get():
    name = stream("records", 4)
    # Version 1 takes data as text and shows it in base64.
    sent = [{"PartitionKey": f"key-{n % 10}", "Data": f"record {n} " * (n % 20)} for n in range(99)]
    put = aws("put-records", "--stream-name", name, "--records", json.dumps(sent))
    equal(put["FailedRecordCount"], 0, "failed")
    one = aws("put-record", "--stream-name", name, "--partition-key", "\U0001f600", "--data", "a record")
    sent.append({"PartitionKey": "\U0001f600", "Data": "a record"})
    for shard in aws("list-shards", "--stream-name", name)["Shards"]:
        got = aws("get-records", "--shard-iterator", iterator(name, shard["ShardId"]), "--limit", 1000)
        wanted = [(answer["SequenceNumber"], record["PartitionKey"], base64.b64encode(record["Data"].encode()).decode())
                  for record, answer in zip(sent, [*put["Records"], one], strict=True) if answer["ShardId"] == shard["ShardId"]]
        equal([(r["SequenceNumber"], r["PartitionKey"], r["Data"]) for r in got["Records"]], wanted, shard["ShardId"])


def iterators():
    name = stream("iterators")
    latest = iterator(name, FIRST, "LATEST")
    numbers = [aws("put-record", "--stream-name", name, "--partition-key", "k", "--data", "x")["SequenceNumber"] for _ in range(3)]
    records = aws("get-records", "--shard-iterator", latest)["Records"]
    equal([record["SequenceNumber"] for record in records], numbers, "LATEST")
    equal(get(name, FIRST, "AT_SEQUENCE_NUMBER", "--starting-sequence-number", numbers[1]), numbers[1:], "AT_SEQUENCE_NUMBER")
    equal(get(name, FIRST, "AFTER_SEQUENCE_NUMBER", "--starting-sequence-number", numbers[1]), numbers[2:], "AFTER_SEQUENCE_NUMBER")
    # The client sends whole seconds.
    times = [int(float(record["ApproximateArrivalTimestamp"])) for record in records]
    wanted = [number for number, time in zip(numbers, times) if time >= times[2]]
    equal(get(name, FIRST, "AT_TIMESTAMP", "--timestamp", times[2]), wanted, "AT_TIMESTAMP")


def reshard():
    name = stream("reshard")
    aws("put-record", "--stream-name", name, "--partition-key", "k", "--data", "x")
    aws("split-shard", "--stream-name", name, "--shard-to-split", FIRST, "--new-starting-hash-key", 1 << 127)
    end = aws("get-records", "--shard-iterator", iterator(name, FIRST))
    equal((len(end["Records"]), end.get("NextShardIterator")), (1, None), "the parent's record and end")
    children = ["shardId-000000000001", "shardId-000000000002"]
    equal([(child["ShardId"], child["ParentShards"]) for child in end["ChildShards"]], [(id, [FIRST]) for id in children], "children")
    aws("merge-shards", "--stream-name", name, "--shard-to-merge", children[0], "--adjacent-shard-to-merge", children[1])
    opened = aws("list-shards", "--stream-name", name, "--shard-filter", "Type=AT_LATEST")["Shards"]
    equal([(s["ParentShardId"], s["AdjacentParentShardId"]) for s in opened], [tuple(children)], "parents of the merged shard")


def errors():
    text = refused("ResourceNotFoundException", "describe-stream", "--stream-name", "nobody")
    expect("Stream nobody under account 123456789012 not found." in text, text)
    name = stream("errors")
    refused("ResourceInUseException", "create-stream", "--stream-name", name, "--shard-count", 1)
    refused("InvalidArgumentException", "get-records", "--shard-iterator", "AAAA")
    refused("ValidationException", "put-record", "--stream-name", name, "--partition-key", "k", "--data", "x",
            "--explicit-hash-key", "abc")


def main():
    version = subprocess.run([AWS, "--version"], capture_output=True, text=True).stdout.split("/")[1].split()[0]
    tests = {"streams": streams, "put and get": put_and_get, "iterators": iterators, "reshard": reshard, "subscribe": None,
             "errors": errors, "aggregated records": None}
    for feature, test in tests.items():
        cell("kinesis", "AWS CLI", version, feature, test)
    finish()


if __name__ == "__main__":
    main()
