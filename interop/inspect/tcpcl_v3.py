"""One direction of a TCPCL version 3 session (RFC 7242) as a tree: ION and HDTN still speak it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from interop.inspect.tree import Walk
from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.wire.sdnv import decode_sdnv

VERSION = 3
_DATA_SEGMENT, _ACK_SEGMENT, _REFUSE_BUNDLE, _KEEPALIVE, _SHUTDOWN, _LENGTH = range(1, 7)
_START, _END = 2, 1
_REASON, _DELAY = 2, 1
_NAMES = {
    _DATA_SEGMENT: "DATA_SEGMENT",
    _ACK_SEGMENT: "ACK_SEGMENT",
    _REFUSE_BUNDLE: "REFUSE_BUNDLE",
    _KEEPALIVE: "KEEPALIVE",
    _SHUTDOWN: "SHUTDOWN",
    _LENGTH: "LENGTH",
}
_HEADER_BYTES = 8


def walk_v3(walk: Walk, bundle: Callable[[Walk], None]) -> None:
    """A contact header and the messages after it; `bundle` reads a whole bundle."""
    start = walk.at
    size, begin = _contact(walk.view, start)
    keepalive_s = int.from_bytes(walk.view[start + 6 : start + 8], "big")
    walk.at = begin + size
    eid = bytes(walk.view[begin : walk.at]).decode("utf-8", "replace")
    note = f"{eid or 'no EID'}, keepalive {keepalive_s} s"
    walk.leaf("contact header", "TCPCL version 3", start, note=note, section="RFC 7242 §4.1")
    while walk.left:
        _message(walk, bundle)


def _contact(view: memoryview, start: int) -> tuple[int, int]:
    """Length of the EID and where it begins."""
    if len(view) - start < _HEADER_BYTES:
        raise DecodeError("contact header cut short", "RFC 7242 §4.1", len(view))
    size, begin = decode_sdnv(view, start + _HEADER_BYTES)
    if size > len(view) - begin:
        raise DecodeError("contact header cut short", "RFC 7242 §4.1", len(view))
    return size, begin


def _message(walk: Walk, bundle: Callable[[Walk], None]) -> None:
    start = walk.at
    kind, flags, size, begin = _head(walk.view, start)
    with walk.branch(_NAMES[kind], section="RFC 7242 §5.1") as message:
        walk.at = begin
        if kind != _DATA_SEGMENT:
            if kind in (_ACK_SEGMENT, _LENGTH):
                message.value = f"{size} octets"
            elif kind == _REFUSE_BUNDLE:
                message.value = f"reason {flags}"
            return
        walk.leaf("head", f"{size} octets", start)
        if flags & _START and flags & _END:
            with walk.inside("data", size):
                bundle(walk)
        elif size:
            walk.data("part of a bundle", size)


def _head(view: memoryview, at: int) -> tuple[int, int, int, int]:
    """(type, flags, number in it, offset after it) of the message at `at`, without its data."""
    kind, flags = view[at] >> 4, view[at] & 15
    end, size = at + 1, 0
    if kind not in _NAMES:
        raise DecodeError(f"message of unknown type {kind}", "RFC 7242 §5.1", at)
    if kind in (_DATA_SEGMENT, _ACK_SEGMENT, _LENGTH):
        size, end = decode_sdnv(view, end)
    elif kind == _SHUTDOWN:
        end += bool(flags & _REASON) + 2 * bool(flags & _DELAY)
    if end > len(view) or (kind == _DATA_SEGMENT and size > len(view) - end):
        raise DecodeError("message cut short", "RFC 7242 §5.1", len(view))
    return kind, flags, size, end


class Told(NamedTuple):
    """A message of either version that says something of a transfer."""

    end: int
    """Where it ends."""

    transfer: int
    """Its number; version 3 counts on, and an acknowledgement there is of the bundle that is the
    next to be acknowledged: -1."""

    octets: memoryview | None = None
    """Those of a segment; None for what the receiver says."""

    flags: int = 0
    """Of a segment: 2 for the first of a transfer, 1 for the last."""

    acked_bytes: int = 0
    refused: str = ""


class MessageV3(NamedTuple):
    """A message of version 3."""

    kind: int
    flags: int
    """The four bits after the kind: flags, or the reason of a refusal."""

    number: int
    """Octets of the segment, acknowledged, or of the whole bundle."""

    begin: int
    """Where what follows that number begins: the data of a segment, or what came before the end."""

    end: int


def contact_v3(data: Buffer) -> tuple[int, bytes, int]:
    """Keepalive interval in seconds, EID, and where the contact header ends.  Raises
    `DecodeError`."""
    view = memoryview(data)
    size, begin = _contact(view, 0)
    keepalive_s = int.from_bytes(view[6:8], "big")
    return keepalive_s, bytes(view[begin : begin + size]), begin + size


def messages_v3(data: Buffer, at: int) -> Iterator[MessageV3]:
    """The messages from there on.  Raises `DecodeError` where one cannot be read."""
    view = memoryview(data)
    while at < len(view):
        kind, flags, size, begin = _head(view, at)
        at = begin + (size if kind == _DATA_SEGMENT else 0)
        yield MessageV3(kind, flags, size, begin, at)


def told_v3(data: Buffer) -> Iterator[Told]:
    """The messages about bundles.  Raises `DecodeError` where the octets cannot be read."""
    view = memoryview(data)
    number = -1
    for kind, flags, size, begin, end in messages_v3(view, contact_v3(view)[2]):
        if kind == _DATA_SEGMENT:
            number += bool(flags & _START)
            yield Told(end, number, view[begin:end], flags)
        elif kind == _ACK_SEGMENT:
            yield Told(end, -1, acked_bytes=size)
        elif kind == _REFUSE_BUNDLE:
            yield Told(end, -1, refused=f"reason {flags}")
