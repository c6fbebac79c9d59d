"""Bit flips: never a wrong octet handed out, never an error that is not typed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stack.core.errors import StoreError
from stack.ports.store import DUPLICATE, QUARANTINE_PRIORITY, Place, Release, Write
from stack.storage import DamagedError, SqliteStore, StoreConfig
from stack.storage.files import QUARANTINE_FILES_MAX
from tests.storage.bundles import LIFETIME_MS, NOW_MS, both_kinds, encoded, fill, put
from tests.storage.conftest import scratch


def flip(path: Path, position: int, mask: int = 1) -> None:
    """Flip bits of one octet of a file."""
    with path.open("r+b") as file:
        file.seek(position)
        octet = file.read(1)[0]
        file.seek(position)
        file.write(bytes([octet ^ mask]))


def edit(path: Path, statement: str, *values: object) -> None:
    """Change the database behind the store's back."""
    db = sqlite3.connect(path / "store.db")
    assert db.execute(statement, values).rowcount > 0
    db.commit()
    db.close()


def keys_held(path: Path) -> int:
    with sqlite3.connect(path / "store.db") as db:
        (count,) = db.execute("SELECT count(*) FROM seen").fetchone()
    db.close()
    return int(count)


@pytest.mark.parametrize("log_batch_bytes", [0, 1 << 20])
def test_flipped_payload_is_quarantined_and_can_come_again(
    directory: Path, log_batch_bytes: int
) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    config = StoreConfig(log_batch_bytes=log_batch_bytes)
    store = SqliteStore(directory, config, lambda event, fields: told.append((event, fields)))
    refs = store.commit([put(1), put(2), put(3)], NOW_MS).refs
    if log_batch_bytes:
        edit(directory, "UPDATE body SET wire = ? WHERE ref = ?", encoded(9), refs[1])
    else:
        flip(next(directory.glob("payload-*.log")), 150, 0x80)
    with pytest.raises(DamagedError, match=rf"bundle {refs[1]} does not match") as caught:
        store.load(refs)
    assert caught.value.refs == [refs[1]]
    assert store.usage().damaged == 1
    assert told == [("store.damaged", {"ref": refs[1], "bytes": 100})]
    assert store.load(refs) == [encoded(1), None, encoded(3)]
    assert len(store.remains(refs[1]) or b"") == 100
    assert store.remains(refs[0]) is None
    (kept,) = [one for one in store.scan() if one.ref == refs[1]]
    assert (kept.place, kept.priority) == (Place.QUARANTINE, QUARANTINE_PRIORITY)
    assert b"damaged" in kept.note
    assert store.usage().bundles == 3
    again = store.commit([put(1), put(2)], NOW_MS).refs
    assert again[0] == DUPLICATE
    assert again[1] > refs[2]
    assert store._tally.keys == keys_held(directory) == 4, "and that which it has in quarantine"
    # What lies in quarantine goes with its lifetime, and takes no other's key with it.
    store.commit([Release(refs[1])], NOW_MS)
    assert store.commit([put(2)], NOW_MS).refs == [DUPLICATE]
    assert len(store.expire(NOW_MS + LIFETIME_MS, 100)) == 3
    assert store.usage().bundles == 0
    store.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("destination", "dtn://gs2/files"),
        ("destination", b"\xff\xfe"),
        ("source", None),
        ("priority", 3),
        ("place", 7),
        ("place", int(Place.DELIVER)),
        ("size", 101),
        ("size", "many"),
        ("expires_ms", NOW_MS),
        ("key", b"other"),
        ("key", 5),
        ("tag", b"gat"),
        ("start", 1 << 62),
        ("segment", 77),
        ("wire_check", 0),
        ("row_check", 0),
    ],
)
def test_damaged_row_is_left_out_of_the_scan(directory: Path, column: str, value: object) -> None:
    held = fill(directory)
    ref = sorted(held)[12]
    db = sqlite3.connect(directory / "store.db")
    db.execute("PRAGMA ignore_check_constraints = ON")
    db.execute("PRAGMA writable_schema = ON")
    schema = db.execute("SELECT sql, name FROM sqlite_schema").fetchall()
    db.execute("UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '')")
    db.commit()
    db.close()
    edit(directory, f"UPDATE bundle SET {column} = ? WHERE ref = ?", value, ref)
    db = sqlite3.connect(directory / "store.db")
    db.execute("PRAGMA writable_schema = ON")
    db.executemany("UPDATE sqlite_schema SET sql = ? WHERE name = ?", schema)
    db.commit()
    db.close()
    store = SqliteStore(directory, both_kinds())
    assert [each.ref for each in store.scan()] == sorted(set(held) - {ref})
    assert store.usage().damaged == 1
    assert store.load([ref]) == [None]
    del held[ref]
    assert dict(zip(held, store.load(list(held)), strict=True)) == held
    (again,) = store.commit([put(12)], NOW_MS).refs
    assert again > max(held), "its key was forgotten"
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("UPDATE seen SET expires_ms = 1 WHERE key = ?", id="expiry"),
        pytest.param("UPDATE seen SET expires_ms = 1, ref = 2 WHERE key = ?", id="ref of another"),
        pytest.param("UPDATE seen SET expires_ms = 1, key = x'00' WHERE key = ?", id="key"),
    ],
)
def test_damage_in_what_is_remembered_costs_no_bundle(directory: Path, damage: str) -> None:
    store = SqliteStore(directory)
    store.commit([put(1), put(2), put(3)], NOW_MS)
    store.close()
    edit(directory, damage, put(1).key)
    store = SqliteStore(directory)
    assert store.expire(NOW_MS, 100) == []
    assert [each.ref for each in store.scan()] == [1, 2, 3]
    assert store.commit([put(2), put(3)], NOW_MS).refs == [DUPLICATE, DUPLICATE]
    assert len(store.expire(NOW_MS + LIFETIME_MS, 100)) >= 2
    store.close()


def test_a_damaged_ref_evicts_no_other_bundle(directory: Path) -> None:
    store = SqliteStore(directory)
    store.commit([put(1), put(2)], NOW_MS)
    store.close()
    edit(directory, "UPDATE seen SET expires_ms = 1, ref = 2 WHERE key = ?", put(1).key)
    store = SqliteStore(directory)
    assert store.commit([put(1)], NOW_MS).evicted == []
    assert {each.key for each in store.scan()} == {put(1).key, put(2).key}
    store.close()


def test_compaction_does_not_copy_damage(directory: Path) -> None:
    store = SqliteStore(directory, StoreConfig(log_batch_bytes=0, segment_bytes=1))
    refs = store.commit([put(number) for number in range(10)], NOW_MS).refs
    store.commit([put(10)], NOW_MS)
    flip(next(iter(sorted(directory.glob("payload-*.log")))), 250)
    store.commit([Release(ref) for ref in refs if ref not in refs[2:4]], NOW_MS)
    while store.tidy():
        pass
    assert not store.untidy
    assert store.usage().damaged == 1
    assert len(store.remains(refs[2]) or b"") == 100
    assert store.load(refs[2:4]) == [None, encoded(3)]
    assert not (directory / "payload-0000000001.log").exists()
    store.close()


def test_missing_log_file_loses_only_its_bundles(directory: Path) -> None:
    held = fill(directory)
    logs = sorted(directory.glob("payload-*.log"))
    assert len(logs) == 2
    logs[0].unlink()
    store = SqliteStore(directory, both_kinds())
    with pytest.raises(DamagedError) as caught:
        store.load(list(held))
    assert len(caught.value.refs) == 20
    rest = store.load(list(held))
    assert [each for each in rest if each is not None] == [
        held[ref] for ref in held if ref not in caught.value.refs
    ]
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE state SET value = x'33' WHERE key = 'b'",
        "UPDATE state SET value = 'text' WHERE key = 'b'",
        "UPDATE state SET key = 'aa' WHERE key = 'b'",
        "UPDATE state SET key = CAST(x'ff' AS TEXT) WHERE key = 'b'",
        "UPDATE state SET space = 'jobz' WHERE key = 'b'",
        "UPDATE state SET row_check = 1 WHERE key = 'b'",
    ],
)
def test_damaged_state_is_told_and_stops_nothing_else(directory: Path, change: str) -> None:
    with contextlib.closing(SqliteStore(directory)) as store:
        store.commit([Write("jobs", key, key.encode()) for key in "abc"], NOW_MS)
    edit(directory, change)
    told: list[tuple[str, dict[str, Any]]] = []
    with contextlib.closing(
        SqliteStore(directory, trace=lambda *event: told.append(event))
    ) as store:
        ((event, fields),) = told
        assert (event, fields["space"][:3]) == ("store.state_damaged", "job")
        for _ in range(2):
            assert store.read("jobs", "b") is None
            assert store.read_all("jobs") == [("a", b"a"), ("c", b"c")]
        assert store.usage().damaged_states == len(told) == 1
        (kept,) = (directory / "quarantine").glob("state-*")
        assert kept.read_bytes() == (
            b"3" if "x'33'" in change else b"" if "text" in change else b"b"
        )
        store.commit([Write("jobs", "b", b"new")], NOW_MS)
        assert store.read("jobs", "b") == b"new"
    with contextlib.closing(SqliteStore(directory)) as store:
        assert store.usage().damaged_states == 0  # told once
        assert store.read_all("jobs") == [("a", b"a"), ("b", b"new"), ("c", b"c")]


def test_state_that_is_damaged_while_it_is_in_use_is_told_once(directory: Path) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    with contextlib.closing(
        SqliteStore(directory, trace=lambda *event: told.append(event))
    ) as store:
        store.commit([Write("jobs", "a", b"1"), Write("jobs", "b", b"2")], NOW_MS)
        edit(directory, "UPDATE state SET value = ? WHERE key = 'a'", b"3")
        assert told == []
        for _ in range(3):
            assert store.read("jobs", "a") is None
            assert store.read_all("jobs") == [("b", b"2")]
        assert told == [("store.state_damaged", {"space": "jobs", "key": "a", "bytes": 1})]


def test_quarantine_is_bounded(directory: Path) -> None:
    store = SqliteStore(directory, StoreConfig(log_batch_bytes=0))
    refs = store.commit([put(n) for n in range(QUARANTINE_FILES_MAX + 9)], NOW_MS).refs
    os.truncate(next(directory.glob("payload-*.log")), 0)
    with pytest.raises(DamagedError):
        store.load(refs)
    assert store.usage().damaged == len(refs)
    assert len(list((directory / "quarantine").iterdir())) == QUARANTINE_FILES_MAX
    assert store.usage().bundles == 0
    store.close()


def test_what_is_no_database_says_what_to_do(directory: Path) -> None:
    (directory / "store.db").write_bytes(b"not a database, not at all" * 100)
    with pytest.raises(StoreError, match="move the directory away"):
        SqliteStore(directory)


@pytest.fixture(scope="module")
def filled() -> Iterator[tuple[Path, dict[int, bytes]]]:
    """A closed store, to be copied and damaged."""
    path = scratch()
    yield path, fill(path)
    shutil.rmtree(path)


def exercise(path: Path, held: dict[int, bytes]) -> None:
    """Use a damaged store in every way; what it hands out must be right."""
    store = SqliteStore(path, both_kinds())
    try:
        for stored in store.scan():
            assert stored.ref in held
        for ref, expected in held.items():
            try:
                (found,) = store.load([ref])
            except DamagedError:
                continue
            assert found is None or found == expected
        store.commit([put(1000 + number) for number in range(20)], NOW_MS)
        store.commit([put(2000, 3000, priority=9)], NOW_MS)
        store.read_all("jobs")
        while store.expire(NOW_MS + LIFETIME_MS, 100):
            pass
    finally:
        store.close()


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    flips=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4
    )
)
def test_random_damage_raises_only_store_errors(
    filled: tuple[Path, dict[int, bytes]], flips: list[tuple[float, int]]
) -> None:
    original, held = filled
    path = scratch()
    try:
        shutil.copytree(original, path, dirs_exist_ok=True)
        database = path / "store.db"
        for where, mask in flips:
            flip(database, int(where * database.stat().st_size), mask)
        with contextlib.suppress(StoreError):
            exercise(path, held)
    finally:
        shutil.rmtree(path)
