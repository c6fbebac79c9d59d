"""Whole CFDP PDUs: header, data field and CRC (CCSDS 727.0-B-5 §4.1, §5)."""

from __future__ import annotations

from dataclasses import dataclass

from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.wire.cfdp.directives import Directive, decode_directive, encode_directive
from stack.wire.cfdp.fields import take
from stack.wire.cfdp.filedata import FileData, decode_file_data, encode_file_data
from stack.wire.cfdp.header import HeadEnd, Header, decode_header, encode_header
from stack.wire.crc import crc16_ccitt

CRC_BYTES = 2


@dataclass(frozen=True, slots=True)
class Pdu:
    """A header with a file directive or file data."""

    header: Header
    body: Directive | FileData


def encode_pdu(pdu: Pdu) -> bytes:
    """The exact octets of a PDU.  Raises `LocalError` for what does not fit its field."""
    header, body = pdu.header, pdu.body
    if isinstance(body, FileData):
        field = encode_file_data(body, header.large)
        end = HeadEnd(len(field), True, body.metadata is not None)
    else:
        field = encode_directive(body, header.large)
        end = HeadEnd(len(field), False, False)
    if not header.crc:
        return encode_header(header, end) + field
    end = end._replace(data_bytes=end.data_bytes + CRC_BYTES)
    octets = encode_header(header, end) + field
    return octets + crc16_ccitt(octets).to_bytes(CRC_BYTES, "big")


def decode_pdu(data: Buffer, offset: int = 0) -> tuple[Pdu, int]:
    """Read the PDU at `offset`: (PDU, offset of the octet after it).

    File data are a view into `data`.  Raises `DecodeError`, also when the CRC is wrong.
    """
    view = memoryview(data)
    header, head, at = decode_header(view, offset)
    end = take(view, at, head.data_bytes, "CCSDS 727.0-B-5 §5.1")
    field_end = end
    if header.crc:
        field_end = end - CRC_BYTES
        if field_end < at:
            raise DecodeError("no room for the CRC", "CCSDS 727.0-B-5 §4.1", at)
        if crc16_ccitt(view[offset:field_end]) != int.from_bytes(view[field_end:end], "big"):
            raise DecodeError("CRC does not match", "CCSDS 727.0-B-5 §4.1", field_end)
    field = view[:field_end]
    body: Directive | FileData
    if head.file_data:
        body = decode_file_data(field, at, header.large, head.metadata)
    else:
        body = decode_directive(field, at, header.large)
    return Pdu(header, body), end
