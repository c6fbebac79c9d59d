"""What a node says of the progress of files: what has left, and when the rest will be there."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from link_models.channel import ChannelConfig, Delay, always_up
from link_models.clock import VirtualLoop, run_virtual
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import MILLISECOND
from stack.core.eid import Eid
from stack.ports.application import Expected
from stack.routing.config import RouterConfig
from stack.routing.forecast import arrivals
from stack.simulator.testing import two_nodes
from tests.node.world import EPOCH_MS, World

SAT = Eid.parse("dtn://sat/")
SIZE = 256 * 23_438
RATE_BPS = 8_000_000
HOUR_S = 3600


def plan_of(*starts_s: int, lasts_s: int = 4) -> Plan:
    """Contacts of some seconds between a station and a satellite, both ways."""
    contacts, ranges = [], []
    for start_s in starts_s:
        begin, end = EPOCH_MS + start_s * 1000, EPOCH_MS + (start_s + lasts_s) * 1000
        for a, b in (("dtn://gs/", "dtn://sat/"), ("dtn://sat/", "dtn://gs/")):
            contacts.append(Contact(a, b, begin, end, RATE_BPS))
            ranges.append(Range(a, b, begin, end, 5_000_000))
    return Plan(tuple(contacts), tuple(ranges))


@pytest.mark.slow
def test_nothing_is_done_before_the_link_is_up(tmp_path: Path) -> None:
    """6 MB at 1 MB/s need two passes of 4 s, an hour and two hours from now."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        world = World(loop, tmp_path)
        plan = plan_of(HOUR_S, 2 * HOUR_S, 3 * HOUR_S)
        world.connect(
            "gs",
            "sat",
            ChannelConfig(windows=always_up(RATE_BPS), delay=Delay.constant(5 * MILLISECOND)),
        )
        content = tmp_path / "image.bin"
        content.write_bytes(bytes(range(256)) * (SIZE // 256))
        gs = world.node("gs", [world.link("gs", "sat", scheduled=True)], plan=plan)
        sat = world.node("sat", [world.link("sat", "gs", scheduled=True)], plan=plan)
        async with gs, sat:
            files = gs.services.files
            sent = await files.send(content, SAT)
            await asyncio.sleep(60)
            files.foresee()
            found = files.progress(sent)
            assert found is not None
            assert found.bytes_handed == found.bytes_total == content.stat().st_size
            assert found.bytes_done == 0
            assert found.rate_bytes_s == 0
            assert found.rest_s is None
            assert found.expected is not None
            assert found.expected.passes == 2
            after_s = (found.expected.arrival_ms - EPOCH_MS) / 1000
            assert 2 * HOUR_S < after_s < 2 * HOUR_S + 4

            await asyncio.sleep(HOUR_S)  # one pass is over
            files.foresee()
            found = files.progress(sent)
            assert found is not None
            assert SIZE / 3 < found.bytes_done < 4_000_000
            assert found.expected is not None
            assert found.expected.passes == 1
            over = await files.wait(sent)
            assert (over.state, over.bytes_done, over.expected) == ("delivered", SIZE, None)
            assert loop.time() > after_s - 4

    run_virtual(run)


def test_what_a_plan_says_of_octets_that_wait() -> None:
    """Passes of 4 s at 1 MB/s take nearly 4 MB each: what is in front comes first."""
    plan = plan_of(HOUR_S, 2 * HOUR_S)
    config = RouterConfig(overhead_ratio=0.0, overhead_bytes=0)

    def ask(
        *octets: int, to: str = "dtn://sat/", plan: Plan = plan, unheard: Sequence[str] = ()
    ) -> list[Expected | None]:
        return arrivals(plan, "dtn://gs/", to, octets, EPOCH_MS, config, unheard)

    found = ask(1_000_000, 3_000_000, 5_000_000, 9_000_000)
    after_s = [one and ((one.arrival_ms - EPOCH_MS) / 1000, one.passes) for one in found]
    # To the end of the last octet, 5 ms of light time included; no more than 8 MB get there.
    assert after_s == [(3601.005, 1), (3603.005, 1), (7201.005, 2), None]
    assert ask(1, to="dtn://elsewhere/") == [None]
    assert ask() == []
    assert ask(0) == [None]
    assert ask(0, 1, to="dtn://elsewhere/") == [None, None]
    assert found[0] == ask(1_000_000, unheard=["dtn://sat/"])[0]  # nobody has to answer yet
    endless = [replace(one, rate_bps=math.inf) for one in plan.contacts]
    assert ask(1_000_000, plan=Plan(endless, plan.ranges)) == [None]


def test_a_change_of_rate_makes_no_second_pass() -> None:
    pass_ = plan_of(HOUR_S)
    one = next(each for each in pass_.contacts if each.source == "dtn://gs/")
    middle = one.start_ms + 2000
    plan = Plan((replace(one, end_ms=middle), replace(one, start_ms=middle)), pass_.ranges)
    (found,) = arrivals(plan, "dtn://gs/", "dtn://sat/", (3_000_000,), EPOCH_MS, RouterConfig())
    assert found is not None
    assert found.passes == 1


@pytest.mark.slow
def test_what_is_expected_of_a_neighbour_that_is_not_there_says_so(tmp_path: Path) -> None:
    """A link that is always open has a rate, and so an hour: it holds if somebody answers."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        world = World(loop, tmp_path)
        world.connect("gs", "sat", ChannelConfig(windows=always_up(RATE_BPS)))
        content = tmp_path / "image.bin"
        content.write_bytes(bytes(2 * SIZE))

        def expected() -> Expected:
            files.foresee()
            found = files.progress(sent)
            assert found is not None
            assert found.expected is not None
            assert found.expected.passes == 0  # it never closes
            return found.expected

        async with world.node("gs", [world.link("gs", "sat", rate_bps=RATE_BPS)]) as gs:
            files = gs.services.files
            sent = await files.send(content, SAT)
            assert expected().unheard == ("dtn://sat/",)
            await asyncio.sleep(60)  # LTP waits for an answer
            assert expected().unheard == ("dtn://sat/",)
            async with world.node("sat", [world.link("sat", "gs", rate_bps=RATE_BPS)]):
                await asyncio.sleep(120)  # longer than LTP waits between two tries
                assert (await files.wait(sent)).state == "delivered"
                sent = await files.send(content, SAT)
                assert expected().unheard == ()
            await asyncio.sleep(60)  # it is gone before it has all
            assert gs.links["sat"].state == "silent"
            assert expected().unheard == ("dtn://sat/",)

    run_virtual(run)


def test_what_is_being_stored_has_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a node takes the chunks of a file, none of them counts as confirmed."""
    content = tmp_path / "scene"
    content.write_bytes(bytes(400_000))
    seen: list[int] = []

    async def main() -> None:
        async with two_nodes(tmp_path, passes_s=[(60, 70)]) as (ground, satellite):
            files, commit = ground.services.files, ground.port.commit

            async def watched(**options: Any) -> Any:
                seen.extend(one.bytes_done for one in files.all_progress())
                return await commit(**options)

            monkeypatch.setattr(ground.port, "commit", watched)
            sent = await files.send(content, satellite.node_id)
            await asyncio.sleep(10)
            found = files.progress(sent)
            assert found is not None
            assert found.bytes_handed == 400_000

    run_virtual(main)
    assert seen
    assert set(seen) == {0}
