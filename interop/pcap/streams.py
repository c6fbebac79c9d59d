"""TCP streams put together from the segments of a capture, as far as they may be TCPCL's."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final

from interop.pcap.parse import TcpSegment
from stack.core.packets import Address

MAGIC: Final = b"dtn!"
"""How either side of TCPCL begins (RFC 9174 §4.2, RFC 7242 §4.1)."""

PORT_TCPCL: Final = 4556
"""TCP port of TCPCL (RFC 9174 §8.1)."""

STREAMS_MAX: Final = 4096
"""Streams that are put together at a time; segments of others are passed over."""

AHEAD_MAX: Final = 4096
"""Segments of one stream that wait for one before them."""

AHEAD_BYTES_MAX: Final = 16 * 1024 * 1024
"""Their octets: more than a receive window holds."""

_MODULUS: Final = 1 << 32
_Key = tuple[Address, int, Address, int]


@dataclass(slots=True)
class StreamOctets:
    """What went one way over a connection."""

    source: Address
    source_port: int
    destination: Address
    destination_port: int
    first: int
    """Number of the packet with which it begins."""

    last: int
    data: bytearray = field(default_factory=bytearray)
    marks: list[tuple[int, int]] = field(default_factory=list)
    """How long `data` was when, in nanoseconds since 1970: one for each packet that made it so."""

    missing: bool = False
    """Something after `data` is not in the capture, and what comes after that is left out."""

    def time_ns(self, end: int) -> int:
        """When the first `end` octets of `data` had all been captured."""
        place = bisect_left(self.marks, end, key=itemgetter(0))
        return self.marks[min(place, len(self.marks) - 1)][1] if self.marks else 0


@dataclass(slots=True)
class _Stream:
    octets: StreamOctets
    next: int
    """Sequence number of the next octet, counted on beyond 2^32."""

    packets: int = 0
    foreign: bool = False
    """It does not begin as TCPCL does."""

    ahead: dict[int, bytes] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    """The keys of `ahead`, as a heap."""

    ahead_bytes: int = 0


class TcpStreams:
    """Puts streams together: out of order, repeated and overlapping segments, in bounds."""

    def __init__(self) -> None:
        self._open: dict[_Key, _Stream] = {}
        self._done: list[StreamOctets] = []
        self.passed_over: dict[str, int] = {}
        """Packets of other streams, by what they are."""

    def add(self, segment: TcpSegment, number: int, time_ns: int = 0) -> None:
        """Take the segment of packet `number`, captured at `time_ns`."""
        key = (
            segment.source,
            segment.source_port,
            segment.destination,
            segment.destination_port,
        )
        stream = self._open.get(key)
        if stream is not None and segment.syn and stream.octets.data:
            self._close(key)  # the ports serve another connection
            stream = None
        if stream is None:
            if len(self._open) >= STREAMS_MAX:
                self._pass_over(f"TCP beyond {STREAMS_MAX} connections", 1)
                return
            begin = segment.sequence + segment.syn
            stream = self._open[key] = _Stream(StreamOctets(*key, number, number), begin)
        stream.packets += 1
        if segment.syn:
            stream.next = segment.sequence + 1
        elif segment.data and not stream.foreign:
            octets = stream.octets
            octets.last = number
            before = len(octets.data)
            self._take(stream, segment)
            if len(octets.data) > before:
                octets.marks.append((len(octets.data), time_ns))

    def finish(self) -> list[StreamOctets]:
        """All streams of TCPCL, in the order of their beginnings; nothing may be added then."""
        for key in list(self._open):
            self._close(key)
        return sorted(self._done, key=lambda stream: stream.first)

    def _take(self, stream: _Stream, segment: TcpSegment) -> None:
        half = _MODULUS // 2
        distance = (segment.sequence - stream.next + half) % _MODULUS - half
        at = stream.next + distance
        if distance > 0:
            room = AHEAD_BYTES_MAX - stream.ahead_bytes
            if len(stream.ahead) < AHEAD_MAX and len(segment.data) <= room:
                old = stream.ahead.get(at, b"")
                if not old:
                    heapq.heappush(stream.order, at)
                if len(segment.data) > len(old):
                    stream.ahead[at] = segment.data
                    stream.ahead_bytes += len(segment.data) - len(old)
            return
        self._append(stream, at, segment.data)
        while stream.order and stream.order[0] <= stream.next:
            at = heapq.heappop(stream.order)
            data = stream.ahead.pop(at)
            stream.ahead_bytes -= len(data)
            self._append(stream, at, data)

    def _append(self, stream: _Stream, at: int, data: bytes) -> None:
        new = data[stream.next - at :]
        stream.next += len(new)
        octets = stream.octets.data
        octets += new
        if octets[: len(MAGIC)] != MAGIC[: len(octets)]:
            stream.foreign = True
            octets.clear()
            stream.ahead.clear()
            stream.order.clear()

    def _close(self, key: _Key) -> None:
        stream = self._open.pop(key)
        octets = stream.octets
        if stream.foreign and PORT_TCPCL in (octets.source_port, octets.destination_port):
            self._pass_over("TCPCL whose beginning is not in the capture", stream.packets)
        elif stream.foreign or not octets.data:
            self._pass_over("TCP without TCPCL", stream.packets)
        else:
            octets.missing = bool(stream.ahead)
            self._done.append(octets)

    def _pass_over(self, words: str, packets: int) -> None:
        self.passed_over[words] = self.passed_over.get(words, 0) + packets
