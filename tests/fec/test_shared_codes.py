"""Links that share a code's tables and scratch memory do not disturb each other."""

from __future__ import annotations

from random import Random

from stack.core.train import FLOW_SOURCE, Train
from stack.fec.config import FecConfig
from stack.fec.erasure import SharedCodes
from stack.fec.framework import FecReceiver, FecSender


def test_many_flows_over_one_code() -> None:
    """Flows of different shapes in turn, each of which loses some of its source packets."""
    rng = Random(1)
    codes = SharedCodes()
    flows = []
    for number in range(6):
        config = FecConfig(k=4 + 3 * number, r=2 + number, adu_bytes_max=1400)
        content = rng.randbytes(config.k * (50 + 100 * number))
        flows.append((config, content, FecSender(config, codes=codes), FecReceiver(config)))
    shared = [FecReceiver(config, codes=codes) for config, *_ in flows]
    sent = [
        sender.protect([Train(content, len(content) // config.k)], 0)
        for config, content, sender, _ in flows
    ]
    for (config, content, _, alone), receiver, trains in zip(flows, shared, sent, strict=True):
        lost = set(rng.sample(range(config.k), config.r))
        for one in (alone, receiver):
            found = b""
            for train in trains:
                for place, datagram in enumerate(train.datagrams()):
                    if train.flow != FLOW_SOURCE or place not in lost:
                        arrived = Train(datagram, len(datagram), train.flow)
                        for inner in one.receive(arrived, 0):
                            found += b"".join(bytes(each) for each in inner.datagrams())
            step = len(content) // config.k
            pieces = sorted(found[at : at + step] for at in range(0, len(found), step))
            assert pieces == sorted(content[at : at + step] for at in range(0, len(content), step))


def test_one_code_for_all_who_ask_for_its_engine() -> None:
    codes = SharedCodes()
    assert codes.code("numpy") is codes.code("numpy")
    assert codes.code("reedsolo") is not codes.code("numpy")


def test_a_sender_whose_block_was_closed_by_the_clock_begins_anew() -> None:
    config = FecConfig(k=8, r=8, adu_bytes_max=100)
    sender, receiver = FecSender(config), FecReceiver(config)
    for turn in range(3):
        content = bytes([turn]) * 100
        trains = sender.protect([Train(content, 50)], turn)
        due = sender.next_deadline()
        assert due is not None
        trains += sender.handle_deadline(due)
        repairs = [train for train in trains if train.flow != FLOW_SOURCE]
        assert repairs
        found = [inner for train in repairs for inner in receiver.receive(train, due)]
        assert b"".join(bytes(train.data) for train in found) == content, "repairs alone are enough"
