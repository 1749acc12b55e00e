"""What the Python suites share: running checks, making records, judging what was read back."""

import json
import os
import sys
import time
import traceback
from collections import defaultdict
from dataclasses import dataclass, field

BOOTSTRAP = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
# Names are new in every run, so that a broker can be tested more than once.
RUN = f"{os.getpid()}-{int(time.time())}"
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
# A time in the past, so that no clock of the broker can pass for it, and young enough to be retained.
EPOCH_MS = (int(time.time()) - 86_400) * 1000

_failed = 0


@dataclass(frozen=True)
class Record:
    key: bytes | None
    value: bytes | None
    headers: tuple = field(default=())
    time_ms: int | None = None


def check(name, test, *args):
    """Runs one check and prints its verdict; whether it passed."""
    global _failed
    try:
        test(*args)
        print(f"ok {name}", flush=True)
        return True
    except Exception as cause:  # every error of a check is its verdict
        _failed += 1
        where = traceback.extract_tb(cause.__traceback__)[-1]
        reason = f"{type(cause).__name__}: {cause}".replace("\n", " ")[:400]
        print(f"not ok {name}: {reason} ({os.path.basename(where.filename)}:{where.lineno})", flush=True)
        return False


def cell(section, client, version, feature, test):
    """Runs the test of a cell of docs/compatibility.md and prints its verdict; without a test the client has no such feature."""
    made = {"section": section, "client": client, "version": version, "feature": feature, "result": "none"}
    if test:
        try:
            test()
            made["result"] = "yes"
        except Exception as cause:  # every error of a cell is its verdict
            made |= {"result": "no", "why": f"{type(cause).__name__}: {cause}".replace("\n", " ")[:400]}
    print("cell " + json.dumps(made), flush=True)


def finish():
    print("done", flush=True)


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def equal(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: got {str(got)[:150]}, wanted {str(wanted)[:150]}")


def raises(kind, action, what):
    """Runs `action`, which must fail; returns the error."""
    try:
        result = action()
    except kind as cause:
        return cause
    raise AssertionError(f"{what}: no error, but {str(result)[:150]}")


def topic(name):
    return f"{name}-{RUN}"


def records(count, keys=40, headers=True):
    """Keyed records, compressible, with every odd case mixed in."""
    made = []
    for i in range(count):
        key = f"key-{i % keys}".encode()
        value = f"value {i} ".encode() * (1 + i % 50)
        if i % 97 == 0:
            value = None
        elif i % 89 == 0:
            value = b""
        elif i % 83 == 0:
            value = bytes(range(256)) * 4
        head = ()
        if headers and i % 3 == 0:
            # The same key twice, an empty and a null value: order and repetition must stay.
            head = (("h", str(i).encode()), ("h", b"again"), ("empty", b""), ("null", None))
        made.append(Record(key, value, head, EPOCH_MS + i * 10))
    return made


def judge(sent, got):
    """`sent` in order; `got`: {partition: [(offset, Record)]} in the order of reading.

    Every record arrives once, unchanged; the offsets of a partition are 0, 1, 2, ...; the records of a key
    lie in one partition, in the order of sending.
    """
    total = sum(len(rows) for rows in got.values())
    equal(total, len(sent), "records read")
    for partition, rows in got.items():
        equal([offset for offset, _ in rows], list(range(len(rows))), f"offsets of partition {partition}")
    by_key = defaultdict(list)
    for record in sent:
        by_key[record.key].append(record)
    home = {}
    read = defaultdict(list)
    for partition, rows in got.items():
        for _, record in rows:
            equal(home.setdefault(record.key, partition), partition, f"partition of {record.key}")
            read[record.key].append(record)
    equal(sorted(read, key=str), sorted(by_key, key=str), "keys")
    for key, wanted in by_key.items():
        for i, (a, b) in enumerate(zip(read[key], wanted, strict=True)):
            equal(a, b, f"record {i} of {key}")


def wait_for(what, seconds, ready):
    """Polls until `ready()` gives something true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = ready()
        if result:
            return result
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds} s")
