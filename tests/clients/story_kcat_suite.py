"""The story of the table with kcat, which commits by itself and has no administration."""

import os
import re
import signal
import subprocess
import threading
import time

from checks import BOOTSTRAP, equal
from story import HEARTBEAT_MS, PARTITIONS, SESSION_MS, Member, tell
from story_confluent_suite import Confluent

KCAT = os.environ["KCAT"]


class Kcat:
    def __init__(self):
        self.create = Confluent().create

    def produce(self, name, values):
        for partition in range(PARTITIONS):
            text = "".join(f"{value}\n" for value in values if value % PARTITIONS == partition)
            subprocess.run([KCAT, "-b", BOOTSTRAP, "-P", "-t", name, "-p", str(partition), "-X", "acks=all"], input=text,
                           text=True, check=True, capture_output=True, timeout=30)

    def admin(self, name):
        raise NotImplementedError

    def join(self, name, group):
        return Subscriber(name, group)


class Subscriber(Member):
    """A kcat of its own; what it prints is read by two more threads."""

    def __init__(self, name, group):
        super().__init__()
        self.command = [KCAT, "-b", BOOTSTRAP, "-G", group, "-u", "-f", "%s\n", "-X", "auto.offset.reset=earliest", "-X",
                        "auto.commit.interval.ms=100", "-X", f"session.timeout.ms={SESSION_MS}", "-X",
                        f"heartbeat.interval.ms={HEARTBEAT_MS}", name]
        self.count, self.read = 0, []

    def open(self):
        self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      text=True, errors="replace")
        self.readers = [threading.Thread(target=work, daemon=True) for work in (self.records, self.rebalances)]
        for reader in self.readers:
            reader.start()

    def records(self):
        for line in self.child.stdout:
            self.read.append(int(line))

    def rebalances(self):
        for line in self.child.stderr:
            if "assigned:" in line:
                self.count = len(re.findall(r"\[\d+\]", line.split("assigned:")[1]))
            elif "revoked:" in line:
                self.count = 0

    def poll(self):
        time.sleep(0.05)
        taken, self.read = self.read, []
        return taken

    def assigned(self):
        return self.count

    def commit(self):
        time.sleep(0.5)

    def close(self):
        self.child.send_signal(signal.SIGTERM)
        equal(self.child.wait(20), 0, "kcat's code")
        for reader in self.readers:
            reader.join(20)
        self.values += self.poll()


def version():
    told = subprocess.run([KCAT, "-V"], capture_output=True, text=True, check=True).stdout
    return re.search(r"Version (\S+) .*librdkafka (\S+)", told).expand(r"\1 (librdkafka \2)")


if __name__ == "__main__":
    tell("kcat", version(), Kcat(), without=["admin"])
