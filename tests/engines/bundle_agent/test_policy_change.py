"""What is known of nodes changes while an agent runs: it holds everything as one that is restarted
with that would."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.engines.bundle_agent import AgentConfig, AuditTrail, Beginning, BundleAgent
from stack.policy import DataPolicy, Directory, NodeFacts, NodeSet, PolicyGate
from stack.ports.application import Outgoing
from stack.ports.store import RecordEvent
from stack.routing.forwarder import Forwarder
from stack.storage.memory import MemoryStore
from stack.wire.bundle import decode_bundle, encode_bundle, fragment_bundle
from tests.engines.bundle_agent.desk import keyed
from tests.engines.bundle_agent.harness import FAR, HERE, NEXT, NOW

SOURCE, OTHER = "dtn://gs1/", "dtn://other/"
NODES = (HERE, NEXT, OTHER, FAR)
ENDS = NOW + 3_600_000
LAWS = ("KR", "EU", "")
KR, EVERYBODY = NodeSet.parse("KR"), NodeSet.parse("KR | EU")
POLICIES = (
    None,
    DataPolicy(readers=KR, rest=KR, transit=KR, audit=True),
    DataPolicy(readers=KR, rest=EVERYBODY, transit=EVERYBODY, audit=True),
    DataPolicy(readers=EVERYBODY, rest=EVERYBODY, transit=KR, audit=True),
)
AT_HOME = dict.fromkeys(NODES, "KR")


def contacts() -> Plan:
    """By the next node at once, and by the other in half an hour."""
    later = NOW + 1_800_000
    return Plan(
        Contact(a, b, begin, ENDS, 1e6)
        for relay, begin in ((NEXT, NOW), (OTHER, later))
        for a, b in ((HERE, relay), (relay, FAR))
    )


def known(laws: Mapping[str, str]) -> Directory:
    """A directory of the nodes that are under some law."""
    return Directory(
        NodeFacts(Eid.parse(node), jurisdictions=frozenset({law}))
        for node, law in laws.items()
        if law
    )


class Holder:
    """An agent over a store, that starts with what is in there."""

    def __init__(self, laws: Mapping[str, str], store: MemoryStore | None = None) -> None:
        trail = AuditTrail(HERE)
        self.store = store or MemoryStore(1 << 24)
        self.store.ledger = trail
        self.gate = PolicyGate(known(laws), HERE)
        self.traced: list[tuple[str, object]] = []
        self.agent = BundleAgent(
            Eid.parse(HERE),
            AgentConfig(),
            Forwarder(HERE, contacts()),
            Beginning(bytes(32), 1),
            security=keyed(),
            gate=self.gate,
            trail=trail,
            trace=lambda event, fields: self.traced.append((event, fields["why"])),
        )
        self.agent.register("app")
        self.agent.restore(self.store.scan(), NOW)

    def arrive(self, octets: bytes) -> int:
        """A bundle comes; its ref, or 0 where it is not taken."""
        put = self.agent.receive(octets, NOW, 0, SOURCE).put
        if put is None:
            return 0
        outcome = self.store.commit([put], NOW)
        self.agent.committed([put], outcome, NOW)
        return outcome.refs[0]

    def change(self, laws: Mapping[str, str], *, can_stop: bool = True) -> None:
        """Other things are known from now on, and links give back what they have, if they can."""

        def take_back(neighbour: str) -> None:
            forwarder = self.agent.forwarder
            has = [ref for ref in self.agent.entries if neighbour in forwarder.given_to(ref)]
            forwarder.withdrawn(has if can_stop else [], neighbour)

        self.gate.follow(known(laws))
        self.agent.policy_changed(NOW, take_back)

    def queues(self) -> dict[int, str]:
        """For whom each bundle that is to leave waits, or nobody; those that links have are not
        in it."""
        forwarder = self.agent.forwarder
        queue = forwarder._queue
        found = {one.ref: each for each in queue.neighbours() for one in queue.waiting(each)}
        return found | dict.fromkeys(forwarder._unrouted, "")

    def deliverable(self) -> list[int]:
        """What an application would get."""
        refs = self.agent.waiting.take("app", 1000)
        self.agent.waiting.put_back("app", refs)
        return sorted(refs)

    def told(self) -> list[tuple[str, int, str]]:
        """What is written down of what is not delivered."""
        ops = [op for op in self.agent.take_ops() if isinstance(op, RecordEvent)]
        return sorted((op.event[1], op.event[0].acts, op.event[0].detail) for op in ops)


@cache
def made(policy: DataPolicy | None, node: str, number: int) -> bytes:
    """A bundle as its source sends it."""
    facts = known({SOURCE: "KR"} | AT_HOME)
    agent = BundleAgent(
        Eid.parse(SOURCE),
        AgentConfig(),
        Forwarder(SOURCE, Plan([Contact(SOURCE, HERE, NOW, ENDS, 1e6)])),
        Beginning(bytes(32), number),
        security=keyed(),
        gate=PolicyGate(facts, SOURCE),
        trail=AuditTrail(SOURCE),
    )
    to = Eid.parse(node).with_service("app")
    store = MemoryStore(1 << 20)
    ops = agent.send([Outgoing(to, bytes(60), 3_500_000, "app", policy=policy)], NOW)[1]
    (encoded,) = store.load(store.commit(ops, NOW).refs)
    assert encoded is not None
    return bytes(encoded)


MADE = [
    (policy, node, number)
    for number, (policy, node) in enumerate(2 * [*product(POLICIES, NODES)], 1)
]
HELD = st.lists(st.sampled_from(range(len(MADE))), unique=True, max_size=12)
KNOWN = st.fixed_dictionaries({node: st.sampled_from(LAWS) for node in NODES})


@settings(max_examples=150, deadline=None)
@given(HELD, st.lists(KNOWN, min_size=1, max_size=3), st.integers(0, 12), st.booleans())
def test_it_is_as_if_restarted(
    held: list[int], laws: list[dict[str, str]], with_links: int, can_stop: bool
) -> None:
    here = Holder(AT_HOME)
    for index in held:
        assert here.arrive(made(*MADE[index]))
    here.agent.take(NEXT, 1 << 20, with_links, NOW)
    here.told()
    writes: list[tuple[str, int, str]] = []
    for each in laws:
        here.change(each, can_stop=can_stop)
        writes = here.told() or writes
    again = Holder(laws[-1], here.store)
    under_way = {ref for ref in here.agent.entries if here.agent.forwarder.given_to(ref)}
    for ref in under_way:
        entry = here.agent.entries[ref]
        to = entry.destination.removesuffix("app")
        assert entry.policy is None or all(
            here.gate.may_get(entry.policy, each, to) for each in (NEXT, to)
        )
    assert here.queues() == {
        ref: neighbour for ref, neighbour in again.queues().items() if ref not in under_way
    }
    assert here.deliverable() == again.deliverable()
    assert here.agent.stranded == again.agent.stranded - len(
        [ref for ref, neighbour in again.queues().items() if not neighbour and ref in under_way]
    )
    assert set(here.agent._kept_back) == set(again.agent._kept_back)
    if len(laws) == 1:
        assert here.agent.counters["withheld"] == again.agent.counters["withheld"]
        assert writes == again.told()
        assert [one for one in here.traced if one[0] == "bundle_withheld"] == again.traced


def queued(to: str = FAR, policy: int = 1) -> tuple[Holder, int]:
    """An agent that holds a bundle that may be nowhere but under Korean law, or under another
    policy."""
    here = Holder(AT_HOME)
    ref = here.arrive(made(POLICIES[policy], to, 1))
    return here, ref


def test_what_waits_for_a_neighbour_that_may_not_have_it_waits_for_another() -> None:
    here, ref = queued()
    assert here.queues() == {ref: NEXT}
    here.change(AT_HOME | {NEXT: "EU"})
    assert here.queues() == {ref: OTHER}
    here.change(AT_HOME | {NEXT: "EU", OTHER: ""})
    assert here.queues() == {ref: ""}
    here.change(AT_HOME)
    assert here.queues() == {ref: NEXT}


@pytest.mark.parametrize(("law", "policy"), [("EU", 1), ("", 1), ("EU", 2), ("", 2)])
def test_what_is_for_who_may_not_read_it_does_not_leave(law: str, policy: int) -> None:
    """Also where it might rest there."""
    here, ref = queued(policy=policy)
    here.agent.take(NEXT, 1 << 20, 9, NOW)
    here.change(AT_HOME | {FAR: law})
    assert here.queues() == {ref: ""}
    assert not here.agent.forwarder.given_to(ref)
    here.agent.forwarder.default = OTHER
    here.agent.retry(NOW)
    assert here.queues() == {ref: ""}, "nor by the default neighbour, who may have it"


@pytest.mark.parametrize("can_stop", [True, False])
def test_who_may_not_have_it_any_more_does_not_make_it_done(can_stop: bool) -> None:
    """An acknowledgement that comes after that all the same counts for nothing; once the neighbour
    may have it again, and is given it again, the second one does."""
    here, ref = queued()
    assert here.agent.take(NEXT, 1 << 20, 9, NOW) == [ref]
    here.change(AT_HOME | {NEXT: "EU"}, can_stop=can_stop)
    assert here.queues() == {ref: OTHER}
    if not can_stop:
        here.agent.forwarded([ref], NOW, NEXT)
    assert here.queues() == {ref: OTHER}
    assert here.agent.counters["forwarded"] == 0
    here.change(AT_HOME)
    assert here.agent.take(NEXT, 1 << 20, 9, NOW) == [ref]
    here.agent.forwarded([ref], NOW, NEXT)
    assert here.agent.counters["forwarded"] == 1
    assert not here.agent.entries


def test_of_copies_that_one_goes_which_may() -> None:
    here = Holder(AT_HOME)
    policy = POLICIES[1]
    assert policy is not None
    outgoing = Outgoing(Eid.parse(FAR + "app"), b"now", 3_500_000, "app", priority=3, policy=policy)
    ops = here.agent.send([outgoing], NOW)[1]
    outcome = here.store.commit(ops, NOW)
    here.agent.committed(ops, outcome, NOW)
    (ref,) = outcome.refs
    forwarder = here.agent.forwarder
    for neighbour in (NEXT, OTHER):
        here.agent.take(neighbour, 1 << 20, 9, NOW)
    assert sorted(forwarder.given_to(ref)) == sorted((NEXT, OTHER))
    here.change(AT_HOME | {NEXT: "EU"})
    assert forwarder.given_to(ref) == [OTHER]
    assert not forwarder.waiting(NEXT)
    here.agent.forwarded([ref], NOW, OTHER)
    assert not here.agent.entries


def test_what_an_application_gives_back_is_judged_again() -> None:
    here, ref = queued(to=HERE)
    assert here.agent.waiting.take("app", 9) == [ref]
    here.change(AT_HOME | {HERE: "EU"})
    here.agent.waiting.put_back("app", [ref])
    assert here.agent.waiting.take("app", 9) == [ref]
    (encoded,) = here.store.load([ref])
    assert encoded is not None
    assert here.agent.open(ref, encoded, NOW) is None
    assert here.agent.counters["withheld"] == 1
    here.change(AT_HOME)
    assert here.agent.waiting.take("app", 9) == [ref]
    assert here.agent.open(ref, encoded, NOW) is not None


def test_what_no_key_opens_is_judged_before_another_key_is_tried() -> None:
    here, ref = queued(to=HERE)
    here.agent.waiting.take("app", 9)
    here.agent._kept_back[ref] = ""
    here.change(AT_HOME | {HERE: "EU"})
    here.agent.keys_changed()
    assert here.deliverable() == []
    here.change(AT_HOME)
    assert here.deliverable() == [ref]


def test_what_is_stored_after_the_change_is_judged_by_it() -> None:
    """It was let in before, and its transaction ends afterwards."""
    for node, laws in ((HERE, {HERE: "EU"}), (FAR, {NEXT: "EU", OTHER: "EU"})):
        here = Holder(AT_HOME)
        put = here.agent.receive(made(POLICIES[1], node, 1), NOW, 0, SOURCE).put
        assert put is not None
        here.change(AT_HOME | laws)
        outcome = here.store.commit([put], NOW)
        here.agent.committed([put], outcome, NOW)
        assert here.deliverable() == []
        assert here.agent.stranded == (node == FAR)


def test_what_comes_together_after_the_change_is_not_delivered() -> None:
    bundle = decode_bundle(made(POLICIES[1], HERE, 1))[0]
    here = Holder(AT_HOME)
    first, *others = fragment_bundle(bundle, len(made(POLICIES[1], HERE, 1)) - 3)
    refs = [here.arrive(encode_bundle(first))]
    here.change(AT_HOME | {HERE: "EU"})
    assert [here.arrive(encode_bundle(other)) for other in others] == [0] * len(others)
    here.change(AT_HOME)
    refs += [here.arrive(encode_bundle(other)) for other in others]
    here.change(AT_HOME | {HERE: "EU"})
    octets = [one for one in here.store.load(refs) if one is not None]
    ops = here.agent.reassemble(refs, octets, NOW)
    here.agent.committed(ops, here.store.commit(ops, NOW), NOW)
    assert here.deliverable() == []
    assert here.agent.counters["withheld"] == 1


def test_what_had_to_wait_is_told_once_as_long_as_nothing_changes_for_it() -> None:
    here, _ = queued(to=HERE)
    for law in ("EU", "EU", "XX"):
        here.change(AT_HOME | {HERE: law, NEXT: law})
    assert here.agent.counters["withheld"] == 2, "the second time for the same reason"


def test_nothing_is_kept_of_what_has_ended() -> None:
    here, ref = queued(to=HERE)
    here.change(AT_HOME | {HERE: "EU"})
    assert list(here.agent._kept_back) == [ref]
    here.agent.expired(here.store.expire(ENDS, 9), ENDS)
    assert not here.agent._kept_back
