"""Contacts from a series of rates: as many octets as the link carries, in few steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stack.contacts.plan import Contact
from stack.core.errors import ConfigError

SERIES_MAX = 1_000_000
"""Most samples of a series: second by second for eleven days."""

STEP_MIN_MS = 10_000
"""Shortest step of a rate by default.  At the end of a step the sender's link is told its new
rate, which empties its pipeline once: some light times, a hundredth of ten seconds."""


def rate_contacts(
    source: str,
    destination: str,
    times_ms: Sequence[int] | NDArray[np.integer],
    rates_bps: Sequence[float] | NDArray[np.floating],
    *,
    step_min_ms: int = STEP_MIN_MS,
    confidence: float = 1.0,
    owner: str = "",
    jurisdiction: str = "",
) -> list[Contact]:
    """Contacts that never promise more than a link carries.

    The series says at rising DTN times what the link carries from then on; 0 is no link.  The
    last time is the end, and its rate is not used.  Each period with a link is cut into steps of
    at least `step_min_ms`, each at the lowest rate in it, that begin and end where the rate
    changes or `step_min_ms` from there: of all ways to do so the one that carries most.  A period
    that is shorter than that is one contact; equal neighbours are joined.

    Raises `ConfigError` for a series that is no series.
    """
    times = np.asarray(times_ms, np.int64)
    rates = np.asarray(rates_bps, np.float64)
    if times.ndim != 1 or times.shape != rates.shape or len(times) > SERIES_MAX:
        raise ConfigError("series", "times and rates are two lists of one length")
    if len(times) > 1 and not (times[1:] > times[:-1]).all():
        raise ConfigError("series", "times must rise")
    if not ((rates >= 0) & np.isfinite(rates)).all():
        raise ConfigError("series", "rates are 0 or more bits/s", "0 where there is no link")
    if step_min_ms < 1:
        raise ConfigError("step_min_ms", "a step lasts at least 1 ms")
    contacts: list[Contact] = []
    for first, last in _runs(rates[:-1]):
        bounds, levels = _steps(times[first : last + 1], rates[first:last], step_min_ms)
        for start_ms, end_ms, rate_bps in zip(bounds[:-1], bounds[1:], levels, strict=True):
            contacts.append(
                Contact(
                    source,
                    destination,
                    start_ms,
                    end_ms,
                    rate_bps,
                    confidence,
                    owner,
                    jurisdiction,
                )
            )
    return contacts


def _runs(rates: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """Where there is a link, as half-open places."""
    up = np.concatenate(([False], rates > 0, [False]))
    edges = np.flatnonzero(up[1:] != up[:-1])
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _steps(
    times: NDArray[np.int64], rates: NDArray[np.float64], least_ms: int
) -> tuple[list[int], list[float]]:
    """The best cut of one period: its bounds, and the rate of each step.

    A step begins and ends where the rate changes, or a least step from there.  `best[j]` is what
    the part before such a point carries at most.  A step that is longer than two least ones could
    be cut in two without loss where a point lies between, so longer ones are tried only as far as
    points are apart.
    """
    if rates.min() == rates.max() or times[-1] - times[0] < 2 * least_ms:
        return [int(times[0]), int(times[-1])], [float(rates.min())]
    changes = np.append(times[:-1][np.diff(rates, prepend=-1.0) != 0], times[-1])
    points = np.unique(np.concatenate((changes, changes - least_ms, changes + least_ms)))
    points = points[(points >= times[0]) & (points <= times[-1])]
    rates = rates[np.searchsorted(times, points[:-1], side="right") - 1]
    count = len(rates)
    longest_ms = 2 * least_ms + int(np.diff(points).max())
    firsts = np.searchsorted(points, points - longest_ms, side="left").tolist()
    lasts = np.searchsorted(points, points - least_ms, side="right").tolist()
    best = np.full(count + 1, -np.inf)
    best[0] = 0.0
    came = np.zeros(count + 1, np.intp)
    for j in range(1, count + 1):
        first, last = firsts[j], lasts[j]
        if not last:
            continue
        lowest = np.minimum.accumulate(rates[first:j][::-1])[::-1][: last - first]
        carried = best[first:last] + lowest * (points[j] - points[first:last])
        place = int(carried.argmax())
        best[j], came[j] = carried[place], first + place
    bounds = [int(points[count])]
    levels: list[float] = []
    j = count
    while j:
        i = int(came[j])
        level = float(rates[i:j].min())
        if levels and levels[-1] == level:
            bounds[-1] = int(points[i])
        else:
            levels.append(level)
            bounds.append(int(points[i]))
        j = i
    return bounds[::-1], levels[::-1]
