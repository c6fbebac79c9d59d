"""Time charts: rows of bars over UTC, for contacts, passes and objects on their way."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from stack.core.errors import ConfigError
from stack.simulator.report.page import page
from stack.simulator.report.plotting import DARK, WIDTH_IN, TimeAxis, picture, style, svg

ROWS_MAX = 120
"""Most rows of a chart; more cannot be read on a page."""

ROW_IN = 0.27
"""Height of a row in inches: a line of text of nine points, and air."""

PNG_DPI = 150
"""Dots per inch of pictures: 1650 wide."""

LABEL_CHARS_MAX = 44
"""Longest name of a row; what is longer is cut in the middle."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A period on a row."""

    row: int
    start_ms: int
    end_ms: int
    colour: str
    height: float = 0.62
    """Share of the row's height."""

    hatch: str = ""
    edge: str = ""
    """Colour of its outline, which keeps bars of seconds visible on a day; empty: none."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment across all rows, with a word above."""

    at_ms: int
    text: str
    colour: str = DARK
    right: bool = False
    """The word stands to the left of the line: for marks near the right end."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Rows of bars."""

    title: str
    rows: tuple[str, ...]
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...] = ()
    key: tuple[tuple[str, str, str], ...] = ()
    """The legend: colour, hatch, words."""

    note: str = ""
    """A line below the title."""


def draw_gantt(charts: Sequence[Chart], start_ms: int, end_ms: int) -> Figure:
    """Charts one below another over one time axis.  To be called within `style()`."""
    time = TimeAxis(start_ms)
    rows = [max(1, len(chart.rows)) for chart in charts]
    height = sum(rows) * ROW_IN + 0.75 * len(charts) + 0.5
    figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
    axes = figure.subplots(
        len(charts), 1, sharex=True, squeeze=False, height_ratios=[r + 1.2 for r in rows]
    )[:, 0]
    for chart, one in zip(charts, axes, strict=True):
        _draw(one, chart, time, start_ms)
    time.show(axes[-1], 0.0, (end_ms - start_ms) / 1000)
    return figure


def _draw(axes: Axes, chart: Chart, time: TimeAxis, start_ms: int) -> None:
    looks: dict[tuple[int, str, float, str, str], list[tuple[float, float]]] = {}
    for bar in chart.bars:
        start = float(time.days((bar.start_ms - start_ms) / 1000))
        length = (bar.end_ms - bar.start_ms) / 86_400_000
        look = (bar.row, bar.colour, bar.height, bar.hatch, bar.edge)
        looks.setdefault(look, []).append((start, length))
    for (row, colour, height, hatch, edge), spans in looks.items():
        axes.broken_barh(
            spans,
            (row - height / 2, height),
            facecolors=colour,
            hatch=hatch or None,
            edgecolor=edge or ("#FFFFFF" if hatch else colour),
            linewidth=0.9 if edge else 0.0,
        )
    for mark in chart.marks:
        at = float(time.days((mark.at_ms - start_ms) / 1000))
        axes.axvline(at, color=mark.colour, lw=1.1, ls="--")
        axes.annotate(
            mark.text,
            (at, -0.62),
            xytext=(-4 if mark.right else 4, 0),
            textcoords="offset points",
            ha="right" if mark.right else "left",
            va="center",
            color=mark.colour,
            fontsize=8,
            annotation_clip=False,
        )
    axes.set_yticks(range(len(chart.rows)), [_fitting(row) for row in chart.rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(chart.rows) - 0.45, -1.0 if chart.marks else -0.6)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_title(chart.title + (f"\n{chart.note}" if chart.note else ""))
    if chart.key:
        handles = [
            Patch(facecolor=colour, hatch=hatch or None, edgecolor="#FFFFFF", label=text)
            for colour, hatch, text in chart.key
        ]
        axes.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.02), borderaxespad=0.4
        )


def _fitting(text: str) -> str:
    if len(text) <= LABEL_CHARS_MAX:
        return text
    half = LABEL_CHARS_MAX // 2 - 1
    return f"{text[:half]}…{text[-half:]}"


def write_gantt(
    charts: Sequence[Chart], start_ms: int, end_ms: int, path: Path, parts: Sequence[str] = ()
) -> None:
    """Write charts as a picture or a page: .png, .svg or .html.  `parts` is HTML that stands
    below them on the page.

    Raises `ConfigError` for another ending or too many rows, `OSError` when it cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in (".png", ".svg", ".html"):
        raise ConfigError(str(path), "no picture ends like this", "name it .png, .svg or .html")
    if sum(len(chart.rows) for chart in charts) > ROWS_MAX:
        raise ConfigError(str(path), f"more than {ROWS_MAX} rows", "choose fewer nodes")
    with style():
        figure = draw_gantt(charts, start_ms, end_ms)
        if kind == ".png":
            out = io.BytesIO()
            figure.savefig(out, format="png", dpi=PNG_DPI, metadata={"Software": None})
            path.write_bytes(out.getvalue())
            return
        if kind == ".svg":
            path.write_text(svg(figure), encoding="utf-8")
            return
        title = charts[0].title if charts else "Contacts"
        drawn = picture(figure, f"Time chart: {title}. {_words(charts)}")
    path.write_text(page(title, (drawn, *parts)), encoding="utf-8")


def _words(charts: Sequence[Chart]) -> str:
    return " ".join(
        f"{len(chart.rows)} rows; {'; '.join(mark.text for mark in chart.marks)}."
        for chart in charts
    )


def heading(text: str) -> str:
    """A heading of a page."""
    return f"<h2>{escape(text)}</h2>"
