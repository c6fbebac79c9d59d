"""Where the IP packet begins in a captured frame, whatever link it was captured on."""

from __future__ import annotations

from typing import Final

from stack.core.errors import DecodeError
from stack.core.pcapng import LINKTYPE_RAW

LINKTYPE_ETHERNET: Final = 1

LINKTYPE_NULL: Final = 0
"""BSD loopback: the address family in the byte order of the machine that captured."""

LINKTYPE_LOOP: Final = 108
"""OpenBSD loopback: the same in network byte order."""

LINKTYPE_SLL: Final = 113
"""Linux "any" device: a cooked header of 16 octets."""

LINKTYPE_SLL2: Final = 276
"""Its second version, of 20 octets."""

_RAW: Final = frozenset((LINKTYPE_RAW, 12, 14, 228, 229))
"""IP at once: RAW, what libpcap calls it on other systems (12, 14), and IPV4, IPV6."""

_IP: Final = frozenset((0x0800, 0x86DD))
_TAGS: Final = frozenset((0x8100, 0x88A8, 0x9100, 0x9200))
"""VLAN tags (IEEE 802.1Q, 802.1ad, and the types that were used before the latter)."""

TAGS_MAX: Final = 8
"""Tags on end; a second one is common, a third rare."""

_ETHERTYPES: Final = {0x0806: "ARP", 0x88CC: "LLDP", 0x8863: "PPPoE", 0x8864: "PPPoE"}
_FAMILIES: Final = frozenset((2, 10, 24, 28, 30))
"""AF_INET everywhere, and AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS."""


class PacketPassedOver(Exception):
    """A packet that holds nothing for us; the words say what it is instead."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


def network_offset(view: memoryview, linktype: int) -> int:
    """The offset of the IP header.  Raises `PacketPassedOver` for frames without one and for link
    types that are not read, `DecodeError` for frames that are cut short."""
    if linktype in _RAW:
        return 0
    if linktype == LINKTYPE_ETHERNET:
        return _tagged(view, 12)
    if linktype in (LINKTYPE_NULL, LINKTYPE_LOOP):
        return _loopback(view)
    if linktype == LINKTYPE_SLL:
        return _tagged(view, 14)
    if linktype == LINKTYPE_SLL2:
        kind, _ = _u16(view, 0)
        if kind not in _TAGS:
            return _known(kind, 20)
        return _tagged(view, 22)  # the tag's own type stands before the header's end
    raise PacketPassedOver(f"link type {linktype}, which is not read")


def _tagged(view: memoryview, at: int) -> int:
    """The end of VLAN tags, of which the first ethertype stands at `at`."""
    kind, at = _u16(view, at)
    for _ in range(TAGS_MAX):
        if kind not in _TAGS:
            break
        kind, at = _u16(view, at + 2)
    return _known(kind, at)


def _known(kind: int, at: int) -> int:
    if kind in _IP:
        return at
    if kind < 0x0600:
        raise PacketPassedOver("IEEE 802.3 frames without an ethertype")
    raise PacketPassedOver(_ETHERTYPES.get(kind, f"ethertype 0x{kind:04x}"))


def _loopback(view: memoryview) -> int:
    if len(view) < 4:
        raise DecodeError("loopback header cut short", "LINKTYPE_NULL", 0)
    families = {int.from_bytes(view[:4], "big"), int.from_bytes(view[:4], "little")}
    if not families & _FAMILIES:
        raise PacketPassedOver(f"address family {min(families)}")
    return 4


def _u16(view: memoryview, at: int) -> tuple[int, int]:
    if len(view) < at + 2:
        raise DecodeError("link header cut short", "IEEE 802.3 §3.1", len(view))
    return view[at] << 8 | view[at + 1], at + 2
