"""Fetch sessions (KIP-227)."""

import uuid

from case import Topic, case
from cases_read import fill

SMALL = 100_000


def ask(c, v, session, epoch, *wanted, forget=(), note="", topic=None, **more):
    """A Fetch of (partition, offset) with a session; a wanted one may name its topic first. Returns the answer."""
    named = [(w if len(w) == 3 else (topic or c.topic, *w)) for w in wanted]
    body = c.fetch_body(*[(name, p, o, SMALL, {}) for name, p, o in named], SessionId=session, SessionEpoch=epoch, **more)
    body["ForgottenTopicsData"] = [{"Topic": name, "TopicId": c.id(name), "Partitions": list(partitions)} for name, partitions in forget]
    return c.ask("Fetch", v, note, **body)


def begin(c, v, *wanted, **more):
    """A new session; its id."""
    answer = ask(c, v, 0, 0, *wanted, note="a new session", **more)
    return answer["SessionId"] if answer else 0


for v in (7, 12, 13, 17, 18):
    @case(f"fetch/sessions/v{v}", Topic(3))
    def _(c, v=v):
        fill(c, 1, partition=0)
        session = begin(c, v, (0, 0), (1, 0), (2, 0))
        ask(c, v, session, 1, (0, 3), note="further, nothing new")
        ask(c, v, session, 2, note="nothing new")
        fill(c, 1, partition=1)
        ask(c, v, session, 3, note="records in 1")
        ask(c, v, session, 4, note="the same records in 1")
        ask(c, v, session, 5, (1, 3), note="further, nothing new")
        fill(c, 2, partition=0)
        fill(c, 2, partition=2)
        ask(c, v, session, 6, note="records in 0 and 2")
        ask(c, v, session, 7, (0, 9), (2, 6), note="further")
        ask(c, v, session, 8, wait=200, min_bytes=1, note="nothing new after waiting")


@case("fetch/sessions/epochs", Topic())
def _(c):
    session = begin(c, 12, (0, 0))
    for epoch, note in ((2, "one too many"), (1, "as it should be"), (1, "the same again"), (2, "the next one"), (5, "too many"), (3, "the next one"),
                        (-5, "below -1"), (2 ** 31 - 1, "the last one"), (4, "the next one")):
        ask(c, 12, session, epoch, note=f"epoch {epoch}, {note}")
    ask(c, 12, session + 1, 5, note="another id")
    ask(c, 12, 0, 5, note="no id")
    ask(c, 12, session, 5, (0, 1), (7, 0), note="the next one, of a partition that is not there")


for first, second in ((12, 13), (13, 12), (12, 7), (17, 13)):
    @case(f"fetch/sessions/v{first}-then-v{second}", Topic())
    def _(c, first=first, second=second):
        session = begin(c, first, (0, 0))
        ask(c, second, session, 1, note="another version")
        ask(c, second, session, 7, note="another version, wrong epoch")
        ask(c, first, session, 1, note="the first version, same epoch")
        ask(c, first, session, 2, note="the first version, next epoch")


for v in (12, 13):
    @case(f"fetch/sessions/forgotten-v{v}", Topic(3))
    def _(c, v=v):
        session = begin(c, v, (0, 0), (1, 0))
        ask(c, v, session, 1, forget=[(c.topic, [0])], note="forgets 0")
        fill(c, 1, partition=0)
        fill(c, 1, partition=1)
        ask(c, v, session, 2, note="records in both")
        ask(c, v, session, 3, (1, 3), (2, 0), forget=[(c.topic, [2, 0, 9])], note="adds and forgets 2")
        ask(c, v, session, 4, (0, 0), note="0 again")
        ask(c, v, session, 5, forget=[(c.topic, [0, 1, 2])], note="forgets all")
        ask(c, v, session, 6, note="of no partitions")
        ask(c, v, session, 1, note="and again")

    @case(f"fetch/sessions/forgets-all-and-asks-v{v}", Topic(2))
    def _(c, v=v):
        session = begin(c, v, (0, 0))
        ask(c, v, session, 1, (1, 0), forget=[(c.topic, [0, 1])], note="asks for what it forgets")
        ask(c, v, session, 2, (1, 0), note="after that")


@case("fetch/sessions/ended", Topic())
def _(c):
    session = begin(c, 12, (0, 0))
    ask(c, 12, session, -1, (0, 0), note="ends it")
    ask(c, 12, session, 1, note="after that")
    session = begin(c, 12, (0, 0))
    other = ask(c, 12, session, 0, (0, 0), note="another one in its place")
    ask(c, 12, session, 1, note="the first one")
    ask(c, 12, other["SessionId"], 1, note="the other one")
    c.show("ids differ", other["SessionId"] != session)


@case("fetch/sessions/of-another-connection", Topic())
def _(c):
    # Connections belong to one of several cores; a session is found from all of them.
    session = begin(c, 12, (0, 0))
    for epoch in range(1, 9):
        c.close()
        c.connect()
        fill(c, 1)
        answer = ask(c, 12, session, epoch, (0, 3 * epoch), note=f"epoch {epoch}")
        c.show("the same session", bool(answer) and answer["SessionId"] == session)
    c.close()
    c.connect()
    ask(c, 12, session, -1, (0, 0), note="ends it")
    c.close()
    c.connect()
    ask(c, 12, session, 9, note="after that")


@case("fetch/sessions/log-start-offset", Topic(2))
def _(c):
    fill(c, 2)
    session = begin(c, 12, (0, 6), (1, 0))
    c.ask("DeleteRecords", 2, TimeoutMs=10_000, Topics=[{"Name": c.topic, "Partitions": [{"PartitionIndex": 0, "Offset": 3}]}])
    ask(c, 12, session, 1, note="another log start offset")
    ask(c, 12, session, 2, note="nothing new")
    ask(c, 12, session, 3, (0, 0), note="out of range")
    ask(c, 12, session, 4, note="out of range still")
    ask(c, 12, session, 5, (0, 6), note="in range again")
    ask(c, 12, session, 6, note="nothing new")


for v in (12, 13):
    @case(f"fetch/sessions/not-there-v{v}", Topic(2))
    def _(c, v=v):
        none = c.broker.prefix + "no-such-topic"
        c.broker.ids[none] = uuid.UUID(int=2 ** 126 + 7)
        fill(c, 1)
        session = begin(c, v, (0, 0), (5, 0), (none, 0, 0))
        ask(c, v, session, 1, (0, 3), wait=300, min_bytes=1, note="what is not there is said again")
        ask(c, v, session, 2, (1, 0), forget=[(c.topic, [5])], note="without 5")
        ask(c, v, session, 3, forget=[(none, [0])], note="without the topic")
        ask(c, v, session, 4, note="nothing new")

    @case(f"fetch/sessions/deleted-topic-v{v}", Topic(), Topic())
    def _(c, v=v):
        gone = c.topics[1]
        session = begin(c, v, (0, 0), (gone, 0, 0))
        c.ask("DeleteTopics", 4, TimeoutMs=10_000, TopicNames=[gone])
        c.settle()
        ask(c, v, session, 1, note="it was deleted")
        ask(c, v, session, 2, note="as before")
        ask(c, v, session, 3, forget=[(gone, [0])], note="forgotten")
        ask(c, v, session, 4, note="nothing new")


@case("fetch/sessions/order", Topic(4))
def _(c):
    # Every partition has more than an answer takes: who was served goes to the end.
    for partition in range(4):
        fill(c, 6, partition=partition)
    offsets = [0] * 4

    def serve(answer, epoch):
        served = []
        for topic in answer["Responses"]:
            for p in topic["Partitions"]:
                if p["Records"]:
                    served.append(p["PartitionIndex"])
        c.show(f"served at {epoch}", served, ordered=True)
        return served

    answer = ask(c, 12, 0, 0, *[(p, 0) for p in range(4)], note="a new session", max_bytes=1)
    session, last = answer["SessionId"], serve(answer, 0)
    for epoch in range(1, 10):
        for p in last:
            offsets[p] += 3
        answer = ask(c, 12, session, epoch, *[(p, offsets[p]) for p in last], max_bytes=1 if epoch < 5 else 200, note=f"epoch {epoch}")
        last = serve(answer, epoch)


@case("fetch/sessions/order-of-topics", Topic(2), Topic(2))
def _(c):
    first, second = c.topics
    for topic in c.topics:
        for partition in range(2):
            fill(c, 1, topic=topic, partition=partition)
    answer = ask(c, 12, 0, 0, (first, 0, 0), (second, 0, 3), (first, 1, 3), (second, 1, 0), note="a new session")
    session = answer["SessionId"]
    for epoch in range(1, 4):
        if epoch == 2:
            fill(c, 1, topic=first, partition=1)
            fill(c, 1, topic=second, partition=0)
        answer = ask(c, 12, session, epoch, note=f"epoch {epoch}")
        c.show("order", [[t["Topic"], [p["PartitionIndex"] for p in t["Partitions"]]] for t in answer["Responses"]], ordered=True)


for v in (7, 12, 13):
    @case(f"fetch/sessions/of-nothing-v{v}", Topic())
    def _(c, v=v):
        session = begin(c, v)
        ask(c, v, session, 1, note="still nothing")
        if session:
            ask(c, v, session, 1, (0, 0), note="something")
            ask(c, v, session, 2, note="nothing new")

    @case(f"fetch/sessions/twice-v{v}", Topic())
    def _(c, v=v):
        fill(c, 2)
        session = begin(c, v, (0, 0), (0, 3))
        ask(c, v, session, 1, (0, 6), (0, 3), note="twice again")
        ask(c, v, session, 2, (0, 3), (0, 6), note="the other way round")


@case("fetch/sessions/several", Topic(2))
def _(c):
    ids = [begin(c, 12, (n % 2, 0)) for n in range(3)]
    fill(c, 1)
    c.show("ids differ", len(set(ids)))
    for epoch in (1, 2):
        for n, session in enumerate(ids):
            ask(c, 12, session, epoch, (n % 2, 3 if n == 0 else 0), note=f"session {n}")


@case("fetch/sessions/old-versions", Topic())
def _(c):
    # Before version 7 there is no session in the request.
    fill(c, 1)
    for v in (4, 6):
        ask(c, v, 99, 3, (0, 0), note="fields that the version has not")
