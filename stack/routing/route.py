"""What the router answers."""

from __future__ import annotations

from typing import NamedTuple

from stack.contacts.plan import Contact


class Route(NamedTuple):
    """A way for one bundle, as reckoned when it was asked for.  Times are DTN milliseconds."""

    hops: tuple[int, ...]
    """The places of its contacts in `Plan.contacts`, in order."""

    contacts: tuple[Contact, ...]
    """The same contacts; the first is the one to send in."""

    next_hop: str
    """The neighbour to give the bundle to."""

    sent_ms: int
    """When its last octet leaves this node (rounded down)."""

    arrival_ms: int
    """When its last octet arrives at the destination (rounded up)."""

    volume_bytes: float
    """Room on the tightest contact, this bundle's included; `math.inf` when unlimited."""

    until_ms: int
    """When the first of its contacts ends, and with it the route."""

    plan_version: int
    """Which of the router's plans `hops` refers to."""
