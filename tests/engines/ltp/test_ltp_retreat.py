"""After failures: smaller, later, asking for less; deployed peers get their blocks in the end."""

from __future__ import annotations

import random
from typing import Any

import pytest

from stack.core.clock import MILLISECOND, SECOND
from stack.core.train import single
from stack.engines.ltp import Failed, LtpConfig, LtpEngine, Sent
from stack.engines.ltp.retreat import (
    DELAY_FIRST_NS,
    DELAY_MAX_NS,
    LEAST_BYTES,
    PLAIN_FIRST_NS,
    PLAIN_MAX_NS,
    Retreat,
)
from stack.wire.ltp import CLIENT_BP, CLIENT_SDA, CancelReason, DataSegment
from tests.engines.ltp.lone import Lone, cancel, report
from tests.engines.ltp.standin import HDTN, Habits, Standin, ion

RLEXC, SYS_CNCLD = CancelReason.RLEXC, CancelReason.SYS_CNCLD


class Towards:
    """Our engine and its driver, which divides as it is told, towards a stand-in peer."""

    def __init__(
        self, habits: Habits, *, loss: float = 0.0, owlt_ns: int = 5 * MILLISECOND, **config: Any
    ) -> None:
        self.peer = Standin(2, 1, habits)
        self.engine = LtpEngine(
            LtpConfig(local_engine_id=1, remote_engine_id=2, **config),
            entropy=random.Random(9).randbytes,
        )
        self.random = random.Random(3)
        self.loss = loss
        self.owlt_ns = owlt_ns
        self.burst = 1 << 60
        """Octets that the peer's socket takes at once."""

        self.now = 0
        self.air: list[tuple[int, bool, bytes]] = []
        self.units: dict[int, bytes] = {}
        self.waiting: list[int] = []
        self.done: list[int] = []
        self.failures = 0
        self.link(None)

    def link(self, rate_bps: float | None) -> None:
        self.engine.link(self.now, tx_up=True, rx_up=True, rate_bps=rate_bps, owlt_ns=self.owlt_ns)

    def submit(self, size: int) -> None:
        self._queue(self.random.randbytes(size))

    def _queue(self, unit: bytes) -> None:
        ref = len(self.units)
        self.units[ref] = unit
        self.waiting.append(ref)

    def run(self, limit_ns: int) -> None:
        """Until everything is sent."""
        while self.now < limit_ns:
            self._turn()
            if not self.waiting and len(self.done) == len(self.units):
                return
            due = [
                each for each in (self.engine.next_deadline(), self.peer.next_deadline()) if each
            ]
            due += [entry[0] for entry in self.air]
            self.now = max(self.now, min(due))
            self.engine.handle_deadline(self.now)
            self.peer.handle(self.now)
            here = [entry for entry in self.air if entry[0] <= self.now]
            self.air = [entry for entry in self.air if entry[0] > self.now]
            for _, ours, datagram in here:
                if ours:
                    self.peer.feed(datagram, self.now)
                else:
                    self.engine.receive(single(datagram), self.now)
        raise AssertionError(f"not done after {self.now / SECOND} s: {self.failures} failures")

    def _turn(self) -> None:
        while (event := self.engine.next_event()) is not None:
            if isinstance(event, Sent):
                self.done += event.refs
            elif isinstance(event, Failed):
                self.failures += 1
                self.waiting = [*event.refs, *self.waiting]
        while self.waiting and self.engine.room() > 0:
            ref = self.waiting.pop(0)
            unit, most = self.units[ref], self.engine.unit_bytes
            if most and len(unit) > most:
                self.units[ref] = unit[:most]
                for at in range(most, len(unit), most):
                    self._queue(unit[at : at + most])
            self.engine.submit(self.units[ref], ref, self.now)
        burst = self.burst
        for train in self.engine.data_to_send(self.now):
            for datagram in train.datagrams():
                burst -= len(datagram)
                if burst >= 0:
                    self._fly(True, bytes(datagram))
        for octets in self.peer.datagrams():
            self._fly(False, octets)

    def _fly(self, ours: bool, octets: bytes) -> None:
        if self.random.random() >= self.loss:
            self.air.append((self.now + self.owlt_ns, ours, octets))

    def check(self) -> None:
        """Everything is at the peer as it was sent."""
        assert set(self.units.values()) <= {data for _, data in self.peer.blocks}


def test_a_large_block_asks_a_peer_with_few_reports_for_no_more_than_it_grants() -> None:
    """A megabyte in one piece, unpaced, without loss: one checkpoint, no failure."""
    path = Towards(ion())
    path.submit(1_000_000)
    path.run(5 * SECOND)
    path.check()
    assert (path.failures, path.peer.counts["checkpoints"]) == (0, 1)


@pytest.mark.parametrize("rate_bps", [None, 20e6])
@pytest.mark.parametrize("seed", range(4))
def test_a_megabyte_arrives_with_long_delay_and_loss(rate_bps: float | None, seed: int) -> None:
    path = Towards(ion(expected_loss=0.011), loss=0.1, owlt_ns=250 * MILLISECOND)
    path.random.seed(seed)
    path.link(rate_bps)
    path.submit(1_000_000)
    path.run(25 * SECOND)
    path.check()
    assert path.failures <= 2


@pytest.mark.slow
def test_ten_megabytes_come_through_a_small_socket_buffer() -> None:
    """Unpaced, into a buffer of 208 KiB: discretionary checkpoints, whole bursts and whole blocks
    would be cancelled for ever."""
    path = Towards(ion())
    path.burst = 208 * 1024
    path.submit(10_000_000)
    path.run(120 * SECOND)
    path.check()
    assert path.failures < 40
    assert path.engine.count("data_bytes_sent") < 40_000_000  # the first ones too large


def test_a_peer_without_aggregation_is_given_units_one_by_one() -> None:
    path = Towards(ion())
    for size in (100, 2000, 300, 70) * 20:
        path.submit(size)
    path.run(10 * SECOND)
    path.check()
    assert path.failures < 3


def test_a_peer_that_limits_the_size_of_blocks_has_smaller_ones() -> None:
    path = Towards(Habits(**{**HDTN.__dict__, "block_bytes_max": 200_000}))
    path.submit(1_000_000)
    path.run(60 * SECOND)
    path.check()


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_hdtn_takes_whatever_comes(loss: float) -> None:
    path = Towards(HDTN, loss=loss)
    for size in (1_000_000, 5000, 100, 300_000):
        path.submit(size)
    path.run(60 * SECOND)
    assert path.engine.count("reports_received") > 0


# ------------------------------------------------------------------------------ the policy itself


def fail(retreat: Retreat, ref: int, size: int, reason: int, now: int, begun: int = 0) -> int:
    return retreat.failed((ref,), size, CLIENT_BP, reason, begun or now - 1, now)


def test_blocks_are_halved_and_grow_again() -> None:
    retreat = Retreat()
    sizes = []
    size = 1_000_000
    for now in range(10, 100, 10):
        fail(retreat, 1, size, RLEXC, now)
        size = retreat.block_bytes
        sizes.append(size)
    assert sizes[:3] == [500_000, 250_000, 125_000]
    assert sizes[-1] == LEAST_BYTES
    assert retreat.few_reports
    for _ in range(1024):
        retreat.sent((2,), size, CLIENT_BP)
    assert retreat.block_bytes == 2 * LEAST_BYTES
    for _ in range(5000):
        retreat.sent((2,), 1000, CLIENT_BP)  # small blocks prove nothing
    assert retreat.block_bytes == 2 * LEAST_BYTES


def test_a_larger_block_that_was_cut_before_does_not_change_the_limit() -> None:
    retreat = Retreat()
    fail(retreat, 1, 200_000, RLEXC, 10)
    fail(retreat, 2, 1_000_000, RLEXC, 20)
    assert retreat.block_bytes == 100_000


def test_the_same_data_waits_longer_each_time_up_to_a_bound() -> None:
    retreat = Retreat()
    waits = [fail(retreat, 1, 1000, SYS_CNCLD, now) for now in range(10, 130, 10)]
    assert waits[:3] == [DELAY_FIRST_NS, 2 * DELAY_FIRST_NS, 4 * DELAY_FIRST_NS]
    assert waits[-1] == DELAY_MAX_NS
    assert fail(retreat, 2, 1000, SYS_CNCLD, 200) == DELAY_FIRST_NS
    retreat.sent((1,), 1000, CLIENT_BP)
    assert fail(retreat, 1, 1000, SYS_CNCLD, 300) == DELAY_FIRST_NS


def test_one_block_that_fails_again_and_again_does_not_hold_up_the_others() -> None:
    retreat = Retreat()
    for now in range(10, 100, 10):
        fail(retreat, 1, 1000, SYS_CNCLD, now)
        retreat.sent((2,), 1000, CLIENT_BP)
        assert retreat.hold_ns == 0
        assert not retreat.probing


def test_what_fails_together_counts_once() -> None:
    retreat = Retreat()
    for ref in range(50):
        fail(retreat, ref, 1000, SYS_CNCLD, 100, begun=5)
    assert not retreat.probing
    fail(retreat, 60, 1000, SYS_CNCLD, 200, begun=150)
    assert retreat.probing
    assert retreat.hold_ns == DELAY_FIRST_NS


def test_other_reasons_make_blocks_smaller_only_when_they_last() -> None:
    retreat = Retreat()
    for now in (10, 20):
        fail(retreat, 1, 100_000, SYS_CNCLD, now)
        assert retreat.block_bytes == 0
    fail(retreat, 1, 100_000, SYS_CNCLD, 30)
    assert retreat.block_bytes == 50_000
    assert not retreat.few_reports


def test_the_clients_own_cancellation_teaches_nothing() -> None:
    retreat = Retreat()
    assert fail(retreat, 1, 100_000, CancelReason.USR_CNCLD, 10) == 0
    assert retreat.block_bytes == 0


def test_aggregation_ends_only_when_an_aggregated_block_was_not_understood() -> None:
    retreat = Retreat()
    fail(retreat, 1, 1000, CancelReason.UNREACH, 10)
    assert not retreat.plain(10)
    retreat.failed((1, 2), 1000, CLIENT_SDA, CancelReason.UNREACH, 15, 20)
    assert retreat.plain(20)


def plain_for(retreat: Retreat, begun_at: int, now: int) -> int:
    """An aggregated block is refused: for how long bundles then go one by one."""
    retreat.failed((1, 2), 1000, CLIENT_SDA, CancelReason.UNREACH, begun_at, now)
    low, high = now, now + PLAIN_MAX_NS + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if retreat.plain(middle) else (low, middle)
    return low - now


def test_aggregation_is_tried_again_ever_later_until_it_is_understood() -> None:
    retreat = Retreat()
    now = 10 * SECOND
    waits = []
    for _ in range(13):
        wait = plain_for(retreat, now - 1, now)
        assert plain_for(retreat, now - 1, now + 5) == wait - 5, "it was under way already"
        waits.append(wait)
        now += wait
    assert waits == [min(PLAIN_FIRST_NS << n, PLAIN_MAX_NS) for n in range(13)]
    retreat.sent((9,), 1000, CLIENT_BP)
    assert plain_for(retreat, now - 1, now) == PLAIN_MAX_NS, "a bundle alone proves nothing"
    retreat.sent((9, 8), 1000, CLIENT_SDA)
    assert not retreat.plain(now)
    assert plain_for(retreat, now - 1, now) == PLAIN_FIRST_NS


def test_far_away_a_refusal_counts_for_as_long_as_it_took() -> None:
    retreat = Retreat()
    assert plain_for(retreat, 5, 5 + 7 * PLAIN_FIRST_NS) == 7 * PLAIN_FIRST_NS


def test_a_peer_that_has_learnt_to_aggregate_has_aggregated_blocks_again() -> None:
    lone = Lone()

    def aggregated() -> bool:
        """Whether two units that are there at once leave as one block; the peer answers."""
        lone.events()
        lone.submit(100, 1)
        lone.submit(100, 2)
        blocks = [one for one in lone.said() if isinstance(one, DataSegment)]
        for one in blocks:
            if one.client_service == CLIENT_SDA and deaf:
                lone.feed(cancel(one.session, by_sender=False, reason=CancelReason.UNREACH))
            else:
                end = one.offset + len(one.data)
                lone.feed(report(one.session, 1, one.checkpoint_serial, 0, end, (0, end)))
        lone.said()
        lone.wait(SECOND)
        return {one.client_service for one in blocks} == {CLIENT_SDA}

    deaf = True
    assert [aggregated() for _ in range(3)] == [True, False, False]
    lone.wait(PLAIN_FIRST_NS)
    assert [aggregated() for _ in range(3)] == [True, False, False]
    lone.wait(PLAIN_FIRST_NS)
    assert not aggregated()
    lone.wait(PLAIN_FIRST_NS)
    deaf = False
    assert [aggregated() for _ in range(3)] == [True, True, True]


def arrivals_until_larger(retreat: Retreat, size: int) -> int:
    """How many blocks of a size have to arrive before larger ones are tried."""
    before = retreat.block_bytes
    for count in range(1, 5000):
        retreat.sent((9,), size, CLIENT_BP)
        if retreat.block_bytes != before:
            assert retreat.block_bytes == 2 * before
            return count
    return 0


def test_how_much_larger_than_the_limit_a_block_must_be_to_teach_nothing() -> None:
    for size, limit in ((150_000, 75_000), (150_001, 100_000), (100_000, 50_000)):
        retreat = Retreat()
        fail(retreat, 1, 200_000, RLEXC, 10)
        fail(retreat, 2, size, RLEXC, 20)
        assert retreat.block_bytes == limit


def test_larger_blocks_are_tried_later_each_time_that_they_failed() -> None:
    retreat = Retreat()
    patience = 32
    for now in range(1, 10):
        fail(retreat, now, 100_000, RLEXC, 10 * now)
        assert retreat.block_bytes == 50_000
        assert arrivals_until_larger(retreat, 50_000) == min(patience, 1024)
        patience *= 2
    fail(retreat, 1, 100_000, RLEXC, 200)
    for _ in range(1023):
        retreat.sent((9,), 25_000, CLIENT_BP)  # half of the limit is enough
    fail(retreat, 2, 50_000, RLEXC, 210)
    assert arrivals_until_larger(retreat, 25_000) == 1024, "in a row"
    assert arrivals_until_larger(retreat, 24_999) == 0


def test_everything_waits_longer_each_time_that_nothing_arrives() -> None:
    retreat = Retreat()
    waits = []
    for now in range(10, 120, 10):
        fail(retreat, now, 1000, SYS_CNCLD, now)
        waits.append(retreat.hold_ns // (250 * MILLISECOND))
    assert waits == [0, 1, 2, 4, 8, 16, 20, 20, 20, 20, 20]
    retreat.sent((1,), 1000, CLIENT_BP)
    assert (retreat.hold_ns, retreat.probing) == (0, False)


def test_what_began_when_something_failed_failed_with_it() -> None:
    for begun, rows in ((99, 1), (100, 1), (101, 2)):
        retreat = Retreat()
        fail(retreat, 1, 1000, SYS_CNCLD, 100, 1)
        fail(retreat, 2, 1000, SYS_CNCLD, 200, begun)
        assert retreat.probing == (rows == 2)


def test_what_has_failed_is_remembered_up_to_a_bound() -> None:
    retreat = Retreat()
    for ref in range(4096):
        fail(retreat, ref, 1000, SYS_CNCLD, 10)
    assert fail(retreat, 0, 1000, SYS_CNCLD, 20) == 2 * DELAY_FIRST_NS
    fail(retreat, 5000, 1000, SYS_CNCLD, 30)
    assert fail(retreat, 1, 1000, SYS_CNCLD, 40) == DELAY_FIRST_NS, "the oldest was forgotten"
    assert fail(retreat, 0, 1000, SYS_CNCLD, 50) == 4 * DELAY_FIRST_NS
    several = retreat.failed((0, 70), 1000, CLIENT_BP, SYS_CNCLD, 55, 60)
    assert several == 8 * DELAY_FIRST_NS, "as that which failed most"
    assert fail(retreat, 70, 1000, SYS_CNCLD, 70) == 16 * DELAY_FIRST_NS


@pytest.mark.parametrize("reason", list(CancelReason))
def test_what_each_reason_teaches(reason: CancelReason) -> None:
    retreat = Retreat()
    kept = retreat.failed((1,), 100_000, CLIENT_SDA, reason, 5, 10)
    few = reason in (CancelReason.RLEXC, CancelReason.RXMTCYCEXC)
    assert retreat.few_reports == few
    assert retreat.block_bytes == 50_000 * few
    assert retreat.plain(11) == (reason == CancelReason.UNREACH)
    assert kept == DELAY_FIRST_NS * (reason != CancelReason.USR_CNCLD)


def refuse(lone: Lone) -> int:
    """The peer refuses all that leaves now; how many blocks that was."""
    sessions = {each.session for each in lone.said() if isinstance(each, DataSegment)}
    for session in sessions:
        lone.feed(cancel(session, by_sender=False, reason=SYS_CNCLD))
    lone.said()
    return len(sessions)


def test_when_all_fails_one_block_at_a_time_is_tried_until_one_arrives() -> None:
    lone = Lone(block_bytes=3000)
    for ref in (1, 2):
        lone.submit(4000, ref)
    assert refuse(lone) == 2  # together, which is one lesson
    lone.now += MILLISECOND
    assert lone.engine.room() > 1_000_000
    lone.submit(4000, 3)
    assert refuse(lone) == 1
    assert lone.engine.room() == 0
    lone.submit(4000, 4)  # the driver may have had it in hand
    assert lone.said() == []
    lone.wait(DELAY_FIRST_NS)
    assert lone.events() == [Failed((ref,), SYS_CNCLD) for ref in (1, 2, 3)]
    assert refuse(lone) == 1
    assert lone.said() == []
    assert lone.engine.room() == 0
    lone.wait(2 * DELAY_FIRST_NS)
    for ref in (5, 6):
        lone.submit(4000, ref)
    first = [each for each in lone.said() if isinstance(each, DataSegment)]
    assert len({each.session for each in first}) == 1
    last = first[-1]
    lone.feed(report(last.session, 9, last.checkpoint_serial, 0, 4000, (0, 4000)))
    assert Sent((5,)) in lone.events()
    assert lone.engine.room() > 1_000_000


def test_a_block_that_is_kept_leaves_room_for_others_to_be_tried() -> None:
    lone = Lone(block_bytes=3000)
    for times in range(4):  # one large block, again and again
        lone.submit(500_000, 1)
        assert refuse(lone) == 1
        if times < 3:
            lone.wait(DELAY_MAX_NS)
            assert lone.events() == [Failed((1,), SYS_CNCLD)]
    lone.now += MILLISECOND
    lone.wait(DELAY_FIRST_NS << 2)  # nothing arrived at all, so everything waits, but not so long
    assert lone.events() == []
    assert lone.engine.room() == lone.engine.unit_bytes == 250_000


def test_a_link_that_goes_down_gives_back_what_failed_at_once() -> None:
    lone = Lone()
    lone.submit(3000)
    session = lone.said()[0].session
    lone.feed(cancel(session, by_sender=False, reason=SYS_CNCLD))
    assert lone.events() == []
    lone.link(tx_up=False)
    assert lone.events() == [Failed((1,), SYS_CNCLD)]
    assert lone.engine.held_bytes == 0
