#!/usr/bin/env python3
"""The tables of docs/compatibility.md: which client does what on which server.

    tests/clients/compatibility.py all      run every client on every server, then write
    tests/clients/compatibility.py write    take over what ran last, and write the tables
    tests/clients/compatibility.py check    the tables say what ran last, and miss nothing

A cell is one client, in one version, with one feature, on one server. A suite prints a line `cell {...}` for each; the
programs that run suites keep those lines in files of the folder cells/ beside the installed clients, one file for each
server. The cells that the page shows are kept in cells.jsonl beside this program; the page is made of them.

The fields of a cell: section, client, version, feature, on (the server), result: "yes", "no" or "none" (the client has
no such feature); hand (true) if only a person runs it, not every run.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs/compatibility.md"
KNOWN = HERE / "cells.jsonl"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RAN = Path(os.environ.get("KEYLANE_CLIENTS_DIR", TARGET / "clients")).resolve() / "cells"
RESULTS = {"yes": "yes", "no": "**no**", "none": "–"}


@dataclass
class Section:
    """A table: its servers and its features, in the order of the page."""

    servers: list
    features: list


SECTIONS = {
    "kafka": Section(
        ["Keylane", "Apache Kafka"],
        ["produce", "consume by group", "rebalance", "commit and resume", "admin"],
    ),
    "tools": Section(["Keylane", "Apache Kafka"], ["works"]),
    "kinesis": Section(
        ["Keylane"],
        ["streams", "put and get", "iterators", "reshard", "subscribe", "errors", "aggregated records"],
    ),
}


def key(cell):
    return cell["section"], cell["client"], cell["feature"], cell["on"]


def parse(text):
    """Cells by their key, each looked at."""
    cells = {}
    for line in text.splitlines():
        cell = json.loads(line)
        section = SECTIONS[cell["section"]]
        if cell["feature"] not in section.features or cell["on"] not in section.servers or cell["result"] not in RESULTS:
            sys.exit(f"compatibility: not a cell of its section: {line}")
        cells[key(cell)] = cell
    return cells


def record(server, cells):
    """Keeps the cells that ran on a server; those of other clients that ran before stay."""
    RAN.mkdir(parents=True, exist_ok=True)
    file = RAN / f"{server.lower().replace(' ', '-')}.jsonl"
    kept = parse(file.read_text()) if file.exists() else {}
    kept.update({key(cell): cell for cell in cells})
    file.write_text("".join(json.dumps(cell) + "\n" for cell in kept.values()))


def known_to_fail(cell):
    """Whether the page says that this does not work."""
    return key(cell) in (known := parse(KNOWN.read_text())) and known[key(cell)]["result"] == "no"


def forget(server):
    (RAN / f"{server.lower().replace(' ', '-')}.jsonl").unlink(missing_ok=True)


def ran():
    cells = {}
    for file in sorted(RAN.glob("*.jsonl")):
        cells.update(parse(file.read_text()))
    return cells


def table(name, cells):
    """The table of a section: a row for each client, a column for each feature, the servers' results in each cell."""
    section = SECTIONS[name]
    mine = [cell for cell in cells.values() if cell["section"] == name]
    rows = ["| client | version | " + " | ".join(section.features) + " |", "|---" * (2 + len(section.features)) + "|"]
    for client in sorted({cell["client"] for cell in mine}, key=str.lower):
        found = {(cell["feature"], cell["on"]): cell for cell in mine if cell["client"] == client}
        versions = sorted({cell["version"] for cell in found.values()})
        row = []
        for feature in section.features:
            results = [found.get((feature, server)) for server in section.servers]
            words = [RESULTS[cell["result"]] if cell else "?" for cell in results]
            row.append(words[0] if set(words) == {RESULTS["none"]} else " / ".join(words))
        rows.append(f"| {client} | {', '.join(versions)} | " + " | ".join(row) + " |")
    return "\n".join(rows)


def page(text, cells):
    """The page with its tables made anew; what stands around them stays."""
    for name in SECTIONS:
        begin, end = f"<!-- table {name} -->\n", f"<!-- end of table {name} -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
        if not pattern.search(text):
            sys.exit(f"compatibility: {PAGE.name} has no place for the table {name}")
        made = f"{begin}{table(name, cells)}\n{end}"
        text = pattern.sub(lambda _, made=made: made, text)
    return text


def differences(known, ran, servers):
    """What the page says and what ran, where they differ: on the servers named, nothing may be missing."""
    for at, cell in ran.items():
        if known.get(at) != cell:
            yield f"ran: {json.dumps(cell)}; the page: {json.dumps(known.get(at))}"
    for at, cell in known.items():
        if cell["on"] in servers and at not in ran and not cell.get("hand"):
            yield f"did not run: {json.dumps(cell)}"


def selftest():
    """The check itself finds a changed result, a changed version, a new cell and one that did not run."""
    cell = {"section": "kafka", "client": "c", "version": "1", "feature": "admin", "on": "Keylane", "result": "yes"}
    known = {key(cell): cell}
    assert not list(differences(known, known, ["Keylane"]))
    for change in ({"result": "no"}, {"version": "2"}, {"client": "d"}):
        other = {**cell, **change}
        assert list(differences(known, {key(other): other}, [])), change
    assert list(differences(known, {}, ["Keylane"]))
    by_hand = {key(cell): {**cell, "hand": True}}
    assert not list(differences(by_hand, {}, ["Keylane"]))


def check(servers):
    """Ends the program if the page is not what ran. `servers`: those on which every cell had to run."""
    selftest()
    known = parse(KNOWN.read_text())
    wrong = list(differences(known, {at: cell for at, cell in ran().items() if cell["on"] in servers}, servers))
    if PAGE.read_text() != page(PAGE.read_text(), known):
        wrong.append(f"{PAGE.name} is not what cells.jsonl makes")
    if wrong:
        sys.exit("\n".join(["compatibility: to take over what ran: tests/clients/compatibility.py write", *wrong]))
    print(f"# docs/compatibility.md says what ran on {', '.join(servers)}", flush=True)


def write():
    known = {**(parse(KNOWN.read_text()) if KNOWN.exists() else {}), **ran()}
    KNOWN.write_text("".join(json.dumps(known[at]) + "\n" for at in sorted(known)))
    PAGE.write_text(page(PAGE.read_text(), known))


def main():
    command = sys.argv[1] if len(sys.argv) == 2 else ""
    if command == "all":
        for options in ([], ["--kafka"]):
            # It ends with an error if a cell is new; whether all passed is seen in the tables.
            subprocess.run([HERE / "run", "--all", *options], check=False)
        write()
    elif command == "write":
        write()
    elif command == "check":
        check(sorted({cell["on"] for cell in ran().values()}))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
