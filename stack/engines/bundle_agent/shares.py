"""Whose bundles fill the store: nobody takes the room that is kept for others.

A link without authentication brings what strangers forge, and what lives long and goes nowhere
stays.  So a part of the quotas is kept for each neighbour on such a link, and one for this node's
own: a bundle of one neighbour is stored only where the parts that others have not used stay free
beside it (complete sharing with minimum allocations, Kamoun and Kleinrock 1980).  What is in
nobody's part is for whoever comes first, so that one neighbour alone may use most of the store.
Nothing that is held goes to make room: what is over a share is refused, and waits at its sender.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

OWN: Final = ""
"""Owner of what applications here sent, of what security has proven to be for here, and of what
trusted links brought: held to no share."""

NOWHERE: Final = "?"
"""Owner of what such a link brought for a node to which no contact leads: it has no part."""

OWN_PART: Final = 1 / 3
"""Of all that is kept, the part for this node's own; neighbours have equal parts of the rest."""

NOTHING: Final = (0, 0)


class Shares:
    """Octets held by owner: a neighbour's node id, or one of the above.  A bundle of less than
    `quota_bytes / quota_bundles` counts for so many, or tiny ones would use up the number."""

    def __init__(
        self,
        neighbours: Collection[str] = (),
        quota_bytes: int = 0,
        quota_bundles: int = 1,
        reserved_share: float = 0.0,
    ) -> None:
        """`reserved_share` of the quotas is kept for `neighbours`, who are on links that are not
        trusted, and this node's own; with 0, or no such neighbours, nothing is counted."""
        self._least = max(1, quota_bytes // quota_bundles)
        self._reserved = int(reserved_share * quota_bytes)
        self.follow(neighbours, ())

    def follow(self, neighbours: Collection[str], held: Iterable[tuple[str, int]]) -> None:
        """Keep parts for these neighbours from now on; `held` are owner and size of each bundle."""
        self.neighbours = frozenset(neighbours if self._reserved else ())
        self._held: dict[str, int] = {}
        self._parts: dict[str, int] = {}
        if self.neighbours:
            own = int(self._reserved * OWN_PART)
            each = (self._reserved - own) // len(self.neighbours)
            self._parts = dict.fromkeys(self.neighbours, each) | {OWN: own}
        self._kept = sum(self._parts.values())
        """Of all parts, the octets that are not used."""

        self._padding = 0
        """What tiny bundles count beyond the octets that they have: when they leave, their owner
        has that room too."""

        if self.neighbours:
            for owner, size in held:
                self.came(owner, size)

    def spare(self, owner: str, size: int) -> tuple[int, int]:
        """Octets and bundles of the quotas that have to stay free beside a new bundle of `size`
        octets."""
        octets = self._kept
        unused = self._parts.get(owner, 0) - self._held.get(owner, 0)
        if unused > 0:
            octets -= unused
        padding = self._padding + max(0, self._least - size)
        return octets + padding, octets // self._least

    def held(self, owner: str = OWN) -> int:
        """Octets that an owner holds."""
        return self._held.get(owner, 0)

    def part(self, owner: str = OWN) -> int:
        """Octets that are kept for an owner, used or not."""
        return self._parts.get(owner, 0)

    @property
    def brought(self) -> int:
        """Octets held that are not this node's own."""
        return sum(self._held.values()) - self.held()

    def came(self, owner: str, size: int) -> None:
        """A bundle of `size` octets is held from now on."""
        counted = size
        if size < self._least:
            counted = self._least
            self._padding += counted - size
        before = self._held.get(owner, 0)
        self._held[owner] = after = before + counted
        part = self._parts.get(owner, 0)
        if before < part:
            self._kept -= counted if after < part else part - before

    def went(self, owner: str, size: int) -> None:
        """It is held no more."""
        counted = size
        if size < self._least:
            counted = self._least
            self._padding -= counted - size
        before = self._held[owner]
        self._held[owner] = after = before - counted
        part = self._parts.get(owner, 0)
        if after < part:
            self._kept += counted if before < part else part - after
