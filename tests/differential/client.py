"""A case's connection to one of the brokers, and the trace of what was answered.

Everything that is asked through a `Client` is written into its trace, made plain: what must differ between two
brokers (ids that they choose, ports, the time) is replaced by a name, so that what is left can be compared.
"""

import socket
import struct
import threading
import time
import uuid

import batch as b
from errors import ERRORS
from schema import ZERO_ID, Malformed

# The time that cases reckon from: a minute before the run began, so that it is in no broker's future.
STARTED = int(time.time() * 1000)
T = STARTED - 60_000
HOUR = 3_600_000
ANSWER_SECONDS = 8
CLOSED, SILENT = "the connection is closed", "no answer"

TIMES = {"Timestamp", "LogAppendTimeMs", "first_time", "max_time"}
TEXTS = {"ErrorMessage", "BatchIndexErrorMessage"}
# What names an element of a list, whatever its place in the list.
IDENTITIES = ("Name", "TopicName", "Topic", "ResourceName", "GroupId", "Key", "ApiKey", "TopicId", "MemberId")
PLACES = ("PartitionIndex", "Partition", "Index", "NodeId", "BrokerId")
# Fields whose lists have an order that means something. Fetch's partitions have none: each says which it is, and
# what counts is whose records are there.
ORDERED = {"Synonyms"}
# APIs that change topics. Kafka answers them before its own broker has heard of the change.
CHANGES = {"CreateTopics", "DeleteTopics", "CreatePartitions", "AlterConfigs", "IncrementalAlterConfigs"}


class Broker:
    """Where a broker is, and the ids of its topics."""

    def __init__(self, name, host, port, protocol):
        self.name, self.host, self.port, self.protocol = name, host, port, protocol
        self.ids = {}
        # What names of topics and groups begin with, and traces leave out.
        self.prefix = "\0"
        # A change to each answer, as (api, frame) -> frame; for the self-test.
        self.tamper = None
        self.lock, self.changes = threading.Lock(), 0

    @property
    def barrier(self):
        """The topic whose settings show how far changes have come."""
        return self.prefix + "barrier"


class Client:
    def __init__(self, broker, topics=(), slug=""):
        self.broker = broker
        # What a case calls topics and groups that it makes itself.
        self.slug = slug
        self.group = f"{broker.prefix}{slug}"
        self.topics = list(topics)
        self.topic = self.topics[0] if self.topics else None
        self.trace = []
        self.producers = {}
        self.hidden = set()
        # What traces call texts that brokers choose; the members of groups that a case has.
        self.names, self.others = {}, []
        self.socket = None
        self.correlation = 0
        self.changed = False

    # The wire.

    def connect(self):
        if self.socket is None:
            self.socket = socket.create_connection((self.broker.host, self.broker.port), timeout=ANSWER_SECONDS)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def read_exactly(self, n):
        data = bytearray()
        while len(data) < n:
            part = self.socket.recv(n - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return bytes(data)

    def read_frame(self):
        return self.read_exactly(struct.unpack(">i", self.read_exactly(4))[0])

    def exchange(self, frame, answered=True):
        """Sends bytes and returns the answer's frame, or how it stayed away."""
        try:
            self.connect()
            self.socket.sendall(frame)
            return self.read_frame() if answered else None
        except TimeoutError:
            self.close()
            return SILENT
        except OSError:
            self.close()
            return CLOSED

    # Asking.

    def ask(self, api, version, note="", show=True, answered=True, raw=None, header=None, client="differential",
            read_as=None, **body):
        """Sends a request and writes what came of it into the trace. Returns the answer, or None.

        `raw`: the body as bytes; `read_as`: the version to read the answer in; `answered=False`: none is due.
        """
        if api in CHANGES:
            self.changed = True
        elif self.changed:
            self.settle()
        self.correlation += 1
        protocol = self.broker.protocol
        frame = protocol.request(api, version, self.correlation, client, body if raw is None else raw, header)
        answer = self.exchange(frame, answered)
        label = f"{api} v{version}" + (f" {note}" if note else "")
        if answer is None:
            return None
        if isinstance(answer, str):
            self.write(label, answer)
            return None
        if self.broker.tamper:
            answer = self.broker.tamper(api, answer)
        try:
            correlation, decoded = protocol.response(api, version if read_as is None else read_as, answer)
            if correlation != self.correlation:
                raise Malformed(f"correlation id {correlation} instead of {self.correlation}")
        except (Malformed, UnicodeDecodeError, struct.error) as cause:
            self.write(label, f"malformed: {cause}")
            self.close()
            return None
        if show:
            self.write(label, self.plain(None, decoded))
        return decoded

    def send(self, api, version, **body):
        """Sends a request that is not answered, and shows whether the connection lives on."""
        self.ask(api, version, answered=False, **body)
        # Nothing says when it is done with.
        time.sleep(0.3)
        self.alive(f"after {api}")

    def alive(self, note=""):
        """Shows whether the connection still answers."""
        if self.socket is None:
            self.write(f"connection {note}", CLOSED)
            return
        self.correlation += 1
        answer = self.exchange(self.broker.protocol.request("ApiVersions", 0, self.correlation, "differential", {}))
        self.write(f"connection {note}", answer if isinstance(answer, str) else "answers")

    def write(self, label, value):
        self.trace.append((f"{len(self.trace) + 1} {label}", value))

    def show(self, label, value, ordered=False):
        """Writes something that was taken out of an answer."""
        self.write(label, self.plain(None, value, ordered))

    def settle(self):
        """Waits until the changes before this are seen: they come in order, so a later one is waited for."""
        broker, other = self.broker, Client(self.broker)
        with broker.lock:
            broker.changes += 1
            mine = 1_000_000 + broker.changes
            setting = {"Name": "segment.ms", "ConfigOperation": 0, "Value": str(mine)}
            other.ask("IncrementalAlterConfigs", 1, Resources=[
                {"ResourceType": 2, "ResourceName": broker.barrier, "Configs": [setting]}])
        other.changed = self.changed = False
        for _ in range(500):
            answer = other.ask("DescribeConfigs", 4, Resources=[
                {"ResourceType": 2, "ResourceName": broker.barrier, "ConfigurationKeys": ["segment.ms"]}])
            configs = answer["Results"][0]["Configs"] if answer else None
            if not configs or int(configs[0]["Value"]) >= mine:
                break
            time.sleep(0.01)
        other.close()

    # What cases ask most.

    def id(self, topic=None):
        return self.broker.ids.get(topic or self.topic, ZERO_ID)

    def produce(self, *records, version=9, acks=-1, topic=None, partition=0, note="", topics=None, transactional=None,
                timeout=10_000, show=True):
        """Produces to one partition; several byte strings are put one after the other."""
        topic = topic or self.topic
        data = None if records == (None,) else b"".join(records)
        if topics is None:
            topics = [{"Name": topic, "TopicId": self.id(topic), "PartitionData": [{"Index": partition, "Records": data}]}]
        body = {"TransactionalId": transactional, "Acks": acks, "TimeoutMs": timeout, "TopicData": topics}
        if acks == 0:
            return self.send("Produce", version, **body)
        return self.ask("Produce", version, note, show=show, **body)

    def fetch_body(self, *wanted, max_bytes=50 << 20, wait=0, min_bytes=0, **more):
        """The body of a Fetch of (topic, partition, offset, partition's max bytes, other fields)."""
        topics = []
        for topic, partition, offset, limit, fields in wanted:
            one = {"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": limit, **fields}
            if topics and topics[-1]["Topic"] == topic:
                topics[-1]["Partitions"].append(one)
            else:
                topics.append({"Topic": topic, "TopicId": self.id(topic), "Partitions": [one]})
        return {"ReplicaId": -1, "MaxWaitMs": wait, "MinBytes": min_bytes, "MaxBytes": max_bytes, "Topics": topics, **more}

    def fetch(self, offset=0, version=12, topic=None, partition=0, limit=50 << 20, fields=None, note="", show=True, **more):
        body = self.fetch_body((topic or self.topic, partition, offset, limit, fields or {}), **more)
        return self.ask("Fetch", version, note or f"from {offset}", show=show, **body)

    def read(self, note="", topic=None, partition=0):
        """Shows what is stored: every batch from the log's start."""
        topic = topic or self.topic
        start = self.ask("ListOffsets", 7, show=False, ReplicaId=-1, Topics=[
            {"Name": topic, "Partitions": [{"PartitionIndex": partition, "Timestamp": -2}]}])
        offset = start["Topics"][0]["Partitions"][0]["Offset"] if start else 0
        return self.fetch(max(offset, 0), 12, topic, partition, note=note or "all that is stored")

    def list(self, timestamp, version=7, topic=None, partition=0, note="", isolation=0, **more):
        return self.ask("ListOffsets", version, note or f"at {self.time(timestamp)}", ReplicaId=-1,
                        IsolationLevel=isolation, TimeoutMs=5000, Topics=[{"Name": topic or self.topic, "Partitions": [
                            {"PartitionIndex": partition, "Timestamp": timestamp, **more}]}])

    def new_producer(self):
        """An id for an idempotent producer."""
        for _ in range(50):
            answer = self.ask("InitProducerId", 4, show=False, TransactionalId=None, TransactionTimeoutMs=60_000)
            if answer is None or not answer["ErrorCode"]:
                break
            # Kafka's first ids are on their way.
            time.sleep(0.1)
        if answer is None or answer["ErrorCode"]:
            self.write("InitProducerId", f"failed: {answer}")
            return -1
        self.producers[answer["ProducerId"]] = f"producer {len(self.producers) + 1}"
        return answer["ProducerId"]

    # Making plain.

    @staticmethod
    def time(value):
        if STARTED <= value < STARTED + 1_800_000:
            return "now"
        return f"T{value - T:+}" if abs(value - T) < 30 * 24 * HOUR else value

    def plain(self, field, value, ordered=False):
        if field in self.hidden:
            return "(not compared)"
        if isinstance(value, dict):
            return {name: self.plain(name, inner, ordered or name in ORDERED) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return self.plain_list(value, ordered)
        if field in ("Records", "records") and isinstance(value, bytes):
            return self.plain(None, b.read_batches(value), ordered=True)
        if isinstance(value, bytes):
            return value.decode("latin-1") if len(value) <= 64 else f"{len(value)} bytes, {b.crc32c(value):08x}"
        if isinstance(value, uuid.UUID):
            names = {known: f"id of {name.replace(self.broker.prefix, '')}" for name, known in self.broker.ids.items()}
            return "no id" if value == ZERO_ID else names.get(value, "an id" if value.int >> 80 else str(value))
        if field == "ErrorCode":
            return ERRORS.get(value, value)
        if field in TEXTS:
            return "a text" if value else value
        if field in TIMES:
            return self.time(value)
        if field in ("ProducerId", "producer") and value >= 0:
            return self.producers.get(value, "a producer")
        if field == "SessionId" and value:
            return "a session"
        if field == "ClusterId" and value:
            return "an id"
        if field == "Port" and value == self.broker.port:
            return "its port"
        return value.replace(self.broker.prefix, "") if isinstance(value, str) else value

    def plain_list(self, values, ordered):
        made = [self.plain(None, value, ordered) for value in values]
        if ordered or not made or not all(isinstance(one, dict) for one in made):
            return made
        for name in IDENTITIES:
            if all(isinstance(one.get(name), (str, int)) for one in made):
                if len({one[name] for one in made}) == len(made):
                    return {str(one[name]): one for one in made}
                break
        return sorted(made, key=lambda one: [str(one.get(name)) for name in IDENTITIES] + [one.get(n, 0) for n in PLACES])
