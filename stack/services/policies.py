"""Data policies of what services make: in their durable records, since version 2, and of what they
say to one another."""

from __future__ import annotations

from stack.core.arguments import check_kind
from stack.core.eid import Eid
from stack.core.errors import PolicyError
from stack.policy import DataPolicy
from stack.policy.label import LABEL_BYTES_MAX, POLICY_REMEDY, decode_label, encode_label
from stack.ports.application import AppPort
from stack.services.codec import Fields

VERSION = 4
"""Records of version 1 have no policy; those of jobs say since version 3 which bundle asked, and
those of what is to be erased since version 4 which file it is."""


def label(policy: DataPolicy | None) -> bytes:
    """The field of a policy."""
    return b"" if policy is None else encode_label(policy)


def take_policy(fields: Fields, version: int) -> DataPolicy | None:
    """The policy of a record.  Raises `DecodeError`."""
    data = fields.view(LABEL_BYTES_MAX) if version > 1 else b""
    return decode_label(data) if data else None


def meet(*policies: DataPolicy | None) -> DataPolicy | None:
    """What all allow, where any says something."""
    found: DataPolicy | None = None
    for policy in policies:
        if policy is not None:
            found = policy if found is None else found.meet(policy)
    return found


def check(
    port: AppPort,
    destination: Eid,
    policy: DataPolicy | None,
    lifetime_ms: int,
    priority: int,
    *,
    wait: bool,
) -> None:
    """Raise `PolicyError` when data under this policy, if any, may not be sent from here, or has no
    path in its lifetime while there is one; it may `wait` for a path.  Raises `LocalError` for what
    is no policy; the numbers were checked before."""
    if policy is None:
        return
    check_kind("policy", policy, DataPolicy, POLICY_REMEDY)
    if wait:
        port.check_policy(destination, policy)
    else:
        port.check_path(destination, policy, 1, lifetime_ms, priority)


def readable(port: AppPort, node: Eid, policy: DataPolicy | None) -> bool:
    """Whether a node may read what is under a policy, if it is, as far as is known now."""
    if policy is not None:
        try:
            port.check_policy(node, policy)
        except PolicyError:
            return False
    return True


def about(policy: DataPolicy | None, to: Eid) -> DataPolicy | None:
    """What holds for what is said to `to` about data, if it is under a policy."""
    return None if policy is None else policy.about(to)


def until(policy: DataPolicy | None, end_ms: int) -> int:
    """When what is under a policy has to be over, that lasts until `end_ms` by itself."""
    return min(end_ms, policy.expires_ms) if policy is not None and policy.expires_ms else end_ms
