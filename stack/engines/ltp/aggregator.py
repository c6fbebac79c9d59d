"""Service data aggregation: many small units in one block (CCSDS 734.1-B-1).

A block of the aggregation client service (2) is a run of capsules: the SDNV of the client service
id that a unit is meant for, then the unit itself, whose own format says where it ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from stack.core.train import Buffer
from stack.wire.ltp import CLIENT_BP, CLIENT_SDA
from stack.wire.sdnv import decode_sdnv, encode_sdnv

UNITS_MAX = 512
"""Units of one block: with so many what a block costs is little beside what they cost, and the
first of them waits for the last, at either end."""

_CAPSULE_HEAD = encode_sdnv(CLIENT_BP)


def capsule_client(data: Buffer, offset: int) -> tuple[int, int]:
    """The client service id of the capsule at `offset` of an aggregated block, and the offset of
    its service data unit.  Raises `DecodeError`."""
    return decode_sdnv(data, offset)


@dataclass(frozen=True, slots=True)
class Block:
    """A block ready to be sent: the first `red_bytes` octets red, the rest green (§4.1)."""

    data: Buffer
    refs: tuple[int, ...]
    red_bytes: int
    client_service: int
    held: int
    """Octets of the client's own data in it, which the queue's bound counts."""


class Aggregator:
    """Collects units until a block is full; whoever sends decides when it may wait no longer."""

    __slots__ = ("_bytes", "_parts", "_refs", "since")

    def __init__(self) -> None:
        self._parts: list[Buffer] = []
        self._refs: list[int] = []
        self._bytes = 0
        self.since: int | None = None
        """When the oldest unit came; None while there is none."""

    def add(self, sdu: Buffer, ref: int, now: int, block_bytes: int) -> list[Block]:
        """Take one unit; the blocks that are full now, in order, of up to `block_bytes` unless a
        unit alone is larger, and of `UNITS_MAX` units."""
        size = len(sdu) + len(_CAPSULE_HEAD)
        full = []
        if self._refs and self._bytes + size > block_bytes:
            full.append(self.flush())
        if len(sdu) >= block_bytes:
            full.append(Block(sdu, (ref,), len(sdu), CLIENT_BP, len(sdu)))
            return full
        if not self._refs:
            self.since = now
        self._parts += (_CAPSULE_HEAD, sdu)
        self._refs.append(ref)
        self._bytes += size
        if len(self._refs) == UNITS_MAX:
            full.append(self.flush())
        return full

    def flush(self) -> Block:
        """What has been collected (at least one unit).  A lone unit travels plainly."""
        parts, refs = self._parts, tuple(self._refs)
        self._parts, self._refs, self._bytes, self.since = [], [], 0, None
        if len(refs) == 1:
            return Block(parts[1], refs, len(parts[1]), CLIENT_BP, len(parts[1]))
        data = b"".join(parts)
        return Block(data, refs, len(data), CLIENT_SDA, len(data) - len(refs) * len(_CAPSULE_HEAD))
