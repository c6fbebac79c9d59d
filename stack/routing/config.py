"""How routes are computed, and what a bundle takes of a contact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from stack.core.bounds import Count, OctetsOrNone, Share
from stack.core.checks import check_bounds


@dataclass(frozen=True, kw_only=True, slots=True)
class RouterConfig:
    """How routes are computed."""

    tolerance_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 300
    """How much later than the earliest possible arrival a kept route may arrive.  It is little
    beside the waiting for contacts, and spares a search for every bundle.  Where very many ways
    are equally good, bundles arrive 2 % later on average for it, at a thirtieth of the work;
    where one way is the best, nothing is later (`bench_routing`)."""

    tolerance_ratio: Annotated[float, Meta(ge=0, le=100)] = 0.01
    """The same as a share of the time until arrival, whichever is more: behind a backlog of an
    hour, half a minute does not matter."""

    margin_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 0
    """Added to every hop's arrival, for processing and for clocks that disagree (SABR calls for
    a light time margin too; ranges here follow the motion, so that needs none)."""

    searches_max: Count = 64
    """Searches kept at a time: one for each size class, priority and set of excluded nodes."""

    overhead_ratio: Annotated[float, Meta(ge=0, le=100)] = 0.03
    """Octets that the layers below add, as a share of a bundle (SABR §2.4.3: 3 %, or
    `overhead_bytes` if that is more).  LTP over UDP adds 2.7 % at 1,400 octets a datagram, 4.2 %
    with LTP authentication; a node raises it to what its links add."""

    overhead_bytes: OctetsOrNone = 100
    """Octets that the layers below add at least (SABR §2.4.3)."""

    confidence_min: Share = 0.0
    """Ways that take place with less likelihood are not used, from 0 to 1.  SABR has no such
    limit; too high a one leaves bundles without a way."""

    confidence_wanted: Share = 0.0
    """Below this likelihood, from 0 to 1, a bundle goes over several neighbours at once, until
    one of its copies arrives with at least this likelihood (as ways that share nothing would).
    0: never.  Copies cost volume."""

    def __post_init__(self) -> None:
        check_bounds(self)


def consumption(config: RouterConfig, size_bytes: int) -> int:
    """Octets that a bundle takes of a contact, with what the layers below add: its estimated
    volume consumption (SABR §2.4.3)."""
    return size_bytes + max(config.overhead_bytes, math.ceil(size_bytes * config.overhead_ratio))
