"""Whole nodes in virtual time: critical bundles, contacts that no plan foresaw, overbooking."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from link_models.channel import ChannelConfig, Delay, Window
from link_models.clock import VirtualLoop, run_virtual
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import MILLISECOND, SECOND
from stack.core.eid import Eid
from stack.core.errors import ConfigError
from stack.node.node import Node
from stack.ports.application import CRITICAL_PRIORITY
from stack.services.messages import Mailbox, send_message
from tests.node.world import EPOCH_MS, World

SAT = Eid.parse("dtn://sat1/")
MESSAGES = SAT.with_service("messages")
GROUND: dict[str, Any] = {"trusted": True, "rate_bps": 100e6, "owlt_ms": 5.0}
SPACE: dict[str, Any] = {"trusted": True, "scheduled": True}
BULK, EXPEDITED = 0, 2


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


def seconds() -> float:
    return loop().now_ns / SECOND


def radio(*passes: tuple[int, int], rate_bps: float = 1e6) -> ChannelConfig:
    """A link that is there in some passes only, in seconds."""
    windows = tuple(Window(a * SECOND, b * SECOND, rate_bps) for a, b in passes)
    return ChannelConfig(windows=windows, delay=Delay.constant(5 * MILLISECOND))


def plan_of(*passes: tuple[str, str, int, int], rate_bps: float = 1e6) -> Plan:
    """Contacts both ways, in seconds."""
    contacts, ranges = [], []
    for a, b, start, end in passes:
        when = EPOCH_MS + start * 1000, EPOCH_MS + end * 1000
        for source, destination in ((a, b), (b, a)):
            pair = f"dtn://{source}/", f"dtn://{destination}/"
            contacts.append(Contact(*pair, *when, rate_bps))
            ranges.append(Range(*pair, *when, 5 * MILLISECOND))
    return Plan(contacts, ranges)


async def until(at_s: float) -> None:
    await asyncio.sleep(at_s - seconds())


def test_a_critical_message_goes_over_both_stations(tmp_path: Path) -> None:
    """Both are to be in contact; one of them has broken, and nobody knows."""
    passes = (("gs1", "sat1", 10, 60), ("gs2", "sat1", 100, 160))

    async def main(broken: str) -> tuple[float, dict[str, int], dict[str, int]]:
        world = World(loop(), tmp_path / f"without-{broken}")
        never = radio()
        always = radio((-1, 10_000), rate_bps=100e6)
        world.connect("control", "gs1", always)
        world.connect("control", "gs2", always)
        for name, _, start, end in passes:
            world.connect(name, "sat1", never if name == broken else radio((start, end)))
        plan = plan_of(*passes, ("control", "gs1", 0, 10_000), ("control", "gs2", 0, 10_000))
        stations = [
            world.node(
                name,
                [
                    world.link(name, "control", **GROUND),
                    world.link(name, "sat1", **SPACE),
                ],
                plan=plan,
            )
            for name in ("gs1", "gs2")
        ]
        links = [world.link("control", name, **GROUND) for name in ("gs1", "gs2")]
        control = world.node("control", links, plan=plan)
        links = [world.link("sat1", name, **SPACE) for name in ("gs1", "gs2")]
        satellite = world.node("sat1", links, plan=plan)
        async with control, stations[0], stations[1], satellite:
            async with Mailbox(satellite.port) as mailbox:
                await send_message(control.port, MESSAGES, b"safe mode", priority=CRITICAL_PRIORITY)
                delivery = await mailbox.receive()
                arrived = seconds()
                assert bytes(delivery.payload) == b"safe mode"
                assert delivery.priority == CRITICAL_PRIORITY
                await mailbox.done(delivery)
                await until(400)
                assert satellite.counters()["bundles.delivered"] == 1
            assert control.waiting_bytes == 0
            return arrived, control.counters(), satellite.counters()

    arrived, control, satellite = run_virtual(lambda: main("gs1"))
    assert 100 < arrived < 105
    assert control["bundles.forwarded"] == 2
    arrived, control, satellite = run_virtual(lambda: main("nobody"))
    assert 10 < arrived < 15
    # The second copy came, and was known.
    assert satellite["bundles.duplicates"] == 1


def test_critical_messages_do_not_go_round(tmp_path: Path) -> None:
    """Four stations, each linked with each: every one hands it on once."""
    names = ("a", "b", "c", "d")

    async def main() -> None:
        world = World(loop(), tmp_path)
        always = radio((-1, 10_000), rate_bps=100e6)
        nodes: dict[str, Node] = {}
        pairs = [(x, y) for x in names for y in names if x < y]
        for x, y in pairs:
            world.connect(x, y, always)
        world.connect("d", "sat1", radio((50, 80)))
        passes = [(x, y, 0, 10_000) for x, y in pairs]
        plan = plan_of(*passes, ("d", "sat1", 50, 80))
        for name in names:
            links = [world.link(name, other, **GROUND) for other in names if other != name]
            if name == "d":
                links.append(world.link("d", "sat1", **SPACE))
            nodes[name] = world.node(name, links, plan=plan)
        satellite = world.node("sat1", [world.link("sat1", "d", **SPACE)], plan=plan)
        async with nodes["a"] as a, nodes["b"], nodes["c"], nodes["d"], satellite:
            async with Mailbox(satellite.port) as mailbox:
                await send_message(a.port, MESSAGES, b"x", priority=CRITICAL_PRIORITY)
                await mailbox.done(await mailbox.receive())
                await until(300)
            forwarded = {name: node.counters()["bundles.forwarded"] for name, node in nodes.items()}
            assert forwarded["a"] == 3
            assert sum(forwarded.values()) <= 3 + 2 + 2 + 3
            assert all(node.waiting_bytes == 0 for node in nodes.values())

    run_virtual(main)


def test_a_contact_that_no_plan_foresaw_carries_what_waits(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", radio((0, 1000)))
        ground = world.node("gs1", [world.link("gs1", "sat1", **SPACE)], plan=Plan())
        satellite = world.node("sat1", [world.link("sat1", "gs1", **SPACE)], plan=Plan())
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            await send_message(ground.port, MESSAGES, b"first")
            await until(20)
            assert ground.waiting_bytes > 0
            for node, peer in ((ground, "dtn://sat1/"), (satellite, "dtn://gs1/")):
                node.contact_discovered(
                    peer, EPOCH_MS + 60_000, rate_bps=1e6, owlt_ns=5 * MILLISECOND
                )
            await mailbox.done(await mailbox.receive())
            assert 20 < seconds() < 22
            await send_message(ground.port, MESSAGES, b"second")
            await mailbox.done(await mailbox.receive())
            assert ground.contact_lost("dtn://sat1/")
            assert not ground.contact_lost("dtn://sat1/")
            await send_message(ground.port, MESSAGES, b"third")
            await until(50)
            assert ground.waiting_bytes > 0
            # It ends by itself as well.
            ground.contact_discovered("dtn://sat1/", EPOCH_MS + 50_500)
            await mailbox.done(await mailbox.receive())
            await until(61)
            await send_message(ground.port, MESSAGES, b"fourth")
            await until(90)
            assert ground.waiting_bytes > 0

    run_virtual(main)


def test_discovered_contacts_that_cannot_be(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", radio((0, 1000)))
        ground = world.node("gs1", [world.link("gs1", "sat1", **SPACE)], plan=Plan())
        async with ground:
            with pytest.raises(ConfigError, match="no scheduled link"):
                ground.contact_discovered("dtn://sat2/", EPOCH_MS + 60_000)
            with pytest.raises(ConfigError, match="ends at"):
                ground.contact_discovered("dtn://sat1/", EPOCH_MS)
            with pytest.raises(ConfigError, match="no scheduled link"):
                ground.contact_lost("dtn://sat2/")
            assert not ground.contact_lost("dtn://sat1/")

    run_virtual(main)


def test_bulk_that_loses_its_room_goes_another_way(tmp_path: Path) -> None:
    """The pass of gs1 is full of bulk when an urgent message comes: what no longer fits is handed
    to gs2, whose pass is soon after, and not kept for the next pass of gs1."""
    passes = (("gs1", "sat1", 60, 70), ("gs2", "sat1", 100, 130), ("gs1", "sat1", 5000, 5100))
    size = 290_000  # four in 10 s of 1 Mbit/s

    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "gs2", radio((-1, 10_000), rate_bps=100e6))
        world.connect("gs1", "sat1", radio((60, 70), (5000, 5100)))
        world.connect("gs2", "sat1", radio((100, 130)))
        plan = plan_of(*passes, ("gs1", "gs2", 0, 10_000))
        first = world.node(
            "gs1",
            [world.link("gs1", "gs2", **GROUND), world.link("gs1", "sat1", **SPACE)],
            plan=plan,
        )
        second = world.node(
            "gs2",
            [world.link("gs2", "gs1", **GROUND), world.link("gs2", "sat1", **SPACE)],
            plan=plan,
        )
        links = [world.link("sat1", name, **SPACE) for name in ("gs1", "gs2")]
        satellite = world.node("sat1", links, plan=plan)
        async with first, second, satellite, Mailbox(satellite.port) as mailbox:
            for number in range(4):
                await send_message(first.port, MESSAGES, bytes([number]) * size, priority=BULK)
            await until(30)
            assert first.counters().get("bundles.forwarded", 0) == 0  # all fit into the pass
            await send_message(first.port, MESSAGES, b"!" * size, priority=EXPEDITED)
            await until(50)
            assert first.counters()["bundles.displaced"] >= 1
            assert first.counters()["bundles.forwarded"] >= 1  # to gs2, ahead of all passes
            order = []
            for _ in range(5):
                delivery = await mailbox.receive()
                order.append((delivery.payload[0], round(seconds())))
                await mailbox.done(delivery)
            assert order[0][0] == ord("!")
            assert sorted(number for number, _ in order) == [0, 1, 2, 3, ord("!")]
            assert order[-1][1] < 131

    run_virtual(main)
