"""The helper for tests of programs that embed a node."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orbitferry import JobContext, LocalError, run_virtual, two_nodes


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
