"""What a link can carry at which elevation.

A `RateTable` says it in steps; a `LinkBudget` computes such a table from powers and sensitivities.
The budget is the plain one: free-space loss, one lump of other losses, a margin and a list of
modes; rain and interference are left to the margin.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from stack.core.errors import ConfigError

BOLTZMANN_DBW_K_HZ = -228.599
"""Boltzmann's constant, 1.380649e-23 J/K (SI, exact), in decibels."""

EARTH_MEAN_RADIUS_M = 6_371_008.8
"""Mean radius of the WGS-84 ellipsoid; a budget needs no better."""

LIGHT_M_S = 299_792_458.0
"""Speed of light in vacuum (SI, exact)."""

STEPS_MAX = 256
"""Most steps of a table; DVB-S2X has 116 modes."""


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


@dataclass(frozen=True, slots=True)
class Mode:
    """A modulation and coding: `rate_bps` of user data while C/N0 is at least `c_n0_db_hz`."""

    rate_bps: float
    c_n0_db_hz: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkBudget:
    """One direction of a link."""

    eirp_dbw: float
    """Transmitted power times antenna gain, less feeder loss."""

    g_over_t_db_k: float
    """Gain of the receiving antenna over the noise temperature of the receiving system."""

    frequency_hz: float
    """Carrier."""

    losses_db: float = 3.0
    """Pointing, polarisation, gases of the air, implementation.  Default: 1 dB of implementation,
    0.5 dB each of pointing and polarisation, 1 dB of air at 5 deg in X band (ITU-R P.676)."""

    margin_db: float = 3.0
    """Kept back for rain and ageing.  Default: 3 dB, the usual link margin of space agencies."""

    modes: tuple[Mode, ...]
    """What the modem can do; the fastest that closes is used."""

    def c_n0_db_hz(self, range_m: float) -> float:
        """Carrier to noise density at a distance, before the margin."""
        loss_db = 20.0 * math.log10(4.0 * math.pi * range_m * self.frequency_hz / LIGHT_M_S)
        received = self.eirp_dbw - loss_db - self.losses_db + self.g_over_t_db_k
        return received - BOLTZMANN_DBW_K_HZ

    def range_max_m(self, c_n0_db_hz: float) -> float:
        """The distance at which a C/N0 is just had with the margin in hand."""
        return math.pow(10.0, (self.c_n0_db_hz(1.0) - self.margin_db - c_n0_db_hz) / 20.0)

    def rate_table(self, altitude_m: float, mask_deg: float = 5.0) -> RateTable:
        """Rates by elevation for a circular orbit.

        Raises `ConfigError` when no mode closes even at the zenith.
        """
        steps: list[tuple[float, float]] = []
        for mode in sorted(self.modes, key=lambda mode: (mode.c_n0_db_hz, -mode.rate_bps)):
            range_m = self.range_max_m(mode.c_n0_db_hz)
            if range_m < altitude_m:
                break
            elevation = max(mask_deg, elevation_deg(altitude_m, range_m))
            if steps and steps[-1][1] >= mode.rate_bps:
                continue
            if steps and steps[-1][0] == elevation:
                steps.pop()
            steps.append((elevation, mode.rate_bps))
        if not steps:
            raise ConfigError("modes", "no mode closes at the zenith", "more EIRP or lower rates")
        return RateTable(tuple(steps))


def slant_range_m(altitude_m: float, elevation_deg: float) -> float:
    """Distance of a satellite at an altitude, seen at an elevation (spherical Earth)."""
    up = math.radians(elevation_deg)
    orbit = EARTH_MEAN_RADIUS_M + altitude_m
    across = EARTH_MEAN_RADIUS_M * math.cos(up)
    return math.sqrt(orbit**2 - across**2) - EARTH_MEAN_RADIUS_M * math.sin(up)


def elevation_deg(altitude_m: float, range_m: float) -> float:
    """The elevation at which a satellite is at a distance: the inverse of `slant_range_m`.

    90 for less than the altitude, -90 for more than the far side.
    """
    orbit = EARTH_MEAN_RADIUS_M + altitude_m
    sine = (orbit**2 - EARTH_MEAN_RADIUS_M**2 - range_m**2) / (2.0 * EARTH_MEAN_RADIUS_M * range_m)
    return math.degrees(math.asin(min(1.0, max(-1.0, sine))))


PRESET_ALTITUDE_M = 800_000.0
"""The presets are for orbits up to here (Earth observation flies at 500 to 800 km)."""

_S_BAND_UP = LinkBudget(
    # 5.4 m dish at 55 % in 2,025-2,110 MHz: 38.7 dBi; 20 W = 13 dBW; 2 dB of feeder.
    eirp_dbw=49.7,
    # Patch antenna, 0 dBi in any direction below, into 28 dBK (630 K, of which the Earth is 290).
    g_over_t_db_k=-28.0,
    # Middle of the Earth-to-space allocation (ITU Radio Regulations, article 5).
    frequency_hz=2.0675e9,
    modes=(
        # 256 kbit/s, a common rate of S-band uplink receivers: 54.1 dBHz.  Uncoded BPSK needs an
        # Eb/N0 of 10.5 dB for one bit error in 10^6 (erfc(sqrt(Eb/N0)) / 2).
        Mode(256e3, 54.1 + 10.5),
    ),
)
_X_BAND_SYMBOLS_DB_HZ = 10.0 * math.log10(75e6)
_X_BAND_DOWN = LinkBudget(
    # 2 W = 3 dBW into a 6 dBi patch antenna, 1 dB of feeder: a small satellite.
    eirp_dbw=8.0,
    # 5.4 m dish at 60 % at 8.2 GHz: 51.1 dBi; system 150 K = 21.8 dBK.
    g_over_t_db_k=29.3,
    # Middle of 8,025-8,400 MHz (Earth exploration, space to Earth; Radio Regulations, article 5).
    frequency_hz=8.2125e9,
    # DVB-S2 at 75 Msymbol/s (90 MHz with 20 % roll-off): spectral efficiency and Es/N0 for a
    # packet error in 10^7 from ETSI EN 302 307-1 V1.4.1, table 13.
    modes=(
        Mode(75e6 * 0.988858, _X_BAND_SYMBOLS_DB_HZ + 1.00),  # QPSK 1/2
        Mode(75e6 * 1.487473, _X_BAND_SYMBOLS_DB_HZ + 4.03),  # QPSK 3/4
        Mode(75e6 * 1.980636, _X_BAND_SYMBOLS_DB_HZ + 6.62),  # 8PSK 2/3
    ),
)


def preset(name: str) -> RateTable:
    """A ready table: ``s-band-up`` (256 kbit/s) or ``x-band-down`` (74, 112 and 149 Mbit/s).

    Raises `ConfigError` for another name.
    """
    budgets = {"s-band-up": _S_BAND_UP, "x-band-down": _X_BAND_DOWN}
    if name not in budgets:
        raise ConfigError("preset", f"{name!r} is unknown", "use " + " or ".join(sorted(budgets)))
    return budgets[name].rate_table(PRESET_ALTITUDE_M)
