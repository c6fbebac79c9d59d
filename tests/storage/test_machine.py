"""Every store against a model of plain dicts, through closing, crashes and torn tails."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from stack.ports.store import Move, Op, Place, Put, Release
from stack.storage import MemoryStore, SqliteStore, StagingStore, StoreConfig
from tests.storage.conftest import scratch
from tests.storage.model import Model
from tests.strategies.store import places, puts, tags, wires, writes

QUOTA_BYTES = 1500
QUOTA_BUNDLES = 8

BATCH_BYTES = 8 * 300
"""What one commit may append: a file of it may hold that, however small files should be."""


class StoreMachine(RuleBasedStateMachine):
    """Common to both stores: the same operations to the store and to the model."""

    store: StagingStore

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(QUOTA_BYTES, QUOTA_BUNDLES)
        self.now_ms = 1000
        self.serial = 0

    def _ref(self, data: st.DataObject) -> int:
        """Mostly a ref that is held."""
        refs = sorted(self.model.held)
        return data.draw(st.sampled_from(refs) if refs else st.integers(-1, 50))

    def _ops(self, data: st.DataObject) -> list[Op]:
        ops: list[Op] = []
        for _ in range(data.draw(st.sampled_from([6, 4, 2, 1, 0]))):
            kind = data.draw(st.sampled_from(["put", "put", "put", "release", "move", "write"]))
            if kind == "put":
                ops.append(data.draw(puts(self.now_ms)))
            elif kind == "release":
                until_ms = data.draw(st.sampled_from([None, None, 0, self.now_ms + 40]))
                ops.append(Release(self._ref(data), until_ms))
            elif kind == "move":
                ops.append(Move(self._ref(data), data.draw(places), data.draw(tags)))
            else:
                ops.append(data.draw(writes))
        return ops

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        """A batch of operations."""
        ops = self._ops(data)
        self.model.commit(ops, self.now_ms, self.store.commit(ops, self.now_ms))

    @rule(
        count=st.integers(2, 8),
        priority=st.integers(0, 3),
        place=places,
        wire=wires,
        lifetime_ms=st.sampled_from([1000, 20]),
    )
    def fill(self, count: int, priority: int, place: Place, wire: bytes, lifetime_ms: int) -> None:
        """Bundles that nobody has seen yet."""
        ops: list[Op] = []
        for _ in range(count):
            self.serial += 1
            key = b"new" + self.serial.to_bytes(4, "big")
            expires_ms = self.now_ms + lifetime_ms
            ops.append(Put(key, wire, place, "dtn://a/", "dtn://b/", priority, expires_ms, 0))
        self.model.commit(ops, self.now_ms, self.store.commit(ops, self.now_ms))

    @rule(data=st.data())
    def stage(self, data: st.DataObject) -> None:
        """The same in two halves."""
        ops = self._ops(data)
        staged = self.store.stage(ops, self.now_ms)
        self.model.commit(ops, self.now_ms, staged.finish())

    @rule(data=st.data())
    def release_most(self, data: st.DataObject) -> None:
        """Leave little alive, so that there is something to compact."""
        keep = data.draw(st.sets(st.sampled_from(sorted(self.model.held) or [0]), max_size=2))
        ops = [Release(ref) for ref in self.model.held if ref not in keep]
        self.model.commit(ops, self.now_ms, self.store.commit(ops, self.now_ms))

    @rule(milliseconds=st.integers(1, 30))
    def wait(self, milliseconds: int) -> None:
        """Time passes."""
        self.now_ms += milliseconds

    @rule(limit=st.integers(0, 6))
    def expire(self, limit: int) -> None:
        """What has expired goes, the earliest first."""
        assert self.store.expire(self.now_ms, limit) == self.model.expire(self.now_ms, limit)

    @invariant()
    def next_expiry(self) -> None:
        """Nothing expires before it, and nothing is overdue that it does not name."""
        expected = min((stored.expires_ms for stored, _ in self.model.held.values()), default=None)
        found = self.store.next_expiry()
        assert expected is None or (found is not None and found <= expected)

    @rule()
    def tidy_up(self) -> None:
        """To follow `next_expiry` is enough: after it nothing that has expired is left."""
        while (due := self.store.next_expiry()) is not None and due <= self.now_ms:
            assert self.store.expire(self.now_ms, 2) == self.model.expire(self.now_ms, 2)
        assert not self.model.expire(self.now_ms, 1)

    @rule(space=st.sampled_from(["jobs", "ltp"]), prefix=st.sampled_from(["", "a", "ab", "é", "z"]))
    def read(self, space: str, prefix: str) -> None:
        """Durable state, one entry and all of a prefix."""
        state = self.model.state
        assert self.store.read(space, prefix) == state.get((space, prefix))
        assert self.store.read_all(space, prefix) == sorted(
            (key, value)
            for (where, key), value in state.items()
            if where == space and key.startswith(prefix)
        )

    @invariant()
    def same_bundles(self) -> None:
        """The store holds what the model holds, octet by octet, within its quota."""
        held = self.model.held
        assert list(self.store.scan()) == [held[ref][0] for ref in sorted(held)]
        refs = [*held, 0, 1 << 60]
        wires = self.store.load(refs)
        assert [None if wire is None else bytes(wire) for wire in wires] == [
            *(wire for _, wire in held.values()),
            None,
            None,
        ]
        usage = self.store.usage()
        assert (usage.bundles, usage.bytes) == (len(held), self.model.octets())
        assert usage.bytes <= usage.quota_bytes
        assert usage.bundles <= QUOTA_BUNDLES

    def teardown(self) -> None:
        """Close the store."""
        self.store.close()


class MemoryMachine(StoreMachine):
    """The store in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore(QUOTA_BYTES, QUOTA_BUNDLES, keys_max=10_000)


class SqliteMachine(StoreMachine):
    """The durable store, closed and crashed at any point."""

    def __init__(self) -> None:
        super().__init__()
        self.base = scratch()
        self.generation = 0
        self.config = StoreConfig()

    @initialize(
        log_batch_bytes=st.sampled_from([0, 300, 1 << 30]),
        segment_bytes=st.sampled_from([1, 700, 1 << 20]),
        synchronous=st.sampled_from(["full", "normal"]),
    )
    def open(self, log_batch_bytes: int, segment_bytes: int, synchronous: Any) -> None:
        """Payload in the database, in the log, or in both; many log files, or one."""
        self.config = StoreConfig(
            quota_bytes=QUOTA_BYTES,
            quota_bundles=QUOTA_BUNDLES,
            keys_max=10_000,
            log_batch_bytes=log_batch_bytes,
            segment_bytes=segment_bytes,
            synchronous=synchronous,
        )
        self._open()

    def _path(self) -> Path:
        return self.base / str(self.generation)

    def _open(self) -> None:
        self.sqlite = SqliteStore(self._path(), self.config)
        self.store = self.sqlite

    def _crash(self) -> None:
        """Go on with the files as they are now, as if the process had been killed."""
        old = self._path()
        self.generation += 1
        # The index of the write-ahead log is rebuilt from it by whoever opens it first.
        shutil.copytree(old, self._path(), ignore=shutil.ignore_patterns("*-shm"))

    @rule()
    def reopen(self) -> None:
        """Close and open."""
        self.store.close()
        self._open()

    @rule()
    def crash(self) -> None:
        """Killed between two commits."""
        self._crash()
        self.store.close()
        self._open()

    @rule(data=st.data())
    def crash_in_commit(self, data: st.DataObject) -> None:
        """Killed before the commit came to its end: nothing of it happened."""
        staged = self.store.stage(self._ops(data), self.now_ms)
        self._crash()
        staged.finish()
        self.store.close()
        self._open()

    @rule(tail=st.binary(min_size=1, max_size=600))
    def crash_with_torn_tail(self, tail: bytes) -> None:
        """Killed while the payload log was being written, in an old file and in a new one."""
        self._crash()
        logs = sorted(self._path().glob("payload-*.log"))
        for log in logs[-1:]:
            with log.open("ab") as file:
                file.write(tail)
        (self._path() / "payload-0000999999.log").write_bytes(tail)
        self.store.close()
        self._open()

    @invariant()
    def no_dead_files(self) -> None:
        """Once everything is tidy, sealed files are within twice what is alive, and one."""
        while self.sqlite.untidy:
            assert self.sqlite.tidy()
        files = sorted(self._path().glob("payload-*.log"))
        sealed = sum(file.stat().st_size for file in files[:-1])
        assert sealed <= 2 * self.model.octets() + max(self.config.segment_bytes, BATCH_BYTES)

    def teardown(self) -> None:
        """Close the store and remove its files."""
        super().teardown()
        assert self.sqlite.usage().damaged == 0
        shutil.rmtree(self.base)


TestMemoryStore = MemoryMachine.TestCase
TestMemoryStore.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestSqliteStore = SqliteMachine.TestCase
TestSqliteStore.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
