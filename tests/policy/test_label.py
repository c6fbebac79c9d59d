"""Data policies travel unchanged, and together they never allow more than each alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.errors import DecodeError, LocalError
from stack.policy import DataPolicy, Marking, NodeFacts, NodeSet
from stack.policy.label import (
    LABEL_BYTES_MAX,
    MAGIC,
    MARKINGS_MAX,
    decode_label,
    encode_label,
    is_label,
    label_of,
    policy_block,
)
from stack.policy.node_set import DEPTH_MAX, TERMS_MAX
from stack.wire import cbor
from stack.wire.bundle import DATA_POLICY, DELETE_UNPROCESSED, REPLICATE, CanonicalBlock
from tests.policy import cases


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"readers": "KR"}, r"readers: 'KR' \(str\) is no NodeSet; NodeSet\.parse"),
        ({"rest": 5}, "rest: 5"),
        ({"transit": ["KR"]}, "transit: "),
        ({"expires_ms": "2027-01-01"}, "expires_ms: .* it takes DTN milliseconds"),
        ({"audit": "yes"}, "audit: 'yes'"),
        ({"markings": [Marking("KR", "open")]}, r"markings: .* frozenset\({Marking"),
    ],
)
def test_a_policy_of_other_kinds_says_what_to_give(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(LocalError, match=words):
        DataPolicy(**wrong)


@given(cases.policies)
def test_a_label_reads_back_and_is_deterministic_cbor(policy: DataPolicy) -> None:
    label = encode_label(policy)
    assert decode_label(label) == policy
    assert cbor.deterministic(label) == label
    block = policy_block(policy, number=6, crc_type=0)
    assert label_of([CanonicalBlock(DATA_POLICY, 9, 0, b"\x01"), block]) == label
    assert block.flags == REPLICATE | DELETE_UNPROCESSED


@pytest.mark.slow
@given(cases.policies, cases.policies, cases.policies)
def test_the_meet_is_a_meet(a: DataPolicy, b: DataPolicy, c: DataPolicy) -> None:
    assert a.meet(b) == b.meet(a)
    assert a.meet(b).meet(c) == a.meet(b.meet(c))
    assert a.meet(a) == a
    assert a.meet(DataPolicy()) == a


@given(cases.policies, cases.policies, cases.nodes)
def test_the_meet_never_widens(a: DataPolicy, b: DataPolicy, node: NodeFacts) -> None:
    both = a.meet(b)
    for one in (a, b):
        for name in ("readers", "rest", "transit"):
            assert getattr(one, name).holds(node) or not getattr(both, name).holds(node)
        assert not one.expires_ms or 0 < both.expires_ms <= one.expires_ms
        assert both.audit >= one.audit
        assert both.markings >= one.markings


@given(cases.policies, st.data())
def test_damaged_labels_are_refused_or_read_as_what_they_say(
    policy: DataPolicy, data: st.DataObject
) -> None:
    label = bytearray(encode_label(policy))
    place = data.draw(st.integers(0, len(label) - 1))
    label[place] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_label(bytes(label))
    except DecodeError:
        return
    assert decode_label(encode_label(found)) == found
    with pytest.raises(DecodeError):
        decode_label(bytes(label[:place]))


def test_other_blocks_of_that_type_are_none_of_ours() -> None:
    for data in (b"", b"\x01", b"\x87kdata-polici", encode_label(DataPolicy())[1:]):
        assert not is_label(data)
        with pytest.raises(DecodeError):
            decode_label(data)


def test_what_would_not_read_back_does_not_leave() -> None:
    atoms = " | ".join(f"role:{number:04}" for number in range(TERMS_MAX))
    wide = NodeSet.parse(atoms)
    with pytest.raises(LocalError, match="shorter"):
        encode_label(DataPolicy(rest=wide | NodeSet.parse(atoms.replace("role", "domain"))))
    many = frozenset(Marking(str(number), "SECRET") for number in range(MARKINGS_MAX + 1))
    with pytest.raises(LocalError, match="markings"):
        encode_label(DataPolicy(markings=many))
    long = frozenset(Marking(str(n), "X", tuple(f"{c:0200}" for c in range(9))) for n in range(9))
    with pytest.raises(LocalError, match=f"{LABEL_BYTES_MAX}"):
        encode_label(DataPolicy(markings=long))
    with pytest.raises(LocalError):
        Marking("NATO", "x" * 300)


def label_of_sets(*sets: str) -> bytes:
    """A label of these sets, in whatever words."""
    return b"".join((cbor.head(4, 7), *map(cbor.tstr, (MAGIC, *sets)), b"\x00\x00\x80"))


def test_what_could_not_be_written_again_is_no_label() -> None:
    """What is said about data carries a label, too, and so does what goes to quarantine."""
    nested = "AA" + "&BB - CC" * (DEPTH_MAX + 1)  # each needs parentheses as we write it
    tight = "|".join(f"role:abcdefgh&role:abcdefgh{n:02}" for n in range(TERMS_MAX // 2))
    for text in (nested, tight):
        NodeSet.parse(text)
        with pytest.raises(DecodeError, match="written again"):
            decode_label(label_of_sets("any", text, "any"))
    for text in ("AA&BB|CC", " ( KR ) ", "any - AA - BB"):
        found = decode_label(label_of_sets(text, text, text))
        assert decode_label(encode_label(found)) == found


def test_a_label_that_would_take_the_stack_of_its_readers_is_none() -> None:
    with pytest.raises(DecodeError, match="more than"):
        decode_label(label_of_sets("any", "AA" + " & BB - CC" * 90, "any"))


def test_labels_beyond_their_bounds_are_refused() -> None:
    label = encode_label(DataPolicy())
    for wrong in (label + b"\x00", label[:-3] + b"\x00\x02\x80", label + bytes(LABEL_BYTES_MAX)):
        with pytest.raises(DecodeError):
            decode_label(wrong)
    marked = encode_label(DataPolicy(markings=frozenset({Marking("NATO", "SECRET", ("A",))})))
    assert decode_label(marked) == replace(
        DataPolicy(), markings=frozenset({Marking("NATO", "SECRET", ("A",))})
    )
