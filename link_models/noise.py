"""Random numbers that depend on where they are asked for, not on who asked before.

A `Keyed` source has one key and any number of blocks, each drawn by itself from a counter-based
generator (Philox: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).  So
what happens in the slot, hour or millisecond number i is a function of the key and of i: asking
late, twice or in any order changes nothing, and two users of one key see the same weather.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stack.core.errors import ConfigError

Mask = NDArray[np.bool_]
Times = NDArray[np.float64]
Values = NDArray[np.float64]
Rng = np.random.Generator

KNOTS: Final = 4096
"""Values of a noise that are drawn together: 32 kilobytes."""

BLOCKS_KEPT: Final = 8
"""Blocks of a noise that are kept: both directions of a link and what is asked late."""

NORMAL_MAX: Final = 8.0
"""Standard deviations to which the normal distribution is tabulated; 1e-15 lies outside."""


class Keyed:
    """Generators by number under one key."""

    def __init__(self, key: int) -> None:
        """`key` is any integer up to 128 bits; see `link_models.rng.Streams.key`."""
        self._key = key

    def block(self, index: int, part: int = 0) -> Rng:
        """A fresh generator for block `index`, which may be negative, and a part of it, which may
        not."""
        counter = (part << 192) + ((index % (1 << 64)) << 128)
        return np.random.Generator(np.random.Philox(key=self._key, counter=counter))


class SmoothNoise:
    """A stationary standard normal process in time.

    Two values further apart than `memory_ns` are independent; nearer ones are the more alike the
    nearer they are.  It runs through independent values half of `memory_ns` apart.
    """

    def __init__(self, key: int, memory_ns: float) -> None:
        self._keyed = Keyed(key)
        self._step_ns = memory_ns / 2
        self._blocks: dict[int, Values] = {}
        self._last = (0, [0.0] * (KNOTS + 1))
        self._started = False

    def one(self, now_ns: float) -> float:
        """The value at `now_ns`."""
        place = now_ns / self._step_ns
        knot = math.floor(place)
        share = place - knot
        index, inside = divmod(knot, KNOTS)
        if index != self._last[0] or not self._started:
            self._last = (index, self._block(index).tolist())
            self._started = True
        values = self._last[1]
        left, right = values[inside], values[inside + 1]
        mixed = (1 - share) * left + share * right
        return mixed / math.sqrt((1 - share) * (1 - share) + share * share)

    def many(self, times_ns: Times) -> Values:
        """The values at `times_ns`, in any order."""
        places = times_ns / self._step_ns
        knots = np.floor(places)
        share = places - knots
        index, inside = np.divmod(knots.astype(np.int64), KNOTS)
        first, last = int(index.min()), int(index.max())
        if first == last:
            values = self._block(first)
            left, right = values[inside], values[inside + 1]
        else:
            left, right = np.empty(len(knots)), np.empty(len(knots))
            for block in np.unique(index).tolist():
                chosen = index == block
                values = self._block(block)
                left[chosen], right[chosen] = values[inside[chosen]], values[inside[chosen] + 1]
        mixed = (1 - share) * left + share * right
        # Between two knots the sum of weights squared is below one: keep the variance.
        smooth: Values = mixed / np.sqrt((1 - share) ** 2 + share**2)
        return smooth

    def _block(self, index: int) -> Values:
        """The knots of a block and the first of the next."""
        found = self._blocks.get(index)
        if found is None:
            if len(self._blocks) >= BLOCKS_KEPT:
                del self._blocks[min(self._blocks, key=lambda one: -abs(one - index))]
            found = np.append(self._draw(index), self._draw(index + 1)[0])
            self._blocks[index] = found
        return found

    def _draw(self, index: int) -> Values:
        return self._keyed.block(index).standard_normal(KNOTS)


class Correlated:
    """Uniform numbers in [0, 1), one a datagram, each correlated with the one before.

    The correlation is that of the normal variables behind them (a first-order autoregression), so
    that each number by itself stays uniform; `tc netem` mixes uniform numbers instead, which pulls
    them towards the middle.
    """

    def __init__(self, rng: Rng, correlation: float) -> None:
        """`correlation` from one datagram to the next, 0 up to but not 1."""
        self._rng = rng
        self._keep = correlation
        self._add = math.sqrt(1 - correlation * correlation)
        self._value = float(rng.standard_normal())

    def many(self, n: int) -> Values:
        """The next `n`."""
        if not self._keep:
            return self._rng.random(n)
        keep, value = self._keep, self._value
        values = (self._add * self._rng.standard_normal(n)).tolist()
        for place, fresh in enumerate(values):
            value = keep * value + fresh
            values[place] = value
        self._value = value
        return normal_share(np.array(values))


@lru_cache(maxsize=1)
def _normal_table() -> tuple[Values, Values]:
    """The distribution function of the normal distribution, in steps of 1/256."""
    at = np.linspace(-NORMAL_MAX, NORMAL_MAX, round(2 * NORMAL_MAX * 256) + 1)
    share = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in at.tolist()])
    return at, share


def normal_share(values: Values) -> Values:
    """The share of a standard normal distribution below `values`, to 5e-7."""
    at, share = _normal_table()
    return np.interp(values, at, share)


def normal_quantile(shares: Values) -> Values:
    """The inverse of `normal_share`."""
    at, share = _normal_table()
    return np.interp(shares, share, at)


def check_probability(key: str, value: float) -> None:
    """Raise `ConfigError` unless `value` is a probability."""
    if not 0 <= value <= 1:
        raise ConfigError(key, f"{value} is not a probability between 0 and 1")
