"""What the operating system allows this process, looked at before a node begins."""

from __future__ import annotations

import resource
from typing import Final

from stack.cli.common import FAILED, CommandError

FILES_BASE: Final = 96
"""Open files of a node without links: its store (64 payload files that are read), the event loop,
clients, files under way."""

FILES_PER_LINK: Final = 4

MEMORY_BYTES: Final = 256 * 1024**2
"""Address space below which not even the program's libraries can be loaded, and no thread begun."""


def check_limits(links: int = 0) -> None:
    """Raise `CommandError` that names limit and remedy where a node could not run."""
    wanted = FILES_BASE + FILES_PER_LINK * links
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        raise CommandError(
            f"this process may open {allowed} files, and a node with {links} links needs {wanted}",
            f"say `ulimit -n {max(1024, wanted)}` first, or LimitNOFILE= in the service's unit",
            code=FAILED,
        )
    memory = resource.getrlimit(resource.RLIMIT_AS)[0]
    if memory != resource.RLIM_INFINITY and memory < MEMORY_BYTES:
        raise CommandError(
            f"this process may use {memory // 1024**2} MiB of address space, and a node needs"
            f" {MEMORY_BYTES // 1024**2} at least",
            "say `ulimit -v unlimited` first, or give the service's unit more (LimitAS=)",
            code=FAILED,
        )
