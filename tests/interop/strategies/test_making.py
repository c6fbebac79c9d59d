"""One maker, two who choose: both reach the same cases, and what fails is small."""

from __future__ import annotations

import itertools
import pickle
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.strategies import (
    Choices,
    Maker,
    Nearly,
    Violation,
    code,
    encoded_bundles,
    examples,
    explain,
    mutate,
    mutated,
    mutated_bundles,
    nearly_bundles,
    noted,
    strategy,
)
from interop.strategies.bundle import dtn_eids, eids
from interop.strategies.choices import Drawn, Quick
from interop.strategies.making import BATCH, SHARING, SharedParts, shared_parts
from interop.strategies.mutation import EDGES, LONGEST
from interop.strategies.nearly_bundle import BUNDLE_RULES
from interop.strategies.shrinking import Answers, Recording
from stack.core.eid import Eid
from stack.wire.bundle import (
    STATUS_TIME,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    decode_bundle,
    encode_bundle,
)
from stack.wire.sdnv import encode_sdnv
from tests.benchmarks.bench_strategies import MAKERS, READERS


@strategy
def pairs(choose: Choices, *, most: int = 9) -> tuple[int, bytes]:
    """A pair to try things with."""
    return choose.integer(0, most), b"".join(choose.octets(1, 2) for _ in choose.many(1, 4))


def test_a_stream_is_the_same_again_and_each_case_can_be_had_alone() -> None:
    maker = pairs.maker(most=1000)
    cases = list(itertools.islice(maker.cases(7), 200))
    assert cases == list(itertools.islice(maker.cases(7), 200))
    assert len(set(cases)) > 150
    assert [maker.case(7, number) for number in (0, 63, 64, 199)] == [
        cases[number] for number in (0, 63, 64, 199)
    ]
    assert cases != list(itertools.islice(maker.cases(8), 200))


@given(pairs(most=3), pairs())
def test_a_strategy_takes_arguments(small: tuple[int, bytes], other: tuple[int, bytes]) -> None:
    assert small[0] <= 3
    assert other[0] <= 9
    assert 1 <= len(small[1]) <= 8


def test_failing_cases_shrink() -> None:
    from hypothesis import find

    assert find(pairs(most=1000), lambda pair: pair[0] >= 37 and len(pair[1]) > 2) == (
        37,
        b"\0\0\0",
    )
    assert len(str(find(eids(), lambda eid: "%" in str(eid)))) <= len("dtn://%00a/")


CHOICES = st.sampled_from(["hypothesis", "quick"])


@given(st.data(), CHOICES, st.integers(1, 64), st.integers(0, 1000))
def test_choices_stay_within_their_bounds(
    data: st.DataObject, who: str, bits: int, seed: int
) -> None:
    choose = Drawn(data.draw) if who == "hypothesis" else Quick(random.Random(seed))
    least = seed % (1 << bits)
    assert least <= choose.uint(bits, least) < 1 << bits
    assert -(1 << bits) <= choose.integer(-(1 << bits), 1 << bits) <= 1 << bits
    assert 2 <= len(choose.octets(2, 5)) <= 5
    text = choose.text("abc", 1, 3)
    assert 1 <= len(text) <= 3
    assert set(text) <= set("abc")
    assert choose.pick("xyz") in "xyz"
    assert 1 <= len(list(choose.many(1, 4))) <= 4


def test_quick_cases_shrink_too() -> None:
    assert pairs.maker(most=1000).smallest(
        lambda pair: pair[0] >= 37 and len(pair[1]) > 2, seed=3
    ) == (37, b"\0\0\0")
    assert pairs.maker().smallest(lambda pair: pair[0] > 9, count=100) is None

    def ends_with_a_flag(octets: bytes) -> bool:
        return decode_bundle(octets)[0].primary.flags & STATUS_TIME > 0

    small = encoded_bundles.maker().smallest(ends_with_a_flag)
    assert small is not None
    assert ends_with_a_flag(small)
    assert len(small) < 50
    assert decode_bundle(small)[0].primary.flags.bit_count() <= 2

    case = nearly_bundles.maker().smallest(lambda case: "numbers are unique" in str(case.violation))
    assert case is not None
    assert len(case.encoded) < 60


def test_neighbours_in_a_stream_share_what_they_change_and_a_strategy_shares_nothing() -> None:
    maker = nearly_bundles.maker(rules=BUNDLE_RULES[:1])
    count = BATCH * SHARING
    first = {case.valid for case in itertools.islice(maker.cases(5), count)}
    after = {maker.case(5, number).valid for number in range(count, count + BATCH)}
    assert SharedParts.parts / 2 < len(first) <= SharedParts.parts
    assert len(after) > BATCH / 4
    assert not first & after
    assert len({case.valid for case in examples(maker.strategy(), 30)}) > 20


@given(st.integers(0, 1 << 20), st.integers(0, 200))
def test_what_is_recorded_is_what_is_streamed(seed: int, number: int) -> None:
    makers: list[Maker[Any]] = [
        pairs.maker(most=100),
        encoded_bundles.maker(),
        mutated.maker(encoded_bundles.maker()),
        mutated_bundles.maker(),
    ]
    maker = makers[seed % len(makers)]
    case = maker.case(seed, number)
    shared = shared_parts(seed, number // BATCH // SHARING)
    choose = Recording(random.Random(f"{seed}/{number // BATCH}"), shared)
    for _ in range(number % BATCH):
        maker(choose)
    choose.answers.clear()
    assert maker(choose) == case
    assert maker(Answers(choose.answers)) == case


def test_edges_come_often() -> None:
    @strategy
    def numbers(choose: Choices) -> int:
        return choose.uint(64)

    drawn = set(itertools.islice(numbers.maker().cases(), 3000))
    assert {0, 23, 24, 255, 256, 65535, 65536, (1 << 32) - 1, 1 << 32, (1 << 64) - 1} <= drawn


def test_parts_come_from_strategies_of_hypothesis_too() -> None:
    @strategy
    def inside(choose: Choices, part: st.SearchStrategy[int]) -> list[int]:
        return [choose.draw(part) for _ in choose.many(3, 3)]

    maker = inside.maker(st.integers(40, 50))
    found = {one for case in itertools.islice(maker.cases(), 100) for one in case}
    assert len(found) > 5
    assert found <= set(range(40, 51))
    assert all(set(case) <= set(range(40, 51)) for case in examples(maker.strategy(), 10))


def test_mutations_are_many_and_bounded() -> None:
    data = bytes(range(64))
    rng = random.Random(1)
    seen = {mutate(data, [data, b"\xee" * 40], rng) for _ in range(3000)}
    assert len(seen) > 2000
    assert any(edge in one for one in seen for edge in EDGES if len(edge) > 4)
    assert any(b"\xee\xee" in one for one in seen)
    assert {len(one) > 64 for one in seen} == {True, False}
    assert all(len(mutate(bytes(LONGEST), [data], rng)) <= LONGEST for _ in range(50))


def test_a_repair_makes_mutants_look_right() -> None:
    def checksum(octets: bytes) -> bytes:
        return octets[:-1] + bytes([sum(octets[:-1]) % 256])

    maker = mutated.maker(st.just(checksum(b"hello, world\0")), checksum)
    cases = [one for one in itertools.islice(maker.cases(), 300) if one]
    assert len(set(cases)) > 100
    assert all(sum(one[:-1]) % 256 == one[-1] for one in cases)


EXAMPLE = Bundle(
    PrimaryBlock(Eid.parse("ipn:7.9"), Eid.parse("dtn://a/b"), Eid.NONE, 1, 2, 3),
    (CanonicalBlock(1, 1, 0, b"hi"),),
)


@pytest.mark.parametrize(
    "value",
    [EXAMPLE, (1,), [b"", b"x"], {"a": Violation("§1", "no")}, Eid(9, b"\x01"), Nearly(
        b"\x01", Violation("RFC 9171 §4.1", "what's wrong"), b"")],
)  # fmt: skip
def test_code_makes_the_value_again(value: object) -> None:
    assert eval(code(value), globals()) == value


def test_what_was_right_is_made_when_it_is_asked_for_and_once() -> None:
    made: list[bytes] = []

    def valid() -> bytes:
        made.append(b"right")
        return made[-1]

    case = Nearly(b"wrong", Violation("§1", "no"), valid)
    assert not made
    assert (
        case
        == Nearly(b"wrong", Violation("§1", "no"), b"right")
        == pickle.loads(pickle.dumps(case))
    )
    assert case != Nearly(b"wrong", Violation("§1", "no"), b"left")
    assert (case.valid, made) == (b"right", [b"right"])


DEAR = (
    "bpsec_cose.nearly_cose_blocks",
    "configuration.nearly_scenario_files",
    "key_messages.nearly_key_messages",
    "nearly_audit.encoded_receipts",
    "nearly_audit.nearly_notes",
    "nearly_audit.nearly_receipts",
    "nearly_bpsec.nearly_secured_bundles",
    "nearly_certificate.nearly_certificates",
    "nearly_enrolment.nearly_requests",
    "nearly_fragments.nearly_fragment_sets",
)
"""Some that share parts, or keep them, because to make these costs much."""


@pytest.mark.parametrize("name", DEAR)
def test_what_is_quick_is_not_the_same_again(name: str) -> None:
    cases = list(itertools.islice(MAKERS[name].cases(3), 400))
    assert len({getattr(case, "encoded", case) for case in cases}) > 0.85 * len(cases)


def test_what_the_benchmark_reads_is_there() -> None:
    for _, names in READERS.values():
        for name in names:
            case = MAKERS[name].case(0, 0)
            assert isinstance(getattr(case, "encoded", case), bytes), name
    assert "nearly_bpsec.nearly_secured_bundles" in MAKERS


def test_an_explanation_has_the_rule_the_hex_and_the_tree() -> None:
    octets = encode_bundle(EXAMPLE)
    broken = octets[:-3] + b"\0" + octets[-2:]
    text = explain(Nearly(broken, Violation("RFC 9171 §4.9", "a number is wrong"), octets))
    assert text.startswith("breaks RFC 9171 §4.9: a number is wrong\n")
    assert f"bytes.fromhex({broken.hex()!r})" in text
    assert "ipn:7.9" in text
    assert "ltp" in explain(b"\x00" + encode_sdnv(9) * 4, "ltp").lower()
    assert explain(EXAMPLE) == code(EXAMPLE)


def test_a_failing_test_shows_the_explanation(capsys: pytest.CaptureFixture[str]) -> None:
    @given(dtn_eids())
    def fails(eid: Eid) -> None:
        noted(b"\x9f\xff", "bundle")
        raise AssertionError

    with pytest.raises(AssertionError) as caught:
        fails()
    assert any("bytes.fromhex('9fff')" in line for line in caught.value.__notes__)
