"""A damaged database: what can be read of it is rescued, and what is lost is told."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stack.core.errors import StoreError
from stack.ports.store import DUPLICATE, Place, Put, Release, Write
from stack.storage import DamagedError, SqliteStore, StoreConfig
from stack.storage.files import PAGE_BYTES
from tests.storage.bundles import NOW_MS, encoded, number_of, put
from tests.storage.conftest import scratch
from tests.storage.test_damage import flip

COUNT = 400
GONE = 100
"""Bundles that had been let go of: their pages are free, or hold rows of others."""

Told = list[tuple[str, dict[str, Any]]]


def size_of(number: int) -> int:
    """Some are larger than a page."""
    return 9000 if number % 20 == 0 else 150


def bundle(number: int) -> Put:
    """Bundle `number`, with its own size."""
    return put(number, size_of(number))


@pytest.fixture(scope="module")
def filled() -> Iterator[tuple[Path, dict[int, int]]]:
    """A closed store, and the numbers of its bundles by ref: every second batch out of line."""
    path = scratch()
    store = SqliteStore(path, StoreConfig(log_batch_bytes=12000))
    numbers: dict[int, int] = {}
    gone: list[int] = []
    for first in range(0, COUNT + GONE, 25):
        batch = list(range(first, first + 25))
        if first % 50:
            batch = [number for number in batch if number % 20]
        refs = store.commit([bundle(number) for number in batch], NOW_MS).refs
        numbers.update(zip(refs, batch, strict=True))
        gone += refs[::5]
    store.commit([Release(ref) for ref in gone], NOW_MS)
    store.commit([Write("jobs", f"{key}", bytes(80)) for key in range(60)], NOW_MS)
    store.close()
    for ref in gone:
        del numbers[ref]
    yield path, numbers
    shutil.rmtree(path)


def lost(path: Path, numbers: dict[int, int]) -> tuple[int, int, Told]:
    """Use a damaged store in every way; how many bundles are lost, how many it has told of."""
    told: Told = []
    store = SqliteStore(path, StoreConfig(), lambda event, fields: told.append((event, fields)))
    found: set[int] = set()
    for stored in list(store.scan()):
        number = numbers.get(stored.ref, number_of(stored.key))
        try:
            (octets,) = store.load([stored.ref])
        except DamagedError:
            continue
        if octets is not None:
            assert octets == encoded(number, size_of(number))
            found.add(stored.ref)
    store.read_all("jobs")
    assert store.commit([bundle(10_001)], NOW_MS).refs[0] not in numbers
    missing = store.usage().missing + store.usage().damaged
    # What was let go of may come back in the place of what is lost.
    missing += sum(fields.get("bundles_rescued", 0) for _, fields in told)
    store.close()
    return len(numbers.keys() - found), missing, told


def pages_by_kind(path: Path) -> dict[str, list[int]]:
    """Numbers of the pages of each tree, interior ones apart, and of free ones."""
    octets = (path / "store.db").read_bytes()
    kinds: dict[str, list[int]] = {}
    for number in range(1, len(octets) // PAGE_BYTES + 1):
        first = (number - 1) * PAGE_BYTES + (100 if number == 1 else 0)
        kinds.setdefault(str(octets[first]), []).append(number)
    return kinds


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0, 3, 4, 8, 9, 40, 101, 103, 600, 2049, 4000, 4090])
def test_flipped_bits_in_any_page_cost_little(
    filled: tuple[Path, dict[int, int]], directory: Path, offset: int
) -> None:
    original, numbers = filled
    kinds = pages_by_kind(original)
    assert {"2", "5", "10", "13"} <= kinds.keys(), "interior pages of tables and indexes"
    chosen = {1, *(page for pages in kinds.values() for page in (*pages[:3], pages[-1]))}
    for page in chosen:
        path = directory / str(page)
        shutil.copytree(original, path)
        flip(path / "store.db", (page - 1) * PAGE_BYTES + offset, 1 << offset % 7)
        gone, missing, told = lost(path, numbers)
        assert gone <= 60, (page, told)
        assert missing >= gone, f"page {page}: {gone} are gone, and {missing} told: {told}"
        shutil.rmtree(path)


@pytest.mark.parametrize("kind", ["1", "2", "5", "10", "13"])
def test_a_page_of_zeros_costs_its_own_rows(
    filled: tuple[Path, dict[int, int]], directory: Path, kind: str
) -> None:
    original, numbers = filled
    page = 1 if kind == "1" else pages_by_kind(original)[kind][-1]
    path = directory / "store"
    shutil.copytree(original, path)
    with (path / "store.db").open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))
    before = (path / "store.db").read_bytes()
    gone, missing, told = lost(path, numbers)
    assert gone <= 60
    assert missing >= gone
    if kind in ("1", "5"):
        fields = dict(told)["store.rescued"]
        assert fields["bundles_expected"] == len(numbers)
        assert fields["kept"] == "store.db.damaged-1"
        assert (path / "store.db.damaged-1").read_bytes()[PAGE_BYTES:] == before[PAGE_BYTES:]
    assert lost(path, numbers)[2] == [], "told once"


def test_what_was_let_go_of_does_not_come_back(
    filled: tuple[Path, dict[int, int]], directory: Path
) -> None:
    original, numbers = filled
    path = directory / "store"
    shutil.copytree(original, path)
    flip(path / "store.db", 0)
    store = SqliteStore(path, StoreConfig())
    assert {each.ref for each in store.scan()} == numbers.keys()
    assert store.usage().rescues == 1
    assert store.usage().missing == 0
    again = [bundle(number)._replace(place=Place.DELIVER) for number in (0, 1, 2, 5)]
    assert store.commit(again, NOW_MS).refs == [DUPLICATE] * 4
    store.close()


def test_damage_while_the_store_is_open_is_rescued(
    filled: tuple[Path, dict[int, int]], directory: Path
) -> None:
    original, numbers = filled
    path = directory / "store"
    shutil.copytree(original, path)
    db = sqlite3.connect(path / "store.db")
    (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'body'").fetchone()
    db.close()
    with (path / "store.db").open("r+b") as file:
        file.seek((root - 1) * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)
    told: Told = []
    store = SqliteStore(path, StoreConfig(), lambda event, fields: told.append((event, fields)))
    assert store.usage().rescues == 0, "nothing has looked at that page yet"
    octets = store.load(list(numbers))
    assert octets == [encoded(number, size_of(number)) for number in numbers.values()]
    assert store.usage().rescues == 1
    assert [event for event, _ in told] == ["store.rescued"]
    (ref,) = store.commit([bundle(9999)], NOW_MS).refs
    assert store.load([ref]) == [encoded(9999, size_of(9999))]
    store.close()
    assert lost(path, numbers)[0] == 0


def test_a_rescue_that_was_cut_off_is_finished(
    filled: tuple[Path, dict[int, int]], directory: Path
) -> None:
    original, numbers = filled
    path = directory / "store"
    shutil.copytree(original, path)
    shutil.copy(path / "store.db", path / "store.db.rescued")
    (path / "store.db").write_bytes(b"\0" * 5 * PAGE_BYTES)
    (path / "store.db-wal").write_bytes(b"of the old one")
    assert lost(path, numbers)[0] == 0
    assert not (path / "store.db.rescued").exists()


def test_what_is_no_store_is_left_alone(directory: Path) -> None:
    other = sqlite3.connect(directory / "store.db")
    other.execute("CREATE TABLE other (a)")
    other.commit()
    other.close()
    with pytest.raises(StoreError, match="not a bundle store"):
        SqliteStore(directory)
    assert not list(directory.glob("store.db.*"))
