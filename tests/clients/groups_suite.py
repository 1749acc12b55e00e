"""Consumer groups with librdkafka: `subscribe`, rebalances, commits, and who goes on where."""

import time

from checks import BOOTSTRAP, check, equal, expect, finish, topic
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 6


def made(name):
    name = topic(name)
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result()
    return name


def produce(name, first, last):
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5})
    for i in range(first, last):
        producer.produce(name, str(i).encode(), partition=i % PARTITIONS)
    equal(producer.flush(20), 0, "records not acknowledged")


def member(name, group, **more):
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500, **more})
    consumer.subscribe([name])
    return consumer


def poll(members, got, ready, seconds=30):
    """Has all members poll until `ready()`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for one in members:
            for message in one.consume(100, 0.05):
                if message.error():
                    raise KafkaException(message.error())
                got.append(int(message.value()))
        if ready():
            return
    raise AssertionError(f"not within {seconds} s; {len(got)} records, assignments "
                         f"{[[p.partition for p in one.assignment()] for one in members]}")


def shared(members):
    """Whether the members have all partitions, each one of them."""
    counts = [len(one.assignment()) for one in members]
    return sum(counts) == PARTITIONS and max(counts) - min(counts) <= 1


def rebalance(strategy):
    name = made(f"groups-{strategy}")
    group, more = f"group-{name}", {"partition.assignment.strategy": strategy}
    produce(name, 0, 600)
    got = []
    first = member(name, group, **more)
    poll([first], got, lambda: len(set(got)) == 600)
    equal(len(got), 600, "records read by one member")
    first.commit(asynchronous=False)
    second = member(name, group, **more)
    poll([first, second], [], lambda: shared([first, second]))
    later = []
    produce(name, 600, 1200)
    poll([first, second], later, lambda: set(range(600, 1200)) <= set(later))
    equal(sorted(set(later)), list(range(600, 1200)), "records read by two members")
    second.commit(asynchronous=False)
    second.close()
    poll([first], later, lambda: shared([first]))
    # All that was read, whoever read it.
    first.commit(offsets=[TopicPartition(name, p, 200) for p in range(PARTITIONS)], asynchronous=False)
    first.close()
    rest = []
    produce(name, 1200, 1230)
    resumed = member(name, group, **more)
    poll([resumed], rest, lambda: set(range(1200, 1230)) <= set(rest))
    equal(sorted(rest), list(range(1200, 1230)), "records read after all had left")
    resumed.close()


def static_member():
    name = made("groups-static")
    group = f"group-{name}"
    produce(name, 0, 60)
    got = []
    first = member(name, group, **{"group.instance.id": "one"})
    poll([first], got, lambda: len(got) == 60)
    second = member(name, group, **{"group.instance.id": "one"})

    def fenced():
        try:
            first.consume(1, 0.05)
            first.commit(offsets=[TopicPartition(name, 0, 1)], asynchronous=False)
        except KafkaException as cause:
            return "FENCED" in str(cause).upper() or "_FATAL" in str(cause)
        return False

    # librdkafka never returns from close() if it was told its assignment and has not taken it yet.
    poll([second], [], lambda: fenced() and len(second.assignment()) == PARTITIONS)
    second.close()


def described():
    name = made("groups-described")
    group = f"group-{name}"
    one = member(name, group, **{"client.id": "describer"})
    poll([one], [], lambda: len(one.assignment()) == PARTITIONS)
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    seen = admin.describe_consumer_groups([group])[group].result()
    equal(seen.state.name, "STABLE", "state")
    equal([m.client_id for m in seen.members], ["describer"], "members")
    equal(len(seen.members[0].assignment.topic_partitions), PARTITIONS, "partitions of the member")
    refused = admin.delete_consumer_groups([group])[group].exception()
    expect(refused is not None and "NON_EMPTY" in str(refused), f"a group with members is not deleted: {refused}")
    one.close()
    admin.delete_consumer_groups([group])[group].result()


for strategy in ("range", "cooperative-sticky"):
    check(f"rebalance {strategy}", rebalance, strategy)
check("static member", static_member)
check("describe and delete", described)
finish()
