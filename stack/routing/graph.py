"""Earliest arrival over a contact plan: the contact graph and the search through it.

SABR (CCSDS 734.3-B-1 §3.2.1) searches a graph whose vertices are contacts.  Two facts make a search
over nodes give the same answers faster.  A node stores without limit, so of two ways to reach it
at the same number of hops the earlier is never worse.  And within a contact nothing overtakes, so
entering it later never means leaving it earlier.  Labels are therefore kept per node, and the one
contact of a pair that arrives first is found by bisection.  The third and fourth of SABR's keys
need more than one label per node: `stack.routing.selection` decides on them.

Times in here are nanoseconds of DTN time.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple

from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import MILLISECOND

PRIORITY_LEVELS = 3
"""Bulk, normal, expedited (RFC 5050 §4.2); a larger priority counts as the last."""


def priority_level(priority: int) -> int:
    """The level of any priority, also of one that a peer made up."""
    if priority < 0:
        return 0
    return priority if priority < PRIORITY_LEVELS else PRIORITY_LEVELS - 1


NEVER_NS = 1 << 62
"""A time after the end of every contact."""

_NS_PER_BYTE_AT_1_BPS = 8e9
_START = attrgetter("start_ms")


class Drift:
    """Arrival times over a contact whose light time changes while it lasts."""

    __slots__ = ("floors", "owlts", "starts")

    def __init__(self, ranges: Sequence[Range]) -> None:
        """`ranges` are those of the contact, in order."""
        self.starts: list[int] = []
        self.owlts: list[int] = []
        # Light time falls in steps, real light does not: what leaves after a step must not
        # arrive before what left in front of it.
        self.floors: list[int] = []
        floor = reached = owlt_ns = 0
        for entry in ranges:
            start = entry.start_ms * MILLISECOND
            if self.starts:
                reached = start + owlt_ns
            floor = max(floor, reached)
            owlt_ns = entry.owlt_ns
            self.starts.append(start)
            self.owlts.append(owlt_ns)
            self.floors.append(floor)

    def reach(self, sent_ns: int) -> int:
        """When what leaves at `sent_ns` arrives."""
        step = bisect_right(self.starts, sent_ns) - 1
        if step < 0:
            step = 0
        arrival = sent_ns + self.owlts[step]
        floor = self.floors[step]
        return arrival if arrival > floor else floor


Hop = tuple[int, int, int, float, int, Drift | None]
"""A contact made ready for arithmetic: its place, start and end, nanoseconds per octet, light time,
and, when that is not one number all along, how it changes.

The place is that in the plan; contacts that were discovered have places below 0."""

Label = tuple[int, int, int, str, Hop | None, "Label | None"]
"""A way to a node: arrival, hops, minus the end of the contact on it that ends first, the node,
the last hop, and the label from which it came.  The smaller is the better (§3.2.8.1.4 a)."""


def hop_of(place: int, contact: Contact, owlt_ns: int, drift: Drift | None = None) -> Hop:
    """A contact made ready."""
    return (
        place,
        contact.start_ms * MILLISECOND,
        contact.end_ms * MILLISECOND,
        _NS_PER_BYTE_AT_1_BPS / contact.rate_bps,
        owlt_ns,
        drift,
    )


class Fan:
    """The contacts in which one node sends, by neighbour.

    A large plan has many more contacts than one search ever looks at, so each is made ready when
    it is first looked at.
    """

    __slots__ = ("_make", "begin_ms", "hops", "latest_end", "places", "spans")

    def __init__(
        self,
        groups: Mapping[str, Sequence[int]],
        begin_ms: Callable[[int], int],
        end_ms: Callable[[int], int],
        make: Callable[[int], Hop],
    ) -> None:
        """`groups` has the places of the contacts for each neighbour, by start; `begin_ms` and
        `end_ms` tell when the one at a place begins and ends, and `make` makes it ready."""
        self.places: list[int] = []
        self.begin_ms = begin_ms
        self._make = make
        self.spans: list[tuple[str, int, int]] = []
        """For each neighbour, where its contacts are in `hops`: first, and after the last."""
        self.latest_end: list[int] = []
        """For each neighbour the running maximum of the ends (ms): sorted though they overlap."""
        first = 0
        for neighbour, places in groups.items():
            self.places += places
            self.latest_end += accumulate(map(end_ms, places), max)
            self.spans.append((neighbour, first, len(self.places)))
            first = len(self.places)
        self.hops: list[Hop | None] = [None] * first

    def ready(self, at: int) -> Hop:
        """The contact at an index of `hops`, made ready."""
        hop = self.hops[at]
        if hop is None:
            hop = self.hops[at] = self._make(self.places[at])
        return hop

    def lasting(self, until_ns: int, ends_after: int) -> set[str]:
        """The neighbours with a contact that begins by one time and ends after another."""
        found = set()
        for neighbour, first, last in self.spans:
            after = bisect_right(self.latest_end, ends_after // MILLISECOND, first, last)
            for at in range(after, last):
                _, begin, end, *_ = self.ready(at)
                if begin > until_ns:
                    break
                if end > ends_after:
                    found.add(neighbour)
                    break
        return found


class _Index:
    """The contacts of a plan by sender and receiver, worked out once for all graphs over it."""

    __slots__ = ("begins_ms", "ends_ms", "groups")

    def __init__(self, plan: Plan) -> None:
        self.begins_ms = [contact.start_ms for contact in plan.contacts]
        self.ends_ms: list[int] = []
        self.groups: dict[str, dict[str, list[int]]] = {}
        groups: defaultdict[str, defaultdict[str, list[int]]]
        groups = defaultdict(lambda: defaultdict(list))
        for place, contact in enumerate(plan.contacts):
            self.ends_ms.append(contact.end_ms)
            groups[contact.source][contact.destination].append(place)
        self.groups.update(groups)

    @staticmethod
    def of(plan: Plan) -> _Index:
        """That of a plan, which lives as long as the plan."""
        index = plan.derived.get(_Index)
        if not isinstance(index, _Index):
            index = plan.derived[_Index] = _Index(plan)
        return index


class ContactGraph:
    """The contacts of a plan by node, made ready as searches reach them.

    `of` gives the graph that all routers over one plan share.
    """

    __slots__ = ("_fans", "_index", "_plan")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._fans: dict[str, Fan] = {}
        self._index = _Index.of(plan)

    @staticmethod
    def of(plan: Plan) -> ContactGraph:
        """The one graph of a plan; it lives as long as the plan."""
        graph = plan.derived.get(ContactGraph)
        if not isinstance(graph, ContactGraph):
            graph = plan.derived[ContactGraph] = ContactGraph(plan)
        return graph

    def fan(self, node: str) -> Fan:
        """The contacts in which `node` sends."""
        fan = self._fans.get(node)
        if fan is None:
            index = self._index
            begin_ms, end_ms = index.begins_ms.__getitem__, index.ends_ms.__getitem__
            fan = Fan(index.groups.get(node, {}), begin_ms, end_ms, self._made)
            if fan.hops:  # nodes that are not in the plan must not use up memory
                self._fans[node] = fan
        return fan

    def _made(self, place: int) -> Hop:
        plan = self._plan
        contact = plan.contacts[place]
        span = plan.range_spans(contact.source).get(contact.destination)
        if span is None:
            return hop_of(place, contact, 0)
        ranges = plan.ranges
        first = bisect_right(ranges, contact.start_ms, *span, key=_START) - 1
        first = max(first, span[0])
        last = bisect_right(ranges, contact.end_ms, first + 1, span[1], key=_START)
        owlt_ns = ranges[first].owlt_ns
        drift = Drift(ranges[first:last]) if last - first > 1 else None
        return hop_of(place, contact, owlt_ns, drift)


class Question(NamedTuple):
    """What all searches for one kind of bundle have in common."""

    network: Network
    clocks: Mapping[int, list[int]]
    """For each contact that has bookings, by place and priority level, when it is free (ns)."""

    size_bytes: int
    level: int
    """The priority level (`priority_level`)."""

    margin_ns: int = 0
    barred: frozenset[str] = frozenset()
    """Nodes that such a bundle must not come to."""


class Bounds(NamedTuple):
    """What a route must keep clear of."""

    exclude: Collection[str] = ()
    """Neighbours that must not come first."""

    without: Collection[int] = ()
    """Places of contacts that must not come first."""

    barred: Collection[str] = ()
    """Nodes that come nowhere."""


class Search:
    """One search from a label, which goes on as far as answers are asked for.

    The clocks of the question are read while the search goes on and may only grow meanwhile: then
    every arrival found is the earliest possible one or earlier, which is what a bound must be.

    Of the neighbours in `only` one must come first.  `ends_after` leaves out contacts that end by
    then, `until_ns` ways that take longer, `hops_max` those with more hops.
    """

    __slots__ = (
        "_best",
        "_clocks",
        "_ends_after",
        "_exclude",
        "_fewest",
        "_heap",
        "_hops_max",
        "_level",
        "_margin_ns",
        "_network",
        "_only",
        "_size",
        "_tentative",
        "_until",
        "_without",
        "start",
    )

    def __init__(
        self,
        question: Question,
        start: Label,
        bounds: Bounds,
        *,
        only: Collection[str] | None = None,
        ends_after: int = -1,
        until_ns: int = NEVER_NS,
        hops_max: int = NEVER_NS,
    ) -> None:
        self.start = start
        self._network, self._clocks, self._size, self._level, margin_ns, barred = question
        self._margin_ns = margin_ns
        self._exclude = bounds.exclude
        self._without = bounds.without
        self._only = only
        self._ends_after = ends_after
        self._until = until_ns - margin_ns
        self._hops_max = hops_max
        self._heap: list[Label] = [start]
        self._best: dict[str, Label] = {}
        self._fewest: dict[str, int] = dict.fromkeys((*barred, *bounds.barred), -1)
        """Hops of the last label of a node that was taken from the heap: later ones arrive
        later, and are of use only if they have fewer hops."""
        self._tentative: dict[str, Label] = {}

    def find(self, target: str) -> Label | None:
        """The best way to `target`, or None when there is none."""
        best = self._best
        heap = self._heap
        fewest = self._fewest
        while target not in best:
            if not heap:
                return None
            label = heap[0]
            node = label[3]
            if label[1] >= fewest.get(node, NEVER_NS):
                heapq.heappop(heap)
                continue
            best.setdefault(node, label)
            if node == target:
                break  # it stays on the heap, to be expanded should the search go on
            heapq.heappop(heap)
            fewest[node] = label[1]
            self._expand(label)
        return best[target]

    def _expand(self, label: Label) -> None:
        """Push the way on from a label to each neighbour that has no better one."""
        at_ns, hops, urgent, node, _, _ = label
        hops += 1
        if hops > self._hops_max:
            return
        size, level, clocks_of = self._size, self._level, self._clocks.get
        fewest, tentative = self._fewest.get, self._tentative
        exclude, without, only = self._exclude, self._without, self._only
        if label is not self.start:
            exclude, without, only = (), (), None
        over_ms = max(at_ns, self._ends_after) // MILLISECOND
        until_ns = self._until + 1
        margin_ns, ends_after = self._margin_ns, self._ends_after
        ceil = math.ceil
        heap, push = self._heap, heapq.heappush
        for fan, (neighbour, first, last) in self._network.leaving(node):
            if fewest(neighbour, NEVER_NS) <= hops or neighbour in exclude:
                continue
            known = tentative.get(neighbour)
            if known is not None and known[0] <= at_ns and known[1] <= hops:
                continue
            if only is not None and neighbour not in only:
                continue
            soonest, lasting, chosen = until_ns, NEVER_NS, None
            if known is not None and known[1] <= hops and known[0] - margin_ns < soonest:
                # What is not better would be of no use.
                soonest = known[0] - margin_ns
                lasting = -known[2] if known[1] == hops else NEVER_NS
            for at in range(bisect_right(fan.latest_end, over_ms, first, last), last):
                hop = fan.hops[at]
                if hop is None:
                    if fan.begin_ms(fan.places[at]) * MILLISECOND > soonest:
                        break
                    hop = fan.ready(at)
                place, begin, end, ns_per_byte, owlt_ns, drift = hop
                if begin > soonest:
                    break
                if end <= ends_after or place in without:
                    continue
                clocks = clocks_of(place)
                if clocks is not None:
                    begin = clocks[level]
                if begin < at_ns:
                    begin = at_ns
                sent = begin + ceil(size * ns_per_byte)
                if sent > end or begin >= end:
                    continue
                reached = sent + owlt_ns if drift is None else drift.reach(sent)
                if reached < soonest or (reached == soonest and end > lasting):
                    soonest, lasting, chosen = reached, end, hop
            if chosen is None:
                continue
            soonest += margin_ns
            lasting = -lasting
            found = (
                soonest,
                hops,
                lasting if lasting > urgent else urgent,
                neighbour,
                chosen,
                label,
            )
            if known is None or found[:3] < known[:3]:
                tentative[neighbour] = found
            elif hops >= known[1]:
                continue
            push(heap, found)


class Network:
    """What a search walks over: the graph of a plan, and contacts that no plan foresaw."""

    __slots__ = ("_extra", "_graph")

    def __init__(self, graph: ContactGraph, extra: Mapping[str, Fan]) -> None:
        self._graph = graph
        self._extra = extra

    def fans(self, node: str) -> Sequence[Fan]:
        """The contacts in which `node` sends."""
        fan = self._graph.fan(node)
        extra = self._extra.get(node)
        return (fan,) if extra is None else (fan, extra)

    def leaving(self, node: str) -> Iterator[tuple[Fan, tuple[str, int, int]]]:
        """The same by neighbour: see `Fan.spans`."""
        for fan in self.fans(node):
            for span in fan.spans:
                yield fan, span

    def neighbours(self, node: str) -> set[str]:
        """Those to whom `node` ever sends."""
        return {span[0] for fan in self.fans(node) for span in fan.spans}


def start_at(node: str, at_ns: int) -> Label:
    """The label of a bundle that is at a node."""
    return (at_ns, 0, -NEVER_NS, node, None, None)


def labels_of(label: Label) -> list[Label]:
    """The labels of a way, from that where it starts to its last."""
    labels = [label]
    while (before := labels[-1][5]) is not None:
        labels.append(before)
    labels.reverse()
    return labels


def hops_of(label: Label) -> tuple[Hop, ...]:
    """The hops of a way, in order."""
    return tuple(hop for each in labels_of(label) if (hop := each[4]) is not None)
