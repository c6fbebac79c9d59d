"""Clouds over optical ground stations: clear and cloudy in turn, alike at near stations.

Each place is a two-state Markov process: at random instants (Poisson, with the mean spacing
`correlation_s`) its sky is drawn anew, cloudy with the probability `cloud_fraction`.  So cloudy
times last `correlation_s / (1 - cloud_fraction)` in the mean, clear ones `correlation_s /
cloud_fraction`, both exponentially, and the correlation in time falls as exp(-t / correlation_s).

Two places share these instants.  What is drawn is the sign of a Gaussian field whose correlation
falls with the distance as exp(-d / efold_m): a Gaussian copula.  Both exponentials are what
observers' reports show (P. A. Jones, "Cloud-Cover Distributions and Correlations", J. Appl.
Meteorol. 31, 1992).  The field itself is drawn, not a table of stations (by random frequencies: A.
Rahimi, B. Recht, "Random Features for Large-Scale Kernel Machines", NIPS 2007), so a station that
is added changes nothing for the others.  Parameters that make no sense raise `ConfigError`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from link_models.noise import (
    Keyed,
    Mask,
    Times,
    Values,
    check_probability,
    normal_quantile,
    normal_share,
)
from stack.core.clock import SECOND
from stack.core.errors import ConfigError

EARTH_RADIUS_M: Final = 6_371_000.0
"""Mean radius (IUGG); a place is a point on this sphere, and distances are chords."""

CORRELATION_S: Final = 6 * 3600.0
"""Hours, as fronts take to pass.  An assumption: the literature gives some hours to half a day,
and a station's own record is better."""

EFOLD_M: Final = 300_000.0
"""Hundreds of kilometres, the size of frontal systems.  An assumption likewise; stations for site
diversity are usually put further apart than that."""

FREQUENCIES: Final = 32
"""Waves of which a draw is made: it is exactly normal at each place, and the correlation of two
places is met exactly in the mean over the draws."""

CHANGE_S: Final = 60.0
"""Mean time between two draws of the field; each place follows a share of them."""

EVENTS_TOGETHER: Final = 384
"""Draws of the field in one block, in the mean: six hours and a half."""

DISPLACEMENT: Final = 0.25
"""By how much of the correlation time a place may change later than another: distant stations do
not cloud over at the same instant.  It costs distant pairs up to a tenth of their correlation."""

CORRELATION_S_MAX: Final = EVENTS_TOGETHER * CHANGE_S / DISPLACEMENT
"""Longest correlation time of a place, 25 hours: what is displaced must reach the next block."""

BLOCK_NS: Final = round(EVENTS_TOGETHER * CHANGE_S * SECOND)

BLOCKS_KEPT: Final = 16
"""Blocks that are kept, of a few kilobytes each."""

WALK_MAX: Final = 1000
"""Blocks to look back for the last draw; with 15 in each in the mean at least, that is never."""


class KnownSite(NamedTuple):
    """A place with a published share of clouds."""

    latitude_deg: float
    longitude_deg: float
    cloud_fraction: float


# Cloudy nights: S. Cavazzani, V. Zitelli, "Satellite characterization of four interesting sites for
# astronomical instrumentation", 2012 (arXiv:1211.1520), GOES 12, 2008 and 2009: 68.6, 76.0, 70.6
# and 70.0 % clear; La Palma and Mt Graham, "Analysis of the fraction of clear sky at the La Palma
# and Mt Graham sites": 62.6 % clear from the ground, and about 45 %.
KNOWN_SITES: Final = {
    "izana": KnownSite(28.30, -16.51, 0.314),
    "la-palma": KnownSite(28.76, -17.88, 0.374),
    "mt-graham": KnownSite(32.70, -109.89, 0.55),
    "san-pedro-martir": KnownSite(31.04, -115.46, 0.24),
    "el-leoncito": KnownSite(-31.80, -69.30, 0.294),
    "san-antonio-de-los-cobres": KnownSite(-24.05, -66.23, 0.30),
}
"""Shares of cloudy nights at observatories: the best places there are."""


class _Block(NamedTuple):
    """Draws of the field, in order of time."""

    times_ns: Times
    keep: Values
    """Uniform, one a draw: a place follows the draws below its pace."""


class _Draw(NamedTuple):
    """One draw of the field: waves over space."""

    frequencies: Values
    """(wave, axis), radians a metre."""

    sky: Values
    """(cosine and sine, wave) of what says whether it is cloudy."""

    shift: Values
    """The same of what says how late it takes effect."""


class CloudField:
    """The clouds of the whole Earth."""

    def __init__(self, key: int, *, efold_m: float = EFOLD_M) -> None:
        """`efold_m` is the distance over which the correlation falls to 1/e."""
        if not 0 < efold_m < math.inf:
            raise ConfigError("efold_m", "must be positive and finite")
        self._keyed = Keyed(key)
        self._efold_m = efold_m
        self._blocks: dict[int, _Block] = {}

    def site(
        self,
        latitude_deg: float,
        longitude_deg: float,
        *,
        cloud_fraction: float,
        correlation_s: float = CORRELATION_S,
    ) -> CloudSite:
        """The sky over one place; `correlation_s` is the mean time between its changes of weather.
        Places of different `correlation_s` follow each other as far as the slower one can."""
        if not CHANGE_S <= correlation_s <= CORRELATION_S_MAX:
            raise ConfigError(
                "correlation_s", f"must be {CHANGE_S:g} to {CORRELATION_S_MAX:g} seconds"
            )
        return CloudSite(self, latitude_deg, longitude_deg, cloud_fraction, correlation_s)

    def block(self, index: int) -> _Block:
        """The draws from `index` times `BLOCK_NS` on."""
        found = self._blocks.get(index)
        if found is None:
            if len(self._blocks) >= BLOCKS_KEPT:
                del self._blocks[max(self._blocks, key=lambda one: abs(one - index))]
            rng = self._keyed.block(index)
            n = int(rng.poisson(EVENTS_TOGETHER))
            times_ns = np.sort(np.rint((index + rng.random(n)) * BLOCK_NS))
            found = _Block(times_ns, rng.random(n))
            self._blocks[index] = found
        return found

    def draw(self, index: int, number: int) -> _Draw:
        """Draw `number` of a block.  Each has a generator of its own, so that slow places need not
        make those that they do not follow."""
        rng = self._keyed.block(index, 1 + number)
        # The spectrum of exp(-d/L) in space is that of a Cauchy vector of scale 1/L.
        waves = rng.standard_normal((FREQUENCIES, 3))
        waves /= self._efold_m * np.abs(rng.standard_normal((FREQUENCIES, 1)))
        sky, shift = rng.standard_normal((2, 2, FREQUENCIES))
        return _Draw(waves, sky, shift)


class CloudSite:
    """The sky over one place; see `CloudField.site`."""

    def __init__(
        self,
        field: CloudField,
        latitude_deg: float,
        longitude_deg: float,
        cloud_fraction: float,
        correlation_s: float,
    ) -> None:
        check_probability("cloud_fraction", cloud_fraction)
        latitude, longitude = math.radians(latitude_deg), math.radians(longitude_deg)
        self.cloud_fraction = cloud_fraction
        self._level = float(normal_quantile(np.array([cloud_fraction]))[0])
        self._field = field
        self._pace = CHANGE_S / correlation_s
        self._displacement_ns = DISPLACEMENT * correlation_s * SECOND
        self._point = EARTH_RADIUS_M * np.array(
            [
                math.cos(latitude) * math.cos(longitude),
                math.cos(latitude) * math.sin(longitude),
                math.sin(latitude),
            ]
        )
        self._drawn: dict[int, tuple[Times, Mask]] = {}
        self._timelines: dict[int, tuple[Times, Mask]] = {}

    def cloudy(self, times_ns: Times) -> Mask:
        """Whether it is cloudy at `times_ns`, in any order."""
        blocks = np.floor(times_ns / BLOCK_NS).astype(np.int64)
        mask = np.empty(len(times_ns), np.bool_)
        for block in np.unique(blocks).tolist():
            chosen = blocks == block
            starts, states = self._timeline(block)
            mask[chosen] = states[np.searchsorted(starts, times_ns[chosen], side="right") - 1]
        return mask

    def spans(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """The cloudy times from `start_ns` to `end_ns`."""
        found: list[tuple[int, int]] = []
        for block in range(math.floor(start_ns / BLOCK_NS), math.floor(end_ns / BLOCK_NS) + 1):
            starts, states = self._timeline(block)
            edges = [*starts.tolist(), (block + 1) * BLOCK_NS]
            for (begin, end), cloudy in zip(pairwise(edges), states.tolist(), strict=True):
                begin_ns, until_ns = max(start_ns, round(begin)), min(end_ns, round(end))
                if not cloudy or begin_ns >= until_ns:
                    continue
                if found and found[-1][1] == begin_ns:
                    begin_ns = found.pop()[0]
                found.append((begin_ns, until_ns))
        return found

    def lost(self, size: int, now_ns: int) -> bool:
        starts, states = self._timeline(math.floor(now_ns / BLOCK_NS))
        return bool(states[int(np.searchsorted(starts, now_ns, side="right")) - 1])

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        return self.cloudy(times_ns)

    def _timeline(self, block: int) -> tuple[Times, Mask]:
        """Starts of times of one draw in a block, the first at its begin; and whether cloudy."""
        found = self._timelines.get(block)
        if found is None:
            if len(self._timelines) >= BLOCKS_KEPT:
                del self._timelines[max(self._timelines, key=lambda one: abs(one - block))]
            begin_ns = block * BLOCK_NS
            # A draw is displaced into the next block at most.
            now, before = self._draws(block), self._draws(block - 1)
            times_ns = np.append(before[0], now[0])
            cloudy = np.append(before[1], now[1])
            order = np.argsort(times_ns, kind="stable")
            times_ns, cloudy = times_ns[order], cloudy[order]
            inside = (times_ns > begin_ns) & (times_ns < begin_ns + BLOCK_NS)
            found = (
                np.append(begin_ns, times_ns[inside]),
                np.append(self._state(block), cloudy[inside]),
            )
            self._timelines[block] = found
        return found

    def _state(self, block: int) -> bool:
        """Whether it is cloudy at the begin of a block: the last draw before that."""
        begin_ns = block * BLOCK_NS
        best_ns, state, found = -math.inf, False, False
        for index in range(block - 1, block - 1 - WALK_MAX, -1):
            times_ns, cloudy = self._draws(index)
            old = np.flatnonzero(times_ns <= begin_ns)
            if len(old):
                place = old[np.argmax(times_ns[old])]
                if times_ns[place] > best_ns:
                    best_ns, state = float(times_ns[place]), bool(cloudy[place])
            if found:
                break
            found = best_ns > -math.inf  # then one block more: it may have been displaced further
        return state

    def _draws(self, index: int) -> tuple[Times, Mask]:
        """When the draws of a block take effect here, and whether they are cloudy."""
        kept = self._drawn.get(index)
        if kept is None:
            if len(self._drawn) >= BLOCKS_KEPT:
                del self._drawn[max(self._drawn, key=lambda one: abs(one - index))]
            block = self._field.block(index)
            follows = np.flatnonzero(block.keep < self._pace)
            level, shift = np.empty(len(follows)), np.empty(len(follows))
            for place, number in enumerate(follows.tolist()):
                draw = self._field.draw(index, number)
                phases = draw.frequencies @ self._point
                waves = np.array((np.cos(phases), np.sin(phases)))
                level[place] = np.vdot(waves, draw.sky)
                shift[place] = np.vdot(waves, draw.shift)
            scale = math.sqrt(1 / FREQUENCIES)
            late_ns = np.rint(normal_share(shift * scale) * self._displacement_ns)
            kept = (block.times_ns[follows] + late_ns, level * scale < self._level)
            self._drawn[index] = kept
        return kept


def from_durations(*, clear_s: float, cloudy_s: float) -> tuple[float, float]:
    """Cloud fraction and correlation time in seconds, from the mean durations of both states."""
    if not (0 < clear_s < math.inf and 0 < cloudy_s < math.inf):
        raise ConfigError("clear_s, cloudy_s", "must be positive and finite")
    return cloudy_s / (clear_s + cloudy_s), clear_s * cloudy_s / (clear_s + cloudy_s)
