"""The file service of a node: sender, receiver, inboxes, and the loop that feeds them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from stack.core.arguments import check_kind, check_number, eid_of, id_of, path_of
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.core.private import make_folder
from stack.policy import DataPolicy
from stack.ports.application import AppPort, Delivery
from stack.services.batch import Batch, attempt, records, transaction
from stack.services.files import messages
from stack.services.files.config import FilesConfig
from stack.services.files.erasures import Erasures
from stack.services.files.inbox import Inbox, Place, place_by_name
from stack.services.files.ledger import Ledger
from stack.services.files.partial import PartialFiles
from stack.services.files.policy import Accepts, Policy, accept_all
from stack.services.files.receiver import FileReceiver
from stack.services.files.sender import FileSender
from stack.services.files.source import Prepared, Sending, check_name, prepare, walk_folder
from stack.services.files.state import SPACE_INBOX, FileEvent, InObject, Progress, Received
from stack.services.files.verifier import Verifier
from stack.services.names import FILES, service_of
from stack.services.policies import check


def ignore_event(event: FileEvent) -> None:
    """The listener that does nothing."""


def _absolute(path: Path) -> str:
    return os.path.abspath(path)


def _named(path: Path, base: str, limit: int) -> dict[str, Path]:
    """The files below a folder by the names that they get."""
    check_kind("name", base, str, "it takes a text, which may be empty")
    found = {
        f"{base}/{relative}" if base else relative: Path(file)
        for file, relative in walk_folder(str(path), limit)
    }
    for wanted in found:
        check_name(wanted)
    return found


class FilesService:
    """Sends and receives files of any size.

        files = FilesService(port, Path("incoming"))
        async with files:
            await files.send("scene.tif", "dtn://sat1/")
            async for received in files.inbox:
                print(received.name, received.path)

    Everything survives the end of the process at any moment.  Received files are put under
    `directory`, which must lie on one file system that has hard links.  `on_event` is called after
    each durable change; it must be quick.
    """

    def __init__(
        self,
        port: AppPort,
        directory: Path,
        config: FilesConfig | None = None,
        *,
        accepts: Accepts = accept_all,
        on_event: Callable[[FileEvent], None] = ignore_event,
    ) -> None:
        """Registers the service.  Raises `LocalError` when it is taken, `OSError` when
        `directory` cannot be made."""
        self._port = port
        self._config = config or FilesConfig()
        self._root = os.path.abspath(directory)
        make_folder(Path(self._root))
        self._lock = asyncio.Lock()
        self._listeners = [on_event]
        self._policy = policy = Policy(self._config, self._root, accepts)
        self.inbox = Inbox(port, "", place_by_name, policy.objects)
        """Objects that no other inbox asked for."""

        self._inboxes = [self.inbox]
        self._partials = PartialFiles(self._root)
        places = (self._root, self._choose_inbox)
        self._ledger = Ledger(port, self._config, policy, self._partials, self._emit, *places)
        erasures = Erasures(port, self._root, self._lock, self._emit, self._choose_inbox)
        self.erasures = erasures
        """What lies under `directory` and goes when its data policy ends."""

        queue: asyncio.Queue[InObject] = asyncio.Queue()
        shared = (self._ledger, self._partials)
        self._receiver = FileReceiver(
            port, self._config, self._lock, *shared, policy, self._choose_inbox, queue
        )
        self._verifier = Verifier(
            port, self._root, self._config, self._lock, *shared, self._choose_inbox, queue, erasures
        )
        self._sender = FileSender(port, self._config, self._lock, self._emit)
        self._endpoint = port.register(service_of(port.node_id, FILES))
        self._task: asyncio.Task[None] | None = None
        self._started = False
        self.malformed = 0
        """Bundles that were no message of this service."""

    @property
    def directory(self) -> Path:
        """Where received files are put."""
        return Path(self._root)

    # -- sending

    async def send(
        self,
        path: str | Path,
        destination: Eid | str,
        *,
        name: str | None = None,
        priority: int = 1,
        lifetime_ms: int | None = None,
        tag: str = "",
        chunk_bytes: int | None = None,
        policy: DataPolicy | None = None,
        wait_for_path: bool = False,
    ) -> bytes:
        """Send a file to the node of `destination`; returns its object id once that is durable.

        The file must stay as it is until the object is closed (see `wait`).  `name` is what the
        receiver calls it, its base name by default.  Of `priority` 0 to 3 larger goes first, and
        after `lifetime_ms` milliseconds the object expires.  `policy` says who may read, hold and
        carry it; what it leaves no path for in time is refused, unless it is to `wait_for_path`.
        Raises `LocalError` for what cannot be sent or is no argument of this call, `PolicyError`
        for what `policy` forbids, `SecurityError` without a key, `StoreError` without room.
        """
        prepared = await self.prepare(
            path,
            destination,
            name=name,
            priority=priority,
            lifetime_ms=lifetime_ms,
            tag=tag,
            chunk_bytes=chunk_bytes,
            policy=policy,
            wait_for_path=wait_for_path,
        )
        await self._port.commit(write=prepared.writes)
        self.start(prepared)
        return prepared.spec.object_id

    async def send_folder(
        self,
        path: str | Path,
        destination: Eid | str,
        *,
        name: str | None = None,
        priority: int = 1,
        lifetime_ms: int | None = None,
        policy: DataPolicy | None = None,
        wait_for_path: bool = False,
    ) -> list[bytes]:
        """Send every regular file below a folder, each as an object named
        ``name/relative/path``; their ids.  Symbolic links and empty folders are left out.

        All names are judged before any file is read, and all files are read before any is sent.
        Raises `LocalError` and what else `send` does, and then nothing is sent.
        """
        path = path_of("path", path)
        destination = eid_of("destination", destination)
        found = _named(path, path.name if name is None else name, self._config.folder_files_max)
        if why := self._sender.refusal(destination, len(found)):
            raise LocalError(f"{len(found)} more objects: {why}")
        prepared = [
            await self.prepare(
                file,
                destination,
                name=wanted,
                priority=priority,
                lifetime_ms=lifetime_ms,
                policy=policy,
                wait_for_path=wait_for_path,
            )
            for wanted, file in found.items()
        ]
        await self._port.commit(write=[write for one in prepared for write in one.writes])
        for one in prepared:
            self.start(one)
        return [one.spec.object_id for one in prepared]

    async def prepare(
        self,
        path: str | Path,
        destination: Eid | str,
        *,
        name: str | None = None,
        priority: int = 1,
        lifetime_ms: int | None = None,
        tag: str = "",
        chunk_bytes: int | None = None,
        policy: DataPolicy | None = None,
        wait_for_path: bool = True,
    ) -> Prepared:
        """Hash a file, so that sending it can be part of the caller's transaction: commit
        `writes` of the result, then call `start` with it.  Raises `LocalError`, `PolicyError`,
        `SecurityError`."""
        path = path_of("path", path)
        destination = eid_of("destination", destination)
        if why := self._sender.refusal(destination):
            raise LocalError(f"one more object: {why}")
        lifetime_ms = self._config.lifetime_ms if lifetime_ms is None else lifetime_ms
        chunk_bytes = self._config.chunk_bytes if chunk_bytes is None else chunk_bytes
        check_number("chunk_bytes", chunk_bytes, messages.CHUNK_BYTES_MIN, self._config.batch_bytes)
        sending = Sending(
            name=path.name if name is None else name,
            priority=priority,
            lifetime_ms=lifetime_ms,
            tag=tag,
            chunk_bytes=chunk_bytes,
            policy=policy,
        )
        check(self._port, destination, policy, lifetime_ms, priority, wait=wait_for_path)
        return await prepare(self._port, _absolute(path), destination, sending)

    def start(self, prepared: Prepared) -> None:
        """Begin to send what was prepared and committed."""
        self._sender.start(prepared)

    async def cancel(self, object_id: bytes) -> bool:
        """Give up sending an object, and tell the receiver; whether it was under way.  Raises
        `LocalError` for what is no id."""
        return await self._sender.cancel(id_of("object_id", object_id))

    async def abandon(self, source: Eid | str, object_id: bytes) -> bool:
        """Give up receiving an object, and tell its sender; whether it was under way.  Raises
        `LocalError` for what is no EID or no id."""
        object_id = id_of("object_id", object_id)
        return await self._receiver.abandon(eid_of("source", source), object_id)

    async def wait(self, object_id: bytes) -> Progress:
        """Wait until an object that is sent from here has been delivered or has failed.  Raises
        `LocalError` when it is not known (any more)."""
        return await self._sender.wait(id_of("object_id", object_id))

    # -- looking

    def progress(self, object_id: bytes) -> Progress | None:
        """How far an object sent from here is, or None when it is not known (any more).  Raises
        `LocalError` for what is no id."""
        return self._sender.progress(id_of("object_id", object_id))

    def foresee(self) -> None:
        """Ask the contact plan when what is sent from here will be there: `Progress.expected` of
        open objects is of the last time that this was called (10 s old at most, then)."""
        self._sender.foresee()

    def all_progress(self) -> Iterator[Progress]:
        """How far every known object is, both ways."""
        yield from self._sender.all_progress()
        yield from self._ledger.all_progress()

    def listen(self, listener: Callable[[FileEvent], None]) -> None:
        """Call `listener` for each event, beside `on_event`."""
        self._listeners.append(listener)

    def subscribe(self, prefix: str, place: Place) -> Inbox:
        """An inbox for objects whose tag begins with `prefix` (the longest one that fits); before
        the service runs.  Raises `LocalError` later, or when the prefix is taken."""
        if self._started or any(inbox.prefix == prefix for inbox in self._inboxes):
            raise LocalError(f"inbox {prefix!r} is taken, or the service runs already")
        inbox = Inbox(self._port, prefix, place, self._policy.objects)
        self._inboxes.append(inbox)
        return inbox

    # -- running

    async def run(self) -> None:
        """Work until cancelled."""
        self._load()
        try:
            async with asyncio.TaskGroup() as group:
                for loop in (self._sender.pump, self._sender.tick, self._receiver.tick):
                    group.create_task(loop())
                group.create_task(self.erasures.tick())
                group.create_task(self._verifier.run())
                group.create_task(self._receive())
        finally:
            self._endpoint.close()
            self._partials.close()

    async def __aenter__(self) -> FilesService:
        self._load()
        self._task = asyncio.get_running_loop().create_task(self.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _load(self) -> None:
        if self._started:
            return
        self._started = True
        self._receiver.load()
        for received in records(self._port, "files", SPACE_INBOX, Received.decode):
            self._choose_inbox(received.tag).put(received)

    async def _receive(self) -> None:
        while True:
            deliveries = await self._endpoint.receive_many(self._config.receive_batch)
            async with transaction(self._port, self._lock) as batch:
                batch.each(self._port, deliveries, partial(self._handle, batch=batch))
                self._receiver.finish_batch(batch)

    def _handle(self, delivery: Delivery, batch: Batch) -> None:
        if delivery.admin:
            return
        source = delivery.id.source
        try:
            message = messages.decode_message(delivery.payload)
        except DecodeError as error:
            self.malformed += 1
            self._port.trace("files.malformed", {"source": str(source), "error": str(error)})
            return
        match message:
            case messages.Chunk():
                self._receiver.on_chunk(delivery, message, batch)
            case messages.Offer():
                self._receiver.on_offer(delivery, message, batch)
            case messages.Cancel():
                self._receiver.on_cancel(source, message, batch)
            case messages.Repair():
                self._sender.on_repair(delivery, message, batch)
            case messages.Receipt():
                self._sender.on_receipt(source, message, batch)

    def _choose_inbox(self, tag: str) -> Inbox:
        fitting = (inbox for inbox in self._inboxes if tag.startswith(inbox.prefix))
        return max(fitting, key=lambda inbox: len(inbox.prefix))

    def _emit(self, event: FileEvent) -> None:
        for listener in self._listeners:
            attempt(self._port, "listener to files", listener, event)
