"""Small mechanisms of the agent, each over its whole range."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.core.errors import LocalError
from stack.engines.bundle_agent import AgentConfig, Echo, TooLarge, reception
from stack.engines.bundle_agent.admission import Admission
from stack.engines.bundle_agent.entry import Waiting
from stack.engines.bundle_agent.notes import is_returned, note_of, parse_note
from stack.engines.bundle_agent.origin import FLOWS_MAX, SEQUENCE_RESERVE, Origin
from stack.engines.bundle_agent.reports import REPORT_LIFETIME_MS, StatusReporter
from stack.engines.bundle_agent.shares import Shares
from stack.policy import DataPolicy
from stack.ports.application import Outgoing
from stack.ports.store import DUPLICATE, Committed, Place, Release, Write
from stack.wire.bundle import (
    BUNDLE_AGE,
    DELETE_UNPROCESSED,
    HOP_COUNT,
    IS_ADMIN,
    PREVIOUS_NODE,
    REPORT_DELIVERY,
    REPORT_RECEPTION,
    STATUS_TIME,
    Bundle,
    CanonicalBlock,
    ReportReason,
    StatusReport,
    bundle_age,
    decode_admin,
    decode_bundle,
    decode_eid,
    encode_bundle,
    fragment_bundle,
    hop_count,
    parse_bundle_age,
    parse_hop_count,
    parse_previous_node,
    priority_block,
)
from tests.engines.bundle_agent.harness import FAR, HERE, NEXT, NOW, Harness, bundle_for

OTHER = "dtn://gs3/"


# ---- how far a copy can still go ---------------------------------------------------------------


def known_as(made: Bundle, *, trusted_clock: bool = True) -> bytes:
    """By what a bundle is known again."""
    config = AgentConfig(trusted_clock=trusted_clock)
    admission = Admission(Eid.parse(HERE), config, None, bytes(32), Shares())
    return admission.put(made, encode_bundle(made), 1, NOW * 2, NOW, outside=True).key


def copy(limit: int, count: int, left_ms: int) -> bytes:
    """By what a copy is known that has so many hops and milliseconds left."""
    lifetime_ms = 1 << 40
    blocks = [hop_count(limit, count, number=2), bundle_age(lifetime_ms - left_ms, number=3)]
    return known_as(bundle_for(FAR, creation_ms=0, blocks=blocks, lifetime_ms=lifetime_ms))


def leading(number: int) -> int:
    """A number cut to its three leading bits."""
    return int(bin(number)[:5] + "0" * (len(bin(number)) - 5), 2)


LEFT = st.one_of(st.integers(0, 40), st.integers(0, 1 << 40))


@given(st.tuples(st.integers(0, 40), LEFT), st.tuples(st.integers(0, 40), LEFT))
@settings(max_examples=60)
def test_copies_that_may_go_about_as_far_are_the_same(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    found = [copy(50, 50 - hops, left) for hops, left in (one, other)]
    alike = [(min(16, hops), leading(left)) for hops, left in (one, other)]
    assert (found[0] == found[1]) == (alike[0] == alike[1])


def test_what_a_copy_has_left_is_not_below_zero_nor_above_what_counts() -> None:
    assert copy(3, 4, 5) == copy(3, 3, 5) != copy(3, 2, 5)
    assert copy(40, 24, 5) == copy(250, 1, 5) != copy(40, 25, 5)
    many, few = (
        bundle_for(FAR, creation_ms=0, blocks=[bundle_age(age_ms, number=3)])
        for age_ms in (60_000, 70_000)
    )
    assert known_as(many) == known_as(few)
    timed = bundle_for(FAR)
    aged = bundle_for(FAR, blocks=[bundle_age(70, number=3)])
    assert known_as(timed) == known_as(aged), "its age is no matter where there is a time"
    assert known_as(timed, trusted_clock=False) != known_as(aged, trusted_clock=False)


# ---- acknowledgements that mean nothing --------------------------------------------------------


def test_what_comes_back_voids_what_is_under_way_of_every_copy() -> None:
    end = NOW + 3_600_000
    ways = [(HERE, NEXT), (NEXT, FAR), (HERE, OTHER), (OTHER, FAR)]
    harness = Harness(contacts=Plan([Contact(a, b, NOW, end, 1e6) for a, b in ways]))
    made = harness.agent
    ref = harness.send(FAR + "app", priority=3)
    for neighbour in (NEXT, OTHER):
        assert made.forwarder.take(neighbour, 10_000, 10, NOW) == [ref]
    made.echoed(ref, "dtn://gs9/")
    assert made.entries[ref].previous == "dtn://gs9/"
    made.forwarded([ref], NOW, NEXT)
    assert made.counters["sent_again"] == 1
    assert ref in made.entries
    made.forwarded([ref], NOW, OTHER)
    assert made.counters["forwarded"] == 0, "that was under way, too"
    for neighbour in (NEXT, OTHER):
        assert made.forwarder.take(neighbour, 10_000, 10, NOW) == [ref]
        made.forwarded([ref], NOW, neighbour)
    assert made.counters["forwarded"] == 2
    assert ref not in made.entries
    assert made._void == {}


def test_a_duplicate_in_transit_is_an_echo_and_any_other_is_not() -> None:
    for destination, previous, echo in (
        (FAR + "app", NEXT, True),
        (FAR + "app", "", True),
        (HERE + "app", NEXT, False),
    ):
        harness = Harness()
        put = harness.agent.receive(encode_bundle(bundle_for(destination)), NOW, 0, previous).put
        assert put is not None
        harness.agent.committed([put], Committed([DUPLICATE]), NOW)
        found = harness.agent.next_event()
        assert found == (Echo(put.key, previous) if echo else None)
        assert harness.agent.counters["duplicates"] == 1


def test_a_critical_bundle_that_comes_back_goes_nowhere_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reception, "CRITICAL_KEPT", 2)
    harness = Harness()
    octets = [
        encode_bundle(bundle_for(FAR + "app", blocks=[priority_block(3, number=2)], sequence=n))
        for n in range(3)
    ]
    for encoded in octets:
        assert harness.arrive(encoded)
    received = harness.agent.receive(octets[2], NOW, 0, trusted=True)
    assert received == (None, len(octets[2]), True, False)
    assert harness.agent.counters["duplicates"] == 1
    assert harness.agent.receive(octets[1], NOW, 0, trusted=True).put is None
    assert harness.agent.receive(octets[0], NOW, 0, trusted=True).put is not None, "forgotten"


# ---- why a bundle is refused, in words ---------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "made", "counter", "words"),
    [
        (
            AgentConfig(bundle_bytes_max=100),
            bundle_for(FAR, bytes(200)),
            "too_large",
            "{size} octets, more than bundle_bytes_max 100",
        ),
        (
            AgentConfig(bundle_bytes_max=1000),
            fragment_bundle(bundle_for(FAR, bytes(1001)), 700)[0],
            "too_large",
            "part of 1001 octets, more than bundle_bytes_max 1000",
        ),
        (
            AgentConfig(),
            bundle_for(FAR, lifetime_ms=995),
            "expired_on_arrival",
            "lifetime ended 5 ms ago",
        ),
        (
            AgentConfig(),
            bundle_for(FAR, lifetime_ms=1000),
            "expired_on_arrival",
            "lifetime ended 0 ms ago",
        ),
        (
            AgentConfig(),
            bundle_for(FAR, blocks=[CanonicalBlock(199, 7, DELETE_UNPROCESSED, b"?")]),
            "unsupported_block",
            "block 7 of unknown type 199 demands deletion",
        ),
        (
            AgentConfig(),
            bundle_for(FAR, blocks=[hop_count(3, 3, number=2)]),
            "hop_limit_exceeded",
            "hop count 3 at its limit 3",
        ),
        (
            AgentConfig(),
            bundle_for(HERE, blocks=[hop_count(3, 4, number=2)]),
            "hop_limit_exceeded",
            "hop count 4 over its limit 3",
        ),
        (
            AgentConfig(),
            bundle_for(FAR, creation_ms=NOW + 300_001),
            "from_the_future",
            "dtn://gs1/app made it 300001 ms ahead of the clock here: check both clocks",
        ),
    ],
)
def test_the_log_says_why(config: AgentConfig, made: object, counter: str, words: str) -> None:
    harness = Harness(config=config)
    encoded = encode_bundle(made)  # type: ignore[arg-type]
    put, end, intact, _ = harness.agent.receive(encoded, NOW)
    assert (put, end, intact) == (None, len(encoded), counter != "from_the_future")
    ((event, fields),) = harness.traces
    assert event == "bundle_dropped"
    assert (fields["why"], fields["detail"]) == (counter, words.format(size=len(encoded)))
    primary = decode_bundle(encoded)[0].primary
    name = f"dtn://gs1/app@{primary.creation_ms}.1"
    name += "+0" if primary.fragment_offset is not None else ""
    assert fields["bundle"] == name
    assert fields["sender_keeps"] == (counter == "from_the_future")
    assert harness.agent.counters[f"dropped_{counter}"] == 1


@pytest.mark.parametrize("size", [299, 300, 301])
def test_the_largest_bundle_is_taken(size: int) -> None:
    made = bundle_for(FAR, bytes(300 - len(encode_bundle(bundle_for(FAR, bytes(30)))) + 30))
    assert len(encode_bundle(made)) == 300
    harness = Harness(config=AgentConfig(bundle_bytes_max=size))
    assert bool(harness.arrive(made)) == (size >= 300)


# ---- bundles of our own ------------------------------------------------------------------------


def outgoing(payload: bytes = b"x", priority: int = 1, flags: int = 0) -> Outgoing:
    return Outgoing(Eid.parse(FAR + "app"), payload, 60_000, "app", priority, None, flags)


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("flags", [0, REPORT_RECEPTION])
@pytest.mark.parametrize("crc", [0, 1, 2])
def test_a_bundle_of_our_own_says_what_it_is(trusted: bool, flags: int, crc: int) -> None:
    config = AgentConfig(trusted_clock=trusted, crc_type=crc, hop_limit=9)
    origin = Origin(Eid.parse(HERE), config, None, 7)
    made = origin.make(outgoing(b"data", 2, flags), NOW)
    primary = made.primary
    assert (str(primary.destination), str(primary.source)) == (FAR + "app", HERE + "app")
    assert str(primary.report_to) == (HERE if flags else "dtn:none")
    assert primary.flags == (flags | STATUS_TIME if flags else 0)
    assert primary.creation_ms == (NOW if trusted else 0)
    assert (primary.sequence, primary.lifetime_ms) == (8 if trusted else 7, 60_000)
    assert primary.crc_type == (crc or 2), "RFC 9171 §4.3.1: the primary block has one"
    assert {block.crc_type for block in made.blocks} == {crc}
    blocks = {block.type: block for block in made.blocks}
    assert str(parse_previous_node(blocks[PREVIOUS_NODE])) == HERE
    assert parse_hop_count(blocks[HOP_COUNT]) == (9, 1)
    assert (BUNDLE_AGE in blocks) == (not trusted)
    if not trusted:
        assert parse_bundle_age(blocks[BUNDLE_AGE]) == 0
    assert len({block.number for block in made.blocks}) == len(made.blocks)
    decoded, _ = decode_bundle(encode_bundle(made))
    assert bytes(decoded.payload.data) == b"data"
    record = origin.make(outgoing(b"record"), NOW, admin=True).primary
    assert (str(record.source), record.flags, str(record.report_to)) == (HERE, IS_ADMIN, "dtn:none")
    assert record.sequence == primary.sequence + 1


def test_flows_that_are_made_up_take_no_memory() -> None:
    origin = Origin(Eid.parse(HERE), AgentConfig(), None, 1)
    first = origin.make(outgoing(), NOW).blocks[0]
    for lifetime_ms in range(1, FLOWS_MAX):
        origin.make(replace(outgoing(), lifetime_ms=lifetime_ms), NOW)
    assert origin.make(outgoing(), NOW).blocks[0] is first, "encoded once"
    assert len(origin._flows) == FLOWS_MAX
    origin.make(outgoing(priority=99), NOW)
    assert len(origin._flows) == 1


LONG_FORM = decode_eid(bytes.fromhex("820283000501"))[0]
"""The endpoint ipn:5.1 as one of three elements (RFC 9758 §6.1.2)."""

SENT_AS: dict[str, list[object]] = {
    "destination": [Eid.parse(NEXT + "app"), Eid.parse("ipn:5.1"), LONG_FORM],
    "payload": [b"", b"one"],
    "lifetime_ms": [1, 60_000],
    "service": ["app", "other"],
    "priority": [0, 1, 2],
    "report_to": [None, Eid.parse("ipn:5.1"), LONG_FORM],
    "report_flags": [0, REPORT_DELIVERY],
    "policy": [None, DataPolicy(), DataPolicy(audit=True)],
    "admin": [False, True],
    "acknowledge": [False, True],
}
CHANGES = st.sampled_from([(name, value) for name, values in SENT_AS.items() for value in values])


@example([("report_to", Eid.parse("ipn:5.1")), ("report_to", LONG_FORM)], True, 1)
@given(st.lists(CHANGES, max_size=20), st.booleans(), st.integers(0, 1 << 41))
def test_what_a_flow_has_in_common_is_nothing_else(
    changes: list[tuple[str, object]], trusted: bool, now_ms: int
) -> None:
    """Each bundle is as if it were the first that its node makes."""
    config = AgentConfig(trusted_clock=trusted)
    origin, one = Origin(Eid.parse(HERE), config, None, 1), outgoing()
    for count, (name, value) in enumerate(changes, 1):
        one = replace(one, **{name: value})  # type: ignore[arg-type]
        made = origin.make(one, now_ms)
        alone = Origin(Eid.parse(HERE), config, None, count).make(one, now_ms)
        assert made == alone
        assert encode_bundle(made) == encode_bundle(alone)


def test_sequence_numbers_are_reserved_in_steps() -> None:
    origin = Origin(Eid.parse(HERE), AgentConfig(), None, 100)
    assert origin.reserve(1) == 100 + SEQUENCE_RESERVE
    assert origin.reserve(SEQUENCE_RESERVE) is None
    assert origin.reserve(SEQUENCE_RESERVE + 1) == 100 + SEQUENCE_RESERVE + 1
    origin.make(outgoing(), NOW)
    assert origin.reserve(SEQUENCE_RESERVE) is None
    origin.make(outgoing(), NOW)
    assert origin.reserve(SEQUENCE_RESERVE) == 102 + SEQUENCE_RESERVE
    origin.unreserve()
    assert origin.reserve(1) == 102 + SEQUENCE_RESERVE


def test_a_payload_that_makes_too_large_a_bundle_is_refused() -> None:
    size = len(Harness().agent.send([outgoing()], NOW)[1][-1].encoded)  # type: ignore[union-attr]
    fits = Harness(config=AgentConfig(bundle_bytes_max=size))
    ids, ops = fits.agent.send([outgoing()], NOW)
    assert [str(one) for one in ids] == [f"{HERE}app@{NOW}.2"]
    assert fits.agent.counters["bundles_made"] == 1
    put = ops[-1]
    assert isinstance(ops[0], Write)
    assert (put.place, put.expires_ms, put.received_ms, put.required) == (  # type: ignore[union-attr]
        (Place.FORWARD, NOW + 60_000, NOW, True)
    )
    short = Harness(config=AgentConfig(bundle_bytes_max=size - 1))
    with pytest.raises(LocalError) as caught:
        short.agent.send([outgoing()], NOW)
    assert str(caught.value) == (
        f"a payload of 1 octets makes a bundle over bundle_bytes_max {size - 1}: send it as a file"
    )


def test_a_bundle_that_fits_no_contact_is_told_with_what_would() -> None:
    end = NOW + 1000
    harness = Harness(contacts=Plan([Contact(HERE, NEXT, NOW, end, 80_000)]))  # 10,000 octets
    put = harness.agent.receive(encode_bundle(bundle_for(NEXT + "app", bytes(20_000))), NOW).put
    assert put is not None
    harness.agent.committed([put], Committed([4]), NOW)
    assert harness.agent.next_event() == TooLarge(4, 9000)


# ---- what waits for applications ---------------------------------------------------------------


STEPS = st.one_of(
    st.tuples(
        st.sampled_from(["add", "add", "take", "back"]), st.sampled_from("ab"), st.integers(0, 3)
    ),
    st.tuples(st.just("die"), st.just("a"), st.integers(1, 12)),
)


@given(st.lists(STEPS, max_size=16))
@settings(max_examples=60)
def test_what_waits_for_a_service_goes_in_order(steps: list[tuple[str, str, int]]) -> None:
    alive: set[int] = set(range(1, 20))
    waiting = Waiting(alive)
    model: dict[str, list[int]] = {"a": [], "b": []}
    taken: dict[str, list[int]] = {"a": [], "b": []}
    for ref, (what, service, number) in enumerate(steps, 1):
        if what == "add":
            waiting.add(service, ref)
            model[service].append(ref)
        elif what == "die":
            alive.discard(number)
        elif what == "take":
            taken[service] = [one for one in model[service] if one in alive][:number]
            assert waiting.take(service, number) == taken[service]
            model[service] = [one for one in model[service] if one not in taken[service]]
        else:
            back, taken[service] = taken[service][:number], []
            waiting.put_back(service, back)
            model[service][:0] = [one for one in back if one in alive]
    for service in "ab":
        waiting.take(service, 100)
    assert waiting._queues == {}, "services are named by peers"


# ---- notes and reports -------------------------------------------------------------------------


@pytest.mark.parametrize("returned", [True, False])
@pytest.mark.parametrize("flags", [0, REPORT_DELIVERY])
def test_notes(returned: bool, flags: int) -> None:
    encoded = encode_bundle(bundle_for(FAR + "app", bytes(300), flags=flags))
    for made in (decode_bundle(encoded)[0], bundle_for(FAR + "app", bytes(300), flags=flags)):
        tag = note_of(made, encoded, returned=returned)
        assert bool(tag) == bool(returned or flags)
        assert is_returned(tag) == returned
        if tag:
            note = parse_note(tag)
            assert note.payload_length == 300
            assert note.primary.destination == made.primary.destination
            assert (note.primary.sequence, note.primary.flags) == (1, flags)


@pytest.mark.parametrize("rate", [0.5, 1.0, 5.0])
def test_reports_are_held_to_their_rate(rate: float) -> None:
    reporter = StatusReporter(AgentConfig(status_reports=True, status_reports_per_s=rate))
    primary = bundle_for(FAR, flags=REPORT_RECEPTION).primary

    def reports(now_ms: int) -> int:
        """How many of a hundred that are asked for."""
        return sum(len(reporter.reception(primary, 4, 0, now_ms)) for _ in range(100))

    burst = max(1, int(rate))
    assert reports(NOW) == burst
    assert reporter.suppressed == 100 - burst
    assert reports(NOW) == 0
    step_ms = int(1000 / rate)
    assert reports(NOW + step_ms - 1) == 0
    assert reports(NOW + step_ms) == 1
    assert reports(NOW + 10) == 0, "a clock that was set back gives nothing"
    assert reports(NOW + 100 * step_ms) == burst
    assert reporter.sent == 2 * burst + 1
    assert reporter.suppressed == 600 - reporter.sent


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("timed", [True, False])
def test_a_report_says_of_which_bundle(trusted: bool, timed: bool) -> None:
    config = AgentConfig(status_reports=True, trusted_clock=trusted)
    piece = fragment_bundle(
        bundle_for(FAR, bytes(1500), flags=REPORT_RECEPTION | (STATUS_TIME if timed else 0)), 700
    )[1]
    (out,) = StatusReporter(config).reception(piece.primary, 321, 0, NOW)
    assert (str(out.destination), out.lifetime_ms, out.service) == (
        "dtn://gs1/",
        REPORT_LIFETIME_MS,
        "",
    )
    assert out.lifetime_ms == 24 * 3_600_000
    record = decode_admin(out.payload)
    assert record == StatusReport(
        received=True,
        forwarded=False,
        delivered=False,
        deleted=False,
        time_ms=NOW if trusted and timed else None,
        reason=ReportReason.NO_INFORMATION,
        source=piece.primary.source,
        creation_ms=NOW - 1000,
        sequence=1,
        fragment_offset=piece.primary.fragment_offset,
        fragment_length=321,
    )


def test_counters_of_reports() -> None:
    harness = Harness(config=AgentConfig(status_reports=True, status_reports_per_s=1))
    for sequence in range(3):
        harness.arrive(bundle_for(FAR, flags=REPORT_RECEPTION, sequence=sequence))
    counters = harness.agent.counters
    assert (counters["reports_sent"], counters["reports_suppressed"]) == (1, 2)
    assert counters["bundles_received"] == 3
    assert not any(isinstance(op, Release) for op in harness.log)
