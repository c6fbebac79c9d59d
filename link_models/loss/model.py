"""What a loss model is, and the simple ones.

A model is asked in order of time: about one datagram (`lost`), or about a train of them at once
(`lost_many`, vectorised).  Both ways give the same answers for the same substream, however the
datagrams are divided into trains.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from link_models.noise import Mask, Rng, Times, check_probability

NUMBERS_AHEAD = 1024
"""Random numbers drawn at a time for single datagrams; one draw alone costs ten times more."""


class LossModel(Protocol):
    """Decides on datagrams in order of time."""

    def lost(self, size: int, now_ns: int) -> bool:
        """Whether a datagram of `size` octets that has left at `now_ns` is lost."""
        ...

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        """The same for a train: datagrams of `size` octets that have left at `times_ns` (rising,
        at least one), the last of them of `tail_bytes`."""
        ...


LossFactory = Callable[[Rng], LossModel]
"""Makes a loss model over a substream: what a channel's configuration holds."""


def no_loss(rng: Rng) -> LossModel:
    """The factory of `NoLoss`."""
    return NoLoss()


class NoLoss:
    """Loses nothing."""

    def lost(self, size: int, now_ns: int) -> bool:
        return False

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        return np.zeros(len(times_ns), np.bool_)


class Bernoulli:
    """Loses each datagram with the same probability, whatever happened to the others."""

    def __init__(self, rng: Rng, probability: float) -> None:
        """`probability` of loss, 0 to 1."""
        check_probability("probability", probability)
        self._uniform = Ahead(rng.random)
        self.probability = probability

    def lost(self, size: int, now_ns: int) -> bool:
        return self._uniform.one() < self.probability

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        return self._uniform.many(len(times_ns)) < self.probability


class BitErrors:
    """Loses a datagram when any of its bits is wrong: what a frame check over a noisy link does."""

    def __init__(self, rng: Rng, bit_error_rate: float, overhead_bytes: int = 0) -> None:
        """`bit_error_rate` after channel decoding; `overhead_bytes` of lower headers a datagram."""
        check_probability("bit_error_rate", bit_error_rate)
        self._uniform = Ahead(rng.random)
        self._log_ok_per_octet = 8 * log_ok(bit_error_rate)
        self._overhead_bytes = overhead_bytes

    def probability(self, size: int) -> float:
        """Probability that a datagram of `size` octets is lost."""
        return -math.expm1(self._log_ok_per_octet * (size + self._overhead_bytes))

    def lost(self, size: int, now_ns: int) -> bool:
        return self._uniform.one() < self.probability(size)

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        drawn = self._uniform.many(len(times_ns))
        lost = drawn < self.probability(size)
        if tail_bytes != size:
            lost[-1] = drawn[-1] < self.probability(tail_bytes)
        return lost


class Ahead:
    """A sequence of random numbers, cheap one by one and in bulk, and the same either way."""

    def __init__(self, draw: Callable[[int], Times]) -> None:
        """`draw(n)` gives the next `n` numbers; uniform ones are `Ahead(rng.random)`."""
        self._draw = draw
        self._ahead: list[float] = []
        self._next = 0

    def one(self) -> float:
        """The next number."""
        place = self._next
        if place == len(self._ahead):
            self._ahead = self._draw(NUMBERS_AHEAD).tolist()
            place = 0
        self._next = place + 1
        return self._ahead[place]

    def many(self, n: int) -> Times:
        """The next `n` numbers."""
        place = self._next
        if place == len(self._ahead):
            return self._draw(n)
        drawn = np.array(self._ahead[place : place + n])
        self._next = place + len(drawn)
        if len(drawn) < n:
            drawn = np.concatenate((drawn, self._draw(n - len(drawn))))
        return drawn


def log_ok(error_rate: float) -> float:
    """The logarithm of the share of what is right, finite also for an error rate of 1."""
    return math.log1p(-min(error_rate, 1 - 1e-16))
