"""What tells one bundle from another (RFC 9171 §4.2.7, §4.3.1)."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from struct import Struct

from stack.core.eid import Eid
from stack.core.errors import LocalError
from stack.wire.bundle.eids import canonical_eid
from stack.wire.bundle.types import IS_FRAGMENT, PrimaryBlock

_STAMP = Struct(">QQ")
_WHOLE = _STAMP.pack
_FRAGMENT = Struct(">QQQQ").pack

STAMP_BYTES = 16
"""Octets of the creation timestamp with which each key begins."""

KEY_BYTES_MAX = 48
"""Octets of the key of a fragment; 32 for a whole bundle."""


def bundle_key(primary: PrimaryBlock, payload_length: int | None = None) -> bytes:
    """The identity of a bundle: 32 octets, or 48 for a fragment.

    Creation time and sequence number, big-endian, so that keys of one time lie together; of a
    fragment then its offset and payload length; and a digest of the source EID.  Raises
    `LocalError` for a fragment without `payload_length`.
    """
    digest = _source_digest(primary.source)
    if not primary.flags & IS_FRAGMENT:
        return _WHOLE(primary.creation_ms, primary.sequence) + digest
    if payload_length is None:
        raise LocalError("the identity of a fragment includes its payload length")
    offset = primary.fragment_offset or 0
    return _FRAGMENT(primary.creation_ms, primary.sequence, offset, payload_length) + digest


def parse_stamp(octets: bytes) -> tuple[int, int]:
    """Creation time and sequence number, of the octets with which a key begins."""
    creation_ms, sequence = _STAMP.unpack(octets)
    return creation_ms, sequence


def adu_key(primary: PrimaryBlock) -> bytes:
    """What all fragments of one application data unit share: the key of the whole bundle."""
    return whole_key(primary.source, primary.creation_ms, primary.sequence)


def whole_key(source: Eid, creation_ms: int, sequence: int) -> bytes:
    """The identity of a whole bundle, of what it is told by."""
    return _WHOLE(creation_ms, sequence) + _source_digest(source)


def is_of(key: bytes, whole: bytes) -> bool:
    """Whether a key, whatever follows the identity in it, is that of the bundle that has the key
    `whole`, or of a part of it."""
    if key[:32] == whole:
        return True
    return key[:STAMP_BYTES] == whole[:STAMP_BYTES] and key[32:KEY_BYTES_MAX] == whole[STAMP_BYTES:]


@lru_cache(maxsize=4096)
def _source_digest(source: Eid) -> bytes:
    # A digest and not the EID: an EID has up to 1 KiB, and the key stands in every index.
    return blake2b(canonical_eid(source), digest_size=16, person=b"orbitferry.eid").digest()
