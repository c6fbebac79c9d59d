"""One direction of a link: windows, rate, queue, light time, and every way to lose a datagram.

A channel is pure: it is told the time and answers with what arrives when.  The virtual network
and the real-time emulator share it.  It takes whole trains, and gives back whole trains where it
can, because a 400 Mbit/s pass is 21 million frames.

Datagrams are sent one after the other at the rate of the window.  Whatever has been sent before
the window closes arrives, after the light time, also when that is after the close.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from link_models.loss import LossFactory, no_loss
from link_models.rng import Streams
from stack.core.clock import SECOND
from stack.core.errors import ConfigError
from stack.core.train import Buffer, Train

Times = NDArray[np.float64]

FOREVER_NS = 1 << 62
"""The end of a window that never closes (146 years)."""

DATAGRAMS_PER_CALL_MAX = 1_000_000
"""Datagrams of one train; the arrays over them stay at a few megabytes."""


class Window(NamedTuple):
    """A time in which the link is up."""

    start_ns: int
    end_ns: int
    rate_bps: float
    """Bits a second, `inf` for a link that takes no time to send."""


class Delay:
    """One-way light time as a piecewise linear function of the time of sending."""

    def __init__(self, times_ns: Sequence[float], delays_ns: Sequence[float]) -> None:
        """`delays_ns` at `times_ns` (rising); constant before the first and after the last."""
        if len(times_ns) != len(delays_ns) or not len(times_ns):
            raise ConfigError("delay", "needs as many delays as times, at least one")
        self._times = np.asarray(times_ns, np.float64)
        self._delays = np.asarray(delays_ns, np.float64)
        if np.any(np.diff(self._times) <= 0):
            raise ConfigError("delay", "times must rise")
        if not np.all((self._delays >= 0) & np.isfinite(self._delays)):
            raise ConfigError("delay", "delays must be finite and not negative")
        self.constant_ns = float(delays_ns[0]) if len(delays_ns) == 1 else None

    @classmethod
    def constant(cls, delay_ns: float) -> Delay:
        """The same delay at all times."""
        return cls([0.0], [delay_ns])

    def at(self, sent_ns: Times) -> Times | float:
        """Delays in nanoseconds of datagrams sent at `sent_ns`."""
        if self.constant_ns is not None:
            return self.constant_ns
        return np.interp(sent_ns, self._times, self._delays)

    def at_one(self, sent_ns: float) -> float:
        """The delay in nanoseconds of one datagram."""
        if self.constant_ns is not None:
            return self.constant_ns
        return float(np.interp(sent_ns, self._times, self._delays))


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelConfig:
    """One direction of a link.  The defaults are a perfect link without delay."""

    windows: tuple[Window, ...] = (Window(-FOREVER_NS, FOREVER_NS, math.inf),)
    """When the link is up and how fast it is; sorted, apart or touching.  What is offered outside
    of them, or is not sent completely when they end, is lost.  A datagram may straddle two windows
    that touch (a change of modulation), not a gap."""

    delay: Delay = field(default_factory=lambda: Delay.constant(0))
    """One-way light time, plus whatever equipment adds."""

    queue_bytes: int = 1_000_000
    """Octets that may wait for the transmitter, overhead included; more is dropped from the tail.
    An idle link takes one datagram of any size.  Too large a queue shows as delay."""

    overhead_bytes: int = 0
    """Octets of lower layers sent with each datagram (28 for UDP over IPv4)."""

    loss: LossFactory = no_loss
    """Makes the loss model of this direction from its random substream."""

    jitter_ns: int = 0
    """Each datagram is delayed by a further 0 to `jitter_ns`, uniformly.  Order is kept: a datagram
    never arrives before the one sent earlier."""

    reorder_probability: float = 0.0
    """Share of datagrams that others may overtake."""

    reorder_ns_max: int = 0
    """How much later than in its turn such a datagram arrives at most; at least 1 ns later."""

    duplicate_probability: float = 0.0
    """Share of datagrams that arrive twice."""

    duplicate_ns_max: int = 0
    """How long after the first the copy arrives at most."""

    corrupt_probability: float = 0.0
    """Share of datagrams that arrive with wrong bits (UDP checksum off, or a damaged frame let
    through): 1 to `corrupt_bits_max` of them, uniformly."""

    corrupt_bits_max: int = 8
    """Bits flipped at most in one datagram."""

    coalesce_ns: int = 0
    """Datagrams that arrive within this time of each other are delivered together, when the last
    of them arrives.  0 gives each its own time; 1 ms makes fast links many times cheaper."""

    def __post_init__(self) -> None:
        for window in self.windows:
            if window.end_ns <= window.start_ns or not window.rate_bps > 0:
                raise ConfigError("windows", f"{window} is empty or has no rate")
        for window, after in itertools.pairwise(self.windows):
            if after.start_ns < window.end_ns:
                raise ConfigError("windows", "must be sorted and must not overlap")
        for key in ("reorder_probability", "duplicate_probability", "corrupt_probability"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(key, "is not a probability between 0 and 1")
        for key in ("jitter_ns", "reorder_ns_max", "duplicate_ns_max", "coalesce_ns"):
            if getattr(self, key) < 0:
                raise ConfigError(key, "must not be negative")
        if self.queue_bytes < 0 or self.overhead_bytes < 0 or self.corrupt_bits_max < 1:
            raise ConfigError("queue_bytes, overhead_bytes, corrupt_bits_max", "out of range")


def always_up(rate_bps: float) -> tuple[Window, ...]:
    """The windows of a link that never goes down."""
    return (Window(-FOREVER_NS, FOREVER_NS, rate_bps),)


class Delivery(NamedTuple):
    """Datagrams that arrive together."""

    at_ns: int
    train: Train


class Channel:
    """One direction of a link.  Calls must be in order of time."""

    def __init__(self, config: ChannelConfig, streams: Streams, name: str = "channel") -> None:
        """Takes the substreams `name`/loss, /jitter, /reorder, /duplicate and /corrupt."""
        self.config = config
        self._loss = config.loss(streams.stream(f"{name}/loss"))
        self._jitter = streams.stream(f"{name}/jitter")
        self._reorder = streams.stream(f"{name}/reorder")
        self._duplicate = streams.stream(f"{name}/duplicate")
        self._corrupt = streams.stream(f"{name}/corrupt")
        self._starts_ns = [window.start_ns for window in config.windows]
        self._lossless = config.loss is no_loss
        self._plain = not (
            config.jitter_ns
            or config.reorder_probability
            or config.duplicate_probability
            or config.corrupt_probability
        )
        self._busy_ns = -math.inf
        self._arrived_ns = -math.inf
        self._last = -1
        self._counts = dict.fromkeys(
            (
                f"{name}_{unit}"
                for name in (
                    "offered",
                    "delivered",
                    "lost",
                    "dropped_queue",
                    "dropped_window",
                    "duplicated",
                    "corrupted",
                    "reordered",
                )
                for unit in ("datagrams", "bytes")
            ),
            0,
        )

    def counters(self) -> dict[str, int]:
        """Totals of datagrams and octets.  offered + duplicated = delivered + lost + dropped_queue
        + dropped_window; corrupted and reordered ones are delivered."""
        return dict(self._counts)

    def window_at(self, now_ns: float) -> Window | None:
        """The window that is open at `now_ns`, or None."""
        last = self._last
        windows = self.config.windows
        if last >= 0 and windows[last].start_ns <= now_ns < windows[last].end_ns:
            return windows[last]
        index = bisect_right(self._starts_ns, now_ns) - 1
        if index < 0 or now_ns >= windows[index].end_ns:
            return None
        self._last = index
        return windows[index]

    def backlog_bytes(self, now_ns: int) -> int:
        """Octets that wait for the transmitter at `now_ns`, overhead included."""
        bits = 0.0
        at_ns = float(now_ns)
        while at_ns < self._busy_ns:
            window = self.window_at(at_ns)
            if window is None:
                break
            until_ns = min(self._busy_ns, window.end_ns)
            bits += (until_ns - at_ns) * window.rate_bps / SECOND
            at_ns = until_ns
        return math.ceil(bits / 8 - 1e-6)

    def drained_ns(self, backlog_bytes: int, now_ns: int) -> int:
        """When the backlog will have fallen to `backlog_bytes`, if nothing more is sent."""
        window = self.window_at(now_ns)
        if window is None or self._busy_ns <= now_ns:
            return now_ns
        return max(now_ns, math.ceil(self._busy_ns - backlog_bytes * 8 * SECOND / window.rate_bps))

    def send(self, train: Train, now_ns: int) -> list[Delivery]:
        """Offer a train at `now_ns`; what arrives of it, in order of arrival."""
        octets, size = len(train.data), train.size
        count = -(-octets // size)
        assert 0 < count <= DATAGRAMS_PER_CALL_MAX
        counts = self._counts
        counts["offered_datagrams"] += count
        counts["offered_bytes"] += octets
        window = self.window_at(now_ns)
        if window is None:
            self._count_out("dropped_window", count, octets)
            return []
        if count == 1 and self._plain:
            return self._send_one(train, octets, window, now_ns)
        sent = self._serialise(count, size, octets, window, now_ns)
        kept = len(sent)
        if not kept:
            return []
        if self._lossless:
            survivors = np.arange(kept)
        else:
            spacing_ns = (sent[-1] - sent[0]) / (kept - 1) if kept > 1 else 0.0
            lost = self._loss.lost_many(kept, size, int(sent[0]), float(spacing_ns))
            survivors = np.flatnonzero(~lost)
            if len(survivors) < kept:
                gone = np.flatnonzero(lost)
                self._count_out("lost", len(gone), _octets_of(gone, size, octets))
                if not len(survivors):
                    return []
                sent = sent[survivors]
        arrivals = sent + self.config.delay.at(sent)
        if self._plain:
            # A delay that falls faster than time passes would let light overtake light.
            return self._deliver(train, survivors, self._in_order(arrivals))
        return self._disturb(train, survivors, arrivals)

    def _send_one(self, train: Train, octets: int, window: Window, now_ns: int) -> list[Delivery]:
        """`send` for a single datagram on a link without tricks, without arrays."""
        config = self.config
        wire_bytes = octets + config.overhead_bytes
        start_ns = self._busy_ns
        if start_ns > now_ns:
            if self.backlog_bytes(now_ns) + wire_bytes > config.queue_bytes:
                self._count_out("dropped_queue", 1, octets)
                return []
        else:
            start_ns = now_ns
        sent_ns = start_ns + wire_bytes * 8 * SECOND / window.rate_bps
        if sent_ns > window.end_ns:
            sent = self._walk(start_ns, wire_bytes, 1, wire_bytes)
            if not sent:
                self._count_out("dropped_window", 1, octets)
                return []
            sent_ns = sent[0]
        self._busy_ns = sent_ns
        if not self._lossless and self._loss.lost(octets, int(sent_ns)):
            self._count_out("lost", 1, octets)
            return []
        arrival_ns = max(sent_ns + config.delay.at_one(sent_ns), self._arrived_ns)
        self._arrived_ns = arrival_ns
        counts = self._counts
        counts["delivered_datagrams"] += 1
        counts["delivered_bytes"] += octets
        return [Delivery(round(arrival_ns), train)]

    def _serialise(self, count: int, size: int, octets: int, window: Window, now_ns: int) -> Times:
        """When the transmitter is done with each datagram that queue and window let through."""
        config = self.config
        wire_bytes = size + config.overhead_bytes
        tail_bytes = octets - (count - 1) * size + config.overhead_bytes
        start_ns = max(self._busy_ns, now_ns)
        idle = self._busy_ns <= now_ns
        room_bytes = config.queue_bytes - (0 if idle else self.backlog_bytes(now_ns))
        offered = (count - 1) * wire_bytes + tail_bytes
        accepted = count
        if offered > room_bytes and window.rate_bps < math.inf:
            accepted = min(count, max(room_bytes // wire_bytes, 1 if idle else 0))
            dropped = count - accepted
            if dropped:
                self._count_out("dropped_queue", dropped, octets - accepted * size)
                tail_bytes = wire_bytes
            if not accepted:
                return np.empty(0)
        step_ns = wire_bytes * 8 * SECOND / window.rate_bps
        end_ns = start_ns + (accepted - 1) * step_ns + tail_bytes * 8 * SECOND / window.rate_bps
        if end_ns <= window.end_ns:
            sent = np.arange(1, accepted + 1, dtype=np.float64)
            sent *= step_ns
            sent += start_ns
            sent[-1] = end_ns
        else:
            sent = np.array(self._walk(start_ns, wire_bytes, accepted, tail_bytes))
        if len(sent) < accepted:
            dropped = accepted - len(sent)
            taken = min(accepted * size, octets)
            self._count_out("dropped_window", dropped, taken - len(sent) * size)
        if len(sent):
            self._busy_ns = float(sent[-1])
        return sent

    def _walk(self, start_ns: float, wire_bytes: int, count: int, tail_bytes: int) -> list[float]:
        """Serialisation across the end of a window: into the next one if that touches."""
        sent: list[float] = []
        at_ns = start_ns
        window = self.window_at(at_ns)
        for index in range(count):
            bits = 8.0 * (tail_bytes if index == count - 1 else wire_bytes)
            while window is not None:
                done_ns = at_ns + bits * SECOND / window.rate_bps
                if done_ns <= window.end_ns:
                    at_ns = done_ns
                    break
                bits -= (window.end_ns - at_ns) * window.rate_bps / SECOND
                at_ns = window.end_ns
                window = self.window_at(at_ns)
            if window is None:
                break
            sent.append(at_ns)
        return sent

    def _in_order(self, arrivals: Times) -> Times:
        if arrivals[0] < self._arrived_ns:
            arrivals[0] = self._arrived_ns
        np.maximum.accumulate(arrivals, out=arrivals)
        self._arrived_ns = float(arrivals[-1])
        return arrivals

    def _disturb(
        self, train: Train, survivors: NDArray[np.intp], arrivals: Times
    ) -> list[Delivery]:
        """Jitter, reordering, duplication and corruption."""
        config, n = self.config, len(survivors)
        if config.jitter_ns:
            arrivals += self._jitter.random(n) * config.jitter_ns
        arrivals = self._in_order(arrivals)
        single = np.zeros(n, np.bool_)
        if config.reorder_probability and config.reorder_ns_max:
            late = self._reorder.random(n) < config.reorder_probability
            extra = 1 + self._reorder.random(n) * (config.reorder_ns_max - 1)
            # The others keep their times, so nothing but the late ones is out of its turn.
            arrivals = np.where(late, arrivals + extra, arrivals)
            single |= late
            self._count("reordered", survivors[late], train)
        damaged = np.zeros(n, np.bool_)
        if config.corrupt_probability:
            damaged = self._corrupt.random(n) < config.corrupt_probability
            single |= damaged
            self._count("corrupted", survivors[damaged], train)
        deliveries = self._deliver(train, survivors[~single], arrivals[~single])
        for place in np.flatnonzero(single):
            datagram: Buffer = _slice(train, int(survivors[place]))
            if damaged[place]:
                datagram = self._damage(datagram)
            deliveries.append(
                Delivery(round(arrivals[place]), Train(datagram, len(datagram), train.flow))
            )
            self._counts["delivered_datagrams"] += 1
            self._counts["delivered_bytes"] += len(datagram)
        if config.duplicate_probability:
            twice = np.flatnonzero(self._duplicate.random(n) < config.duplicate_probability)
            self._count("duplicated", survivors[twice], train)
            self._count("delivered", survivors[twice], train)
            for place in twice:
                copy = _slice(train, int(survivors[place]))
                later_ns = self._duplicate.random() * config.duplicate_ns_max
                at_ns = round(arrivals[place] + later_ns)
                deliveries.append(Delivery(at_ns, Train(copy, len(copy), train.flow)))
        deliveries.sort(key=_arrival)
        return deliveries

    def _deliver(
        self, train: Train, survivors: NDArray[np.intp], arrivals: Times
    ) -> list[Delivery]:
        """Group what arrives in order (by `coalesce_ns`) into as few trains as possible."""
        n = len(survivors)
        if not n:
            return []
        self._count("delivered", survivors, train)
        times = np.rint(arrivals).astype(np.int64)
        after = _groups(times, self.config.coalesce_ns)
        ends_ns = times[np.array(after) - 1].tolist()
        if len(after) == n:
            size, flow, view = train.size, train.flow, memoryview(train.data)
            starts = (survivors * size).tolist()
            pieces = [view[start : start + size] for start in starts]
            return [
                Delivery(at_ns, Train(piece, len(piece), flow))
                for at_ns, piece in zip(ends_ns, pieces, strict=True)
            ]
        return [
            Delivery(at_ns, _pack(train, survivors[first:end]))
            for at_ns, first, end in zip(ends_ns, [0, *after[:-1]], after, strict=True)
        ]

    def _damage(self, datagram: Buffer) -> bytes:
        damaged = bytearray(datagram)
        flips = int(self._corrupt.integers(1, self.config.corrupt_bits_max, endpoint=True))
        for bit in self._corrupt.choice(
            len(damaged) * 8, min(flips, len(damaged) * 8), replace=False
        ):
            damaged[bit >> 3] ^= 1 << (bit & 7)
        return bytes(damaged)

    def _count(self, what: str, indices: NDArray[np.intp], train: Train) -> None:
        if len(indices):
            self._count_out(what, len(indices), _octets_of(indices, train.size, len(train.data)))

    def _count_out(self, what: str, datagrams: int, octets: int) -> None:
        self._counts[what + "_datagrams"] += datagrams
        self._counts[what + "_bytes"] += octets


def _arrival(delivery: Delivery) -> int:
    return delivery.at_ns


def _groups(times: NDArray[np.int64], coalesce_ns: int) -> list[int]:
    """Where each group of datagrams ends that arrive together."""
    n = len(times)
    if not coalesce_ns:
        return [*(np.flatnonzero(np.diff(times)) + 1).tolist(), n]
    if times[-1] - times[0] <= coalesce_ns:
        return [n]
    ends = []
    first = 0
    while first < n:
        first = int(np.searchsorted(times, times[first] + coalesce_ns, side="right"))
        ends.append(first)
    return ends


def _octets_of(indices: NDArray[np.intp], size: int, octets: int) -> int:
    """Octets of the datagrams `indices` (rising) of a train of `octets`."""
    return min(len(indices) * size, (len(indices) - 1) * size + octets - int(indices[-1]) * size)


def _slice(train: Train, index: int) -> memoryview:
    return memoryview(train.data)[index * train.size : (index + 1) * train.size]


def _pack(train: Train, indices: NDArray[np.intp]) -> Train:
    """The datagrams `indices` (rising) as one train: a view where they touch, a copy elsewhere."""
    size, n = train.size, len(indices)
    first, last = int(indices[0]), int(indices[-1])
    view = memoryview(train.data)[first * size : (last + 1) * size]
    if n == last - first + 1:
        return (
            train if len(view) == len(train.data) else Train(view, min(size, len(view)), train.flow)
        )
    whole = len(view) // size
    rows = np.frombuffer(view, np.uint8, whole * size).reshape(whole, size)
    picked = rows[indices[indices < first + whole] - first].tobytes()
    return Train(picked + bytes(view[whole * size :]), size, train.flow)
