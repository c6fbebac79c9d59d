"""What a node answers to a challenge of its id, and what it says to whom (RFC 9891 §3.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from stack.core.eid import Eid
from stack.core.errors import StoreError
from stack.engines.acme.responder import ExpectedChallenge
from stack.ports.application import BundleId, Delivery, Outgoing
from stack.ports.store import Write
from stack.services.batch import Batch
from stack.services.node_ids import SPACE, NodeIdService
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
        self.state: dict[str, bytes] = {}
        self.full = False
        self.now_ms = NOW_MS
        self.start()

    def start(self) -> None:
        """Begin anew, with what is in the store."""
        whole: Any = self
        self.service = NodeIdService(whole, whole)

    def read_all(self, space: str) -> list[tuple[str, bytes]]:
        assert space == SPACE
        return sorted(self.state.items())

    async def commit(self, write: Sequence[Write]) -> None:
        if self.full:
            raise StoreError("the disk is full")
        self.keep(write)

    def keep(self, write: Sequence[Write]) -> None:
        for one in write:
            if one.value is None:
                self.state.pop(one.key)
            else:
                self.state[one.key] = one.value

    def expect(self, id_chal: str = ID_CHAL, seconds: float = 60.0) -> int:
        expected = ExpectedChallenge(id_chal, "B" * 22, "C" * 43)
        return asyncio.run(self.service.expect(expected, seconds))

    def handle(self, kind: int, handler: Callable[[Delivery, Batch], object]) -> None:
        self.handlers[kind] = handler

    def entropy(self, count: int) -> bytes:
        return bytes(count)

    def now(self) -> int:
        return 0

    def dtn_ms(self) -> int:
        return self.now_ms

    def trace(self, event: str, fields: dict[str, Any]) -> None:
        self.traces.append(fields)

    def take(self, payload: bytes, left_ms: int) -> list[Outgoing]:
        """What leaves after a record has come that lives for so long."""
        batch = Batch()
        source = BundleId(CA, NOW_MS - 1000, 1)
        delivery = Delivery(1, source, SAT, payload, NOW_MS + left_ms, 1, admin=True)
        self.handlers[ACME_NODE_ID](delivery, batch)
        self.keep(batch.writes)
        return batch.sends


@pytest.fixture
def node() -> Node:
    made = Node()
    made.expect()
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


CHALLENGE = encode(AcmeChallenge(bytes(16), b"t" * 16))


def test_a_restart_neither_forgets_what_is_expected_nor_what_was_answered(node: Node) -> None:
    node.start()
    assert len(node.take(CHALLENGE, 7000)) == 1
    node.start()
    assert node.take(CHALLENGE, 7000) == []
    assert len(node.take(encode(AcmeChallenge(bytes(16), b"u" * 16)), 7000)) == 1


def test_the_time_of_a_challenge_goes_on_while_the_node_does_not_run(node: Node) -> None:
    node.now_ms += 60_000
    node.start()
    assert node.take(CHALLENGE, 7000) == []
    assert node.expect("Q" * 22) == 1
    assert len(node.state) == 1  # what is over has gone from the store


def test_what_is_taken_back_is_so_after_a_restart(node: Node) -> None:
    assert asyncio.run(node.service.forget(ID_CHAL)) == 0
    node.start()
    assert node.take(CHALLENGE, 7000) == []


def test_nothing_is_promised_that_could_not_be_written_down(node: Node) -> None:
    node.full = True
    with pytest.raises(StoreError):
        node.expect("Q" * 22)
    node.full = False
    assert node.expect("g" * 22) == 2


def test_a_record_that_cannot_be_read_takes_no_other_with_it(node: Node) -> None:
    node.state["00"] = b"no record"
    node.start()
    assert len(node.take(CHALLENGE, 7000)) == 1
    assert node.expect() == 1
    assert "00" not in node.state
