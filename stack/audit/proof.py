"""A proof that an object rested nowhere but where it may, as a file that stands by itself: of each
log that speaks of it all entries, of whatever they are, from before it was made to the end of the
time that is asked about; the proof that a signed checkpoint covers them; and the claim that they
bear out.

An entry about something else says nothing of the object; that none about it was left out shows only
where all are there.  It is as true as the logs are: see `LIMITS`.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stack.audit.event import SKEW_MS, Act, AuditEvent, decode_event
from stack.audit.export import LogExport, json_of_peaks, peaks_of_json
from stack.audit.log import node_of
from stack.audit.merkle import verify_consistency
from stack.audit.note import LogCheckpoint, NoteKey, open_checkpoint
from stack.audit.others import said_of_others
from stack.audit.story import (
    KEY,
    Extent,
    Stay,
    Story,
    StoryEntry,
    clock_words,
    made_ms,
    story_of,
    whole_of,
    with_carriers,
)
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError, SecurityError
from stack.policy import Directory, NodeFacts, NodeSet
from stack.policy.gate import described

FORMAT = "orbitferry-proof"
VERSION = 2
"""Proofs of form 1 had the entries about the object alone: that one was left out did not show."""

PROOF_BYTES_MAX = 64 * 1024 * 1024
ENTRIES_MAX = 200_000
"""Entries in a proof, most of them about other objects: some 60 MiB of it."""

TIME_MS_MAX = 1 << 64
_SECTION = "docs/audit.md"

Owner = Callable[[NoteKey | None, bytes], tuple[NoteKey, NodeFacts]]
"""The key of a log, this one if one is given, and what is known of its node, by the node's word
(voucher).  Raises `SecurityError` where nothing shows whose it is."""

LIMITS = (
    "It shows what these nodes have written down and signed: a node that lies from the beginning,"
    " or leaves out what it does, is found only where another node or a witness says otherwise.",
    "It does not show what a reader did with the data after opening it, nor what somebody who was"
    " let in has copied by hand, nor who has recorded the ciphertext on the air.",
    "Nor does it show a copy that was never acknowledged to who sent it, where the taker's log is"
    " not here.",
    "Nor what a node has written into a second log that it keeps beside this one, unless a witness"
    " has cosigned that, and its export was there when the proof was made.",
    "Where nodes are is what the directory says, or their certificates.  Times are those of the"
    " nodes' clocks: one that was wrong, and was set before or after what is shown of its log, may"
    " hide what happened in the time that is asked about.",
)


@dataclass(frozen=True, slots=True)
class RestClaim:
    """What is to be proven."""

    object: str
    rest: NodeSet
    from_ms: int
    until_ms: int


@dataclass(slots=True)
class RestVerdict:
    """What comes of it."""

    claim: RestClaim
    stays: list[Stay] = field(default_factory=list)
    """Where the object was, in the time that was asked about."""

    against: list[str] = field(default_factory=list)
    """What shows that it is not so."""

    missing: list[str] = field(default_factory=list)
    """What would have to be known to say that it is."""

    unvouched: list[str] = field(default_factory=list)
    """What is nobody's word but that of whoever made the file."""

    @property
    def fits(self) -> bool:
        """Whether the file bears it out: it is shown, if all in it is what it says it is."""
        return not self.against and not self.missing

    @property
    def holds(self) -> bool:
        """Whether it is shown."""
        return self.fits and not self.unvouched


def judge(
    verdict: RestVerdict, story: Story, directory: Directory, closed: Mapping[str, int]
) -> None:
    """What the story of the object, or of what has carried it, says of a claim; `closed`: of each
    node up to when (DTN ms) its logs are closed by a checkpoint, as far as their entries tell."""
    claim = verdict.claim
    verdict.against += story.contradictions
    verdict.missing += story.gaps
    for stay in story.stays:
        until_ms = claim.until_ms if stay.until_ms is None else stay.until_ms
        if stay.since_ms > claim.until_ms or until_ms < claim.from_ms:
            continue
        verdict.stays.append(stay)
        if not claim.rest.holds(directory.get(stay.node)):
            who = described(directory, stay.node)
            verdict.against.append(f"{stay.object} was at {who}, outside '{claim.rest}'")
        if stay.until_ms is None and closed.get(stay.node, 0) < claim.until_ms:
            verdict.missing.append(
                f"{stay.node} still had {stay.object} when its log was closed: export it again"
            )
    if not story.entries:
        verdict.missing.append(f"no log here has ever heard of {story.object}")
    if story.object.startswith(KEY):
        verdict.missing.append("where a key is, no log says: only that it was destroyed")


def make_proof(
    claim: RestClaim, exports: Sequence[LogExport], directory: Directory, now_ms: int
) -> dict[str, Any]:
    """The file, as JSON.  Raises `SecurityError` for a log that does not fit its checkpoints,
    `DecodeError` for one that is damaged, `LocalError` for one of which too much was pruned, and
    where the time that is asked about has more entries than fit."""
    _check_claim(claim)
    said = ((each.origin, each.base.size, each.decoded()) for each in exports)
    told = _about(claim.object, said)
    about = [entry for entries in told.values() for entry in entries]
    nodes = {node for event, _, _ in about for node in (event.node, event.peer)}
    facts = [directory.get(node) for node in sorted(nodes)]
    begin_ms = made_ms(about) - SKEW_MS
    seen = [note for each in exports for note in (*each.checkpoints, *each.seen)]
    shown = [each for each in exports if each.node in nodes]
    for other in said_of_others([each.origin for each in shown], seen):
        if other.at_ms >= begin_ms:
            raise SecurityError(f"{other} since that was made: export that too, or it is withheld")
    logs = [_evidence(each, seen, told.keys(), claim.until_ms, begin_ms) for each in shown]
    count = sum(len(log["events"]) for log in logs)
    if count > ENTRIES_MAX:
        raise LocalError(
            f"{count} entries, of whatever they are, are from the time that is asked about, and a"
            f" proof has {ENTRIES_MAX} at most: prove it for a shorter time (--to)"
        )
    return {
        FORMAT: VERSION,
        "claim": {
            "object": claim.object,
            "rest": str(claim.rest),
            "from_ms": claim.from_ms,
            "until_ms": claim.until_ms,
        },
        "made_ms": now_ms,
        "nodes": [_facts(each) for each in facts if each is not None],
        "logs": logs,
        "limits": list(LIMITS),
    }


def _about(
    name: str, logs: Iterable[tuple[str, int, Sequence[AuditEvent]]]
) -> dict[str, list[StoryEntry]]:
    """What logs (origin, number of the first entry, entries) say of an object, and of each bundle
    within which it has gone on."""
    found = defaultdict[str, list[StoryEntry]](list)
    for origin, first, events in logs:
        for number, event in enumerate(events, first):
            found[whole_of(event.object)].append(StoryEntry(event, origin, number))
    return {each: found.get(each, []) for each in with_carriers(name, found)}


def _check_claim(claim: RestClaim) -> None:
    """Raise `DecodeError` for a claim about no time, or about a part of an object."""
    if not 0 <= claim.from_ms <= claim.until_ms < TIME_MS_MAX:
        raise DecodeError("the time that is asked about ends before it begins", _SECTION)
    if whole_of(claim.object) != claim.object:
        raise DecodeError(f"{claim.object} is a part: where all of it was is proven", _SECTION)


def _facts(node: NodeFacts) -> dict[str, Any]:
    return {
        "id": str(node.id),
        "domain": node.domain,
        "jurisdictions": sorted(node.jurisdictions),
        "roles": sorted(node.roles),
    }


def _earlier(
    export: LogExport, newest: LogCheckpoint, seen: Iterable[bytes]
) -> list[dict[str, Any]]:
    """What anybody has seen of a log before the newest checkpoint, with the proofs that this one
    continues it.  Raises `SecurityError` where the log is not what somebody has seen of it."""
    tree, found = export.tree(), []
    begin = f"{export.origin}\n".encode()
    for octets in dict.fromkeys((*export.checkpoints, *seen)):
        if not octets.startswith(begin):
            continue  # of another log
        try:
            old = open_checkpoint(octets, export.key)[1]
        except (DecodeError, SecurityError):
            continue  # somebody says that it were of this one
        if old.size > tree.size:
            raise SecurityError(
                f"{export.origin} has signed {old.size} entries, and shows {tree.size}: export it"
                " again, or the others are withheld"
            )
        try:
            if tree.root(old.size) != old.root:
                words = f"{export.origin} is not what it has signed at {old.size} entries"
                raise SecurityError(f"{words}: see `audit verify`")
            if 0 < old.size < newest.size:
                path = tree.consistency(old.size, newest.size)
                found.append({"note": octets.decode(), "path": [each.hex() for each in path]})
        except LocalError:
            continue  # from before what was pruned
    return found


def _evidence(
    export: LogExport,
    seen: Sequence[bytes],
    names: Collection[str],
    until_ms: int,
    begin_ms: int,
) -> dict[str, Any]:
    """What one log says from `begin_ms` on, with its proofs; `seen`: checkpoints, of whatever log,
    that others have seen."""
    note = export.newest()
    newest = LogCheckpoint.parse(note.text)
    tree, base = export.tree(), export.base
    earlier = _earlier(export, newest, seen)
    if newest.size <= base.size:
        raise LocalError(f"{export.origin}: all that a checkpoint covers is pruned, or damaged")
    first, end = _span(export.decoded()[: newest.size - base.size], names, until_ms, begin_ms)
    before = base.copy()
    before.add(export.events[:first])
    path = tree.consistency(base.size + end, newest.size)
    return {
        "origin": export.origin,
        "vkey": str(export.key),
        "voucher": base64.b64encode(export.voucher).decode(),
        "checkpoint": note.encode().decode(),
        "earlier": earlier,
        **json_of_peaks(before),
        "events": [base64.b64encode(event).decode() for event in export.events[first:end]],
        "path": [each.hex() for each in path],
    }


def _span(
    events: Sequence[AuditEvent], names: Collection[str], until_ms: int, begin_ms: int
) -> tuple[int, int]:
    """From which entry on, and up to which, all have to be there: those that tell of the object, or
    of what has carried it, those from between when it was made and the end of the time that is
    asked about, one before and one after these.  By their numbers: where a clock was ahead, or has
    gone back, that is in between."""
    inside = [
        at
        for at, event in enumerate(events)
        if whole_of(event.object) in names or begin_ms < event.time_ms < until_ms
    ]
    later = (at for at, event in enumerate(events) if event.time_ms >= until_ms)
    start = inside[0] if inside else next(later, len(events) - 1)
    first = next((at for at in range(start, 0, -1) if events[at].time_ms <= begin_ms), 0)
    least = inside[-1] if inside else first
    ends = (at for at in range(least, len(events)) if events[at].time_ms >= until_ms)
    return first, next(ends, len(events) - 1) + 1


def check_proof(
    data: bytes,
    keys: Sequence[NoteKey] = (),
    owner: Owner | None = None,
    directory: Directory | None = None,
) -> RestVerdict:
    """What a file proves.  `keys` are those of logs that are known from elsewhere, and `directory`
    says where nodes are.  With `owner` each log has to be its node's by that, and of nodes nothing
    else is believed.  Without any of these the file's own words are what there is, and the verdict
    says of which they are (`unvouched`).  Raises `DecodeError` for what is no such file,
    `SecurityError` for one whose proofs are wrong."""
    if len(data) > PROOF_BYTES_MAX:
        raise DecodeError(f"a proof of {len(data)} octets", _SECTION)
    known = {key.name: key for key in keys}
    try:
        fields = json.loads(data)
        if fields[FORMAT] != VERSION:
            raise DecodeError("a proof of another form: make it again, of the same logs", _SECTION)
        said = fields["claim"]
        rest = NodeSet.parse(str(said["rest"]))
        claim = RestClaim(str(said["object"]), rest, int(said["from_ms"]), int(said["until_ms"]))
        _check_claim(claim)
        nodes = [_node(each) for each in fields["nodes"]]
        if owner is not None:
            nodes = [_owned(log, owner) for log in fields["logs"]]
        if sum(len(log["events"]) for log in fields["logs"]) > ENTRIES_MAX:
            raise ValueError
        logs = [_checked(log, known) for log in fields["logs"]]
        if len({log.origin for log in logs}) < len(logs):
            raise ValueError
    except (ValueError, OverflowError, TypeError, KeyError, AttributeError, RecursionError):
        raise DecodeError("no proof as `orbitferry audit prove` makes it", _SECTION) from None
    facts = Directory(nodes) if directory is None or owner is not None else directory
    verdict = _judged(claim, logs, facts)
    if owner is None:
        verdict.unvouched += [unvouched(log.origin) for log in logs if log.origin not in known]
        if directory is None:
            verdict.unvouched.append("where the nodes are is the word of who made this proof")
    return verdict


def _judged(claim: RestClaim, logs: Sequence[ProvenPart], directory: Directory) -> RestVerdict:
    """What parts of logs say of a claim, and what in them shows that they do not say all."""
    told = _about(claim.object, logs)
    entries = [entry for some in told.values() for entry in some]
    extents = {log.origin: Extent.of(log.events) for log in logs}
    closed: dict[str, int] = {}
    for origin in {entry.origin for entry in entries}:
        node, end_ms = node_of(origin), extents[origin].end_ms  # of several the first that ends
        closed[node] = min(closed.get(node, end_ms), end_ms)
    nodes = {node_of(log.origin) for log in logs}
    verdict = RestVerdict(claim)
    for name, some in told.items():
        story = story_of(name, some, nodes, extents=extents)
        judge(verdict, story, directory, closed)
    began_ms = made_ms(entries) - SKEW_MS
    for log in logs:
        node = node_of(log.origin)
        if log.first and extents[log.origin].begin_ms > began_ms:
            verdict.missing.append(
                f"what {node} has done since it was made is not all here: pruned, or left out"
            )
        if _goes_back(log.events):
            verdict.missing.append(clock_words(node))
    for one, other in itertools.combinations(logs, 2):
        node, spans = node_of(one.origin), (extents[one.origin], extents[other.origin])
        until_ms, since_ms = min(s.end_ms for s in spans), max(s.begin_ms for s in spans)
        if node == node_of(other.origin) and since_ms + SKEW_MS < until_ms:
            verdict.missing.append(f"{node} has kept two logs at once: there may be more of them")
    verdict.missing += _again(entries, extents, claim.until_ms)
    verdict.missing[:] = dict.fromkeys(verdict.missing)
    return verdict


def _goes_back(events: Sequence[AuditEvent]) -> bool:
    """Whether times are not in the order of the entries."""
    last_ms = 0
    for event in events:
        if event.time_ms + SKEW_MS < last_ms:
            return True
        last_ms = max(last_ms, event.time_ms)
    return False


def _again(
    entries: Sequence[StoryEntry], extents: Mapping[str, Extent], until_ms: int
) -> list[str]:
    """Who may have got something once more after what is here of its log."""
    gave, took = Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]]()
    last: dict[tuple[str, str, str], int] = {}
    for event, _, _ in entries:
        if event.has(Act.FORWARDED) and event.time_ms <= until_ms:
            way = event.node, event.peer, event.object
            gave[way] += 1
            last[way] = max(event.time_ms, last.get(way, 0))
        if event.has(Act.RECEIVED):
            took[event.peer, event.node, event.object] += 1
    ends: dict[str, int] = {}
    for origin, extent in extents.items():
        ends[node_of(origin)] = max(extent.end_ms, ends.get(node_of(origin), 0))
    return [
        f"{taker} may have got {name} again after what is here of its log: export it again"
        for way, count in gave.items()
        for giver, taker, name in (way,)
        if count > took[way] > 0 and ends.get(taker, 0) + SKEW_MS < last[way]
    ]


def unvouched(origin: str) -> str:
    """What is to be said of a log under a key that only its file names."""
    return f"nobody vouches for the key of {origin}: who made the file may have made up the log"


def _node(fields: dict[str, Any]) -> NodeFacts:
    return NodeFacts(
        Eid.parse(str(fields["id"])),
        str(fields["domain"]),
        frozenset(map(str, fields["jurisdictions"])),
        frozenset(map(str, fields["roles"])),
    )


def _owned(log: dict[str, Any], owner: Owner) -> NodeFacts:
    voucher = base64.b64decode(log.get("voucher", ""), validate=True)
    return owner(NoteKey.parse(str(log["vkey"])), voucher)[1]


class ProvenPart(NamedTuple):
    """Entries of a log that follow one another, as a checkpoint covers them."""

    origin: str
    first: int
    events: list[AuditEvent]


def _checked(log: dict[str, Any], known: Mapping[str, NoteKey]) -> ProvenPart:
    """The entries that a log is proven to have from one number on."""
    key = NoteKey.parse(str(log["vkey"]))
    if known.get(key.name, key) != key:
        raise SecurityError(f"{key.name} has another key than the one that is known")
    _, newest = open_checkpoint(str(log["checkpoint"]).encode(), key)
    for each in log["earlier"]:
        _, old = open_checkpoint(str(each["note"]).encode(), key)
        path = [bytes.fromhex(one) for one in each["path"]]
        verify_consistency(old.size, newest.size, old.root, newest.root, path)
    peaks = peaks_of_json(log)
    octets = [base64.b64decode(each, validate=True) for each in log["events"]]
    part = ProvenPart(key.name, peaks.size, [decode_event(each) for each in octets])
    peaks.add(octets)
    path = [bytes.fromhex(one) for one in log["path"]]
    verify_consistency(peaks.size, newest.size, peaks.root(), newest.root, path)
    if not octets:  # of no entry nothing says when it was
        raise ValueError
    if any(event.node != node_of(key.name) for event in part.events):
        raise SecurityError(f"an entry of another node in the log of {node_of(key.name)}")
    return part
