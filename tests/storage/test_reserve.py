"""Disk space put aside for a full disk, on a disk of which only its size is told."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.errors import StoreFullError
from stack.storage import StoreConfig
from stack.storage.files import PAGE_BYTES
from stack.storage.reserve import Reserve, fitted
from stack.storage.staged import Staged

MIB = 1 << 20
NAME = "reserve"
WAL_BYTES_MIN = 64 * 1024
SEGMENT_BYTES_MIN = MIB
FLOOR_PAGES = 64
PAGE_OCTETS = 3072
UNLIMITED = 1_073_741_823
WAL = "store.db-wal"


@dataclass
class Disk:
    """What the system says of the disk under `path`: our own files count, and what others took."""

    path: Path
    total: int = 1000 * MIB
    others: int = 0
    broken: bool = False

    @property
    def free(self) -> int:
        ours = sum((self.path / name).stat().st_size for name in os.listdir(self.path))
        return max(0, self.total - self.others - ours)

    def statvfs(self, _: object) -> SimpleNamespace:
        if self.broken:
            raise OSError(errno.EIO, "planted")
        size = 512
        # A part of the disk is for the superuser alone.
        return SimpleNamespace(
            f_blocks=self.total // size,
            f_frsize=size,
            f_bsize=4096,
            f_bavail=self.free // size,
            f_bfree=self.free // size + 1000,
        )

    def posix_fallocate(self, fd: int, start: int, octets: int) -> None:
        assert start == 0
        there = os.fstat(fd).st_size
        if octets - there > self.free:
            os.ftruncate(fd, there + self.free)
            raise OSError(errno.ENOSPC, "planted")
        os.ftruncate(fd, max(octets, there))


@pytest.fixture
def disk(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk(directory)
    monkeypatch.setattr(os, "statvfs", made.statvfs)
    monkeypatch.setattr(os, "posix_fallocate", made.posix_fallocate)
    return made


@pytest.fixture
def db(directory: Path) -> Iterator[sqlite3.Connection]:
    """A database with a table, as a store has it."""
    made = sqlite3.connect(directory / "store.db", isolation_level=None)
    made.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    made.execute("PRAGMA journal_mode = WAL")
    made.execute("PRAGMA secure_delete = OFF")
    made.execute("CREATE TABLE t (x BLOB)")
    yield made
    made.close()


class Told:
    """A trace."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        self.events.append((event, fields))

    @property
    def names(self) -> list[str]:
        return [event for event, _ in self.events]


def reserve_of(disk: Disk, told: Told | None = None, reserve: int = 8 * MIB) -> Reserve:
    config = StoreConfig(reserve_bytes=reserve, wal_bytes=reserve // 2 or 1)
    return Reserve(disk.path, config, told or Told())


def pages(db: sqlite3.Connection, what: str) -> int:
    (count,) = db.execute(f"PRAGMA {what}").fetchone()
    return int(count)


def put_aside(disk: Disk) -> int | None:
    """Octets of the file, or None when there is none."""
    path = disk.path / NAME
    return path.stat().st_size if path.exists() else None


# ---- what fits a disk -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "reserve", "wal", "segment"),
    [
        (0, 32 * MIB, 16 * MIB, 64 * MIB),  # a file system that does not say
        (24 * MIB, 3 * MIB, 3 * MIB // 2, 3 * MIB // 2),
        (8 * MIB, MIB, MIB // 2, SEGMENT_BYTES_MIN),
        (512 * 1024, 65536, WAL_BYTES_MIN, SEGMENT_BYTES_MIN),
        (256 * MIB, 32 * MIB, 16 * MIB, 16 * MIB),
        (1 << 40, 32 * MIB, 16 * MIB, 64 * MIB),
    ],
)
def test_settings_fit_the_disk(
    disk: Disk, total: int, reserve: int, wal: int, segment: int
) -> None:
    disk.total = total
    config = StoreConfig()
    assert fitted(config, disk.path) == replace(
        config, reserve_bytes=reserve, wal_bytes=wal, segment_bytes=segment
    )


def test_without_a_reserve_the_write_ahead_log_is_as_configured(disk: Disk) -> None:
    disk.total = 24 * MIB
    config = fitted(StoreConfig(reserve_bytes=0), disk.path)
    assert (config.reserve_bytes, config.wal_bytes) == (0, 16 * MIB)


@given(
    total=st.integers(1, 1 << 44),
    reserve=st.integers(0, 1 << 30),
    wal=st.integers(1, 1 << 30),
    segment=st.integers(1, 1 << 34),
)
def test_nothing_takes_more_than_its_share(
    total: int, reserve: int, wal: int, segment: int
) -> None:
    config = StoreConfig(reserve_bytes=reserve, wal_bytes=wal, segment_bytes=segment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_blocks=total, f_frsize=1))
        found = fitted(config, Path())
    assert found.reserve_bytes == min(reserve, total // 8)
    assert found.wal_bytes <= wal
    assert (
        found.wal_bytes <= max(found.reserve_bytes // 2, WAL_BYTES_MIN) or not found.reserve_bytes
    )
    assert found.segment_bytes <= max(total // 16, SEGMENT_BYTES_MIN)
    assert found.segment_bytes <= segment


# ---- putting it aside -------------------------------------------------------------------------


def test_space_is_put_aside_where_there_is_some_to_spare(disk: Disk) -> None:
    reserve = reserve_of(disk)
    assert reserve.before_opening()
    assert put_aside(disk) == 8 * MIB == reserve.octets
    assert (disk.path / NAME).stat().st_mode & 0o777 == 0o600
    assert not reserve.full


@pytest.mark.parametrize(("short", "there"), [(0, True), (512, False)])
def test_a_quarter_of_it_stays_free(disk: Disk, short: int, there: bool) -> None:
    disk.others = disk.total - 10 * MIB + short
    reserve = reserve_of(disk)
    assert reserve.refill() is there
    assert (put_aside(disk) == 8 * MIB) is there
    assert not reserve.full


@pytest.mark.parametrize(("short", "enough"), [(0, True), (512, False)])
def test_what_is_put_aside_is_no_room_for_others(disk: Disk, short: int, enough: bool) -> None:
    reserve = reserve_of(disk)
    assert reserve.refill()
    disk.others = disk.total - 9 * MIB + short  # an eighth of it is free
    assert reserve.refill() is enough
    assert put_aside(disk) == 8 * MIB, "it is asked for in no other way"
    assert reserve.before_opening() is enough
    assert put_aside(disk) == (8 * MIB if enough else None), "opening needs it"


@pytest.mark.parametrize("size", [0, 5, 3 * MIB, 9 * MIB])
def test_one_of_another_size_is_made_anew(disk: Disk, size: int) -> None:
    (disk.path / NAME).write_bytes(b"")
    os.truncate(disk.path / NAME, size)
    assert reserve_of(disk).refill()
    assert (put_aside(disk) or 0) >= 8 * MIB


def test_a_disk_that_fills_up_meanwhile_keeps_none_of_it(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = reserve_of(disk)
    real = disk.posix_fallocate

    def late(fd: int, start: int, octets: int) -> None:
        disk.others = disk.total - MIB
        real(fd, start, octets)

    monkeypatch.setattr(os, "posix_fallocate", late)
    assert not reserve.refill()
    assert put_aside(disk) is None


def test_a_disk_that_does_not_answer_has_none(disk: Disk) -> None:
    disk.broken = True
    reserve = reserve_of(disk)
    assert not reserve.refill()
    assert not reserve.before_opening()
    with pytest.raises(OSError, match="planted"):
        fitted(StoreConfig(), disk.path)


def test_none_is_wanted(disk: Disk) -> None:
    reserve = reserve_of(disk, reserve=0)
    assert reserve.before_opening()
    assert put_aside(disk) == 0
    assert reserve.octets == 0


# ---- a full disk ------------------------------------------------------------------------------


def filled(disk: Disk, reserve: Reserve) -> None:
    """Others take all that is left."""
    assert reserve.before_opening()
    disk.others += disk.free


def test_the_reserve_becomes_room_for_the_log_and_some_pages(
    disk: Disk, db: sqlite3.Connection
) -> None:
    told = Told()
    reserve = reserve_of(disk, told)
    filled(disk, reserve)
    before = pages(db, "page_count")
    reserve.squeeze(db, "no space")
    assert told.events == [("store.full", {"path": str(disk.path), "why": "no space"})]
    assert reserve.full
    assert reserve.octets == 0
    assert put_aside(disk) is None
    assert (disk.path / WAL).stat().st_size == 5 * MIB, "4 MiB and what the last commit adds"
    assert pages(db, "max_page_count") == before + 8 * MIB // 16 // PAGE_BYTES
    reserve.squeeze(db, "again")
    assert told.names == ["store.full"], "it is told once"


@pytest.mark.parametrize(
    ("wal", "room"), [(100_000, 150_000), (2 * MIB, 3 * MIB), (10 * MIB, 11 * MIB)]
)
def test_the_log_may_grow_by_half_or_a_mebioctet(
    disk: Disk, db: sqlite3.Connection, wal: int, room: int
) -> None:
    config = StoreConfig(reserve_bytes=32 * MIB, wal_bytes=wal)
    Reserve(disk.path, config, Told()).squeeze(db, "")
    assert (disk.path / WAL).stat().st_size == room


def test_a_small_reserve_is_some_pages_all_the_same(disk: Disk, db: sqlite3.Connection) -> None:
    before = pages(db, "page_count")
    reserve_of(disk, reserve=4 * PAGE_BYTES).squeeze(db, "")
    assert pages(db, "max_page_count") == before + 16


def test_the_log_is_copied_into_the_database_first(disk: Disk, db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO t VALUES (zeroblob(100000))")
    before = (disk.path / "store.db").stat().st_size
    reserve_of(disk).squeeze(db, "")
    assert (disk.path / "store.db").stat().st_size > before + 90_000


def test_a_database_that_fails_too_is_no_reason_to_give_up(disk: Disk) -> None:
    closed = sqlite3.connect(":memory:")
    closed.close()
    reserve = reserve_of(disk)
    reserve.squeeze(closed, "")
    assert reserve.full
    disk.others = disk.total
    assert not reserve.ease(closed)
    disk.others = 0
    (disk.path / WAL).unlink(missing_ok=True)
    assert reserve.ease(closed)


def test_bundles_go_into_free_pages_alone(disk: Disk, db: sqlite3.Connection) -> None:
    reserve = reserve_of(disk)
    assert reserve.room(db) is None
    db.execute("INSERT INTO t VALUES (zeroblob(?))", (200 * PAGE_BYTES,))
    filled(disk, reserve)
    reserve.squeeze(db, "")
    assert reserve.room(db) == 0
    db.execute("DELETE FROM t")
    free = pages(db, "freelist_count")
    assert free > FLOOR_PAGES + 100
    assert reserve.room(db) == (free - FLOOR_PAGES) * PAGE_OCTETS


def test_when_the_disk_has_room_all_is_as_before(disk: Disk, db: sqlite3.Connection) -> None:
    told = Told()
    reserve = reserve_of(disk, told)
    filled(disk, reserve)
    reserve.squeeze(db, "")
    assert reserve.room(db) is not None
    disk.others = 0
    assert reserve.room(db) is None
    assert not reserve.full
    assert reserve.octets == 8 * MIB == put_aside(disk)
    assert pages(db, "max_page_count") == UNLIMITED
    assert told.events[1:] == [("store.room", {"path": str(disk.path)})]


def emptied(disk: Disk, db: sqlite3.Connection, mebioctets: int, kept: int = 0) -> Reserve:
    """A store on a full disk whose database has many free pages, and some that are not."""
    db.execute("INSERT INTO t VALUES (zeroblob(?))", (kept,))
    db.execute("INSERT INTO t VALUES (zeroblob(?))", (mebioctets * MIB,))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    reserve = reserve_of(disk)
    filled(disk, reserve)
    reserve.squeeze(db, "")
    db.execute("DELETE FROM t WHERE length(x) = ?", (mebioctets * MIB,))
    disk.others += disk.free
    return reserve


def test_free_pages_are_given_back_to_the_disk(disk: Disk, db: sqlite3.Connection) -> None:
    reserve = emptied(disk, db, 40)
    size = (disk.path / "store.db").stat().st_size
    assert size > 40 * MIB
    assert reserve.ease(db)
    assert (disk.path / "store.db").stat().st_size < MIB
    assert put_aside(disk) == 8 * MIB
    assert not reserve.full


def test_too_few_are_not_worth_it(disk: Disk, db: sqlite3.Connection) -> None:
    reserve = emptied(disk, db, 11)  # half as much again as the reserve would be 12
    assert not reserve.ease(db)
    assert reserve.full
    assert (disk.path / "store.db").stat().st_size > 11 * MIB


def test_what_is_alive_must_fit_the_log_while_it_is_moved(
    disk: Disk, db: sqlite3.Connection
) -> None:
    reserve = emptied(disk, db, 40, kept=6 * MIB)
    assert not reserve.ease(db)
    assert (disk.path / "store.db").stat().st_size > 40 * MIB


def test_a_transaction_under_way_keeps_free_pages(disk: Disk, db: sqlite3.Connection) -> None:
    reserve = emptied(disk, db, 40)
    db.execute("BEGIN")
    assert not reserve.ease(db)
    db.execute("COMMIT")
    assert reserve.ease(db)


# ---- trying again -----------------------------------------------------------------------------


def staged(finish: Callable[[], None]) -> Callable[[], Staged[str]]:
    return lambda: Staged("done", finish)


def test_the_first_to_find_the_disk_full_tries_again(disk: Disk, db: sqlite3.Connection) -> None:
    reserve = reserve_of(disk)
    tries = []

    def finish() -> None:
        tries.append(reserve.full)
        if len(tries) == 1:
            reserve.squeeze(db, "")
            raise StoreFullError("planted")

    assert reserve.tried(staged(finish)) == "done"
    assert tries == [False, True]


@pytest.mark.parametrize("full", [True, False], ids=["known to be full", "a quota"])
def test_others_are_refused_at_once(disk: Disk, db: sqlite3.Connection, full: bool) -> None:
    reserve = reserve_of(disk)
    if full:
        reserve.squeeze(db, "")
    tries = []

    def finish() -> None:
        tries.append(1)
        raise StoreFullError("planted")

    with pytest.raises(StoreFullError, match="planted"):
        reserve.tried(staged(finish))
    assert len(tries) == 1


# ---- closing ----------------------------------------------------------------------------------


def test_closed_on_a_full_disk_it_keeps_what_it_can(disk: Disk, db: sqlite3.Connection) -> None:
    reserve = reserve_of(disk)
    filled(disk, reserve)
    reserve.squeeze(db, "")
    disk.others += disk.free
    db.close()
    (disk.path / WAL).unlink(missing_ok=True)
    disk.others -= max(0, 800_000 - disk.free)
    free = disk.free
    reserve.closed()
    assert put_aside(disk) == free // 512 * 512 * 7 // 8


def test_closed_with_much_room_it_keeps_no_more_than_it_is(
    disk: Disk, db: sqlite3.Connection
) -> None:
    reserve = reserve_of(disk)
    filled(disk, reserve)
    reserve.squeeze(db, "")
    db.close()
    (disk.path / WAL).unlink(missing_ok=True)
    disk.others = disk.total - 9 * MIB - 600_000  # not enough to spare for all of it by rule
    reserve.closed()
    assert put_aside(disk) == 8 * MIB


def test_closed_on_a_disk_that_fails_it_says_nothing(disk: Disk, db: sqlite3.Connection) -> None:
    reserve = reserve_of(disk)
    filled(disk, reserve)
    reserve.squeeze(db, "")
    before = put_aside(disk)
    disk.broken = True
    reserve.closed()
    assert put_aside(disk) == before


def test_closed_with_room_nothing_is_touched(disk: Disk) -> None:
    reserve = reserve_of(disk)
    reserve.closed()
    assert put_aside(disk) is None
