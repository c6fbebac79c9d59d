"""All that a node may do with data under a policy, for who asks about many nodes."""

from __future__ import annotations

from typing import NamedTuple

from stack.policy.directory import Directory
from stack.policy.gate import PolicyGate, known_as
from stack.policy.label import DataPolicy


class Permissions(NamedTuple):
    """What a node may do."""

    node: str
    known_as: str
    """What is known of it, in words of policies; empty for one that the directory does not name."""

    reads: bool
    holds: bool
    carries: bool
    why: str
    """Why it may not do the first of hold, read and carry that it may not; empty if it may all."""


def permissions(policy: DataPolicy, directory: Directory, node: str) -> Permissions:
    """What a node may do with data under a policy."""
    gate, facts = PolicyGate(directory, node), directory.get(node)
    why = (
        gate.refusal(policy, delivered=False, origin=True)
        or gate.refusal(policy, delivered=True)
        or gate.refusal(policy, delivered=False)
    )
    return Permissions(
        node,
        known_as(facts) if facts else "",
        gate.may_read(policy, node),
        gate.may_hold(policy, node),
        gate.may_carry(policy, node),
        why,
    )
