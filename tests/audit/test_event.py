"""Events read back as they were written, in one form alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from interop.strategies import audit
from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from stack.audit.event import Act, AuditEvent, decode_event, encode_event
from stack.core.errors import DecodeError, LocalError
from stack.wire import cbor


@settings(max_examples=100)
@given(audit.event())
def test_an_event_reads_back_and_is_deterministic_cbor(event: AuditEvent) -> None:
    octets = encode_event(event)
    assert decode_event(octets) == event
    assert cbor.deterministic(octets) == octets


@strategy
def nearly_event(choose: Choices) -> bytes:
    """The octets of an event with something wrong."""
    octets = bytearray(encode_event(audit.event.make(choose)))
    at = choose.integer(0, len(octets) - 1)
    match choose.integer(0, 2):
        case 0:
            octets[at] ^= 1 << choose.integer(0, 7)
        case 1:
            del octets[at]
        case _:
            octets.insert(at, choose.integer(0, 255))
    return bytes(octets)


@settings(max_examples=300)
@given(nearly_event())
def test_octets_that_are_nearly_an_event_have_one_meaning_or_none(octets: bytes) -> None:
    try:
        event = decode_event(octets)
    except DecodeError:
        return
    assert encode_event(event) == octets


def test_an_event_says_something_and_not_too_much() -> None:
    event = AuditEvent(Act.MADE | Act.STORED, 1, "dtn://a/", "dtn://a/x@1.2", detail="y" * 999)
    assert event.names == ["made", "stored"]
    assert len(decode_event(encode_event(event)).detail) == 256
    for wrong in ({"acts": 0}, {"object": "x" * 20_000}, {"object": "\xe9" * 10_000}):
        with pytest.raises(LocalError):
            encode_event(event._replace(**wrong))
    for octets in (b"", encode_event(event) + b"\0", bytes(20_000)):
        with pytest.raises(DecodeError):
            decode_event(octets)
