"""Links between satellites as contacts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from link_models.orbit.crosslink import CrosslinkLimits, Crosslinks, find_crosslinks, look_across
from link_models.orbit.mean_elements import Satellite
from link_models.planner.light import LIGHT_ERROR_NS, Floats, Ints, as_ranges, light_steps
from link_models.planner.rates import STEP_MIN_MS, rate_contacts
from stack.contacts.plan import Contact, Plan
from stack.core.errors import ConfigError

RateByRange = float | Callable[[Floats], Floats]
"""Bits per second of a link: one number, or a function of distances in metres (0: no link)."""

RANGE_STEP_MS = 5_000
"""Sampling of a rate that depends on the distance."""


def plan_crosslinks(
    satellites: Mapping[str, Satellite],
    pairs: Sequence[tuple[str, str]],
    limits: CrosslinkLimits,
    rate_bps: RateByRange,
    start_ms: int,
    end_ms: int,
    *,
    light_error_ns: int = LIGHT_ERROR_NS,
    step_min_ms: int = STEP_MIN_MS,
    confidence: float = 1.0,
    owner: str = "",
) -> Plan:
    """What pairs of satellites can do between two DTN times (UTC), alike in both directions.

    `satellites` are keyed by node id and `pairs` name them.  Light times are nowhere more than
    `light_error_ns` off; a rate that depends on the distance makes steps of at least
    `step_min_ms` (see `rate_contacts`), each at the lowest rate in it.

    Raises `ConfigError` for pairs that do not exist and as `find_crosslinks` does.
    """
    names = list(satellites)
    place = {name: number for number, name in enumerate(names)}
    for pair in pairs:
        for name in pair:
            if name not in place:
                raise ConfigError("pairs", f"{name!r} is none of the satellites")
    crafts = list(satellites.values())
    numbers = [(place[a], place[b]) for a, b in pairs]
    found = find_crosslinks(crafts, numbers, start_ms, end_ms, limits)
    start = np.ceil(found.start_ms).astype(np.intp)
    end = np.floor(found.end_ms).astype(np.intp)
    ends = [pairs[pair] for pair in found.pair.tolist()]
    contacts: list[Contact] = []
    for (one, other), first_ms, last_ms in zip(ends, start.tolist(), end.tolist(), strict=True):
        if callable(rate_bps):
            count = max(2, -(-(last_ms - first_ms) // RANGE_STEP_MS) + 1)
            times = np.unique(np.linspace(first_ms, last_ms, count).astype(np.int64))
            seen = look_across(satellites[one], satellites[other], times.astype(np.float64))
            rates = rate_bps(seen.range_m)
            # What is known at both ends of a sample is taken to hold between them.
            rates = np.minimum(rates, np.append(rates[1:], rates[-1]))
        else:
            times, rates = np.array([first_ms, last_ms]), np.full(2, float(rate_bps))
        for source, destination in ((one, other), (other, one)):
            contacts += rate_contacts(
                source,
                destination,
                times,
                rates,
                step_min_ms=step_min_ms,
                confidence=confidence,
                owner=owner,
            )
    light = light_steps(start, end, _LightTimes(crafts, found), light_error_ns)
    return Plan(contacts, as_ranges(light, ends))


class _LightTimes:
    """Light times across links, by the place of the link."""

    def __init__(self, satellites: Sequence[Satellite], found: Crosslinks) -> None:
        self._satellites = satellites
        self._first = found.first.tolist()
        self._second = found.second.tolist()

    def __call__(self, owner: Ints, times_ms: Floats) -> Floats:
        light = np.empty(len(times_ms))
        edges = np.flatnonzero(np.diff(owner, prepend=-1, append=-1)).tolist()
        for low, high in itertools.pairwise(edges):
            link = int(owner[low])
            one = self._satellites[self._first[link]]
            other = self._satellites[self._second[link]]
            light[low:high] = look_across(one, other, times_ms[low:high]).light_time_ns
        return light
