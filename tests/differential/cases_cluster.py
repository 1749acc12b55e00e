"""ApiVersions, DescribeCluster, InitProducerId, and requests that are not as they should be."""

import struct

from case import VERSIONS, Topic, case
from cases_produce import at_t
from schema import Raw

SOFTWARE = {"ClientSoftwareName": "differential", "ClientSoftwareVersion": "1"}


def ranges(c, answer):
    """Versions of the APIs that this project serves."""
    served = {c.broker.protocol.requests[name].key for name in VERSIONS}
    return {str(api["ApiKey"]): [api["MinVersion"], api["MaxVersion"]] for api in answer["ApiKeys"] if api["ApiKey"] in served}


for v in VERSIONS["ApiVersions"]:
    @case(f"api-versions/v{v}")
    def _(c, v=v):
        answer = c.ask("ApiVersions", v, show=False, **SOFTWARE)
        c.show("error", answer["ErrorCode"])
        c.show("versions", ranges(c, answer))


@case("api-versions/apis")
def _(c):
    answer = c.ask("ApiVersions", 4, show=False, **SOFTWARE)
    c.show("APIs", {str(api["ApiKey"]): "is there" for api in answer["ApiKeys"]})
    c.show("features", {f["Name"]: f["MaxVersion"] for f in answer["SupportedFeatures"]})


@case("api-versions/unknown-versions")
def _(c):
    for v in (5, 99, 32767, -1):
        answer = c.ask("ApiVersions", 3, show=False, header={"version": v}, read_as=0, **SOFTWARE)
        if answer:
            c.show(f"ApiVersions as v{v}", {**answer, "ApiKeys": [a for a in answer["ApiKeys"] if a["ApiKey"] == 18]})
        c.alive()


for v in (3, 4):
    @case(f"api-versions/names-v{v}")
    def _(c, v=v):
        for name, version in (("", "1"), ("x", ""), ("a b", "1"), ("-x", "1"), ("x-", "1"), ("x.y-z", "1.2-3"), ("\u00e9", "1"), ("x", "1 2"),
                              ("x" * 300, "1"), ("_x", "1"), ("x_y", "1")):
            answer = c.ask("ApiVersions", v, show=False, ClientSoftwareName=name, ClientSoftwareVersion=version)
            if answer:
                c.show(f"ApiVersions {name[:9]!r} {version!r}", {"ErrorCode": answer["ErrorCode"], "apis": len(answer["ApiKeys"]) > 0})


@case("api-versions/no-client-id")
def _(c):
    for client in (None, "", "x" * 1000):
        answer = c.ask("ApiVersions", 3, show=False, client=client, **SOFTWARE)
        c.show("error", answer and answer["ErrorCode"])


for v in VERSIONS["DescribeCluster"]:
    @case(f"describe-cluster/v{v}")
    def _(c, v=v):
        c.hidden.add("ClusterAuthorizedOperations")
        c.ask("DescribeCluster", v)
        if v >= 1:
            for kind in (0, 1, 2, 9, -1):
                c.ask("DescribeCluster", v, f"endpoint type {kind}", EndpointType=kind)
        if v >= 2:
            c.ask("DescribeCluster", v, "fenced ones too", IncludeFencedBrokers=True)


@case("describe-cluster/authorized-operations")
def _(c):
    for wanted in (False, True):
        c.ask("DescribeCluster", 1, f"operations {wanted}", IncludeClusterAuthorizedOperations=wanted)


for v in VERSIONS["InitProducerId"]:
    @case(f"init-producer-id/v{v}")
    def _(c, v=v):
        def init(note, **fields):
            c.ask("InitProducerId", v, note, **{"TransactionalId": None, "TransactionTimeoutMs": 60_000, **fields})
        init("plain")
        init("without a time-out", TransactionTimeoutMs=0)
        init("a negative time-out", TransactionTimeoutMs=-1)
        init("the empty id", TransactionalId="")
        if v >= 3:
            init("with an id and an epoch", ProducerId=5, ProducerEpoch=0)
            init("with an id only", ProducerId=5)
            init("with an epoch only", ProducerEpoch=5)


@case("init-producer-id/ids-differ")
def _(c):
    ids = {c.new_producer() for _ in range(3)}
    c.show("different ids", len(ids))


# Requests that are not as they should be: whether they are answered, and whether the connection lives.
def frame(c, api, version, body=b"", header=None):
    return c.broker.protocol.request(api, version, 5, "differential", body, header)


BROKEN = {
    "unknown-api": dict(key=500), "negative-api": dict(key=-1), "version-too-high": dict(version=99),
    "version-negative": dict(version=-1), "version-too-low": dict(version=0),
}
for name, header in BROKEN.items():
    @case(f"broken/{name}")
    def _(c, header=header):
        answer = c.exchange(frame(c, "Fetch", 4, b"", header))
        c.show("answer", answer if isinstance(answer, str) else "answered")
        c.alive()


@case("broken/frame-lengths")
def _(c):
    for size in (-1, 0, 3, 2 ** 31 - 1, 200 << 20):
        answer = c.exchange(struct.pack(">i", size) + b"\0\x12\0\0\0\0\0\1\xff\xff"[:max(0, min(size, 10))])
        c.show(f"a frame of {size}", answer if isinstance(answer, str) else "answered")
        c.close()


@case("broken/array-lengths", Topic())
def _(c):
    for api, version, field in (("Metadata", 1, "Topics"), ("Metadata", 9, "Topics"), ("Produce", 3, "TopicData"), ("Produce", 9, "TopicData"),
                                ("Fetch", 4, "Topics"), ("ListOffsets", 1, "Topics"), ("CreateTopics", 2, "Topics")):
        for size in (2 ** 31 - 1, 1000, -2):
            flexible = c.broker.protocol.requests[api].is_flexible(version)
            lie = (b"\xff\xff\xff\xff\x07" if size > 1000 else b"\xe9\x07") if flexible else struct.pack(">i", size)
            body = c.broker.protocol.requests[api].encode(version, {field: Raw(lie)})
            answer = c.exchange(frame(c, api, version, body))
            c.show(f"{api} v{version} with {size}", answer if isinstance(answer, str) else "answered")
            c.close()


@case("broken/bytes-after", Topic())
def _(c):
    for api, version, body in (("Metadata", 1, {"Topics": [{"Name": c.topic}]}), ("ListOffsets", 1, {"Topics": []}),
                               ("ApiVersions", 0, {}), ("Metadata", 9, {"Topics": [{"Name": c.topic}]})):
        encoded = c.broker.protocol.requests[api].encode(version, body)
        c.ask(api, version, "with bytes after it", show=False, raw=encoded + b"\0\0")
        c.alive(f"after {api} v{version}")


@case("broken/unknown-tags", Topic())
def _(c):
    c.ask("Metadata", 9, "with tags", Topics=[{"Name": c.topic, "_tags": {7: b"x"}}], _tags={3: b"abc", 99: b""})
    c.ask("ListOffsets", 7, "with tags", ReplicaId=-1, _tags={5: b"zz"}, Topics=[
        {"Name": c.topic, "_tags": {0: b""}, "Partitions": [{"PartitionIndex": 0, "Timestamp": -1, "_tags": {1: b"q"}}]}])


@case("broken/not-utf8", Topic())
def _(c):
    c.ask("Metadata", 9, "a name that is not UTF-8", Topics=[{"Name": b"\xff\xfe"}], AllowAutoTopicCreation=False)
    c.alive()
    c.ask("ApiVersions", 0, "a client id that is not UTF-8", show=False, client=b"\xff\xfe")
    c.alive()


@case("broken/several-in-flight", Topic())
def _(c):
    c.connect()
    frames = [c.broker.protocol.request("Produce", 9, 100 + i, "differential", {"Acks": -1, "TimeoutMs": 5000, "TopicData": [
        {"Name": c.topic, "PartitionData": [{"Index": i % 2, "Records": at_t()}]}]}) for i in range(6)]
    c.socket.sendall(b"".join(frames))
    for _ in frames:
        correlation, answer = c.broker.protocol.response("Produce", 9, c.read_frame())
        c.show(f"answer {correlation}", answer)
