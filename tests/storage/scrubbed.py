"""A process that scrubs a store with flipped bits until it is killed, telling of each repair.

Run as `python -m tests.storage.scrubbed DIRECTORY LOG_BATCH_BYTES`.
"""

from __future__ import annotations

import sys

from stack.storage import SqliteStore, StoreConfig


def main() -> None:
    """Pass after pass."""
    config = StoreConfig(parity=True, log_batch_bytes=int(sys.argv[2]), wal_bytes=1 << 16)
    store = SqliteStore(sys.argv[1], config, lambda event, fields: print(event, flush=True))
    while True:
        store.stage_scrub().finish()


if __name__ == "__main__":
    main()
