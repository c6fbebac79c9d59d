"""Bits that flip at rest while bundles wait in a whole node: they arrive as they were sent, or are
in quarantine, and an operator is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from link_models.channel import ChannelConfig, Delay, always_up
from link_models.clock import VirtualLoop, run_virtual
from stack.cli.node.status import _store_troubles
from stack.contacts.plan import Contact, Plan
from stack.core.clock import MILLISECOND
from stack.core.eid import Eid
from stack.node.config import StoreSection
from stack.node.control.operations import NodeOperations
from stack.node.control.request import Request, Session
from stack.node.node import Node
from stack.ports.application import Outgoing
from stack.ports.store import Place
from stack.storage.staged import Scrubbed
from stack.storage.writer import StoreWriter
from stack.wire.bundle import REPORT_DELETION, ReportReason, StatusReport, decode_admin
from tests.node import world
from tests.node.world import EPOCH_MS, World
from tests.storage.test_upsets import change

SAT = Eid.parse("dtn://sat1/messages")
COUNT = 40
CONTACT_S = 200
BEYOND = dict.fromkeys(range(0, 900), 0x55)


def pair(root: Path, scrub_every_s: int) -> list[Node]:
    """gs1 and sat1; they see each other after `CONTACT_S`, when gs1 has long scrubbed its store."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    joined = World(loop, root, protect=False)
    ends = ("gs1", "sat1")
    joined.connect(*ends, ChannelConfig(windows=always_up(10e6), delay=Delay.constant(MILLISECOND)))
    start_ms = EPOCH_MS + CONTACT_S * 1000
    plan = Plan(
        [
            Contact(f"dtn://{one}/", f"dtn://{other}/", start_ms, start_ms + 10**7, 2e6)
            for one, other in (ends, ends[::-1])
        ]
    )
    nodes = []
    for one, other in (ends, ends[::-1]):
        links = [joined.link(one, other, scheduled=True, rate_bps=2e6, owlt_ms=1.0)]
        node = joined.node(one, links, plan=plan, agent={"status_reports": True})
        section = StoreSection(synchronous="normal", parity=True, scrub_every_s=scrub_every_s)
        node.config = replace(node.config, store=section)
        nodes.append(node)
    return nodes


def payload(number: int) -> bytes:
    return b"%03d" % number * 400


async def fill(node: Node) -> list[int]:
    """Refs of the bundles that wait, none of whose octets are in memory."""
    await node.port.commit(
        send=[
            Outgoing(
                SAT,
                payload(number),
                3_600_000,
                "inbox",
                report_to=Eid.parse("dtn://gs1/inbox"),
                report_flags=REPORT_DELETION,
            )
            for number in range(COUNT)
        ]
    )
    refs = sorted(node._agent.entries)
    for ref in refs:
        node._driver.octets.forget(ref)
    return refs


@pytest.mark.parametrize("scrubbed", [True, False], ids=["by the scrubber", "when it is sent"])
def test_what_flips_while_it_waits_arrives_or_is_in_quarantine(
    tmp_path: Path, scrubbed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        every_s = 60 if scrubbed else 10**6
        ground, satellite = pair(tmp_path, scrub_every_s=every_s)
        async with ground, satellite:
            mailbox = satellite.port.register("messages")
            reports = ground.port.register("inbox")
            await asyncio.sleep(1)  # the pass at the start is over
            refs = await fill(ground)
            for ref in refs:
                change(tmp_path / "gs1" / "store", ref, {400: 1, 401: 0x80, 700: 0xFF})
            change(tmp_path / "gs1" / "store", refs[7], BEYOND)
            await asyncio.sleep(CONTACT_S - 10)
            counters = ground.counters()
            if scrubbed:
                assert counters["store.repaired"] == COUNT - 1
                assert counters["store.scrubbed_bytes"] > COUNT * 1200
                assert [entry.ref for entry in ground.quarantined()] == [refs[7]]
            else:
                assert counters["store.repaired"] == 0
            await asyncio.sleep(60)
            got = {bytes((await mailbox.receive()).payload) for _ in range(COUNT - 1)}
            assert got == {payload(number) for number in range(COUNT) if number != 7}
            counters = ground.counters()
            assert counters["store.repaired_octets"] == 3 * (COUNT - 1)
            assert (counters["store.damaged"], counters["bundles.damaged"]) == (1, 1)
            (held,) = ground.quarantined()
            assert held.ref == refs[7]
            assert len(ground.octets(held.ref) or b"") > 1200
            report = decode_admin(bytes((await reports.receive()).payload))
            assert isinstance(report, StatusReport)
            assert (report.deleted, report.reason) == (True, ReportReason.BLOCK_UNINTELLIGIBLE)
            session = Mock(spec=Session)
            operations = NodeOperations(ground, lambda: None)
            told = await operations.status(Request({"op": "status"}), session)
            _store_troubles(told["store"])
            assert told["quarantine"] == 1
        said = capsys.readouterr().out
        assert f"{3 * (COUNT - 1)} octets of {COUNT - 1} bundles" in said
        assert "damaged at rest, beyond repair: 1 bundle;" in said

    run_virtual(main)


def test_it_is_still_in_quarantine_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        ground, _ = pair(tmp_path, scrub_every_s=10)
        async with ground:
            refs = await fill(ground)
            change(tmp_path / "gs1" / "store", refs[3], BEYOND)
            await asyncio.sleep(30)
        ground, _ = pair(tmp_path, scrub_every_s=10)
        async with ground:
            await asyncio.sleep(30)
            (held,) = ground.quarantined()
            assert (held.ref, held.place) == (refs[3], Place.QUARANTINE)
            assert b"damaged at rest" in held.note
            assert ground.octets(held.ref) is not None
            assert ground.counters()["store.damaged"] == 0, "it is counted once"

    run_virtual(main)


def test_a_delivery_is_mended_before_the_application_sees_it(tmp_path: Path) -> None:
    async def main() -> None:
        ground, satellite = pair(tmp_path, scrub_every_s=10**6)
        async with ground, satellite:
            await fill(ground)
            await asyncio.sleep(CONTACT_S + 60)
            refs = sorted(satellite._agent.entries)
            assert len(refs) == COUNT
            for ref in refs:
                satellite._driver.octets.forget(ref)
                change(tmp_path / "sat1" / "store", ref, {500: 1})
            mailbox = satellite.port.register("messages")
            got = [bytes((await mailbox.receive()).payload) for _ in refs]
            assert sorted(got) == [payload(number) for number in range(COUNT)]
            assert satellite.counters()["store.repaired"] == COUNT

    run_virtual(main)


def test_a_clock_that_was_set_forward_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has expired by the new time is let go of, though its timer counts from the old."""

    async def main() -> None:
        ground, _ = pair(tmp_path, scrub_every_s=10**6)
        async with ground:
            await fill(ground)  # lives for an hour
            await asyncio.sleep(1)
            monkeypatch.setattr(world, "EPOCH_MS", EPOCH_MS + 3_600_000)
            await asyncio.sleep(610)
            assert not any(entry.place is Place.FORWARD for entry in ground._agent.entries.values())

    run_virtual(main)


def test_a_step_of_the_scrubber_that_fails_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, steps = StoreWriter.scrub, Counter[int]()

    async def scrub(writer: StoreWriter) -> Scrubbed:
        steps[id(writer)] += 1
        if steps[id(writer)] == 1:
            raise RuntimeError("planted")
        return await real(writer)

    async def main() -> None:
        ground, satellite = pair(tmp_path, scrub_every_s=60)
        async with ground, satellite:
            await asyncio.sleep(100)

    monkeypatch.setattr(StoreWriter, "scrub", scrub)
    run_virtual(main)
    assert len(steps) == 2
    assert min(steps.values()) > 1
