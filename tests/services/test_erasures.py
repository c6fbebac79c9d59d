"""What services have on disk in clear goes when its data policy ends, whatever happens."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.audit.event import Act
from stack.policy import DataPolicy, NodeSet
from stack.ports.application import BundleId
from stack.ports.store import Write
from stack.services.codec import encode
from stack.services.files import FileEvent, erasures, ledger
from stack.services.files.erasures import SPACE_ERASE, Erasable, remove
from stack.services.files.ledger import Ledger
from stack.services.files.messages import Offer, chunk_head
from stack.services.files.partial import Partial
from stack.services.files.paths import remove_folder
from stack.services.files.state import InObject
from stack.services.files.verifier import Verifier
from stack.services.jobs import JobContext, JobLimits
from stack.services.jobs.state import SPACE_SERVER
from stack.services.policies import label
from stack.wire.crc import crc32c
from tests.core.durable import made_durable
from tests.services.fake_port import EPOCH_MS, FakeNet, FakeNode, FakePort, run_through_crashes
from tests.services.helpers import (
    GS,
    GS_EID,
    SAT,
    SAT_EID,
    SMALL,
    files_on,
    make_file,
    running,
    until,
    virtual,
)
from tests.services.job_nodes import QUICK, JobNodes

HOUR_MS = 3_600_000
AN_HOUR = DataPolicy(readers=NodeSet.parse("KR"), expires_ms=EPOCH_MS + HOUR_MS)


def in_clear(root: Path) -> set[str]:
    """Everything that is under a folder."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()}


def told_by(node: FakeNode) -> list[tuple[list[str], str]]:
    """What is written down, by kind of object."""
    return [
        ([str(act.name) for act in Act if act & one.act], one.object.partition(":")[0])
        for one in node.told
    ]


@pytest.mark.parametrize("lies", [True, False])
def test_that_it_is_gone_is_on_the_disk_before_that_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lies: bool
) -> None:
    """Also where a former try has removed it, and was ended before it knew."""
    if lies:
        (tmp_path / "secret.bin").write_bytes(b"in clear")
    durable = made_durable(tmp_path, monkeypatch)
    assert remove(tmp_path, "secret.bin")
    assert durable == [[]]


@pytest.mark.parametrize("taken", [True, False])
def test_a_file_goes_when_its_policy_ends(tmp_path: Path, taken: bool) -> None:
    make_file(tmp_path / "in.bin", 900)
    events: list[FileEvent] = []

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        ground, satellite = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        satellite.listen(events.append)
        async with running(ground.run(), satellite.run()):
            await ground.send(tmp_path / "in.bin", SAT_EID, policy=AN_HOUR, name="a/secret.bin")
            await ground.send(tmp_path / "in.bin", SAT_EID, name="free.bin")
            await until(lambda: len(satellite.inbox) == 2)
            if taken:
                for received in satellite.inbox.held():
                    await sat.port.commit(write=[satellite.inbox.taken(received)])
            await asyncio.sleep(HOUR_MS / 1000 - sat.port.now() / 1e9 - 1)
            assert in_clear(tmp_path / "sat") == {"a/secret.bin", "free.bin"}
            await asyncio.sleep(2)
            assert in_clear(tmp_path / "sat") == {"free.bin"}
            assert len(satellite.inbox) == (0 if taken else 1)
            if not taken:
                assert (await satellite.inbox.receive()).name == "free.bin"
        told = [one.progress for one in events if one.kind == "erased"]
        assert [(one.name, one.state, one.open) for one in told] == [
            ("a/secret.bin", "erased", False)
        ]
        assert told_by(sat) == [(["MADE", "STORED"], "file"), (["DELETED"], "file")]
        assert not sat.port.read_all(SPACE_ERASE)

    virtual(main)


@pytest.mark.slow
@settings(max_examples=12)
@given(st.lists(st.tuples(st.integers(1, 8), st.booleans()), max_size=3), st.integers(0, 3))
def test_no_crash_leaves_anything_behind(crashes: list[tuple[int, bool]], off: int) -> None:
    """The receiver is killed at any commit, also of the erasure; it may be off when it is due."""

    async def main(root: Path) -> None:
        make_file(root / "in.bin", 900)
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        soon = replace(AN_HOUR, expires_ms=EPOCH_MS + 20_000)

        async def life(port: FakePort) -> None:
            await files_on(port, root / "sat").run()

        async def receive() -> None:
            async with asyncio.timeout(5 + 10 * off):
                await run_through_crashes(sat, life, crashes)

        async with running(files_on(gs.port, root / "gs").run()):
            await files_on(gs.restart_view(), root / "gs").send(
                root / "in.bin", SAT_EID, policy=soon, lifetime_ms=HOUR_MS
            )
        async with running(files_on(gs.restart(), root / "gs").run()):
            with pytest.raises(TimeoutError):
                await receive()
            await asyncio.sleep(60)
            async with running(life(sat.restart())):
                await asyncio.sleep(60)
        assert in_clear(root / "sat") == set()
        assert not sat.port.read_all(SPACE_ERASE)
        acts = Counter(act for names, _ in told_by(sat) for act in names)
        assert acts["MADE"] == acts["DELETED"] <= 1

    with tempfile.TemporaryDirectory() as folder:
        virtual(lambda: main(Path(folder)))


def test_what_takes_the_place_of_a_file_stays(tmp_path: Path) -> None:
    """The newest object at a path is that to whose policy it is under."""
    make_file(tmp_path / "old.bin", 600)
    new = make_file(tmp_path / "new.bin", 600, seed=2)

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        ground = files_on(gs.port, tmp_path / "gs")
        satellite = files_on(sat.port, tmp_path / "sat", replace(SMALL, collision="replace"))
        async with running(ground.run(), satellite.run()):
            for name, policy in (("old.bin", AN_HOUR), ("new.bin", None)):
                sent = await ground.send(tmp_path / name, SAT_EID, name="map.bin", policy=policy)
                await ground.wait(sent)
            await asyncio.sleep(2 * HOUR_MS / 1000)
            assert (tmp_path / "sat" / "map.bin").read_bytes() == new
        assert told_by(sat) == [(["MADE", "STORED"], "file"), (["DELETED"], "file")]

    virtual(main)


def test_a_disk_that_does_not_let_go_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_file(tmp_path / "in.bin", 600)
    asked: list[str] = []

    def stuck(root: Path, path: str, inode: int) -> bool:
        asked.append(path)
        if len(asked) < 3:
            raise PermissionError(13, "not yet")
        return remove(root, path, inode)

    monkeypatch.setattr(erasures, "remove", stuck)

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        ground, satellite = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        async with running(ground.run(), satellite.run()):
            await ground.send(tmp_path / "in.bin", SAT_EID, policy=AN_HOUR)
            await asyncio.sleep(HOUR_MS / 1000 + 30)
            assert in_clear(tmp_path / "sat") == {"in.bin"}
            assert len(sat.told) == 1
            await asyncio.sleep(2 * erasures.RETRY_S)
            assert in_clear(tmp_path / "sat") == set()
            assert len(sat.told) == 2

    virtual(main)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", ["1", "7200"])
def test_the_folders_of_a_job_go(tmp_path: Path, seconds: str) -> None:
    """Of one that is over, and of one that runs when the policy ends."""
    make_file(tmp_path / "in.bin", 600)

    async def work(context: JobContext) -> None:
        (context.work_directory / "half").write_bytes(context.inputs[0].read_bytes())
        context.output("whole").write_bytes(context.inputs[0].read_bytes())
        await asyncio.sleep(float(context.args["seconds"]))

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"work": work})
        events: list[FileEvent] = []
        nodes.server_files.listen(events.append)
        async with nodes.all_running():
            limits = JobLimits(time_s=7200)
            args = ("work", {"seconds": seconds}, [tmp_path / "in.bin"])
            job = await nodes.client.submit(SAT_EID, *args, limits=limits, policy=AN_HOUR)
            if seconds == "1":
                status = await nodes.client.wait(job)
                assert (status.state.name, len(status.files)) == ("FINISHED", 1)
                await asyncio.sleep(60)
                assert not [one for one in in_clear(tmp_path / "sat") if "run-" in one]
                assert not [one for one in events if one.kind == "erased"], "none has ended"
                (result,) = status.files.values()
                assert result.exists()
            else:
                await asyncio.sleep(60)
                assert any("run-1/work/half" in one for one in in_clear(tmp_path / "sat"))
            await asyncio.sleep(HOUR_MS / 1000)
            assert in_clear(tmp_path / "sat") == set()
            assert in_clear(tmp_path / "gs") == set()
            state = nodes.client.status(job).state.name
            assert state == ("FINISHED" if seconds == "1" else "EXPIRED")
        for kind in ("file", "job"):
            of_kind = [names for names, each in told_by(nodes.sat) if each == kind]
            assert of_kind == [["MADE", "STORED"], ["DELETED"]]

    virtual(main)


@pytest.mark.parametrize("ahead_h", [2, -1])
def test_a_step_of_the_clock_does_not_change_when_a_file_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead_h: int
) -> None:
    """The clock of the receiver is wrong when the file comes, and put right soon after."""
    make_file(tmp_path / "in.bin", 600)
    true_ms, error_ms = FakePort.dtn_ms, [ahead_h * HOUR_MS]

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        ground, satellite = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")

        def dtn_ms(port: FakePort) -> int:
            return true_ms(port) + (error_ms[0] if port is sat.port else 0)

        monkeypatch.setattr(FakePort, "dtn_ms", dtn_ms)
        async with running(ground.run(), satellite.run()):
            policy = replace(AN_HOUR, expires_ms=EPOCH_MS + 3 * HOUR_MS)
            lifetime_ms = 6 * HOUR_MS
            sent = await ground.send(
                tmp_path / "in.bin", SAT_EID, policy=policy, lifetime_ms=lifetime_ms
            )
            await ground.wait(sent)
            error_ms[0] = 0
            await asyncio.sleep(3 * HOUR_MS / 1000 - sat.port.now() / 1e9 - 1)
            assert in_clear(tmp_path / "sat") == {"in.bin"}
            await asyncio.sleep(2)
            assert in_clear(tmp_path / "sat") == set()

    virtual(main)


@pytest.mark.parametrize("what", ["part of a file", "job"])
def test_what_is_unfinished_goes_when_the_clock_is_set_beyond_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """By the time of the machine there were four hours left."""
    make_file(tmp_path / "in.bin", 1500)
    true_ms, error_ms = FakePort.dtn_ms, [0]
    policy = replace(AN_HOUR, expires_ms=EPOCH_MS + 5 * HOUR_MS)

    async def works(context: JobContext) -> None:
        (context.work_directory / "half").write_bytes(b"x")
        await asyncio.sleep(12 * 3600)

    async def main() -> None:
        nodes = JobNodes(tmp_path, {"works": works})
        sat = nodes.sat

        def dtn_ms(port: FakePort) -> int:
            return true_ms(port) + (error_ms[0] if port is sat.port else 0)

        monkeypatch.setattr(FakePort, "dtn_ms", dtn_ms)
        async with nodes.all_running():
            if what == "job":
                limits = JobLimits(time_s=12 * 3600.0)
                await nodes.client.submit(SAT_EID, "works", limits=limits, policy=policy)
            else:
                data = b"x" * 512
                chunk = chunk_head(bytes(16), 1500, 512, 0, crc32c(data), len(data)) + data
                source, ends_ms = BundleId(GS_EID.with_service("files"), EPOCH_MS, 1), HOUR_MS * 9
                to = SAT_EID.with_service("files")
                sat.deliver(source, to, chunk, EPOCH_MS + ends_ms, policy=policy)
            await asyncio.sleep(3600)
            assert in_clear(tmp_path / "sat")
            error_ms[0] = 6 * HOUR_MS
            await asyncio.sleep(3700)
            assert not in_clear(tmp_path / "sat")

    virtual(main)


def test_what_ends_has_a_file_of_its_own(tmp_path: Path) -> None:
    """The same content that is there without an end stays, whoever has put it there."""
    content = make_file(tmp_path / "in.bin", 600)
    (tmp_path / "sat").mkdir()
    (tmp_path / "sat" / "own.bin").write_bytes(content)

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        ground, satellite = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        async with running(ground.run(), satellite.run()):
            for name, policy in (("free.bin", None), ("free.bin", AN_HOUR), ("own.bin", AN_HOUR)):
                sent = await ground.send(tmp_path / "in.bin", SAT_EID, name=name, policy=policy)
                await ground.wait(sent)
            assert len(in_clear(tmp_path / "sat")) == 4
            await asyncio.sleep(HOUR_MS / 1000 + 1)
            assert in_clear(tmp_path / "sat") == {"free.bin", "own.bin"}

    virtual(main)


@pytest.mark.parametrize("linked", [True, False])
def test_what_others_have_put_there_stays(tmp_path: Path, linked: bool) -> None:
    """In a folder that a link leads to, or in place of the file itself."""
    make_file(tmp_path / "in.bin", 600)
    folder = tmp_path / "sat" / "a"

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        ground, satellite = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        async with running(ground.run(), satellite.run()):
            sent = await ground.send(tmp_path / "in.bin", SAT_EID, name="a/x.bin", policy=AN_HOUR)
            await ground.wait(sent)
            if linked:
                folder.rename(tmp_path / "mine")
                folder.symlink_to(tmp_path / "mine")
            else:
                (tmp_path / "another").write_bytes(b"another")
                (tmp_path / "another").rename(folder / "x.bin")
            await asyncio.sleep(HOUR_MS / 1000 + 1)
            assert (folder / "x.bin").exists()
        assert sat.told[-1].detail == erasures.REPLACED
        assert not sat.port.read_all(SPACE_ERASE)

    virtual(main)


def test_a_record_of_an_older_version_is_read() -> None:
    octets = encode((3, "job:k/run-1", b"", label(AN_HOUR)))
    assert Erasable.decode("jobs/k/run-1", octets) == Erasable(
        "jobs/k/run-1", "job:k/run-1", AN_HOUR
    )


def test_a_part_of_a_folder_that_goes_meanwhile_keeps_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run-1"
    folder.mkdir()
    for index in range(4):
        (folder / str(index)).write_bytes(b"x")
    unlink, calls = os.unlink, [0]

    def slower(name: str, *, dir_fd: int | None = None) -> None:
        calls[0] += 1
        if calls[0] == 1:  # the job's own program was faster
            unlink(name, dir_fd=dir_fd)
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", slower)
    assert remove(tmp_path, "run-1")
    assert not folder.exists()


def test_a_folder_that_does_not_go_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run-1").mkdir()
    (tmp_path / "run-1" / "x").write_bytes(b"x")

    def stuck(name: str, *, dir_fd: int | None = None) -> None:
        raise PermissionError(13, "not yet")

    monkeypatch.setattr(os, "unlink", stuck)
    with pytest.raises(PermissionError):
        remove(tmp_path, "run-1")


def test_what_went_before_its_end_was_written_down_is_told(tmp_path: Path) -> None:
    """Killed between the removal and its commit; the policy has no end that would tell it later."""
    kept = Erasable("jobs/k/run-1", "job:k/run-1", replace(AN_HOUR, expires_ms=0))
    (tmp_path / "jobs" / "k" / "run-2").mkdir(parents=True)
    other = replace(kept, path="jobs/k/run-2")

    async def main() -> None:
        sat = FakeNet().node(SAT)
        for one in (kept, other):
            await sat.port.commit(write=[Write(SPACE_ERASE, one.path, one.encode())])
        async with running(files_on(sat.restart(), tmp_path).run()):
            await asyncio.sleep(60)
        assert told_by(sat) == [(["DELETED"], "job")]
        assert list(sat.port.read_all(SPACE_ERASE)) == [(other.path, other.encode())]

    virtual(main)


def test_the_newest_at_a_path_stays_when_the_older_one_ends_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one has its name, and waits for its transaction, when the old one is due."""
    make_file(tmp_path / "old.bin", 600)
    new = make_file(tmp_path / "new.bin", 600, seed=2)
    place = Verifier._place

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        ground = files_on(gs.port, tmp_path / "gs")
        satellite = files_on(sat.port, tmp_path / "sat", replace(SMALL, collision="replace"))

        async def slow(self: Verifier, obj: InObject, offer: Offer, partial: Partial) -> str | None:
            name = await place(self, obj, offer, partial)
            await asyncio.sleep(60)
            return name

        async with running(ground.run(), satellite.run()):
            sent = await ground.send(tmp_path / "old.bin", SAT_EID, name="map.bin", policy=AN_HOUR)
            await ground.wait(sent)
            monkeypatch.setattr(Verifier, "_place", slow)
            await asyncio.sleep(HOUR_MS / 1000 - sat.port.now() / 1e9 - 30)
            sent = await ground.send(tmp_path / "new.bin", SAT_EID, name="map.bin")
            assert (await ground.wait(sent)).state == "delivered"
            assert sat.port.now() / 1e9 > HOUR_MS / 1000
            assert (tmp_path / "sat" / "map.bin").read_bytes() == new
        assert told_by(sat) == [(["MADE", "STORED"], "file"), (["DELETED"], "file")]

    virtual(main)


def test_the_results_of_a_forgotten_job_go_with_their_end_written_down(tmp_path: Path) -> None:
    """It is forgotten while they are on their way, and its policy has no end."""

    async def work(context: JobContext) -> None:
        context.output("whole").write_bytes(b"x")

    async def main() -> None:
        config = replace(QUICK, retain_ms=1000, report_lifetime_ms=120_000)
        nodes = JobNodes(tmp_path, {"work": work}, config=config)
        nodes.net.lose = lambda source, destination, payload: source.node == SAT_EID.node
        policy = replace(AN_HOUR, expires_ms=0)
        async with nodes.all_running():
            await nodes.client.submit(SAT_EID, "work", deadline_ms=60_000, policy=policy)
            await asyncio.sleep(90)
            assert not nodes.sat.port.read_all(SPACE_SERVER)
            assert [one for one in in_clear(tmp_path / "sat") if "run-1" in one]
            await asyncio.sleep(60)
            assert in_clear(tmp_path / "sat") == set()
        assert told_by(nodes.sat)[1:] == [(["MADE", "STORED"], "job"), (["DELETED"], "job")]
        assert not nodes.sat.port.read_all(SPACE_ERASE)

    virtual(main)


@pytest.mark.parametrize("crashes", [False, True])
def test_what_has_its_name_and_fails_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crashes: bool
) -> None:
    """Also when the node is killed before it goes."""
    make_file(tmp_path / "in.bin", 600)
    place, discard = Verifier._place, Ledger.discard

    async def fails(self: Verifier, obj: InObject, offer: Offer, partial: Partial) -> str | None:
        assert await place(self, obj, offer, partial) == "a/in.bin"
        raise OSError(5, "the disk says so")

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        ground, satellite = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        monkeypatch.setattr(Verifier, "_place", fails)
        if crashes:
            monkeypatch.setattr(Ledger, "discard", lambda _, obj: None)
        async with running(ground.run(), satellite.run()):
            sent = await ground.send(tmp_path / "in.bin", SAT_EID, name="a/in.bin", policy=AN_HOUR)
            assert (await ground.wait(sent)).state == "failed"
        if crashes:
            assert "a/in.bin" in in_clear(tmp_path / "sat")
            monkeypatch.setattr(Ledger, "discard", discard)
            async with running(files_on(sat.restart(), tmp_path / "sat").run()):
                await asyncio.sleep(1)
        assert in_clear(tmp_path / "sat") == set()
        assert not sat.told

    virtual(main)


def test_a_name_that_cannot_be_taken_away_now_goes_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_file(tmp_path / "in.bin", 600)
    place = Verifier._place

    async def fails(self: Verifier, obj: InObject, offer: Offer, partial: Partial) -> str | None:
        await place(self, obj, offer, partial)
        raise OSError(5, "the disk says so")

    def stuck(*_: object) -> None:
        raise PermissionError(13, "not yet")

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        ground, satellite = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        with monkeypatch.context() as patched:
            patched.setattr(Verifier, "_place", fails)
            patched.setattr(ledger, "withdraw", stuck)
            async with running(ground.run(), satellite.run()):
                await ground.wait(await ground.send(tmp_path / "in.bin", SAT_EID))
            async with running(files_on(sat.restart(), tmp_path / "sat").run()):
                await asyncio.sleep(1)
            assert "in.bin" in in_clear(tmp_path / "sat")
        async with running(files_on(sat.restart(), tmp_path / "sat").run()):
            await asyncio.sleep(1)
        assert in_clear(tmp_path / "sat") == set()

    virtual(main)


def test_a_name_that_somebody_else_has_given_is_told_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moved between its name and its transaction, which fails: it is not taken for withdrawn."""
    make_file(tmp_path / "in.bin", 600)
    moved, place = tmp_path / "sat" / "moved.bin", Verifier._place

    async def fails(self: Verifier, obj: InObject, offer: Offer, partial: Partial) -> str | None:
        await place(self, obj, offer, partial)
        (tmp_path / "sat" / "in.bin").rename(moved)
        raise OSError(5, "the disk says so")

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        ground, satellite = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        with monkeypatch.context() as patched:
            patched.setattr(Verifier, "_place", fails)
            async with running(ground.run(), satellite.run()):
                await ground.wait(await ground.send(tmp_path / "in.bin", SAT_EID))
        async with running(files_on(sat.restart(), tmp_path / "sat").run()):
            await asyncio.sleep(1)
        told = [said["error"] for event, said in sat.traces if event == "files.not_withdrawn"]
        (partial,) = in_clear(tmp_path / "sat") - {"moved.bin"}
        find = f"`find {tmp_path / 'sat'} -samefile {tmp_path / 'sat' / partial}`"
        assert [find in words for words in told] == [True, True]
        moved.unlink()
        async with running(files_on(sat.restart(), tmp_path / "sat").run()):
            await asyncio.sleep(1)
        assert in_clear(tmp_path / "sat") == set()

    virtual(main)


@pytest.mark.parametrize("other", [True, False])
def test_what_comes_meanwhile_is_not_taken_for_what_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    """Between its name and its transaction: somebody puts another file there; or a file of the same
    content, at whose place it would be, ends."""
    content = make_file(tmp_path / "in.bin", 600)
    place = Verifier._place

    async def slow(self: Verifier, obj: InObject, offer: Offer, partial: Partial) -> str | None:
        name = await place(self, obj, offer, partial)
        if other:
            (tmp_path / "another").write_bytes(b"another")
            (tmp_path / "another").rename(tmp_path / "sat" / "in.bin")
        await asyncio.sleep(60)
        return name

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        ground, satellite = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        async with running(ground.run(), satellite.run()):
            if not other:
                await ground.wait(await ground.send(tmp_path / "in.bin", SAT_EID, policy=AN_HOUR))
                await asyncio.sleep(HOUR_MS / 1000 - sat.port.now() / 1e9 - 30)
            monkeypatch.setattr(Verifier, "_place", slow)
            policy = AN_HOUR if other else None
            await ground.wait(await ground.send(tmp_path / "in.bin", SAT_EID, policy=policy))
            received = satellite.inbox.held()[-1]
            await asyncio.sleep(HOUR_MS / 1000)
        assert received.path.read_bytes() == (b"another" if other else content)

    virtual(main)


def test_a_folder_that_lets_nobody_in_goes_too(tmp_path: Path) -> None:
    """Not as root, whom no mode keeps out."""
    for name in ("closed/in/0", "stays", "0/1", "links"):
        (tmp_path / "run" / name).mkdir(parents=True)
    (tmp_path / "run/closed/in/0/clear").write_text("x")
    (tmp_path / "run/0/1/clear").write_text("x")
    (tmp_path / "mine").write_text("x")
    (tmp_path / "run/links/file").symlink_to(tmp_path / "mine")
    (tmp_path / "run/links/folder").symlink_to(tmp_path)
    somebody, me = 65_534, os.geteuid()
    if me == 0:
        for path in (tmp_path, *tmp_path.rglob("*")):
            os.chown(path, somebody, -1, follow_symlinks=False)
    (tmp_path / "run/closed/in").chmod(0)
    (tmp_path / "run/closed").chmod(0o500)
    parent = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.seteuid(somebody if me == 0 else me)
        remove_folder("run", parent)
    finally:
        os.seteuid(me)
        os.close(parent)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
