"""The logs of several nodes as one story for each object: where it was, and what does not fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stack.audit.event import SKEW_MS, Act, AuditEvent
from stack.audit.export import LogExport
from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.policy import DataPolicy, Directory
from stack.policy.gate import described
from stack.policy.label import decode_label

KEY = "key:"
"""Begins the names of keys: of these a log says when they were destroyed, and no more."""

_APART = Act.RUN, Act.REFUSED
"""What a job runs under is the meet of the policies of all that it is made of; and under which
label somebody has offered something of that name is nobody's word but theirs."""


class StoryEntry(NamedTuple):
    """An entry, and where it stands."""

    event: AuditEvent
    origin: str
    number: int
    """Its number in the log."""


class Extent(NamedTuple):
    """From when to when the entries of a log that are here speak, without a gap."""

    begin_ms: int
    end_ms: int

    @staticmethod
    def of(events: Sequence[AuditEvent]) -> Extent:
        """That of these; one that has not begun for none."""
        return Extent(events[0].time_ms, events[-1].time_ms) if events else Extent(1 << 64, 0)


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


def with_carriers(name: str, by_object: Mapping[str, Iterable[StoryEntry]]) -> list[str]:
    """An object, and the bundles within which it, or a part of it, has gone on: where it was, is
    where these were."""
    found, todo = {name: None}, [name]
    while todo:
        for event, _, _ in by_object.get(todo.pop(), ()):
            carrier = whole_of(event.carrier)
            if carrier and carrier not in found:
                found[carrier] = None
                todo.append(carrier)
    return [*found]


def stories(exports: Sequence[LogExport], directory: Directory | None = None) -> list[Story]:
    """The story of each object in these logs, in the order in which they begin.  `directory` says
    where nodes are: without it nothing is said of policies.  Raises `DecodeError` for an entry
    that is none."""
    found: defaultdict[str, dict[StoryEntry, None]] = defaultdict(dict)
    for export in exports:
        for index, event in export.numbered():
            if event.node == export.node:  # of others a node says nothing in their place
                found[whole_of(event.object)][StoryEntry(event, export.origin, index)] = None
    nodes = {export.node for export in exports}
    extents = {export.origin: Extent.of(export.decoded()) for export in exports}
    made = [story_of(name, [*some], nodes, directory, extents) for name, some in found.items()]
    for story in made:
        carriers = {whole_of(entry.event.carrier) for entry in story.entries} - {"", *found}
        story.gaps += (f"no log here has ever heard of {each}" for each in sorted(carriers))
    return sorted(made, key=lambda story: story.entries[0].event.time_ms)


def story_of(
    name: str,
    entries: Sequence[StoryEntry],
    nodes: Collection[str],
    directory: Directory | None = None,
    extents: Mapping[str, Extent] | None = None,
) -> Story:
    """The story of one object by these entries, of the logs of `nodes`; `extents`: when each log
    begins and ends, by its origin."""
    extents = extents or {}
    # Stable: entries of one log stay in its order at equal times.
    story = Story(name, sorted(entries, key=lambda entry: entry.event.time_ms))
    if not entries or name.startswith(KEY):
        return story
    begin_ms = made_ms(story.entries)
    late = {origin for origin, extent in extents.items() if extent.begin_ms > begin_ms - SKEW_MS}
    _follow(story, late)
    _join(story, nodes, {entry.event.node for entry in entries if entry.origin in late})
    _origin(story)
    if len({entry.event.label for entry in entries if entry.event.acts not in _APART}) > 1:
        story.contradictions.append("it goes under different labels")
    _judge(story, directory, {entry.event.node: extents.get(entry.origin) for entry in entries})
    story.gaps[:] = sorted(set(story.gaps))
    return story


def made_ms(entries: Iterable[StoryEntry]) -> int:
    """When it was made, by the log that says so; else when it was heard of first."""
    told = [(not event.has(Act.MADE), event.time_ms) for event, _, _ in entries]
    return min(told)[1] if told else 0


def _follow(story: Story, late: Collection[str]) -> None:
    """Where it was from when to when, by each log alone.  Those that are `late` begin when it was
    made already: their nodes may have had it before."""
    here: dict[tuple[str, str], int] = {}
    had: set[str] = set()
    by_log: defaultdict[str, list[StoryEntry]] = defaultdict(list)
    for entry in story.entries:
        by_log[entry.origin].append(entry)
    for origin, entries in by_log.items():
        last_ms = 0
        for event, _, _ in sorted(entries, key=lambda entry: entry.number):
            place = event.node, event.object
            if event.time_ms + SKEW_MS < last_ms:
                story.gaps.append(clock_words(event.node))
            last_ms = max(last_ms, event.time_ms)
            if event.has(Act.RUN) and event.node not in had:
                _never_took(story, event, "ran", origin in late)
            if event.has(Act.DELETED, Act.EXPIRED):
                stored = event.has(Act.STORED) and event.node in had
                took = stored or event.has(Act.RECEIVED, Act.MADE)
                since = here.pop(place, event.time_ms if took else None)
                if since is None:
                    _never_took(story, event, "lets go of", origin in late)
                else:
                    story.stays.append(Stay(*place, since, max(since, event.time_ms)))
            elif event.has(Act.STORED, Act.RECEIVED, Act.MADE):
                if event.node not in had and not event.has(Act.RECEIVED, Act.MADE):
                    _never_took(story, event, "stores", origin in late)
                had.add(event.node)
                here.setdefault(place, event.time_ms)
            elif event.has(Act.FORWARDED, Act.OPENED) and place not in here:
                word = "gives away" if event.has(Act.FORWARDED) else "opens"
                _never_took(story, event, word, origin in late)
    story.stays += [Stay(*place, since, None) for place, since in here.items()]
    story.stays.sort(key=lambda stay: stay.since_ms)


def clock_words(node: str) -> str:
    """What is to be said where the times of a log go back."""
    return f"the clock of {node} went back: when what it says happened is not known"


def _never_took(story: Story, event: AuditEvent, does: str, late: bool) -> None:
    """A log does not say how an object came to its node."""
    words = f"{event.node} {does} {event.object}, which "
    if late:
        story.gaps.append(words + "it took before what is left of its log, if at all")
    else:
        story.contradictions.append(words + "it never took")


def _join(story: Story, nodes: Collection[str], late: Collection[str]) -> None:
    """Hold the logs against each other: who has given it, or which part of it, to whom.  The logs
    of `late` nodes do not say when they had it first."""
    given: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    taken: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for event, _, _ in story.entries:
        if event.has(Act.FORWARDED):
            given[event.node, event.peer, event.object].append(event.time_ms)
        if event.carrier:  # when that is there, is said of the carrier
            given[event.node, event.peer, event.object].append(1 << 64)
        if event.has(Act.RECEIVED):
            taken[event.peer, event.node, event.object].append(event.time_ms)
    for key in dict.fromkeys((*given, *taken)):
        giver, taker, name = key
        gave, took = given[key], taken[key]
        it = "it" if name == story.object else name
        if taker in nodes and gave and not took:
            story.gaps.append(f"{giver} gave {it} to {taker}, whose log does not say so")
        elif taker not in nodes:
            story.gaps.append(f"{giver} gave {it} to {taker}, whose log is not here")
        elif giver in nodes and not gave:
            story.gaps.append(f"{taker} had {it} from {giver}, whose log does not say so (yet)")
        elif giver not in nodes:
            words = f"{taker} had {it} from {giver or 'nobody'}, whose log is not here"
            story.gaps.append(words)
        if gave and took and min(gave) + SKEW_MS < min(took) and taker not in late:
            words = f"{giver} was told that {taker} had {it} before {taker} says so"
            story.contradictions.append(words)


def _origin(story: Story) -> None:
    """Who made it, and that nobody had it before."""
    made = [event for event, _, _ in story.entries if event.has(Act.MADE)]
    if not made:
        story.gaps.append("no log here says who made it")
    if len({event.node for event in made}) > 1:
        story.contradictions.append("several nodes say that they made it")
    source = _source_of(story.object)
    for node in dict.fromkeys(event.node for event in made):
        if source not in ("", node):
            story.contradictions.append(f"{node} says that it made it, which is of {source}")
    # What was refused is of whoever sent it: a name says nothing there.
    had = [event for event, _, _ in story.entries if event.acts != Act.REFUSED]
    if made and had[0].time_ms + SKEW_MS < min(event.time_ms for event in made):
        story.contradictions.append(f"{had[0].node} had it before it was made")


def _source_of(name: str) -> str:
    """The node whose bundle this is by its name; nothing for what is no bundle of a node."""
    try:
        source = Eid.parse(name.rpartition("@")[0])
    except DecodeError:
        return ""
    return "" if source.is_null else str(source.node)


def _judge(story: Story, directory: Directory | None, extents: Mapping[str, Extent | None]) -> None:
    """What its policy says of that; `extents`: of the log of each node."""
    entries = [entry.event for entry in story.entries if entry.event.acts not in _APART]
    source = _source_of(story.object)
    made = [event for event in entries if event.has(Act.MADE)]
    makers = {event.node for event in made}
    # Whose data it is, says which policy it has.
    made = [event for event in made if source in ("", event.node)]
    labels = [event.policy for event in (*made, *entries) if event.policy]
    if not labels and any(event.label for event in entries):
        story.gaps.append("no log here says what its policy is")
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
        extent = extents.get(stay.node)
        last_ms = stay.until_ms if stay.until_ms is not None else extent.end_ms if extent else 0
        if policy.expires_ms and last_ms > policy.expires_ms + SKEW_MS:
            story.violations.append(f"it was at {stay.node} after its time")
    for event, _, _ in story.entries:
        who = described(directory, event.node)
        node = directory.get(event.node)
        if event.has(Act.OPENED, Act.RUN) and not policy.readers.holds(node):
            word = "run" if event.has(Act.RUN) else "opened"
            story.violations.append(f"it was {word} at {who}; it may be at '{policy.readers}'")
        carried = event.has(Act.FORWARDED) and event.node not in makers
        if carried and not policy.transit.holds(node):
            story.violations.append(f"it passed through {who}; it may through '{policy.transit}'")
    story.violations[:] = dict.fromkeys(story.violations)


def places(story: Story) -> Mapping[str, list[Stay]]:
    """Its stays by node."""
    found: defaultdict[str, list[Stay]] = defaultdict(list)
    for stay in story.stays:
        found[stay.node].append(stay)
    return found
