"""One side of a TCPCL connection whose messages are each right and together are not (RFC 9174).

nearly_streams()   messages of which one is out of its place: `STREAM_RULES`
sessions()         right ones and such, as a peer hears them: one message after the other
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.tcpcl import (
    contact_headers,
    segments_of,
    session_inits,
    session_terms,
    streams,
)
from interop.strategies.violation import NearlySet, Violation
from stack.wire.tcpcl import (
    SEGMENT_END,
    SEGMENT_START,
    U64_MAX,
    ContactHeader,
    Keepalive,
    Message,
    RefuseReason,
    TransferAck,
    TransferRefuse,
    TransferSegment,
    encode_contact,
    encode_message,
    transfer_length,
)

Unit = ContactHeader | Message
Spoil = Callable[[Choices, list[Unit]], None]
"""Changes what one side says: contact header, SESS_INIT, and two transfers of several segments."""

CONTACT, INIT, FIRST = range(3)
"""Places in it; the transfers begin with the last of them."""


def _octets(unit: Unit) -> bytes:
    return encode_contact(unit) if isinstance(unit, ContactHeader) else encode_message(unit)


def _said(choose: Choices) -> list[Unit]:
    said: list[Unit] = [contact_headers.make(choose), session_inits.maker()(choose)]
    for transfer in range(2):
        said += segments_of(choose, transfer, choose.octets(201, 500))
    return said


def _segments(said: list[Unit], flag: int = 0) -> list[int]:
    """Where segments with a flag are; without one, those in the middle and at the end."""
    found = [(at, one) for at, one in enumerate(said) if isinstance(one, TransferSegment)]
    if flag:
        return [at for at, one in found if one.flags & flag]
    return [at for at, one in found if not one.flags & SEGMENT_START]


def _change(said: list[Unit], at: int, **fields: object) -> None:
    said[at] = replace(said[at], **fields)  # type: ignore[arg-type]


def _headless(choose: Choices, said: list[Unit]) -> None:
    said[CONTACT], said[INIT] = said[INIT], said[CONTACT]


def _put_later(which: int) -> Spoil:
    def spoil(choose: Choices, said: list[Unit]) -> None:
        said.insert(choose.integer(FIRST, len(said)), said[which])

    return spoil


def _late_init(choose: Choices, said: list[Unit]) -> None:
    said.insert(choose.integer(FIRST, len(said) - 1), said.pop(INIT))


def _no_start(choose: Choices, said: list[Unit]) -> None:
    at = choose.pick(_segments(said, SEGMENT_START))
    _change(said, at, flags=0, extensions=())


def _start_again(choose: Choices, said: list[Unit]) -> None:
    at = choose.pick(_segments(said))
    segment = said[at]
    assert isinstance(segment, TransferSegment)
    _change(said, at, flags=segment.flags | SEGMENT_START)


def _unended(choose: Choices, said: list[Unit]) -> None:
    del said[_segments(said, SEGMENT_END)[0]]


def _ended_twice(choose: Choices, said: list[Unit]) -> None:
    at = choose.pick(_segments(said, SEGMENT_END))
    said.insert(at + 1, said[at])


def _between(choose: Choices, said: list[Unit]) -> None:
    _change(said, choose.pick(_segments(said)), transfer=choose.integer(2, U64_MAX))


def _id_again(choose: Choices, said: list[Unit]) -> None:
    for at, one in enumerate(said):
        if isinstance(one, TransferSegment):
            _change(said, at, transfer=0)


def _wrong_length(choose: Choices, said: list[Unit]) -> None:
    at = choose.pick(_segments(said, SEGMENT_START))
    length = choose.pick((0, 1, choose.integer(501, U64_MAX), U64_MAX))
    _change(said, at, extensions=(transfer_length(length),))


def _after_term(choose: Choices, said: list[Unit]) -> None:
    at = choose.pick(_segments(said, SEGMENT_START))
    said.insert(at, session_terms.make(choose))


def _ack(choose: Choices) -> Message:
    transfer, octets = choose.integer(1 << 32, U64_MAX), choose.uint()
    return TransferAck(transfer=transfer, flags=SEGMENT_END, acked_bytes=octets)


def _refusal(choose: Choices) -> Message:
    reason = choose.pick(list(RefuseReason))
    return TransferRefuse(transfer=choose.integer(1 << 32, U64_MAX), reason=reason)


def _of_nothing(make: Callable[[Choices], Message]) -> Spoil:
    def spoil(choose: Choices, said: list[Unit]) -> None:
        said.insert(choose.integer(FIRST, len(said)), make(choose))

    return spoil


@dataclass(frozen=True, slots=True)
class StreamRule:
    """One rule, and how a side breaks it and no other."""

    violation: Violation
    spoil: Spoil


def _rule(section: str, words: str, spoil: Spoil) -> StreamRule:
    return StreamRule(Violation(f"RFC 9174 {section}", words), spoil)


STREAM_RULES = (
    _rule("§4.2", "a message before the contact header", _headless),
    _rule("§4.2", "a second contact header", _put_later(CONTACT)),
    _rule("§4.6", "a message before SESS_INIT", _late_init),
    _rule("§4.6", "a second SESS_INIT", _put_later(INIT)),
    _rule("§5.2.1", "the id of a transfer that was before", _id_again),
    _rule("§5.2.2", "a transfer whose first segment is not marked", _no_start),
    _rule("§5.2.2", "a transfer that begins twice", _start_again),
    _rule("§5.2.2", "a transfer that begins before the other has ended", _unended),
    _rule("§5.2.2", "a segment after the end of its transfer", _ended_twice),
    _rule("§5.2.2", "a segment of another transfer within one", _between),
    _rule("§5.2.3", "an acknowledgement of a transfer that nobody sent", _of_nothing(_ack)),
    _rule("§5.2.4", "a refusal of a transfer that nobody sent", _of_nothing(_refusal)),
    _rule("§5.2.5.1", "a total length that is not that of the transfer", _wrong_length),
    _rule("§6.1", "a transfer that begins after SESS_TERM", _after_term),
)
"""What `nearly_streams` breaks: it shows only to who remembers what came before."""


@strategy
def nearly_streams(choose: Choices, *, rules: Sequence[StreamRule] = STREAM_RULES) -> NearlySet:
    """The messages of one side, in order, that break one rule, of `rules`."""
    rule = choose.pick(rules)
    said = _said(choose)
    valid = tuple(map(_octets, said))
    rule.spoil(choose, said)
    return NearlySet(tuple(map(_octets, said)), rule.violation, valid)


@strategy
def sessions(choose: Choices) -> tuple[bytes, ...]:
    """What one side says from its contact header to its end, message by message: right, or with
    one out of its place."""
    if choose.flip():
        return nearly_streams.make(choose).encoded
    side = streams.make(choose)
    said: list[Unit] = [side.contact, *side.messages]
    if choose.flip(3):
        said.insert(choose.integer(FIRST, len(said)), Keepalive())
    return tuple(map(_octets, said))
