"""The public surface for embedding, and that it stays lazy."""

from __future__ import annotations

import subprocess
import sys

import stack


def test_every_name_is_there_and_from_its_home() -> None:
    assert sorted(stack.__all__) == stack.__all__
    for name in stack.__all__:
        found = getattr(stack, name)
        assert found.__name__ == name
    assert not hasattr(stack, "nothing_of_this_name")


def test_a_codec_does_not_load_a_node() -> None:
    script = (
        "import sys, stack.wire.bundle as b; print('stack.node' in sys.modules,"
        " 'asyncio' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
