"""Fragmentation and reassembly: nothing lost, nothing too large, nothing unbounded."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.strategies.bundle import bundles
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.core.limits import BUNDLE_BYTES_MAX
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    CRC_32,
    CRC_NONE,
    IS_FRAGMENT,
    NO_FRAGMENT,
    REPLICATE,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    PrimaryForm,
    Reassembler,
    adu_key,
    bundle_age,
    decode_bundle,
    encode_bundle,
    encode_primary,
    fragment_bundle,
    previous_node,
    reassemble,
)
from stack.wire.bundle import fragment as fragment_module

SOURCE = Eid.parse("dtn://sat1/camera")
PRIMARY = PrimaryBlock(Eid.parse("dtn://gs1/files"), SOURCE, SOURCE, 850_000_000_000, 1, 1000)


def _bundle(payload: bytes, *blocks: CanonicalBlock, sequence: int = 1) -> Bundle:
    primary = dataclasses.replace(PRIMARY, sequence=sequence)
    return Bundle(primary, (*blocks, CanonicalBlock(1, 1, 0, payload, CRC_32)))


def _overhead(bundle: Bundle) -> int:
    """Enough octets for any fragment of this bundle that holds one octet."""
    return len(encode_bundle(bundle)) - len(bundle.payload.data) + 2 * 9 + 1 + 5


WHOLE = bundles(kind="whole", payload=st.binary(min_size=350, max_size=900))
"""Bundles that do not fit into what the tests below allow."""


@given(WHOLE, st.integers(0, 300), st.randoms(use_true_random=False))
def test_fragments_fit_and_make_up_the_bundle(bundle: Bundle, slack: int, random: object) -> None:
    limit = _overhead(bundle) + slack
    fragments = fragment_bundle(bundle, limit)
    octets = [encode_bundle(fragment) for fragment in fragments]
    assert all(len(encoded) <= limit for encoded in octets)
    assert len(fragments) > 1
    for encoded in octets[:-1]:
        assert len(encoded) >= limit - 2  # a longer head for one more octet may waste some
    received = [decode_bundle(encoded)[0] for encoded in octets]
    assert received == fragments
    random.shuffle(received)  # type: ignore[attr-defined]  # a random.Random
    reassembler = Reassembler()
    results = [reassembler.add(fragment) for fragment in received]
    assert results[:-1] == [None] * (len(results) - 1)
    assert results[-1] == bundle
    assert (len(reassembler), reassembler.held_bytes) == (0, 0)
    assert reassemble(received) == bundle


@pytest.mark.slow
@given(WHOLE, st.data())
def test_overlapping_duplicate_and_nested_fragments(bundle: Bundle, data: st.DataObject) -> None:
    overhead = _overhead(bundle)
    coarse = fragment_bundle(bundle, overhead + data.draw(st.integers(0, 300)))
    fine = fragment_bundle(bundle, overhead + data.draw(st.integers(0, 100)))
    nested = [
        part
        for fragment in coarse
        for part in fragment_bundle(fragment, overhead + data.draw(st.integers(0, 100)))
    ]
    pool = [part for part in (*coarse, *fine, *nested) if part.primary.flags & IS_FRAGMENT]
    if not pool:
        return
    octets = [encode_bundle(part) for part in data.draw(st.permutations(pool + pool))]
    # The blocks come from whichever fragment with offset 0 arrives first: all have them all.
    assert reassemble([decode_bundle(encoded)[0] for encoded in octets]) == bundle


@given(bundles(kind="whole", payload=st.binary(min_size=300, max_size=400)))
def test_fragments_of_fragments_make_up_the_bundle(bundle: Bundle) -> None:
    overhead = _overhead(bundle)
    coarse = fragment_bundle(bundle, overhead + 100)
    nested = [part for one in coarse for part in fragment_bundle(one, overhead + 20)]
    assert len(nested) > len(coarse) > 1  # blocks of the first alone may leave room in the others
    ends = [(part.primary.fragment_offset or 0) + len(part.payload.data) for part in nested]
    assert [part.primary.fragment_offset for part in nested] == [0, *ends[:-1]]
    total = len(bundle.payload.data)
    assert {part.primary.total_adu_length for part in nested} == {total} == {ends[-1]}
    assert reassemble(nested[::-1]) == bundle


@pytest.mark.parametrize("kind", [BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY])
@pytest.mark.parametrize("asb", ["", "ff", "8100", "8102", "820201", "9f0201ff", "81", "1b"])
def test_what_a_security_block_covers_decides_about_the_crc_of_a_part(kind: int, asb: str) -> None:
    """An abstract security block begins with its targets; one that cannot be read covers nothing,
    and is the acceptor's to refuse."""
    covers = asb in ("820201", "9f0201ff")
    shell = CanonicalBlock(kind, 3, 0, bytes.fromhex(asb))
    payload = CanonicalBlock(1, 1, 0, bytes(600), CRC_NONE)
    whole = Bundle(PRIMARY, (shell, payload))
    parts = fragment_bundle(whole, 400)
    assert {part.payload.crc_type for part in parts} == {CRC_32 if covers else CRC_NONE}
    assert reassemble(parts) == whole


def test_a_bundle_that_fits_is_left_alone() -> None:
    bundle = _bundle(bytes(100))
    size = len(encode_bundle(bundle))
    assert fragment_bundle(bundle, size) == [bundle]
    assert len(fragment_bundle(bundle, size - 1)) == 2


@pytest.mark.parametrize("size", [23, 24, 255, 256, 65_535, 65_536, 70_000])
def test_fragments_at_the_edges_of_each_head(size: int) -> None:
    bundle = _bundle(bytes(size + 500))
    aimed = _part(0, bytes(size), size + 500)
    limit = len(encode_bundle(aimed)) + 5  # ours have a CRC on the payload block too
    fragments = fragment_bundle(bundle, limit)
    assert len(encode_bundle(fragments[0])) <= limit
    assert size - 2 <= len(fragments[0].payload.data) <= size
    assert reassemble(fragments) == bundle


def test_blocks_are_replicated_as_they_ask() -> None:
    everywhere = bundle_age(5)
    first_only = previous_node(Eid.parse("dtn://relay/"))
    bundle = _bundle(bytes(500), first_only, everywhere)
    fragments = fragment_bundle(bundle, 200)
    assert len(fragments) > 2
    assert fragments[0].blocks[:-1] == (first_only, everywhere)
    for fragment in fragments[1:]:
        assert fragment.blocks[:-1] == (everywhere,)
    offsets = [fragment.primary.fragment_offset for fragment in fragments]
    ends = [0]
    for fragment in fragments:
        ends.append(ends[-1] + len(fragment.payload.data))
    assert offsets == ends[:-1]
    assert {fragment.primary.total_adu_length for fragment in fragments} == {500}
    # A fragment that is not the first keeps its own unreplicated blocks in its first part.
    late = dataclasses.replace(fragments[1], blocks=(first_only, *fragments[1].blocks))
    parts = fragment_bundle(late, 160)
    assert len(parts) > 1
    assert [len(part.blocks) for part in parts] == [3] + [2] * (len(parts) - 1)


def test_every_fragment_can_stand_without_its_integrity_block() -> None:
    bib = CanonicalBlock(BLOCK_INTEGRITY, 2, 0, b"\x81\x00\x01\x00\x82\x02\x82\x01\x00\x80")
    bundle = dataclasses.replace(
        _bundle(bytes(400), bib), primary=dataclasses.replace(PRIMARY, crc_type=CRC_NONE)
    )
    fragments = fragment_bundle(bundle, 200)
    # Not the first either: its integrity block is over the primary block of the whole.
    assert [part.primary.crc_type for part in fragments] == [CRC_32] * len(fragments)
    whole = reassemble([decode_bundle(encode_bundle(part))[0] for part in reversed(fragments)])
    signed = PrimaryForm(whole.primary).without_crc()
    assert encode_primary(signed) == encode_primary(bundle.primary)
    assert encode_bundle(Bundle(signed, whole.blocks)) == encode_bundle(bundle)


@pytest.mark.parametrize(
    ("bundle", "limit", "why"),
    [
        (
            Bundle(dataclasses.replace(PRIMARY, flags=NO_FRAGMENT), _bundle(bytes(500)).blocks),
            200,
            "must not",
        ),
        (
            Bundle(dataclasses.replace(PRIMARY, source=Eid.NONE), _bundle(bytes(500)).blocks),
            200,
            "anonymous",
        ),
        (_bundle(bytes(500)), 60, "too few"),
        (_bundle(bytes(500)), 0, "too few"),
        (_bundle(b""), 60, "no payload"),
        (_bundle(bytes(500), CanonicalBlock(222, 9, REPLICATE, bytes(300))), 200, "too few"),
    ],
)
def test_what_cannot_be_fragmented(bundle: Bundle, limit: int, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        fragment_bundle(bundle, limit)


def test_number_of_fragments_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = _bundle(bytes(500))
    count = len(fragment_bundle(bundle, 150))
    monkeypatch.setattr(fragment_module, "FRAGMENTS_MAX", count)
    assert len(fragment_bundle(bundle, 150)) == count
    monkeypatch.setattr(fragment_module, "FRAGMENTS_MAX", count - 1)
    with pytest.raises(LocalError, match="fragments"):
        fragment_bundle(bundle, 150)


def _part(start: int, data: bytes, total: int, sequence: int = 1) -> Bundle:
    primary = dataclasses.replace(
        PRIMARY,
        flags=IS_FRAGMENT,
        sequence=sequence,
        fragment_offset=start,
        total_adu_length=total,
    )
    return Bundle(primary, (CanonicalBlock(1, 1, 0, data),))


def test_contradictions_are_refused_and_change_nothing() -> None:
    reassembler = Reassembler()
    assert reassembler.add(_part(0, b"abcd", 10)) is None
    held = reassembler.held_bytes
    for bad in (
        _part(4, b"ef", 11),
        _part(8, b"abc", 10),
        _part(4, b"", 10),
        _part(0, b"a", BUNDLE_BYTES_MAX + 1, sequence=2),
        _part(0, b"", 0, sequence=3),
    ):
        with pytest.raises(DecodeError):
            reassembler.add(bad)
    assert (len(reassembler), reassembler.held_bytes) == (1, held)
    with pytest.raises(LocalError, match="not a fragment"):
        reassembler.add(_bundle(b"whole"))
    whole = reassembler.add(_part(4, b"efghij", 10))
    assert whole is not None
    assert bytes(whole.payload.data) == b"abcdefghij"


def test_of_octets_that_come_twice_the_first_are_kept() -> None:
    reassembler = Reassembler()
    reassembler.add(_part(2, b"CD", 6))
    reassembler.add(_part(1, b"xxxx", 6))
    whole = reassembler.add(_part(0, b"yyyyyy", 6))
    assert whole is not None
    assert bytes(whole.payload.data) == b"yxCDxy"


def test_number_of_data_units_is_bounded_and_dropping_makes_room() -> None:
    reassembler = Reassembler(adus_max=2)
    for sequence in (1, 2):
        reassembler.add(_part(0, b"ab", 4, sequence))
    with pytest.raises(LocalError, match="2 data units"):
        reassembler.add(_part(0, b"ab", 4, 3))
    assert reassembler.add(_part(2, b"cd", 4, 2)) is not None
    assert reassembler.add(_part(0, b"ab", 4, 3)) is None
    reassembler.drop(adu_key(_part(0, b"ab", 4, 1).primary))
    reassembler.drop(adu_key(_part(0, b"ab", 4, 1).primary))
    assert len(reassembler) == 1


def test_memory_is_bounded_and_given_back() -> None:
    reassembler = Reassembler(bytes_max=1000)
    fit = 1000 // (fragment_module.PIECE_OVERHEAD_BYTES + 1)
    for index in range(fit):
        reassembler.add(_part(2 * index, b"a", 100_000))
    with pytest.raises(LocalError, match="no room"):
        reassembler.add(_part(2 * fit, b"a", 100_000))
    assert reassembler.held_bytes == fit * (fragment_module.PIECE_OVERHEAD_BYTES + 1)
    blocks = tuple(CanonicalBlock(222, number, 0, bytes(400)) for number in (2, 3, 4))
    heavy = _part(0, b"a", 10, sequence=9)
    with pytest.raises(LocalError, match="no room"):
        reassembler.add(Bundle(heavy.primary, (*blocks, *heavy.blocks)))
    reassembler.drop(adu_key(PRIMARY))
    assert (len(reassembler), reassembler.held_bytes) == (0, 0)
    with pytest.raises(LocalError, match="no room"):
        reassembler.add(_part(0, bytes(1001), 2000))
    assert len(reassembler) == 0


def test_what_is_held_does_not_look_into_the_buffer_it_came_from() -> None:
    buffer = bytearray(encode_bundle(fragment_bundle(_bundle(bytes(range(200))), 170)[0]))
    second = fragment_bundle(_bundle(bytes(range(200))), 170)[1:]
    reassembler = Reassembler()
    reassembler.add(decode_bundle(buffer)[0])
    buffer[:] = bytes(len(buffer))
    whole = [reassembler.add(part) for part in second][-1]
    assert whole == _bundle(bytes(range(200)))


def test_fragments_that_leave_a_hole_make_no_bundle() -> None:
    parts = fragment_bundle(_bundle(bytes(500)), 150)
    with pytest.raises(LocalError, match="cover"):
        reassemble(parts[:1] + parts[2:])
    with pytest.raises(LocalError, match="cover"):
        reassemble([])


def test_blocks_that_were_never_encoded_are_put_together_too() -> None:
    bundle = Bundle(
        dataclasses.replace(PRIMARY, flags=0),
        (CanonicalBlock(200, 2, 0, b"extension", 0), CanonicalBlock(1, 1, 0, bytes(300), 0)),
    )
    fragments = [
        dataclasses.replace(
            fragment,
            blocks=tuple(
                dataclasses.replace(block, data=bytes(block.data), encoded=None)
                for block in fragment.blocks
            ),
        )
        for fragment in fragment_bundle(bundle, 150)
    ]
    assert len(fragments) > 2
    whole = reassemble(fragments)
    assert whole.blocks == bundle.blocks
    assert [block.encoded for block in whole.blocks] == [None, None]
