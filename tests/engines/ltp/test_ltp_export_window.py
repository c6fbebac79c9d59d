"""The window of a link without a rate grows where it is all that holds the link up."""

from __future__ import annotations

import pytest

from stack.core.clock import MILLISECOND, SECOND
from stack.engines.ltp.export_window import FLOOR, ExportWindow
from stack.wire.ltp import DataSegment
from tests.engines.ltp.lone import Lone, report
from tests.engines.ltp.pair import Pair

LEAST, MOST = 1_000_000, 16_000_000


def seconds(octets: int, **config: int) -> float:
    """What the transfer of so many octets takes where each block is committed after 20 ms."""
    pair = Pair(owlt_ns=MILLISECOND, commit_ns=20 * MILLISECOND, block_bytes=10_000, **config)
    for _ in range(octets // 10_000):
        pair.submit(pair.a, 10_000)
    pair.run_until_idle(100 * SECOND)
    return pair.now / SECOND


@pytest.mark.slow
def test_a_slow_disk_does_not_hold_a_transfer_up() -> None:
    fixed = seconds(10_000_000, window_bytes=50_000, window_bytes_max=0)
    grown = seconds(10_000_000, window_bytes=50_000, window_bytes_max=800_000)
    assert 4 < fixed < 5  # 200 windows of 50,000 octets, 22 ms each
    assert grown < fixed / 4


class Peer:
    """Acknowledges a window after a delay, not faster than its own rate, and loses what is more
    than its buffer has room for."""

    def __init__(self, delay_ns: int, rate: float, buffer: int = MOST) -> None:
        self.window = ExportWindow(LEAST, MOST, 1400)
        self.delay_ns, self.rate, self.buffer = delay_ns, rate, buffer
        self.now = 1
        self.losses = 0

    def turn(self) -> None:
        octets = self.window.octets
        self.now += max(self.delay_ns, int(octets / self.rate))
        if octets > self.buffer:
            self.losses += 1
            self.window.lost()
            self.window.lost()  # as several reports say so
        self.window.acknowledged(octets, self.now)


def test_it_grows_while_that_brings_more() -> None:
    peer = Peer(delay_ns=10 * MILLISECOND, rate=0.45)  # 4.5 million octets in 10 ms
    for _ in range(200):
        peer.turn()
    assert peer.window.octets == 4_000_000  # 8 million would bring 4.5 instead of 4


def test_a_peer_that_is_busy_already_gets_no_more() -> None:
    peer = Peer(delay_ns=0, rate=1.0)
    tried = 0
    for _ in range(2000):
        peer.turn()
        assert peer.window.octets <= 2 * LEAST
        tried += peer.window.octets > LEAST
    assert 0 < tried < 60  # each attempt is four windows, and they become rare


@pytest.mark.parametrize("buffer", [LEAST, 3_000_000, 9_000_000])
def test_what_is_lost_is_rare(buffer: int) -> None:
    peer = Peer(delay_ns=10 * MILLISECOND, rate=100.0, buffer=buffer)
    for _ in range(4000):
        peer.turn()
    assert 0 < peer.losses <= 12
    assert buffer / 2 < peer.window.octets <= buffer


def test_it_never_leaves_its_bounds_and_losses_of_one_window_count_once() -> None:
    window = ExportWindow(LEAST, MOST, 1400)
    window.lost()
    assert window.octets == LEAST
    now = 0
    while window.octets < MOST:
        now += MILLISECOND
        window.acknowledged(window.octets, now)
        assert LEAST <= window.octets <= MOST
    for _ in range(5):
        window.lost()
    assert window.octets == MOST // 2
    window.acknowledged(MOST // 2, now)
    window.lost()
    assert window.octets == MOST // 4


def test_what_comes_while_there_is_nothing_to_send_says_nothing() -> None:
    window = ExportWindow(LEAST, MOST, 1400)
    for step in range(1000):
        window.acknowledged(LEAST, step * MILLISECOND)
        window.idle(step * MILLISECOND)
    assert window.octets == LEAST


def test_without_a_larger_bound_it_stays_as_it_is() -> None:
    window = ExportWindow(LEAST, 0, 1400)
    for step in range(1000):
        window.acknowledged(LEAST, step * MILLISECOND)
        assert window.octets == LEAST


def test_four_blocks_have_room_up_to_twice_the_least() -> None:
    window = ExportWindow(LEAST, MOST, 1400)
    for block, octets in ((100_000, 1), (300_000, 1.2), (490_000, 1.96), (10**9, 2), (9, 1)):
        window.begun(block)
        assert window.octets == max(LEAST, octets * LEAST)
    for most in (0, LEAST, LEAST + 7):
        window = ExportWindow(LEAST, most, 1400)
        window.begun(10**9)
        assert window.octets == max(LEAST, most)


def test_a_window_that_grew_does_not_hang_on_the_blocks() -> None:
    window = ExportWindow(LEAST, MOST, 1400)
    now = 0
    while window.octets < 8 * LEAST:
        now += MILLISECOND
        window.acknowledged(window.octets, now)
    window.begun(10**9)
    assert window.octets == 8 * LEAST
    window.begun(9)
    assert window.octets == 8 * LEAST


def test_a_window_that_has_grown_to_twice_stays_for_small_blocks() -> None:
    peer = Peer(delay_ns=10 * MILLISECOND, rate=0.21)
    for _ in range(200):
        peer.window.begun(9)
        peer.turn()
    assert peer.window.octets == 2 * LEAST


def test_where_more_than_the_usual_is_lost_large_blocks_have_no_more_until_an_attempt() -> None:
    peer = Peer(delay_ns=0, rate=1.0, buffer=LEAST)
    for _ in range(4000):
        peer.window.begun(10**9)
        peer.turn()
        assert peer.window.octets <= 2 * LEAST
    assert 0 < peer.losses <= 24


class SmallBuffer(Peer):
    """What does not fit into its buffer is lost and comes again: each window that is sent beyond
    what fits takes half as long once more.  So it was measured, roughly, between two processes."""

    def turn(self) -> None:
        octets = self.window.octets
        beyond = max(0.0, octets / self.buffer - 1)
        if beyond:
            self.losses += 1
            self.window.lost()
            self.window.again(int(octets * min(2, beyond)))
        self.now += int(max(self.delay_ns, octets / self.rate) * (1 + beyond / 2))
        self.window.acknowledged(octets, self.now)


@pytest.mark.parametrize("buffer", [70_000, 130_000, 300_000])
def test_a_small_buffer_has_a_small_window(buffer: int) -> None:
    peer = SmallBuffer(delay_ns=10_000, rate=1.0, buffer=buffer)
    for _ in range(300):
        peer.window.begun(10**9)
        peer.turn()
    assert FLOOR <= peer.window.octets <= buffer
    lost = peer.losses
    for _ in range(1000):
        peer.turn()
    assert peer.losses - lost < 30, "attempts at more, which become rare"
    peer.buffer, peer.delay_ns = MOST, 100 * MILLISECOND
    for _ in range(1200):
        peer.turn()
    assert peer.window.octets == MOST, "it comes back where that brings more"


@pytest.mark.parametrize(("share", "most"), [(0.12, 0), (0.2, 200)])
def test_a_noisy_link_keeps_its_window(share: float, most: int) -> None:
    """Where a part is lost of however much is sent, less under way brings less."""
    peer = Peer(delay_ns=500 * MILLISECOND, rate=1.0)
    less = 0
    for _ in range(2000):
        peer.window.lost()
        peer.window.again(int(share * peer.window.octets))
        peer.turn()
        less += peer.window.octets < LEAST
    assert min(1, most) <= less <= most, "attempts, some twenty turns each, which become rare"


@pytest.mark.parametrize(
    ("usual", "segment", "least"), [(5600, 1400, 5600), (LEAST, 64_000, 256_000)]
)
def test_losses_leave_the_least_window(usual: int, segment: int, least: int) -> None:
    window = ExportWindow(usual, MOST, segment)
    took = []
    for step in range(100):
        window.again(usual)
        took.append(window.octets)
        window.acknowledged(usual, step)
    assert min(took) == least
    assert max(took) == usual


def test_what_is_under_way_says_nothing_of_a_smaller_window() -> None:
    """It takes long, as most of it was lost: the smaller one is measured behind it."""
    window = ExportWindow(LEAST, 0, 1400)
    now = 0
    for _ in range(8):
        now += SECOND
        window.again(LEAST)
        window.acknowledged(LEAST, now)
    assert window.octets == FLOOR
    now += 100 * SECOND
    window.acknowledged(LEAST, now)
    assert window.octets == FLOOR
    window.acknowledged(LEAST, now + SECOND // 2)
    assert window.octets == 2 * FLOOR, "it was kept, and more than that is tried"


def test_an_attempt_is_not_cut_short_by_small_blocks() -> None:
    window = ExportWindow(LEAST, MOST, 1400)
    window.begun(10**9)
    window.lost()
    assert window.octets == LEAST
    for step in range(1, 100):
        if window.octets > LEAST:
            break
        window.acknowledged(LEAST, step * SECOND)
    window.begun(9)
    assert window.octets == 2 * LEAST


@pytest.mark.parametrize("lossy", [False, True])
def test_what_is_sent_again_has_less_tried(lossy: bool) -> None:
    lone = Lone(window_bytes=100_000, window_bytes_max=0, block_bytes=1)
    for ref in range(100):
        lone.submit(30_000, ref)
    window = lone.engine._sender._table.window
    least = window.octets
    while said := [one for one in lone.said() if isinstance(one, DataSegment)]:
        for one in said:
            if one.is_checkpoint:
                again = one.report_serial or not lossy
                own, got = (6, 30_000) if again else (5, 15_000)
                lone.feed(report(one.session, own, one.checkpoint_serial, 0, 30_000, (0, got)))
        lone.now += MILLISECOND
        least = min(least, window.octets)
    assert least == (FLOOR if lossy else 100_000)
