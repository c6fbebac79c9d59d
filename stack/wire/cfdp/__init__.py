"""CFDP on the wire (CCSDS 727.0-B-5): pure codecs of every PDU and TLV."""

from __future__ import annotations

from stack.wire.cfdp.directives import (
    Ack,
    Directive,
    Eof,
    Finished,
    KeepAlive,
    Metadata,
    Nak,
    Prompt,
)
from stack.wire.cfdp.fields import (
    ChecksumType,
    ConditionCode,
    DirectiveCode,
    FileStatus,
    FilestoreAction,
    TlvType,
    TransactionStatus,
)
from stack.wire.cfdp.filedata import FileData, SegmentMetadata
from stack.wire.cfdp.header import Header
from stack.wire.cfdp.pdu import Pdu, decode_pdu, encode_pdu
from stack.wire.cfdp.tlv import (
    FaultHandlerOverride,
    FilestoreRequest,
    FilestoreResponse,
    Tlv,
    decode_tlv,
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

__all__ = [
    "Ack",
    "ChecksumType",
    "ConditionCode",
    "Directive",
    "DirectiveCode",
    "Eof",
    "FaultHandlerOverride",
    "FileData",
    "FileStatus",
    "FilestoreAction",
    "FilestoreRequest",
    "FilestoreResponse",
    "Finished",
    "Header",
    "KeepAlive",
    "Metadata",
    "Nak",
    "Pdu",
    "Prompt",
    "SegmentMetadata",
    "Tlv",
    "TlvType",
    "TransactionStatus",
    "decode_pdu",
    "decode_tlv",
    "encode_pdu",
    "encode_tlv",
    "entity_id",
    "fault_handler_override",
    "filestore_request",
    "filestore_response",
    "parse_entity_id",
    "parse_fault_handler_override",
    "parse_filestore_request",
    "parse_filestore_response",
]
