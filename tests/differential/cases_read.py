"""Fetch, ListOffsets, DeleteRecords, leader epochs and what partitions take on the disk."""

import time

from batch import CODECS, batch
from case import VERSIONS, Topic, case
from cases_produce import at_t
from client import HOUR, T

PLAIN = Topic()


def fill(c, batches=3, records=3, topic=None, partition=0, value=b"value", codec=0):
    """Some batches; the records are ten milliseconds apart."""
    for i in range(batches):
        c.produce(at_t([{"time": 10 * n, "value": value} for n in range(records)], first_time=T + 1000 * i, codec=codec),
                  topic=topic, partition=partition, show=False)


# Fetch.
for v in VERSIONS["Fetch"]:
    @case(f"fetch/v{v}", PLAIN)
    def _(c, v=v):
        fill(c)
        for offset in (0, 4, 9):
            c.fetch(offset, v)

    @case(f"fetch/v{v}-refused", PLAIN)
    def _(c, v=v):
        fill(c, 1)
        c.fetch(10, v)
        c.fetch(-1, v)
        c.fetch(0, v, partition=3, note="no such partition")
        c.fetch(0, v, topic=c.broker.prefix + "no-such-topic", note="no such topic")


@case("fetch/offsets", PLAIN)
def _(c):
    fill(c)
    for offset in (0, 1, 2, 3, 5, 8, 9, 10, -1, -2, 2 ** 63 - 1, -2 ** 63):
        c.fetch(offset)


@case("fetch/limits", PLAIN)
def _(c):
    fill(c, 4)
    for limit in (0, 1, 60, 61, 100, 150, 200, 300, 2 ** 31 - 1, -1):
        c.fetch(0, limit=limit, note=f"partition's limit {limit}")
        c.fetch(0, max_bytes=limit, note=f"limit {limit}")
        c.fetch(4, limit=limit, max_bytes=100, note=f"partition's limit {limit}, limit 100")


@case("fetch/order-of-partitions", Topic(4), Topic(2))
def _(c):
    for topic, partitions in zip(c.topics, (4, 2)):
        for partition in range(partitions):
            fill(c, 3, topic=topic, partition=partition)
    first, second = c.topics
    orders = [[(first, p) for p in order] for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1))]
    orders += [[(first, 1), (second, 0), (first, 0), (second, 1)], [(second, 1), (first, 3)]]
    for order in orders:
        for limit in (1, 150, 400, 700, 100_000):
            body = c.fetch_body(*[(topic, p, 0, 100_000, {}) for topic, p in order], max_bytes=limit)
            c.ask("Fetch", 12, f"{[p for _, p in order]} limit {limit}", **body)


@case("fetch/order-with-errors", Topic(3))
def _(c):
    for partition in range(3):
        fill(c, 2, partition=partition)
    wanted = [(2, 99), (7, 0), (1, 0), (0, 3)]
    for limit in (1, 250, 5000):
        c.ask("Fetch", 12, f"limit {limit}", **c.fetch_body(*[(c.topic, p, o, 5000, {}) for p, o in wanted], max_bytes=limit))


@case("fetch/large-batch-second", Topic(2))
def _(c):
    fill(c, 1, partition=0)
    c.produce(at_t([{"value": b"x" * 5000}]), partition=1, show=False)
    for order in ((0, 1), (1, 0)):
        for limit in (1, 300, 3000, 6000):
            c.ask("Fetch", 12, f"{order} limit {limit}",
                  **c.fetch_body(*[(c.topic, p, 0, limit, {}) for p in order], max_bytes=limit))


@case("fetch/twice", PLAIN)
def _(c):
    fill(c, 2)
    c.ask("Fetch", 12, "a partition twice", **c.fetch_body((c.topic, 0, 0, 5000, {}), (c.topic, 0, 3, 5000, {})))


@case("fetch/min-bytes", PLAIN)
def _(c):
    fill(c, 1)
    c.fetch(0, min_bytes=1, wait=300, note="min bytes 1")
    c.fetch(0, min_bytes=5000, wait=300, note="min bytes 5000")
    c.fetch(3, min_bytes=1, wait=300, note="nothing there")
    c.fetch(3, min_bytes=0, wait=300, note="min bytes 0")
    c.fetch(9, min_bytes=1, wait=60_000, note="out of range does not wait")
    c.fetch(0, min_bytes=-1, wait=300, note="min bytes -1")
    c.fetch(0, wait=-1, min_bytes=1, note="wait -1")


@case("fetch/nothing-asked")
def _(c):
    for v in VERSIONS["Fetch"]:
        c.ask("Fetch", v, "no topics", **c.fetch_body(wait=100, min_bytes=1))


@case("fetch/no-partitions", PLAIN)
def _(c):
    for v in (4, 11, 12, 13, 17):
        c.ask("Fetch", v, "no partitions", ReplicaId=-1, MaxWaitMs=100, MinBytes=1,
              Topics=[{"Topic": c.topic, "TopicId": c.id(), "Partitions": []}])


@case("fetch/sessions/made", PLAIN)
def _(c):
    fill(c, 1)
    for v in (7, 12, 13):
        c.fetch(0, v, SessionId=0, SessionEpoch=0, note="a new session")


for v in (7, 12, 13, 17):
    @case(f"fetch/sessions/unknown-v{v}", PLAIN)
    def _(c, v=v):
        fill(c, 1)
        c.fetch(0, v, SessionId=4711, SessionEpoch=1, note="of no such session", wait=1000)
        c.ask("Fetch", v, "of no such session, without topics", **c.fetch_body(SessionId=4711, SessionEpoch=1, wait=1000, min_bytes=1))
        c.fetch(0, v, SessionId=4711, SessionEpoch=-1, note="closes no such session")
        c.fetch(0, v, SessionId=0, SessionEpoch=5, note="epoch without session")
        c.fetch(0, v, SessionId=4711, SessionEpoch=0, note="new session with an id")
        c.fetch(0, v, SessionId=0, SessionEpoch=-1, note="without a session")
        c.fetch(0, v, SessionId=-1, SessionEpoch=-1, note="session -1")
        c.fetch(0, v, SessionId=0, SessionEpoch=-2, note="epoch -2")


@case("fetch/forgotten-topics", PLAIN)
def _(c):
    fill(c, 1)
    c.fetch(0, 12, ForgottenTopicsData=[{"Topic": c.topic, "Partitions": [0]}])


for name, fields in {
        "leader-epoch-0": dict(CurrentLeaderEpoch=0), "leader-epoch-1": dict(CurrentLeaderEpoch=1),
        "leader-epoch-minus-2": dict(CurrentLeaderEpoch=-2), "last-epoch-0": dict(LastFetchedEpoch=0),
        "last-epoch-1": dict(LastFetchedEpoch=1), "log-start-offset": dict(LogStartOffset=2)}.items():
    @case(f"fetch/{name}", PLAIN)
    def _(c, fields=fields):
        fill(c, 1)
        for offset in (0, 3):
            for v in (9, 12, 16):
                c.fetch(offset, v, fields=fields)


@case("fetch/isolation-levels", PLAIN)
def _(c):
    fill(c, 1)
    for level in (0, 1, 2, -1):
        for v in (4, 12):
            c.fetch(0, v, IsolationLevel=level, note=f"level {level}")


@case("fetch/replica", PLAIN)
def _(c):
    fill(c, 1)
    for replica in (-2, 0, 5):
        c.ask("Fetch", 12, f"replica {replica}", **{**c.fetch_body((c.topic, 0, 0, 5000, {})), "ReplicaId": replica})


@case("fetch/rack", PLAIN)
def _(c):
    fill(c, 1)
    c.fetch(0, 12, RackId="a-rack")


@case("fetch/unknown-topic-id")
def _(c):
    for v in (13, 15, 16, 18):
        c.fetch(0, v, topic="neither", note="the zero id")


@case("fetch/compressed-in-the-middle", PLAIN)
def _(c):
    for codec in CODECS.values():
        fill(c, 1, codec=codec)
    for offset in (1, 4, 7, 11):
        c.fetch(offset, limit=1)


@case("fetch/wakes-up", PLAIN)
def _(c):
    fill(c, 1)
    frame = c.broker.protocol.request("Fetch", 12, 77, "differential", c.fetch_body((c.topic, 0, 3, 5000, {}), wait=10_000, min_bytes=1))
    c.connect()
    c.socket.sendall(frame)
    other = type(c)(c.broker, c.topics)
    fill(other, 1)
    other.close()
    c.show("Fetch v12 that waited", c.broker.protocol.response("Fetch", 12, c.read_frame())[1], ordered=True)


# DeleteRecords.
def delete_records(c, offset, version=2, topic=None, partition=0, note=""):
    c.ask("DeleteRecords", version, note or f"to {offset}", TimeoutMs=5000, Topics=[
        {"Name": topic or c.topic, "Partitions": [{"PartitionIndex": partition, "Offset": offset}]}])


for v in VERSIONS["DeleteRecords"]:
    @case(f"delete-records/v{v}", PLAIN)
    def _(c, v=v):
        fill(c)
        for offset in (0, 1, 4, 3, 9, 10, -2, -1, 2 ** 63 - 1):
            delete_records(c, offset, v)
        delete_records(c, 0, v, partition=4, note="no such partition")
        delete_records(c, 0, v, partition=-1, note="partition -1")
        delete_records(c, 0, v, topic=c.broker.prefix + "no-such-topic", note="no such topic")
        c.read()


@case("delete-records/high-watermark", PLAIN)
def _(c):
    fill(c)
    delete_records(c, -1)
    c.read()
    fill(c, 1)
    c.read()


@case("delete-records/middle-of-a-batch", PLAIN)
def _(c):
    fill(c)
    delete_records(c, 4)
    for offset in (0, 3, 4, 5, 6):
        c.fetch(offset)


@case("delete-records/compacted", Topic(cleanup_policy="compact"))
def _(c):
    fill(c)
    delete_records(c, 4)
    c.read()


@case("delete-records/compacted-and-deleted", Topic(cleanup_policy="compact,delete"))
def _(c):
    fill(c)
    delete_records(c, 4)
    c.read()


@case("delete-records/nothing-asked", PLAIN)
def _(c):
    c.ask("DeleteRecords", 2, "no topics", TimeoutMs=1000, Topics=[])
    c.ask("DeleteRecords", 2, "no partitions", TimeoutMs=1000, Topics=[{"Name": c.topic, "Partitions": []}])


@case("delete-records/twice", PLAIN)
def _(c):
    fill(c)
    parts = [{"PartitionIndex": 0, "Offset": 2}, {"PartitionIndex": 0, "Offset": 4}]
    c.ask("DeleteRecords", 2, "a partition twice", TimeoutMs=1000, Topics=[{"Name": c.topic, "Partitions": parts}])
    c.fetch(0)


# ListOffsets.
MODES = (-1, -2, -3, -4, -5, -6, -7, -100, -2 ** 63)
for v in VERSIONS["ListOffsets"]:
    @case(f"list-offsets/v{v}", PLAIN)
    def _(c, v=v):
        fill(c)
        for when in (*MODES, 0, T, T + 5, T + 10, T + 21, T + 1000, T + 2020, T + 2021, 2 ** 63 - 1):
            c.list(when, v)
        c.list(-1, v, partition=5, note="no such partition")
        c.list(-1, v, partition=-1, note="partition -1")
        c.list(-1, v, topic=c.broker.prefix + "no-such-topic", note="no such topic")

    @case(f"list-offsets/v{v}-empty", PLAIN)
    def _(c, v=v):
        for when in (*MODES, 0, T):
            c.list(when, v)


for name, codec in {"none": 0, **CODECS}.items():
    for cut in (1, 4, 5, 6, 9):
        @case(f"list-offsets/after-delete-{cut}-{name}", PLAIN)
        def _(c, cut=cut, codec=codec):
            fill(c, codec=codec)
            delete_records(c, cut)
            for when in (-1, -2, -3, -4, 0, T, T + 10, T + 20, T + 1000, T + 1010, T + 1015, T + 2020):
                c.list(when)


@case("list-offsets/leader-epochs", PLAIN)
def _(c):
    fill(c, 1)
    for v in (4, 7):
        for epoch in (0, 1, -2, 2 ** 31 - 1):
            c.list(-1, v, CurrentLeaderEpoch=epoch, note=f"epoch {epoch}")


@case("list-offsets/isolation-levels", PLAIN)
def _(c):
    fill(c, 1)
    for level in (0, 1, 2, -1):
        for when in (-1, -2, -3, T):
            c.list(when, isolation=level, note=f"level {level} at {c.time(when)}")


@case("list-offsets/replicas", PLAIN)
def _(c):
    fill(c, 1)
    for replica in (-2, -3, 0, 5):
        c.ask("ListOffsets", 7, f"replica {replica}", ReplicaId=replica, Topics=[
            {"Name": c.topic, "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}])


@case("list-offsets/equal-times", PLAIN)
def _(c):
    for _ in range(2):
        c.produce(at_t([{}, {}]), show=False)
    for when in (T, T + 1, -3):
        c.list(when)


@case("list-offsets/times-out-of-order", PLAIN)
def _(c):
    for times in ([50, 10, 30], [5, 60, 20], [0, 0, 0]):
        c.produce(at_t([{"time": time} for time in times]), show=False)
    for when in (T, T + 6, T + 11, T + 31, T + 51, T + 60, T + 61, -3):
        c.list(when)


@case("list-offsets/header-lies-about-max", PLAIN)
def _(c):
    for lie in (-1, 0, T - HOUR, T + 24 * HOUR):
        c.produce(at_t([{}, {"time": 7}], max_time=lie), show=False)
    for when in (0, T, T + 7, T + 8, -3):
        c.list(when)


@case("list-offsets/no-timestamp", PLAIN)
def _(c):
    c.produce(batch(first_time=-1))
    for when in (-3, 0, T):
        c.list(when)


@case("list-offsets/twice", Topic(2))
def _(c):
    fill(c, 1)
    parts = [{"PartitionIndex": 0, "Timestamp": -1}, {"PartitionIndex": 0, "Timestamp": -2}, {"PartitionIndex": 1, "Timestamp": -1}]
    for v in (1, 6, 7):
        c.ask("ListOffsets", v, "a partition twice", ReplicaId=-1, Topics=[{"Name": c.topic, "Partitions": parts}])
        c.ask("ListOffsets", v, "a topic twice", ReplicaId=-1, Topics=[{"Name": c.topic, "Partitions": [part]} for part in parts])


@case("list-offsets/nothing-asked", PLAIN)
def _(c):
    c.ask("ListOffsets", 7, "no topics", ReplicaId=-1, Topics=[])
    c.ask("ListOffsets", 7, "no partitions", ReplicaId=-1, Topics=[{"Name": c.topic, "Partitions": []}])


@case("list-offsets/after-everything-went", PLAIN)
def _(c):
    fill(c)
    delete_records(c, -1)
    for when in (-1, -2, -3, -4, 0, T):
        c.list(when)


for v in VERSIONS["OffsetForLeaderEpoch"]:
    @case(f"leader-epochs/v{v}", Topic(2))
    def _(c, v=v):
        def ends(note, *wanted, topic=None, replica=-1):
            c.ask("OffsetForLeaderEpoch", v, note, ReplicaId=replica, Topics=[{"Topic": topic or c.topic, "Partitions": [
                {"Partition": p, "CurrentLeaderEpoch": current, "LeaderEpoch": epoch} for p, current, epoch in wanted]}])
        fill(c, 1)
        for epoch in (0, 1, 5, -1, -2):
            ends(f"epoch {epoch}", (0, -1, epoch))
        for current in (-1, 0, 1, 7, -2):
            ends(f"current epoch {current}", (0, current, 0))
        ends("no such partition", (9, -1, 0), (-1, -1, 0))
        ends("no such topic", (0, -1, 0), topic=c.broker.prefix + "no-such-topic")
        ends("no partitions")
        ends("a replica", (0, -1, 0), replica=-2)


for v in VERSIONS["DescribeLogDirs"]:
    @case(f"log-dirs/v{v}", Topic(3))
    def _(c, v=v):
        def dirs(note, *topics):
            wanted = [{"Topic": topic, "Partitions": partitions} for topic, partitions in topics]
            answer = c.ask("DescribeLogDirs", v, note, show=False, Topics=wanted)
            c.show(note, answer and (answer.get("ErrorCode"), [
                (told["ErrorCode"], told["LogDir"].startswith("/"), told.get("TotalBytes", 2) > 1 < told.get("UsableBytes", 2),
                 [(topic["Name"] == c.topic, sorted(tuple(p.values()) for p in topic["Partitions"])) for topic in told["Topics"]])
                for told in answer["Results"]]))
        # Apache Kafka makes the logs of a new topic some time after it has answered.
        for _ in range(100):
            asked = c.ask("DescribeLogDirs", v, show=False, Topics=[{"Topic": c.topic, "Partitions": [0, 1, 2]}])
            if [len(topic["Partitions"]) for told in asked["Results"] for topic in told["Topics"]] == [3]:
                break
            time.sleep(0.05)
        dirs("nothing stored", (c.topic, [0, 1, 2]))
        fill(c, 2)
        fill(c, 1, partition=2)
        dirs("sizes", (c.topic, [0, 1, 2]))
        dirs("some", (c.topic, [2]))
        dirs("one twice", (c.topic, [2, 2]))
        dirs("no such partition", (c.topic, [0, 3, -1]))
        dirs("no such topic", (c.broker.prefix + "no-such-topic", [0]), (c.topic, [1]))
        dirs("no partitions", (c.topic, []))
        dirs("no topics")
        everything = c.ask("DescribeLogDirs", v, show=False, Topics=None)
        mine = [topic for told in everything["Results"] for topic in told["Topics"] if topic["Name"] == c.topic]
        c.show("all topics", [sorted(tuple(p.values()) for p in topic["Partitions"]) for topic in mine])
