"""The real-time emulator: packets a second of 1200 octets at 250 ms, what it dropped, how late.

python -m tests.benchmarks.bench_emulator [seconds]
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import sys
import time
from multiprocessing.connection import Connection

from link_models.channel import ChannelConfig, Delay, always_up
from link_models.emulator import Emulator, EmulatorConfig
from stack.adapters.loop import run
from stack.adapters.udp import open_udp

DATAGRAM_BYTES = 1200
DELAY_NS = 250_000_000
RATES = (20_000, 60_000, 100_000, 150_000)


def traffic(
    target: tuple[str, int], own: tuple[str, int], rate: int, seconds: float, report: Connection
) -> None:
    """A program at each end of the link: sends at an even rate, receives, counts."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
    receiver.bind(own)
    receiver.setblocking(False)
    receiver.setsockopt(socket.IPPROTO_UDP, 104, 1)
    report.send("ready")
    buffer, payload = bytearray(65_536), bytes(DATAGRAM_BYTES)
    begun = time.perf_counter()
    sent = received = 0
    last = begun
    total = int(rate * seconds)
    while received < total and time.perf_counter() - last < 1.0:
        due = min(total, int((time.perf_counter() - begun) * rate))
        for _ in range(due - sent):
            sender.sendto(payload, target)
        sent = max(sent, due)
        try:
            while True:
                received += receiver.recv_into(buffer) // DATAGRAM_BYTES
                last = time.perf_counter()
        except BlockingIOError:
            if sent < total:
                last = max(last, begun + 1)
            time.sleep(0.0005)
    report.send((sent, received, time.process_time()))


async def measure(rate: int, seconds: float) -> str:
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.bind(("127.0.0.1", 0))
    own = probe.getsockname()
    probe.close()
    channel = ChannelConfig(
        windows=always_up(10e9),
        delay=Delay.constant(DELAY_NS),
        queue_bytes=64 << 20,
        coalesce_ns=500_000,
    )
    emulator = Emulator(
        EmulatorConfig(
            listen_a=("127.0.0.1", 0), listen_b=("127.0.0.1", 0), peer_b=own, forward=channel
        ),
        open_udp,
    )
    await emulator.start()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    child = multiprocessing.get_context("spawn").Process(
        target=traffic, args=(emulator.address_a, own, rate, seconds, theirs)
    )
    child.start()
    cpu = time.process_time()
    message: object = None
    while not isinstance(message, tuple):
        await asyncio.sleep(0.05)
        if ours.poll():
            message = ours.recv()
            cpu = time.process_time() if message == "ready" else cpu
    busy = (time.process_time() - cpu) / (seconds + DELAY_NS / 1e9)
    child.join()
    statistics = emulator.statistics()["forward"]
    await emulator.close()
    sent, received, _ = message
    return (
        f"{rate:8d} {sent:9d} {received:9d} {statistics['socket_drops']:7d}"
        f" {sent - received - statistics['socket_drops']:7d}"
        f" {statistics['delay_error_p50_ms']:8.2f} {statistics['delay_error_p99_ms']:8.2f}"
        f" {statistics['delay_error_max_ms']:8.2f} {busy:6.0%}"
    )


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    print(f"{DATAGRAM_BYTES} octets a datagram, one call each, {DELAY_NS / 1e6:.0f} ms")
    print("   pkt/s      sent  received boxdrop   other   p50 ms   p99 ms   max ms    CPU")
    for rate in RATES:
        print(run(measure(rate, seconds)), flush=True)


if __name__ == "__main__":
    main()
