"""The receiving side of an LTP engine: segments taken, reports made, sessions ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stack.core.errors import LocalError
from stack.engines.ltp.events import BlockReceived, GreenReceived, ReportHeld, SessionClosed
from stack.engines.ltp.import_session import ImportInput, ImportSession, ImportState, Note, Report
from stack.engines.ltp.link import Link
from stack.engines.ltp.red_part import FIRST_BYTES, RedPart
from stack.engines.ltp.timers import TimerKey, TimerKind
from stack.engines.ltp.trains import RUN_MIN, Octets, count_run
from stack.wire.ltp import (
    CancelAck,
    CancelReason,
    CancelSegment,
    Claim,
    DataSegment,
    ReportSegment,
    SegmentType,
    SessionId,
    session_octets,
)
from stack.wire.sdnv import encode_sdnv

_SERIAL_BITS = 20
"""First report serial numbers take three octets as SDNV."""

_HEAD_BYTES = 48
"""At least as long as any header of a plain segment whose offset is below 2^35."""

_FIELD_BYTES_MAX = 5
"""Octets of an offset or length that the fast path reads; longer ones take the general way."""

_CAPACITY_HINT_MAX = 512 * 1024
"""A new block gets as much buffer as the last one needed, up to this."""

_CLAIM_BYTES = 10
"""Octets of a claim whose numbers are below 2^35, the most that `block_bytes_max` allows."""

_REPORT_HEAD_BYTES = 64
"""Octets of a report before its claims: session id and five numbers, with room to spare."""


@dataclass(slots=True)
class _Closed:
    """What is remembered of a session that is over (RFC 5326 §6.20)."""

    red_bytes: int
    next_serial: int
    cancelled: CancelReason | None


class Receiver:
    """All import sessions of one engine."""

    __slots__ = (
        "_allocated",
        "_by_prefix",
        "_capacity_hint",
        "_claims_max",
        "_closed",
        "_link",
        "_lost",
        "_prefix_bytes",
        "_sessions",
    )

    def __init__(self, link: Link) -> None:
        config = link.config
        self._link = link
        self._sessions: dict[SessionId, ImportSession] = {}
        """The one heard of least recently comes first."""

        self._by_prefix: dict[bytes, ImportSession] = {}
        self._prefix_bytes = 0
        self._closed: dict[SessionId, _Closed] = {}
        self._lost: set[SessionId] = set()
        self._allocated = 0
        self._capacity_hint = FIRST_BYTES
        fitting = (config.segment_bytes - _REPORT_HEAD_BYTES) // _CLAIM_BYTES
        self._claims_max = max(1, min(config.claims_max, fitting))

    # --------------------------------------------------------------------------- fast path

    def take_run(self, view: memoryview, start: int, size: int, now: int) -> int:
        """Take plain red segments that continue a known session, beginning at `start` of a
        train of `size`-octet segments: the octets taken, 0 when the first needs the general way.
        """
        at = self._prefix_bytes
        head = view[start : start + _HEAD_BYTES].tobytes()
        session = self._by_prefix.get(head[:at])
        if session is None or session.state is not ImportState.OPEN:
            return 0
        offset, at = _short_field(head, at)
        length, at = _short_field(head, at)
        stop = min(start + size, len(view))
        if at + length != stop - start or length == 0:
            return 0  # truncated, extended or followed by another segment
        rows = (len(view) - start) // size
        matrix: Octets | None = None
        if rows >= RUN_MIN and stop - start == size:
            matrix = np.frombuffer(view, np.uint8, rows * size, start).reshape(rows, size)
            rows = count_run(matrix, session.prefix, offset, length, at)
        else:
            rows = 1
        if not self._admits(session, offset, offset + rows * length):
            return 0
        if matrix is None or not session.red.append_rows(offset, matrix[:rows, at:]):
            rows = 1
            new, differs = session.red.write(offset, view[start + at : stop])
            self._overlap(length - new, differs)
        self._link.counters["segments_received"] += rows
        self._link.heard_at = now
        self._wrote(session, offset + rows * length, now)
        return rows * size if rows > 1 else stop - start

    def _admits(self, session: ImportSession, offset: int, end: int) -> bool:
        """Whether red octets may be written without a closer look."""
        return (
            end <= self._link.config.block_bytes_max
            and (session.red_bytes is None or end <= session.red_bytes)
            and session.green_low is None
            and self._allocated + end - offset <= self._link.config.import_bytes_max
            and session.red.ranges.span_count < self._link.config.gaps_max
        )

    def _overlap(self, repeated: int, differs: bool) -> None:
        self._link.counters["data_bytes_duplicate"] += repeated
        if differs:
            self._link.violation("data differs from what came before", "RFC 5326 §3.2.1")

    def _wrote(self, session: ImportSession, end: int, now: int) -> None:
        """Bookkeeping after red octets arrived, and what completeness asks for."""
        session.last_at = now
        if end > session.red_high:
            session.red_high = end
        sessions = self._sessions
        sessions[session.session] = sessions.pop(session.session)  # heard of most recently
        if session.red_bytes is not None and session.complete:
            self._completed(session)
        elif self._link.config.async_report_ns and session.red.ranges.span_count > 1:
            self._watch_hole(session, now)

    # ------------------------------------------------------------------------ general path

    def data(self, segment: DataSegment, now: int) -> None:
        """One data segment of whatever kind (RFC 5326 §6.9 to §6.11, §6.21)."""
        link = self._link
        end = segment.offset + len(segment.data)
        if end > link.config.block_bytes_max:
            link.violation("data beyond the largest block", "RFC 5326 §3.2.1")
            return
        session = self._sessions.get(segment.session)
        if session is None:
            session = self._open(segment, now)
            if session is None:
                return
        if session.client_service != segment.client_service:
            link.violation("client service changes within a session", "RFC 5326 §3.2.1")
            return
        if session.state is ImportState.CANCELLING:
            self._queue_cancel(session)
            return
        red = segment.kind <= SegmentType.RED_END_BLOCK
        if session.miscolored(red, segment.offset, end):
            link.violation("miscolored segment", "RFC 5326 §6.21")
            self._cancel(session, CancelReason.MISCOLORED)
        elif red:
            self._red(session, segment, end, now)
        else:
            self._green(session, segment, end, now)

    def _open(self, segment: DataSegment, now: int) -> ImportSession | None:
        """A session not seen before, unless it is over or there is no room for it."""
        link, session_id = self._link, segment.session
        closed = self._closed.get(session_id)
        if closed is not None:
            self._late(segment, closed)
            return None
        if not self._make_room(now):
            link.counters["import_refused"] += 1
            return None
        room = link.config.import_bytes_max - self._allocated
        red = RedPart(max(0, min(self._capacity_hint, room)))
        serial = link.random(_SERIAL_BITS)
        session = ImportSession(session_id, segment.client_service, serial, red, now)
        self._sessions[session_id] = session
        self._allocated += red.allocated
        link.counters["import_sessions"] += 1
        timer = TimerKey(TimerKind.IMPORT_LIFETIME, session_id)
        if session_id in self._lost:
            # We claimed parts of this block before a restart, and have them no more.
            session.note = Note.DONE
            link.timers.arm(timer, now, link.config.session_lifetime_ns)
            self._cancel(session, CancelReason.SYS_CNCLD)
            return None
        red_kind = segment.kind <= SegmentType.RED_END_BLOCK
        lifetime = link.config.session_lifetime_ns if red_kind else link.config.green_idle_ns
        link.timers.arm(timer, now, lifetime)
        return session

    def _late(self, segment: DataSegment, closed: _Closed) -> None:
        """A segment of a session that is over: repeat how it ended, once for each asking."""
        if closed.cancelled is not None:
            cancel = CancelSegment(
                session=segment.session, by_sender=False, reason=closed.cancelled
            )
            self._link.control(SegmentType.CANCEL_BY_RECEIVER, cancel)
        elif segment.is_checkpoint and closed.red_bytes:
            report = ReportSegment(
                session=segment.session,
                report_serial=closed.next_serial,
                checkpoint_serial=segment.checkpoint_serial,
                upper=closed.red_bytes,
                lower=0,
                claims=(Claim(0, closed.red_bytes),),
            )
            closed.next_serial += 1
            self._link.control(SegmentType.REPORT, report, report.report_serial)

    def _make_room(self, now: int) -> bool:
        """Room for one more session, if need be by ending the one heard of least recently."""
        config = self._link.config
        if self._allocated >= config.import_bytes_max:
            return False
        if len(self._sessions) < config.import_sessions_max:
            return True
        oldest = next(iter(self._sessions.values()))
        if oldest.state is ImportState.HELD or now - oldest.last_at < config.green_idle_ns:
            return False
        if oldest.state is ImportState.OPEN:
            self._cancel(oldest, CancelReason.SYS_CNCLD)
        self._close(oldest, ImportInput.END)
        return True

    def _red(self, session: ImportSession, segment: DataSegment, end: int, now: int) -> None:
        link = self._link
        if session.red_bytes is not None and end > session.red_bytes:
            link.violation("red data beyond the end of the red part", "RFC 5326 §3.2.1")
            return
        if segment.kind >= SegmentType.RED_END:
            if end < session.red_high or session.red_bytes not in (None, end):
                link.violation("the end of the red part moves", "RFC 5326 §3.2.1")
                return
            session.red_bytes = end
            session.block_ends = segment.kind == SegmentType.RED_END_BLOCK
        if session.state is ImportState.OPEN:
            if session.red_high == 0 and session.green_low is not None:
                timer = TimerKey(TimerKind.IMPORT_LIFETIME, session.session)
                link.timers.arm(timer, now, link.config.session_lifetime_ns)
            if not self._store(session, segment, end, now):
                return
        elif len(segment.data):
            link.counters["data_bytes_duplicate"] += len(segment.data)
        if segment.is_checkpoint:
            self._checkpoint(session, segment, end, now)

    def _store(self, session: ImportSession, segment: DataSegment, end: int, now: int) -> bool:
        """Write red octets into an open session; False when there is no memory for them."""
        config = self._link.config
        data = memoryview(segment.data)
        before = session.red.allocated
        if before + len(data) - before + self._allocated > config.import_bytes_max or (
            session.red.ranges.span_count >= config.gaps_max
        ):
            self._link.counters["import_refused"] += 1
            return False
        new, differs = session.red.write(segment.offset, data)
        self._allocated += session.red.allocated - before
        self._overlap(len(data) - new, differs)
        if segment.kind == SegmentType.RED and not segment.header and not segment.trailer:
            self._learn_prefix(session)
        self._wrote(session, end, now)
        return True

    def _learn_prefix(self, session: ImportSession) -> None:
        """Let the fast path know how this session's plain segments begin."""
        if not session.prefix:
            prefix = b"\x00" + session_octets(session.session) + b"\x00"
            session.prefix = prefix + encode_sdnv(session.client_service)
            self._by_prefix[session.prefix] = session
        self._prefix_bytes = len(session.prefix)

    def _green(self, session: ImportSession, segment: DataSegment, end: int, now: int) -> None:
        """RFC 5326 §6.10."""
        session.last_at = now
        low = session.green_low
        session.green_low = segment.offset if low is None else min(low, segment.offset)
        ends = segment.kind == SegmentType.GREEN_END_BLOCK
        session.block_ends |= ends
        self._link.emit_green(
            GreenReceived(
                session.session, session.client_service, segment.offset, bytes(segment.data), ends
            )
        )
        if ends and session.green_low == 0:
            self._close(session, ImportInput.END)  # no red part; a straggler opens it anew
        elif session.state is ImportState.ACCEPTED:
            self._end_if_done(session)

    # ---------------------------------------------------------------------------- reports

    def _checkpoint(
        self, session: ImportSession, segment: DataSegment, end: int, now: int
    ) -> None:
        """A checkpoint asks for a report (RFC 5326 §6.11), maybe not for the first time."""
        serial = segment.checkpoint_serial
        link = self._link
        if serial in session.answers:
            self._repeat_answers(session, serial, end, now)
            return
        if serial in session.pending:
            return
        if len(session.answers) + len(session.pending) >= link.config.reports_max:
            link.violation("too many checkpoints", "RFC 5326 §6.11")
            return
        session.pending[serial] = (segment.report_serial, end)
        if session.state is ImportState.OPEN and link.config.report_delay_ns:
            timer = TimerKey(TimerKind.REPORT_DELAY, session.session)
            link.timers.arm(timer, now, link.config.report_delay_ns)
            return
        self._answer(session)

    def _repeat_answers(
        self, session: ImportSession, serial: int, end: int, now: int
    ) -> None:
        """A repeated checkpoint: its reports, or their acknowledgements, were lost (§6.8)."""
        link = self._link
        reports = [session.reports[each] for each in session.answers[serial]]
        if reports[-1].segment.upper != end:
            link.violation("checkpoint serial number used twice", "RFC 5326 §3.2.1")
        for report in reports:
            report.acked = False
            session.unacked.add(report.segment.report_serial)
            self._queue_report(report)

    def _answer(self, session: ImportSession) -> None:
        """Report on every pending checkpoint, if reports may go out now."""
        if session.state is ImportState.HELD or not session.pending:
            return
        if session.state is ImportState.OPEN and session.note is not Note.DONE:
            if session.note is Note.NONE:
                session.note = Note.ASKED
                self._link.emit(ReportHeld(session.session))
            return
        for serial in list(session.pending):
            self._report(session, serial)

    def _report(self, session: ImportSession, checkpoint_serial: int) -> None:
        for report in session.report(checkpoint_serial, self._claims_max):
            self._queue_report(report)

    def _queue_report(self, report: Report) -> None:
        segment = report.segment
        timer = TimerKey(TimerKind.REPORT, segment.session, segment.report_serial)
        self._link.counters["reports_sent"] += 1
        self._link.control(
            SegmentType.REPORT, segment, segment.report_serial, timer, report.attempts
        )

    def _watch_hole(self, session: ImportSession, now: int) -> None:
        """Begin to wait for a hole to be filled before it is reported unasked (§6.11)."""
        if session.red_bytes is None and not session.pending:
            timer = TimerKey(TimerKind.ASYNC_REPORT, session.session)
            if not self._link.timers.running(timer):
                self._link.timers.arm(timer, now, self._link.config.async_report_ns)

    def _completed(self, session: ImportSession) -> None:
        """RFC 5326 §6.9: the driver gets the block before the peer hears that it is whole."""
        assert session.red_bytes is not None
        session.move(ImportInput.COMPLETE)
        timers = self._link.timers
        timers.cancel(TimerKey(TimerKind.REPORT_DELAY, session.session))
        timers.cancel(TimerKey(TimerKind.ASYNC_REPORT, session.session))
        self._by_prefix.pop(session.prefix, None)
        self._capacity_hint = max(FIRST_BYTES, min(session.red_bytes, _CAPACITY_HINT_MAX))
        data = session.red.whole(session.red_bytes)
        self._link.counters["data_bytes_received"] += len(data)
        self._link.emit(BlockReceived(session.session, session.client_service, data))
