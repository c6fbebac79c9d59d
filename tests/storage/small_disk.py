"""A real, small file system of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, mebioctets: int = 24) -> Iterator[Path]:
    """Mount one at `path`; skips the test where that is not allowed."""
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system for this test")
    path.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebioctets}m", "orbitferry-test", str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def remount(path: Path, mode: str) -> None:
    """Make it read-only (`ro`) or writable again (`rw`)."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(path)], check=True)


def fill_up(path: Path) -> Path:
    """A file that takes all room that is left."""
    hog = path / "hog"
    with hog.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return hog
