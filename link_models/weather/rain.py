"""A rain front that moves over the stations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from link_models.noise import Times, Values
from link_models.weather.clouds import EARTH_RADIUS_M
from stack.core.clock import SECOND
from stack.core.errors import ConfigError

FWHM_SIGMAS = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a normal profile, in standard deviations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RainFront:
    """A band of rain with a normal profile across and along.

    The defaults are those of a line of thunderstorms of middle latitudes: 40 to 60 km/h, tens of
    kilometres deep, 100 to 300 km long.  Raises `ConfigError` for what makes no sense.
    """

    start_latitude_deg: float
    """Where the middle of the front is at `start_s`."""

    start_longitude_deg: float
    """East positive."""

    heading_deg: float
    """Where it goes, from north over east; it stays on that great circle."""

    start_s: float = 0.0
    """When it is there; it comes from behind and goes on for ever."""

    speed_m_s: float = 14.0
    """How fast it moves; 14 m/s are 50 km/h."""

    depth_m: float = 30_000.0
    """Width at half of the attenuation, in the direction of movement."""

    length_m: float = 200_000.0
    """Width at half of the attenuation, along the front."""

    peak_db: float
    """Attenuation of a link in the middle of the front, in decibels: rain rate, frequency and
    elevation make it (ITU-R P.618 and P.838)."""

    def __post_init__(self) -> None:
        if not (-90 <= self.start_latitude_deg <= 90 and -360 <= self.start_longitude_deg <= 360):
            raise ConfigError("start_latitude_deg, start_longitude_deg", "are no place")
        for key in ("depth_m", "length_m"):
            if not 0 < getattr(self, key) < math.inf:
                raise ConfigError(key, "must be positive and finite")
        for key in ("speed_m_s", "peak_db"):
            if not 0 <= getattr(self, key) < math.inf:
                raise ConfigError(key, "must not be negative")
        if not (math.isfinite(self.heading_deg) and math.isfinite(self.start_s)):
            raise ConfigError("heading_deg, start_s", "must be finite")

    def intensity(self, latitude_deg: float, longitude_deg: float, times_ns: Times) -> Values:
        """Share of the peak, 0 to 1, at a place at `times_ns` (from the start of the run)."""
        along_m, aside_m = self._place(latitude_deg, longitude_deg)
        ahead_m = along_m - self.speed_m_s * (times_ns / SECOND - self.start_s)
        across = ahead_m / (self.depth_m / FWHM_SIGMAS)
        along = aside_m / (self.length_m / FWHM_SIGMAS)
        return np.exp(-0.5 * (across**2 + along**2))

    def fade_db(self, latitude_deg: float, longitude_deg: float, times_ns: Times) -> Values:
        """Attenuation in decibels of a link from a place at `times_ns`."""
        return self.peak_db * self.intensity(latitude_deg, longitude_deg, times_ns)

    def _place(self, latitude_deg: float, longitude_deg: float) -> tuple[float, float]:
        """Metres along the way of the front from its start, and to the side of it."""
        lat0, lat1 = math.radians(self.start_latitude_deg), math.radians(latitude_deg)
        turn = math.radians(longitude_deg - self.start_longitude_deg)
        north = math.cos(lat0) * math.sin(lat1) - math.sin(lat0) * math.cos(lat1) * math.cos(turn)
        east = math.cos(lat1) * math.sin(turn)
        up = math.sin(lat0) * math.sin(lat1) + math.cos(lat0) * math.cos(lat1) * math.cos(turn)
        heading = math.radians(self.heading_deg)
        forward = north * math.cos(heading) + east * math.sin(heading)
        right = east * math.cos(heading) - north * math.sin(heading)
        along_m = EARTH_RADIUS_M * math.atan2(forward, up)
        aside_m = EARTH_RADIUS_M * math.asin(max(-1.0, min(1.0, right)))
        return along_m, aside_m


@dataclass(frozen=True, slots=True)
class RainOver:
    """The fades that a front makes at one place."""

    front: RainFront
    latitude_deg: float
    longitude_deg: float

    def fade_db(self, times_ns: Times) -> Values:
        return self.front.fade_db(self.latitude_deg, self.longitude_deg, times_ns)
