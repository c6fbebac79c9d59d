"""One page about where data was: a map of the nodes that had it, a time line, and what is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape

from stack.audit.event import Act
from stack.audit.story import Stay, Story, places
from stack.core.units import count_text
from stack.policy import Directory
from stack.policy.permissions import Permissions, permissions
from stack.simulator.report.nodes import (
    MapHop,
    MapPath,
    NodeKind,
    Places,
    permissions_table,
    place_of,
)
from stack.simulator.report.page import label, page, second_of, table

WIDTH, ROW, LEFT, LEAST = 760, 22, 130, 4
"""Pixels: of a figure, of a row of a time line, of the names before it, and of its shortest bar."""

STORIES_MAX = 200
"""Objects on one page; what does not fit together comes first."""

ENTRIES_MAX = 500

HAD = NodeKind("had it", "#0072B2", "o")
HAD_WRONGLY = NodeKind("had it, against the policy", "#D55E00", "X")
MIGHT = NodeKind("did not have it, and may", "#777777", "s")
MUST_NOT = NodeKind("did not have it, and may not", "#555555", "x")


def audit_page(
    stories: Sequence[Story],
    where: Places,
    directory: Directory | None,
    doubts: Sequence[str] = (),
) -> str:
    """The page.  `directory` says where nodes are in words of policies; `doubts` are what is wrong
    with the logs, or unknown of them."""
    wrong = [story for story in stories if not story.sound]
    shown = [*wrong, *(story for story in stories if story.sound)][:STORIES_MAX]
    policies = {story.policy for story in shown if story.policy is not None}
    nodes: list[Permissions] = []
    if directory is not None and len(policies) == 1:
        (policy,) = policies
        known = dict.fromkeys([*(str(facts.id) for facts in directory), *sorted(where.nodes)])
        nodes = [permissions(policy, directory, node) for node in known]
    had = {node for story in shown for node in places(story)}
    parts = [_verdict(stories, wrong, directory, doubts), _map(shown, had, where, nodes)]
    if len(shown) < len(stories):
        parts.append(f"<p>{len(shown)} are shown.</p>")
    if nodes:
        parts += ["<h2>Who may do what</h2>", permissions_table(nodes, had, "had it")]
    for story in shown:
        parts += _story(story)
    return page("Where data was", parts)


def _verdict(
    stories: Sequence[Story],
    wrong: Sequence[Story],
    directory: Directory | None,
    doubts: Sequence[str],
) -> str:
    unsure = "".join(f'<p class="bad">{escape(each)}</p>' for each in doubts)
    many = count_text(len(stories), "object")
    if wrong:
        words = f"{many}, {len(wrong)} of which do not fit together or to their policy."
        return f'<p class="bad">{words}</p>{unsure}'
    about = "the logs do not contradict one another, and nothing is missing"
    kept = "" if directory is None else "; every node has kept to the policy"
    words = f"{many}: {about}{kept}."
    return (
        f'<p class="bad">By these logs, {words}</p>{unsure}'
        if doubts
        else f'<p class="good">{words}</p>'
    )


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
        colour = (HAD_WRONGLY if _blamed(story, node) else HAD).colour
        marks.append(f'<text x="0" y="{y + 15}" font-size="12">{escape(label(node))}</text>')
        marks += [_bar(stay, first, last, y, colour) for stay in stays]
    height = len(rows) * ROW
    marks.append(f'<text x="{LEFT}" y="{height + 14}" font-size="11">{second_of(first)}</text>')
    marks.append(
        f'<text x="{WIDTH}" y="{height + 14}" font-size="11" text-anchor="end">'
        f"{second_of(last)}</text>"
    )
    spans = (f"{label(node)} from {second_of(stays[0].since_ms)}" for node, stays in rows.items())
    return _svg(WIDTH, height + 20, marks, f"When it was where: {', '.join(spans)}")


def _bar(stay: Stay, first: int, last: int, y: int, colour: str) -> str:
    scale = (WIDTH - LEFT) / (last - first)
    begin = min(LEFT + (stay.since_ms - first) * scale, WIDTH - LEAST)
    end = WIDTH if stay.until_ms is None else LEFT + (stay.until_ms - first) * scale
    until = "still there" if stay.until_ms is None else second_of(stay.until_ms)
    title = f"{stay.node}: {stay.object}, {second_of(stay.since_ms)} to {until}"
    width = max(end - begin, LEAST)
    return (
        f'<rect x="{begin:.1f}" y="{y + 4}" width="{width:.1f}" height="{ROW - 8}"'
        f' fill="{colour}"><title>{escape(title)}</title></rect>'
    )


def _map(
    stories: Sequence[Story], had: Collection[str], where: Places, nodes: Sequence[Permissions]
) -> str:
    """The nodes that had something, those that policies speak of, and who gave to whom."""
    if not where.nodes:
        return ""
    from stack.simulator.report.node_map import node_map

    kinds = {one.node: (MIGHT if one.holds else MUST_NOT, place_of(one)) for one in nodes}
    for node in sorted(had):
        wrongly = any(_blamed(story, node) for story in stories)
        kinds[node] = (HAD_WRONGLY if wrongly else HAD, kinds.get(node, (HAD, ""))[1])
    given: dict[tuple[str, str], int] = {}
    for story in stories:
        for event, _, _ in story.entries:
            if event.has(Act.FORWARDED):
                given.setdefault((event.node, event.peer), event.time_ms)
    hops = sorted(
        (MapHop(*pair, at_ms) for pair, at_ms in given.items()), key=lambda hop: hop.at_ms
    )
    start_ms = min((story.entries[0].event.time_ms for story in stories), default=0)
    paths = [MapPath("who gave it to whom", hops)] if hops else []
    drawn = node_map(where, kinds, paths, start_ms, "Where it was")
    rest = ", ".join(sorted(map(label, set(had) - where.nodes)))
    words = f'<p class="note">Nobody said where these are: {escape(rest)}.</p>'
    return drawn + (words if rest else "")


def _blamed(story: Story, node: str) -> bool:
    """Whether a violation is of this node."""
    return any(f" {node}: " in why or f" {node}," in why for why in story.violations)


def _svg(width: int, height: int, marks: Iterable[str], title: str) -> str:
    return (
        f'<figure class="small"><div class="still" tabindex="0">'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}"'
        f' xmlns="http://www.w3.org/2000/svg">{"".join(marks)}</svg></div></figure>'
    )
