"""confluent-kafka (librdkafka) as a client to be measured. Prints one line of JSON.

    client.py create BOOTSTRAP TOPIC PARTITIONS
    client.py delete BOOTSTRAP TOPIC
    client.py ends BOOTSTRAP TOPIC PARTITIONS
    client.py produce BOOTSTRAP TOPIC PARTITIONS RECORDS RECORD_BYTES BATCH_BYTES SECONDS
    client.py consume BOOTSTRAP TOPIC PARTITIONS RECORDS SECONDS

`produce` fills one batch after another, partitions in turn, with acks=all; before, each partition gets two records of
5 KiB, so that creating files is not measured. `consume` reads all partitions from offset 0. Both end after SECONDS at the
latest; `complete` says whether all RECORDS were written or read. Settings are the client's defaults but for those below."""

import json
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

# A start after kill -9 may have much to recover.
PATIENCE_S = 180
AT_ONCE = 2000
PRIMING = b"p" * 5120


class Measure:
    """Clock and processor time of this process, its library's threads included."""

    def __init__(self):
        self.start, self.cpu = time.monotonic(), time.process_time()

    def seconds(self):
        return time.monotonic() - self.start

    def result(self, records, complete):
        return {"records": records, "complete": complete, "seconds": self.seconds(),
                "cpu_seconds": time.process_time() - self.cpu}


def ends(bootstrap, topic, partitions):
    """The sum of the end offsets, as soon as every partition has a leader that answers."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    wanted = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(partitions)}
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = admin.list_offsets(wanted, request_timeout=20)
            return sum(future.result().offset for future in found.values())
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def create(bootstrap, topic, partitions):
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    admin.create_topics([NewTopic(topic, partitions, 1)], operation_timeout=60)[topic].result()
    return {"end_offsets": ends(bootstrap, topic, partitions)}


def delete(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    admin.delete_topics([topic], operation_timeout=60)[topic].result()
    return {}


def produce(bootstrap, topic, partitions, records, record_bytes, batch_bytes, seconds):
    producer = Producer({
        "bootstrap.servers": bootstrap, "acks": "all", "batch.size": batch_bytes, "delivery.report.only.error": True,
    })
    failed = []

    def report(error, _message):
        failed.append(str(error))

    def send(value, partition):
        while True:
            try:
                return producer.produce(topic, value, partition=partition, on_delivery=report)
            except BufferError:
                producer.poll(0.01)

    for partition in range(partitions):
        send(PRIMING, partition)
        send(PRIMING, partition)
    producer.flush()
    before = ends(bootstrap, topic, partitions)
    value, in_batch = b"v" * record_bytes, max(1, batch_bytes // (record_bytes + 10))
    measure, sent = Measure(), 0
    while sent < records and measure.seconds() < seconds and not failed:
        partition = sent // in_batch % partitions
        for _ in range(min(in_batch, records - sent)):
            send(value, partition)
        sent += min(in_batch, records - sent)
        producer.poll(0)
    producer.flush()
    result = measure.result(sent, sent == records)
    there = ends(bootstrap, topic, partitions) - before
    if failed or there != sent:
        sys.exit(f"{sent} records were sent, {there} are there; {failed[:3]}")
    return result


def consume(bootstrap, topic, partitions, records, seconds):
    there = ends(bootstrap, topic, partitions)
    if there != records:
        sys.exit(f"{records} records were written, {there} are there")
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "peers", "enable.auto.commit": False,
        "queued.max.messages.kbytes": 1_000_000,
    })
    measure, read = Measure(), 0
    consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    while read < records and measure.seconds() < seconds:
        for message in consumer.consume(num_messages=min(AT_ONCE, records - read), timeout=0.2):
            if message.error():
                sys.exit(f"reading {topic}: {message.error()}")
            read += 1
    result = measure.result(read, read == records)
    consumer.close()
    return result


def main():
    command, bootstrap, topic, *numbers = sys.argv[1:]
    numbers = [int(number) for number in numbers]
    if command == "ends":
        print(json.dumps({"end_offsets": ends(bootstrap, topic, *numbers)}))
    else:
        run = {"create": create, "delete": delete, "produce": produce, "consume": consume}[command]
        print(json.dumps(run(bootstrap, topic, *numbers)))


main()
