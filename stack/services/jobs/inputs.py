"""The inputs of jobs: objects of the file service, matched with requests in either order."""

from __future__ import annotations

from pathlib import Path

from stack.core.clock import MILLISECOND
from stack.core.eid import Eid
from stack.core.errors import LocalError
from stack.ports.application import AppPort
from stack.services.batch import Batch, records
from stack.services.files import FilesService, Offer, Received
from stack.services.files.state import SPACE_IN, SPACE_INBOX, InObject
from stack.services.jobs.attempt import remove_tree
from stack.services.jobs.messages import JobState
from stack.services.jobs.state import TAG_IN, JobStep, ServerJob, base_name, job_key, job_of_tag
from stack.services.jobs.table import JobTable
from stack.services.policies import label, meet, until


class JobInputs:
    """Which inputs are here is what the inbox holds; they leave it when their job is over."""

    def __init__(
        self, port: AppPort, files: FilesService, table: JobTable, directory: Path
    ) -> None:
        self._port = port
        self._table = table
        self._directory = directory
        self._erasures = files.erasures
        self._orphans: dict[str, Received] = {}
        self.inbox = files.subscribe(TAG_IN, self._place)

    def _place(self, source: Eid, offer: Offer) -> str | None:
        """Where an input goes; asked before its job's request may have come."""
        parsed = job_of_tag(offer.tag)
        if parsed is None:
            return None
        job_id, index = parsed
        # Of two objects for one place the request means one: none is put over another.
        folder = f"{index}-{offer.object_id.hex()}"
        return f"jobs/{job_key(source, job_id)}/in/{folder}/{base_name(offer)}"

    def _job_of(self, received: Received) -> ServerJob | None:
        parsed = job_of_tag(received.tag)
        return None if parsed is None else self._table.get(job_key(received.source, parsed[0]))

    def awaited(self) -> set[str]:
        """Jobs with an input that is here, or about to be: their request may come."""
        here = records(self._port, "files", SPACE_INBOX, Received.decode)
        comes = records(self._port, "files", SPACE_IN, InObject.decode)
        objects = [
            *((one.source, one.tag) for one in here),
            *((one.source, one.offer.tag) for one in comes if one.offer and one.complete),
        ]
        parsed = ((source, job_of_tag(tag)) for source, tag in objects)
        return {job_key(source, found[0]) for source, found in parsed if found}

    def on_input(self, received: Received, batch: Batch) -> None:
        """An input has arrived, or is still here after a restart."""
        job = self._job_of(received)
        if job is None:
            # Its request is still on its way; but not for ever.
            self._orphans[received.key] = received
            left_ms = received.expires_ms - self._port.dtn_ms()
            due_ns = self._port.now() + left_ms * MILLISECOND
            self._table.timers.arm(("orphan", received.key), due_ns)
        elif job.state.final:
            self._drop(received, batch)
        else:
            self.check(job, batch)

    def on_orphan_due(self, key: str, batch: Batch) -> None:
        """The lifetime of an input that had no job has ended."""
        orphan = self._orphans.pop(key, None)
        if orphan is None or self.inbox.find(orphan.source, orphan.object_id) is None:
            return
        job = self._job_of(orphan)
        if job is None or job.state.final:
            self._drop(orphan, batch)

    def check(self, job: ServerJob, batch: Batch) -> None:
        """Queue a job whose inputs are all here."""
        if job.state is not JobState.WAITING or job.request is None:
            return
        policies = []
        for ref in job.request.inputs:
            received = self.inbox.find(job.client, ref.object_id)
            if received is None:
                return
            policies.append(received.policy)
            if received.sha256 != ref.sha256:
                self._table.step(job, JobStep.FAIL, batch, f"input {ref.name} is another file")
                return
        policy = meet(job.policy, *policies)  # it holds for whatever the job makes of them
        try:
            label(policy)
        except LocalError as error:
            words = f"the data policies of all its inputs do not fit into one: {error}"
            self._table.step(job, JobStep.FAIL, batch, words)
            return
        job.policy = policy
        self._table.end_by(job, until(job.policy, job.expires_ms))
        self._table.step(job, JobStep.INPUTS, batch)

    def paths(self, job: ServerJob) -> tuple[Path, ...]:
        """The files of a job's inputs, in the order of its request.  Raises `OSError` when one
        has gone."""
        paths = []
        for ref in () if job.request is None else job.request.inputs:
            received = self.inbox.find(job.client, ref.object_id)
            if received is None or not received.path.is_file():
                raise FileNotFoundError(f"input {ref.name} has gone")
            paths.append(received.path)
        return tuple(paths)

    def release(self, job: ServerJob, batch: Batch) -> None:
        """A job is over: nobody needs its inputs any more."""
        for ref in () if job.request is None else job.request.inputs:
            received = self.inbox.find(job.client, ref.object_id)
            if received is not None:
                self._take(received, batch)
        batch.after(lambda: remove_tree(self._directory / job.key / "in"))

    def _drop(self, received: Received, batch: Batch) -> None:
        self._take(received, batch)
        batch.after(lambda: remove_tree(received.path.parent))

    def _take(self, received: Received, batch: Batch) -> None:
        batch.add(self.inbox.taken(received))
        batch.after(lambda: self._erasures.erase(received.path))
