"""Two links to one neighbour: what befalls one of them is no matter of the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from link_models.channel import ChannelConfig, Delay, Window, always_up
from link_models.clock import VirtualLoop, run_virtual
from stack.contacts.plan import Contact, Plan
from stack.core.clock import MILLISECOND
from stack.core.eid import Eid
from stack.node.config import LinkConfig
from stack.node.link import SPACE
from stack.node.node import Node
from stack.ports.application import Outgoing
from stack.ports.store import Write
from stack.services.messages import Mailbox
from tests.node.world import EPOCH_MS, World

RATE = 1e6
TO = Eid.parse("dtn://sat1/sink")
ENDS = EPOCH_MS + 86_400_000
SILENT = (Window(0, 1, RATE),)
"""A radio with which nothing is heard."""


def of(octets: int) -> Outgoing:
    return Outgoing(TO, bytes(octets), 3_600_000, "source")


def run(
    folder: Path,
    script: Callable[[Node, Node], Awaitable[None]],
    *,
    scheduled: bool = False,
    second: tuple[Window, ...] = always_up(RATE),
) -> None:
    """Two nodes with two links of 125,000 octets a second between them, for ever."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        world = World(loop, folder, protect=False)
        delay = Delay.constant(5 * MILLISECOND)
        options = {"scheduled": True} if scheduled else {"rate_bps": RATE, "owlt_ms": 5.0}
        links: dict[str, list[LinkConfig]] = {"gs1": [], "sat1": []}
        for suffix, windows in (("", always_up(RATE)), ("/x", second)):
            channel = ChannelConfig(windows=windows, delay=delay)
            ports = world.network.connect(f"link{suffix}", channel)
            for (a, b), port in zip((("gs1", "sat1"), ("sat1", "gs1")), ports, strict=True):
                world.ports[a, b + suffix] = port
                one = world.link(a, b, ltp={"queue_bytes": 100_000}, **options)
                links[a].append(replace(one, name=b + suffix))
        pairs = [("dtn://gs1/", "dtn://sat1/"), ("dtn://sat1/", "dtn://gs1/")]
        plan = Plan([Contact(*pair, EPOCH_MS, ENDS, RATE) for pair in pairs] if scheduled else [])
        ground, satellite = (world.node(name, one, plan=plan) for name, one in links.items())
        async with ground, satellite:
            await script(ground, satellite)

    run_virtual(main)


def test_each_link_hears_of_what_is_given_up(tmp_path: Path) -> None:
    async def script(ground: Node, satellite: Node) -> None:
        bundles = await ground.port.commit(send=[of(500_000), of(500_000)])  # one goes over each
        await asyncio.sleep(1)
        for bundle in bundles:
            assert await ground.cancel(bundle) == (1, 1)
        await asyncio.sleep(0.5)
        for name in ("sat1", "sat1/x"):
            assert ground.counters()[f"link.{name}.ltp.export_given_up"] == 1
            assert ground.counters()[f"link.{name}.ltp.data_bytes_sent"] < 200_000

    run(tmp_path, script)


@pytest.mark.parametrize("scheduled", [False, True])
def test_what_is_sent_while_one_is_silent_goes_over_the_other(
    tmp_path: Path, scheduled: bool
) -> None:
    async def script(ground: Node, satellite: Node) -> None:
        await ground.port.commit(send=[of(90_000) for _ in range(3)])
        await asyncio.sleep(120)
        assert ground.links["sat1/x"].state == "silent"
        sizes = set(range(1000, 51_000, 1000))
        await ground.port.commit(send=[of(size) for size in sizes])
        async with Mailbox(satellite.port, "sink") as box:
            async with asyncio.timeout(30):
                async for delivery in box:
                    sizes.discard(len(delivery.payload))
                    if not sizes:
                        break
        assert ground.links["sat1/x"].state == "silent"

    run(tmp_path, script, scheduled=scheduled, second=SILENT)


def test_the_name_of_one_may_begin_with_that_of_the_other(tmp_path: Path) -> None:
    """Sessions that are noted for one are no other's, and keep no node from starting."""

    async def script(ground: Node, satellite: Node) -> None:
        ground._store.commit([Write(SPACE, "sat1/x/2.7", b"")], ground.port.dtn_ms())
        await ground.__aexit__()
        await ground.__aenter__()
        assert ground.links["sat1"].state != "down"

    run(tmp_path, script)
