"""Fragmentation and reassembly of application data units (RFC 9171 §5.8, §5.9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from stack.core.errors import DecodeError, LocalError
from stack.core.limits import BUNDLE_BYTES_MAX
from stack.core.ranges import RangeSet
from stack.wire import cbor
from stack.wire.bundle.check import is_payload_secured
from stack.wire.bundle.encode import encode_block, encode_bundle
from stack.wire.bundle.identity import adu_key
from stack.wire.bundle.primary import PrimaryForm
from stack.wire.bundle.types import (
    CRC_16,
    CRC_32,
    CRC_NONE,
    IS_FRAGMENT,
    NO_FRAGMENT,
    REPLICATE,
    Bundle,
    CanonicalBlock,
)

FRAGMENTS_MAX = 65_536
"""Fragments made of one bundle: more would cost more in headers than any link is worth."""

PIECE_OVERHEAD_BYTES = 128
"""What one stored piece costs beside its octets, so that one-octet fragments are bounded too."""

_CRC_FIELD_BYTES = {CRC_NONE: 0, CRC_16: 3, CRC_32: 5}
_FRAMING_BYTES = 2  # the outer array's head and break


def fragment_bundle(bundle: Bundle, max_bytes: int) -> list[Bundle]:
    """Divide a bundle (or fragment) so that each part encodes to at most `max_bytes` octets.

    A bundle that fits is returned as it is.  All extension blocks go with the first fragment,
    those with REPLICATE with every one (§5.8).  Raises `LocalError` when the bundle must not be
    fragmented, or cannot be made to fit.
    """
    if len(encode_bundle(bundle)) <= max_bytes:
        return [bundle]
    primary = bundle.primary
    if primary.flags & NO_FRAGMENT:
        raise LocalError("the bundle must not be fragmented (RFC 9171 §4.2.3)")
    if primary.source.is_null:
        raise LocalError("an anonymous bundle cannot be fragmented (RFC 9171 §4.2.3)")
    payload = bundle.payload
    data = memoryview(payload.data)
    base = primary.fragment_offset or 0
    total = len(data) if primary.total_adu_length is None else primary.total_adu_length
    extension = tuple(replace(block, encoded=encode_block(block)) for block in bundle.blocks[:-1])
    form = PrimaryForm(primary)
    # Without CRC it relies on a BIB (§4.3.1), which is over the primary block of the whole: no
    # fragment's own is proven by it, not even that of the first, which takes the BIB along.
    crc_type = primary.crc_type or CRC_32
    # A payload that is signed or encrypted has none (RFC 9173 §3.8.1, §4.8.1), and no relay could
    # see that it was damaged.  A part of it is no target of security (RFC 9172 §5.2) and has one.
    if is_payload_secured(bundle.blocks):
        payload = replace(payload, crc_type=payload.crc_type or CRC_32)
    fragments: list[Bundle] = []
    start = 0
    while start < len(data):
        head = form.fragment(base + start, total, crc_type)
        room = max_bytes - _FRAMING_BYTES - len(head.encoded or b"")
        room -= sum(len(block.encoded or b"") for block in extension)
        size = _data_room(payload, room)
        if size < 1:
            raise LocalError(f"{max_bytes} octets are too few for a fragment of this bundle")
        if len(fragments) == FRAGMENTS_MAX:
            raise LocalError(f"{max_bytes} octets would make over {FRAGMENTS_MAX} fragments")
        part = replace(payload, data=data[start : start + size], encoded=None)
        fragments.append(Bundle(head, (*extension, part)))
        start += size
        extension = tuple(block for block in extension if block.flags & REPLICATE)
    if not fragments:
        raise LocalError(f"{max_bytes} octets are too few for this bundle, which has no payload")
    return fragments


def _data_room(payload: CanonicalBlock, room: int) -> int:
    """How many octets of payload fit in a payload block of at most `room` octets."""
    room -= 2 + _CRC_FIELD_BYTES[payload.crc_type]  # array head and CRC type
    room -= cbor.head_size(payload.type) + cbor.head_size(payload.number)
    room -= cbor.head_size(payload.flags)
    room = min(room, BUNDLE_BYTES_MAX)  # a fragment is a bundle, and a head of 5 octets enough
    for head_size in (1, 2, 3):
        # The size that fills the room may need a longer head than a smaller one would leave.
        size = room - head_size
        if size < 1 or cbor.head_size(size) <= head_size:
            return size
    return room - 5


@dataclass(slots=True)
class _Unit:
    """One application data unit on its way to being whole."""

    total: int
    have: RangeSet = field(default_factory=RangeSet)
    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    first: Bundle | None = None  # the fragment with offset 0, its payload emptied
    cost: int = 0


class Reassembler:
    """Puts fragments together, holding no more than `adus_max` data units and `bytes_max` octets.

    Keeps no time: the owner calls `drop` when a bundle's lifetime ends.
    """

    def __init__(self, *, adus_max: int = 1024, bytes_max: int = 4 * BUNDLE_BYTES_MAX) -> None:
        self._adus_max = adus_max
        self._bytes_max = bytes_max
        self._units: dict[bytes, _Unit] = {}
        self._held = 0

    @property
    def held_bytes(self) -> int:
        """Octets held, with `PIECE_OVERHEAD_BYTES` for each piece."""
        return self._held

    def __len__(self) -> int:
        return len(self._units)

    def add(self, fragment: Bundle) -> Bundle | None:
        """Take a fragment in; the whole bundle when that completes it, else None.

        Of octets that come twice the first are kept.  Raises `DecodeError` for a fragment that
        contradicts its siblings or itself, and `LocalError` when there is no room for it or it is
        no fragment at all; either leaves what was held before as it was.
        """
        primary = fragment.primary
        start, total = primary.fragment_offset, primary.total_adu_length
        if not primary.flags & IS_FRAGMENT or start is None or total is None:
            raise LocalError("not a fragment")
        data = memoryview(fragment.payload.data)
        end = start + len(data)
        if not data or end > total or total > BUNDLE_BYTES_MAX:
            raise DecodeError("empty, overlong or impossible fragment", "RFC 9171 §5.8")
        key = adu_key(primary)
        unit = self._units.get(key)
        if unit is None:
            if len(self._units) >= self._adus_max:
                raise LocalError(f"already reassembling {self._adus_max} data units")
            unit = _Unit(total)
        elif unit.total != total:
            raise DecodeError("fragments disagree on the total length", "RFC 9171 §5.9")
        gaps = list(unit.have.gaps(start, end))
        shell_cost = 0
        if start == 0 and unit.first is None:
            shell_cost = sum(len(block.data) for block in fragment.blocks[:-1])
        cost = sum(high - low + PIECE_OVERHEAD_BYTES for low, high in gaps) + shell_cost
        if self._held + cost > self._bytes_max:
            raise LocalError(f"no room for {cost} more octets of fragments")
        for low, high in gaps:
            unit.pieces.append((low, bytes(data[low - start : high - start])))
        unit.have.add(start, end)
        unit.cost += cost
        self._held += cost
        if start == 0 and unit.first is None:
            unit.first = _own(fragment)
        self._units[key] = unit
        if len(unit.have) < total or unit.first is None:
            return None
        self.drop(key)
        return _whole(unit, unit.first)

    def drop(self, key: bytes) -> None:
        """Forget the fragments of a data unit, by its `adu_key`; nothing happens if unknown."""
        unit = self._units.pop(key, None)
        if unit is not None:
            self._held -= unit.cost


def reassemble(fragments: Sequence[Bundle]) -> Bundle:
    """The bundle that these fragments make up, in whatever order, overlapping or duplicate.

    Raises `DecodeError` when they contradict each other, `LocalError` when they do not cover one
    whole data unit.
    """
    reassembler = Reassembler(adus_max=1, bytes_max=2 * BUNDLE_BYTES_MAX)
    for fragment in fragments:
        bundle = reassembler.add(fragment)
        if bundle is not None:
            return bundle
    raise LocalError("the fragments do not cover the data unit")


def _own(fragment: Bundle) -> Bundle:
    """A fragment without its payload, and without views into a buffer that is not ours."""
    blocks = tuple(
        replace(
            block,
            data=bytes(block.data),
            encoded=None if block.encoded is None else bytes(block.encoded),
        )
        for block in fragment.blocks[:-1]
    )
    payload = replace(fragment.payload, data=b"", encoded=None)
    return Bundle(fragment.primary, (*blocks, payload))


def _whole(unit: _Unit, first: Bundle) -> Bundle:
    """The bundle whose primary and extension blocks the first fragment brought (§5.9), with a
    payload as it was signed or encrypted: without CRC."""
    unit.pieces.sort()
    *others, payload = first.blocks
    crc_type = CRC_NONE if is_payload_secured(others) else payload.crc_type
    data = b"".join(piece for _, piece in unit.pieces)
    whole = replace(payload, data=data, crc_type=crc_type)
    return Bundle(PrimaryForm(first.primary).whole(), (*others, whole))
