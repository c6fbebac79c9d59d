"""What a search has found, without the bundle, and the reckoning of a bundle along it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from stack.contacts.plan import Contact
from stack.core.clock import MILLISECOND
from stack.routing.books import Books
from stack.routing.config import RouterConfig
from stack.routing.graph import NEVER_NS, Hop, Label, hops_of
from stack.routing.route import Route


class Path(NamedTuple):
    """A way as it was found."""

    bound_ns: int
    """The arrival then: no later bundle of this size or above arrives earlier."""

    places: tuple[int, ...]
    contacts: tuple[Contact, ...]
    next_hop: str
    until_ms: int
    plan_version: int
    hops: tuple[Hop, ...]
    stops: tuple[int, ...]
    """By when a bundle must have left on each contact to make those after it (ns): the
    effective stop times of SABR §3.2.6.8.6, and the light time besides."""


def path_of(label: Label, books: Books, margin_ns: int) -> Path:
    """The path that a search has found."""
    hops = hops_of(label)
    contacts = tuple(books.contact(hop[0]) for hop in hops)
    stops: list[int] = []
    stop = NEVER_NS
    for _, _, end, _, owlt_ns, drift in reversed(hops):
        light_ns = owlt_ns if drift is None else min(drift.owlts)
        stop = min(end, stop - light_ns - margin_ns)
        stops.append(stop)
    stops.reverse()
    return Path(
        label[0],
        tuple(hop[0] for hop in hops),
        contacts,
        contacts[0].destination,
        min(contact.end_ms for contact in contacts),
        books.plan_version,
        hops,
        tuple(stops),
    )


def reckoned(
    path: Path,
    clocks: Mapping[int, list[int]],
    config: RouterConfig,
    size_bytes: int,
    level: int,
    now_ns: int,
    deadline_ns: int,
) -> Route | None:
    """The route of a bundle along a path; None when it does not fit, or arrives too late or so
    much later than it might that another way may be better."""
    margin_ns = config.margin_ms * MILLISECOND
    clocks_of = clocks.get
    at_ns = now_ns
    first_sent = -1
    volume = math.inf
    for (place, begin, end, ns_per_byte, owlt_ns, drift), stop in zip(
        path.hops, path.stops, strict=True
    ):
        free = clocks_of(place)
        if free is not None:
            begin = free[level]
        if begin < at_ns:
            begin = at_ns
        sent = begin + math.ceil(size_bytes * ns_per_byte)
        if sent > end or begin >= end:
            return None
        if ns_per_byte:
            room = (stop - begin) / ns_per_byte
            if room < volume:
                volume = room
        if first_sent < 0:
            first_sent = sent
        at_ns = (sent + owlt_ns if drift is None else drift.reach(sent)) + margin_ns
    bound_ns = path.bound_ns
    if at_ns > bound_ns:
        late_ns = at_ns - bound_ns
        if at_ns > deadline_ns or (
            late_ns > config.tolerance_ms * MILLISECOND
            and late_ns > config.tolerance_ratio * (bound_ns - now_ns)
        ):
            return None
    return Route(
        path.places,
        path.contacts,
        path.next_hop,
        first_sent // MILLISECOND,
        -(-at_ns // MILLISECOND),
        volume,
        path.until_ms,
        path.plan_version,
    )


def likelihood(label: Label, books: Books) -> float:
    """How likely it is that all contacts of a way take place."""
    return math.prod(books.contact(hop[0]).confidence for hop in hops_of(label))
