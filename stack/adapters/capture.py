"""Capture files on disk: written apart from whoever is captured, in bounds, for their owner alone.

A file that has grown to its limit becomes the one before (`pass.pcapng`, `pass.1.pcapng`), in the
place of the one that was there, and a new one begins.  A disk that is full ends the capture.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from stack.core import pcapng
from stack.core.errors import ConfigError, LocalError
from stack.core.private import opener
from stack.ports.capture import CAPTURE_BYTES

WAITING_BYTES_MAX: Final = 64 * 1024 * 1024
"""Octets that wait to be written; what comes on top of them is left out."""

WAITING_EACH: Final = 512
"""Octets of memory that whatever waits takes beside its own."""

CHUNK_BYTES: Final = 256 * 1024
"""Octets that are written together."""

FLUSH_S: Final = 0.1
"""Time between two looks at what waits.  To be woken for each datagram would cost more."""

FREE_BYTES_MIN: Final = 64 * 1024 * 1024
"""What a capture leaves of the disk: a store may be there too."""

KEYS_BYTES: Final = 256 * 1024
"""Octets of a key log that a capture has room for: those of 250 connections or more."""

CLOSE_S: Final = 10.0
"""Time that a disk which hangs has, in the end."""


class CaptureFile:
    """A `stack.ports.capture.CaptureSink` that is a file."""

    def __init__(
        self,
        path: Path,
        *,
        limit_bytes: int = CAPTURE_BYTES,
        inline: bool = False,
        key_log: Path | None = None,
        tell: Callable[[str], None] | None = None,
        key: str = "",
    ) -> None:
        """Begin a file; one of this name becomes the one before.  `inline` writes at once, without
        a thread, which virtual time needs.  `key_log` is the file of TLS keys that somebody writes
        meanwhile: they go to the begin of the capture.  `tell` hears why the capture
        has ended early, in that thread.  Raises `ConfigError`, for the configuration's `key`."""
        self.path = path
        self._limit_bytes = limit_bytes
        self._tell = tell
        self._keys = None if key_log is None else KeyLog(key_log)
        self._waiting: deque[tuple[int, int, Callable[[], bytes]]] = deque()
        self._interfaces = 0
        # Each of these is changed by one thread: who puts, or who writes.
        self._put_bytes = self._refused = 0
        self._taken_bytes = self._failed = self._packets = self._bytes = 0
        self._trouble = ""
        self._head: list[bytes] = []
        self._file_bytes = 0
        self._holds_packets = False
        self._closed = False
        try:
            self._open()
        except OSError as error:
            remedy = "give the path of a file that can be written"
            raise ConfigError(key or str(path), _words(error, path), remedy) from None
        self._end = threading.Event()
        self._writer: threading.Thread | None = None
        self.announce(pcapng.section())
        if self._keys is not None:
            self.announce(self._keys.block())
        if not inline:
            self._writer = threading.Thread(target=self._write_on, name="capture", daemon=True)
            self._writer.start()

    # ---- who is captured -------------------------------------------------------------------

    def announce(self, block: bytes) -> None:
        """See `CaptureSink.announce`."""
        self.put(len(block), 0, lambda: block)

    def interface(self, name: str, linktype: int = pcapng.LINKTYPE_RAW) -> int:
        """See `CaptureSink.interface`."""
        self.announce(pcapng.interface(name, linktype))
        self._interfaces += 1
        return self._interfaces - 1

    def put(self, octets: int, packets: int, make: Callable[[], bytes]) -> None:
        """See `CaptureSink.put`."""
        if self._closed or self._trouble:
            self._refused += packets
            return
        octets += WAITING_EACH
        if packets and self._put_bytes - self._taken_bytes + octets > WAITING_BYTES_MAX:
            self._refused += packets
            return
        self._put_bytes += octets
        self._waiting.append((octets, packets, make))
        if self._writer is None:
            self._drain()

    def statistics(self) -> dict[str, Any]:
        """See `CaptureSink.statistics`."""
        return {
            "path": str(self.path),
            "packets": self._packets,
            "bytes": self._bytes,
            "left_out": self._refused + self._failed,
            "trouble": self._trouble,
        }

    def close(self) -> None:
        """See `CaptureSink.close`: what waits is written first."""
        if self._closed:
            return
        self._closed = True
        self._end.set()
        if self._writer is not None:
            self._writer.join(CLOSE_S)
            if self._writer.is_alive():
                return  # its disk hangs, and the file is its
        self._file.close()

    # ---- who writes ------------------------------------------------------------------------

    def _write_on(self) -> None:
        while not self._end.wait(FLUSH_S):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        """Write what waits."""
        chunk: list[bytes] = []
        size = count = 0
        while self._waiting:
            octets, packets, make = self._waiting.popleft()
            self._taken_bytes += octets
            try:
                blocks = b"" if self._trouble else make()
            except LocalError:  # it has no place in a packet of this kind
                blocks = b""
            if not packets:
                self._write(chunk, size, count)
                self._write([blocks], len(blocks), 0)
                self._head.append(blocks)  # each file that follows begins with it
                chunk, size, count = [], 0, 0
            elif not blocks:
                self._failed += packets
            else:
                chunk.append(blocks)
                size += len(blocks)
                count += packets
                if size >= CHUNK_BYTES:
                    self._write(chunk, size, count)
                    chunk, size, count = [], 0, 0
        self._write(chunk, size, count)
        if self._keys is not None and len(self._head) > 1 and self._keys.grown():
            self._renew_keys(self._keys.block())

    def _renew_keys(self, block: bytes) -> None:
        """Put keys where there has been room for them from the begin: who reads the file needs them
        before the packets, also when they were told later."""
        section, _, *rest = self._head
        self._head = [section, block, *rest]
        if self._file_bytes and not self._trouble:
            try:
                os.pwrite(self._file.fileno(), block, len(section))
            except OSError as error:
                self._fail(error)

    def _write(self, chunk: list[bytes], size: int, packets: int) -> None:
        """Write blocks of `size` octets, whole or not at all."""
        if not size:
            return
        try:
            if self._trouble:
                raise OSError(self._trouble)
            if self._holds_packets and self._file_bytes + size > self._limit_bytes:
                self._file.close()
                self._open()
            self._append(b"".join(chunk))
            self._packets += packets
            self._holds_packets = self._holds_packets or packets > 0
        except OSError as error:
            self._failed += packets
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Nothing more is written."""
        if not self._trouble:
            self._trouble = error.strerror or str(error)
            if self._tell is not None:
                self._tell(self._trouble)

    def _open(self) -> None:
        """Begin a file, and keep the one that was there.  Raises `OSError`."""
        path = self.path
        self._special = path.exists() and not path.is_file()  # a device
        if path.is_dir() or path.is_fifo():
            raise OSError("is no file")
        if path.exists() and not self._special:
            path.replace(before(path))
        self._file = open(path, "wb" if self._special else "xb", buffering=0, opener=opener)  # noqa: SIM115
        self._file_bytes = 0
        self._holds_packets = False

    def _append(self, octets: bytes) -> None:
        """All of it, or nothing; raises `OSError`."""
        if not self._file_bytes:
            octets = b"".join((*self._head, octets))
        if not self._special:
            room = os.fstatvfs(self._file.fileno())
            if room.f_bavail * room.f_frsize < FREE_BYTES_MIN + len(octets):
                raise OSError(errno.ENOSPC, "hardly any room is left on its disk")
        view = memoryview(octets)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            if not self._special:
                self._file.truncate(self._file_bytes)
            raise
        self._file_bytes += len(octets)
        self._bytes += len(octets)


class KeyLog:
    """A TLS key log (SSLKEYLOGFILE) that somebody else writes, line by line."""

    def __init__(self, path: Path) -> None:
        """It need not be there yet."""
        self._path = path
        self._lines = b""

    def grown(self) -> bool:
        """Whether whole lines have come since the last time."""
        begin = len(self._lines)
        try:
            if self._path.stat().st_size <= begin or begin >= KEYS_BYTES:
                return False
            with self._path.open("rb") as file:
                file.seek(begin)
                found = file.read(KEYS_BYTES - begin)
        except OSError:
            return False
        self._lines += found[: found.rfind(b"\n") + 1]
        return len(self._lines) > begin

    def block(self) -> bytes:
        """All of them as a block, of the same size each time: what is left of it is a comment."""
        rest = b"#" * (KEYS_BYTES - len(self._lines))
        return pcapng.secrets(self._lines + rest)


def before(path: Path) -> Path:
    """Where the file before this one is: `pass.1.pcapng` of `pass.pcapng`."""
    return path.with_name(f"{path.stem}.1{path.suffix}")


def _words(error: OSError, path: Path) -> str:
    return f"{path}: {error.strerror or error}"
