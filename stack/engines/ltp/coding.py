"""Erasure coding under LTP (RFC 6363): its place in the driver, and the time that LTP gives it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from stack.core.sansio import Entropy, Trace
from stack.core.train import Train
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.config import LtpConfig
from stack.fec.config import FecConfig
from stack.fec.erasure import SharedCodes
from stack.fec.framework import FecReceiver, FecSender


@dataclass(frozen=True, slots=True)
class LowerDelays:
    """What the layers under LTP may add to the light time of a datagram in one direction."""

    queue_ns: int = 0
    """Longest time in queues and bursts."""

    repair_ns: int = 0
    """Longest time until coding has repaired it if it was lost; 0 without coding."""


def under_delays(ltp: LtpConfig, sends: LowerDelays, receives: LowerDelays) -> LtpConfig:
    """`ltp` with the patience that the layers below ask for.

    A report on a block waits until coding has had its chance, which is when the block of packets
    closes: else LTP would ask again for what the next datagrams repair.  An answer counts as lost
    when what it answers and itself have had the time to be queued and repaired.
    """
    below_ns = sends.queue_ns + sends.repair_ns + receives.queue_ns + receives.repair_ns
    return dataclasses.replace(
        ltp,
        report_delay_ns=receives.repair_ns,
        timer_margin_ns=ltp.timer_margin_ns + below_ns,
    )


class FecShim:
    """FECFRAME (RFC 6363) both ways, as the driver of LTP wants it."""

    def __init__(
        self,
        config: FecConfig,
        entropy: Entropy,
        trace: Trace,
        codes: SharedCodes,
        authenticator: Authenticator | None = None,
    ) -> None:
        # A random first block number: a receiver that outlives a restart of ours must not take
        # the new blocks for old ones.
        first = int.from_bytes(entropy(4), "big")
        self._sender = FecSender(config, trace, first, codes)
        self._authenticator = authenticator
        genuine = authenticator.judge if authenticator is not None else None
        self._receiver = FecReceiver(config, trace, codes, genuine)

    def follow(self) -> None:
        """The authenticator has keys now, or has let go of them."""
        if self._authenticator is not None:
            self._receiver.judge(self._authenticator.judge)

    def envelope(self) -> None:
        """Nothing is put around segments: what has its place before them does `protect`."""

    def protect(self, trains: list[Train], now: int) -> list[Train]:
        """Source trains with their payload ids, and the repair trains that became ready."""
        return self._sender.protect(trains, now)

    def recover(self, train: Train, now: int) -> list[Train]:
        """What arrived, and what could be repaired with it."""
        return self._receiver.receive(train, now)

    def next_deadline(self) -> int | None:
        """The earlier of both directions."""
        deadlines = (self._sender.next_deadline(), self._receiver.next_deadline())
        return min((at for at in deadlines if at is not None), default=None)

    def handle_deadline(self, now: int) -> tuple[list[Train], list[Train]]:
        """(trains to send, trains received) that became due."""
        return self._sender.handle_deadline(now), self._receiver.handle_deadline(now) or []

    def counters(self) -> dict[str, int]:
        """Totals of both directions."""
        found = {f"tx_{key}": value for key, value in self._sender.counters().items()}
        return found | {f"rx_{key}": value for key, value in self._receiver.counters().items()}
