"""How much of a limit each node may use that comes to a service: none uses up what others need.

A node may begin what leaves it with no more than half of what the others leave, rounded up (dynamic
thresholds, Choudhury and Hahne 1998).  So one alone has half of the limit, the next one a quarter,
and beside `count` nodes there is always `most // 2**count` free, half of it for whoever comes next:
whatever they have begun and ended before.  Parts that are kept for each, as in the store
(`stack.engines.bundle_agent.shares`), would need to know beforehand who comes.
"""

from __future__ import annotations

from stack.core.eid import Eid


def half(free: int) -> int:
    """How much of what is free one node may have: of a single one it may have that."""
    return (max(0, free) + 1) // 2


class PeerShares:
    """What is under way, by the node that it is of: keys, each with how much it counts for."""

    def __init__(self, limit: str, most: int) -> None:
        """`limit` is the configuration's name of `most`, for who has to wait."""
        self._limit = limit
        self._most = most
        self._of: dict[Eid, dict[str, int]] = {}
        self._held: dict[Eid, int] = {}
        self._total = 0

    def add(self, peer: Eid, key: str, amount: int = 1) -> None:
        """Something of the node of `peer` is under way; nothing when it was already."""
        keys = self._of.setdefault(peer.node, {})
        if key not in keys:
            keys[key] = amount
            self._held[peer.node] = self._held.get(peer.node, 0) + amount
            self._total += amount

    def remove(self, peer: Eid, key: str) -> None:
        """It is under way no more; nothing when it was not."""
        keys = self._of.get(peer.node, {})
        amount = keys.pop(key, None)
        if amount is not None:
            self._held[peer.node] -= amount
            self._total -= amount
            if not keys:
                del self._of[peer.node], self._held[peer.node]

    def refusal(self, peer: Eid, amount: int = 1) -> str:
        """Why the node of `peer` may not begin so much more now, or nothing."""
        own = self._held.get(peer.node, 0)
        others = self._total - own
        if own + amount <= half(self._most - others):
            return ""
        return (
            f"{own} under way for this node and {others} for others: each may have half of what"
            f" others leave of {self._limit} = {self._most}"
        )
