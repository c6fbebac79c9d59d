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
from interop.strategies.tcpcl_sessions import (
    STREAM_RULES,
    StreamRule,
    nearly_streams,
    sessions,
)
from interop.strategies.violation import Nearly
from stack.core.errors import DecodeError
from stack.wire.tcpcl import (
    MAGIC,
    Incomplete,
    Message,
    SessionInit,
    SessionTerm,
    TransferAck,
    TransferRefuse,
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


class Peer:
    """Who hears one side of a connection, and remembers what came before; `OutOfPlace` is what it
    says to what is not due."""

    def __init__(self) -> None:
        self.begun = False
        self.transfer: int | None = None
        self.carried = b""
        self.told: int | None = None
        self.done: set[int] = set()
        self.ending = False

    def hear(self, octets: bytes) -> None:
        header, at = decode_contact(octets)
        assert header is not None
        while at < len(octets):
            message, at = decode_message(octets, at)
            self.message(message)

    def message(self, message: Message) -> None:
        first = not self.begun
        self.begun = True
        if first != isinstance(message, SessionInit):
            raise OutOfPlace
        if isinstance(message, TransferSegment):
            self.segment(message)
        elif isinstance(message, TransferAck | TransferRefuse):
            raise OutOfPlace  # nothing was sent to it
        self.ending |= isinstance(message, SessionTerm)

    def segment(self, segment: TransferSegment) -> None:
        if segment.is_start:
            if self.transfer is not None or segment.transfer in self.done or self.ending:
                raise OutOfPlace
            self.transfer, self.carried, self.told = segment.transfer, b"", None
        elif segment.transfer != self.transfer:
            raise OutOfPlace
        for item in segment.extensions:
            self.told = parse_transfer_length(item)
        self.carried += segment.data
        if segment.is_end:
            if self.told not in (None, len(self.carried)):
                raise OutOfPlace
            self.done.add(segment.transfer)
            self.transfer = None


class OutOfPlace(Exception):
    pass


@pytest.mark.parametrize("rule", STREAM_RULES, ids=lambda rule: rule.violation.words)
def test_messages_that_are_right_alone_are_out_of_their_place(rule: StreamRule) -> None:
    for case in islice(nearly_streams.maker(rules=[rule]).cases(), 50):
        Peer().hear(b"".join(case.valid))
        for octets in case.encoded:
            decode = decode_contact if octets.startswith(MAGIC) else decode_message
            assert decode(octets)[1] == len(octets)
        with pytest.raises((OutOfPlace, DecodeError)):
            Peer().hear(b"".join(case.encoded))


@settings(max_examples=40)
@given(streams())
def test_a_peer_takes_what_is_in_its_place(stream: OneSide) -> None:
    Peer().hear(stream.octets)


def test_sessions_are_right_and_wrong() -> None:
    heard = [b"".join(one) for one in islice(sessions.maker().cases(), 200)]
    right = 0
    for octets in heard:
        try:
            Peer().hear(octets)
            right += 1
        except (OutOfPlace, DecodeError):
            continue
    assert 50 < right < 150
