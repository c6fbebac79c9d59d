"""One page about what a data policy allows under a contact plan: who, where, and on which path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from stack.policy import DataPolicy
from stack.policy.permissions import Permissions
from stack.routing.admissible import Admissible
from stack.routing.route import Route
from stack.simulator.report.node_map import node_map
from stack.simulator.report.nodes import MapHop, MapPath, Places, kind_of, permissions_table
from stack.simulator.report.page import capital, page, second_of, table


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """What the page is made of; times are DTN milliseconds."""

    origin: str
    destination: str
    start_ms: int
    policy: DataPolicy
    nodes: Sequence[Permissions]
    found: Admissible
    reached: frozenset[str]
    """Nodes at which it could come to rest."""

    lines: Sequence[str]
    """What there is to say of it; the first is the verdict."""

    places: Places


def policy_page(about: PolicyReport) -> str:
    """The page, as HTML that stands alone."""
    verdict, *more = (f"{escape(capital(line))}." for line in about.lines)
    found = about.found
    kinds = {one.node: kind_of(one) for one in about.nodes}
    title = "Who may have it, and how it would go"
    paths = [
        MapPath(words, _hops(route, about.start_ms), refused=refused)
        for words, route, refused in (
            ("best path that is allowed", found.route, False),
            ("earlier path, not allowed", found.better, True),
        )
        if route is not None
    ]
    where = node_map(about.places, kinds, paths, about.start_ms, title)
    missing = '<p class="note">No map: nobody has said where the nodes are (--places).</p>'
    return page(
        f"Data from {about.origin} to {about.destination}",
        [
            f'<p class="{"bad" if found.route is None else "good"}">{verdict}</p>',
            *(f"<p>{line}</p>" for line in more),
            where or missing,
            "<h2>The policy</h2>",
            rules_table(about.policy),
            "<h2>Who may do what</h2>",
            permissions_table(about.nodes, about.reached, "reached"),
            *_path("The best path that is allowed", found.route),
            *_path("The earlier path, which is not allowed", found.better),
        ],
    )


def rules_table(policy: DataPolicy) -> str:
    """The sets of a policy."""
    rows = [
        ("may be read at", str(policy.readers)),
        ("may rest at", str(policy.rest)),
        ("may pass through", str(policy.transit)),
    ]
    return table(("it", "nodes"), rows)


def _hops(route: Route, start_ms: int) -> list[MapHop]:
    return [
        MapHop(one.source, one.destination, max(one.start_ms, start_ms)) for one in route.contacts
    ]


def _path(title: str, route: Route | None) -> list[str]:
    if route is None:
        return []
    rows = [
        (one.source, one.destination, second_of(one.start_ms), second_of(one.end_ms))
        for one in route.contacts
    ]
    shown = table(("from", "to", "contact from", "until"), rows)
    return [f"<h2>{title}</h2>", f"<p>Arrives {second_of(route.arrival_ms)}.</p>", shown]
