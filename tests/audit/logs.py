"""The logs of a small world: a bundle from a station over a relay to a satellite."""

from __future__ import annotations

import json
from collections.abc import Sequence

from stack.audit.event import Act, AuditEvent, encode_event, label_digest
from stack.audit.export import LogExport
from stack.audit.log import log_origin
from stack.audit.merkle import MerkleTree, Peaks
from stack.audit.note import LogCheckpoint, NoteSigner
from stack.audit.proof import RestClaim, make_proof
from stack.core.eid import Eid
from stack.policy import DataPolicy, Directory, NodeFacts, NodeSet
from stack.policy.label import encode_label

T0 = 850_000_000_000
HOUR = 3_600_000
BUNDLE = f"dtn://gs1/messages@{T0}.1"
Said = dict[str, list[AuditEvent]]
"""Of each node what it says, in order."""

KR = DataPolicy(readers=NodeSet.parse("KR"), rest=NodeSet.parse("KR | EU"), audit=True)
LABEL = encode_label(KR)
DIRECTORY = Directory(
    NodeFacts(Eid.parse(f"dtn://{name}/"), "", frozenset({place}))
    for name, place in (("gs1", "KR"), ("relay", "EU"), ("sat1", "KR"), ("abroad", "XX"))
)


def event(
    node: str, hours: float, *acts: Act, peer: str = "", label: bytes = LABEL, name: str = BUNDLE
) -> AuditEvent:
    """Something that happens to the bundle."""
    peer = f"dtn://{peer}/" if peer else ""
    policy = label if Act.MADE in acts or Act.RECEIVED in acts else b""
    time_ms = T0 + round(hours * HOUR)
    digest = label_digest(label)
    return AuditEvent(sum(acts), time_ms, f"dtn://{node}/", name, digest, peer, "", policy)


def signer(node: str) -> NoteSigner:
    """Who signs for a node."""
    return NoteSigner(log_origin(f"dtn://{node}/", bytes(8)), node.encode().ljust(32, b"\0"))


def exported(
    node: str, events: Sequence[AuditEvent], sizes: Sequence[int] = (), pruned: int = 0
) -> LogExport:
    """The log of a node, closed at the end and at `sizes`."""
    octets = [encode_event(each) for each in events]
    tree = MerkleTree()
    tree.add(octets)
    base = Peaks()
    base.add(octets[:pruned])
    by = signer(node)
    notes = [
        LogCheckpoint(by.key.name, size, tree.root(size)).signed(by).encode()
        for size in (*sizes, len(octets))
    ]
    return LogExport(by.key.name, by.key, base, octets[pruned:], notes)


def journey(relay: str = "relay") -> dict[str, list[AuditEvent]]:
    """What each node says of the bundle's way over a relay."""
    return {
        "gs1": [
            event("gs1", 0, Act.MADE, Act.SEALED, Act.STORED, peer="sat1"),
            event("gs1", 1, Act.FORWARDED, Act.DELETED, peer=relay),
        ],
        relay: [
            event(relay, 1, Act.RECEIVED, Act.STORED, peer="gs1"),
            event(relay, 2, Act.FORWARDED, Act.DELETED, peer="sat1"),
        ],
        "sat1": [
            event("sat1", 2, Act.RECEIVED, Act.OPENED, Act.STORED, peer=relay),
            event("sat1", 3, Act.OPENED, Act.DELETED, peer="sat1"),
        ],
    }


def exports(said: dict[str, list[AuditEvent]]) -> list[LogExport]:
    """The logs in which that stands, and of each node something else after it."""
    other = f"dtn://gs1/other@{T0}.2"
    return [
        exported(node, [*events, event(node, 9, Act.REFUSED, label=b"", name=other)])
        for node, events in said.items()
    ]


def leave(said: Said, node: str, number: int) -> None:
    """A node says one thing less."""
    del said[node][number]


def earlier(node: str) -> AuditEvent:
    """What a node says of something else, before the bundle was made."""
    return event(node, -1, Act.REFUSED, label=b"", name=f"dtn://gs1/other@{T0}.3")


FIRST, SECOND = f"{BUNDLE}+0/50", f"{BUNDLE}+50/50"


def in_parts() -> Said:
    """The journey of a bundle that goes in two parts from the station on."""
    parts = FIRST, SECOND
    here = Act.RECEIVED, Act.STORED
    gone = Act.FORWARDED, Act.DELETED
    return {
        "gs1": [
            event("gs1", 0, Act.MADE, Act.SEALED, Act.STORED, peer="sat1"),
            event("gs1", 1, Act.DELETED),
            *(event("gs1", 1, Act.STORED, name=part) for part in parts),
            *(event("gs1", 1, *gone, peer="relay", name=part) for part in parts),
        ],
        "relay": [
            *(event("relay", 1, *here, peer="gs1", name=part) for part in parts),
            *(event("relay", 2, *gone, peer="sat1", name=part) for part in parts),
        ],
        "sat1": [
            *(event("sat1", 2, *here, peer="relay", name=part) for part in parts),
            *(event("sat1", 2, Act.DELETED, name=part) for part in parts),
            event("sat1", 2, Act.STORED, Act.OPENED),
            event("sat1", 3, Act.OPENED, Act.DELETED, peer="sat1"),
        ],
    }


def hide(said: Said, node: str, name: str) -> None:
    """A node says nothing of one object."""
    said[node] = [each for each in said[node] if each.object != name]


CLAIM = RestClaim(BUNDLE, NodeSet.parse("KR | EU"), T0, T0 + 8 * HOUR)


def proof(said: Said, claim: RestClaim = CLAIM) -> bytes:
    """What is proven by what nodes say."""
    return json.dumps(make_proof(claim, exports(said), DIRECTORY, T0)).encode()
