"""Which bundle is held under a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.ports.store import Place, Release
from stack.storage import SqliteStore
from stack.storage.memory import MemoryStore
from tests.storage.bundles import NOW_MS, put


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_key_that_is_held_remembered_or_unknown(kind: str, directory: Path) -> None:
    store = MemoryStore(10_000) if kind == "memory" else SqliteStore(directory / "store")
    first, second = store.commit([put(1), put(2, place=Place.DELIVER)], NOW_MS).refs
    assert store.held(put(1).key) == first
    assert store.held(put(2).key) == second
    assert store.held(put(3).key) is None
    store.commit([Release(first)], NOW_MS)
    assert store.held(put(1).key) is None
    (again,) = store.commit([put(1)], NOW_MS).refs
    assert again > second
    assert store.held(put(1).key) == again
    store.close()
