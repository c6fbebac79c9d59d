"""Pages of a database read without SQLite, held against what SQLite reads; and all of a sound
store is found again."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from stack.ports.store import Place, Release, Write
from stack.storage import SqliteStore, StoreConfig
from stack.storage.carving import Carved, carve, free_pages
from stack.storage.files import PAGE_BYTES
from stack.storage.salvage import KEPT_MAX, Salvaged, salvage
from tests.storage.bundles import LIFETIME_MS, NOW_MS, encoded, put

NUMBERS = sorted(
    {0, 1, -1, (1 << 63) - 1, -(1 << 63)}
    | {
        sign * (1 << bits) + step
        for bits in (7, 15, 23, 31, 47)
        for sign in (1, -1)
        for step in (-1, 0, 1)
    }
)
SIZES = [0, 1, 53, 54, 57, 58, 470, 1000, 1001, 1002, 1003, 4040, *range(4050, 4066), 4092, 4096]
SIZES += [4581, 4582, 4583, 8140, *range(8150, 8200, 7), 12_300, 20_000]
ROWIDS = [1, 127, 128, 16_383, 16_384, 1 << 21, 1 << 56, (1 << 63) - 1]


def made(path: Path, table: str, rows: list[tuple[Any, ...]]) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    db.execute(table)
    db.execute("BEGIN")
    marks = ",".join("?" * len(rows[0]))
    db.executemany(f"INSERT INTO t VALUES ({marks})", rows)
    db.execute("COMMIT")
    return db


def carved(path: Path) -> list[Carved]:
    """What is on every page but the first, which has the schema."""
    octets = path.read_bytes()
    pages = [octets[at : at + PAGE_BYTES] for at in range(0, len(octets), PAGE_BYTES)]

    def fetch(number: int) -> bytes:
        return pages[number - 1] if 0 < number <= len(pages) else b""

    free = free_pages(fetch, len(pages))
    assert carve(fetch, len(pages) + 1) is None
    assert carve(fetch, 0) is None
    found = [carve(fetch, number) for number in range(2, len(pages) + 1) if number not in free]
    return [each for each in found if each is not None]


def first(row: tuple[Any, ...]) -> Any:
    """What rows are in the order of."""
    return row[0]


def values() -> list[Any]:
    return [
        None,
        *NUMBERS,
        *("x" * size for size in (0, 1, 60, 5000)),
        *(("é" * size) for size in (1, 3000)),
        *(bytes((size % 251,)) * size for size in SIZES),
    ]


def test_rows_of_a_table(directory: Path) -> None:
    path = directory / "one.db"
    rows: list[tuple[Any, ...]] = [
        (rowid, value, -rowid) for rowid, value in enumerate(values(), 5)
    ]
    rows += [(rowid, b"large", rowid) for rowid in ROWIDS if rowid > 1000 or rowid < 5]
    db = made(path, "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)", rows)
    expected = db.execute("SELECT id, a, b FROM t ORDER BY id").fetchall()
    db.close()
    leaves = [each for each in carved(path) if each.table]
    assert sorted((row for each in leaves for row in each.rows), key=first) == expected
    assert all(each.sound for each in leaves)
    assert len(expected) == len(rows)


def test_rows_of_a_table_without_rowids(directory: Path) -> None:
    path = directory / "two.db"
    rows = [(key.to_bytes(4, "big") * 9, value) for key, value in enumerate(values())]
    db = made(path, "CREATE TABLE t (a BLOB PRIMARY KEY, b) WITHOUT ROWID", rows)
    db.close()
    found = carved(path)
    assert not any(each.table for each in found)
    assert all(each.sound for each in found)
    assert sorted((row for each in found for row in each.rows), key=first) == rows
    assert len(found) > 2, "an interior page too, which has entries of its own"


def test_what_was_deleted_is_not_found(directory: Path) -> None:
    path = directory / "three.db"
    rows = [(number, bytes(1000)) for number in range(5000)]
    db = made(path, "CREATE TABLE t (id INTEGER PRIMARY KEY, a)", rows)
    db.execute("DELETE FROM t WHERE id BETWEEN 10 AND 4990")
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    expected = db.execute("SELECT id, a FROM t").fetchall()
    db.close()
    octets = path.read_bytes()
    pages = [octets[at : at + PAGE_BYTES] for at in range(0, len(octets), PAGE_BYTES)]
    assert len(free_pages(lambda number: pages[number - 1], len(pages))) == free > 1022
    found = [row for each in carved(path) for row in each.rows]
    assert sorted(found, key=first) == expected


def test_a_number_that_is_none_is_told(directory: Path) -> None:
    path = directory / "four.db"
    made(path, "CREATE TABLE t (id INTEGER PRIMARY KEY, a)", [(1, 0.5), (2, 7)]).close()
    (page,) = carved(path)
    assert page == Carved([(2, 7)], True, False)
    found = Salvaged()
    with sqlite3.connect(":memory:") as empty:
        for each in (page, Carved([], True, True), page):
            found.take(empty, each)
    empty.close()
    assert found.unreadable == 2


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, int], list[int]]:
    """A closed store; the numbers of its bundles by ref; refs that were let go of."""
    path = tmp_path_factory.mktemp("full")
    store = SqliteStore(path, StoreConfig(log_batch_bytes=1 << 30))
    numbers = list(range(300))
    refs = store.commit([put(n, 150 + 20 * n, place=Place.DELIVER) for n in numbers], NOW_MS).refs
    gone = refs[100:120]
    store.commit([Release(ref) for ref in gone], NOW_MS)
    store.commit([Write("jobs", f"{key}", bytes(key)) for key in range(50)], NOW_MS)
    store.close()
    held = {ref: n for ref, n in zip(refs, numbers, strict=True) if ref not in gone}
    return path, held, gone


def test_all_of_a_sound_store_is_found(
    full: tuple[Path, dict[int, int], list[int]], directory: Path
) -> None:
    original, held, gone = full
    path = directory / "store"
    shutil.copytree(original, path)
    with sqlite3.connect(path / "store.db") as db:
        before = [
            db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
            for table in ("bundle", "body", "seen", "state")
        ]
        meta = dict(db.execute("SELECT name, value FROM meta").fetchall())
    db.close()
    found = salvage(path)
    assert found is not None
    assert (found.bundles, found.states, found.unreadable) == (len(held), 50, 0)
    assert (found.commits, found.next_ref) == (meta["commits"], meta["next_ref"])
    assert found.next_ref > 300
    assert found.kept == "store.db.damaged-1"
    assert all(found.let_go(ref) for ref in [*gone, *held])
    assert not found.let_go(301)
    assert not found.let_go(0)
    assert not list(path.glob("store.db.r*"))
    with sqlite3.connect(path / "store.db") as db:
        after = [
            db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
            for table in ("bundle", "body", "seen", "state")
        ]
    db.close()
    assert after == before
    store = SqliteStore(path)
    assert store.load(list(held)) == [encoded(n, 150 + 20 * n) for n in held.values()]
    assert store.read("jobs", "49") == bytes(49)
    assert len(store.expire(NOW_MS + LIFETIME_MS, 1000)) == len(held)
    store.close()


def test_as_many_damaged_databases_are_kept(
    full: tuple[Path, dict[int, int], list[int]], directory: Path
) -> None:
    path = directory / "store"
    shutil.copytree(full[0], path)
    kept = []
    for _ in range(KEPT_MAX + 1):
        found = salvage(path)
        assert found is not None
        kept.append(found.kept)
    assert kept == [*(f"store.db.damaged-{n}" for n in range(1, KEPT_MAX + 1)), ""]


def test_which_refs_were_surely_let_go_of() -> None:
    found = Salvaged()
    found._ranges = [(5, 9), (20, 20)]
    assert [ref for ref in range(30) if found.let_go(ref)] == [5, 6, 7, 8, 9, 20]
