"""Transfers of TCPCL as somebody sees them who only listens (RFC 9174 §5.2, RFC 7242 §5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from interop.inspect.sessions import Carried, carried
from interop.inspect.tcpcl import told
from interop.pcap import StreamOctets
from stack.core.errors import DecodeError
from stack.wire.bundle import Mode, decode_bundle
from stack.wire.tcpcl import SEGMENT_END, SEGMENT_START

TRANSFERS_MAX: Final = 100_000
"""Transfers of one direction of a connection."""


@dataclass(slots=True)
class SeenTransfer:
    """A bundle on its way over a connection."""

    stream: StreamOctets
    number: int
    began_ns: int
    ended_ns: int = 0
    segments: int = 0
    parts: list[memoryview] = field(default_factory=list)
    whole: bool = False
    answer: str = ""
    """What its receiver said in the end."""

    @property
    def octets(self) -> int:
        """Those that were captured."""
        return sum(map(len, self.parts))

    @property
    def ended(self) -> str:
        """How."""
        if self.answer:
            return self.answer
        return "sent whole, not acknowledged" if self.whole else "open at the end of the capture"

    def bundle(self) -> tuple[Carried | None, str]:
        """What it carried, or why that cannot be told."""
        if not self.whole:
            return None, "not all of it was captured"
        try:
            bundle, end = decode_bundle(b"".join(self.parts), mode=Mode.LENIENT)
        except DecodeError as error:
            return None, str(error)
        return carried(bundle, end), ""


def seen_transfers(streams: Iterable[StreamOctets]) -> Iterator[SeenTransfer]:
    """The transfers of both directions of all connections.  A direction ends where its octets
    cannot be read, as where TLS begins."""
    found: dict[tuple[object, ...], tuple[StreamOctets, dict[int, SeenTransfer]]] = {}
    times: Counter[tuple[object, ...]] = Counter()
    for stream in streams:
        ends = (stream.source, stream.source_port), (stream.destination, stream.destination_port)
        times[ends] += 1  # ports may serve one connection after another
        found[*ends, times[ends]] = stream, _sent(stream)
    for (source, destination, number), (stream, _) in found.items():
        _, sent = found.get((destination, source, number), (None, {}))
        _answered(stream, sent)
    for _, sent in found.values():
        yield from sent.values()


def _sent(stream: StreamOctets) -> dict[int, SeenTransfer]:
    """What one direction sends, by number."""
    found: dict[int, SeenTransfer] = {}
    with suppress(DecodeError):
        for one in told(memoryview(stream.data).toreadonly()):
            if one.octets is None:
                continue
            if one.flags & SEGMENT_START and len(found) < TRANSFERS_MAX:
                begin_ns = stream.time_ns(one.end - len(one.octets))
                found[one.transfer] = SeenTransfer(stream, one.transfer, begin_ns)
            transfer = found.get(one.transfer)
            if transfer is None or transfer.whole:
                continue
            transfer.segments += 1
            transfer.parts.append(one.octets)
            transfer.ended_ns = stream.time_ns(one.end)
            transfer.whole = bool(one.flags & SEGMENT_END)
    return found


def _answered(stream: StreamOctets, sent: dict[int, SeenTransfer]) -> None:
    """What the other direction says of it."""
    waiting = iter(sorted(sent.values(), key=lambda one: one.number))
    current = next(waiting, None)  # of version 3, whose answers have no number
    with suppress(DecodeError):
        for one in told(memoryview(stream.data).toreadonly()):
            if one.octets is not None:
                continue
            transfer = current if one.transfer < 0 else sent.get(one.transfer)
            if transfer is None:
                continue
            if one.refused:
                transfer.answer = f"refused: {one.refused}"
            elif transfer.whole and one.acked_bytes >= transfer.octets:
                transfer.answer = "complete"
            else:
                continue
            transfer.ended_ns = max(transfer.ended_ns, stream.time_ns(one.end))
            if transfer is current:
                current = next(waiting, None)
