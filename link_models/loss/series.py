"""Losses that follow a series: error rates second by second, as a link budget gives them.  What
does not fit together raises `ConfigError`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from link_models.loss.model import Ahead, log_ok
from link_models.noise import Mask, Rng, Times
from stack.core.errors import ConfigError

SAMPLES_MAX = 10_000_000
"""Samples of a series: four months of seconds."""

FRAME_BYTES_MIN = 32
"""Shorter than any transfer frame; bounds the frames of a train."""


class Steps:
    """A value that changes in steps: at each time the one of the last sample up to then, and
    before the first sample the first."""

    def __init__(self, key: str, times_ns: Sequence[float], values: Sequence[float]) -> None:
        """Raises `ConfigError` under `key` unless times rise and values are finite."""
        self.times_ns = np.asarray(times_ns, np.float64)
        self.values = np.asarray(values, np.float64)
        if not 0 < len(self.times_ns) <= SAMPLES_MAX or len(self.times_ns) != len(self.values):
            raise ConfigError(key, f"needs as many values as times, 1 to {SAMPLES_MAX}")
        if np.any(np.diff(self.times_ns) <= 0) or not np.all(np.isfinite(self.times_ns)):
            raise ConfigError(key, "times must rise")
        if not np.all(np.isfinite(self.values)):
            raise ConfigError(key, "values must be finite")
        self._list = self.times_ns.tolist()

    def one(self, now_ns: float) -> float:
        """The value at `now_ns`."""
        return float(self.values[max(0, bisect_right(self._list, now_ns) - 1)])

    def many(self, times_ns: Times) -> Times:
        """The values at `times_ns`."""
        places = np.searchsorted(self.times_ns, times_ns, side="right") - 1
        found: Times = self.values[np.maximum(places, 0)]
        return found


def _rates(key: str, times_ns: Sequence[float], rates: Sequence[float]) -> Steps:
    steps = Steps(key, times_ns, rates)
    if np.any((steps.values < 0) | (steps.values > 1)):
        raise ConfigError(key, "error rates are between 0 and 1")
    return steps


class VaryingLoss:
    """Loses each datagram with a probability that changes over time."""

    def __init__(self, rng: Rng, times_ns: Sequence[float], probability: Sequence[float]) -> None:
        self._steps = _rates("probability", times_ns, probability)
        self._uniform = Ahead(rng.random)

    def lost(self, size: int, now_ns: int) -> bool:
        return self._uniform.one() < self._steps.one(now_ns)

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        return self._uniform.many(len(times_ns)) < self._steps.many(times_ns)


class VaryingBitErrors:
    """Loses a datagram when any of its bits is wrong, at a bit error rate that changes."""

    def __init__(
        self,
        rng: Rng,
        times_ns: Sequence[float],
        bit_error_rate: Sequence[float],
        overhead_bytes: int = 0,
    ) -> None:
        """`bit_error_rate` after channel decoding; `overhead_bytes` of lower headers a datagram."""
        rates = _rates("bit_error_rate", times_ns, bit_error_rate)
        logs = [8 * log_ok(rate) for rate in rates.values.tolist()]
        self._log_ok_per_octet = Steps("bit_error_rate", times_ns, logs)
        self._overhead_bytes = overhead_bytes
        self._uniform = Ahead(rng.random)

    def lost(self, size: int, now_ns: int) -> bool:
        exponent = self._log_ok_per_octet.one(now_ns) * (size + self._overhead_bytes)
        return bool(self._uniform.one() < -np.expm1(exponent))

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        octets = np.full(len(times_ns), float(size + self._overhead_bytes))
        octets[-1] = tail_bytes + self._overhead_bytes
        exponents = self._log_ok_per_octet.many(times_ns) * octets
        mask: Mask = self._uniform.many(len(times_ns)) < -np.expm1(exponents)
        return mask


class _Frame(NamedTuple):
    """The frame that was sent last."""

    number: int
    bad: bool


class FrameErrors:
    """Loses the datagrams that are carried, wholly or in part, by a wrong transfer frame.

    Datagrams fill the frames of the link one after another, as encapsulation packets fill AOS
    frames or DVB-S2 base-band frames.  A datagram that lies in n frames is lost with the
    probability 1 - (1 - fer)^n; neighbours in the same frame are lost together.  Idle time is not
    counted as fill.
    """

    def __init__(
        self,
        rng: Rng,
        times_ns: Sequence[float],
        frame_error_rate: Sequence[float],
        frame_bytes: int,
        overhead_bytes: int = 0,
    ) -> None:
        """`frame_error_rate` at `times_ns` (in steps), `frame_bytes` of data a frame carries;
        `overhead_bytes` of lower headers a datagram."""
        if frame_bytes < FRAME_BYTES_MIN or overhead_bytes < 0:
            raise ConfigError("frame_bytes", f"must be at least {FRAME_BYTES_MIN}")
        self._rates = _rates("frame_error_rate", times_ns, frame_error_rate)
        self._uniform = Ahead(rng.random)
        self._frame_bytes = frame_bytes
        self._overhead_bytes = overhead_bytes
        self._filled = 0
        self._last = _Frame(-1, False)

    def lost(self, size: int, now_ns: int) -> bool:
        """Whether a datagram of `size` octets is lost."""
        begin = self._filled
        self._filled = end = begin + size + self._overhead_bytes
        first, last = begin // self._frame_bytes, (end - 1) // self._frame_bytes
        number, bad = self._last
        lost = bad and number >= first
        if last > number:
            rate = self._rates.one(now_ns)
            for _ in range(last - number):
                bad = self._uniform.one() < rate
                lost = lost or bad
            self._last = _Frame(last, bad)
        return lost

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        """The same for the datagrams of a train; `tail_bytes` is the size of its last."""
        n, frame_bytes = len(times_ns), self._frame_bytes
        octets = np.full(n, size + self._overhead_bytes, np.int64)
        octets[-1] = tail_bytes + self._overhead_bytes
        ends = self._filled + np.cumsum(octets)
        first, last = (ends - octets) // frame_bytes, (ends - 1) // frame_bytes
        self._filled = int(ends[-1])
        number, was_bad = self._last
        # How many frames each datagram begins; each of those is drawn at the datagram's rate.
        begun = np.diff(last, prepend=number)
        rates = np.repeat(self._rates.many(times_ns), begun)
        bad = np.append(was_bad, self._uniform.many(len(rates)) < rates)
        self._last = _Frame(int(last[-1]), bool(bad[-1]))
        wrong_before = np.append(0, np.cumsum(bad))
        mask: Mask = wrong_before[last - number + 1] > wrong_before[first - number]
        return mask
