"""A process that stores bundles until it is killed, telling each commit after it happened.

Run as `python -m tests.storage.killed DIRECTORY FIRST_NUMBER`.
"""

from __future__ import annotations

import sys

from stack.ports.store import Op, Release, Write
from stack.storage import SqliteStore, StoreConfig
from tests.storage.bundles import NOW_MS, put

BATCHES = (1, 30, 3, 200, 12)


def main() -> None:
    """Commit for ever: new bundles, the release of half of the last ones, and a counter."""
    config = StoreConfig(log_batch_bytes=4096, segment_bytes=1 << 16, wal_bytes=1 << 16)
    store = SqliteStore(sys.argv[1], config)
    number = int(sys.argv[2])
    last: list[int] = []
    print("ready", flush=True)
    for turn in range(1 << 30):
        count = BATCHES[turn % len(BATCHES)]
        ops: list[Op] = [put(each, 200) for each in range(number, number + count)]
        released = last[::2]
        ops += [Release(ref) for ref in released]
        ops.append(Write("killed", "number", str(number + count).encode()))
        last = store.commit(ops, NOW_MS).refs
        print(number, last[0], count, *released, flush=True)
        number += count


if __name__ == "__main__":
    main()
