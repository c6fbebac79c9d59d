"""Which import sessions there are, how they begin and how they end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stack.engines.ltp.events import SessionClosed
from stack.engines.ltp.import_session import ImportSession, NoteState
from stack.engines.ltp.link import LinkState
from stack.engines.ltp.red_part import FIRST_BYTES, RedPart
from stack.engines.ltp.states import ImportInput, ImportState
from stack.engines.ltp.timers import TimerKey, TimerKind
from stack.wire.ltp import (
    CLIENT_BP,
    CLIENT_SDA,
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

_SERIAL_BITS = 27
"""First report serial numbers take four octets as SDNV: enough that those of a receiver that has
forgotten a session are not near the former ones (`ReportsSeen.elsewhere`)."""

_CLIENTS = (CLIENT_BP, CLIENT_SDA)
"""The client services that there are here."""

_CAPACITY_HINT_MAX = 1152 * 1024
"""A new block gets as much buffer as the last one needed, up to this: somewhat more than an
aggregated block has."""


@dataclass(slots=True)
class _Closed:
    """What is remembered of a session that is over (RFC 5326 §6.20)."""

    red_bytes: int
    """Length of its red part if it was completed, else 0."""

    next_serial: int
    cancelled: CancelReason | None


class ImportTable:
    """The import sessions of one engine, within the bounds of its configuration."""

    __slots__ = (
        "_capacity_hint",
        "_closed",
        "_link",
        "_lost",
        "_sessions",
        "allocated",
        "by_prefix",
    )

    def __init__(self, link: LinkState) -> None:
        self._link = link
        self._sessions: dict[SessionId, ImportSession] = {}
        """The one heard of least recently comes first."""

        self._closed: dict[SessionId, _Closed] = {}
        self._lost: set[SessionId] = set()
        self._capacity_hint = FIRST_BYTES
        self.by_prefix: dict[bytes, ImportSession] = {}
        """Open sessions by the octets with which their plain red segments begin."""

        self.allocated = 0
        """Octets of all their buffers."""

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[ImportSession]:
        return iter(self._sessions.values())

    def get(self, session_id: SessionId) -> ImportSession | None:
        """The session of that id, if it is under way."""
        return self._sessions.get(session_id)

    def touch(self, session: ImportSession, now: int) -> None:
        """It was heard of: it is now the last to be evicted."""
        session.last_at = now
        sessions = self._sessions
        sessions[session.id] = sessions.pop(session.id)

    # ------------------------------------------------------------------------------- begin

    def recover(self, noted: Iterable[SessionId], now: int) -> None:
        """Sessions whose reports went out before a restart, and whose data is lost."""
        for session_id in noted:
            self._lost.add(session_id)
            timer = TimerKey(TimerKind.IMPORT_LIFETIME, session_id)
            self._link.timers.arm(timer, now, self._link.config.session_lifetime_ns)

    def begin(self, segment: DataSegment, now: int) -> ImportSession | None:
        """The session that a first segment opens; None when it is over, lost, one too many, or for
        nobody here."""
        link, session_id = self._link, segment.session
        closed = self._closed.get(session_id)
        if closed is not None:
            self._late(segment, closed)
            return None
        if not self.make_room(now, 1, 1):
            link.counters["import_refused"] += 1
            return None
        lost = session_id in self._lost
        room = max(0, link.config.import_bytes_max - self.allocated)
        red = RedPart(0 if lost else min(self._capacity_hint, room))
        serial = link.random(_SERIAL_BITS)
        session = ImportSession(session_id, segment.client_service, serial, red, now)
        self._sessions[session_id] = session
        self.allocated += red.allocated
        link.counters["import_sessions"] += 1
        if lost:  # parts of this block were claimed, and are here no more
            session.note = NoteState.DONE
            self.cancel(session, CancelReason.SYS_CNCLD)
            return None
        if segment.client_service not in _CLIENTS:  # RFC 5326 §6
            self.cancel(session, CancelReason.UNREACH)
            return None
        config = link.config
        red_kind = segment.kind <= SegmentType.RED_END_BLOCK
        self.set_lifetime(
            session, now, config.session_lifetime_ns if red_kind else config.green_idle_ns
        )
        return session

    def set_lifetime(self, session: ImportSession, now: int, lifetime_ns: int) -> None:
        """When the session ends at the latest."""
        timer = TimerKey(TimerKind.IMPORT_LIFETIME, session.id)
        self._link.timers.arm(timer, now, lifetime_ns)

    def learn_prefix(self, session: ImportSession) -> int:
        """Let the fast path know how this session's plain segments begin; the prefix's length."""
        if not session.prefix:
            prefix = b"\x00" + session_octets(session.id) + b"\x00"
            session.prefix = prefix + encode_sdnv(session.client_service)
            self.by_prefix[session.prefix] = session
        return len(session.prefix)

    def _late(self, segment: DataSegment, closed: _Closed) -> None:
        """A segment of a session that is over: say again how it ended, each time once.

        Whoever cancelled it in its sender's name, a sender that still asks for a report waits for
        one, and must hear that there will be none.
        """
        if closed.cancelled is not None:
            self._say_cancelled(segment.session, closed.cancelled)
        elif not segment.is_checkpoint:
            return
        elif not closed.red_bytes:
            self._say_cancelled(segment.session, CancelReason.SYS_CNCLD)
        else:
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

    def _say_cancelled(self, session_id: SessionId, reason: CancelReason) -> None:
        segment = CancelSegment(session=session_id, by_sender=False, reason=reason)
        self._link.control(SegmentType.CANCEL_BY_RECEIVER, segment)

    def make_room(self, now: int, sessions: int, octets: int) -> bool:
        """Room for so many more sessions and octets, if need be by ending those heard of least
        recently: half blocks of a sender that restarted must not lock out its new ones."""
        config = self._link.config
        while (
            len(self._sessions) + sessions > config.import_sessions_max
            or self.allocated + octets > config.import_bytes_max
        ):
            oldest = next(iter(self._sessions.values()), None)
            if (
                oldest is None
                or oldest.state is ImportState.HELD
                or now - oldest.last_at < config.green_idle_ns
            ):
                return False
            if oldest.state is ImportState.OPEN:
                self.cancel(oldest, CancelReason.SYS_CNCLD)
            self.close(oldest, ImportInput.END)
        return True

    # --------------------------------------------------------------------------------- end

    def complete(self, session: ImportSession) -> memoryview:
        """The red part is whole (RFC 5326 §6.9): its octets."""
        assert session.red_bytes is not None
        session.move(ImportInput.COMPLETE)
        self._stop_waiting(session)
        self.by_prefix.pop(session.prefix, None)
        self._capacity_hint = max(FIRST_BYTES, min(session.red_bytes, _CAPACITY_HINT_MAX))
        before = session.red.allocated
        data = session.red.whole(session.red_bytes)
        self.allocated += session.red.allocated - before
        return data

    def give_up_buffer(self, session: ImportSession) -> None:
        """The driver has the octets, or nobody will."""
        self.allocated -= session.red.allocated
        session.red = RedPart(0)
        self.by_prefix.pop(session.prefix, None)

    def drop_reports(self, session: ImportSession) -> None:
        """No report of this session need be acknowledged any more."""
        for serial in session.reports:
            key = TimerKey(TimerKind.REPORT, session.id, serial)
            self._link.timers.cancel(key)
            self._link.drop_control(SegmentType.REPORT, session.id, serial)
        session.reports.clear()

    def cancel(self, session: ImportSession, reason: CancelReason) -> None:
        """Cancel as block receiver (RFC 5326 §6.19)."""
        self._abandon(session, reason)
        self.queue_cancel(session)

    def contradicted(self, session: ImportSession) -> None:
        """Octets of a block differ from those that came before: some are damaged or forged, and
        nobody can say which, perhaps not even its destination.  It is sent again."""
        self.cancel(session, CancelReason.SYS_CNCLD)

    def cancel_later(
        self, session: ImportSession, reason: CancelReason, now: int, hold_ns: int
    ) -> None:
        """The same, but the sender hears of it only after `hold_ns`."""
        self._abandon(session, reason)
        self._link.timers.arm(TimerKey(TimerKind.REFUSAL, session.id), now, hold_ns)

    def _abandon(self, session: ImportSession, reason: CancelReason) -> None:
        link = self._link
        session.move(ImportInput.CANCEL)
        session.cancel_reason = reason
        link.counters["import_failed"] += 1
        self._stop_waiting(session)
        self.drop_reports(session)
        self.give_up_buffer(session)
        link.trace(
            "ltp.import.cancelled",
            {"engine": session.id.engine, "number": session.id.number, "reason": reason},
        )

    def queue_cancel(self, session: ImportSession) -> None:
        """Send our cancellation, or send it again (RFC 5326 §6.16), unless it is held back."""
        if self._link.timers.running(TimerKey(TimerKind.REFUSAL, session.id)):
            return
        segment = CancelSegment(session=session.id, by_sender=False, reason=session.cancel_reason)
        timer = TimerKey(TimerKind.CANCEL_IMPORT, session.id)
        self._link.control(SegmentType.CANCEL_BY_RECEIVER, segment, 0, timer, session.cancels)

    def give_up(self, session_id: SessionId) -> None:
        """What came of a session, or would begin it, can never become a whole: cancel it, or say
        so again."""
        session = self._sessions.get(session_id)
        if session is None:
            self._say_cancelled(session_id, CancelReason.SYS_CNCLD)
        elif session.state is ImportState.CANCELLING:
            self.queue_cancel(session)
        else:
            self.cancel(session, CancelReason.SYS_CNCLD)

    def cancelled(self, segment: CancelSegment) -> None:
        """The block sender cancels (RFC 5326 §6.17)."""
        ack = CancelAck(session=segment.session, to_sender=True)
        self._link.control(SegmentType.CANCEL_ACK_TO_SENDER, ack)
        session = self._sessions.get(segment.session)
        if session is not None:
            self._link.counters["import_cancelled"] += 1
            self.close(session, ImportInput.PEER_CANCEL)
        elif segment.session in self._lost:
            self.forget_lost(segment.session)

    def cancel_acked(self, session_id: SessionId) -> None:
        """The block sender acknowledges our cancellation (RFC 5326 §6.18)."""
        session = self._sessions.get(session_id)
        if session is not None and session.state is ImportState.CANCELLING:
            self.close(session, ImportInput.END)

    def cancel_expired(self, session: ImportSession) -> None:
        """No acknowledgement came for our cancellation."""
        session.cancels += 1
        if session.cancels <= self._link.config.cancel_limit:
            self.queue_cancel(session)
        elif session.id in self._lost:
            # Its next segment is answered with a cancellation again: the note must stay.
            self._remove(session)
        else:
            self.close(session, ImportInput.END)

    def close(self, session: ImportSession, what: ImportInput) -> None:
        """RFC 5326 §6.20."""
        ours = session.state is ImportState.CANCELLING and what is ImportInput.END
        accepted = session.state is ImportState.ACCEPTED
        session.move(what)
        self._remove(session)
        if session.red_high or ours:  # a green session has nothing to be said again
            self._closed[session.id] = _Closed(
                session.red_bytes or 0 if accepted else 0,
                session.next_serial,
                session.cancel_reason if ours else None,
            )
            if len(self._closed) > self._link.config.closed_max:
                del self._closed[next(iter(self._closed))]
        self._link.timers.cancel(TimerKey(TimerKind.IMPORT_LIFETIME, session.id))
        if session.note is not NoteState.NONE:
            self._lost.discard(session.id)
            self._link.emit(SessionClosed(session.id))

    def forget_lost(self, session_id: SessionId) -> None:
        """A session lost in a restart is over for the sender too, or too old."""
        self._lost.discard(session_id)
        self._link.timers.cancel(TimerKey(TimerKind.IMPORT_LIFETIME, session_id))
        self._link.emit(SessionClosed(session_id))

    def _remove(self, session: ImportSession) -> None:
        self._stop_waiting(session)
        self.drop_reports(session)
        self.give_up_buffer(session)
        for kind in (TimerKind.CANCEL_IMPORT, TimerKind.REFUSAL):
            self._link.timers.cancel(TimerKey(kind, session.id))
        self._link.drop_control(SegmentType.CANCEL_BY_RECEIVER, session.id)
        del self._sessions[session.id]

    def _stop_waiting(self, session: ImportSession) -> None:
        for kind in (TimerKind.REPORT_DELAY, TimerKind.ASYNC_REPORT):
            self._link.timers.cancel(TimerKey(kind, session.id))
