"""CFDP PDUs: vectors of another implementation, every field and TLV, any octets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.strategies.cfdp import (
    filestore_requests,
    filestore_responses,
    mutated_pdus,
    overrides,
    pdus,
    tlvs,
)
from interop.vectors import Vector, load
from stack.core.errors import DecodeError, LocalError
from stack.wire.cfdp import (
    Ack,
    ChecksumType,
    ConditionCode,
    DirectiveCode,
    Eof,
    FaultHandlerOverride,
    FileData,
    FileStatus,
    FilestoreAction,
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
    TlvType,
    TransactionStatus,
    decode_pdu,
    decode_tlv,
    encode_pdu,
    encode_tlv,
    entity_id,
    fault_handler_override,
    filestore_request,
    filestore_response,
    parse_entity_id,
    parse_fault_handler_override,
    parse_filestore_request,
    parse_filestore_response,
)

VECTORS = load("cfdp")

# What the names of the generated vectors say of their content; `spacepackets` chose the values.
BODIES: dict[str, Any] = {
    "metadata": Metadata(
        closure_requested=True,
        checksum_type=ChecksumType.MODULAR,
        file_bytes=11,
        source_name=b"a.txt",
        destination_name=b"b.txt",
    ),
    "eof": Eof(checksum=0x01020304, file_bytes=11),
    "ack_eof": Ack(directive=DirectiveCode.EOF, condition=0, status=TransactionStatus.ACTIVE),
    "ack_fin": Ack(
        directive=DirectiveCode.FINISHED, condition=0, status=TransactionStatus.TERMINATED
    ),
    "nak": Nak(start=0, end=11, segments=((0, 5), (6, 8))),
    "nak_metadata": Nak(start=0, end=0, segments=((0, 0),)),
    "finished": Finished(file_status=FileStatus.RETAINED),
    "prompt_nak": Prompt(keep_alive=False),
    "keepalive": KeepAlive(5),
    "filedata": FileData(0, b"hello world"),
}
TOWARD_SENDER = {"ack_eof", "nak", "finished", "nak_metadata", "keepalive"}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_outside_vectors(vector: Vector) -> None:
    if vector.expect.startswith("invalid"):
        for decode in (decode_pdu, decode_tlv):
            with pytest.raises(DecodeError):
                decode(vector.data)
        return
    pdu, end = decode_pdu(vector.data)
    assert end == len(vector.data)
    assert encode_pdu(pdu) == vector.data
    kind, _, rest = vector.name.partition(" w")
    if not rest[:1].isdigit():
        return
    width = int(rest[0])
    large = rest.endswith("LARGE")
    expected = Header(
        source=1,
        sequence=3,
        destination=2,
        entity_bytes=width,
        sequence_bytes=width,
        toward_sender=kind in TOWARD_SENDER,
        crc="WITH_CRC" in rest,
        large=large,
    )
    assert pdu.header == expected
    body = BODIES.get(kind) or Eof(
        condition=ConditionCode.CANCEL_REQUEST,
        checksum=0x01020304,
        file_bytes=5,
        fault_location=entity_id(1, width),
    )
    assert pdu.body == body
    assert encode_pdu(Pdu(expected, body)) == vector.data


def test_vectors_of_the_tests_of_spacepackets() -> None:
    by_name = {vector.name: decode_pdu(vector.data)[0] for vector in VECTORS[:3]}
    header = Header(source=0, sequence=0, destination=0)
    assert by_name == {
        "EOF no error, size 0": Pdu(header, Eof(checksum=0, file_bytes=0)),
        "Finished success": Pdu(
            Header(source=0, sequence=0, destination=0, toward_sender=True),
            Finished(file_status=FileStatus.UNREPORTED),
        ),
        'FileData "hello world" CRC': Pdu(
            Header(source=0, sequence=0, destination=0, crc=True), FileData(0, b"hello world")
        ),
    }


# Written down from §5.1, §5.3 and §5.4 of the standard, for what the vectors leave out.
LAYOUTS: list[tuple[str, Pdu]] = [
    (
        "35 000e 8a 01 000005 02 c2aabb 0000000000000007 78797a",
        Pdu(
            Header(
                source=1,
                sequence=5,
                destination=2,
                sequence_bytes=3,
                unacknowledged=True,
                large=True,
                preserve_boundaries=True,
            ),
            FileData(7, b"xyz", SegmentMetadata(3, b"\xaa\xbb")),
        ),
    ),
    (
        "28 0015 00 01 05 02 05 46 01 08 32 02 6161 02 6262 00 01 04 1f 01 63 00 06 01 02",
        Pdu(
            Header(source=1, sequence=5, destination=2, toward_sender=True),
            Finished(
                condition=ConditionCode.FILESTORE_REJECTION,
                incomplete=True,
                file_status=FileStatus.RETAINED,
                responses=(
                    filestore_response(FilestoreResponse(3, 2, b"aa", b"bb")),
                    filestore_response(FilestoreResponse(1, 15, b"c")),
                ),
                fault_location=entity_id(2, 1),
            ),
        ),
    ),
    (
        "20 001a 00 01 05 02 07 0f 00000000 00 00 00 05 20 01 61 01 62 04 01 72 05 00"
        " 02 04 63666470",
        Pdu(
            Header(source=1, sequence=5, destination=2),
            Metadata(
                checksum_type=ChecksumType.NULL,
                file_bytes=0,
                source_name=b"",
                destination_name=b"",
                options=(
                    filestore_request(FilestoreRequest(FilestoreAction.RENAME_FILE, b"a", b"b")),
                    fault_handler_override(FaultHandlerOverride(7, 2)),
                    Tlv(TlvType.FLOW_LABEL, b""),
                    Tlv(TlvType.MESSAGE_TO_USER, b"cfdp"),
                ),
            ),
        ),
    ),
    (
        "20 0002 00 01 05 02 09 80",
        Pdu(Header(source=1, sequence=5, destination=2), Prompt(keep_alive=True)),
    ),
]


@pytest.mark.parametrize(("octets", "pdu"), LAYOUTS)
def test_layouts(octets: str, pdu: Pdu) -> None:
    encoded = bytes.fromhex(octets)
    assert encode_pdu(pdu) == encoded
    assert decode_pdu(b"." + encoded + b"..", 1) == (pdu, 1 + len(encoded))


@given(pdus(), st.binary(max_size=3), st.binary(max_size=3))
def test_round_trip(pdu: Pdu, before: bytes, after: bytes) -> None:
    encoded = encode_pdu(pdu)
    assert decode_pdu(before + encoded + after, len(before)) == (pdu, len(before) + len(encoded))


@given(pdus())
def test_every_cut_is_noticed(pdu: Pdu) -> None:
    encoded = encode_pdu(pdu)
    for size in range(len(encoded)):
        with pytest.raises(DecodeError):
            decode_pdu(encoded[:size])


@given(pdus(), st.data())
def test_a_crc_notices_any_altered_octet(pdu: Pdu, data: st.DataObject) -> None:
    header = Header(
        **{name: getattr(pdu.header, name) for name in Header.__slots__ if name != "crc"}, crc=True
    )
    encoded = bytearray(encode_pdu(Pdu(header, pdu.body)))
    at = data.draw(st.integers(1, len(encoded) - 1))  # octet 0 says whether there is a CRC at all
    encoded[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DecodeError):
        decode_pdu(encoded)


@given(filestore_requests())
def test_filestore_requests(request: FilestoreRequest) -> None:
    assert parse_filestore_request(filestore_request(request)) == request


@given(filestore_responses())
def test_filestore_responses(response: FilestoreResponse) -> None:
    assert parse_filestore_response(filestore_response(response)) == response


@given(overrides())
def test_fault_handler_overrides(override: FaultHandlerOverride) -> None:
    assert parse_fault_handler_override(fault_handler_override(override)) == override


@given(st.integers(0, (1 << 64) - 1))
def test_entity_ids(number: int) -> None:
    assert parse_entity_id(entity_id(number, 8)) == number


@given(tlvs(), st.binary(max_size=3))
def test_tlvs(tlv: Tlv, after: bytes) -> None:
    encoded = encode_tlv(tlv)
    assert decode_tlv(encoded + after) == (tlv, len(encoded))


@given(st.one_of(st.binary(max_size=60), mutated_pdus()))
def test_any_octets_decode_or_raise_the_one_error(octets: bytes) -> None:
    try:
        pdu, end = decode_pdu(octets)
    except DecodeError:
        return
    assert 0 < end <= len(octets)
    again = encode_pdu(pdu)  # spare bits are zero now, and the rest is as it was
    assert len(again) == end
    assert decode_pdu(again) == (pdu, end)


@given(st.builds(Tlv, st.sampled_from(list(TlvType)), st.binary(max_size=20)))
def test_any_tlv_parses_or_raises_the_one_error(tlv: Tlv) -> None:
    pairs: list[tuple[Callable[[Tlv], Any], Callable[[Any], Tlv]]] = [
        (parse_entity_id, lambda number: entity_id(number, len(tlv.value))),
        (parse_fault_handler_override, fault_handler_override),
        (parse_filestore_request, filestore_request),
        (parse_filestore_response, filestore_response),
    ]
    for parse, make in pairs:
        try:
            found = parse(tlv)
        except DecodeError:
            continue
        again = make(found)  # spare bits are zero now, and the rest is as it was
        assert (again.type, len(again.value)) == (tlv.type, len(tlv.value))
        assert parse(again) == found


@pytest.mark.parametrize(
    "octets",
    [
        "40 0002 00 01 05 02 09 80",  # another version
        "20 0000 00 01 05 02",  # no directive code
        "20 0001 00 01 05 02 0a",  # no such directive
        "20 0003 00 01 05 02 09 80 00",  # octets after a prompt
        "22 0001 00 01 05 02 09",  # no room for a CRC
        "20 0003 00 01 05 02 06 70 00",  # acknowledges metadata
        "20 0003 00 01 05 02 06 41 00",  # subtype of another directive
        "20 000d 00 01 05 02 04 00 00000000 00000000 06 01 02",  # a location without a fault
        "20 000d 00 01 05 02 04 f0 00000000 00000000 05 01 02",  # TLV of another type
        "20 0010 00 01 05 02 04 f0 00000000 00000000 06 01 02 06 01 02",  # two locations
        "20 000a 00 01 05 02 05 40 06 01 02 01 03 00 00 00",  # responses after the location
        "20 0005 00 01 05 02 08 00000000",  # half a scope
        "20 0001 00 01 05 02 08",  # no scope
        "20 0008 00 01 05 02 07 00 00000000 05 61",  # file name cut short
    ],
)
def test_broken_pdus(octets: str) -> None:
    with pytest.raises(DecodeError):
        decode_pdu(bytes.fromhex(octets))


HEADER = Header(source=1, sequence=5, destination=2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Header(source=256, sequence=0, destination=0),
        lambda: Header(source=0, sequence=256, destination=0),
        lambda: Header(source=0, sequence=0, destination=0, entity_bytes=9),
        lambda: Tlv(0, bytes(256)),
        lambda: Tlv(256, b""),
        lambda: entity_id(256, 1),
        lambda: Eof(checksum=1 << 32, file_bytes=0),
        lambda: Eof(checksum=0, file_bytes=0, fault_location=entity_id(1, 1)),
        lambda: Eof(condition=1, checksum=0, file_bytes=0, fault_location=Tlv(5, b"")),
        lambda: Finished(file_status=4),
        lambda: Finished(file_status=0, responses=(Tlv(0, b""),)),
        lambda: Ack(directive=7, condition=0, status=0),
        lambda: SegmentMetadata(4, b""),
        lambda: SegmentMetadata(0, bytes(64)),
        lambda: filestore_request(FilestoreRequest(0, b"a", b"b")),
        lambda: encode_pdu(Pdu(HEADER, KeepAlive(1 << 32))),
        lambda: encode_pdu(Pdu(HEADER, FileData(0, bytes(65532)))),
    ],
)
def test_what_has_no_encoding_is_refused(make: Any) -> None:
    with pytest.raises(LocalError):
        make()


def test_the_longest_file_data() -> None:
    pdu = Pdu(HEADER, FileData(0, bytes(65531)))
    assert decode_pdu(encode_pdu(pdu)) == (pdu, 65531 + 4 + 7)
