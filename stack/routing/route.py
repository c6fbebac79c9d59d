"""What the router answers."""

from __future__ import annotations

import math
from typing import NamedTuple

from stack.contacts.plan import Contact


class Route(NamedTuple):
    """A way for one bundle, as reckoned when it was asked for.  Times are DTN milliseconds."""

    hops: tuple[int, ...]
    """The places of its contacts in `Plan.contacts`, in order; below 0 where a contact is in no
    plan, but was discovered."""

    contacts: tuple[Contact, ...]
    """The same contacts; the first is the one to send in."""

    next_hop: str
    """The neighbour to give the bundle to."""

    sent_ms: int
    """When its last octet leaves this node (rounded down)."""

    arrival_ms: int
    """When its last octet arrives at the destination (rounded up)."""

    volume_bytes: float
    """Octets that can still take this way, this bundle's included; `math.inf` when nothing
    limits it (the route volume limit of SABR §3.2.6.8.10)."""

    until_ms: int
    """When the first of its contacts ends, and with it the route."""

    plan_version: int
    """Which of the router's plans `hops` refers to."""

    @property
    def confidence(self) -> float:
        """Likelihood that all its contacts take place, from 0 to 1."""
        return math.prod(contact.confidence for contact in self.contacts)
