"""The search behind `passes`: a coarse grid, its extrema, and refined crossings of the mask.

How no pass is lost.  Elevation is sampled on a grid of about 1/30 of the fastest revolution.  A
pass that a sample falls into shows as samples above the mask.  A shorter one shows as a local
maximum of the samples below the mask: between its neighbours the elevation has exactly one true
maximum, which is found and tried against the mask.  Maxima too far round the Earth to reach the
mask are left out first.  Dips below the mask within a pass (eccentric orbits) are found likewise
from local minima.  Then all ends are refined together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from link_models.orbit.geometry import (
    EARTH_ROTATION_RAD_S,
    Bools,
    Floats,
    Ints,
    Sight,
    Station,
    perigee_rate_rad_s,
    step_grid,
)
from link_models.orbit.horizon import cut_by_horizon
from link_models.orbit.mean_elements import Satellite
from link_models.orbit.roots import TOLERANCE_MS, bracketed_roots
from link_models.orbit.spans import Spans, spans_joined

SAMPLES_PER_REVOLUTION = 30
"""Grid samples in one revolution at perigee speed: each maximum of the elevation, one in a
revolution, has a dozen on either side."""

STEP_MS_MAX = 900_000
"""Longest grid step, for high orbits, whose elevation changes with the turn of the Earth."""

STEP_MS_UNIT = 30_000
"""Grid steps are multiples of this, so that satellites share grids."""

EXTREMUM_MS = 50.0
"""Width of the bracket at which an extremum is near enough for a parabola."""

VERTEX_STEP = 1.0 / 60.0
"""Half width of that parabola in grid steps: 3 s for low orbits, whose overhead passes peak within
a minute, and wide enough that the centimetres by which SGP4's positions jitter do not show."""

VERTEX_ROUNDS = 4
"""Parabolas tried; all but the strangest orbits need one."""

BLOCK_LOOKS = 4_000_000
"""Looks sampled at a time: some 150 MB of working memory."""

ZENITH_TILT_RAD = math.radians(0.2)
"""Geodetic and geocentric vertical differ by up to 0.193 deg."""


@dataclass(frozen=True, slots=True)
class RawPasses:
    """Passes as arrays; `pair` is satellite * stations + station, `sine` of the elevation at
    culmination (`top`)."""

    pair: Ints
    rise: Floats
    down: Floats
    top: Floats
    sine: Floats


@dataclass(frozen=True, slots=True)
class _Grid:
    """Samples of a block of satellites and stations."""

    satellites: Ints
    stations: Ints
    times: Floats
    sine: Floats  # (satellites, stations, times) of the elevation; -2 where SGP4 fails
    cos_arc: Floats  # likewise, of the angle at the centre of the Earth
    radius_km: Floats  # (satellites, times)
    above: Bools


@dataclass(frozen=True, slots=True)
class _Knots:
    """True extrema of the sine of the elevation, one to each element."""

    pair: Ints
    time: Floats
    sine: Floats
    sample_sine: Floats  # at the sample that the extremum was found by
    left: Floats  # the grid times on both sides of that sample, and the sines there
    right: Floats
    left_sine: Floats
    right_sine: Floats


@dataclass(frozen=True, slots=True)
class _Edges:
    """Brackets of crossings of the mask, `up` where the satellite comes into view."""

    pair: Ints
    low: Floats
    high: Floats
    low_sine: Floats
    high_sine: Floats
    up: Bools


class PassSearch:
    """One search.  Satellites with the same grid step go together, block by block."""

    def __init__(
        self,
        satellites: Sequence[Satellite],
        stations: Sequence[Station],
        start: float,
        end: float,
        dut1_s: float,
    ) -> None:
        self.lost: set[int] = set()
        self._satellites = satellites
        self._stations = stations
        self._start = start
        self._end = end
        self._sight = Sight(satellites, stations, dut1_s)
        self._count = self._sight.stations
        # With obstacles, the passes over the lowest of them are found and then cut.
        self._floor_rad = np.radians(
            [max(s.mask_deg, min((e for _, e in s.horizon), default=-90.0)) for s in stations]
        )
        self._floor = np.sin(self._floor_rad)
        self._rate_rad_ms = np.array([_rate_max_rad_ms(s) for s in satellites])

    def run(self) -> RawPasses:
        """All passes, in any order."""
        groups: dict[int, list[int]] = {}
        for index, rate in enumerate(self._rate_rad_ms.tolist()):
            step = 2.0 * math.pi / rate / SAMPLES_PER_REVOLUTION
            step = min(max(int(step) // STEP_MS_UNIT, 1) * STEP_MS_UNIT, STEP_MS_MAX)
            groups.setdefault(step, []).append(index)
        parts: list[RawPasses] = []
        for step, members in sorted(groups.items()):
            times = step_grid(self._start, self._end, step)
            samples = len(times)
            width = max(1, min(self._count, BLOCK_LOOKS // samples))
            height = max(1, BLOCK_LOOKS // (samples * width))
            for top in range(0, len(members), height):
                for left in range(0, len(self._stations), width):
                    satellites = np.array(members[top : top + height])
                    stations = np.arange(left, min(left + width, len(self._stations)))
                    parts.append(self._block(self._sample(satellites, stations, times)))
        return _all_joined(parts)

    def _sample(self, satellites: Ints, stations: Ints, times: Floats) -> _Grid:
        position, valid = self._sight.ephemeris.grid(satellites.tolist(), times)
        radius_2 = (position**2).sum(axis=1)
        site = self._sight.frames.position_km[stations]
        up = self._sight.frames.up[stations]
        along = site @ position
        site_2 = (site**2).sum(axis=1)
        distance = radius_2[:, None, :] - 2.0 * along
        distance += site_2[:, None]
        np.sqrt(distance, out=distance)
        sine = up @ position
        sine -= (up * site).sum(axis=1)[:, None]
        sine /= distance
        if not valid.all():
            self.lost.update(satellites[~valid.all(axis=1)].tolist())
            np.copyto(sine, -2.0, where=~valid[:, None, :])
        radius = np.sqrt(radius_2)
        along /= np.sqrt(site_2)[:, None]
        along /= radius[:, None, :]
        above = sine > self._floor[stations][:, None]
        return _Grid(satellites, stations, times, sine, along, radius, above)

    def _block(self, grid: _Grid) -> RawPasses:
        maxima, minima = self._extrema(grid)
        edges = _merged(
            self._grid_edges(grid),
            self._knot_edges(maxima, top=True),
            self._knot_edges(minima, top=False),
        )
        root = self._crossings(edges)
        # Of each pair, edges up and down alternate, and the first is up.
        rise, down = root[edges.up], root[~edges.up]
        passes = Spans(
            edges.pair[edges.up], np.maximum(rise, self._start), np.minimum(down, self._end)
        )
        passes = self._cut_by_horizons(passes.long_enough())
        return self._with_culminations(passes.long_enough(), maxima)

    def _split(self, pair: Ints) -> tuple[Ints, Ints]:
        satellite, station = np.divmod(pair, self._count)
        return satellite, station

    def _pair(self, grid: _Grid, row: Ints, column: Ints) -> Ints:
        return grid.satellites[row] * self._count + grid.stations[column]

    # -- extrema -------------------------------------------------------------------------------

    def _extrema(self, grid: _Grid) -> tuple[_Knots, _Knots]:
        left, middle, right = grid.sine[..., :-2], grid.sine[..., 1:-1], grid.sine[..., 2:]
        row, column, place = np.nonzero((middle >= left) & (middle > right))
        near = self._can_be_seen(grid, row, column, place + 1)
        maxima = self._refined(grid, row[near], column[near], place[near] + 1)
        low = (middle <= left) & (middle < right) & grid.above[..., 1:-1]
        row, column, place = np.nonzero(low)
        return maxima, self._refined(grid, row, column, place + 1)

    def _can_be_seen(self, grid: _Grid, row: Ints, column: Ints, place: Ints) -> Bools:
        """Whether a satellite may come above the mask within one step of a sample.

        By the arc between station and satellite: it must fall below the arc at which a satellite
        at the largest radius nearby stands on the mask, and it cannot fall faster than the
        satellite turns at perigee plus the turn of the Earth.
        """
        radius = grid.radius_km
        nearby = np.maximum(
            np.maximum(radius[row, place - 1], radius[row, place]), radius[row, place + 1]
        )
        station = grid.stations[column]
        mask = self._floor_rad[station] - ZENITH_TILT_RAD
        site = np.linalg.norm(self._sight.frames.position_km, axis=1)[station]
        reach = np.arccos(np.clip(site / (1.01 * nearby) * np.cos(mask), -1.0, 1.0)) - mask
        step = grid.times[1] - grid.times[0]
        reach += self._rate_rad_ms[grid.satellites[row]] * step
        seen: Bools = np.arccos(np.clip(grid.cos_arc[row, column, place], -1.0, 1.0)) <= reach
        return seen

    def _refined(self, grid: _Grid, row: Ints, column: Ints, place: Ints) -> _Knots:
        """The true extrema about grid samples that are extreme among their neighbours."""
        pair = self._pair(grid, row, column)
        satellite, station = self._split(pair)
        left, right = grid.times[place - 1], grid.times[place + 1]
        _, at_left = self._sight.sine(satellite, station, left)
        _, at_right = self._sight.sine(satellite, station, right)
        time = grid.times[place].copy()
        # Where the rate does not change sign (SGP4 failing next to it), the sample itself stands.
        turns = np.flatnonzero(np.signbit(at_left) != np.signbit(at_right))
        satellite_turns, station_turns = satellite[turns], station[turns]

        def rate(index: Ints, times: Floats) -> Floats:
            return self._sight.sine(satellite_turns[index], station_turns[index], times)[1]

        time[turns] = bracketed_roots(
            rate, left[turns], right[turns], at_left[turns], at_right[turns], EXTREMUM_MS
        )
        sine = grid.sine[row, column, place]
        time[turns], sine[turns] = self._vertex(
            satellite_turns, station_turns, time[turns], grid.times[1] - grid.times[0]
        )
        return _Knots(
            pair,
            time,
            sine,
            grid.sine[row, column, place],
            left,
            right,
            grid.sine[row, column, place - 1],
            grid.sine[row, column, place + 1],
        )

    def _vertex(
        self, satellite: Ints, station: Ints, time: Floats, step: float
    ) -> tuple[Floats, Floats]:
        """Times and values of extrema that are known roughly, by positions alone.

        SGP4's velocity is not quite the derivative of its position: where it says that the
        elevation stands still is off by up to a millisecond for low orbits and by seconds for
        long slow ones.  The vertex of a parabola through three positions is not.  Of the
        velocities only the change of curvature is used, by which that parabola leans.
        """
        half = step * VERTEX_STEP
        time = time.copy()
        todo = np.arange(len(time))
        for _ in range(VERTEX_ROUNDS):
            who, where, at = satellite[todo], station[todo], time[todo]
            before, rate_before = self._sight.sine(who, where, at - half)
            middle, rate_middle = self._sight.sine(who, where, at)
            after, rate_after = self._sight.sine(who, where, at + half)
            lean = (rate_after - 2.0 * rate_middle + rate_before) * (half / 1000.0) / 6.0
            slope, bend = (after - before) / 2.0 - lean, after - 2.0 * middle + before
            with np.errstate(divide="ignore", invalid="ignore"):
                shift = -slope / bend
            # Next to a place where SGP4 fails, three points make no parabola.
            shift = np.where(np.abs(shift) * half < step, shift, 0.0)
            time[todo] = at + shift * half
            # The parabola is good near its middle only: follow those that went away from it.
            todo = todo[np.abs(shift) > 0.2]
            if not len(todo):
                break
        return time, self._sight.sine(satellite, station, time)[0]

    # -- crossings -----------------------------------------------------------------------------

    def _grid_edges(self, grid: _Grid) -> _Edges:
        above, times = grid.above, grid.times
        row, column, place = np.nonzero(above[..., 1:] != above[..., :-1])
        inner = _Edges(
            self._pair(grid, row, column),
            times[place],
            times[place + 1],
            grid.sine[row, column, place],
            grid.sine[row, column, place + 1],
            above[row, column, place + 1],
        )
        return _merged(
            inner, self._outer_edges(grid, 0, up=True), self._outer_edges(grid, -1, up=False)
        )

    def _outer_edges(self, grid: _Grid, place: int, *, up: bool) -> _Edges:
        """Passes under way at the first or last sample begin or end there."""
        row, column = np.nonzero(grid.above[..., place])
        time = np.full(len(row), grid.times[place])
        level = self._floor[grid.stations[column]]
        pair = self._pair(grid, row, column)
        return _Edges(pair, time, time, level, level, np.full(len(row), up))

    def _knot_edges(self, knots: _Knots, *, top: bool) -> _Edges:
        """A maximum above the mask among samples below it, or a minimum the other way round,
        makes two crossings that the grid does not show."""
        floor = self._floor[knots.pair % self._count]
        hidden = ((knots.sine > floor) == top) & ((knots.sample_sine > floor) != top)
        index = np.flatnonzero(hidden)
        pair, time, sine = knots.pair[index], knots.time[index], knots.sine[index]
        first = _Edges(
            pair,
            knots.left[index],
            time,
            knots.left_sine[index],
            sine,
            np.full(len(index), top),
        )
        second = _Edges(
            pair,
            time,
            knots.right[index],
            sine,
            knots.right_sine[index],
            np.full(len(index), not top),
        )
        return _merged(first, second)

    def _crossings(self, edges: _Edges) -> Floats:
        satellite, station = self._split(edges.pair)
        floor = self._floor[station]

        def excess(index: Ints, times: Floats) -> Floats:
            sine, _ = self._sight.sine(satellite[index], station[index], times)
            return sine - floor[index]

        return bracketed_roots(
            excess,
            edges.low,
            edges.high,
            edges.low_sine - floor,
            edges.high_sine - floor,
            TOLERANCE_MS,
        )

    # -- passes --------------------------------------------------------------------------------

    def _cut_by_horizons(self, passes: Spans) -> Spans:
        """Cut the passes of stations that have obstacles."""
        station = passes.pair % self._count
        parts = []
        for number, site in enumerate(self._stations):
            mine = station == number
            if site.horizon and mine.any():
                parts.append(cut_by_horizon(passes.where(mine), site, self._sight))
                passes, station = passes.where(~mine), station[~mine]
        return spans_joined([passes, *parts])

    def _with_culminations(self, passes: Spans, maxima: _Knots) -> RawPasses:
        """The highest of the maxima within each pass; where there is none, an end of it."""
        count = len(passes.pair)
        order = np.lexsort((passes.rise, passes.pair))
        passes = passes.where(order)
        is_knot = np.repeat([False, True], [count, len(maxima.pair)])
        pair = np.concatenate((passes.pair, maxima.pair))
        time = np.concatenate((passes.rise, maxima.time))
        order = np.lexsort((is_knot, time, pair))
        owner = np.cumsum(~is_knot[order]) - 1
        knot = order[is_knot[order]] - count
        owner = owner[is_knot[order]]
        # A maximum before the first rise has no owner; one after a set is of no pass.
        knot, owner = knot[owner >= 0], owner[owner >= 0]
        inside = maxima.pair[knot] == passes.pair[owner]
        inside &= maxima.time[knot] <= passes.down[owner]
        knot, owner = knot[inside], owner[inside]
        satellite, station = self._split(passes.pair)
        top = passes.rise.copy()
        sine, _ = self._sight.sine(satellite, station, top)
        last, _ = self._sight.sine(satellite, station, passes.down)
        np.copyto(top, passes.down, where=last > sine)
        np.maximum(sine, last, out=sine)
        by_height = np.argsort(maxima.sine[knot], kind="stable")
        knot, owner = knot[by_height], owner[by_height]
        higher = maxima.sine[knot] >= sine[owner]
        # Of several writes to one place NumPy keeps the last: the highest.
        top[owner[higher]] = maxima.time[knot[higher]]
        sine[owner[higher]] = maxima.sine[knot[higher]]
        return RawPasses(passes.pair, passes.rise, passes.down, top, sine)


def _rate_max_rad_ms(satellite: Satellite) -> float:
    """Fastest turn of the satellite as seen from the centre of the turning Earth."""
    return (perigee_rate_rad_s(satellite) + EARTH_ROTATION_RAD_S) / 1000.0


def _merged(*parts: _Edges) -> _Edges:
    """Edges in order of pair and time; brackets of one pair do not overlap."""
    pair = np.concatenate([part.pair for part in parts])
    low = np.concatenate([part.low for part in parts])
    high = np.concatenate([part.high for part in parts])
    order = np.lexsort((high, low, pair))
    return _Edges(
        pair[order],
        low[order],
        high[order],
        np.concatenate([part.low_sine for part in parts])[order],
        np.concatenate([part.high_sine for part in parts])[order],
        np.concatenate([part.up for part in parts])[order],
    )


def _all_joined(parts: list[RawPasses]) -> RawPasses:
    if not parts:
        empty = np.empty(0)
        return RawPasses(np.empty(0, dtype=np.intp), empty, empty, empty, empty)
    return RawPasses(
        np.concatenate([part.pair for part in parts]),
        np.concatenate([part.rise for part in parts]),
        np.concatenate([part.down for part in parts]),
        np.concatenate([part.top for part in parts]),
        np.concatenate([part.sine for part in parts]),
    )
