"""Exported PDUs (LINKTYPE_WIRESHARK_UPPER_PDU): data with the name of who is to dissect it.

Tags come first, each with a 16-bit type, a 16-bit length and a value padded to four octets, all
big-endian; tag 0 ends them.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer

_TAG_END: Final = 0
_TAG_DISSECTOR: Final = 12
NAME_BYTES_MAX: Final = 255
TAGS_MAX: Final = 64
"""A dozen kinds of tag exist, and each comes once."""

_SECTION: Final = "LINKTYPE_WIRESHARK_UPPER_PDU"
_TAG = Struct(">HH")


def exported_pdu(data: Buffer, dissector: str) -> bytes:
    """A packet that Wireshark hands to the dissector of that name, for example "bpv7"."""
    name = dissector.encode()
    if not 0 < len(name) <= NAME_BYTES_MAX:
        raise LocalError(f"no name of a dissector: {dissector!r}")
    padded = name + bytes(-len(name) % 4)
    return b"".join((_TAG.pack(_TAG_DISSECTOR, len(padded)), padded, _TAG.pack(_TAG_END, 0), data))


def parse_exported_pdu(data: Buffer) -> tuple[str, bytes]:
    """The dissector's name, or "" when no tag gives one, and the data.  Raises `DecodeError`."""
    view = memoryview(data)
    name = ""
    at = 0
    for _ in range(TAGS_MAX):
        if _TAG.size > len(view) - at:
            raise DecodeError("tags cut short", _SECTION, at)
        kind, size = _TAG.unpack_from(view, at)
        begin = at + _TAG.size
        at = begin + ((size + 3) & ~3)
        if kind == _TAG_END:
            return name, bytes(view[at:])
        if at > len(view):
            raise DecodeError("tag longer than the packet", _SECTION, begin)
        if kind == _TAG_DISSECTOR:
            name = bytes(view[begin : begin + size]).rstrip(b"\0").decode("utf-8", "replace")
    raise DecodeError("too many tags", _SECTION, at)
