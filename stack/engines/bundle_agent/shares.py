"""Whose bundles fill the store: nobody takes the room that is kept for others.

A link without authentication brings what strangers forge, and what lives long and goes nowhere
stays.  So a part of the quotas is kept for each neighbour on such a link, and one for this node's
own: a bundle of one neighbour is stored only where the parts that others have not used stay free
beside it (complete sharing with minimum allocations, Kamoun and Kleinrock 1980).  What is in
nobody's part is for whoever comes first, so that one neighbour alone may use most of the store.
Nothing that is held goes to make room: what is over a share is refused, and waits at its sender.
"""

from __future__ import annotations

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
    """Octets and bundles held by owner: a neighbour's node id, or one of the above."""

    def __init__(
        self, quota_bytes: int = 0, quota_bundles: int = 0, reserved_share: float = 0.0
    ) -> None:
        """`reserved_share` of the quotas is kept, as soon as there is a neighbour to keep it for;
        0: everything is for whoever comes first."""
        self._quota = (quota_bytes, quota_bundles)
        self._reserved_share = reserved_share
        self._parts: dict[str, tuple[int, int]] = {}
        self._held: dict[str, tuple[int, int]] = {}
        self._kept = NOTHING
        """Of all parts, what is not used."""

    def open(self, neighbour: str) -> None:
        """Keep a part for a neighbour on a link that is not trusted."""
        neighbours = {*self._parts, neighbour} - {OWN}
        octets, bundles = (int(self._reserved_share * one) for one in self._quota)
        own = (int(octets * OWN_PART), int(bundles * OWN_PART))
        each = ((octets - own[0]) // len(neighbours), (bundles - own[1]) // len(neighbours))
        self._parts = dict.fromkeys(neighbours, each) | {OWN: own}
        unused = [self._unused(owner) for owner in self._parts]
        self._kept = (sum(one[0] for one in unused), sum(one[1] for one in unused))

    def of(self, neighbour: str, *, leads_on: bool = True) -> str:
        """The owner of what a link that is not trusted brings from a neighbour.  `leads_on`:
        whether any contact leads where it is to go."""
        if neighbour not in self._parts:
            return OWN
        return neighbour if leads_on else NOWHERE

    def spare(self, owner: str) -> tuple[int, int]:
        """Octets and bundles of the quota that have to stay free beside a new bundle."""
        if owner == OWN:
            return NOTHING
        octets, bundles = self._unused(owner)
        return self._kept[0] - octets, self._kept[1] - bundles

    def held(self, owner: str = OWN) -> int:
        """Octets that an owner holds."""
        return self._held.get(owner, NOTHING)[0]

    def part(self, owner: str = OWN) -> int:
        """Octets that are kept for an owner, used or not."""
        return self._parts.get(owner, NOTHING)[0]

    def count(self, owner: str, octets: int, bundles: int) -> None:
        """An owner's bundles have come, or (below 0) gone."""
        before = self._unused(owner)
        held = self._held.get(owner, NOTHING)
        now = (held[0] + octets, held[1] + bundles)
        if now == NOTHING:
            self._held.pop(owner, None)
        else:
            self._held[owner] = now
        if owner in self._parts:
            after = self._unused(owner)
            kept = self._kept
            self._kept = (kept[0] + after[0] - before[0], kept[1] + after[1] - before[1])

    def _unused(self, owner: str) -> tuple[int, int]:
        part = self._parts.get(owner)
        if part is None:
            return NOTHING
        held = self._held.get(owner, NOTHING)
        return max(0, part[0] - held[0]), max(0, part[1] - held[1])
