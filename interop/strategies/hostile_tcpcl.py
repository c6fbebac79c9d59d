"""TCPCL messages that are hard to bear (RFC 9174), each kind by its name.

On a stream what is longer than what came is waited for: "refused" is that nothing comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

from interop.strategies.choices import Choices
from interop.strategies.hostile import (
    LARGE,
    MOST,
    Hostile,
    HostileKinds,
    Weakness,
    one_hostile,
)
from interop.strategies.making import strategy
from interop.strategies.nearly_eid import UNICODE_TRAPS
from interop.strategies.tcpcl import messages
from stack.wire.tcpcl import (
    SEGMENT_END,
    SEGMENT_START,
    TRANSFER_LENGTH,
    ExtensionItem,
    MessageType,
    SessionInit,
    TransferAck,
    TransferSegment,
    encode_message,
    transfer_length,
)

_LISTED = 13_000
"""Items of five octets, of which decoders have read as many as there are."""


def _init_head(node_bytes: int) -> bytes:
    return pack(">BHQQH", MessageType.SESS_INIT, 0, 1 << 20, 1 << 20, node_bytes)


def _segment(items: bytes, size: int, data: bytes = b"") -> bytes:
    """A segment with a list of items and a length, each as it is given."""
    head = pack(">BBQ", MessageType.XFER_SEGMENT, SEGMENT_START | SEGMENT_END, 1)
    return head + items + pack(">Q", size) + data


def _beyond(choose: Choices) -> bytes:
    data = choose.octets(0, 60)
    return _segment(bytes(4), choose.pick((len(data) + 1, *LARGE, MOST)), data)


def _long_list(choose: Choices) -> bytes:
    size = pack(">I", choose.pick((1 << 16, 1 << 31, (1 << 32) - 1)))
    return _init_head(0) + size if choose.flip() else _segment(size, 0)


def _long_node(choose: Choices) -> bytes:
    return _init_head(0xFFFF) + b"dtn://gs1/"


def _short_list(choose: Choices) -> bytes:
    """A list that ends within its item."""
    item = pack(">BHH", 0, 3, 4) + b"abcd"
    size = choose.integer(1, len(item) - 1)
    return _init_head(0) + pack(">I", size) + item[:size]


def _counters(choose: Choices) -> bytes:
    if choose.flip():
        return encode_message(TransferAck(transfer=MOST, flags=255, acked_bytes=MOST))
    return encode_message(
        SessionInit(
            keepalive_s=choose.pick((0, 0xFFFF)),
            segment_mru=choose.pick((0, MOST)),
            transfer_mru=choose.pick((0, MOST)),
            node_id="dtn://gs1/",
        )
    )


def _contradiction(choose: Choices) -> bytes:
    """It says that the transfer is longer or shorter than this one segment, which is all."""
    total = choose.pick((0, 1, MOST))
    flags = SEGMENT_START | SEGMENT_END
    return encode_message(
        TransferSegment(transfer=1, flags=flags, data=b"abc", extensions=(transfer_length(total),))
    )


def _many(choose: Choices) -> bytes:
    item = pack(">BHH", 0, choose.integer(0, 0xFFFF), 0)
    count = choose.pick((1_000, _LISTED))
    return _init_head(0) + pack(">I", count * len(item)) + item * count


def _again(choose: Choices) -> bytes:
    return encode_message(
        TransferSegment(
            transfer=1,
            flags=SEGMENT_START,
            data=b"",
            extensions=(transfer_length(5), transfer_length(choose.pick((5, 6)))),
        )
    )


def _odd_length(choose: Choices) -> bytes:
    """A transfer length that is not of eight octets."""
    item = ExtensionItem(TRANSFER_LENGTH, choose.pick((b"", b"\x05", bytes(9))))
    return encode_message(
        TransferSegment(transfer=1, flags=SEGMENT_START, data=b"", extensions=(item,))
    )


def _empty(choose: Choices) -> bytes:
    flags = choose.pick((0, SEGMENT_START, SEGMENT_END, SEGMENT_START | SEGMENT_END))
    return encode_message(TransferSegment(transfer=0, flags=flags, data=b""))


def _names(choose: Choices) -> bytes:
    name = choose.pick((*UNICODE_TRAPS, "..", "../..", "a" * 60_000, "${HOME}", "-rf"))
    node_id = choose.pick((f"dtn://{name}/", name))
    return encode_message(
        SessionInit(keepalive_s=0, segment_mru=1, transfer_mru=1, node_id=node_id)
    )


def _no_text(choose: Choices) -> bytes:
    octets = choose.pick((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80")) * 3
    return _init_head(len(octets)) + octets + bytes(4)


def _cut(choose: Choices) -> bytes:
    octets = encode_message(messages.make(choose))
    return octets[: choose.integer(0, len(octets) - 1)]


MESSAGE_WEAKNESSES: HostileKinds = {
    Weakness("a length field beyond the buffer", False): _beyond,
    Weakness("a list of items beyond the buffer", False): _long_list,
    Weakness("a node id longer than the buffer", False): _long_node,
    Weakness("a list that is short of its item", False): _short_list,
    Weakness("counters at their ends", True): _counters,
    Weakness("a total that contradicts the segment", True): _contradiction,
    Weakness("as many items as a list holds", True): _many,
    Weakness("duplicate items", True): _again,
    Weakness("a total of another width", True): _odd_length,
    Weakness("empty things", True): _empty,
    Weakness("names that mean something to something else", True): _names,
    Weakness("names that are no text", False): _no_text,
    Weakness("a message that ends anywhere", False): _cut,
}
"""All kinds, and what makes them.  What contradicts itself is for a session to refuse; one message
alone is right."""


@strategy
def hostile_messages(choose: Choices, *, weaknesses: Sequence[Weakness] | None = None) -> Hostile:
    """A message of one of `weaknesses`, or of all (`MESSAGE_WEAKNESSES`)."""
    return one_hostile(choose, MESSAGE_WEAKNESSES, weaknesses)
