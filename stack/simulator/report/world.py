"""The map of a report: stations and what they see, ground tracks, and where the passes were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from link_models.orbit.geometry import Station
from link_models.orbit.mean_elements import Satellite
from stack.core.units import count_text, duration_text
from stack.simulator.report.earth import GroundTracks, broken, draw_earth, east_of
from stack.simulator.report.page import label
from stack.simulator.report.plotting import COLOURS, DARK, GREY, SMALL_IN, Floats, picture, style

EARTH_KM = 6371.0
"""Mean radius, near enough for a map."""

TRACKS_WHOLE_MAX = 2
"""Satellites whose tracks are drawn over a day; more would cover the map."""

TRACKS_MAX = 30
"""Satellites that have a track; of more only the passes are drawn."""

DAY_MS, ORBIT_MS = 86_400_000, 6_000_000

PASSES_MAX = 600

PASSES_WIDE_MAX = 60
"""More passes are drawn as thin lines."""

STATIONS_NAMED_MAX = 40


@dataclass(frozen=True, slots=True)
class Overflight:
    """A pass on the map."""

    station: str
    satellite: str
    start_ms: int
    end_ms: int
    used: bool


@dataclass(frozen=True, slots=True)
class World:
    """What a map is made of; times are DTN milliseconds."""

    stations: Mapping[str, Station]
    satellites: Mapping[str, Satellite]
    passes: Sequence[Overflight]
    start_ms: int
    end_ms: int


def world_map(world: World, colours: Mapping[str, str]) -> str:
    """The map as a figure of a page: with a colour for each station; empty without satellites."""
    if not world.satellites or not world.stations:
        return ""
    return _Map(world, colours).picture()


class _Map:
    """Draws it."""

    def __init__(self, world: World, colours: Mapping[str, str]) -> None:
        self._world = world
        self._colours = colours
        self._tracks = GroundTracks(world.satellites)
        whole = len(world.satellites) <= TRACKS_WHOLE_MAX
        span_ms = DAY_MS if whole else ORBIT_MS
        self._until_ms = min(world.end_ms, world.start_ms + span_ms)
        self._shown = world.passes[:PASSES_MAX]
        self._heights_km = self._heights()

    def picture(self) -> str:
        """The figure."""
        with style(small=True):
            figure = Figure(figsize=(SMALL_IN, 5.1), layout="constrained")
            axes = figure.subplots()
            draw_earth(axes)
            if len(self._world.satellites) <= TRACKS_MAX:
                for name in self._world.satellites:
                    track = self._tracks.line(name, self._world.start_ms, self._until_ms)
                    axes.plot(*track, color=GREY, lw=0.6, zorder=2)
            wide = 2.2 if len(self._shown) <= PASSES_WIDE_MAX else 0.7
            for one in sorted(self._shown, key=lambda each: each.used):
                colour = self._colours.get(one.station, COLOURS[0]) if one.used else "#8A929C"
                width = wide if one.used else wide / 2
                track = self._tracks.line(one.satellite, one.start_ms, one.end_ms)
                axes.plot(*track, color=colour, lw=width, zorder=4 if one.used else 3)
            self._stations(axes)
            self._key(axes)
            return picture(figure, self._words(), times=False)

    def _words(self) -> str:
        """What the map shows."""
        world = self._world
        used = sum(one.used for one in world.passes)
        places = ", ".join(
            f"{label(name)} at {one.latitude_deg:.1f}, {one.longitude_deg:.1f} degrees"
            for name, one in list(world.stations.items())[:12]
        )
        return (
            f"World map of {count_text(len(world.stations), 'station')} ({places}), the ground "
            f"tracks of {count_text(len(world.satellites), 'satellite')} over "
            f"{duration_text((self._until_ms - world.start_ms) / 1000)}, and "
            f"{count_text(len(world.passes), 'pass')}, {used} of them used."
        )

    def _heights(self) -> list[float]:
        """Heights of the satellites: one if they are alike, else the lowest and the highest."""
        times = np.linspace(self._world.start_ms, self._until_ms, 40)
        fixed, valid = self._tracks.ephemeris.grid(range(len(self._world.satellites)), times)
        heights = np.where(valid, np.linalg.norm(fixed, axis=1) - EARTH_KM, np.nan)
        heights = heights[np.isfinite(heights).any(axis=1)]
        if not len(heights):
            return []
        each = np.nanmean(heights, axis=1)
        low, high = float(each.min()), float(each.max())
        return [low, high] if high > 1.2 * low else [(low + high) / 2]

    def _stations(self, axes: Axes) -> None:
        for name, station in self._world.stations.items():
            colour = self._colours.get(name, DARK)
            for height_km in self._heights_km:
                axes.plot(*_circle(station, height_km), color=colour, lw=0.9, ls="--", zorder=3)
            longitude = east_of(station.longitude_deg)
            axes.plot(
                longitude,
                station.latitude_deg,
                "^",
                color=colour,
                ms=6,
                mec="#FFFFFF",
                mew=0.7,
                zorder=6,
            )
            if len(self._world.stations) <= STATIONS_NAMED_MAX:
                axes.annotate(
                    label(name),
                    (longitude, station.latitude_deg),
                    xytext=(5 if longitude < 120 else -5, 4),
                    textcoords="offset points",
                    ha="left" if longitude < 120 else "right",
                    fontsize=10.5,
                    fontweight="bold",
                    zorder=7,
                )

    def _key(self, axes: Axes) -> None:
        world = self._world
        heights = " and ".join(f"{height:,.0f} km" for height in self._heights_km)
        colour = next(iter(self._colours.values()), COLOURS[0])
        entries = [
            ("^", "", DARK, 1.0, "station"),
            ("", "--", DARK, 0.9, f"sees satellites at {heights} within"),
            ("", "-", colour, 2.2, "pass, used (colour of its station)"),
        ]
        if not all(one.used for one in self._shown):
            entries.append(("", "-", "#8A929C", 1.1, "pass, not used"))
        if len(world.satellites) <= TRACKS_MAX:
            span = duration_text((self._until_ms - world.start_ms) / 1000)
            entries.append(("", "-", GREY, 0.6, f"ground track, {span}"))
        handles = [
            Line2D([], [], marker=marker, ls=line or "none", color=tint, lw=width, label=text)
            for marker, line, tint, width, text in entries
        ]
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncol=2)
        some = f" (the first {len(self._shown)})" if len(self._shown) < len(world.passes) else ""
        axes.set_title(f"Where the passes were{some}")


def _circle(station: Station, height_km: float) -> tuple[Floats, Floats]:
    """Where a satellite is when it comes above the mask or the horizon of a station."""
    azimuth = np.linspace(0.0, 360.0, 361)
    mask = np.full(361, station.mask_deg)
    if station.horizon:
        known, heights = np.array(station.horizon).T
        mask = np.maximum(mask, np.interp(azimuth, known, heights, period=360.0))
    low = np.radians(mask)
    reach = np.arccos(np.cos(low) * EARTH_KM / (EARTH_KM + height_km)) - low
    here, course = np.radians(station.latitude_deg), np.radians(azimuth)
    sine = np.sin(here) * np.cos(reach) + np.cos(here) * np.sin(reach) * np.cos(course)
    east = np.sin(course) * np.sin(reach) * np.cos(here)
    north = np.cos(reach) - np.sin(here) * sine
    longitude = station.longitude_deg + np.degrees(np.arctan2(east, north))
    return broken(east_of(longitude), np.degrees(np.arcsin(sine)))
