"""What surrounds the database file: its directory, lock, connections, damaged bundles, and what
its errors mean to an operator."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import struct
from functools import partial
from pathlib import Path
from typing import Final

from stack.core.errors import LocalError, OrbitferryError, StoreError, StoreFullError
from stack.core.private import FILE_MODE, make_folder, opener
from stack.core.train import Buffer
from stack.storage.config import StoreConfig

DATABASE_NAME: Final = "store.db"
QUARANTINE_NAME: Final = "quarantine"

QUARANTINE_FILES_MAX: Final = 64
"""Damaged bundles kept for examination; more are only counted, so that a failing disk does not
fill up with what it spoils."""

PAGE_BYTES: Final = 4096
"""A page of most file systems and disks: smaller ones are read before they are written."""

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class DamagedError(StoreError):
    """Bundles whose octets are not what was stored; they are in quarantine, and gone from the
    store, and their keys are forgotten, so that copies are taken when they come again."""

    def __init__(self, path: Path, refs: list[int]) -> None:
        super().__init__(
            f"{path}: checksum of bundle {', '.join(map(str, refs))} does not match:"
            f" moved to {path / QUARANTINE_NAME}; check the disk if it happens again"
        )
        self.refs = refs


class CorruptError(StoreError):
    """The database contradicts itself."""


def lock(directory: Path) -> int:
    """Create the directory if need be, and claim it for this object.  Returns the descriptor that
    holds the lock.  Raises `StoreError` when another process or object holds it."""
    try:
        make_folder(directory)
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise explained(error, directory) from error
    try:
        # flock, not lockf: it also tells two objects of one process apart, and it is not lost
        # when some other descriptor of the file is closed.
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise StoreError(
            f"{directory} is in use by process {holder}: stop it, or give this node a data_dir"
            " of its own"
        ) from error
    with contextlib.suppress(OSError):  # only the name of the holder; a full disk may refuse it
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def connect(directory: Path, config: StoreConfig, *, reader: bool) -> sqlite3.Connection:
    """A connection to the database in `directory`.  Raises `sqlite3.Error`, `OSError`."""
    if not reader:
        # SQLite would make it by the umask; its other files take the mode of this one.
        fd = os.open(directory / DATABASE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        os.close(fd)
    db = sqlite3.connect(
        directory / DATABASE_NAME,
        isolation_level=None,
        check_same_thread=False,  # the store's own locks keep threads apart
        cached_statements=256,
    )
    try:
        if reader:
            db.execute("PRAGMA query_only = ON")
        else:
            db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {config.synchronous.upper()}")
            db.execute(f"PRAGMA wal_autocheckpoint = {max(1, config.wal_bytes // PAGE_BYTES)}")
            db.execute(f"PRAGMA journal_size_limit = {2 * config.wal_bytes}")
            # Overwriting what is deleted would write every page of a released bundle once more;
            # who must not read payload from a lost disk encrypts it (BPSec).
            db.execute("PRAGMA secure_delete = OFF")
            db.execute("PRAGMA temp_store = MEMORY")
            db.execute(f"PRAGMA cache_size = {-max(1, config.cache_bytes // 1024)}")
        db.execute("PRAGMA cell_size_check = ON")
        # Text that is no longer UTF-8 must be read to be found damaged.
        db.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
    except sqlite3.Error:
        db.close()
        raise
    return db


def roll_back(db: sqlite3.Connection) -> None:
    """End a failed transaction; SQLite may have ended it already."""
    with contextlib.suppress(sqlite3.Error):
        if db.in_transaction:
            db.execute("ROLLBACK")


def save_damaged(directory: Path, name: str, octets: Buffer) -> None:
    """Keep the octets of what is damaged for an operator, as well as that is possible."""
    folder = directory / QUARANTINE_NAME
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if len(os.listdir(folder)) < QUARANTINE_FILES_MAX:
            with open(folder / name, "wb", opener=opener) as file:
                file.write(octets)


def explained(error: Exception, directory: Path) -> OrbitferryError:
    """The error to raise for `error`: what failed where, and what to do about it."""
    if isinstance(error, OrbitferryError):
        return error
    if isinstance(error, (UnicodeDecodeError, sqlite3.IntegrityError)):
        return damaged(error, directory)  # names in the schema, or rows that contradict others
    if isinstance(error, (ValueError, OverflowError, TypeError, struct.error, sqlite3.DataError)):
        return LocalError(f"a store operation carries a value that cannot be stored: {error}")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) in _NO_SPACE:
        return StoreFullError(
            f"{directory}: {error} (no space left: free some on that disk, or lower"
            " store.quota_bytes; until then nothing new is stored)"
        )
    if code in _DAMAGE:
        return damaged(error, directory)
    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        return StoreError(f"{directory}: {error} (allow more open files: `ulimit -n 1024`)")
    return StoreError(
        f"{directory}: {error} (nothing of the operation was applied; check the disk and its"
        " permissions)"
    )


def damaged(error: Exception, directory: Path) -> CorruptError:
    """The error to raise when the database contradicts itself."""
    return CorruptError(
        f"{directory}: {error} (the database is damaged: stop the node, move the directory away"
        " and start with an empty one; what was not acknowledged yet is sent again)"
    )
