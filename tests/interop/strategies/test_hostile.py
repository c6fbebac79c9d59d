"""What is hard to bear is borne by us; what is legal of it is taken."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.inspect import dissect
from interop.strategies import NearlySet, code
from interop.strategies.bundle import bundles, encoded_bundles, fragment_sets
from interop.strategies.choices import Quick
from interop.strategies.hostile import BUNDLE_WEAKNESSES, Hostile, Weakness, hostile_bundles
from interop.strategies.mutated_bundle import bundle_crcs, mutated_bundles
from interop.strategies.nearly_fragments import FRAGMENT_RULES, nearly_fragment_sets
from stack.core.errors import DecodeError, LocalError
from stack.wire.bundle import (
    LENIENT,
    Bundle,
    Reassembler,
    decode_bundle,
    encode_bundle,
    reassemble,
)
from tests.interop.strategies.test_nearly import take

EACH = 25

BOUNDS = ("RFC 8949 §10", "limits.")
"""Where we say that something legal is too much for us."""


def refusal(octets: bytes) -> str | None:
    """The section for which we refuse a bundle, or None."""
    try:
        take(octets)
    except DecodeError as error:
        return error.section
    return None


@pytest.mark.parametrize("weakness", BUNDLE_WEAKNESSES, ids=lambda weakness: weakness.name)
def test_each_kind_has_the_verdict_that_is_due(weakness: Weakness) -> None:
    for case in itertools.islice(hostile_bundles.maker(weaknesses=(weakness,)).cases(), EACH):
        dissect(case.encoded, "bundle")
        why = refusal(case.encoded)
        assert (why is None or why.startswith(BOUNDS)) if weakness.legal else why, (case, why)


@given(hostile_bundles())
def test_a_hostile_bundle_is_code_that_makes_it_again(case: Hostile) -> None:
    assert eval(repr(case), {"Hostile": Hostile, "Weakness": Weakness}) == case


WITH_CRC = encoded_bundles(crc_types=(1, 2), payload=st.binary(min_size=8, max_size=60))


@given(WITH_CRC, st.integers(0, 7))
def test_crcs_are_made_right_again(octets: bytes, bit: int) -> None:
    assert bundle_crcs(octets) == octets
    broken = bytearray(octets)
    broken[-9] ^= 1 << bit  # in the payload
    with pytest.raises(DecodeError):
        decode_bundle(broken)
    decode_bundle(bundle_crcs(bytes(broken)))


@given(st.binary(max_size=60))
def test_what_is_no_bundle_is_left_alone(octets: bytes) -> None:
    assert len(bundle_crcs(octets)) == len(octets)


def test_mutants_reach_deep() -> None:
    seen: Counter[str] = Counter()
    for octets in itertools.islice(mutated_bundles.maker().cases(), 2000):
        try:
            take(octets)
            seen["taken"] += 1
        except DecodeError as error:
            seen[error.section] += 1
    assert seen["taken"] > 300
    assert seen["RFC 9171 §4.2.2"] < 500, "most would be refused for their CRC alone"
    assert len(seen) > 12, "each part of the decoder has something to refuse"


def test_mutants_of_bundles_that_are_given() -> None:
    bundle = next(bundles.maker(kind="whole").cases())
    maker = mutated_bundles.maker(bundle=lambda choose: bundle)
    choose = Quick(random.Random(1))
    sources = Counter(bundle.primary.source in dissected(maker(choose)) for _ in range(200))
    assert sources[True] > 60


def dissected(octets: bytes) -> list[object]:
    try:
        primary = decode_bundle(octets, mode=LENIENT)[0].primary
    except DecodeError:
        return []
    return [primary.source]


@given(fragment_sets(most=5))
def test_fragments_make_up_their_data_unit(fragments: tuple[Bundle, ...]) -> None:
    whole = reassemble([take(encode_bundle(fragment)) for fragment in fragments])
    first = min(fragments, key=lambda one: one.primary.fragment_offset or 0)
    assert len(whole.payload.data) == first.primary.total_adu_length
    assert whole.primary.source == first.primary.source


def joined(encoded: tuple[bytes, ...]) -> list[bytes]:
    """The payloads that come of fragments, whatever is wrong with some of them."""
    reassembler = Reassembler()
    found = []
    for octets in encoded:
        try:
            whole = reassembler.add(take(octets))
        except (DecodeError, LocalError):
            continue
        if whole is not None:
            found.append(bytes(whole.payload.data))
    return found


@given(nearly_fragment_sets())
def test_a_contradiction_makes_nothing_longer_or_shorter(case: NearlySet) -> None:
    (right,) = joined(case.valid)
    assert [len(one) for one in joined(case.encoded)] in ([], [len(right)]), code(case)


def test_all_contradictions_are_drawn() -> None:
    cases = itertools.islice(nearly_fragment_sets.maker().cases(), 200)
    assert {case.violation for case in cases} == {violation for violation, _ in FRAGMENT_RULES}
