"""What the bundles of a forwarder's queue have booked of the contacts on their ways."""

from __future__ import annotations

from stack.ports.application import CRITICAL_PRIORITY
from stack.routing.copies import CopyTable
from stack.routing.queue import ForwardQueue, Queued
from stack.routing.route import Route
from stack.routing.router import Router


class Bookings:
    """Between the queue's entries and the router's books; copies whose ways meet are booked once
    (see `CopyTable`)."""

    def __init__(self, router: Router, copies: CopyTable) -> None:
        self._router = router
        self._copies = copies

    def room(self, entry: Queued, route: Route, now_ms: int) -> bool:
        """Whether a copy still fits, with those before it booked."""
        left, volume = self._router.books.residual_bytes, self._volume(entry)
        priority = entry.priority
        return priority >= CRITICAL_PRIORITY or all(
            left(place, priority, now_ms) >= volume for place in route.hops
        )

    def book(self, entry: Queued, route: Route, now_ms: int) -> None:
        """Book an entry's way."""
        shared = self._copies.booked(entry.ref, route.contacts) if _meets(entry) else ()
        self._router.books.book(route, self._volume(entry), entry.priority, now_ms, shared)

    def release(self, entry: Queued, now_ms: int) -> None:
        """An entry does not go its way after all."""
        route = entry.route
        if route is not None:
            shared = self._copies.released(entry.ref, route.contacts) if _meets(entry) else ()
            self._router.books.release(route, self._volume(entry), entry.priority, now_ms, shared)

    def over(self, queue: ForwardQueue, route: Route, priority: int) -> list[Queued]:
        """Take out so much of what waits at less than a priority for the first contact of a route
        as no longer fits into it, the least first."""
        octets = self._router.books.overbooked_bytes(route.hops[0])
        found: list[Queued] = []
        if not octets:
            return found
        for entry in queue.least(route.next_hop, priority):
            if octets <= 0:
                break
            if entry.route is not None and entry.route.contacts[0] == route.contacts[0]:
                found.append(entry)
                octets -= self._volume(entry)
        for entry in found:
            queue.remove(entry.ref)
        return found

    def _volume(self, entry: Queued) -> int:
        return self._router.consumption(entry.size)


def _meets(entry: Queued) -> bool:
    """Whether it is a copy that is known again, and goes on as one, where it meets another: nodes
    remember critical bundles also after they have forwarded them."""
    return entry.ref < 0 and entry.priority >= CRITICAL_PRIORITY
