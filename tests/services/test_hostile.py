"""Peers that say anything at all: services go on, hold bounds, and touch nothing else."""

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
from stack.services.codec import encode
from stack.services.files import Received
from stack.services.files import messages as files
from stack.services.files.messages import Offer, chunk_head, decode_message
from stack.services.files.paths import open_directory
from stack.services.jobs import messages as jobs
from stack.wire.crc import crc32c
from tests.services.fake_port import FakeNet
from tests.services.helpers import (
    GS,
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
from tests.services.job_nodes import JobNodes
from tests.strategies import services as some

SENDERS = ["dtn://gs1/files", "dtn://evil/files", "dtn:none", "dtn://sat1/files"]
payloads = (
    st.binary(max_size=200)
    | some.file_payloads
    | some.mutated(some.file_payloads)
    | some.job_messages.map(lambda message: message.encode())
)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(SENDERS), st.sampled_from(["files", "jobs", "job-replies"]), payloads
        ),
        max_size=20,
    )
)
def test_services_survive_anything(bundles: list[tuple[str, str, bytes]]) -> None:
    """All of it is consumed, nothing is written outside, and an honest transfer still works."""
    with tempfile.TemporaryDirectory() as tmp:
        content = make_file(Path(tmp) / "honest.bin", 600)

        async def main() -> None:
            nodes = JobNodes(Path(tmp))
            async with nodes.all_running():
                for sender, service, payload in bundles:
                    for node in (nodes.gs, nodes.sat):
                        if service in node.port.endpoints:
                            node.inject(sender, service, payload, lifetime_ms=10**6)
                job = await nodes.client.submit(SAT_EID, "double", {}, [Path(tmp) / "honest.bin"])
                status = await nodes.client.wait(job)
                assert status.files["out/0.bin"].read_bytes() == content * 2
                await asyncio.sleep(60)
            assert nodes.gs.inbound == nodes.sat.inbound == {}

        virtual(main)
        assert sorted(os.listdir(tmp)) == ["gs", "honest.bin", "sat"]


def chunk(object_id: bytes, size: int, index: int, chunk_bytes: int = 256) -> bytes:
    """A well-formed chunk of zeros."""
    length = min(chunk_bytes, size - index * chunk_bytes)
    data = bytes(length)
    return (
        chunk_head(object_id, size, chunk_bytes, index * chunk_bytes, crc32c(data), length) + data
    )


def test_names_that_escape_never_reach_the_disk(tmp_path: Path) -> None:
    """The Offer is encoded by hand, since the class refuses to hold such a name."""

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        receiver = files_on(sat.port, tmp_path / "sat")
        names = ["../evil", "/tmp/evil", "a/../../evil", ".partial/evil", "..", "a\0b"]
        async with running(receiver.run()):
            for index, name in enumerate(names):
                object_id = bytes([index]) * 16
                offer = (1, 0, object_id, name, 0, bytes(32), 256, 1, "", 1)
                sat.inject(GS + "files", "files", encode(offer))
            await asyncio.sleep(5)
        assert receiver.malformed == len(names)
        assert gs.inbound == {}

    virtual(main)
    assert [path.name for path in tmp_path.rglob("*evil*")] == []


def test_symbolic_links_in_the_directory_are_not_followed(tmp_path: Path) -> None:
    make_file(tmp_path / "a.bin", 300)
    (tmp_path / "outside").mkdir()
    (tmp_path / "sat").mkdir()
    (tmp_path / "sat" / "door").symlink_to(tmp_path / "outside")

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        sender, receiver = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        async with running(sender.run(), receiver.run()):
            one = await sender.send(tmp_path / "a.bin", SAT_EID, name="door/a.bin")
            progress = await sender.wait(one)
        assert progress.state == "failed"
        assert "cannot store" in progress.text
        assert os.listdir(tmp_path / "outside") == []

    virtual(main)
    with pytest.raises(OSError), open_directory(str(tmp_path / "sat"), ["door"]):
        pass


def test_half_objects_stay_within_the_quota(tmp_path: Path) -> None:
    """A peer that begins objects and never ends them gets no more than its share."""
    config = replace(SMALL, objects_max=9, quota_bytes=100_000, spans_max=8)

    async def main() -> None:
        net = FakeNet()
        sat = net.node(SAT)
        receiver = files_on(sat.port, tmp_path / "sat", config)
        async with running(receiver.run()):
            for number in range(50):
                sat.inject("dtn://evil/files", "files", chunk(bytes([number]) * 16, 5000, 3))
            for index in range(0, 390, 2):  # every other chunk: many pieces
                sat.inject(
                    "dtn://evil/files", "files", chunk(b"p" * 16, 99_000 - 75_000, index % 90)
                )
            await asyncio.sleep(5)
            assert len(list(receiver.all_progress())) == 5
            assert len(os.listdir(tmp_path / "sat/.partial")) == 5
            assert max(len(value) for value in sat.state.values()) < 300
            await asyncio.sleep(20_000)  # their bundles' lifetimes end
            assert os.listdir(tmp_path / "sat/.partial") == []

    virtual(main)


def test_pieces_are_bounded_and_the_object_still_completes(tmp_path: Path) -> None:
    config = replace(SMALL, spans_max=4)
    content = make_file(tmp_path / "a.bin", 256 * 40)

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        sender = files_on(gs.port, tmp_path / "gs")
        receiver = files_on(sat.port, tmp_path / "sat", config)
        first = [True] * 40

        def lose(source: Eid, destination: Eid, payload: bytes) -> bool:
            message = decode_message(payload)
            if not isinstance(message, files.Chunk) or not first[message.offset // 256]:
                return False
            first[message.offset // 256] = False
            return message.offset // 256 % 2 == 0

        net.lose = lose
        async with running(sender.run(), receiver.run()):
            progress = await sender.wait(await sender.send(tmp_path / "a.bin", SAT_EID))
        assert progress.state == "delivered"
        assert (tmp_path / "sat/a.bin").read_bytes() == content
        assert receiver._receiver.dropped > 0

    virtual(main)


def test_others_cannot_speak_for_the_receiver_or_the_sender(tmp_path: Path) -> None:
    content = make_file(tmp_path / "a.bin", 256 * 8)

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        sender, receiver = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        net.set_up(False)
        async with running(sender.run(), receiver.run()):
            one = await sender.send(tmp_path / "a.bin", SAT_EID)
            await asyncio.sleep(1)
            evil = "dtn://evil/files"
            gs.inject(evil, "files", files.Receipt(one, files.Outcome.RECEIVED).encode())
            gs.inject(evil, "files", files.Repair(one, 2, ((0, 8),)).encode())
            sat.inject(evil, "files", files.Cancel(one).encode())
            sat.inject(evil, "files", chunk(one, 256 * 8, 0))
            await asyncio.sleep(1)
            progress = sender.progress(one)
            assert progress is not None
            assert progress.state == "waiting"
            net.set_up(True)
            assert (await sender.wait(one)).state == "delivered"
        assert (tmp_path / "sat/a.bin").read_bytes() == content
        sent = [decode_message(payload) for _, _, payload in net.log]
        assert sum(isinstance(message, files.Chunk) for message in sent) == 8

    virtual(main)


def test_nobody_has_the_objects_of_others_forgotten(tmp_path: Path) -> None:
    """A flood of objects that are begun and given up, from several services of one node, while
    another's receipt is lost: when that asks again it hears so, and nothing arrives twice."""
    make_file(tmp_path / "a.bin", 600)
    config, flooding = replace(SMALL, closed_max=20), [True]

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        sender = files_on(gs.port, tmp_path / "gs")
        receiver = files_on(sat.port, tmp_path / "sat", config)
        net.lose = lambda source, destination, payload: bool(flooding) and source.node == SAT_EID
        got: list[Received] = []
        async with running(sender.run(), receiver.run(), collect(receiver, got)):
            one = await sender.send(tmp_path / "a.bin", SAT_EID)
            await until(lambda: bool(got))
            for number in range(100):
                evil, object_id = f"dtn://evil/{number}", number.to_bytes(16, "big")
                sat.inject(evil, "files", chunk(object_id, 5000, 0))
                sat.inject(evil, "files", files.Cancel(object_id).encode())
            await asyncio.sleep(100)
            assert len(list(receiver.all_progress())) == 20
            flooding.clear()
            assert (await sender.wait(one)).state == "delivered"
        assert len(got) == 1
        sent = [decode_message(payload) for _, _, payload in net.log]
        assert sum(isinstance(message, files.Chunk) for message in sent) == 3

    virtual(main)


def test_a_receiver_that_asks_for_ever_is_cut_off(tmp_path: Path) -> None:
    make_file(tmp_path / "a.bin", 256)
    config = replace(SMALL, rounds_max=10)

    async def main() -> None:
        net = FakeNet()
        gs = net.node(GS)
        sender = files_on(gs.port, tmp_path / "gs", config)
        async with running(sender.run()):
            one = await sender.send(tmp_path / "a.bin", SAT_EID)
            for number in range(2, 30):
                await asyncio.sleep(1)
                repair = files.Repair(one, number, ((0, 1),))
                gs.inject(SAT + "files", "files", repair.encode())
            assert (await sender.wait(one)).state == "failed"
        chunks = [p for _, _, p in net.log if isinstance(decode_message(p), files.Chunk)]
        assert len(chunks) == 10

    virtual(main)


def test_a_job_of_another_client_is_another_job(tmp_path: Path) -> None:
    """The same id from two nodes: neither sees, cancels nor acknowledges the other's."""

    async def main() -> None:
        nodes = JobNodes(tmp_path)
        async with nodes.all_running():
            nodes.net.set_up(False)
            job = await nodes.client.submit(SAT_EID, "double", {"seconds": "5"})
            (request,) = nodes.messages(jobs.JobRequest)
            evil = "dtn://evil/job-replies"
            nodes.sat.inject(evil, "jobs", jobs.JobCancel(request.job_id).encode())
            nodes.sat.inject(evil, "jobs", jobs.JobAck(request.job_id).encode())
            report = jobs.JobReport(request.job_id, 99, jobs.JobState.FAILED, text="lies")
            nodes.gs.inject("dtn://evil/jobs", "job-replies", report.encode())
            await asyncio.sleep(1)
            nodes.net.set_up(True)
            assert (await nodes.client.wait(job)).state is jobs.JobState.FINISHED

    virtual(main)


def test_results_are_taken_from_the_server_of_the_job_only(tmp_path: Path) -> None:
    make_file(tmp_path / "fake.txt", 300)

    async def main() -> None:
        nodes = JobNodes(tmp_path)
        other = nodes.net.node("dtn://evil/")
        evil = files_on(other.port, tmp_path / "evil")
        async with nodes.all_running(), running(evil.run()):
            job = await nodes.client.submit(SAT_EID, "double")
            tag = f"job-out/{job.hex()}/0"
            one = await evil.send(tmp_path / "fake.txt", nodes.gs.eid, name="summary.txt", tag=tag)
            assert (await evil.wait(one)).state == "refused"
            status = await nodes.client.wait(job)
            assert status.files["summary.txt"].read_text() == "0"

    virtual(main)


def test_an_offer_cannot_change_its_mind(tmp_path: Path) -> None:
    """Chunks and offer that contradict each other end the object, not the service."""

    async def main() -> None:
        net = FakeNet()
        sat = net.node(SAT)
        receiver = files_on(sat.port, tmp_path / "sat")
        got: list[object] = []
        async with running(receiver.run(), collect(receiver, got)):  # type: ignore[arg-type]
            object_id = b"o" * 16
            sat.inject(GS + "files", "files", chunk(object_id, 1000, 0))
            offer = Offer(object_id, "a", 999, bytes(32), 256, 1, "", 1)
            sat.inject(GS + "files", "files", offer.encode())
            await asyncio.sleep(5)
            (progress,) = receiver.all_progress()
            assert (progress.state, progress.open) == ("failed", False)
        assert got == []
        assert os.listdir(tmp_path / "sat/.partial") == []

    virtual(main)
