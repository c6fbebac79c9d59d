"""Bundles of other implementations and of RFC 9173 come out as they should."""

from __future__ import annotations

import pytest

from interop.vectors import Vector, load
from stack.core.errors import DecodeError
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    CRC_32,
    LENIENT,
    Mode,
    StatusReport,
    check_bundle,
    decode_admin,
    decode_block,
    decode_bundle,
    decode_eid,
    decode_primary,
    encode_bundle,
    parse_bundle_age,
    parse_previous_node,
    security_targets,
)

MISC = {f"{index} {vector.name}": vector for index, vector in enumerate(load("bpv7_misc"))}
BPSEC = [vector for vector in load("bpsec_rfc9173") if vector.kind == "bundle"]

BUNDLES_VALID = (
    "bp7 README.md",
    "bp7 tests/primary_tests.rs",
    "dtn7rs doc/http-client-api.md",
    "bplib bundle_with_too_many_canonical_blocks",  # too many for bplib's table, not for BPv7
    "bplib bundle_primary_and_payload_with_aa_x_20",
    "bplib primary_and_payload_with_crc_32",
    "BSL MockBPA codec",
    "demo-agent status report over TCPCLv4 from_demo_1.bin",
)
BUNDLES_INVALID = {
    "bplib CandPrimary": "RFC 9171 §4.1",  # a primary block alone
    "bplib UnsupportedFlagPrimaryBlk": "RFC 9171 §4.3.1",  # a fragment without fragment fields
    "HDTN BPv6 ion_bundle": "RFC 9171 §4.1",
    "demo-agent empty bundle": "RFC 8949 §3",
    "dtn7-gold fuzz crasher 0": "RFC 9171 §4.2.1",
    "dtn7-gold fuzz crasher 2": "RFC 9171 §4.3.1",
}
BLOCKS_VALID = ("bplib GoodAgeBlk", "bplib GoodPrevNodeBlk")
# bplib's tests replace the CRC function, so these carry CRCs of other content
BLOCKS_INVALID = ("bplib BadPayload", "bplib GoodHopCountBlk", "bplib UnknownBlk")


def _misc(*names: str) -> list[Vector]:
    return [vector for vector in MISC.values() if vector.name in names]


def _of_earlier_drafts() -> list[Vector]:
    return [vector for vector in MISC.values() if "PRE-RFC" in vector.expect]


def test_every_vector_has_a_verdict() -> None:
    judged = {*BUNDLES_VALID, *BUNDLES_INVALID, *BLOCKS_VALID, *BLOCKS_INVALID}
    judged |= {vector.name for vector in _of_earlier_drafts()}
    assert {vector.name for vector in MISC.values()} == judged


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("vector", _misc(*BUNDLES_VALID) + BPSEC, ids=lambda vector: vector.name)
def test_valid_bundles_decode_and_go_on_octet_for_octet(vector: Vector, mode: Mode) -> None:
    bundle, end = decode_bundle(vector.data, mode=mode)
    assert end == len(vector.data)
    assert encode_bundle(bundle) == vector.data


@pytest.mark.parametrize("vector", _misc(*BUNDLES_INVALID), ids=lambda vector: vector.name)
def test_invalid_bundles(vector: Vector) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_bundle(vector.data)
    assert caught.value.section == BUNDLES_INVALID[vector.name]
    with pytest.raises(DecodeError):
        decode_bundle(vector.data, mode=LENIENT)


@pytest.mark.parametrize("vector", _of_earlier_drafts(), ids=lambda vector: vector.name)
def test_encodings_of_earlier_drafts_are_refused(vector: Vector) -> None:
    # The ipn EID and the creation timestamp did not change between the draft and RFC 9171.
    for decode in (decode_bundle, decode_primary, decode_block):
        with pytest.raises(DecodeError):
            decode(vector.data)


def test_ipn_eid_of_earlier_drafts_is_the_same_now() -> None:
    (vector,) = _misc("bp7-rs sample: ipn scheme")
    assert str(decode_eid(vector.data)[0]) == "ipn:23.42"


@pytest.mark.parametrize("vector", _misc(*BLOCKS_VALID), ids=lambda vector: vector.name)
def test_valid_blocks(vector: Vector) -> None:
    block, end = decode_block(vector.data)
    assert end == len(vector.data)
    if vector.name == "bplib GoodAgeBlk":
        assert parse_bundle_age(block) == 0x1A5E0
    else:
        assert str(parse_previous_node(block)) == "ipn:300.2"


@pytest.mark.parametrize("vector", _misc(*BLOCKS_INVALID), ids=lambda vector: vector.name)
def test_blocks_whose_crc_is_of_something_else(vector: Vector) -> None:
    with pytest.raises(DecodeError, match="CRC does not match"):
        decode_block(vector.data)


def test_fields_of_a_bundle_of_bp7() -> None:
    bundle, _ = decode_bundle(_misc("bp7 README.md")[0].data)
    primary = bundle.primary
    assert str(primary.destination) == "dtn://node18/~tele"
    assert str(primary.source) == str(primary.report_to) == "dtn://node81/files"
    assert primary.creation_ms == 0x9E8D0DE538
    assert (primary.sequence, primary.lifetime_ms, primary.flags) == (0, 3_600_000, 0x20004)
    assert bytes(bundle.payload.data) == b"\x43ABC"  # bp7 wraps its payload in CBOR once more
    with pytest.raises(DecodeError) as caught:
        check_bundle(bundle)  # it has no CRC on its primary block
    assert caught.value.section == "RFC 9171 §4.3.1"


def test_status_report_of_the_demo_agent() -> None:
    (vector,) = _misc("demo-agent status report over TCPCLv4 from_demo_1.bin")
    bundle, _ = decode_bundle(vector.data)
    check_bundle(bundle)
    assert bundle.primary.crc_type == CRC_32
    report = decode_admin(bundle.payload.data)
    assert isinstance(report, StatusReport)
    assert report.received or report.forwarded or report.delivered or report.deleted
    assert not report.source.is_null


@pytest.mark.parametrize(
    ("name", "integrity", "confidentiality", "accepted"),
    [
        ("RFC9173-A.1 final bundle", [(1,)], [], False),
        ("RFC9173-A.2 final bundle", [], [(1,)], False),
        ("RFC9173-A.3 final bundle", [(0, 2)], [(1,)], True),
        ("RFC9173-A.4 final bundle", None, [(3, 1)], False),
    ],
)
def test_examples_of_rfc_9173(
    name: str,
    integrity: list[tuple[int, ...]] | None,
    confidentiality: list[tuple[int, ...]],
    accepted: bool,
) -> None:
    (vector,) = [vector for vector in BPSEC if vector.name == name]
    bundle, _ = decode_bundle(vector.data)
    targets: dict[int, list[tuple[int, ...]]] = {BLOCK_INTEGRITY: [], BLOCK_CONFIDENTIALITY: []}
    for block in bundle.blocks:
        if block.type == BLOCK_CONFIDENTIALITY or (
            block.type == BLOCK_INTEGRITY and integrity is not None
        ):
            targets[block.type].append(security_targets(block))
    assert targets == {BLOCK_INTEGRITY: integrity or [], BLOCK_CONFIDENTIALITY: confidentiality}
    if accepted:
        check_bundle(bundle)
    else:
        with pytest.raises(DecodeError):
            check_bundle(bundle)
