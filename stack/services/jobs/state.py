"""Jobs on the server and on the client: states, transitions, durable records."""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from stack.core.eid import EID_CHARS_MAX, Eid
from stack.policy import DataPolicy
from stack.services.codec import decode, encode
from stack.services.files.messages import ID_BYTES, Offer
from stack.services.jobs.messages import (
    ATTEMPTS_MAX,
    EXIT_BIAS,
    NUMBER_MAX,
    OUTPUTS_MAX,
    TEXT_CHARS_MAX,
    FileRef,
    JobReport,
    JobRequest,
    JobState,
    decode_message,
    decode_state,
    encode_state,
)
from stack.services.policies import VERSION, label, take_policy

SPACE_SERVER: Final = "jobs.server"
SPACE_CLIENT: Final = "jobs.client"
TAG_IN: Final = "job-in/"
TAG_OUT: Final = "job-out/"

_SECTION: Final = "durable record of the job service"
ASKED_CHARS_MAX: Final = 2 * EID_CHARS_MAX + 64
_MESSAGE_OCTETS_MAX: Final = 8 * 1024 * 1024
_TAG: Final = re.compile(r"job-(?:in|out)/([0-9a-f]{32})/(0|[1-9][0-9]{0,2})")


class JobStep(enum.Enum):
    """What can happen to a job on the server."""

    INPUTS = enum.auto()
    """All inputs are here."""

    START = enum.auto()
    SUCCEED = enum.auto()
    FAIL = enum.auto()
    REPEAT = enum.auto()
    """The run failed or was cut off, and its policy wants another."""

    CANCEL = enum.auto()
    DEADLINE = enum.auto()


JOB_STEPS: Final[Mapping[tuple[JobState, JobStep], JobState]] = MappingProxyType(
    {
        (JobState.WAITING, JobStep.INPUTS): JobState.QUEUED,
        (JobState.WAITING, JobStep.FAIL): JobState.FAILED,
        (JobState.QUEUED, JobStep.START): JobState.RUNNING,
        (JobState.QUEUED, JobStep.FAIL): JobState.FAILED,
        (JobState.RUNNING, JobStep.SUCCEED): JobState.FINISHED,
        (JobState.RUNNING, JobStep.FAIL): JobState.FAILED,
        (JobState.RUNNING, JobStep.REPEAT): JobState.QUEUED,
    }
    | {
        (state, step): then
        for state in (JobState.WAITING, JobState.QUEUED, JobState.RUNNING)
        for step, then in (
            (JobStep.CANCEL, JobState.CANCELLED),
            (JobStep.DEADLINE, JobState.EXPIRED),
        )
    }
)


def job_key(source: Eid, job_id: bytes) -> str:
    """The durable key and the directory of a job: its id is the client's word, so the client's
    node is part of it."""
    return hashlib.sha256(str(source.node).encode() + b"\0" + job_id).hexdigest()[:32]


def tag_of(prefix: str, job_id: bytes, index: int) -> str:
    """The tag of a job's input or output number `index`."""
    return f"{prefix}{job_id.hex()}/{index}"


def job_of_tag(offer_tag: str) -> tuple[bytes, int] | None:
    """Job id and index of a tag, or None for a tag that is none of ours."""
    match = _TAG.fullmatch(offer_tag)
    return None if match is None else (bytes.fromhex(match[1]), int(match[2]))


def base_name(offer: Offer) -> str:
    """The last part of an object's name."""
    return offer.name.rsplit("/", 1)[-1]


@dataclass(slots=True)
class ServerJob:
    """A job on the server.  `request` is None for one that was cancelled before it came."""

    key: str
    client: Eid
    """Where reports go."""

    job_id: bytes
    request: JobRequest | None
    expires_ms: int
    arrived_ms: int
    state: JobState = JobState.WAITING
    attempt: int = 0
    acknowledged: bool = False
    exit_code: int | None = None
    text: str = ""
    started_ms: int = 0
    finished_ms: int = 0
    outputs: tuple[FileRef, ...] = ()
    policy: DataPolicy | None = None
    """That of its request."""

    asked: str = ""
    """The id of the bundle that asked for it."""

    permille: int = 0
    """Not durable, nor is anything below."""

    doing: str = ""
    number: int = 0
    """Reports made in this run of the process; the attempt, which is durable, comes first."""

    repeat_s: float = 0.0

    def step(self, step: JobStep, text: str = "") -> bool:
        """Take a step; whether the state machine has it."""
        then = JOB_STEPS.get((self.state, step))
        if then is None:
            return False
        self.state = then
        self.text = text[:TEXT_CHARS_MAX]
        return True

    def report(self, now_ms: int) -> JobReport:
        """The next report."""
        self.number += 1
        running = self.state is JobState.RUNNING
        ended_ms = now_ms if running else self.finished_ms
        return JobReport(
            self.job_id,
            self.attempt << 32 | self.number,
            self.state,
            self.attempt,
            self.exit_code,
            self.permille if running else 0,
            self.doing if running and self.doing else self.text,
            max((self.started_ms or now_ms) - self.arrived_ms, 0),
            max(ended_ms - self.started_ms, 0) if self.started_ms else 0,
            self.outputs,
        )

    def encode(self) -> bytes:
        """The durable record."""
        return encode(
            (
                VERSION,
                str(self.client),
                self.job_id,
                b"" if self.request is None else self.request.encode(),
                self.expires_ms,
                self.arrived_ms,
                encode_state(self.state),
                self.attempt,
                self.acknowledged,
                0 if self.exit_code is None else self.exit_code + EXIT_BIAS,
                self.text,
                self.started_ms,
                self.finished_ms,
                b"" if not self.outputs else self._outputs_record(),
                label(self.policy),
                self.asked,
            )
        )

    def _outputs_record(self) -> bytes:
        """The outputs in the form in which a report carries them."""
        return JobReport(self.job_id, 0, JobState.FINISHED, outputs=self.outputs).encode()

    @staticmethod
    def decode(key: str, data: bytes) -> ServerJob:
        """Read a durable record.  Raises `DecodeError`."""
        fields = decode(data, _SECTION)
        version = fields.uint(VERSION, 1)
        client = Eid.parse(fields.text(2 * EID_CHARS_MAX))
        job_id = fields.blob(ID_BYTES, ID_BYTES)
        record = fields.view(_MESSAGE_OCTETS_MAX)
        request = decode_message(record) if record else None
        if request is not None and not isinstance(request, JobRequest):
            raise fields.fail("not a request")
        job = ServerJob(
            key, client, job_id, request, fields.uint(NUMBER_MAX), fields.uint(NUMBER_MAX)
        )
        job.state = decode_state(fields)
        job.attempt = fields.uint(ATTEMPTS_MAX)
        job.acknowledged = fields.flag()
        code = fields.uint(2 * EXIT_BIAS)
        job.exit_code = code - EXIT_BIAS if code else None
        job.text = fields.text(TEXT_CHARS_MAX)
        job.started_ms = fields.uint(NUMBER_MAX)
        job.finished_ms = fields.uint(NUMBER_MAX)
        record = fields.view(_MESSAGE_OCTETS_MAX)
        if record:
            report = decode_message(record)
            if not isinstance(report, JobReport):
                raise fields.fail("not a report")
            job.outputs = report.outputs
        job.policy = take_policy(fields, version)
        job.asked = fields.text(ASKED_CHARS_MAX) if version > 2 else ""
        fields.end()
        return job


@dataclass(slots=True)
class ClientJob:
    """A job as its client knows it."""

    job_id: bytes
    server: Eid
    request: JobRequest
    expires_ms: int
    report: JobReport | None = None
    """The newest one."""

    given_up: bool = False
    """The deadline passed without a final report."""

    cancelling: bool = False
    closed: bool = False
    """Nothing more is awaited: final, and what could come has come."""

    files: dict[bytes, str] = field(default_factory=dict)
    """Paths of the outputs that are here, by object id."""

    policy: DataPolicy | None = None

    repeat_s: float = 0.0

    @property
    def key(self) -> str:
        """The durable key."""
        return self.job_id.hex()

    @property
    def state(self) -> JobState:
        """What the client knows of the state."""
        if self.given_up:
            return JobState.EXPIRED
        return JobState.SUBMITTED if self.report is None else self.report.state

    @property
    def complete(self) -> bool:
        """Whether the job is over and all of its outputs are here."""
        if self.report is None or not self.report.state.final:
            return False
        return all(ref.object_id in self.files for ref in self.report.outputs)

    def encode(self) -> bytes:
        """The durable record."""
        return encode(
            (
                VERSION,
                str(self.server),
                self.request.encode(),
                self.expires_ms,
                b"" if self.report is None else self.report.encode(),
                self.given_up,
                self.cancelling,
                self.closed,
                tuple(
                    (object_id, path.encode("utf-8", "surrogateescape"))
                    for object_id, path in self.files.items()
                ),
                label(self.policy),
            )
        )

    @staticmethod
    def decode(data: bytes) -> ClientJob:
        """Read a durable record.  Raises `DecodeError`."""
        fields = decode(data, _SECTION)
        version = fields.uint(VERSION, 1)
        server = Eid.parse(fields.text(2 * EID_CHARS_MAX))
        request = decode_message(fields.view(_MESSAGE_OCTETS_MAX))
        expires_ms = fields.uint(NUMBER_MAX)
        record = fields.view(_MESSAGE_OCTETS_MAX)
        report = decode_message(record) if record else None
        if not isinstance(request, JobRequest) or not isinstance(report, JobReport | None):
            raise fields.fail("not a request and a report")
        job = ClientJob(request.job_id, server, request, expires_ms, report)
        job.given_up = fields.flag()
        job.cancelling = fields.flag()
        job.closed = fields.flag()
        for row in fields.array(2 * OUTPUTS_MAX):
            object_id = row.blob(ID_BYTES, ID_BYTES)
            job.files[object_id] = row.blob(8192).decode("utf-8", "surrogateescape")
            row.end()
        job.policy = take_policy(fields, version)
        fields.end()
        return job
