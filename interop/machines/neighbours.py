"""The neighbours of a bundle agent as real peers: TCPCL 4 (RFC 9174) over TCP, LTP (RFC 5326) over
UDP.  `interop.machines.sockets` puts two of them around an agent.

    TcpclLink("127.0.0.1:4556")             a session with the agent's listener
    LtpLink("127.0.0.1:1114", "127.0.0.1:1113", engine_id=5, agent_engine_id=1)

What a neighbour gives, it gives until the agent has said that it has it, or that it will not.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from interop.machines.fault import MachineFault
from stack.core.clock import MILLISECOND
from stack.core.errors import ConfigError, DecodeError
from stack.core.train import single
from stack.engines.ltp import BlockReceived, Failed, LtpConfig, LtpEngine, ReportHeld, Sent
from stack.wire.bundle import decode_bundle
from stack.wire.ltp import CLIENT_BP, CLIENT_SDA
from stack.wire.sdnv import decode_sdnv
from stack.wire.tcpcl import (
    SEGMENT_END,
    SEGMENT_START,
    TERM_REPLY,
    ContactHeader,
    Incomplete,
    Keepalive,
    Message,
    MessageReject,
    MessageType,
    RejectReason,
    SessionInit,
    SessionTerm,
    TermReason,
    TransferAck,
    TransferRefuse,
    TransferSegment,
    decode_contact,
    decode_message,
    encode_contact,
    encode_message,
    transfer_length,
)

PIECE_BYTES: Final = 65_536
BUNDLE_BYTES_MAX: Final = 1 << 24
"""An agent that sends a larger one, to neighbours that have sent it a few hundred octets, is at
fault."""

TICK_S: Final = 0.01


class PeerNeighbour(Protocol):
    """One end of a link, with the agent at the other."""

    def reachable(self) -> bool:
        """Whether the agent listens."""
        ...

    def contact(self, up: bool) -> None:
        """From now on the agent can send here, or cannot.  Raises `MachineFault`."""
        ...

    def give(self, bundle: bytes) -> None:
        """Send it, and wait until the agent has it or has refused it.  Raises `MachineFault`."""
        ...

    def hear(self, within_s: float) -> None:
        """Take what comes, for so long."""
        ...

    def taken(self) -> list[bytes]:
        """The bundles that came since this was asked last."""
        ...

    def close(self) -> None:
        """Give the port back."""
        ...


class MakesNeighbour(Protocol):
    """Makes one end of a link."""

    def __call__(self, node: str, timeout_s: float, /) -> PeerNeighbour:
        """The neighbour with this node id.  Raises `ConfigError`."""
        ...


# ---- TCPCL 4


class TcpclNeighbour:
    """Opens a session as the contact begins, and ends it with the contact.  The agent has to send
    on the session that is there (RFC 9174 §3.1: either entity may)."""

    def __init__(self, address: tuple[str, int], node: str, timeout_s: float) -> None:
        self._address = address
        self._node = node
        self._timeout_s = timeout_s
        self._stream: socket.socket | None = None
        self._begun = False
        self._octets = bytearray()
        self._coming: dict[int, bytearray] = {}
        self._answers: list[Message] = []
        self._taken: list[bytes] = []
        self._transfers = itertools.count()
        self._segment_mru = PIECE_BYTES

    def reachable(self) -> bool:
        """See `PeerNeighbour`."""
        try:
            socket.create_connection(self._address, timeout=self._timeout_s).close()
        except OSError:
            return False
        return True

    def contact(self, up: bool) -> None:
        """See `PeerNeighbour`."""
        if up:
            self._open()
        elif self._stream is not None:
            self._say(SessionTerm(reason=TermReason.UNKNOWN))
            self._until(lambda: any(isinstance(one, SessionTerm) for one in self._answers))
            self._drop()

    def _open(self) -> None:
        """A session (RFC 9174 §4).  Raises `MachineFault`."""
        self._drop()
        try:
            self._stream = socket.create_connection(self._address, timeout=self._timeout_s)
            self._stream.sendall(encode_contact(ContactHeader()))
        except OSError as error:
            raise MachineFault("RFC 9174 §4.1", f"no connection: {error}") from None
        self._until(self._contact_header)
        init = SessionInit(
            keepalive_s=0,
            segment_mru=PIECE_BYTES,
            transfer_mru=BUNDLE_BYTES_MAX,
            node_id=self._node,
        )
        self._say(init)
        self._until(lambda: any(isinstance(one, SessionInit) for one in self._answers))
        theirs = [one for one in self._answers if isinstance(one, SessionInit)]
        if not theirs:
            raise MachineFault("RFC 9174 §4.6", f"no SESS_INIT within {self._timeout_s:g} s")
        self._segment_mru = theirs[0].segment_mru
        self._answers.clear()

    def _contact_header(self) -> bool:
        try:
            _, end = decode_contact(bytes(self._octets))
        except Incomplete:
            return False
        except DecodeError as error:
            raise MachineFault(error.section, f"no contact header: {error}") from None
        del self._octets[:end]
        self._begun = True
        return True

    def give(self, bundle: bytes) -> None:
        """See `PeerNeighbour`."""
        if self._stream is None:
            self._open()
        number = next(self._transfers)
        self._answers.clear()
        size = max(1, min(self._segment_mru, PIECE_BYTES))
        pieces = [bundle[at : at + size] for at in range(0, len(bundle), size)]
        for at, piece in enumerate(pieces):
            flags = (0 if at else SEGMENT_START) | (SEGMENT_END if at == len(pieces) - 1 else 0)
            items = () if at else (transfer_length(len(bundle)),)
            self._say(TransferSegment(transfer=number, flags=flags, data=piece, extensions=items))

        def answered() -> bool:
            return any(
                isinstance(one, MessageReject)
                or (isinstance(one, TransferRefuse) and one.transfer == number)
                or (isinstance(one, TransferAck) and one.transfer == number
                    and one.acked_bytes == len(bundle))
                for one in self._answers
            )  # fmt: skip

        self._until(answered)
        if self._stream is not None and not answered():
            raise MachineFault(
                "RFC 9174 §5.2.3", f"a transfer is not acknowledged within {self._timeout_s:g} s"
            )

    def hear(self, within_s: float) -> None:
        """See `PeerNeighbour`."""
        end = time.monotonic() + within_s
        while self._stream is not None and (left := end - time.monotonic()) > 0:
            self._read(left)
        time.sleep(max(0.0, end - time.monotonic()))

    def _until(self, done: Callable[[], bool]) -> None:
        """Hear until that is so, the session ends, or the time is over."""
        end = time.monotonic() + self._timeout_s
        while not done() and self._stream is not None and (left := end - time.monotonic()) > 0:
            self._read(left)

    def _read(self, within_s: float) -> None:
        assert self._stream is not None
        self._stream.settimeout(within_s)
        try:
            some = self._stream.recv(PIECE_BYTES)
        except TimeoutError:
            return
        except OSError:
            some = b""
        self._octets += some
        if self._begun:
            self._messages()
        if not some:
            self._drop()

    def _messages(self) -> None:
        while True:
            try:
                message, end = decode_message(
                    bytes(self._octets), segment_bytes_max=PIECE_BYTES, strict=False
                )
            except Incomplete:
                return
            except DecodeError as error:
                raise MachineFault(error.section, f"no message: {error}") from None
            del self._octets[:end]
            self._handle(message)

    def _handle(self, message: Message) -> None:
        if isinstance(message, TransferSegment):
            self._segment(message)
        elif isinstance(message, SessionTerm):
            if not message.is_reply:
                self._say(SessionTerm(reason=message.reason, flags=TERM_REPLY))
            self._answers.append(message)
        elif not isinstance(message, Keepalive):
            self._answers.append(message)

    def _segment(self, segment: TransferSegment) -> None:
        """A piece of a bundle comes; the acknowledgement says how much of it is here."""
        if segment.is_start:
            self._coming[segment.transfer] = bytearray()
        coming = self._coming.get(segment.transfer)
        if coming is None:
            kind = MessageType.XFER_SEGMENT
            self._say(MessageReject(reason=RejectReason.UNEXPECTED, rejected=kind))
            raise MachineFault("RFC 9174 §5.2.2", f"transfer {segment.transfer} has no start")
        coming += segment.data
        if len(coming) > BUNDLE_BYTES_MAX:
            raise MachineFault("RFC 9174 §4.6", "a transfer is longer than our transfer MRU")
        acked = TransferAck(
            transfer=segment.transfer, flags=segment.flags & 3, acked_bytes=len(coming)
        )
        self._say(acked)
        if segment.is_end:
            self._taken.append(bytes(self._coming.pop(segment.transfer)))

    def _say(self, message: Message) -> None:
        if self._stream is not None:
            self._stream.settimeout(self._timeout_s)
            with contextlib.suppress(OSError):  # an end shows where we read
                self._stream.sendall(encode_message(message))

    def taken(self) -> list[bytes]:
        """See `PeerNeighbour`."""
        taken, self._taken = self._taken, []
        return taken

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None
        self._begun = False
        self._octets.clear()
        self._coming.clear()

    def close(self) -> None:
        """See `PeerNeighbour`."""
        self._drop()


@dataclass(frozen=True, slots=True)
class TcpclLink:
    """A neighbour that connects to a TCPCL 4 listener."""

    agent: str
    """Where the agent listens: ``host:port``."""

    def __call__(self, node: str, timeout_s: float, /) -> TcpclNeighbour:
        """The neighbour.  Raises `ConfigError` for an address that is none."""
        return TcpclNeighbour(_address(self.agent), node, timeout_s)


# ---- LTP


class LtpNeighbour:
    """An LTP engine behind a UDP port.  Between contacts it hears nothing and says nothing, as
    behind a horizon; the agent is to say it all again.  Raises `ConfigError` for a port that is not
    to be had."""

    def __init__(self, link: LtpLink, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind(_address(link.neighbour))
        except OSError as error:
            self._socket.close()
            raise ConfigError("neighbour", error.strerror or str(error)) from None
        self._agent = _address(link.agent)
        self._timeout_s = timeout_s
        config = LtpConfig(
            local_engine_id=link.engine_id,
            remote_engine_id=link.agent_engine_id,
            segment_bytes=link.segment_bytes,
        )
        self._engine = LtpEngine(config, entropy=secrets.token_bytes)
        self._engine.link(
            time.monotonic_ns(), tx_up=True, rx_up=True, rate_bps=None, owlt_ns=MILLISECOND
        )
        self._up = False
        self._refs = itertools.count(1)
        self._ended: set[int] = set()
        self._taken: list[bytes] = []

    def reachable(self) -> bool:
        """See `PeerNeighbour`."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(self._agent)
            try:
                probe.send(b"")
                time.sleep(TICK_S)  # a refusal comes back as an error of the next call
                probe.send(b"")
            except ConnectionError:
                return False
        return True

    def contact(self, up: bool) -> None:
        """See `PeerNeighbour`."""
        self._socket.setblocking(False)
        with contextlib.suppress(OSError):
            while self._socket.recv(PIECE_BYTES) is not None:
                pass
        self._up = up

    def give(self, bundle: bytes) -> None:
        """See `PeerNeighbour`."""
        ref = next(self._refs)
        self._engine.submit_block([bundle], [ref], len(bundle), CLIENT_BP)
        end = time.monotonic() + self._timeout_s
        while ref not in self._ended:
            if time.monotonic() > end:
                words = f"a block is not acknowledged within {self._timeout_s:g} s"
                raise MachineFault("RFC 5326 §6.11", words)
            self._turn(TICK_S)

    def hear(self, within_s: float) -> None:
        """See `PeerNeighbour`."""
        end = time.monotonic() + within_s
        while (left := end - time.monotonic()) > 0:
            self._turn(min(TICK_S, left))

    def _turn(self, within_s: float) -> None:
        """What is to be said, and what comes within the time."""
        engine = self._engine
        if self._up:
            engine.handle_deadline(time.monotonic_ns())
            for train in engine.data_to_send(time.monotonic_ns()):
                for one in train.datagrams():
                    with contextlib.suppress(OSError):  # nobody listens: it is lost
                        self._socket.sendto(one, self._agent)
        self._socket.settimeout(within_s)
        try:
            datagram = self._socket.recv(PIECE_BYTES)
        except OSError:
            return
        if self._up and datagram:
            engine.receive(single(datagram), time.monotonic_ns())
            self._events()

    def _events(self) -> None:
        engine = self._engine
        while (event := engine.next_event()) is not None:
            match event:
                case BlockReceived():
                    self._cut(bytes(event.data), event.client_service == CLIENT_SDA)
                    engine.accept(event.session)
                case ReportHeld():
                    engine.report_noted(event.session)
                case Sent() | Failed():
                    self._ended |= set(event.refs)
                case _:
                    pass

    def _cut(self, block: bytes, aggregated: bool) -> None:
        """The bundles of a block; one that is aggregated (CCSDS 734.1-B-1 §3.4) has a client
        service id before each."""
        at = 0
        while at < len(block):
            try:
                if aggregated:
                    _, at = decode_sdnv(block, at)
                _, end = decode_bundle(block, offset=at)
            except DecodeError as error:
                raise MachineFault(error.section, f"no bundle leaves: {error}") from None
            self._taken.append(block[at:end])
            at = end

    def taken(self) -> list[bytes]:
        """See `PeerNeighbour`."""
        taken, self._taken = self._taken, []
        return taken

    def close(self) -> None:
        """See `PeerNeighbour`."""
        self._socket.close()


@dataclass(frozen=True, slots=True)
class LtpLink:
    """A neighbour behind a UDP port of its own."""

    neighbour: str
    """Where the neighbour is to be: ``host:port``, to which the agent sends."""

    agent: str
    """Where the agent takes LTP from it."""

    engine_id: int
    """Of the neighbour."""

    agent_engine_id: int
    segment_bytes: int = 1400

    def __call__(self, node: str, timeout_s: float, /) -> LtpNeighbour:
        """The neighbour.  Raises `ConfigError` for a port that is not to be had."""
        return LtpNeighbour(self, timeout_s)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError("address", f"{text!r} is no address", "127.0.0.1:4556")
    return host, int(port)
