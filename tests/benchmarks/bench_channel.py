"""Virtual time and channels: events and datagrams a second, packet by packet and in bursts.

python -m tests.benchmarks.bench_channel
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from link_models.channel import Channel, ChannelConfig, always_up
from link_models.clock import Simulator, VirtualLoop, run_virtual
from link_models.disturbances.config import build_rules, parse_disturbances
from link_models.loss import Bernoulli
from link_models.loss.rules import RuleFactory
from link_models.network import VirtualNetwork
from link_models.rng import Streams
from stack.core.train import Train
from tests.strategies.disturbances import ALL, disturbance

RATE_BPS = 400e6
DATAGRAM_BYTES = 1400
COALESCE_NS = 10_000_000


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


def simulated(datagrams: int, per_train: int, rules: tuple[RuleFactory, ...] = ()) -> int:
    """A sender, a channel and a receiver on the event heap: trains of one are packet mode, long
    trains with coalescing are burst mode."""
    simulator = Simulator()
    link = Channel(
        ChannelConfig(
            windows=always_up(RATE_BPS),
            queue_bytes=10_000_000,
            rules=rules,
            coalesce_ns=0 if per_train == 1 else COALESCE_NS,
        ),
        Streams(1),
    )
    train = Train(bytes(per_train * DATAGRAM_BYTES), DATAGRAM_BYTES)
    step_ns = int(len(train.data) * 8e9 / RATE_BPS) + 1
    left = datagrams // per_train

    def arrive() -> None:
        """A receiver that does nothing."""

    def offer() -> None:
        nonlocal left
        for delivery in link.send(train, simulator.now_ns):
            simulator.at(delivery.at_ns, arrive)
        left -= 1
        if left:
            simulator.at(simulator.now_ns + step_ns, offer)

    simulator.at(0, offer)
    simulator.run()
    return datagrams


def timed(run: Callable[..., int], *arguments: Any, **options: Any) -> float:
    """Events or datagrams a second of processor time."""
    begun = time.process_time()
    count = run(*arguments, **options)
    return count / (time.process_time() - begun)


def modes() -> None:
    """Packet mode and burst mode, by disturbance, beside the heap by itself."""
    limit = timed(bare_heap, 500_000)
    print(f"{'the event heap by itself':45s} {limit:14,.0f} events/s")
    print(f"{'datagrams a second':45s} {'packet mode':>14s} {'burst mode':>14s}")
    for kind in ("", *sorted(ALL)):
        rules = build_rules(parse_disturbances([disturbance(kind)])) if kind else ()
        packets = timed(simulated, 30_000, 1, rules)
        bursts = timed(simulated, 2_000_000, 1000, rules)
        print(f"{kind or 'no disturbance':45s} {packets:14,.0f} {bursts:14,.0f}", flush=True)


def main() -> None:
    def random_loss(rng: Any) -> Bernoulli:
        return Bernoulli(rng, 0.01)

    coarse: dict[str, Any] = {"coalesce_ns": COALESCE_NS}
    cases: list[tuple[str, Callable[..., int], tuple[int, ...], dict[str, Any]]] = [
        ("loop: sleeping tasks, events", sleeping_tasks, (100_000,), {}),
        ("loop: timers, events", loop_timers, (200_000,), {}),
        ("network, singles, 1 %", network, (50_000, 1), {"loss": random_loss}),
        (
            "network, trains of 46, 1 %, coalesced",
            network,
            (200_000, 46),
            {"loss": random_loss} | coarse,
        ),
    ]
    for name, run, arguments, options in cases:
        print(f"{name:45s} {timed(run, *arguments, **options):14,.0f} /s", flush=True)
    modes()


if __name__ == "__main__":
    main()
