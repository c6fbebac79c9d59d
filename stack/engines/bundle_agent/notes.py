"""What the agent must know again of a stored bundle without loading it.

Most bundles need no note.  Fragments do (to know what they cover) and so do bundles that asked
for status reports (to report their end, RFC 9171 §5.1, when their octets may already be gone).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from stack.core.train import Buffer
from stack.wire.bundle import IS_FRAGMENT, LENIENT, REPORT_ANY, Bundle, PrimaryBlock, decode_primary

_LENGTH = struct.Struct(">Q")


class Note(NamedTuple):
    """A bundle's primary block and the length of its payload in octets."""

    primary: PrimaryBlock
    payload_length: int


def note_of(bundle: Bundle, wire: Buffer) -> bytes:
    """The note that a bundle (whose octets are `wire`) needs, or nothing."""
    primary = bundle.primary
    if not primary.flags & (IS_FRAGMENT | REPORT_ANY):
        return b""
    encoded = primary.wire
    if encoded is None:
        encoded = decode_primary(wire, 1, mode=LENIENT)[0].wire or b""
    return _LENGTH.pack(len(bundle.payload.data)) + encoded


def parse_note(tag: bytes) -> Note:
    """Inverse of `note_of`."""
    primary, _ = decode_primary(tag, _LENGTH.size, mode=LENIENT)
    return Note(primary, _LENGTH.unpack_from(tag)[0])
