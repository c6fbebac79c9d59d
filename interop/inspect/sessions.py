"""LTP sessions as somebody sees them who only listens (RFC 5326): what was sent, how often, and how
it ended.

Whatever comes takes bounded memory: so many sessions are followed at a time, the one that was quiet
for longest gives way, and so many octets of their blocks are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final

from interop.inspect import words
from stack.core.errors import DecodeError
from stack.core.ranges import RangeSet
from stack.wire.bundle import Bundle, Mode, decode_bundle
from stack.wire.ltp import (
    CLIENT_BP,
    CLIENT_SDA,
    CancelAck,
    CancelSegment,
    DataSegment,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
)
from stack.wire.sdnv import decode_sdnv

OPEN_MAX: Final = 4096
"""Sessions that are followed at a time."""

LEGS_MAX: Final = 16
"""Places where one session is seen: it crosses a few relays at most."""

ENDS_MAX: Final = 8
"""Addresses of one leg: an engine may send from another port than it listens on."""

SPANS_MAX: Final = 4096
"""Separate spans of a block that are told apart; beyond, what is repeated counts as new."""

BLOCK_BYTES_MAX: Final = 64 * 1024 * 1024
"""Octets of all blocks together that are kept until their bundles have been read."""

BUNDLES_MAX: Final = 4096
"""Bundles of one block that are read."""

OFFSET_MAX: Final = 1 << 40
"""Octets of a block that can be meant."""

_RED_ENDS: Final = frozenset((SegmentType.RED_END, SegmentType.RED_END_BLOCK))
_BLOCK_ENDS: Final = frozenset((SegmentType.RED_END_BLOCK, SegmentType.GREEN_END_BLOCK))
_GREEN: Final = frozenset((SegmentType.GREEN, SegmentType.GREEN_END_BLOCK))


@dataclass(frozen=True, slots=True)
class Carried:
    """A bundle in a transfer."""

    id: str
    """Source, creation time and sequence number; of a fragment, its place in the whole."""

    destination: str
    octets: int
    """Those of the bundle as it was on this link."""


def carried(bundle: Bundle, octets: int) -> Carried:
    """What is told of a bundle."""
    primary = bundle.primary
    name = f"{primary.source}@{primary.creation_ms}.{primary.sequence}"
    if primary.fragment_offset is not None:
        name += f"+{primary.fragment_offset}/{primary.total_adu_length}"
    return Carried(name, str(primary.destination), octets)


@dataclass(slots=True)
class SeenSession:
    """A session on one leg of its way."""

    id: SessionId
    source: str = ""
    """Where its sender sends from, and `destination` to where; "" as long as only the receiver
    has been heard."""
    destination: str = ""
    began_ns: int = 0
    last_ns: int = 0
    red_bytes: int = 0
    green_bytes: int = 0
    segments: int = 0
    """Those with data."""
    repeated: int = 0
    """Segments of which every octet had been sent before, and the octets that had been."""
    repeated_bytes: int = 0
    lost: int = 0
    """Packets of either direction that the capture says were lost on the way."""
    checkpoints: int = 0
    reports: int = 0
    complete_ns: int | None = None
    """When a report said that all red octets have arrived."""
    cancelled: str = ""
    """Who ended it, and why."""
    bundles: tuple[Carried, ...] = ()
    unread: str = ""
    """Why not all that it carried could be told."""

    @property
    def ended(self) -> str:
        """How."""
        if self.complete_ns is not None:
            return "complete"
        if self.cancelled:
            return self.cancelled
        if self.green_bytes and not self.red_bytes:
            return "green, which nobody reports"
        return "open at the end of the capture"


@dataclass(slots=True)
class _Watched:
    """A session, and what is needed to follow it on."""

    row: SeenSession
    ends: set[Hashable]
    sent: RangeSet = field(default_factory=RangeSet)
    claimed: RangeSet = field(default_factory=RangeSet)
    red_end: int | None = None
    block_end: int | None = None
    client: int | None = None
    block: bytearray | None = field(default_factory=bytearray)
    """None when it has been read, or there was no room for it."""


class SeenSessions:
    """Follows sessions; each comes out by `finish`, or when it gives way to others."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[SessionId, int], _Watched] = OrderedDict()
        self._legs: dict[SessionId, list[int]] = {}
        self._count = 0
        self._held_bytes = 0

    def add(
        self,
        segment: Segment,
        time_ns: int,
        ends: tuple[str, str],
        *,
        lost: bool = False,
    ) -> Iterator[SeenSession]:
        """A segment was sent from the first of `ends` to the second, and `lost` on the way, if the
        capture says so.  Gives the sessions that give way."""
        watched = self._find(segment.session, ends, time_ns)
        row = watched.row
        row.last_ns = max(row.last_ns, time_ns)
        row.lost += lost
        from_sender = isinstance(segment, DataSegment | ReportAck)
        match segment:
            case DataSegment():
                self._data(watched, segment)
            case ReportSegment():
                row.reports += 1
                if not lost:
                    self._report(watched, segment, time_ns)
            case CancelSegment():
                from_sender = segment.by_sender
                who = "sender" if segment.by_sender else "receiver"
                if row.complete_ns is None:
                    why = words.cancel_reason(segment.reason)
                    row.cancelled = row.cancelled or f"cancelled by the {who}: {why}"
            case CancelAck():
                from_sender = not segment.to_sender
        if not row.source and ends != ("", ""):
            row.source, row.destination = ends if from_sender else ends[::-1]
        while len(self._open) > OPEN_MAX:
            yield self._close(next(iter(self._open)))

    def finish(self) -> Iterator[SeenSession]:
        """The sessions that are left, in the order in which they were heard last."""
        while self._open:
            yield self._close(next(iter(self._open)))

    def _find(self, session: SessionId, ends: tuple[str, str], time_ns: int) -> _Watched:
        """The leg of the session which one of the ends belongs to, or a new one."""
        numbers = self._legs.setdefault(session, [])
        for number in numbers:
            watched = self._open[session, number]
            if not watched.ends.isdisjoint(ends) or len(numbers) >= LEGS_MAX:
                if len(watched.ends) < ENDS_MAX:
                    watched.ends.update(ends)
                self._open.move_to_end((session, number))
                return watched
        self._count += 1
        numbers.append(self._count)
        row = SeenSession(session, began_ns=time_ns, last_ns=time_ns)
        watched = self._open[session, self._count] = _Watched(row, set(ends))
        return watched

    def _data(self, watched: _Watched, segment: DataSegment) -> None:
        row = watched.row
        size = len(segment.data)
        end = segment.offset + size
        row.segments += 1
        row.checkpoints += segment.is_checkpoint
        watched.client = segment.client_service
        if end > OFFSET_MAX:
            row.unread = "offsets that no block has"
            return
        if watched.sent.span_count < SPANS_MAX or watched.sent.covers(segment.offset, end):
            new = watched.sent.add(segment.offset, end)
            if segment.kind in _GREEN:
                row.green_bytes += new
            else:
                row.red_bytes += new
            row.repeated += size > 0 and not new
            row.repeated_bytes += size - new
        if segment.kind in _RED_ENDS:
            watched.red_end = end
        if segment.kind in _BLOCK_ENDS:
            watched.block_end = end
        self._keep(watched, segment.offset, segment.data)
        self._judge(watched, row.last_ns)

    def _keep(self, watched: _Watched, offset: int, data: bytes | bytearray | memoryview) -> None:
        block = watched.block
        if block is None:
            return
        grown = max(0, offset + len(data) - len(block))
        if self._held_bytes + grown > BLOCK_BYTES_MAX:
            self._drop(watched)
            watched.row.unread = "more octets of blocks than are kept"
            return
        self._held_bytes += grown
        if grown:
            block.extend(bytes(grown))
        block[offset : offset + len(data)] = data

    def _report(self, watched: _Watched, report: ReportSegment, time_ns: int) -> None:
        for claim in report.claims:
            start = report.lower + claim.offset
            if start + claim.length <= OFFSET_MAX and watched.claimed.span_count < SPANS_MAX:
                watched.claimed.add(start, start + claim.length)
        self._judge(watched, time_ns)

    def _judge(self, watched: _Watched, now_ns: int) -> None:
        """Whether all red octets have been reported."""
        row = watched.row
        red_end = watched.red_end
        if row.complete_ns is None and red_end and watched.claimed.covers(0, red_end):
            row.complete_ns = now_ns
            row.cancelled = ""
            self._read(watched)

    def _read(self, watched: _Watched) -> None:
        """The bundles in as much of the block as there is from its beginning on."""
        block = watched.block
        if block is None:
            return
        whole = next((start for start, _ in watched.sent.gaps(0, len(block))), len(block))
        row, unread = watched.row, ""
        if watched.client in (CLIENT_BP, CLIENT_SDA):
            found, unread = _bundles(bytes(block[:whole]), watched.client == CLIENT_SDA)
            row.bundles = tuple(found)
        elif watched.client is not None:
            unread = f"client service {watched.client}"
        if whole < (watched.block_end or len(block)):
            unread = "not all of it was captured"
        row.unread = row.unread or unread
        self._drop(watched)

    def _drop(self, watched: _Watched) -> None:
        if watched.block is not None:
            self._held_bytes -= len(watched.block)
            watched.block = None

    def _close(self, key: tuple[SessionId, int]) -> SeenSession:
        watched = self._open.pop(key)
        session, number = key
        numbers = self._legs[session]
        numbers.remove(number)
        if not numbers:
            del self._legs[session]
        self._read(watched)
        return watched.row


def _bundles(block: bytes, capsules: bool) -> tuple[list[Carried], str]:
    """The bundles of a block, or of its service data units, as far as they can be read, and why
    not further."""
    found: list[Carried] = []
    at = 0
    try:
        while at < len(block):
            if len(found) >= BUNDLES_MAX:
                return found, f"more than {BUNDLES_MAX} bundles"
            if capsules:
                client, at = decode_sdnv(block, at)
                if client != CLIENT_BP:
                    return found, f"client service {client}"
            bundle, end = decode_bundle(block, offset=at, mode=Mode.LENIENT)
            found.append(carried(bundle, end - at))
            at = end
    except DecodeError as error:
        return found, str(error)
    return found, ""
