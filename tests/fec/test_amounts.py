"""What sender and receiver count, settings at their ends, and the tables of the field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stack.core.clock import MILLISECOND
from stack.core.errors import ConfigError
from stack.core.train import FLOW_REPAIR, Train
from stack.fec.blocks import BlockTable
from stack.fec.config import OVERHEAD_BYTES
from stack.fec.framework import FecConfig, FecReceiver, FecSender
from stack.fec.gf256 import INDICES_MAX, Field, Workspace
from stack.fec.reed_solomon import LinkCodeConfig, link_code
from stack.wire.fecframe import PacketRun, PayloadId, encode_payload_id
from tests.fec.test_framework import deliver, flatten, numbered
from tests.fec.test_gf256 import by_hand

LEAST = 2 * 80 * (1400 + OVERHEAD_BYTES)
Told = list[tuple[str, dict[str, Any]]]


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("k", 1, 239),
        ("r", 0, 191),
        ("adu_bytes_max", 1, 65_498),
        ("interleave", 1, 128),
        ("flow_id", 0, 255),
        ("block_time_ns", 1, 1000 * MILLISECOND - 1),
        ("decode_timeout_ns", 100 * MILLISECOND + 1, None),
        ("blocks_max", 2, 65_536),
        ("memory_bytes_max", LEAST, None),
    ],
)
def test_settings_at_their_ends(name: str, low: int, high: int | None) -> None:
    def config(value: int) -> FecConfig:
        room = {} if name == "memory_bytes_max" else {"memory_bytes_max": 10**12}
        return FecConfig(**{**room, name: value})  # type: ignore[arg-type]

    assert getattr(config(low), name) == low
    with pytest.raises(ConfigError) as caught:
        config(low - 1)
    assert name in caught.value.key.split(", ")
    if high is not None:
        assert getattr(config(high), name) == high
        with pytest.raises(ConfigError) as caught:
            config(high + 1)
        assert name in caught.value.key.split(", ")


@pytest.mark.parametrize("value", [3, 6, 255])
def test_as_many_blocks_as_a_power_of_two(value: int) -> None:
    with pytest.raises(ConfigError, match=r"^blocks_max: must be a power of two"):
        FecConfig(blocks_max=value)


@pytest.mark.parametrize(
    ("name", "good", "bad", "said"),
    [
        ("correctable", (8, 16), (0, 7, 9, 17), r"must be 8 or 16 \(16\)"),
        ("interleave", (1, 8), (0, 9), r"must be 1 to 8 \(1, 2, 3, 4, 5 or 8\)"),
        ("fill_bytes", (0, 222), (-1, 223), r"leaves no room for data \(0\)"),
        ("engine", ("numpy", "reedsolo"), ("", "magic"), r"unknown engine \(numpy or reedsolo\)"),
    ],
)
def test_settings_of_a_link_code(
    name: str, good: tuple[Any, ...], bad: tuple[Any, ...], said: str
) -> None:
    for value in good:
        assert getattr(LinkCodeConfig(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(ConfigError, match=rf"^fec\.{name}: {said}$"):
            LinkCodeConfig(**{name: value})


def test_both_engines_of_a_link_code_give_the_same_arrays() -> None:
    data = np.arange(2 * 446, dtype=np.uint8).reshape(2, 446)
    found = []
    for engine in ("numpy", "reedsolo"):
        code = link_code(LinkCodeConfig(interleave=2, engine=engine))
        blocks = code.encode_many(data)
        blocks[1, ::40] ^= 7
        found.append(code.decode_many(blocks))
    for left, right in zip(*found, strict=True):
        assert left.dtype == right.dtype
        assert left.tolist() == right.tolist()


@pytest.mark.parametrize("polynomial", [0x11D, 0x187])
def test_the_tables_of_a_field(polynomial: int) -> None:
    field = Field(polynomial)
    power = 1
    for exponent in range(510):
        assert field.exp[exponent] == power
        assert field.log[power] == exponent % 255
        power = by_hand(power, 2, polynomial)
    assert field.log[0] == 0
    some = [0, 1, 2, 3, 87, 128, 254, 255]
    for left in some:
        assert [field.mul[left, right] for right in range(256)] == [
            by_hand(left, right, polynomial) for right in range(256)
        ]
        assert field.nibbles[left].tolist() == [
            by_hand(left, right, polynomial) for right in (*range(16), *range(0, 256, 16))
        ]
        if left:
            assert by_hand(left, int(field.inverse[left]), polynomial) == 1
    assert field.polynomial == polynomial
    for table in (field.exp, field.log, field.mul, field.nibbles, field.inverse):
        assert not table.flags.writeable


def test_row_numbers_are_kept_for_a_few_shapes() -> None:
    workspace = Workspace()
    first = workspace.index(3, 2)
    assert first.tolist() == [[0, 0], [256, 256], [512, 512]]
    for columns in range(3, 2 + INDICES_MAX):
        workspace.index(3, columns)
        assert workspace.index(3, 2) is first
    workspace.index(4, 1)
    assert workspace.index(3, 2) is not first


def test_what_a_sender_counts() -> None:
    told: Told = []
    config = FecConfig(k=4, r=2, interleave=2, adu_bytes_max=10, fill_short_blocks=True)
    sender = FecSender(config, lambda event, fields: told.append((event, fields)), first_sbn=7)
    for _ in range(2):
        sender.protect([Train(bytes(40), 5)], 0)  # 8 packets: two blocks of four
        sender.protect([Train(bytes(12), 5)], 0)  # 3 packets
        sender.flush(0)
    assert sender.counters() == {
        "source_packets": 22,
        "filler_packets": 10,
        "repair_packets": 16,
        "blocks": 8,
        "short_blocks": 4,
    }
    assert told == [
        ("fec.blocks_closed", {"sbn": sbn, "blocks": 2, "packets": 8}) for sbn in (7, 9, 11, 13)
    ]


def test_what_a_receiver_counts() -> None:
    told: Told = []
    config = FecConfig(k=4, r=2, adu_bytes_max=20)
    receiver = FecReceiver(config, lambda event, fields: told.append((event, fields)))
    packets = flatten(FecSender(config).protect([numbered(16, 20)], 0))
    blocks = [packets[start : start + 6] for start in range(0, 24, 6)]
    for block in blocks[:2]:  # whole, and each packet twice
        deliver(receiver, block[:4] + block)
    for block in blocks[2:]:  # two are missing
        deliver(receiver, block[2:])
    assert {name: count for name, count in receiver.counters().items() if count} == {
        "source_packets": 20,
        "repair_packets": 8,
        "delivered": 12,
        "recovered": 4,
        "duplicates": 8,
        "late_repairs": 4,
        "blocks_complete": 2,
        "blocks_decoded": 2,
    }
    assert told == [("fec.decoded", {"sbn": sbn, "k": 4, "missing": 2}) for sbn in (2, 3)]


def test_pieces_of_packets_are_counted() -> None:
    receiver = FecReceiver(FecConfig(k=8, r=2, adu_bytes_max=20))
    packets = [bytes((n,)) * 4 + encode_payload_id(PayloadId(1, n, 8)) for n in range(4)]
    for count, tail in enumerate((b"x", b"abcde"), 1):
        out = receiver.receive(Train(b"".join(packets[2 * count - 2 : 2 * count]) + tail, 10), 0)
        assert [len(train.data) for train in out] == [8]
        assert receiver.counters()["malformed"] == count
        assert receiver.counters()["delivered"] == 2 * count
    receiver.receive(Train(b"short" * 2, 5), 0)
    assert receiver.counters()["malformed"] == 4
    receiver.receive(Train(b"short" * 2 + b"a", 5), 0)
    assert receiver.counters()["malformed"] == 7
    receiver.receive(Train(b"short" * 2, 5, FLOW_REPAIR), 0)
    receiver.receive(Train(b"short" * 2 + b"a", 5, FLOW_REPAIR), 0)
    assert receiver.counters()["malformed"] == 12
    assert receiver.counters()["repair_packets"] == 5
    assert receiver.counters()["source_packets"] == 4


def test_a_block_that_ended_early_takes_nothing_more_for_a_duplicate() -> None:
    table = BlockTable(FecConfig(k=8, r=2, adu_bytes_max=20), lambda *_: None)
    rows = np.arange(3, dtype=np.int64)
    verdict, block = table.take_source(PacketRun(1, 0, 8, rows), 0)
    assert verdict == "kept"
    assert block is not None
    table.finish(block, 3)
    assert block.handed_on == 0b111
    for esi in range(3, 8):
        assert table.take_source(PacketRun(1, esi, 8, rows[:1]), 0)[0] != "duplicates"
        assert table.take_source(PacketRun(1, esi, 8, rows[:1]), 0)[0] == "duplicates"


def test_an_adu_of_one_octet_is_judged_too() -> None:
    config = FecConfig(k=4, r=2, adu_bytes_max=4)
    packets = flatten(FecSender(config).protect([Train(b"aaaa", 1)], 0))
    forged = (b"b" + packets[0][0][1:], packets[0][1])
    receiver = FecReceiver(config, genuine=lambda adu: bytes(adu) == b"a")
    got = deliver(receiver, [forged, packets[1], packets[2], packets[4], packets[5]])
    assert got == [b"b", b"a", b"a", b"a", b"a"]


def test_a_block_that_is_given_up_is_told() -> None:
    told: Told = []
    config = FecConfig(k=4, r=2, adu_bytes_max=20)
    receiver = FecReceiver(config, lambda event, fields: told.append((event, fields)))
    packets = flatten(FecSender(config).protect([numbered(4, 20)], 0))
    deliver(receiver, [packets[0], packets[4]])
    receiver.handle_deadline(config.decode_timeout_ns - 1)
    assert told == []
    receiver.handle_deadline(config.decode_timeout_ns)
    assert told == [("fec.block_lost", {"sbn": 0, "packets": 2, "why": "blocks_failed"})]
    assert receiver.counters()["blocks_failed"] == 1
