"""Reads pcapng (draft-ietf-opsawg-pcapng): blocks of type, length, body, length.

Interfaces, packets and names are read, with the options that matter here; the rest is passed by.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Final, NamedTuple

from interop.pcap.record import Record
from stack.core.errors import DecodeError
from stack.core.pcapng import SNAPLEN

SECTION_BLOCK: Final = 0x0A0D0D0A
_BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
_INTERFACE_BLOCK: Final = 1
_SIMPLE_PACKET_BLOCK: Final = 3
_NAMES_BLOCK: Final = 4
_ENHANCED_PACKET_BLOCK: Final = 6
_OPTION_END: Final = 0
_OPTION_COMMENT: Final = 1
_OPTION_NAME: Final = 2
"""Of an interface."""
_OPTION_FLAGS: Final = 2
"""Of a packet."""
_OPTION_TSRESOL: Final = 9

_RULE: Final = "draft-ietf-opsawg-pcapng §4"

INTERFACES_MAX: Final = 1024
"""Interfaces of one section: more of them serve only to fill our memory."""

NAMES_MAX: Final = 65_536
"""Addresses whose names are kept."""

TEXT_BYTES_MAX: Final = 4096
"""Octets of a name, and of the comments of a packet, that are kept."""

Names = dict[IPv4Address | IPv6Address, str]
"""What addresses are called."""


_struct = functools.cache(Struct)
"""There are few, and each block asks for some."""


class _Interface(NamedTuple):
    """What packets of one interface have in common."""

    linktype: int
    ticks_per_s: int
    name: str


def read_pcapng(view: memoryview, names: Names) -> Iterator[Record]:
    """The packets of a file; see `interop.pcap.read_capture`.  Raises `DecodeError`."""
    interfaces: list[_Interface] = []
    order = ">"
    at = 0
    while at < len(view):
        if len(view) - at < 12:
            raise DecodeError("block cut short", _RULE, at)
        if int.from_bytes(view[at : at + 4], "big") == SECTION_BLOCK:
            order = _byte_order(view, at)
            interfaces.clear()
        kind, size = _struct(order + "II").unpack_from(view, at)
        if size < 12 or size % 4 or size > len(view) - at:
            raise DecodeError(f"block of {size} octets", _RULE, at)
        if view[at + 4 : at + 8] != view[at + size - 4 : at + size]:
            raise DecodeError("block of two lengths", _RULE, at)
        body = view[at + 8 : at + size - 4]
        if kind == _INTERFACE_BLOCK:
            if len(interfaces) >= INTERFACES_MAX:
                raise DecodeError("too many interfaces", _RULE, at)
            interfaces.append(_read_interface(body, order, at))
        elif kind == _ENHANCED_PACKET_BLOCK:
            yield _enhanced_packet(body, order, interfaces, at)
        elif kind == _SIMPLE_PACKET_BLOCK:
            yield _simple_packet(body, order, interfaces, at)
        elif kind == _NAMES_BLOCK:
            _read_names(body, order, names)
        at += size


def _byte_order(view: memoryview, at: int) -> str:
    """The byte order of the section that begins at `at`."""
    for order in (">", "<"):
        if _struct(order + "I").unpack_from(view, at + 8)[0] == _BYTE_ORDER_MAGIC:
            return order
    raise DecodeError("no byte-order magic in the section header", _RULE, at)


def _records(body: memoryview, at: int, order: str) -> Iterator[tuple[int, memoryview]]:
    """Options, or records of names, from `at` on: code and value.  Raises `DecodeError`."""
    head = _struct(order + "HH")
    while len(body) - at >= head.size:
        code, size = head.unpack_from(body, at)
        at += head.size
        if code == _OPTION_END:
            return
        if size > len(body) - at:
            raise DecodeError("option longer than its block", _RULE, at)
        yield code, body[at : at + size]
        at += (size + 3) & ~3


def _read_interface(body: memoryview, order: str, at: int) -> _Interface:
    if len(body) < 8:
        raise DecodeError("interface block cut short", _RULE, at)
    (linktype,) = _struct(order + "H").unpack_from(body)
    ticks_per_s, name = 1_000_000, ""
    for code, value in _records(body, 8, order):
        if code == _OPTION_TSRESOL and len(value) == 1:
            resolution = value[0]
            base, exponent = (2, resolution & 0x7F) if resolution & 0x80 else (10, resolution)
            if base**exponent > 1 << 64:
                raise DecodeError("absurd time resolution", _RULE, at)
            ticks_per_s = base**exponent
        elif code == _OPTION_NAME:
            name = _text(value)
    return _Interface(linktype, ticks_per_s, name)


def _enhanced_packet(body: memoryview, order: str, interfaces: list[_Interface], at: int) -> Record:
    head = _struct(order + "IIIII")
    if len(body) < head.size:
        raise DecodeError("packet block cut short", _RULE, at)
    number, high, low, size, original = head.unpack_from(body)
    if number >= len(interfaces):
        raise DecodeError(f"packet of unknown interface {number}", _RULE, at)
    if size > SNAPLEN or size > len(body) - head.size:
        raise DecodeError("packet longer than its block or the format", _RULE, at)
    linktype, ticks_per_s, name = interfaces[number]
    time_ns = (high << 32 | low) * 1_000_000_000 // ticks_per_s
    data = bytes(body[head.size : head.size + size])
    comments: list[str] = []
    room = TEXT_BYTES_MAX
    outbound = None
    for code, value in _records(body, head.size + ((size + 3) & ~3), order):
        if code == _OPTION_COMMENT and len(value) <= room:
            comments.append(_text(value))
            room -= len(value)
        elif code == _OPTION_FLAGS and len(value) == 4:
            direction = _struct(order + "I").unpack(value)[0] & 3
            outbound = {1: False, 2: True}.get(direction)
    return Record(time_ns, linktype, data, original, name, "; ".join(comments), outbound)


def _simple_packet(body: memoryview, order: str, interfaces: list[_Interface], at: int) -> Record:
    if len(body) < 4 or not interfaces:
        raise DecodeError("packet block cut short or without interface", _RULE, at)
    (original,) = _struct(order + "I").unpack_from(body)
    data = bytes(body[4 : 4 + min(original, SNAPLEN)])
    return Record(0, interfaces[0].linktype, data, original, interfaces[0].name)


def _read_names(body: memoryview, order: str, names: Names) -> None:
    """The first name of each address (§4.5)."""
    for code, value in _records(body, 0, order):
        size = {1: 4, 2: 16}.get(code)
        if size is None or len(value) < size or len(names) >= NAMES_MAX:
            continue
        octets = bytes(value[:size])
        address = IPv4Address(octets) if code == 1 else IPv6Address(octets)
        name = _text(value[size:]).partition("\0")[0]
        if name:
            names[address] = name


def _text(value: memoryview) -> str:
    return bytes(value[:TEXT_BYTES_MAX]).rstrip(b"\0").decode("utf-8", "replace")
