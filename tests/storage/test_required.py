"""An application's transaction is all or nothing, also when the store is full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stack.core.errors import StoreError
from stack.ports.store import DUPLICATE, NO_ROOM, BundleStore, Place, Put, Release, Write
from stack.storage.config import StoreConfig
from stack.storage.memory import MemoryStore
from stack.storage.sqlite import SqliteStore

QUOTA = 10_000
NOW = 1_000_000


def sqlite(path: Path) -> BundleStore:
    return SqliteStore(path / "store", StoreConfig(quota_bytes=QUOTA, synchronous="normal"))


def memory(path: Path) -> BundleStore:
    return MemoryStore(QUOTA)


def put(number: int, size: int, *, required: bool, priority: int = 1) -> Put:
    return Put(
        number.to_bytes(8, "big"),
        bytes(size),
        Place.FORWARD,
        "dtn://b/",
        "dtn://a/",
        priority,
        NOW + 1000,
        NOW,
        required=required,
    )


@pytest.mark.parametrize("make", [sqlite, memory])
def test_a_required_bundle_without_room_undoes_everything(
    make: Callable[[Path], BundleStore], tmp_path: Path
) -> None:
    store = make(tmp_path)
    (first,) = store.commit([put(1, 6000, required=True)], NOW).refs
    with pytest.raises(StoreError, match="no room"):
        store.commit(
            [Write("s", "k", b"v"), put(2, 1000, required=True), put(3, 4000, required=True)], NOW
        )
    assert store.read("s", "k") is None
    assert store.usage().bundles == 1
    assert store.load([first])[0] == bytes(6000)
    assert store.commit([put(3, 5000, required=False)], NOW).refs == [NO_ROOM]
    # Released room counts, and so does what is less urgent.
    (second,) = store.commit([Release(first), put(4, QUOTA, required=True)], NOW).refs
    assert second > 0
    outcome = store.commit([put(5, 8000, required=True, priority=2)], NOW)
    assert outcome.evicted == [second]
    store.close()


@pytest.mark.parametrize("make", [sqlite, memory])
def test_what_comes_back_in_transit_is_taken_again_and_what_was_delivered_is_not(
    make: Callable[[Path], BundleStore], tmp_path: Path
) -> None:
    store = make(tmp_path)
    passing = put(1, 100, required=False)
    (first,) = store.commit([passing], NOW).refs
    assert store.commit([passing], NOW).refs == [DUPLICATE]
    store.commit([Release(first)], NOW)
    refs = store.commit([passing, passing], NOW).refs
    assert refs[0] > first
    assert refs[1] == DUPLICATE
    own = put(2, 100, required=False)._replace(place=Place.DELIVER)
    (delivered,) = store.commit([own], NOW).refs
    store.commit([Release(delivered)], NOW)
    assert store.commit([own], NOW).refs == [DUPLICATE]
    store.close()
