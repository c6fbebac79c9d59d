"""How much may be under way on a link without a rate: more, as long as that brings more."""

from __future__ import annotations

from typing import Final

EPOCH: Final = 4
"""So many windows of acknowledged octets are one measurement: several commits of the peer."""

GAIN: Final = 1.25
"""A window of twice the octets stays if that many times as much is acknowledged in the same time.
Less may be chance, or something else is slow."""

BLOCKS: Final = 4
"""Blocks that a window has room for, up to twice the least: while the peer takes one in whole,
and commits another, the next ones are on their way."""

HOLD_MAX: Final = 256
"""Measurements between two attempts at most; after each vain one, or a loss, twice as many."""


class ExportWindow:
    """Red octets that may be sent and not yet acknowledged.

    An acknowledgement waits for the peer's commit, so what keeps a peer busy whose disk syncs
    within a millisecond lets one idle that needs ten.  But what the peer has not read yet is in a
    socket buffer, and more than that holds is lost.  The sender knows neither.  So where only the
    window holds it up, it tries a larger one: kept if more arrives in the same time, given up if
    not, and as soon as something is lost.
    """

    __slots__ = (
        "_counted",
        "_fits",
        "_hold",
        "_least",
        "_most",
        "_rate",
        "_since",
        "_small",
        "_wait",
        "octets",
    )

    def __init__(self, least: int, most: int) -> None:
        self.octets = least
        """How much it is now: `least` or more, up to `most`."""

        self._small = self._least = least
        """The least for blocks of any size, and for those that leave now."""

        self._fits = True
        """Whether more than the first of these may be had without a trial: nothing was lost."""

        self._most = max(least, most)
        self._since = 0
        self._counted = 0
        """Octets acknowledged since then; below 0 while what was lost is still under way."""

        self._rate = 0.0
        """While twice as much is tried: octets a nanosecond that came before; else 0."""

        self._hold = 1
        self._wait = 2

    def begun(self, octets: int) -> None:
        """A block of so many octets is the next to leave."""
        before, most = self._least, min(2 * self._small, self._most) if self._fits else 0
        self._least = max(self._small, min(BLOCKS * octets, most))
        if self.octets == before or self.octets < self._least:
            self.octets = self._least

    def idle(self, now: int) -> None:
        """More might leave, and there is nothing: what arrives now says nothing of the window."""
        self._since, self._counted = now, min(self._counted, 0)

    def acknowledged(self, octets: int, now: int) -> None:
        """The peer has so many more, at `now` nanoseconds."""
        self._counted += octets
        if self._counted < EPOCH * self.octets:
            return
        rate = self._counted / max(1, now - self._since)
        self._since, self._counted = now, 0
        if rate < GAIN * self._rate:
            self._give_up()
        elif self._hold:
            self._hold -= 1
        else:
            self._wait = 2 if self._rate else self._wait
            self._rate = rate if self.octets < self._most else 0.0
            self._fits = True
            self.octets = min(2 * self.octets, self._most)

    def lost(self) -> None:
        """The peer lacks some of what was sent; what was under way together counts once."""
        if self.octets > self._small and self._counted >= 0:
            self._fits = False
            self._give_up()
            self._counted = -self.octets

    def _give_up(self) -> None:
        self.octets = max(self._small, self.octets // 2)
        self._rate = 0.0
        self._hold = self._wait
        self._wait = min(2 * self._wait, HOLD_MAX)
