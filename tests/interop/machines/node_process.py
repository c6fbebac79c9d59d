"""Our whole node in a process of its own, for `CommandNodesAdapter`: ``node_process.py FAULT``.

With the fault ``forgets`` it begins with an empty disk each time.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from typing import Any

from stack.core.clock import MILLISECOND
from stack.engines.ltp import LtpConfig
from stack.node.config import LinkConfig, LogConfig, NodeConfig, SecurityConfig
from stack.node.node import Node
from stack.ports.application import Outgoing
from stack.ports.store import Write

SERVICE, SPACE = "machine", "machine"
Asked = dict[str, Any]


def config(node: str, peer: str, listen: int, reach: int) -> NodeConfig:
    """A node of one link, with contacts that are told."""
    first = node < peer
    ltp = LtpConfig(
        local_engine_id=1 if first else 2,
        remote_engine_id=2 if first else 1,
        timer_margin_ns=50 * MILLISECOND,
    )
    link = LinkConfig(
        name="link",
        peer=peer,
        local=f"127.0.0.1:{listen}",
        remote=f"127.0.0.1:{reach}",
        scheduled=True,
        ltp=ltp,
    )
    return NodeConfig(
        id=node,
        data_dir="node",
        security=SecurityConfig(protect="none"),
        log=LogConfig(level="off"),
        links=(link,),
    )


async def listen(node: Node) -> None:
    """Write down what comes, and how often it has, in the transaction that lets go of it."""
    endpoint = node.port.register(SERVICE)
    while True:
        delivery = await endpoint.receive()
        payload = bytes(delivery.payload)
        count, _ = noted(node.port.read(SPACE, payload.hex()) or b"0")
        note = Write(SPACE, payload.hex(), b"%d %s" % (count + 1, payload))
        await node.port.commit(consume=[delivery], write=[note])


def noted(note: bytes) -> tuple[int, bytes]:
    """How often a payload has come, and what it is."""
    count, _, payload = note.partition(b" ")
    return int(count), payload


async def done(node: Node, peer: str, do: str, asked: Asked) -> Asked:
    """Do it: the answer."""
    match do:
        case "send":
            payload = bytes.fromhex(asked["payload"])
            await node.port.commit(send=[Outgoing(peer + SERVICE, payload, 86_400_000, SERVICE)])
        case "contact" if asked["up"]:
            until_ms = node.port.dtn_ms() + 10**9
            node.contact_discovered(peer, until_ms, rate_bps=1e8, owlt_ns=MILLISECOND)
        case "contact":
            node.contact_lost(peer)
        case "received":
            notes = [noted(value) for _, value in node.port.read_all(SPACE)]
            return {"payloads": [payload.hex() for count, payload in notes for _ in range(count)]}
        case "held":
            return {"bundles": node.port.driver.store.usage().bundles}
    return {}


async def main(fault: str) -> None:
    """Answer each line, until there are no more."""
    lines = asyncio.StreamReader(limit=1 << 24)
    protocol = asyncio.StreamReaderProtocol(lines)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    start = json.loads(await lines.readline())
    del start["do"]
    if fault == "forgets":
        shutil.rmtree("node", ignore_errors=True)
    async with Node(config(**start)) as node:
        task = asyncio.create_task(listen(node))
        print("{}", flush=True)
        async for line in lines:
            asked = json.loads(line)
            print(json.dumps(await done(node, start["peer"], asked.pop("do"), asked)), flush=True)
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
