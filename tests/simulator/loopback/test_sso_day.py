"""The day of a sun-synchronous satellite: its handler, and the whole of it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from examples.sso_day.handlers import (
    Floats,
    hillshade,
    make_input,
    read_tile,
    slopes,
    statistics,
)
from stack.simulator import load_scenario, run_scenario

ROOT = Path(__file__).parents[3]


def plane(north: float, east: float, north_m: float, east_m: float) -> Floats:
    """A tile that rises by `north` and `east` metres per metre; row 0 is the northernmost."""
    rows = np.arange(20, dtype=np.float32)[:, None]
    columns = np.arange(30, dtype=np.float32)
    return (
        np.float32(500) - rows * np.float32(north_m * north) + columns * np.float32(east_m * east)
    )


@pytest.mark.parametrize("azimuth_deg", [0.0, 45.0, 135.0, 315.0])
@pytest.mark.parametrize("slope_deg", [0.0, 20.0, 45.0])
def test_planes_are_lit_as_lambert_says(azimuth_deg: float, slope_deg: float) -> None:
    """A slope that faces the sun gets the cosine of what the sun is away from its normal."""
    sun_deg = 30.0
    # It falls towards the sun, so it rises away from it.
    rise = -math.tan(math.radians(slope_deg))
    north = rise * math.cos(math.radians(azimuth_deg))
    east = rise * math.sin(math.radians(azimuth_deg))
    found = slopes(plane(north, east, 30.0, 25.0), 30.0, 25.0)
    shade = hillshade(*found, azimuth_deg, sun_deg)
    wanted = 255 * math.cos(math.radians(90.0 - sun_deg - slope_deg))
    assert np.abs(shade.astype(float) - wanted).max() <= 1.0
    away = hillshade(*found, azimuth_deg + 180.0, sun_deg)
    dim = 255 * max(0.0, math.cos(math.radians(90.0 - sun_deg + slope_deg)))
    assert np.abs(away.astype(float) - dim).max() <= 1.0


def test_statistics_of_a_plane() -> None:
    tile = plane(0.6, -0.8, 30.0, 25.0)
    found = statistics(tile, *slopes(tile, 30.0, 25.0))
    assert found["slope_mean_deg"] == pytest.approx(45.0, abs=0.01)
    assert found["slope_max_deg"] == pytest.approx(45.0, abs=0.05)
    assert found["steep_share"] == 1.0
    assert found["elevation_max_m"] == pytest.approx(float(tile.max()), abs=0.01)


def test_tiles_are_50_megabytes_of_real_terrain_and_all_differ(tmp_path: Path) -> None:
    make_input(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert sum(file.stat().st_size for file in files) >= 50_000_000
    assert len({file.read_bytes() for file in files}) == len(files)
    for file in files[:4]:
        tile = read_tile(file)
        assert tile is not None
        # The elevations about the Jacksboro fault, by the U.S. Geological Survey.
        assert 230 <= tile.min() < tile.max() <= 1080


def test_other_files_are_no_tiles(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00v\x00{'descr'", b"x")):
        path = tmp_path / f"{number}.npy"
        path.write_bytes(content)
        assert read_tile(path) is None
    np.save(tmp_path / "flat.npy", np.zeros(4))
    assert read_tile(tmp_path / "flat.npy") is None


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_whole_day() -> None:
    result = run_scenario(load_scenario(ROOT / "examples/sso_day/scenario.toml"))
    assert result.ok, result.problems
    totals = result.totals()
    assert totals["up"]["delivered_bytes"] >= 50_000_000
    latencies = {job.name: job.latency_s for job in result.jobs}
    urgent = latencies.pop("urgent")
    assert urgent is not None
    assert all(latency is not None and urgent < latency for latency in latencies.values())
    assert all(row.sessions_failed == 0 for row in result.directions)
