"""The server of jobs: takes them, waits for their inputs, runs them, sends their results.

A job's state is durable, and its results enter the transaction that ends it: however often its
request arrives, and whenever the node restarts, its results are sent exactly once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from stack.core.eid import Eid
from stack.core.errors import DecodeError, words_of
from stack.ports.application import AppPort, Delivery
from stack.services.batch import Batch, attempt, each_due, transaction
from stack.services.files import FilesService
from stack.services.jobs import messages
from stack.services.jobs.config import JobsConfig
from stack.services.jobs.context import Handler
from stack.services.jobs.executor import Executor
from stack.services.jobs.inputs import JobInputs
from stack.services.jobs.messages import JobRequest, JobState
from stack.services.jobs.state import JobStep, ServerJob, job_key
from stack.services.jobs.table import JobTable
from stack.services.names import JOBS, service_of
from stack.services.policies import until

AcceptsJob = Callable[[Eid, JobRequest], bool]
"""`accepts(source, request)`: whether a job may run here.  The place for rules about whose data
may be computed on, by whom."""

_RECEIVE_BATCH = 32


def accept_any_job(source: Eid, request: JobRequest) -> bool:
    """The rule of a server that runs whatever its handlers and limits allow."""
    return True


class JobServer:
    """Runs jobs with `handlers`, by name.

        shade = CommandHandler(argv=["gdaldem", "hillshade", "{input:0}", "{output}/shade.tif"])
        server = JobServer(port, files, {"hillshade": shade})
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
        self._lock = asyncio.Lock()
        directory = files.directory / "jobs"
        self._table = JobTable(port, self._config, self._on_final, self._on_forgotten)
        self._inputs = JobInputs(port, files, self._table, directory)
        self._executor = Executor(
            port, self._config, files, self._lock, self._table, self._handlers, directory
        )
        self._endpoint = port.register(service_of(port.node_id, JOBS))
        self._judge_anew = asyncio.Event()
        port.on_policy_change(self._judge_anew.set)
        self.malformed = 0
        """Bundles that were no message of this service."""

    async def run(self) -> None:
        """Serve until cancelled; runs that are under way are cut off then."""
        try:
            await self._recover()
            async with asyncio.TaskGroup() as group:
                for loop in (self._receive, self._take_inputs, self._tick, self._judge):
                    group.create_task(loop())
                group.create_task(self._executor.schedule(group, self._inputs.paths))
        finally:
            self._endpoint.close()

    # -- starting

    async def _recover(self) -> None:
        """Decide on runs that were cut off, and remove what they left."""
        async with transaction(self._port, self._lock) as batch:
            self._table.load()
            for job in self._table:
                batch.attempt(self._port, f"recover {job.key}", self._recover_job, job, batch)
            attempt(self._port, "sweep", lambda: self._executor.sweep(self._inputs.awaited()))

    def _recover_job(self, job: ServerJob, batch: Batch) -> None:
        if job.state is JobState.RUNNING:
            self._executor.cut_off(job, batch)
        self._executor.recover(job)
        if job.state.final:
            self._inputs.release(job, batch)  # what a crash after its end has left

    def _on_final(self, job: ServerJob, batch: Batch) -> None:
        self._inputs.release(job, batch)
        batch.after(lambda: self._executor.stop(job.key))

    def _on_forgotten(self, job: ServerJob) -> None:
        self._executor.remove(job)

    async def _judge(self) -> None:
        """Cut off runs on what may not be read here any more."""
        while True:
            await self._judge_anew.wait()
            self._judge_anew.clear()
            async with transaction(self._port, self._lock) as batch:
                for job in self._table:
                    batch.attempt(self._port, f"judge {job.key}", self._executor.judge, job, batch)

    # -- messages

    async def _receive(self) -> None:
        while True:
            deliveries = await self._endpoint.receive_many(_RECEIVE_BATCH)
            async with transaction(self._port, self._lock) as batch:
                batch.each(self._port, deliveries, partial(self._handle, batch=batch))
            self._executor.wake.set()

    def _handle(self, delivery: Delivery, batch: Batch) -> None:
        source = delivery.id.source
        if delivery.admin or source.is_null:
            return
        try:
            message = messages.decode_message(delivery.payload)
        except DecodeError as error:
            self.malformed += 1
            self._port.trace("jobs.malformed", {"source": str(source), "error": str(error)})
            return
        job = self._table.get(job_key(source, message.job_id))
        match message:
            case messages.JobRequest():
                self._on_request(delivery, message, job, batch)
            case messages.JobCancel():
                self._on_cancel(delivery, message, job, batch)
            case messages.JobAck():
                if job is not None:
                    self._table.acknowledge(job, batch)
            case messages.JobReport():
                self.malformed += 1  # that is for clients

    def _on_request(
        self, delivery: Delivery, request: JobRequest, job: ServerJob | None, batch: Batch
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
            self._inputs.check(job, batch)
        self._table.report(job, batch)

    def _begin(
        self, delivery: Delivery, job_id: bytes, request: JobRequest | None
    ) -> ServerJob | None:
        source = delivery.id.source
        if why := self._table.refusal(source):
            # Without an answer the client repeats the request, when there may be room.
            self._port.trace("jobs.full", {"client": str(source), "why": why})
            return None
        key = job_key(source, job_id)
        now_ms = self._port.dtn_ms()
        ends_ms = until(delivery.policy, delivery.expires_ms)
        job = ServerJob(key, source, job_id, request, ends_ms, now_ms)
        job.policy, job.asked = delivery.policy, str(delivery.id)
        self._table.admit(job)
        return job

    def _refusal(self, source: Eid, request: JobRequest) -> str:
        """Why this job cannot run here, or nothing."""
        limits, most = request.limits, self._config.limits_max
        if request.handler not in self._handlers:
            return f"there is no handler {request.handler!r}"
        for name in ("time_s", "memory_bytes", "output_bytes"):
            if getattr(limits, name) > getattr(most, name):
                return f"{name} is limited to {getattr(most, name)}"
        try:
            return "" if self._accepts(source, request) else "refused by policy"
        except Exception as error:  # whatever it is, it concerns this job alone
            fields = {"what": f"rules for {request.handler}", "why": words_of(error)}
            self._port.trace("service_work_failed", fields)
            return "the rules of the server have failed"

    def _on_cancel(
        self, delivery: Delivery, cancel: messages.JobCancel, job: ServerJob | None, batch: Batch
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

    # -- inputs and time

    async def _take_inputs(self) -> None:
        while True:
            received = await self._inputs.inbox.receive()
            async with transaction(self._port, self._lock) as batch:
                batch.attempt(self._port, received.name, self._inputs.on_input, received, batch)
            self._executor.wake.set()

    async def _tick(self) -> None:
        await each_due(self._port, self._lock, self._table.timers, self._due)

    def _due(self, kind: str, key: str, batch: Batch) -> None:
        job = self._table.get(key)
        if kind == "orphan":
            self._inputs.on_orphan_due(key, batch)
        elif job is None:
            return
        elif kind == "end":
            self._end(job, JobStep.DEADLINE, "the deadline has passed", batch)
        elif kind == "report":
            self._table.repeat_report(job, batch)
        else:
            self._table.forget(key, batch)
