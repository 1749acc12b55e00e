"""Keylane and Apache Kafka as processes of their own: started, killed, stopped, and started again on the same data."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

PEERS = Path(__file__).resolve().parent.parent
START_S = 180


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kafka_shell(script, *arguments):
    """Runs a line of bash after Kafka's functions were read; its output."""
    command = ["bash", "-c", f'set -euo pipefail; here=$1; shift; . "$here/kafka/functions"; {script}', "peers", PEERS,
               *arguments]
    return subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          check=True).stdout


class Broker:
    """One broker on one core. Its data stays when it ends."""

    def __init__(self, name, folder, core):
        self.name, self.folder, self.core = name, folder, core
        self.port = free_port()
        self.child = None
        self.log = folder / "log"
        folder.mkdir(parents=True)

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    def command(self):
        raise NotImplementedError

    def start(self):
        if self.child and self.child.poll() is None:
            return
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(["taskset", "-c", str(self.core), *self.command()], stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if self.child.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name} does not listen: {self.last_words()}") from None
                time.sleep(0.05)

    def end(self, how):
        """Ends it by its process id; waits until it is gone."""
        child, self.child = self.child, None
        if child is None or child.poll() is not None:
            return
        child.send_signal(how)
        try:
            child.wait(timeout=120)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise RuntimeError(f"{self.name} did not stop within 120 s") from None

    def kill(self):
        self.end(signal.SIGKILL)

    def stop(self):
        self.end(signal.SIGTERM)

    def last_words(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])


class Keylane(Broker):
    words = "Keylane, each record flushed before its ack"

    def __init__(self, programs, folder, core):
        super().__init__("keylane", folder, core)
        self.program = programs / "keylane"

    def command(self):
        return [str(self.program), "serve", "--data", str(self.folder / "data"), "--kafka", self.bootstrap, "--cores",
                str(self.core)]


class Kafka(Broker):
    version = (PEERS / "kafka/pom.xml").read_text().split("<kafka.version>")[1].split("<")[0]
    words = f"Apache Kafka {version}, default settings: acked from the page cache"

    def __init__(self, jars, heap, folder, core):
        super().__init__("kafka", folder, core)
        options = 'fetch_jars "$1" "$2" >&2; printf "%s\\n" "${java_options[@]}"'
        self.options = kafka_shell(options, jars, heap).splitlines()
        kafka_shell('fetch_jars "$1" "$2" >&2; prepare_kafka "$3" "$4"', jars, heap, folder, self.port)

    def command(self):
        return ["java", *self.options, "kafka.Kafka", str(self.folder / "server.properties")]


def drop_page_cache(programs):
    """Empties the page cache where this process may, and reads programs again: what is measured is the data."""
    os.sync()
    if os.geteuid() == 0:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    for program in programs:
        program.read_bytes()
