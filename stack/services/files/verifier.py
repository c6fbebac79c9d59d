"""Complete objects: checked against their digest, given their name, and announced once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from stack.core.errors import words_of
from stack.core.ranges import RangeSet
from stack.ports.application import AppPort
from stack.services.batch import Batch, transaction
from stack.services.files.config import FilesConfig
from stack.services.files.erasures import Erasures
from stack.services.files.inbox import Inbox
from stack.services.files.ledger import Ledger
from stack.services.files.messages import Offer
from stack.services.files.partial import Partial, PartialFiles
from stack.services.files.paths import place, safe_name
from stack.services.files.state import SPACE_INBOX, InObject, Received
from stack.services.files.steps import InStep


class Verifier:
    """Takes objects from `queue` one after the other."""

    def __init__(
        self,
        port: AppPort,
        root: str,
        config: FilesConfig,
        lock: asyncio.Lock,
        ledger: Ledger,
        partials: PartialFiles,
        choose_inbox: Callable[[str], Inbox],
        queue: asyncio.Queue[InObject],
        erasures: Erasures,
    ) -> None:
        self._port = port
        self._root = root
        self._config = config
        self._lock = lock
        self._ledger = ledger
        self._partials = partials
        self._choose_inbox = choose_inbox
        self._queue = queue
        self._erasures = erasures

    async def run(self) -> None:
        """Verify until cancelled."""
        while True:
            obj = await self._queue.get()
            if not obj.complete or obj.offer is None:
                continue  # queued twice, or closed meanwhile
            try:
                partial = self._partials.reopen(obj)
                try:
                    good = await partial.digest() == obj.offer.sha256
                    bad = [] if good or partial.placed else await partial.damaged()
                    name = await self._place(obj, obj.offer, partial) if good else None
                    inode = partial.inode
                finally:
                    partial.close()
            except OSError as error:
                await self._fail(obj, f"cannot store: {error.strerror}")
                continue
            except Exception as error:  # whatever it is, it concerns this object alone
                self._port.trace("service_work_failed", {"what": obj.key, "why": words_of(error)})
                await self._fail(obj, "cannot be put in its place")
                continue
            if not good:
                await self._repair(obj, bad)
            elif name is None:
                await self._fail(obj, "nobody here takes it any more")
            else:
                await self._announce(obj, obj.offer, name, inode)

    async def _place(self, obj: InObject, offer: Offer, partial: Partial) -> str | None:
        """Link the object to its name; the path under the root.  Harmless to repeat."""
        where = self._choose_inbox(offer.tag).place(obj.source, offer)
        if where is None:
            return None
        partial.finish()
        ends = obj.policy is not None and obj.policy.expires_ms  # what has an end goes alone
        return await place(
            partial.path,
            self._root,
            safe_name(where),
            object_id=obj.object_id,
            size=obj.size,
            sha256=offer.sha256,
            replace=self._config.collision == "replace",
            share=lambda path: not (ends or self._erasures.keeps(path)),
        )

    async def _announce(self, obj: InObject, offer: Offer, name: str, inode: int) -> None:
        """The one transaction that makes the object received."""
        received = Received(
            obj.key,
            obj.source,
            obj.object_id,
            offer.name,
            Path(self._root, name),
            obj.size,
            offer.sha256,
            offer.tag,
            offer.priority,
            obj.expires_ms,
            obj.policy,
        )
        async with transaction(self._port, self._lock) as batch:
            if self._ledger.close(obj, InStep.VERIFIED, "", batch):
                batch.write(SPACE_INBOX, obj.key, received.encode())
                self._erasures.placed(name, received, inode, batch)
                batch.after(lambda: self._choose_inbox(offer.tag).put(received))
                self._ledger.answer(obj, batch)

    async def _repair(self, obj: InObject, bad: list[int]) -> None:
        """The content does not match: ask again for what is damaged, or give up."""
        async with self._lock:
            if not obj.complete:
                return
            batch = Batch()
            batch.after(lambda: self._ledger.report("damaged", obj))
            obj.failures += 1
            if obj.failures >= self._config.verify_tries:
                self._ledger.fail(obj, "the content does not match its digest", batch)
            elif bad:
                damaged = RangeSet((index, index + 1) for index in bad)
                self._ledger.ask_again(obj, RangeSet(damaged.gaps(0, obj.chunks)), batch)
            else:
                # Each chunk is as it was sent, so the sender's file was read wrongly; or the
                # table of checksums is gone.  Begin anew, in a new file.
                self._ledger.ask_again(obj, RangeSet(), batch)
                batch.after(lambda: self._ledger.discard(obj))
            await batch.commit(self._port)
            if obj.complete:  # an empty object has nothing to ask for
                self._queue.put_nowait(obj)

    async def _fail(self, obj: InObject, text: str) -> None:
        async with transaction(self._port, self._lock) as batch:
            self._ledger.fail(obj, text, batch)
