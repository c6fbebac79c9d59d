"""Who serves whom, as a problem: passes, the moments at which a service may begin or end, and
what each moment between is worth.

The worth of a service is linear in its ends between the moments at which something changes, so
that a best schedule has its ends at such moments: where a pass or a rate begins or ends, or where
an antenna that left or goes to another pass at such a moment is ready or must leave.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from link_models.planner.edit import passes_of
from stack.contacts.plan import Contact, Plan
from stack.core.errors import ConfigError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

PASSES_MAX = 200_000
"""Most passes of a schedule: a thousand satellites over ten stations for three days."""

Span = tuple[int, int, int]
"""A service: the pass, and the places of its first and last moment among all moments."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A pass that a station may serve."""

    station: str
    satellite: str
    start_ms: int
    end_ms: int
    contacts: tuple[Contact, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Passes with their moments, flat: those of pass p are `moments[first[p]:first[p + 1]]`."""

    visits: tuple[Visit, ...]
    """By start."""

    stations: tuple[str, ...]
    satellites: tuple[str, ...]
    antennas: tuple[int, ...]
    """Of each station."""

    terminals: tuple[int, ...]
    """Of each satellite."""

    station: Ints
    """Of each pass, by place."""

    satellite: Ints
    first: Ints
    moments_ms: Ints
    worth: Floats
    """From the beginning of the pass to a moment, in weighted octets."""

    owner: Ints
    """The pass of each moment."""

    tick: Ints
    """Place of a moment among all moments of its satellite (`ticks_ms`)."""

    ticks_ms: Ints
    """Moments of the satellites, one satellite after the other."""

    tick_satellite: Ints
    guard_ms: int
    handover_ms: int
    minimum_ms: int

    def value(self, spans: Sequence[Span]) -> float:
        """What services are worth together."""
        return math.fsum(float(self.worth[end] - self.worth[start]) for _, start, end in spans)


def make_problem(
    plan: Plan,
    antennas: Mapping[str, int],
    terminals: Mapping[str, int] | int,
    weights: Mapping[str, float],
    *,
    guard_ms: int,
    handover_ms: int,
    minimum_ms: int,
    cut: bool,
) -> Problem:
    """The problem of a plan.  Raises `ConfigError` for what cannot be scheduled."""
    visits = _visits(plan, antennas)
    stations = tuple(sorted({visit.station for visit in visits}))
    satellites = tuple(sorted({visit.satellite for visit in visits}))
    station = np.array([stations.index(visit.station) for visit in visits], np.intp)
    place = {name: i for i, name in enumerate(satellites)}
    satellite = np.array([place[visit.satellite] for visit in visits], np.intp)
    moments = [np.array([visit.start_ms, visit.end_ms]) for visit in visits]
    if cut:
        changes = [_changes(visit) for visit in visits]
        for resource, guard in ((station, guard_ms), (satellite, handover_ms)):
            _add_moments(moments, visits, changes, resource, guard)
    worth = [
        _worth(v, m, weights.get(v.satellite, 1.0)) for v, m in zip(visits, moments, strict=True)
    ]
    count = np.array([len(one) for one in moments], np.intp)
    first = np.concatenate(([0], np.cumsum(count)))
    flat = np.concatenate(moments) if moments else np.zeros(0, np.intp)
    owner = np.repeat(np.arange(len(visits)), count)
    ticks, tick = np.unique(
        np.stack((satellite[owner], flat)) if len(flat) else np.zeros((2, 0), np.intp),
        axis=1,
        return_inverse=True,
    )
    return Problem(
        visits=tuple(visits),
        stations=stations,
        satellites=satellites,
        antennas=tuple(antennas[name] for name in stations),
        terminals=tuple(
            terminals if isinstance(terminals, int) else terminals.get(name, 1)
            for name in satellites
        ),
        station=station,
        satellite=satellite,
        first=first,
        moments_ms=flat,
        worth=np.concatenate(worth) if worth else np.zeros(0),
        owner=owner,
        tick=tick.reshape(-1),
        ticks_ms=ticks[1],
        tick_satellite=ticks[0],
        guard_ms=guard_ms,
        handover_ms=handover_ms,
        minimum_ms=minimum_ms,
    )


def _visits(plan: Plan, antennas: Mapping[str, int]) -> list[Visit]:
    """Passes between one of the stations and a node that is none of them."""
    mine = [
        one for one in plan.contacts if (one.source in antennas) != (one.destination in antennas)
    ]
    for contact in mine:
        if math.isinf(contact.rate_bps):
            raise ConfigError(
                "schedule",
                f"{contact.source} to {contact.destination} has no limit to its rate",
                "give the contacts of stations rates",
            )
    visits = []
    for group in passes_of(mine):
        source, destination = group[0].source, group[0].destination
        up = source in antennas
        visits.append(
            Visit(
                source if up else destination,
                destination if up else source,
                group[0].start_ms,
                max(contact.end_ms for contact in group),
                tuple(group),
            )
        )
    if len(visits) > PASSES_MAX:
        raise ConfigError("schedule", f"more than {PASSES_MAX} passes", "a shorter plan")
    visits.sort(key=lambda one: (one.start_ms, one.station, one.satellite))
    return visits


def _changes(visit: Visit) -> Ints:
    """When something about a pass changes."""
    times = {edge for one in visit.contacts for edge in (one.start_ms, one.end_ms)}
    return np.array(sorted(times), np.intp)


def _add_moments(
    moments: list[Ints],
    visits: Sequence[Visit],
    changes: Sequence[Ints],
    resource: Ints,
    guard_ms: int,
) -> None:
    """Let a pass change hands whenever one that it competes with changes."""
    for number in np.unique(resource):
        users = np.flatnonzero(resource == number).tolist()
        starts = [visits[p].start_ms for p in users]
        longest = max(visits[p].end_ms - visits[p].start_ms for p in users)
        for p in users:
            visit = visits[p]
            low = bisect_left(starts, visit.start_ms - longest - guard_ms)
            high = bisect_right(starts, visit.end_ms + guard_ms)
            rivals = [
                changes[q]
                for q in users[low:high]
                if q != p and visits[q].end_ms + guard_ms > visit.start_ms
            ]
            if not rivals:
                continue
            base = np.concatenate([changes[p], *rivals])
            shifted = (base, base - guard_ms, base + guard_ms) if guard_ms else (base,)
            wanted = np.concatenate((moments[p], *shifted))
            inside = (wanted >= visit.start_ms) & (wanted <= visit.end_ms)
            moments[p] = np.unique(wanted[inside])


def _worth(visit: Visit, moments: Ints, weight: float) -> Floats:
    """Weighted octets that are expected to pass up to each moment."""
    total = np.zeros(len(moments))
    for contact in visit.contacts:
        octets_ms = contact.rate_bps * contact.confidence * weight / 8000.0
        passed = np.clip(moments, contact.start_ms, contact.end_ms) - contact.start_ms
        total += octets_ms * passed
    return total
