"""Jobs while both nodes are killed at any commit: run as their policy says, counted once."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.services.files import FilesService
from stack.services.files.state import SPACE_OUT, OutSpec
from stack.services.jobs import JobClient, JobContext, JobState, JobStatus, RetryPolicy
from stack.services.jobs.messages import JobAck, JobReport
from stack.services.jobs.state import SPACE_CLIENT, SPACE_SERVER, ClientJob
from tests.services.fake_port import Faults, run_through_crashes
from tests.services.helpers import SAT_EID, SMALL, make_file, running, until, virtual
from tests.services.job_nodes import QUICK, JobNodes

Crashes = list[tuple[int, bool]]
crashes = st.lists(st.tuples(st.integers(1, 15), st.booleans()), max_size=5)


def run_job(
    tmp: Path,
    seed: int,
    at_gs: Crashes,
    at_sat: Crashes,
    faults: Faults,
    retry: RetryPolicy,
) -> tuple[JobStatus, list[int], bytes]:
    """One job through the given crashes: its last status, the attempts begun, and its input."""
    content = make_file(tmp / "in.bin", 700)
    begun: list[int] = []

    async def handler(context: JobContext) -> None:
        begun.append(context.attempt)
        context.output(f"attempt-{context.attempt}.txt").write_text("partial")
        await asyncio.sleep(3)
        context.output("copy.bin").write_bytes(context.inputs[0].read_bytes())

    async def main() -> JobStatus:
        nodes = JobNodes(tmp, {"h": handler}, faults, seed=seed)
        # What `submit` has promised before the crash holds after it.
        job = await nodes.client.submit(SAT_EID, "h", {}, [tmp / "in.bin"], retry=retry)

        def closed() -> bool:
            record = nodes.gs.state[SPACE_CLIENT, job.hex()]
            return ClientJob.decode(record).closed

        async with running(
            run_through_crashes(nodes.gs, nodes.run_client, at_gs),
            run_through_crashes(nodes.sat, nodes.run_server, at_sat),
        ):
            await until(closed)
            await asyncio.sleep(1000)
        # Results were made part of the store once: one object for each announced output.
        sent = [
            OutSpec.decode(value)
            for (space, key), value in nodes.sat.state.items()
            if space == SPACE_OUT and key.startswith("spec/")
        ]
        view = nodes.gs.restart_view()
        status = JobClient(view, FilesService(view, tmp / "gs", SMALL)).status(job)
        assert {spec.object_id for spec in sent} == {ref.object_id for ref in status.outputs}
        assert nodes.leftovers() == []
        return status

    return virtual(main), begun, content


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), at_gs=crashes, at_sat=crashes)
def test_crashes_anywhere(seed: int, at_gs: Crashes, at_sat: Crashes) -> None:
    with tempfile.TemporaryDirectory() as tmp:
        status, begun, content = run_job(
            Path(tmp),
            seed,
            at_gs,
            at_sat,
            Faults(jitter_s=0.5, loss=0.1, duplicate=0.2),
            RetryPolicy(attempts=50),
        )
        assert status.state is JobState.FINISHED
        assert status.complete
        # Only the last run's output counts; an attempt may be cut off before its handler began.
        assert sorted(status.files) == [f"attempt-{status.attempts}.txt", "copy.bin"]
        assert status.files["copy.bin"].read_bytes() == content
        assert begun == sorted(set(begun))
        assert begun[-1] == status.attempts
        assert len(begun) <= 1 + len(at_sat)


@pytest.mark.parametrize("applies", [False, True])
@pytest.mark.parametrize("commit", range(1, 13))
def test_each_commit_of_the_server(tmp_path: Path, commit: int, applies: bool) -> None:
    status, begun, _ = run_job(
        tmp_path, 1, [], [(commit, applies)], Faults(), RetryPolicy(attempts=3)
    )
    assert status.state is JobState.FINISHED
    assert status.complete
    assert 1 <= len(begun) <= 2


@pytest.mark.parametrize(
    ("retry", "runs"),
    [
        (RetryPolicy(after_crash="report"), 1),
        (RetryPolicy(attempts=2, after_crash="repeat"), 2),
        (RetryPolicy(attempts=1, after_crash="repeat"), 1),
    ],
)
def test_a_run_cut_off_is_reported_or_repeated(
    tmp_path: Path, retry: RetryPolicy, runs: int
) -> None:
    """A handler that brings its node down each time: its policy bounds how often."""
    begun: list[int] = []

    async def main() -> JobStatus:
        nodes = JobNodes(tmp_path)

        async def deadly(context: JobContext) -> None:
            begun.append(context.attempt)
            context.output("partial.txt").write_text("partial")
            nodes.sat.port.dead = True
            nodes.sat.crashed.set()
            await asyncio.sleep(1e6)

        nodes.handlers["deadly"] = deadly
        job = await nodes.client.submit(SAT_EID, "deadly", retry=retry)
        async with running(
            nodes.client_files.run(),
            nodes.client.run(),
            run_through_crashes(nodes.sat, nodes.run_server, [(0, False)] * 6),
        ):
            status = await nodes.client.wait(job)
        assert nodes.leftovers() == []
        return status

    status = virtual(main)
    assert status.state is JobState.FAILED
    assert "cut off" in status.text
    assert status.attempts == runs
    assert begun == list(range(1, runs + 1))
    assert status.outputs == ()


FOLDER = "0" * 32


def test_what_a_crash_has_left_of_forgotten_jobs_goes_at_the_next_start(tmp_path: Path) -> None:
    """But not what nobody here calls a job."""
    for name in (f"{FOLDER}/run-1/work/x", f"{FOLDER}/in/0/x", "mine/run-1/x"):
        path = tmp_path / "sat" / "jobs" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")

    async def main() -> None:
        nodes = JobNodes(tmp_path)
        async with nodes.all_running():
            await asyncio.sleep(1)
        assert nodes.leftovers() == ["jobs/mine/run-1/x"]

    virtual(main)


def test_results_on_their_way_stay_though_their_job_is_forgotten(tmp_path: Path) -> None:
    """The node is killed meanwhile; they go when they have been delivered."""

    async def work(context: JobContext) -> None:
        context.output("whole").write_bytes(b"x" * 100)

    async def main() -> None:
        config = replace(QUICK, retain_ms=1000, report_lifetime_ms=600_000)
        nodes = JobNodes(tmp_path, {"work": work}, config=config)
        nodes.net.lose = lambda source, destination, payload: source.node == SAT_EID.node
        async with running(nodes.client_files.run(), nodes.client.run()):
            async with running(nodes.server_files.run(), nodes.server.run()):
                await nodes.client.submit(SAT_EID, "work", deadline_ms=60_000)
                await asyncio.sleep(90)
            assert not nodes.sat.port.read_all(SPACE_SERVER)
            async with running(nodes.run_server(nodes.sat.restart())):
                await asyncio.sleep(60)
                assert [one for one in nodes.leftovers() if one.endswith("whole")]
                nodes.net.lose = lambda source, destination, payload: False
                await asyncio.sleep(600)
                assert nodes.leftovers() == []

    virtual(main)


def test_inputs_that_wait_for_their_request_stay(tmp_path: Path) -> None:
    make_file(tmp_path / "in.bin", 700)

    async def main() -> None:
        nodes = JobNodes(tmp_path)
        lost = [True]

        def requests(source: Eid, destination: Eid, payload: bytes) -> bool:
            return lost[0] and destination.service == "jobs"

        nodes.net.lose = requests
        async with running(nodes.client_files.run(), nodes.client.run()):
            async with running(nodes.server_files.run(), nodes.server.run()):
                job = await nodes.client.submit(SAT_EID, "double", {}, [tmp_path / "in.bin"])
                await asyncio.sleep(20)
                assert [one for one in nodes.leftovers() if "/in/" in one]
            lost[0] = False
            async with running(nodes.run_server(nodes.sat.restart())):
                assert (await nodes.client.wait(job)).state is JobState.FINISHED

    virtual(main)


@pytest.mark.parametrize("whose", ["forgotten", "known", "all"])
def test_a_folder_of_jobs_that_cannot_be_read_stops_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """What is in it stays for the next start, and the log tells that."""
    jobs = tmp_path / "sat" / "jobs"
    forgotten = [digit * 32 for digit in "012"]
    listdir, unreadable = os.listdir, set[Path]()

    def refusing(path: Path) -> list[str]:
        if Path(path) in unreadable:
            raise PermissionError(13, "planted", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refusing)

    async def one_life(nodes: JobNodes) -> None:
        async with running(nodes.run_server(nodes.sat.restart())):
            job = await nodes.client.submit(SAT_EID, "double")
            assert (await nodes.client.wait(job)).state is JobState.FINISHED

    async def main() -> None:
        nodes = JobNodes(tmp_path)
        async with running(nodes.client_files.run(), nodes.client.run()):
            await one_life(nodes)
            (known,) = (key for space, key in nodes.sat.state if space == SPACE_SERVER)
            for key in (known, *forgotten):
                make_file(jobs / key / "run-7" / "x", 1)
            unreadable.add({"known": jobs / known, "all": jobs}.get(whose, jobs / forgotten[1]))
            await one_life(nodes)
        told = [str(fields["what"]) for event, fields in nodes.sat.traces if "failed" in event]
        assert told == [f"clean up {path}" for path in unreadable]
        stays = {"known": [known], "all": forgotten}.get(whose, [forgotten[1]])
        left = [name for name in nodes.leftovers() if "run-7" in name]
        assert left == [f"jobs/{key}/run-7/x" for key in stays]

    virtual(main)


def test_what_the_client_has_acknowledged_is_not_told_again_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        nodes = JobNodes(tmp_path)
        async with nodes.all_running():
            await nodes.client.wait(await nodes.client.submit(SAT_EID, "double", {}, []))
            await until(lambda: nodes.messages(JobAck) != [])
            await asyncio.sleep(1)
        told = len(nodes.messages(JobReport))
        async with running(run_through_crashes(nodes.sat, nodes.run_server, [])):
            await asyncio.sleep(3 * QUICK.repeat_s)
        assert len(nodes.messages(JobReport)) == told

    virtual(main)
