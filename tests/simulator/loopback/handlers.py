"""Handlers and input of the small scenario; loaded by path, as any scenario's code is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

from stack.services.jobs import JobContext, JobFailed

FILES = 6
FILE_BYTES = 200_000


def make_input(folder: Path) -> None:
    """Some files of noise, the same each time."""
    for number in range(FILES):
        content = Random(number).randbytes(FILE_BYTES)
        (folder / f"noise-{number}.bin").write_bytes(content)


async def reverse(context: JobContext) -> None:
    """Each input backwards, and a list of them that goes first."""
    for path in context.inputs:
        await asyncio.sleep(float(context.args.get("seconds", "1")))
        context.output(f"back/{path.name}").write_bytes(path.read_bytes()[::-1])
    names = "\n".join(path.name for path in context.inputs)
    context.output("list.txt", priority=2).write_text(names)


async def refuse(context: JobContext) -> None:
    """Fails."""
    raise JobFailed("no power")


HANDLERS = {"reverse": reverse, "refuse": refuse}
