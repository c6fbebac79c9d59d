"""What an agent keeps of what is written down, and of what nothing is."""

from __future__ import annotations

import pytest

from stack.audit.event import Act, decode_event, label_digest
from stack.contacts.plan import Contact, Plan
from stack.core.clock import dtn_to_iso
from stack.core.eid import Eid
from stack.engines.bundle_agent import AuditTrail, Beginning, BundleAgent
from stack.engines.bundle_agent.config import AgentConfig
from stack.engines.bundle_agent.trail import FORWARDED, GONE, NO_CONTACT
from stack.policy import DataPolicy, Directory, NodeFacts, NodeSet, PolicyGate
from stack.policy.label import encode_label
from stack.ports.application import Outgoing
from stack.ports.store import Place, Put, RecordEvent, Release
from stack.routing.forwarder import Forwarder
from stack.storage.memory import MemoryStore
from stack.wire.bundle import decode_bundle, encode_bundle, fragment_bundle
from tests.engines.bundle_agent.desk import keyed
from tests.engines.bundle_agent.harness import HERE, NEXT, NOW, plan

LONG = DataPolicy(readers=NodeSet.parse("any | " + "KR | " * 50 + "EU"), audit=True)


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


def parts_of_one(store: MemoryStore) -> list[bytes]:
    """Three parts of a bundle under a policy, from its source on to the next node."""
    agent = sender(store)
    to = Eid.parse(NEXT).with_service("app")
    made = agent.send([Outgoing(to, b"x" * 300, 60_000, "app", policy=LONG)], NOW)[1]
    (put,) = [op for op in made if isinstance(op, Put)]
    bundle, _ = decode_bundle(put.encoded)
    return [encode_bundle(each) for each in fragment_bundle(bundle, len(put.encoded) - 150)]


@pytest.mark.parametrize("which", ["policy", "all"])
@pytest.mark.parametrize("fails_at", ["judging", "later"])
@pytest.mark.parametrize("restarts", [False, True])
def test_what_is_set_aside_is_known_by_its_name_to_the_end(
    monkeypatch: pytest.MonkeyPatch, which: str, fails_at: str, restarts: bool
) -> None:
    """A part is not the whole: the log says that it came, and that it, and nothing else, went."""
    part = parts_of_one(MemoryStore(1 << 20))[0]
    agent = sender(store := MemoryStore(1 << 20), which)
    if fails_at == "judging":
        monkeypatch.setattr(agent._ingress, "take", lambda *_, **__: 1 // 0)
    put = agent.receive(part, NOW, previous=NEXT).put
    assert put is not None
    puts = [put]
    agent.committed(puts, store.commit(puts, NOW), NOW)
    (ref,) = agent.entries
    if fails_at == "later":
        agent.quarantine(ref, ValueError("out of the blue"), NOW)
        store.commit(agent.take_ops(), NOW)
    why = b"ValueError: out of the blue" if fails_at == "later" else b"ZeroDivisionError"
    if restarts:
        agent = sender(store, which)
        agent.restore(store.scan(), NOW)
    (entry,) = agent.entries.values()
    assert entry.place is Place.QUARANTINE
    assert (entry.note.startswith(why), b"\0" in entry.note) == (True, False)
    store.ledger = agent._trail
    store.expire(NOW + 8 * 86_400_000, 9)
    told = [decode_event(event) for _, event in store.events(0, 9)]
    names = {each.object for each in told}
    assert len(names) == 1
    assert "+0/" in names.pop()
    assert told[0].has(Act.RECEIVED, Act.STORED)
    assert told[-1].has(Act.DELETED, Act.EXPIRED)
    assert len({each.label for each in told}) == 1
