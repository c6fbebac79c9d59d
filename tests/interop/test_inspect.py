"""Dissection: right about what is right, right about where it breaks, and never raising."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.inspect import KINDS, Tree, dissect
from interop.inspect.bundle import DEPTH_MAX
from interop.inspect.tree import NODES_MAX
from interop.strategies import mutated
from interop.strategies.bundle import bundles, status_reports
from interop.strategies.ltp import encoded_segments, segments
from interop.vectors import load
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.wire.bundle import (
    CRC_16,
    CRC_32,
    HOP_COUNT,
    IS_ADMIN,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    StatusReport,
    bundle_age,
    check_bundle,
    decode_bundle,
    decode_eid,
    encode_bibe_pdu,
    encode_bundle,
    encode_status_report,
    hop_count,
    parse_hop_count,
    previous_node,
    priority_block,
)
from stack.wire.fecframe import PayloadId, encode_payload_id
from stack.wire.ltp import (
    Claim,
    DataSegment,
    Extension,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
    decode_segment,
    encode_segment,
)
from tests.strategies.forms import loose_bundles

GROUND = Eid.parse("dtn://gs1/files")
SATELLITE = Eid.parse("ipn:977000.5.3")
SESSION = SessionId(7, 9)


def sample(payload: bytes = b"hello", *, crc: int = CRC_32, flags: int = 0x40024) -> Bundle:
    primary = PrimaryBlock(SATELLITE, GROUND, Eid.NONE, 820_540_800_000, 3, 7_200_000, flags, crc)
    return Bundle(
        primary,
        (
            previous_node(GROUND.node, crc_type=crc),
            bundle_age(1500, crc_type=crc),
            hop_count(30, 2, crc_type=crc),
            priority_block(4, crc_type=crc),
            CanonicalBlock(77, 9, 0x11 if flags & IS_ADMIN else 0x13, b"\x00\xff", crc),
            CanonicalBlock(1, 1, 0, payload, crc),
        ),
    )


def said(tree: Tree | None, label: str) -> int | str:
    assert tree is not None
    found = tree.find(label)
    assert found is not None, label
    return found.value


def block(tree: Tree, name: str) -> Tree:
    (found,) = [each for each in tree.walk() if each.label == "block" and each.value == name]
    return found


def crcs(tree: Tree) -> list[str]:
    return [each.status for each in tree.walk() if each.label == "CRC"]


def check_shape(tree: Tree, size: int) -> None:
    """Every entry lies within the one above it, after the one before it."""
    assert 0 <= tree.offset <= tree.offset + tree.length <= size
    at = tree.offset
    for child in tree.children:
        if child.status == "error":
            assert tree.offset <= child.offset <= size
            continue
        assert at <= child.offset
        at = child.offset + child.length
        assert at <= tree.offset + tree.length
        check_shape(child, size)


# ---------------------------------------------------------------------------------- bundles


@pytest.mark.parametrize("crc", [0, CRC_16, CRC_32])
def test_every_field_of_a_bundle(crc: int) -> None:
    encoded = encode_bundle(sample(crc=crc))
    tree = dissect(encoded)
    check_shape(tree, len(encoded))
    primary = tree.find("bundle", "primary block")
    assert primary is not None
    assert said(primary, "destination") == "ipn:977000.5.3"
    assert said(primary, "source") == "dtn://gs1/files"
    assert said(primary, "report to") == "dtn:none"
    assert said(primary, "lifetime") == 7_200_000
    assert said(primary, "sequence number") == 3
    time = primary.find("DTN time")
    assert time is not None
    assert (time.value, time.note) == (820_540_800_000, "2026-01-01T00:00:00.000Z")
    flags = primary.find("processing control flags")
    assert flags is not None
    assert flags.note == (
        "must not be fragmented, acknowledgement by the application requested, report deletion"
    )
    assert said(block(tree, "previous node"), "forwarded by") == "dtn://gs1/"
    assert said(block(tree, "bundle age"), "age") == 1500
    assert (said(block(tree, "hop count"), "limit"), said(block(tree, "hop count"), "count")) == (
        30,
        2,
    )
    assert said(block(tree, "priority (private use)"), "priority") == 4
    unknown = block(tree, "type 77")
    assert said(unknown, "octets") == "00ff"
    unknown_flags = unknown.find("processing control flags")
    assert unknown_flags is not None
    assert unknown_flags.note == (
        "replicate in every fragment, report if not processed, discard if not processed"
    )
    payload = block(tree, "payload").find("octets")
    assert payload is not None
    assert (payload.value, payload.note) == ("68656c6c6f", "5 octets: 'hello'")
    assert encoded[payload.offset : payload.offset + payload.length] == b"hello"
    assert crcs(tree) == ["ok" if crc else "none"] * 7
    verdict = tree.find("verdict")
    assert verdict is not None
    assert verdict.status == ("ok" if crc else "wrong")  # RFC 9171 §4.3.1: CRC or BIB


def test_status_report_in_words() -> None:
    report = StatusReport(
        GROUND, 820_540_800_000, 3, deleted=True, time_ms=820_540_801_000, reason=1
    )
    tree = dissect(encode_bundle(sample(encode_status_report(report), flags=IS_ADMIN)))
    record = tree.find("status report")
    assert record is not None
    assert said(record, "deleted") == "yes"
    assert said(record, "received") == "no"
    assert said(record, "source of the bundle") == "dtn://gs1/files"
    reason = record.find("reason")
    assert reason is not None
    assert reason.note == "lifetime expired"
    time = record.find("deleted", "time")
    assert time is not None
    assert time.note == "2026-01-01T00:00:01.000Z"
    assert not tree.errors


def carried(depth: int) -> bytes:
    """A bundle within `depth` others."""
    octets = encode_bundle(sample(b"innermost"))
    for _ in range(depth):
        octets = encode_bundle(sample(encode_bibe_pdu(octets), flags=IS_ADMIN))
    return octets


@pytest.mark.parametrize("kind", [3, 7])
def test_a_bundle_within_a_bundle(kind: int) -> None:
    """By the record type of the draft, and by that of its first versions."""
    record = bytearray(encode_bibe_pdu(encode_bundle(sample())))
    record[1] = kind
    encoded = encode_bundle(sample(bytes(record), flags=IS_ADMIN))
    tree = dissect(encoded)
    check_shape(tree, len(encoded))
    assert said(tree, "record type") == kind
    within = tree.find("encapsulated bundle")
    assert within is not None
    assert said(within.find("bundle", "primary block"), "source") == "dtn://gs1/files"
    assert said(within, "priority") == 4
    assert crcs(within) == ["ok"] * len(crcs(within))


def test_what_is_wrong_within_a_bundle_is_told_there() -> None:
    inner = bytearray(encode_bundle(sample()))
    inner[-4] ^= 1
    tree = dissect(encode_bundle(sample(encode_bibe_pdu(inner), flags=IS_ADMIN, crc=0)))
    within = tree.find("encapsulated bundle")
    assert within is not None
    assert "wrong" in crcs(within)


@pytest.mark.parametrize(
    ("depth", "shown"), [(DEPTH_MAX, True), (DEPTH_MAX + 1, False), (300, False)]
)
def test_bundles_within_one_another_are_shown_to_a_depth(depth: int, shown: bool) -> None:
    encoded = carried(depth)
    tree = dissect(encoded)
    check_shape(tree, len(encoded))
    assert (b"innermost".hex() in [each.value for each in tree.walk()]) == shown


@given(status_reports())
def test_any_status_report(report: StatusReport) -> None:
    tree = dissect(encode_bundle(sample(encode_status_report(report), flags=IS_ADMIN)))
    assert not tree.errors
    found = tree.find("status report")
    assert said(found, "source of the bundle") == str(report.source)
    flags = [said(found, name) for name in ("received", "forwarded", "delivered", "deleted")]
    expected = (report.received, report.forwarded, report.delivered, report.deleted)
    assert flags == ["yes" if flag else "no" for flag in expected]


@pytest.mark.slow
@given(bundles())
def test_any_bundle(bundle: Bundle) -> None:
    encoded = encode_bundle(bundle)
    tree = dissect(encoded, "bundle")
    check_shape(tree, len(encoded))
    primary = tree.find("primary block")
    assert primary is not None
    assert not primary.errors
    for label in ("destination", "source", "report to"):
        found = primary.find(label)
        assert found is not None
        eid, end = decode_eid(encoded, found.offset)
        assert (str(eid), end) == (found.value, found.offset + found.length)
    found_blocks = [each for each in tree.walk() if each.label == "block"]
    blocks = [each for each in found_blocks if each.find("CRC type") is not None]
    assert [said(each, "type") for each in blocks] == [each.type for each in bundle.blocks]
    assert [said(each, "number") for each in blocks] == [each.number for each in bundle.blocks]
    assert said(primary, "CRC")
    assert "wrong" not in crcs(tree)
    for each, original in zip(blocks, bundle.blocks, strict=True):
        data = each.find("data")
        assert data is not None
        assert encoded[data.offset : data.offset + data.length] == bytes(original.data)
    verdict = tree.find("bundle", "verdict")
    assert verdict is not None
    broken = ""
    try:
        check_bundle(decode_bundle(encoded)[0])
    except DecodeError as error:
        broken = error.section
    assert verdict.section == broken
    assert verdict.status == ("wrong" if broken else "ok")


@pytest.mark.slow
@given(loose_bundles())
def test_any_bundle_in_any_legal_form(drawn: tuple[Bundle, bytes]) -> None:
    bundle, encoded = drawn
    tree = dissect(encoded, "bundle")
    check_shape(tree, len(encoded))
    assert "wrong" not in crcs(tree)
    primary = tree.find("primary block")
    assert primary is not None
    assert not primary.errors
    found = [each for each in tree.walk() if each.label == "block" and each.find("CRC type")]
    assert [said(each, "number") for each in found] == [each.number for each in bundle.blocks]
    for each, block in zip(found, bundle.blocks, strict=True):
        if block.type == HOP_COUNT and "encrypted" not in str(each):
            assert said(each, "limit") == parse_hop_count(block)[0]


@given(st.data())
def test_an_altered_octet_is_a_wrong_crc_of_its_own_block_only(data: st.DataObject) -> None:
    encoded = bytearray(encode_bundle(sample(bytes(30))))
    at = encoded.index(bytes(30)) + data.draw(st.integers(0, 29))
    encoded[at] ^= data.draw(st.integers(1, 255))
    tree = dissect(bytes(encoded))
    assert crcs(tree) == ["ok"] * 6 + ["wrong"]
    (verdict,) = [each for each in tree.walk() if each.label == "verdict"]
    assert (verdict.status, verdict.value) == ("wrong", "CRC does not match")
    assert {each.label for each in tree.errors} == {"CRC", "verdict"}


def test_everything_before_the_break_is_there() -> None:
    encoded = encode_bundle(sample())
    whole = dissect(encoded)
    leaves = [tree for tree in whole.walk() if not tree.children and tree.length]
    for size in range(len(encoded)):
        tree = dissect(encoded[:size], "bundle")
        check_shape(tree, size)
        assert [each.status for each in tree.errors].count("error") == 1
        (error,) = [each for each in tree.errors if each.status == "error"]
        assert error.value
        assert error.section
        assert error.offset <= size
        shown = [(each.label, each.offset, each.value) for each in tree.walk()]
        for leaf in leaves:
            # of a block's data, what is whole is shown when all of the data have come
            if leaf.offset + leaf.length <= min(size, 42):
                assert (leaf.label, leaf.offset, leaf.value) in shown


def test_a_bad_block_does_not_hide_the_next() -> None:
    bundle = sample()
    blocks = list(bundle.blocks)
    blocks[2] = dataclasses.replace(blocks[2], data=b"\x82\x18")  # a hop count cut short
    encoded = encode_bundle(Bundle(bundle.primary, tuple(blocks)))
    tree = dissect(encoded)
    (error,) = tree.errors
    assert error.status == "error"
    assert error.section == "RFC 8949 §3"
    assert encoded[error.offset - 1 : error.offset + 1] == b"\x82\x18"
    assert said(block(tree, "payload"), "octets") == b"hello".hex()
    verdict = tree.find("verdict")
    assert verdict is not None
    assert verdict.value == "well-formed, but a block's content is not"


def test_forms_that_only_lenient_readers_take_are_named() -> None:
    encoded = bytearray(encode_bundle(sample(crc=0)))
    assert encoded[2] == 7
    encoded[2:3] = b"\x18\x07"
    tree = dissect(bytes(encoded))
    version = tree.find("version")
    assert version is not None
    assert (version.value, version.note) == (7, "not in its shortest form")
    assert said(tree, "verdict") == "CBOR argument not in its shortest form"


def test_several_bundles_on_end_and_rubbish_after_them() -> None:
    encoded = encode_bundle(sample())
    tree = dissect(encoded * 3 + b"\x00\x01")
    assert [child.label for child in tree.children] == ["bundle"] * 3 + ["error"]
    assert tree.children[-1].value == "2 octets left over"
    assert tree.children[-1].offset == 3 * len(encoded)


BPSEC = {vector.name: vector.data for vector in load("bpsec_rfc9173") if vector.kind == "bundle"}


def test_security_blocks_in_words() -> None:
    """RFC 9173 §A.3: a BIB over primary and bundle age, a BCB over the payload."""
    tree = dissect(BPSEC["RFC9173-A.3 final bundle"])
    assert not tree.errors
    bib, bcb = block(tree, "block integrity (BIB)"), block(tree, "block confidentiality (BCB)")
    context = bib.find("security context")
    assert context is not None
    assert (context.value, context.note) == (1, "BIB-HMAC-SHA2")
    assert said(bib, "security source") == "ipn:3.0"
    assert [each.value for each in bib.walk() if each.label == "block" and each.note != ""] == [0]
    assert [each.value for each in bib.walk() if each.label == "parameter"] == [
        "SHA variant",
        "integrity scope flags",
    ]
    notes = [each.note for each in bib.walk() if each.label == "value"]
    assert notes == ["HMAC 256/256", "target only", "32 octets", "32 octets"]
    assert [each.value for each in bcb.walk() if each.label == "parameter"] == [
        "initialization vector",
        "AES variant",
        "AAD scope flags",
    ]
    values = [each.value for each in bcb.walk() if each.label == "value"]
    assert values[0] == "5477656c7665313231323132"
    assert values[-1] == "efa4b5ac0108e3816c5606479801bc04"
    data = block(tree, "payload").find("data")
    assert data is not None
    assert data.note == "encrypted by block 4"


@pytest.mark.parametrize("name", BPSEC)
def test_examples_of_rfc_9173(name: str) -> None:
    tree = dissect(BPSEC[name])
    check_shape(tree, len(BPSEC[name]))
    assert [each.label for each in tree.errors if each.status == "error"] == []


def test_blocks_of_the_cose_context_in_words() -> None:
    vectors = {vector.name: vector.data for vector in load("bpsec_cose")}
    for name, kind, result in (
        ("COSE_Sign1, P-384", "block integrity (BIB)", "COSE_Sign1"),
        ("COSE_Encrypt, A256KW", "block confidentiality (BCB)", "COSE_Encrypt"),
    ):
        tree = dissect(vectors[name])
        assert not tree.errors
        found = block(tree, kind)
        context = found.find("security context")
        assert context is not None
        assert (context.value, context.note) == (3, "COSE")
        assert said(found, "parameter") == "AAD scope"
        assert said(found, "result") == result


# -------------------------------------------------------------------------------------- LTP


@pytest.mark.parametrize(
    ("octets", "named"),
    [
        (b"\xc0key-", (192, "AES-GMAC, private to Orbitferry")),
        (b"\0", (0, "HMAC-SHA1-80")),
        (b"\x80", (128, "unassigned")),
    ],
)
def test_the_ciphersuite_of_a_signed_segment_is_named(
    octets: bytes, named: tuple[int, str]
) -> None:
    header, trailer = (Extension(0, octets), Extension(1, b"c")), (Extension(0, bytes(20)),)
    encoded = encode_segment(
        ReportAck(session=SessionId(1, 2), report_serial=3, header=header, trailer=trailer)
    )
    tree = dissect(encoded, "ltp")
    check_shape(tree, len(encoded))
    assert not tree.errors
    [suite] = [each for each in tree.walk() if each.label == "ciphersuite"]
    assert (suite.value, suite.note) == named
    assert [each.length for each in tree.walk() if each.label == "KeyID"] == [len(octets) - 1]


@given(segments())
def test_any_segment(segment: Segment) -> None:
    encoded = encode_segment(segment)
    tree = dissect(encoded, "ltp")
    check_shape(tree, len(encoded))
    found = tree.find("LTP segment")
    assert found is not None
    assert said(found, "session") == str(segment.session)
    assert said(found, "originating engine") == segment.session.engine
    labels = [each.label for each in found.walk()]
    assert labels.count("header extension") == len(segment.header)
    assert labels.count("trailer extension") == len(segment.trailer)
    if isinstance(segment, ReportSegment):
        claims = [
            (said(each, "offset"), said(each, "length"))
            for each in found.walk()
            if each.label == "claim"
        ]
        assert claims == list(segment.claims)
        assert not tree.errors
    if isinstance(segment, DataSegment):
        data = found.find("data")
        assert data is not None
        assert encoded[data.offset : data.offset + data.length] == bytes(segment.data)


def test_a_report_in_words() -> None:
    report = ReportSegment(
        session=SESSION,
        report_serial=5,
        checkpoint_serial=0,
        upper=2000,
        lower=1000,
        claims=(Claim(0, 100), Claim(500, 500)),
    )
    tree = dissect(encode_segment(report))
    claims = [each.value for each in tree.walk() if each.label == "claim"]
    assert claims == ["octets 1000 to 1100", "octets 1500 to 2000"]
    asynchronous = tree.find("checkpoint serial number")
    assert asynchronous is not None
    assert asynchronous.note == "asynchronous report"


def ltp_data(data: bytes, **fields: int) -> bytes:
    base = {"kind": SegmentType.RED_END_BLOCK, "client_service": 1, "offset": 0}
    base |= {"checkpoint_serial": 3} if fields.get("kind", 3) in (1, 2, 3) else {}
    merged = {**base, **fields}
    merged["kind"] = SegmentType(merged["kind"])
    return encode_segment(DataSegment(session=SESSION, data=data, **merged))  # type: ignore[arg-type]


BUNDLE = encode_bundle(sample())


def test_bundles_in_a_whole_block() -> None:
    tree = dissect(ltp_data(BUNDLE * 2))
    data = tree.find("LTP segment", "data")
    assert data is not None
    assert data.note == "a whole block"
    assert [child.label for child in data.children] == ["bundle", "bundle"]
    assert not tree.errors


@pytest.mark.parametrize("kind", [3, 7])
def test_capsules_of_service_data_aggregation(kind: int) -> None:
    block = b"\x01" + BUNDLE + b"\x01" + BUNDLE + b"\x05abc"
    tree = dissect(ltp_data(block, kind=kind, client_service=2))
    data = tree.find("LTP segment", "data")
    assert data is not None
    assert [child.label for child in data.children] == ["capsule"] * 3
    assert data.children[0].find("bundle", "primary block") is not None
    assert data.children[2].find("bundle") is None
    assert not tree.errors


@pytest.mark.parametrize("kind", [0, 1, 2, 4])
@pytest.mark.parametrize(("client", "block"), [(1, BUNDLE), (2, b"\x01" + BUNDLE)])
def test_parts_of_blocks(kind: int, client: int, block: bytes) -> None:
    """A first segment that happens to hold bundles whole shows them, any other its octets."""
    whole = dissect(ltp_data(block, kind=kind, client_service=client))
    assert whole.find("primary block") is not None
    for size in (0, 1, 20, len(block) - 1):
        part = dissect(ltp_data(block[:size], kind=kind, client_service=client))
        assert not part.errors
        assert part.find("primary block") is None
    later = dissect(ltp_data(block, kind=kind, client_service=client, offset=9))
    assert not later.errors
    assert said(later.find("data"), "octets")


def test_a_whole_block_that_breaks_shows_where() -> None:
    encoded = ltp_data(BUNDLE[:-10])
    tree = dissect(encoded)
    assert tree.find("primary block") is not None
    assert [each.status for each in tree.errors] == ["error"]
    assert tree.errors[0].offset <= len(encoded)


def test_octets_after_a_segment() -> None:
    tree = dissect(ltp_data(BUNDLE) + b"?")
    assert [each.value for each in tree.errors] == ["1 octets left over"]


def test_claims_that_contradict_each_other() -> None:
    tree = dissect(bytes.fromhex("08 01 01 00 09 05 08 00 02 00 05 04 01"), "ltp")
    (error,) = tree.errors
    assert error.section == "RFC 5326 §3.2.2"
    assert [each.label for each in tree.walk()].count("claim") == 2


# ---------------------------------------------------------------------------------- FECFRAME


def test_fec_packets() -> None:
    adu = ltp_data(BUNDLE)
    tree = dissect(adu + encode_payload_id(PayloadId(66000, 2, 64)), "fec-source")
    assert not tree.errors
    assert tree.find("application data unit", "LTP segment", "bundle") is not None
    assert [said(tree, "source block number"), said(tree, "encoding symbol id")] == [66000, 2]
    assert said(tree, "source block length") == 64
    found = tree.find("FEC payload id")
    assert found is not None
    assert (found.offset, found.length) == (len(adu), 6)
    repair = dissect(encode_payload_id(PayloadId(1, 70, 64)) + bytes(90), "fec-repair")
    assert not repair.errors
    symbol = repair.find("repair symbol")
    assert symbol is not None
    assert (symbol.offset, symbol.length) == (6, 90)


def test_fec_packets_of_the_wrong_kind() -> None:
    adu = ltp_data(BUNDLE)
    source = dissect(adu + encode_payload_id(PayloadId(1, 70, 64)), "fec-source")
    (error,) = source.errors
    assert (error.section, error.offset) == ("RFC 6865 §5.1.2", len(adu) + 3)
    assert dissect(b"\0\0\1", "fec-repair").errors[0].section == "RFC 6865 §5.1.3"


# ------------------------------------------------------------------------------ any octets


def test_what_is_neither() -> None:
    assert dissect(b"").errors[0].value == "no octets"
    assert dissect(b"GET / HTTP/1.1").errors[0].value == "neither a bundle nor an LTP segment"
    old = dissect(bytes.fromhex("06810118260101000000"))
    assert old.errors[0].section == "RFC 5050 §4.5.1"
    with pytest.raises(LocalError, match="fec-repair"):
        dissect(b"", "tcp")


octets_of_some_kind = st.one_of(
    st.binary(max_size=200),
    mutated(bundles().map(encode_bundle)),
    mutated(encoded_segments()),
    mutated(bundles().map(lambda bundle: ltp_data(encode_bundle(bundle)))),
    mutated(st.sampled_from(list(BPSEC.values()))),
)


@pytest.mark.slow
@settings(max_examples=400)
@given(octets_of_some_kind, st.sampled_from(sorted(KINDS)))
def test_any_octets_give_a_tree(octets: bytes, kind: str) -> None:
    tree = dissect(octets, kind)
    check_shape(tree, len(octets))
    accepted = True
    try:
        if kind == "bundle":
            check_bundle(decode_bundle(octets)[0])
        elif kind == "ltp":
            decode_segment(octets)
    except DecodeError:
        accepted = False
    # What the codecs refuse is never shown without a word about it.
    assert accepted or tree.errors


@given(st.sampled_from([b"\x9f" * 5000, b"\x9f\x89" * 3000, b"\x82" * 9999, bytes(30000)]))
def test_deep_or_long_nonsense(octets: bytes) -> None:
    for kind in KINDS:
        tree = dissect(octets, kind)
        check_shape(tree, len(octets))
        assert tree.errors or kind == "octets"


def test_a_tree_has_bounds() -> None:
    claims = b"".join(b"\x01\x01" for _ in range(40_000))
    octets = bytes.fromhex("08 01 01 00 09 05 8fffffff7f 00 82b840") + claims
    tree = dissect(octets, "ltp")
    assert tree.errors
    assert sum(1 for _ in tree.walk()) <= NODES_MAX + 10
    many = BUNDLE * 2000
    assert sum(1 for _ in dissect(many).walk()) <= NODES_MAX + 10
    assert dissect(many).errors[-1].value == f"more than {NODES_MAX} entries to show"
