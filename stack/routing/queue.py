"""The bundles that wait to be forwarded, by neighbour and priority, and fairly by whose they are.

Of one priority each owner has an equal part of the octets, whatever the others have waiting: the
owner that has been served least is next, and who comes anew begins where those are who wait
(start-time fair queueing, Goyal, Vin and Cheng 1996).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
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

    owner: str = ""
    """Whose it is."""


def _level_of(entry: Queued) -> int:
    return 0 if entry.late else 1 + priority_level(entry.priority)


class _Lane:
    """Bundles of one owner, in order.

    An entry is alive while the queue's index holds that very object (so each push makes its own).
    Dead ones stay until they reach the head or outnumber the living: taking one out of the middle
    costs nothing.
    """

    __slots__ = ("count", "entries", "served")

    def __init__(self, served: int) -> None:
        self.entries: deque[Queued] = deque()
        self.count = 0
        self.served = served
        """Octets taken, and what others were ahead when it came."""


class _Level:
    """One neighbour's bundles of one priority, a lane for each owner; the first level is for what
    goes late.  Lanes stay until all are empty: else whoever has one bundle at a time would be
    served each time that it comes."""

    __slots__ = ("clock", "count", "lanes", "octets")

    def __init__(self) -> None:
        self.lanes: dict[str, _Lane] = {}
        self.count = 0
        self.octets = 0
        self.clock = 0
        """What had been `served` of the lane that was served last."""

    def next_lane(self) -> _Lane:
        """That of which the least was served, of those that are not empty: there has to be one."""
        lanes = self.lanes.values()
        if len(lanes) == 1:
            return next(iter(lanes))
        return min((lane for lane in lanes if lane.count), key=_served)


def _served(lane: _Lane) -> int:
    return lane.served


class ForwardQueue:
    """FIFO lanes by neighbour, priority and owner.  Every operation on one bundle takes constant
    time (amortised, for few owners), at a million bundles as at ten; nothing in here reads a clock
    or a store."""

    __slots__ = ("_alive", "_levels")

    def __init__(self) -> None:
        self._alive: dict[int, Queued] = {}
        self._levels: dict[str, list[_Level]] = {}

    def __len__(self) -> int:
        return len(self._alive)

    def __contains__(self, ref: int) -> bool:
        return ref in self._alive

    def get(self, ref: int) -> Queued | None:
        """The entry of a bundle, or None when it does not wait here."""
        return self._alive.get(ref)

    def neighbours(self) -> list[str]:
        """Those for whom bundles wait."""
        return list(self._levels)

    def push(self, entry: Queued) -> None:
        """Put a bundle at the end of its lane.  Raises `LocalError` when it waits already."""
        entry = Queued._make(entry)
        self._lane_for(entry).entries.append(entry)

    def requeue(self, entry: Queued, *, unused: bool = False) -> None:
        """Put a bundle back at the head of its lane, as after a send that came to nothing.  With
        `unused` it has not been sent, and is as if it had not been taken.  Raises `LocalError`
        when it waits already."""
        entry = Queued._make(entry)
        lane = self._lane_for(entry, entry.size if unused else 0)
        lane.entries.appendleft(entry)

    def pop_next(self, neighbour: str) -> Queued | None:
        """Take the next bundle for a neighbour: of the highest priority the first of the owner of
        which the least was taken."""
        for level in reversed(self._levels.get(neighbour, ())):
            while level.count:
                lane = level.next_lane()
                head = lane.entries.popleft()
                if self._alive.get(head.ref) is head:
                    level.clock = lane.served
                    lane.served += head.size
                    self._forget(head, level, lane)
                    return head
        return None

    def remove(self, ref: int) -> Queued | None:
        """Take a bundle out wherever it waits; None when it does not."""
        entry = self._alive.get(ref)
        if entry is None:
            return None
        level = self._levels[entry.neighbour][_level_of(entry)]
        lane = level.lanes[entry.owner]
        self._forget(entry, level, lane)
        entries = lane.entries
        if len(entries) > 2 * lane.count + _SWEEP_MIN:
            alive = self._alive
            lane.entries = deque(item for item in entries if alive.get(item.ref) is item)
        return entry

    def drain(self, neighbour: str) -> list[Queued]:
        """Take out everything that waits for a neighbour, in the order in which it would go; for
        finding new routes when a contact has ended or failed."""
        drained = list(self.waiting(neighbour))
        for entry in drained:
            del self._alive[entry.ref]
        self._levels.pop(neighbour, None)
        return drained

    def waiting(self, neighbour: str) -> Iterator[Queued]:
        """What waits for a neighbour, in the order in which it would go.  The queue must not
        change meanwhile."""
        for level in reversed(self._levels.get(neighbour, ())):
            yield from self._in_order(level)

    def least(self, neighbour: str, priority: int) -> Iterator[Queued]:
        """What waits for a neighbour at less than a priority, in the order in which it would be
        given up: what goes late, then the lowest priority first, and of each what would go last.
        The queue must not change meanwhile."""
        limit = priority_level(priority)
        for level in self._levels.get(neighbour, ())[: 1 + limit]:
            for entry in self._in_order(level, backwards=True):
                # Those that go late are of any priority; whoever could give up its like, or itself,
                # would come back and do it again.
                if priority_level(entry.priority) < limit:
                    yield entry

    def count(self, neighbour: str) -> int:
        """Bundles that wait for a neighbour."""
        return sum(level.count for level in self._levels.get(neighbour, ()))

    def bytes_waiting(self, neighbour: str) -> int:
        """Octets that wait for a neighbour."""
        return sum(level.octets for level in self._levels.get(neighbour, ()))

    def _in_order(self, level: _Level, *, backwards: bool = False) -> Iterator[Queued]:
        """What waits at a level, as it would go."""
        alive = self._alive
        lanes = [lane for lane in level.lanes.values() if lane.count]
        if len(lanes) == 1:
            (lane,) = lanes
            found = reversed(lane.entries) if backwards else iter(lane.entries)
            return (entry for entry in found if alive.get(entry.ref) is entry)
        tagged: list[tuple[int, int, Queued]] = []
        for index, lane in enumerate(lanes):
            served = lane.served
            for entry in lane.entries:
                if alive.get(entry.ref) is entry:
                    tagged.append((served, index, entry))
                    served += entry.size
        tagged.sort(key=_place)
        return (entry for _, _, entry in (reversed(tagged) if backwards else tagged))

    def _lane_for(self, entry: Queued, refund: int = 0) -> _Lane:
        """The lane of a new entry, which is counted there."""
        if entry.ref in self._alive:
            raise LocalError(f"bundle {entry.ref} waits already")
        levels = self._levels.get(entry.neighbour)
        if levels is None:
            levels = self._levels[entry.neighbour] = [_Level() for _ in range(1 + PRIORITY_LEVELS)]
        level = levels[_level_of(entry)]
        lane = level.lanes.get(entry.owner)
        if lane is None:
            lane = level.lanes[entry.owner] = _Lane(level.clock)
        elif refund:
            lane.served -= refund
        elif not lane.count and lane.served < level.clock:
            lane.served = level.clock
        lane.count += 1
        level.count += 1
        level.octets += entry.size
        self._alive[entry.ref] = entry
        return lane

    def _forget(self, entry: Queued, level: _Level, lane: _Lane) -> None:
        del self._alive[entry.ref]
        lane.count -= 1
        level.count -= 1
        level.octets -= entry.size
        if not lane.count:
            lane.entries.clear()
            if not level.count:
                level.lanes.clear()
                level.clock = 0
                if not any(other.count for other in self._levels[entry.neighbour]):
                    del self._levels[entry.neighbour]


def in_order(entries: Iterable[Queued]) -> list[Queued]:
    """Bundles as they would go if all waited for one neighbour."""
    queue = ForwardQueue()
    for entry in entries:
        queue.push(entry._replace(neighbour=""))
    return queue.drain("")


def _place(tagged: tuple[int, int, Queued]) -> tuple[int, int]:
    return tagged[:2]
