"""A running agent that forwards: what comes out of it was taken, and is what goes out.

Each input goes in over UDP as one datagram (the UDP convergence layers of ION, HDTN and
dtn-demo-agent), and after it a probe, a right bundle of ours.  The agent is to send everything
to our port.  When the probe comes and the input has not, the input was refused; when the probe
does not come either, the agent came to no verdict.  Nothing here starts or ends an agent.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator

from interop.differential.command import entries
from interop.differential.verdict import Verdict, broken, refused
from stack.core.clock import dtn_from_unix
from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.wire.bundle import (
    CRC_32,
    LENIENT,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    decode_bundle,
    encode_bundle,
)

VARIABLE = "ORBITFERRY_DIFFERENTIAL_AGENTS"
"""Agents that run: ``name=host:port,host:port``, where it takes bundles and where it sends them,
several with ``;`` between."""

ANSWER_S = 5.0
"""Seconds in which a probe comes through."""

_DATAGRAM_BYTES = 65_507
_LIFETIME_MS = 3_600_000
_FROM, _TO = Eid.parse("ipn:977.1"), Eid.parse("ipn:978.1")
_MARK = b"orbitferry probe "


class Agent:
    """A running agent.  Raises `OSError` when our port is not to be had."""

    def __init__(self, name: str, feed: tuple[str, int], listen: tuple[str, int]) -> None:
        self.name = name
        self.version = "?"
        self._feed = feed
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(listen)
        self._numbers = itertools.count(time.time_ns() % 1_000_000_000)

    def read(self, encoded: bytes) -> Verdict | None:
        """None for what no datagram holds, and for a bundle that has expired: an agent that takes
        it does not send it on either."""
        now_ms = dtn_from_unix(time.time())
        if len(encoded) > _DATAGRAM_BYTES or _expired(encoded, now_ms):
            return None
        mark = _MARK + str(next(self._numbers)).encode()
        self._socket.sendto(encoded, self._feed)
        self._socket.sendto(_probe(now_ms, mark), self._feed)
        sent: bytes | None = None
        deadline = time.monotonic() + ANSWER_S
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                came = self._socket.recv(_DATAGRAM_BYTES)
            except OSError:  # time is up, or nobody listens there
                break
            if mark in came:
                return Verdict(True, sent=sent) if sent else refused("it is not sent on")
            if _MARK not in came:
                sent = came
        return broken(f"nothing comes through in {ANSWER_S:g} s")

    @property
    def place(self) -> tuple[str, int]:
        """Where it is to send what it takes."""
        host, port = self._socket.getsockname()
        return host, port

    def close(self) -> None:
        """Give our port back."""
        self._socket.close()


def agents() -> Iterator[Agent]:
    """Those that the variable names.  Raises `ValueError` for an entry that names none, `OSError`
    when our port is not to be had."""
    for name, value in entries(VARIABLE, "host:port,host:port"):
        ends = [end.rpartition(":") for end in value.split(",")]
        if len(ends) != 2 or not all(host and port.isdecimal() for host, _, port in ends):
            raise ValueError(f"{VARIABLE}: {name}=host:port,host:port, not {value!r}")
        feed, listen = ((host, int(port)) for host, _, port in ends)
        yield Agent(name, feed, listen)


def _probe(now_ms: int, mark: bytes) -> bytes:
    primary = PrimaryBlock(_TO, _FROM, _FROM, now_ms, 0, _LIFETIME_MS, 0, CRC_32)
    return encode_bundle(Bundle(primary, (CanonicalBlock(1, 1, 0, mark, CRC_32),)))


def _expired(encoded: bytes, now_ms: int) -> bool:
    try:
        primary = decode_bundle(encoded, mode=LENIENT)[0].primary
    except DecodeError:
        return False
    return primary.creation_ms + primary.lifetime_ms < now_ms
