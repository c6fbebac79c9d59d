"""CFDP PDUs (CCSDS 727.0-B-5): headers, directives, file data and TLVs.

pdus()              any PDU; `headers`, `directives`, `file_data`, `tlvs` of its parts
encoded_pdus()      the octets of one
nearly_pdus()       octets that break one rule of `PDU_RULES`, lengths and CRC right unless the
                    rule is about them
mutated_pdus()      octets damaged at random, then given the right length and CRC (`repaired`)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.mutation import mutated
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation
from stack.wire.cfdp import (
    Ack,
    Directive,
    DirectiveCode,
    Eof,
    FaultHandlerOverride,
    FileData,
    FilestoreRequest,
    FilestoreResponse,
    Finished,
    Header,
    KeepAlive,
    Metadata,
    Nak,
    Pdu,
    Prompt,
    SegmentMetadata,
    Tlv,
    encode_pdu,
    encode_tlv,
    entity_id,
    fault_handler_override,
    filestore_request,
    filestore_response,
)
from stack.wire.crc import crc16_ccitt

T = TypeVar("T")


@strategy
def headers(choose: Choices) -> Header:
    """Any header (§5.1) that fits its fields."""
    entity_bytes, sequence_bytes = choose.integer(1, 8), choose.integer(1, 8)
    top = (1 << 8 * entity_bytes) - 1
    return Header(
        source=choose.integer(0, top),
        sequence=choose.integer(0, (1 << 8 * sequence_bytes) - 1),
        destination=choose.integer(0, top),
        entity_bytes=entity_bytes,
        sequence_bytes=sequence_bytes,
        toward_sender=choose.flip(),
        unacknowledged=choose.flip(),
        crc=choose.flip(),
        large=choose.flip(),
    )


@strategy
def filestore_requests(choose: Choices) -> FilestoreRequest:
    """Requests (§5.4.1) of every action, a second name where there is one."""
    action = choose.integer(0, 15)
    return FilestoreRequest(action, _name(choose), _name(choose) if action in (2, 3, 4) else b"")


@strategy
def filestore_responses(choose: Choices) -> FilestoreResponse:
    """Responses (§5.4.2) of every action and status."""
    request = filestore_requests.make(choose)
    return FilestoreResponse(
        request.action,
        choose.integer(0, 15),
        request.first_name,
        request.second_name,
        _name(choose),
    )


@strategy
def overrides(choose: Choices) -> FaultHandlerOverride:
    """Fault handler overrides (§5.4.4)."""
    return FaultHandlerOverride(choose.integer(0, 15), choose.integer(0, 15))


@strategy
def entity_ids(choose: Choices) -> Tlv:
    """Entity ids as TLVs (§5.4.6)."""
    size = choose.integer(1, 8)
    return entity_id(choose.integer(0, (1 << 8 * size) - 1), size)


@strategy
def tlvs(choose: Choices) -> Tlv:
    """TLVs (§5.4): those with a form of their own, and any other."""
    match choose.integer(0, 4):
        case 0:
            return Tlv(choose.integer(0, 255), choose.octets(0, 255))
        case 1:
            return filestore_request(filestore_requests.make(choose))
        case 2:
            return filestore_response(filestore_responses.make(choose))
        case 3:
            return fault_handler_override(overrides.make(choose))
        case _:
            return entity_ids.make(choose)


def _name(choose: Choices) -> bytes:
    return choose.octets(0, 30)


def _size(choose: Choices, large: bool) -> int:
    return choose.uint(64 if large else 32)


def _range(choose: Choices, large: bool) -> tuple[int, int]:
    first, second = _size(choose, large), _size(choose, large)
    return min(first, second), max(first, second)


def _end(choose: Choices) -> tuple[int, Tlv | None]:
    """A condition code, and where the fault was if it is one."""
    condition = choose.integer(0, 15)
    return condition, entity_ids.make(choose) if condition and choose.flip() else None


def eof(choose: Choices, large: bool) -> Eof:
    """An EOF directive (§5.2.2)."""
    condition, location = _end(choose)
    return Eof(
        condition=condition,
        checksum=choose.uint(32),
        file_bytes=_size(choose, large),
        fault_location=location,
    )


def finished(choose: Choices, large: bool) -> Finished:
    """A Finished directive (§5.2.3)."""
    condition, location = _end(choose)
    made = filestore_responses.maker()
    return Finished(
        condition=condition,
        incomplete=choose.flip(),
        file_status=choose.integer(0, 3),
        responses=tuple(filestore_response(made(choose)) for _ in choose.many(0, 3)),
        fault_location=location,
    )


def ack(choose: Choices, large: bool) -> Ack:
    """An ACK directive (§5.2.4)."""
    return Ack(
        directive=choose.integer(4, 5),
        condition=choose.integer(0, 15),
        status=choose.integer(0, 3),
    )


def metadata(choose: Choices, large: bool) -> Metadata:
    """A Metadata directive (§5.2.5)."""
    return Metadata(
        closure_requested=choose.flip(),
        checksum_type=choose.integer(0, 15),
        file_bytes=_size(choose, large),
        source_name=_name(choose),
        destination_name=_name(choose),
        options=tuple(tlvs.make(choose) for _ in choose.many(0, 3)),
    )


def nak(choose: Choices, large: bool) -> Nak:
    """A NAK directive (§5.2.6)."""
    start, end = _range(choose, large)
    segments = tuple(_range(choose, large) for _ in choose.many(0, 8))
    return Nak(start=start, end=end, segments=segments)


def prompt(choose: Choices, large: bool) -> Prompt:
    """A Prompt directive (§5.2.7)."""
    return Prompt(choose.flip())


def keep_alive(choose: Choices, large: bool) -> KeepAlive:
    """A Keep Alive directive (§5.2.8)."""
    return KeepAlive(_size(choose, large))


_DIRECTIVES: tuple[Callable[[Choices, bool], Directive], ...] = (
    prompt,
    keep_alive,
    ack,
    eof,
    finished,
    metadata,
    nak,
)


@strategy
def directives(choose: Choices, *, large: bool = False) -> Directive:
    """Every directive (§5.2), its file sizes as wide as the large file flag has it."""
    return choose.pick(_DIRECTIVES)(choose, large)


@strategy
def file_data(choose: Choices, *, large: bool = False) -> FileData:
    """File data (§5.3), with segment metadata or without."""
    described = SegmentMetadata(choose.integer(0, 3), choose.octets(0, 63))
    return FileData(
        _size(choose, large), choose.octets(0, 200), described if choose.flip() else None
    )


@strategy
def pdus(choose: Choices) -> Pdu:
    """Any PDU: a directive or file data."""
    header = headers.make(choose)
    if choose.flip(3):
        return Pdu(header, file_data.make(choose, large=header.large))
    return Pdu(header, directives.make(choose, large=header.large))


@strategy
def encoded_pdus(choose: Choices) -> bytes:
    """The octets of any PDU."""
    return encode_pdu(pdus.make(choose))


# --------------------------------------------------------------------------- mutated octets


def repaired(octets: bytes) -> bytes:
    """A PDU whose data field length and CRC, if its header says that there is one, are right
    again; octets too short for a header stay as they are."""
    if len(octets) < 4:
        return octets
    begin = 4 + 2 * ((octets[3] >> 4 & 7) + 1) + (octets[3] & 7) + 1
    crc = bool(octets[0] & 2) and len(octets) >= begin + 2
    length = max(0, len(octets) - begin)
    sound = octets[:1] + min(length, 0xFFFF).to_bytes(2, "big") + octets[3:]
    return sound[:-2] + crc16_ccitt(sound[:-2]).to_bytes(2, "big") if crc else sound


@strategy
def mutated_pdus(choose: Choices) -> bytes:
    """Octets of PDUs damaged at random, with the right length and CRC."""
    return mutated.make(choose, encoded_pdus.make, repaired)


# ------------------------------------------------------------------------------ nearly valid


def _of(
    make: Callable[[Choices, bool], Directive], large: bool | None = None
) -> Callable[[Choices], Pdu]:
    """PDUs of one directive."""

    def made(choose: Choices) -> Pdu:
        header = headers.make(choose)
        if large is not None:
            header = replace(header, large=large)
        return Pdu(header, make(choose, header.large))

    return made


def _field(
    change: Callable[[Choices, Pdu, bytes], bytes],
) -> Callable[[Choices, Pdu], bytes]:
    """Breaks a rule of the data field, of which `change` makes another; the rest is right."""

    def spoil(choose: Choices, pdu: Pdu) -> bytes:
        plain = replace(pdu.header, crc=False)
        begin = 4 + 2 * plain.entity_bytes + plain.sequence_bytes
        octets = encode_pdu(Pdu(plain, pdu.body))
        octets = octets[:begin] + change(choose, pdu, octets[begin:])
        if pdu.header.crc:
            octets = bytes((octets[0] | 2,)) + octets[1:] + b"\0\0"
        return repaired(octets)

    return spoil


def _version(choose: Choices, pdu: Pdu) -> bytes:
    octets = encode_pdu(pdu)
    version = choose.pick([version for version in range(8) if version != 1])
    return repaired(bytes((version << 5 | octets[0] & 31,)) + octets[1:])


def _cut(choose: Choices, pdu: Pdu) -> bytes:
    octets = encode_pdu(pdu)
    return octets[: choose.integer(0, len(octets) - 1)]


def _crc(choose: Choices, pdu: Pdu) -> bytes:
    octets = bytearray(encode_pdu(replace(pdu, header=replace(pdu.header, crc=True))))
    octets[choose.integer(4, len(octets) - 1)] ^= 1 << choose.integer(0, 7)
    return bytes(octets)


def _no_room(choose: Choices, pdu: Pdu) -> bytes:
    octets = encode_pdu(replace(pdu, header=replace(pdu.header, crc=True)))
    begin = 4 + 2 * pdu.header.entity_bytes + pdu.header.sequence_bytes
    size = choose.integer(0, 1)
    return octets[:1] + size.to_bytes(2, "big") + octets[3 : begin + size]


def _no_directive(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    code = choose.pick([code for code in range(256) if code not in list(DirectiveCode)])
    return bytes((code,)) + field[1:]


def _more(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    return field + choose.octets(1, 9)


def _less(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    return field[: choose.integer(1, len(field) - 1)]


def _ack_of_other(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    other = choose.pick([code for code in range(16) if code not in (4, 5)])
    return field[:1] + bytes((other << 4 | field[1] & 15,)) + field[2:]


def _ack_subtype(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    right = field[1] & 15
    wrong = choose.pick([subtype for subtype in range(16) if subtype != right])
    return field[:1] + bytes((field[1] & 0xF0 | wrong,)) + field[2:]


def _location(choose: Choices) -> bytes:
    return encode_tlv(entity_ids.make(choose))


def _faultless(make: Callable[[Choices, bool], T]) -> Callable[[Choices, bool], T]:
    """Directives of condition "no error"."""

    def made(choose: Choices, large: bool) -> T:
        return replace(make(choose, large), condition=0, fault_location=None)  # type: ignore[type-var]

    return made


def _faulty(choose: Choices, large: bool) -> Finished:
    return replace(finished(choose, large), condition=choose.integer(1, 15), fault_location=None)


def _located(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    return field + _location(choose)


def _responses_last(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    response = filestore_response(filestore_responses.make(choose))
    return field + _location(choose) + encode_tlv(response)


def _two_locations(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    return field + _location(choose) + _location(choose)


def _odd_nak(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    width = 8 if pdu.header.large else 4
    return field + bytes(choose.pick([n for n in range(1, 2 * width)]))


def _no_scope(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    return field[:1]


def _backwards(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    width = 8 if pdu.header.large else 4
    end = choose.integer(0, (1 << 8 * width) - 2)
    pair = choose.integer(end + 1, (1 << 8 * width) - 1), end
    octets = b"".join(number.to_bytes(width, "big") for number in pair)
    if choose.flip():
        return field + octets
    return field[:1] + octets + field[1 + 2 * width :]


def _long_name(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    at = 2 + (8 if pdu.header.large else 4)
    return field[:at] + bytes((choose.integer(len(field) - at, 255),)) + field[at + 1 :]


def _long_option(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    value = choose.octets(0, 20)
    kind, length = choose.integer(0, 255), choose.integer(len(value) + 1, 255)
    return field + bytes((kind, length)) + value


def _long_metadata(choose: Choices, pdu: Pdu, field: bytes) -> bytes:
    value = choose.octets(0, 40)
    return bytes((choose.integer(len(value) + 1, 63),)) + value


def _with_metadata(choose: Choices) -> Pdu:
    body = replace(file_data.make(choose), metadata=SegmentMetadata(0, b""))
    return Pdu(replace(headers.make(choose), large=False), body)


def _short_metadata(choose: Choices, large: bool) -> Metadata:
    return replace(metadata(choose, large), source_name=b"", destination_name=b"", options=())


def _rule(
    clause: str,
    words: str,
    made: Callable[[Choices], Pdu],
    spoil: Callable[[Choices, Pdu], bytes],
) -> WireRule[Pdu]:
    return WireRule(Violation(f"CCSDS 727.0-B-5 {clause}", words), made, spoil)


_ANY = pdus.maker()


def _any_directive(choose: Choices, large: bool) -> Directive:
    return directives.make(choose, large=large)


PDU_RULES = (
    _rule("§5.1", "another version", _ANY, _version),
    _rule("§5.1", "the octets end before the PDU does", _ANY, _cut),
    _rule("§4.1", "a CRC that does not match", _ANY, _crc),
    _rule("§4.1", "a data field too short for its CRC", _ANY, _no_room),
    _rule("§5.2", "an unknown directive", _of(_any_directive), _field(_no_directive)),
    _rule("§5.2.4", "octets after an ACK", _of(ack), _field(_more)),
    _rule("§5.2.7", "octets after a Prompt", _of(prompt), _field(_more)),
    _rule("§5.2.8", "octets after a Keep Alive", _of(keep_alive), _field(_more)),
    _rule("§5.2.4", "an ACK cut short by its length", _of(ack), _field(_less)),
    _rule("§5.2.7", "a Prompt cut short by its length", _of(prompt), _field(_less)),
    _rule("§5.2.8", "a Keep Alive cut short by its length", _of(keep_alive), _field(_less)),
    _rule("§5.2.4", "an ACK of what is not acknowledged", _of(ack), _field(_ack_of_other)),
    _rule("§5.2.4", "an ACK of the wrong subtype", _of(ack), _field(_ack_subtype)),
    _rule("§5.2.2", "an EOF without error that locates a fault", _of(_faultless(eof)),
          _field(_located)),
    _rule("§5.2.3", "a Finished without error that locates a fault", _of(_faultless(finished)),
          _field(_located)),
    _rule("§5.2.3", "a Finished with responses behind the fault location", _of(_faulty),
          _field(_responses_last)),
    _rule("§5.2.3", "a Finished with two fault locations", _of(_faulty), _field(_two_locations)),
    _rule("§5.2.5", "a file name longer than its PDU", _of(_short_metadata), _field(_long_name)),
    _rule("§5.1", "a TLV longer than its PDU", _of(metadata), _field(_long_option)),
    _rule("§5.2.6", "a NAK with half a request", _of(nak), _field(_odd_nak)),
    _rule("§5.2.6", "a NAK without a scope", _of(nak), _field(_no_scope)),
    _rule("§5.2.6", "a NAK of a range that ends before it begins", _of(nak), _field(_backwards)),
    _rule("§5.3", "segment metadata longer than their PDU", _with_metadata,
          _field(_long_metadata)),
)  # fmt: skip
"""What `nearly_pdus` breaks."""


@strategy
def nearly_pdus(choose: Choices, *, rules: Sequence[WireRule[Pdu]] = PDU_RULES) -> Nearly:
    """A PDU that breaks one rule, of `rules`, and no other."""
    return nearly(choose, rules, encode_pdu)
