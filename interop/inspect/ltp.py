"""LTP segments as trees (RFC 5326), and what whole blocks in them carry."""

from __future__ import annotations

from interop.inspect import words
from interop.inspect.bundle import walk_bundle
from interop.inspect.tree import Walk
from stack.core.errors import DecodeError
from stack.wire.ltp import CLIENT_BP, CLIENT_SDA, VERSION, SegmentType, decode_segment

_DATA = frozenset((0, 1, 2, 3, 4, 7))
_CHECKPOINTS = frozenset((1, 2, 3))
_ENDS_BLOCK = frozenset((SegmentType.RED_END_BLOCK, SegmentType.GREEN_END_BLOCK))
_CANCELS = frozenset((SegmentType.CANCEL_BY_SENDER, SegmentType.CANCEL_BY_RECEIVER))


def walk_segment(walk: Walk) -> None:
    """Read one segment.  Raises `DecodeError` where it cannot go on."""
    start = walk.at
    with walk.branch("LTP segment", section="RFC 5326 §3") as segment:
        control = walk.octet("version and type", lambda octet: words.segment_type(octet & 15))
        kind = control & 15
        segment.value = words.segment_type(kind)
        if control >> 4 != VERSION:
            raise DecodeError(f"LTP version {control >> 4}", "RFC 5326 §3.1", start)
        with walk.branch("session") as session:
            engine = walk.sdnv("originating engine")
            number = walk.sdnv("number")
            session.value = f"{engine}.{number}"
        counts = walk.octet("extension counts", lambda n: f"{n >> 4} header, {n & 15} trailer")
        _extensions(walk, "header extension", counts >> 4)
        if kind in _DATA:
            _data(walk, kind)
        elif kind == SegmentType.REPORT:
            _report(walk)
        elif kind == SegmentType.REPORT_ACK:
            walk.sdnv("report serial number")
        elif kind in _CANCELS:
            walk.octet("reason", words.cancel_reason)
        _extensions(walk, "trailer extension", counts & 15)
        decode_segment(walk.view, start)  # rules that no single field breaks


def _extensions(walk: Walk, label: str, count: int) -> None:
    """RFC 5326 §3.1.4."""
    for _ in range(count):
        with walk.branch(label, section="RFC 5326 §3.1.4"):
            tag = walk.octet("tag", words.extension_tag)
            size = walk.sdnv("length")
            if label == "header extension" and tag == 0 and size:
                _named_key(walk, size)
            else:
                walk.data("value", size)


def _named_key(walk: Walk, size: int) -> None:
    """RFC 5327 §2.1: the header extension of authentication."""
    with walk.inside("value", size):
        walk.octet("ciphersuite", words.ciphersuite)
        walk.data("KeyID", size - 1)


def _report(walk: Walk) -> None:
    """RFC 5326 §3.2.2."""
    walk.sdnv("report serial number")
    walk.sdnv("checkpoint serial number", lambda n: "" if n else "asynchronous report")
    walk.sdnv("upper bound")
    lower = walk.sdnv("lower bound")
    for _ in range(walk.sdnv("reception claims")):
        with walk.branch("claim") as claim:
            offset = walk.sdnv("offset")
            length = walk.sdnv("length")
            claim.value = f"octets {lower + offset} to {lower + offset + length}"


def _data(walk: Walk, kind: int) -> None:
    """RFC 5326 §3.2.1."""
    client = walk.sdnv("client service", words.client_service)
    offset = walk.sdnv("offset")
    size = walk.sdnv("length")
    if kind in _CHECKPOINTS:
        walk.sdnv("checkpoint serial number")
        walk.sdnv("report serial number", lambda n: "" if n else "not in answer to a report")
    if size > walk.left:
        raise DecodeError("truncated data", "RFC 5326 §3.2.1", len(walk.view))
    whole = not offset and kind in _ENDS_BLOCK
    read = {CLIENT_BP: _bundles, CLIENT_SDA: _capsules}.get(client)
    with walk.inside("data", size) as data:
        if read is not None and whole:
            data.note = "a whole block"
            read(walk)
        # The first segment of a block may hold the first of its bundles whole, or all of them.
        elif read is None or offset or not walk.attempt(lambda: read(walk)):
            data.note = "" if whole else "part of a block"
            walk.data("octets", size)


def _bundles(walk: Walk) -> None:
    """A bundle, or several (RFC 5326 leaves the block to the client)."""
    while walk.left:
        walk_bundle(walk)


def _capsules(walk: Walk) -> None:
    """Service data units, each after the id of its client (CCSDS 734.1-B-1)."""
    while walk.left:
        with walk.branch("capsule", section="CCSDS 734.1-B-1"):
            client = walk.sdnv("client service", words.client_service)
            if client == CLIENT_BP:
                walk_bundle(walk)
            else:
                walk.data("octets", walk.left, "end unknown to this dissector")
