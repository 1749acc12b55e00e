"""The judge of the Python suites must find each fault it is there to find."""

import dataclasses

import checks
from checks import check, expect, judge, records


def layout(sent):
    """The records as a sound broker would give them back."""
    got = {p: [] for p in range(3)}
    for record in sent:
        rows = got[sum(record.key) % 3]
        rows.append((len(rows), record))
    return got


def change(rows, at, **fields):
    offset, record = rows[at]
    rows[at] = (offset, dataclasses.replace(record, **fields))


def swap(rows):
    """Two records of one key change places, their offsets stay."""
    first = rows[0][1].key
    other = next(i for i in range(1, len(rows)) if rows[i][1].key == first)
    rows[0], rows[other] = (rows[0][0], rows[other][1]), (rows[other][0], rows[0][1])


def move(got):
    """A record goes to the end of another partition."""
    _, record = got[0].pop()
    got[1].append((len(got[1]), record))


FAULTS = {
    "lost at the end": lambda got: got[0].pop(),
    "lost in the middle": lambda got: got[0].pop(5),
    "twice": lambda got: got[0].append((len(got[0]), got[0][-1][1])),
    "a gap in the offsets": lambda got: got[0].append((got[0].pop()[0] + 1, got[0][-1][1])),
    "out of order": lambda got: swap(got[1]),
    "another value": lambda got: change(got[2], 7, value=b"?"),
    "a null became empty": lambda got: change(got[sum(b"key-0") % 3], 0, value=b""),
    "another key": lambda got: change(got[2], 7, key=b"?"),
    "another time": lambda got: change(got[2], 7, time_ms=1),
    "headers lost": lambda got: change(got[sum(b"key-0") % 3], 0, headers=()),
    "in another partition": move,
}


def sound():
    sent = records(300)
    judge(sent, layout(sent))


def finds(fault):
    sent = records(300)
    got = layout(sent)
    fault(got)
    try:
        judge(sent, got)
    except AssertionError:
        return
    expect(False, "the judge is content")


def main():
    check("sound records are accepted", sound)
    for name, fault in FAULTS.items():
        check(f"finds: {name}", finds, fault)
    checks.finish()


main()
