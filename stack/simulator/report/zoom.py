"""Time charts that a page can zoom: what a drawing consists of, for zoom.js and uPlot."""

from __future__ import annotations

import json
from html import escape
from typing import Any, Final

import numpy as np
from matplotlib import cbook
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

DAY_S: Final = 86_400.0
PIXELS_PER_INCH: Final = 96
AXIS_PIXELS: Final = 54
"""What a time axis takes below each chart."""

VERTICAL: Final = {"top": "top", "center": "middle", "bottom": "bottom", "baseline": "alphabetic"}


def zoomable(figure: Figure) -> str:
    """What zoom.js draws: JSON for an attribute in single quotation marks, of a drawing whose
    charts share a time axis.

    To be called when the drawing has been written, which is when it gets its layout.
    """
    low, high = (float(end) * DAY_S for end in figure.axes[0].get_xlim())
    panels = [_Panel(axes, low).spec() for axes in figure.axes]
    whole = {"start": round(low, 3), "end": round(high, 3), "panels": panels}
    text = json.dumps(whole, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return escape(text, quote=False).replace("'", "&#39;")


class _Panel:
    """One chart of a drawing: lines, areas, bars and words, in seconds from the start."""

    def __init__(self, axes: Any, start_s: float) -> None:
        self._axes = axes
        self._start_s = start_s
        bottom, top = axes.get_ylim()
        # Rows are counted downwards.
        self._turn = -1.0 if bottom > top else 1.0
        self._y = sorted((bottom * self._turn, top * self._turn))

    def spec(self) -> dict[str, Any]:
        """What zoom.js draws."""
        axes = self._axes
        inches = axes.get_position().height * axes.figure.get_size_inches()[1]
        return {
            "title": axes.get_title(loc="left"),
            "unit": axes.get_ylabel(),
            "height": max(80, round(inches * PIXELS_PER_INCH)) + AXIS_PIXELS,
            "y": self._y,
            "log": axes.get_yscale() == "log",
            "rows": not axes.yaxis.get_gridlines()[0].get_visible(),
            "ticks": self._ticks(),
            "key": self._key(),
            "items": [*self._areas(), *self._lines(), *self._words()],
        }

    def _ticks(self) -> list[tuple[float, str]]:
        low, high = self._y
        found = []
        for at, label in zip(self._axes.get_yticks(), self._axes.get_yticklabels(), strict=True):
            place, text = float(at) * self._turn, label.get_text()
            if low <= place <= high:
                # Powers of ten come as mathematics.
                found.append((place, f"{at:g}" if "$" in text else text))
        return found

    def _key(self) -> list[tuple[str, str, str]]:
        legend = self._axes.get_legend()
        if legend is None:
            return []
        found = []
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            drawn: Any = handle
            line = isinstance(handle, Line2D)
            colour: Any = drawn.get_color() if line else np.ravel(drawn.get_facecolor())[:3]
            shade = to_hex(to_rgba(colour, drawn.get_alpha()), keep_alpha=True)
            kind = ("line" if drawn.get_linestyle() == "-" else "dash") if line else "patch"
            found.append((shade, kind, text.get_text()))
        return found

    def _areas(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for patch in self._axes.patches:
            # Of the whole height: axvspan.
            start, end = self._x([patch.get_x(), patch.get_x() + patch.get_width()])
            look = _look(patch.get_facecolor())
            found.append({"k": "bars", **look, "b": [[start, end, None, None]]})
        for one in self._axes.collections:  # bars, and what is filled
            look = _look(one.get_facecolor()[0], one.get_alpha())
            bars = []
            for path in one.get_paths():
                x, y = np.asarray(path.vertices, float).T
                if len(x) <= 5:
                    spans = [float(at) for at in (y.min() * self._turn, y.max() * self._turn)]
                    bars.append([*self._x([x.min(), x.max()]), *sorted(spans)])
                else:
                    found.append({"k": "area", **look, **self._points(x, y)})
            if bars:
                found.append({"k": "bars", **look, "b": bars})
        return found

    def _lines(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for line in self._axes.lines:
            look: dict[str, Any] = _look(line.get_color(), line.get_alpha())
            look["w"] = line.get_linewidth()
            dashes = {"--": [5, 4], ":": [2, 3]}.get(line.get_linestyle())
            if dashes:
                look["d"] = dashes
            x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
            if line.get_transform() != self._axes.transData:  # of the whole height: axvline
                found.append({"k": "line", **look, "x": self._x(x), "y": self._y})
                continue
            if line.get_marker() == "|":
                y = np.array([y[0] - 0.35, y[0] + 0.35])
                x = np.repeat(x, 2)
            elif len(x) and line.get_drawstyle() != "default":
                x, y = cbook.STEP_LOOKUP_MAP[line.get_drawstyle()](x, y)
            name = str(line.get_label())
            named = {} if name.startswith("_") else {"n": name}
            found.append({"k": "line", **look, **named, **self._points(x, y)})
        return found

    def _words(self) -> list[dict[str, Any]]:
        found = []
        for text in self._axes.texts:
            x, y = getattr(text, "xy", text.get_position())
            offset = text.get_position()[0] if hasattr(text, "xy") else 0.0
            (at,) = self._x([x])
            found.append(
                {
                    "k": "text",
                    **_look(text.get_color()),
                    "x": at,
                    "y": float(y) * self._turn,
                    "s": text.get_text(),
                    "h": text.get_horizontalalignment(),
                    "v": VERTICAL[text.get_verticalalignment()],
                    "o": offset,
                }
            )
        return found

    def _x(self, days: ArrayLike) -> list[float]:
        seconds = np.asarray(days, float) * DAY_S - self._start_s
        return [float(at) for at in np.round(seconds, 2)]

    def _points(self, x: Any, y: Any) -> dict[str, list[Any]]:
        """A line without the points in the middle of what is level."""
        x, y = np.asarray(x, float), np.asarray(y, float) * self._turn
        if len(y) > 2:
            level = np.concatenate(([False], (y[1:-1] == y[:-2]) & (y[1:-1] == y[2:]), [False]))
            x, y = x[~level], y[~level]
        shown = [float(f"{value:.4g}") if np.isfinite(value) else None for value in y]
        return {"x": self._x(x), "y": shown}


def _look(colour: Any, alpha: float | None = None) -> dict[str, Any]:
    """A colour, and how much covers what lies below."""
    own = float(colour[3]) if not isinstance(colour, str) and len(colour) == 4 else 1.0
    return {"c": to_hex(colour), "a": own if alpha is None else alpha}
