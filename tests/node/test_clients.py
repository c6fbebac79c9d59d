"""Blocks with data of another LTP client service than bundles."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from link_models.channel import ChannelConfig, Delay, always_up
from link_models.clock import VirtualLoop, run_virtual
from stack.core.clock import MILLISECOND
from stack.wire.ltp import CLIENT_SDA
from tests.node.world import World


@pytest.mark.parametrize("client", [3, 100])
def test_what_nobody_takes_is_not_acknowledged(client: int, tmp_path: Path) -> None:
    """A flipped bit in the client's number must not lose the bundle behind it."""
    events: list[tuple[str, str, dict[str, Any]]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        world = World(loop, tmp_path)
        config = ChannelConfig(windows=always_up(2e6), delay=Delay.constant(MILLISECOND))
        world.connect("gs1", "sat1", config)
        near = world.node("gs1", [world.link("gs1", "sat1")])
        far = world.node("sat1", [world.link("sat1", "gs1")])
        async with near, far:
            engine = near.links["sat1"].engine
            block = bytes([client]) + bytes(50)
            engine.submit_block([block], [99], len(block), CLIENT_SDA)
            near.links["sat1"]._runner.wake()
            await asyncio.sleep(5)
            assert far.counters()["bundles.dropped_unknown_client"] == 1
        events.extend(world.events)

    run_virtual(main)
    assert [event for name, event, _ in events if event == "ltp_session_failed"]
