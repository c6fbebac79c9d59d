"""A small secret file, encrypted under a key of its owner: as safe as that key is on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from stack.core.errors import SecurityError
from stack.core.private import replace_secret
from stack.core.sansio import Entropy

MARK: Final = b"OFSF1\0"
NONCE_BYTES: Final = 12
FILE_BYTES_MAX: Final = 16 * 1024 * 1024


class SealedFile:
    """The file at `path`: AES-256-GCM under a key that HKDF-SHA256 makes of the owner's `secret`
    and the file's name, with a random nonce for each writing: a few thousand in a node's life."""

    def __init__(self, path: Path, secret: bytes, entropy: Entropy) -> None:
        self.path = path
        self._context = b"Orbitferry sealed file\0" + path.name.encode()
        key = HKDF(hashes.SHA256(), 32, None, self._context).derive(secret)
        self._cipher = AESGCM(key)
        self._entropy = entropy

    def read(self) -> bytes:
        """What was written last.  Raises `OSError`, and `SecurityError` for what was altered, or
        written under another secret."""
        with self.path.open("rb") as file:
            octets = file.read(FILE_BYTES_MAX + 1)
        head = len(MARK) + NONCE_BYTES
        if len(octets) > FILE_BYTES_MAX or octets[: len(MARK)] != MARK:
            raise SecurityError(f"{self.path}: no file of this kind")
        try:
            return self._cipher.decrypt(octets[len(MARK) : head], octets[head:], self._context)
        except (InvalidTag, ValueError):  # ValueError: there is less than a nonce
            raise SecurityError(f"{self.path}: altered, or of another node's keys") from None

    def write(self, octets: bytes) -> None:
        """Put this in its place, durably, and overwrite what was there.  Raises `OSError`."""
        nonce = self._entropy(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, octets, self._context)
        replace_secret(self.path, MARK + nonce + sealed)
