"""What all figures of a report share: style, time axis, and SVG that is the same each time."""

from __future__ import annotations

import contextlib
import datetime
import io
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
import matplotlib.dates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from link_models.channel import Window
from stack.core.clock import SECOND, unix_from_dtn
from stack.core.units import rate_text
from stack.simulator.report.page import ZOOMED
from stack.simulator.report.zoom import zoomable

Floats = NDArray[np.float64]

# Okabe and Ito's palette, which readers with any colour vision can tell apart, and four of Tol's.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#332288", "#882255", "#117733", "#999933"),
)
GREY, RED, DARK = "#B8BEC6", "#C0392B", "#555555"

WIDTH_IN = 11.0
SMALL_IN = 8.0
"""Widths of figures over time, and of the others."""

DATES: Any = matplotlib.dates  # has no types

STYLE: Any = {
    "svg.hashsalt": "orbitferry",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#D5DAE0",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "path.simplify": True,
    "timezone": "UTC",
}


SMALL_STYLE: Any = {"font.size": 10.5, "axes.titlesize": 11, "legend.fontsize": 9.5}


@contextlib.contextmanager
def style(*, small: bool = False) -> Iterator[None]:
    """The style of all figures, whatever the user's own settings are; `small` ones have larger
    letters, which can still be read on a telephone."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE | (SMALL_STYLE if small else {}))
        yield


class TimeAxis:
    """Seconds of a run as UTC on an axis."""

    def __init__(self, start_ms: int) -> None:
        """`start_ms` is the DTN time of the start."""
        start = datetime.datetime.fromtimestamp(unix_from_dtn(start_ms), datetime.UTC)
        self._start_days = float(DATES.date2num(start))

    def days(self, seconds: Any) -> Any:
        """Seconds as matplotlib's dates."""
        return self._start_days + np.asarray(seconds, np.float64) / 86_400.0

    def ends(self, start_ns: float, end_ns: float) -> tuple[float, float]:
        """A time span, given in nanoseconds, as matplotlib's dates."""
        return float(self.days(start_ns / SECOND)), float(self.days(end_ns / SECOND))

    def show(self, axes: Axes, start_s: float, end_s: float) -> None:
        """Let an axis show a time span."""
        locator = DATES.AutoDateLocator(minticks=6, maxticks=14)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(DATES.ConciseDateFormatter(locator))
        axes.set_xlim(float(self.days(start_s)), float(self.days(end_s)))
        axes.set_xlabel("UTC")


def scale_of(most: float, unit: str) -> tuple[float, str]:
    """By what an axis up to `most` is divided, and the unit that it then has."""
    for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if most >= scale:
            return scale, prefix + unit
    return 1.0, unit


def steps(windows: Sequence[Window]) -> tuple[Floats, Floats]:
    """The rate of windows over time, for a line that falls to zero between them."""
    times: list[float] = []
    rates: list[float] = []
    for window in windows:
        start, end = window.start_ns / SECOND, window.end_ns / SECOND
        times += [start, start, end, end]
        rates += [0.0, window.rate_bps, window.rate_bps, 0.0]
    return np.array(times), np.array(rates)


def log_rates(axes: Axes) -> None:
    """Let an axis show bits per second, logarithmically; each number on it has its own unit."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: rate_text(value))
    axes.set_ylabel("bit/s", visible=False)


def rate_of(times_s: Floats, octets: Floats) -> tuple[Floats, Floats]:
    """Bits per second between samples, at the middles of the times.  Samples that follow each
    other quickly count as one: what comes in bursts has no rate in a hundredth of a second."""
    if len(times_s) < 2:
        return np.zeros(0), np.zeros(0)
    step_s = 0.5 * float(np.median(np.diff(times_s)))
    kept = [0]
    for place, at in enumerate(times_s):
        if at - times_s[kept[-1]] > step_s:
            kept.append(place)
    times_s, octets = times_s[kept], octets[kept]
    middle: Floats = (times_s[1:] + times_s[:-1]) / 2
    return middle, (octets[1:] - octets[:-1]) * 8 / (times_s[1:] - times_s[:-1])


def legend(axes: Axes) -> None:
    """The legend, to the right of the axes."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), borderaxespad=0.4)


def key(axes: Axes, entries: list[tuple[str, str]]) -> None:
    """A legend of coloured patches."""
    handles = [Patch(color=colour, label=text) for colour, text in entries]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.02), borderaxespad=0.4)


def svg(figure: Figure, *, transparent: bool = False) -> str:
    """The figure as an `svg` element without dates and versions."""
    out = io.StringIO()
    hidden = {"Date": None, "Creator": None}
    figure.savefig(out, format="svg", metadata=hidden, transparent=transparent)
    text = out.getvalue()
    return text[text.index("<svg") :]


def picture(figure: Figure, alternative: str, *, times: bool = True) -> str:
    """The figure as a part of a page, with what it shows in words for who does not see it.

    With `times` all its charts share a time axis, which the page can zoom.  To be called within
    `style()`.
    """
    words = escape(" ".join(alternative.split()))
    drawn = svg(figure, transparent=True)
    named = drawn.replace("<svg", f'<svg role="img" aria-label="{words}"', 1)
    head = f"{ZOOMED}'{zoomable(figure)}'>" if times else '<figure class="small">'
    return f'{head}<div class="still" tabindex="0">{named}</div></figure>'
