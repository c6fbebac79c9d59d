"""On which links the priority of a bundle in transit is believed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from link_models.clock import run_virtual
from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.services.messages import send_message
from tests.node.test_two_nodes import channel, loop
from tests.node.world import EPOCH_MS, World

NORMAL, EXPEDITED = 1, 2


@pytest.mark.parametrize(
    ("options", "believed"),
    [
        ({"authentication": "on"}, EXPEDITED),
        ({}, EXPEDITED),  # "auto", and the key file has a key for the peer
        ({"authentication": "null"}, NORMAL),  # everybody has that key
        ({"authentication": "off"}, NORMAL),
        ({"authentication": "off", "trusted": True}, EXPEDITED),
    ],
    ids=["on", "auto", "null", "off", "trusted"],
)
def test_the_priority_is_believed_of_whom_the_link_authenticates(
    tmp_path: Path, options: dict[str, Any], believed: int
) -> None:
    """A bundle for a third node waits at the second, which cannot open it."""
    rate_bps, end_ms = 10e6, EPOCH_MS + 10**9
    plan = Plan(
        [
            Contact("dtn://gs1/", "dtn://sat1/", EPOCH_MS, end_ms, rate_bps),
            Contact("dtn://sat1/", "dtn://gs2/", EPOCH_MS + 10**7, end_ms, rate_bps),
        ]
    )

    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel())
        near: dict[str, Any] = {"rate_bps": rate_bps, "owlt_ms": 5.0, **options}
        ground = world.node("gs1", [world.link("gs1", "sat1", **near)], plan=plan)
        satellite = world.node("sat1", [world.link("sat1", "gs1", **near)], plan=plan)
        async with ground, satellite:
            far = Eid.parse("dtn://gs2/").with_service("messages")
            await send_message(ground.port, far, bytes(1000), priority=EXPEDITED)
            await asyncio.sleep(5)
            held = [entry.priority for entry in satellite._agent.entries.values()]
            assert held == [believed]

    run_virtual(main)
