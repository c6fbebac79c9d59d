"""Whole runs of small scenarios."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import os
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from link_models.orbit.geometry import LIGHT_KM_S
from stack.core.errors import ConfigError
from stack.simulator import Result, Scenario, load_scenario, parse_scenario, run_scenario
from stack.simulator.loopback.observe import Moment
from tests.simulator.loopback.handlers import FILE_BYTES, FILES

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SMALL = HERE / "small.toml"
NORTH, SOUTH, SAT = "dtn://north/", "dtn://south/", "dtn://sat1/"


def changed(**changes: Any) -> Scenario:
    """The small scenario with other top-level values."""
    data = copy.deepcopy(tomllib.loads(SMALL.read_text()))
    return parse_scenario(data | changes, HERE)


@pytest.fixture(scope="module")
def small() -> Result:
    return run_scenario(load_scenario(SMALL))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_everything_arrives_and_is_what_the_handler_should_make(small: Result) -> None:
    assert small.ok, small.problems
    contents = [Random(number).randbytes(FILE_BYTES) for number in range(FILES)]
    results = {row.name: row.sha256_arrived for row in small.objects if row.kind == "result"}
    for number, content in enumerate(contents):
        assert results[f"back/noise-{number}.bin"] == sha256(content[::-1])
    inputs = [row for row in small.objects if row.kind == "input"]
    assert sorted(row.sha256_arrived for row in inputs) == sorted(map(sha256, contents))
    assert [(job.name, job.state, job.inputs, job.results) for job in small.jobs] == [
        ("first", "finished", 3, 4),
        ("second", "finished", 3, 4),
    ]


def test_jobs_go_through_their_phases_in_order(small: Result) -> None:
    for job in small.jobs:
        times = [job.submitted_s, job.inputs_there_s, job.started_s, job.finished_s, job.done_s]
        known = [time for time in times if time is not None]
        assert known == sorted(times)  # type: ignore[type-var]
        assert job.first_result_s is not None
        assert job.finished_s is not None
        assert job.done_s is not None
        assert job.finished_s < job.first_result_s <= job.done_s
    first = {row.task: row for row in small.objects if row.name == "list.txt"}
    for row in small.objects:
        if row.kind == "result" and row.name != "list.txt":
            assert row.arrived_s is not None
            assert first[row.task].arrived_s is not None
            assert first[row.task].arrived_s <= row.arrived_s  # type: ignore[operator]


def test_nothing_arrives_outside_of_passes_and_nothing_beats_light(small: Result) -> None:
    series = small.series
    inside = np.zeros(len(series.time_s), np.bool_)
    for row in small.passes:
        inside |= (series.time_s > row.rise_s) & (series.time_s <= row.set_s + 3.1)
    for values in (*series.on_air.values(), *series.data.values()):
        steps = np.diff(values, prepend=0.0)
        assert (steps >= 0).all()
        assert not steps[~inside].any()
        assert values[-1] > 0
    altitude_km = 780.0
    for row_ in small.objects:
        assert row_.arrived_s is not None
        assert row_.arrived_s - row_.sent_s > altitude_km / LIGHT_KM_S


def test_volumes_fit_into_one_another(small: Result) -> None:
    for row in small.directions:
        assert row.data_received <= row.delivered <= row.offered <= row.capacity
        assert row.capacity_wanted <= row.capacity
        assert row.data_sent >= row.data_received
        assert row.fec_recovered_packets <= row.fec_source_packets
        own = [
            one.up if row.kind == "up" else one.down
            for one in small.passes
            if {one.station, one.satellite} == {row.source, row.destination}
        ]
        assert sum(volume.on_air for volume in own) == row.delivered
        assert sum(volume.data for volume in own) == row.data_received
    content = sum(one.bytes for one in small.objects if one.destination == SAT)
    up = small.totals()["up"]
    assert content == up["delivered_bytes"] == FILES * FILE_BYTES
    assert up["bundle_bytes"] > content
    assert any(row.fec_recovered_packets for row in small.directions)
    assert any(row.lost for row in small.directions)


def test_capacity_is_what_the_rates_and_passes_give() -> None:
    rates = {"up": {"rates": [[5.0, 8000.0]]}, "down": {"rates": [[5.0, 16_000.0]]}}
    result = run_scenario(changed(radios=[rates], jobs=[], code=""))
    for row in result.passes:
        seconds = row.set_s - row.rise_s
        assert row.up.capacity == pytest.approx(1000 * seconds, abs=5)
        assert row.down.capacity == pytest.approx(2000 * seconds, abs=10)


def test_a_station_without_a_radio_is_served_over_the_ground(tmp_path: Path) -> None:
    source = tmp_path / "scene.bin"
    source.write_bytes(Random(9).randbytes(300_000))
    data = tomllib.loads(SMALL.read_text())
    data["radios"][0]["stations"] = [NORTH]
    data["terrestrial"] = [{"between": [NORTH, SOUTH], "rate_bps": 1e6, "delay_ms": 50}]
    data["messages"], data["jobs"] = [], []
    data["files"] = [
        {"name": "up", "at_s": 1, "source": SOUTH, "destination": SAT, "path": str(source)},
        {"name": "down", "at_s": 1, "source": SAT, "destination": SOUTH, "path": str(source)},
    ]
    result = run_scenario(parse_scenario(data, HERE))
    assert result.ok, result.problems
    assert {(row.source, row.destination) for row in result.directions} == {
        (NORTH, SAT),
        (SAT, NORTH),
    }
    assert [row.sha256_arrived for row in result.objects] == [sha256(source.read_bytes())] * 2


def test_input_can_be_given_and_parts_without_files_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "one.dat").write_bytes(b"abc" * 1000)
    result = run_scenario(load_scenario(SMALL), input=tmp_path)
    assert result.ok, result.problems
    assert [(job.name, job.inputs) for job in result.jobs] == [("second", 1)]
    assert any(row.sha256_arrived == sha256(b"cba" * 1000) for row in result.objects)


def test_what_cannot_arrive_is_named_with_its_reason() -> None:
    data = tomllib.loads(SMALL.read_text())
    data["radios"][0]["blackouts"] = {"per_hour": 3600, "mean_s": 86_400}
    result = run_scenario(parse_scenario(data, HERE))
    assert not result.ok
    text = "\n".join(result.problems)
    assert "job first: waiting" in text
    for row in result.objects:
        arrives = f"{row.name} of {row.task} ({row.bytes} octets) did not arrive at" not in text
        assert arrives == row.ok
    assert not any(row.ok for row in result.objects if row.kind == "input")


def test_a_job_that_fails_is_a_problem() -> None:
    job = tomllib.loads(SMALL.read_text())["jobs"][0] | {"handler": "refuse"}
    result = run_scenario(changed(jobs=[job]))
    assert result.problems == ("job first: failed no power",)


def test_a_handler_that_does_not_exist_is_an_error() -> None:
    job = tomllib.loads(SMALL.read_text())["jobs"][0] | {"handler": "nothing"}
    with pytest.raises(ConfigError, match="'nothing' is not in HANDLERS"):
        run_scenario(changed(jobs=[job]))


@pytest.mark.slow
def test_another_seed_is_another_day_and_watching_changes_nothing(small: Result) -> None:
    seen: list[Moment] = []
    watched = run_scenario(load_scenario(SMALL), progress=seen.append)
    assert watched.to_json() == small.to_json()
    assert [moment.now_s for moment in seen] == small.series.time_s.tolist()
    assert seen[-1].arrived == seen[-1].expected == len(small.objects)
    other = run_scenario(load_scenario(SMALL), seed=6)
    assert other.ok, other.problems
    assert other.to_json() != small.to_json()


def command(*arguments: str, hash_seed: str, temporary: Path) -> subprocess.CompletedProcess[str]:
    temporary.mkdir()
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "TMPDIR": str(temporary)}
    return subprocess.run(
        [sys.executable, "-m", "stack.cli.main", "loopback", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    outputs = []
    for number, hash_seed in enumerate(("1", "2024")):
        folder = tmp_path / f"report-{number}"
        done = command(
            str(SMALL),
            "--report",
            str(folder),
            hash_seed=hash_seed,
            temporary=tmp_path / ("t" * (number + 1)),
        )
        assert done.returncode == 0, done.stderr
        outputs.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert sorted(outputs[0]) == ["report.html", "results.json", "series.csv"]
    assert outputs[0] == outputs[1]
    check_page(outputs[0]["report.html"].decode())


def check_page(text: str) -> None:
    """The page stands alone, is well formed, and shows what it should."""

    class Page(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.links: list[str] = []
            self.figures = 0

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("meta",):
                self.open.append(tag)
            self.figures += tag == "svg"
            for key, value in attrs:
                if key.endswith(("href", "src")) and value and not value.startswith("#"):
                    self.links.append(value)

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.handle_starttag(tag, attrs)
            self.handle_endtag(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.links == []
    assert page.figures == 5  # contacts and jobs, the map, delivery, links, the busiest pass
    for wanted in ("first", "second", "hello", "north", "sat1", "noise-0.bin", "gilbert-elliott"):
        assert wanted in text


@pytest.mark.slow
def test_the_command_says_which_object_failed(tmp_path: Path) -> None:
    text = SMALL.read_text().replace("per_hour = 6", "per_hour = 3600")
    text = text.replace("mean_s = 10", "mean_s = 86_400").replace('"../../..', f'"{ROOT}')
    (tmp_path / "handlers.py").write_text((HERE / "handlers.py").read_text())
    scenario = tmp_path / "dark.toml"
    scenario.write_text(text)
    done = command(str(scenario), hash_seed="0", temporary=tmp_path / "t")
    assert done.returncode == 1
    assert "problem: job first: waiting" in done.stderr
    assert "problem: input noise-0.bin of first" in done.stderr
    assert "of 7 objects as expected" in done.stdout


def test_runs_inside_a_running_loop_are_refused() -> None:
    async def inside() -> None:
        run_scenario(load_scenario(SMALL))

    with pytest.raises(Exception, match="cannot be called from a running event loop"):
        asyncio.run(inside())
