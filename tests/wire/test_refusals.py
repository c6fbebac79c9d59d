"""What is wrong, where, and by which rule: each refusal of each codec.

The octets are made by hand from the figures of the specifications; the position is the field that
breaks the rule, or where the octets end too early.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.errors import DecodeError
from stack.core.limits import BUNDLE_BYTES_MAX
from stack.wire import asb, cbor, fecframe, ltp, sdnv, tcpcl
from stack.wire.bundle import (
    LENIENT,
    CanonicalBlock,
    decode_admin,
    decode_block,
    decode_bundle,
    decode_eid,
    decode_primary,
    extension,
)
from stack.wire.ccsds import tm
from stack.wire.cfdp import Tlv, decode_pdu, tlv

Decode = Callable[..., Any]


def told(decode: Decode, octets: bytes, *given: Any) -> DecodeError:
    """The error for these octets."""
    with pytest.raises(DecodeError) as caught:
        decode(octets, *given)
    return caught.value


LTP = "RFC 5326 §"
LTP_REFUSALS = [
    ("", "3.1", 0, "truncated segment"),
    ("10", "3.1", 0, "LTP version 1"),
    ("05", "3.1.2", 0, "undefined segment type 5"),
    ("0a", "3.1.2", 0, "undefined segment type 10"),
    ("00 01 02", "3.1.4", 3, "truncated segment"),
    ("0d 01 02 10", "3.1.4", 4, "truncated segment"),
    ("0d 01 02 10 c0 02 61", "3.1.4", 6, "truncated extension"),
    ("0d 01 02 01 c0 02 61", "3.1.4", 6, "truncated extension"),
    ("0c 01 02 00", "3.2.4", 4, "truncated segment"),
    ("0e 01 02 00", "3.2.4", 4, "truncated segment"),
    ("01 01 02 00 01 00 00 00 00", "3.2.1", 9, "checkpoint serial number is 0"),
    ("00 01 02 00 01 00 02 61", "3.2.1", 7, "truncated data"),
    ("08 01 02 00 00 01 05 00 00", "3.2.2", 4, "report serial number is 0"),
    ("08 01 02 00 07 01 05 00 01 00", "3.2.2", 9, "reception claims truncated"),
    ("08 01 02 00 07 01 05 00 a001" + 4097 * "0001", "3.2.2", 10, "more than 4096 reception"),
    ("08 01 02 00 07 01 05 06 00", "3.2.2", 4, "lower bound above its upper bound"),
    ("08 01 02 00 07 01 05 00 01 00 00", "3.2.2", 4, "empty reception claim"),
    ("08 01 02 00 07 01 05 00 02 00 02 01 01", "3.2.2", 4, "claims overlap"),
    ("08 01 02 00 07 01 05 02 01 01 03", "3.2.2", 4, "outside the report's scope"),
]

TCPCL = "RFC 9174 §"
CONTACT_REFUSALS = [
    ("64746e20", "4.2", 0, "no contact header"),
    ("64746e21 03", "4.3", 4, "TCPCL version 3"),
    ("64746e21 04", "4.2", 5, "truncated"),
]
TCPCL_REFUSALS = [
    ("", "4.5", 0, "truncated"),
    ("00", "4.5", 0, "message type 0"),
    ("08", "4.5", 0, "message type 8"),
    ("01 00", "5.2.2", 2, "truncated"),
    ("01 02 0000000000000001 0000", "5.2.5", 12, "truncated"),
    ("01 02 0000000000000001 00010001", "5.2.5", 10, "65537 octets of extension items"),
    ("01 02 0000000000000001 00000004 00000100", "5.2.5", 14, "cut short by its list"),
    ("01 02 0000000000000001 00000006 0000010002 ab", "5.2.5", 14, "longer than its list"),
    ("01 00 0000000000000001 00", "5.2.2", 11, "truncated"),
    ("01 00 0000000000000001 0000000100000000", "5.2.2", 10, "segment of 4294967296 octets"),
    ("01 00 0000000000000001 0000000000000002 61", "5.2.2", 19, "truncated"),
    ("02 00", "5.2.3", 2, "truncated"),
    ("03", "5.2.4", 1, "truncated"),
    ("03 07 0000000000000001", "5.2.4", 1, "refusal reason 7"),
    ("05 00", "6.1", 2, "truncated"),
    ("05 00 06", "6.1", 2, "termination reason 6"),
    ("06 01", "5.1.2", 2, "truncated"),
    ("07 0000", "4.6", 3, "truncated"),
    ("07 0000 0000000000000000 0000000000000000 0002 61", "4.6", 22, "truncated"),
    ("07 0000 0000000000000000 0000000000000000 0001 ff", "4.6", 21, "node id is no UTF-8"),
    ("07 0000 0000000000000000 0000000000000000 0000 00", "4.8", 22, "truncated"),
]

CFDP = "CCSDS 727.0-B-5 §"
PROMPT = "20 0002 00 01 05 02 09 80"
CFDP_REFUSALS = [
    ("20 00", "5.1", 2, "truncated PDU"),
    ("40 0002 00 01 05 02 09 80", "5.1", 0, "CFDP version 2"),
    ("20 0002 10 0001 05 00", "5.1", 8, "truncated PDU"),
    ("20 0003 00 01 05 02 09 80", "5.1", 9, "truncated PDU"),
    ("22 0001 00 01 05 02 09", "4.1", 7, "no room for the CRC"),
    ("22 0004 00 01 05 02 09 80 0000", "4.1", 9, "CRC does not match"),
    ("20 0000 00 01 05 02", "5.2", 7, "truncated PDU"),
    ("20 0001 00 01 05 02 0a", "5.2", 7, "file directive 10"),
    ("20 0001 00 01 05 02 09", "5.2.7", 8, "truncated PDU"),
    ("20 0003 00 01 05 02 09 80 00", "5.2.7", 9, "octets after the directive"),
    ("20 0004 00 01 05 02 0c 000000", "5.2.8", 11, "truncated PDU"),
    ("20 0006 00 01 05 02 0c 00000000 00", "5.2.8", 12, "octets after the directive"),
    ("20 0001 00 01 05 02 06", "5.2.4", 8, "truncated PDU"),
    ("20 0002 00 01 05 02 06 40", "5.2.4", 9, "truncated PDU"),
    ("20 0004 00 01 05 02 06 40 00 00", "5.2.4", 10, "octets after the directive"),
    ("20 0003 00 01 05 02 06 70 00", "5.2.4", 8, "acknowledgement of directive 7"),
    ("20 0003 00 01 05 02 06 41 00", "5.2.4", 8, "directive subtype 1"),
    ("20 0003 00 01 05 02 06 50 00", "5.2.4", 8, "directive subtype 0"),
    ("20 0001 00 01 05 02 04", "5.2.2", 8, "truncated PDU"),
    ("20 0005 00 01 05 02 04 00 000000", "5.2.2", 12, "truncated PDU"),
    ("20 0009 00 01 05 02 04 00 00000000 000000", "5.2.2", 16, "truncated PDU"),
    ("20 000b 00 01 05 02 04 00 00000000 00000000 06", "5.1", 18, "truncated PDU"),
    ("20 000d 00 01 05 02 04 00 00000000 00000000 06 01 02", "5.2.2", 17, "TLV where there may"),
    ("20 000d 00 01 05 02 04 f0 00000000 00000000 05 01 02", "5.2.2", 17, "TLV where there may"),
    (
        "20 0010 00 01 05 02 04 f0 00000000 00000000 06 01 02 06 01 02",
        "5.2.2",
        17,
        "TLV where there may",
    ),
    ("20 0001 00 01 05 02 05", "5.2.3", 8, "truncated PDU"),
    ("20 0005 00 01 05 02 05 00 06 01 02", "5.2.3", 9, "TLV where there may be none"),
    ("20 0008 00 01 05 02 05 46 06 01 02 06 01 03", "5.2.3", 9, "TLV where there may be none"),
    ("20 000a 00 01 05 02 05 40 06 01 02 01 03 00 00 00", "5.2.3", 9, "responses come first"),
    ("20 0001 00 01 05 02 07", "5.2.5", 8, "truncated PDU"),
    ("20 0005 00 01 05 02 07 00 000000", "5.2.5", 12, "truncated PDU"),
    ("20 0008 00 01 05 02 07 00 00000000 05 61", "5.2.5", 15, "truncated PDU"),
    ("20 0008 00 01 05 02 07 00 00000000 01 61", "5.2.5", 15, "truncated PDU"),
    ("20 0001 00 01 05 02 08", "5.2.6", 8, "pairs of numbers"),
    ("20 0005 00 01 05 02 08 00000000", "5.2.6", 8, "pairs of numbers"),
    ("30 0003 00 01 05 02 000000", "5.3", 10, "truncated PDU"),
    ("30 0000 08 01 05 02", "5.3", 7, "truncated PDU"),
    ("30 0001 08 01 05 02 42", "5.3", 8, "truncated PDU"),
]

TM = "CCSDS 132.0-B-3 §"
TM_REFUSALS = [
    ("003e 00 00 1ffe 0001", "4.1.1", 8, "frame cut short"),
    ("403e 00 00 1ffe 000102", "4.1.2.2", 0, "frame version number 1"),
    ("003e 00 00 3ffe 000102", "4.1.2.7", 4, "packet order or segment length id"),
    ("003e 00 00 17fe 000102", "4.1.2.7", 4, "packet order or segment length id"),
    ("003e 00 00 9ffe 00 0102", "4.1.3", 6, "secondary header version or length"),
    ("003e 00 00 9ffe 41 0102", "4.1.3", 6, "secondary header version or length"),
    ("003e 00 00 9ffe 03 0102", "4.1.3", 6, "secondary header cut short"),
    ("003f 00 00 1ffe 000102", "4.1.1", 6, "no room for the data field"),
]

FEC = "RFC 6865 §"
SOURCE_REFUSALS = [
    ("0000000000", "5.1.2", 5, "FEC payload id cut short"),
    ("000000000000", "5.1.2", 4, "source block length 0"),
    ("000000000100", "5.1.2", 4, "source block length 256"),
    ("000000ff00ff", "5.1.2", 3, "encoding symbol id 255"),
    ("000000020002", "5.1.2", 3, "id 2 of 2 is not a source symbol"),
]
REPAIR_REFUSALS = [
    ("0000000000", "5.1.3", 5, "FEC payload id cut short"),
    ("000000010000", "5.1.3", 4, "source block length 0"),
    ("000000ff00fe", "5.1.3", 3, "encoding symbol id 255"),
    ("000000010002", "5.1.3", 3, "id 1 of 2 is not a repair symbol"),
]
ADUI_REFUSALS = [
    ("0000", "4.3", 2, "ADUI cut short"),
    ("00 0002 61", "4.3", 1, "ADU of 2 octets in a symbol of 4"),
    ("00 0001 61 0001", "4.3", 4, "padding is not zero"),
]
FSSI_REFUSALS = [
    ("0010", "5.1.1.2", 2, "FSSI cut short"),
    ("0010 87", "5.1.1.2", 2, "m = 7 is not supported"),
    ("0003 08", "5.1.1.2", 0, "too short for an ADUI"),
]

SDNV_REFUSALS = [
    ("", "2", 0, "truncated SDNV"),
    ("81", "2", 0, "truncated SDNV"),
    ("8280 8080 8080 8080 8000", "3", 0, "more than 64 bits"),
    ("8080 8080 8080 8080 8080 00", "3", 0, "longer than 10 octets"),
]

CBOR_REFUSALS = [
    ("", "3", 0, "truncated CBOR"),
    ("18", "3", 0, "truncated CBOR"),
    ("1c", "3", 0, "reserved CBOR head"),
    ("1f", "3", 0, "reserved CBOR head"),
    ("1817", "4.2.1", 0, "not in its shortest form"),
    ("1900ff", "4.2.1", 0, "not in its shortest form"),
    ("1a0000ffff", "4.2.1", 0, "not in its shortest form"),
    ("1b00000000ffffffff", "4.2.1", 0, "not in its shortest form"),
    ("f81f", "3.3", 0, "simple value in two octets"),
    ("42 61", "3", 0, "truncated string"),
    ("82 01 62 61", "3", 2, "truncated string"),
    ("ff", "3", 0, "break outside an indefinite item"),
    ("81 ff", "3", 1, "break outside an indefinite item"),
    ("bf 01 ff", "3", 2, "break outside an indefinite item"),
    ("5f 61 61 ff", "3.2.3", 1, "chunk of another kind"),
    ("7f 41 61 ff", "3.2.3", 1, "chunk of another kind"),
    ("5f 5f ff ff", "3.2.3", 1, "chunk of another kind"),
    (17 * "81" + "01", "10", 16, "nested too deeply"),
    ("9f" + 4096 * "01", "10", 4096, "too many CBOR items"),
]
TYPED_REFUSALS = [
    (cbor.read_uint, "20", "3", "expected an unsigned integer"),
    (cbor.read_bool, "f6", "3", "expected a boolean"),
    (cbor.read_bool, "01", "3", "expected a boolean"),
    (cbor.read_bstr, "60", "3", "expected a byte string"),
    (cbor.read_bstr, "5f", "3.2", "an item of indefinite length"),
    (cbor.read_bstr, "42 61", "3", "truncated byte string"),
    (cbor.read_tstr, "40", "3", "expected a text string"),
    (cbor.read_tstr, "7f", "3.2", "an item of indefinite length"),
    (cbor.read_tstr, "62 61", "3", "truncated text string"),
    (cbor.read_tstr, "61 ff", "3.1", "text that is no UTF-8"),
    (cbor.read_array, "a0", "3", "expected an array"),
    (cbor.read_array, "9f", "3.2", "an item of indefinite length"),
]

BP = "RFC 9171 §"
EID_REFUSALS = [
    ("", "RFC 9171 §4.2.5.1", 0, "truncated endpoint identifier"),
    ("82", "RFC 9171 §4.2.5.1", 0, "truncated endpoint identifier"),
    ("82 02 82 01", "RFC 9171 §4.2.5.1", 0, "truncated endpoint identifier"),
    ("83 02 01 01", "RFC 9171 §4.2.5.1", 0, "an EID is an array of two items"),
    ("9f 02 82 01 01 01 ff", "RFC 9171 §4.2.5.1", 0, "an EID is an array of two items"),
    ("82 01 01", "RFC 9171 §4.2.5.1.1", 0, "the only numeric dtn EID is 0"),
    ("82 01 64 6e6f6e65", "RFC 9171 §4.2.5.1.1", 0, "dtn:none is encoded as 0"),
    ("82 02 81 01", "RFC 9758 §6.1", 0, "an ipn EID has two or three numbers"),
    ("82 02 84 01 01 01 01", "RFC 9758 §6.1", 0, "an ipn EID has two or three numbers"),
    ("82 02 83 00 1affffffff 01", "RFC 9758 §3.4.2", 0, "the local node of another node"),
    ("82 02 82 1affffffff 01", "RFC 9758 §3.4.2", 0, "the local node of another node"),
    ("82 01 79 0500" + 1280 * "61", "RFC 9171 §4.2.5.1", 0, "endpoint identifier too long"),
]

# ipn:1.1 three times, creation time 5, sequence number 1, lifetime 9
PRIMARY = "88 07 00 00 8202820101 8202820101 8202820101 82 05 01 09"
PRIMARY_REFUSALS = [
    ("", "4.3.1", 0, "truncated primary block"),
    ("88 07 00", "4.3.1", 3, "truncated primary block"),
    ("88 06 00 00", "4.3.1", 0, "not a primary block of version 7"),
    ("87 07 00 00", "4.3.1", 0, "not a primary block of version 7"),
    ("8c 07 00 00", "4.3.1", 0, "not a primary block of version 7"),
    ("88 07 00 03", "4.2.1", 0, "unknown CRC type 3"),
    ("89 07 00 00", "4.3.1", 0, "9 fields in the primary block"),
    ("88 07 00 01", "4.3.1", 0, "8 fields in the primary block"),
    ("88 07 01 00", "4.3.1", 0, "8 fields in the primary block"),
    ("8b 07 01 00", "4.3.1", 0, "11 fields in the primary block"),
    (PRIMARY.replace("82 05 01", "83 05 01"), "4.2.7", 20, "a timestamp is a pair of numbers"),
    (PRIMARY.replace("82 05 01", "9f 05 01 01"), "4.1", 22, "more items than the array can have"),
    (PRIMARY.replace("88", "9f") + "01", "4.1", 23, "more items than the array can have"),
    (PRIMARY.replace("88 07 00 00", "89 07 00 01") + "43 0000", "4.2.2", 24, "wrong size"),
    (PRIMARY.replace("88 07 00 00", "89 07 00 01") + "42 0000", "4.2.2", 0, "CRC does not match"),
    (PRIMARY.replace("88 07 00 00", "89 07 00 02") + "44 00000000", "4.2.2", 0, "not match"),
]
BLOCK_REFUSALS = [
    ("85 01 01", "4.3.2", 3, "truncated block"),
    ("85 01 01 00 03 40", "4.2.1", 0, "unknown CRC type 3"),
    ("84 01 01 00 00 40", "4.3.2", 0, "not a block, or 4 fields"),
    ("85 01 01 00 01 40", "4.3.2", 0, "not a block, or 5 fields"),
    ("86 01 01 00 00 40", "4.3.2", 0, "not a block, or 6 fields"),
    ("85 01 01 00 00 60", "4.3.2", 0, "no definite-length byte string"),
    ("85 01 01 00 00 5f", "4.3.2", 0, "no definite-length byte string"),
    ("85 01 01 00 00 42 61", "4.3.2", 7, "truncated block"),
    ("9f 01 01 00 00 40 00", "4.1", 6, "more items than the array can have"),
    ("86 01 01 00 01 40 44", "4.2.2", 7, "CRC field of the wrong size"),
    ("86 01 01 00 02 40 42", "4.2.2", 7, "CRC field of the wrong size"),
    ("86 01 01 00 02 40 44 00000000", "4.2.2", 0, "CRC does not match"),
]
PAYLOAD = "85 01 01 00 00 41 61"
AGE = "85 07 02 00 00 41 05"
ADMIN = PRIMARY.replace("07 00 00", "07 02 00")
ANONYMOUS = PRIMARY.replace("8202820101 8202820101 82 05", "820100 820100 82 05")
AT = len(bytes.fromhex(PRIMARY)) + 1
BUNDLE_REFUSALS = [
    ("", "4.1", 0, "truncated bundle"),
    ("9f" + PRIMARY, "4.1", AT, "truncated bundle"),
    ("82" + PRIMARY + PAYLOAD, "4.1", 0, "a bundle is an indefinite-length array"),
    ("9f" + PRIMARY + "85 01 02 00 00 41 61 ff", "4.1", AT, "payload block not numbered 1"),
    ("9f" + PRIMARY + PAYLOAD + PAYLOAD + "ff", "4.1", AT, "payload block not last"),
    ("9f" + PRIMARY + "85 07 01 00 00 41 05", "4.1", AT, "block number 1 again or reserved"),
    ("9f" + PRIMARY + "85 07 00 00 00 41 05", "4.1", AT, "block number 0 again or reserved"),
    ("9f" + PRIMARY + AGE + "85 0a 02 00 00 40", "4.1", AT + 7, "block number 2 again"),
    ("9f" + PRIMARY + AGE + "85 07 03 00 00 41 05", "4.4", AT + 7, "second block of type 7"),
    ("9f" + PRIMARY + AGE + "ff", "4.1", AT + 7, "no payload block, or too many"),
    ("9f" + ADMIN.replace("02 00", "194002 00") + PAYLOAD + "ff", "4.2.3", 0, "status reports"),
    ("9f" + ADMIN + "85 07 02 02 00 41 05" + PAYLOAD + "ff", "4.2.4", 0, "block report asked for"),
    ("9f" + ANONYMOUS + PAYLOAD + "ff", "4.2.3", 0, "anonymous bundle that may be fragmented"),
]
LENIENT_REFUSALS = [
    ("81" + PRIMARY, "4.1", 0, "1 blocks in a bundle"),
    ("99 0102" + PRIMARY, "4.1", 0, "258 blocks in a bundle"),
    ("83" + PRIMARY + PAYLOAD, "4.1", AT, "payload block not last"),
    ("82" + PRIMARY + AGE, "4.1", AT + 7, "no payload block, or too many"),
]
ADMIN_REFUSALS = [
    ("83 01 02 03", "6.1", -1, "a record is a pair of type and content"),
    ("82 05 01 00", "6.1", 3, "octets after the administrative record"),
    ("82 01 85", "6.1.1", 3, "status report of 5 fields"),
    ("82 01 84 83", "6.1.1", 4, "3 status items"),
    ("82 01 84 84 80", "3", 5, "truncated"),
    ("82 01 84 84 82 f4 05", "6.1.1", 6, "malformed status item"),
    ("82 01 84 84 83 f5 05 05", "6.1.1", 6, "malformed status item"),
    ("82 01 84 84 81f4 81f4 81f4 81f4 00 82028201018301", "4.2.7", 19, "a timestamp is a pair"),
]
ASB_REFUSALS = [
    ("80", 0, "0 security targets"),
    ("98 41", 0, "65 security targets"),
    ("82 01 01", 0, "a security target is named twice"),
    ("81 01 40", 2, "the security context id is no integer"),
    ("81 01 01 01 8202820101 91", 10, "17 security parameters or results"),
    ("81 01 01 01 8202820101 81 81 01", 11, "a parameter or result is a pair"),
    ("81 01 01 00 8202820101 82", 10, "2 sets of results for 1 targets"),
    ("81 01 01 00 8202820101 81 91", 11, "17 security parameters or results"),
    ("81 01 01 00 8202820101 81 80 00", 11, "octets after the security results"),
]

TABLES: list[tuple[Decode, str, list[tuple[str, str, int, str]]]] = [
    (ltp.decode_segment, LTP, LTP_REFUSALS),
    (tcpcl.decode_contact, TCPCL, CONTACT_REFUSALS),
    (tcpcl.decode_message, TCPCL, TCPCL_REFUSALS),
    (decode_pdu, CFDP, CFDP_REFUSALS),
    (partial(tm.decode_tm, frame_bytes=9, fecf=False), TM, TM_REFUSALS),
    (sdnv.decode_sdnv, "RFC 6256 §", SDNV_REFUSALS),
    (cbor.skip_item, "RFC 8949 §", CBOR_REFUSALS),
    (decode_eid, "", EID_REFUSALS),
    (decode_primary, BP, PRIMARY_REFUSALS),
    (decode_block, BP, BLOCK_REFUSALS),
    (lambda octets, at: decode_bundle(octets, offset=at), BP, BUNDLE_REFUSALS),
    (lambda octets, at: decode_bundle(octets, offset=at, mode=LENIENT), BP, LENIENT_REFUSALS),
]
FROM_0: list[tuple[Decode, str, list[tuple[str, str, int, str]]]] = [
    (partial(fecframe.decode_payload_id, repair=False), FEC, SOURCE_REFUSALS),
    (partial(fecframe.decode_payload_id, repair=True), FEC, REPAIR_REFUSALS),
    (fecframe.decode_adui, FEC, ADUI_REFUSALS),
    (fecframe.decode_fssi, FEC, FSSI_REFUSALS),
]


@pytest.mark.parametrize("before", [b"", b"\xff\x00\x07"], ids=["at 0", "at 3"])
@pytest.mark.parametrize(
    ("decode", "octets", "section", "at", "why"),
    [
        (decode, octets, rfc + section, at, why)
        for decode, rfc, rows in TABLES
        for octets, section, at, why in rows
    ],
)
def test_each_refusal(
    decode: Decode, octets: str, section: str, at: int, why: str, before: bytes
) -> None:
    error = told(decode, before + bytes.fromhex(octets), len(before))
    assert why in error.reason
    assert (error.section, error.offset) == (section, len(before) + at)


@pytest.mark.parametrize(
    ("decode", "octets", "section", "at", "why"),
    [
        (decode, octets, rfc + section, at, why)
        for decode, rfc, rows in FROM_0
        for octets, section, at, why in rows
    ],
)
def test_each_refusal_of_fecframe(
    decode: Decode, octets: str, section: str, at: int, why: str
) -> None:
    error = told(decode, bytes.fromhex(octets))
    assert why in error.reason
    assert (error.section, error.offset) == (section, at)


@pytest.mark.parametrize(("read", "octets", "section", "why"), TYPED_REFUSALS)
def test_items_of_another_kind(read: Decode, octets: str, section: str, why: str) -> None:
    error = told(read, b"\x00" + bytes.fromhex(octets), 1)
    assert why in error.reason
    assert (error.section, error.offset) == (f"RFC 8949 §{section}", 1)


@pytest.mark.parametrize(("octets", "section", "at", "why"), ADMIN_REFUSALS)
def test_administrative_records(octets: str, section: str, at: int, why: str) -> None:
    error = told(decode_admin, bytes.fromhex(octets))
    assert why in error.reason
    assert error.section.endswith(f" §{section}")
    assert error.offset == at


@pytest.mark.parametrize(("octets", "at", "why"), ASB_REFUSALS)
def test_security_blocks(octets: str, at: int, why: str) -> None:
    error = told(asb.decode_asb, bytes.fromhex(octets))
    assert why in error.reason
    assert (error.section, error.offset) == ("RFC 9172 §3.6", at)


@pytest.mark.parametrize(
    ("parse", "content", "section", "at"),
    [
        (extension.parse_previous_node, "820100 00", "RFC 9171 §4.4.1", 3),
        (extension.parse_bundle_age, "05 00", "RFC 9171 §4.4.2", 1),
        (extension.parse_hop_count, "82 05 01 00", "RFC 9171 §4.4.3", 3),
        (extension.parse_hop_count, "83 05 01 00", "RFC 9171 §4.4.3", -1),
        (extension.parse_hop_count, "82 00 01", "RFC 9171 §4.4.3", -1),
        (extension.parse_hop_count, "82 190100 01", "RFC 9171 §4.4.3", -1),
        (extension.parse_hop_count, 21 * "00", "RFC 9171 §4.4.3", -1),
        (extension.parse_priority, "05 00", "RFC 9171 §9.1", 1),
    ],
)
def test_contents_of_extension_blocks(
    parse: Callable[[CanonicalBlock], Any], content: str, section: str, at: int
) -> None:
    with pytest.raises(DecodeError) as caught:
        parse(CanonicalBlock(192, 2, 0, bytes.fromhex(content), 0))
    assert (caught.value.section, caught.value.offset) == (section, at)


@pytest.mark.parametrize(
    ("parse", "kind", "content", "section", "at"),
    [
        (tlv.parse_entity_id, 6, "", "5.4", 0),
        (tlv.parse_entity_id, 6, 9 * "01", "5.4", 0),
        (tlv.parse_entity_id, 5, "01", "5.4", 0),
        (tlv.parse_fault_handler_override, 4, "", "5.4", 0),
        (tlv.parse_fault_handler_override, 4, "7171", "5.4", 0),
        (tlv.parse_filestore_request, 0, "", "5.4", 0),
        (tlv.parse_filestore_request, 0, "00", "5.4.1", 1),
        (tlv.parse_filestore_request, 0, "20 01 61", "5.4.1", 3),
        (tlv.parse_filestore_request, 0, "00 01 61 00", "5.4.1", 3),
        (tlv.parse_filestore_response, 1, "", "5.4", 0),
        (tlv.parse_filestore_response, 1, "00 01", "5.4.2", 2),
        (tlv.parse_filestore_response, 1, "00 01 61", "5.4.2", 3),
        (tlv.parse_filestore_response, 1, "20 01 61 01 62", "5.4.2", 5),
        (tlv.parse_filestore_response, 1, "00 01 61 00 00", "5.4.2", 4),
    ],
)
def test_contents_of_cfdp_fields(
    parse: Callable[[Tlv], Any], kind: int, content: str, section: str, at: int
) -> None:
    with pytest.raises(DecodeError) as caught:
        parse(Tlv(kind, bytes.fromhex(content)))
    assert (caught.value.section, caught.value.offset) == (CFDP + section, at)


def test_the_bound_of_a_segment_is_that_of_a_bundle() -> None:
    head = tcpcl.segment_head(1, 0, BUNDLE_BYTES_MAX)
    assert isinstance(told(tcpcl.decode_message, head), tcpcl.Incomplete)
    error = told(tcpcl.decode_message, tcpcl.segment_head(1, 0, BUNDLE_BYTES_MAX + 1))
    assert not isinstance(error, tcpcl.Incomplete)


@given(
    st.sampled_from([decode for decode, _, _ in TABLES]),
    st.sampled_from([row[0] for _, _, rows in TABLES for row in rows if len(row[0]) < 200]),
    st.binary(max_size=4),
)
def test_a_place_is_always_within_the_octets(decode: Decode, octets: str, after: bytes) -> None:
    data = b"\x00\x00" + bytes.fromhex(octets) + after
    place = 2
    try:
        decode(data, 2)
    except DecodeError as error:
        place = error.offset
    assert 2 <= place <= len(data)
