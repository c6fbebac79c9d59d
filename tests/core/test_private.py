"""Secrets at rest: replaced and erased so that the file's own octets are gone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from stack.core import private
from stack.core.private import erase, replace_secret


def test_what_was_there_before_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    replace_secret(path, b"the first secret")
    with path.open("rb") as former:  # keeps the file, whatever its name
        replace_secret(path, b"the second")
        assert former.read() == bytes(len(b"the first secret"))
    assert path.read_bytes() == b"the second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["epochs"]


def test_a_crash_leaves_one_of_the_two_and_the_next_write_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "epochs"
    replace_secret(path, b"one")
    with monkeypatch.context() as patched:
        patched.setattr(private, "sync_directory", crash)
        with pytest.raises(OSError, match="crash"):
            replace_secret(path, b"two")
    assert path.read_bytes() == b"two"
    with path.with_name("epochs.old").open("rb") as former:
        replace_secret(path, b"three")
        assert former.read() == bytes(3)
    assert os.listdir(tmp_path) == ["epochs"]


def crash(_: Path) -> None:
    raise OSError("crash")


def test_erasing(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    assert not erase(path)
    replace_secret(path, b"secret")
    with path.open("rb") as former:
        assert erase(path)
        assert former.read() == bytes(6)
    assert not path.exists()
