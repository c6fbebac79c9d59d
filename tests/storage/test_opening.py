"""Versions of the schema, and who may open a store."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from stack.core.errors import StoreError
from stack.storage import SqliteStore
from stack.storage.migrations import MIGRATIONS, migrate
from tests.storage.bundles import NOW_MS, encoded, put

VERSION_1 = """
PRAGMA journal_mode = WAL;
PRAGMA application_id = 1330017140;
PRAGMA user_version = 1;
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('next_ref', 65538);
CREATE TABLE seen (key BLOB PRIMARY KEY, expires_ms INTEGER NOT NULL,
  ref INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX seen_expires ON seen (expires_ms);
CREATE TABLE bundle (ref INTEGER PRIMARY KEY, key BLOB NOT NULL, place INTEGER NOT NULL,
  destination TEXT NOT NULL, source TEXT NOT NULL, priority INTEGER NOT NULL,
  size INTEGER NOT NULL, expires_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL,
  tag BLOB NOT NULL, segment INTEGER NOT NULL, start INTEGER NOT NULL,
  wire_check INTEGER NOT NULL, row_check INTEGER NOT NULL);
CREATE INDEX bundle_evict ON bundle (priority) WHERE place <> 1;
CREATE INDEX bundle_segment ON bundle (segment) WHERE segment > 0;
CREATE TABLE body (ref INTEGER PRIMARY KEY, wire BLOB NOT NULL);
CREATE TABLE state (space TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
  row_check INTEGER NOT NULL, PRIMARY KEY (space, key)) WITHOUT ROWID;
INSERT INTO seen VALUES (x'000000ba43b740000000000000000001', 800003600000, 1);
INSERT INTO bundle VALUES (1, x'000000ba43b740000000000000000001', 0, 'dtn://gs1/files',
  'dtn://sat1/files', 1, 100, 800003600000, 800000000000, x'746167', 0, 0,
  {wire_check}, {row_check});
INSERT INTO body VALUES (1, x'{encoded}');
"""
"""A file of version 1 with one bundle, as it was written then: never to be changed."""


def crc32c(octets: bytes) -> int:
    """CRC-32C bit by bit (RFC 3720 appendix B.4: polynomial 0x1EDC6F41, reflected)."""
    register = 0xFFFFFFFF
    for octet in octets:
        register ^= octet
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def version_1(path: Path) -> None:
    """Write a store of version 1."""
    path.mkdir(exist_ok=True)
    fixed = [1, 0, 1, 100, 800003600000, 800000000000, 0, 0, crc32c(encoded(1)) ^ 1]
    row = b"".join(value.to_bytes(8, "big") for value in fixed)
    row += bytes.fromhex("000000ba43b740000000000000000001") + b"tag"
    row += b"dtn://gs1/files\0dtn://sat1/files"
    db = sqlite3.connect(path / "store.db")
    db.executescript(
        VERSION_1.format(wire_check=fixed[-1], row_check=crc32c(row), encoded=encoded(1).hex())
    )
    db.close()


def test_crc_check_value() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720 appendix B.4, catalogue check value


def test_version_1_opens(directory: Path) -> None:
    version_1(directory)
    store = SqliteStore(directory)
    assert [(each.ref, each.key) for each in store.scan()] == [(1, put(1).key)]
    assert store.load([1]) == [encoded(1)]
    refs = store.commit([put(1), put(2)], NOW_MS).refs
    assert refs[0] == 0
    assert refs[1] >= 65538
    store.close()


def test_steps_run_once_and_in_order(directory: Path) -> None:
    version_1(directory)
    path = directory / "store.db"
    db = sqlite3.connect(path, isolation_level=None)
    steps = (
        *MIGRATIONS[:1],
        ("ALTER TABLE bundle ADD COLUMN hops INTEGER NOT NULL DEFAULT 3",),
        ("CREATE TABLE hop AS SELECT ref, hops FROM bundle", "UPDATE hop SET hops = hops + 1"),
    )
    assert migrate(db, path, steps) == 1
    assert db.execute("SELECT ref, hops FROM hop").fetchall() == [(1, 4)]
    assert db.execute("PRAGMA user_version").fetchone() == (3,)
    assert migrate(db, path, steps) == 3
    assert db.execute("SELECT ref, hops FROM hop").fetchall() == [(1, 4)]
    db.close()


def test_a_step_that_fails_leaves_the_version_before_it(directory: Path) -> None:
    version_1(directory)
    path = directory / "store.db"
    db = sqlite3.connect(path, isolation_level=None)
    steps = (
        *MIGRATIONS[:1],
        ("CREATE TABLE good (a)",),
        ("CREATE TABLE half (a)", "CREATE TABLE good (a)"),
    )
    with pytest.raises(sqlite3.OperationalError):
        migrate(db, path, steps)
    assert db.execute("PRAGMA user_version").fetchone() == (2,)
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
    assert "good" in names
    assert "half" not in names
    db.close()


def test_newer_schema_is_refused_untouched(directory: Path) -> None:
    SqliteStore(directory).close()
    db = sqlite3.connect(directory / "store.db")
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    before = (directory / "store.db").read_bytes()
    with pytest.raises(StoreError, match="run the newer program"):
        SqliteStore(directory)
    assert (directory / "store.db").read_bytes() == before


def test_database_of_another_program_is_refused(directory: Path) -> None:
    db = sqlite3.connect(directory / "store.db")
    db.execute("CREATE TABLE songs (name)")
    db.close()
    with pytest.raises(StoreError, match="not a bundle store"):
        SqliteStore(directory)


def test_second_object_is_refused(directory: Path) -> None:
    store = SqliteStore(directory)
    with pytest.raises(StoreError, match="in use by process"):
        SqliteStore(directory)
    assert store.commit([put(1)], NOW_MS).refs == [1]
    store.close()
    SqliteStore(directory).close()


def test_second_process_is_refused(directory: Path) -> None:
    store = SqliteStore(directory)
    program = (
        "import sys\n"
        "from stack.core.errors import StoreError\n"
        "from stack.storage import SqliteStore\n"
        "try:\n"
        "    SqliteStore(sys.argv[1])\n"
        "except StoreError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "in use by process" in result.stdout
    store.close()


def test_directory_that_cannot_be_made(directory: Path) -> None:
    (directory / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="file"):
        SqliteStore(directory / "file" / "store")


def test_refs_are_not_used_again_after_the_last_bundle_is_gone(directory: Path) -> None:
    last = 0
    for number in range(3):
        store = SqliteStore(directory)
        (ref,) = store.commit([put(number)], NOW_MS).refs
        assert ref > last
        last = ref
        assert len(store.expire(NOW_MS * 2, 10)) == 1
        store.close()
