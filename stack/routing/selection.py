"""The best routes through a contact graph in SABR's full order, and the next best after them.

CCSDS 734.3-B-1 §3.2.8.1.4 a) prefers, in this order, the earliest arrival, the fewest contacts, the
latest termination (the end of the contact that ends first), and the smallest entry node number.  A
`Search` answers the first two exactly.  On the others searches decide that may take neither
longer nor more hops, over ever fewer contacts.

`next_routes` is Yen's algorithm for the shortest loopless paths (§3.2.6.10) with Lawler's
partition: each route found splits what is left into parts that have no route in common, so that
none is found twice and each part is searched once.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from typing import NamedTuple

from stack.routing.graph import Bounds, Label, Question, Search, labels_of, start_at


def node_order(node: str) -> tuple[int, int, str]:
    """By which the smaller of two nodes is told: ipn nodes by their fully qualified number
    (RFC 9758 §3.2), then all others by name."""
    if node.startswith("ipn:"):
        allocator, _, number = node[4:].removesuffix(".0").rpartition(".")
        if number.isdecimal() and (allocator or "0").isdecimal():
            return 0, (int(allocator or 0) << 32) + int(number), ""
    return 1, 0, node


def best_route(question: Question, start: Label, target: str, bounds: Bounds) -> Label | None:
    """The best route to `target` in SABR's full order, or None."""
    label = Search(question, start, bounds).find(target)
    return None if label is None else preferred(question, start, label, bounds)


def preferred(question: Question, start: Label, label: Label, bounds: Bounds) -> Label:
    """Of all routes as early and as short as one that was found, the one that lasts longest, and
    among those the one with the smallest entry node."""
    if label[1] == start[1] + 1:
        return label  # over one hop the search has chosen the contact that lasts longest
    better: Label | None = label
    while better is not None:
        label = better
        better = _as_good(question, start, label, bounds, ends_after=-label[2])
    if start[4] is None:  # else the entry node is given
        label = _by_entry(question, start, label, bounds)
    return label


def _as_good(
    question: Question,
    start: Label,
    label: Label,
    bounds: Bounds,
    *,
    ends_after: int,
    only: set[str] | None = None,
) -> Label | None:
    """A route as early and as short as `label`, over contacts that end later than `ends_after`."""
    if -start[2] <= ends_after:
        return None
    arrival = label[0]
    promising: set[str] = set()
    for fan in question.network.fans(start[3]):
        promising |= fan.lasting(arrival, ends_after)
    if only is not None:
        promising &= only
    if not promising:
        return None
    search = Search(
        question,
        start,
        bounds,
        only=promising,
        ends_after=ends_after,
        until_ns=arrival,
        hops_max=label[1],
    )
    return search.find(label[3])


def _by_entry(question: Question, start: Label, label: Label, bounds: Bounds) -> Label:
    better: Label | None = label
    while better is not None:
        label = better
        entry = node_order(labels_of(label)[1][3])
        smaller = {
            neighbour
            for neighbour in question.network.neighbours(start[3])
            if node_order(neighbour) < entry
        }
        if not smaller:
            break
        better = _as_good(question, start, label, bounds, ends_after=-label[2] - 1, only=smaller)
    return label


def next_arrival(question: Question, label: Label, target: str, until_ns: int) -> int | None:
    """When the best route but one arrives, `label` being the best; None unless it does so by
    `until_ns`.  Less work than to find that route."""
    labels = labels_of(label)
    soonest = None
    for place, turn in enumerate(labels[:-1]):
        hop = labels[place + 1][4]
        assert hop is not None
        bounds = Bounds(without=(hop[0],), barred=[each[3] for each in labels[:place]])
        found = Search(question, turn, bounds, until_ns=until_ns).find(target)
        if found is not None:
            soonest = until_ns = found[0]
    return soonest


class _Candidate(NamedTuple):
    """The best route of one part of all the routes: of those that share the first `turn` hops with
    this one, and go on over none of the contacts in `without`."""

    key: tuple[int, int, int, tuple[int, int, str]]
    serial: int
    label: Label
    turn: int
    without: frozenset[int]


def next_routes(
    question: Question, origin: str, at_ns: int, target: str, exclude: Collection[str] = ()
) -> Iterator[Label]:
    """All loop-free routes, the best first, each when it is asked for.

    The clocks must not change while more are asked for.
    """
    serial = 0
    heap: list[_Candidate] = []

    def part(start: Label, turn: int, without: frozenset[int], barred: Collection[str]) -> None:
        nonlocal serial
        bounds = Bounds(() if turn else exclude, without, barred)
        label = best_route(question, start, target, bounds)
        if label is not None:
            serial += 1
            entry = node_order(labels_of(label)[1][3])
            heapq.heappush(heap, _Candidate((*label[:3], entry), serial, label, turn, without))

    if origin == target:
        return
    part(start_at(origin, at_ns), 0, frozenset(), ())
    while heap:
        _, _, label, turn, without = heapq.heappop(heap)
        yield label
        labels = labels_of(label)
        for place in range(turn, len(labels) - 1):
            hop = labels[place + 1][4]
            assert hop is not None
            taken = without if place == turn else frozenset()
            barred = [each[3] for each in labels[:place]]
            part(labels[place], place, taken | {hop[0]}, barred)
