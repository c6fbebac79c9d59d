"""What a node, a contact and a bundle cost in `orbitferry loopback`.

    python -m tests.benchmarks.bench_scale [--whole] [--repeat 3] [--json docs/scale.json]
    python -m tests.benchmarks.bench_scale --draw docs/scale.json docs/img/scale.png

A small design of experiments: one thing is varied at a time around a scenario of 20 satellites
and 5 stations over 12 hours, cut out of `examples/scale`.  Each row runs in a process of its own;
CPU seconds are those of that process, so that a busy machine spoils little.  `--whole` adds
`examples/scale` as it is: 110 nodes, 24 hours, 10 000 bundles.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

SCENARIO = Path(__file__).parents[2] / "examples" / "scale" / "scenario.toml"
BASE = {
    "satellites": 20,
    "stations": 5,
    "hours": 12.0,
    "bundles": 500,
    "bytes": 100_000,
    "burst_ms": 500.0,
    "fec": 0,
}
VARIED: dict[str, tuple[float, ...]] = {
    "satellites": (5, 10, 20, 40),
    "hours": (3, 6, 12, 24),
    "bundles": (0, 250, 500, 1000, 2000),
    "bytes": (1_000, 10_000, 100_000, 1_000_000),
    "burst_ms": (0, 100, 500),
    "fec": (0, 1),
}


def scenario_of(row: dict[str, Any]) -> dict[str, Any]:
    """The data of a scenario."""
    data = tomllib.loads(SCENARIO.read_text(encoding="utf-8"))
    if row.get("whole"):
        return data
    data["constellations"][0] |= {"count": row["satellites"], "planes": 5}
    data["stations"] = data["stations"][: row["stations"]]
    data |= {"duration_h": row["hours"], "burst_ms": row["burst_ms"]}
    if row["fec"]:
        for way in ("up", "down"):
            data["radios"][0][way]["fec"] = {"k": 64, "r": 16}
    each = row["bundles"] // 2
    for task in data["traffic"]:
        # To the end of the run, so that there is something to do in all of it.
        task |= {"count": each, "over_s": row["hours"] * 3600 - 1, "share_min": 0.0}
        task["size_bytes"] = [row["bytes"], row["bytes"]]
    if not each:
        data["traffic"] = []
    # Something is left to do until the end: else a run ends when all has arrived.
    last = {"name": "last", "at_s": row["hours"] * 3600 - 1, "text": "over"}
    ends = {"source": data["stations"][0]["id"], "destination": "dtn://sat1/"}
    data["messages"] = [last | ends]
    return data


def measure(row: dict[str, Any]) -> dict[str, Any]:
    """Run one row in this process."""
    from stack.simulator import run_scenario
    from stack.simulator.scenario import parse_scenario

    begun: list[float] = []

    def watch(_: object) -> None:
        if not begun:
            begun.append(time.process_time())

    scenario = parse_scenario(scenario_of(row), SCENARIO.parent)
    start = time.process_time()
    result = run_scenario(scenario, progress=watch)
    end = time.process_time()
    used = [one for one in result.passes if one.up.capacity or one.down.capacity]
    return row | {
        "nodes": len(result.counters),
        "links": len(result.directions) // 2,
        "passes": len(result.passes),
        "contacts": len(used),
        "sent": sum(one.handed_over for one in result.traffic),
        "arrived": sum(one.arrived for one in result.traffic),
        "forwarded": sum(one.get("bundles.forwarded", 0) for one in result.counters.values()),
        "mb": sum(one.bytes_sent for one in result.traffic) / 1e6,
        "before_s": begun[0] - start,
        "run_s": end - begun[0],
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def in_a_process(row: dict[str, Any]) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_scale", "--row", json.dumps(row)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def best_of(repeat: int, row: dict[str, Any]) -> dict[str, Any]:
    """The least of each time: what other programs took of the machine is in the others."""
    found = [in_a_process(row) for _ in range(repeat)]
    times = ("before_s", "run_s")
    return found[0] | {key: min(each[key] for each in found) for key in times}


def experiments(whole: bool, repeat: int) -> list[dict[str, Any]]:
    """Measure every row, and print it."""
    print(
        "varied            nodes  links  passes  served  bundles     MB  plan s   run s  memory MB"
    )
    rows = []
    plan: list[tuple[str, dict[str, Any]]] = [
        (f"{key} {value:g}", BASE | {key: value, "varied": key})
        for key, values in VARIED.items()
        for value in values
    ]
    if whole:
        plan.append(("examples/scale", BASE | {"varied": "whole", "whole": 1}))
    for label, row in plan:
        found = best_of(repeat, row)
        rows.append(found)
        print(
            f"{label:<17} {found['nodes']:>5} {found['links']:>6} {found['passes']:>7} "
            f"{found['contacts']:>7} {found['sent']:>8} {found['mb']:>6.0f} "
            f"{found['before_s']:>7.2f} {found['run_s']:>7.2f} {found['rss_mb']:>10.0f}",
            flush=True,
        )
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """The figure of docs/scale.md."""
    from matplotlib.figure import Figure

    panels = (
        ("satellites", "nodes", "nodes", "linear"),
        ("hours", "contacts", "contacts", "linear"),
        ("bundles", "sent", "bundles of 100 kB", "linear"),
        ("bytes", "bytes", "octets of each of 500 bundles", "log"),
    )
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    for axes, (varied, column, label, scale) in zip(
        figure.subplots(2, 2).flat, panels, strict=True
    ):
        own = [row for row in rows if row["varied"] == varied]
        x = [row[column] for row in own]
        axes.plot(x, [row["run_s"] for row in own], "o-", color="#0B5FA5", label="run")
        axes.plot(
            x, [row["before_s"] for row in own], "s--", color="#D55E00", label="orbits and plan"
        )
        axes.set_xscale(scale)
        axes.set_xlabel(label)
        axes.set_ylabel("CPU seconds")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.suptitle("Cost of a loopback run: 20 satellites, 5 stations, 12 h; one thing varied")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print, or draw."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench_scale")
    parser.add_argument("--whole", action="store_true", help="examples/scale too: some minutes")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each row; the best counts")
    parser.add_argument("--json", type=Path, help="write the numbers")
    parser.add_argument("--draw", type=Path, nargs=2, metavar=("NUMBERS", "PNG"))
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.row:
        print(json.dumps(measure(json.loads(options.row))))
    elif options.draw:
        numbers, picture = options.draw
        draw(json.loads(numbers.read_text(encoding="utf-8")), picture)
    else:
        rows = experiments(options.whole, options.repeat)
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
