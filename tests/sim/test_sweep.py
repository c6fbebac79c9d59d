"""One function for many seeds, on several processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stack.core.errors import MissingExtraError
from stack.simulator.swarm.summary import percentiles, summarise, summarise_scenario
from stack.simulator.swarm.sweep import sweep, sweep_cluster
from stack.simulator.swarm.tasks import ScenarioOutcome, engines, failed, nodes, scenario_failed
from tests.sim import workers

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_results_come_in_the_order_of_the_seeds(jobs: int) -> None:
    done: list[tuple[int, str]] = []
    found = sweep(workers.square, range(20), workers.failed, jobs=jobs, done=done.append)
    assert found == [(seed * seed, "ok") for seed in range(20)]
    assert sorted(done) == found


def test_several_processes_take_part() -> None:
    here = sweep(workers.where, range(4), workers.failed, jobs=1)
    there = sweep(workers.where, range(20), workers.failed, jobs=2)
    assert len({pid for pid, _ in here}) == 1
    assert not {pid for pid, _ in here} & {pid for pid, _ in there}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "why"),
    [
        (workers.dies_at_five, "exit code 3"),
        (workers.hangs_at_five, "hung for 2 s"),
        (workers.raises_at_five, "ValueError: five"),
    ],
)
def test_a_seed_that_gives_nothing_is_named(
    task: Callable[[int], tuple[int, str]], why: str
) -> None:
    found = sweep(task, range(10), workers.failed, jobs=2, seconds_max=2.0)
    assert why in found[5][1]
    assert found[5][0] == 5
    expected = [(seed * seed, "ok") for seed in range(10) if seed != 5]
    assert [one for one in found if one != found[5]] == expected


@pytest.mark.slow
def test_processes_change_nothing() -> None:
    assert sweep(engines, range(6), failed, jobs=2) == [engines(seed) for seed in range(6)]
    assert sweep(nodes, range(2), failed, jobs=2) == [nodes(seed) for seed in range(2)]


@pytest.mark.slow
def test_a_cluster_changes_nothing() -> None:
    pytest.importorskip("distributed")
    # In a process of its own: Dask leaves threads and sockets to the end of the process.
    program = """
import distributed
from stack.simulator.swarm.sweep import sweep, sweep_cluster
from stack.simulator.swarm.tasks import engines, failed
from tests.sim import workers
with distributed.LocalCluster(
    n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
) as cluster:
    address = cluster.scheduler_address
    seeds = range(100)
    assert sweep_cluster(engines, seeds, failed, address=address) == sweep(
        engines, seeds, failed, jobs=1
    )
    found = sweep_cluster(workers.raises_at_five, range(10), workers.failed, address=address)
    assert "ValueError: five" in found[5][1], found
    print("equal")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.stdout == "equal\n", done.stderr


def test_no_cluster_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match="cluster"):
        sweep_cluster(workers.square, range(2), workers.failed, address="tcp://127.0.0.1:1")


def test_a_summary_adds_up() -> None:
    outcomes = [engines(seed) for seed in range(5)] + [failed(5, "its worker died")]
    found = summarise(outcomes)
    assert found.runs == 6
    assert [one.seed for one in found.failed] == [5]
    assert found.totals["datagrams"] == sum(one.datagrams for one in outcomes)
    assert found.faults["lost"] == sum(one.faults.get("lost", 0) for one in outcomes)
    text = found.to_json()
    assert text["ok"] is False
    assert text["failed"][0]["problems"][0]["text"] == "its worker died"


def test_percentiles() -> None:
    assert percentiles([]) == {}
    assert percentiles(range(101)) == {50: 50.0, 90: 90.0, 99: 99.0, 100: 100.0}


def test_a_summary_of_a_scenario() -> None:
    def outcome(seed: int, *latencies_s: float) -> ScenarioOutcome:
        return ScenarioOutcome(
            seed=seed,
            problems=(),
            objects=2,
            arrived=len(latencies_s),
            latencies_s=tuple(("file", value) for value in latencies_s),
            simulated_s=60.0,
            cpu_s=float(seed),
        )

    found = summarise_scenario([outcome(1, 10.0, 20.0), outcome(2, 30.0), scenario_failed(3, "no")])
    assert (found.objects, found.arrived, found.slowest_seed) == (4, 3, 2)
    assert found.latencies_s == {"file": {50: 20.0, 90: 28.0, 99: 29.8, 100: 30.0}}
    assert [one.seed for one in found.failed] == [3]
    assert found.to_json()["latency_s"]["file"]["p50"] == 20.0
