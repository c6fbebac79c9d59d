"""Sets of nodes mean what is written, whatever is combined with what."""

from __future__ import annotations

import gc
import sys
from types import FrameType

import pytest
from hypothesis import given

from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.policy import NodeFacts, NodeSet
from stack.policy.eid_pattern import EidPattern
from stack.policy.node_set import CHARS_MAX, DEPTH_MAX, TERMS_MAX
from tests.policy import cases

KIRUNA = NodeFacts(Eid.parse("dtn://kiruna/"), "ssc", frozenset({"SE", "EU"}), frozenset({"relay"}))
DAEJEON = NodeFacts(Eid.parse("dtn://daejeon/"), "kari", frozenset({"KR"}), frozenset())


@pytest.mark.parametrize(
    ("text", "kiruna", "daejeon"),
    [
        ("KR | (EU - node:dtn://kiruna/)", False, True),
        ("EU", True, False),
        ("EU & KR", False, False),
        ("EU | KR", True, True),
        ("any - EU", False, True),
        ("any - EU - KR", False, False),
        ("any - (EU - domain:ssc)", True, True),
        ("EU - domain:ssc | KR", False, True),  # "-" binds more
        ("role:relay & EU", True, False),
        ("domain:kari", False, True),
        ('node:"dtn://kiruna/|dtn://daejeon/"', True, True),
        ("none", False, False),
        (" ( ( KR ) ) ", False, True),
        ("KR|EU&role:relay", True, True),
    ],
)
def test_what_is_written_is_meant(text: str, kiruna: bool, daejeon: bool) -> None:
    found = NodeSet.parse(text)
    assert (found.holds(KIRUNA), found.holds(DAEJEON)) == (kiruna, daejeon)
    assert not found.holds(None), "of whom nothing is known is nowhere"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "KR |",
        "| KR",
        "KR EU",
        "(KR",
        "KR)",
        "KR -EU",
        "1KR",
        "node:",
        "node:nonsense",
        "domain:",
        "KR & & EU",
        "role:a b",
        "KR;EU",
        "한국",
        'node:"dtn://kiruna/',
        "(" * 99 + "KR" + ")" * 99,
        "KR" + " | KR" * CHARS_MAX,
        "any - kr",  # no node could be under it, so nothing would be taken away
        "any-KR",
        "Any",
        'any - node:""',
        "any - node:ipn:5.1",
        "any - node:dtn://kiruna/ping",
        'any - node:"dtn://kiruna/ping|dtn://kiruna/"',
    ],
)
def test_what_is_no_set_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        NodeSet.parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("any - kr", "in capitals"),
        ("any - node:ipn:5.1", "means services, and no node: write it like"),
        ("role:", "not understood: 'role:'"),
        ('node:""', "not an EID pattern"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        NodeSet.parse(text)


@pytest.mark.parametrize("pattern", ["*:**", "ipn:**", "ipn:5.*", "dtn://kiruna/**", "dtn://*/*"])
def test_patterns_that_mean_nodes_besides_services_are_taken(pattern: str) -> None:
    assert str(NodeSet.parse(f"node:{pattern}")) == f"node:{pattern}"


@pytest.mark.parametrize(
    "link", [" & BB - CC", " - BB & CC", " - BB", "&BB|CC - (DD|EE)", " - (AA & BB)"]
)
def test_no_set_that_somebody_makes_up_takes_the_stack_of_who_reads_it(link: str) -> None:
    """Deeper ones are refused, and those that are not can be written, kept in tables and asked."""
    taken = 0
    for count in range(CHARS_MAX // len(link)):
        try:
            found = NodeSet.parse("AA" + link * count)
        except DecodeError as error:
            assert "more than" in str(error)  # noqa: PT017
            break
        taken += 1
        assert hash(found) == hash(NodeSet.parse("AA" + link * count))
        assert not found.holds(DAEJEON)
    assert taken >= DEPTH_MAX


@given(cases.sets, cases.sets, cases.nodes)
def test_sets_combine_as_sets_do(a: NodeSet, b: NodeSet, node: NodeFacts) -> None:
    assert (a & b).holds(node) == (a.holds(node) and b.holds(node))
    assert (a | b).holds(node) == (a.holds(node) or b.holds(node))
    assert (a - b).holds(node) == (a.holds(node) and not b.holds(node))


@given(cases.sets, cases.sets, cases.sets)
def test_what_several_have_in_common_is_written_in_one_way(
    a: NodeSet, b: NodeSet, c: NodeSet
) -> None:
    assert a & b == b & a
    assert (a & b) & c == a & (b & c)
    assert a & a == a
    assert a & NodeSet.ANY == a
    assert a & NodeSet.NONE == NodeSet.NONE


@given(cases.sets)
def test_the_text_reads_back(a: NodeSet) -> None:
    assert NodeSet.parse(str(a)) == a


def test_a_long_chain_reads_back() -> None:
    chain = NodeSet.parse("any" + " - KR" * (TERMS_MAX - 1))
    assert NodeSet.parse(str(chain)) == chain
    assert not chain.holds(DAEJEON)
    assert chain.holds(KIRUNA)


NAMES = [f"{a}{b}" for a in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for b in "ABCDEFGHIJKLMNOP"]


@pytest.mark.parametrize(
    "most",
    [
        "|".join(NAMES[:TERMS_MAX]),
        "&".join(NAMES[:TERMS_MAX]),
        " - ".join(NAMES[:TERMS_MAX]),
        "|".join(["KR"] * TERMS_MAX),
        'node:"' + "|".join(["ipn:1.0"] * TERMS_MAX) + '"',
        f"node:ipn:[{','.join(map(str, range(1, TERMS_MAX + 1)))}].0",
    ],
)
def test_a_set_has_so_many_names_and_no_more(most: str) -> None:
    """As reading a set, and asking it of each node of a plan, costs time for each of them."""
    NodeSet.parse(most)
    with pytest.raises(DecodeError, match=f"more than {TERMS_MAX} names, alternatives and"):
        NodeSet.parse(most + " | US")


def test_joining_names_takes_no_longer_than_reading_them() -> None:
    """Each `&` once made the whole of what stood before it anew."""
    written = []

    def count(frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_name == "_nested":
            written.append(frame)

    sys.setprofile(count)
    try:
        NodeSet.parse("&".join(NAMES[-TERMS_MAX:]))  # that nobody has read yet
    finally:
        sys.setprofile(None)
    assert TERMS_MAX <= len(written) < 3 * TERMS_MAX


def test_names_of_one_kind_are_none_of_another() -> None:
    """What is known of a node may come from somebody else's file."""
    liar = NodeFacts(
        Eid.parse("dtn://x/"), "KR", frozenset({"any", "none", "domain:kari"}), frozenset({"EU"})
    )
    for name in ("none", "domain:kari", "KR", "EU", "role:KR"):
        assert not NodeSet.parse(name).holds(liar), name
        assert not NodeSet.parse(f"{name} | XX").holds(liar), name
        assert not NodeSet.parse(f"{name} & any").holds(liar), name
    assert NodeSet.parse("domain:KR & role:EU").holds(liar)


@pytest.mark.parametrize("node", ["dtn://a/", "dtn://a(b/", "ipn:5.0", "ipn:977.12.0"])
@pytest.mark.parametrize(
    "pattern",
    [
        "dtn://a/",
        "dtn://a(b/",
        "dtn://*/",
        "dtn://a/**",
        "dtn://a/|dtn://b/",
        "ipn:5.0",
        "ipn:0.5.0",
        "ipn:[5].0",
        "ipn:[4-5].0",
        "ipn:5.*",
        "ipn:977.12.0",
        "ipn:**",
    ],
)
def test_a_set_of_one_node_and_its_pattern_mean_the_same(pattern: str, node: str) -> None:
    facts = NodeFacts(Eid.parse(node))
    meant = EidPattern.parse(pattern).matches(facts.id)
    for text in ("{}", "{} | US", "{} & any", "any - (any - {})"):
        found = NodeSet.parse(text.format(f'node:"{pattern}"'))
        assert found.holds(facts) == meant
        assert NodeSet.parse(str(found)).holds(facts) == meant


def test_a_set_takes_memory_in_proportion_to_its_text() -> None:
    """As each bundle that a node holds may have a policy of its own."""
    found = NodeSet.parse(" - ".join(["any", *(f"node:dtn://{n}/" for n in range(TERMS_MAX - 9))]))
    seen: dict[int, object] = {}
    waiting: list[object] = [found]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type):
            seen[id(one)] = one
            waiting += gc.get_referents(one)
    assert sum(map(sys.getsizeof, seen.values())) < 20 * len(str(found))
