"""Runs whole nodes under a sky in virtual time, and judges what came of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from link_models.clock import VirtualLoop
from link_models.rng import Streams
from stack.services.files.source import walk_folder
from stack.services.jobs import JobContext, JobFailed, JobLimits
from stack.services.jobs.messages import OUTPUTS_MAX
from stack.services.waiting import cancel_all
from stack.simulator.loopback.captured import RunCapture
from stack.simulator.loopback.code import Code, InputFile
from stack.simulator.loopback.observe import AFTER_PASS_S, Observer, Watch
from stack.simulator.loopback.results import JobRow, ObjectRow, Result, TrafficRow
from stack.simulator.loopback.workload import HandlerLog, Workload, sha256_of
from stack.simulator.loopback.world import LoopbackWorld
from stack.simulator.scenario import JobTask, Scenario
from stack.simulator.sky import Sky

PROBLEMS_MAX = 50
"""Problems listed one by one; more is a number."""


class Run:
    """One run, from the start of the nodes to the result."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        streams: Streams,
        sky: Sky,
        code: Code,
        files: Sequence[InputFile],
        root: Path,
        watch: Watch | None,
        capture: RunCapture | None,
    ) -> None:
        self._scenario = scenario
        self._seed = seed
        self._streams = streams
        self._sky = sky
        self._code = code
        self._files = files
        self._root = root
        self._watch = watch
        self._capture = capture

    async def main(self) -> Result:
        """The coroutine that virtual time runs."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        log = HandlerLog(self._code.handlers)
        world = LoopbackWorld(
            self._scenario,
            self._sky,
            self._streams,
            loop,
            self._root / "nodes",
            log.handlers,
            self._capture,
        )
        workload = Workload(world, self._files, log)
        observer = Observer(world, self._watch, workload.progress)
        async with contextlib.AsyncExitStack() as stack:
            for node in world.nodes.values():
                await stack.enter_async_context(node)
            workload.listen()
            await _either(workload.run(), observer.run())
            observer.sample(everything=True)
            ended_s = world.now_s()
            passes = observer.pass_rows()
            directions = observer.direction_rows(passes)
            counters = {name: one.counters() | one.gauges() for name, one in world.nodes.items()}
            events = {name: dict(counter) for name, counter in world.events.items()}
            # Handlers may wait in virtual time: everything else is counted before.
            references = await self._references(workload)
            objects, jobs = workload.rows(references)
            traffic = workload.traffic.rows()
            series = observer.series()
            series.latency_s.update(workload.traffic.latencies())
            return Result(
                title=self._scenario.title,
                seed=self._seed,
                start=self._scenario.start,
                duration_s=self._scenario.duration_h * 3600,
                ended_s=ended_s,
                objects=objects,
                jobs=jobs,
                passes=passes,
                directions=directions,
                counters=counters,
                events=events,
                problems=_problems(workload, objects, jobs, traffic, references),
                series=series,
                traffic=traffic,
            )

    async def _references(self, workload: Workload) -> dict[str, dict[str, str]]:
        """Digests of the results of each job, computed on the ground by the same handlers."""
        found: dict[str, dict[str, str]] = {}
        for number, (task, files) in enumerate(workload.finished_jobs()):
            folder = self._root / "reference" / str(number)
            found[task.name] = await _reference(self._code, task, files, folder)
        return found


async def _reference(
    code: Code, task: JobTask, files: Sequence[InputFile], folder: Path
) -> dict[str, str]:
    work, out = folder / "run" / "work", folder / "run" / "out"
    for path in (work, out):
        path.mkdir(parents=True)
    context = JobContext(
        args=dict(task.args),
        inputs=tuple(one.path for one in files),
        limits=JobLimits(),
        attempt=1,
        work_directory=work,
        output_directory=out,
        trace=lambda event, fields: None,
    )
    with contextlib.suppress(JobFailed):
        await code.handlers[task.handler](context)
    return {name: sha256_of(Path(path)) for path, name in walk_folder(str(out), OUTPUTS_MAX)}


def _problems(
    workload: Workload,
    objects: Sequence[ObjectRow],
    jobs: Sequence[JobRow],
    traffic: Sequence[TrafficRow],
    references: dict[str, dict[str, str]],
) -> tuple[str, ...]:
    """What is not as it should be, and why."""
    found: list[str] = []
    if not objects and not traffic:
        found.append("nothing was sent: the scenario has no work, or its jobs have no input")
    for job in jobs:
        if job.state != "finished":
            found.append(f"job {job.name}: {job.state} {job.text}".rstrip())
            continue
        got = {row.name for row in objects if row.task == job.name and row.kind == "result"}
        found += [
            f"job {job.name}: result {name} is missing: the satellite did not make it"
            for name in sorted(references[job.name].keys() - got)
        ]
    for row in objects:
        what = f"{row.kind} {row.name} of {row.task} ({row.bytes} octets)"
        if row.arrived_s is None:
            state = workload.sending_state(row)
            found.append(f"{what} did not arrive at {row.destination}: {state} at {row.source}")
        elif not row.ok:
            found.append(
                f"{what} is wrong: expected SHA-256 {row.sha256_expected or 'nothing'}, "
                f"got {row.sha256_arrived or 'nothing'}"
            )
    for flow in traffic:
        if not flow.ok:
            found.append(
                f"traffic {flow.task}: {flow.arrived:,} of {flow.count:,} bundles arrived, "
                f"{flow.wrong} wrong ones, {flow.refused} were refused for want of room"
            )
    found += [f"task {name} had not ended when the run did" for name in workload.unfinished()]
    if len(found) > PROBLEMS_MAX:
        found[PROBLEMS_MAX:] = [f"and {len(found) - PROBLEMS_MAX} more"]
    return tuple(found)


async def _either(work: Coroutine[Any, Any, None], time: Coroutine[Any, Any, None]) -> None:
    """Until the work is over (and what it left on the links has arrived), or the time.  Raises
    what either raised."""

    async def worked() -> None:
        await work
        await asyncio.sleep(AFTER_PASS_S)

    tasks = [asyncio.create_task(worked()), asyncio.create_task(time)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await cancel_all([task for task in tasks if not task.done()])
    for task in tasks:
        if not task.cancelled():
            task.result()
