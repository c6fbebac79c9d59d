"""Whole nodes in bad times: a full disk, a disk that cannot be written, a clock that is set."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from link_models.channel import ChannelConfig, Delay, always_up
from link_models.clock import VirtualClock, VirtualLoop, run_virtual
from stack.core.clock import MILLISECOND
from stack.core.eid import Eid
from stack.core.errors import StoreError
from stack.services.messages import Mailbox, send_message
from stack.storage import SqliteStore
from tests.node.world import EPOCH_MS, World
from tests.storage.small_disk import fill_up, remount, small_disk

SAT = Eid.parse("dtn://sat1/")
MAIL = SAT.with_service("messages")
OPTIONS: dict[str, Any] = {"rate_bps": 20e6, "owlt_ms": 5.0}
WEEK_MS = 7 * 86_400_000


def world(root: Path) -> World:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    made = World(loop, root)
    channel = ChannelConfig(windows=always_up(20e6), delay=Delay.constant(5 * MILLISECOND))
    made.connect("gs1", "sat1", channel)
    return made


async def received(mailbox: Mailbox, count: int) -> list[int]:
    """The numbers of the next `count` messages."""
    numbers: list[int] = []
    async with asyncio.timeout(20_000):
        while len(numbers) < count:
            delivery = await mailbox.receive()
            numbers.append(int.from_bytes(bytes(delivery.payload)[:4], "big"))
            await mailbox.done(delivery)
    return numbers


@pytest.mark.slow
def test_what_a_full_disk_has_no_room_for_waits_where_it_is(tmp_path: Path) -> None:
    count, size = 900, 30_000

    async def main() -> None:
        made = world(tmp_path)
        ground = made.node("gs1", [made.link("gs1", "sat1", **OPTIONS)])
        satellite = made.node("sat1", [made.link("sat1", "gs1", **OPTIONS)])
        async with ground, satellite:
            for number in range(count):
                payload = number.to_bytes(4, "big") + bytes(size)
                await send_message(ground.port, MAIL, payload, lifetime_ms=WEEK_MS)
            await asyncio.sleep(60)
            assert satellite.gauges()["store.bundles"] < count, "there is no room for all"
            assert ("sat1", "store.full") in [event[:2] for event in made.events]
            hog = fill_up(tmp_path / "sat1")  # and others take what is left
            await asyncio.sleep(10)
            here, there = (one.gauges()["store.bundles"] for one in (ground, satellite))
            assert here > 0
            assert here + there >= count, "nothing is let go of that has not arrived"
            async with Mailbox(satellite.port) as mailbox:
                numbers = await received(mailbox, there)  # consuming needs no room
                hog.unlink()
                numbers += await received(mailbox, count - there)
            assert sorted(numbers) == list(range(count))
            await asyncio.sleep(10)
            assert ground.gauges()["store.bundles"] == 0

    with small_disk(tmp_path / "sat1"):
        run_virtual(main)


def test_a_node_on_a_disk_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        made = world(tmp_path)
        ground = made.node("gs1", [made.link("gs1", "sat1", **OPTIONS)])
        async with ground:
            await send_message(ground.port, MAIL, b"\0\0\0\1", lifetime_ms=WEEK_MS)
        remount(tmp_path / "gs1", "ro")
        try:
            with pytest.raises((StoreError, OSError), match=r"(?i)read-only"):
                async with made.node("gs1", [made.link("gs1", "sat1", **OPTIONS)]):
                    pass
        finally:
            remount(tmp_path / "gs1", "rw")
        ground = made.node("gs1", [made.link("gs1", "sat1", **OPTIONS)])
        satellite = made.node("sat1", [made.link("sat1", "gs1", **OPTIONS)])
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            assert await received(mailbox, 1) == [1]

    with small_disk(tmp_path / "gs1"):
        run_virtual(main)


def test_a_disk_that_becomes_read_only_holds_up_and_loses_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        made = world(tmp_path)
        ground = made.node("gs1", [made.link("gs1", "sat1", **OPTIONS)])
        satellite = made.node("sat1", [made.link("sat1", "gs1", **OPTIONS)])
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            await send_message(ground.port, MAIL, b"\0\0\0\0", lifetime_ms=WEEK_MS)
            assert await received(mailbox, 1) == [0]
            # A disk cannot be remounted while files on it are open for writing; the kernel makes
            # one read-only after errors.  SQLite says the same in both cases.
            store = satellite._store
            assert isinstance(store, SqliteStore)
            store._db.execute("PRAGMA query_only = ON")
            for number in range(1, 20):
                payload = number.to_bytes(4, "big")
                await send_message(ground.port, MAIL, payload, lifetime_ms=WEEK_MS)
            await asyncio.sleep(30)
            assert satellite.gauges()["store.bundles"] == 0
            assert ground.gauges()["store.bundles"] == 19, "nothing was acknowledged"
            with pytest.raises(StoreError, match="readonly"):
                await send_message(satellite.port, MAIL, b"here", lifetime_ms=WEEK_MS)
            store._db.execute("PRAGMA query_only = OFF")
            assert sorted(await received(mailbox, 19)) == list(range(1, 20))

    run_virtual(main)


@pytest.mark.parametrize("stepped", ["gs1", "sat1"])
def test_a_clock_that_is_set_costs_no_message(
    tmp_path: Path, stepped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead_ms = 0

    class Stepped(VirtualClock):
        def dtn_ms(self) -> int:
            return super().dtn_ms() + ahead_ms

    async def main() -> None:
        nonlocal ahead_ms
        made = world(tmp_path)
        nodes = []
        for name, peer in (("gs1", "sat1"), ("sat1", "gs1")):
            kind = Stepped if name == stepped else VirtualClock
            monkeypatch.setattr(
                "tests.node.world.VirtualClock",
                lambda source, kind=kind: kind(source, dtn_start_ms=EPOCH_MS),
            )
            nodes.append(made.node(name, [made.link(name, peer, **OPTIONS)]))
        ground, satellite = nodes
        ids = []
        numbers = []
        steps = [0, 240_000, 0, -240_000, 0, 240_000]
        if stepped == "gs1":  # what it sends is then old, and not from the future
            steps += [-86_400_000, 0, -86_400_000]
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            for step, set_to_ms in enumerate(steps):
                ahead_ms = set_to_ms
                for number in range(step * 10, step * 10 + 10):
                    payload = number.to_bytes(4, "big")
                    ids.append(await send_message(ground.port, MAIL, payload, lifetime_ms=WEEK_MS))
                numbers += await received(mailbox, 10)
            assert sorted(numbers) == list(range(10 * len(steps)))
            assert len(set(ids)) == len(ids), "no identity comes twice"
            await asyncio.sleep(10)
            assert ground.gauges()["store.bundles"] == 0
            assert satellite.gauges()["store.bundles"] == 0

    run_virtual(main)
