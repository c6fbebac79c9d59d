"""What is of no use to anybody any more, links do not go on sending."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from link_models.channel import ChannelConfig, Delay, Window, always_up
from link_models.clock import VirtualLoop, run_virtual
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import MILLISECOND, SECOND
from stack.core.eid import Eid
from stack.node.node import Node
from stack.ports.application import Outgoing
from stack.services.messages import Mailbox
from tests.node.world import EPOCH_MS, World

RATE = 1e6
TO = Eid.parse("dtn://sat1/sink")


def of(octets: int, lifetime_s: float) -> Outgoing:
    return Outgoing(TO, bytes(octets), int(lifetime_s * 1000), "source")


def run(
    folder: Path,
    script: Callable[[Node, Node], Awaitable[None]],
    passes: Sequence[tuple[int, int]] = (),
    audible: Sequence[tuple[int, int]] = (),
) -> None:
    """Two nodes with a link of 125,000 octets a second: for ever, or in `passes`, of which the
    radio has only what is `audible`."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        world = World(loop, folder, protect=False, store="memory")
        windows = tuple(Window(a * SECOND, b * SECOND, RATE) for a, b in audible)
        windows = windows or always_up(RATE)
        radio = ChannelConfig(windows=windows, delay=Delay.constant(5 * MILLISECOND))
        world.connect("gs1", "sat1", radio)
        pairs = [("dtn://gs1/", "dtn://sat1/"), ("dtn://sat1/", "dtn://gs1/")]
        when = [(EPOCH_MS + a * 1000, EPOCH_MS + b * 1000) for a, b in passes]
        plan = Plan(
            [Contact(*pair, *times, RATE) for pair in pairs for times in when],
            [Range(*pair, *times, 5 * MILLISECOND) for pair in pairs for times in when],
        )
        options = {"scheduled": True} if passes else {"rate_bps": RATE, "owlt_ms": 5.0}
        ground = world.node("gs1", [world.link("gs1", "sat1", **options)], plan=plan)
        satellite = world.node("sat1", [world.link("sat1", "gs1", **options)], plan=plan)
        async with ground, satellite:
            await script(ground, satellite)

    run_virtual(main)


def check_ended(ground: Node, satellite: Node, octets_most: int) -> None:
    """The session has been cancelled, at both ends, and little more than this has left."""
    sent = ground.counters()
    assert sent["link.sat1.ltp.export_given_up"] == 1
    assert sent["link.sat1.ltp.export_failed"] == 0, "nothing is wrong with the link"
    assert octets_most // 2 < sent["link.sat1.ltp.data_bytes_sent"] < octets_most
    assert satellite.counters()["link.gs1.ltp.import_cancelled"] == 1
    engines = [node.links[peer].engine for node, peer in ((ground, "sat1"), (satellite, "gs1"))]
    assert engines[0].held_bytes == 0
    assert not engines[0]._sender._table.sessions
    assert not len(engines[1]._receiver.table)


async def arrived(satellite: Node, ground: Node) -> list[int]:
    """The sizes of what comes, with a small one that shows that the link goes on."""
    await ground.port.commit(send=[of(77, 3600)])
    sizes: list[int] = []
    async with Mailbox(satellite.port, "sink") as box:
        async for delivery in box:
            sizes.append(len(delivery.payload))
            if sizes[-1] == 77:
                break
    return sizes


def test_a_bundle_whose_lifetime_ends_while_it_is_being_sent(tmp_path: Path) -> None:
    async def script(ground: Node, satellite: Node) -> None:
        await ground.port.commit(send=[of(500_000, 2)])  # it takes four seconds
        await asyncio.sleep(2.5)
        check_ended(ground, satellite, 270_000)
        assert ground.counters()["bundles.expired"] == 1
        assert await arrived(satellite, ground) == [77]

    run(tmp_path, script)


def test_a_bundle_that_is_cancelled_while_it_is_being_sent(tmp_path: Path) -> None:
    async def script(ground: Node, satellite: Node) -> None:
        (bundle,) = await ground.port.commit(send=[of(500_000, 3600)])
        await asyncio.sleep(1)
        assert await ground.cancel(bundle) == (1, 1)
        await asyncio.sleep(0.5)
        check_ended(ground, satellite, 140_000)
        assert await arrived(satellite, ground) == [77]

    run(tmp_path, script)


def test_a_lifetime_that_ends_between_two_passes(tmp_path: Path) -> None:
    async def script(ground: Node, satellite: Node) -> None:
        await ground.port.commit(send=[of(200_000, 10)])
        await asyncio.sleep(21)
        check_ended(ground, satellite, 201_000)
        assert ground.counters()["link.sat1.ltp.data_bytes_resent"] < 2_000, "a checkpoint"
        assert await arrived(satellite, ground) == [77]

    run(tmp_path, script, [(0, 2), (20, 30)], [(0, 1), (20, 30)])


@pytest.mark.parametrize("cancelled", [False, True])
def test_what_shares_its_block_with_others_goes_on(tmp_path: Path, cancelled: bool) -> None:
    async def script(ground: Node, satellite: Node) -> None:
        short = 3600.0 if cancelled else 1.0
        first, *_ = await ground.port.commit(send=[of(100_000, short), of(101_000, 3600)])
        await asyncio.sleep(0.5)
        if cancelled:
            assert await ground.cancel(first) == (1, 1)
        await asyncio.sleep(1)
        assert 101_000 in await arrived(satellite, ground)
        await asyncio.sleep(1)
        assert ground.counters()["link.sat1.ltp.export_given_up"] == 0
        assert ground.counters()["bundles.forwarded"] == 2

    run(tmp_path, script)
