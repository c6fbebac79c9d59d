"""Rows of the bundle table and their checksums.

A row carries two CRC-32C: one of the bundle's octets with its ref (so that one bundle is never
taken for another), and one over everything else in the row, the first included.  So a scan can
trust what it reads without reading the octets.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from fastcrc import crc32

from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.ports.store import QUARANTINE_PRIORITY, Move, Place, Put, Stored
from stack.wire import cbor

SPOILED: Final = b"its octets were damaged at rest, beyond repair"
"""Why a damaged bundle is in quarantine."""

ROW_EVENTS_MAX: Final = 256
"""Events in one row: what is lost with it, and read to have one of them (mostly 64 KiB)."""

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


def event_rows(events: Sequence[tuple[int, bytes]]) -> list[tuple[int, int, bytes]]:
    """The rows of table `audit` for events with consecutive numbers: a row for each costs more
    than to make the events.  Each goes by the number of its last event; a single one stands as it
    is, several are an array of byte strings of indefinite length (RFC 8949 §3.2.2)."""
    rows = []
    for at in range(0, len(events), ROW_EVENTS_MAX):
        several = events[at : at + ROW_EVENTS_MAX]
        number, octets = several[-1]
        if len(several) > 1:
            parts = [cbor.ARRAY_OPEN]
            for _, event in several:
                parts += (cbor.head(cbor.BSTR, len(event)), event)
            octets = b"".join((*parts, cbor.BREAK))
        rows.append((number, event_check(number, octets), octets))
    return rows


def events_in(number: int, check: object, octets: object) -> list[tuple[int, bytes]]:
    """The events of a row of table `audit`, with their numbers; none when it is not as it was
    written, or is no array of them in spite of its checksum."""
    if not isinstance(octets, bytes) or event_check(number, octets) != check:
        return []
    if octets[:1] != cbor.ARRAY_OPEN:
        return [(number, octets)]
    events = []
    at, end = 1, len(octets) - 1
    try:
        while at < end:
            event, at = cbor.read_bstr(octets, at)
            events.append(bytes(event))
    except DecodeError:
        return []
    if octets[at:] != cbor.BREAK:
        return []
    return list(enumerate(events, number - len(events) + 1))


def event_check(number: int, octets: bytes) -> int:
    """CRC-32C of a row of the node's log, bound to its number."""
    return int(crc32.iscsi(octets)) ^ (number & 0xFFFFFFFF)


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
