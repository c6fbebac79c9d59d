"""The application port: what services (messages, files, jobs, ping) know of a node.

Everything that must happen together happens in one `commit`: consuming deliveries, changing the
service's own durable state, and sending bundles.  It is one transaction of the store, so that a
node killed at any moment has done all of it or none of it, and no effect happens twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from stack.audit.event import Act
from stack.core.arguments import check_kind, check_octets, eid_of
from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.core.value import quick
from stack.policy import DataPolicy
from stack.policy.label import POLICY_REMEDY
from stack.ports.store import Write

CRITICAL_PRIORITY = 3
"""A critical bundle: expedited, and a copy of it goes over every neighbour that has a way to its
destination (SABR, CCSDS 734.3-B-1 §3.2.8.1.4 b)."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One application data unit to send as one bundle (RFC 9171 §5.2)."""

    destination: Eid
    """An endpoint; its text does, too."""

    payload: Buffer
    lifetime_ms: int
    """Milliseconds until the bundle expires."""

    service: str
    """The sending endpoint's service: the source EID is this node's with this service."""

    priority: int = 1
    """0 bulk, 1 normal, 2 expedited, `CRITICAL_PRIORITY`; larger goes first.  Local to each node,
    as RFC 9171 has no priority field: it travels in a private extension block that others may
    ignore."""

    report_to: Eid | None = None
    """Where status reports go; None: to this node.  Its text does, too."""

    report_flags: int = 0
    """Status report request flags of RFC 9171 §4.2.3; 0 asks for none."""

    policy: DataPolicy | None = None
    """Who may read, hold and carry it (`docs/sovereignty.md`); None leaves that open."""

    admin: bool = False
    """The payload is an administrative record (RFC 9171 §6): it is from the node itself, whatever
    the service, and no status reports are asked for."""

    acknowledge: bool = False
    """The application there is asked to acknowledge it (RFC 9171 §4.2.3)."""

    if TYPE_CHECKING:

        def __init__(
            self,
            destination: Eid | str,
            payload: Buffer,
            lifetime_ms: int,
            service: str,
            priority: int = 1,
            report_to: Eid | str | None = None,
            report_flags: int = 0,
            policy: DataPolicy | None = None,
            admin: bool = False,
            acknowledge: bool = False,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Raises `LocalError` for what is no EID, no octets or no policy."""
        if self.payload.__class__ is not bytes:
            check_octets("payload", self.payload)
        if self.destination.__class__ is not Eid:
            object.__setattr__(self, "destination", eid_of("destination", self.destination))
        if self.report_to is not None and self.report_to.__class__ is not Eid:
            object.__setattr__(self, "report_to", eid_of("report_to", self.report_to))
        if self.policy is not None and self.policy.__class__ is not DataPolicy:
            check_kind("policy", self.policy, DataPolicy, POLICY_REMEDY)


@quick
@dataclass(frozen=True, slots=True)
class BundleId:
    """Who made a bundle, and when (RFC 9171 §4.2.7)."""

    source: Eid
    creation_ms: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.source}@{self.creation_ms}.{self.sequence}"

    @staticmethod
    def parse(text: str) -> BundleId:
        """Inverse of `str`.  Raises `DecodeError`."""
        source, _, stamp = text.rpartition("@")
        match = re.fullmatch(r"([0-9]{1,20})\.([0-9]{1,20})", stamp)
        if match is None or max(int(match[1]), int(match[2])) >= 1 << 64:
            raise DecodeError(f"{text[:200]!r} is no bundle id", "RFC 9171 §4.2.7")
        return BundleId(Eid.parse(source), int(match[1]), int(match[2]))


class Cancelled(NamedTuple):
    """What became of the cancellation of a transmission."""

    bundles: int
    """Bundles that were deleted: the whole, or as many parts as it had been divided into; 0 when
    there was none left."""

    under_way: int
    """So many of these had been given to a link: they may have arrived.  It does not go on with
    them, but for those that share an LTP block with others."""


@quick
@dataclass(frozen=True, slots=True)
class Delivery:
    """A bundle's payload handed to a local endpoint.  It stays in the store, and comes again
    after a restart, until it is passed to `AppPort.commit(consume=...)`."""

    ref: int
    id: BundleId
    destination: Eid
    payload: Buffer
    expires_ms: int
    priority: int
    admin: bool = False
    """The payload is an administrative record (RFC 9171 §6)."""

    policy: DataPolicy | None = None
    """The policy that came with it: it holds for whatever is made of the payload, too."""


class Happening(NamedTuple):
    """What a service has done, for the node's log (`docs/audit.md`)."""

    act: Act
    object: str
    """With which bundle, by its id, or with what else (see `stack.audit.event`)."""

    detail: str = ""
    policy: DataPolicy | None = None
    """It says whether that is written down; what is done with keys always is."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the contact plan makes of octets on their way, if nothing else competes."""

    arrival_ms: int
    """When the last of them is at its destination (DTN time)."""

    passes: int
    """Passes that carry them from here: contacts that touch one another are one pass, and those
    without end are none."""

    unheard: tuple[str, ...] = ()
    """Neighbours that have to take some of them now, and are silent or not heard yet: all this
    holds if they answer."""


class Endpoint(Protocol):
    """A registered local endpoint (RFC 9171 §3.1, active registration)."""

    @property
    def eid(self) -> Eid:
        """Where peers send to."""
        ...

    async def receive(self) -> Delivery:
        """The next delivery, waiting for one if need be."""
        ...

    async def receive_many(self, limit: int) -> list[Delivery]:
        """At least one and at most `limit` deliveries, waiting for the first if need be."""
        ...

    def close(self) -> None:
        """End the registration; what was not consumed is delivered to the next one."""
        ...


class AppPort(Protocol):
    """A node, as its services see it."""

    @property
    def node_id(self) -> Eid:
        """The node's administrative endpoint."""
        ...

    def register(self, service: str) -> Endpoint:
        """Register `service` (the demux of a dtn EID, or the decimal service number of an ipn
        EID) for delivery.  Raises `LocalError` when it is registered already."""
        ...

    async def commit(
        self,
        *,
        consume: Sequence[Delivery] = (),
        write: Sequence[Write] = (),
        send: Sequence[Outgoing] = (),
        tell: Sequence[Happening] = (),
    ) -> list[BundleId]:
        """Do all of it durably in one transaction; the ids of the bundles sent, in order.  What it
        `tell`s is in the node's log, or nothing of it is done.
        Raises `StoreError`, with nothing done, when the store has no room."""
        ...

    async def cancel(self, bundle: BundleId) -> Cancelled:
        """Give up a bundle that was sent from here and has not left yet (RFC 9171 §5.12); it is
        gone durably when this returns.  Raises `StoreError`."""
        ...

    def check_policy(self, destination: Eid, policy: DataPolicy) -> None:
        """Raises `PolicyError` when data under this policy may not be sent from here to there."""
        ...

    def check_sending(self, outgoing: Outgoing) -> None:
        """Raises what `commit` would for sending this now: `PolicyError` for what its data policy
        forbids, `SecurityError` where no key protects it, `LocalError` where it is too large.
        Sends nothing."""
        ...

    def check_path(
        self, destination: Eid, policy: DataPolicy, octets: int, lifetime_ms: int, priority: int
    ) -> None:
        """Raises `PolicyError`, as `check_policy` and when this policy leaves no path by which so
        many octets would arrive in their lifetime, while there is one that it does not allow; the
        text says which permission is missing."""
        ...

    def on_policy_change(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever something else is known of nodes, by which data policies
        are judged: what was allowed may not be any more."""
        ...

    async def wait_room(self, size: int) -> None:
        """Return when the store has room for `size` octets of new bundles without crowding out
        transit traffic: back-pressure for producers of large objects."""
        ...

    def outgoing_bytes(self, service: str) -> dict[tuple[Eid, int], int]:
        """Octets of bundles that this node's `service` has sent and that the next hop has not
        confirmed yet, by destination and priority.  Goes through all that were sent from here."""
        ...

    def expected(
        self, destination: Eid, octets: Sequence[int], policy: DataPolicy | None = None
    ) -> Sequence[Expected | None]:
        """When so many octets (ascending) from here have arrived, by the contact plan and where
        their `policy` lets them come; None for what it does not carry, or where links without a
        rate leave it open."""
        ...

    def read(self, space: str, key: str) -> bytes | None:
        """An entry of durable state, as `Write` left it; None when there is none."""
        ...

    def read_all(self, space: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """All entries of a space whose keys begin with `prefix`."""
        ...

    def now(self) -> int:
        """Monotonic nanoseconds."""
        ...

    def dtn_ms(self) -> int:
        """DTN time in milliseconds."""
        ...

    def entropy(self, count: int) -> bytes:
        """So many unpredictable octets."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait, in this node's time."""
        ...

    def trace(self, event: str, fields: dict[str, Any]) -> None:
        """Structured log and event sink."""
        ...
