"""pyd3tn (the Python library of µD3TN) reads our bundles, and we read its."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stack.core.clock import DTN_EPOCH_UNIX_S
from stack.core.eid import Eid
from stack.wire.bundle import (
    BUNDLE_AGE,
    CRC_16,
    CRC_32,
    CRC_NONE,
    HOP_COUNT,
    IS_FRAGMENT,
    PREVIOUS_NODE,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    StatusReport,
    bundle_age,
    check_bundle,
    decode_admin,
    decode_bundle,
    encode_bundle,
    encode_status_report,
    hop_count,
    parse_bundle_age,
    parse_hop_count,
    parse_previous_node,
    previous_node,
)

pytestmark = pytest.mark.peer

bundle7: Any = pytest.importorskip("pyd3tn.bundle7")

EIDS = st.sampled_from(
    [
        "dtn://gs1.example/files",
        "dtn://sat-1/",
        "dtn://sat-1/a/long/demultiplexing/token/of/forty/octets",
        "ipn:5.1",
        "ipn:4294967294.70000",
        "dtn:none",
    ]
)
SECONDS = st.integers(1, 2_000_000_000)
# pyd3tn passes times through floating point, so whole seconds are what both sides can hold.


def _text(eid: Any) -> str:
    """pyd3tn keeps the list of an ipn EID that it reads; the text is the same."""
    return str(Eid.parse(str(eid)))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    destination=EIDS,
    source=EIDS.filter(lambda eid: eid != "dtn:none"),
    report_to=EIDS,
    created_s=SECONDS,
    sequence=st.integers(0, 1 << 40),
    payload=st.binary(max_size=300),
    crc_type=st.sampled_from([CRC_NONE, CRC_16, CRC_32]),
    primary_crc=st.sampled_from([CRC_16, CRC_32]),
    fragment=st.booleans(),
)
def test_pyd3tn_reads_ours(
    destination: str,
    source: str,
    report_to: str,
    created_s: int,
    sequence: int,
    payload: bytes,
    crc_type: int,
    primary_crc: int,
    fragment: bool,
) -> None:
    ours = Bundle(
        PrimaryBlock(
            Eid.parse(destination),
            Eid.parse(source),
            Eid.parse(report_to),
            created_s * 1000,
            sequence,
            3_600_000,
            IS_FRAGMENT if fragment else 0,
            primary_crc,
            7 if fragment else None,
            7 + len(payload) if fragment else None,
        ),
        (
            previous_node(Eid.parse(source).node, crc_type=crc_type),
            bundle_age(1234, crc_type=crc_type),
            hop_count(30, 2, crc_type=crc_type),
            CanonicalBlock(1, 1, 0, payload, crc_type),
        ),
    )
    encoded = encode_bundle(ours)
    theirs = bundle7.Bundle.parse(encoded)
    primary = theirs.primary_block
    assert [_text(primary.destination), _text(primary.source), _text(primary.report_to)] == [
        destination,
        source,
        report_to,
    ]
    assert primary.creation_time == [created_s * 1000, sequence] or tuple(
        primary.creation_time
    ) == (created_s * 1000, sequence)
    assert primary.lifetime == 3_600_000
    assert bool(theirs.is_fragmented) == fragment
    if fragment:
        assert primary.fragment_offset == 7
        assert primary.total_payload_length == 7 + len(payload)
    assert primary.crc_provided == primary.calculate_crc()
    for block in (*theirs.blocks, theirs.payload_block):
        assert block.crc_type == crc_type
        if crc_type:
            assert block.crc_provided == block.calculate_crc()
    assert [block.block_type for block in theirs.blocks] == [6, 7, 10]
    assert [cbor2.loads(block.data) for block in theirs.blocks[1:]] == [1234, [30, 2]]
    assert theirs.payload_block.data == payload


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    destination=EIDS,
    source=EIDS.filter(lambda eid: eid != "dtn:none"),
    created_s=SECONDS,
    payload=st.binary(max_size=300),
    crc_type=st.sampled_from([CRC_NONE, CRC_16, CRC_32]),
    primary_crc=st.sampled_from([CRC_16, CRC_32]),
    fragment=st.booleans(),
)
def test_we_read_what_pyd3tn_makes(
    destination: str,
    source: str,
    created_s: int,
    payload: bytes,
    crc_type: int,
    primary_crc: int,
    fragment: bool,
) -> None:
    payload = payload or bytes(fragment)  # an empty fragment is none
    encoded: bytes = bundle7.serialize_bundle7(
        source,
        destination,
        payload,
        report_to_eid=source,
        crc_type_primary=bundle7.CRCType(primary_crc),
        crc_type_canonical=bundle7.CRCType(crc_type),
        creation_timestamp=created_s + DTN_EPOCH_UNIX_S,
        sequence_number=42,
        lifetime=60,
        flags=bundle7.BundleProcFlag(IS_FRAGMENT if fragment else 0),
        fragment_offset=11 if fragment else None,
        total_adu_length=12 + len(payload) if fragment else None,
        hop_limit=20,
        hop_count=3,
        bundle_age=5,
        previous_node_eid="dtn://relay/",
    )
    bundle, end = decode_bundle(encoded)
    assert end == len(encoded)
    check_bundle(bundle)
    primary = bundle.primary
    assert (str(primary.destination), str(primary.source)) == (destination, source)
    assert primary.report_to == primary.source
    assert (primary.creation_ms, primary.sequence) == (created_s * 1000, 42)
    assert (primary.lifetime_ms, primary.crc_type) == (60_000, primary_crc)
    assert primary.fragment_offset == (11 if fragment else None)
    blocks = {block.type: block for block in bundle.blocks}
    assert str(parse_previous_node(blocks[PREVIOUS_NODE])) == "dtn://relay/"
    assert parse_bundle_age(blocks[BUNDLE_AGE]) == 5000
    assert parse_hop_count(blocks[HOP_COUNT]) == (20, 3)
    assert bundle.payload.data == payload
    assert encode_bundle(bundle) == encoded


def test_status_reports_both_ways() -> None:
    ours = StatusReport(
        Eid.parse("ipn:5.1"), 850_000_000_000, 3, delivered=True, time_ms=850_000_001_000, reason=0
    )
    record = bundle7.Bundle.parse_administrative_record(encode_status_report(ours))
    assert record["record_type"] == 1
    status, reason, source, timestamp = record["record_data"]
    assert status == [[False], [False], [True, 850_000_001_000], [False]]
    assert (reason, _text(source), timestamp) == (0, "ipn:5.1", [850_000_000_000, 3])
    theirs = bundle7.BundleStatusReport(
        infos=bundle7.StatusCode.DELETED_BUNDLE,
        reason=bundle7.ReasonCode.HOP_LIMIT_EXCEEDED,
        source=bundle7.EID("dtn://sat-1/x"),
        creation_time=bundle7.CreationTimestamp(1000 + DTN_EPOCH_UNIX_S, 7),
        fragment_offset=5,
        total_payload_length=6,
    )
    assert decode_admin(theirs.data) == StatusReport(
        Eid.parse("dtn://sat-1/x"),
        1_000_000,
        7,
        deleted=True,
        reason=9,
        fragment_offset=5,
        fragment_length=6,
    )
