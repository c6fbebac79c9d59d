"""Rows of the bundle table and their checksums.

A row carries two CRC-32C: one of the bundle's octets with its ref (so that one bundle is never
taken for another), and one over everything else in the row, the first included.  So a scan can
trust what it reads without reading the octets.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Final, NamedTuple

from fastcrc import crc32

from stack.core.train import Buffer
from stack.ports.store import QUARANTINE_PRIORITY, Move, Place, Put, Stored

SPOILED: Final = b"its octets were damaged at rest, beyond repair"
"""Why a damaged bundle is in quarantine."""

_FIXED: Final = struct.Struct(">9q")


def wire_checksum(ref: int, encoded: Buffer) -> int:
    """CRC-32C (Castagnoli, the one of RFC 9171 §4.2.1) of a bundle's octets, bound to its ref."""
    return int(crc32.iscsi(encoded)) ^ (ref & 0xFFFFFFFF)


class BundleRow(NamedTuple):
    """One row of table `bundle`, all columns in their order."""

    ref: int
    key: bytes
    place: int
    destination: str
    source: str
    priority: int
    size: int
    expires_ms: int
    received_ms: int
    note: bytes
    segment: int
    """Payload log segment, or 0: the octets are in table `body`."""
    start: int
    wire_check: int
    row_check: int

    def stored(self) -> Stored:
        """The row as users of the store see it."""
        return Stored(
            self.ref,
            self.key,
            _PLACES[self.place],
            self.destination,
            self.source,
            self.priority,
            self.size,
            self.expires_ms,
            self.received_ms,
            self.note,
        )

    def intact(self) -> bool:
        """Whether the row is as it was written; anything may be in a damaged one."""
        try:
            return self.place in _PLACES and self._check() == self.row_check
        except (struct.error, TypeError, AttributeError, ValueError):
            return False

    def moved(self, segment: int, start: int) -> BundleRow:
        """The same bundle with its octets elsewhere."""
        row = self._replace(segment=segment, start=start)
        return row._replace(row_check=row._check())

    def placed(self, move: Move) -> BundleRow:
        """The same bundle held for another reason."""
        priority = move.priority(self.priority)
        row = self._replace(place=int(move.place), note=bytes(move.note), priority=priority)
        return row._replace(row_check=row._check())

    def spoiled(self) -> BundleRow:
        """The same bundle in quarantine, its octets damaged; under a key of its own, so that it
        does not pass for the genuine one."""
        key = self.key[:8] + blake2b(b"%d " % self.ref + self.key, digest_size=16).digest()
        row = self._replace(
            key=key,
            place=int(Place.QUARANTINE),
            note=SPOILED,
            priority=QUARANTINE_PRIORITY,
        )
        return row._replace(row_check=row._check())

    def _check(self) -> int:
        return _row_check(
            self.key + self.note + (self.destination + "\0" + self.source).encode(),
            self.ref,
            self.place,
            self.priority,
            self.size,
            self.expires_ms,
            self.received_ms,
            self.segment,
            self.start,
            self.wire_check,
        )


_PLACES: Final = {int(place): place for place in Place}


def _row_check(text: bytes, *fixed: int) -> int:
    return int(crc32.iscsi(_FIXED.pack(*fixed) + text))


def new_row(put: Put, ref: int, size: int, segment: int, start: int) -> tuple[object, ...]:
    """The row of a bundle that is being stored (a plain tuple: this is the hot path)."""
    key, encoded, why, destination, source, priority, expires_ms, received_ms, note = put[:9]
    place = int(why)
    wire_check = crc32.iscsi(encoded) ^ (ref & 0xFFFFFFFF)
    fixed = (ref, place, priority, size, expires_ms, received_ms, segment, start, wire_check)
    text = (destination + "\0" + source).encode()
    row_check = crc32.iscsi(b"".join((_FIXED.pack(*fixed), key, note, text)))
    return (
        ref,
        key,
        place,
        destination,
        source,
        priority,
        size,
        expires_ms,
        received_ms,
        note,
        segment,
        start,
        wire_check,
        row_check,
    )


def state_check(space: str, key: str, value: bytes) -> int:
    """Checksum of one entry of durable state."""
    return int(crc32.iscsi(f"{space}\0{key}\0".encode() + value))


def is_sound_state(space: object, key: object, value: object, check: object) -> bool:
    """Whether this is an entry of durable state as it was written."""
    if not (isinstance(space, str) and isinstance(key, str) and isinstance(value, bytes)):
        return False
    try:
        return state_check(space, key, value) == check
    except UnicodeEncodeError:  # what was text is none
        return False
