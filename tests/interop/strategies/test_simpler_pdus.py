"""PDUs are made simpler by what they say, so that lengths and CRCs stay right."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from interop.differential.minimise import Least, minimise
from interop.strategies.cfdp import pdus
from interop.strategies.simpler import candidates
from interop.strategies.simpler_pdus import simpler_pdus
from stack.core.errors import DecodeError
from stack.wire.cfdp import Header, Metadata, Pdu, Tlv, decode_pdu, encode_pdu

UNKNOWN = Tlv(77, b"it")
"""A TLV of a type that nobody has defined."""


def has_unknown(encoded: bytes) -> bool:
    """Whether a right PDU, and nothing else, has such a TLV with content."""
    try:
        pdu, end = decode_pdu(encoded)
    except DecodeError:
        return False
    if end != len(encoded) or not isinstance(pdu.body, Metadata):
        return False
    return any(tlv.type == UNKNOWN.type and tlv.value for tlv in pdu.body.options)


def test_one_tlv_among_many_is_what_is_left_of_a_pdu() -> None:
    others = tuple(Tlv(2, bytes((number,)) * 20) for number in range(12))
    header = Header(source=300, sequence=9, destination=7, entity_bytes=2, crc=True, large=True)
    body = Metadata(
        checksum_type=15,
        file_bytes=1 << 33,
        source_name=b"/from/here",
        destination_name=b"/to/there",
        options=(*others, UNKNOWN, *others),
    )
    begin = {"it": encode_pdu(Pdu(header, body))}
    least = minimise(begin, lambda pairs: [has_unknown(one) for _, one in pairs], 400)
    kept = Header(source=0, sequence=0, destination=0)
    nothing = Metadata(
        checksum_type=0,
        file_bytes=0,
        source_name=b"",
        destination_name=b"",
        options=(Tlv(UNKNOWN.type, b"\0"),),
    )
    assert least["it"] == Least(encode_pdu(Pdu(kept, nothing)), True)


@given(pdus(), st.binary(max_size=3))
def test_what_is_simpler_is_a_pdu_and_what_follows_it_stays(pdu: Pdu, after: bytes) -> None:
    for one in islice(simpler_pdus(encode_pdu(pdu) + after), 40):
        _, end = decode_pdu(one)
        assert one[end:] == after


def test_what_is_no_pdu_has_no_simpler_ones() -> None:
    assert not list(simpler_pdus(b"\x9f\xff"))
    assert candidates(b"\x9f\xff")
