"""Bundles per second between two nodes in two processes, over LTP on loopback UDP.

    python -m tests.benchmarks.bench_ltp [--seconds N] [--sizes 1024,65536] [--protect all]

Each row: one sender process with an application that always has bundles to send, one receiver
process whose application consumes every one.  *durable*: SQLite stores, a bundle is acknowledged
after its commit; *memory*: stores in memory.  A bundle counts when the receiving application has
durably consumed it.  Microseconds are processor time of one bundle at the sender and the receiver:
they move less than bundles per second do on a machine that others use too.

Protections, beside each other in one run: *clear*; *ltp*: LTP authentication alone; *bcb*: the
payload encrypted; *bib*: signed too; *default*: encrypted, over LTP with authentication, as a node
does with a key file; *label*: the same with a data policy; *audit*: with one that has written down
what happens to its data.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from interop.machines.ports import free_ports
from stack.adapters.loop import run
from stack.core.eid import Eid
from stack.engines.ltp import LtpConfig
from stack.node.config import (
    LinkConfig,
    LogConfig,
    NodeConfig,
    PolicyConfig,
    SecurityConfig,
    StoreSection,
)
from stack.node.node import Node
from stack.policy import DataPolicy, NodeSet
from stack.ports.application import Outgoing
from stack.security import new_key_file

SIZES = (1024, 10_240, 65_536, 1_048_576)
SEND_BATCH_BYTES = 256 * 1024
WAITING_BYTES_MAX = 16 * 1024 * 1024
PRODUCERS = 16
"""Each waits for its commit: so many that the application is never what is slow."""

RECEIVE_BATCH = 2048

DIRECTORY = "".join(
    f'[[node]]\nid = "dtn://{name}/"\njurisdictions = ["{state}"]\n'
    for name, state in (("a", "KR"), ("b", "NZ"))
)
READERS, REST = NodeSet.parse("KR | NZ"), NodeSet.parse("KR | NZ | EU")
POLICIES = {
    "": None,
    "label": DataPolicy(readers=READERS, rest=REST),
    "audit": DataPolicy(readers=READERS, rest=REST, audit=True),
}


class Protection(NamedTuple):
    """What is done for a bundle."""

    encrypt: bool = False
    sign: bool = False
    authenticate: bool = False
    label: str = ""
    """Which of `POLICIES` it has."""


PROTECTIONS = {
    "clear": Protection(),
    "ltp": Protection(authenticate=True),
    "bcb": Protection(encrypt=True),
    "bib": Protection(encrypt=True, sign=True),
    "default": Protection(encrypt=True, authenticate=True),
    "label": Protection(encrypt=True, authenticate=True, label="label"),
    "audit": Protection(encrypt=True, authenticate=True, label="audit"),
}


def node_config(
    name: str, peer: str, root: Path, ports: tuple[int, int], kind: str, protection: Protection
) -> NodeConfig:
    """One end of the link."""
    first = name < peer
    ltp = LtpConfig(local_engine_id=1 if first else 2, remote_engine_id=2 if first else 1)
    link = LinkConfig(
        name=peer,
        peer=f"dtn://{peer}/",
        local=f"127.0.0.1:{ports[0]}",
        remote=f"127.0.0.1:{ports[1]}",
        authentication="on" if protection.authenticate else "off",
        ltp=ltp,
    )
    return NodeConfig(
        id=f"dtn://{name}/",
        data_dir=str(root / name),
        store=StoreSection(kind=kind),
        security=SecurityConfig(
            key_file=str(root / "keys.toml"),
            protect="all" if protection.encrypt else "none",
            sign_for=("*",) if protection.sign else (),
        ),
        policy=PolicyConfig(directory=str(root / "nodes.toml") if protection.label else ""),
        log=LogConfig(level="off"),
        links=(link,),
    )


def answer(pipe: Connection, stop: asyncio.Event, count: Callable[[], int]) -> None:
    """Answer a question for (count, processor time), or stop for anything else."""
    if pipe.recv() == "count":
        pipe.send((count(), time.process_time()))
    else:
        stop.set()


def receive(config: NodeConfig, pipe: Connection) -> None:
    """The receiving process: tells how many bundles it has consumed, and its CPU time."""

    async def main() -> None:
        count = 0
        loop = asyncio.get_running_loop()
        async with Node(config) as node:
            endpoint = node.port.register("sink")
            stop = asyncio.Event()
            loop.add_reader(pipe.fileno(), answer, pipe, stop, lambda: count)
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


def send(config: NodeConfig, size: int, label: str, pipe: Connection) -> None:
    """The sending process: always has `WAITING_BYTES_MAX` in the store."""

    async def main() -> None:
        payload = os.urandom(size)
        destination = Eid.parse(config.links[0].peer).with_service("sink")
        policy = POLICIES[label]
        one = Outgoing(destination, payload, 3_600_000, "source", policy=policy)
        batch = [one] * max(1, SEND_BATCH_BYTES // size)
        loop = asyncio.get_running_loop()
        async with Node(config) as node:
            stop = asyncio.Event()
            loop.add_reader(pipe.fileno(), answer, pipe, stop, lambda: 0)

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
            pipe.send(node.counters())

    run(main())


class Reading(NamedTuple):
    """What both processes have done until a moment, seconds."""

    bundles: int
    sender_cpu: float
    receiver_cpu: float
    wall: float


def measure(
    size: int, kind: str, protection: Protection, seconds: float, warm_up: float = 2.0
) -> dict[str, float]:
    """One row."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=os.environ.get("ORBITFERRY_BENCH_DIR")) as folder:
        root = Path(folder)
        new_key_file(root / "keys.toml", os.urandom, "bench")
        (root / "nodes.toml").write_text(DIRECTORY)
        here, there = free_ports(2)
        sink = node_config("b", "a", root, (there, here), kind, protection)
        source = node_config("a", "b", root, (here, there), kind, protection)
        sink_pipe, sink_end = context.Pipe()
        source_pipe, source_end = context.Pipe()
        receiver = context.Process(target=receive, args=(sink, sink_end))
        receiver.start()
        sink_pipe.recv()
        sender = context.Process(target=send, args=(source, size, protection.label, source_end))
        sender.start()
        time.sleep(warm_up)

        def read() -> Reading:
            for pipe in (sink_pipe, source_pipe):
                pipe.send("count")
            (count, receiver_cpu), (_, sender_cpu) = sink_pipe.recv(), source_pipe.recv()
            return Reading(count, sender_cpu, receiver_cpu, time.perf_counter())

        first = read()
        time.sleep(seconds)
        last = read()
        source_pipe.send("stop")
        counters = source_pipe.recv()
        sender.join(10)
        sink_pipe.send("stop")
        receiver.join(10)
    count, sender_cpu, receiver_cpu, wall = map(float.__sub__, map(float, last), map(float, first))
    rate = count / wall
    link = {key.split(".ltp.")[-1]: n for key, n in counters.items() if ".ltp." in key}
    return {
        "rate": rate,
        "gbit_s": rate * size * 8 / 1e9,
        "sender_us": sender_cpu * 1e6 / max(1, count),
        "receiver_us": receiver_cpu * 1e6 / max(1, count),
        "resent": link["data_bytes_resent"] / max(1, link["data_bytes_sent"]),
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench_ltp")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--kinds", default="durable,memory")
    parser.add_argument(
        "--protect", default="clear,default", help=f"all, or some of {','.join(PROTECTIONS)}"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    protect = ",".join(PROTECTIONS) if options.protect == "all" else options.protect
    rows = []
    if not options.json:
        print("LTP, 1400-octet segments, loopback, two processes")
        print("    bundle    store  protection  bundles/s   Gbit/s   tx us   rx us  resent")
    columns = itertools.product(
        map(int, options.sizes.split(",")), options.kinds.split(","), protect.split(",")
    )
    for size, kind, name in columns:
        store = "sqlite" if kind == "durable" else "memory"
        row = measure(size, store, PROTECTIONS[name], options.seconds)
        rows.append({"size": size, "store": kind, "protection": name, **row})
        if not options.json:
            print(
                f"{size:>10} {kind:>8} {name:>11} {row['rate']:>10,.0f} {row['gbit_s']:>8.2f} "
                f"{row['sender_us']:>7.0f} {row['receiver_us']:>7.0f} {row['resent']:>7.2%}",
                flush=True,
            )
    if options.json:
        print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
