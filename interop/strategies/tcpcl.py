"""TCPCL version 4 (RFC 9174): the contact header, every message, and one side's octet stream.

contact_headers() messages()     valid ones, and `encoded_...` of each
nearly_contact_headers() ...     octets that break one rule of `CONTACT_RULES`, `MESSAGE_RULES`
streams()                        what one side says from its contact header to its end

What breaks a rule by the order of its messages is in `tcpcl_sessions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack
from typing import Any

from interop.strategies.choices import Choices, Source
from interop.strategies.making import strategy
from interop.strategies.mutation import mutated
from interop.strategies.nearly_eid import UNICODE_TRAPS
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation
from stack.wire.tcpcl import (
    CONTACT_BYTES,
    MAGIC,
    SEGMENT_END,
    SEGMENT_START,
    ContactHeader,
    ExtensionItem,
    Keepalive,
    Message,
    MessageReject,
    MessageType,
    RefuseReason,
    RejectReason,
    SessionInit,
    SessionTerm,
    TermReason,
    TransferAck,
    TransferRefuse,
    TransferSegment,
    encode_contact,
    encode_message,
    transfer_length,
)

DATA_BYTES_MAX = 200
"""Octets of the data of one segment, at most."""

_NODE_IDS = (
    *("", "ipn:1.0", "dtn://gs1/", "dtn://satellite-α/", "ipn:4294967295.4294967295.0"),
    *(f"dtn://{name}/" for name in UNICODE_TRAPS),
)


@strategy
def contact_headers(choose: Choices) -> ContactHeader:
    """Contact headers (RFC 9174 §4.2), with or without TLS, and flags that are reserved."""
    return ContactHeader(choose.pick((0, 1, choose.integer(0, 255))))


@strategy
def encoded_contact_headers(choose: Choices) -> bytes:
    """Their octets."""
    return encode_contact(contact_headers.make(choose))


@strategy
def extension_items(choose: Choices) -> tuple[ExtensionItem, ...]:
    """Session or transfer extension items (RFC 9174 §4.8, §5.2.5), of any type."""
    return tuple(
        ExtensionItem(choose.integer(0, 0xFFFF), choose.octets(0, 40), choose.integer(0, 255))
        for _ in choose.many(0, 4)
    )


_ITEMS = extension_items.maker()


@strategy
def session_inits(choose: Choices) -> SessionInit:
    """SESS_INIT (RFC 9174 §4.6)."""
    return SessionInit(
        keepalive_s=choose.integer(0, 0xFFFF),
        segment_mru=choose.uint(),
        transfer_mru=choose.uint(),
        node_id=choose.pick(_NODE_IDS),
        extensions=_ITEMS(choose),
    )


@strategy
def transfer_segments(choose: Choices) -> TransferSegment:
    """XFER_SEGMENT (RFC 9174 §5.2.2), with extension items in the first of a transfer."""
    flags = choose.integer(0, 255 if choose.flip(4) else 3)
    return TransferSegment(
        transfer=choose.uint(),
        flags=flags,
        data=choose.octets(0, DATA_BYTES_MAX),
        extensions=_ITEMS(choose) if flags & SEGMENT_START else (),
    )


@strategy
def session_terms(choose: Choices) -> SessionTerm:
    """SESS_TERM (RFC 9174 §6.1)."""
    return SessionTerm(reason=choose.pick(list(TermReason)), flags=choose.integer(0, 255))


@strategy
def transfer_refuses(choose: Choices) -> TransferRefuse:
    """XFER_REFUSE (RFC 9174 §5.2.4)."""
    return TransferRefuse(transfer=choose.uint(), reason=choose.pick(list(RefuseReason)))


@strategy
def transfer_acks(choose: Choices) -> TransferAck:
    """XFER_ACK (RFC 9174 §5.2.3)."""
    return TransferAck(
        transfer=choose.uint(), flags=choose.integer(0, 255), acked_bytes=choose.uint()
    )


@strategy
def message_rejects(choose: Choices) -> MessageReject:
    """MSG_REJECT (RFC 9174 §5.1.2)."""
    return MessageReject(reason=choose.pick(list(RejectReason)), rejected=choose.integer(0, 255))


@strategy
def messages(choose: Choices) -> Message:
    """Any message whose reason code RFC 9174 assigns."""
    kind = choose.pick(list(MessageType))
    if kind is MessageType.XFER_SEGMENT:
        return transfer_segments.make(choose)
    if kind is MessageType.XFER_ACK:
        return transfer_acks.make(choose)
    if kind is MessageType.XFER_REFUSE:
        return transfer_refuses.make(choose)
    if kind is MessageType.SESS_TERM:
        return session_terms.make(choose)
    if kind is MessageType.MSG_REJECT:
        return message_rejects.make(choose)
    return session_inits.make(choose) if kind is MessageType.SESS_INIT else Keepalive()


@strategy
def encoded_messages(choose: Choices) -> bytes:
    """The octets of any message."""
    return encode_message(messages.make(choose))


@strategy
def mutated_messages(choose: Choices) -> bytes:
    """The octets of any message, damaged at random.  TCPCL has no checksum."""
    return mutated.make(choose, encoded_messages.make)


# -------------------------------------------------------------------------------- streams


@dataclass(frozen=True, slots=True)
class OneSide:
    """What one side of a connection says, in order."""

    contact: ContactHeader
    messages: tuple[Message, ...]
    transfers: tuple[bytes, ...]
    """What the transfers carry, with ids 0, 1, ..."""

    @property
    def octets(self) -> bytes:
        """All of it."""
        return encode_contact(self.contact) + b"".join(map(encode_message, self.messages))


def _payloads(choose: Choices) -> bytes:
    return choose.octets(0, 400)


@strategy
def streams(choose: Choices, *, payload: Source[bytes] = _payloads) -> OneSide:
    """One side of a connection (RFC 9174 §3.1): contact header, SESS_INIT, transfers in segments
    of any size with KEEPALIVEs between them, maybe SESS_TERM."""
    said: list[Message] = [session_inits.make(choose)]
    carried = []
    for transfer in choose.many(0, 3):
        data = choose.draw(payload)
        carried.append(data)
        said += segments_of(choose, transfer, data)
    if choose.flip():
        said.append(session_terms.make(choose))
    return OneSide(contact_headers.make(choose), tuple(said), tuple(carried))


def segments_of(choose: Choices, transfer: int, data: bytes) -> list[Message]:
    """A transfer in segments of any size, with KEEPALIVEs between them."""
    found: list[Message] = []
    at = 0
    while True:
        size = choose.integer(1, DATA_BYTES_MAX)
        flags = SEGMENT_START * (at == 0) | SEGMENT_END * (at + size >= len(data))
        items = (transfer_length(len(data)),) if at == 0 and not flags & SEGMENT_END else ()
        found.append(
            TransferSegment(
                transfer=transfer, flags=flags, data=data[at : at + size], extensions=items
            )
        )
        if flags & SEGMENT_END:
            return found
        at += size
        if choose.flip(6):
            found.append(Keepalive())


# ------------------------------------------------------------------------------ nearly valid


def _cut(choose: Choices, message: Message) -> bytes:
    octets = encode_message(message)
    return octets[: choose.integer(1, len(octets) - 1)]


def _unknown_type(choose: Choices, message: Message) -> bytes:
    kind = choose.pick((0, *range(8, 256)))
    return bytes((kind,)) + encode_message(message)[1:]


def _items(choose: Choices) -> tuple[bytes, int]:
    """Extension items as they stand in a list, and the length of the last one's value."""
    items = [
        ExtensionItem(choose.integer(2, 0xFFFF), choose.octets(1, 9)) for _ in choose.many(1, 3)
    ]
    octets = b"".join(pack(">BHH", 0, one.type, len(one.value)) + one.value for one in items)
    return octets, len(items[-1].value)


def _long_item(choose: Choices) -> bytes:
    octets, last = _items(choose)
    at = len(octets) - last - 2
    length = choose.integer(last + 1, 0xFFFF).to_bytes(2, "big")
    octets = octets[:at] + length + octets[at + 2 :]
    return pack(">I", len(octets)) + octets


def _cut_item(choose: Choices) -> bytes:
    octets, last = _items(choose)
    kept = octets[: len(octets) - last - choose.integer(1, 4)]
    return pack(">I", len(kept)) + kept


def _in_init(items: bytes) -> bytes:
    return pack(">BHQQH", MessageType.SESS_INIT, 0, 1 << 20, 1 << 20, 0) + items


def _in_segment(items: bytes) -> bytes:
    return pack(">BBQ", MessageType.XFER_SEGMENT, 3, 0) + items + pack(">Q", 0)


def _no_utf8(choose: Choices, message: SessionInit) -> bytes:
    """A node id with an octet that no UTF-8 has, or a surrogate, an overlong form, or half a
    character."""
    broken = choose.pick((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82", b"\xf4\x90\x80\x80"))
    node_id = b"dtn://gs" + broken + b"/"
    head = pack(">BHQQH", message.type, message.keepalive_s, message.segment_mru,
                message.transfer_mru, len(node_id))  # fmt: skip
    return head + node_id + pack(">I", 0)


def _huge(choose: Choices, message: TransferSegment) -> bytes:
    octets = encode_message(message)
    at = len(octets) - len(message.data) - 8
    return octets[:at] + pack(">Q", choose.integer(1 << 62, (1 << 64) - 1)) + octets[at + 8 :]


def _refuse(choose: Choices, message: TransferRefuse) -> bytes:
    return pack(">BBQ", message.type, choose.integer(7, 255), message.transfer)


def _term(choose: Choices, message: SessionTerm) -> bytes:
    return bytes((message.type, message.flags, choose.integer(6, 255)))


_LONGER = messages.maker()


def _of_two_octets(choose: Choices) -> Message:
    """Any message but KEEPALIVE, which has one octet."""
    message = _LONGER(choose)
    return transfer_acks.make(choose) if isinstance(message, Keepalive) else message


MESSAGE_RULES = (
    WireRule(Violation("RFC 9174 §4.5", "the stream ends within a message"), _of_two_octets, _cut),
    WireRule(Violation("RFC 9174 §4.5", "an unknown message type"),
         messages.maker(), _unknown_type),
    WireRule(Violation("RFC 9174 §4.6", "a node id that is no UTF-8"),
         session_inits.maker(), _no_utf8),
    WireRule(Violation("RFC 9174 §4.8", "a session extension item longer than its list"),
         session_inits.maker(), lambda choose, value: _in_init(_long_item(choose))),
    WireRule(Violation("RFC 9174 §4.8", "a session extension item cut short by its list"),
         session_inits.maker(), lambda choose, value: _in_init(_cut_item(choose))),
    WireRule(Violation("RFC 9174 §5.2.5", "a transfer extension item longer than its list"),
         transfer_segments.maker(), lambda choose, value: _in_segment(_long_item(choose))),
    WireRule(Violation("RFC 9174 §5.2.5", "a transfer extension item cut short by its list"),
         transfer_segments.maker(), lambda choose, value: _in_segment(_cut_item(choose))),
    WireRule(Violation("RFC 9174 §5.2.2", "a segment larger than any receiver takes"),
         transfer_segments.maker(), _huge),
    WireRule(Violation("RFC 9174 §5.2.4", "a refusal for a reason that is not assigned"),
         transfer_refuses.maker(), _refuse),
    WireRule(Violation("RFC 9174 §6.1", "a session's end for a reason that is not assigned"),
         session_terms.maker(), _term),
)  # fmt: skip
"""What `nearly_messages` breaks."""


def _magic(choose: Choices, header: ContactHeader) -> bytes:
    octets = bytearray(encode_contact(header))
    octets[choose.integer(0, len(MAGIC) - 1)] ^= choose.integer(1, 255)
    return bytes(octets)


def _version(choose: Choices, header: ContactHeader) -> bytes:
    version = choose.pick([version for version in (3, 5, *range(256)) if version != 4])
    return MAGIC + bytes((version, header.flags))


CONTACT_RULES = (
    WireRule(Violation("RFC 9174 §4.2", "no contact header"), contact_headers.maker(), _magic),
    WireRule(Violation("RFC 9174 §4.2", "a contact header cut short"), contact_headers.maker(),
         lambda choose, value: encode_contact(value)[: choose.integer(0, CONTACT_BYTES - 1)]),
    WireRule(Violation("RFC 9174 §4.3", "another version"), contact_headers.maker(), _version),
)  # fmt: skip
"""What `nearly_contact_headers` breaks."""


@strategy
def nearly_messages(choose: Choices, *, rules: Sequence[WireRule[Any]] = MESSAGE_RULES) -> Nearly:
    """A message that breaks one rule, of `rules`, and no other."""
    return nearly(choose, rules, encode_message)


@strategy
def nearly_contact_headers(
    choose: Choices, *, rules: Sequence[WireRule[ContactHeader]] = CONTACT_RULES
) -> Nearly:
    """A contact header that breaks one rule, of `rules`."""
    return nearly(choose, rules, encode_contact)
