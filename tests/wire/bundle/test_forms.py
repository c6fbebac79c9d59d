"""Legal forms other than ours: read in both modes, and sent on octet for octet (RFC 9171 §4.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.strategies import mutated
from interop.strategies.bundle import status_reports
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.wire import cbor
from stack.wire.asb import SecurityBlock, decode_asb, encode_asb
from stack.wire.bundle import (
    BLOCK_INTEGRITY,
    CRC_16,
    CRC_32,
    CRC_NONE,
    HOP_COUNT,
    IS_FRAGMENT,
    LENIENT,
    PREVIOUS_NODE,
    Bundle,
    CanonicalBlock,
    Mode,
    PrimaryBlock,
    StatusReport,
    adu_key,
    bundle_key,
    check_bundle,
    decode_admin,
    decode_block,
    decode_bundle,
    decode_eid,
    decode_primary,
    encode_bundle,
    encode_eid,
    encode_primary,
    encode_status_report,
    fragment_bundle,
    identity,
    parse_hop_count,
    parse_previous_node,
    reassemble,
    security_targets,
)
from tests.strategies.forms import loose, loose_bundles, loose_eids
from tests.wire.bundle import reference

DATA = Path(__file__).parents[1] / "data"
THREE = bytes.fromhex("820283000501")  # ipn:5.1 in three elements
GS1 = Eid.parse("dtn://gs1/files")


def _bundle(data: str, mode: Mode = Mode.STRICT) -> Bundle:
    octets = bytes.fromhex((DATA / data).read_text())
    bundle, end = decode_bundle(octets, mode=mode)
    assert end == len(octets)
    assert encode_bundle(bundle) == octets
    check_bundle(bundle)
    return bundle


@pytest.mark.parametrize("mode", Mode)
def test_blocks_and_hop_counts_of_indefinite_length(mode: Mode) -> None:
    assert bytes(_bundle("block-indef.hex", mode).payload.data) == b"hello"
    hops = _bundle("hop-indef.hex", mode).block(HOP_COUNT)
    assert hops is not None
    assert parse_hop_count(hops) == (5, 0)


@pytest.mark.slow
@given(loose_bundles(), st.binary(max_size=3), st.sampled_from(Mode))
def test_any_legal_form_is_read_and_goes_out_as_it_came(
    drawn: tuple[Bundle, bytes], rest: bytes, mode: Mode
) -> None:
    expected, encoded = drawn
    bundle, end = decode_bundle(rest + encoded + rest, offset=len(rest), mode=mode)
    assert end == len(rest) + len(encoded)
    assert bundle == expected
    assert encode_bundle(bundle) == encoded
    assert bundle_key(bundle.primary, 1) == bundle_key(expected.primary, 1)
    assert decode_primary(encode_primary(bundle.primary), mode=mode)[0] == expected.primary
    for block in bundle.blocks:
        assert block.encoded is not None
        assert decode_block(block.encoded, mode=mode)[0] == block
        if block.type == HOP_COUNT:
            assert parse_hop_count(block) == tuple(cbor2.loads(block.data))
        elif block.type == PREVIOUS_NODE:
            assert parse_previous_node(block) == decode_eid(cbor2.dumps(cbor2.loads(block.data)))[0]


@pytest.mark.slow
@given(mutated(loose_bundles().map(lambda drawn: drawn[1])), st.sampled_from(Mode))
def test_damaged_forms_raise_only_decode_errors(data: bytes, mode: Mode) -> None:
    try:
        bundle, end = decode_bundle(data, mode=mode)
    except DecodeError:
        return
    assert encode_bundle(bundle) == data[:end]


@pytest.mark.slow
@given(loose_bundles(), st.data())
def test_every_octet_of_a_block_with_a_crc_counts(
    drawn: tuple[Bundle, bytes], data: st.DataObject
) -> None:
    octets = bytearray(decode_bundle(drawn[1])[0].primary.encoded or b"")
    bit = data.draw(st.integers(0, 8 * len(octets) - 1))
    octets[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DecodeError):
        decode_primary(octets)


@pytest.mark.parametrize("crc_type", [CRC_NONE, CRC_16, CRC_32])
def test_an_array_of_indefinite_length_has_its_number_of_items(crc_type: int) -> None:
    block = CanonicalBlock(1, 1, 0, b"data", crc_type)
    primary = PrimaryBlock(GS1, GS1, GS1, 1, 1, 1, 0, crc_type)
    octets = reference.encode_block(block, _open_outside)
    assert decode_block(octets)[0] == block
    for more in (b"\x00\xff", b""):
        with pytest.raises(DecodeError):
            decode_block(octets[:-1] + more)
    octets = reference.encode_primary(primary, _open_outside)
    assert decode_primary(octets)[0] == primary
    for more in (b"\x00\xff", b""):
        with pytest.raises(DecodeError):
            decode_primary(octets[:-1] + more)


def _open_outside(item: Any) -> bytes:
    return b"\x9f" + b"".join(reference.canonical(part) for part in item) + b"\xff"


def test_block_data_and_crcs_have_a_definite_length() -> None:
    # RFC 9171 §4.3.2: "not of indefinite length"; §4.2.1: additional information 2 or 4
    for octets in ("8501010000" + "5f4161ff", "8601010001" + "4161" + "5f420000ff"):
        for mode in Mode:
            with pytest.raises(DecodeError):
                decode_block(bytes.fromhex(octets), mode=mode)


# ---- endpoint identifiers ------------------------------------------------------------------


@given(loose_eids(), st.binary(max_size=3), st.booleans())
def test_an_eid_is_the_same_whatever_its_form(
    drawn: tuple[Eid, bytes], rest: bytes, strict: bool
) -> None:
    expected, octets = drawn
    eid, end = decode_eid(rest + octets + rest, len(rest), strict=strict)
    assert end == len(rest) + len(octets)
    assert (eid, hash(eid), str(eid)) == (expected, hash(expected), str(expected))
    assert {eid: 1}[expected] == 1
    assert encode_eid(eid) == octets
    assert encode_eid(expected) == reference.canonical(reference.eid_item(expected))
    keys = set()
    for source in (eid, expected):
        identity._source_digest.cache_clear()  # what is remembered must not hide a difference
        keys.add(adu_key(PrimaryBlock(GS1, source, GS1, 1, 1, 1)))
    assert len(keys) == 1
    assert encode_eid(eid.node) == encode_eid(expected.node)  # what is derived is in our form
    for cut in range(len(octets)):
        with pytest.raises(DecodeError):
            decode_eid(octets[:cut], strict=strict)


def test_forms_that_are_not_legal_are_not_handed_on_by_new_blocks() -> None:
    eid, _ = decode_eid(bytes.fromhex("8202821900051801"), strict=False)
    assert encode_eid(eid) == bytes.fromhex("8202820501")


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        ("8201672f2f6e7e312f61", "dtn://n~1/a"),
        ("8201672f2f612b622f78", "dtn://a+b/x"),
        ("8201692f2f6e253230612f78", "dtn://n%20a/x"),
    ],
)
def test_node_names_are_reg_names(octets: str, text: str) -> None:
    eid, end = decode_eid(bytes.fromhex(octets))
    assert (str(eid), end) == (text, len(octets) // 2)
    assert Eid.parse(text) == eid
    assert eid.node.with_service(eid.service) == eid


@pytest.mark.parametrize(
    "name", ["n%2/a", "n%zz/a", "n%/a", "a:1/x", "a@b/x", "[::1]/x", "n\xe9/x"]
)
def test_node_names_that_are_no_reg_name(name: str) -> None:
    with pytest.raises(DecodeError):
        Eid.parse(f"dtn://{name}")


@pytest.mark.parametrize(
    "octets", ["9f01ff", "9f010000ff", "9f0100", "830100ff", "9fff", "9f0200ff"]
)
def test_indefinite_arrays_that_are_no_eid(octets: str) -> None:
    for strict in (True, False):
        with pytest.raises(DecodeError):
            decode_eid(bytes.fromhex(octets), strict=strict)


def test_an_unknown_scheme_keeps_its_item_as_it_came() -> None:
    for octets in (
        "9f190fff9f0102ffff",
        "82190fff9f0102ff",
        "82190fff7f6161ff",
        "82190fffbf0102ff",
    ):
        eid, _ = decode_eid(bytes.fromhex(octets))
        assert encode_eid(eid) == bytes.fromhex(octets)
        assert Eid.parse(str(eid)) == eid


@pytest.mark.parametrize("octets", ["8202821affffffff07", "820283001affffffff07"])
def test_the_local_node_of_another_node_is_nobody(octets: str) -> None:
    # RFC 9758 §3.4.2: neither destination nor source nor report-to of what comes from outside
    for strict in (True, False):
        with pytest.raises(DecodeError, match="local node") as caught:
            decode_eid(bytes.fromhex(octets), strict=strict)
        assert caught.value.section == "RFC 9758 §3.4.2"
    local = Eid.parse("ipn:!.7")
    for eids in ((local, GS1, GS1), (GS1, local, GS1), (GS1, GS1, local)):
        with pytest.raises(LocalError, match="own node only"):
            encode_primary(PrimaryBlock(*eids, 1, 1, 1))


# ---- the paths that encode again -----------------------------------------------------------


def _damaged_free_fragments(bundle: Bundle, size: int) -> list[Bundle]:
    return [decode_bundle(encode_bundle(part))[0] for part in fragment_bundle(bundle, size)]


@pytest.mark.slow
@given(loose_bundles(whole=True, payload_min=100), st.integers(0, 60), st.booleans())
def test_the_primary_block_comes_back_from_its_fragments_octet_for_octet(
    drawn: tuple[Bundle, bytes], slack: int, twice: bool
) -> None:
    bundle = decode_bundle(drawn[1])[0]
    limit = len(drawn[1]) - len(bundle.payload.data) + 2 * 9 + 3 + slack
    fragments = _damaged_free_fragments(bundle, limit)
    assert len(fragments) > 1
    if twice:
        fragments = [part for piece in fragments for part in _damaged_free_fragments(piece, limit)]
    whole = reassemble(fragments[::-1])
    assert encode_primary(whole.primary) == bundle.primary.encoded
    assert whole == bundle
    for fragment in fragments[1:]:
        assert encode_eid(fragment.primary.source) == encode_eid(bundle.primary.source)


@pytest.mark.slow
@given(loose_bundles(whole=True, payload_min=100), st.sampled_from([1, 2, 4, 8]))
def test_so_it_does_in_forms_that_only_lenient_reading_takes(
    drawn: tuple[Bundle, bytes], slack: int
) -> None:
    encoded = reference.encode(drawn[0], reference.wide)
    bundle = decode_bundle(encoded, mode=LENIENT)[0]
    fragments = fragment_bundle(bundle, len(encoded) - len(bundle.payload.data) + 30 + slack)
    read = [decode_bundle(encode_bundle(part), mode=LENIENT)[0] for part in fragments]
    assert len(read) > 1
    assert encode_primary(reassemble(read).primary) == bundle.primary.encoded


@pytest.mark.parametrize("crc_type", [CRC_16, CRC_32])
def test_an_ipn_source_of_three_elements_survives_fragmentation(crc_type: int) -> None:
    source = decode_eid(THREE)[0]
    primary = PrimaryBlock(GS1, source, source, 850_000_000_000, 1, 1000, 0, crc_type)
    bundle = Bundle(primary, (CanonicalBlock(1, 1, 0, bytes(500)),))
    assert encode_primary(primary).count(THREE) == 2
    fragments = _damaged_free_fragments(bundle, 200)
    assert len(fragments) > 2
    assert all(encode_primary(part.primary).count(THREE) == 2 for part in fragments)
    assert all(part.primary.flags & IS_FRAGMENT for part in fragments)
    assert encode_primary(reassemble(fragments).primary) == encode_primary(primary)


# ---- contents ------------------------------------------------------------------------------


@pytest.mark.slow
@given(status_reports(), st.data())
def test_status_reports_in_any_form(report: StatusReport, data: st.DataObject) -> None:
    report_octets = encode_status_report(report)
    octets = data.draw(loose(cbor2.loads(report_octets)))
    assert decode_admin(octets) == report
    for cut in range(len(octets)):
        with pytest.raises(DecodeError):
            decode_admin(octets[:cut])


def test_a_status_report_names_the_source_as_the_bundle_did() -> None:
    report = StatusReport(decode_eid(THREE)[0], 1, 2, received=True)
    assert THREE in encode_status_report(report)
    read = decode_admin(encode_status_report(report))
    assert isinstance(read, StatusReport)
    assert encode_eid(read.source) == THREE


def test_records_of_other_types_keep_their_octets() -> None:
    record = decode_admin(bytes.fromhex("821841bf0102ff"))
    assert not isinstance(record, StatusReport)
    assert record.content == bytes.fromhex("bf0102ff")


@given(st.data())
def test_security_blocks_in_any_form(data: st.DataObject) -> None:
    block = SecurityBlock((1, 2), 1, GS1, ((1, 5), (3, b"x")), (((1, b"mac"),), ()))
    items = cbor2.loads(b"\x9f" + encode_asb(block) + b"\xff")
    octets = b"".join(data.draw(loose(item)) for item in items)
    assert decode_asb(octets) == block
    assert security_targets(CanonicalBlock(BLOCK_INTEGRITY, 2, 0, octets)) == (1, 2)
    for cut in range(len(octets)):
        with pytest.raises(DecodeError):
            decode_asb(octets[:cut])


def test_contents_of_indefinite_length_are_bounded() -> None:
    endless = b"\x9f" + b"\x9f\xff" * cbor.ITEMS_MAX + b"\xff"
    for read in (decode_admin, decode_asb, decode_eid):
        with pytest.raises(DecodeError):
            read(endless)
    with pytest.raises(DecodeError):
        security_targets(CanonicalBlock(BLOCK_INTEGRITY, 2, 0, endless))
    with pytest.raises(DecodeError):
        parse_hop_count(CanonicalBlock(HOP_COUNT, 2, 0, endless))
