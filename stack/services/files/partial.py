"""An unfinished object on disk: its content, then a table with the checksum of each chunk.

The table costs four octets a chunk.  When the finished content does not match its digest, the
table tells which chunks were damaged, so that only those are asked for again.  It is dropped when
the object is complete and verified.
"""

from __future__ import annotations

import contextlib
import os
from asyncio import sleep as next_turn
from collections import OrderedDict
from collections.abc import Set
from pathlib import Path
from typing import Final

from stack.core.private import make_folder, sync_directory
from stack.core.train import Buffer
from stack.services.files.messages import chunk_count
from stack.services.files.paths import PARTIAL_DIRECTORY, hash_descriptor
from stack.services.files.state import InObject
from stack.wire.crc import crc32c

_CRC_BYTES: Final = 4
_OPEN_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class Partial:
    """An open partial file.  Every method may raise `OSError`."""

    def __init__(self, path: str, size: int, chunk_bytes: int) -> None:
        """Opens the file, made anew when it is missing."""
        self.path = path
        self._size = size
        self._chunk_bytes = chunk_bytes
        try:
            self._descriptor = os.open(path, _OPEN_FLAGS)
        except FileNotFoundError:
            self._descriptor = os.open(path, _OPEN_FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
            sync_directory(Path(path).parent)

    def write(self, offset: int, data: Buffer, crc: int) -> None:
        """Write one chunk and its checksum; durable after `sync`."""
        done = 0
        view = memoryview(data)
        while done < len(view):
            done += os.pwrite(self._descriptor, view[done:], offset + done)
        entry = self._size + offset // self._chunk_bytes * _CRC_BYTES
        os.pwrite(self._descriptor, crc.to_bytes(_CRC_BYTES, "big"), entry)

    def sync(self) -> None:
        """Make everything written so far durable."""
        os.fdatasync(self._descriptor)

    async def digest(self) -> bytes:
        """SHA-256 of the content as it is on disk."""
        return await hash_descriptor(self._descriptor, self._size)

    async def damaged(self) -> list[int]:
        """Numbers of the chunks that do not match their checksum."""
        bad = []
        for index in range(chunk_count(self._size, self._chunk_bytes)):
            start = index * self._chunk_bytes
            length = min(self._chunk_bytes, self._size - start)
            data = os.pread(self._descriptor, length, start)
            entry = os.pread(self._descriptor, _CRC_BYTES, self._size + index * _CRC_BYTES)
            if len(data) != length or crc32c(data).to_bytes(_CRC_BYTES, "big") != entry:
                bad.append(index)
            await next_turn(0)
        return bad

    @property
    def placed(self) -> bool:
        """Whether the file has a second name already: it must not be written any more."""
        return os.fstat(self._descriptor).st_nlink > 1

    @property
    def inode(self) -> int:
        """The number of the file, under whatever name."""
        return os.fstat(self._descriptor).st_ino

    def finish(self) -> None:
        """Drop the table and make the content durable."""
        os.ftruncate(self._descriptor, self._size)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the descriptor; the file stays."""
        os.close(self._descriptor)


class PartialFiles:
    """The directory of partial files, a bounded number of them open."""

    FILES_OPEN_MAX: Final = 64
    """More objects than that are seldom interleaved; descriptors are dear."""

    def __init__(self, root: str) -> None:
        """Makes the directory under `root`.  Raises `OSError`."""
        self._directory = os.path.join(root, PARTIAL_DIRECTORY)
        self._files: OrderedDict[str, Partial] = OrderedDict()
        make_folder(Path(self._directory))

    def reopen(self, obj: InObject) -> Partial:
        """The object's partial file, opened for the caller alone, who closes it."""
        return Partial(self.path(obj), obj.size, obj.chunk_bytes)

    def file(self, obj: InObject) -> Partial:
        """The object's open partial file; the one unused for longest is closed for it."""
        partial = self._files.get(obj.key)
        if partial is None:
            if len(self._files) >= self.FILES_OPEN_MAX:
                _, oldest = self._files.popitem(last=False)
                try:
                    oldest.sync()  # it may hold chunks whose records are yet to be committed
                finally:
                    oldest.close()
            partial = self._files[obj.key] = self.reopen(obj)
        self._files.move_to_end(obj.key)
        return partial

    def sync(self, obj: InObject) -> None:
        """Make what was written of an object durable."""
        partial = self._files.get(obj.key)
        if partial is not None:
            partial.sync()

    def path(self, obj: InObject) -> str:
        """Where the object's partial file lies, if there is one."""
        return os.path.join(self._directory, obj.key)

    def has(self, obj: InObject) -> bool:
        """Whether there is a partial file of the object."""
        return os.path.exists(self.path(obj))

    def remove(self, key: str) -> None:
        """Remove a partial file, if there is one."""
        partial = self._files.pop(key, None)
        if partial is not None:
            partial.close()
        with contextlib.suppress(OSError):  # left for `sweep` at the next start
            os.unlink(os.path.join(self._directory, key))

    def sweep(self, keys: Set[str]) -> None:
        """Remove every file but those of `keys`."""
        for name in os.listdir(self._directory):
            if name not in keys:
                self.remove(name)

    def close(self) -> None:
        """Close all files."""
        while self._files:
            self._files.popitem()[1].close()
