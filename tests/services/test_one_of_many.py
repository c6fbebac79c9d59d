"""A service deals with many things, and calls code of others: what fails for one stops no other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from stack.core.eid import Eid
from stack.core.errors import SecurityError
from stack.policy import DataPolicy
from stack.ports.application import Delivery, Happening, Outgoing
from stack.ports.store import Write
from stack.services.batch import Batch
from stack.services.echo import EchoService, ping
from stack.services.files import FilesService, Received
from stack.services.files import sender as sending
from stack.services.files.ledger import Ledger
from stack.services.files.receiver import FileReceiver
from stack.services.files.sender import FileSender
from stack.services.files.verifier import Verifier
from stack.services.jobs import JobContext, JobFailed, JobServer
from stack.services.jobs.attempt import Attempt
from stack.services.jobs.client import JobClient
from stack.services.jobs.executor import Executor
from stack.services.jobs.messages import JobReport, JobState
from stack.services.jobs.state import SPACE_SERVER, ServerJob
from stack.services.names import ECHO, endpoint_of
from stack.services.reports import Reported, StatusReports
from stack.wire.bundle import StatusReport, encode_status_report
from tests.services.fake_port import FakeNet, FakeNode
from tests.services.helpers import (
    GS,
    GS_EID,
    SAT,
    SAT_EID,
    SMALL,
    collect,
    files_on,
    make_file,
    running,
    until,
    virtual,
)
from tests.services.job_nodes import JobNodes, double


def fails(*args: Any, **options: Any) -> Any:
    raise ValueError("planted")


def once(patch: pytest.MonkeyPatch, owner: Any, name: str, error: Exception | None = None) -> None:
    """The first call of a function fails."""
    real, left = getattr(owner, name), 1

    def call(*args: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error or ValueError("planted")
        return real(*args, **options)

    patch.setattr(owner, name, call)


def told(node: FakeNode) -> list[str]:
    """What a node's services say that they could not do, and why."""
    return [fields["why"] for event, fields in node.traces if event == "service_work_failed"]


# ---- pings and reports -------------------------------------------------------------------------


def test_a_ping_that_cannot_be_dealt_with_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    real = EchoService._answer

    def answer(self: EchoService, delivery: Delivery) -> Outgoing | None:
        return fails() if bytes(delivery.payload) == b"bad" else real(self, delivery)

    monkeypatch.setattr(EchoService, "_answer", answer)

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        async with running(EchoService(sat.port).run()):
            for payload in (b"good", b"bad", b"good"):
                sat.inject(GS + "ping", "echo", payload)
            results = [each async for each in ping(gs.port, endpoint_of(SAT_EID, ECHO), count=2)]
        assert all(result.rtt_ns is not None for result in results)
        assert told(sat) == ["ValueError: planted"]
        # It is not lost: it comes again with the next start.
        assert [bytes(delivery.payload) for delivery in sat.inbound.values()] == [b"bad"]

    virtual(main)


def test_an_answer_for_which_there_is_no_key_keeps_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        real = sat.port.commit

        async def commit(
            *,
            consume: Sequence[Delivery] = (),
            write: Sequence[Write] = (),
            send: Sequence[Outgoing] = (),
            tell: Sequence[Happening] = (),
        ) -> Any:
            if any(one.destination.node != gs.eid for one in send):
                raise SecurityError("no key for dtn://stranger/")
            return await real(consume=consume, write=write, send=send, tell=tell)

        monkeypatch.setattr(sat.port, "commit", commit)
        async with running(EchoService(sat.port).run()):
            sat.inject("dtn://stranger/ping", "echo", b"from nobody that we know")
            sat.inject(GS + "ping", "echo", b"good")
            results = [each async for each in ping(gs.port, endpoint_of(SAT_EID, ECHO), count=2)]
        assert all(result.rtt_ns is not None for result in results)
        assert told(sat) == ["SecurityError: no key for dtn://stranger/"]
        assert not sat.inbound
        assert b"good" in [payload for source, _, payload in net.log if source.node == sat.eid]

    virtual(main)


def test_a_listener_that_raises_keeps_no_report_from_others() -> None:
    async def main() -> None:
        node = FakeNet().node(GS)
        reports = StatusReports(node.port)
        heard: list[Reported] = []
        async with running(reports.run()):
            with reports.following(fails), reports.following(heard.append):
                for sequence in (1, 2):
                    status = StatusReport(
                        received=True, source=SAT_EID, creation_ms=1, sequence=sequence
                    )
                    node.inject(SAT, "", encode_status_report(status))
                await asyncio.sleep(1)
        assert [each.bundle.sequence for each in heard] == [1, 2]
        assert not node.inbound

    virtual(main)


def test_what_a_failed_piece_has_put_into_a_batch_is_taken_out_again() -> None:
    async def main() -> None:
        node = FakeNet().node(GS)
        batch, after = Batch(), []

        def half(payload: bytes) -> None:
            batch.sends.append(Outgoing(SAT_EID, payload, 1000, "x"))
            batch.write("space", "key", payload)
            batch.after(lambda: after.append(payload))
            if payload == b"bad":
                fails()

        assert batch.attempt(node.port, "first", half, b"good")
        assert not batch.attempt(node.port, "second", half, b"bad")
        batch.after(fails)
        batch.after(lambda: after.append(b"last"))
        await batch.commit(node.port)
        assert node.state == {("space", "key"): b"good"}
        assert [payload for _, _, payload in node.net.log] == [b"good"]
        assert after == [b"good", b"last"]

    virtual(main)


# ---- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (FileReceiver, "on_offer"),
        (FileReceiver, "on_chunk"),
        (FileReceiver, "_finish"),
        (FileReceiver, "_due"),
        (FileReceiver, "_verdict"),
        (FileSender, "on_receipt"),
        (FileSender, "on_repair"),
        (FileSender, "_due"),
        (FileSender, "_report"),
        (Verifier, "_place"),
        (Ledger, "report"),
        (sending, "read_chunks"),
    ],
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
def test_an_object_that_fails_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """One piece of work fails once: all other objects arrive, and that one, too, if it can."""
    once(monkeypatch, owner, name)
    names = [f"{number}.bin" for number in range(4)]
    got: list[Received] = []
    contents = {each: make_file(tmp_path / each, 2000, seed=len(each)) for each in names}

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        lost = {True: 6, False: 3}

        def lose(source: Eid, destination: Eid, payload: bytes) -> bool:
            """So that repairs are asked for, and receipts."""
            kind = len(payload) > 250
            lost[kind] -= kind or source.node == sat.eid
            return lost[kind] >= 0 and (kind or source.node == sat.eid)

        net.lose = lose
        sender, receiver = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        async with running(sender.run(), receiver.run(), collect(receiver, got)):
            for each in names:
                await sender.send(tmp_path / each, SAT_EID, lifetime_ms=20_000_000)
            await until(lambda: len(got) >= 3)
            await asyncio.sleep(30_000)
        assert told(gs) + told(sat)
        assert {each.name for each in got} <= {*names}

    virtual(main)
    assert all(Path(each.path).read_bytes() == contents[each.name] for each in got)


@pytest.mark.parametrize("hook", ["accepts", "on_event"])
def test_a_hook_of_the_file_service_that_raises_stops_nothing(tmp_path: Path, hook: str) -> None:
    content = make_file(tmp_path / "a.bin", 2000)
    got: list[Received] = []
    left = 2

    def frail(*args: Any) -> bool:
        nonlocal left
        left -= 1
        if left >= 0:
            raise ValueError("planted")
        return True

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        options: dict[str, Callable[..., Any]] = {hook: frail}
        sender = files_on(gs.port, tmp_path / "gs")
        receiver = FilesService(sat.port, tmp_path / "sat", SMALL, **options)
        async with running(sender.run(), receiver.run(), collect(receiver, got)):
            await sender.send(tmp_path / "a.bin", SAT_EID)
            await until(lambda: bool(got))
        assert told(sat) == ["ValueError: planted"] * 2

    virtual(main)
    assert Path(got[0].path).read_bytes() == content


# ---- jobs --------------------------------------------------------------------------------------


async def exits(context: JobContext) -> None:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [
        (JobServer, "_on_request", None),
        (JobServer, "_due", None),
        (JobServer, "_accepts", None),
        (JobClient, "_handle", None),
        (JobClient, "_on_result", None),
        (JobClient, "_due", None),
        (JobClient, "_on_status", None),
        (Attempt, "_check_size", PermissionError(13, "planted")),
        (JobContext, "output", SystemExit(3)),
        (Attempt, "__init__", None),
        (Executor, "_keep", None),
        (Executor, "_succeed", None),
        (Executor, "_watch_results", None),
        (Executor, "recover", None),
        (Executor, "sweep", None),
    ],
    ids=lambda one: one if isinstance(one, str) else getattr(one, "__name__", ""),
)
def test_a_job_that_fails_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: Any
) -> None:
    async def main() -> None:
        nodes = JobNodes(tmp_path)
        one = {"_accepts": nodes.server, "_on_status": nodes.client}.get(name, owner)
        if name == "recover":  # a satellite that starts with a job that it knows
            state = ServerJob("0" * 32, GS_EID, bytes(16), None, 10, 0, JobState.CANCELLED)
            nodes.sat.state[SPACE_SERVER, state.key] = state.encode()
        once(monkeypatch, one, name, error)
        async with nodes.all_running():
            jobs = [
                await nodes.client.submit(SAT_EID, "double", deadline_ms=600_000) for _ in range(3)
            ]
            await asyncio.sleep(2_000)
            states = [nodes.client.status(job).state for job in jobs]
            await asyncio.sleep(3_000_000)  # until all is forgotten
        assert states.count(JobState.FINISHED) >= 2
        assert told(nodes.sat) + told(nodes.gs) or error is not None

    virtual(main)


async def buries(context: JobContext) -> None:
    """Leaves folders so deep that no path leads there, as an archive that it unpacks may."""
    at = os.open(context.work_directory, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("clear", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)


@pytest.mark.parametrize("policy", [None, DataPolicy()])
def test_what_a_run_has_buried_goes_and_ends_no_service(
    tmp_path: Path, policy: DataPolicy | None
) -> None:
    async def main() -> None:
        nodes = JobNodes(tmp_path, {"buries": buries, "double": double})
        async with nodes.all_running():
            submit = nodes.client.submit
            bad = await submit(SAT_EID, "buries", policy=policy)
            assert (await nodes.client.wait(bad)).state is JobState.FAILED
            good = await submit(SAT_EID, "double", policy=policy)
            assert (await nodes.client.wait(good)).complete
            await asyncio.sleep(600)
            assert not list((tmp_path / "sat" / "jobs").glob("*/run-*"))

    try:
        virtual(main)
    finally:  # pytest cannot remove what may have stayed either
        subprocess.run(["rm", "-rf", tmp_path / "sat"], check=True)


@pytest.mark.parametrize("where", ["text", "progress", "work", "exit code"])
def test_what_a_run_says_can_always_be_sent_and_recorded(tmp_path: Path, where: str) -> None:
    async def says(context: JobContext) -> None:
        odd = os.fsdecode(b"\xff")
        if where == "text":
            raise JobFailed(f"{odd} is missing")
        if where == "exit code":
            raise JobFailed("no", 1 << 40)
        if where == "progress":
            context.progress(0.5, odd)
            await asyncio.sleep(100)
        elif where == "work":
            parent = context.work_directory
            with contextlib.suppress(OSError):  # at last its path is too long
                for _ in range(30):
                    at = os.open(parent, os.O_RDONLY)
                    os.mkdir(odd + "x" * 200, dir_fd=at)
                    os.close(at)
                    parent = parent / (odd + "x" * 200)

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"says": says, "double": double})
        async with nodes.all_running():
            bad = await nodes.client.submit(SAT_EID, "says")
            status = await nodes.client.wait(bad)
            good = await nodes.client.submit(SAT_EID, "double")
            assert (await nodes.client.wait(good)).complete
        state = JobState.FINISHED if where == "progress" else JobState.FAILED
        assert (status.state, status.exit_code is None) == (state, where != "progress")
        reports = nodes.messages(JobReport)
        told = {report.text for report in reports if isinstance(report, JobReport)}
        assert where == "exit code" or any("\\udcff" in text for text in told)
        for (space, key), record in nodes.sat.state.items():
            if space == SPACE_SERVER:
                assert ServerJob.decode(key, record).state is not JobState.RUNNING

    virtual(main)


@pytest.mark.parametrize("removed", [True, False])
def test_a_handler_that_ends_the_program_ends_its_job_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    if not removed:  # what it has left, at once
        once(monkeypatch, Executor, "_remove")

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"exits": exits, "double": double})
        async with nodes.all_running():
            bad = await nodes.client.submit(SAT_EID, "exits")
            good = await nodes.client.submit(SAT_EID, "double")
            assert (await nodes.client.wait(good)).state is JobState.FINISHED
            assert (await nodes.client.wait(bad)).state is JobState.FAILED

    virtual(main)
