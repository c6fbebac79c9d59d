"""Makes a new database of what can be read of a damaged one.

The old file is read page by page (`stack.storage.carving`); rows are taken by the checksums that
they carry.  The old one is kept beside the new as `store.db.damaged-N`.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sqlite3
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stack.core.private import FILE_MODE
from stack.storage import files, sql, wal
from stack.storage.carving import Carved, carve, free_pages
from stack.storage.event_rows import event_check
from stack.storage.migrations import migrate
from stack.storage.rows import BundleRow, is_sound_state

UNFINISHED: Final = "store.db.rescue"
FINISHED: Final = "store.db.rescued"
KEPT: Final = "store.db.damaged-"

KEPT_MAX: Final = 3
"""Damaged databases kept for examination; of later ones the rescued rows alone are kept."""

_NEXT_REF_MAX: Final = 1 << 53

_INSERT_BUNDLE: Final = sql.INSERT_BUNDLE[-1][1].replace("INSERT", "INSERT OR IGNORE")
_INSERT_SEEN: Final = "INSERT OR REPLACE INTO seen (key, expires_ms, ref) VALUES (?, ?, ?)"
_INSERT_BODY: Final = sql.INSERT_BODY[-1][1].replace("INSERT", "INSERT OR IGNORE")

_DELETE_HALVES: Final = "DELETE FROM bundle WHERE segment = 0 AND ref NOT IN (SELECT ref FROM body)"
_FORGET_HALVES: Final = (
    "DELETE FROM seen WHERE ref IN (SELECT ref FROM bundle WHERE segment = 0"
    " AND ref NOT IN (SELECT ref FROM body))"
)
_SELECT_ORPHANS: Final = (
    "SELECT ref, wire FROM body WHERE ref NOT IN (SELECT ref FROM bundle) LIMIT ?"
)
_DELETE_ORPHANS: Final = "DELETE FROM body WHERE ref NOT IN (SELECT ref FROM bundle)"
_FORGET_ORPHANS: Final = (
    "DELETE FROM seen WHERE ref IN (SELECT ref FROM body WHERE ref NOT IN (SELECT ref FROM bundle))"
)
_DELETE_STRAY: Final = "DELETE FROM parity WHERE ref NOT IN (SELECT ref FROM bundle)"


class Salvaged:
    """What was found in a damaged database."""

    def __init__(self) -> None:
        self.bundles = self.states = self.keys = self.unreadable = 0
        self.commits = 0
        self.next_ref = 1
        self.kept = ""
        """Name of the file that the damaged database has now; empty: it was not kept."""
        self._ranges: list[tuple[int, int]] = []

    def let_go(self, ref: int) -> bool:
        """Whether it is certain that a bundle that was not found is not lost: a page on which it
        would be is sound."""
        index = bisect_right(self._ranges, (ref, _NEXT_REF_MAX)) - 1
        return index >= 0 and ref <= self._ranges[index][1]

    def take(self, db: sqlite3.Connection, page: Carved) -> None:
        """Put the rows of one page into the new database.  Raises `sqlite3.Error`."""
        self.unreadable += not page.sound
        if page.table:
            self._take_bundles(db, page)
            return
        for row in page.rows:
            match row:
                case (bytes(), int(), int()):
                    self.keys += db.execute(sql.MEND_SEEN, row).rowcount
                case (str(), str(), bytes(), int()) if is_sound_state(*row):
                    db.execute(sql.INSERT_STATE, row)
                    self.states += 1
                case (int(ref), int(part), bytes(octets)):
                    db.execute(sql.RENEW_PARITY, (ref, part, octets))
                case ("commits", int(count)):
                    self.commits = max(self.commits, count)
                case ("next_ref", int(ref)) if ref < _NEXT_REF_MAX:
                    self.next_ref = max(self.next_ref, ref)
                case _:
                    pass

    def _take_bundles(self, db: sqlite3.Connection, page: Carved) -> None:
        refs: list[int] = []
        sound = page.sound
        for row in page.rows:
            if len(row) == 14:
                bundle = BundleRow(*row)  # type: ignore[arg-type]
                if _is_ref(bundle.ref) and bundle.intact():
                    self.bundles += db.execute(_INSERT_BUNDLE, bundle).rowcount
                    db.execute(_INSERT_SEEN, (bundle.key, bundle.expires_ms, bundle.ref))
                    refs.append(bundle.ref)
                else:
                    sound = False
            elif len(row) == 2 and isinstance(row[1], bytes) and _is_ref(row[0]):
                db.execute(_INSERT_BODY, row)
            else:
                _take_event(db, row)
        if refs:
            self.next_ref = max(self.next_ref, max(refs) + 1)
            if sound:
                self._ranges.append((min(refs), max(refs)))

    def drop_halves(self, db: sqlite3.Connection, directory: Path) -> None:
        """Let go of halves of bundles: their keys are forgotten, so that they may come again."""
        self._ranges.sort()
        db.execute(_FORGET_HALVES)
        self.bundles -= db.execute(_DELETE_HALVES).rowcount
        db.execute(_FORGET_ORPHANS)
        for ref, octets in db.execute(_SELECT_ORPHANS, (files.QUARANTINE_FILES_MAX,)):
            files.save_damaged(directory, f"{ref}.bundle", octets)
        db.execute(_DELETE_ORPHANS)
        db.execute(_DELETE_STRAY)


def _take_event(db: sqlite3.Connection, row: Sequence[object]) -> None:
    match row:
        case (int(number), int(check), bytes(event)) if event_check(number, event) == check:
            db.execute(sql.RENEW_EVENT, (number, check, event))
        case _:
            pass


def _is_ref(value: object) -> bool:
    return isinstance(value, int) and value < _NEXT_REF_MAX


def salvage(directory: Path) -> Salvaged | None:
    """Put a new database in the place of the damaged one, which no connection has open; None when
    it is none of a store.  Raises `sqlite3.Error`, `OSError`; the old one is there then."""
    found = Salvaged()
    new = directory / UNFINISHED
    new.unlink(missing_ok=True)
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    try:
        db = sqlite3.connect(new, isolation_level=None)
        try:
            db.execute(f"PRAGMA page_size = {files.PAGE_BYTES}")
            db.execute("PRAGMA journal_mode = OFF")
            db.execute("PRAGMA synchronous = OFF")
            migrate(db, new)
            db.execute("BEGIN")
            _carve(db, directory, found)
            found.drop_halves(db, directory)
            db.execute("COMMIT")
        finally:
            db.close()
        if not (found.bundles or found.states or found.keys or found.commits):
            return None
        _sync(new)
        found.kept = _keep(directory)
        new.rename(directory / FINISHED)
        _sync(directory)
    finally:
        new.unlink(missing_ok=True)
    finish(directory)
    return found


def finish(directory: Path) -> None:
    """Take a new database that is whole, if there is one, as the database.  Raises `OSError`."""
    new = directory / FINISHED
    if not new.exists():
        return
    # The log of the old one must be gone before: SQLite would apply it to the new one.
    for ending in ("-wal", "-shm"):
        (directory / (files.DATABASE_NAME + ending)).unlink(missing_ok=True)
    _sync(directory)
    new.rename(directory / files.DATABASE_NAME)
    _sync(directory)


def _carve(db: sqlite3.Connection, directory: Path, found: Salvaged) -> None:
    newer, count = wal.committed(directory)
    path = directory / files.DATABASE_NAME
    if not (octets := path.stat().st_size):
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), octets, access=mmap.ACCESS_READ) as old:
        count = count or octets // files.PAGE_BYTES

        def fetch(number: int) -> bytes:
            if number in newer:
                return newer[number]
            first = (number - 1) * files.PAGE_BYTES
            return old[first : first + files.PAGE_BYTES] if number > 0 else b""

        free = free_pages(fetch, count) if octets >= files.PAGE_BYTES else set()
        for number in range(1, count + 1):
            carved = None if number in free else carve(fetch, number)
            if carved is not None:
                found.take(db, carved)


def _keep(directory: Path) -> str:
    """Give the damaged database a second name; what it is."""
    for number in range(1, KEPT_MAX + 1):
        name = f"{KEPT}{number}"
        if not (directory / name).exists():
            with contextlib.suppress(FileNotFoundError):
                os.link(directory / wal.WAL_NAME, directory / (name + "-wal"))
            os.link(directory / files.DATABASE_NAME, directory / name)
            return name
    return ""


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
