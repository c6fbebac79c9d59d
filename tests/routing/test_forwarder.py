"""Bundles that wait: copies of critical ones, room taken by others, contacts that come and go."""

from __future__ import annotations

import math

import pytest

from stack.contacts.plan import Contact, Plan
from stack.core.errors import ConfigError
from stack.ports.application import CRITICAL_PRIORITY
from stack.routing.bookings import Bookings
from stack.routing.config import RouterConfig
from stack.routing.forwarder import DONE, FAILURES_MAX, Forwarder
from stack.routing.queue import Queued

A, B, C, D = (f"ipn:{n}.0" for n in range(1, 5))
FOREVER = 10**12
BULK, NORMAL, EXPEDITED = range(3)
BARE = RouterConfig(overhead_bytes=0, overhead_ratio=0)
ROOM = 10**9


def chain(*contacts: tuple[str, str, int, int], rate: float = 8e3, sure: float = 1.0) -> Plan:
    """Contacts that carry an octet a millisecond."""
    return Plan([Contact(a, b, start, end, rate, sure) for a, b, start, end in contacts])


def forwarder(plan: Plan, **options: float) -> Forwarder:
    config = RouterConfig(overhead_bytes=0, overhead_ratio=0, **options)  # type: ignore[arg-type]
    return Forwarder(A, plan, config=config)


TWO_WAYS = chain((A, B, 0, 10_000), (B, D, 0, 10_000), (A, C, 5000, 10_000), (C, D, 0, 20_000))


def add(to: Forwarder, ref: int, size: int, priority: int = NORMAL, now_ms: int = 0) -> int:
    return to.add(ref, D, size, priority, FOREVER, now_ms)


# -- critical bundles ----------------------------------------------------------------------


def test_a_critical_bundle_goes_over_every_neighbour() -> None:
    waiting = forwarder(TWO_WAYS)
    assert add(waiting, 1, 500, CRITICAL_PRIORITY) == 0
    assert (waiting.bundles_waiting, waiting.bytes_waiting) == (2, 1000)
    assert waiting.take(B, ROOM, 10, 0) == [1]
    assert waiting.take(C, ROOM, 10, 0) == [1]
    assert not waiting.forwarded(1, B)
    assert waiting.bytes_waiting == 500
    assert waiting.forwarded(1, C)
    waiting.remove(1, 0)
    assert (waiting.bundles_waiting, waiting.bytes_waiting) == (0, 0)


def test_both_copies_are_booked() -> None:
    waiting = forwarder(TWO_WAYS)
    add(waiting, 1, 4000, CRITICAL_PRIORITY)
    books = waiting.router.books
    taken = [
        c.volume_bytes - books.residual_bytes(p, 2, 0) for p, c in enumerate(books.plan.contacts)
    ]
    assert taken == [4000] * 4


def test_copies_that_meet_are_booked_once_from_there_on() -> None:
    """Found by a random run of `test_machine.py`: both were booked on a contact for one."""
    waiting = forwarder(chain((A, B, 0, 1000), (A, B, 0, 3000), (A, B, 1000, 2000)))
    assert add(waiting, 1, 700, CRITICAL_PRIORITY) == 0
    assert list(waiting._unrouted) == [1]
    assert waiting.drain_all(0) == [1]
    waiting.set_plan(chain((A, B, 0, 1000), (A, C, 0, 1000), (C, D, 4000, 5000), (B, C, 0, 3000)))
    add(waiting, 1, 700, CRITICAL_PRIORITY)
    assert waiting.waiting(B)
    assert waiting.waiting(C)
    last = waiting.router.plan.contacts.index(Contact(C, D, 4000, 5000, 8e3))
    assert residual(waiting, last) == 300
    # While one of them is on its way the room is kept for it; with the last it is given back.
    assert waiting.take(C, ROOM, 10, 0) == [1]
    assert not waiting.forwarded(1, C)
    waiting.drain(B, 0)
    assert residual(waiting, last) == 300


def test_what_is_given_up_is_given_back_once() -> None:
    waiting = forwarder(
        chain((A, B, 0, 1000), (A, C, 0, 1000), (C, D, 4000, 5000), (B, C, 0, 3000))
    )
    add(waiting, 1, 700, CRITICAL_PRIORITY)
    last = waiting.router.plan.contacts.index(Contact(C, D, 4000, 5000, 8e3))
    waiting.drain(B, 0)
    assert residual(waiting, last) == 300
    waiting.drain(C, 0)
    assert residual(waiting, last) == 1000


def test_unlikely_copies_take_only_the_room_that_there_is() -> None:
    plan = chain((A, B, 0, 2000), (A, C, 0, 2000), (C, D, 4000, 5000), (B, C, 0, 3000), sure=0.5)
    waiting = forwarder(plan, confidence_wanted=1.0)
    add(waiting, 1, 700)
    assert (waiting.waiting(B), waiting.waiting(C)) == (False, True)
    waiting.remove(1, 0)
    add(waiting, 2, 400)
    assert (waiting.waiting(B), waiting.waiting(C)) == (True, True)
    last = plan.contacts.index(Contact(C, D, 4000, 5000, 8e3, 0.5))
    assert residual(waiting, last, NORMAL) == 200


def residual(of: Forwarder, place: int, priority: int = EXPEDITED) -> float:
    return of.router.books.residual_bytes(place, priority, 0)


def test_it_does_not_go_to_those_it_must_not() -> None:
    waiting = forwarder(TWO_WAYS)
    waiting.add(1, D, 500, CRITICAL_PRIORITY, FOREVER, 0, exclude=(C,))
    assert waiting.waiting(B)
    assert not waiting.waiting(C)


def test_who_has_a_copy_gets_no_other() -> None:
    waiting = forwarder(TWO_WAYS)
    add(waiting, 1, 500, CRITICAL_PRIORITY)
    assert waiting.take(B, ROOM, 10, 0) == [1]
    assert not waiting.forwarded(1, B)
    assert waiting.drain_all(0) == [1]
    assert add(waiting, 1, 500, CRITICAL_PRIORITY) == 0
    assert not waiting.waiting(B)
    assert waiting.take(C, ROOM, 10, 0) == [1]
    # On its way to C it is not taken back, and goes nowhere else.
    assert waiting.drain_all(0) == []
    assert waiting.forwarded(1, C)


def test_it_is_over_when_copies_have_left_and_no_more_can() -> None:
    waiting = forwarder(TWO_WAYS)
    add(waiting, 1, 500, CRITICAL_PRIORITY)
    assert waiting.take(B, ROOM, 10, 0) == [1]
    waiting.forwarded(1, B)
    assert waiting.drain(C, 10_000) == [1]
    assert add(waiting, 1, 500, CRITICAL_PRIORITY, now_ms=10_000) == DONE
    assert (waiting.bundles_waiting, waiting.bytes_waiting) == (0, 0)
    add(waiting, 2, 500, CRITICAL_PRIORITY, now_ms=10_000)  # of this one none has
    assert list(waiting._unrouted) == [2]


def test_a_returned_copy_waits_for_its_neighbour_and_in_the_end_gives_up() -> None:
    waiting = forwarder(TWO_WAYS)
    add(waiting, 1, 500, CRITICAL_PRIORITY)
    for _ in range(FAILURES_MAX):
        assert waiting.take(B, ROOM, 10, 0) == [1]
        waiting.returned([1], B)
    assert not waiting.waiting(B)
    assert waiting.bytes_waiting == 500
    assert waiting.take(C, ROOM, 10, 0) == [1]
    waiting.withdrawn([1], C)
    for _ in range(FAILURES_MAX):
        assert waiting.take(C, ROOM, 10, 0) == [1]
        # A critical bundle is for every neighbour, and has been with all.
        assert waiting.returned([1], C) == []
    assert list(waiting._unrouted) == [1]
    assert waiting.bytes_waiting == 500
    waiting.remove(1, 0)
    assert waiting.bytes_waiting == 0


def test_what_is_returned_too_often_steps_aside() -> None:
    waiting = forwarder(TWO_WAYS)
    add(waiting, 1, 500, 0)
    add(waiting, 2, 500, 0)
    (neighbour,) = (each for each in (B, C) if waiting.waiting(each))
    for _ in range(2):
        assert waiting.take(neighbour, 1, 1, 0) == [1]
        assert waiting.returned([1], neighbour) == []
    assert waiting.take(neighbour, ROOM, 10, 0) == [2, 1]
    for count in range(3, FAILURES_MAX + 1):
        assert waiting.returned([1], neighbour) == ([1] if count == FAILURES_MAX else [])
        assert waiting.take(neighbour, 1, 1, 0) == ([] if count == FAILURES_MAX else [1])


def test_what_has_failed_goes_after_all_others_whatever_its_priority() -> None:
    waiting = forwarder(TWO_WAYS)
    for ref in (1, 2):
        add(waiting, ref, 100, EXPEDITED)
    (neighbour,) = (each for each in (B, C) if waiting.waiting(each))
    for _ in range(2):
        assert waiting.take(neighbour, ROOM, 10, 0) == [1, 2]
        waiting.returned([1, 2], neighbour)
    add(waiting, 3, 100, BULK)
    assert sorted(waiting.drain_all(0)) == [1, 2, 3]
    for ref, priority in ((1, EXPEDITED), (2, EXPEDITED), (3, BULK)):
        add(waiting, ref, 100, priority)
    assert waiting.take(neighbour, ROOM, 10, 0) == [3, 1, 2]


def test_an_expired_critical_bundle_leaves_nothing() -> None:
    waiting = forwarder(TWO_WAYS)
    add(waiting, 1, 500, CRITICAL_PRIORITY)
    waiting.take(B, ROOM, 10, 0)
    waiting.remove(1, 0)
    assert (waiting.bundles_waiting, waiting.bytes_waiting) == (0, 0)
    assert waiting.take(C, ROOM, 10, 0) == []


def test_a_direct_neighbour_gets_it_once() -> None:
    waiting = Forwarder(A, TWO_WAYS, direct=(D,), config=BARE)
    add(waiting, 1, 500, CRITICAL_PRIORITY)
    assert waiting.bundles_waiting == 1
    assert waiting.take(D, ROOM, 10, 0) == [1]


def test_unlikely_ways_are_taken_together_until_they_are_likely_enough() -> None:
    contacts = [(A, n, 0, 9000) for n in (B, C, "ipn:5.0")]
    contacts += [(n, D, 0, 9000) for n in (B, C, "ipn:5.0")]
    plan = chain(*contacts, sure=0.9)  # each way 0.81; two of them 0.96; three 0.993
    for wanted, copies in ((0.8, 1), (0.9, 2), (0.96, 2), (0.99, 3), (1.0, 3)):
        waiting = forwarder(plan, confidence_wanted=wanted)
        add(waiting, 1, 100)
        assert waiting.bundles_waiting == copies
        assert waiting.drain_all(0) == [1]
        add(waiting, 1, 100)
        assert waiting.bundles_waiting == copies


# -- overbooking ---------------------------------------------------------------------------


def test_higher_priority_displaces_the_newest_of_the_lowest() -> None:
    waiting = forwarder(chain((A, D, 0, 1000), (A, D, 5000, 9000)))
    for ref, priority in ((1, BULK), (2, BULK), (3, NORMAL), (4, BULK)):
        add(waiting, ref, 250, priority)
    assert waiting.displaced == []
    add(waiting, 5, 300, EXPEDITED)
    assert waiting.displaced == [4, 2]
    waiting.displaced = []
    for ref in (4, 2):
        add(waiting, ref, 250, BULK)
    assert waiting.bytes_waiting == 1300
    assert waiting.take(D, ROOM, 10, 0) == [5, 3, 1, 4, 2]


def test_only_what_was_booked_on_that_contact_is_displaced() -> None:
    waiting = forwarder(chain((A, D, 0, 1000), (A, D, 5000, 9000)))
    add(waiting, 1, 900, BULK)
    add(waiting, 2, 900, BULK)  # the second contact
    add(waiting, 3, 900, NORMAL)
    assert waiting.displaced == [1]


def test_what_goes_late_displaces_neither_itself_nor_its_like() -> None:
    """They would displace one another for ever."""
    waiting = forwarder(chain((A, D, 0, 1000), (A, D, 5000, 9000)))
    for ref in (1, 2):
        add(waiting, ref, 300, NORMAL)
        for _ in range(2):
            waiting.take(D, ROOM, 1, 0)
            waiting.returned([ref], D)
    add(waiting, 3, 300, BULK)
    assert waiting.drain(D, 0) == [3, 1, 2]
    for ref in (3, 1, 2):
        add(waiting, ref, 300, BULK if ref == 3 else NORMAL)
    add(waiting, 4, 250, NORMAL)  # too much, if one who gives way is found
    assert waiting.displaced == [3]
    waiting.displaced = []
    add(waiting, 5, 900, EXPEDITED)
    assert waiting.displaced == [2, 1, 4]


def test_what_a_link_has_is_not_displaced() -> None:
    waiting = forwarder(chain((A, D, 0, 1000)))
    add(waiting, 1, 900, BULK)
    waiting.take(D, ROOM, 10, 0)
    add(waiting, 2, 900, EXPEDITED)
    assert waiting.displaced == []


def test_a_copy_can_be_displaced() -> None:
    plan = chain((A, B, 0, 1000), (B, D, 0, 2000), (A, C, 0, 1000), (C, D, 0, 2000), sure=0.9)
    waiting = forwarder(plan, confidence_wanted=0.9)
    add(waiting, 1, 600, NORMAL)
    assert waiting.bundles_waiting == 2
    waiting.add(2, B, 600, EXPEDITED, FOREVER, 0)
    assert waiting.displaced == [1]
    assert waiting.take(C, ROOM, 10, 0) == [1]


# -- contacts that no plan foresaw ---------------------------------------------------------


def test_a_discovered_contact_is_used_until_it_ends() -> None:
    waiting = forwarder(chain((A, D, 50_000, 60_000)))
    add(waiting, 1, 500)
    waiting.router.contact_discovered(B, math.inf, 0, 10_000, 0)
    assert waiting.drain_all(0) == [1]  # B has no way to D: nothing changes
    add(waiting, 1, 500)
    assert waiting.waiting(D)
    waiting.router.contact_discovered(D, 8e3, 1000, 3000, 0)
    assert waiting.drain_all(1000) == [1]
    add(waiting, 1, 500, now_ms=1000)
    add(waiting, 2, 1500, now_ms=1000)
    add(waiting, 3, 500, now_ms=1000)  # does not fit any more
    router = waiting.router
    route = router.route(D, 500, NORMAL, 1000, FOREVER)
    assert route is not None
    assert route.arrival_ms == 51_000  # behind the third
    assert waiting.router.contact_lost(D, 1500)
    assert not waiting.router.contact_lost(D, 1500)
    assert waiting.drain(D, 1500) == [1, 2, 3]
    for ref, size in ((1, 500), (2, 1500), (3, 500)):
        add(waiting, ref, size, now_ms=1500)
    assert waiting.bytes_waiting == 2500
    route = router.route(D, 500, NORMAL, 1500, FOREVER)
    assert route is not None
    assert route.arrival_ms == 53_000


def test_a_discovered_contact_leads_on_by_the_plan() -> None:
    waiting = forwarder(chain((B, D, 2000, 3000)))
    waiting.router.contact_discovered(B, 8e3, 0, 1500, 250_000_000)
    route = waiting.router.route(D, 100, NORMAL, 0, FOREVER)
    assert route is not None
    assert (route.next_hop, route.sent_ms, route.arrival_ms) == (B, 100, 2100)
    assert route.hops[0] < 0
    assert route.contacts[0].destination == B


def test_discovered_contacts_outlive_a_plan_and_keep_their_bookings() -> None:
    waiting = forwarder(Plan())
    waiting.router.contact_discovered(D, 8e3, 0, 1000, 0)
    add(waiting, 1, 600)
    waiting.set_plan(chain((A, D, 9000, 9900)))
    route = waiting.router.route(D, 500, NORMAL, 0, FOREVER)
    assert route is not None
    assert route.arrival_ms == 9500
    assert waiting.drain_all(0) == [1]
    route = waiting.router.route(D, 500, NORMAL, 0, FOREVER)
    assert route is not None
    assert route.arrival_ms == 500


def test_of_a_planned_and_a_discovered_contact_that_which_lasts_is_taken() -> None:
    for until_ms in (1000, 3000):
        waiting = forwarder(chain((A, D, 0, 2000)))
        waiting.router.contact_discovered(D, 8e3, 0, until_ms, 0)
        route = waiting.router.route(D, 100, NORMAL, 0, FOREVER)
        assert route is not None
        assert route.until_ms == max(2000, until_ms)


def test_a_neighbour_met_again_is_met_once() -> None:
    waiting = forwarder(Plan())
    waiting.router.contact_discovered(D, 8e3, 0, 1000, 0)
    waiting.router.contact_discovered(D, 16e3, 500, 2000, 0)
    assert len(waiting.router.books.discovered) == 1
    waiting.router.contact_discovered(C, 16e3, 5000, 6000, 0)  # by now the other is over
    assert len(waiting.router.books.discovered) == 1
    with pytest.raises(ConfigError):
        waiting.router.contact_discovered(D, 8e3, 1000, 1000, 0)


def test_a_discovered_contact_can_fail_and_come_back() -> None:
    waiting = forwarder(chain((A, D, 50_000, 60_000)))
    waiting.router.contact_discovered(D, 8e3, 0, 10_000, 0)
    waiting.contact_failed(D, 100)
    route = waiting.router.route(D, 500, NORMAL, 100, FOREVER)
    assert route is not None
    assert route.arrival_ms == 50_500
    assert waiting.contact_restored(D)
    route = waiting.router.route(D, 500, NORMAL, 100, FOREVER)
    assert route is not None
    assert route.arrival_ms == 600


# -- overhead ------------------------------------------------------------------------------


def test_overhead_is_booked_with_every_bundle() -> None:
    waiting = Forwarder(A, chain((A, D, 0, 1000), (A, D, 5000, 9000)))
    for ref in range(1, 6):
        add(waiting, ref, 100)  # 200 octets each, SABR §2.4.3
    add(waiting, 6, 100)
    arrivals = [entry.route.arrival_ms for entry in waiting._queue.waiting(D) if entry.route]
    assert arrivals == [200, 400, 600, 800, 1000, 5200]


# -- one of many fails -----------------------------------------------------------------------


def test_what_cannot_be_taken_leaves_the_others_to_the_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = forwarder(TWO_WAYS)
    for ref in (1, 2, 3, 4):
        waiting.add(ref, D, 100, NORMAL, FOREVER if ref != 2 else 4000, 0)
    real = Forwarder._step_aside

    def planted(self: Forwarder, ref: int, entry: Queued) -> bool:
        if ref == 2:
            raise ValueError("planted")
        return real(self, ref, entry)

    monkeypatch.setattr(Forwarder, "_step_aside", planted)
    assert waiting.take(B, ROOM, 10, 5000) == [1, 3, 4]
    ((ref, error),) = waiting.troubled
    assert (ref, str(error)) == (2, "planted")
    waiting.remove(2, 5000)
    assert (waiting.bundles_waiting, waiting.bytes_waiting) == (3, 300)


def test_a_copy_that_nobody_owns_stops_no_other() -> None:
    waiting = forwarder(TWO_WAYS)
    add(waiting, 1, 100, CRITICAL_PRIORITY)
    add(waiting, 2, 100)
    del waiting._copies._owner[waiting._copies.ticket(1, B)]
    assert waiting.take(B, ROOM, 10, 0) == [2]
    assert waiting.bytes_waiting == 200  # the other copy, and what was taken


def test_a_booking_that_cannot_be_given_back_does_not_keep_what_is_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = forwarder(TWO_WAYS)
    add(waiting, 1, 100, CRITICAL_PRIORITY)

    def planted(self: Bookings, entry: Queued, now_ms: int) -> None:
        raise ValueError("planted")

    monkeypatch.setattr(Bookings, "release", planted)
    with pytest.raises(ValueError, match="planted"):
        waiting.remove(1, 0)
    assert (waiting.bundles_waiting, waiting.bytes_waiting) == (0, 0)
    assert waiting.take(B, ROOM, 10, 0) == waiting.take(C, ROOM, 10, 0) == []
    assert 1 not in waiting._copies


# -- what is said of what ------------------------------------------------------------------


def test_an_acknowledgement_of_a_copy_that_was_not_given_means_nothing() -> None:
    waiting = forwarder(TWO_WAYS)
    add(waiting, 1, 500, CRITICAL_PRIORITY)
    assert not waiting.forwarded(1, B)
    assert not waiting.forwarded(1, "ipn:9.0")
    assert waiting.take(B, ROOM, 10, 0) == [1]
    assert waiting.given_to(1) == [B]
    assert not waiting.forwarded(1, B)
    assert waiting.given_to(1) == []
    assert waiting.take(C, ROOM, 10, 0) == [1]
    assert waiting.forwarded(1, C)
    assert waiting.bytes_waiting == 0


@pytest.mark.parametrize(("expires_ms", "goes"), [(99, False), (100, False), (101, True)])
def test_what_has_expired_steps_aside(expires_ms: int, goes: bool) -> None:
    waiting = forwarder(TWO_WAYS)
    waiting.add(1, B, 500, NORMAL, 10_000, 0)
    waiting.add(2, B, 400, NORMAL, 10_000, 0)
    (entry, _) = waiting._queue.waiting(B)
    waiting._queue.remove(1)
    waiting._queue.requeue(entry._replace(expires_ms=expires_ms))
    assert waiting.take(B, ROOM, 10, 100) == [1, 2][not goes :]
    assert list(waiting._unrouted) == ([] if goes else [1])
    assert waiting.bytes_waiting == 900
    assert waiting.bundles_waiting == 2


def test_a_link_takes_as_much_as_it_has_room_for_and_one_more() -> None:
    for room, limit, count in ((0, 10, 0), (1, 10, 1), (100, 10, 1), (101, 10, 2), (999, 2, 2)):
        waiting = Forwarder(A, Plan(), direct=(B,))
        for ref in range(1, 6):
            waiting.add(ref, B, 100, NORMAL, FOREVER, 0)
        assert waiting.bytes_for(B) == 500
        assert waiting.take(B, room, limit, 0) == list(range(1, count + 1))
        assert waiting.bytes_for(B) == 500 - 100 * count
        assert waiting.bytes_waiting == 500, "until it is acknowledged"
        waiting.withdrawn(range(1, count + 1), B)
        assert waiting.bytes_for(B) == 500
        assert [waiting.failures(ref) for ref in range(1, 6)] == [0] * 5
        assert waiting.take(B, ROOM, 10, 0) == [1, 2, 3, 4, 5], "in the order in which they came"


def test_what_is_removed_is_forgotten() -> None:
    for taken in (False, True):
        waiting = forwarder(chain((A, D, 0, 1000)))
        add(waiting, 1, 600)
        add(waiting, 2, 600)  # no room
        assert waiting.stranded == 1
        if taken:
            assert waiting.take(D, ROOM, 1, 0) == [1]
            waiting.returned([1], D)
            assert waiting.failures(1) == 1
            assert waiting.take(D, ROOM, 1, 0) == [1]
        assert residual(waiting, 0) == 1000
        assert residual(waiting, 0, NORMAL) == 400
        waiting.remove(1, 0)
        assert waiting.failures(1) == 0
        assert residual(waiting, 0, NORMAL) == (400 if taken else 1000), "used, or given back"
        assert (waiting.bundles_waiting, waiting.bytes_waiting) == (1, 600)
        waiting.remove(2, 0)
        waiting.remove(2, 0)
        assert (waiting.bundles_waiting, waiting.bytes_waiting) == (0, 0)


def test_what_no_plan_knows_goes_by_the_default_neighbour() -> None:
    waiting = Forwarder(A, TWO_WAYS, default=C, config=BARE)
    assert waiting.add(1, "ipn:99.0", 500, NORMAL, FOREVER, 0) == 0
    assert waiting.take(C, ROOM, 10, 0) == [1]
    waiting.add(2, "ipn:99.0", 500, NORMAL, FOREVER, 0, exclude=(C,))
    assert list(waiting._unrouted) == [2]
    waiting.add(3, "ipn:99.0", 500, CRITICAL_PRIORITY, FOREVER, 0)
    assert waiting.take(C, ROOM, 10, 0) == [3]
    add(waiting, 4, 500)
    assert waiting.waiting(B), "the plan knows a way"


@pytest.mark.parametrize(
    ("size", "left", "part"),
    [
        (4096, 4000, 0),  # too small to be divided
        (4097, 4095, 0),  # what is left is too small
        (4097, 4096, 4096),  # not in crumbs
        (20_000, 10_000, 9000),
        (10_001, 10_000, 9000),
        (10_000, 10_000, 0),
    ],
)
def test_what_of_a_large_bundle_would_fit(size: int, left: int, part: int) -> None:
    waiting = forwarder(chain((A, D, 0, left)))
    assert add(waiting, 1, size) == part
    assert waiting.stranded == (size > left)
    assert waiting.bytes_waiting == size


def test_what_steps_aside_in_the_end_is_tried_again_as_often() -> None:
    waiting = Forwarder(A, Plan(), direct=(B,))
    waiting.add(1, B, 100, NORMAL, FOREVER, 0)
    for turn in range(2):
        for count in range(1, FAILURES_MAX + 1):
            assert waiting.take(B, ROOM, 1, 0) == [1]
            assert waiting.returned([1], B) == [1] * (count == FAILURES_MAX)
            assert waiting.failures(1) == turn * FAILURES_MAX + count
        assert list(waiting._unrouted) == [1]
        assert waiting.drain(B, 0) == [1]
        waiting.add(1, B, 100, NORMAL, FOREVER, 0)
    assert waiting.returned([7], B) == [], "it was not given"


def test_a_contact_that_failed_comes_back_where_it_was() -> None:
    waiting = forwarder(chain((A, D, 0, 1000), (A, D, 5000, 9000)))
    add(waiting, 1, 600)
    waiting.contact_failed(D, 10)
    waiting.contact_failed(D, 10)
    assert waiting.drain(D, 10) == [1]
    add(waiting, 1, 600, now_ms=10)
    assert residual(waiting, 0, NORMAL) == 0
    assert residual(waiting, 1, NORMAL) == 3400
    assert not waiting.contact_restored(C)
    assert waiting.contact_restored(D)
    assert not waiting.contact_restored(D), "once"
    assert residual(waiting, 0, NORMAL) == 990
