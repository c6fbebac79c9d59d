"""What breaks one rule is refused by us, for that rule; what it came from is taken."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.strategies import Nearly, noted
from interop.strategies import nearly_bundle as n
from interop.strategies.bundle import bundles, encoded_eids
from interop.strategies.nearly_bundle import BUNDLE_RULES, BundleRule, nearly_bundles
from interop.strategies.nearly_eid import EID_RULES, nearly_eids
from interop.strategies.nearly_record import nearly_status_reports
from interop.strategies.raw import RawBundle
from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.wire.bundle import (
    BUNDLE_AGE,
    DELETE_UNPROCESSED,
    HOP_COUNT,
    IS_ADMIN,
    IS_FRAGMENT,
    PREVIOUS_NODE,
    Bundle,
    CanonicalBlock,
    check_bundle,
    decode_admin,
    decode_bundle,
    decode_eid,
    encode_bundle,
    parse_bundle_age,
    parse_hop_count,
    parse_previous_node,
)
from tests.engines.bundle_agent.harness import HERE, NEXT, NOW, Harness

EACH = 60
"""Cases of each rule."""

PARSERS: dict[int, Callable[[CanonicalBlock], object]] = {
    PREVIOUS_NODE: parse_previous_node,
    BUNDLE_AGE: parse_bundle_age,
    HOP_COUNT: parse_hop_count,
}

BUNDLE_GROUPS = {
    "structure": n.STRUCTURE_RULES,
    "CRC": n.CRC_RULES,
    "flags": n.FLAG_RULES,
    "primary block": n.PRIMARY_RULES,
    "blocks": n.BLOCK_RULES,
    "contents": n.CONTENT_RULES,
    "EIDs": n.BUNDLE_EID_RULES,
}

ELSEWHERE = {
    "a bundle has a primary block": "RFC 9171 §4.3.1",
    "the primary block is the first": "RFC 9171 §4.3.1",
    "a block with a CRC type has a CRC": "RFC 9171 §4.3",  # a field is missing
    "a block with CRC type 0 has no CRC": "RFC 9171 §4.3.2",
    "array heads have their shortest form": "RFC 9171 §4",
    "type 2 is CRC-32C, not CRC-32": "RFC 9171 §4.2.2",
    "type 1 is X-25, not CCITT-FALSE": "RFC 9171 §4.2.2",
    "a previous node is an EID and nothing else": "RFC 9171 §4",
    "a bundle has at most one previous node block": "RFC 9171 §4.4",
    "a bundle has at most one age block": "RFC 9171 §4.4",
    "a bundle has at most one hop count block": "RFC 9171 §4.4",
    "a block has 5 or 6 fields: one less": "RFC 9171 §4",
    "a primary block has 8 fields and those it must: one less": "RFC 9171 §4.3.1",
    "the source is an EID": "RFC 9171 §4.2.5",
    "% is followed by two hexadecimal digits": "RFC 9171 §4.2.5.1.1",
    "an allocator identifier has 32 bits": "RFC 9758 §3.2, §3.3",
    "a node number has 32 bits": "RFC 9758 §3.2, §3.3",
}
"""Where our decoder notices what a rule forbids first under the heading of another."""


def take(octets: bytes) -> Bundle:
    """Everything of a bundle, as its destination reads it."""
    bundle, end = decode_bundle(octets)
    if end != len(octets):
        raise DecodeError("octets after the bundle", "RFC 9171 §4.1", end)
    check_bundle(bundle)
    for block in bundle.blocks:
        if block.type in PARSERS:
            PARSERS[block.type](block)
    if bundle.primary.flags & (IS_ADMIN | IS_FRAGMENT) == IS_ADMIN:
        decode_admin(bundle.payload.data)
    return bundle


@pytest.mark.parametrize("rule", BUNDLE_RULES, ids=lambda rule: str(rule.violation))
def test_each_violation_is_refused_for_what_it_is(rule: BundleRule) -> None:
    for case in itertools.islice(nearly_bundles.maker(rules=(rule,)).cases(), EACH):
        take(case.valid)
        assert case.encoded != case.valid
        with pytest.raises(DecodeError) as caught:
            take(case.encoded)
        section = caught.value.section
        clause = rule.violation.clause
        expected = (clause, ELSEWHERE.get(rule.violation.words, clause), "RFC 8949 §")
        assert section.startswith(expected), (section, str(case.violation), case.encoded.hex())


@given(nearly_bundles())
def test_no_violation_is_taken(case: Nearly) -> None:
    noted(case, "bundle")
    assert encode_bundle(take(case.valid)) == case.valid
    with pytest.raises(DecodeError):
        take(case.encoded)


@settings(max_examples=400)
@given(nearly_eids())
def test_no_such_eid_is_read(case: Nearly) -> None:
    assert decode_eid(case.valid)[1] == len(case.valid)
    with pytest.raises(DecodeError):
        decode_eid(case.encoded)


@given(nearly_status_reports())
def test_no_such_record_is_read(case: Nearly) -> None:
    noted(case, "bundle")
    decode_admin(case.valid)
    with pytest.raises(DecodeError):
        decode_admin(case.encoded)


def test_rules_have_names_of_their_own_and_a_clause() -> None:
    violations = [rule.violation for rule in BUNDLE_RULES]
    assert len(set(violations)) > 80
    eids = {violation for violation, _ in EID_RULES}
    assert len(eids) == len(EID_RULES)
    assert all(violation.clause.startswith("RFC ") for violation in violations)


def test_all_rules_are_drawn() -> None:
    drawn = {case.violation for case in itertools.islice(nearly_bundles.maker().cases(), 3000)}
    assert drawn == {rule.violation for rule in BUNDLE_RULES}


@given(bundles())
def test_fields_are_those_of_the_encoder(bundle: Bundle) -> None:
    assert RawBundle.of(bundle).encode() == encode_bundle(bundle)


@given(encoded_eids())
def test_encoded_eids_are_read(octets: bytes) -> None:
    assert decode_eid(octets)[1] == len(octets)


@pytest.mark.slow
def test_a_violation_shrinks() -> None:
    from hypothesis import find

    (rule,) = (rule for rule in BUNDLE_RULES if rule.violation.words.endswith("payload block: two"))
    case = find(nearly_bundles(rules=(rule,)), lambda case: True)
    assert len(case.encoded) < 90


@given(
    bundles(
        payload=st.just(b"mine"),
        blocks=st.builds(CanonicalBlock, st.just(199), st.just(2), st.just(0), st.binary()),
        kind="whole",
    )
)
def test_parts_are_those_that_were_asked_for(bundle: Bundle) -> None:
    assert take(encode_bundle(bundle)).payload.data == b"mine"
    assert {block.type for block in bundle.blocks[:-1]} <= {199}


def for_here(bundle: Bundle) -> Bundle:
    """A bundle made just now for an application of a node, that nothing else stands against."""
    primary = dataclasses.replace(
        bundle.primary,
        destination=Eid.parse(f"{HERE}app"),
        creation_ms=NOW - 1000,
        lifetime_ms=60_000,
    )
    young = {BUNDLE_AGE: b"\x01", HOP_COUNT: b"\x82\x05\x01"}
    blocks = [
        dataclasses.replace(
            block,
            data=young.get(block.type, block.data),
            flags=block.flags & ~DELETE_UNPROCESSED,
        )
        for block in bundle.blocks
    ]
    return Bundle(primary, tuple(blocks))


@pytest.mark.parametrize(
    "rules", [rules for rules in BUNDLE_GROUPS.values()], ids=list(BUNDLE_GROUPS)
)
def test_an_agent_takes_no_bundle_that_breaks_a_rule(rules: tuple[BundleRule, ...]) -> None:
    harness, other = Harness(), Harness()
    taken = 0
    for case in itertools.islice(nearly_bundles.maker(rules=rules, adapt=for_here).cases(), 300):
        put, *_ = harness.agent.receive(case.encoded, NOW, 0, NEXT)
        assert put is None, (str(case.violation), case.encoded.hex())
        taken += other.agent.receive(case.valid, NOW, 0, NEXT)[0] is not None
    assert taken > 200, "what it came from is taken: all but fragments of what is too large"
