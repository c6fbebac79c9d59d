"""Virtual time: an asyncio loop that never sleeps, and a bare event heap for engines.

Both hold time as an integer number of nanoseconds and break ties by order of scheduling, so that
a run is a function of its inputs alone.  `VirtualLoop` runs whole nodes with their services;
`Simulator` runs sans-IO engines about four times faster.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import heapq
import threading
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar, TypeVarTuple, Unpack

from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import LocalError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

INSTANT_CALLBACKS_MAX = 10_000_000
"""Callbacks run without the clock moving before a run counts as stuck: minutes of computing at
one instant, which no protocol needs, and which otherwise looks like a hang."""

FAILURE_CALLBACKS = 10_000
"""As so many counts an exception that nobody took: it is written down somewhere, which takes memory
too, and who tries again at once for ever does so a thousand times."""

FOREVER_S = 1e10
"""Timers further away than this (317 years, or infinity) never fire."""

CANCELLED_TIMERS_MIN = 100
"""Fewer cancelled timers than this are not worth a sweep of the heap (as in asyncio)."""


class VirtualTimeError(LocalError, NotImplementedError):
    """Something was asked of virtual time that only the real world has (sockets, threads).

    It is a `NotImplementedError` too, which is what portable code expects of a limited loop.
    """


class Deadlock(LocalError):
    """Nothing is scheduled and the main coroutine has not ended: it would wait for ever."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio event loop in virtual time.

    When nothing is ready the clock jumps to the next timer.  There are no sockets, threads,
    signals or subprocesses; asking for them raises `VirtualTimeError`.
    """

    _ready: collections.deque[asyncio.Handle]
    _stopping: bool

    def __init__(self, start_ns: int = 0) -> None:
        super().__init__()
        self._now_ns = start_ns
        self._heap: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._sequence = 0
        self._cancelled_timers = 0
        self._instant_callbacks = 0

    @property
    def now_ns(self) -> int:
        """Virtual time in nanoseconds."""
        return self._now_ns

    def time(self) -> float:
        """Virtual time in seconds; exact to the nanosecond for the first hundred days."""
        return self._now_ns / SECOND

    def call_at_ns(
        self,
        when_ns: int,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """`call_at` with an integer time in nanoseconds; a time that is past means now.  Raises
        `RuntimeError` when the loop is closed."""
        if self.is_closed():
            raise RuntimeError("the event loop is closed")
        if when_ns < self._now_ns:
            when_ns = self._now_ns
        timer = asyncio.TimerHandle(when_ns / SECOND, callback, args, self, context)
        timer._scheduled = True  # type: ignore[attr-defined]  # so that cancel() tells us
        self._sequence += 1
        heapq.heappush(self._heap, (when_ns, self._sequence, timer))
        return timer

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """As in asyncio; `when` in seconds of `time()`, rounded to the nanosecond."""
        return self.call_at_ns(_ns(when), callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """As in asyncio; `delay` in seconds, rounded to the nanosecond."""
        when_ns = self._now_ns + _ns(delay)
        return self.call_at_ns(when_ns, callback, *args, context=context)

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """`call_soon`, from the loop's own thread only: another thread has no virtual time.  Raises
        `VirtualTimeError` in any other."""
        owner = getattr(self, "_thread_id", None)
        if owner is not None and owner != threading.get_ident():
            raise VirtualTimeError("a thread has called into a virtual-time loop")
        return self.call_soon(callback, *args, context=context)

    def _run_once(self) -> None:
        """Run until the loop is stopped (called by `run_forever`, which is content with less)."""
        ready, heap, pop = self._ready, self._heap, heapq.heappop
        while True:
            if not ready and not self._stopping:
                self._jump()
            now_ns = self._now_ns
            while heap and heap[0][0] <= now_ns:
                timer = pop(heap)[2]
                timer._scheduled = False  # type: ignore[attr-defined]
                if timer._cancelled:
                    self._cancelled_timers -= 1
                else:
                    ready.append(timer)
            due = len(ready)
            for _ in range(due):
                handle = ready.popleft()
                if not handle._cancelled:
                    handle._run()
            if self._stopping:
                return
            self._instant_callbacks += due
            if self._instant_callbacks > INSTANT_CALLBACKS_MAX:
                raise Deadlock(
                    f"stuck at virtual time {self.time():.9f} s: {INSTANT_CALLBACKS_MAX} callbacks"
                    f" have run (one that raised counts {FAILURE_CALLBACKS}) and the clock has not"
                    " moved"
                )

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """As in asyncio."""
        self._instant_callbacks += FAILURE_CALLBACKS
        super().call_exception_handler(context)

    def timers(self) -> int:
        """How many timers wait."""
        return sum(not entry[2].cancelled() for entry in self._heap)

    def _jump(self) -> None:
        """Move the clock to the next timer."""
        heap = self._heap
        while heap and heap[0][2]._cancelled:
            heapq.heappop(heap)
            self._cancelled_timers -= 1
        if not heap or heap[0][0] >= FOREVER_S * SECOND:
            raise Deadlock(
                f"deadlock at virtual time {self.time():.9f} s: every task waits for something"
                " that nothing scheduled will do"
            )
        if heap[0][0] > self._now_ns:
            self._now_ns = heap[0][0]
            self._instant_callbacks = 0

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Sweep the heap when most of it is cancelled (called by `TimerHandle.cancel`)."""
        if not handle._scheduled:  # type: ignore[attr-defined]
            return
        self._cancelled_timers += 1
        if self._cancelled_timers > CANCELLED_TIMERS_MIN + len(self._heap) // 2:
            # `handle` itself is marked as cancelled only after this call.
            self._heap[:] = [e for e in self._heap if not e[2]._cancelled and e[2] is not handle]
            heapq.heapify(self._heap)
            handle._scheduled = False  # type: ignore[attr-defined]
            self._cancelled_timers = 0

    def close(self) -> None:
        """Forget all timers and close; must not be running."""
        super().close()
        self._heap.clear()

    def _process_events(self, event_list: object) -> NoReturn:
        raise _refusal("polling")

    def run_in_executor(self, executor: object, func: object, *args: object) -> NoReturn:
        """Refused: there is none in virtual time."""
        raise _refusal("a thread (run_in_executor, to_thread, getaddrinfo)")

    def add_reader(self, fd: object, callback: object, *args: object) -> NoReturn:
        """Refused: there is none in virtual time."""
        raise _refusal("a file descriptor (add_reader)")

    def add_writer(self, fd: object, callback: object, *args: object) -> NoReturn:
        """Refused: there is none in virtual time."""
        raise _refusal("a file descriptor (add_writer)")

    def add_signal_handler(self, sig: int, callback: object, *args: object) -> NoReturn:
        """Refused: there is none in virtual time."""
        raise _refusal("a signal handler")

    async def create_connection(self, *args: Any, **options: Any) -> NoReturn:
        """Raises `VirtualTimeError`."""
        raise _refusal("a socket (create_connection)")

    async def create_server(self, *args: Any, **options: Any) -> NoReturn:
        """Raises `VirtualTimeError`."""
        raise _refusal("a socket (create_server)")

    async def create_datagram_endpoint(self, *args: Any, **options: Any) -> NoReturn:
        """Raises `VirtualTimeError`."""
        raise _refusal("a socket (create_datagram_endpoint)")

    async def subprocess_exec(self, *args: Any, **options: Any) -> NoReturn:
        """Refused: there is none in virtual time."""
        raise _refusal("a subprocess")

    async def subprocess_shell(self, *args: Any, **options: Any) -> NoReturn:
        """Refused: there is none in virtual time."""
        raise _refusal("a subprocess")


def _ns(seconds: float) -> int:
    return round(min(seconds, FOREVER_S) * SECOND)


def _refusal(what: str) -> VirtualTimeError:
    return VirtualTimeError(f"{what} was asked for in virtual time, which has none")


def run_virtual(
    main: Callable[[], Coroutine[Any, Any, T]], *, start_ns: int = 0, debug: bool = False
) -> T:
    """Run `main()` to its end on a new `VirtualLoop`, then cancel what it left running.

    Raises what `main` raises, `Deadlock` when it can never end, and `LocalError` inside of a
    running loop.
    """
    if asyncio._get_running_loop() is not None:
        raise LocalError("run_virtual cannot be called from a running event loop")
    loop = VirtualLoop(start_ns)
    loop.set_debug(debug)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main())
    finally:
        try:
            _cancel_all(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    # Default names count up; `all_tasks` is a set, whose order would differ from run to run.
    tasks = sorted(
        asyncio.all_tasks(loop), key=lambda task: (len(task.get_name()), task.get_name())
    )
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    for task in tasks:
        if not task.cancelled() and task.exception() is not None:
            loop.call_exception_handler(
                {
                    "message": "a task raised while run_virtual cancelled it",
                    "exception": task.exception(),
                    "task": task,
                }
            )


def now_ns() -> int:
    """Virtual nanoseconds of the running `VirtualLoop`.  Raises `LocalError` on another loop."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise LocalError("the running event loop has no virtual time")
    return loop.now_ns


class VirtualClock:
    """A `stack.core.clock.Clock` over a virtual loop or a simulator, one per node."""

    def __init__(
        self, source: VirtualLoop | Simulator, *, dtn_start_ms: int = 0, trusted: bool = True
    ) -> None:
        """`dtn_start_ms` is this node's DTN time at virtual time 0, its error included; a node
        whose wall clock is not `trusted` has DTN time 0 (RFC 9171 §4.2.7)."""
        self._source = source
        self._dtn_start_ms = dtn_start_ms
        self._trusted = trusted

    def now(self) -> int:
        """Virtual nanoseconds."""
        return self._source.now_ns

    def dtn_ms(self) -> int:
        """DTN time in milliseconds, or 0 without a trusted wall clock."""
        if not self._trusted:
            return 0
        return self._dtn_start_ms + self._source.now_ns // MILLISECOND


class Simulator:
    """A bare event heap: functions at times, in order of (time, order of scheduling)."""

    def __init__(self, start_ns: int = 0) -> None:
        self.now_ns = start_ns
        self._heap: list[tuple[int, int, Callable[[], object]]] = []
        self.events = 0
        """How many were ever scheduled."""

    def at(self, time_ns: int, fn: Callable[[], object]) -> None:
        """Call `fn()` at `time_ns`; a time that is past means now.  There is no cancelling: a
        function that is no longer wanted finds so out and does nothing."""
        self.events += 1
        if time_ns < self.now_ns:
            time_ns = self.now_ns
        heapq.heappush(self._heap, (time_ns, self.events, fn))

    def after(self, delay_ns: int, fn: Callable[[], object]) -> None:
        """Call `fn()` `delay_ns` from now."""
        self.at(self.now_ns + delay_ns, fn)

    @property
    def next_ns(self) -> int | None:
        """The time of the next event, or None when idle."""
        return self._heap[0][0] if self._heap else None

    def run(self, until_ns: int | None = None, events_max: int | None = None) -> int:
        """Run until idle, or until everything up to and including `until_ns` has run (the clock
        then stands at `until_ns`), or for `events_max` events; the number of events that ran."""
        heap, pop = self._heap, heapq.heappop
        limit_ns = float("inf") if until_ns is None else until_ns
        left = first = -1 if events_max is None else events_max
        while heap and left:
            time_ns, _, fn = heap[0]
            if time_ns > limit_ns:
                break
            pop(heap)
            self.now_ns = time_ns
            fn()
            left -= 1
        if until_ns is not None and left and until_ns > self.now_ns:
            self.now_ns = until_ns
        return first - left
