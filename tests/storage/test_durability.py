"""What was committed is there after SIGKILL, and the order of writes lets it survive more."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from stack.core import private
from stack.core.train import Buffer
from stack.ports.store import Release
from stack.storage import SqliteStore, StoreConfig, files, payload_log
from tests.storage.bundles import NOW_MS, encoded, number_of, put

ROOT = Path(__file__).parents[2]


def run_until_killed(directory: Path, first: int, lines: int) -> list[list[int]]:
    """Run `killed.py`, and kill it when it has told of `lines` commits; all that it told."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.storage.killed", str(directory), str(first)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline() == b"ready\n"
        told = [output.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)  # somewhere in a later commit, or between two
        told += output.readlines()
    assert process.wait() == -signal.SIGKILL
    return [[int(word) for word in line.split()] for line in told if line.endswith(b"\n")]


@pytest.mark.slow
def test_everything_told_is_there_after_sigkill(directory: Path) -> None:
    held: dict[int, int] = {}
    last_ref = 0
    first = 0
    for lines in (1, 7, 23, 61):
        for number, ref, count, *released in run_until_killed(directory, first, lines):
            assert ref > last_ref
            last_ref = ref + count - 1
            held.update((ref + index, number + index) for index in range(count))
            for gone in released:
                del held[gone]
        store = SqliteStore(directory)
        stored = {each.ref: number_of(each.key) for each in store.scan()}
        # Of the commit that nobody was told of, all is there or nothing.
        unknown = {ref: number for ref, number in stored.items() if ref > last_ref}
        told = {ref: number for ref, number in stored.items() if ref <= last_ref}
        if unknown:
            assert list(unknown) == list(range(min(unknown), max(unknown) + 1))
            held = {ref: number for ref, number in held.items() if ref in told}
        assert told == held
        octets = store.load(list(stored))
        assert [bytes(each or b"") for each in octets] == [encoded(n, 200) for n in stored.values()]
        assert store.usage().damaged == 0
        counter = store.read("killed", "number")
        assert counter is not None
        first = int(counter)
        assert first == max(stored.values()) + 1
        held.update(unknown)
        last_ref = max([last_ref, *unknown])
        store.close()


def test_payload_is_durable_before_the_database_refers_to_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    write, sync = os.pwritev, private.sync_directory

    def pwritev(fd: int, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        assert flags == os.RWF_DSYNC
        assert list(store.scan()) == []
        order.append("payload")
        return write(fd, buffers, offset, flags)

    def sync_directory(path: Path) -> None:
        assert list(store.scan()) == []
        order.append("directory")
        sync(path)

    store = SqliteStore(directory, StoreConfig(log_batch_bytes=0))
    monkeypatch.setattr(os, "pwritev", pwritev)
    monkeypatch.setattr(payload_log, "sync_directory", sync_directory)
    store.commit([put(1)], NOW_MS)
    assert order == ["payload", "directory"]
    assert len(list(store.scan())) == 1
    store.close()


class ForgetfulDisk:
    """When the power goes, files of the payload log have what was synced alone; of the database all
    is there.  `most`: octets that it takes in one go."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch, most: int) -> None:
        self.directory = directory
        self.synced: dict[str, bytearray] = {}
        self.named: set[str] = set()
        append, sync, names = os.pwritev, os.fdatasync, private.sync_directory

        def pwritev(fd: int, buffers: Sequence[Buffer], at: int, flags: int = 0) -> int:
            octets = b"".join(buffers)[:most]
            count = append(fd, [octets], at, flags)
            if flags & os.RWF_DSYNC:  # this write, and none before it
                kept = self.kept(fd)
                kept += bytes(max(0, at + count - len(kept)))
                kept[at : at + count] = octets
            return count

        def fdatasync(fd: int) -> None:
            sync(fd)
            self.kept(fd)[:] = Path(f"/proc/self/fd/{fd}").read_bytes()

        def sync_directory(path: Path) -> None:
            names(path)
            self.named = {each.name for each in directory.iterdir()}

        patch.setattr(os, "pwritev", pwritev)
        patch.setattr(os, "fdatasync", fdatasync)
        patch.setattr(payload_log, "sync_directory", sync_directory)

    def kept(self, fd: int) -> bytearray:
        return self.synced.setdefault(Path(os.readlink(f"/proc/self/fd/{fd}")).name, bytearray())

    def without_power(self, to: Path) -> None:
        shutil.copytree(self.directory, to)
        for path in to.glob("payload-*.log"):
            path.write_bytes(self.synced.get(path.name, b""))
            if path.name not in self.named:
                path.unlink()


@pytest.mark.parametrize("most", [1 << 20, 150])
def test_what_was_acknowledged_is_there_when_the_power_goes(
    directory: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    disk = ForgetfulDisk(directory / "store", monkeypatch, most)
    monkeypatch.setattr(payload_log, "_VECTORS_MAX", 4)
    config = StoreConfig(log_batch_bytes=0, segment_bytes=1000)
    store = SqliteStore(directory / "store", config)
    held: dict[int, bytes] = {}
    for turn, count in enumerate((1, 0, 2, 9, 3, 12)):
        numbers = range(100 * turn, 100 * turn + count)
        gone = list(held)[::2]
        store.stage([Release(ref) for ref in gone], NOW_MS).finish()
        refs = store.stage([put(number) for number in numbers], NOW_MS).finish().refs
        held |= dict(zip(refs, map(encoded, numbers), strict=True))
        held = {ref: octets for ref, octets in held.items() if ref not in gone}
        while store.tidy():
            pass
        disk.without_power(directory / str(turn))
        found = SqliteStore(directory / str(turn), config)
        assert found.load([*held]) == [*held.values()]
        found.close()
    store.close()


def test_database_waits_for_the_disk_only_when_told_to(directory: Path) -> None:
    for synchronous, number in (("full", 2), ("normal", 1)):
        config = StoreConfig(synchronous=synchronous)  # type: ignore[arg-type]
        db = files.connect(directory, config, reader=False)
        assert db.execute("PRAGMA synchronous").fetchone() == (number,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        db.close()


def test_large_batches_take_several_writes(directory: Path) -> None:
    store = SqliteStore(directory)
    refs = store.commit([put(number, 40) for number in range(1500)], NOW_MS).refs
    assert [bytes(each or b"") for each in store.load(refs)] == [
        encoded(number, 40) for number in range(1500)
    ]
    assert len(list(directory.glob("payload-*.log"))) == 1
    store.close()


def test_short_writes_are_completed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwritev

    def pwritev(fd: int, buffers: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        return write(fd, [memoryview(buffers[0])[:30]], offset, flags)

    monkeypatch.setattr(os, "pwritev", pwritev)
    store = SqliteStore(directory, StoreConfig(log_batch_bytes=0))
    refs = store.commit([put(number) for number in range(3)], NOW_MS).refs
    assert [bytes(each or b"") for each in store.load(refs)] == [encoded(n) for n in range(3)]
    store.close()
