"""`orbitferry swarm`: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.helpers import Cli
from tests.sim.days import small

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_swarm_sums_up(cli: Cli) -> None:
    ran = cli("swarm", "3", "--jobs", "1", "--seed", "20")
    assert ran.code == 0, ran.err
    assert "all 3 runs passed" in ran.out
    assert "invariant" in ran.out
    assert "3 of 3 seeds" in ran.err


def test_json_is_all_there_is_on_standard_output(cli: Cli) -> None:
    ran = cli("swarm", "2", "--jobs", "1", "--json", "--faults", "cut,full")
    found = json.loads(ran.out)
    assert ran.code == 0
    assert found["ok"] is True
    assert found["runs"] == 2
    assert set(found["faults"]) <= {"cut", "full"}
    assert found["checks"]["custody"] > 0


@pytest.mark.slow
def test_a_failure_is_named_replayed_and_made_small(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from stack.node.link import Link

    def block(self: Link, event: object) -> None:
        self.engine.accept(event.session)  # type: ignore[attr-defined]

    path = tmp_path / "day.json"
    path.write_text(small().dumps())
    monkeypatch.setattr(Link, "_block", block)
    ran = cli("swarm", "1", "--seed", "4", "--options", path, "--shrink")
    assert ran.code == 1
    assert "FAILED: seed=4 nodes=gs1,gs2,sat1" in ran.err
    assert "custody at" in ran.err
    assert f"replay: orbitferry swarm --seed 4 --options {path}" in ran.err
    assert "1 of 1 runs failed" in ran.out
    smallest = tmp_path / "small.json"
    smallest.write_text(ran.out[ran.out.index("\n{") :])
    again = cli("swarm", "1", "--options", smallest)
    assert again.code == 1
    assert "FAILED: seed=4" in again.err
    monkeypatch.undo()
    assert cli("swarm", "1", "--seed", "4", "--options", smallest).code == 0


def test_engines_alone(cli: Cli) -> None:
    ran = cli("swarm", "20", "--engines", "--jobs", "1", "--quiet")
    assert ran.code == 0
    assert "all 20 runs passed" in ran.out
    assert not ran.err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("0",), "N"),
        (("--nodes", "99"), "nodes"),
        (("--faults", "flood"), "flood"),
        (("--engines", "--shrink"), "--shrink"),
        (("--engines", "--options", "x.json"), "exclude"),
        (("--options", "gone.json"), "gone.json"),
    ],
)
def test_wrong_usage(cli: Cli, arguments: tuple[str, ...], what: str) -> None:
    ran = cli("swarm", *arguments)
    assert ran.code == 2
    assert what in ran.err


@pytest.mark.slow
def test_a_scenario_for_many_seeds() -> None:
    example = ROOT / "tests" / "simulator" / "loopback" / "small.toml"
    command = ["swarm", "2", "--scenario", str(example), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "stack.cli.main", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert found["runs"] == 2
    assert found["arrived"] == found["objects"] > 0
    assert found["latency_s"]["job"]["p50"] > 0


def _until_gone(session: int) -> None:
    """Ends with an error when no process of the session is left."""
    while True:
        os.killpg(session, 0)


@pytest.mark.slow
def test_an_interrupt_ends_it_and_its_workers() -> None:
    command = ["swarm", "4000", "--engines", "--jobs", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "stack.cli.main", *command],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert "of 4,000 seeds" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        with pytest.raises(ProcessLookupError):
            _until_gone(process.pid)
