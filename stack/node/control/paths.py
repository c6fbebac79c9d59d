"""What clients are told of data policies, and of the paths that they leave."""

from __future__ import annotations

from typing import Any

from stack.core.clock import dtn_to_iso
from stack.core.eid import Eid
from stack.node.node import Node
from stack.policy import DataPolicy
from stack.policy.file import policy_fields
from stack.policy.label import encode_label

JUDGED_MAX = 10
"""Policies of one answer of which paths are looked for: each costs some searches of the plan."""


def policy_as_dict(policy: DataPolicy | None) -> dict[str, Any] | None:
    """A data policy as it travels: what a file of it holds, and the label by which requests name
    it; what is made of data under it goes under it too."""
    if policy is None:
        return None
    return policy_fields(policy) | {"label": encode_label(policy).hex()}


def path_of(
    node: Node,
    destination: Eid,
    policy: DataPolicy | None,
    octets: int,
    lifetime_ms: int,
    priority: int,
) -> dict[str, Any] | None:
    """When octets would arrive first, and what is missing for an earlier path; None without a
    policy and where no contact plan says so."""
    if policy is None:
        return None
    found = node.port.admissible(destination, policy, octets, lifetime_ms, priority)
    if found is None or (found.route is None and not found.closed):
        return None
    return {
        "text": found.words,
        "arrival": found.route and dtn_to_iso(found.route.arrival_ms),
        "better": found.better and dtn_to_iso(found.better.arrival_ms),
        "missing": [one._asdict() for one in found.missing],
    }
