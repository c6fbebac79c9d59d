"""Periods of visibility, and what obstacles on the horizon or a higher mask leave of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from link_models.orbit.geometry import Floats, Ints, Look, Sight, Station
from link_models.orbit.spans import Spans, cut_where

__all__ = ["Spans", "cut_by_horizon", "cut_spans", "mask_deg"]

OBSTACLE_STEP_MS = 1000.0
"""Sampling of a pass against obstacles.  A gap or an obstacle that the satellite crosses in less
may be overlooked; a low orbit moves by up to 1 deg of azimuth in it, more near the zenith."""


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

    Looks at least every `step_ms`.  What comes and goes between two looks is found where the
    clearance is smooth, and may be overlooked where it has corners.
    """

    def clear(pair: Ints, times_ms: Floats) -> Floats:
        satellite, station = np.divmod(pair, sight.stations)
        return clearance(sight.look(satellite, station, times_ms))

    return cut_where(spans, clear, step_ms)
