"""Extension blocks, administrative records, identities, and rules on whole bundles."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.strategies import mutated
from interop.strategies.bundle import bundles, eids, status_reports
from interop.strategies.choices import uints
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.wire import cbor
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    CRC_NONE,
    IS_FRAGMENT,
    KEY_BYTES_MAX,
    NO_FRAGMENT,
    REPLICATE,
    AdminRecord,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    ReportReason,
    StatusReport,
    adu_key,
    bundle_age,
    bundle_key,
    check_bundle,
    decode_admin,
    encode_status_report,
    encrypted_blocks,
    free_number,
    hop_count,
    is_of,
    parse_bundle_age,
    parse_hop_count,
    parse_previous_node,
    parse_priority,
    previous_node,
    priority_block,
    reason_words,
    security_targets,
)

PRIMARY = PrimaryBlock(
    Eid.parse("dtn://gs1/files"), Eid.parse("ipn:5.1"), Eid.NONE, 850_000_000_000, 17, 1000
)
LAST = CanonicalBlock(1, 1, 0, b"x")


def test_a_source_and_a_previous_node_are_no_groups() -> None:
    for text, good in (("dtn://a/~b", False), ("dtn://a/b~", True), ("dtn:none", True)):
        eid = Eid.parse(text)
        flags = NO_FRAGMENT if eid.is_null else 0
        bundle = Bundle(dataclasses.replace(PRIMARY, source=eid, flags=flags), (LAST,))
        for call in (
            partial(check_bundle, bundle),
            partial(parse_previous_node, previous_node(eid)),
        ):
            if good:
                call()
                continue
            with pytest.raises(DecodeError, match="group") as caught:
                call()
            assert "§4.2.5.2" in caught.value.section
    check_bundle(Bundle(dataclasses.replace(PRIMARY, destination=Eid.parse("dtn://a/~b")), (LAST,)))


@given(eids(), uints(), st.integers(1, 255), uints())
def test_extension_blocks_say_what_went_in(eid: Eid, number: int, limit: int, count: int) -> None:
    node = eid if eid.is_singleton else eid.node
    assert parse_previous_node(previous_node(node)) == node
    assert parse_bundle_age(bundle_age(number)) == number
    assert parse_hop_count(hop_count(limit, count)) == (limit, count)
    assert parse_priority(priority_block(number)) == number


def test_extension_blocks_on_the_wire() -> None:
    assert (previous_node(Eid.parse("ipn:5.0")).type, previous_node(Eid.NONE).flags) == (6, 0)
    assert bytes(previous_node(Eid.parse("ipn:5.0")).data) == bytes.fromhex("8202820500")
    assert (bundle_age(300).type, bytes(bundle_age(300).data)) == (7, bytes.fromhex("19012c"))
    assert (hop_count(30, 0).type, bytes(hop_count(30, 0).data)) == (10, bytes.fromhex("82181e00"))
    assert (priority_block(2).type, bytes(priority_block(2).data)) == (192, b"\x02")
    for block in (bundle_age(1), hop_count(1, 0), priority_block(1)):
        assert block.flags == REPLICATE
    made = [previous_node(Eid.NONE), bundle_age(1), hop_count(1, 0), priority_block(1)]
    assert len({block.number for block in made}) == 4
    assert free_number((made[0], made[2], LAST)) == 3


PARSERS: list[tuple[Callable[[CanonicalBlock], object], CanonicalBlock]] = [
    (parse_previous_node, previous_node(Eid.parse("dtn://gs1/"))),
    (parse_bundle_age, bundle_age(70_000)),
    (parse_hop_count, hop_count(30, 4)),
    (parse_priority, priority_block(2)),
    (security_targets, CanonicalBlock(11, 2, 0, bytes.fromhex("8200182a"))),
]


@pytest.mark.parametrize(("parse", "block"), PARSERS[:4])
def test_content_must_be_whole_and_alone(
    parse: Callable[[CanonicalBlock], object], block: CanonicalBlock
) -> None:
    for cut in range(len(block.data)):
        with pytest.raises(DecodeError):
            parse(dataclasses.replace(block, data=bytes(block.data)[:cut]))
    with pytest.raises(DecodeError, match="after the block"):
        parse(dataclasses.replace(block, data=bytes(block.data) + b"\x00"))


@given(st.sampled_from(PARSERS), st.data())
def test_damaged_content_raises_only_decode_errors(
    case: tuple[Callable[[CanonicalBlock], object], CanonicalBlock], data: st.DataObject
) -> None:
    parse, block = case
    octets = data.draw(mutated(st.just(bytes(block.data))) | st.binary(max_size=12))
    try:
        found = parse(dataclasses.replace(block, data=memoryview(octets)))
    except DecodeError:
        return
    assert type(found) is type(parse(block))


@pytest.mark.parametrize("limit", [0, 256])
def test_hop_limit_is_1_to_255(limit: int) -> None:
    with pytest.raises(LocalError):
        hop_count(limit, 0)
    block = dataclasses.replace(hop_count(1, 0), data=cbor2.dumps([limit, 0]))
    with pytest.raises(DecodeError, match="hop limit"):
        parse_hop_count(block)


def test_hop_count_is_a_pair() -> None:
    for content in ([1], [1, 2, 3], 1):
        with pytest.raises(DecodeError):
            parse_hop_count(dataclasses.replace(hop_count(1, 0), data=cbor2.dumps(content)))


@given(status_reports())
def test_status_reports_round_trip(report: StatusReport) -> None:
    encoded = encode_status_report(report)
    assert decode_admin(encoded) == report
    kind, content = cbor2.loads(encoded)  # RFC 9171 §6.1, §6.1.1, field by field
    assert kind == 1
    flags = [report.received, report.forwarded, report.delivered, report.deleted]
    assert [item[0] for item in content[0]] == flags
    times = report.item_times_ms or (report.time_ms,) * 4
    for item, flag, time_ms in zip(content[0], flags, times, strict=True):
        assert item[1:] == ([time_ms] if flag and time_ms is not None else [])
    assert content[1] == report.reason
    assert content[3] == [report.creation_ms, report.sequence]
    fragment = [] if report.fragment_offset is None else content[4:]
    assert content[4:] == fragment
    if fragment:
        assert fragment == [report.fragment_offset, report.fragment_length]


def test_status_report_by_hand() -> None:
    report = StatusReport(
        Eid.parse("ipn:5.1"),
        1000,
        2,
        delivered=True,
        time_ms=77,
        reason=ReportReason.NO_INFORMATION,
        fragment_offset=10,
        fragment_length=20,
    )
    assert encode_status_report(report) == bytes.fromhex(
        "8201" + "86" + "8481f481f482f5184d81f4" + "00" + "8202820501" + "821903e802" + "0a14"
    )


@given(mutated(status_reports().map(encode_status_report)) | st.binary(max_size=30))
def test_damaged_records_raise_only_decode_errors(data: bytes) -> None:
    try:
        record = decode_admin(data)
    except DecodeError:
        return
    if isinstance(record, StatusReport):
        assert decode_admin(encode_status_report(record)) == record


@pytest.mark.parametrize(
    "encoded",
    [
        cbor2.dumps([1]),
        cbor2.dumps([1, [[[True]] * 4, 0, [2, [5, 1]]]]),
        cbor2.dumps([1, [[[True]] * 4, 0, [2, [5, 1]], [0, 0], 1]]),
        cbor2.dumps([1, [[[True]] * 3, 0, [2, [5, 1]], [0, 0]]]),
        cbor2.dumps([1, [[[True], [True], [True], [False, 5]], 0, [2, [5, 1]], [0, 0]]]),
        cbor2.dumps([1, [[[True], [True], [True], [True, 5, 6]], 0, [2, [5, 1]], [0, 0]]]),
        cbor2.dumps([1, [[[]] * 4, 0, [2, [5, 1]], [0, 0]]]),
        cbor2.dumps([1, [[[1]] * 4, 0, [2, [5, 1]], [0, 0]]]),
        cbor2.dumps([1, [[[True]] * 4, 0, [2, [5, 1]], [0, 0, 0]]]),
        cbor2.dumps([1, [[[True]] * 4, 0, [2, [5, 1]], [0, 0]]]) + b"\x00",
        cbor2.dumps([7, [1, 2, 3]]) + b"\x00",
    ],
)
def test_malformed_records(encoded: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_admin(encoded)


def test_unknown_records_are_kept() -> None:
    content = cbor2.dumps([0, 0, b"inner"])
    assert decode_admin(cbor.array((b"\x07", content))) == AdminRecord(7, content)


def test_reason_codes_of_rfc_9171_and_9172() -> None:
    assert ReportReason(11).name == "BLOCK_UNSUPPORTED"
    assert ReportReason(16).name == "CONFLICTING_SECURITY_OPERATION"
    assert [reason.value for reason in ReportReason] == list(range(17))
    assert reason_words(6) == "no route"
    assert reason_words(200) == "reason 200"


@given(bundles(extensions=0), bundles(extensions=0))
def test_keys_tell_bundles_apart(one: Bundle, two: Bundle) -> None:
    keys = [bundle_key(bundle.primary, len(bundle.payload.data)) for bundle in (one, two)]
    for key, bundle in zip(keys, (one, two), strict=True):
        primary = bundle.primary
        assert len(key) <= KEY_BYTES_MAX <= 64
        assert int.from_bytes(key[:8], "big") == primary.creation_ms
        assert int.from_bytes(key[8:16], "big") == primary.sequence

    def identity(bundle: Bundle) -> tuple[object, ...]:
        primary = bundle.primary
        fragment = primary.fragment_offset is not None
        length = len(bundle.payload.data) if fragment else None
        parts = (primary.source, primary.creation_ms, primary.sequence)
        return (*parts, primary.fragment_offset, length)

    assert (keys[0] == keys[1]) == (identity(one) == identity(two))


def test_keys_of_fragments() -> None:
    fragment = dataclasses.replace(
        PRIMARY, flags=IS_FRAGMENT, fragment_offset=10, total_adu_length=99
    )
    assert bundle_key(fragment, 5) != bundle_key(fragment, 6)
    later = dataclasses.replace(fragment, fragment_offset=11)
    assert bundle_key(fragment, 5) != bundle_key(later, 5)
    assert adu_key(fragment) == adu_key(later) == bundle_key(PRIMARY) == bundle_key(PRIMARY, 5)
    with pytest.raises(LocalError):
        bundle_key(fragment)
    other = PRIMARY.source.with_service("9")
    for key in (bundle_key(PRIMARY), bundle_key(PRIMARY) + bytes(16), bundle_key(later, 5) + b"x"):
        assert is_of(key, adu_key(fragment))
        assert not is_of(key, adu_key(dataclasses.replace(PRIMARY, source=other)))
        assert not is_of(key, adu_key(dataclasses.replace(PRIMARY, sequence=99)))
    assert bundle_key(dataclasses.replace(PRIMARY, source=other)) != bundle_key(PRIMARY)
    # what does not identify a bundle does not change its key
    assert bundle_key(dataclasses.replace(PRIMARY, lifetime_ms=1, flags=4)) == bundle_key(PRIMARY)
    assert bundle_key(dataclasses.replace(PRIMARY, source=Eid.NONE)) != bundle_key(PRIMARY)


def _security(kind: int, number: int, *targets: int) -> CanonicalBlock:
    data = cbor2.dumps(list(targets)) + b"\x01\x00\x82\x02\x82\x01\x00\x80"
    return CanonicalBlock(kind, number, 0, data)


def _checked(*blocks: CanonicalBlock, primary: PrimaryBlock = PRIMARY) -> None:
    check_bundle(Bundle(primary, (*blocks, LAST)))


def test_primary_needs_a_crc_or_integrity() -> None:
    bare = dataclasses.replace(PRIMARY, crc_type=CRC_NONE)
    _checked(primary=PRIMARY)
    _checked(_security(BLOCK_INTEGRITY, 2, 1, 0), primary=bare)
    # encrypted: its targets cannot be seen, so nobody on the way may judge
    hidden = CanonicalBlock(BLOCK_INTEGRITY, 2, 0, b"\xff\xfe")
    _checked(hidden, _security(BLOCK_CONFIDENTIALITY, 3, 2), primary=bare)
    for blocks in (
        (),
        (_security(BLOCK_INTEGRITY, 2, 1),),
        (_security(BLOCK_CONFIDENTIALITY, 2, 1),),
        (hidden,),
        (hidden, _security(BLOCK_CONFIDENTIALITY, 3, 1)),
    ):
        with pytest.raises(DecodeError):
            _checked(*blocks, primary=bare)


def test_zero_creation_time_needs_an_age() -> None:
    timeless = dataclasses.replace(PRIMARY, creation_ms=0)
    _checked(bundle_age(5), primary=timeless)
    with pytest.raises(DecodeError, match="age") as caught:
        _checked(primary=timeless)
    assert caught.value.section == "RFC 9171 §4.4.2"


@pytest.mark.parametrize(
    ("flags", "offset", "total", "accepted"),
    [
        (IS_FRAGMENT, 0, 1, True),
        (IS_FRAGMENT, 9, 10, True),
        (IS_FRAGMENT, 10, 10, False),
        (IS_FRAGMENT, 0, 0, False),
        (IS_FRAGMENT | NO_FRAGMENT, 0, 1, False),
    ],
)
def test_fragments_must_be_possible(flags: int, offset: int, total: int, accepted: bool) -> None:
    primary = dataclasses.replace(
        PRIMARY, flags=flags, fragment_offset=offset, total_adu_length=total
    )
    if accepted:
        _checked(primary=primary)
    else:
        with pytest.raises(DecodeError):
            _checked(primary=primary)


@pytest.mark.parametrize(
    ("payload", "offset", "total", "accepted"),
    [(b"", 0, 10, False), (b"abc", 7, 10, True), (b"abc", 8, 10, False), (b"abc", 0, 2, False)],
)
def test_fragments_must_lie_within_their_data_unit(
    payload: bytes, offset: int, total: int, accepted: bool
) -> None:
    primary = dataclasses.replace(
        PRIMARY, flags=IS_FRAGMENT, fragment_offset=offset, total_adu_length=total
    )
    bundle = Bundle(primary, (dataclasses.replace(LAST, data=payload),))
    if accepted:
        check_bundle(bundle)
    else:
        with pytest.raises(DecodeError, match="empty fragment"):
            check_bundle(bundle)


def test_an_anonymous_bundle_has_no_fragments() -> None:
    primary = dataclasses.replace(
        PRIMARY, source=Eid.NONE, flags=IS_FRAGMENT, fragment_offset=0, total_adu_length=1
    )
    with pytest.raises(DecodeError, match="anonymous"):
        _checked(primary=primary)


def test_security_targets_are_bounded() -> None:
    with pytest.raises(DecodeError, match="too many"):
        security_targets(CanonicalBlock(11, 2, 0, cbor2.dumps([0] * 257)))
    assert security_targets(CanonicalBlock(11, 2, 0, cbor2.dumps([0] * 256))) == (0,) * 256


def test_a_bundle_has_no_more_encrypted_blocks_than_blocks() -> None:
    """Each relay asks a few times which they are: many BCBs with many targets cost it the more."""
    many = [CanonicalBlock(12, n, 1, cbor2.dumps([*range(2, 130)])) for n in range(200, 203)]
    assert encrypted_blocks(many[:2]) == {*range(2, 130)}
    assert encrypted_blocks([CanonicalBlock(12, n, 1, b"\x81\x01") for n in range(250)]) == {1}
    with pytest.raises(DecodeError, match="more targets"):
        encrypted_blocks(many)


def test_what_follows_the_targets_is_not_looked_at() -> None:
    """Be they an array of indefinite length, and be that no security block."""
    for targets in (b"\x81\x05", b"\x9f\x05\xff"):
        block = CanonicalBlock(12, 2, 1, targets + bytes(2 * cbor.ITEMS_MAX))
        assert security_targets(block) == (5,)
