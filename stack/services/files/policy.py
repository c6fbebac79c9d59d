"""What a node takes from its peers, and how much of it at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from stack.core.eid import Eid
from stack.services.files.config import FilesConfig
from stack.services.files.messages import Offer, Outcome

Accepts = Callable[[Eid, Offer], bool]
"""`accepts(source, offer)`: whether an offered object may come to rest here.  The place for rules
about jurisdictions, senders and kinds of data."""


def accept_all(source: Eid, offer: Offer) -> bool:
    """The rule of a node that takes whatever its limits allow."""
    return True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a sender is told of its object."""

    outcome: Outcome
    text: str


class Policy:
    """Limits of `FilesConfig`, the operator's rule, and the count of what is under way."""

    def __init__(
        self, config: FilesConfig, root: str, accepts: Accepts, unhandled: Callable[[], int]
    ) -> None:
        self._config = config
        self._root = root
        self._accepts = accepts
        self._unhandled = unhandled
        self.objects = 0
        self.bytes = 0

    def judge(self, source: Eid, offer: Offer) -> Verdict | None:
        """Why this object is not taken, or None."""
        if offer.size > self._config.object_bytes_max:
            limit = self._config.object_bytes_max
            return Verdict(Outcome.REFUSED, f"larger than {limit} octets")
        if not self._accepts(source, offer):
            return Verdict(Outcome.REFUSED, "refused by policy")
        return None

    def room(self, size: int) -> Verdict | None:
        """Why an object of `size` octets must wait (or cannot come at all), or None."""
        config = self._config
        if size > min(config.object_bytes_max, config.quota_bytes):
            return Verdict(Outcome.REFUSED, "larger than is taken here")
        if self.objects >= config.objects_max or self._unhandled() >= config.objects_max:
            return Verdict(Outcome.BUSY, "too many objects under way")
        if self.bytes + size > config.quota_bytes:
            return Verdict(Outcome.BUSY, "quota of unfinished objects is used up")
        try:
            disk = os.statvfs(self._root)
        except OSError as error:
            return Verdict(Outcome.BUSY, f"directory: {error.strerror}")
        if disk.f_bavail * disk.f_frsize < size + config.disk_reserve_bytes:
            return Verdict(Outcome.BUSY, "the disk is full")
        return None

    def open(self, size: int) -> None:
        """An object has begun."""
        self.objects += 1
        self.bytes += size

    def close(self, size: int) -> None:
        """An object has ended."""
        self.objects -= 1
        self.bytes -= size
