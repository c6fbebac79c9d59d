"""Virtual time and channels: events and datagrams a second.

python -m tests.benchmarks.bench_channel
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from link_models.channel import Channel, ChannelConfig, always_up
from link_models.clock import Simulator, VirtualLoop, run_virtual
from link_models.loss import Bernoulli, GilbertElliott
from link_models.network import VirtualNetwork
from link_models.rng import Streams
from stack.core.train import Train

RATE_BPS = 400e6
DATAGRAM_BYTES = 1400


def sleeping_tasks(events: int) -> int:
    """Ten tasks that sleep and wake."""

    async def main() -> None:
        async def sleeper(period_s: float) -> None:
            for _ in range(events // 10):
                await asyncio.sleep(period_s)

        await asyncio.gather(*(sleeper(0.001 * (k + 1)) for k in range(10)))

    run_virtual(main)
    return events


def loop_timers(events: int) -> int:
    """Fifty timers that set themselves again."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        done = asyncio.Event()
        left = events

        def tick(period_ns: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                done.set()
            elif left > 0:
                loop.call_at_ns(loop.now_ns + period_ns, tick, period_ns)

        for period_ns in range(50, 100):
            loop.call_at_ns(period_ns, tick, period_ns)
        await done.wait()

    run_virtual(main)
    return events


def bare_heap(events: int) -> int:
    """The same on the simulator."""
    simulator = Simulator()

    def start(period_ns: int) -> None:
        def tick() -> None:
            simulator.at(simulator.now_ns + period_ns, tick)

        simulator.at(period_ns, tick)

    for period_ns in range(50, 100):
        start(period_ns)
    return simulator.run(events_max=events)


def channel(datagrams: int, per_train: int, **options: Any) -> int:
    """Trains at the rate of the link."""
    link = Channel(
        ChannelConfig(windows=always_up(RATE_BPS), queue_bytes=10_000_000, **options), Streams(1)
    )
    train = Train(bytes(per_train * DATAGRAM_BYTES), DATAGRAM_BYTES)
    step_ns = int(len(train.data) * 8e9 / RATE_BPS) + 1
    for turn in range(datagrams // per_train):
        link.send(train, turn * step_ns)
    return datagrams


def network(datagrams: int, per_train: int, **options: Any) -> int:
    """The same through two virtual ports."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        near, _ = VirtualNetwork(loop, Streams(1)).connect(
            "link", ChannelConfig(windows=always_up(RATE_BPS), queue_bytes=1_000_000, **options)
        )
        train = Train(bytes(per_train * DATAGRAM_BYTES), DATAGRAM_BYTES)
        left, done = datagrams // per_train, asyncio.Event()

        def fill() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                if not near.send([train]):
                    return
            done.set()

        near.on_writable = fill
        fill()
        await done.wait()

    run_virtual(main)
    return datagrams


def main() -> None:
    def random_loss(rng: Any) -> Bernoulli:
        return Bernoulli(rng, 0.01)

    def bursts(rng: Any) -> GilbertElliott:
        return GilbertElliott(rng, good_s=1.0, bad_s=0.05)

    coarse: dict[str, Any] = {"coalesce_ns": 10_000_000}
    cases: list[tuple[str, Callable[..., int], tuple[int, ...], dict[str, Any]]] = [
        ("loop: sleeping tasks, events", sleeping_tasks, (100_000,), {}),
        ("loop: timers, events", loop_timers, (200_000,), {}),
        ("heap: events", bare_heap, (500_000,), {}),
        ("channel, singles, no loss", channel, (50_000, 1), {}),
        ("channel, singles, bursts", channel, (50_000, 1), {"loss": bursts}),
        ("channel, trains of 46, 1 %", channel, (100_000, 46), {"loss": random_loss}),
        (
            "channel, trains of 46, 1 %, coalesced",
            channel,
            (200_000, 46),
            {"loss": random_loss} | coarse,
        ),
        (
            "channel, trains of 1000, bursts, coalesced",
            channel,
            (5_000_000, 1000),
            {"loss": bursts} | coarse,
        ),
        ("network, singles, 1 %", network, (50_000, 1), {"loss": random_loss}),
        (
            "network, trains of 46, 1 %, coalesced",
            network,
            (200_000, 46),
            {"loss": random_loss} | coarse,
        ),
    ]
    for name, run, arguments, options in cases:
        begun = time.perf_counter()
        count = run(*arguments, **options)
        print(f"{name:45s} {count / (time.perf_counter() - begun):14,.0f} /s", flush=True)


if __name__ == "__main__":
    main()
