"""What a process that was started here takes: memory, handles, processor, disk, sessions."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interop.fuzzing.reaction import Reaction
from stack.core.errors import ConfigError

HANDLES_GROWTH: Final = 256
"""Files and sockets more than at first that a target may hold."""

SESSIONS_GROWTH: Final = 1_000
"""Sessions more than at first that it may hold open."""

BUSY_S: Final = 0.1
"""So long nothing is sent to a target that was busy all the time, to see whether it rests."""

BUSY_SHARE: Final = 0.9
"""Of a processor: what takes so much is busy."""

DISK_SHARE: Final = 50
"""The looks at its files take one part of so many of the time."""

ENTRIES_MAX: Final = 5_000
"""Files of its working folder that are looked at."""

PROCESSES_MAX: Final = 100

TOLD_S: Final = 3.0
"""A command that tells of sessions takes no longer."""


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """What a process takes."""

    memory_bytes: int = 0
    handles: int = 0
    cpu_s: float = 0.0

    def __add__(self, other: ProcessUsage) -> ProcessUsage:
        return ProcessUsage(
            self.memory_bytes + other.memory_bytes,
            self.handles + other.handles,
            self.cpu_s + other.cpu_s,
        )


@dataclass(frozen=True, slots=True)
class GrowthBounds:
    """By how much a target that was started may grow."""

    memory_bytes: int
    disk_bytes: int
    tell: tuple[str, ...] = ()
    """A command that prints how many sessions the target holds open, if there is one."""


class Watch:
    """Looks at a process, and compares with what it took at first."""

    def __init__(self, pid: int, bounds: GrowthBounds) -> None:
        self._pid = pid
        self._bounds = bounds
        self._first = usage(pid)
        self._busy = time.monotonic(), self._first.cpu_s
        """When it was last looked at, and the processor time that it had taken."""

        self._disk = FolderSize(working_folder(pid))
        self._sessions_first: int | None = None

    def grown(self) -> Reaction | None:
        """Growth, if it holds much more than at first."""
        now, first, bounds = usage(self._pid), self._first, self._bounds
        if now.memory_bytes - first.memory_bytes > bounds.memory_bytes:
            words = f"memory from {first.memory_bytes:,} to {now.memory_bytes:,} octets"
            return Reaction("growth", words, "memory")
        if now.handles - first.handles > HANDLES_GROWTH:
            words = f"open files and sockets from {first.handles} to {now.handles}"
            return Reaction("growth", words, "handles")
        if self._is_busy(now):
            words = f"busy for {BUSY_S:g} s while nothing was sent to it"
            return Reaction("growth", words, "processor")
        written = self._disk.grown()
        if written > bounds.disk_bytes:
            words = f"files of {self._disk.folder} by {written:,} octets"
            return Reaction("growth", words, "disk")
        return self._sessions()

    def _is_busy(self, now: ProcessUsage) -> bool:
        """Whether it works although it has nothing to do: it is left alone only if it has been busy
        since it was last looked at."""
        at, (before, cpu_s) = time.monotonic(), self._busy
        self._busy = at, now.cpu_s
        if now.cpu_s - cpu_s < BUSY_SHARE * max(at - before, BUSY_S):
            return False
        time.sleep(BUSY_S)
        after = usage(self._pid)
        took_s = time.monotonic() - at
        self._busy = at + took_s, after.cpu_s
        return after.cpu_s - now.cpu_s >= BUSY_SHARE * took_s

    def _sessions(self) -> Reaction | None:
        """Growth, if the target tells of many more sessions than at first."""
        if not self._bounds.tell:
            return None
        try:
            told = subprocess.run(  # noqa: S603 - the command is the user's own
                self._bounds.tell, capture_output=True, timeout=TOLD_S, check=True
            ).stdout
            count = int(told.split()[-1])
        except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
            raise ConfigError("--sessions", f"tells no number: {error}") from None
        first = self._sessions_first
        if first is None:
            first = self._sessions_first = count
        if count - first <= SESSIONS_GROWTH:
            return None
        return Reaction("growth", f"open sessions from {first:,} to {count:,}", "sessions")


def usage(pid: int) -> ProcessUsage:
    """What a process takes now, with all that it started; zeros where the system does not tell."""
    found, left, seen = ProcessUsage(), [pid], 0
    while left and seen < PROCESSES_MAX:
        folder = Path("/proc") / str(left.pop())
        seen += 1
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int((folder / "statm").read_text().split()[1])
            ticks = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
            found += ProcessUsage(
                pages * os.sysconf("SC_PAGE_SIZE"),
                len(os.listdir(folder / "fd")),
                sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"),
            )
            for children in folder.glob("task/*/children"):
                left += map(int, children.read_text().split())
    return found


class FolderSize:
    """What the files of a folder take, looked at now and then: of large folders a part."""

    def __init__(self, folder: str = "") -> None:
        self.folder = folder
        self._due_s = 0.0
        self._first = self._look() if folder else 0

    def grown(self) -> int:
        """Octets more than at first; 0 when it is not yet time to look."""
        if not self.folder or time.monotonic() < self._due_s:
            return 0
        return self._look() - self._first

    def _look(self) -> int:
        begin = time.monotonic()
        found = 0
        for path in itertools.islice(_files(self.folder), ENTRIES_MAX):
            with contextlib.suppress(OSError):
                found += os.lstat(path).st_blocks * 512
        end = time.monotonic()
        self._due_s = end + DISK_SHARE * (end - begin)
        return found


def _files(folder: str) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        yield from (os.path.join(place, name) for name in names)


def working_folder(pid: int) -> str:
    """Of a process; "" where the system does not tell."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""
