"""Virtual time: the asyncio loop, the event heap, the substreams."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models import clock
from link_models.clock import (
    Deadlock,
    Simulator,
    VirtualClock,
    VirtualLoop,
    VirtualTimeError,
    now_ns,
    run_virtual,
)
from link_models.rng import Streams
from stack.core.clock import SECOND
from stack.core.errors import LocalError

DAY_NS = 86_400 * SECOND


def test_a_day_passes_at_once_and_exactly() -> None:
    async def main() -> int:
        for _ in range(24 * 60):
            await asyncio.sleep(60)
        return now_ns()

    assert run_virtual(main) == DAY_NS


def test_time_starts_where_it_is_told() -> None:
    async def main() -> tuple[int, float]:
        return now_ns(), asyncio.get_running_loop().time()

    assert run_virtual(main, start_ns=5 * SECOND + 1) == (5 * SECOND + 1, 5.000000001)


def test_nanoseconds_survive_float_seconds() -> None:
    """call_later takes float seconds; a hundred days in, one nanosecond still counts."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        start = loop.now_ns
        woke: asyncio.Future[int] = loop.create_future()
        loop.call_later(1e-9, lambda: woke.set_result(loop.now_ns))
        return await woke - start

    assert run_virtual(main, start_ns=100 * DAY_NS + 1) == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.sampled_from(["call_at_ns", "call_at", "call_later"])),
        max_size=40,
    )
)
def test_order_is_time_then_sequence(calls: list[tuple[int, str]]) -> None:
    ran: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        for index, (when_ns, how) in enumerate(calls):
            if how == "call_at_ns":
                loop.call_at_ns(when_ns, ran.append, index)
            elif how == "call_at":
                loop.call_at(when_ns / SECOND, ran.append, index)
            else:
                loop.call_later(when_ns / SECOND, ran.append, index)
        await asyncio.sleep(1)

    run_virtual(main)
    assert ran == [index for _, index in sorted((when, i) for i, (when, _) in enumerate(calls))]


def test_timeouts_events_and_queues() -> None:
    async def main() -> list[object]:
        seen: list[object] = []
        event, queue = asyncio.Event(), asyncio.Queue[int](maxsize=1)

        async def producer() -> None:
            for item in range(3):
                await asyncio.sleep(10)
                await queue.put(item)
            event.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(producer())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(event.wait(), 5)
            seen.append(now_ns())
            for _ in range(3):
                seen.append(await queue.get())  # noqa: PERF401  # in step with the producer
            try:
                async with asyncio.timeout(5):
                    await event.wait()
            except TimeoutError:
                pytest.fail("the event is set at once")
            seen.append(now_ns())
        done, pending = await asyncio.wait(
            [asyncio.create_task(asyncio.sleep(d)) for d in (1, 9)], timeout=3
        )
        return [*seen, len(done), len(pending), now_ns()]

    assert run_virtual(main) == [5 * SECOND, 0, 1, 2, 30 * SECOND, 1, 1, 33 * SECOND]


def test_timer_handles_tell_their_time_and_cancel() -> None:
    ran: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        kept = loop.call_later(2.5, ran.append, "kept")
        gone = loop.call_later(1.5, ran.append, "gone")
        assert kept.when() == 2.5
        gone.cancel()
        gone.cancel()
        await asyncio.sleep(3)

    run_virtual(main)
    assert ran == ["kept"]


def test_cancelled_timers_do_not_pile_up() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        for _ in range(10_000):
            loop.call_later(1000, print).cancel()
        last = loop.call_later(1, lambda: None)
        await asyncio.sleep(2)
        assert last.when() == 1
        return len(loop._heap)

    assert run_virtual(main) <= 2 * clock.CANCELLED_TIMERS_MIN + 10


def test_cancelling_due_timers_from_callbacks() -> None:
    """A timer that is due but has not run yet is cancelled by one that runs before it."""
    ran: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        handles: list[asyncio.TimerHandle] = []

        def first() -> None:
            for handle in handles:
                handle.cancel()

        loop.call_later(1, first)
        handles += [loop.call_later(1 + (i % 2), ran.append, i) for i in range(500)]
        await asyncio.sleep(5)

    run_virtual(main)
    assert ran == []


@pytest.mark.parametrize(
    "forever", [lambda: asyncio.Event().wait(), lambda: asyncio.sleep(math.inf)]
)
def test_waiting_for_nothing_is_a_deadlock(forever: object) -> None:
    async def main() -> None:
        await asyncio.sleep(7)
        await forever()  # type: ignore[operator]

    with pytest.raises(Deadlock, match=r"deadlock at virtual time 7\.0"):
        run_virtual(main)


def test_a_loop_that_does_not_let_time_pass_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "INSTANT_CALLBACKS_MAX", 1000)

    async def main() -> None:
        await asyncio.sleep(1)
        while True:  # noqa: ASYNC110  # the mistake that is to be found
            await asyncio.sleep(0)

    with pytest.raises(Deadlock, match="stuck at virtual time 1"):
        run_virtual(main)


def test_what_fails_and_is_tried_again_at_once_for_ever_is_found_soon() -> None:
    """Each failure is logged: a thousand of them are enough, before memory is full."""
    tried = 0

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def attempt() -> None:
            nonlocal tried
            tried += 1
            loop.call_soon(attempt)
            raise ValueError

        loop.call_later(1, attempt)
        await asyncio.sleep(2)

    with pytest.raises(Deadlock, match="stuck at virtual time 1"):
        run_virtual(main)
    assert tried < 2000


def test_failures_as_time_goes_by_do_not_end_a_run() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        for number in range(3000):
            loop.call_later(number, lambda: 1 / 0)
        await asyncio.sleep(4000)
        return 7

    assert run_virtual(main) == 7


def test_the_real_world_is_refused() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(VirtualTimeError, match="thread"):
            await asyncio.to_thread(print)
        with pytest.raises(VirtualTimeError, match="thread"):
            await loop.getaddrinfo("localhost", 1)
        with pytest.raises(VirtualTimeError, match="socket"):
            await asyncio.open_connection("127.0.0.1", 1)
        with pytest.raises(VirtualTimeError, match="socket"):
            await asyncio.start_server(print, "127.0.0.1", 0)
        with pytest.raises(VirtualTimeError, match="socket"):
            await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
        with pytest.raises(VirtualTimeError, match="subprocess"):
            await asyncio.create_subprocess_exec("true")
        with pytest.raises(VirtualTimeError, match="subprocess"):
            await asyncio.create_subprocess_shell("true")
        with pytest.raises(NotImplementedError):
            loop.add_signal_handler(2, print)
        with pytest.raises(NotImplementedError):
            loop.add_reader(0, print)
        with pytest.raises(NotImplementedError):
            loop.add_writer(0, print)

    run_virtual(main)


def test_another_thread_is_refused_and_our_own_is_not() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        seen: list[str] = []
        loop.call_soon_threadsafe(seen.append, "own")

        def intrude() -> None:
            try:
                loop.call_soon_threadsafe(seen.append, "other")
            except VirtualTimeError:
                seen.append("refused")

        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()
        await asyncio.sleep(0)
        return seen

    assert run_virtual(main) == ["refused", "own"]


def test_leftover_tasks_and_generators_are_closed_in_order() -> None:
    closed: list[str] = []

    async def left(name: str) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            closed.append(name)

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("generator")

    async def main() -> None:
        tasks = [asyncio.create_task(left(f"task {i}")) for i in range(20)]
        generator = numbers()
        assert await anext(generator) == 1
        await asyncio.sleep(1)
        main.kept = tasks, generator  # type: ignore[attr-defined]

    run_virtual(main)
    assert closed == [f"task {i}" for i in range(20)] + ["generator"]


def test_errors_come_out_and_the_loop_can_be_used_again() -> None:
    async def main() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_virtual(main, debug=True)

    async def again() -> str:
        with pytest.raises(LocalError, match="running event loop"):
            run_virtual(main)
        return "fine"

    assert run_virtual(again) == "fine"


def test_now_ns_needs_a_virtual_loop() -> None:
    async def main() -> None:
        with pytest.raises(LocalError, match="no virtual time"):
            now_ns()

    asyncio.run(main())


def test_virtual_clocks_differ_in_wall_time_only() -> None:
    async def main() -> list[tuple[int, int]]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clocks = [
            VirtualClock(loop, dtn_start_ms=1000),
            VirtualClock(loop, dtn_start_ms=990),
            VirtualClock(loop, dtn_start_ms=1000, trusted=False),
        ]
        await asyncio.sleep(0.5)
        return [(each.now(), each.dtn_ms()) for each in clocks]

    half = SECOND // 2
    assert run_virtual(main) == [(half, 1500), (half, 1490), (half, 0)]


@given(st.lists(st.tuples(st.integers(-5, 30), st.integers(0, 9)), max_size=60))
def test_simulator_runs_in_order_and_never_back(events: list[tuple[int, int]]) -> None:
    simulator = Simulator()
    ran: list[tuple[int, int]] = []

    def event(index: int, again_ns: int) -> None:
        ran.append((simulator.now_ns, index))
        if again_ns:
            simulator.after(again_ns, lambda: event(index, 0))

    for index, (at_ns, again_ns) in enumerate(events):
        simulator.at(at_ns, lambda i=index, a=again_ns: event(i, a))  # type: ignore[misc]
    again = sum(1 for _, a in events if a)
    assert simulator.run() == len(ran) == len(events) + again
    times = [at for at, _ in ran]
    assert times == sorted(times)
    first: dict[int, int] = {}
    for at, index in ran:
        first.setdefault(index, at)
    assert first == {i: max(0, at) for i, (at, _) in enumerate(events)}


def test_simulator_stops_where_it_is_told() -> None:
    simulator = Simulator(start_ns=10)
    ran: list[int] = []
    for at_ns in (20, 30, 40, 50):
        simulator.at(at_ns, lambda: ran.append(simulator.now_ns))
    assert simulator.run(until_ns=30) == 2
    assert (ran, simulator.now_ns, simulator.next_ns) == ([20, 30], 30, 40)
    assert simulator.run(until_ns=35) == 0
    assert simulator.now_ns == 35
    assert simulator.run(events_max=1) == 1
    assert (ran[-1], simulator.now_ns) == (40, 40)
    assert simulator.run(until_ns=100, events_max=1) == 1
    assert simulator.next_ns is None


def test_substreams_depend_on_seed_and_name_alone() -> None:
    alone = Streams(7).stream("b/loss").random(8).tolist()
    streams = Streams(7)
    streams.stream("a/loss").random(1000)
    assert streams.stream("b/loss").random(8).tolist() == alone
    assert Streams(7).child("b").stream("loss").random(8).tolist() == alone
    assert Streams(8).stream("b/loss").random(8).tolist() != alone
    assert Streams(7).stream("b/jitter").random(8).tolist() != alone


def test_a_substream_is_taken_once() -> None:
    streams = Streams(1)
    streams.child("x").stream("y")
    with pytest.raises(LocalError, match="x/y"):
        streams.stream("x/y")


def test_entropy_is_deterministic() -> None:
    assert Streams(3).entropy("node")(16) == Streams(3).entropy("node")(16)
    assert len(Streams(3).entropy("node")(5)) == 5
