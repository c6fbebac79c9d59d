"""What the sending and the receiving side of an engine share: the link's state, its timers, the
queue of control segments, events and counters."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from stack.core.sansio import Entropy, Trace
from stack.engines.ltp.bucket import Bucket
from stack.engines.ltp.config import LtpConfig
from stack.engines.ltp.events import (
    EngineUnknown,
    GreenReceived,
    LinkAlive,
    LinkStalled,
    LtpEvent,
    PeerViolation,
)
from stack.engines.ltp.timers import TimerKey, Timers
from stack.engines.ltp.trains import RunHeads, TrainPacker
from stack.wire.ltp import Segment, SegmentType, SessionId, encode_segment

_STRANGERS_MAX = 16
"""Foreign engine ids that the driver hears of; the others are only counted."""

_DOUBLINGS_MAX = 20
"""Enough doublings to pass any `backoff_ns_max`; it keeps the shift small."""

COUNTERS = (
    "segments_received",
    "segments_malformed",
    "segments_refused",
    "data_bytes_received",
    "data_bytes_duplicate",
    "data_bytes_sent",
    "data_bytes_resent",
    "green_bytes_dropped",
    "reports_sent",
    "reports_received",
    "checkpoints_repeated",
    "reports_repeated",
    "acks_dropped",
    "export_sessions",
    "export_failed",
    "export_given_up",
    "export_smaller",
    "import_sessions",
    "import_cancelled",
    "import_failed",
    "import_refused",
    "stalls",
    "violations",
)


class ControlKey(NamedTuple):
    """Identity of a queued control segment: one that is queued already is not queued again."""

    kind: SegmentType
    session: SessionId
    serial: int = 0


@dataclass(slots=True)
class _Control:
    octets: bytes
    timer: TimerKey | None
    attempt: int


class LinkState:
    """Shared state of one engine.  The timers of §6.2, §6.3 and §6.15 start when a segment
    leaves this queue, not when it enters it, since a link may be away for hours between."""

    __slots__ = (
        "_control",
        "_denied",
        "_events",
        "_green_bytes",
        "_owlt_ns",
        "_probe_at",
        "_probes",
        "_silent",
        "_strangers",
        "_violations",
        "bucket",
        "config",
        "counters",
        "entropy",
        "heads",
        "heard_at",
        "rx_up",
        "stalled",
        "timers",
        "trace",
        "tx_up",
    )

    def __init__(
        self, config: LtpConfig, entropy: Entropy, trace: Trace, heads: RunHeads | None = None
    ) -> None:
        self.config = config
        self.entropy = entropy
        self.trace = trace
        self.timers = Timers()
        self.heads = heads or RunHeads()
        self.bucket = Bucket(config.burst_ns, config.segment_bytes + config.overhead_bytes)
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.tx_up = True
        self.rx_up = True
        self.stalled = False
        self.heard_at = -1
        self._owlt_ns = 0
        self._silent = 0
        self._probe_at = 0
        self._denied = 0
        self._probes = 0
        self._control: dict[ControlKey, _Control] = {}
        self._events: deque[LtpEvent] = deque()
        self._green_bytes = 0
        self._violations = 0
        self._strangers: set[EngineUnknown] = set()

    # ------------------------------------------------------------------------- link state

    def cue(self, now: int, tx_up: bool, rx_up: bool, rate_bps: float | None, owlt_ns: int) -> bool:
        """Link state cue (RFC 5326 §6.5, §6.6); True when it ends a stall."""
        begins = (tx_up and not self.tx_up) or (rx_up and not self.rx_up)
        stalled = begins and self.alive()  # a new contact starts with no prejudice
        self.tx_up, self.rx_up, self._owlt_ns = tx_up, rx_up, owlt_ns
        self.bucket.set_rate(rate_bps, now)
        if rx_up:
            self.timers.resume(now)
        else:
            self.timers.suspend(now)
        return stalled

    @property
    def asking(self) -> bool:
        """Whether anything waits for the peer to answer, or is about to leave and does then."""
        if self.timers.awaiting_peer:
            return True
        return any(one.timer is not None for one in self._control.values())

    def interval(self, attempt: int) -> int:
        """Time until an answer is overdue: the round trip, a margin and our own pacing queue
        (RFC 5326 §6.2, §6.3), doubled for each earlier attempt up to a bound."""
        config = self.config
        base = 2 * self._owlt_ns + config.timer_margin_ns + config.burst_ns
        return max(base, min(base << min(attempt, _DOUBLINGS_MAX), config.backoff_ns_max))

    def heard(self, now: int) -> bool:
        """The peer sent something valid; True when that ends a stall."""
        self.heard_at = now
        self._silent = 0
        return self.alive()

    def alive(self) -> bool:
        """The peer counts as answering from now on; True when that ends a stall."""
        self._silent = 0
        if not self.stalled:
            return False
        self.stalled = False
        self._events.append(LinkAlive())
        self.trace("ltp.alive", {"peer": self.config.remote_engine_id})
        return True

    def may_repeat(self, armed_at: int, now: int) -> tuple[bool, bool]:
        """A timer armed at `armed_at` expired: (send again, count the attempt).

        An attempt counts towards its limit only when the peer was heard since: then this segment
        or its answer was lost.  Otherwise the peer is away, and after `stall_after` such
        expiries only one segment at a time is repeated, as a probe.
        """
        if self.heard_at > armed_at:
            return True, True
        if not self.stalled:
            self._silent += 1
            if self._silent < self.config.stall_after:
                return True, False
            self.stalled = True
            self._probes = 0
            self._probe_at = now
            self.counters["stalls"] += 1
            self._events.append(LinkStalled())
            self.trace("ltp.stalled", {"peer": self.config.remote_engine_id})
        if now < self._probe_at:
            return False, False
        self._probes += 1
        self._probe_at = now + self.interval(self._probes)
        self._denied = 0
        return True, False

    def probe_wait(self, now: int) -> int:
        """How long to wait before asking `may_repeat` again after it denied: those that were denied
        probe in turn, since the peer may have nothing to say to any one of them."""
        turn = self._denied
        self._denied += 1
        return max(self._probe_at - now, 1) + turn

    # -------------------------------------------------------------------- control segments

    def control(
        self,
        kind: SegmentType,
        segment: Segment,
        serial: int = 0,
        timer: TimerKey | None = None,
        attempt: int = 0,
    ) -> None:
        """Queue a control segment; `timer` starts when it leaves.  Acknowledgements, which have
        none, are dropped when too many wait: the peer asks again."""
        key = ControlKey(kind, segment.session, serial)
        if timer is None and len(self._control) >= self.config.acks_max:
            self.counters["acks_dropped"] += 1
        elif key not in self._control:
            self.queue(key, encode_segment(segment), timer, attempt)

    def queue(self, key: ControlKey, octets: bytes, timer: TimerKey | None, attempt: int) -> None:
        """Queue a control segment that is encoded already, if it is not queued yet."""
        if key not in self._control:
            self._control[key] = _Control(octets, timer, attempt)

    def drop_control(self, kind: SegmentType, session: SessionId, serial: int = 0) -> None:
        """Take a segment out of the queue, if it is still there."""
        self._control.pop(ControlKey(kind, session, serial), None)

    @property
    def control_waiting(self) -> bool:
        """Whether control segments wait to be sent."""
        return bool(self._control)

    def send_control(self, packer: TrainPacker, now: int) -> None:
        """Move control segments into trains; they go before all data."""
        control = self._control
        sent = []
        for key, entry in control.items():
            if not packer.segment(entry.octets):
                break
            sent.append(key)
            if entry.timer is not None:
                self.timers.arm(entry.timer, now, self.interval(entry.attempt))
        for key in sent:
            del control[key]

    # ------------------------------------------------------------------ events and counters

    def emit(self, event: LtpEvent) -> None:
        """Queue an event whose number the sessions bound."""
        self._events.append(event)

    def emit_green(self, event: GreenReceived) -> None:
        """Queue green data, or drop it when the driver does not keep up: it is unreliable."""
        if self._green_bytes + len(event.data) > self.config.green_bytes_max:
            self.counters["green_bytes_dropped"] += len(event.data)
            return
        self._green_bytes += len(event.data)
        self._events.append(event)

    def violation(self, code: str, section: str) -> None:
        """The peer broke a rule; the driver hears of the first few that it has not taken."""
        self.counters["violations"] += 1
        if self._violations < self.config.violations_max:
            self._violations += 1
            self._events.append(PeerViolation(code, section))

    def refuse(self, engine: int, *, ours: bool) -> None:
        """A segment carries the id of an engine that is not at that end of the link."""
        self.counters["segments_refused"] += 1
        if len(self._strangers) < _STRANGERS_MAX:
            config = self.config
            expected = config.local_engine_id if ours else config.remote_engine_id
            stranger = EngineUnknown(engine, expected, ours)
            if stranger not in self._strangers:
                self._strangers.add(stranger)
                self._events.append(stranger)

    def next_event(self) -> LtpEvent | None:
        """Take the oldest event."""
        if not self._events:
            return None
        event = self._events.popleft()
        if isinstance(event, GreenReceived):
            self._green_bytes -= len(event.data)
        elif isinstance(event, PeerViolation):
            self._violations -= 1
        return event

    def random(self, bits: int) -> int:
        """A random number from 1 to 2^bits - 1, for serial and session numbers that nobody can
        guess (RFC 5326 §3.2.1, §3.2.2, §9.1)."""
        return max(1, int.from_bytes(self.entropy(8)) >> (64 - bits))
