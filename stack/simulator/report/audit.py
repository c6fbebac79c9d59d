"""One page about where data was: a map of the nodes that had it, a time line, and what is wrong."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from stack.audit.story import Stay, Story, places
from stack.core.units import count_text
from stack.simulator.report.page import label, page, second_of, table

WIDTH, ROW, LEFT = 960, 22, 150
"""Pixels: of a figure, of a row of a time line, and of the names before it."""

STORIES_MAX = 200
"""Objects on one page; what does not fit together comes first."""

ENTRIES_MAX = 500

COLOURS = {True: "#3B6EA5", False: "#B3402E"}
"""Of what is as it may be, and of nodes that are named in a violation."""

LAND, SEA = "#DCE1D4", "#F4F7FA"


def audit_page(stories: Sequence[Story], where: Mapping[str, tuple[float, float]]) -> str:
    """The page.  `where` gives latitude and longitude of stations, degrees."""
    wrong = [story for story in stories if not story.sound]
    shown = [*wrong, *(story for story in stories if story.sound)][:STORIES_MAX]
    many = count_text(len(stories), "object")
    words = f"{many}, {len(wrong)} of which do not fit together or to their policy."
    if len(shown) < len(stories):
        words += f" {len(shown)} are shown."
    parts = [f"<p>{escape(words)}</p>", _map(shown, where)]
    for story in shown:
        parts += _story(story)
    return page("Where data was", parts)


def _story(story: Story) -> Iterable[str]:
    yield f"<h2>{escape(story.object)}</h2>"
    if story.policy is not None:
        yield f"<p>It may rest at <code>{escape(str(story.policy.rest))}</code>.</p>"
    for word, found in (
        ("Violation", story.violations),
        ("Contradiction", story.contradictions),
        ("Gap", story.gaps),
    ):
        yield "".join(f"<p><b>{word}:</b> {escape(each)}</p>" for each in found)
    yield _line(story)
    yield table(
        ("time", "node", "what", "with", "detail"),
        [
            (
                second_of(event.time_ms),
                label(event.node),
                ", ".join(event.names),
                label(event.peer),
                event.detail,
            )
            for event, _, _ in story.entries[:ENTRIES_MAX]
        ],
    )


def _line(story: Story) -> str:
    """A row for each node, a bar for each time that it was there."""
    if not story.stays:
        return ""
    first = min(stay.since_ms for stay in story.stays)
    ends = [stay.until_ms or stay.since_ms for stay in story.stays]
    last = max(*ends, story.entries[-1].event.time_ms, first + 1)
    rows = places(story)
    marks = []
    for row, (node, stays) in enumerate(rows.items()):
        y = row * ROW
        colour = COLOURS[not _blamed(story, node)]
        marks.append(f'<text x="0" y="{y + 15}" font-size="12">{escape(label(node))}</text>')
        marks += [_bar(stay, first, last, y, colour) for stay in stays]
    height = len(rows) * ROW
    marks.append(f'<text x="{LEFT}" y="{height + 14}" font-size="11">{second_of(first)}</text>')
    marks.append(
        f'<text x="{WIDTH}" y="{height + 14}" font-size="11" text-anchor="end">'
        f"{second_of(last)}</text>"
    )
    return _svg(WIDTH, height + 20, marks, "When it was where")


def _bar(stay: Stay, first: int, last: int, y: int, colour: str) -> str:
    scale = (WIDTH - LEFT) / (last - first)
    begin = LEFT + (stay.since_ms - first) * scale
    end = WIDTH if stay.until_ms is None else LEFT + (stay.until_ms - first) * scale
    until = "still there" if stay.until_ms is None else second_of(stay.until_ms)
    title = f"{stay.node}: {stay.object}, {second_of(stay.since_ms)} to {until}"
    return (
        f'<rect x="{begin:.1f}" y="{y + 4}" width="{max(end - begin, 2):.1f}" height="{ROW - 8}"'
        f' fill="{colour}"><title>{escape(title)}</title></rect>'
    )


def _map(stories: Sequence[Story], where: Mapping[str, tuple[float, float]]) -> str:
    """The nodes that had something, on the ground where that is known, and who gave to whom."""
    had = {node for story in stories for node in places(story)}
    points = {node: _point(*where[node]) for node in sorted(had & where.keys())}
    if not points:
        return ""
    file = importlib.resources.files(__package__).joinpath("land.json")
    marks = [f'<rect width="{WIDTH}" height="{WIDTH // 2}" fill="{SEA}"/>']
    for ring in json.loads(file.read_text("utf-8"))["land"]:
        corners = (_point(lat, lon) for lon, lat in zip(ring[::2], ring[1::2], strict=True))
        path = " ".join(f"{x:.0f},{y:.0f}" for x, y in corners)
        marks.append(f'<polygon points="{path}" fill="{LAND}"/>')
    given = {
        (event.node, event.peer)
        for story in stories
        for event, _, _ in story.entries
        if event.node in points and event.peer in points and event.node != event.peer
    }
    for giver, taker in sorted(given):
        (x1, y1), (x2, y2) = points[giver], points[taker]
        marks.append(f'<path d="M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}" stroke="#8A929C"/>')
    for node, (x, y) in points.items():
        good = not any(_blamed(story, node) for story in stories)
        marks.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5" fill="{COLOURS[good]}"/>')
        marks.append(
            f'<text x="{x + 8:.0f}" y="{y + 4:.0f}" font-size="12">{escape(label(node))}</text>'
        )
    rest = sorted(map(label, had - where.keys()))
    words = f"<p>Not on the ground, or nobody said where: {escape(', '.join(rest))}.</p>"
    return _svg(WIDTH, WIDTH // 2, marks, "Where it was") + (words if rest else "")


def _point(latitude_deg: float, longitude_deg: float) -> tuple[float, float]:
    return (longitude_deg + 180) / 360 * WIDTH, (90 - latitude_deg) / 360 * WIDTH


def _blamed(story: Story, node: str) -> bool:
    """Whether a violation is of this node."""
    return any(f" {node}: " in why or f" {node}," in why for why in story.violations)


def _svg(width: int, height: int, marks: Iterable[str], title: str) -> str:
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}"'
        f' xmlns="http://www.w3.org/2000/svg">{"".join(marks)}</svg></figure>'
    )
