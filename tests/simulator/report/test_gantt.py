"""Time charts and pages: what they refuse, and that they are the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.core.errors import ConfigError
from stack.core.units import natural
from stack.simulator.report.gantt import ROWS_MAX, Bar, Chart, Mark, write_gantt
from stack.simulator.report.page import label, page, percent, table

CHART = Chart(
    "A title",
    ("one", "two", "x" * 80),
    (Bar(0, 0, 60_000, "#0072B2"), Bar(1, 30_000, 30_001, "#D55E00", hatch="//", edge="#D55E00")),
    (Mark(30_000, "here"), Mark(59_000, "there", right=True)),
    (("#0072B2", "", "sends"),),
    "a note",
)


@pytest.mark.parametrize("ending", [".png", ".svg", ".html"])
def test_a_chart_is_the_same_each_time(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"chart{ending}"
    write_gantt([CHART, CHART], 0, 60_000, path, ["<p>more</p>"])
    first = path.read_bytes()
    write_gantt([CHART, CHART], 0, 60_000, path, ["<p>more</p>"])
    assert path.read_bytes() == first
    assert (b"<p>more</p>" in first) == (ending == ".html")


def test_charts_that_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.png, \.svg or \.html"):
        write_gantt([CHART], 0, 1, tmp_path / "chart.pdf")
    full = Chart("", tuple(map(str, range(ROWS_MAX))), ())
    write_gantt([full], 0, 1000, tmp_path / "chart.svg")
    with pytest.raises(ConfigError, match="rows"):
        write_gantt([full, Chart("", ("one more",), ())], 0, 1000, tmp_path / "chart.svg")


def test_what_comes_from_names_is_no_html() -> None:
    text = page("<b>", [table(("<i>",), [("<script>",)]), ""])
    assert "<b>" not in text
    assert "<i>" not in text
    assert "<script>" not in text
    assert (percent(None), percent(0.5)) == ("–", "50.0%")


def test_names() -> None:
    assert label("dtn://gs1/") == "gs1"
    assert label("ipn:5.0") == "ipn:5.0"
    names = ["sat10", "sat2", "sat", "ipn:10.0", "ipn:9.0"]
    assert sorted(names, key=natural) == ["ipn:9.0", "ipn:10.0", "sat", "sat2", "sat10"]
