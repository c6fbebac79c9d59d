"""Handing what has arrived to a client, which consumes it by acknowledging."""

from __future__ import annotations

import asyncio
import base64
import os
from typing import Any, Final

from stack.core.clock import dtn_to_iso
from stack.core.errors import LocalError, StoreError
from stack.node.control.paths import policy_as_dict
from stack.node.control.protocol import ControlError
from stack.node.control.request import DECADE_S, Request, Session, wrong
from stack.node.node import Node
from stack.policy import DataPolicy
from stack.ports.application import Delivery
from stack.services.files import FilesService, Received
from stack.services.messages import Mailbox
from stack.services.names import MESSAGES, service_of
from stack.services.policies import readable

COUNT_MAX: Final = 1_000_000_000

BUSY_TRIES: Final = 10
BUSY_WAIT_S: Final = 0.03
"""A client that has gone just now is noticed well within these."""

PATIENCE_S_MIN: Final = 0.05
"""Shortest wait for the next thing: what is here already is handed over well within it."""


class ReceiveOperation:
    """Messages and files, each as an event that has to be acknowledged.

    What was not acknowledged stays, and comes again to the next client.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    async def __call__(self, request: Request, session: Session) -> dict[str, Any]:
        """Hand over up to `count` (0: without end); done when nothing has come for `timeout_s`."""
        kinds = request.texts("kinds") or ["messages", "files"]
        service = request.text("service", MESSAGES)
        count = request.integer("count", 0, 0, COUNT_MAX)
        timeout_s = request.number("timeout_s", DECADE_S, 0.0, DECADE_S)
        request.finish()
        unknown = set(kinds) - {"messages", "files"}
        if unknown:
            raise wrong("kinds", f"{min(unknown)!r} is unknown", "messages, files")
        mailbox = await self._mailbox(service) if "messages" in kinds else None
        try:
            run = _Run(self._node, session, mailbox, "files" in kinds)
            return {"count": await run.run(count or COUNT_MAX, max(timeout_s, PATIENCE_S_MIN))}
        finally:
            if mailbox is not None:
                mailbox.close()

    async def _mailbox(self, service: str) -> Mailbox:
        service_of(self._node.node_id, service)  # raises for a service that cannot be
        for left in reversed(range(BUSY_TRIES)):
            try:
                return Mailbox(self._node.port, service)
            except LocalError as error:
                if not left:
                    raise ControlError(
                        "busy", str(error), "is another `orbitferry receive` running?"
                    ) from None
            await self._node.port.sleep(BUSY_WAIT_S)
        raise AssertionError("unreachable: the last try returns or raises")


class _Run:
    """One client that receives."""

    def __init__(
        self, node: Node, session: Session, mailbox: Mailbox | None, with_files: bool
    ) -> None:
        self._port = node.port
        self._session = session
        self._mailbox = mailbox
        self._files = node.services.files
        self._with_files = with_files
        self._message: asyncio.Task[Delivery] | None = None
        self._file: asyncio.Task[Received] | None = None

    async def run(self, count: int, timeout_s: float) -> int:
        """How many were handed over."""
        done = 0
        try:
            while done < count and await self._wait(timeout_s):
                # Files and messages in turn, so that neither keeps the other waiting.
                message, file = self._message, self._file
                if message is not None and message.done():
                    done += await self._hand_over_message(message.result())
                    self._message = None
                if done < count and file is not None and file.done():
                    done += await self._hand_over_file(file.result())
        finally:
            await self._give_back()
        return done

    async def _wait(self, timeout_s: float) -> bool:
        if self._mailbox is not None and self._message is None:
            self._message = asyncio.ensure_future(self._mailbox.receive())
        if self._with_files and self._file is None:
            self._file = asyncio.ensure_future(self._files.inbox.receive())
        tasks = [task for task in (self._message, self._file) if task is not None]
        done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)

    async def _give_back(self) -> None:
        """Nothing may be lost that was taken and not acknowledged (the mailbox sees to its own)."""
        tasks = [task for task in (self._message, self._file) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        file = self._file
        if file is not None and not file.cancelled() and file.exception() is None:
            self._files.inbox.put(file.result())

    def _readable(self, policy: DataPolicy | None) -> bool:
        """Whether what was taken may still be read here: the client may have been slow."""
        return readable(self._port, self._port.node_id, policy)

    async def _hand_over_message(self, delivery: Delivery) -> bool:
        """Whether it was; else it is withheld, and comes again when this client is gone."""
        assert self._mailbox is not None
        if not self._readable(delivery.policy):
            return False
        await self._session.hand_over(
            "message",
            source=str(delivery.id.source),
            destination=str(delivery.destination),
            bundle=str(delivery.id),
            created=dtn_to_iso(delivery.id.creation_ms),
            expires=dtn_to_iso(delivery.expires_ms),
            priority=delivery.priority,
            bytes=len(delivery.payload),
            policy=policy_as_dict(delivery.policy),
            payload=base64.b64encode(delivery.payload).decode(),
        )
        await self._mailbox.done(delivery)
        return True

    async def _hand_over_file(self, received: Received) -> bool:
        """Whether it was; else it is withheld."""
        if not self._readable(received.policy):
            self._file = None
            self._files.inbox.put(received)
            return False
        await self._session.hand_over("file", **received_as_dict(received, self._files))
        self._file = None  # not to be given back: a commit that has begun will be done
        inbox = self._files.inbox
        try:
            await self._port.commit(write=[inbox.taken(received)])
        except StoreError:
            inbox.put(received)
            raise
        return True


def received_as_dict(received: Received, files: FilesService) -> dict[str, Any]:
    """A received file, as it travels."""
    return {
        "id": received.object_id.hex(),
        "source": str(received.source.node),
        "name": received.name,
        "path": str(received.path),
        "place": os.path.relpath(received.path, files.directory),
        "bytes": received.size,
        "sha256": received.sha256.hex(),
        "priority": received.priority,
        "policy": policy_as_dict(received.policy),
    }
