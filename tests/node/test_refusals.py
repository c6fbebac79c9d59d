"""A sender that repeats what was refused at once is not let do so at full speed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from link_models.clock import VirtualLoop, run_virtual
from stack.core.clock import MILLISECOND, SECOND
from stack.core.eid import Eid
from stack.core.train import Train, single
from stack.node.refusals import HOLD_FIRST_NS, HOLD_MAX_NS, Refusals
from stack.wire.bundle import (
    CRC_16,
    IS_FRAGMENT,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    bundle_age,
)
from stack.wire.ltp import (
    CancelAck,
    CancelSegment,
    DataSegment,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
    decode_segment,
    encode_segment,
)
from tests.node.world import EPOCH_MS, World
from tests.wire.bundle import reference

PEER = 2
REPEAT_S = 0.01
"""A round trip."""


class Insisting:
    """A port to a peer that sends one block, and again in a new session when it is refused."""

    def __init__(self, loop: VirtualLoop, blocks: list[bytes]) -> None:
        self.on_receive: Callable[[list[Train]], None] = lambda trains: None
        self.on_writable: Callable[[], None] = lambda: None
        self.on_stranger: Callable[[str], None] = lambda address: None
        self._loop = loop
        self._blocks = dict(enumerate(blocks, 1))
        self.sent = 0
        self.accepted = 0
        for number in self._blocks:
            loop.call_later(REPEAT_S, self._send, number)

    def _send(self, number: int) -> None:
        self.sent += 1
        block = self._blocks.pop(number)
        self._blocks[number + 1000] = block
        self._says(
            DataSegment(
                session=SessionId(PEER, number + 1000),
                kind=SegmentType.RED_END_BLOCK,
                client_service=1,
                offset=0,
                data=block,
                checkpoint_serial=1,
            )
        )

    def _says(self, segment: Segment) -> None:
        self.on_receive([single(encode_segment(segment))])

    def send(self, trains: Sequence[Train]) -> bool:
        for train in trains:
            for datagram in train.datagrams():
                self._loop.call_later(REPEAT_S, self._hears, decode_segment(datagram, 0)[0])
        return True

    def _hears(self, segment: Segment) -> None:
        match segment:
            case CancelSegment():
                self._says(CancelAck(session=segment.session, to_sender=False))
                if segment.session.number in self._blocks:
                    self._send(segment.session.number)
            case ReportSegment():
                self.accepted += 1
                self._says(ReportAck(session=segment.session, report_serial=segment.report_serial))

    def counters(self) -> dict[str, int]:
        return {}

    async def close(self) -> None:
        """Nothing to close."""


def ion_fragments(size: int, each: int) -> list[bytes]:
    """As ION 4.1 makes them: extension blocks numbered 0."""
    payload = bytes(range(256)) * (size // 256)
    return [
        reference.encode(
            Bundle(
                PrimaryBlock(
                    Eid.parse("dtn://here/messages"),
                    Eid.parse("ipn:2.1"),
                    Eid.parse("dtn:none"),
                    EPOCH_MS,
                    5,
                    86_400_000,
                    IS_FRAGMENT,
                    fragment_offset=at,
                    total_adu_length=len(payload),
                ),
                (
                    CanonicalBlock(193, 0, 0, b"\x01"),
                    CanonicalBlock(7, 0, 0, bundle_age(5).data),
                    CanonicalBlock(1, 1, 0, payload[at : at + each], CRC_16),
                ),
            )
        )
        for at in range(0, len(payload), each)
    ]


def run(folder: Path, blocks: list[bytes], seconds: float, **agent: Any) -> tuple[Insisting, Any]:
    """A node beside such a peer for a while in virtual time: the port, its counters."""
    found: list[Any] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        world = World(loop, folder, protect=False, store="memory")
        port = Insisting(loop, blocks)
        node = world.node("here", [world.link("here", "peer")], port=lambda link: port, agent=agent)
        async with node:
            await asyncio.sleep(seconds)
            found.append((port, node.counters()))

    run_virtual(main)
    return found[0]  # type: ignore[no-any-return]


def test_what_cannot_be_read_is_not_asked_for_at_full_speed(tmp_path: Path) -> None:
    port, counters = run(tmp_path, ion_fragments(25_600, 25_600), 120.0)
    assert counters["bundles.dropped_malformed"] == port.sent
    assert 4 < port.sent < 30, "it was 6,000 with a refusal at once"
    assert port.accepted == 0


def test_what_can_be_read_beside_it_is_taken(tmp_path: Path) -> None:
    port, counters = run(tmp_path, ion_fragments(25_600, 20_480), 60.0, lenient=True)
    assert port.accepted == port.sent == 2
    assert counters["bundles.reassembled"] == 1


def test_refusals_come_in_rounds_further_and_further_apart() -> None:
    refusals = Refusals()
    now = SECOND
    told = []
    for _ in range(40):
        now += refusals.hold(now)
        told.append(now)
        now += MILLISECOND  # and it is there again
    assert told[1] - told[0] <= HOLD_FIRST_NS
    assert told[-1] - told[0] > 10 * HOLD_MAX_NS
    assert all(b - a <= HOLD_MAX_NS for a, b in itertools.pairwise(told))


@pytest.mark.parametrize("pause_ns", [HOLD_MAX_NS, 10 * HOLD_MAX_NS])
def test_who_waits_by_himself_is_told_at_once(pause_ns: int) -> None:
    refusals = Refusals()
    now = SECOND
    for _ in range(20):
        assert refusals.hold(now) == 0
        now += pause_ns + MILLISECOND


def test_a_long_pause_forgets() -> None:
    refusals = Refusals()
    now = SECOND
    for _ in range(20):
        now += refusals.hold(now) + 1
    now += 4 * HOLD_MAX_NS
    assert refusals.hold(now) == 0
    assert refusals.hold(now + 1) <= HOLD_FIRST_NS
