"""FECFRAME packets that are hard to bear (RFC 6363, RFC 6865), each kind by its name."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

from interop.strategies.choices import Choices
from interop.strategies.hostile import Hostile, HostileKinds, Weakness, one_hostile
from interop.strategies.making import strategy
from stack.wire.fecframe import ENCODING_SYMBOLS_MAX, SBN_MODULUS

_LAST_SBN = SBN_MODULUS - 1


def _id(sbn: int, esi: int, k: int) -> bytes:
    """A payload id (RFC 6865 §5.1.2, §5.1.3): block, symbol, and length of the block."""
    return pack(">IH", sbn << 8 | esi, k)


def _adu(choose: Choices) -> bytes:
    return choose.octets(0, 60)


def _sbn(choose: Choices) -> int:
    return choose.pick((0, 1, _LAST_SBN))


def _source_of_none(choose: Choices) -> bytes:
    return _adu(choose) + _id(_sbn(choose), 0, 0)


def _source_long(choose: Choices) -> bytes:
    k = choose.pick((ENCODING_SYMBOLS_MAX + 1, 0x7FFF, 0xFFFF))
    return _adu(choose) + _id(_sbn(choose), choose.integer(0, 255), k)


def _source_behind(choose: Choices) -> bytes:
    k = choose.integer(1, 254)
    return _adu(choose) + _id(_sbn(choose), choose.integer(k, 255), k)


def _source_counters(choose: Choices) -> bytes:
    top = ENCODING_SYMBOLS_MAX
    return _adu(choose) + _id(_LAST_SBN, choose.pick((0, top - 1)), top)


def _source_empty(choose: Choices) -> bytes:
    return _id(_sbn(choose), 0, 1)


def _cut(choose: Choices) -> bytes:
    return _id(_sbn(choose), 0, 1)[: choose.integer(0, 5)]


def _long(choose: Choices) -> bytes:
    """As long as a datagram can be: no block here has symbols like that."""
    return bytes(65_500) + _id(_sbn(choose), 0, choose.integer(1, 255))


SOURCE_WEAKNESSES: HostileKinds = {
    Weakness("a block of no symbols", False): _source_of_none,
    Weakness("a block longer than any code", False): _source_long,
    Weakness("a symbol behind the end of its block", False): _source_behind,
    Weakness("counters at their ends", True): _source_counters,
    Weakness("empty things", True): _source_empty,
    Weakness("a packet without room for its id", False): _cut,
    Weakness("as long a packet as there may be", True): _long,
}
"""Kinds of source packets, and what makes them."""


def _symbol(choose: Choices) -> bytes:
    return choose.octets(3, 60)


def _repair_of_none(choose: Choices) -> bytes:
    return _id(_sbn(choose), choose.integer(0, 254), 0) + _symbol(choose)


def _repair_long(choose: Choices) -> bytes:
    k = choose.pick((ENCODING_SYMBOLS_MAX + 1, 0x7FFF, 0xFFFF))
    return _id(_sbn(choose), 255, k) + _symbol(choose)


def _repair_before(choose: Choices) -> bytes:
    k = choose.integer(2, 255)
    return _id(_sbn(choose), choose.integer(0, k - 1), k) + _symbol(choose)


def _repair_last(choose: Choices) -> bytes:
    return _id(_sbn(choose), ENCODING_SYMBOLS_MAX, choose.integer(1, 255)) + _symbol(choose)


def _repair_counters(choose: Choices) -> bytes:
    top = ENCODING_SYMBOLS_MAX
    return _id(_LAST_SBN, top - 1, choose.pick((1, top - 1))) + _symbol(choose)


def _long_inside(choose: Choices) -> bytes:
    """Of a block of one symbol: a code makes of it that symbol, whose length is beyond it."""
    return _id(_sbn(choose), 1, 1) + b"\0\xff\xff" + choose.octets(0, 60)


REPAIR_WEAKNESSES: HostileKinds = {
    Weakness("a block of no symbols", False): _repair_of_none,
    Weakness("a block longer than any code", False): _repair_long,
    Weakness("a repair symbol that is a source symbol", False): _repair_before,
    Weakness("a symbol that no code has", False): _repair_last,
    Weakness("counters at their ends", True): _repair_counters,
    Weakness("a length inside beyond the symbol", True): _long_inside,
    Weakness("a packet without room for its id", False): _cut,
}
"""Kinds of repair packets, and what makes them.  What is in a symbol shows when it is decoded."""


@strategy
def hostile_source_packets(
    choose: Choices, *, weaknesses: Sequence[Weakness] | None = None
) -> Hostile:
    """A source packet of one of `weaknesses`, or of all (`SOURCE_WEAKNESSES`)."""
    return one_hostile(choose, SOURCE_WEAKNESSES, weaknesses)


@strategy
def hostile_repair_packets(
    choose: Choices, *, weaknesses: Sequence[Weakness] | None = None
) -> Hostile:
    """A repair packet of one of `weaknesses`, or of all (`REPAIR_WEAKNESSES`)."""
    return one_hostile(choose, REPAIR_WEAKNESSES, weaknesses)
