"""Keylane through kcat, each run as its own process."""

import json
import os
import subprocess
import time

import checks
from checks import BOOTSTRAP, CODECS, Record, check, equal, expect, judge, topic

KCAT = os.environ["KCAT"]


def kcat(*args, text=b"", fails=False):
    done = subprocess.run([KCAT, "-b", BOOTSTRAP, *args], input=text, capture_output=True, timeout=60)
    if (done.returncode != 0) != fails:
        raise AssertionError(f"kcat {' '.join(args)}: code {done.returncode}: {done.stderr.decode()[:300]}")
    return done.stdout


def read(name, *args):
    """{partition: [(offset, Record)]} and the times."""
    got, times = {}, []
    for line in kcat("-C", "-t", name, "-o", "beginning", "-e", "-q", "-J", *args).splitlines():
        row = json.loads(line)
        pairs = row.get("headers", [])
        headers = tuple((pairs[i], pairs[i + 1].encode()) for i in range(0, len(pairs), 2))
        record = Record(row["key"].encode(), row["payload"].encode(), headers)
        got.setdefault(row["partition"], []).append((row["offset"], record))
        times.append(row["ts"])
    return got, times


def round_trip(codec):
    name = topic(f"kcat-{codec}")
    head = (("first", b"1"), ("second", b"two"))
    sent = [Record(b"key-%d" % (i % 20), b"value %d " % i * (1 + i % 30), head) for i in range(1000)]
    text = b"".join(record.key + b":" + record.value + b"\n" for record in sent)
    before = int(time.time() * 1000)
    kcat("-P", "-t", name, "-K", ":", "-z", codec, "-H", "first=1", "-H", "second=two", text=text)
    after = int(time.time() * 1000)
    got, times = read(name)
    judge(sent, got)
    expect(all(before - 1 <= ms <= after + 1 for ms in times), f"times outside {before}..{after}")


def offsets():
    name = topic("kcat-offsets")
    kcat("-P", "-t", name, "-p", "0", text=b"one\n")
    time.sleep(0.02)
    middle = int(time.time() * 1000)
    time.sleep(0.02)
    kcat("-P", "-t", name, "-p", "0", text=b"two\nthree\n")
    for query, wanted in [("-2", 0), ("-1", 3), (str(middle), 1)]:
        line = kcat("-Q", "-t", f"{name}:0:{query}").decode().strip()
        equal(line, f"{name} [0] offset {wanted}", f"query {query}")
    equal(kcat("-C", "-t", name, "-p", "0", "-o", "-2", "-e", "-q"), b"two\nthree\n", "the last two")
    equal(kcat("-C", "-t", name, "-p", "0", "-o", "1", "-c", "1", "-e", "-q"), b"two\n", "the second")


def metadata():
    name = topic("kcat-metadata")
    kcat("-P", "-t", name, text=b"x\n")
    about = json.loads(kcat("-L", "-J"))
    equal([broker["name"] for broker in about["brokers"]], [BOOTSTRAP], "brokers")
    found = [entry for entry in about["topics"] if entry["topic"] == name]
    equal(len(found), 1, "the topic")
    equal(found[0]["partitions"][0]["leader"], about["brokers"][0]["id"], "leader")


def acks(level):
    name = topic(f"kcat-acks{level}")
    kcat("-P", "-t", name, "-X", f"acks={level}", text=b"one\ntwo\n")
    checks.wait_for("both records", 10, lambda: kcat("-C", "-t", name, "-o", "beginning", "-e", "-q") == b"one\ntwo\n")


def no_such_partition():
    name = topic("kcat-partition")
    kcat("-P", "-t", name, "-p", "0", text=b"x\n")
    kcat("-P", "-t", name, "-p", "77", "-X", "message.timeout.ms=5000", text=b"y\n", fails=True)


def main():
    for codec in CODECS:
        check(f"round trip, {codec}", round_trip, codec)
    for level in ["0", "1", "all"]:
        check(f"acks={level}", acks, level)
    check("offsets", offsets)
    check("metadata", metadata)
    check("no such partition", no_such_partition)
    checks.finish()


main()
