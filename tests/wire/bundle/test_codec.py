"""Encoding and decoding of whole bundles: an independent encoder, round trips, damage, bounds."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.strategies import mutated
from interop.strategies.bundle import bundles
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.wire import cbor
from stack.wire.bundle import (
    BLOCKS_MAX,
    CRC_16,
    CRC_32,
    IS_ADMIN,
    IS_FRAGMENT,
    LENIENT,
    NO_FRAGMENT,
    REPORT_DELIVERY,
    REPORT_UNPROCESSED,
    STRICT,
    Bundle,
    CanonicalBlock,
    Mode,
    PrimaryBlock,
    PrimaryTemplate,
    bundle_age,
    decode_block,
    decode_bundle,
    decode_primary,
    encode_block,
    encode_bundle,
    encode_primary,
    hop_count,
    previous_node,
)
from stack.wire.bundle import decode as decode_module
from tests.wire.bundle import reference

GS1 = Eid.parse("dtn://gs1/files")
SAT = Eid.parse("ipn:977000.3.7")
PRIMARY = PrimaryBlock(GS1, SAT, SAT.node, 850_000_000_000, 17, 86_400_000)
PAYLOAD_BLOCK = CanonicalBlock(1, 1, 0, b"pictures", CRC_32)
BUNDLE = Bundle(PRIMARY, (hop_count(30, 1, crc_type=CRC_16), PAYLOAD_BLOCK))


def _with(blocks: tuple[CanonicalBlock, ...], primary: PrimaryBlock = PRIMARY) -> bytes:
    """Encoded without the checks of our encoder."""
    return reference.encode(Bundle(primary, blocks))


def _refused(data: bytes, why: str, section: str, mode: Mode = STRICT) -> None:
    with pytest.raises(DecodeError, match=why) as caught:
        decode_bundle(data, mode=mode)
    assert caught.value.section == section


@given(bundles())
def test_encodes_as_the_reference_does(bundle: Bundle) -> None:
    encoded = encode_bundle(bundle)
    assert encoded == reference.encode(bundle)
    assert encode_primary(bundle.primary) == reference.encode_primary(bundle.primary)
    for block in bundle.blocks:
        assert encode_block(block) == reference.encode_block(block)


@given(bundles(), st.integers(0, cbor.UINT_MAX), st.integers(0, cbor.UINT_MAX))
def test_a_template_makes_what_differs_in_its_timestamp(
    bundle: Bundle, creation_ms: int, sequence: int
) -> None:
    expected = dataclasses.replace(bundle.primary, creation_ms=creation_ms, sequence=sequence)
    made = PrimaryTemplate(bundle.primary).stamped(creation_ms, sequence)
    assert made == expected
    assert made.encoded == reference.encode_primary(expected)
    assert made.plain == (cbor.deterministic(made.encoded) == made.encoded)


@given(bundles(), st.binary(max_size=5), st.binary(max_size=5), st.sampled_from(Mode))
def test_round_trip_anywhere_in_a_buffer(
    bundle: Bundle, before: bytes, after: bytes, mode: Mode
) -> None:
    encoded = encode_bundle(bundle)
    decoded, end = decode_bundle(before + encoded + after, offset=len(before), mode=mode)
    assert end == len(before) + len(encoded)
    assert decoded == bundle
    assert encode_bundle(decoded) == encoded
    assert decoded.primary.encoded == encode_primary(bundle.primary)
    for block, original in zip(decoded.blocks, bundle.blocks, strict=True):
        assert block.encoded == encode_block(original)
        assert encode_block(block) == encode_block(original)
        assert decode_block(encode_block(original), mode=mode)[0] == original


@given(bundles(), st.booleans())
def test_unusual_forms_are_refused_strictly_and_passed_on_leniently(
    bundle: Bundle, definite: bool
) -> None:
    encode = reference.encode_definite if definite else reference.encode
    encoded = encode(bundle, reference.wide)
    with pytest.raises(DecodeError):
        decode_bundle(encoded)
    decoded, end = decode_bundle(encoded + b"\x00", mode=LENIENT)
    assert (decoded, end) == (bundle, len(encoded))
    assert encode_bundle(decoded) == encoded


@given(bundles(extensions=1))
def test_definite_outer_array_alone(bundle: Bundle) -> None:
    encoded = reference.encode_definite(bundle)
    _refused(encoded, "indefinite", "RFC 9171 §4.1")
    decoded, _ = decode_bundle(encoded, mode=LENIENT)
    assert encode_bundle(decoded) == encoded
    grown = dataclasses.replace(
        decoded, blocks=(CanonicalBlock(222, 1 << 20, 0, b""), *decoded.blocks)
    )
    assert decode_bundle(encode_bundle(grown))[0] == grown  # the declared count no longer holds


@given(bundles(crc_types=(1, 2), payload=st.binary(max_size=40)), st.data())
def test_any_single_bit_flip_is_noticed(bundle: Bundle, data: st.DataObject) -> None:
    encoded = bytearray(encode_bundle(bundle))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DecodeError):
        decode_bundle(encoded)


@pytest.mark.slow
@given(bundles(payload=st.binary(max_size=40)))
def test_every_prefix_is_refused(bundle: Bundle) -> None:
    encoded = encode_bundle(bundle)
    for cut in range(len(encoded)):
        for mode in Mode:
            with pytest.raises(DecodeError):
                decode_bundle(encoded[:cut], mode=mode)


@given(
    mutated(bundles(payload=st.binary(max_size=40), crc_types=(0,)).map(encode_bundle))
    | st.binary(max_size=80).map(lambda tail: b"\x9f\x89\x07" + tail)
    | st.binary(max_size=80),
    st.sampled_from(Mode),
)
def test_damage_raises_only_decode_errors(data: bytes, mode: Mode) -> None:
    try:
        bundle, end = decode_bundle(data, mode=mode)
    except DecodeError as error:
        section = error.section
        assert section.startswith(("RFC ", "limits."))
        return
    assert end <= len(data)
    assert encode_bundle(bundle) == data[:end]
    fresh = Bundle(
        dataclasses.replace(bundle.primary, encoded=None),
        tuple(dataclasses.replace(block, encoded=None) for block in bundle.blocks),
    )
    assert decode_bundle(encode_bundle(fresh), mode=mode)[0] == bundle


@given(st.binary(max_size=60), st.sampled_from(Mode))
def test_blocks_from_noise(data: bytes, mode: Mode) -> None:
    for decode in (decode_primary, decode_block):
        try:
            _, end = decode(data, mode=mode)
        except DecodeError:
            continue
        assert end <= len(data)


@given(st.lists(bundles(extensions=1), min_size=1, max_size=3))
def test_bundles_that_follow_one_another(several: list[Bundle]) -> None:
    encoded = b"".join(encode_bundle(bundle) for bundle in several)
    offset = 0
    found = []
    while offset < len(encoded):
        bundle, offset = decode_bundle(encoded, offset=offset)
        found.append(bundle)
    assert found == several


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_payload_is_a_view_and_not_a_copy(
    kind: type[bytes] | type[bytearray] | type[memoryview],
) -> None:
    buffer = kind(encode_bundle(BUNDLE))
    bundle, _ = decode_bundle(buffer)
    payload = bundle.payload  # small extension blocks may be shared with other bundles
    assert isinstance(payload.data, memoryview)
    assert isinstance(payload.encoded, memoryview)
    assert payload.data.obj is memoryview(buffer).obj
    if isinstance(buffer, bytearray):
        buffer[buffer.index(b"pictures")] = ord("P")
        assert bundle.payload.data == b"Pictures"
        assert bundle.primary.encoded == encode_primary(PRIMARY)  # the primary is ours to keep


def test_changed_blocks_are_encoded_afresh_and_others_kept() -> None:
    encoded = reference.encode(BUNDLE, reference.wide)
    bundle, _ = decode_bundle(encoded, mode=LENIENT)
    hops = hop_count(30, 2, number=bundle.blocks[0].number)
    changed = Bundle(bundle.primary, (hops, *bundle.blocks[1:]))
    again, _ = decode_bundle(encode_bundle(changed), mode=LENIENT)
    assert again == changed
    assert again.primary.encoded is not None
    assert again.primary.encoded == bundle.primary.encoded
    assert again.payload.encoded == bundle.payload.encoded
    assert again.blocks[0].encoded == encode_block(hops)


def test_primary_block() -> None:
    encoded = encode_primary(PRIMARY)
    assert decode_primary(b"\x9f" + encoded, 1) == (PRIMARY, 1 + len(encoded))
    for cut in range(len(encoded)):
        with pytest.raises(DecodeError):
            decode_primary(encoded[:cut])
    assert encode_primary(decode_primary(encoded)[0]) == encoded
    version_6 = bytes((encoded[0], 6)) + encoded[2:]
    with pytest.raises(DecodeError, match="version 7"):
        decode_primary(version_6)


def test_crc_must_match_and_have_its_size() -> None:
    encoded = encode_bundle(BUNDLE)
    at = encoded.index(b"pictures")
    _refused(encoded[:at] + b"P" + encoded[at + 1 :], "CRC", "RFC 9171 §4.2.2")
    _refused(encoded[:at] + b"P" + encoded[at + 1 :], "CRC", "RFC 9171 §4.2.2", LENIENT)
    block = encode_block(PAYLOAD_BLOCK)
    short = block[:-5] + b"\x42" + block[-2:]
    with pytest.raises(DecodeError, match="wrong size"):
        decode_block(short)
    unknown = bytes((0x86, 1, 1, 0, 3)) + block[5:]
    with pytest.raises(DecodeError, match="CRC type 3"):
        decode_block(unknown, mode=LENIENT)


@pytest.mark.parametrize("mode", Mode)
def test_structure_of_a_bundle(mode: Mode) -> None:
    section = "RFC 9171 §4.1"
    other = dataclasses.replace(PAYLOAD_BLOCK, type=222, number=9)
    _refused(_with(()), "no payload", section, mode)
    _refused(_with((other,)), "no payload", section, mode)
    _refused(_with((PAYLOAD_BLOCK, other)), "not last", section, mode)
    _refused(_with((PAYLOAD_BLOCK, PAYLOAD_BLOCK)), "not last", section, mode)
    _refused(_with((other, other, PAYLOAD_BLOCK)), "again", section, mode)
    for number in (0, 1) if mode is STRICT else (1,):
        reserved = dataclasses.replace(other, number=number)
        _refused(_with((reserved, PAYLOAD_BLOCK)), "reserved", section, mode)
    _refused(_with((dataclasses.replace(PAYLOAD_BLOCK, number=2),)), "numbered 1", section, mode)
    payload_first = b"\x9f" + encode_block(PAYLOAD_BLOCK) + encode_primary(PRIMARY) + b"\xff"
    _refused(payload_first, "not a primary block", "RFC 9171 §4.3.1", mode)
    for empty in (b"", b"\x9f", b"\x9f\xff", b"\x80", b"\x81\x00"):
        with pytest.raises(DecodeError):
            decode_bundle(empty, mode=mode)


@pytest.mark.parametrize("maker", [previous_node, bundle_age, hop_count])
def test_blocks_that_come_only_once(maker: object) -> None:
    block = {
        previous_node: previous_node(GS1),
        bundle_age: bundle_age(1),
        hop_count: hop_count(2, 1),
    }[maker]  # type: ignore[index]  # one of the three
    twice = (block, dataclasses.replace(block, number=40), PAYLOAD_BLOCK)
    _refused(_with(twice), "second block", "RFC 9171 §4.4")


def test_field_counts() -> None:
    fragment = dataclasses.replace(
        PRIMARY, flags=IS_FRAGMENT, fragment_offset=0, total_adu_length=99
    )
    encoded = bytearray(encode_primary(fragment))
    encoded[2] = 0  # no longer says that it is a fragment
    with pytest.raises(DecodeError, match="11 fields"):
        decode_primary(encoded)
    block = bytearray(encode_block(PAYLOAD_BLOCK))
    block[4] = 0  # no longer says that it has a CRC
    with pytest.raises(DecodeError, match="6 fields"):
        decode_block(block)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("8501010000" + "6161", "byte string"),
        ("8501010000" + "5f4161ff", "byte string"),
        ("8501010000" + "00", "byte string"),
        ("8501010000" + "5bffffffffffffffff", "truncated"),
        ("8501010000" + "590001" + "61", "shortest"),
        ("8501010000" + "5801" + "61", "shortest"),
        ("9f01010000" + "40" + "00ff", "more items"),
        ("a1010100004041", "not a block"),
        ("8520010000" + "40", "unsigned"),
    ],
)
def test_malformed_blocks(data: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decode_block(bytes.fromhex(data))


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_numbers_in_longer_forms(width: int) -> None:
    plain = encode_primary(dataclasses.replace(PRIMARY, crc_type=0, flags=4, lifetime_ms=4))
    head = {1: 0x18, 2: 0x19, 4: 0x1A, 8: 0x1B}[width]
    four = bytes((head,)) + (4).to_bytes(width, "big")
    for longer in (plain[:2] + four + plain[3:], plain[:-1] + four):
        with pytest.raises(DecodeError, match="shortest"):
            decode_primary(longer)
        primary, _ = decode_primary(longer, mode=LENIENT)
        assert (primary.flags, primary.lifetime_ms, encode_primary(primary)) == (4, 4, longer)


def test_timestamp_is_a_pair() -> None:
    encoded = encode_primary(dataclasses.replace(PRIMARY, crc_type=0))
    at = encoded.index(b"\x82\x1b\x00\x00\x00\xc5")
    with pytest.raises(DecodeError, match="pair"):
        decode_primary(encoded[:at] + b"\x83" + encoded[at + 1 :])


def test_number_of_blocks_is_bounded() -> None:
    many = tuple(CanonicalBlock(222, number, 0, b"") for number in range(2, BLOCKS_MAX + 1))
    assert len(decode_bundle(_with((*many, PAYLOAD_BLOCK)))[0].blocks) == BLOCKS_MAX
    one_more = CanonicalBlock(222, BLOCKS_MAX + 1, 0, b"")
    too_many = Bundle(PRIMARY, (*many, one_more, PAYLOAD_BLOCK))
    _refused(reference.encode(too_many), "too many", "RFC 9171 §4.1")
    _refused(reference.encode_definite(too_many), "258 blocks", "RFC 9171 §4.1", LENIENT)


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = encode_bundle(BUNDLE)
    monkeypatch.setattr(decode_module, "BUNDLE_BYTES_MAX", len(encoded))
    assert decode_bundle(b"\x00" + encoded, offset=1)[1] == len(encoded) + 1
    monkeypatch.setattr(decode_module, "BUNDLE_BYTES_MAX", len(encoded) - 1)
    _refused(encoded, "too large", "limits.BUNDLE_BYTES_MAX")


ANONYMOUS = dataclasses.replace(PRIMARY, source=Eid.NONE, flags=NO_FRAGMENT)
ADMIN = dataclasses.replace(PRIMARY, flags=IS_ADMIN)
ASKING = dataclasses.replace(PAYLOAD_BLOCK, flags=REPORT_UNPROCESSED)


@pytest.mark.parametrize(
    ("primary", "payload", "section"),
    [
        (dataclasses.replace(ADMIN, flags=IS_ADMIN | REPORT_DELIVERY), PAYLOAD_BLOCK, "§4.2.3"),
        (dataclasses.replace(ANONYMOUS, flags=0), PAYLOAD_BLOCK, "§4.2.3"),
        (
            dataclasses.replace(ANONYMOUS, flags=NO_FRAGMENT | REPORT_DELIVERY),
            PAYLOAD_BLOCK,
            "§4.2.3",
        ),
        (
            dataclasses.replace(
                ANONYMOUS,
                flags=NO_FRAGMENT | IS_FRAGMENT,
                fragment_offset=0,
                total_adu_length=9,
            ),
            PAYLOAD_BLOCK,
            "§4.2.3",
        ),
        (dataclasses.replace(ANONYMOUS, source=Eid.parse("ipn:0.0"), flags=0), ASKING, "§4.2.3"),
        (ADMIN, ASKING, "§4.2.4"),
        (ANONYMOUS, ASKING, "§4.2.4"),
    ],
)
def test_contradictory_flags(primary: PrimaryBlock, payload: CanonicalBlock, section: str) -> None:
    encoded = _with((payload,), primary)
    with pytest.raises(DecodeError) as caught:
        decode_bundle(encoded)
    assert caught.value.section == f"RFC 9171 {section}"
    assert encode_bundle(decode_bundle(encoded, mode=LENIENT)[0]) == encoded


def test_flags_that_go_together_are_taken() -> None:
    for primary in (ANONYMOUS, ADMIN, dataclasses.replace(PRIMARY, flags=REPORT_DELIVERY)):
        assert decode_bundle(_with((PAYLOAD_BLOCK,), primary))[0].primary == primary
    # RFC 9171 §4.2.3, §4.2.4: reserved flags are to be ignored
    reserved = dataclasses.replace(PRIMARY, flags=0x1883F98)
    odd = dataclasses.replace(PAYLOAD_BLOCK, flags=0xE8)
    assert decode_bundle(_with((odd,), reserved))[0] == Bundle(reserved, (odd,))


@pytest.mark.parametrize(
    "bundle",
    [
        Bundle(PRIMARY, ()),
        Bundle(PRIMARY, (PAYLOAD_BLOCK, bundle_age(1))),
        Bundle(PRIMARY, (bundle_age(1, number=1), PAYLOAD_BLOCK)),
        Bundle(PRIMARY, (dataclasses.replace(PAYLOAD_BLOCK, crc_type=3),)),
        Bundle(PRIMARY, (dataclasses.replace(PAYLOAD_BLOCK, flags=-1),)),
        Bundle(PRIMARY, (dataclasses.replace(PAYLOAD_BLOCK, flags=1 << 64),)),
        Bundle(dataclasses.replace(PRIMARY, crc_type=3), (PAYLOAD_BLOCK,)),
        Bundle(dataclasses.replace(PRIMARY, version=6), (PAYLOAD_BLOCK,)),
        Bundle(dataclasses.replace(PRIMARY, flags=-1), (PAYLOAD_BLOCK,)),
        Bundle(dataclasses.replace(PRIMARY, creation_ms=-1), (PAYLOAD_BLOCK,)),
        Bundle(dataclasses.replace(PRIMARY, creation_ms=1 << 64), (PAYLOAD_BLOCK,)),
        Bundle(dataclasses.replace(PRIMARY, flags=IS_FRAGMENT), (PAYLOAD_BLOCK,)),
    ],
)
def test_what_cannot_be_encoded_is_a_local_error(bundle: Bundle) -> None:
    with pytest.raises(LocalError):
        encode_bundle(bundle)


def test_negative_offsets_are_a_local_error() -> None:
    encoded = encode_bundle(BUNDLE)
    for misuse in (
        lambda: decode_bundle(encoded, offset=-1),
        lambda: decode_primary(encoded, -1),
        lambda: decode_block(encoded, -1),
    ):
        with pytest.raises(LocalError):
            misuse()


@pytest.mark.parametrize("size", [0, 23, 24, 255, 256, 65_535, 65_536])
def test_payload_sizes_at_the_edges_of_each_head(size: int) -> None:
    bundle = Bundle(PRIMARY, (CanonicalBlock(1, 1, 0, bytes(size)),))
    encoded = encode_bundle(bundle)
    assert encoded == reference.encode(bundle)
    assert decode_bundle(encoded) == (bundle, len(encoded))


ION_FRAGMENT = Bundle(
    PrimaryBlock(
        Eid.parse("ipn:3.1"),
        Eid.parse("ipn:2.1"),
        Eid.parse("dtn:none"),
        850_000_000_000,
        5,
        86_400_000,
        IS_FRAGMENT,
        fragment_offset=20_000,
        total_adu_length=100_000,
    ),
    (
        CanonicalBlock(193, 0, 0, b"\x01"),
        CanonicalBlock(6, 0, 0, bytes.fromhex("82028202 00")),
        CanonicalBlock(7, 0, 0, b"\x05"),
        CanonicalBlock(1, 1, 0, b"pictures", CRC_16),
    ),
)
"""As ION 4.1 fragments: it copies extension blocks without their numbers."""


def test_fragments_of_ion_are_read_leniently_and_leave_with_block_numbers() -> None:
    encoded = reference.encode(ION_FRAGMENT)
    _refused(encoded, "block number 0 again or reserved", "RFC 9171 §4.1")
    decoded, end = decode_bundle(encoded, mode=LENIENT)
    assert end == len(encoded)
    assert [(block.type, block.number) for block in decoded.blocks] == [
        (193, 2),
        (6, 3),
        (7, 4),
        (1, 1),
    ]
    assert [block.data for block in decoded.blocks] == [b.data for b in ION_FRAGMENT.blocks]
    again, _ = decode_bundle(encode_bundle(decoded))
    assert again == decoded, "what leaves is a legal bundle"


@pytest.mark.parametrize("numbers", [(0, 2), (2, 0)])
def test_free_numbers_do_not_meet_those_that_are_there(numbers: tuple[int, int]) -> None:
    first, second = numbers
    blocks = (CanonicalBlock(193, first, 0, b""), CanonicalBlock(194, second, 0, b""))
    decoded, _ = decode_bundle(_with((*blocks, PAYLOAD_BLOCK)), mode=LENIENT)
    assert sorted(block.number for block in decoded.blocks) == [1, 2, 3]
    assert decoded.blocks[numbers.index(2)].number == 2


def test_leniently_too_numbers_other_than_0_come_once_and_types_that_come_once_do() -> None:
    twice = (CanonicalBlock(193, 3, 0, b""), CanonicalBlock(194, 3, 0, b""), PAYLOAD_BLOCK)
    _refused(_with(twice), "block number 3 again", "RFC 9171 §4.1", LENIENT)
    ages = (CanonicalBlock(7, 0, 0, b"\x05"), CanonicalBlock(7, 0, 0, b"\x06"), PAYLOAD_BLOCK)
    _refused(_with(ages), "second block of type 7", "RFC 9171 §4.4", LENIENT)
