"""Bits that flip at rest: mended and counted where parity can, else in quarantine and told."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.core.clock import SECOND
from stack.core.errors import ConfigError, StoreError
from stack.ports.store import Move, Place, Put, Release
from stack.storage import DamagedError, SqliteStore, StoreConfig
from stack.storage.pace import BUNDLE_OCTETS, Pace
from stack.storage.parity import DATA_BYTES, PART_BYTES, Parity, parts_of
from stack.storage.reserve import Reserve
from stack.storage.staged import Scrubbed
from tests.storage.bundles import NOW_MS, encoded, put
from tests.storage.conftest import scratch

ROOT = Path(__file__).parents[2]
CORRECTABLE = 16
INLINE, LOG = 1 << 30, 0
PLACES = pytest.mark.parametrize("log_batch_bytes", [INLINE, LOG], ids=["database", "log"])


def settings_of(log_batch_bytes: int, **more: Any) -> StoreConfig:
    """A store with parity, all octets in the database or all in the log."""
    return StoreConfig(log_batch_bytes=log_batch_bytes, parity=True, **more)


def change(path: Path, ref: int, places: dict[int, int]) -> None:
    """XOR octets of a stored bundle, behind the store's back."""
    db = sqlite3.connect(path / "store.db", isolation_level=None)
    try:
        segment, start = db.execute(
            "SELECT segment, start FROM bundle WHERE ref = ?", (ref,)
        ).fetchone()
        if not segment:
            (octets,) = db.execute("SELECT wire FROM body WHERE ref = ?", (ref,)).fetchone()
            db.execute("UPDATE body SET wire = ? WHERE ref = ?", (xored(octets, places), ref))
            return
    finally:
        db.close()
    with (path / f"payload-{segment:010d}.log").open("r+b") as file:
        for place, mask in places.items():
            file.seek(start + place)
            octet = file.read(1)[0]
            file.seek(start + place)
            file.write(bytes([octet ^ mask]))


def xored(octets: bytes, places: dict[int, int]) -> bytes:
    changed = bytearray(octets)
    for place, mask in places.items():
        changed[place] ^= mask
    return bytes(changed)


def at_rest(path: Path, ref: int) -> bytes:
    """The octets of a bundle as they are on the disk."""
    db = sqlite3.connect(path / "store.db")
    segment, start, size = db.execute(
        "SELECT segment, start, size FROM bundle WHERE ref = ?", (ref,)
    ).fetchone()
    row = db.execute("SELECT wire FROM body WHERE ref = ?", (ref,)).fetchone()
    db.close()
    if not segment:
        return bytes(row[0])
    return (path / f"payload-{segment:010d}.log").read_bytes()[start : start + size]


def parity_rows(path: Path) -> int:
    db = sqlite3.connect(path / "store.db")
    (count,) = db.execute("SELECT count(*) FROM parity").fetchone()
    db.close()
    return int(count)


def scrub(store: SqliteStore) -> list[int]:
    """A whole pass; what is beyond repair."""
    damaged: list[int] = []
    while True:
        found: Scrubbed = store.stage_scrub().finish()
        damaged += found.damaged
        if found.over:
            return damaged


@contextmanager
def opened(path: Path, config: StoreConfig, told: list[str] | None = None) -> Iterator[SqliteStore]:
    def trace(event: str, _: dict[str, Any]) -> None:
        if told is not None:
            told.append(event)

    store = SqliteStore(path, config, trace)
    try:
        yield store
    finally:
        store.close()


@st.composite
def flips_within_power(draw: st.DrawFn) -> tuple[int, dict[int, int]]:
    """The size of a bundle, and what flips in it: in no codeword more than can be put right."""
    size = draw(st.sampled_from([1, 40, DATA_BYTES, DATA_BYTES + 1, 1024, 5000, PART_BYTES + 500]))
    rng = random.Random(draw(st.integers(0, 1 << 32)))
    part = draw(st.integers(0, parts_of(size) - 1))
    octets = min(PART_BYTES, size - part * PART_BYTES)
    codewords = -(-octets // DATA_BYTES)
    places: dict[int, int] = {}
    for codeword in rng.sample(range(codewords), draw(st.integers(1, min(codewords, 8)))):
        mine = range(codeword, octets, codewords)
        most = min(CORRECTABLE, len(mine))
        for place in rng.sample(mine, draw(st.integers(1, most))):
            places[part * PART_BYTES + place] = rng.randrange(1, 256)
    return size, places


@pytest.mark.slow
@pytest.mark.parametrize("by", ["load", "scrub"])
@PLACES
@settings(max_examples=25, deadline=None)
@given(drawn=flips_within_power())
def test_what_is_within_power_is_mended_to_the_bit(
    log_batch_bytes: int, by: str, drawn: tuple[int, dict[int, int]]
) -> None:
    size, places = drawn
    path, told = scratch(), list[str]()
    try:
        with opened(path, settings_of(log_batch_bytes), told) as store:
            refs = store.commit([put(1), put(2, size), put(3)], NOW_MS).refs
            change(path, refs[1], places)
            if by == "load":
                assert store.load(refs) == [encoded(1), encoded(2, size), encoded(3)]
            else:
                assert scrub(store) == []
            assert at_rest(path, refs[1]) == encoded(2, size)
            usage = store.usage()
            assert (usage.repaired, usage.repaired_octets) == (1, len(places))
            assert usage.damaged == 0
            assert told == ["store.repaired"]
            assert store.load(refs) == [encoded(1), encoded(2, size), encoded(3)]
            assert store.usage().repaired == 1, "it stays mended"
    finally:
        shutil.rmtree(path)


@pytest.mark.parametrize("by", ["load", "scrub", "compaction"])
@PLACES
@pytest.mark.parametrize("size", [1000, PART_BYTES + 1000])
def test_what_is_beyond_is_in_quarantine_and_told(
    directory: Path, log_batch_bytes: int, by: str, size: int
) -> None:
    told: list[str] = []
    config = settings_of(log_batch_bytes, segment_bytes=1)
    with opened(directory, config, told) as store:
        refs = store.commit([put(1), put(2, size), put(3, 9 * size)], NOW_MS).refs
        store.commit([put(4)], NOW_MS)
        codewords = -(-min(size, PART_BYTES) // DATA_BYTES)
        spoiled = {place * codewords: 0x10 for place in range(CORRECTABLE + 1)}
        change(directory, refs[1], spoiled)
        if by == "load":
            with pytest.raises(DamagedError) as caught:
                store.load(refs)
            assert caught.value.refs == [refs[1]]
        elif by == "scrub":
            assert scrub(store) == [refs[1]]
        else:
            if log_batch_bytes:
                pytest.skip("what is in the database is never copied")
            store.commit([Release(refs[2])], NOW_MS)
            while store.tidy():
                pass
            assert not (directory / "payload-0000000001.log").exists()
        assert told == ["store.damaged"]
        assert store.usage().damaged == 1
        assert store.load(refs[:2]) == [encoded(1), None]
        assert store.remains(refs[1]) == xored(encoded(2, size), spoiled)
        places = {one.ref: one.place for one in store.scan()}
        assert places[refs[1]] is Place.QUARANTINE
        assert scrub(store) == [], "it is told once"
        (again,) = store.commit([put(2, size)], NOW_MS).refs
        assert store.load([again]) == [encoded(2, size)], "a copy is taken when it comes"


def test_a_small_bundle_whose_octets_have_gone_is_mended_from_parity_alone(directory: Path) -> None:
    with opened(directory, settings_of(INLINE)) as store:
        refs = store.commit([put(1, 12), put(2, 12)], NOW_MS).refs
    db = sqlite3.connect(directory / "store.db", isolation_level=None)
    db.execute("DELETE FROM body WHERE ref = ?", refs[:1])
    db.close()
    with opened(directory, settings_of(INLINE)) as store:
        assert scrub(store) == []
        assert store.load(refs) == [encoded(1, 12), encoded(2, 12)]


def test_a_burst_within_a_sector_is_spread(directory: Path) -> None:
    with opened(directory, settings_of(LOG)) as store:
        (ref,) = store.commit([put(1, 64 * 1024)], NOW_MS).refs
        change(directory, ref, dict.fromkeys(range(8192, 8192 + 4096), 0xFF))
        assert store.load([ref]) == [encoded(1, 64 * 1024)]


@PLACES
def test_octets_that_are_not_there_count_as_wrong(directory: Path, log_batch_bytes: int) -> None:
    with opened(directory, settings_of(log_batch_bytes)) as store:
        (ref,) = store.commit([put(1, 5000)], NOW_MS).refs
        if log_batch_bytes:
            db = sqlite3.connect(directory / "store.db", isolation_level=None)
            db.execute("UPDATE body SET wire = substr(wire, 1, 4900)")
            db.close()
        else:
            os.truncate(directory / "payload-0000000001.log", 4900)
        assert store.load([ref]) == [encoded(1, 5000)]
        assert at_rest(directory, ref) == encoded(1, 5000)


@PLACES
@pytest.mark.parametrize(
    "parity", ["UPDATE parity SET octets = zeroblob(160)", "DELETE FROM parity"]
)
def test_damaged_parity_costs_no_bundle(directory: Path, log_batch_bytes: int, parity: str) -> None:
    with opened(directory, settings_of(log_batch_bytes)) as store:
        (ref,) = store.commit([put(1, 1000)], NOW_MS).refs
        db = sqlite3.connect(directory / "store.db", isolation_level=None)
        db.execute(parity)
        db.close()
        assert store.load([ref]) == [encoded(1, 1000)]
        assert scrub(store) == []
        assert store.usage().repaired == ("UPDATE" in parity)
        change(directory, ref, {5: 1})
        assert scrub(store) == []
        assert at_rest(directory, ref) == encoded(1, 1000)


def test_a_store_from_before_is_covered_by_the_scrubber(directory: Path) -> None:
    with opened(directory, StoreConfig()) as store:
        refs = store.commit([put(number, 900) for number in range(100)], NOW_MS).refs
        assert parity_rows(directory) == 0
    with opened(directory, settings_of(INLINE)) as store:
        change(directory, refs[7], {5: 1})
        assert scrub(store) == [refs[7]], "it flipped before there was parity"
        assert parity_rows(directory) == 99
        change(directory, refs[8], {5: 1})
        assert scrub(store) == []
        assert store.usage().repaired == 1


def test_turned_off_what_is_there_still_mends_and_goes_with_its_bundles(directory: Path) -> None:
    with opened(directory, settings_of(INLINE)) as store:
        refs = store.commit([put(number, 900) for number in range(10)], NOW_MS).refs
    change(directory, refs[3], {5: 1})
    with opened(directory, StoreConfig()) as store:
        assert store.load([refs[3]]) == [encoded(3, 900)]
        store.commit([put(100, 900)], NOW_MS)
        assert parity_rows(directory) == 10
        store.commit([Release(ref) for ref in refs], NOW_MS)
        assert parity_rows(directory) == 0


def test_parity_goes_with_its_bundles(directory: Path) -> None:
    with opened(directory, settings_of(LOG, quota_bytes=400_000)) as store:
        first, second = store.commit([put(1, 900), put(2, PART_BYTES + 1)], NOW_MS).refs
        assert parity_rows(directory) == 3
        store.commit([Release(first)], NOW_MS)
        assert parity_rows(directory) == 2
        evicted = store.commit([put(3, 390_000, priority=9)], NOW_MS).evicted
        assert evicted == [second]
        assert parity_rows(directory) == parts_of(390_000)
        assert store.expire(NOW_MS + 10**10, 10)
        assert parity_rows(directory) == 0


def test_compaction_mends_on_the_way(directory: Path) -> None:
    config = settings_of(LOG, segment_bytes=1)
    with opened(directory, config) as store:
        refs = store.commit([put(number) for number in range(10)], NOW_MS).refs
        store.commit([put(10)], NOW_MS)
        change(directory, refs[2], {5: 1})
        store.commit([Release(ref) for ref in refs if ref not in refs[2:4]], NOW_MS)
        while store.tidy():
            pass
        assert not (directory / "payload-0000000001.log").exists()
        assert store.load(refs[2:4]) == [encoded(2), encoded(3)]
        change(directory, refs[3], {7: 1})
        assert store.load(refs[2:4]) == [encoded(2), encoded(3)], "its parity has come along"
        assert store.usage().damaged == 0


def test_the_quarantine_of_an_operator_is_left_alone(directory: Path) -> None:
    with opened(directory, settings_of(INLINE)) as store:
        (ref,) = store.commit([put(1, 900)], NOW_MS).refs
        store.commit([Move(ref, Place.QUARANTINE, b"why")], NOW_MS)
        change(directory, ref, dict.fromkeys(range(500), 1))
        assert scrub(store) == []
        assert store.load([ref]) == [None]
        assert len(store.remains(ref) or b"") == 900
        assert [one.note for one in store.scan()] == [b"why"]


def test_a_rescued_database_keeps_its_parity_apart_from_octets(directory: Path) -> None:
    with opened(directory, settings_of(INLINE)) as store:
        sizes = {number: 100 + 37 * number for number in range(60)}
        puts = [put(number, size) for number, size in sizes.items()]
        refs = store.commit(puts, NOW_MS).refs
    change(directory, refs[30], {5: 1})
    database = directory / "store.db"
    octets = bytearray(database.read_bytes())
    octets[100:108] = bytes(8)  # the root of the schema
    database.write_bytes(octets)
    told: list[str] = []
    with opened(directory, settings_of(INLINE), told) as store:
        assert "store.rescued" in told
        held = [encoded(number, size) for number, size in sizes.items()]
        assert store.load(refs) == held
        assert store.usage().repaired == 1
        assert parity_rows(directory) == 60


def test_work_of_a_step_is_bounded(directory: Path) -> None:
    with opened(directory, settings_of(LOG, quota_bytes=1 << 30)) as store:
        size = 3 * PART_BYTES + 7
        puts = [put(0, size), *(put(number, 60_000) for number in range(1, 8))]
        (large, *_) = store.commit(puts, NOW_MS).refs
        change(directory, large, {PART_BYTES + 3: 1, 3 * PART_BYTES + 2: 4})
        octets = bundles = 0
        while True:
            found: Scrubbed = store.stage_scrub().finish()
            assert found.octets <= PART_BYTES
            octets += found.octets
            bundles += found.bundles
            if found.over:
                break
        assert (bundles, octets) == (8, size + 7 * 60_000)
        assert store.usage().scrubbed_bytes == octets
        assert store.usage().repaired_octets == 2
        assert at_rest(directory, large) == encoded(0, size)


@pytest.mark.slow
@PLACES
def test_a_scrubber_that_is_killed_leaves_nothing_worse(
    directory: Path, log_batch_bytes: int
) -> None:
    count, size = 200, 2000
    with opened(directory, settings_of(log_batch_bytes)) as store:
        puts = [put(number, size) for number in range(count)]
        refs = store.commit(puts, NOW_MS).refs
    for ref in refs:
        change(directory, ref, dict.fromkeys(range(40), 0xFF))
    for repairs in (1, 10, 60):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.storage.scrubbed", str(directory), str(log_batch_bytes)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        with process.stdout as output:
            for _ in range(repairs):
                assert output.readline() in (b"store.repaired\n", b"store.wal_mended\n")
            process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    with opened(directory, settings_of(log_batch_bytes)) as store:
        assert scrub(store) == []
        assert store.usage().damaged == 0
        assert store.load(refs) == [encoded(number, size) for number in range(count)]


def test_a_repair_that_breaks_off_leaves_nothing_worse(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(directory, settings_of(LOG)) as store:
        (ref,) = store.commit([put(1, 5000)], NOW_MS).refs
        change(directory, ref, dict.fromkeys(range(300), 0xFF))
        write, left = os.pwrite, 150

        def pwrite(fd: int, octets: bytes, place: int) -> int:
            nonlocal left
            left -= 1
            if not left:
                raise OSError(errno.EIO, "planted")
            return write(fd, octets, place)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", pwrite)
            with pytest.raises(StoreError, match="planted"):
                store.load([ref])
        assert store.usage().damaged == store.usage().repaired == 0
        assert store.load([ref]) == [encoded(1, 5000)]
        assert store.usage().repaired_octets == 300 - 149


def test_on_a_full_disk_bundles_are_stored_without_parity(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(directory, settings_of(INLINE)) as store:
        monkeypatch.setattr(Reserve, "room", lambda *_: 10_000)
        (ref,) = store.commit([put(1, 900)], NOW_MS).refs
        assert parity_rows(directory) == 0
        monkeypatch.undo()
        scrub(store)
        assert parity_rows(directory) == 1
        assert store.load([ref]) == [encoded(1, 900)]


@pytest.mark.parametrize("by", ["load", "scrub"])
def test_of_a_large_bundle_whose_end_has_gone_the_rest_is_kept(directory: Path, by: str) -> None:
    with opened(directory, settings_of(LOG)) as store:
        (ref,) = store.commit([put(0, 3 * PART_BYTES)], NOW_MS).refs
        (log,) = directory.glob("payload-*.log")
        start = log.read_bytes().index(encoded(0, 3 * PART_BYTES))
        os.truncate(log, start + 2 * PART_BYTES)
        if by == "load":
            with pytest.raises(DamagedError):
                store.load([ref])
        else:
            assert scrub(store) == [ref]
        assert store.usage().damaged == 1
        assert store.remains(ref) == encoded(0, 3 * PART_BYTES)[: 2 * PART_BYTES]


def test_without_parity_there_is_nothing_to_scrub(directory: Path) -> None:
    with opened(directory, StoreConfig()) as store:
        store.commit([put(0, 3 * PART_BYTES)], NOW_MS)
        assert scrub(store) == []


def test_a_large_bundle_may_go_while_it_is_looked_at(directory: Path) -> None:
    with opened(directory, settings_of(LOG)) as store:
        large, small = store.commit([put(0, 3 * PART_BYTES), put(1)], NOW_MS).refs
        store.stage_scrub().finish()
        store.commit([Release(large)], NOW_MS)
        change(directory, small, {3: 1})
        assert scrub(store) == []
        assert at_rest(directory, small) == encoded(1)


@given(
    sizes=st.lists(
        st.one_of(st.integers(1, 700), st.sampled_from([PART_BYTES - 1, PART_BYTES])), max_size=12
    )
)
@settings(max_examples=40, deadline=None)
def test_parity_does_not_depend_on_company(sizes: list[int]) -> None:
    code = Parity()
    parts = [encoded(number, size) for number, size in enumerate(sizes)]
    assert code.encode(parts) == [code.encode([part])[0] for part in parts]


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 256), st.integers(0, PART_BYTES), st.booleans(), st.integers(0, SECOND)
        ),
        max_size=50,
    ),
    rate=st.sampled_from([1, 1000, 10**6, 10**9]),
    every_s=st.integers(1, 10**6),
)
def test_the_scrubber_keeps_its_pace(
    steps: list[tuple[int, int, bool, int]], rate: int, every_s: int
) -> None:
    pace = Pace(rate, every_s, 0)
    now = begun = octets = 0
    assert pace.next_deadline() == 0
    for bundles, some, over, late in steps:
        now = pace.next_deadline() + late
        octets += some + bundles * BUNDLE_OCTETS
        pace.looked(bundles, some, over, now)
        assert pace.next_deadline() >= now
        assert octets <= rate * pace.next_deadline() / SECOND + 1
        if over:
            assert pace.next_deadline() - begun >= every_s * SECOND
            begun = pace.next_deadline()
    pace.failed(now)
    assert pace.next_deadline() == now + every_s * SECOND


@pytest.mark.parametrize("key", ["scrub_bytes_per_s", "scrub_every_s"])
def test_a_scrubber_that_never_rests_or_never_works_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        StoreConfig(**{key: 0})  # type: ignore[arg-type]


def test_an_empty_bundle_needs_no_parity(directory: Path) -> None:
    with opened(directory, settings_of(INLINE)) as store:
        empty = Put(b"k", b"", Place.FORWARD, "", "", 0, NOW_MS + 1, NOW_MS)
        refs = store.commit([empty, put(1)], NOW_MS).refs
        assert scrub(store) == []
        assert store.load(refs) == [b"", encoded(1)]
