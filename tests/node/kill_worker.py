"""One node of the kill test, as a process of its own: `python -m tests.node.kill_worker ROLE ROOT`.

The source sends numbered messages; the sink counts, for each number, how often it got it.  Both
keep their count in the same transaction as the message, as an application that must not lose or
repeat an effect would.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from stack.adapters.loop import run
from stack.core.clock import MILLISECOND
from stack.core.eid import Eid
from stack.engines.ltp import LtpConfig
from stack.node.config import LinkConfig, LogConfig, NodeConfig, SecurityConfig
from stack.node.node import Node
from stack.ports.application import Outgoing
from stack.ports.store import Write

BATCH = 20
NEXT = "next"
SPACE = "test"
SINK = Eid.parse("dtn://sink/app")


def config(role: str, root: Path) -> NodeConfig:
    """The node's configuration; the ports are in a file that the test has written."""
    here, there = (root / "ports").read_text().split()
    peer = "sink"
    if role == "sink":
        here, there, peer = there, here, "source"
    ids = {"source": 1, "sink": 2}
    return NodeConfig(
        id=f"dtn://{role}/",
        data_dir=str(root / role),
        security=SecurityConfig(key_file=str(root / "keys.toml")),
        log=LogConfig(level="off"),
        links=(
            LinkConfig(
                name=peer,
                peer=f"dtn://{peer}/",
                local=f"127.0.0.1:{here}",
                remote=f"127.0.0.1:{there}",
                ltp=LtpConfig(
                    local_engine_id=ids[role],
                    remote_engine_id=ids[peer],
                    block_bytes=8192,
                    timer_margin_ns=50 * MILLISECOND,
                    stall_after=1000,
                ),
            ),
        ),
    )


async def produce(node: Node, root: Path) -> None:
    """Send numbered messages until told to stop."""
    number = int(node.port.read(SPACE, NEXT) or b"0")
    while not (root / "enough").exists():
        outgoing = [
            Outgoing(SINK, b"%d %s" % (n, bytes(n % 900)), 3_600_000, "app")
            for n in range(number, number + BATCH)
        ]
        number += BATCH
        await node.port.commit(send=outgoing, write=[Write(SPACE, NEXT, b"%d" % number)])
        while node.waiting_bytes > 200_000:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    (root / "total").write_text(str(number))
    await asyncio.Event().wait()


async def consume(node: Node, root: Path) -> None:
    """Count every message, together with its consumption."""
    endpoint = node.port.register("app")
    while True:
        deliveries = await endpoint.receive_many(64)
        writes = []
        for delivery in deliveries:
            number = int(bytes(delivery.payload).split(b" ", 1)[0])
            before = int(node.port.read(SPACE, str(number)) or b"0")
            writes.append(Write(SPACE, str(number), b"%d" % (before + 1)))
        await node.port.commit(consume=deliveries, write=writes)
        done = len(node.port.read_all(SPACE)) if (root / "total").exists() else 0
        if done and done == int((root / "total").read_text()):
            (root / "complete").touch()


async def main(role: str, root: Path) -> None:
    """Run until killed."""
    async with Node(config(role, root)) as node:
        print("ready", flush=True)
        await (produce if role == "source" else consume)(node, root)


if __name__ == "__main__":
    run(main(sys.argv[1], Path(sys.argv[2])))
