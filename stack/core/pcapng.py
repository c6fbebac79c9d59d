"""Blocks of capture files that Wireshark reads (draft-ietf-opsawg-pcapng), as octets.

A file is a section header, a block for each interface, and then packets; names of addresses and
secrets may stand anywhere between.  All here is little-endian, and times count nanoseconds since
1970.  The reader is `interop.pcap`.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Final

from stack.core.errors import LocalError
from stack.core.train import Buffer

LINKTYPE_RAW: Final = 101
"""Packets begin with their IPv4 or IPv6 header."""

LINKTYPE_UPPER_PDU: Final = 252
"""Wireshark exported PDUs: tags that name a dissector, then the data that it is to read."""

SNAPLEN: Final = 262_144
"""Octets of one packet that a file may hold; the largest that libpcap takes."""

TEXT_BYTES_MAX: Final = 4096
"""Octets of a comment or name that are written; what is longer is cut."""

SECRETS_TLS: Final = 0x544C534B
"""Decryption secrets in the format of SSLKEYLOGFILE ("TLSK", §4.7)."""

_SECTION_BLOCK: Final = 0x0A0D0D0A
_INTERFACE_BLOCK: Final = 1
_NAMES_BLOCK: Final = 4
_PACKET_BLOCK: Final = 6
_SECRETS_BLOCK: Final = 10
_OPTION_COMMENT: Final = 1
_OPTION_NAME: Final = 2
"""Of an interface; of a packet it is its flags."""
_OPTION_FLAGS: Final = 2
_OPTION_TSRESOL: Final = 9
_INBOUND, _OUTBOUND = 1, 2

_BLOCK = Struct("<II")
_SECTION = Struct("<IHHq")
_INTERFACE = Struct("<HHI")
_PACKET = Struct("<IIIII")
_RECORD = Struct("<HH")
_LENGTH = Struct("<I")
_END: Final = bytes(4)


def section() -> bytes:
    """The block with which a file begins (§4.1), of no told length."""
    return _block(_SECTION_BLOCK, _SECTION.pack(0x1A2B3C4D, 1, 0, -1))


def interface(name: str, linktype: int = LINKTYPE_RAW) -> bytes:
    """An interface of nanoseconds (§4.2); packets name it by its place among those before them."""
    options = _record(_OPTION_NAME, _text(name)) + _record(_OPTION_TSRESOL, b"\x09") + _END
    return _block(_INTERFACE_BLOCK, _INTERFACE.pack(linktype, 0, SNAPLEN) + options)


def names(of: Mapping[IPv4Address | IPv6Address, str]) -> bytes:
    """What addresses are called (§4.5); Wireshark shows it where it resolves names."""
    records = [
        _record(1 if address.version == 4 else 2, address.packed + _text(name) + b"\0")
        for address, name in of.items()
    ]
    return _block(_NAMES_BLOCK, b"".join(records) + _END)


def secrets(data: bytes, kind: int = SECRETS_TLS) -> bytes:
    """Keys for the packets that follow (§4.7)."""
    return _block(_SECRETS_BLOCK, _BLOCK.pack(kind, len(data)) + _padded(data))


def packet(
    place: int, time_ns: int, data: Buffer, *, comment: str = "", outbound: bool | None = None
) -> bytes:
    """A packet of the interface at `place` (§4.3); `outbound` None: its direction is not known.

    Raises `LocalError` for a time before 1970 or after 2554, or more than `SNAPLEN` octets."""
    size = len(data)
    if not 0 <= time_ns < 1 << 64:
        raise LocalError(f"time {time_ns} ns does not fit a capture file")
    if size > SNAPLEN:
        raise LocalError(f"packet of {size} octets in a capture file")
    options = b""
    if comment:
        options = _record(_OPTION_COMMENT, _text(comment))
    if outbound is not None:
        options += _record(_OPTION_FLAGS, _LENGTH.pack(_OUTBOUND if outbound else _INBOUND))
    if options:
        options += _END
    head = _PACKET.pack(place, time_ns >> 32, time_ns & 0xFFFFFFFF, size, size)
    return _block(_PACKET_BLOCK, head + _padded(data) + options)


def _block(kind: int, body: bytes) -> bytes:
    size = 12 + len(body)
    return b"".join((_BLOCK.pack(kind, size), body, _LENGTH.pack(size)))


def _record(code: int, value: bytes) -> bytes:
    """An option, or a record of names: code, length, value."""
    return _RECORD.pack(code, len(value)) + _padded(value)


def _padded(data: Buffer) -> bytes:
    return b"".join((data, bytes(-len(data) % 4)))


def _text(words: str) -> bytes:
    """UTF-8 in bounds, without the octet that ends names."""
    octets = words.replace("\0", " ").encode("utf-8", "replace")
    return octets[:TEXT_BYTES_MAX].decode("utf-8", "ignore").encode()
