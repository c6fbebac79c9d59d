"""An LTP engine behind a UDP port as the machine sees it: one that runs, or one that is started.

    class TestTheirs(LtpPeerMachine):
        adapter = UdpLtpAdapter(
            "udp://127.0.0.1:1113", TargetOptions(start="their-receiver 1113")
        )
        sends = delivers = False
        patience_ns, silence_ns = 3 * 10**9, 10**9

It is a target of `interop.fuzzing`, which starts it anew for each case, and sees whether it is well
at the end.  Time is that of the clock on the wall: a case takes as long as the machine lets pass,
so that `patience_ns` should be no more than what the engine needs to repeat a segment.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

from interop.fuzzing.network import DatagramTarget
from interop.fuzzing.target import TargetOptions, make_target
from interop.machines.fault import MachineFault
from stack.core.errors import ConfigError, DecodeError
from stack.wire.ltp import (
    CLIENT_BP,
    DataSegment,
    ReportAck,
    ReportSegment,
    SegmentType,
    SessionId,
    decode_segment,
    encode_segment,
)

ANSWER_S: Final = 0.05
"""An engine on this host has answered within so long, if it answers at all."""

QUIET_S: Final = 0.005
"""When nothing more has come for so long, its answer is complete."""


class UdpLtpPeer:
    """One case with it.  Raises `ConfigError` where it cannot be reached."""

    def __init__(self, url: str, options: TargetOptions, peer_id: int) -> None:
        self.first_session = time.time_ns() // 10**5 % 2**31
        self._probe = SessionId(peer_id, self.first_session - 1)
        segment = DataSegment(
            session=self._probe,
            kind=SegmentType.RED_END_BLOCK,
            client_service=CLIENT_BP,
            offset=0,
            data=b"\0",
            checkpoint_serial=1,
        )
        target = make_target(url, "ltp", replace(options, probe=encode_segment(segment)))
        if not isinstance(target, DatagramTarget):
            raise ConfigError("url", f"{url!r} is no UDP port", "udp://127.0.0.1:1113")
        self._target = target
        self._now_ns = 0
        self._heard: list[bytes] = []
        target.open()

    def receive(self, datagram: bytes, now_ns: int) -> None:
        """See `LtpPeer`."""
        self._target.tell(datagram)
        self._hear(ANSWER_S, QUIET_S)

    def advance(self, now_ns: int) -> None:
        """See `LtpPeer`."""
        seconds = (now_ns - self._now_ns) / 1e9
        self._now_ns = now_ns
        self._hear(seconds, seconds)

    def _hear(self, within_s: float, quiet_s: float) -> None:
        end = time.monotonic() + within_s
        while (datagram := self._target.hear(within_s)) is not None:
            if not self._of_probe(datagram):
                self._heard.append(datagram)
            within_s = min(quiet_s, max(0.0, end - time.monotonic()))

    def _of_probe(self, datagram: bytes) -> bool:
        """Whether this is about what showed that it lives, and not the machine's affair."""
        try:
            segment, _ = decode_segment(datagram)
        except DecodeError:
            return False
        if segment.session != self._probe:
            return False
        if isinstance(segment, ReportSegment):
            ack = ReportAck(session=self._probe, report_serial=segment.report_serial)
            self._target.tell(encode_segment(ack))
        return True

    def poll(self) -> list[bytes]:
        """See `LtpPeer`."""
        heard, self._heard = self._heard, []
        return heard

    def send(self, block: bytes) -> None:
        """Nobody can make it: `sends` is False."""

    def blocks(self) -> list[bytes]:
        """Nobody sees them: `delivers` is False."""
        return []

    def close(self) -> None:
        """See whether it is well, and end it if it was started here.  Raises `MachineFault`."""
        try:
            reaction = self._target.feed([])
        finally:
            self._target.close()
        if reaction.is_fault:
            raise MachineFault(reaction.verdict, reaction.place or "it is not well", reaction.words)


@dataclass(frozen=True, slots=True)
class UdpLtpAdapter:
    """An adapter for `LtpPeerMachine`: the engine at ``udp://host:port``."""

    url: str
    options: TargetOptions

    def __call__(self, engine_id: int, peer_id: int, /) -> UdpLtpPeer:
        """The engine, for one case.  Raises `ConfigError` where the port cannot be reached."""
        return UdpLtpPeer(self.url, self.options, peer_id)
