"""Links between satellites: when two of them can see, reach and follow each other.

Four limits, each a smooth function of time whose zeros are found on their own; a link exists where
all allow it.  What is neglected: the light time within the geometry (0.4 microseconds of range at
5000 km), the turn of the orbital frame about the vertical (1e-4 deg/s), and the Moon.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from link_models.orbit.geometry import (
    EARTH_FLATTENING,
    EARTH_RADIUS_KM,
    LIGHT_KM_S,
    Ephemeris,
    Floats,
    Ints,
    doppler_hz,
    grid_step_ms,
    step_grid,
)
from link_models.orbit.mean_elements import Satellite
from link_models.orbit.passes import check_window
from link_models.orbit.roots import bracketed_roots
from link_models.orbit.spans import Spans, positive_spans, spans_shared
from link_models.orbit.sun import SunTrack, shadow_spans
from stack.core.errors import ConfigError

SAMPLES_PER_REVOLUTION = 60
"""Grid samples in a revolution at perigee speed.  Two satellites that meet head-on come near each
other twice in it: 30 samples for each time."""

STEP_MS_MAX = 900_000
"""Longest grid step, for pairs of high satellites."""

STEP_MS_UNIT = 15_000
"""Grid steps are multiples of this, so that pairs share grids."""

BLOCK_STATES = 2_000_000
"""Positions and velocities kept at a time: some 100 MB."""

BLOCK_LOOKS = 200_000
"""Looks worked on at a time: some 100 MB of working memory."""

PAIRS_MAX = 2_000_000
"""Most pairs of a search: all of 2000 satellites."""

CLOSE_MS = 1.0
"""Width of the bracket of a closest approach."""

_CLOSE_SCALE = np.concatenate((np.linspace(0.0, 3.0, 10), 3.0 * 1.4 ** np.arange(1.0, 40.0)))
# Of a fly-by at distance d and speed v everything happens within a few times d / v.  Samples lie
# at these multiples of it on either side, as far as the grid does not do better.
_CLOSE_PLACES = np.concatenate((-_CLOSE_SCALE[:0:-1], _CLOSE_SCALE))


@dataclass(frozen=True, slots=True, kw_only=True)
class CrosslinkLimits:
    """What a link between satellites needs.  Raises `ConfigError` for a limit out of range."""

    grazing_m: float = 80_000.0
    """Least height of the line of sight above the ellipsoid.  Default: above the weather and most
    of the air, the value that Hypatia (IMC 2020) and studies after it use."""

    range_max_m: float = math.inf
    """Greatest distance.  Default: whatever the Earth leaves; the link budget has the say."""

    pointing_rate_max_deg_s: float = math.inf
    """Fastest turn of the line of sight in the orbital (LVLH) frame of either satellite that its
    terminal follows.  Default: any; gimbals of optical terminals do about 1 deg/s."""

    sun_exclusion_deg: float = 0.0
    """Least angle between the line of sight and the Sun at either end, for optical receivers;
    it does not count while the Earth hides the Sun.  Default: none, for radio."""

    def __post_init__(self) -> None:
        good = (
            ("grazing_m", -10_000.0 <= self.grazing_m <= 1e8),
            ("range_max_m", self.range_max_m > 0.0),
            ("pointing_rate_max_deg_s", self.pointing_rate_max_deg_s > 0.0),
            ("sun_exclusion_deg", 0.0 <= self.sun_exclusion_deg < 180.0),
        )
        for key, is_good in good:
            if not is_good:
                raise ConfigError(key, "out of range")


@dataclass(frozen=True, slots=True)
class Crosslinks:
    """Periods in which links exist, as arrays of equal length sorted by pair and time.

    `pair` is the place in the sequence of pairs that was searched, `first` and `second` are the
    satellites of that pair.  Ends are exact to 0.02 ms.
    """

    pair: Ints
    first: Ints
    second: Ints
    start_ms: Floats
    end_ms: Floats
    lost: tuple[int, ...] = ()
    """Satellites for which SGP4 failed at some time in the window: links are missing then."""

    def __len__(self) -> int:
        return len(self.start_ms)


@dataclass(frozen=True, slots=True)
class CrossLook:
    """One satellite as another sees it; one element for each time.

    NaN where SGP4 fails; and directions where both are in one place.
    """

    range_m: Floats
    range_rate_m_s: Floats
    grazing_m: Floats
    """Least height of the line of sight above the ellipsoid."""

    pointing_rate_deg_s: Floats
    """Turn of the line of sight in the LVLH frame of the satellite where it is faster."""

    @property
    def light_time_ns(self) -> Floats:
        """One-way light time in vacuum."""
        return self.range_m * (1e6 / LIGHT_KM_S)

    def doppler_hz(self, carrier_hz: float) -> Floats:
        """Shift of a carrier: positive while the satellites come nearer."""
        return doppler_hz(self.range_rate_m_s, carrier_hz)


def all_pairs(count: int) -> list[tuple[int, int]]:
    """Each of so many satellites with each other."""
    return list(itertools.combinations(range(count), 2))


def ring(count: int) -> list[tuple[int, int]]:
    """Each of so many satellites with the next, and the last with the first."""
    pairs = [(place, place + 1) for place in range(count - 1)]
    return [*pairs, (0, count - 1)] if count > 2 else pairs


def plus_grid(
    planes: int, per_plane: int, phasing: int = 0, *, seam: bool = True
) -> list[tuple[int, int]]:
    """Each satellite with both neighbours in its plane and one in each plane beside it.

    For satellites in the order of `constellation.walker` and with its `phasing`: going once round
    the planes leads that many places further in the first.  Without the `seam` the last plane has
    no link to the first, as in a Walker star, where they meet head-on.  Raises `ConfigError` for no
    satellites, and for a phasing that there is not.
    """
    if planes < 1 or per_plane < 1:
        raise ConfigError("planes", "at least one plane of one satellite")
    pairs = {
        (plane * per_plane + a, plane * per_plane + b)
        for plane in range(planes)
        for a, b in ring(per_plane)
    }
    for plane, slot in itertools.product(range(planes), range(per_plane)):
        if plane + 1 < planes:
            pairs.add((plane * per_plane + slot, (plane + 1) * per_plane + slot))
        elif seam and planes > 2:
            pairs.add(((slot + phasing) % per_plane, plane * per_plane + slot))
    return sorted(pairs)


def look_across(first: Satellite, second: Satellite, times_ms: Floats) -> CrossLook:
    """One satellite from another at DTN times (ms, UTC)."""
    pair = np.zeros(len(times_ms), dtype=np.intp)
    state = _states(Ephemeris([first, second]), np.array([[0, 1]]), pair, times_ms)
    sight = state.sight()
    distance = np.sqrt(_dot(sight, sight))
    with np.errstate(invalid="ignore"):
        approach = _dot(sight, state.second_rate - state.first_rate) / distance
    rate = np.maximum(*(np.sqrt(state.turn_2(end)) for end in (0, 1)))
    return CrossLook(
        range_m=distance * 1000.0,
        range_rate_m_s=approach * 1000.0,
        grazing_m=state.grazing_km() * 1000.0,
        pointing_rate_deg_s=np.degrees(rate),
    )


def find_crosslinks(
    satellites: Sequence[Satellite],
    pairs: Sequence[tuple[int, int]],
    start_ms: int,
    end_ms: int,
    limits: CrosslinkLimits,
) -> Crosslinks:
    """Every period between two DTN times (UTC) in which pairs of satellites can have a link.

    `pairs` are places in `satellites`; see `all_pairs`, `ring` and `plus_grid`.  Periods under a
    millisecond are left out.  Raises `ConfigError` for a bad window, pairs that do not exist or
    are one satellite, or more than `PAIRS_MAX` pairs.
    """
    check_window(start_ms, end_ms)
    if len(pairs) > PAIRS_MAX:
        raise ConfigError("pairs", f"more than {PAIRS_MAX}")
    ends = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    if len(ends) and not (
        ends.min() >= 0 and ends.max() < len(satellites) and (ends[:, 0] != ends[:, 1]).all()
    ):
        raise ConfigError("pairs", "a pair is two places among the satellites")
    search = _Search(satellites, ends, (start_ms, end_ms), limits)
    found = search.run()
    return Crosslinks(
        found.pair,
        ends[found.pair, 0],
        ends[found.pair, 1],
        found.rise,
        found.down,
        tuple(sorted(search.lost)),
    )


@dataclass(frozen=True, slots=True)
class _States:
    """Two satellites at one time each: km and km/s, shape (3, n), in the frame of SGP4."""

    first: Floats
    first_rate: Floats
    second: Floats
    second_rate: Floats

    def sight(self) -> Floats:
        """From the first to the second."""
        return self.second - self.first

    def grazing_km(self) -> Floats:
        """Least height of the line of sight.

        The ellipsoid is squeezed into a ball, where the nearest point of a line is easily found.
        """
        squeeze = np.array([[1.0], [1.0], [1.0 / (1.0 - EARTH_FLATTENING)]]) / EARTH_RADIUS_KM
        a, along = self.first * squeeze, self.sight() * squeeze
        square = _dot(along, along)
        share = -_dot(a, along) / np.where(square == 0.0, 1.0, square)
        share = np.clip(share, 0.0, 1.0)
        nearest = a + share * along
        radius = np.sqrt(_dot(nearest, nearest))
        nearest /= squeeze
        height: Floats = np.sqrt(_dot(nearest, nearest)) * (1.0 - 1.0 / radius)
        return height

    def turn_2(self, end: int) -> Floats:
        """Square of the turn of the line of sight (rad/s) in the LVLH frame of one end."""
        sight, rate = self.sight(), self.second_rate - self.first_rate
        square = _dot(sight, sight)
        place, speed = (self.second, self.second_rate) if end else (self.first, self.first_rate)
        # The frame turns with the orbit: by r x v / r^2.
        orbit = np.cross(place, speed, axis=0) / _dot(place, place)
        # The part of the rate across the line, less that of the frame.
        across = rate - np.cross(orbit, sight, axis=0)
        with np.errstate(invalid="ignore"):
            across -= sight * (_dot(across, sight) / square)
            turn: Floats = _dot(across, across) / square
        return turn


def _dot(a: Floats, b: Floats) -> Floats:
    product: Floats = np.einsum("i...,i...->...", a, b)
    return product


def _states(ephemeris: Ephemeris, ends: Ints, pair: Ints, times_ms: Floats) -> _States:
    return _States(
        *ephemeris.teme_pairs(ends[pair, 0], times_ms),
        *ephemeris.teme_pairs(ends[pair, 1], times_ms),
    )


@dataclass(frozen=True, slots=True)
class _Samples:
    """Pairs at times, sorted by pair and time, and the satellites there."""

    pair: Ints
    times: Floats
    states: _States


class _Search:
    """One search.  Pairs with the same grid step go together, block by block."""

    def __init__(
        self,
        satellites: Sequence[Satellite],
        ends: Ints,
        window_ms: tuple[int, int],
        limits: CrosslinkLimits,
    ) -> None:
        self.lost: set[int] = set()
        self._satellites = satellites
        self._ends = ends
        self._start, self._end = window_ms
        self._limits = limits
        self._ephemeris = Ephemeris(satellites)
        self._sun = SunTrack(*window_ms)
        self._turn_max = math.radians(limits.pointing_rate_max_deg_s)
        self._sun_cosine = math.cos(math.radians(limits.sun_exclusion_deg))
        self._umbra: Spans | None = None
        if limits.sun_exclusion_deg:
            self._umbra = shadow_spans(satellites, *window_ms)[1]

    def run(self) -> Spans:
        parts = [Spans(np.empty(0, dtype=np.intp), np.empty(0), np.empty(0))]
        steps = np.array(
            [
                grid_step_ms(one, SAMPLES_PER_REVOLUTION, STEP_MS_UNIT, STEP_MS_MAX)
                for one in self._satellites
            ]
        )
        step_of_pair = steps[self._ends].min(axis=1)
        for step in np.unique(step_of_pair).tolist():
            pairs = np.flatnonzero(step_of_pair == step)
            parts.extend(self._over_time(pairs, step))
        found = spans_shared(parts, 1)
        return found.clipped(self._start, self._end).long_enough()

    def _over_time(self, pairs: Ints, step: int) -> Iterator[Spans]:
        """The window in runs for which all satellites fit in memory."""
        members, ends = np.unique(self._ends[pairs], return_inverse=True)
        ends = ends.reshape(-1, 2)
        times = step_grid(self._start, self._end, step)
        size = max(64, BLOCK_STATES // len(members))
        # All but the outermost samples of a run count; they end where those of the next begin.
        for top in range(0, len(times) - 3, size - 3):
            run = times[top : top + size]
            position, velocity = self._ephemeris.teme_grid(run, members.tolist())
            failed = np.isnan(position[0]).any(axis=1)
            self.lost.update(members[failed].tolist())
            height = max(1, BLOCK_LOOKS // len(run))
            for left in range(0, len(pairs), height):
                a, b = ends[left : left + height].T
                block = _States(
                    *(x[:, row].reshape(3, -1) for row in (a, b) for x in (position, velocity))
                )
                chosen = pairs[left : left + height]
                samples = _Samples(np.repeat(chosen, len(run)), np.tile(run, len(chosen)), block)
                yield self._block(samples).clipped(run[1], run[-2])

    def _block(self, samples: _Samples) -> Spans:
        """All limits on one block of samples."""
        limits = self._limits
        parts = [self._where(samples, lambda s, _: s.grazing_km() - limits.grazing_m / 1000.0)]
        if limits.range_max_m < math.inf:
            most = (limits.range_max_m / 1000.0) ** 2
            parts.append(self._where(samples, lambda s, _: most - _dot(s.sight(), s.sight())))
        if self._turn_max < math.inf or self._umbra is not None:
            samples = self._with_fly_bys(samples)
        if self._turn_max < math.inf:
            parts += [self._steady(samples, end) for end in (0, 1)]
        if self._umbra is not None:
            parts += [self._out_of_the_sun(samples, self._umbra, end) for end in (0, 1)]
        return spans_shared(parts, len(parts))

    def _where(self, samples: _Samples, limit: Callable[[_States, Floats], Floats]) -> Spans:
        def value(pair: Ints, times_ms: Floats) -> Floats:
            return limit(_states(self._ephemeris, self._ends, pair, times_ms), times_ms)

        return positive_spans(
            value, samples.pair, samples.times, limit(samples.states, samples.times)
        )

    def _steady(self, samples: _Samples, end: int) -> Spans:
        """Where the terminal of one end can follow."""
        most = self._turn_max**2
        return self._where(samples, lambda states, _: most - states.turn_2(end))

    def _out_of_the_sun(self, samples: _Samples, umbra: Spans, end: int) -> Spans:
        """Where the Sun does not shine into the receiver of one end."""

        def clear(states: _States, times_ms: Floats) -> Floats:
            sight, place = states.sight(), states.first
            if end:
                sight, place = -sight, states.second
            sun = self._sun(times_ms) - place
            with np.errstate(invalid="ignore"):
                cosine = _dot(sight, sun) / np.sqrt(_dot(sight, sight) * _dot(sun, sun))
            away: Floats = self._sun_cosine - cosine
            return away

        pairs = np.unique(samples.pair)
        hidden = umbra.of(self._ends[pairs, end])
        hidden = Spans(pairs[hidden.pair], hidden.rise, hidden.down)
        return spans_shared([self._where(samples, clear), hidden], 1)

    def _with_fly_bys(self, samples: _Samples) -> _Samples:
        """More samples where satellites pass each other in less than a few grid steps."""
        states = samples.states
        square = _dot(states.sight(), states.sight())
        same = samples.pair[2:] == samples.pair[:-2]
        lowest = (square[1:-1] <= square[:-2]) & (square[1:-1] < square[2:])
        place = np.flatnonzero(same & lowest) + 1
        rate = _dot(states.sight(), states.second_rate - states.first_rate)
        left, right = place - 1, place + 1
        turns = (rate[left] < 0.0) & (rate[right] > 0.0)
        left, right = left[turns], right[turns]
        pair = samples.pair[left]

        def approach(index: Ints, times_ms: Floats) -> Floats:
            s = _states(self._ephemeris, self._ends, pair[index], times_ms)
            return _dot(s.sight(), s.second_rate - s.first_rate)

        ends = (samples.times[left], samples.times[right])
        nearest = bracketed_roots(approach, *ends, rate[left], rate[right], CLOSE_MS)
        s = _states(self._ephemeris, self._ends, pair, nearest)
        relative = s.second_rate - s.first_rate
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.sqrt(_dot(s.sight(), s.sight()) / _dot(relative, relative)) * 1000.0
        times = nearest[:, None] + np.maximum(scale, 1.0)[:, None] * _CLOSE_PLACES
        fine = (times > ends[0][:, None]) & (times < ends[1][:, None])
        owner = np.broadcast_to(pair[:, None], times.shape)[fine]
        times = times[fine]
        close = _states(self._ephemeris, self._ends, owner, times)
        return _merged(samples, _Samples(owner, times, close))


def _merged(a: _Samples, b: _Samples) -> _Samples:
    pair, times = np.concatenate((a.pair, b.pair)), np.concatenate((a.times, b.times))
    order = np.lexsort((times, pair))
    states = _States(
        *(
            np.concatenate((x, y), axis=1)[:, order]
            for x, y in (
                (a.states.first, b.states.first),
                (a.states.first_rate, b.states.first_rate),
                (a.states.second, b.states.second),
                (a.states.second_rate, b.states.second_rate),
            )
        )
    )
    return _Samples(pair[order], times[order], states)
