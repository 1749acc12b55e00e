"""The servers under test: a Keylane or an Apache Kafka on a free loopback port, with fresh data."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

# The import of `install` is what makes `brokers` known.
from install import CLIENTS
from brokers import fetch_jars, free_ports, kafka_command

# What the suites need of a broker: a coordinator and cleaners that do not let a test wait.
KAFKA_SETTINGS = """
group.initial.rebalance.delay.ms=200
group.min.session.timeout.ms=1000
log.retention.check.interval.ms=500
log.initial.task.delay.ms=500
log.cleaner.backoff.ms=500
"""


class Server:
    """A server that this program started; its folder is removed at the end."""

    def __init__(self, name):
        self.name = name
        CLIENTS.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="data-", dir=CLIENTS))
        self.log = open(CLIENTS / f"{name}.log", "w")
        self.port, self.other_port = free_ports(2)
        self.child = None

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        self.child = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        for _ in range(1200):
            if self.child.poll() is not None:
                raise RuntimeError(f"{self.name} ended with code {self.child.returncode}; see {self.log.name}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"{self.name} does not listen")

    def stop(self, how=signal.SIGTERM):
        """Ends the server; says whether it ended as it should."""
        if self.child is None:
            return True
        child, self.child = self.child, None
        if child.poll() is not None:
            return False
        child.send_signal(how)
        try:
            code = child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            return False
        return code == self.clean if how == signal.SIGTERM else code == -how

    def remove(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Keylane(Server):
    clean = 0

    def __init__(self, binary, name="keylane"):
        super().__init__(name)
        self.binary = binary
        self.kinesis = f"127.0.0.1:{self.other_port}"
        self.keys = self.folder / "keys"
        self.keys.write_text("any any\n")

    def command(self):
        return [self.binary, "serve", "--data", str(self.folder / "data"), "--kafka", self.bootstrap,
                "--kinesis", self.kinesis, "--kinesis-verify", str(self.keys),
                "--retention-check-interval-ms", "500", "--group-initial-rebalance-delay-ms", "200",
                "--group-min-session-timeout-ms", "1000"]


class Kafka(Server):
    clean = 143  # what Java makes of SIGTERM

    def __init__(self):
        super().__init__("kafka")
        self.kinesis = None

    def command(self):
        java = ["-Xms512m", "-Xmx1g"]
        return kafka_command(fetch_jars(), self.folder, self.port, self.other_port, 1, KAFKA_SETTINGS, java)
