"""Node ids that other domains have given: keys of this domain say nothing of them, ever.

A node remembers those whose certificates it has seen.  For nodes that enrol later the authority
signs a list of those that it has seen itself: COSE_Sign1 of the ids, one a line.  A name is only
ever added, so that an old list that comes again does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from stack.core.eid import Eid
from stack.core.errors import DecodeError, SecurityError
from stack.cose import SigningKey, VerifyingKey, decode_sign1, sign1
from stack.identity import pem

FOREIGN_MAX: Final = 10_000
FOREIGN_CHARS_MAX: Final = 2 * 1024 * 1024
"""So many node ids of other domains are kept, of so many characters in all: one list has to fit in
a file.  Where there are more, every id that this domain has not certified counts as one: a full
table makes nobody one of ours."""


class ForeignNames:
    """What a node, or an authority, knows of such ids."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._chars = 0
        self._listed = 0
        self._list = b""

    def add(self, node: str) -> None:
        """Another domain has given this id."""
        if not self._full and node not in self._names:
            self._names[node] = None
            self._chars += len(node)

    def may_have(self, node: str) -> bool:
        """Whether another domain has given it, or nobody can say any more."""
        return self._full or node in self._names

    def take(self, octets: bytes, domain: str, authority: VerifyingKey) -> None:
        """A list that the authority of this `domain` has signed.  Raises `SecurityError`."""
        try:
            content = decode_sign1(octets).verify(authority, external_aad=_for(domain))
            names = [str(Eid.parse(line)) for line in bytes(content).decode().split("\n")]
        except (UnicodeDecodeError, DecodeError, SecurityError) as error:
            raise SecurityError(f"names of other domains: {error}") from None
        for name in names:
            self.add(name)
        if len(names) > self._listed:
            self._listed, self._list = len(names), octets

    def sign(self, domain: str, signing: SigningKey) -> None:
        """As the authority of `domain`, list all of them, if there are others than in the list that
        is there."""
        if len(self._names) > self._listed:
            content = "\n".join(self._names).encode()
            self._list = sign1(content, signing, external_aad=_for(domain))
            self._listed = len(self._names)

    def list_blocks(self) -> list[pem.PemBlock]:
        """The list of the authority, for nodes of its domain, if there is one."""
        return [pem.PemBlock(pem.FOREIGN_LIST, self._list)] if self._list else []

    def memory(self) -> list[pem.PemBlock]:
        """All of them, for this node's own file alone: nobody has signed it."""
        return [pem.PemBlock(pem.FOREIGN, node.encode()) for node in self._names]

    def recall(self, blocks: Iterable[pem.PemBlock]) -> None:
        """Take what `memory` has put there.  Raises `SecurityError`."""
        try:
            for block in blocks:
                if block.label == pem.FOREIGN:
                    self.add(str(Eid.parse(block.octets.decode())))
        except (UnicodeDecodeError, DecodeError) as error:
            raise SecurityError(f"not the id of a node of another domain: {error}") from None

    @property
    def _full(self) -> bool:
        return len(self._names) >= FOREIGN_MAX or self._chars >= FOREIGN_CHARS_MAX


def _for(domain: str) -> bytes:
    return f"Orbitferry foreign names\0{domain}".encode()
