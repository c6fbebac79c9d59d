"""The receiving half of the file service.

Chunks go to a partial file and are consumed, in the transaction that records them, only after
the file's data is on disk: what the network was told is here, is here.  The receiver needs no
patience of its own: it asks for what is missing when the sender has said that all was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from stack.core.clock import MILLISECOND, SECOND
from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.ports.application import AppPort, Delivery, Outgoing
from stack.services.batch import Batch
from stack.services.files import messages as wire
from stack.services.files.config import FilesConfig
from stack.services.files.inbox import Inbox
from stack.services.files.messages import Cancel, Chunk, Offer, Outcome, Receipt, Repair
from stack.services.files.partial import Partial
from stack.services.files.paths import PARTIAL_DIRECTORY, place, safe_name
from stack.services.files.policy import Policy, Refused
from stack.services.files.state import (
    SPACE_IN,
    SPACE_INBOX,
    FileEvent,
    InObject,
    InState,
    InStep,
    Progress,
    Received,
    rate_of,
)
from stack.services.names import FILES, service_of
from stack.services.waiting import Timers
from stack.wire.crc import crc32c

_FILES_OPEN_MAX: Final = 64
"""Partial files kept open: more objects than that are seldom interleaved."""

_LIFETIME_STEP_MS: Final = 60_000
"""Lifetimes that differ by less are the same: clocks and encodings round."""

_RECEIPT_LIFETIME_MS_MIN: Final = 3_600_000
"""The last word is worth an hour more than the object, so that the sender hears it."""

_ANSWERS: Final = {
    InState.RECEIVED: Outcome.RECEIVED,
    InState.FAILED: Outcome.FAILED,
    InState.CANCELLED: Outcome.CANCELLED,
    InState.EXPIRED: Outcome.FAILED,
}


class Receiver:
    """All objects on their way in.  Runs under the same `lock` as `Sender`."""

    def __init__(
        self,
        port: AppPort,
        root: str,
        config: FilesConfig,
        lock: asyncio.Lock,
        policy: Policy,
        choose_inbox: Callable[[str], Inbox],
        emit: Callable[[FileEvent], None],
    ) -> None:
        self._port = port
        self._root = root
        self._config = config
        self._lock = lock
        self._policy = policy
        self._choose_inbox = choose_inbox
        self._emit = emit
        self._service = service_of(port.node_id, FILES)
        self._objects: dict[str, InObject] = {}
        self._partials: OrderedDict[str, Partial] = OrderedDict()
        self._touched: dict[str, InObject] = {}
        self._timers = Timers()
        self._complete: asyncio.Queue[InObject] = asyncio.Queue()
        self.dropped = 0
        """Messages that could not be used: damaged, out of bounds, for objects refused."""

        os.makedirs(os.path.join(root, PARTIAL_DIRECTORY), exist_ok=True)

    def load(self) -> None:
        """Take up what the durable records hold; after the inboxes have been set up."""
        for key, value in self._port.read_all(SPACE_IN):
            try:
                obj = InObject.decode(key, value)
            except DecodeError as error:
                self._port.trace("files.bad_record", {"key": key, "error": str(error)})
                continue
            self._admit(obj)
            if obj.complete:
                self._complete.put_nowait(obj)
            elif obj.settling:
                self._settle(obj)
        for key, value in self._port.read_all(SPACE_INBOX):
            try:
                received = Received.decode(key, value)
            except DecodeError as error:
                self._port.trace("files.bad_record", {"key": key, "error": str(error)})
                continue
            self._choose_inbox(received.tag).put(received)
        self._sweep()

    # -- the service calls these under the lock, for each message of a batch

    def on_chunk(self, delivery: Delivery, chunk: Chunk, batch: Batch) -> None:
        """Write a chunk to the partial file."""
        source = delivery.id.source
        obj = self._find(source, chunk.object_id)
        if obj is None:
            # It may have overtaken its Offer: keep it, if an object of that size may come in.
            shape = (chunk.size, chunk.chunk_bytes)
            obj = self._open(delivery, chunk.object_id, shape, None, batch)
        if obj is None or obj.state is not InState.RECEIVING:
            self.dropped += 1
            return
        index = chunk.offset // obj.chunk_bytes
        fits = (obj.size, obj.chunk_bytes) == (chunk.size, chunk.chunk_bytes)
        if not fits or crc32c(chunk.data) != chunk.crc:
            self.dropped += 1
            return
        self._extend(obj, delivery)
        if index in obj.have:
            return
        full = obj.have.span_count >= self._config.spans_max
        if full and index != obj.have.end and index - 1 not in obj.have:
            self.dropped += 1  # one more piece: it will be asked for when others have merged
            return
        try:
            self._partial(obj).write(chunk.offset, chunk.data, chunk.crc)
        except OSError as error:
            self._storage_trouble(obj, error, batch)
            return
        obj.have.add(index, index + 1)
        obj.got_bytes += len(chunk.data)
        self._touched[obj.key] = obj

    def on_offer(self, delivery: Delivery, offer: Offer, batch: Batch) -> None:
        """Learn what an object is, and that a round was sent."""
        source = delivery.id.source
        obj = self._find(source, offer.object_id)
        if obj is None or (obj.offer is None and obj.state is InState.RECEIVING):
            refused = self._judge(source, offer)
            if refused is not None:
                if obj is not None:
                    self._drop(obj, batch)
                self._send_receipt(source, offer.object_id, refused, delivery.expires_ms, batch)
                return
        if obj is None:
            shape = (offer.size, offer.chunk_bytes)
            obj = self._open(delivery, offer.object_id, shape, offer, batch)
            if obj is None:
                return
        if obj.state is not InState.RECEIVING:
            if offer.sent_round:
                self._answer(obj, batch)
            return
        if obj.offer is None:
            if (obj.size, obj.chunk_bytes) != (offer.size, offer.chunk_bytes):
                self._fail(obj, "chunks and offer contradict each other", batch)
                return
            obj.offer = offer
        self._extend(obj, delivery)
        self._touched[obj.key] = obj
        if obj.complete or offer.sent_round == 0:
            return
        if offer.sent_round < obj.round:
            # Our request, or what was sent for it, is under way or lost: ask once more.  The
            # sender ignores the number of a round that it has sent already.
            self._request(obj, batch)
        else:
            obj.round = offer.sent_round
            obj.settling = True

    def on_cancel(self, source: Eid, cancel: Cancel, batch: Batch) -> None:
        """The sender gave an object up."""
        obj = self._find(source, cancel.object_id)
        if obj is not None:
            self._close(obj, InStep.CANCEL, "cancelled by the sender", batch)

    def finish_batch(self, batch: Batch) -> None:
        """Make the data of a batch's chunks durable, and put their records into `batch`."""
        touched, self._touched = self._touched, {}
        for obj in touched.values():
            if obj.state is not InState.RECEIVING:
                continue
            partial = self._partials.get(obj.key)
            if partial is not None:
                try:
                    partial.sync()
                except OSError as error:
                    self._storage_trouble(obj, error, batch)
                    continue
            self._keep(obj, batch)
            if obj.settling:
                self._settle(obj)
            if obj.complete:
                batch.after(lambda obj=obj: self._complete.put_nowait(obj))  # type: ignore[misc]
            batch.after(lambda obj=obj: self._report("progress", obj))  # type: ignore[misc]

    # -- tasks

    async def tick(self) -> None:
        """Ask for what is missing, end lifetimes, forget what is long over."""
        while True:
            keys = await self._timers.wait(self._port)
            async with self._lock:
                batch = Batch()
                for name in keys:
                    kind, _, key = name.partition("/")
                    obj = self._objects.get(key)
                    if obj is not None:
                        self._due(kind, obj, batch)
                await batch.commit(self._port)

    async def verify(self) -> None:
        """Check complete objects against their digests, one after the other."""
        while True:
            obj = await self._complete.get()
            if not obj.complete:
                continue
            text = ""
            try:
                await self._verify(obj)
            except OSError as error:
                text = f"cannot store: {error.strerror}"
            if text:
                async with self._lock:
                    batch = Batch()
                    self._fail(obj, text, batch)
                    await batch.commit(self._port)

    async def abandon(self, key: str) -> bool:
        """Give an inbound object up, and tell the sender; whether it was under way."""
        async with self._lock:
            obj = self._objects.get(key)
            batch = Batch()
            if obj is None or not self._close(obj, InStep.CANCEL, "cancelled here", batch):
                return False
            self._answer(obj, batch)
            await batch.commit(self._port)
            return True

    def all_progress(self) -> Iterator[Progress]:
        """How far every object is."""
        return map(self._progress, list(self._objects.values()))

    # -- inner works

    async def _verify(self, obj: InObject) -> None:
        offer = obj.offer
        assert offer is not None
        partial = self._partial(obj)
        digest = await partial.digest()
        if not obj.complete:
            return  # cancelled or expired meanwhile
        if digest != offer.sha256:
            await self._repair_damage(obj, partial)
            return
        partial.finish()
        inbox = self._choose_inbox(offer.tag)
        where = inbox.place(obj.source, offer)
        if where is None:
            raise OSError(0, "nobody takes it any more")
        name = await place(
            partial.path,
            self._root,
            safe_name(where),
            object_id=obj.object_id,
            size=obj.size,
            sha256=offer.sha256,
            replace=self._config.collision == "replace",
        )
        async with self._lock:
            batch = Batch()
            if not self._close(obj, InStep.VERIFIED, "", batch):
                return
            received = Received(
                obj.key,
                obj.source,
                obj.object_id,
                offer.name,
                os.path.join(self._root, name),
                obj.size,
                offer.sha256,
                offer.tag,
                offer.priority,
                obj.expires_ms,
            )
            batch.write(SPACE_INBOX, obj.key, received.encode())
            batch.after(lambda: inbox.put(received))
            self._answer(obj, batch)
            await batch.commit(self._port)

    async def _repair_damage(self, obj: InObject, partial: Partial) -> None:
        """The content does not match: ask again for what is damaged, or give up."""
        bad = [] if partial.placed else await partial.damaged()
        async with self._lock:
            batch = Batch()
            if not obj.complete:
                return
            obj.failures += 1
            if obj.failures >= self._config.verify_tries:
                self._fail(obj, "the content does not match its digest", batch)
            else:
                if bad:
                    damaged = type(obj.have)((index, index + 1) for index in bad)
                    obj.have = type(obj.have)(damaged.gaps(0, obj.chunks))
                else:
                    # Each chunk is as it was sent: the sender's file is wrong, or the table is
                    # gone.  Begin anew.
                    obj.have = type(obj.have)()
                    self._forget_partial(obj)
                obj.round += 1
                self._request(obj, batch)
                self._keep(obj, batch)
            batch.after(lambda: self._report("damaged", obj))
            await batch.commit(self._port)
            if obj.complete:  # an empty object has no chunk to ask for
                self._complete.put_nowait(obj)

    def _find(self, source: Eid, object_id: bytes) -> InObject | None:
        return self._objects.get(object_key(source, object_id))

    def _judge(self, source: Eid, offer: Offer) -> Refused | None:
        """Why this offer is not taken, or None."""
        where = self._choose_inbox(offer.tag).place(source, offer)
        if where is None:
            return Refused(Outcome.REFUSED, "nobody here takes it")
        try:
            safe_name(where)
        except DecodeError as error:
            return Refused(Outcome.REFUSED, error.reason)
        return self._policy.judge(source, offer)

    def _open(
        self,
        delivery: Delivery,
        object_id: bytes,
        shape: tuple[int, int],
        offer: Offer | None,
        batch: Batch,
    ) -> InObject | None:
        """A record for a new object, or None (and a receipt, if it was offered) if it must wait."""
        source = delivery.id.source
        size, chunk_bytes = shape
        refused = self._policy.room(size)
        if refused is not None or source.is_null:
            self.dropped += 1
            if refused is not None and offer is not None:
                self._send_receipt(source, object_id, refused, delivery.expires_ms, batch)
            return None
        key = object_key(source, object_id)
        obj = InObject(key, source, object_id, size, chunk_bytes, delivery.expires_ms, offer)
        self._admit(obj)
        return obj

    def _admit(self, obj: InObject) -> None:
        obj.started_ns = self._port.now()
        self._objects[obj.key] = obj
        if obj.state is InState.RECEIVING:
            self._policy.open(obj.size)
            self._timers.set(f"end/{obj.key}", self._at(obj.expires_ms))
        else:
            self._timers.set(f"forget/{obj.key}", self._forget_ns(obj))

    def _at(self, dtn_ms: int) -> int:
        return self._port.now() + (dtn_ms - self._port.dtn_ms()) * MILLISECOND

    def _forget_ns(self, obj: InObject) -> int:
        return self._at(max(obj.expires_ms, self._port.dtn_ms()) + self._config.retain_ms)

    def _extend(self, obj: InObject, delivery: Delivery) -> None:
        """The object lives as long as the longest-lived bundle about it."""
        if delivery.expires_ms > obj.expires_ms + _LIFETIME_STEP_MS:
            obj.expires_ms = delivery.expires_ms
            self._timers.set(f"end/{obj.key}", self._at(obj.expires_ms))
            self._touched[obj.key] = obj

    def _settle(self, obj: InObject) -> None:
        due_ns = self._port.now() + round(self._config.settle_s * SECOND)
        self._timers.set(f"settle/{obj.key}", due_ns)

    def _due(self, kind: str, obj: InObject, batch: Batch) -> None:
        if kind == "forget":
            batch.write(SPACE_IN, obj.key, None)
            del self._objects[obj.key]
        elif kind == "end":
            self._close(obj, InStep.DEADLINE, "lifetime over before all was here", batch)
        elif obj.settling and not obj.complete:
            obj.settling = False
            obj.round += 1
            self._request(obj, batch)
            self._keep(obj, batch)
            batch.after(lambda: self._report("repair", obj))

    def _request(self, obj: InObject, batch: Batch) -> None:
        spans = obj.missing(wire.REPAIR_SPANS_MAX)
        if spans and obj.round <= wire.ROUND_MAX:
            repair = Repair(obj.object_id, obj.round, spans)
            self._say(obj.source, repair.encode(), obj.expires_ms, batch)

    def _answer(self, obj: InObject, batch: Batch) -> None:
        refused = Refused(_ANSWERS[obj.state], obj.text)
        self._send_receipt(obj.source, obj.object_id, refused, obj.expires_ms, batch)

    def _send_receipt(
        self, to: Eid, object_id: bytes, verdict: Refused, expires_ms: int, batch: Batch
    ) -> None:
        receipt = Receipt(object_id, verdict.outcome, verdict.text)
        self._say(to, receipt.encode(), expires_ms, batch)

    def _say(self, to: Eid, payload: bytes, expires_ms: int, batch: Batch) -> None:
        if not to.is_null:
            lifetime_ms = max(expires_ms - self._port.dtn_ms(), _RECEIPT_LIFETIME_MS_MIN)
            batch.sends.append(Outgoing(to, payload, lifetime_ms, self._service, priority=2))

    def _partial(self, obj: InObject) -> Partial:
        """The object's open partial file; the one unused for longest is closed for it."""
        partial = self._partials.get(obj.key)
        if partial is None:
            if len(self._partials) >= _FILES_OPEN_MAX:
                self._partials.popitem(last=False)[1].close()
            path = os.path.join(self._root, PARTIAL_DIRECTORY, obj.key)
            partial = self._partials[obj.key] = Partial(path, obj.size, obj.chunk_bytes)
        self._partials.move_to_end(obj.key)
        return partial
