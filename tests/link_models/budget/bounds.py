"""How good a binary code of finite length can be on the Gaussian channel.

The normal approximation of Polyanskiy, Poor and Verdu (IEEE Trans. Inf. Theory 56, 2010, theorem
54 and equation 223) for binary inputs: an outside measure of what tables of thresholds claim.
"""

from __future__ import annotations

import math

import numpy as np

from link_models.budget.curves import tail

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(200)
_CHANCES = _WEIGHTS / _WEIGHTS.sum()


def frame_error_rate(eb_n0_db: float, k: int, n: int) -> float:
    """The best loss of frames of k bits in n symbols (BPSK)."""
    snr = 2.0 * (k / n) * 10.0 ** (eb_n0_db / 10.0)
    density = 1.0 - np.logaddexp(0.0, -2.0 * snr - 2.0 * math.sqrt(snr) * _NODES) / math.log(2.0)
    capacity = float(_CHANCES @ density)
    dispersion = float(_CHANCES @ (density - capacity) ** 2)
    sigmas = (n * capacity - k + 0.5 * math.log2(n)) / math.sqrt(n * dispersion)
    return float(tail(sigmas))


def required_eb_n0_db(k: int, n: int, target: float) -> float:
    """The lowest Eb/N0 for a loss of frames."""
    low, high = -2.0, 15.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if frame_error_rate(middle, k, n) > target else (low, middle)
    return high
