"""What a log costs: ``python -m tests.benchmarks.bench_audit [--core N] [--rounds N]``.

- events added to a store, in a transaction of 500, and taken into the tree behind a checkpoint
- an export of 100,000 events read, and verified: decoded, the tree computed, checkpoints checked
- what a label, and writing down, add to a bundle at both ends: made, stored and given to a
  neighbour, opened, stored and delivered there, and both logs taken into their trees; durable
  stores with transactions of 64, payload of 10 KB encrypted; modes by turns (ABBA), of each the
  tenth part of rounds that took least: other work of a machine adds to some.  `bench_pair` has
  links too
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from stack.adapters.loop import run
from stack.audit.event import Act, AuditEvent
from stack.audit.export import LogExport, read_export, verify_exports
from stack.audit.log import ClosedLog
from stack.audit.merkle import Peaks
from stack.audit.note import LogCheckpoint, NoteSigner
from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.engines.bundle_agent import AgentConfig, AuditTrail, Beginning, BundleAgent
from stack.policy import DataPolicy, Directory, NodeFacts, PolicyGate
from stack.ports.application import Outgoing
from stack.ports.security import Opened
from stack.ports.store import Op, RecordEvent
from stack.routing.forwarder import Forwarder
from stack.security import BpSec, Key, KeyRing, SecurityPolicy
from stack.storage import SqliteStore

NOW_MS = 850_000_000_000
HERE, NEXT = "dtn://gs1/", "dtn://sat1/"
KEYS = (Key("aes", "aes", bytes(range(32))), Key("mac", "hmac", bytes(range(48))))
EVENTS = 100_000
COUNT = 64


def events(count: int) -> list[AuditEvent]:
    """As a relay writes them down."""
    acts = int(Act.FORWARDED | Act.DELETED)
    detail = f"contact from {NOW_MS} to {NOW_MS + 600_000}"
    name = f"dtn://daejeon/files@{NOW_MS}."
    label = bytes(16)
    return [
        AuditEvent(acts, NOW_MS + n, HERE, f"{name}{n}", label, NEXT, detail) for n in range(count)
    ]


def logs(folder: Path) -> None:
    """Events in, and out."""
    store = SqliteStore(folder / "events")
    found = events(EVENTS)
    begun = time.process_time()
    for first in range(0, EVENTS, 500):
        store.commit([RecordEvent(each.happened) for each in found[first : first + 500]], NOW_MS)
    print(f"events added to a store {EVENTS / (time.process_time() - begun):,.0f}/s of CPU")
    log = ClosedLog(HERE, bytes(8), 0)
    begun = time.process_time()
    while log.extend(store.events(log.next, 2048)):
        pass
    print(f"events taken into the tree {EVENTS / (time.process_time() - begun):,.0f}/s of CPU")
    by = NoteSigner(log.origin, bytes(32))
    note = LogCheckpoint(log.origin, log.peaks.size, log.peaks.root()).signed(by).encode()
    octets = [event for _, event in store.events(0, EVENTS)]
    export = LogExport(log.origin, by.key, Peaks(), octets, [note])
    lines = [line.encode() for line in export.lines()]
    store.close()
    begun = time.process_time()
    again = read_export(lines)
    read = time.process_time()
    assert not verify_exports([again], [by.key], [])[0].problems
    verified = time.process_time()
    print(f"an export read {EVENTS / (read - begun):,.0f} events/s")
    print(f"and verified {EVENTS / (verified - read):,.0f} events/s")


def agent_with(node: str, trail: AuditTrail | None) -> BundleAgent:
    """A node that makes bundles for its neighbour, or that neighbour."""
    counter = itertools.count(1)
    security = BpSec(KeyRing(KEYS), lambda n: next(counter).to_bytes(n, "big"), SecurityPolicy())
    plan = Plan([Contact(HERE, NEXT, NOW_MS, NOW_MS + 36_000_000, 1e9)])
    directory = Directory(NodeFacts(Eid.parse(name)) for name in (HERE, NEXT))
    return BundleAgent(
        Eid.parse(node),
        AgentConfig(),
        Forwarder(node, plan),
        Beginning(bytes(32), 1),
        security=security,
        gate=PolicyGate(directory, node),
        trail=trail,
    )


class End:
    """One of two nodes, without a link: its agent, its store, and its log."""

    def __init__(self, node: str, folder: Path, logs: bool) -> None:
        trail = AuditTrail(node) if logs else None
        self.agent = agent_with(node, trail)
        self.agent.register("files")
        self.store = SqliteStore(folder)
        self.store.ledger = trail
        self.log = ClosedLog(node, bytes(8), 0)

    def done(self, ops: Sequence[Op]) -> list[int]:
        """Have the store do it, and the agent hear of it."""
        outcome = self.store.commit(ops, NOW_MS)
        self.agent.committed(ops, outcome, NOW_MS)
        while self.agent.next_event() is not None:
            pass
        return outcome.refs

    def close(self) -> None:
        """Take what was written down into the tree, as is done before a checkpoint."""
        while self.log.extend(self.store.events(self.log.next, 2048)):
            pass


def one_batch(here: End, there: End, made: Sequence[Outgoing]) -> None:
    """The life of some bundles at both ends."""
    here.done(here.agent.send(made, NOW_MS)[1])
    refs = here.agent.take(NEXT, 1 << 30, COUNT, NOW_MS)
    came = [octets for octets in here.store.load(refs) if octets is not None]
    received = [there.agent.receive(octets, NOW_MS, 0, HERE).put for octets in came]
    puts = [put for put in received if put is not None]
    for ref, put in zip(there.done(puts), puts, strict=True):
        assert isinstance(put.known, Opened)
        there.agent.open(ref, put.encoded, NOW_MS, put.known)
    waiting = there.agent.waiting.take("files", COUNT)
    assert len(waiting) == COUNT
    there.done([there.agent.consumed(ref, NOW_MS) for ref in waiting])
    here.agent.forwarded(refs, NOW_MS, NEXT)
    here.done(here.agent.take_ops())


def per_bundle(folder: Path, rounds: int) -> None:
    """The CPU of a bundle's life at both ends, by what is written down of it."""
    modes: dict[str, tuple[bool, DataPolicy | None]] = {
        "no data policy": (False, None),
        "one, and no log": (False, DataPolicy()),
        "a log, which it does not ask for": (True, DataPolicy()),
        "a log, which it asks for": (True, DataPolicy(audit=True)),
    }
    ends = {
        name: (End(HERE, folder / f"{n}a", logs), End(NEXT, folder / f"{n}b", logs))
        for n, (name, (logs, _)) in enumerate(modes.items())
    }
    tos = Eid.parse(NEXT).with_service("files")
    taken: defaultdict[str, list[float]] = defaultdict(list)
    payload = os.urandom(10_000)
    for turn in range(rounds):
        order = list(modes) if turn % 2 else list(reversed(modes))
        for name in order:
            here, there = ends[name]
            policy = modes[name][1]
            made = [Outgoing(tos, payload, 3_600_000, "files", policy=policy) for _ in range(COUNT)]
            begun = time.process_time()
            one_batch(here, there, made)
            here.close()
            there.close()
            taken[name].append((time.process_time() - begun) / COUNT * 1e6)
    least = {
        name: statistics.median(sorted(times)[: max(1, rounds // 10)])
        for name, times in taken.items()
    }
    bare, labelled = least["no data policy"], least["one, and no log"]
    for name in modes:
        added = (
            f"{least[name] / bare - 1:+.1%} to none, {least[name] / labelled - 1:+.1%} to a label"
        )
        print(f"{name:<34}{least[name]:6.1f} µs of CPU a bundle: {added}")
    for pair in ends.values():
        for end in pair:
            end.store.close()


def main(arguments: list[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench_audit")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--core", type=int)
    options = parser.parse_args(arguments)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})

    async def figures() -> None:
        with tempfile.TemporaryDirectory() as folder:
            per_bundle(Path(folder), options.rounds)
            logs(Path(folder))

    run(figures())  # with the memory and the collector of a node
    return 0


if __name__ == "__main__":
    sys.exit(main())
