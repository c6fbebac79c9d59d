"""The chart of volumes: whose bars they are can be read."""

from __future__ import annotations

import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stack.simulator.report.plan.figures import draw_volumes
from stack.simulator.report.plotting import SMALL_IN, style


@pytest.mark.parametrize(
    ("count", "name"),
    [(3, "punta-arenas"), (10, "punta-arenas"), (13, "s"), (50, "sat"), (100, "sat")],
)
def test_names_of_nodes_do_not_lie_upon_one_another(count: int, name: str) -> None:
    nodes = [f"dtn://{name}{number}/" for number in range(count)]
    with style(small=True):
        figure = Figure(figsize=(SMALL_IN, 2.8), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        draw_volumes(axes, nodes, [(0, dict.fromkeys(nodes, (2.0, 1.0)))], "Nodes")
        figure.draw_without_rendering()
        # Letters of names that stand upright are less tall than their line.
        boxes = [text.get_window_extent() for text in axes.get_xticklabels()]
    assert len(boxes) >= min(count, 25)
    for one, following in itertools.pairwise(boxes):
        assert one.x0 + 0.7 * one.width <= following.x0
