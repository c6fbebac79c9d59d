"""Whose bundles go next, where those of several wait for one neighbour."""

from __future__ import annotations

from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st

from stack.contacts.plan import Contact, Plan
from stack.routing.forwarder import Forwarder
from stack.routing.queue import ForwardQueue, Queued

NEXT = "dtn://next/"
FOREVER = 10**15
OWNERS = ("", "dtn://a/", "dtn://b/")
SIZE_MAX = 100


def one(ref: int, owner: str = "", size: int = 10, priority: int = 1) -> Queued:
    return Queued(ref, size, priority, FOREVER, NEXT, owner=owner)


def popped(queue: ForwardQueue, count: int) -> list[int]:
    entries = (queue.pop_next(NEXT) for _ in range(count))
    return [entry.ref for entry in entries if entry is not None]


def flooded() -> ForwardQueue:
    """A thousand of one owner, and behind them two of another."""
    queue = ForwardQueue()
    for ref in range(1, 1001):
        queue.push(one(ref, "dtn://a/"))
    for ref in (2001, 2002):
        queue.push(one(ref, "dtn://b/"))
    return queue


def test_what_one_has_waiting_does_not_hold_up_another() -> None:
    assert popped(flooded(), 6) == [1, 2001, 2, 2002, 3, 4]


def test_priority_comes_first() -> None:
    queue = flooded()
    queue.push(one(3000, "dtn://a/", priority=2))
    queue.push(one(3001, "dtn://b/", priority=0))
    assert popped(queue, 2) == [3000, 1]
    assert [entry.ref for entry in queue.waiting(NEXT)][-1] == 3001


def test_parts_are_of_octets() -> None:
    queue = ForwardQueue()
    for ref in range(1, 101):
        queue.push(one(ref, "dtn://a/", size=1000))
        queue.push(one(1000 + ref, "dtn://b/", size=100))
    by_owner = Counter(ref < 1000 for ref in popped(queue, 55))
    assert by_owner == {True: 5, False: 50}


def test_who_comes_anew_has_nothing_saved_up() -> None:
    queue = flooded()
    popped(queue, 500)
    for ref in range(3001, 3100):
        queue.push(one(ref, "dtn://b/"))
        queue.push(one(1000 + ref, ""))
    taken = popped(queue, 30)
    assert sum(3000 < ref < 4000 for ref in taken) == 10, "who has had none for long"
    assert sum(ref > 4000 for ref in taken) == 10, "who has never had any"


def test_who_has_one_at_a_time_is_not_served_each_time() -> None:
    queue = flooded()
    popped(queue, 10)
    octets: Counter[str] = Counter()
    for ref in range(3001, 3400):
        if not any(entry.owner == "dtn://b/" for entry in queue.waiting(NEXT)):
            queue.push(one(ref, "dtn://b/", size=100))
        entry = queue.pop_next(NEXT)
        assert entry is not None
        octets[entry.owner] += entry.size
    assert abs(octets["dtn://a/"] - octets["dtn://b/"]) <= 200


def test_what_was_taken_and_did_not_leave_costs_its_owner_nothing() -> None:
    queue = flooded()
    expected = [entry.ref for entry in queue.waiting(NEXT)]
    for _ in range(100):
        taken = [queue.pop_next(NEXT) for _ in range(7)]
        for entry in reversed(taken):
            assert entry is not None
            queue.requeue(entry, unused=True)
    assert [entry.ref for entry in queue.waiting(NEXT)] == expected


def test_what_was_sent_in_vain_costs_its_owner_that() -> None:
    queue = flooded()
    for _ in range(5):
        entry = queue.pop_next(NEXT)
        assert entry is not None
        if entry.owner == "dtn://a/":
            queue.requeue(entry)
    assert popped(queue, 2) == [1, 2], "b has had its two long since"


def test_of_several_that_one_goes_first_who_would_go_last() -> None:
    queue = flooded()
    assert next(queue.least(NEXT, 2)).ref == 1000
    assert [entry.ref for entry in queue.least(NEXT, 2)] == [
        entry.ref for entry in queue.waiting(NEXT)
    ][::-1]


def test_what_has_no_way_is_among_the_others_when_ways_are_sought_again() -> None:
    """Else whoever has all the room of a plan booked would have it for ever."""
    plan = Plan([Contact("dtn://here/", NEXT, 0, 10_000, 8_000.0)])  # 10,000 octets
    forwarder = Forwarder("dtn://here/", plan)
    for ref in range(1, 31):
        forwarder.add(ref, NEXT, 1000, 1, FOREVER, 0, owner="dtn://a/")
    forwarder.add(100, NEXT, 1000, 1, FOREVER, 0, owner="dtn://b/")
    assert 100 in forwarder._unrouted
    refs = forwarder.drain(NEXT, 0)
    assert refs[:3] == [1, 100, 2]
    assert len(refs) == 31
    for ref in refs:
        owner = "dtn://b/" if ref == 100 else "dtn://a/"
        forwarder.add(ref, NEXT, 1000, 1, FOREVER, 0, owner=owner)
    assert forwarder.take(NEXT, 3000, 64, 0) == [1, 100, 2]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["push", "push", "pop", "remove", "unused"]),
            st.sampled_from(OWNERS),
            st.integers(1, SIZE_MAX),
            st.integers(0, 60),
        ),
        max_size=120,
    )
)
def test_each_is_in_order_and_none_is_ahead(steps: list[tuple[str, str, int, int]]) -> None:
    queue = ForwardQueue()
    waiting: dict[str, deque[int]] = {owner: deque() for owner in OWNERS}
    ahead: Counter[tuple[str, str]] = Counter()
    """Octets of one taken while another waited all the time."""

    for ref, (what, owner, size, pick) in enumerate(steps, 1):
        if what == "push":
            queue.push(one(ref, owner, size))
            waiting[owner].append(ref)
        elif what == "remove":
            if queue.remove(pick):
                for each in waiting.values():
                    if pick in each:
                        each.remove(pick)
        elif (first := next(queue.waiting(NEXT), None)) is not None:
            entry = queue.pop_next(NEXT)
            assert entry == first
            if what == "unused":
                queue.requeue(entry, unused=True)
            else:
                assert waiting[entry.owner].popleft() == entry.ref
                for other in OWNERS:
                    ahead[entry.owner, other] += entry.size
        for pair in ahead:
            if not waiting[pair[1]] or pair[0] == pair[1]:
                ahead[pair] = 0
        for a in OWNERS:
            for b in OWNERS:
                if waiting[a] and waiting[b]:
                    assert ahead[a, b] - ahead[b, a] <= 2 * SIZE_MAX
                else:
                    ahead[a, b] = ahead[b, a] = 0
    left = list(queue.waiting(NEXT))
    assert popped(queue, 1000) == [entry.ref for entry in left]
    assert not queue._levels
