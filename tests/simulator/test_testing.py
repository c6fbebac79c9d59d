"""The helper for tests of programs that embed a node."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from orbitferry import JobContext, LocalError, run_virtual, two_nodes
from stack.simulator.testing import TwoNodesOptions

ROOT = Path(__file__).parents[2]


async def count(context: JobContext) -> None:
    context.output("count").write_text(str(len(context.inputs[0].read_bytes())))


def day(folder: Path, seed: int = 1, loss: float = 0.0) -> list[float]:
    """When a file of a pass and a half, and a job, are over; seconds."""
    folder.mkdir()
    scene = folder / "scene"
    scene.write_bytes(bytes(1_500_000))

    async def main() -> list[float]:
        passes = [(60, 70), (5400, 5410), (10_800, 10_900)]
        async with two_nodes(
            folder, passes_s=passes, handlers={"count": count}, seed=seed, loss=loss
        ) as (ground, satellite):
            begun = ground.port.now()
            sent = await ground.services.files.send(scene, satellite.node_id)
            assert (await ground.services.files.wait(sent)).state == "delivered"
            times = [ground.port.now()]
            job = await ground.services.jobs.submit(satellite.node_id, "count", inputs=[scene])
            status = await ground.services.jobs.wait(job)
            assert status.files["count"].read_text() == "1500000"
            return [(at - begun) / 1e9 for at in (*times, ground.port.now())]

    return run_virtual(main)


@pytest.mark.slow
def test_a_day_of_passes(tmp_path: Path) -> None:
    file, job = day(tmp_path / "a", loss=0.02)
    assert 5400 < file < 5410, "it takes more than one pass"
    assert 10_800 < job < 10_900
    assert day(tmp_path / "b", loss=0.02) == [file, job], "the same seed, the same run"
    assert day(tmp_path / "c", loss=0.02, seed=2) != [file, job]


def test_it_needs_virtual_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with two_nodes(tmp_path):
            pass

    with pytest.raises(LocalError, match="run_virtual"):
        asyncio.run(main())


def run_pytest(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """pytest as a program of others has it: outside of the repository, without its settings."""
    (folder / "test_program.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "orbitferry.pytest_plugin", *options],
        cwd=folder,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


USES_THE_FIXTURE = """
import asyncio
import pytest

@pytest.mark.parametrize("seed", [1, 2])
def test_twice_with_new_nodes(run_two_nodes, tmp_path, seed):
    async def main(ground, satellite):
        (tmp_path / "a").write_bytes(bytes(1_500_000))
        sent = await ground.services.files.send(tmp_path / "a", satellite.node_id)
        await ground.services.files.wait(sent)
        return asyncio.get_running_loop().time()

    options = {"passes_s": [(60, 70), (5400, 5410)], "loss": 0.02, "seed": seed}
    first, second = (run_two_nodes(main, **options) for _ in range(2))
    assert 5400 < first == second < 5410
    assert run_two_nodes(main) < 60

def test_what_fails_within_is_told(run_two_nodes):
    async def main(ground, satellite):
        assert ground.node_id == "dtn://elsewhere/"

    run_two_nodes(main)

def test_a_wait_without_end_ends(run_two_nodes):
    async def main(ground, satellite):
        await asyncio.get_running_loop().create_future()

    run_two_nodes(main, passes_s=[])
"""


@pytest.mark.slow
def test_the_fixture_of_pytest(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, USES_THE_FIXTURE)
    assert done.returncode == 1, done.stderr
    assert "2 failed, 2 passed" in done.stdout
    assert "dtn://elsewhere/" in done.stdout
    assert "Deadlock" in done.stdout


USES_TWO_PORTS = """
import asyncio
from link_models.channel import ChannelConfig, Delay, always_up
from link_models.loss import Bernoulli
from orbitferry import Train

def test_a_protocol_that_is_not_ours(run_two_ports):
    async def main(a, b):
        arrived, loop = [], asyncio.get_running_loop()
        b.on_receive = lambda trains: arrived.extend((one.data, loop.time()) for one in trains)
        for number in range(100):
            a.send([Train(bytes([number]), 1)])
        await asyncio.sleep(3600)
        return arrived

    quarter = ChannelConfig(
        delay=Delay.constant(10**9), loss=lambda rng: Bernoulli(rng, 0.5), duplicate_probability=0.1
    )
    first, second = run_two_ports(main, quarter), run_two_ports(main, quarter)
    assert first == second != run_two_ports(main, quarter, seed=2)
    assert 30 < len(first) < 80 and len(set(first)) < len(first)
    assert {at for _, at in first} == {1.0}
    assert len(run_two_ports(main)) == 100
"""


@pytest.mark.slow
def test_the_fixture_for_protocols_without_a_node(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, USES_TWO_PORTS, "-W", "error")
    assert done.returncode == 0, done.stdout + done.stderr


USES_NOTHING = """
import sys

def test_nothing_is_loaded():
    ours = ("orbitferry", "stack", "link_models", "interop")
    assert sorted(name for name in sys.modules if name.partition(".")[0] in ours) == [
        "orbitferry", "orbitferry.pytest_plugin", "stack"
    ]
    assert "asyncio" not in sys.modules and "numpy" not in sys.modules
"""


def test_the_fixture_costs_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, USES_NOTHING, "-W", "error")
    assert done.returncode == 0, done.stdout + done.stderr


def test_pytest_finds_the_fixture() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"]["pytest11"].items()
    found = EntryPoint(name=name, value=value, group="pytest11").load()
    assert hasattr(found, "run_two_nodes")


def test_the_options_are_those_of_two_nodes() -> None:
    options = inspect.signature(two_nodes).parameters.values()
    assert {one.name: one.annotation for one in options if one.kind is one.KEYWORD_ONLY} == {
        name: str(kind.__forward_arg__) for name, kind in TwoNodesOptions.__annotations__.items()
    }
