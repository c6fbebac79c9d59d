"""A store with a disk that is a copy of it, and such stores with one fault each."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from stack.core.train import Buffer
from stack.ports.store import Committed, Op, Put, Release, Usage, Write
from stack.storage import MemoryStore


class Durable:
    """No fault: the disk is a copy of the store after each commit."""

    breaks: ClassVar[tuple[str, ...]] = ()
    """Where the machine may notice the fault: calls of `BundleStore`."""

    kind: ClassVar[type[MemoryStore]] = MemoryStore

    def __init__(self, quota_bytes: int, quota_bundles: int) -> None:
        self.store = self.kind(quota_bytes, quota_bundles)
        self._applies = False

    def reopen(self) -> None:
        self.store = copy.deepcopy(self.store)

    def crash(self) -> None:
        self.reopen()

    def crash_in_commit(self, ops: Sequence[Op], now_ms: int) -> None:
        self._applies = not self._applies
        if self._applies:
            self.store.commit(ops, now_ms)
        self.crash()

    def close(self) -> None:
        self.store.close()


class LosesTheLastCommit(Durable):
    """It acknowledges before it syncs."""

    breaks = ("BundleStore.scan", "BundleStore.read", "BundleStore.read_all")

    class kind(MemoryStore):
        before: MemoryStore | None = None

        def commit(self, ops: Sequence[Op], now_ms: int) -> Committed:
            self.before = None
            self.before = copy.deepcopy(self)
            return super().commit(ops, now_ms)

    def crash(self) -> None:
        assert isinstance(self.store, self.kind)
        if isinstance(self.store.before, self.kind):
            self.store = self.store.before


class DoesHalfACommit(Durable):
    """A commit is no transaction."""

    breaks = ("BundleStore.commit", "BundleStore.scan", "BundleStore.read", "BundleStore.read_all")

    def crash_in_commit(self, ops: Sequence[Op], now_ms: int) -> None:
        self.store.commit(ops[: (len(ops) + 1) // 2], now_ms)
        self.crash()


class ForgetsStateAtTheEnd(Durable):
    """What was written to is a cache."""

    breaks = ("BundleStore.commit", "BundleStore.read", "BundleStore.read_all")

    def reopen(self) -> None:
        self.store._state.clear()


class ForgetsKeysAtTheEnd(Durable):
    """What makes duplicates known is in memory alone."""

    breaks = ("BundleStore.commit",)

    def reopen(self) -> None:
        self.store._seen.clear()


class UsesRefsAgain(Durable):
    """After a restart it counts from the largest that is held."""

    breaks = ("BundleStore.commit",)

    def reopen(self) -> None:
        self.store._next_ref = max(self.store._held, default=0) + 1


class CutsLongOnes(Durable):
    """A column that is too short."""

    breaks = ("BundleStore.load",)

    class kind(MemoryStore):
        def load(self, refs: Sequence[int]) -> list[Buffer | None]:
            return [encoded and bytes(encoded)[:255] for encoded in super().load(refs)]


class HasNoQuotaOfBundles(Durable):
    """It counts octets alone."""

    breaks = ("BundleStore.commit", "BundleStore.usage")

    def __init__(self, quota_bytes: int, quota_bundles: int) -> None:
        super().__init__(quota_bytes, 1 << 20)


class MakesNoRoom(Durable):
    """The urgent waits for the rest."""

    breaks = ("BundleStore.commit",)

    class kind(MemoryStore):
        def commit(self, ops: Sequence[Op], now_ms: int) -> Committed:
            humble = [op._replace(evicts=False) if isinstance(op, Put) else op for op in ops]
            return super().commit(humble, now_ms)


class CountsWhatWasReleased(Durable):
    """Its usage only grows."""

    breaks = ("BundleStore.usage",)

    class kind(MemoryStore):
        most = 0

        def usage(self) -> Usage:
            usage = super().usage()
            self.most = max(self.most, usage.bytes)
            return replace(usage, bytes=self.most)


class ReleasesNothing(Durable):
    """A release is forgotten when a write comes with it."""

    breaks = ("BundleStore.scan", "BundleStore.commit", "BundleStore.usage")

    class kind(MemoryStore):
        def commit(self, ops: Sequence[Op], now_ms: int) -> Committed:
            if any(isinstance(op, Write) for op in ops):
                ops = [op for op in ops if not isinstance(op, Release)]
            return super().commit(ops, now_ms)


FAULTS: tuple[type[Durable], ...] = (
    LosesTheLastCommit,
    DoesHalfACommit,
    ForgetsStateAtTheEnd,
    ForgetsKeysAtTheEnd,
    UsesRefsAgain,
    CutsLongOnes,
    HasNoQuotaOfBundles,
    MakesNoRoom,
    CountsWhatWasReleased,
    ReleasesNothing,
)
