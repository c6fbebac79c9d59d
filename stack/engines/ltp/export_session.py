"""One block on its way to the peer: what was sent, claimed and must be sent again."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from stack.core.ranges import RangeSet
from stack.engines.ltp.aggregator import Block
from stack.engines.ltp.reports_seen import ReportsSeen
from stack.engines.ltp.resend import Resend
from stack.engines.ltp.states import EXPORT_TRANSITIONS, ExportInput, ExportState, moved
from stack.engines.ltp.trains import Octets, TrainPacker, data_step, sdnv_width
from stack.wire.ltp import CancelReason, ReportSegment, SegmentType, SessionId, session_octets
from stack.wire.sdnv import encode_sdnv

SPANS_PER_SEGMENT = 4
"""Disjoint claims that one segment may give rise to, when octets are sent again in other pieces."""

SLACK = 64
"""Claims, reports and segments beyond what the size of a block explains."""

RESENT_MAX = 8
"""How often its own size a session sends again: nine segments of ten are lost then."""

_KNOWN = 8


@dataclass(slots=True)
class Checkpoint:
    """A checkpoint that was sent and whose scope is not yet accounted for."""

    serial: int
    kind: SegmentType
    start: int
    stop: int
    """The red octets that the segment itself carries."""

    report_serial: int
    """The report that it answers, 0 for a primary checkpoint."""

    lower: int
    """Its scope is [lower, stop): the reports that answer it together cover this."""

    known: tuple[tuple[int, int], ...]
    """Some of what was claimed before it left: a receiver that answers it and claims nothing of
    this has lost the session."""

    reported: RangeSet = field(default_factory=RangeSet)
    attempts: int = 0

    def accounted(self, report: ReportSegment, acked: RangeSet) -> bool:
        """Whether its scope is accounted for, with this report and those before it."""
        if self.serial == report.checkpoint_serial:
            self.reported.add(report.lower, report.upper)
            return not any(
                True
                for start, stop in self.reported.gaps(self.lower, self.stop)
                if not acked.covers(start, stop)
            )
        # A later primary report whose scope holds this one's speaks for it too.
        return self.report_serial == 0 and report.lower <= self.lower and self.stop <= report.upper


class ExportSession:
    """State of one export session (RFC 5326 §8.1).  It decides what goes out, not when."""

    __slots__ = (
        "_data",
        "_green_prefix",
        "_next_serial",
        "_plain_prefix",
        "_resend",
        "_segment_bytes",
        "_segments",
        "_stretch",
        "acked",
        "begun_at",
        "cancel_reason",
        "cancels",
        "checkpoints",
        "client_service",
        "first_serial",
        "held",
        "id",
        "length",
        "recheck",
        "red_bytes",
        "refs",
        "reports_seen",
        "sent",
        "state",
    )

    def __init__(
        self, session: SessionId, block: Block, first_serial: int, segment_bytes: int, now: int
    ) -> None:
        self.id = session
        self.state = ExportState.SENDING
        self.refs = block.refs
        self.length = len(block.data)
        self.held = block.held
        self.red_bytes = block.red_bytes
        self.client_service = block.client_service
        self.begun_at = now
        self.sent = 0
        """Octets whose first transmission is done."""

        self.acked = RangeSet()
        self.checkpoints: dict[int, Checkpoint] = {}
        self.recheck: dict[int, Checkpoint] = {}
        """Checkpoints whose timer expired, to be sent again as they were."""

        self.reports_seen = ReportsSeen()
        self.first_serial = first_serial
        self.cancel_reason = CancelReason.SYS_CNCLD
        self.cancels = 0
        """How often our cancellation was repeated."""

        self._data: Octets = np.frombuffer(block.data, np.uint8)
        # No extensions: the octet after the session id is 0.
        head = session_octets(session) + b"\x00" + encode_sdnv(block.client_service)
        self._plain_prefix = bytes((SegmentType.RED,)) + head
        self._green_prefix = bytes((SegmentType.GREEN,)) + head
        self._next_serial = first_serial
        self._segment_bytes = segment_bytes
        self._stretch = (0, 0)
        self._segments = 1 + self.red_bytes // self._step(self.red_bytes)
        self._resend = Resend()

    def move(self, what: ExportInput) -> None:
        """Change state as the table says.  Raises `IllegalTransition`."""
        self.state = moved(EXPORT_TRANSITIONS, self.state, what)

    # ----------------------------------------------------------------------------- queries

    @property
    def alive(self) -> bool:
        """Neither cancelled nor closed."""
        return self.state is ExportState.SENDING or self.state is ExportState.WAITING

    @property
    def complete(self) -> bool:
        """All red octets are claimed and all octets were sent (RFC 5326 §6.12)."""
        return self.sent == self.length and len(self.acked) == self.red_bytes

    @property
    def resending(self) -> bool:
        """Whether something can be sent again now."""
        return bool(self.recheck) or self._resend.ready(self._step(0))

    @property
    def combed(self) -> bool:
        """Whether the reports on this session make no sense any more: claims in finer pieces
        than segments were sent in, more reports than could be asked for, or more sent again
        than any loss explains."""
        spans = self.acked.span_count + self._resend.unasked.span_count
        return (
            spans > SPANS_PER_SEGMENT * self._segments + SLACK
            or len(self.reports_seen) > self._segments + SLACK
            or self._resend.octets > RESENT_MAX * (self.red_bytes + SLACK * self._segment_bytes)
        )

    @property
    def in_flight(self) -> int:
        """Red octets sent and not claimed."""
        return min(self.sent, self.red_bytes) - len(self.acked)

    # ------------------------------------------------------------------------ transmission

    def emit_again(self, packer: TrainPacker, left: list[Checkpoint]) -> int:
        """Send what must be sent again, as far as the packer's budget goes: the data octets
        sent.  Checkpoints that left are appended to `left`."""
        sent = 0
        for serial, checkpoint in list(self.recheck.items()):
            if serial in self.checkpoints:  # not answered while it waited
                if not packer.segment(self._checkpoint_octets(checkpoint)):
                    return sent
                sent += checkpoint.stop - checkpoint.start
                left.append(checkpoint)
            del self.recheck[serial]
        while self._resend:
            start, stop, last = self._resend.first()
            if last:
                reached = self._emit_closed(packer, left, start, stop, *self._resend.answers)
            else:
                reached = self._emit_plain(packer, self._plain_prefix, start, stop)
            sent += reached - start
            if not self._resend.advance(reached):
                break
        return sent

    def emit_new(self, packer: TrainPacker, left: list[Checkpoint], every: int, window: int) -> int:
        """Send octets for the first time: the data octets sent.

        The red part goes out in stretches that each end in a checkpoint, after `every` segments
        (0: one stretch).  A stretch begins only while `window` is not used up, so that what has
        been sent is always answered for and the window opens again.
        """
        before = self.sent
        while self.sent < self.red_bytes:
            if self.sent == self._stretch[1]:
                if self.sent - before >= window:
                    return self.sent - before
                self._stretch = (self.sent, self._stretch_end(every))
            lower, stop = self._stretch
            self.sent = self._emit_closed(packer, left, self.sent, stop, 0, lower)
            if self.sent < stop:
                return self.sent - before
        self._emit_green(packer)
        return self.sent - before

    def _stretch_end(self, every: int) -> int:
        if not every:
            return self.red_bytes
        room = self._checkpoint_room(self.red_bytes, self._next_serial, 0)
        step = self._step(self.red_bytes)  # the shortest of the block
        end = self.sent + (every - 1) * step + room
        # No checkpoint shortly before the one that ends the red part.
        return self.red_bytes if self.red_bytes - end < (end - self.sent) // 2 else end

    def _emit_green(self, packer: TrainPacker) -> None:
        """The green part; its last segment ends the block (RFC 5326 §6.1)."""
        while self.sent < self.length:
            self.sent, _ = packer.run(self._green_prefix, self._data, self.sent, self.length - 1)
            rest = min(self.length, self.sent + self._step(self.sent))
            prefix = self._green_prefix
            if rest == self.length:
                prefix = bytes((SegmentType.GREEN_END_BLOCK,)) + prefix[1:]
            if not packer.segment(self._plain_octets(prefix, self.sent, rest)):
                return
            self.sent = rest

    def _emit_plain(self, packer: TrainPacker, prefix: bytes, start: int, stop: int) -> int:
        """Data segments without a checkpoint; the offset reached."""
        start, _ = packer.run(prefix, self._data, start, stop)
        rest = stop - start
        if 0 < rest < self._step(start) and packer.segment(self._plain_octets(prefix, start, stop)):
            return stop
        return start

    def _emit_closed(
        self,
        packer: TrainPacker,
        left: list[Checkpoint],
        start: int,
        stop: int,
        report_serial: int,
        lower: int,
    ) -> int:
        """Data segments of which the last is a checkpoint; the offset reached."""
        serial = self._next_serial
        start, _ = packer.run(self._plain_prefix, self._data, start, stop - 1)
        if report_serial and self._resend.waits:
            return start
        room = self._checkpoint_room(stop, serial, report_serial)
        if 0 < stop - start - room < self._step(start):
            short = stop - room
            if not packer.segment(self._plain_octets(self._plain_prefix, start, short)):
                return start
            start = short
        if stop - start > room:
            return start  # the budget ended within the run
        kind = SegmentType.RED_CHECKPOINT
        if stop == self.red_bytes:
            ends = self.red_bytes == self.length
            kind = SegmentType.RED_END_BLOCK if ends else SegmentType.RED_END
        known = tuple(islice(self.acked.spans(lower, stop), _KNOWN))
        checkpoint = Checkpoint(serial, kind, start, stop, report_serial, lower, known)
        if not packer.segment(self._checkpoint_octets(checkpoint)):
            return start
        self._next_serial += 1
        self.checkpoints[serial] = checkpoint
        left.append(checkpoint)
        return stop

    def _step(self, offset: int) -> int:
        """Data octets of a full plain segment at `offset`."""
        return data_step(self._segment_bytes - len(self._plain_prefix) - sdnv_width(offset))

    def _checkpoint_room(self, offset: int, serial: int, report_serial: int) -> int:
        """Data octets of a full checkpoint that begins no later than `offset`."""
        serials = sdnv_width(serial) + sdnv_width(report_serial)
        head = len(self._plain_prefix) + sdnv_width(offset) + serials
        return data_step(self._segment_bytes - head)

    def _plain_octets(self, prefix: bytes, start: int, stop: int) -> bytes:
        return b"".join(
            (prefix, encode_sdnv(start), encode_sdnv(stop - start), self._data[start:stop].data)
        )

    def _checkpoint_octets(self, checkpoint: Checkpoint) -> bytes:
        """A checkpoint segment (RFC 5326 §3.2.1), the same octets each time."""
        start, stop = checkpoint.start, checkpoint.stop
        fields = (start, stop - start, checkpoint.serial, checkpoint.report_serial)
        return b"".join(
            (
                bytes((checkpoint.kind,)),
                self._plain_prefix[1:],
                *map(encode_sdnv, fields),
                self._data[start:stop].data,
            )
        )

    # ----------------------------------------------------------------------------- reports

    def fault_of(self, report: ReportSegment) -> str:
        """Why a new report cannot be believed, or an empty string."""
        if report.upper > min(self.sent, self.red_bytes):
            return "report on data never sent"
        asked = report.checkpoint_serial
        if asked and not self.first_serial <= asked < self._next_serial:
            return "report answers a checkpoint never sent"
        return ""

    def withdraws(self, report: ReportSegment) -> bool:
        """Whether a report claims nothing of what was claimed before the checkpoint that it
        answers: the receiver has lost the session's data (it restarted) and can never complete
        it."""
        checkpoint = self.checkpoints.get(report.checkpoint_serial)
        if checkpoint is None:
            return False
        known = RangeSet(checkpoint.known)
        before = any(True for _ in known.spans(report.lower, report.upper))
        return before and not any(
            True for start, stop in _claimed(report) for _ in known.spans(start, stop)
        )

    def apply(self, report: ReportSegment) -> list[int]:
        """Take a report's claims and queue what it misses (RFC 5326 §6.13); the serials of
        checkpoints that are now accounted for.

        A checkpoint may be answered by several reports, each of which can be lost: it stays
        outstanding until together they cover its scope.  A report that no checkpoint asked for
        accounts for none, and nothing that it alone claims counts as received: such reports are
        for what has arrived before the end of the red part did (§6.11), and whoever knows the
        session id can write them.
        """
        self.reports_seen.add(report.report_serial)
        asked = bool(report.checkpoint_serial)
        claims = self.acked if asked else self._resend.unasked
        for start, stop in _claimed(report):
            claims.add(start, stop)
        retired = []
        if asked:
            for serial, checkpoint in self.checkpoints.items():
                if checkpoint.accounted(report, self.acked):
                    retired.append(serial)
            for serial in retired:
                del self.checkpoints[serial]
            self._resend.waits = any(each.reported for each in self.checkpoints.values())
        self._resend.take(report, self.acked, self._step(self.red_bytes))
        return retired


def _claimed(report: ReportSegment) -> RangeSet:
    lower = report.lower
    return RangeSet((lower + offset, lower + offset + length) for offset, length in report.claims)
