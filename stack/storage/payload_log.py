"""Append-only files for the octets of bundles, beside the database that says what is where.

A batch of bundles is one `pwritev` and one fdatasync, and the database commit that refers to it
comes after: so whatever the database refers to is on the disk, and what a crash leaves behind the
last commit is referred to by nobody.  Such a tail needs no repair: after opening, the log goes on
in a new file.  A file is removed when no bundle in it is alive.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import OrderedDict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from stack.core.private import sync_directory
from stack.core.train import Buffer

_NAME: Final = re.compile(r"payload-(\d{10})\.log")
_VECTORS_MAX: Final = 1024
"""Buffers a `pwritev` may take (IOV_MAX of Linux)."""

_OPEN_MAX: Final = 64
"""Files kept open for reading: far below the usual limit of 1024 descriptors a process."""

_DSYNC: Final = getattr(os, "RWF_DSYNC", 0)


class PayloadLog:
    """The payload files of one store.  Not thread-safe: `append` belongs to the committing thread;
    `read` and `remove` to whoever holds the store's reading lock."""

    def __init__(self, directory: Path, segment_bytes: int, durable: bool) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._durable = durable
        self._sizes: dict[int, int] = {}
        self._segment = 0
        self._tail = 0
        self._recorded = 0
        self._fd = -1
        self.octets = 0
        """Octets in all files, dead ones included."""
        self._readers: OrderedDict[int, int] = OrderedDict()

    def adopt(self, alive: Collection[int], keep: bool) -> None:
        """Take over the files of an earlier run: remove those that nothing refers to (with `keep`,
        set them aside as `.lost`), and make sure never to write to one of them again.  One that
        cannot be removed stays until the next time: nothing needs it to be gone.  Raises
        `OSError`."""
        for path in sorted(self._directory.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match is None:
                continue
            segment = int(match[1])
            if segment in alive:
                self._sizes[segment] = path.stat().st_size
                self.octets += self._sizes[segment]
            else:
                with contextlib.suppress(OSError):
                    path.rename(path.with_suffix(".lost")) if keep else path.unlink()
            self._segment = max(self._segment, segment)
        self._segment = max(self._segment, *alive, 0) + 1

    def place(self) -> tuple[int, int]:
        """Segment and offset at which the next append will begin.  Changes nothing on disk."""
        if self._tail >= self._segment_bytes:
            self._seal()
        return self._segment, self._tail

    def append(self, buffers: Sequence[Buffer], octets: int) -> None:
        """Write `buffers`, `octets` together, at `place()`, and wait until they are durable.
        `keep` must follow once the database refers to them.  Raises `OSError`."""
        fresh = self._fd < 0
        if fresh:
            self._fd = os.open(
                self._path(self._segment), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
        one_call = self._durable and _DSYNC and len(buffers) <= _VECTORS_MAX
        written = os.pwritev(
            self._fd, buffers[:_VECTORS_MAX], self._tail, _DSYNC if one_call else 0
        )
        if written != octets:
            self._append_rest(buffers, written)
        if self._durable:
            if written != octets or not one_call:
                os.fdatasync(self._fd)
            if fresh:
                sync_directory(self._directory)

    def keep(self, octets: int, recorded: int = 0) -> None:
        """The last append is referred to: the next one goes behind it.  `recorded` octets of it
        are of no bundle, and do not count as dead."""
        self._tail += octets
        self._recorded += recorded
        self.octets += octets - recorded
        self._sizes[self._segment] = self._tail - self._recorded

    def seal(self) -> None:
        """Go on in another file, so that this one can be removed once nothing in it is alive."""
        if self._fd >= 0:
            self._seal()

    def abandon(self) -> None:
        """Something failed while appending: what the file holds behind its tail is unknown, so go
        on in another file.  Its name stays with the bundles in it."""
        if self._fd >= 0:
            if self._segment not in self._sizes:
                with contextlib.suppress(OSError):
                    self._path(self._segment).unlink()
            self._seal()

    def read(self, segment: int, start: int, size: int) -> bytes:
        """`size` octets, or fewer when the file ends.  Raises `OSError`."""
        fd = self._readers.get(segment)
        if fd is None:
            fd = os.open(self._path(segment), os.O_RDONLY | os.O_CLOEXEC)
            self._readers[segment] = fd
            if len(self._readers) > _OPEN_MAX:
                os.close(self._readers.popitem(last=False)[1])
        else:
            self._readers.move_to_end(segment)
        return os.pread(fd, size, start)

    def patch(self, segment: int, places: Sequence[int], octets: bytes) -> None:
        """Put single octets of a file right: in place, so that a crash on the way leaves each of
        them as wrong as it was or right.  Raises `OSError`."""
        fd = os.open(self._path(segment), os.O_WRONLY | os.O_CLOEXEC)
        try:
            for place, octet in zip(places, octets, strict=True):
                os.pwrite(fd, bytes((octet,)), place)
            if self._durable:
                os.fdatasync(fd)
        finally:
            os.close(fd)

    @property
    def active_octets(self) -> int:
        """Octets of bundles in the file that still takes more."""
        return self._tail - self._recorded

    def sealed_size(self, segment: int) -> int:
        """Octets in a file that takes no more, or 0 for the one that does."""
        return 0 if segment == self._segment else self._sizes.get(segment, 0)

    def remove(self, segment: int) -> None:
        """Delete a sealed file in which nothing is alive."""
        fd = self._readers.pop(segment, -1)
        if fd >= 0:
            os.close(fd)
        self.octets -= self._sizes.pop(segment, 0)
        # A file that cannot be deleted now is deleted when the store is opened next.
        with contextlib.suppress(OSError):
            self._path(segment).unlink()

    def close(self) -> None:
        """Close every file."""
        if self._fd >= 0:
            self._seal()
        while self._readers:
            os.close(self._readers.popitem()[1])

    def _seal(self) -> None:
        if self._fd >= 0:
            if not self._durable:
                with contextlib.suppress(OSError):
                    os.fdatasync(self._fd)
            os.close(self._fd)
        self._fd = -1
        self._segment += 1
        self._tail = self._recorded = 0

    def _append_rest(self, buffers: Sequence[Buffer], written: int) -> None:
        """The kernel took a part only: a large batch, or a disk that is getting full."""
        position = self._tail + written
        skip = written
        for buffer in buffers:
            view = memoryview(buffer)
            if skip >= len(view):
                skip -= len(view)
                continue
            view = view[skip:]
            skip = 0
            while view:
                count = os.pwrite(self._fd, view, position)
                position += count
                view = view[count:]

    def _path(self, segment: int) -> Path:
        return self._directory / f"payload-{segment:010d}.log"
