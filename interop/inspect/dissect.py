"""From octets to a tree, whatever they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from interop.inspect.bundle import walk_bundle
from interop.inspect.ltp import walk_segment
from interop.inspect.tcpcl import walk_tcpcl
from interop.inspect.tree import Tree, Walk
from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer
from stack.wire.fecframe import PAYLOAD_ID_BYTES, decode_payload_id
from stack.wire.ltp import decode_segment

INSPECT_BYTES_MAX: Final = 128 * 1024 * 1024
"""What is longer is no bundle that any node would take, nor a datagram."""


def dissect(data: Buffer, kind: str = "auto") -> Tree:
    """What the octets say, as far as they can be read; never raises for what they are.

    `kind` is one of `KINDS`: "auto" tells bundles from LTP segments by themselves, "fec-source"
    and "fec-repair" are FECFRAME packets (RFC 6865), "tcpcl" is one direction of a TCPCL stream
    (RFC 9174), and "octets" are shown as they are.  Offsets count from the start of `data`.
    Raises `LocalError` for another kind.
    """
    if kind not in KINDS:
        raise LocalError(f"no kind of octets: {kind!r}; known are {', '.join(KINDS)}")
    view = memoryview(data).cast("B").toreadonly()
    walk = Walk(view, "octets")
    walk.root.value = f"{len(view)} octets"
    try:
        if len(view) > INSPECT_BYTES_MAX:
            raise DecodeError("too long to be shown", "", INSPECT_BYTES_MAX)
        KINDS[kind](walk)
        if walk.left:
            left = walk.left
            start, walk.at = walk.at, len(view)
            walk.blame(DecodeError(f"{left} octets left over", "", start))
    except DecodeError as error:
        walk.blame(error)
    walk.root.length = len(view)
    return walk.root.freeze()


def _auto(walk: Walk) -> None:
    """RFC 9171 §4.1: a bundle begins with an array head; LTP has version 0 in its first octet."""
    if not walk.left:
        raise DecodeError("no octets", "", 0)
    first = walk.view[walk.at]
    if first >> 5 == 4:
        _bundles(walk)
    elif first >> 4 == 0 and (first != 6 or _is_segment(walk.view, walk.at)):
        walk_segment(walk)
    elif first == 6:
        raise DecodeError("a bundle of version 6", "RFC 5050 §4.5.1", 0)
    else:
        walk.data("octets", walk.left)
        raise DecodeError("neither a bundle nor an LTP segment", "", 0)


def _octets(walk: Walk) -> None:
    """Nobody knows what they are."""
    if walk.left:
        walk.data("octets", walk.left)


def _is_segment(view: memoryview, at: int) -> bool:
    try:
        decode_segment(view, at)
    except DecodeError:
        return False
    return True


def _bundles(walk: Walk) -> None:
    """One bundle, or several on end."""
    walk_bundle(walk)
    while walk.left and walk.view[walk.at] >> 5 == 4:
        walk_bundle(walk)


def _fec_source(walk: Walk) -> None:
    """An application data unit, and its payload id at the end (RFC 6865 §5.1.2)."""
    size = max(0, walk.left - PAYLOAD_ID_BYTES)
    with walk.branch("FECFRAME source packet", section="RFC 6865 §5.1.2"):
        if size:
            with walk.inside("application data unit", size):
                _auto(walk)
        _payload_id(walk, repair=False)


def _fec_repair(walk: Walk) -> None:
    """A payload id and a repair symbol (RFC 6865 §5.1.3)."""
    with walk.branch("FECFRAME repair packet", section="RFC 6865 §5.1.3"):
        _payload_id(walk, repair=True)
        walk.data("repair symbol", walk.left, f"{walk.left} octets")


def _payload_id(walk: Walk, *, repair: bool) -> None:
    start = walk.at
    with walk.branch("FEC payload id"):
        try:
            (sbn, esi, k), _ = decode_payload_id(walk.view[start:], repair=repair)
        except DecodeError as error:
            raise DecodeError(error.reason, error.section, start + max(0, error.offset)) from None
        for label, value, width in (
            ("source block number", sbn, 3),
            ("encoding symbol id", esi, 1),
            ("source block length", k, 2),
        ):
            walk.at += width
            walk.leaf(label, value, walk.at - width)


KINDS: Final[dict[str, Callable[[Walk], None]]] = {
    "auto": _auto,
    "bundle": _bundles,
    "ltp": walk_segment,
    "fec-source": _fec_source,
    "fec-repair": _fec_repair,
    "tcpcl": walk_tcpcl,
    "octets": _octets,
}
