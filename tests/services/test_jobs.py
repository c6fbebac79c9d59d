"""Jobs from submission to results, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from stack.core.eid import Eid
from stack.core.errors import LocalError
from stack.services.files import Prepared
from stack.services.files.state import SPACE_OUT
from stack.services.jobs import (
    JobContext,
    JobFailed,
    JobLimits,
    JobServer,
    JobState,
    JobStatus,
    RetryPolicy,
)
from stack.services.jobs.config import JobsConfig
from stack.services.jobs.messages import JobAck, JobReport, JobRequest
from stack.services.jobs.messages import JobCancel as CancelMessage
from tests.services.fake_port import Faults
from tests.services.helpers import SAT_EID, make_file, until, virtual
from tests.services.job_nodes import QUICK, JobNodes


def test_inputs_up_results_down(tmp_path: Path) -> None:
    one = make_file(tmp_path / "one.bin", 700)
    two = make_file(tmp_path / "two.bin", 300, seed=2)

    async def main() -> JobStatus:
        nodes = JobNodes(tmp_path)
        async with nodes.all_running():
            job = await nodes.client.submit(
                SAT_EID, "double", {}, [tmp_path / "one.bin", tmp_path / "two.bin"]
            )
            assert nodes.client.status(job).state is JobState.SUBMITTED
            status = await nodes.client.wait(job)
            await until(lambda: nodes.leftovers() == [])
        assert len(nodes.messages(JobRequest)) == 1
        finals = [
            m for m in nodes.messages(JobReport) if isinstance(m, JobReport) and m.state.final
        ]
        assert len(finals) == len(nodes.messages(JobAck)) == 1
        return status

    status = virtual(main)
    assert status.state is JobState.FINISHED
    assert status.complete
    assert (status.attempts, status.exit_code, status.progress) == (1, 0, 1.0)
    assert status.run_s == pytest.approx(2.0, abs=0.5)
    assert status.files["summary.txt"].read_text() == "1000"
    assert status.files["out/0.bin"].read_bytes() == one + one
    assert status.files["out/1.bin"].read_bytes() == two + two
    assert [ref.name for ref in status.outputs] == ["summary.txt", "out/1.bin", "out/0.bin"]


@pytest.mark.parametrize("seed", range(8))
def test_loss_and_duplicates_change_nothing(tmp_path: Path, seed: int) -> None:
    content = make_file(tmp_path / "in.bin", 1500)
    runs = []

    async def count(context: JobContext) -> None:
        runs.append(context.args["n"])
        context.output("copy.bin").write_bytes(context.inputs[0].read_bytes())

    async def main() -> None:
        faults = Faults(delay_s=0.2, jitter_s=3.0, loss=0.3, duplicate=0.4)
        nodes = JobNodes(tmp_path, {"count": count}, faults, seed=seed)
        async with nodes.all_running():
            jobs = [
                await nodes.client.submit(SAT_EID, "count", {"n": str(n)}, [tmp_path / "in.bin"])
                for n in range(3)
            ]
            for job in jobs:
                status = await nodes.client.wait(job)
                assert status.complete
                assert status.files["copy.bin"].read_bytes() == content
        assert sorted(runs) == ["0", "1", "2"]

    virtual(main)


def test_progress_comes_at_a_bounded_rate(tmp_path: Path) -> None:
    async def busy(context: JobContext) -> None:
        for step in range(1000):
            context.progress(step / 1000, f"step {step}")
            await asyncio.sleep(0.1)

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"busy": busy}, Faults(jitter_s=12.0, duplicate=0.3))
        seen: list[float] = []
        async with nodes.all_running():
            job = await nodes.client.submit(SAT_EID, "busy")
            while not (status := nodes.client.status(job)).closed:
                seen.append(status.progress)
                await asyncio.sleep(2.5)
            # The last word was the last: a later one of the same server changes nothing.
            late = JobReport(job, 1 << 60, JobState.FAILED, text="late")
            nodes.gs.inject("dtn://sat1/jobs", "job-replies", late.encode())
            await asyncio.sleep(1)
            status = nodes.client.status(job)
        assert status.state is JobState.FINISHED
        assert seen == sorted(seen)
        assert len(set(seen)) > 5
        # 100 s of work at one report in 5 s, and three for the states.
        assert 18 <= len(nodes.messages(JobReport)) <= 24

    virtual(main)


def test_a_job_of_two_seconds_shows_progress_and_a_long_one_is_not_chatty(tmp_path: Path) -> None:
    """With the defaults: after 0.5 s, 1.5 s, 3.5 s ... and once a minute at most."""

    async def busy(context: JobContext) -> None:
        steps = int(context.args["steps"])
        for step in range(steps):
            context.progress(step / steps, f"step {step}")
            await asyncio.sleep(0.1)

    async def main(steps: int, least: int, most: int) -> None:
        nodes = JobNodes(tmp_path / str(steps), {"busy": busy}, config=JobsConfig())
        async with nodes.all_running():
            job = await nodes.client.submit(SAT_EID, "busy", {"steps": str(steps)})
            assert (await nodes.client.wait(job)).state is JobState.FINISHED
        reports = [one for one in nodes.messages(JobReport) if isinstance(one, JobReport)]
        told = {one.permille for one in reports}
        assert least <= len(told) <= most

    virtual(lambda: main(2 * 10, 3, 4))
    virtual(lambda: main(500 * 10, 12, 16))


def test_priority_and_concurrency(tmp_path: Path) -> None:
    order: list[str] = []
    now = {"running": 0, "most": 0}

    async def note(context: JobContext) -> None:
        now["running"] += 1
        now["most"] = max(now["most"], now["running"])
        order.append(context.args["n"])
        await asyncio.sleep(10)
        now["running"] -= 1

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"note": note}, config=replace(QUICK, concurrency=2))
        async with nodes.all_running():
            jobs = []
            for n, priority in enumerate((1, 1, 0, 1, 2)):
                jobs.append(
                    await nodes.client.submit(SAT_EID, "note", {"n": str(n)}, priority=priority)
                )
                await asyncio.sleep(1)
            for job in jobs:
                await nodes.client.wait(job)

    virtual(main)
    assert order[:2] == ["0", "1"]
    assert order[2:] == ["4", "3", "2"]
    assert now["most"] == 2


async def fails(context: JobContext) -> None:
    raise JobFailed("no such band", 3)


async def raises(context: JobContext) -> None:
    raise ValueError("x" * 10_000)


async def sleeps(context: JobContext) -> None:
    await asyncio.sleep(1e5)


async def floods(context: JobContext) -> None:
    with context.output("big.bin").open("wb") as file:
        while True:
            file.write(bytes(2000))
            file.flush()
            await asyncio.sleep(0.3)


async def spreads(context: JobContext) -> None:
    """Folders without end, and nothing in them."""
    for number in count():
        (context.work_directory / str(number)).mkdir()
        await asyncio.sleep(0.0001)


async def links(context: JobContext) -> None:
    context.output("secret").symlink_to("/etc/passwd")
    context.output("fine").write_text("fine")


async def stubborn(context: JobContext) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(1e5)
    await asyncio.sleep(1e4)  # it was told to stop, and does not


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (fails, "no such band"),
        (raises, "ValueError: xxx"),
        (sleeps, "time limit of 20 s"),
        (floods, "output limit of 10000 octets"),
        (spreads, "more than 10000 folders, links and special files"),
    ],
)
def test_failures_are_reported_and_leave_nothing(
    tmp_path: Path, handler: object, words: str
) -> None:
    async def main() -> JobStatus:
        nodes = JobNodes(tmp_path, {"h": handler})  # type: ignore[dict-item]
        async with nodes.all_running():
            limits = JobLimits(time_s=20.0, output_bytes=10_000)
            job = await nodes.client.submit(SAT_EID, "h", limits=limits)
            status = await nodes.client.wait(job)
        assert nodes.leftovers() == []
        return status

    status = virtual(main)
    assert status.state is JobState.FAILED
    assert words in status.text
    assert status.attempts == 1
    assert status.outputs == ()
    assert status.exit_code == (3 if handler is fails else None)


def test_a_file_that_has_gone_whenever_it_is_looked_at_hides_no_other(tmp_path: Path) -> None:
    async def churns(context: JobContext) -> None:
        context.output("large").write_bytes(bytes(20_000))
        context.output("gone").write_bytes(b"")
        await asyncio.sleep(1e5)

    real = os.lstat

    def lstat(path: Any, **how: Any) -> os.stat_result:
        if str(path).endswith("gone"):
            raise FileNotFoundError(path)
        return real(path, **how)

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"churns": churns})
        async with nodes.all_running():
            limits = JobLimits(time_s=20.0, output_bytes=10_000)
            job = await nodes.client.submit(SAT_EID, "churns", limits=limits)
            assert (await nodes.client.wait(job)).text == "output limit of 10000 octets"

    with mock.patch("stack.services.jobs.attempt.os.lstat", lstat):
        virtual(main)


def test_nobody_has_the_jobs_of_others_forgotten(tmp_path: Path) -> None:
    """A flood of cancellations, each of a job that never was, from one node; meanwhile another's
    request comes again, and its job neither runs again nor is its end left untold."""
    runs, flooding = [], [True]

    async def once(context: JobContext) -> None:
        runs.append(context.attempt)

    def lost(source: Eid, destination: Eid, payload: bytes) -> bool:
        return bool(flooding) and destination.service == "job-replies"

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"once": once}, config=replace(QUICK, records_max=20))
        nodes.net.lose = lost
        async with nodes.all_running():
            job = await nodes.client.submit(SAT_EID, "once")
            await until(lambda: bool(runs))
            for number in range(100):
                cancel = CancelMessage(number.to_bytes(16, "big")).encode()
                nodes.sat.inject("dtn://flood/any", "jobs", cancel)
            await asyncio.sleep(100)
            flooding.clear()
            assert (await nodes.client.wait(job)).state is JobState.FINISHED
        assert runs == [1]

    virtual(main)


def test_failures_are_repeated_when_asked_for(tmp_path: Path) -> None:
    attempts = []

    async def second_time(context: JobContext) -> None:
        attempts.append(context.attempt)
        context.output(f"from-{context.attempt}").write_text("x")
        if context.attempt < 3:
            raise JobFailed("not yet")

    async def main() -> JobStatus:
        nodes = JobNodes(tmp_path, {"h": second_time})
        async with nodes.all_running():
            retry = RetryPolicy(attempts=5, failures=True)
            return await nodes.client.wait(await nodes.client.submit(SAT_EID, "h", retry=retry))

    status = virtual(main)
    assert attempts == [1, 2, 3]
    assert (status.state, status.attempts) == (JobState.FINISHED, 3)
    assert list(status.files) == ["from-3"]


def test_links_in_the_output_are_not_results(tmp_path: Path) -> None:
    async def main() -> JobStatus:
        nodes = JobNodes(tmp_path, {"h": links})
        async with nodes.all_running():
            return await nodes.client.wait(await nodes.client.submit(SAT_EID, "h"))

    assert list(virtual(main).files) == ["fine"]


def test_a_handler_that_will_not_stop_does_not_block_others(tmp_path: Path) -> None:
    async def main() -> None:
        nodes = JobNodes(tmp_path, {"stubborn": stubborn, "fails": fails})
        async with nodes.all_running():
            one = await nodes.client.submit(SAT_EID, "stubborn", limits=JobLimits(time_s=5.0))
            two = await nodes.client.submit(SAT_EID, "fails")
            assert "time limit" in (await nodes.client.wait(one)).text
            assert (await nodes.client.wait(two)).text == "no such band"
        assert any(event == "jobs.handler_stuck" for event, _ in nodes.sat.traces)

    virtual(main)


@pytest.mark.parametrize("when", ["submitted", "waiting", "queued", "running", "finished"])
def test_cancel_in_every_state(tmp_path: Path, when: str) -> None:
    make_file(tmp_path / "in.bin", 256 * 20)
    ended = []

    async def slow(context: JobContext) -> None:
        try:
            await asyncio.sleep(500)
        finally:
            ended.append(context.cancelled)

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"slow": slow})
        client = nodes.client
        async with nodes.all_running():
            blocker = await client.submit(SAT_EID, "slow") if when == "queued" else None
            if when == "waiting":  # the last input chunk never comes
                nodes.net.lose = lambda source, destination, payload: len(payload) > 250
            if when == "submitted":
                nodes.net.set_up(False)
            inputs = [tmp_path / "in.bin"] if when in ("waiting", "submitted") else []
            job = await client.submit(SAT_EID, "slow", {}, inputs)
            if when != "submitted":
                await asyncio.sleep(1500 if when == "finished" else 3)
                expected = JobState[when.upper()]
                # A queued or waiting job's report may be the first of its kind.
                assert client.status(job).state in (expected, JobState.WAITING)
            await client.cancel(job)
            await client.cancel(job)
            nodes.net.set_up(True)
            status = await client.wait(job)
            if when == "finished":
                assert status.state is JobState.FINISHED
            else:
                assert status.state is JobState.CANCELLED
                assert status.outputs == ()
            if when == "running":
                await until(lambda: ended == [True])
            if blocker is not None:
                await client.cancel(blocker)
                await client.wait(blocker)
            await until(lambda: nodes.leftovers() == [])

    virtual(main)


def test_cancel_between_the_end_of_a_run_and_its_record(tmp_path: Path) -> None:
    """The handler is done, its results are being hashed: they must not be sent any more."""

    async def quick(context: JobContext) -> None:
        context.output("result.bin").write_bytes(bytes(500))

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"quick": quick})
        prepare = nodes.server_files.prepare

        async def slowly(*args: Any, **options: Any) -> Prepared:
            await asyncio.sleep(10)
            return await prepare(*args, **options)

        nodes.server_files.prepare = slowly  # type: ignore[method-assign]
        async with nodes.all_running():
            job = await nodes.client.submit(SAT_EID, "quick")
            await asyncio.sleep(5)
            await nodes.client.cancel(job)
            assert (await nodes.client.wait(job)).state is JobState.CANCELLED
            await asyncio.sleep(100)
        assert not [key for space, key in nodes.sat.state if space == SPACE_OUT]
        assert nodes.leftovers() == []

    virtual(main)


def test_cancel_that_overtakes_its_request(tmp_path: Path) -> None:
    runs: list[int] = []

    async def note(context: JobContext) -> None:
        runs.append(1)

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"note": note})
        async with nodes.all_running():
            nodes.net.set_up(False)
            job = await nodes.client.submit(SAT_EID, "note")
            (request,) = nodes.messages(JobRequest)
            nodes.sat.inject(
                "dtn://gs1/job-replies", "jobs", CancelMessage(request.job_id).encode()
            )
            await asyncio.sleep(5)
            nodes.net.set_up(True)
            assert (await nodes.client.wait(job)).state is JobState.CANCELLED
            await asyncio.sleep(100)
        assert runs == []

    virtual(main)


@pytest.mark.parametrize("running", [False, True])
def test_deadline(tmp_path: Path, running: bool) -> None:
    async def main() -> None:
        nodes = JobNodes(tmp_path, {"sleeps": sleeps})
        async with nodes.all_running():
            blocker = None if running else await nodes.client.submit(SAT_EID, "sleeps")
            await asyncio.sleep(1)
            job = await nodes.client.submit(SAT_EID, "sleeps", deadline_ms=60_000)
            assert (await nodes.client.wait(job)).state is JobState.EXPIRED
            if blocker is not None:
                await nodes.client.cancel(blocker)

    virtual(main)


def test_no_word_from_the_server(tmp_path: Path) -> None:
    async def main() -> None:
        nodes = JobNodes(tmp_path)
        nodes.net.set_up(False)
        async with nodes.all_running():
            job = await nodes.client.submit(SAT_EID, "double", deadline_ms=3_600_000)
            status = await nodes.client.wait(job)
        assert (status.state, status.closed, status.complete) == (JobState.EXPIRED, True, False)
        assert len(nodes.messages(JobRequest)) < 12

    virtual(main)


def test_what_a_server_refuses(tmp_path: Path) -> None:
    async def main() -> None:
        config = replace(QUICK, limits_max=JobLimits(time_s=10.0))
        nodes = JobNodes(tmp_path, config=config)
        async with nodes.all_running():
            unknown = await nodes.client.submit(SAT_EID, "nothing", limits=JobLimits(time_s=5.0))
            long = await nodes.client.submit(SAT_EID, "double", limits=JobLimits(time_s=11.0))
            assert "no handler" in (await nodes.client.wait(unknown)).text
            assert "time_s" in (await nodes.client.wait(long)).text
        for bad in ({"handler": "../x"}, {"args": {"a b": "1"}}, {"args": {"a": "\0"}}):
            with pytest.raises(LocalError):
                await nodes.client.submit(SAT_EID, **{"handler": "double"} | bad)
        with pytest.raises(LocalError):
            nodes.client.status(bytes(16))

    virtual(main)


def test_policy_hook(tmp_path: Path) -> None:
    async def main() -> None:
        nodes = JobNodes(tmp_path)
        nodes.server._endpoint.close()
        files, _ = nodes.server_files, nodes.server
        files._inboxes.pop()
        server = JobServer(
            nodes.sat.port,
            files,
            nodes.handlers,
            QUICK,
            accepts=lambda source, request: request.args.get("country") == "ch",
        )
        nodes.server = server
        async with nodes.all_running():
            no = await nodes.client.submit(SAT_EID, "double", {"country": "xx"})
            yes = await nodes.client.submit(SAT_EID, "double", {"country": "ch"})
            assert (await nodes.client.wait(no)).text == "refused by policy"
            assert (await nodes.client.wait(yes)).state is JobState.FINISHED

    virtual(main)


def test_a_full_server_lets_the_client_try_again(tmp_path: Path) -> None:
    async def main() -> None:
        nodes = JobNodes(tmp_path, {"sleeps": sleeps}, config=replace(QUICK, jobs_max=1))
        async with nodes.all_running():
            limits = JobLimits(time_s=100.0)
            one = await nodes.client.submit(SAT_EID, "sleeps", limits=limits)
            two = await nodes.client.submit(SAT_EID, "sleeps", limits=limits)
            assert "time limit" in (await nodes.client.wait(one)).text
            assert "time limit" in (await nodes.client.wait(two)).text
        assert len(nodes.messages(JobRequest)) > 2

    virtual(main)


def test_everything_is_forgotten_in_the_end(tmp_path: Path) -> None:
    make_file(tmp_path / "in.bin", 300)

    async def main() -> None:
        nodes = JobNodes(tmp_path)
        async with nodes.all_running():
            job = await nodes.client.submit(SAT_EID, "double", {}, [tmp_path / "in.bin"])
            await nodes.client.wait(job)
            await asyncio.sleep(10 * 86_400)
            assert nodes.client.all_status() == []
        assert nodes.gs.state == nodes.sat.state == {}

    virtual(main)


def test_inputs_without_a_job_are_dropped_at_their_end(tmp_path: Path) -> None:
    make_file(tmp_path / "in.bin", 300)

    async def main() -> None:
        nodes = JobNodes(tmp_path)
        async with nodes.all_running():
            tag = f"job-in/{'0' * 32}/0"
            one = await nodes.client_files.send(
                tmp_path / "in.bin", SAT_EID, tag=tag, lifetime_ms=600_000
            )
            bad = await nodes.client_files.send(tmp_path / "in.bin", SAT_EID, tag="job-in/x/0")
            assert (await nodes.client_files.wait(one)).state == "delivered"
            assert (await nodes.client_files.wait(bad)).state == "refused"
            assert nodes.leftovers() != []
            await asyncio.sleep(700)
            assert nodes.leftovers() == []

    virtual(main)
