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
        self.full = self.broken = False
        """No room for anything more; nor to let go of anything."""
        self.waits = asyncio.Event()
        """Something waits for room."""
        self.now_ms = NOW_MS
        self.start()

    def start(self) -> None:
        """Begin anew, with what is in the store."""
        whole: Any = self
        self.service = NodeIdService(whole, whole)

    def read_all(self, space: str) -> list[tuple[str, bytes]]:
        assert space == SPACE
        return sorted(self.state.items())

    async def commit(self, write: Sequence[Write] = (), **_: object) -> list[BundleId]:
        await asyncio.sleep(0)
        if self.full and (self.broken or any(one.value is not None for one in write)):
            raise StoreError("the disk is full")
        self.keep(write)
        return []

    async def sleep(self, seconds: float) -> None:
        self.waits.set()
        await asyncio.sleep(0)

    def keep(self, write: Sequence[Write]) -> None:
        for one in write:
            if one.value is None:
                self.state.pop(one.key, None)
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


def answering(node: Node, token: bytes = b"t" * 16) -> Batch:
    """A step that answers a challenge, and is not committed yet."""
    batch = Batch()
    source = BundleId(CA, NOW_MS - 1000, 1)
    payload = encode(AcmeChallenge(bytes(16), token))
    delivery = Delivery(1, source, SAT, payload, NOW_MS + 7000, 1, admin=True)
    node.handlers[ACME_NODE_ID](delivery, batch)
    assert len(batch.sends) == 1
    return batch


@pytest.mark.parametrize("again", [False, True])
def test_an_answer_that_has_waited_for_room_does_not_bring_back_what_was_forgotten(
    node: Node, again: bool
) -> None:
    """A full store lets go of things, and takes nothing more for a while."""

    async def main() -> None:
        node.full = True
        port: Any = node
        step = asyncio.create_task(answering(node).commit(port))
        await asyncio.wait_for(node.waits.wait(), 10)
        assert await node.service.forget(ID_CHAL) == 1
        assert node.state == {}
        if again:  # with another token
            node.full = False
            await node.service.expect(ExpectedChallenge(ID_CHAL, "D" * 22, "C" * 43), 60.0)
        node.full = False
        await step

    asyncio.run(main())
    node.start()
    assert len(node.take(CHALLENGE, 7000)) == again
    assert len(node.state) == again


def test_what_was_answered_while_there_was_no_room_is_not_answered_again(node: Node) -> None:
    async def main() -> None:
        node.full = True
        port: Any = node
        steps = [
            asyncio.create_task(answering(node, token).commit(port))
            for token in (b"t" * 16, b"u" * 16)
        ]
        await asyncio.sleep(0)
        node.full = False
        await asyncio.gather(*steps)

    asyncio.run(main())
    node.start()
    assert node.take(CHALLENGE, 7000) == []


def test_nothing_is_answered_before_it_is_written_down() -> None:
    node = Node()

    async def main() -> None:
        told = asyncio.create_task(
            node.service.expect(ExpectedChallenge(ID_CHAL, "B" * 22, "C" * 43), 60.0)
        )
        await asyncio.sleep(0)
        assert node.state == {}
        assert node.take(CHALLENGE, 7000) == []
        assert await told == 1
        assert len(node.take(CHALLENGE, 7000)) == 1

    asyncio.run(main())


def test_a_promise_that_could_not_be_renewed_stays_as_it_was(node: Node) -> None:
    node.full = True
    with pytest.raises(StoreError):
        node.expect()
    assert len(node.take(CHALLENGE, 7000)) == 1
    node.start()
    assert node.take(CHALLENGE, 7000) == []


def test_an_answer_does_not_undo_a_promise_that_is_being_renewed(node: Node) -> None:
    async def main() -> None:
        step = answering(node)
        renewed = asyncio.create_task(
            node.service.expect(ExpectedChallenge(ID_CHAL, "D" * 22, "C" * 43), 60.0)
        )
        await asyncio.sleep(0)
        node.keep(step.writes)
        await renewed

    asyncio.run(main())
    before = dict(node.state)
    assert b"D" * 22 in before["00" * 16]


def test_two_at_a_time_write_down_their_own_alone(node: Node) -> None:
    """Neither makes durable what the other could not."""

    async def main() -> None:
        node.full = True
        first = asyncio.create_task(
            node.service.expect(ExpectedChallenge("Q" * 22, "B" * 22, "C" * 43), 60.0)
        )
        second = asyncio.create_task(
            node.service.expect(ExpectedChallenge("g" * 22, "B" * 22, "C" * 43), 60.0)
        )
        with pytest.raises(StoreError):
            await first
        node.full = False
        assert await second == 2

    asyncio.run(main())
    node.start()
    assert node.expect("w" * 22) == 3


def test_what_could_not_be_forgotten_on_disk_is_forgotten_when_it_is_asked_again(
    node: Node,
) -> None:
    node.full = node.broken = True
    with pytest.raises(StoreError):
        asyncio.run(node.service.forget(ID_CHAL))
    assert node.take(CHALLENGE, 7000) == []
    node.full = False
    assert asyncio.run(node.service.forget(ID_CHAL)) is None
    assert node.state == {}
