"""Runs queued jobs, and turns what comes of them into results."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Final

from stack.audit.event import Act
from stack.core.errors import LocalError, PolicyError, StoreError, words_of
from stack.ports.application import AppPort, Happening
from stack.services.batch import Batch
from stack.services.batch import attempt as attempted
from stack.services.files import FileEvent, FilesService, Prepared
from stack.services.files.erasures import Erasable
from stack.services.files.sender import stored
from stack.services.files.steps import OUT_OPEN
from stack.services.jobs.attempt import Attempt, Output, remove_tree
from stack.services.jobs.config import JobsConfig
from stack.services.jobs.context import Handler, JobFailed, sayable
from stack.services.jobs.messages import FileRef, JobState
from stack.services.jobs.state import TAG_OUT, JobStep, ServerJob, tag_of
from stack.services.jobs.table import JobTable
from stack.services.waiting import cancel_all

FindInputs = Callable[[ServerJob], tuple[Path, ...]]
"""The files of a job's inputs; raises `OSError` when one has gone."""

_IS_KEY: Final = re.compile("[0-9a-f]{32}").fullmatch
"""Whether a name is that of a job's folder (`job_key`)."""


class Executor:
    """Up to `concurrency` jobs at a time.  Set `wake` when a job may have been queued."""

    def __init__(
        self,
        port: AppPort,
        config: JobsConfig,
        files: FilesService,
        lock: asyncio.Lock,
        table: JobTable,
        handlers: Mapping[str, Handler],
        directory: Path,
    ) -> None:
        self.wake = asyncio.Event()
        self._port = port
        self._config = config
        self._files = files
        self._lock = lock
        self._table = table
        self._handlers = handlers
        self._directory = directory
        self._attempts: dict[str, Attempt] = {}
        self._results: dict[str, set[bytes]] = {}
        self._job_of_result: dict[bytes, str] = {}
        files.listen(self._on_file)

    async def schedule(self, group: asyncio.TaskGroup, find_inputs: FindInputs) -> None:
        """Start jobs as there is room, until cancelled."""
        while True:
            self.wake.clear()
            async with self._lock:
                while len(self._attempts) < self._config.concurrency:
                    job = self._table.next_queued()
                    if job is None:
                        break
                    attempt = await self._start(job, find_inputs)
                    if attempt is not None:
                        group.create_task(self._run(job, attempt))
            await self.wake.wait()

    def stop(self, key: str) -> None:
        """A job has ended from outside: end its run."""
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.stop()

    def cut_off(self, job: ServerJob, batch: Batch) -> None:
        """Decide on a run which the end of the node's process has cut off."""
        request = job.request
        assert request is not None
        text = f"run {job.attempt} was cut off by the end of the node's process"
        again = request.retry.after_crash == "repeat" and job.attempt < request.retry.attempts
        self._table.step(job, JobStep.REPEAT if again else JobStep.FAIL, batch, text)

    def judge(self, job: ServerJob, batch: Batch) -> None:
        """End a run whose data may not be read here any more, as none would begin on it."""
        if job.state is JobState.RUNNING:
            try:
                self._check_readable(job)
            except PolicyError as error:
                words = f"run {job.attempt} was cut off: {error}"
                self._table.step(job, JobStep.FAIL, batch, sayable(words))

    def _check_readable(self, job: ServerJob) -> None:
        """Raise `PolicyError` for a job whose data may not be read here."""
        if job.policy is not None:
            self._port.check_policy(self._port.node_id, job.policy)

    def recover(self, job: ServerJob) -> None:
        """Remove what runs have left that came to nothing, and watch results under way."""
        keep = ""
        if job.state is JobState.FINISHED:
            self._watch_results(job)
            keep = f"run-{job.attempt}" if job.key in self._results else ""
        self._remove_runs(job.key, keep)

    def sweep(self, awaited: Set[str]) -> None:
        """Remove what a crash has left of jobs that are forgotten, but for results on their way,
        and inputs of jobs that are `awaited`."""
        found = filter(_IS_KEY, self._names_in(self._directory) or ())
        forgotten = {key for key in found if self._table.get(key) is None}
        for obj in stored(self._port) if forgotten else ():
            path = Path(obj.spec.path)
            if obj.state in OUT_OPEN and self._directory in path.parents:
                self._watch(path.relative_to(self._directory).parts[0], obj.spec.object_id)
        for key in forgotten:
            if key not in self._results and self._remove_runs(key) and key not in awaited:
                remove_tree(self._directory / key)

    def remove(self, job: ServerJob) -> None:
        """Remove all that is on disk of a forgotten job, once nobody awaits its results."""
        if job.key not in self._results:
            self._remove_home(job.key)

    async def _start(self, job: ServerJob, find_inputs: FindInputs) -> Attempt | None:
        """Begin a run: durable before the handler does anything."""
        batch = Batch()
        job.attempt += 1
        job.started_ms = self._port.dtn_ms()
        job.exit_code = None
        job.permille, job.doing = 0, ""
        if not batch.attempt(self._port, f"start {job.key}", self._begin, job, find_inputs, batch):
            self._attempts.pop(job.key, None)
            self._table.step(job, JobStep.FAIL, batch, "cannot start")
        await batch.commit(self._port)
        return self._attempts.get(job.key)

    def _begin(self, job: ServerJob, find_inputs: FindInputs, batch: Batch) -> None:
        request = job.request
        assert request is not None
        handler = self._handlers.get(request.handler)
        directory = self._directory / job.key / f"run-{job.attempt}"
        try:
            if handler is None:
                raise FileNotFoundError(f"there is no handler {request.handler!r} any more")
            self._check_readable(job)  # who has sent the inputs may have known us otherwise
            inputs = find_inputs(job)
            attempt = Attempt(self._port, self._config, job, handler, directory, inputs)
        except (OSError, PolicyError) as error:
            self._table.step(job, JobStep.FAIL, batch, sayable(f"cannot start: {error}"))
            return
        self._attempts[job.key] = attempt
        self._table.step(job, JobStep.START, batch)
        if job.asked:
            words = f"job {job.job_id.hex()}, {request.handler}, run {job.attempt}"
            batch.tells.append(Happening(Act.RUN, job.asked, words, job.policy))
        if job.attempt == 1 or self._table.follows(job):
            self._table.report(job, batch)
        self._keep(job, directory, batch)

    def _keep(self, job: ServerJob, directory: Path, batch: Batch) -> None:
        """What a run has on disk is under the policy of its job."""
        if job.policy is not None:
            erasures = self._files.erasures
            name = f"job:{job.key}/{directory.name}"
            kept = Erasable(erasures.key(directory), name, job.policy)
            erasures.keep(kept, batch, f"job {job.job_id.hex()}, run {job.attempt}")

    def _remove(self, directory: Path) -> None:
        """Remove what a run has left; what is under a policy, with its end written down."""
        if not self._files.erasures.erase(directory):
            remove_tree(directory)

    def _remove_runs(self, key: str, keep: str = "") -> bool:
        """Whether they can be seen: else all stays for the next start, and the jobs go on."""
        home = self._directory / key
        names = self._names_in(home)
        for name in names or ():
            if name.startswith("run-") and name != keep:
                self._remove(home / name)
        return names is not None

    def _names_in(self, folder: Path) -> list[str] | None:
        """What lies in a folder, if there is one; None when it cannot be read, which is told."""
        try:
            return os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            fields = {"what": f"clean up {folder}", "why": words_of(error)}
            self._port.trace("service_work_failed", fields)
            return None

    def _remove_home(self, key: str) -> None:
        """Remove all that is on disk of a job that is forgotten."""
        if self._remove_runs(key):
            remove_tree(self._directory / key)

    async def _run(self, job: ServerJob, attempt: Attempt) -> None:
        reporter = asyncio.ensure_future(self._report_progress(job, attempt))
        outputs: list[Output] = []
        prepared: list[Prepared] = []
        failure: JobFailed | None = None
        try:
            outputs = await attempt.run()
            prepared = await self._prepare(job, outputs)
        except JobFailed as error:
            failure = error
        except Exception as error:  # whatever it is, it concerns this job alone
            failure = JobFailed(words_of(error))
        finally:
            await cancel_all((reporter,))
        async with self._lock:
            batch = Batch()
            what = f"end {job.key}"
            if job.state is JobState.RUNNING and failure is None:  # else ended from outside
                works = (self._succeed, job, outputs, prepared, batch)
                if not batch.attempt(self._port, what, *works):
                    failure = JobFailed("its results cannot be recorded")
            if job.state is JobState.RUNNING and failure is not None:
                self._fail(job, failure, batch)
            await batch.commit(self._port)
            del self._attempts[job.key]
            if job.state is JobState.FINISHED:
                for one in prepared:
                    attempted(self._port, what, self._files.start, one)
                attempted(self._port, what, self._watch_results, job)
        if job.key not in self._results:
            attempted(self._port, what, self._remove, attempt.directory)
        self.wake.set()

    async def _prepare(self, job: ServerJob, outputs: list[Output]) -> list[Prepared]:
        """Hash the results, so that they can enter the transaction that ends the job."""
        left_ms = job.expires_ms - self._port.dtn_ms()
        prepared = []
        try:
            for index, output in enumerate(outputs):
                one = await self._files.prepare(
                    output.path,
                    job.client,
                    name=output.name,
                    priority=output.priority,
                    lifetime_ms=max(left_ms, self._config.report_lifetime_ms),
                    tag=tag_of(TAG_OUT, job.job_id, index),
                    policy=job.policy,
                )
                prepared.append(one)
        except (LocalError, PolicyError) as error:
            raise JobFailed(f"results cannot be sent: {error}") from error
        return prepared

    def _succeed(
        self, job: ServerJob, outputs: list[Output], prepared: list[Prepared], batch: Batch
    ) -> None:
        job.exit_code = 0
        job.outputs = tuple(
            FileRef(
                one.spec.object_id, output.name, one.spec.size, one.spec.sha256, output.priority
            )
            for output, one in zip(outputs, prepared, strict=True)
        )
        for one in prepared:
            for write in one.writes:
                batch.add(write)
        self._table.step(job, JobStep.SUCCEED, batch)

    def _fail(self, job: ServerJob, failure: JobFailed, batch: Batch) -> None:
        request = job.request
        assert request is not None
        job.exit_code = failure.exit_code
        again = request.retry.failures and job.attempt < request.retry.attempts
        self._table.step(job, JobStep.REPEAT if again else JobStep.FAIL, batch, failure.text)

    async def _report_progress(self, job: ServerJob, attempt: Attempt) -> None:
        context, wait_s = attempt.context, self._config.progress_s
        while True:
            await self._port.sleep(wait_s)
            wait_s = min(2 * wait_s, self._config.progress_max_s)
            news = (context.permille, context.doing)
            if job.state is not JobState.RUNNING or news == (job.permille, job.doing):
                continue
            if not self._table.follows(job):
                continue
            job.permille, job.doing = news
            try:
                await self._port.commit(send=[self._table.report_bundle(job)])
            except StoreError as error:
                self._port.trace("jobs.progress_unsent", {"error": str(error)})

    # -- results on their way

    def _watch_results(self, job: ServerJob) -> None:
        for ref in job.outputs:
            progress = self._files.progress(ref.object_id)
            if progress is not None and progress.open:
                self._watch(job.key, ref.object_id)

    def _watch(self, key: str, object_id: bytes) -> None:
        self._results.setdefault(key, set()).add(object_id)
        self._job_of_result[object_id] = key

    def _on_file(self, event: FileEvent) -> None:
        """Drop a job's results when the last of them was delivered, or cannot be."""
        progress = event.progress
        if progress.open or progress.direction != "out":
            return
        key = self._job_of_result.pop(progress.object_id, None)
        if key is None:
            return
        waiting = self._results[key]
        waiting.discard(progress.object_id)
        if not waiting:
            del self._results[key]
            job = self._table.get(key)
            if job is None:
                self._remove_home(key)
            else:
                self._remove(self._directory / key / f"run-{job.attempt}")
