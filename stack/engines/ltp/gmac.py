"""AES-GMAC (NIST SP 800-38D) of segments, alone and in runs.  An authentication value is a count,
with which the nonce ends, and the tag.

A call costs three times what 1,400 octets in it do.  To sign takes one for each segment, to verify
one for a whole run.  A tag is right if GHASH of its segment (§6.4), the tag, and what AES makes of
the nonce's first counter block (§7.1) are 0 when added.  GHASH is a polynomial in the secret hash
subkey, and its coefficients are the blocks that it takes.  So the segments are put one behind
another, each as GHASH takes it, with zeros to the next block and its length, and then a block of
its tag and what AES made of its nonce.  If all tags are right, GHASH of these blocks is that of as
many zeros.

Who has no key brings about no more by a run than segment by segment.  Take the last one that is
wrong: those behind it add nothing.  If its nonce was signed with, the lowest powers that it has
are of what differs from the segment that was signed: of tag, length and octets, in this order, and
nothing else has these powers.  So the polynomial is not 0, and no more of 2^128 subkeys are its
roots than its degree says, which is the number of blocks: those of the run, or more by the longest
segment that was signed.  If its nonce was not signed with, AES made of it what nobody knows, the
same for each segment that has this nonce: a sum of as many powers, which is 0 for no more subkeys
than there are blocks, times that; and where the sum is not 0 one value of 2^128 alone would do.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import lru_cache
from itertools import repeat
from struct import Struct
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stack.core.train import Buffer
from stack.engines.ltp.trains import Octets

NONCE_BYTES: Final = 12
COUNT_BYTES: Final = 4
TAG_BYTES: Final = 16
BLOCK_BYTES: Final = 16

_FIXED: Final = bytes(NONCE_BYTES - COUNT_BYTES)
"""The fixed field of a nonce: a key has one signer, so there is nothing to tell apart."""

_INNER_NONCE: Final = bytes(NONCE_BYTES)
"""Tags of runs under it are compared with one another, and never leave."""

_SHAPES_MAX: Final = 64
"""Shapes of runs remembered: those of a link are few."""

_LENGTHS_MAX: Final = 16
"""Lengths of runs whose tag of zeros is remembered, for each key."""


class GmacSigner:
    """Signs with a key that nobody else signs with, and counts."""

    __slots__ = ("_mac", "_next")

    def __init__(self, key: bytes) -> None:
        self._mac = AESGCM(key).encrypt
        self._next = 0

    def _take(self, count: int) -> int:
        """The first of so many counts, none of which comes twice.  Raises `OverflowError`."""
        first = self._next
        if first + count > 1 << 8 * COUNT_BYTES:
            raise OverflowError("this key has signed as many segments as it may")
        self._next += count
        return first

    def one(self, segment: Buffer) -> bytes:
        """The value of one segment."""
        count = self._take(1).to_bytes(COUNT_BYTES, "big")
        return count + self._mac(_FIXED + count, b"", segment)

    def run(self, rows: Octets) -> None:
        """Write the values at the end of rows."""
        number, width = rows.shape
        first = self._take(number)
        value = width - COUNT_BYTES - TAG_BYTES
        nonces = _nonces(number).pack(*range(first, first + number))
        tags = b"".join(
            map(
                self._mac,
                _beginnings(number, NONCE_BYTES, 0).unpack(nonces),
                repeat(b""),
                _beginnings(number, value, width - value).unpack(rows.data),
            )
        )
        counts = np.frombuffer(nonces, np.uint8).reshape(number, NONCE_BYTES)[:, -COUNT_BYTES:]
        rows[:, value:-TAG_BYTES] = counts
        rows[:, -TAG_BYTES:] = np.frombuffer(tags, np.uint8).reshape(number, TAG_BYTES)


class GmacChecker:
    """Verifies with one key.  What runs need is made when the first comes: most of the salts that
    a forger makes up bring none."""

    __slots__ = ("_encrypt", "_key", "_mac", "_zeros")

    def __init__(self, key: bytes) -> None:
        self._key, self._mac = key, AESGCM(key).encrypt
        self._encrypt: Callable[[memoryview], bytes] | None = None
        self._zeros: dict[int, bytes] = {}

    def one(self, segment: Buffer, value: Buffer) -> bool:
        """Whether that is the value of a segment."""
        tag = self._mac(_FIXED + value[:COUNT_BYTES], b"", segment)
        return hmac.compare_digest(tag, value[COUNT_BYTES:])

    def run(self, segments: Octets, values: Octets) -> bool:
        """Whether each row of `values` is the value of that row of `segments`."""
        number, length = segments.shape
        # §7.1, step 5: zeros, then how many bits are authenticated and how many encrypted.
        ending = bytes(-length % BLOCK_BYTES) + (8 * length).to_bytes(8, "big") + bytes(8)
        blocks: Octets = np.empty((number, length + len(ending) + BLOCK_BYTES), np.uint8)
        blocks[:, :length] = segments
        blocks[:, length:-BLOCK_BYTES] = np.frombuffer(ending, np.uint8)
        seeds: Octets = np.zeros((number, BLOCK_BYTES), np.uint8)
        seeds[:, NONCE_BYTES - COUNT_BYTES : NONCE_BYTES] = values[:, :COUNT_BYTES]
        seeds[:, -1] = 1  # §7.1, step 2: the first counter block
        tags = np.frombuffer(values[:, COUNT_BYTES:].tobytes(), np.uint64)
        added = tags ^ np.frombuffer(self._aes(seeds), np.uint64)
        blocks[:, -BLOCK_BYTES:] = added.view(np.uint8).reshape(number, BLOCK_BYTES)
        tag = self._mac(_INNER_NONCE, b"", blocks.data)
        return hmac.compare_digest(tag, self._of_zeros(blocks.size))

    def _aes(self, blocks: Octets) -> bytes:
        if self._encrypt is None:
            # ECB is AES of each block by itself, and none of this leaves.
            cipher = Cipher(algorithms.AES(self._key), modes.ECB())  # noqa: S305
            self._encrypt = cipher.encryptor().update
        return self._encrypt(blocks.data)

    def _of_zeros(self, length: int) -> bytes:
        found = self._zeros.get(length)
        if found is None:
            if len(self._zeros) >= _LENGTHS_MAX:
                self._zeros.clear()
            found = self._zeros[length] = self._mac(_INNER_NONCE, b"", bytes(length))
        return found


@lru_cache(_SHAPES_MAX)
def _nonces(number: int) -> Struct:
    """As many nonces, one behind the other, made of their counts."""
    return Struct(">" + f"{len(_FIXED)}xI" * number)


@lru_cache(_SHAPES_MAX)
def _beginnings(number: int, length: int, rest: int) -> Struct:
    """The first `length` octets of each of `number` rows that have `rest` octets more."""
    return Struct(f"{length}s{rest}x" * number)
