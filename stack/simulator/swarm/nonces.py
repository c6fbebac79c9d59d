"""Which nonces have signed what, on one direction of a link with AES-GMAC.

GMAC gives its key away when one key and nonce sign two segments: for as long as a link has its key,
whatever restarts, none may.
"""

from __future__ import annotations

from stack.core.train import Train
from stack.engines.ltp.ciphersuites import AES_GMAC
from stack.engines.ltp.envelope import counts_at
from stack.engines.ltp.gmac import COUNT_BYTES, TAG_BYTES

_VALUE_BYTES = COUNT_BYTES + TAG_BYTES


class Nonces:
    """What processes have signed at one end."""

    def __init__(self) -> None:
        self._signed: dict[bytes, int] = {}
        self.repeated = 0
        """Segments under a nonce that had signed another one."""

    @property
    def count(self) -> int:
        """Segments signed."""
        return len(self._signed)

    def hear(self, train: Train) -> None:
        """One end sends this."""
        for datagram in train.datagrams():
            at = counts_at(datagram) + 1
            head = bytes(datagram[at : at + 2 + datagram[at + 1]])
            if head[2] != AES_GMAC:
                continue
            # The extension names key and salt.
            nonce = head + bytes(datagram[-_VALUE_BYTES : len(datagram) - TAG_BYTES])
            digest = hash(bytes(datagram))
            self.repeated += self._signed.setdefault(nonce, digest) != digest
