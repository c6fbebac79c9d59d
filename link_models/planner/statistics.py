"""What a plan gives each node: passes, time, octets, gaps, and antennas that are too few."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import mean, median

from link_models.planner.edit import passes_of
from stack.contacts.plan import Contact, Plan
from stack.core.errors import ConfigError
from stack.core.units import natural

DAY_MS = 86_400_000

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PlannedPass:
    """A time in which two nodes are in contact without a break, in either direction."""

    one: str
    other: str
    start_ms: int
    end_ms: int
    forward_bytes: float
    """From `one` to `other`; infinite when a rate has no limit."""

    backward_bytes: float
    confidence: float
    """The least of its contacts."""

    contacts: int


@dataclass(frozen=True, slots=True)
class Gaps:
    """Times without any contact within the period, those before the first contact and after the
    last one included; none for a node without passes."""

    count: int
    mean_s: float
    median_s: float
    longest_s: float
    longest_start_ms: int
    """0 when there is no gap."""


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """What a plan gives one node in the period."""

    node: str
    antennas: int
    """0 when nobody said."""

    passes: int
    contact_s: float
    """Time with at least one contact."""

    busy_s: float
    """Sum over all passes: twice as much when two run side by side."""

    at_once: int
    """Most passes at a time."""

    conflict_s: float
    """Time with more passes than antennas."""

    sent_bytes: float
    received_bytes: float
    expected_bytes: float
    """Both ways, each contact weighted with its confidence."""

    gaps: Gaps


@dataclass(frozen=True, slots=True)
class PlanFigures:
    """What a plan gives in a period."""

    start_ms: int
    end_ms: int
    nodes: tuple[NodeFigures, ...]
    """By name."""

    passes: tuple[PlannedPass, ...]
    """By start."""

    always: tuple[PlannedPass, ...]
    """Links that are always up, and those between stations.  They are in no other figure."""

    days: tuple[tuple[int, Mapping[str, tuple[float, float]]], ...]
    """For each UTC day its beginning (DTN ms) and what each node sends and receives in it."""


def plan_figures(
    plan: Plan,
    start_ms: int,
    end_ms: int,
    antennas: Mapping[str, int] | None = None,
) -> PlanFigures:
    """Figures of a plan between two DTN times.

    `antennas` names the stations and says how many antennas each has.  Raises `ConfigError` for a
    period that is none.
    """
    if not 0 <= start_ms < end_ms:
        raise ConfigError("end_ms", "a period ends after its start")
    known = antennas or {}
    passes, lasting = [], []
    kept: list[Contact] = []
    contacts = [cut for one in plan.contacts if (cut := _cut(one, start_ms, end_ms)) is not None]
    for group in passes_of(contacts):
        one = _pass(group)
        always = one.start_ms <= start_ms and one.end_ms >= end_ms
        if always or (one.one in known and one.other in known):
            lasting.append(one)
        else:
            passes.append(one)
            kept += group
    by_node: dict[str, list[PlannedPass]] = {node: [] for node in plan.nodes}
    for one in passes:
        by_node[one.one].append(one)
        by_node[one.other].append(one)
    volumes: dict[str, list[float]] = {node: [0.0, 0.0, 0.0] for node in plan.nodes}
    for contact in kept:
        octets = contact.volume_bytes
        volumes[contact.source][0] += octets
        volumes[contact.destination][1] += octets
        for node in (contact.source, contact.destination):
            volumes[node][2] += octets * contact.confidence if contact.confidence else 0.0
    return PlanFigures(
        start_ms,
        end_ms,
        tuple(
            _node(node, by_node[node], volumes[node], known.get(node, 0), (start_ms, end_ms))
            for node in sorted(plan.nodes, key=natural)
        ),
        tuple(passes),
        tuple(sorted(lasting, key=lambda one: (natural(one.one), natural(one.other)))),
        _days(kept, start_ms, end_ms),
    )


def _cut(contact: Contact, start_ms: int, end_ms: int) -> Contact | None:
    first, last = max(contact.start_ms, start_ms), min(contact.end_ms, end_ms)
    if first >= last:
        return None
    return Contact(
        contact.source,
        contact.destination,
        first,
        last,
        contact.rate_bps,
        contact.confidence,
        contact.owner,
        contact.jurisdiction,
    )


def _pass(group: Sequence[Contact]) -> PlannedPass:
    one = group[0].source
    return PlannedPass(
        one,
        group[0].destination,
        group[0].start_ms,
        max(contact.end_ms for contact in group),
        sum(contact.volume_bytes for contact in group if contact.source == one),
        sum(contact.volume_bytes for contact in group if contact.source != one),
        min(contact.confidence for contact in group),
        len(group),
    )


def _node(
    node: str,
    passes: Sequence[PlannedPass],
    volumes: Sequence[float],
    antennas: int,
    period: Span,
) -> NodeFigures:
    spans = [(one.start_ms, one.end_ms) for one in passes]
    levels = list(levels_of(spans))
    return NodeFigures(
        node=node,
        antennas=antennas,
        passes=len(passes),
        contact_s=sum(b - a for a, b, level in levels if level) / 1000,
        busy_s=sum(b - a for a, b in spans) / 1000,
        at_once=max((level for _, _, level in levels), default=0),
        conflict_s=sum(b - a for a, b, level in levels if 0 < antennas < level) / 1000,
        sent_bytes=volumes[0],
        received_bytes=volumes[1],
        expected_bytes=volumes[2],
        gaps=_gaps(spans, *period),
    )


def levels_of(spans: Sequence[Span]) -> Iterator[tuple[int, int, int]]:
    """From the first start to the last end: (start, end, how many spans hold) without gaps."""
    turns: dict[int, int] = {}
    for start, end in spans:
        turns[start] = turns.get(start, 0) + 1
        turns[end] = turns.get(end, 0) - 1
    times = sorted(turns)
    for (a, b), level in zip(pairwise(times), accumulate(turns[t] for t in times), strict=False):
        yield a, b, level


def _gaps(spans: Sequence[Span], start_ms: int, end_ms: int) -> Gaps:
    if not spans:
        return Gaps(0, 0.0, 0.0, 0.0, 0)
    # Spans without length at both ends make gaps of the waits there.
    ends = ((start_ms, start_ms), (end_ms, end_ms))
    gaps = [(b - a, a) for a, b, level in levels_of((*spans, *ends)) if not level]
    if not gaps:
        return Gaps(0, 0.0, 0.0, 0.0, 0)
    lengths = [length / 1000 for length, _ in gaps]
    longest, begins = max(gaps, key=lambda gap: (gap[0], -gap[1]))
    return Gaps(len(gaps), mean(lengths), median(lengths), longest / 1000, begins)


def _days(
    contacts: Sequence[Contact], start_ms: int, end_ms: int
) -> tuple[tuple[int, Mapping[str, tuple[float, float]]], ...]:
    """Octets by UTC day; DTN time begins at midnight and has no leap seconds."""
    bounds = [start_ms, *range((start_ms // DAY_MS + 1) * DAY_MS, end_ms, DAY_MS), end_ms]
    volumes: list[dict[str, list[float]]] = [{} for _ in bounds[:-1]]
    for contact in contacts:
        first = bisect_right(bounds, contact.start_ms) - 1
        for place in range(first, len(volumes)):
            a, b = max(bounds[place], contact.start_ms), min(bounds[place + 1], contact.end_ms)
            if a >= b:
                break
            octets = (b - a) * contact.rate_bps / 8000
            volumes[place].setdefault(contact.source, [0.0, 0.0])[0] += octets
            volumes[place].setdefault(contact.destination, [0.0, 0.0])[1] += octets
    return tuple(
        (bounds[place], {node: (day[node][0], day[node][1]) for node in sorted(day, key=natural)})
        for place, day in enumerate(volumes)
    )


def finite(value: float) -> float | None:
    """A number for JSON, which has no infinity."""
    return value if math.isfinite(value) else None
