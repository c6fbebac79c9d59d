"""What services have on disk in clear goes when its data policy ends, and its end is written down.

A record of it is durable before an application hears of it, so that a node that was off, or was
killed at any moment, erases at its next start what had to go meanwhile.  What is on disk goes
first, and the record after that, together with the event in the node's log: erasing is repeated
until both are done.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack.audit.event import Act
from stack.policy import DataPolicy
from stack.ports.application import AppPort, Happening
from stack.services.batch import Batch, each_due, records
from stack.services.codec import decode, encode
from stack.services.files.inbox import Inbox
from stack.services.files.paths import open_directory, remove_folder
from stack.services.files.state import FileEvent, Progress, Received
from stack.services.policies import VERSION, label, take_policy
from stack.services.waiting import NamedTimers

SPACE_ERASE: Final = "files.erase"
RETRY_S: Final = 60.0
"""A disk that does not let go of a file is asked again after that."""

ENDED: Final = "its data policy has ended"
REPLACED: Final = "another took its place"
_RECORD_OCTETS_MAX: Final = 65_536
_INODE_MAX: Final = (1 << 64) - 1
_SECTION: Final = "durable record of what is to be erased"


@dataclass(frozen=True, slots=True)
class Erasable:
    """A file, or a folder with what is in it, that is under a policy.  Its key is its path,
    relative to the directory of the service."""

    path: str
    name: str
    """What it is called in the node's log."""

    policy: DataPolicy
    received: Received | None = None
    """The object that it is, if it came as one."""

    inode: int = 0
    """The number of its file, so that what others put in its place stays; 0: whatever lies there.
    The device is left out: its number may change when the machine starts anew."""

    def encode(self) -> bytes:
        """The durable record."""
        received = b"" if self.received is None else self.received.encode()
        return encode((VERSION, self.name, received, label(self.policy), self.inode))

    @staticmethod
    def decode(key: str, data: bytes) -> Erasable:
        """Read a durable record.  Raises `DecodeError`."""
        fields = decode(data, _SECTION)
        version = fields.uint(VERSION, 1)
        name = fields.text(_RECORD_OCTETS_MAX)
        octets = bytes(fields.view(_RECORD_OCTETS_MAX))
        policy = take_policy(fields, version)
        inode = fields.uint(_INODE_MAX) if version > 3 else 0
        fields.end()
        if policy is None:
            raise fields.fail("without a policy")
        received = Received.decode(name.rpartition(":")[2], octets) if octets else None
        return Erasable(key, name, policy, received, inode)


class Erasures:
    """All that lies under `root` in clear and under a policy, and when it has to go."""

    def __init__(
        self,
        port: AppPort,
        root: str,
        lock: asyncio.Lock,
        emit: Callable[[FileEvent], None],
        choose_inbox: Callable[[str], Inbox],
    ) -> None:
        self._port = port
        self._root = Path(root)
        self._lock = lock
        self._emit = emit
        self._choose_inbox = choose_inbox
        self._timers = NamedTimers(port)
        self._kept: dict[str, Erasable] = {}
        for kept in records(port, "files", SPACE_ERASE, Erasable.decode):
            self._arm(kept)
            if not kept.policy.expires_ms and not os.path.lexists(self._root / kept.path):
                self.erase(self._root / kept.path)  # killed before that was written down

    def _arm(self, kept: Erasable) -> None:
        self._kept[kept.path] = kept
        if kept.policy.expires_ms:
            self._timers.arm_at(("erase", kept.path), kept.policy.expires_ms)

    def keep(self, kept: Erasable, batch: Batch, detail: str) -> None:
        """Something comes to lie there, in place of what was there before."""
        self._replaced(kept.path, batch)
        batch.tells.append(Happening(Act.MADE | Act.STORED, kept.name, detail, kept.policy))
        batch.write(SPACE_ERASE, kept.path, kept.encode())
        batch.after(lambda: self._arm(kept))

    def keeps(self, path: str) -> bool:
        """Whether what lies at a path relative to the directory has to go one day."""
        return path in self._kept

    def placed(self, path: str, received: Received, inode: int, batch: Batch) -> None:
        """An object has been put there, as the file of this number."""
        policy = received.policy
        if policy is not None and policy.expires_ms:
            words = f"{received.name} from {received.source.node}"
            self.keep(Erasable(path, f"file:{received.key}", policy, received, inode), batch, words)
        else:
            self._replaced(path, batch)

    def _replaced(self, path: str, batch: Batch) -> None:
        """What lay there gives way to something else."""
        before = self._kept.pop(path, None)
        if before is not None:
            self._timers.cancel(("erase", path))
            self._forget(before, REPLACED, batch)

    def erase(self, path: Path) -> bool:
        """Let what lies there go soon, if it is kept; whether it is."""
        key = self.key(path)
        kept = key in self._kept
        if kept:
            self._timers.arm(("erase", key), self._port.now())
        return kept

    def key(self, path: Path) -> str:
        """The key of what lies at a path."""
        return path.relative_to(self._root).as_posix()

    async def tick(self) -> None:
        """Erase what is due, until cancelled."""
        await each_due(self._port, self._lock, self._timers, self._due)

    def _due(self, kind: str, path: str, batch: Batch) -> None:
        kept = self._kept.get(path)
        if kept is None:
            return
        ended = 0 < kept.policy.expires_ms <= self._port.dtn_ms()
        try:
            mine = remove(self._root, path, kept.inode)
        except OSError as error:
            self._port.trace("files.not_erased", {"path": path, "error": str(error)})
            self._timers.arm_in((kind, path), RETRY_S)
            return
        why = ENDED if ended else ""
        self._forget(kept, why if mine else REPLACED, batch)
        if kept.received is not None:
            self._choose_inbox(kept.received.tag).drop(kept.received, batch)
        batch.after(lambda: self._gone(kept, ended))

    def _forget(self, kept: Erasable, why: str, batch: Batch) -> None:
        batch.tells.append(Happening(Act.DELETED, kept.name, why, kept.policy))
        batch.write(SPACE_ERASE, kept.path, None)

    def _gone(self, kept: Erasable, ended: bool) -> None:
        if self._kept.get(kept.path) is kept:
            del self._kept[kept.path]
        if ended and (received := kept.received) is not None:
            progress = Progress(
                received.object_id,
                received.source,
                received.name,
                direction="in",
                state="erased",
                open=False,
                bytes_done=0,
                bytes_total=received.size,
                rate_bytes_s=0.0,
                text=ENDED,
            )
            self._emit(FileEvent("erased", progress))


def remove(root: Path, path: str, inode: int = 0) -> bool:
    """Remove a file, or a folder with all that is in it, durably; nothing when it is not there.
    Links are removed, not followed.  Whether nothing lies there now: what is under a link, or has
    not the number `inode` if that is given, is not ours, and stays.  Raises `OSError`."""
    *parents, name = path.split("/")
    with contextlib.ExitStack() as opened:
        try:
            parent = opened.enter_context(open_directory(str(root), parents, make=False))
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            return False
        with contextlib.suppress(FileNotFoundError):
            there = os.lstat(name, dir_fd=parent)
            if inode and there.st_ino != inode:
                return False
            if stat.S_ISDIR(there.st_mode):
                remove_folder(name, parent)
            else:
                os.unlink(name, dir_fd=parent)
        os.fsync(parent)
    return True
