"""Scintillation of an optical link: the received power flickers within milliseconds.

The irradiance I has the mean 1 and one of two distributions (L. C. Andrews, R. L. Phillips, "Laser
Beam Propagation through Random Media", 2nd ed., SPIE 2005): lognormal for weak turbulence, and
gamma-gamma, the product of large-scale and small-scale flicker, for weak to strong (M. A.
Al-Habash, L. C. Andrews, R. L. Phillips, Optical Engineering 40(8), 2001).  It follows a smooth
normal process in time through its distribution function, so that values further apart than the
coherence time are independent.  Datagrams are lost while I is below the threshold of the receiver,
10^(-margin/10).  Parameters that make no sense raise `ConfigError`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from link_models.noise import Mask, SmoothNoise, Times, Values, normal_quantile, normal_share
from stack.core.clock import SECOND
from stack.core.errors import ConfigError

COHERENCE_S = 0.002
"""Milliseconds on a link to low orbit, where the beam sweeps through the turbulence: an
assumption within the 1 to 10 ms that are usual for it."""

SHAPE_MAX = 500.0
"""Largest shape parameter: 1/500 is a scintillation index without any effect."""

LOG_STEP = 0.01
"""Step of the logarithm of the irradiance in tables."""

LOG_RANGE = (-40.0, 8.0)
"""Where densities are tabulated: 170 dB down, 35 dB up."""


class Scintillation:
    """Irradiance over time, and what it loses."""

    def __init__(
        self,
        key: int,
        *,
        index: float = 0.0,
        alpha: float = 0.0,
        beta: float = 0.0,
        coherence_s: float = COHERENCE_S,
        margin_db: float = 3.0,
    ) -> None:
        """Lognormal with the scintillation index `index` (variance of the irradiance), or
        gamma-gamma with the shape parameters `alpha` and `beta`.  `coherence_s` is the time after
        which values are independent, `margin_db` how far the mean is above the threshold."""
        if not (0 < coherence_s < math.inf and math.isfinite(margin_db)):
            raise ConfigError("coherence_s, margin_db", "must be positive and finite")
        if (index > 0) == (alpha > 0 or beta > 0):
            raise ConfigError("index, alpha, beta", "give the index, or alpha and beta")
        if index:
            if not 0 < index < math.inf:
                raise ConfigError("index", "must be positive and finite")
            self._table = _lognormal(index)
        else:
            if not (0 < alpha <= SHAPE_MAX and 0 < beta <= SHAPE_MAX):
                raise ConfigError("alpha, beta", f"must be positive and at most {SHAPE_MAX:g}")
            self._table = _gamma_gamma(alpha, beta)
        self._noise = SmoothNoise(key, coherence_s * SECOND)
        # Below the threshold is the same as the normal process below this.
        threshold = -margin_db / 10 * math.log(10)
        self._below = float(np.interp(threshold, *self._table))

    @property
    def mean_loss(self) -> float:
        """The long-run share of time below the threshold."""
        return float(normal_share(np.array([self._below]))[0])

    def irradiance(self, times_ns: Times) -> Values:
        """Relative to the mean, at `times_ns`, in any order."""
        logs, normals = self._table
        return np.exp(np.interp(self._noise.many(times_ns), normals, logs))

    def fade_db(self, times_ns: Times) -> Values:
        """How far below the mean, in decibels; negative above it."""
        return -10 * np.log10(self.irradiance(times_ns))

    def lost(self, size: int, now_ns: int) -> bool:
        return self._noise.one(now_ns) < self._below

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        mask: Mask = self._noise.many(times_ns) < self._below
        return mask


def gamma_gamma_shapes(rytov_variance: float) -> tuple[float, float]:
    """Alpha and beta of a plane wave and a point receiver, from the Rytov variance (Al-Habash et
    al. 2001; Andrews and Phillips §9.10).  A large aperture averages: its alpha and beta are
    higher."""
    if not 0 < rytov_variance < math.inf:
        raise ConfigError("rytov_variance", "must be positive and finite")
    power = rytov_variance**1.2  # sigma^(12/5)
    large = 0.49 * rytov_variance / (1 + 1.11 * power) ** (7 / 6)
    small = 0.51 * rytov_variance / (1 + 0.69 * power) ** (5 / 6)
    return min(SHAPE_MAX, 1 / math.expm1(large)), min(SHAPE_MAX, 1 / math.expm1(small))


def _lognormal(index: float) -> tuple[Values, Values]:
    """Logarithms of the irradiance, rising, and the standard normal values that they belong to."""
    sigma = math.sqrt(math.log1p(index))
    normals = np.array([-8.0, 8.0])
    return sigma * normals - sigma * sigma / 2, normals


@lru_cache(maxsize=64)
def _gamma_gamma(alpha: float, beta: float) -> tuple[Values, Values]:
    """The same for the product of two gamma variables of mean 1."""
    logs = np.arange(*LOG_RANGE, LOG_STEP)
    densities = []
    for shape in (alpha, beta):
        density = np.exp(
            shape * (math.log(shape) + logs - np.exp(np.minimum(logs, 8.0))) - math.lgamma(shape)
        )
        densities.append(density / density.sum())
    product = np.convolve(*densities)
    shares = np.cumsum(product) - product / 2
    at = 2 * LOG_RANGE[0] + LOG_STEP * np.arange(len(product))
    inside = (shares > 1e-12) & (shares < 1 - 1e-12)
    at, shares = at[inside], shares[inside]
    at -= math.log(float((np.exp(at) * product[inside]).sum()))  # the mean is 1 exactly
    return np.asarray(at, np.float64), normal_quantile(shares)
