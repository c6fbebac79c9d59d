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
import struct
from pathlib import Path
from typing import Final, NamedTuple

from fastcrc import crc32

from stack.core.private import FILE_MODE

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


class Mark:
    """The mark of one store, open for writing.  Raises `OSError` when it cannot be opened."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        self._commits = 0
        self._now_ms = 0

    def read(self) -> Level | None:
        """The highest level that is whole, or None: it was never written, or is damaged."""
        levels = [_unpacked(os.pread(self._fd, _SLOT_BYTES, slot * _SLOT_BYTES)) for slot in (0, 1)]
        return max((level for level in levels if level is not None), default=None)

    def due(self, commits: int, now_ms: int) -> bool:
        """Whether the transaction that makes them `commits` is to be counted."""
        return (
            commits - self._commits >= SPACING
            or not 0 <= now_ms - self._now_ms < SPACING_MS  # a clock that was set back counts too
        )

    def write(self, level: Level, now_ms: int) -> None:
        """Remember a level.  A full or failing disk leaves an older one."""
        self._commits, self._now_ms = level.commits, now_ms
        fields = _FIELDS.pack(_MAGIC, *level)
        record = fields + crc32.iscsi(fields).to_bytes(4, "big")
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, record, level.commits % 2 * _SLOT_BYTES)

    def close(self) -> None:
        """Make it durable, and close the file."""
        with contextlib.suppress(OSError):
            os.fdatasync(self._fd)
        os.close(self._fd)


def _unpacked(record: bytes) -> Level | None:
    fields, check = record[: _FIELDS.size], record[_FIELDS.size : _FIELDS.size + 4]
    if len(check) < 4 or crc32.iscsi(fields) != int.from_bytes(check, "big"):
        return None
    magic, *level = _FIELDS.unpack(fields)
    return Level(*level) if magic == _MAGIC else None
