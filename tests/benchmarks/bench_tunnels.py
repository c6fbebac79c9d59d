"""What a tunnel costs: ``python -m tests.benchmarks.bench_tunnels [--core N] [--rounds N]``.

A bundle that is encrypted from end to end comes to a gateway, is stored and given to a neighbour;
then comes out at the far gateway: CPU of both, with a tunnel and without (stores in memory, modes
by turns, the median of all rounds), and the octets that a carrier sees.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
from collections import defaultdict

from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.engines.bundle_agent import AgentConfig, Beginning, BundleAgent, TunnelConfig
from stack.ports.application import Outgoing
from stack.ports.store import Put
from stack.routing.forwarder import Forwarder
from stack.security import BpSec, Key, KeyRing, SecurityPolicy
from stack.storage.memory import MemoryStore

NOW_MS = 850_000_000_000
SOURCE, GATE, EXIT, FAR = (f"dtn://{name}/" for name in ("source", "gate", "exit", "far"))
KEYS = (Key("aes", "aes", bytes(range(32))),)
COUNT = 32
SIZES = (100, 1_000, 10_000, 100_000)


class End:
    """One node and its store."""

    def __init__(self, name: str, *tunnels: TunnelConfig) -> None:
        self.counter = itertools.count(1)
        security = BpSec(KeyRing(KEYS, name), self._entropy, SecurityPolicy())
        names = itertools.pairwise((SOURCE, GATE, EXIT, FAR))
        plan = Plan([Contact(a, b, NOW_MS, NOW_MS + 36_000_000, 1e12) for a, b in names])
        config = AgentConfig(tunnels=tunnels)
        begun = Beginning(bytes(32), 1)
        self.agent = BundleAgent(
            Eid.parse(name), config, Forwarder(name, plan), begun, security=security
        )
        self.store = MemoryStore(1 << 30)

    def _entropy(self, count: int) -> bytes:
        return next(self.counter).to_bytes(count, "big")

    def made(self, size: int) -> list[bytes]:
        """Bundles that go out from here."""
        tos = Eid.parse(FAR).with_service("files")
        _, ops = self.agent.send(
            [Outgoing(tos, os.urandom(size), 3_600_000, "files")] * COUNT, NOW_MS
        )
        return [bytes(op.encoded) for op in ops if isinstance(op, Put)]

    def passed(self, wires: list[bytes], neighbour: str) -> list[bytes]:
        """Take bundles in, and give them to a neighbour."""
        agent, store = self.agent, self.store
        puts = [agent.receive(wire, NOW_MS).put for wire in wires]
        ops = [put for put in puts if put is not None]
        assert len(ops) == len(wires)
        agent.committed(ops, store.commit(ops, NOW_MS), NOW_MS)
        refs = agent.take(neighbour, 1 << 30, COUNT, NOW_MS)
        found = [bytes(wire) for wire in store.load(refs) if wire is not None]
        out = [
            bytes(agent.departing(agent.entries[ref], wire, NOW_MS))
            for ref, wire in zip(refs, found, strict=True)
        ]
        agent.forwarded(refs, NOW_MS, neighbour)
        gone = agent.take_ops()
        agent.committed(gone, store.commit(gone, NOW_MS), NOW_MS)
        while agent.next_event() is not None:
            pass
        return out


def run(rounds: int) -> None:
    """Print a row for each size."""
    there = TunnelConfig(gateway=EXIT, destination="dtn://far/**")
    back = TunnelConfig(gateway=GATE, destination="dtn://source/**")
    modes = {
        "plain": (End(GATE), End(EXIT)),
        "tunnel": (End(GATE, there), End(EXIT, back)),
    }
    source = End(SOURCE)
    print("payload     without        with   µs of CPU, both gateways; octets that carriers see")
    for size in SIZES:
        taken: defaultdict[str, list[float]] = defaultdict(list)
        octets: dict[str, float] = {}
        for turn in range(rounds):
            for name in list(modes) if turn % 2 else list(reversed(modes)):
                wires = source.made(size)
                first, second = modes[name]
                begun = time.process_time()
                seen = first.passed(wires, EXIT)
                assert len(second.passed(seen, FAR)) == COUNT
                taken[name].append((time.process_time() - begun) / COUNT * 1e6)
                octets[name] = statistics.mean(map(len, seen))
        plain, tunnel = (statistics.median(taken[name]) for name in modes)
        print(
            f"{size:7,}{plain:12.1f}{tunnel:12.1f}   "
            f"{octets['plain']:,.0f} and {octets['tunnel']:,.0f}"
        )


def main(arguments: list[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench_tunnels")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--core", type=int, help="run on this core alone")
    options = parser.parse_args(arguments)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    run(options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
