"""CFDP: what the strategies call right is right, what they call wrong is refused, and for that."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given

from interop.strategies.cfdp import (
    PDU_RULES,
    encoded_pdus,
    mutated_pdus,
    nearly_pdus,
    repaired,
)
from interop.strategies.rules import WireRule
from stack.core.errors import DecodeError
from stack.wire.cfdp import Pdu, decode_pdu, encode_pdu


@pytest.mark.parametrize("rule", PDU_RULES, ids=lambda rule: str(rule.violation.words))
def test_a_pdu_that_breaks_a_rule_is_refused_for_it(rule: WireRule[Pdu]) -> None:
    for one in islice(nearly_pdus.maker(rules=[rule]).cases(), 200):
        pdu, end = decode_pdu(one.valid)
        assert (end, encode_pdu(pdu)) == (len(one.valid), one.valid)
        with pytest.raises(DecodeError) as refused:
            decode_pdu(one.encoded)
        assert refused.value.section == rule.violation.clause


@given(encoded_pdus())
def test_what_is_right_needs_no_repair(octets: bytes) -> None:
    assert repaired(octets) == octets


def test_mutated_pdus_reach_the_fields() -> None:
    """Few are refused for their length or CRC."""
    taken, outside = 0, 0
    for octets in islice(mutated_pdus.maker().cases(), 1000):
        try:
            decode_pdu(octets)
            taken += 1
        except DecodeError as error:
            outside += error.section in ("CCSDS 727.0-B-5 §4.1", "CCSDS 727.0-B-5 §5.1")
    assert taken > 300
    assert outside < 350


@given(nearly_pdus())
def test_any_such_pdu_is_refused(one: object) -> None:
    octets = getattr(one, "encoded", b"")
    with pytest.raises(DecodeError):
        decode_pdu(octets)
