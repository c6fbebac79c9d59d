"""The receiving half of the file service.

Chunks go to a partial file and are consumed, in the transaction that records them, only after
the file's data is on disk: what the network was told is here, is here.  The receiver needs no
patience of its own: it asks for what is missing when the sender has said that all was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stack.core.eid import Eid
from stack.core.errors import DecodeError, words_of
from stack.ports.application import AppPort, Delivery
from stack.services.batch import Batch, each_due, transaction
from stack.services.files.config import FilesConfig
from stack.services.files.inbox import Inbox
from stack.services.files.ledger import Ledger, object_key
from stack.services.files.messages import Cancel, Chunk, Offer, Outcome
from stack.services.files.partial import PartialFiles
from stack.services.files.paths import safe_name
from stack.services.files.policy import Policy, Verdict
from stack.services.files.state import InObject
from stack.services.files.steps import InState, InStep
from stack.services.policies import until
from stack.wire.crc import crc32c


class FileReceiver:
    """What the messages of senders do.  Runs under the same `lock` as `FileSender`."""

    def __init__(
        self,
        port: AppPort,
        config: FilesConfig,
        lock: asyncio.Lock,
        ledger: Ledger,
        partials: PartialFiles,
        policy: Policy,
        choose_inbox: Callable[[str], Inbox],
        complete: asyncio.Queue[InObject],
    ) -> None:
        self._port = port
        self._config = config
        self._lock = lock
        self._ledger = ledger
        self._partials = partials
        self._policy = policy
        self._choose_inbox = choose_inbox
        self._complete = complete
        self._touched: dict[str, InObject] = {}
        self._told_busy: set[str] = set()
        self.dropped = 0
        """Messages that could not be used: damaged, out of bounds, for objects refused."""

    def load(self) -> None:
        """Take up what the durable records hold."""
        for obj in self._ledger.load():
            if obj.complete:
                self._complete.put_nowait(obj)
            elif obj.settling:
                self._ledger.settle(obj)

    def on_chunk(self, delivery: Delivery, chunk: Chunk, batch: Batch) -> None:
        """Write a chunk to the partial file."""
        obj = self._ledger.find(delivery.id.source, chunk.object_id)
        if obj is None:
            # It may have overtaken its Offer: keep it, if an object of that size may come in.
            shape = (chunk.size, chunk.chunk_bytes)
            obj = self._begin(delivery, chunk.object_id, shape, None, batch)
        if obj is None or obj.state is not InState.RECEIVING or obj.policy != delivery.policy:
            self.dropped += 1
            return
        index = chunk.offset // obj.chunk_bytes
        fits = (obj.size, obj.chunk_bytes) == (chunk.size, chunk.chunk_bytes)
        if not fits or crc32c(chunk.data) != chunk.crc:
            self.dropped += 1
            return
        if self._ledger.extend(obj, delivery.expires_ms):
            self._touched[obj.key] = obj
        have = obj.have
        if index in have:
            return
        apart = index - 1 not in have and index + 1 not in have
        if apart and have.span_count >= self._config.spans_max:
            self.dropped += 1  # one more piece: asked for when others have merged
            return
        try:
            self._partials.file(obj).write(chunk.offset, chunk.data, chunk.crc)
        except OSError as error:
            self._trouble(obj, error, batch)
            return
        have.add(index, index + 1)
        obj.got_bytes += len(chunk.data)
        self._touched[obj.key] = obj

    def on_offer(self, delivery: Delivery, offer: Offer, batch: Batch) -> None:
        """Learn what an object is, and that a round was sent."""
        ledger = self._ledger
        source = delivery.id.source
        obj = ledger.find(source, offer.object_id)
        if obj is None or (obj.offer is None and obj.state is InState.RECEIVING):
            refused = self._judge(source, offer)
            if refused is not None:
                if obj is not None and refused.outcome is not Outcome.BUSY:
                    ledger.close(obj, InStep.FAILED, refused.text, batch)
                ledger.refuse(delivery, offer.object_id, refused, batch)
                return
        if obj is None:
            shape = (offer.size, offer.chunk_bytes)
            obj = self._begin(delivery, offer.object_id, shape, offer, batch)
            if obj is None:
                return
        if obj.policy != delivery.policy:
            self.dropped += 1  # nobody takes part of an object out of its policy
            return
        if obj.state is not InState.RECEIVING:
            if offer.sent_round:
                ledger.answer(obj, batch)
            return
        if obj.offer is None:
            if (obj.size, obj.chunk_bytes) != (offer.size, offer.chunk_bytes):
                ledger.fail(obj, "chunks and offer contradict each other", batch)
                return
            obj.offer = offer
        ledger.extend(obj, delivery.expires_ms)
        self._touched[obj.key] = obj
        if obj.complete or offer.sent_round == 0:
            return
        if offer.sent_round < obj.round:
            # Our request, or what was sent for it, is under way or lost: ask once more.  The
            # sender ignores the number of a round that it has sent already.
            ledger.request(obj, batch)
        else:
            obj.round = offer.sent_round
            obj.settling = True

    def on_cancel(self, source: Eid, cancel: Cancel, batch: Batch) -> None:
        """The sender gave an object up."""
        obj = self._ledger.find(source, cancel.object_id)
        if obj is not None:
            self._ledger.close(obj, InStep.CANCEL, "cancelled by the sender", batch)

    def finish_batch(self, batch: Batch) -> None:
        """Make the data of a batch's chunks durable, and put their records into `batch`."""
        touched, self._touched = self._touched, {}
        self._told_busy.clear()
        for obj in touched.values():
            if obj.state is InState.RECEIVING:
                batch.attempt(self._port, f"object {obj.key}", self._finish, obj, batch)

    def _finish(self, obj: InObject, batch: Batch) -> None:
        try:
            self._partials.sync(obj)
        except OSError as error:
            # What of it reached the disk is unknown (fsync reports an error only once).
            self._ledger.fail(obj, f"cannot store: {error.strerror}", batch)
            return
        self._ledger.keep(obj, batch)
        if obj.complete:
            batch.after(lambda: self._complete.put_nowait(obj))
        elif obj.settling:
            self._ledger.settle(obj)
        batch.after(lambda: self._ledger.report("progress", obj))

    async def tick(self) -> None:
        """Ask for what is missing, end lifetimes, forget what is long over."""
        await each_due(self._port, self._lock, self._ledger.timers, self._due)

    def _due(self, kind: str, key: str, batch: Batch) -> None:
        obj = self._ledger.by_key(key)
        if obj is None:
            return
        if kind == "forget":
            self._ledger.forget_due(obj, batch)
        elif kind == "end":
            self._ledger.close(obj, InStep.DEADLINE, "lifetime over before all was here", batch)
        elif obj.settling and not obj.complete:
            obj.settling = False
            obj.round += 1
            self._ledger.request(obj, batch)
            self._ledger.keep(obj, batch)
            batch.after(lambda: self._ledger.report("repair", obj))

    async def abandon(self, source: Eid, object_id: bytes) -> bool:
        """Give an inbound object up, and tell the sender; whether it was under way."""
        async with transaction(self._port, self._lock) as batch:
            obj = self._ledger.find(source, object_id)
            if obj is None or not self._ledger.close(obj, InStep.CANCEL, "cancelled here", batch):
                return False
            self._ledger.answer(obj, batch)
            return True

    def _judge(self, source: Eid, offer: Offer) -> Verdict | None:
        """Why this offer is not taken, or None.  When the rules of others fail, it may come again:
        by then they may work."""
        try:
            return self._verdict(source, offer)
        except Exception as error:  # whatever it is, it concerns this object alone
            fields = {"what": f"rules for {offer.name}", "why": words_of(error)}
            self._port.trace("service_work_failed", fields)
            return Verdict(Outcome.BUSY, "the rules of the receiver have failed")

    def _verdict(self, source: Eid, offer: Offer) -> Verdict | None:
        where = self._choose_inbox(offer.tag).place(source, offer)
        if where is None:
            return Verdict(Outcome.REFUSED, "nobody here takes it")
        try:
            safe_name(where)
        except DecodeError as error:
            return Verdict(Outcome.REFUSED, error.reason)
        return self._policy.judge(source, offer)

    def _begin(
        self,
        delivery: Delivery,
        object_id: bytes,
        shape: tuple[int, int],
        offer: Offer | None,
        batch: Batch,
    ) -> InObject | None:
        """A new object; or None, and a receipt if it was offered, when there is no room for it."""
        source = delivery.id.source
        size, chunk_bytes = shape
        if source.is_null:
            return None  # nobody to ask for what is missing
        refused = self._policy.room(source, size)
        if refused is not None:
            self._port.trace("files.full", {"source": str(source), "why": refused.text})
            if offer is not None:
                self._ledger.refuse(delivery, object_id, refused, batch)
            return None
        key = object_key(source, object_id)
        policy = delivery.policy
        ends_ms = until(policy, delivery.expires_ms)
        obj = InObject(key, source, object_id, size, chunk_bytes, ends_ms, offer, policy)
        self._ledger.admit(obj)
        return obj

    def _trouble(self, obj: InObject, error: OSError, batch: Batch) -> None:
        """A chunk could not be written: the sender is to wait and ask again."""
        self.dropped += 1
        self._port.trace("files.storage", {"object": obj.key, "error": str(error)})
        if obj.key not in self._told_busy:
            self._told_busy.add(obj.key)
            busy = Verdict(Outcome.BUSY, f"cannot store: {error.strerror}")
            self._ledger.tell(obj, busy, batch)
