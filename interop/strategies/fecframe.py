"""FECFRAME with the simple Reed-Solomon scheme (RFC 6363, RFC 6865): payload ids, ADU information,
configuration, and whole source blocks with their repair packets.

    payload_ids() aduis() fssis()        valid ones, and `encoded_...` of each
    nearly_payload_ids() ...             octets that break one rule of `SOURCE_ID_RULES`,
                                         `REPAIR_ID_RULES`, `ADUI_RULES`, `FSSI_RULES`
    fec_configs()                        small configurations
    protected_blocks()                   the packets of a source block, both flows
    nearly_blocks()                      one packet among them contradicts the rest
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.mutation import change
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation
from stack.core.clock import MILLISECOND
from stack.core.train import FLOW_REPAIR, FLOW_SOURCE, Train
from stack.fec.config import OVERHEAD_BYTES, FecConfig
from stack.fec.erasure import SharedCodes
from stack.fec.framework import FecSender
from stack.wire.fecframe import (
    ADUI_HEADER_BYTES,
    ENCODING_SYMBOLS_MAX,
    PAYLOAD_ID_BYTES,
    SBN_MODULUS,
    Fssi,
    PayloadId,
    encode_adui,
    encode_fssi,
    encode_payload_id,
)


class Adui(NamedTuple):
    """ADU information (RFC 6865 §4.3): what one source symbol holds."""

    flow_id: int
    adu: bytes
    symbol_bytes: int


class Packet(NamedTuple):
    """One datagram of either flow."""

    repair: bool
    octets: bytes

    @property
    def train(self) -> Train:
        """As links carry it."""
        flow = FLOW_REPAIR if self.repair else FLOW_SOURCE
        return Train(self.octets, len(self.octets), flow)


@dataclass(frozen=True, slots=True)
class ProtectedBlock:
    """One source block as its sender's packets, source packets first."""

    config: FecConfig
    adus: tuple[bytes, ...]
    packets: tuple[Packet, ...]


@dataclass(frozen=True, slots=True)
class NearlyBlock:
    """Packets of which the last contradicts those before it."""

    block: ProtectedBlock
    violation: Violation


@strategy
def payload_ids(choose: Choices, *, repair: bool = False) -> PayloadId:
    """FEC payload ids of source packets (RFC 6865 §5.1.2) or repair packets (§5.1.3)."""
    top = ENCODING_SYMBOLS_MAX
    k = choose.integer(1, top - 1) if repair else choose.integer(1, top)
    esi = choose.integer(k, top - 1) if repair else choose.integer(0, min(k, top - 1) - 1)
    return PayloadId(choose.integer(0, SBN_MODULUS - 1), esi, k)


@strategy
def encoded_payload_ids(choose: Choices, *, repair: bool = False) -> bytes:
    """Their octets."""
    return encode_payload_id(payload_ids.make(choose, repair=repair))


@strategy
def aduis(choose: Choices) -> Adui:
    """ADU information (RFC 6865 §4.3): of empty ADUs too, with padding or without."""
    adu = choose.octets(0, 60)
    return Adui(choose.integer(0, 255), adu, ADUI_HEADER_BYTES + len(adu) + choose.integer(0, 20))


@strategy
def encoded_aduis(choose: Choices) -> bytes:
    """Their octets."""
    return encode_adui(*aduis.make(choose))


@strategy
def fssis(choose: Choices) -> Fssi:
    """FEC scheme-specific information (RFC 6865 §5.1.1.2)."""
    return Fssi(choose.integer(ADUI_HEADER_BYTES + 1, 0xFFFF), choose.flip())


@strategy
def encoded_fssis(choose: Choices) -> bytes:
    """Its octets."""
    return encode_fssi(fssis.make(choose))


@strategy
def fec_configs(choose: Choices) -> FecConfig:
    """Small configurations, whose blocks are full soon; some with hardly any memory."""
    k, r, interleave = choose.integer(1, 9), choose.integer(0, 5), choose.integer(1, 4)
    adu_bytes_max = 40
    symbol_bytes = adu_bytes_max + OVERHEAD_BYTES
    least = 2 * interleave * (k + r) * symbol_bytes
    return FecConfig(
        k=k,
        r=r,
        interleave=interleave,
        adu_bytes_max=adu_bytes_max,
        block_time_ns=10 * MILLISECOND,
        decode_timeout_ns=100 * MILLISECOND,
        flow_id=choose.pick((0, 7, 255)),
        fill_short_blocks=choose.flip(),
        memory_bytes_max=choose.pick((1 << 26, 1 << 26, least)),
    )


class _OfThread(threading.local):
    """Tables of codes, which cost more than the block of a case."""

    def __init__(self) -> None:
        self.codes = SharedCodes()


_THREAD = _OfThread()


@strategy
def protected_blocks(
    choose: Choices, *, k_min: int = 1, r_min: int = 0, adus_min: int = 1
) -> ProtectedBlock:
    """A source block of up to eight ADUs of up to 40 octets, and its repair packets."""
    k = choose.integer(k_min, 8)
    config = FecConfig(
        k=k, r=choose.integer(r_min, 4), adu_bytes_max=40, flow_id=choose.integer(0, 255)
    )
    adus = [choose.octets(1, 40) for _ in choose.many(min(k, adus_min), k)]
    sender = FecSender(config, codes=_THREAD.codes)
    sent = sender.protect([Train(adu, len(adu)) for adu in adus], 0) + sender.flush(0)
    packets = [
        Packet(train.flow == FLOW_REPAIR, bytes(one)) for train in sent for one in train.datagrams()
    ]
    packets.sort(key=lambda packet: packet.repair)
    return ProtectedBlock(config, tuple(adus), tuple(packets))


# ------------------------------------------------------------------------------ nearly valid


def _id(sbn: int, esi: int, k: int) -> bytes:
    """A payload id with whatever fits its fields."""
    return sbn.to_bytes(3, "big") + bytes((esi,)) + k.to_bytes(2, "big")


def _id_rules(repair: bool) -> tuple[WireRule[PayloadId], ...]:
    clause = "RFC 6865 §5.1.3" if repair else "RFC 6865 §5.1.2"
    made = payload_ids.maker(repair=repair)
    top = ENCODING_SYMBOLS_MAX

    def rule(words: str, spoil: Callable[[Choices, PayloadId], bytes]) -> WireRule[PayloadId]:
        return WireRule(Violation(clause, words), made, spoil)

    rules = [
        rule("a payload id cut short", lambda choose, value: encode_payload_id(value)[
            : choose.integer(0, PAYLOAD_ID_BYTES - 1)]),
        rule("a source block of more symbols than there can be", lambda choose, value: _id(
            value.sbn, 254 if repair else value.esi, choose.integer(top + 1, 0xFFFF))),
    ]  # fmt: skip
    if repair:
        rules += [
            rule("a repair symbol of an empty source block", lambda choose, value: _id(
                value.sbn, value.esi, 0)),
            rule("encoding symbol 255", lambda choose, value: _id(value.sbn, 255, value.k)),
            rule("a source symbol's id in a repair packet", lambda choose, value: _id(
                value.sbn, choose.integer(0, value.k - 1), value.k)),
        ]  # fmt: skip
    else:
        rules += [
            rule("a source block of no symbols", lambda choose, value: _id(value.sbn, 0, 0)),
            rule("a repair symbol's id in a source packet", lambda choose, value: _id(
                value.sbn, choose.integer(min(value.k, top - 1), top - 1), min(value.k, top - 1))),
        ]  # fmt: skip
    return tuple(rules)


SOURCE_ID_RULES = _id_rules(repair=False)
REPAIR_ID_RULES = _id_rules(repair=True)


def _long_adu(choose: Choices, value: Adui) -> bytes:
    room = value.symbol_bytes - ADUI_HEADER_BYTES
    length = choose.integer(room + 1, 0xFFFF).to_bytes(2, "big")
    return bytes((value.flow_id,)) + length + value.adu + bytes(room - len(value.adu))


def _padded(choose: Choices, value: Adui) -> bytes:
    padding = bytearray(choose.integer(1, 20))
    padding[choose.integer(0, len(padding) - 1)] = choose.integer(1, 255)
    return encode_adui(value.flow_id, value.adu, len(value.adu) + ADUI_HEADER_BYTES) + padding


def _short_adui(choose: Choices, value: Adui) -> bytes:
    return encode_adui(*value)[: choose.integer(0, ADUI_HEADER_BYTES - 1)]


ADUI_RULES = (
    WireRule(Violation("RFC 6865 §4.3", "ADU information cut short"), aduis.maker(), _short_adui),
    WireRule(Violation("RFC 6865 §4.3", "an ADU longer than its symbol"), aduis.maker(), _long_adu),
    WireRule(Violation("RFC 6865 §4.3", "padding that is not zero"), aduis.maker(), _padded),
)


def _other_m(choose: Choices, value: Fssi) -> bytes:
    return encode_fssi(value)[:2] + bytes((value.strict << 7 | (choose.integer(1, 127) ^ 8) & 127,))


FSSI_RULES = (
    WireRule(Violation("RFC 6865 §5.1.1.2", "FSSI cut short"), fssis.maker(),
         lambda choose, value: encode_fssi(value)[: choose.integer(0, 2)]),
    WireRule(Violation("RFC 6865 §5.1.1.2", "another size of code symbols than 8 bits"),
         fssis.maker(), _other_m),
    WireRule(Violation("RFC 6865 §5.1.1.2", "encoding symbols without room for an ADU"),
         fssis.maker(), lambda choose, value: choose.integer(0, 3).to_bytes(2, "big")
         + encode_fssi(value)[2:]),
)  # fmt: skip


@strategy
def nearly_payload_ids(
    choose: Choices, *, rules: Sequence[WireRule[PayloadId]] = (*SOURCE_ID_RULES, *REPAIR_ID_RULES)
) -> Nearly:
    """A payload id that breaks one rule, of `rules`: of source or of repair packets."""
    return nearly(choose, rules, encode_payload_id)


@strategy
def nearly_aduis(choose: Choices, *, rules: Sequence[WireRule[Adui]] = ADUI_RULES) -> Nearly:
    """ADU information that breaks one rule, of `rules`."""
    return nearly(choose, rules, lambda value: encode_adui(*value))


@strategy
def nearly_fssis(choose: Choices, *, rules: Sequence[WireRule[Fssi]] = FSSI_RULES) -> Nearly:
    """FSSI that breaks one rule, of `rules`."""
    return nearly(choose, rules, encode_fssi)


# ------------------------------------------------------------------ what contradicts a block


@dataclass(frozen=True, slots=True)
class BlockRule:
    """One rule, and a packet that breaks it beside others of its block."""

    violation: Violation
    spoil: Callable[[Choices, Any, Packet], tuple[tuple[Packet, ...], Packet]]
    """Of a block and one of its packets: those before, and the packet that contradicts them."""

    repair: bool


def _others(block: ProtectedBlock, packet: Packet) -> tuple[Packet, ...]:
    return tuple(other for other in block.packets if other is not packet)


def _source_k(
    choose: Choices, block: ProtectedBlock, packet: Packet
) -> tuple[tuple[Packet, ...], Packet]:
    esi = packet.octets[-3]
    k = choose.integer(block.config.k + 1, ENCODING_SYMBOLS_MAX)
    before = tuple(other for other in _others(block, packet) if not other.repair)
    wrong = packet.octets[:-PAYLOAD_ID_BYTES] + packet.octets[-6:-3] + bytes((esi,))
    return before, Packet(False, wrong + k.to_bytes(2, "big"))


def _repair_k(
    choose: Choices, block: ProtectedBlock, packet: Packet
) -> tuple[tuple[Packet, ...], Packet]:
    k = choose.integer(block.config.k + 1, ENCODING_SYMBOLS_MAX - 1)
    esi = choose.integer(k, ENCODING_SYMBOLS_MAX - 1)
    wrong = packet.octets[:3] + bytes((esi,)) + k.to_bytes(2, "big")
    return block.packets[: block.config.k - 1], Packet(True, wrong + packet.octets[6:])


def _symbol_length(
    choose: Choices, block: ProtectedBlock, packet: Packet
) -> tuple[tuple[Packet, ...], Packet]:
    length = len(packet.octets) - PAYLOAD_ID_BYTES
    most = block.config.adu_bytes_max + ADUI_HEADER_BYTES
    other = choose.integer(ADUI_HEADER_BYTES, most - 1)
    other += other >= length
    octets = packet.octets[:PAYLOAD_ID_BYTES] + choose.octets(other, other)
    repair = next(one for one in _others(block, packet) if one.repair)
    # One packet more, were it right, and the block could be decoded.
    return (*block.packets[: block.config.k - 2], repair), Packet(True, octets)


def _no_symbol(
    choose: Choices, block: ProtectedBlock, packet: Packet
) -> tuple[tuple[Packet, ...], Packet]:
    cut = PAYLOAD_ID_BYTES + choose.integer(0, ADUI_HEADER_BYTES - 1)
    return block.packets[: block.config.k - 1], Packet(True, packet.octets[:cut])


def _no_id(
    choose: Choices, block: ProtectedBlock, packet: Packet
) -> tuple[tuple[Packet, ...], Packet]:
    cut = choose.integer(1, PAYLOAD_ID_BYTES - 1)
    return block.packets[:-1], Packet(packet.repair, packet.octets[:cut])


BLOCK_RULES = (
    BlockRule(Violation("RFC 6865 §5.1.2", "source packets that disagree on their block's length"),
              _source_k, False),
    BlockRule(Violation("RFC 6865 §5.1.3", "a repair packet of a longer block than its sources'"),
              _repair_k, True),
    BlockRule(Violation("RFC 6865 §4.3", "repair symbols of two lengths in one block"),
              _symbol_length, True),
    BlockRule(Violation("RFC 6363 §5.4", "a repair packet without room for a symbol"),
              _no_symbol, True),
    BlockRule(Violation("RFC 6363 §5.3", "a source packet without a payload id"), _no_id, False),
)  # fmt: skip


@strategy
def nearly_blocks(choose: Choices, *, rules: Sequence[BlockRule] = BLOCK_RULES) -> NearlyBlock:
    """Packets of one block, in order, of which the last breaks one rule, of `rules`."""
    rule = choose.pick(rules)
    block = choose.prepared(protected_blocks.make, k_min=3, r_min=2, adus_min=8)
    packet = choose.pick([one for one in block.packets if one.repair == rule.repair])
    before, bad = rule.spoil(choose, block, packet)
    return NearlyBlock(replace(block, packets=(*before, bad)), rule.violation)


@strategy
def mutated_packets(choose: Choices) -> Packet:
    """A packet of either flow, damaged at random."""
    block = choose.prepared(protected_blocks.make, r_min=1)
    packet = choose.pick(block.packets)
    return packet._replace(octets=change(packet.octets, (packet.octets,), choose))
