"""The file directives of CFDP (CCSDS 727.0-B-5 §5.2) as values, and their parameter fields.

Spare bits are written as zero and ignored when read, as §5.1 of the standard says of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from stack.core.errors import DecodeError
from stack.wire.cfdp.fields import (
    U32_MAX,
    ConditionCode,
    DirectiveCode,
    TlvType,
    file_size_octets,
    lv,
    read_lv,
    read_uint,
    require,
)
from stack.wire.cfdp.tlv import Tlv, decode_tlv, encode_tlv

_FINISHED_SUBTYPE = 1
"""Directive subtype code of the acknowledgement of a Finished PDU; 0 for others (§5.2.4)."""

TLVS_MAX = 256
"""TLVs of one PDU: a PDU has room for 32,000 empty ones, and each costs a reader as much as a long
one."""

_PAIR_32 = Struct(">II")
_PAIR_64 = Struct(">QQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Eof:
    """End of file (§5.2.2)."""

    condition: int = ConditionCode.NO_ERROR
    checksum: int
    file_bytes: int
    fault_location: Tlv | None = None
    """Entity that cancelled; only when `condition` is an error."""

    def __post_init__(self) -> None:
        _check_condition(self.condition, self.fault_location)
        require(0 <= self.checksum <= U32_MAX, "checksum is 32 bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The receiver is done (§5.2.3)."""

    condition: int = ConditionCode.NO_ERROR
    incomplete: bool = False
    """Delivery code: the file did not come whole."""

    file_status: int
    responses: tuple[Tlv, ...] = ()
    """Filestore responses, one for each request of the metadata."""

    fault_location: Tlv | None = None

    def __post_init__(self) -> None:
        _check_condition(self.condition, self.fault_location)
        require(0 <= self.file_status <= 3, "file status is 2 bits")
        require(
            all(tlv.type == TlvType.FILESTORE_RESPONSE for tlv in self.responses),
            "Finished carries filestore responses",
        )
        require(len(self.responses) < TLVS_MAX, "filestore responses are too many")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """Acknowledges an EOF or Finished PDU (§5.2.4)."""

    directive: int
    condition: int
    """That of the PDU acknowledged."""

    status: int

    def __post_init__(self) -> None:
        require(
            self.directive in (DirectiveCode.EOF, DirectiveCode.FINISHED),
            "only EOF and Finished are acknowledged",
        )
        require(0 <= self.condition <= 15, "condition code is 4 bits")
        require(0 <= self.status <= 3, "transaction status is 2 bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What is sent (§5.2.5).  Both names are empty when no file is."""

    closure_requested: bool = False
    checksum_type: int
    file_bytes: int
    """0 when the file has no bound."""

    source_name: bytes
    destination_name: bytes
    options: tuple[Tlv, ...] = ()

    def __post_init__(self) -> None:
        require(0 <= self.checksum_type <= 15, "checksum type is 4 bits")
        require(len(self.options) <= TLVS_MAX, "options are too many")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nak:
    """What is missing of the octets [start, end) of the file (§5.2.6)."""

    start: int
    end: int
    segments: tuple[tuple[int, int], ...] = ()
    """Half-open ranges of octets; (0, 0) asks for the metadata."""

    def __post_init__(self) -> None:
        ranges = ((self.start, self.end), *self.segments)
        require(all(start <= end for start, end in ranges), "a range ends before it begins")


@dataclass(frozen=True, slots=True)
class Prompt:
    """Asks for a NAK, or with `keep_alive` for a Keep Alive (§5.2.7)."""

    keep_alive: bool


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """How much of the file has come (§5.2.8)."""

    progress_bytes: int


Directive = Eof | Finished | Ack | Metadata | Nak | Prompt | KeepAlive


def _check_condition(condition: int, fault_location: Tlv | None) -> None:
    require(0 <= condition <= 15, "condition code is 4 bits")
    if fault_location is not None:
        require(condition != ConditionCode.NO_ERROR, "a fault location needs a fault")
        require(fault_location.type == TlvType.ENTITY_ID, "fault location is an entity id")


# ---------------------------------------------------------------------------------- encoding


def encode_directive(directive: Directive, large: bool) -> bytes:
    """Directive code and parameter field."""
    match directive:
        case Eof():
            return b"".join(
                (
                    bytes((DirectiveCode.EOF, directive.condition << 4)),
                    directive.checksum.to_bytes(4, "big"),
                    file_size_octets(directive.file_bytes, large),
                    _optional(directive.fault_location),
                )
            )
        case Finished():
            codes = directive.condition << 4 | directive.incomplete << 2 | directive.file_status
            return b"".join(
                (
                    bytes((DirectiveCode.FINISHED, codes)),
                    *map(encode_tlv, directive.responses),
                    _optional(directive.fault_location),
                )
            )
        case Ack():
            subtype = _FINISHED_SUBTYPE if directive.directive == DirectiveCode.FINISHED else 0
            return bytes(
                (
                    DirectiveCode.ACK,
                    directive.directive << 4 | subtype,
                    directive.condition << 4 | directive.status,
                )
            )
        case Metadata():
            options = directive.closure_requested << 6 | directive.checksum_type
            return b"".join(
                (
                    bytes((DirectiveCode.METADATA, options)),
                    file_size_octets(directive.file_bytes, large),
                    lv(directive.source_name),
                    lv(directive.destination_name),
                    *map(encode_tlv, directive.options),
                )
            )
        case Nak():
            edges = (
                directive.start,
                directive.end,
                *(n for pair in directive.segments for n in pair),
            )
            return bytes((DirectiveCode.NAK,)) + b"".join(
                file_size_octets(edge, large) for edge in edges
            )
        case Prompt():
            return bytes((DirectiveCode.PROMPT, directive.keep_alive << 7))
        case KeepAlive():
            progress = file_size_octets(directive.progress_bytes, large)
            return bytes((DirectiveCode.KEEP_ALIVE,)) + progress


def _optional(tlv: Tlv | None) -> bytes:
    return b"" if tlv is None else encode_tlv(tlv)


# ---------------------------------------------------------------------------------- decoding


def decode_directive(view: memoryview, at: int, large: bool) -> Directive:
    """Read the directive from `at` to the end of the view, which is the end of its field.  Raises
    `DecodeError`."""
    code, at = read_uint(view, at, 1, "CCSDS 727.0-B-5 §5.2")
    if code == DirectiveCode.EOF:
        return _eof(view, at, large)
    if code == DirectiveCode.FINISHED:
        return _finished(view, at)
    if code == DirectiveCode.ACK:
        return _ack(view, at)
    if code == DirectiveCode.METADATA:
        return _metadata(view, at, large)
    if code == DirectiveCode.NAK:
        return _nak(view, at, large)
    if code == DirectiveCode.PROMPT:
        section = "CCSDS 727.0-B-5 §5.2.7"
        octet, at = read_uint(view, at, 1, section)
        _finish(view, at, section)
        return Prompt(bool(octet & 0x80))
    if code == DirectiveCode.KEEP_ALIVE:
        section = "CCSDS 727.0-B-5 §5.2.8"
        progress, at = read_uint(view, at, 8 if large else 4, section)
        _finish(view, at, section)
        return KeepAlive(progress)
    raise DecodeError(f"file directive {code}", "CCSDS 727.0-B-5 §5.2", at - 1)


def _finish(view: memoryview, at: int, section: str) -> None:
    if at != len(view):
        raise DecodeError("octets after the directive", section, at)


def _eof(view: memoryview, at: int, large: bool) -> Eof:
    section = "CCSDS 727.0-B-5 §5.2.2"
    octet, at = read_uint(view, at, 1, section)
    checksum, at = read_uint(view, at, 4, section)
    file_bytes, at = read_uint(view, at, 8 if large else 4, section)
    tlvs = _read_tlvs(view, at)
    condition = octet >> 4
    # An error without its location says enough to end a transaction, so it is read.
    location = tlvs[0] if tlvs else None
    _check_location(condition, location, len(tlvs) > 1, at, section)
    return Eof(
        condition=condition, checksum=checksum, file_bytes=file_bytes, fault_location=location
    )


def _finished(view: memoryview, at: int) -> Finished:
    section = "CCSDS 727.0-B-5 §5.2.3"
    octet, at = read_uint(view, at, 1, section)
    tlvs = _read_tlvs(view, at)
    condition = octet >> 4
    responses = [tlv for tlv in tlvs if tlv.type == TlvType.FILESTORE_RESPONSE]
    rest = tlvs[len(responses) :]
    if tlvs[: len(responses)] != responses:
        raise DecodeError("filestore responses come first", section, at)
    location = rest[0] if rest else None
    _check_location(condition, location, len(rest) > 1, at, section)
    return Finished(
        condition=condition,
        incomplete=bool(octet & 4),
        file_status=octet & 3,
        responses=tuple(responses),
        fault_location=location,
    )


def _check_location(
    condition: int, location: Tlv | None, more: bool, at: int, section: str
) -> None:
    if location is None:
        return
    if more or location.type != TlvType.ENTITY_ID or condition == ConditionCode.NO_ERROR:
        raise DecodeError("TLV where there may be none", section, at)


def _ack(view: memoryview, at: int) -> Ack:
    section = "CCSDS 727.0-B-5 §5.2.4"
    directive, at = read_uint(view, at, 1, section)
    codes, at = read_uint(view, at, 1, section)
    _finish(view, at, section)
    if directive >> 4 not in (DirectiveCode.EOF, DirectiveCode.FINISHED):
        raise DecodeError(f"acknowledgement of directive {directive >> 4}", section, at - 2)
    expected = _FINISHED_SUBTYPE if directive >> 4 == DirectiveCode.FINISHED else 0
    if directive & 15 != expected:
        raise DecodeError(f"directive subtype {directive & 15}", section, at - 2)
    return Ack(directive=directive >> 4, condition=codes >> 4, status=codes & 3)


def _metadata(view: memoryview, at: int, large: bool) -> Metadata:
    section = "CCSDS 727.0-B-5 §5.2.5"
    octet, at = read_uint(view, at, 1, section)
    file_bytes, at = read_uint(view, at, 8 if large else 4, section)
    source_name, at = read_lv(view, at, section)
    destination_name, at = read_lv(view, at, section)
    return Metadata(
        closure_requested=bool(octet & 0x40),
        checksum_type=octet & 15,
        file_bytes=file_bytes,
        source_name=source_name,
        destination_name=destination_name,
        options=tuple(_read_tlvs(view, at)),
    )


def _nak(view: memoryview, at: int, large: bool) -> Nak:
    section = "CCSDS 727.0-B-5 §5.2.6"
    width = 8 if large else 4
    count, left = divmod(len(view) - at, 2 * width)
    if left or not count:
        raise DecodeError("scope and requests of a NAK are pairs of numbers", section, at)
    scope, *segments = (_PAIR_64 if large else _PAIR_32).iter_unpack(view[at:])
    if any(start > end for start, end in (scope, *segments)):
        raise DecodeError("a range that ends before it begins", section, at)
    return Nak(start=scope[0], end=scope[1], segments=tuple(segments))


def _read_tlvs(view: memoryview, at: int) -> list[Tlv]:
    """The TLVs from `at` to the end."""
    tlvs: list[Tlv] = []
    while at < len(view):
        if len(tlvs) == TLVS_MAX:
            raise DecodeError(f"more than {TLVS_MAX} TLVs", "CCSDS 727.0-B-5 §5.1", at)
        tlv, at = decode_tlv(view, at)
        tlvs.append(tlv)
    return tlvs
