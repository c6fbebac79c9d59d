"""What is made durable in a folder, and in which order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

Durable = list[bytes | list[str]]
"""Octets of files, and the names in the folder."""


def made_durable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Durable:
    """Filled with each `fsync` of the folder, and of what is in it."""
    found: Durable = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}")
        found.append(sorted(os.listdir(folder)) if path.is_dir() else path.read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    return found
