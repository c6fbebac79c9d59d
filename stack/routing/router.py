"""Routes for bundles: earliest arrival over the contact plan, with volume.

The order of routes is that of SABR (CCSDS 734.3-B-1 §3.2): earliest arrival, then fewest hops,
then latest end.

A search is kept and used again.  Contacts only fill up and time only passes, so an arrival found
once is the earliest possible one for all later bundles of that size and above; a kept route is
used while the bundle at hand, reckoned exactly along it, arrives within a tolerance of that
bound.  With tolerances of 0 every route is the best there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

from stack.contacts.plan import Contact, Plan
from stack.core.clock import MILLISECOND
from stack.routing.books import Books
from stack.routing.graph import (
    NEVER_NS,
    ContactGraph,
    Hop,
    Search,
    hops_of,
    priority_level,
)
from stack.routing.route import Route

Usable = Callable[[Contact], bool]
"""Policy as a predicate: may this contact be used?  It must not change its mind unannounced."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RouterConfig:
    """How routes are computed."""

    tolerance_ms: int = 1000
    """How much later than the earliest possible arrival a kept route may arrive.  One second is
    little beside the waiting for contacts, and spares a search for every bundle."""

    tolerance_ratio: float = 0.01
    """The same as a share of the time until arrival, whichever is more: behind a backlog of an
    hour, half a minute does not matter."""

    margin_ms: int = 0
    """Added to every hop's arrival, for processing and for clocks that disagree (SABR calls for
    a light time margin too; ranges here follow the motion, so that needs none)."""

    searches_max: int = 64
    """Searches kept at a time: one for each size class, priority and set of excluded nodes."""


class _Path(NamedTuple):
    """What a search found, without the bundle."""

    bound_ns: int
    places: tuple[int, ...]
    contacts: tuple[Contact, ...]
    next_hop: str
    until_ms: int
    hops: tuple[Hop, ...]


class _Kept:
    """A search and the paths read from it."""

    __slots__ = ("at_ns", "coarse", "paths", "search")

    def __init__(self, search: Search, at_ns: int) -> None:
        self.search = search
        self.at_ns = at_ns
        self.paths: dict[str, _Path | None] = {}
        self.coarse = False
        """Its size class was too wide for a bundle, whose own size had to be searched for."""


class _Stale:
    """No answer: the search is too old."""


_STALE = _Stale()


class Router:
    """Finds routes from `node`, and keeps the books.

    `usable` is the policy.  A router of its own for each policy, made with `restricted`, shares
    plan and bookings with this one.
    """

    def __init__(
        self,
        plan: Plan,
        node: str,
        *,
        usable: Usable | None = None,
        config: RouterConfig | None = None,
    ) -> None:
        self.node = node
        self.config = config or RouterConfig()
        self._usable = usable
        self._use(Books(plan))

    def _use(self, books: Books) -> None:
        self.books = books
        self._version = books.version
        self._plan_version = books.plan_version
        self._graph = ContactGraph(books.plan, self._usable)
        self._kept: dict[tuple[int, int, frozenset[str]], _Kept] = {}

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self.books.plan

    def restricted(self, usable: Usable) -> Router:
        """A router with another policy over the same plan and bookings; make it once."""
        router = Router(Plan(), self.node, usable=usable, config=self.config)
        router._use(self.books)
        return router

    # -- routes ----------------------------------------------------------------------------

    def route(
        self,
        destination: str,
        size_bytes: int,
        priority: int,
        now_ms: int,
        expires_ms: int,
        exclude: Collection[str] = (),
    ) -> Route | None:
        """The best route to a node for a bundle that is here now; None when it would not arrive
        by `expires_ms` or there is no way (also to this node itself).

        `exclude` names neighbours that must not get the bundle from us, such as the one that it
        came from.  Nothing is booked.
        """
        if destination == self.node:
            return None
        self._refresh()
        level = priority_level(priority)
        now_ns = now_ms * MILLISECOND
        deadline_ns = expires_ms * MILLISECOND
        route = self._best(destination, size_bytes, level, now_ns, deadline_ns, _NOBODY)
        if route is not None and exclude and route.next_hop in exclude:
            # The best way of all would have done, had it not begun with an excluded neighbour.
            barred = frozenset(exclude)
            route = self._best(destination, size_bytes, level, now_ns, deadline_ns, barred)
        return route

    def _best(
        self,
        destination: str,
        size_bytes: int,
        level: int,
        now_ns: int,
        deadline_ns: int,
        exclude: frozenset[str],
    ) -> Route | None:
        # Bundles share a search by size, in classes of a factor of four.  A search for the least
        # size of the class bounds them all; where that is too crude, size is searched for itself.
        rank = size_bytes.bit_length() >> 1
        least = 1 << (2 * rank - 1) if rank else 0
        for name, size in ((~rank, least), (size_bytes, size_bytes)):
            key = (name, level, exclude)
            kept = self._kept.get(key)
            if kept is not None and kept.at_ns <= now_ns:
                if kept.coarse and now_ns - kept.at_ns < _COARSE_NS:
                    continue
                route = self._along(kept, destination, size_bytes, level, now_ns, deadline_ns)
                if not isinstance(route, _Stale):
                    return route
            kept = self._search(key, size, now_ns)
            route = self._along(kept, destination, size_bytes, level, now_ns, deadline_ns)
            if not isinstance(route, _Stale):
                return route
            kept.coarse = True
        return None  # not reached: a search for this very size always answers

    def _search(self, key: tuple[int, int, frozenset[str]], size: int, now_ns: int) -> _Kept:
        kept = self._kept
        kept.pop(key, None)
        while len(kept) >= self.config.searches_max:
            del kept[next(iter(kept))]
        search = Search(
            self._graph,
            self.books.clocks,
            self.node,
            now_ns,
            size,
            key[1],
            exclude=key[2],
            margin_ns=self.config.margin_ms * MILLISECOND,
        )
        kept[key] = fresh = _Kept(search, now_ns)
        return fresh

    def _along(
        self,
        kept: _Kept,
        destination: str,
        size_bytes: int,
        level: int,
        now_ns: int,
        deadline_ns: int,
    ) -> Route | _Stale | None:
        """The kept path for this very bundle, unless a better one may exist."""
        try:
            path = kept.paths[destination]
        except KeyError:
            path = self._path(kept, destination)
        if path is None or path.bound_ns > deadline_ns:
            return None
        margin_ns = self.config.margin_ms * MILLISECOND
        clocks_of = self.books.clocks.get
        at_ns = now_ns
        first_sent = -1
        volume = math.inf
        for place, begin, end, ns_per_byte, owlt_ns, drift in path.hops:
            clocks = clocks_of(place)
            if clocks is not None:
                begin = clocks[level]
            if begin < at_ns:
                begin = at_ns
            sent = begin + math.ceil(size_bytes * ns_per_byte)
            if sent > end or begin >= end:
                return _STALE
            if ns_per_byte:
                room = (end - begin) / ns_per_byte
                if room < volume:
                    volume = room
            if first_sent < 0:
                first_sent = sent
            at_ns = (sent + owlt_ns if drift is None else drift.reach(sent)) + margin_ns
        bound_ns = path.bound_ns
        if at_ns > bound_ns:
            late_ns = at_ns - bound_ns
            config = self.config
            if at_ns > deadline_ns or (
                late_ns > config.tolerance_ms * MILLISECOND
                and late_ns > config.tolerance_ratio * (bound_ns - now_ns)
            ):
                return _STALE
        return Route(
            path.places,
            path.contacts,
            path.next_hop,
            first_sent // MILLISECOND,
            -(-at_ns // MILLISECOND),
            volume,
            path.until_ms,
            self._plan_version,
        )

    def _path(self, kept: _Kept, destination: str) -> _Path | None:
        label = kept.search.find(destination)
        path = None
        if label is not None:
            hops = hops_of(label)
            places = tuple(hop[0] for hop in hops)
            contacts = tuple(self.books.plan.contacts[place] for place in places)
            until_ms = min(contact.end_ms for contact in contacts)
            path = _Path(label[0], places, contacts, contacts[0].destination, until_ms, hops)
        elif len(kept.paths) >= _UNREACHABLE_MAX:
            return None
        kept.paths[destination] = path
        return path

    def latest_departure_ms(self, route: Route, size_bytes: int) -> int:
        """Until when the bundle's first octet may leave here and still make every contact of
        the route, were it alone on it (rounded down)."""
        plan = self.books.plan
        margin_ns = self.config.margin_ms * MILLISECOND
        latest_ns = NEVER_NS
        for contact in reversed(route.contacts):
            end_ns = contact.end_ms * MILLISECOND
            light = plan.light_time(contact.source, contact.destination)
            owlt_ns = max(light.at(contact.start_ms), light.at(contact.end_ms))
            sent_ns = min(end_ns, latest_ns - owlt_ns - margin_ns)
            latest_ns = sent_ns - math.ceil(size_bytes * 8e9 / contact.rate_bps)
        return latest_ns // MILLISECOND

    # -- bookings and changes --------------------------------------------------------------

    def book(self, route: Route, size_bytes: int, priority: int, now_ms: int) -> None:
        """Take a bundle's share of every contact on its route; see `Books.book`."""
        self.books.book(route, size_bytes, priority, now_ms)

    def release(self, route: Route, size_bytes: int, priority: int, now_ms: int) -> None:
        """Give it back, for the bundle goes another way; see `Books.release`."""
        self.books.release(route, size_bytes, priority, now_ms)

    def contact_failed(self, place: int) -> None:
        """No route uses this contact any more, until `contact_restored`."""
        self.books.contact_failed(place)

    def contact_restored(self, place: int) -> None:
        """A failed contact can be used again, with the bookings that it had."""
        self.books.contact_restored(place)

    def update_plan(self, plan: Plan) -> None:
        """Put another plan in force, for all routers that share the books; see
        `Books.update_plan`."""
        self.books.update_plan(plan)

    def policy_changed(self) -> None:
        """The predicate `usable` would now answer differently."""
        self._use(self.books)

    def _refresh(self) -> None:
        books = self.books
        if self._version != books.version:
            if self._plan_version != books.plan_version:
                self._use(books)
            else:
                self._version = books.version
                self._kept.clear()


_NOBODY: frozenset[str] = frozenset()

_COARSE_NS = 1000 * MILLISECOND
"""For how long a size class that was too wide is not tried again."""

_UNREACHABLE_MAX = 4096
"""Destinations remembered as unreachable, which anybody can make up, in one kept search."""
