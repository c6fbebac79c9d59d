"""Full disks: refused cleanly, and usable again afterwards."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stack.core.errors import StoreError, StoreFullError
from stack.ports.store import NO_ROOM, Op, Release, Write
from stack.storage import SqliteStore, StoreConfig
from tests.storage.bundles import LIFETIME_MS, NOW_MS, encoded, put
from tests.storage.small_disk import fill_up, small_disk


@contextmanager
def files_limited_to(octets: int) -> Iterator[None]:
    """No file of this process may grow beyond `octets`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("log_batch_bytes", [0, 1 << 30])
@pytest.mark.parametrize("limit", [4096, 100_000])
def test_full_disk_stores_nothing_and_recovers(
    directory: Path, log_batch_bytes: int, limit: int
) -> None:
    config = StoreConfig(log_batch_bytes=log_batch_bytes)
    store = SqliteStore(directory, config)
    kept = store.commit([put(1), put(2), Write("jobs", "a", b"1")], NOW_MS).refs
    ops: list[Op] = [put(number, 5000) for number in range(3, 103)]
    ops += [Write("jobs", "a", b"2")]
    with files_limited_to(limit):
        for _ in range(2):
            with contextlib.suppress(StoreError):  # SQLite has no word of its own for this limit
                assert set(store.commit(ops, NOW_MS).refs) == {NO_ROOM}
            assert store.usage().bundles == 2
            assert store.load(kept) == [encoded(1), encoded(2)]
    ops += [Release(kept[0])]
    refs = store.commit(ops, NOW_MS).refs
    assert not store.usage().full
    assert min(refs) > max(kept)
    assert store.load([kept[0], *refs]) == [None, *(encoded(n, 5000) for n in range(3, 103))]
    store.close()
    store = SqliteStore(directory, config)
    assert [each.ref for each in store.scan()] == [kept[1], *refs]
    assert store.read("jobs", "a") == b"2"
    store.close()


def test_on_a_full_disk_a_file_goes_in_which_nothing_is_alive(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    store = SqliteStore(directory, StoreConfig(log_batch_bytes=0))
    (ref,) = store.commit([put(1)], NOW_MS).refs
    store.commit([Release(ref)], NOW_MS)
    assert list(directory.glob("payload-*.log")), "it still takes more"
    monkeypatch.setattr(os, "pwritev", full)
    with contextlib.suppress(StoreFullError):
        store.commit([put(2)], NOW_MS)
    store.commit([Write("jobs", "a", b"1")], NOW_MS)
    assert not list(directory.glob("payload-*.log"))
    store.close()


def until_full(store: SqliteStore, batch: int, size: int) -> list[int]:
    """Store bundles until one is refused; the refs."""
    refs: list[int] = []
    number = 0
    while True:
        puts = [put(number + index, size) for index in range(batch)]
        number += batch
        try:
            found = store.commit(puts, NOW_MS).refs
        except StoreFullError:
            return refs
        refs += [ref for ref in found if ref > 0]
        if NO_ROOM in found:
            return refs


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 40], ids=["in the database", "in the log"])
@pytest.mark.parametrize("reopened", ["", "closed", "killed"])
def test_a_full_disk_empties_itself(directory: Path, batch: int, reopened: str) -> None:
    told: list[str] = []
    with small_disk(directory / "disk") as disk:
        path = disk / "store"
        store = SqliteStore(path, trace=lambda event, _: told.append(event))
        refs = until_full(store, batch, 1000)
        assert len(refs) > 5000
        hog = fill_up(disk)  # and others take what the store has left
        assert store.usage().full
        assert told == ["store.full"]
        if reopened == "closed":
            store.close()
            fill_up(disk)
            store = SqliteStore(path)
        elif reopened == "killed":
            killed = directory / "image"
            shutil.copytree(path, killed, ignore=shutil.ignore_patterns("lock"))
            store.close()
            shutil.rmtree(path)
            hog.unlink()
            shutil.copytree(killed, path)
            fill_up(disk)
            store = SqliteStore(path)
        assert store.usage().full
        refused = put(10**6, 1000)
        assert store.commit([refused], NOW_MS).refs == [NO_ROOM]
        with pytest.raises(StoreFullError):
            store.commit([refused._replace(required=True)], NOW_MS)
        for start in range(0, len(refs), 7):  # one after the other, as links let go of them
            store.commit([Release(ref) for ref in refs[start : start + 7]], NOW_MS)
        assert store.usage().bundles == 0
        assert store.commit([refused], NOW_MS).refs[0] > 0
        hog.unlink()
        assert (
            NO_ROOM not in store.commit([put(10**6 + n, 1000) for n in range(1, 1000)], NOW_MS).refs
        )
        assert not store.usage().full
        assert store.usage().reserve_bytes == 3 << 20
        assert store.usage().bundles == 1000
        store.close()


@pytest.mark.slow
def test_a_full_disk_lets_expire(directory: Path) -> None:
    with small_disk(directory / "disk") as disk:
        store = SqliteStore(disk / "store")
        refs = until_full(store, 1, 1000)
        fill_up(disk)
        gone = 0
        while found := store.expire(NOW_MS + LIFETIME_MS, 1000):
            gone += len(found)
        assert gone == len(refs)
        store.close()


def test_full_disk_lets_bundles_go(directory: Path) -> None:
    store = SqliteStore(directory, StoreConfig(log_batch_bytes=0, wal_bytes=1 << 16))
    refs = store.commit([put(number, 1000) for number in range(500)], NOW_MS).refs
    for ref in refs[:100]:  # the write-ahead log has reached its size, and is used again
        store.commit([Release(ref)], NOW_MS)
    with files_limited_to((directory / "store.db-wal").stat().st_size):
        for ref in refs[100:200]:
            store.commit([Release(ref)], NOW_MS)
    assert store.usage().bundles == 300
    store.close()
