"""When a satellite comes down, as far as its elements tell.

SGP4 says so only while the orbit that it computes dips below the surface.  Later its polynomials
for drag turn round, and it gives positions again, far out, without an error: whoever asks only then
hears nothing.  So the orbit is followed from the epoch on.
"""

from __future__ import annotations

import math

import numpy as np

from link_models.orbit.mean_elements import DAY_MS, JD_DTN_EPOCH, Satellite

HOUR_MS = 3_600_000.0

GROWTH = 1.3
"""From one look to the next the time since the epoch grows so.  Drag makes the orbit smaller all
the time, and what follows once its polynomials turn round takes a multiple of the time until then:
a look falls into it."""

LOW_RADII = 1.02
"""Mean perigee in Earth radii (130 km high) below which each revolution is looked at."""

SAMPLES_PER_REVOLUTION = 24


def decay_ms(satellite: Satellite, until_ms: float) -> float:
    """The DTN time at which the orbit first meets the Earth after the epoch, or SGP4 first fails;
    infinity when that is not by `until_ms`.  To some minutes: drag cannot be foretold better."""
    span_ms = until_ms - satellite.epoch_ms
    good_ms, look_ms = 0.0, 0.0
    while not _perigee_radii(satellite, look_ms) < LOW_RADII:
        if look_ms >= span_ms:
            return math.inf
        good_ms, look_ms = look_ms, min(max(HOUR_MS, look_ms * GROWTH), span_ms)
    while look_ms - good_ms > HOUR_MS:
        middle_ms = (good_ms + look_ms) / 2
        if _perigee_radii(satellite, middle_ms) < LOW_RADII:
            look_ms = middle_ms
        else:
            good_ms = middle_ms
    return satellite.epoch_ms + _first_failure(satellite, good_ms, span_ms)


def _first_failure(satellite: Satellite, from_ms: float, span_ms: float) -> float:
    """The same from a time on, both since the epoch, revolution by revolution."""
    satrec = satellite.satrec
    turn_ms = 2.0 * math.pi / satrec.no_kozai * 60_000.0
    steps = max(SAMPLES_PER_REVOLUTION, math.ceil(SAMPLES_PER_REVOLUTION * DAY_MS / turn_ms))
    at_ms = from_ms
    while at_ms < span_ms:
        times_ms = at_ms + np.arange(steps) * (DAY_MS / steps)
        days = (satellite.epoch_ms + times_ms) / DAY_MS
        whole = np.floor(days)
        error, _, _ = satrec.sgp4_array(whole + JD_DTN_EPOCH, days - whole)
        failed = np.flatnonzero(error)
        if len(failed):
            first = float(times_ms[failed[0]])
            return first if first <= span_ms else math.inf
        at_ms += DAY_MS
        if _perigee_radii(satellite, at_ms) < 1.0:
            return at_ms
    return math.inf


def _perigee_radii(satellite: Satellite, since_ms: float) -> float:
    """Perigee of the mean orbit in Earth radii; 0 where SGP4 fails."""
    satrec = satellite.satrec
    error, _, _ = satrec.sgp4_tsince(since_ms / 60_000.0)
    perigee: float = 0.0 if error else satrec.am * (1.0 - satrec.em)
    return perigee if math.isfinite(perigee) else 0.0
