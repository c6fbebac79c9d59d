"""`make soak`: everything that has a seed, with fresh ones, until the time is over.

    python -m tests.fuzz.soak --minutes 30
    python -m tests.fuzz.soak --minutes 600 --only mutated --totals totals.json

Takes in turn mutated inputs for decoders and engines, swarms of all kinds, and all tests of
Hypothesis.  Says which seeds were run and how fast, and gives what was found as something to run
again: octets, a command, or a falsifying example.  `--totals` adds what was run to what a file has
of runs before.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.fuzz.run import Tally, run

ROOT = Path(__file__).parents[2]
ORBITFERRY = str(Path(sys.executable).with_name("orbitferry"))
EACH = 2_000
"""Inputs of a target before the next one has its turn."""

SHOWN = 20
"""Findings of a kind that are shown."""


@dataclass(slots=True)
class Kind:
    """What was run of one kind."""

    name: str
    unit: str
    count: int = 0
    seconds: float = 0.0
    seeds: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    parts: Counter[str] = field(default_factory=Counter)
    """How many of what, where that is told."""


Step = Callable[[Kind, int, float, int], None]
"""`step(kind, seed, seconds, jobs)`: run about so long, from this seed on."""


def _inputs(seed: str, seconds: float) -> list[Tally]:
    end = time.monotonic() + seconds
    return run(seed, EACH, lambda: time.monotonic() < end)


def mutated(kind: Kind, seed: int, seconds: float, jobs: int) -> None:
    """Mutated inputs for every decoder, reader and engine that listens."""
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        done = [pool.submit(_inputs, f"{seed}/{job}", seconds) for job in range(jobs)]
        for tally in (each for one in done for each in one.result()):
            kind.count += tally.inputs
            kind.parts[tally.name] += tally.inputs
            kind.found += tally.faults
    kind.seeds.append(f"{seed}/0..{jobs - 1}")


def swarm(extra: list[str], chunk: int, kind: Kind, seed: int, seconds: float, jobs: int) -> None:
    """Seeds of one kind of swarm."""
    end = time.monotonic() + seconds
    first = seed
    while time.monotonic() < end:
        command = ["swarm", str(chunk), *extra, "--seed", str(seed), "--jobs", str(jobs), "--json"]
        done = subprocess.run([ORBITFERRY, *command], capture_output=True, text=True, check=False)
        kind.count += chunk
        seed += chunk
        try:
            result: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            kind.found.append(f"orbitferry {' '.join(command)}\n{done.stderr[-2000:]}")
            break
        kind.found += [json.dumps(one) for one in result.get("failed", [])]
        if done.returncode and not result.get("failed"):
            kind.found.append(f"orbitferry {' '.join(command)}: exit {done.returncode}")
    kind.seeds.append(f"{first}..{seed - 1}")


def planted(kind: Kind, seed: int, seconds: float, jobs: int) -> None:
    """Known bugs, planted in turn: the swarm must find each within 500 seeds."""
    command = [sys.executable, "-m", "tests.sim.planted", "--first", str(seed)]
    command += ["--minutes", str(seconds / 60)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    kind.count += len(rows)
    kind.seeds.append(str(seed))
    kind.found += [row for row in rows if "NOT FOUND" in row]
    if done.returncode and not kind.found:
        kind.found.append(f"{' '.join(command)}\n{done.stderr[-2000:]}")


def properties(kind: Kind, seed: int, seconds: float, jobs: int) -> None:
    """Every test of Hypothesis once, with a seed of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(jobs), "-m", "hypothesis"]
    command += ["--hypothesis-profile=soak", f"--hypothesis-seed={seed}", "-p", "no:cacheprovider"]
    command += ["--timeout=3600"]  # many examples, on a machine that does something else too
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    passed = [word for word in done.stdout.split("\n") if " passed" in word]
    kind.count += int(passed[-1].split(" passed")[0].split()[-1]) if passed else 0
    kind.seeds.append(str(seed))
    if done.returncode:
        kind.found.append(f"--hypothesis-seed={seed}\n{done.stdout[-20_000:]}")


SCENARIO = "examples/one_station/scenario.toml"
STEPS: tuple[tuple[str, str, float, Step], ...] = (
    ("mutated inputs", "inputs", 0.25, mutated),
    ("days of three nodes", "seeds", 0.2, partial(swarm, [], 200)),
    ("days of three to eight nodes", "seeds", 0.1, partial(swarm, ["--nodes", "0"], 50)),
    (
        "days in several jurisdictions",
        "seeds",
        0.05,
        partial(swarm, ["--laws", "--nodes", "0"], 50),
    ),
    ("engines alone", "seeds", 0.1, partial(swarm, ["--engines"], 1000)),
    ("planted bugs", "bugs", 0.05, planted),
    ("a scenario", "seeds", 0.05, partial(swarm, ["--scenario", SCENARIO], 10)),
    ("properties and state machines", "tests", 0.2, properties),
)
"""Name, what is counted, share of the time, and how."""


def show(kind: Kind, shown: int) -> None:
    """One kind's result, and so many of its findings."""
    rate = kind.count / kind.seconds if kind.seconds else 0.0
    print(
        f"{kind.name}: {kind.count:,} {kind.unit} in {kind.seconds:,.0f} s ({rate:,.1f}/s), "
        f"seeds {', '.join(kind.seeds)}: "
        + (f"FOUND {len(kind.found)}" if kind.found else "nothing found"),
        flush=True,
    )
    for one in kind.found[:shown]:
        print(f"  {one}", flush=True)


def add_totals(path: Path, kinds: list[Kind]) -> list[Kind]:
    """Add what was run to what a file has of runs before, and write that down.  Raises `ValueError`
    for a file that is no such thing."""
    before = json.loads(path.read_text()) if path.exists() else {}
    totals = []
    for kind in kinds:
        old = before.get(kind.name, {"count": 0, "seconds": 0.0, "found": 0, "parts": {}})
        total = Kind(kind.name, kind.unit, kind.count + old["count"], kind.seconds + old["seconds"])
        total.parts = kind.parts + Counter(old["parts"])
        before[kind.name] = {
            "unit": kind.unit,
            "count": total.count,
            "seconds": round(total.seconds, 1),
            "found": len(kind.found) + old["found"],
            "parts": dict(total.parts),
        }
        totals.append(total)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(before, indent=1) + "\n")
    part.replace(path)
    return totals


def main() -> int:
    """Run until the time is over; 1 when something was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30, help="how long (default %(default)s)")
    parser.add_argument("--seed", type=int, help="first seed (drawn, and printed)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--only", default="", help="only the kinds with this in their name")
    parser.add_argument("--totals", type=Path, metavar="FILE", help="add the counts to a file's")
    options = parser.parse_args()
    seed = secrets.randbelow(10**9) if options.seed is None else options.seed
    print(f"soak: {options.minutes:g} minutes from seed {seed}", flush=True)
    steps = [step for step in STEPS if options.only in step[0]]
    whole = sum(share for _, _, share, _ in steps)
    end = time.monotonic() + 60 * options.minutes
    kinds = [Kind(name, unit) for name, unit, _, _ in steps]
    rounds = max(1, round(options.minutes / 10))
    try:
        for turn in range(rounds):
            for kind, (_, _, share, step) in zip(kinds, steps, strict=True):
                left = end - time.monotonic()
                if left <= 0:
                    break
                begin = time.monotonic()
                budget = 60 * options.minutes / rounds * share / whole
                step(kind, seed + turn * 10_000_000, min(left, budget), options.jobs)
                kind.seconds += time.monotonic() - begin
                show(kind, 0)
    except KeyboardInterrupt:
        print("stopped; so far:", flush=True)
    print("\nin all:", flush=True)
    for kind in kinds:
        show(kind, SHOWN)
        for name, count in kind.parts.most_common():
            print(f"  {name}: {count:,}")
    if options.totals is not None:
        print(f"\nwith the runs before, in {options.totals}:")
        for kind in add_totals(options.totals, kinds):
            print(f"{kind.name}: {kind.count:,} {kind.unit} in {kind.seconds:,.0f} s")
    return 1 if any(kind.found for kind in kinds) else 0


if __name__ == "__main__":
    sys.exit(main())
