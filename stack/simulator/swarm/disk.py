"""A node's disk, which outlives its processes: full, slow, torn, or with flipped bits."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from stack.core.errors import StoreError
from stack.core.sansio import Trace
from stack.core.train import Buffer
from stack.node.config import StoreSection
from stack.ports.store import Committed, EventLedger, Op, Stored, Usage
from stack.simulator.swarm.chronicle import Chronicle
from stack.simulator.swarm.ledger import Held, Key, RunLedger, identity_of
from stack.simulator.swarm.memory_image import MemoryImage, flipped
from stack.simulator.swarm.process import Crashed, Process
from stack.storage.files import DATABASE_NAME, DamagedError
from stack.storage.sqlite import SqliteStore
from stack.storage.staged import Scrubbed, Staged, StagingStore

T = TypeVar("T")

WAL_NAME = DATABASE_NAME + "-wal"
SHM_NAME = DATABASE_NAME + "-shm"
STORE_NAME = "store"
"""Folder of the store in a node's data directory, as `stack.node.build` has it."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a disk held once."""

    folder: Path
    image: MemoryImage | None
    durable: frozenset[Key]
    """Identities of the bundles that it had ever held by then."""

    chronicle: Chronicle


class NodeDisk:
    """The disk of one node."""

    def __init__(
        self, node: str, directory: Path, section: StoreSection, ledger: RunLedger, seed: str
    ) -> None:
        """`directory` is the node's data directory."""
        self.node = node
        self.directory = directory
        self.full = 0
        """Faults that say so at present."""

        self.slow_s = 0.0
        self.armed = ""
        """How the next commit is to end the process: see `COMMIT_MODES`."""

        self.held = Held()
        self.chronicle = Chronicle()
        self.ledger = ledger
        self.rng = random.Random(seed)
        self.refused = 0
        self.delayed = 0
        self._section = section
        self.image = MemoryImage(section) if section.kind == "memory" else None
        """What is on it, where the store is kept in memory."""

        self._next: Path | None = None
        self._store: DiskStore | None = None

    def open(self, process: Process, trace: Trace) -> DiskStore:
        """The store, for a process that begins."""
        inner: MemoryImage | SqliteStore
        if self.image is not None:
            inner = self.image
        else:
            inner = SqliteStore(self.directory / STORE_NAME, self._section, trace)
        stored = list(inner.scan())
        self.held.reopened(stored)
        self.chronicle.reopened(stored)
        self.ledger.durable[self.node].update(
            identity_of(key) for key, *_ in self.held.bundles.values()
        )
        self._store = DiskStore(self, process, inner)
        return self._store

    def snapshot(self) -> None:
        """Keep what is on the disk now, whatever the dying process still does to its files."""
        if self._store is None or self._next is not None:
            return
        if self.image is not None:
            self.image = self._store.committed_image().copy()
        self._next = self.directory.with_name(self.directory.name + ".next")
        shutil.copytree(
            self.directory, self._next, ignore=shutil.ignore_patterns(SHM_NAME, "lock", "*.sock")
        )

    def swap(self) -> None:
        """Once the dead process has stopped: the next one finds the snapshot."""
        if self._next is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self._next.rename(self.directory)
            self._next = None

    def back_up(self) -> Backup:
        """Copy what is on the disk now."""
        folder = self.directory.with_name(self.directory.name + ".backup")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(
            self.directory, folder, ignore=shutil.ignore_patterns(SHM_NAME, "lock", "*.sock")
        )
        image = None if self._store is None else self.image
        if image is not None:
            assert self._store is not None
            image = self._store.committed_image().copy()
        durable = frozenset(self.ledger.durable[self.node])
        return Backup(folder, image, durable, self.chronicle.copy())

    def set_back(self, backup: Backup) -> None:
        """After `snapshot`: the next process finds the backup, and not what there was."""
        assert self._next is not None
        shutil.rmtree(self._next)
        backup.folder.rename(self._next)
        self.chronicle = backup.chronicle
        if backup.image is not None:
            self.image = backup.image

    def tear(self, finish: Callable[[], Any]) -> None:
        """A power cut in the middle of a commit of SQLite: of what it appends to the payload log
        and then to the write-ahead log, a part is on the disk."""
        self.snapshot()
        assert self._next is not None
        finish()
        there, image = self.directory / STORE_NAME, self._next / STORE_NAME
        logs = sorted(path.name for path in there.glob("payload-*.log"))
        tails = []
        for name in (*logs, WAL_NAME):
            now = (there / name).read_bytes() if (there / name).exists() else b""
            before = (image / name).stat().st_size if (image / name).exists() else 0
            tails.append((name, now[before:]))
        left = self.rng.randint(0, sum(len(tail) for _, tail in tails))
        for name, tail in tails:
            part = tail[:left]
            left -= len(part)
            if part:
                with (image / name).open("ab") as file:
                    file.write(part)

    def flip(self) -> Key | None:
        """Flip a bit of some stored bundle; its key, or None when there was nothing to flip."""
        if self.image is not None:
            store = self._store
            image = self.image if store is None else store.committed_image()
            return image.flip(self.rng)
        with contextlib.suppress(sqlite3.OperationalError), self._rows() as (db, rows):
            if rows:
                ref, key, *place = self.rng.choice(rows)
                self._change(db, ref, *place)
                return bytes(key)
        return None

    def upset(self, octets: int) -> bool:
        """Change so many octets of every stored bundle; whether there was one."""
        if self.image is not None:
            return False
        with contextlib.suppress(sqlite3.OperationalError), self._rows() as (db, rows):
            for ref, _, *place in rows:
                for _ in range(octets):
                    self._change(db, ref, *place)
            return bool(rows)
        return False

    @contextlib.contextmanager
    def _rows(self) -> Iterator[tuple[sqlite3.Connection, list[Any]]]:
        """The database, and (ref, key, segment, start, size) of each bundle in it.  Raises
        `sqlite3.OperationalError`, as do changes, while a commit is under way."""
        path = self.directory / STORE_NAME / DATABASE_NAME
        db = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            rows = db.execute("SELECT ref, key, segment, start, size FROM bundle ORDER BY ref")
            yield db, rows.fetchall()
        finally:
            db.close()

    def _change(
        self, db: sqlite3.Connection, ref: int, segment: int, start: int, size: int
    ) -> None:
        """Flip a bit of a bundle."""
        if segment:
            path = self.directory / STORE_NAME / f"payload-{segment:010d}.log"
            with path.open("r+b") as file:
                file.seek(start)
                encoded = flipped(file.read(size), self.rng)
                file.seek(start)
                file.write(encoded)
            return
        (encoded,) = db.execute("SELECT wire FROM body WHERE ref = ?", (ref,)).fetchone()
        damaged = flipped(encoded, self.rng)
        db.execute("UPDATE body SET wire = ? WHERE ref = ?", (damaged, ref))

    def flip_partial(self) -> bool:
        """Flip a bit of some unfinished file; whether there was one."""
        paths = sorted(self.directory.glob("files/.partial/*"))
        paths = [path for path in paths if path.stat().st_size]
        if not paths:
            return False
        path = self.rng.choice(paths)
        path.write_bytes(flipped(path.read_bytes(), self.rng))
        return True

    def scan(self) -> list[Stored]:
        """What the store of the present process holds."""
        return [] if self._store is None else list(self._store.scan())

    def problems_of_log(self, others: Mapping[str, Chronicle]) -> list[str]:
        """What the log of the node says and does not say against what was seen by all disks."""
        return [] if self._store is None else self.chronicle.compare(self.node, self._store, others)

    def close(self) -> None:
        """At the end of the run."""
        if self._store is not None:
            self._store.close()


class _Guarded(Staged[T]):
    """A transaction that the disk may yet spoil."""

    __slots__ = ("_complete", "_error", "_over")

    def __init__(self, result: T, complete: Callable[[], T]) -> None:
        super().__init__(result, _nothing)
        self._complete = complete
        self._error: Exception | None = None
        self._over = False

    def perform(self) -> None:
        """Have the disk done with it, though nobody hears of it yet."""
        if self._over:
            return
        self._over = True
        try:
            self._complete()
        except Exception as error:  # for whoever is waiting
            self._error = error

    def finish(self) -> T:
        self.perform()
        if self._error is not None:
            raise self._error
        return self._result


def _nothing() -> None:
    pass


class DiskStore:
    """The store of one process on a `NodeDisk`: a `StagingStore`."""

    def __init__(self, disk: NodeDisk, process: Process, inner: MemoryImage | SqliteStore) -> None:
        self._disk = disk
        self._process = process
        self._inner = inner
        self._before: MemoryImage | None = None
        """The contents without the transaction that is waiting for the disk."""
        self._waiting: _Guarded[Any] | None = None

    @property
    def inner(self) -> StagingStore:
        """The real store."""
        return self._inner

    def committed_image(self) -> MemoryImage:
        """A memory store's contents as far as they are durable."""
        image = self._before or self._inner
        assert isinstance(image, MemoryImage)
        return image

    # ---- writing -------------------------------------------------------------------------

    def commit(self, ops: Sequence[Op], now_ms: int) -> Committed:
        """See `BundleStore.commit`."""
        return self.stage(ops, now_ms).finish()

    def stage(self, ops: Sequence[Op], now_ms: int) -> Staged[Committed]:
        """See `StagingStore.stage`."""
        kept = list(ops)
        refusals = self._disk.chronicle.refusals(kept)

        def durable(outcome: Committed) -> None:
            disk = self._disk
            at_s = asyncio.get_running_loop().time()
            disk.ledger.committed(disk.node, disk.held, kept, outcome, at_s)
            disk.chronicle.committed(kept, outcome, refusals)
            self._check_quota(at_s)

        return self._stage(lambda: self._inner.stage(ops, now_ms), durable)

    def expire(self, now_ms: int, limit: int) -> list[Stored]:
        """See `BundleStore.expire`."""
        return self.stage_expire(now_ms, limit).finish()

    def stage_expire(self, now_ms: int, limit: int) -> Staged[list[Stored]]:
        """See `StagingStore.stage_expire`."""

        def durable(gone: list[Stored]) -> None:
            disk = self._disk
            disk.chronicle.left(one.ref for one in gone)
            for one in gone:
                disk.ledger.drop(disk.node, disk.held, one.ref, "expired")

        return self._stage(lambda: self._inner.stage_expire(now_ms, limit), durable)

    def stage_scrub(self) -> Staged[Scrubbed]:
        """See `StagingStore.stage_scrub`."""

        def durable(found: Scrubbed) -> None:
            self._note_damage(found.damaged)

        return self._stage(self._inner.stage_scrub, durable)

    def _stage(self, stage: Callable[[], Staged[T]], durable: Callable[[T], None]) -> Staged[T]:
        disk = self._disk
        self._check()
        if disk.full:
            disk.refused += 1
            raise StoreError("no space left on the disk")
        if disk.armed == "before":
            self._end()
        if disk.slow_s or disk.armed:
            self._before = self._inner.copy() if isinstance(self._inner, MemoryImage) else None
        try:
            staged = stage()
        except BaseException:
            self._before = None
            raise
        self._waiting = _Guarded(staged._result, lambda: self._complete(staged, durable))
        return self._waiting

    def _complete(self, staged: Staged[T], durable: Callable[[T], None]) -> T:
        disk = self._disk
        memory = isinstance(self._inner, MemoryImage)
        if self._process.dead:
            if not memory:
                staged.finish()  # into files that nobody will read again: it must not stay open
            raise Crashed("the process has ended")
        if disk.full and memory and self._before is not None:
            # It filled up while the transaction was waiting.
            self._inner, self._before = self._before, None
            disk.image = self._inner
            disk.refused += 1
            raise StoreError("no space left on the disk")
        if disk.armed == "torn" and not memory:
            disk.tear(staged.finish)
            self._end()
        if disk.armed == "torn" and disk.rng.random() < 0.5:
            self._end()  # nothing of it
        outcome = staged.finish()
        self._before = None
        durable(outcome)
        if disk.armed:
            self._end()  # all of it, and nobody hears
        return outcome

    def _end(self) -> None:
        self._disk.armed = ""
        self._process.crash()
        raise Crashed("the process has ended")

    def _check(self) -> None:
        if self._process.dead:
            raise Crashed("the process has ended")

    def _check_quota(self, at_s: float) -> None:
        ledger, usage = self._disk.ledger, self._inner.usage()
        ledger.checks["quota"] += 1
        if usage.bytes > usage.quota_bytes:
            text = f"{self._disk.node} stores {usage.bytes} octets of {usage.quota_bytes}"
            ledger.problem("quota", text, at_s)

    def tidy(self) -> bool:
        """See `StagingStore.tidy`."""
        return not self._process.dead and self._inner.tidy()

    @property
    def untidy(self) -> bool:
        """See `StagingStore.untidy`."""
        return not self._process.dead and self._inner.untidy

    # ---- reading -------------------------------------------------------------------------

    def load(self, refs: Sequence[int]) -> list[Buffer | None]:
        """See `BundleStore.load`."""
        self._check()
        inner = self._inner
        if self._waiting is not None and (isinstance(inner, SqliteStore) or inner.damaged(refs)):
            # One that finds damage writes, and waits for its turn.
            self._waiting.perform()
            self._check()
        try:
            return self._inner.load(refs)
        except DamagedError as error:
            self._note_damage(error.refs)
            raise

    def _note_damage(self, refs: Sequence[int]) -> None:
        disk = self._disk
        for ref in refs:
            kept = self._inner.remains(ref) is not None
            if not kept:
                disk.chronicle.left((ref,))
            disk.ledger.drop(disk.node, disk.held, ref, "damaged", kept=kept)

    def scan(self) -> Iterator[Stored]:
        """See `BundleStore.scan`."""
        return self._inner.scan()

    def held(self, key: bytes) -> int | None:
        """See `BundleStore.held`."""
        self._check()
        return self._inner.held(key)

    def next_expiry(self) -> int | None:
        """See `BundleStore.next_expiry`."""
        return self._inner.next_expiry()

    def read(self, space: str, key: str) -> bytes | None:
        """See `BundleStore.read`."""
        self._check()
        return self._inner.read(space, key)

    def read_all(self, space: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """See `BundleStore.read_all`."""
        self._check()
        return self._inner.read_all(space, prefix)

    @property
    def ledger(self) -> EventLedger | None:
        """See `BundleStore.ledger`."""
        return self._inner.ledger

    @ledger.setter
    def ledger(self, ledger: EventLedger | None) -> None:
        self._inner.ledger = ledger

    def events(self, first: int, limit: int) -> list[tuple[int, bytes]]:
        """See `BundleStore.events`."""
        self._check()
        return self._inner.events(first, limit)

    @property
    def events_end(self) -> int:
        """See `BundleStore.events_end`."""
        return self._inner.events_end

    def usage(self) -> Usage:
        """See `BundleStore.usage`."""
        return self._inner.usage()

    def remains(self, ref: int) -> bytes | None:
        """See `BundleStore.remains`."""
        self._check()
        return self._inner.remains(ref)

    def close(self) -> None:
        """See `BundleStore.close`."""
        self._inner.close()
