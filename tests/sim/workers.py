"""Tasks for sweeps, which worker processes import."""

from __future__ import annotations

import os
import threading


def square(seed: int) -> tuple[int, str]:
    return seed * seed, "ok"


def dies_at_five(seed: int) -> tuple[int, str]:
    if seed == 5:
        os._exit(3)
    return square(seed)


def hangs_at_five(seed: int) -> tuple[int, str]:
    if seed == 5:
        threading.Event().wait()
    return square(seed)


def raises_at_five(seed: int) -> tuple[int, str]:
    if seed == 5:
        raise ValueError("five")
    return square(seed)


def failed(seed: int, why: str) -> tuple[int, str]:
    return seed, why


def where(seed: int) -> tuple[int, str]:
    return os.getpid(), "ok"
