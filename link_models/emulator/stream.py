"""One direction of a TCP connection over a link, without sockets and without a clock.

Octets go in as the program writes them and come out when the link lets them.  They are cut into
segments, which wait for room in the transmitter and cross the channel one by one.  A segment that
the channel loses (or damages, which TCP's checksum finds) is offered again after the retransmission
time, and everything behind it waits: that is what loss means to a stream.
"""

from __future__ import annotations

import enum
import heapq
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from link_models.channel import FOREVER_NS
from link_models.emulator.config import SEGMENT_BYTES_MAX, StreamFaults, TcpConfig
from link_models.emulator.direction import Direction
from stack.core.clock import MILLISECOND
from stack.core.train import Buffer, Train

FLOW_STREAM = 4
"""The flow of segments on the channel: no port of UDP's."""

ZEROS = memoryview(bytes(2 * 65_536))
"""What crosses the channel in place of a segment: only its length matters there."""


class Kind(enum.Enum):
    """What a segment says, beside its octets."""

    SYN = enum.auto()
    DATA = enum.auto()
    FIN = enum.auto()
    RST = enum.auto()


class StreamEvent(enum.Enum):
    """What comes out of a stream beside octets."""

    OPENED = enum.auto()
    """The connection request has arrived: connect to the program, or begin to read from it."""

    FINISHED = enum.auto()
    """The sender will write no more; the other direction may live on."""

    CLOSED = enum.auto()
    """Close both sides in good order."""

    RESET = enum.auto()
    """Reset both sides."""


class StreamOutput(NamedTuple):
    """What is to be done now."""

    pieces: list[Buffer]
    """To be written, each by itself."""

    end: StreamEvent | None


class _Segment:
    __slots__ = ("arrival_ns", "data", "kind", "tries")

    def __init__(self, kind: Kind, data: memoryview) -> None:
        self.kind = kind
        self.data = data
        self.tries = 0
        self.arrival_ns: int | None = None


class Stream:
    """One direction of one connection.  Times are link time."""

    def __init__(
        self,
        direction: Direction,
        back: Direction,
        config: TcpConfig,
        faults: StreamFaults | None,
        uniform: Callable[[], float],
        opened_ns: int,
        lost: Callable[[Buffer], None],
    ) -> None:
        """`back` is the way of acknowledgements; `faults` are those that befall this connection,
        `uniform` gives numbers from 0 to 1 for them; `lost` is told of segments that the link has
        lost."""
        self._direction = direction
        self._back = back
        self._config = config
        self._faults = faults or StreamFaults()
        self._uniform = uniform
        self._opened_ns = opened_ns
        self._tell_lost = lost
        self._reset_ns = FOREVER_NS
        self._segments: deque[_Segment] = deque()
        self._fresh: deque[_Segment] = deque()
        self._resends: list[tuple[int, int, _Segment]] = []
        self._sequence = 0
        self._last_ns = -FOREVER_NS
        self._over = False
        self._finished = False
        self._ending = False
        self.held_bytes = 0
        self.read_bytes = 0
        self.carried_bytes = 0
        self.resent = 0

    @property
    def over(self) -> bool:
        """Whether its end has come out.  A program that has finished may still be reset."""
        return self._over or self._finished

    @property
    def sliced(self) -> bool:
        """Whether what comes out has to be written piece by piece."""
        return self._faults.slice_bytes > 0

    @property
    def opening(self) -> bool:
        """Whether the request for the connection, or its answer, comes out next."""
        return bool(self._segments) and self._segments[0].kind is Kind.SYN

    @property
    def wants_more(self) -> bool:
        """Whether there is room for what the program writes."""
        return self.held_bytes < self._config.buffer_bytes and not self._ending

    # -- in --------------------------------------------------------------------------------

    def open(self) -> None:
        """Send the request for the connection, or the answer to it."""
        self._add(Kind.SYN, memoryview(b""))

    def receive(self, data: Buffer) -> None:
        """Octets that the program has written."""
        if self._ending:
            return
        self.read_bytes += len(data)
        if self._faults.timeout_ms:
            return  # swallowed
        self.held_bytes += len(data)
        view = memoryview(data)
        at = 0
        while at < len(view):
            size = self._segment_bytes()
            self._add(Kind.DATA, view[at : at + size])
            at += size

    def finish(self) -> None:
        """The program will write no more."""
        if not self._ending and not self._faults.timeout_ms:
            self._add(Kind.FIN, memoryview(b""))
        self._ending = True

    def reset(self) -> None:
        """The program has reset the connection, or refused it."""
        if not self._over:
            self._add(Kind.RST, memoryview(b""))
        self._ending = True

    # -- across ----------------------------------------------------------------------------

    def next_ns(self, now_ns: int) -> int:
        """Link time at which it has something for the channel: now, later, or `FOREVER_NS`."""
        if self._fresh:
            return now_ns
        return max(now_ns, self._resends[0][0]) if self._resends else FOREVER_NS

    def next_octets(self, now_ns: int) -> int:
        """The size of what it has for the channel now, its headers included."""
        segment = self._next(now_ns)
        return 0 if segment is None else self._octets(segment)

    def offer(self, now_ns: int) -> None:
        """Offer one segment to the channel, which has room for it."""
        segment = self._next(now_ns)
        if segment is None:
            return
        if self._resends and self._resends[0][2] is segment:
            heapq.heappop(self._resends)
        else:
            self._fresh.popleft()
        octets = self._octets(segment)
        data = ZEROS[:octets]
        sent = self._direction.send(Train(data, octets, FLOW_STREAM), now_ns)
        arrivals = [one.at_ns for one in sent if one.train.data is data or one.train.data == data]
        if not arrivals:
            self._lost(segment, now_ns)
            self._tell_lost(segment.data)
            return
        gap_ns = round(self._faults.slice_gap_ms * MILLISECOND)
        at_ns = max(min(arrivals), self._last_ns + gap_ns)
        if segment.kind is Kind.FIN:
            at_ns += round(self._faults.slow_close_ms * MILLISECOND)
        self._last_ns = at_ns
        if segment.kind is Kind.RST:
            self._reset_ns = at_ns
        segment.arrival_ns = at_ns

    def lose(self, after_ns: int, until_ns: int, now_ns: int) -> tuple[int, int]:
        """Lose what would arrive after one link time and not after another; how many segments, and
        their octets on the channel."""
        count = octets = 0
        for segment in self._segments:
            if segment.arrival_ns is not None and after_ns < segment.arrival_ns <= until_ns:
                segment.arrival_ns = None
                if segment.kind is Kind.RST:
                    self._reset_ns = FOREVER_NS
                self._lost(segment, now_ns)
                count += 1
                octets += self._octets(segment)
        return count, octets

    # -- out -------------------------------------------------------------------------------

    def due_ns(self) -> int:
        """Link time at which something comes out, as far as is known; `FOREVER_NS` otherwise."""
        head = self._segments[0] if self._segments else None
        if self._over or head is None or head.arrival_ns is None:
            return self.broken_ns()
        return min(head.arrival_ns, self.broken_ns())

    def broken_ns(self) -> int:
        """Link time at which the connection ends whether or not its octets have been taken."""
        if self._over:
            return FOREVER_NS
        broken_ns = self._reset_ns
        for after_ms in (self._faults.timeout_ms, self._faults.reset_after_ms):
            if after_ms:
                broken_ns = min(broken_ns, self._opened_ns + round(after_ms * MILLISECOND))
        return broken_ns

    def take(self, now_ns: int) -> StreamOutput:
        """What has arrived by link time `now_ns`, in order."""
        pieces: list[Buffer] = []
        if self._over:
            return StreamOutput(pieces, None)
        faults, segments = self._faults, self._segments
        alive_ms = (now_ns - self._opened_ns) / MILLISECOND
        if faults.reset_after_ms and alive_ms >= faults.reset_after_ms:
            return self._ended(pieces, StreamEvent.RESET)
        if faults.timeout_ms and alive_ms >= faults.timeout_ms:
            return self._ended(pieces, StreamEvent.CLOSED)
        while segments:
            segment = segments[0]
            if segment.arrival_ns is None or segment.arrival_ns > now_ns:
                break
            segments.popleft()
            if segment.kind is Kind.DATA:
                end = self._carry(segment.data, pieces)
                if end is not None:
                    return self._ended(pieces, end)
            elif segment.kind is Kind.SYN:
                return StreamOutput(pieces, StreamEvent.OPENED)
            elif segment.kind is Kind.FIN:
                self._finished = True
                return StreamOutput(pieces, StreamEvent.FINISHED)
            else:
                return self._ended(pieces, StreamEvent.RESET)
        return StreamOutput(pieces, None)

    def _carry(self, data: memoryview, pieces: list[Buffer]) -> StreamEvent | None:
        """One segment's octets; the end that a limit puts to the connection."""
        faults = self._faults
        self.held_bytes -= len(data)
        end = None
        for limit, its_end in (
            (faults.limit_bytes, StreamEvent.CLOSED),
            (faults.reset_after_bytes, StreamEvent.RESET),
        ):
            if limit and self.carried_bytes + len(data) >= limit:
                data, end = data[: limit - self.carried_bytes], its_end
        self.carried_bytes += len(data)
        pieces.append(data)
        return end

    def _ended(self, pieces: list[Buffer], end: StreamEvent) -> StreamOutput:
        self._over = self._ending = True
        self._segments.clear()
        self._fresh.clear()
        self._resends.clear()
        self.held_bytes = 0
        return StreamOutput(pieces, end)

    def _add(self, kind: Kind, data: memoryview) -> None:
        segment = _Segment(kind, data)
        self._segments.append(segment)
        self._fresh.append(segment)

    def _next(self, now_ns: int) -> _Segment | None:
        """What is to be offered next: what was lost goes before what is new."""
        if self._resends and self._resends[0][0] <= now_ns:
            return self._resends[0][2]
        return self._fresh[0] if self._fresh else None

    def _octets(self, segment: _Segment) -> int:
        return max(1, len(segment.data) + self._config.overhead_bytes)

    def _lost(self, segment: _Segment, now_ns: int) -> None:
        config = self._config
        round_trip_ns = self._direction.delay_ns(now_ns) + self._back.delay_ns(now_ns)
        wait_ns = max(config.retransmit_ms * MILLISECOND, round_trip_ns)
        longest_ns = max(config.retransmit_max_ms * MILLISECOND, round_trip_ns)
        wait_ns = min(wait_ns * 2 ** min(segment.tries, 32), longest_ns)
        segment.tries += 1
        self.resent += 1
        self._sequence += 1
        heapq.heappush(self._resends, (now_ns + round(wait_ns), self._sequence, segment))

    def _segment_bytes(self) -> int:
        faults = self._faults
        if not faults.slice_bytes:
            return self._config.segment_bytes
        spread = faults.slice_variation_bytes * (2 * self._uniform() - 1)
        return max(1, min(faults.slice_bytes + round(spread), SEGMENT_BYTES_MAX))
