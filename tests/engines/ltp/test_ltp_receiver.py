"""The receiving side: blocks, reports, cancellations and their bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest

from stack.core.clock import MILLISECOND, SECOND
from stack.core.train import Train
from stack.engines.ltp import (
    BlockReceived,
    EngineUnknown,
    GreenReceived,
    LinkStalled,
    PeerViolation,
    ReportHeld,
    SessionClosed,
)
from stack.engines.ltp.config import DAY_NS
from stack.engines.ltp.states import ImportState
from stack.wire.ltp import (
    CancelAck,
    CancelReason,
    CancelSegment,
    DataSegment,
    Extension,
    ReportSegment,
    SegmentType,
    SessionId,
    encode_segment,
)
from tests.engines.ltp.lone import (
    INTERVAL,
    REMOTE,
    THEIRS,
    Lone,
    ack,
    cancel,
    cancel_ack,
    claimed,
    green,
    red,
)


def held_block(lone: Lone) -> BlockReceived:
    """The one event, a complete red part."""
    (event,) = lone.events()
    assert isinstance(event, BlockReceived)
    return event


def one_report(lone: Lone) -> ReportSegment:
    (segment,) = lone.said()
    assert isinstance(segment, ReportSegment)
    return segment


def violations(lone: Lone) -> list[str]:
    return [event.code for event in lone.events() if isinstance(event, PeerViolation)]


def note_all(lone: Lone) -> None:
    for event in lone.events():
        if isinstance(event, ReportHeld):
            lone.engine.report_noted(event.session)


# ------------------------------------------------------------------------------- acceptance


def test_a_complete_block_is_acknowledged_only_after_it_is_accepted() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc"), red(3, b"def", checkpoint=7, end=True))
    block = held_block(lone)
    assert (block.session, block.client_service, bytes(block.data)) == (THEIRS, 1, b"abcdef")
    lone.wait(DAY_NS // 2)
    assert lone.said() == []
    lone.engine.accept(THEIRS)
    segment = one_report(lone)
    assert (segment.checkpoint_serial, segment.lower, segment.upper) == (7, 0, 6)
    assert claimed(segment) == [(0, 6)]
    lone.feed(ack(segment))
    assert lone.events() == []
    assert lone.engine.next_deadline() is None


def test_accept_of_a_block_that_is_not_whole_or_accepted_already_does_nothing() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc"))
    lone.engine.accept(THEIRS)
    assert lone.said() == []
    lone.feed(red(3, b"def", checkpoint=7, end=True))
    lone.engine.accept(THEIRS)
    assert len(lone.said()) == 1
    lone.engine.accept(THEIRS)
    assert lone.said() == []


def test_a_block_is_handed_over_with_its_client_service() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=7, end=True, client_service=2))
    (event,) = lone.events()
    assert isinstance(event, BlockReceived)
    assert (event.session, event.client_service, bytes(event.data)) == (THEIRS, 2, b"abc")


def test_octets_of_blocks_add_up() -> None:
    lone = Lone()
    for number, data in enumerate((b"abc", b"defgh")):
        session = SessionId(REMOTE, 600 + number)
        lone.feed(red(0, data, checkpoint=7, end=True, session=session))
    assert lone.engine.count("data_bytes_received") == 8


def test_a_report_of_a_closed_session_waits_beside_one_of_another() -> None:
    """Reports are told apart by session and serial number: two of one session, each asked for by
    another checkpoint, both leave."""
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=7, end=True))
    lone.engine.accept(held_block(lone).session)
    lone.feed(ack(one_report(lone)))
    lone.feed(red(0, b"abc", checkpoint=8, end=True), red(0, b"abc", checkpoint=9, end=True))
    said = lone.said()
    assert [segment.checkpoint_serial for segment in said] == [8, 9]
    assert said[1].report_serial == said[0].report_serial + 1


def test_a_refused_block_is_cancelled_with_the_reason_given() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=7, end=True))
    lone.engine.refuse(held_block(lone).session, lone.now, CancelReason.UNREACH)
    assert lone.said() == [cancel(THEIRS, by_sender=False, reason=CancelReason.UNREACH)]
    lone.feed(cancel_ack(THEIRS, to_sender=False))
    # A late segment opens no ghost: it is told again that the session is over.
    lone.feed(red(0, b"abc", checkpoint=7, end=True))
    assert lone.said() == [cancel(THEIRS, by_sender=False, reason=CancelReason.UNREACH)]
    assert lone.events() == []


def test_a_refusal_that_is_held_back_is_told_once_and_late() -> None:
    lone = Lone()
    block = red(0, b"abc", checkpoint=7, end=True)
    lone.feed(block)
    lone.engine.refuse(held_block(lone).session, lone.now, hold_ns=5 * SECOND)
    assert lone.said() == []
    for _ in range(4):
        lone.wait(SECOND)
        lone.feed(block)  # the sender asks again
        assert lone.said() == []
    lone.wait(SECOND)
    assert lone.said() == [cancel(THEIRS, by_sender=False, reason=CancelReason.SYS_CNCLD)]
    lone.feed(CancelAck(session=THEIRS, to_sender=False))
    assert lone.engine.next_deadline() is None


def test_a_sender_may_cancel_before_the_refusal_is_told() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=7, end=True))
    lone.engine.refuse(held_block(lone).session, lone.now, hold_ns=5 * SECOND)
    lone.feed(cancel(THEIRS, by_sender=True))
    assert [type(segment) for segment in lone.said()] == [CancelAck]
    lone.wait(60 * SECOND)
    assert lone.said() == []
    assert lone.engine.next_deadline() is None


def test_accept_and_refuse_of_a_session_that_is_gone_do_nothing() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=7, end=True))
    lone.feed(cancel(THEIRS, by_sender=True))
    lone.engine.accept(THEIRS)
    lone.engine.refuse(THEIRS, lone.now)
    lone.engine.report_noted(THEIRS)
    assert lone.said() == [cancel_ack(THEIRS, to_sender=True)]


def test_an_incomplete_block_is_reported_only_after_it_is_noted() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc"), red(6, b"ghi", checkpoint=7, end=True))
    assert lone.events() == [ReportHeld(THEIRS)]
    assert lone.said() == []
    lone.engine.report_noted(THEIRS)
    segment = one_report(lone)
    assert claimed(segment) == [(0, 3), (6, 9)]
    lone.feed(ack(segment))
    lone.feed(red(3, b"def", checkpoint=8, report=segment.report_serial))
    assert bytes(held_block(lone).data) == b"abcdefghi"
    lone.engine.accept(THEIRS)
    last = one_report(lone)
    assert claimed(last) == [(0, 9)]
    assert last.report_serial == segment.report_serial + 1
    lone.feed(ack(last))
    assert lone.events() == [SessionClosed(THEIRS)]


def test_a_block_that_is_whole_before_its_note_needs_none() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc"), red(6, b"ghi", checkpoint=7, end=True), red(3, b"def"))
    kinds = [type(event) for event in lone.events()]
    assert kinds == [ReportHeld, BlockReceived]
    lone.engine.report_noted(THEIRS)
    assert lone.said() == []
    lone.engine.accept(THEIRS)
    segment = one_report(lone)
    assert (segment.checkpoint_serial, claimed(segment)) == (7, [(0, 9)])


def test_the_note_may_come_after_the_acceptance_and_for_several_checkpoints() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=6), red(6, b"ghi", checkpoint=7, end=True))
    assert lone.events() == [ReportHeld(THEIRS)]
    lone.feed(red(3, b"def"))
    lone.engine.accept(THEIRS)
    assert lone.said()[0].checkpoint_serial == 7
    lone.engine.report_noted(THEIRS)
    assert lone.said() == []


# ---------------------------------------------------------------------------------- reports


def test_scopes_of_primary_and_secondary_reports() -> None:
    lone = Lone()
    lone.feed(red(0, b"aaaa"), red(8, b"cccc", checkpoint=1))
    note_all(lone)
    first = one_report(lone)
    assert (first.lower, first.upper) == (0, 12)
    lone.feed(red(16, b"eeee", checkpoint=2))
    second = one_report(lone)
    assert (second.lower, second.upper, claimed(second)) == (12, 20, [(16, 20)])
    # A checkpoint that answers a report is answered in that report's scope, up to itself.
    lone.feed(red(12, b"dddd", checkpoint=3, report=second.report_serial))
    third = one_report(lone)
    assert (third.lower, third.upper, claimed(third)) == (12, 16, [(12, 16)])
    # An unknown report cannot be answered more narrowly than from the start.
    lone.feed(red(24, b"ffff", checkpoint=4, report=999))
    fourth = one_report(lone)
    assert (fourth.lower, fourth.upper) == (0, 28)
    assert claimed(fourth) == [(0, 4), (8, 20), (24, 28)]
    serials = [each.report_serial for each in (first, second, third, fourth)]
    assert all(after == before + 1 for before, after in pairwise(serials))


def test_claims_beyond_a_segment_make_several_reports_without_a_hole_between() -> None:
    lone = Lone(claims_max=2)
    lone.feed(*(red(at, b"x") for at in range(0, 10, 2)))
    lone.feed(red(12, b"x", checkpoint=5, end=True))
    note_all(lone)
    reports = lone.said()
    assert [claimed(each) for each in reports] == [
        [(0, 1), (2, 3)],
        [(4, 5), (6, 7)],
        [(8, 9), (12, 13)],
    ]
    assert [(each.lower, each.upper) for each in reports] == [(0, 3), (3, 7), (7, 13)]
    assert {each.checkpoint_serial for each in reports} == {5}


def test_reports_never_exceed_a_segment() -> None:
    lone = Lone(segment_bytes=200)
    base = 1 << 24
    lone.feed(*(red(base + at, b"x") for at in range(0, 400, 2)))
    lone.feed(red(base + 400, b"x", checkpoint=5))
    note_all(lone)
    trains = lone.trains()
    assert sum(train.datagram_count for train in trains) > 5
    assert max(train.size for train in trains) <= 200


def test_an_unacknowledged_report_is_repeated_with_growing_intervals() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=7, end=True))
    lone.engine.accept(held_block(lone).session)
    first = one_report(lone)
    lone.wait(INTERVAL - 1)
    assert lone.said() == []
    lone.wait(1)
    assert lone.said() == [first]
    lone.feed(ack(first))
    lone.wait(DAY_NS)
    assert lone.said() == []


def test_a_report_that_is_about_to_leave_again_asks_for_an_answer() -> None:
    """Or the stall would end each time, and the report be repeated for ever without a pause."""
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=7, end=True))
    lone.engine.accept(held_block(lone).session)
    first = one_report(lone)
    for _ in range(20):
        lone.wait(6 * SECOND)
        assert lone.engine.asking
        assert lone.said() == [first]
    assert lone.engine.stalled


def test_an_acknowledged_report_is_not_repeated() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=7))
    note_all(lone)
    lone.feed(ack(one_report(lone)))
    lone.wait(60 * SECOND)
    assert lone.said() == []
    # Nor one that waits to be repeated when its acknowledgement comes.
    lone.feed(red(0, b"abc", checkpoint=8))
    segment = one_report(lone)
    lone.wait(INTERVAL)
    lone.feed(ack(segment))
    assert lone.said() == []


def test_report_serial_numbers_begin_at_random_and_count_up() -> None:
    lone = Lone()
    first = []
    for number in range(5):
        session = SessionId(REMOTE, number)
        serials = []
        for checkpoint in (5, 6, 7):
            lone.feed(red(checkpoint, b"a", checkpoint=checkpoint, session=session))
            note_all(lone)
            serials.append(one_report(lone).report_serial)
        assert [serial - serials[0] for serial in serials] == [0, 1, 2]
        assert serials[0] < 1 << 27
        first.append(serials[0])
    assert len(set(first)) == 5
    assert max(first) - min(first) > 1000


def test_a_repeated_checkpoint_has_all_its_reports_repeated() -> None:
    lone = Lone(claims_max=1)
    checkpoint = red(4, b"c", checkpoint=5, end=True)
    lone.feed(red(0, b"a"), red(2, b"b"), checkpoint)
    note_all(lone)
    reports = lone.said()
    assert len(reports) == 3
    lone.feed(ack(reports[0]), ack(reports[2]))
    lone.feed(checkpoint)
    assert lone.said() == reports


def test_report_repeats_are_limited_when_the_peer_is_alive() -> None:
    lone = Lone(report_limit=3)
    lone.feed(red(0, b"abc", checkpoint=7))
    note_all(lone)
    repeats = 0
    other = 600
    while True:
        said = lone.said()
        if any(isinstance(segment, CancelSegment) for segment in said):
            break
        repeats += len(said)
        assert repeats < 50
        lone.wait(MILLISECOND)
        lone.feed(red(0, b"z", session=SessionId(REMOTE, other)))  # it lives, on another session
        lone.wait(10 * SECOND)
    assert repeats == 1 + 3
    assert said == [cancel(THEIRS, by_sender=False, reason=CancelReason.RLEXC)]


def test_a_peer_heard_now_and_then_does_not_have_everything_said_again_for_ever() -> None:
    """Between two of its datagrams the link stalls; each ends the stall, and all that nobody
    acknowledges goes out again."""
    lone = Lone(report_limit=3, checkpoint_limit=3, stall_after=1)
    lone.feed(red(0, b"abc", checkpoint=7))
    note_all(lone)
    lone.submit(100)
    asked = told = 0
    for other in range(600, 620):
        for segment in lone.said():
            asked += isinstance(segment, DataSegment)
            told += isinstance(segment, ReportSegment)
        lone.wait(10 * SECOND)
        lone.feed(red(0, b"z", session=SessionId(REMOTE, other)))
    assert 1 < asked <= 2 * (1 + 3)  # a probe besides for each that counts
    assert 1 < told <= 2 * (1 + 3)


def test_silence_alone_never_cancels_and_is_only_probed() -> None:
    lone = Lone(report_limit=3, stall_after=4)
    for number in range(10):
        session = SessionId(REMOTE, number)
        lone.feed(red(0, b"abc", checkpoint=7, end=True, session=session))
        lone.engine.accept(session)
    lone.events()
    assert len(lone.said()) == 10
    said = []
    for _ in range(1000):
        lone.wait(SECOND)
        said += lone.said()
    assert lone.events() == [LinkStalled()]
    assert all(isinstance(segment, ReportSegment) for segment in said)
    assert 1000 / 6 < len(said) < 1000 / 4  # one every 5 s, the largest backoff
    probed = [segment.session.number for segment in said[-20:]]
    assert sorted(probed[:10]) == sorted(probed[10:]) == list(range(10)), "in turn"
    # When the peer is heard, everything goes out at once.
    lone.feed(cancel(SessionId(REMOTE, 99), by_sender=True))
    assert len([each for each in lone.said() if isinstance(each, ReportSegment)]) == 10


def test_an_accepted_session_is_closed_quietly_when_its_report_is_never_acknowledged() -> None:
    lone = Lone(report_limit=2)
    lone.feed(red(0, b"abc", checkpoint=7, end=True))
    lone.engine.accept(held_block(lone).session)
    for _ in range(5):
        lone.said()
        lone.wait(MILLISECOND)
        lone.feed(cancel(SessionId(REMOTE, 99), by_sender=True))
        lone.wait(10 * SECOND)
    lone.said()
    assert lone.engine.next_deadline() is None
    # The sender still does not know: it asks again, and is answered.
    lone.feed(red(0, b"abc", checkpoint=7, end=True))
    assert claimed(one_report(lone)) == [(0, 3)]
    lone.feed(red(0, b"abc"))
    assert lone.said() == []


def test_a_report_on_gaps_waits_for_stragglers() -> None:
    lone = Lone(report_delay_ns=5 * MILLISECOND)
    lone.feed(red(0, b"abc"), red(6, b"ghi", checkpoint=7, end=True))
    lone.wait(4 * MILLISECOND)
    assert lone.events() == []
    lone.feed(red(3, b"def"))
    assert bytes(held_block(lone).data) == b"abcdefghi"
    lone.feed(red(0, b"abc", checkpoint=1, session=SessionId(REMOTE, 501)))
    assert lone.events() == []
    lone.wait(5 * MILLISECOND)
    assert lone.events() == [ReportHeld(SessionId(REMOTE, 501))]


def test_a_lasting_hole_is_reported_unasked() -> None:
    lone = Lone(async_report_ns=5 * MILLISECOND)
    lone.feed(red(0, b"abc"), red(6, b"ghi"))
    assert lone.events() == []
    lone.wait(5 * MILLISECOND)
    note_all(lone)
    segment = one_report(lone)
    assert (segment.checkpoint_serial, segment.lower, segment.upper) == (0, 0, 9)
    assert claimed(segment) == [(0, 3), (6, 9)]
    # A hole that closes in time is not worth a word.
    other = SessionId(REMOTE, 501)
    lone.feed(red(0, b"abc", session=other), red(6, b"ghi", session=other))
    lone.feed(red(3, b"def", session=other))
    lone.wait(5 * MILLISECOND)
    assert lone.events() == []


def test_an_accepted_block_answers_every_checkpoint_with_all_of_it() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=6))
    note_all(lone)
    lone.feed(ack(one_report(lone)))
    last = red(3, b"def", checkpoint=7, end=True)
    lone.feed(last, last, red(0, b"abc", checkpoint=6))
    assert lone.said() == []  # held
    lone.engine.accept(THEIRS)
    final = one_report(lone)
    assert claimed(final) == [(0, 6)]
    assert final.checkpoint_serial == 7
    lone.feed(last)
    assert lone.said() == [final]
    for serial in (6, 8):
        lone.feed(red(0, b"abc", checkpoint=serial))
        again = one_report(lone)
        assert (again.checkpoint_serial, claimed(again)) == (serial, [(0, 6)])


def test_a_block_that_a_plain_segment_completes_is_reported_to_the_last_checkpoint() -> None:
    """A report without one would complete nothing at the sender."""
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=6), red(6, b"ghi", checkpoint=7, end=True))
    note_all(lone)
    assert [segment.checkpoint_serial for segment in lone.said()] == [6, 7]
    lone.feed(red(3, b"def"))
    lone.engine.accept(THEIRS)
    final = one_report(lone)
    assert (final.checkpoint_serial, claimed(final)) == (7, [(0, 9)])


def test_a_report_lost_before_the_block_was_whole_is_not_missed() -> None:
    lone = Lone(report_limit=1)
    lone.feed(red(0, b"abc"), red(6, b"ghi", checkpoint=7, end=True))
    note_all(lone)
    partial = one_report(lone)
    lone.feed(red(3, b"def"))
    for _ in range(5):  # held for long, with the partial report never acknowledged
        lone.wait(MILLISECOND)
        lone.feed(cancel(SessionId(REMOTE, 99), by_sender=True))
        lone.wait(10 * SECOND)
        assert [each for each in lone.said() if isinstance(each, CancelSegment)] == []
    lone.engine.accept(THEIRS)
    final = one_report(lone)
    assert claimed(final) == [(0, 9)]
    assert final.report_serial == partial.report_serial + 1


# ------------------------------------------------------------------------ green and coloured


def test_green_data_is_handed_on_as_it_comes() -> None:
    lone = Lone()
    lone.feed(green(0, b"abc"), green(6, b"ghi", end=True))
    assert lone.events() == [
        GreenReceived(THEIRS, 1, 0, b"abc", False),
        GreenReceived(THEIRS, 1, 6, b"ghi", True),
    ]
    lone.feed(green(3, b"def"))
    assert lone.events() == [GreenReceived(THEIRS, 1, 3, b"def", False)]
    assert lone.said() == []
    lone.wait(20 * SECOND)
    assert lone.engine.next_deadline() is None


def test_green_data_that_nobody_takes_is_bounded() -> None:
    lone = Lone(green_bytes_max=10)
    lone.feed(green(0, b"12345678"), green(8, b"12345678"))
    assert len(lone.events()) == 1
    assert lone.engine.counters()["green_bytes_dropped"] == 8
    lone.feed(green(16, b"12345678"))
    assert len(lone.events()) == 1


def test_a_block_of_both_colours() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=7, end=True, block_end=False))
    lone.engine.accept(held_block(lone).session)
    lone.feed(ack(one_report(lone)))
    lone.feed(green(3, b"def", end=True))
    assert lone.events() == [GreenReceived(THEIRS, 1, 3, b"def", True)]
    assert lone.engine.next_deadline() is None


def test_the_lost_end_of_a_green_part_does_not_keep_the_session() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=7, end=True, block_end=False))
    lone.engine.accept(held_block(lone).session)
    lone.feed(ack(one_report(lone)))
    lone.wait(11 * SECOND)
    assert lone.engine.next_deadline() is None


def test_the_green_part_may_come_first_and_the_red_part_late() -> None:
    lone = Lone()
    lone.feed(green(3, b"def", end=True))
    lone.wait(9 * SECOND)
    lone.feed(green(3, b"def"))
    lone.wait(9 * SECOND)
    lone.events()
    lone.feed(red(0, b"abc", checkpoint=7, end=True, block_end=False))
    lone.wait(60 * SECOND)
    lone.engine.accept(held_block(lone).session)
    lone.feed(ack(one_report(lone)))
    assert lone.engine.next_deadline() is None


@pytest.mark.parametrize(
    "segments",
    [
        [green(3, b"def"), red(3, b"abc")],
        [green(3, b"def"), red(2, b"xy")],
        [red(3, b"abc"), green(2, b"x")],
    ],
)
def test_miscoloured_segments_cancel_the_session(segments: list[DataSegment]) -> None:
    lone = Lone()
    lone.feed(*segments)
    assert lone.said() == [cancel(THEIRS, by_sender=False, reason=CancelReason.MISCOLORED)]
    assert violations(lone) == ["miscolored segment"]


# ----------------------------------------------------------------------------- cancellation


@pytest.mark.parametrize(
    "segment",
    [
        red(0, b"abc", client_service=3),
        red(0, b"abc", checkpoint=7, end=True, client_service=0),
        green(0, b"abc", client_service=3),
        green(0, b"abc", end=True, client_service=1 << 63),
    ],
)
def test_a_client_service_that_is_not_here_is_unreachable(segment: DataSegment) -> None:
    lone = Lone()
    unreachable = cancel(THEIRS, by_sender=False, reason=CancelReason.UNREACH)
    lone.feed(segment)
    assert lone.said() == [unreachable]
    lone.feed(segment)
    assert lone.said() == [unreachable]
    lone.feed(cancel_ack(THEIRS, to_sender=False))
    assert lone.engine.next_deadline() is None
    assert lone.events() == []


def test_a_cancellation_by_the_sender_is_always_acknowledged() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc"), cancel(THEIRS, by_sender=True))
    assert lone.said() == [cancel_ack(THEIRS, to_sender=True)]
    lone.feed(cancel(SessionId(REMOTE, 77), by_sender=True))
    assert lone.said() == [cancel_ack(SessionId(REMOTE, 77), to_sender=True)]
    lone.feed(red(3, b"def"))  # overtaken by the cancellation
    assert lone.said() == []
    assert lone.engine.next_deadline() is None


def test_whoever_cancelled_a_session_a_sender_that_still_asks_hears_of_it() -> None:
    """Else it would ask until its session grows too old: the cancellation was not its own."""
    lone = Lone()
    lone.feed(red(0, b"abc"), cancel(THEIRS, by_sender=True))
    lone.said()
    told = cancel(THEIRS, by_sender=False, reason=CancelReason.SYS_CNCLD)
    for _ in range(3):
        lone.feed(red(3, b"def", checkpoint=1, end=True))
        assert lone.said() == [told]
    assert lone.events() == []
    assert lone.engine.next_deadline() is None


def test_a_cancellation_after_the_block_was_accepted_does_not_unsay_it() -> None:
    lone = Lone()
    last = red(0, b"abc", checkpoint=7, end=True)
    lone.feed(last)
    lone.engine.accept(held_block(lone).session)
    assert claimed(one_report(lone)) == [(0, 3)]
    lone.feed(cancel(THEIRS, by_sender=True))
    lone.said()
    lone.feed(last)
    assert claimed(one_report(lone)) == [(0, 3)]


@pytest.mark.parametrize(
    ("before", "misfit"),
    [
        pytest.param([red(0, b"a")], red((1 << 30), b"x", checkpoint=1, end=True), id="too long"),
        pytest.param([], red((1 << 30), b"x", checkpoint=1, end=True), id="too long, alone"),
        pytest.param(
            [red(0, b"ab", checkpoint=1), red(4, b"ab", checkpoint=2, end=True)],
            red(8, b"c", checkpoint=3, end=True),
            id="beyond the end",
        ),
        pytest.param(
            [red(0, b"ab"), red(9, b"c")], red(4, b"ab", checkpoint=1, end=True), id="ends before"
        ),
        pytest.param(
            [red(0, b"a", client_service=2)],
            red(1, b"b", checkpoint=1, end=True),
            id="other client",
        ),
        pytest.param(
            [red(0, b"ab", checkpoint=1, end=True)], red(4, b"ab", checkpoint=2), id="whole already"
        ),
    ],
)
def test_a_checkpoint_that_contradicts_its_session_ends_it(
    before: list[DataSegment], misfit: DataSegment
) -> None:
    """The session can never be whole: its sender must hear of that, each time that it asks."""
    lone = Lone()
    lone.feed(*before)
    lone.said()
    told = cancel(THEIRS, by_sender=False, reason=CancelReason.SYS_CNCLD)
    for _ in range(3):
        lone.feed(misfit)
        assert lone.said() == [told]
    lone.feed(cancel_ack(THEIRS, to_sender=False))
    lone.feed(misfit)
    assert lone.said() == [told]
    assert not list(lone.engine._receiver.table)


def test_without_a_checkpoint_what_contradicts_a_session_is_only_dropped() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc"), red(1 << 30, b"x"), red(3, b"d", client_service=2))
    lone.feed(red(3, b"def", checkpoint=7, end=True))
    blocks = [event for event in lone.events() if isinstance(event, BlockReceived)]
    assert [bytes(block.data) for block in blocks] == [b"abcdef"]


def test_a_cancelled_session_keeps_nothing() -> None:
    """Neither buffer nor reports nor their timers (§6.19)."""
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=6), red(100_000, b"x", checkpoint=7))
    note_all(lone)
    assert len(lone.said()) == 2
    lone.feed(green(0, b"zzz"))  # miscoloured
    table = lone.engine._receiver.table
    assert table.allocated == 0
    (session,) = table
    assert session.reports == {}
    lone.said()
    lone.feed(cancel_ack(THEIRS, to_sender=False))
    assert len(table) == 0
    assert lone.engine.next_deadline() is None


def test_our_cancellation_is_repeated_until_acknowledged_or_given_up() -> None:
    lone = Lone(cancel_limit=3)
    lone.feed(red(0, b"abc", checkpoint=7, end=True))
    lone.engine.refuse(held_block(lone).session, lone.now)
    said = []
    for _ in range(20):
        said += lone.said()
        lone.wait(10 * SECOND)
    assert said == [cancel(THEIRS, by_sender=False, reason=CancelReason.SYS_CNCLD)] * 4
    assert lone.engine.next_deadline() is None


def test_the_acknowledgement_of_our_cancellation_stops_it() -> None:
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=7, end=True))
    lone.engine.refuse(held_block(lone).session, lone.now)
    assert lone.said() == [cancel(THEIRS, by_sender=False, reason=CancelReason.SYS_CNCLD)]
    lone.feed(CancelAck(session=THEIRS, to_sender=False))
    lone.wait(100 * SECOND)
    assert lone.said() == []
    assert lone.engine.next_deadline() is None


def test_after_a_restart_noted_sessions_begin_anew() -> None:
    lone = Lone()
    lone.engine.recover([THEIRS], lone.now)
    assert lone.said() == []
    told = [cancel(THEIRS, by_sender=False, reason=CancelReason.SYS_CNCLD)]
    lone.feed(red(3, b"def", checkpoint=4, end=True))
    assert lone.said() == told
    assert lone.events() == []
    for _ in range(100):  # given up, not closed: the peer may be away for hours
        lone.wait(10 * SECOND)
        lone.said()
    lone.feed(red(3, b"def", checkpoint=4, end=True))
    assert lone.said() == told
    lone.feed(cancel_ack(THEIRS, to_sender=False))
    assert lone.events() == [SessionClosed(THEIRS)]
    assert lone.engine.next_deadline() is None


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_lost_session_whose_sender_gave_up_is_closed(cancelled: bool) -> None:
    lone = Lone()
    lone.engine.recover([THEIRS], lone.now)
    if cancelled:
        lone.feed(cancel(THEIRS, by_sender=True))
        assert lone.said() == [cancel_ack(THEIRS, to_sender=True)]
    else:
        lone.wait(DAY_NS)
    assert lone.events() == [SessionClosed(THEIRS)]


@pytest.mark.parametrize("complete", [True, False])
def test_sessions_always_end(complete: bool) -> None:
    lone = Lone()
    lone.feed(red(0, b"abc", checkpoint=7, end=complete))
    lone.wait(DAY_NS)
    said = lone.said()
    assert said == [cancel(THEIRS, by_sender=False, reason=CancelReason.SYS_CNCLD)]
    for _ in range(30):
        lone.wait(10 * SECOND)
        lone.said()
    assert lone.engine.next_deadline() is None


# ------------------------------------------------------------------------------ hostile input


@pytest.mark.parametrize(
    ("code", "section", "segments"),
    [
        ("data beyond the largest block", "§3.2.1", [red((1 << 30), b"x")]),
        ("red data beyond the end of the red part", "§3.2.1",
         [red(0, b"ab", checkpoint=1, end=True), red(2, b"c")]),
        ("the red part cannot end here", "§3.2.1",
         [red(4, b"ab"), red(0, b"ab", checkpoint=1, end=True)]),
        ("the red part cannot end here", "§3.2.1",
         [red(4, b"ab", checkpoint=1, end=True), red(3, b"ab", checkpoint=2, end=True)]),
        ("the red part cannot end here", "§3.2.1", [red(0, b"", checkpoint=1, end=True)]),
        ("the red part cannot end here", "§3.2.1",
         [green(3, b"ab"), red(0, b"ab", checkpoint=1, end=True)]),
        ("data beyond the end of the block", "§3.2.1",
         [red(0, b"ab"), green(2, b"ab", end=True), green(4, b"c")]),
        ("data beyond the end of the block", "§3.2.1",
         [red(2, b"ab", checkpoint=1, end=True), green(4, b"c")]),
        ("the block cannot end here", "§3.2.1",
         [red(0, b"ab"), green(4, b"ab"), green(2, b"ab", end=True)]),
        ("the block cannot end here", "§3.2.1",
         [red(0, b"ab"), green(4, b"ab", end=True), green(2, b"ab", end=True)]),
        ("client service changes within a session", "§3.2.1",
         [red(0, b"a"), red(1, b"b", client_service=2)]),
        ("data differs from what came before", "§3.2.1", [red(0, b"abc"), red(1, b"XY")]),
        ("checkpoint serial number used twice", "§3.2.1",
         [red(0, b"ab", checkpoint=1), red(4, b"ab", checkpoint=1)]),
        ("miscolored segment", "§6.21", [green(0, b"ab"), red(0, b"abc")]),
        ("the block comes in crumbs", "§6.11", [red(at, b"x") for at in range(0, 8194, 2)]),
        ("more is asked than was sent", "§6.11",
         [red(at, b"x", checkpoint=1) for at in [0] * 2051]),
        ("too many checkpoints", "§6.11", [red(0, b"x", checkpoint=n) for n in range(1, 130)]),
    ],
)  # fmt: skip
def test_violations_are_named(code: str, section: str, segments: list[DataSegment]) -> None:
    lone = Lone()
    found = []
    for segment in segments:
        lone.feed(segment)
        for event in lone.events():
            if isinstance(event, ReportHeld):
                lone.engine.report_noted(event.session)
            elif isinstance(event, PeerViolation):
                found.append(event)
    assert found == [PeerViolation(code, f"RFC 5326 {section}")]
    assert lone.engine.count("violations") == 1


def test_a_serial_number_that_waits_for_its_answer_is_not_used_twice() -> None:
    lone = Lone()
    lone.feed(red(0, b"ab", checkpoint=1), red(4, b"ab", checkpoint=1), red(0, b"ab", checkpoint=1))
    assert violations(lone) == ["checkpoint serial number used twice"]


@pytest.mark.parametrize("ends", [False, True])
def test_a_block_whose_octets_contradict_each_other_is_sent_again(ends: bool) -> None:
    """Who can tell may be far away, and it is too late there."""
    lone = Lone()
    lone.feed(red(0, b"ab"), red(2, b"xd"), red(2, b"cd"))
    if ends:
        lone.feed(red(4, b"g", checkpoint=1, end=True))
    assert violations(lone) == ["data differs from what came before"]
    assert cancel(THEIRS, by_sender=False, reason=CancelReason.SYS_CNCLD) in lone.said()
    assert lone.engine._receiver.table.allocated == 0


def test_octets_that_come_again_as_they_were_contradict_nothing() -> None:
    lone = Lone()
    lone.feed(red(2, b"cd"), red(0, b"abcdef"), red(6, b"g", checkpoint=1, end=True))
    blocks = [event for event in lone.events() if isinstance(event, BlockReceived)]
    assert bytes(blocks[0].data) == b"abcdefg"


def test_absurd_offsets_take_no_memory() -> None:
    lone = Lone()
    for number in range(100):
        lone.feed(red(60_000_000 + number, b"x", session=SessionId(REMOTE, number)))
    assert lone.engine._receiver.table.allocated < 100 * 70_000


def test_the_number_of_gaps_is_bounded_and_they_can_still_be_filled() -> None:
    lone = Lone(gaps_max=3)
    x = b"x" * 100
    lone.feed(*(red(at, x) for at in range(0, 2000, 200)))
    (session,) = lone.engine._receiver.table
    assert list(session.red.ranges) == [(0, 100), (200, 300), (400, 500)]
    lone.feed(*(red(at, x) for at in range(100, 2000, 200)))
    lone.feed(*(red(at, x) for at in range(0, 2000, 200)))
    assert session.red.ranges.covers(0, 1100)


def test_a_block_that_comes_in_crumbs_is_cancelled() -> None:
    lone = Lone()
    lone.feed(*(red(at, b"x") for at in range(0, 20_000, 2)))
    assert lone.said() == [cancel(THEIRS, by_sender=False, reason=CancelReason.RLEXC)]
    assert lone.engine._receiver.table.allocated == 0


def test_what_is_said_of_a_block_is_bounded_by_what_came_of_it() -> None:
    """4,000 gaps of one octet, then checkpoints of one octet: neither reports nor memory grow."""
    lone = Lone(segment_bytes=64_000)
    lone.feed(*(red(at, b"x") for at in range(0, 8000, 2)))
    came, said, claims = 80_000, 0, 0
    for serial in range(1, 200):
        lone.feed(red(8001, b"y", checkpoint=serial))
        note_all(lone)
        for segment in lone.said():
            if isinstance(segment, CancelSegment):
                assert segment.reason == CancelReason.RLEXC
                break
            octets = len(encode_segment(segment))
            said, claims = said + octets, claims + len(segment.claims)
            lone.feed(ack(segment))
    assert claims < 2048 + 128 + 1024 + 8
    assert said < came / 4
    (session,) = lone.engine._receiver.table
    assert session.state is ImportState.CANCELLING


def test_one_checkpoint_costs_few_report_segments_whatever_came() -> None:
    lone = Lone(claims_max=10)
    lone.feed(*(red(at, b"x" * 60) for at in range(0, 60_000, 100)))
    lone.feed(red(60_000, b"x", checkpoint=7, end=True))
    note_all(lone)
    reports = lone.said()
    assert len(reports) == 8
    # The first gaps are told, and the scope is the whole of it: what is not claimed comes again.
    assert [each.lower for each in reports[1:]] == [each.upper for each in reports[:-1]]
    assert (reports[0].lower, reports[-1].upper) == (0, 60_001)
    assert claimed(reports[-1])[-1] == (7900, 7960)


def test_a_checkpoint_that_is_repeated_for_ever_is_not_answered_for_ever() -> None:
    lone = Lone()
    lone.feed(*(red(at, b"x") for at in range(0, 500, 2)))
    checkpoint = red(500, b"x", checkpoint=7)
    lone.feed(checkpoint)
    note_all(lone)
    said = 0
    while not isinstance((segments := lone.said())[-1], CancelSegment):
        said += sum(len(encode_segment(segment)) for segment in segments)
        assert said < 20_000
        lone.feed(checkpoint)


def test_too_many_sessions_are_refused_until_old_ones_are_idle() -> None:
    lone = Lone(import_sessions_max=3)
    for number in range(5):
        lone.feed(red(0, b"abc", session=SessionId(REMOTE, number)))
    assert len(lone.engine._receiver.table) == 3
    assert lone.engine.counters()["import_refused"] == 2
    lone.wait(11 * SECOND)
    lone.feed(red(0, b"abc", session=SessionId(REMOTE, 4)))
    numbers = [session.id.number for session in lone.engine._receiver.table]
    assert numbers == [1, 2, 4]
    # The evicted session is told so when it comes back.
    lone.feed(red(0, b"abc", session=SessionId(REMOTE, 0)))
    assert (
        cancel(SessionId(REMOTE, 0), by_sender=False, reason=CancelReason.SYS_CNCLD) in lone.said()
    )


def test_an_accepted_session_may_be_evicted_and_still_answers() -> None:
    lone = Lone(import_sessions_max=1)
    lone.feed(red(0, b"abc", checkpoint=7, end=True))
    lone.feed(red(0, b"abc", session=SessionId(REMOTE, 1)))
    lone.wait(11 * SECOND)
    lone.feed(red(0, b"abc", session=SessionId(REMOTE, 1)))
    assert lone.engine.counters()["import_refused"] == 2  # a held block is never evicted
    lone.engine.accept(THEIRS)
    lone.said()
    lone.feed(red(0, b"abc", session=SessionId(REMOTE, 1)))
    assert lone.engine.counters()["import_refused"] == 2
    lone.feed(red(0, b"abc", checkpoint=7, end=True))
    assert claimed(one_report(lone)) == [(0, 3)]


def test_the_memory_of_half_blocks_is_bounded() -> None:
    lone = Lone(import_bytes_max=200_000)
    for number in range(400):
        session = SessionId(REMOTE, number)
        lone.feed(*(red(at, bytes(1000), session=session) for at in range(0, 5000, 1000)))
    assert lone.engine._receiver.table.allocated <= 200_000


def test_floods_of_checkpoints_are_bounded() -> None:
    lone = Lone(reports_max=5)
    for serial in range(1, 20):
        lone.feed(red(0, b"abc", checkpoint=serial))
        note_all(lone)
    # Five answers are under way, five more checkpoints wait for their acknowledgement.
    assert lone.engine.counters()["violations"] == 9
    reports = lone.said()
    assert len(reports) == 5
    lone.feed(*map(ack, reports))
    assert len(lone.said()) == 5


def test_floods_of_violations_are_counted_but_not_repeated() -> None:
    lone = Lone(violations_max=3)
    for _ in range(100):
        lone.feed_octets(b"\xff")
    assert lone.events() == [PeerViolation("LTP version 15", "RFC 5326 §3.1")] * 3
    assert lone.engine.counters()["segments_malformed"] == 100
    lone.feed_octets(b"\xff")
    assert len(lone.events()) == 1


def test_closed_sessions_are_forgotten_in_time() -> None:
    lone = Lone(closed_max=3)
    for number in range(10):
        session = SessionId(REMOTE, number)
        lone.feed(red(0, b"abc", checkpoint=7, end=True, session=session))
        lone.engine.accept(session)
        lone.feed(*(ack(segment) for segment in lone.said()))
    assert len(lone.engine._receiver.table._closed) == 3


def test_acknowledgements_queue_up_only_so_far() -> None:
    lone = Lone(acks_max=4)
    lone.link(tx_up=False)
    for number in range(10):
        lone.feed(cancel(SessionId(REMOTE, number), by_sender=True))
    lone.link()
    assert len(lone.said()) == 4
    assert lone.engine.counters()["acks_dropped"] == 6


@pytest.mark.parametrize("accept", [True, False])
def test_strangers(accept: bool) -> None:
    lone = Lone(accept_unknown_engines=accept)
    stranger = SessionId(99, 1)
    lone.feed(red(0, b"abc", checkpoint=7, end=True, session=stranger))
    assert [type(event) for event in lone.events()] == [BlockReceived if accept else EngineUnknown]
    lone.feed(cancel(stranger, by_sender=True), cancel(stranger, by_sender=False))
    said = lone.said()
    assert (cancel_ack(stranger, to_sender=True) in said) is accept
    assert cancel_ack(stranger, to_sender=False) not in said


# --------------------------------------------------------------------------------- datagrams


def test_several_segments_in_one_datagram() -> None:
    lone = Lone()
    octets = encode_segment(red(0, b"abc")) + encode_segment(red(3, b"d", checkpoint=1, end=True))
    lone.feed_octets(octets)
    assert bytes(held_block(lone).data) == b"abcd"


def test_extensions_are_skipped() -> None:
    lone = Lone()
    for offset, header in ((0, ()), (3, (Extension(0, b"\x01\x02"),) * 15), (6, ())):
        segment = DataSegment(
            session=THEIRS,
            kind=SegmentType.RED,
            client_service=1,
            offset=offset,
            data=b"abc",
            header=header,
            trailer=header,
        )
        lone.feed(segment)
    lone.feed(red(9, b"z", checkpoint=1, end=True))
    assert bytes(held_block(lone).data) == b"abcabcabcz"


def test_octets_after_a_segment_are_a_violation_but_do_not_undo_it() -> None:
    lone = Lone()
    lone.feed_octets(encode_segment(red(0, b"abc", checkpoint=1, end=True)) + b"\xff\xff")
    events = lone.events()
    assert [type(event) for event in events] == [BlockReceived, PeerViolation]


@pytest.mark.parametrize("behind", [b"\xff\xff", encode_segment(red(9, b"y"))])
def test_what_follows_a_segment_in_its_datagram_is_none_of_its_data(behind: bytes) -> None:
    """Also when its session is known, and it goes on where the one before it ended."""
    lone = Lone()
    lone.feed(red(0, b"abcd"))
    lone.feed_octets(encode_segment(red(4, b"efgh")) + behind)
    lone.feed_octets(encode_segment(red(8, b"xy"))[:-1])  # truncated: nothing of it is taken
    lone.feed(red(9, b"y"), red(10, b"z", checkpoint=1, end=True))
    note_all(lone)
    assert claimed(one_report(lone)) == [(0, 8), (9, 11)]
    lone.feed(red(8, b"x"))
    assert bytes(held_block(lone).data) == b"abcdefghxyz"


def test_a_train_of_wrong_size_is_no_danger() -> None:
    lone = Lone()
    lone.engine.receive(Train(b"", 5), lone.now)
    lone.engine.receive(Train(encode_segment(red(0, b"abc")), 0), lone.now)
    lone.feed_octets(encode_segment(red(0, b"abc")), size=1000)
    assert lone.engine.counters()["data_bytes_duplicate"] == 0


def test_nothing_is_said_of_a_cancel_ack_for_nothing() -> None:
    lone = Lone()
    lone.feed(
        CancelAck(session=SessionId(1, 5), to_sender=True),
        CancelAck(session=THEIRS, to_sender=False),
    )
    assert (lone.said(), lone.events()) == ([], [])


def test_a_session_that_cannot_be_noted_is_cancelled() -> None:
    """Its report could never leave, and its sender would wait for the session's lifetime."""
    lone = Lone()
    lone.feed(red(0, b"a" * 100), red(200, b"c" * 100, checkpoint=7, end=True))
    assert lone.events() == [ReportHeld(THEIRS)]
    lone.engine.refuse(THEIRS, lone.now)
    (segment,) = lone.said()
    assert isinstance(segment, CancelSegment)
    assert not segment.by_sender
    assert segment.reason == CancelReason.SYS_CNCLD


def test_an_open_session_that_nobody_asked_about_is_not_refused() -> None:
    lone = Lone()
    lone.feed(red(0, b"a" * 100))
    lone.engine.refuse(THEIRS, lone.now)
    assert not lone.said()
