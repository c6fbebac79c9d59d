"""What parity at rest costs, beside the same store without it.

Run as `python -m tests.benchmarks.bench_parity [--rounds N] [--directory PATH]`.  Both stores take
turns in one process; CPU is the median of the rounds, kernel included.  Disk is what the files of
the store take while everything is held.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from stack.ports.store import Op, Release
from stack.storage import SqliteStore, StoreConfig
from tests.benchmarks.bench_store import NOW_MS, put

SIZES = ((1024, 1), (1024, 32), (1024, 256), (65536, 16), (1 << 20, 4))
"""Octets of a bundle, and bundles in a commit."""

ROUND_OCTETS = 4 << 20
QUIET = StoreConfig(reserve_bytes=0)
WITH = StoreConfig(reserve_bytes=0, parity=True)


def turn(store: SqliteStore, encoded: bytes, batch: int, first: int) -> float:
    """Put and release some; CPU seconds a bundle."""
    commits = max(4, min(200, ROUND_OCTETS // (batch * len(encoded))))
    work: list[list[Op]] = [
        [put(first + number * batch + n, encoded) for n in range(batch)]
        for number in range(commits)
    ]
    last: list[int] = []
    begun = time.process_time()
    for ops in work:
        ops += [Release(ref) for ref in last]
        last = store.commit(ops, NOW_MS).refs
    store.commit([Release(ref) for ref in last], NOW_MS)
    return (time.process_time() - begun) / (batch * commits)


def held(directory: Path, config: StoreConfig, encoded: bytes) -> tuple[float, float]:
    """Octets on the disk for each octet stored, and seconds to scrub one MB."""
    count = 2 * ROUND_OCTETS // len(encoded)
    store = SqliteStore(directory, config)
    for start in range(0, count, 64):
        some = range(start, min(start + 64, count))
        store.commit([put(number, encoded) for number in some], NOW_MS)
    begun = time.process_time()
    while config.parity and not store.stage_scrub().finish().over:
        pass
    scrubbed = time.process_time() - begun
    store.close()
    files = sum(path.stat().st_size for path in directory.iterdir())
    return files / (count * len(encoded)), scrubbed / (count * len(encoded) / 1e6)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--directory", help="where to make the files (default: the system's)")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="bench-parity-", dir=options.directory))
    try:
        for size, batch in SIZES:
            encoded = os.urandom(size)
            stores = [
                SqliteStore(directory / f"{size}-{batch}-{config.parity}", config)
                for config in (QUIET, WITH)
            ]
            times: tuple[list[float], list[float]] = ([], [])
            for number in range(options.rounds):
                for which in (0, 1) if number % 2 else (1, 0):
                    first = number * 1_000_000
                    times[which].append(turn(stores[which], encoded, batch, first))
            without, protected = (statistics.median(some) * 1e6 for some in times)
            print(
                f"put + release, {size // 1024:>4} KB, {batch:>3} a commit: {without:>9,.1f} µs CPU"
                f", with parity {protected:>9,.1f} µs"
            )
            for store in stores:
                store.close()
        for size in (1024, 65536, 1 << 20):
            encoded = os.urandom(size)
            plain, _ = held(directory / f"plain-{size}", QUIET, encoded)
            more, scrub_s = held(directory / f"held-{size}", WITH, encoded)
            print(
                f"held, {size // 1024:>4} KB: {plain:.3f} octets of disk an octet, with parity"
                f" {more:.3f}; scrubbing {scrub_s * 1000:.1f} ms CPU a MB"
            )
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
