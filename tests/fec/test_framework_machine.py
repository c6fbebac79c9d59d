"""FECFRAME under random use: sending, waiting, and a channel that loses, doubles and reorders."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stack.core.clock import MILLISECOND
from stack.core.train import Train
from stack.fec.framework import FecConfig, FecReceiver, FecSender
from stack.wire.fecframe import SBN_MODULUS
from tests.strategies.fec import Damage, damages, fec_configs, numbered_trains

OVERDUE_NS = 400 * MILLISECOND
"""No packet is on its way for longer: well below the time after which block numbers repeat."""


class Link(RuleBasedStateMachine):
    """Whatever happens: only what was sent arrives, and at most once."""

    @initialize(config=fec_configs(), first_sbn=st.sampled_from([0, SBN_MODULUS - 3, 1_000]))
    def start(self, config: FecConfig, first_sbn: int) -> None:
        self.config = config
        self.sender = FecSender(config, first_sbn=first_sbn)
        self.receiver = FecReceiver(config)
        self.now = 0
        self.number = 0
        self.sent: set[bytes] = set()
        self.arrived: set[bytes] = set()
        self.under_way: list[tuple[int, Train]] = []

    def accept(self, trains: list[Train]) -> None:
        for train in trains:
            for datagram in train.datagrams():
                octets = bytes(datagram)
                assert octets in self.sent
                assert octets not in self.arrived
                self.arrived.add(octets)

    def transmit(self, trains: list[Train], damage: Damage, late: bool) -> None:
        for train in damage.apply(trains):
            if late:
                self.under_way.append((self.now, train))
            else:
                self.accept(self.receiver.receive(train, self.now))

    @rule(data=st.data(), damage=damages(), late=st.booleans())
    def send(self, data: st.DataObject, damage: Damage, late: bool) -> None:
        trains = data.draw(numbered_trains(self.number))
        for train in trains:
            for datagram in train.datagrams():
                self.sent.add(bytes(datagram))
                self.number += 1
        self.transmit(self.sender.protect(trains, self.now), damage, late)

    @rule(damage=damages(), late=st.booleans())
    def flush(self, damage: Damage, late: bool) -> None:
        self.transmit(self.sender.flush(self.now), damage, late)
        assert self.sender.next_deadline() is None

    @rule(seed=st.integers(0, 1 << 16))
    def arrive_late(self, seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(self.under_way))
        for index in order[: len(order) // 2 + 1]:
            since, train = self.under_way[index]
            if self.now - since < OVERDUE_NS:
                self.accept(self.receiver.receive(train, self.now))

    @rule(delta_ns=st.integers(0, 60 * MILLISECOND), damage=damages())
    def wait(self, delta_ns: int, damage: Damage) -> None:
        self.now += delta_ns
        due = self.sender.next_deadline()
        repair = self.sender.handle_deadline(self.now)
        assert bool(repair) == (due is not None and self.now >= due and self.config.r > 0) or (
            self.config.fill_short_blocks
        )
        self.transmit(repair, damage, late=False)
        self.accept(self.receiver.handle_deadline(self.now))

    @invariant()
    def deadlines_lie_ahead_and_memory_is_bounded(self) -> None:
        counters = self.receiver.counters()
        assert counters["open_blocks"] <= self.config.blocks_max
        assert (counters["open_blocks"] == 0) <= (counters["held_bytes"] == 0)
        due = self.receiver.next_deadline()
        assert (due is not None) == (counters["open_blocks"] > 0)
        assert due is None or due <= self.now + self.config.decode_timeout_ns
        assert counters["delivered"] + counters["recovered"] == len(self.arrived)


Link.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestLink = Link.TestCase
