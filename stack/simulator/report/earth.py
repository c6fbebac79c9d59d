"""The Earth below all maps of reports: longitude and latitude as they are (equirectangular)."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from link_models.orbit.geometry import EARTH_FLATTENING, Ephemeris
from link_models.orbit.mean_elements import Satellite
from stack.simulator.report.plotting import Floats

T = TypeVar("T", float, Floats)

LAND, SEA_LINE = "#DCE1D4", "#B9C0B0"

TRACK_STEP_MS = 20_000
"""A satellite moves by little more than a degree in this time."""

FLATTENED = (1.0 - EARTH_FLATTENING) ** 2
"""The square of the polar radius over the equatorial one."""


def draw_earth(axes: Axes) -> None:
    """Land, and degrees at the edges."""
    file = importlib.resources.files(__package__).joinpath("land.json")
    for ring in json.loads(file.read_text("utf-8"))["land"]:
        points = np.reshape(ring, (-1, 2))
        axes.add_patch(Polygon(points, closed=True, fc=LAND, ec=SEA_LINE, lw=0.4, zorder=1))
    axes.set_xlim(-180, 180)
    axes.set_ylim(-90, 90)
    axes.set_aspect("equal")
    for set_ticks, most, hands in ((axes.set_xticks, 180, "WE"), (axes.set_yticks, 90, "SN")):
        step = 60 if most == 180 else 30
        ticks = range(-most, most + 1, step)
        set_ticks(ticks, [f"{abs(at)}°{hands[at > 0] if at % 180 else ''}" for at in ticks])


class GroundTracks:
    """What is below satellites."""

    def __init__(self, satellites: Mapping[str, Satellite]) -> None:
        self._place = {name: number for number, name in enumerate(satellites)}
        self.ephemeris = Ephemeris(list(satellites.values()))

    def below(self, satellite: str, times_ms: Floats) -> tuple[Floats, Floats]:
        """Longitude and latitude, degrees; NaN where there is no orbit."""
        fixed, valid = self.ephemeris.grid([self._place[satellite]], times_ms)
        x, y, z = np.where(valid[0], fixed[0], np.nan)
        longitude = np.degrees(np.arctan2(y, x))
        return longitude, np.degrees(np.arctan2(z, np.hypot(x, y) * FLATTENED))

    def line(self, satellite: str, start_ms: float, end_ms: float) -> tuple[Floats, Floats]:
        """The ground track between two times, broken at the edge of the map."""
        count = max(2, round((end_ms - start_ms) / TRACK_STEP_MS))
        return broken(*self.below(satellite, np.linspace(start_ms, end_ms, count)))


def broken(longitude: Floats, latitude: Floats) -> tuple[Floats, Floats]:
    """A line that does not run across the map where it leaves at one side and enters at the
    other."""
    after = np.flatnonzero(np.abs(np.diff(longitude)) > 180.0) + 1
    return np.insert(longitude, after, np.nan), np.insert(latitude, after, np.nan)


def east_of(longitude_deg: T) -> T:
    """The same longitude from -180 to 180 degrees."""
    return (longitude_deg + 180.0) % 360.0 - 180.0
