"""The sending half of the file service.

The sender drives: it hands all chunks to the node, says so with an Offer that names the round,
and repeats that question, ever more rarely, until the receiver has told the object's fate or the
object's lifetime has ended.  Chunks live as long as the object does, so that nothing is sent
twice only because a blackout lasts; the receiver asks for what is missing after each round.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator
from typing import Final

from stack.core.clock import MILLISECOND
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError, StoreError, words_of
from stack.core.ranges import RangeSet
from stack.core.train import Buffer
from stack.ports.application import AppPort, Delivery, Outgoing
from stack.services.batch import Batch, each_due, transaction
from stack.services.files import messages
from stack.services.files.config import OBJECTS_MAX, FilesConfig
from stack.services.files.messages import Cancel, Outcome, Receipt, Repair
from stack.services.files.outlook import Outlook
from stack.services.files.source import SPEC_KEY, Prepared, SourceChanged, read_chunks
from stack.services.files.state import SPACE_OUT, FileEvent, OutObject, OutSpec, Progress
from stack.services.files.steps import OUT_OPEN, OutState, OutStep
from stack.services.names import FILES, service_of
from stack.services.policies import about
from stack.services.shares import PeerShares
from stack.services.waiting import RETRY_FIRST_S, RETRY_MOST_S, NamedTimers

_PROGRESS: Final = "prog/"
_OUTCOME_STEPS: Final = (
    OutStep.RECEIVED,
    OutStep.REFUSED,
    OutStep.BUSY,
    OutStep.FAILED,
    OutStep.CANCEL,
)
"""By `Outcome`."""


class _Ready:
    """Objects with chunks to hand over: the most urgent first, then the oldest."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, OutObject]] = []

    def push(self, obj: OutObject) -> None:
        """Add an object, which may be there already."""
        spec = obj.spec
        heapq.heappush(self._heap, (-spec.priority, spec.admitted_ms, obj.order, obj))

    def first(self) -> OutObject | None:
        """The object whose turn it is, or None."""
        while self._heap and self._heap[0][3].state is not OutState.SENDING:
            heapq.heappop(self._heap)
        return self._heap[0][3] if self._heap else None


def stored(port: AppPort) -> Iterator[OutObject]:
    """What the durable records hold."""
    progress = dict(port.read_all(SPACE_OUT, _PROGRESS))
    for key, value in port.read_all(SPACE_OUT, SPEC_KEY):
        try:
            spec = OutSpec.decode(value)
            record = progress.get(_PROGRESS + spec.key)
            if record is None:
                yield OutObject(spec, pending=[(0, spec.chunks)] if spec.chunks else [])
            else:
                yield OutObject.decode(spec, record)
        except DecodeError as error:
            port.trace("files.bad_record", {"key": key, "error": str(error)})


class FileSender:
    """All objects on their way out.  Every method that changes state runs under `lock`, which
    the whole service shares, so that records are committed in the order of their changes."""

    def __init__(
        self,
        port: AppPort,
        config: FilesConfig,
        lock: asyncio.Lock,
        emit: Callable[[FileEvent], None],
    ) -> None:
        self._port = port
        self._config = config
        self._lock = lock
        self._emit = emit
        self._service = service_of(port.node_id, FILES)
        self._objects: dict[bytes, OutObject] = {}
        self._ready = _Ready()
        self._wake = asyncio.Event()
        self._outlook = Outlook(port, self._service)
        self._timers = NamedTimers(port)
        self._closed: dict[bytes, asyncio.Event] = {}
        self._over: dict[str, None] = {}  # keys, in the order in which they ended
        self._shares = PeerShares(OBJECTS_MAX, config.objects_max)
        self._admitted = 0
        for obj in stored(port):
            self._admit(obj)

    # -- what applications call

    def refusal(self, destination: Eid, count: int = 1) -> str:
        """Why `count` more objects may not be under way to a node now, or nothing.  Of results of
        jobs that is who asked for them, so that others' do not wait for one who is not there."""
        return self._shares.refusal(destination, count)

    def start(self, prepared: Prepared) -> None:
        """Begin to send an object whose writes have been committed."""
        spec = prepared.spec
        if spec.object_id not in self._objects:
            pending = [(0, spec.chunks)] if spec.chunks else []
            self._admit(OutObject(spec, pending=pending))

    async def cancel(self, object_id: bytes) -> bool:
        """Give an object up, and tell the receiver; whether it was still under way."""
        async with transaction(self._port, self._lock) as batch:
            obj = self._objects.get(object_id)
            if obj is None or not self._close(obj, OutStep.CANCEL, "cancelled here", batch):
                return False
            self._say(obj, Cancel(object_id).encode(), batch)
            return True

    async def wait(self, object_id: bytes) -> Progress:
        """Wait for an object's final state.  Raises `LocalError` for an unknown object."""
        obj = self._objects.get(object_id)
        if obj is None:
            raise LocalError(f"object {object_id.hex()} is not known")
        if obj.state in OUT_OPEN:
            await self._closed.setdefault(object_id, asyncio.Event()).wait()
        return obj.progress(self._port.now())

    def progress(self, object_id: bytes) -> Progress | None:
        """How far an object is."""
        obj = self._objects.get(object_id)
        self._outlook.look(self._objects.values())
        return None if obj is None else obj.progress(self._port.now())

    def all_progress(self) -> Iterator[Progress]:
        """How far every object is."""
        self._outlook.look(self._objects.values())
        now_ns = self._port.now()
        return (obj.progress(now_ns) for obj in list(self._objects.values()))

    def foresee(self) -> None:
        """Ask the contact plan for `Progress.expected`."""
        self._outlook.look(self._objects.values())
        self._outlook.foresee(self._objects.values())

    # -- tasks

    async def pump(self) -> None:
        """Hand chunks to the node as it has room, the most urgent object first."""
        delay = RETRY_FIRST_S
        while True:
            if self._ready.first() is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._port.wait_room(self._config.batch_bytes)
            async with self._lock:
                obj = self._ready.first()  # again: a more urgent one may have come meanwhile
                if obj is None:
                    continue
                try:
                    await self._send_batch(obj)
                except StoreError as error:
                    self._port.trace("files.store_full", {"error": str(error)})
                except Exception as error:  # whatever it is, it concerns this object alone
                    why = words_of(error)
                    self._port.trace("service_work_failed", {"what": obj.spec.key, "why": why})
                    await self._give_up(obj, f"cannot be sent: {why}")
                    continue
                else:
                    delay = RETRY_FIRST_S
                    continue
            # Outside the lock: what is received meanwhile may make room.
            await self._port.sleep(delay)
            delay = min(2 * delay, RETRY_MOST_S)

    async def tick(self) -> None:
        """Ask again for receipts, end lifetimes, forget what is long over."""
        await each_due(self._port, self._lock, self._timers, self._due)

    # -- what the receiver says; the service calls these under the lock

    def on_repair(self, delivery: Delivery, repair: Repair, batch: Batch) -> None:
        """Send what is missing, unless this round has been sent already."""
        source = delivery.id.source
        obj = self._objects.get(repair.object_id)
        if obj is None:
            # Not ours any more: without an answer, the receiver would keep its part for long.
            if not source.is_null:
                cancel = Cancel(repair.object_id).encode()
                lifetime_ms = round(self._config.nudge_lifetime_s * 1000)
                where = (source, cancel, lifetime_ms, self._service)
                batch.sends.append(Outgoing(*where, policy=about(delivery.policy, source)))
            return
        if source != obj.spec.destination or repair.round <= obj.round:
            return
        if len(obj.pending) > self._config.spans_max:
            return  # it asks faster than we can send; it will ask again
        if obj.state not in OUT_OPEN:
            if obj.state is not OutState.DELIVERED:
                self._say(obj, Cancel(repair.object_id).encode(), batch)
            return
        if repair.spans[-1][1] > obj.spec.chunks or repair.round > self._config.rounds_max:
            self._close(obj, OutStep.FAILED, "the receiver asked for too much", batch)
            self._say(obj, Cancel(repair.object_id).encode(), batch)
            return
        obj.pending = list(RangeSet(obj.pending + list(repair.spans)))
        obj.round = repair.round
        obj.step(OutStep.REPAIR)
        obj.nudge_s = self._config.nudge_s
        self._make_ready(obj)
        self._keep(obj, batch)
        batch.after(lambda: self._report("repair", obj))

    def on_receipt(self, source: Eid, receipt: Receipt, batch: Batch) -> None:
        """Take the receiver's word on the object's fate."""
        obj = self._objects.get(receipt.object_id)
        if obj is None or source != obj.spec.destination:
            return
        step = _OUTCOME_STEPS[receipt.outcome]
        if receipt.outcome is Outcome.BUSY:
            if obj.step(step, receipt.text):
                self._keep(obj, batch)
                self._arm(obj)
        else:
            self._close(obj, step, receipt.text, batch)

    # -- inner works

    def _admit(self, obj: OutObject) -> None:
        obj.nudge_s = self._config.nudge_s
        obj.started_ns = self._port.now()
        self._admitted += 1
        obj.order = self._admitted
        self._objects[obj.spec.object_id] = obj
        key = obj.spec.key
        if obj.state not in OUT_OPEN:
            self._retire(key)
            return
        self._shares.add(obj.spec.destination, key)
        self._timers.arm_at(("end", key), obj.spec.expires_ms)
        if obj.state is OutState.SENDING:
            self._make_ready(obj)
        else:
            self._arm(obj)

    def _make_ready(self, obj: OutObject) -> None:
        self._timers.cancel(("nudge", obj.spec.key))
        self._ready.push(obj)
        self._wake.set()

    async def _give_up(self, obj: OutObject, why: str) -> None:
        batch = Batch()
        self._close(obj, OutStep.FAILED, why, batch)
        self._say(obj, Cancel(obj.spec.object_id).encode(), batch)
        await batch.commit(self._port)

    async def _send_batch(self, obj: OutObject) -> None:
        """Hand over one batch of an object's chunks; raises `StoreError` with nothing changed."""
        spec = obj.spec
        batch = Batch()
        lifetime_ms = spec.expires_ms - self._port.dtn_ms()
        if lifetime_ms <= 0:
            self._close(obj, OutStep.DEADLINE, "lifetime over before all was sent", batch)
            await batch.commit(self._port)
            return
        before = (obj.state, obj.offered, list(obj.pending))
        if not obj.offered:
            obj.offered = True
            self._say(obj, spec.offer(0).encode(), batch, lifetime_ms)
        try:
            room = self._config.batch_bytes // spec.chunk_bytes
            payloads = read_chunks(spec, obj.take(max(room, 1)))
        except (OSError, SourceChanged) as error:
            await self._give_up(obj, f"cannot read the file: {error}")
            return
        for payload in payloads:
            self._say(obj, payload, batch, lifetime_ms)
        if not obj.pending:
            obj.step(OutStep.DRAINED)
            self._say(obj, spec.offer(obj.round).encode(), batch, lifetime_ms)
        self._keep(obj, batch)
        try:
            # Not through `Batch.commit`: chunks must not be lost, so that nothing may be done.
            await self._port.commit(write=batch.writes, send=batch.sends)
        except BaseException:
            obj.state, obj.offered, obj.pending, obj.storing_bytes = *before, 0
            raise
        obj.stored(sum(map(len, payloads)))
        if obj.state is OutState.WAITING:
            self._arm(obj)
        self._report("progress", obj)

    def _due(self, kind: str, key: str, batch: Batch) -> None:
        obj = self._objects.get(bytes.fromhex(key))
        if obj is None:
            return
        if kind == "forget":
            self._forget(obj, batch)
        elif kind == "end":
            self._close(obj, OutStep.DEADLINE, "lifetime over without a receipt", batch)
        elif obj.state is OutState.WAITING:
            obj.nudge_s = min(2 * obj.nudge_s, self._config.nudge_max_s)
            lifetime_s = max(2 * obj.nudge_s, self._config.nudge_lifetime_s)
            self._say(obj, obj.spec.offer(obj.round).encode(), batch, round(lifetime_s * 1000))
            self._arm(obj)

    def _arm(self, obj: OutObject) -> None:
        self._timers.arm_in(("nudge", obj.spec.key), obj.nudge_s)

    def _say(
        self, obj: OutObject, payload: Buffer, batch: Batch, lifetime_ms: int | None = None
    ) -> None:
        left_ms = max(obj.spec.expires_ms - self._port.dtn_ms(), 1000)
        wanted_ms = left_ms if lifetime_ms is None else min(lifetime_ms, left_ms)
        batch.sends.append(obj.spec.outgoing(payload, wanted_ms, self._service))

    def _keep(self, obj: OutObject, batch: Batch) -> None:
        batch.write(SPACE_OUT, _PROGRESS + obj.spec.key, obj.encode())

    def _close(self, obj: OutObject, step: OutStep, text: str, batch: Batch) -> bool:
        if not obj.step(step, text[: messages.TEXT_CHARS_MAX]):
            return False
        self._keep(obj, batch)
        key = obj.spec.key
        self._shares.remove(obj.spec.destination, key)
        self._timers.cancel(("nudge", key))
        self._timers.cancel(("end", key))
        self._retire(key)
        while len(self._over) > self._config.closed_max:
            self._forget(self._objects[bytes.fromhex(next(iter(self._over)))], batch)

        def announce() -> None:
            closed = self._closed.pop(obj.spec.object_id, None)
            if closed is not None:
                closed.set()
            self._report(obj.state.name.lower(), obj)

        batch.after(announce)
        return True

    def _retire(self, key: str) -> None:
        self._over[key] = None
        due_ns = self._port.now() + self._config.retain_ms * MILLISECOND
        self._timers.arm(("forget", key), due_ns)

    def _forget(self, obj: OutObject, batch: Batch) -> None:
        key = obj.spec.key
        del self._objects[obj.spec.object_id], self._over[key]
        self._timers.cancel(("forget", key))
        batch.write(SPACE_OUT, SPEC_KEY + key, None)
        batch.write(SPACE_OUT, _PROGRESS + key, None)

    def _report(self, kind: str, obj: OutObject) -> None:
        self._outlook.look(self._objects.values())
        self._emit(FileEvent(kind, obj.progress(self._port.now())))
