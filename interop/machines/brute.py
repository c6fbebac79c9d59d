"""Routing by trying everything: slow, short, and not at all like the router."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fractions import Fraction

from stack.contacts.plan import Contact, Plan

MS = 1_000_000


def light_ns(plan: Plan, contact: Contact, sent_ns: int) -> int:
    """The light time for what leaves at `sent_ns`: the last range that has begun, or the first."""
    ranges = [
        r for r in plan.ranges if (r.source, r.destination) == (contact.source, contact.destination)
    ]
    begun = [r for r in ranges if r.start_ms * MS <= sent_ns]
    if begun:
        return begun[-1].owlt_ns
    return ranges[0].owlt_ns if ranges else 0


def reach_ns(plan: Plan, contact: Contact, sent_ns: int) -> int:
    """Arrival of what leaves at `sent_ns`: nothing overtakes what left before it in the contact."""
    arrivals = [sent_ns + light_ns(plan, contact, sent_ns)]
    for step in plan.ranges:
        if (step.source, step.destination) == (contact.source, contact.destination):
            at_ns = step.start_ms * MS
            if contact.start_ms * MS < at_ns <= sent_ns:
                arrivals.append(at_ns + light_ns(plan, contact, at_ns - 1))
    return max(arrivals)


def duration_ns(contact: Contact, size: int) -> int:
    """Nanoseconds that `size` octets take, rounded up."""
    if contact.rate_bps == float("inf"):
        return 0
    exact = Fraction(size * 8 * 10**9) / Fraction(contact.rate_bps)
    return -(-exact.numerator // exact.denominator)


def through(
    plan: Plan, contact: Contact, at_ns: int, size: int, free_ns: int | None = None
) -> int | None:
    """When a bundle that is at the source at `at_ns` is at the destination, if it fits."""
    start_ns = contact.start_ms * MS
    begin_ns = max(at_ns, start_ns, free_ns or 0)
    sent_ns = begin_ns + duration_ns(contact, size)
    if begin_ns >= contact.end_ms * MS or sent_ns > contact.end_ms * MS:
        return None
    return reach_ns(plan, contact, sent_ns)


def routes(
    plan: Plan,
    origin: str,
    target: str,
    size: int,
    at_ns: int,
    free: dict[int, int] | None = None,
    barred: Collection[int] = (),
    exclude: Collection[str] = (),
    margin_ns: int = 0,
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Every loop-free way: its arrival and its contacts."""
    free = free or {}

    def walk(
        node: str, t: int, seen: tuple[str, ...], used: tuple[int, ...]
    ) -> Iterator[tuple[int, tuple[int, ...]]]:
        if node == target and used:
            yield t, used
            return
        for place, contact in enumerate(plan.contacts):
            if contact.source != node or contact.destination in seen or place in barred:
                continue
            if not used and contact.destination in exclude:
                continue
            arrival = through(plan, contact, t, size, free.get(place))
            if arrival is not None:
                arrival += margin_ns
                yield from walk(
                    contact.destination, arrival, (*seen, contact.destination), (*used, place)
                )

    return walk(origin, at_ns, (origin,), ())


def key(plan: Plan, route: tuple[int, tuple[int, ...]]) -> tuple[int, int, int, tuple[int, str]]:
    """SABR's order (CCSDS 734.3-B-1 §3.2.8.1.4 a): arrival, hops, latest termination, smallest
    entry node; for nodes named ``ipn:N.0`` with few digits."""
    arrival, used = route
    entry = plan.contacts[used[0]].destination
    end = min(plan.contacts[place].end_ms for place in used)
    return arrival, len(used), -end * MS, (len(entry), entry)


def ordered(
    plan: Plan,
    origin: str,
    target: str,
    size: int,
    at_ns: int,
    margin_ns: int = 0,
    *,
    free: dict[int, int] | None = None,
) -> list[tuple[int, tuple[int, ...]]]:
    """All ways in SABR's order."""
    found = routes(plan, origin, target, size, at_ns, free, margin_ns=margin_ns)
    return sorted(found, key=lambda route: key(plan, route))


def best(
    plan: Plan,
    origin: str,
    target: str,
    size: int,
    at_ns: int,
    free: dict[int, int] | None = None,
    barred: Collection[int] = (),
    exclude: Collection[str] = (),
) -> tuple[int, int] | None:
    """Earliest arrival (ns), and the fewest hops with which it can be had."""
    found = [
        (arrival, len(used))
        for arrival, used in routes(plan, origin, target, size, at_ns, free, barred, exclude)
    ]
    return min(found, default=None)
