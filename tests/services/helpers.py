"""What the tests of several services share."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from link_models.clock import run_virtual
from stack.core.eid import Eid
from stack.services.files import FilesConfig, FilesService, Received
from tests.services.fake_port import FakePort

T = TypeVar("T")

GS = "dtn://gs1/"
SAT = "dtn://sat1/"
GS_EID = Eid.parse(GS)
SAT_EID = Eid.parse(SAT)

SMALL = FilesConfig(
    chunk_bytes=256, batch_bytes=1024, receive_batch=4, disk_reserve_bytes=0, settle_s=1.0
)
"""Small chunks, so that small files make many bundles and many transactions."""


def virtual(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a test in virtual time."""
    return run_virtual(main)


def make_file(path: Path, size: int, seed: int = 1) -> bytes:
    """A file of random octets; its content."""
    content = random.Random(seed).randbytes(size)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return content


@contextlib.asynccontextmanager
async def running(*runs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run services in the background; an error of theirs fails the test."""
    tasks = [asyncio.ensure_future(run) for run in runs]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def collect(files: FilesService, into: list[Received]) -> None:
    """Handle everything that arrives."""
    async for received in files.inbox:
        into.append(received)  # noqa: PERF401 -- it never ends


def files_on(port: FakePort, directory: Path, config: FilesConfig = SMALL) -> FilesService:
    """A file service for tests."""
    return FilesService(port, directory, config)


async def until(
    condition: Callable[[], bool], seconds: float = 1e6, *, step_s: float = 0.25
) -> None:
    """Wait, in the loop's time and ever more patiently, until `condition` holds."""
    waited = 0.0
    while not condition():
        assert waited < seconds, "it never came true"
        step = max(step_s, waited / 20)
        await asyncio.sleep(step)
        waited += step
