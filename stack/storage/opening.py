"""Opens the database, and holds it against what should be in it.

A database that SQLite finds malformed is rescued: a new one is made of what can be read of it, and
of what the payload log has.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from stack.core.errors import StoreError
from stack.core.sansio import Trace
from stack.storage import files, rescue, salvage, sql
from stack.storage.config import StoreConfig
from stack.storage.mark import Level, StoreMark
from stack.storage.migrations import MIGRATIONS, migrate
from stack.storage.reading import DamagedState
from stack.storage.rows import is_sound_state
from stack.storage.tally import Tally

REFS_RESERVED = 1 << 16
"""Refs put aside by one write to the database; a restart skips what is left of them."""

_ODD = (ValueError, TypeError, AttributeError)
"""Raised by what should be a number and is none."""


@dataclass(slots=True)
class OpenDatabase:
    """An open database, and what is known of it."""

    db: sqlite3.Connection
    next_ref: int = 1
    events_end: int = 0
    """Number of the next event of the node's log."""
    tally: Tally = field(default_factory=Tally)
    behind: Level | None = None
    """The level that the store had, if the database is behind it."""
    missing: int = 0
    """Bundles that should be there and are not."""
    doubtful: bool = False
    """Whether files of the payload log that nothing refers to may be of bundles that are lost."""
    rescued: bool = False
    parity: bool = False
    """Whether there is any."""
    damaged_states: list[DamagedState] = field(default_factory=list)
    """Entries of state that were taken out, as they were found."""


def open_database(
    directory: Path, config: StoreConfig, mark: StoreMark, trace: Trace
) -> OpenDatabase:
    """Open the database; rescue it if it is damaged.  Raises `sqlite3.Error`, `OSError`,
    `StoreError`."""
    salvage.finish(directory)
    try:
        found = _counted(directory, config, mark)
    except (sqlite3.Error, StoreError, *_ODD) as error:
        if not is_damage(error, directory):
            raise
        return rescue_database(directory, config, mark, trace, error, mark.read())
    try:
        if found.behind is not None:
            _catch_up(found, directory, mark, found.behind, trace)
    except BaseException:
        found.db.close()
        raise
    return found


def rescue_database(
    directory: Path,
    config: StoreConfig,
    mark: StoreMark,
    trace: Trace,
    error: Exception,
    level: Level | None,
) -> OpenDatabase:
    """Make a new database of a damaged one that no connection has open, and that had reached
    `level`.  Raises `error` when there is nothing in it, `sqlite3.Error`, `OSError`,
    `StoreError`."""
    salvaged = salvage.salvage(directory)
    if salvaged is None:
        raise error
    found = _counted(directory, config, mark)
    try:
        commits = max(salvaged.commits, level.commits if level else 0) + 1
        next_ref = max(salvaged.next_ref, level.next_ref if level else 1) + REFS_RESERVED
        before = found.tally.bundles
        readopted = 0
        if level is None or before < level.bundles:
            readopted = rescue.readopt(found.db, directory, 0, found.tally, salvaged.let_go)
        found.db.execute(sql.SET_META, ("next_ref", next_ref))
        now = Level(commits, found.tally.bundles, found.tally.octets, next_ref)
        mark.restart(found.db, now)
    except BaseException:
        found.db.close()
        raise
    found.next_ref, found.rescued = next_ref, True
    found.missing = max(0, level.bundles - found.tally.bundles) if level else 0
    found.doubtful = level is None or found.missing > 0
    told = {
        "why": str(error),
        "bundles_expected": level.bundles if level else None,
        "bundles_found": before,
        "bundles_rescued": readopted,
        "states": salvaged.states,
        "pages_damaged": salvaged.unreadable,
        "kept": salvaged.kept,
    }
    trace("store.rescued", told)
    return found


def is_damage(error: Exception, directory: Path) -> bool:
    """Whether `error` says that the database contradicts itself."""
    if isinstance(error, _ODD):
        return True
    # A table or column that is not there: its name in the schema is another.
    odd = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR
    return odd or isinstance(files.explained(error, directory), files.CorruptError)


def _counted(directory: Path, config: StoreConfig, mark: StoreMark) -> OpenDatabase:
    db = files.connect(directory, config, reader=False)
    try:
        migrate(db, directory / files.DATABASE_NAME)
        _check(db, directory)
        found = OpenDatabase(db, int(db.execute(sql.SELECT_META, ("next_ref",)).fetchone()[0]))
        for count, octets, priority, place, segment in db.execute(sql.SELECT_TALLY):
            found.tally.count(count, octets, priority, place, segment)
        found.tally.keys = int(db.execute(sql.COUNT_SEEN).fetchone()[0])
        found.events_end = int(db.execute(sql.EVENTS_END).fetchone()[0])
        found.parity = bool(db.execute(sql.ANY_PARITY).fetchone()[0])
        found.damaged_states = _without_damaged_states(db)
        found.behind = mark.ahead_of(db)
    except BaseException:
        db.close()
        raise
    return found


def _check(db: sqlite3.Connection, directory: Path) -> None:
    """Find what SQLite itself would not notice while it reads."""
    # A type in the schema that is another: as if it had been meant so.
    found = {text for (text,) in db.execute("SELECT sql FROM sqlite_schema")}
    meant = {text for step in MIGRATIONS for text in step if text.startswith("CREATE")}
    if not found >= meant:
        raise files.damaged(StoreError("the schema is not what it was"), directory)
    # A number in the upper part of the tree that is another: what is behind it is not found.
    for tree in ("bundle", "state"):
        for (said,) in db.execute(f"PRAGMA quick_check('{tree}')"):
            if said != "ok" and not said.startswith("NULL value"):  # the row's checksum tells that
                raise files.damaged(StoreError(said.replace("\n", " ")), directory)


def _without_damaged_states(db: sqlite3.Connection) -> list[DamagedState]:
    """Take out entries of state that are not as they were written, also those of which space or
    key has changed, that nobody would find."""
    rows = db.execute(sql.SELECT_STATES)
    damaged: list[DamagedState] = [row[:3] for row in rows if not is_sound_state(*row)]
    for space, key, _ in damaged:
        names = [str(name).encode(errors="surrogateescape") for name in (space, key)]
        with contextlib.suppress(sqlite3.OperationalError):  # no room: they are told again
            db.execute(sql.DELETE_DAMAGED_STATE, names)
    return damaged


def _catch_up(
    found: OpenDatabase, directory: Path, mark: StoreMark, level: Level, trace: Trace
) -> None:
    """Take back what a database that is behind its mark has lost, and tell of the rest."""
    commits, before = mark.commits, found.tally.bundles
    rescued = rescue.readopt(found.db, directory, commits, found.tally)
    found.missing = max(0, level.bundles - found.tally.bundles)
    lost = {
        "commits_lost": level.commits - commits,
        "bundles_expected": level.bundles,
        "bundles_found": before,
        "bundles_rescued": rescued,
    }
    trace("store.behind", lost)
    mark.resume(level)
    found.next_ref = max(found.next_ref, level.next_ref + REFS_RESERVED)
    found.doubtful = True
