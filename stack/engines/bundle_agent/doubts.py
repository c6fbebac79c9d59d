"""Whether to ask once more for what does not verify.

What is encrypted has no CRC (RFC 9173 §4.8.1), so a bundle that does not verify may have been
damaged since its sender loaded it, who then sends something else the next time; what a forger made
comes again as it is, and goes.  But LTP can refuse nothing smaller than a block: each forged bundle
has a whole block sent twice, and its sender slow down besides.  So who brings forgeries is asked
only as long as that may be worth it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

REMEMBERED_MAX: Final = 4096
"""Bundles that did not verify, and are known if they come again."""

IN_VAIN_MAX: Final = 16
"""So many bundles of a neighbour may come again as they were, before the next that do not verify
go at once."""

EARNED_BY: Final = 256
"""So many bundles that are proven make up for one of these."""


class Doubts:
    """What did not verify, by digest, and for each neighbour what asking has been worth."""

    def __init__(self) -> None:
        self._asked: OrderedDict[bytes, None] = OrderedDict()
        self._owed: dict[str, int] = {}
        """Of each neighbour the bundles that have yet to be proven before asking in vain has cost
        it nothing."""

    def ask(self, digest: bytes, neighbour: str) -> bool:
        """Whether its sender shall send a bundle once more that does not verify."""
        asked, owed = self._asked, self._owed.get(neighbour, 0)
        if digest in asked:
            del asked[digest]
            self._owed[neighbour] = min(owed + EARNED_BY, IN_VAIN_MAX * EARNED_BY)
            return False
        if owed > (IN_VAIN_MAX - 1) * EARNED_BY:
            return False
        asked[digest] = None
        if len(asked) > REMEMBERED_MAX:
            asked.popitem(last=False)
        return True

    def proven(self, neighbour: str) -> None:
        """A neighbour has brought something that verifies."""
        if owed := self._owed.get(neighbour):
            if owed > 1:
                self._owed[neighbour] = owed - 1
            else:
                del self._owed[neighbour]
