"""TCPCLv4 messages: vectors of two implementations, layouts, streams in pieces, any octets."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.strategies.tcpcl import messages, mutated_messages
from interop.vectors import Vector, load
from stack.core.errors import DecodeError, LocalError
from stack.wire.tcpcl import (
    CONTACT_BYTES,
    EXTENSION_LIST_BYTES_MAX,
    ContactHeader,
    ExtensionItem,
    Incomplete,
    Keepalive,
    Message,
    MessageReject,
    RefuseReason,
    SessionInit,
    SessionTerm,
    TransferAck,
    TransferRefuse,
    TransferSegment,
    decode_contact,
    decode_message,
    encode_contact,
    encode_message,
    parse_transfer_length,
    segment_head,
    transfer_length,
)

VECTORS = load("tcpclv4")


def decode_all(octets: bytes) -> list[Message]:
    """Every message of a stream that is over; a rest that is no message raises."""
    found, at = [], 0
    while at < len(octets):
        message, at = decode_message(octets, at)
        found.append(message)
    return found


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector.name} {vector.kind}")
def test_outside_vectors(vector: Vector) -> None:
    contact = vector.kind == "tcpclv4-contact"
    if vector.expect.startswith("invalid"):
        # One of these is an empty segment followed by octets that begin no message.
        with pytest.raises(DecodeError):
            _ = decode_contact(vector.data) if contact else decode_all(vector.data)
    elif contact:
        header, end = decode_contact(vector.data)
        assert end == len(vector.data)
        assert encode_contact(header) == vector.data
    else:
        (message,) = decode_all(vector.data)
        assert encode_message(message) == vector.data


# Written down from the figures of RFC 9174 §4.6, §5.1 to §6.1.
LAYOUTS: list[tuple[str, Message]] = [
    (
        "07 001e 0000000000001000 0000000000100000 0003 647478 00000007 01 8001 0002 abcd",
        SessionInit(
            keepalive_s=30,
            segment_mru=4096,
            transfer_mru=1 << 20,
            node_id="dtx",
            extensions=(ExtensionItem(0x8001, b"\xab\xcd", 1),),
        ),
    ),
    (
        "01 02 0000000000000009 0000000d 00 0001 0008 0000000000000400 0000000000000002 6869",
        TransferSegment(transfer=9, flags=2, data=b"hi", extensions=(transfer_length(1024),)),
    ),
    ("01 01 0000000000000009 0000000000000001 21", TransferSegment(transfer=9, flags=1, data=b"!")),
    (
        "02 01 0000000000000009 0000000000000403",
        TransferAck(transfer=9, flags=1, acked_bytes=1027),
    ),
    (
        "03 04 0000000000000009",
        TransferRefuse(transfer=9, reason=RefuseReason.NOT_ACCEPTABLE),
    ),
    ("04", Keepalive()),
    ("05 01 05", SessionTerm(reason=5, flags=1)),
    ("06 01 ee", MessageReject(reason=1, rejected=0xEE)),
]


@pytest.mark.parametrize(("octets", "message"), LAYOUTS, ids=[each[0][:2] for each in LAYOUTS])
def test_the_layout_of_each_message(octets: str, message: Message) -> None:
    encoded = bytes.fromhex(octets)
    assert encode_message(message) == encoded
    assert decode_message(encoded) == (message, len(encoded))
    assert decode_message(b"??" + encoded + b"\xff", 2) == (message, len(encoded) + 2)


def test_meaning_of_flags() -> None:
    assert ContactHeader(1).can_tls
    assert not ContactHeader(0xFE).can_tls
    first = TransferSegment(transfer=0, flags=2, data=b"")
    last = TransferSegment(transfer=0, flags=1, data=b"")
    assert (first.is_start, first.is_end) == (True, False)
    assert (last.is_start, last.is_end) == (False, True)
    assert SessionTerm(reason=0, flags=1).is_reply
    assert not SessionTerm(reason=0).is_reply
    assert ExtensionItem(1, b"", 1).critical
    assert not ExtensionItem(1, b"", 2).critical


def test_transfer_length_item() -> None:
    assert parse_transfer_length(transfer_length((1 << 64) - 1)) == (1 << 64) - 1
    for wrong in (ExtensionItem(1, b"1234567"), ExtensionItem(2, bytes(8))):
        with pytest.raises(DecodeError):
            parse_transfer_length(wrong)


@pytest.mark.parametrize("octets", ["03 ff 0000000000000001", "05 00 06"])
def test_unassigned_reasons_end_a_session_all_the_same(octets: str) -> None:
    encoded = bytes.fromhex(octets)
    with pytest.raises(DecodeError):
        decode_message(encoded)
    message, end = decode_message(encoded, strict=False)
    assert end == len(encoded)
    assert encode_message(message) == encoded


@given(messages(), st.binary(max_size=4), st.binary(max_size=4))
def test_round_trip(message: Message, before: bytes, after: bytes) -> None:
    encoded = encode_message(message)
    assert decode_message(before + encoded + after, len(before)) == (
        message,
        len(before) + len(encoded),
    )


@given(messages())
def test_a_message_in_pieces_asks_for_what_it_lacks(message: Message) -> None:
    encoded = encode_message(message)
    for size in range(len(encoded)):
        with pytest.raises(Incomplete) as caught:
            decode_message(b"x" + encoded[:size], 1)
        assert size < caught.value.needed <= len(encoded)


@given(messages())
def test_whoever_waits_for_what_is_needed_gets_there(message: Message) -> None:
    encoded = encode_message(message)
    size = 0
    for _ in range(8):
        try:
            assert decode_message(encoded[:size]) == (message, len(encoded))
        except Incomplete as incomplete:
            size = incomplete.needed
        else:
            return
    pytest.fail("more than eight steps to read one message")


@given(st.integers(0, 255), st.binary(max_size=4))
def test_contact_header_in_pieces(flags: int, after: bytes) -> None:
    encoded = encode_contact(ContactHeader(flags))
    assert decode_contact(b"z" + encoded + after, 1) == (ContactHeader(flags), 1 + CONTACT_BYTES)
    for size in range(len(encoded)):
        with pytest.raises(Incomplete):
            decode_contact(encoded[:size])


@pytest.mark.parametrize("octets", [b"d7n!\x04\x00", b"dtn!\x03\x00", b"dtn!\x05", b"x"])
def test_other_protocols_are_known_at_the_first_wrong_octet(octets: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_contact(octets)
    assert not isinstance(caught.value, Incomplete)


def test_lengths_are_bounded_before_their_data_come() -> None:
    head = segment_head(1, 0, 1001)
    with pytest.raises(Incomplete):
        decode_message(head, segment_bytes_max=1001)
    with pytest.raises(DecodeError) as caught:
        decode_message(head, segment_bytes_max=1000)
    assert not isinstance(caught.value, Incomplete)
    start = bytes.fromhex("01 02 0000000000000001")
    with pytest.raises(Incomplete):
        decode_message(start + EXTENSION_LIST_BYTES_MAX.to_bytes(4, "big"))
    with pytest.raises(DecodeError) as caught:
        decode_message(start + (EXTENSION_LIST_BYTES_MAX + 1).to_bytes(4, "big"))
    assert not isinstance(caught.value, Incomplete)


@pytest.mark.parametrize(
    "octets",
    [
        "07 0000 0000000000000000 0000000000000000 0001 ff 00000000",  # node id no UTF-8
        "07 0000 0000000000000000 0000000000000000 0000 00000004 00 0001 00",  # item cut short
        "07 0000 0000000000000000 0000000000000000 0000 00000006 00 0001 0002 ab",  # too long
        "00",
        "08",
    ],
)
def test_broken_messages(octets: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_message(bytes.fromhex(octets))
    assert not isinstance(caught.value, Incomplete)


@given(st.one_of(st.binary(max_size=80), mutated_messages()))
def test_any_octets_decode_or_raise_the_one_error(octets: bytes) -> None:
    for decode in (decode_message, decode_contact):
        with contextlib.suppress(DecodeError):
            decode(octets)
    try:
        message, end = decode_message(octets, strict=False)
    except DecodeError:
        return
    assert encode_message(message) == octets[:end]


@pytest.mark.parametrize(
    "make",
    [
        lambda: ContactHeader(256),
        lambda: ExtensionItem(65536, b""),
        lambda: ExtensionItem(0, bytes(65536)),
        lambda: TransferSegment(transfer=1, flags=1, data=b"", extensions=(ExtensionItem(1, b""),)),
        lambda: TransferAck(transfer=-1, flags=0, acked_bytes=0),
        lambda: TransferRefuse(transfer=0, reason=256),
        lambda: SessionTerm(reason=-1),
        lambda: MessageReject(reason=0, rejected=256),
        lambda: _init(keepalive_s=65536),
        lambda: _init(segment_mru=1 << 64),
        lambda: _init(node_id="x" * 65536),
        lambda: encode_message(_init(extensions=(ExtensionItem(1, bytes(65535)),) * 2)),
    ],
)
def test_what_has_no_encoding_is_refused(make: Any) -> None:
    with pytest.raises(LocalError):
        make()


def _init(**fields: Any) -> SessionInit:
    base: dict[str, Any] = {"keepalive_s": 0, "segment_mru": 0, "transfer_mru": 0, "node_id": ""}
    return SessionInit(**{**base, **fields})
