"""One direction of a link: times by hand, conservation and order by property."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.channel import ArrivedTrain, Channel, ChannelConfig, Delay, Window, always_up
from link_models.loss import Bernoulli, Blackouts, Replay
from link_models.rng import Streams
from stack.core.clock import MICROSECOND, MILLISECOND, SECOND
from stack.core.errors import ConfigError
from stack.core.train import FLOW_REPAIR, Train, single
from tests.strategies.channels import channel_configs, trains

MBIT = 1e6
US = MICROSECOND
SIZE_MAX = 1500


def channel(seed: int = 1, **options: Any) -> Channel:
    return Channel(ChannelConfig(**options), Streams(seed))


def numbered(count: int, size: int) -> Train:
    """Datagrams that begin with their number."""
    return Train(b"".join(i.to_bytes(2, "big") + bytes(size - 2) for i in range(count)), size)


def arrivals(deliveries: list[ArrivedTrain]) -> list[tuple[int, bytes]]:
    return [
        (delivery.at_ns, bytes(datagram))
        for delivery in deliveries
        for datagram in delivery.train.datagrams()
    ]


def numbers(deliveries: list[ArrivedTrain]) -> list[int]:
    return [int.from_bytes(datagram[:2], "big") for _, datagram in arrivals(deliveries)]


# Times that can be worked out by hand: 8 Mbit/s is one octet a microsecond.


def test_serialisation_then_light_time() -> None:
    link = channel(windows=always_up(8 * MBIT), delay=Delay.constant(3 * MILLISECOND))
    got = link.send(Train(bytes(250), 100, FLOW_REPAIR), 10 * US)
    base = 10 * US + 3 * MILLISECOND
    assert [d.at_ns for d in got] == [base + 100 * US, base + 200 * US, base + 250 * US]
    assert [(len(d.train.data), d.train.flow) for d in got] == [(100, 1), (100, 1), (50, 1)]
    later = link.send(single(bytes(40)), 20 * US)  # behind what is being sent
    assert [d.at_ns for d in later] == [base + 290 * US]
    idle = link.send(single(bytes(40)), SECOND)
    assert [d.at_ns for d in idle] == [SECOND + 40 * US + 3 * MILLISECOND]


def test_overhead_takes_time_but_does_not_arrive() -> None:
    link = channel(windows=always_up(8 * MBIT), overhead_bytes=28)
    got = link.send(Train(bytes(150), 100), 0)
    assert [(d.at_ns, len(d.train.data)) for d in got] == [(128 * US, 100), (206 * US, 50)]


def test_light_time_changes_while_the_satellite_moves() -> None:
    delay = Delay([0, SECOND, 2 * SECOND], [4e6, 2e6, 3e6])
    link = channel(delay=delay)
    at = [link.send(single(b"x"), now)[0].at_ns for now in (0, SECOND // 2, 3 * SECOND // 2)]
    assert at == [4_000_000, SECOND // 2 + 3_000_000, 3 * SECOND // 2 + 2_500_000]
    assert link.send(single(b"x"), 9 * SECOND)[0].at_ns == 9 * SECOND + 3_000_000
    assert np.all(delay.at(np.array([SECOND / 4])) == delay.at_one(SECOND / 4) == 3.5e6)


def test_a_falling_delay_does_not_let_light_overtake_light() -> None:
    link = channel(delay=Delay([0, 10], [1000, 0]))
    assert [link.send(single(b"x"), now)[0].at_ns for now in (0, 5, 10, 5000)] == [
        1000,
        1000,
        1000,
        5000,
    ]


def test_nothing_enters_outside_of_the_windows() -> None:
    link = channel(windows=(Window(100, 200, math.inf), Window(300, 400, math.inf)))
    seen = [bool(link.send(single(b"x"), now)) for now in (99, 100, 199, 200, 299, 300, 400)]
    assert seen == [False, True, True, False, False, True, False]
    assert link.counters()["dropped_window_datagrams"] == 4


@pytest.mark.parametrize("together", [True, False])
def test_what_the_window_cuts_is_lost_and_what_is_under_way_arrives(together: bool) -> None:
    link = channel(
        windows=(Window(0, 250 * US, 8 * MBIT), Window(SECOND, 2 * SECOND, 8 * MBIT)),
        delay=Delay.constant(SECOND),
    )
    train = numbered(4, 100)
    if together:
        got = link.send(train, 0)
    else:
        got = [d for part in train.datagrams() for d in link.send(single(part), 0)]
    assert [d.at_ns for d in got] == [SECOND + 100 * US, SECOND + 200 * US]
    counts = link.counters()
    assert (counts["dropped_window_datagrams"], counts["dropped_window_bytes"]) == (2, 200)
    assert link.send(single(bytes(100)), SECOND)[0].at_ns == 2 * SECOND + 100 * US


@pytest.mark.parametrize("together", [True, False])
def test_a_change_of_modulation_in_the_middle_of_a_datagram(together: bool) -> None:
    """150 us at one octet a microsecond, then at two octets a microsecond."""
    link = channel(windows=(Window(0, 150 * US, 8 * MBIT), Window(150 * US, SECOND, 16 * MBIT)))
    train = numbered(4, 100)
    if together:
        got = link.send(train, 0)
    else:
        got = [d for part in train.datagrams() for d in link.send(single(part), 0)]
    assert [d.at_ns for d in got] == [100 * US, 175 * US, 225 * US, 275 * US]
    assert link.backlog_bytes(100 * US) == 50 + 250
    assert link.backlog_bytes(175 * US) == 200


def test_the_queue_drops_its_tail() -> None:
    link = channel(windows=always_up(8 * MBIT), queue_bytes=1000)
    assert numbers(link.send(numbered(20, 100), 0)) == list(range(10))
    assert link.backlog_bytes(0) == 1000
    assert link.send(single(b"x"), 0) == []
    # At 150 us the second datagram is half sent: 850 octets wait, one more datagram fits.
    assert numbers(link.send(numbered(3, 100), 150 * US)) == [0]
    assert link.backlog_bytes(150 * US) == 950
    counts = link.counters()
    assert (counts["dropped_queue_datagrams"], counts["dropped_queue_bytes"]) == (13, 1201)
    assert link.drained_ns(500, 150 * US) == 600 * US
    assert link.backlog_bytes(600 * US) == 500


def test_an_idle_link_takes_one_datagram_of_any_size() -> None:
    link = channel(windows=always_up(8 * MBIT), queue_bytes=10)
    assert numbers(link.send(numbered(3, 100), 0)) == [0]
    assert link.send(single(bytes(100)), 99 * US) == []
    assert len(link.send(single(bytes(100)), 100 * US)) == 1


def test_losses_split_a_train_and_coalescing_packs_it() -> None:
    trace = [False, True, False, False, True]
    apart = channel(windows=always_up(8 * MBIT), loss=lambda rng: Replay(trace))
    together = channel(
        windows=always_up(8 * MBIT), loss=lambda rng: Replay(trace), coalesce_ns=500 * US
    )
    train = Train(numbered(10, 100).data[:-30], 100)
    kept = [0, 2, 3, 5, 7, 8]
    got = apart.send(train, 0)
    assert numbers(got) == kept
    assert [d.at_ns for d in got] == [(i + 1) * 100 * US for i in kept]
    got = together.send(train, 0)
    # From the first at 100 us what comes up to 600 us, and then the rest.
    assert [(d.at_ns, d.train.datagram_count) for d in got] == [(600 * US, 4), (900 * US, 2)]
    assert numbers(got) == kept


def test_a_short_last_datagram_survives_packing() -> None:
    link = channel(coalesce_ns=SECOND, loss=lambda rng: Replay([False, True, False]))
    got = link.send(Train(b"aaaabbbbcc", 4), 0)
    assert [(bytes(d.train.data), d.train.size) for d in got] == [(b"aaaacc", 4)]


def test_blackouts_inside_a_pass() -> None:
    link = channel(windows=always_up(8 * MBIT), loss=lambda rng: Blackouts([(250 * US, 450 * US)]))
    assert numbers(link.send(numbered(6, 100), 0)) == [0, 1, 4, 5]


def test_jitter_keeps_order_and_its_floor() -> None:
    link = channel(jitter_ns=MILLISECOND, delay=Delay.constant(SECOND))
    now = 0
    last = 0
    spread = []
    for i in range(2000):
        now += 100 * US
        (got,) = link.send(single(i.to_bytes(2, "big")), now)
        assert got.at_ns >= max(last, now + SECOND)
        assert got.at_ns <= now + SECOND + MILLISECOND
        last = got.at_ns
        spread.append(got.at_ns - now - SECOND)
    assert max(spread) > 0.9 * MILLISECOND
    assert link.counters()["reordered_datagrams"] == 0


def test_reordering_is_bounded_and_overtaking_happens() -> None:
    link = channel(windows=always_up(8 * MBIT), reorder_probability=0.2, reorder_ns_max=350 * US)
    got = link.send(numbered(2000, 100), 0)
    order = numbers(got)
    assert sorted(order) == list(range(2000))
    moved = [place - number for place, number in enumerate(order)]
    assert max(abs(distance) for distance in moved) == 3  # 350 us are 3 datagrams and a half
    late = link.counters()["reordered_datagrams"]
    assert abs(late - 400) < 5 * math.sqrt(2000 * 0.2 * 0.8)


def test_duplicates_come_after_the_original_within_the_bound() -> None:
    link = channel(
        windows=always_up(8 * MBIT), duplicate_probability=0.25, duplicate_ns_max=MILLISECOND
    )
    got = link.send(numbered(2000, 100), 0)
    times: dict[int, list[int]] = {}
    for (at_ns, _), number in zip(arrivals(got), numbers(got), strict=True):
        times.setdefault(number, []).append(at_ns)
    assert set(times) == set(range(2000))
    twice = [pair for pair in times.values() if len(pair) == 2]
    assert all(0 <= second - first <= MILLISECOND for first, second in twice)
    assert len(twice) == len(got) - 2000 == link.counters()["duplicated_datagrams"]
    assert abs(len(twice) - 500) < 5 * math.sqrt(2000 * 0.25 * 0.75)


def test_corruption_flips_a_few_bits_and_never_the_senders_buffer() -> None:
    link = channel(corrupt_probability=0.1, corrupt_bits_max=3)
    data = bytearray(100_000)
    got = link.send(Train(data, 100), 0)
    flips = [bin(int.from_bytes(datagram, "big")).count("1") for _, datagram in arrivals(got)]
    assert Counter(flips)[0] == 1000 - link.counters()["corrupted_datagrams"]
    assert max(flips) == 3
    assert abs(link.counters()["corrupted_datagrams"] - 100) < 5 * math.sqrt(90)
    assert not any(data)


def test_loss_share_reaches_the_counters() -> None:
    link = channel(loss=lambda rng: Bernoulli(rng, 0.05))
    for _ in range(100):
        link.send(numbered(100, 20), 0)
    for _ in range(10_000):
        link.send(single(b"12"), 0)
    counts = link.counters()
    assert abs(counts["lost_datagrams"] - 1000) < 5 * math.sqrt(20_000 * 0.05 * 0.95)


@pytest.mark.parametrize("together", [True, False])
def test_the_queue_is_limited_in_time_too(together: bool) -> None:
    """100 us a datagram, 250 us of waiting at most: those that begin at 0, 100 and 200 us."""
    link = channel(windows=always_up(8 * MBIT), queue_ns=250 * US)
    train = numbered(6, 100)
    parts = [train] if together else [single(part) for part in train.datagrams()]
    assert numbers([d for part in parts for d in link.send(part, 0)]) == [0, 1, 2]
    assert link.counters()["dropped_queue_datagrams"] == 3
    assert len(link.send(single(bytes(100)), 49 * US)) == 0  # waits 251 us
    assert len(link.send(single(bytes(100)), 50 * US)) == 1
    none = channel(windows=always_up(8 * MBIT), queue_ns=0)
    assert numbers(none.send(numbered(3, 100), 0)) == [0]


@pytest.mark.parametrize("together", [True, False])
def test_whole_cells(together: bool) -> None:
    """100 octets and 8 of overhead are three cells of 48 and 5: 159 us."""
    link = channel(
        windows=always_up(8 * MBIT), overhead_bytes=8, cell_bytes=48, cell_overhead_bytes=5
    )
    train = Train(bytes(140), 100)
    parts = [train] if together else [single(part) for part in train.datagrams()]
    got = [d for part in parts for d in link.send(part, 0)]
    assert [d.at_ns for d in got] == [159 * US, 212 * US]
    assert link.backlog_bytes(0) == 212


def test_a_queue_drains_through_changes_of_rate() -> None:
    link = channel(windows=(Window(0, 100 * US, 8 * MBIT), Window(100 * US, SECOND, 80 * MBIT)))
    link.send(Train(bytes(1100), 100), 0)  # 100 octets in 100 us, the rest ten times as fast
    assert [link.drained_ns(left, 0) for left in (1100, 1050, 1000, 500, 0)] == [
        0,
        50 * US,
        100 * US,
        150 * US,
        200 * US,
    ]
    assert link.drained_ns(0, 300 * US) == 300 * US


# Properties.


@given(
    channel_configs(),
    st.lists(st.tuples(trains(size_max=SIZE_MAX), st.integers(0, 2_000_000)), max_size=6),
    st.integers(0, 9),
)
def test_everything_is_accounted_for(
    config: ChannelConfig, offers: list[tuple[Train, int]], seed: int
) -> None:
    link = Channel(config, Streams(seed))
    again = Channel(config, Streams(seed))
    now = 0
    offered, delivered = Counter[bytes](), Counter[bytes]()
    for train, gap in offers:
        now += gap
        offered.update(bytes(datagram) for datagram in train.datagrams())
        got = link.send(train, now)
        assert arrivals(got) == arrivals(again.send(train, now))  # same seed, same deliveries
        assert [d.at_ns for d in got] == sorted(d.at_ns for d in got)
        for delivery in got:
            assert delivery.at_ns >= now
            assert delivery.train.flow == train.flow
            assert 0 < delivery.train.size <= train.size
            delivered.update(bytes(datagram) for datagram in delivery.train.datagrams())
        assert link.backlog_bytes(now) <= max(config.queue_bytes, SIZE_MAX + config.overhead_bytes)
    counts = link.counters()
    assert link.counters() == again.counters()
    for unit in ("datagrams", "bytes"):
        assert counts[f"offered_{unit}"] + counts[f"duplicated_{unit}"] == sum(
            counts[f"{fate}_{unit}"]
            for fate in ("delivered", "lost", "dropped_queue", "dropped_window")
        )
    assert counts["delivered_datagrams"] == delivered.total()
    assert counts["delivered_bytes"] == sum(len(d) * n for d, n in delivered.items())
    if not counts["corrupted_datagrams"] and not counts["duplicated_datagrams"]:
        assert delivered <= offered


@given(channel_configs(disturbed=False), st.lists(trains(), max_size=4))
def test_coalescing_only_delays(config: ChannelConfig, offers: list[Train]) -> None:
    fine = Channel(dataclasses.replace(config, coalesce_ns=0), Streams(1))
    coarse = Channel(dataclasses.replace(config, coalesce_ns=50_000), Streams(1))
    for place, train in enumerate(offers):
        now = place * 500_000
        one, many = fine.send(train, now), coarse.send(train, now)
        assert [d for _, d in arrivals(one)] == [d for _, d in arrivals(many)]
        assert len(many) <= len(one)
        for (exact_ns, _), (grouped_ns, _) in zip(arrivals(one), arrivals(many), strict=True):
            assert exact_ns <= grouped_ns <= exact_ns + 50_000


@given(channel_configs(disturbed=False), trains(), st.integers(0, 3_000_000))
def test_a_train_fares_like_its_datagrams(config: ChannelConfig, train: Train, now: int) -> None:
    """The path with arrays and the path for one datagram are one model."""
    config = dataclasses.replace(config, coalesce_ns=0, loss=ChannelConfig().loss)
    whole, parts = Channel(config, Streams(1)), Channel(config, Streams(1))
    got = arrivals(whole.send(train, now))
    expected = arrivals([d for part in train.datagrams() for d in parts.send(single(part), now)])
    assert whole.counters() == parts.counters()
    assert [datagram for _, datagram in got] == [datagram for _, datagram in expected]
    for (left_ns, _), (right_ns, _) in zip(got, expected, strict=True):
        assert abs(left_ns - right_ns) <= 1  # rounding of sums


@pytest.mark.parametrize(
    "options",
    [
        {"windows": (Window(10, 10, 1.0),)},
        {"windows": (Window(0, 10, 0.0),)},
        {"windows": (Window(0, 10, math.nan),)},
        {"windows": (Window(0, 10, 1.0), Window(9, 20, 1.0))},
        {"reorder_probability": 1.5},
        {"duplicate_probability": -0.1},
        {"corrupt_probability": math.nan},
        {"jitter_ns": -1},
        {"coalesce_ns": -1},
        {"queue_bytes": -1},
        {"corrupt_bits_max": 0},
        {"queue_ns": -1},
        {"cell_bytes": -1},
        {"cell_overhead_bytes": -1},
    ],
)
def test_nonsense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ChannelConfig(**options)


@pytest.mark.parametrize(
    ("times", "values"), [([], []), ([0], [1, 2]), ([1, 1], [0, 0]), ([0], [-1]), ([0], [math.inf])]
)
def test_nonsense_delays_are_refused(times: list[float], values: list[float]) -> None:
    with pytest.raises(ConfigError):
        Delay(times, values)
