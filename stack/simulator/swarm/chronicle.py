"""Holds the logs of nodes (`stack.audit`) against what their disks have seen.

A chronicle lists what has come to rest at a node and what has left it, transaction by transaction.
It is made of the operations that became durable and of what they did, never of what the node writes
down of them; of the log it takes the entries alone.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from stack.audit.event import DETAIL_CHARS_MAX, Act, AuditEvent, decode_event
from stack.audit.log import ClosedLog
from stack.audit.merkle import MerkleTree
from stack.audit.note import NoteKey, open_checkpoint
from stack.core.errors import OrbitferryError
from stack.ports.store import BundleStore, Committed, Op, Put, Release, Stored
from stack.storage.audit_log import LOG, NOTE, NOTES, SPACE, VKEY

CAME, WENT = "comes", "goes"
BATCH: Final = 2000

Fact = tuple[str, str]
"""What happens, and to which bundle."""


class Chronicle:
    """What has become durable at one node."""

    def __init__(self) -> None:
        self.present: dict[int, str] = {}
        """Names of what rests there, by ref."""

        self.steps: list[list[Fact]] = []
        self.refused: Counter[str] = Counter()
        """How often something was refused for its data policy, by the words, in transactions that
        are done."""

        self.brought: defaultdict[str, set[str]] = defaultdict(set)
        """Of all that ever came to rest here, the neighbours that brought it; a disk that is set
        back does not change that."""

        self.dropped: set[str] = set()
        """What came and was not kept, for whatever reason."""

        self.not_permitted: list[str] = []
        """Why what its data policy forbids was not kept, each time."""

        self._refusing: list[str] = []
        """What this process has refused since its last transaction began."""

    def copy(self) -> Chronicle:
        """As it is now, for a backup."""
        twin = Chronicle()
        twin.present, twin.steps = dict(self.present), list(self.steps)
        twin.refused = self.refused.copy()
        twin.brought, twin.dropped = self.brought, self.dropped
        twin.not_permitted = self.not_permitted
        return twin

    def drops(self, fields: Mapping[str, Any]) -> None:
        """The node says that it does not keep a bundle (`bundle_dropped`)."""
        self.dropped.add(fields["bundle"])
        if fields["why"] == "not_permitted":
            self.not_permitted.append(fields["detail"])
            self._refusing.append(fields["detail"][:DETAIL_CHARS_MAX])

    def refusals(self) -> list[str]:
        """A transaction begins: what was refused before that is written down when it is durable."""
        names, self._refusing = self._refusing, []
        return names

    def committed(self, ops: Sequence[Op], outcome: Committed, refusals: Sequence[str]) -> None:
        """A transaction is durable."""
        self.refused.update(refusals)
        refs = iter(outcome.refs)
        gone = [*outcome.evicted]
        facts = []
        for op in ops:
            if type(op) is Put:
                if (ref := next(refs)) > 0:
                    self.present[ref] = name = _named(op.source, op.key)
                    facts.append((CAME, name))
                    self.brought[name].add(op.previous)
            elif type(op) is Release:
                gone.append(op.ref)
        self._step(facts, gone)

    def left(self, refs: Iterable[int]) -> None:
        """The store has let go of these by itself, in one transaction."""
        self._step([], refs)

    def reopened(self, stored: Iterable[Stored]) -> None:
        """A process begins: what a power cut has left of the last transaction is seen by it."""
        self._refusing.clear()
        found = {one.ref: _named(one.source, one.key) for one in stored}
        new = found.keys() - self.present.keys()
        facts = [(CAME, found[ref]) for ref in new]
        gone = self.present.keys() - found.keys()
        self.present.update((ref, found[ref]) for ref in new)
        self._step(facts, gone)

    def _step(self, facts: list[Fact], gone: Iterable[int]) -> None:
        names = (self.present.pop(ref, None) for ref in dict.fromkeys(gone))
        facts += [(WENT, name) for name in names if name is not None]
        if facts:
            self.steps.append(facts)

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
        for facts in self.steps:  # the order within a transaction says nothing
            found = told[at : at + len(facts)]
            if sorted(found) != sorted(facts):
                missing = sorted((Counter(facts) - Counter(found)).elements())[:3]
                instead = sorted((Counter(found) - Counter(facts)).elements())[:3]
                return [f"its log does not say {missing}, and says {instead} there"]
            at += len(facts)
        if len(told) > at:
            return [f"its log says {told[at : at + 3]}, which did not happen"]
        refused = Counter(event.detail for event in events if event.has(Act.REFUSED))
        missed = self.refused + Counter(self._refusing) - refused  # at the end nothing is under way
        return [
            f"its log does not say that something was refused: {each}"
            for each in sorted(missed)[:3]
        ]


def _fact(event: AuditEvent) -> Fact | None:
    """What an entry says of a bundle that comes to rest, or goes."""
    if "@" not in event.object:
        return None
    if event.has(Act.DELETED, Act.EXPIRED):
        return WENT, event.object
    if event.has(Act.STORED) and not event.detail:  # with words: it is stored as something else
        return CAME, event.object
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
