"""CFDP PDUs that are hard to bear (CCSDS 727.0-B-5), each kind by its name."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from struct import pack

from interop.strategies.cfdp import encoded_pdus, repaired
from interop.strategies.choices import Choices
from interop.strategies.hostile import Hostile, HostileKinds, Weakness, one_hostile
from interop.strategies.making import strategy
from stack.wire.cfdp import DirectiveCode

_U64 = (1 << 64) - 1
_FIELD_BYTES_MAX = 0xFFFF
_NAMES = (
    b"../../etc/passwd", b"/", b"", b"\0", b"a\0b", b"\xff\xfe", "\u202etxt".encode(), b"-rf",
    b"$(id)", b"CON", b"a" * 255,
)  # fmt: skip


def _pdu(field: bytes, *, large: bool = False, file: bool = False, width: int = 1) -> bytes:
    """A PDU without CRC, its ids of `width` octets at their ends."""
    head = bytes((0x20 | file << 4 | large, 0, 0, (width - 1) << 4 | width - 1))
    return repaired(head + b"\xff" * 3 * width + field)


def _beyond(choose: Choices) -> bytes:
    octets = encoded_pdus.make(choose)
    length = int.from_bytes(octets[1:3], "big")
    wrong = choose.pick([size for size in (length + 1, _FIELD_BYTES_MAX) if size != length])
    return octets[:1] + wrong.to_bytes(2, "big") + octets[3:]


def _short(choose: Choices) -> bytes:
    """A length below that of the CRC that is to be in it."""
    octets = _pdu(b"\x07\x80\0\0")
    return bytes((octets[0] | 2, 0, choose.integer(0, 1))) + octets[3:]


def _no_field(choose: Choices) -> bytes:
    return _pdu(b"", width=choose.integer(1, 8))


def _wide_ids(choose: Choices) -> bytes:
    """Ids that are said to be longer than what came."""
    return b"\x20\x00\x00\x77" + choose.octets(0, 23)


def _counters(choose: Choices) -> bytes:
    offset = choose.pick((_U64, 1 << 63, _U64 - 4))
    keep_alive = pack(">BQ", DirectiveCode.KEEP_ALIVE, offset)
    eof = pack(">BBIQ", DirectiveCode.EOF, 0, 0xFFFF_FFFF, offset)
    return _pdu(choose.pick((keep_alive, eof)), large=True, width=8)


def _at_the_end(choose: Choices) -> bytes:
    """File data whose last octet has no number of 64 bits."""
    return _pdu(pack(">Q", _U64 - 1) + choose.octets(4, 40), large=True, file=True)


def _nak(*pairs: tuple[int, int]) -> bytes:
    return bytes((DirectiveCode.NAK,)) + b"".join(pack(">II", *pair) for pair in pairs)


def _many_requests(choose: Choices) -> bytes:
    count = choose.pick((1_000, (_FIELD_BYTES_MAX - 1) // 8 - 1))
    return _pdu(_apart(count))


@functools.lru_cache(maxsize=2)
def _apart(count: int) -> bytes:
    """So many requests for one octet, each beyond the last one."""
    return _nak((0, 0xFFFF_FFFF), *((2 * at, 2 * at + 1) for at in range(count)))


def _again(choose: Choices) -> bytes:
    pair = choose.pick(((0, 0), (5, 9), (0, 0xFFFF_FFFF)))
    return _pdu(_nak((0, 100), *(pair for _ in range(choose.integer(2, 50)))))


def _reordered(choose: Choices) -> bytes:
    return _pdu(_nak((0, 100), (50, 60), (20, 30), (25, 55)))


def _contradiction(choose: Choices) -> bytes:
    return _pdu(_nak((choose.pick((1, 0xFFFF_FFFF)), 0), (0, 1)))


def _metadata(*names: bytes, options: bytes = b"") -> bytes:
    head = pack(">BBI", DirectiveCode.METADATA, 0, 5)
    return _pdu(head + b"".join(bytes((len(name),)) + name for name in names) + options)


def _names(choose: Choices) -> bytes:
    return _metadata(choose.pick(_NAMES), choose.pick(_NAMES))


def _long_option(choose: Choices) -> bytes:
    return _metadata(b"a", b"b", options=bytes((choose.integer(0, 255), choose.integer(1, 255))))


def _many_options(choose: Choices) -> bytes:
    return _metadata(b"a", b"b", options=b"\xc8\0" * choose.pick((100, 32_000)))


def _long_name(choose: Choices) -> bytes:
    head = pack(">BBI", DirectiveCode.METADATA, 0, 5)
    return _pdu(head + b"\xff" + choose.octets(0, 200))


def _empty(choose: Choices) -> bytes:
    return choose.pick((_pdu(bytes(4), file=True), _metadata(b"", b""), _pdu(_nak((0, 0)))))


PDU_WEAKNESSES: HostileKinds = {
    Weakness("a length field beyond the buffer", False): _beyond,
    Weakness("a length that has no room for the CRC", False): _short,
    Weakness("a data field of nothing", False): _no_field,
    Weakness("ids longer than the buffer", False): _wide_ids,
    Weakness("counters at their ends", True): _counters,
    Weakness("data that go over the end of 64 bits", True): _at_the_end,
    Weakness("as many requests as a NAK holds", True): _many_requests,
    Weakness("duplicate requests", True): _again,
    Weakness("requests in another order", True): _reordered,
    Weakness("a scope that ends before it begins", False): _contradiction,
    Weakness("names that mean something to something else", True): _names,
    Weakness("a name longer than the buffer", False): _long_name,
    Weakness("an option longer than the buffer", False): _long_option,
    Weakness("as many options as a PDU holds", True): _many_options,
    Weakness("empty things", True): _empty,
}
"""All kinds, and what makes them."""


@strategy
def hostile_pdus(choose: Choices, *, weaknesses: Sequence[Weakness] | None = None) -> Hostile:
    """A PDU of one of `weaknesses`, or of all (`PDU_WEAKNESSES`)."""
    return one_hostile(choose, PDU_WEAKNESSES, weaknesses)
