"""How much is stored, by what eviction and compaction ask for; kept beside the database.

A transaction counts its changes in a `Tally` of its own, which is merged into the store's when
the transaction is durable and thrown away when it failed.
"""

from __future__ import annotations

from typing import Final

from stack.ports.store import Place

_DELIVER: Final = int(Place.DELIVER)


class Tally:
    """Numbers of bundles and octets; as a change, they may be negative."""

    __slots__ = ("bundles", "evictable", "keys", "octets", "segments")

    def __init__(self) -> None:
        self.bundles = 0
        self.octets = 0
        self.keys = 0
        self.evictable: dict[int, list[int]] = {}
        """By priority: bundles and octets that may be evicted (`Place.DELIVER` may not)."""
        self.segments: dict[int, list[int]] = {}
        """By payload log segment (0: in the database): bundles and octets alive."""

    def count(self, bundles: int, octets: int, priority: int, place: int, segment: int) -> None:
        """Add `bundles` (negative to take away) of equal kind, `octets` together."""
        self.bundles += bundles
        self.octets += octets
        if place != _DELIVER:
            _add(self.evictable, priority, bundles, octets)
        _add(self.segments, segment, bundles, octets)

    def merge(self, change: Tally) -> None:
        """Take over the changes of a transaction."""
        self.bundles += change.bundles
        self.octets += change.octets
        self.keys += change.keys
        for mine, theirs in (
            (self.evictable, change.evictable),
            (self.segments, change.segments),
        ):
            for key, (bundles, octets) in theirs.items():
                if not (bundles or octets):  # as many of a kind went as came
                    continue
                _add(mine, key, bundles, octets)
                if not mine[key][0]:
                    del mine[key]

    def evictable_below(self, priority: int) -> tuple[int, int]:
        """Bundles and octets of lower priority than `priority` that may be evicted."""
        found = [entry for level, entry in self.evictable.items() if level < priority]
        return sum(entry[0] for entry in found), sum(entry[1] for entry in found)


def _add(table: dict[int, list[int]], key: int, bundles: int, octets: int) -> None:
    entry = table.get(key)
    if entry is None:
        table[key] = [bundles, octets]
    else:
        entry[0] += bundles
        entry[1] += octets
