"""Light times as the ranges of a contact plan: steps that are as long as an error allows.

A plan knows light times as steps.  A low orbit changes its light time by up to 25 microseconds a
second near the horizon and hardly at all overhead, so steps of equal length are too short in the
one place or too wrong in the other.  Here every step is as wide as the error that is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stack.contacts.plan import RANGES_MAX, Range
from stack.core.errors import ConfigError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LIGHT_ERROR_NS = 100_000
"""Error of light times by default: a tenth of the millisecond in which a plan counts time, and
some seventy steps for a low pass."""

LIGHT_ERROR_NS_MIN = 1_000
"""Least error: times are whole milliseconds, in which two low orbits that meet head-on change
their light time by 0.05 microseconds."""

_SAMPLE_MS = 10_000.0
"""First sampling of a period.  It is halved where a straight line is too far off in the middle."""

_HALVINGS_MAX = 14
"""Down to less than a millisecond, which a plan cannot tell."""

LightTimes = Callable[[Ints, Floats], Floats]
"""Light times in nanoseconds for periods (by place, never falling) at DTN times."""


@dataclass(frozen=True, slots=True)
class LightSteps:
    """Light times of periods: arrays of equal length, by period and time."""

    owner: Ints
    """The period, by place."""

    start_ms: Ints
    end_ms: Ints
    owlt_ns: Ints


def light_steps(
    start_ms: Ints, end_ms: Ints, light_ns: LightTimes, error_ns: int = LIGHT_ERROR_NS
) -> LightSteps:
    """The fewest steps about equal bands of light time that are nowhere more than `error_ns` off.

    Raises `ConfigError` for an error below `LIGHT_ERROR_NS_MIN`, or for more than `RANGES_MAX`
    steps.
    """
    if error_ns < LIGHT_ERROR_NS_MIN:
        raise ConfigError("light_error_ns", f"at least {LIGHT_ERROR_NS_MIN}", "allow more error")
    owner, times, values = _samples(start_ms, end_ms, light_ns, 0.05 * error_ns)
    if not len(owner):
        empty = np.zeros(0, np.intp)
        return LightSteps(empty, empty, empty, empty)
    # A twentieth of the error went to the sampling, a twentieth goes to whole milliseconds.
    width = 1.8 * error_ns
    band = np.floor(values / width).astype(np.intp)
    same = owner[1:] == owner[:-1]
    jumps = np.where(same, band[1:] - band[:-1], 0)
    count = np.abs(jumps)
    if int(count.sum()) > RANGES_MAX:
        raise ConfigError("light_error_ns", f"more than {RANGES_MAX} ranges", "allow more error")
    left = np.repeat(np.arange(len(count)), count)
    number = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)
    sign = np.sign(jumps[left])
    # Going up, the edges above the band; going down, those below it.
    edge = np.where(sign > 0, band[left] + 1 + number, band[left] - number) * width
    slope = (times[left + 1] - times[left]) / (values[left + 1] - values[left])
    crossed_ms = np.rint(times[left] + (edge - values[left]) * slope).astype(np.intp)
    entered = np.where(sign > 0, band[left] + 1 + number, band[left] - 1 - number)
    first = np.flatnonzero(np.concatenate(([True], ~same)))
    owners = np.concatenate((owner[first], owner[left]))
    starts = np.concatenate((start_ms[owner[first]], crossed_ms))
    bands = np.concatenate((band[first], entered))
    order = np.lexsort((starts, owners))  # stable: of edges in one millisecond the last holds
    owners, starts, bands = owners[order], starts[order], bands[order]
    ends = np.append(starts[1:], 0)
    last = np.append(owners[1:] != owners[:-1], True)
    ends[last] = end_ms[owners[last]]
    kept = np.flatnonzero(ends > starts)
    owlt = np.rint((bands[kept] + 0.5) * width).astype(np.intp)
    return LightSteps(owners[kept], starts[kept], ends[kept], np.maximum(owlt, 0))


def _samples(
    start_ms: Ints, end_ms: Ints, light_ns: LightTimes, error_ns: float
) -> tuple[Ints, Floats, Floats]:
    """Samples of periods between which light times run straight to within an error."""
    length = (end_ms - start_ms).astype(np.float64)
    pieces = np.maximum(1, np.ceil(length / _SAMPLE_MS)).astype(np.intp)
    owner = np.repeat(np.arange(len(pieces)), pieces + 1)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(pieces + 1) - pieces - 1, pieces + 1)
    times = start_ms[owner] + length[owner] * place / np.maximum(1, pieces[owner])
    values = light_ns(owner, times)
    rough = np.flatnonzero(owner[1:] == owner[:-1])
    for _ in range(_HALVINGS_MAX):
        middle = (times[rough] + times[rough + 1]) / 2.0
        inside = light_ns(owner[rough], middle)
        off = np.abs(inside - (values[rough] + values[rough + 1]) / 2.0) > error_ns
        if not off.any():
            break
        after = rough[off] + 1
        owner = np.insert(owner, after, owner[rough[off]])
        times = np.insert(times, after, middle[off])
        values = np.insert(values, after, inside[off])
        # Both halves of what was split are looked at again.
        fresh = after + np.arange(len(after))
        rough = np.sort(np.concatenate((fresh - 1, fresh)))
    return owner, times, values


def as_ranges(steps: LightSteps, ends: Sequence[tuple[str, str]]) -> Iterator[Range]:
    """Ranges in both directions; `ends` are the two nodes of each period."""
    for owner, start_ms, end_ms, owlt_ns in zip(
        steps.owner.tolist(),
        steps.start_ms.tolist(),
        steps.end_ms.tolist(),
        steps.owlt_ns.tolist(),
        strict=True,
    ):
        one, other = ends[owner]
        yield Range(one, other, start_ms, end_ms, owlt_ns)
        yield Range(other, one, start_ms, end_ms, owlt_ns)
