"""Files as the sender reads them: hashed once, then read chunk by chunk while unchanged."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from stack.core.arguments import check_kind, check_number
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.core.limits import LIFETIME_MS_MAX
from stack.policy import DataPolicy
from stack.ports.application import AppPort, Outgoing
from stack.ports.store import Write
from stack.services.files import messages
from stack.services.files.messages import chunk_head
from stack.services.files.paths import hash_descriptor, safe_name
from stack.services.files.state import SPACE_OUT, OutSpec
from stack.services.names import FILES, endpoint_of, service_of
from stack.wire.crc import crc32c

SPEC_KEY: Final = "spec/"
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not block us

OTHERS_MAX: Final = 10_000
"""What is no file in a folder that is walked through; each folder has to be opened."""


class SourceChanged(Exception):
    """The file is not any more what was offered."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An object ready to be sent, once `writes` have been committed (with whatever else belongs
    to the same transaction) and `FilesService.start` has been told."""

    spec: OutSpec
    writes: tuple[Write, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sending:
    """How an object is to be sent.  Raises `LocalError` for values out of range."""

    name: str
    priority: int
    lifetime_ms: int
    tag: str
    chunk_bytes: int
    policy: DataPolicy | None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_number("priority", self.priority, 0, messages.PRIORITY_MAX)
        check_number("lifetime_ms", self.lifetime_ms, 1, LIFETIME_MS_MAX)
        check_kind("tag", self.tag, str, "it takes a text")
        if len(self.tag) > messages.TAG_CHARS_MAX:
            raise LocalError(f"tag is longer than {messages.TAG_CHARS_MAX} characters")


def check_name(name: str) -> None:
    """Raise `LocalError`, with the true reason, when no object can be called so."""
    check_kind("name", name, str, "it takes a text")
    try:
        safe_name(name)
    except DecodeError as error:
        remedy = "rename the file, or give another name"
        raise LocalError(f"{name!r} cannot name an object: {error.reason} ({remedy})") from error


async def prepare(port: AppPort, path: str, destination: Eid, sending: Sending) -> Prepared:
    """Hash the file of an absolute path and make its spec; nothing is durable yet.  Raises
    `LocalError`, `PolicyError` and `SecurityError` for what could not be sent."""
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from error
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise LocalError(f"{path}: not a regular file")
        chunks = messages.chunk_count(before.st_size, sending.chunk_bytes)
        if before.st_size > messages.OBJECT_BYTES_MAX or chunks > messages.CHUNKS_MAX:
            raise LocalError(f"{path}: {chunks} chunks; use larger ones")
        _check_sending(port, destination, sending, before.st_size)
        sha256 = await hash_descriptor(descriptor, before.st_size)
        after = os.fstat(descriptor)
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise LocalError(f"{path}: changed while it was read")
    spec = OutSpec(
        object_id=port.entropy(messages.ID_BYTES),
        path=path,
        destination=endpoint_of(destination, FILES),
        name=sending.name,
        size=before.st_size,
        sha256=sha256,
        modified_ns=before.st_mtime_ns,
        chunk_bytes=sending.chunk_bytes,
        priority=sending.priority,
        tag=sending.tag,
        expires_ms=port.dtn_ms() + sending.lifetime_ms,
        admitted_ms=port.dtn_ms(),
        policy=sending.policy,
    )
    return Prepared(spec, (Write(SPACE_OUT, SPEC_KEY + spec.key, spec.encode()),))


def _check_sending(port: AppPort, destination: Eid, sending: Sending, size: int) -> None:
    """Chunks are made bundles when there is room for them, and nobody waits for an answer then:
    one of zeros shows before whether they can be."""
    chunk = bytes(min(size, sending.chunk_bytes))
    to, service = endpoint_of(destination, FILES), service_of(port.node_id, FILES)
    what = Outgoing(to, chunk, sending.lifetime_ms, service, sending.priority)
    port.check_sending(replace(what, policy=sending.policy))


def read_chunks(spec: OutSpec, indices: Sequence[int]) -> list[bytearray]:
    """Chunks as encoded messages.  Raises `OSError` or `SourceChanged`."""
    if not indices:
        return []
    descriptor = os.open(spec.path, _OPEN_FLAGS)
    try:
        there = os.fstat(descriptor)
        if (there.st_size, there.st_mtime_ns) != (spec.size, spec.modified_ns):
            raise SourceChanged("it has changed since it was offered")
        return [_read_chunk(descriptor, spec, index) for index in indices]
    finally:
        os.close(descriptor)


def _read_chunk(descriptor: int, spec: OutSpec, index: int) -> bytearray:
    """One chunk, read straight into its message: the content is never copied."""
    offset = index * spec.chunk_bytes
    length = min(spec.chunk_bytes, spec.size - offset)
    shape = (spec.object_id, spec.size, spec.chunk_bytes, offset)
    # The checksum stands before the data but is known after it; room for the longest head.
    longest = len(chunk_head(*shape, 0xFFFFFFFF, length))
    message = bytearray(longest + length)
    with memoryview(message)[longest:] as view:
        done = 0
        while done < length:
            got = os.preadv(descriptor, [view[done:]], offset + done)
            if got == 0:
                raise SourceChanged("it is shorter than it was")
            done += got
        crc = crc32c(view)
    head = chunk_head(*shape, crc, length)
    message[longest - len(head) : longest] = head
    if len(head) < longest:
        del message[: longest - len(head)]
    return message


def walk_folder(root: str, limit: int) -> Iterator[tuple[str, str]]:
    """Path and relative name of every regular file below `root`, in order of name.

    Symbolic links are not followed and special files are left out; so is a folder that has gone
    before its turn.  Raises `LocalError` for more than `limit` files, more than `OTHERS_MAX` of
    what is none, or a directory that cannot be read.
    """
    files = others = 0
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        found: list[os.DirEntry[str]] = []
        try:
            with os.scandir(os.path.join(root, inside)) as entries:
                for entry in entries:  # counted as they come: all could be too many to hold
                    if entry.is_file(follow_symlinks=False):
                        files += 1
                    else:
                        others += 1
                    if files > limit:
                        raise LocalError(f"{root}: more than {limit} files; send it in parts")
                    if others > OTHERS_MAX:
                        what = f"more than {OTHERS_MAX} folders, links and special files"
                        raise LocalError(f"{root}: {what}; send it in parts")
                    found.append(entry)
        except FileNotFoundError as error:
            if not inside:
                raise LocalError(f"{root}: {error.strerror}") from error
        except OSError as error:
            raise LocalError(f"{os.path.join(root, inside)}: {error.strerror}") from error
        folders = []
        for entry in sorted(found, key=lambda entry: entry.name):
            name = f"{inside}/{entry.name}" if inside else entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(name)
            elif entry.is_file(follow_symlinks=False):
                yield entry.path, name
        waiting.extend(reversed(folders))
