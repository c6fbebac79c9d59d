"""Pacing: a virtual queue in front of a link of known rate."""

from __future__ import annotations

_NS_BITS = 8 * 1_000_000_000
"""Nanoseconds in a second times bits in an octet."""


class Bucket:
    """Lets sending run at most `burst_ns` ahead of a link of `rate_bps`, or freely without one.

    It keeps the moment at which the link will have drained what was sent, so that no refill task
    runs.  One datagram always fits, however slow the link.
    """

    __slots__ = ("_burst_ns", "_datagram_bytes", "_free_at", "_rate")

    def __init__(self, burst_ns: int, datagram_bytes: int) -> None:
        self._burst_ns = burst_ns
        self._datagram_bytes = datagram_bytes
        self._rate: float | None = None
        self._free_at = 0

    @property
    def paced(self) -> bool:
        """Whether the link has a rate."""
        return self._rate is not None

    def set_rate(self, rate_bps: float | None, now: int) -> None:
        """The link's rate from now on; None for no limit.  Rates up to zero count as 1 bit/s."""
        self._rate = None if rate_bps is None else max(rate_bps, 1.0)
        self._free_at = min(self._free_at, now + self._depth_ns())

    def allowance(self, now: int) -> int:
        """Octets that may leave now, datagram overhead included; meaningless without a rate."""
        assert self._rate is not None
        ahead = max(self._free_at - now, 0)
        # One octet more, so that rounding never denies what `ready_at` promised.
        return int((self._depth_ns() - ahead) * self._rate / _NS_BITS) + 1

    def carries(self, duration_ns: int) -> int:
        """Octets that leave in a time and one burst; meaningless without a rate."""
        assert self._rate is not None
        return int((duration_ns + self._depth_ns()) * self._rate / _NS_BITS)

    def take(self, octets: int, now: int) -> None:
        """These octets leave now."""
        if self._rate is not None:
            self._free_at = max(self._free_at, now) + int(octets * _NS_BITS / self._rate)

    def ready_at(self, octets: int) -> int:
        """When `octets`, or half of the whole burst if that is less but at least one datagram,
        may leave: waiting for all of the burst would let the link run dry."""
        assert self._rate is not None
        depth = self._depth_ns()
        half = int(depth / 2 * self._rate / _NS_BITS)
        wanted = max(min(octets, half), self._datagram_bytes)
        wait = int(wanted * _NS_BITS / self._rate) + 1
        return self._free_at - depth + min(wait, depth)

    def _depth_ns(self) -> int:
        if self._rate is None:
            return self._burst_ns
        # One nanosecond more than a datagram takes, so that rounding never locks it out.
        return max(self._burst_ns, int(self._datagram_bytes * _NS_BITS / self._rate) + 2)
