"""What the file service itself costs: both ends in one process over a network in memory.

Run as `python -m tests.benchmarks.bench_services [--size MB] [--directory PATH]`.  Content is
hashed, read, checked, written, synced, read back and hashed again; storing bundles costs nothing
here, so this is the ceiling that the services set for a whole node.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import tempfile
import time
from pathlib import Path

from stack.services.files import FilesConfig, FilesService
from stack.services.files.messages import chunk_head, decode_message
from stack.wire.crc import crc32c
from tests.services.fake_port import FakeNet
from tests.services.helpers import running


async def transfer(directory: Path, size: int, chunk_bytes: int) -> tuple[float, float]:
    """Elapsed and CPU seconds of one object, from `send` to its receipt."""
    source = directory / "source.bin"
    with source.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    net = FakeNet()
    net.logging = False
    net.faults.delay_s = 0.0
    here, there = net.node("dtn://gs1/"), net.node("dtn://sat1/")
    here.quota = 64 << 20
    config = FilesConfig(chunk_bytes=chunk_bytes, disk_reserve_bytes=0)
    sender = FilesService(here.port, directory / "gs", config)
    receiver = FilesService(there.port, directory / "sat", config)
    async with running(sender.run(), receiver.run()):
        began, cpu = time.perf_counter(), time.process_time()
        progress = await sender.wait(await sender.send(source, there.eid))
        assert progress.state == "delivered", progress
        return time.perf_counter() - began, time.process_time() - cpu


def codec(chunk_bytes: int) -> tuple[float, float]:
    """Microseconds to make a chunk's head, and to read a whole chunk."""
    data = os.urandom(chunk_bytes)
    count = 20_000
    head = chunk_head(bytes(16), 1 << 30, chunk_bytes, 0, crc32c(data), chunk_bytes)
    began = time.perf_counter()
    for _ in range(count):
        chunk_head(bytes(16), 1 << 30, chunk_bytes, 0, 0xFFFFFFFF, chunk_bytes)
    made = time.perf_counter()
    payload = head + data
    for _ in range(count):
        decode_message(payload)
    return (made - began) / count * 1e6, (time.perf_counter() - made) / count * 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="MiB of the object")
    parser.add_argument("--directory", help="where to write (default: the temporary directory)")
    options = parser.parse_args()
    print(f"{'chunk':>8} {'elapsed':>10} {'CPU':>10} {'make':>8} {'read':>8}")
    for chunk_bytes in (64 << 10, 256 << 10, 1 << 20):
        with tempfile.TemporaryDirectory(dir=options.directory) as name:
            size = options.size << 20
            elapsed, cpu = asyncio.run(transfer(Path(name), size, chunk_bytes))
        made, read = codec(chunk_bytes)
        rates = [f"{size / seconds / 1e6:7.0f} MB/s"[-10:] for seconds in (elapsed, cpu)]
        print(f"{chunk_bytes:8} {rates[0]:>10} {rates[1]:>10} {made:5.1f} µs {read:5.1f} µs")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
