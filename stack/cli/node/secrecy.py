"""What keeps the secrets of a process from the disk: no core dumps, and no swap where allowed."""

from __future__ import annotations

import ctypes
import resource
from typing import Final

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def keep_secrets() -> bool:
    """Write no core dumps, and lock memory where the system allows it without limit; whether it is
    locked.  With a limit nothing is locked: reaching it would end the process."""
    hard: Final = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY:
        return False
    try:
        lock = ctypes.CDLL(None, use_errno=True).mlockall
    except (AttributeError, OSError):
        return False
    return bool(lock(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0)
