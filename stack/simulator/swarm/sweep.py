"""One function for many seeds, on every core or on a cluster; the results in order of the seeds.

A worker is a process that was made by a fork server, so that it is as clean as a new one and
there at once.  It gets one seed at a time: when it dies or hangs, everybody knows from which.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final, Generic, TypeVar

from stack.core.errors import ConfigError
from stack.core.extras import require

R = TypeVar("R")

SECONDS_MAX: Final = 300.0
"""A seed that takes longer than this counts as hung, and its worker is ended."""

PRELOAD: Final = ("stack.simulator.swarm.tasks",)
"""What the fork server imports once for all workers."""

COLLECT_AFTER: Final = (20_000, 20, 20)
"""Thresholds of the garbage collector in workers: Python's own make it look too often at worlds
that live on."""

AHEAD: Final = 64
"""Seeds that a cluster has at once, for each of its threads at least."""

Task = Callable[[int], R]
Failed = Callable[[int, str], R]
"""Makes the result of a seed that has none, from the seed and the reason."""

Done = Callable[[R], None]


def ignore(result: Any) -> None:
    """The `done` that does nothing."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sweep(
    task: Task[R],
    seeds: Iterable[int],
    failed: Failed[R],
    *,
    jobs: int = 0,
    done: Done[R] = ignore,
    seconds_max: float = SECONDS_MAX,
) -> list[R]:
    """`task(seed)` of every seed, `done` with each result as it comes.  `jobs` of 0 takes every
    core, 1 this process.  `task` must be importable by name (a function or a partial of one).

    What a task raises, a worker that dies and one that hangs are results made by `failed`.
    """
    jobs = jobs or cores()
    if jobs == 1:
        results = {}
        for seed in seeds:
            results[seed] = _attempt(task, seed, failed)
            done(results[seed])
    else:
        with _Pool(task, failed, jobs, seconds_max) as pool:
            results = pool.run(iter(seeds), done)
    return [results[seed] for seed in sorted(results)]


def _attempt(task: Task[R], seed: int, failed: Failed[R]) -> R:
    try:
        return task(seed)
    except Exception:  # whatever it is, it is the result of this seed
        return failed(seed, traceback.format_exc())


def _work(link: Connection, task: Task[Any], failed: Failed[Any]) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it ends it
    # What was imported stays; of a world thousands of objects live to its end, and no longer.
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    with contextlib.suppress(EOFError, OSError):
        while True:
            link.send(_attempt(task, link.recv(), failed))


def _context() -> Any:
    """Where processes come from: typeshed knows no common base that can start one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    return context


class _Worker(Generic[R]):
    def __init__(self, process: BaseProcess, link: Connection) -> None:
        self.process = process
        self.link = link
        self.seed: int | None = None
        self.until_s = 0.0


class _Pool(Generic[R]):
    def __init__(self, task: Task[R], failed: Failed[R], jobs: int, seconds_max: float) -> None:
        self._context = _context()
        self._task = task
        self._failed = failed
        self._jobs = jobs
        self._seconds_max = seconds_max
        self._workers: list[_Worker[R]] = []

    def __enter__(self) -> _Pool[R]:
        self._workers = [self._start() for _ in range(self._jobs)]
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.link.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()

    def _start(self) -> _Worker[R]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._task, self._failed), daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def run(self, seeds: Iterator[int], done: Done[R]) -> dict[int, R]:
        """Every seed to some worker."""
        results: dict[int, R] = {}
        for worker in self._workers:
            self._give(worker, seeds)
        while busy := [worker for worker in self._workers if worker.seed is not None]:
            patience_s = max(0.0, min(worker.until_s for worker in busy) - time.monotonic())
            ready = set(wait([worker.link for worker in busy], patience_s))
            for worker in busy:
                if worker.link in ready:
                    self._take(worker, results, done)
                elif time.monotonic() >= worker.until_s:
                    worker.process.kill()
                    self._lose(worker, f"hung for {self._seconds_max:g} s", results, done)
                else:
                    continue
                self._give(worker, seeds)
        return results

    def _give(self, worker: _Worker[R], seeds: Iterator[int]) -> None:
        worker.seed = next(seeds, None)
        if worker.seed is not None:
            worker.until_s = time.monotonic() + self._seconds_max
            with contextlib.suppress(OSError):  # it has died: taking its answer will show it
                worker.link.send(worker.seed)

    def _take(self, worker: _Worker[R], results: dict[int, R], done: Done[R]) -> None:
        assert worker.seed is not None
        try:
            result: R = worker.link.recv()
        except (EOFError, OSError):
            worker.process.join()
            why = f"its worker process died (exit code {worker.process.exitcode})"
            self._lose(worker, why, results, done)
            return
        results[worker.seed] = result
        done(result)

    def _lose(self, worker: _Worker[R], why: str, results: dict[int, R], done: Done[R]) -> None:
        """A worker is gone; another takes its place."""
        assert worker.seed is not None
        results[worker.seed] = result = self._failed(worker.seed, why)
        worker.process.join()
        worker.link.close()
        fresh = self._start()
        worker.process, worker.link = fresh.process, fresh.link
        done(result)


def sweep_cluster(
    task: Task[R],
    seeds: Iterable[int],
    failed: Failed[R],
    *,
    address: str,
    done: Done[R] = ignore,
) -> list[R]:
    """The same on a Dask cluster, whose workers must have this package.  Raises `ConfigError`
    when there is no cluster at `address`, `MissingExtraError` when there is no Dask here."""
    require("distributed")
    import distributed

    dask: Any = distributed
    try:
        client = dask.Client(address)
    except (OSError, ValueError) as error:
        raise ConfigError("--dask", f"no cluster at {address}: {error}") from None
    results: dict[int, R] = {}
    coming = iter(seeds)
    owners: dict[Any, int] = {}

    def submit(seed: int) -> Any:
        # Not pure: a seed that is asked for again is to be run again.
        future = client.submit(_attempt, task, seed, failed, pure=False)
        owners[future.key] = seed
        return future

    with client:
        threads = sum(client.nthreads().values())
        first = [submit(seed) for seed in itertools.islice(coming, AHEAD * max(1, threads))]
        running = dask.as_completed(first)
        for future in running:
            seed = owners.pop(future.key)
            lost = future.exception()
            result = failed(seed, f"its worker died: {lost!r}") if lost else future.result()
            results[seed] = result
            done(result)
            following = next(coming, None)
            if following is not None:
                running.add(submit(following))
    return [results[seed] for seed in sorted(results)]
