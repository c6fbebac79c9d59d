"""Dead payload leaves the disk, live payload stays as it is, in steps that are bounded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.ports.store import Move, Place, Release
from stack.storage import SqliteStore, StoreConfig
from stack.storage.compaction import COMPACT_BYTES
from tests.storage.bundles import NOW_MS, encoded, put
from tests.storage.conftest import scratch

RECORD_BYTES = 250
"""What the log says of a bundle beside its octets, at most."""

CONFIG = StoreConfig(log_batch_bytes=0, segment_bytes=1000)


def sealed_octets(path: Path) -> int:
    """Octets in all log files but the newest."""
    return sum(file.stat().st_size for file in sorted(path.glob("payload-*.log"))[:-1])


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(kept=st.sets(st.integers(0, 79), max_size=30), crash=st.booleans())
def test_what_is_alive_survives_compaction(kept: set[int], crash: bool) -> None:
    path = scratch()
    try:
        store = SqliteStore(path / "a", CONFIG)
        refs: list[int] = []
        for start in range(0, 80, 8):
            puts = [put(number) for number in range(start, start + 8)]
            refs += store.stage(puts, NOW_MS).finish().refs
        gone = [Release(ref) for number, ref in enumerate(refs) if number not in kept]
        store.stage(gone, NOW_MS).finish()
        held = [refs[number] for number in sorted(kept)]
        steps = 0
        while store.untidy:
            assert store.tidy()
            steps += 1
            assert [bytes(each or b"") for each in store.load(held)] == [
                encoded(number) for number in sorted(kept)
            ]
        assert steps <= 12
        octets = 2 * 100 * len(kept) + CONFIG.segment_bytes
        assert sealed_octets(path / "a") <= octets * (100 + RECORD_BYTES) // 100
        if crash:
            shutil.copytree(path / "a", path / "b", ignore=shutil.ignore_patterns("*-shm"))
        store.close()
        store = SqliteStore(path / ("b" if crash else "a"), CONFIG)
        assert [each.ref for each in store.scan()] == held
        assert store.load(held) == [encoded(number) for number in sorted(kept)]
        store.commit([Move(ref, Place.DELIVER, b"moved") for ref in held], NOW_MS)
        assert all(each.place is Place.DELIVER for each in store.scan())
        store.close()
    finally:
        shutil.rmtree(path)


def test_one_step_copies_a_bounded_amount(directory: Path) -> None:
    store = SqliteStore(directory, StoreConfig(log_batch_bytes=0, segment_bytes=COMPACT_BYTES))
    size = 100_000
    refs = store.commit([put(number, size) for number in range(60)], NOW_MS).refs
    store.stage([put(60, size)], NOW_MS).finish()
    store.stage([Release(ref) for ref in refs[:40]], NOW_MS).finish()
    before = sum(file.stat().st_size for file in directory.glob("payload-*.log"))
    assert store.untidy
    assert store.tidy()
    after = sum(file.stat().st_size for file in directory.glob("payload-*.log"))
    assert 0 < after - before <= COMPACT_BYTES + size
    while store.untidy:
        assert store.tidy()
    assert len(list(directory.glob("payload-*.log"))) <= 3
    assert store.load(refs[40:]) == [encoded(number, size) for number in range(40, 60)]
    store.close()
