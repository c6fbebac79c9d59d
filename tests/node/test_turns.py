"""A link's turn: whatever fails in a part of it stops no other part, and loses nothing."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from link_models.channel import Window
from link_models.clock import run_virtual
from stack.core.clock import SECOND
from stack.engines.bundle_agent import BundleAgent
from stack.engines.bundle_agent.ingress import Arrival, Ingress
from stack.engines.ltp import BlockReceived, LtpEngine
from stack.engines.ltp.driver import LtpDriver
from stack.node.driver import BundleDriver
from stack.node.link import Link
from stack.node.neighbour import Neighbour
from stack.node.octets import Octets
from stack.ports.store import NO_ROOM, Committed, Op, Place, Put
from stack.routing.forwarder import Forwarder
from stack.services.messages import Mailbox
from stack.storage.journal import Journal
from stack.storage.memory import MemoryStore
from tests.node.test_confined import MARK, at, gather, held_of, loop, relay, send

PARTS: list[tuple[Any, str]] = [
    *((Link, name) for name in ("_block", "_answer", "_note", "_failed", "take")),
    *((Link, name) for name in ("_progress", "_key", "_set_aside", "_heard", "sent", "fill")),
    *(
        (BundleDriver, name)
        for name in ("send", "run_pending", "retry_releases", "_note_expiry", "_split")
    ),
    (Neighbour, "unanswered"),
    (Octets, "load"),
    (Octets, "remember"),
    (Octets, "forget"),
    *((BundleAgent, name) for name in ("forwarded", "contact_failed")),
    *((BundleAgent, name) for name in ("contact_restored", "take_ops")),
    *((Forwarder, name) for name in ("take", "returned", "withdrawn", "waiting", "drain")),
    *((LtpEngine, name) for name in ("accept", "refuse", "report_noted", "withdraw", "room")),
    *((LtpEngine, name) for name in ("receive", "handle_deadline", "data_to_send", "next_event")),
    *((LtpDriver, name) for name in ("_due", "_events", "_send", "_refuse", "answer")),
]


RARE = {"_note", "unanswered", "contact_failed", "contact_restored", "drain"}
RARE |= {"report_noted", "withdraw"}
"""Called once or twice: only the first calls of these fail."""

CASES = [(owner, name, nth) for owner, name in PARTS for nth in (1, 4) if {name} - RARE or nth == 1]


@pytest.mark.parametrize(
    ("owner", "name", "nth"), CASES, ids=[f"{o.__name__}.{n}-{nth}" for o, n, nth in CASES]
)
def test_a_part_of_a_turn_that_fails_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, nth: int
) -> None:
    """Each of the first calls of one function fails, from the `nth` on; the relay is refused what
    it sends for a while, and each link falls silent for some seconds."""
    real, calls = getattr(owner, name), 0

    @functools.wraps(real)
    def planted(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += loop().now_ns > SECOND // 2
        if nth <= calls < nth + 2:
            raise ValueError("planted")
        return real(*args, **options)

    refuse(monkeypatch)
    monkeypatch.setattr(owner, name, planted)

    async def main() -> None:
        loop().set_exception_handler(lambda _, context: None)
        first = Window(0, 2 * SECOND, 10e6)
        last = Window(9 * SECOND, 1 << 62, 10e6)
        # One that has never answered is told of.
        windows = (last,) if name == "unanswered" else (first, last)
        nodes = relay(tmp_path, scheduled=True, windows=windows)
        wanted = {b"%d " % number * 300 for number in range(24)}
        ground, satellite, far = nodes
        async with ground, satellite, far, Mailbox(far.port) as mailbox:
            await asyncio.sleep(0.6)
            for start in range(0, 24, 4):
                await send(ground, sorted(wanted)[start : start + 4])
                await asyncio.sleep(0.6)
            got = await gather(mailbox, wanted, 300)
            # What failed for one bundle alone has put it into quarantine.
            kept = [node.octets(one.ref) or b"" for node in nodes for one in node.quarantined()]
            assert {
                one for one in wanted - got if not any(one[:30] in encoded for encoded in kept)
            } == set()
            assert calls >= nth, "nothing comes this way: let something befall a link"

    run_virtual(main)


def refuse(patch: pytest.MonkeyPatch) -> None:
    """For a second, what comes from the relay is refused."""
    real = Link._answer

    def answer(self: Link, event: Any, intact: bool, at_once: bool, outcome: Any) -> None:
        early = SECOND < loop().now_ns < 2 * SECOND and self.peer == "dtn://sat1/"
        early = early and isinstance(event, BlockReceived)
        real(self, event, intact and not early, False, outcome if intact else Committed([]))

    patch.setattr(Link, "_answer", answer)


def test_a_bundle_that_the_store_cannot_take_keeps_no_other_of_its_block_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender sends all of them in one block again and again, as other stacks do."""
    real = MemoryStore.commit

    def commit(store: MemoryStore, ops: Sequence[Op], now_ms: int) -> Committed:
        if any(
            isinstance(op, Put) and op.previous == "dtn://gs1/" and MARK in bytes(op.encoded)
            for op in ops
        ):
            raise ValueError("planted")
        return real(store, ops, now_ms)

    monkeypatch.setattr(MemoryStore, "commit", commit)
    monkeypatch.setattr(Forwarder, "failures", lambda forwarder, ref: 0)

    async def main() -> None:
        ground, satellite, far = relay(tmp_path)
        others = {b"other %d" % number for number in range(8)}
        async with ground, satellite, far, Mailbox(far.port) as mailbox:
            await send(ground, [*sorted(others)[:4], MARK, *sorted(others)[4:]])
            assert await gather(mailbox, others | {MARK}, 60) == others
            assert held_of(ground), "its sender has been told nothing else, and keeps it"
            assert satellite.counters()["bundles.store_errors"] >= 2

    run_virtual(main)


def test_what_finds_no_room_in_quarantine_stays_with_its_sender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused, as nothing that is acknowledged may be lost; the rest of its block is kept,
    and it goes into quarantine once there is room."""
    take, put, full = Ingress.take, MemoryStore._put, True

    def judge(ingress: Ingress, arrival: Arrival, now_ms: int, **options: Any) -> Any:
        bundle = at(arrival.data, arrival.offset)
        if bundle is not None and MARK in bytes(bundle.payload.data):
            raise ValueError("planted")
        return take(ingress, arrival, now_ms, **options)

    def store(self: MemoryStore, puts: Sequence[Put], now_ms: int, journal: Journal) -> Committed:
        fits = [one for one in puts if not (full and one.place is Place.QUARANTINE)]
        refs = iter(put(self, fits, now_ms, journal).refs)
        return Committed([next(refs) if one in fits else NO_ROOM for one in puts])

    monkeypatch.setattr(Ingress, "take", judge)
    monkeypatch.setattr(MemoryStore, "_put", store)

    async def main() -> None:
        nonlocal full
        ground, satellite, far = relay(tmp_path)
        others = {b"other %d" % number for number in range(8)}
        async with ground, satellite, far, Mailbox(far.port) as mailbox:
            await send(ground, [*sorted(others)[:4], MARK, *sorted(others)[4:]])
            assert await gather(mailbox, others, 60) == others
            assert held_of(ground)
            assert satellite.counters()["bundles.dropped_no_room"] >= 1
            full = False
            await send(ground, [b"what is taken shows that there is room"])
            await asyncio.sleep(120)
            assert not held_of(ground)
            assert len(satellite.quarantined()) == 1

    run_virtual(main)
