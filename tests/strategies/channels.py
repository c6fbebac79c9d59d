"""Channels and trains for Hypothesis."""

from __future__ import annotations

import itertools
import math

from hypothesis import strategies as st

from link_models.channel import ChannelConfig, Delay, Window
from link_models.loss import Bernoulli, GilbertElliott, LossFactory, no_loss
from stack.core.train import Train


@st.composite
def trains(draw: st.DrawFn, datagrams_max: int = 40, size_max: int = 1500) -> Train:
    """A train whose octets all differ enough to tell its datagrams apart."""
    size = draw(st.integers(1, size_max))
    octets = draw(st.integers(1, size * draw(st.integers(1, datagrams_max))))
    salt = draw(st.binary(min_size=7, max_size=7))
    data = bytes(itertools.islice(itertools.cycle(salt + bytes(range(1, 250))), octets))
    return Train(data, size, draw(st.integers(0, 1)))


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, ...]:
    """Up to five windows within some milliseconds, some of them touching."""
    edges = sorted(draw(st.sets(st.integers(0, 5_000_000), min_size=2, max_size=6)))
    rates = st.sampled_from([1e5, 1e7, 1e9, math.inf])
    pairs = [pair for pair in itertools.pairwise(edges) if draw(st.integers(0, 3))]
    return tuple(Window(start, end, draw(rates)) for start, end in pairs)


@st.composite
def delays(draw: st.DrawFn) -> Delay:
    """Constant, or changing by up to a third of the time that passes."""
    first = draw(st.integers(0, 10_000_000))
    if draw(st.booleans()):
        return Delay.constant(first)
    times = sorted(draw(st.sets(st.integers(0, 5_000_000), min_size=2, max_size=5)))
    values = [float(first + draw(st.integers(0, 1)) * time // 3) for time in times]
    return Delay(times, values)


def losses() -> st.SearchStrategy[LossFactory]:
    """Nothing, some at random, or bursts."""
    return st.sampled_from(
        [
            no_loss,
            lambda rng: Bernoulli(rng, 0.3),
            lambda rng: GilbertElliott(rng, good_s=1e-3, bad_s=5e-4, good_loss=0.01, bad_loss=0.9),
        ]
    )


@st.composite
def channel_configs(draw: st.DrawFn, *, disturbed: bool = True) -> ChannelConfig:
    """Any channel; with `disturbed` False one that keeps order and content."""
    probability = st.sampled_from([0.0, 0.0, 0.2, 1.0]) if disturbed else st.just(0.0)
    up = draw(st.one_of(st.just(ChannelConfig().windows), windows()))
    return ChannelConfig(
        windows=up,
        delay=draw(delays()),
        queue_bytes=draw(st.integers(0, 20_000)),
        queue_ns=draw(st.sampled_from([None, None, 0, 1_000_000])),
        overhead_bytes=draw(st.sampled_from([0, 28])),
        loss=draw(losses()),
        jitter_ns=draw(st.sampled_from([0, 1000, 100_000])) if disturbed else 0,
        reorder_probability=draw(probability),
        reorder_ns_max=draw(st.integers(0, 100_000)),
        duplicate_probability=draw(probability),
        duplicate_ns_max=draw(st.integers(0, 100_000)),
        corrupt_probability=draw(probability),
        corrupt_bits_max=draw(st.integers(1, 9)),
        coalesce_ns=draw(st.sampled_from([0, 10_000, 1_000_000])),
    )
