"""Holds the logs of nodes (`stack.audit`) against what their disks have seen.

A chronicle lists what has come to rest at a node and what has left it, transaction by transaction.
It is made of the operations that became durable and of what they did, never of what the node writes
down of them; of the log it takes the entries alone.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from stack.audit.event import DETAIL_CHARS_MAX, Act, AuditEvent, decode_event
from stack.audit.log import ClosedLog
from stack.audit.merkle import MerkleTree
from stack.audit.note import NoteKey, open_checkpoint
from stack.contacts.plan import Plan
from stack.core.clock import dtn_to_iso
from stack.core.errors import OrbitferryError
from stack.engines.bundle_agent.trail import NO_CONTACT, REFUSALS_MAX, REFUSALS_MS
from stack.ports.security import Opened
from stack.ports.store import (
    DUPLICATE,
    BundleStore,
    Committed,
    Move,
    Op,
    Place,
    Put,
    RecordEvent,
    Release,
    Stored,
)
from stack.storage.audit_log import LOG, NOTE, NOTES, SPACE, VKEY

CAME, WENT = "comes", "goes"
READ: Final = {CAME: "comes and is opened", WENT: "is opened and goes"}
UNREAD: Final = {words: plain for plain, words in READ.items()}
BATCH: Final = 2000

Fact = tuple[str, str]
"""What happens, and to which bundle."""


class Step(NamedTuple):
    """What one transaction did."""

    facts: list[Fact]
    seen: bool = True
    """False: it was found after a power cut, which does not show what was opened by it."""


class Resting(NamedTuple):
    """A bundle on a disk."""

    name: str
    read: bool
    """It is for an application here: when that lets go of it, it is opened."""


class Chronicle:
    """What has become durable at one node."""

    def __init__(self) -> None:
        self.present: dict[int, Resting] = {}
        """What rests there, by ref."""

        self.steps: list[Step] = []
        self.refused: Counter[Fact] = Counter()
        """How often what was refused for its data policy, by the words, in transactions that are
        done."""

        self.declined: Counter[Fact] = Counter()
        """How often what was not kept or not delivered, for whatever reason, by the words."""

        self.had: Counter[str] = Counter()
        """How many processes have had a bundle, each time that it came to rest: none hands it to
        one neighbour twice."""

        self.contacts: dict[str, set[str]] = {}
        """By neighbour the contacts with it, in words, of all plans that the node ever had."""

        self.brought: defaultdict[str, set[str]] = defaultdict(set)
        """Of all that ever came to rest here, the neighbours that brought it; a disk that is set
        back does not change that."""

        self.dropped: set[str] = set()
        """What came and was acknowledged without being kept, for whatever reason."""

        self.not_permitted: list[str] = []
        """Why what its data policy forbids was not kept, each time."""

        self._refusing: list[Fact] = []
        """What this process has refused and no transaction of it has written down."""

    def copy(self) -> Chronicle:
        """As it is now, for a backup."""
        twin = Chronicle()
        twin.present, twin.steps = dict(self.present), list(self.steps)
        twin.refused, twin.declined = self.refused.copy(), self.declined.copy()
        twin.had, twin.contacts = self.had.copy(), self.contacts
        twin.brought, twin.dropped = self.brought, self.dropped
        twin.not_permitted = self.not_permitted
        return twin

    def given(self, node: str, plan: Plan) -> None:
        """The node goes by this plan from now on."""
        for one in plan.contacts:
            if one.source == f"dtn://{node}/":
                words = f"contact from {dtn_to_iso(one.start_ms)} to {dtn_to_iso(one.end_ms)}"
                self.contacts.setdefault(one.destination, set()).add(words)

    def hears(self, event: str, fields: Mapping[str, Any]) -> None:
        """The node says something of itself."""
        if event == "bundle_dropped":
            self._drops(fields)
        elif event == "bundle_withheld":
            self._withholds(fields)

    def _drops(self, fields: Mapping[str, Any]) -> None:
        """It does not keep a bundle."""
        if not fields["sender_keeps"]:
            self.dropped.add(fields["bundle"])
        what = fields["bundle"], fields["detail"][:DETAIL_CHARS_MAX]
        self.declined[what] += 1
        if fields["why"] == "not_permitted":
            self.not_permitted.append(fields["detail"])
            self._refusing.append(what)

    def _withholds(self, fields: Mapping[str, Any]) -> None:
        """It does not deliver a bundle."""
        words = f"not delivered: {fields['why']}"[:DETAIL_CHARS_MAX]
        self.declined[_in_words(self.present[fields["ref"]].name), words] += 1

    def refusals(self, ops: Sequence[Op]) -> list[Fact]:
        """A transaction begins: what was refused before that it writes down.  One that is cut off
        before the transaction with its record is not missed, though others came between."""
        events = [op.event for op in ops if type(op) is RecordEvent]
        found = Counter(
            (_in_words(name), what.detail[:DETAIL_CHARS_MAX])
            for what, name in events
            if what.acts & Act.REFUSED
        ) & Counter(self._refusing)
        self._refusing = list((Counter(self._refusing) - found).elements())
        return list(found.elements())

    def committed(self, ops: Sequence[Op], outcome: Committed, refusals: Sequence[Fact]) -> None:
        """A transaction is durable."""
        self.refused.update(refusals)
        refs = iter(outcome.refs)
        facts: list[Fact] = []
        gone: dict[int, bool] = dict.fromkeys(outcome.evicted, False)
        for op in ops:
            if type(op) is Move and op.ref in self.present:
                self.present[op.ref] = self.present[op.ref]._replace(read=_is_read(op.place))
        for op in ops:
            if type(op) is Put:
                ref, name = next(refs), _named(op.source, op.key)
                if ref == DUPLICATE:
                    self.dropped.add(_in_words(name))
                elif ref > 0:
                    self.present[ref] = Resting(name, _is_read(op.place))
                    self.had[name] += 1
                    facts.append((READ[CAME] if isinstance(op.known, Opened) else CAME, name))
                    self.brought[name].add(op.previous)
            elif type(op) is Release:
                # What does not pass security any more is forgotten at once.
                gone.setdefault(op.ref, op.known_until_ms != 0)
        self._step(facts, gone)

    def left(self, refs: Iterable[int]) -> None:
        """The store has let go of these by itself, in one transaction."""
        self._step([], dict.fromkeys(refs, False))

    def reopened(self, stored: Iterable[Stored]) -> None:
        """A process begins: what a power cut has left of the last transaction is seen by it."""
        self._refusing.clear()
        found = {
            one.ref: Resting(_named(one.source, one.key), _is_read(one.place)) for one in stored
        }
        facts = [(CAME, found[ref].name) for ref in found.keys() - self.present.keys()]
        gone = self.present.keys() - found.keys()
        self.present.update(found)
        self.had.update(one.name for one in found.values())
        self._step(facts, dict.fromkeys(gone, False), seen=False)

    def _step(self, facts: list[Fact], gone: Mapping[int, bool], seen: bool = True) -> None:
        """`gone`: whether an application has let go of them, where they were for one."""
        for ref, taken in gone.items():
            one = self.present.pop(ref, None)
            if one is not None:
                facts.append((READ[WENT] if one.read and taken else WENT, one.name))
        if facts:
            self.steps.append(Step(facts, seen))

    def compare(self, node: str, store: BundleStore, others: Mapping[str, Chronicle]) -> list[str]:
        """What is wrong with the log of a node; `others`: the chronicles of all, by node."""
        try:
            octets = [event for _, event in _entries(store)]
            events = [decode_event(each) for each in octets]
            return (
                self._entries_against(node, events)
                + _handed_on(node, events, others)
                + _checkpoints(store, octets)
            )
        except OrbitferryError as error:
            return [f"its log cannot be read: {error}"]

    def _entries_against(self, node: str, events: Sequence[AuditEvent]) -> list[str]:
        foreign = {event.node for event in events} - {f"dtn://{node}/"}
        if foreign:
            return [f"its log has entries of {sorted(foreign)}"]
        told = [fact for event in events if (fact := _fact(event)) is not None]
        at = 0
        for facts, seen in self.steps:  # the order within a transaction says nothing
            found = told[at : at + len(facts)]
            if not seen:
                found = [(UNREAD.get(what, what), name) for what, name in found]
            if sorted(found) != sorted(facts):
                missing = sorted((Counter(facts) - Counter(found)).elements())[:3]
                instead = sorted((Counter(found) - Counter(facts)).elements())[:3]
                return [f"its log does not say {missing}, and says {instead} there"]
            at += len(facts)
        if len(told) > at:
            return [f"its log says {told[at : at + 3]}, which did not happen"]
        return self._refusals_against(events) + self._hands_against(events)

    def _refusals_against(self, events: Sequence[AuditEvent]) -> list[str]:
        told = Counter(
            (_in_words(event.object), event.detail) for event in events if event.has(Act.REFUSED)
        )
        # At the end nothing is under way.  What a process that was cut off has refused may be
        # there, or not.
        missed = self.refused + Counter(self._refusing) - told
        times = sorted(event.time_ms for event in events if event.has(Act.REFUSED))
        spans = zip(times, times[REFUSALS_MAX - 1 :], strict=False)
        if any(last - first < REFUSALS_MS for first, last in spans):
            missed.clear()  # of so many in so short a time the others are not written down
        invented = told - self.declined
        return [
            f"its log does not say that it refused {name}: {why}"
            for name, why in sorted(missed)[:3]
        ] + [
            f"its log says {told[name, why]} times that it refused {name}: {why}; it did"
            f" {self.declined[name, why]} times"
            for name, why in sorted(invented)[:3]
        ]

    def _hands_against(self, events: Sequence[AuditEvent]) -> list[str]:
        """What it says of those to whom it gave something, against how often and over which
        contacts it could."""
        given: Counter[Fact] = Counter()
        for event in events:
            if not event.has(Act.FORWARDED):
                continue
            name, peer = event.object, event.peer
            given[name, peer] += 1
            if given[name, peer] > self.had[name]:
                return [f"its log says {given[name, peer]} times that {peer} got {name}"]
            planned = self.contacts.get(peer)  # of those that nobody plans, no book knows
            if event.detail != NO_CONTACT and planned and event.detail not in planned:
                return [f"its log says that {peer} got {name} in a {event.detail}: there is none"]
        return []


def _is_read(place: Place) -> bool:
    return place in (Place.DELIVER, Place.DEFER)


def _fact(event: AuditEvent) -> Fact | None:
    """What an entry says of a bundle that comes to rest, or goes."""
    if "@" not in event.object:
        return None
    opened = event.has(Act.OPENED)
    if event.has(Act.DELETED, Act.EXPIRED):
        return READ[WENT] if opened else WENT, event.object
    if event.has(Act.STORED) and not event.detail:  # with words: it is stored as something else
        return READ[CAME] if opened else CAME, event.object
    return None


def _in_words(name: str) -> str:
    """What a node calls a bundle that it does not keep: of a fragment without its length."""
    return name.rpartition("/")[0] if "+" in name else name


def _handed_on(
    node: str, events: Sequence[AuditEvent], others: Mapping[str, Chronicle]
) -> list[str]:
    """What a log says of neighbours that have got something, against what has come to them."""
    here = f"dtn://{node}/"
    for event in events:
        name = event.object
        if event.has(Act.FORWARDED):
            other = others[event.peer.removeprefix("dtn://").removesuffix("/")]
            if name not in other.brought and _in_words(name) not in other.dropped:
                return [f"its log says that {event.peer} has got {name}, which never came there"]
        elif event.acts == Act.DELETED and (event.peer or not event.detail):
            takers = [each for each, other in others.items() if here in other.brought[name]]
            if takers:
                return [f"its log does not say that {takers} got {name}"]
    return []


def _named(source: str, key: bytes) -> str:
    """What a log calls a bundle, by its key (`stack.wire.bundle.bundle_key`)."""
    numbers = struct.unpack_from(">QQ", key)
    name = f"{source}@{numbers[0]}.{numbers[1]}"
    if len(key) == 64:  # a fragment's, with the digest of its content
        offset, length = struct.unpack_from(">QQ", key, 16)
        name += f"+{offset}/{length}"
    return name


def _entries(store: BundleStore) -> Iterator[tuple[int, bytes]]:
    at = 0
    while found := store.events(at, BATCH):
        yield from found
        at = found[-1][0] + 1


def _checkpoints(store: BundleStore, octets: Sequence[bytes]) -> list[str]:
    """Hold every checkpoint that is kept against the entries."""
    state, vkey = store.read(SPACE, LOG), store.read(SPACE, VKEY)
    if state is None or vkey is None:
        return []
    key = NoteKey.parse(vkey.decode())
    tree = MerkleTree()
    tree.add(octets[ClosedLog.decode("", state).start :])
    notes = [note for _, note in store.read_all(NOTES)]
    for note in (*notes, store.read(SPACE, NOTE) or b""):
        checkpoint = open_checkpoint(note, key)[1]
        if checkpoint.size > tree.size or tree.root(checkpoint.size) != checkpoint.root:
            return [f"its checkpoint of {checkpoint.size} entries is not that of its log"]
    return []
