"""Forged and damaged packets of a FECFRAME flow: nothing wrong comes out of a block, and what the
genuine packets can repair is repaired, where the layer above knows what is genuine."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.train import FLOW_REPAIR, FLOW_SOURCE, Train, single
from stack.fec.blocks import CLAIMS_MAX
from stack.fec.framework import FecConfig, FecReceiver, FecSender
from stack.wire.fecframe import SBN_MODULUS, PayloadId, encode_payload_id

CONFIG = FecConfig(k=8, r=4, adu_bytes_max=40)
Packet = tuple[bytes, int]


def genuine(datagram: memoryview) -> bool:
    """What stands for an authentication value: the last four octets are a checksum."""
    return zlib.crc32(datagram[:-4]).to_bytes(4, "big") == datagram[-4:]


def adus(start: int = 0) -> list[bytes]:
    bodies = [bytes((start + i,)) * 30 for i in range(CONFIG.k)]
    return [body + zlib.crc32(body).to_bytes(4, "big") for body in bodies]


def packets(first_sbn: int = 5) -> tuple[list[Packet], list[Packet]]:
    """Source and repair packets of one block."""
    sender = FecSender(CONFIG, first_sbn=first_sbn)
    sent = sender.protect([Train(b"".join(adus()), 34)], 0)
    flat = [(bytes(one), train.flow) for train in sent for one in train.datagrams()]
    return flat[: CONFIG.k], flat[CONFIG.k :]


def feed(receiver: FecReceiver, flow: list[Packet], now: int = 0) -> list[bytes]:
    return [
        bytes(one)
        for octets, kind in flow
        for train in receiver.receive(single(octets, kind), now)
        for one in train.datagrams()
    ]


def flipped(packet: Packet, at: int = 12) -> Packet:
    octets = bytearray(packet[0])
    octets[at] ^= 0x55
    return bytes(octets), packet[1]


def repair(esi: int, k: int, symbol: bytes, sbn: int = 5) -> Packet:
    return encode_payload_id(PayloadId(sbn, esi, k)) + symbol, FLOW_REPAIR


@given(
    lost=st.sets(st.integers(0, 7), min_size=1, max_size=3),
    culprit=st.integers(0, 3),
    order=st.permutations(range(4)),
)
def test_one_forged_repair_symbol_costs_only_itself(
    lost: set[int], culprit: int, order: list[int]
) -> None:
    source, repairs = packets()
    repairs[culprit] = flipped(repairs[culprit])
    receiver = FecReceiver(CONFIG, genuine=genuine)
    got = feed(receiver, [one for i, one in enumerate(source) if i not in lost])
    got += feed(receiver, [repairs[i] for i in order])
    assert sorted(got) == sorted(adus())


def test_a_forged_symbol_in_place_of_a_genuine_one_is_no_better() -> None:
    source, repairs = packets()
    receiver = FecReceiver(CONFIG, genuine=genuine)
    got = feed(receiver, source[2:])
    got += feed(receiver, [flipped(repairs[0]), *repairs])
    assert sorted(got) == sorted(adus())
    assert receiver.counters()["blocks_poisoned"] == 1


def test_a_forged_source_packet_does_not_spoil_what_is_recovered_beside_it() -> None:
    source, repairs = packets()
    receiver = FecReceiver(CONFIG, genuine=genuine)
    got = feed(receiver, [flipped(source[0]), *source[2:], *repairs])
    assert adus()[1] in got
    assert [one for one in got if not genuine(memoryview(one))] == [flipped(source[0])[0][:-6]]
    receiver = FecReceiver(CONFIG, genuine=genuine)
    got = feed(receiver, [*repairs, flipped(source[0]), *source[2:]])
    assert set(adus()[1:]) <= set(got)


def test_when_nothing_helps_nothing_comes_out() -> None:
    source, repairs = packets()
    receiver = FecReceiver(CONFIG, genuine=genuine)
    got = feed(receiver, source[4:]) + feed(receiver, [flipped(one) for one in repairs])
    assert got == adus()[4:]
    receiver.handle_deadline(CONFIG.decode_timeout_ns)
    counters = receiver.counters()
    assert (counters["blocks_failed"], counters["held_bytes"], counters["recovered"]) == (1, 0, 0)


def test_work_on_a_poisoned_block_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from stack.fec.receiver import ATTEMPTS_MAX

    config = FecConfig(k=2, r=2, adu_bytes_max=40)
    receiver = FecReceiver(config, genuine=genuine)
    decoded = 0
    recover = receiver._code.recover

    def counted(*args: object) -> object:
        nonlocal decoded
        decoded += 1
        return recover(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(receiver._code, "recover", counted)
    feed(receiver, [repair(esi, 2, bytes([esi]) * 37) for esi in range(2, 255)])
    assert 0 < decoded <= 2 * ATTEMPTS_MAX


def test_without_a_judge_adu_information_must_be_sound() -> None:
    source, repairs = packets()
    receiver = FecReceiver(CONFIG)
    # The flow id of the ADU information is the first octet of a symbol; its ADU is wrong too.
    wrong = flipped(flipped(repairs[0], 6), 12)
    got = feed(receiver, source[1:]) + feed(receiver, [wrong, *repairs[1:]])
    assert sorted(got) == sorted(adus())


@pytest.mark.parametrize("esi", [8, 11, 254])
def test_wrong_ids_are_survived(esi: int) -> None:
    source, repairs = packets()
    receiver = FecReceiver(CONFIG, genuine=genuine)
    wrong = [
        repair(esi, 8, bytes(37), sbn=6),  # another block
        repair(esi, 8, bytes(37), sbn=SBN_MODULUS - 1),
        (encode_payload_id(PayloadId(5, 3, 8)) + bytes(37), FLOW_REPAIR),  # a source symbol's id
        (source[0][0][:-6] + encode_payload_id(PayloadId(5, 200, 8)), FLOW_SOURCE),
    ]
    got = feed(receiver, source[3:]) + feed(receiver, wrong) + feed(receiver, repairs)
    assert [one for one in got if genuine(memoryview(one))]
    assert set(adus()) <= set(got)
    assert receiver.counters()["malformed"] == 2


def test_replayed_packets_of_an_old_block_bring_nothing() -> None:
    source, repairs = packets()
    receiver = FecReceiver(CONFIG, genuine=genuine)
    feed(receiver, source[3:] + repairs)
    assert feed(receiver, source + repairs, 1) == []
    assert receiver.counters()["open_blocks"] == 0


def test_a_flood_of_new_block_numbers_is_bounded() -> None:
    receiver = FecReceiver(CONFIG, genuine=genuine)
    rng = np.random.default_rng(1)
    for sbn in rng.integers(0, SBN_MODULUS, 3_000):
        receiver.receive(single(*repair(9, 8, bytes(37), int(sbn))), 0)
    counters = receiver.counters()
    assert counters["open_blocks"] <= CONFIG.blocks_max
    assert counters["held_bytes"] <= CONFIG.memory_bytes_max


# Forged packets that are faster than the genuine ones, where the layer above can tell.


def forged_source(esi: int, k: int = 8, octets: bytes = b"forged" * 6) -> Packet:
    return octets + encode_payload_id(PayloadId(5, esi, k)), FLOW_SOURCE


@pytest.mark.parametrize("at", [0, 4, 7])
@pytest.mark.parametrize("octets", [b"f" * 34, b"forged", b"f" * 40], ids=["same", "short", "long"])
def test_a_forged_source_packet_does_not_keep_out_the_genuine_one(at: int, octets: bytes) -> None:
    source, repairs = packets()
    receiver = FecReceiver(CONFIG, genuine=genuine)
    got = feed(receiver, [forged_source(at, octets=octets), *source, *repairs])
    assert sorted(one for one in got if one != octets) == sorted(adus())
    assert receiver.counters()["open_blocks"] == receiver.counters()["held_bytes"] == 0


def test_a_forged_source_packet_in_the_same_train_does_not_keep_out_the_genuine_one() -> None:
    source, _ = packets()
    for first in (source[3:4], source[2:5], []):
        receiver = FecReceiver(CONFIG, genuine=genuine)
        flow = [*first, forged_source(3, octets=b"f" * 34), *source[3:6]]
        train = Train(b"".join(octets for octets, _ in flow), len(flow[0][0]))
        got = [bytes(one) for out in receiver.receive(train, 0) for one in out.datagrams()]
        assert set(adus()[3:6]) <= set(got)
        receiver.handle_deadline(CONFIG.decode_timeout_ns)
        assert receiver.counters()["held_bytes"] == 0


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("forged", [[], [3]])
@given(again=st.lists(st.integers(0, 6), min_size=1, max_size=7))
def test_what_the_link_doubles_is_handed_on_once(
    again: list[int], forged: list[int], apart: bool
) -> None:
    """In trains of its own and within one; a forged packet makes room for the genuine one, once."""
    source, repairs = packets()
    receiver = FecReceiver(CONFIG, genuine=genuine)
    flow = [*(forged_source(esi, octets=b"f" * 34) for esi in forged), *source[:7]]
    flow += [source[esi] for esi in again] * 2
    if apart:
        got = feed(receiver, flow)
    else:
        train = Train(b"".join(octets for octets, _ in flow), len(flow[0][0]))
        got = [bytes(one) for out in receiver.receive(train, 0) for one in out.datagrams()]
    assert sorted(one for one in got if genuine(memoryview(one))) == sorted(adus()[:7])
    handed_on = got.count(b"f" * 34)  # none, where the genuine one was looked at first
    assert receiver.counters()["duplicates"] == 2 * len(again) + len(forged) - handed_on
    assert feed(receiver, repairs[:1]) == adus()[7:], "what serves for decoding is genuine"


def test_the_genuine_source_packet_of_a_block_that_seemed_complete_is_handed_on() -> None:
    source, _ = packets()
    receiver = FecReceiver(CONFIG, genuine=genuine)
    feed(receiver, [forged_source(0), *source[1:]])
    assert receiver.counters()["open_blocks"] == 0
    assert feed(receiver, source[:1]) == adus()[:1]
    # A second chance, no more: replays go no further, authentic or not.
    assert feed(receiver, [source[0], forged_source(0), source[0]]) == []
    assert receiver.counters()["duplicates"] == 3


@given(late=st.sets(st.integers(0, 7), min_size=1, max_size=3), culprit=st.integers(0, 7))
def test_an_authentic_copy_serves_for_decoding_in_place_of_the_forged_one(
    late: set[int], culprit: int
) -> None:
    source, repairs = packets()
    receiver = FecReceiver(CONFIG, genuine=genuine)
    got = feed(receiver, [forged_source(culprit, octets=b"f" * 34)])
    got += feed(receiver, [one for i, one in enumerate(source) if i not in late - {culprit}])
    got += feed(receiver, repairs[: len(late - {culprit})])  # enough only if none is wrong
    assert sorted(one for one in got if one != b"f" * 34) == sorted(adus())


def test_what_a_forged_source_packet_kept_out_is_recovered() -> None:
    source, repairs = packets()
    receiver = FecReceiver(CONFIG, genuine=genuine)
    got = feed(receiver, [forged_source(0), *source[2:], *repairs[:2]])
    assert sorted(one for one in got if not one.startswith(b"forged")) == sorted(adus())


@pytest.mark.parametrize("before", [0, 2, 5])
@pytest.mark.parametrize(
    "claims",
    [[(1, 37)], [(2, 37)], [(5, 37)], [(254, 37)], [(8, 36)], [(8, 43)], [(8, 3), (2, 9), (9, 37)]],
    ids=str,
)
def test_a_forged_repair_header_does_not_decide(claims: list[tuple[int, int]], before: int) -> None:
    source, repairs = packets()
    receiver = FecReceiver(CONFIG, genuine=genuine)
    wrong = [repair(k, k, b"\x55" * symbol_bytes) for k, symbol_bytes in claims]
    got = feed(receiver, [*source[:before], *wrong, *source[before:6], *repairs[:2]])
    assert sorted(got) == sorted(adus())
    assert receiver.counters()["held_bytes"] == 0


@pytest.mark.parametrize("k", [7, 9, 255])
def test_a_forged_block_length_in_a_source_packet_does_not_decide(k: int) -> None:
    source, repairs = packets()
    receiver = FecReceiver(CONFIG, genuine=genuine)
    got = feed(receiver, [forged_source(0, k), *source[2:], *repairs])
    assert set(adus()) <= set(got)


def test_claims_about_one_block_are_bounded() -> None:
    _, repairs = packets()
    receiver = FecReceiver(CONFIG, genuine=genuine)
    feed(receiver, repairs[:1])
    feed(receiver, [repair(200, k, bytes(37)) for k in range(10, 200)])
    counters = receiver.counters()
    assert counters["inconsistent"] == 190 - (CLAIMS_MAX - 1)
    assert counters["held_bytes"] <= CLAIMS_MAX * 37


def test_a_short_block_is_complete_when_its_time_is_over() -> None:
    sender = FecSender(CONFIG)
    receiver = FecReceiver(CONFIG, genuine=genuine)
    for train in sender.protect([Train(adus()[0], 34)], 0) + sender.flush(0):
        receiver.receive(train, 0)
    receiver.handle_deadline(CONFIG.decode_timeout_ns)
    counters = receiver.counters()
    assert (counters["blocks_complete"], counters["blocks_failed"]) == (1, 0)
    assert counters["blocks_unfinished"] == counters["held_bytes"] == 0
