"""Earliest arrival over a contact plan: the contact graph and the search through it.

SABR (CCSDS 734.3-B-1 §3.2) searches a graph whose vertices are contacts.  Two facts make a search
over nodes give the same answers faster.  A node stores without limit, so of two ways to reach it
at the same number of hops the earlier is never worse.  And within a contact nothing overtakes, so
entering it later never means leaving it earlier.  Labels are therefore kept per node, and the one
contact of a pair that arrives first is found by bisection.

Times in here are nanoseconds of DTN time.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from itertools import accumulate, islice

from stack.contacts.plan import Contact, LightTime, Plan
from stack.core.clock import MILLISECOND

PRIORITY_LEVELS = 3
"""Bulk, normal, expedited (RFC 5050 §4.2); a larger priority counts as the last."""


def priority_level(priority: int) -> int:
    """The level of any priority, also of one that a peer made up."""
    return 0 if priority < 0 else min(priority, PRIORITY_LEVELS - 1)


NEVER_NS = 1 << 62
"""A time after the end of every contact."""

_NS_PER_BYTE_AT_1_BPS = 8e9


class Drift:
    """Arrival times over a contact whose light time changes while it lasts."""

    __slots__ = ("floors", "owlts", "starts")

    def __init__(self, light: LightTime, start_ms: int, end_ms: int) -> None:
        first = max(0, bisect_right(light.starts_ms, start_ms) - 1)
        last = max(first + 1, bisect_right(light.starts_ms, end_ms))
        self.starts = [at_ms * MILLISECOND for at_ms in light.starts_ms[first:last]]
        self.owlts = light.owlts_ns[first:last]
        # Light time falls in steps, real light does not: what leaves after a step must not
        # arrive before what left in front of it.
        reached = (
            until + owlt for until, owlt in zip(self.starts[1:], self.owlts[:-1], strict=True)
        )
        self.floors = [0, *accumulate(reached, max)]

    def reach(self, sent_ns: int) -> int:
        """When what leaves at `sent_ns` arrives."""
        step = bisect_right(self.starts, sent_ns) - 1
        if step < 0:
            step = 0
        arrival = sent_ns + self.owlts[step]
        floor = self.floors[step]
        return arrival if arrival > floor else floor


Hop = tuple[int, int, int, float, int, Drift | None]
"""A contact made ready for arithmetic: its place in the plan, start and end, nanoseconds per
octet, light time, and, when that is not one number all along, how it changes."""

Label = tuple[int, int, int, str, Hop | None, "Label | None"]
"""A way to a node: arrival, hops, minus the end of the contact on it that ends first, the node,
the last hop, and the label from which it came.  The smaller is the better (SABR §3.2.8.1.4)."""


class Edge:
    """All contacts of one direction, made ready when a search first looks at them."""

    __slots__ = ("hops", "latest_end", "places")

    def __init__(self, places: list[int]) -> None:
        self.places = places
        self.hops: list[Hop] = []
        self.latest_end: list[int] = []
        """Running maximum of the ends: sorted even when contacts overlap."""


class ContactGraph:
    """The contacts of a plan that `usable` accepts, by node; built as searches reach it."""

    __slots__ = ("_edges", "_plan", "_usable")

    def __init__(self, plan: Plan, usable: Callable[[Contact], bool] | None = None) -> None:
        self._plan = plan
        self._usable = usable
        self._edges: dict[str, dict[str, Edge]] = {}

    def edges(self, node: str) -> dict[str, Edge]:
        """For each neighbour of `node` the contacts towards it; `ready` them before use."""
        edges = self._edges.get(node)
        if edges is None:
            outbound = self._plan.outbound(node)
            edges = {neighbour: Edge(places) for neighbour, places in outbound.items()}
            if edges:
                self._edges[node] = edges
        return edges

    def ready(self, edge: Edge) -> list[Hop]:
        """Fill in an edge.  An edge without usable contacts stays empty, and costs nothing."""
        plan, usable, places = self._plan, self._usable, edge.places
        edge.places = []
        contacts = plan.contacts
        if usable is not None:
            places = [place for place in places if usable(contacts[place])]
        if not places:
            return edge.hops
        first = contacts[places[0]]
        light = plan.light_time(first.source, first.destination)
        if len(light.owlts_ns) < 2:
            owlt_ns = light.owlts_ns[0] if light.owlts_ns else 0
            edge.hops = [
                (
                    place,
                    (contact := contacts[place]).start_ms * MILLISECOND,
                    contact.end_ms * MILLISECOND,
                    _NS_PER_BYTE_AT_1_BPS / contact.rate_bps,
                    owlt_ns,
                    None,
                )
                for place in places
            ]
        else:
            edge.hops = [_moving(place, contacts[place], light) for place in places]
        edge.latest_end = list(accumulate([hop[2] for hop in edge.hops], max))
        return edge.hops


def _moving(place: int, contact: Contact, light: LightTime) -> Hop:
    """A contact of a direction whose light time changes."""
    drift = Drift(light, contact.start_ms, contact.end_ms)
    return (
        place,
        contact.start_ms * MILLISECOND,
        contact.end_ms * MILLISECOND,
        _NS_PER_BYTE_AT_1_BPS / contact.rate_bps,
        drift.owlts[0],
        drift if len(drift.owlts) > 1 else None,
    )


class Search:
    """One search from a node at a time, which goes on as far as answers are asked for.

    `clocks` gives for each contact that has bookings, by priority level, when it is free again;
    it is read while the search goes on and may only grow meanwhile: then every arrival found is
    the earliest possible one or earlier, which is what a bound must be.
    """

    __slots__ = (
        "_best",
        "_clocks",
        "_exclude",
        "_fewest",
        "_graph",
        "_heap",
        "_level",
        "_margin_ns",
        "_size",
        "_tentative",
        "origin",
    )

    def __init__(
        self,
        graph: ContactGraph,
        clocks: Mapping[int, list[int]],
        origin: str,
        at_ns: int,
        size_bytes: int,
        level: int,
        *,
        exclude: Collection[str] = (),
        margin_ns: int = 0,
    ) -> None:
        self.origin = origin
        self._graph = graph
        self._clocks = clocks
        self._size = size_bytes
        self._level = level
        self._exclude = exclude
        self._margin_ns = margin_ns
        self._heap: list[Label] = [(at_ns, 0, -NEVER_NS, origin, None, None)]
        self._best: dict[str, Label] = {}
        self._fewest: dict[str, int] = {}
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
        size, level, clocks_of = self._size, self._level, self._clocks.get
        fewest, tentative, ready = self._fewest.get, self._tentative, self._graph.ready
        exclude = self._exclude if hops == 1 else ()
        ceil = math.ceil
        for neighbour, edge in self._graph.edges(node).items():
            if fewest(neighbour, NEVER_NS) <= hops or neighbour in exclude:
                continue
            known = tentative.get(neighbour)
            if known is not None and known[0] <= at_ns and known[1] <= hops:
                continue
            contacts = ready(edge) if edge.places else edge.hops
            soonest, lasting, chosen = NEVER_NS, 0, None
            for hop in islice(contacts, bisect_right(edge.latest_end, at_ns), None):
                place, begin, end, ns_per_byte, owlt_ns, drift = hop
                if begin > soonest:
                    break
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
            soonest += self._margin_ns
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
            heapq.heappush(self._heap, found)


def hops_of(label: Label) -> tuple[Hop, ...]:
    """The hops of a way, in order."""
    hops: list[Hop] = []
    at: Label | None = label
    while at is not None and at[4] is not None:
        hops.append(at[4])
        at = at[5]
    hops.reverse()
    return tuple(hops)
