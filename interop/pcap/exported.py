"""Exported PDUs (LINKTYPE_WIRESHARK_UPPER_PDU): data with the name of who is to dissect it.

Tags come first, each with a 16-bit type, a 16-bit length and a value padded to four octets, all
big-endian; tag 0 ends them.
"""

from __future__ import annotations

from typing import Final

from stack.core.errors import DecodeError
from stack.core.packets import TAG, TAG_DISSECTOR, TAG_END, TAG_TABLE, TAG_TABLE_PLACE
from stack.core.train import Buffer

TAGS_MAX: Final = 64
"""A dozen kinds of tag exist, and each comes once."""

_SECTION: Final = "LINKTYPE_WIRESHARK_UPPER_PDU"


def parse_exported_pdu(data: Buffer) -> tuple[str, bytes]:
    """The dissector's name, or its table and place there ("udp.port 1113"), or "" when no tag gives
    one, and the data.  Raises `DecodeError`."""
    view = memoryview(data)
    name = ""
    at = 0
    for _ in range(TAGS_MAX):
        if TAG.size > len(view) - at:
            raise DecodeError("tags cut short", _SECTION, at)
        kind, size = TAG.unpack_from(view, at)
        begin = at + TAG.size
        at = begin + ((size + 3) & ~3)
        if kind == TAG_END:
            return name, bytes(view[at:])
        if at > len(view):
            raise DecodeError("tag longer than the packet", _SECTION, begin)
        value = bytes(view[begin : begin + size])
        if kind in (TAG_DISSECTOR, TAG_TABLE):
            name = value.rstrip(b"\0").decode("utf-8", "replace")
        elif kind == TAG_TABLE_PLACE:
            name = f"{name} {int.from_bytes(value[:4], 'big')}"
    raise DecodeError("too many tags", _SECTION, at)
