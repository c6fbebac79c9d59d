"""Pages stand alone, are well formed, and say in words what their figures show."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from link_models.orbit.geometry import Station, look
from link_models.orbit.mean_elements import Satellite
from link_models.orbit.tle import parse_tle
from stack.simulator.loopback.results import PassResult, Volume
from stack.simulator.report import world
from stack.simulator.report.earth import GroundTracks
from stack.simulator.report.gantt import Bar, Chart, Mark, draw_gantt, write_gantt
from stack.simulator.report.page import long_table, page, table
from stack.simulator.report.plotting import TimeAxis, log_rates, picture, rate_of, style
from stack.simulator.report.run.closeup import busiest
from stack.simulator.report.zoom import zoomable

VOID = {"meta", "br", "hr", "img", "input", "link"}

CHART = Chart(
    "Things & 'others'",
    ("one", "two"),
    (Bar(0, 0, 60_000, "#0072B2"), Bar(1, 30_000, 45_000, "#D55E00")),
    (Mark(30_000, "here <now>"),),
    (("#0072B2", "", "sends"),),
)


class Walk(HTMLParser):
    """Fails at tags that do not match; collects figures and what a page would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.styles = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), "an attribute stands twice"
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.styles += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.seen if tag in tags]


def check_page(text: str) -> Walk:
    """What holds for every page."""
    walk = Walk(text)
    assert walk.all("html")[0]["lang"] == "en"
    assert any(one.get("name") == "viewport" for one in walk.all("meta"))
    for needed in ("@media print", "prefers-color-scheme: dark", "max-width: 600px"):
        assert needed in walk.styles
    for one in walk.all("svg", "img"):
        assert one.get("role") == "img"
        assert len(one.get("aria-label") or one.get("alt") or "") > 20
    for tag, attrs in walk.seen:
        for key, value in attrs.items():
            if key in ("src", "href", "xlink:href", "data", "action", "srcset"):
                assert (value or "").startswith("#"), f"{tag} fetches {value}"
    assert "@import" not in walk.styles
    assert re.findall(r"url\((?!['\"]?#)", walk.styles) == []
    return walk


def test_a_page_with_charts(tmp_path: Path) -> None:
    path = tmp_path / "chart.html"
    write_gantt([CHART], 0, 60_000, path, [table(("a",), [("x" * 100,)])])
    walk = check_page(path.read_text())
    (chart,) = [one for one in walk.all("figure") if "data-chart" in one]
    spec = json.loads(chart["data-chart"] or "")
    assert [panel["title"] for panel in spec["panels"]] == ["Things & 'others'"]
    assert len(walk.all("script")) == 2
    assert "here <now>" in (walk.all("svg")[0]["aria-label"] or "")


def test_a_page_without_charts_has_no_scripts() -> None:
    assert check_page(page("words", ["<p>only</p>"])).all("script") == []


@pytest.mark.parametrize("count", [1, 40, 41, 110])
def test_of_a_long_table_much_is_folded_and_nothing_lost(count: int) -> None:
    rows = [(f"row {number}",) for number in range(count)]
    text = long_table(("name",), rows, classes=["own"] * count)
    walk = check_page(page("rows", [text]))
    assert re.findall(r"row \d+", text) == [name for (name,) in rows]
    assert len([one for one in walk.all("tr") if one.get("class") == "own"]) == count
    assert len(walk.all("details")) == (count > 40)


def test_the_library_is_the_published_one() -> None:
    """uPlot 1.6.32 as the npm registry has it, with its licence."""
    folder = files("stack.simulator.report") / "uplot"
    digests = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in folder.iterdir()}
    assert digests == {
        "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
        "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    }


# ---- what can be zoomed --------------------------------------------------------------------


def spec_of(figure: Figure) -> dict[str, Any]:
    with style():
        picture(figure, "a figure for a test")
        found: dict[str, Any] = json.loads(zoomable(figure).replace("&amp;", "&"))
    return found


def items_of(panel: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one for one in panel["items"] if one["k"] == kind]


def test_rows_of_bars_can_be_zoomed() -> None:
    start_ms = 800_000_000_000
    bars = (Bar(1, start_ms + 5_000, start_ms + 8_000, "#0072B2", 0.5),)
    chart = Chart("T", ("one", "two"), bars, (Mark(start_ms + 6_000, "here"),))
    with style():
        spec = spec_of(draw_gantt([chart, chart], start_ms, start_ms + 10_000))
    assert spec["end"] - spec["start"] == pytest.approx(10.0, abs=0.01)
    first, second = spec["panels"]
    assert first["items"] == second["items"]
    (drawn,) = items_of(first, "bars")
    assert drawn["b"] == [[5.0, 8.0, -1.25, -0.75]], "the second row, counted downwards"
    assert (-1.0, "two") in [tuple(tick) for tick in first["ticks"]]
    (mark,) = items_of(first, "text")
    assert (mark["s"], mark["x"]) == ("here", 6.0)


def test_lines_keep_their_shape_without_what_is_level() -> None:
    time = TimeAxis(0)
    with style():
        figure = Figure()
        axes = figure.subplots()
        y = np.array([0.0, 0.0, 0.0, 0.0, 5.0, 5.0, 5.0, np.nan, 1.0])
        axes.plot(time.days(np.arange(9.0)), y, label="line", color="#010203", ls="--")
        axes.step(time.days([0.0, 4.0]), [1.0, 2.0], where="post", label="_steps")
        time.show(axes, 0.0, 8.0)
        (panel,) = spec_of(figure)["panels"]
    line, stairs = items_of(panel, "line")
    assert (line["n"], line["c"], line["d"]) == ("line", "#010203", [5, 4])
    assert dict(zip(line["x"], line["y"], strict=True)) == {
        0.0: 0.0,
        3.0: 0.0,
        4.0: 5.0,
        6.0: 5.0,
        7.0: None,
        8.0: 1.0,
    }
    assert list(zip(stairs["x"], stairs["y"], strict=True)) == [(0.0, 1.0), (4.0, 1.0), (4.0, 2.0)]


# ---- the map ---------------------------------------------------------------------------------

ELEMENTS = Path("examples/data/earth-observation-2026-10-01.tle")


def satellite() -> Satellite:
    root = Path(__file__).parents[3]
    return parse_tle((root / ELEMENTS).read_text())[0]


@pytest.mark.parametrize("latitude_deg", [78.2, 0.0, -72.0, 46.5])
def test_a_circle_is_where_satellites_rise(latitude_deg: float) -> None:
    """At its rim a satellite stands as high as the mask or the horizon of that direction."""
    station = Station(
        name="s",
        latitude_deg=latitude_deg,
        longitude_deg=170.0,
        mask_deg=5.0,
        horizon=((0.0, 2.0), (90.0, 20.0), (180.0, 2.0)),
    )
    longitude, latitude = world._circle(station, 500.0)
    kept = np.isfinite(longitude)
    there = np.radians([longitude[kept], latitude[kept]])
    here = np.radians([station.longitude_deg, station.latitude_deg])
    east, north = there[0] - here[0], there[1]
    cosine = np.sin(here[1]) * np.sin(north) + np.cos(here[1]) * np.cos(north) * np.cos(east)
    # The triangle of the centre of the Earth, the station, and the satellite.
    ratio = world.EARTH_KM / (world.EARTH_KM + 500.0)
    height = np.degrees(np.arctan2(cosine - ratio, np.sqrt(1 - cosine**2)))
    assert height.min() == pytest.approx(5.0, abs=0.01)
    assert height.max() == pytest.approx(20.0, abs=0.01)
    assert np.abs(np.diff(longitude[kept])).max() > 300 or np.isfinite(longitude).all()


def test_a_track_runs_below_its_satellite() -> None:
    """Who stands on the track sees the satellite overhead."""
    craft = satellite()
    times = craft.epoch_ms + np.arange(0.0, 3_000_000.0, 300_000.0)
    longitude, latitude = GroundTracks({"sat": craft}).below("sat", times)
    for east, north, at in zip(longitude, latitude, times, strict=True):
        below = Station(name="s", latitude_deg=north, longitude_deg=east)
        assert look(craft, below, np.array([at])).elevation_deg[0] > 87.0


def test_the_map_says_what_it_shows() -> None:
    craft = satellite()
    start = craft.epoch_ms
    station = Station(name="dtn://gs<1>/", latitude_deg=40.0, longitude_deg=10.0)
    passes = [world.Overflight("dtn://gs<1>/", "sat", start, start + 600_000, used=True)]
    whole = world.World({"dtn://gs<1>/": station}, {"sat": craft}, passes, start, start + 7_200_000)
    drawn = world.world_map(whole, {})
    walk = check_page(page("map", [drawn]))
    words = walk.all("svg")[0]["aria-label"] or ""
    assert "gs<1> at 40.0, 10.0 degrees" in words
    assert "1 pass, 1 of them used" in words
    assert drawn == world.world_map(whole, {})
    assert world.world_map(world.World({}, {}, (), 0, 1), {}) == ""


def test_rates_of_logarithmic_axes_have_units_of_their_own() -> None:
    time = TimeAxis(0)
    with style():
        figure = Figure()
        axes = figure.subplots()
        axes.plot(time.days(np.arange(3.0)), [0.0, 2e3, 5e8])
        log_rates(axes)
        axes.set_ylim(1e3, 1e9)
        (panel,) = spec_of(figure)["panels"]
    assert panel["log"]
    assert panel["unit"] == "bit/s"
    assert {(1e3, "1 kbit/s"), (1e6, "1 Mbit/s"), (1e9, "1 Gbit/s")} <= set(
        map(tuple, panel["ticks"])
    )


def test_a_burst_between_samples_that_follow_each_other_has_no_rate_of_its_own() -> None:
    """The samples at 59.99 s and 60.01 s lie in different halves of a step."""
    times = np.array([0.0, 20.0, 40.0, 59.99, 60.01, 80.0, 100.0, 120.0])
    octets = np.array([0.0] * 4 + [1000.0] * 4)
    middle, rate = rate_of(times, octets)
    assert rate.max() <= 1000 * 8 / 10
    assert np.all(np.diff(middle) > 10)


def test_the_busiest_pass_is_the_one_in_which_most_arrived_either_way() -> None:
    def volume(octets: int) -> Volume:
        return Volume(1e9, 0.0, 0.0, octets, octets)

    passes = tuple(
        PassResult(
            "dtn://gs/", "dtn://sat/", 0.0, 60.0, 45.0, True, 0, 0.0, volume(up), volume(down)
        )
        for up, down in ((0, 0), (300, 0), (10, 900), (20, 890))
    )
    assert busiest(passes) == 2, "the first of those with most"
    assert busiest(passes[:1]) is None
