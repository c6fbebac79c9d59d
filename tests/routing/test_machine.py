"""Whatever happens in whatever order, no contact is promised beyond its volume.

What can be said of a router from outside, `interop.machines.RouterPeerMachine` says.  This one is
for the forwarder above it, and for what no answer shows: that each bundle is in one place, and that
the bookings of all that waits fit into their contacts.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stack.contacts.plan import Contact, Plan
from stack.core.errors import ConfigError
from stack.ports.application import CRITICAL_PRIORITY
from stack.routing.config import RouterConfig
from stack.routing.forwarder import DONE, Forwarder
from stack.routing.graph import priority_level

A, B, C, D = (f"ipn:{n}.0" for n in range(1, 5))
NODES = (B, C, D)
FOREVER = 10**12

# Contacts of 1 to 3 KB, and bundles of which a few fill them.
small = st.lists(
    st.builds(
        lambda pair, start_ms, lasts_ms: Contact(
            pair[0], pair[1], start_ms, start_ms + lasts_ms, 8e3
        ),
        st.sampled_from([(A, B), (A, C), (A, D), (B, D), (C, D), (B, C)]),
        st.sampled_from([0, 1000, 4000, 9000]),
        st.sampled_from([1000, 3000]),
    ),
    min_size=3,
    max_size=9,
    unique=True,
).map(Plan)
sizes = st.sampled_from([1, 100, 700, 1500])
neighbours = st.sampled_from(NODES)


class Forwarding(RuleBasedStateMachine):
    """A forwarder, driven as an agent and its links would."""

    @initialize(plan=small, wanted=st.sampled_from([0.0, 1.0]))
    def begin(self, plan: Plan, wanted: float) -> None:
        config = RouterConfig(overhead_bytes=10, confidence_wanted=wanted)
        self.forwarder = Forwarder(A, plan, config=config)
        self.now_ms = 0
        self.known: dict[int, tuple[str, int, int]] = {}
        """By ref: destination, size, priority."""
        self.given: dict[str, list[int]] = {}
        """By neighbour, what its link has."""
        self.served: dict[int, set[str]] = {}
        self.last = 0

    # -- what the agent does ---------------------------------------------------------------

    def add(self, ref: int) -> None:
        node, size, priority = self.known[ref]
        result = self.forwarder.add(ref, node, size, priority, FOREVER, self.now_ms)
        if result == DONE:
            assert self.served[ref]
            self.done(ref)
        displaced, self.forwarder.displaced = self.forwarder.displaced, []
        for each in displaced:
            assert self.known[each][2] < priority
            self.add(each)

    def done(self, ref: int) -> None:
        self.forwarder.remove(ref, self.now_ms)
        del self.known[ref]
        for refs in self.given.values():
            if ref in refs:
                refs.remove(ref)

    def reroute(self, refs: list[int]) -> None:
        assert len(set(refs)) == len(refs)
        for ref in refs:
            if ref in self.known:
                self.add(ref)

    @rule(node=neighbours, size=sizes, priority=st.integers(0, 3))
    def arrives(self, node: str, size: int, priority: int) -> None:
        self.last += 1
        self.known[self.last] = (node, size, priority)
        self.served[self.last] = set()
        self.add(self.last)

    @rule(neighbour=neighbours, count=st.integers(1, 3))
    def take(self, neighbour: str, count: int) -> None:
        taken = self.forwarder.take(neighbour, 10**9, count, self.now_ms)
        held = self.given.setdefault(neighbour, [])
        assert not set(taken) & set(held)
        held += taken

    @precondition(lambda self: any(self.given.values()))
    @rule(data=st.data(), fate=st.sampled_from(["sent", "returned", "withdrawn"]))
    def link(self, data: st.DataObject, fate: str) -> None:
        neighbour = data.draw(st.sampled_from([n for n, refs in self.given.items() if refs]))
        refs = self.given[neighbour]
        ref = refs.pop(0)
        if fate == "returned":
            self.forwarder.returned([ref], neighbour)
        elif fate == "withdrawn":
            self.forwarder.withdrawn([ref], neighbour)
        else:
            assert neighbour not in self.served[ref]
            self.served[ref].add(neighbour)
            if self.forwarder.forwarded(ref, neighbour):
                self.done(ref)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        self.done(data.draw(st.sampled_from(sorted(self.known))))

    # -- what happens to contacts ----------------------------------------------------------

    @rule(ms=st.sampled_from([10, 300, 2000]))
    def pause(self, ms: int) -> None:
        self.now_ms += ms

    @rule(neighbour=neighbours)
    def ended(self, neighbour: str) -> None:
        self.reroute(self.forwarder.drain(neighbour, self.now_ms))

    @rule(neighbour=neighbours)
    def failed(self, neighbour: str) -> None:
        self.forwarder.contact_failed(neighbour, self.now_ms)
        self.ended(neighbour)

    @rule(neighbour=neighbours)
    def restored(self, neighbour: str) -> None:
        if self.forwarder.contact_restored(neighbour):
            self.reroute(self.forwarder.drain_all(self.now_ms))

    @rule(
        neighbour=neighbours, rate=st.sampled_from([8e3, math.inf]), lasts_ms=st.integers(0, 5000)
    )
    def discovered(self, neighbour: str, rate: float, lasts_ms: int) -> None:
        now_ms = self.now_ms
        try:
            self.forwarder.router.contact_discovered(neighbour, rate, now_ms, now_ms + lasts_ms, 0)
        except ConfigError:
            assert lasts_ms == 0
        self.reroute(self.forwarder.drain_all(now_ms))

    @rule(neighbour=neighbours)
    def lost(self, neighbour: str) -> None:
        if self.forwarder.router.contact_lost(neighbour, self.now_ms):
            self.ended(neighbour)

    @rule(plan=small, keep=st.booleans())
    def planned(self, plan: Plan, keep: bool) -> None:
        old = self.forwarder.router.plan
        more = [contact for contact in plan.contacts[:2] if old.find(contact) is None]
        refs = self.forwarder.drain_all(self.now_ms)
        self.forwarder.set_plan(old.add(more) if keep else plan)
        self.reroute(refs)

    # -- what must hold --------------------------------------------------------------------

    @invariant()
    def every_bundle_is_somewhere(self) -> None:
        forwarder = self.forwarder
        queued = {
            entry.ref if entry.ref > 0 else forwarder._copies.ref(entry.ref)
            for neighbour in forwarder._queue.neighbours()
            for entry in forwarder._queue.waiting(neighbour)
        }
        given = {ref for refs in self.given.values() for ref in refs}
        assert queued | given | set(list(forwarder._unrouted)) == set(self.known)
        copies = forwarder.bundles_waiting
        assert copies >= len(self.known)
        if not self.known:
            assert (copies, forwarder.bytes_waiting) == (0, 0)
            assert not forwarder._copies._of
            assert not forwarder._copies._owner

    @invariant()
    def nothing_is_promised_twice(self) -> None:
        """What waits with a booking on a contact of ours fits into it; on a contact of others,
        at the highest priority, which nothing takes room from.  Copies of a critical bundle that
        meet at a node go on as one."""
        forwarder = self.forwarder
        books = forwarder.router.books
        promised: dict[tuple[int, int], dict[int, int]] = {}
        for neighbour in forwarder._queue.neighbours():
            for entry in forwarder._queue.waiting(neighbour):
                assert entry.route is not None
                assert entry.route.next_hop == neighbour
                octets = forwarder.router.consumption(entry.size)
                one = entry.ref < 0 and entry.priority >= CRITICAL_PRIORITY
                ref = forwarder._copies.ref(entry.ref) if one else entry.ref
                for place in books._places(entry.route):
                    if place is not None:
                        key = (place, priority_level(entry.priority))
                        promised.setdefault(key, {})[ref] = octets
        for place in {place for place, _ in promised}:
            contact = books.contact(place)
            least = 0 if contact.source == A else 2
            octets = sum(
                sum(promised.get((place, level), {}).values()) for level in range(least, 3)
            )
            assert octets <= contact.volume_bytes + 1e-6


TestForwarding = pytest.mark.slow(Forwarding.TestCase)
TestForwarding.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
