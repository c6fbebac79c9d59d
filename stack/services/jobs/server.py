"""The server of jobs: takes them, waits for their inputs, runs them, sends their results.

A job's state is durable, and its results enter the transaction that ends it: however often its
request arrives, and whenever the node restarts, its results are sent exactly once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from stack.core.clock import MILLISECOND
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError, StoreError
from stack.ports.application import AppPort, Delivery
from stack.services.batch import Batch
from stack.services.files import FileEvent, FilesService, Offer, Prepared, Received
from stack.services.jobs import messages as wire
from stack.services.jobs.attempt import Attempt, Output, remove_tree
from stack.services.jobs.config import JobsConfig
from stack.services.jobs.context import Handler, JobFailed
from stack.services.jobs.messages import FileRef, JobState, Request
from stack.services.jobs.state import (
    TAG_IN,
    TAG_OUT,
    JobStep,
    ServerJob,
    base_name,
    job_key,
    job_of_tag,
    tag_of,
)
from stack.services.jobs.table import JobTable
from stack.services.names import JOBS, service_of
from stack.services.waiting import cancel_all

AcceptsJob = Callable[[Eid, Request], bool]
"""`accepts(source, request)`: whether a job may run here.  The place for rules about whose data
may be computed on, by whom."""

_RECEIVE_BATCH = 32


def accept_any_job(source: Eid, request: Request) -> bool:
    """The rule of a server that runs whatever its handlers and limits allow."""
    return True


class JobServer:
    """Runs jobs with `handlers`, by name.

        server = JobServer(port, files, {"hillshade": CommandHandler(argv=[...])})
        async with asyncio.TaskGroup() as group:
            group.create_task(files.run())
            group.create_task(server.run())

    Make it before `files` runs.  Inputs and results lie under ``jobs`` in the directory of
    `files`, and go when the job is over and its results were delivered.
    """

    def __init__(
        self,
        port: AppPort,
        files: FilesService,
        handlers: Mapping[str, Handler],
        config: JobsConfig | None = None,
        *,
        accepts: AcceptsJob = accept_any_job,
    ) -> None:
        """Registers the service.  Raises `LocalError` when it is taken."""
        self._port = port
        self._files = files
        self._handlers = dict(handlers)
        self._config = config or JobsConfig()
        self._accepts = accepts
        self._directory = files.directory / "jobs"
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._attempts: dict[str, Attempt] = {}
        self._results: dict[bytes, str] = {}
        self._orphans: dict[str, Received] = {}
        self._table = JobTable(port, self._config, self._release_inputs)
        self._inbox = files.subscribe(TAG_IN, self._place)
        self._endpoint = port.register(service_of(port.node_id, JOBS))
        files.listen(self._on_file)
        self.malformed = 0
        """Bundles that were no message of this service."""

    async def run(self) -> None:
        """Serve until cancelled; runs that are under way are cut off then."""
        try:
            await self._recover()
            async with asyncio.TaskGroup() as group:
                for loop in (self._receive, self._take_inputs, self._tick):
                    group.create_task(loop())
                group.create_task(self._schedule(group))
        finally:
            self._endpoint.close()

    # -- starting

    async def _recover(self) -> None:
        """Decide on runs that were cut off, and remove what they left."""
        async with self._lock:
            self._table.load()
            batch = Batch()
            for job in self._table:
                if job.state is JobState.RUNNING:
                    self._cut_off(job, batch)
                keep = f"run-{job.attempt}" if job.state is JobState.FINISHED else ""
                self._remove_runs(job, keep)
                for ref in job.outputs:
                    progress = self._files.progress(ref.object_id)
                    if progress is not None and progress.open:
                        self._results[ref.object_id] = job.key
            await batch.commit(self._port)

    def _cut_off(self, job: ServerJob, batch: Batch) -> None:
        request = job.request
        assert request is not None
        text = f"run {job.attempt} was cut off by the end of the node's process"
        if request.retry.after_crash == "repeat" and job.attempt < request.retry.attempts:
            self._table.step(job, JobStep.REPEAT, batch, text)
        else:
            self._table.step(job, JobStep.FAIL, batch, text)

    def _remove_runs(self, job: ServerJob, keep: str) -> None:
        home = self._directory / job.key
        if not home.is_dir():
            return
        for name in os.listdir(home):
            if name.startswith("run-") and name != keep:
                remove_tree(home / name)

    # -- messages

    async def _receive(self) -> None:
        while True:
            deliveries = await self._endpoint.receive_many(_RECEIVE_BATCH)
            async with self._lock:
                batch = Batch()
                batch.consumed = deliveries
                for delivery in deliveries:
                    self._handle(delivery, batch)
                await batch.commit(self._port)
            self._wake.set()

    def _handle(self, delivery: Delivery, batch: Batch) -> None:
        source = delivery.id.source
        if delivery.admin or source.is_null:
            return
        try:
            message = wire.decode_message(delivery.payload)
        except DecodeError as error:
            self.malformed += 1
            self._port.trace("jobs.malformed", {"source": str(source), "error": str(error)})
            return
        job = self._table.get(job_key(source, message.job_id))
        match message:
            case wire.Request():
                self._on_request(delivery, message, job, batch)
            case wire.Cancel():
                self._on_cancel(delivery, message, job, batch)
            case wire.Ack():
                if job is not None:
                    self._table.acknowledge(job, batch)
            case wire.Report():
                self.malformed += 1  # that is for clients

    def _on_request(
        self, delivery: Delivery, request: Request, job: ServerJob | None, batch: Batch
    ) -> None:
        if job is None:
            job = self._begin(delivery, request.job_id, request)
            if job is None:
                return
            refusal = self._refusal(delivery.id.source, request)
            if refusal:
                self._table.step(job, JobStep.FAIL, batch, refusal)
                return
            self._table.keep(job, batch)
            self._check_inputs(job, batch)
        self._table.report(job, batch)

    def _begin(
        self, delivery: Delivery, job_id: bytes, request: Request | None
    ) -> ServerJob | None:
        if not self._table.room():
            # Without an answer the client repeats the request, when there may be room.
            self._port.trace("jobs.full", {"client": str(delivery.id.source)})
            return None
        source = delivery.id.source
        key = job_key(source, job_id)
        now_ms = self._port.dtn_ms()
        job = ServerJob(key, source, job_id, request, delivery.expires_ms, now_ms)
        self._table.admit(job)
        return job

    def _refusal(self, source: Eid, request: Request) -> str:
        """Why this job cannot run here, or nothing."""
        limits, most = request.limits, self._config.limits_max
        if request.handler not in self._handlers:
            return f"there is no handler {request.handler!r}"
        for name in ("time_s", "memory_bytes", "output_bytes"):
            if getattr(limits, name) > getattr(most, name):
                return f"{name} is limited to {getattr(most, name)}"
        return "" if self._accepts(source, request) else "refused by policy"

    def _on_cancel(
        self, delivery: Delivery, cancel: wire.Cancel, job: ServerJob | None, batch: Batch
    ) -> None:
        if job is None:
            # It has overtaken its request, which must not run when it comes.
            job = self._begin(delivery, cancel.job_id, None)
            if job is None:
                return
        self._end(job, JobStep.CANCEL, "cancelled by the client", batch)

    def _end(self, job: ServerJob, step: JobStep, text: str, batch: Batch) -> None:
        """End a job from outside, in whatever state it is."""
        if not self._table.step(job, step, batch, text):
            self._table.report(job, batch)  # over already: say how
            return
        attempt = self._attempts.get(job.key)
        if attempt is not None:
            batch.after(attempt.stop)

    # -- inputs

    def _place(self, source: Eid, offer: Offer) -> str | None:
        """Where an input goes; asked before its job's request may have come."""
        parsed = job_of_tag(offer.tag)
        if parsed is None:
            return None
        job_id, index = parsed
        return f"jobs/{job_key(source, job_id)}/in/{index}/{base_name(offer)}"

    async def _take_inputs(self) -> None:
        while True:
            received = await self._inbox.receive()
            async with self._lock:
                batch = Batch()
                self._on_input(received, batch)
                await batch.commit(self._port)
            self._wake.set()

    def _on_input(self, received: Received, batch: Batch) -> None:
        parsed = job_of_tag(received.tag)
        job = None if parsed is None else self._table.get(job_key(received.source, parsed[0]))
        if job is None:
            # Its request is still on its way; but not for ever.
            self._orphans[received.key] = received
            left_ms = received.expires_ms - self._port.dtn_ms()
            due_ns = self._port.now() + left_ms * MILLISECOND
            self._table.timers.set(f"orphan/{received.key}", due_ns)
        elif job.state.final or job.request is None:
            self._drop_input(received, batch)
        else:
            self._check_inputs(job, batch)

    def _drop_input(self, received: Received, batch: Batch) -> None:
        batch.add(self._inbox.taken(received))
        batch.after(lambda: remove_tree(Path(received.path).parent))

    def _check_inputs(self, job: ServerJob, batch: Batch) -> None:
        """Queue a job whose inputs are all here."""
        if job.state is not JobState.WAITING or job.request is None:
            return
        for ref in job.request.inputs:
            received = self._inbox.find(job.client, ref.object_id)
            if received is None:
                return
            if received.sha256 != ref.sha256:
                self._table.step(job, JobStep.FAIL, batch, f"input {ref.name} is another file")
                return
        self._table.step(job, JobStep.INPUTS, batch)

    def _release_inputs(self, job: ServerJob, batch: Batch) -> None:
        """A job is over: nobody needs its inputs any more."""
        for ref in () if job.request is None else job.request.inputs:
            received = self._inbox.find(job.client, ref.object_id)
            if received is not None:
                batch.add(self._inbox.taken(received))
        batch.after(lambda: remove_tree(self._directory / job.key / "in"))

    # -- time

    async def _tick(self) -> None:
        while True:
            names = await self._table.timers.wait(self._port)
            async with self._lock:
                batch = Batch()
                for name in names:
                    kind, _, key = name.partition("/")
                    self._due(kind, key, batch)
                await batch.commit(self._port)

    def _due(self, kind: str, key: str, batch: Batch) -> None:
        if kind == "orphan":
            orphan = self._orphans.pop(key, None)
            if orphan is not None and self._inbox.find(orphan.source, orphan.object_id):
                self._drop_input(orphan, batch)
            return
        job = self._table.get(key)
        if job is None:
            return
        if kind == "end":
            self._end(job, JobStep.DEADLINE, "the deadline has passed", batch)
        elif kind == "report":
            self._table.repeat_report(job, batch)
        else:
            self._table.forget(key, batch)
            batch.after(lambda: remove_tree(self._directory / key))
