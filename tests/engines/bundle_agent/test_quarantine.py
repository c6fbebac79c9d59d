"""One bundle on which work fails: out of the way, kept, told about; the others go on."""

from __future__ import annotations

from typing import Any

import pytest

from stack.core.errors import DecodeError
from stack.engines.bundle_agent import AgentConfig, Deliverable
from stack.engines.bundle_agent.quarantine import KEPT_MS, REASON_BYTES_MAX
from stack.ports.store import (
    NO_ROOM,
    QUARANTINE_PRIORITY,
    Committed,
    Move,
    Op,
    Place,
    Put,
    Release,
    Write,
)
from stack.wire.bundle import (
    REPORT_DELETION,
    REPORT_DELIVERY,
    REPORT_FORWARDING,
    ReportReason,
    bundle_age,
    bundle_key,
    encode_bundle,
    fragment_bundle,
)
from tests.engines.bundle_agent.desk import keyed
from tests.engines.bundle_agent.harness import FAR, HERE, NEXT, NOW, Harness, bundle_for, reports

REPORTING = AgentConfig(status_reports=True)
BROKEN = ValueError("out of the blue")
WHY = b"ValueError: out of the blue"


def fails(*args: object, **named: object) -> Any:
    raise BROKEN


def failing(method: str, ref: int, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make work on one bundle fail."""
    work = getattr(harness.agent, method)

    def instead(first: Any, *args: Any) -> Any:
        return fails() if getattr(first, "ref", first) == ref else work(first, *args)

    monkeypatch.setattr(harness.agent, method, instead)


@pytest.mark.parametrize("flags", [0, REPORT_DELETION])
def test_the_one_is_kept_and_told_about(flags: int) -> None:
    harness = Harness(config=REPORTING)
    agent = harness.agent
    ref = harness.arrive(bundle_for(FAR + "app", flags=flags))
    assert ref
    before = agent.entries[ref]
    agent.quarantine(ref, BROKEN, NOW)
    harness.run_pending()
    assert agent.counters["failures"] == agent.counters["quarantined"] == 1
    entry = agent.entries[ref]
    assert (entry.place, entry.priority, entry.note) == (
        Place.QUARANTINE,
        QUARANTINE_PRIORITY,
        WHY,
    )
    assert (entry.ref, entry.source, entry.destination, entry.size, entry.expires_ms) == (
        (ref, "dtn://gs1/app", FAR + "app", before.size, before.expires_ms)
    )
    assert Move(ref, Place.QUARANTINE, WHY) in harness.log
    assert agent.forwarder.bundles_waiting == len(reports(harness)), "the report alone waits"
    told = [(report.deleted, report.reason) for report in reports(harness)]
    assert told == [(True, ReportReason.BLOCK_UNINTELLIGIBLE)] * bool(flags)
    fields = {"ref": ref, "why": "ValueError: out of the blue"}
    ends = {"source": "dtn://gs1/app", "destination": FAR + "app"}
    assert harness.traces == [("bundle_failed", fields | ends)]
    agent.expired([harness.stored(ref)], NOW + 60_000)
    assert ref not in agent.entries
    assert len(reports(harness)) == len(told), "its end was reported"


def test_what_the_scrubber_found_damaged_is_told_and_is_in_quarantine_already() -> None:
    harness = Harness(config=REPORTING)
    ref = harness.arrive(bundle_for(FAR + "app", flags=REPORT_DELETION))
    assert ref
    harness.agent.damaged(ref, BROKEN, NOW)
    assert harness.agent.entries[ref].place is Place.QUARANTINE
    harness.run_pending()
    assert [report.deleted for report in reports(harness)] == [True]
    assert Move(ref, Place.QUARANTINE, WHY) not in harness.log, "the store has done it"
    counters = harness.agent.counters
    assert counters["damaged"] == counters["quarantined"] == counters["failures"] == 1


def test_a_bundle_that_nobody_knows_goes_all_the_same() -> None:
    harness = Harness(config=REPORTING)
    harness.agent.quarantine(7, BROKEN, NOW)
    assert harness.agent.counters["failures"] == 1
    assert harness.agent.counters["quarantined"] == 0
    assert harness.agent.take_ops() == [Move(7, Place.QUARANTINE, WHY)]
    assert harness.traces == [("bundle_failed", {"ref": 7, "why": WHY.decode()})]


def test_a_long_reason_is_cut() -> None:
    harness = Harness()
    harness.agent.quarantine(7, ValueError("\udcff" + "x" * 1000), NOW)
    (op,) = harness.agent.take_ops()
    assert isinstance(op, Move)
    assert op.note == (b"ValueError: ?" + b"x" * 1000)[:REASON_BYTES_MAX]


@pytest.mark.parametrize(
    ("method", "work"),
    [
        ("_entered", "committed"),
        ("_released", "released"),
        ("_deleted", "evicted"),
        ("_restored", "restored"),
        ("_expired", "expired"),
        ("_acknowledged", "forwarded"),
        ("_dispatch", "contact_ended"),
    ],
)
def test_the_others_go_on(method: str, work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    agent = harness.agent
    made = [bundle_for(FAR + "app", sequence=n) for n in range(3)]
    if work == "committed":
        refs = [1, 2, 3]
        harness.puts.update(
            (ref, put)
            for ref, one in zip(refs, made, strict=True)
            if (put := agent.receive(encode_bundle(one), NOW).put)
        )
    else:
        refs = [ref for one in made if (ref := harness.arrive(one))]
    if work == "restored":
        before, harness = harness, Harness()
        agent = harness.agent
        harness.puts.update(before.puts)
    bad = refs[1]
    key = harness.puts[bad].key if method == "_entered" else b""
    if key:
        entered = agent._entered
        monkeypatch.setattr(
            agent,
            "_entered",
            lambda ref, put, now: fails() if put.key == key else entered(ref, put, now),
        )
    else:
        failing(method, bad, harness, monkeypatch)
    puts = [harness.puts[ref] for ref in refs]
    if work == "committed":
        agent.committed(puts, Committed(refs), NOW)
        assert set(agent.entries) == {1, 3}
    elif work == "released":
        agent.committed([Release(ref) for ref in refs], Committed([]), NOW)
    elif work == "evicted":
        agent.committed([], Committed([], evicted=refs), NOW)
        assert agent.counters["evicted"] == 3
    elif work == "restored":
        assert agent.restore([harness.stored(ref) for ref in refs], NOW) == 3
        assert set(agent.entries) == {refs[0], refs[2]}
    elif work == "expired":
        agent.expired([harness.stored(ref) for ref in refs], NOW)
        assert agent.counters["expired"] == 3
    elif work == "forwarded":
        agent.forwarded(refs, NOW, NEXT)
        assert agent.counters["forwarded"] == 2
    else:
        agent.contact_ended(NEXT, NOW)
        assert agent.forwarder.take(NEXT, 1 << 20, 10, NOW) == [refs[0], refs[2]]
    assert agent.counters["failures"] == 1
    quarantined = [op.ref for op in agent.take_ops() if isinstance(op, Move)]
    gone = work in ("released", "evicted", "expired")  # nothing is left to be kept
    assert quarantined == ([] if gone else [bad])
    if gone:
        assert not agent.entries
    elif work == "forwarded":
        assert {ref: entry.place for ref, entry in agent.entries.items()} == {bad: Place.QUARANTINE}


def test_what_fails_while_it_is_forgotten_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    ref = harness.arrive(bundle_for(FAR + "app"))
    assert ref
    monkeypatch.setattr(harness.agent.forwarder, "remove", fails)
    harness.agent.quarantine(ref, KeyError("first"), NOW)
    assert harness.agent.counters["failures"] == 2
    assert [fields["why"] for _, fields in harness.traces] == ["KeyError: 'first'", WHY.decode()]
    assert [fields["ref"] for _, fields in harness.traces] == [ref, ref]
    assert harness.agent.entries[ref].place is Place.QUARANTINE


def test_a_report_that_fails_does_not_keep_its_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(config=REPORTING)
    ref = harness.arrive(bundle_for(FAR + "app", flags=REPORT_FORWARDING))
    assert ref
    monkeypatch.setattr(harness.agent._reporter, "report", fails)
    harness.agent.forwarded([ref], NOW, NEXT)
    harness.run_pending()
    assert harness.octets == {}
    assert harness.agent.counters["failures"] == 1
    assert harness.traces == [("bundle_failed", {"ref": ref, "why": WHY.decode()})]


# ---- what cannot be judged ---------------------------------------------------------------------


@pytest.mark.parametrize("lifetime_ms", [60_000, KEPT_MS, KEPT_MS + 1])
def test_what_fails_as_it_comes_is_kept_beside_the_genuine_one(
    lifetime_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Harness()
    one = bundle_for(FAR + "app", lifetime_ms=lifetime_ms)
    encoded = encode_bundle(one)
    monkeypatch.setattr(harness.agent._ingress, "judge", fails)
    put, end, intact, _ = harness.agent.receive(b"??" + encoded + b"more", NOW, 2)
    assert isinstance(put, Put)
    assert (end, intact) == (2 + len(encoded), True)
    assert (put.place, put.priority) == (Place.QUARANTINE, QUARANTINE_PRIORITY)
    assert (put.destination, put.source) == (FAR + "app", "dtn://gs1/app")
    assert put.expires_ms == NOW + min(lifetime_ms, 7 * 86_400_000)
    assert (put.received_ms, put.note, bytes(put.encoded)) == (NOW, WHY, encoded)
    identity = bundle_key(one.primary, 4)
    assert put.key.startswith(identity)
    assert len(put.key) == len(identity) + 16
    assert harness.agent.counters["failures"] == 1
    assert harness.traces == [("bundle_failed", {"ref": "", "why": WHY.decode()})]
    (ref,) = harness.commit([put])
    assert harness.agent.entries[ref].place is Place.QUARANTINE
    monkeypatch.undo()
    assert harness.arrive(one), "it stands in nobody's way"


def test_what_cannot_even_be_read_was_never_received(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    monkeypatch.setattr(harness.agent._ingress, "take", fails)
    assert harness.agent.receive(b"\x9fjunk", NOW) == (None, 5, False, False)
    lenient = Harness(config=AgentConfig(lenient=True))
    monkeypatch.setattr(lenient.agent._ingress, "take", fails)
    encoded = encode_bundle(bundle_for(FAR + "app"))
    assert lenient.agent.receive(encoded, NOW).put is not None


# ---- what is tried again -----------------------------------------------------------------------


def test_what_is_postponed_is_out_of_the_way_until_it_is_tried_again() -> None:
    harness = Harness()
    agent = harness.agent
    first, second = (harness.arrive(bundle_for(FAR + "app", sequence=n)) for n in (1, 2))
    assert first
    assert second
    entry = agent.entries[first]
    agent.postpone(first, NOW)
    assert agent.counters["postponed"] == 1
    assert agent.entries[first] is entry
    assert agent.stranded == 1
    assert agent.forwarder.take(NEXT, 1 << 20, 10, NOW) == [second]
    agent.retry(NOW)
    assert agent.stranded == 0
    assert agent.forwarder.take(NEXT, 1 << 20, 10, NOW) == [first]
    agent.retry(NOW)
    assert agent.forwarder.take(NEXT, 1 << 20, 10, NOW) == [], "once"


def test_what_is_gone_is_not_postponed() -> None:
    harness = Harness()
    harness.agent.postpone(7, NOW)
    assert harness.agent.counters["postponed"] == 1
    assert harness.agent.stranded == 0
    assert harness.agent.entries == {}


# ---- what the driver hears ---------------------------------------------------------------------


@pytest.mark.parametrize("service", ["app", "unheard-of"])
def test_who_waits_for_a_bundle_is_told(service: str) -> None:
    harness = Harness()
    put = harness.agent.receive(encode_bundle(bundle_for(HERE + service)), NOW).put
    assert put is not None
    assert harness.agent.next_event() is None
    harness.agent.committed([put], Committed([5]), NOW)
    assert harness.agent.next_event() == Deliverable(service)
    assert harness.agent.next_event() is None


@pytest.mark.parametrize("admin", [False, True])
def test_a_delivery_says_what_it_is(admin: bool) -> None:
    harness = Harness()
    ref = harness.arrive(bundle_for(HERE + "app", b"hello", sequence=9, flags=2 if admin else 0))
    assert ref
    put = harness.puts[ref]
    for known, encoded in ((None, put.encoded), (put.known, b"not looked at")):
        delivery = harness.agent.open(ref, encoded, NOW, known)
        assert delivery is not None
        assert (delivery.ref, str(delivery.id)) == (ref, f"dtn://gs1/app@{NOW - 1000}.9")
        assert (str(delivery.destination), bytes(delivery.payload)) == (HERE + "app", b"hello")
        assert (delivery.expires_ms, delivery.priority) == (NOW + 59_000, 1)
        assert delivery.admin is admin


def test_what_the_store_has_no_room_for_is_counted() -> None:
    harness = Harness()
    put = harness.agent.receive(encode_bundle(bundle_for(FAR + "app")), NOW).put
    assert put is not None
    harness.agent.committed([put], Committed([NO_ROOM]), NOW)
    assert harness.agent.entries == {}
    assert harness.agent.counters == {"bundles_received": 1, "dropped_no_room": 1}


@pytest.mark.parametrize(
    ("flags", "delivered"), [(REPORT_DELIVERY, True), (REPORT_DELETION, False)]
)
def test_a_delivery_that_is_let_go_of_was_delivered(flags: int, delivered: bool) -> None:
    harness = Harness(config=REPORTING)
    ref = harness.arrive(bundle_for(HERE + "app", flags=flags))
    assert ref
    harness.commit([harness.agent.consumed(ref, NOW)])
    assert harness.agent.counters["delivered"] == 1
    told = [(report.delivered, report.deleted) for report in reports(harness)]
    assert told == [(True, False)] * delivered
    other = harness.arrive(bundle_for(FAR + "app"))
    assert other
    harness.commit([Release(other)])
    assert harness.agent.counters["delivered"] == 1


def test_how_long_what_was_delivered_stays_known() -> None:
    month = 30 * 86_400_000
    timeless = bundle_for(HERE + "app", creation_ms=0, blocks=[bundle_age(1, number=2)])
    longer = bundle_for(
        HERE + "app", creation_ms=0, blocks=[bundle_age(1, number=2)], lifetime_ms=2 * month
    )
    timed = bundle_for(HERE + "app")
    for trusted, one, known in (
        (True, timed, None),
        (True, timeless, NOW + month),
        (True, longer, NOW + 2 * month - 1),
        (False, timed, NOW + month),
    ):
        harness = Harness(config=AgentConfig(trusted_clock=trusted, lifetime_ms_max=10 * month))
        ref = harness.arrive(one)
        assert ref
        assert harness.agent.consumed(ref, NOW) == Release(ref, known)
        assert harness.agent.consumed(99, NOW) == Release(99)


def test_what_is_owed_to_a_store_that_failed() -> None:
    harness = Harness()
    move = Move(1, Place.QUARANTINE, b"why")
    other = Write("agent", "content", b"secret")
    foreign = Write("files", "sequence", b"x")
    sequence = Write("agent", "sequence", bytes(8))
    put = harness.agent.receive(encode_bundle(bundle_for(FAR + "app")), NOW).put
    assert put is not None
    ops: list[Op] = [put, move, other, foreign, sequence, Release(5)]
    assert harness.agent.refused(ops) == [move, other, Release(5)]


def test_what_cannot_be_joined_is_told_and_its_fragments_stay() -> None:
    harness = Harness()
    parts = fragment_bundle(bundle_for(HERE + "app", bytes(1500)), 700)
    refs = [harness.arrive(part) for part in parts[:-1]]
    known = [ref for ref in refs if ref]
    ops = harness.agent.reassemble(known, [harness.octets[ref] for ref in known], NOW)
    assert ops == []
    assert harness.agent.counters["reassembly_failed"] == 1
    name = f"dtn://gs1/app@{NOW - 1000}.1+0"
    fields = {"bundle": name, "detail": "no fragments fit together"}
    assert harness.traces == [("reassembly_failed", fields)]


def test_damage_in_memory_is_told_from_a_forgery() -> None:
    for checked in (True, False):
        harness = Harness(security=keyed())
        ref = harness.arrive(keyed().protect(bundle_for(HERE + "app")))
        assert ref
        encoded = encode_bundle(bundle_for(HERE + "app"))  # in clear
        why = "the payload is not encrypted, as policy asks"
        if checked:
            assert harness.agent.open(ref, encoded, NOW) is None
            assert harness.agent.counters["dropped_security"] == 1
            name = f"dtn://gs1/app@{NOW - 1000}.1"
            fields = {"why": "security", "detail": why, "bundle": name, "sender_keeps": False}
            assert harness.traces == [("bundle_dropped", fields)]
            assert harness.agent.take_ops() == [Release(ref, known_until_ms=0)]
            assert ref not in harness.agent.entries
        else:
            with pytest.raises(DecodeError) as caught:
                harness.agent.open(ref, encoded, NOW, checked=False)
            assert (caught.value.reason, caught.value.section) == (why, "RFC 9172 §5.1.1")
            assert ref in harness.agent.entries
