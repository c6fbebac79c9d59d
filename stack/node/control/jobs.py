"""Jobs that run on other nodes for this one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

from stack.core.clock import dtn_to_iso
from stack.core.errors import LocalError
from stack.node.control.paths import path_of, policy_as_dict
from stack.node.control.protocol import ControlError
from stack.node.control.request import DECADE_S, Request, Session
from stack.node.node import Node
from stack.ports.application import Expected
from stack.services.files import Progress
from stack.services.files.messages import OBJECT_BYTES_MAX, PRIORITY_MAX
from stack.services.jobs.messages import ATTEMPTS_MAX, JobLimits, RetryPolicy
from stack.services.jobs.status import JobStatus

EVENT_PERIOD_S: Final = 0.25
"""How often a job that is followed is looked at."""

_DEFAULT_LIMITS: Final = JobLimits()
_DEFAULT_RETRY: Final = RetryPolicy()


class JobOperations:
    """Operations on jobs that were submitted from here."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._files = node.services.files
        self._jobs = node.services.jobs
        self._deadline_ms = node.config.services.jobs.deadline_ms

    def _known(self, found: Iterable[JobStatus]) -> list[dict[str, Any]]:
        """Jobs, and how far their inputs are, which travel before a job can start."""
        files = self._files
        files.foresee()
        jobs = []
        for status in found:
            under_way = [files.progress(ref.object_id) for ref in status.inputs]
            jobs.append(as_dict(status) | {"inputs": inputs_of([one for one in under_way if one])})
        return jobs

    def _job(self, job_id: bytes) -> dict[str, Any]:
        return self._known([self._status(job_id)])[0]

    async def submit(self, request: Request, session: Session) -> dict[str, Any]:
        """Submit a job; its id comes once everything is durable."""
        destination = request.eid("destination").node
        handler = request.text("handler")
        args = request.pairs("args")
        inputs = request.paths("inputs")
        priority = request.integer("priority", 1, 0, PRIORITY_MAX)
        deadline_s = request.number("deadline_s", 0.0, 0.0, DECADE_S)
        limits = JobLimits(
            time_s=request.number("time_s", _DEFAULT_LIMITS.time_s, 0.001, DECADE_S),
            memory_bytes=request.integer(
                "memory_bytes", _DEFAULT_LIMITS.memory_bytes, 1, OBJECT_BYTES_MAX
            ),
            output_bytes=request.integer(
                "output_bytes", _DEFAULT_LIMITS.output_bytes, 1, OBJECT_BYTES_MAX
            ),
        )
        retry = RetryPolicy(
            attempts=request.integer("attempts", _DEFAULT_RETRY.attempts, 1, ATTEMPTS_MAX)
        )
        policy, wait_for_path = request.policy(), request.flag("wait_for_path")
        lifetime_ms = round(deadline_s * 1000) or self._deadline_ms
        request.finish()
        job_id = await self._jobs.submit(
            destination,
            handler,
            args,
            inputs,
            limits=limits,
            retry=retry,
            deadline_ms=lifetime_ms,
            priority=priority,
            policy=policy,
            wait_for_path=wait_for_path,
        )
        path = path_of(self._node, destination, policy, 1, lifetime_ms, priority)
        return {"id": job_id.hex(), "job": self._job(job_id), "path": path}

    async def jobs(self, request: Request, session: Session) -> dict[str, Any]:
        """What is known of every job, or of those in `ids`."""
        ids = request.object_ids("ids")
        request.finish()
        found = [self._status(one) for one in ids] if ids else self._jobs.all_status()
        return {"jobs": self._known(found)}

    async def watch(self, request: Request, session: Session) -> dict[str, Any]:
        """Follow a job until it is over and its results are here, or for `timeout_s`: events
        `progress`."""
        job_id = request.object_id("id")
        timeout_s = request.number("timeout_s", DECADE_S, 0.0, DECADE_S)
        request.finish()
        over = asyncio.ensure_future(self._jobs.wait(self._status(job_id).job_id))
        told: dict[str, Any] = {}
        try:
            async with asyncio.timeout(timeout_s):
                while not over.done():
                    known = self._job(job_id)
                    if known != told:
                        await session.event("progress", job=known)
                        told = known
                    await asyncio.wait((over,), timeout=EVENT_PERIOD_S)
        except TimeoutError:
            pass
        finally:
            over.cancel()
        return {"job": self._job(job_id)}

    async def cancel(self, request: Request, session: Session) -> dict[str, Any]:
        """Ask the server to stop a job.  Raises `ControlError` when it is over."""
        job_id = request.object_id("id")
        request.finish()
        status = self._status(job_id)
        if status.state.final:
            raise ControlError("refused", f"job {job_id.hex()} is {status.state}")
        await self._jobs.cancel(job_id)
        return {"job": self._job(job_id)}

    def _status(self, job_id: bytes) -> JobStatus:
        try:
            return self._jobs.status(job_id)
        except LocalError:
            raise ControlError(
                "unknown",
                f"no job {job_id.hex()} was submitted from here, or it was over long ago",
                "list them with `orbitferry job list`",
            ) from None


def inputs_of(found: Sequence[Progress]) -> dict[str, Any] | None:
    """How far the inputs of a job are, together; None when there are none to be sent any more."""
    if not any(one.open for one in found):
        return None
    last = max((one.expected for one in found if one.expected), default=None, key=_arrival)
    complete = last is not None and all(one.expected for one in found if one.open)
    unheard = {name for one in found if one.expected for name in one.expected.unheard}
    return {
        "bytes_done": sum(one.bytes_done for one in found),
        "bytes_total": sum(one.bytes_total for one in found),
        "expected": dtn_to_iso(last.arrival_ms) if last and complete else None,
        "passes": last.passes if last and complete else None,
        "unheard": sorted(unheard),
    }


def _arrival(expected: Expected) -> int:
    return expected.arrival_ms


def as_dict(status: JobStatus) -> dict[str, Any]:
    """A job, as it travels."""
    return {
        "id": status.job_id.hex(),
        "server": str(status.server.node),
        "handler": status.handler,
        "state": status.state,
        "progress": status.progress,
        "text": status.text,
        "attempts": status.attempts,
        "exit_code": status.exit_code,
        "queued_s": status.queued_s,
        "run_s": status.run_s,
        "outputs": [
            {"name": ref.name, "bytes": ref.size, "sha256": ref.sha256.hex()}
            for ref in status.outputs
        ],
        "files": {name: str(path) for name, path in status.files.items()},
        "complete": status.complete,
        "closed": status.closed,
        "policy": policy_as_dict(status.policy),
    }
