"""Opens and closes scheduled links as the contact plan says."""

from __future__ import annotations

import asyncio
import heapq
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stack.contacts.plan import Plan
from stack.core.clock import MILLISECOND, Clock
from stack.core.errors import ConfigError
from stack.node.link import Link

LIGHT_STEP_MS = 120_000
"""While a link is up, a new light time of the plan is taken over no more often than this.  Timers
are all that it is for, and a low pass changes it by 25 microseconds a second: by 3 ms, where the
least margin of a timer is 150."""

HORIZON_MS = 3_600_000
"""Look again after an hour at the latest, so that a stepped wall clock is noticed."""

AGAIN_MS = 1_000
"""A link whose contact could not be opened or closed is seen to again after this time."""

STEP_MS_MAX = 1_000
"""A wall clock that has gone more than this ahead of or behind the monotonic one was set: then
every link is looked at again."""


class _Met(NamedTuple):
    """A contact that no plan foresaw."""

    until_ms: int
    rate_bps: float
    owlt_ns: int


class ContactDriver:
    """Follows the plan for all scheduled links of a node, with one timer."""

    def __init__(
        self,
        node: str,
        links: Sequence[Link],
        clock: Clock,
        ended: Callable[[str, int], None],
        attempt: Callable[..., bool],
    ) -> None:
        """`ended(peer, now_ms)` is called when a contact is over; `attempt(what, work, *args)` does
        one of several pieces of work, and says whether it was done."""
        self._node = node
        self._links = links
        self._clock = clock
        self._ended = ended
        self._attempt = attempt
        self._plan = Plan()
        self._changes: list[tuple[int, int]] = []
        """Heap of (DTN time, place in `links`): one entry for each link that will change."""
        self._met: dict[int, _Met] = {}
        """By place in `links`: discovered contacts."""
        self._timer: asyncio.TimerHandle | None = None
        self._offset_ms = 0

    @property
    def plan(self) -> Plan:
        """The plan that is followed."""
        return self._plan

    def follow(self, plan: Plan) -> None:
        """Begin to follow `plan`, at once."""
        self._plan = plan
        self._look_at_all()
        self._arm()

    def discovered(self, peer: str, rate_bps: float, until_ms: int, owlt_ns: int) -> None:
        """A contact with a neighbour that the plan does not have has begun.  Raises `ConfigError`
        for one without a scheduled link."""
        self._meet(peer, _Met(until_ms, rate_bps, owlt_ns))

    def lost(self, peer: str) -> None:
        """Such a contact is over.  Raises `ConfigError` for one without a scheduled link."""
        self._meet(peer, None)

    def _meet(self, peer: str, met: _Met | None) -> None:
        place = next((i for i, link in enumerate(self._links) if link.peer == peer), None)
        if place is None:
            known = ", ".join(sorted(link.peer for link in self._links)) or "none"
            raise ConfigError("neighbour", f"no scheduled link to {peer}", f"there are: {known}")
        if met is None:
            self._met.pop(place, None)
        else:
            self._met[place] = met
        self._changes = [change for change in self._changes if change[1] != place]
        heapq.heapify(self._changes)
        self._look_at(place)
        self._arm()

    def close(self) -> None:
        """Stop following."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at_all(self) -> None:
        self._changes.clear()
        self._offset_ms = self._offset()
        for place in range(len(self._links)):
            self._look_at(place)

    def _look_at(self, place: int) -> None:
        """See to one link; if that fails, the others go on, and it is seen to again."""
        if not self._attempt("contact", self._update, place):
            heapq.heappush(self._changes, (self._clock.dtn_ms() + AGAIN_MS, place))

    def _offset(self) -> int:
        """The wall clock less the monotonic one."""
        return self._clock.dtn_ms() - self._clock.now() // MILLISECOND

    def _wake(self) -> None:
        self._timer = None
        if abs(self._offset() - self._offset_ms) > STEP_MS_MAX:
            self._look_at_all()
        else:
            changes, now_ms = self._changes, self._clock.dtn_ms()
            while changes and changes[0][0] <= now_ms:
                self._look_at(heapq.heappop(changes)[1])
        self._arm()

    def _arm(self) -> None:
        self.close()
        if not self._changes and not self._plan.contacts:
            return
        now_ms = self._clock.dtn_ms()
        next_ms = self._changes[0][0] if self._changes else now_ms + HORIZON_MS
        # Loops may be early by less than their resolution: never less than 1 ms, or it would spin.
        wait_ms = max(1, min(next_ms - now_ms, HORIZON_MS))
        self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._wake)

    def _update(self, place: int) -> None:
        """Set one link's state, and note when it changes next."""
        plan, node, link = self._plan, self._node, self._links[place]
        peer = link.peer
        now_ms = self._clock.dtn_ms()
        met = self._met.get(place)
        if met is not None and met.until_ms <= now_ms:
            del self._met[place]
            met = None
        rates = [contact.rate_bps for contact in plan.active(now_ms, node, peer)]
        owlt_ns = plan.owlt_ns(node, peer, now_ms)
        if met is not None:
            owlt_ns = owlt_ns if rates else met.owlt_ns
            rates.append(met.rate_bps)
        receiving = met is not None or bool(plan.active(now_ms, peer, node))
        if link.up and not rates:
            # What was meant for this contact and did not leave is routed anew.
            link.withdraw()
            self._ended(peer, now_ms)
        rate = max(rates, default=float("inf"))
        link.set_contact(
            self._clock.now(),
            tx_up=bool(rates),
            rx_up=receiving,
            rate_bps=rate if rate != float("inf") else None,
            owlt_ns=owlt_ns,
        )
        edges = (plan.next_edge_ms(node, peer, now_ms), plan.next_edge_ms(peer, node, now_ms))
        coming = [at_ms for at_ms in edges if at_ms is not None]
        if met is not None:
            coming.append(met.until_ms)
        if rates or receiving:
            steps_ms = plan.light_time(node, peer).starts_ms
            step = bisect_left(steps_ms, now_ms + LIGHT_STEP_MS)
            if step < len(steps_ms):
                coming.append(steps_ms[step])
        if coming:
            heapq.heappush(self._changes, (min(coming), place))
