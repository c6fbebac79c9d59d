"""What is read quickly, as it comes in its usual form, is read as the careful way reads it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.wire import asb, cbor
from stack.wire.asb import CONTEXT_COSE, EncodedItem, SecurityBlock, decode_asb, encode_asb
from stack.wire.bundle import (
    IS_FRAGMENT,
    PAYLOAD,
    Bundle,
    CanonicalBlock,
    Mode,
    PrimaryBlock,
    as_encoded,
    decode,
    decode_bundle,
    decode_eid,
    decode_primary,
    encode_block,
    encode_bundle,
    encode_eid,
    encode_primary,
    is_deterministic,
)
from stack.wire.bundle.eids import is_plain

EIDS = st.sampled_from(
    [
        Eid.NONE,
        *map(
            Eid.parse,
            ("dtn://a/", "dtn://gs1/app", f"dtn://long/{'x' * 80}", f"dtn://longer/{'x' * 300}"),
        ),
        *map(Eid.parse, ("ipn:1.2", "ipn:977000.3.4", f"ipn:{2**31}.{2**40}", "x-scheme:9.00")),
    ]
)
NUMBERS = st.integers(0, (1 << 64) - 1) | st.integers(0, 300)
VALUES = NUMBERS | st.binary(max_size=300)
PAIRS = st.lists(st.tuples(NUMBERS, VALUES), max_size=4).map(tuple)
PRIMARIES = st.builds(
    PrimaryBlock,
    EIDS,
    EIDS,
    EIDS,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    flags=NUMBERS.map(lambda flags: flags & ~IS_FRAGMENT),
    crc_type=st.integers(0, 2),
)
BLOCKS = st.builds(
    lambda targets, context, source, parameters, results: SecurityBlock(
        targets, context, source, parameters, results[: len(targets)]
    ),
    st.sampled_from([(1,), (0, 3), (1, 200)]),
    st.integers(-3, 300),
    EIDS,
    PAIRS,
    st.tuples(PAIRS, PAIRS),
)
FLOW = st.builds(
    lambda target, source, variant, iv, tag: SecurityBlock(
        (target,), 2, source, ((1, iv), (2, variant), (4, 7)), (((1, tag),),)
    ),
    st.integers(0, 30),
    EIDS,
    NUMBERS,
    st.binary(min_size=11, max_size=12),
    st.binary(min_size=16, max_size=17),
)
COSE_PAIRS = st.lists(
    st.tuples(
        NUMBERS, VALUES | st.sampled_from([b"\x80", b"\x60", b"\xa1\x01\x02"]).map(EncodedItem)
    ),
    max_size=4,
).map(tuple)
COSE = st.builds(
    lambda parameters, results: SecurityBlock((1,), CONTEXT_COSE, Eid.NONE, parameters, (results,)),
    COSE_PAIRS,
    COSE_PAIRS,
)
PLAIN = Bundle(
    PrimaryBlock(Eid.parse("dtn://b/x"), Eid.parse("dtn://a/x"), Eid.NONE, 1, 1, 1, crc_type=2),
    (CanonicalBlock(PAYLOAD, 1, 0, b"payload"),),
)
CANONICAL = st.builds(
    CanonicalBlock,
    st.sampled_from([2, 6, 7, 10, 192, 255]) | NUMBERS.filter(lambda kind: kind != PAYLOAD),
    st.sampled_from([2, 3, 23, 24]) | NUMBERS,
    st.sampled_from([0, 5, 23, 24]) | NUMBERS,
    st.binary(max_size=300),
    st.integers(0, 2),
)
EDITS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=2)
CUTS = st.integers(0, 400) | st.just(1 << 20)


def edited(octets: bytes, edits: list[tuple[int, int]], cut: int) -> bytes:
    """The octets, some of them changed, and cut short."""
    changed = bytearray(octets)
    for at, value in edits:
        changed[at % len(changed)] = value
    return bytes(changed[:cut])


def outcome(read: Callable[[], object]) -> object:
    """What is read, or why it cannot be."""
    try:
        return read()
    except DecodeError as error:
        return str(error)


@given(PRIMARIES, EDITS, CUTS, st.sampled_from(Mode))
def test_the_head_of_a_primary_block(
    primary: PrimaryBlock, edits: list[tuple[int, int]], cut: int, mode: Mode
) -> None:
    octets = edited(encode_primary(primary), edits, cut)
    quick = outcome(lambda: decode_primary(octets, mode=mode))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "known_head", lambda *_: None)
        assert outcome(lambda: decode_primary(octets, mode=mode)) == quick
    if not edits and cut > len(octets):
        assert quick == (primary, len(octets))


@given(st.lists(CANONICAL, max_size=4), EDITS, CUTS, st.sampled_from(Mode))
def test_blocks_that_came_just_so_before(
    blocks: list[CanonicalBlock], edits: list[tuple[int, int]], cut: int, mode: Mode
) -> None:
    """Small ones, those of private types with up to 255 octets, and several in a row, also behind
    what is of its bundle alone."""
    octets = encode_bundle(PLAIN)
    begin = 1 + len(encode_primary(PLAIN.primary))
    encoded = b"".join(map(encode_block, blocks))
    changed = edited(encoded, edits, cut) if encoded else b""
    octets = b"".join((octets[:begin], changed, octets[begin:]))
    quick = outcome(lambda: decode_bundle(octets, mode=mode))
    assert outcome(lambda: decode_bundle(octets, mode=mode)) == quick
    for name in ("_known_run", "_known_block"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decode, name, lambda *_: None)
            assert outcome(lambda: decode_bundle(octets, mode=mode)) == quick
    numbers = {1, *(block.number for block in blocks)}
    kinds = [block.type for block in blocks if block.type in (6, 7, 10)]
    distinct = 0 not in numbers and len(numbers) == 1 + len(blocks)
    if not edits and cut > len(changed) and distinct and len(set(kinds)) == len(kinds):
        assert quick == (Bundle(PLAIN.primary, (*blocks, *PLAIN.blocks)), len(octets))


@pytest.mark.parametrize("behind", [12, 200])
def test_a_block_of_unknown_type_is_kept_wherever_it_stands(behind: int) -> None:
    """Also a long one, and one behind a block that is of its bundle alone."""
    for size in (3, 300):
        unknown = CanonicalBlock(198, 7, 0, bytes(size), 1)
        for blocks in ((unknown,), (CanonicalBlock(behind, 4, 0, b"\x81\x01"), unknown)):
            bundle = Bundle(PLAIN.primary, (*blocks, *PLAIN.blocks))
            assert decode_bundle(encode_bundle(bundle))[0].blocks == bundle.blocks


@given(PRIMARIES, EDITS, CUTS)
def test_whether_a_primary_block_is_in_deterministic_encoding(
    primary: PrimaryBlock, edits: list[tuple[int, int]], cut: int
) -> None:
    """Whatever octets its numbers and its CRC have, none of them is taken for a head."""
    octets = edited(encode_primary(primary), edits, cut)
    if is_deterministic(octets):
        fields = outcome(lambda: decode_primary(octets, mode=Mode.LENIENT))
        assert isinstance(fields, str) or cbor.deterministic(octets) == octets
    eids = (primary.destination, primary.source, primary.report_to)
    if not edits and cut > len(octets) and all(len(str(eid)) < 200 for eid in eids):
        assert is_deterministic(octets) or any(not eid.ssp for eid in eids)
    read = outcome(lambda: decode_primary(octets)[0])
    if isinstance(read, PrimaryBlock) and read.plain:
        assert cbor.deterministic(octets[: len(read.encoded or b"")]) == read.encoded
    if not edits and cut > len(octets) and all(len(str(eid)) < 200 for eid in eids):
        assert isinstance(read, PrimaryBlock)
        assert read.plain or any(not eid.ssp for eid in eids)


def test_a_primary_block_that_is_not_deterministic_is_not_said_to_be() -> None:
    primary = dataclasses.replace(PLAIN.primary, crc_type=0, encoded=None)
    octets = encode_primary(primary)
    assert as_encoded(primary).plain
    assert decode_primary(octets)[0].plain
    assert not decode_primary(octets, mode=Mode.LENIENT)[0].plain
    eids = (primary.destination, primary.source, primary.report_to)
    at = 4 + sum(len(encode_eid(eid)) for eid in eids)
    size = len(octets) - len(cbor.uint(primary.lifetime_ms))
    open_pair = octets[:at] + b"\x9f" + octets[at + 1 : size] + b"\xff" + octets[size:]
    open_block = b"\x9f" + octets[1:] + b"\xff"
    for other in (open_pair, open_block):
        found = decode_primary(other)[0]
        assert found == primary
        assert not found.plain
    source = dataclasses.replace(primary.source, encoded=encode_eid(primary.source))
    assert not as_encoded(dataclasses.replace(primary, source=source)).plain


@pytest.mark.parametrize(
    ("octets", "plain"),
    [
        ("8202820501", True),
        ("820283000501", True),
        ("820165" + b"//a/b".hex(), True),
        ("9f02820501ff", False),
        ("82029f0501ff", False),
        ("82038101", True),
        ("82039f01ff", False),
    ],
)
def test_an_eid_is_plain_when_it_came_in_deterministic_encoding(octets: str, plain: bool) -> None:
    assert is_plain(decode_eid(bytes.fromhex(octets))[0]) is plain


@given(FLOW | BLOCKS, EDITS, CUTS)
def test_a_security_block_that_differs_from_others_by_its_iv_and_tag(
    block: SecurityBlock, edits: list[tuple[int, int]], cut: int
) -> None:
    octets = edited(encode_asb(block), edits, cut)
    quick = outcome(lambda: decode_asb(octets))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asb, "_form", lambda *_: None)
        assert outcome(lambda: decode_asb(octets)) == quick


@given(BLOCKS, EDITS, CUTS)
def test_parameters_and_results_of_a_security_block(
    block: SecurityBlock, edits: list[tuple[int, int]], cut: int
) -> None:
    octets = edited(encode_asb(block), edits, cut)
    quick = outcome(lambda: decode_asb(octets))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asb, "_quick_pair", lambda *_: None)
        assert outcome(lambda: decode_asb(octets)) == quick
    if not edits and cut > len(octets):
        assert quick == block


@given(FLOW | BLOCKS | COSE, st.booleans())
def test_values_of_a_security_block_are_its_own(block: SecurityBlock, view: bool) -> None:
    """Octets, not views: they outlive the buffer that they came in."""
    buffer = bytearray(encode_asb(block))
    found = decode_asb(memoryview(buffer) if view else buffer)
    buffer[:] = bytes(len(buffer))
    assert found == block
    for _, value in (*found.parameters, *itertools.chain(*found.results)):
        octets = value.octets if isinstance(value, EncodedItem) else value
        assert type(octets) in (bytes, int)
    assert type(encode_asb(found)) is bytes


def test_what_is_kept_of_forms_of_security_blocks_is_bounded() -> None:
    asb._form.cache_clear()
    source = Eid.parse("dtn://gs1/")
    for size in (asb._FORM_BYTES_MAX - 100, asb._FORM_BYTES_MAX):
        long = SecurityBlock((1,), 2, source, ((9, bytes(size)),), (((1, bytes(16)),),))
        assert decode_asb(encode_asb(long)) == long
    assert asb._form.cache_info().currsize == 1
