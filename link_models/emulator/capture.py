"""What crosses the link, as a capture file that Wireshark reads.

pcapng (draft-ietf-opsawg-pcapng) with nanosecond times and six interfaces: for each direction what
enters the link, what leaves it, and what is lost on it, with the reason as the packet's comment.
Packets are made up: bare IP with the addresses of the programs and of the box.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final

from link_models.emulator.config import SocketAddress
from link_models.emulator.datagrams import FLOW_EMPTY
from link_models.emulator.stream import FLOW_STREAM
from link_models.emulator.tap import Stage, StreamId
from stack.core.errors import ConfigError
from stack.core.train import Buffer, Train

CAPTURE_BYTES_MAX: Final = 4 * 1024**3
"""Octets of one file; what comes after them is counted and not written."""

STREAMS_MAX: Final = 20_000
"""Streams whose sequence numbers are remembered; the oldest are forgotten first."""

PACKET_BYTES_MAX: Final = 65_400
"""Octets of payload in one packet: with its headers it must stay below 65,536."""

LINKTYPE_RAW: Final = 101
UDP, TCP = 17, 6
HOP_LIMIT: Final = 64

FLAGS: Final = {"": 0x18, "SYN": 0x02, "SYN ACK": 0x12, "FIN": 0x11, "RST": 0x14}
"""TCP flags (RFC 9293 §3.1): data is sent with PSH and ACK."""

INTERFACES: Final = (
    ("forward", "in", "A to link"),
    ("forward", "out", "link to B"),
    ("forward", "dropped", "A to B dropped"),
    ("backward", "in", "B to link"),
    ("backward", "out", "link to A"),
    ("backward", "dropped", "B to A dropped"),
)
NUMBER: Final = {entry[:2]: number for number, entry in enumerate(INTERFACES)}

_BLOCK = struct.Struct("<II")
_SECTION = struct.Struct("<IHHq")
_INTERFACE = struct.Struct("<HHI")
_PACKET = struct.Struct("<IIIII")
_OPTION = struct.Struct("<HH")
_LENGTH = struct.Struct("<I")

Addresses = Callable[[], dict[str, SocketAddress | None]]
"""The addresses of both programs and both sides of the box: `program_a`, `box_a`, `box_b`,
`program_b`; None as long as one is not known."""


class Capture:
    """A capture under way: a tap of datagrams, streams and drops."""

    def __init__(self, path: Path, addresses: Addresses, wall_ns: Callable[[], int]) -> None:
        """`wall_ns` gives nanoseconds since 1970.  Raises `ConfigError`."""
        self.path = path
        self.packets = 0
        self.left_out = 0
        self.trouble = ""
        """Why nothing more is written: the disk is full, most likely."""

        self._addresses = addresses
        self._wall_ns = wall_ns
        self._bytes = 0
        self._sequences: dict[tuple[StreamId, Stage], int] = {}
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise ConfigError(str(path), error.strerror or str(error), "check the path") from None
        self._block(0x0A0D0D0A, _SECTION.pack(0x1A2B3C4D, 1, 0, -1))
        for _, _, name in INTERFACES:
            # Options: if_name, and if_tsresol 9 for nanoseconds.
            options = _option(2, name.encode()) + _option(9, b"\x09") + _option(0, b"")
            self._block(1, _INTERFACE.pack(LINKTYPE_RAW, 0, 0) + options)

    def statistics(self) -> dict[str, Any]:
        """Where it goes and how much has been written."""
        return {
            "path": str(self.path),
            "packets": self.packets,
            "bytes": self._bytes,
            "left_out": self.left_out,
            "trouble": self.trouble,
        }

    def close(self) -> None:
        """Finish the file.  May be repeated."""
        try:
            self._file.close()
        except OSError as error:
            self.trouble = error.strerror or str(error)

    def entered(self, direction: str, train: Train) -> None:
        """Datagrams that a program has sent."""
        self._datagrams(direction, "in", train)

    def left(self, direction: str, train: Train) -> None:
        """Datagrams that are handed to a program."""
        self._datagrams(direction, "out", train)

    def dropped(self, direction: str, datagram: Buffer, flow: int, reason: str) -> None:
        """A datagram that the link has lost; segments of streams come by `stream`."""
        if flow != FLOW_STREAM:
            self._datagrams(direction, "dropped", Train(datagram, len(datagram), flow), reason)

    def stream(self, which: StreamId, stage: Stage, data: Buffer, mark: str) -> None:
        """Octets or a mark of a TCP connection; where it is cut into packets is made up."""
        source, destination = self._stream_ends(which, stage)
        comment = "lost; it is sent again" if stage == "dropped" else ""
        view = memoryview(data)
        # The other stream as this side of the link sees it, for the acknowledgement number.
        back = which._replace(direction=_other(which.direction))
        answered = self._sequences.get((back, "out" if stage == "in" else "in"), 0)
        key = which, stage
        if mark == "SYN" and which.direction != which.opened:
            mark = "SYN ACK"
        at = 0
        while at < len(view) or mark:
            piece = view[at : at + PACKET_BYTES_MAX]
            sequence = self._sequences.pop(key, 0)
            if stage != "dropped":
                step = len(piece) + (mark in ("SYN", "SYN ACK", "FIN"))
                self._sequences[key] = sequence + step
            while len(self._sequences) > STREAMS_MAX:
                del self._sequences[next(iter(self._sequences))]
            self._packet(
                NUMBER[which.direction, stage],
                _ip(source, destination, TCP, _tcp_head(sequence, answered, mark), piece),
                comment,
            )
            at += max(1, len(piece))
            mark = ""

    def _datagrams(self, direction: str, stage: Stage, train: Train, comment: str = "") -> None:
        found = self._addresses()
        near, far = ("a", "b") if direction == "forward" else ("b", "a")
        if stage == "out":
            source, destination = found[f"box_{far}"], found[f"program_{far}"]
        else:
            source, destination = found[f"program_{near}"], found[f"box_{near}"]
        offset = train.flow & ~FLOW_EMPTY
        ends = _shifted(source, offset), _shifted(destination, offset)
        number = NUMBER[direction, stage]
        for datagram in train.datagrams():
            data = datagram[:0] if train.flow & FLOW_EMPTY else datagram
            head = struct.pack(">HH", 8 + len(data), 0)
            self._packet(number, _ip(*ends, UDP, head, data), comment)

    def _stream_ends(self, which: StreamId, stage: Stage) -> tuple[SocketAddress, SocketAddress]:
        """On the side where it was made a connection goes from the caller to the box, on the other
        side from the box, with the caller's port, to the program."""
        found = self._addresses()
        near, far = ("a", "b") if which.opened == "forward" else ("b", "a")
        forth = which.direction == which.opened
        if forth is (stage != "out"):
            ends = which.caller, _known(found[f"box_{near}"])
        else:
            box = _known(found[f"box_{far}"])
            ends = (box[0], which.caller[1]), _known(found[f"program_{far}"])
        return ends if forth else (ends[1], ends[0])

    def _packet(self, interface: int, packet: bytes, comment: str) -> None:
        if self._bytes > CAPTURE_BYTES_MAX or self.trouble:
            self.left_out += 1
            return
        time_ns = self._wall_ns()
        size = len(packet)
        head = _PACKET.pack(interface, time_ns >> 32, time_ns & 0xFFFFFFFF, size, size)
        options = _option(1, comment.encode()) + _option(0, b"") if comment else b""
        self.packets += 1
        self._block(6, head + _padded(packet) + options)

    def _block(self, kind: int, body: bytes) -> None:
        size = 12 + len(body)
        self._bytes += size
        try:
            self._file.write(_BLOCK.pack(kind, size) + body + _LENGTH.pack(size))
        except OSError as error:  # the link goes on all the same
            self.trouble = error.strerror or str(error)


def _other(direction: str) -> str:
    return "backward" if direction == "forward" else "forward"


def _known(address: SocketAddress | None) -> SocketAddress:
    return ("0.0.0.0", 0) if address is None else address  # noqa: S104 - as a packet says unknown


def _shifted(address: SocketAddress | None, offset: int) -> SocketAddress:
    host, port = _known(address)[:2]
    return host, port + offset if port else 0


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return _OPTION.pack(code, len(value)) + _padded(value)


def _tcp_head(sequence: int, answered: int, mark: str) -> bytes:
    """Sequence and acknowledgement number, header length, flags, window, no checksum yet."""
    flags = FLAGS[mark]
    return struct.pack(
        ">IIBBHHH", sequence & 0xFFFFFFFF, answered & 0xFFFFFFFF, 5 << 4, flags, 0xFFFF, 0, 0
    )


def _ip(
    source: SocketAddress, destination: SocketAddress, protocol: int, head: bytes, data: Buffer
) -> bytes:
    """An IP packet; `head` is what follows the two ports in the header above it."""
    ends = [_numeric(source[0]), _numeric(destination[0])]
    if isinstance(ends[0], IPv6Address) or isinstance(ends[1], IPv6Address):
        ends = [one if isinstance(one, IPv6Address) else _mapped(one) for one in ends]
    addresses = ends[0].packed + ends[1].packed
    body = struct.pack(">HH", source[1], destination[1]) + head + data
    place = 6 if protocol == UDP else 16
    pseudo = addresses + struct.pack(">II", len(body), protocol)
    checksum = (0xFFFF - int.from_bytes(_even(pseudo + body), "big") % 0xFFFF) or 0xFFFF
    body = body[:place] + struct.pack(">H", checksum) + body[place + 2 :]
    if len(addresses) == 32:
        return struct.pack(">IHBB", 6 << 28, len(body), protocol, HOP_LIMIT) + addresses + body
    first = struct.pack(">BBHHHBB", 0x45, 0, 20 + len(body), 0, 0, HOP_LIMIT, protocol)
    total = 0xFFFF - int.from_bytes(first + addresses, "big") % 0xFFFF
    return first + struct.pack(">H", total) + addresses + body


def _even(data: bytes) -> bytes:
    return data + b"\0" if len(data) % 2 else data


def _numeric(host: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return ip_address("0.0.0.0")  # noqa: S104 - a name that was not resolved


def _mapped(address: IPv4Address | IPv6Address) -> IPv6Address:
    return IPv6Address(bytes(10) + b"\xff\xff" + address.packed)
