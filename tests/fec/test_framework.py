"""FECFRAME sender and receiver: what each puts on the wire, and both against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.strategies.fecframe import fec_configs
from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError, LocalError
from stack.core.train import FLOW_REPAIR, FLOW_SOURCE, Train, single
from stack.fec.erasure import ReedsoloErasureCode
from stack.fec.framework import FecConfig, FecReceiver, FecSender
from stack.wire.fecframe import (
    SBN_MODULUS,
    PayloadId,
    decode_payload_id,
    encode_adui,
    encode_payload_id,
)
from tests.strategies.fec import numbered_trains, regroup


def datagrams(trains: Iterable[Train]) -> list[bytes]:
    return [bytes(datagram) for train in trains for datagram in train.datagrams()]


def numbered(count: int, size: int, start: int = 0) -> Train:
    rng = np.random.default_rng(count * size + start)
    rows = rng.integers(0, 256, (count, size), np.uint8)
    rows[:, :4] = np.arange(start, start + count, dtype=">u4").view(np.uint8).reshape(count, 4)
    return Train(rows.tobytes(), size)


def by_block(packets: list[tuple[bytes, int]]) -> dict[int, list[tuple[bytes, int]]]:
    """Packets of each block number."""
    out: dict[int, list[tuple[bytes, int]]] = {}
    for octets, flow in packets:
        repair = flow == FLOW_REPAIR
        value, _ = decode_payload_id(octets if repair else octets[-6:], repair=repair)
        out.setdefault(value.sbn, []).append((octets, flow))
    return out


def flatten(trains: Iterable[Train]) -> list[tuple[bytes, int]]:
    return [(bytes(datagram), train.flow) for train in trains for datagram in train.datagrams()]


def deliver(receiver: FecReceiver, packets: list[tuple[bytes, int]], now: int = 0) -> list[bytes]:
    out: list[bytes] = []
    for train in regroup(packets):
        out += datagrams(receiver.receive(train, now))
    return out


# What the sender puts on the wire


def test_source_packets_leave_at_once_with_their_ids_at_the_end() -> None:
    config = FecConfig(k=4, r=2, adu_bytes_max=10, flow_id=9)
    sender = FecSender(config, first_sbn=SBN_MODULUS - 1)
    (train,) = sender.protect([Train(b"aaaabbbbcc", 4)], 0)
    assert train.flow == FLOW_SOURCE
    assert datagrams([train]) == [
        b"aaaa" + bytes.fromhex("ffffff000004"),
        b"bbbb" + bytes.fromhex("ffffff010004"),
        b"cc" + bytes.fromhex("ffffff020004"),
    ]
    source, repair, more = sender.protect([Train(b"ddddd" + b"e", 5)], 0)
    assert datagrams([source]) == [b"ddddd" + bytes.fromhex("ffffff030004")]
    assert datagrams([more]) == [b"e" + bytes.fromhex("000000000004")]
    aduis = [encode_adui(9, adu, 8) for adu in (b"aaaa", b"bbbb", b"cc", b"ddddd")]
    rows = np.frombuffer(b"".join(aduis), np.uint8).reshape(4, 8)
    symbols = ReedsoloErasureCode().encode(rows, 2)
    assert repair.flow == FLOW_REPAIR
    assert datagrams([repair]) == [
        bytes.fromhex("ffffff040004") + symbols[0].tobytes(),
        bytes.fromhex("ffffff050004") + symbols[1].tobytes(),
    ]


def test_symbols_are_as_long_as_the_longest_adu_of_their_block() -> None:
    sender = FecSender(FecConfig(k=2, r=1, adu_bytes_max=10))
    adus = [single(b"x" * size) for size in (3, 9, 5, 4, 2, 2)]
    repairs = [p for p, flow in flatten(sender.protect(adus, 0)) if flow == FLOW_REPAIR]
    assert [len(p) for p in repairs] == [6 + 3 + longest for longest in (9, 5, 2)]


def test_interleaved_blocks_take_turns() -> None:
    sender = FecSender(FecConfig(k=2, r=1, interleave=3, adu_bytes_max=10))
    packets = flatten(sender.protect([Train(b"abcdef", 1)], 0))
    ids = [decode_payload_id(p if f else p[-6:], repair=f == FLOW_REPAIR)[0] for p, f in packets]
    assert ids == [PayloadId(sbn, esi, 2) for esi in range(3) for sbn in range(3)]


@pytest.mark.parametrize(("used", "repairs"), [(1, 1), (4, 1), (5, 2), (16, 4)])
def test_short_blocks_are_protected_in_proportion(used: int, repairs: int) -> None:
    config = FecConfig(k=16, r=4, adu_bytes_max=10, block_time_ns=5 * MILLISECOND)
    sender = FecSender(config)
    now = 7 * SECOND
    trains = sender.protect([Train(b"x" * used, 1)], now)
    if used < 16:
        assert len(trains) == 1
        assert sender.next_deadline() == now + 5 * MILLISECOND
        assert sender.handle_deadline(now + 5 * MILLISECOND - 1) == []
        trains += sender.handle_deadline(now + 5 * MILLISECOND)
    assert sender.next_deadline() is None
    assert sender.flush(now) == []
    sent = [p for p, flow in flatten(trains) if flow == FLOW_REPAIR]
    ids = [decode_payload_id(p, repair=True)[0] for p in sent]
    assert ids == [PayloadId(0, used + i, used) for i in range(repairs)]


def test_filled_blocks_keep_their_length() -> None:
    sender = FecSender(FecConfig(k=4, r=2, adu_bytes_max=10, fill_short_blocks=True))
    packets = flatten(sender.protect([Train(b"xy", 1)], 0) + sender.flush(0))
    ids = [decode_payload_id(p if f else p[-6:], repair=f == FLOW_REPAIR)[0] for p, f in packets]
    assert ids == [PayloadId(0, esi, 4) for esi in range(6)]
    assert [len(p) for p, _ in packets] == [7, 7, 6, 6, 10, 10]
    receiver = FecReceiver(FecConfig(k=4, r=2, adu_bytes_max=10))
    assert sorted(deliver(receiver, packets[1:3] + packets[4:])) == [b"x", b"y"]
    assert receiver.counters()["recovered"] == 1


def test_a_datagram_that_is_too_long_changes_nothing() -> None:
    sender = FecSender(FecConfig(k=4, r=2, adu_bytes_max=10))
    with pytest.raises(LocalError, match="11 octets"):
        sender.protect([single(b"fine"), single(b"x" * 11)], 0)
    assert sender.next_deadline() is None
    assert sender.counters()["source_packets"] == 0


# Both ends


@settings(max_examples=150, deadline=None)
@given(config=fec_configs(), data=st.data())
def test_exact_when_no_block_loses_more_than_its_repair_packets(
    config: FecConfig, data: st.DataObject
) -> None:
    sender = FecSender(config, first_sbn=data.draw(st.sampled_from([0, SBN_MODULUS - 2])))
    trains = data.draw(numbered_trains(0))
    expected = Counter(datagrams(trains))
    packets = flatten(sender.protect(trains, 0) + sender.flush(0))
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    left: list[tuple[bytes, int]] = []
    for block in by_block(packets).values():
        repairs = sum(flow == FLOW_REPAIR for _, flow in block)
        lost = int(rng.integers(0, repairs + 1))
        left += [block[i] for i in rng.permutation(len(block))[lost:]]
    arriving = [left[i] for i in rng.permutation(len(left))]
    receiver = FecReceiver(config)
    assert Counter(deliver(receiver, arriving)) == expected
    receiver.handle_deadline(config.decode_timeout_ns)
    counters = receiver.counters()
    assert counters["blocks_failed"] == counters["malformed"] == counters["inconsistent"] == 0
    assert (counters["open_blocks"], counters["held_bytes"]) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "other"), [("numpy", "reedsolo"), ("reedsolo", "numpy")])
def test_both_engines_understand_each_other(engine: Any, other: Any) -> None:
    sender = FecSender(FecConfig(k=6, r=3, adu_bytes_max=20, engine=engine))
    receiver = FecReceiver(FecConfig(k=6, r=3, adu_bytes_max=20, engine=other))
    train = numbered(6, 20)
    packets = flatten(sender.protect([train], 0))
    assert sorted(deliver(receiver, packets[1:4] + packets[6:])) == datagrams([train])


def test_nothing_is_decoded_when_nothing_is_lost() -> None:
    config = FecConfig(k=8, r=4, adu_bytes_max=50)
    events: list[str] = []
    sender = FecSender(config)
    receiver = FecReceiver(config, lambda event, fields: events.append(event))
    train = numbered(64, 50)
    assert deliver(receiver, flatten(sender.protect([train], 0))) == datagrams([train])
    assert events == []
    counters = receiver.counters()
    assert counters["late_repairs"] == counters["repair_packets"] == 32
    assert counters["blocks_complete"] == 8


@pytest.mark.parametrize(
    ("loss", "interleave", "k", "r"), [(0.05, 1, 64, 22), (0.15, 1, 100, 60), (0.05, 8, 32, 16)]
)
def test_random_loss_needs_no_retransmission(loss: float, interleave: int, k: int, r: int) -> None:
    config = FecConfig(k=k, r=r, interleave=interleave, adu_bytes_max=100)
    sender, receiver = FecSender(config), FecReceiver(config)
    rng = np.random.default_rng(2)
    train = numbered(k * interleave * 6, 100)
    packets = flatten(sender.protect([train], 0))
    arriving = [p for p in packets if rng.random() >= loss]
    assert sorted(deliver(receiver, arriving)) == datagrams([train])
    assert receiver.counters()["recovered"] > 0


def test_interleaving_rides_out_a_burst_that_one_block_cannot() -> None:
    lost_at, burst = 100, 60
    results = []
    for interleave in (1, 8):
        config = FecConfig(k=32, r=8, interleave=interleave, adu_bytes_max=100)
        sender, receiver = FecSender(config), FecReceiver(config)
        train = numbered(32 * 8, 100)
        packets = flatten(sender.protect([train], 0))
        arriving = packets[:lost_at] + packets[lost_at + burst :]
        results.append(sorted(deliver(receiver, arriving)) == datagrams([train]))
    assert results == [False, True]


def test_block_numbers_are_followed_around_the_end() -> None:
    config = FecConfig(k=2, r=1, adu_bytes_max=20, blocks_max=8)
    sender, receiver = FecSender(config, first_sbn=SBN_MODULUS - 3), FecReceiver(config)
    train = numbered(2 * 12, 20)
    packets = flatten(sender.protect([train], 0))
    numbers = [int.from_bytes(p[:3], "big") for p, flow in packets if flow == FLOW_REPAIR]
    assert numbers == [(SBN_MODULUS - 3 + i) % SBN_MODULUS for i in range(12)]
    left = [one for block in by_block(packets).values() for one in block[1:]]
    assert sorted(deliver(receiver, left)) == datagrams([train])


def test_repair_packets_may_come_first() -> None:
    config = FecConfig(k=4, r=4, adu_bytes_max=20)
    train = numbered(4, 20)
    packets = flatten(FecSender(config).protect([train], 0))
    receiver = FecReceiver(config)
    assert deliver(receiver, packets[4:]) == datagrams([train])
    assert deliver(receiver, packets[:4]) == []
    assert receiver.counters()["duplicates"] == 4


# Bounds and hostile input


def test_a_block_that_cannot_be_decoded_is_given_up_in_time() -> None:
    config = FecConfig(
        k=4, r=1, adu_bytes_max=20, block_time_ns=MILLISECOND, decode_timeout_ns=9 * MILLISECOND
    )
    packets = flatten(FecSender(config).protect([numbered(4, 20)], 0))
    receiver = FecReceiver(config)
    deliver(receiver, [packets[0], packets[2]], now=5)
    assert receiver.next_deadline() == 5 + 9 * MILLISECOND
    assert receiver.handle_deadline(5 + 9 * MILLISECOND - 1) == []
    assert receiver.counters()["open_blocks"] == 1
    assert receiver.handle_deadline(5 + 9 * MILLISECOND) == []
    assert receiver.next_deadline() is None
    counters = receiver.counters()
    assert (counters["blocks_failed"], counters["held_bytes"]) == (1, 0)
    late = deliver(receiver, packets[1:4], now=5 + 10 * MILLISECOND)
    assert [p[:4] for p in late] == [b"\0\0\0\1", b"\0\0\0\3"]  # 2 is a duplicate still


def test_a_short_block_that_may_be_whole_is_not_called_failed() -> None:
    config = FecConfig(k=4, r=1, adu_bytes_max=20)
    packets = flatten(FecSender(config).protect([numbered(3, 20)], 0))
    receiver = FecReceiver(config)
    deliver(receiver, packets)
    receiver.handle_deadline(config.decode_timeout_ns)
    counters = receiver.counters()
    assert (counters["blocks_unfinished"], counters["blocks_failed"]) == (1, 0)


def test_a_flood_of_block_numbers_stays_within_the_table() -> None:
    config = FecConfig(k=4, r=2, adu_bytes_max=20, blocks_max=8, memory_bytes_max=1_000)
    receiver = FecReceiver(config)
    for sbn in range(0, SBN_MODULUS, SBN_MODULUS // 500):
        octets = b"x" * 20 + encode_payload_id(PayloadId(sbn, 1, 4))
        assert datagrams(receiver.receive(single(octets), 0)) == [b"x" * 20]
        counters = receiver.counters()
        assert counters["open_blocks"] <= 8
        assert counters["held_bytes"] <= 1_000
    # In the end a sender that knows nothing of it gets through, repair included.
    now = 2 * config.decode_timeout_ns
    train = numbered(4, 20)
    packets = flatten(FecSender(config, first_sbn=77).protect([train], now))
    assert sorted(deliver(receiver, packets[2:], now)) == datagrams([train])


def test_memory_is_given_up_from_the_oldest_block_on() -> None:
    config = FecConfig(k=4, r=2, adu_bytes_max=91, memory_bytes_max=1_200)
    sender, receiver = FecSender(config), FecReceiver(config)
    packets = by_block(flatten(sender.protect([numbered(4 * 9, 91)], 0)))
    for block in packets.values():
        deliver(receiver, block[:2])
        assert receiver.counters()["held_bytes"] <= 1_200
    assert receiver.counters()["blocks_evicted"] == 3
    assert [len(deliver(receiver, block[4:])) for block in packets.values()] == [0] * 3 + [2] * 6


@pytest.mark.parametrize(
    ("octets", "flow", "counter"),
    [
        (b"", FLOW_SOURCE, "malformed"),
        (b"x", FLOW_REPAIR, "malformed"),
        (encode_payload_id(PayloadId(0, 4, 4)), FLOW_REPAIR, "malformed"),
        (encode_payload_id(PayloadId(0, 4, 4)) + b"12", FLOW_REPAIR, "malformed"),
        (encode_payload_id(PayloadId(0, 4, 4)) + bytes(24), FLOW_REPAIR, "malformed"),
        (encode_payload_id(PayloadId(0, 3, 4)) + bytes(23), FLOW_REPAIR, "malformed"),
        (bytes.fromhex("000000ff00ff") + bytes(23), FLOW_REPAIR, "malformed"),
        (bytes.fromhex("000000050000") + bytes(23), FLOW_REPAIR, "malformed"),
        (b"adu" + bytes.fromhex("000000040004"), FLOW_SOURCE, "malformed"),
        (b"adu" + bytes.fromhex("000000000000"), FLOW_SOURCE, "malformed"),
        (b"adu" + bytes.fromhex("000000000100"), FLOW_SOURCE, "malformed"),
        (b"adu" + bytes.fromhex("000001000005"), FLOW_SOURCE, "inconsistent"),
        (encode_payload_id(PayloadId(1, 9, 9)) + bytes(23), FLOW_REPAIR, "inconsistent"),
        (encode_payload_id(PayloadId(1, 4, 1)) + bytes(23), FLOW_REPAIR, "inconsistent"),
    ],
)
def test_absurd_packets_are_counted(octets: bytes, flow: int, counter: str) -> None:
    config = FecConfig(k=4, r=2, adu_bytes_max=20)
    receiver = FecReceiver(config)
    receiver.receive(single(b"adu" + encode_payload_id(PayloadId(1, 3, 4))), 0)
    out = receiver.receive(Train(octets, len(octets), flow), 0)
    assert receiver.counters()[counter] == 1
    # Only a source packet whose id contradicts others is handed on, without being protected.
    assert datagrams(out) == ([b"adu"] if counter == "inconsistent" and not flow else [])


def test_repair_symbols_of_another_length_do_not_mix() -> None:
    config = FecConfig(k=4, r=2, adu_bytes_max=20)
    packets = flatten(FecSender(config).protect([numbered(4, 20)], 0))
    receiver = FecReceiver(config)
    deliver(receiver, [packets[0], packets[1], packets[4]])
    assert deliver(receiver, [(packets[5][0][:-1], FLOW_REPAIR)]) == []
    assert receiver.counters()["inconsistent"] == 1
    assert len(deliver(receiver, [packets[5]])) == 2


def test_an_adu_longer_than_its_repair_symbols_ends_the_block() -> None:
    config = FecConfig(k=2, r=2, adu_bytes_max=40)
    receiver = FecReceiver(config)
    long = b"x" * 30 + encode_payload_id(PayloadId(0, 0, 2))
    assert len(receiver.receive(single(long), 0)) == 1
    repair = encode_payload_id(PayloadId(0, 2, 2)) + bytes(10)
    assert receiver.receive(single(repair, FLOW_REPAIR), 0) == []
    counters = receiver.counters()
    assert (counters["inconsistent"], counters["blocks_failed"]) == (1, 1)
    assert counters["held_bytes"] == 0


@pytest.mark.parametrize(
    "symbol", [b"\1\0\2ab000", b"\0\0\x06ab000", b"\0\0\2ab001"], ids=["flow", "length", "padding"]
)
def test_recovered_nonsense_is_not_delivered(symbol: bytes) -> None:
    receiver = FecReceiver(FecConfig(k=1, r=1, adu_bytes_max=20))
    repair = encode_payload_id(PayloadId(0, 1, 1)) + symbol  # with k = 1 all symbols are alike
    assert receiver.receive(single(repair, FLOW_REPAIR), 0) == []
    assert receiver.counters()["blocks_poisoned"] == 1


def test_a_sender_that_restarts_is_heard_again() -> None:
    config = FecConfig(k=4, r=2, adu_bytes_max=20)
    receiver = FecReceiver(config)
    deliver(receiver, flatten(FecSender(config).protect([numbered(400, 20)], 0)))
    now = 8 * config.decode_timeout_ns
    train = numbered(4, 20, start=1_000)
    packets = flatten(FecSender(config).protect([train], now))
    assert sorted(deliver(receiver, packets[2:], now)) == datagrams([train])


def test_a_late_packet_of_a_forgotten_block_passes_unprotected() -> None:
    config = FecConfig(k=4, r=2, adu_bytes_max=20, blocks_max=2)
    receiver = FecReceiver(config)
    packets = flatten(FecSender(config).protect([numbered(40, 20)], 0))
    source = [p for p in packets if p[1] == FLOW_SOURCE]
    assert len(deliver(receiver, source[1:])) == 39
    assert deliver(receiver, source[:1]) == datagrams([numbered(40, 20)])[:1]
    assert receiver.counters()["unprotected"] == 1


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.binary(min_size=1, max_size=60), st.integers(1, 20), st.booleans()),
        max_size=8,
    )
)
def test_any_octets_are_survived(trains: list[tuple[bytes, int, bool]]) -> None:
    config = FecConfig(k=4, r=2, adu_bytes_max=20, blocks_max=8, memory_bytes_max=1_000)
    receiver = FecReceiver(config)
    for now, (data, size, repair) in enumerate(trains):
        out = receiver.receive(Train(data, size, FLOW_REPAIR if repair else FLOW_SOURCE), now)
        assert all(train.size >= 1 and len(train.data) >= 1 for train in out)
        assert receiver.counters()["held_bytes"] <= 1_000


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(config=fec_configs(), flips=st.lists(st.integers(0, 1 << 20), max_size=30), data=st.data())
def test_damaged_octets_are_survived(
    config: FecConfig, flips: list[int], data: st.DataObject
) -> None:
    sender, receiver = FecSender(config), FecReceiver(config)
    trains = data.draw(numbered_trains(0))
    for train in sender.protect(trains, 0) + sender.flush(0):
        octets = bytearray(train.data)
        for flip in flips:
            if flip % 3 == 0:
                octets[flip % len(octets)] ^= 1 << flip % 8
        receiver.receive(Train(octets, train.size, train.flow), 0)
        assert receiver.counters()["open_blocks"] <= config.blocks_max


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("k", {"k": 0}),
        ("k", {"k": 256}),
        ("r", {"k": 200, "r": 56}),
        ("r", {"r": -1}),
        ("interleave", {"interleave": 0}),
        ("adu_bytes_max", {"adu_bytes_max": 0}),
        ("adu_bytes_max", {"adu_bytes_max": 65_499}),
        ("flow_id", {"flow_id": 256}),
        ("block_time_ns", {"block_time_ns": 0}),
        ("decode_timeout_ns", {"decode_timeout_ns": 100 * MILLISECOND}),
        ("engine", {"engine": "magic"}),
        ("blocks_max", {"blocks_max": 100}),
        ("blocks_max", {"blocks_max": 8, "interleave": 5}),
        ("memory_bytes_max", {"memory_bytes_max": 100_000}),
    ],
)
def test_unusable_configurations_name_their_key(key: str, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        FecConfig(**values)
    assert caught.value.key.split(", ")[0] == key


def test_the_extremes_of_the_configuration_work() -> None:
    config = FecConfig(k=255, r=0, adu_bytes_max=65_498)
    assert config.fssi.symbol_bytes == 65_501
    sender = FecSender(config)
    (train,) = sender.protect([single(b"y" * 65_498)], 0)
    assert datagrams(FecReceiver(config).receive(train, 0)) == [b"y" * 65_498]
