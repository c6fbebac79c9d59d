"""The database schema as a list of steps; the file remembers how many it has seen.

Step n turns version n-1 into version n.  Steps that were released are never edited: a change of
the schema is a new step at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stack.core.errors import StoreError

APPLICATION_ID: Final = 0x4F467374
"""SQLite's mark of whose file this is: "OFst"."""

Migration = tuple[str, ...]

MIGRATIONS: Final[tuple[Migration, ...]] = (
    (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO meta (name, value) VALUES ('next_ref', 1)",
        # Keys begin with the creation time, so that new ones share a few pages at the end.
        "CREATE TABLE seen (key BLOB PRIMARY KEY, expires_ms INTEGER NOT NULL,"
        " ref INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE INDEX seen_expires ON seen (expires_ms)",
        "CREATE TABLE bundle (ref INTEGER PRIMARY KEY, key BLOB NOT NULL, place INTEGER NOT NULL,"
        " destination TEXT NOT NULL, source TEXT NOT NULL, priority INTEGER NOT NULL,"
        " size INTEGER NOT NULL, expires_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL,"
        " tag BLOB NOT NULL, segment INTEGER NOT NULL, start INTEGER NOT NULL,"
        " wire_check INTEGER NOT NULL, row_check INTEGER NOT NULL)",
        # place 1 is Place.DELIVER, which is never evicted.
        "CREATE INDEX bundle_evict ON bundle (priority) WHERE place <> 1",
        "CREATE INDEX bundle_segment ON bundle (segment) WHERE segment > 0",
        # Octets kept in the database stand apart, so that a scan does not read them.
        "CREATE TABLE body (ref INTEGER PRIMARY KEY, wire BLOB NOT NULL)",
        "CREATE TABLE state (space TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,"
        " row_check INTEGER NOT NULL, PRIMARY KEY (space, key)) WITHOUT ROWID",
    ),
    (
        # No checksum: parity that is wrong mends nothing that its bundle's checksum would pass.
        "CREATE TABLE parity (ref INTEGER NOT NULL, part INTEGER NOT NULL, octets BLOB NOT NULL,"
        " PRIMARY KEY (ref, part)) WITHOUT ROWID",
    ),
    (
        "CREATE TABLE audit (number INTEGER PRIMARY KEY, row_check INTEGER NOT NULL,"
        " event BLOB NOT NULL)",
    ),
    (
        # A row of audit may have several events from now on (`event_rows`): a program that takes
        # each for one must not read them.
    ),
    (
        # Among them such as have all but their object in common.
    ),
)


def migrate(
    db: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> int:
    """Bring the database to the newest version, each step in a transaction of its own; the
    version it had.  Raises `StoreError` when a newer program wrote it, or another kind of one."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    owner = int(db.execute("PRAGMA application_id").fetchone()[0])
    tables = int(db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
    if owner != APPLICATION_ID and (owner or tables):
        raise StoreError(f"{path} is not a bundle store; give another directory as the store path")
    if not 0 <= version <= len(migrations):
        raise StoreError(
            f"{path} has schema version {version}, and this program knows up to"
            f" {len(migrations)}: run the newer program, or give another store path"
        )
    for number in range(version, len(migrations)):
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in migrations[number]:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {number + 1}")
            db.execute("COMMIT")
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    return version
