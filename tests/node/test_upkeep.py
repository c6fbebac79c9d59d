"""What a node does because time has passed, and that it does nothing else."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from link_models.channel import ChannelConfig, Delay, always_up
from link_models.clock import Deadlock, VirtualClock, VirtualLoop, run_virtual
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import MILLISECOND, SECOND
from stack.core.eid import Eid
from stack.core.errors import StoreError
from stack.node import contacts, upkeep
from stack.node.contacts import ContactDriver
from stack.node.node import Node
from stack.services.messages import Mailbox, send_message
from tests.node.world import EPOCH_MS, World

SAT = Eid.parse("dtn://sat1/")
MAIL = SAT.with_service("messages")


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


def lonely(root: Path, store: str = "memory", **options: object) -> Node:
    """A node with a scheduled link, whose plan has no contact."""
    world = World(loop(), root, store=store)
    if ("gs1", "sat1") not in world.ports:
        world.connect("gs1", "sat1", ChannelConfig(windows=always_up(1e6)))
    return world.node("gs1", [world.link("gs1", "sat1", scheduled=True)], **options)  # type: ignore[arg-type]


def held(node: Node) -> int:
    return node.gauges()["store.bundles"]


async def until(at_s: float) -> None:
    await asyncio.sleep(at_s - loop().now_ns / SECOND)


def test_a_node_with_nothing_to_do_has_no_timers(tmp_path: Path) -> None:
    async def main() -> None:
        async with lonely(tmp_path):
            await loop().create_future()

    with pytest.raises(Deadlock, match="nothing scheduled"):
        run_virtual(main)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_bundles_are_let_go_of_when_their_lifetime_ends(tmp_path: Path, store: str) -> None:
    async def main() -> None:
        async with lonely(tmp_path, store) as node:
            for lifetime_ms in (60_000, 10_000, 10_300, 3_600_000):
                await send_message(node.port, MAIL, b"x", lifetime_ms=lifetime_ms)
            for at_s, left in ((9.9, 4), (10.1, 3), (11.9, 2), (59.9, 2), (60.1, 1), (3599, 1)):
                await until(at_s)
                assert held(node) == left, at_s
            await until(3601)
            assert held(node) == 0
            assert node.counters()["bundles.expired"] == 4

    run_virtual(main)


def test_what_expired_while_the_node_was_down_goes_at_its_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with lonely(tmp_path, "sqlite") as node:
            await send_message(node.port, MAIL, b"x", lifetime_ms=5000)
            await send_message(node.port, MAIL, b"y", lifetime_ms=100_000)
        await until(50)
        async with lonely(tmp_path, "sqlite") as node:
            assert held(node) == 2
            await until(50.1)
            assert held(node) == 1
            await until(101.1)
            assert held(node) == 0

    run_virtual(main)


def test_a_wall_clock_that_is_set_forward_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead_ms = 0

    class Stepped(VirtualClock):
        def dtn_ms(self) -> int:
            return super().dtn_ms() + ahead_ms

    monkeypatch.setattr(
        "tests.node.world.VirtualClock", lambda source: Stepped(source, dtn_start_ms=EPOCH_MS)
    )

    async def main() -> None:
        nonlocal ahead_ms
        async with lonely(tmp_path) as node:
            await send_message(node.port, MAIL, b"x", lifetime_ms=86_400_000)
            await until(100)
            ahead_ms = 2 * 86_400_000
            await until(100 + upkeep.HORIZON_S + 1)
            assert held(node) == 0

    run_virtual(main)


def test_a_store_that_fails_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with lonely(tmp_path) as node:
            await send_message(node.port, MAIL, b"x", lifetime_ms=1000)
            real, failures = node._store.stage_expire, 3

            def failing(now_ms: int, limit: int) -> object:
                nonlocal failures
                failures -= 1
                if failures >= 0:
                    raise StoreError("the disk is away")
                return real(now_ms, limit)

            monkeypatch.setattr(node._store, "stage_expire", failing)
            await until(1 + 2.5 * upkeep.SPACING_S)
            assert held(node) == 1
            await until(1 + 4 * upkeep.SPACING_S)
            assert held(node) == 0

    run_virtual(main)


def test_a_clean_up_that_fails_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when what fails is none of the store's own errors."""

    async def main() -> None:
        async with lonely(tmp_path) as node:
            real, failures = node._store.stage_expire, 2

            def failing(now_ms: int, limit: int) -> object:
                nonlocal failures
                failures -= 1
                if failures >= 0:
                    raise ValueError("planted")
                return real(now_ms, limit)

            monkeypatch.setattr(node._store, "stage_expire", failing)
            await send_message(node.port, MAIL, b"x", lifetime_ms=1000)
            await until(1 + 5 * upkeep.SPACING_S)
            assert held(node) == 0

    run_virtual(main)


def test_what_has_no_way_is_looked_at_ever_more_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with lonely(tmp_path) as node:
            times: list[float] = []
            real = node._agent.retry

            def retry(now_ms: int) -> None:
                times.append(loop().now_ns / SECOND)
                real(now_ms)

            monkeypatch.setattr(node._agent, "retry", retry)
            await until(1000)
            assert times == []
            await send_message(node.port, MAIL, b"x")
            await until(5000)
            waits = [b - a for a, b in zip([1000.0, *times], times, strict=False)]
            assert waits[0] == pytest.approx(upkeep.RETRY_FIRST_S)
            assert all(
                b == pytest.approx(min(2 * a, upkeep.RETRY_MOST_S))
                for a, b in itertools.pairwise(waits)
            )
            assert waits[-1] == pytest.approx(upkeep.RETRY_MOST_S)

    run_virtual(main)


def test_a_producer_waits_for_room_without_asking(tmp_path: Path) -> None:
    """Room comes when something is let go of, hours later."""

    async def main() -> None:
        world = World(loop(), tmp_path, store="memory")
        world.connect("gs1", "sat1", ChannelConfig(windows=always_up(1e6)))
        node = world.node("gs1", [world.link("gs1", "sat1", scheduled=True)])
        async with node:
            size = 40 * 1024 * 1024
            await send_message(node.port, MAIL, bytes(size), lifetime_ms=7_200_000)
            before = loop()._sequence
            await asyncio.wait_for(node.port.wait_room(size), 10_000)
            assert 7200 <= loop().now_ns / SECOND < 7202
            assert loop()._sequence - before < 100

    run_virtual(main)


# ---- contacts ----------------------------------------------------------------------------------


class Told:
    """A link that only notes what it is told."""

    def __init__(self, peer: str) -> None:
        self.name = self.peer = peer
        self.up = False
        self.said: list[tuple[float, bool, bool, float | None, int]] = []

    def withdraw(self) -> None:
        assert self.up, "what a link has taken is taken back when its contact ends"

    def set_contact(
        self, now: int, *, tx_up: bool, rx_up: bool, rate_bps: float | None, owlt_ns: int
    ) -> None:
        self.up = tx_up
        self.said.append((now / SECOND, tx_up, rx_up, rate_bps, owlt_ns))


def both_ways(peer: str, start_s: float, end_s: float, rate_bps: float) -> list[Contact]:
    when = EPOCH_MS + round(start_s * 1000), EPOCH_MS + round(end_s * 1000)
    return [Contact("gs", peer, *when, rate_bps), Contact(peer, "gs", *when, rate_bps)]


def attempt(what: str, work: Callable[..., object], *args: object) -> bool:
    """As the driver of bundles does it."""
    try:
        work(*args)
    except Exception:
        return False
    return True


def drive(plan: Plan, peers: list[str], seconds: float) -> tuple[list[Told], list[str], int]:
    """What links are told of a plan, whose contacts ended, and how many timers that took."""
    links = [Told(peer) for peer in peers]
    ended: list[str] = []
    timers = 0

    async def main() -> None:
        nonlocal timers
        clock = VirtualClock(loop(), dtn_start_ms=EPOCH_MS)
        driver = ContactDriver("gs", links, clock, lambda peer, at_ms: ended.append(peer), attempt)  # type: ignore[arg-type]
        before = loop()._sequence
        driver.follow(plan)
        await asyncio.sleep(seconds)
        timers = loop()._sequence - before
        driver.close()

    run_virtual(main)
    return links, ended, timers


def test_links_change_exactly_with_their_contacts() -> None:
    plan = Plan(
        [
            *both_ways("a", 10, 20, 1e6),
            *both_ways("a", 20, 30, 2e6),
            *both_ways("b", 15, 25, 3e6),
            *both_ways("c", 9000, 9001, 4e6),
        ]
    )
    (a, b, c), ended, timers = drive(plan, ["a", "b", "c"], 10_000)
    assert [(at, up, rate) for at, up, _, rate, _ in a.said] == [
        (0.0, False, None),
        (10.0, True, 1e6),
        (20.0, True, 2e6),
        (30.0, False, None),
    ]
    assert [(at, up) for at, up, *_ in b.said] == [(0.0, False), (15.0, True), (25.0, False)]
    assert [(at, up) for at, up, *_ in c.said] == [(0.0, False), (9000.0, True), (9001.0, False)]
    assert ended == ["b", "a", "c"]
    assert timers < 15, "one timer for each change of any link, and a few for the horizon"


def test_a_link_that_cannot_be_opened_keeps_no_other_from_its_contact() -> None:
    class Broken(Told):
        def set_contact(self, now: int, **state: Any) -> None:
            if not 30 * SECOND < now < 90 * SECOND:
                raise ValueError("planted")
            super().set_contact(now, **state)

    links = [Broken("a"), Told("b")]

    async def main() -> None:
        clock = VirtualClock(loop(), dtn_start_ms=EPOCH_MS)
        driver = ContactDriver("gs", links, clock, lambda peer, at_ms: None, attempt)  # type: ignore[arg-type]
        driver.follow(Plan([*both_ways("a", 10, 100, 1e6), *both_ways("b", 20, 50, 1e6)]))
        await asyncio.sleep(25)
        assert [link.up for link in links] == [False, True]
        await asyncio.sleep(10)
        assert [link.up for link in links] == [True, True], "it is tried again"
        await asyncio.sleep(20)
        assert [link.up for link in links] == [True, False]
        driver.close()

    run_virtual(main)


def test_light_times_are_followed_in_steps_while_a_link_is_up() -> None:
    step_s = contacts.LIGHT_STEP_MS / 1000
    ranges = [
        Range(*pair, EPOCH_MS + 1000 * at, EPOCH_MS + 1000 * (at + 1), 1_000_000 + 25_000 * at)
        for at in range(1000)
        for pair in (("gs", "a"), ("a", "gs"))
    ]
    (a,), _, _ = drive(Plan(both_ways("a", 100, 700, 1e6), ranges), ["a"], 2000)
    up = [(at, owlt) for at, is_up, _, _, owlt in a.said if is_up]
    assert up[0] == (100.0, 1_000_000 + 25_000 * 100)
    for (one, _), (other, owlt) in itertools.pairwise(up):
        assert step_s <= other - one <= step_s + 1
        assert owlt == 1_000_000 + 25_000 * round(other)
    assert a.said[-1][0] == 700.0, "and not while it is down"


def test_a_contact_that_was_missed_while_the_clock_was_wrong_is_opened() -> None:
    ahead_ms = 0
    link = Told("a")

    class Stepped(VirtualClock):
        def dtn_ms(self) -> int:
            return super().dtn_ms() + ahead_ms

    async def main() -> None:
        nonlocal ahead_ms
        clock = Stepped(loop(), dtn_start_ms=EPOCH_MS)
        driver = ContactDriver("gs", [link], clock, lambda peer, at_ms: None, attempt)  # type: ignore[list-item]
        driver.follow(Plan(both_ways("a", 86_400, 100_000, 1e6)))
        await asyncio.sleep(100)
        assert not link.up
        ahead_ms = 86_400_000
        await asyncio.sleep(contacts.HORIZON_MS / 1000)
        assert link.up
        driver.close()

    run_virtual(main)


def test_an_unscheduled_link_that_the_plan_lists_is_not_listed_twice(tmp_path: Path) -> None:
    """All nodes that share a plan then share all that is derived from it."""

    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", ChannelConfig(windows=always_up(1e6), delay=Delay.constant(0)))
        when = EPOCH_MS, EPOCH_MS + 86_400_000
        pairs = (("dtn://gs1/", "dtn://sat1/"), ("dtn://sat1/", "dtn://gs1/"))
        whole = Plan(
            [Contact(*pair, *when, 1e6) for pair in pairs],
            [Range(*pair, *when, MILLISECOND) for pair in pairs],
        )
        for plan, shared in ((whole, True), (Plan(), False)):
            first = world.node("gs1", [world.link("gs1", "sat1", rate_bps=1e6)], plan=plan)
            second = world.node("sat1", [world.link("sat1", "gs1", rate_bps=1e6)], plan=plan)
            async with first, second, Mailbox(second.port) as mailbox:
                assert (first.plan is plan) is shared
                assert len(first.plan.contacts) == 2
                await send_message(first.port, MAIL, b"hello")
                assert bytes((await mailbox.receive()).payload) == b"hello"

    run_virtual(main)
