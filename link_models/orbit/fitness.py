"""Whether elements are fit for a time: of which epoch they are, how old, and whether the satellite
is still up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from link_models.orbit.decay import decay_ms
from link_models.orbit.mean_elements import DAY_MS, Satellite
from stack.core.clock import dtn_to_iso

AGE_DAYS_MAX = 14.0
"""Older elements are told: a low pass is then off by some seconds, and what a pointed antenna
sees is more than its beam."""

LOW_REV_DAY = 10.0
"""So many revolutions a day make a low orbit."""

EPOCH_ERROR_KM = 1.0
LOW_ERROR_KM_DAY = 3.0
HIGH_ERROR_KM_DAY = 0.5
"""How far along its track a satellite is from where SGP4 has it: about 1 km at the epoch, and for
low orbits 1 to 3 km more each day (T. S. Kelso, Validation of SGP4 and IS-GPS-200D, AAS 07-127),
at least: drag adds up by the square of the time.  The rate for high orbits is an assumption."""

_REV_DAY = 1440.0 / (2.0 * math.pi)  # of a radian a minute


def age_days(satellite: Satellite, at_ms: float) -> float:
    """How far a time is from the epoch of the elements, before or after it."""
    return abs(at_ms - satellite.epoch_ms) / DAY_MS


def expected_error_km(satellite: Satellite, at_ms: float) -> float:
    """How far along its track the satellite may be from where the elements have it, at least."""
    low = satellite.satrec.no_kozai * _REV_DAY > LOW_REV_DAY
    rate_km_day = LOW_ERROR_KM_DAY if low else HIGH_ERROR_KM_DAY
    return EPOCH_ERROR_KM + rate_km_day * age_days(satellite, at_ms)


def expected_error_s(satellite: Satellite, at_ms: float) -> float:
    """The same as the time by which a pass may come earlier or later."""
    satrec = satellite.satrec
    speed_km_s: float = satrec.a * satrec.radiusearthkm * satrec.no_kozai / 60.0
    return expected_error_km(satellite, at_ms) / speed_km_s


def nearest_epochs(satellites: Iterable[Satellite], at_ms: float) -> list[Satellite]:
    """Of several sets of one satellite the one whose epoch is nearest, in the order in which the
    satellites first come.  They are one when their catalogue numbers are, or, where these are 0,
    their names."""
    best: dict[int | str, Satellite] = {}
    for one in satellites:
        key = one.catalogue_id or one.name
        known = best.get(key)
        if known is None or age_days(one, at_ms) < age_days(known, at_ms):
            best[key] = one
    return list(best.values())


def doubts(satellites: Sequence[Satellite], start_ms: int, end_ms: int) -> list[str]:
    """What is to be said of elements that are used for a window: decay, and age."""
    found = []
    for one in satellites:
        down_ms = decay_ms(one, end_ms)
        if down_ms < end_ms:
            when = dtn_to_iso(round(down_ms))[:16]
            found.append(f"{one.name} decays by {when}Z, as its elements say: no passes after that")
        oldest_ms = max(start_ms, min(end_ms, down_ms), key=lambda at_ms: age_days(one, at_ms))
        days = age_days(one, oldest_ms)
        if days > AGE_DAYS_MAX and down_ms > start_ms:
            found.append(
                f"the elements of {one.name} are up to {days:,.0f} days old: passes may be off by "
                f"{expected_error_s(one, oldest_ms):,.0f} s and more "
                f"({expected_error_km(one, oldest_ms):,.0f} km); get newer ones"
            )
    return found
