"""The five messages of the file service (docs/services.md, Files).

An object is a file with a name, cut into chunks of equal size.  Each message is one bundle's
payload: a CBOR array that begins with the protocol version and the message type.

    Offer    sender -> receiver   what the object is; and which round of chunks is fully sent
    Chunk    sender -> receiver   octets at an offset
    Repair   receiver -> sender   chunks that are missing after a round; asks for the next one
    Receipt  receiver -> sender   the object's fate: received, refused, busy, failed, cancelled
    Cancel   sender -> receiver   the object will not be completed
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.ports.application import CRITICAL_PRIORITY
from stack.services.codec import Fields, decode, encode
from stack.services.files.paths import NAME_CHARS_MAX, safe_name
from stack.wire.cbor import BSTR, UINT, head

VERSION: Final = 1
SECTION: Final = "docs/services.md, Files"

ID_BYTES: Final = 16
"""Random: two senders or two sendings never share one."""

SHA256_BYTES: Final = 32
CHUNK_BYTES_MIN: Final = 256
CHUNK_BYTES_MAX: Final = 16 * 1024 * 1024
"""A quarter of the largest bundle: a receiver holds some dozens in memory."""

OBJECT_BYTES_MAX: Final = 1 << 46
CHUNKS_MAX: Final = 1 << 22
"""Four million: the table of chunk checksums stays below 16 MiB."""

ROUND_MAX: Final = (1 << 32) - 1
REPAIR_SPANS_MAX: Final = 128
"""About 1 KB of request; what does not fit is asked for in the next round."""

TAG_CHARS_MAX: Final = 128
TEXT_CHARS_MAX: Final = 256
PRIORITY_MAX: Final = CRITICAL_PRIORITY

_OFFER, _CHUNK, _REPAIR, _RECEIPT, _CANCEL = range(5)
_CRC_MAX: Final = (1 << 32) - 1


class Outcome(enum.IntEnum):
    """What became of an object at its receiver."""

    RECEIVED = 0
    """Whole, verified and in place."""

    REFUSED = 1
    """Against the receiver's policy: sending again will not help."""

    BUSY = 2
    """No room at present: ask again later."""

    FAILED = 3
    """The content did not match its digest, repeatedly, or could not be stored."""

    CANCELLED = 4
    """The receiver gave the object up."""


def chunk_count(size: int, chunk_bytes: int) -> int:
    """Number of chunks of an object of `size` octets."""
    return -(-size // chunk_bytes)


@dataclass(frozen=True, slots=True)
class Offer:
    """Everything about an object except its content."""

    object_id: bytes
    name: str
    size: int
    sha256: bytes
    chunk_bytes: int
    priority: int
    tag: str
    """Opaque to the file service; chooses the receiving application."""

    sent_round: int
    """0: chunks will follow.  n: every chunk asked for up to round n has been sent before this
    (round 1 is all chunks), so that what has not come now is lost."""

    def __post_init__(self) -> None:
        _check_shape(self.size, self.chunk_bytes)
        safe_name(self.name)

    def encode(self) -> bytes:
        """The message."""
        return encode(
            (
                VERSION,
                _OFFER,
                self.object_id,
                self.name,
                self.size,
                self.sha256,
                self.chunk_bytes,
                self.priority,
                self.tag,
                self.sent_round,
            )
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """Octets of an object at `offset`, a multiple of `chunk_bytes`; only the last is shorter.
    Raises `DecodeError` where that does not hold."""

    object_id: bytes
    size: int
    chunk_bytes: int
    offset: int
    crc: int
    """CRC-32C of `data`: finds a chunk that memory damaged between bundle and disk."""

    data: memoryview

    def __post_init__(self) -> None:
        _check_shape(self.size, self.chunk_bytes)
        if self.offset % self.chunk_bytes or self.offset >= self.size:
            raise DecodeError("chunk offset is off the grid or past the end", SECTION)
        if len(self.data) != min(self.chunk_bytes, self.size - self.offset):
            raise DecodeError(f"chunk has {len(self.data)} octets", SECTION)


@dataclass(frozen=True, slots=True)
class Repair:
    """A request for chunks; `round` is the number of the sending that answers it."""

    object_id: bytes
    round: int
    spans: tuple[tuple[int, int], ...]
    """Chunk numbers as [start, end), ascending, not touching."""

    def encode(self) -> bytes:
        """The message."""
        return encode((VERSION, _REPAIR, self.object_id, self.round, self.spans))


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receiver's verdict on an object, in a code and in words."""

    object_id: bytes
    outcome: Outcome
    text: str = ""

    def encode(self) -> bytes:
        """The message."""
        text = self.text[:TEXT_CHARS_MAX]
        return encode((VERSION, _RECEIPT, self.object_id, int(self.outcome), text))


@dataclass(frozen=True, slots=True)
class Cancel:
    """The sender gave the object up."""

    object_id: bytes

    def encode(self) -> bytes:
        """The message."""
        return encode((VERSION, _CANCEL, self.object_id))


Message = Offer | Chunk | Repair | Receipt | Cancel


def _check_shape(size: int, chunk_bytes: int) -> None:
    if chunk_count(size, chunk_bytes) > CHUNKS_MAX:
        raise DecodeError(f"object of more than {CHUNKS_MAX} chunks", SECTION)


def chunk_head(
    object_id: bytes, size: int, chunk_bytes: int, offset: int, crc: int, length: int
) -> bytes:
    """All of an encoded chunk before its `length` octets of data."""
    return b"".join(
        (
            b"\x88\x01\x01",  # array of 8: version 1, chunk
            head(BSTR, ID_BYTES),
            object_id,
            head(UINT, size),
            head(UINT, chunk_bytes),
            head(UINT, offset),
            head(UINT, crc),
            head(BSTR, length),
        )
    )


def decode_message(payload: Buffer) -> Message:
    """Read a message.  Raises `DecodeError`; `Chunk.data` is a view into `payload`."""
    fields = decode(payload, SECTION)
    if fields.uint(255) != VERSION:
        raise fields.fail("unknown version")
    kind = fields.uint(_CANCEL)
    object_id = fields.blob(ID_BYTES, ID_BYTES)
    if kind == _CHUNK:
        message: Message = Chunk(
            object_id,
            size=fields.uint(OBJECT_BYTES_MAX, 1),
            chunk_bytes=fields.uint(CHUNK_BYTES_MAX, CHUNK_BYTES_MIN),
            offset=fields.uint(OBJECT_BYTES_MAX),
            crc=fields.uint(_CRC_MAX),
            data=fields.view(CHUNK_BYTES_MAX, 1),
        )
    elif kind == _OFFER:
        message = _offer(object_id, fields)
    elif kind == _REPAIR:
        number = fields.uint(ROUND_MAX, 2)
        message = Repair(object_id, number, tuple(fields.spans(REPAIR_SPANS_MAX, CHUNKS_MAX)))
        if not message.spans:
            raise DecodeError("repair request without chunks", SECTION)
    elif kind == _RECEIPT:
        outcome = Outcome(fields.uint(max(Outcome)))
        message = Receipt(object_id, outcome, fields.text(TEXT_CHARS_MAX))
    else:
        message = Cancel(object_id)
    fields.end()
    return message


def _offer(object_id: bytes, fields: Fields) -> Offer:
    return Offer(
        object_id,
        name=fields.text(NAME_CHARS_MAX),
        size=fields.uint(OBJECT_BYTES_MAX),
        sha256=fields.blob(SHA256_BYTES, SHA256_BYTES),
        chunk_bytes=fields.uint(CHUNK_BYTES_MAX, CHUNK_BYTES_MIN),
        priority=fields.uint(PRIORITY_MAX),
        tag=fields.text(TAG_CHARS_MAX),
        sent_round=fields.uint(ROUND_MAX),
    )
