"""When octets that wait at a node have arrived, by its contact plan: figures for people."""

from __future__ import annotations

import bisect
import math
from collections.abc import Collection, Sequence
from typing import Final

from stack.contacts.plan import Contact, Plan
from stack.core.clock import FOREVER_MS
from stack.ports.application import Expected
from stack.routing.config import RouterConfig
from stack.routing.delivery import Flow, expected_delivery

GRAIN_BYTES: Final = 100_000
"""Octets are reckoned in bundles of so many: a contact of a second carries some."""

BUNDLES: Final = 1000
"""An object is reckoned in so many bundles at most: close enough for a time of day."""


def arrivals(
    plan: Plan,
    source: str,
    destination: str,
    octets: Sequence[int],
    now_ms: int,
    config: RouterConfig,
    unheard: Collection[str] = (),
    barred: frozenset[str] = frozenset(),
) -> list[Expected | None]:
    """When each of `octets` (ascending) that begin to leave `source` at `now_ms` have arrived.

    None for what the plan does not carry, and for all if it goes over links without a rate: then
    the plan says nothing of time.  `unheard` are neighbours from which nothing comes; to `barred`
    nodes none of it comes.
    """
    most = max(octets, default=0)
    if source == destination or not most:
        return [None] * len(octets)
    bundle_bytes = max(min(GRAIN_BYTES, most), math.ceil(most / BUNDLES))
    found = expected_delivery(
        plan,
        source,
        destination,
        most,
        now_ms,
        bundle_bytes=bundle_bytes,
        config=config,
        barred=barred,
    )
    flows = sorted(found.flows, key=lambda flow: flow.first_ms)
    endless = any(math.isinf(contact.rate_bps) for flow in flows for contact in flow.contacts)
    if endless or not flows:
        return [None] * len(octets)
    return [
        _arrival(flows, one, now_ms, unheard) if one <= found.delivered_bytes else None
        for one in octets
    ]


def _arrival(flows: Sequence[Flow], octets: int, now_ms: int, unheard: Collection[str]) -> Expected:
    """When `octets` are there: of each flow they arrive evenly between its first and last."""
    span = range(flows[0].first_ms, max(flow.last_ms for flow in flows) + 1)

    def arrived(at_ms: int) -> int:
        return sum(_arrived(flow, at_ms) for flow in flows)

    place = bisect.bisect_left(span, octets, key=arrived)
    at_ms = span[min(place, len(span) - 1)]
    used = {flow.contacts[0] for flow in flows if flow.first_ms <= at_ms}
    now = {one.destination for one in used if one.start_ms <= now_ms}
    return Expected(at_ms, _passes(used), tuple(sorted(now.intersection(unheard))))


def _passes(contacts: Collection[Contact]) -> int:
    """Into how many passes contacts of one node join: the rate changes within a pass."""
    ends = {(one.destination, one.end_ms) for one in contacts}
    return sum(
        one.end_ms < FOREVER_MS and (one.destination, one.start_ms) not in ends for one in contacts
    )


def _arrived(flow: Flow, at_ms: int) -> int:
    if at_ms < flow.first_ms:
        return 0
    if at_ms >= flow.last_ms:
        return flow.payload_bytes
    first = flow.payload_bytes // flow.bundles
    rest, lasts_ms = flow.payload_bytes - first, flow.last_ms - flow.first_ms
    return first + rest * (at_ms - flow.first_ms) // lasts_ms
