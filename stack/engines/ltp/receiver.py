"""The receiving side of an LTP engine: data segments become blocks."""

from __future__ import annotations

import numpy as np

from stack.engines.ltp.events import BlockReceived, GreenReceived
from stack.engines.ltp.import_session import ImportSession, NoteState
from stack.engines.ltp.import_table import ImportTable
from stack.engines.ltp.link import LinkState
from stack.engines.ltp.reporter import Reporter
from stack.engines.ltp.states import ImportInput, ImportState
from stack.engines.ltp.timers import TimerKey, TimerKind
from stack.engines.ltp.trains import RUN_MIN, Octets
from stack.wire.ltp import CancelReason, DataSegment, SegmentType, SessionId

_HEAD_BYTES = 48
"""At least as long as the header of any plain segment that the fast path takes."""

OCTETS_PER_RUN = 64
"""A block whose runs have fewer octets than this on average, when there are too many of them,
is no honest one."""

_FIELD_BYTES_MAX = 5
"""Octets of an offset or length that the fast path reads; longer ones take the general way."""


class Receiver:
    """Turns data segments into blocks; the `Reporter` tells the peer what has arrived."""

    __slots__ = ("_link", "_prefix_bytes", "reporter", "table")

    def __init__(self, link: LinkState) -> None:
        self._link = link
        self.table = ImportTable(link)
        self.reporter = Reporter(link, self.table)
        self._prefix_bytes = 0

    # --------------------------------------------------------------------------- fast path

    def take_run(self, view: memoryview, start: int, size: int, now: int) -> int:
        """Take plain red segments that continue a known session, from `start` of a train of
        `size`-octet segments on: the octets taken, 0 when the first needs the general way."""
        head = view[start : start + _HEAD_BYTES].tobytes()
        session = self.table.by_prefix.get(head[: self._prefix_bytes])
        if session is None:
            return 0
        offset, at = _short_field(head, self._prefix_bytes)
        length, at = _short_field(head, at)
        stop = min(start + size, len(view))
        if length == 0 or at + length != stop - start:
            return 0  # truncated, extended or followed by another segment
        rows = self._rows(view, start, size, session.prefix, offset, length)
        data: Octets | None = None
        if rows > 1:
            matrix = np.frombuffer(view, np.uint8, rows * size, start).reshape(rows, size)
            rows = self._link.heads.count_run(matrix, session.prefix, offset, length, at)
            data = matrix[:rows, at:]
        if not self._admits(session, offset, rows * length):
            return 0
        red, table, differs = session.red, self.table, False
        before = red.allocated
        if data is None or not red.append_rows(offset, data):
            octets = view[start + at : stop] if data is None else memoryview(data.tobytes())
            new, differs = red.write(offset, octets)
            self._link.counters["data_bytes_duplicate"] += len(octets) - new
        table.allocated += red.allocated - before
        self._link.counters["segments_received"] += rows
        if differs:
            self._contradicted(session)
        if session.state is ImportState.OPEN:
            self._wrote(session, offset + rows * length, now)
        return min(rows * size, len(view) - start)

    @staticmethod
    def _rows(
        view: memoryview, start: int, size: int, prefix: bytes, offset: int, length: int
    ) -> int:
        """How many full segments to look at together: 1 when the second does not continue."""
        rows = (len(view) - start) // size
        if rows < RUN_MIN:
            return 1
        head = view[start + size : start + size + _HEAD_BYTES].tobytes()
        follows = head.startswith(prefix) and (
            _short_field(head, len(prefix))[0] == offset + length
        )
        return rows if follows else 1

    def _admits(self, session: ImportSession, offset: int, length: int) -> bool:
        """Whether red octets may be written without a closer look."""
        config = self._link.config
        end = offset + length
        return (
            end <= config.block_bytes_max
            and (session.red_bytes is None or end <= session.red_bytes)
            and session.green_low is None
            and self.table.allocated + length <= config.import_bytes_max
            and session.red.ranges.span_count < config.gaps_max
        )

    def _contradicted(self, session: ImportSession) -> None:
        self._link.violation("data differs from what came before", "RFC 5326 §3.2.1")
        self.table.contradicted(session)

    def _wrote(self, session: ImportSession, end: int, now: int) -> None:
        """Red octets arrived: see what that changes."""
        self.table.touch(session, now)
        if end > session.red_high:
            session.red_high = end
        if session.complete:
            self._completed(session)
        elif self._link.config.async_report_ns and session.red.ranges.span_count > 1:
            self.reporter.watch_hole(session, now)

    # ------------------------------------------------------------------------ general path

    def data(self, segment: DataSegment, now: int) -> None:
        """One data segment of whatever kind (RFC 5326 §6.9 to §6.11, §6.21)."""
        link = self._link
        end = segment.offset + len(segment.data)
        if end > link.config.block_bytes_max:
            self._misfit(segment, "data beyond the largest block")
            return
        session = self.table.get(segment.session) or self.table.begin(segment, now)
        if session is None:
            return
        red = segment.kind <= SegmentType.RED_END_BLOCK
        if session.state is ImportState.CANCELLING:
            self.table.queue_cancel(session)
        elif session.client_service != segment.client_service:
            self._misfit(segment, "client service changes within a session")
        elif session.miscolored(red, segment.offset, end):
            link.violation("miscolored segment", "RFC 5326 §6.21")
            self.table.cancel(session, CancelReason.MISCOLORED)
        elif misplaced := session.misplaced(segment.kind, end):
            self._misfit(segment, misplaced)
        elif red:
            self._red(session, segment, end, now)
        else:
            self._green(session, segment, end, now)

    def _misfit(self, segment: DataSegment, fault: str) -> None:
        """A segment that contradicts its session is dropped.  If it is a checkpoint, the session
        goes too: whichever of its segments are genuine, it can never be whole, and its sender
        would ask for ever."""
        self._link.violation(fault, "RFC 5326 §3.2.1")
        if segment.is_checkpoint:
            self.table.give_up(segment.session)

    def _red(self, session: ImportSession, segment: DataSegment, end: int, now: int) -> None:
        link = self._link
        if session.state is ImportState.OPEN:
            if not self._store(session, segment, end, now):
                return
        else:
            link.counters["data_bytes_duplicate"] += len(segment.data)
        if segment.is_checkpoint:
            self.reporter.checkpoint(session, segment, end, now)

    def _store(self, session: ImportSession, segment: DataSegment, end: int, now: int) -> bool:
        """Write red octets into an open session; False when there is no memory for them."""
        self.table.touch(session, now)
        ranges = session.red.ranges
        one_too_many = ranges.span_count >= self._link.config.gaps_max and (
            not any(True for _ in ranges.spans(segment.offset - 1, end + 1))
        )
        if one_too_many and len(ranges) < OCTETS_PER_RUN * ranges.span_count:
            self._link.violation("the block comes in crumbs", "RFC 5326 §6.11")
            self.table.cancel(session, CancelReason.RLEXC)
        if one_too_many or not self.table.make_room(now, 0, len(segment.data)):
            self._link.counters["import_refused"] += 1
            return False
        if session.red_high == 0 and session.green_low is not None:
            self.table.set_lifetime(session, now, self._link.config.session_lifetime_ns)
        if segment.kind >= SegmentType.RED_END:
            session.red_bytes = end
            if segment.kind == SegmentType.RED_END_BLOCK:
                session.block_bytes = end
        red = session.red
        before = red.allocated
        new, differs = red.write(segment.offset, memoryview(segment.data))
        self.table.allocated += red.allocated - before
        self._link.counters["data_bytes_duplicate"] += len(segment.data) - new
        if differs:
            self._contradicted(session)
            if session.state is not ImportState.OPEN:
                return False
        if segment.kind == SegmentType.RED:
            self._prefix_bytes = self.table.learn_prefix(session)
        self._wrote(session, end, now)
        return True

    def _green(self, session: ImportSession, segment: DataSegment, end: int, now: int) -> None:
        """RFC 5326 §6.10."""
        self.table.touch(session, now)
        low = session.green_low
        session.green_low = segment.offset if low is None else min(low, segment.offset)
        session.green_high = max(session.green_high, end)
        ends = segment.kind == SegmentType.GREEN_END_BLOCK
        if ends:
            session.block_bytes = end
        self._link.emit_green(
            GreenReceived(
                session.id, session.client_service, segment.offset, bytes(segment.data), ends
            )
        )
        if ends and session.green_low == 0:
            self.table.close(session, ImportInput.END)  # no red part; a straggler opens it anew
        elif session.state is ImportState.ACCEPTED:
            self.reporter.end_if_done(session, now)

    def _completed(self, session: ImportSession) -> None:
        """RFC 5326 §6.9: the driver gets the block before the peer hears that it is whole."""
        data = self.table.complete(session)
        self._link.counters["data_bytes_received"] += len(data)
        self._link.emit(BlockReceived(session.id, session.client_service, data))

    # ----------------------------------------------------------------------------- driver

    def accept(self, session_id: SessionId) -> None:
        """The block is durable: say that it is whole."""
        session = self.table.get(session_id)
        if session is None or session.state is not ImportState.HELD:
            return  # the peer cancelled, or it grew too old, while the driver was storing it
        session.move(ImportInput.ACCEPT)
        self.table.give_up_buffer(session)
        self.reporter.finish(session)

    def refuse(
        self, session_id: SessionId, reason: CancelReason, now: int, hold_ns: int = 0
    ) -> None:
        """The driver does not take the block, or cannot note the session."""
        session = self.table.get(session_id)
        if session is not None and (
            session.state is ImportState.HELD
            or (session.state is ImportState.OPEN and session.note is NoteState.ASKED)
        ):
            if hold_ns > 0:
                self.table.cancel_later(session, reason, now, hold_ns)
            else:
                self.table.cancel(session, reason)

    def noted(self, session_id: SessionId) -> None:
        """The session's id is durable: reports may go out."""
        session = self.table.get(session_id)
        if session is not None and session.note is NoteState.ASKED:
            session.note = NoteState.DONE
            self.reporter.answer(session)

    # ------------------------------------------------------------------------------ timers

    def expired(self, key: TimerKey, armed_at: int, now: int) -> None:
        """A timer of an import session ran out."""
        session = self.table.get(key.session)
        if session is None:
            self.table.forget_lost(key.session)  # its sender never came back
        elif key.kind is TimerKind.REPORT:
            self.reporter.expired(session, key, armed_at, now)
        elif key.kind is TimerKind.CANCEL_IMPORT:
            self.table.cancel_expired(session)
        elif key.kind is TimerKind.REFUSAL:
            self.table.queue_cancel(session)
        elif key.kind is TimerKind.REPORT_DELAY:
            self.reporter.answer(session)
        elif key.kind is TimerKind.ASYNC_REPORT:
            self.reporter.report_hole(session)
        else:
            self._too_old(session, now)

    def _too_old(self, session: ImportSession, now: int) -> None:
        """The session's lifetime is over, or that of a green part."""
        idle_until = session.last_at + self._link.config.green_idle_ns
        if session.red_high == 0 and now < idle_until:
            self.table.set_lifetime(session, now, idle_until - now)
        elif session.state in (ImportState.ACCEPTED, ImportState.CANCELLING) or (
            session.red_high == 0
        ):
            self.table.close(session, ImportInput.END)
        else:
            self.table.cancel(session, CancelReason.SYS_CNCLD)


def _short_field(head: bytes, at: int) -> tuple[int, int]:
    """An SDNV of up to `_FIELD_BYTES_MAX` octets: (value, next); (0, at) when it is not one."""
    value = 0
    for index in range(at, min(at + _FIELD_BYTES_MAX, len(head))):
        octet = head[index]
        value = value << 7 | octet & 0x7F
        if octet < 0x80:
            return value, index + 1
    return 0, at
