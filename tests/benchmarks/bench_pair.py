"""Processor time of a bundle at both ends, by what is done for it, with both ends in one process.

    python -m tests.benchmarks.bench_pair [--sizes 1024,10240] [--protect all] [--rounds N]

Each protection of `bench_ltp` has its own two nodes on loopback UDP, all on one event loop, and
they work by turns (ABBA): a turn sends some bundles and lasts until the last of them is consumed
and its sender has let go of it.  Of each protection the tenth part of turns that took least is
shown, as other work of a machine adds to some; and the median of what a turn takes to that of the
first protection beside it, which scatters less.  What is compared differs by a few per cent, which
two processes, or two runs one after the other, do not show.  What was written down is taken into
the tree of the log within a turn, as a node does later, before a checkpoint.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from interop.machines.ports import free_ports
from stack.adapters.loop import run
from stack.audit.log import ClosedLog
from stack.core.eid import Eid
from stack.node.node import Node
from stack.ports.application import Outgoing
from stack.security import new_key_file
from tests.benchmarks.bench_ltp import DIRECTORY, POLICIES, PROTECTIONS, node_config

TURN_BYTES = 4_000_000
TURN_BUNDLES = 400


class Pair:
    """Two nodes, of which one sends to the other."""

    def __init__(self, source: Node, sink: Node, outgoing: Outgoing, count: int) -> None:
        self._source, self._sink = source, sink
        self._logs = [(node, ClosedLog("dtn://a/", bytes(8), 0)) for node in (source, sink)]
        self._batch = [outgoing] * count
        self._endpoint = sink.port.register("sink")
        self.taken: list[float] = []

    async def turn(self) -> None:
        """Send them all, and note what a bundle took."""
        begun = time.process_time()
        count = len(self._batch)
        step = max(1, count // 8)
        sending = [
            asyncio.ensure_future(self._source.port.commit(send=self._batch[at : at + step]))
            for at in range(0, count, step)
        ]
        left = count
        while left > 0:
            deliveries = await self._endpoint.receive_many(2048)
            await self._sink.port.commit(consume=deliveries)
            left -= len(deliveries)
        await asyncio.gather(*sending)
        while self._source.waiting_bytes:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        for node, log in self._logs:
            while log.extend(node.port.driver.store.events(log.next, 2048)):
                pass
        self.taken.append((time.process_time() - begun) / count * 1e6)


def least(taken: Sequence[float]) -> float:
    """The tenth part that took least."""
    return statistics.median(sorted(taken)[: max(1, len(taken) // 10)])


def beside(taken: Sequence[float], first: Sequence[float]) -> float:
    """What a turn takes more than the one of the first protection beside it, as a part of that."""
    return statistics.median(ours / other for ours, other in zip(taken, first, strict=True)) - 1


async def measure(
    size: int, kind: str, protect: list[str], rounds: int, profile: str = ""
) -> dict[str, list[float]]:
    """Microseconds of a bundle in each turn, by protection.  `profile` one of them: print where its
    time went."""
    count = max(2, min(TURN_BUNDLES, TURN_BYTES // size))
    pairs: dict[str, Pair] = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("ORBITFERRY_BENCH_DIR")) as folder:
        async with AsyncExitStack() as nodes:
            for name in protect:
                protection = PROTECTIONS[name]
                root = Path(folder) / name
                root.mkdir()
                new_key_file(root / "keys.toml", os.urandom, "bench")
                (root / "nodes.toml").write_text(DIRECTORY)
                here, there = free_ports(2)
                sink = Node(node_config("b", "a", root, (there, here), kind, protection))
                source = Node(node_config("a", "b", root, (here, there), kind, protection))
                await nodes.enter_async_context(sink)
                await nodes.enter_async_context(source)
                to = Eid.parse("dtn://b/").with_service("sink")
                policy = POLICIES[protection.label]
                outgoing = Outgoing(to, os.urandom(size), 3_600_000, "source", policy=policy)
                pairs[name] = Pair(source, sink, outgoing, count)
            for pair in pairs.values():
                await pair.turn()  # links and caches are made
                pair.taken.clear()
            profiler = cProfile.Profile()
            for turn in range(rounds):
                for name in protect if turn % 2 else reversed(protect):
                    if name == profile:
                        profiler.enable()
                    await pairs[name].turn()
                    profiler.disable()
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
    return {name: pair.taken for name, pair in pairs.items()}


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench_pair")
    parser.add_argument("--sizes", default="10240")
    parser.add_argument("--kinds", default="durable")
    parser.add_argument("--protect", default="clear,default,label,audit")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--core", type=int)
    parser.add_argument("--profile", default="", help="one of them")
    options = parser.parse_args(arguments)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    protect = list(PROTECTIONS) if options.protect == "all" else options.protect.split(",")
    print("    bundle    store  protection  µs of CPU of a bundle, to that before, to the first;")
    print("                                 to the first by medians of turns beside each other")
    for size in map(int, options.sizes.split(",")):
        for kind in options.kinds.split(","):
            store = "sqlite" if kind == "durable" else "memory"
            found = run(measure(size, store, protect, options.rounds, options.profile))
            turns = found[protect[0]]
            last = first = least(turns)
            for name, taken in found.items():
                now = least(taken)
                print(
                    f"{size:>10} {kind:>8} {name:>11} {now:>9.1f} {now / last - 1:>+9.1%} "
                    f"{now / first - 1:>+9.1%} {beside(taken, turns):>+9.1%}",
                    flush=True,
                )
                last = now
    return 0


if __name__ == "__main__":
    sys.exit(main())
