"""Every field of every message at both ends of what its form can hold, and one step beyond.

The widths are those of the figures in RFC 5326, 9171, 9174, CCSDS 132.0-B-3 and 727.0-B-5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.wire import cbor, cfdp, fecframe, ltp, sdnv, tcpcl
from stack.wire.bundle import (
    CRC_16,
    CRC_32,
    IS_FRAGMENT,
    CanonicalBlock,
    Mode,
    PrimaryBlock,
    admin,
    decode_block,
    decode_bundle,
    decode_eid,
    decode_primary,
    encode_block,
    encode_primary,
    extension,
)
from stack.wire.ccsds import tm

U8, U16, U32, U64 = (1 << 8) - 1, (1 << 16) - 1, (1 << 32) - 1, (1 << 64) - 1

TLV = cfdp.Tlv(0, b"")
SESSION = ltp.SessionId(1, 2)
INIT = tcpcl.SessionInit(keepalive_s=0, segment_mru=0, transfer_mru=0, node_id="")
SEGMENT = tcpcl.TransferSegment(transfer=0, flags=0, data=b"x")
ACK = tcpcl.TransferAck(transfer=0, flags=0, acked_bytes=0)
REFUSE = tcpcl.TransferRefuse(transfer=0, reason=0)
TERM = tcpcl.SessionTerm(reason=0)
REJECT = tcpcl.MessageReject(reason=0, rejected=0)
FRAME = tm.TmFrame(
    spacecraft=0, channel=0, master_count=0, channel_count=0, data=b"x", sync=True, segment_length=0
)
HEADER = cfdp.Header(source=0, sequence=0, destination=0)
LARGE = replace(HEADER, entity_bytes=8, sequence_bytes=8, large=True)
EOF = cfdp.Eof(checksum=0, file_bytes=0)
FINISHED = cfdp.Finished(file_status=0)
CFDP_ACK = cfdp.Ack(directive=4, condition=0, status=0)
RESPONSE = cfdp.Tlv(cfdp.TlvType.FILESTORE_RESPONSE, b"")
METADATA = cfdp.Metadata(checksum_type=0, file_bytes=0, source_name=b"", destination_name=b"")
DATA = ltp.DataSegment(
    session=SESSION,
    kind=ltp.SegmentType.RED_CHECKPOINT,
    client_service=0,
    offset=0,
    data=b"",
    checkpoint_serial=1,
)
REPORT = ltp.ReportSegment(
    session=SESSION, report_serial=1, checkpoint_serial=0, upper=U64, lower=0, claims=()
)
EID = Eid.parse("ipn:1.1")
PRIMARY = PrimaryBlock(EID, EID, EID, 0, 0, 0)
FRAGMENT = replace(PRIMARY, flags=IS_FRAGMENT, fragment_offset=0, total_adu_length=0)
BLOCK = CanonicalBlock(192, 2, 0, b"x", 0)
STATUS = admin.StatusReport(EID, 0, 0)

Coded = Callable[[Any], Any]


def _over_tcpcl(message: tcpcl.Message) -> Any:
    octets = tcpcl.encode_message(message)
    return tcpcl.decode_message(octets, strict=False)[0]


def _over_cfdp(body: Any) -> Any:
    return cfdp.decode_pdu(cfdp.encode_pdu(cfdp.Pdu(HEADER, body)))[0].body


def _over_large(body: Any) -> Any:
    return cfdp.decode_pdu(cfdp.encode_pdu(cfdp.Pdu(LARGE, body)))[0].body


def _over_header(header: cfdp.Header) -> Any:
    octets = cfdp.encode_pdu(cfdp.Pdu(header, cfdp.Prompt(False)))
    return cfdp.decode_pdu(octets)[0].header


def _over_tm(frame: tm.TmFrame) -> Any:
    octets = tm.encode_tm(frame)
    return tm.decode_tm(octets, frame_bytes=len(octets))[0]


def _over_ltp(segment: ltp.Segment) -> Any:
    return ltp.decode_segment(ltp.encode_segment(segment))[0]


def _over_tlv(field: cfdp.Tlv) -> Any:
    return cfdp.decode_tlv(cfdp.encode_tlv(field))[0]


def _over_override(override: cfdp.FaultHandlerOverride) -> Any:
    return cfdp.parse_fault_handler_override(cfdp.fault_handler_override(override))


def _over_request(request: cfdp.FilestoreRequest) -> Any:
    return cfdp.parse_filestore_request(cfdp.filestore_request(request))


def _over_response(response: cfdp.FilestoreResponse) -> Any:
    return cfdp.parse_filestore_response(cfdp.filestore_response(response))


def _over_primary(primary: PrimaryBlock) -> Any:
    return replace(decode_primary(encode_primary(primary))[0], encoded=None)


def _over_block(block: CanonicalBlock) -> Any:
    found = decode_block(encode_block(block))[0]
    return replace(found, data=bytes(found.data), encoded=None)


def _over_report(report: admin.StatusReport) -> Any:
    return admin.decode_admin(admin.encode_status_report(report))


FIELDS: list[tuple[Coded, Any, str, int, int]] = [
    (_over_tcpcl, INIT, "keepalive_s", 0, U16),
    (_over_tcpcl, INIT, "segment_mru", 0, U64),
    (_over_tcpcl, INIT, "transfer_mru", 0, U64),
    (_over_tcpcl, SEGMENT, "transfer", 0, U64),
    (_over_tcpcl, SEGMENT, "flags", 0, U8),
    (_over_tcpcl, ACK, "transfer", 0, U64),
    (_over_tcpcl, ACK, "flags", 0, U8),
    (_over_tcpcl, ACK, "acked_bytes", 0, U64),
    (_over_tcpcl, REFUSE, "transfer", 0, U64),
    (_over_tcpcl, REFUSE, "reason", 0, U8),
    (_over_tcpcl, TERM, "reason", 0, U8),
    (_over_tcpcl, TERM, "flags", 0, U8),
    (_over_tcpcl, REJECT, "reason", 0, U8),
    (_over_tcpcl, REJECT, "rejected", 0, U8),
    (
        lambda item: _over_tcpcl(replace(INIT, extensions=(item,))).extensions[0],
        tcpcl.ExtensionItem(0, b""),
        "type",
        0,
        U16,
    ),
    (
        lambda item: _over_tcpcl(replace(INIT, extensions=(item,))).extensions[0],
        tcpcl.ExtensionItem(0, b""),
        "flags",
        0,
        U8,
    ),
    (
        lambda header: tcpcl.decode_contact(tcpcl.encode_contact(header))[0],
        tcpcl.ContactHeader(),
        "flags",
        0,
        U8,
    ),
    (_over_tm, FRAME, "spacecraft", 0, 1023),
    (_over_tm, FRAME, "channel", 0, 7),
    (_over_tm, FRAME, "master_count", 0, U8),
    (_over_tm, FRAME, "channel_count", 0, U8),
    (_over_tm, FRAME, "first_header", 0, 2047),
    (_over_tm, FRAME, "segment_length", 0, 3),
    (_over_header, HEADER, "source", 0, U8),
    (_over_header, HEADER, "sequence", 0, U8),
    (_over_header, HEADER, "destination", 0, U8),
    (_over_header, HEADER, "entity_bytes", 1, 8),
    (_over_header, HEADER, "sequence_bytes", 1, 8),
    (_over_header, LARGE, "source", 0, U64),
    (_over_header, LARGE, "sequence", 0, U64),
    (_over_header, LARGE, "destination", 0, U64),
    (_over_cfdp, EOF, "condition", 0, 15),
    (_over_cfdp, EOF, "checksum", 0, U32),
    (_over_cfdp, EOF, "file_bytes", 0, U32),
    (_over_large, EOF, "file_bytes", 0, U64),
    (_over_cfdp, FINISHED, "condition", 0, 15),
    (_over_cfdp, FINISHED, "file_status", 0, 3),
    (_over_cfdp, CFDP_ACK, "directive", 4, 5),
    (_over_cfdp, CFDP_ACK, "condition", 0, 15),
    (_over_cfdp, CFDP_ACK, "status", 0, 3),
    (_over_cfdp, METADATA, "checksum_type", 0, 15),
    (_over_cfdp, METADATA, "file_bytes", 0, U32),
    (_over_large, METADATA, "file_bytes", 0, U64),
    (_over_cfdp, cfdp.Nak(start=0, end=U32), "start", 0, U32),
    (_over_cfdp, cfdp.Nak(start=0, end=0, segments=((0, 0), (1, 2))), "end", 0, U32),
    (_over_large, cfdp.Nak(start=0, end=0), "end", 0, U64),
    (_over_cfdp, cfdp.KeepAlive(0), "progress_bytes", 0, U32),
    (_over_large, cfdp.KeepAlive(0), "progress_bytes", 0, U64),
    (_over_cfdp, cfdp.FileData(0, b""), "offset", 0, U32),
    (_over_large, cfdp.FileData(0, b""), "offset", 0, U64),
    (
        lambda said: _over_cfdp(cfdp.FileData(0, b"", said)).metadata,
        cfdp.SegmentMetadata(0, bytes(63)),
        "record_state",
        0,
        3,
    ),
    (_over_tlv, TLV, "type", 0, U8),
    (_over_override, cfdp.FaultHandlerOverride(0, 0), "condition", 0, 15),
    (_over_override, cfdp.FaultHandlerOverride(0, 0), "handler", 0, 15),
    (_over_request, cfdp.FilestoreRequest(0, b""), "action", 0, 15),
    (_over_response, cfdp.FilestoreResponse(0, 0, b""), "action", 0, 15),
    (_over_response, cfdp.FilestoreResponse(0, 0, b""), "status", 0, 15),
    (_over_ltp, DATA, "client_service", 0, U64),
    (_over_ltp, DATA, "offset", 0, U64),
    (_over_ltp, DATA, "checkpoint_serial", 1, U64),
    (_over_ltp, DATA, "report_serial", 0, U64),
    (_over_ltp, REPORT, "report_serial", 1, U64),
    (_over_ltp, REPORT, "checkpoint_serial", 0, U64),
    (_over_ltp, REPORT, "upper", 0, U64),
    (_over_ltp, REPORT, "lower", 0, U64),
    (_over_ltp, ltp.ReportAck(session=SESSION, report_serial=0), "report_serial", 0, U64),
    (_over_ltp, ltp.CancelSegment(session=SESSION, by_sender=True, reason=0), "reason", 0, U8),
    (
        lambda field: _over_ltp(replace(DATA, header=(field,))).header[0],
        ltp.Extension(0, b""),
        "tag",
        0,
        U8,
    ),
    *[
        (_over_primary, replace(primary, crc_type=crc_type), name, 0, U64)
        for primary, names in (
            (PRIMARY, ("creation_ms", "sequence", "lifetime_ms")),
            (FRAGMENT, ("fragment_offset", "total_adu_length")),
        )
        for name in names
        for crc_type in (0, CRC_16, CRC_32)
    ],
    (_over_primary, PRIMARY, "crc_type", 0, 2),
    (_over_primary, PRIMARY, "version", 7, 7),
    *[
        (_over_block, replace(BLOCK, crc_type=crc_type), name, 0, U64)
        for name in ("type", "number", "flags")
        for crc_type in (0, CRC_16, CRC_32)
    ],
    (_over_block, BLOCK, "crc_type", 0, 2),
    (_over_report, STATUS, "creation_ms", 0, U64),
    (_over_report, STATUS, "sequence", 0, U64),
    (_over_report, STATUS, "reason", 0, U64),
    (_over_report, replace(STATUS, received=True), "time_ms", 0, U64),
    (_over_report, replace(STATUS, fragment_length=3), "fragment_offset", 0, U64),
    (_over_report, replace(STATUS, fragment_offset=3), "fragment_length", 0, U64),
]


@pytest.mark.parametrize(
    ("coded", "whole", "name", "low", "high"),
    FIELDS,
    ids=[f"{type(row[1]).__name__}.{row[2]} {row[4]}" for row in FIELDS],
)
def test_each_field(coded: Coded, whole: Any, name: str, low: int, high: int) -> None:
    for value in {low, (low + high) // 2, high}:
        message = replace(whole, **{name: value})
        assert coded(message) == message
    for value in (low - 1, high + 1):
        with pytest.raises(LocalError):
            coded(replace(whole, **{name: value}))


@pytest.mark.parametrize("name", ["engine", "number"])
def test_session_ids(name: str) -> None:
    for value in (0, U64):
        acked = ltp.ReportAck(session=SESSION._replace(**{name: value}), report_serial=1)
        assert _over_ltp(acked) == acked
    for value in (-1, U64 + 1):
        with pytest.raises(LocalError):
            ltp.ReportAck(session=SESSION._replace(**{name: value}), report_serial=1)


def _named(names: tuple[bytes, bytes]) -> cfdp.Metadata:
    return replace(METADATA, source_name=names[0], destination_name=names[1])


@pytest.mark.parametrize(
    ("coded", "make", "most"),
    [
        (_over_tcpcl, lambda n: replace(INIT, node_id="x" * n), U16),
        (_over_tcpcl, lambda n: replace(INIT, node_id="x" * (n - 2) + "é"), U16),
        (
            _over_tcpcl,
            lambda n: replace(
                INIT,
                extensions=(tcpcl.ExtensionItem(1, bytes(n - 10)), tcpcl.ExtensionItem(2, b"")),
            ),
            tcpcl.EXTENSION_LIST_BYTES_MAX,
        ),
        (
            lambda item: _over_tcpcl(replace(SEGMENT, flags=2, extensions=(item,))).extensions[0],
            lambda n: tcpcl.ExtensionItem(1, bytes(n)),
            tcpcl.EXTENSION_LIST_BYTES_MAX - 5,
        ),
        (
            _over_tcpcl,
            lambda n: replace(INIT, extensions=(tcpcl.ExtensionItem(1, b""),) * n),
            tcpcl.EXTENSION_ITEMS_MAX,
        ),
        (_over_cfdp, lambda n: replace(METADATA, options=(TLV,) * n), cfdp.TLVS_MAX),
        (_over_cfdp, lambda n: replace(FINISHED, responses=(RESPONSE,) * n), cfdp.TLVS_MAX - 1),
        (_over_tm, lambda n: replace(FRAME, secondary=bytes(n)), 63),
        (_over_tlv, lambda n: replace(TLV, value=bytes(n)), U8),
        (_over_cfdp, lambda n: _named((bytes(n), b"")), U8),
        (_over_cfdp, lambda n: _named((b"", bytes(n))), U8),
        (_over_cfdp, lambda n: cfdp.FileData(0, bytes(n)), U16 - 4),
        (_over_cfdp, lambda n: cfdp.FileData(0, b"", cfdp.SegmentMetadata(1, bytes(n))), 63),
        (_over_request, lambda n: cfdp.FilestoreRequest(0, bytes(n)), U8 - 2),
        (_over_request, lambda n: cfdp.FilestoreRequest(2, b"ab", bytes(n)), U8 - 5),
        (_over_response, lambda n: cfdp.FilestoreResponse(0, 0, b"ab", b"", bytes(n)), U8 - 5),
        (_over_ltp, lambda n: replace(DATA, header=(ltp.Extension(0, b""),) * n), 15),
        (_over_ltp, lambda n: replace(DATA, trailer=(ltp.Extension(0, b"z"),) * n), 15),
    ],
)
def test_the_longest(coded: Coded, make: Callable[[int], Any], most: int) -> None:
    longest = make(most)
    assert coded(longest) == longest
    with pytest.raises(LocalError):
        coded(make(most + 1))


def _init_with(items: int) -> bytes:
    listed = b"\0\0\1\0\0" * items
    whole = tcpcl.encode_message(INIT)
    return whole[:-4] + len(listed).to_bytes(4, "big") + listed


def _metadata_with(options: int) -> bytes:
    octets = cfdp.encode_pdu(cfdp.Pdu(HEADER, METADATA))
    size = int.from_bytes(octets[1:3], "big") + 2 * options
    return octets[:1] + size.to_bytes(2, "big") + octets[3:] + b"\xc8\0" * options


@pytest.mark.parametrize(
    ("read", "made", "most"),
    [
        (tcpcl.decode_message, _init_with, tcpcl.EXTENSION_ITEMS_MAX),
        (cfdp.decode_pdu, _metadata_with, cfdp.TLVS_MAX),
    ],
)
def test_nobody_has_us_read_more_pieces(
    read: Callable[[bytes], Any], made: Callable[[int], bytes], most: int
) -> None:
    read(made(most))
    with pytest.raises(DecodeError, match=r"too many|more than"):
        read(made(most + 1))


@pytest.mark.parametrize("size", range(10))
def test_an_entity_id_fits_its_size(size: int) -> None:
    if not 1 <= size <= 8:
        with pytest.raises(LocalError):
            cfdp.entity_id(0, size)
        return
    most = (1 << 8 * size) - 1
    for number in (0, most):
        assert cfdp.parse_entity_id(cfdp.entity_id(number, size)) == number
        assert len(cfdp.entity_id(number, size).value) == size
    for number in (-1, most + 1):
        with pytest.raises(LocalError):
            cfdp.entity_id(number, size)


@pytest.mark.parametrize(
    ("coded", "low", "high"),
    [
        (lambda n: sdnv.decode_sdnv(sdnv.encode_sdnv(n))[0], 0, U64),
        (lambda n: cbor.read_uint(cbor.uint(n), 0)[0], 0, U64),
        (lambda n: tcpcl.parse_transfer_length(tcpcl.transfer_length(n)), 0, U64),
        (lambda n: extension.parse_bundle_age(extension.bundle_age(n)), 0, U64),
        (lambda n: extension.parse_priority(extension.priority_block(n)), 0, U64),
        (lambda n: extension.parse_hop_count(extension.hop_count(n, 9))[0], 1, 255),
        (lambda n: extension.parse_hop_count(extension.hop_count(9, n))[1], 0, U64),
    ],
)
def test_each_number(coded: Callable[[int], int], low: int, high: int) -> None:
    for value in (low, low + 1, high - 1, high):
        assert coded(value) == value
    with pytest.raises(LocalError):
        coded(low - 1)
    try:
        beyond = coded(high + 1)
    except LocalError:
        return
    assert beyond == high == U64  # an age stays at the end of what there is a form for


EDGES = sorted({edge + step for edge in (0, 24, 1 << 8, 1 << 16, 1 << 32) for step in (-1, 0, 1)})


@pytest.mark.parametrize("value", [edge for edge in EDGES if edge >= 0])
@pytest.mark.parametrize("strict", [True, False])
def test_lengths_of_heads(value: int, strict: bool) -> None:
    octets = cbor.uint(value)
    assert cbor.head_size(value) == len(octets)
    assert cbor.read_uint(b"." + octets + b".", 1, strict) == (value, 1 + len(octets))
    for size in (2, 3, 5, 9):
        if size > len(octets):
            longer = bytes((0x18 + (2, 3, 5, 9).index(size),)) + value.to_bytes(size - 1, "big")
            assert cbor.read_uint(longer, 0, strict=False) == (value, size)
            with pytest.raises(DecodeError, match="shortest"):
                cbor.read_uint(longer, 0)


@pytest.mark.parametrize("place", range(11))
def test_a_primary_block_with_one_longer_head(place: int) -> None:
    # version, flags, CRC type, three EIDs, the array of the timestamp, its two numbers, lifetime,
    # fragment offset, total length: RFC 9171 §4.3.1
    eid = bytes.fromhex("8202820101")
    parts = [cbor.uint(number) for number in (7, IS_FRAGMENT, 0, 0, 5, 6, 9, 1, 20)]
    parts[3] = b"\x82"
    places = [b"\x8a", *parts[:3], eid, eid, eid, *parts[3:]]
    expected = decode_primary(b"".join(places))[0]
    at = [0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12][place]
    major = places[at][0] & 0xE0
    value = places[at][0] & 0x1F
    places[at] = bytes((major | 0x1B,)) + value.to_bytes(8, "big")
    if at == 4:
        places[at] = bytes.fromhex("9b0000000000000002") + eid[1:]
    octets = b"".join(places)
    with pytest.raises(DecodeError):
        decode_primary(octets)
    found, end = decode_primary(octets, mode=Mode.LENIENT)
    assert end == len(octets)
    assert found.encoded == octets
    assert replace(found, encoded=None) == replace(expected, encoded=None)


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("mode", Mode)
def test_a_block_with_one_longer_head(place: int, mode: Mode) -> None:
    # array, type, number, flags, CRC type, byte string: RFC 9171 §4.3.2
    parts = [b"\x85", *(cbor.uint(number) for number in (10, 2, 0, 0)), b"\x43"]
    expected = decode_block(b"".join(parts) + b"abc", mode=mode)[0]
    head = parts[place][0]
    parts[place] = bytes((head & 0xE0 | 0x1B,)) + (head & 0x1F).to_bytes(8, "big")
    octets = b"".join(parts) + b"abc"
    if mode is Mode.STRICT:
        with pytest.raises(DecodeError):
            decode_block(octets, mode=mode)
        return
    found, end = decode_block(octets, mode=mode)
    assert end == len(octets)
    assert found.encoded == octets
    assert replace(found, encoded=None) == replace(expected, encoded=None)


@pytest.mark.parametrize("size", [edge for edge in EDGES if 0 <= edge < 1 << 17])
@pytest.mark.parametrize("crc_type", [0, CRC_16, CRC_32])
def test_data_of_each_length(size: int, crc_type: int) -> None:
    block = replace(BLOCK, data=bytes(size), crc_type=crc_type)
    octets = encode_block(block)
    assert _over_block(block) == block
    assert octets[6:].startswith(cbor.head(cbor.BSTR, size))


@pytest.mark.parametrize("value", [0, 127, 128, 16383, 16384, (1 << 63) - 1, 1 << 63])
def test_sdnvs_are_as_short_as_can_be(value: int) -> None:
    octets = sdnv.encode_sdnv(value)
    assert len(octets) == max(1, -(-value.bit_length() // 7))
    assert sdnv.decode_sdnv(b"\xff" + octets, 1) == (value, 1 + len(octets))


def test_fec_fields() -> None:
    for sbn, esi, k in ((0, 0, 1), ((1 << 24) - 1, 254, 255)):
        value = fecframe.PayloadId(sbn, esi, k)
        octets = fecframe.encode_payload_id(value)
        repair = esi >= k
        assert fecframe.decode_payload_id(octets, repair=repair) == (value, 6)
        run = fecframe.PacketRun(sbn, esi, k, np.zeros(1, np.int64))
        assert fecframe.fits(run, repair=repair)
    value = fecframe.PayloadId(7, 254, 1)
    assert fecframe.decode_payload_id(fecframe.encode_payload_id(value), repair=True) == (value, 6)
    for bad in ((-1, 0, 1), (1 << 24, 0, 1), (0, -1, 1), (0, 255, 1), (0, 0, 0), (0, 0, 256)):
        with pytest.raises(ValueError, match=r"FEC payload id|source block length"):
            fecframe.encode_payload_id(fecframe.PayloadId(*bad))
    for info in (fecframe.Fssi(4, True), fecframe.Fssi(4, False), fecframe.Fssi(U16, True)):
        assert fecframe.decode_fssi(fecframe.encode_fssi(info)) == (info, 3)
    assert fecframe.encode_fssi(fecframe.Fssi(1, m=127)) == b"\x00\x01\x7f"
    assert fecframe.encode_fssi(fecframe.Fssi(1, m=0)) == b"\x00\x01\x00"
    for worse in (fecframe.Fssi(0), fecframe.Fssi(U16 + 1), fecframe.Fssi(9, m=-1)):
        with pytest.raises(ValueError, match="scheme-specific information"):
            fecframe.encode_fssi(worse)
    assert fecframe.encode_adui(255, b"", 3) == b"\xff\x00\x00"
    with pytest.raises(ValueError, match="flow id -1"):
        fecframe.encode_adui(-1, b"", 3)
    with pytest.raises(ValueError, match="ADU of 1 octets"):
        fecframe.encode_adui(0, b"x", 3)


@pytest.mark.parametrize(
    ("read", "octets"),
    [
        (cbor.read_uint, "1801"),
        (cbor.read_bstr, "580161"),
        (cbor.read_tstr, "780161"),
        (cbor.read_array, "980101"),
        (cbor.skip_item, "980101"),
        (lambda data, at, **more: cbor.deterministic(data[at:], **more), "980101"),
        (lambda data, at, **more: cbor.read_head(data, at, **more), "980101"),
        (decode_eid, "8202821801" + "01"),
        (decode_eid, "8218028201" + "01"),
    ],
)
def test_readers_are_strict_unless_told_otherwise(read: Callable[..., Any], octets: str) -> None:
    data = b"\x00" + bytes.fromhex(octets)
    for given in ({}, {"strict": True}):
        with pytest.raises(DecodeError, match="shortest"):
            read(data, 1, **given)
    read(data, 1, strict=False)


def test_decoders_are_strict_unless_told_otherwise() -> None:
    primary, block = "88070000820282010182028201018202820101820501", "8501010000" + "4161"
    head = primary + "1809"
    for decode, octets in (
        (decode_primary, head),
        (decode_block, "850a18020000" + "43820501"),
        (decode_bundle, "9f" + primary + "1809" + block + "ff"),
        (decode_bundle, "82" + primary + "09" + block),
    ):
        data = bytes.fromhex(octets)
        with pytest.raises(DecodeError, match=r"shortest|indefinite-length"):
            decode(data)
        assert decode(data, mode=Mode.LENIENT)[1] == len(data)


def test_frames_have_an_fecf_unless_told_otherwise() -> None:
    octets = tm.encode_tm(FRAME)
    assert octets == tm.encode_tm(FRAME, fecf=True)
    assert octets[:-2] == tm.encode_tm(FRAME, fecf=False)
    assert tm.decode_tm(octets, frame_bytes=len(octets))[0] == FRAME
    with pytest.raises(DecodeError, match="FECF"):
        tm.decode_tm(octets[:-1] + b"?", frame_bytes=len(octets))
