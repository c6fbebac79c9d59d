"""Routes for bundles: earliest arrival over the contact plan, with volume.

The order of routes is that of SABR (CCSDS 734.3-B-1 §3.2.8.1.4 a): earliest arrival, then fewest
hops, then latest termination, then smallest entry node; among equals up to the termination, one
whose contacts are likelier to take place comes before the smaller entry node, which SABR calls
arbitrary.

A search is kept and used again.  Contacts only fill up and time only passes, so an arrival found
once is the earliest possible one for all later bundles of that size and above; a kept route is
used while the bundle at hand, reckoned exactly along it, arrives within a tolerance of that
bound.  With tolerances of 0 every route is the best there is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from stack.contacts.plan import Contact, Plan
from stack.core.clock import MILLISECOND
from stack.routing.books import Books
from stack.routing.config import RouterConfig, consumption
from stack.routing.graph import (
    NEVER_NS,
    Bounds,
    ContactGraph,
    Label,
    Network,
    Question,
    Search,
    priority_level,
    start_at,
)
from stack.routing.paths import Path, likelihood, path_of, reckoned
from stack.routing.route import Route
from stack.routing.selection import next_routes, node_order, preferred

__all__ = ["Router", "RouterConfig"]

ALTERNATIVES_MAX = 64
"""Ways looked at for one that is likely enough: each costs some searches."""


NOBODY: frozenset[str] = frozenset()

_Key = tuple[int, int, frozenset[str], frozenset[str]]
"""The size class or the size, the priority level, and who must not come first, or nowhere."""


class _Kept:
    """A search and the paths read from it."""

    __slots__ = ("at_ns", "bounds", "coarse", "paths", "question", "search")

    def __init__(self, question: Question, node: str, at_ns: int, bounds: Bounds) -> None:
        self.question = question
        self.bounds = bounds
        self.search = Search(question, start_at(node, at_ns), bounds)
        self.at_ns = at_ns
        self.paths: dict[str, Path | None] = {}
        self.coarse = False
        """Its size class was too wide for a bundle, whose own size had to be searched for."""


class _Stale:
    """No answer: the search is too old."""


_STALE = _Stale()


class Router:
    """Finds routes from `node`, and keeps the books."""

    def __init__(self, plan: Plan, node: str, *, config: RouterConfig | None = None) -> None:
        self.node = node
        self.config = config or RouterConfig()
        self.books = Books(plan)
        self._begin()

    def _begin(self) -> None:
        """Searches begin afresh, on the plan that is in force."""
        books = self.books
        self._version = books.version
        self._plan_version = books.plan_version
        self._network = Network(ContactGraph.of(books.plan), books.fans())
        self._kept: dict[_Key, _Kept] = {}

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self.books.plan

    @property
    def plan_version(self) -> int:
        """Another number with each change of the contacts that are known."""
        return self.books.plan_version

    def nodes(self) -> set[str]:
        """All nodes that there are contacts with."""
        discovered = (span[0] for fan in self.books.fans().values() for span in fan.spans)
        return {*self.plan.nodes, *discovered}

    def reaches(self, node: str, now_ms: int) -> bool:
        """Whether any chain of contacts that are not over leads to a node."""
        return node in self.plan.reachable(self.node, now_ms)

    # -- routes ----------------------------------------------------------------------------

    def route(
        self,
        destination: str,
        size_bytes: int,
        priority: int,
        now_ms: int,
        expires_ms: int,
        exclude: Collection[str] = (),
        barred: frozenset[str] = NOBODY,
    ) -> Route | None:
        """The best route to a node for a bundle that is here now; None when it would not arrive
        by `expires_ms` or there is no way (also to this node itself).

        `exclude` names neighbours that must not get the bundle from us, such as the one that it
        came from, `barred` nodes that it must not come to at all.  Nothing is booked.
        """
        if destination == self.node:
            return None
        self._refresh()
        level = priority_level(priority)
        now_ns = now_ms * MILLISECOND
        deadline_ns = expires_ms * MILLISECOND
        route = self._best(destination, size_bytes, level, now_ns, deadline_ns, NOBODY, barred)
        if route is not None and exclude and route.next_hop in exclude:
            # The best way of all would have done, had it not begun with an excluded neighbour.
            others = frozenset(exclude)
            route = self._best(destination, size_bytes, level, now_ns, deadline_ns, others, barred)
        return route

    def unkept_route(
        self,
        destination: str,
        size_bytes: int,
        priority: int,
        now_ms: int,
        expires_ms: int,
        barred: frozenset[str] = NOBODY,
        booked: bool = True,
    ) -> Route | None:
        """As `route`, for a question that does not come again: no kept search gives way to it.  Not
        `booked`: as if nothing were promised to others, and no contact had failed."""
        if destination == self.node:
            return None
        self._refresh()
        level, now_ns = priority_level(priority), now_ms * MILLISECOND
        asked, until_ns = self._question(size_bytes, level, barred), expires_ms * MILLISECOND
        kept = _Kept(asked if booked else asked._replace(clocks={}), self.node, now_ns, Bounds())
        route = self._along(kept, destination, size_bytes, level, now_ns, until_ns)
        assert not isinstance(route, _Stale)  # it was searched for just now
        return route

    def routes(
        self,
        destinations: Iterable[str],
        size_bytes: int,
        priority: int,
        now_ms: int,
        expires_ms: int,
        exclude: Collection[str] = (),
    ) -> dict[str, Route | None]:
        """The best route to each of several nodes; one search serves them all."""
        return {
            destination: self.route(destination, size_bytes, priority, now_ms, expires_ms, exclude)
            for destination in destinations
        }

    def alternatives(
        self,
        destination: str,
        size_bytes: int,
        priority: int,
        now_ms: int,
        expires_ms: int,
        exclude: Collection[str] = (),
    ) -> Iterator[Route]:
        """All loop-free routes in SABR's order, each worked out when it is asked for (§3.2.6.10);
        likelihood plays no part.  Book and change nothing before the last that is wanted."""
        self._refresh()
        question = self._question(size_bytes, priority_level(priority))
        now_ns, deadline_ns = now_ms * MILLISECOND, expires_ms * MILLISECOND
        for label in next_routes(question, self.node, now_ns, destination, exclude):
            if label[0] > deadline_ns:
                return
            yield self._route_of(label, question, now_ns)

    def by_neighbour(
        self,
        destination: str,
        size_bytes: int,
        priority: int,
        now_ms: int,
        expires_ms: int,
        exclude: Collection[str] = (),
        barred: frozenset[str] = NOBODY,
    ) -> list[Route]:
        """The best route over each neighbour that has one, the best first: the routes of a critical
        bundle (§3.2.8.1.4 b).  Nothing is booked."""
        if destination == self.node:
            return []
        self._refresh()
        question = self._question(size_bytes, priority_level(priority), barred)
        now_ns, deadline_ns = now_ms * MILLISECOND, expires_ms * MILLISECOND
        start = start_at(self.node, now_ns)
        found = []
        neighbours = self._network.neighbours(self.node)
        for neighbour in neighbours.difference(exclude):
            bounds = Bounds(exclude=neighbours - {neighbour})
            label = Search(question, start, bounds).find(destination)
            if label is not None and label[0] <= deadline_ns:
                label = preferred(question, start, label, bounds)
                if likelihood(label, self.books) >= self.config.confidence_min:
                    found.append((*label[:3], node_order(neighbour), label))
        found.sort(key=lambda each: each[:4])
        return [self._route_of(each[4], question, now_ns) for each in found]

    def _route_of(self, label: Label, question: Question, now_ns: int) -> Route:
        path = path_of(label, self.books, question.margin_ns)
        size, level, clocks = question.size_bytes, question.level, question.clocks
        route = reckoned(path, clocks, self.config, size, level, now_ns, NEVER_NS)
        assert route is not None  # it was found by these very clocks
        return route

    def consumption(self, size_bytes: int) -> int:
        """Octets that a bundle takes of a contact; see `stack.routing.config.consumption`."""
        return consumption(self.config, size_bytes)

    def _best(
        self,
        destination: str,
        size_bytes: int,
        level: int,
        now_ns: int,
        deadline_ns: int,
        exclude: frozenset[str],
        barred: frozenset[str],
    ) -> Route | None:
        # Bundles share a search by size, in classes of a factor of four.  A search for the least
        # size of the class bounds them all; where that is too crude, size is searched for itself.
        rank = size_bytes.bit_length() >> 1
        least = 1 << (2 * rank - 1) if rank else 0
        for name, size in ((~rank, least), (size_bytes, size_bytes)):
            key = (name, level, exclude, barred)
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

    def _search(self, key: _Key, size: int, now_ns: int) -> _Kept:
        kept = self._kept
        kept.pop(key, None)
        while len(kept) >= self.config.searches_max:
            del kept[next(iter(kept))]
        _, level, exclude, barred = key
        question = self._question(size, level, barred)
        kept[key] = fresh = _Kept(question, self.node, now_ns, Bounds(exclude))
        return fresh

    def _question(self, size: int, level: int, barred: frozenset[str] = NOBODY) -> Question:
        margin_ns = self.config.margin_ms * MILLISECOND
        return Question(self._network, self.books.clocks, size, level, margin_ns, barred)

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
        clocks, config = kept.question.clocks, self.config
        found = reckoned(path, clocks, config, size_bytes, level, now_ns, deadline_ns)
        return _STALE if found is None else found

    def _path(self, kept: _Kept, destination: str) -> Path | None:
        label = kept.search.find(destination)
        path = None
        if label is not None:
            chosen = self._chosen(kept, label)
            if chosen is not None:
                path = path_of(chosen, self.books, kept.question.margin_ns)
        elif len(kept.paths) >= _UNREACHABLE_MAX:
            return None
        kept.paths[destination] = path
        return path

    def _chosen(self, kept: _Kept, label: Label) -> Label | None:
        """Of the routes as good as the best the one to take, or a later one, if likely enough."""
        question, bounds = kept.question, kept.bounds
        best = preferred(question, kept.search.start, label, bounds)
        most = likelihood(best, self.books)
        if most == 1:
            return best
        least = self.config.confidence_min
        found = best if most >= least else None
        others = next_routes(question, self.node, kept.at_ns, label[3], bounds.exclude)
        for other in islice(others, ALTERNATIVES_MAX):
            if found is not None and other[:3] != found[:3]:
                break
            likely = likelihood(other, self.books)
            if likely >= least and (found is None or likely > most):
                found, most = other, likely
        return found

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

    def contact_discovered(
        self, neighbour: str, rate_bps: float, now_ms: int, until_ms: int, owlt_ns: int = 0
    ) -> int:
        """A contact with a neighbour that no plan foresaw has begun; routes use it at once, and
        until `until_ms`.  Gives its place.  Raises `ConfigError` when that makes no sense."""
        contact = Contact(self.node, neighbour, now_ms, until_ms, rate_bps)
        return self.books.discover(contact, owlt_ns)

    def contact_lost(self, neighbour: str, now_ms: int) -> bool:
        """A discovered contact is over before its time; whether there was one."""
        return self.books.lose(self.node, neighbour, now_ms)

    def update_plan(self, plan: Plan) -> None:
        """Put another plan in force; see `Books.update_plan`."""
        self.books.update_plan(plan)

    def _refresh(self) -> None:
        books = self.books
        if self._version != books.version:
            if self._plan_version != books.plan_version:
                self._begin()
            else:
                self._version = books.version
                self._kept.clear()


_COARSE_NS = 1000 * MILLISECOND
"""For how long a size class that was too wide is not tried again."""

_UNREACHABLE_MAX = 4096
"""Destinations remembered as unreachable, which anybody can make up, in one kept search."""
