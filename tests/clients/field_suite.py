"""What people who run brokers report of groups: consumers that are slow, paused, or far too many topics at once.

Each is told with librdkafka (confluent-kafka, and kcat where a process is to stand still) and holds on Apache Kafka as well.
"""

import os
import signal
import threading
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from checks import BOOTSTRAP, check, equal, expect, finish, topic, wait_for
from story import PARTITIONS, until
from story_confluent_suite import Confluent, Subscriber
from story_kcat_suite import Subscriber as Kcat

client = Confluent()
QUICK = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 200, "topic.metadata.refresh.interval.ms": 300}


def filled(name, count=100):
    name = topic(name)
    client.create(name, PARTITIONS)
    client.produce(name, range(count))
    return name


class Slow(Subscriber):
    """A consumer whose work for what it has polled takes as long as it is told."""

    working = threading.Event()
    error = None

    def poll(self):
        if self.working.is_set():
            time.sleep(0.02)
            return []
        try:
            return super().poll()
        except KafkaException as cause:
            # It is told once that it was too slow, and goes on.
            expect("MAX_POLL_EXCEEDED" in str(cause), f"another error: {cause}")
            self.told = True
            return []

    def assigned(self):
        return self.partitions if self.working.is_set() else super().assigned()


def slow():
    """Who polls less often than max.poll.interval.ms loses its partitions, though its heart beats: its commit is refused, and it gets
    partitions again when it polls again."""
    name = filled("field-slow")
    one = Slow(name, name, **QUICK, **{"max.poll.interval.ms": 2000})
    one.working, one.told = threading.Event(), False
    one.start()
    until("100 records", [one], lambda: len(one.values) == 100)
    one.ask_commit()
    other = Subscriber(name, name, **QUICK)
    other.start()
    until("half each", [one, other], lambda: (one.partitions, other.partitions) == (2, 2))
    one.working.set()
    until("all to the other", [other], lambda: other.partitions == PARTITIONS, 15)
    client.produce(name, range(100, 200))
    until("what is new", [other], lambda: len(other.values) >= 100)
    equal(sorted(other.values), list(range(100, 200)), "records of the other")
    try:
        one.ask_commit()
        raise AssertionError("a commit of one that was too slow")
    except KafkaException as cause:
        code = cause.args[0].name()
        expect(code in ("UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "_NO_OFFSET", "_ASSIGNMENT_LOST"), f"refused with {code}")
    other.ask_commit()
    back = Subscriber(name, name, **QUICK)
    back.start()
    until("half each again", [back, other], lambda: (back.partitions, other.partitions) == (2, 2))
    equal(back.values, [], "records of the one that came back")
    for member in (back, other):
        member.leave()


def paused():
    """A process that stands still for longer than its session loses its partitions, and shares them when it goes on."""
    name = filled("field-paused")
    one = Kcat(name, name)
    one.command = [part.replace("session.timeout.ms=10000", "session.timeout.ms=1500") for part in one.command]
    one.start()
    until("100 records", [one], lambda: len(one.values) == 100)
    one.ask_commit()
    other = Subscriber(name, name, **QUICK)
    other.start()
    until("half each", [one, other], lambda: (one.partitions, other.partitions) == (2, 2))
    one.child.send_signal(signal.SIGSTOP)
    try:
        until("all to the other", [other], lambda: other.partitions == PARTITIONS, 15)
        client.produce(name, range(100, 200))
        until("what is new", [other], lambda: len(other.values) >= 100)
        other.ask_commit()
    finally:
        one.child.send_signal(signal.SIGCONT)
    until("half each again", [other], lambda: other.partitions == 2, 15)
    client.produce(name, range(200, 300))
    until("the last", [one, other], lambda: set(range(200, 300)) <= set(one.values + other.values))
    equal(sorted(value for value in other.values if value < 200), list(range(100, 200)), "records of the other while it had all")
    one.leave()
    other.leave()


def commit_while_another_joins():
    """The commit of a member that has not noticed a rebalance yet is taken, and holds."""
    name = filled("field-commit")
    one = Subscriber(name, name, **QUICK)
    one.start()
    until("100 records", [one], lambda: len(one.values) == 100)
    gate = threading.Event()
    wish = one.commit

    def late():
        gate.wait(10)
        wish()

    one.commit = late
    asked = threading.Thread(target=one.ask_commit)
    asked.start()
    other = Subscriber(name, name, **QUICK)
    other.start()
    time.sleep(0.6)  # the heartbeat tells the first of the rebalance; its thread is in the commit, and does not join
    gate.set()
    asked.join()
    one.fail()
    until("half each", [one, other], lambda: (one.partitions, other.partitions) == (2, 2))
    client.produce(name, range(100, 140))
    until("what is new", [one, other], lambda: len(one.values) + len(other.values) >= 140)
    equal(sorted(one.values + other.values), list(range(140)), "records of both: nothing again")
    one.commit = wish
    one.leave()
    other.leave()


def deleted_and_made_again():
    """A member whose topic is deleted and made again under the same name reads the new one from its beginning."""
    name = filled("field-again")
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    one = Subscriber(name, name, **QUICK)
    one.start()
    until("100 records", [one], lambda: len(one.values) == 100)
    one.ask_commit()
    one.poll_once = one.poll

    def tolerant():
        try:
            return one.poll_once()
        except KafkaException as cause:
            expect("UNKNOWN_TOPIC" in cause.args[0].name(), f"another error: {cause}")
            return []

    one.poll = tolerant
    admin.delete_topics([name])[name].result(20)
    until("no partitions", [one], lambda: one.partitions == 0, 15)
    wait_for("its end", 10, lambda: name not in admin.list_topics(timeout=10).topics)
    client.create(name, PARTITIONS)
    until("partitions again", [one], lambda: one.partitions == PARTITIONS, 15)
    client.produce(name, range(500, 560))
    until("the new records", [one], lambda: set(range(500, 560)) <= set(one.values), 20)
    equal(sorted(one.values[100:]), list(range(500, 560)), "records of the new topic")
    one.ask_commit()
    one.leave()


def pattern():
    """A subscription by pattern takes in a topic that is created later."""
    first = filled("field-pattern-a")
    one = Subscriber(["^" + first.replace("-a-", "-[ab]-")], first, **QUICK)
    one.start()
    until("100 records", [one], lambda: len(one.values) == 100)
    one.ask_commit()
    later = first.replace("-a-", "-b-")
    client.create(first.replace("-a-", "-c-"), 3)
    client.create(later, PARTITIONS)
    until("both topics", [one], lambda: one.partitions == 2 * PARTITIONS, 15)
    client.produce(later, range(100, 120))
    until("records of the new one", [one], lambda: len(one.values) == 120)
    one.leave()


def thousand_topics():
    """1,000 topics in one subscription: one member has them all, two share them."""
    names = [topic(f"field-many-{i}") for i in range(1000)]
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    made = admin.create_topics([NewTopic(name, 1, 1) for name in names], operation_timeout=60, request_timeout=60)
    for each in made.values():
        each.result(60)
    many = {**QUICK, "session.timeout.ms": 10_000, "partition.assignment.strategy": "roundrobin"}
    one = Subscriber(names, names[0], **many)
    one.start()
    until("all partitions", [one], lambda: one.partitions == 1000, 60)
    other = Subscriber(names, names[0], **many)
    other.start()
    until("half each", [one, other], lambda: (one.partitions, other.partitions) == (500, 500), 60)
    for i, name in enumerate(names[::250]):
        client.produce(name, [i * PARTITIONS])
    until("a record of four topics", [one, other], lambda: len(one.values) + len(other.values) == 4, 30)
    one.leave()
    other.leave()
    for each in admin.delete_topics(names, operation_timeout=60, request_timeout=60).values():
        each.result(60)


CHECKS = {"slow": slow, "paused": paused, "a commit while another joins": commit_while_another_joins,
          "topic deleted and made again": deleted_and_made_again, "pattern": pattern, "1,000 topics": thousand_topics}
# They wait most of the time, so they wait together.
threads = [threading.Thread(target=check, args=(name, test)) for name, test in CHECKS.items()]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
finish()
