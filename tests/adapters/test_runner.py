"""The driver of datagram engines, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from link_models.clock import VirtualClock, VirtualLoop, run_virtual
from stack.adapters.runner import Runner
from stack.core.clock import SECOND
from stack.core.train import Train
from stack.engines.ltp import LtpEngine
from stack.engines.ltp.driver import BLOCKED_NS, LtpDriver
from stack.ports.datagram import (
    Received,
    Stranger,
    Writable,
    ignore_received,
    ignore_stranger,
    ignore_writable,
)


class EagerEngine:
    """Has data at all times, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.handled: list[int] = []

    def receive(self, train: Train, now: int) -> None:
        """Nothing comes."""

    def data_to_send(self, now: int, envelope: None) -> list[Train]:
        self.asked += 1
        return [Train(bytes(100), 100)]

    def next_event(self) -> None:
        return None

    def next_deadline(self) -> int | None:
        return 0

    def handle_deadline(self, now: int) -> None:
        self.handled.append(now)


class BlockedPort:
    """Takes one train and then no more, until told otherwise; the client of the driver, too."""

    def __init__(self) -> None:
        self.on_receive: Received = ignore_received
        self.on_writable: Writable = ignore_writable
        self.on_stranger: Stranger = ignore_stranger
        self.trains = 0

    def send(self, trains: Sequence[Train]) -> bool:
        self.trains += len(trains)
        return False

    def take(self, event: Any, now: int) -> None:
        """Nothing is said."""

    def sent(self, refs: Sequence[int], now: int) -> None:
        """Nothing arrives."""

    def give_back(self, refs: Sequence[int], *, failed: bool) -> None:
        """Nothing fails."""

    def fill(self, now: int) -> None:
        """Nothing waits."""

    def counters(self) -> dict[str, int]:
        return {}

    async def close(self) -> None:
        """Nothing to close."""


def test_a_port_that_takes_nothing_is_not_asked_in_a_circle() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        engine, port = EagerEngine(), BlockedPort()
        driver = LtpDriver(cast("LtpEngine", engine), port)
        runner = Runner(driver, port, VirtualClock(loop))
        runner.wake()
        await asyncio.sleep(1.0)
        assert engine.asked == port.trains == 1
        # Its timers are still looked at.
        assert 0.9 <= len(engine.handled) * BLOCKED_NS / SECOND <= 1.1
        port.on_writable()
        await asyncio.sleep(0.001)
        assert engine.asked == port.trains == 2
        await runner.close()

    run_virtual(main)
