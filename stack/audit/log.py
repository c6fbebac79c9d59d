"""A node's log as whoever signs for it has to know it: how far it has been closed, and by what."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from stack.audit.merkle import HASH_BYTES, PATH_MAX, Peaks
from stack.audit.note import LogCheckpoint, NoteSigner, SignedNote, open_checkpoint
from stack.core.errors import DecodeError
from stack.wire import cbor

ID_BYTES = 8
SEEN, FORKED = "audit-seen", "audit-forked"
"""Spaces of a store: of each log of others the last checkpoint that was cosigned here, and what
contradicts such a one."""

WITNESS = "audit", "witness-key"
"""Space and key of the secret with which a node cosigns, drawn when it is asked first."""

_SECTION = "docs/audit.md"


class ClosedLog:
    """How far a log is closed by a checkpoint, and what is needed to go on from there.

    Its origin is made of the node and of octets drawn when it began: a log whose end a disk has
    lost does not go on in another way, which would look like a fork; another one begins."""

    def __init__(self, node: str, log_id: bytes, start: int, peaks: Peaks | None = None) -> None:
        """`start`: the number of its first event in the store."""
        self.node = node
        self.id = log_id
        self.start = start
        self.peaks = peaks or Peaks()

    @property
    def origin(self) -> str:
        """The name of the log, and of its key."""
        return log_origin(self.node, self.id)

    @property
    def next(self) -> int:
        """The number in the store of the first event that is not in it yet."""
        return self.start + self.peaks.size

    def begun(self) -> ClosedLog:
        """The same log before its first event."""
        return ClosedLog(self.node, self.id, self.start)

    def extend(self, events: Sequence[tuple[int, bytes]]) -> int:
        """Take in events that follow; how many.  It ends before the first that does not."""
        first, count = self.next, len(events)
        if [number for number, _ in events] != [*range(first, first + count)]:
            follows = (number == at for at, (number, _) in enumerate(events, first))
            count = sum(takewhile(bool, follows))
        self.peaks.add([event for _, event in events[:count]])
        return count

    def close(self, signer: NoteSigner) -> SignedNote:
        """The checkpoint of what is in it now."""
        return LogCheckpoint(self.origin, self.peaks.size, self.peaks.root()).signed(signer)

    def encode(self) -> bytes:
        """What is kept of it beside the events."""
        hashes = map(cbor.bstr, self.peaks.hashes)
        return cbor.array(
            (
                cbor.bstr(self.id),
                cbor.uint(self.start),
                cbor.uint(self.peaks.size),
                cbor.array(hashes),
            )
        )

    @staticmethod
    def decode(node: str, octets: bytes) -> ClosedLog:
        """Inverse of `encode`.  Raises `DecodeError`."""
        count, at = cbor.read_array(octets, 0)
        log_id, at = cbor.read_bstr(octets, at)
        start, at = cbor.read_uint(octets, at)
        size, at = cbor.read_uint(octets, at)
        hashes, at = read_hashes(octets, at)
        if count != 4 or at != len(octets) or len(log_id) != ID_BYTES:
            raise DecodeError("no state of a log", _SECTION)
        return ClosedLog(node, bytes(log_id), start, Peaks(size, hashes))

    def agrees(self, note: bytes, signer: NoteSigner) -> bool:
        """Whether a checkpoint of this log is that of what is in it now."""
        found = open_checkpoint(note, signer.key)[1]
        return found == LogCheckpoint(self.origin, self.peaks.size, self.peaks.root())


def log_origin(node: str, log_id: bytes) -> str:
    """The origin of a log."""
    return f"{node.rstrip('/')}/audit/{log_id.hex()}"


def node_of(origin: str) -> str:
    """The node of whose log this is the origin.  Raises `DecodeError`."""
    node, mark, log_id = origin.rpartition("/audit/")
    if not mark or len(log_id) != 2 * ID_BYTES:
        raise DecodeError(f"{origin[:64]!r} is no log of a node", _SECTION)
    return node + "/" if node.startswith("dtn:") else node


def read_hashes(octets: bytes, at: int) -> tuple[list[bytes], int]:
    """An array of hashes, few enough for a path.  Raises `DecodeError`."""
    count, at = cbor.read_array(octets, at)
    if count > 2 * PATH_MAX:
        raise DecodeError(f"{count} hashes", _SECTION, at)
    hashes = []
    for _ in range(count):
        each, at = cbor.read_bstr(octets, at)
        if len(each) != HASH_BYTES:
            raise DecodeError(f"a hash has {HASH_BYTES} octets", _SECTION, at)
        hashes.append(bytes(each))
    return hashes, at
