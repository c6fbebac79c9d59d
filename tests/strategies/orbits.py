"""Orbits, stations and pairs of them."""

from __future__ import annotations

import datetime
import math

from hypothesis import strategies as st

from link_models.orbit.elements import MeanElements, Satellite
from link_models.orbit.geometry import Station

EPOCH_DAYS = datetime.date(2026, 10, 1).toordinal() - datetime.date(1949, 12, 31).toordinal()
EPOCH_MS = (datetime.date(2026, 10, 1) - datetime.date(2000, 1, 1)).days * 86_400_000

EARTH_GM_KM3_S2 = 398_600.8
EARTH_RADIUS_KM = 6378.135


def circular(altitude_km: float, **angles: float) -> Satellite:
    """A satellite on a circular orbit at the epoch; angles in degrees."""
    return elliptic(altitude_km, 0.0001, **angles)


def elliptic(perigee_km: float, eccentricity: float, **angles: float) -> Satellite:
    """A satellite with this height of perigee at the epoch; angles in degrees."""
    axis_km = (EARTH_RADIUS_KM + perigee_km) / (1.0 - eccentricity)
    motion_rad_s = math.sqrt(EARTH_GM_KM3_S2 / axis_km**3)
    return MeanElements(
        name=f"perigee {perigee_km:.0f} km",
        catalogue_id=99_999,
        epoch_days=float(EPOCH_DAYS),
        inclination_deg=angles.get("inclination", 98.0),
        node_deg=angles.get("node", 0.0),
        eccentricity=eccentricity,
        perigee_deg=angles.get("perigee", 0.0),
        anomaly_deg=angles.get("anomaly", 0.0),
        motion_rev_day=motion_rad_s * 86_400.0 / (2.0 * math.pi),
        bstar=0.0,
    ).satellite("test")


def _angle(top: float = 359.99) -> st.SearchStrategy[float]:
    return st.floats(0.0, top).map(lambda angle: round(angle, 4))


# SGP4 divides by the sine of the inclination of high orbits: at 180 deg its positions are noise.
_INCLINATIONS = _angle(179.0)


low_orbits = st.builds(
    lambda altitude, inclination, node, anomaly: circular(
        altitude, inclination=inclination, node=node, anomaly=anomaly
    ),
    st.floats(250.0, 2000.0),
    _INCLINATIONS,
    _angle(),
    _angle(),
)

any_orbits = low_orbits | st.builds(
    lambda height, e, inclination, node, perigee, anomaly: elliptic(
        height, e, inclination=inclination, node=node, perigee=perigee, anomaly=anomaly
    ),
    st.floats(250.0, 36_000.0),
    st.floats(0.0, 0.75),
    _INCLINATIONS,
    _angle(),
    _angle(),
    _angle(),
)

stations = st.builds(
    lambda latitude, longitude, altitude, mask: Station(
        name="station",
        latitude_deg=latitude,
        longitude_deg=longitude,
        altitude_m=altitude,
        mask_deg=mask,
    ),
    st.floats(-90.0, 90.0),
    st.floats(-180.0, 180.0),
    st.floats(-100.0, 5000.0),
    st.floats(-2.0, 60.0),
)

horizons = st.dictionaries(
    st.floats(0.0, 359.0).map(lambda azimuth: round(azimuth)),
    st.floats(-5.0, 50.0),
    min_size=1,
    max_size=6,
).map(lambda points: tuple(sorted((float(azimuth), el) for azimuth, el in points.items())))
