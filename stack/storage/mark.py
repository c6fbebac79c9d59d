"""The high-water mark: how far the store has come, kept beside the database.

A transaction counts those before it in the database, and when it is durable the count goes to this
file too, with what the store then held.  So the mark is never ahead of a sound database; a database
that is behind it has lost what it had: its log was cut off or deleted, or it is another file
altogether.  Counting costs a page of the database and a write to the file, so that in bulk only one
transaction of `SPACING` does it; the last of a burst may be lost without being missed.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
from pathlib import Path
from typing import Final, NamedTuple

from fastcrc import crc32

from stack.core.private import FILE_MODE
from stack.storage import sql
from stack.storage.tally import Tally

NAME: Final = "mark"

SPACING: Final = 16
"""Of transactions that come in bulk, one of so many is counted."""

SPACING_MS: Final = 20
"""One that comes so long after the last that was counted is not in bulk."""

_FIELDS: Final = struct.Struct(">8s4Q")
_MAGIC: Final = b"OFmark1\n"
_SLOT_BYTES: Final = 64
"""Two slots are written in turn, so that one is whole whatever happens."""


class Level(NamedTuple):
    """How far a store had come."""

    commits: int
    bundles: int
    octets: int
    next_ref: int


class StoreMark:
    """The mark of one store, open for writing.  Raises `OSError` when it cannot be opened."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        self.commits = 0
        """Transactions so far."""
        self._counted = 0
        self._counted_ms = 0
        self._due = False
        self._due_ms = 0
        self._slot = 0

    def read(self) -> Level | None:
        """The highest level that is whole, or None: it was never written, or is damaged."""
        levels = [_unpacked(os.pread(self._fd, _SLOT_BYTES, slot * _SLOT_BYTES)) for slot in (0, 1)]
        return max((level for level in levels if level is not None), default=None)

    def ahead_of(self, db: sqlite3.Connection) -> Level | None:
        """The level that a store with this database had, if the database is behind it.  A mark that
        was never written, or is damaged, says nothing.  Raises `sqlite3.Error`."""
        row = db.execute(sql.SELECT_META, ("commits",)).fetchone()
        self.commits = self._counted = 0 if row is None else int(row[0])
        level = self.read()
        return None if level is None or level.commits <= self.commits else level

    def resume(self, level: Level) -> None:
        """Go on from there, whatever the database says."""
        self.commits = self._counted = level.commits

    def restart(self, db: sqlite3.Connection, level: Level) -> None:
        """Go on from there with a new database.  Raises `sqlite3.Error`."""
        db.execute(sql.SET_META, ("commits", level.commits))
        self.resume(level)
        self._write(level)

    def count(self, db: sqlite3.Connection, now_ms: int) -> None:
        """Count the transaction that is open, if it is one to be counted."""
        self._due = (
            self.commits + 1 - self._counted >= SPACING
            or not 0 <= now_ms - self._counted_ms < SPACING_MS  # also when the clock was set back
        )
        self._due_ms = now_ms
        if self._due:
            db.execute(sql.SET_META, ("commits", self.commits + 1))

    def reached(self, tally: Tally, next_ref: int) -> None:
        """The transaction is durable; what the store now holds."""
        self.commits += 1
        if self._due:
            self._write(Level(self.commits, tally.bundles, tally.octets, next_ref))

    def close(self, db: sqlite3.Connection, tally: Tally, next_ref: int) -> None:
        """Count what was not counted yet, make it durable, and close the file."""
        with contextlib.suppress(sqlite3.Error, OSError):  # a disk that is full, or went away
            if self.commits > self._counted:
                db.execute(sql.SET_META, ("commits", self.commits))
                self._write(Level(self.commits, tally.bundles, tally.octets, next_ref))
            os.fdatasync(self._fd)
        self.abandon()

    def abandon(self) -> None:
        """Close the file as it is."""
        os.close(self._fd)

    def _write(self, level: Level) -> None:
        """Remember a level.  A full or failing disk leaves an older one."""
        self._counted, self._counted_ms = level.commits, self._due_ms
        fields = _FIELDS.pack(_MAGIC, *level)
        record = fields + crc32.iscsi(fields).to_bytes(4, "big")
        self._slot ^= 1
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, record, self._slot * _SLOT_BYTES)


def _unpacked(record: bytes) -> Level | None:
    fields, check = record[: _FIELDS.size], record[_FIELDS.size : _FIELDS.size + 4]
    if len(check) < 4 or crc32.iscsi(fields) != int.from_bytes(check, "big"):
        return None
    magic, *level = _FIELDS.unpack(fields)
    return Level(*level) if magic == _MAGIC else None
