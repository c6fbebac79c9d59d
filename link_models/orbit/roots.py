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


def bracketed_peaks(
    function: Callable[[Ints, Floats], Floats],
    points: tuple[Floats, Floats, Floats],
    values: tuple[Floats, Floats, Floats],
    tolerance: float,
) -> tuple[Floats, Floats]:
    """Where each of many functions is highest between three points, and how high.

    `points` are the left, middle and right ones and `values` theirs, the middle one the highest.
    The search for one peak ends as soon as a value above zero is found, since callers want to
    know whether there is one; or else when the bracket is narrower than `tolerance`.

    Each round looks at the vertex of the parabola through the three points, close on both sides
    of it, and in the middle of the wider half, so that the bracket shrinks for any function.
    """
    x, y = np.stack(points), np.stack(values)
    time, best = points[1].copy(), values[1].copy()
    index = np.arange(len(time))
    for _ in range(ROUNDS_MAX):
        going = (best[index] <= 0.0) & (x[2] - x[0] > tolerance)
        if not going.any():
            break
        index, x, y = index[going], x[:, going], y[:, going]
        looks = _peak_looks(x, y)
        found = function(np.repeat(index, len(looks)), looks.T.ravel()).reshape(-1, len(looks)).T
        x, y = np.concatenate((x, looks)), np.concatenate((y, found))
        place = np.arange(len(index))
        top = y.argmax(axis=0)
        at_top = x[top, place]
        left = np.where(x < at_top, x, -np.inf).argmax(axis=0)
        right = np.where(x > at_top, x, np.inf).argmin(axis=0)
        chosen = np.stack((left, top, right))
        x, y = x[chosen, place], y[chosen, place]
        time[index], best[index] = x[1], y[1]
    return time, best


def _peak_looks(x: Floats, y: Floats) -> Floats:
    """Four places in each bracket to look at, shape (4, n)."""
    (a, b, c), (fa, fb, fc) = x, y
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        p, q = (b - a) * (fb - fc), (b - c) * (fb - fa)
        vertex = b - 0.5 * ((b - a) * p - (b - c) * q) / (p - q)
    edge = (c - a) / 20.0
    vertex = np.clip(np.where(np.isfinite(vertex), vertex, b), a + 2.0 * edge, c - 2.0 * edge)
    wider = np.where(b - a > c - b, a + b, b + c) / 2.0
    return np.stack((vertex - edge, vertex, vertex + edge, wider))
