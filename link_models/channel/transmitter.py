"""The sending end of a link: windows, queue and rate."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator

import numpy as np

from link_models.channel.config import ChannelConfig, Window
from link_models.noise import Times
from stack.core.clock import SECOND


class Transmitter:
    """Sends datagrams one after the other while a window is open."""

    def __init__(self, config: ChannelConfig) -> None:
        self.config = config
        self.busy_ns = -math.inf
        """When it will have sent what it has taken."""
        self.reason = ""
        """Why it dropped what it dropped last: dropped_queue or dropped_window."""
        self._starts_ns = [window.start_ns for window in config.windows]
        self._last = -1

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

    def take_over(self, waiting_bytes: int, now_ns: int) -> None:
        """Be busy with octets, overhead included, that wait for another transmitter."""
        if waiting_bytes:
            sent = self._walk(now_ns, waiting_bytes, 1, waiting_bytes)
            self.busy_ns = sent[0] if sent else now_ns

    def backlog_bytes(self, now_ns: int) -> int:
        """Octets that wait for the transmitter at `now_ns`, overhead included."""
        return math.ceil(sum(bits for _, bits in self._pending(now_ns)) / 8 - 1e-6)

    def drained_ns(self, backlog_bytes: int, now_ns: int) -> int:
        """When the backlog will have fallen to `backlog_bytes`, if nothing more is sent."""
        pending = list(self._pending(now_ns))
        over = sum(bits for _, bits in pending) - 8 * backlog_bytes
        at_ns = float(now_ns)
        for window, bits in pending:
            if over <= bits:
                return max(now_ns, math.ceil(at_ns + over * SECOND / window.rate_bps))
            over -= bits
            at_ns = window.end_ns
        return math.ceil(max(now_ns, self.busy_ns))

    def fits(self, count: int, size: int, octets: int, window: Window, now_ns: int) -> bool:
        """Whether queue and window have room for all of a train."""
        wire = self.config.wire_bytes
        wire_bytes = (count - 1) * wire(size) + wire(octets - (count - 1) * size)
        if window.rate_bps < math.inf and wire_bytes > self._room_bytes(now_ns):
            return False
        begin_ns = max(self.busy_ns, now_ns)
        return begin_ns + wire_bytes * 8 * SECOND / window.rate_bps <= window.end_ns

    def send_one(self, octets: int, window: Window, now_ns: int) -> float | None:
        """The same for one datagram, without arrays; None if it is dropped."""
        config = self.config
        wire_bytes = config.wire_bytes(octets)
        start_ns = self.busy_ns
        if start_ns > now_ns:
            if (config.queue_ns is not None and start_ns - now_ns > config.queue_ns) or (
                self.backlog_bytes(now_ns) + wire_bytes > config.queue_bytes
            ):
                self.reason = "dropped_queue"
                return None
        else:
            start_ns = now_ns
        sent_ns = start_ns + wire_bytes * 8 * SECOND / window.rate_bps
        if sent_ns > window.end_ns:
            sent = self._walk(start_ns, wire_bytes, 1, wire_bytes)
            if not sent:
                self.reason = "dropped_window"
                return None
            sent_ns = sent[0]
        self.busy_ns = sent_ns
        return sent_ns

    def send(self, count: int, size: int, octets: int, window: Window, now_ns: int) -> Times:
        """When the transmitter is done with each datagram of a train that queue and window let
        through: the first so many of `count`."""
        config = self.config
        wire_bytes = config.wire_bytes(size)
        tail_bytes = config.wire_bytes(octets - (count - 1) * size)
        start_ns = max(self.busy_ns, now_ns)
        idle = self.busy_ns <= now_ns
        room_bytes = self._room_bytes(now_ns)
        accepted = count
        if (count - 1) * wire_bytes + tail_bytes > room_bytes and window.rate_bps < math.inf:
            accepted = min(count, max(room_bytes // wire_bytes, 1 if idle else 0))
            tail_bytes = wire_bytes if accepted < count else tail_bytes
        step_ns = wire_bytes * 8 * SECOND / window.rate_bps
        end_ns = start_ns + (accepted - 1) * step_ns + tail_bytes * 8 * SECOND / window.rate_bps
        if not accepted:
            sent = np.empty(0)
        elif end_ns <= window.end_ns:
            sent = np.arange(1, accepted + 1, dtype=np.float64)
            sent *= step_ns
            sent += start_ns
            sent[-1] = end_ns
        else:
            sent = np.array(self._walk(start_ns, wire_bytes, accepted, tail_bytes))
        reason = "dropped_queue" if len(sent) == accepted else "dropped_window"
        if config.queue_ns is not None:
            begun = np.append(start_ns, sent)
            fit = int(np.searchsorted(begun, now_ns + config.queue_ns, side="right"))
            if fit < len(begun):
                reason, sent = "dropped_queue", sent[:fit]
        if len(sent):
            self.busy_ns = float(sent[-1])
        self.reason = reason
        return sent

    def _pending(self, now_ns: int) -> Iterator[tuple[Window, float]]:
        """Bits that wait for the transmitter, by the window in which they will be sent."""
        at_ns = float(now_ns)
        while at_ns < self.busy_ns:
            window = self.window_at(at_ns)
            if window is None:
                return
            until_ns = min(self.busy_ns, window.end_ns)
            yield window, (until_ns - at_ns) * window.rate_bps / SECOND
            at_ns = until_ns

    def _room_bytes(self, now_ns: int) -> int:
        waiting = self.backlog_bytes(now_ns) if self.busy_ns > now_ns else 0
        return self.config.queue_bytes - waiting

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
