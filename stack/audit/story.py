"""The logs of several nodes as one story for each object: where it was, and what does not fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stack.audit.event import Act, AuditEvent
from stack.audit.export import LogExport
from stack.core.errors import DecodeError
from stack.policy import DataPolicy, Directory
from stack.policy.gate import described
from stack.policy.label import decode_label

KEY = "key:"
"""Begins the names of keys: of these a log says when they were destroyed, and no more."""

SKEW_MS = 60_000
"""Clocks of nodes may differ by so much without anything being wrong."""


class StoryEntry(NamedTuple):
    """An entry, and where it stands."""

    event: AuditEvent
    origin: str
    number: int
    """Its number in the log."""


class Stay(NamedTuple):
    """An object, or a part of it, was at a node."""

    node: str
    object: str
    since_ms: int
    until_ms: int | None
    """None: as far as the log goes."""


@dataclass(slots=True)
class Story:
    """All that is known of one object."""

    object: str
    entries: list[StoryEntry] = field(default_factory=list)
    stays: list[Stay] = field(default_factory=list)
    policy: DataPolicy | None = None
    gaps: list[str] = field(default_factory=list)
    """What some log should say and none does; logs that are not here may."""

    contradictions: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether all of it fits together, and to the policy."""
        return not (self.gaps or self.contradictions or self.violations)


def whole_of(name: str) -> str:
    """The object of which this is, or is a part."""
    source, at, stamp = name.rpartition("@")
    return source + at + stamp.partition("+")[0] if at else name


def stories(exports: Sequence[LogExport], directory: Directory | None = None) -> list[Story]:
    """The story of each object in these logs, in the order in which they begin.  `directory` says
    where nodes are: without it nothing is said of policies.  Raises `DecodeError` for an entry
    that is none."""
    found: defaultdict[str, list[StoryEntry]] = defaultdict(list)
    for export in exports:
        for index, event in export.numbered():
            found[whole_of(event.object)].append(StoryEntry(event, export.origin, index))
    nodes = {export.node for export in exports}
    pruned = {export.origin for export in exports if export.base.size}  # or damaged
    made = [story_of(name, entries, nodes, directory, pruned) for name, entries in found.items()]
    return sorted(made, key=lambda story: story.entries[0].event.time_ms)


def story_of(
    name: str,
    entries: Sequence[StoryEntry],
    nodes: Collection[str],
    directory: Directory | None = None,
    pruned: Collection[str] = (),
) -> Story:
    """The story of one object by these entries, of the logs of `nodes`; `pruned`: the origins of
    those of which the beginning is gone."""
    # Stable: entries of one log stay in its order at equal times.
    story = Story(name, sorted(entries, key=lambda entry: entry.event.time_ms))
    if not entries or name.startswith(KEY):
        return story
    _follow(story, pruned)
    _join(story, nodes, {entry.event.node for entry in entries if entry.origin in pruned})
    # What a job runs under is the meet of the policies of all that it is made of.
    labels = {entry.event.label for entry in entries if entry.event.acts != Act.RUN}
    if len(labels) > 1:
        story.contradictions.append("it goes under different labels")
    _judge(story, directory)
    return story


def _follow(story: Story, pruned: Collection[str]) -> None:
    """Where it was from when to when, by each log alone."""
    here: dict[tuple[str, str], int] = {}
    had: set[str] = set()
    by_log: defaultdict[str, list[StoryEntry]] = defaultdict(list)
    for entry in story.entries:
        by_log[entry.origin].append(entry)
    for origin, entries in by_log.items():
        for event, _, _ in sorted(entries, key=lambda entry: entry.number):
            place = event.node, event.object
            if event.has(Act.RUN) and event.node not in had:
                _never_took(story, event, "ran", origin in pruned)
            if event.has(Act.DELETED, Act.EXPIRED):
                since = here.pop(place, None)
                if since is None:
                    _never_took(story, event, "lets go of", origin in pruned)
                else:
                    story.stays.append(Stay(*place, since, event.time_ms))
            elif event.has(Act.STORED):
                had.add(event.node)
                here.setdefault(place, event.time_ms)
    story.stays += [Stay(*place, since, None) for place, since in here.items()]
    story.stays.sort(key=lambda stay: stay.since_ms)


def _never_took(story: Story, event: AuditEvent, does: str, pruned: bool) -> None:
    """A log does not say how an object came to its node."""
    words = f"{event.node} {does} {event.object}, which "
    if pruned:
        story.gaps.append(words + "it took before what is left of its log, if at all")
    else:
        story.contradictions.append(words + "it never took")


def _join(story: Story, nodes: Collection[str], pruned: Collection[str]) -> None:
    """Hold the logs against each other: who has given it to whom.  The logs of `pruned` do not say
    when they had it first."""
    given: defaultdict[tuple[str, str], list[AuditEvent]] = defaultdict(list)
    taken: defaultdict[tuple[str, str], list[AuditEvent]] = defaultdict(list)
    made: list[AuditEvent] = []
    for event, _, _ in story.entries:
        if event.has(Act.FORWARDED):
            given[event.node, event.peer].append(event)
        if event.has(Act.RECEIVED):
            taken[event.peer, event.node].append(event)
        if event.has(Act.MADE):
            made.append(event)
    if not made:
        story.gaps.append("no log here says who made it")
    if len({event.node for event in made}) > 1:
        story.contradictions.append("several nodes say that they made it")
    for giver, taker in given.keys() | taken.keys():
        if giver and taker in nodes and len(given[giver, taker]) and not taken[giver, taker]:
            story.gaps.append(f"{giver} gave it to {taker}, whose log does not say so")
        elif taker not in nodes:
            story.gaps.append(f"{giver} gave it to {taker}, whose log is not here")
        elif giver in nodes and not given[giver, taker]:
            story.gaps.append(f"{taker} had it from {giver}, whose log does not say so (yet)")
        elif giver not in nodes:
            story.gaps.append(f"{taker} had it from {giver or 'nobody'}, whose log is not here")
        first_given = min((event.time_ms for event in given[giver, taker]), default=None)
        first_taken = min((event.time_ms for event in taken[giver, taker]), default=None)
        late = first_given and first_taken and first_given + SKEW_MS < first_taken
        if late and taker not in pruned:
            words = f"{giver} was told that {taker} had it before {taker} says so"
            story.contradictions.append(words)
    begin = min((event.time_ms for event in made), default=None)
    if begin is not None and story.entries[0].event.time_ms + SKEW_MS < begin:
        node = story.entries[0].event.node
        story.contradictions.append(f"{node} had it before it was made")
    story.gaps.sort()


def _judge(story: Story, directory: Directory | None) -> None:
    """What its policy says of that."""
    labels = [entry.event.policy for entry in story.entries if entry.event.policy]
    try:
        story.policy = decode_label(labels[0]) if labels else None
    except DecodeError:
        story.contradictions.append("its label is none")
    policy = story.policy
    if policy is None or directory is None:
        return
    for stay in story.stays:
        node = directory.get(stay.node)
        if not policy.rest.holds(node):
            who = described(directory, stay.node)
            story.violations.append(f"it rested at {who}; it may at '{policy.rest}'")
        if policy.expires_ms and (stay.until_ms or 0) > policy.expires_ms + SKEW_MS:
            story.violations.append(f"it was at {stay.node} after its time")
    for event, _, _ in story.entries:
        who = described(directory, event.node)
        node = directory.get(event.node)
        if event.has(Act.OPENED, Act.RUN) and not policy.readers.holds(node):
            word = "run" if event.has(Act.RUN) else "opened"
            story.violations.append(f"it was {word} at {who}; it may be at '{policy.readers}'")
        carried = event.has(Act.FORWARDED) and not _made_by(story.entries, event.node)
        if carried and not policy.transit.holds(node):
            story.violations.append(f"it passed through {who}; it may through '{policy.transit}'")
    story.violations[:] = dict.fromkeys(story.violations)


def _made_by(entries: Iterable[StoryEntry], node: str) -> bool:
    return any(entry.event.has(Act.MADE) and entry.event.node == node for entry in entries)


def places(story: Story) -> Mapping[str, list[Stay]]:
    """Its stays by node."""
    found: defaultdict[str, list[Stay]] = defaultdict(list)
    for stay in story.stays:
        found[stay.node].append(stay)
    return found
