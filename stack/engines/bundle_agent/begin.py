"""What a node draws at random when it starts, and what of it its store remembers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stack.core.sansio import Entropy
from stack.engines.bundle_agent.content import SECRET_BYTES
from stack.ports.store import Write

SPACE = "agent"
"""The space of durable state (`Write`) that belongs to the agent."""

SEQUENCE = "sequence"
"""Its entry that holds the first sequence count which is not reserved yet."""

CONTENT = "content"
"""Its entry that holds the secret of `stack.engines.bundle_agent.content`."""

FIRST_BYTES = 6
"""A new store begins to count below 2^48: what was lost with the old disk is not met again."""

LEAP_BYTES = 5
"""Every start leaps ahead by up to 2^40: a store that was restored from a backup does not know
what has been used since.  There is room for eight million starts before 2^63."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What the agent of a node begins with."""

    secret: bytes
    """Keys the content digests: never leaves the node."""

    count: int
    """Where the sequence counts of this start begin; positive."""

    writes: tuple[Write, ...] = ()
    """What the store is to remember of it."""


def begin(read: Callable[[str, str], bytes | None], entropy: Entropy) -> Beginning:
    """How to begin with a store (its `read`)."""
    secret = read(SPACE, CONTENT)
    writes: tuple[Write, ...] = ()
    if secret is None:
        secret = entropy(SECRET_BYTES)
        writes = (Write(SPACE, CONTENT, secret),)
    reserved = read(SPACE, SEQUENCE)
    if reserved is None:
        count = _random(entropy, FIRST_BYTES)
    else:
        count = int.from_bytes(reserved) + _random(entropy, LEAP_BYTES)
    return Beginning(secret, count, writes)


def _random(entropy: Entropy, size: int) -> int:
    return 1 + int.from_bytes(entropy(size))
