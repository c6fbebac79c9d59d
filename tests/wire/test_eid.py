"""Endpoint identifiers: text and wire forms, RFC 9171 §4.2.5.1 and RFC 9758."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.strategies import mutated
from interop.strategies.bundle import eids, nullable_eids
from interop.vectors import Vector, load
from stack.core.eid import EID_CHARS_MAX, IPN_LOCAL_NODE, SCHEME_DTN, SCHEME_IPN, Eid
from stack.core.errors import DecodeError, LocalError
from stack.wire.bundle import decode_eid, encode_eid

VECTORS = {vector.name: vector for vector in load("eid_cbor")}

TEXTS = {
    "ipn:0.1.1 = ipn:1.1": "ipn:1.1",
    "legacy 2-element with allocator 977000: ipn:977000.1.1": "ipn:977000.1.1",
    "null": "ipn:0.0",
    "treat as null (RFC 9758)": "ipn:0.0",
    "dtn://node/": "dtn://node/",
    "dtn://longnodename/service": "dtn://longnodename/service",
    "dtn:none canonical": "dtn:none",
    # RFC 9758 §3.5 gives service numbers 64 bits; refusing large ones is a policy, not ours
    "hardy rejects service > 2^32-1; BSL accepts 2^64-1: RFC 9758 allows 64-bit? treat as policy": (
        "ipn:1.1.34359738369"
    ),
    "BSL ipn-2elem-max.cbor": f"ipn:{2**32 - 1}.{2**32 - 1}.{2**64 - 1}",
    "BSL ipn-3elem-max.cbor": f"ipn:{2**32 - 1}.{2**32 - 1}.{2**64 - 1}",
    "BSL private-struct.cbor": "x-scheme:65536.a20164736f6d65181943626967",
    "BSL codec": "x-scheme:65536.a203426869041819",
}
INVALID = {
    "allocator > 2^32-1",
    "ipn ssp with 4 elements",
    "non-shortest scheme code 18 01",
    "reserved scheme 0 (BSL corpus reserved.cbor)",
}


def test_every_vector_has_a_verdict() -> None:
    assert set(VECTORS) == set(TEXTS) | INVALID


@pytest.mark.parametrize(("name", "text"), TEXTS.items())
def test_valid_vectors(name: str, text: str) -> None:
    vector: Vector = VECTORS[name]
    eid, end = decode_eid(vector.data)
    assert end == len(vector.data)
    assert str(eid) == text
    assert Eid.parse(text) == eid


@pytest.mark.parametrize("name", sorted(INVALID))
def test_invalid_vectors(name: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_eid(VECTORS[name].data)
    assert caught.value.section


def test_lenient_reading_takes_longer_heads() -> None:
    data = VECTORS["non-shortest scheme code 18 01"].data
    assert str(decode_eid(data, strict=False)[0]) == "dtn://node/"


@given(nullable_eids(), st.binary(max_size=3))
def test_round_trips(eid: Eid, rest: bytes) -> None:
    assert Eid.parse(str(eid)) == eid
    encoded = encode_eid(eid)
    assert decode_eid(b"\x82" + encoded + rest, 1) == (eid, 1 + len(encoded))
    for cut in range(len(encoded)):
        with pytest.raises(DecodeError):
            decode_eid(encoded[:cut])


@given(eids())
def test_three_element_ipn_reads_as_the_same_endpoint(eid: Eid) -> None:
    if isinstance(eid.ssp, tuple):
        three = b"\x82\x02\x83" + b"".join(b"\x1b" + part.to_bytes(8, "big") for part in eid.ssp)
        assert decode_eid(three, strict=False)[0] == eid
        assert hash(decode_eid(three, strict=False)[0]) == hash(eid)


@given(eids())
def test_node_and_service_make_up_the_endpoint(eid: Eid) -> None:
    assert eid.node.node == eid.node
    assert eid.node.with_service(eid.service) == eid
    assert eid.node.service == ("0" if isinstance(eid.ssp, tuple) else "")
    assert not eid.is_null


@given(mutated(nullable_eids().map(encode_eid)) | st.binary(max_size=40), st.booleans())
def test_damaged_octets_raise_only_decode_errors(data: bytes, strict: bool) -> None:
    try:
        eid, end = decode_eid(data, strict=strict)
    except DecodeError:
        return
    assert 0 < end <= len(data)
    assert Eid.parse(str(eid)) == eid
    assert decode_eid(encode_eid(eid), strict=False)[0] == eid


@given(st.text(max_size=40) | st.from_regex(r"(dtn|ipn|x-scheme):[!-~]{0,20}", fullmatch=True))
def test_any_text_is_an_eid_that_prints_itself_or_a_decode_error(text: str) -> None:
    try:
        eid = Eid.parse(text)
    except DecodeError:
        return
    assert Eid.parse(str(eid)) == eid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dtn",
        "dtn:",
        "dtn:node",
        "dtn://",
        "dtn:///x",
        "dtn://node",
        "dtn://no de/",
        "dtn://node/a b",
        "dtn://nöde/",
        "dtn://node/x\n",
        "DTN://node/",
        "ipn:",
        "ipn:1",
        "ipn:1.",
        "ipn:01.1",
        "ipn:1.1.1.1",
        "ipn:-1.1",
        "ipn:1.1 ",
        "ipn:١.1",
        "ipn:!.!",
        "ipn:1.!.1",
        f"ipn:{2**64}.1",
        f"ipn:1.{2**64}",
        f"ipn:{2**32}.1.1",
        f"ipn:1.{2**32}.1",
        "http://x/",
        "x-scheme:1.00",
        "x-scheme:65536.0",
        "x-scheme:65536.",
        "dtn://n/" + "x" * EID_CHARS_MAX,
    ],
)
def test_texts_that_are_no_eid(text: str) -> None:
    with pytest.raises(DecodeError):
        Eid.parse(text)


@pytest.mark.parametrize("value", [4, 1.5, None, b"dtn://node/", ["dtn://node/"]])
def test_what_is_no_text_is_refused_by_name(value: Any) -> None:
    with pytest.raises(LocalError, match=type(value).__name__):
        Eid.parse(value)


def test_length_bound_is_exact() -> None:
    longest = "dtn://n/" + "x" * (EID_CHARS_MAX - 4)
    eid = Eid.parse(longest)
    assert decode_eid(encode_eid(eid))[0] == eid
    with pytest.raises(DecodeError):
        Eid.parse(longest + "x")
    too_long = b"\x82\x01\x79\x04\x01" + b"//n/" + b"x" * (EID_CHARS_MAX - 3)
    with pytest.raises(DecodeError):
        decode_eid(too_long)
    with pytest.raises(DecodeError, match="too long"):
        decode_eid(b"\x82\x03\x59\x10\x00" + bytes(0x1000))


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("820101", "numeric"),
        ("8201646e6f6e65", "encoded as 0"),
        ("8301", "truncated"),
        ("83010000", "two items"),
        ("82018100", "text string"),
        ("820261", "truncated"),
        ("82028120", "two or three"),
        ("82022020", "array"),
        ("820282200041", "unsigned"),
        ("8201780161", "shortest"),
        ("8200f6", "reserved"),
        ("a20100", "truncated"),
        ("a201000200", "array"),
        ("822000", "unsigned"),
    ],
)
def test_octets_that_are_no_eid(encoded: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decode_eid(bytes.fromhex(encoded))


def test_the_constructor_keeps_the_rules_too() -> None:
    cases: tuple[tuple[int, Any], ...] = (
        (SCHEME_DTN, (0, 1, 1)),
        (SCHEME_IPN, "1.1"),
        (SCHEME_IPN, (0, 1, 2**64)),
        (SCHEME_IPN, (0, -1, 1)),
        (0, b"\x00"),
        (3, b""),
        (3, "text"),
    )
    for scheme, ssp in cases:
        with pytest.raises(DecodeError):
            Eid(scheme, ssp)


def test_null_endpoints() -> None:
    assert Eid.NONE.is_null
    assert Eid.parse("ipn:0.0").is_null
    assert Eid.parse("ipn:0.0.0").is_null
    assert Eid.parse("ipn:0.7") == Eid.parse("ipn:0.0")  # RFC 9758 §3.1
    assert not Eid.parse("ipn:1.0").is_null
    assert not Eid.parse("ipn:7.0.0").is_null
    assert Eid.NONE.node == Eid.NONE
    assert Eid.NONE.service == ""
    with pytest.raises(LocalError):
        Eid.NONE.with_service("files")
    with pytest.raises(LocalError):
        Eid.parse("ipn:0.0").with_service("1")


def test_local_node() -> None:
    eid = Eid.parse("ipn:!.7")
    assert IPN_LOCAL_NODE == 4_294_967_295  # RFC 9758 §3.4.2: 2^32-1
    assert eid == Eid(SCHEME_IPN, (0, IPN_LOCAL_NODE, 7))
    assert eid.is_local_node
    assert str(eid) == "ipn:!.7"
    assert not Eid.parse(f"ipn:1.{IPN_LOCAL_NODE}.7").is_local_node
    assert not Eid.parse("dtn://x/").is_local_node


def test_packed_node_number_in_text() -> None:
    assert str(Eid.parse(f"ipn:{977000 << 32 | 3}.1")) == "ipn:977000.3.1"


def test_services() -> None:
    assert Eid.parse("dtn://gs1/files/a").service == "files/a"
    assert Eid.parse("dtn://gs1/files").node == Eid.parse("dtn://gs1/")
    assert Eid.parse("ipn:977000.5.9").node == Eid.parse("ipn:977000.5.0")
    assert Eid.parse("ipn:5.0").with_service("70") == Eid.parse("ipn:5.70")
    for eid, service in (
        ("ipn:5.0", "files"),
        ("ipn:5.0", "1.2"),
        ("ipn:5.0", str(2**64)),
        ("dtn://gs1/", "a b"),
    ):
        with pytest.raises(LocalError, match="service"):
            Eid.parse(eid).with_service(service)


def test_allocator_and_node_numbers_have_32_bits() -> None:
    most = 2**32 - 1
    assert Eid(SCHEME_IPN, (most, most, 1)).ssp == (most, most, 1)
    for allocator, node in ((most + 1, 1), (1, most + 1), (0, most + 1), (-1, 1), (1, -1)):
        with pytest.raises(DecodeError, match="32 bits"):
            Eid(SCHEME_IPN, (allocator, node, 1))


def test_groups() -> None:
    assert Eid.parse("dtn://gs1/files").is_singleton
    assert not Eid.parse("dtn://gs1/~all").is_singleton
    assert Eid.parse("dtn://gs1/all~").is_singleton
    assert Eid.parse("dtn://g~s1/all").is_singleton
    assert Eid.parse("ipn:5.1").is_singleton
    assert Eid.NONE.is_singleton


def test_unknown_schemes_pass_through_but_have_no_parts() -> None:
    eid = Eid.parse("x-scheme:65536.a0")
    assert encode_eid(eid) == bytes.fromhex("821a00010000a0")
    assert (eid.node, eid.service, eid.is_null, eid.is_singleton) == (eid, "", False, True)
    with pytest.raises(LocalError):
        eid.with_service("x")
    for malformed in ("x-scheme:65536.ff", "x-scheme:65536.0000", "x-scheme:65536.19"):
        with pytest.raises(LocalError):
            encode_eid(Eid.parse(malformed))


def test_order_is_total_within_a_scheme() -> None:
    texts = ["dtn:none", "dtn://a/", "dtn://b/", "ipn:2.1", "ipn:10.1", "ipn:1.2.1"]
    ordered = sorted(Eid.parse(text) for text in reversed(texts))
    assert [str(eid) for eid in ordered] == [
        "dtn://a/",
        "dtn://b/",
        "dtn:none",
        "ipn:2.1",
        "ipn:10.1",
        "ipn:1.2.1",
    ]


def test_nobody_makes_up_eids_that_all_have_one_hash() -> None:
    """In the tables that remember EIDs each look-up of one of them would pass by all others."""
    numbers = [(1, 2, service * sys.hash_info.modulus + 3) for service in range(8)]
    assert len(set(map(hash, numbers))) == 1, "as tuples they have"
    assert len({hash(Eid(SCHEME_IPN, one)) for one in numbers}) == len(numbers)
