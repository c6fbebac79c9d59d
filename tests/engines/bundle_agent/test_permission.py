"""Data policies at one node: what may not come to rest here does not, whatever labels say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.core.errors import PolicyError
from stack.engines.bundle_agent import AgentConfig
from stack.engines.bundle_agent.notes import labelled, note_of, unlabelled
from stack.engines.bundle_agent.trail import AuditTrail
from stack.policy import DataPolicy, Directory, NodeFacts, NodeSet, PolicyGate
from stack.policy.label import _decoded, decode_label, label_of, policy_block
from stack.ports.application import Outgoing
from stack.ports.store import Place, Put
from stack.storage.memory import MemoryStore
from stack.wire import cbor
from stack.wire.bundle import (
    DATA_POLICY,
    DELETE_UNPROCESSED,
    IS_ADMIN,
    PAYLOAD,
    REPLICATE,
    REPORT_ANY,
    Bundle,
    CanonicalBlock,
    decode_bundle,
    encode_bundle,
    fragment_bundle,
)
from tests.engines.bundle_agent.desk import KEYS, Desk, keyed
from tests.engines.bundle_agent.harness import FAR, HERE, NEXT, NOW, bundle_for

SOURCE = "dtn://gs1/"
KR, EU = NodeSet.parse("KR"), NodeSet.parse("EU")
DIRECTORY = Directory(
    NodeFacts(Eid.parse(node), jurisdictions=frozenset({law}))
    for node, law in ((SOURCE, "KR"), (HERE, "KR"), (NEXT, "EU"), (FAR, "KR"))
)
FOR_KR = DataPolicy(readers=KR, rest=KR, transit=KR)


def desk(directory: Directory | None = DIRECTORY, *, node: str = HERE, **options: object) -> Desk:
    gate = None if directory is None else PolicyGate(directory, node)
    return Desk(security=keyed(), node=node, gate=gate, **options)  # type: ignore[arg-type]


def sealed(
    policy: DataPolicy = FOR_KR,
    destination: str = HERE + "app",
    payload: bytes = b"secret",
    report_to: str | None = None,
) -> Bundle:
    """A bundle as its source sends it."""
    ends = NOW + 3_600_000
    source = desk(node=SOURCE, contacts=Plan([Contact(SOURCE, HERE, NOW, ends, 1e6)]))
    outgoing = Outgoing(Eid.parse(destination), payload, 60_000, "app", policy=policy)
    if report_to is not None:
        outgoing = replace(outgoing, report_to=Eid.parse(report_to), report_flags=REPORT_ANY)
    _, ops = source.agent.send([outgoing], NOW)
    (ref,) = source.commit(ops, NOW)
    (encoded,) = source.store.load([ref])
    assert encoded is not None
    return decode_bundle(encoded)[0]


def with_label(bundle: Bundle, label: CanonicalBlock | None) -> Bundle:
    """The bundle with another label in the place of its own."""
    others = [block for block in bundle.blocks if block.type != DATA_POLICY]
    return Bundle(bundle.primary, (*([label] if label else []), *others))


def number_of_label(bundle: Bundle) -> int:
    return next(block.number for block in bundle.blocks if block.type == DATA_POLICY)


def test_what_is_for_here_is_delivered() -> None:
    here = desk()
    assert here.arrive(sealed())
    assert here.got == [b"secret"]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (replace(FOR_KR, rest=NodeSet.parse("EU | node:dtn://gs1/ | node:dtn://far/")), "rest"),
        (replace(FOR_KR, transit=NodeSet.parse("EU | node:dtn://gs1/")), "pass through"),
    ],
)
def test_what_may_not_be_here_is_refused_and_its_sender_keeps_it(
    policy: DataPolicy, words: str
) -> None:
    bundle = sealed(policy, FAR + "app")
    here = desk()
    received = here.agent.receive(encode_bundle(bundle), NOW)
    assert received.put is None
    assert not received.intact
    assert here.agent.counters["dropped_not_permitted"] == 1
    assert not here.store.usage().bundles


def test_what_was_let_in_is_not_once_the_node_is_known_otherwise() -> None:
    gate = PolicyGate(DIRECTORY, HERE)
    here = Desk(security=keyed(), gate=gate)
    source = desk(node=SOURCE, contacts=Plan([Contact(SOURCE, HERE, NOW, NOW + 60_000, 1e6)]))
    each = Outgoing(Eid.parse(HERE + "app"), b"secret", 60_000, "app", policy=FOR_KR)
    refs = source.commit(source.agent.send([each] * 3, NOW)[1], NOW)
    first, second, third = (bytes(each) for each in source.store.load(refs) if each is not None)
    assert here.arrive(first)
    received = here.agent.receive(second, NOW)  # and is stored after that
    assert received.put is not None
    gate.follow(Directory())
    here.commit([received.put], NOW)
    assert here.agent.counters["withheld"] == 1
    assert here.arrive(third) is None
    assert here.agent.counters["dropped_not_permitted"] == 1
    gate.follow(DIRECTORY)
    assert here.arrive(third)
    assert len(here.got) == 2


def test_without_a_directory_nothing_with_a_policy_is_taken() -> None:
    here = desk(None)
    assert here.arrive(sealed()) is None
    assert here.agent.counters["dropped_not_permitted"] == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda bundle: None,
        lambda bundle: policy_block(DataPolicy(), number=number_of_label(bundle), crc_type=2),
        lambda bundle: policy_block(
            replace(FOR_KR, transit=EU | KR), number=number_of_label(bundle), crc_type=2
        ),
        lambda bundle: CanonicalBlock(DATA_POLICY, number_of_label(bundle), 0, b"\x01", 2),
    ],
    ids=["taken off", "wide open", "another", "unreadable"],
)
def test_a_payload_opens_under_its_own_label_alone(
    change: Callable[[Bundle], CanonicalBlock | None],
) -> None:
    bundle = sealed()
    here = desk()
    assert here.arrive(with_label(bundle, change(bundle))) is None
    assert here.agent.counters["dropped_security"] == 1
    assert here.arrive(bundle), "the genuine one is still taken"
    assert here.got == [b"secret"]


def test_two_labels_are_none() -> None:
    bundle = sealed()
    second = policy_block(DataPolicy(), number=77, crc_type=2)
    here = desk()
    assert here.arrive(Bundle(bundle.primary, (second, *bundle.blocks))) is None
    assert here.agent.counters["dropped_malformed"] == 1


def test_a_label_that_nobody_could_work_with_is_dropped_and_not_put_aside() -> None:
    bundle = sealed(destination=FAR + "app")
    label = policy_block(FOR_KR, number=number_of_label(bundle), crc_type=2)
    knotted = "KR" + " & AA - BB" * 99
    octets = bytes(label.data).replace(cbor.tstr("KR"), cbor.tstr(knotted), 1)
    here = desk()
    read = _decoded.cache_info().misses
    assert here.arrive(with_label(bundle, replace(label, data=octets, encoded=None))) is None
    assert here.agent.counters["dropped_malformed"] == 1
    assert not here.store.usage().bundles
    assert _decoded.cache_info().misses == read + 1, "it is read once, and no more"


@pytest.mark.parametrize("forbidden", [True, False])
def test_quarantine_holds_nothing_that_may_not_be_here_nor_for_longer(
    forbidden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore(1 << 20)
    here = desk(None if forbidden else DIRECTORY, store=store)
    ends = replace(FOR_KR, expires_ms=NOW + 5000)
    bundle = Bundle(
        replace(sealed(ends).primary, lifetime_ms=60_000, encoded=None), sealed(ends).blocks
    )
    monkeypatch.setattr(here.agent._ingress, "judge", lambda *_: 1 // 0)
    received = here.agent.receive(encode_bundle(bundle), NOW)
    assert here.agent.counters["failures"] == 1
    if forbidden:
        assert (received.put, received.intact) == (None, False)
        return
    assert received.put is not None
    assert (received.put.place, received.put.expires_ms) == (Place.QUARANTINE, NOW + 5000)
    (ref,) = here.commit([received.put], NOW)
    for each in (here, desk(store=store)):
        entry = each.agent.entries[ref]
        assert (entry.policy, entry.note) == (
            ends,
            b"ZeroDivisionError: integer division or modulo by zero",
        )


NOT_HERE = NodeSet.parse("EU | node:dtn://gs1/ | node:dtn://far/")


@pytest.mark.parametrize(
    ("policy", "to", "clear", "kept"),
    [
        (replace(FOR_KR, transit=NOT_HERE), HERE, False, True),
        (replace(FOR_KR, transit=NOT_HERE), FAR, False, False),
        (replace(FOR_KR, readers=NOT_HERE), FAR, False, True),
        (FOR_KR, FAR, True, False),
        (FOR_KR, HERE, True, True),
        (replace(FOR_KR, audit=True), HERE, True, False),
    ],
)
def test_quarantine_judges_by_where_it_goes(
    policy: DataPolicy, to: str, clear: bool, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What passes through is not judged as what is read here, nor what is in clear as what is
    encrypted; and who keeps no log has nothing that asks for a record."""
    here = desk()
    monkeypatch.setattr(here.agent._ingress, "judge", lambda *_: 1 // 0)
    if clear:
        bundle = with_label(bundle_for(to + "app"), policy_block(policy, number=9, crc_type=0))
    else:
        bundle = sealed(policy, to + "app")
    received = here.agent.receive(encode_bundle(bundle), NOW)
    assert here.agent.counters["failures"] == 1
    assert (received.put is not None) == kept


def test_two_labels_are_reported_to_nobody() -> None:
    bundle = sealed(report_to=SOURCE + "app")
    second = policy_block(DataPolicy(), number=77, crc_type=2)
    here = desk(config=AgentConfig(status_reports=True))
    assert here.arrive(Bundle(bundle.primary, (second, *bundle.blocks))) is None
    assert here.agent.counters["dropped_malformed"] == 1
    assert not reports_of(here)


def test_somebody_elses_block_of_that_type_costs_nothing() -> None:
    foreign = CanonicalBlock(DATA_POLICY, 9, 0, b"\x01", 2)
    here = Desk()
    assert here.arrive(bundle_for(HERE + "app", blocks=[foreign]))
    assert here.got == [b"data"]


def test_every_fragment_carries_the_label() -> None:
    bundle = sealed(replace(FOR_KR, transit=EU), payload=bytes(60))  # to be read here, not passed
    here = desk()
    parts = fragment_bundle(bundle, len(encode_bundle(bundle)) - 3)
    assert len(parts) > 1
    stranger = desk(Directory())
    for part in parts:
        assert stranger.arrive(part) is None
        assert here.arrive(part)
    assert stranger.agent.counters["dropped_not_permitted"] == len(parts)
    assert here.got == [bytes(60)]


def stripped(part: Bundle) -> Bundle:
    return with_label(part, None)


def test_a_part_that_has_lost_its_label_is_no_part() -> None:
    """Only the first one's label is bound to the payload: without this the others would pass where
    the data must not, and nobody would notice."""
    bundle = sealed(payload=bytes(60))
    first, *others = fragment_bundle(bundle, len(encode_bundle(bundle)) - 3)
    here = desk()
    assert here.arrive(first)
    for part in others:
        assert here.arrive(stripped(part))
    assert here.got == []
    for part in others:
        assert here.arrive(part)
    assert here.got == [bytes(60)]


@pytest.mark.parametrize("flags", [0, REPLICATE, DELETE_UNPROCESSED])
def test_a_label_that_may_get_lost_on_the_way_is_none(flags: int) -> None:
    bundle = sealed(destination=FAR + "app")
    label = policy_block(FOR_KR, number=number_of_label(bundle), crc_type=2)
    here = desk()
    assert here.arrive(with_label(bundle, replace(label, flags=flags))) is None
    assert here.agent.counters["dropped_malformed"] == 1
    assert here.arrive(with_label(bundle, label))


@pytest.mark.parametrize("beside", [False, True])
def test_a_label_that_nobody_could_read_on_the_way_is_none(beside: bool) -> None:
    bundle = sealed() if beside else keyed().protect(bundle_for(HERE + "app"))
    label = policy_block(DataPolicy(readers=EU), number=50, crc_type=2)
    primary, own, security = bundle.primary, label_of(bundle.blocks), keyed()
    hidden, bcb = security._under(own).source.seal(
        primary,
        replace(label, flags=REPLICATE),
        51,
        security._keys.bound(own).sending("aes", HERE) if own else KEYS[0],
        2,
        primary.source,
    )
    here = desk()
    assert here.arrive(Bundle(primary, (bcb, hidden, *bundle.blocks))) is None
    assert here.agent.counters["dropped_security"] == 1
    assert here.got == []


def test_a_restart_knows_the_policy_of_what_it_finds() -> None:
    store = MemoryStore(1 << 20)
    here = desk(store=store)
    ref = here.arrive(sealed(destination=FAR + "app"))
    assert ref
    assert here.agent.entries[ref].policy == FOR_KR
    again = desk(store=store)
    assert again.agent.entries[ref].policy == FOR_KR
    assert again.agent.forwarder.stranded == 1, "the only way leads through EU"
    lawless = desk(None, store=store)
    assert lawless.agent.forwarder.stranded == 1


def test_what_may_no_longer_be_read_here_waits() -> None:
    store = MemoryStore(1 << 20)
    assert desk(store=store, listens=False).arrive(sealed())
    moved = Directory([NodeFacts(Eid.parse(HERE), jurisdictions=frozenset({"EU"}))])
    elsewhere = desk(moved, store=store)
    assert elsewhere.got == []
    assert elsewhere.agent.counters["withheld"] == 1
    assert desk(store=store).got == [b"secret"]


def test_a_contact_that_no_plan_foresaw_is_no_way_either() -> None:
    here = desk(contacts=Plan())
    assert here.arrive(sealed(destination=FAR + "app"))
    for neighbour in (NEXT, "dtn://nobody/"):
        here.agent.contact_discovered(neighbour, 1e6, NOW, NOW + 1000)
        assert here.agent.forwarder.stranded == 1
    here.agent.contact_discovered(FAR, 1e6, NOW, NOW + 1000)
    assert here.agent.forwarder.stranded == 0


def test_policy_ends_the_life_of_data() -> None:
    ends = replace(FOR_KR, expires_ms=NOW + 5000)
    bundle = sealed(ends, FAR + "app")
    assert bundle.primary.lifetime_ms == 5000
    here = desk()
    ref = here.arrive(bundle)
    assert ref
    assert here.agent.entries[ref].expires_ms == NOW + 5000
    late = desk()
    assert late.arrive(bundle, NOW + 5000) is None
    assert late.agent.counters["dropped_expired_on_arrival"] == 1


@pytest.mark.parametrize("destination", [HERE + "app", FAR + "app"])
def test_who_does_not_know_the_time_takes_nothing_that_has_an_end(destination: str) -> None:
    clockless = desk(config=AgentConfig(trusted_clock=False))
    assert clockless.arrive(sealed(replace(FOR_KR, expires_ms=NOW + 5000), destination)) is None
    assert clockless.agent.counters["dropped_not_permitted"] == 1
    assert clockless.arrive(sealed(FOR_KR, destination))


def test_who_keeps_no_log_takes_and_sends_nothing_that_asks_for_a_record() -> None:
    asks = replace(FOR_KR, audit=True)
    outgoing = Outgoing(FAR + "app", b"secret", 60_000, "app", policy=asks)
    source, here = (
        Desk(security=keyed(), node=n, gate=PolicyGate(DIRECTORY, n)) for n in (SOURCE, HERE)
    )
    with pytest.raises(PolicyError, match="keeps none"):
        source.agent.send([outgoing], NOW)
    source.agent._trail = AuditTrail(SOURCE, "policy")
    (op,) = (op for op in source.agent.send([outgoing], NOW)[1] if isinstance(op, Put))
    assert here.arrive(bytes(op.encoded)) is None
    assert here.agent.counters["dropped_not_permitted"] == 1
    here.agent._admission.trail = AuditTrail(HERE, "policy")
    assert here.arrive(bytes(op.encoded))


def test_what_came_in_clear_does_not_go_on() -> None:
    bundle = sealed(destination=FAR + "app")
    payload = CanonicalBlock(PAYLOAD, 1, 0, b"secret", 2)
    label = policy_block(FOR_KR, number=2, crc_type=2)
    here = desk()
    for _ in range(2):
        received = here.agent.receive(encode_bundle(Bundle(bundle.primary, (label, payload))), NOW)
        assert (received.put, received.intact) == (None, False)
        assert here.arrive(bundle), "what goes sealed under the same policy does"
        here.agent.receive(encode_bundle(bundle), NOW)
        bundle = sealed(destination=FAR + "app", payload=b"more")
    assert here.agent.counters["dropped_not_permitted"] == 2


def test_what_cannot_be_enforced_is_not_sent() -> None:
    outgoing = Outgoing(FAR + "app", b"secret", 60_000, "app", policy=FOR_KR)
    in_clear = Desk(gate=PolicyGate(DIRECTORY, HERE))
    with pytest.raises(PolicyError, match="in clear"):
        in_clear.agent.send([outgoing], NOW)
    clockless = desk(config=AgentConfig(trusted_clock=False))
    with pytest.raises(PolicyError, match="knows the time"):
        clockless.agent.send([replace(outgoing, policy=replace(FOR_KR, expires_ms=NOW + 1))], NOW)


@pytest.mark.parametrize("left_ms", [0, 1])
def test_what_ends_now_is_not_sent_any_more(left_ms: int) -> None:
    ends = replace(FOR_KR, expires_ms=NOW + left_ms)
    outgoing = Outgoing(FAR + "app", b"secret", 60_000, "app", policy=ends)
    if left_ms:
        assert desk().agent.send([outgoing], NOW)[0]
    else:
        with pytest.raises(PolicyError, match="ended 0 ms ago"):
            desk().agent.send([outgoing], NOW)


@pytest.mark.parametrize("other", [{"destination": NEXT + "app"}, {"policy": DataPolicy(rest=EU)}])
def test_each_of_many_is_judged_by_its_own_destination_and_policy(other: dict[str, object]) -> None:
    one = Outgoing(FAR + "app", b"secret", 60_000, "app", policy=FOR_KR)
    here = desk()
    assert len(here.agent.send([one, one], NOW)[0]) == 2
    with pytest.raises(PolicyError):
        here.agent.send([one, replace(one, **other)], NOW)  # type: ignore[arg-type]


def test_notes_keep_labels_apart() -> None:
    bundle = bundle_for(HERE + "app")
    for label in (b"", b"\x21", bytes(300)):
        for owner in ("", "dtn://gs1/"):
            note = note_of(bundle, encode_bundle(bundle), owner=owner)
            assert unlabelled(labelled(note, label)) == (label, note)


def reports_of(here: Desk) -> list[Bundle]:
    found = [decode_bundle(one)[0] for one in here.store.load(list(here.agent.entries)) if one]
    return [one for one in found if one.primary.flags & IS_ADMIN]


@pytest.mark.parametrize("destination", [HERE + "app", FAR + "app"])
def test_what_is_reported_of_data_goes_where_the_data_may_for_its_addressee_alone(
    destination: str,
) -> None:
    policy = replace(FOR_KR, expires_ms=NOW + 50_000, transit=NodeSet.parse("any"))
    here = desk(config=AgentConfig(status_reports=True))
    here.arrive(sealed(policy, destination, report_to=SOURCE))
    found = reports_of(here)
    assert found
    assert here.agent.counters["reports_sent"] == len(found)
    for one in found:
        told = decode_label(label_of(one.blocks))
        assert str(told.readers) == f"node:{SOURCE}"
        assert (told.rest, told.transit, told.expires_ms) == (policy.rest, policy.transit, 0)


def test_what_would_be_reported_where_the_data_may_not_be_is_withheld() -> None:
    here = desk(config=AgentConfig(status_reports=True))
    assert here.arrive(sealed(FOR_KR, report_to=NEXT))
    assert not reports_of(here)
    assert here.agent.counters["reports_withheld"] > 0
    assert here.got == [b"secret"]
    damaged = sealed(FOR_KR, report_to=NEXT)
    payload = replace(damaged.payload, data=b"x" * len(damaged.payload.data), encoded=None)
    before = here.agent.counters["reports_withheld"]
    changed = Bundle(replace(damaged.primary, sequence=7), (*damaged.blocks[:-1], payload))
    for _ in range(2):  # the first time it is asked for once more
        here.arrive(changed)
    assert here.agent.counters["dropped_security"] == 2
    assert here.agent.counters["reports_withheld"] > before
    assert here.agent.counters["reports_sent"] == 0


def test_what_is_expected_takes_no_path_that_is_not_allowed() -> None:
    times = NOW, NOW + 3_600_000
    early = [Contact(HERE, NEXT, *times, 1e6), Contact(NEXT, FAR, *times, 1e6)]
    late = Contact(HERE, FAR, NOW + 600_000, times[1], 1e6)
    agent = desk(contacts=Plan([*early, late])).agent
    (free,) = agent.expected(FAR, [1000], NOW, ())
    (bound,) = agent.expected(FAR, [1000], NOW, (), FOR_KR)
    assert free is not None
    assert bound is not None
    assert free.arrival_ms < NOW + 60_000 < NOW + 600_000 <= bound.arrival_ms
