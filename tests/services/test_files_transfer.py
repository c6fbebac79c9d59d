"""Files between two nodes over a network that delays, loses, repeats and reorders."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from stack.core.errors import LocalError
from stack.services.files import FileEvent, FilesConfig, FilesService, Received
from stack.services.files.messages import Chunk, Offer, Outcome, Receipt, Repair, decode_message
from stack.services.files.state import SPACE_INBOX
from tests.services.fake_port import FakeNet, Faults
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


class Pair:
    """A ground station that sends and a satellite that receives."""

    def __init__(
        self,
        tmp_path: Path,
        faults: Faults | None = None,
        config: FilesConfig = SMALL,
        seed: int = 1,
    ) -> None:
        self.net = FakeNet(seed, faults)
        self.gs, self.sat = self.net.node(GS), self.net.node(SAT)
        self.out_events: list[FileEvent] = []
        self.in_events: list[FileEvent] = []
        self.sender = FilesService(
            self.gs.port, tmp_path / "gs", config, on_event=self.out_events.append
        )
        self.receiver = FilesService(
            self.sat.port, tmp_path / "sat", config, on_event=self.in_events.append
        )
        self.received: list[Received] = []
        self.root = tmp_path / "sat"
        self.outside = tmp_path

    def kinds(self, events: list[FileEvent]) -> list[str]:
        return [event.kind for event in events if event.kind != "progress"]

    def sent(self, kind: type) -> list[object]:
        messages = [
            decode_message(payload)
            for source, destination, payload in self.net.log
            if destination.service == "files"
        ]
        return [message for message in messages if isinstance(message, kind)]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 1024, 10_000])
def test_content_arrives_whole_and_once(tmp_path: Path, size: int) -> None:
    content = make_file(tmp_path / "scene.tif", size)

    async def main() -> None:
        pair = Pair(tmp_path)
        async with running(
            pair.sender.run(), pair.receiver.run(), collect(pair.receiver, pair.received)
        ):
            object_id = await pair.sender.send(tmp_path / "scene.tif", SAT_EID)
            progress = await pair.sender.wait(object_id)
            assert progress.state == "delivered"
            assert progress.bytes_done == progress.bytes_total == size
            await until(lambda: len(pair.received) == 1)
        assert (pair.root / "scene.tif").read_bytes() == content
        assert pair.received[0].sha256 == hashlib.sha256(content).digest()
        assert pair.received[0].source == GS_EID.with_service("files")
        assert os.listdir(pair.root / ".partial") == []
        # A clean link needs two offers, each chunk once, one receipt, and no request.
        assert len(pair.sent(Chunk)) == -(-size // 256)
        assert len(pair.sent(Offer)) == 2
        assert len(pair.sent(Receipt)) <= 2
        assert pair.sent(Repair) == []

    virtual(main)


@pytest.mark.parametrize("seed", range(8))
def test_every_fault_at_once(tmp_path: Path, seed: int) -> None:
    faults = Faults(delay_s=0.3, jitter_s=3.0, loss=0.3, duplicate=0.3)
    names = ["a.bin", "b.bin", "c.bin"]
    contents = {
        name: make_file(tmp_path / "src" / name, 3000 + 700 * index, seed=index)
        for index, name in enumerate(names)
    }

    async def main() -> None:
        pair = Pair(tmp_path, faults, seed=seed)
        async with running(
            pair.sender.run(), pair.receiver.run(), collect(pair.receiver, pair.received)
        ):
            ids = [await pair.sender.send(tmp_path / "src" / name, SAT_EID) for name in names]
            for object_id in ids:
                assert (await pair.sender.wait(object_id)).state == "delivered"
            await until(lambda: len(pair.received) >= len(names))
        assert sorted(item.name for item in pair.received) == names
        for name in names:
            assert (pair.root / name).read_bytes() == contents[name]
        assert pair.kinds(pair.in_events).count("received") == len(names)

    virtual(main)


def test_lost_chunks_are_asked_for_once_and_alone(tmp_path: Path) -> None:
    content = make_file(tmp_path / "a.bin", 256 * 40)
    lost = {3, 4, 5, 17, 39}

    async def main() -> None:
        pair = Pair(tmp_path)
        seen: set[int] = set()

        def lose(source: object, destination: object, payload: bytes) -> bool:
            message = decode_message(payload)
            if not isinstance(message, Chunk) or message.offset // 256 in seen:
                return False
            seen.add(message.offset // 256)
            return message.offset // 256 in lost

        pair.net.lose = lose
        async with running(pair.sender.run(), pair.receiver.run()):
            object_id = await pair.sender.send(tmp_path / "a.bin", SAT_EID)
            assert (await pair.sender.wait(object_id)).state == "delivered"
        repairs = pair.sent(Repair)
        assert len(repairs) == 1
        assert isinstance(repairs[0], Repair)
        assert repairs[0].spans == ((3, 6), (17, 18), (39, 40))
        assert len(pair.sent(Chunk)) == 40 + len(lost)
        assert (pair.root / "a.bin").read_bytes() == content

    virtual(main)


def test_a_request_that_comes_again_is_not_answered_again(tmp_path: Path) -> None:
    make_file(tmp_path / "a.bin", 256 * 8)

    async def main() -> None:
        pair = Pair(tmp_path)
        async with running(pair.sender.run()):  # the receiver's words are ours here
            object_id = await pair.sender.send(tmp_path / "a.bin", SAT_EID)
            for number in (2, 2, 2, 3, 2, 3):
                await asyncio.sleep(1)
                repair = Repair(object_id, number, ((1, 3),))
                pair.gs.inject(SAT + "files", "files", repair.encode())
            await asyncio.sleep(1)
        assert len(pair.sent(Chunk)) == 8 + 2 + 2

    virtual(main)


def test_a_blackout_costs_no_octet_twice(tmp_path: Path) -> None:
    """Ten hours without a pass: the questions stay few, and no chunk goes twice."""
    make_file(tmp_path / "a.bin", 256 * 20)

    async def main() -> None:
        pair = Pair(tmp_path)
        pair.net.set_up(False)
        async with running(pair.sender.run(), pair.receiver.run()):
            object_id = await pair.sender.send(tmp_path / "a.bin", SAT_EID)
            await asyncio.sleep(36_000)
            pair.net.set_up(True)
            assert (await pair.sender.wait(object_id)).state == "delivered"
        assert len(pair.sent(Chunk)) == 20
        assert len(pair.sent(Offer)) <= 12

    virtual(main)


@pytest.mark.parametrize("kind", [Offer, Repair, Receipt])
def test_any_control_message_may_be_lost(tmp_path: Path, kind: type) -> None:
    """The first two of each kind are lost; the sender's questions bring the answer again."""
    content = make_file(tmp_path / "a.bin", 256 * 10)

    async def main() -> None:
        pair = Pair(tmp_path)
        losses = {"kind": 0, "chunk": 0}

        def lose(source: object, destination: object, payload: bytes) -> bool:
            message = decode_message(payload)
            if isinstance(message, kind) and losses["kind"] < 2:
                losses["kind"] += 1
                return True
            if isinstance(message, Chunk) and losses["chunk"] < 3:
                losses["chunk"] += 1
                return True
            return False

        pair.net.lose = lose
        async with running(
            pair.sender.run(), pair.receiver.run(), collect(pair.receiver, pair.received)
        ):
            object_id = await pair.sender.send(tmp_path / "a.bin", SAT_EID)
            assert (await pair.sender.wait(object_id)).state == "delivered"
        assert (pair.root / "a.bin").read_bytes() == content
        assert len(pair.received) == 1

    virtual(main)


def test_damaged_bundles_are_dropped_and_asked_for(tmp_path: Path) -> None:
    content = make_file(tmp_path / "a.bin", 256 * 30)

    async def main() -> None:
        faults = Faults()
        pair = Pair(tmp_path, faults)

        def damage(payload: bytes) -> bytes:
            if len(payload) > 256 and pair.net.random.random() < 0.3:
                at = len(payload) - 1 - pair.net.random.randrange(250)
                return payload[:at] + bytes((payload[at] ^ 0x10,)) + payload[at + 1 :]
            return payload

        faults.damage = damage
        async with running(pair.sender.run(), pair.receiver.run()):
            object_id = await pair.sender.send(tmp_path / "a.bin", SAT_EID)
            assert (await pair.sender.wait(object_id)).state == "delivered"
        assert (pair.root / "a.bin").read_bytes() == content
        assert "damaged" not in pair.kinds(pair.in_events)

    virtual(main)


def test_damage_on_disk_is_found_and_repaired_alone(tmp_path: Path) -> None:
    content = make_file(tmp_path / "a.bin", 256 * 20)

    async def main() -> None:
        pair = Pair(tmp_path)
        pair.net.lose = lambda source, destination, payload: (
            isinstance(message := decode_message(payload), Chunk)
            and message.offset == 256 * 7
            and not pair.sent(Repair)
        )
        async with running(pair.sender.run(), pair.receiver.run()):
            object_id = await pair.sender.send(tmp_path / "a.bin", SAT_EID)
            await asyncio.sleep(0.5)  # all but one chunk are here, the request is not yet sent
            (partial,) = (pair.root / ".partial").iterdir()
            with partial.open("r+b") as file:  # memory or disk flips bits of chunk 12
                file.seek(256 * 12 + 9)
                file.write(b"\xff\x00\xff\x00")
            assert (await pair.sender.wait(object_id)).state == "delivered"
        assert (pair.root / "a.bin").read_bytes() == content
        assert pair.kinds(pair.in_events).count("damaged") == 1
        last = pair.sent(Repair)[-1]
        assert isinstance(last, Repair)
        assert last.spans == ((12, 13),)

    virtual(main)


def test_content_that_never_matches_fails_clearly(tmp_path: Path) -> None:
    """A sender whose offer lies: the object fails on both sides and nothing is left."""
    make_file(tmp_path / "a.bin", 700)

    async def main() -> None:
        pair = Pair(tmp_path)
        prepared = await pair.sender.prepare(tmp_path / "a.bin", SAT_EID)
        prepared = replace(prepared, spec=replace(prepared.spec, sha256=bytes(32)))
        async with running(pair.sender.run(), pair.receiver.run()):
            pair.sender.start(prepared)
            progress = await pair.sender.wait(prepared.spec.object_id)
        assert progress.state == "failed"
        assert "digest" in progress.text
        assert pair.kinds(pair.in_events).count("damaged") == SMALL.verify_tries
        assert pair.kinds(pair.in_events).count("failed") == 1
        assert not (pair.root / "a.bin").exists()
        assert os.listdir(pair.root / ".partial") == []

    virtual(main)


def test_folder_keeps_its_shape(tmp_path: Path) -> None:
    tree = {"x.txt": 10, "sub/y.txt": 600, "sub/deep/z.bin": 0, "sub/deep/w w.bin": 300}
    contents = {
        name: make_file(tmp_path / "data" / name, size, seed=size) for name, size in tree.items()
    }
    (tmp_path / "data" / "link").symlink_to("/etc/passwd")

    async def main() -> None:
        pair = Pair(tmp_path)
        async with running(
            pair.sender.run(), pair.receiver.run(), collect(pair.receiver, pair.received)
        ):
            ids = await pair.sender.send_folder(tmp_path / "data", SAT_EID)
            assert len(ids) == len(tree)
            await until(lambda: len(pair.received) == len(tree))
        for name, content in contents.items():
            assert (pair.root / "data" / name).read_bytes() == content
        assert not (pair.root / "data" / "link").exists()

    virtual(main)


@pytest.mark.parametrize("trouble", ["name", "too large", "too many"])
def test_of_a_folder_all_is_sent_or_nothing(tmp_path: Path, trouble: str) -> None:
    for name in ("a.txt", "z\u202f1.png") if trouble != "too many" else ("a", "b", "z\u202f1.png"):
        make_file(tmp_path / "data" / name, 20)
    bad = tmp_path / "data" / ("x\u202e.txt" if trouble == "name" else "y.txt")
    make_file(bad, 20)

    async def main() -> None:
        pair = Pair(tmp_path, config=replace(SMALL, objects_max=5))
        if trouble == "too large":
            os.truncate(bad, 1 << 40)  # without content, but more chunks than there may be
        async with running(pair.sender.run(), pair.receiver.run()):
            why = {
                "name": r"U\+202E",
                "too large": "chunks",
                "too many": "4 more objects: 0 .*_max = 5",
            }[trouble]
            with pytest.raises(LocalError, match=why):
                await pair.sender.send_folder(tmp_path / "data", SAT_EID)
            assert not list(pair.sender.all_progress())
            bad.unlink()
            ids = await pair.sender.send_folder(tmp_path / "data", SAT_EID)
            for one in ids:
                assert (await pair.sender.wait(one)).state == "delivered"
        assert (pair.root / "data" / "z\u202f1.png").exists()

    virtual(main)


def test_urgent_objects_overtake(tmp_path: Path) -> None:
    make_file(tmp_path / "bulk.bin", 256 * 200)
    make_file(tmp_path / "urgent.bin", 256 * 4)

    async def main() -> None:
        pair = Pair(tmp_path)
        pair.net.set_up(False)
        pair.gs.quota = 10_000  # the store takes forty chunks; then the sender must wait
        async with running(pair.sender.run(), pair.receiver.run()):
            bulk = await pair.sender.send(tmp_path / "bulk.bin", SAT_EID, priority=0)
            await asyncio.sleep(10)
            assert pair.gs.waiting_bytes <= 12_000  # back-pressure
            urgent = await pair.sender.send(tmp_path / "urgent.bin", SAT_EID, priority=2)
            pair.net.set_up(True)
            assert (await pair.sender.wait(urgent)).state == "delivered"
            assert (await pair.sender.wait(bulk)).state == "delivered"
        order = [m.object_id for m in pair.sent(Chunk) if isinstance(m, Chunk)]
        assert order.index(urgent) < 60  # behind what the store had taken, before all the rest
        assert order[order.index(urgent) :][:4] == [urgent] * 4
        assert order[-1] == bulk

    virtual(main)


def test_the_same_name_again(tmp_path: Path) -> None:
    first = make_file(tmp_path / "1" / "a.bin", 300, seed=1)
    second = make_file(tmp_path / "2" / "a.bin", 300, seed=2)

    async def main(config: FilesConfig, root: Path) -> list[Received]:
        pair = Pair(root, config=config)
        async with running(
            pair.sender.run(), pair.receiver.run(), collect(pair.receiver, pair.received)
        ):
            for folder in ("1", "2", "1"):
                object_id = await pair.sender.send(tmp_path / folder / "a.bin", SAT_EID)
                await pair.sender.wait(object_id)
            await until(lambda: len(pair.received) == 3)
        return pair.received

    got = virtual(lambda: main(SMALL, tmp_path / "suffix"))
    assert [Path(item.path).name for item in got] == ["a.bin", "a-2.bin", "a.bin"]
    assert (tmp_path / "suffix/sat/a.bin").read_bytes() == first
    assert (tmp_path / "suffix/sat/a-2.bin").read_bytes() == second

    got = virtual(lambda: main(replace(SMALL, collision="replace"), tmp_path / "replace"))
    assert [Path(item.path).name for item in got] == ["a.bin"] * 3
    assert (tmp_path / "replace/sat/a.bin").read_bytes() == first
    assert sorted(os.listdir(tmp_path / "replace/sat")) == [".partial", "a.bin"]


def test_too_large_is_refused_and_quota_makes_it_wait(tmp_path: Path) -> None:
    make_file(tmp_path / "big.bin", 5000)
    make_file(tmp_path / "fits.bin", 3000)
    make_file(tmp_path / "also.bin", 3000, seed=2)
    config = replace(SMALL, object_bytes_max=4000, quota_bytes=8000)

    async def main() -> None:
        pair = Pair(tmp_path, Faults(jitter_s=0.5), config)
        async with running(pair.sender.run(), pair.receiver.run()):
            big = await pair.sender.send(tmp_path / "big.bin", SAT_EID)
            fits = await pair.sender.send(tmp_path / "fits.bin", SAT_EID)
            also = await pair.sender.send(tmp_path / "also.bin", SAT_EID)
            refused = await pair.sender.wait(big)
            assert refused.state == "refused"
            assert "larger" in refused.text
            assert (await pair.sender.wait(fits)).state == "delivered"
            assert (await pair.sender.wait(also)).state == "delivered"
        outcomes = [m.outcome for m in pair.sent(Receipt) if isinstance(m, Receipt)]
        assert Outcome.BUSY in outcomes

    virtual(main)


def test_policy_decides_before_anything_rests(tmp_path: Path) -> None:
    make_file(tmp_path / "a.bin", 300)

    async def main() -> None:
        net = FakeNet()
        gs, sat = net.node(GS), net.node(SAT)
        sender = files_on(gs.port, tmp_path / "gs")
        receiver = FilesService(
            sat.port, tmp_path / "sat", SMALL, accepts=lambda source, offer: False
        )
        async with running(sender.run(), receiver.run()):
            progress = await sender.wait(await sender.send(tmp_path / "a.bin", SAT_EID))
        assert (progress.state, progress.text) == ("refused", "refused by policy")
        assert os.listdir(tmp_path / "sat") == [".partial"]
        assert os.listdir(tmp_path / "sat" / ".partial") == []

    virtual(main)


def test_cancel_by_sender_and_by_receiver(tmp_path: Path) -> None:
    make_file(tmp_path / "a.bin", 256 * 30)

    async def main() -> None:
        pair = Pair(tmp_path)
        pair.net.lose = lambda source, destination, payload: (
            isinstance(m := decode_message(payload), Chunk) and m.offset == 0
        )
        async with running(pair.sender.run(), pair.receiver.run()):
            one = await pair.sender.send(tmp_path / "a.bin", SAT_EID)
            two = await pair.sender.send(tmp_path / "a.bin", SAT_EID)
            await asyncio.sleep(5)
            assert await pair.sender.cancel(one)
            assert not await pair.sender.cancel(one)
            assert await pair.receiver.abandon(GS_EID.with_service("files"), two)
            assert (await pair.sender.wait(two)).state == "cancelled"
            await asyncio.sleep(5)
        states = {item.object_id: item.state for item in pair.receiver.all_progress()}
        assert states == {one: "cancelled", two: "cancelled"}
        assert os.listdir(pair.root / ".partial") == []

    virtual(main)


@pytest.mark.slow
def test_lifetime_ends_on_both_sides(tmp_path: Path) -> None:
    make_file(tmp_path / "a.bin", 256 * 4)

    async def main() -> None:
        pair = Pair(tmp_path)
        pair.net.lose = lambda source, destination, payload: (
            isinstance(m := decode_message(payload), Chunk) and m.offset == 0
        )
        async with running(pair.sender.run(), pair.receiver.run()):
            one = await pair.sender.send(tmp_path / "a.bin", SAT_EID, lifetime_ms=600_000)
            assert (await pair.sender.wait(one)).state == "expired"
            await asyncio.sleep(60)
            (progress,) = pair.receiver.all_progress()
            assert progress.state == "expired"
            assert os.listdir(pair.root / ".partial") == []
            await asyncio.sleep(2 * 86_400)
            assert list(pair.receiver.all_progress()) == list(pair.sender.all_progress()) == []
        assert pair.gs.state == {}
        assert pair.sat.state == {}

    virtual(main)


def test_a_changed_source_fails_instead_of_sending_a_mixture(tmp_path: Path) -> None:
    make_file(tmp_path / "a.bin", 256 * 100)

    async def main() -> None:
        pair = Pair(tmp_path)
        pair.net.set_up(False)
        pair.gs.quota = 5000
        async with running(pair.sender.run(), pair.receiver.run()):
            one = await pair.sender.send(tmp_path / "a.bin", SAT_EID)
            await asyncio.sleep(1)
            make_file(tmp_path / "a.bin", 256 * 90, seed=9)
            pair.net.set_up(True)
            progress = await pair.sender.wait(one)
            await asyncio.sleep(5)
        assert progress.state == "failed"
        assert "changed" in progress.text
        assert os.listdir(pair.root) == [".partial"]

    virtual(main)


def test_a_full_store_delays_and_loses_nothing(tmp_path: Path) -> None:
    content = make_file(tmp_path / "a.bin", 256 * 20)

    async def main() -> None:
        pair = Pair(tmp_path)
        async with running(
            pair.sender.run(), pair.receiver.run(), collect(pair.receiver, pair.received)
        ):
            one = await pair.sender.send(tmp_path / "a.bin", SAT_EID)
            pair.gs.refuse_sends = 5
            pair.sat.refuse_sends = 2
            assert (await pair.sender.wait(one)).state == "delivered"
            await until(lambda: len(pair.received) == 1)
            await asyncio.sleep(1)
            assert pair.gs.inbound == pair.sat.inbound == {}
        assert (pair.root / "a.bin").read_bytes() == content

    virtual(main)


def test_inbox_keeps_what_is_not_handled(tmp_path: Path) -> None:
    make_file(tmp_path / "a.bin", 300)

    async def main() -> None:
        pair = Pair(tmp_path)
        async with running(pair.sender.run(), pair.receiver.run()):
            await pair.sender.wait(await pair.sender.send(tmp_path / "a.bin", SAT_EID))
            first = await pair.receiver.inbox.receive()
        again = files_on(pair.sat.restart(), tmp_path / "sat")
        async with running(again.run()):
            second = await again.inbox.receive()
            assert second == first
            assert again.inbox.find(second.source, second.object_id) == second
            await pair.sat.port.commit(write=[again.inbox.taken(second)])
            assert again.inbox.find(second.source, second.object_id) is None
            assert len(again.inbox) == 0
        assert not [key for space, key in pair.sat.state if space == SPACE_INBOX]

    virtual(main)


def test_misuse_is_told_at_once(tmp_path: Path) -> None:
    make_file(tmp_path / "a.bin", 300)

    async def main() -> None:
        pair = Pair(tmp_path)
        send = pair.sender.send
        for path, options in [
            ("missing", {}),
            ("", {"name": "d"}),
            ("a.bin", {"name": "../a"}),
            ("a.bin", {"priority": 4}),
            ("a.bin", {"lifetime_ms": 0}),
            ("a.bin", {"chunk_bytes": 2048}),
            ("a.bin", {"tag": "x" * 200}),
        ]:
            with pytest.raises(LocalError):
                await send(tmp_path / path, SAT_EID, **options)  # type: ignore[arg-type]
        with pytest.raises(LocalError):
            await pair.sender.wait(bytes(16))
        with pytest.raises(LocalError):
            pair.receiver.subscribe("", lambda source, offer: None)

    virtual(main)


def test_no_more_than_so_many_ended_objects_are_remembered(tmp_path: Path) -> None:
    config = replace(SMALL, closed_max=3)

    async def main() -> None:
        pair = Pair(tmp_path, config=config)
        async with running(pair.sender.run(), pair.receiver.run()):
            for number in range(6):
                make_file(tmp_path / f"{number}.bin", 300, seed=number)
                one = await pair.sender.send(tmp_path / f"{number}.bin", SAT_EID)
                assert (await pair.sender.wait(one)).state == "delivered"
            kept = ["3.bin", "4.bin", "5.bin"]
            assert [item.name for item in pair.sender.all_progress()] == kept
            assert [item.name for item in pair.receiver.all_progress()] == kept
        assert len([key for space, key in pair.gs.state if space == "files.out"]) == 6
        assert len([key for space, key in pair.sat.state if space == "files.in"]) == 3
        assert len(pair.receiver.inbox.held()) == 6  # unhandled objects are never dropped

    virtual(main)
