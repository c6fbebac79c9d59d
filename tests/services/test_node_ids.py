"""What a node answers to a challenge of its id, and what it says to whom (RFC 9891 §3.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stack.core.eid import Eid
from stack.engines.acme.responder import ExpectedChallenge
from stack.ports.application import BundleId, Delivery, Outgoing
from stack.services.batch import Batch
from stack.services.node_ids import NodeIdService
from stack.wire.bundle import ACME_NODE_ID, AcmeChallenge, AcmeResponse, decode_acme_record
from stack.wire.bundle import encode_acme_record as encode

CA, SAT = Eid.parse("dtn://ca/"), Eid.parse("dtn://sat1/")
NOW_MS = 800_000_000_000
ID_CHAL = "A" * 22


class Node:
    """A port and its records."""

    node_id = SAT

    def __init__(self) -> None:
        self.handlers: dict[int, Callable[[Delivery, Batch], object]] = {}
        self.traces: list[dict[str, Any]] = []
        whole: Any = self
        self.service = NodeIdService(whole, whole)

    def handle(self, kind: int, handler: Callable[[Delivery, Batch], object]) -> None:
        self.handlers[kind] = handler

    def entropy(self, count: int) -> bytes:
        return bytes(count)

    def now(self) -> int:
        return 0

    def dtn_ms(self) -> int:
        return NOW_MS

    def trace(self, event: str, fields: dict[str, Any]) -> None:
        self.traces.append(fields)

    def take(self, payload: bytes, left_ms: int) -> list[Outgoing]:
        """What leaves after a record has come that lives for so long."""
        batch = Batch()
        source = BundleId(CA, NOW_MS - 1000, 1)
        delivery = Delivery(1, source, SAT, payload, NOW_MS + left_ms, 1, admin=True)
        self.handlers[ACME_NODE_ID](delivery, batch)
        return batch.sends


@pytest.fixture
def node() -> Node:
    made = Node()
    made.service.expect(ExpectedChallenge(ID_CHAL, "B" * 22, "C" * 43), 60.0)
    return made


def test_a_response_goes_back_and_lives_as_long_as_its_challenge(node: Node) -> None:
    (sent,) = node.take(encode(AcmeChallenge(bytes(16), b"t" * 16)), 7000)
    assert (sent.destination, sent.lifetime_ms) == (CA, 7000)
    assert (sent.admin, sent.acknowledge) == (True, False)
    record = decode_acme_record(sent.payload)
    assert isinstance(record, AcmeResponse)
    assert (record.id_chal, record.token_bundle) == (bytes(16), b"t" * 16)


def test_a_challenge_whose_time_is_over_is_not_answered(node: Node) -> None:
    assert node.take(encode(AcmeChallenge(bytes(16), b"t" * 16)), 0) == []


def test_what_cannot_be_read_is_told(node: Node) -> None:
    assert node.take(b"\x82\x18\xff\xa0", 7000) == []
    assert "why" in node.traces[0]
