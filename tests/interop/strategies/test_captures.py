"""Capture files: what the strategies call right is read, what they call wrong is refused for it."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings

from interop.pcap import (
    LINKTYPE_UPPER_PDU,
    PacketPassedOver,
    parse_exported_pdu,
    parse_packet,
    read_capture,
)
from interop.strategies.captures import (
    CAPTURE_RULES,
    WrittenCapture,
    capture_files,
    captures,
    mutated_captures,
    nearly_captures,
    repaired,
)
from interop.strategies.rules import WireRule
from stack.core.errors import DecodeError


@pytest.mark.parametrize("rule", CAPTURE_RULES, ids=lambda rule: str(rule.violation))
def test_a_file_that_breaks_a_rule_is_refused_for_it(rule: WireRule[WrittenCapture]) -> None:
    for one in islice(nearly_captures.maker(rules=[rule]).cases(), 40):
        list(read_capture(one.valid))
        with pytest.raises(DecodeError) as refused:
            list(read_capture(one.encoded))
        assert refused.value.section == rule.violation.clause


@settings(max_examples=50)
@given(capture_files())
def test_both_formats_say_the_same(file: WrittenCapture) -> None:
    for octets in (file.pcap(), file.pcapng()):
        found = list(read_capture(octets))
        assert [one.data for one in found] == [one.data for one in file.packets]
        assert [one.time_ns for one in found] == [one.time_ns for one in file.packets]
        assert {one.linktype for one in found} <= {file.linktype}
        for one in found:
            if one.linktype == LINKTYPE_UPPER_PDU:
                parse_exported_pdu(one.data)
            else:
                parse_packet(one.data, one.linktype)


@settings(max_examples=50)
@given(captures())
def test_what_is_right_needs_no_repair(octets: bytes) -> None:
    assert repaired(octets) == octets


def test_mutated_files_reach_the_packets() -> None:
    packets = 0
    for octets in islice(mutated_captures.maker().cases(), 500):
        try:
            for record in read_capture(octets):
                packets += 1
                parse_packet(record.data, record.linktype)
        except (DecodeError, PacketPassedOver):
            continue
    assert packets > 150
