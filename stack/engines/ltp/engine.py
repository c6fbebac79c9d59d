"""The LTP engine (RFC 5326): one peer over one link, driven by `LtpDriver`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stack.core.errors import DecodeError
from stack.core.sansio import Entropy, Trace, no_trace
from stack.core.train import Buffer, Train
from stack.engines.ltp.config import LtpConfig
from stack.engines.ltp.envelope import Envelope
from stack.engines.ltp.events import LtpEvent
from stack.engines.ltp.link import LinkState
from stack.engines.ltp.probe import Probe
from stack.engines.ltp.receiver import Receiver
from stack.engines.ltp.sender import Sender
from stack.engines.ltp.timers import TimerKind
from stack.engines.ltp.trains import RunHeads, TrainPacker
from stack.wire.ltp import (
    CancelReason,
    CancelSegment,
    DataSegment,
    ReportAck,
    ReportSegment,
    Segment,
    SessionId,
    decode_segment,
)

_UNPACED_BUDGET = 1 << 62
"""No limit by rate; the window limits what is new."""

_EXPORT_TIMERS = frozenset(
    (
        TimerKind.CHECKPOINT,
        TimerKind.CANCEL_EXPORT,
        TimerKind.EXPORT_LIFETIME,
        TimerKind.FAILED,
        TimerKind.HOLD,
    )
)


class LtpEngine:
    """Sends blocks to one peer and takes blocks from it; see `stack.engines.ltp`.

    The link counts as up, unpaced and without delay until `link` says otherwise.
    """

    __slots__ = ("_link", "_probe", "_receiver", "_sender")

    def __init__(
        self,
        config: LtpConfig,
        *,
        entropy: Entropy,
        trace: Trace = no_trace,
        heads: RunHeads | None = None,
    ) -> None:
        """`heads`, a table of its own by default, may be shared by all engines of a thread."""
        self._link = LinkState(config, entropy, trace, heads)
        self._sender = Sender(self._link)
        self._receiver = Receiver(self._link)
        self._probe = Probe(self._link)

    # ------------------------------------------------------------------------------ client

    def submit(self, sdu: Buffer, ref: int, now: int, *, green: bool = False) -> None:
        """Send one service data unit, an encoded bundle, reliably (red), alone or in company,
        or unreliably (green) in a block of its own.

        `ref` comes back in `Sent` (for green: when it has left) or `Failed`.  The octets must
        not change until then.  Any one unit is taken while `room` is above 0.  Raises
        `LocalError` when `queue_bytes` are held, or the unit is empty or above `block_bytes_max`.
        """
        self._sender.submit(sdu, ref, now, green)

    def submit_block(
        self,
        parts: Sequence[Buffer],
        refs: Sequence[int],
        red_bytes: int,
        client_service: int,
    ) -> None:
        """Send one block whose first `red_bytes` octets are red and the rest green (RFC 5326
        §4.1).  Raises `LocalError` as `submit` does."""
        self._sender.submit_block(parts, tuple(refs), red_bytes, client_service)

    def room(self) -> int:
        """Octets that the engine takes now, not far ahead of what leaves (`LtpConfig.queue_ns`):
        none for a while after blocks have failed, and then no more than one block until one
        arrives."""
        return self._sender.room()

    @property
    def held_bytes(self) -> int:
        """Octets taken from the client whose blocks have neither arrived nor been given back."""
        return self._sender.held_bytes

    @property
    def unit_bytes(self) -> int:
        """Units larger than this should be submitted in parts, if they can be divided: larger ones
        have failed at this peer.  0 for any size."""
        return self._sender.unit_bytes

    @property
    def block_bytes_max(self) -> int:
        """Octets of the largest block, and so of the largest unit, that it sends."""
        return self._link.config.block_bytes_max

    def cancel(self, refs: Iterable[int]) -> None:
        """These units are of no use any more, and nothing is said of them from here on.  A session
        that carries no others is cancelled (RFC 5326 §4.2); a block that has others goes on."""
        self._sender.cancel(refs)

    def withdraw(self, *, begun: bool = False) -> tuple[int, ...]:
        """Take back everything of which nothing was sent yet, to send it another way: its refs.
        With `begun` also what has not been acknowledged, and its sessions are cancelled (RFC 5326
        §4.2): the peer may have it all the same."""
        return self._sender.withdraw(begun)

    def accept(self, session: SessionId) -> None:
        """The block of `BlockReceived` is durable: acknowledge it."""
        self._receiver.accept(session)

    def refuse(
        self,
        session: SessionId,
        now: int,
        reason: CancelReason = CancelReason.SYS_CNCLD,
        hold_ns: int = 0,
    ) -> None:
        """The block of `BlockReceived` is not taken, or the session of `ReportHeld` cannot be
        noted: cancel the session as receiver, so that the sender frees it at once and decides
        itself when to try again.  (To drop it silently would have its checkpoints repeated and
        the whole block sent again.)  With `hold_ns` the sender hears of it only that much later,
        and nothing until then: many send what was refused again at once."""
        self._receiver.refuse(session, reason, now, hold_ns)

    def report_noted(self, session: SessionId) -> None:
        """The session id of `ReportHeld` is durable."""
        self._receiver.noted(session)

    def recover(self, noted_sessions: Iterable[SessionId], now: int) -> None:
        """After a restart: sessions that were noted and not closed.  Upon any segment of them
        the peer is told to begin anew (CR, SYS_CNCLD)."""
        self._receiver.table.recover(noted_sessions, now)

    def link(
        self, now: int, *, tx_up: bool, rx_up: bool, rate_bps: float | None, owlt_ns: int
    ) -> None:
        """Link state: whether we can transmit, whether the peer can, at what rate we may send
        (None: unpaced), and the one-way light time.  Sessions live on while the link is away."""
        if self._link.cue(now, tx_up, rx_up, rate_bps, owlt_ns):
            self._ask_again(now, counts=False)
        if not tx_up:
            self._sender.away()

    def begin_anew(self) -> None:
        """End a stall though nothing was heard: with nothing to ask (see `asking`) the peer has
        nothing to answer, and would be silent for ever."""
        self._link.alive()

    def probe(self, now: int) -> None:
        """Ask a peer that is silent for no more than an answer, ever more seldom, until it is heard
        or the link is down."""
        if not self._probe.running:
            self._probe.begin(self._sender.next_session(), now)

    @property
    def heard_at(self) -> int:
        """When something valid last came from the peer; -1 before that."""
        return self._link.heard_at

    @property
    def stalled(self) -> bool:
        """Between `LinkStalled` and `LinkAlive`."""
        return self._link.stalled

    @property
    def asking(self) -> bool:
        """Whether it asks anything of the peer: a block, a cancellation or a report of it waits for
        an answer."""
        return self._sender.under_way or self._link.asking

    def counters(self) -> dict[str, int]:
        """What has been counted since the start."""
        return dict(self._link.counters)

    def count(self, name: str) -> int:
        """One of `counters`."""
        return self._link.counters[name]

    # ------------------------------------------------------------------------------- verbs

    def receive(self, train: Train, now: int) -> None:
        """Take datagrams from the link.  Never raises for what they hold."""
        view = memoryview(train.data)
        size = max(1, train.size)
        end = len(view)
        take_run = self._receiver.take_run
        at = 0
        valid = False
        while at < end:
            taken = take_run(view, at, size, now)
            if taken:
                valid = True
                at += taken
                continue
            stop = min(at + size, end)
            valid |= self._datagram(view[at:stop], now)
            at = stop
        if valid and self._link.heard(now):
            self._ask_again(now, counts=True)

    def data_to_send(self, now: int, envelope: Envelope | None = None) -> list[Train]:
        """Everything that may leave now, control segments first, as trains of equal segments, each
        with `envelope` around it."""
        link = self._link
        if not link.tx_up:
            return []
        bucket, config = link.bucket, link.config
        budget = bucket.allowance(now) if bucket.paced else _UNPACED_BUDGET
        packer = TrainPacker(
            link.heads,
            config.segment_bytes,
            config.train_bytes,
            config.overhead_bytes,
            budget,
            envelope,
        )
        if link.control_waiting:
            link.send_control(packer, now)
        if not link.control_waiting:
            self._sender.send(packer, now)
        packer.flush()
        bucket.take(packer.taken, now)
        return packer.trains

    def next_event(self) -> LtpEvent | None:
        """Take the oldest event, or None."""
        return self._link.next_event()

    def next_deadline(self) -> int | None:
        """When `handle_deadline`, and after it `data_to_send`, has something to do, or None."""
        link = self._link
        deadline = link.timers.next()
        if link.tx_up:
            ready = 0 if link.control_waiting else self._sender.ready_at()
            if ready is not None:
                if link.bucket.paced:
                    ready = max(ready, link.bucket.ready_at(link.config.train_bytes))
                deadline = ready if deadline is None else min(deadline, ready)
        return deadline

    def handle_deadline(self, now: int) -> None:
        """Act on every timer that is due."""
        timers = self._link.timers
        while (due := timers.pop_due(now)) is not None:
            key, armed_at = due
            if key.kind is TimerKind.PROBE:
                self._probe.expired(now)
            elif key.kind in _EXPORT_TIMERS:
                self._sender.expired(key, armed_at, now)
            else:
                self._receiver.expired(key, armed_at, now)

    # ---------------------------------------------------------------------------- dispatch

    def _ask_again(self, now: int, *, counts: bool) -> None:
        """A stall is over: what was never answered goes out again at once.  That counts as an
        attempt when the peer was heard: else whoever sends a datagram now and then, on a link whose
        other way is cut, has everything sent again each time, for ever."""
        self._sender.alive(now, counts=counts)
        self._receiver.reporter.alive(counts=counts)

    def _datagram(self, view: memoryview, now: int) -> bool:
        """The segments of one datagram, usually one; whether any was valid."""
        at = 0
        valid = False
        while at < len(view):
            try:
                segment, at = decode_segment(view, at)
            except DecodeError as error:
                self._link.counters["segments_malformed"] += 1
                self._link.violation(error.reason, error.section)
                break
            self._link.counters["segments_received"] += 1
            valid |= self._segment(segment, now)
        return valid

    def _segment(self, segment: Segment, now: int) -> bool:
        """Hand a segment to the side that it is for; False when it is from a stranger."""
        config = self._link.config
        engine = segment.session.engine
        answer = False
        match segment:
            case DataSegment() | ReportAck() | CancelSegment(by_sender=True):
                known = engine == config.remote_engine_id or config.accept_unknown_engines
            case _ if getattr(segment, "to_sender", None) is False:
                known = True  # acknowledges our own cancellation as receiver, or nothing
            case _:
                answer = True
                known = engine == config.local_engine_id
        if not known:
            self._link.refuse(engine, ours=answer)
            return False
        match segment:
            case DataSegment():
                self._receiver.data(segment, now)
            case ReportSegment():
                self._sender.report(segment, now)
            case ReportAck():
                self._receiver.reporter.acked(segment, now)
            case CancelSegment(by_sender=True):
                self._receiver.table.cancelled(segment)
            case CancelSegment():
                self._sender.cancelled(segment, now)
            case _ if segment.to_sender:
                self._sender.cancel_acked(segment.session)
            case _:
                self._receiver.table.cancel_acked(segment.session)
        return True
