"""Jobs: data and the name of a handler go up, results come down, each exactly once."""

from stack.services.jobs.client import JobClient
from stack.services.jobs.config import JobsConfig
from stack.services.jobs.context import Handler, JobContext, JobFailed
from stack.services.jobs.messages import FileRef, JobLimits, JobRequest, JobState, RetryPolicy
from stack.services.jobs.runner import (
    Command,
    CommandHandler,
    CommandResult,
    RunCommand,
    run_command,
)
from stack.services.jobs.server import AcceptsJob, JobServer
from stack.services.jobs.status import JobStatus

__all__ = [
    "AcceptsJob",
    "Command",
    "CommandHandler",
    "CommandResult",
    "FileRef",
    "Handler",
    "JobClient",
    "JobContext",
    "JobFailed",
    "JobLimits",
    "JobRequest",
    "JobServer",
    "JobState",
    "JobStatus",
    "JobsConfig",
    "RetryPolicy",
    "RunCommand",
    "run_command",
]
