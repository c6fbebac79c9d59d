"""Group commit on an event loop: many requests, one transaction, no waiting in the loop.

While one transaction waits for the disk in the worker thread, further requests queue up; they are
the next transaction.  The statements of a transaction run on the loop's thread, only its waiting
runs on the worker's (see `stack.storage.staged` for why).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from stack.core.errors import LocalError, StoreFullError
from stack.core.sansio import Trace, no_trace
from stack.ports.store import Committed, Op, Put, Release, Stored
from stack.storage.staged import Scrubbed, Staged, StagingStore

T = TypeVar("T")

CROWD: Final = 4
"""So many requests that came while a transaction was running mean that they come by themselves,
and not only in answer to the last one: then the next transaction waits for more of them
(`WriterConfig.spacing_ns`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WriterConfig:
    """How requests are put together."""

    batch_ops: int = 1024
    """Operations of one transaction at most: some 12 ms of the loop's time.  On a disk that syncs
    in 10 ms, 256 bound the rate to half of what 1024 allow; larger batches hold the loop up."""

    batch_bytes: int = 8 * 1024**2
    """Octets of bundles in one transaction at most: bounds how long the disk needs for it."""

    spacing_ns: int = 4_000_000
    """While requests come in bulk, the least time from the start of one transaction to the next.
    Each costs some 0.3 ms of CPU however small it is; without this, a fast disk means many small
    transactions.  Larger values delay acknowledgements.  Callers that wait for one answer before
    they go on never wait for this; requests of nothing but releases always do."""

    backlog_bytes: int = 64 * 1024**2
    """Octets waiting at which `StoreWriter.full` says so, and `commit` waits for room."""


class Disk(Protocol):
    """What waits for the disk while the loop goes on: a thread, or a disk in virtual time."""

    def run(self, job: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None:
        """Call `job()`, now or later, and then on the loop `done(outcome, error)`, once."""
        ...

    def close(self) -> None:
        """No more is asked for."""
        ...


class _Request:
    """One caller's operations, which are committed together."""

    __slots__ = ("again", "done", "failed", "octets", "ops", "puts", "urgent")

    def __init__(
        self,
        ops: Sequence[Op],
        done: Callable[[list[int], list[int]], object],
        failed: Callable[[Exception], object] | None,
    ) -> None:
        self.ops = ops
        self.done = done
        self.failed = failed
        self.again = True
        """Whether to try again when the disk is full: the store then has its reserve."""
        self.puts = 0
        self.octets = 0
        self.urgent = False
        """Somebody waits for it: all but releases, which free room and nothing else."""
        for op in ops:
            kind = type(op)
            if kind is Put:
                self.puts += 1
                self.octets += len(op.encoded)  # type: ignore[union-attr]
            if kind is not Release:
                self.urgent = True


class _Errand:
    """Work of the store that goes between transactions."""

    __slots__ = ("again", "future", "stage")

    def __init__(self, stage: Callable[[], Staged[Any]], future: asyncio.Future[Any]) -> None:
        self.stage = stage
        self.future = future
        self.again = True


class StoreWriter:
    """The one writer of a store, on the running event loop.

    `now_ms` gives the DTN time.  `on_evicted`, when given, is called with what a transaction
    evicted, once, before its requests hear of their outcome; without it the evicted refs are in
    the outcome of the transaction's first request.  With `inline=True` there is no thread: each
    transaction is completed on the loop, one at the end of the loop's current iteration
    (simulations, and stores in memory).  `disk` waits in the place of both.
    """

    def __init__(
        self,
        store: StagingStore,
        now_ms: Callable[[], int],
        *,
        config: WriterConfig | None = None,
        inline: bool = False,
        disk: Disk | None = None,
        on_evicted: Callable[[list[int]], object] | None = None,
        trace: Trace = no_trace,
    ) -> None:
        self._store = store
        self._now_ms = now_ms
        self._config = config or WriterConfig()
        self._on_evicted = on_evicted
        self._trace = trace
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Request | _Errand] = deque()
        self._alone: deque[_Request] = deque()
        """Requests of a transaction that failed: each is tried again by itself."""
        self._waiting_ops = 0
        self._urgent = 0
        self._backlog = 0
        self._busy = False
        self._closing = False
        self._wakeup: asyncio.Handle | None = None
        self._wakeup_at_once = False
        self._started = -1.0
        self._crowded = False
        self._idle: list[asyncio.Future[None]] = []
        self._worker: Disk | None = disk
        if disk is None and not inline:
            self._worker = _Worker(self._loop)

    # What callers use

    def submit(
        self,
        ops: Sequence[Op],
        done: Callable[[list[int], list[int]], object],
        failed: Callable[[Exception], object] | None = None,
    ) -> None:
        """Commit `ops` as one; then `done(refs, evicted)` is called on the loop, or `failed` with
        the error when nothing of it was applied.  Raises `LocalError` after `close`."""
        if self._closing:
            raise LocalError("the store writer is closed")
        request = _Request(ops, done, failed)
        self._waiting.append(request)
        self._waiting_ops += len(ops)
        self._urgent += request.urgent
        self._backlog += request.octets
        self._schedule()

    async def commit(self, ops: Sequence[Op]) -> Committed:
        """Commit `ops` as one.  Raises what `BundleStore.commit` raises."""
        while self.full and not self._closing:
            await self._until_idle()
        future: asyncio.Future[Committed] = self._loop.create_future()

        def done(refs: list[int], evicted: list[int]) -> None:
            if not future.done():
                future.set_result(Committed(refs, evicted))

        def failed(error: Exception) -> None:
            if not future.done():
                future.set_exception(error)

        self.submit(ops, done, failed)
        return await future

    async def expire(self, limit: int) -> list[Stored]:
        """`BundleStore.expire`, in its turn."""
        return await self._run(lambda: self._store.stage_expire(self._now_ms(), limit))

    async def scrub(self) -> Scrubbed:
        """A step of `StagingStore.stage_scrub`, in its turn."""
        return await self._run(self._store.stage_scrub)

    async def _run(self, stage: Callable[[], Staged[T]]) -> T:
        if self._closing:
            raise LocalError("the store writer is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append(_Errand(stage, future))
        self._urgent += 1
        self._schedule()
        return await future

    @property
    def backlog_bytes(self) -> int:
        """Octets of bundles submitted and not yet durable."""
        return self._backlog

    @property
    def full(self) -> bool:
        """Whether the backlog is so large that no more should be submitted for now."""
        return self._backlog >= self._config.backlog_bytes

    async def flush(self) -> None:
        """Wait until everything submitted so far has been answered."""
        while self._busy or self._waiting or self._alone:
            await self._until_idle()

    async def close(self) -> None:
        """Commit what was submitted, take no more, end the thread.  The store stays open."""
        self._closing = True
        self._schedule()
        await self.flush()
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    # The cycle: schedule, start, (worker,) finish, schedule

    def _until_idle(self) -> asyncio.Future[None]:
        """Completed when the transaction that is running, or about to, is over."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._idle.append(future)
        return future

    def _schedule(self) -> None:
        if self._busy or not (self._waiting or self._alone):
            return
        now = self._loop.time()
        since = self._started if self._urgent else now
        wait_until = since + self._config.spacing_ns / 1e9
        at_once = (
            (not self._crowded and self._urgent > 0)
            or self._worker is None
            or self._waiting_ops >= self._config.batch_ops
            or self._backlog >= self._config.batch_bytes
            or self._closing
            or bool(self._alone)
            or now >= wait_until
        )
        if self._wakeup is not None:
            if self._wakeup_at_once or not at_once:
                return
            self._wakeup.cancel()
        self._wakeup_at_once = at_once
        if at_once:
            self._wakeup = self._loop.call_soon(self._start)
        else:
            self._wakeup = self._loop.call_at(wait_until, self._start)

    def _start(self) -> None:
        self._wakeup = None
        if self._busy:
            return
        self._started = self._loop.time()
        batch: list[_Request] = []
        errand: _Errand | None = None
        staged: Staged[Any]
        try:
            if self._alone:
                batch = [self._alone.popleft()]
                staged = self._store.stage(batch[0].ops, self._now_ms())
            elif isinstance(first := self._waiting[0], _Errand):
                errand = first
                self._waiting.popleft()
                self._urgent -= 1
                staged = errand.stage()
            else:
                batch = self._take()
                ops = [op for request in batch for op in request.ops]
                staged = self._store.stage(ops, self._now_ms())
        except Exception as error:  # whatever it is, the callers must hear of it
            self._finish(batch, errand, None, error)
            return
        self._busy = True
        if self._worker is not None:
            self._worker.run(staged.finish, partial(self._finish, batch, errand))
            return
        try:
            outcome = staged.finish()
        except Exception as error:  # as above
            self._finish(batch, errand, None, error)
        else:
            self._finish(batch, errand, outcome, None)

    def _take(self) -> list[_Request]:
        config = self._config
        batch: list[_Request] = []
        ops = octets = 0
        waiting = self._waiting
        while waiting:
            request = waiting[0]
            if isinstance(request, _Errand):
                break
            ops += len(request.ops)
            octets += request.octets
            if batch and (ops > config.batch_ops or octets > config.batch_bytes):
                break
            batch.append(request)
            waiting.popleft()
        self._waiting_ops -= sum(len(request.ops) for request in batch)
        self._urgent -= sum(request.urgent for request in batch)
        return batch

    def _finish(
        self,
        batch: list[_Request],
        errand: _Errand | None,
        outcome: Any,
        error: Exception | None,
    ) -> None:
        self._crowded = len(self._waiting) >= CROWD
        full = isinstance(error, StoreFullError)
        if errand is not None and full and errand.again:
            errand.again = False
            self._waiting.appendleft(errand)
            self._urgent += 1
        elif errand is not None:
            if not errand.future.done():
                if error is None:
                    errand.future.set_result(outcome)
                else:
                    errand.future.set_exception(error)
        elif error is None:
            self._answer(batch, outcome)
        elif len(batch) > 1:
            # One bad request must not fail the others: each is tried by itself.
            self._trace("store.retry", {"requests": len(batch), "error": str(error)})
            self._alone.extend(batch)
        elif full and batch[0].again:
            batch[0].again = False
            self._alone.appendleft(batch[0])
        else:
            self._refuse(batch[0], error)
        self._busy = False
        if error is None and self._store.untidy:
            if self._worker is not None:
                self._busy = True
                self._worker.run(self._store.tidy, self._ready)
                return
            self._store.tidy()
        self._ready()

    def _ready(self, *_: object) -> None:
        """The store is free for the next transaction."""
        self._busy = False
        for future in self._idle:
            if not future.done():
                future.set_result(None)
        self._idle.clear()
        self._schedule()

    def _answer(self, batch: list[_Request], committed: Committed) -> None:
        evicted = committed.evicted
        if evicted and self._on_evicted is not None:
            self._call(self._on_evicted, evicted)
            evicted = []
        refs = committed.refs
        start = 0
        for request in batch:
            end = start + request.puts
            self._backlog -= request.octets
            try:
                request.done(refs[start:end], evicted)
            except Exception as error:  # one caller's bug is not the next one's
                self._report(error)
            evicted = []
            start = end

    def _refuse(self, request: _Request, error: Exception) -> None:
        self._backlog -= request.octets
        self._trace("store.failed", {"ops": len(request.ops), "error": str(error)})
        if request.failed is not None:
            self._call(request.failed, error)
        else:
            self._report(error)

    def _call(self, function: Callable[[Any], object], argument: object) -> None:
        try:
            function(argument)
        except Exception as error:  # one caller's bug is not the next one's
            self._report(error)

    def _report(self, error: Exception) -> None:
        self._loop.call_exception_handler(
            {"message": "a caller of the store writer did not handle this", "exception": error}
        )


class _Worker:
    """A thread that waits for the disk."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: queue.SimpleQueue[
            tuple[Callable[[], Any], Callable[[Any, Exception | None], None]] | None
        ] = queue.SimpleQueue()
        # A daemon: a program that ends without `close` is like one that is killed.
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None:
        """Call `job()` in the thread, then `done(outcome, error)` on the loop."""
        self._jobs.put((job, done))

    def close(self) -> None:
        """End the thread when its jobs are done."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (entry := self._jobs.get()) is not None:
            job, done = entry
            outcome: Any = None
            failure: Exception | None = None
            try:
                outcome = job()
            except Exception as error:  # handed to the loop, which knows whose it is
                failure = error
            try:
                self._loop.call_soon_threadsafe(done, outcome, failure)
            except RuntimeError:
                return  # the loop was closed without `close`: nobody is left to hear of it
