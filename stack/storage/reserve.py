"""Disk space put aside for the day when the disk is full.

Letting go of a bundle writes too: pages of the database go to the write-ahead log, and from there
into the database file.  On a full disk that fails, and a store that cannot forget stays full for
ever.  So a file of `store.reserve_bytes` keeps blocks of the disk.  When a transaction finds no
space, the file is removed, and its space used for three things, after which the store writes
within what it has:

- the write-ahead log is copied into the database file, which may grow by what the log holds;
- the log's file is made as large as it may get, so that it is written in place from then on;
- the database may grow by a few pages more, and not beyond (SQLite's own limit on its pages).

Bundles are then taken only into pages that are free.  When the disk has room, the file is made
again, and all is as before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from stack.core.errors import StoreFullError
from stack.core.private import FILE_MODE
from stack.core.sansio import Trace
from stack.storage.config import StoreConfig
from stack.storage.files import DATABASE_NAME, PAGE_BYTES
from stack.storage.staged import Staged

T = TypeVar("T")

NAME: Final = "reserve"

SHARE_OF_DISK: Final = 8
"""The reserve takes at most this part of the disk, and the write-ahead log half of that."""

SEGMENT_SHARE: Final = 16
"""A payload log file takes at most this part of the disk: a large one frees its space late."""

WAL_BYTES_MIN: Final = 1 << 16
SEGMENT_BYTES_MIN: Final = 1 << 20

FLOOR_PAGES: Final = 64
"""Free pages that bundles must leave for what else is written on a full disk."""

PAGE_OCTETS: Final = 3 * PAGE_BYTES // 4
"""Octets of bundles that fit a free page, with the rows and keys that belong to them."""

_UNLIMITED_PAGES: Final = (1 << 30) - 1


def fitted(config: StoreConfig, directory: Path) -> StoreConfig:
    """The settings for the disk on which `directory` is.  Raises `OSError`."""
    disk = os.statvfs(directory)
    total = disk.f_blocks * disk.f_frsize
    if not total:
        return config  # a file system that does not say
    reserve = min(config.reserve_bytes, total // SHARE_OF_DISK)
    wal = config.wal_bytes
    if reserve:
        wal = min(wal, max(reserve // 2, WAL_BYTES_MIN))
    segment = min(config.segment_bytes, max(total // SEGMENT_SHARE, SEGMENT_BYTES_MIN))
    return dataclasses.replace(config, reserve_bytes=reserve, wal_bytes=wal, segment_bytes=segment)


class Reserve:
    """The reserve of one store, and whether it is in use: then the disk is `full`."""

    def __init__(self, directory: Path, config: StoreConfig, trace: Trace) -> None:
        """`config` is `fitted`.  Changes nothing on the disk."""
        self._directory = directory
        self._path = directory / NAME
        self._trace = trace
        self._octets = config.reserve_bytes
        self._wal_octets = config.wal_bytes + min(config.wal_bytes // 2, 1 << 20)
        self.full = False

    @property
    def octets(self) -> int:
        """Octets that are put aside now."""
        return 0 if self.full else self._octets

    def before_opening(self) -> bool:
        """Have room for what opening a database writes; False: the disk is full, and `squeeze`
        must follow once the database is open."""
        if self.refill():
            return True
        self._give()
        return False

    def refill(self) -> bool:
        """Put the space aside, where the disk has it and some to spare; whether it is there."""
        try:
            there = self._path.stat() if self._path.exists() else None
            free = self._free()
            if there is not None and there.st_size == self._octets:
                return free >= self._octets // 8
            spare = self._octets // 4
            if free < self._octets + spare:
                return False
            self._allocate(self._path, self._octets)
        except OSError:
            self._give()
            return False
        return True

    def squeeze(self, db: sqlite3.Connection, why: str) -> None:
        """The disk is full: make the store work within the space that was put aside."""
        if not self.full:
            self._trace("store.full", {"path": str(self._directory), "why": why})
        self.full = True
        self._give()
        with contextlib.suppress(sqlite3.Error):
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        # Its own descriptor does no harm: SQLite has no locks on this file that closing would drop.
        with contextlib.suppress(OSError):
            self._allocate(self._directory / (DATABASE_NAME + "-wal"), self._wal_octets)
        with contextlib.suppress(sqlite3.Error):
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            grown = max(16, self._octets // 16 // PAGE_BYTES)
            db.execute(f"PRAGMA max_page_count = {pages + grown}")

    def ease(self, db: sqlite3.Connection) -> bool:
        """While the disk is full: whether it has room again, and all is as before."""
        if not self.refill() and not (self._shrink(db) and self.refill()):
            return False
        self.full = False
        self._trace("store.room", {"path": str(self._directory)})
        with contextlib.suppress(sqlite3.Error):
            db.execute(f"PRAGMA max_page_count = {_UNLIMITED_PAGES}")
        return True

    def _shrink(self, db: sqlite3.Connection) -> bool:
        """Give the free pages of the database back to the disk, if that makes room enough."""
        try:
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            (unused,) = db.execute("PRAGMA freelist_count").fetchone()
            free = self._free()
            wanted = self._octets + self._octets // 2
            # What is alive goes through the write-ahead log, which has its space already.
            alive = (pages - unused) * (PAGE_BYTES + 24)
            if free + unused * PAGE_BYTES < wanted or alive > self._wal_octets + free // 2:
                return False
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except (sqlite3.Error, OSError):
            return False
        return True

    def _free(self) -> int:
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize

    def room(self, db: sqlite3.Connection) -> int | None:
        """Octets of bundles that may be stored, if the disk is full.  Raises `sqlite3.Error`."""
        if not self.full or self.ease(db):
            return None
        (free,) = db.execute("PRAGMA freelist_count").fetchone()
        return max(0, int(free) - FLOOR_PAGES) * PAGE_OCTETS

    def tried(self, stage: Callable[[], Staged[T]]) -> T:
        """The outcome of a transaction; tried again when it was the first to find the disk full."""
        before = self.full
        try:
            return stage().finish()
        except StoreFullError:
            if before or not self.full:
                raise
            return stage().finish()

    def closed(self) -> None:
        """The database is closed, and its write-ahead log gone: keep that space for next time."""
        if self.full and not self.refill():
            with contextlib.suppress(OSError):
                self._allocate(self._path, min(self._octets, self._free() * 7 // 8))

    def _give(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()

    @staticmethod
    def _allocate(path: Path, octets: int) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            if octets:
                os.posix_fallocate(fd, 0, octets)
        finally:
            os.close(fd)
