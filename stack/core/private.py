"""Files and folders that only their owner may read: what a node keeps belongs to its operator,
whatever umask it was started with."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600

FRESH = ".new"
"""Ends the name of a file that is being written; a kill may leave one."""


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner alone.  What is there
    already keeps its mode.  Raises `OSError`."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)


def opener(path: str, flags: int) -> int:
    """For `open(..., opener=...)`: what is made is for its owner alone.  Raises `OSError`."""
    return os.open(path, flags, FILE_MODE)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable.  Raises `OSError`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_file(path: Path, octets: bytes) -> None:
    """Put a file in place of what was there, at once and durably, for its owner alone.  Where it
    fails before that, nothing of the octets stays.  Raises `OSError`."""
    fresh = path.with_name(path.name + FRESH)
    erase(fresh)  # of a kill: a file that is only cut short leaves its octets on the disk
    try:
        with open(fresh, "wb", opener=opener) as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        discard(fresh)
        raise
    sync_directory(path.parent)


def new_file(path: Path, octets: bytes) -> None:
    """Make a file, durably, for its owner alone; where that fails nothing of it stays.  Raises
    `OSError`, and `FileExistsError` where there is one, which stays as it is."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        with open(fd, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        discard(path)
        raise
    sync_directory(path.parent)


def replace_secret(path: Path, octets: bytes) -> None:
    """`write_file`, and overwrite what was there before: where it fails that stays.  Raises
    `OSError`.

    Overwriting is all that a program can do: journals, copy-on-write file systems, snapshots and
    the spare blocks of flash may keep the former octets all the same.
    """
    former = path.with_name(path.name + ".old")
    there = path.exists()
    if former.exists():  # of a crash, or of a write that failed: then it may be the file itself
        sync_directory(path.parent)
        if not (there and former.samefile(path)):
            erase(former)
    if there and not former.exists():
        os.link(path, former)
    write_file(path, octets)
    erase(former)


def erase(path: Path) -> bool:
    """Overwrite a file and unlink it; whether there was one.  Raises `OSError`."""
    try:
        with path.open("r+b", buffering=0) as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            os.fsync(file.fileno())
    except FileNotFoundError:
        return False
    path.unlink()
    sync_directory(path.parent)
    return True


def erase_all(path: Path) -> None:
    """`erase` a file, and before it what a kill has left of the writing of one.  Raises
    `OSError`."""
    for one in (path.with_name(path.name + FRESH), path):
        erase(one)


def discard(path: Path) -> None:
    """`erase` what a failure has left, as well as that goes: a file that cannot be overwritten (the
    disk is full) is unlinked all the same, and the first fault is what is told."""
    with suppress(OSError):
        erase(path)
    with suppress(OSError):
        path.unlink(missing_ok=True)
