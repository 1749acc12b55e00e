"""Members of groups for cases: each has a connection of its own, since JoinGroup and SyncGroup wait for others."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

from case import add
from cases_groups import settle
from client import Client

CLIENT = "differential"
# More than a case takes, and less than an answer is waited for.
SESSION = REBALANCE = 7000
SHORT = 1000


def subscription(*topics, data=b""):
    """What a consumer wants, in version 0: topics, and bytes of its own."""
    names = [len(t.encode()).to_bytes(2, "big") + t.encode() for t in topics]
    return b"\0\0" + len(topics).to_bytes(4, "big") + b"".join(names) + len(data).to_bytes(4, "big") + data


class Asked:
    """A request that may have to wait for other members."""

    def __init__(self, member, label, future):
        self.member, self.label, self.future = member, label, future

    def get(self):
        """Writes the answer into the case's trace, and returns it."""
        answer, member = self.future.result(), self.member
        if answer is None:
            member.case.write(self.label, member.own.trace.pop()[1])
            return None
        member.learn(answer)
        member.case.show(self.label, answer)
        return answer

    def waits(self):
        """Writes whether it still waits."""
        time.sleep(0.3)
        self.member.case.write(f"{self.label} waits", not self.future.done())
        return self


class Member:
    def __init__(self, case, name="A", instance=None, group="", kind="consumer", protocols=("range",), wants=subscription("t"), session=SESSION,
                 rebalance=REBALANCE):
        self.case, self.name, self.instance = case, name, instance
        self.group = case.group + group
        self.kind, self.protocols, self.wants, self.session, self.rebalance = kind, protocols, wants, session, rebalance
        self.own = Client(case.broker, case.topics, case.slug)
        self.pool = ThreadPoolExecutor(1)
        self.id, self.generation, self.leads, self.ids = "", -1, [], 0
        case.others.append(self)

    def close(self):
        self.own.close()
        self.pool.shutdown(wait=False)

    def learn(self, answer):
        """Takes over what an answer to JoinGroup says. An id that is made as it should be is shown by a name."""
        if "GenerationId" not in answer:
            return
        given = answer["MemberId"]
        begins = re.escape(self.instance or CLIENT)
        if given and given not in self.case.names and re.fullmatch(begins + "-[0-9a-f-]{36}", given):
            self.ids += 1
            self.case.names[given] = f"{self.name}{self.ids}"
        if answer["ErrorCode"] in (0, 79):
            self.id, self.generation = given, answer["GenerationId"]
            self.leads = [m["MemberId"] for m in answer["Members"]]

    def ask(self, api, version, note, **body):
        label = f"{self.name}: {api} v{version}" + (f" {note}" if note else "")
        return Asked(self, label, self.pool.submit(self.own.ask, api, version, show=False, **body))

    def joining(self, version=7, note="", id=None, instance=None, kind=None, protocols=None, wants=None, session=None, rebalance=None,
                group=None, reason=None):
        def own(value, usual):
            return usual if value is None else value
        protocols = own(protocols, self.protocols)
        protocols = [p if isinstance(p, dict) else {"Name": p, "Metadata": own(wants, self.wants)} for p in protocols]
        return self.ask("JoinGroup", version, note, GroupId=own(group, self.group), SessionTimeoutMs=own(session, self.session),
                        RebalanceTimeoutMs=own(rebalance, self.rebalance), MemberId=own(id, self.id),
                        GroupInstanceId=own(instance, self.instance), ProtocolType=own(kind, self.kind), Protocols=protocols,
                        Reason=reason)

    def join(self, version=7, note="", **more):
        return self.joining(version, note, **more).get()

    def entering(self, version=7, **more):
        """Joins as a client does: with the id that it is given first."""
        if version >= 4 and not self.instance and not self.id:
            self.join(version, "for an id", **more)
        return self.joining(version, **more)

    def enter(self, version=7, **more):
        return self.entering(version, **more).get()

    def syncing(self, version=4, note="", id=None, generation=None, instance=None, parts=None, kind=None, protocol=None, group=None):
        if parts is None:
            parts = {member: b"part of " + self.case.names.get(member, member).encode() for member in self.leads}
        return self.ask("SyncGroup", version, note, GroupId=self.group if group is None else group,
                        GenerationId=self.generation if generation is None else generation, MemberId=self.id if id is None else id,
                        GroupInstanceId=self.instance if instance is None else instance, ProtocolType=kind or self.kind,
                        ProtocolName=protocol or self.protocols[0],
                        Assignments=[{"MemberId": m, "Assignment": a} for m, a in parts.items()])

    def sync(self, version=4, note="", **more):
        return self.syncing(version, note, **more).get()

    def beat(self, version=3, note="", id=None, generation=None, instance=None, group=None):
        body = {"GroupId": self.group if group is None else group, "MemberId": self.id if id is None else id,
                "GenerationId": self.generation if generation is None else generation,
                "GroupInstanceId": self.instance if instance is None else instance}
        return self.ask("Heartbeat", version, note, **body).get()

    def beat_until(self, error, note=""):
        """Heartbeats until the answer is this one: another member's request has arrived then."""
        for _ in range(100):
            body = {"GroupId": self.group, "MemberId": self.id, "GenerationId": self.generation, "GroupInstanceId": self.instance}
            answer = self.own.ask("Heartbeat", 3, show=False, **body)
            if answer and answer["ErrorCode"] == error:
                break
            time.sleep(0.02)
        self.case.show(f"{self.name}: Heartbeat v3 {note}", answer)

    def leave(self, version=3, note="", id=None, instance=None, members=None, group=None):
        one = {"MemberId": self.id if id is None else id, "GroupInstanceId": self.instance if instance is None else instance}
        return self.ask("LeaveGroup", version, note, GroupId=self.group if group is None else group, MemberId=one["MemberId"],
                        Members=[one] if members is None else members).get()

    def alone(self, version=7):
        """Makes it the only member of a stable group."""
        self.enter(version)
        self.sync()
        return self


REBALANCING = 27


def pair(c, first=None, second=None):
    """Two members of a stable group; the first leads."""
    a, b = first or Member(c, "A"), second or Member(c, "B")
    a.alone()
    follow(a, b)
    return a, b


def follow(a, *others):
    """Others join the group that `a` leads."""
    joins = [b.entering() for b in others]
    a.beat_until(REBALANCING)
    time.sleep(0.1 * (len(others) - 1))
    a.join(note="again")
    for asked in joins:
        asked.get()
    syncs = [b.syncing() for b in others]
    a.sync()
    for asked in syncs:
        asked.get()


def describe(c, note="", group="", version=5):
    return c.ask("DescribeGroups", version, note, Groups=[c.group + group])


def rebalanced(c):
    """Waits until the group prepares no rebalance: Kafka ends one a moment after it answers."""
    for _ in range(100):
        answer = c.ask("DescribeGroups", 5, show=False, Groups=[c.group])
        if answer and answer["Groups"][0]["GroupState"] != "PreparingRebalance":
            break
        time.sleep(0.02)


def renamed(value, names):
    if isinstance(value, dict):
        return {names.get(key, key): renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


def member_case(name, *topics):
    """Decorates a case with members: their connections are closed after it."""
    def decorate(function):
        def ended(c):
            try:
                settle(c)
                function(c)
            finally:
                for member in c.others:
                    member.close()
                # Some ids were seen before it was known whose they are.
                c.trace = [(label, renamed(value, c.names)) for label, value in c.trace]
        add(name, ended, *topics)
        return function
    return decorate
