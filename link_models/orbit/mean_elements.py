"""What every notation of orbital elements ends in: checked mean elements, and a `Satellite`.

The elements mean something to SGP4 only (frame TEME, time UTC, gravity WGS-72).
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sized
from dataclasses import dataclass

from sgp4.api import WGS72, Satrec

from stack.core.errors import ConfigError

ELEMENTS_BYTES_MAX = 128 * 1024 * 1024
"""Largest element file: the whole public catalogue (70,000 objects) as XML is about 100 MB."""

SATELLITES_MAX = 100_000
"""Most satellites in one file; more than have ever been catalogued."""

NAME_CHARS_MAX = 100
"""Longest object name; catalogues use 24."""

CATALOGUE_ID_MAX = 999_999_999
"""Catalogue numbers have at most nine digits."""

ALPHA5_ID_MAX = 339_999
"""The last number that Alpha-5 can write (Z9999), and the last that the sgp4 package keeps."""

MOTION_REV_DAY_MAX = 20.0
"""An orbit at sea level makes 17 revolutions a day."""

SGP4_EPOCH_DAY = datetime.date(1949, 12, 31).toordinal()
"""Day number (proleptic Gregorian) of the origin of SGP4's epochs."""

DTN_EPOCH_DAY = datetime.date(2000, 1, 1).toordinal()
"""Day number of the origin of DTN time."""

_EPOCH_DAYS_MIN = datetime.date(1957, 1, 1).toordinal() - SGP4_EPOCH_DAY
_EPOCH_DAYS_MAX = datetime.date(2100, 1, 1).toordinal() - SGP4_EPOCH_DAY
_RAD_PER_MIN = 2.0 * math.pi / 1440.0  # of one revolution per day
DAY_MS = 86_400_000.0

JD_DTN_EPOCH = 2_451_544.5
"""Julian date of 2000-01-01T00:00Z, the origin of DTN time."""


@dataclass(frozen=True, slots=True)
class Satellite:
    """A satellite ready to propagate.

    `satrec` is the record of the sgp4 package; `epoch_ms` is the DTN time of the elements, whose
    error is about 1 km there and grows by 1 to 3 km a day for a low orbit.
    """

    name: str
    catalogue_id: int
    epoch_ms: int
    satrec: Satrec


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanElements:
    """Elements in the units of the messages: degrees, revolutions per day, 1/Earth radii."""

    name: str
    catalogue_id: int
    epoch_days: float  # since 1949-12-31T00:00 UTC
    inclination_deg: float
    node_deg: float
    eccentricity: float
    perigee_deg: float
    anomaly_deg: float
    motion_rev_day: float
    motion_dot: float = 0.0  # rev/day^2, halved as the TLE has it; SGP4 ignores it
    motion_ddot: float = 0.0  # rev/day^3, divided by 6 likewise
    bstar: float = 0.0

    def satellite(self, where: str) -> Satellite:
        """Initialise SGP4.  Raises `ConfigError` at `where` for values out of range.

        Elements of an object that has decayed are in range: propagation tells of that.
        """
        self._check(where)
        satrec = Satrec()
        satrec.sgp4init(
            WGS72,
            "i",
            # The package cannot keep larger numbers; propagation does not use them.
            self.catalogue_id if self.catalogue_id <= ALPHA5_ID_MAX else 0,
            self.epoch_days,
            self.bstar,
            self.motion_dot * _RAD_PER_MIN / 1440.0,
            self.motion_ddot * _RAD_PER_MIN / 1440.0**2,
            self.eccentricity,
            math.radians(self.perigee_deg),
            math.radians(self.inclination_deg),
            math.radians(self.anomaly_deg),
            self.motion_rev_day * _RAD_PER_MIN,
            math.radians(self.node_deg),
        )
        days = self.epoch_days - (DTN_EPOCH_DAY - SGP4_EPOCH_DAY)
        return Satellite(self.name, self.catalogue_id, round(days * DAY_MS), satrec)

    def _check(self, where: str) -> None:
        in_range = (
            ("catalogue number", 0 <= self.catalogue_id <= CATALOGUE_ID_MAX),
            ("epoch", _EPOCH_DAYS_MIN <= self.epoch_days < _EPOCH_DAYS_MAX),
            ("inclination", 0.0 <= self.inclination_deg <= 180.0),
            ("node", abs(self.node_deg) <= 360.0),
            ("eccentricity", 0.0 <= self.eccentricity < 1.0),
            ("argument of perigee", abs(self.perigee_deg) <= 360.0),
            ("mean anomaly", abs(self.anomaly_deg) <= 360.0),
            ("mean motion", 0.0 < self.motion_rev_day <= MOTION_REV_DAY_MAX),
            ("mean motion derivatives", abs(self.motion_dot) + abs(self.motion_ddot) < 1e6),
            ("drag term", abs(self.bstar) < 1e6),
        )
        for what, good in in_range:
            if not good:
                raise ConfigError(where, f"{what} out of range")


def number(text: str, where: str) -> float:
    """A finite number.  Raises `ConfigError`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(where, f"{text[:40]!r} is not a number")
    return value


def refuse_other_theory(ephemeris_type: str, where: str) -> None:
    """Only SGP4: type 4 is SGP4-XP, whose elements SGP4 propagates wrongly and without a sign.
    `ConfigError` for others."""
    if ephemeris_type.strip() not in ("", "0", "2", "3"):
        raise ConfigError(where, f"ephemeris type {ephemeris_type[:10]!r} is not for SGP4")


def bound_bytes(size: int, origin: str) -> None:
    """Refuse a file larger than `ELEMENTS_BYTES_MAX`.  Raises `ConfigError`."""
    if size > ELEMENTS_BYTES_MAX:
        raise ConfigError(origin, f"larger than {ELEMENTS_BYTES_MAX} octets", "split the file")


def bound_count(found: Sized, where: str) -> None:
    """Refuse more than `SATELLITES_MAX` satellites.  Raises `ConfigError`."""
    if len(found) > SATELLITES_MAX:
        raise ConfigError(where, f"more than {SATELLITES_MAX} satellites", "split the file")
