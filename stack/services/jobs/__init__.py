"""Jobs: data and the name of a handler go up, results come down, each exactly once."""

from stack.services.jobs.client import JobClient as JobClient
from stack.services.jobs.config import JobsConfig as JobsConfig
from stack.services.jobs.context import Handler as Handler
from stack.services.jobs.context import JobContext as JobContext
from stack.services.jobs.context import JobFailed as JobFailed
from stack.services.jobs.messages import FileRef as FileRef
from stack.services.jobs.messages import JobLimits as JobLimits
from stack.services.jobs.messages import JobRequest as JobRequest
from stack.services.jobs.messages import JobState as JobState
from stack.services.jobs.messages import RetryPolicy as RetryPolicy
from stack.services.jobs.runner import Command as Command
from stack.services.jobs.runner import CommandHandler as CommandHandler
from stack.services.jobs.runner import CommandResult as CommandResult
from stack.services.jobs.runner import RunCommand as RunCommand
from stack.services.jobs.runner import run_command as run_command
from stack.services.jobs.server import AcceptsJob as AcceptsJob
from stack.services.jobs.server import JobServer as JobServer
from stack.services.jobs.status import JobStatus as JobStatus
