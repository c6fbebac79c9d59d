"""A process that stores, forwards and drops bundles, and writes that down, until it is killed.

Run as `python -m tests.audit.killed DIRECTORY FIRST_NUMBER`.
"""

from __future__ import annotations

import sys

from stack.audit.event import Act, AuditEvent, Happened
from stack.ports.store import Op, Release
from stack.storage import SqliteStore, StoreConfig
from tests.audit.stories import NODE, Told
from tests.storage.bundles import NOW_MS, put

LIVES_MS = 12
"""After so many milliseconds of its own time a bundle expires."""


def story(number: int, *acts: Act) -> Happened:
    """What happens to bundle `number`."""
    return AuditEvent(sum(acts), 0, NODE, f"dtn://sat1/files@{NOW_MS}.{number}").happened


def main() -> None:
    """Commit for ever: new bundles, the release of half of the last ones; let others expire, and
    have others evicted for want of room."""
    config = StoreConfig(
        log_batch_bytes=4096, segment_bytes=1 << 16, wal_bytes=1 << 16, quota_bytes=14_000
    )
    store = SqliteStore(sys.argv[1], config)
    store.ledger = Told()
    number = first = int(sys.argv[2])
    last: dict[int, int] = {}
    print("ready", flush=True)
    for turn in range(1 << 30):
        now_ms = NOW_MS + first + turn  # later than in any life before
        numbers = range(number, number + (1, 30, 3, 50)[turn % 4])
        ops: list[Op] = [
            Release(ref, event=story(each, Act.FORWARDED, Act.DELETED))
            for ref, each in list(last.items())[::2]
        ]
        for each in numbers:
            one = put(each, 200, priority=each % 3)
            event = story(each, Act.RECEIVED, Act.STORED)
            ops.append(one._replace(event=event, expires_ms=now_ms + LIVES_MS))
        refs = store.commit(ops, now_ms).refs
        last = {ref: each for ref, each in zip(refs, numbers, strict=True) if ref > 0}
        if turn % 8 == 7:
            store.expire(now_ms, 20)
        print(number, store.events_end, flush=True)
        number = numbers.stop


if __name__ == "__main__":
    main()
