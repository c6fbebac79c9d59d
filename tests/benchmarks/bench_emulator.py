"""The real-time emulator beside a plain asyncio proxy: packets a second of 1200 octets at 250 ms,
what was lost on the way, how late they came out; and TCP through the box.

python -m tests.benchmarks.bench_emulator [seconds]
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import socket
import struct
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from interop.machines.ports import free_ports
from link_models.emulator import Emulator, EmulatorConfig, TcpConfig
from stack.adapters.loop import run
from stack.adapters.udp import open_udp
from stack.cli.emulate.config import EmulatedDirectionConfig

DATAGRAM_BYTES = 1200
DELAY_MS = 250.0
RATES = (10_000, 40_000, 60_000, 100_000, 150_000)
CALL_LATER_RATES = (10_000, 40_000, 60_000, 100_000)
STREAM_BYTES = 40_000_000


def traffic(
    target: tuple[str, int], own: tuple[str, int], rate: int, seconds: float, report: Connection
) -> None:
    """A program at each end of the link: sends at an even rate, receives, and measures the delay
    from the time that each datagram carries."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
    receiver.bind(own)
    receiver.setblocking(False)
    receiver.setsockopt(socket.IPPROTO_UDP, 104, 1)
    report.send("ready")
    buffer, rest = bytearray(65_536), bytes(DATAGRAM_BYTES - 8)
    stamp = struct.Struct("<q")
    begun = time.perf_counter()
    sent = received = 0
    last = begun
    total = int(rate * seconds)
    late = [np.zeros(0, np.int64)]
    while received < total and time.perf_counter() - last < 1.0:
        due = min(total, int((time.perf_counter() - begun) * rate))
        for _ in range(due - sent):
            sender.sendto(stamp.pack(time.monotonic_ns()) + rest, target)
        sent = max(sent, due)
        try:
            while True:
                octets = receiver.recv_into(buffer)
                now_ns = time.monotonic_ns()
                count = octets // DATAGRAM_BYTES
                rows = np.frombuffer(buffer, np.uint8, octets).reshape(count, DATAGRAM_BYTES)
                late.append(now_ns - rows[:, :8].copy().view("<i8").ravel())
                received += count
                last = time.perf_counter()
        except BlockingIOError:
            if sent < total:
                last = max(last, begun + 1)
            time.sleep(0.0005)
    errors_ms = np.concatenate(late) / 1e6 - DELAY_MS if received else np.zeros(1)
    report.send((sent, received, *np.quantile(errors_ms, (0.0, 0.5, 0.99)).tolist()))


async def measure(target: tuple[Any, ...], own: Any, rate: int, seconds: float) -> tuple[Any, ...]:
    """What the programs see, and the share of a processor that this process takes."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=traffic, args=(target[:2], own, rate, seconds, theirs))
    child.start()
    cpu = time.process_time()
    message: object = None
    while not isinstance(message, tuple):
        await asyncio.sleep(0.05)
        if ours.poll():
            message = ours.recv()
            cpu = time.process_time() if message == "ready" else cpu
    busy = (time.process_time() - cpu) / (seconds + DELAY_MS / 1e3)
    child.join()
    return (*message, busy)


def free_address() -> tuple[str, int]:
    (port,) = free_ports(1)
    return "127.0.0.1", port


def row(name: str, rate: int, found: tuple[Any, ...], drops: int, own_p99_ms: float | None) -> str:
    sent, received, least, median, p99, busy = found
    own = "" if own_p99_ms is None else f"{own_p99_ms:10.2f}"
    return (
        f"{name:11} {rate:7d} {sent:8d} {sent - received:8d} {drops:8d}"
        f" {least:8.2f} {median:8.2f} {p99:8.2f} {busy:6.0%}{own}"
    )


async def through_the_box(rate: int, seconds: float) -> str:
    """The emulator as `orbitferry emulate --delay 250ms --rate 10G --queue 64M` has it."""
    own = free_address()
    channel = EmulatedDirectionConfig(
        delay_ms=DELAY_MS, rate_bps=10e9, queue_bytes=64 << 20
    ).channel()
    config = EmulatorConfig(
        listen_a=("127.0.0.1", 0), listen_b=("127.0.0.1", 0), peer_b=own, forward=channel
    )
    emulator = Emulator(config, open_udp)
    await emulator.start()
    found = await measure(emulator.address_a, own, rate, seconds)
    counts = emulator.statistics()["forward"]
    await emulator.close()
    return row("box", rate, found, counts["socket_drops"], counts["delay_error_p99_ms"])


class CallLater(asyncio.DatagramProtocol):
    """The proxy that one writes first: a timer for each datagram."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._loop.call_later(DELAY_MS / 1e3, self._transport.sendto, data, self._target)


async def through_call_later(rate: int, seconds: float) -> str:
    own, listen = free_address(), free_address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)
        sock.bind(listen)
        sock.setblocking(False)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: CallLater(own), sock=sock
        )
        found = await measure(listen, own, rate, seconds)
        transport.close()
    return row("call_later", rate, found, 0, None)


async def stream_through_the_box(rate_bps: float, loss: float) -> str:
    """One TCP connection that sends as fast as it is taken."""

    done = asyncio.Event()
    got = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        while data := await reader.read(1 << 20):
            got += len(data)
        done.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    channel = EmulatedDirectionConfig(delay_ms=20.0, rate_bps=rate_bps, loss=loss).channel()
    config = EmulatorConfig(
        listen_a=("127.0.0.1", 0),
        listen_b=("127.0.0.1", 0),
        peer_b=server.sockets[0].getsockname(),
        forward=channel,
        tcp=TcpConfig(),
        udp=False,
    )
    emulator = Emulator(config)
    await emulator.start()
    octets = min(STREAM_BYTES, int(rate_bps / 8)) if rate_bps else STREAM_BYTES
    begun, cpu = time.perf_counter(), time.process_time()
    _, writer = await asyncio.open_connection(*emulator.address_a[:2])
    writer.write(bytes(octets))
    writer.write_eof()
    await done.wait()
    seconds = time.perf_counter() - begun
    busy = (time.process_time() - cpu) / seconds
    assert got == octets
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    resent = emulator.statistics()["tcp"]["segments_resent"]
    await emulator.close()
    server.close()
    rate = "no limit" if not rate_bps else f"{rate_bps / 1e6:.0f} Mbit/s"
    return f"{rate:>12} {loss:6.1%} {octets * 8 / seconds / 1e6:12.1f} {resent:8d} {busy:6.0%}"


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    print(f"{DATAGRAM_BYTES} octets a datagram, one call each, {DELAY_MS:.0f} ms; late in ms")
    print(
        "proxy       packets/s   sent     lost  dropped    least      p50      p99    CPU   own p99"
    )
    for rate in CALL_LATER_RATES:
        print(run(through_call_later(rate, seconds)), flush=True)
    for rate in RATES:
        print(run(through_the_box(rate, seconds)), flush=True)
    print("\nTCP, one connection, 20 ms, both programs in this process")
    print("        rate   loss       Mbit/s   resent    CPU")
    for rate_bps, loss in ((10e6, 0.0), (100e6, 0.0), (100e6, 0.001), (0.0, 0.0)):
        print(run(stream_through_the_box(rate_bps, loss)), flush=True)


if __name__ == "__main__":
    main()
