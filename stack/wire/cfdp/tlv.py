"""Type, length and value fields of CFDP (CCSDS 727.0-B-5 §5.1, §5.4).

A PDU carries `Tlv` objects as they came; `parse_*` reads the value of one type, and the
constructor functions make one.
"""

from __future__ import annotations

from dataclasses import dataclass

from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.wire.cfdp.fields import TWO_NAMES, VALUE_BYTES_MAX, TlvType, lv, read_lv, require, take

_SECTION = "CCSDS 727.0-B-5 §5.1"


@dataclass(frozen=True, slots=True)
class Tlv:
    """One field; `type` is a `TlvType` or a number that the standard does not assign."""

    type: int
    value: bytes

    def __post_init__(self) -> None:
        require(0 <= self.type <= 255, "TLV type is one octet")
        require(len(self.value) <= VALUE_BYTES_MAX, "TLV of more than 255 octets")


@dataclass(frozen=True, slots=True)
class FilestoreRequest:
    """What to do in the receiver's filestore (§5.4.1).  Names as octets, as on the wire."""

    action: int
    first_name: bytes
    second_name: bytes = b""
    """Only with the actions of `TWO_NAMES`."""


@dataclass(frozen=True, slots=True)
class FilestoreResponse:
    """What came of a filestore request (§5.4.2)."""

    action: int
    status: int
    """0: done; 15: not performed; the rest by action."""

    first_name: bytes
    second_name: bytes = b""
    message: bytes = b""


@dataclass(frozen=True, slots=True)
class FaultHandlerOverride:
    """Which handler serves a condition in this transaction (§5.4.4): 1 cancel, 2 suspend,
    3 ignore, 4 abandon."""

    condition: int
    handler: int


def encode_tlv(tlv: Tlv) -> bytes:
    """The octets of one field."""
    return bytes((tlv.type, len(tlv.value))) + tlv.value


def decode_tlv(data: Buffer, offset: int = 0) -> tuple[Tlv, int]:
    """Read the field at `offset`: (field, offset of the octet after it).  `DecodeError`."""
    view = memoryview(data)
    at = take(view, offset, 2, _SECTION)
    end = take(view, at, view[offset + 1], _SECTION)
    return Tlv(view[offset], bytes(view[at:end])), end


def entity_id(number: int, size: int) -> Tlv:
    """An entity id field of `size` octets (§5.4.6)."""
    require(1 <= size <= 8 and 0 <= number < 1 << 8 * size, "entity id does not fit")
    return Tlv(TlvType.ENTITY_ID, number.to_bytes(size, "big"))


def parse_entity_id(tlv: Tlv) -> int:
    """The number of an entity id field.  Raises `DecodeError`."""
    _expect(tlv, TlvType.ENTITY_ID, 1 <= len(tlv.value) <= 8)
    return int.from_bytes(tlv.value, "big")


def fault_handler_override(override: FaultHandlerOverride) -> Tlv:
    """The field of an override (§5.4.4)."""
    require(0 <= override.condition <= 15 and 0 <= override.handler <= 15, "4-bit codes")
    return Tlv(TlvType.FAULT_HANDLER_OVERRIDE, bytes((override.condition << 4 | override.handler,)))


def parse_fault_handler_override(tlv: Tlv) -> FaultHandlerOverride:
    """The codes of an override.  Raises `DecodeError`."""
    _expect(tlv, TlvType.FAULT_HANDLER_OVERRIDE, len(tlv.value) == 1)
    return FaultHandlerOverride(tlv.value[0] >> 4, tlv.value[0] & 15)


def filestore_request(request: FilestoreRequest) -> Tlv:
    """The field of a request (§5.4.1)."""
    value = bytes((_action(request.action) << 4,))
    return Tlv(
        TlvType.FILESTORE_REQUEST,
        value + _names(request.action, request.first_name, request.second_name),
    )


def parse_filestore_request(tlv: Tlv) -> FilestoreRequest:
    """The content of a request.  Raises `DecodeError`."""
    section = "CCSDS 727.0-B-5 §5.4.1"
    _expect(tlv, TlvType.FILESTORE_REQUEST, bool(tlv.value))
    view = memoryview(tlv.value)
    action = view[0] >> 4
    first, second, at = _read_names(view, action, section)
    if at != len(view):
        raise DecodeError("octets after the filestore request", section, at)
    return FilestoreRequest(action, first, second)


def filestore_response(response: FilestoreResponse) -> Tlv:
    """The field of a response (§5.4.2)."""
    require(0 <= response.status <= 15, "status is 4 bits")
    value = bytes((_action(response.action) << 4 | response.status,))
    names = _names(response.action, response.first_name, response.second_name)
    return Tlv(TlvType.FILESTORE_RESPONSE, value + names + lv(response.message))


def parse_filestore_response(tlv: Tlv) -> FilestoreResponse:
    """The content of a response.  Raises `DecodeError`."""
    section = "CCSDS 727.0-B-5 §5.4.2"
    _expect(tlv, TlvType.FILESTORE_RESPONSE, bool(tlv.value))
    view = memoryview(tlv.value)
    action, status = divmod(view[0], 16)
    first, second, at = _read_names(view, action, section)
    message, at = read_lv(view, at, section)
    if at != len(view):
        raise DecodeError("octets after the filestore response", section, at)
    return FilestoreResponse(action, status, first, second, message)


def _action(action: int) -> int:
    require(0 <= action <= 15, "filestore action is 4 bits")
    return action


def _names(action: int, first: bytes, second: bytes) -> bytes:
    if action in TWO_NAMES:
        return lv(first) + lv(second)
    require(not second, "this filestore action has one file name")
    return lv(first)


def _read_names(view: memoryview, action: int, section: str) -> tuple[bytes, bytes, int]:
    first, at = read_lv(view, 1, section)
    second = b""
    if action in TWO_NAMES:
        second, at = read_lv(view, at, section)
    return first, second, at


def _expect(tlv: Tlv, kind: TlvType, sized: bool) -> None:
    if tlv.type != kind or not sized:
        raise DecodeError(f"not a TLV of type {kind.name}", "CCSDS 727.0-B-5 §5.4", 0)
