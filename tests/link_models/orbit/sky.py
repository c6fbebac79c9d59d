"""The Sun as the IAU's own routines (ERFA) have it, for comparison."""

from __future__ import annotations

import erfa
import numpy as np

from link_models.orbit.geometry import Floats
from link_models.orbit.mean_elements import DAY_MS, JD_DTN_EPOCH

TT_AHEAD_DAYS = 69.184 / 86_400.0
LIGHT_TIME_DAYS = 499.005 / 86_400.0


def sun_of_date(times_ms: Floats) -> Floats:
    """Apparent direction of the Sun, equator and equinox of date; shape (3, n)."""
    tt = times_ms / DAY_MS + TT_AHEAD_DAYS
    _, earth = erfa.epv00(JD_DTN_EPOCH, tt)
    sun_then = erfa.epv00(JD_DTN_EPOCH, tt - LIGHT_TIME_DAYS)
    # Barycentric Sun when the light left it: the Earth's place less its heliocentric place.
    sun = sun_then[1]["p"] - sun_then[0]["p"]
    direction = sun - earth["p"]
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    # Aberration, with the speed of the Earth in units of that of light.
    direction += earth["v"] * (499.004784 / 86_400.0)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    of_date: Floats = np.einsum("nij,nj->in", erfa.pnm06a(JD_DTN_EPOCH, tt), direction)
    return of_date


def sun_teme(times_ms: Floats) -> Floats:
    """The same in TEME: back by the equation of the equinoxes."""
    tt = times_ms / DAY_MS + TT_AHEAD_DAYS
    turn = erfa.eqeq94(JD_DTN_EPOCH, tt)
    x, y, z = sun_of_date(times_ms)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.stack((cos * x + sin * y, cos * y - sin * x, z))


def sun_up(times_ms: Floats, latitude_deg: float, longitude_deg: float) -> Floats:
    """Elevation of the Sun in degrees at a geodetic place; UT1 is taken as UTC."""
    days = times_ms / DAY_MS
    turn = erfa.gst06a(JD_DTN_EPOCH, days, JD_DTN_EPOCH, days + TT_AHEAD_DAYS)
    x, y, z = sun_of_date(times_ms)
    hour = turn + np.radians(longitude_deg) - np.arctan2(y, x)
    latitude = np.radians(latitude_deg)
    sine = np.sin(latitude) * z + np.cos(latitude) * np.hypot(x, y) * np.cos(hour)
    elevation: Floats = np.degrees(np.arcsin(sine))
    return elevation


def sidereal_rad(times_ms: Floats) -> Floats:
    """Greenwich mean sidereal time (IAU 1982); UT1 is taken as UTC."""
    angle: Floats = erfa.gmst82(JD_DTN_EPOCH, times_ms / DAY_MS)
    return angle
