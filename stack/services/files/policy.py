"""What a node takes from its peers, and how much of it at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from stack.core.eid import Eid
from stack.services.files.config import OBJECTS_MAX, FilesConfig
from stack.services.files.messages import Offer, Outcome
from stack.services.files.state import InObject
from stack.services.files.steps import InState
from stack.services.shares import PeerShares, half

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
    """Limits of `FilesConfig`, the operator's rule, and whose is how much that is under way."""

    def __init__(self, config: FilesConfig, root: str, accepts: Accepts) -> None:
        self._config = config
        self._root = root
        self._accepts = accepts
        self.objects = PeerShares(OBJECTS_MAX, config.objects_max)
        """From their beginning until they are handled."""

        self.octets = PeerShares("services.files.quota_bytes", config.quota_bytes)
        """Of those that are not whole yet, counted at their full size."""

    def judge(self, source: Eid, offer: Offer) -> Verdict | None:
        """Why this object is not taken, or None."""
        if offer.size > self._config.object_bytes_max:
            limit = self._config.object_bytes_max
            return Verdict(Outcome.REFUSED, f"larger than {limit} octets")
        if not self._accepts(source, offer):
            return Verdict(Outcome.REFUSED, "refused by policy")
        return None

    def room(self, source: Eid, size: int) -> Verdict | None:
        """Why an object of `size` octets must wait (or cannot come at all), or None."""
        config = self._config
        limit = min(config.object_bytes_max, half(config.quota_bytes))
        if size > limit:
            words = "services.files.object_bytes_max, or half of quota_bytes"
            return Verdict(Outcome.REFUSED, f"larger than {limit} octets ({words})")
        if why := self.objects.refusal(source):
            return Verdict(Outcome.BUSY, f"objects: {why}")
        if why := self.octets.refusal(source, size):
            return Verdict(Outcome.BUSY, f"octets: {why}")
        try:
            disk = os.statvfs(self._root)
        except OSError as error:
            return Verdict(Outcome.BUSY, f"directory: {error.strerror}")
        if disk.f_bavail * disk.f_frsize < size + config.disk_reserve_bytes:
            return Verdict(Outcome.BUSY, "the disk is full")
        return None

    def open(self, obj: InObject) -> None:
        """An object has begun."""
        self.objects.add(obj.source, obj.key)
        self.octets.add(obj.source, obj.key, obj.size)

    def close(self, obj: InObject) -> None:
        """An object has ended.  What is received counts until an application has handled it."""
        self.octets.remove(obj.source, obj.key)
        if obj.state is not InState.RECEIVED:
            self.objects.remove(obj.source, obj.key)
