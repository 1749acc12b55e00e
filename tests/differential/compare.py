"""Compares two traces, and holds what differs against the table of known differences."""

import json
import re

ABSENT = "(nothing)"


def text(value):
    return value if isinstance(value, str) else json.dumps(value, default=str)


def differences(left, right, path=""):
    """Yields (path, left, right) for every place where two values differ."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in [*left, *(k for k in right if k not in left)]:
            yield from differences(left.get(key, ABSENT), right.get(key, ABSENT), f"{path}/{key}")
    elif isinstance(left, list) and isinstance(right, list):
        for i in range(max(len(left), len(right))):
            yield from differences(left[i] if i < len(left) else ABSENT, right[i] if i < len(right) else ABSENT,
                                   f"{path}/{i}")
    elif left != right or type(left) is not type(right):
        yield path, text(left), text(right)


def compare(left, right):
    """The differences of two traces; a step that only one of them has differs as a whole."""
    found = []
    for i in range(max(len(left), len(right))):
        label, ours = left[i] if i < len(left) else (right[i][0], ABSENT)
        other, theirs = right[i] if i < len(right) else (label, ABSENT)
        if other != label:
            found.append((label, "this step", other))
        else:
            found += [(label + path, a, b) for path, a, b in differences(ours, theirs)]
    return found


def matches(pattern, value):
    """Whether a text is as a pattern says, in which * stands for anything and | for "or"."""
    return any(re.fullmatch(".*".join(map(re.escape, part.split("*"))), value, re.DOTALL) for part in pattern.split("|"))


class Known:
    """A difference that is meant, with its reason. All four patterns have to fit."""

    def __init__(self, case, where, keylane, kafka, reason):
        self.case, self.where, self.keylane, self.kafka, self.reason = case, where, keylane, kafka, reason
        self.seen = 0

    def covers(self, case, difference):
        where, keylane, kafka = difference
        return (matches(self.case, case) and matches(self.where, where) and matches(self.keylane, keylane)
                and matches(self.kafka, kafka))

    def __str__(self):
        return f"{self.case}: {self.where}: keylane {self.keylane}, kafka {self.kafka}"


def sort(case, found, table):
    """Parts differences into those that are known and those that are not. Counts what it saw of the table."""
    known, new = [], []
    for difference in found:
        entry = next((k for k in table if k.covers(case, difference)), None)
        if entry:
            entry.seen += 1
            known.append((difference, entry.reason))
        else:
            new.append(difference)
    return known, new
