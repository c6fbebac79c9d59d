"""Error rates of codes over the white Gaussian channel, as functions of Eb/N0.

Uncoded, Reed-Solomon, convolutional and concatenated codes are computed; turbo and LDPC codes have
a waterfall of known place and width.  All curves are for an ideal demodulator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from link_models.budget.tables import tables

Array = NDArray[Any]

ERROR_RATE_MIN: Final = 1e-15
"""Lower error rates are none: a frame in 10^15 is lost once in years of the fastest links."""

_GRID_DB: Final = 0.01
"""Curves are computed on this grid and interpolated (in the logarithm of the error rate) between;
at the steepest of them, 5 decades in 0.3 dB, this is exact to 1 % of the error rate."""

_SPAN_DB: Final = (-12.0, 30.0)
"""Outside of this Eb/N0 the rates at the ends hold."""


class Curve(Protocol):
    """Error rates of a code.  Curves are frozen: their tables are kept by value."""

    def __hash__(self) -> int: ...

    def rates(self, eb_n0_db: Array) -> tuple[Array, Array]:
        """Rates of wrong bits and of lost frames at the Eb/N0 of each user bit."""
        ...


def tail(sigmas: ArrayLike) -> Array:
    """The normal distribution's Q function."""
    flat = np.asarray(sigmas, dtype=float) / math.sqrt(2.0)
    found: Array = 0.5 * np.array([math.erfc(one) for one in flat.ravel()]).reshape(flat.shape)
    return found


def tail_inverse(probability: float) -> float:
    """The standard deviations beyond which this probability lies, by bisection."""
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        if 0.5 * math.erfc(middle / math.sqrt(2.0)) > probability:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def any_of(probability: ArrayLike, count: ArrayLike) -> Array:
    """The probability of at least one of `count` independent events; exact for rare ones."""
    capped = np.clip(np.asarray(probability, dtype=float), 0.0, 1.0 - 1e-16)
    found: Array = -np.expm1(np.asarray(count) * np.log1p(-capped))
    return found


def error_rates(curve: Curve, eb_n0_db: ArrayLike) -> tuple[Array, Array]:
    """Rates of wrong bits and of lost frames, from a table of the curve."""
    grid, bits, frames = _table(curve)
    at = np.asarray(eb_n0_db, dtype=float)
    both = [10.0 ** np.interp(at, grid, logs) for logs in (bits, frames)]
    bit, frame = (np.where(rate <= ERROR_RATE_MIN * 1.001, 0.0, rate) for rate in both)
    return bit, frame


def required_eb_n0_db(curve: Curve, frame_error_rate: float) -> float:
    """The Eb/N0 at which the rate of lost frames falls to a value."""
    grid, _, frames = _table(curve)
    above = np.flatnonzero(frames > math.log10(frame_error_rate))
    last = int(above[-1])
    return float(
        np.interp(-math.log10(frame_error_rate), -frames[last : last + 2], grid[last : last + 2])
    )


@lru_cache(maxsize=256)
def _table(curve: Curve) -> tuple[Array, Array, Array]:
    grid = np.arange(_SPAN_DB[0], _SPAN_DB[1] + _GRID_DB / 2, _GRID_DB)
    bits, frames = curve.rates(grid)
    logs = [np.log10(np.clip(rate, ERROR_RATE_MIN, 1.0)) for rate in (bits, frames)]
    for array in (grid, *logs):
        array.flags.writeable = False
    return grid, logs[0], logs[1]


@dataclass(frozen=True, slots=True)
class Uncoded:
    """BPSK, or QPSK with Gray labels, without any code."""

    frame_bits: int

    def rates(self, eb_n0_db: Array) -> tuple[Array, Array]:
        """Wrong bits are Q(sqrt(2 Eb/N0)); one loses the frame."""
        bits = _channel(eb_n0_db)
        return bits, any_of(bits, self.frame_bits)


@dataclass(frozen=True, slots=True)
class ReedSolomon:
    """A Reed-Solomon code over octets on a hard-deciding channel (CCSDS 131.0-B §4)."""

    n: int = 255
    k: int = 223
    interleave: int = 5

    def rates(self, eb_n0_db: Array) -> tuple[Array, Array]:
        """Octets are wrong independently of one another (CCSDS 130.1-G §5.4)."""
        bits = _channel(eb_n0_db + 10.0 * math.log10(self.k / self.n))
        octets = any_of(bits, 8)
        return self.after(octets, bits / np.maximum(octets, 1e-300))

    def after(self, wrong: Array, bits_of_octet: Array) -> tuple[Array, Array]:
        """Error rates after decoding, from the rate of wrong octets and the share of their bits
        that are wrong."""
        corrects = (self.n - self.k) // 2
        codeword, octets = _beyond(np.clip(wrong, 1e-300, 1.0), self.n, corrects)
        return octets * np.clip(bits_of_octet, 0.0, 0.5), any_of(codeword, self.interleave)


# Error events of the K = 7, rate 1/2 code with generators 171 and 133 (octal) at distances 10, 12,
# ... 28: how many there are, and how many wrong bits they have together.  Both follow from the
# trellis, and the tests count them there.
_EVENTS: Final = (11, 38, 193, 1331, 7275, 40406, 234969, 1337714, 7594819, 43375588)
_EVENT_BITS: Final = (
    *(36, 211, 1404, 11633, 77433, 502690, 3322763, 21292910, 134365911, 843425871),
)

_BOUND_FROM_DB: Final = 4.0
"""Here the union bound is within 5 % of the measurement; it takes over."""

_OCTETS_PER_BIT: Final = 10.0**0.501
"""Wrong octets for each wrong bit at 4 dB, as measured.  It hardly changes above."""


@dataclass(frozen=True, slots=True)
class Convolutional:
    """The K = 7, rate 1/2 code of CCSDS 131.0-B §3 with an unquantised Viterbi decoder."""

    frame_bits: int

    def rates(self, eb_n0_db: Array) -> tuple[Array, Array]:
        """Measured at low Eb/N0, the union bound above; errors come in bursts of some octets."""
        bits, _ = _viterbi(eb_n0_db)
        # The mean error event: its share of the wrong bits says how many events there are.
        events = bits * _EVENTS[0] / _EVENT_BITS[0]
        return bits, any_of(events, self.frame_bits)


@dataclass(frozen=True, slots=True)
class Concatenated:
    """Reed-Solomon outside, convolutional inside (CCSDS 131.0-B §3 and §4).

    The interleaving is taken for ideal; with a depth of 5 it costs less than 0.1 dB
    (CCSDS 130.1-G §6.3).
    """

    outer: ReedSolomon = ReedSolomon()

    def rates(self, eb_n0_db: Array) -> tuple[Array, Array]:
        """CCSDS 130.1-G §6.3: the octets that leave the Viterbi decoder wrong, into the outer
        code."""
        inner = eb_n0_db + 10.0 * math.log10(self.outer.k / self.outer.n)
        bits, octets = _viterbi(inner)
        return self.outer.after(octets, bits / np.maximum(octets, 1e-300))


@dataclass(frozen=True, slots=True)
class Waterfall:
    """A long iteratively decoded code: frames are lost as Q((Eb/N0 - middle) / width).

    This is the finite-length scaling law of LDPC codes (Amraoui, Montanari, Richardson, Urbanke,
    IEEE Trans. Inf. Theory 55, 2009, equation 1), linear in decibels over its some tenths.  The
    place is set by one known point, (`eb_n0_db`, `frame_error_rate`).
    """

    eb_n0_db: float
    frame_error_rate: float
    width_db: float
    floor: float = 0.0
    """Frames lost however strong the signal (turbo codes, mostly)."""

    wrong_share: float = 0.1
    """Wrong bits of a lost frame; 0.1 in simulated AR4JA and turbo codes at 10^-2 frames."""

    def rates(self, eb_n0_db: Array) -> tuple[Array, Array]:
        """Frames by the law above; a share of their bits is wrong."""
        known = tail_inverse(self.frame_error_rate)
        frames = tail((eb_n0_db - self.eb_n0_db) / self.width_db + known)
        frames = np.maximum(frames, self.floor)
        return self.wrong_share * frames, frames


@dataclass(frozen=True, slots=True)
class Detector:
    """An optical receiver that decides bit by bit: wrong bits are Q(q), and q grows with the
    received power to an exponent.

    One half where the signal's own noise rules (shot noise, optical amplifiers), one where the
    electronics' does (Giggenbach and Mata-Calvo, Applied Optics 54, 2015, equation 7).
    """

    photons_db: float
    """Photons a bit at which `bit_error_rate` is had, in decibels."""

    bit_error_rate: float
    exponent: float
    frame_bits: int

    def rates(self, eb_n0_db: Array) -> tuple[Array, Array]:
        """Here Eb/N0 is the number of photons for each bit."""
        factor = 10.0 ** (self.exponent * (eb_n0_db - self.photons_db) / 10.0)
        bits = tail(tail_inverse(self.bit_error_rate) * factor)
        return bits, any_of(bits, self.frame_bits)


def _channel(eb_n0_db: Array) -> Array:
    return tail(np.sqrt(2.0 * 10.0 ** (eb_n0_db / 10.0)))


def _viterbi(eb_n0_db: Array) -> tuple[Array, Array]:
    """Rates of wrong bits and octets after the Viterbi decoder."""
    bound = np.minimum(_union_bound(eb_n0_db), 0.5)
    joint = float(_union_bound(np.array(_BOUND_FROM_DB)))
    last = (_BOUND_FROM_DB, math.log10(joint), math.log10(joint * _OCTETS_PER_BIT))
    at, bits, octets = (np.array(column) for column in zip(*tables().viterbi, last, strict=True))
    low = eb_n0_db < _BOUND_FROM_DB
    return (
        np.where(low, 10.0 ** np.interp(eb_n0_db, at, bits), bound),
        np.where(low, 10.0 ** np.interp(eb_n0_db, at, octets), bound * _OCTETS_PER_BIT),
    )


def _union_bound(eb_n0_db: Array) -> Array:
    """Wrong bits of all error events: at distance d an event has probability Q(sqrt(2 d R Eb/N0)),
    R = 1/2."""
    energy = 10.0 ** (np.asarray(eb_n0_db, dtype=float) / 10.0)
    terms = [n * tail(np.sqrt((10 + 2 * place) * energy)) for place, n in enumerate(_EVENT_BITS)]
    return np.asarray(np.sum(terms, axis=0))


def _beyond(wrong: Array, n: int, corrects: int) -> tuple[Array, Array]:
    """A codeword of n octets has more wrong ones than it corrects: how often, and what share of
    all octets these are."""
    counts = np.arange(corrects + 1, n + 1)
    choices = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in counts]
    right = np.log1p(-np.minimum(wrong, 1.0 - 1e-12))
    chances = np.exp(
        np.array(choices) + np.outer(np.log(wrong), counts) + np.outer(right, n - counts)
    )
    return np.minimum(chances.sum(axis=1), 1.0), chances @ (counts / n)
