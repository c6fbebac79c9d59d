"""Rates by elevation, and the geometry of a circular orbit above a round Earth."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stack.core.errors import ConfigError

EARTH_MEAN_RADIUS_M: Final = 6_371_008.8
"""Mean radius of the WGS-84 ellipsoid; a budget needs no better."""

STEPS_MAX: Final = 256
"""Most steps of a table; DVB-S2X has 116 modes."""

EFFECTIVE_RADIUS_M: Final = 8_500_000.0
"""Radius of an Earth on which a refracted ray is straight (ITU-R P.618-13 §2.2.1.1)."""

GAS_HEIGHT_M: Final = 2_000.0
"""Equivalent height of water vapour (ITU-R P.676-12 §2.2: 1.66 km far from its lines, 2 to 2.4 km
near 22 GHz).  Oxygen reaches higher, so that near the horizon this is on the safe side."""


@dataclass(frozen=True, slots=True)
class RateTable:
    """Bits per second from each elevation upward, as (elevation_deg, rate_bps).

    Elevations rise strictly, rates do not fall; below the first elevation there is no link.
    Raises `ConfigError` otherwise.
    """

    steps: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        elevations = [elevation for elevation, _ in self.steps]
        rates = [rate for _, rate in self.steps]
        if not 0 < len(self.steps) <= STEPS_MAX:
            raise ConfigError("steps", f"a rate table has 1 to {STEPS_MAX} steps")
        if not all(-10.0 <= elevation < 90.0 for elevation in elevations):
            raise ConfigError("steps", "elevations are from -10 to 90 degrees")
        if elevations != sorted(set(elevations)) or rates != sorted(rates):
            raise ConfigError("steps", "elevations must rise, and rates must not fall")
        if not all(0.0 < rate < math.inf for rate in rates):
            raise ConfigError("steps", "rates are above 0 bits/s")

    def rate_bps(self, elevation_deg: float) -> float:
        """Bits per second at an elevation; 0 below the first step."""
        place = bisect_right(self.steps, elevation_deg, key=lambda step: step[0])
        return self.steps[place - 1][1] if place else 0.0


def slant_range_m(altitude_m: float, elevation_deg: float) -> float:
    """Distance of a satellite at an altitude, seen at an elevation (spherical Earth)."""
    return float(slant_ranges_m(altitude_m, elevation_deg))


def slant_ranges_m(altitude_m: float, elevation_deg: ArrayLike) -> NDArray[Any]:
    """The same for an array of elevations."""
    up = np.radians(elevation_deg)
    across = EARTH_MEAN_RADIUS_M * np.cos(up)
    orbit = EARTH_MEAN_RADIUS_M + altitude_m
    distance: NDArray[Any] = np.sqrt(orbit**2 - across**2) - EARTH_MEAN_RADIUS_M * np.sin(up)
    return distance


def elevation_deg(altitude_m: float, range_m: float) -> float:
    """The elevation at which a satellite is at a distance: the inverse of `slant_range_m`.

    90 for less than the altitude, -90 for more than the far side.
    """
    orbit = EARTH_MEAN_RADIUS_M + altitude_m
    sine = (orbit**2 - EARTH_MEAN_RADIUS_M**2 - range_m**2) / (2.0 * EARTH_MEAN_RADIUS_M * range_m)
    return math.degrees(math.asin(min(1.0, max(-1.0, sine))))


def air_mass(elevation_deg: ArrayLike, height_m: float = GAS_HEIGHT_M) -> NDArray[Any]:
    """Length of the path through a layer of air, in heights of the layer.

    The cosecant of the elevation, bent for a round Earth (ITU-R P.618-13 §2.2.1.1, equation 1):
    2 % below it at 5 degrees, and finite at the horizon, which also serves for what lies below.
    """
    sine = np.sin(np.radians(np.maximum(elevation_deg, 0.0)))
    length: NDArray[Any] = 2.0 / (np.sqrt(sine * sine + 2.0 * height_m / EFFECTIVE_RADIUS_M) + sine)
    return length
