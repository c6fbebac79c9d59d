"""What a channel tells of each datagram is what it does with it, and telling changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from link_models.channel import Channel, ChannelConfig, Delay, Window
from link_models.disturbances.config import build_rules, parse_disturbances
from link_models.loss import Replay
from link_models.rng import Streams
from stack.core.clock import MILLISECOND, SECOND
from stack.core.train import Train, single
from tests.link_models.test_channel import arrivals, numbered
from tests.strategies.channels import channel_configs, trains

offers = st.lists(st.tuples(trains(), st.integers(0, 2_000_000)), max_size=5)


@given(channel_configs(), offers, st.integers(0, 9))
def test_telling_changes_nothing_and_counts_the_same(
    config: ChannelConfig, offers: list[tuple[Train, int]], seed: int
) -> None:
    told, silent = Channel(config, Streams(seed)), Channel(config, Streams(seed))
    now = 0
    words: list[str] = []
    for train, gap in offers:
        now += gap
        got, fates = told.send_told(train, now)
        assert arrivals(got) == arrivals(silent.send(train, now))
        words += fates.words()
    counts = told.counters()
    assert counts == silent.counters()
    assert len(words) == counts["offered_datagrams"]
    lost = [one for one in words if one.startswith("lost")]
    queue = lost.count("lost: the transmitter's queue is full")
    contact = lost.count("lost: no contact")
    assert queue == counts["dropped_queue_datagrams"]
    assert contact == counts["dropped_window_datagrams"]
    assert len(lost) - queue - contact == counts["lost_datagrams"]
    arrived = [one for one in words if one not in lost]
    assert all(one.startswith("arrives ") for one in arrived)
    for text, counter in (
        ("late, and may be overtaken", "reordered"),
        ("with wrong bits", "corrupted"),
        ("and comes again", "duplicated"),
    ):
        assert sum(text in one for one in arrived) == counts[f"{counter}_datagrams"]


@given(channel_configs(disturbed=False), offers)
def test_datagrams_arrive_when_it_is_told(
    config: ChannelConfig, offers: list[tuple[Train, int]]
) -> None:
    channel = Channel(dataclasses.replace(config, coalesce_ns=0), Streams(1))
    now = 0
    for train, gap in offers:
        now += gap
        got, fates = channel.send_told(train, now)
        told = [
            (now + round(float(words.split()[1]) * SECOND), bytes(datagram))
            for words, datagram in zip(fates.words(), train.datagrams(), strict=True)
            if words.startswith("arrives")
        ]
        assert told == arrivals(got)


def test_the_words() -> None:
    pattern = [False, True, False]
    config = ChannelConfig(
        windows=(Window(0, SECOND, 8e6),),
        delay=Delay.constant(250 * MILLISECOND),
        queue_bytes=300,
        loss=lambda rng: Replay(pattern),
    )
    channel = Channel(config, Streams(1))
    _, fates = channel.send_told(numbered(4, 100), 0)
    assert fates.words() == [
        "arrives 0.2501 s later",
        "lost",
        "arrives 0.2503 s later",
        "lost: the transmitter's queue is full",
    ]
    _, fates = channel.send_told(single(b"late"), SECOND)
    assert fates.words() == ["lost: no contact"]


def test_a_disturbance_is_called_by_its_name(tmp_path: Path) -> None:
    rules = build_rules(
        parse_disturbances(
            [
                {"kind": "random", "loss": 1.0, "from_s": 1.0},
                {"kind": "random", "name": "a wall", "loss": 1.0, "until_s": 1.0},
            ]
        ),
        folder=tmp_path,
    )
    for train in (single(b"x"), numbered(2, 10)):
        for now, words in ((0, "lost: a wall"), (2 * SECOND, "lost: random")):
            channel = Channel(ChannelConfig(rules=rules), Streams(1))
            _, fates = channel.send_told(train, now)
            assert fates.words() == [words] * train.datagram_count
