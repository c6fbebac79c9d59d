"""What an operator is told of a link: traces, counters, and errors of our own."""

from __future__ import annotations

from functools import partial

import pytest

from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import LocalError
from stack.core.train import single
from stack.engines.ltp import (
    BlockReceived,
    EngineUnknown,
    GreenReceived,
    LinkAlive,
    LinkStalled,
    PeerViolation,
    ReportHeld,
    SessionClosed,
)
from stack.engines.ltp.link import COUNTERS
from stack.wire.ltp import (
    CancelReason,
    DataSegment,
    Extension,
    ReportAck,
    ReportSegment,
    SessionId,
    encode_segment,
)
from tests.engines.ltp.lone import (
    BURST,
    INTERVAL,
    LOCAL,
    OWLT,
    REMOTE,
    THEIRS,
    Lone,
    ack,
    cancel,
    cancel_ack,
    green,
    red,
    report,
)


def sent_session(lone: Lone) -> SessionId:
    """The session of what leaves now."""
    found = {each.session for each in lone.said() if isinstance(each, DataSegment)}
    (session,) = found
    return session


def counted(lone: Lone) -> dict[str, int]:
    """The counters that are not 0."""
    counters = lone.engine.counters()
    assert tuple(counters) == COUNTERS
    assert all(lone.engine.count(name) == number for name, number in counters.items())
    return {name: number for name, number in counters.items() if number}


# ---- traces ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "smaller"), [(CancelReason.SYS_CNCLD, False), (CancelReason.RLEXC, True)]
)
def test_a_block_that_fails(reason: CancelReason, smaller: bool) -> None:
    lone = Lone()
    lone.submit(100_000, 1)
    session = sent_session(lone)
    assert session.engine == LOCAL
    lone.feed(cancel(session, by_sender=False, reason=reason))
    ids = {"engine": LOCAL, "number": session.number}
    told = [("ltp.export.failed", {**ids, "reason": reason, "keep_ms": 250})]
    told += [("ltp.export.smaller", {**ids, "block_bytes": 50_000})] * smaller
    assert lone.traces == told
    assert lone.engine.count("export_failed") == 1
    assert lone.engine.count("export_smaller") == smaller
    assert lone.engine.unit_bytes == 50_000 * smaller
    lone.wait(250 * MILLISECOND)
    lone.submit(100_000, 2)
    lone.feed(cancel(sent_session(lone), by_sender=False, reason=reason))
    assert lone.engine.count("export_failed") == 2
    assert lone.engine.count("export_smaller") == smaller, "it was cut before"


def test_blocks_made_smaller_twice_are_counted_twice() -> None:
    lone = Lone()
    for ref in (1, 2):
        lone.submit(100_000 // ref, ref)
        lone.feed(cancel(sent_session(lone), by_sender=False, reason=CancelReason.RLEXC))
    assert lone.engine.count("export_smaller") == 2


def test_a_block_that_is_cancelled_here() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=1, end=True))
    lone.engine.refuse(THEIRS, lone.now, CancelReason.UNREACH)
    fields = {"engine": REMOTE, "number": 500, "reason": CancelReason.UNREACH}
    assert lone.traces == [("ltp.import.cancelled", fields)]
    assert lone.engine.count("import_failed") == 1


def test_a_stall_and_its_end() -> None:
    lone = Lone(stall_after=3)
    lone.submit(3000)
    lone.said()
    for attempt in range(3):
        assert not lone.engine.stalled
        lone.wait(INTERVAL << attempt)
        assert len(lone.said()) == 1
    assert lone.engine.stalled
    assert lone.traces == [("ltp.stalled", {"peer": REMOTE})]
    assert lone.engine.count("stalls") == 1
    lone.feed(cancel_ack(SessionId(9, 9), to_sender=False))
    assert not lone.engine.stalled
    assert lone.traces[1:] == [("ltp.alive", {"peer": REMOTE})]
    events = [type(event) for event in lone.events()]
    assert events == [LinkStalled, LinkAlive]
    assert lone.engine.heard_at == lone.now


# ---- counters ----------------------------------------------------------------------------------


def test_what_is_counted_of_a_block_that_is_sent() -> None:
    lone = Lone()
    assert counted(lone) == {}
    lone.submit(10_000, 1)
    first = [each for each in lone.said() if isinstance(each, DataSegment)]
    last = first[-1]
    session = last.session
    lone.feed(report(session, 5, last.checkpoint_serial, 0, 10_000, (0, 2000), (3000, 10_000)))
    again = [each for each in lone.said() if isinstance(each, DataSegment)]
    assert sum(len(each.data) for each in again) == 1000
    lone.wait(INTERVAL)
    assert [type(each) for each in lone.said()] == [DataSegment]
    lone.feed(report(session, 6, again[-1].checkpoint_serial, 0, 10_000, (0, 10_000)))
    lone.said()
    assert counted(lone) == {
        "segments_received": 2,
        "data_bytes_sent": 10_000,
        "data_bytes_resent": 1000 + len(again[-1].data),
        "reports_received": 2,
        "checkpoints_repeated": 1,
        "export_sessions": 1,
    }


def test_what_is_counted_of_a_block_that_comes() -> None:
    lone = Lone()
    lone.feed(red(0, b"abcd"), red(2, b"cdef"), red(8, b"ij", checkpoint=3, end=True))
    (held,) = lone.events()
    assert held == ReportHeld(THEIRS)
    lone.engine.report_noted(THEIRS)
    (partial,) = lone.said()
    lone.wait(INTERVAL)
    assert lone.said() == [partial]
    lone.feed(ack(partial), red(6, b"gh", checkpoint=4, report=partial.report_serial))
    (block,) = lone.events()
    assert isinstance(block, BlockReceived)
    lone.feed(red(0, b"abc"))
    lone.engine.accept(THEIRS)
    (final,) = lone.said()
    lone.feed(ack(final))
    assert lone.events() == [SessionClosed(THEIRS)]
    assert counted(lone) == {
        "segments_received": 7,
        "data_bytes_received": 10,
        "data_bytes_duplicate": 5,
        "reports_sent": 3,
        "reports_repeated": 1,
        "import_sessions": 1,
    }


def test_what_is_refused_is_counted_and_not_reported() -> None:
    lone = Lone(gaps_max=2)
    lone.feed(red(0, b"x" * 100), red(200, b"x" * 100))
    lone.feed(red(400, b"x" * 100, checkpoint=1))
    assert lone.engine.count("import_refused") == 1
    assert lone.events() == [], "nothing is said of what was not taken"
    lone.feed(red(100, b"x" * 100, checkpoint=2))
    assert lone.events() == [ReportHeld(THEIRS)]
    small = Lone(import_bytes_max=0)
    small.feed(red(0, b"x", checkpoint=1))
    assert (counted(small), small.events()) == (
        {"segments_received": 1, "import_refused": 1},
        [],
    )


def test_green_octets_that_are_dropped_are_counted() -> None:
    lone = Lone(green_bytes_max=5)
    lone.feed(green(0, b"abc"), green(3, b"de"), green(5, b"fgh"))
    assert lone.engine.count("green_bytes_dropped") == 3
    assert lone.events() == [
        GreenReceived(THEIRS, 1, 0, b"abc", False),
        GreenReceived(THEIRS, 1, 3, b"de", False),
    ]
    lone.feed(green(5, b"fgh", end=True))
    assert lone.events() == [GreenReceived(THEIRS, 1, 5, b"fgh", True)]


def test_strangers_and_octets_that_are_no_segment_are_counted() -> None:
    lone = Lone()
    for number in (1, 2):
        lone.feed(red(0, b"x", session=SessionId(7, number)))
    lone.feed(report(SessionId(8, 1), 1, 0, 0, 5, (0, 5)))
    lone.feed_octets(b"\xff")
    assert lone.engine.heard_at == -1, "nothing of it is the peer's"
    assert counted(lone) == {
        "segments_received": 3,
        "segments_refused": 3,
        "segments_malformed": 1,
        "violations": 1,
    }
    told = [event for event in lone.events() if not isinstance(event, PeerViolation)]
    assert told == [EngineUnknown(7, REMOTE, False), EngineUnknown(8, LOCAL, True)]


# ---- errors of our own -------------------------------------------------------------------------


def test_what_cannot_be_sent() -> None:
    lone = Lone(block_bytes=1000, block_bytes_max=2000, queue_bytes=1500)

    def refused(size: int, red_bytes: int = -1) -> str:
        work = partial(lone.engine.submit, bytes(size), 1, lone.now)
        if red_bytes >= 0:
            parts = [bytes(size)]
            work = partial(lone.engine.submit_block, parts, [1], red_bytes, 1)
        with pytest.raises(LocalError) as caught:
            work()
        return str(caught.value)

    assert refused(0) == "a block of 0 octets cannot be sent"
    assert refused(2001) == "a block of 2001 octets cannot be sent"
    assert refused(10, 11) == "red part of 11 octets in a block of 10"
    assert refused(0, 0) == "a block of 0 octets cannot be sent"
    assert lone.engine.room() == 1500
    lone.submit(1499)
    assert lone.engine.room() == 1
    lone.submit(2000)
    assert lone.engine.room() == 0
    assert refused(1) == "no room in the LTP engine; ask `room` before submitting"


# ---- when ------------------------------------------------------------------------------------


def test_what_is_ready_leaves_at_once() -> None:
    lone = Lone(train_bytes=1400)
    assert lone.engine.next_deadline() is None
    lone.submit(3000)
    assert lone.engine.next_deadline() == 0
    lone.link(tx_up=False)
    assert lone.engine.next_deadline() is None
    lone.link(rate_bps=8e6)  # an octet a microsecond
    assert lone.engine.next_deadline() is not None
    lone.now = SECOND
    assert (lone.engine.next_deadline() or 0) <= lone.now
    first = lone.said()
    assert first
    while lone.engine.count("data_bytes_sent") < 3000:
        deadline = lone.engine.next_deadline()
        assert deadline is not None
        assert deadline > lone.now, "it was all that the burst allows"
        lone.now = deadline
        assert lone.said()
    lone.feed(cancel(SessionId(REMOTE, 1), by_sender=True))
    lone.link()
    assert lone.engine.next_deadline() == 0, "an acknowledgement waits"


def test_intervals_double_up_to_a_bound() -> None:
    lone = Lone(backoff_ns_max=SECOND)
    link = lone.engine._link
    assert INTERVAL == 2 * OWLT + 150 * MILLISECOND + BURST
    assert [link.interval(n) for n in range(5)] == [
        INTERVAL,
        2 * INTERVAL,
        4 * INTERVAL,
        SECOND,
        SECOND,
    ]
    assert link.interval(10**6) == SECOND
    short = Lone(backoff_ns_max=1).engine._link
    assert short.interval(0) == short.interval(9) == INTERVAL, "never below one round trip"


def test_extensions_do_not_keep_a_session_from_the_fast_path() -> None:
    lone = Lone()
    with_extension = encode_segment(
        DataSegment(
            session=THEIRS,
            kind=red(0, b"").kind,
            client_service=1,
            offset=0,
            data=b"abc",
            header=(Extension(0x55, b"?"),),
        )
    )
    lone.engine.receive(single(with_extension), lone.now)
    table = lone.engine._receiver.table
    (session,) = table
    assert list(table.by_prefix.values()) == [session]
    plain = encode_segment(red(3, b"defg"))
    assert plain.startswith(session.prefix)
    assert lone.engine._receiver.take_run(memoryview(plain), 0, len(plain), lone.now) == len(plain)
    assert list(session.red.ranges) == [(0, 7)]


def test_acknowledgements_are_of_what_they_acknowledge() -> None:
    lone = Lone()
    lone.submit(100)
    (segment,) = lone.said()
    lone.feed(report(segment.session, 77, segment.checkpoint_serial, 0, 100, (0, 100)))
    assert lone.said() == [ReportAck(session=segment.session, report_serial=77)]
    lone.feed(cancel(THEIRS, by_sender=True), cancel(segment.session, by_sender=False))
    assert lone.said() == [
        cancel_ack(THEIRS, to_sender=True),
        cancel_ack(segment.session, to_sender=False),
    ]
    assert not any(isinstance(each, ReportSegment) for each in lone.said())


@pytest.mark.parametrize(("follow", "taken"), [(1, 1), (2, 3), (9, 10), (63, 64)])
@pytest.mark.parametrize("odd", [False, True])
def test_a_run_of_segments_is_taken_at_once(follow: int, taken: int, odd: bool) -> None:
    """Up to where the run ends; below three segments one by one."""
    lone = Lone()
    lone.feed(red(20_000, b"x" * 100))
    offsets = [20_100 + 100 * n for n in range(follow + 1)]
    segments = [encode_segment(red(at, b"y" * 100)) for at in offsets]
    size = len(segments[0])
    if odd:
        segments[-1] = encode_segment(red(60_000, b"z" * 100))
        taken = taken - 1 if taken > 1 else 1
    view = memoryview(b"".join(segments))
    receiver = lone.engine._receiver
    assert receiver.take_run(view, 0, size, lone.now) == taken * size
    (session,) = receiver.table
    assert list(session.red.ranges) == [(20_000, 20_100 + 100 * taken)]
    assert lone.engine.count("segments_received") == 1 + taken
