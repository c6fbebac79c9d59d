"""Keys change while nodes run: BPSec and LTP authentication go on with the new ones, at once."""

from __future__ import annotations

from pathlib import Path

from link_models.clock import run_virtual
from stack.node.node import Node
from stack.security import Key
from stack.services.messages import send_message
from tests.node.test_link_keys import OPTIONS, a_message_crosses, dropped, tap
from tests.node.test_two_nodes import channel, loop
from tests.node.world import World


def fresh(seed: int, *, per_node: bool) -> list[Key]:
    sizes = (("aes", 32), ("hmac", 48), ("ltp", 32))
    return [
        Key(f"{seed}-{kind}", kind, bytes([seed]) * size, per_node=per_node and kind != "ltp")
        for kind, size in sizes
    ]


def test_without_a_restart_and_without_a_gap(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel())
        nodes: list[Node] = [
            world.node(name, [world.link(name, peer, **OPTIONS)])
            for name, peer in (("gs1", "sat1"), ("sat1", "gs1"))
        ]
        seen = tap(world)
        async with nodes[0] as ground, nodes[1] as satellite:
            await a_message_crosses(ground, satellite)
            first = set(map(_key_id, seen))
            for seed in (1, 2):
                old = [node.keys.ring.keys for node in nodes]
                for node, before in zip(nodes, old, strict=True):  # both are accepted meanwhile
                    node.keys.ring.change([*fresh(seed, per_node=True), *before])
                await a_message_crosses(ground, satellite)
            assert dropped(ground) == dropped(satellite) == 0
            seen.clear()
            for node in nodes:
                node.keys.ring.change(fresh(2, per_node=True))
            await a_message_crosses(ground, satellite)
            assert len(set(map(_key_id, seen)) | first) == 2
            satellite.keys.ring.change(fresh(3, per_node=True))
            before_drop = dropped(satellite)
            await ground.port.sleep(1.0)
            await send_message(ground.port, "dtn://sat1/messages", b"for those with the old keys")
            await ground.port.sleep(1.0)
            assert dropped(satellite) > before_drop

    run_virtual(main)


def _key_id(datagram: bytes) -> bytes:
    at = datagram.index(b"\x00\x11\xc0")  # extension tag, length, ciphersuite: then the KeyID
    return datagram[at + 3 : at + 7]
