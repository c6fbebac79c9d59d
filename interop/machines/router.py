"""A state machine of Hypothesis that asks a router for ways, and books them (CCSDS 734.3-B-1).

    class Mine(RouterPeerMachine):
        adapter = MyRouter

    TestMine = Mine.TestCase

`MyRouter(plan, node)` makes a `RouterPeer`.  The machine asks for ways for bundles of any size and
priority, books them and gives them back; contacts fail and come back, the plan changes, time
passes.  Each answer is held against all ways that there are (`brute`): it has to be a way, it has
to arrive when it says, no other may arrive earlier, and no contact may be promised beyond its
volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from interop.machines import brute
from interop.machines.brute import MS
from interop.machines.fault import MachineFault, require
from interop.machines.machine import PeerMachine
from interop.machines.transitions import table
from interop.strategies.contacts import IPN_NODES, plans
from stack.contacts.plan import Contact, Plan

NODE = IPN_NODES[0]
OTHERS = IPN_NODES[1:4]
PRIORITIES = 3

_PICKS = st.integers(0, 1 << 16)
_SIZES = st.sampled_from([0, 1, 100, 1000, 4000])
_PRIORITIES = st.integers(0, PRIORITIES - 1)
_PLANS = plans(nodes=4, least_contacts=4, most_contacts=9, rates=st.just(8e3)).map(
    lambda plan: Plan(dict.fromkeys(plan.contacts), plan.ranges)
)
"""An octet takes a millisecond, so that nothing has to be rounded."""


class FoundRoute(NamedTuple):
    """What a router answers."""

    contacts: tuple[Contact, ...]
    arrival_ms: int
    """DTN time at which the last octet is there, rounded up."""

    handle: object = None
    """Whatever the router wants to have back with `book` and `release`."""


class RouterPeer(Protocol):
    """A router under test, that knows what was booked of each contact.  Times are DTN times in
    milliseconds, and never go back."""

    def route(
        self, destination: str, size_bytes: int, priority: int, now_ms: int
    ) -> FoundRoute | None:
        """The way that arrives first for a bundle that is here now, or None.  What was booked at
        its priority and above is not free for it."""
        ...

    def book(self, route: FoundRoute, size_bytes: int, priority: int, now_ms: int) -> None:
        """A bundle will take this way."""
        ...

    def release(self, route: FoundRoute, size_bytes: int, priority: int, now_ms: int) -> None:
        """It will not after all; nothing of it has been sent."""
        ...

    def set_plan(self, plan: Plan) -> None:
        """Another plan is in force; contacts that are in both keep what was booked."""
        ...

    def contact_failed(self, contact: Contact) -> None:
        """A contact does not take place, for now."""
        ...

    def contact_restored(self, contact: Contact) -> None:
        """It does, with what was booked of it."""
        ...


class MakesRouterPeer(Protocol):
    """Makes a router under test."""

    def __call__(self, plan: Plan, node: str, /) -> RouterPeer:
        """The router of a node."""
        ...


class BookedRoute(NamedTuple):
    """A bundle that has its way."""

    route: FoundRoute
    size: int
    priority: int
    begins_ms: int
    """When its first octet leaves."""


class RouterPeerMachine(PeerMachine):
    """A node that has bundles to send.  Set `adapter`."""

    adapter: ClassVar[MakesRouterPeer]
    """Makes the router under test; a class, usually."""

    table = table(
        "contact",
        {
            ("free", "is booked"): "booked",
            ("free", "fails"): "failed",
            ("free", "leaves the plan"): "gone",
            ("booked", "is booked"): "booked",
            ("booked", "is given back"): "booked | free",
            ("booked", "fails"): "failed",
            ("booked", "leaves the plan"): "gone",
            ("failed", "is given back"): "failed",
            ("failed", "comes back"): "free | booked",
            ("failed", "leaves the plan"): "gone",
            ("gone", "comes into the plan"): "free",
        },
    )
    peer: RouterPeer

    @initialize(plan=_PLANS)
    def start(self, plan: Plan) -> None:
        """A router with a plan of which nothing is booked."""
        self.peer = type(self).adapter(plan, NODE)
        self.plan = plan
        self.at_ms = 0
        self.booked: list[BookedRoute] = []
        self.free: dict[Contact, list[int]] = {}
        """By contact, and by priority, the nanosecond from which it is free."""

        self.failed: set[Contact] = set()
        self.gone: list[Contact] = []

    def _state(self, contact: Contact) -> str:
        if contact not in self.plan.contacts:
            return "gone"
        if contact in self.failed:
            return "failed"
        return "booked" if any(contact in one.route.contacts for one in self.booked) else "free"

    def _took(self, contacts: Sequence[Contact], before: Sequence[str], what: str) -> None:
        for contact, state in zip(contacts, before, strict=True):
            self.took("contact", state, what, self._state(contact))

    @rule(destination=st.sampled_from(OTHERS), size=_SIZES, priority=_PRIORITIES)
    def ask(self, destination: str, size: int, priority: int) -> None:
        """There may be a bundle."""
        self._route(destination, size, priority)

    @rule(destination=st.sampled_from(OTHERS), size=_SIZES, priority=_PRIORITIES)
    def book(self, destination: str, size: int, priority: int) -> None:
        """A bundle takes the way that was found."""
        route = self._route(destination, size, priority)
        if route is None or not size:
            return
        before = [self._state(contact) for contact in route.contacts]
        self.peer.book(route, size, priority, self.at_ms)
        at_ns = self.at_ms * MS
        first = route.contacts[0]
        begins_ns = max(at_ns, first.start_ms * MS, self._free(first)[priority])
        for contact in route.contacts:
            clocks = self.free.setdefault(contact, self._free(contact))
            for level in range(priority + 1):
                taken_ns = brute.duration_ns(contact, size)
                clocks[level] = max(clocks[level], at_ns) + taken_ns
            at_ns = 0
        self.booked.append(BookedRoute(route, size, priority, begins_ns // MS))
        self._took(route.contacts, before, "is booked")

    def _free(self, contact: Contact) -> list[int]:
        return self.free.get(contact, [contact.start_ms * MS] * PRIORITIES)

    @precondition(lambda self: self._waiting())
    @rule(pick=_PICKS)
    def give_back(self, pick: int) -> None:
        """A bundle goes no way, before any of it has left."""
        waiting = self._waiting()
        one = waiting[pick % len(waiting)]
        contacts = [each for each in one.route.contacts if each in self.plan.contacts]
        before = [self._state(contact) for contact in contacts]
        self.peer.release(one.route, one.size, one.priority, self.at_ms)
        self.booked.remove(one)
        for contact in contacts:
            if contact in self.free and contact.end_ms > self.at_ms:
                for level in range(one.priority + 1):
                    given_ns = brute.duration_ns(contact, one.size)
                    least_ns = contact.start_ms * MS
                    self.free[contact][level] = max(least_ns, self.free[contact][level] - given_ns)
        self._took(contacts, before, "is given back")

    def _waiting(self) -> list[BookedRoute]:
        return [one for one in self.booked if self.at_ms <= one.begins_ms]

    @precondition(lambda self: self.plan.contacts)
    @rule(pick=_PICKS)
    def fail(self, pick: int) -> None:
        """A contact fails, or comes back."""
        contact = self.plan.contacts[pick % len(self.plan.contacts)]
        before = [self._state(contact)]
        if contact in self.failed:
            self.failed.remove(contact)
            self.peer.contact_restored(contact)
            self._took([contact], before, "comes back")
        else:
            self.failed.add(contact)
            self.peer.contact_failed(contact)
            self._took([contact], before, "fails")

    @precondition(lambda self: self.plan.contacts)
    @rule(pick=_PICKS)
    def take_out(self, pick: int) -> None:
        """A contact leaves the plan."""
        contact = self.plan.contacts[pick % len(self.plan.contacts)]
        before = [self._state(contact)]
        self._replan(self.plan.remove(contact))
        self.gone.append(contact)
        self.failed.discard(contact)
        self.free.pop(contact, None)
        self._took([contact], before, "leaves the plan")

    @precondition(lambda self: self.gone)
    @rule(pick=_PICKS)
    def put_in(self, pick: int) -> None:
        """A contact comes into the plan, and nothing of it is booked."""
        contact = self.gone.pop(pick % len(self.gone))
        self.booked = [one for one in self.booked if contact not in one.route.contacts]
        self._replan(self.plan.add([contact]))
        self._took([contact], ["gone"], "comes into the plan")

    def _replan(self, plan: Plan) -> None:
        self.plan = plan
        self.peer.set_plan(plan)

    @rule(ms=st.sampled_from([1, 300, 2000]))
    def wait(self, ms: int) -> None:
        """Time passes."""
        self.at_ms += ms

    # ------------------------------------------------------------------------- the answer

    def _route(self, destination: str, size: int, priority: int) -> FoundRoute | None:
        """The router's way, if it is right.  Raises `MachineFault`."""
        route = self.peer.route(destination, size, priority, self.at_ms)
        contacts = self.plan.contacts
        free = {place: self._free(contact)[priority] for place, contact in enumerate(contacts)}
        barred = {place for place, contact in enumerate(contacts) if contact in self.failed}
        best = brute.best(self.plan, NODE, destination, size, self.at_ms * MS, free, barred)
        if route is None:
            self.note("no way")
            require(best is None, "CCSDS 734.3-B-1 §3.2.6", "no way, though there is one", best)
            return None
        self.note(f"a way of {len(route.contacts)} contacts")
        arrival_ms = self._follow(route, destination, size, priority)
        self._volumes(route, size, priority)
        if best is None:
            raise MachineFault("CCSDS 734.3-B-1 §3.2.6", "a way, though there is none", route)
        earliest_ms = -(-best[0] // MS)
        require(
            arrival_ms == route.arrival_ms,
            "CCSDS 734.3-B-1 §3.2.6.6", f"it arrives at {arrival_ms} ms, not as it says", route,
        )  # fmt: skip
        require(
            arrival_ms <= earliest_ms,
            "CCSDS 734.3-B-1 §3.2.8.1.4", f"another way arrives at {earliest_ms} ms", route,
        )  # fmt: skip
        return route

    def _follow(self, route: FoundRoute, destination: str, size: int, priority: int) -> int:
        """When a bundle that goes that way arrives.  Raises `MachineFault` where it cannot."""
        clause = "CCSDS 734.3-B-1 §3.2.6"
        node, at_ns = NODE, self.at_ms * MS
        for contact in route.contacts:
            require(contact in self.plan.contacts, clause, "a contact of no plan", contact)
            require(contact not in self.failed, clause, "a contact that has failed", contact)
            require(
                contact.source == node, clause, f"a contact that does not begin at {node}", route
            )
            free_ns = self._free(contact)[priority]
            arrives_ns = brute.through(self.plan, contact, at_ns, size, free_ns)
            if arrives_ns is None:
                raise MachineFault(clause, "it does not fit into what is left of a contact", route)
            node, at_ns = contact.destination, arrives_ns
        require(node == destination, clause, f"the way ends at {node}", route)
        return -(-at_ns // MS)

    def _volumes(self, route: FoundRoute, size: int, priority: int) -> None:
        """No contact is promised beyond its volume at any priority (§3.2.6.8)."""
        for contact in route.contacts:
            promised = size + sum(
                one.size
                for one in self.booked
                if contact in one.route.contacts and one.priority >= priority
            )
            require(
                promised <= contact.volume_bytes,
                "CCSDS 734.3-B-1 §3.2.6.8", f"{promised} octets are promised", contact,
            )  # fmt: skip
