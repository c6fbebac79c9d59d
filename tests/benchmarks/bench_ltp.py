"""Bundles per second between two nodes in two processes, over LTP on loopback UDP.

    python -m tests.benchmarks.bench_ltp [--seconds N] [--sizes 1024,65536] [--security]

Each row: one sender process with an application that always has bundles to send, one receiver
process whose application consumes every one.  *durable*: SQLite stores, a bundle is acknowledged
after its commit; *memory*: stores in memory.  A bundle counts when the receiving application has
durably consumed it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from stack.adapters.loop import run
from stack.core.eid import Eid
from stack.engines.ltp import LtpConfig
from stack.node.config import LinkConfig, LogConfig, NodeConfig, SecurityConfig, StoreSection
from stack.node.node import Node
from stack.ports.application import Outgoing
from stack.security import new_key_file

SIZES = (1024, 10_240, 65_536, 1_048_576)
SEND_BATCH_BYTES = 256 * 1024
WAITING_BYTES_MAX = 16 * 1024 * 1024
PRODUCERS = 4
RECEIVE_BATCH = 2048


def free_port() -> int:
    """A UDP port that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def node_config(
    name: str, peer: str, root: Path, ports: tuple[int, int], kind: str, secure: bool
) -> NodeConfig:
    """One end of the link."""
    first = name < peer
    ltp = LtpConfig(local_engine_id=1 if first else 2, remote_engine_id=2 if first else 1)
    link = LinkConfig(
        name=peer,
        peer=f"dtn://{peer}/",
        local=f"127.0.0.1:{ports[0]}",
        remote=f"127.0.0.1:{ports[1]}",
        ltp=ltp,
    )
    return NodeConfig(
        id=f"dtn://{name}/",
        data_dir=str(root / name),
        store=StoreSection(kind=kind),
        security=SecurityConfig(
            key_file=str(root / "keys.toml") if secure else "",
            protect="all" if secure else "none",
        ),
        log=LogConfig(level="off"),
        links=(link,),
    )


def receive(config: NodeConfig, pipe: Connection) -> None:
    """The receiving process: tells how many bundles it has consumed, and its CPU time."""

    async def main() -> None:
        count = 0
        loop = asyncio.get_running_loop()
        async with Node(config) as node:
            endpoint = node.port.register("sink")
            stop = asyncio.Event()

            def command() -> None:
                word = pipe.recv()
                if word == "count":
                    pipe.send((count, time.process_time()))
                else:
                    stop.set()

            loop.add_reader(pipe.fileno(), command)
            pipe.send("ready")

            async def consume() -> None:
                nonlocal count
                while True:
                    deliveries = await endpoint.receive_many(RECEIVE_BATCH)
                    await node.port.commit(consume=deliveries)
                    count += len(deliveries)

            task = asyncio.create_task(consume())
            await stop.wait()
            task.cancel()
            loop.remove_reader(pipe.fileno())

    run(main())


def send(config: NodeConfig, size: int, pipe: Connection) -> None:
    """The sending process: always has `WAITING_BYTES_MAX` in the store."""

    async def main() -> None:
        payload = os.urandom(size)
        destination = Eid.parse(config.links[0].peer).with_service("sink")
        batch = [Outgoing(destination, payload, 3_600_000, "source")] * max(
            1, SEND_BATCH_BYTES // size
        )
        loop = asyncio.get_running_loop()
        async with Node(config) as node:
            stop = asyncio.Event()
            loop.add_reader(pipe.fileno(), stop.set)

            async def produce() -> None:
                while True:
                    await node.port.commit(send=batch)
                    while node.waiting_bytes > WAITING_BYTES_MAX:  # noqa: ASYNC110
                        await asyncio.sleep(0.002)

            tasks = [asyncio.create_task(produce()) for _ in range(PRODUCERS)]
            await stop.wait()
            for task in tasks:
                task.cancel()
            loop.remove_reader(pipe.fileno())
            pipe.send((node.counters(), time.process_time()))

    run(main())


def measure(
    size: int, kind: str, secure: bool, seconds: float, warm_up: float = 2.0
) -> dict[str, float]:
    """One row."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=os.environ.get("ORBITFERRY_BENCH_DIR")) as folder:
        root = Path(folder)
        new_key_file(root / "keys.toml", os.urandom, "bench")
        ports = free_port(), free_port()
        sink = node_config("b", "a", root, (ports[1], ports[0]), kind, secure)
        source = node_config("a", "b", root, ports, kind, secure)
        sink_pipe, sink_end = context.Pipe()
        source_pipe, source_end = context.Pipe()
        receiver = context.Process(target=receive, args=(sink, sink_end))
        receiver.start()
        sink_pipe.recv()
        sender = context.Process(target=send, args=(source, size, source_end))
        sender.start()
        time.sleep(warm_up)

        def count() -> tuple[int, float, float]:
            sink_pipe.send("count")
            number, cpu = sink_pipe.recv()
            return number, cpu, time.perf_counter()

        first, cpu_first, start = count()
        time.sleep(seconds)
        last, cpu_last, end = count()
        source_pipe.send("stop")
        counters, _ = source_pipe.recv()
        sender.join(10)
        sink_pipe.send("stop")
        receiver.join(10)
    rate = (last - first) / (end - start)
    link = {key.split(".ltp.")[-1]: n for key, n in counters.items() if ".ltp." in key}
    return {
        "rate": rate,
        "gbit_s": rate * size * 8 / 1e9,
        "receiver_cpu": (cpu_last - cpu_first) / (end - start),
        "resent": link["data_bytes_resent"] / max(1, link["data_bytes_sent"]),
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench_ltp")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--kinds", default="durable,memory")
    parser.add_argument("--security", action="store_true", help="encrypt and sign every bundle")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows = []
    if not options.json:
        print("LTP, 1400-octet segments, loopback, two processes")
        print("    bundle    store  bundles/s   Gbit/s  rx CPU  resent")
    for size in map(int, options.sizes.split(",")):
        for kind in options.kinds.split(","):
            store = "sqlite" if kind == "durable" else "memory"
            row = measure(size, store, options.security, options.seconds)
            rows.append({"size": size, "store": kind, **row})
            if not options.json:
                print(
                    f"{size:>10} {kind:>8} {row['rate']:>10,.0f} {row['gbit_s']:>8.2f} "
                    f"{row['receiver_cpu']:>7.0%} {row['resent']:>7.2%}",
                    flush=True,
                )
    if options.json:
        print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
