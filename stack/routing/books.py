"""The books of a node: how much of each contact has been promised to bundles.

Every bundle that is given a route books its share of each contact on it; a bundle sees what was
booked at its own priority and above (SABR, CCSDS 734.3-B-1 §3.2, calls that the maximum available
volume).  Bookings are kept as time: for each contact with bookings, and each priority, the moment
from which it is free.  That one number says both when the next bundle can leave and whether it
fits, and takes the backlog of this node's own contacts into account as it drains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stack.contacts.plan import Plan
from stack.core.clock import MILLISECOND
from stack.routing.graph import NEVER_NS, PRIORITY_LEVELS, priority_level
from stack.routing.route import Route


class Books:
    """The plan in force and its bookings, shared by the routers of one node."""

    __slots__ = ("clocks", "failed", "plan", "plan_version", "version")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.plan_version = 0
        self.version = 0
        """Grows when a contact may have become better: bounds found before it are void."""
        self.clocks: dict[int, list[int]] = {}
        """By contact and priority level, when it is free; contacts without bookings are not in."""
        self.failed: dict[int, list[int]] = {}
        """The true clocks of contacts that failed; `clocks` has NEVER_NS for them."""

    def book(self, route: Route, size_bytes: int, priority: int, now_ms: int) -> None:
        """Take a bundle's share of every contact on its route, at its priority and below.

        Bundles of lower priority that were booked before may no longer fit (`overbooked_bytes`).
        A route of an earlier plan books what the present plan still has of it.
        """
        top = priority_level(priority) + 1
        at_first = now_ms * MILLISECOND
        for place in self._places(route):
            if place >= 0:
                contact = self.plan.contacts[place]
                clocks = self._of(place)
                taken_ns = math.ceil(size_bytes * (8e9 / contact.rate_bps))
                for level in range(top):
                    # Our own contact passes unused while nothing is booked; a later one, to be
                    # filled by a relay, is reckoned as filled from its start.
                    clocks[level] = max(clocks[level], at_first) + taken_ns
            at_first = 0

    def release(self, route: Route, size_bytes: int, priority: int, now_ms: int) -> None:
        """Give back what `book` took and has not been used: the bundle goes another way.

        Time that has passed is not given back.  The next `route` searches afresh; when many
        bundles change their way, release them all before asking for the new routes.
        """
        top = priority_level(priority) + 1
        now_ns = now_ms * MILLISECOND
        first_left_ns = route.sent_ms * MILLISECOND - now_ns
        for place in self._places(route):
            if place >= 0:
                contact = self.plan.contacts[place]
                clocks = self._of(place)
                given_ns = math.ceil(size_bytes * (8e9 / contact.rate_bps))
                given_ns = min(given_ns, first_left_ns)
                if given_ns > 0 and contact.end_ms > now_ms:
                    start_ns = contact.start_ms * MILLISECOND
                    for level in range(top):
                        clocks[level] = max(clocks[level] - given_ns, start_ns)
                    self.version += 1
            first_left_ns = NEVER_NS

    def align(self, place: int, waiting_bytes: Sequence[int], now_ms: int) -> None:
        """Set the books of a contact of this node to what truly waits for it.

        `waiting_bytes[p]` is the octets waiting at priority p and above.  For links that run
        faster or slower than planned.
        """
        contact = self.plan.contacts[place]
        clocks = self._of(place)
        begin_ns = max(now_ms, contact.start_ms) * MILLISECOND
        for level in range(PRIORITY_LEVELS):
            free_ns = begin_ns + math.ceil(waiting_bytes[level] * (8e9 / contact.rate_bps))
            if free_ns < clocks[level]:
                self.version += 1
            clocks[level] = free_ns

    def residual_bytes(self, place: int, priority: int, now_ms: int) -> float:
        """Octets that a contact can still take at a priority; 0 when failed or over."""
        contact = self.plan.contacts[place]
        clocks = self.clocks.get(place)
        begin_ns = max(now_ms, contact.start_ms) * MILLISECOND
        if clocks is not None:
            begin_ns = max(begin_ns, clocks[priority_level(priority)])
        left_ns = contact.end_ms * MILLISECOND - begin_ns
        return left_ns * contact.rate_bps / 8e9 if left_ns > 0 else 0

    def overbooked_bytes(self, place: int, priority: int = 0) -> int:
        """Octets booked at a priority and above that no longer fit into a contact, because
        bundles of higher priority came later: that much of the lowest priority must go
        another way."""
        contact = self.plan.contacts[place]
        over_ns = self._of(place)[priority_level(priority)] - contact.end_ms * MILLISECOND
        if over_ns <= 0 or math.isinf(contact.rate_bps):
            return 0
        return math.ceil(over_ns * contact.rate_bps / 8e9)

    def contact_failed(self, place: int) -> None:
        """No route uses this contact any more, until `contact_restored`."""
        if place not in self.failed:
            self.failed[place] = self._of(place)
            self.clocks[place] = [NEVER_NS] * PRIORITY_LEVELS

    def contact_restored(self, place: int) -> None:
        """A failed contact can be used again, with the bookings that it had."""
        if place in self.failed:
            self.clocks[place] = self.failed.pop(place)
            self.version += 1

    def update_plan(self, plan: Plan) -> None:
        """Put another plan in force, for all routers that share it.

        Bookings and failures stay with the contacts that the new plan has unchanged.  Routes of
        the old plan can still be released.
        """
        moved = {
            place: new
            for place in self.clocks
            if (new := plan.find(self.plan.contacts[place])) is not None
        }
        self.clocks = {new: self.clocks[place] for place, new in moved.items()}
        self.failed = {
            moved[place]: clocks for place, clocks in self.failed.items() if place in moved
        }
        self.plan = plan
        self.plan_version += 1
        self.version += 1

    def _of(self, place: int) -> list[int]:
        """The clocks of a contact, to be changed, whether it failed or not."""
        clocks = self.failed.get(place) or self.clocks.get(place)
        if clocks is None:
            clocks = [self.plan.contacts[place].start_ms * MILLISECOND] * PRIORITY_LEVELS
            self.clocks[place] = clocks
        return clocks

    def _places(self, route: Route) -> Sequence[int]:
        """Where the contacts of a route are in the plan in force; -1 for one that is gone."""
        if route.plan_version == self.plan_version:
            return route.hops
        found = (self.plan.find(contact) for contact in route.contacts)
        return [-1 if place is None else place for place in found]
