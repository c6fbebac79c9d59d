"""Which keys a segment of LTP names, ready to verify it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from stack.engines.ltp.ciphersuites import SALT_BYTES, AuthKey, Checks
from stack.wire.sdnv import encode_sdnv

AUTHENTICATION_TAG: Final = 0x00
"""Extension tag of both extensions (RFC 5327 §2.1)."""

SALTS_MAX: Final = 16
"""Salts remembered: a signer has one at a time, and what is on the way may have the one before."""


class Checker(NamedTuple):
    """What verifies: `trailer` is what a segment has between its content and the value."""

    checks: Checks
    value_bytes: int
    trailer: bytes


class AcceptedKeys:
    """Keys by the header extensions that name them.

    A salt that nobody has signed with costs whoever sends it a segment, and us a derivation; the
    next takes its place, so a flood of them takes no memory, nor that of salts that are in use.
    """

    def __init__(self, keys: Iterable[AuthKey]) -> None:
        self._ready: dict[bytes, list[Checker]] = {}
        self._salted: dict[bytes, list[AuthKey]] = {}
        for key in keys:  # an old and a new one may have the same KeyID, or none
            if key.salt_bytes:
                named = header(key, bytes(SALT_BYTES))[:-SALT_BYTES]
                self._salted.setdefault(named, []).append(key)
                continue
            checker = _checker(key, b"")
            # All of a ciphersuite are named where no KeyID is given.
            for named in {header(key), extension(bytes((key.suite,)))}:
                self._ready.setdefault(named, []).append(checker)
        self._proven: deque[bytes] = deque()
        self._tried: tuple[bytes, list[Checker]] = (b"", [])

    def named(self, extension: bytes) -> list[Checker]:
        """Keys that a header extension names."""
        found = self._ready.get(extension)
        if found is not None:
            return found
        if self._tried[0] != extension:
            salt = extension[-SALT_BYTES:]
            keys = self._salted.get(extension[:-SALT_BYTES], ())
            self._tried = extension, [_checker(key, salt) for key in keys]
        return self._tried[1]

    def unproven(self, extension: bytes) -> bool:
        """Whether an extension has a salt with which nothing has verified: for the last of these
        alone `named` has no key to derive."""
        return extension not in self._ready and extension[:-SALT_BYTES] in self._salted

    def proven(self, extension: bytes) -> None:
        """A key that the extension names has verified something: its salt is remembered, if it has
        one, in the place of the oldest."""
        if extension in self._ready:
            return
        self._ready[extension] = self.named(extension)
        self._proven.append(extension)
        if len(self._proven) > SALTS_MAX:
            del self._ready[self._proven.popleft()]


def extension(value: bytes) -> bytes:
    """A header extension of this value."""
    return bytes((AUTHENTICATION_TAG,)) + encode_sdnv(len(value)) + value


def header(key: AuthKey, salt: bytes = b"") -> bytes:
    """The header extension of what a key has signed."""
    return extension(bytes((key.suite,)) + key.id + salt)


def trailer(key: AuthKey) -> bytes:
    """The trailer extension, up to the authentication value."""
    return bytes((AUTHENTICATION_TAG,)) + encode_sdnv(key.value_bytes)


def overhead_bytes(key: AuthKey) -> int:
    """Octets that signing with `key` adds to a segment."""
    return len(header(key, bytes(key.salt_bytes))) + len(trailer(key)) + key.value_bytes


def _checker(key: AuthKey, salt: bytes) -> Checker:
    return Checker(key.checker(salt), key.value_bytes, trailer(key))
