"""Consumer groups of KIP-848 (`group.protocol=consumer`) with librdkafka: the server assigns, members go on one by one."""

import time

from checks import BOOTSTRAP, check, equal, expect, finish, topic
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 6


def made(name, partitions=PARTITIONS):
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result()
    return name


def produce(name, first, last, partitions=PARTITIONS):
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5})
    for i in range(first, last):
        producer.produce(name, str(i).encode(), partition=i % partitions)
    equal(producer.flush(20), 0, "records not acknowledged")


def member(wants, group, **more):
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group, "group.protocol": "consumer", "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, "topic.metadata.refresh.interval.ms": 1000, **more})
    consumer.subscribe([wants])
    return consumer


def poll(members, got, ready, seconds=40):
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


def rebalance(assignor):
    name = made(topic(f"consumer-{assignor}"))
    group, more = f"group-{name}", {"group.remote.assignor": assignor}
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
    equal(sorted(later), list(range(600, 1200)), "records read by two members, each once")
    first.commit(asynchronous=False)
    second.commit(asynchronous=False)
    second.close()
    poll([first], later, lambda: shared([first]))
    first.close()
    rest = []
    produce(name, 1200, 1230)
    resumed = member(name, group, **more)
    poll([resumed], rest, lambda: set(range(1200, 1230)) <= set(rest))
    equal(sorted(rest), list(range(1200, 1230)), "records read after all had left")
    resumed.close()


def static_member():
    name = made(topic("consumer-static"))
    group = f"group-{name}"
    produce(name, 0, 60)
    got = []
    first = member(name, group, **{"group.instance.id": "one"})
    poll([first], got, lambda: len(got) == 60)
    first.commit(asynchronous=False)
    first.close()
    # Its place is kept for the process that comes back.
    again = member(name, group, **{"group.instance.id": "one"})
    poll([again], got, lambda: shared([again]))
    produce(name, 60, 90)
    poll([again], got, lambda: len(got) == 90)
    equal(sorted(got), list(range(90)), "records read before and after")
    again.close()


def pattern():
    """Topics that are made later reach the group by themselves."""
    begin = topic("pattern")
    made(f"{begin}-a", 2)
    one = member(f"^{begin}-.*", f"group-{begin}")
    got = []
    poll([one], got, lambda: len(one.assignment()) == 2)
    made(f"{begin}-b", 3)
    produce(f"{begin}-b", 0, 30, 3)
    poll([one], got, lambda: sorted(got) == list(range(30)))
    equal(len(one.assignment()), 5, "partitions of both topics")
    one.close()


def described():
    name = made(topic("consumer-described"))
    group = f"group-{name}"
    one = member(name, group, **{"client.id": "describer"})
    poll([one], [], lambda: len(one.assignment()) == PARTITIONS)
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    seen = admin.describe_consumer_groups([group])[group].result()
    equal((seen.state.name, seen.type.name), ("STABLE", "CONSUMER"), "state and type")
    equal([m.client_id for m in seen.members], ["describer"], "members")
    equal(len(seen.members[0].assignment.topic_partitions), PARTITIONS, "partitions of the member")
    equal(len(seen.members[0].target_assignment.topic_partitions), PARTITIONS, "partitions that it is to have")
    refused = admin.delete_consumer_groups([group])[group].exception()
    expect(refused is not None and "NON_EMPTY" in str(refused), f"a group with members is not deleted: {refused}")
    one.commit(offsets=[TopicPartition(name, 0, 0)], asynchronous=False)
    one.close()
    admin.delete_consumer_groups([group])[group].result()


def from_classic_and_back():
    """A group without members goes on under the other protocol, from where it was."""
    name = made(topic("consumer-migrated"))
    group = f"group-{name}"
    produce(name, 0, 60)
    for turn, protocol in enumerate(("classic", "consumer", "classic")):
        got = []
        one = member(name, group, **{"group.protocol": protocol})
        poll([one], got, lambda: len(got) == 60)
        equal(sorted(got), list(range(60 * turn, 60 * (turn + 1))), f"records read in turn {turn}")
        one.commit(asynchronous=False)
        one.close()
        produce(name, 60 * (turn + 1), 60 * (turn + 2))


for assignor in ("uniform", "range"):
    check(f"rebalance {assignor}", rebalance, assignor)
check("static member", static_member)
check("pattern", pattern)
check("describe and delete", described)
check("from classic and back", from_classic_and_back)
finish()
