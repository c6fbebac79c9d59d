"""What a running job sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from stack.core.arguments import check_number
from stack.core.errors import DecodeError, LocalError
from stack.core.private import make_folder
from stack.services.files.messages import PRIORITY_MAX
from stack.services.files.paths import safe_name
from stack.services.jobs.messages import (
    EXIT_BIAS,
    OUTPUTS_MAX,
    PROGRESS_CHARS_MAX,
    TEXT_CHARS_MAX,
    JobLimits,
)


def sayable(text: str) -> str:
    """A text that can be sent: names of files may have octets that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


class JobFailed(Exception):
    """A handler says that its job failed; `text` goes into the report."""

    def __init__(self, text: str, exit_code: int | None = None) -> None:
        super().__init__(text)
        self.text = sayable(text)[:TEXT_CHARS_MAX]
        fits = exit_code is not None and -EXIT_BIAS < exit_code <= EXIT_BIAS
        self.exit_code = exit_code if fits else None


class JobContext:
    """A handler's arguments, inputs, outputs and voice.

    Every file below `output_directory` when the handler returns is a result; `output` names one
    and gives it a priority.  `work_directory` is dropped with everything in it.
    """

    def __init__(
        self,
        *,
        args: Mapping[str, str],
        inputs: tuple[Path, ...],
        limits: JobLimits,
        attempt: int,
        work_directory: Path,
        output_directory: Path,
        trace: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.args = args
        self.inputs = inputs
        """The input files, in the order of submission.  Not to be changed."""

        self.limits = limits
        self.attempt = attempt
        """1 for the first run."""

        self.work_directory = work_directory
        self.output_directory = output_directory
        self.cancelled = False
        """Set when the job is to stop; the handler's task is cancelled as well."""

        self.priorities: dict[str, int] = {}
        self.permille = 0
        self.doing = ""
        self._trace = trace

    def output(self, name: str, priority: int | None = None) -> Path:
        """Where to write the result `name` (a relative path; its folder is made).

        Results of higher `priority` (0 to 2, or 3: critical) go down first; None is the job's own.
        Raises `LocalError` for an unsafe name or too many results, and once the job is to stop.
        """
        if self.cancelled:  # its folder may have gone: it is not made anew
            raise LocalError("the job is to stop: there are no more results")
        try:
            parts = safe_name(name)
        except DecodeError as error:
            raise LocalError(f"{name!r} cannot name a result: {error.reason}") from error
        if priority is not None:
            check_number("priority", priority, 0, PRIORITY_MAX)
            self.priorities[name] = priority
        if len(self.priorities) > OUTPUTS_MAX:
            raise LocalError(f"more than {OUTPUTS_MAX} results; put them into an archive")
        path = self.output_directory.joinpath(*parts)
        make_folder(path.parent)
        return path

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far the job is (0 to 1) and what it does; sent at a bounded rate."""
        self.permille = round(min(max(fraction, 0.0), 1.0) * 1000)
        self.doing = sayable(text)[:PROGRESS_CHARS_MAX]

    def log(self, text: str) -> None:
        """A line in the node's trace."""
        self._trace("jobs.log", {"text": text[:TEXT_CHARS_MAX]})


Handler = Callable[[JobContext], Awaitable[None]]
"""Runs a job: returns when the outputs are complete, raises `JobFailed` (or anything else) when
it failed.  It shares the event loop of the node: heavy work belongs into a command."""
