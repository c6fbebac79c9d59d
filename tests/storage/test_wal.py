"""Damage in the write-ahead log that a killed process leaves behind."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stack.ports.store import DUPLICATE, Place, Release
from stack.storage import SqliteStore, StoreConfig, rescue
from stack.storage.mark import SPACING, SPACING_MS
from stack.storage.rows import new_row
from tests.storage.bundles import NOW_MS, encoded, put
from tests.storage.conftest import scratch
from tests.storage.test_damage import flip

COUNT = 400
FRAME = 24 + 4096


@pytest.fixture(scope="module")
def killed() -> Iterator[Path]:
    """What a process that was killed after many commits leaves: all of it in the log."""
    path = scratch()
    store = SqliteStore(path / "running", StoreConfig(reserve_bytes=0, synchronous="normal"))
    for number in range(COUNT):
        store.commit([put(number)], NOW_MS + number * SPACING_MS)
    shutil.copytree(path / "running", path / "killed", ignore=shutil.ignore_patterns("*-shm"))
    store.close()
    yield path / "killed"
    shutil.rmtree(path)


def opened(image: Path, path: Path) -> tuple[int, list[tuple[str, dict[str, Any]]]]:
    """How many bundles are found, and what was told."""
    told: list[tuple[str, dict[str, Any]]] = []
    store = SqliteStore(path, StoreConfig(), lambda event, fields: told.append((event, fields)))
    refs = [each.ref for each in store.scan()]
    intact = sum(encoded is not None for encoded in store.load(refs))
    store.close()
    with sqlite3.connect(path / "store.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return intact, told


@pytest.mark.parametrize(
    "position",
    [
        pytest.param(32 + 300 * FRAME + 2000, id="page"),
        pytest.param(32 + 300 * FRAME + 2003, id="upper bits of a word"),
        pytest.param(32 + 300 * FRAME + FRAME - 1, id="end of a page"),
        pytest.param(32 + 300 * FRAME + 3, id="page number"),
        pytest.param(32 + 300 * FRAME + 7, id="size after commit"),
        pytest.param(32 + 300 * FRAME + 9, id="salt"),
        pytest.param(32 + 300 * FRAME + 17, id="checksum"),
        pytest.param(32 + 30, id="first frame"),
        pytest.param(-100, id="last frame"),
        pytest.param(18, id="salt of the log"),
        pytest.param(26, id="checksum of the log"),
        pytest.param(2, id="magic"),
        pytest.param(10, id="page size"),
    ],
)
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_loses_nothing(
    killed: Path, directory: Path, position: int, bit: int
) -> None:
    path = directory / "store"
    shutil.copytree(killed, path)
    log = path / "store.db-wal"
    flip(log, position % log.stat().st_size, 1 << bit)
    intact, told = opened(killed, path)
    assert intact == COUNT
    ((event, fields),) = told
    assert event == "store.wal_mended"
    assert fields["bits"] == 1


def test_many_flipped_bits_in_many_frames(killed: Path, directory: Path) -> None:
    path = directory / "store"
    shutil.copytree(killed, path)
    for frame in range(5, 900, 100):
        flip(path / "store.db-wal", 32 + frame * FRAME + 24 + frame, 0x10)
    assert opened(killed, path)[0] == COUNT


def test_an_unfinished_end_is_no_damage(killed: Path, directory: Path) -> None:
    path = directory / "store"
    shutil.copytree(killed, path)
    log = path / "store.db-wal"
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - FRAME // 2)  # of the last commit, half a frame
    intact, told = opened(killed, path)
    assert intact == COUNT - 1
    assert "store.wal_mended" not in [event for event, _ in told]


def test_a_log_without_damage_is_left_alone(killed: Path, directory: Path) -> None:
    path = directory / "store"
    shutil.copytree(killed, path)
    assert opened(killed, path) == (COUNT, [])


def test_pages_beyond_mending_cost_no_more_than_themselves(killed: Path, directory: Path) -> None:
    for frame in (100, 500, 900):
        path = directory / f"store{frame}"
        shutil.copytree(killed, path)
        for offset in (1000, 1100, 1200):
            flip(path / "store.db-wal", 32 + frame * FRAME + 24 + offset, 0x11)
        told: list[str] = []
        store = SqliteStore(path, trace=lambda event, _, told=told: told.append(event))  # type: ignore[misc]
        assert len(list(store.scan())) >= COUNT - 10
        assert "store.wal_mended" in told
        store.close()


def cut(path: Path) -> None:
    with (path / "store.db-wal").open("r+b") as file:
        file.truncate(32 + 200 * FRAME)


def without_log(path: Path) -> None:
    (path / "store.db-wal").unlink()


def without_database(path: Path) -> None:
    (path / "store.db-wal").unlink(missing_ok=True)
    (path / "store.db").unlink()


@pytest.mark.parametrize("damage", [cut, without_log, without_database])
def test_what_is_gone_is_told(
    killed: Path, directory: Path, damage: Callable[[Path], None]
) -> None:
    path = directory / "store"
    shutil.copytree(killed, path)
    (path / "payload-0000000007.log").write_bytes(b"octets of bundles")
    damage(path)
    intact, told = opened(killed, path)
    assert intact < COUNT
    fields = dict(told)["store.behind"]
    assert fields["bundles_expected"] == COUNT
    assert fields["bundles_found"] == intact
    assert fields["commits_lost"] > 0
    assert (path / "payload-0000000007.lost").exists(), "kept for the operator"
    store = SqliteStore(path)
    assert store.usage().missing == COUNT - intact
    (ref,) = store.commit([put(COUNT + 1)], NOW_MS).refs
    assert ref > COUNT, "refs are never used again"
    store.close()
    assert opened(killed, path)[1] == [], "told until the next commit, not for ever"


@pytest.mark.parametrize("damage", [cut, without_log, without_database])
def test_what_the_payload_log_has_is_taken_back(
    directory: Path, damage: Callable[[Path], None]
) -> None:
    store = SqliteStore(directory / "running", StoreConfig(log_batch_bytes=0, segment_bytes=9000))
    (gone,) = store.commit([put(999)], NOW_MS).refs
    store.commit([Release(gone)], NOW_MS)
    numbers: dict[int, int] = {}
    for first in range(0, COUNT, 2):
        refs = store.commit([put(first), put(first + 1)], NOW_MS).refs
        numbers.update(zip(refs, (first, first + 1), strict=True))
    path = directory / "store"
    shutil.copytree(directory / "running", path, ignore=shutil.ignore_patterns("*-shm"))
    store.close()
    damage(path)
    told: list[tuple[str, dict[str, Any]]] = []
    store = SqliteStore(path, StoreConfig(), lambda event, fields: told.append((event, fields)))
    fields = dict(told)["store.behind"]
    assert fields["bundles_rescued"] + fields["bundles_found"] >= COUNT
    assert fields["bundles_rescued"] > 0
    assert store.usage().missing == 0
    found = {each.ref: each.key for each in store.scan()}
    assert {ref: put(number).key for ref, number in numbers.items()}.items() <= found.items()
    assert store.load(list(numbers)) == [encoded(number) for number in numbers.values()]
    assert store.commit([put(5, place=Place.DELIVER)], NOW_MS).refs == [DUPLICATE]
    store.close()
    assert opened(path, path)[0] >= COUNT


def test_a_store_that_was_closed_is_where_its_mark_is(directory: Path) -> None:
    told: list[str] = []
    for number in range(5):
        store = SqliteStore(directory, trace=lambda event, _: told.append(event))
        refs = store.commit([put(number)], NOW_MS).refs
        if number % 2:
            store.commit([Release(refs[0])], NOW_MS)
        store.close()
    assert told == []


def test_of_a_burst_little_is_lost_without_being_missed(directory: Path) -> None:
    store = SqliteStore(directory / "running", StoreConfig(reserve_bytes=0))
    for number in range(COUNT):
        store.commit([put(number)], NOW_MS)
    path = directory / "store"
    shutil.copytree(directory / "running", path, ignore=shutil.ignore_patterns("*-shm"))
    store.close()
    without_database(path)
    lost = SqliteStore(path)
    assert COUNT - SPACING < lost.usage().missing <= COUNT
    lost.close()
    without_database(directory / "running")
    closed = SqliteStore(directory / "running")
    assert closed.usage().missing == COUNT, "the mark of a store that was closed is not behind"
    closed.close()


def test_a_record_that_a_bundle_carries_is_not_taken(directory: Path) -> None:
    """Anybody can send octets that look like a record of the log."""
    forged = encoded(77)
    row = new_row(put(77, place=Place.DELIVER)._replace(source="dtn://control/"), 900, 100, 1, 0)
    carrier = put(1)._replace(encoded=forged + rescue.record(10**6, [row]) + bytes(50))
    store = SqliteStore(directory, StoreConfig(log_batch_bytes=0))
    store.commit([carrier], NOW_MS)
    store.close()
    (directory / "store.db").unlink()
    store = SqliteStore(directory, StoreConfig(log_batch_bytes=0))
    (stored,) = store.scan()
    assert stored.key == carrier.key
    assert store.load([stored.ref]) == [carrier.encoded]
    store.close()
