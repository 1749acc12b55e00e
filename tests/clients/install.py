"""Installs clients into a throw-away folder, each once, and gives the commands of the suites."""

import functools
import os
import shutil
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
CLIENTS = Path(os.environ.get("KEYLANE_CLIENTS_DIR", TARGET / "clients")).resolve()
# Kafka's jars are fetched by the comparison with raw requests.
sys.path.insert(0, str(ROOT / "tests/differential"))
from brokers import fetch_jars, sh  # noqa: E402

# Two package managers at once are refused by the distribution.
DISTRIBUTION = threading.Lock()


def once(work):
    """Suites run side by side: the first that needs something installs it, the others wait for it."""
    lock = threading.Lock()
    cached = functools.cache(work)

    @functools.wraps(work)
    def locked(*args):
        with lock:
            return cached(*args)

    return locked


def need(tool, *packages):
    """Finds a tool, or installs it from the distribution's packages."""
    with DISTRIBUTION:
        if shutil.which(tool):
            return shutil.which(tool)
        if os.geteuid() != 0:
            raise RuntimeError(f"{tool} is missing; install {' '.join(packages)}")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        sh("apt-get", "update", "-q", env=quiet)
        sh("apt-get", "install", "-q", "-y", "--no-install-recommends", *packages, env=quiet, seconds=900)
        found = shutil.which(tool)
        if not found:
            raise RuntimeError(f"{tool} is missing after installing {' '.join(packages)}")
        return found


@once
def kcat():
    """kcat's path: from PATH, from the distribution, or unpacked without being root."""
    if shutil.which("kcat") or os.geteuid() == 0:
        return need("kcat", "kcat")
    folder = CLIENTS / "kcat"
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "kcat"
    if not script.exists():
        sh("apt-get", "download", "kcat", "librdkafka1", "libyajl2", cwd=folder)
        for package in folder.glob("*.deb"):
            sh("dpkg", "-x", package, folder / "root")
        libraries = ":".join(str(path) for path in (folder / "root/usr/lib").glob("*-linux-gnu"))
        script.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {folder}/root/usr/bin/kcat "$@"\n')
        script.chmod(0o755)
    return str(script)


@once
def python():
    """A Python that has the clients of requirements.txt."""
    venv = CLIENTS / "python"
    wanted = (HERE / "requirements.txt").read_text()
    mark = venv / "installed.txt"
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(venv, ignore_errors=True)
        try:
            sh(sys.executable, "-m", "venv", venv)
        except RuntimeError:
            if os.geteuid() != 0:
                raise
            with DISTRIBUTION:
                sh("apt-get", "update", "-q")
                sh("apt-get", "install", "-q", "-y", "--no-install-recommends", "python3-venv", seconds=900)
            sh(sys.executable, "-m", "venv", "--clear", venv)
        sh(venv / "bin/pip", "install", "-q", "--disable-pip-version-check", "-r", HERE / "requirements.txt")
        mark.write_text(wanted)
    return str(venv / "bin/python")


def jars(pom, folder):
    """Fetches the dependencies of a Maven project, if it has changed since."""
    need("javac", "default-jdk-headless")
    need("mvn", "maven")
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "installed.xml"
    if not mark.exists() or mark.read_text() != pom.read_text():
        shutil.rmtree(folder / "libs", ignore_errors=True)
        sh("mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'libs'}", seconds=900)
        mark.write_text(pom.read_text())
    return folder / "libs"


@once
def java():
    """The class path of the programs in java/, compiled."""
    libs = jars(HERE / "java/pom.xml", CLIENTS / "java")
    classes = CLIENTS / "java/classes"
    shutil.rmtree(classes, ignore_errors=True)
    sh("javac", "-Xlint:all", "-Werror", "-cp", f"{libs}/*", "-d", classes, *sorted((HERE / "java").glob("*.java")))
    return f"{classes}:{libs}/*"


@once
def framework(folder):
    """The class path of the program in a folder that tells the story of java/Story.java with a framework, compiled."""
    libs = jars(HERE / folder / "pom.xml", CLIENTS / folder)
    return with_story(folder, libs)


def with_story(folder, libs):
    classes = CLIENTS / folder / "classes"
    shutil.rmtree(classes, ignore_errors=True)
    sh("javac", "-cp", f"{libs}/*", "-d", classes, HERE / "java/Story.java", *sorted((HERE / folder).glob("*.java")))
    return f"{classes}:{libs}/*"


@once
def aws_java():
    """The class path of the programs in awsjava/, compiled."""
    libs = jars(HERE / "awsjava/pom.xml", CLIENTS / "awsjava")
    classes = CLIENTS / "awsjava/classes"
    shutil.rmtree(classes, ignore_errors=True)
    sh("javac", "-cp", f"{libs}/*", "-d", classes, *sorted((HERE / "awsjava").glob("*.java")))
    return f"{classes}:{libs}/*"


@once
def tools():
    """The class path of Kafka's command line tools and the program in tools/. The jars are those of the Kafka that other tests start."""
    need("javac", "default-jdk-headless")
    need("mvn", "maven")
    return with_story("tools", fetch_jars())


@once
def node():
    """The folder with the clients and the programs of node/."""
    need("npm", "nodejs", "npm")
    folder = CLIENTS / "node"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "node/package.json").read_text()
    mark = folder / "installed.json"
    if not mark.exists() or mark.read_text() != wanted:
        shutil.copy(HERE / "node/package.json", folder / "package.json")
        sh("npm", "install", "--silent", "--no-audit", "--no-fund", cwd=folder)
        mark.write_text(wanted)
    for program in (HERE / "node").glob("*.mjs"):
        shutil.copy(program, folder / program.name)
    return folder


@once
def go(folder):
    """The Go program in a folder, built."""
    need("go", "golang-go")
    binary = CLIENTS / "go" / folder
    binary.parent.mkdir(parents=True, exist_ok=True)
    sh("go", "build", "-o", binary, ".", cwd=HERE / folder)
    return str(binary)


@once
def rust(folder, program, *options):
    """A program of a folder, built."""
    target = CLIENTS / folder
    sh("cargo", "build", "--locked", "--manifest-path", HERE / folder / "Cargo.toml", "--bin", program, *options,
       env={"CARGO_TARGET_DIR": str(target)}, seconds=900)
    return str(target / "debug" / program)


def of_rust(folder, program, *options):
    return lambda: [rust(folder, program, *options)]


def of_python(name):
    return lambda: [python(), str(HERE / f"{name}_suite.py")]


def jvm(path, main, *options):
    return ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *options, "-cp", path, main]


def of_java(main):
    return lambda: jvm(java(), main)


def of_framework(folder, main):
    return lambda: jvm(framework(folder), main)


def of_aws_java(main):
    # DynamoDB Local loads a library of the system.
    return lambda: jvm(aws_java(), main, f"-Dsqlite4java.library.path={CLIENTS}/awsjava/libs", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


def of_node(program):
    return lambda: ["node", str(node() / program)]


def of_go(folder, *arguments):
    return lambda: [go(folder), *arguments]


# The command of each suite; the slowest first, since suites run side by side.
COMMANDS = {
    "kcl": of_aws_java("Kcl"),
    "batches": of_java("Batches"),
    "sarama": of_go("sarama"),
    "java": of_java("Main"),
    "consumer-groups-java": of_java("ConsumerGroups"),
    "confluent": of_python("confluent"),
    "kinesis": of_python("kinesis"),
    "aws-cli": of_python("awscli"),
    "groups": of_python("groups"),
    "consumer_groups": of_python("consumer_groups"),
    "field": of_python("field"),
    "franz": of_go("franz"),
    "kafkajs": of_node("main.mjs"),
    "aws-java": of_aws_java("Sdk"),
    "aws-js": of_node("kinesis.mjs"),
    "aws-go": of_go("awsgo"),
    "kinesis-differences": lambda: [python(), str(ROOT / "tests/kinesis-peers/run"), "--check"],
    "aiokafka": of_python("aiokafka"),
    "kcat": of_python("kcat"),
    "story-confluent": of_python("story_confluent"),
    "story-kafka-python": of_python("story_kafka_python"),
    "story-aiokafka": of_python("story_aiokafka"),
    "story-kafkajs": of_node("story_kafkajs.mjs"),
    "story-platformatic": of_node("story_platformatic.mjs"),
    "story-franz": of_go("story", "franz-go"),
    "story-sarama": of_go("story", "sarama"),
    "story-kafka-go": of_go("story", "kafka-go"),
    "story-java": of_java("ClientStory"),
    "story-tools": lambda: jvm(tools(), "ToolStory"),
    "story-spring": of_framework("spring", "SpringStory"),
    "story-micronaut": of_framework("micronaut", "micronaut.MicronautStory"),
    "story-kcat": of_python("story_kcat"),
    "selftest": of_python("selftest"),
}

# Suites that run only when they are named, or with --all: they take minutes to build.
BY_HAND = {
    "story-rskafka": of_rust("rust", "story-rskafka"),
    "story-rdkafka": of_rust("rust", "story-rdkafka", "--features", "rdkafka"),
    "aws-rust": of_rust("awsrust", "aws-kinesis"),
}


# Those that speak Kinesis.
KINESIS = {"kinesis", "kinesis-differences", "kcl", "aws-cli", "aws-java", "aws-js", "aws-go", "aws-rust"}


def beside(suite, kinesis):
    """What a suite is told besides: programs that it runs, where the server listens, by the name of the variable."""
    if suite in KINESIS:
        # Two names of one thing: SDKs do not agree on the region's. DynamoDB Local would tell its maker of its use.
        return {"AWS_ENDPOINT_URL": f"http://{kinesis}", "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any",
                "AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true", "DDB_LOCAL_TELEMETRY": "0"}
    if suite in ("kcat", "story-kcat", "field", "kafkajs"):
        return {"KCAT": kcat()}
    return {"SARAMA": go("sarama")} if suite == "batches" else {}
