"""The four messages of the job service (docs/services.md, Jobs).

Request  client -> server   run this handler with these arguments and inputs
Report   server -> client   what the job is doing, or has come to
Cancel   client -> server   stop it
Ack      client -> server   the final report is here: it need not be repeated
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from msgspec import Meta

from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer
from stack.services.codec import Fields, decode, encode
from stack.services.files.messages import ID_BYTES, OBJECT_BYTES_MAX, PRIORITY_MAX, SHA256_BYTES
from stack.services.files.paths import NAME_CHARS_MAX, safe_name

VERSION: Final = 1
SECTION: Final = "docs/services.md, Jobs"

HANDLER_CHARS_MAX: Final = 64
ARGS_MAX: Final = 64
ARG_KEY_CHARS_MAX: Final = 64
ARG_VALUE_CHARS_MAX: Final = 4096
"""Larger arguments are inputs."""

INPUTS_MAX: Final = 256
OUTPUTS_MAX: Final = 256
"""A report with all of them is some 30 KB; results in more files go into an archive."""

TEXT_CHARS_MAX: Final = 2048
PROGRESS_CHARS_MAX: Final = 256
ATTEMPTS_MAX: Final = 100
TIME_MS_MAX: Final = 366 * 86_400_000
NUMBER_MAX: Final = (1 << 63) - 1
EXIT_BIAS: Final = 1024
"""Exit codes travel as code + 1024: a command killed by signal n has code -n."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REQUEST, _REPORT, _CANCEL, _ACK = range(4)


class JobState(enum.StrEnum):
    """What a job is doing."""

    SUBMITTED = "submitted"
    """The client has not heard of the server yet (never seen on the server)."""

    WAITING = "waiting"
    """Inputs are still on their way."""

    QUEUED = "queued"
    """Waits for its turn."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Its deadline passed first."""

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to the job."""
        return _NUMBERS[self] >= _NUMBERS[JobState.FINISHED]


_STATES: Final = tuple(JobState)
_NUMBERS: Final = {state: number for number, state in enumerate(_STATES)}
"""As they travel, and as they are in records."""


def encode_state(state: JobState) -> int:
    """The number of a state."""
    return _NUMBERS[state]


def decode_state(fields: Fields) -> JobState:
    """The next field, the number of a state that a server knows.  Raises `DecodeError`."""
    return _STATES[fields.uint(len(_STATES) - 1, _NUMBERS[JobState.WAITING])]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobLimits:
    """What one attempt of a job may use.  Raises `LocalError` for values out of range."""

    time_s: Annotated[float, Meta(ge=0.001, le=TIME_MS_MAX / 1000)] = 600.0
    """Elapsed seconds; also the limit of CPU seconds of a command."""

    memory_bytes: Annotated[int, Meta(ge=1, le=OBJECT_BYTES_MAX)] = 1 << 30
    """Address space of a command (RLIMIT_AS).  Handlers in Python share the node's memory and
    are not limited by it."""

    output_bytes: Annotated[int, Meta(ge=1, le=OBJECT_BYTES_MAX)] = 1 << 30
    """All output files together; also the largest file that a command may write."""

    def __post_init__(self) -> None:
        if not 1 <= round(self.time_s * 1000) <= TIME_MS_MAX:
            raise LocalError(f"time limit of {self.time_s} s is not in 0.001..{TIME_MS_MAX / 1000}")
        for name in ("memory_bytes", "output_bytes"):
            if not 0 < getattr(self, name) <= OBJECT_BYTES_MAX:
                raise LocalError(f"{name} is not in 1..{OBJECT_BYTES_MAX}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """When a job is run again.  Raises `LocalError` for values out of range."""

    attempts: int = 3
    """Most runs in all, for whatever reason: a job that brings its node down must not do so
    for ever."""

    after_crash: Literal["repeat", "report"] = "repeat"
    """What to do with a run that was cut off by the end of the node's process: run it again from
    the start (its partial output is dropped), or report it as failed."""

    failures: bool = False
    """Whether to repeat a run that failed by itself (exception, exit code) too."""

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= ATTEMPTS_MAX:
            raise LocalError(f"attempts {self.attempts} is not in 1..{ATTEMPTS_MAX}")
        if self.after_crash not in ("repeat", "report"):
            raise LocalError(f"after_crash {self.after_crash!r} is neither repeat nor report")


@dataclass(frozen=True, slots=True)
class FileRef:
    """An input or output of a job: an object of the file service."""

    object_id: bytes
    name: str
    size: int
    sha256: bytes
    priority: int = 0

    def __post_init__(self) -> None:
        safe_name(self.name)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job."""

    job_id: bytes
    handler: str
    args: dict[str, str]
    inputs: tuple[FileRef, ...] = ()
    limits: JobLimits = field(default_factory=JobLimits)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    priority: int = 1

    def __post_init__(self) -> None:
        """Raises `DecodeError` for what may not travel."""
        if len(self.handler) > HANDLER_CHARS_MAX or not _PLAIN.fullmatch(self.handler):
            raise DecodeError(f"{self.handler[:64]!r} is no handler name", SECTION)
        if len(self.args) > ARGS_MAX or len(self.inputs) > INPUTS_MAX:
            raise DecodeError("too many arguments or inputs", SECTION)
        for key, value in self.args.items():
            if len(key) > ARG_KEY_CHARS_MAX or not _PLAIN.fullmatch(key):
                raise DecodeError(f"{key[:64]!r} is no argument name", SECTION)
            if len(value) > ARG_VALUE_CHARS_MAX or "\0" in value:
                raise DecodeError(f"value of {key!r} is too long or holds NUL", SECTION)

    def encode(self) -> bytes:
        """The message; arguments in order of name, so that it is the same each time."""
        limits, retry = self.limits, self.retry
        return encode(
            (
                VERSION,
                _REQUEST,
                self.job_id,
                self.handler,
                sorted(self.args.items()),
                tuple(_file_row(ref) for ref in self.inputs),
                round(limits.time_s * 1000),
                limits.memory_bytes,
                limits.output_bytes,
                retry.attempts,
                retry.after_crash == "repeat",
                retry.failures,
                self.priority,
            )
        )


@dataclass(frozen=True, slots=True)
class JobReport:
    """The state of a job.  Of two that are not final, the one with the larger `number` is newer;
    a final one is newer than any other, and never changes."""

    job_id: bytes
    number: int
    state: JobState
    attempts: int = 0
    """Runs begun so far."""

    exit_code: int | None = None
    """Of a command: 0 for success, -n when signal n killed it."""

    permille: int = 0
    """Progress of the current run."""

    text: str = ""
    """Why it failed; or what it is doing."""

    queued_ms: int = 0
    """From the request's arrival to the start of the last run."""

    run_ms: int = 0
    """Duration of the last run."""

    outputs: tuple[FileRef, ...] = ()

    def encode(self) -> bytes:
        """The message."""
        return encode(
            (
                VERSION,
                _REPORT,
                self.job_id,
                self.number,
                encode_state(self.state),
                self.attempts,
                0 if self.exit_code is None else self.exit_code + EXIT_BIAS,
                self.permille,
                self.text[:TEXT_CHARS_MAX],
                self.queued_ms,
                self.run_ms,
                tuple(_file_row(ref) for ref in self.outputs),
            )
        )


@dataclass(frozen=True, slots=True)
class JobCancel:
    """Stop the job."""

    job_id: bytes

    def encode(self) -> bytes:
        """The message."""
        return encode((VERSION, _CANCEL, self.job_id))


@dataclass(frozen=True, slots=True)
class JobAck:
    """The final report has arrived."""

    job_id: bytes

    def encode(self) -> bytes:
        """The message."""
        return encode((VERSION, _ACK, self.job_id))


Message = JobRequest | JobReport | JobCancel | JobAck


def decode_message(payload: Buffer) -> Message:
    """Read a message.  Raises `DecodeError`."""
    fields = decode(payload, SECTION)
    if fields.uint(255) != VERSION:
        raise fields.fail("unknown version")
    kind = fields.uint(_ACK)
    job_id = fields.blob(ID_BYTES, ID_BYTES)
    if kind == _REQUEST:
        message: Message = _request(job_id, fields)
    elif kind == _REPORT:
        message = _report(job_id, fields)
    else:
        message = JobCancel(job_id) if kind == _CANCEL else JobAck(job_id)
    fields.end()
    return message


def _request(job_id: bytes, fields: Fields) -> JobRequest:
    handler = fields.text(HANDLER_CHARS_MAX)
    args: dict[str, str] = {}
    for row in fields.array(ARGS_MAX):
        key = row.text(ARG_KEY_CHARS_MAX)
        if args and key <= next(reversed(args)):
            raise row.fail("arguments are not in order of name")
        args[key] = row.text(ARG_VALUE_CHARS_MAX)
        row.end()
    return JobRequest(
        job_id,
        handler,
        args,
        _file_rows(fields, INPUTS_MAX),
        JobLimits(
            time_s=fields.uint(TIME_MS_MAX, 1) / 1000,
            memory_bytes=fields.uint(OBJECT_BYTES_MAX, 1),
            output_bytes=fields.uint(OBJECT_BYTES_MAX, 1),
        ),
        RetryPolicy(
            attempts=fields.uint(ATTEMPTS_MAX, 1),
            after_crash="repeat" if fields.flag() else "report",
            failures=fields.flag(),
        ),
        fields.uint(PRIORITY_MAX),
    )


def _report(job_id: bytes, fields: Fields) -> JobReport:
    number = fields.uint(NUMBER_MAX)
    state = decode_state(fields)
    attempts = fields.uint(ATTEMPTS_MAX)
    code = fields.uint(2 * EXIT_BIAS)
    return JobReport(
        job_id,
        number,
        state,
        attempts,
        code - EXIT_BIAS if code else None,
        permille=fields.uint(1000),
        text=fields.text(TEXT_CHARS_MAX),
        queued_ms=fields.uint(NUMBER_MAX),
        run_ms=fields.uint(NUMBER_MAX),
        outputs=_file_rows(fields, OUTPUTS_MAX),
    )


def _file_row(ref: FileRef) -> tuple[bytes, str, int, bytes, int]:
    return (ref.object_id, ref.name, ref.size, ref.sha256, ref.priority)


def _file_rows(fields: Fields, most: int) -> tuple[FileRef, ...]:
    refs = []
    for row in fields.array(most):
        refs.append(
            FileRef(
                row.blob(ID_BYTES, ID_BYTES),
                row.text(NAME_CHARS_MAX),
                row.uint(OBJECT_BYTES_MAX),
                row.blob(SHA256_BYTES, SHA256_BYTES),
                row.uint(PRIORITY_MAX),
            )
        )
        row.end()
    return tuple(refs)
