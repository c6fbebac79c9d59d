"""Whole nodes with faults, from many seeds, in virtual time.

A failure names its seed; these replay it, and make it smaller:

    orbitferry swarm --seed 17 --shrink
    ORBITFERRY_SEED=17 pytest tests/sim/test_faults.py

More seeds: ORBITFERRY_SEEDS=5000.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from stack.simulator.swarm import Fault, Options, RunOutcome, draw, faults, load_options, run
from stack.simulator.swarm.agents import run_agents
from stack.simulator.swarm.engines import draw_pair, run_pair
from stack.simulator.swarm.tasks import engines, line_of_engines, nodes
from tests.sim.bugs import FOUND
from tests.sim.days import small

SEEDS = int(os.environ.get("ORBITFERRY_SEEDS", "120"))
ONLY = os.environ.get("ORBITFERRY_SEED")
PARTS = 4
LARGE_EACH = 20
"""Every so many seeds, the number of nodes is drawn too."""

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def options_of(seed: int) -> Options:
    return draw(seed, nodes=None if seed % LARGE_EACH == LARGE_EACH - 1 else 3)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_seeds(part: int) -> None:
    seeds = [int(ONLY)] if ONLY else range(part, SEEDS, PARTS)
    for seed in seeds:
        options = options_of(seed)
        outcome = run(options)
        words = "\n".join(f"{one.invariant}: {one.text}" for one in outcome.problems)
        assert outcome.ok, f"{options.line()}\n{words}\nORBITFERRY_SEED={seed} pytest {__file__}"


def test_a_day_without_faults_delivers_everything() -> None:
    outcome = run(small())
    assert outcome.ok, outcome.problems
    assert outcome.delivered == 9
    assert outcome.converged_s is not None


STRUCK = [
    Fault(kind=faults.RESTART, node="sat1", at_s=700.0, for_s=100.0, amount=3.0),
    Fault(kind=faults.COMMIT, node="sat1", at_s=600.0, for_s=50.0, mode="before"),
    Fault(kind=faults.COMMIT, node="gs1", at_s=60.0, for_s=50.0, mode="torn"),
    Fault(kind=faults.COMMIT, node="gs1", at_s=60.0, for_s=50.0, mode="after"),
    Fault(kind=faults.ZOMBIE, node="gs1", at_s=630.0, for_s=900.0),
    Fault(kind=faults.FULL, node="sat1", at_s=0.0, for_s=1500.0),
    Fault(kind=faults.SLOW, node="sat1", at_s=0.0, for_s=3000.0, amount=4.0),
    Fault(kind=faults.FLIP_DISK, node="gs1", at_s=500.0),
    Fault(kind=faults.FLIP_MEMORY, node="gs1", at_s=500.0),
    Fault(kind=faults.DRIFT, node="gs1", at_s=0.0, for_s=3000.0, amount=2000.0),
    Fault(kind=faults.STEP, node="gs1", at_s=0.0, for_s=3000.0, amount=-3000.0),
    Fault(kind=faults.PLAN, node="gs1", at_s=0.0, for_s=3000.0, mode="missing"),
    Fault(kind=faults.PLAN, node="gs1", at_s=0.0, for_s=3000.0, mode="shifted", amount=60.0),
    Fault(kind=faults.PLAN, node="gs1", at_s=0.0, for_s=3000.0, mode="ghost", amount=300.0),
    Fault(kind=faults.PLAN, node="gs1", at_s=0.0, for_s=3000.0, mode="rate", amount=10.0),
    Fault(kind=faults.KEYS, node="gs1", at_s=900.0),
    Fault(kind=faults.CUT, node="gs1", peer="sat1", at_s=0.0, for_s=1250.0),
    Fault(kind=faults.MUTE, node="gs1", peer="sat1", at_s=0.0, for_s=1250.0),
    Fault(kind=faults.LOSS, node="gs1", peer="sat1", at_s=0.0, for_s=1250.0, amount=0.5),
    Fault(kind=faults.DUPLICATE, node="gs1", peer="sat1", at_s=0.0, for_s=1250.0, amount=0.5),
    Fault(kind=faults.REORDER, node="gs1", peer="sat1", at_s=0.0, for_s=1250.0, amount=0.5),
    Fault(kind=faults.CORRUPT, node="gs1", peer="sat1", at_s=0.0, for_s=1250.0, amount=0.3),
    Fault(kind=faults.DELAY, node="gs1", peer="sat1", at_s=0.0, for_s=1250.0, amount=5.0),
    Fault(kind=faults.BACKUP, node="gs1", at_s=50.0, for_s=900.0),
    Fault(kind=faults.HOSTILE, node="gs1", peer="sat1", at_s=0.0, for_s=3000.0, mode="strange"),
]


STORES = ["memory", "sqlite"]


@cache
def plain(store: str) -> RunOutcome:
    """The day without a fault."""
    return run(small(store=store))


@pytest.mark.parametrize(
    ("fault", "store"),
    [
        pytest.param(fault, store, marks=marks, id=f"{store}-{fault.kind}-{fault.mode}")
        for turn, fault in enumerate(STRUCK)
        for store, marks in ((STORES[turn % 2], ()), (STORES[turn % 2 - 1], pytest.mark.slow))
    ],
)
def test_each_fault_strikes_and_is_survived(fault: Fault, store: str) -> None:
    outcome = run(small(fault, store=store))
    assert outcome.faults == {fault.kind: 1}
    assert outcome.ok, outcome.problems
    if fault.kind not in (faults.PLAN, faults.FLIP_DISK):  # which may strike what is not used
        assert outcome.trace != plain(store).trace, "the fault has changed nothing"


def test_every_kind_is_among_them() -> None:
    struck = {fault.kind for fault in STRUCK}
    assert struck | {"upset"} == set(faults.KINDS)  # which needs parity: `test_upsets.py`


# ---- bugs that were found ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_stays_mended(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = load_options(HERE / "found" / f"{name}.json")
    outcome = run(options)
    assert outcome.ok, outcome.problems
    plant, invariant = FOUND[name]
    plant(monkeypatch)
    again = run(options)
    assert invariant in {problem.invariant for problem in again.problems}


# ---- the same seed is the same run -------------------------------------------------------------

TRACES = """
from stack.simulator.swarm import draw, run
from stack.simulator.swarm.tasks import engines
print([run(draw(seed, nodes=None)).trace for seed in (3, 7)], engines(6).trace, engines(7).trace)
"""


@pytest.mark.slow
def test_one_seed_gives_one_trace_whatever_the_hash_seed() -> None:
    other = "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2"  # by itself it is random
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRACES],
        cwd=ROOT,
        env={"PYTHONHASHSEED": other, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    mine = [run(draw(seed, nodes=None)).trace for seed in (3, 7)]
    assert done.stdout == f"{mine} {engines(6).trace} {engines(7).trace}\n"


@pytest.mark.slow
def test_two_runs_are_equal_and_two_seeds_are_not() -> None:
    assert nodes(11) == nodes(11)
    assert nodes(11).trace != nodes(12).trace
    assert engines(10) == run_pair(10)
    assert engines(11) == run_agents(11)
    assert draw_pair(11) != draw_pair(12)


# ---- engines alone -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_engines_alone(part: int) -> None:
    for seed in range(part, 400, 4):
        outcome = engines(seed)
        assert outcome.ok, f"{line_of_engines(seed)}\n{outcome.problems}"
