"""Datagrams across the box, in virtual time: exact to the nanosecond."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from link_models.channel import ChannelConfig, Delay, Window, always_up
from link_models.disturbances.config import build_rules, parse_disturbances
from link_models.emulator import Emulator, EmulatorConfig, TimeMapping
from link_models.loss import Bernoulli, Replay
from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError, LocalError
from stack.core.train import Train
from tests.link_models.emulator.memory import MemoryLoop, in_memory, start

LIGHT = ChannelConfig(delay=Delay.constant(20 * MILLISECOND))


def test_every_datagram_arrives_after_its_light_time_on_its_port() -> None:
    async def main(loop: MemoryLoop) -> None:
        await start(loop, LIGHT, ChannelConfig(delay=Delay.constant(30 * MILLISECOND)))
        a, b = loop.ports
        a.hears(b"ping")
        a.hears(b"repair", flow=1)
        b.hears(b"pong")
        await asyncio.sleep(1)
        assert b.sent == [(20 * MILLISECOND, 0, b"ping"), (20 * MILLISECOND, 1, b"repair")]
        assert a.sent == [(30 * MILLISECOND, 0, b"pong")]

    in_memory(main)


def test_empty_datagrams_pass_in_their_turn() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT)
        a, b = loop.ports
        a.hears(b"one", b"", b"three")
        a.hears(b"", flow=1)
        await asyncio.sleep(1)
        assert [(flow, data) for _, flow, data in b.sent] == [
            (0, b"one"),
            (0, b""),
            (0, b"three"),
            (1, b""),
        ]
        assert link.statistics()["forward"]["delivered_datagrams"] == 4

    in_memory(main)


def test_the_switch_and_what_it_does_to_what_is_under_way() -> None:
    async def main(loop: MemoryLoop) -> None:
        slow = ChannelConfig(windows=always_up(8e3), delay=Delay.constant(SECOND))
        link = await start(loop, slow)  # a kilobyte a second
        a, b = loop.ports
        a.hears(bytes(500), bytes(500), bytes(500))  # sent by 0.5, 1 and 1.5 s
        await asyncio.sleep(0.75)
        link.set_up(False)
        a.hears(b"into the dark")
        assert not link.state()["forward"]["up"]
        await asyncio.sleep(2)
        assert [at for at, _, _ in b.sent] == [1.5 * SECOND], "the one that had left"
        link.set_up(True)
        a.hears(b"again")
        await asyncio.sleep(3)
        assert b.datagrams[1:] == [b"again"]
        counts = link.statistics()["forward"]
        assert counts["dropped_down_datagrams"] == 3
        assert counts["dropped_down_bytes"] == 1013
        assert counts["offered_datagrams"] == 5
        assert counts["delivered_datagrams"] == 2

    in_memory(main)


def test_a_blackout_ends_by_itself_and_hits_one_direction() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT)
        a, b = loop.ports
        link.blackout(2.0, "forward")
        for second in range(4):
            a.hears(b"%d" % second)
            b.hears(b"%d" % second)
            await asyncio.sleep(1)
        assert b.datagrams == [b"2", b"3"]
        assert a.datagrams == [b"0", b"1", b"2", b"3"]
        with pytest.raises(ConfigError, match="seconds"):
            link.blackout(-1)

    in_memory(main)


def test_a_pause_holds_what_is_under_way() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT)
        a, b = loop.ports
        a.hears(b"before")
        await asyncio.sleep(0.01)
        link.pause()
        a.hears(b"while")
        await asyncio.sleep(5)
        assert b.sent == []
        assert link.statistics()["forward"]["under_way"] == 2
        link.resume()
        await asyncio.sleep(0.009)
        assert b.sent == []
        await asyncio.sleep(1)
        assert [at for at, _, _ in b.sent] == [5.02 * SECOND, 5.03 * SECOND]

    in_memory(main)


def test_a_change_counts_for_what_comes_after_it_and_keeps_the_totals() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT)
        a, b = loop.ports
        a.hears(b"slow")
        link.configure("forward", ChannelConfig(delay=Delay.constant(SECOND)))
        a.hears(b"slower")
        link.configure("forward", ChannelConfig(loss=lambda rng: Bernoulli(rng, 1.0)))
        a.hears(b"lost")
        link.configure("forward", ChannelConfig())
        a.hears(b"does not overtake")
        await asyncio.sleep(2)
        assert [(at, data) for at, _, data in b.sent] == [
            (20 * MILLISECOND, b"slow"),
            (SECOND, b"slower"),
            (SECOND, b"does not overtake"),
        ]
        counts = link.statistics()["forward"]
        assert (counts["offered_datagrams"], counts["lost_datagrams"]) == (4, 1)

    in_memory(main)


def test_what_waits_for_the_transmitter_still_waits_after_a_change() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, ChannelConfig(windows=always_up(8e6)))
        a, b = loop.ports
        a.hears(bytes(1000))
        link.configure("forward", ChannelConfig(windows=always_up(8e3)))
        assert link.state()["forward"]["backlog_bytes"] == 1000
        a.hears(bytes(1000))  # behind a kilobyte at a kilobyte a second
        await asyncio.sleep(5)
        assert [at for at, _, _ in b.sent] == [MILLISECOND, 2 * SECOND]

    in_memory(main)


def test_a_faster_transmitter_is_not_full_of_what_the_slow_one_has_sent() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, ChannelConfig(windows=always_up(8e3)))
        a, b = loop.ports
        a.hears(bytes(1000))
        link.configure("forward", ChannelConfig(windows=always_up(8e6), queue_bytes=2000))
        a.hears(bytes(1000))
        await asyncio.sleep(2)
        assert [at for at, _, _ in b.sent] == [SECOND, SECOND], "in order"

    in_memory(main)


def test_contacts_on_a_schedule_sixty_times_as_fast_in_a_loop() -> None:
    async def main(loop: MemoryLoop) -> None:
        passes = ChannelConfig(
            windows=(Window(60 * SECOND, 120 * SECOND, float("inf")),),
            delay=Delay([60 * SECOND, 120 * SECOND], [30e6, 10e6]),
        )
        schedule = TimeMapping(factor=60, loop_ns=600 * SECOND)  # ten seconds a turn
        link = await start(loop, passes, schedule=schedule)
        a, b = loop.ports
        heard = []
        for tenth in range(250):
            a.hears(b"%d" % tenth)
            await asyncio.sleep(0.1)
        heard = [int(data) for data in b.datagrams]
        # Loop time is a float in seconds: an edge may fall on either side.
        assert {11, 15, 19, 111, 115, 119, 211, 219} <= set(heard)
        assert not {n for n in heard if not 10 <= n % 100 <= 20}
        middle = next(at for at, _, data in b.sent if data == b"15")
        assert middle == pytest.approx(1.52 * SECOND, abs=1000), "light time as in the schedule"
        assert link.state()["scenario_s"] == pytest.approx(300, abs=0.01)

    in_memory(main)


def test_setting_the_clock_opens_a_contact() -> None:
    async def main(loop: MemoryLoop) -> None:
        passes = ChannelConfig(windows=(Window(3600 * SECOND, 7200 * SECOND, 1e6),))
        link = await start(loop, passes)
        a, b = loop.ports
        a.hears(b"no contact")
        link.set_time(3600 * SECOND)
        a.hears(b"contact")
        await asyncio.sleep(1)
        assert b.datagrams == [b"contact"]
        assert link.statistics()["forward"]["dropped_window_datagrams"] == 1

    in_memory(main)


def test_disturbances_follow_the_schedule_and_losses_do_not_change_their_share() -> None:
    async def main(loop: MemoryLoop) -> None:
        rules = build_rules(
            parse_disturbances(
                [
                    {"kind": "blackouts", "spans_s": [[600, 1200]]},
                    {"kind": "random", "loss": 0.25},
                ]
            ),
            scope="link",
        )
        link = await start(loop, ChannelConfig(rules=rules), schedule=TimeMapping(factor=600))
        a, b = loop.ports
        for number in range(4000):
            a.hears(number.to_bytes(2, "big"))
            await asyncio.sleep(0.001)
        heard = [int.from_bytes(data, "big") for data in b.datagrams]
        assert not [n for n in heard if 1001 <= n <= 1998]
        assert 0.70 < len(heard) / 3000 < 0.80
        # The same again from the beginning: models are made anew.
        link.set_time(0)
        a.hears(b"again")

    in_memory(main)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 3)), max_size=60),
    st.integers(0, 5),
    st.sampled_from([1e5, 1e6, float("inf")]),
    st.sampled_from([0, MILLISECOND]),
)
def test_nothing_is_made_up_and_everything_is_accounted_for(
    sizes: list[tuple[int, int]], seed: int, rate: float, coalesce_ns: int
) -> None:
    async def main(loop: MemoryLoop) -> None:
        config = ChannelConfig(
            windows=always_up(rate),
            delay=Delay.constant(20 * MILLISECOND),
            loss=lambda rng: Bernoulli(rng, 0.2),
            jitter_ns=3 * MILLISECOND,
            duplicate_probability=0.1,
            reorder_probability=0.1,
            reorder_ns_max=5 * MILLISECOND,
            queue_bytes=4000,
            coalesce_ns=coalesce_ns,
        )
        link = await start(loop, config, seed=seed)
        a, b = loop.ports
        given = set()
        for number, (size, wait_ms) in enumerate(sizes):
            data = (number.to_bytes(2, "big") * 750)[:size]
            given.add(data)
            a.hears(data)
            await asyncio.sleep(wait_ms / 1e3)
        await asyncio.sleep(5)
        assert set(b.datagrams) <= given
        assert all(at >= 20 * MILLISECOND for at, _, _ in b.sent)
        counts = link.statistics()["forward"]
        assert counts["delivered_datagrams"] == len(b.sent)
        assert counts["offered_datagrams"] == len(sizes)
        assert counts["offered_datagrams"] + counts["duplicated_datagrams"] == (
            counts["delivered_datagrams"]
            + counts["lost_datagrams"]
            + counts["dropped_queue_datagrams"]
            + counts["dropped_window_datagrams"]
            + counts["dropped_down_datagrams"]
        )
        assert counts["under_way"] == counts["under_way_bytes"] == 0

    in_memory(main)


def test_the_same_seed_is_the_same_luck() -> None:
    async def main(loop: MemoryLoop) -> list[Any]:
        config = ChannelConfig(loss=lambda rng: Bernoulli(rng, 0.5), jitter_ns=MILLISECOND)
        await start(loop, config, seed=5)
        a, b = loop.ports
        for number in range(100):
            a.hears(bytes([number]))
            await asyncio.sleep(0.01)
        return b.sent

    assert in_memory(main) == in_memory(main)


def test_memory_is_bounded() -> None:
    async def main(loop: MemoryLoop) -> None:
        link = await start(loop, LIGHT, memory_bytes=10_000)
        a, b = loop.ports
        a.on_receive([Train(bytes(1000), 1000)] * 50)
        counts = link.statistics()["forward"]
        assert counts["under_way_bytes"] == 11_000
        assert counts["socket_drops"] == 39
        await asyncio.sleep(1)
        assert len(b.sent) == 11

    in_memory(main)


def test_replayed_losses_hit_trains_as_they_hit_datagrams() -> None:
    async def main(loop: MemoryLoop) -> None:
        await start(loop, ChannelConfig(loss=lambda rng: Replay([False, True, False])))
        a, b = loop.ports
        a.on_receive([Train(bytes(range(30)), 1)])
        await asyncio.sleep(1)
        assert [data[0] for data in b.datagrams] == [n for n in range(30) if n % 3 != 1]

    in_memory(main)


def test_it_says_when_it_is_used_before_its_start() -> None:
    async def main(loop: MemoryLoop) -> None:
        config = EmulatorConfig(listen_a=("", 0), listen_b=("", 0))
        with pytest.raises(ConfigError, match="open_port"):
            Emulator(config)
        with pytest.raises(LocalError, match="not been started"):
            Emulator(config, loop.open_port).state()

    in_memory(main)
