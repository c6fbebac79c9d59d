"""What is urgent does not wait for what a link has taken before it; whole nodes in virtual time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from link_models.clock import run_virtual
from link_models.loss import Bernoulli
from stack.services.messages import Mailbox, send_message
from tests.node.test_routes import (
    BULK,
    EXPEDITED,
    GROUND,
    MESSAGES,
    SPACE,
    loop,
    plan_of,
    radio,
    seconds,
    until,
)
from tests.node.world import World

RATE = 2e6


@pytest.mark.slow
def test_an_expedited_message_overtakes_the_bulk_of_a_pass(tmp_path: Path) -> None:
    """32 MiB are two minutes of the link; two bundles and one block are three seconds."""
    size, count = 1 << 18, 128

    async def main() -> None:
        world = World(loop(), tmp_path, protect=False)
        world.connect("gs1", "sat1", radio((10, 300), rate_bps=RATE))
        plan = plan_of(("gs1", "sat1", 10, 300), rate_bps=RATE)
        ground = world.node("gs1", [world.link("gs1", "sat1", **SPACE)], plan=plan)
        satellite = world.node("sat1", [world.link("sat1", "gs1", **SPACE)], plan=plan)
        async with ground, satellite, Mailbox(satellite.port) as mailbox:
            for _ in range(count):
                await send_message(ground.port, MESSAGES, bytes(size), priority=BULK)
            await until(20)
            await send_message(ground.port, MESSAGES, b"!", priority=EXPEDITED)
            bulk = 0
            while len((delivery := await mailbox.receive()).payload) == size:
                bulk += 1
                await mailbox.done(delivery)
            assert 20 < seconds() < 23
            await mailbox.done(delivery)
            while bulk < count:
                await mailbox.done(await mailbox.receive())
                bulk += 1
            busy = seconds() - 10
            # Of 1,428 octets on the link 1,386 are data.
            assert count * size * 8 / busy > 0.969 * RATE, "and the link never waits"

    run_virtual(main)


def test_what_a_pass_leaves_unsent_goes_by_the_next_of_any_station(tmp_path: Path) -> None:
    """A third of the datagrams is lost, so that what was planned for the pass does not leave."""
    size, count = 20_000, 55

    async def main() -> None:
        world = World(loop(), tmp_path, protect=False)
        world.connect("gs1", "gs2", radio((-1, 10_000), rate_bps=100e6))
        lossy = replace(radio((60, 70), (5000, 5100)), loss=lambda rng: Bernoulli(rng, 0.3))
        world.connect("gs1", "sat1", lossy)
        world.connect("gs2", "sat1", radio((100, 130)))
        plan = plan_of(
            ("gs1", "sat1", 60, 70),
            ("gs2", "sat1", 100, 130),
            ("gs1", "sat1", 5000, 5100),
            ("gs1", "gs2", 0, 10_000),
        )
        first, second = (
            world.node(
                name,
                [world.link(name, other, **GROUND), world.link(name, "sat1", **SPACE)],
                plan=plan,
            )
            for name, other in (("gs1", "gs2"), ("gs2", "gs1"))
        )
        links = [world.link("sat1", name, **SPACE) for name in ("gs1", "gs2")]
        satellite = world.node("sat1", links, plan=plan)
        async with first, second, satellite:
            for _ in range(count):
                await send_message(first.port, MESSAGES, bytes(size), priority=BULK)
            await until(71)
            engine = first.links["sat1"].engine
            assert engine.held_bytes, "what has begun goes on in the next pass"
            assert engine.withdraw() == ()
            begun = engine.held_bytes // size
            await until(140)
            assert satellite.counters()["bundles.bundles_received"] == count - begun
            assert second.counters()["bundles.forwarded"] > 0

    run_virtual(main)
