"""The work of the sun-synchronous day: hillshades and slopes of terrain tiles, in orbit.

`make_input` cuts tiles from real terrain; `terrain` is the job handler that runs on the
satellite.  Both are functions of their input alone, so that the ground can check every octet.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orbitferry import Handler, JobContext

Floats = NDArray[np.float32]
Grey = NDArray[np.uint8]

TILES: Final = 48
TILE_POSTS: Final = 512
"""Posts of a tile each way: 512 x 512 float32 are 1 MiB."""

FACTOR: Final = 3
"""The source has a post each 3 arc seconds (93 m north, 74 m east); three times as many give
tiles of 1 MiB a sensible size on the ground, about 16 by 13 km."""

STEEP_DEG: Final = 30.0
"""Slopes from which snow slides and rock falls: the usual threshold of hazard maps."""

TILE_BYTES_MAX: Final = 64 * 1024 * 1024


def make_input(folder: Path) -> None:
    """Write 48 terrain tiles (50 MB) as .npy files of float32 metres.

    Source: the SRTM elevation model (3 arc seconds, public domain, USGS) about the Jacksboro
    fault in Tennessee, 36.45-36.73 N, 84.41-84.08 W, as it comes with matplotlib.  It has
    344 x 403 posts, so the tiles overlap: they are 6 x 8 windows of 171 posts each way,
    interpolated bilinearly to a third of the spacing.
    """
    import matplotlib

    source = Path(matplotlib.get_data_path()) / "sample_data" / "jacksboro_fault_dem.npz"
    with np.load(source) as arrays:
        elevation: Floats = arrays["elevation"].astype(np.float32)
    side = -(-TILE_POSTS // FACTOR) + 1
    tops = np.linspace(0, elevation.shape[0] - side, 6).astype(int)
    lefts = np.linspace(0, elevation.shape[1] - side, 8).astype(int)
    for number in range(TILES):
        top, left = int(tops[number // 8]), int(lefts[number % 8])
        window = elevation[top : top + side, left : left + side]
        np.save(folder / f"tile-{number + 1:02}.npy", _finer(window)[:TILE_POSTS, :TILE_POSTS])


def _finer(window: Floats) -> Floats:
    """Bilinear interpolation to `FACTOR` times as many posts."""
    for axis in (0, 1):
        first, second = np.swapaxes(window, 0, axis)[:-1], np.swapaxes(window, 0, axis)[1:]
        rows = [first + (second - first) * np.float32(step / FACTOR) for step in range(FACTOR)]
        stacked = np.stack(rows, axis=1).reshape(-1, first.shape[1])
        window = np.ascontiguousarray(np.swapaxes(stacked, 0, axis))
    return window


def slopes(elevation: Floats, north_m: float, east_m: float) -> tuple[Floats, Floats]:
    """Rise per metre towards north and east, by central differences."""
    down: Floats = np.asarray(np.gradient(elevation, np.float32(north_m), axis=0))
    east: Floats = np.asarray(np.gradient(elevation, np.float32(east_m), axis=1))
    return -down, east


def hillshade(north: Floats, east: Floats, azimuth_deg: float, altitude_deg: float) -> Grey:
    """Lambertian shading of 8 bits under a sun at an azimuth (from north) and an altitude."""
    azimuth, altitude = np.radians(azimuth_deg), np.radians(altitude_deg)
    sun_east, sun_north = np.sin(azimuth) * np.cos(altitude), np.cos(azimuth) * np.cos(altitude)
    # The surface normal is (-east, -north, 1), not yet of length one.
    towards = np.sin(altitude) - east * sun_east - north * sun_north
    light = towards / np.sqrt(1.0 + east * east + north * north)
    shade: Grey = np.rint(255.0 * np.clip(light, 0.0, 1.0)).astype(np.uint8)
    return shade


def statistics(elevation: Floats, north: Floats, east: Floats) -> dict[str, float]:
    """Figures of a tile: metres and degrees."""
    slope_deg = np.degrees(np.arctan(np.hypot(north, east)))
    return {
        "elevation_min_m": round(float(elevation.min()), 2),
        "elevation_mean_m": round(float(elevation.mean(dtype=np.float64)), 2),
        "elevation_max_m": round(float(elevation.max()), 2),
        "slope_mean_deg": round(float(slope_deg.mean(dtype=np.float64)), 3),
        "slope_p95_deg": round(float(np.percentile(slope_deg, 95)), 3),
        "slope_max_deg": round(float(slope_deg.max()), 3),
        "steep_share": round(float((slope_deg >= STEEP_DEG).mean()), 5),
    }


async def terrain(context: JobContext) -> None:
    """Hillshade and slope statistics of each input tile.

    Arguments: `azimuth_deg`, `altitude_deg` (of the sun), `north_m`, `east_m` (between posts),
    `seconds_per_tile` (how long the satellite's processor takes for one).  Results: `summary.json`
    and `summary.csv` at the highest priority, a hillshade a tile at the job's own.  An input that
    is no tile gets a row with its size and digest only.
    """
    args = context.args
    rows: list[dict[str, Any]] = []
    for number, path in enumerate(context.inputs):
        context.progress(number / len(context.inputs), path.name)
        await asyncio.sleep(float(args.get("seconds_per_tile", "2")))
        row: dict[str, Any] = {"input": path.name, "bytes": path.stat().st_size}
        row["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        elevation = read_tile(path)
        if elevation is not None:
            spacing = float(args.get("north_m", "30.9")), float(args.get("east_m", "24.8"))
            north, east = slopes(elevation, *spacing)
            row |= statistics(elevation, north, east)
            sun = float(args.get("azimuth_deg", "315")), float(args.get("altitude_deg", "45"))
            shade = hillshade(north, east, *sun)
            write_pgm(context.output(f"hillshade/{number:03}-{path.stem}.pgm"), shade)
        rows.append(row)
    context.output("summary.json", priority=2).write_text(json.dumps(rows, indent=1) + "\n")
    table = io.StringIO()
    columns = sorted({column for row in rows for column in row}, key=_column_order)
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    context.output("summary.csv", priority=2).write_text(table.getvalue())


def read_tile(path: Path) -> Floats | None:
    """The elevations of a tile, or None for any other file."""
    if path.suffix != ".npy" or path.stat().st_size > TILE_BYTES_MAX:
        return None
    try:
        tile = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        return None
    fits = tile.ndim == 2 and min(tile.shape) >= 2 and tile.dtype.kind in "iuf"
    return tile.astype(np.float32) if fits else None


def write_pgm(path: Path, image: Grey) -> None:
    """A grey image that every viewer reads (Netpbm P5)."""
    height, width = image.shape
    path.write_bytes(b"P5\n%d %d\n255\n" % (width, height) + image.tobytes())


def _column_order(column: str) -> tuple[bool, str]:
    return column not in ("input", "bytes", "sha256"), column


HANDLERS: Final[dict[str, Handler]] = {"terrain": terrain}
