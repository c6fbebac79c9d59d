"""The test applications: they send numbered things, count what comes, and keep both counts in the
transactions that send and consume."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from stack.core.eid import Eid
from stack.core.errors import PolicyError, StoreError
from stack.node.node import Node
from stack.policy import DataPolicy
from stack.ports.application import Delivery, Outgoing
from stack.ports.store import Write
from stack.services.batch import Batch
from stack.services.files import Received
from stack.services.jobs import Handler, JobContext, JobStatus
from stack.services.jobs.messages import JobState, RetryPolicy
from stack.simulator.swarm.laws import Laws
from stack.simulator.swarm.ledger import GOT, MARKER, SENT, SPACE, RunLedger
from stack.simulator.swarm.options import LONG_S, FileOptions, JobOptions, MessageOptions, Options
from stack.simulator.swarm.plans import JOURNEYS_WANTED, journeys
from stack.simulator.swarm.world import Life, SwarmWorld

SERVICE: Final = "swarm"
RETRY_S: Final = 30.0
"""An application whose node has no room tries again after this time."""

ATTEMPTS: Final = 100
"""A job is run again as often as its node crashes."""

BATCH: Final = 8


def content(thing: str, seed: int, source: str, destination: str, octets: int) -> bytes:
    """What a thing consists of: its own description and the marker, again and again."""
    head = b"%b%b from %b to %b of %d|" % (
        MARKER,
        thing.encode(),
        source.encode(),
        destination.encode(),
        seed,
    )
    noise = random.Random(f"{seed}/{thing}").randbytes(32)
    unit = head + noise
    return (unit * (octets // len(unit) + 1))[: max(octets, len(head))]


def answer(octets: bytes) -> bytes:
    """What a job makes of its input: the same description, and all of it backwards."""
    return octets[: len(MARKER) + 24] + octets[::-1]


class ExpectedWork:
    """What is sent in a run, by the names of things."""

    def __init__(self, options: Options) -> None:
        seed = options.seed
        self.laws = Laws(options)
        self.messages: dict[str, MessageOptions] = {
            f"message/{one.number}": one for one in options.messages
        }
        self.files: dict[str, FileOptions] = {f"file/{one.number}": one for one in options.files}
        self.jobs: dict[str, JobOptions] = {f"job/{one.number}": one for one in options.jobs}
        self.contents: dict[str, bytes] = {
            thing: content(thing, seed, one.source, one.destination, one.octets)
            for table in (self.messages, self.files, self.jobs)
            for thing, one in table.items()
        }

    def due(self, options: Options) -> list[str]:
        """What must arrive after the faults: there are ways enough for it (and for what its
        services have to say to each other), and its lifetime is long."""
        found = []
        tables: tuple[dict[str, Any], ...] = (self.messages, self.files, self.jobs)
        counts: dict[tuple[tuple[tuple[str, str], ...], frozenset[str]], int] = {}
        for table in tables:
            for thing, one in table.items():
                pair = (one.source, one.destination)
                pairs = (pair,) if thing in self.messages else (pair, pair[::-1])
                among = self.laws.carriers(thing, one.source, one.destination)
                if among is None:
                    continue
                if (pairs, among) not in counts:
                    counts[pairs, among] = journeys(options, pairs, options.faults_s, among)
                lasts = not isinstance(one, MessageOptions) or one.lifetime_s >= LONG_S
                lasts &= one.policy is None or not one.policy.expires_s
                if lasts and counts[pairs, among] >= JOURNEYS_WANTED:
                    found.append(thing)
        return found


class Applications:
    """The applications of all nodes of a run."""

    def __init__(self, world: SwarmWorld, expected: ExpectedWork) -> None:
        self.world = world
        self.expected = expected
        self.ledger: RunLedger = world.ledger
        self._folder = world.root / "sources"
        self._folder.mkdir()
        for thing in (*expected.files, *expected.jobs):
            self._source(thing).write_bytes(expected.contents[thing])
        for thing, job in expected.jobs.items():
            world.handlers[handler_of(thing)] = self._handler(thing, job)
        world.application = self.begin

    def _source(self, thing: str) -> Path:
        return self._folder / thing.replace("/", "-")

    def begin(self, life: Life) -> asyncio.Task[None]:
        """Start the application of a node that has just started."""
        name, node = life.name, life.node
        ledger, options = self.ledger, self.world.options
        for thing in sorted(ledger.accepted):
            if self._source_of(thing) == name and not self._sent(node, thing):
                what = f"{name} had accepted {thing}, and has forgotten it after a restart"
                self.world.problem("lost", what)
        for key, value in node.port.read_all(SPACE, GOT):
            ledger.counted(key.removeprefix(GOT), int(value))
        work: list[Coroutine[Any, Any, None]] = [self._receive(name, node)]
        if options.files or options.jobs:
            work.append(self._receive_files(name, node))
        work += [
            self._send(node, name, thing)
            for table in (self.expected.messages, self.expected.files, self.expected.jobs)
            for thing, one in table.items()
            if one.source == name
        ]
        return self.world.loop.create_task(_all(work))

    def _source_of(self, thing: str) -> str:
        expected = self.expected
        tables = (expected.messages, expected.files, expected.jobs)
        return next(table[thing].source for table in tables if thing in table)

    def _sent(self, node: Node, thing: str) -> bool:
        if thing in self.expected.jobs:
            return self.status(node, thing) is not None
        return node.port.read(SPACE, SENT + thing) is not None

    # ---- sending -------------------------------------------------------------------------

    async def _send(self, node: Node, name: str, thing: str) -> None:
        if self._sent(node, thing):
            self.ledger.accepted.add(thing)
            if thing in self.expected.jobs:
                await self._follow(node, thing)
            return
        expected, loop = self.expected, self.world.loop
        one = expected.messages.get(thing) or expected.files.get(thing) or expected.jobs[thing]
        await asyncio.sleep(max(0.0, one.at_s - loop.time()))
        while True:
            try:
                await self._hand_over(node, thing)
                break
            except StoreError:
                await asyncio.sleep(RETRY_S)
            except PolicyError as error:
                self._judge(thing, name, one.destination, refused=str(error))
                return
        self._judge(thing, name, one.destination)
        self.ledger.accepted.add(thing)
        if thing in expected.jobs:
            await self._follow(node, thing)

    def _judge(self, thing: str, source: str, destination: str, refused: str = "") -> None:
        """A node has taken a thing from its application, or has refused it for its policy."""
        laws, world = self.expected.laws, self.world
        self.ledger.checks["refused"] += 1
        ended = laws.ended(thing, world.clocks[source].latest_ms)
        if laws.may_send(thing, source, destination) == bool(refused) and not (refused and ended):
            what = f"refuses {thing}: {refused}" if refused else f"sends {thing}, and may not"
            world.problem("refused", f"{source} {what}")

    async def _hand_over(self, node: Node, thing: str) -> None:
        expected = self.expected
        policy = expected.laws.policy(thing)
        note = Write(SPACE, SENT + thing, b"1")
        if (message := expected.messages.get(thing)) is not None:
            outgoing = Outgoing(
                Eid.parse(f"dtn://{message.destination}/{SERVICE}"),
                expected.contents[thing],
                round(message.lifetime_s * 1000),
                SERVICE,
                message.priority,
                policy=policy,
            )
            await node.port.commit(write=[note], send=[outgoing])
        elif (file := expected.files.get(thing)) is not None:
            prepared = await node.services.files.prepare(
                self._source(thing),
                Eid.parse(f"dtn://{file.destination}/"),
                name=thing.replace("/", "-"),
                priority=file.priority,
                policy=policy,
            )
            await node.port.commit(write=[note, *prepared.writes])
            node.services.files.start(prepared)
        else:
            job = expected.jobs[thing]
            await node.services.jobs.submit(
                Eid.parse(f"dtn://{job.destination}/"),
                handler_of(thing),
                {},
                [self._source(thing)],
                retry=RetryPolicy(attempts=ATTEMPTS),
                policy=policy,
                wait_for_path=True,
            )

    # ---- receiving -----------------------------------------------------------------------

    async def _receive(self, name: str, node: Node) -> None:
        endpoint = node.port.register(SERVICE)
        try:
            while True:
                for delivery in await endpoint.receive_many(BATCH):
                    await self._take(name, node, delivery)
        finally:
            endpoint.close()

    async def _take(self, name: str, node: Node, delivery: Delivery) -> None:
        octets = bytes(delivery.payload)
        thing = self._recognise(octets, self.expected.messages)
        self.ledger.checks["altered"] += 1
        if not thing:
            self.world.problem("altered", f"{name} got {octets[:80]!r}, which nobody sent")
        else:
            message = self.expected.messages[thing]
            source = str(delivery.id.source.node)
            if (source, message.destination) != (f"dtn://{message.source}/", name):
                self.world.problem("misdelivered", f"{thing} from {delivery.id.source} at {name}")
        self._check_policy(thing, name, delivery.policy)
        batch = Batch()
        batch.consumed = [delivery]
        await self._count(node, thing, batch)

    def _recognise(self, octets: bytes, table: dict[str, Any]) -> str:
        """The thing that has this content, or nothing."""
        thing = octets[len(MARKER) : len(MARKER) + 24].split(b" ", 1)[0].decode("ascii", "replace")
        return thing if thing in table and self.expected.contents[thing] == octets else ""

    async def _receive_files(self, name: str, node: Node) -> None:
        inbox = node.services.files.inbox
        while True:
            await self._take_file(name, node, await inbox.receive())

    async def _take_file(self, name: str, node: Node, received: Received) -> None:
        octets = _read(str(received.path))
        thing = self._recognise(octets, self.expected.files)
        self.ledger.checks["altered"] += 1
        if not thing:
            self.world.problem("altered", f"{name} got a wrong file {received.name}")
        elif self.expected.files[thing].destination != name:
            self.world.problem("misdelivered", f"{thing} at {name}")
        self._check_policy(thing, name, received.policy)
        batch = Batch()
        batch.add(node.services.files.inbox.taken(received))
        await self._count(node, thing, batch)

    def _check_policy(self, thing: str, name: str, policy: DataPolicy | None) -> None:
        """An application gets a thing under a policy."""
        self.ledger.checks["label"] += 1
        if thing and policy != self.expected.laws.policy(thing):
            self.world.problem("label", f"{name} gets {thing} under {policy}")
        self._check_reader(thing, name)

    def _check_reader(self, thing: str, name: str) -> None:
        """A thing is in clear at a node."""
        self.ledger.checks["readers"] += 1
        if not self.expected.laws.may_have(thing, name):
            self.world.problem("readers", f"{name} has {thing} in clear, and is no reader")

    async def _count(self, node: Node, thing: str, batch: Batch) -> None:
        count = int(node.port.read(SPACE, GOT + thing) or b"0") + 1
        batch.write(SPACE, GOT + thing, b"%d" % count)
        await batch.commit(node.port)
        self.ledger.counted(thing, count)
        self.world.changed.set()

    # ---- jobs ----------------------------------------------------------------------------

    def _handler(self, thing: str, job: JobOptions) -> Handler:
        async def run(context: JobContext) -> None:
            octets = context.inputs[0].read_bytes()
            if octets != self.expected.contents[thing]:
                self.world.problem("altered", f"the input of {thing} is wrong")
            self._check_reader(thing, job.destination)
            await asyncio.sleep(job.run_s)
            context.output("result.bin").write_bytes(answer(octets))

        return run

    def status(self, node: Node, thing: str) -> JobStatus | None:
        """What a node knows of one of its jobs."""
        wanted = handler_of(thing)
        for status in node.services.jobs.all_status():
            if status.handler == wanted:
                return status
        return None

    async def _follow(self, node: Node, thing: str) -> None:
        status = self.status(node, thing)
        assert status is not None
        status = await node.services.jobs.wait(status.job_id)
        self.ledger.checks["altered"] += 1
        if status.state is not JobState.FINISHED or not status.complete:
            job = self.expected.jobs[thing]
            if self.expected.laws.may_send(thing, job.destination, job.source):  # what it makes
                self.world.problem("lost", f"{thing} ended as {status.state.name}: {status.text}")
            return
        files = {name: path.read_bytes() for name, path in status.files.items()}
        if files != {"result.bin": answer(self.expected.contents[thing])}:
            self.world.problem("altered", f"{thing} has results {sorted(files)}, or wrong ones")
        self.ledger.counted(thing, 1)
        self.world.changed.set()


def _read(path: str) -> bytes:
    """All of a file; in virtual time that takes no time."""
    return Path(path).read_bytes()


def handler_of(thing: str) -> str:
    """The name of a job's handler."""
    return thing.replace("/", "-")


async def _all(work: list[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one)
