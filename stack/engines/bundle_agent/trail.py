"""What is written down of bundles in the log of this node (`stack.audit`): each event goes to the
store with the operation that it tells of, so that both are there or neither.

A bundle is known in all logs by who made it and when (RFC 9171 §4.2.7), a fragment also by what it
covers, together with the digest of its data policy's label: all that no node on the way changes.
"""

from __future__ import annotations

from functools import lru_cache

from stack.audit.event import WITHIN, Act, Circumstance, Happened, label_digest
from stack.contacts.plan import Plan
from stack.core.clock import dtn_to_iso
from stack.core.errors import DecodeError
from stack.engines.bundle_agent.entry import Entry, EventSubject, node_and_service
from stack.engines.bundle_agent.notes import is_bare, parse_note, unlabelled, why_and_name
from stack.policy.label import decode_label, encode_label, label_of
from stack.ports.application import Happening
from stack.ports.store import Place, Stored
from stack.wire.bundle import IS_FRAGMENT, STAMP_BYTES, Bundle, PrimaryBlock, parse_stamp

EVERYTHING = "all"
POLICY = "policy"
REFUSALS_MAX = 1000
"""Refused bundles that are written down in `REFUSALS_MS`: who sends more adds nothing by it."""

REFUSALS_MS = 600_000
STORED = int(Act.STORED)
GONE = int(Act.DELETED)
RECEIVED = int(Act.RECEIVED)
REFUSED = int(Act.REFUSED)
FORWARDED = int(Act.FORWARDED)
CONSUMED = int(Act.OPENED | Act.DELETED)
EMPTIED = int(Act.RECEIVED | Act.OPENED | Act.DELETED)
QUIET = frozenset({"audit", "68"})
"""Services whose bundles are about logs: what is written down of them would need more of them."""

NO_CONTACT = "outside every planned contact"
_Contact = tuple[Plan | None, int, int, str]
"""Of which plan, from when to when, and in words."""

_NO_CONTACT: _Contact = None, 0, 0, ""


class AuditTrail:
    """Makes the events of one node."""

    def __init__(self, node: str, which: str = POLICY) -> None:
        """`which` bundles: those whose "policy" asks for it, or "all"."""
        self._node = node
        self.everything = which == EVERYTHING
        self._came = 0, b"", "", Circumstance(0, node, b"", "", "", b"")
        """Acts, label, peer and circumstance of the last bundle that came: mostly those of the
        next one."""

        self._refusing_ms = self._refusals = 0
        self._contacts: dict[str, _Contact] = {}
        """Of each neighbour the contact that it was last heard in."""

        self._went = b"", 0, "", _NO_CONTACT, self._came[-1]
        """Likewise digest of the label, acts, neighbour, contact and circumstance of the last one
        that a neighbour has got."""

    def wants(self, label: bytes) -> bool:
        """Whether a bundle with this label, or none, has its story written down."""
        return self.everything or (label != b"" and asks(label))

    def came(
        self, bundle: Bundle, source: str, label: bytes, acts: int, peer: str
    ) -> Happened | None:
        """A bundle that is about to be stored, `acts` before that; from or for whom is `peer`.  Its
        `label` is one that `wants` its story written down."""
        primary = bundle.primary
        if not label and primary.destination.service in QUIET:
            return None
        name = f"{source}@{primary.creation_ms}.{primary.sequence}"
        if primary.flags & IS_FRAGMENT:
            name = object_name(primary, len(bundle.blocks[-1].data))
        did, what, who, came = self._came
        if did != acts or what != label or who != peer:
            came = Circumstance(acts | STORED, self._node, label_digest(label), peer, "", label)
            self._came = acts, label, peer, came
        return came, name

    def set_aside(self, bundle: Bundle, peer: str) -> tuple[bytes, str, Happened | None]:
        """A bundle from `peer` that could not be judged, and is kept in quarantine: its label,
        where that asks for something, the name under which it is known, and what is written
        down."""
        label = label_of(bundle.blocks)
        label = label if asks(label) else b""
        if not self.wants(label):
            return b"", "", None
        event = self.came(bundle, str(bundle.primary.source), label, RECEIVED, peer)
        return label, event[1] if event is not None else "", event

    def emptied(self, outer: Bundle, peer: str) -> Happened | None:
        """A bundle from `peer` that ends here as what was within it is stored."""
        label = label_of(outer.blocks)
        if not self.wants(label):
            return None
        return self.came(outer, str(outer.primary.source), label, EMPTIED, peer)

    def refused(self, bundle: Bundle, why: str, peer: str, now_ms: int) -> Happened | None:
        """A bundle that came from `peer` and is not kept; nothing for the many of somebody who
        wants to fill the log with them."""
        label = label_of(bundle.blocks)
        if not self.wants(label):
            return None
        if not 0 <= now_ms - self._refusing_ms < REFUSALS_MS:
            self._refusing_ms, self._refusals = now_ms, 0
        self._refusals += 1
        if self._refusals > REFUSALS_MAX:
            return None
        name = object_name(bundle.primary, len(bundle.payload.data))
        digest = label_digest(label)
        return Circumstance(REFUSED, self._node, digest, peer, why, label), name

    def held(self, old: Stored) -> EventSubject | None:
        """What events of a bundle in the store begin with, or nothing for one without events."""
        label, note = unlabelled(old.note)
        if not self.wants(label) or (not label and _is_quiet(old.destination)):
            return None
        creation_ms, sequence = parse_stamp(old.key[:STAMP_BYTES])
        name = f"{old.source}@{creation_ms}.{sequence}"
        if old.place is Place.QUARANTINE:
            name = why_and_name(note)[1] or name
        elif note and not is_bare(note):
            primary, length, _ = parse_note(note)
            name = object_name(primary, length)
        return self._node, name, label_digest(label)

    def left(self, stored: Stored, acts: int, why: str) -> Happened | None:
        """See `stack.ports.store.EventLedger`."""
        try:
            told = self.held(stored)
        except Exception:  # it goes all the same, and that is written down
            told = self._node, f"ref:{stored.ref}", b""
        return None if told is None else _then(told, acts, why=why)

    def done(self, one: Happening) -> Happened | None:
        """What a service has done here, unless nobody asks for that."""
        label = b"" if one.policy is None else encode_label(one.policy)
        if one.act is not Act.KEY_DESTROYED and not self.wants(label):
            return None
        digest = label_digest(label)
        shown = label if one.act & Act.MADE else b""
        return Circumstance(one.act, self._node, digest, "", one.detail, shown), one.object

    def forwarded(
        self, told: EventSubject, acts: int, neighbour: str, plan: Plan, now_ms: int
    ) -> Happened:
        """A neighbour has just said that it has a bundle."""
        _, name, label = told
        was, did, whom, (of, from_ms, until_ms, _), now = self._went
        alike = was == label and did == acts and whom == neighbour
        if not alike or of is not plan or not from_ms <= now_ms < until_ms:
            why = self.over(plan, neighbour, now_ms)
            now, _ = _then(told, acts, neighbour, why)
            contact = self._contacts.get(neighbour, _NO_CONTACT)
            self._went = label, acts, neighbour, contact, now
        return now, name

    def over(self, plan: Plan, neighbour: str, now_ms: int) -> str:
        """The contact over which a neighbour has just been heard, in words."""
        known = self._contacts.get(neighbour)
        if known is None or known[0] is not plan or not known[1] <= now_ms < known[2]:
            found = next(iter(plan.active(now_ms, self._node, neighbour)), None)
            known = (plan, now_ms, now_ms + 1, NO_CONTACT)
            if found is not None:
                words = f"contact from {dtn_to_iso(found.start_ms)} to {dtn_to_iso(found.end_ms)}"
                known = (plan, found.start_ms, found.end_ms, words)
            self._contacts[neighbour] = known
        return known[3]


def happens(entry: Entry | None, acts: int, peer: str = "", why: str = "") -> Happened | None:
    """What is done with a stored bundle, if its story is written down."""
    told = None if entry is None else entry.told
    return None if told is None else _then(told, acts, peer, why)


def _then(told: EventSubject, acts: int, peer: str = "", why: str = "") -> Happened:
    """What is done with a bundle."""
    node, name, label = told
    return _circumstance(acts, node, label, peer, why), name


def wrapped(inner: Happened, outer: Happened, gateway: str) -> tuple[Happened, Happened]:
    """What is written down of a bundle besides that it came, or was made, when it goes into another
    one for `gateway`: from here on the log says of that one where it is."""
    (_, node, label, *_), name = inner
    return inner, (_circumstance(GONE, node, label, gateway, WITHIN + outer[1]), name)


def ended(event: Happened) -> Happened:
    """The same of what is let go of at once."""
    common, name = event
    return common._replace(acts=common.acts | GONE), name


@lru_cache(maxsize=1024)
def _circumstance(acts: int, node: str, label: bytes, peer: str, why: str) -> Circumstance:
    return Circumstance(acts, node, label, peer, why, b"")


@lru_cache(maxsize=1024)
def asks(label: bytes) -> bool:
    """Whether data under this label has its story written down."""
    try:
        return decode_label(label).audit
    except DecodeError:  # what nobody can read here asks for nothing
        return False


def _is_quiet(destination: str) -> bool:
    return node_and_service(destination)[1] in QUIET


def object_name(primary: PrimaryBlock, length: int) -> str:
    """The name of a bundle in all logs."""
    name = f"{primary.source!s}@{primary.creation_ms}.{primary.sequence}"  # !s: half the time
    return f"{name}+{primary.fragment_offset}/{length}" if primary.flags & IS_FRAGMENT else name


def name_of(primary: PrimaryBlock) -> str:
    """A bundle in the words of logs for people."""
    fragment = f"+{primary.fragment_offset}" if primary.flags & IS_FRAGMENT else ""
    return f"{primary.source}@{primary.creation_ms}.{primary.sequence}{fragment}"
