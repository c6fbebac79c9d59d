"""What a bundle agent tells its driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from stack.ports.store import Put


@dataclass(frozen=True, slots=True)
class Deliverable:
    """Event: bundles wait for the endpoint `service`."""

    service: str


@dataclass(frozen=True, slots=True)
class Reassemble:
    """Event: these stored fragments cover a whole unit; load them and call `reassemble`."""

    refs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Echo:
    """Event: a neighbour has sent a bundle in transit that is held here already; find it in the
    store, and call `echoed`."""

    key: bytes
    neighbour: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Event: no contact can carry this bundle whole; load it and call `split`."""

    ref: int
    bytes_max: int


Event = Deliverable | Echo | Reassemble | TooLarge


class Reception(NamedTuple):
    """What became of a bundle that a link brought."""

    put: Put | None
    """The operation that stores it; None when it is dropped."""

    end: int
    """Where it ends in the data."""

    intact: bool
    """False: it cannot be read, so that it was damaged on its way, or never was a bundle; or its
    time has not come by this node's clock.  The link must not acknowledge it as if it had been
    taken."""

    once: bool = False
    """It is not `intact`, and will not be refused for that a second time: its sender need not wait
    before it sends it again."""


class Receptions(NamedTuple):
    """What became of bundles that a link brought together."""

    puts: list[Put]
    """The operations that store them, of those that are not dropped."""

    intact: bool
    """Whether all are, as of `Reception`."""

    at_once: bool
    """Whether those that are not will not be refused a second time, as of `Reception`."""
