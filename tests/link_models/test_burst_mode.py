"""Burst mode is the same link: trains fare as their datagrams would one by one.

First exactly: the same seed gives the same fate to each datagram, however datagrams are put into
trains.  Then by statistics, with different seeds on both sides, as one would compare two programs;
links that are slightly wrong on purpose show that these comparisons would notice.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from link_models.channel import Channel, ChannelConfig, Delay, Window, always_up
from link_models.disturbances.config import build_rules, parse_disturbances
from link_models.rng import Streams
from stack.core.clock import MILLISECOND, SECOND
from stack.core.train import Train, single
from tests.strategies.disturbances import ALL, disturbance, disturbances

MBIT = 1e6

LINKS: dict[str, dict[str, Any]] = {
    "wide": {"windows": always_up(20 * MBIT)},
    "small queue": {"windows": always_up(20 * MBIT), "queue_bytes": 20_000, "overhead_bytes": 28},
    "short queue": {"windows": always_up(20 * MBIT), "queue_ns": 5 * MILLISECOND},
    "cells": {"windows": always_up(20 * MBIT), "cell_bytes": 48, "cell_overhead_bytes": 5},
    "passes": {
        "windows": (
            Window(0, 60 * MILLISECOND, 20 * MBIT),
            Window(60 * MILLISECOND, 120 * MILLISECOND, 5 * MBIT),
            Window(140 * MILLISECOND, SECOND, 30 * MBIT),
        ),
        "delay": Delay([0, SECOND], [5e6, 3e6]),
        "queue_bytes": 30_000,
    },
}


def offers(seed: int, trains: int = 60) -> list[tuple[int, Train]]:
    """Trains of random lengths and sizes at random times, over about a fifth of a second."""
    rng = np.random.default_rng(seed)
    found, now_ns = [], 0
    for _ in range(trains):
        n, size = int(rng.integers(1, 40)), int(rng.integers(50, 1500))
        now_ns += int(rng.exponential(4e6))
        found.append(
            (now_ns, Train(rng.bytes((n - 1) * size + int(rng.integers(1, size + 1))), size))
        )
    return found


def arrivals(
    channel: Channel, sent: list[tuple[int, Train]], bursts: bool
) -> list[tuple[int, bytes]]:
    """What arrives, and when: whole trains, or each datagram by itself."""
    found = []
    for now_ns, train in sent:
        parts = [train] if bursts else [single(datagram) for datagram in train.datagrams()]
        for part in parts:
            for delivery in channel.send(part, now_ns):
                found += [(delivery.at_ns, bytes(one)) for one in delivery.train.datagrams()]
    return sorted(found)


@settings(max_examples=40)
@given(disturbances(), st.sampled_from(sorted(LINKS)), st.integers(0, 10_000))
def test_the_same_seed_gives_each_datagram_the_same_fate(
    rules: list[dict[str, Any]], link: str, seed: int
) -> None:
    config = ChannelConfig(**LINKS[link], rules=build_rules(parse_disturbances(rules)))
    sent = offers(seed, 15)
    packets, bursts = Channel(config, Streams(seed)), Channel(config, Streams(seed))
    one, many = arrivals(packets, sent, False), arrivals(bursts, sent, True)
    assert packets.counters() == bursts.counters()
    assert sorted(octets for _, octets in one) == sorted(octets for _, octets in many)
    # Times are sums of the same numbers in another order.
    for (left_ns, _), (right_ns, _) in zip(one, many, strict=True):
        assert abs(left_ns - right_ns) <= 1


@pytest.mark.parametrize("kind", sorted(ALL))
def test_each_kind_by_itself(kind: str) -> None:
    config = ChannelConfig(
        **LINKS["wide"], rules=build_rules(parse_disturbances([disturbance(kind)]))
    )
    sent = offers(7)
    packets, bursts = Channel(config, Streams(1)), Channel(config, Streams(1))
    one, many = arrivals(packets, sent, False), arrivals(bursts, sent, True)
    assert packets.counters() == bursts.counters()
    assert sorted(octets for _, octets in one) == sorted(octets for _, octets in many)
    calm = Channel(ChannelConfig(**LINKS["wide"]), Streams(1))
    assert kind in ("clouds", "rain-front") or one != arrivals(calm, sent, False)  # it does a thing


@pytest.mark.parametrize("link", sorted(LINKS))
def test_coalescing_delays_and_does_nothing_else(link: str) -> None:
    everything = [disturbance(kind) for kind in ("gilbert-elliott", "slots", "jitter", "corrupt")]
    config = ChannelConfig(**LINKS[link], rules=build_rules(parse_disturbances(everything)))
    coarse = dataclasses.replace(config, coalesce_ns=2 * MILLISECOND)
    sent = offers(3)
    fine_got = arrivals(Channel(config, Streams(1)), sent, True)
    coarse_got = arrivals(Channel(coarse, Streams(1)), sent, True)
    exact: dict[bytes, list[int]] = {}
    for at_ns, octets in fine_got:
        exact.setdefault(octets, []).append(at_ns)
    assert len(fine_got) == len(coarse_got)
    for at_ns, octets in coarse_got:
        assert any(0 <= at_ns - fine_ns <= 2 * MILLISECOND for fine_ns in exact[octets])


# ---- by statistics -----------------------------------------------------------------------------

SEEDS = 100
"""Runs on each side: independent numbers, one a run and measure."""

ALPHA = 1e-4
"""A right link is called wrong once in ten thousand comparisons, and these have fixed seeds."""

DATAGRAMS = 200
SIZE = 1000
SPACING_NS = 400_000  # 1000 octets at 20 Mbit/s


class Measures(NamedTuple):
    """What one run looks like from outside."""

    lost: float
    run_length: float
    """Mean number of datagrams lost in a row."""

    delay_p50: float
    delay_p95: float
    queue_drops: float
    delivered_bytes: float


def measure(config: ChannelConfig, seed: int, bursts: bool) -> Measures:
    """One run: numbered datagrams in trains of 1 to 30, a little faster than the link."""
    channel = Channel(config, Streams(seed))
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 31, DATAGRAMS)
    first, delays, missing = 0, [], np.ones(DATAGRAMS, np.bool_)
    while first < DATAGRAMS:
        n = min(int(lengths[first]), DATAGRAMS - first)
        now_ns = int(first * SPACING_NS * 0.95)
        numbers = range(first, first + n)
        data = b"".join(number.to_bytes(2, "big") + bytes(SIZE - 2) for number in numbers)
        train = Train(data, SIZE)
        parts = [train] if bursts else [single(datagram) for datagram in train.datagrams()]
        for part in parts:
            for at_ns, arriving in channel.send(part, now_ns):
                for datagram in arriving.datagrams():
                    delays.append(at_ns - now_ns)
                    missing[min(DATAGRAMS - 1, int.from_bytes(datagram[:2], "big"))] = False
        first += n
    runs = [len(list(group)) for gone, group in groupby(missing.tolist()) if gone]
    counts = channel.counters()
    median, high = np.percentile(delays, (50, 95)).tolist()
    return Measures(
        counts["lost_datagrams"],
        float(np.mean(runs)) if runs else 0.0,
        median,
        high,
        counts["dropped_queue_datagrams"],
        counts["delivered_bytes"],
    )


def samples(config: ChannelConfig, first_seed: int, bursts: bool) -> NDArray[np.float64]:
    """A column for each measure, a row for each seed."""
    return np.array([measure(config, first_seed + run, bursts) for run in range(SEEDS)])


def kolmogorov_smirnov(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """How likely two samples of one distribution differ as much (two-sided, asymptotic; with
    ties it errs on the side of 'the same')."""
    both = np.sort(np.concatenate((left, right)))
    distance = np.max(
        np.abs(
            np.searchsorted(np.sort(left), both, side="right") / len(left)
            - np.searchsorted(np.sort(right), both, side="right") / len(right)
        )
    )
    scale = math.sqrt(len(left) * len(right) / (len(left) + len(right)))
    at = (scale + 0.12 + 0.11 / scale) * float(distance)
    if at < 0.2:
        return 1.0
    tail = sum((-1.0) ** (k - 1) * math.exp(-2 * k * k * at * at) for k in range(1, 50))
    return min(1.0, 2 * tail)


def chi_square(left: NDArray[np.float64], right: NDArray[np.float64], bins: int = 8) -> float:
    """The same by counting in bins with about equally many of both together."""
    edges = np.unique(np.quantile(np.concatenate((left, right)), np.linspace(0, 1, bins + 1)[1:-1]))
    counts = np.array(
        [
            np.bincount(np.searchsorted(edges, one), minlength=len(edges) + 1)
            for one in (left, right)
        ]
    )
    counts = counts[:, counts.sum(axis=0) > 0]
    expected = counts.sum(axis=0) * counts.sum(axis=1, keepdims=True) / counts.sum()
    freedom = counts.shape[1] - 1
    if not freedom:
        return 1.0
    value = float(((counts - expected) ** 2 / expected).sum())
    # E. B. Wilson, M. M. Hilferty, "The distribution of chi-square", PNAS 17, 1931.
    normal = ((value / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))
    return 0.5 * math.erfc(normal / math.sqrt(2))


def p_values(left: NDArray[np.float64], right: NDArray[np.float64]) -> dict[str, float]:
    """For each measure how likely the difference is if both sides are the same link."""
    return {
        f"{name} ({test.__name__})": test(left[:, column], right[:, column])
        for column, name in enumerate(Measures._fields)
        for test in (kolmogorov_smirnov, chi_square)
    }


def link(*rules: dict[str, Any], **options: Any) -> ChannelConfig:
    """A link that is a little slower than what is offered to it."""
    settings: dict[str, Any] = {
        "windows": always_up(20 * MBIT),
        "delay": Delay.constant(5 * MILLISECOND),
        "queue_bytes": 25_000,
        "coalesce_ns": 100_000,
    }
    return ChannelConfig(**settings | options, rules=build_rules(parse_disturbances(list(rules))))


COMPARED: dict[str, list[dict[str, Any]]] = {
    "calm": [],
    "random": [disturbance("random")],
    "bit errors": [disturbance("bit-errors")],
    "fades": [disturbance("gilbert-elliott")],
    "netem states": [disturbance("netem-state")],
    "outage": [disturbance("outage")],
    "scintillation": [disturbance("scintillation")],
    "slots": [disturbance("slots")],
    "jitter": [disturbance("jitter")],
    "fades, slots and jitter": [disturbance(k) for k in ("gilbert-elliott", "slots", "jitter")],
    "reorder, duplicate and corrupt": [disturbance(k) for k in ("reorder", "duplicate", "corrupt")],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(COMPARED))
def test_other_seeds_give_the_same_distributions(name: str) -> None:
    config = link(*COMPARED[name])
    found = p_values(samples(config, 0, False), samples(config, 10_000, True))
    assert min(found.values()) > ALPHA, found


FADE = {"kind": "gilbert-elliott", "good_s": 0.02, "bad_s": 0.006}

WRONG: dict[str, tuple[ChannelConfig, str]] = {
    "half as much loss again": (link({"kind": "random", "loss": 0.15}), "lost"),
    "bursts of half the length": (
        link({**FADE, "good_s": 0.01, "bad_s": 0.003}),
        "run_length",
    ),
    "1 ms more delay": (link(delay=Delay.constant(6 * MILLISECOND)), "delay_p50"),
    "half the jitter": (link({**disturbance("jitter"), "spread_ms": 0.5}), "delay_p95"),
    "a tenth less queue": (link(queue_bytes=22_500), "queue_drops"),
    "4 % less rate": (link(windows=always_up(19.2 * MBIT)), "delivered_bytes"),
}
RIGHT: dict[str, ChannelConfig] = {
    "half as much loss again": link(disturbance("random")),
    "bursts of half the length": link(FADE),
    "half the jitter": link(disturbance("jitter")),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_the_comparison_notices_a_wrong_link(name: str) -> None:
    wrong, measure_name = WRONG[name]
    right = RIGHT.get(name, link())
    found = p_values(samples(right, 0, False), samples(wrong, 10_000, True))
    assert min(p for key, p in found.items() if key.startswith(measure_name)) < ALPHA, found


def test_the_comparison_notices_trains_that_live_and_die_as_one() -> None:
    """The mistake that burst mode invites: one draw for a whole train."""

    class Lazy:
        def __init__(self, rng: np.random.Generator) -> None:
            self._rng = rng

        def lost(self, size: int, now_ns: int) -> bool:
            return bool(self._rng.random() < 0.1)

        def lost_many(
            self, times_ns: NDArray[np.float64], size: int, tail_bytes: int
        ) -> NDArray[np.bool_]:
            return np.full(len(times_ns), self._rng.random() < 0.1)

    right, wrong = link(disturbance("random")), link(loss=Lazy)
    found = p_values(samples(right, 0, False), samples(wrong, 10_000, True))
    assert found["lost (chi_square)"] < ALPHA > found["run_length (kolmogorov_smirnov)"], found


@pytest.mark.parametrize("test", [kolmogorov_smirnov, chi_square])
def test_the_tests_themselves_are_fair(
    test: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
) -> None:
    """Samples of one distribution are called different about as often as the level says."""
    rng = np.random.default_rng(1)
    found = [test(rng.normal(size=SEEDS), rng.normal(size=SEEDS)) for _ in range(2000)]
    share = float(np.mean(np.array(found) < 0.05))
    assert abs(share - 0.05) < 5 * math.sqrt(0.05 * 0.95 / 2000)
