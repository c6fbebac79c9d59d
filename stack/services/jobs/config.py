"""Configuration of the job service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from stack.core.bounds import Count, Wait, YearsMs
from stack.core.checks import check, check_bounds
from stack.services.jobs.messages import JobLimits


@dataclass(frozen=True, kw_only=True, slots=True)
class JobsConfig:
    """Limits and patience of client and server.  Raises `ConfigError`."""

    concurrency: Count = 1
    """Jobs that run at a time: a satellite's power seldom allows more."""

    jobs_max: Count = 2000
    """Most jobs not yet over; the jobs of one node may be half of what others leave.  A request
    beyond that is left to the client to repeat."""

    records_max: Count = 10_000
    """Most jobs remembered, those that are over included."""

    limits_max: JobLimits = field(
        default_factory=lambda: JobLimits(
            time_s=86_400.0, memory_bytes=8 << 30, output_bytes=64 << 30
        )
    )
    """What a job may ask for; more is refused."""

    progress_s: Wait = 0.5
    """Time until the first progress report of a run; then twice as long each time, as each is a
    bundle of its own.  Nothing is sent when there is no news."""

    progress_max_s: Wait = 60.0
    """Longest time between two progress reports of a job."""

    progress_lifetime_s: Wait = 600.0
    """Old progress is no news: it may expire while it waits for a pass."""

    watch_s: Wait = 1.0
    """How often the size of a running job's output is looked at."""

    stop_s: Wait = 10.0
    """How long a handler that was told to stop may take to clean up before it is abandoned."""

    repeat_s: Wait = 60.0
    """First wait before a request, cancellation or final report that was not answered is sent
    again; then twice as long each time."""

    repeat_max_s: Wait = 6 * 3600.0
    """Longest wait between two repetitions: the order of a gap between passes."""

    report_lifetime_ms: YearsMs = 86_400_000
    """Shortest lifetime of a final report, also when the deadline is near or past."""

    retain_ms: YearsMs = 86_400_000
    """How long a job is remembered after its deadline, to answer stragglers."""

    deadline_ms: Annotated[int, Meta(ge=1, le=10**12)] = 86_400_000
    """Deadline of a job submitted without one, from its submission."""

    def __post_init__(self) -> None:
        check_bounds(self)
        fits = self.repeat_s <= self.repeat_max_s
        check("repeat_s, repeat_max_s", fits, "repeat_s is above repeat_max_s")
        fits = self.progress_s <= self.progress_max_s
        check("progress_s, progress_max_s", fits, "progress_s is above progress_max_s")
