"""What every client is asked to do: the cells of the table of Kafka clients, for clients that Python drives.

The other languages tell the same story with the same numbers. A client comes as an object with `create(topic, partitions)`,
`produce(topic, values)`, `admin(topic)` (a topic's life, seen through the client) and `join(topic, group)`, a `Member`.
"""

import threading
import time

from checks import cell, equal, expect, finish, topic

PARTITIONS = 4
# Members look for a rebalance this often; a session is long enough for a slow machine.
HEARTBEAT_MS = 300
SESSION_MS = 10_000


class Member(threading.Thread):
    """A member of a group with a thread of its own, as programs have it. A client implements open, poll, assigned,
    commit and close; all are called by that thread alone."""

    def __init__(self):
        super().__init__(daemon=True)
        self.values, self.partitions, self.error = [], 0, None
        self._wish, self._granted, self._ending = None, threading.Event(), False

    def run(self):
        try:
            self.open()
            try:
                while not self._ending:
                    self.values += self.poll()
                    self.partitions = self.assigned()
                    wish, self._wish = self._wish, None
                    if wish:
                        wish()
                        self._granted.set()
            finally:
                self.close()
        except Exception as cause:  # told to whoever waits for this member
            self.error = cause
            self._granted.set()

    def ask_commit(self):
        self._granted.clear()
        self._wish = self.commit
        expect(self._granted.wait(20), "no commit within 20 s")
        self.fail()

    def leave(self):
        self._ending = True
        self.join(20)
        expect(not self.is_alive(), "it does not leave within 20 s")
        self.fail()

    def fail(self):
        if self.error:
            raise self.error


def until(what, members, ready, seconds=30):
    end = time.monotonic() + seconds
    while not ready():
        for member in members:
            member.fail()
        if time.monotonic() > end:
            state = [(len(member.values), member.partitions) for member in members]
            raise AssertionError(f"not within {seconds} s: {what}; records and partitions of the members: {state}")
        time.sleep(0.02)


class Story:
    def __init__(self, name, client):
        self.client, self.topic, self.group = client, topic(f"story-{name}"), topic(f"story-{name}-group")
        self.members = []

    def join(self):
        member = self.client.join(self.topic, self.group)
        self.members.append(member)
        member.start()
        return member

    def admin(self):
        self.client.admin(self.topic + "-admin")

    def produce(self):
        self.client.create(self.topic, PARTITIONS)
        self.client.produce(self.topic, range(100))

    def consume(self):
        self.first = self.join()
        until("100 records", [self.first], lambda: len(self.first.values) >= 100)
        equal(sorted(self.first.values), list(range(100)), "records")
        equal(self.first.partitions, PARTITIONS, "partitions of the only member")

    def rebalance(self):
        self.first.ask_commit()
        second = self.join()
        both = [self.first, second]
        until("half of the partitions each", both, lambda: [member.partitions for member in both] == [2, 2])
        self.client.produce(self.topic, range(100, 200))
        until("200 records", both, lambda: len(self.first.values) + len(second.values) >= 200)
        equal(sorted(self.first.values + second.values), list(range(200)), "records of both")
        expect(second.values, "the second member reads nothing")
        for member in both:
            member.ask_commit()
        second.leave()
        until("all partitions again", [self.first], lambda: self.first.partitions == PARTITIONS)

    def resume(self):
        read = len(self.first.values)
        self.client.produce(self.topic, range(200, 220))
        until("20 records more", [self.first], lambda: len(self.first.values) >= read + 20)
        equal(sorted(self.first.values[read:]), list(range(200, 220)), "records read alone")
        self.first.ask_commit()
        self.first.leave()
        self.client.produce(self.topic, range(220, 240))
        third = self.join()
        until("20 records after all had left", [third], lambda: len(third.values) >= 20)
        third.leave()
        equal(sorted(third.values), list(range(220, 240)), "records after all had left")


def tell(name, version, client, without=()):
    """All cells of a client."""
    story = Story(name.split()[0].lower(), client)
    tests = {"admin": story.admin, "produce": story.produce, "consume by group": story.consume,
             "rebalance": story.rebalance, "commit and resume": story.resume}
    for feature, test in tests.items():
        cell("kafka", name, version, feature, None if feature in without else test)
    for member in story.members:
        if member.is_alive():
            member._ending = True
    finish()
