"""Which datagrams a link loses.

A model is asked in order of time and answers for one datagram (`lost`) or for a run of them
(`lost_many`, vectorised).  Burst models run in time and not per datagram, so that a fade of 80 ms
stays 80 ms when the packet rate changes.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stack.core.clock import SECOND
from stack.core.errors import ConfigError

Mask = NDArray[np.bool_]
Rng = np.random.Generator

HOUR_NS = 3600 * SECOND

FOREVER_NS = 1 << 100
"""Longer than any run, however long ago it began."""

BLACKOUTS_MAX = 1_000_000
"""Blackouts drawn ahead of a run, about: tens of megabytes."""

UNIFORMS = 1024
"""Uniform numbers drawn at a time for single datagrams; one draw alone costs ten times more."""


class LossModel(Protocol):
    """Decides on datagrams in order of time."""

    def lost(self, size: int, now_ns: int) -> bool:
        """Whether a datagram of `size` octets that leaves at `now_ns` is lost."""
        ...

    def lost_many(self, n: int, size: int, now_ns: int, spacing_ns: float) -> Mask:
        """The same for `n` datagrams, the first at `now_ns`, the others `spacing_ns` apart."""
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

    def lost_many(self, n: int, size: int, now_ns: int, spacing_ns: float) -> Mask:
        return np.zeros(n, np.bool_)


class Bernoulli:
    """Loses each datagram with the same probability, whatever happened to the others."""

    def __init__(self, rng: Rng, probability: float) -> None:
        """`probability` of loss, 0 to 1."""
        _check_probability("probability", probability)
        self._uniform = _Uniform(rng)
        self.probability = probability

    def lost(self, size: int, now_ns: int) -> bool:
        return self._uniform.one() < self.probability

    def lost_many(self, n: int, size: int, now_ns: int, spacing_ns: float) -> Mask:
        return self._uniform.many(n) < self.probability


class BitErrors:
    """Loses a datagram when any of its bits is wrong: what a frame check over a noisy link does."""

    def __init__(self, rng: Rng, bit_error_rate: float, overhead_bytes: int = 0) -> None:
        """`bit_error_rate` after channel decoding; `overhead_bytes` of lower headers a datagram."""
        _check_probability("bit_error_rate", bit_error_rate)
        self._uniform = _Uniform(rng)
        self._log_ok_per_octet = 8 * math.log1p(-min(bit_error_rate, 1 - 1e-16))
        self._overhead_bytes = overhead_bytes

    def probability(self, size: int) -> float:
        """Probability that a datagram of `size` octets is lost."""
        return -math.expm1(self._log_ok_per_octet * (size + self._overhead_bytes))

    def lost(self, size: int, now_ns: int) -> bool:
        return self._uniform.one() < self.probability(size)

    def lost_many(self, n: int, size: int, now_ns: int, spacing_ns: float) -> Mask:
        return self._uniform.many(n) < self.probability(size)


class GilbertElliott:
    """A link that is good or bad for exponentially distributed times (E. O. Elliott, "Estimates of
    Error Rates for Codes on Burst-Noise Channels", BSTJ 42, 1963, in continuous time)."""

    def __init__(
        self,
        rng: Rng,
        *,
        good_s: float,
        bad_s: float,
        good_loss: float = 0.0,
        bad_loss: float = 1.0,
    ) -> None:
        """`good_s` and `bad_s` are mean dwell times in seconds; `good_loss` and `bad_loss` the
        probabilities of loss there.  The first state is drawn by the long-run shares."""
        if not (0 < good_s < math.inf and 0 < bad_s < math.inf):
            raise ConfigError("good_s, bad_s", "mean dwell times must be positive and finite")
        _check_probability("good_loss", good_loss)
        _check_probability("bad_loss", bad_loss)
        self._uniform = _Uniform(rng)
        self._rng = rng
        self._dwell_ns = (good_s * SECOND, bad_s * SECOND)
        self._loss = (good_loss, bad_loss)
        self._certain = {good_loss, bad_loss} <= {0.0, 1.0}
        self._bad = False
        self._until_ns = -FOREVER_NS

    @property
    def mean_loss(self) -> float:
        """The long-run share of datagrams lost."""
        good, bad = self._dwell_ns
        return (good * self._loss[0] + bad * self._loss[1]) / (good + bad)

    @classmethod
    def from_netem(
        cls,
        rng: Rng,
        *,
        p: float,
        r: float,
        one_minus_h: float = 1.0,
        one_minus_k: float = 0.0,
        packets_per_s: float,
    ) -> GilbertElliott:
        """From the parameters of `tc netem loss gemodel p r 1-h 1-k` (probabilities, 0 to 1).

        At `packets_per_s` the state, seen packet by packet, is exactly the chain of netem.  Needs
        p + r < 1: a chain that tends to change sides with each packet has no rate in time.
        """
        if not (0 < p < 1 and 0 < r < 1 and p + r < 1):
            raise ConfigError("p, r", "both must be above 0 and their sum below 1")
        if not packets_per_s > 0:
            raise ConfigError("packets_per_s", "must be positive")
        # The chain forgets by the factor 1-p-r a packet, the process by exp(-(a+b)t), with a the
        # rate into the bad state and b the rate out of it; a : b must be p : r.
        both_per_s = -math.log1p(-(p + r)) * packets_per_s
        return cls(
            rng,
            good_s=(p + r) / (p * both_per_s),
            bad_s=(p + r) / (r * both_per_s),
            good_loss=one_minus_k,
            bad_loss=one_minus_h,
        )

    @classmethod
    def from_loss_and_burst(
        cls, rng: Rng, *, loss: float, burst_packets: float, packets_per_s: float
    ) -> GilbertElliott:
        """From the share of packets lost (0 to 1) and the mean length of a run of losses, at
        `packets_per_s`.  Needs `burst_packets` > 1 / (1 - loss), which independent losses have."""
        _check_probability("loss", loss)
        if not 0 < loss < 1 or burst_packets * (1 - loss) <= 1:
            raise ConfigError(
                "loss, burst_packets",
                "loss must be above 0, and bursts longer than 1 / (1 - loss) packets",
                "use Bernoulli for losses that do not come in bursts",
            )
        r = 1 / burst_packets
        return cls.from_netem(rng, p=r * loss / (1 - loss), r=r, packets_per_s=packets_per_s)

    def lost(self, size: int, now_ns: int) -> bool:
        if now_ns >= self._until_ns:
            self._advance(now_ns)
        loss = self._loss[self._bad]
        return loss >= 1 if self._certain else self._uniform.one() < loss

    def lost_many(self, n: int, size: int, now_ns: int, spacing_ns: float) -> Mask:
        if now_ns >= self._until_ns:
            self._advance(now_ns)
        last_ns = now_ns + (n - 1) * spacing_ns
        if last_ns < self._until_ns:
            loss = self._loss[self._bad]
            return np.full(n, loss >= 1) if self._certain else self._uniform.many(n) < loss
        thresholds = np.empty(n)
        start = 0
        while start < n:
            if now_ns + start * spacing_ns >= self._until_ns:
                self._advance(int(now_ns + start * spacing_ns))
            end = n
            if last_ns >= self._until_ns:
                end = min(n, max(start + 1, math.ceil((self._until_ns - now_ns) / spacing_ns)))
            thresholds[start:end] = self._loss[self._bad]
            start = end
        return thresholds >= 1 if self._certain else self._uniform.many(n) < thresholds

    def _advance(self, now_ns: int) -> None:
        """Move on to the state that holds at `now_ns`."""
        good_ns, bad_ns = self._dwell_ns
        memory_ns = 1 / (1 / good_ns + 1 / bad_ns)
        if now_ns - self._until_ns > 50 * memory_ns:
            # So long after the last question nothing is remembered (to within exp(-50)): draw
            # anew instead of walking through a night of unobserved fades.
            self._bad = bool(self._rng.random() < bad_ns / (good_ns + bad_ns))
            self._until_ns = now_ns + self._draw_dwell_ns()
        while self._until_ns <= now_ns:
            self._bad = not self._bad
            self._until_ns += self._draw_dwell_ns()

    def _draw_dwell_ns(self) -> int:
        # At least one, so that time moves on whatever the dwell times are.
        return 1 + int(self._rng.exponential(self._dwell_ns[self._bad]))


class Blackouts:
    """Loses everything inside given intervals: a mast, a cloud, a tracking fault."""

    def __init__(self, intervals_ns: Sequence[tuple[int, int]]) -> None:
        """`intervals_ns` are (start, end), sorted and apart; the end is outside."""
        edges = [edge for interval in intervals_ns for edge in interval]
        if any(a > b for a, b in itertools.pairwise(edges)):
            raise ConfigError("intervals_ns", "must be sorted and must not overlap")
        self.intervals_ns = tuple(intervals_ns)
        self._edges = edges
        self._edges_array = np.array(edges, np.float64)

    @classmethod
    def random(
        cls,
        rng: Rng,
        *,
        inside_ns: Sequence[tuple[int, int]],
        per_hour: float,
        mean_s: float,
        shape: str = "exponential",
    ) -> Blackouts:
        """Blackouts that begin `per_hour` times an hour of the intervals `inside_ns` (passes) and
        last `mean_s` seconds in the mean; `shape` is exponential, fixed or lognormal (with a
        median of two thirds of the mean: mostly short, some long)."""
        if shape not in ("exponential", "fixed", "lognormal"):
            raise ConfigError("shape", f"{shape!r} is not exponential, fixed or lognormal")
        if not (per_hour >= 0 and mean_s >= 0):
            raise ConfigError("per_hour, mean_s", "must not be negative")
        total_ns = sum(end_ns - start_ns for start_ns, end_ns in inside_ns)
        if per_hour * total_ns / HOUR_NS > BLACKOUTS_MAX:
            raise ConfigError("per_hour", f"gives more than {BLACKOUTS_MAX} blackouts")
        found: list[tuple[int, int]] = []
        for start_ns, end_ns in inside_ns:
            at_ns = float(start_ns)
            while per_hour:
                at_ns += rng.exponential(HOUR_NS / per_hour)
                if at_ns >= end_ns:
                    break
                stop_ns = min(at_ns + _duration_ns(rng, mean_s, shape), end_ns)
                if found and found[-1][1] >= at_ns:
                    found[-1] = (found[-1][0], max(found[-1][1], round(stop_ns)))
                else:
                    found.append((round(at_ns), round(stop_ns)))
        return cls(found)

    def lost(self, size: int, now_ns: int) -> bool:
        return bisect_right(self._edges, now_ns) % 2 == 1

    def lost_many(self, n: int, size: int, now_ns: int, spacing_ns: float) -> Mask:
        times_ns = now_ns + spacing_ns * np.arange(n)
        mask: Mask = np.searchsorted(self._edges_array, times_ns, side="right") % 2 == 1
        return mask


class Replay:
    """Loses what a recorded trace lost: True for lost, one a datagram, round and round."""

    def __init__(self, trace: Sequence[bool]) -> None:
        if not len(trace):
            raise ConfigError("trace", "is empty")
        self._trace = np.array(trace, np.bool_)
        self._next = 0

    def lost(self, size: int, now_ns: int) -> bool:
        index = self._next
        self._next = (index + 1) % len(self._trace)
        return bool(self._trace[index])

    def lost_many(self, n: int, size: int, now_ns: int, spacing_ns: float) -> Mask:
        mask: Mask = self._trace[np.arange(self._next, self._next + n) % len(self._trace)]
        self._next = (self._next + n) % len(self._trace)
        return mask


class AnyOf:
    """Loses what any of its models loses; each is asked about every datagram."""

    def __init__(self, *models: LossModel) -> None:
        self._models = models

    def lost(self, size: int, now_ns: int) -> bool:
        verdicts = [model.lost(size, now_ns) for model in self._models]
        return any(verdicts)

    def lost_many(self, n: int, size: int, now_ns: int, spacing_ns: float) -> Mask:
        mask = np.zeros(n, np.bool_)
        for model in self._models:
            mask |= model.lost_many(n, size, now_ns, spacing_ns)
        return mask


class _Uniform:
    """Uniform numbers in [0, 1), cheap one by one and in bulk."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._next: Iterator[float] = iter(())

    def one(self) -> float:
        value = next(self._next, None)
        if value is None:
            self._next = iter(self._rng.random(UNIFORMS).tolist())
            value = next(self._next)
        return value

    def many(self, n: int) -> NDArray[np.float64]:
        return self._rng.random(n)


def _duration_ns(rng: Rng, mean_s: float, shape: str) -> float:
    mean_ns = mean_s * SECOND
    if shape == "fixed":
        return mean_ns
    if shape == "exponential":
        return float(rng.exponential(mean_ns))
    sigma = math.sqrt(2 * math.log(1.5))  # mean / median = exp(sigma² / 2) = 1.5
    return float(mean_ns / 1.5 * rng.lognormal(0.0, sigma))


def _check_probability(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(key, f"{value} is not a probability between 0 and 1")
