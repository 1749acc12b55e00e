"""Starts a Keylane and an Apache Kafka on free loopback ports, with fresh data and the same settings."""

import base64
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
FOLDER = TARGET / "differential"
# Shared with benches/peers, which fetches the same.
JARS = TARGET / "peers" / "jars"
START_SECONDS = 120
STARTED_PROCESSES = []

# What a single Apache Kafka is that serves tests on loopback.
KAFKA_NODE = """
process.roles=broker,controller
node.id={node}
controller.quorum.voters={node}@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
"""
# The quick group coordinator that Keylane has here. Version 10 of OffsetCommit and OffsetFetch is finished in Kafka 4.2; 4.1 has to
# be asked for it.
KAFKA_SETTINGS = """
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.max.size=4
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=5000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000
group.consumer.max.size=4
unstable.api.versions.enable=true
"""
KAFKA_JAVA = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
KEYLANE_OPTIONS = ["--group-initial-rebalance-delay-ms", "0", "--group-min-session-timeout-ms", "1000", "--group-max-size", "4",
                   "--group-consumer-session-timeout-ms", "5000", "--group-consumer-heartbeat-interval-ms", "1000", "--group-consumer-max-size", "4"]


def sh(*command, cwd=None, env=None, seconds=600):
    """Runs a command; its output is shown only when it fails."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, env={**os.environ, **(env or {})}, timeout=seconds,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}")
    return done.stdout


def fetch_jars():
    """Kafka's jars from Maven Central, once."""
    if not (JARS / "complete").exists():
        for tool in ("java", "mvn"):
            if not shutil.which(tool):
                raise RuntimeError(f"{tool} is missing; install default-jdk-headless and maven")
        print("# fetching Kafka's jars", flush=True)
        JARS.mkdir(parents=True, exist_ok=True)
        sh("mvn", "-q", "-B", "-f", ROOT / "benches/peers/kafka/pom.xml", "dependency:copy-dependencies",
           f"-DoutputDirectory={JARS}", seconds=900)
        (JARS / "complete").touch()
    return JARS


def keylane_binary():
    given = os.environ.get("KEYLANE_BIN")
    if given:
        return str(Path(given).resolve())
    subprocess.run(["cargo", "build", "--release", "-p", "keylane"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    return str(TARGET / "release/keylane")


def free_ports(n):
    probes = [socket.socket() for _ in range(n)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def kafka_command(jars, folder, port, controller, node, settings, java_options):
    """Formats a folder for an Apache Kafka of one node, and says how it is started."""
    file = folder / "server.properties"
    node = KAFKA_NODE.format(node=node, port=port, controller=controller, data=folder / "kafka")
    file.write_text(node + settings)
    java = ["java", *java_options, "-Djava.awt.headless=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars}/*"]
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # A cluster id that begins with a hyphen would be taken for an option.
    sh(*java, "kafka.tools.StorageTool", "format", "-t", "k" + cluster[1:], "-c", file)
    return [*java, "kafka.Kafka", str(file)]


class Process:
    """A broker that this program started; it is killed at the end, whatever happens."""

    def __init__(self, name, command, port, folder):
        self.name, self.port = name, port
        self.log = folder / f"{name}.log"
        with open(self.log, "w") as log:
            self.child = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        STARTED_PROCESSES.append(self)

    def wait(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.child.poll() is not None:
                tail = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} ended with code {self.child.returncode}\n{tail}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not listen after {START_SECONDS} s; see {self.log}")

    def end(self):
        self.child.kill()
        self.child.wait()


class Brokers:
    """Both brokers; a context manager that removes what it made."""

    def __init__(self):
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="data-", dir=FOLDER))
        self.running = []

    def __enter__(self):
        try:
            binary, jars = keylane_binary(), fetch_jars()
            kafka_port, controller, keylane_port = free_ports(3)
            kafka = kafka_command(jars, self.folder, kafka_port, controller, 0, KAFKA_SETTINGS, KAFKA_JAVA)
            self.running.append(Process("kafka", kafka, kafka_port, self.folder))
            command = [binary, "serve", "--data", self.folder / "keylane", "--kafka", f"127.0.0.1:{keylane_port}",
                       *KEYLANE_OPTIONS]
            self.running.append(Process("keylane", command, keylane_port, self.folder))
            for process in self.running:
                process.wait()
        except BaseException:
            self.__exit__()
            raise
        return keylane_port, kafka_port

    def alive(self):
        return [p.name for p in self.running if p.child.poll() is None]

    def __exit__(self, *_):
        for process in self.running:
            process.end()
            shutil.copy(process.log, FOLDER / f"{process.name}.log")
        shutil.rmtree(self.folder, ignore_errors=True)
