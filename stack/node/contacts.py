"""Opens and closes scheduled links as the contact plan says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from stack.contacts.plan import Plan
from stack.core.clock import Clock
from stack.node.link import Link

RANGE_STEP_MS = 1_000
"""While a link is up its light time is looked up this often: a pass changes it by microseconds."""

HORIZON_MS = 3_600_000
"""Look again after an hour at the latest, so that a stepped wall clock is noticed."""


class ContactDriver:
    """Follows the plan for all scheduled links of a node."""

    def __init__(
        self,
        node: str,
        links: Sequence[Link],
        clock: Clock,
        ended: Callable[[str, int], None],
    ) -> None:
        self._node = node
        self._links = links
        self._clock = clock
        self._ended = ended
        self._plan = Plan()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def plan(self) -> Plan:
        """The plan that is followed."""
        return self._plan

    def follow(self, plan: Plan) -> None:
        """Begin to follow `plan`, at once."""
        self._plan = plan
        for link in self._links:
            self._update(link)

    def close(self) -> None:
        """Stop following."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _update(self, link: Link) -> None:
        """Set one link's state, and come back when it changes next."""
        plan, node, peer = self._plan, self._node, link.peer
        now_ms = self._clock.dtn_ms()
        sending = plan.active(now_ms, node, peer)
        receiving = plan.active(now_ms, peer, node)
        if link.up and not sending:
            # What was meant for this contact and did not leave is routed anew.
            self._ended(peer, now_ms)
        rate = max((contact.rate_bps for contact in sending), default=0.0)
        link.set_contact(
            self._clock.now(),
            tx_up=bool(sending),
            rx_up=bool(receiving),
            rate_bps=rate if sending and rate != float("inf") else None,
            owlt_ns=plan.owlt_ns(node, peer, now_ms),
        )
        changes = [
            change
            for a, b in ((node, peer), (peer, node))
            if (change := plan.next_change_ms(a, b, now_ms)) is not None
        ]
        if sending or receiving:
            changes.append(now_ms + RANGE_STEP_MS)
        old = self._timers.pop(link.name, None)
        if old is not None:
            old.cancel()
        if changes or self._plan.contacts:
            wait_ms = min([*changes, now_ms + HORIZON_MS]) - now_ms
            loop = asyncio.get_running_loop()
            self._timers[link.name] = loop.call_later(wait_ms / 1000, self._update, link)
