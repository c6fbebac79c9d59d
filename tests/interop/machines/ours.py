"""Our own LTP engine as the machine sees it."""

from __future__ import annotations

import random

from stack.core.clock import MILLISECOND
from stack.core.train import single
from stack.engines.ltp import BlockReceived, LtpConfig, LtpEngine, ReportHeld
from stack.wire.ltp import CLIENT_BP


class OurEngine:
    """An engine whose client takes every block at once."""

    def __init__(self, engine_id: int, peer_id: int) -> None:
        config = LtpConfig(local_engine_id=engine_id, remote_engine_id=peer_id, segment_bytes=1000)
        self.engine = LtpEngine(config, entropy=random.Random(7).randbytes)
        self.engine.link(0, tx_up=True, rx_up=True, rate_bps=None, owlt_ns=10 * MILLISECOND)
        self._now = 0
        self._waiting: list[bytes] = []
        self._out: list[bytes] = []
        self._blocks: list[bytes] = []
        self._refs = 0

    def receive(self, datagram: bytes, now_ns: int) -> None:
        if datagram:
            self.engine.receive(single(datagram), now_ns)
        self._turn(now_ns)

    def advance(self, now_ns: int) -> None:
        while (deadline := self.engine.next_deadline()) is not None and deadline <= now_ns:
            self._turn(max(self._now, deadline))
            if self.engine.next_deadline() == deadline:
                break
        self._turn(now_ns)

    def send(self, block: bytes) -> None:
        self._waiting.append(block)
        self._turn(self._now)

    def poll(self) -> list[bytes]:
        found, self._out = self._out, []
        return found

    def blocks(self) -> list[bytes]:
        found, self._blocks = self._blocks, []
        return found

    def _turn(self, now_ns: int) -> None:
        self._now = now_ns
        self.engine.handle_deadline(now_ns)
        while (event := self.engine.next_event()) is not None:
            if isinstance(event, BlockReceived):
                self._blocks.append(bytes(event.data))
                self.engine.accept(event.session)
            elif isinstance(event, ReportHeld):
                self.engine.report_noted(event.session)
        while self._waiting and self.engine.room() > 0:
            block = self._waiting.pop(0)
            self._refs += 1
            self.engine.submit_block([block], [self._refs], len(block), CLIENT_BP)
        for train in self.engine.data_to_send(now_ns):
            self._out += [bytes(datagram) for datagram in train.datagrams()]
