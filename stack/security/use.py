"""How often each AES-GCM key has encrypted, counted so that no crash makes it less.

Every encryption takes an IV of 96 random bits.  NIST SP 800-38D §8.3 allows 2^32 of these under one
key, by all nodes that encrypt with it and in all their lives: then two are alike with a likelihood
of 2^-32 at most.  As nothing but the key's own octets and the operating system's randomness
goes into an encryption, a restored backup or a clone of a disk repeats no IV; it may only count
less than there was, which is what `Key.senders` leaves room for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from stack.core.errors import SecurityError
from stack.core.sansio import Trace, no_trace
from stack.security.keys import Key

ENCRYPTIONS_MAX: Final = 1 << 32
"""Under one key by all nodes that have it (NIST SP 800-38D §8.3)."""

BLOCK: Final = 65_536
"""Encryptions that are written down at a time, before the first of them: a crash counts the rest
of a block as done, never one less."""

WEARING: Final = 0.75
"""Part of a node's encryptions from which on it warns, and asks for the next epoch."""


class KeyExhausted(SecurityError):
    """A key has encrypted as often as it may."""


def _forget(counts: Mapping[str, int]) -> None:
    """Nothing is written down: for engines without a disk."""


class KeyUse:
    """Encryptions of one node by key."""

    def __init__(
        self,
        counted: Mapping[str, int] | None = None,
        record: Callable[[Mapping[str, int]], None] = _forget,
        trace: Trace = no_trace,
        wearing: Callable[[Key], None] | None = None,
    ) -> None:
        """`counted`: what was recorded before, by fingerprint; `record` makes such a table, in
        which those come last that were counted last, durable before it returns, or raises.
        `wearing` is called with a key that has little left."""
        self._counted = dict(counted or {})
        self._left: dict[str, int] = {}
        self._record = record
        self._trace = trace
        self.wearing = wearing

    def take(self, key: Key) -> None:
        """Count one encryption, which may follow.  Raises `KeyExhausted` where the key has no more,
        and what `record` raises."""
        left = self._left.get(key.fingerprint, 0) or self._reserve(key)
        self._left[key.fingerprint] = left - 1

    def taken(self, key: Key) -> int:
        """Encryptions under a key from here, as many as there can have been."""
        return self._counted.get(key.fingerprint, 0) - self._left.get(key.fingerprint, 0)

    def close(self) -> None:
        """Record what was taken, no more: this node stops in peace.  Raises what `record` does."""
        if any(self._left.values()):
            counts = {name: n - self._left.get(name, 0) for name, n in self._counted.items()}
            self._record(counts)
            self._counted, self._left = counts, {}

    def _reserve(self, key: Key) -> int:
        before = self._counted.get(key.fingerprint, 0)
        most = allowed(key)
        block = min(BLOCK, most - before)
        if block <= 0:
            raise KeyExhausted(
                f"key {key.id} has encrypted {before} bundles from here, all that it may: "
                "put a new one (`orbitferry keys new`) before it in the key file, and "
                "`send = false` at this one"
            )
        counts = dict(self._counted)
        counts.pop(key.fingerprint, None)  # what is used comes last, however long it has been
        counts[key.fingerprint] = before + block
        self._record(counts)
        self._counted = counts
        if before + block > WEARING * most:
            self._trace("key_wearing", {"key": key.id, "encryptions": before, "of": most})
            if self.wearing is not None:
                self.wearing(key)
        return block


def allowed(key: Key) -> int:
    """Encryptions under a key that one node may make in all."""
    return ENCRYPTIONS_MAX // key.senders
