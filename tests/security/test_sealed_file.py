"""A secret file is read by who has its secret, as it was written, and by nobody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stack.core.errors import SecurityError
from stack.security.sealed_file import MARK, SealedFile


def test_what_is_written_is_read_and_shows_nothing(tmp_path: Path) -> None:
    file = SealedFile(tmp_path / "member", b"secret", os.urandom)
    seen = set()
    for octets in (b"epochs of kari", b"epochs of kari", b""):
        file.write(octets)
        assert SealedFile(tmp_path / "member", b"secret", os.urandom).read() == octets
        assert b"epochs" not in file.path.read_bytes()
        seen.add(file.path.read_bytes())
    assert len(seen) == 3  # the same content, and other octets
    assert os.listdir(tmp_path) == ["member"]


def test_nothing_else_is_taken_for_it(tmp_path: Path) -> None:
    file = SealedFile(tmp_path / "member", b"secret", os.urandom)
    file.write(b"epochs of kari")
    genuine = file.path.read_bytes()
    with pytest.raises(SecurityError, match="another node's keys"):
        SealedFile(file.path, b"another", os.urandom).read()
    os.link(file.path, tmp_path / "authority")  # nor is one file taken for another
    with pytest.raises(SecurityError):
        SealedFile(tmp_path / "authority", b"secret", os.urandom).read()
    altered = [
        bytes(genuine[:at]) + bytes([genuine[at] ^ 1]) + genuine[at + 1 :]
        for at in range(0, len(genuine))
    ]
    for octets in (b"", MARK, genuine[:-1], genuine + b"!", b"epochs of kari", *altered):
        file.path.write_bytes(octets)
        with pytest.raises(SecurityError):
            file.read()
