"""A proof that an object rested nowhere but where it may, as a file that stands by itself: every
entry about it, each with its path to a signed checkpoint, and the claim that they bear out.

It is as true as the logs are: see `LIMITS`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stack.audit.event import AuditEvent, decode_event
from stack.audit.export import LogExport
from stack.audit.log import node_of
from stack.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from stack.audit.note import LogCheckpoint, NoteKey, SignedNote, open_checkpoint
from stack.audit.story import Stay, Story, StoryEntry, story_of, whole_of
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError, SecurityError
from stack.policy import Directory, NodeFacts, NodeSet
from stack.policy.gate import described

FORMAT = "orbitferry-proof"
PROOF_BYTES_MAX = 64 * 1024 * 1024
ENTRIES_MAX = 100_000
_SECTION = "docs/audit.md"

Owner = Callable[[NoteKey | None, bytes], tuple[NoteKey, NodeFacts]]
"""The key of a log, this one if one is given, and what is known of its node, by the node's word
(voucher).  Raises `SecurityError` where nothing shows whose it is."""

LIMITS = (
    "It shows what these nodes have written down and signed: a node that lies from the beginning,"
    " or leaves out what it does, is found only where another node or a witness says otherwise.",
    "It does not show what a reader did with the data after opening it, nor what somebody who was"
    " let in has copied by hand, nor who has recorded the ciphertext on the air.",
    "Where nodes are is what the directory says, or their certificates.  Times are those of the"
    " nodes' clocks.",
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
    claim: RestClaim, story: Story, directory: Directory, closed: Mapping[str, int]
) -> RestVerdict:
    """What a story says of a claim; `closed`: of each node up to when (DTN ms) its log is closed by
    a checkpoint, as far as its entries tell."""
    verdict = RestVerdict(claim, against=list(story.contradictions), missing=list(story.gaps))
    for stay in story.stays:
        if stay.since_ms > claim.until_ms or (stay.until_ms or claim.until_ms) < claim.from_ms:
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
        verdict.missing.append("no log here has ever heard of it")
    return verdict


def make_proof(
    claim: RestClaim, exports: Sequence[LogExport], directory: Directory, now_ms: int
) -> dict[str, Any]:
    """The file, as JSON.  Raises `SecurityError` for a log that does not fit its checkpoints,
    `DecodeError` for one that is damaged, `LocalError` for one of which too much was pruned."""
    events = [event for export in exports for event in export.decoded()]
    about = [event for event in events if whole_of(event.object) == claim.object]
    nodes = {node for event in about for node in (event.node, event.peer)}
    facts = [directory.get(node) for node in sorted(nodes)]
    return {
        FORMAT: 1,
        "claim": {
            "object": claim.object,
            "rest": str(claim.rest),
            "from_ms": claim.from_ms,
            "until_ms": claim.until_ms,
        },
        "made_ms": now_ms,
        "nodes": [_facts(each) for each in facts if each is not None],
        "logs": [_evidence(export, claim.object) for export in exports],
        "limits": list(LIMITS),
    }


def _facts(node: NodeFacts) -> dict[str, Any]:
    return {
        "id": str(node.id),
        "domain": node.domain,
        "jurisdictions": sorted(node.jurisdictions),
        "roles": sorted(node.roles),
    }


def _evidence(export: LogExport, name: str) -> dict[str, Any]:
    """What one log says of an object, with its proofs."""
    note = export.newest()
    newest = LogCheckpoint.parse(note.text)
    tree = export.tree()
    if newest.size > tree.size or tree.root(newest.size) != newest.root:
        raise SecurityError(f"{export.origin} is not what its checkpoint says: see `audit verify`")
    earlier = []
    for octets in dict.fromkeys((*export.checkpoints, *export.seen)):
        old = LogCheckpoint.parse(SignedNote.parse(octets).text)
        if old.origin == export.origin and 0 < old.size < newest.size:
            try:
                path = tree.consistency(old.size, newest.size)
            except LocalError:
                continue  # from before what was pruned
            earlier.append({"note": octets.decode(), "path": [each.hex() for each in path]})
    indexes = [
        index
        for index, event in enumerate(export.decoded(), export.base.size)
        if index < newest.size and whole_of(event.object) == name
    ]
    return {
        "origin": export.origin,
        "vkey": str(export.key),
        "voucher": base64.b64encode(export.voucher).decode(),
        "first": export.base.size,
        "checkpoint": note.encode().decode(),
        "earlier": earlier,
        "entries": [_entry(export, index, newest.size) for index in indexes],
        "last": _entry(export, newest.size - 1, newest.size),
    }


def _entry(export: LogExport, index: int, size: int) -> dict[str, Any]:
    path = export.tree().inclusion(index, size)  # raises for what was pruned
    event = export.events[index - export.base.size]
    return {
        "index": index,
        "event": base64.b64encode(event).decode(),
        "path": [each.hex() for each in path],
    }


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
        if fields[FORMAT] != 1:
            raise ValueError
        said = fields["claim"]
        rest = NodeSet.parse(str(said["rest"]))
        claim = RestClaim(str(said["object"]), rest, int(said["from_ms"]), int(said["until_ms"]))
        nodes = [_node(each) for each in fields["nodes"]]
        if owner is not None:
            nodes = [_owned(log, owner) for log in fields["logs"]]
        logs = [NoteKey.parse(str(log["vkey"])).name for log in fields["logs"]]
        entries: list[StoryEntry] = []
        closed: dict[str, int] = {}
        pruned: set[str] = set()
        for log in fields["logs"]:
            *found, last = _checked(log, known)
            entries += found
            closed[node_of(last.origin)] = last.event.time_ms
            if int(log.get("first", 0)):  # only turns what is against the claim to what is missing
                pruned.add(last.origin)
        if len(entries) > ENTRIES_MAX:
            raise ValueError
    except (ValueError, OverflowError, TypeError, KeyError, AttributeError, RecursionError):
        raise DecodeError("no proof as `orbitferry audit prove` makes it", _SECTION) from None
    story = story_of(claim.object, entries, closed, pruned=pruned)
    facts = Directory(nodes) if directory is None or owner is not None else directory
    verdict = judge(claim, story, facts, closed)
    if owner is None:
        verdict.unvouched += [unvouched(log) for log in logs if log not in known]
        if directory is None:
            verdict.unvouched.append("where the nodes are is the word of who made this proof")
    return verdict


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


def _checked(log: dict[str, Any], known: Mapping[str, NoteKey]) -> list[StoryEntry]:
    """The entries about it that a log is proven to have, and the last of all."""
    key = NoteKey.parse(str(log["vkey"]))
    if known.get(key.name, key) != key:
        raise SecurityError(f"{key.name} has another key than the one that is known")
    _, newest = open_checkpoint(str(log["checkpoint"]).encode(), key)
    for each in log["earlier"]:
        _, old = open_checkpoint(str(each["note"]).encode(), key)
        path = [bytes.fromhex(one) for one in each["path"]]
        verify_consistency(old.size, newest.size, old.root, newest.root, path)
    found = []
    for each in (*log["entries"], log["last"]):
        octets = base64.b64decode(each["event"], validate=True)
        path = [bytes.fromhex(one) for one in each["path"]]
        index = int(each["index"])
        verify_inclusion(leaf_hash(octets), index, newest.size, path, newest.root)
        event: AuditEvent = decode_event(octets)
        found.append(StoryEntry(event, key.name, index))
    told = found[:-1]
    if len({entry.number for entry in told}) != len(told) or found[-1].number != newest.size - 1:
        raise ValueError
    if any(entry.event.node != node_of(key.name) for entry in found):
        raise SecurityError(f"an entry of another node in the log of {node_of(key.name)}")
    return found
