"""The contact plan: who can send to whom, when, how fast, and how long light takes.

A `Plan` is an immutable value.  Times are DTN milliseconds (absolute), light times are
nanoseconds, nodes are node-id strings (``dtn://gs1/``, ``ipn:5.0``).  Contacts and ranges have a
direction.  Contacts of one pair may overlap: each is then a link of its own.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import attrgetter
from typing import Any

from stack.contacts.light_time import NO_LIGHT_TIME, LightTime
from stack.core.errors import ConfigError

CONTACTS_MAX = 1_000_000
"""Most contacts of a plan: a thousand satellites over a hundred stations for a week."""

RANGES_MAX = 8_000_000
"""Most ranges of a plan: second-by-second light times of some ten thousand passes."""

NODE_ID_CHARS_MAX = 1024
"""Longest node id: longer than any that a bundle's primary block sensibly holds."""

TIME_MS_MAX = 250_000_000_000_000
"""Latest time of a plan, in the year 9922: what lies after it is a unit mistaken."""

RATE_BPS_MAX = 1e15
"""Fastest link, a petabit per second; `math.inf` stands for no limit."""

FILE_BYTES_MAX = 512 * 1024 * 1024
"""Largest contact plan file that is read: a million contacts with light times in JSON."""

OWLT_NS_MAX = 86_400_000_000_000
"""Longest light time: one day, four times the distance of the farthest spacecraft."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A period in which `source` can transmit to `destination`, half open: [start, end)."""

    source: str
    destination: str
    start_ms: int
    """DTN time at which the first octet can leave `source`."""

    end_ms: int
    """DTN time by which the last octet must have left `source`."""

    rate_bps: float
    """Bits per second of bundles; `math.inf` when nothing limits it."""

    confidence: float = 1.0
    """Likelihood that the contact takes place, from 0 to 1 (1: it is scheduled)."""

    owner: str = ""
    """Who operates the link; empty when it does not matter."""

    jurisdiction: str = ""
    """Under whose law the link lies; empty when it does not matter."""

    @property
    def volume_bytes(self) -> float:
        """Octets that the whole contact can carry."""
        return (self.end_ms - self.start_ms) * self.rate_bps / 8000


@dataclass(frozen=True, slots=True)
class Range:
    """A period in which light takes `owlt_ns` from `source` to `destination`: [start, end)."""

    source: str
    destination: str
    start_ms: int
    end_ms: int
    owlt_ns: int
    """One-way light time in nanoseconds, for a signal that leaves within the period."""


_CONTACT_ORDER = attrgetter(
    "start_ms",
    "source",
    "destination",
    "end_ms",
    "rate_bps",
    "confidence",
    "owner",
    "jurisdiction",
)
_RANGE_ORDER = attrgetter("source", "destination", "start_ms", "end_ms")
_SOURCE = attrgetter("source")
_DESTINATION = attrgetter("destination")


def check_contact(contact: Contact, key: str) -> None:
    """Raise `ConfigError` at `key` unless every field of the contact makes sense."""
    _check_period(contact, key)
    if not (0 < contact.rate_bps <= RATE_BPS_MAX or contact.rate_bps == math.inf):
        raise ConfigError(f"{key}.rate_bps", f"{contact.rate_bps} is not a rate", "use bits/s > 0")
    if not 0 <= contact.confidence <= 1:
        raise ConfigError(f"{key}.confidence", f"{contact.confidence} is not in 0..1")


def check_range(entry: Range, key: str) -> None:
    """Raise `ConfigError` at `key` unless every field of the range makes sense."""
    _check_period(entry, key)
    if not 0 <= entry.owlt_ns <= OWLT_NS_MAX:
        raise ConfigError(
            f"{key}.owlt_ns", f"{entry.owlt_ns} is no light time", f"use 0..{OWLT_NS_MAX} ns"
        )


def _check_period(entry: Contact | Range, key: str) -> None:
    for name, node in (("source", entry.source), ("destination", entry.destination)):
        if not 0 < len(node) <= NODE_ID_CHARS_MAX or not node.isprintable() or " " in node:
            raise ConfigError(
                f"{key}.{name}", f"{node[:80]!r} is not a node id", "write dtn://name/ or ipn:N.0"
            )
    if entry.source == entry.destination:
        raise ConfigError(f"{key}.destination", f"{entry.source} would talk to itself")
    if not 0 <= entry.start_ms <= TIME_MS_MAX:
        raise ConfigError(f"{key}.start_ms", f"{entry.start_ms} is not a DTN time in ms")
    if not entry.start_ms < entry.end_ms <= TIME_MS_MAX:
        raise ConfigError(
            f"{key}.end_ms",
            f"ends at {entry.end_ms}, begins at {entry.start_ms}",
            "an end comes after its start",
        )


class _Pair:
    """The contacts of one direction, by start, ready for bisection."""

    __slots__ = ("changes", "contacts", "latest_end", "starts")

    def __init__(self, contacts: list[Contact]) -> None:
        self.contacts = contacts
        self.starts = [contact.start_ms for contact in contacts]
        # Overlapping contacts may end out of order; the running maximum is sorted again.
        self.latest_end = list(accumulate((contact.end_ms for contact in contacts), max))
        self.changes = sorted({*self.starts, *(contact.end_ms for contact in contacts)})

    def active(self, at_ms: int) -> Iterator[Contact]:
        first = bisect_right(self.latest_end, at_ms)
        for i in range(first, bisect_right(self.starts, at_ms)):
            if self.contacts[i].end_ms > at_ms:
                yield self.contacts[i]


class Plan:
    """Contacts and ranges, checked and sorted; every change makes a new plan.

    Raises `ConfigError` naming the entry (by its place in what was passed) that is wrong, also
    for ranges of one direction that overlap with different light times.  Ranges that touch and
    agree are joined.
    """

    __slots__ = (
        "_by_source",
        "_inbound",
        "_light",
        "_outbound",
        "_pairs",
        "_spans",
        "contacts",
        "derived",
        "ranges",
    )

    contacts: tuple[Contact, ...]
    """Sorted by start, source, destination, end, and the rest; routes name them by place."""

    ranges: tuple[Range, ...]
    """Sorted by source, destination, start; disjoint within a direction."""

    derived: dict[object, Any]
    """What others have worked out of this plan, each under a key of its own, so that all who
    share a plan share that too: a plan never changes."""

    def __init__(self, contacts: Iterable[Contact] = (), ranges: Iterable[Range] = ()) -> None:
        taken: list[Contact] = []
        for contact in contacts:
            check_contact(contact, f"contacts[{len(taken)}]")
            taken.append(contact)
            if len(taken) > CONTACTS_MAX:
                raise ConfigError("contacts", f"more than {CONTACTS_MAX}", "split the plan")
        spans: list[Range] = []
        for entry in ranges:
            check_range(entry, f"ranges[{len(spans)}]")
            spans.append(entry)
            if len(spans) > RANGES_MAX:
                raise ConfigError("ranges", f"more than {RANGES_MAX}", "use longer steps")
        taken.sort(key=_CONTACT_ORDER)
        self._set(tuple(taken), _joined(spans))

    def _set(self, contacts: tuple[Contact, ...], ranges: tuple[Range, ...]) -> None:
        self.contacts = contacts
        self.ranges = ranges
        # Indexes are built when first asked for: reading, converting and merging need none.
        self._by_source: dict[str, list[int]] | None = None
        self._inbound: dict[str, list[int]] | None = None
        self._outbound: dict[str, dict[str, list[int]]] = {}
        self._pairs: dict[tuple[str, str], _Pair] = {}
        self._light: dict[tuple[str, str], LightTime] = {}
        self._spans: dict[str, dict[str, tuple[int, int]]] = {}
        self.derived = {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plan):
            return NotImplemented
        return self.contacts == other.contacts and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash((self.contacts, self.ranges))

    def __reduce__(self) -> tuple[Any, ...]:
        return _plan, (self.contacts, self.ranges)

    def __repr__(self) -> str:
        return f"Plan({len(self.contacts)} contacts, {len(self.ranges)} ranges)"

    # -- lookups ---------------------------------------------------------------------------

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node that has a contact, sorted."""
        found = {contact.source for contact in self.contacts}
        found.update(contact.destination for contact in self.contacts)
        return tuple(sorted(found))

    def outbound(self, source: str) -> dict[str, list[int]]:
        """For each neighbour that `source` can send to, the places of those contacts in
        `contacts`, by start.  Read only."""
        index = self._outbound.get(source)
        if index is None:
            index = {}
            contacts = self.contacts
            for place in self.places_from(source):
                neighbour = contacts[place].destination
                places = index.get(neighbour)
                if places is None:
                    index[neighbour] = [place]
                else:
                    places.append(place)
            if index:  # sources that are not in the plan must not use up memory
                self._outbound[source] = index
        return index

    def places_from(self, source: str) -> Sequence[int]:
        """The places in `contacts` of those in which `source` sends, by start.  Read only."""
        index = self._by_source
        if index is None:
            index = defaultdict(list)
            for place, contact in enumerate(self.contacts):
                index[contact.source].append(place)
            self._by_source = index = dict(index)
        return index.get(source, ())

    def contacts_from(self, source: str) -> list[Contact]:
        """The contacts in which `source` sends, by start."""
        return [self.contacts[i] for i in self.places_from(source)]

    def contacts_to(self, destination: str) -> list[Contact]:
        """The contacts in which `destination` receives, by start."""
        return [self.contacts[i] for i in self._places_to().get(destination, ())]

    def leads_to(self, node: str) -> bool:
        """Whether there is any contact in which `node` receives."""
        return node in self._places_to()

    def _places_to(self) -> dict[str, list[int]]:
        index = self._inbound
        if index is None:
            index = {}
            for i, contact in enumerate(self.contacts):
                index.setdefault(contact.destination, []).append(i)
            self._inbound = index
        return index

    def between(self, source: str, destination: str) -> list[Contact]:
        """The contacts of one direction, by start."""
        return list(self._pair(source, destination).contacts)

    def reachable(self, source: str, at_ms: int) -> set[str]:
        """The nodes to which chains of contacts lead that are not over at a time, in any order."""
        found = {source}
        todo = [source]
        while todo:
            for contact in self.contacts_from(todo.pop()):
                if contact.end_ms > at_ms and contact.destination not in found:
                    found.add(contact.destination)
                    todo.append(contact.destination)
        return found

    def active(self, at_ms: int, source: str = "", destination: str = "") -> list[Contact]:
        """The contacts under way at a time, of one source and to one destination if named."""
        if source:
            found = [
                contact
                for neighbour in ((destination,) if destination else self.outbound(source))
                for contact in self._pair(source, neighbour).active(at_ms)
            ]
            found.sort(key=_CONTACT_ORDER)
            return found
        last = bisect_right(self.contacts, at_ms, key=attrgetter("start_ms"))
        return [
            contact
            for contact in self.contacts[:last]
            if contact.end_ms > at_ms and destination in ("", contact.destination)
        ]

    def next_change_ms(self, source: str, destination: str, at_ms: int) -> int | None:
        """The first time after `at_ms` at which a contact of this direction begins or ends or
        its light time steps; None when nothing changes any more."""
        coming = []
        for times in (
            self._pair(source, destination).changes,
            self.light_time(source, destination).starts_ms,
        ):
            place = bisect_right(times, at_ms)
            if place < len(times):
                coming.append(times[place])
        return min(coming, default=None)

    def next_edge_ms(self, source: str, destination: str, at_ms: int) -> int | None:
        """The first time after `at_ms` at which a contact of this direction begins or ends."""
        times = self._pair(source, destination).changes
        place = bisect_right(times, at_ms)
        return times[place] if place < len(times) else None

    def owlt_ns(self, source: str, destination: str, at_ms: int) -> int:
        """One-way light time for a signal that leaves `source` at a time; see `LightTime.at`."""
        return self.light_time(source, destination).at(at_ms)

    def light_time(self, source: str, destination: str) -> LightTime:
        """The light time of one direction over all time; empty when the plan has no range."""
        pair = (source, destination)
        light = self._light.get(pair)
        if light is not None:
            return light
        span = self.range_spans(source).get(destination)
        if span is None:
            return NO_LIGHT_TIME
        starts: list[int] = []
        owlts: list[int] = []
        for entry in self.ranges[span[0] : span[1]]:
            if not owlts or owlts[-1] != entry.owlt_ns:  # each step lasts until the next
                starts.append(entry.start_ms)
                owlts.append(entry.owlt_ns)
        light = self._light[pair] = LightTime(tuple(starts), tuple(owlts))
        return light

    def range_spans(self, source: str) -> dict[str, tuple[int, int]]:
        """Where the ranges from `source` are in `ranges`, by destination: the first, and the one
        after the last.  Read only."""
        found = self._spans.get(source)
        if found is None:
            ranges = self.ranges
            at = bisect_left(ranges, source, key=_SOURCE)
            end = bisect_right(ranges, source, lo=at, key=_SOURCE)
            found = {}
            while at < end:
                destination = ranges[at].destination
                last = at + 1
                if last < end and ranges[last].destination == destination:
                    last = bisect_right(ranges, destination, last, end, key=_DESTINATION)
                found[destination] = at, last
                at = last
            if found:  # sources that are not in the plan must not use up memory
                self._spans[source] = found
        return found

    def find(self, contact: Contact) -> int | None:
        """The place of an equal contact in `contacts`, or None."""
        place = bisect_left(self.contacts, _CONTACT_ORDER(contact), key=_CONTACT_ORDER)
        if place < len(self.contacts) and self.contacts[place] == contact:
            return place
        return None

    def _pair(self, source: str, destination: str) -> _Pair:
        pair = self._pairs.get((source, destination))
        if pair is None:
            places = self.outbound(source).get(destination, ())
            pair = _Pair([self.contacts[i] for i in places])
            if places:  # a pair without contacts is not kept: asking must not use up memory
                self._pairs[source, destination] = pair
        return pair

    # -- new plans -------------------------------------------------------------------------

    def add(self, contacts: Iterable[Contact] = (), ranges: Iterable[Range] = ()) -> Plan:
        """A plan with more entries; this one, when there are none.  Raises `ConfigError` as the
        constructor does."""
        more = Plan(contacts, ranges)
        if not (more.contacts or more.ranges):
            return self
        if len(self.contacts) + len(more.contacts) > CONTACTS_MAX:
            raise ConfigError("contacts", f"more than {CONTACTS_MAX}", "split the plan")
        if len(self.ranges) + len(more.ranges) > RANGES_MAX:
            raise ConfigError("ranges", f"more than {RANGES_MAX}", "use longer steps")
        both = sorted((*self.contacts, *more.contacts), key=_CONTACT_ORDER)
        ranges = _joined([*self.ranges, *more.ranges]) if more.ranges else self.ranges
        return _plan(tuple(both), ranges)

    def remove(self, contact: Contact) -> Plan:
        """A plan without one contact.  Raises `ConfigError` when the plan does not have it."""
        place = self.find(contact)
        if place is None:
            raise ConfigError("contacts", f"{contact} is not in the plan")
        return _plan(self.contacts[:place] + self.contacts[place + 1 :], self.ranges)

    def with_contacts(self, contacts: Iterable[Contact]) -> Plan:
        """A plan with other contacts and the same ranges, which are not checked again.  Raises
        `ConfigError` as the constructor does."""
        return _plan(Plan(contacts).contacts, self.ranges)

    def after(self, at_ms: int) -> Plan:
        """A plan without what has ended at `at_ms`; a running node forgets the past with it.
        The last light time of each direction stays, since it holds until the next."""
        last = {(entry.source, entry.destination): entry for entry in self.ranges}
        return _plan(
            tuple(contact for contact in self.contacts if contact.end_ms > at_ms),
            tuple(
                entry
                for entry in self.ranges
                if entry.end_ms > at_ms or last[entry.source, entry.destination] is entry
            ),
        )

    def merged(self) -> Plan:
        """A plan in which contacts of one direction that overlap or touch, and are alike in all
        but their times, have become one.  Use it where a plan lists the same link twice."""
        merged: list[Contact] = []
        growing: dict[tuple[object, ...], int] = {}
        for contact in self.contacts:
            alike = _likeness(contact)
            place = growing.get(alike)
            if place is not None and contact.start_ms <= merged[place].end_ms:
                end_ms = max(merged[place].end_ms, contact.end_ms)
                merged[place] = replace(merged[place], end_ms=end_ms)
            else:
                growing[alike] = len(merged)
                merged.append(contact)
        merged.sort(key=_CONTACT_ORDER)
        return _plan(tuple(merged), self.ranges)


def _plan(contacts: tuple[Contact, ...], ranges: tuple[Range, ...]) -> Plan:
    """A plan of entries that have been checked and sorted before."""
    plan = Plan.__new__(Plan)
    plan._set(contacts, ranges)
    return plan


def _likeness(contact: Contact) -> tuple[object, ...]:
    return (
        contact.source,
        contact.destination,
        contact.rate_bps,
        contact.confidence,
        contact.owner,
        contact.jurisdiction,
    )


def _joined(ranges: list[Range]) -> tuple[Range, ...]:
    """Ranges in order; those that agree and touch become one, those that disagree are refused."""
    ranges.sort(key=_RANGE_ORDER)
    joined: list[Range] = []
    last: Range | None = None
    for entry in ranges:
        if (
            last is not None
            and entry.start_ms <= last.end_ms
            and entry.source == last.source
            and entry.destination == last.destination
        ):
            if entry.owlt_ns == last.owlt_ns:
                if entry.end_ms > last.end_ms:
                    last = Range(
                        last.source, last.destination, last.start_ms, entry.end_ms, last.owlt_ns
                    )
                    joined[-1] = last
                continue
            if entry.start_ms < last.end_ms:
                raise ConfigError(
                    "ranges",
                    f"{entry.source} to {entry.destination} at {entry.start_ms} ms has two light "
                    f"times, {last.owlt_ns} and {entry.owlt_ns} ns",
                    "end one range where the next begins",
                )
        joined.append(entry)
        last = entry
    return tuple(joined)
