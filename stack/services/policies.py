"""Data policies in the durable records of services, since version 2."""

from __future__ import annotations

from stack.policy import DataPolicy
from stack.policy.label import LABEL_BYTES_MAX, decode_label, encode_label
from stack.services.codec import Fields

VERSION = 3
"""Records of version 1 have no policy; those of jobs say since version 3 which bundle asked."""


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
