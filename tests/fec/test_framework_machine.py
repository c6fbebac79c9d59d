"""FECFRAME under the machine for it: nothing is found in ours, and each planted fault is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from interop.machines import FecMachine, MachineFault
from interop.machines.fecframe import genuine
from interop.strategies.fecframe import Packet
from stack.core.train import FLOW_REPAIR, FLOW_SOURCE, Train
from stack.fec.framework import FecConfig, FecReceiver, FecSender
from tests.strategies.fec import regroup


class OurFec:
    """Both sides; packets that come together are trains, as from a socket."""

    def __init__(
        self, config: FecConfig, first_sbn: int, genuine: Callable[[memoryview], bool]
    ) -> None:
        self.config = config
        self.sender = FecSender(config, first_sbn=first_sbn)
        self.receiver = FecReceiver(config, genuine=genuine)

    def protect(self, adus: Sequence[bytes], now_ns: int) -> Iterable[Packet]:
        trains = regroup([(adu, FLOW_SOURCE) for adu in adus])
        return packets(self.sender.protect(trains, now_ns))

    def flush(self, now_ns: int) -> Iterable[Packet]:
        return packets(self.sender.flush(now_ns))

    def advance(self, now_ns: int) -> Iterable[Packet]:
        assert not self.receiver.handle_deadline(now_ns)
        return packets(self.sender.handle_deadline(now_ns))

    def receive(self, packets: Sequence[Packet], now_ns: int) -> Iterable[bytes]:
        came = [(one.octets, FLOW_REPAIR if one.repair else FLOW_SOURCE) for one in packets]
        return [
            bytes(adu)
            for train in regroup(came)
            for out in self.receiver.receive(train, now_ns)
            for adu in out.datagrams()
        ]

    def held_bytes(self) -> int:
        return self.receiver.counters()["held_bytes"]


def packets(trains: list[Train]) -> list[Packet]:
    return [
        Packet(train.flow == FLOW_REPAIR, bytes(one))
        for train in trains
        for one in train.datagrams()
    ]


class Plain(OurFec):
    """Nobody tells it what is genuine."""

    def __init__(
        self, config: FecConfig, first_sbn: int, genuine: Callable[[memoryview], bool]
    ) -> None:
        super().__init__(config, first_sbn, genuine)
        self.receiver = FecReceiver(config)


class OurFecMachine(FecMachine):
    """Against our own, whose deadlines can be seen."""

    adapter = OurFec
    copies_max = 2
    peer: OurFec

    @invariant()
    def deadlines_lie_ahead(self) -> None:
        receiver = self.peer.receiver
        counters = receiver.counters()
        assert counters["open_blocks"] <= self.config.blocks_max
        assert (counters["open_blocks"] == 0) <= (counters["held_bytes"] == 0)
        due = receiver.next_deadline()
        assert (due is not None) == (counters["open_blocks"] > 0)
        assert due is None or due <= self.now_ns + self.config.decode_timeout_ns


class PlainMachine(OurFecMachine):
    """Over a layer that drops what is damaged."""

    adapter = Plain
    copies_max = 1
    damage_max = 0


TestOurFec = pytest.mark.slow(OurFecMachine.TestCase)
TestPlainFec = PlainMachine.TestCase
TestOurFec.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestPlainFec.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


class Faulty(OurFec):
    """One fault; `breaks` is the clause that it breaks."""

    breaks: ClassVar[str]


class BelievesWhatItDecodes(Plain, Faulty):
    breaks = "RFC 6363 §4.3"


class TakesEveryRepeat(Plain, Faulty):
    breaks = "RFC 6363 §4.3"

    def receive(self, packets: Sequence[Packet], now_ns: int) -> Iterable[bytes]:
        direct = [adu for one in packets if genuine(adu := one.octets[:-6]) and not one.repair]
        recovered = set(super().receive(packets, now_ns)) - set(direct)
        return [*direct, *recovered]


class WantsOneSymbolMore(Faulty):
    breaks = "RFC 6363 §4.3"

    def receive(self, packets: Sequence[Packet], now_ns: int) -> Iterable[bytes]:
        fewer = [one for one in packets if not (one.repair and one.octets[3:4] == one.octets[5:6])]
        return super().receive(fewer, now_ns)


class ForgetsBlocksInTurn(Faulty):
    """Room for one block alone."""

    breaks = "RFC 6363 §4.3"

    def receive(self, packets: Sequence[Packet], now_ns: int) -> Iterable[bytes]:
        got = list(super().receive(packets, now_ns))
        table = self.receiver._table
        while len(table.open) > 1:
            table.fail(next(iter(table.open.values())), "blocks_evicted")
        return got


class KeepsEverything(Faulty):
    """And each packet in a buffer for the largest."""

    breaks = "RFC 6363 §4.3"
    kept = 0

    def receive(self, packets: Sequence[Packet], now_ns: int) -> Iterable[bytes]:
        self.kept += 2048 * len(packets)
        return super().receive(packets, now_ns)

    def held_bytes(self) -> int:
        return self.kept


class HandsOnWhatIsNoPacket(Faulty):
    breaks = "RFC 6865 §5.1.2"

    def receive(self, packets: Sequence[Packet], now_ns: int) -> Iterable[bytes]:
        got = list(super().receive(packets, now_ns))
        none = [one for one in packets if not one.repair and one.octets[-2:] == b"\0\0"]
        return got or [one.octets[:-6] for one in none]


class ComputesAnotherCode(Faulty):
    breaks = "RFC 6865 §8"

    def protect(self, adus: Sequence[bytes], now_ns: int) -> Iterable[Packet]:
        for packet in super().protect(adus, now_ns):
            last = bytes((packet.octets[-1] ^ 1,))
            yield packet._replace(octets=packet.octets[:-1] + last) if packet.repair else packet


class ForgetsShortBlocks(Faulty):
    breaks = "RFC 6363 §4.2"

    def advance(self, now_ns: int) -> Iterable[Packet]:
        return []


class NumbersEveryBlockAlike(Faulty):
    breaks = "RFC 6865 §5.1.2"

    def protect(self, adus: Sequence[bytes], now_ns: int) -> Iterable[Packet]:
        for packet in super().protect(adus, now_ns):
            at = 0 if packet.repair else len(packet.octets) - 6
            octets = packet.octets[: at + 2] + b"\7" + packet.octets[at + 3 :]
            yield packet._replace(octets=octets)


class SaysAnotherLength(Faulty):
    """Short blocks have the length of full ones in their repair packets."""

    breaks = "RFC 6865 §5.1.3"

    def flush(self, now_ns: int) -> Iterable[Packet]:
        for packet in super().flush(now_ns):
            k = bytes((0, self.config.k))
            esi = bytes((packet.octets[3] - packet.octets[5] + self.config.k,))
            octets = packet.octets[:3] + esi + k + packet.octets[6:]
            yield packet._replace(octets=octets) if packet.repair else packet


@pytest.mark.slow
@pytest.mark.parametrize("fault", Faulty.__subclasses__(), ids=lambda fault: fault.__name__)
def test_each_planted_fault_is_found(fault: type[Faulty]) -> None:
    class Broken(FecMachine):
        adapter = fault
        copies_max = 1 if issubclass(fault, Plain) else 2

    quick = settings(
        max_examples=300,
        stateful_step_count=20,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises(MachineFault) as found:
        run_state_machine_as_test(Broken, settings=quick)
    assert found.value.violation.clause == fault.breaks
