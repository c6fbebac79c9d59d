"""A neighbour that is not quite as configured: over real UDP, as it would be met in the field."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from stack.core.eid import Eid
from stack.engines.ltp import LtpConfig
from stack.node.config import LinkConfig, LogConfig, NodeConfig, SecurityConfig, StoreSection
from stack.node.node import Node
from stack.services.messages import send_message
from stack.wire.ltp import (
    CancelAck,
    CancelReason,
    CancelSegment,
    Claim,
    DataSegment,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
    decode_segment,
    encode_segment,
)

HERE, PEER = 1, 2
LOCAL = ("127.0.0.1", 0)
Events = list[tuple[str, dict[str, Any]]]


def udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(LOCAL)
    sock.setblocking(False)
    return sock


class Peer:
    """An LTP engine that is played by hand; it sends from another port than it listens on."""

    def __init__(self) -> None:
        self.listening, self.sending = udp(), udp()
        with udp() as free:
            self.node_port = int(free.getsockname()[1])

    def says(self, segment: Segment) -> None:
        self.sending.sendto(encode_segment(segment), ("127.0.0.1", self.node_port))

    async def hears(self) -> Segment:
        async with asyncio.timeout(30):
            octets = await asyncio.get_running_loop().sock_recv(self.listening, 65_536)
        return decode_segment(memoryview(octets), 0)[0]

    def close(self) -> None:
        self.listening.close()
        self.sending.close()


@contextlib.asynccontextmanager
async def beside(folder: Path, **link: Any) -> AsyncIterator[tuple[Node, Peer, Events]]:
    """A node beside a peer by hand; what it traced."""
    peer = Peer()
    remote = f"127.0.0.1:{peer.listening.getsockname()[1]}"
    events: Events = []
    ltp = LtpConfig(local_engine_id=HERE, remote_engine_id=PEER)
    options: dict[str, Any] = {"remote": remote, "ltp": ltp} | link
    config = NodeConfig(
        id="ipn:1.0",
        data_dir=str(folder),
        store=StoreSection(kind="memory"),
        security=SecurityConfig(protect="none"),
        log=LogConfig(level="off"),
        links=(
            LinkConfig(
                name="peer",
                peer="ipn:2.0",
                local=f"127.0.0.1:{peer.node_port}",
                **options,
            ),
        ),
    )
    try:
        async with Node(config, trace=lambda *event: events.append(event)) as node:
            yield node, peer, events
    finally:
        peer.close()


async def traced(events: Events, wanted: str) -> dict[str, Any]:
    """The fields of the first event of that name."""
    async with asyncio.timeout(30):
        while True:
            for event, fields in events:
                if event == wanted:
                    return fields
            await asyncio.sleep(0.005)


DATA = DataSegment(
    session=SessionId(7, 1), kind=SegmentType.RED, client_service=1, offset=0, data=b"x"
)


def state(node: Node) -> str:
    return node.links["peer"].state


def cancelled(engine: int) -> CancelSegment:
    return CancelSegment(
        session=SessionId(engine, 77), reason=CancelReason.USR_CNCLD, by_sender=True
    )


def test_a_peer_that_sends_from_another_port_is_heard_and_answered(tmp_path: Path) -> None:
    async def main() -> None:
        async with beside(tmp_path) as (node, peer, _):
            link = node.links["peer"]
            assert state(node) == "open", "nothing was heard yet"
            peer.says(cancelled(PEER))
            assert await peer.hears() == CancelAck(session=SessionId(PEER, 77), to_sender=True)
            assert state(node) == "up"
            assert link.neighbour.hints == []

    asyncio.run(main())


def test_the_strict_form_drops_it_and_says_what_to_change(tmp_path: Path) -> None:
    async def main() -> None:
        async with beside(tmp_path, match_port=True) as (node, peer, events):
            for _ in range(3):
                peer.says(cancelled(PEER))
            told = await traced(events, "link_stranger")
            port = peer.sending.getsockname()[1]
            assert told["from"] == f"127.0.0.1:{port}"
            assert "match_port = false" in told["remedy"]
            link = node.links["peer"]
            async with asyncio.timeout(30):
                while link.figures()["udp.dropped_foreign"] < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            assert [event for event, _ in events].count("link_stranger") == 1
            assert len(link.neighbour.hints) == 1
            assert state(node) == "open"

    asyncio.run(main())


def test_another_host_is_dropped_with_the_way_to_admit_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with beside(tmp_path, remote="127.0.0.2:1113") as (node, peer, events):
            peer.says(cancelled(PEER))
            told = await traced(events, "link_stranger")
            port = peer.sending.getsockname()[1]
            assert "expects the host of 127.0.0.2:1113" in told["why"]
            assert f'remote = "127.0.0.1:{port}"' in told["remedy"]
            assert state(node) == "open"

    asyncio.run(main())


def test_another_number_of_the_peer_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with beside(tmp_path) as (node, peer, events):
            peer.says(DATA)
            told = await traced(events, "link_engine_unknown")
            assert told["why"] == "segments for engine 7 from 127.0.0.1, this link expects 2"
            assert "ltp.remote_engine_id = 7" in told["remedy"]
            link = node.links["peer"]
            assert link.figures()["ltp.segments_refused"] == 1
            assert told["why"] in link.neighbour.hints[0]
            assert state(node) == "open", "a stranger does not make a link heard"

    asyncio.run(main())


def test_another_number_of_this_node_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with beside(tmp_path) as (_, peer, events):
            peer.says(
                CancelSegment(
                    session=SessionId(9, 1), reason=CancelReason.USR_CNCLD, by_sender=False
                )
            )
            told = await traced(events, "link_engine_unknown")
            assert (
                "reports for engine 9 from 127.0.0.1: on this link we are engine 1" in told["why"]
            )
            assert "ltp.local_engine_id = 9" in told["remedy"]

    asyncio.run(main())


def test_a_peer_that_never_reports_is_told_until_it_does(tmp_path: Path) -> None:
    """ION drops the segments of an engine for which it has no span, and says nothing."""

    async def main() -> None:
        ltp = LtpConfig(
            local_engine_id=HERE, remote_engine_id=PEER, timer_margin_ns=1_000_000, stall_after=2
        )
        async with beside(tmp_path, ltp=ltp) as (node, peer, events):
            link = node.links["peer"]
            await send_message(node.port, Eid.parse("ipn:2.1"), b"is anybody there?")
            segment = await peer.hears()
            assert isinstance(segment, DataSegment)
            told = await traced(events, "link_unanswered")
            port = peer.listening.getsockname()[1]
            assert f"127.0.0.1:{port} has ever been reported on" in told["why"]
            assert "know engine 1 at the address of this node" in told["remedy"]
            assert state(node) == "silent"
            assert len(link.hints) == 1
            size = len(segment.data)
            peer.says(
                ReportSegment(
                    session=segment.session,
                    report_serial=5,
                    checkpoint_serial=segment.checkpoint_serial,
                    upper=size,
                    lower=0,
                    claims=(Claim(0, size),),
                )
            )
            await traced(events, "link_alive")
            assert link.hints == []
            assert [event for event, _ in events].count("link_unanswered") == 1

    asyncio.run(main())
