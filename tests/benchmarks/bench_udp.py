"""UDP ports over the loopback interface: one process sends trains, the same one receives them.

python -m tests.benchmarks.bench_udp
"""

from __future__ import annotations

import asyncio
import time

from stack.adapters.loop import run
from stack.adapters.udp import open_udp
from stack.core.train import Train

DATAGRAM_BYTES = 1400
PER_TRAIN = 46
WINDOW_TRAINS = 32


async def measure(fast: bool, datagrams: int, per_train: int) -> float:
    """Datagrams a second with a window of trains under way."""
    near = await open_udp(("127.0.0.1", 0), fast=fast)
    far = await open_udp(("127.0.0.1", 0), near.local_address[:2], fast=fast)
    train = Train(bytes(per_train * DATAGRAM_BYTES), DATAGRAM_BYTES)
    received = sent = 0
    done = asyncio.Event()

    def receive(trains: list[Train]) -> None:
        nonlocal received
        for got in trains:
            received += got.datagram_count
        if received >= datagrams:
            done.set()
        fill()

    def fill() -> None:
        nonlocal sent
        while sent < datagrams and sent - received < WINDOW_TRAINS * PER_TRAIN:
            far.send([train])
            sent += per_train

    near.on_receive = receive
    begun = time.perf_counter()
    fill()
    async with asyncio.timeout(30):
        await done.wait()
    rate = received / (time.perf_counter() - begun)
    await near.close()
    await far.close()
    return rate


def main() -> None:
    print(f"{DATAGRAM_BYTES} octets a datagram, both ends in one process")
    for name, fast, per_train, datagrams in (
        ("linux, trains of 46", True, PER_TRAIN, 460_000),
        ("linux, singles", True, 1, 100_000),
        ("portable, trains of 46", False, PER_TRAIN, 46_000),
    ):
        rate = run(measure(fast, datagrams, per_train))
        print(f"{name:30s} {rate:12,.0f} datagrams/s {rate * DATAGRAM_BYTES * 8 / 1e9:6.2f} Gbit/s")


if __name__ == "__main__":
    main()
