"""Validation of node ids by bundles (RFC 9891), as a service of a node: answers the challenges that
its operator expects, and challenges others for an authority whose ACME server is beside it.

What comes here has been signed, together with its primary block (`stack.security.records`).

What the operator expects is in the store before he hears that it is answered, with the bundles that
were answered since: a node that is killed goes on with it.  Nobody answers with that alone, as a
response is signed by the node.  What this node asks of others ends with it.

Nothing is expected before it is in the store, and nothing that has been taken back gets there again
with an answer that has waited for room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Final

from stack.core.clock import MILLISECOND
from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.engines.acme.digest import TOKEN_CHARS_MAX, from_base64url
from stack.engines.acme.responder import (
    ANSWERS_MAX,
    ExpectedChallenge,
    PendingChallenge,
    Responder,
)
from stack.engines.acme.validator import ValidationOutcome, Validator
from stack.ports.application import AppPort, Delivery, Outgoing
from stack.ports.store import Write
from stack.services.batch import Batch, records
from stack.services.codec import decode, encode
from stack.services.reports import StatusReports
from stack.services.waiting import wait_until
from stack.wire.bundle import (
    ACME_NODE_ID,
    TOKEN_BYTES_MAX,
    AcmeChallenge,
    AcmeRecord,
    decode_acme_record,
    encode_acme_record,
)

PRIORITY: Final = 2
"""Little, and somebody waits for it."""

SPACE: Final = "node-ids"
VERSION: Final = 1
_TIME_MAX: Final = (1 << 63) - 1


class NodeIdService:
    """Both sides; its records come through `reports`."""

    def __init__(self, port: AppPort, reports: StatusReports) -> None:
        """Goes on with what was expected when the node ran last.  Raises `StoreError`."""
        self._port = port
        self._responder = Responder(records(port, "node_ids", SPACE, _decode))
        self._validator = Validator(port.entropy)
        self._lock = asyncio.Lock()
        self._coming: PendingChallenge | None = None
        self._waiting: dict[str, asyncio.Event] = {}
        self._outcomes: dict[str, ValidationOutcome] = {}
        reports.handle(ACME_NODE_ID, self._take)

    async def expect(self, expected: ExpectedChallenge, seconds: float) -> int:
        """Answer this challenge for so long; how many are expected now.  It is durable when this
        returns.  Raises `LocalError`, `StoreError`."""
        async with self._lock:
            now_ms = self._port.dtn_ms()
            until_ms = now_ms + round(seconds * 1000)
            self._responder.check(expected, until_ms, now_ms)
            self._coming = PendingChallenge(expected, until_ms)
            try:
                await self._keep([from_base64url(expected.id_chal)])
            finally:
                self._coming = None
            self._responder.expect(expected, until_ms, now_ms)
            return len(self._responder.pending(now_ms))

    async def forget(self, id_chal: str) -> int | None:
        """Answer it no more; how many bundles were answered, None where it was not expected.
        Raises `DecodeError`, `StoreError`: then it is answered no more while the node runs, and it
        has to be asked for again for what is after that."""
        answered = self._responder.forget(id_chal)
        async with self._lock:
            await self._keep([from_base64url(id_chal)])
        return answered

    async def _keep(self, changed: Iterable[bytes]) -> None:
        """Have in the store what is expected, of which these have `changed`, and nothing else."""
        self._responder.pending(self._port.dtn_ms())  # those whose time is over go
        writes = [Write(SPACE, one.hex(), self._record(one)) for one in changed]
        told = {write.key for write in writes}
        for key, _ in self._port.read_all(SPACE):
            if key not in told and self._record_of(key) is None:
                writes.append(Write(SPACE, key, None))
        await self._port.commit(write=writes)

    def _record_of(self, key: str) -> bytes | None:
        """What has to be under a key."""
        try:
            return self._record(bytes.fromhex(key))
        except ValueError:  # nothing that was written here
            return None

    def _record(self, id_chal: bytes) -> bytes | None:
        """What has to be in the store of a challenge now, or None."""
        coming = self._coming
        if coming is None or from_base64url(coming.expected.id_chal) != id_chal:
            coming = self._responder.pending(self._port.dtn_ms()).get(id_chal)
        return None if coming is None else _encode(coming)

    async def validate(
        self, node: Eid, expected: ExpectedChallenge, rtt_s: float | None = None
    ) -> ValidationOutcome:
        """Whether who has an account's key controls `node`: challenge it from here, and wait, twice
        the round trip that its client expects.  Raises `LocalError`, `StoreError`."""
        port, own = self._port, self._port.node_id
        sent = self._validator.begin(node, expected, [own], port.dtn_ms(), rtt_s)
        decided = self._waiting[expected.id_chal] = asyncio.Event()
        try:
            await port.commit(
                send=[_outgoing(one.destination, one.record, one.lifetime_ms) for one in sent]
            )
            while not decided.is_set():
                left_ms = (self._validator.next_ms() or 0) - port.dtn_ms()
                await wait_until(port, decided, port.now() + max(1, left_ms) * MILLISECOND)
                self._settle()
            return self._outcomes.pop(expected.id_chal)
        finally:
            self._validator.cancel(expected.id_chal)
            del self._waiting[expected.id_chal]

    def _settle(self) -> None:
        for outcome in self._validator.poll(self._port.dtn_ms()):
            if decided := self._waiting.get(outcome.id_chal):
                self._outcomes[outcome.id_chal] = outcome
                decided.set()

    def _take(self, delivery: Delivery, batch: Batch) -> None:
        try:
            record = decode_acme_record(delivery.payload)
        except DecodeError as error:
            self._port.trace("admin_record_malformed", {"why": str(error)})
            return
        if isinstance(record, AcmeChallenge):
            self._answer(delivery, record, batch)
            return
        place, now_ms = delivery.destination, self._port.dtn_ms()
        self._validator.receive(delivery.id.source, place, record, now_ms)
        self._settle()

    def _answer(self, delivery: Delivery, record: AcmeChallenge, batch: Batch) -> None:
        """The response has what is left of the challenge's lifetime (§3.4)."""
        now_ms = self._port.dtn_ms()
        source, left_ms = delivery.id.source, delivery.expires_ms - now_ms
        response, why = self._responder.receive(record, now_ms)
        if response is not None:
            batch.write(SPACE, record.id_chal.hex(), partial(self._record, record.id_chal))
            if left_ms > 0:
                batch.sends.append(_outgoing(source, response, left_ms))
        told = {"from": str(source), "answered": response is not None, "why": why}
        self._port.trace("node_id_challenge", told)


def _encode(pending: PendingChallenge) -> bytes:
    told = pending.expected
    texts = (told.id_chal, told.token_chal, told.thumbprint)
    answered = [[token] for token in sorted(pending.answered)]
    return encode([VERSION, *texts, pending.until_ms, answered])


def _decode(key: str, value: bytes) -> PendingChallenge:
    """Inverse of `_encode`.  Raises `DecodeError`."""
    fields = decode(value, "durable record of node id validation")
    fields.uint(VERSION, 1)
    told = ExpectedChallenge(*(fields.text(TOKEN_CHARS_MAX) for _ in range(3)))
    until_ms = fields.uint(_TIME_MAX)
    answered = {row.blob(TOKEN_BYTES_MAX) for row in fields.array(ANSWERS_MAX)}
    fields.end()
    return PendingChallenge(told, until_ms, answered)


def _outgoing(destination: Eid, record: AcmeRecord, lifetime_ms: int) -> Outgoing:
    return Outgoing(
        destination,
        encode_acme_record(record),
        lifetime_ms,
        "",
        priority=PRIORITY,
        admin=True,
        acknowledge=isinstance(record, AcmeChallenge),
    )
