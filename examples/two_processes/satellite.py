"""The node in orbit: receives files, and runs the job `digest` on them."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from orbitferry import JobContext, Node, run


async def digest(context: JobContext) -> None:
    """A job handler: the SHA-256 of each input, as the result `digests.txt`."""
    lines = []
    for path in context.inputs:
        with path.open("rb") as file:
            lines.append(
                f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.stat().st_size}"
            )
    context.output("digests.txt", priority=2).write_text("\n".join(lines) + "\n")


async def main(configuration: Path) -> None:
    """Serve until terminated."""
    async with Node.from_file(configuration, handlers={"digest": digest}) as node:
        print("ready", flush=True)
        async for received in node.services.files.inbox:
            print(f"received {received.name}: {received.path}", flush=True)


if __name__ == "__main__":
    run(main(Path(sys.argv[1])))
