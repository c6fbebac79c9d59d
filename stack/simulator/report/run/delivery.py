"""The figure of delivery: how long things took, and when they were there."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stack.core.units import duration_text
from stack.simulator.loopback.results import Result
from stack.simulator.report.plotting import COLOURS, SMALL_IN, Floats, picture, style

HOUR_S = 3600.0


class DeliveryPlots:
    """Draws latencies of objects and bundles."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._groups = _latencies(result)

    def picture(self) -> str:
        """The figure; empty when nothing arrived."""
        if not any(len(values) for values, _ in self._groups.values()):
            return ""
        with style(small=True):
            figure = Figure(figsize=(SMALL_IN, 3.6), layout="constrained")
            axes = figure.subplots()
            self._distribution(axes)
            return picture(figure, self._words(), times=False)

    def _words(self) -> str:
        each = "; ".join(
            f"{name}: {len(values):,} of {sent:,}{_middle(values, sent)}"
            for name, (values, sent) in self._groups.items()
        )
        return f"Share of what was handed over that had arrived, by time since then. {each}"

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
                label=f"{name}: {len(ordered):,} of {sent:,}{_middle(ordered, sent)}",
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
        room = 0.055 * np.log10(high / low)
        shown: list[tuple[float, str]] = []
        for at, text in marks:
            if low <= at <= high and (not shown or np.log10(at / shown[-1][0]) > room):
                shown.append((at, text))
        if len(shown) > 1:
            axes.set_xticks([at for at, _ in shown], [text for _, text in shown])
            axes.minorticks_off()
        axes.set_title("How long it took (share of all that was handed over)")
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2))


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


def _middle(ordered: Floats, sent: int) -> str:
    """Within what time half of all that was sent was there, if it ever was."""
    if not len(ordered) or 2 * len(ordered) < sent:
        return ""
    return f", half within {duration_text(float(np.quantile(ordered, 0.5 * sent / len(ordered))))}"
