"""A state machine of Hypothesis that uses a bundle store as a node does, and as no node would.

    class Mine(StoreMachine):
        adapter = MyStores

    TestMine = Mine.TestCase

`MyStores(quota_bytes, quota_bundles)` makes a `StorePeer`: a store with eight calls of
`BundleStore` (`stack.ports.store`), and what can befall the computer under it. The machine puts,
releases, moves, writes and reads, lets bundles expire, fills the store beyond its quotas, closes it
and kills it at any moment, and holds all that it says against `store_model`, which is a few dicts.
After each step all that was acknowledged is there, octet by octet, and nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from interop.machines.fault import MachineFault, require
from interop.machines.machine import PeerMachine
from interop.machines.store_model import STORE_TABLE, StoreModel
from stack.core.train import Buffer
from stack.ports.store import (
    NO_ROOM,
    Committed,
    Move,
    Op,
    Place,
    Put,
    Release,
    Stored,
    Usage,
    Write,
)

QUOTA_BYTES = 1500
QUOTA_BUNDLES = 8
"""Of the store under test: it is full after a few bundles."""

COMMIT_BYTES_MAX = 8 * 300
"""Octets of bundles in one commit, at most."""

_KEYS = [bytes([0, number]) * 4 for number in range(24)]
_SPACES = ("jobs", "ltp")
_PICKS = st.integers(0, 1 << 16)

_ENCODED = st.builds(
    lambda size, octet: bytes([octet]) * size,
    st.sampled_from([300, 200, 100, 250, 1, 0]),
    st.integers(0, 255),
)
_PLACES = st.sampled_from(Place)
_NOTES = st.binary(max_size=4)
_WRITES = st.builds(
    Write,
    space=st.sampled_from(_SPACES),
    key=st.sampled_from(["", "a", "ab", "abc", "b", "é", "\uffff"]),
    value=st.none() | st.binary(max_size=16),
)


@st.composite
def _puts(draw: st.DrawFn, now_ms: int) -> Put:
    """A bundle of up to 300 octets that lives up to 40 ms from `now_ms`, or is dead already; of few
    keys, so that they collide."""
    return Put(
        key=draw(st.sampled_from(_KEYS)),
        encoded=draw(_ENCODED),
        place=draw(_PLACES),
        destination=draw(st.sampled_from(["dtn://gs1/files", "ipn:5.1", "dtn://ü/\0"])),
        source=draw(st.sampled_from(["dtn://sat1/files", "ipn:7.2"])),
        priority=draw(st.sampled_from([1, 0, 2, 3])),
        expires_ms=now_ms + draw(st.sampled_from([40, 20, 10, 5, 0, -1])),
        received_ms=now_ms,
        note=draw(_NOTES),
    )


Commits = Callable[[Sequence[Op], int], Committed]
"""As `BundleStore.commit`."""


class StoreUnderTest(Protocol):
    """What the machine asks of a store: eight calls of `BundleStore`, which has their words."""

    def commit(self, ops: Sequence[Op], now_ms: int) -> Committed:
        """Apply operations as one durable transaction."""
        ...

    def load(self, refs: Sequence[int]) -> list[Buffer | None]:
        """The octets of bundles."""
        ...

    def scan(self) -> Iterator[Stored]:
        """Every stored bundle."""
        ...

    def expire(self, now_ms: int, limit: int) -> list[Stored]:
        """Release what has expired."""
        ...

    def next_expiry(self) -> int | None:
        """When `expire` has something to do."""
        ...

    def read(self, space: str, key: str) -> bytes | None:
        """One entry of durable state."""
        ...

    def read_all(self, space: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """All entries of a space with a prefix."""
        ...

    def usage(self) -> Usage:
        """How full it is: `bundles` and `bytes`."""
        ...


class StorePeer(Protocol):
    """A store under test, and the computer on which it runs."""

    @property
    def store(self) -> StoreUnderTest:
        """The store that is open now."""
        ...

    def reopen(self) -> None:
        """It is closed, and another one opened on what is on disk."""
        ...

    def crash(self) -> None:
        """It is killed between two calls, and another one opened on what is on disk."""
        ...

    def crash_in_commit(self, ops: Sequence[Op], now_ms: int) -> None:
        """It is killed somewhere in `commit(ops, now_ms)`, and another one opened on what is on
        disk."""
        ...

    def close(self) -> None:
        """All is over."""
        ...


class MakesStorePeer(Protocol):
    """Makes an empty store under test."""

    def __call__(self, quota_bytes: int, quota_bundles: int, /) -> StorePeer:
        """A store that holds so many octets and so many bundles at most."""
        ...


class StoreMachine(PeerMachine):
    """The user of one store.  Set `adapter`."""

    adapter: ClassVar[MakesStorePeer]
    """Makes the store under test; a class, usually."""

    durable: ClassVar[bool] = True
    """Whether it outlives its process; if not it is never closed, nor killed."""

    table = STORE_TABLE

    peer: StorePeer

    def __init__(self) -> None:
        super().__init__()
        self.model = StoreModel(QUOTA_BYTES, QUOTA_BUNDLES)
        self.now_ms = 1000
        self.serial = 0

    @initialize()
    def start(self) -> None:
        """An empty store."""
        self.peer = type(self).adapter(QUOTA_BYTES, QUOTA_BUNDLES)

    @property
    def store(self) -> StoreUnderTest:
        """The store under test."""
        return self.peer.store

    # ------------------------------------------------------------------------ what a node does

    def draw_ops(self, data: st.DataObject) -> list[Op]:
        """Operations of all kinds, mostly on bundles that are held."""
        refs = sorted(self.model.held)
        ref = st.sampled_from(refs) if refs else st.integers(-1, 50)
        ops: list[Op] = []
        for _ in range(data.draw(st.sampled_from([6, 4, 2, 1, 0]))):
            kind = data.draw(st.sampled_from(["put", "put", "put", "release", "move", "write"]))
            if kind == "put":
                ops.append(data.draw(_puts(self.now_ms)))
            elif kind == "release":
                until_ms = data.draw(st.sampled_from([None, None, 0, self.now_ms + 40]))
                ops.append(Release(data.draw(ref), until_ms))
            elif kind == "move":
                ops.append(Move(data.draw(ref), data.draw(_PLACES), data.draw(_NOTES)))
            else:
                ops.append(data.draw(_WRITES))
        return ops

    def new_puts(
        self, count: int, priority: int, place: Place, encoded: bytes, lifetime_ms: int
    ) -> list[Op]:
        """Bundles that nobody has seen yet."""
        ops: list[Op] = []
        for _ in range(count):
            self.serial += 1
            key = b"new" + self.serial.to_bytes(4, "big")
            expires_ms = self.now_ms + lifetime_ms
            ops.append(Put(key, encoded, place, "dtn://a/", "dtn://b/", priority, expires_ms, 0))
        return ops

    def do(self, ops: Sequence[Op], commit: Commits | None = None) -> None:
        """One commit, by the store and by the model."""
        keys = [self.model.key_of(op) for op in ops]
        before = self.model.states(self.now_ms)
        committed = (commit or self.store.commit)(ops, self.now_ms)
        self.model.commit(ops, self.now_ms, committed)
        after = self.model.states(self.now_ms)
        for op, key in zip(ops, keys, strict=True):
            if key is not None and keys.count(key) == 1:
                what = type(op).__name__.lower()
                self.took("bundle", before.get(key, "new"), what, after.get(key, "new"))
        for key in before.keys() - after.keys() - set(keys):
            self.took("bundle", before[key], "eviction", "new")

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        """A batch of operations."""
        self.do(self.draw_ops(data))

    @rule(
        count=st.integers(2, 8),
        priority=st.integers(0, 3),
        place=_PLACES,
        encoded=_ENCODED,
        lifetime_ms=st.sampled_from([1000, 20]),
    )
    def fill(
        self, count: int, priority: int, place: Place, encoded: bytes, lifetime_ms: int
    ) -> None:
        """Bundles that nobody has seen yet, all alike."""
        self.do(self.new_puts(count, priority, place, encoded, lifetime_ms))

    @rule(keep=st.sets(_PICKS, max_size=2))
    def release_most(self, keep: set[int]) -> None:
        """Little is left: a store that tidies up has something to tidy."""
        refs = sorted(self.model.held)
        kept = {refs[pick % len(refs)] for pick in keep if refs}
        self.do([Release(ref) for ref in refs if ref not in kept])

    @rule(milliseconds=st.integers(1, 30))
    def wait(self, milliseconds: int) -> None:
        """Time passes."""
        self.now_ms += milliseconds

    @rule(limit=st.integers(0, 6))
    def expire(self, limit: int) -> None:
        """What has expired goes, the earliest first."""
        expected = self.model.expire(self.now_ms, limit)
        if expected:
            self.took("bundle", "held", "expiry", "new")
        self._same("expire", "the earliest of what has expired goes", expected,
                   self.store.expire(self.now_ms, limit))  # fmt: skip

    @rule()
    def expire_as_told(self) -> None:
        """To follow `next_expiry` is enough: after it nothing that has expired is left."""
        while (due := self.store.next_expiry()) is not None and due <= self.now_ms:
            gone = self.store.expire(self.now_ms, 2)
            self._same("expire", "the earliest goes first", self.model.expire(self.now_ms, 2), gone)
        left = self.model.expire(self.now_ms, 1)
        require(not left, "BundleStore.next_expiry", "something has expired by then", left)

    @rule(space=st.sampled_from(_SPACES), prefix=st.sampled_from(["", "a", "ab", "é", "z"]))
    def read(self, space: str, prefix: str) -> None:
        """Durable state, one entry and all of a prefix."""
        state = self.model.state
        self._same("read", "an entry as it was written", state.get((space, prefix)),
                   self.store.read(space, prefix))  # fmt: skip
        expected = sorted(
            (key, value)
            for (where, key), value in state.items()
            if where == space and key.startswith(prefix)
        )
        found = self.store.read_all(space, prefix)
        self._same("read_all", "entries as they were written, by key", expected, found)

    # ------------------------------------------------------------------------------- the end

    @precondition(lambda self: self.durable)
    @rule()
    def reopen(self) -> None:
        """Closed and opened."""
        self._noted("reopen")
        self.peer.reopen()

    @precondition(lambda self: self.durable)
    @rule()
    def crash(self) -> None:
        """Killed between two commits: all of them are there."""
        self._noted("crash")
        self.peer.crash()

    @precondition(lambda self: self.durable)
    @rule(
        count=st.integers(1, 6), place=_PLACES, encoded=_ENCODED, release=st.booleans(),
        writes=st.lists(_WRITES, max_size=3),
    )  # fmt: skip
    def crash_in_commit(
        self, count: int, place: Place, encoded: bytes, writes: list[Write], release: bool
    ) -> None:
        """Killed before a commit was acknowledged: all of it has happened, or nothing.  Raises
        `MachineFault`."""
        ops = self.new_puts(count, 1, place, encoded, 1000) + writes
        gone = sorted(self.model.held)[:1] if release else []
        ops += [Release(ref) for ref in gone]
        self.peer.crash_in_commit(ops, self.now_ms)
        found = {stored.key: stored.ref for stored in self.store.scan()}
        state = {(op.space, op.key): self.store.read(op.space, op.key) for op in writes}
        before = {key: self.model.state.get(key) for key in state}
        if sorted(found.values()) == sorted(self.model.held) and state == before:
            return
        self._noted("crash in a commit that took effect")
        after = copy.deepcopy(self.model)
        refs = [found.get(op.key, NO_ROOM) for op in ops if isinstance(op, Put)]
        evicted = [ref for ref in self.model.held if ref not in (*found.values(), *gone)]
        try:
            after.commit(ops, self.now_ms, Committed(refs, evicted))
        except MachineFault as fault:
            words = "killed in a commit, of which neither all nor nothing is there"
            raise MachineFault("BundleStore.commit", words, fault) from fault
        self.model = after

    # ------------------------------------------------------------------------ what must hold

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        """The store holds what the model holds, octet by octet, within its quota."""
        held = self.model.held
        stored: list[Stored] = [held[ref][0] for ref in sorted(held)]
        self._same("scan", "what was stored and not released, by ref", stored,
                   list(self.store.scan()))  # fmt: skip
        loaded = self.store.load([*held, 0, 1 << 60])
        octets = [*(encoded for _, encoded in held.values()), None, None]
        self._same("load", "octets are those that were put", octets,
                   [None if encoded is None else bytes(encoded) for encoded in loaded])  # fmt: skip
        usage = self.store.usage()
        self._same("usage", "bundles and octets that are held", (len(held), self.model.octets()),
                   (usage.bundles, usage.bytes))  # fmt: skip
        fits = usage.bytes <= QUOTA_BYTES and usage.bundles <= QUOTA_BUNDLES
        require(fits, "BundleStore.usage", "more than the quota", usage)
        expected = min((one.expires_ms for one in stored), default=None)
        due = self.store.next_expiry()
        named = expected is None or (due is not None and due <= expected)
        require(named, "BundleStore.next_expiry", "a bundle expires before it", (due, expected))

    def _noted(self, what: str) -> None:
        for state in set(self.model.states(self.now_ms).values()):
            self.took("bundle", state, what, state)

    def _same(self, call: str, words: str, expected: object, found: object) -> None:
        require(found == expected, f"BundleStore.{call}", f"not so: {words}", (expected, found))
