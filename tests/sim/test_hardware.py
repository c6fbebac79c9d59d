"""The hardware that nodes of the swarm run on: disks, link ends, clocks."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from link_models.channel import ChannelConfig, Delay
from link_models.clock import VirtualLoop, run_virtual
from link_models.network import VirtualNetwork
from link_models.rng import Streams
from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import StoreError
from stack.core.sansio import no_trace
from stack.core.train import Train, single
from stack.node.config import StoreSection
from stack.ports.store import Committed, Place, Put, Release, Write
from stack.simulator.swarm import Fault, faults
from stack.simulator.swarm.air import AirEnd, LinkPort
from stack.simulator.swarm.clocks import NodeClock
from stack.simulator.swarm.disk import NodeDisk
from stack.simulator.swarm.ledger import MARKER, Held, RunLedger, unit_of
from stack.simulator.swarm.memory_image import flipped
from stack.simulator.swarm.process import Crashed
from stack.simulator.swarm.virtual_disk import VirtualDisk
from stack.storage.writer import StoreWriter


class Process:
    """A process that notes when it is ended."""

    def __init__(self, disk: NodeDisk) -> None:
        self.dead = False
        self._disk = disk

    def crash(self) -> None:
        self._disk.snapshot()
        self.dead = True


def make_disk(tmp_path: Path, kind: str, quota_bytes: int = 1 << 20) -> tuple[NodeDisk, RunLedger]:
    ledger = RunLedger({"gs1": ("sat1",), "sat1": ("gs1",)}, protect=True)
    section = StoreSection(kind=kind, quota_bytes=quota_bytes)
    disk = NodeDisk("gs1", tmp_path / "gs1", section, ledger, "seed")
    disk.directory.mkdir()
    return disk, ledger


def put(number: int, size: int = 100, place: Place = Place.FORWARD) -> Put:
    return Put(
        number.to_bytes(32, "big"), bytes(size), place, "dtn://sat1/x", "dtn://gs1/x", 1, 10_000, 0
    )


def on_loop(work: Callable[[VirtualLoop], Awaitable[None]]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        await work(loop)

    run_virtual(main)


KINDS = pytest.mark.parametrize("kind", ["memory", "sqlite"])
BIG = pytest.mark.parametrize("size", [100, 40_000])


@KINDS
@BIG
@pytest.mark.parametrize("mode", faults.COMMIT_MODES)
@pytest.mark.parametrize("seed", range(4))
def test_a_crash_in_a_commit_leaves_all_of_it_or_nothing(
    kind: str, mode: str, size: int, seed: int, tmp_path: Path
) -> None:
    async def work(loop: VirtualLoop) -> None:
        disk, _ = make_disk(tmp_path, kind)
        disk.rng = random.Random(seed)
        old = Process(disk)
        store = disk.open(old, no_trace)
        store.commit([put(1, size), Write("s", "k", b"before")], 0)
        disk.armed = mode
        with pytest.raises(Crashed):
            store.commit([put(2, size), put(3, size), Write("s", "k", b"after")], 0)
        assert old.dead
        with pytest.raises(Crashed):
            store.commit([put(4)], 0)
        disk.close()
        disk.swap()
        again = disk.open(Process(disk), no_trace)
        refs = [one.ref for one in again.scan()]
        state = again.read("s", "k")
        assert (len(refs), state) in {(1, b"before"), (3, b"after")}
        if mode == "before":
            assert len(refs) == 1
        if mode == "after":
            assert len(refs) == 3
        assert all(len(encoded or b"") == size for encoded in again.load(refs))
        again.commit([put(5)], 0)
        disk.close()

    on_loop(work)


@pytest.mark.slow
def test_torn_commits_leave_both_outcomes(tmp_path: Path) -> None:
    """Otherwise the test before would prove less than it says."""
    found = set()

    async def work(loop: VirtualLoop) -> None:
        for kind in ("memory", "sqlite"):
            for seed in range(30):
                folder = tmp_path / kind / str(seed)
                folder.mkdir(parents=True)
                disk, _ = make_disk(folder, kind)
                disk.rng = random.Random(seed)
                store = disk.open(Process(disk), no_trace)
                disk.armed = "torn"
                with pytest.raises(Crashed):
                    store.commit([put(1)], 0)
                disk.close()
                disk.swap()
                found.add((kind, len(list(disk.open(Process(disk), no_trace).scan()))))
                disk.close()

    on_loop(work)
    # Of SQLite's commit, the last octet decides: that all of it is there is rare.
    assert found >= {("memory", 0), ("memory", 1), ("sqlite", 0)}


@KINDS
def test_a_full_disk_refuses_and_works_again(kind: str, tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        disk, _ = make_disk(tmp_path, kind)
        store = disk.open(Process(disk), no_trace)
        disk.full += 1
        with pytest.raises(StoreError, match="no space"):
            store.commit([put(1)], 0)
        disk.full -= 1
        assert store.commit([put(1)], 0).refs[0] > 0
        assert disk.refused == 1
        disk.close()

    on_loop(work)


@KINDS
def test_a_slow_disk_takes_virtual_time(kind: str, tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        disk, ledger = make_disk(tmp_path, kind)
        store = disk.open(Process(disk), no_trace)
        disk.slow_s = 4.0
        writer = StoreWriter(store, lambda: 0, disk=VirtualDisk(disk, loop))
        outcome = await writer.commit([put(1)])
        assert outcome.refs[0] > 0
        assert 0 < loop.time() <= 4.0
        assert disk.delayed == 1
        assert put(1).key in ledger.durable["gs1"]
        await writer.close()
        disk.close()

    on_loop(work)


def test_a_crash_while_the_disk_works_loses_what_it_worked_on(tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        disk, ledger = make_disk(tmp_path, "memory")
        process = Process(disk)
        store = disk.open(process, no_trace)
        store.commit([put(1)], 0)
        disk.slow_s = 4.0
        virtual_disk = VirtualDisk(disk, loop)
        writer = StoreWriter(store, lambda: 0, disk=virtual_disk)
        failures: list[Exception] = []
        writer.submit([put(2)], lambda refs, evicted: pytest.fail("stored"), failures.append)
        await asyncio.sleep(0)
        process.crash()
        virtual_disk.hurry()
        assert isinstance(failures[0], Crashed)
        disk.swap()
        assert [one.key for one in disk.open(Process(disk), no_trace).scan()] == [put(1).key]
        assert put(2).key not in ledger.durable["gs1"]

    on_loop(work)


def test_a_disk_that_fills_up_while_it_works_undoes_it(tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        disk, _ = make_disk(tmp_path, "memory")
        store = disk.open(Process(disk), no_trace)
        disk.slow_s = 4.0
        staged = store.stage([put(1)], 0)
        disk.full += 1
        with pytest.raises(StoreError, match="no space"):
            staged.finish()
        assert not list(store.scan())

    on_loop(work)


@KINDS
@BIG
def test_a_flipped_bit_is_found_and_told(kind: str, size: int, tmp_path: Path) -> None:
    async def work(loop: VirtualLoop) -> None:
        disk, ledger = make_disk(tmp_path, kind)
        store = disk.open(Process(disk), no_trace)
        assert disk.flip() is None
        refs = store.commit([put(1, size), put(2, size)], 0).refs
        key = disk.flip()
        assert key in {put(1).key, put(2).key}
        with pytest.raises(StoreError):
            store.load(refs)
        assert list(ledger.gone) == [unit_of(key)]
        assert sorted(len(encoded or b"") for encoded in store.load(refs)) == [0, size]
        # What was damaged is forgotten, so that a copy is taken when it comes.
        again = put(1, size) if key == put(1).key else put(2, size)
        assert store.commit([again], 0).refs[0] > 0
        disk.close()

    on_loop(work)


def test_flipping_flips_one_bit() -> None:
    octets = bytes(range(100))
    changed = flipped(octets, random.Random(1))
    wrong = [a ^ b for a, b in zip(octets, changed, strict=True) if a != b]
    assert len(wrong) == 1
    assert wrong[0].bit_count() == 1


# ---- the ledger --------------------------------------------------------------------------------


def test_the_ledger_wants_a_copy_at_a_neighbour() -> None:
    ledger = RunLedger({"gs1": ("sat1",), "sat1": ("gs1",)}, protect=True)
    held = Held()
    ledger.committed("gs1", held, [put(1), put(2)], Committed([1, 2]), 0.0)
    ledger.committed("sat1", Held(), [put(1)], Committed([1]), 0.0)
    ledger.committed("gs1", held, [Release(1)], Committed([]), 1.0)
    assert not ledger.problems
    ledger.committed("gs1", held, [Release(2)], Committed([]), 1.0)
    assert [problem.invariant for problem in ledger.problems] == ["custody"]


def test_the_ledger_lets_parts_take_the_place_of_a_whole() -> None:
    ledger = RunLedger({"gs1": ("sat1",), "sat1": ("gs1",)}, protect=True)
    held = Held()
    ledger.committed("gs1", held, [put(1)], Committed([1]), 0.0)
    key = put(1).key
    part = put(1)._replace(key=key[:16] + bytes(16) + key[16:32] + bytes(16))
    ledger.committed("gs1", held, [Release(1), part], Committed([2]), 0.0)
    assert not ledger.problems


def test_the_ledger_sees_plaintext() -> None:
    ledger = RunLedger({"gs1": ()}, protect=True)
    ledger.committed("gs1", Held(), [put(1)._replace(encoded=b"x" + MARKER)], Committed([1]), 0.0)
    assert [problem.invariant for problem in ledger.problems] == ["clear"]


# ---- link ends ---------------------------------------------------------------------------------


def ends(loop: VirtualLoop) -> tuple[AirEnd, AirEnd]:
    network = VirtualNetwork(loop, Streams(1))
    config = ChannelConfig(delay=Delay.constant(MILLISECOND))
    ports = network.connect("link", config)
    return AirEnd(ports[0], loop, "a"), AirEnd(ports[1], loop, "b")


def strike(kind: str, amount: float = 0.5) -> Fault:
    return Fault(kind=kind, node="a", peer="b", at_s=0.0, amount=amount)


@pytest.mark.parametrize("kind", sorted(faults.ON_LINKS - {faults.HOSTILE}))
def test_each_fault_of_a_link_shows_and_is_accounted_for(kind: str) -> None:
    async def work(loop: VirtualLoop) -> None:
        near, far = ends(loop)
        sender = LinkPort(near, contextvars.copy_context(), lambda: None)
        receiver = LinkPort(far, contextvars.copy_context(), lambda: None)
        came: list[bytes] = []
        receiver.on_receive = lambda trains: came.extend(
            bytes(one) for train in trains for one in train.datagrams()
        )
        datagrams = [bytes([0, number]) + bytes(98) for number in range(200)]
        fault = strike(kind)
        near.begin(fault)
        for datagram in datagrams:
            sender.send([single(datagram)])
            await asyncio.sleep(0.01)
        await asyncio.sleep(10)
        assert not near.problems()
        match kind:
            case faults.CUT | faults.MUTE:
                assert not came
            case faults.LOSS:
                assert 50 < len(came) < 150
                assert set(came) < set(datagrams)
            case faults.DUPLICATE:
                assert 250 < len(came) < 350
                assert set(came) == set(datagrams)
            case faults.CORRUPT:
                assert 50 < len(set(came) - set(datagrams)) < 150
                assert all(one[:48] in {d[:48] for d in datagrams} for one in came)
            case _:
                assert came != datagrams
                assert sorted(came) == datagrams
        near.end(fault)
        came.clear()
        sender.send([Train(b"".join(datagrams), 100)])
        await asyncio.sleep(10)
        assert came == datagrams
        assert not near.problems()

    on_loop(work)


def test_control_segments_are_not_corrupted() -> None:
    async def work(loop: VirtualLoop) -> None:
        near, far = ends(loop)
        sender = LinkPort(near, contextvars.copy_context(), lambda: None)
        receiver = LinkPort(far, contextvars.copy_context(), lambda: None)
        came: list[Train] = []
        receiver.on_receive = came.extend
        near.begin(strike(faults.CORRUPT, 1.0))
        report = bytes([8]) + bytes(99)
        sender.send([single(report)])
        await asyncio.sleep(1)
        assert bytes(came[0].data) == report

    on_loop(work)


def test_old_and_new_process_share_an_end_and_the_dead_are_silent() -> None:
    async def work(loop: VirtualLoop) -> None:
        near, far = ends(loop)
        far_port = LinkPort(far, contextvars.copy_context(), lambda: None)
        old, new = (LinkPort(near, contextvars.copy_context(), lambda: None) for _ in range(2))
        heard: list[str] = []
        old.on_receive = lambda trains: heard.append("old")
        new.on_receive = lambda trains: heard.append("new")
        far_port.send([single(b"one")])
        await asyncio.sleep(1)
        assert heard == ["old", "new"]
        old.silent = True
        old.send([single(b"ghost")])
        far_port.send([single(b"two")])
        await asyncio.sleep(1)
        assert heard == ["old", "new", "new"]
        assert near.counts["sent"] == 0
        await old.close()

    on_loop(work)


# ---- clocks ------------------------------------------------------------------------------------


def test_a_clock_drifts_and_is_corrected() -> None:
    async def work(loop: VirtualLoop) -> None:
        clock = NodeClock(loop, 1_000_000)
        await asyncio.sleep(10)
        assert (clock.now(), clock.dtn_ms()) == (10 * SECOND, 1_010_000)
        clock.drift(1000)
        await asyncio.sleep(1000)
        assert clock.now() == 1011 * SECOND
        assert clock.dtn_ms() == 2_011_000
        clock.correct()
        assert clock.now() == 1011 * SECOND, "a monotonic clock does not go back"
        assert clock.dtn_ms() == 2_010_000
        await asyncio.sleep(1)
        assert clock.now() == 1012 * SECOND
        assert clock.dtn_ms() == 2_011_000

    on_loop(work)


def test_a_wall_clock_steps_and_is_corrected() -> None:
    async def work(loop: VirtualLoop) -> None:
        clock = NodeClock(loop, 0)
        clock.step(-5)
        assert (clock.now(), clock.dtn_ms()) == (0, -5000)
        clock.step(3605)
        assert clock.dtn_ms() == 3_600_000
        clock.correct()
        assert clock.dtn_ms() == 0
        assert clock.latest_ms == 3_600_000

    on_loop(work)
