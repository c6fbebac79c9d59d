"""Full quotas, and what cannot be stored: refused cleanly, and usable again afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.core.errors import ConfigError, LocalError
from stack.ports.store import DUPLICATE, NO_ROOM, OVER_SHARE, Move, Place, Put, Release, Write
from stack.storage import MemoryStore, SqliteStore, StagingStore, StoreConfig, staging
from tests.storage.bundles import LIFETIME_MS, NOW_MS, encoded, put


def stores(directory: Path, quota_bytes: int, quota_bundles: int) -> list[StagingStore]:
    """Both kinds of store with the same quota."""
    config = StoreConfig(quota_bytes=quota_bytes, quota_bundles=quota_bundles)
    return [SqliteStore(directory, config), MemoryStore(quota_bytes, quota_bundles)]


def test_eviction_takes_expired_then_lowest_then_oldest(directory: Path) -> None:
    for store in stores(directory, 500, 100):
        deliver = put(1, priority=0, place=Place.DELIVER)
        low, lower = put(2, priority=1), put(3, priority=0)
        expiring = Put(b"soon", encoded(4), Place.FORWARD, "", "", 3, NOW_MS + 5, NOW_MS)
        refs = store.commit([deliver, low, lower, expiring, put(5, priority=1)], NOW_MS).refs
        assert store.commit([put(6, priority=2)], NOW_MS + 5).evicted == [refs[3]]
        assert store.commit([put(7, priority=2)], NOW_MS).evicted == [refs[2]]
        assert store.commit([put(8, priority=1)], NOW_MS).refs == [NO_ROOM]
        assert store.commit([put(9, 501, priority=9)], NOW_MS).refs == [NO_ROOM]
        both = store.commit([put(10, 150, priority=2)], NOW_MS)
        assert both.evicted == [refs[1], refs[4]]
        last = store.commit([put(11, 400, priority=9)], NOW_MS)
        assert len(last.evicted) == 3
        assert store.load([refs[0], *last.refs]) == [encoded(1), encoded(11, 400)]
        assert store.commit([put(12, priority=99)], NOW_MS).evicted == last.refs
        store.close()


def test_count_quota_and_urgent_first(directory: Path) -> None:
    for store in stores(directory, 1 << 20, 2):
        refs = store.commit([put(n, priority=n) for n in range(4)], NOW_MS).refs
        assert refs[:2] == [NO_ROOM, NO_ROOM]
        assert refs[3] > 0
        assert refs[2] > 0
        assert store.usage().bundles == 2
        store.close()


def test_of_several_moves_of_one_bundle_the_last_counts(directory: Path) -> None:
    """Aside and back in one commit: it is as urgent as before."""
    for store in stores(directory, 1 << 20, 1):
        (ref,) = store.commit([put(1, priority=1)], NOW_MS).refs
        store.commit([Move(ref, Place.QUARANTINE), Move(ref, Place.FORWARD)], NOW_MS)
        assert store.commit([put(2, priority=1)], NOW_MS).refs == [NO_ROOM]
        store.commit([Move(ref, Place.FORWARD), Move(ref, Place.QUARANTINE)], NOW_MS)
        assert store.commit([put(2, priority=1)], NOW_MS).evicted == [ref]
        store.close()


def test_what_is_to_stay_free_stays_free(directory: Path) -> None:
    """A bundle that must leave room for others is refused, and evicts nothing for them either."""
    for store in stores(directory, 500, 4):

        def modest(number: int, octets: int, bundles: int = 0) -> Put:
            return put(number)._replace(spare=(octets, bundles), evicts=False)

        expiring = put(1)._replace(expires_ms=NOW_MS + 5)
        assert store.commit([expiring, put(2, priority=0)], NOW_MS).refs == [1, 2]
        assert store.commit([modest(3, 201)], NOW_MS).refs == [OVER_SHARE]
        assert store.commit([modest(3, 0, 2)], NOW_MS).refs == [OVER_SHARE]
        assert store.commit([modest(3, 200, 1), modest(4, 101)], NOW_MS).refs == [3, OVER_SHARE]
        assert store.commit([modest(4, 0)._replace(encoded=bytes(201))], NOW_MS).refs == [NO_ROOM]
        assert store.commit([modest(2, 500, 4)], NOW_MS).refs == [DUPLICATE]
        later = store.commit([modest(4, 200, 1)], NOW_MS + 5)
        assert (later.refs, later.evicted) == ([4], [1])
        assert store.commit([put(5), put(6)], NOW_MS + 5).refs[0] > 0
        store.close()


def test_a_part_of_what_is_known_is_a_duplicate(directory: Path) -> None:
    """Until the lifetime of the whole ends, and also in the same commit."""
    for store in stores(directory, 1000, 10):

        def part(number: int, whole: int) -> Put:
            return put(number, place=Place.FRAGMENT)._replace(part_of=put(whole).key)

        whole = put(1, place=Place.DELIVER)
        assert store.commit([part(2, 1), part(3, 9)], NOW_MS).refs == [1, 2]
        assert store.commit([whole, part(4, 1), part(5, 9)], NOW_MS).refs == [3, DUPLICATE, 4]
        store.commit([Release(3)], NOW_MS)
        assert store.commit([part(4, 1)], NOW_MS).refs == [DUPLICATE]
        assert store.commit([part(2, 9)], NOW_MS).refs == [DUPLICATE], "by its own key"
        (late,) = store.commit([part(4, 1)], NOW_MS + LIFETIME_MS).refs
        assert late > 4
        store.close()


def test_no_room_does_not_make_a_duplicate(directory: Path) -> None:
    for store in stores(directory, 100, 10):
        (first,) = store.commit([put(1, place=Place.DELIVER)], NOW_MS).refs
        assert store.commit([put(2)], NOW_MS).refs == [NO_ROOM]
        refs = store.commit([Release(first), put(2), put(1, place=Place.DELIVER)], NOW_MS).refs
        assert refs[0] > first
        assert refs[1] == DUPLICATE
        store.close()


def test_memories_of_released_bundles_are_bounded(directory: Path) -> None:
    sqlite = SqliteStore(directory, StoreConfig(quota_bundles=10, keys_max=100))
    for store in (sqlite, MemoryStore(1 << 20, 10, keys_max=100)):
        (kept,) = store.commit([put(0, place=Place.DELIVER)], NOW_MS).refs
        for number in range(1, 400):
            refs = store.commit([put(number, place=Place.DELIVER)], NOW_MS).refs
            store.commit([Release(ref) for ref in refs], NOW_MS)
        known = [
            number
            for number in reversed(range(400))
            if store.commit([put(number, place=Place.DELIVER)], NOW_MS).refs == [DUPLICATE]
        ]
        assert 87 <= len(known) <= 100
        assert 0 in known, "the key of a bundle that is held is never forgotten"
        assert store.load([kept]) == [encoded(0)]
        store.close()


def test_keys_that_are_held_do_not_hide_those_that_can_be_forgotten(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each transaction looks at a few, and the next one goes on behind them."""
    monkeypatch.setattr(staging, "FORGET_ROWS", 4)
    store = SqliteStore(directory, StoreConfig(quota_bundles=20, keys_max=20))
    store.commit([put(number, place=Place.DELIVER) for number in range(10)], NOW_MS)
    for number in range(10, 60):
        refs = store.commit([put(number, place=Place.DELIVER)], NOW_MS).refs
        store.commit([Release(ref) for ref in refs], NOW_MS)
    assert store._tally.keys <= 24
    store.close()


def test_values_that_cannot_be_stored_change_nothing(directory: Path) -> None:
    store = SqliteStore(directory)
    good = put(1)
    bad = [
        Put(b"k" * 65, b"", Place.FORWARD, "", "", 0, 0, 0),
        Put(b"k", b"", Place.FORWARD, "\ud800", "", 0, 0, 0),
        Put(b"k", b"", Place.FORWARD, "", "", 1 << 64, 0, 0),
        Put(b"k", b"", Place.FORWARD, "", "", 0, 1 << 63, 0),
        Write("s", "\ud800", b""),
        "put",
    ]
    for op in bad:
        with pytest.raises(LocalError):
            store.commit([good, op], NOW_MS)  # type: ignore[list-item]
        assert store.usage().bundles == 0
    assert store.commit([good], NOW_MS).refs == [1]
    store.close()
    with pytest.raises(LocalError, match="is closed"):
        store.commit([good], NOW_MS)
    with pytest.raises(LocalError, match="is closed"):
        store.load([1])
    store.close()


def test_expiry_passes_over_forgotten_keys_in_bounded_steps(directory: Path) -> None:
    store = SqliteStore(directory)
    for start in range(0, 6000, 1000):
        refs = store.commit([put(start + n, 10) for n in range(1000)], NOW_MS).refs
        store.commit([Release(ref) for ref in refs], NOW_MS)
    last = put(9999, 10)
    store.commit([last], NOW_MS)
    late = NOW_MS + LIFETIME_MS
    assert store.expire(late, 1) == [], "it is behind more keys than one call looks at"
    assert [stored.key for stored in store.expire(late, 1)] == [last.key]
    assert store.commit([put(0, 10)], late - 1).refs[0] > 0, "its key is forgotten"
    store.close()


@pytest.mark.parametrize(
    "values",
    [
        {"quota_bytes": 0},
        {"keys_max": 10},
        {"compact_below": 0.95},
        {"log_batch_bytes": -1},
        {"synchronous": "off"},
    ],
)
def test_contradictory_settings_are_refused(values: dict[str, int]) -> None:
    (key,) = values
    with pytest.raises(ConfigError) as caught:
        StoreConfig(**values)  # type: ignore[arg-type]
    assert caught.value.key.split(", ")[0] == key
