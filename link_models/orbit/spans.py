"""Periods in which a function of time is above zero, many functions at once, none lost.

A function is sampled on a grid.  A period that a sample falls into shows as a change of sign.  A
shorter one, or a short gap, shows as a local extremum of the samples that comes near zero: the
true extremum is then looked for, and when it lies beyond zero it makes two more changes of sign.
So a grid has to be as fine as the bends of the function, not as its shortest period.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from link_models.orbit.roots import TOLERANCE_MS, Floats, Ints, bracketed_peaks, bracketed_roots

Bools = NDArray[np.bool_]

SPAN_MS_MIN = 1.0
"""Shorter periods cannot be told in DTN time."""

PEAK_MS = 0.1
"""Width of the bracket at which an extremum is as high as it gets: an orbit bends by less than a
millimetre in it."""

PEAK_RISE = 1.0
"""How far an extremum may lie beyond its sample, as a share of how far the lower neighbour lies
below it.  A parabola needs an eighth."""


CUT_SAMPLES = 500_000
"""Samples worked on at a time: some 100 MB."""

PIECE_SAMPLES = 50_000
"""Samples after which a span is cut in pieces: what never ends would fill the memory."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Periods, sorted by `pair` and time; of one pair they are apart.

    What a pair is, is its maker's business; for passes it is satellite * stations + station.
    """

    pair: Ints
    rise: Floats
    down: Floats

    def __len__(self) -> int:
        return len(self.pair)

    def where(self, chosen: Bools | Ints) -> Spans:
        """Some of the spans, chosen by a mask or by places."""
        return Spans(self.pair[chosen], self.rise[chosen], self.down[chosen])

    def long_enough(self) -> Spans:
        """Those that DTN time can tell."""
        return self.where(self.down - self.rise >= SPAN_MS_MIN)

    def clipped(self, start_ms: float | Floats, end_ms: float | Floats) -> Spans:
        """What of the spans lies between two times."""
        rise, down = np.maximum(self.rise, start_ms), np.minimum(self.down, end_ms)
        return Spans(self.pair, rise, down).where(down > rise)

    def split(self, length_ms: float) -> Spans:
        """The same times in pieces of at most this length, which touch."""
        pieces = np.maximum(np.ceil((self.down - self.rise) / length_ms), 1.0).astype(np.intp)
        owner = np.repeat(np.arange(len(pieces)), pieces)
        place = np.arange(len(owner)) - (np.cumsum(pieces) - pieces)[owner]
        piece = ((self.down - self.rise) / pieces)[owner]
        rise = self.rise[owner] + piece * place
        # What ends where the next begins; the last one where the whole does.
        down = np.concatenate((rise[1:], self.down[-1:]))
        last = place == pieces[owner] - 1
        down[last] = self.down[owner[last]]
        return Spans(self.pair[owner], rise, down)

    def of(self, pairs: Ints) -> Spans:
        """For each of `pairs`, its spans, numbered by the place in `pairs`."""
        first = np.searchsorted(self.pair, pairs, side="left")
        count = np.searchsorted(self.pair, pairs, side="right") - first
        place = np.repeat(np.arange(len(pairs)), count)
        start = np.cumsum(count) - count
        index = np.arange(len(place)) - start[place] + first[place]
        return Spans(place, self.rise[index], self.down[index])


def spans_joined(parts: Sequence[Spans]) -> Spans:
    """All spans of several sets, sorted."""
    joined = Spans(
        np.concatenate([part.pair for part in parts]),
        np.concatenate([part.rise for part in parts]),
        np.concatenate([part.down for part in parts]),
    )
    return joined.where(np.lexsort((joined.rise, joined.pair)))


def spans_shared(parts: Sequence[Spans], least: int) -> Spans:
    """The times that lie in at least so many of the sets: one makes the union, all of them the
    intersection.  Spans that touch become one."""
    pair = np.concatenate([ends for part in parts for ends in (part.pair, part.pair)])
    time = np.concatenate([ends for part in parts for ends in (part.rise, part.down)])
    step = np.concatenate([np.repeat([1, -1], len(part)) for part in parts])
    order = np.lexsort((-step, time, pair))
    pair, time, depth = pair[order], time[order], np.cumsum(step[order])
    # Depth is zero at the end of each pair, so that one sum serves all.
    inside = depth >= least
    before = np.concatenate(([False], inside[:-1]))
    begin, end = np.flatnonzero(inside & ~before), np.flatnonzero(~inside & before)
    spans = Spans(pair[begin], time[begin], time[end])
    return spans.where(spans.down > spans.rise)


def positive_spans(
    function: Callable[[Ints, Floats], Floats], owner: Ints, times: Floats, values: Floats
) -> Spans:
    """Where each function is above zero between its first and its last sample.

    `values` are the functions numbered `owner` at `times`, sorted by owner and time; the same
    `function(owner, times)` gives (owners rising).  NaN counts as below zero.  An extremum
    outside all but one of the samples is not looked for: let them reach one step further than
    matters, and clip.
    """

    def look(owners: Ints, at: Floats) -> Floats:
        value = function(owners, at)
        return np.where(np.isnan(value), -1.0, value)

    values = np.where(np.isnan(values), -1.0, values)
    free = values > 0.0
    same = owner[1:] == owner[:-1]
    change = np.flatnonzero((free[1:] != free[:-1]) & same)
    place, peak, height = _hidden_peaks(look, owner, times, values, free, same)
    left, right = place - 1, place + 1
    edge_owner = np.concatenate((owner[change], owner[place], owner[place]))
    low = np.concatenate((times[change], times[left], peak))
    high = np.concatenate((times[change + 1], peak, times[right]))
    at_low = np.concatenate((values[change], values[left], height))
    at_high = np.concatenate((values[change + 1], height, values[right]))
    order = np.lexsort((high, low, edge_owner))
    edge_owner = edge_owner[order]
    low, high, at_low, at_high = (part[order] for part in (low, high, at_low, at_high))
    root = bracketed_roots(
        lambda index, at: look(edge_owner[index], at), low, high, at_low, at_high, TOLERANCE_MS
    )
    # Brackets of one owner follow each other, and so ends alternate.
    begins = at_low <= 0.0
    first = np.flatnonzero(free & np.concatenate(([True], ~same))[: len(free)])
    last = np.flatnonzero(free & np.concatenate((~same, [True]))[: len(free)])
    rise_owner = np.concatenate((edge_owner[begins], owner[first]))
    rise = np.concatenate((root[begins], times[first]))
    down_owner = np.concatenate((edge_owner[~begins], owner[last]))
    down = np.concatenate((root[~begins], times[last]))
    rise_order, down_order = np.lexsort((rise, rise_owner)), np.lexsort((down, down_owner))
    return Spans(rise_owner[rise_order], rise[rise_order], down[down_order])


def cut_where(spans: Spans, function: Callable[[Ints, Floats], Floats], step_ms: float) -> Spans:
    """The parts of spans in which `function(pair, times)` is above zero (pairs rising).

    Looks at least every `step_ms`.  What comes and goes between two looks is found where the
    function is smooth on that scale.
    """
    pieces = spans.split(step_ms * PIECE_SAMPLES)
    # One more sample on either side, so that every extremum within a span has neighbours.
    samples = np.ceil((pieces.down - pieces.rise) / step_ms).astype(np.intp) + 3
    batch = np.cumsum(samples) // CUT_SAMPLES
    parts = [spans.where(np.empty(0, dtype=np.intp))]
    for number in np.unique(batch):
        mine = batch == number
        parts.append(_cut_batch(pieces.where(mine), samples[mine], function))
    return spans_shared(parts, 1)


def _cut_batch(spans: Spans, samples: Ints, function: Callable[[Ints, Floats], Floats]) -> Spans:
    owner = np.repeat(np.arange(len(samples)), samples)
    place = np.arange(len(owner)) - (np.cumsum(samples) - samples)[owner] - 1
    step = (spans.down - spans.rise) / (samples - 3)
    times = spans.rise[owner] + step[owner] * place

    def of_span(owners: Ints, at: Floats) -> Floats:
        return function(spans.pair[owners], at)

    found = positive_spans(of_span, owner, times, of_span(owner, times))
    found = found.clipped(spans.rise[found.pair], spans.down[found.pair])
    return Spans(spans.pair[found.pair], found.rise, found.down)


def _hidden_peaks(
    look: Callable[[Ints, Floats], Floats],
    owner: Ints,
    times: Floats,
    values: Floats,
    free: Bools,
    same: Bools,
) -> tuple[Ints, Floats, Floats]:
    """Samples next to which the function changes sign twice, unseen by the samples: their places,
    and time and value of a point of the other sign."""
    # Of samples above zero the minima matter: turn them over.
    sign = np.where(free, -1.0, 1.0)
    turned = np.abs(values) * -1.0
    left, middle, right = turned[:-2], turned[1:-1], turned[2:]
    inner = same[:-1] & same[1:] & (free[:-2] == free[1:-1]) & (free[2:] == free[1:-1])
    drop = middle - np.minimum(left, right)
    likely = (middle >= left) & (middle > right) & (middle + PEAK_RISE * drop > 0.0)
    place = np.flatnonzero(inner & likely) + 1
    points = (times[place - 1], times[place], times[place + 1])
    heights = (turned[place - 1], turned[place], turned[place + 1])
    time, height = bracketed_peaks(
        lambda index, at: sign[place[index]] * look(owner[place[index]], at),
        points,
        heights,
        PEAK_MS,
    )
    hit = np.flatnonzero(height > 0.0)
    place = place[hit]
    return place, time[hit], sign[place] * height[hit]
