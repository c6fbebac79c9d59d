"""Names of objects, and their place in the receiver's directory.

A name is a relative path with ``/`` between its parts.  Names come from peers: whatever could
leave the directory, or confuse a terminal or a file system, is refused, never repaired, so that
two names never become one.  Directories are opened one by one without following symbolic links.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import stat
import unicodedata
from asyncio import sleep as next_turn
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import MappingProxyType
from typing import Final

from stack.core.errors import DecodeError, StoreError

SECTION: Final = "docs/services.md, Names"

NAME_CHARS_MAX: Final = 1024
PART_OCTETS_MAX: Final = 255
"""The usual limit of a directory entry (NAME_MAX of ext4, XFS, F2FS)."""

DEPTH_MAX: Final = 32
PARTIAL_DIRECTORY: Final = ".partial"
"""Holds unfinished objects; no object may be named into it."""

PIECE_BYTES: Final = 1024 * 1024
"""Octets hashed between two turns of the event loop: about 0.6 ms."""

_NUMBERED_TRIES: Final = 99
_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


_REFUSED: Final = MappingProxyType(
    {
        "Cc": "a control character",
        "Cf": "an invisible format character",
        "Cs": "octets that are no UTF-8",
        "Co": "a private-use character",
        "Cn": f"a character that Unicode {unicodedata.unidata_version} does not know",
        "Zl": "a line separator",
        "Zp": "a paragraph separator",
    }
)
"""What may not stand in a name, by its general category in Unicode.  Spaces of all kinds may: a
desktop puts U+202F or U+3000 into names of its own accord."""


def safe_name(name: str) -> tuple[str, ...]:
    """The parts of an object's name.  Raises `DecodeError`, which says what in it is not plain."""
    if not name or len(name) > NAME_CHARS_MAX:
        raise DecodeError(f"name has {len(name)} characters, not 1..{NAME_CHARS_MAX}", SECTION)
    parts = tuple(name.split("/"))
    if len(parts) > DEPTH_MAX:
        raise DecodeError(f"name has more than {DEPTH_MAX} parts", SECTION)
    if parts[0] == PARTIAL_DIRECTORY:
        raise DecodeError(f"{PARTIAL_DIRECTORY} is reserved", SECTION)
    for part in parts:
        if not part:
            raise DecodeError("name begins or ends with '/', or has '//'", SECTION)
        if part in (".", ".."):
            raise DecodeError(f"name has the part {part!r}", SECTION)
        for char in part if not part.isprintable() or "\\" in part else "":
            kind = "a backslash" if char == "\\" else _REFUSED.get(unicodedata.category(char))
            if kind:
                raise DecodeError(f"name has {kind} (U+{ord(char):04X})", SECTION)
        if len(part.encode("utf-8", "surrogatepass")) > PART_OCTETS_MAX:
            raise DecodeError(f"a part is longer than {PART_OCTETS_MAX} octets", SECTION)
    return parts


@contextlib.contextmanager
def open_directory(root: str, parts: Sequence[str], *, make: bool = True) -> Iterator[int]:
    """A descriptor of `root`/`parts`, whose directories `make` makes where they are missing.

    Raises `OSError`, also when one of them is a symbolic link or no directory.
    """
    opened = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            made = False
            with contextlib.suppress(FileExistsError):
                if make:
                    os.mkdir(part, 0o700, dir_fd=opened)
                    made = True
            child = os.open(part, _DIRECTORY_FLAGS, dir_fd=opened)
            try:
                if made:
                    os.fsync(opened)
            finally:
                os.close(opened)
                opened = child
        yield opened
    finally:
        os.close(opened)


def remove_folder(name: str, parent: int) -> None:
    """Remove the folder `name` of an open directory with all that is in it, as far as it goes, also
    what is too deep for a path or lets nobody in.  Links are removed, not followed.  Raises the
    first `OSError` when something has to stay."""
    failed: list[OSError] = []
    with _own_folder(name, parent) as top:
        waiting = _names(top)
        used = frozenset(waiting)
        free = (each for each in map(str, itertools.count()) if each not in used)
        while waiting:
            with _noting(failed):
                _remove_entry(waiting.pop(), top, free, waiting, failed)
    if failed:
        raise failed[0]
    os.rmdir(name, dir_fd=parent)


def _remove_entry(
    name: str, top: int, free: Iterator[str], waiting: list[str], failed: list[OSError]
) -> None:
    """Remove one entry of `top`; folders in it are moved to `top`, under names that are `free`, so
    that neither the stack nor the number of open files grows with the depth."""
    if not _is_folder(name, top):
        os.unlink(name, dir_fd=top)
        return
    with _own_folder(name, top) as folder:
        for each in _names(folder):
            with _noting(failed):
                if _is_folder(each, folder):
                    os.chmod(each, 0o700, dir_fd=folder)  # else it could not be moved
                    moved = next(free)
                    os.rename(each, moved, src_dir_fd=folder, dst_dir_fd=top)
                    waiting.append(moved)
                else:
                    os.unlink(each, dir_fd=folder)
    os.rmdir(name, dir_fd=top)


@contextlib.contextmanager
def _own_folder(name: str, parent: int) -> Iterator[int]:
    """A descriptor of a folder that is about to go, whatever mode somebody has given it."""
    if _is_folder(name, parent):
        os.chmod(name, 0o700, dir_fd=parent)
    opened = os.open(name, _DIRECTORY_FLAGS, dir_fd=parent)
    try:
        yield opened
    finally:
        os.close(opened)


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


@contextlib.contextmanager
def _noting(failed: list[OSError]) -> Iterator[None]:
    """Go on with what else there is; what somebody else was faster to remove is no failure."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        failed.append(error)


def _is_folder(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode)


async def hash_descriptor(descriptor: int, size: int) -> bytes:
    """SHA-256 of the first `size` octets of an open file, in pieces."""
    digest = hashlib.sha256()
    piece = bytearray(PIECE_BYTES)
    view = memoryview(piece)
    offset = 0
    while offset < size:
        got = os.preadv(descriptor, [view[: min(PIECE_BYTES, size - offset)]], offset)
        if got == 0:
            break  # shorter than it should be: the digest will not match
        digest.update(view[:got])
        offset += got
        await next_turn(0)
    return digest.digest()


async def place(
    partial: str,
    root: str,
    parts: Sequence[str],
    *,
    object_id: bytes,
    size: int,
    sha256: bytes,
    replace: bool,
    share: Callable[[str], bool] = lambda _: True,
) -> str:
    """Give the finished file `partial` its name under `root`; the name taken, relative to it.

    The file appears whole or not at all, and `partial` stays as a second link until the caller
    has committed: called again after a crash, it finds its own file and takes the same name.
    Without `replace` a name that another content has gets a number before its suffix; a file
    of the same name and content is kept as it is, unless what comes must not `share` it (a name
    relative to `root`).  Raises `OSError`.
    """
    where = parts[:-1]
    with open_directory(root, parts[:-1]) as parent:
        if replace:
            name = parts[-1]
            _link_over(partial, name, parent, object_id)
        else:

            async def same(candidate: str) -> bool:
                return share("/".join((*where, candidate))) and await _same_content(
                    candidate, parent, size, sha256
                )

            name = await _link_beside(partial, parts[-1], parent, object_id, same)
        os.fsync(parent)
    return "/".join((*where, name))


def withdraw(partial: str, root: str, parts: Sequence[str], object_id: bytes) -> None:
    """Take from the file `partial` each name that `place` may have given it.  Raises `OSError`, and
    `StoreError` when it has another one still: somebody has moved or linked it meanwhile."""
    if os.stat(partial).st_nlink == 1:
        return
    with contextlib.suppress(FileNotFoundError), open_directory(root, parts[:-1], make=False) as at:
        for name in (_temporary(object_id), *_candidates(parts[-1], object_id)):
            if _same_file(partial, name, at):
                os.unlink(name, dir_fd=at)
        os.fsync(at)
    if os.stat(partial).st_nlink > 1:
        raise StoreError(
            f"{'/'.join(parts)} has a name in clear that it was not given here; remove that "
            f"(`find {root} -samefile {partial}`), and this goes with the next start"
        )


def _link_over(partial: str, name: str, parent: int, object_id: bytes) -> None:
    if _same_file(partial, name, parent):
        return
    temporary = _temporary(object_id)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=parent)
    os.link(partial, temporary, dst_dir_fd=parent)
    try:
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError:
        os.unlink(temporary, dir_fd=parent)
        raise


def _temporary(object_id: bytes) -> str:
    return f".{object_id.hex()}"


async def _link_beside(
    partial: str,
    name: str,
    parent: int,
    object_id: bytes,
    same: Callable[[str], Awaitable[bool]],
) -> str:
    for candidate in _candidates(name, object_id):
        try:
            os.link(partial, candidate, dst_dir_fd=parent)
        except FileExistsError:
            if _same_file(partial, candidate, parent):
                return candidate
            if await same(candidate):
                return candidate
        else:
            return candidate
    raise OSError(errno.EEXIST, "every candidate name is taken", name)


def _candidates(name: str, object_id: bytes) -> Iterator[str]:
    yield name
    stem, suffix = os.path.splitext(name)
    room = PART_OCTETS_MAX - len(suffix.encode()) - 34
    stem = stem.encode()[: max(room, 0)].decode("utf-8", "ignore")
    for number in range(2, 2 + _NUMBERED_TRIES):
        yield f"{stem}-{number}{suffix}"
    yield f"{stem}-{object_id.hex()}{suffix}"


def _same_file(partial: str, name: str, parent: int) -> bool:
    try:
        there = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.stat(partial), there)


async def _same_content(name: str, parent: int, size: int, sha256: bytes) -> bool:
    try:
        descriptor = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=parent
        )
    except OSError:
        return False  # a link, or not ours to read: take another name
    try:
        there = os.fstat(descriptor)
        if not stat.S_ISREG(there.st_mode) or there.st_size != size:
            return False
        return await hash_descriptor(descriptor, size) == sha256
    finally:
        os.close(descriptor)
