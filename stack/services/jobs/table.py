"""The server's jobs: records, deadlines and reports, kept in step."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Final

from stack.core.eid import Eid
from stack.ports.application import AppPort, Outgoing
from stack.services.batch import Batch, records
from stack.services.ended import Ended
from stack.services.jobs.config import JobsConfig
from stack.services.jobs.messages import JobReport, JobState
from stack.services.jobs.state import SPACE_SERVER, JobStep, ServerJob
from stack.services.names import JOBS, service_of
from stack.services.policies import about, readable
from stack.services.shares import PeerShares
from stack.services.waiting import NamedTimers

REPORT_PRIORITY: Final = 2
"""Reports are small and awaited: they go before the results."""

WITHHELD: Final = "its data policy does not let any more be said"


def _withheld(report: JobReport) -> JobReport:
    """What a client hears that may not read what comes of its job: that a run has begun, and how
    the job ended.  All between is the same, whatever the runs do."""
    begun = report.attempts > 0
    state = report.state if report.state.final or not begun else JobState.RUNNING
    return JobReport(report.job_id, int(begun), state, text=WITHHELD)


class JobTable:
    """Everything known about the jobs of this server.  Changes go through a `Batch`."""

    def __init__(
        self,
        port: AppPort,
        config: JobsConfig,
        ended: Callable[[ServerJob, Batch], None],
        forgotten: Callable[[ServerJob], None],
    ) -> None:
        """`ended` is called when a job reaches its final state, within the same batch; `forgotten`
        when it has been dropped."""
        self.timers = NamedTimers(port)
        self._port = port
        self._config = config
        self._ended = ended
        self._forgotten = forgotten
        self._service = service_of(port.node_id, JOBS)
        self._jobs: dict[str, ServerJob] = {}
        self._shares = PeerShares("services.jobs.jobs_max", config.jobs_max)
        self._closed = Ended()
        self._queues: dict[Eid, list[tuple[int, int, str]]] = {}
        """What waits, by the client's node; the one whose turn it is comes first."""

    def load(self) -> None:
        """Take up the durable records."""
        for job in records(self._port, "jobs", SPACE_SERVER, ServerJob.decode):
            self.admit(job)

    def get(self, key: str) -> ServerJob | None:
        """A job by its key."""
        return self._jobs.get(key)

    def __iter__(self) -> Iterator[ServerJob]:
        return iter(list(self._jobs.values()))

    def refusal(self, client: Eid) -> str:
        """Why a job of this client may not begin now, or nothing."""
        return self._shares.refusal(client)

    def admit(self, job: ServerJob) -> None:
        """Begin to track a job."""
        self._jobs[job.key] = job
        job.repeat_s = self._config.repeat_s
        if job.state.final:
            self._retire(job)
        else:
            self._shares.add(job.client, job.key)
            self.timers.arm_at(("end", job.key), job.expires_ms)
            if job.state is JobState.QUEUED:
                self._enqueue(job)

    def end_by(self, job: ServerJob, expires_ms: int) -> None:
        """A job has to be over by then."""
        if expires_ms != job.expires_ms:
            job.expires_ms = expires_ms
            self.timers.arm_at(("end", job.key), expires_ms)

    def next_queued(self) -> ServerJob | None:
        """The job to run next.  Nodes take turns, since a run may take a day and what is urgent is
        the client's word; of one node the most urgent job goes first, then the oldest."""
        for node in list(self._queues):
            queue = self._queues.pop(node)
            while queue:
                job = self._jobs.get(queue[0][2])
                if job is not None and job.state is JobState.QUEUED:
                    self._queues[node] = queue  # behind the others
                    return job
                heapq.heappop(queue)
        return None

    def step(self, job: ServerJob, step: JobStep, batch: Batch, text: str = "") -> bool:
        """Take a step and record it; whether the state machine has it."""
        if not job.step(step, text):
            return False
        if job.state is JobState.QUEUED:
            self._enqueue(job)
        if job.state.final:
            job.finished_ms = self._port.dtn_ms()
            self._shares.remove(job.client, job.key)
            self.timers.cancel(("end", job.key))
            self._retire(job)
            self._ended(job, batch)
            self.report(job, batch)
        self.keep(job, batch)
        self._trim(batch)
        return True

    def keep(self, job: ServerJob, batch: Batch) -> None:
        """Record a job as it is now."""
        batch.write(SPACE_SERVER, job.key, job.encode())

    def acknowledge(self, job: ServerJob, batch: Batch) -> None:
        """The client has the final report."""
        if job.state.final and not job.acknowledged:
            job.acknowledged = True
            self.timers.cancel(("report", job.key))
            self.keep(job, batch)

    def forget(self, key: str, batch: Batch) -> None:
        """Drop a job that is over."""
        job = self._jobs.pop(key, None)
        if job is not None:
            self._closed.remove(job.client, key)
            batch.after(lambda: self._forgotten(job))
            self.timers.cancel(("report", key))
            self.timers.cancel(("forget", key))
            batch.write(SPACE_SERVER, key, None)

    def report(self, job: ServerJob, batch: Batch) -> None:
        """Tell the client; a final report again and again until it is acknowledged."""
        batch.sends.append(self.report_bundle(job))
        if job.state.final:
            self.timers.arm_in(("report", job.key), job.repeat_s)

    def report_bundle(self, job: ServerJob) -> Outgoing:
        """The job's next report."""
        now_ms = self._port.dtn_ms()
        config = self._config
        report, policy = job.report(now_ms), job.policy
        if not self.follows(job):
            report, policy = _withheld(report), about(policy, job.client)
        lifetime_ms = round(config.progress_lifetime_s * 1000)
        if report.state.final:
            lifetime_ms = max(job.expires_ms - now_ms, config.report_lifetime_ms)
        elif report.state is not JobState.RUNNING or not report.permille:
            lifetime_ms = max(job.expires_ms - now_ms, lifetime_ms)
        where = (job.client, report.encode(), lifetime_ms, self._service)
        return Outgoing(*where, priority=REPORT_PRIORITY, policy=policy)

    def follows(self, job: ServerJob) -> bool:
        """Whether a job's client may read what comes of it, and so hear how a run goes on."""
        return readable(self._port, job.client, job.policy)

    def repeat_report(self, job: ServerJob, batch: Batch) -> None:
        """The final report was not acknowledged in time."""
        if not job.acknowledged:
            job.repeat_s = min(2 * job.repeat_s, self._config.repeat_max_s)
            self.report(job, batch)

    def _enqueue(self, job: ServerJob) -> None:
        priority = 0 if job.request is None else job.request.priority
        queue = self._queues.setdefault(job.client.node, [])
        heapq.heappush(queue, (-priority, job.arrived_ms, job.key))

    def _retire(self, job: ServerJob) -> None:
        over_ms = max(job.expires_ms, self._port.dtn_ms()) + self._config.retain_ms
        self.timers.arm_at(("forget", job.key), over_ms)
        self._closed.add(job.client, job.key)
        if not job.acknowledged:
            self.timers.arm_in(("report", job.key), job.repeat_s)

    def _trim(self, batch: Batch) -> None:
        while self._closed and len(self._jobs) > self._config.records_max:
            self.forget(self._closed.oldest(), batch)
