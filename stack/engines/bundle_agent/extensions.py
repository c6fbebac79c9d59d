"""What the extension blocks of a bundle say to a bundle agent."""

from __future__ import annotations

from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass

from stack.core.errors import DecodeError
from stack.engines.bundle_agent.origin import PRIORITY_DEFAULT
from stack.policy import DataPolicy
from stack.wire.bundle import (
    BUNDLE_AGE,
    HOP_COUNT,
    Bundle,
    encrypted_blocks,
    parse_bundle_age,
    parse_hop_count,
)


@dataclass(slots=True)
class Extensions:
    """Those that are encrypted say nothing here: they are for the acceptor alone."""

    encrypted: Set[int] = frozenset()
    """Numbers of the blocks that a BCB covers."""

    hops: tuple[int, int] | None = None
    """(limit, count)"""

    age_ms: int | None = None
    priority: int = PRIORITY_DEFAULT
    policy: DataPolicy | None = None
    label: bytes | None = None
    """Octets of the policy, or nothing; None where nobody has looked."""

    unprocessed: int = 0
    """Blocks that ask for a report because they cannot be processed (RFC 9171 §5.6 step 4)."""


def extensions_of(bundle: Bundle) -> Extensions:
    """How far a bundle has come that we hold already, or a part of one: the block that says what
    is encrypted may be in another part.  What cannot be read is passed over."""
    found = Extensions()
    with suppress(DecodeError):
        found.encrypted = encrypted_blocks(bundle.blocks)
    for block in bundle.blocks:
        with suppress(DecodeError):
            if block.number in found.encrypted:
                continue
            if block.type == HOP_COUNT:
                found.hops = parse_hop_count(block)
            elif block.type == BUNDLE_AGE:
                found.age_ms = parse_bundle_age(block)
    return found
