"""Where the tests of the store keep their files; errors are in words that keep a promise."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.words import kept  # noqa: F401

SHARED_MEMORY = Path("/dev/shm")


def scratch() -> Path:
    """A new directory, in memory where the system has that: fdatasync costs nothing there."""
    parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    return Path(tempfile.mkdtemp(prefix="orbitferry-store-", dir=parent))


@pytest.fixture
def directory() -> Iterator[Path]:
    """A new directory that goes away after the test."""
    path = scratch()
    yield path
    shutil.rmtree(path)
