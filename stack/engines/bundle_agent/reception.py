"""Bundle reception (RFC 9171 §5.6): what a link has brought becomes what the store is to keep.

A block of LTP holds many bundles, and they go through each step together: all are read, then all
are judged, then all are taken.  Bundle by bundle, the code of each step would have driven that of
the others out of the processor's caches: that costs a third more.
"""

from __future__ import annotations

from collections.abc import Sequence

from stack.core.eid import Eid
from stack.core.errors import PolicyError
from stack.core.sansio import Trace, no_trace
from stack.core.train import Buffer
from stack.engines.bundle_agent.begin import Beginning
from stack.engines.bundle_agent.blocks import Refused
from stack.engines.bundle_agent.config import AgentConfig
from stack.engines.bundle_agent.entry import node_and_service
from stack.engines.bundle_agent.events import Reception, Receptions
from stack.engines.bundle_agent.ingress import Arrival, Ingress, Taken
from stack.engines.bundle_agent.notes import policy_in
from stack.engines.bundle_agent.parts import Parts
from stack.engines.bundle_agent.permission import refusal
from stack.engines.bundle_agent.quarantine import end_of, set_aside
from stack.engines.bundle_agent.shares import NOTHING, NOWHERE, OWN, Shares
from stack.engines.bundle_agent.trail import AuditTrail, ended, name_of
from stack.policy import DataPolicy, PolicyGate
from stack.policy.label import policy_of
from stack.ports.application import CRITICAL_PRIORITY
from stack.ports.security import Opened, Security
from stack.ports.store import Place, Put, RecordEvent
from stack.routing.forwarder import Forwarder
from stack.wire.bundle import (
    PAYLOAD_NUMBER,
    REPORT_DELETION,
    REPORT_RECEPTION,
    Bundle,
    encrypted_blocks,
)

CRITICAL_KEPT = 65_536
"""Critical bundles that are known again when they come back: far more than ever are under way."""


class Receiving(Parts):
    """Takes bundles in, and remembers those that must not be taken twice."""

    def __init__(
        self,
        node_id: Eid,
        config: AgentConfig,
        forwarder: Forwarder,
        beginning: Beginning,
        *,
        security: Security | None = None,
        trace: Trace = no_trace,
        shares: Shares | None = None,
        gate: PolicyGate | None = None,
        trail: AuditTrail | None = None,
    ) -> None:
        """`trail` makes the events of this node's log; without one nothing is written down."""
        super().__init__(
            node_id, config, forwarder, beginning, security, trace, shares, gate, trail
        )
        self._ingress = Ingress(
            config, self._admission, self.shares, forwarder.leads_to, gate, self._tunnels
        )
        self.services: set[str] = set()
        """Services that applications have registered since the start."""

        self._critical: dict[bytes, None] = {}
        """Keys of the critical bundles that were forwarded here, oldest first."""

    def read(self, data: Buffer, offset: int = 0) -> Arrival:
        """Read the bundle at `offset` of what a link has brought, for `receive_all`, and so where
        it ends."""
        try:
            return self._ingress.read(data, offset)
        except Exception as error:  # whatever it is, it concerns this bundle alone
            return Arrival(data, offset, end_of(data, offset, self._mode), None, error)

    def receive(
        self,
        data: Buffer,
        now_ms: int,
        offset: int = 0,
        previous: str = "",
        *,
        trusted: bool = False,
    ) -> Reception:
        """Read and judge the bundle at `offset` alone; see `receive_all`."""
        arrival = self.read(data, offset)
        puts, intact, at_once = self.receive_all((arrival,), now_ms, previous, trusted=trusted)
        return Reception(puts[0] if puts else None, arrival.end, intact, not intact and at_once)

    def receive_all(
        self, arrivals: Sequence[Arrival], now_ms: int, previous: str = "", *, trusted: bool = False
    ) -> Receptions:
        """Judge bundles that a link from node `previous` brought (§5.6).  From a `trusted` link the
        priority that they claim is believed; from others it is not raised, and nothing makes room
        for them.

        One that can be read, and on which something fails all the same, goes to quarantine.
        """
        puts: list[Put] = []
        intact = at_once = True
        for arrival, judged in zip(
            arrivals, self._judged(arrivals, now_ms, previous, trusted), strict=True
        ):
            try:
                if isinstance(judged, Taken):
                    put = self._taken(judged, now_ms)
                elif isinstance(judged, Refused):
                    put = None
                    intact = intact and judged.intact
                    at_once = at_once and (judged.intact or judged.once)
                    self._refused(judged, now_ms)
                else:
                    raise judged
            except Exception as error:  # whatever it is, it concerns this bundle alone
                self._failed("", error)
                counts = previous in self.shares.neighbours and not trusted
                owner = NOWHERE if counts else OWN
                size = len(arrival.data) - arrival.offset
                spare = self.shares.spare(owner, size) if counts else NOTHING
                asked = arrival, self._mode, now_ms, error, self._permitted, owner, spare
                put = set_aside(*asked, self._trail, previous)
                if put is None:  # it cannot be read: it was never received, nor what is behind it
                    intact = at_once = False
            if put is not None:
                puts.append(put)
        return Receptions(puts, intact, at_once)

    def _permitted(self, bundle: Bundle) -> DataPolicy | None:
        """The policy under which a bundle may be here of which nothing else could be judged.
        Raises `PolicyError` where it may not be, and `DecodeError`."""
        policy = policy_of(bundle.blocks)
        if policy is not None:
            here = self._admission.place_of(bundle) is not Place.FORWARD
            sealed = PAYLOAD_NUMBER in encrypted_blocks(bundle.blocks)
            how, logged = (policy, self._gate, self.config), self._trail is not None
            if why := refusal(*how, delivered=here, logged=logged, sealed=sealed):
                raise PolicyError(why)
        return policy

    def _judged(
        self, arrivals: Sequence[Arrival], now_ms: int, previous: str, trusted: bool
    ) -> list[Taken | Refused | Exception]:
        judged: list[Taken | Refused | Exception] = []
        take = self._ingress.take
        for arrival in arrivals:
            try:
                judged.append(take(arrival, now_ms, previous=previous, trusted=trusted))
            except Exception as error:
                judged.append(error)
        return judged

    def _registered(self, destination: str) -> bool:
        return node_and_service(destination)[1] in self.services

    def _taken(self, taken: Taken, now_ms: int) -> Put | None:
        self.counters["bundles_received"] += 1
        bundle, put, unprocessed = taken
        primary = bundle.primary
        if unprocessed or primary.flags & REPORT_RECEPTION:
            told = self._reporter.reception(primary, len(bundle.payload.data), unprocessed, now_ms)
            self._tell(told, now_ms, policy_in(put.note))
        place = put.place
        if place is Place.FORWARD:
            if put.key in self._critical:
                # It has gone, or goes, every way that there is from here.
                self.counters["duplicates"] += 1
                return None
        elif place is Place.DELIVER and not self._registered(put.destination):
            put = put._replace(place=Place.DEFER)
        return put

    def _refused(self, refused: Refused, now_ms: int) -> None:
        self.counters[f"dropped_{refused.counter}"] += 1
        reporter, primary, length = self._reporter, refused.primary, refused.payload_length
        name = refused.name or ("" if primary is None else name_of(primary))
        fields = {"why": refused.counter, "detail": refused.words, "bundle": name}
        self._trace("bundle_dropped", {**fields, "sender_keeps": not refused.intact})
        if refused.event is not None:
            self._ops.append(RecordEvent(refused.event))
        if primary is not None:
            reports = reporter.reception(primary, length, refused.unprocessed, now_ms)
            reports += reporter.report(primary, length, REPORT_DELETION, refused.reason, now_ms)
            self._tell(reports, now_ms, refused.policy)

    def _whole(self, put: Put, now_ms: int) -> Put | Refused | None:
        """As of `Parts`; of what has come through a tunnel in parts, what was in it."""
        if not isinstance(put.known, Opened) or put.known.bundle is None:
            return put
        judged = self._ingress.unwrap(put.known.bundle, now_ms, 0, now_ms - put.received_ms)
        if isinstance(judged, Taken):
            within = self._taken(judged, now_ms)
            if within is None:
                return None
            also = within.also if put.event is None else (*within.also, ended(put.event))
            return within._replace(required=True, also=also)
        if judged is not None:
            self._refused(judged, now_ms)
        return judged or put

    def _remember(self, priority: int, key: bytes, place: Place) -> None:
        """A critical bundle that came back would go every way again, and so without end."""
        if priority >= CRITICAL_PRIORITY and place is Place.FORWARD:
            self._critical[key] = None
            if len(self._critical) > CRITICAL_KEPT:
                del self._critical[next(iter(self._critical))]
