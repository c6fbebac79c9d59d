"""The agent's rules, one by one (RFC 9171 §5), and the life of a bundle through it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.core.errors import ConfigError
from stack.engines.bundle_agent import AgentConfig
from stack.ports.store import Place, Release, Write
from stack.routing.forwarder import FAILURES_MAX
from stack.wire.bundle import (
    BUNDLE_AGE,
    DELETE_UNPROCESSED,
    DISCARD_UNPROCESSED,
    HOP_COUNT,
    NO_FRAGMENT,
    PREVIOUS_NODE,
    REPORT_ANY,
    REPORT_DELETION,
    REPORT_DELIVERY,
    REPORT_FORWARDING,
    REPORT_RECEPTION,
    REPORT_UNPROCESSED,
    STATUS_TIME,
    Bundle,
    CanonicalBlock,
    ReportReason,
    bundle_age,
    decode_bundle,
    encode_bundle,
    fragment_bundle,
    hop_count,
    parse_bundle_age,
    parse_hop_count,
    parse_previous_node,
    previous_node,
)
from tests.engines.bundle_agent.harness import FAR, HERE, NEXT, NOW, Harness, bundle_for, reports

REPORTING = AgentConfig(status_reports=True)


def numbered(block: CanonicalBlock, number: int, flags: int = 0) -> CanonicalBlock:
    return CanonicalBlock(block.type, number, flags, block.data, 2)


def test_a_bundle_for_here_is_delivered_once() -> None:
    harness = Harness()
    ref = harness.arrive(bundle_for(HERE + "app", b"hello"))
    assert ref
    assert harness.puts[ref].place is Place.DELIVER
    assert harness.agent.waiting.take("app", 10) == [ref]
    delivery = harness.agent.open(ref, harness.octets[ref], NOW)
    assert delivery is not None
    assert bytes(delivery.payload) == b"hello"
    assert str(delivery.id) == f"dtn://gs1/app@{NOW - 1000}.1"
    harness.commit([Release(ref)])
    assert harness.arrive(bundle_for(HERE + "app", b"hello")) == 0
    assert harness.agent.waiting.take("app", 10) == []
    assert harness.agent.counters["duplicates"] == 1


def test_what_an_endpoint_did_not_consume_comes_again_in_order() -> None:
    harness = Harness()
    refs = [harness.arrive(bundle_for(HERE + "app", sequence=n)) for n in range(4)]
    taken = harness.agent.waiting.take("app", 3)
    harness.agent.waiting.put_back("app", taken)
    assert harness.agent.waiting.take("app", 10) == refs


def test_a_bundle_for_elsewhere_is_forwarded_with_its_blocks_brought_up_to_date() -> None:
    harness = Harness()
    extension = [
        numbered(previous_node(Eid.parse("dtn://gs1/")), 2),
        numbered(hop_count(5, 2), 3),
        numbered(bundle_age(700), 4),
    ]
    ref = harness.arrive(bundle_for(FAR + "app", blocks=extension))
    assert ref
    forwarder = harness.agent.forwarder
    assert forwarder.take(NEXT, 10_000, 10, NOW) == [ref]
    entry = harness.agent.entries[ref]
    encoded = harness.agent.departing(entry, harness.octets[ref], NOW + 2500)
    left, _ = decode_bundle(encoded)
    blocks = {block.type: block for block in left.blocks}
    assert str(parse_previous_node(blocks[PREVIOUS_NODE])) == HERE
    assert parse_hop_count(blocks[HOP_COUNT]) == (5, 3)
    assert parse_bundle_age(blocks[BUNDLE_AGE]) == 3200
    came, _ = decode_bundle(harness.octets[ref])
    assert left.primary.encoded == came.primary.encoded  # untouched in transit, its CRC included
    assert left.payload.encoded == came.payload.encoded
    harness.agent.forwarded([ref], NOW)
    harness.run_pending()
    assert harness.octets == {}
    assert forwarder.bytes_waiting == 0


def test_a_failed_transmission_goes_again_before_what_came_later() -> None:
    harness = Harness(direct=[NEXT])
    refs = [harness.send(NEXT + "app", bytes([n])) for n in range(4)]
    forwarder = harness.agent.forwarder
    first = forwarder.take(NEXT, 10_000, 2, NOW)
    assert first == refs[:2]
    forwarder.returned(first)
    assert forwarder.take(NEXT, 10_000, 10, NOW) == refs


def test_what_a_neighbour_never_takes_goes_by_another_one_if_it_may() -> None:
    end, other = NOW + 3_600_000, "dtn://gs3/"
    ways = [(HERE, NEXT), (NEXT, FAR), (HERE, other), (other, FAR)]
    harness = Harness(contacts=Plan([Contact(a, b, NOW, end, 1e6) for a, b in ways]))
    agent, forwarder = harness.agent, harness.agent.forwarder
    through = harness.send(FAR + "app")
    (first,) = (each for each in (NEXT, other) if forwarder.waiting(each))
    for_it = harness.send(first + "app")
    aside: list[int] = []
    for _ in range(FAILURES_MAX):
        aside = forwarder.returned(forwarder.take(first, 10_000, 10, NOW), first)
    assert sorted(aside) == sorted((through, for_it))
    agent.set_aside(aside, first, NOW)
    assert agent.counters["set_aside"] == 2
    assert list(forwarder._unrouted) == [for_it]
    (second,) = {NEXT, other} - {first}
    assert forwarder.take(second, 10_000, 10, NOW) == [through]


def test_urgent_bundles_leave_first() -> None:
    harness = Harness(direct=[NEXT])
    bulk, normal, urgent = (harness.send(NEXT + "app", priority=p) for p in (0, 1, 2))
    assert harness.agent.forwarder.take(NEXT, 10_000, 10, NOW) == [urgent, normal, bulk]


def test_what_did_not_leave_in_its_contact_takes_the_next_or_waits() -> None:
    harness = Harness()
    ref = harness.send(FAR + "app")
    assert harness.agent.forwarder.waiting(NEXT)
    harness.agent.contact_ended(NEXT, NOW + 3_700_000)
    assert list(harness.agent.forwarder._unrouted) == [ref]
    assert harness.agent.forwarder.bytes_waiting == len(harness.octets[ref])


@pytest.mark.parametrize(
    ("blocks", "counter"),
    [
        ([numbered(hop_count(3, 4), 2)], "dropped_hop_limit_exceeded"),
        ([CanonicalBlock(199, 2, DELETE_UNPROCESSED, b"?")], "dropped_unsupported_block"),
        ([CanonicalBlock(HOP_COUNT, 2, 0, b"junk")], "dropped_malformed"),
    ],
)
def test_bundles_that_must_be_deleted(blocks: list[CanonicalBlock], counter: str) -> None:
    harness = Harness()
    assert harness.arrive(bundle_for(FAR + "app", blocks=blocks)) is None
    assert harness.agent.counters[counter] == 1
    assert harness.octets == {}


def test_unknown_blocks_are_dropped_or_passed_on_as_their_flags_say() -> None:
    harness = Harness()
    keep = CanonicalBlock(198, 2, 0, b"keep me", 1)
    drop = CanonicalBlock(199, 3, DISCARD_UNPROCESSED, b"drop me")
    ref = harness.arrive(bundle_for(FAR + "app", blocks=[keep, drop]))
    assert ref
    stored, _ = decode_bundle(harness.octets[ref])
    assert [(block.type, bytes(block.data)) for block in stored.blocks] == [
        (198, b"keep me"),
        (1, b"data"),
    ]


@pytest.mark.parametrize(
    ("bundle", "arrives"),
    [
        (bundle_for(HERE + "app", creation_ms=NOW - 60_000, lifetime_ms=60_000), False),
        (bundle_for(HERE + "app", creation_ms=NOW - 59_999, lifetime_ms=60_000), True),
        (bundle_for(HERE + "app", creation_ms=NOW + 300_000, lifetime_ms=60_000), True),
        (bundle_for(HERE + "app", creation_ms=NOW + 300_001, lifetime_ms=60_000), False),
        (
            bundle_for(HERE + "app", creation_ms=0, blocks=[numbered(bundle_age(60_000), 2)]),
            False,
        ),
        (bundle_for(HERE + "app", creation_ms=0, blocks=[numbered(bundle_age(59_999), 2)]), True),
        (bundle_for(HERE + "app", creation_ms=0), False),  # §4.2.7: needs an age block
    ],
)
def test_lifetimes(bundle: Bundle, arrives: bool) -> None:
    harness = Harness()
    ref = harness.arrive(bundle)
    assert bool(ref) is arrives
    if ref:
        created_ms = bundle.primary.creation_ms
        assert harness.puts[ref].expires_ms == (created_ms + 60_000 if created_ms else NOW + 1)


def test_expired_bundles_are_forgotten_and_reported() -> None:
    harness = Harness(config=REPORTING)
    ref = harness.arrive(bundle_for(FAR + "app", flags=REPORT_DELETION | STATUS_TIME))
    assert ref
    later = NOW + 60_001
    harness.agent.expired([harness.stored(ref)], later)
    harness.run_pending(later)
    assert ref not in harness.agent.entries
    (report,) = reports(harness)
    assert report.deleted
    assert report.reason == ReportReason.LIFETIME_EXPIRED
    assert report.time_ms == later


def test_a_node_without_a_clock_sends_creation_time_zero_with_an_age() -> None:
    config = AgentConfig(trusted_clock=False)
    harness = Harness(config=config, direct=[NEXT])
    ref = harness.send(NEXT + "app")
    entry = harness.agent.entries[ref]
    left, _ = decode_bundle(harness.agent.departing(entry, harness.octets[ref], NOW + 1234))
    assert left.primary.creation_ms == 0
    age = left.block(BUNDLE_AGE)
    assert age is not None
    assert parse_bundle_age(age) == 1234


def test_sequence_numbers_are_reserved_before_they_are_used() -> None:
    harness = Harness(direct=[NEXT])
    harness.send(NEXT + "app")
    writes = [op for op in harness.log if isinstance(op, Write)]
    reserved = int.from_bytes(writes[0].value or b"", "big")
    assert reserved > 0
    for _ in range(10):
        harness.send(NEXT + "app")
    sequences = [bundle.primary.sequence for bundle in harness.held()]
    assert len(set(sequences)) == len(sequences) == 11
    assert max(sequences) < reserved
    assert len([op for op in harness.log if isinstance(op, Write)]) == 1


def test_restart_takes_everything_up_where_it_was() -> None:
    before = Harness()
    kept = [
        before.arrive(bundle_for(FAR + "app")),
        before.arrive(bundle_for(HERE + "app", sequence=2)),
        *(
            before.arrive(fragment)
            for fragment in fragment_bundle(bundle_for(HERE + "app", bytes(2000), sequence=3), 700)[
                :-1
            ]
        ),
    ]
    assert None not in kept
    after = Harness()
    after.octets.update(before.octets)
    after.keys.update(before.keys)
    stored = [before.stored(ref) for ref in sorted(before.octets)]
    assert after.agent.restore(stored, NOW) == len(kept)
    assert after.agent.forwarder.waiting(NEXT)
    assert len(after.agent.waiting.take("app", 10)) == 1
    last = fragment_bundle(bundle_for(HERE + "app", bytes(2000), sequence=3), 700)[-1]
    assert after.arrive(last)
    assert after.agent.counters["reassembled"] == 1
    (ref,) = after.agent.waiting.take("app", 10)
    delivery = after.agent.open(ref, after.octets[ref], NOW)
    assert delivery is not None
    assert bytes(delivery.payload) == bytes(2000)


@pytest.mark.slow
@given(st.binary(min_size=1500, max_size=6000), st.randoms(use_true_random=False))
def test_fragments_in_any_order_and_number_make_one_delivery(
    payload: bytes, random: object
) -> None:
    bundle = bundle_for(HERE + "app", payload)
    pieces = fragment_bundle(bundle, 900) + fragment_bundle(bundle, 501)
    pieces += [part for piece in pieces[:2] for part in fragment_bundle(piece, 300)]
    random.shuffle(pieces)  # type: ignore[attr-defined]
    harness = Harness()
    for piece in pieces:
        assert harness.arrive(piece) is not None
    assert harness.agent.counters["reassembled"] >= 1
    refs = harness.agent.waiting.take("app", 10)
    assert len(refs) == 1
    delivery = harness.agent.open(refs[0], harness.octets[refs[0]], NOW)
    assert delivery is not None
    assert bytes(delivery.payload) == payload


def test_a_bundle_too_large_for_a_link_is_split_and_one_that_must_not_be_waits() -> None:
    harness = Harness(direct=[NEXT])
    ref = harness.send(NEXT + "app", bytes(5000))
    harness.agent.forwarder.take(NEXT, 10_000, 1, NOW)
    ops = harness.agent.split(ref, harness.octets[ref], 1000)
    assert ops is not None
    refs = harness.commit(ops)
    assert ref not in harness.agent.entries
    assert len(refs) > 4
    assert all(len(harness.octets[part]) <= 1000 for part in refs)
    assert harness.agent.forwarder.take(NEXT, 100_000, 100, NOW) == refs
    whole = harness.arrive(bundle_for(NEXT + "app", bytes(5000), flags=NO_FRAGMENT))
    assert whole
    assert harness.agent.split(whole, harness.octets[whole], 1000) is None


@pytest.mark.parametrize("flag", [REPORT_RECEPTION, REPORT_FORWARDING, REPORT_DELIVERY])
def test_status_reports(flag: int) -> None:
    harness = Harness(config=REPORTING)
    here = flag == REPORT_DELIVERY
    bundle = bundle_for((HERE if here else FAR) + "app", flags=flag | STATUS_TIME)
    ref = harness.arrive(bundle)
    assert ref
    if here:
        harness.commit([Release(ref)])
    else:
        harness.agent.forwarded([ref], NOW)
    harness.run_pending()
    (report,) = reports(harness)
    assert (report.received, report.forwarded, report.delivered, report.deleted) == (
        flag == REPORT_RECEPTION,
        flag == REPORT_FORWARDING,
        flag == REPORT_DELIVERY,
        False,
    )
    assert (str(report.source), report.creation_ms, report.sequence) == (
        "dtn://gs1/app",
        NOW - 1000,
        1,
    )
    assert report.time_ms == NOW


def test_an_unprocessed_block_is_reported_when_it_asks_for_it() -> None:
    harness = Harness(config=REPORTING)
    block = CanonicalBlock(199, 2, REPORT_UNPROCESSED, b"?")
    harness.arrive(bundle_for(FAR + "app", blocks=[block], flags=REPORT_RECEPTION))
    assert ReportReason.BLOCK_UNSUPPORTED in {report.reason for report in reports(harness)}


def test_reports_are_off_by_default_and_limited_in_rate() -> None:
    quiet = Harness()
    quiet.arrive(bundle_for(FAR + "app", flags=REPORT_ANY))
    assert reports(quiet) == []
    config = AgentConfig(status_reports=True, status_reports_per_s=5)
    harness = Harness(config=config)
    for sequence in range(50):
        harness.arrive(bundle_for(FAR + "app", flags=REPORT_RECEPTION, sequence=sequence))
    assert len(reports(harness)) == 5
    assert harness.agent.counters["reports_suppressed"] == 45
    harness.arrive(bundle_for(FAR + "app", flags=REPORT_RECEPTION, sequence=99), now=NOW + 1000)
    assert len(reports(harness)) == 6


@given(st.binary(max_size=400))
def test_octets_that_are_no_bundle_are_dropped_and_counted(junk: bytes) -> None:
    harness = Harness()
    received = harness.agent.receive(junk, NOW)
    if received.put is None:
        assert sum(harness.agent.counters.values()) == 1
        assert received.intact or harness.agent.counters["dropped_malformed"] == 1
    assert received.end <= len(junk)


@pytest.mark.parametrize("at", [0, 1, 20, -8, -1])
def test_what_cannot_be_read_is_not_acknowledged_to_the_link(at: int) -> None:
    encoded = bytearray(encode_bundle(bundle_for(HERE + "app", b"payload")))
    assert Harness().agent.receive(bytes(encoded), NOW).intact
    encoded[at] ^= 1
    assert Harness().agent.receive(bytes(encoded), NOW) == (None, len(encoded), False, False)
    refused = encode_bundle(bundle_for(HERE + "app", creation_ms=NOW - 60_000))
    assert Harness().agent.receive(refused, NOW) == (None, len(refused), True, False)


@given(st.data())
def test_mutated_bundles_never_raise(data: st.DataObject) -> None:
    encoded = bytearray(
        encode_bundle(
            bundle_for(
                HERE + "app",
                blocks=[numbered(hop_count(9, 1), 2), numbered(bundle_age(5), 3)],
            )
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    harness = Harness()
    put, end, *_ = harness.agent.receive(bytes(encoded), NOW)
    assert end <= len(encoded)
    if put is not None:
        harness.commit([put])


def test_configurations_that_cannot_work_are_refused() -> None:
    for wrong in ({"hop_limit": 0}, {"crc_type": 3}, {"fragment_bytes": 10}):
        with pytest.raises(ConfigError):
            AgentConfig(**wrong)  # type: ignore[arg-type]


def small_contacts(*volumes: int) -> Plan:
    """Contacts to the next node, one after the other, that carry so many octets each."""
    return Plan(
        [
            Contact(HERE, NEXT, NOW + 2000 * n, NOW + 2000 * n + 1000, volume * 8)
            for n, volume in enumerate(volumes)
        ]
    )


def test_a_bundle_too_large_for_every_contact_goes_in_parts_over_several() -> None:
    harness = Harness(contacts=small_contacts(30_000, 30_000, 30_000, 30_000))
    ref = harness.send(NEXT + "app", bytes(60_000))
    assert ref not in harness.agent.entries
    assert harness.agent.counters["fragmented"] >= 1
    assert list(harness.agent.forwarder._unrouted) == []
    parts = harness.held()
    assert sum(len(part.payload.data) for part in parts) == 60_000
    assert max(len(encoded) for encoded in harness.octets.values()) <= 27_000


def test_what_must_not_be_divided_waits_for_a_larger_contact() -> None:
    harness = Harness(contacts=small_contacts(30_000))
    ref = harness.arrive(bundle_for(NEXT + "app", bytes(60_000), flags=NO_FRAGMENT))
    assert ref
    assert list(harness.agent.forwarder._unrouted) == [ref]
    harness.agent.plan_changed(small_contacts(90_000), NOW)
    assert harness.agent.forwarder.waiting(NEXT)


def test_a_contact_that_fails_is_left_for_another_and_taken_up_again() -> None:
    other = "dtn://gs3/"
    end = NOW + 3_600_000
    contacts = [Contact(HERE, NEXT, NOW, end, 1e6), Contact(NEXT, FAR, NOW, end, 1e6)]
    contacts += [
        Contact(HERE, other, NOW, end, 1e5),
        Contact(other, FAR, NOW, end, 1e5),
    ]
    harness = Harness(contacts=Plan(contacts))
    ref = harness.send(FAR + "app")
    forwarder = harness.agent.forwarder
    assert forwarder.waiting(NEXT)
    harness.agent.contact_failed(NEXT, NOW)
    assert not forwarder.waiting(NEXT)
    assert forwarder.waiting(other)
    harness.agent.contact_restored(NEXT, NOW)
    assert forwarder.take(NEXT, 10_000, 10, NOW) == [ref]


def test_a_bundle_damaged_at_rest_is_given_up_and_reported() -> None:
    harness = Harness(config=REPORTING)
    ref = harness.arrive(bundle_for(FAR + "app", flags=REPORT_DELETION))
    assert ref
    harness.agent.lost(ref, NOW)
    harness.run_pending()
    assert ref not in harness.agent.entries
    assert [report.deleted for report in reports(harness)] == [True]


def test_a_bundle_does_not_go_back_to_where_it_came_from() -> None:
    harness = Harness()
    encoded = encode_bundle(bundle_for(FAR + "app"))
    put, *_ = harness.agent.receive(encoded, NOW, 0, NEXT)
    assert put is not None
    (ref,) = harness.commit([put])
    assert list(harness.agent.forwarder._unrouted) == [ref]  # the only way leads back
    elsewhere, *_ = harness.agent.receive(
        encode_bundle(bundle_for(FAR + "app", sequence=2)), NOW, 0, "dtn://gs1/"
    )
    assert elsewhere is not None
    harness.commit([elsewhere])
    assert harness.agent.forwarder.waiting(NEXT)


def test_what_nobody_is_registered_for_waits_but_is_in_nobodys_custody() -> None:
    harness = Harness()
    ref = harness.arrive(bundle_for(HERE + "unheard-of"))
    assert ref
    assert harness.puts[ref].place is Place.DEFER
    assert harness.agent.waiting.take("unheard-of", 10) == [ref]
    delivery = harness.agent.open(ref, harness.octets[ref], NOW)
    assert delivery is not None
    harness.commit([Release(ref)])
    assert harness.agent.counters["delivered"] == 1


def test_losing_one_fragment_does_not_lose_its_siblings() -> None:
    harness = Harness()
    parts = fragment_bundle(bundle_for(HERE + "app", bytes(3000)), 700)
    refs = [harness.arrive(part) for part in parts[:-1]]
    assert refs[0]
    harness.commit([Release(refs[0])])
    del harness.keys[harness.puts[refs[0]].key]  # evicted and forgotten: it may come again
    assert harness.arrive(parts[-1])
    assert harness.agent.counters["reassembled"] == 0
    assert harness.arrive(parts[0])
    assert harness.agent.counters["reassembled"] == 1
