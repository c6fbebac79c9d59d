"""What a client can say about its jobs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.core.eid import Eid
from stack.policy import DataPolicy
from stack.services.jobs.messages import FileRef, JobReport, JobState
from stack.services.jobs.state import ClientJob


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job as its client knows it at present."""

    job_id: bytes
    server: Eid
    handler: str
    state: JobState
    text: str
    """Why it failed, or what it is doing."""

    progress: float
    """0 to 1, of the current run."""

    attempts: int
    exit_code: int | None
    queued_s: float
    run_s: float
    inputs: tuple[FileRef, ...]
    """Files that were submitted with it."""

    outputs: tuple[FileRef, ...]
    """Results that the final report announces."""

    files: Mapping[str, Path]
    """Results that are here, by name."""

    complete: bool
    """Whether the job is over and all results are here."""

    closed: bool
    """Whether nothing more is awaited: complete, or too late."""

    policy: DataPolicy | None = None
    """Under which it was submitted: it holds for its results, too."""


def status_of(job: ClientJob, root: str) -> JobStatus:
    """The status of `job`, whose results lie under `root`."""
    report = job.report or JobReport(job.job_id, 0, JobState.SUBMITTED)
    return JobStatus(
        job.job_id,
        job.server,
        job.request.handler,
        job.state,
        "no final report came in time" if job.given_up else report.text,
        1.0 if report.state is JobState.FINISHED else report.permille / 1000,
        report.attempts,
        report.exit_code,
        report.queued_ms / 1000,
        report.run_ms / 1000,
        job.request.inputs,
        report.outputs,
        {os.path.relpath(path, root): Path(path) for path in job.files.values()},
        job.complete,
        job.closed,
        job.policy,
    )
