"""LTP sessions: what the receiver of a block may say of it (RFC 5326 §6.11), what it must not, and
both sides of a whole session.

    answers(export)          what the receiver of a block that is under way may say
    nearly_answers(export)   what no sender may believe: `ANSWER_RULES`
    conversations()          both sides of a session from its first segment to its last
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from interop.strategies.choices import Choices, Source
from interop.strategies.ltp import number, session_ids
from interop.strategies.ltp_transfers import Transfer, data_segment, holes, parts, pieces
from interop.strategies.making import strategy
from interop.strategies.violation import Nearly, Violation
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

_SESSIONS = session_ids.maker()


@dataclass(frozen=True, slots=True)
class Export:
    """A block that somebody sends, as its receiver sees it."""

    session: SessionId
    red_bytes: int
    checkpoints: tuple[tuple[int, int], ...]
    """Serial number and upper bound of each, in the order sent; the last covers the red part."""


def export_of(segments: Iterable[Segment]) -> Export:
    """What segments of one sender, with the end of the red part among them, say of its block."""
    data = [one for one in segments if isinstance(one, DataSegment) and one.kind <= 3]
    asked = [
        (one.checkpoint_serial, one.offset + len(one.data)) for one in data if one.is_checkpoint
    ]
    return Export(data[0].session, max(upper for _, upper in asked), tuple(asked))


def _report(choose: Choices, export: Export) -> ReportSegment:
    serial, upper = choose.pick(export.checkpoints)
    lowers = [0, *(below for _, below in export.checkpoints if below < upper)]
    lower = choose.pick(lowers)  # §6.11: where an earlier report ended, or the beginning
    claims: list[Claim] = []
    reached = 0
    for _ in choose.many(1, 8):
        least = reached + bool(claims)
        if least < upper - lower:
            start = choose.integer(least, upper - lower - 1)
            reached = choose.integer(start + 1, upper - lower)
            claims.append(Claim(start, reached - start))
    return ReportSegment(
        session=export.session,
        report_serial=number(choose, 1),
        checkpoint_serial=serial,
        upper=upper,
        lower=lower,
        claims=tuple(claims),
    )


@strategy
def answers(choose: Choices, export: Export) -> Segment:
    """What the receiver of a block may say: a report on a checkpoint, or a cancellation."""
    if choose.flip(8):
        reason = choose.integer(0, 5)
        return CancelSegment(session=export.session, by_sender=False, reason=reason)
    return _report(choose, export)


def _of_unsent(choose: Choices, export: Export) -> Segment:
    report = _report(choose, export)
    upper = number(choose, export.red_bytes + 1)
    return replace(report, upper=upper, lower=0, claims=(Claim(0, upper),))


def _of_no_checkpoint(choose: Choices, export: Export) -> Segment:
    serials = [serial for serial, _ in export.checkpoints]
    serial = number(choose, max(serials) + 1) if choose.flip() else min(serials) - 1
    return replace(_report(choose, export), checkpoint_serial=serial or max(serials) + 1)


def _in_its_name(choose: Choices, export: Export) -> Segment:
    """What only the sender of the block says."""
    session = export.session
    said: tuple[Segment, ...] = (
        CancelSegment(session=session, by_sender=True, reason=choose.integer(0, 5)),
        ReportAck(session=session, report_serial=number(choose, 1)),
        data_segment(session, bytes(export.red_bytes), 0, export.red_bytes, SegmentType.RED, 0),
    )
    return choose.pick(said)


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """One rule, and a way to break it with an answer."""

    violation: Violation
    made: Callable[[Choices, Export], Segment]


ANSWER_RULES = (
    AnswerRule(Violation("RFC 5326 §3.2.2", "a report on data that never left"), _of_unsent),
    AnswerRule(
        Violation("RFC 5326 §3.2.2", "a report on a checkpoint that never left"), _of_no_checkpoint
    ),
    AnswerRule(
        Violation("RFC 5326 §3.1", "a segment of the wrong side of the session"), _in_its_name
    ),
)
"""What `nearly_answers` breaks: it shows only against what was sent."""


@strategy
def nearly_answers(
    choose: Choices, export: Export, *, rules: Sequence[AnswerRule] = ANSWER_RULES
) -> Nearly:
    """What a receiver must not say of a block that is under way, and no sender may believe."""
    rule = choose.pick(rules)
    bad = rule.made(choose, export)
    return Nearly(encode_segment(bad), rule.violation, encode_segment(_report(choose, export)))


# ------------------------------------------------------------------------------- both sides


@dataclass(frozen=True, slots=True)
class Said:
    """One segment of a conversation."""

    by_sender: bool
    segment: Segment
    lost: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """A session from its first segment to its last."""

    block: bytes
    red_bytes: int
    said: tuple[Said, ...]
    cancelled: bool


@strategy
def conversations(
    choose: Choices, *, session: Source[SessionId] = _SESSIONS, part_bytes_max: int = 300
) -> Conversation:
    """A block of which each side loses some segments: reports on each checkpoint that arrives,
    their acknowledgements, what is sent again, checkpoints that are repeated, and how it ends:
    all red octets reported (§6.12), or cancelled by either side (§6.19)."""
    first = pieces.make(choose, session=session, part_bytes_max=part_bytes_max, red=True)
    return _Talk(choose, first).held()


class _Talk:
    """One conversation under way."""

    def __init__(self, choose: Choices, first: Transfer) -> None:
        self._choose = choose
        self._first = first
        self._said: list[Said] = []
        self._here: list[tuple[int, int]] = []
        self._report_serial = choose.integer(1, 1 << 20)
        self._losses = 12

    def held(self) -> Conversation:
        """All of it."""
        first, choose = self._first, self._choose
        sending = list(parts(first))
        serial = max(one.checkpoint_serial for one in sending)
        cancelled = choose.flip(6)
        for _ in range(3):
            for one in sending:
                self._send(one)
            missing = holes(self._here, 0, first.red_bytes)
            if not missing or cancelled:
                break
            serial += 1
            answered = self._report_serial - 1
            sending = [
                data_segment(first.session, first.block, start, stop, SegmentType.RED, 0)
                for start, stop in missing
            ]
            sending[-1] = replace(
                sending[-1],
                kind=SegmentType.RED_CHECKPOINT,
                checkpoint_serial=serial,
                report_serial=answered,
            )
            self._losses = min(self._losses, choose.integer(0, 3))
        cancelled = cancelled or bool(holes(self._here, 0, first.red_bytes))
        if cancelled:
            self._cancel(choose.flip())
        return Conversation(first.block, first.red_bytes, tuple(self._said), cancelled)

    def _say(self, by_sender: bool, segment: Segment) -> bool:
        """Whether it arrives."""
        lost = self._losses > 0 and self._choose.flip(4)
        self._losses -= lost
        self._said.append(Said(by_sender, segment, lost))
        return not lost

    def _until_it_arrives(self, by_sender: bool, segment: Segment) -> None:
        while not self._say(by_sender, segment):
            pass

    def _send(self, one: DataSegment) -> None:
        """A data segment; a checkpoint until a report on it arrives (§6.7)."""
        span = one.offset, one.offset + len(one.data)
        if not one.is_checkpoint:
            if self._say(True, one) and one.kind == SegmentType.RED:
                self._here.append(span)
            return
        self._until_it_arrives(True, one)
        self._here.append(span)
        report = self._reported(one, span[1])
        self._until_it_arrives(False, report)
        ack = ReportAck(session=one.session, report_serial=report.report_serial)
        while not self._say(True, ack):
            self._until_it_arrives(False, report)  # §6.8

    def _reported(self, checkpoint: DataSegment, upper: int) -> ReportSegment:
        gaps = holes(self._here, 0, upper)
        edges = [0, *(edge for gap in gaps for edge in gap), upper]
        claims = [
            Claim(start, stop - start)
            for start, stop in zip(edges[::2], edges[1::2], strict=True)
            if start < stop
        ]
        serial = self._report_serial
        self._report_serial += 1
        return ReportSegment(
            session=checkpoint.session,
            report_serial=serial,
            checkpoint_serial=checkpoint.checkpoint_serial,
            upper=upper,
            lower=0,
            claims=tuple(claims),
        )

    def _cancel(self, by_sender: bool) -> None:
        session = self._first.session
        reason = CancelReason.USR_CNCLD if by_sender else CancelReason.SYS_CNCLD
        cancel = CancelSegment(session=session, by_sender=by_sender, reason=reason)
        self._until_it_arrives(by_sender, cancel)
        ack = CancelAck(session=session, to_sender=by_sender)
        while not self._say(not by_sender, ack):
            self._until_it_arrives(by_sender, cancel)  # §6.16
