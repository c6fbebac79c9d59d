"""A peer that says anything at all: the engine neither raises nor grows, and its timers end."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.strategies import mutated
from interop.strategies.ltp import DATA_KINDS, segments
from stack.core.clock import MILLISECOND, SECOND
from stack.core.train import Train
from stack.engines.ltp import BlockReceived, EngineUnknown, LtpEvent, ReportHeld
from stack.wire.ltp import (
    CancelAck,
    CancelReason,
    CancelSegment,
    Claim,
    DataSegment,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
    encode_segment,
)
from tests.engines.ltp.lone import LOCAL, REMOTE, Lone, red

OFFSETS = st.one_of(st.integers(0, 40), st.integers(0, 6000), st.integers(0, 1 << 62))
SERIALS = st.integers(1, 4)

BOUNDS = {
    "import_sessions_max": 4,
    "import_bytes_max": 300_000,
    "reports_max": 10,
    "closed_max": 3,
    "gaps_max": 8,
    "acks_max": 10,
    "green_bytes_max": 500,
    "violations_max": 5,
    "block_bytes": 3000,
    "segment_bytes": 200,
    "session_lifetime_ns": 600 * SECOND,
}


@st.composite
def plausible(draw: st.DrawFn, ours: list[tuple[SessionId, int]]) -> Segment:
    """A segment about sessions that exist, or nearly; `ours`: our sessions and checkpoints."""
    theirs = SessionId(REMOTE, draw(st.integers(0, 5)))
    mine, checkpoint = draw(st.sampled_from(ours))
    match draw(st.integers(0, 5)):
        case 0 | 1:
            kind = draw(st.sampled_from(DATA_KINDS))
            is_checkpoint = SegmentType.RED < kind < SegmentType.GREEN
            return DataSegment(
                session=theirs,
                kind=kind,
                client_service=draw(st.sampled_from([1, 1, 1, 2])),
                offset=draw(OFFSETS),
                data=draw(st.binary(max_size=60)),
                checkpoint_serial=draw(SERIALS) if is_checkpoint else 0,
                report_serial=draw(st.integers(0, 3)) if is_checkpoint else 0,
            )
        case 2:
            lower, scope = draw(OFFSETS), draw(st.integers(0, 6000))
            start = draw(st.integers(0, scope))
            claims = (Claim(start, scope - start),) if start < scope else ()
            return ReportSegment(
                session=mine,
                report_serial=draw(st.integers(1, 20)),
                checkpoint_serial=draw(st.sampled_from([0, 1, checkpoint, checkpoint + 1])),
                lower=lower,
                upper=lower + scope,
                claims=claims,
            )
        case 3:
            return ReportAck(session=theirs, report_serial=draw(st.integers(0, 1 << 21)))
        case 4:
            by_sender = draw(st.booleans())
            session = theirs if by_sender else mine
            return CancelSegment(session=session, by_sender=by_sender, reason=draw(SERIALS))
        case _:
            to_sender = draw(st.booleans())
            return CancelAck(session=mine if to_sender else theirs, to_sender=to_sender)


def check_bounds(lone: Lone) -> None:
    sender, receiver = lone.engine._sender, lone.engine._receiver
    table = receiver.table
    assert len(table) <= BOUNDS["import_sessions_max"]
    assert table.allocated == sum(session.red.allocated for session in table)
    assert len(table._closed) <= BOUNDS["closed_max"]
    for session in table:
        assert len(session.reports) <= 2 * BOUNDS["reports_max"]
        assert session.red.ranges.span_count <= BOUNDS["gaps_max"] + 1
    for export in sender._table.sessions.values():
        assert len(export.reports_seen) <= BOUNDS["reports_max"]
    assert len(lone.engine._link._control) < 200
    assert sender._table.in_flight >= 0


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_conversation_is_survived(data: st.DataObject) -> None:
    lone = Lone(**BOUNDS)
    for ref in range(2):
        lone.submit(3000, ref)
    sent = [segment for segment in lone.said() if segment.is_checkpoint]
    ours = [(segment.session, segment.checkpoint_serial) for segment in sent]
    held: list[LtpEvent] = []
    for _ in range(data.draw(st.integers(1, 40))):
        match data.draw(st.integers(0, 7)):
            case 0:
                lone.feed_octets(data.draw(st.binary(min_size=1, max_size=60)), 50)
            case 1:
                octets = plausible(ours).map(encode_segment)
                lone.feed_octets(data.draw(mutated(octets)) or b"\x00")
            case 2:
                lone.feed(data.draw(segments()))
            case 3:
                lone.now += data.draw(st.sampled_from([MILLISECOND, SECOND, 20 * SECOND]))
                lone.engine.handle_deadline(lone.now)
            case 4 if held:
                event = held.pop(data.draw(st.integers(0, len(held) - 1)))
                if isinstance(event, ReportHeld):
                    lone.engine.report_noted(event.session)
                elif isinstance(event, BlockReceived) and data.draw(st.booleans()):
                    lone.engine.accept(event.session)
                elif isinstance(event, BlockReceived):
                    lone.engine.refuse(event.session, lone.now)
            case _:
                lone.feed(data.draw(plausible(ours)))
        held += lone.events()
        for train in lone.trains():
            assert train.size <= BOUNDS["segment_bytes"]
        check_bounds(lone)
    # Left alone, it comes to rest: every session ends, every timer stops.
    for _ in range(3000):
        deadline = lone.engine.next_deadline()
        if deadline is None:
            break
        lone.now = max(lone.now, deadline)
        lone.engine.handle_deadline(lone.now)
        lone.trains()
        lone.events()
    assert lone.engine.next_deadline() is None
    assert lone.now < 3 * BOUNDS["session_lifetime_ns"]
    assert lone.engine.held_bytes == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(1, 40)),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 120),
    st.data(),
)
def test_trains_say_the_same_as_single_datagrams(
    pieces: list[tuple[int, int, int]], size: int, data: st.DataObject
) -> None:
    """The fast path over a train and the general decoder agree about every octet."""
    datagrams = [
        encode_segment(
            DataSegment(
                session=SessionId(REMOTE, number),
                kind=SegmentType.RED,
                client_service=1,
                offset=at * 20,
                data=bytes((number * 50 + at,)) * data.draw(st.sampled_from([20, 20, length])),
            )
        )
        for number, at, length in pieces
    ]
    together, apart = Lone(), Lone()
    batch: list[bytes] = []
    for datagram in [*datagrams, b""]:
        if batch and (len(datagram) != len(batch[0]) or len(batch) == size):
            together.engine.receive(Train(b"".join(batch), len(batch[0])), 0)
            batch = []
        if datagram:
            batch.append(datagram)
            apart.feed_octets(datagram)
    for one, other in zip(
        together.engine._receiver.table, apart.engine._receiver.table, strict=True
    ):
        assert one.id == other.id
        assert one.red.ranges == other.red.ranges
        for start, stop in one.red.ranges:
            assert (one.red._buffer[start:stop] == other.red._buffer[start:stop]).all()
    counted, expected = together.engine.counters(), apart.engine.counters()
    assert counted["segments_received"] == expected["segments_received"]
    assert counted["data_bytes_duplicate"] == expected["data_bytes_duplicate"]


def test_both_sides_of_the_same_engine_id_are_kept_apart() -> None:
    lone = Lone()
    lone.submit(10)
    (segment,) = lone.said()
    assert segment.session.engine == LOCAL
    lone.feed(segment)  # our own segment, reflected
    assert lone.events() == [EngineUnknown(LOCAL, expected=REMOTE, ours=False)]
    assert lone.engine.counters()["segments_refused"] == 1


def test_foreign_engine_ids_are_told_once_each_and_bounded() -> None:
    lone = Lone()
    reason = CancelReason.USR_CNCLD
    for engine in [*range(10, 60), *range(10, 60)]:
        lone.feed(CancelSegment(session=SessionId(engine, 1), reason=reason, by_sender=True))
        lone.feed(CancelSegment(session=SessionId(engine, 1), reason=reason, by_sender=False))
    events = lone.events()
    assert EngineUnknown(10, expected=REMOTE, ours=False) in events
    assert EngineUnknown(10, expected=LOCAL, ours=True) in events
    assert len(events) == len(set(events)) == 16
    assert lone.engine.counters()["segments_refused"] == 200
    assert lone.engine.heard_at == -1, "a stranger does not make a link heard"


@pytest.mark.slow
@pytest.mark.parametrize("gaps", [4000, 16_000])
def test_gaps_and_checkpoints_take_little_memory(gaps: int) -> None:
    """One octet in two of a block, then 60 checkpoints of a dozen octets: it was 78 MB, and 2.5 MB
    of reports in answer to 780 octets."""
    lone = Lone()
    octets = [encode_segment(red(at, b"x")) for at in range(0, 2 * gaps, 2)]
    octets += [
        encode_segment(red(2 * gaps + 1, b"y", checkpoint=serial)) for serial in range(1, 61)
    ]
    said = 0
    tracemalloc.start()
    try:
        for each in octets:
            lone.feed_octets(each)
            for event in lone.events():
                if isinstance(event, ReportHeld):
                    lone.engine.report_noted(event.session)
            said += sum(len(train.data) for train in lone.trains())
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()
    assert said < sum(map(len, octets))
