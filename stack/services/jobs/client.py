"""The client of jobs: submits them, follows them, and gathers their results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from stack.core.arguments import check_kind, check_number, eid_of, id_of, paths_of
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.core.limits import LIFETIME_MS_MAX
from stack.policy import DataPolicy
from stack.ports.application import AppPort, Delivery, Outgoing
from stack.ports.store import Write
from stack.services.batch import Batch, each_due, records, transaction
from stack.services.files import FilesService, Offer, Prepared, Received
from stack.services.files.messages import ID_BYTES, PRIORITY_MAX
from stack.services.jobs import messages
from stack.services.jobs.config import JobsConfig
from stack.services.jobs.messages import (
    FileRef,
    JobAck,
    JobLimits,
    JobReport,
    JobRequest,
    RetryPolicy,
)
from stack.services.jobs.state import SPACE_CLIENT, TAG_IN, TAG_OUT, ClientJob, job_of_tag, tag_of
from stack.services.jobs.status import JobStatus, status_of
from stack.services.names import JOB_REPLIES, JOBS, endpoint_of, service_of
from stack.services.policies import about, check
from stack.services.waiting import NamedTimers

_RECEIVE_BATCH: Final = 32
_CONTROL_PRIORITY: Final = 2


def ignore_status(status: JobStatus) -> None:
    """The listener that does nothing."""


def _ref_of(prepared: Prepared) -> FileRef:
    spec = prepared.spec
    return FileRef(spec.object_id, spec.name, spec.size, spec.sha256, spec.priority)


class JobClient:
    """Submits jobs from this node.

        client = JobClient(port, files)          # before files runs; then run both
        job = await client.submit("dtn://sat1/", "hillshade", {"azimuth": "315"}, ["dem.tif"])
        status = await client.wait(job)
        print(status.state, status.files)

    Results are put under ``results/<job id>`` in the directory of `files`.  Everything survives
    the end of the process.  `on_status` is called after each durable change; it must be
    quick.
    """

    def __init__(
        self,
        port: AppPort,
        files: FilesService,
        config: JobsConfig | None = None,
        *,
        on_status: Callable[[JobStatus], None] = ignore_status,
    ) -> None:
        """Registers the reply endpoint.  Raises `LocalError` when it is taken."""
        self._port = port
        self._files = files
        self._config = config or JobsConfig()
        self._on_status = on_status
        self._lock = asyncio.Lock()
        self._timers = NamedTimers(port)
        self._jobs: dict[bytes, ClientJob] = {}
        self._closed: dict[bytes, asyncio.Event] = {}
        self._service = service_of(port.node_id, JOB_REPLIES)
        self._inbox = files.subscribe(TAG_OUT, self._place)
        self._endpoint = port.register(self._service)
        self.malformed = 0  # bundles that were no report of a job of ours
        self._load()

    # -- what applications call

    async def submit(
        self,
        destination: Eid | str,
        handler: str,
        args: Mapping[str, str] | None = None,
        inputs: Sequence[str | Path] = (),
        *,
        limits: JobLimits | None = None,
        retry: RetryPolicy | None = None,
        deadline_ms: int | None = None,
        priority: int = 1,
        policy: DataPolicy | None = None,
        wait_for_path: bool = False,
    ) -> bytes:
        """Submit a job to the node of `destination`; its id, once everything is durable.

        The job must be over `deadline_ms` from now.  Inputs must stay as they are until they
        have been delivered.  `policy` says who may read, hold and carry what the job is made of,
        and what it makes; where it leaves no path within the deadline, while there is one, the job
        is refused, unless it is to `wait_for_path`.  Raises `LocalError` for what cannot be,
        `PolicyError` for what `policy` forbids, `StoreError` when the store has no room; nothing
        has happened then.
        """
        destination = eid_of("destination", destination)
        inputs = paths_of("inputs", inputs)
        deadline = self._config.deadline_ms if deadline_ms is None else deadline_ms
        check_number("deadline_ms", deadline, 1, LIFETIME_MS_MAX)
        check_number("priority", priority, 0, PRIORITY_MAX)
        check_number("number of inputs", len(inputs), 0, messages.INPUTS_MAX)
        if len(self._jobs) >= self._config.records_max:
            raise LocalError(f"{self._config.records_max} jobs are known already")
        check_kind("handler", handler, str, "it takes the name by which it is known there")
        args = {} if args is None else args
        check_kind("args", args, Mapping, "it takes texts by name")
        if not all(isinstance(text, str) for pair in args.items() for text in pair):
            raise LocalError(f"args: {args} holds more than texts; use str(...)")
        limits, retry = limits or JobLimits(), retry or RetryPolicy()
        check_kind("limits", limits, JobLimits, "it takes JobLimits(...)")
        check_kind("retry", retry, RetryPolicy, "it takes RetryPolicy(...)")
        check(self._port, destination, policy, deadline, priority, wait=wait_for_path)
        job_id = self._port.entropy(ID_BYTES)
        how: dict[str, Any] = {"priority": priority, "lifetime_ms": deadline, "policy": policy}
        prepared = []
        for index, path in enumerate(inputs):
            tag = tag_of(TAG_IN, job_id, index)
            prepared.append(await self._files.prepare(path, destination, tag=tag, **how))
        try:
            request = JobRequest(
                job_id,
                handler,
                dict(args),
                tuple(map(_ref_of, prepared)),
                limits,
                retry,
                priority,
            )
        except DecodeError as error:
            raise LocalError(error.reason) from error
        server = endpoint_of(destination, JOBS)
        expires_ms = self._port.dtn_ms() + deadline
        job = ClientJob(job_id, server, request, expires_ms, policy=policy)
        writes = [Write(SPACE_CLIENT, job.key, job.encode())]
        for one in prepared:
            writes.extend(one.writes)
        await self._port.commit(write=writes, send=[self._outgoing(job, request.encode())])
        self._admit(job)
        for one in prepared:
            self._files.start(one)
        return job_id

    async def cancel(self, job_id: bytes) -> None:
        """Ask the server to stop a job, until it says how the job ended.  Raises `LocalError`
        for an unknown job."""
        async with transaction(self._port, self._lock) as batch:
            job = self._known(job_id)
            if job.state.final or job.cancelling:
                return
            job.cancelling = True
            job.repeat_s = self._config.repeat_s
            self._ask(job, batch)
            self._keep(job, batch)
        for ref in job.request.inputs:
            await self._files.cancel(ref.object_id)

    def status(self, job_id: bytes) -> JobStatus:
        """What is known of a job.  Raises `LocalError` for an unknown one."""
        return self._status(self._known(job_id))

    def all_status(self) -> list[JobStatus]:
        """What is known of every job."""
        return [self._status(job) for job in self._jobs.values()]

    async def wait(self, job_id: bytes) -> JobStatus:
        """Wait until a job is over and its results are here, or will not come any more.  Raises
        `LocalError` for an unknown job."""
        job = self._known(job_id)
        if not job.closed:
            await self._closed.setdefault(job_id, asyncio.Event()).wait()
        return self._status(job)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for loop in (self._receive, self._take_results, self._tick):
                    group.create_task(loop())
        finally:
            self._endpoint.close()

    # -- messages and results

    async def _receive(self) -> None:
        while True:
            deliveries = await self._endpoint.receive_many(_RECEIVE_BATCH)
            async with transaction(self._port, self._lock) as batch:
                batch.each(self._port, deliveries, partial(self._handle, batch=batch))

    def _handle(self, delivery: Delivery, batch: Batch) -> None:
        if delivery.admin:
            return
        source = delivery.id.source
        try:
            report = messages.decode_message(delivery.payload)
        except DecodeError as error:
            self.malformed += 1
            self._port.trace("jobs.malformed", {"source": str(source), "error": str(error)})
            return
        job = self._jobs.get(report.job_id)
        if not isinstance(report, JobReport) or job is None or source != job.server:
            self.malformed += 1
            return
        if report.state.final:
            ack = self._outgoing(job, JobAck(job.job_id).encode())
            batch.sends.append(replace(ack, policy=about(job.policy, job.server)))
        known = job.report
        if job.state.final or job.given_up:
            return
        if known is not None and not report.state.final and report.number <= known.number:
            return
        job.report = report
        if report.state.final or not job.cancelling:
            self._timers.cancel(("ask", job.key))  # the server has the word now
        self._changed(job, batch)

    async def _take_results(self) -> None:
        while True:
            received = await self._inbox.receive()
            async with transaction(self._port, self._lock) as batch:
                batch.attempt(self._port, received.name, self._on_result, received, batch)

    def _place(self, source: Eid, offer: Offer) -> str | None:
        """Results are taken from the server of a job of ours only."""
        parsed = job_of_tag(offer.tag)
        job = None if parsed is None else self._jobs.get(parsed[0])
        if job is None or source.node != job.server.node or len(job.files) >= messages.OUTPUTS_MAX:
            return None
        return f"results/{job.key}/{offer.name}"

    def _on_result(self, received: Received, batch: Batch) -> None:
        batch.add(self._inbox.taken(received))
        parsed = job_of_tag(received.tag)
        job = None if parsed is None else self._jobs.get(parsed[0])
        if job is not None:
            job.files[received.object_id] = str(received.path)
            self._changed(job, batch)

    def _changed(self, job: ClientJob, batch: Batch) -> None:
        """Record a job that has changed, and close it when nothing more is awaited."""
        if not job.closed and job.complete:
            self._close(job, batch)
        self._keep(job, batch)
        batch.after(lambda: self._on_status(self._status(job)))

    def _close(self, job: ClientJob, batch: Batch) -> None:
        job.closed = True
        self._timers.cancel(("ask", job.key))
        self._timers.cancel(("end", job.key))
        self._set_forget(job)
        closed = self._closed.pop(job.job_id, None)
        if closed is not None:
            batch.after(closed.set)

    # -- time

    async def _tick(self) -> None:
        await each_due(self._port, self._lock, self._timers, self._due)

    def _due(self, kind: str, key: str, batch: Batch) -> None:
        job = self._jobs.get(bytes.fromhex(key))
        if job is None:
            return
        if kind == "forget":
            batch.write(SPACE_CLIENT, job.key, None)
            del self._jobs[job.job_id]
        elif kind == "end":
            job.given_up = not job.state.final
            self._close(job, batch)
            self._changed(job, batch)
        else:
            job.repeat_s = min(2 * job.repeat_s, self._config.repeat_max_s)
            self._ask(job, batch)

    def _ask(self, job: ClientJob, batch: Batch) -> None:
        """Send the request, or its cancellation, and again later if nobody answers."""
        if self._port.dtn_ms() >= job.expires_ms:
            return  # the server has ended it, or never will hear of it
        message = messages.JobCancel(job.job_id) if job.cancelling else job.request
        batch.sends.append(self._outgoing(job, message.encode()))
        self._arm(job)

    def _arm(self, job: ClientJob) -> None:
        self._timers.arm_in(("ask", job.key), job.repeat_s)

    def _outgoing(self, job: ClientJob, payload: bytes) -> Outgoing:
        left_ms = max(job.expires_ms - self._port.dtn_ms(), 1000)
        how: dict[str, Any] = {"priority": _CONTROL_PRIORITY, "policy": job.policy}
        return Outgoing(job.server, payload, left_ms, self._service, **how)

    # -- records

    def _load(self) -> None:
        for job in records(
            self._port, "jobs", SPACE_CLIENT, lambda _, value: ClientJob.decode(value)
        ):
            self._admit(job)

    def _admit(self, job: ClientJob) -> None:
        self._jobs[job.job_id] = job
        job.repeat_s = self._config.repeat_s
        if job.closed:
            self._set_forget(job)
            return
        # Results may come for as long as the server repeats its last word.
        last_ms = job.expires_ms + self._config.report_lifetime_ms
        self._timers.arm_at(("end", job.key), last_ms)
        if job.report is None or (job.cancelling and not job.state.final):
            self._arm(job)

    def _set_forget(self, job: ClientJob) -> None:
        over_ms = max(job.expires_ms, self._port.dtn_ms()) + self._config.retain_ms
        self._timers.arm_at(("forget", job.key), over_ms)

    def _keep(self, job: ClientJob, batch: Batch) -> None:
        batch.write(SPACE_CLIENT, job.key, job.encode())

    def _known(self, job_id: bytes) -> ClientJob:
        job = self._jobs.get(id_of("job_id", job_id))
        if job is None:
            raise LocalError(f"job {job_id.hex()} is not known")
        return job

    def _status(self, job: ClientJob) -> JobStatus:
        return status_of(job, str(self._files.directory / "results" / job.key))
