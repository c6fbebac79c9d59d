"""Group commit: many callers, few transactions, each answered with its own outcome."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from stack.core.errors import LocalError, StoreError
from stack.ports.store import DUPLICATE, Committed, Op, Put, Release, Stored, Write
from stack.storage import (
    MemoryStore,
    SqliteStore,
    Staged,
    StagingStore,
    StoreConfig,
    StoreWriter,
    WriterConfig,
)
from tests.storage.bundles import LIFETIME_MS, NOW_MS, encoded, put


class Watched(MemoryStore):
    """A store in memory that counts transactions, fails on demand, and can be held up."""

    def __init__(self, quota_bytes: int = 1 << 30) -> None:
        super().__init__(quota_bytes)
        self.batches: list[int] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.fail_finish = 0
        self.tidied = 0
        self.dirty = False

    def stage(self, ops: Sequence[Op], now_ms: int) -> Staged[Committed]:
        self.batches.append(len(ops))
        if any(isinstance(op, Write) and op.space == "bad" for op in ops):
            raise StoreError("a bad one")

        def finish() -> None:
            self.threads.add(threading.current_thread().name)
            assert self.gate.wait(10)
            if self.fail_finish:
                self.fail_finish -= 1
                raise StoreError("the disk is gone")

        # The outcome is that of the moment of staging: these tests fail before they put.
        if self.fail_finish:
            return Staged(Committed([]), finish)
        return Staged(self.commit(ops, now_ms), finish)

    @property
    def untidy(self) -> bool:
        return self.dirty

    def tidy(self) -> bool:
        self.tidied += 1
        self.dirty = False
        return True


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `main` on a loop on which unhandled errors fail the test."""
    asyncio.run(asyncio.wait_for(main(), 30))


@pytest.mark.parametrize("inline", [True, False])
def test_requests_of_one_iteration_share_a_transaction(inline: bool) -> None:
    async def main() -> None:
        store = Watched()
        writer = StoreWriter(store, lambda: NOW_MS, inline=inline)
        first = await writer.commit([put(0)])
        tasks = [writer.commit([put(n), put(n + 100), put(0)]) for n in range(1, 20)]
        outcomes = await asyncio.gather(*tasks)
        assert store.batches == [1, 57]
        assert first.refs == [1]
        refs = [ref for outcome in outcomes for ref in outcome.refs[:2]]
        assert refs == list(range(2, 40))
        assert all(outcome.refs[2] == DUPLICATE for outcome in outcomes)
        assert store.load(refs[:2]) == [encoded(1), encoded(101)]
        assert store.threads == {"MainThread" if inline else "store"}
        assert writer.backlog_bytes == 0
        await writer.close()

    run(main)


def test_what_comes_during_a_transaction_is_the_next_one() -> None:
    async def main() -> None:
        store = Watched()
        writer = StoreWriter(store, lambda: NOW_MS, config=WriterConfig(batch_ops=10))
        store.gate.clear()
        order: list[int] = []
        writer.submit([put(0)], lambda refs, evicted: order.extend(refs))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert store.batches == [1]
        for number in range(1, 26):
            writer.submit([put(number)], lambda refs, evicted: order.extend(refs))
        assert writer.backlog_bytes == 2600
        await asyncio.sleep(0)
        assert store.batches == [1]
        store.gate.set()
        await writer.flush()
        assert store.batches == [1, 10, 10, 5]
        assert order == list(range(1, 27))
        await writer.close()

    run(main)


def test_batches_are_bounded_by_octets() -> None:
    async def main() -> None:
        store = Watched()
        config = WriterConfig(batch_bytes=1000)
        writer = StoreWriter(store, lambda: NOW_MS, config=config, inline=True)
        done: list[int] = []
        for number, size in enumerate([400, 400, 400, 5000, 100]):
            writer.submit([put(number, size)], lambda refs, evicted: done.extend(refs))
        await writer.flush()
        assert store.batches == [2, 1, 1, 1]
        assert done == [1, 2, 3, 4, 5]
        await writer.close()

    run(main)


@pytest.mark.parametrize("inline", [True, False])
def test_one_bad_request_fails_alone(inline: bool) -> None:
    async def main() -> None:
        store = Watched()
        writer = StoreWriter(store, lambda: NOW_MS, inline=inline)
        requests: list[list[Op]] = [[put(1)], [put(2), Write("bad", "", b"")], [put(3)]]
        outcomes = await asyncio.gather(
            *(writer.commit(request) for request in requests), return_exceptions=True
        )
        assert isinstance(outcomes[1], StoreError)
        assert [outcome.refs for outcome in outcomes[::2] if isinstance(outcome, Committed)] == [
            [1],
            [2],
        ]
        assert store.batches == [4, 1, 2, 1]
        assert writer.backlog_bytes == 0
        await writer.close()

    run(main)


@pytest.mark.parametrize("inline", [True, False])
def test_failing_disk_is_told_to_each_and_then_forgotten(inline: bool) -> None:
    async def main() -> None:
        store = Watched()
        writer = StoreWriter(store, lambda: NOW_MS, inline=inline)
        store.fail_finish = 3
        outcomes = await asyncio.gather(
            writer.commit([put(1)]), writer.commit([put(2)]), return_exceptions=True
        )
        assert [str(outcome) for outcome in outcomes] == ["the disk is gone"] * 2
        assert (await writer.commit([put(3)])).refs == [1]
        await writer.close()

    run(main)


def test_evictions_are_told_once() -> None:
    async def main() -> None:
        told: list[list[int]] = []
        for hook in (None, told.append):
            store = Watched(quota_bytes=300)
            writer = StoreWriter(store, lambda: NOW_MS, inline=True, on_evicted=hook)
            await writer.commit([put(n, priority=0) for n in range(3)])
            outcomes = await asyncio.gather(
                *(writer.commit([put(n, priority=1)]) for n in range(3, 5))
            )
            evicted = [outcome.evicted for outcome in outcomes]
            assert evicted == ([[1, 2], []] if hook is None else [[], []])
            await writer.close()
        assert told == [[1, 2]]

    run(main)


def test_expiry_takes_its_turn() -> None:
    async def main() -> None:
        store = Watched()
        times = iter([NOW_MS, NOW_MS + LIFETIME_MS, NOW_MS + LIFETIME_MS])
        writer = StoreWriter(store, lambda: next(times), inline=True)
        first = asyncio.ensure_future(writer.commit([put(1)]))
        expired = asyncio.ensure_future(writer.expire(10))
        second = asyncio.ensure_future(writer.commit([put(2)]))
        assert (await first).refs == [1]
        found: list[Stored] = await expired
        assert [stored.ref for stored in found] == [1]
        assert (await second).refs == [2]
        assert store.usage().bundles == 1
        await writer.close()
        with pytest.raises(LocalError):
            await writer.expire(1)

    run(main)


def test_full_backlog_holds_tasks_back() -> None:
    async def main() -> None:
        store = Watched()
        config = WriterConfig(backlog_bytes=250, batch_ops=1)
        writer = StoreWriter(store, lambda: NOW_MS, config=config)
        store.gate.clear()
        tasks = [asyncio.ensure_future(writer.commit([put(n)])) for n in range(8)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert writer.full
        assert writer.backlog_bytes == 300
        store.gate.set()
        outcomes = await asyncio.gather(*tasks)
        assert sorted(ref for outcome in outcomes for ref in outcome.refs) == list(range(1, 9))
        assert not writer.full
        await writer.close()

    run(main)


def test_a_caller_that_raises_or_went_away_harms_nobody() -> None:
    async def main() -> None:
        reported: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context))
        store = Watched()
        writer = StoreWriter(store, lambda: NOW_MS, inline=True)
        gone = asyncio.ensure_future(writer.commit([put(1)]))
        await asyncio.sleep(0)
        gone.cancel()

        def broken(refs: list[int], evicted: list[int]) -> None:
            raise ValueError("a bug")

        writer.submit([put(2)], broken)
        writer.submit([Write("bad", "", b"")], broken)
        third = await writer.commit([put(3)])
        assert third.refs == [3]
        await writer.flush()
        assert [str(context["exception"]) for context in reported] == ["a bug", "a bad one"] or [
            str(context["exception"]) for context in reported
        ] == ["a bad one", "a bug"]
        await writer.close()

    run(main)


def test_closing_commits_what_was_submitted() -> None:
    async def main() -> None:
        store = Watched()
        writer = StoreWriter(store, lambda: NOW_MS)
        done: list[int] = []
        for number in range(50):
            writer.submit([put(number)], lambda refs, evicted: done.extend(refs))
        await writer.close()
        assert len(done) == 50
        assert not [each for each in threading.enumerate() if each.name == "store"]
        with pytest.raises(LocalError):
            writer.submit([put(99)], lambda refs, evicted: None)
        with pytest.raises(LocalError):
            await writer.commit([put(99)])

    run(main)


@pytest.mark.parametrize("inline", [True, False])
def test_housekeeping_runs_between_transactions(inline: bool) -> None:
    async def main() -> None:
        store = Watched()
        writer = StoreWriter(store, lambda: NOW_MS, inline=inline)
        store.dirty = True
        await writer.commit([put(1)])
        await writer.commit([put(2)])
        await writer.close()
        assert store.tidied == 1

    run(main)


def test_crowds_are_put_together_and_others_do_not_wait() -> None:
    async def main() -> None:
        store = Watched()
        config = WriterConfig(spacing_ns=3_600_000_000_000, batch_ops=256)
        writer = StoreWriter(store, lambda: NOW_MS, config=config)
        for number in range(3):
            await writer.commit([put(number)])
        for start in (10, 20):
            await asyncio.gather(*(writer.commit([put(start + n)]) for n in range(10)))
        assert store.batches == [1, 1, 1, 10, 10]
        store.gate.clear()
        done: list[int] = []
        first = asyncio.ensure_future(writer.commit([put(30)]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for number in range(31, 35):
            writer.submit([put(number)], lambda refs, evicted: done.extend(refs))
        store.gate.set()
        await first
        for _ in range(20):
            await asyncio.sleep(0)
        writer.submit([put(35)], lambda refs, evicted: done.extend(refs))
        assert store.batches[5:] == [1], "they wait for company"
        full: list[Op] = [put(number) for number in range(100, 400)]
        assert len((await writer.commit(full)).refs) == 300
        assert store.batches[5:] == [1, 5, 300], "a full transaction does not wait"
        await writer.close()
        assert len(done) == 5

    run(main)


def test_releases_alone_wait_for_company() -> None:
    async def main() -> None:
        store = Watched()
        config = WriterConfig(spacing_ns=3_600_000_000_000)
        writer = StoreWriter(store, lambda: NOW_MS, config=config)
        refs = (await writer.commit([put(1), put(2), put(3)])).refs
        done: list[int] = []
        for ref in refs[:2]:
            writer.submit([Release(ref)], lambda refs, evicted: done.append(len(refs)))
        for _ in range(20):
            await asyncio.sleep(0)
        assert store.batches == [3]
        await writer.commit([put(4)])
        assert store.batches == [3, 3]
        assert done == [0, 0]
        writer.submit([Release(refs[2])], lambda refs, evicted: done.append(len(refs)))
        await writer.expire(10)
        assert store.batches == [3, 3, 1]
        writer.submit([Release(4)], lambda refs, evicted: done.append(len(refs)))
        await writer.close()
        assert store.batches == [3, 3, 1, 1]
        assert len(done) == 4
        assert store.usage().bundles == 0

    run(main)


def hammer(store: StagingStore, inline: bool) -> list[tuple[list[int], list[int]]]:
    """200 tasks that put, load and release through one writer; what each of them was told."""
    told: list[tuple[list[int], list[int]]] = []

    async def task(writer: StoreWriter, number: int) -> None:
        puts: list[Put] = [put(number * 3 + index, 500 + number) for index in range(3)]
        refs = (await writer.commit(puts)).refs
        assert store.load(refs) == [each.encoded for each in puts]
        gone = (await writer.commit([Release(refs[0]), puts[1]])).refs
        assert store.load(refs[:2]) == [None, puts[1].encoded]
        told.append((refs, gone))

    async def main() -> None:
        writer = StoreWriter(store, lambda: NOW_MS, inline=inline)
        await asyncio.gather(*(task(writer, number) for number in range(200)))
        await writer.close()

    run(main)
    return told


def test_durable_store_behind_a_writer(directory: Path) -> None:
    config = StoreConfig(segment_bytes=1 << 14)
    store = SqliteStore(directory / "a", config)
    told = hammer(store, False)
    assert len({ref for refs, _ in told for ref in refs}) == 600
    assert {gone for _, (gone,) in told} == {DUPLICATE}
    held = sorted(ref for refs, _ in told for ref in refs[1:])
    store.close()
    store = SqliteStore(directory / "a", config)
    assert [stored.ref for stored in store.scan()] == held
    store.close()


def test_inline_is_deterministic(directory: Path) -> None:
    histories = []
    for name in ("a", "b"):
        store = SqliteStore(directory / name)
        histories.append(hammer(store, True))
        store.close()
    histories.append(hammer(MemoryStore(1 << 30), True))
    assert histories[0] == histories[1] == histories[2]
