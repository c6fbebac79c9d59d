"""Whole transfers over links good and bad: what is submitted arrives, once, as it was."""

from __future__ import annotations

import pytest

from stack.core.clock import MILLISECOND, SECOND
from stack.engines.ltp import LinkAlive, LinkStalled
from tests.engines.ltp.pair import Faults, Pair

HOUR = 3600 * SECOND


@pytest.mark.parametrize("size", [1, 100, 1381, 1390, 1391, 16_384, 100_000, 300_000])
def test_one_unit_of_any_size_crosses_a_good_link_once(size: int) -> None:
    pair = Pair()
    pair.submit(pair.a, size)
    pair.run_until_idle(10 * SECOND)
    assert pair.a.engine.counters()["data_bytes_resent"] == 0
    # There, and the acknowledgement back: no timer was waited for.
    assert pair.now <= 3 * pair.owlt_ns


@pytest.mark.parametrize("commit_ms", [0, 30])
@pytest.mark.parametrize(
    "faults",
    [
        Faults(loss=0.01),
        Faults(loss=0.2),
        Faults(duplicate=0.2),
        Faults(reorder=0.3),
        Faults(truncate=0.1, junk=0.1),
        Faults(loss=0.1, duplicate=0.1, reorder=0.2, truncate=0.05, junk=0.05),
    ],
    ids=["loss1", "loss20", "duplicate", "reorder", "damage", "all"],
)
def test_units_arrive_both_ways_over_a_faulty_link(faults: Faults, commit_ms: int) -> None:
    pair = Pair(seed=3, block_bytes=20_000, commit_ns=commit_ms * MILLISECOND)
    pair.faults = faults
    for number in range(60):
        pair.submit(pair.a, (number * 977) % 9000)
        pair.submit(pair.b, (number * 331) % 3000)
    pair.submit(pair.a, 200_000)
    pair.run_until_idle(HOUR)
    assert pair.a.failed == pair.b.failed == 0


def test_only_what_was_lost_is_sent_again() -> None:
    pair = Pair(seed=5)
    pair.faults = Faults(loss=0.05)
    for _ in range(20):
        pair.submit(pair.a, 250_000)
    pair.run_until_idle(HOUR)
    counters = pair.a.engine.counters()
    # 5 % are lost, and 5 % of these again; each response adds a checkpoint's worth at most.
    assert counters["data_bytes_resent"] < 0.08 * counters["data_bytes_sent"]
    assert pair.b.engine.counters()["data_bytes_duplicate"] < 0.02 * counters["data_bytes_sent"]


def test_a_session_begun_in_one_pass_ends_in_the_next() -> None:
    pair = Pair(seed=2)
    pair.rate_bps = 1e6
    pair.cue()
    pair.submit(pair.a, 200_000)
    pair.run(SECOND)  # 125 kB of it have left
    sent = pair.a.engine.counters()["data_bytes_sent"]
    assert 100_000 < sent < 200_000
    pair.set_link(False)
    pair.run(8 * HOUR)
    assert pair.a.engine.counters()["data_bytes_sent"] == sent
    pair.set_link(True)
    pair.run_until_idle(2 * SECOND)
    resent = pair.a.engine.counters()["data_bytes_resent"]
    # What was in flight or in the modem when the link went away, and nothing else.
    assert resent < 5000
    assert pair.a.failed == 0


def test_an_unplanned_blackout_stalls_and_heals_without_failure() -> None:
    pair = Pair(seed=4, owlt_ns=5 * MILLISECOND)
    for _ in range(40):
        pair.submit(pair.a, 60_000)
    pair.faults = Faults(loss=1.0)
    pair.run(600 * SECOND)
    before = pair.wire_bytes
    pair.run(600 * SECOND)
    assert pair.wire_bytes - before < 600 * 1400  # probes only
    assert any(isinstance(event, LinkStalled) for event in pair.a.events)
    pair.faults = Faults()
    pair.run_until_idle(20 * SECOND)
    assert any(isinstance(event, LinkAlive) for event in pair.a.events)
    assert pair.a.failed == 0


@pytest.mark.slow
def test_the_rate_of_a_paced_link_is_kept_and_used() -> None:
    pair = Pair(seed=6)
    pair.rate_bps = 8e6
    pair.cue()
    for _ in range(50):
        pair.submit(pair.a, 100_000)
    pair.run(2 * SECOND)
    # 1 MB/s, less IP and UDP overhead of 2 %, more by the burst of 4 ms.
    assert 0.96 * 2e6 < pair.wire_bytes < 1.0 * 2e6
    pair.run_until_idle(10 * SECOND)


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_restart_loses_nothing_acknowledged(side: str) -> None:
    pair = Pair(seed=7, commit_ns=20 * MILLISECOND, block_bytes=30_000)
    pair.faults = Faults(loss=0.2)
    for _ in range(30):
        pair.submit(pair.a, 20_000)
    for _ in range(10):
        pair.run(30 * MILLISECOND)
        pair.restart(getattr(pair, side))
    pair.run_until_idle(HOUR)
    assert pair.b.stored == pair.a.outgoing
    pair.run(2 * 86_400 * SECOND)
    assert not pair.b.notes


@pytest.mark.parametrize("seed", range(2))
def test_what_was_claimed_before_a_node_was_set_back_to_a_backup_comes_again(seed: int) -> None:
    """However many blocks were half claimed then."""
    pair = Pair(seed=seed, block_bytes=30_000)
    pair.faults = Faults(loss=0.3, reorder=0.1)
    for _ in range(30):
        pair.submit(pair.a, 20_000)
    for _ in range(5):
        pair.run(40 * MILLISECOND)
        pair.set_back(pair.b)
    pair.run_until_idle(HOUR)
    assert pair.b.stored == pair.a.outgoing
    pair.run(2 * 86_400 * SECOND)
    assert not pair.b.notes


def test_refused_blocks_come_again_and_others_do_not_wait_for_them() -> None:
    pair = Pair(seed=8, block_bytes=2000)
    pair.b.refuse_every = 3
    for _ in range(30):
        pair.submit(pair.a, 1500)
    pair.run_until_idle(5 * SECOND)
    assert pair.a.failed >= 10
