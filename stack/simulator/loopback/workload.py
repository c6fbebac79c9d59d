"""The work of a run: what is handed to the services, and what comes out at the other end."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stack.core.eid import Eid
from stack.core.errors import ConfigError
from stack.ports.application import BundleId
from stack.services.files import FileEvent
from stack.services.jobs import Handler, JobContext, JobStatus
from stack.services.jobs.messages import INPUTS_MAX
from stack.services.jobs.state import job_key
from stack.services.messages import Mailbox, send_message
from stack.services.names import MESSAGES, endpoint_of
from stack.simulator.loopback.code import InputFile, list_files
from stack.simulator.loopback.results import JobRow, ObjectRow
from stack.simulator.loopback.traffic import Traffic
from stack.simulator.loopback.world import LoopbackWorld
from stack.simulator.scenario import FileTask, JobTask, MessageTask, Scenario

HASH_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """The digest of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(HASH_BYTES):
            digest.update(piece)
    return digest.hexdigest()


@dataclass(slots=True)
class HandlerRun:
    """One run of a handler, as the satellite saw it."""

    started_s: float
    inputs: list[str]
    """Digests of the input files as they lay there."""

    finished_s: float | None = None


class HandlerLog:
    """Handlers that note when they ran and on what, by job key."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.runs: dict[str, HandlerRun] = {}
        self.handlers: dict[str, Handler] = {
            name: self._logged(handler) for name, handler in handlers.items()
        }

    def _logged(self, handler: Handler) -> Handler:
        async def logged(context: JobContext) -> None:
            loop = asyncio.get_running_loop()
            # The work directory is jobs/<key>/run-<n>/work.
            key = context.work_directory.parents[1].name
            run = self.runs[key] = HandlerRun(
                loop.time(), [sha256_of(path) for path in context.inputs]
            )
            await handler(context)
            run.finished_s = loop.time()

        return logged


@dataclass(slots=True)
class _Object:
    """An object on its way."""

    row: ObjectRow
    object_id: bytes = b""


@dataclass(slots=True)
class _Job:
    """A job on its way."""

    task: JobTask
    files: list[InputFile]
    job_id: bytes = b""
    submitted_s: float = 0.0
    inputs: list[_Object] = field(default_factory=list)


class Workload:
    """Hands over the tasks of a scenario at their times, and waits for their ends."""

    def __init__(self, world: LoopbackWorld, files: Sequence[InputFile], log: HandlerLog) -> None:
        self._world = world
        self._scenario: Scenario = world.scenario
        self._files = list(files)
        self._log = log
        self._jobs: dict[str, _Job] = {}
        self._objects: list[_Object] = []
        self._messages: dict[BundleId, _Object] = {}
        self._arrivals: dict[tuple[str, bytes], float] = {}
        self._received: dict[tuple[str, bytes], Path] = {}
        self._finished: set[str] = set()
        self._changed = asyncio.Event()
        self._digests: dict[Path, str] = {}
        self.traffic = Traffic(world)

    # ---- while it runs ---------------------------------------------------------------------

    def listen(self) -> None:
        """Note what arrives; once the nodes run."""
        self.traffic.listen()
        for node_id, node in self._world.nodes.items():

            def arrived(event: FileEvent, node_id: str = node_id) -> None:
                if event.kind == "received" and event.progress.direction == "in":
                    at_s = self._world.now_s()
                    self._arrivals[node_id, event.progress.object_id] = at_s
                    self._changed.set()

            node.services.files.listen(arrived)

    def progress(self) -> tuple[int, int]:
        """Objects and generated bundles that have arrived, and those known to be under way, still
        to be sent, or there."""
        known = [one for one in self._objects if one.row.kind != "message"]
        arrived = len(self._arrivals)
        messages = len(self._objects) - len(known)
        waiting = sum(one.row.arrived_s is None for one in self._messages.values())
        there, all_traffic = self.traffic.progress()
        expected = max(arrived, len(known)) + messages + all_traffic
        return arrived + messages - waiting + there, expected

    async def run(self) -> None:
        """Do all tasks; returns when each has come to its end."""
        async with asyncio.TaskGroup() as group:
            collectors = [
                group.create_task(collect)
                for node_id in self._world.nodes
                for collect in (self._collect_files(node_id), self._collect_messages(node_id))
            ]
            tasks = [group.create_task(self._task(task)) for task in self._scenario.tasks]
            tasks.append(group.create_task(self.traffic.run()))
            for task in tasks:
                await task
            for collector in collectors:
                collector.cancel()

    async def _task(self, task: JobTask | FileTask | MessageTask) -> None:
        await asyncio.sleep(max(0.0, task.at_s - self._world.now_s()))
        match task:
            case JobTask():
                await self._job(task)
            case FileTask():
                await self._file(task)
            case MessageTask():
                await self._message(task)
        self._finished.add(task.name)

    async def _job(self, task: JobTask) -> None:
        count = len(self._files)
        first, last = count * (task.part - 1) // task.parts, count * task.part // task.parts
        files = self._files[first:last][: task.files_max or None]
        if len(files) > INPUTS_MAX:
            raise ConfigError(
                "jobs.parts",
                f"job {task.name!r} would have {len(files)} inputs, at most {INPUTS_MAX} go",
                "more jobs with more parts, or files packed into archives",
            )
        job = self._jobs[task.name] = _Job(task, files)
        if not files:
            return
        node = self._world.nodes[task.source]
        job.submitted_s = self._world.now_s()
        job.job_id = await node.services.jobs.submit(
            Eid.parse(task.destination),
            task.handler,
            task.args,
            [one.path for one in files],
            deadline_ms=max(1000, self._scenario.end_ms - node.port.dtn_ms()),
            priority=task.priority,
        )
        status = node.services.jobs.status(job.job_id)
        for ref, one in zip(status.inputs, files, strict=True):
            job.inputs.append(self._expect(task, "input", one.name, one.path, ref.object_id))
        await node.services.jobs.wait(job.job_id)

    async def _file(self, task: FileTask) -> None:
        node = self._world.nodes[task.source]
        files = list_files(self._scenario.path(task.path)) if task.path else self._files
        sent = []
        for one in files:
            object_id = await node.services.files.send(
                one.path,
                Eid.parse(task.destination),
                name=f"{task.name}/{one.name}",
                priority=task.priority,
            )
            sent.append(object_id)
            self._expect(task, "file", one.name, one.path, object_id)
        while not all((task.destination, one) in self._received for one in sent):
            if any(self._given_up(task, one) for one in sent):
                return
            self._changed.clear()
            await self._changed.wait()

    def _given_up(self, task: FileTask, object_id: bytes) -> bool:
        """Whether the sender has said that an object will not arrive."""
        progress = self._world.nodes[task.source].services.files.progress(object_id)
        return progress is not None and not progress.open and progress.state != "delivered"

    async def _message(self, task: MessageTask) -> None:
        node = self._world.nodes[task.source]
        payload = task.text.encode()
        row = ObjectRow(
            task=task.name,
            kind="message",
            name=task.name,
            source=task.source,
            destination=task.destination,
            bytes=len(payload),
            priority=task.priority,
            sent_s=self._world.now_s(),
            arrived_s=None,
            sha256_expected=hashlib.sha256(payload).hexdigest(),
            sha256_arrived="",
        )
        sent = _Object(row)
        self._objects.append(sent)
        destination = endpoint_of(Eid.parse(task.destination), MESSAGES)
        bundle = await send_message(node.port, destination, payload, priority=task.priority)
        self._messages[bundle] = sent
        while sent.row.arrived_s is None:
            self._changed.clear()
            await self._changed.wait()

    def _expect(
        self, task: JobTask | FileTask, kind: str, name: str, path: Path, object_id: bytes
    ) -> _Object:
        digest = self._digests.get(path)
        if digest is None:
            digest = self._digests[path] = sha256_of(path)
        row = ObjectRow(
            task=task.name,
            kind=kind,
            name=name,
            source=task.source,
            destination=task.destination,
            bytes=path.stat().st_size,
            priority=task.priority,
            sent_s=self._world.now_s(),
            arrived_s=None,
            sha256_expected=digest,
            sha256_arrived="",
        )
        sent = _Object(row, object_id)
        self._objects.append(sent)
        return sent

    async def _collect_files(self, node_id: str) -> None:
        async for received in self._world.nodes[node_id].services.files.inbox:
            self._received[node_id, received.object_id] = received.path
            self._changed.set()

    async def _collect_messages(self, node_id: str) -> None:
        async with Mailbox(self._world.nodes[node_id].port) as mailbox:
            async for delivery in mailbox:
                sent = self._messages.get(delivery.id)
                if sent is not None:
                    digest = hashlib.sha256(delivery.payload).hexdigest()
                    now_s = self._world.now_s()
                    sent.row = dataclasses.replace(sent.row, arrived_s=now_s, sha256_arrived=digest)
                    self._changed.set()

    # ---- afterwards ------------------------------------------------------------------------

    def unfinished(self) -> list[str]:
        """Names of tasks that have not come to their end."""
        return [task.name for task in self._scenario.tasks if task.name not in self._finished]

    def rows(
        self, references: Mapping[str, Mapping[str, str]]
    ) -> tuple[tuple[ObjectRow, ...], tuple[JobRow, ...]]:
        """Objects and jobs; `references` are digests of the results that each job should have,
        by job and name.  While the nodes' folders exist."""
        objects: list[ObjectRow] = []
        jobs: list[JobRow] = []
        for one in self._objects:
            row = one.row
            if row.kind == "file":
                path = self._received.get((row.destination, one.object_id))
                row = self._arrived(row, one.object_id, "" if path is None else sha256_of(path))
            if row.kind != "input":
                objects.append(row)
        for job in self._jobs.values():
            if job.job_id:
                inputs, results, entry = self._job_rows(job, references.get(job.task.name, {}))
                objects += inputs + results
                jobs.append(entry)
        return tuple(objects), tuple(jobs)

    def _arrived(self, row: ObjectRow, object_id: bytes, digest: str) -> ObjectRow:
        at_s = self._arrivals.get((row.destination, object_id))
        return dataclasses.replace(row, arrived_s=at_s, sha256_arrived=digest)

    def _job_rows(
        self, job: _Job, expected: Mapping[str, str]
    ) -> tuple[list[ObjectRow], list[ObjectRow], JobRow]:
        task = job.task
        status = self._world.nodes[task.source].services.jobs.status(job.job_id)
        run = self._log.runs.get(job_key(Eid.parse(task.source), job.job_id))
        digests = run.inputs if run is not None else [""] * len(job.inputs)
        inputs = [
            self._arrived(one.row, one.object_id, digest)
            for one, digest in zip(job.inputs, digests, strict=True)
        ]
        results = self._results(job, status, run, expected)
        there = [row.arrived_s for row in inputs if row.arrived_s is not None]
        back = [row.arrived_s for row in results if row.arrived_s is not None]
        complete = status.complete and len(back) == len(results)
        return (
            inputs,
            results,
            JobRow(
                name=task.name,
                handler=task.handler,
                source=task.source,
                destination=task.destination,
                priority=task.priority,
                submitted_s=job.submitted_s,
                inputs=len(inputs),
                input_bytes=sum(row.bytes for row in inputs),
                inputs_there_s=max(there) if len(there) == len(inputs) else None,
                started_s=None if run is None else run.started_s,
                finished_s=None if run is None else run.finished_s,
                first_result_s=min(back, default=None),
                done_s=max(back, default=None) if complete else None,
                results=len(results),
                result_bytes=sum(row.bytes for row in results),
                state=status.state,
                text=status.text,
            ),
        )

    def _results(
        self, job: _Job, status: JobStatus, run: HandlerRun | None, expected: Mapping[str, str]
    ) -> list[ObjectRow]:
        """The results that the satellite announced, and those that it should have had."""
        task = job.task
        rows = []
        for ref in status.outputs:
            path = status.files.get(ref.name)
            rows.append(
                ObjectRow(
                    task=task.name,
                    kind="result",
                    name=ref.name,
                    source=task.destination,
                    destination=task.source,
                    bytes=ref.size,
                    priority=ref.priority,
                    sent_s=run.finished_s or 0.0 if run is not None else 0.0,
                    arrived_s=self._arrivals.get((task.source, ref.object_id)),
                    sha256_expected=expected.get(ref.name, ""),
                    sha256_arrived="" if path is None else sha256_of(path),
                )
            )
        return rows

    def finished_jobs(self) -> list[tuple[JobTask, list[InputFile]]]:
        """Jobs that were submitted, with their inputs: what has a reference."""
        return [(job.task, job.files) for job in self._jobs.values() if job.job_id]

    def sending_state(self, row: ObjectRow) -> str:
        """What its sender knows of an object that did not arrive."""
        for one in self._objects:
            same = one.row.task == row.task and one.row.name == row.name and one.object_id
            if same and one.row.kind == row.kind:
                files = self._world.nodes[row.source].services.files
                progress = files.progress(one.object_id)
                if progress is not None:
                    return f"{progress.state} {progress.text}".strip()
        return "under way"
