"""What an agent keeps of what is written down, and of what nothing is."""

from __future__ import annotations

import pytest

from stack.audit.event import label_digest
from stack.contacts.plan import Contact, Plan
from stack.core.clock import dtn_to_iso
from stack.core.eid import Eid
from stack.engines.bundle_agent import AuditTrail, Beginning, BundleAgent
from stack.engines.bundle_agent.config import AgentConfig
from stack.engines.bundle_agent.trail import FORWARDED, GONE, NO_CONTACT
from stack.policy import DataPolicy, Directory, NodeFacts, NodeSet, PolicyGate
from stack.policy.label import encode_label
from stack.ports.application import Outgoing
from stack.ports.store import RecordEvent, Release
from stack.routing.forwarder import Forwarder
from stack.storage.memory import MemoryStore
from tests.engines.bundle_agent.desk import keyed
from tests.engines.bundle_agent.harness import HERE, NEXT, NOW, plan

LONG = DataPolicy(readers=NodeSet.parse("any | " + "KR | " * 100 + "EU"), audit=True)


def sender(store: MemoryStore, which: str = "policy") -> BundleAgent:
    trail = AuditTrail(HERE, which)
    store.ledger = trail
    directory = Directory(NodeFacts(Eid.parse(node)) for node in (HERE, NEXT))
    return BundleAgent(
        Eid.parse(HERE),
        AgentConfig(),
        Forwarder(HERE, plan()),
        Beginning(bytes(32), 1),
        security=keyed(),
        gate=PolicyGate(directory, HERE),
        trail=trail,
    )


def stored(agent: BundleAgent, store: MemoryStore, service: str, policy: DataPolicy | None) -> str:
    """Have a bundle stored for the neighbour; its name."""
    to = Eid.parse(NEXT).with_service(service)
    ids, ops = agent.send([Outgoing(to, b"x", 60_000, "app", policy=policy)], NOW)
    agent.committed(ops, store.commit(ops, NOW), NOW)
    return str(ids[0])


def test_of_what_waits_the_digest_of_its_label_is_kept_and_not_the_label() -> None:
    store = MemoryStore(1 << 20)
    agent = sender(store)
    name = stored(agent, store, "app", LONG)
    (entry,) = agent.entries.values()
    assert entry.told == (HERE, name, label_digest(encode_label(LONG)))
    again = sender(MemoryStore(1 << 20))
    again.restore(store.scan(), NOW)
    assert [one.told for one in again.entries.values()] == [entry.told]


@pytest.mark.parametrize(("service", "events"), [("app", 2), ("audit", 0)])
def test_of_bundles_about_logs_nothing_is_written_down_whatever_ends_them(
    service: str, events: int
) -> None:
    for restarts in (False, True):
        store = MemoryStore(1 << 20)
        agent = sender(store, "all")
        stored(agent, store, service, None)
        if restarts:
            agent = sender(store, "all")
            agent.restore(store.scan(), NOW)
            agent.forwarded(list(agent.entries), NOW, NEXT)
            store.commit(agent.take_ops(), NOW)
        else:
            store.expire(NOW + 60_001, 9)
        assert store.events_end == events


def test_a_label_that_nobody_can_read_asks_for_nothing() -> None:
    trail = AuditTrail(HERE)
    assert not trail.wants(b"none")
    assert not trail.wants(b"")
    assert trail.wants(encode_label(LONG))
    assert not trail.wants(encode_label(DataPolicy()))


def test_who_got_a_bundle_is_told_with_the_contact_of_then_whatever_was_told_before() -> None:
    early, late = Contact(HERE, NEXT, 0, 100, 1.0), Contact(HERE, NEXT, 200, 300, 1.0)
    other = Contact(HERE, "dtn://other/", 0, 300, 1.0)
    plan = Plan([early, late, other])
    trail = AuditTrail(HERE)

    def told(
        name: str,
        now_ms: int,
        by: Plan = plan,
        label: bytes = b"",
        acts: int = FORWARDED,
        to: str = NEXT,
    ) -> tuple[str, ...]:
        now, told_of = trail.forwarded((HERE, name, label), acts, to, by, now_ms)
        assert (now.node, now.label, now.acts, now.policy) == (HERE, label, acts, b"")
        return told_of, now.peer, now.detail.replace("contact from ", "")

    first, then = (f"{dtn_to_iso(at)} to {dtn_to_iso(at + 100)}" for at in (0, 200))
    assert told("x", 50) == ("x", NEXT, first)
    assert told("y", 99) == ("y", NEXT, first)
    assert told("y", 99, acts=FORWARDED | GONE) == ("y", NEXT, first)
    assert told("y", 99, label=bytes(16)) == ("y", NEXT, first)
    assert told("y", 100) == ("y", NEXT, NO_CONTACT)
    assert told("y", 99) == ("y", NEXT, first)
    assert told("y", 250) == ("y", NEXT, then)
    assert told("y", 250, to="dtn://other/")[1] == "dtn://other/"
    assert told("y", 250, Plan([early])) == ("y", NEXT, NO_CONTACT)
    assert told("y", 250) == ("y", NEXT, then)


@pytest.mark.parametrize("neighbour", [NEXT, ""])
@pytest.mark.parametrize("stays", [False, True])
def test_of_a_bundle_that_others_are_to_get_too_no_end_is_told(
    monkeypatch: pytest.MonkeyPatch, neighbour: str, stays: bool
) -> None:
    agent = sender(store := MemoryStore(1 << 20))
    name = stored(agent, store, "app", LONG)
    monkeypatch.setattr(agent.forwarder, "forwarded", lambda *args: not stays)
    agent.forwarded(list(agent.entries), NOW, neighbour)
    (op,) = agent.take_ops()
    assert isinstance(op, RecordEvent if stays else Release)
    assert op.event is not None
    common, told = op.event
    acts = FORWARDED if stays else GONE | FORWARDED if neighbour else GONE
    assert (common.acts, common.peer, told) == (acts, neighbour, name)
