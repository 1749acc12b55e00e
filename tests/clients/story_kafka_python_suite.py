"""The story of the table with kafka-python."""

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from checks import BOOTSTRAP, equal, expect, wait_for
from story import HEARTBEAT_MS, PARTITIONS, SESSION_MS, Member, tell


class KafkaPython:
    def __init__(self):
        self.control = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)

    def create(self, name, partitions):
        self.control.create_topics([NewTopic(name, partitions, 1)])

    def produce(self, name, values):
        producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all")
        waiting = [producer.send(name, str(value).encode(), partition=value % PARTITIONS) for value in values]
        for each in waiting:
            each.get(20)
        producer.close()

    def admin(self, name):
        self.create(name, 3)
        wait_for("the topic", 10, lambda: name in self.control.list_topics())
        described = self.control.describe_topics([name])[0]
        equal(len(described["partitions"]), 3, "partitions")
        settings = self.control.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)], config_filter="all")
        expect("retention.ms" in str(settings), "retention.ms is not described")
        self.control.delete_topics([name])
        wait_for("its end", 10, lambda: name not in self.control.list_topics())

    def join(self, name, group):
        return Subscriber(name, group)


class Subscriber(Member):
    def __init__(self, name, group):
        super().__init__()
        self.topic, self.group = name, group

    def open(self):
        self.consumer = KafkaConsumer(self.topic, bootstrap_servers=BOOTSTRAP, group_id=self.group, auto_offset_reset="earliest",
                                      enable_auto_commit=False, session_timeout_ms=SESSION_MS,
                                      heartbeat_interval_ms=HEARTBEAT_MS)

    def poll(self):
        found = self.consumer.poll(timeout_ms=50)
        return [int(row.value) for rows in found.values() for row in rows]

    def assigned(self):
        return len(self.consumer.assignment())

    def commit(self):
        self.consumer.commit()

    def close(self):
        self.consumer.close()


if __name__ == "__main__":
    tell("kafka-python", kafka.__version__, KafkaPython())
