"""Shows that the comparison notices: answers of one side are altered on purpose and must be reported."""

import struct

from batch import batch
from case import Case, Topic
from client import Broker
from compare import Known, compare, sort


def subject(c):
    """What is asked of both: a batch in, the same batch out, and where it lies."""
    c.produce(batch([{"value": b"one"}, {"value": b"two"}]))
    c.fetch(0)
    c.list(-1)


NEEDS = [Case("selftest", subject, [Topic()])]


def replace(api, old, new):
    """Puts bytes in place of others, where they are last in the answers of one API."""
    def tamper(asked, frame):
        if asked != api:
            return frame
        assert old in frame, f"{old!r} is not in the answer"
        before, _, after = frame.rpartition(old)
        return before + new + after
    return tamper


def flip(api, from_end):
    """Flips a bit of one byte of an answer."""
    def tamper(asked, frame):
        if asked != api:
            return frame
        at = len(frame) - from_end
        return frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1:]
    return tamper


LIES = {
    "a changed value": (replace("Fetch", b"two", b"twO"), "/Records"),
    "a changed field of a batch's header": (replace("Fetch", struct.pack(">ii", -1, 2), struct.pack(">ii", -1, 1)), "/count"),
    "another magic": (replace("Fetch", b"\0\0\0\0\x02", b"\0\0\0\0\x01"), "/magic"),
    "a changed offset": (flip("ListOffsets", 11), "Offset"),
    "a changed error": (flip("Produce", 9), "Produce"),
    "bytes after an answer": (lambda api, frame: frame + b"\0", "Produce"),
    "an answer that is cut": (lambda api, frame: frame[:-1], "Produce"),
    "another correlation id": (lambda api, frame: b"\x7f" + frame[1:], "Produce"),
}


def run(brokers, trace):
    """Yields (good, what was checked)."""
    case = NEEDS[0]
    keylane, kafka = brokers
    honest = compare(trace(case, keylane, {}), trace(case, kafka, {}))
    yield not honest, "without a change nothing differs" + "".join(f"; {d}" for d in honest)
    for name, (tamper, place) in LIES.items():
        liar = Broker(keylane.name, keylane.host, keylane.port, keylane.protocol)
        liar.ids, liar.prefix, liar.tamper = keylane.ids, keylane.prefix, tamper
        # Both logs grow by the same batch each time.
        found = compare(trace(case, liar, {}), trace(case, kafka, {}))
        yield any(place in where for where, _, _ in found), f"{name} is found"
    difference = ("1 Produce v9/ErrorCode", "A", "B")
    table = [Known("some/case", "1 Produce*/ErrorCode", "A", "C", "")]
    known, new = sort("some/case", [difference], table)
    yield new == [difference] and not known, "a difference other than the known one is not taken for it"
    table = [Known("some/case", "1 Produce*/ErrorCode", "A", "B", "")]
    yield not sort("other/case", [difference], table)[0], "a difference of another case is not taken for the known one"
    yield bool(sort("some/case", [difference], table)[0]) and table[0].seen == 1, "a known difference is taken for what it is"
