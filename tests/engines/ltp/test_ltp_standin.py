"""The stand-in for deployed peers keeps RFC 5326 by itself: two of them speak with each other."""

from __future__ import annotations

import random

import pytest

from tests.engines.ltp.standin import HDTN, ION, MS, Habits, Standin, ion, most_reports


def converse(one: Standin, two: Standin, *, loss: float = 0.0, limit_ns: int = 600_000 * MS) -> int:
    """Let both speak until nothing is left to say; the time that it took."""
    chance = random.Random(5).random
    owlt = 20 * MS
    air: list[tuple[int, Standin, bytes]] = []
    now = 0
    while now < limit_ns:
        for side, other in ((one, two), (two, one)):
            side.handle(now)
            air += [(now + owlt, other, each) for each in side.datagrams() if chance() >= loss]
        due = [entry[0] for entry in air]
        due += [each for side in (one, two) if (each := side.next_deadline()) is not None]
        if not due:
            return now
        now = min(due)
        arrived, air = [e for e in air if e[0] <= now], [e for e in air if e[0] > now]
        for _, to, datagram in arrived:
            to.feed(datagram, now)
    raise AssertionError("they never come to rest")


@pytest.mark.parametrize("habits", [ION, HDTN], ids=["ion", "hdtn"])
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_units_arrive_both_ways(habits: Habits, loss: float) -> None:
    one, two = Standin(1, 2, habits, seed=3), Standin(2, 1, habits, seed=4)
    units = [random.Random(n).randbytes(n * 977 % 9000 + 1) for n in range(30)]
    for unit in units:
        one.submit(unit, 0)
        two.submit(unit, 0)
    converse(one, two, loss=loss)
    assert one.sent == two.sent == 30
    for side in (one, two):
        came = b"".join(data for _, data in side.blocks)
        assert len(came) == len(b"".join(units))
        assert all(unit in came for unit in units)


def test_a_peer_with_few_reports_gives_up_a_block_that_loses_too_much() -> None:
    one, two = Standin(1, 2, ion(retries_max=50), seed=3), Standin(2, 1, ION, seed=4)
    one.submit(random.Random(1).randbytes(1_000_000), 0)
    converse(one, two, loss=0.4)
    assert one.failed == 1
    assert two.blocks == []
    assert [reason for _, reason in two.cancelled_here] == [2]


def test_the_limit_begins_at_two_and_grows_with_the_loss_that_is_expected() -> None:
    assert most_reports(1_000_000, 1400, 0.0, 20) == 2
    # 71 gaps need 4 reports of 19 gaps, then 7 one more, and no loss is expected after that.
    assert most_reports(1_000_000, 1400, 0.1, 20) == 7
