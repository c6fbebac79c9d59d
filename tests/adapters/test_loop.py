"""What the main program of a node does to its process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

LARGE_BUFFERS = """
import resource
from stack.adapters.loop import run

async def main():
    for _ in range(2):  # the first round takes the memory, the second has it
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            payload = b"x" * 1_000_000
            sealed = bytes(bytearray(payload))
            del payload, sealed
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

run(main())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone is told so")
def test_the_memory_of_large_bundles_is_used_again() -> None:
    """To be given fresh pages for each costs more than to encrypt it."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE_BUFFERS], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1000, "page faults for 40 buffers of 245 pages or more"
