"""How sending goes on after blocks have failed: later, smaller, and asking for less."""

from __future__ import annotations

from stack.core.clock import MILLISECOND, SECOND
from stack.wire.ltp import CLIENT_SDA, CancelReason

DELAY_FIRST_NS = 250 * MILLISECOND
DELAY_MAX_NS = 30 * SECOND
"""A failed block is given back after this time, doubled at each failure of the same data."""

HOLD_MAX_NS = 5 * SECOND
"""When all fails, new blocks begin no further apart than this: one of many may be all that the peer
will not have, and a pass is short."""

LEAST_BYTES = 16_384
"""Blocks are not made smaller than this."""

GROW_AFTER = 16
GROW_AFTER_MAX = 1024
"""So many blocks in a row have to arrive before larger ones are tried, twice as many after each
time that they had to be made smaller."""

PLAIN_FIRST_NS = 60 * SECOND
PLAIN_MAX_NS = 86_400 * SECOND
"""Towards a peer that has refused an aggregated block, bundles go one by one for this time, or as
long as that answer took if it took longer, doubled at each refusal: it may be another program by
then."""

_REMEMBERED = 4096
_ROW_HELD = 2
_TIMES_SHRUNK = 3


class Retreat:
    """What failures have taught about one peer.

    A receiver may grant a block few reports (ION: two and what it expects to lose; none before
    the red part ended), limit its size, or not know aggregation, and says so by no more than a
    cancellation.  One block's failure delays that block alone; when all fail, everything waits,
    and then goes one block at a time until one arrives.
    """

    __slots__ = (
        "_failed_at",
        "_failures",
        "_good",
        "_patience",
        "_plain_until",
        "_refusals",
        "_row",
        "block_bytes",
        "few_reports",
        "held",
    )

    def __init__(self) -> None:
        self.block_bytes = 0
        """Largest block that shall be sent, and most octets under way; 0 for no limit."""

        self.few_reports = False
        """Ask for no report before the red part has ended."""

        self.held = False
        """Begin nothing new until `hold_ns` is over."""

        self._failures: dict[int, int] = {}
        self._row = 0
        self._failed_at = -1
        self._good = 0
        self._patience = GROW_AFTER
        self._refusals = 0
        self._plain_until = 0

    def plain(self, now: int) -> bool:
        """Aggregate nothing."""
        return now < self._plain_until

    @property
    def probing(self) -> bool:
        """Nothing has arrived since several blocks failed: send one at a time."""
        return self._row >= _ROW_HELD

    @property
    def hold_ns(self) -> int:
        """How long nothing shall begin after the latest failure; 0 for not at all."""
        return min(HOLD_MAX_NS, _delay(self._row - _ROW_HELD)) if self.probing else 0

    def failed(
        self,
        refs: tuple[int, ...],
        size: int,
        client_service: int,
        reason: int,
        begun_at: int,
        now: int,
    ) -> int:
        """A block of `size` octets failed; for how many nanoseconds to keep it."""
        if reason == CancelReason.USR_CNCLD:
            return 0
        times = 1 + max((self._failures.pop(ref, 0) for ref in refs), default=0)
        for ref in refs:
            self._failures[ref] = times
        while len(self._failures) > _REMEMBERED:
            del self._failures[next(iter(self._failures))]
        if begun_at > self._failed_at:  # what was under way together failed together
            self._row += 1
            self._failed_at = now
        if reason == CancelReason.UNREACH and client_service == CLIENT_SDA:
            self._refused(begun_at, now)
        elif reason in (CancelReason.RLEXC, CancelReason.RXMTCYCEXC):
            self.few_reports = True
            self._shrink(size)
        elif times >= _TIMES_SHRUNK:
            self._shrink(size)
        return _delay(times - 1)

    def _refused(self, begun_at: int, now: int) -> None:
        if self.plain(now):
            return  # one of those that were under way with the one that taught it
        wait_ns = max(PLAIN_FIRST_NS, now - begun_at) << min(self._refusals, 16)
        self._plain_until = now + min(PLAIN_MAX_NS, wait_ns)
        self._refusals += 1

    def _shrink(self, size: int) -> None:
        if self.block_bytes and size > self.block_bytes * 3 // 2:
            return  # it was cut before the limit, or cannot be divided
        self.block_bytes = max(LEAST_BYTES, size // 2)
        self._patience = min(GROW_AFTER_MAX, 2 * self._patience)
        self._good = 0

    def sent(self, refs: tuple[int, ...], size: int, client_service: int) -> None:
        """A block arrived."""
        self._row = 0
        if client_service == CLIENT_SDA:
            self._refusals = self._plain_until = 0
        if self._failures:
            for ref in refs:
                self._failures.pop(ref, None)
        if self.block_bytes and 2 * size >= self.block_bytes:
            self._good += 1
            if self._good >= self._patience:
                self._good = 0
                self.block_bytes *= 2


def _delay(doublings: int) -> int:
    return min(DELAY_MAX_NS, DELAY_FIRST_NS << min(doublings, 16))
