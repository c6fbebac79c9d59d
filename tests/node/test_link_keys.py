"""Two nodes whose links are authenticated with other keys than those derived for each pair."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from link_models.clock import run_virtual
from stack.core.train import Train
from stack.node.node import Node
from stack.services.messages import Mailbox, send_message
from tests.node.test_two_nodes import SAT, channel, loop
from tests.node.world import World

OPTIONS: dict[str, Any] = {"rate_bps": 10e6, "owlt_ms": 5.0, "authentication": "on"}


def with_keys(world: World, name: str, entries: str) -> None:
    """The next nodes have this file: `entries` before what all share."""
    shared = (world.root / "keys.toml").read_text()
    world.keys = world.root / f"{name}-keys.toml"
    world.keys.write_text(entries + shared)
    world.keys.chmod(0o600)


async def a_message_crosses(ground: Node, satellite: Node) -> None:
    async with Mailbox(satellite.port) as mailbox:
        await send_message(ground.port, SAT.with_service("messages"), bytes(100_000))
        delivery = await mailbox.receive()
        assert bytes(delivery.payload) == bytes(100_000)
        await mailbox.done(delivery)


def dropped(node: Node) -> int:
    counters = node.counters()
    (link,) = node.links
    return counters[f"link.{link}.auth.unsigned"] + counters[f"link.{link}.auth.forged"]


def test_a_raw_key_signs_both_ways(tmp_path: Path) -> None:
    secret = bytes(range(20))
    entry = f'[[key]]\nid = "foreign"\nkind = "ltp"\nraw = true\nsecret = "{secret.hex()}"\n'

    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel())
        with_keys(world, "both", entry + 'key_id = "6b31"\n\n')
        ground = world.node("gs1", [world.link("gs1", "sat1", **OPTIONS)])
        satellite = world.node("sat1", [world.link("sat1", "gs1", **OPTIONS)])
        seen: list[bytes] = []
        port = world.ports["gs1", "sat1"]
        send = port.send

        def tap(trains: Sequence[Train]) -> bool:
            seen.extend(bytes(one) for train in trains for one in train.datagrams())
            return send(trains)

        port.send = tap  # type: ignore[method-assign]
        async with ground, satellite:
            await a_message_crosses(ground, satellite)
            assert dropped(ground) == dropped(satellite) == 0
        assert len(seen) > 70
        for datagram in seen:
            assert b"\x00\x03\x00k1" in datagram[:30]
            assert datagram[-10:] == hmac.new(secret, datagram[:-10], "sha1").digest()[:10]

    run_virtual(main)
