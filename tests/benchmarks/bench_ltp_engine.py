"""CPU time of an LTP engine, without sockets: `python -m tests.benchmarks.bench_ltp_engine`.

Two engines in one process hand trains to each other.  The table gives CPU time per segment on each
side, and the payload rate that one core on each side could carry.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import dataclass

from stack.core.clock import MICROSECOND
from stack.core.train import Train
from stack.engines.ltp import BlockReceived, LtpConfig, LtpEngine, ReportHeld, Sent

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    segment_bytes: int
    block_bytes: int
    sdu_bytes: int
    total_bytes: int = 200 * MIB
    drop_every: int = 0
    """Drop one train in so many, to see what recovery costs."""


CASES = (
    Case(1400, 65_536, 65_536),
    Case(1400, 262_144, 1024, 50 * MIB),
    Case(1400, 262_144, 10_240),
    Case(1400, 262_144, 65_536),
    Case(1400, 262_144, 1_000_000),
    Case(1400, 262_144, 65_536, drop_every=20),
    Case(64_000, 262_144, 100_000, 800 * MIB),
)


def _engine(local: int, remote: int, case: Case) -> LtpEngine:
    config = LtpConfig(
        local_engine_id=local,
        remote_engine_id=remote,
        segment_bytes=case.segment_bytes,
        block_bytes=case.block_bytes,
        stall_after=1000,
    )
    return LtpEngine(config, entropy=random.Random(local).randbytes)


class _Run:
    """One transfer, with the CPU time of each side."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.sender = _engine(1, 2, case)
        self.receiver = _engine(2, 1, case)
        self.sending_s = self.receiving_s = 0.0
        self.segments = self.trains = self.acked = 0
        self.now = 0

    def run(self) -> None:
        case = self.case
        sdu = random.Random(1).randbytes(case.sdu_bytes)
        count = max(1, case.total_bytes // case.sdu_bytes)
        submitted = 0
        while self.acked < count:
            self.now += 100 * MICROSECOND
            started = time.process_time()
            while submitted < count and (submitted - self.acked) * case.sdu_bytes < 2 * MIB:
                self.sender.submit(sdu, submitted, self.now)
                submitted += 1
            trains = self.sender.data_to_send(self.now)
            self.sending_s += time.process_time() - started
            self.segments += sum(train.datagram_count for train in trains)
            self._receive([train for train in trains if not self._dropped()])
            started = time.process_time()
            back = self.receiver.data_to_send(self.now)
            self.receiving_s += time.process_time() - started
            started = time.process_time()
            for train in back:
                self.sender.receive(train, self.now)
            while (event := self.sender.next_event()) is not None:
                if isinstance(event, Sent):
                    self.acked += len(event.refs)
            if not trains and not back:
                self.now = max(self.now, self.sender.next_deadline() or self.now)
            self.sender.handle_deadline(self.now)
            self.sending_s += time.process_time() - started

    def _dropped(self) -> bool:
        self.trains += 1
        return bool(self.case.drop_every) and self.trains % self.case.drop_every == 0

    def _receive(self, trains: list[Train]) -> None:
        started = time.process_time()
        for train in trains:
            self.receiver.receive(train, self.now)
        while (event := self.receiver.next_event()) is not None:
            if isinstance(event, BlockReceived):
                self.receiver.accept(event.session)
            elif isinstance(event, ReportHeld):
                self.receiver.report_noted(event.session)
        self.receiving_s += time.process_time() - started


def main() -> None:
    """Print one row for each case."""
    out = sys.stdout.write
    out(f"{'segment':>8} {'block':>8} {'unit':>8} {'lost':>5}  {'send':>9} {'receive':>9}"
        f"  {'send':>7} {'receive':>7}\n")  # fmt: skip
    out(f"{'octets':>8} {'octets':>8} {'octets':>8} {'%':>5}  {'us/segm.':>9} {'us/segm.':>9}"
        f"  {'Gbit/s':>7} {'Gbit/s':>7}\n")  # fmt: skip
    for case in CASES:
        run = _Run(case)
        run.run()
        bits = case.total_bytes * 8e-9
        lost = 100 / case.drop_every if case.drop_every else 0
        send_us, receive_us = (
            each / run.segments * 1e6 for each in (run.sending_s, run.receiving_s)
        )
        out(
            f"{case.segment_bytes:8} {case.block_bytes:8} {case.sdu_bytes:8} {lost:5.1f}"
            f"  {send_us:9.2f} {receive_us:9.2f}"
            f"  {bits / run.sending_s:7.2f} {bits / run.receiving_s:7.2f}\n"
        )


if __name__ == "__main__":
    main()
