"""The same commands of `keylane` as a tool, against both brokers: what they print must be the same, and so must their exit codes.

Ids, times and the words that a broker puts behind an error code are left out of the comparison.
"""

import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

NAME = "tool: "
LINES = "".join(f"key-{n % 7}:value {n}\n" for n in range(1000))
# What stands for the same on both sides. A broker's own words end where the tool's advice begins.
SAME = [
    (re.compile(r'(  id          |"id": ")[\w-]{22}'), r"\1ID"),
    (re.compile(r"\b1[78]\d{11}\b"), "1700000000000"),
    (re.compile(r"( \(\d+\)): [^\"\n]*?(; [^;\"\n]*)?(?=[\"\n])"), r"\1\2"),
]

# Arguments and what stdin has, in this order. {t}: a topic, {g}: a group.
COMMANDS = [
    ("topic create {t} -p 3 -c retention.ms=86400000", ""),
    ("topic create {t} --json", ""),
    ("topic create {t} --if-not-exists", ""),
    ("topic create {t}-dry --dry-run -p 2", ""),
    ("topic create {t}-wrong -c nonsense=1", ""),
    ("topic create {t}-wrong -r 9", ""),
    ("topic describe {t}", ""),
    ("topic describe {t} --json", ""),
    ("topic describe {t}-none", ""),
    ("produce {t} -K : -z gzip", LINES),
    ("produce {t} -K : -z snappy --json", LINES),
    ("produce {t} -K : -z lz4 -H a=1 -H a=2", LINES),
    ("produce {t} -K : -z zstd --timestamp 1790000000000", LINES),
    ("produce {t} one two -k k -p 2 --acks 1", ""),
    ("produce {t} -Z -K : -p 1", "tombstone:\n"),
    ("produce {t}-none value", ""),
    ("produce {t} -p 7 value", ""),
    ("consume {t} -e -p 0 -n 1000 -f %p:%o:%k:%K:%s:%S:%h\\n", ""),
    ("consume {t} -e -p 2 --json", ""),
    ("consume {t} -p 1 -o -2 -e -f %o:%k:%S\\n", ""),
    ("consume {t} -p 0 -o 10 -u 12", ""),
    ("consume {t} -p 0 -o @1789999999999 -u @1790000000001 -n 2", ""),
    ("consume {t} -p 0 -o end -e", ""),
    ("consume {t} -p 0 -o 999999 -n 1", ""),
    ("consume {t} -e -p 0 -n 3 --read-committed", ""),
    ("topic describe {t}", ""),
    ("group reset {g} -t {t} --to start", ""),
    ("group reset {g} -t {t} --to 5 --execute", ""),
    ("group describe {g}", ""),
    ("group describe {g} --json", ""),
    ("group reset {g} --by 3 --execute --json", ""),
    ("group reset {g} -t {t}:1 --to -1 --execute", ""),
    ("group reset {g} --to @1789999999999", ""),
    ("group delete {g}", ""),
    ("group describe {g}", ""),
    ("group delete {g} --json", ""),
    ("topic alter {t} -c cleanup.policy=compact -u retention.ms -p 4", ""),
    ("topic alter {t} -p 2", ""),
    ("topic alter {t} -c cleanup.policy=shred", ""),
    ("topic describe {t} --json", ""),
    ("topic delete {t} {t}-none", ""),
    ("topic delete {t}-none --if-exists", ""),
]


def run(binary, address, arguments, stdin, names):
    """What a command prints, without what may differ."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYLANE_")}
    command = [binary, *(part.format(**names) for part in arguments), "-b", address, "--timeout", "20"]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, env=environment)
    text = f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    for pattern, same in SAME:
        text = pattern.sub(same, text)
    return text


def difference(left, right):
    """The first line that differs."""
    left, right = left.splitlines(), right.splitlines()
    for at in range(max(len(left), len(right))):
        pair = [lines[at] if at < len(lines) else "nothing" for lines in (left, right)]
        if pair[0] != pair[1]:
            return f"line {at}: keylane {pair[0]!r} kafka {pair[1]!r}"
    return None


def check(binary, addresses, prefix):
    """Yields whether a command gave the same, its name, and what differs."""
    names = {"t": f"{prefix}tool", "g": f"{prefix}tool-group"}

    def all_of(address):
        return [run(binary, address, arguments.split(" "), stdin, names) for arguments, stdin in COMMANDS]

    with ThreadPoolExecutor(2) as pool:
        left, right = pool.map(all_of, addresses)
    for (arguments, _), a, b in zip(COMMANDS, left, right):
        found = difference(a, b)
        yield found is None, NAME + arguments, found
    yield from controls(left, right)


def controls(left, right):
    """Outputs that differ must be found, and the commands must have printed what they are about."""
    records = [json.loads(line) for line in left[18].splitlines()[1:]]
    offsets = [record["offset"] for record in records]
    good = offsets == list(range(len(offsets))) and len(offsets) > 100
    yield good, NAME + "control: records were read", f"offsets {offsets[:5]}... ({len(offsets)})"
    altered = [right[6].replace("partitions  3", "partitions  4"), right[6] + "more\n", right[0].replace("code 0", "code 1")]
    found = [difference(left[at], text) is not None for at, text in zip((6, 6, 0), altered)]
    yield all(found), NAME + "control: what is altered differs", f"found {found}"
