"""The bundles that wait to be forwarded, by neighbour and priority."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from stack.core.errors import LocalError
from stack.routing.graph import PRIORITY_LEVELS, priority_level
from stack.routing.route import Route

_SWEEP_MIN = 64
"""Fewer dead entries than this in a lane are left lying."""


class Queued(NamedTuple):
    """A bundle that waits; its octets are in the store."""

    ref: int
    """The store's name of the bundle."""

    size: int
    """Octets of the encoded bundle."""

    priority: int
    expires_ms: int
    """DTN time at which its lifetime ends."""

    neighbour: str
    """The node that it waits for."""

    route: Route | None = None
    """Its booking, to be released when it goes another way."""

    late: bool = False
    """It goes after all others, whatever its priority: it has failed, and may do so again."""


def _lane_of(entry: Queued) -> int:
    return 0 if entry.late else 1 + priority_level(entry.priority)


class _Lane:
    """One neighbour's bundles of one priority, in order; the first lane is for what goes late.

    An entry is alive while the queue's index holds that very object (so each push makes its own).
    Dead ones stay until they reach the head or outnumber the living: taking one out of the middle
    costs nothing.
    """

    __slots__ = ("count", "entries", "octets")

    def __init__(self) -> None:
        self.entries: deque[Queued] = deque()
        self.count = 0
        self.octets = 0


class ForwardQueue:
    """FIFO lanes by neighbour and priority.  Every operation on one bundle takes constant time
    (amortised), at a million bundles as at ten; nothing in here reads a clock or a store."""

    __slots__ = ("_alive", "_lanes")

    def __init__(self) -> None:
        self._alive: dict[int, Queued] = {}
        self._lanes: dict[str, list[_Lane]] = {}

    def __len__(self) -> int:
        return len(self._alive)

    def __contains__(self, ref: int) -> bool:
        return ref in self._alive

    def get(self, ref: int) -> Queued | None:
        """The entry of a bundle, or None when it does not wait here."""
        return self._alive.get(ref)

    def neighbours(self) -> list[str]:
        """Those for whom bundles wait."""
        return list(self._lanes)

    def push(self, entry: Queued) -> None:
        """Put a bundle at the end of its lane.  Raises `LocalError` when it waits already."""
        entry = Queued._make(entry)
        self._lane_for(entry).entries.append(entry)

    def requeue(self, entry: Queued) -> None:
        """Put a bundle back at the head of its lane, as after a send that came to nothing.
        Raises `LocalError` when it waits already."""
        entry = Queued._make(entry)
        self._lane_for(entry).entries.appendleft(entry)

    def pop_next(self, neighbour: str) -> Queued | None:
        """Take the next bundle for a neighbour: the first of the highest priority."""
        for lane in reversed(self._lanes.get(neighbour, ())):
            entries = lane.entries
            while entries:
                head = entries.popleft()
                if self._alive.get(head.ref) is head:
                    self._forget(head, lane)
                    return head
        return None

    def remove(self, ref: int) -> Queued | None:
        """Take a bundle out wherever it waits; None when it does not."""
        entry = self._alive.get(ref)
        if entry is None:
            return None
        lane = self._lanes[entry.neighbour][_lane_of(entry)]
        self._forget(entry, lane)
        entries = lane.entries
        if len(entries) > 2 * lane.count + _SWEEP_MIN:
            alive = self._alive
            lane.entries = deque(item for item in entries if alive.get(item.ref) is item)
        return entry

    def drain(self, neighbour: str) -> list[Queued]:
        """Take out everything that waits for a neighbour, highest priority first, each priority
        in order; for finding new routes when a contact has ended or failed."""
        drained = list(self.waiting(neighbour))
        for entry in drained:
            del self._alive[entry.ref]
        self._lanes.pop(neighbour, None)
        return drained

    def waiting(self, neighbour: str) -> Iterator[Queued]:
        """What waits for a neighbour, in the order in which it would go.  The queue must not
        change meanwhile."""
        alive = self._alive
        for lane in reversed(self._lanes.get(neighbour, ())):
            for entry in lane.entries:
                if alive.get(entry.ref) is entry:
                    yield entry

    def least(self, neighbour: str, priority: int) -> Iterator[Queued]:
        """What waits for a neighbour at less than a priority, in the order in which it would be
        given up: what goes late, then the lowest priority first, and of each the newest.  The
        queue must not change meanwhile."""
        alive, level = self._alive, priority_level(priority)
        for lane in self._lanes.get(neighbour, ())[: 1 + level]:
            for entry in reversed(lane.entries):
                # Those that go late are of any priority; whoever could give up its like, or itself,
                # would come back and do it again.
                if alive.get(entry.ref) is entry and priority_level(entry.priority) < level:
                    yield entry

    def count(self, neighbour: str) -> int:
        """Bundles that wait for a neighbour."""
        return sum(lane.count for lane in self._lanes.get(neighbour, ()))

    def bytes_waiting(self, neighbour: str) -> int:
        """Octets that wait for a neighbour."""
        return sum(lane.octets for lane in self._lanes.get(neighbour, ()))

    def _lane_for(self, entry: Queued) -> _Lane:
        """The lane of a new entry, which is counted there."""
        if entry.ref in self._alive:
            raise LocalError(f"bundle {entry.ref} waits already")
        lanes = self._lanes.get(entry.neighbour)
        if lanes is None:
            lanes = self._lanes[entry.neighbour] = [_Lane() for _ in range(1 + PRIORITY_LEVELS)]
        lane = lanes[_lane_of(entry)]
        lane.count += 1
        lane.octets += entry.size
        self._alive[entry.ref] = entry
        return lane

    def _forget(self, entry: Queued, lane: _Lane) -> None:
        del self._alive[entry.ref]
        lane.count -= 1
        lane.octets -= entry.size
        if not lane.count:
            lane.entries.clear()
            if not any(other.count for other in self._lanes[entry.neighbour]):
                del self._lanes[entry.neighbour]
