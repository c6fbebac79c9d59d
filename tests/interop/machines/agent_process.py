"""Our bundle agent in a process of its own, for `CommandAgentAdapter`: ``agent_process.py FAULT``.

With the fault ``forgets`` it keeps nothing on disk.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from stack.ports.store import BundleStore
from stack.storage.sqlite import SqliteStore
from tests.interop.machines.our_agent import OurAgent


class StoredAgent(OurAgent):
    """With a store in the folder where it runs."""

    def open_store(self) -> BundleStore:
        return SqliteStore(Path("store"))


def main(fault: str) -> None:
    agent: OurAgent | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        do, now_ms = asked.pop("do"), asked.pop("now_ms")
        if do == "start":
            agent = made(fault, asked["node"], asked["neighbours"], asked["service"])
            agent.at_ms = now_ms
        assert agent is not None
        match do:
            case "receive":
                agent.receive(bytes.fromhex(asked["bundle"]), asked["neighbour"], now_ms)
            case "contact":
                agent.contact(asked["neighbour"], asked["up"], now_ms)
            case "register":
                agent.register(asked["active"], now_ms)
            case "send":
                payload = bytes.fromhex(asked["payload"])
                agent.send(asked["destination"], payload, asked["lifetime_ms"], now_ms)
            case "advance":
                agent.advance(now_ms)
        sent = [(neighbour, octets.hex()) for neighbour, octets in agent.poll()]
        print(json.dumps({"sent": sent, "delivered": [one.hex() for one in agent.deliveries()]}))
        sys.stdout.flush()


def made(fault: str, node: str, neighbours: Sequence[str], service: str) -> OurAgent:
    return (OurAgent if fault == "forgets" else StoredAgent)(node, neighbours, service)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
