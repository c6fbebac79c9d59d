"""A primary block with other fragment fields, and otherwise the octets that it came with.

The primary block is immutable (RFC 9171 §4.3.1), and a block integrity block may have been computed
over it (RFC 9172 §4).  What fragmentation adds, reassembly must take away to the octet: ipn EIDs
have two or three elements, arrays a definite length or none and, read leniently, heads may be
longer than they need be.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from stack.wire import cbor
from stack.wire.bundle.encode import CRC_HEADS, checksum, encode_primary
from stack.wire.bundle.types import CRC_NONE, IS_FRAGMENT, PrimaryBlock

_FIELDS = 8
"""Version, flags, CRC type, three EIDs, timestamp and lifetime (RFC 9171 §4.3.1)."""


class PrimaryForm:
    """The octets of a primary block, taken apart once for all its fragments."""

    def __init__(self, primary: PrimaryBlock) -> None:
        self._primary = primary
        encoded = encode_primary(primary)
        cuts = [0, cbor.read_head(encoded, 0, strict=False)[2]]
        for _ in range(_FIELDS):
            cuts.append(cbor.skip_item(encoded, cuts[-1], strict=False))
        parts = [encoded[start:end] for start, end in pairwise(cuts)]
        self._head, self._version, self._flags, self._crc_type = parts[:4]
        self._rest = b"".join(parts[4:])
        self._crc_head = b""
        if primary.crc_type:
            at = cuts[-1]
            for _ in range(2 if primary.flags & IS_FRAGMENT else 0):
                at = cbor.skip_item(encoded, at, strict=False)
            self._crc_head = encoded[at : cbor.read_head(encoded, at, strict=False)[2]]

    def fragment(self, offset: int, total: int, crc_type: int) -> PrimaryBlock:
        """The primary block of a fragment at `offset` of a data unit of `total` octets."""
        return self._block(self._primary.flags | IS_FRAGMENT, crc_type, offset, total)

    def whole(self) -> PrimaryBlock:
        """The primary block of the bundle that this was the first fragment of."""
        return self._block(self._primary.flags & ~IS_FRAGMENT, self._primary.crc_type, None, None)

    def without_crc(self) -> PrimaryBlock:
        """As it is signed when it is itself the target (RFC 9173 §3.8.1)."""
        own = self._primary
        return self._block(own.flags, CRC_NONE, own.fragment_offset, own.total_adu_length)

    def _block(
        self, flags: int, crc_type: int, offset: int | None, total: int | None
    ) -> PrimaryBlock:
        fragment = b""
        if offset is not None and total is not None:
            fragment = cbor.uint(offset) + cbor.uint(total)
        count = _FIELDS + (2 if fragment else 0) + (1 if crc_type else 0)
        head, closing = self._head, cbor.BREAK
        if head != cbor.ARRAY_OPEN:
            head, closing = _as_long(head, cbor.ARRAY, count), b""
        encoded = b"".join(
            (
                head,
                self._version,
                _as_long(self._flags, cbor.UINT, flags),
                _as_long(self._crc_type, cbor.UINT, crc_type),
                self._rest,
                fragment,
            )
        )
        if crc_type:
            own = crc_type == self._primary.crc_type
            encoded += self._crc_head if own else CRC_HEADS[crc_type]
            encoded += checksum(encoded, crc_type, closing)
        return replace(
            self._primary,
            flags=flags,
            crc_type=crc_type,
            fragment_offset=offset,
            total_adu_length=total,
            encoded=encoded + closing,
            plain=False,
        )


def _as_long(head: bytes, major: int, value: int) -> bytes:
    """A head as long as another one was, where the shortest form is not longer."""
    shortest = cbor.head(major, value)
    if len(shortest) >= len(head):
        return shortest
    return head[:1] + value.to_bytes(len(head) - 1, "big")
