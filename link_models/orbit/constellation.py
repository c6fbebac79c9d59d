"""Constellations that do not exist yet: Walker patterns and sun-synchronous planes as satellites.

The satellites have SGP4 mean elements of a circle, and no drag.  What they fly is not quite a
circle: the flattening of the Earth moves a low orbit by some 10 km in height and along its path,
all satellites of a plane in the same way.  Distances between neighbours keep to their ideal within
about as much.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from link_models.orbit.mean_elements import (
    DTN_EPOCH_DAY,
    NAME_CHARS_MAX,
    SATELLITES_MAX,
    SGP4_EPOCH_DAY,
    MeanElements,
    Satellite,
)
from link_models.orbit.sun import sun_position_km
from stack.core.errors import ConfigError

EQUATOR_KM = 6378.135
"""Equatorial radius of WGS-72, with which SGP4 works (Spacetrack Report 3)."""

GM_KM3_S2 = 398_600.8
"""Gravity of WGS-72."""

J2 = 0.001082616
"""Flattening of the gravity of WGS-72."""

ALTITUDE_M_MIN = 160_000.0
"""Below this an orbit does not last a day."""

ALTITUDE_M_MAX = 400_000_000.0
"""The distance of the Moon."""

FIRST_ID = 80_000
"""Catalogue number of the first satellite: 80000 to 89999 are of no catalogued object; the
catalogue leaves them to analysts."""

YEAR_DAYS = 365.2422
"""Tropical year, in which the node of a sun-synchronous orbit goes round once."""

_DAY_MS = 86_400_000


def walker(
    name: str,
    total: int,
    planes: int,
    phasing: int,
    inclination_deg: float,
    altitude_m: float,
    epoch_ms: int,
    *,
    star: bool = False,
    raan_deg: float = 0.0,
    first_id: int = FIRST_ID,
) -> list[Satellite]:
    """A Walker constellation ``inclination: total/planes/phasing`` (Walker, JBIS 37, 1984).

    The nodes of the planes are spread over 360 deg (delta) or 180 deg (`star`), from `raan_deg`
    (in TEME) eastward; a satellite is `phasing` x 360 / `total` deg ahead of the one in the plane
    before.  `altitude_m` is above the equatorial radius; `epoch_ms` is DTN time (UTC), when the
    first satellite is at its node.  Plane by plane, named ``name-plane-place`` from one.

    Raises `ConfigError` for a pattern that does not exist or values out of range.
    """
    if not 1 <= total <= SATELLITES_MAX or not 1 <= planes <= total or total % planes:
        raise ConfigError("planes", "a Walker pattern has as many satellites in each plane")
    if not 0 <= phasing < planes:
        raise ConfigError("phasing", "the phasing is from 0 to one less than the planes")
    per_plane = total // planes
    spread_deg = (180.0 if star else 360.0) / planes
    wide, long = len(str(planes)), len(str(per_plane))
    return _satellites(
        (
            (
                f"{name}-{plane + 1:0{wide}}-{place + 1:0{long}}",
                raan_deg + plane * spread_deg,
                place * 360.0 / per_plane + plane * phasing * 360.0 / total,
            )
            for plane in range(planes)
            for place in range(per_plane)
        ),
        inclination_deg,
        altitude_m,
        epoch_ms,
        first_id,
    )


def sun_synchronous(
    name: str,
    total: int,
    altitude_m: float,
    node_hour: float,
    epoch_ms: int,
    *,
    first_id: int = FIRST_ID,
) -> list[Satellite]:
    """Satellites evenly round one plane that keeps its angle to the Sun.

    `node_hour` is the local time (0 to 24) at which they cross the equator northward: 6 or 18
    make a dawn-dusk orbit, 10.5 is usual for cameras, descending (so 22.5 here).  By the apparent
    Sun at the epoch, which differs from the mean Sun by up to 16 minutes.

    Raises `ConfigError` for values out of range, or an altitude that no such orbit has.
    """
    if not 0.0 <= node_hour <= 24.0:
        raise ConfigError("node_hour", "from 0 to 24")
    if total < 1:
        raise ConfigError("total", "at least one satellite")
    (x,), (y,), _ = sun_position_km(np.array([float(epoch_ms)]))
    raan_deg = math.degrees(math.atan2(y, x)) + (node_hour - 12.0) * 15.0
    wide = len(str(total))
    return _satellites(
        (
            (f"{name}-{place + 1:0{wide}}", raan_deg, place * 360.0 / total)
            for place in range(total)
        ),
        sun_synchronous_inclination_deg(altitude_m),
        altitude_m,
        epoch_ms,
        first_id,
    )


def sun_synchronous_inclination_deg(altitude_m: float) -> float:
    """The inclination at which a circular orbit's node turns with the Sun, by J2 (first order).

    Raises `ConfigError` above 5970 km, where no orbit turns as fast.
    """
    axis_km = _axis_km(altitude_m)
    motion_rad_s = math.sqrt(GM_KM3_S2 / axis_km**3)
    turn_rad_s = 2.0 * math.pi / (YEAR_DAYS * 86_400.0)
    cosine = -turn_rad_s / (1.5 * J2 * motion_rad_s * (EQUATOR_KM / axis_km) ** 2)
    if cosine < -1.0:
        raise ConfigError("altitude_m", "too high for a sun-synchronous orbit", "below 5970 km")
    return math.degrees(math.acos(cosine))


def mean_motion_rev_day(altitude_m: float, inclination_deg: float) -> float:
    """The mean motion of a TLE (Kozai's) whose orbit has its mean semi-major axis (Brouwer's) so
    far above the equatorial radius; circular orbits.  Inverts Spacetrack Report 3, section 6."""
    axis_km = _axis_km(altitude_m)
    bulge = 0.75 * J2 * EQUATOR_KM**2 * (3.0 * math.cos(math.radians(inclination_deg)) ** 2 - 1.0)
    brouwer_rad_s = math.sqrt(GM_KM3_S2 / axis_km**3)
    kozai_rad_s = brouwer_rad_s
    for _ in range(10):
        first_km = (GM_KM3_S2 / kozai_rad_s**2) ** (1.0 / 3.0)
        d = bulge / first_km**2
        guess_km = first_km * (1.0 - d * (1.0 / 3.0 + d * (1.0 + d * 134.0 / 81.0)))
        kozai_rad_s = brouwer_rad_s * (1.0 + bulge / guess_km**2)
    return kozai_rad_s * 86_400.0 / (2.0 * math.pi)


def _axis_km(altitude_m: float) -> float:
    if not ALTITUDE_M_MIN <= altitude_m <= ALTITUDE_M_MAX:
        raise ConfigError(
            "altitude_m", f"from {ALTITUDE_M_MIN / 1e3:.0f} to {ALTITUDE_M_MAX / 1e3:.0f} km"
        )
    return EQUATOR_KM + altitude_m / 1000.0


def _satellites(
    places: Iterable[tuple[str, float, float]],
    inclination_deg: float,
    altitude_m: float,
    epoch_ms: int,
    first_id: int,
) -> list[Satellite]:
    """Satellites by name, node and argument of latitude, on circles of one height."""
    if not 0.0 <= inclination_deg <= 180.0:
        raise ConfigError("inclination_deg", "from 0 to 180 degrees")
    motion = mean_motion_rev_day(altitude_m, inclination_deg)
    epoch_days = epoch_ms / _DAY_MS + (DTN_EPOCH_DAY - SGP4_EPOCH_DAY)
    made = []
    for count, (name, node_deg, latitude_deg) in enumerate(places):
        if len(name) > NAME_CHARS_MAX:
            raise ConfigError("name", f"more than {NAME_CHARS_MAX} characters")
        elements = MeanElements(
            name=name,
            catalogue_id=first_id + count,
            epoch_days=epoch_days,
            inclination_deg=inclination_deg,
            node_deg=node_deg % 360.0,
            # With no eccentricity of its own the orbit keeps what the odd zonal harmonics give
            # it (SGP4's long-period terms): it is frozen, and the same all the time.
            eccentricity=0.0,
            perigee_deg=0.0,
            anomaly_deg=latitude_deg % 360.0,
            motion_rev_day=motion,
        )
        made.append(elements.satellite(name))
    return made
