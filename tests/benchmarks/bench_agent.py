"""What the bundle agent costs for each bundle: ``python -m tests.benchmarks.bench_agent``.

Prints microseconds of CPU for each step in the life of a bundle, the best of several rounds.  There
is no store and no link: what is measured is deciding, encoding, security and routing.

- *receive*: judge what a link has brought: a block of bundles in one buffer.
- *stored*: the store has it: find a way, or the service that waits.
- *leave*: the octets in which it goes to the next node; or the delivery with its plain payload.
- *done*: the next node, or the application, has it.

`--core N` runs on that core alone, `--json` prints one object a line: compare two commits by turns,
on one core, in one run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.engines.bundle_agent import AgentConfig, Beginning, BundleAgent
from stack.ports.application import Outgoing
from stack.ports.store import Committed, Put
from stack.routing.forwarder import Forwarder
from stack.security import BpSec, Key, KeyRing, SecurityPolicy

NOW_MS = 800_000_000_000
END_MS = NOW_MS + 36_000_000
BEFORE, HERE, NEXT, FAR = "dtn://gs1/", "dtn://sat1/", "dtn://gs2/", "dtn://far/"
KEYS = (Key("aes", "aes", bytes(range(32))), Key("mac", "hmac", bytes(range(48))))
BLOCK_BYTES = 256 * 1024
STEPS = ("receive", "stored", "leave", "done")


class Case(NamedTuple):
    """Bundles of one kind."""

    name: str
    size: int
    """Octets of the payload."""

    destination: str
    """Of node `HERE`, or another."""

    secured: bool = False
    own: bool = False
    """Made here: to make it takes the place of receiving it."""


CASES = tuple(
    Case(name, size, destination, secured, own)
    for size in (1024, 65_536, 1_048_576)
    for name, destination, secured, own in (
        ("transit", FAR, False, False),
        ("transit, secured", FAR, True, False),
        ("for here", HERE, False, False),
        ("for here, secured", HERE, True, False),
        ("own", FAR, False, True),
        ("own, secured", FAR, True, True),
    )
)


def agent_at(node: str, secured: bool) -> BundleAgent:
    """The agent of a node with one service, on the way from `BEFORE` over `HERE` to `FAR`."""
    counter = itertools.count(1)
    security = BpSec(KeyRing(KEYS), lambda n: next(counter).to_bytes(n, "big"), SecurityPolicy())
    hops = itertools.pairwise((BEFORE, HERE, NEXT, FAR))
    plan = Plan([Contact(one, other, NOW_MS, END_MS, 1e9) for one, other in hops])
    agent = BundleAgent(
        Eid.parse(node),
        AgentConfig(),
        Forwarder(node, plan),
        Beginning(bytes(32), 1),
        security=security if secured else None,
    )
    agent.services.add("app")
    return agent


def outgoing(case: Case, count: int) -> list[Outgoing]:
    """What an application sends."""
    destination = Eid.parse(case.destination + "app")
    return [Outgoing(destination, os.urandom(case.size), 3_600_000, "app") for _ in range(count)]


class Life:
    """Bundles from their arrival to their end, again and again."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.count = max(4, min(256, 4 * 1024 * 1024 // case.size))
        made = outgoing(case, self.count)
        # A relay needs no keys.
        holds_keys = case.secured and (case.own or case.destination == HERE)
        self._agent = agent_at(HERE, holds_keys)
        self._made = made if case.own else []
        self._blocks = [] if case.own else list(_blocks(_encoded(case.secured, made)))
        self._ref = 1

    def round(self) -> Iterator[float]:
        """The seconds of each step."""
        agent = self._agent
        clock = time.process_time
        begun = clock()
        puts = self._arrive()
        yield clock() - begun
        refs = list(range(self._ref, self._ref + len(puts)))
        self._ref += len(puts)
        outcome = Committed(refs)
        begun = clock()
        agent.committed(puts, outcome, NOW_MS)
        yield clock() - begun
        begun = clock()
        if self._case.destination == HERE:
            for ref, put in zip(refs, puts, strict=True):
                agent.open(ref, put.encoded, NOW_MS, put.known)
            yield clock() - begun
            begun = clock()
            ops = [agent.consumed(ref, NOW_MS) for ref in refs]
            agent.committed(ops, Committed([]), NOW_MS)
        else:
            taken = agent.forwarder.take(NEXT, 1 << 40, len(puts), NOW_MS)
            for ref, put in zip(taken, puts, strict=True):
                agent.departing(agent.entries[ref], put.encoded, NOW_MS + 5)
            yield clock() - begun
            begun = clock()
            agent.forwarded(refs, NOW_MS, NEXT)
            agent.committed(agent.take_ops(), Committed([]), NOW_MS)
        yield clock() - begun
        while agent.next_event() is not None:
            pass
        assert not agent.entries

    def _arrive(self) -> list[Put]:
        agent = self._agent
        if self._made:
            _, ops = agent.send(self._made, NOW_MS)
            return [op for op in ops if isinstance(op, Put)]
        puts: list[Put] = []
        for block in self._blocks:
            arrivals = []
            offset = 0
            while offset < len(block):
                arrivals.append(agent.read(block, offset))
                offset = arrivals[-1].end
            puts += agent.receive_all(arrivals, NOW_MS, BEFORE).puts
        assert len(puts) == self.count
        return puts


def _encoded(secured: bool, made: Sequence[Outgoing]) -> list[bytes]:
    """Bundles as the node before this one sends them."""
    _, ops = agent_at(BEFORE, secured).send(made, NOW_MS - 1000)
    return [bytes(op.encoded) for op in ops if isinstance(op, Put)]


def _blocks(octets: Sequence[bytes]) -> Iterator[memoryview]:
    """As LTP gives them: many in one buffer."""
    block = bytearray()
    for encoded in octets:
        block += encoded
        if len(block) >= BLOCK_BYTES:
            yield memoryview(block)
            block = bytearray()
    if block:
        yield memoryview(block)


def measure(case: Case, rounds: int) -> dict[str, float]:
    """Microseconds of each step for one bundle: the least of all rounds."""
    life = Life(case)
    taken = [list(life.round()) for _ in range(rounds)]
    best = [min(each) / life.count * 1e6 for each in zip(*taken, strict=True)]
    return dict(zip(STEPS, best, strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench_agent")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--core", type=int)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    if not options.json:
        print("microseconds of CPU per bundle")
        heads = "".join(f"{step:>10}" for step in (*STEPS, "in all"))
        print(f"{'bundle':<20}{'payload':>10}{heads}")
    for case in CASES:
        found = measure(case, options.rounds)
        if options.json:
            print(json.dumps({"case": case.name, "size": case.size, **found}), flush=True)
            continue
        figures = "".join(f"{figure:10.2f}" for figure in (*found.values(), sum(found.values())))
        print(f"{case.name:<20}{case.size:>10}{figures}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
