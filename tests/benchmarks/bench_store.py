"""What the durable store costs, beside plain SQLite with one INSERT a transaction.

Run as `python -m tests.benchmarks.bench_store [--quick] [--directory PATH]`.  CPU is that of the
whole process, kernel included; MB are 10^6 octets of bundles.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.ports.store import Op, Place, Put, Release
from stack.storage import SqliteStore, StoreConfig, StoreWriter

NOW_MS = 800_000_000_000
KB = os.urandom(1024)
LARGE = os.urandom(65536)


def put(number: int, encoded: bytes) -> Put:
    """A bundle as a node stores it; 10 of them a millisecond."""
    created = NOW_MS + number // 10
    return Put(
        key=created.to_bytes(8, "big") + number.to_bytes(8, "big") + b"dtn://sat1/files",
        encoded=encoded,
        place=Place.FORWARD,
        destination="dtn://gs1/files",
        source="dtn://sat1/files",
        priority=1,
        expires_ms=created + 86_400_000,
        received_ms=created,
        note=b"0123456789",
    )


def row(name: str, count: int, octets: int, wall_s: float, cpu_s: float) -> None:
    """One line of the table."""
    print(
        f"{name:<44}{count / wall_s:>10,.0f}/s{octets / wall_s / 1e6:>9,.1f} MB/s"
        f"{cpu_s / count * 1e6:>9.1f} µs CPU"
    )


@contextmanager
def timed(name: str, count: int, octets: int) -> Iterator[None]:
    """Measure a block and print its line."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    row(name, count, octets, time.perf_counter() - wall, time.process_time() - cpu)


def plain_sqlite(directory: Path, count: int) -> None:
    """The peer: one INSERT, one transaction, the same durability."""
    db = sqlite3.connect(directory / "plain.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE bundle (ref INTEGER PRIMARY KEY, key BLOB UNIQUE, wire BLOB)")
    puts = [put(number, KB) for number in range(count)]
    with timed("plain SQLite, INSERT + DELETE one by one", count, count * len(KB)):
        for each in puts:
            cursor = db.execute("INSERT INTO bundle (key, wire) VALUES (?, ?)", (each.key, KB))
            db.execute("DELETE FROM bundle WHERE ref = ?", (cursor.lastrowid,))
    db.close()


def through(
    store: SqliteStore, encoded: bytes, batch: int, batches: int, first: int, note: str = ""
) -> None:
    """Put a batch and release the one before, as a forwarding node does."""
    work: list[list[Op]] = [
        [put(first + turn * batch + n, encoded) for n in range(batch)] for turn in range(batches)
    ]
    last: list[int] = []
    name = f"put + release, {len(encoded) // 1024} KB, {batch} a commit{note}"
    with timed(name, batch * batches, batch * batches * len(encoded)):
        for ops in work:
            ops += [Release(ref) for ref in last]
            last = store.commit(ops, NOW_MS).refs
    store.commit([Release(ref) for ref in last], NOW_MS)


def backlog(store: SqliteStore, directory: Path, count: int) -> SqliteStore:
    """Fill with `count` bundles, say how fast it still is, open again, drain."""
    batch = 256
    for part in range(4):
        work = [
            [put(start + n, KB) for n in range(batch)]
            for start in range(part * count // 4, (part + 1) * count // 4, batch)
        ]
        name = f"put 1 KB onto {part * count // 4:,} stored"
        with timed(name, len(work) * batch, len(work) * batch * len(KB)):
            for ops in work:
                store.commit(ops, NOW_MS)
    stored = store.usage().bundles
    through(store, KB, 256, 40, 10 * count, ", with backlog")
    through(store, KB, 32, 100, 11 * count, ", with backlog")
    store.close()
    with timed(f"open with {stored:,} stored", stored, 0):
        store = SqliteStore(directory / "backlog")
    with timed("scan", stored, 0):
        refs = [stored.ref for stored in store.scan()]
    drained = refs[:100_000]
    with timed("load + release, 256 at a time", len(drained), len(drained) * len(KB)):
        for start in range(0, len(drained), 256):
            some = drained[start : start + 256]
            assert None not in store.load(some)
            store.commit([Release(ref) for ref in some], NOW_MS)
    return store


async def written(store: SqliteStore, count: int, window: int, first: int) -> None:
    """One request a bundle through a `StoreWriter`, `window` of them under way."""
    writer = StoreWriter(store, lambda: NOW_MS)
    finished = asyncio.get_running_loop().create_future()
    puts = [put(first + number, KB) for number in range(count)]
    submitted = answered = 0

    def done(refs: list[int], _: list[int]) -> None:
        nonlocal submitted, answered
        answered += 1
        ops: list[Op] = [Release(refs[0])]
        if submitted < count:
            ops.append(puts[submitted])
            submitted += 1
            writer.submit(ops, done)
        else:
            writer.submit(ops, last)

    def last(_: list[int], __: list[int]) -> None:
        if answered == count and not finished.done():
            finished.set_result(None)

    with timed(f"StoreWriter, 1 KB a request, {window} under way", count, count * len(KB)):
        while submitted < min(window, count):
            submitted += 1
            writer.submit([puts[submitted - 1]], done)
        await finished
    await writer.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="100,000 stored, not 1,000,000")
    parser.add_argument("--directory", help="where to make the files (default: the system's)")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="bench-store-", dir=options.directory))
    try:
        plain_sqlite(directory, 500)
        for batch, batches in ((1, 200), (8, 100), (32, 100), (64, 100), (256, 60)):
            store = SqliteStore(directory / f"kb-{batch}")
            through(store, KB, batch, batches, 0)
            store.close()
        for batch, batches in ((1, 200), (16, 60)):
            store = SqliteStore(directory / f"large-{batch}")
            through(store, LARGE, batch, batches, 0)
            store.close()
        store = SqliteStore(directory / "normal", StoreConfig(synchronous="normal"))
        through(store, KB, 32, 100, 0, ", normal")
        store.close()
        store = SqliteStore(directory / "backlog")
        store = backlog(store, directory, 100_000 if options.quick else 1_000_000)
        asyncio.run(written(store, 20_000, 100, 1 << 40))
        asyncio.run(written(store, 20_000, 1000, 1 << 41))
        store.close()
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
