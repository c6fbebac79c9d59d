"""The inbound objects: their records, deadlines and partial files, kept in step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Final

from stack.core.eid import Eid
from stack.core.errors import DecodeError, StoreError
from stack.core.ranges import RangeSet
from stack.policy import DataPolicy
from stack.ports.application import AppPort, Delivery, Outgoing
from stack.services.batch import Batch, records
from stack.services.ended import Ended
from stack.services.files import messages
from stack.services.files.config import FilesConfig
from stack.services.files.inbox import Inbox
from stack.services.files.messages import Outcome, Receipt, Repair
from stack.services.files.partial import PartialFiles
from stack.services.files.paths import safe_name, withdraw
from stack.services.files.policy import Policy, Verdict
from stack.services.files.state import SPACE_IN, FileEvent, InObject, Progress, rate_of
from stack.services.files.steps import InState, InStep
from stack.services.names import FILES, service_of
from stack.services.policies import about, until
from stack.services.waiting import NamedTimers

_LIFETIME_STEP_MS: Final = 60_000
"""Lifetimes that differ by less are the same: clocks and encodings round."""

_RECEIPT_LIFETIME_MS_MIN: Final = 3_600_000
"""The last word is worth an hour more than the object, so that the sender hears it."""

_OUTCOMES: Final = (
    Outcome.BUSY,
    Outcome.RECEIVED,
    Outcome.FAILED,
    Outcome.FAILED,
    Outcome.CANCELLED,
)
"""What the sender is told, by `InState`."""


def object_key(source: Eid, object_id: bytes) -> str:
    """The durable key of an object: its id is the sender's word, so the sender is part of it."""
    return hashlib.sha256(str(source).encode() + b"\0" + object_id).hexdigest()[:32]


class Ledger:
    """Everything known about inbound objects.  Changes go through a `Batch`."""

    def __init__(
        self,
        port: AppPort,
        config: FilesConfig,
        policy: Policy,
        partials: PartialFiles,
        emit: Callable[[FileEvent], None],
        root: str,
        choose_inbox: Callable[[str], Inbox],
    ) -> None:
        self.timers = NamedTimers(port)
        self._port = port
        self._config = config
        self._policy = policy
        self._partials = partials
        self._emit = emit
        self._root = root
        self._choose_inbox = choose_inbox
        self._service = service_of(port.node_id, FILES)
        self._objects: dict[str, InObject] = {}
        self._closed = Ended()

    def load(self) -> Iterator[InObject]:
        """Take up the durable records, and give those of objects under way."""
        for obj in records(self._port, "files", SPACE_IN, InObject.decode):
            if obj.have and not self._partials.has(obj):
                obj.have = type(obj.have)()  # somebody removed the file: begin anew
            self.admit(obj)
            if obj.state is InState.RECEIVING:
                yield obj
        kept = {
            key
            for key, obj in self._objects.items()
            if obj.state is InState.RECEIVING
            or (obj.state is not InState.RECEIVED and not self.discard(obj))
        }
        self._partials.sweep(kept)

    def find(self, source: Eid, object_id: bytes) -> InObject | None:
        """The object of that sender, or None."""
        return self._objects.get(object_key(source, object_id))

    def by_key(self, key: str) -> InObject | None:
        """The object of a durable key, or None."""
        return self._objects.get(key)

    def admit(self, obj: InObject) -> None:
        """Begin to track an object."""
        obj.started_ns = self._port.now()
        self._objects[obj.key] = obj
        if obj.state is InState.RECEIVING:
            self._policy.open(obj)
            self.timers.arm_at(("end", obj.key), obj.expires_ms)
        else:
            self._retire(obj)

    def extend(self, obj: InObject, expires_ms: int) -> bool:
        """An object lives as long as the longest-lived bundle about it; whether that changed."""
        expires_ms = until(obj.policy, expires_ms)
        if expires_ms <= obj.expires_ms + _LIFETIME_STEP_MS:
            return False
        obj.expires_ms = expires_ms
        self.timers.arm_at(("end", obj.key), expires_ms)
        return True

    def ask_again(self, obj: InObject, have: RangeSet, batch: Batch) -> None:
        """Of a whole object only `have` is good: ask for the rest."""
        obj.have = have
        obj.round += 1
        self.timers.arm_at(("end", obj.key), obj.expires_ms)  # it may have passed unheeded
        self.request(obj, batch)
        self.keep(obj, batch)

    def keep(self, obj: InObject, batch: Batch) -> None:
        """Record an object as it is now."""
        batch.write(SPACE_IN, obj.key, obj.encode())

    def close(self, obj: InObject, step: InStep, text: str, batch: Batch) -> bool:
        """Take an object to a final state; whether it was under way.  One that is whole is not
        ended from outside: it may have its name already."""
        if obj.complete and step in (InStep.DEADLINE, InStep.CANCEL):
            return False
        if not obj.step(step, text[: messages.TEXT_CHARS_MAX]):
            return False
        self._policy.close(obj)
        self.keep(obj, batch)
        for kind in ("end", "settle"):
            self.timers.cancel((kind, obj.key))
        self._retire(obj)
        while len(self._closed) > self._config.closed_max:
            self._forget(self._closed.oldest(), batch)
        # Only now: a record that claims chunks must not outlive its file.
        batch.after(lambda: self.discard(obj))
        batch.after(lambda: self.report(obj.state.name.lower(), obj))
        return True

    def discard(self, obj: InObject) -> bool:
        """Remove the partial file of an object, and what names it may have been given unless it is
        received; whether that is done.  Else it stays, and the next start does so."""
        try:
            if obj.state is not InState.RECEIVED and self._partials.has(obj):
                self._withdraw(obj)
        except (OSError, DecodeError, StoreError) as error:
            self._port.trace("files.not_withdrawn", {"what": obj.key, "error": str(error)})
            return False
        self._partials.remove(obj.key)
        return True

    def _withdraw(self, obj: InObject) -> None:
        offer = obj.offer
        where = offer and self._choose_inbox(offer.tag).place(obj.source, offer)
        if where:
            withdraw(self._partials.path(obj), self._root, safe_name(where), obj.object_id)

    def fail(self, obj: InObject, text: str, batch: Batch) -> None:
        """An object cannot be received: record it and tell the sender."""
        if self.close(obj, InStep.FAILED, text, batch):
            self.answer(obj, batch)

    def forget_due(self, obj: InObject, batch: Batch) -> None:
        """Forget an object that was over long ago."""
        self._forget(obj.key, batch)

    def _retire(self, obj: InObject) -> None:
        over_ms = max(obj.expires_ms, self._port.dtn_ms()) + self._config.retain_ms
        self.timers.arm_at(("forget", obj.key), over_ms)
        self._closed.add(obj.source, obj.key)

    def _forget(self, key: str, batch: Batch) -> None:
        obj = self._objects.pop(key, None)
        if obj is not None:
            self._closed.remove(obj.source, key)
            self.timers.cancel(("forget", key))
            batch.write(SPACE_IN, key, None)

    def settle(self, obj: InObject) -> None:
        """Wait a little for stragglers before asking for what is missing."""
        self.timers.arm_in(("settle", obj.key), self._config.settle_s)

    # -- what is said to the sender

    def request(self, obj: InObject, batch: Batch) -> None:
        """Ask for the first missing chunks, under the number of the object's round."""
        spans = obj.missing(messages.REPAIR_SPANS_MAX)
        if spans and 2 <= obj.round <= messages.ROUND_MAX:
            repair = Repair(obj.object_id, obj.round, spans)
            self._say(obj.source, repair.encode(), obj.expires_ms, obj.policy, batch)

    def answer(self, obj: InObject, batch: Batch) -> None:
        """Tell the object's fate."""
        verdict = Verdict(_OUTCOMES[obj.state], obj.text)
        self.tell(obj, verdict, batch)

    def tell(self, obj: InObject, verdict: Verdict, batch: Batch) -> None:
        """Send a receipt about an object under way."""
        receipt = Receipt(obj.object_id, verdict.outcome, verdict.text)
        self._say(obj.source, receipt.encode(), obj.expires_ms, obj.policy, batch)

    def refuse(self, delivery: Delivery, object_id: bytes, verdict: Verdict, batch: Batch) -> None:
        """Send a receipt about an object that is not taken."""
        receipt = Receipt(object_id, verdict.outcome, verdict.text)
        source, expires_ms = delivery.id.source, delivery.expires_ms
        self._say(source, receipt.encode(), expires_ms, delivery.policy, batch)

    def _say(
        self, to: Eid, payload: bytes, expires_ms: int, policy: DataPolicy | None, batch: Batch
    ) -> None:
        """`policy`: that of the object."""
        if not to.is_null:
            lifetime_ms = max(expires_ms - self._port.dtn_ms(), _RECEIPT_LIFETIME_MS_MIN)
            where = (to, payload, lifetime_ms, self._service)
            batch.sends.append(Outgoing(*where, priority=2, policy=about(policy, to)))

    # -- what is said to people

    def report(self, kind: str, obj: InObject) -> None:
        """Emit an event."""
        self._emit(FileEvent(kind, self.progress(obj)))

    def progress(self, obj: InObject) -> Progress:
        """How far an object is."""
        is_open = obj.state is InState.RECEIVING
        done = obj.have_bytes if is_open else (obj.size if obj.state is InState.RECEIVED else 0)
        return Progress(
            obj.object_id,
            obj.source,
            "" if obj.offer is None else obj.offer.name,
            "in",
            obj.state.name.lower(),
            is_open,
            done,
            obj.size,
            rate_of(obj.got_bytes, obj.started_ns, self._port.now()) if is_open else 0.0,
            obj.text,
        )

    def all_progress(self) -> Iterator[Progress]:
        """How far every object is."""
        return map(self.progress, list(self._objects.values()))
