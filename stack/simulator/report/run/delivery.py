"""The figure of delivery: how long things took, and when they were there."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stack.simulator.loopback.results import Result
from stack.simulator.report.plotting import COLOURS, WIDTH_IN, Floats, legend, style, svg

HOUR_S = 3600.0


class Delivery:
    """Draws latencies of objects and bundles."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._groups = _latencies(result)

    def svg(self) -> str:
        """The figure; empty when nothing arrived."""
        if not any(len(values) for values, _ in self._groups.values()):
            return ""
        with style():
            figure = Figure(figsize=(WIDTH_IN, 3.4), layout="constrained")
            axes = figure.subplots()
            self._distribution(axes)
            return svg(figure)

    def _distribution(self, axes: Axes) -> None:
        """What share of each kind was there after which time; what never arrived counts."""
        for place, (name, (values, sent)) in enumerate(self._groups.items()):
            if not sent:
                continue
            ordered = np.sort(values)
            share = np.arange(1, len(ordered) + 1) / sent
            # A step up at each arrival, from the first on.
            x = np.concatenate((ordered[:1], ordered))
            y = np.concatenate((np.zeros(min(1, len(share))), share))
            axes.step(
                x,
                100.0 * y,
                where="post",
                color=COLOURS[place % len(COLOURS)],
                lw=1.5,
                label=f"{name}: {len(ordered):,} of {sent:,}{_middle(ordered)}",
            )
        axes.set_xscale("log")
        axes.set_ylim(0, 101)
        axes.set_ylabel("% arrived")
        axes.set_xlabel("time from handing over to verified arrival")
        low, high = axes.get_xlim()
        marks = [
            (0.1, "0.1 s"),
            (1.0, "1 s"),
            (10.0, "10 s"),
            (60.0, "1 min"),
            (600.0, "10 min"),
            (HOUR_S, "1 h"),
            (3 * HOUR_S, "3 h"),
            (6 * HOUR_S, "6 h"),
            (12 * HOUR_S, "12 h"),
            (24 * HOUR_S, "1 d"),
            (72 * HOUR_S, "3 d"),
        ]
        shown = [(at, text) for at, text in marks if low <= at <= high]
        if len(shown) > 1:
            axes.set_xticks([at for at, _ in shown], [text for _, text in shown])
            axes.minorticks_off()
        axes.set_title("How long it took (share of all that was handed over)")
        legend(axes)


def _latencies(result: Result) -> dict[str, tuple[Floats, int]]:
    """By kind of object and traffic task: seconds of what arrived, and how many were sent."""
    found: dict[str, tuple[Floats, int]] = {}
    for kind in ("input", "result", "file", "message"):
        own = [one for one in result.objects if one.kind == kind]
        if own:
            took = [one.arrived_s - one.sent_s for one in own if one.arrived_s is not None]
            found[f"{kind}s"] = (np.maximum(np.array(took), 1e-3), len(own))
    for row in result.traffic:
        values = result.series.latency_s.get(row.task, np.zeros(0))
        found[row.task] = (np.maximum(values, 1e-3), row.count)
    return found


def _middle(ordered: Floats) -> str:
    if not len(ordered):
        return ""
    middle = float(np.median(ordered))
    if middle >= HOUR_S:
        return f", median {middle / HOUR_S:.1f} h"
    return f", median {middle / 60:.1f} min" if middle >= 60 else f", median {middle:.2g} s"
