"""The story of the table with confluent-kafka."""

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from checks import BOOTSTRAP, equal, expect, wait_for
from story import HEARTBEAT_MS, PARTITIONS, SESSION_MS, Member, tell


class Confluent:
    def __init__(self):
        self.control = AdminClient({"bootstrap.servers": BOOTSTRAP})

    def create(self, name, partitions):
        self.control.create_topics([NewTopic(name, partitions, 1)])[name].result(20)

    def produce(self, name, values):
        producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5})
        acked = []
        for value in values:
            producer.produce(name, str(value).encode(), partition=value % PARTITIONS,
                             on_delivery=lambda error, message: acked.append(error))
        equal(producer.flush(20), 0, "records without an answer")
        equal(acked, [None] * len(values), "answers")

    def admin(self, name):
        self.create(name, 3)
        wait_for("the topic", 10, lambda: name in self.control.list_topics(timeout=10).topics)
        equal(len(self.control.list_topics(timeout=10).topics[name].partitions), 3, "partitions")
        resource = ConfigResource(ResourceType.TOPIC, name)
        settings = self.control.describe_configs([resource])[resource].result(20)
        expect("retention.ms" in settings, "retention.ms is not described")
        self.control.delete_topics([name])[name].result(20)
        wait_for("its end", 10, lambda: name not in self.control.list_topics(timeout=10).topics)

    def join(self, name, group):
        return Subscriber(name, group)


class Subscriber(Member):
    """Subscribes to a topic, or to a list of topics and patterns; `options` are librdkafka's."""

    def __init__(self, topics, group, **options):
        super().__init__()
        self.topics, self.group, self.options = topics if isinstance(topics, list) else [topics], group, options

    def open(self):
        self.consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": self.group, "auto.offset.reset": "earliest",
                                  "enable.auto.commit": False, "session.timeout.ms": SESSION_MS,
                                  "heartbeat.interval.ms": HEARTBEAT_MS, **self.options})
        self.consumer.subscribe(self.topics)

    def poll(self):
        messages = self.consumer.consume(100, 0.05)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
        return [int(message.value()) for message in messages]

    def assigned(self):
        return len(self.consumer.assignment())

    def commit(self):
        self.consumer.commit(asynchronous=False)

    def close(self):
        self.consumer.close()


if __name__ == "__main__":
    tell("confluent-kafka", confluent_kafka.__version__, Confluent())
