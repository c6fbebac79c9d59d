"""The forwarding queue against a list."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stack.core.errors import LocalError
from stack.routing.graph import PRIORITY_LEVELS
from stack.routing.queue import ForwardQueue, Queued

NEIGHBOURS = ["dtn://sat1/", "dtn://sat2/"]
refs = st.integers(1, 12)
neighbours = st.sampled_from(NEIGHBOURS)


def queued(ref: int, neighbour: str = NEIGHBOURS[0], priority: int = 1, size: int = 10) -> Queued:
    return Queued(ref, size, priority, 10**9, neighbour)


class QueueMachine(RuleBasedStateMachine):
    """The model is one list in the order of service within each lane."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = ForwardQueue()
        self.model: list[Queued] = []
        self.gone: list[Queued] = []

    def lane(self, neighbour: str, priority: int) -> list[Queued]:
        return [e for e in self.model if (e.neighbour, e.priority) == (neighbour, priority)]

    @rule(
        ref=refs,
        neighbour=neighbours,
        priority=st.integers(0, PRIORITY_LEVELS - 1),
        size=st.integers(0, 50),
        front=st.booleans(),
    )
    def put(self, ref: int, neighbour: str, priority: int, size: int, front: bool) -> None:
        self.insert(queued(ref, neighbour, priority, size), front)

    @rule(front=st.booleans(), data=st.data())
    def put_back(self, front: bool, data: st.DataObject) -> None:
        if self.gone:
            self.insert(data.draw(st.sampled_from(self.gone)), front)

    def insert(self, entry: Queued, front: bool) -> None:
        put = self.queue.requeue if front else self.queue.push
        if any(e.ref == entry.ref for e in self.model):
            with pytest.raises(LocalError):
                put(entry)
            return
        put(entry)
        self.model.insert(0 if front else len(self.model), entry)

    @rule(neighbour=neighbours)
    def pop(self, neighbour: str) -> None:
        expected = next((e for p in (2, 1, 0) for e in self.lane(neighbour, p)), None)
        assert self.queue.pop_next(neighbour) == expected
        if expected is not None:
            self.model.remove(expected)
            self.gone.append(expected)

    @rule(ref=refs)
    def remove(self, ref: int) -> None:
        expected = next((e for e in self.model if e.ref == ref), None)
        assert self.queue.remove(ref) == expected
        if expected is not None:
            self.model.remove(expected)
            self.gone.append(expected)

    @rule(neighbour=neighbours)
    def drain(self, neighbour: str) -> None:
        expected = [e for p in (2, 1, 0) for e in self.lane(neighbour, p)]
        assert self.queue.drain(neighbour) == expected
        self.model = [e for e in self.model if e.neighbour != neighbour]
        self.gone += expected

    @invariant()
    def agrees(self) -> None:
        assert len(self.queue) == len(self.model)
        assert set(self.queue.neighbours()) == {e.neighbour for e in self.model}
        for ref in range(1, 13):
            expected = next((e for e in self.model if e.ref == ref), None)
            assert self.queue.get(ref) == expected
            assert (ref in self.queue) == (expected is not None)
        for neighbour in NEIGHBOURS:
            lanes = [self.lane(neighbour, p) for p in range(PRIORITY_LEVELS)]
            assert list(self.queue.waiting(neighbour)) == [e for x in lanes[::-1] for e in x]
            assert self.queue.count(neighbour) == sum(map(len, lanes))
            octets = sum(e.size for lane in lanes for e in lane)
            assert self.queue.bytes_waiting(neighbour) == octets
            for p in range(PRIORITY_LEVELS):
                least = [e for lane in lanes[:p] for e in lane[::-1]]
                assert list(self.queue.least(neighbour, p)) == least


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestQueue: Any = QueueMachine.TestCase


def test_priority_beyond_the_levels_counts_as_the_nearest() -> None:
    queue = ForwardQueue()
    for ref, priority in enumerate((-5, 99, 2, 0), 1):
        queue.push(queued(ref, priority=priority))
    order = [queue.pop_next(NEIGHBOURS[0]) for _ in range(4)]
    assert [entry and entry.ref for entry in order] == [2, 3, 1, 4]


@pytest.mark.parametrize("front", [False, True])
def test_what_was_taken_out_of_the_middle_comes_back_once(front: bool) -> None:
    queue = ForwardQueue()
    entries = [queued(ref) for ref in (1, 2, 3)]
    for entry in entries:
        queue.push(entry)
    removed = queue.remove(2)
    assert removed is not None
    for back in (removed, entries[1]):
        (queue.requeue if front else queue.push)(back)
        order = [2, 1, 3] if front else [1, 3, 2]
        assert [entry.ref for entry in queue.waiting(NEIGHBOURS[0])] == order
        queue.remove(2)


def test_what_was_removed_does_not_pile_up() -> None:
    queue = ForwardQueue()
    queue.push(queued(0))
    for ref in range(1, 10_000):
        queue.push(queued(ref))
        queue.remove(ref)
    (level,) = (level for level in queue._levels[NEIGHBOURS[0]] if level.count)
    assert len(level.lanes[""].entries) < 200
    assert queue.pop_next(NEIGHBOURS[0]) == queued(0)
    assert not queue._levels


def test_what_goes_late_goes_last_and_is_given_up_first() -> None:
    queue = ForwardQueue()
    queue.push(queued(1, priority=1)._replace(late=True))
    for ref, priority in ((2, 0), (3, 2), (4, 1)):
        queue.push(queued(ref, priority=priority))
    assert [entry.ref for entry in queue.waiting(NEIGHBOURS[0])] == [3, 4, 2, 1]
    assert [entry.ref for entry in queue.least(NEIGHBOURS[0], 2)] == [1, 2, 4]
    assert [entry.ref for entry in queue.least(NEIGHBOURS[0], 1)] == [2], "1 is of this priority"
    assert list(queue.least(NEIGHBOURS[0], 0)) == []
    assert list(queue.least(NEIGHBOURS[1], 2)) == []
    assert queue.bytes_waiting(NEIGHBOURS[0]) == 40
    assert queue.remove(1) == queued(1, priority=1)._replace(late=True)
    with pytest.raises(LocalError, match=r"^bundle 3 waits already$"):
        queue.push(queued(3))
