"""TCPCL: what the strategies call right is right, what they call wrong is refused, and for that."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings

from interop.strategies.making import Maker
from interop.strategies.tcpcl import (
    CONTACT_RULES,
    MESSAGE_RULES,
    OneSide,
    encoded_contact_headers,
    mutated_messages,
    nearly_contact_headers,
    nearly_messages,
    streams,
)
from interop.strategies.violation import Nearly
from stack.core.errors import DecodeError
from stack.wire.tcpcl import (
    Incomplete,
    TransferSegment,
    decode_contact,
    decode_message,
    encode_contact,
    parse_transfer_length,
)

REFUSED: list[tuple[Any, Callable[..., Maker[Nearly]], Callable[[bytes], Any]]] = [
    *((rule, nearly_messages.maker, decode_message) for rule in MESSAGE_RULES),
    *((rule, nearly_contact_headers.maker, decode_contact) for rule in CONTACT_RULES),
]


@pytest.mark.parametrize(
    ("rule", "maker", "decode"), REFUSED, ids=[rule.violation.words for rule, _, _ in REFUSED]
)
def test_what_breaks_a_rule_is_refused_for_it(
    rule: Any, maker: Callable[..., Maker[Nearly]], decode: Callable[[bytes], Any]
) -> None:
    unended = rule.violation.words.endswith(("cut short", "ends within a message"))
    for one in islice(maker(rules=[rule]).cases(), 200):
        assert decode(one.valid)[1] == len(one.valid)
        with pytest.raises(DecodeError) as refused:
            decode(one.encoded)
        assert isinstance(refused.value, Incomplete) == unended
        if not unended:
            assert refused.value.section == one.violation.clause


@settings(max_examples=60)
@given(streams())
def test_a_stream_carries_its_transfers(stream: OneSide) -> None:
    octets = stream.octets
    header, at = decode_contact(octets)
    assert header == stream.contact
    carried: dict[int, bytes] = {}
    told: dict[int, int] = {}
    for expected in stream.messages:
        message, at = decode_message(octets, at)
        assert message == expected
        if isinstance(message, TransferSegment):
            assert message.is_start == (message.transfer not in carried)
            carried[message.transfer] = carried.get(message.transfer, b"") + message.data
            for item in message.extensions:
                told[message.transfer] = parse_transfer_length(item)
    assert at == len(octets)
    assert tuple(carried.values()) == stream.transfers
    assert all(len(carried[transfer]) == length for transfer, length in told.items())


@given(encoded_contact_headers(), mutated_messages())
def test_octets_are_read_or_refused(contact: bytes, message: bytes) -> None:
    assert encode_contact(decode_contact(contact)[0]) == contact
    try:
        _, end = decode_message(message)
    except DecodeError:
        return
    assert 0 < end <= len(message)
