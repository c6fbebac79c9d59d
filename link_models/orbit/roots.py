"""Many bracketed roots at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

TOLERANCE_MS = 0.02
"""Width of the bracket at which an end of a pass counts as found."""

ROUNDS_MAX = 128
"""Bisection alone halves a bracket of a day to 0.01 ms in 43 rounds; the method needs about 8 and
never more than about three times what bisection needs."""


def bracketed_roots(
    function: Callable[[Ints, Floats], Floats],
    low: Floats,
    high: Floats,
    at_low: Floats,
    at_high: Floats,
    tolerance: float,
) -> Floats:
    """Where each of many functions crosses zero between `low` and `high`, within `tolerance`.

    `function(index, x)` gives the value of the functions numbered `index` (rising) at `x`;
    `at_low` and `at_high` are its values at the ends, of opposite sign (or zero).  A jump counts
    as a crossing.

    Chandrupatla's method (Advances in Engineering Software 28, 1997): inverse quadratic
    interpolation where three points allow it, bisection elsewhere; the bracket always holds.
    """
    root = np.where(np.abs(at_low) < np.abs(at_high), low, high)
    index = np.arange(len(root))
    # a: newest point; b: the other end of the bracket; c: the point before.
    a, fa, b, fb = high.copy(), at_high.copy(), low.copy(), at_low.copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        # The first step is the secant, kept away from the ends.
        step = np.clip(np.nan_to_num(fa / (fa - fb), nan=0.5), 0.05, 0.95)
    for _ in range(ROUNDS_MAX):
        x = a + step * (b - a)
        fx = function(index, x)
        same = np.signbit(fx) == np.signbit(fa)
        c, fc = np.where(same, a, b), np.where(same, fa, fb)
        b, fb = np.where(same, b, a), np.where(same, fb, fa)
        a, fa = x, fx
        best = np.where(np.abs(fa) < np.abs(fb), a, b)
        width = np.abs(b - a)
        root[index] = best
        going = (width > tolerance) & (fx != 0.0)
        if not going.any():
            break
        index = index[going]
        a, fa, b, fb, c, fc = (v[going] for v in (a, fa, b, fb, c, fc))
        step = _next_step(a, fa, b, fb, c, fc)
        edge = 0.45 * tolerance / width[going]
        step = np.clip(step, edge, 1.0 - edge)
    return root


def _next_step(a: Floats, fa: Floats, b: Floats, fb: Floats, c: Floats, fc: Floats) -> Floats:
    """Where in the bracket, as a fraction from `a` to `b`, to look next."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        xi = (a - b) / (c - b)
        phi = (fa - fb) / (fc - fb)
        smooth = (phi**2 < xi) & ((1.0 - phi) ** 2 < 1.0 - xi)
        quadratic = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (
            fc - fb
        )
    step: Floats = np.where(smooth & np.isfinite(quadratic), quadratic, 0.5)
    return step
