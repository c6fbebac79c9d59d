"""Every limit of an LTP engine at its very value: one less does nothing, one more does."""

from __future__ import annotations

import pytest

from stack.core.clock import SECOND
from stack.engines.ltp import BlockReceived, PeerViolation, ReportHeld
from stack.engines.ltp.config import DAY_NS
from stack.engines.ltp.import_session import ANSWERS_KEPT, CLAIMS_FREE
from stack.engines.ltp.link import LinkState
from stack.wire.ltp import (
    CancelReason,
    CancelSegment,
    DataSegment,
    ReportSegment,
    SegmentType,
    SessionId,
)
from tests.engines.ltp.lone import (
    REMOTE,
    Lone,
    ack,
    claimed,
    green,
    red,
    report,
)


def cancelled(lone: Lone) -> list[int]:
    """The reasons of the cancellations that leave now."""
    return [each.reason for each in lone.said() if isinstance(each, CancelSegment)]


def noted(lone: Lone) -> None:
    """The driver notes what it is asked to."""
    for event in lone.events():
        if isinstance(event, ReportHeld):
            lone.engine.report_noted(event.session)


# ---- what a sender takes of reports ------------------------------------------------------------


def sending(size: int) -> tuple[Lone, SessionId]:
    lone = Lone()
    lone.submit(size)
    (session,) = {each.session for each in lone.said() if isinstance(each, DataSegment)}
    return lone, session


def test_reports_of_one_session() -> None:
    lone, session = sending(1000)  # one segment explains one report, and 64 are free
    for serial in range(1, 66):
        lone.feed(report(session, serial, 0, 0, 10, (0, 5)))
        assert cancelled(lone) == []
    lone.feed(report(session, 65, 0, 0, 10, (0, 5)))
    assert cancelled(lone) == [], "it was seen before"
    assert lone.events() == []
    lone.feed(report(session, 66, 0, 0, 10, (0, 5)))
    assert cancelled(lone) == [CancelReason.RXMTCYCEXC]
    why = PeerViolation("reports beyond what the block explains", "RFC 5326 §6.13")
    assert lone.events() == [why]


@pytest.mark.parametrize(("spans", "reasons"), [(68, []), (69, [CancelReason.RXMTCYCEXC])])
def test_pieces_in_which_a_block_is_claimed(spans: int, reasons: list[int]) -> None:
    lone, session = sending(1000)
    claims = [(2 * n, 2 * n + 1) for n in range(spans)]
    lone.feed(report(session, 1, 0, 0, 1000, *claims))
    assert cancelled(lone) == reasons


def test_a_report_reaches_as_far_as_was_sent() -> None:
    for upper, violations in ((1000, 0), (1001, 1)):
        lone, session = sending(1000)
        lone.feed(report(session, 1, 0, 0, upper, (0, 5)))
        assert lone.engine.count("violations") == violations


def test_checkpoints_that_were_sent_can_be_answered() -> None:
    for off, violations in ((-1, 1), (0, 0), (1, 1)):
        lone = Lone()
        lone.submit(1000)
        (segment,) = lone.said()
        serial = segment.checkpoint_serial + off
        lone.feed(report(segment.session, 1, serial, 0, 1000, (0, 5)))
        assert lone.engine.count("violations") == violations


# ---- what a receiver keeps ---------------------------------------------------------------------


def test_idle_sessions_make_room_when_they_have_been_idle_for_long_enough() -> None:
    for idle, refused in ((10 * SECOND - 1, 1), (10 * SECOND, 0)):
        lone = Lone(import_sessions_max=1)
        lone.feed(red(0, b"abc"))
        lone.now += idle
        lone.feed(red(0, b"abc", session=SessionId(REMOTE, 1)))
        assert lone.engine.count("import_refused") == refused
        assert cancelled(lone) == []


def test_what_is_taken_ahead() -> None:
    """A second and a burst of the rate, or a block if that is more; without a rate two windows."""
    lone = Lone(block_bytes=10_000, burst_ns=SECOND // 2)
    lone.link(rate_bps=80_000)
    assert lone.engine.room() == 15_000
    lone.submit(4000, 1)
    lone.submit(4000, 2)
    assert lone.engine.room() == 7000
    left = sum(len(segment.data) for segment in lone.said())
    assert 0 < left < 8000
    assert lone.engine.room() == 7000 + left - 2  # two heads of capsules have been put before them
    lone.link(rate_bps=800)
    assert lone.engine.room() == max(0, 2500 - 8000 + left - 2), "a quarter of a block"
    lone.link()
    assert lone.engine.room() == 2 * lone.config.window_bytes - 8002 + left


@pytest.mark.parametrize(
    ("rate_bps", "units"),
    [(800, 2), (8 * 4000, 5), (8 * 6000, 7), (8 * 9000, 8), (8 * 20_000, 8), (None, 8)],
)
def test_a_slow_link_has_smaller_blocks(rate_bps: float | None, units: int) -> None:
    """Those that it carries in a second, a burst included, but not below the quarter."""
    lone = Lone(block_bytes=8100, burst_ns=SECOND // 100)
    lone.link(rate_bps=rate_bps)
    for ref in range(20):
        lone.submit(1000, ref)
    ends: list[int] = []
    while not ends:
        ends = [
            segment.offset + len(segment.data)
            for segment in lone.said()
            if isinstance(segment, DataSegment) and segment.kind is SegmentType.RED_END_BLOCK
        ]
        lone.wait(SECOND // 10)
    assert ends[0] == 1001 * units


def test_the_largest_block() -> None:
    for size, violations in ((1000, 0), (1001, 1)):
        lone = Lone(block_bytes=1000, block_bytes_max=1000)
        lone.feed(red(0, bytes(size), checkpoint=1, end=True))
        assert lone.engine.count("violations") == violations
        blocks = [event for event in lone.events() if isinstance(event, BlockReceived)]
        assert [len(block.data) for block in blocks] == [1000] * (1 - violations)


def test_closed_sessions_are_remembered() -> None:
    lone = Lone(closed_max=2)
    for number in range(3):
        session = SessionId(REMOTE, number)
        lone.feed(red(0, b"abc", checkpoint=7, end=True, session=session))
        lone.engine.accept(session)
        lone.feed(*(ack(segment) for segment in lone.said()))
    lone.events()
    for number, remembered in ((1, True), (2, True), (0, False)):
        session = SessionId(REMOTE, number)
        lone.feed(red(0, b"abc", checkpoint=8, end=True, session=session))
        said = lone.said()
        assert [claimed(each) for each in said] == [[(0, 3)]] * remembered
        assert bool(lone.events()) == (not remembered), "it is a new one"


def test_answered_checkpoints_are_remembered() -> None:
    lone = Lone(reports_max=1000)
    lone.feed(red(0, b"ab"))
    first: ReportSegment | None = None
    for serial in range(1, ANSWERS_KEPT + 1):
        lone.feed(red(0, b"ab", checkpoint=serial))
        noted(lone)
        (told,) = lone.said()
        first = first or told
        lone.feed(ack(told))
    lone.feed(red(0, b"ab", checkpoint=1))
    assert lone.said() == [first], "the same again"
    lone.feed(red(0, b"ab", checkpoint=1000))
    lone.said()
    lone.feed(red(0, b"ab", checkpoint=1))
    assert lone.said() != [first], "forgotten, and answered anew"


@pytest.mark.parametrize(
    ("segment_bytes", "claims_max", "claims"),
    [(128, 128, 6), (133, 128, 6), (134, 128, 7), (1400, 128, 128), (1400, 5, 5)],
)
def test_claims_of_one_report(segment_bytes: int, claims_max: int, claims: int) -> None:
    lone = Lone(segment_bytes=segment_bytes, claims_max=claims_max)
    lone.feed(*(red(3 * n, b"xy") for n in range(claims + 1)))
    lone.feed(red(3 * claims + 3, b"x", checkpoint=1))
    noted(lone)
    assert [len(each.claims) for each in lone.said()] == [claims, 2]


def test_what_may_be_claimed_of_little() -> None:
    lone = Lone(reports_max=1 << 20)
    lone.feed(red(0, b"x" * 31, checkpoint=1))
    noted(lone)
    for _ in range(CLAIMS_FREE):
        lone.said()
        lone.feed(red(0, b"x" * 31, checkpoint=1))
    assert cancelled(lone) == [], "2,048 are free, and the first was counted"
    lone.feed(red(0, b"x" * 31, checkpoint=1))
    assert cancelled(lone) == [CancelReason.RLEXC]


def test_a_green_session_ends_when_it_was_idle() -> None:
    lone = Lone()
    lone.feed(green(0, b"a"))
    lone.now = 9 * SECOND
    lone.feed(green(1, b"b"))
    lone.wait(10 * SECOND - 1)
    assert len(lone.engine._receiver.table) == 1
    lone.wait(1)
    assert len(lone.engine._receiver.table) == 0
    assert lone.engine.next_deadline() is None


def test_a_red_session_ends_after_its_lifetime() -> None:
    for first in (red(0, b"a"), green(5, b"a")):
        lone = Lone()
        lone.feed(first)
        lone.now = SECOND
        lone.feed(red(0, b"ab"))
        begun = SECOND if first.kind > 3 else 0
        lone.now = begun + DAY_NS - 1
        lone.engine.handle_deadline(lone.now)
        assert cancelled(lone) == []
        lone.now += 1
        lone.engine.handle_deadline(lone.now)
        assert cancelled(lone) == [CancelReason.SYS_CNCLD]


# ---- a link that is silent ---------------------------------------------------------------------


def link(**config: int) -> LinkState:
    return Lone(**config).engine._link


def test_who_was_heard_since_counts() -> None:
    for heard, counts in ((99, False), (100, False), (101, True)):
        one = link()
        one.heard(heard)
        assert one.may_repeat(100, 200) == (True, counts)


def test_a_link_stalls_after_so_many_and_is_then_probed() -> None:
    one = link(stall_after=3)
    assert [one.may_repeat(0, 10) for _ in range(2)] == [(True, False)] * 2
    assert not one.stalled
    assert one.may_repeat(0, 10) == (True, False), "the first probe"
    assert one.stalled
    wait = one.interval(1)
    assert one.may_repeat(0, 10 + wait - 1) == (False, False)
    assert one.probe_wait(10 + wait - 1) == 1
    assert one.probe_wait(10) == wait + 1, "the next in turn"
    assert one.may_repeat(0, 10 + wait) == (True, False)
    assert one.probe_wait(10 + wait) == one.interval(2)
    assert one.probe_wait(1 << 60) == 2
    assert one.heard(50)
    assert not one.heard(51)
    assert [one.may_repeat(60, 70) for _ in range(2)] == [(True, False)] * 2
    assert not one.stalled, "it is counted anew"


def test_a_new_contact_begins_without_prejudice() -> None:
    for before, after, ends in (
        ((True, True), (True, True), False),
        ((True, False), (True, True), True),
        ((False, True), (True, True), True),
        ((True, True), (False, True), False),
        ((True, True), (True, False), False),
    ):
        one = link(stall_after=1)
        one.cue(0, *before, None, 0)
        one.may_repeat(0, 10)
        assert one.stalled
        assert one.cue(20, *after, None, 0) == ends
        assert one.stalled == (not ends)
