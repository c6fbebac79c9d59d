"""Which export sessions there are, and how they end."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import replace

from stack.core.clock import MILLISECOND as MS
from stack.core.errors import LocalError
from stack.engines.ltp.aggregator import Block
from stack.engines.ltp.events import Failed, Sent
from stack.engines.ltp.export_session import Checkpoint, ExportSession
from stack.engines.ltp.export_window import ExportWindow
from stack.engines.ltp.link import LinkState
from stack.engines.ltp.retreat import Retreat
from stack.engines.ltp.states import ExportInput, ExportState
from stack.engines.ltp.timers import TimerKey, TimerKind
from stack.engines.ltp.trains import TrainPacker
from stack.wire.ltp import CancelReason, CancelSegment, ReportSegment, SegmentType, SessionId

HOLD = SessionId(0, 0)
"""In place of a session, for the one timer that belongs to none."""


class ExportTable:
    """The export sessions of one engine, the sums over them that bound it, and what failures have
    taught.  Others read these; only the table changes them."""

    __slots__ = (
        "_failed",
        "_link",
        "again",
        "held",
        "in_flight",
        "kept",
        "retreat",
        "sending",
        "sessions",
        "unsent",
        "window",
    )

    def __init__(self, link: LinkState) -> None:
        self._link = link
        self.sessions: dict[SessionId, ExportSession] = {}
        self.sending: deque[ExportSession] = deque()
        """Sessions whose first transmission is not done, in order."""

        self.again: dict[SessionId, ExportSession] = {}
        """Sessions that have something to send again, in order."""

        self.retreat = Retreat()
        self._failed: dict[SessionId, tuple[Failed, int]] = {}
        """Blocks that are given back later, with the octets held."""

        self.kept = 0
        """Octets of these."""

        self.held = 0
        """Octets taken from the client and not yet acknowledged or given back."""

        self.unsent = 0
        """Octets of these that have never left."""

        self.in_flight = 0
        """Red octets sent and not claimed."""

        config = link.config
        self.window = ExportWindow(
            config.window_bytes, config.window_bytes_max, config.segment_bytes
        )
        """How many there may be on a link without a rate."""

    # ------------------------------------------------------------------------------- begin

    @property
    def free(self) -> int:
        """Octets that should be taken from the client."""
        config, bucket = self._link.config, self._link.bucket
        ahead = 2 * self.window.octets
        if bucket.paced:
            ahead = max(self.block_bytes, bucket.carries(config.queue_ns))
        return max(0, min(config.queue_bytes - self.held, ahead - self.unsent))

    @property
    def block_bytes(self) -> int:
        """Octets to which units are put together: on a link with a rate down to a quarter of what
        a block may have, as what is urgent waits behind it."""
        config, bucket = self._link.config, self._link.bucket
        most = config.block_bytes
        if bucket.paced:
            most = min(most, max(-(-most // 4), bucket.carries(config.queue_ns)))
        return most

    @property
    def open_bytes(self) -> int:
        """Octets that may leave for the first time on a link without a rate."""
        window = self.window.octets
        return min(window, self.retreat.block_bytes or window) - self.in_flight

    def admit(self, size: int) -> None:
        """The client hands over one unit or block.  Raises `LocalError`."""
        if not 0 < size <= self._link.config.block_bytes_max:
            raise LocalError(f"a block of {size} octets cannot be sent")
        if self.held >= self._link.config.queue_bytes:
            raise LocalError("no room in the LTP engine; ask `room` before submitting")
        self.held += size
        self.unsent += size

    def withdraw(self, blocks: Collection[Block]) -> tuple[int, ...]:
        """The client has blocks back that no session has begun: their refs."""
        octets = sum(block.held for block in blocks)
        self.held -= octets
        self.unsent -= octets
        return tuple(ref for block in blocks for ref in block.refs)

    def withdraw_begun(self) -> tuple[int, ...]:
        """The client has the blocks of all sessions back, which end: their refs, in order."""
        alive = (session for session in self.sessions.values() if session.alive)
        refs = tuple(ref for session in alive for ref in session.refs)
        self.let_go(frozenset(refs))
        return refs

    def begin(self, session: ExportSession, now: int) -> None:
        """A session may send its first octet."""
        self.sessions[session.id] = session
        self.sending.append(session)
        self.unsent += session.length - session.held  # what aggregation has added
        self.window.begun(session.length)
        self._link.counters["export_sessions"] += 1
        key = TimerKey(TimerKind.EXPORT_LIFETIME, session.id)
        self._link.timers.arm(key, now, self._link.config.session_lifetime_ns)

    # ---------------------------------------------------------------------------- progress

    def emit_new(
        self,
        session: ExportSession,
        packer: TrainPacker,
        left: list[Checkpoint],
        every: int,
        window: int,
    ) -> int:
        """`ExportSession.emit_new` of the first in `sending`, until its last octet has left."""
        before = session.in_flight
        sent = session.emit_new(packer, left, every, window)
        self.in_flight += session.in_flight - before
        self.unsent -= sent
        if session.sent == session.length:
            self.sending.popleft()
            session.move(ExportInput.SENT)
        return sent

    def apply(self, session: ExportSession, report: ReportSegment, now: int) -> list[int]:
        """`ExportSession.apply`."""
        before = session.in_flight
        retired = session.apply(report)
        claimed = before - session.in_flight
        self.in_flight -= claimed
        if not self._link.bucket.paced:
            self.window.acknowledged(claimed, now)
        return retired

    def send_again(self, session: ExportSession) -> None:
        """It has something to send again."""
        self.again[session.id] = session

    def sent_again(self, session: ExportSession) -> None:
        """It has sent all of that."""
        del self.again[session.id]

    # --------------------------------------------------------------------------------- end

    def finish(self, session: ExportSession) -> None:
        """RFC 5326 §6.12."""
        self.retreat.sent(session.refs, session.length, session.client_service)
        self._link.emit(Sent(session.refs))
        self._forget_data(session)
        self.held -= session.held
        self.close(session, ExportInput.COMPLETE)

    def fail(self, session: ExportSession, reason: int, now: int) -> None:
        """The block did not arrive: the client has it back after a while."""
        link, retreat = self._link, self.retreat
        link.counters["export_failed"] += 1
        limit = retreat.block_bytes
        keep_ns = retreat.failed(
            session.refs, session.length, session.client_service, reason, session.begun_at, now
        )
        fields = {"engine": session.id.engine, "number": session.id.number}
        link.trace("ltp.export.failed", {**fields, "reason": reason, "keep_ms": keep_ns // MS})
        if retreat.block_bytes != limit:
            link.counters["export_smaller"] += 1
            link.trace("ltp.export.smaller", {**fields, "block_bytes": retreat.block_bytes})
        self._forget_data(session)
        self._failed[session.id] = (Failed(session.refs, reason), session.held)
        self.kept += session.held
        if keep_ns and link.tx_up:
            link.timers.arm(TimerKey(TimerKind.FAILED, session.id), now, keep_ns)
        else:
            self.give_back(session.id)
        if hold_ns := retreat.hold_ns:
            retreat.held = True
            link.timers.arm(TimerKey(TimerKind.HOLD, HOLD), now, hold_ns)

    def give_back(self, session_id: SessionId) -> None:
        """A failed block has waited for long enough."""
        event, held = self._failed.pop(session_id)
        self._link.timers.cancel(TimerKey(TimerKind.FAILED, session_id))
        self.held -= held
        self.kept -= held
        self._link.emit(event)

    def give_all_back(self) -> None:
        """The link is away: no need to wait."""
        for session_id in list(self._failed):
            self.give_back(session_id)

    def cancel(self, session: ExportSession, reason: CancelReason, now: int) -> None:
        """Cancel as block sender (RFC 5326 §6.19)."""
        self.fail(session, reason, now)
        self._cancelling(session, reason)

    def thinned(self, blocks: Iterable[Block], gone: frozenset[int]) -> deque[Block]:
        """Blocks that no session has begun, without units that are `gone` and what has no others:
        the units' octets stay where they are."""
        left: deque[Block] = deque()
        for block in blocks:
            if refs := _without(block.refs, gone):
                left.append(replace(block, refs=refs))
            else:
                self.held -= block.held
                self.unsent -= block.held
        return left

    def let_go(self, gone: frozenset[int]) -> None:
        """Of units that are `gone`, useless or taken back, nothing is said any more, and sessions
        of nothing else end."""
        for session in list(self.sessions.values()):
            if session.alive and not gone.isdisjoint(session.refs):
                session.refs = _without(session.refs, gone)
                if not session.refs:
                    self._give_up(session)

    def _give_up(self, session: ExportSession) -> None:
        """Cancel because the client wants none of the block carried here (RFC 5326 §4.2)."""
        self._link.counters["export_given_up"] += 1
        self._forget_data(session)
        self.held -= session.held
        self._cancelling(session, CancelReason.USR_CNCLD)

    def _cancelling(self, session: ExportSession, reason: CancelReason) -> None:
        session.move(ExportInput.CANCEL)
        session.cancel_reason = reason
        self.queue_cancel(session)

    def queue_cancel(self, session: ExportSession) -> None:
        """Send our cancellation, or send it again (RFC 5326 §6.16)."""
        segment = CancelSegment(session=session.id, by_sender=True, reason=session.cancel_reason)
        timer = TimerKey(TimerKind.CANCEL_EXPORT, session.id)
        self._link.control(SegmentType.CANCEL_BY_SENDER, segment, 0, timer, session.cancels)

    def _forget_data(self, session: ExportSession) -> None:
        """Nothing more of the block will be sent: stop its timers."""
        timers = self._link.timers
        for serial in session.checkpoints:
            timers.cancel(TimerKey(TimerKind.CHECKPOINT, session.id, serial))
        self.in_flight -= session.in_flight
        self.unsent -= session.length - session.sent
        self.again.pop(session.id, None)
        if session.state is ExportState.SENDING:
            self.sending.remove(session)

    def close(self, session: ExportSession, what: ExportInput) -> None:
        """RFC 5326 §6.20."""
        session.move(what)
        timers = self._link.timers
        timers.cancel(TimerKey(TimerKind.EXPORT_LIFETIME, session.id))
        timers.cancel(TimerKey(TimerKind.CANCEL_EXPORT, session.id))
        self._link.drop_control(SegmentType.CANCEL_BY_SENDER, session.id)
        del self.sessions[session.id]


def _without(refs: tuple[int, ...], gone: frozenset[int]) -> tuple[int, ...]:
    return tuple(ref for ref in refs if ref not in gone)
