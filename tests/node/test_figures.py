"""Counters only grow while a node runs; what goes up and down is a gauge, and is explained."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

from link_models.clock import run_virtual
from stack.fec.config import FecConfig
from stack.node.figures import GAUGES
from stack.node.node import Node
from stack.services.messages import send_message
from tests.node.test_two_nodes import channel, loop
from tests.node.world import World


def plain(name: str) -> str:
    """A figure's name without that of its link."""
    return name.split(".", 2)[2] if name.startswith("link.") else name


def test_what_falls_is_a_gauge(tmp_path: Path) -> None:
    seen: list[dict[str, int]] = []
    gauges: list[dict[str, int]] = []

    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel(0.05))
        options: dict[str, Any] = {"rate_bps": 10e6, "owlt_ms": 5.0, "fec": FecConfig(k=32, r=8)}
        nodes: list[Node] = [
            world.node(name, [world.link(name, peer, **options)])
            for name, peer in (("gs1", "sat1"), ("sat1", "gs1"))
        ]
        source = tmp_path / "scene"
        source.write_bytes(bytes(300_000))
        async with nodes[0], nodes[1] as node:
            sent = await nodes[0].services.files.send(source, "dtn://sat1/")
            arrived = asyncio.ensure_future(nodes[0].services.files.wait(sent))
            while True:
                seen.append(node.counters())
                gauges.append(node.gauges())
                if arrived.done():
                    break
                await asyncio.sleep(0.007)
            assert arrived.result().state == "delivered"

    run_virtual(main)
    assert len(seen) > 10
    for before, after in itertools.pairwise(seen):
        assert all(after[name] >= count for name, count in before.items())
    assert len({one["link.gs1.fec.rx_held_bytes"] for one in gauges}) > 1
    found = {plain(name) for one in gauges for name in one}
    untrusted = {"share.bytes", "share.reserved_bytes"}
    assert found == GAUGES.keys() - {"udp.unreadable"} - untrusted
    assert not {plain(name) for name in seen[-1]} & GAUGES.keys()


def test_what_no_service_understands_is_counted(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(loop(), tmp_path)
        async with world.node("gs1", []) as node:
            assert node.counters()["files.malformed"] == node.counters()["jobs.malformed"] == 0
            for service in ("files", "job-replies"):
                await send_message(node.port, f"dtn://gs1/{service}", b"no message")
            await asyncio.sleep(1.0)
            assert node.counters()["files.malformed"] == node.counters()["jobs.malformed"] == 1

    run_virtual(main)
