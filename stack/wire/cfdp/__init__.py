"""CFDP on the wire (CCSDS 727.0-B-5): pure codecs of every PDU and TLV."""

from __future__ import annotations

from stack.wire.cfdp.directives import TLVS_MAX as TLVS_MAX
from stack.wire.cfdp.directives import Ack as Ack
from stack.wire.cfdp.directives import Directive as Directive
from stack.wire.cfdp.directives import Eof as Eof
from stack.wire.cfdp.directives import Finished as Finished
from stack.wire.cfdp.directives import KeepAlive as KeepAlive
from stack.wire.cfdp.directives import Metadata as Metadata
from stack.wire.cfdp.directives import Nak as Nak
from stack.wire.cfdp.directives import Prompt as Prompt
from stack.wire.cfdp.fields import ChecksumType as ChecksumType
from stack.wire.cfdp.fields import ConditionCode as ConditionCode
from stack.wire.cfdp.fields import DirectiveCode as DirectiveCode
from stack.wire.cfdp.fields import FileStatus as FileStatus
from stack.wire.cfdp.fields import FilestoreAction as FilestoreAction
from stack.wire.cfdp.fields import TlvType as TlvType
from stack.wire.cfdp.fields import TransactionStatus as TransactionStatus
from stack.wire.cfdp.filedata import FileData as FileData
from stack.wire.cfdp.filedata import SegmentMetadata as SegmentMetadata
from stack.wire.cfdp.header import Header as Header
from stack.wire.cfdp.pdu import Pdu as Pdu
from stack.wire.cfdp.pdu import decode_pdu as decode_pdu
from stack.wire.cfdp.pdu import encode_pdu as encode_pdu
from stack.wire.cfdp.tlv import FaultHandlerOverride as FaultHandlerOverride
from stack.wire.cfdp.tlv import FilestoreRequest as FilestoreRequest
from stack.wire.cfdp.tlv import FilestoreResponse as FilestoreResponse
from stack.wire.cfdp.tlv import Tlv as Tlv
from stack.wire.cfdp.tlv import decode_tlv as decode_tlv
from stack.wire.cfdp.tlv import encode_tlv as encode_tlv
from stack.wire.cfdp.tlv import entity_id as entity_id
from stack.wire.cfdp.tlv import fault_handler_override as fault_handler_override
from stack.wire.cfdp.tlv import filestore_request as filestore_request
from stack.wire.cfdp.tlv import filestore_response as filestore_response
from stack.wire.cfdp.tlv import parse_entity_id as parse_entity_id
from stack.wire.cfdp.tlv import parse_fault_handler_override as parse_fault_handler_override
from stack.wire.cfdp.tlv import parse_filestore_request as parse_filestore_request
from stack.wire.cfdp.tlv import parse_filestore_response as parse_filestore_response
