"""How much may be under way on a link without a rate: more, or less, while that brings more."""

from __future__ import annotations

from typing import Final

EPOCH: Final = 4
"""So many windows of acknowledged octets are one measurement: several commits of the peer."""

GAIN: Final = 1.25
"""Another window stays if that many times as much is acknowledged in the same time.  Less may be
chance, or something else is slow."""

BLOCKS: Final = 4
"""Blocks that a window has room for, up to twice the usual: while the peer takes one in whole, and
commits another, the next ones are on their way."""

LESS: Final = 16
"""That part of a window is tried where a part of what is sent is lost: one that is somewhat smaller
loses nearly as much, and what comes of so small a one is clearly more where a buffer was too small.
"""

LOSSY: Final = 0.125
"""Of what arrived that part has to be sent once more until a smaller window is tried: an attempt
costs a noisy link two round trips."""

FLOOR: Final = 65_536
"""Octets of the least window: datagrams enough for one system call.  Four large segments are more:
there is a checkpoint in the middle of a window."""

HOLD_MAX: Final = 256
"""Measurements between two attempts at most; after each vain one, or a loss, twice as many."""


class ExportWindow:
    """Red octets that may be sent and not yet acknowledged.

    An acknowledgement waits for the peer's commit, so what keeps a peer busy whose disk syncs
    within a millisecond lets one idle that needs ten.  But what the peer has not read yet is in a
    socket buffer, and more than that holds is lost.  The sender knows neither.  So where only the
    window holds it up, it tries a larger one: kept if more arrives in the same time, given up if
    not, and as soon as something is lost.  Where much is lost with the usual one, it tries a
    smaller one: that brings more where a buffer is too small, and less where the link is noisy.
    """

    __slots__ = (
        "_again",
        "_ample",
        "_back",
        "_counted",
        "_hold",
        "_least",
        "_most",
        "_roomy",
        "_since",
        "_usual",
        "_wait",
        "_wanted",
        "octets",
    )

    def __init__(self, usual: int, most: int, segment_bytes: int) -> None:
        self.octets = usual
        """How much it is now, from four segments up to `most`."""

        self._usual = self._ample = usual
        """What it is unless something else was found to be better: for small blocks, and for
        those that leave now."""

        self._least = min(usual, max(FLOOR, 4 * segment_bytes))
        self._most = max(usual, most)
        self._since = 0
        self._counted = 0
        """Octets acknowledged since then; below 0 while what was lost is still under way."""

        self._again = 0
        """Octets sent once more since then."""

        self._wanted = 0.0
        """While another window is tried: octets a nanosecond that it has to bring; else 0."""

        self._back = usual
        """What it is after a vain attempt."""

        self._roomy = True
        """Whether large blocks have more than the usual without an attempt: nothing was lost."""

        self._hold = 1
        self._wait = 2

    def begun(self, octets: int) -> None:
        """A block of so many octets is the next to leave."""
        if self._roomy and not self._wanted and self.octets in (self._usual, self._ample):
            most = min(2 * self._usual, self._most)
            self.octets = self._ample = max(self._usual, min(BLOCKS * octets, most))

    def idle(self, now: int) -> None:
        """More might leave, and there is nothing: what arrives now says nothing of the window."""
        self._since, self._counted = now, min(self._counted, 0)

    def acknowledged(self, octets: int, now: int) -> None:
        """The peer has so many more, at `now` nanoseconds."""
        old = self._counted < 0
        self._counted += octets
        if old and self._counted >= 0:
            self._since, self._counted = now, 0
        took, enough = max(1, now - self._since), EPOCH * self.octets
        if self._counted < enough and not (self._counted >= 0 and enough < self._wanted * took):
            return  # nor is it too late for what another window has to bring
        rate = self._counted / took
        lossy, self._again = self._again > LOSSY * self._counted, 0
        self._since, self._counted = now, 0
        if rate < self._wanted:
            self._give_up(self._back)
        elif self._hold:
            self._hold -= 1
        else:
            self._wait = 2 if self._wanted else self._wait
            less = max(self._least, self.octets // LESS)
            self._try(less if lossy else 2 * self.octets, rate)

    def again(self, octets: int) -> None:
        """So many are sent once more."""
        self._again += octets

    def lost(self) -> None:
        """The peer lacks some of what was sent; what was under way together counts once."""
        if self._counted < 0:
            return
        if self._wanted and self.octets > self._back:
            self._give_up(self._back)
        elif self.octets > self._usual:
            self._give_up(max(self._usual, self.octets // 2))
        else:
            return
        self._roomy = False
        self._counted = -self.octets

    def _try(self, octets: int, rate: float) -> None:
        """Have another window, where `rate` has come with this one."""
        octets = min(octets, self._most)
        self._roomy = self._roomy or octets > self.octets
        self._wanted = GAIN * rate if octets != self.octets else 0.0
        if octets < self.octets:
            self._counted = -self.octets  # so many are under way, and say nothing of the new one
        self._back, self.octets = self.octets, octets

    def _give_up(self, octets: int) -> None:
        self.octets = octets
        self._wanted = 0.0
        self._hold = self._wait
        self._wait = min(2 * self._wait, HOLD_MAX)
