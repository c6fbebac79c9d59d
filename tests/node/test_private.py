"""What a node keeps on disk is its operator's alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from link_models.clock import run_virtual
from stack.core.private import make_folder
from stack.storage import SqliteStore, StoreConfig
from tests.node.test_two_nodes import SAT, channel, loop
from tests.node.world import World
from tests.storage.bundles import NOW_MS, put


@pytest.fixture(autouse=True)
def generous_umask() -> Iterator[None]:
    """As most systems have it, and worse."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(root: Path) -> list[str]:
    """Files and folders under `root`, itself included, with any right for group or others."""
    return [
        f"{path} {stat.S_IMODE(path.lstat().st_mode):o}"
        for path in (root, *root.rglob("*"))
        if stat.S_IMODE(path.lstat().st_mode) & 0o077
    ]


def test_a_store_is_private(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a" / "store", StoreConfig(log_batch_bytes=0))
    store.commit([put(1)], NOW_MS)
    assert {"store.db", "store.db-wal", "store.db-shm", "lock"} <= set(
        os.listdir(tmp_path / "a" / "store")
    )
    assert open_to_others(tmp_path / "a") == []
    store.close()


def test_folders_above_are_private_too(tmp_path: Path) -> None:
    make_folder(tmp_path / "x" / "y")
    make_folder(tmp_path / "x" / "y" / "z")
    assert open_to_others(tmp_path / "x") == []


def test_a_node_and_what_it_receives_are_private(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel())
        ground = world.node("gs1", [world.link("gs1", "sat1", rate_bps=10e6, owlt_ms=5.0)])
        satellite = world.node("sat1", [world.link("sat1", "gs1", rate_bps=10e6, owlt_ms=5.0)])
        folder = tmp_path / "scenes"
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "scene.bin").write_bytes(bytes(300_000))
        async with ground, satellite:
            await ground.services.files.send(folder / "inner" / "scene.bin", SAT, name="in/scene")
            received = await anext(aiter(satellite.services.files.inbox))
            assert received.path.as_posix().endswith("in/scene")
            assert open_to_others(tmp_path / "sat1") == []
        assert open_to_others(tmp_path / "sat1") == []
        assert open_to_others(tmp_path / "gs1") == []

    run_virtual(main)
