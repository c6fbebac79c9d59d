"""The sending side of an LTP engine: blocks queued, sessions under way, their recovery."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from stack.core.errors import LocalError
from stack.core.train import Buffer
from stack.engines.ltp.aggregator import Aggregator, Block
from stack.engines.ltp.export_session import Checkpoint, ExportSession
from stack.engines.ltp.export_table import ExportTable
from stack.engines.ltp.link import LinkState
from stack.engines.ltp.reports_seen import Recounts
from stack.engines.ltp.states import ExportInput, ExportState
from stack.engines.ltp.timers import TimerKey, TimerKind
from stack.engines.ltp.trains import TrainPacker
from stack.wire.ltp import (
    CLIENT_BP,
    CancelAck,
    CancelReason,
    CancelSegment,
    ReportAck,
    ReportSegment,
    SegmentType,
    SessionId,
)

_SERIAL_BITS = 20
"""First checkpoint serial numbers take three octets as SDNV."""


class Sender:
    """All export sessions of one engine."""

    __slots__ = ("_aggregator", "_engine", "_link", "_next_number", "_ready", "_recounts", "_table")

    def __init__(self, link: LinkState) -> None:
        self._link = link
        self._engine = link.config.local_engine_id
        self._aggregator = Aggregator()
        self._ready: deque[Block] = deque()
        self._table = ExportTable(link)
        self._next_number = link.random(link.config.session_bits)
        self._recounts = Recounts()

    # ---------------------------------------------------------------------------- commands

    def room(self) -> int:
        """Octets that should be submitted now."""
        retreat, free = self._table.retreat, self._table.free
        if retreat.held or not retreat.probing:
            return 0 if retreat.held else free
        most = retreat.block_bytes or self._table.block_bytes
        return min(free, max(0, most + self._table.kept - self._table.held))

    @property
    def held_bytes(self) -> int:
        """Octets taken and neither delivered nor given back."""
        return self._table.held

    @property
    def under_way(self) -> bool:
        """Whether there is any session, be it one that is being cancelled."""
        return bool(self._table.sessions)

    @property
    def unit_bytes(self) -> int:
        """Largest unit that should be submitted in one piece; 0 for any."""
        return self._table.retreat.block_bytes

    def next_session(self) -> SessionId:
        """A number that no session has had."""
        self._next_number += 1
        return SessionId(self._engine, self._next_number - 1)

    def submit(self, sdu: Buffer, ref: int, now: int, green: bool) -> None:
        """Take one service data unit.  Raises `LocalError`."""
        self._table.admit(len(sdu))
        if green:
            self._flush()
            self._ready.append(Block(sdu, (ref,), 0, CLIENT_BP, len(sdu)))
        else:
            self._ready += self._aggregator.add(sdu, ref, now, self._block_bytes(now))

    def submit_block(
        self, parts: Sequence[Buffer], refs: tuple[int, ...], red_bytes: int, client_service: int
    ) -> None:
        """Take one block as it is (RFC 5326 §4.1).  Raises `LocalError`."""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if not 0 <= red_bytes <= len(data):
            raise LocalError(f"red part of {red_bytes} octets in a block of {len(data)}")
        self._table.admit(len(data))
        self._flush()
        self._ready.append(Block(data, refs, red_bytes, client_service, len(data)))

    def _flush(self) -> None:
        """What has gathered is a block now, in front of what comes after it."""
        if self._aggregator.since is not None:
            self._ready.append(self._aggregator.flush())

    def _block_bytes(self, now: int) -> int:
        """Largest block that units are put together in; 0 for none."""
        retreat, most = self._table.retreat, self._table.block_bytes
        return 0 if retreat.plain(now) else min(most, retreat.block_bytes or most)

    def cancel(self, refs: Iterable[int]) -> None:
        """Let go of units, and of blocks that have no others (RFC 5326 §4.2)."""
        gone = frozenset(refs)
        self._flush()
        self._ready = self._table.thinned(self._ready, gone)
        self._table.let_go(gone)

    def withdraw(self, begun: bool) -> tuple[int, ...]:
        """Give back, and forget, all blocks: those under way, if they shall be, and the others."""
        self._flush()
        refs = self._table.withdraw_begun() if begun else ()
        refs += self._table.withdraw(self._ready)
        self._ready.clear()
        self.away()
        return refs

    def away(self) -> None:
        """The link is down, or its peer does not answer: what failed may go another way at once."""
        self._table.give_all_back()

    # ------------------------------------------------------------------------ transmission

    def ready_at(self) -> int | None:
        """When data could leave if the link's rate allowed: 0 for now, None for not before
        something else happens."""
        if self._table.again:
            return 0
        if not self._may_begin():
            return None
        if self._table.sending:
            return 0
        if len(self._table.sessions) >= self._link.config.export_sessions_max:
            return None
        if self._ready:
            return 0
        since = self._aggregator.since
        if since is None:
            return None
        # Units wait for company only while earlier blocks keep the link busy.
        return since + self._link.config.aggregation_ns if self._table.sessions else 0

    def _may_begin(self) -> bool:
        """Whether octets may leave for the first time."""
        link, table = self._link, self._table
        if link.stalled and link.timers.awaiting_peer:
            return False  # the probes must be answered first
        if table.retreat.probing and not table.sending and (table.retreat.held or table.in_flight):
            return False
        return link.bucket.paced or table.open_bytes > 0

    def send(self, packer: TrainPacker, now: int) -> None:
        """Put data into trains as far as the packer's budget and the window go: first what must
        be sent again, then new octets, block by block."""
        left: list[Checkpoint] = []
        for session in list(self._table.again.values()):
            sent = session.emit_again(packer, left)
            self._link.counters["data_bytes_resent"] += sent
            self._table.window.again(sent)
            self._arm(session, left, now)
            if session.resending:
                return
            self._table.sent_again(session)
        while self._may_begin():
            if not self._table.sending and not self._begin(now):
                self._table.window.idle(now)
                return
            session = self._table.sending[0]
            paced = self._link.bucket.paced
            sent = self._table.emit_new(
                session,
                packer,
                left,
                self._stretch_segments(paced),
                session.length if paced else self._table.open_bytes,
            )
            self._link.counters["data_bytes_sent"] += sent
            self._arm(session, left, now)
            if session.state is ExportState.SENDING:
                return
            if session.complete:
                self._table.finish(session)

    def _stretch_segments(self, paced: bool) -> int:
        config = self._link.config
        if self._table.retreat.few_reports:
            return 0
        if paced:
            return config.checkpoint_every
        half = self._table.window.octets // (2 * config.segment_bytes)  # at least 2, see LtpConfig
        return min(config.checkpoint_every or half, half)

    def _begin(self, now: int) -> bool:
        """Start the session of the next block; False when there is none yet."""
        ready_at = self.ready_at()
        if ready_at is None or ready_at > now:
            return False
        if not self._ready:
            self._ready.append(self._aggregator.flush())
        block = self._ready.popleft()
        session_id = self.next_session()
        serial = self._link.random(_SERIAL_BITS)
        session = ExportSession(session_id, block, serial, self._link.config.segment_bytes, now)
        self._table.begin(session, now)
        return True

    def _arm(self, session: ExportSession, left: list[Checkpoint], now: int) -> None:
        """Start the timers of checkpoints that leave now (RFC 5326 §6.2)."""
        link = self._link
        for checkpoint in left:
            key = TimerKey(TimerKind.CHECKPOINT, session.id, checkpoint.serial)
            link.timers.arm(key, now, link.interval(checkpoint.attempts))
        left.clear()

    # ------------------------------------------------------------------------- peer's side

    def report(self, report: ReportSegment, now: int) -> None:
        """A report segment (RFC 5326 §6.13): acknowledge it always, use it once."""
        link = self._link
        link.counters["reports_received"] += 1
        serial = report.report_serial
        ack = ReportAck(session=report.session, report_serial=serial)
        link.control(SegmentType.REPORT_ACK, ack, serial)
        session = self._table.sessions.get(report.session)
        if session is None or not session.alive:
            return
        if serial in session.reports_seen:
            return
        fault = session.fault_of(report)
        if fault:
            link.violation(fault, "RFC 5326 §3.2.2")
            return
        if session.withdraws(report):
            link.violation("report withdraws earlier claims", "RFC 5326 §3.2.2")
            self._table.cancel(session, CancelReason.SYS_CNCLD, now)
            return
        if self._recounts.begun_anew(session.reports_seen, serial, session.begun_at, now):
            link.violation("reports counted anew: their receiver was set back", "RFC 5326 §3.2.2")
            self._table.cancel(session, CancelReason.SYS_CNCLD, now)
            return
        for checkpoint_serial in self._table.apply(session, report, now):
            link.timers.cancel(TimerKey(TimerKind.CHECKPOINT, report.session, checkpoint_serial))
        if session.complete:
            self._table.finish(session)
        elif session.combed:
            link.violation("reports beyond what the block explains", "RFC 5326 §6.13")
            self._table.cancel(session, CancelReason.RXMTCYCEXC, now)
        elif session.resending:
            self._table.window.lost()
            self._table.send_again(session)

    def cancelled(self, segment: CancelSegment, now: int) -> None:
        """The receiver cancels a session (RFC 5326 §6.17)."""
        link = self._link
        ack = CancelAck(session=segment.session, to_sender=False)
        link.control(SegmentType.CANCEL_ACK_TO_RECEIVER, ack)
        session = self._table.sessions.get(segment.session)
        if session is None:
            return
        if session.alive:
            self._table.fail(session, segment.reason, now)
        self._table.close(session, ExportInput.PEER_CANCEL)

    def cancel_acked(self, session_id: SessionId) -> None:
        """The receiver acknowledges our cancellation (RFC 5326 §6.18)."""
        session = self._table.sessions.get(session_id)
        if session is not None and session.state is ExportState.CANCELLING:
            self._table.close(session, ExportInput.END)

    def alive(self, now: int, *, counts: bool) -> None:
        """A stall is over: everything unanswered is asked again at once."""
        for session in list(self._table.sessions.values()):
            for checkpoint in list(session.checkpoints.values()):
                if session.alive:
                    self._repeat(session, checkpoint, now, counts=counts)

    # ------------------------------------------------------------------------------ timers

    def expired(self, key: TimerKey, armed_at: int, now: int) -> None:
        """A timer of an export session ran out."""
        if key.kind is TimerKind.FAILED:
            self._table.give_back(key.session)
            return
        if key.kind is TimerKind.HOLD:
            self._table.retreat.held = False
            return
        session = self._table.sessions[key.session]
        if key.kind is TimerKind.CHECKPOINT:
            self._checkpoint_expired(session, key, armed_at, now)
        elif key.kind is TimerKind.CANCEL_EXPORT:
            session.cancels += 1
            if session.cancels > self._link.config.cancel_limit:  # RFC 5326 §6.16
                self._table.close(session, ExportInput.END)
            else:
                self._table.queue_cancel(session)
        elif session.state is ExportState.CANCELLING:
            self._table.close(session, ExportInput.END)
        else:
            self._table.cancel(session, CancelReason.SYS_CNCLD, now)

    def _checkpoint_expired(
        self, session: ExportSession, key: TimerKey, armed_at: int, now: int
    ) -> None:
        """RFC 5326 §6.7."""
        link = self._link
        checkpoint = session.checkpoints[key.serial]
        again, counts = link.may_repeat(armed_at, now)
        if not again:
            link.timers.arm(key, now, link.probe_wait(now))
            return
        self._repeat(session, checkpoint, now, counts=counts)

    def _repeat(
        self, session: ExportSession, checkpoint: Checkpoint, now: int, *, counts: bool
    ) -> None:
        """Ask again, unless that was tried too often."""
        link = self._link
        checkpoint.attempts += counts
        if checkpoint.attempts > link.config.checkpoint_limit:
            self._table.cancel(session, CancelReason.RLEXC, now)
            return
        link.counters["checkpoints_repeated"] += 1
        session.recheck[checkpoint.serial] = checkpoint
        self._table.send_again(session)
