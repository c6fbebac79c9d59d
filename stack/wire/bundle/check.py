"""Rules on a whole bundle that are no matter of syntax.

They stand apart from decoding because the examples of RFC 9173 break them on purpose, and because
a bundle may have to be taken apart to see whom to tell about it.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from stack.core.errors import DecodeError
from stack.wire import cbor
from stack.wire.bundle.types import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    BUNDLE_AGE,
    CRC_NONE,
    IS_FRAGMENT,
    NO_FRAGMENT,
    PAYLOAD_NUMBER,
    Bundle,
    CanonicalBlock,
)

TARGETS_MAX = 256
"""Targets of one security block: no more than there can be blocks."""


def check_bundle(bundle: Bundle) -> None:
    """Raise `DecodeError` when the bundle must not be accepted:

    - its source is a group: it names a node, or nobody (RFC 9171 §4.2.5.2);
    - the primary block has no CRC and no block integrity block protects it (RFC 9171 §4.3.1);
    - the creation time is zero and there is no bundle age block (§4.2.7, §4.4.2);
    - it is a fragment of a bundle that must not be fragmented or is anonymous (§4.2.3), or an
      empty or impossible one (§5.8).
    """
    primary = bundle.primary
    if not primary.source.is_singleton:
        raise DecodeError("the source is a group and not a node", "RFC 9171 §4.2.5.2")
    if primary.crc_type == CRC_NONE and not signs_primary(bundle, unseen=True):
        raise DecodeError("primary block with neither CRC nor BIB", "RFC 9171 §4.3.1")
    if primary.creation_ms == 0 and bundle.block(BUNDLE_AGE) is None:
        raise DecodeError("creation time zero without a bundle age", "RFC 9171 §4.4.2")
    if primary.flags & IS_FRAGMENT:
        if primary.flags & NO_FRAGMENT:
            raise DecodeError("fragment of what must not be fragmented", "RFC 9171 §4.2.3")
        if primary.source.is_null:
            raise DecodeError("fragment of an anonymous bundle", "RFC 9171 §4.2.3")
        size = len(bundle.payload.data)
        if not 0 < size <= (primary.total_adu_length or 0) - (primary.fragment_offset or 0):
            raise DecodeError("empty fragment, or one beyond its data unit's end", "RFC 9171 §5.8")


def signs_primary(bundle: Bundle, *, unseen: bool = False) -> bool:
    """Whether a BIB says that it signs the primary block; or, with `unseen`, may do so encrypted.

    A BIB that a BCB encrypts shows its targets only to those who hold the key (RFC 9172 §3.9):
    nobody on the way may refuse the bundle for it.  Raises `DecodeError` for a security block that
    cannot be read.
    """
    encrypted = encrypted_blocks(bundle.blocks)
    return any(
        unseen if block.number in encrypted else 0 in security_targets(block)
        for block in bundle.blocks
        if block.type == BLOCK_INTEGRITY
    )


def is_payload_secured(blocks: Sequence[CanonicalBlock]) -> bool:
    """Whether the payload says that it is signed or encrypted.  What cannot be read says nothing:
    it is the acceptor's to refuse it."""
    try:
        encrypted = encrypted_blocks(blocks)
        return PAYLOAD_NUMBER in encrypted or any(
            PAYLOAD_NUMBER in security_targets(block)
            for block in blocks
            if block.type == BLOCK_INTEGRITY and block.number not in encrypted
        )
    except DecodeError:
        return False


def encrypted_blocks(blocks: Sequence[CanonicalBlock]) -> Set[int]:
    """The numbers of the blocks that a BCB has encrypted (RFC 9172 §3.8): what they hold is for
    the acceptor alone to parse.  Raises `DecodeError` for a BCB that cannot be read, and for more
    targets than a bundle has blocks: each may be encrypted once (RFC 9172 §3.2)."""
    encrypted: set[int] = set()
    left = TARGETS_MAX
    for block in blocks:
        if block.type == BLOCK_CONFIDENTIALITY:
            data = block.data
            if len(data) > 1 and data[0] == 0x81 and data[1] < 24:  # by far the most: one target
                encrypted.add(data[1])
            else:
                targets = security_targets(block)
                left -= len(targets)
                if left < 0:
                    raise DecodeError("more targets than there can be blocks", "RFC 9172 §3.2")
                encrypted.update(targets)
    return encrypted


def security_targets(block: CanonicalBlock) -> tuple[int, ...]:
    """The block numbers that a security block covers: the first item of its abstract security
    block (RFC 9172 §3.6).  Raises `DecodeError`."""
    data = block.data
    try:
        count, offset = cbor.read_array(data, 0, strict=False)
    except cbor.IndefiniteLength:
        end = cbor.skip_item(data, 0, strict=False)  # of what follows nobody asks here
        data = cbor.deterministic(data[:end], strict=False)
        count, offset = cbor.read_array(data, 0)
    if count > TARGETS_MAX:
        raise DecodeError("too many security targets", "RFC 9172 §3.6")
    targets = []
    for _ in range(count):
        number, offset = cbor.read_uint(data, offset, strict=False)
        targets.append(number)
    return tuple(targets)
