"""FECFRAME: what the strategies call right is right, what they call wrong is refused for it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from hypothesis import given

from interop.strategies.fecframe import (
    ADUI_RULES,
    BLOCK_RULES,
    FSSI_RULES,
    REPAIR_ID_RULES,
    SOURCE_ID_RULES,
    Adui,
    BlockRule,
    Packet,
    ProtectedBlock,
    aduis,
    encoded_aduis,
    fssis,
    mutated_packets,
    nearly_aduis,
    nearly_blocks,
    nearly_fssis,
    nearly_payload_ids,
    payload_ids,
    protected_blocks,
)
from interop.strategies.making import Maker
from interop.strategies.violation import Nearly
from stack.core.errors import DecodeError
from stack.fec.framework import FecReceiver
from stack.wire.fecframe import (
    Fssi,
    PayloadId,
    decode_adui,
    decode_fssi,
    decode_payload_id,
    encode_adui,
    encode_fssi,
    encode_payload_id,
)


def named(rule: Any) -> str:
    return str(rule.violation.words)


REFUSED: list[tuple[Any, Callable[..., Maker[Nearly]], Callable[[bytes], Any]]] = [
    *((rule, nearly_payload_ids.maker, lambda octets: decode_payload_id(octets, repair=False))
      for rule in SOURCE_ID_RULES),
    *((rule, nearly_payload_ids.maker, lambda octets: decode_payload_id(octets, repair=True))
      for rule in REPAIR_ID_RULES),
    *((rule, nearly_aduis.maker, decode_adui) for rule in ADUI_RULES),
    *((rule, nearly_fssis.maker, decode_fssi) for rule in FSSI_RULES),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "maker", "decode"), REFUSED, ids=[named(rule) for rule, _, _ in REFUSED]
)
def test_what_breaks_a_rule_is_refused_for_it(
    rule: Any, maker: Callable[..., Maker[Nearly]], decode: Callable[[bytes], Any]
) -> None:
    for one in islice(maker(rules=[rule]).cases(), 200):
        decode(one.valid)
        with pytest.raises(DecodeError) as refused:
            decode(one.encoded)
        assert refused.value.section == one.violation.clause == rule.violation.clause


@given(payload_ids(), payload_ids(repair=True), aduis(), fssis())
def test_what_is_valid_is_read_as_it_is(
    source: PayloadId, repair: PayloadId, adui: Adui, fssi: Fssi
) -> None:
    assert decode_payload_id(encode_payload_id(source), repair=False) == (source, 6)
    assert decode_payload_id(encode_payload_id(repair), repair=True) == (repair, 6)
    flow_id, adu = decode_adui(encode_adui(*adui))
    assert (flow_id, bytes(adu)) == (adui.flow_id, adui.adu)
    assert decode_fssi(encode_fssi(fssi)) == (fssi, 3)


@given(encoded_aduis())
def test_octets_of_aduis(octets: bytes) -> None:
    assert encode_adui(*decode_adui(octets), len(octets)) == octets


def fed(receiver: FecReceiver, *packets: Packet) -> list[bytes]:
    """The ADUs that packets bring."""
    found = []
    for packet in packets:
        for train in receiver.receive(packet.train, 0):
            found += [bytes(one) for one in train.datagrams()]
    return found


@given(protected_blocks())
def test_a_block_survives_the_loss_of_as_many_packets_as_it_has_repairs(
    block: ProtectedBlock,
) -> None:
    sources = [packet for packet in block.packets if not packet.repair]
    repairs = [packet for packet in block.packets if packet.repair]
    lost = min(len(sources), len(repairs))
    receiver = FecReceiver(block.config)
    assert sorted(fed(receiver, *sources[lost:], *repairs)) == sorted(block.adus)


@pytest.mark.parametrize("rule", BLOCK_RULES, ids=named)
def test_a_packet_that_contradicts_its_block_is_counted_and_decodes_nothing(
    rule: BlockRule,
) -> None:
    for one in islice(nearly_blocks.maker(rules=[rule]).cases(), 100):
        *before, bad = one.block.packets
        receiver = FecReceiver(one.block.config)
        fed(receiver, *before)
        counted = receiver.counters()
        assert counted["malformed"] == counted["inconsistent"] == 0
        found = fed(receiver, bad)
        counted = receiver.counters()
        assert counted["malformed"] + counted["inconsistent"] == 1
        assert set(found) <= set(one.block.adus)
        assert counted["recovered"] == 0


@given(protected_blocks(k_min=2, r_min=1), mutated_packets())
def test_a_damaged_packet_stops_nobody(block: ProtectedBlock, damaged: Packet) -> None:
    receiver = FecReceiver(block.config)
    if damaged.octets:
        fed(receiver, damaged)
    sources = [packet for packet in block.packets if not packet.repair]
    assert set(fed(receiver, *sources)) <= set(block.adus)
