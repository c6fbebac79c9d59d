"""Seeds a minute: whole nodes for a day with faults, and engines alone, on every core.

    python -m tests.benchmarks.bench_swarm [seeds]

The limit beside them is what the same processes do when there is no node in them: an event heap
that does nothing (`link_models.clock.Simulator`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from link_models.clock import Simulator
from stack.simulator.swarm import tasks
from stack.simulator.swarm.day import RunOutcome
from stack.simulator.swarm.sweep import cores, sweep

SEEDS = 200
HEAP_EVENTS = 200_000


def heap(seed: int) -> RunOutcome:
    """A run of nothing but events."""
    simulator = Simulator()

    def again() -> None:
        simulator.after(1, again)

    simulator.after(1, again)
    simulator.run(events_max=HEAP_EVENTS)
    return tasks.failed(seed, "")


def row(name: str, task: Callable[[int], RunOutcome], seeds: int, *, fails: bool = False) -> bool:
    """Measure and print; whether all went well."""
    sweep(task, range(cores()), tasks.failed)  # the fork server is up
    started = time.perf_counter()
    found = sweep(task, range(seeds), tasks.failed)
    wall_s = time.perf_counter() - started
    bad = 0 if fails else sum(not one.ok for one in found)
    cpu_ms = 1e3 * sum(one.cpu_s for one in found) / seeds
    cpu = "        -" if fails else f"{cpu_ms:6.0f} ms"
    print(f"{name:<32} {seeds:>6,} {wall_s:>7.1f} s {60 * seeds / wall_s:>9,.0f} {cpu} {bad:>7}")
    return not bad


def main() -> int:
    """Print the table."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS
    print(f"{cores()} cores                           seeds      wall   a minute  CPU/seed  failed")
    good = row("a day of three nodes, faults", tasks.nodes, seeds)
    good &= row("engines alone", tasks.engines, 5 * seeds)
    row(f"a heap of {HEAP_EVENTS:,} idle events", heap, 10, fails=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
