"""Periods of visibility, and what obstacles on the horizon or a higher mask leave of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from link_models.orbit.geometry import Bools, Floats, Ints, Look, Sight, Station
from link_models.orbit.roots import TOLERANCE_MS, bracketed_roots

OBSTACLE_STEP_MS = 1000.0
"""Sampling of a pass against obstacles.  A gap or an obstacle that the satellite crosses in less
may be overlooked; a low orbit moves by up to 1 deg of azimuth in it, more near the zenith."""

CUT_SAMPLES = 500_000
"""Samples worked on at a time: some 100 MB."""

SPAN_MS_MIN = 1.0
"""Shorter passes cannot be told in DTN time."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Periods of visibility, sorted by `pair` (satellite * stations + station)."""

    pair: Ints
    rise: Floats
    down: Floats

    def where(self, chosen: Bools | Ints) -> Spans:
        """Some of the spans, chosen by a mask or by places."""
        return Spans(self.pair[chosen], self.rise[chosen], self.down[chosen])

    def long_enough(self) -> Spans:
        """Those that DTN time can tell."""
        return self.where(self.down - self.rise >= SPAN_MS_MIN)


def spans_joined(parts: Sequence[Spans]) -> Spans:
    """All spans of several sets, sorted."""
    joined = Spans(
        np.concatenate([part.pair for part in parts]),
        np.concatenate([part.rise for part in parts]),
        np.concatenate([part.down for part in parts]),
    )
    return joined.where(np.lexsort((joined.rise, joined.pair)))


def mask_deg(station: Station, azimuth_deg: Floats) -> Floats:
    """Lowest usable elevation in each direction."""
    if not station.horizon:
        return np.full_like(azimuth_deg, station.mask_deg)
    azimuths, elevations = zip(*station.horizon, strict=True)
    around = np.interp(azimuth_deg, azimuths, elevations, period=360.0)
    mask: Floats = np.maximum(around, station.mask_deg)
    return mask


def cut_by_horizon(spans: Spans, station: Station, sight: Sight) -> Spans:
    """The parts of the spans of one station in which no obstacle hides the satellite."""
    return cut_spans(
        spans,
        lambda seen: seen.elevation_deg - mask_deg(station, seen.azimuth_deg),
        sight,
        OBSTACLE_STEP_MS,
    )


def cut_spans(
    spans: Spans, clearance: Callable[[Look], Floats], sight: Sight, step_ms: float
) -> Spans:
    """The parts of the spans in which `clearance` is above zero.

    Looks at least every `step_ms`: what comes and goes in less may be overlooked.
    """
    samples = np.ceil((spans.down - spans.rise) / step_ms).astype(np.intp) + 1
    batch = np.cumsum(samples) // CUT_SAMPLES
    parts = [
        _cut_batch(spans.where(mine), samples[mine], clearance, sight)
        for mine in (batch == number for number in np.unique(batch))
    ]
    return spans_joined([spans.where(batch < 0), *parts])


def _cut_batch(
    spans: Spans,
    samples: Ints,
    clearance: Callable[[Look], Floats],
    sight: Sight,
) -> Spans:
    first = np.cumsum(samples) - samples
    owner = np.repeat(np.arange(len(samples)), samples)
    place = np.arange(len(owner)) - first[owner]
    length = (spans.down - spans.rise)[owner]
    times = spans.rise[owner] + length * place / (samples[owner] - 1)
    satellite, where = np.divmod(spans.pair, sight.stations)

    def excess(owners: Ints, times_ms: Floats) -> Floats:
        value = clearance(sight.look(satellite[owners], where[owners], times_ms))
        # Where SGP4 fails nothing is seen.
        return np.nan_to_num(value, nan=-180.0)

    value = excess(owner, times)
    free = value > 0.0
    change = np.flatnonzero((free[1:] != free[:-1]) & (owner[1:] == owner[:-1]))
    crossed = owner[change]
    root = bracketed_roots(
        lambda index, x: excess(crossed[index], x),
        times[change],
        times[change + 1],
        value[change],
        value[change + 1],
        TOLERANCE_MS,
    )
    at_start, at_end = free[first], free[first + samples - 1]
    edge_owner = np.concatenate((crossed, np.flatnonzero(at_start), np.flatnonzero(at_end)))
    edge_time = np.concatenate((root, spans.rise[at_start], spans.down[at_end]))
    up = np.concatenate(
        (
            free[change + 1],
            np.ones(int(at_start.sum()), dtype=bool),
            np.zeros(int(at_end.sum()), dtype=bool),
        )
    )
    order = np.lexsort((edge_time, edge_owner))
    edge_owner, edge_time, up = edge_owner[order], edge_time[order], up[order]
    return Spans(spans.pair[edge_owner[up]], edge_time[up], edge_time[~up])
