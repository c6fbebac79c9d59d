"""Which bundle goes to which neighbour next: the router and the queue, kept in step."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from stack.contacts.plan import Plan
from stack.ports.application import CRITICAL_PRIORITY
from stack.routing.bookings import Bookings
from stack.routing.config import RouterConfig
from stack.routing.copies import CopyTable
from stack.routing.queue import ForwardQueue, Queued, in_order
from stack.routing.route import Route
from stack.routing.router import NOBODY, Router
from stack.routing.silent import SilentContacts

FAILURES_MAX = 5
"""Failed transmissions in a row before a bundle steps aside.  A refusal is rare (a full store, a
damaged block), and mostly over at once."""

LATE_FROM = 2
"""From so many failures on a bundle goes after all others."""

PART_BYTES_MIN = 4096
PART_SHARE = 0.9
"""A bundle too large for every contact may go in parts, each of at most this share of what the
best contact has left (lower layers need the rest), but not in crumbs."""

DONE = -1
"""`Forwarder.add` gives this for a bundle of which copies have left, and no more can."""


class Forwarder:
    """Every bundle to forward waits for a neighbour, is with a link (`take`) until `forwarded` or
    `returned`, or is unrouted.

    A critical bundle is there once for every neighbour over which there is a way (SABR,
    CCSDS 734.3-B-1 §3.2.8.1.4 b); so is one whose way is not likely enough to come about
    (`RouterConfig.confidence_wanted`).

    `direct` are neighbours that can always be reached: what is for them needs no search.
    `default` is the neighbour that takes what the plan knows no way for.
    """

    def __init__(
        self,
        node: str,
        plan: Plan,
        *,
        direct: Collection[str] = (),
        default: str | None = None,
        config: RouterConfig | None = None,
    ) -> None:
        self.router = Router(plan, node, config=config)
        self.direct = frozenset(direct)
        self.default = default
        self._queue = ForwardQueue()
        self._given: dict[int, Queued] = {}
        self._unrouted: dict[int, Queued] = {}
        self._failures: dict[int, int] = {}
        self._silent = SilentContacts(self.router)
        self._copies = CopyTable()
        self._bookings = Bookings(self.router, self._copies)
        self.displaced: list[int] = []
        """Bundles that have lost their room to others, to be taken out of here and added again."""
        self.troubled: list[tuple[int, Exception]] = []
        """Bundles on which work has failed while others were worked on, and why: they are neither
        queued nor given, and to be `remove`d."""
        self.bytes_waiting = 0
        """Octets of all bundles here, also of those with links; every copy counts."""

    @property
    def bundles_waiting(self) -> int:
        """Number of all bundles here; every copy counts."""
        return len(self._queue) + len(self._given) + len(self._unrouted)

    @property
    def stranded(self) -> int:
        """Number of bundles without a way."""
        return len(self._unrouted)

    def nodes(self) -> set[str]:
        """All nodes that a bundle may come to from here, as far as is known."""
        return self.router.nodes() | self.direct | {self.default or self.router.node}

    def leads_to(self, node: str) -> bool:
        """Whether any contact leads to a node, at any time and from wherever."""
        return node in self.direct or self.default is not None or self.router.plan.leads_to(node)

    # -- bundles come ----------------------------------------------------------------------

    def add(
        self,
        ref: int,
        node: str,
        size: int,
        priority: int,
        expires_ms: int,
        now_ms: int,
        *,
        exclude: Collection[str] = (),
        barred: frozenset[str] = NOBODY,
        owner: str = "",
    ) -> int:
        """Find a way to `node` for a bundle, not by a neighbour in `exclude` nor over any node in
        `barred`; book and queue it.  Where bundles of several owners wait, each has an equal part.

        Gives 0; or, when it has no way because it is too large for every contact, the octets of
        a part that would fit; or `DONE`.  Those that have lost their room to it are `displaced`.
        """
        if node in self.direct and node not in barred:
            self._push(Queued(ref, size, priority, expires_ms, node, None, False, owner))
            return 0
        router = self.router
        volume = router.consumption(size)
        wanted = router.config.confidence_wanted
        several = priority >= CRITICAL_PRIORITY or ref in self._copies
        if not several:
            route = router.route(node, volume, priority, now_ms, expires_ms, exclude, barred)
            if route is not None and (not wanted or route.confidence >= wanted):
                entry = Queued(ref, size, priority, expires_ms, route.next_hop, route, False, owner)
                self._book(entry, now_ms)
                return 0
            several = route is not None
        entry = Queued(ref, size, priority, expires_ms, node, None, False, owner)
        if several:
            routes = router.by_neighbour(
                node, volume, priority, now_ms, expires_ms, exclude, barred
            )
            if priority < CRITICAL_PRIORITY:
                routes = _enough(routes, wanted)
            if self._copy(entry, routes, now_ms):
                return 0
            if self._copies.forget(ref):
                return DONE
        if self.default and self.default not in (*exclude, *barred) and node not in barred:
            self._push(entry._replace(neighbour=self.default))
            return 0
        self.bytes_waiting += size
        self._unrouted[ref] = entry
        if size > PART_BYTES_MIN:
            part = router.route(node, PART_BYTES_MIN, priority, now_ms, expires_ms, exclude, barred)
            if part is not None and part.volume_bytes < volume:
                return max(PART_BYTES_MIN, int(part.volume_bytes * PART_SHARE))
        return 0

    def _copy(self, entry: Queued, routes: Iterable[Route], now_ms: int) -> bool:
        """Queue a copy for each route whose neighbour has not got one, nor will, and which still
        has room with the copies before it booked; whether any is on its way."""
        copies, ref = self._copies, entry.ref
        for route in routes:
            neighbour = route.next_hop
            if not copies.knows(ref, neighbour) and self._bookings.room(entry, route, now_ms):
                ticket = copies.add(ref, neighbour)
                self._book(entry._replace(ref=ticket, neighbour=neighbour, route=route), now_ms)
        return bool(copies.tickets(ref))

    def _book(self, entry: Queued, now_ms: int) -> None:
        """Queue a bundle for its route, and make room for it."""
        route, priority = entry.route, entry.priority
        assert route is not None
        self._bookings.book(entry, route, now_ms)
        self._push(entry)
        if priority > 0:
            # What was booked at a lower priority and no longer fits into the contact in which it
            # leaves here goes another way.  Contacts of others are theirs to give away.
            self.displaced += self._left(self._bookings.over(self._queue, route, priority), now_ms)

    def _push(self, entry: Queued) -> None:
        self.bytes_waiting += entry.size
        late = self._failures.get(entry.ref, 0) >= LATE_FROM
        self._queue.push(entry._replace(late=True) if late else entry)

    # -- bundles go ------------------------------------------------------------------------

    def forwarded(self, ref: int, neighbour: str) -> bool:
        """A neighbour has acknowledged a bundle; whether that was the last copy of it.  Then it
        has to be `remove`d."""
        ticket = self._copies.ticket(ref, neighbour)
        if ticket == ref:
            return True
        entry = self._given.pop(ticket, None)
        if entry is None:
            return False  # it was given none
        self.bytes_waiting -= entry.size
        return self._copies.served(ref, neighbour)

    def given_to(self, ref: int) -> list[str]:
        """The neighbours whose links have been given a bundle and have not answered."""
        given = (self._given.get(ticket) for ticket in (ref, *self._copies.tickets(ref)))
        return [entry.neighbour for entry in given if entry is not None]

    def remove(self, ref: int, now_ms: int) -> None:
        """A bundle is done here: acknowledged by the next node, expired or evicted."""
        self._failures.pop(ref, None)
        if unrouted := self._unrouted.pop(ref, None):
            self.bytes_waiting -= unrouted.size
        if ref in self._given and ref not in self._copies:  # most have been acknowledged
            self.bytes_waiting -= self._given.pop(ref).size
            return
        booked: list[Queued] = []
        for ticket in (ref, *self._copies.tickets(ref)):
            entry = self._given.pop(ticket, None)  # what a link has sent has used its booking
            if entry is None and (entry := self._queue.remove(ticket)):
                booked.append(entry)
            if entry is not None:
                self.bytes_waiting -= entry.size
        try:
            for entry in booked:
                self._bookings.release(entry, now_ms)
        finally:
            self._copies.forget(ref)

    def waiting(self, neighbour: str) -> bool:
        """Whether anything waits for a neighbour."""
        return self._queue.count(neighbour) > 0

    def bytes_for(self, neighbour: str) -> int:
        """Octets that wait for a neighbour."""
        return self._queue.bytes_waiting(neighbour)

    def take(self, neighbour: str, room_bytes: int, limit: int, now_ms: int) -> list[int]:
        """Take bundles for a neighbour, most urgent first, until `room_bytes` is used up; the last
        may exceed it (a link always takes one bundle, however large).  What has expired steps
        aside: the store's clean-up lets go of it, or the clock is set back.  See `troubled`."""
        taken: list[int] = []
        pop, ref_of = self._queue.pop_next, self._copies.ref
        while room_bytes > 0 and len(taken) < limit:
            entry = pop(neighbour)
            if entry is None:
                break
            ticket = entry.ref
            try:
                ref = ticket if ticket > 0 else ref_of(ticket)
                if entry.expires_ms <= now_ms:
                    self._step_aside(ref, entry)
                    continue
            except Exception as error:  # whatever it is, it concerns this bundle alone
                self._trouble(entry, error)
                continue
            self._given[ticket] = entry
            room_bytes -= entry.size
            taken.append(ref)
        return taken

    def returned(self, refs: Iterable[int], neighbour: str = "") -> list[int]:
        """A link could not deliver these: they wait again, in front; from the second time on behind
        all others, for what a neighbour will not have must hold up nothing else; after
        `FAILURES_MAX` times without a way.  Those are given, if there are no copies of them."""
        aside = []
        for ref in reversed(tuple(refs)):
            ticket = self._copies.ticket(ref, neighbour)
            if (entry := self._given.pop(ticket, None)) is None:
                continue
            failures = self._failures[ref] = self._failures.get(ref, 0) + 1
            if failures % FAILURES_MAX == 0:
                if self._step_aside(ref, entry) and ticket == ref:
                    aside.append(ref)
            elif failures < LATE_FROM:
                self._queue.requeue(entry)
            else:
                self._queue.push(entry._replace(late=True))
        return aside

    def _step_aside(self, ref: int, entry: Queued) -> bool:
        """A bundle that was taken waits without a way; one of several copies ends, and the others
        go on.  Whether it waits."""
        if entry.ref != ref:
            self._copies.drop(entry.ref)
        if self._copies.tickets(ref):
            self.bytes_waiting -= entry.size
            return False
        self._unrouted[ref] = entry._replace(ref=ref, route=None)  # it has used its booking
        return True

    def withdrawn(self, refs: Iterable[int], neighbour: str = "") -> None:
        """A link gives these back that has not failed on them: they wait again, in front."""
        for ref in reversed(tuple(refs)):
            if entry := self._given.pop(self._copies.ticket(ref, neighbour), None):
                self._queue.requeue(entry, unused=True)

    def failures(self, ref: int) -> int:
        """How often links have failed to deliver a bundle."""
        return self._failures.get(ref, 0)

    # -- contacts change -------------------------------------------------------------------

    def contact_failed(self, neighbour: str, now_ms: int) -> None:
        """The contacts under way to a neighbour are of no use; call `drain`, and add again."""
        self._silent.failed(neighbour, now_ms)

    def contact_restored(self, neighbour: str) -> bool:
        """A neighbour is heard again: whether that brings contacts back; then find better ways."""
        return self._silent.restored(neighbour)

    def set_plan(self, plan: Plan) -> None:
        """Route by another plan from now on; call `drain_all` before it, and add again."""
        self.router.update_plan(plan)

    def drain(self, neighbour: str, now_ms: int) -> list[int]:
        """Take out all that waits for a neighbour, whose contact is over, with its bookings, and
        what has no way: each has to be `add`ed again."""
        return self._left(self._with_unrouted(self._queue.drain(neighbour)), now_ms)

    def drain_all(self, now_ms: int) -> list[int]:
        """The same for everything that waits, whatever for; also what has no way."""
        waiting = [one for each in self._queue.neighbours() for one in self._queue.drain(each)]
        return list(dict.fromkeys(self._left(self._with_unrouted(waiting), now_ms)))

    def _with_unrouted(self, entries: list[Queued]) -> list[Queued]:
        """Entries, and what has no way behind them; of several owners by turns."""
        found, self._unrouted = [*entries, *self._unrouted.values()], {}
        return found if len({entry.owner for entry in found}) < 2 else in_order(found)

    def _left(self, entries: Iterable[Queued], now_ms: int) -> list[int]:
        """Entries have been taken out of the queue, to find another way: their bundles."""
        refs = []
        for entry in entries:
            try:
                self._bookings.release(entry, now_ms)
                refs.append(entry.ref if entry.ref > 0 else self._copies.drop(entry.ref))
            except Exception as error:  # whatever it is, it concerns this bundle alone
                self._trouble(entry, error)
            else:
                self.bytes_waiting -= entry.size
        return refs

    def _trouble(self, entry: Queued, error: Exception) -> None:
        """Work on an entry that was taken out has failed; a copy takes its bundle with it."""
        self.bytes_waiting -= entry.size
        if ref := entry.ref if entry.ref > 0 else self._copies.owner(entry.ref):
            self.troubled.append((ref, error))


def _enough(routes: list[Route], wanted: float) -> list[Route]:
    """The first routes of which one comes about with a likelihood, or all."""
    missing = 1.0
    for count, route in enumerate(routes, 1):
        missing *= 1 - route.confidence
        if 1 - missing >= wanted:
            return routes[:count]
    return routes
