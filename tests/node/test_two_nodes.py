"""Two whole nodes in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from link_models.channel import ChannelConfig, Delay, Window
from link_models.clock import VirtualLoop, run_virtual
from link_models.loss import Bernoulli
from stack.core.clock import MILLISECOND
from stack.core.eid import Eid
from stack.fec.config import FecConfig
from stack.services.echo import ping
from stack.services.names import ECHO, endpoint_of
from stack.services.messages import Mailbox, send_message
from tests.node.world import World

SAT = Eid.parse("dtn://sat1/")


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


def channel(loss: float = 0.0, rate_bps: float = 10e6) -> ChannelConfig:
    forever = 1 << 62
    return ChannelConfig(
        windows=(Window(-forever, forever, rate_bps),),
        delay=Delay.constant(5 * MILLISECOND),
        loss=lambda rng: Bernoulli(rng, loss),
    )


def test_messages_pings_and_files_cross_a_lossy_link(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000

    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel(0.05))
        options: dict[str, Any] = {
            "rate_bps": 10e6,
            "owlt_ms": 5.0,
            "fec": FecConfig(k=32, r=8),
        }
        ground = world.node("gs1", [world.link("gs1", "sat1", **options)])
        satellite = world.node("sat1", [world.link("sat1", "gs1", **options)])
        source = tmp_path / "scene.bin"
        source.write_bytes(content)
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            await send_message(ground.port, SAT.with_service("messages"), b"hello, orbit")
            delivery = await mailbox.receive()
            assert bytes(delivery.payload) == b"hello, orbit"
            await mailbox.done(delivery)
            replies = [
                result
                async for result in ping(ground.port, endpoint_of(SAT, ECHO), count=3, interval_s=1)
            ]
            assert all(result.rtt_ns is not None for result in replies)
            sent = await ground.services.files.send(source, SAT)
            received = await anext(aiter(satellite.services.files.inbox))
            assert Path(received.path).read_bytes() == content
            progress = await ground.services.files.wait(sent)
            assert progress.bytes_done == len(content)

    run_virtual(main)
