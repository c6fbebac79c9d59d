"""What a node does because time has passed: it lets go of what has expired, and looks again for a
way for what has none.  Without either it does nothing, however long."""

from __future__ import annotations

import asyncio
from typing import Final

from stack.core.errors import words_of
from stack.core.sansio import Trace
from stack.node.driver import BundleDriver

SPACING_S: Final = 1.0
"""The store is cleaned up no more often than this: many expiries then share one transaction."""

HORIZON_S: Final = 600.0
"""Look at the wall clock this often at least while anything is to expire, so that one that was set
forward is noticed."""

RETRY_FIRST_S: Final = 30.0
RETRY_MOST_S: Final = 300.0
"""What has no way, though the plan is the same, is looked at again after this long, doubled each
time that it did not help: mostly it waits for something that will call by itself."""


class Upkeep:
    """Two timers over a node's driver."""

    def __init__(self, driver: BundleDriver, trace: Trace) -> None:
        self._driver = driver
        self._trace = trace
        self._loop = asyncio.get_running_loop()
        self._due_ms: int | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None
        self._cleaned_s = -SPACING_S
        self._retry: asyncio.TimerHandle | None = None
        self._retry_s = RETRY_FIRST_S
        self._closed = False
        driver.on_expiry = self._expires
        driver.on_change(self._arm_retry)

    def start(self) -> None:
        """Begin with what the store holds from before."""
        self._due_ms = self._driver.store.next_expiry()
        self._arm()
        self._arm_retry()

    async def close(self) -> None:
        """Stop."""
        self._closed = True
        for timer in (self._expiry, self._retry):
            if timer is not None:
                timer.cancel()
        self._driver.on_expiry = None
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    # ---- expiry ----------------------------------------------------------------------------

    def _expires(self, at_ms: int) -> None:
        """Something was stored that expires then."""
        if self._due_ms is None or at_ms < self._due_ms:
            self._due_ms = at_ms
            if self._work is None:
                self._arm()

    def _arm(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._due_ms is None:
            return
        wait_s = max(0.0, (self._due_ms - self._driver.clock.dtn_ms()) / 1000)
        earliest_s = self._cleaned_s + SPACING_S - self._loop.time()
        self._expiry = self._loop.call_later(
            max(min(wait_s, HORIZON_S), earliest_s, 0.0), self._look
        )

    def _look(self) -> None:
        self._expiry = None
        assert self._due_ms is not None
        if self._due_ms > self._driver.clock.dtn_ms():
            self._arm()
        else:
            self._work = self._loop.create_task(self._clean_up(), name="expiry")

    async def _clean_up(self) -> None:
        self._cleaned_s = self._loop.time()
        self._due_ms = None  # what is stored meanwhile may be the next
        try:
            await self._driver.expire()
            self._expires_next(self._driver.store.next_expiry())
        except Exception as error:
            # A disk that fails now may work later; what has expired is not sent in any case.
            self._trace("store_error", {"why": words_of(error)})
            self._expires_next(self._driver.clock.dtn_ms())
        finally:
            self._work = None
        self._arm()

    def _expires_next(self, at_ms: int | None) -> None:
        if at_ms is not None and (self._due_ms is None or at_ms < self._due_ms):
            self._due_ms = at_ms

    # ---- without a way ---------------------------------------------------------------------

    def _arm_retry(self) -> None:
        if (
            self._retry is None
            and not self._closed
            and (self._driver.agent.stranded or self._driver.has_pending)
        ):
            self._retry = self._loop.call_later(self._retry_s, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        driver = self._driver
        before = driver.agent.stranded
        driver.attempt("retry", driver.agent.retry, driver.clock.dtn_ms())
        driver.attempt("release", driver.retry_releases)
        helped = driver.agent.stranded < before
        self._retry_s = RETRY_FIRST_S if helped else min(RETRY_MOST_S, 2 * self._retry_s)
        driver.run_pending()
