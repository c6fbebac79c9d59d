"""Two nodes without a key for each other, whose sessions have cookies (RFC 5327 §2.2)."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from link_models.clock import run_virtual
from stack.core.train import single
from stack.engines.ltp import LtpConfig
from stack.engines.ltp.cookies import OVERHEAD_BYTES
from stack.node.build import under_fec
from stack.node.config import LinkConfig
from stack.services.messages import Mailbox, send_message
from stack.wire.ltp import CancelSegment, decode_segment, encode_segment
from tests.node.test_link_keys import a_message_crosses, tap
from tests.node.test_two_nodes import SAT, channel, loop
from tests.node.world import World

PLAIN: dict[str, Any] = {"rate_bps": 1e6, "owlt_ms": 5.0, "authentication": "off"}


@pytest.mark.parametrize("theirs", [True, False])
def test_who_sees_no_cookie_cancels_no_session(tmp_path: Path, theirs: bool) -> None:
    """He has guessed a session number, and the peer may not know cookies: then they are no help."""

    async def main() -> None:
        world = World(loop(), tmp_path)
        world.connect("gs1", "sat1", channel())
        ground = world.node("gs1", [world.link("gs1", "sat1", cookies=True, **PLAIN)])
        satellite = world.node("sat1", [world.link("sat1", "gs1", cookies=theirs, **PLAIN)])
        seen = tap(world)
        async with ground, satellite:
            await a_message_crosses(ground, satellite)
            await send_message(ground.port, SAT.with_service("messages"), bytes(50_000))
            await asyncio.sleep(0.1)
            session = max(decode_segment(one)[0].session for one in seen)
            forged = encode_segment(CancelSegment(session=session, by_sender=False, reason=4))
            world.ports["gs1", "sat1"].on_receive([single(forged)])
            async with Mailbox(satellite.port) as mailbox:
                assert (await mailbox.receive()).payload == bytes(50_000)
            counters, link = ground.counters(), ground.links["sat1"]
            assert counters["link.sat1.cookie.missing"] == theirs
            assert counters["link.sat1.ltp.export_failed"] == (not theirs)
            told = [hint for hint in link.hints if "cookie" in hint]
            assert len(told) == theirs
            assert all("1 segments" in hint and "dtn://sat1/" in hint for hint in told)

    run_virtual(main)


def test_segments_leave_room_for_a_cookie() -> None:
    ltp = LtpConfig(local_engine_id=1, remote_engine_id=2)
    link = LinkConfig(name="l", peer="dtn://b/", ltp=ltp)
    bare, _ = under_fec(link, 1280)
    room, _ = under_fec(dataclasses.replace(link, cookies=True), 1280)
    assert bare.segment_bytes - room.segment_bytes == OVERHEAD_BYTES
    assert room.overhead_bytes - bare.overhead_bytes == OVERHEAD_BYTES
