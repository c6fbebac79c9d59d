"""The parts of the store by themselves: amounts, bounds, and what is counted."""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
import sqlite3
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from stack.core.errors import ConfigError, LocalError, StoreError, StoreFullError
from stack.core.train import Buffer
from stack.ports.store import Op, Place, Release
from stack.storage import (
    MemoryStore,
    SqliteStore,
    StoreConfig,
    StoreWriter,
    WriterConfig,
    files,
    mark,
    payload_log,
    reading,
    rescue,
    staging,
    wal,
)
from stack.storage.mark import Level, StoreMark
from stack.storage.payload_log import PayloadLog
from stack.storage.rows import BundleRow, new_row
from stack.storage.tally import Tally
from tests.storage.bundles import LIFETIME_MS, NOW_MS, encoded, put


def filled(log: PayloadLog, size: int, recorded: int = 0) -> tuple[int, int]:
    """Append `size` octets, `recorded` of them of no bundle; where they are."""
    place = log.place()
    log.append([bytes((place[0] % 251,)) * size], size)
    log.keep(size, recorded)
    return place


def test_files_of_the_payload_log(directory: Path) -> None:
    log = PayloadLog(directory, segment_bytes=100, durable=True)
    log.adopt((), keep=False)
    assert filled(log, 60) == (1, 0)
    assert log.active_octets == 60
    assert filled(log, 39, recorded=9) == (1, 60)
    assert (log.active_octets, log.octets, log.sealed_size(1)) == (90, 90, 0)
    assert filled(log, 1) == (1, 99), "99 of 100 octets: not yet full"
    assert filled(log, 5) == (2, 0), "100 of 100"
    assert (log.active_octets, log.octets, log.sealed_size(1)) == (5, 96, 91)
    assert log.read(1, 98, 9) == b"\x01\x01", "what there is"
    log.seal()
    assert filled(log, 7) == (3, 0)
    assert (log.sealed_size(2), log.sealed_size(3), log.sealed_size(4)) == (5, 0, 0)
    log.remove(1)
    assert log.octets == 12
    assert not (directory / "payload-0000000001.log").exists()
    log.remove(1)
    assert log.octets == 12
    with pytest.raises(FileNotFoundError):
        log.read(1, 0, 1)
    log.close()
    assert sorted(each.name for each in directory.iterdir()) == [
        "payload-0000000002.log",
        "payload-0000000003.log",
    ]
    assert (directory / "payload-0000000003.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("keep", [False, True])
def test_files_of_an_earlier_run(directory: Path, keep: bool) -> None:
    for segment in (1, 2, 3):
        (directory / f"payload-{segment:010d}.log").write_bytes(bytes(segment * 10))
    (directory / "payload-1.log").write_bytes(b"not ours")
    log = PayloadLog(directory, segment_bytes=100, durable=False)
    log.adopt([1, 7], keep)
    assert log.octets == 10
    assert log.sealed_size(1) == 10
    assert log.place() == (8, 0), "never one that a bundle may refer to"
    left = {each.name for each in directory.iterdir()}
    lost = {"payload-0000000002.lost", "payload-0000000003.lost"} if keep else set()
    assert left == {"payload-1.log", "payload-0000000001.log"} | lost
    other = PayloadLog(directory, segment_bytes=100, durable=False)
    other.adopt([], keep=False)
    assert other.place() == (2, 0)


@pytest.mark.parametrize("keep", [False, True])
def test_a_file_of_an_earlier_run_that_cannot_be_removed_stays(directory: Path, keep: bool) -> None:
    """A folder with something in it takes its place, which the disk of no file system lets go."""
    names = [f"payload-{segment:010d}.{'lost' if keep else 'log'}" for segment in (1, 2, 3)]
    (directory / names[1] / "x").mkdir(parents=True)
    for segment in (1, 2, 3):
        path = directory / f"payload-{segment:010d}.log"
        if not path.exists():
            path.write_bytes(b"dead")
    log = PayloadLog(directory, segment_bytes=100, durable=False)
    log.adopt([], keep)
    assert log.place() == (4, 0), "never one that is there"
    stays = {"payload-0000000002.log"}
    assert {each.name for each in directory.iterdir()} == (stays | set(names) if keep else stays)


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("first", [0, 1, 5, 6, 11, 12])
def test_what_the_kernel_did_not_take(
    directory: Path, monkeypatch: pytest.MonkeyPatch, durable: bool, first: int
) -> None:
    synced: list[int] = []
    write, append, sync = os.pwrite, os.pwritev, os.fdatasync

    def some(fd: int, buffers: Sequence[Buffer], at: int, flags: int) -> int:
        assert bool(flags) == durable
        octets = b"".join(buffers)[:first]
        return append(fd, [octets], at, flags) if octets else 0

    monkeypatch.setattr(os, "pwritev", some)
    monkeypatch.setattr(os, "pwrite", lambda fd, view, at: write(fd, bytes(view[:4]), at))

    def synchronise(fd: int) -> None:
        synced.append(fd)
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", synchronise)
    log = PayloadLog(directory, segment_bytes=100, durable=durable)
    log.adopt((), keep=False)
    for _ in range(2):
        log.append([b"abcde", b"", b"f", b"ghijkl"], 12)
        log.keep(12)
    assert len(synced) == (2 if durable and first < 12 else 0)
    assert log.read(1, 0, 30) == b"abcdefghijkl" * 2
    log.close()


def test_more_buffers_than_one_call_takes(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    log = PayloadLog(directory, segment_bytes=1 << 20, durable=True)
    log.adopt((), keep=False)
    most = payload_log._VECTORS_MAX
    for count, times in ((most, 0), (most + 1, 1)):
        log.append([b"x"] * count, count)
        log.keep(count)
        assert len(synced) == times
    assert log.read(1, 0, 1 << 20) == b"x" * (2 * most + 1)


def test_files_open_for_reading_are_bounded(directory: Path) -> None:
    log = PayloadLog(directory, segment_bytes=1, durable=False)
    log.adopt((), keep=False)
    most = payload_log._OPEN_MAX
    places = [filled(log, 1) for _ in range(most + 2)]
    before = len(os.listdir("/proc/self/fd"))
    for segment, start in places[:most]:
        assert log.read(segment, start, 1) == bytes((segment % 251,))
    log.read(1, 0, 1)  # used again: the next one that goes is the second
    log.read(*places[most], 1)
    assert len(os.listdir("/proc/self/fd")) == before + most
    assert 1 in log._readers
    assert 2 not in log._readers
    log.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_a_file_that_is_removed_is_closed_whatever_its_number(directory: Path) -> None:
    """A daemon has its standard input closed: the next file that is opened is number 0."""
    log = PayloadLog(directory, segment_bytes=1, durable=False)
    log.adopt((), keep=False)
    segment, start = filled(log, 1)
    filled(log, 1)
    stdin = os.dup(0)
    os.close(0)
    try:
        log.read(segment, start, 1)
        assert log._readers[segment] == 0
        log.remove(segment)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(0)
    finally:
        os.dup2(stdin, 0)
        os.close(stdin)
    log.close()


def test_what_failed_while_appending_leaves_no_file(directory: Path) -> None:
    log = PayloadLog(directory, segment_bytes=100, durable=False)
    log.adopt((), keep=False)
    log.abandon()
    log.append([b"x"], 1)
    log.abandon()
    assert list(directory.iterdir()) == []
    assert filled(log, 3) == (2, 0)
    log.append([b"y"], 1)
    log.abandon()
    assert log.sealed_size(2) == 3
    assert log.place() == (3, 0)
    assert (directory / "payload-0000000002.log").exists()


def test_runs_are_read_in_one_go() -> None:
    most = reading.RUN_BYTES_MAX
    for placed, ends in (
        ([(1, 0, 10, 0, 1)], [1]),
        ([(1, 0, 10, 0, 1), (1, 10, 5, 0, 2), (1, 15, 1, 0, 3)], [3]),
        ([(1, 0, 10, 0, 1), (1, 11, 5, 0, 2)], [1, 2]),
        ([(1, 0, 10, 0, 1), (2, 10, 5, 0, 2)], [1, 2]),
        ([(1, 7, most - 1, 0, 1), (1, most + 6, 1, 0, 2)], [2]),
        ([(1, 7, most - 1, 0, 1), (1, most + 6, 2, 0, 2)], [1, 2]),
        ([(1, 0, most, 0, 1), (1, most, 1, 0, 2), (1, most + 1, 1, 0, 2)], [1, 3]),
    ):
        found = [0]
        while found[-1] < len(placed):
            found.append(reading._run_end(placed, found[-1]))
        assert found[1:] == ends


def test_no_more_is_read_than_is_there(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(directory, StoreConfig(log_batch_bytes=0))
    refs = store.commit([put(number, 100 + number) for number in range(9)], NOW_MS).refs
    asked: list[tuple[int, int]] = []
    read = PayloadLog.read

    def watched(self: PayloadLog, segment: int, start: int, size: int) -> bytes:
        asked.append((start, size))
        return read(self, segment, start, size)

    monkeypatch.setattr(PayloadLog, "read", watched)
    assert store.load([refs[8], *refs[:3]]) == [
        encoded(8, 108),
        *(encoded(n, 100 + n) for n in range(3)),
    ]
    assert asked == [(0, 100 + 101 + 102), (sum(range(100, 108)), 108)]
    store.close()


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7, 100])
def test_expiry_stops_at_its_limit(directory: Path, kind: str, limit: int) -> None:
    store = SqliteStore(directory) if kind == "sqlite" else MemoryStore(1 << 30)
    refs = store.commit([put(number) for number in range(6)], NOW_MS).refs
    store.commit([put(9)._replace(expires_ms=NOW_MS + LIFETIME_MS + 1)], NOW_MS)
    at_ms = NOW_MS + LIFETIME_MS
    assert store.expire(at_ms - 1, 100) == []
    assert store.next_expiry() == at_ms
    gone: list[int] = []
    while found := store.expire(at_ms, limit):
        assert len(found) <= limit
        assert len(found) == min(limit, 6 - len(gone))
        gone += [each.ref for each in found]
    assert sorted(gone) == refs
    assert store.usage().bundles == 1
    assert store.next_expiry() == at_ms + 1
    store.close()


def test_expiry_looks_at_a_bounded_number_of_keys(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "EXPIRED_MAX", 300)
    store = SqliteStore(directory)
    refs = store.commit(
        [put(number, 1, place=Place.DELIVER) for number in range(1100)], NOW_MS
    ).refs
    store.commit([Release(ref) for ref in refs], NOW_MS)
    last = put(2000)._replace(expires_ms=NOW_MS + LIFETIME_MS + 1)
    store.commit([last], NOW_MS)
    steps = []
    for _ in range(9):
        steps.append(len(store.expire(NOW_MS + LIFETIME_MS + 1, 1)))
        if steps[-1]:
            break
    # 256 keys a statement, at least 301 a call: 512 each, and the third one gets there.
    assert steps == [0, 0, 1]
    store.close()


def test_what_is_counted() -> None:
    tally, change = Tally(), Tally()
    change.count(2, 200, 5, Place.FORWARD, 0)
    change.count(1, 30, 5, Place.DELIVER, 3)
    change.count(1, 7, 6, Place.FORWARD, 3)
    change.keys += 4
    tally.merge(change)
    tally.merge(change)
    assert (tally.bundles, tally.octets, tally.keys) == (8, 474, 8)
    assert tally.evictable == {5: [4, 400], 6: [2, 14]}
    assert tally.segments == {0: [4, 400], 3: [4, 74]}
    assert tally.evictable_below(5) == (0, 0)
    assert tally.evictable_below(6) == (4, 400)
    assert tally.evictable_below(7) == (6, 414)
    back = Tally()
    back.count(-4, -400, 5, Place.FORWARD, 0)
    tally.merge(back)
    assert tally.evictable == {6: [2, 14]}
    assert tally.segments == {3: [4, 74]}


def bare() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value)")
    return db


def test_the_mark_is_whole_whatever_is_cut(directory: Path) -> None:
    db, tally = bare(), Tally()
    tally.bundles, tally.octets = 3, 300
    level = StoreMark(directory)
    assert level.ahead_of(db) is None
    for number in range(1, 4):
        level.count(db, NOW_MS + number * mark.SPACING_MS)
        level.reached(tally, 10 + number)
    assert level.read() == Level(3, 3, 300, 13)
    name = directory / mark.NAME
    octets = name.read_bytes()
    assert name.stat().st_mode & 0o777 == 0o600
    for at in range(0, 104, 3):
        name.write_bytes(octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :])
        found = level.read()
        assert found in (Level(3, 3, 300, 13), Level(2, 3, 300, 12))
    name.write_bytes(octets[:-1])
    assert level.read() in (Level(3, 3, 300, 13), Level(2, 3, 300, 12))
    name.write_bytes(b"")
    assert level.read() is None
    level.abandon()


def test_of_a_burst_one_in_so_many_is_counted(directory: Path) -> None:
    db, tally = bare(), Tally()
    level = StoreMark(directory)
    counted = []
    times = [NOW_MS] * 40 + [NOW_MS + mark.SPACING_MS - 1, NOW_MS + mark.SPACING_MS, NOW_MS - 1]
    for number, at_ms in enumerate(times, 1):
        level.count(db, at_ms)
        level.reached(tally, 1)
        (found,) = db.execute("SELECT value FROM meta").fetchone()
        if found == number:
            counted.append(number)
        assert level.read() == Level(counted[-1], 0, 0, 1)
    assert counted == [1, 17, 33, 42, 43]
    level.count(db, NOW_MS - 1)
    level.reached(tally, 1)
    level.close(db, tally, 5)
    assert db.execute("SELECT value FROM meta").fetchone() == (44,)
    again = StoreMark(directory)
    assert again.read() == Level(44, 0, 0, 5)
    assert again.ahead_of(db) is None
    db.execute("UPDATE meta SET value = 43")
    assert again.ahead_of(db) == Level(44, 0, 0, 5)
    again.resume(Level(44, 0, 0, 5))
    assert again.commits == 44
    again.restart(db, Level(50, 1, 2, 3))
    assert again.read() == Level(50, 1, 2, 3)
    assert db.execute("SELECT value FROM meta").fetchone() == (50,)
    again.abandon()


def recorded(rows: Sequence[Sequence[object]], before: bytes) -> Any:
    """What is read of a record behind `before`."""
    octets = before + rescue.record(9, rows)
    with mmap.mmap(-1, len(octets)) as log:
        log.write(octets)
        return rescue._record(log, len(before))


def test_a_record_is_of_the_octets_before_it() -> None:
    rows = [new_row(put(n, 100), n, 100, 1, start) for n, start in ((1, 5), (2, 105))]
    assert recorded(rows, bytes(205)) == (9, [BundleRow(*row) for row in rows])  # type: ignore[arg-type]
    assert recorded(rows, bytes(204)) is None
    assert recorded(rows, bytes(206)) is None
    assert recorded([], bytes(205)) is None
    assert recorded([new_row(put(1, 100), 1, 100, 1, -1)], bytes(99)) is None
    assert recorded([new_row(put(1, 100), 1, 100, 1, 0)], bytes(100)) is not None


def test_what_is_kept_of_damage_is_for_the_operator_alone(directory: Path) -> None:
    for ref in range(files.QUARANTINE_FILES_MAX + 1):
        files.save_damaged(directory, f"{ref}.bundle", b"octets")
    folder = directory / files.QUARANTINE_NAME
    assert folder.stat().st_mode & 0o777 == 0o700
    found = list(folder.iterdir())
    assert len(found) == files.QUARANTINE_FILES_MAX
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in found)
    assert (folder / "0.bundle").read_bytes() == b"octets"


def failing(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (failing(sqlite3.SQLITE_FULL), StoreFullError, "free some on that disk"),
        (OSError(errno.ENOSPC, "no space"), StoreFullError, "store.quota_bytes"),
        (OSError(errno.EDQUOT, "quota"), StoreFullError, "free some on that disk"),
        (OSError(errno.EFBIG, "big"), StoreFullError, "free some on that disk"),
        (failing(sqlite3.SQLITE_CORRUPT), files.CorruptError, "stop the node"),
        (failing(sqlite3.SQLITE_CORRUPT | 2 << 8), files.CorruptError, "stop the node"),
        (failing(sqlite3.SQLITE_NOTADB), files.CorruptError, "stop the node"),
        (sqlite3.IntegrityError("twice"), files.CorruptError, "stop the node"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), files.CorruptError, "stop the node"),
        (OSError(errno.EMFILE, "many"), StoreError, "ulimit -n 1024"),
        (OSError(errno.ENFILE, "many"), StoreError, "ulimit -n 1024"),
        (OSError(errno.EIO, "disk"), StoreError, "check the disk and its permissions"),
        (failing(sqlite3.SQLITE_IOERR), StoreError, "nothing of the operation was applied"),
        (OverflowError("too large"), LocalError, "cannot be stored: too large"),
        (struct.error("too large"), LocalError, "cannot be stored: too large"),
        (sqlite3.DataError("too large"), LocalError, "cannot be stored: too large"),
    ],
)
def test_errors_say_what_to_do(error: Exception, kind: type[Exception], remedy: str) -> None:
    found = files.explained(error, Path("/data"))
    assert type(found) is kind
    assert remedy in str(found)
    assert kind is LocalError or str(found).startswith("/data: ")
    assert files.explained(found, Path("/other")) is found


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("quota_bytes", 1, None),
        ("quota_bundles", 1, 20_000_000),
        ("keys_max", 10_000_000, None),
        ("segment_bytes", 1, None),
        ("wal_bytes", 1, None),
        ("log_batch_bytes", 0, None),
        ("cache_bytes", 0, None),
        ("reserve_bytes", 0, None),
        ("compact_below", 0.0, 0.9),
    ],
)
def test_settings_at_their_ends(name: str, low: float, high: float | None) -> None:
    assert getattr(StoreConfig(**{name: low}), name) == low  # type: ignore[arg-type]
    beyond = [low - 1]
    if high is not None:
        StoreConfig(**{name: high})  # type: ignore[arg-type]
        beyond.append(high + 1)
    for value in beyond:
        with pytest.raises(ConfigError) as caught:
            StoreConfig(**{name: value})  # type: ignore[arg-type]
        assert name in caught.value.key.split(", ")


def test_settings_that_are_words() -> None:
    StoreConfig(synchronous="normal")
    with pytest.raises(ConfigError, match="one of full, normal"):
        StoreConfig(synchronous="off")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="every stored bundle needs its key"):
        StoreConfig(keys_max=5, quota_bundles=6)


@pytest.mark.parametrize("level", ["ops", "octets"])
def test_a_batch_begins_at_once_when_it_is_full(level: str) -> None:
    """Of requests that wait for company, when enough have come."""

    async def main() -> None:
        store = MemoryStore(1 << 30)
        config = WriterConfig(
            batch_ops=6 if level == "ops" else 1000,
            batch_bytes=600 if level == "octets" else 1 << 30,
            spacing_ns=3600 * 10**9,
        )
        writer = StoreWriter(store, lambda: NOW_MS, config=config, disk=Loop())
        writer._crowded = True
        writer._started = asyncio.get_running_loop().time()
        answers: list[list[int]] = []
        for number in range(0, 4, 2):
            submit(writer, [put(number), put(number + 1)], answers)
            await asyncio.sleep(0)
        assert writer.backlog_bytes == 400
        assert answers == []
        submit(writer, [put(4), put(5)], answers)
        await writer.flush()
        assert answers == [[1, 2], [3, 4], [5, 6]]
        assert writer.backlog_bytes == 0
        await writer.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def submit(writer: StoreWriter, ops: list[Op], answers: list[list[int]]) -> None:
    writer.submit(ops, lambda refs, _: answers.append(refs))


class Loop:
    """A disk that takes no time."""

    def run(self, job: Any, done: Any) -> None:
        done(job(), None)

    def close(self) -> None:
        pass


def test_batches_are_bounded_by_operations() -> None:
    class Counting(MemoryStore):
        sizes: ClassVar[list[int]] = []

        def stage(self, ops: Sequence[Op], now_ms: int) -> Any:
            self.sizes.append(len(ops))
            return super().stage(ops, now_ms)

    async def main() -> None:
        store = Counting(1 << 30)
        writer = StoreWriter(store, lambda: NOW_MS, config=WriterConfig(batch_ops=5), inline=True)
        answers: list[list[int]] = []
        for first in range(0, 8, 2):
            submit(writer, [put(first), put(first + 1)], answers)
        submit(writer, [put(number) for number in range(10, 18)], answers)
        await writer.flush()
        assert store.sizes == [4, 4, 8], "one request is never divided"
        assert writer._waiting_ops == 0
        await writer.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_memories_of_a_store_in_memory_are_bounded() -> None:
    store = MemoryStore(1 << 30, quota_bundles=10, keys_max=80)
    for number in range(500):
        (ref,) = store.commit([put(number, 1)], NOW_MS).refs
        store.commit([Release(ref)], NOW_MS)
        assert len(store._seen) <= 80
        assert len(store._evictable) <= 2 * len(store._held) + 65
        assert len(store._expiry) <= 160
    assert store.usage().bytes == 0


def written(log: bytes, order: str, salts: bytes = b"saltSALT") -> bytes:
    """The same write-ahead log with these salts, as a machine of this octet order writes it."""

    def checksum(octets: bytes, state: tuple[int, int]) -> tuple[int, int]:
        one, two = state
        words = struct.unpack(f"{order}{len(octets) // 4}I", octets)
        for left, right in zip(words[::2], words[1::2], strict=True):
            one = (one + left + two) & 0xFFFFFFFF
            two = (two + right + one) & 0xFFFFFFFF
        return one, two

    out = bytearray(log)
    struct.pack_into(">I", out, 0, 0x377F0683 if order == ">" else 0x377F0682)
    out[16:24] = salts
    state = checksum(bytes(out[:24]), (0, 0))
    struct.pack_into(">2I", out, 24, *state)
    for at in range(32, len(out) - 4119, 4120):
        state = checksum(bytes(out[at : at + 8] + out[at + 24 : at + 4120]), state)
        out[at + 8 : at + 16] = salts
        struct.pack_into(">2I", out, at + 16, *state)
    return bytes(out)


@pytest.fixture(scope="module")
def small_log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The write-ahead log of a few commits."""
    path = tmp_path_factory.mktemp("wal")
    store = SqliteStore(path, StoreConfig(reserve_bytes=0))
    for number in range(4):
        store.commit([put(number)], NOW_MS + number * 1000)
    octets = (path / wal.WAL_NAME).read_bytes()
    store.close()
    assert written(octets, "<", octets[16:24]) == octets
    return written(octets, "<")


def pages_of(log: bytes | bytearray) -> list[bytes | bytearray]:
    """Page numbers and pages."""
    return [log[at : at + 4] + log[at + 24 : at + 4120] for at in range(32, len(log), 4120)]


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_each_bit_of_the_header(small_log: bytes, order: str) -> None:
    octets = written(small_log, order)
    assert wal._Log(bytearray(octets)).mend() is None
    for bit in range(0, 256, 5):
        log = bytearray(octets)
        log[bit // 8] ^= 1 << bit % 8
        mended = wal._Log(log).mend()
        assert mended is not None
        assert (mended.bits, mended.lost) == (1, 0)
        assert pages_of(log) == pages_of(octets)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_bits_of_a_frame(small_log: bytes, order: str) -> None:
    """Each is put right; only where several leave the same mark, and nothing is known of the page
    before, one bit stays wrong."""
    octets = written(small_log, order)
    frames = (len(octets) - 32) // 4120
    exact = 0
    for at in (0, 3, 4, 7, 8, 15, 16, 19, 20, 23, 24, 27, 28, 1000, 4119):
        for frame in (0, frames // 2, frames - 1):
            for bit in (0, 3, 6, 7):
                log = bytearray(octets)
                log[32 + frame * 4120 + at] ^= 1 << bit
                mended = wal._Log(log).mend()
                assert mended is not None
                assert (mended.frames, mended.lost) == (frames - frame, 0)
                wrong = sum(
                    left != right
                    for left, right in zip(pages_of(log), pages_of(octets), strict=True)
                )
                assert (mended.bits, mended.pages) in ((1, 0), (0, 1))
                assert wrong <= mended.pages, (at, frame, bit)
                exact += bytes(log) == octets
    assert exact >= 0.8 * 15 * 3 * 4


def test_a_header_beyond_mending(small_log: bytes) -> None:
    log = bytearray(small_log)
    log[0] ^= 1
    log[9] ^= 1
    frames = (len(log) - 32) // 4120
    assert wal._Log(bytearray(log)).mend() == wal.WalRepair(0, 0, 0, frames)
    assert wal._Log(log).committed() == ({}, 0)
    log[:32] = bytes(32)
    assert wal._Log(log).mend() is None, "it was never used"


def test_the_newest_pages_of_whole_transactions(small_log: bytes) -> None:
    pages, size = wal._Log(bytearray(small_log)).committed()
    frames = np.frombuffer(small_log, np.uint8, offset=32)
    frames = frames[: len(frames) // 4120 * 4120].reshape(-1, 4120)
    expected = {int.from_bytes(each[:4].tobytes(), "big"): each[24:].tobytes() for each in frames}
    assert pages == expected
    assert size == int.from_bytes(frames[-1, 4:8].tobytes(), "big") == max(pages)
    cut = bytearray(small_log[: 32 + (len(frames) - 1) * 4120])
    pages, size = wal._Log(cut).committed()
    commits = [index for index, each in enumerate(frames[:-1]) if each[4:8].any()]
    last = commits[-1]
    assert size == int.from_bytes(frames[last, 4:8].tobytes(), "big")
    assert pages == {
        int.from_bytes(each[:4].tobytes(), "big"): each[24:].tobytes()
        for each in frames[: last + 1]
    }


def test_an_expiry_that_fails_is_told_to_who_asked() -> None:
    class Failing(MemoryStore):
        def stage_expire(self, now_ms: int, limit: int) -> Any:
            raise StoreError("the disk is gone")

    async def main() -> None:
        writer = StoreWriter(Failing(1 << 30), lambda: NOW_MS, inline=True)
        with pytest.raises(StoreError, match="the disk is gone"):
            await writer.expire(5)
        await writer.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_an_expiry_is_tried_again_when_the_disk_has_filled_up() -> None:
    """Once: the store has its reserve then.  And nothing is in a hurry when all is done."""

    class Full(MemoryStore):
        failures = 1

        def stage_expire(self, now_ms: int, limit: int) -> Any:
            self.failures -= 1
            if self.failures >= 0:
                raise StoreFullError("the disk is full")
            return super().stage_expire(now_ms, limit)

    async def main() -> None:
        store = Full(1 << 30)
        writer = StoreWriter(store, lambda: NOW_MS, inline=True)
        assert await writer.expire(5) == []
        store.failures = 2
        with pytest.raises(StoreFullError):
            await writer.expire(5)
        await writer.flush()
        assert writer._urgent == 0
        await writer.close()

    asyncio.run(asyncio.wait_for(main(), 30))
