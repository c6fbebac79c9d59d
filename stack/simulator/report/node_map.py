"""The map of nodes: what each is to data, where it stands or flies, and the paths of the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from stack.core.units import count_text
from stack.simulator.report.earth import GroundTracks, broken, draw_earth, east_of
from stack.simulator.report.nodes import MapHop, MapPath, NodeKind, Places
from stack.simulator.report.page import capital, label
from stack.simulator.report.plotting import DARK, GREY, RED, SMALL_IN, Floats, picture, style

ORBIT_MS = 6_000_000
"""For how long a ground track is drawn, and data is followed aboard a satellite."""

TRACKS_MAX, NAMED_MAX, SAID_MAX = 12, 40, 40
"""Most satellites whose track is drawn, most nodes whose names are, and most that the words for
who does not see the map tell of."""

MAP_IN, KEY_IN = 4.4, 0.21
"""Heights of the map with its title, and of a line of its key."""

LETTER_DEG, LINE_DEG = 3.1, 8.5
"""About the size of a letter of a name on the map."""


Box: TypeAlias = tuple[float, float, float, float]
"""Least longitude and latitude, greatest longitude and latitude."""


def node_map(
    places: Places,
    kinds: Mapping[str, tuple[NodeKind, str]],
    paths: Sequence[MapPath],
    start_ms: int,
    title: str,
) -> str:
    """The map as a figure of a page; empty where nobody's place is known.

    `kinds` says of each node what it is, and in a word why; satellites stand where they are when
    data comes to them, or at the start.
    """
    shown = {name: kind for name, kind in kinds.items() if name in places.nodes}
    return _NodeMap(places, shown, paths, start_ms, title).picture() if shown else ""


class _NodeMap:
    def __init__(
        self,
        places: Places,
        kinds: Mapping[str, tuple[NodeKind, str]],
        paths: Sequence[MapPath],
        start_ms: int,
        title: str,
    ) -> None:
        self._places, self._kinds, self._paths = places, kinds, paths
        self._start_ms, self._title = start_ms, title
        flying = {name: craft for name, craft in places.satellites.items() if name in kinds}
        self._flying = flying
        self._tracks = GroundTracks(flying)
        self._names: list[Box] = []
        self._lines: list[Box] = []
        self._at_ms: dict[str, int] = {}
        for path in reversed(paths):
            for hop in reversed(path.hops):
                self._at_ms[hop.giver] = self._at_ms[hop.taker] = hop.at_ms

    def picture(self) -> str:
        """The figure."""
        with style(small=True):
            keys = self._keys()
            height_in = MAP_IN + KEY_IN * ((len(keys) + 1) // 2)
            figure = Figure(figsize=(SMALL_IN, height_in), layout="constrained")
            axes = figure.subplots()
            draw_earth(axes)
            for path in self._paths:
                self._path(axes, path)
            self._nodes(axes)
            axes.legend(handles=keys, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncol=2)
            axes.set_title(self._title)
            return picture(figure, self._words(), times=False)

    def _where(self, node: str, at_ms: float) -> tuple[float, float] | None:
        """Longitude and latitude, degrees; None if they are not known."""
        if node in self._flying:
            longitude, latitude = self._tracks.below(node, np.array([float(at_ms)]))
            here = float(longitude[0]), float(latitude[0])
            return here if np.isfinite(here).all() else None
        station = self._places.stations.get(node)
        if station is None:
            return None
        return east_of(station.longitude_deg), station.latitude_deg

    def _nodes(self, axes: Axes) -> None:
        for number, (node, (kind, why)) in enumerate(self._kinds.items()):
            at_ms = self._at_ms.get(node, self._start_ms)
            here = self._where(node, at_ms)
            if here is None:
                continue
            aboard = node in self._flying
            if aboard and len(self._flying) <= TRACKS_MAX:
                track = self._tracks.line(node, at_ms - ORBIT_MS / 2, at_ms + ORBIT_MS / 2)
                axes.plot(*track, color=kind.colour, lw=0.7, alpha=0.6, zorder=2)
            face = "#FFFFFF" if aboard and kind.form not in "xX" else kind.colour
            edge = kind.colour if aboard or kind.form == "x" else "#FFFFFF"
            axes.plot(
                *here,
                kind.form,
                mfc=face,
                mec=edge,
                ms=8,
                mew=0.8 if edge == "#FFFFFF" else 1.6,
                zorder=7 if node in self._at_ms else 6,
            )
            if number < NAMED_MAX:
                text = f"{label(node)}\n{why}" if why else label(node)
                _name(axes, here, text, self._names, self._lines)

    def _path(self, axes: Axes, path: MapPath) -> None:
        colour, dashes = (RED, "--") if path.refused else (DARK, "-")
        carried: dict[str, int] = {}
        for giver, taker, at_ms in path.hops:
            since_ms = carried.get(giver)
            if giver in self._flying and since_ms is not None and at_ms - since_ms <= ORBIT_MS:
                aboard = self._tracks.line(giver, since_ms, at_ms)
                axes.plot(*aboard, color=colour, lw=2.0, ls=":", zorder=5)
            carried[taker] = at_ms
            ends = self._where(giver, at_ms), self._where(taker, at_ms)
            if ends[0] is None or ends[1] is None or ends[0] == ends[1]:
                continue
            longitude, latitude = broken(*_shortest(ends[0], ends[1]))
            axes.plot(longitude, latitude, color=colour, lw=1.6, ls=dashes, zorder=4)
            self._lines += [(x, y, x, y) for x, y in zip(longitude, latitude, strict=True)]
            if taker in self._flying:
                axes.plot(*ends[1], "o", mfc="#FFFFFF", mec=colour, ms=5, zorder=5)
            middle = len(longitude) // 2
            axes.annotate(
                "",
                (longitude[middle + 1], latitude[middle + 1]),
                xytext=(longitude[middle - 1], latitude[middle - 1]),
                arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.6},
                zorder=5,
            )

    def _keys(self) -> list[Line2D]:
        kinds = dict.fromkeys(kind for kind, _ in self._kinds.values())
        handles = [
            Line2D([], [], marker=kind.form, ls="none", color=kind.colour, label=kind.words)
            for kind in kinds
        ]
        if self._flying:
            words = "satellite (open mark), ground track"
            handles.append(Line2D([], [], marker="o", mfc="#FFFFFF", color=GREY, label=words))
        for path in self._paths:
            colour, dashes = (RED, "--") if path.refused else (DARK, "-")
            handles.append(Line2D([], [], ls=dashes, color=colour, label=path.words))
        return handles

    def _words(self) -> str:
        """What the map shows."""
        many = [
            f"{count_text(len(ours), place)}"
            for place, ours in (
                ("station", self._kinds.keys() - self._flying.keys()),
                ("satellite", self._flying),
            )
            if ours
        ]
        said = "; ".join(
            f"{label(node)}: {kind.words}" + (f" ({why})" if why else "")
            for node, (kind, why) in list(self._kinds.items())[:SAID_MAX]
        )
        paths = " ".join(f"{capital(one.words)}: {_chain(one.hops)}." for one in self._paths)
        return f"World map of {' and '.join(many)}. {self._title}. {said}. {paths}"


def _chain(hops: Iterable[MapHop]) -> str:
    return ", ".join(f"{label(giver)} to {label(taker)}" for giver, taker, _ in hops)


def _name(
    axes: Axes, here: tuple[float, float], text: str, names: list[Box], lines_drawn: Sequence[Box]
) -> None:
    """Write a name beside a mark: where no other name stands, and the fewest lines run."""
    lines = text.split("\n")
    width, height = LETTER_DEG * max(map(len, lines)), LINE_DEG * len(lines)

    def box(right: bool, above: bool) -> Box:
        left = here[0] + 4 if right else here[0] - 4 - width
        low = here[1] if above else here[1] - height
        return left, low, left + width, low + height

    def clashes(one: Box) -> tuple[bool, int, int]:
        outside = one[0] < -180 or one[2] > 180 or one[1] < -90 or one[3] > 90
        return outside, _touched(one, names), _touched(one, lines_drawn)

    sides = [(True, True), (True, False), (False, True), (False, False)]
    right, above = min(sides, key=lambda side: clashes(box(*side)))
    names.append(box(right, above))
    axes.annotate(
        text,
        here,
        xytext=(7 if right else -7, 3 if above else -3),
        textcoords="offset points",
        ha="left" if right else "right",
        va="bottom" if above else "top",
        fontsize=10,
        linespacing=1.05,
        path_effects=[withStroke(linewidth=2.2, foreground="#FFFFFF")],
        zorder=7,
    )


def _touched(one: Box, others: Sequence[Box]) -> int:
    return sum(
        one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
        for other in others
    )


def _shortest(start: tuple[float, float], end: tuple[float, float]) -> tuple[Floats, Floats]:
    """Longitudes and latitudes of the great circle between two places."""
    (a, b), share = (_unit(*start), _unit(*end)), np.linspace(0.0, 1.0, 61)[:, None]
    angle = float(np.arccos(np.clip(a @ b, -1.0, 1.0)))
    if angle < 1e-6:
        return np.array([start[0], end[0]]), np.array([start[1], end[1]])
    points = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
    x, y, z = points.T
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


def _unit(longitude_deg: float, latitude_deg: float) -> Floats:
    east, north = np.radians(longitude_deg), np.radians(latitude_deg)
    return np.array([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])
