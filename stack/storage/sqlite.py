"""The durable store: a SQLite database for what is known of bundles, and a payload log.

One object owns a directory.  All writing goes through one connection, one transaction at a time;
reading has a connection of its own and waits for no commit.
"""

from __future__ import annotations

import abc
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from stack.core.errors import LocalError, StoreError, StoreFullError
from stack.core.private import sync_directory
from stack.core.sansio import Trace, no_trace
from stack.core.train import Buffer
from stack.ports.store import Committed, EventLedger, Op, Stored, Usage
from stack.storage import files, sql, wal
from stack.storage.compaction import compact, surplus
from stack.storage.config import StoreConfig
from stack.storage.journal import Journal
from stack.storage.mark import Level, StoreMark
from stack.storage.opening import REFS_RESERVED, OpenDatabase, open_database, rescue_database
from stack.storage.parity import Parity
from stack.storage.payload_log import PayloadLog
from stack.storage.reading import Damaged, Reader
from stack.storage.reserve import Reserve, fitted
from stack.storage.staged import Scrubbed, Staged
from stack.storage.staging import FIRST_KEY, Staging
from stack.storage.upsets import Upsets

T = TypeVar("T")

RESCUES_MAX: Final = 3
"""Times that a database is rescued before the disk is given up, counted from opening."""

PAGE_ROWS: Final = 1024
"""Bundles that `scan` reads at once, so that it never holds a snapshot open while others work."""


class _Reading(abc.ABC):
    """What is read of the database alone."""

    _reader: Reader

    @abc.abstractmethod
    def _read(self, read: Callable[[], T]) -> T:
        """What `read` finds."""

    def held(self, key: bytes) -> int | None:
        """See `BundleStore.held`."""
        return self._read(lambda: self._reader.held(key))

    def next_expiry(self) -> int | None:
        """See `BundleStore.next_expiry`."""
        return self._read(lambda: self._reader.first_expiry())

    def read(self, space: str, key: str) -> bytes | None:
        """See `BundleStore.read`."""
        return self._read(lambda: self._reader.state(space, key))

    def read_all(self, space: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """See `BundleStore.read_all`."""
        return self._read(lambda: self._reader.states(space, prefix))

    def remains(self, ref: int) -> bytes | None:
        """See `BundleStore.remains`."""
        return self._read(lambda: self._reader.remains(ref))

    def events(self, first: int, limit: int) -> list[tuple[int, bytes]]:
        """See `BundleStore.events`."""
        return self._read(lambda: self._reader.events(first, limit))


class SqliteStore(_Reading):
    """A `BundleStore` and `StagingStore` in the directory `path` (created if it is not there).

    Safe to use from several threads.  Octets given to `stage` must not change before `finish`.
    Raises `StoreError` when the directory is in use, damaged, or of a newer program.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        config: StoreConfig | None = None,
        trace: Trace = no_trace,
    ) -> None:
        self._path = Path(path)
        self._config = config or StoreConfig()
        self._trace = trace
        self._missing = self._rescues = 0
        self._forget_after = FIRST_KEY
        self.ledger: EventLedger | None = None
        self._events_end = 0
        self._told_ms = 0
        """The time that was last told: that of events of what nobody has asked for."""
        self._writing = threading.Lock()
        self._closed = False
        self._lock_fd = files.lock(self._path)
        try:
            self._config = fitted(self._config, self._path)
            self._log = PayloadLog(
                self._path, self._config.segment_bytes, self._config.synchronous == "full"
            )
            self._reserve = Reserve(self._path, self._config, trace)
            self._open()
        except (sqlite3.Error, OSError, StoreError) as error:
            os.close(self._lock_fd)
            raise files.explained(error, self._path) from error
        except (ValueError, TypeError, AttributeError) as error:  # what should be numbers is not
            os.close(self._lock_fd)
            raise files.damaged(error, self._path) from error

    def _open(self) -> None:
        short = not self._reserve.before_opening()
        mended = wal.mend(self._path)
        if mended is not None:
            self._trace("store.wal_mended", mended._asdict())
        self._mark = StoreMark(self._path)
        try:
            found = open_database(self._path, self._config, self._mark, self._trace)
            self._adopt(found)
            try:
                self._log.adopt([each for each in self._tally.segments if each > 0], found.doubtful)
                self._active = self._log.place()[0]
                sync_directory(self._path)
                sync_directory(self._path.parent)
                self._reader = Reader(self._path, self._config, self._log)
                self._code = Parity() if self._config.parity or found.parity else None
                self._upsets = Upsets(
                    self._path, self._reader, self._code, self._stage, self._trace
                )
                self._upsets.tell_states(found.damaged_states)
                self._retire(self._tally.segments)
                if short:
                    self._reserve.squeeze(self._db, "found so when the store was opened")
            except BaseException:
                self._db.close()
                raise
        except BaseException:
            self._mark.abandon()
            raise

    def _adopt(self, found: OpenDatabase) -> None:
        self._db, self._tally = found.db, found.tally
        self._reserved = self._next_ref = found.next_ref
        # Numbers are not given twice: what a damaged database has lost leaves a gap.
        self._events_end = max(self._events_end, found.events_end)
        self._missing += found.missing
        self._rescues += found.rescued

    def _rescue(self, error: Exception) -> None:
        """Go on with a new database in place of the damaged one.  Raises `error` when that was
        done too often, or cannot be done."""
        with self._writing, self._reader.lock:
            if self._closed or self._rescues >= RESCUES_MAX:
                raise error
            self._reader.close_database()
            self._db.close()
            tally = self._tally
            level = Level(self._mark.commits, tally.bundles, tally.octets, self._next_ref)
            try:
                self._adopt(
                    rescue_database(self._path, self._config, self._mark, self._trace, error, level)
                )
                self._reader.open_database()
            except (sqlite3.Error, OSError, StoreError) as failed:
                raise files.explained(failed, self._path) from error

    def _read(self, read: Callable[[], T]) -> T:
        """What `read` finds; once more when the database had to be rescued for it."""
        self._check_open()
        try:
            found = read()
        except files.CorruptError as error:
            self._rescue(error)
            found = read()
        if self._reader.damaged_states:
            self._upsets.tell_states(self._reader.damaged_states)
            self._reader.damaged_states.clear()
        return found

    # Writing

    def commit(self, ops: Sequence[Op], now_ms: int) -> Committed:
        """See `BundleStore.commit`.  Within one commit moves come first, then releases, then
        puts, the urgent before others, then writes."""
        committed = self._reserve.tried(lambda: self.stage(ops, now_ms))
        self.tidy()
        return committed

    def stage(self, ops: Sequence[Op], now_ms: int) -> Staged[Committed]:
        """The first half of `commit`: no waiting for the disk.  Until it is finished, other
        threads that want to write wait."""
        return self._stage(lambda staging: staging.apply(ops, now_ms), now_ms)

    def expire(self, now_ms: int, limit: int) -> list[Stored]:
        """See `BundleStore.expire`.  Looks at a bounded number of forgotten keys, so that fewer
        than `limit` does not mean that there are none left: call it again from time to time."""
        expired = self._reserve.tried(lambda: self.stage_expire(now_ms, limit))
        self.tidy()
        return expired

    def stage_expire(self, now_ms: int, limit: int) -> Staged[list[Stored]]:
        """The first half of `expire`."""
        return self._stage(lambda staging: staging.expire(now_ms, limit), now_ms)

    def tidy(self) -> bool:
        """Copy a bounded part of the log file in which least is alive to the end of the log."""
        if not self.untidy:
            return False
        try:
            self._upsets.found(
                self._stage(
                    lambda staging: compact(staging, self._db, self._tally, self._log, self._reader)
                ).finish()
            )
        except StoreError as error:  # nobody asked for it, and what was committed stays so
            self._trace("store.tidy_failed", {"error": str(error)})
            return False
        return True

    def stage_scrub(self) -> Staged[Scrubbed]:
        """A step of the scrubber: some 100 KB of bundles, and what must be done about them."""
        result = Scrubbed()
        return Staged(result, lambda: self._read(lambda: self._upsets.scrub(result)))

    @property
    def untidy(self) -> bool:
        """Whether so much in the sealed log files is dead that `tidy` has something to do."""
        if self._reserve.full:
            return False  # copying needs room first
        return surplus(self._tally, self._log, self._config, self._active)

    def close(self) -> None:
        """Close every file; closing twice is harmless."""
        with self._writing:
            if self._closed:
                return
            self._closed = True
            self._mark.close(self._db, self._tally, self._next_ref)
            self._reader.close()
            self._db.close()  # the last connection copies the write-ahead log into the database
            self._log.close()
            self._reserve.closed()
            os.close(self._lock_fd)

    def _stage(
        self, work: Callable[[Staging], T], now_ms: int = 0, *, again: bool = True
    ) -> Staged[T]:
        """`again`: do it once more when the database had to be rescued."""
        self._writing.acquire()
        try:
            self._check_open()
            room = self._reserve.room(self._db)
            parts = (self._db, self._log, self._tally, self._config, self._next_ref)
            self._told_ms = now_ms or self._told_ms
            journal = Journal(self.ledger, self._events_end, self._told_ms)
            staging = Staging(*parts, journal, room, self._mark.commits, self._code)
            self._db.execute("BEGIN IMMEDIATE")
            result = work(staging)
            forget_after = staging.forget_surplus(self._forget_after)
            journal.write(self._db)
            reserved = self._reserved
            self._mark.count(self._db, now_ms)
            if staging.next_ref > reserved:
                reserved = staging.next_ref + REFS_RESERVED
                self._db.execute(sql.UPDATE_META, (reserved, "next_ref"))
        except BaseException as error:
            if not self._closed:
                files.roll_back(self._db)
            try:
                if not isinstance(error, Exception):
                    raise
                explained = self._explained(error)
            finally:
                self._writing.release()
            if not again or not isinstance(explained, files.CorruptError):
                raise explained from error
            self._rescue(explained)
            return self._stage(work, now_ms, again=False)
        return Staged(result, lambda: self._finish(staging, reserved, forget_after))

    def _finish(self, staging: Staging, reserved: int, forget_after: tuple[int, bytes]) -> None:
        try:
            if staging.buffers:
                self._log.append(staging.buffers, staging.octets)
            self._db.execute("COMMIT")
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            files.roll_back(self._db)
            if staging.buffers:
                self._log.abandon()
            raise self._explained(error) from error
        else:
            if staging.buffers:
                self._log.keep(staging.octets, staging.recorded)
            self._next_ref = staging.next_ref
            self._events_end = staging.journal.end
            self._reserved = reserved
            self._forget_after = forget_after
            self._tally.merge(staging.change)
            self._mark.reached(self._tally, self._next_ref)
            self._retire(staging.change.segments)
        finally:
            self._writing.release()

    def _explained(self, error: Exception) -> Exception:
        """The error to raise for `error`, which has ended a transaction."""
        explained = files.explained(error, self._path)
        if isinstance(explained, StoreFullError) and explained is not error:
            self._log.seal()
            self._reserve.squeeze(self._db, str(error))
        return explained

    def _retire(self, changed: Iterable[int]) -> None:
        """Remove log files in which nothing is alive any more."""
        active = self._log.place()[0]
        for segment in {*changed, self._active}:
            if segment not in self._tally.segments and self._log.sealed_size(segment):
                with self._reader.lock:  # nobody is reading from it now, and nobody will
                    self._log.remove(segment)
        self._active = active

    # Reading

    def load(self, refs: Sequence[int]) -> list[Buffer | None]:
        """See `BundleStore.load`.  Raises `DamagedError` with the refs that are damaged; the
        others are there when asked for again."""
        sound, damaged = self._read(lambda: self._upsets.load(refs))
        if damaged:
            raise files.DamagedError(self._path, damaged)
        return [sound.get(ref) for ref in refs]

    def scan(self) -> Iterator[Stored]:
        """See `BundleStore.scan`.  Rows that are damaged are put in quarantine and left out."""
        after = 0
        while True:
            rows = self._read(partial(self._reader.page, after, PAGE_ROWS))
            damaged: Damaged = [(row.ref, b"") for row in rows if not row.intact()]
            if damaged:
                self._upsets.found(damaged)
            gone = {ref for ref, _ in damaged}
            yield from (row.stored() for row in rows if row.ref not in gone)
            if len(rows) < PAGE_ROWS:
                return
            after = rows[-1].ref

    @property
    def events_end(self) -> int:
        """See `BundleStore.events_end`."""
        return self._events_end

    def usage(self) -> Usage:
        """See `BundleStore.usage`."""
        counts = self._upsets.counts
        return Usage(
            self._tally.bundles,
            self._tally.octets,
            self._config.quota_bytes,
            self._reserve.full,
            self._reserve.octets,
            self._missing,
            self._rescues,
            counts.damaged,
            counts.damaged_states,
            counts.repaired,
            counts.repaired_octets,
            counts.scrubbed_octets,
        )

    def _check_open(self) -> None:
        if self._closed:
            raise LocalError(f"the store {self._path} is closed")
