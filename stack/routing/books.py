"""The books of a node: how much of each contact has been promised to bundles.

Every bundle that is given a route books its share of each contact on it; a bundle sees what was
booked at its own priority and above (SABR, CCSDS 734.3-B-1 §3.2, calls that the maximum available
volume).  Bookings are kept as time: for each contact with bookings, and each priority, the moment
from which it is free.  That one number says both when the next bundle can leave and whether it
fits, and takes the backlog of this node's own contacts into account as it drains.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from stack.contacts.plan import Contact, Plan, check_contact
from stack.core.clock import MILLISECOND
from stack.routing.graph import NEVER_NS, PRIORITY_LEVELS, Fan, Hop, hop_of, priority_level
from stack.routing.route import Route


class Books:
    """The plan in force and its bookings, shared by the routers of one node."""

    __slots__ = ("clocks", "discovered", "failed", "met", "plan", "plan_version", "version")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.plan_version = 0
        """Grows when the contacts are others: with a new plan, and when one is met or lost."""
        self.discovered: dict[int, tuple[Contact, Hop]] = {}
        """Contacts that no plan foresaw, by place: below 0, growing downwards, never used again."""
        self.met = 0
        """How many contacts were ever discovered."""
        self.version = 0
        """Grows when a contact may have become better: bounds found before it are void."""
        self.clocks: dict[int, list[int]] = {}
        """By contact and priority level, when it is free; contacts without bookings are not in."""
        self.failed: dict[int, list[int]] = {}
        """The true clocks of contacts that failed; `clocks` has NEVER_NS for them."""

    def contact(self, place: int) -> Contact:
        """The contact at a place, of the plan or discovered.  Raises `LookupError`."""
        return self.plan.contacts[place] if place >= 0 else self.discovered[place][0]

    def book(
        self,
        route: Route,
        size_bytes: int,
        priority: int,
        now_ms: int,
        shared: Collection[Contact] = (),
    ) -> None:
        """Take a bundle's share of every contact on its route, at its priority and below; not of
        those in `shared`, which another copy of it has booked.

        Bundles of lower priority that were booked before may no longer fit (`overbooked_bytes`).
        A route of an earlier plan books what the present plan still has of it.
        """
        top = priority_level(priority) + 1
        at_first = now_ms * MILLISECOND
        for place in self._places(route, shared):
            if place is not None:
                contact = self.contact(place)
                clocks = self._of(place)
                taken_ns = math.ceil(size_bytes * (8e9 / contact.rate_bps))
                for level in range(top):
                    # Our own contact passes unused while nothing is booked; a later one, to be
                    # filled by a relay, is reckoned as filled from its start.
                    free = clocks[level]
                    clocks[level] = (free if free > at_first else at_first) + taken_ns
            at_first = 0

    def release(
        self,
        route: Route,
        size_bytes: int,
        priority: int,
        now_ms: int,
        shared: Collection[Contact] = (),
    ) -> None:
        """Give back what `book` took and has not been used: the bundle goes another way.  What is
        in `shared` another copy of it still needs.

        Time that has passed is not given back.  The next `route` searches afresh; when many
        bundles change their way, release them all before asking for the new routes.
        """
        top = priority_level(priority) + 1
        now_ns = now_ms * MILLISECOND
        first_left_ns = route.sent_ms * MILLISECOND - now_ns
        for place in self._places(route, shared):
            if place is not None:
                contact = self.contact(place)
                clocks = self._of(place)
                given_ns = math.ceil(size_bytes * (8e9 / contact.rate_bps))
                given_ns = min(given_ns, first_left_ns)
                if given_ns > 0 and contact.end_ms > now_ms:
                    start_ns = contact.start_ms * MILLISECOND
                    for level in range(top):
                        clocks[level] = max(clocks[level] - given_ns, start_ns)
                    self.version += 1
            first_left_ns = NEVER_NS

    def residual_bytes(self, place: int, priority: int, now_ms: int) -> float:
        """Octets that a contact can still take at a priority; 0 when failed or over."""
        contact = self.contact(place)
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
        contact = self.contact(place)
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

    def discover(self, contact: Contact, owlt_ns: int) -> int:
        """A contact that no plan foresaw has begun: its place.  It takes the place of an earlier
        one of the same direction.  Raises `ConfigError` when its fields make no sense."""
        check_contact(contact, "contact")
        self.lose(contact.source, contact.destination, contact.start_ms)
        self.met += 1
        place = -self.met
        self.discovered[place] = contact, hop_of(place, contact, owlt_ns)
        self.plan_version += 1
        self.version += 1
        return place

    def lose(self, source: str, destination: str, now_ms: int) -> bool:
        """A discovered contact of this direction is over; whether there was one.  So are others
        whose time has come."""
        gone = [
            place
            for place, (contact, _) in self.discovered.items()
            if (contact.source, contact.destination) == (source, destination)
            or contact.end_ms <= now_ms
        ]
        found = False
        for place in gone:
            contact, _ = self.discovered.pop(place)
            found = found or contact.destination == destination
            self.clocks.pop(place, None)
            self.failed.pop(place, None)
        if gone:
            self.plan_version += 1
            self.version += 1
        return found

    def under_way(self, source: str, destination: str, now_ms: int) -> list[tuple[int, Contact]]:
        """The contacts of a direction that are under way, with their places."""
        found = []
        for contact in self.plan.active(now_ms, source, destination):
            place = self.plan.find(contact)
            assert place is not None  # it came out of this very plan
            found.append((place, contact))
        for place, (contact, _) in self.discovered.items():
            pair = contact.source, contact.destination
            if pair == (source, destination) and contact.start_ms <= now_ms < contact.end_ms:
                found.append((place, contact))
        return found

    def place_of(self, old: int, contact: Contact) -> int | None:
        """Where a contact is now that was at a place before; None when it is gone."""
        if old < 0:
            return old if old in self.discovered else None
        contacts = self.plan.contacts
        if old < len(contacts) and contacts[old] == contact:
            return old
        return self.plan.find(contact)

    def fans(self) -> dict[str, Fan]:
        """The discovered contacts by sending node."""
        found: dict[str, dict[str, list[int]]] = {}
        for place, (contact, _) in self.discovered.items():
            groups = found.setdefault(contact.source, {})
            groups.setdefault(contact.destination, []).append(place)
        return {
            source: Fan(
                groups,
                lambda place: self.discovered[place][0].start_ms,
                lambda place: self.discovered[place][0].end_ms,
                lambda place: self.discovered[place][1],
            )
            for source, groups in found.items()
        }

    def update_plan(self, plan: Plan) -> None:
        """Put another plan in force.

        Bookings and failures stay with the contacts that the new plan has unchanged.  Routes of
        the old plan can still be released.
        """
        moved = {
            place: new
            for place in self.clocks
            if (new := place if place < 0 else _moved(self.plan, place, plan)) is not None
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
            clocks = [self.contact(place).start_ms * MILLISECOND] * PRIORITY_LEVELS
            self.clocks[place] = clocks
        return clocks

    def _places(self, route: Route, shared: Collection[Contact] = ()) -> Sequence[int | None]:
        """Where the contacts of a route are now; None for one that is gone, or in `shared`."""
        same = route.plan_version == self.plan_version
        if same and not shared:
            return route.hops
        return [
            None if contact in shared else place if same else self.place_of(place, contact)
            for place, contact in zip(route.hops, route.contacts, strict=True)
        ]


def _moved(old: Plan, place: int, new: Plan) -> int | None:
    """Where a contact of one plan is in another: of equal ones the second stays the second."""
    contact = old.contacts[place]
    first, found = old.find(contact), new.find(contact)
    if first is None or found is None:
        return None
    found += place - first
    return found if found < len(new.contacts) and new.contacts[found] == contact else None
