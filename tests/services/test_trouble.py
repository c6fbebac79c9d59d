"""Disks that fill up or fail, records that are damaged, and many objects at a time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from stack.core.errors import ConfigError, LocalError
from stack.services.files import FilesConfig, Received
from stack.services.files.partial import PartialFiles
from stack.services.files.source import walk_folder
from stack.services.jobs import JobsConfig, JobState
from tests.services.fake_port import FakeNet
from tests.services.helpers import (
    GS,
    SAT,
    SAT_EID,
    collect,
    files_on,
    make_file,
    running,
    until,
    virtual,
)
from tests.services.job_nodes import JobNodes


def test_a_full_disk_makes_the_sender_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = make_file(tmp_path / "a.bin", 256 * 20)
    real = os.pwrite
    refused = {"left": 25}

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if refused["left"]:
            refused["left"] -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        sender, receiver = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        async with running(sender.run(), receiver.run()):
            progress = await sender.wait(await sender.send(tmp_path / "a.bin", SAT_EID))
        assert progress.state == "delivered"
        assert any(event == "files.storage" for event, _ in sat.traces)

    virtual(main)
    assert (tmp_path / "sat/a.bin").read_bytes() == content


def test_a_failed_sync_never_counts_as_received(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error the kernel may have dropped the pages: the object fails, loudly."""
    make_file(tmp_path / "a.bin", 256 * 20)

    def fdatasync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fdatasync)

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        sender, receiver = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        async with running(sender.run(), receiver.run()):
            progress = await sender.wait(await sender.send(tmp_path / "a.bin", SAT_EID))
        assert progress.state == "failed"
        assert "Input/output error" in progress.text

    virtual(main)
    assert os.listdir(tmp_path / "sat") == [".partial"]


def test_more_objects_than_open_files(tmp_path: Path) -> None:
    count = PartialFiles.FILES_OPEN_MAX + 20
    for number in range(count):
        make_file(tmp_path / "src" / f"{number}.bin", 256 * 3, seed=number)

    async def main() -> None:
        net = FakeNet(3)
        net.faults.jitter_s = 60.0  # every object is under way at the same time
        gs, sat = net.node(GS), net.node(SAT)
        received: list[Received] = []
        async with (
            files_on(gs.port, tmp_path / "gs") as sender,
            files_on(sat.port, tmp_path / "sat") as receiver,
            running(collect(receiver, received)),
        ):
            await sender.send_folder(tmp_path / "src", SAT_EID, name="")
            await until(lambda: len(received) == count)
        assert len(os.listdir("/proc/self/fd")) < PartialFiles.FILES_OPEN_MAX

    virtual(main)
    for number in range(count):
        name = f"{number}.bin"
        assert (tmp_path / "sat" / name).read_bytes() == (tmp_path / "src" / name).read_bytes()


def test_a_source_that_vanishes_fails_the_object(tmp_path: Path) -> None:
    make_file(tmp_path / "a.bin", 256 * 20)

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        sender, receiver = files_on(gs.port, tmp_path / "gs"), files_on(sat.port, tmp_path / "sat")
        one = await sender.send(tmp_path / "a.bin", SAT_EID)
        (tmp_path / "a.bin").unlink()
        async with running(sender.run(), receiver.run()):
            progress = await sender.wait(one)
        assert progress.state == "failed"
        assert "cannot read" in progress.text

    virtual(main)


def test_damaged_records_do_not_keep_a_node_from_starting(tmp_path: Path) -> None:
    """Radiation, or a newer version's format: traced and left alone."""
    make_file(tmp_path / "in.bin", 300)
    spaces = ["files.out", "files.in", "files.inbox", "jobs.server", "jobs.client"]

    async def main() -> None:
        nodes = JobNodes(tmp_path)
        for node in (nodes.gs, nodes.sat):
            for space in spaces:
                node.state[space, "spec/x" if space == "files.out" else "x"] = b"\x82\x02\x00"
        async with (
            running(run_both(nodes)),
        ):
            await until(lambda: len(nodes.gs.traces) + len(nodes.sat.traces) >= 8)
        again = JobNodes(tmp_path / "clean")
        async with again.all_running():
            job = await again.client.submit(SAT_EID, "double", {}, [tmp_path / "in.bin"])
            assert (await again.client.wait(job)).state is JobState.FINISHED
        events = [event for event, _ in nodes.gs.traces + nodes.sat.traces]
        assert set(events) == {"files.bad_record", "jobs.bad_record"}

    virtual(main)


async def run_both(nodes: JobNodes) -> None:
    """Both processes afresh, over whatever is on their disks."""
    async with asyncio.TaskGroup() as group:
        group.create_task(nodes.run_client(nodes.gs.restart()))
        group.create_task(nodes.run_server(nodes.sat.restart()))


def test_folders_are_walked_in_order_and_bounded(tmp_path: Path) -> None:
    for name in ("b/2", "a/z/1", "c", "a/1"):
        make_file(tmp_path / name, 1)
    os.mkfifo(tmp_path / "pipe")
    assert [name for _, name in walk_folder(str(tmp_path), 4)] == ["c", "a/1", "a/z/1", "b/2"]
    with pytest.raises(LocalError, match="more than 3"):
        list(walk_folder(str(tmp_path), 3))
    with pytest.raises(LocalError):
        list(walk_folder(str(tmp_path / "none"), 3))


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc")])
@pytest.mark.parametrize("inside", ["", "a", "a/b/c"])
def test_what_is_no_file_is_bounded_in_a_folder_too(
    tmp_path: Path, make: Callable[[Path], object], inside: str
) -> None:
    below = 0 if not inside else inside.count("/") + 1
    with mock.patch("stack.services.files.source.OTHERS_MAX", 4):
        (tmp_path / inside).mkdir(parents=True, exist_ok=True)
        for number in range(4 - below):
            make(tmp_path / inside / str(number))
        assert not list(walk_folder(str(tmp_path), 1))
        make(tmp_path / inside / "one more")
        with pytest.raises(LocalError, match="more than 4 folders, links and special files"):
            list(walk_folder(str(tmp_path), 1))


def test_no_folder_is_read_to_its_end_that_holds_too_much(tmp_path: Path) -> None:
    make_file(tmp_path / "file", 1)
    with os.scandir(tmp_path) as entries:
        (entry,) = entries
    read = 0

    @contextlib.contextmanager
    def endless(path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        def one() -> Iterator[os.DirEntry[str]]:
            nonlocal read
            while True:
                read += 1
                yield entry

        yield one()

    with mock.patch("os.scandir", endless), pytest.raises(LocalError, match="more than 9 files"):
        list(walk_folder(str(tmp_path), 9))
    assert read == 10


def test_a_folder_that_goes_meanwhile_is_left_out(tmp_path: Path) -> None:
    make_file(tmp_path / "a", 1)
    (tmp_path / "folder").mkdir()
    walk = walk_folder(str(tmp_path), 9)
    assert next(walk)[1] == "a"
    (tmp_path / "folder").rmdir()
    assert not list(walk)


@pytest.mark.parametrize(
    "change",
    [
        {"chunk_bytes": 255},
        {"chunk_bytes": 5 << 20},
        {"object_bytes_max": 0},
        {"nudge_s": 0.0},
        {"nudge_s": 1e9},
        {"objects_max": 0},
        {"collision": "ask"},
    ],
)
def test_file_settings_are_checked(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(FilesConfig(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"concurrency": 0}, {"watch_s": 0.0}, {"repeat_s": 1e9}])
def test_job_settings_are_checked(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        replace(JobsConfig(), **change)  # type: ignore[arg-type]
