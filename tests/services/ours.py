"""Our file service and our job service as the machines see them: one node and its disk, in virtual
time, whose bundles go wherever the machine likes."""

from __future__ import annotations

import abc
import asyncio
import pickle
import shutil
import tempfile
from collections.abc import Coroutine, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from link_models.clock import VirtualLoop
from stack.ports.store import Write
from stack.services.files import FilesService
from stack.services.jobs import JobClient, JobContext, JobServer
from stack.services.waiting import cancel_all
from tests.services.fake_port import FakeNet, FakePort
from tests.services.helpers import GS, GS_EID, SAT, SAT_EID, SMALL
from tests.services.job_nodes import QUICK

T = TypeVar("T")

SPACE = "app"
TURNS = 40
"""Turns of the loop within which all that is due at one time is done."""

DISK = "disk"
OF_NODE = ("state", "inbound", "outbound", "sequence", "refs")
DTN = [(GS, SAT_EID), (SAT, GS_EID)]


async def turns() -> None:
    """Let all be done that is due now."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class OurNode(abc.ABC):
    """One end, of which a subclass says what runs on it."""

    def __init__(self, end: int, folder: Path | None = None, now_ns: int = 0) -> None:
        """`folder` is where a process was that `save`d; a new one without."""
        self.end = end
        eid, self.other = DTN[end]
        self.root = folder or Path(tempfile.mkdtemp(prefix="orbitferry-services-"))
        self.loop = VirtualLoop(now_ns)
        self.net = FakeNet(seed=end)
        self.net.up = False  # bundles wait in the node: the machine takes them from there
        self.node = self.net.node(eid)
        self.tasks: list[asyncio.Task[None]] = []
        self.serial = 0
        self.runs: list[bytes] = []
        if (self.root / DISK).exists():
            of_node, of_net, self.serial, self.runs = pickle.loads((self.root / DISK).read_bytes())
            vars(self.node).update(of_node)
            self.net.random.setstate(of_net)
        self.run(self._begin())

    def save(self) -> None:
        """What the disk has is in the folder now."""
        of_node = {name: getattr(self.node, name) for name in OF_NODE}
        image = of_node, self.net.random.getstate(), self.serial, self.runs
        (self.root / DISK).write_bytes(pickle.dumps(image))

    # ---- what subclasses say

    @abc.abstractmethod
    def services(self, port: FakePort) -> list[Coroutine[Any, Any, None]]:
        """One process: what runs in it."""

    # ---- what the machine asks

    def advance(self, now_ns: int) -> None:
        self.run(asyncio.sleep(max(0.0, now_ns / 1e9 - self.loop.time())))

    def poll(self) -> Iterable[Any]:
        out, self.node.outbound = self.node.outbound, []
        self.node.port.room.set()
        self.run(asyncio.sleep(0))
        return sorted(out, key=lambda bundle: -bundle.outgoing.priority)

    def receive(self, thing: Any) -> None:
        self.run(self._deliver(thing))

    def restart(self) -> None:
        self.run(self._restart())

    def close(self) -> None:
        self.node.port.dead = True
        self.loop.run_until_complete(cancel_all(self.tasks))
        self.loop.close()
        shutil.rmtree(self.root)

    # ---- the process

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it, and all that comes of it at once; begin anew whenever it kills the process."""

        async def main() -> T:
            result = await work
            await turns()
            if self.node.crashed.is_set():
                await self._restart()
            return result

        return self.loop.run_until_complete(main())

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """The same of a call that has to return: nothing kills the process meanwhile."""
        node = self.node
        left = None if node.crash_at is None else node.crash_at - node.commits
        node.crash_at = None
        result = self.run(work)
        node.crash_at = None if left is None else node.commits + left
        return result

    async def _begin(self) -> None:
        self.tasks = [asyncio.ensure_future(one) for one in self.services(self.node.port)]

    async def _restart(self) -> None:
        self.node.port.dead = True
        await cancel_all(self.tasks)
        self.node.restart()
        await self._begin()
        await turns()

    async def _deliver(self, bundle: Any) -> None:
        out = bundle.outgoing
        if self.node.port.dtn_ms() < bundle.expires_ms:
            self.node.deliver(
                bundle.id, out.destination, bytes(out.payload), bundle.expires_ms, out.priority
            )

    def crash_at(self, commits: int, *, applies: bool) -> None:
        """The process is killed at one of its next commits, before or after it took effect."""
        self.node.crash_at = self.node.commits + commits
        self.node.crash_applies = applies


class OurFiles(OurNode):
    """The file service, and an application that takes what comes."""

    def __init__(self, *where: Any) -> None:
        self.told: set[str] = set()
        super().__init__(*where)

    def services(self, port: FakePort) -> list[Coroutine[Any, Any, None]]:
        self.files = FilesService(port, self.root / "files", SMALL)
        return [self.files.run(), self._take(port, self.files)]

    async def _take(self, port: FakePort, files: FilesService) -> None:
        while True:
            received = await files.inbox.receive()
            key = port.entropy(8).hex()  # one for each time that it takes something
            entry = f"{received.name}\n{received.path}".encode()
            await port.commit(write=[files.inbox.taken(received), Write(SPACE, key, entry)])

    def send(self, name: str, content: bytes) -> Hashable:
        self.serial += 1
        path = self.root / "src" / str(self.serial)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return self.call(self.files.send(path, self.other, name=name))

    def cancel(self, file: Hashable) -> None:
        assert isinstance(file, bytes)
        self.call(self.files.cancel(file))

    def states(self) -> Mapping[Hashable, str]:
        return self.run(self._states())

    async def _states(self) -> Mapping[Hashable, str]:
        return {
            one.object_id: "open" if one.open else one.state
            for one in self.files.all_progress()
            if one.direction == "out"
        }

    def received(self) -> Iterable[tuple[str, bytes]]:
        found = []
        for (space, key), entry in self.node.state.items():
            if space == SPACE and key not in self.told:
                self.told.add(key)
                name, path = entry.decode().split("\n")
                found.append((name, Path(path).read_bytes()))
        return found


class OurJobs(OurNode):
    """The job service: end 0 is the client, end 1 the server."""

    def services(self, port: FakePort) -> list[Coroutine[Any, Any, None]]:
        if self.end == 0:
            self.files = FilesService(port, self.root / "files", SMALL)
            self.client = JobClient(port, self.files, QUICK)
            return [self.files.run(), self.client.run()]
        files = FilesService(port, self.root / "files", replace(SMALL, collision="replace"))
        return [files.run(), JobServer(port, files, {"back": self.back}, QUICK).run()]

    async def back(self, context: JobContext) -> None:
        data = context.inputs[0].read_bytes()
        self.runs.append(data)
        await asyncio.sleep(10)
        context.output("back.bin").write_bytes(data[::-1])

    def submit(self, data: bytes) -> Hashable:
        self.serial += 1
        path = self.root / f"{self.serial}.bin"
        path.write_bytes(data)
        return self.call(self.client.submit(self.other, "back", inputs=[path]))

    def cancel(self, job: Hashable) -> None:
        assert isinstance(job, bytes)
        self.call(self.client.cancel(job))

    def states(self) -> Mapping[Hashable, str]:
        return {one.job_id: str(one.state) for one in self.client.all_status()}

    def results(self, job: Hashable) -> Sequence[bytes]:
        assert isinstance(job, bytes)
        return [path.read_bytes() for path in self.client.status(job).files.values()]

    def begun(self) -> Sequence[bytes]:
        return self.runs
