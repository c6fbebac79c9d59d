"""An unfinished object on disk: its content, then a table with the checksum of each chunk.

The table costs four octets a chunk.  When the finished content does not match its digest, the
table tells which chunks were damaged, so that only those are asked for again.  It is dropped when
the object is complete and verified.
"""

from __future__ import annotations

import contextlib
import os
from asyncio import sleep as next_turn
from typing import Final

from stack.core.train import Buffer
from stack.services.files.messages import chunk_count
from stack.services.files.paths import hash_descriptor
from stack.wire.crc import crc32c

_CRC_BYTES: Final = 4


class Partial:
    """An open partial file.  All methods but `exists` may raise `OSError`."""

    def __init__(self, path: str, size: int, chunk_bytes: int) -> None:
        """Opens the file, made anew when it is missing."""
        self.path = path
        self._size = size
        self._chunk_bytes = chunk_bytes
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

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

    def finish(self) -> None:
        """Drop the table and make the content durable."""
        os.ftruncate(self._descriptor, self._size)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the descriptor; the file stays."""
        os.close(self._descriptor)

    def discard(self) -> None:
        """Close and remove the file."""
        self.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
