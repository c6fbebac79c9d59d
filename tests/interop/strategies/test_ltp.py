"""LTP: what the strategies call right is right, what they call wrong is refused, and for that."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.strategies.ltp import (
    SEGMENT_RULES,
    encoded_segments,
    fields,
    mutated_segments,
    nearly_segments,
    segments,
    session_ids,
)
from interop.strategies.ltp_sessions import (
    ANSWER_RULES,
    AnswerRule,
    Conversation,
    answers,
    conversations,
    export_of,
    nearly_answers,
)
from interop.strategies.ltp_transfers import (
    TRANSFER_RULES,
    NearlyTransfer,
    Transfer,
    TransferRule,
    nearly_transfers,
    transfers,
)
from interop.strategies.rules import WireRule
from interop.strategies.violation import Nearly, Violation
from stack.core.errors import DecodeError
from stack.core.train import single
from stack.engines.ltp import BlockReceived, PeerViolation, ReportHeld
from stack.wire.ltp import (
    CancelAck,
    CancelSegment,
    DataSegment,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
    decode_segment,
    encode_segment,
)
from tests.engines.ltp.lone import REMOTE, Lone

TOLERATED = ("claims that touch", "a report without claims")
"""They say nothing false (docs/conformance-ltp.md, deliberate differences)."""

THEIRS = session_ids.maker(engine=REMOTE)


def named(rule: Any) -> str:
    return str(rule.violation.words)


each_segment_rule = pytest.mark.parametrize("rule", SEGMENT_RULES, ids=named)
each_transfer_rule = pytest.mark.parametrize("rule", TRANSFER_RULES, ids=named)
each_answer_rule = pytest.mark.parametrize("rule", ANSWER_RULES, ids=named)


@given(segments())
def test_two_writers_write_the_same(segment: Segment) -> None:
    octets = encode_segment(segment)
    assert b"".join(fields(segment).values()) == octets
    assert decode_segment(octets) == (segment, len(octets))


@each_segment_rule
def test_a_segment_that_breaks_a_rule_is_refused_for_it(rule: WireRule[Segment]) -> None:
    for nearly in islice(nearly_segments.maker(rules=[rule]).cases(), 200):
        refused_segment(nearly, rule.violation)


@given(nearly_segments())
def test_any_such_segment_is_refused(nearly: Nearly) -> None:
    refused_segment(nearly, nearly.violation)


def refused_segment(nearly: Nearly, broken: Violation) -> None:
    assert nearly.violation == broken
    assert decode_segment(nearly.valid)[1] == len(nearly.valid)
    if broken.words in TOLERATED:
        decode_segment(nearly.encoded)
        return
    with pytest.raises(DecodeError) as refused:
        decode_segment(nearly.encoded)
    if broken.clause != "RFC 5326 §3":  # cut short, wherever that was
        assert refused.value.section == broken.clause
    lone = Lone()
    lone.feed_octets(nearly.encoded)
    assert lone.engine.counters()["segments_malformed"] == 1
    assert lone.said() == []


@settings(max_examples=100)
@given(mutated_segments() | encoded_segments())
def test_octets_of_any_kind_are_taken_or_refused(octets: bytes) -> None:
    try:
        _, end = decode_segment(octets)
    except DecodeError:
        return
    assert 0 < end <= len(octets)


def run_pending(lone: Lone, blocks: list[bytes]) -> list[PeerViolation]:
    """Do what the driver of an engine does, and gather blocks and violations."""
    found = []
    for event in lone.events():
        if isinstance(event, ReportHeld):
            lone.engine.report_noted(event.session)
        elif isinstance(event, BlockReceived):
            blocks.append(bytes(event.data))
            lone.engine.accept(event.session)
        elif isinstance(event, PeerViolation):
            found.append(event)
    return found


@settings(max_examples=100)
@given(transfers(session=THEIRS))
def test_a_transfer_is_right_whatever_the_link_does_to_it(transfer: Transfer) -> None:
    lone, blocks = Lone(), list[bytes]()
    for datagram in transfer.datagrams:
        lone.engine.receive(single(datagram), lone.now)
        assert run_pending(lone, blocks) == []
    red = transfer.block[: transfer.red_bytes]
    if transfer.whole and red:
        assert blocks == [red]
    elif not transfer.cancelled:
        assert blocks == []
    assert set(blocks) <= {red}


@each_transfer_rule
def test_a_segment_that_contradicts_its_session_is_refused_for_it(rule: TransferRule) -> None:
    for nearly in islice(nearly_transfers.maker(session=THEIRS, rules=[rule]).cases(), 200):
        refused_in_transfer(nearly, rule.violation)


@settings(max_examples=30)
@given(nearly_transfers(session=THEIRS))
def test_any_such_segment_is_refused_in_its_session(nearly: NearlyTransfer) -> None:
    refused_in_transfer(nearly, nearly.violation)


def refused_in_transfer(nearly: NearlyTransfer, broken: Violation) -> None:
    lone, blocks = Lone(), list[bytes]()
    for at, datagram in enumerate(nearly.transfer.datagrams):
        lone.engine.receive(single(datagram), lone.now)
        violations = run_pending(lone, blocks)
        if at < nearly.at:
            assert violations == []
        elif at == nearly.at:
            assert [violation.section for violation in violations] == [broken.clause]
            assert lone.engine.counters()["violations"] == 1
    red = nearly.transfer.block[: nearly.transfer.red_bytes]
    assert blocks in ([], [red])


@settings(max_examples=100)
@given(st.data(), st.integers(1, 5000))
def test_an_answer_is_believed(data: st.DataObject, size: int) -> None:
    lone = Lone()
    lone.submit(size)
    sent = lone.said()
    answer = data.draw(answers(export_of(sent)))
    lone.feed(answer)
    assert not any(isinstance(event, PeerViolation) for event in lone.events())
    said = lone.said()
    if isinstance(answer, ReportSegment):
        missing = set(range(answer.lower, answer.upper))
        for start, length in answer.claims:
            missing -= set(range(answer.lower + start, answer.lower + start + length))
        again = [one for one in said if isinstance(one, DataSegment)]
        assert {
            octet for one in again for octet in range(one.offset, one.offset + len(one.data))
        } >= missing
        assert ReportAck(session=answer.session, report_serial=answer.report_serial) in said
    else:
        assert said == [CancelAck(session=answer.session, to_sender=False)]


@each_answer_rule
def test_an_answer_that_cannot_be_is_not_believed(rule: AnswerRule) -> None:
    for number in range(100):
        lone = Lone()
        lone.submit(5000)
        made = nearly_answers.maker(export_of(lone.said()), rules=[rule])
        lone.feed_octets(made.case(1, number).encoded)
        counted = lone.engine.counters()
        assert counted["violations"] + counted["segments_refused"] == 1
        assert not any(isinstance(one, DataSegment) for one in lone.said())
        assert lone.engine.held_bytes == 5000, "completed, or failed"


@settings(max_examples=100)
@given(conversations())
def test_conversations_end(talk: Conversation) -> None:
    """A sender and a receiver of few words agree with what is said, and with how it ends."""
    here: set[int] = set()
    open_reports: dict[int, ReportSegment] = {}
    checkpoints: dict[int, int] = {}
    reported: set[int] = set()
    for said in talk.said:
        segment = said.segment
        if isinstance(segment, DataSegment):
            assert said.by_sender
            span = range(segment.offset, segment.offset + len(segment.data))
            assert bytes(segment.data) == talk.block[span.start : span.stop]
            assert (segment.kind >= SegmentType.GREEN) == (span.start >= talk.red_bytes)
            if segment.is_checkpoint:
                assert checkpoints.setdefault(segment.checkpoint_serial, span.stop) == span.stop
            if not said.lost and segment.kind < SegmentType.GREEN:
                here |= set(span)
        elif isinstance(segment, ReportSegment):
            assert not said.by_sender
            assert checkpoints[segment.checkpoint_serial] == segment.upper
            claimed = {
                octet
                for start, length in segment.claims
                for octet in range(segment.lower + start, segment.lower + start + length)
            }
            assert claimed <= here
            open_reports[segment.report_serial] = segment
            reported |= claimed if not said.lost else set()
        elif isinstance(segment, ReportAck):
            assert said.by_sender
            if not said.lost:
                del open_reports[segment.report_serial]
    assert open_reports == {}
    if talk.cancelled:
        ends = [one for one in talk.said if isinstance(one.segment, CancelAck) and not one.lost]
        assert len(ends) == 1
        assert any(isinstance(one.segment, CancelSegment) for one in talk.said)
    else:
        assert reported == set(range(talk.red_bytes))
