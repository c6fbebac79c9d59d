"""What services remember of what is over, for those of whom it is."""

from __future__ import annotations

from stack.core.eid import Eid


class Ended:
    """Keys of what is over, in the order in which it ended, by the node that it is of.  Where there
    is too much, who has most forgets its oldest: nobody has what is of others forgotten."""

    def __init__(self) -> None:
        self._of: dict[Eid, dict[str, None]] = {}
        self._count = 0

    def add(self, peer: Eid, key: str) -> None:
        """What is of the node of `peer` is over."""
        self._of.setdefault(peer.node, {})[key] = None
        self._count += 1

    def remove(self, peer: Eid, key: str) -> None:
        """It is remembered no more."""
        keys = self._of[peer.node]
        del keys[key]
        if not keys:
            del self._of[peer.node]
        self._count -= 1

    def oldest(self) -> str:
        """What is to be forgotten next, of at least one."""
        most = max(self._of.values(), key=len)
        return next(iter(most))

    def __len__(self) -> int:
        return self._count
