"""Secrets at rest: replaced and erased so that the file's own octets are gone."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from stack.core import private
from stack.core.private import erase, new_file, replace_secret, write_file
from tests.core.durable import made_durable


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


def test_what_is_erased_is_overwritten_on_the_disk_before_its_name_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, former = tmp_path / "key", tmp_path / "key.old"
    durable = made_durable(tmp_path, monkeypatch)
    new_file(path, b"one")
    assert durable == [b"one", ["key"]]
    durable.clear()
    replace_secret(path, b"second")
    assert durable == [b"second", ["key", "key.old"], bytes(3), ["key"]]
    durable.clear()
    assert erase(path)
    assert durable == [bytes(6), []]
    path.write_bytes(b"second")  # as a crash leaves them before the former one is erased
    former.write_bytes(b"one")
    durable.clear()
    with path.open("rb") as second, former.open("rb") as one:
        replace_secret(path, b"third")
        assert (one.read(), second.read()) == (bytes(3), bytes(6))
    # That one is overwritten when the other is there for good, and not before.
    assert durable == [
        ["key", "key.old"], bytes(3), ["key"],
        b"third", ["key", "key.old"], bytes(6), ["key"],
    ]  # fmt: skip


def test_a_full_disk_takes_nothing_of_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is tried: until there is another file, the former one is the only one."""
    path = tmp_path / "epochs"
    replace_secret(path, b"one")
    with monkeypatch.context() as patched:
        patched.setattr(private, "write_file", full)
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                replace_secret(path, b"two")
            assert path.read_bytes() == b"one"
    with path.open("rb") as former:
        replace_secret(path, b"two")
        assert former.read() == bytes(3)
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["epochs"]


def test_what_a_kill_has_left_of_a_write_is_overwritten(tmp_path: Path) -> None:
    path, fresh = tmp_path / "epochs", tmp_path / "epochs.new"
    fresh.write_bytes(b"an epoch that is destroyed later")
    with fresh.open("rb") as left:
        write_file(path, b"one")
        assert not left.read().strip(b"\0")
    assert path.read_bytes() == b"one"


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


@pytest.mark.parametrize("for_good", [False, True])
def test_of_what_could_not_be_written_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, for_good: bool
) -> None:
    path, kept = tmp_path / "key", tmp_path / "kept"
    write_file(path, b"former")
    real = os.fsync

    def full(descriptor: int) -> None:
        if kept.exists() and not for_good:
            return real(descriptor)
        if not kept.exists():
            os.link(tmp_path / "key.new", kept)  # keeps the octets, whatever becomes of the name
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_file(path, b"secret")
    assert kept.read_bytes() == bytes(6)
    assert sorted(os.listdir(tmp_path)) == ["kept", "key"]
    assert path.read_bytes() == b"former"


def test_a_new_file_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves no half of one, which would stand in the way of the next try."""
    path = tmp_path / "keys.toml"
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            new_file(path, b"a secret")
    assert os.listdir(tmp_path) == []
    new_file(path, b"a secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        new_file(path, b"another")
    assert path.read_bytes() == b"a secret"


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
