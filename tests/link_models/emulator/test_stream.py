"""One direction of a TCP connection, without sockets."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from link_models.channel import FOREVER_NS, ChannelConfig, Delay, Window, always_up
from link_models.emulator import StreamFaults, TcpConfig, TimeMapping
from link_models.emulator.direction import Direction
from link_models.emulator.stream import Stream, StreamEvent
from link_models.emulator.world import EmulatorTime
from link_models.loss import Bernoulli, Replay
from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError

LIGHT_NS = 20 * MILLISECOND


class Bench:
    """A stream, its channel, and time that jumps."""

    def __init__(
        self, channel: ChannelConfig, *, faults: StreamFaults | None = None, **options: Any
    ) -> None:
        self.now_ns = 0
        world = EmulatorTime(lambda: self.now_ns, TimeMapping())
        self.direction = Direction("forward", channel, 7, world)
        back = Direction("backward", ChannelConfig(delay=channel.delay), 7, world)
        self.lost: list[bytes] = []
        self.stream = Stream(
            self.direction,
            back,
            TcpConfig(**options),
            faults,
            random.Random(3).random,
            0,
            lambda data: self.lost.append(bytes(data)),
        )
        self.heard: list[tuple[int, bytes]] = []
        self.ends: list[tuple[int, StreamEvent]] = []

    def offer_all(self) -> int:
        """Offer what the link has room for; when there is more to do."""
        stream = self.stream
        while True:
            next_ns = stream.next_ns(self.now_ns)
            if next_ns > self.now_ns:
                return next_ns
            room_ns = self.direction.admits_ns(stream.next_octets(self.now_ns), self.now_ns)
            if room_ns > self.now_ns:
                return room_ns
            stream.offer(self.now_ns)

    def run(self, until_ns: int = 10_000 * SECOND, stop: Callable[[], bool] = bool) -> None:
        """Let time pass until nothing happens any more."""
        while True:
            next_ns = self.offer_all()
            pieces, end = self.stream.take(self.now_ns)
            self.heard += [(self.now_ns, bytes(piece)) for piece in pieces]
            if end is not None:
                self.ends.append((self.now_ns, end))
                continue
            next_ns = min(next_ns, self.stream.due_ns())
            if next_ns > until_ns or stop():
                self.now_ns = min(max(self.now_ns, until_ns), next_ns)
                return
            self.now_ns = max(next_ns, self.now_ns)

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.heard)


def light(**options: Any) -> ChannelConfig:
    return ChannelConfig(delay=Delay.constant(LIGHT_NS), **options)


def test_octets_and_the_end_arrive_after_the_light_time() -> None:
    bench = Bench(light())
    bench.stream.open()
    bench.stream.receive(b"hello")
    bench.stream.finish()
    bench.run()
    assert bench.heard == [(LIGHT_NS, b"hello")]
    assert bench.ends == [(LIGHT_NS, StreamEvent.OPENED), (LIGHT_NS, StreamEvent.FINISHED)]


def test_a_lost_segment_holds_up_what_is_behind_it() -> None:
    # The SYN passes, the first segment is lost twice, everything else passes.
    trace = [False, True, False, False, True] + [False] * 100
    bench = Bench(light(loss=lambda rng: Replay(trace)), segment_bytes=100)
    bench.stream.open()
    bench.stream.receive(bytes(300))
    bench.run()
    first_ns, second_ns = 200 * MILLISECOND, 400 * MILLISECOND
    assert [at for at, _ in bench.heard] == [first_ns + second_ns + LIGHT_NS] * 3
    assert bench.stream.resent == 2
    assert bench.lost == [bytes(100)] * 2


def test_a_segment_is_sent_again_after_a_round_trip_if_that_is_longer() -> None:
    far = ChannelConfig(delay=Delay.constant(SECOND), loss=lambda rng: Replay([True, False]))
    bench = Bench(far)
    bench.stream.receive(b"x")
    bench.run()
    assert [at for at, _ in bench.heard] == [3 * SECOND]


def test_damage_is_loss_and_copies_are_nothing() -> None:
    for options in (
        {"corrupt_probability": 0.5},
        {"duplicate_probability": 0.5, "duplicate_ns_max": SECOND},
        {"reorder_probability": 0.5, "reorder_ns_max": SECOND},
    ):
        bench = Bench(light(**options), segment_bytes=10)
        content = bytes(range(200))
        bench.stream.receive(content)
        bench.run()
        assert bench.data == content
        assert (bench.stream.resent > 0) is ("corrupt_probability" in options)


def test_it_waits_for_the_contact_and_for_the_next_when_one_is_too_short() -> None:
    windows = (Window(SECOND, 2 * SECOND, 8e3), Window(100 * SECOND, 200 * SECOND, 8e3))
    bench = Bench(light(windows=windows), segment_bytes=376, overhead_bytes=24)
    content = bytes(range(256)) * 8
    bench.stream.receive(content)
    bench.run()
    assert bench.data == content
    times = [at / SECOND for at, _ in bench.heard]
    assert times[:2] == [pytest.approx(1.42), pytest.approx(1.82)]
    assert min(times[2:]) > 100
    assert bench.direction.counters()["dropped_window_datagrams"] == 0


def test_the_link_is_shared_at_its_rate_and_its_queue_is_kept() -> None:
    bench = Bench(light(windows=always_up(8e6), queue_bytes=10_000), segment_bytes=976)
    bench.stream.receive(bytes(976 * 100))
    bench.offer_all()
    assert bench.direction.state(0)["backlog_bytes"] <= 10_000
    bench.run()
    assert bench.heard[-1][0] == pytest.approx(LIGHT_NS + 100 * MILLISECOND, rel=0.01)
    counts = bench.direction.counters()
    assert counts["dropped_queue_datagrams"] == 0
    assert counts["offered_datagrams"] == 100


def test_a_limit_of_time_in_the_queue_holds_for_streams() -> None:
    config = light(windows=always_up(8e6), queue_ns=5 * MILLISECOND)
    bench = Bench(config, segment_bytes=976)
    bench.stream.receive(bytes(976 * 50))
    bench.run()
    assert len(bench.data) == 976 * 50
    assert bench.direction.counters()["dropped_queue_datagrams"] == 0


def test_it_takes_no_more_than_its_buffer() -> None:
    bench = Bench(light(), buffer_bytes=5000, segment_bytes=1000)
    bench.stream.receive(bytes(4999))
    assert bench.stream.wants_more
    bench.stream.receive(bytes(1))
    assert not bench.stream.wants_more
    bench.run()
    assert bench.stream.wants_more
    assert bench.stream.held_bytes == 0


def test_the_dark_sends_back_what_had_not_left() -> None:
    bench = Bench(light(windows=always_up(8e3)), segment_bytes=976)
    bench.stream.receive(bytes(2 * 976))
    bench.run(stop=lambda: bench.now_ns >= 0)
    bench.now_ns = SECOND + SECOND // 2  # one has been sent, the other half
    bench.direction.dark(FOREVER_NS)
    span = bench.now_ns + LIGHT_NS, FOREVER_NS
    assert bench.stream.lose(*span, bench.now_ns) == (1, 1000)
    bench.run(until_ns=50 * SECOND)
    assert len(bench.data) == 976
    bench.direction.dark(-FOREVER_NS)
    bench.run(until_ns=100 * SECOND)
    assert len(bench.data) == 2 * 976


@pytest.mark.parametrize(
    ("faults", "data", "end"),
    [
        (StreamFaults(limit_bytes=10), bytes(10), StreamEvent.CLOSED),
        (StreamFaults(reset_after_bytes=10), bytes(10), StreamEvent.RESET),
        (StreamFaults(reset_after_ms=5), b"", StreamEvent.RESET),
        (StreamFaults(reset_after_ms=500), bytes(100), StreamEvent.RESET),
        (StreamFaults(timeout_ms=500), b"", StreamEvent.CLOSED),
    ],
)
def test_faults_end_a_stream(faults: StreamFaults, data: bytes, end: StreamEvent) -> None:
    bench = Bench(light(), faults=faults, segment_bytes=7)
    bench.stream.receive(bytes(100))
    bench.run()
    assert bench.data == data
    assert [one for _, one in bench.ends] == [end]
    assert bench.stream.over
    assert bench.stream.held_bytes == 0


def test_a_slow_close() -> None:
    bench = Bench(light(), faults=StreamFaults(slow_close_ms=300))
    bench.stream.receive(b"x")
    bench.stream.finish()
    bench.run()
    assert bench.heard[0][0] == LIGHT_NS
    assert bench.ends == [(LIGHT_NS + 300 * MILLISECOND, StreamEvent.FINISHED)]


def test_slices_have_their_sizes_and_gaps() -> None:
    faults = StreamFaults(slice_bytes=100, slice_variation_bytes=20, slice_gap_ms=10)
    bench = Bench(light(), faults=faults)
    bench.stream.receive(bytes(10_000))
    bench.run()
    sizes = [len(data) for _, data in bench.heard]
    assert all(80 <= size <= 120 for size in sizes[:-1])
    assert len(set(sizes)) > 10
    times = [at for at, _ in bench.heard]
    assert {after - before for before, after in itertools.pairwise(times)} == {10 * MILLISECOND}
    assert bench.stream.sliced


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=700), max_size=20),
    st.floats(0, 0.6),
    st.sampled_from([1e4, 1e6, float("inf")]),
    st.integers(1, 300),
    st.sampled_from([0, 30]),
)
@example([b"abc"], 0.0, float("inf"), 1, 0)
def test_whatever_the_link_does_the_octets_arrive_once_and_in_order(
    writes: list[bytes], loss: float, rate: float, segment: int, jitter_ms: int
) -> None:
    config = light(
        windows=always_up(rate),
        loss=lambda rng: Bernoulli(rng, loss),
        jitter_ns=jitter_ms * MILLISECOND,
        corrupt_probability=0.05,
        duplicate_probability=0.05,
        reorder_probability=0.05,
        reorder_ns_max=SECOND,
        queue_bytes=3000,
    )
    bench = Bench(config, segment_bytes=segment, retransmit_max_ms=1000)
    for data in writes:
        bench.stream.receive(data)
    bench.stream.finish()
    bench.run(until_ns=1_000_000 * SECOND)
    assert bench.data == b"".join(writes)
    assert [end for _, end in bench.ends] == [StreamEvent.FINISHED]
    assert all(at >= LIGHT_NS for at, _ in bench.heard)
    counts = bench.direction.counters()
    assert bench.stream.resent == counts["lost_datagrams"] + counts["corrupted_datagrams"]


@pytest.mark.parametrize(
    "options",
    [{"share": 1.5}, {"slice_bytes": -1}, {"slice_bytes": 5, "slice_variation_bytes": 5}],
)
def test_faults_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(reversed(options))):
        StreamFaults(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"segment_bytes": 0},
        {"buffer_bytes": 1},
        {"retransmit_ms": 0},
        {"overhead_bytes": -1},
        {"connections_max": 0},
    ],
)
def test_settings_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        TcpConfig(**options)
