"""One node of the kill test under mixed load: `python -m tests.node.mixed_worker ROLE ROOT`.

The source sends numbered messages, messages that expire on the way, messages that it cancels, files
and jobs, into stores that are too small for all of it.  What it was told to be durable it notes in
its own store; the sink notes how often it got each thing, in the transaction that consumes it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from stack.adapters.loop import run
from stack.core.errors import StoreFullError
from stack.node.config import StoreSection
from stack.node.node import Node
from stack.ports.application import Outgoing
from stack.ports.store import Write
from stack.services.jobs import JobContext, JobState, RetryPolicy
from stack.services.messages import send_message
from tests.node.kill_worker import NEXT, SINK, SPACE, config

T = TypeVar("T")

GONE = "gone"
"""Messages that were cancelled before they were given to a link."""

FILES = "files"
JOBS = "jobs"
WEEK_MS = 7 * 86_400_000
QUOTA_BYTES = 300_000


def content(number: str) -> bytes:
    """What is in the file of this number."""
    return hashlib.shake_256(number.encode()).digest(40_000)


async def patiently(step: Callable[[], Awaitable[T]]) -> T:
    """Do it as soon as the store has room."""
    while True:
        try:
            return await step()
        except StoreFullError:
            await asyncio.sleep(0.01)


async def send_messages(node: Node, root: Path) -> None:
    """Numbered ones, short-lived ones, and ones that are cancelled at once."""
    number = int(node.port.read(SPACE, NEXT) or b"0")
    while not (root / "enough").exists():
        batch = [
            Outgoing(SINK, b"%d %s" % (n, bytes(n % 900)), WEEK_MS, "app")
            for n in range(number, number + 10)
        ]
        short = [Outgoing(SINK.with_service("nobody"), bytes(2000), 30, "app", 0)] * 3
        number += len(batch)
        write = [Write(SPACE, NEXT, b"%d" % number)]
        await patiently(lambda: node.port.commit(send=[*batch, *short], write=write))  # noqa: B023
        name = node.port.entropy(8).hex()
        doomed = await patiently(
            lambda: send_message(node.port, SINK, b"gone/%s" % name.encode(), service="app")  # noqa: B023
        )
        cancelled = await node.cancel(str(doomed))
        if cancelled.bundles and not cancelled.under_way:
            await node.port.commit(write=[Write(GONE, name, b"")])
        while node.waiting_bytes > QUOTA_BYTES * 2 // 3:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def send_objects(node: Node, root: Path) -> None:
    """One file, then one job with the file as its input, and so on."""
    service, jobs = node.services.files, node.services.jobs
    while not (root / "enough").exists():
        number = str(len(node.port.read_all(FILES)))
        path = root / f"{number}.bin"
        path.write_bytes(content(number))
        sent = await patiently(lambda: service.send(path, SINK))  # noqa: B023
        await node.port.commit(write=[Write(FILES, sent.hex(), number.encode())])
        job = await patiently(
            lambda: jobs.submit(SINK, "digest", inputs=[path], retry=RetryPolicy(attempts=16))  # noqa: B023
        )
        await node.port.commit(write=[Write(JOBS, job.hex(), number.encode())])
        await service.wait(sent)
    for key, value in node.port.read_all(JOBS):
        status = await jobs.wait(bytes.fromhex(key))
        assert status.state is JobState.FINISHED, status
        right = hashlib.sha256(content(value.decode())).hexdigest()
        assert status.files["digest.txt"].read_text() == right
    for key, _ in node.port.read_all(FILES):
        await service.wait(bytes.fromhex(key))


async def produce(node: Node, root: Path) -> None:
    """Everything, until told to stop; then wait until it has left."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send_messages(node, root))
        tasks.create_task(send_objects(node, root))
    while node.gauges()["store.bundles"]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    (root / "sent").touch()
    await asyncio.Event().wait()


async def digest(context: JobContext) -> None:
    """The handler of the jobs."""
    right = hashlib.sha256(context.inputs[0].read_bytes()).hexdigest()
    context.output("digest.txt").write_text(right)


async def count_files(node: Node) -> None:
    """Note each file once, together with its being handled."""
    inbox = node.services.files.inbox
    while True:
        received = await inbox.receive()
        whole = received.sha256 == hashlib.sha256(content(received.name.split(".")[0])).digest()
        key = received.object_id.hex()
        before = int(node.port.read(FILES, key) or b"0")
        value = b"%d" % (before + 1 if whole else -1)
        await node.port.commit(write=[inbox.taken(received), Write(FILES, key, value)])


async def count_messages(node: Node, root: Path) -> None:
    """Note how often each message came, together with its consumption."""
    endpoint = node.port.register("app")
    while True:
        deliveries = await endpoint.receive_many(64)
        writes = []
        for delivery in deliveries:
            name = bytes(delivery.payload).split(b" ", 1)[0].decode()
            before = int(node.port.read(SPACE, name) or b"0")
            writes.append(Write(SPACE, name, b"%d" % (before + 1)))
        await node.port.commit(consume=deliveries, write=writes)


async def finish(node: Node, root: Path) -> None:
    """Say when nothing is left to be done."""
    while not (root / "sent").exists() or node.gauges()["store.bundles"]:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    (root / "complete").touch()


async def consume(node: Node, root: Path) -> None:
    """All of it, and nothing of `nobody`."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(count_files(node))
        tasks.create_task(count_messages(node, root))
        tasks.create_task(finish(node, root))


async def main(role: str, root: Path) -> None:
    """Run until killed."""
    store = StoreSection(quota_bytes=QUOTA_BYTES)
    settings = dataclasses.replace(config(role, root), store=store)
    async with Node(settings, handlers={"digest": digest}) as node:
        print("ready", flush=True)
        await (produce if role == "source" else consume)(node, root)


if __name__ == "__main__":
    run(main(sys.argv[1], Path(sys.argv[2])))
