"""TCPCL version 4 on the wire (RFC 9174): the contact header and every message.

`decode_contact` and `decode_message` read one unit of the octet stream and say where it ends.
A stream comes in pieces: a unit that is right as far as it goes raises `Incomplete`, a
`DecodeError` that says how many octets are needed before another attempt is worth the while.
Flag bits that RFC 9174 reserves are kept as they came and mean nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from stack.core.errors import DecodeError, LocalError
from stack.core.limits import BUNDLE_BYTES_MAX
from stack.core.train import Buffer

MAGIC = b"dtn!"
VERSION = 4
CONTACT_BYTES = 6
"""Length of a contact header (RFC 9174 §4.2)."""

CAN_TLS = 0x01
"""Contact header flag: the sender is capable of TLS (RFC 9174 §4.2)."""

CRITICAL = 0x01
"""Extension item flag: who does not know the item must not go on (RFC 9174 §4.8, §5.2.5)."""

SEGMENT_END = 0x01
SEGMENT_START = 0x02
"""Flags of XFER_SEGMENT, repeated in its XFER_ACK (RFC 9174 §5.2.2)."""

TERM_REPLY = 0x01
"""SESS_TERM flag: this answers the peer's SESS_TERM (RFC 9174 §6.1)."""

TRANSFER_LENGTH = 0x0001
"""Transfer extension item with the length of the whole transfer (RFC 9174 §5.2.5.1)."""

EXTENSION_LIST_BYTES_MAX = 65_536
EXTENSION_ITEMS_MAX = 64
"""The length has 32 bits: nobody may make us wait for 4 GB of extension items, or read so many."""

U64_MAX = (1 << 64) - 1


class MessageType(enum.IntEnum):
    """Message type codes (RFC 9174 §4.5)."""

    XFER_SEGMENT = 1
    XFER_ACK = 2
    XFER_REFUSE = 3
    KEEPALIVE = 4
    SESS_TERM = 5
    MSG_REJECT = 6
    SESS_INIT = 7


class RejectReason(enum.IntEnum):
    """Why a message is rejected (RFC 9174 §5.1.2)."""

    TYPE_UNKNOWN = 1
    UNSUPPORTED = 2
    UNEXPECTED = 3


class RefuseReason(enum.IntEnum):
    """Why a transfer is refused (RFC 9174 §5.2.4)."""

    UNKNOWN = 0
    COMPLETED = 1
    NO_RESOURCES = 2
    RETRANSMIT = 3
    NOT_ACCEPTABLE = 4
    EXTENSION_FAILURE = 5
    SESSION_TERMINATING = 6


class TermReason(enum.IntEnum):
    """Why a session ends (RFC 9174 §6.1)."""

    UNKNOWN = 0
    IDLE_TIMEOUT = 1
    VERSION_MISMATCH = 2
    BUSY = 3
    CONTACT_FAILURE = 4
    RESOURCE_EXHAUSTION = 5


class Incomplete(DecodeError):
    """A unit whose end has not come yet; nothing is wrong with what there is.

    `needed` octets, counted from the offset that was to be decoded, are the least with which
    decoding can get any further.
    """

    def __init__(self, section: str, offset: int, needed: int) -> None:
        super().__init__("truncated", section, offset)
        self.needed = needed


@dataclass(frozen=True, slots=True)
class ContactHeader:
    """The first octets each way (RFC 9174 §4.2)."""

    flags: int = 0

    def __post_init__(self) -> None:
        _require(0 <= self.flags <= 255, "flags are one octet")

    @property
    def can_tls(self) -> bool:
        """Whether the sender is capable of TLS."""
        return bool(self.flags & CAN_TLS)


@dataclass(frozen=True, slots=True)
class ExtensionItem:
    """A session or transfer extension item (RFC 9174 §4.8, §5.2.5)."""

    type: int
    value: bytes
    flags: int = 0

    def __post_init__(self) -> None:
        _require(0 <= self.type <= 0xFFFF, "extension type is 16 bits")
        _require(len(self.value) <= 0xFFFF, "extension value is at most 65,535 octets")
        _require(0 <= self.flags <= 255, "flags are one octet")

    @property
    def critical(self) -> bool:
        """Whether who does not know this item must not go on."""
        return bool(self.flags & CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInit:
    """SESS_INIT (RFC 9174 §4.6)."""

    type: ClassVar[MessageType] = MessageType.SESS_INIT

    keepalive_s: int
    """Seconds between KEEPALIVEs; 0: none wanted."""

    segment_mru: int
    """Octets of the largest segment data that the sender takes."""

    transfer_mru: int
    """Octets of the largest bundle that the sender takes."""

    node_id: str
    """Node id of the sender, or empty: it tells none."""

    extensions: tuple[ExtensionItem, ...] = ()

    def __post_init__(self) -> None:
        _require(0 <= self.keepalive_s <= 0xFFFF, "keepalive is 16 bits")
        _require(0 <= self.segment_mru <= U64_MAX, "segment MRU is 64 bits")
        _require(0 <= self.transfer_mru <= U64_MAX, "transfer MRU is 64 bits")
        _require(len(self.node_id.encode()) <= 0xFFFF, "node id is at most 65,535 octets")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferSegment:
    """XFER_SEGMENT (RFC 9174 §5.2.2)."""

    type: ClassVar[MessageType] = MessageType.XFER_SEGMENT

    transfer: int
    """Transfer id (§5.2.1)."""

    flags: int
    data: Buffer
    extensions: tuple[ExtensionItem, ...] = ()
    """In the first segment of a transfer only."""

    def __post_init__(self) -> None:
        _require(0 <= self.transfer <= U64_MAX, "transfer id is 64 bits")
        _require(0 <= self.flags <= 255, "flags are one octet")
        _require(
            not self.extensions or self.is_start, "extension items belong to the first segment"
        )

    @property
    def is_start(self) -> bool:
        """Whether this is the first segment of its transfer."""
        return bool(self.flags & SEGMENT_START)

    @property
    def is_end(self) -> bool:
        """Whether this is the last segment of its transfer."""
        return bool(self.flags & SEGMENT_END)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferAck:
    """XFER_ACK (RFC 9174 §5.2.3)."""

    type: ClassVar[MessageType] = MessageType.XFER_ACK

    transfer: int
    flags: int
    """Those of the segment that is acknowledged."""

    acked_bytes: int
    """Octets of the transfer received up to and including that segment."""

    def __post_init__(self) -> None:
        _require(0 <= self.transfer <= U64_MAX, "transfer id is 64 bits")
        _require(0 <= self.flags <= 255, "flags are one octet")
        _require(0 <= self.acked_bytes <= U64_MAX, "acknowledged length is 64 bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRefuse:
    """XFER_REFUSE (RFC 9174 §5.2.4).  `reason` is a `RefuseReason` or an unassigned code."""

    type: ClassVar[MessageType] = MessageType.XFER_REFUSE

    transfer: int
    reason: int

    def __post_init__(self) -> None:
        _require(0 <= self.transfer <= U64_MAX, "transfer id is 64 bits")
        _require(0 <= self.reason <= 255, "reason code is one octet")


@dataclass(frozen=True, slots=True)
class Keepalive:
    """KEEPALIVE (RFC 9174 §5.1.1)."""

    type: ClassVar[MessageType] = MessageType.KEEPALIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerm:
    """SESS_TERM (RFC 9174 §6.1).  `reason` is a `TermReason` or an unassigned code."""

    type: ClassVar[MessageType] = MessageType.SESS_TERM

    reason: int
    flags: int = 0

    def __post_init__(self) -> None:
        _require(0 <= self.flags <= 255, "flags are one octet")
        _require(0 <= self.reason <= 255, "reason code is one octet")

    @property
    def is_reply(self) -> bool:
        """Whether this answers a SESS_TERM."""
        return bool(self.flags & TERM_REPLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReject:
    """MSG_REJECT (RFC 9174 §5.1.2).  `rejected` is the header octet of the rejected message."""

    type: ClassVar[MessageType] = MessageType.MSG_REJECT

    reason: int
    rejected: int

    def __post_init__(self) -> None:
        _require(0 <= self.reason <= 255, "reason code is one octet")
        _require(0 <= self.rejected <= 255, "message header is one octet")


Message = (
    SessionInit
    | TransferSegment
    | TransferAck
    | TransferRefuse
    | Keepalive
    | SessionTerm
    | MessageReject
)


def transfer_length(total_bytes: int) -> ExtensionItem:
    """The extension item that tells the length of a transfer (RFC 9174 §5.2.5.1)."""
    _require(0 <= total_bytes <= U64_MAX, "transfer length is 64 bits")
    return ExtensionItem(TRANSFER_LENGTH, _U64.pack(total_bytes))


def parse_transfer_length(extension: ExtensionItem) -> int:
    """The number in a transfer length item.  Raises `DecodeError`."""
    if extension.type != TRANSFER_LENGTH or len(extension.value) != 8:
        raise DecodeError("not a transfer length item", "RFC 9174 §5.2.5.1")
    length: int = _U64.unpack(extension.value)[0]
    return length


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise LocalError(f"TCPCL message: {fault}")


_U16 = Struct(">H")
_U32 = Struct(">I")
_U64 = Struct(">Q")
_INIT = Struct(">BHQQH")
_SEGMENT = Struct(">BBQ")
_ACK = Struct(">BBQQ")
_REFUSE = Struct(">BBQ")
_ITEM = Struct(">BHH")

# ---------------------------------------------------------------------------------- encoding


def encode_contact(header: ContactHeader) -> bytes:
    """The six octets of a contact header."""
    return MAGIC + bytes((VERSION, header.flags))


def segment_head(
    transfer: int, flags: int, size: int, extensions: tuple[ExtensionItem, ...] = ()
) -> bytes:
    """The octets of an XFER_SEGMENT before its `size` octets of data, which need no copy."""
    head = _SEGMENT.pack(MessageType.XFER_SEGMENT, flags, transfer)
    if flags & SEGMENT_START:
        head += _extension_list(extensions)
    return head + _U64.pack(size)


def encode_message(message: Message) -> bytes:
    """The exact octets of a message."""
    match message:
        case TransferSegment():
            head = segment_head(
                message.transfer, message.flags, len(message.data), message.extensions
            )
            return b"".join((head, message.data))
        case TransferAck():
            return _ACK.pack(message.type, message.flags, message.transfer, message.acked_bytes)
        case TransferRefuse():
            return _REFUSE.pack(message.type, message.reason, message.transfer)
        case Keepalive():
            return bytes((message.type,))
        case SessionTerm():
            return bytes((message.type, message.flags, message.reason))
        case MessageReject():
            return bytes((message.type, message.reason, message.rejected))
        case SessionInit():
            node_id = message.node_id.encode()
            head = _INIT.pack(
                message.type,
                message.keepalive_s,
                message.segment_mru,
                message.transfer_mru,
                len(node_id),
            )
            return head + node_id + _extension_list(message.extensions)


def _extension_list(extensions: tuple[ExtensionItem, ...]) -> bytes:
    items = b"".join(
        _ITEM.pack(item.flags, item.type, len(item.value)) + item.value for item in extensions
    )
    _require(len(items) <= EXTENSION_LIST_BYTES_MAX, "extension items are too long")
    _require(len(extensions) <= EXTENSION_ITEMS_MAX, "extension items are too many")
    return _U32.pack(len(items)) + items


# ---------------------------------------------------------------------------------- decoding


def decode_contact(data: Buffer, offset: int = 0) -> tuple[ContactHeader, int]:
    """Read the contact header at `offset`: (header, offset of the octet after it).

    Raises `DecodeError` as soon as an octet is wrong, `Incomplete` while all so far are right.
    """
    section = "RFC 9174 §4.2"
    view = memoryview(data)[offset : offset + CONTACT_BYTES]
    if bytes(view[:4]) != MAGIC[: len(view)]:
        raise DecodeError("no contact header", section, offset)
    if len(view) > 4 and view[4] != VERSION:
        raise DecodeError(f"TCPCL version {view[4]}", "RFC 9174 §4.3", offset + 4)
    if len(view) < CONTACT_BYTES:
        raise Incomplete(section, offset + len(view), CONTACT_BYTES)
    return ContactHeader(view[5]), offset + CONTACT_BYTES


def decode_message(
    data: Buffer,
    offset: int = 0,
    *,
    segment_bytes_max: int = BUNDLE_BYTES_MAX,
    strict: bool = True,
) -> tuple[Message, int]:
    """Read the message at `offset`: (message, offset of the octet after it).

    The data of a segment is a view into `data`.  More than `segment_bytes_max` octets of it (our
    segment MRU, §4.6) are refused at the head already.  `strict` refuses reason codes of
    XFER_REFUSE and SESS_TERM that RFC 9174 does not assign; a session should read them and take
    them for "unknown".  Raises `DecodeError`, of which `Incomplete` asks for more octets.
    """
    view = memoryview(data)
    if not 0 <= offset < len(view):
        raise Incomplete("RFC 9174 §4.5", offset, 1)
    kind = view[offset]
    if kind == MessageType.XFER_SEGMENT:
        return _decode_segment(view, offset, segment_bytes_max)
    if kind == MessageType.XFER_ACK:
        end = _need(view, offset, _ACK.size, "RFC 9174 §5.2.3")
        _, flags, transfer, acked = _ACK.unpack_from(view, offset)
        return TransferAck(transfer=transfer, flags=flags, acked_bytes=acked), end
    if kind == MessageType.SESS_INIT:
        return _decode_init(view, offset)
    if kind == MessageType.KEEPALIVE:
        return Keepalive(), offset + 1
    if kind == MessageType.XFER_REFUSE:
        end = _need(view, offset, _REFUSE.size, "RFC 9174 §5.2.4")
        _, reason, transfer = _REFUSE.unpack_from(view, offset)
        if strict and reason > RefuseReason.SESSION_TERMINATING:
            raise DecodeError(f"refusal reason {reason}", "RFC 9174 §5.2.4", offset + 1)
        return TransferRefuse(transfer=transfer, reason=reason), end
    if kind == MessageType.SESS_TERM:
        end = _need(view, offset, 3, "RFC 9174 §6.1")
        flags, reason = view[offset + 1], view[offset + 2]
        if strict and reason > TermReason.RESOURCE_EXHAUSTION:
            raise DecodeError(f"termination reason {reason}", "RFC 9174 §6.1", offset + 2)
        return SessionTerm(reason=reason, flags=flags), end
    if kind == MessageType.MSG_REJECT:
        end = _need(view, offset, 3, "RFC 9174 §5.1.2")
        # Peers disagree on the order of these two fields, so neither is judged here.
        return MessageReject(reason=view[offset + 1], rejected=view[offset + 2]), end
    raise DecodeError(f"message type {kind}", "RFC 9174 §4.5", offset)


def _need(view: memoryview, offset: int, size: int, section: str) -> int:
    """The offset after a field or message of `size` octets, which must be there."""
    if size > len(view) - offset:
        raise Incomplete(section, len(view), size)
    return offset + size


def _decode_segment(
    view: memoryview, offset: int, segment_bytes_max: int
) -> tuple[TransferSegment, int]:
    """RFC 9174 §5.2.2."""
    section = "RFC 9174 §5.2.2"
    at = _need(view, offset, _SEGMENT.size, section)
    _, flags, transfer = _SEGMENT.unpack_from(view, offset)
    extensions: tuple[ExtensionItem, ...] = ()
    if flags & SEGMENT_START:
        extensions, at = _decode_extensions(view, offset, at, "RFC 9174 §5.2.5")
    begin = _need(view, offset, at - offset + 8, section)
    (size,) = _U64.unpack_from(view, at)
    if size > segment_bytes_max:
        raise DecodeError(f"segment of {size} octets", section, at)
    end = _need(view, offset, begin - offset + size, section)
    data = view[begin:end]
    return TransferSegment(transfer=transfer, flags=flags, data=data, extensions=extensions), end


def _decode_init(view: memoryview, offset: int) -> tuple[SessionInit, int]:
    """RFC 9174 §4.6."""
    section = "RFC 9174 §4.6"
    at = _need(view, offset, _INIT.size, section)
    _, keepalive_s, segment_mru, transfer_mru, size = _INIT.unpack_from(view, offset)
    end = _need(view, offset, at - offset + size, section)
    try:
        node_id = bytes(view[at:end]).decode()
    except UnicodeDecodeError:
        raise DecodeError("node id is no UTF-8", section, at) from None
    extensions, end = _decode_extensions(view, offset, end, "RFC 9174 §4.8")
    init = SessionInit(
        keepalive_s=keepalive_s,
        segment_mru=segment_mru,
        transfer_mru=transfer_mru,
        node_id=node_id,
        extensions=extensions,
    )
    return init, end


def _decode_extensions(
    view: memoryview, start: int, at: int, section: str
) -> tuple[tuple[ExtensionItem, ...], int]:
    """The extension list at `at` of the message at `start`: its items, and where it ends."""
    begin = _need(view, start, at - start + 4, section)
    (size,) = _U32.unpack_from(view, at)
    if size > EXTENSION_LIST_BYTES_MAX:
        raise DecodeError(f"{size} octets of extension items", section, at)
    end = _need(view, start, begin - start + size, section)
    items: list[ExtensionItem] = []
    at = begin
    while at < end:
        if len(items) == EXTENSION_ITEMS_MAX:
            raise DecodeError("too many extension items", section, at)
        value = at + _ITEM.size
        if value > end:
            raise DecodeError("extension item cut short by its list", section, at)
        flags, kind, length = _ITEM.unpack_from(view, at)
        if length > end - value:
            raise DecodeError("extension item longer than its list", section, at)
        at = value + length
        items.append(ExtensionItem(kind, bytes(view[value:at]), flags))
    return tuple(items), end
