"""Validation of node ids by bundles (RFC 9891), as a service of a node: answers the challenges that
its operator expects, and challenges others for an authority whose ACME server is beside it.

What comes here has been signed, together with its primary block (`stack.security.records`).  Who
restarts a node begins anew: nothing is written down, as what answers a challenge is secret.
"""

from __future__ import annotations

import asyncio
from typing import Final

from stack.core.clock import MILLISECOND, SECOND
from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.engines.acme.responder import ExpectedChallenge, Responder
from stack.engines.acme.validator import ValidationOutcome, Validator
from stack.ports.application import AppPort, Delivery, Outgoing
from stack.services.batch import Batch
from stack.services.reports import StatusReports
from stack.services.waiting import wait_until
from stack.wire.bundle import (
    ACME_NODE_ID,
    AcmeChallenge,
    AcmeRecord,
    decode_acme_record,
    encode_acme_record,
)

PRIORITY: Final = 2
"""Little, and somebody waits for it."""


class NodeIdService:
    """Both sides; its records come through `reports`."""

    def __init__(self, port: AppPort, reports: StatusReports) -> None:
        self._port = port
        self._responder = Responder()
        self._validator = Validator(port.entropy)
        self._waiting: dict[str, asyncio.Event] = {}
        self._outcomes: dict[str, ValidationOutcome] = {}
        reports.handle(ACME_NODE_ID, self._take)

    def expect(self, expected: ExpectedChallenge, seconds: float) -> int:
        """Answer this challenge for so long; how many are expected now.  Raises `LocalError`."""
        now_ns = self._port.now()
        self._responder.expect(expected, now_ns + round(seconds * SECOND), now_ns)
        return self._responder.expected(now_ns)

    def forget(self, id_chal: str) -> int | None:
        """Answer it no more; how many bundles were answered, None where it was not expected.
        Raises `DecodeError`."""
        return self._responder.forget(id_chal)

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
        source, left_ms = delivery.id.source, delivery.expires_ms - self._port.dtn_ms()
        response, why = self._responder.receive(record, self._port.now())
        if response is not None and left_ms > 0:
            batch.sends.append(_outgoing(source, response, left_ms))
        told = {"from": str(source), "answered": response is not None, "why": why}
        self._port.trace("node_id_challenge", told)


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
