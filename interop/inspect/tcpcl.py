"""One direction of a TCPCL session as a tree (RFC 9174, RFC 7242), and the transfers in it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from interop.inspect.bundle import walk_bundle
from interop.inspect.tcpcl_v3 import VERSION as VERSION_3
from interop.inspect.tcpcl_v3 import Told, told_v3, walk_v3
from interop.inspect.tree import Walk
from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.wire.tcpcl import (
    CAN_TLS,
    MAGIC,
    SEGMENT_END,
    SEGMENT_START,
    MessageReject,
    MessageType,
    RefuseReason,
    RejectReason,
    SessionInit,
    SessionTerm,
    TermReason,
    TransferAck,
    TransferRefuse,
    TransferSegment,
    decode_contact,
    decode_message,
)

TRANSFERS_MAX: Final = 10_000
"""Transfers of one direction that are put together."""


def walk_tcpcl(walk: Walk) -> None:
    """A contact header and the messages after it, as far as they were captured."""
    start = walk.at
    if _version(walk.view, start) == VERSION_3:
        walk_v3(walk, walk_bundle)
        return
    header, walk.at = decode_contact(walk.view, start)
    with_tls = "capable of TLS" if header.flags & CAN_TLS else ""
    walk.leaf("contact header", "TCPCL version 4", start, note=with_tls, section="RFC 9174 §4.2")
    while walk.left:
        _message(walk)


def _version(view: memoryview, start: int) -> int:
    at = start + len(MAGIC)
    return view[at] if view[start:at] == MAGIC and at < len(view) else 0


def _message(walk: Walk) -> None:
    start = walk.at
    message, end = decode_message(walk.view, start, strict=False)
    name = message.type.name
    if isinstance(message, TransferSegment):
        _segment(walk, message, end)
        return
    walk.at = end
    note = ""
    if isinstance(message, SessionInit):
        note = (
            f"{message.node_id or 'no node id'}, keepalive {message.keepalive_s} s, segments to "
            f"{message.segment_mru}, transfers to {message.transfer_mru} octets"
        )
    elif isinstance(message, TransferAck):
        note = f"transfer {message.transfer}: {message.acked_bytes} octets"
    elif isinstance(message, TransferRefuse):
        note = f"transfer {message.transfer}: {_words(RefuseReason, message.reason)}"
    elif isinstance(message, SessionTerm):
        note = _words(TermReason, message.reason)
    elif isinstance(message, MessageReject):
        note = f"type {message.rejected}: {_words(RejectReason, message.reason)}"
    walk.leaf(name, "", start, note=note, section="RFC 9174 §4.5")


def _words(kind: type[IntEnum], reason: int) -> str:
    try:
        return kind(reason).name.lower().replace("_", " ")
    except ValueError:
        return f"reason {reason}"


def _segment(walk: Walk, message: TransferSegment, end: int) -> None:
    size = len(message.data)
    whole = message.flags & SEGMENT_START and message.flags & SEGMENT_END
    with walk.branch(MessageType.XFER_SEGMENT.name, section="RFC 9174 §5.2.2") as segment:
        segment.value = f"transfer {message.transfer}"
        head = walk.at
        walk.at = end - size
        walk.leaf("head", f"flags {message.flags}", head)
        if whole:
            with walk.inside("data", size):
                walk_bundle(walk)
        elif size:
            walk.data("part of a transfer", size)


def transfers(data: Buffer) -> Iterator[tuple[int, bytes]]:
    """Number and octets of each transfer that came in several segments and is whole.

    Ends, without an error, where the octets cannot be read.
    """
    parts: dict[int, list[Buffer]] = {}
    try:
        for _, number, octets, flags, *_ in told(memoryview(data)):
            if octets is None:
                continue
            if flags & SEGMENT_START:
                parts[number] = []
                if len(parts) > TRANSFERS_MAX:
                    return
            if number in parts:
                parts[number].append(octets)
                if flags & SEGMENT_END:
                    whole = parts.pop(number)
                    if len(whole) > 1:
                        yield number, b"".join(whole)
    except DecodeError:
        return


def told(view: memoryview) -> Iterator[Told]:
    """The messages about transfers in one direction of a session.  Raises `DecodeError` where the
    octets cannot be read."""
    if _version(view, 0) == VERSION_3:
        yield from told_v3(view)
        return
    _, at = decode_contact(view)
    while at < len(view):
        message, at = decode_message(view, at, strict=False)
        if isinstance(message, TransferSegment):
            yield Told(at, message.transfer, memoryview(message.data), message.flags)
        elif isinstance(message, TransferAck):
            yield Told(at, message.transfer, acked_bytes=message.acked_bytes)
        elif isinstance(message, TransferRefuse):
            yield Told(at, message.transfer, refused=_words(RefuseReason, message.reason))
