"""Which export sessions there are, and how they end."""

from __future__ import annotations

from collections import deque

from stack.engines.ltp.events import Failed, Sent
from stack.engines.ltp.export_session import ExportSession
from stack.engines.ltp.link import Link
from stack.engines.ltp.timers import TimerKey, TimerKind
from stack.wire.ltp import CancelReason, CancelSegment, SegmentType, SessionId


class ExportTable:
    """The export sessions of one engine, and the sums over them that bound it."""

    __slots__ = ("_link", "again", "held", "in_flight", "sending", "sessions")

    def __init__(self, link: Link) -> None:
        self._link = link
        self.sessions: dict[SessionId, ExportSession] = {}
        self.sending: deque[ExportSession] = deque()
        """Sessions whose first transmission is not done, in order."""

        self.again: dict[SessionId, ExportSession] = {}
        """Sessions that have something to send again, in order."""

        self.held = 0
        """Octets taken from the client and not yet acknowledged or failed."""

        self.in_flight = 0
        """Red octets sent and not claimed."""

    def finish(self, session: ExportSession) -> None:
        """RFC 5326 §6.12."""
        self._link.emit(Sent(session.refs))
        self._forget_data(session)
        self.close(session)

    def fail(self, session: ExportSession, reason: int) -> None:
        self._link.counters["export_failed"] += 1
        self._link.trace(
            "ltp.export.failed",
            {"engine": session.session.engine, "number": session.session.number, "reason": reason},
        )
        self._link.emit(Failed(session.refs, reason))
        self._forget_data(session)

    def cancel(self, session: ExportSession, reason: CancelReason) -> None:
        """Cancel as block sender (RFC 5326 §6.19)."""
        self.fail(session, reason)
        session.cancelling = reason
        self.queue_cancel(session)

    def queue_cancel(self, session: ExportSession) -> None:
        assert session.cancelling is not None
        segment = CancelSegment(session=session.session, by_sender=True, reason=session.cancelling)
        timer = TimerKey(TimerKind.CANCEL_EXPORT, session.session)
        self._link.control(SegmentType.CANCEL_BY_SENDER, segment, 0, timer, session.cancels)

    def _forget_data(self, session: ExportSession) -> None:
        """Nothing more of the block will be sent: stop its timers, give its room back."""
        timers = self._link.timers
        for serial in session.checkpoints:
            timers.cancel(TimerKey(TimerKind.CHECKPOINT, session.session, serial))
        self.in_flight -= session.in_flight
        self.held -= session.held
        self.again.pop(session.session, None)
        if session in self.sending:
            self.sending.remove(session)

    def close(self, session: ExportSession) -> None:
        """RFC 5326 §6.20."""
        timers = self._link.timers
        timers.cancel(TimerKey(TimerKind.EXPORT_LIFETIME, session.session))
        timers.cancel(TimerKey(TimerKind.CANCEL_EXPORT, session.session))
        self._link.drop_control(SegmentType.CANCEL_BY_SENDER, session.session)
        del self.sessions[session.session]
