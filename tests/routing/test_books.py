"""The books of contacts: what is booked, given back, met and lost, to the very millisecond."""

from __future__ import annotations

import math

import pytest

from stack.contacts.plan import Contact, Plan, Range
from stack.core.errors import ConfigError
from stack.routing.books import Books
from stack.routing.copies import CopyTable
from stack.routing.graph import ContactGraph, Drift, _Index, hop_of, priority_level
from stack.routing.router import Router, RouterConfig

A, B, C, D = (f"ipn:{n}.0" for n in range(1, 5))
MS = 1_000_000
FOREVER = 10**12
EXACT = RouterConfig(tolerance_ms=0, tolerance_ratio=0)


def chain(*contacts: tuple[str, str, int, int], rate: float = 8e3) -> Plan:
    """Contacts that carry an octet a millisecond."""
    return Plan([Contact(a, b, start, end, rate) for a, b, start, end in contacts])


def router(*contacts: tuple[str, str, int, int], rate: float = 8e3) -> Router:
    return Router(chain(*contacts, rate=rate), A, config=EXACT)


def left(of: Router, place: int, now_ms: int = 0) -> list[float]:
    """What a contact can still take, by priority."""
    return [of.books.residual_bytes(place, priority, now_ms) for priority in range(3)]


@pytest.mark.parametrize(("priority", "level"), [(-1, 0), (0, 0), (1, 1), (2, 2), (3, 2), (99, 2)])
def test_levels(priority: int, level: int) -> None:
    assert priority_level(priority) == level


def test_a_booking_counts_at_its_priority_and_below_and_is_given_back_whole() -> None:
    for priority in range(3):
        one = router((A, B, 1000, 2000), (B, C, 1500, 3000))
        route = one.route(C, 400, priority, 0, FOREVER)
        assert route is not None
        one.book(route, 400, priority, 0)
        for place, volume in ((0, 1000), (1, 1500)):
            booked = [volume - 400] * (priority + 1) + [volume] * (2 - priority)
            assert left(one, place) == booked
        version = one.books.version
        one.release(route, 400, priority, 0)
        assert left(one, 0) == [1000] * 3
        assert left(one, 1) == [1500] * 3
        assert one.books.version > version, "there may be a better way now"


def test_only_what_is_to_come_of_a_booking_is_given_back() -> None:
    for now_ms, given in ((0, 400), (999, 400), (1000, 400), (1001, 399), (1399, 1), (1400, 0)):
        one = router((A, B, 1000, 2000), (B, C, 1500, 3000))
        route = one.route(C, 400, 0, 0, FOREVER)
        assert route is not None
        assert route.sent_ms == 1400
        one.book(route, 400, 0, 0)
        one.release(route, 400, 0, now_ms)
        assert one.books.clocks[0][0] == (1400 - given) * MS
        assert one.books.clocks[1][0] == 1500 * MS, "the relay has not begun"


def test_what_is_over_gives_nothing_back() -> None:
    one = router((A, B, 0, 1000), (A, B, 2000, 3000))
    route = one.route(B, 400, 0, 0, FOREVER)
    assert route is not None
    one.book(route, 400, 0, 0)
    version = one.books.version
    one.release(route, 400, 0, 1000)
    assert one.books.version == version
    assert left(one, 0, 1000) == [0, 0, 0]
    assert left(one, 0, 999) == [1, 1, 1]


def test_time_that_passes_unbooked_is_lost() -> None:
    one = router((A, B, 0, 1000))
    assert left(one, 0, 250) == [750] * 3
    route = one.route(B, 100, 0, 250, FOREVER)
    assert route is not None
    one.book(route, 100, 0, 250)
    assert left(one, 0, 250) == [650, 750, 750]
    assert left(one, 0, 300) == [650, 700, 700]


def test_how_much_is_too_much() -> None:
    for high, over in ((599, 0), (600, 0), (601, 1), (900, 300)):
        one = router((A, B, 0, 1000))
        for size, priority in ((400, 0), (high, 2)):
            route = one.route(B, size, priority, 0, FOREVER)
            assert route is not None
            one.book(route, size, priority, 0)
        assert one.books.overbooked_bytes(0) == over
        assert one.books.overbooked_bytes(0, 2) == 0
    free = router((A, B, 0, 1000), rate=math.inf)
    free.contact_failed(0)
    assert free.books.overbooked_bytes(0) == 0


def test_a_contact_that_failed_has_no_room_and_comes_back_with_its_bookings() -> None:
    one = router((A, B, 0, 1000))
    route = one.route(B, 400, 0, 0, FOREVER)
    assert route is not None
    one.book(route, 400, 0, 0)
    one.contact_failed(0)
    assert left(one, 0) == [0, 0, 0]
    one.contact_failed(0)
    one.release(route, 100, 0, 0)
    version = one.books.version
    one.contact_restored(0)
    assert one.books.version == version + 1
    assert left(one, 0) == [700, 1000, 1000]
    one.contact_restored(0)
    assert one.books.version == version + 1


def test_what_is_under_way() -> None:
    books = Books(chain((A, B, 100, 200), (A, C, 100, 200), (B, A, 100, 200)))
    met = books.discover(Contact(A, B, 150, 180, 8e3), 0)
    for now_ms, planned, discovered in (
        (99, False, False),
        (100, True, False),
        (149, True, False),
        (150, True, True),
        (179, True, True),
        (180, True, False),
        (199, True, False),
        (200, False, False),
    ):
        found = [place for place, _ in books.under_way(A, B, now_ms)]
        assert found == [0] * planned + [met] * discovered
    assert [contact for _, contact in books.under_way(A, B, 150)] == [
        books.contact(0),
        books.contact(met),
    ]


def test_what_is_met_and_lost() -> None:
    books = Books(Plan())
    first = books.discover(Contact(A, B, 0, 1000, 8e3), 5)
    assert (first, books.plan_version > 0, books.version > 0) == (-1, True, True)
    assert books.place_of(first, books.contact(first)) == first
    versions = books.plan_version, books.version
    assert not books.lose(B, A, 10)
    assert not books.lose(A, C, 10)
    assert (books.plan_version, books.version) == versions
    second = books.discover(Contact(A, C, 0, 500, 8e3), 5)
    assert second == -2
    versions = books.plan_version, books.version
    assert not books.lose(B, A, 499)
    assert (books.plan_version, books.version) == versions
    assert not books.lose(B, A, 500), "over, but not that which was asked for"
    assert list(books.discovered) == [first]
    assert books.plan_version > versions[0]
    assert books.version > versions[1]
    assert books.place_of(second, Contact(A, C, 0, 500, 8e3)) is None
    assert books.lose(A, B, 10)
    assert not books.lose(A, B, 10)
    assert books.discover(Contact(A, B, 0, 1000, 8e3), 5) == -3, "never used again"
    with pytest.raises(ConfigError, match=r"^contact"):
        books.discover(Contact(A, B, 5, 5, 8e3), 0)


def test_the_light_time_of_a_contact_that_was_met() -> None:
    one = Router(Plan(), A, config=EXACT)
    place = one.contact_discovered(B, 8e3, 100, 1000, 250 * MS)
    route = one.route(B, 100, 0, 0, FOREVER)
    assert route is not None
    assert (route.sent_ms, route.arrival_ms, route.until_ms) == (200, 450, 1000)
    one.book(route, 100, 0, 0)
    assert left(one, place) == [800, 900, 900]
    assert one.contact_lost(B, 200)
    one.release(route, 100, 0, 200)
    assert one.books.clocks == {}
    assert not one.contact_lost(B, 200)


def test_what_a_plan_has_is_worked_out_once() -> None:
    plan = chain((A, B, 0, 1000))
    assert _Index.of(plan) is _Index.of(plan)
    assert ContactGraph.of(plan) is ContactGraph.of(plan)
    assert ContactGraph.of(plan).fan(A) is ContactGraph.of(plan).fan(A)
    for n in range(10):
        assert not ContactGraph.of(plan).fan(f"dtn://{n}/").hops
    assert list(ContactGraph.of(plan)._fans) == [A], "names that anybody makes up"


def test_who_has_a_long_lasting_contact_in_time() -> None:
    plan = Plan(
        [
            Contact(A, B, 0, 1000, 8e3),
            Contact(A, B, 500, 3000, 8e3),
            Contact(A, C, 0, 2000, 8e3),
            Contact(A, D, 1500, 9000, 8e3),
        ]
    )
    fan = ContactGraph.of(plan).fan(A)
    assert fan.lasting(1499 * MS, 2000 * MS) == {B}
    assert fan.lasting(1500 * MS, 2000 * MS) == {B, D}
    assert fan.lasting(1500 * MS, 2000 * MS - 1) == {B, C, D}
    assert fan.lasting(499 * MS, 1000 * MS) == {C}
    assert fan.lasting(0, 9000 * MS) == set()


def test_light_that_changes_overtakes_nothing() -> None:
    drift = Drift(
        [
            Range(A, B, 100, 200, 30 * MS),
            Range(A, B, 200, 300, 10 * MS),
            Range(A, B, 300, 400, 40 * MS),
        ]
    )
    times = (0, 100, 199, 200, 219, 220, 221, 299, 300)
    assert [drift.reach(sent * MS) // MS for sent in times] == [
        30,
        130,
        229,
        230,
        230,
        230,
        231,
        309,
        340,
    ]
    assert hop_of(3, Contact(A, B, 1, 2, 8e9), 7, drift) == (3, MS, 2 * MS, 1.0, 7, drift)


def test_copies_are_counted_by_way() -> None:
    table = CopyTable()
    assert (table.ticket(7, B), tuple(table.tickets(7)), table.knows(7, B)) == (7, (), False)
    first, second = table.add(7, B), table.add(7, C)
    assert (first, second) == (-1, -2)
    assert [table.ref(ticket) for ticket in (first, second)] == [7, 7]
    assert [table.ticket(7, node) for node in (B, C, D)] == [first, second, 0]
    assert tuple(table.tickets(7)) == (first, second)
    assert [table.knows(7, node) for node in (B, C, D)] == [True, True, False]
    one, two = Contact(A, B, 0, 1, 1), Contact(B, D, 0, 1, 1)
    assert list(table.booked(first, (one, two))) == []
    assert list(table.booked(second, (two,))) == [two]
    assert list(table.released(first, (one, two))) == [two], "the other still needs it"
    assert list(table.released(second, (two,))) == []
    assert not table.served(7, B)
    assert table.knows(7, B), "it has its copy"
    assert table.drop(second) == 7
    assert not table.knows(7, C)
    assert 7 in table
    assert table.forget(7), "one had left"
    assert not table.forget(7)
    assert 7 not in table
    assert table.add(8, B) == -3, "tickets are never used again"
    assert not table.forget(8)
    assert table._owner == {}
