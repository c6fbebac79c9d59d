"""Bundles whose octets follow from their number, and a store that holds some."""

from __future__ import annotations

import hashlib
from pathlib import Path

from stack.ports.store import Place, Put
from stack.storage import SqliteStore, StoreConfig

NOW_MS = 800_000_000_000
LIFETIME_MS = 3_600_000


def encoded(number: int, size: int = 100) -> bytes:
    """Octets that no other bundle has."""
    seed = hashlib.sha256(number.to_bytes(8, "big")).digest()
    return (seed * (size // len(seed) + 1))[:size]


def put(number: int, size: int = 100, *, priority: int = 1, place: Place = Place.FORWARD) -> Put:
    """Bundle `number`."""
    return Put(
        key=NOW_MS.to_bytes(8, "big") + number.to_bytes(8, "big"),
        encoded=encoded(number, size),
        place=place,
        destination="dtn://gs1/files",
        source="dtn://sat1/files",
        priority=priority,
        expires_ms=NOW_MS + LIFETIME_MS,
        received_ms=NOW_MS,
        note=b"tag",
    )


def number_of(key: bytes) -> int:
    """The number of the bundle with this key."""
    return int.from_bytes(key[8:], "big")


def both_kinds() -> StoreConfig:
    """Commits of 1000 octets and more go to log files of about 2000."""
    return StoreConfig(log_batch_bytes=1000, segment_bytes=2000)


def fill(path: Path) -> dict[int, bytes]:
    """A store with 40 bundles, half of them in the database, half in the log, and some state;
    returns what it holds by ref."""
    store = SqliteStore(path, both_kinds())
    held: dict[int, bytes] = {}
    for start, count in ((0, 5), (5, 20), (25, 5), (30, 10)):
        puts = [put(number) for number in range(start, start + count)]
        refs = store.commit(puts, NOW_MS).refs
        held.update(zip(refs, (bytes(each.encoded) for each in puts), strict=True))
    store.close()
    return held
