"""Virtual ports: what a program over sockets would see, in virtual time."""

from __future__ import annotations

import asyncio
import math

from link_models.channel import Channel, ChannelConfig, Delay, Window, always_up
from link_models.clock import VirtualLoop, run_virtual
from link_models.loss import Bernoulli
from link_models.network import TraceHash, VirtualNetwork, VirtualPort
from link_models.rng import Streams
from stack.core.clock import MICROSECOND, MILLISECOND, SECOND
from stack.core.train import FLOW_REPAIR, Train, single
from stack.ports.datagram import DatagramPort


def network(seed: int = 1, tap: TraceHash | None = None) -> tuple[VirtualLoop, VirtualNetwork]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop, VirtualNetwork(loop, Streams(seed), tap)


def test_ping_and_pong_take_two_light_times() -> None:
    async def main() -> list[tuple[str, int, bytes, int]]:
        loop, net = network()
        seen: list[tuple[str, int, bytes, int]] = []
        near, far = net.connect("link", ChannelConfig(delay=Delay.constant(3 * SECOND)))
        port: DatagramPort = near  # keeps the interface of the real port

        def ping(trains: list[Train]) -> None:
            seen.extend(("far", loop.now_ns, bytes(t.data), t.flow) for t in trains)
            far.send([single(b"pong")])

        far.on_receive = ping
        near.on_receive = lambda trains: seen.extend(
            ("near", loop.now_ns, bytes(t.data), t.flow) for t in trains
        )
        assert port.send([single(b"ping", FLOW_REPAIR)])
        assert not seen  # never from inside of send
        await asyncio.sleep(10)
        assert near.counters()["received_bytes"] == far.counters()["received_datagrams"] * 4 == 4
        assert near.counters()["delivered_datagrams"] == 1
        return seen

    assert run_virtual(main) == [
        ("far", 3 * SECOND, b"ping", FLOW_REPAIR),
        ("near", 6 * SECOND, b"pong", 0),
    ]


def traffic(seed: int) -> str:
    """A few seconds of chatter over a link with every fault."""
    trace = TraceHash()

    async def main() -> None:
        _, net = network(seed, trace)
        config = ChannelConfig(
            windows=(Window(0, SECOND, 1e6), Window(2 * SECOND, 4 * SECOND, 5e6)),
            delay=Delay([0, 4 * SECOND], [5e6, 2e6]),
            loss=lambda rng: Bernoulli(rng, 0.2),
            jitter_ns=MILLISECOND,
            reorder_probability=0.1,
            reorder_ns_max=5 * MILLISECOND,
            duplicate_probability=0.1,
            duplicate_ns_max=5 * MILLISECOND,
            corrupt_probability=0.1,
        )
        near, far = net.connect("link", config)

        def echo(trains: list[Train]) -> None:
            far.send(trains)

        far.on_receive = echo
        for turn in range(200):
            near.send([Train(bytes([turn]) * 5000, 1000)])
            await asyncio.sleep(0.02)
        await near.close()
        await far.close()

    run_virtual(main)
    return trace.hexdigest()


def test_same_seed_same_octets_at_the_same_times() -> None:
    assert traffic(1) == traffic(1)
    assert traffic(1) != traffic(2)


def test_another_link_does_not_change_the_luck_of_the_first() -> None:
    def arrivals(more: bool) -> list[int]:
        async def main() -> list[int]:
            loop, net = network()
            config = ChannelConfig(loss=lambda rng: Bernoulli(rng, 0.5))
            if more:
                other, _ = net.connect("a", config)
                other.send([Train(bytes(1000), 10)])
            near, far = net.connect("b", config)
            seen: list[int] = []
            far.on_receive = lambda trains: seen.append(loop.now_ns)
            for _ in range(100):
                near.send([single(b"x")])
                await asyncio.sleep(1)
            return seen

        return run_virtual(main)

    assert arrivals(more=False) == arrivals(more=True)


def test_back_pressure_keeps_the_queue_and_the_link_full() -> None:
    """A sender that obeys loses nothing, and the transmitter is never idle."""

    async def main() -> tuple[int, dict[str, int]]:
        loop, net = network()
        config = ChannelConfig(windows=always_up(8e6), queue_bytes=10_000)
        near, far = net.connect("link", config)
        left, done = 200, asyncio.Event()
        received = 0

        def fill() -> None:
            nonlocal left
            while left:
                left -= 1
                if not near.send([single(bytes(1000))]):
                    break

        def count(trains: list[Train]) -> None:
            nonlocal received
            received += len(trains)
            if received == 200:
                done.set()

        near.on_writable = fill
        far.on_receive = count
        fill()
        await done.wait()
        return loop.now_ns, near.counters()

    ended_ns, counts = run_virtual(main)
    assert counts["dropped_queue_datagrams"] == 0
    assert 200_000 * MICROSECOND <= ended_ns <= 200_001 * MICROSECOND


def test_on_writable_comes_once_after_a_refusal_and_never_after_close() -> None:
    async def main() -> list[int]:
        loop, net = network()
        config = ChannelConfig(windows=always_up(8e6), queue_bytes=10_000)
        near, _ = net.connect("link", config)
        calls: list[int] = []
        near.on_writable = lambda: calls.append(loop.now_ns)
        assert near.send([Train(bytes(5000), 1000)])
        assert not near.send([single(bytes(1000))])
        assert not near.send([single(bytes(1000))])
        await asyncio.sleep(1)
        assert not near.send([Train(bytes(9000), 1000)])
        await near.close()
        await near.close()
        assert near.send([single(b"x")])
        await asyncio.sleep(1)
        return calls

    # 7000 octets wait; a quarter of the queue is left after 4500 us, as asked at 6000.
    assert run_virtual(main) == [3500 * MICROSECOND]


def test_without_back_pressure_the_queue_drops() -> None:
    async def main() -> dict[str, int]:
        _, net = network()
        config = ChannelConfig(windows=always_up(8e6), queue_bytes=10_000)
        near, _ = net.connect("link", config, back_pressure=False)
        assert near.send([Train(bytes(20_000), 1000)])
        return near.counters()

    counts = run_virtual(main)
    assert (counts["delivered_datagrams"], counts["dropped_queue_datagrams"]) == (10, 10)


def test_a_closed_port_hears_nothing() -> None:
    async def main() -> int:
        _, net = network()
        near, far = net.connect("link", ChannelConfig(delay=Delay.constant(SECOND)))
        heard: list[object] = []
        far.on_receive = heard.append
        near.send([single(b"x")])
        await far.close()
        await asyncio.sleep(2)
        return len(heard)

    assert run_virtual(main) == 0


def test_a_port_without_a_peer_or_a_user_is_silent() -> None:
    async def main() -> list[dict[str, int]]:
        loop, net = network()
        alone = VirtualPort(loop, "alone", Channel(ChannelConfig(), Streams(2)), True, None)
        near, far = net.connect("link", ChannelConfig(windows=always_up(8e6), queue_bytes=10))
        alone.send([single(b"x")])
        near.send([Train(bytes(20), 10)])
        await asyncio.sleep(1)
        return [alone.counters(), near.counters(), far.counters()]

    of_alone, sent, heard = run_virtual(main)
    assert of_alone["received_datagrams"] == sent["received_datagrams"] == 0
    assert sent["delivered_datagrams"] + sent["dropped_queue_datagrams"] == 2
    assert heard["received_datagrams"] == sent["delivered_datagrams"]


def test_datagrams_that_arrive_together_come_in_one_call() -> None:
    async def main() -> list[list[int]]:
        _, net = network()
        config = ChannelConfig(windows=always_up(math.inf))
        near, far = net.connect("link", config)
        calls: list[list[int]] = []
        far.on_receive = lambda trains: calls.append([train.datagram_count for train in trains])
        near.send([Train(bytes(50), 10), Train(bytes(21), 7)])
        await asyncio.sleep(1)
        return calls

    assert run_virtual(main) == [[5, 3]]


def test_a_day_of_passes() -> None:
    """Twelve passes of ten minutes; a datagram a second; what goes in a pass comes out."""
    hour = 3600 * SECOND

    async def main() -> int:
        _, net = network()
        passes = tuple(Window(2 * h * hour, 2 * h * hour + hour // 6, 1e6) for h in range(12))
        near, far = net.connect("link", ChannelConfig(windows=passes, delay=Delay.constant(5e6)))
        heard = 0

        def hear(trains: list[Train]) -> None:
            nonlocal heard
            heard += len(trains)

        far.on_receive = hear
        for _ in range(24 * 3600 // 10):
            near.send([single(b"beacon")])
            await asyncio.sleep(10)
        return heard

    assert run_virtual(main) == 12 * 60
