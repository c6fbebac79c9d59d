"""Two links to one neighbour: what befalls one of them is no matter of the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from link_models.channel import ChannelConfig, Delay, Window, always_up
from link_models.clock import VirtualLoop, run_virtual
from stack.contacts.plan import Contact, Plan
from stack.core.clock import MILLISECOND, SECOND
from stack.core.eid import Eid
from stack.core.train import Train
from stack.node.config import LinkConfig
from stack.node.link import SPACE
from stack.node.node import Node
from stack.ports.application import Outgoing
from stack.ports.store import Write
from stack.services.messages import Mailbox
from tests.node.world import EPOCH_MS, World

RATE = 1e6
TO = Eid.parse("dtn://sat1/sink")
BACK = Eid.parse("dtn://gs1/sink")
ENDS = EPOCH_MS + 86_400_000
SILENT = (Window(0, 1, RATE),)
"""A radio with which nothing is heard."""


def of(octets: int, to: Eid = TO, lifetime_ms: int = 7_200_000) -> Outgoing:
    return Outgoing(to, bytes(octets), lifetime_ms, "source")


def opens(at_s: int) -> tuple[Window, ...]:
    """A radio with which nothing is heard before that time."""
    return (*SILENT, Window(at_s * SECOND, ENDS * MILLISECOND, RATE))


async def arrive(satellite: Node, sizes: Iterable[int], within_s: float) -> None:
    """Bundles of these sizes are delivered, each once."""
    left = sorted(sizes)
    async with Mailbox(satellite.port, "sink") as box, asyncio.timeout(within_s):
        while left:
            delivery = await box.receive()
            left.remove(len(delivery.payload))
            await box.done(delivery)


def run(
    folder: Path,
    script: Callable[[Node, Node], Awaitable[None]],
    *,
    scheduled: bool = False,
    first: tuple[Window, ...] = always_up(RATE),
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
        for suffix, windows in (("", first), ("/x", second)):
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
        sizes = list(range(1000, 51_000, 1000))
        await ground.port.commit(send=[of(size) for size in sizes])
        await arrive(satellite, [90_000] * 3 + sizes, 30)
        assert ground.links["sat1/x"].state == "silent"

    run(tmp_path, script, scheduled=scheduled, second=SILENT)


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("bundles", [3, 10])
@pytest.mark.parametrize("opens_at_s", [0, 100])
@pytest.mark.parametrize("silent", ["sat1", "sat1/x"])
def test_what_a_silent_link_holds_goes_over_the_one_that_carries(
    tmp_path: Path, scheduled: bool, bundles: int, opens_at_s: int, silent: str
) -> None:
    """Whether that one carried all the time, or was silent itself, and whichever holds them."""

    async def script(ground: Node, satellite: Node) -> None:
        sizes = range(60_000, 60_000 + bundles)
        await ground.port.commit(send=[of(size) for size in sizes])
        await asyncio.sleep(opens_at_s)
        await arrive(satellite, sizes, 60)
        assert ground.counters()[f"link.{silent}.ltp.data_bytes_sent"] > 10_000, "some had begun"

    carries = opens(opens_at_s) if opens_at_s else always_up(RATE)
    first, second = (SILENT, carries) if silent == "sat1" else (carries, SILENT)
    run(tmp_path, script, scheduled=scheduled, first=first, second=second)


@pytest.mark.parametrize("scheduled", [False, True])
def test_the_link_that_is_back_gets_what_another_holds(tmp_path: Path, scheduled: bool) -> None:
    """It was silent before that one, so that it has nothing left of its own."""

    async def script(ground: Node, satellite: Node) -> None:
        await ground.port.commit(send=[of(60_000) for _ in range(3)])
        await arrive(satellite, [60_000] * 3, 30)
        await asyncio.sleep(65)
        await ground.port.commit(send=[of(1000)])
        await asyncio.sleep(100)
        assert "up" not in {link.state for link in ground.links.values()}
        await arrive(satellite, [1000], 100)

    second = (Window(0, 60 * SECOND, RATE),)
    run(tmp_path, script, scheduled=scheduled, first=opens(200), second=second)


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_neighbour_that_was_silent_for_long_is_taken_up_again(
    tmp_path: Path, scheduled: bool
) -> None:
    """When all that had been given to its links has long expired, and only one is of use again."""

    async def script(ground: Node, satellite: Node) -> None:
        await ground.port.commit(send=[of(90_000, lifetime_ms=60_000) for _ in range(3)])
        await asyncio.sleep(899)
        assert "up" not in {link.state for link in ground.links.values()}
        await ground.port.commit(send=[of(1000)])
        await asyncio.sleep(1)
        await arrive(satellite, [1000], 60)

    heard = (Window(0, SECOND, RATE),)
    run(tmp_path, script, scheduled=scheduled, first=(*heard, *opens(900)[1:]), second=heard)


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_link_that_was_silent_for_long_is_taken_up_again(tmp_path: Path, scheduled: bool) -> None:
    """When all that had been given to it has long expired, and little is sent."""

    async def script(ground: Node, satellite: Node) -> None:
        async def send(octets: int) -> None:
            for node, to in ((ground, TO), (satellite, BACK)):
                await node.port.commit(send=[of(octets, to, 60_000) for _ in range(3)])

        def states() -> list[str]:
            return [ground.links["sat1/x"].state, satellite.links["gs1/x"].state]

        await send(90_000)
        for _ in range(29):  # until 870 s
            await asyncio.sleep(30)
            await send(10)
        assert states() == ["silent"] * 2
        await asyncio.sleep(1)
        for name in ("sat1", "sat1/x"):
            assert not ground.links[name].engine.held_bytes, "what asks is taken back"
        assert ground.links["sat1/x"].room(0) == 1, "one bundle asks"
        octets = ground.counters()["link.sat1/x.ltp.data_bytes_sent"]
        assert octets < 100_000, "little is spent on asking"
        await asyncio.sleep(59)
        await send(10)
        await asyncio.sleep(5)
        assert states() == ["up"] * 2

    run(tmp_path, script, scheduled=scheduled, second=opens(900))


def test_the_name_of_one_may_begin_with_that_of_the_other(tmp_path: Path) -> None:
    """Sessions that are noted for one are no other's, and keep no node from starting."""

    async def script(ground: Node, satellite: Node) -> None:
        ground._store.commit([Write(SPACE, "sat1/x/2.7", b"")], ground.port.dtn_ms())
        await ground.__aexit__()
        await ground.__aenter__()
        assert ground.links["sat1"].state != "down"

    run(tmp_path, script)


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("both", [False, True])
def test_a_link_that_is_back_is_told_so_though_nothing_is_sent(
    tmp_path: Path, scheduled: bool, both: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether another link to that neighbour carries or none does, and at little cost."""

    async def script(ground: Node, satellite: Node) -> None:
        link, names = ground.links["sat1/x"], ["sat1/x", *(["sat1"] if both else [])]
        sent = dict.fromkeys(names, 0)

        def counted(name: str, send: Callable[[list[Train]], bool]) -> Callable[..., bool]:
            def count(trains: list[Train]) -> bool:
                sent[name] += len(trains)
                return send(trains)

            return count

        await ground.port.commit(send=[of(60_000, lifetime_ms=100_000) for _ in range(4)])
        await asyncio.sleep(400)
        assert link.state in ("silent", "open")
        for name in names:
            monkeypatch.setattr(ground.links[name], "send", counted(name, ground.links[name].send))
        await asyncio.sleep(500)
        assert all(500 // 60 <= asked <= 10 for asked in sent.values()), sent
        assert link.state in ("silent", "open")
        await asyncio.sleep(61)
        assert {ground.links[name].state for name in names} == {"up"}
        sent = dict.fromkeys(names, 0)
        await asyncio.sleep(600)
        assert set(sent.values()) == {0}, "who was heard is asked no more"

    first = opens(900) if both else always_up(RATE)
    run(tmp_path, script, scheduled=scheduled, first=first, second=opens(900))


@pytest.mark.parametrize("goes", [True, False])
def test_when_the_link_that_carries_goes_down_a_silent_one_is_no_way(
    tmp_path: Path, goes: bool
) -> None:
    """What is sent then waits for a way, and does not wait in the queue of the silent one."""

    async def script(ground: Node, satellite: Node) -> None:
        ground.contact_discovered("dtn://sat1/", ENDS, rate_bps=RATE)  # for the first link alone
        await ground.port.commit(send=[of(60_000) for _ in range(3)])
        await asyncio.sleep(120)
        assert [link.state for link in ground.links.values()] == ["silent", "up"]
        if goes:
            ground.set_plan(Plan([]))
            assert [link.state for link in ground.links.values()] == ["silent", "down"]
        await ground.port.commit(send=[of(1000)])
        await asyncio.sleep(1)
        assert ground.gauges()["queue.stranded"] == goes

    run(tmp_path, script, scheduled=True, first=SILENT)
