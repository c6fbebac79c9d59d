"""Runs a scenario: the sky first, then whole nodes in virtual time, then the report."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from link_models.clock import run_virtual
from link_models.rng import Streams
from stack.core.extras import require
from stack.ports.capture import CaptureSink
from stack.simulator.loopback.captured import RunCapture
from stack.simulator.loopback.code import collect_input, load_code
from stack.simulator.loopback.observe import Watch
from stack.simulator.loopback.results import Result
from stack.simulator.loopback.run import Run
from stack.simulator.loopback.world import short_name
from stack.simulator.scenario import Scenario
from stack.simulator.sky import make_sky, predict


def run_scenario(
    scenario: Scenario,
    *,
    seed: int | None = None,
    input: str | Path | None = None,  # what the option of the command is called
    report_dir: str | Path | None = None,
    progress: Watch | None = None,
    capture: CaptureSink | None = None,
    capture_links: Sequence[str] = (),
) -> Result:
    """Run a scenario to its end; with `report_dir`, write report.html, results.json, series.csv.

    `seed` and `input` replace those of the scenario.  What `progress` raises ends the run, and
    comes out here.  `capture` (`stack.adapters.capture.CaptureFile`, `inline`) takes what goes over
    the links, or over those of `capture_links`: each datagram once, with its fate.  The same
    scenario, seed and input give the same files to the octet.  Raises `ConfigError` for what cannot
    be run, `OSError` when files cannot be read or written, `MissingExtraError` without what draws
    reports; `Result.problems` tells what does not arrive.
    """
    started_s = time.perf_counter()
    if report_dir is not None:
        require("matplotlib")  # now, not after the run
        report_dir = Path(report_dir)
        report_dir.mkdir(parents=True, exist_ok=True)  # now, if it cannot be made
    seed = scenario.seed if seed is None else seed
    streams = Streams(seed)
    code = load_code(scenario)
    known = predict(scenario)
    sky = make_sky(scenario, streams, prediction=known)
    with tempfile.TemporaryDirectory(prefix="orbitferry-") as folder:
        root = Path(folder)
        files = collect_input(
            scenario, code, None if input is None else Path(input), root / "input"
        )
        watch = None
        if capture is not None:
            nodes = [short_name(one) for one in scenario.node_ids]
            watch = RunCapture(capture, nodes, sky.start_ms, capture_links)
        whole = Run(scenario, seed, streams, sky, code, files, root, progress, watch)
        result = run_virtual(whole.main)
    if report_dir is not None:
        from stack.simulator.report.run.page import write_report  # matplotlib takes half a second

        write_report(result, scenario, sky, report_dir)
    wall_s = time.perf_counter() - started_s
    return dataclasses.replace(result, wall_s=wall_s, doubts=known.doubts)
