"""A digest of what nobody may change in a bundle on its way: what makes two bundles the same.

The identity of a bundle (RFC 9171 §4.2.7) can be copied by anybody who has seen it or guessed it.
Two bundles are the same only if this is equal too.
"""

from __future__ import annotations

from collections.abc import Container
from struct import Struct
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stack.core.train import Buffer
from stack.wire.bundle import (
    BUNDLE_AGE,
    HOP_COUNT,
    PREVIOUS_NODE,
    Bundle,
    CanonicalBlock,
    encode_primary,
)

SECRET_BYTES: Final = 32
"""Octets of the secret that a node draws once and keeps in its store."""

DIGEST_BYTES: Final = 16

CHANGING: Final = frozenset({PREVIOUS_NODE, HOP_COUNT, BUNDLE_AGE})
"""Blocks that every node rewrites (RFC 9171 §5.4)."""

_HEAD: Final = Struct(">QQQQ").pack
_TAIL: Final = Struct(">QQQ").pack
_NONCE: Final = bytes(12)


class ContentDigest:
    """A keyed digest of 16 octets: GMAC (NIST SP 800-38D) under a secret of this node.

    Nobody else knows the secret and no digest ever leaves the node, so that nobody can make two
    contents that look alike here; that is all that is asked of it, and why one nonce serves for
    all.  It costs 45 µs a megabyte, where SHA-256 costs 600.
    """

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(secret)

    def whole(self, bundle: Bundle, variant: int = 0, encrypted: Container[int] = ()) -> bytes:
        """Over the primary block and all blocks that stay as they are; `encrypted` ones do, as
        who rewrites one of these has broken it.  `variant` goes in too."""
        kept = [
            block
            for block in bundle.blocks[:-1]
            if block.type not in CHANGING or block.number in encrypted
        ]
        kept.sort(key=_number)
        return self._over(bundle, kept, variant)

    def payload(self, bundle: Bundle) -> bytes:
        """Over the primary block and the payload alone: all that an application sees."""
        return self._over(bundle, [], 0)

    def _over(self, bundle: Bundle, others: list[CanonicalBlock], variant: int) -> bytes:
        primary, payload = bundle.primary, bundle.blocks[-1]
        parts: list[Buffer] = [primary.encoded or encode_primary(primary)]
        for block in others:
            data = block.data
            parts += (_HEAD(block.type, block.number, block.flags, len(data)), data)
        parts.append(_TAIL(variant, len(others), payload.flags))
        # One call over the payload, where it lies, as what goes with the message, and the rest as
        # the message: both are in the note, and what else comes of it is not wanted.
        return self._cipher.encrypt(_NONCE, b"".join(parts), payload.data)[-DIGEST_BYTES:]


def _number(block: CanonicalBlock) -> int:
    return block.number
