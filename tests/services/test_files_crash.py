"""Files while both nodes are killed at any commit: nothing is lost, nothing happens twice."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.services.files import FilesService
from stack.services.files.messages import Chunk, decode_message
from stack.services.files.state import SPACE_IN, SPACE_OUT, InObject, OutObject, OutSpec
from stack.services.files.steps import InState, OutState
from tests.services.fake_port import FakeNet, FakePort, Faults, run_through_crashes
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

Crashes = list[tuple[int, bool]]
crashes = st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=6)


def transfer(tmp: Path, seed: int, at_gs: Crashes, at_sat: Crashes, faults: Faults) -> int:
    """Two files from ground to satellite through the given crashes; the chunks sent for it."""
    contents = {
        name: make_file(tmp / "src" / name, size, seed=size)
        for name, size in (("a.bin", 2000), ("b.bin", 900))
    }
    handled: list[str] = []

    async def main() -> int:
        net = FakeNet(seed, faults)
        gs, sat = net.node(GS), net.node(SAT)
        # Submitted before the first crash: what the caller was told is durable, is.
        first = files_on(gs.port, tmp / "gs")
        for name in contents:
            await first.send(tmp / "src" / name, SAT_EID)

        async def ground(port: FakePort) -> None:
            await files_on(port, tmp / "gs").run()

        async def satellite(port: FakePort) -> None:
            files = files_on(port, tmp / "sat")
            async with running(files.run()):
                while True:
                    received = await files.inbox.receive()
                    # Handling is one transaction; its effect counts only when it is durable.
                    write = [files.inbox.taken(received)]
                    await port.commit(write=write)
                    handled.append(received.name)

        def done() -> bool:
            states = out_states(gs.port)
            return all(state is OutState.DELIVERED for state in states) and len(states) == 2

        async with running(
            run_through_crashes(gs, ground, at_gs), run_through_crashes(sat, satellite, at_sat)
        ):
            await until(done)
            await until(lambda: not any(space == "files.inbox" for space, _ in sat.state))
        # A crash after the last commit of handling leaves the list one short, never one over.
        assert len(handled) == len(set(handled))
        assert set(in_states(sat.port)) == {InState.RECEIVED}
        for name, content in contents.items():
            assert (tmp / "sat" / name).read_bytes() == content
        assert sorted(os.listdir(tmp / "sat")) == [".partial", "a.bin", "b.bin"]
        # Left-overs of a crash between the last commit and the clean-up go at the next start.
        FilesService(sat.restart(), tmp / "sat", SMALL)._load()
        assert os.listdir(tmp / "sat" / ".partial") == []
        return sum(isinstance(decode_message(payload), Chunk) for _, _, payload in net.log)

    return virtual(main)


def out_states(port: FakePort) -> list[OutState]:
    specs = [OutSpec.decode(value) for _, value in port.read_all(SPACE_OUT, "spec/")]
    records = {spec.key: port.read(SPACE_OUT, "prog/" + spec.key) for spec in specs}
    states = []
    for spec in specs:
        data = records[spec.key]
        states.append(OutState.SENDING if data is None else OutObject.decode(spec, data).state)
    return states


def in_states(port: FakePort) -> list[InState]:
    return [InObject.decode(key, value).state for key, value in port.read_all(SPACE_IN)]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), at_gs=crashes, at_sat=crashes)
def test_crashes_anywhere(seed: int, at_gs: Crashes, at_sat: Crashes) -> None:
    faults = Faults(jitter_s=0.5, loss=0.15, duplicate=0.2)
    with tempfile.TemporaryDirectory() as tmp:
        assert transfer(Path(tmp), seed, at_gs, at_sat, faults) >= 8 + 4


@pytest.mark.parametrize("applies", [False, True])
@pytest.mark.parametrize("commit", range(1, 14))
def test_each_commit_of_the_receiver(tmp_path: Path, commit: int, applies: bool) -> None:
    """Every single point, on a clean network.  What was consumed is on disk and in the record,
    so that nothing is sent a second time."""
    assert transfer(tmp_path, 1, [], [(commit, applies)], Faults()) == 8 + 4


def test_resume_sends_only_the_rest(tmp_path: Path) -> None:
    """Killed in the middle, the sender goes on where it was: each chunk is sent once."""
    make_file(tmp_path / "a.bin", 256 * 40)

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        await files_on(gs.port, tmp_path / "gs").send(tmp_path / "a.bin", SAT_EID)

        async def ground(port: FakePort) -> None:
            await files_on(port, tmp_path / "gs").run()

        receiver = files_on(sat.port, tmp_path / "sat")
        got: list[object] = []
        async with running(
            run_through_crashes(gs, ground, [(3, False), (2, True), (4, False)]),
            receiver.run(),
            collect(receiver, got),  # type: ignore[arg-type]
        ):
            await until(lambda: len(got) == 1)
        chunks = [payload for _, _, payload in net.log if len(payload) > 256]
        assert len(chunks) == len(set(chunks)) == 40

    virtual(main)


def test_a_lost_partial_file_is_fetched_again(tmp_path: Path) -> None:
    content = make_file(tmp_path / "a.bin", 256 * 10)

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        sender = files_on(gs.port, tmp_path / "gs")
        net.lose = lambda source, destination, payload: (
            isinstance(message := decode_message(payload), Chunk)
            and message.offset == 0
            and len(net.log) < 14
        )
        async with running(sender.run()):
            async with running(files_on(sat.port, tmp_path / "sat").run()):
                one = await sender.send(tmp_path / "a.bin", SAT_EID)
                await until(lambda: any(space == SPACE_IN for space, _ in sat.state))
            for partial in (tmp_path / "sat/.partial").iterdir():
                partial.unlink()
            events: list[str] = []
            again = files_on(sat.restart(), tmp_path / "sat")
            again.listen(lambda event: events.append(event.kind))
            async with running(again.run()):
                assert (await sender.wait(one)).state == "delivered"
            assert "damaged" not in events  # the loss was seen at the start, not at the end
        assert (tmp_path / "sat/a.bin").read_bytes() == content

    virtual(main)
