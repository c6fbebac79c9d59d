"""The bundles that an agent holds: how it lets go of them, and what becomes of one on which work
fails."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from stack.audit.event import Happened
from stack.core.eid import Eid
from stack.core.errors import LocalError, PolicyError, SecurityError, StoreError, words_of
from stack.core.sansio import Trace
from stack.engines.bundle_agent.admission import Admission
from stack.engines.bundle_agent.begin import SEQUENCE, SPACE, Beginning
from stack.engines.bundle_agent.config import AgentConfig
from stack.engines.bundle_agent.entry import Entry, Waiting
from stack.engines.bundle_agent.events import Deliverable, Event
from stack.engines.bundle_agent.links import Links
from stack.engines.bundle_agent.notes import parse_note
from stack.engines.bundle_agent.origin import Origin
from stack.engines.bundle_agent.paths import PathJudge
from stack.engines.bundle_agent.permission import check_leaving, cut
from stack.engines.bundle_agent.quarantine import moved, quarantined
from stack.engines.bundle_agent.reassembly import FragmentLedger
from stack.engines.bundle_agent.reports import StatusReporter
from stack.engines.bundle_agent.shares import Shares
from stack.engines.bundle_agent.trail import STORED, AuditTrail, happens
from stack.engines.bundle_agent.tunnels import Tunnels
from stack.policy import DataPolicy, PolicyGate
from stack.ports.application import CRITICAL_PRIORITY, BundleId, Happening, Outgoing
from stack.ports.security import Security
from stack.ports.store import Op, Place, RecordEvent, Write
from stack.routing.forwarder import Forwarder
from stack.wire.bundle import (
    LENIENT,
    REPORT_DELETION,
    STRICT,
    Bundle,
    ReportReason,
    bundle_key,
    encode_bundle,
)

PASSING = (StoreError, OSError, MemoryError)
"""Errors that say nothing against the bundle that was being worked on."""


class Custody:
    """What an agent keeps of each stored bundle.  Work on one of many goes through `_try`, or
    `_end` where it is gone from the store: when that fails, the others do not suffer."""

    def __init__(
        self,
        node_id: Eid,
        config: AgentConfig,
        forwarder: Forwarder,
        beginning: Beginning,
        security: Security | None,
        trace: Trace,
        shares: Shares | None,
        gate: PolicyGate | None,
        trail: AuditTrail | None,
    ) -> None:
        self.node_id = node_id
        self._node = str(node_id)
        self.config = config
        self._mode = LENIENT if config.lenient else STRICT
        self.forwarder = forwarder
        self.counters: Counter[str] = Counter()
        self.entries: dict[int, Entry] = {}
        self._kept_back: dict[int, str] = {}
        """Bundles for here that may not be read here, and why, or that no key has opened yet."""

        self.own: dict[int, Entry] = {}
        """Those of bundles that were made here and are to leave: few beside those in transit."""
        self.waiting = Waiting(self.entries)
        self._origin = Origin(node_id, config, security, beginning.count)
        self.shares = shares or Shares()
        self._gate = gate
        self._protected = security is not None
        secret = beginning.secret
        self._trail = trail
        self._admission = Admission(node_id, config, security, secret, self.shares, trail)
        self._reporter = StatusReporter(config)
        self._fragments = FragmentLedger()
        self._void: dict[int, set[str]] = {}
        """Neighbours whose acknowledgement of a bundle means nothing (see `echoed`)."""

        self.links = Links()
        self._postponed: list[int] = []
        self._proving: dict[bytes, int] = {}
        """Bundles in whose place is put what they are now proven to be, by its key."""
        self._ops: list[Op] = list(beginning.writes)
        self._events: deque[Event] = deque()
        self._awaited: dict[str, None] = {}
        """Services for which bundles wait that no event has told of."""

        here = node_id, config, self._origin, self.check_policy, gate, self._reserve
        self._tunnels = Tunnels(*here, protected=self._protected)
        self.paths = PathJudge(forwarder, gate, self._tunnels)
        self._trace = trace

    def _reserve(self, count: int) -> None:
        """Have sequence numbers for bundles that carry others, before they are wanted."""
        reserved = self._origin.reserve(count)
        if reserved is not None:
            self._ops.append(Write(SPACE, SEQUENCE, reserved.to_bytes(8)))

    def take_ops(self) -> list[Op]:
        """The store operations that have come up; the driver commits them."""
        ops, self._ops = self._ops, []
        return ops

    def next_event(self) -> Event | None:
        """The oldest event that nobody has taken yet."""
        if self._awaited:
            return Deliverable(self._awaited.popitem()[0])
        return self._events.popleft() if self._events else None

    def _await(self, service: str, ref: int) -> None:
        """A bundle waits for a service of this node: one event tells of all until it is taken."""
        self.waiting.add(service, ref)
        self._awaited[service] = None

    def share(self, strangers: Collection[str]) -> None:
        """Keep a part of the store for each of these neighbours from now on: their links are not
        trusted."""
        if self.shares.neighbours != set(strangers):
            held = ((entry.owner, entry.size) for entry in self.entries.values())
            self.shares.follow(strangers, held)

    def _hold(self, entry: Entry) -> None:
        if self.shares.neighbours and entry.ref not in self.entries:
            self.shares.came(entry.owner, entry.size)
        self.entries[entry.ref] = entry
        if entry.key and entry.place is Place.FORWARD:
            self.own[entry.ref] = entry

    def _forget(self, ref: int, now_ms: int) -> Entry | None:
        entry = self.entries.pop(ref, None)
        if entry is None:
            return None
        if self.shares.neighbours:
            self.shares.went(entry.owner, entry.size)
        if self._kept_back:
            self._kept_back.pop(ref, None)
        if entry.place is Place.FORWARD:
            self.own.pop(ref, None)
            if self._void:
                self._void.pop(ref, None)
            self.forwarder.remove(ref, now_ms)
        elif entry.place is Place.FRAGMENT:
            self._fragments.forget(ref)
        return entry

    def _deleted(self, ref: int, reason: ReportReason, now_ms: int) -> None:
        entry = self._forget(ref, now_ms)
        if entry is not None:
            self._report_end(entry, REPORT_DELETION, reason, now_ms)

    def _give_up(self, ref: int, reason: ReportReason, now_ms: int) -> None:
        """A bundle is of no use to anybody any more, and links need not go on with it.  (What
        makes room for others still is: whom a link brings it has it.)"""
        self.links.give_up(ref, self.forwarder.given_to(ref))
        self._deleted(ref, reason, now_ms)

    def lost(self, ref: int, now_ms: int) -> None:
        """The store has not got the octets any more: nothing is left of them."""
        self.counters["damaged"] += 1
        reason = ReportReason.BLOCK_UNINTELLIGIBLE
        self._end(ref, now_ms, self._deleted, ref, reason, now_ms)

    def fail(self, ref: int, error: Exception, now_ms: int) -> None:
        """Work on a bundle has failed: it is tried again later if that is no fault of its own, else
        it goes to quarantine.  In neither case is it left with whoever has taken it."""
        if isinstance(error, PASSING) and ref in self.entries:
            self.postpone(ref, now_ms)
        else:
            self.quarantine(ref, error, now_ms)

    def quarantine(self, ref: int, error: Exception, now_ms: int) -> None:
        """Work on this bundle has failed, and would fail again: it is out of everybody's way, and
        its octets stay in the store for the operator.  Who asked for reports is told."""
        entry = self.entries.get(ref)
        self._set_aside(ref, error, now_ms)
        self._ops.append(moved(ref, entry, error))
        try:
            self._happens(entry, STORED, why="it is in quarantine")
        except Exception as failed:  # as in `_report_end`
            self._failed(ref, failed)

    def damaged(self, ref: int, error: Exception, now_ms: int) -> None:
        """The octets were damaged at rest; what is left of them is in quarantine already."""
        self.counters["damaged"] += 1
        self._set_aside(ref, error, now_ms)

    def _set_aside(self, ref: int, error: Exception, now_ms: int) -> None:
        self._failed(ref, error)
        entry = self._gone(ref, now_ms)
        if entry is not None:
            self.counters["quarantined"] += 1
            self._report_end(entry, REPORT_DELETION, ReportReason.BLOCK_UNINTELLIGIBLE, now_ms)
            self._hold(quarantined(entry, error))

    def postpone(self, ref: int, now_ms: int) -> None:
        """The store cannot give this bundle now, or a resource is used up: `retry` tries again."""
        self.counters["postponed"] += 1
        entry = self._gone(ref, now_ms)
        if entry is not None:
            self._hold(entry)
            self._postponed.append(ref)

    def _gone(self, ref: int, now_ms: int) -> Entry | None:
        entry = self.entries.get(ref)
        try:
            self._forget(ref, now_ms)
        except Exception as error:  # what failed may be the very forgetting
            self._failed(ref, error)
        return entry

    def _failed(self, ref: int | str, error: Exception) -> None:
        self.counters["failures"] += 1
        entry = self.entries.get(ref) if isinstance(ref, int) else None
        fields = {"ref": ref, "why": words_of(error)}
        if entry is not None:
            fields |= {"source": entry.source, "destination": entry.destination}
        self._trace("bundle_failed", fields)

    def _try(self, ref: int, now_ms: int, work: Callable[..., object], *args: Any) -> None:
        """Do one bundle's share of work on many: the others do not suffer when it fails."""
        try:
            work(*args)
        except Exception as error:  # whatever it is, it concerns this bundle alone
            self.fail(ref, error, now_ms)

    def _end(self, ref: int, now_ms: int, work: Callable[..., object], *args: Any) -> None:
        """Do what is to be done for one of many that have left the store: however that fails, the
        agent lets go of it too."""
        try:
            work(*args)
        except Exception as error:  # as above
            self._failed(ref, error)
            self._gone(ref, now_ms)

    def _report_end(self, entry: Entry, status: int, reason: ReportReason, now_ms: int) -> None:
        """Report about a bundle whose octets are gone, if it asked for that."""
        if entry.note and entry.place is not Place.QUARANTINE:
            try:
                primary, length, _ = parse_note(entry.note)
                reports = self._reporter.report(primary, length, status, reason, now_ms)
                self._tell(reports, now_ms, entry.policy)
            except Exception as error:  # a bundle's fate does not hang on the report of it
                self._failed(entry.ref, error)

    def _happens(self, entry: Entry | None, acts: int, peer: str = "", why: str = "") -> None:
        """Write down what becomes of a bundle that stays in the store."""
        event = happens(entry, acts, peer, why)
        if event is not None:
            self._ops.append(RecordEvent(event))

    def _tell(
        self, reports: Sequence[Outgoing], now_ms: int, policy: DataPolicy | None = None
    ) -> None:
        """Send reports about a bundle: only where its data policy lets what is said of it go."""
        self.counters["reports_suppressed"] = self._reporter.suppressed
        for report in reports:
            if policy is not None:
                report = replace(report, policy=policy.about(report.destination))
            try:
                self._ops += self._make([report], now_ms, admin=True)[1]
            except PolicyError as error:
                self.counters["reports_withheld"] += 1
                self._trace("report_withheld", {"to": str(report.destination), "why": str(error)})
            except (SecurityError, StoreError, LocalError) as error:  # nobody is told in clear
                self.counters["reports_unsecured"] += 1
                fields = {"to": str(report.destination), "why": str(error)}
                self._trace("report_unsecured", fields)
            else:
                self.counters["reports_sent"] += 1

    def told(self, one: Happening) -> Happened | None:
        """What this node's log is told of something that a service does, if anything."""
        return None if self._trail is None else self._trail.done(one)

    def check_policy(self, destination: Eid, policy: DataPolicy, now_ms: int) -> None:
        """Raise `PolicyError` when data of this policy may not be sent from here to a node."""
        how = {"protected": self._protected, "logged": self._trail is not None}
        check_leaving(destination, policy, self._gate, self.config, now_ms, **how)

    def _make(
        self, outgoings: Sequence[Outgoing], now_ms: int, *, admin: bool = False
    ) -> tuple[list[BundleId], list[Op]]:
        """Bundles of our own (§5.2): their ids, and the operations that store them.  They take
        each step together, as those that come in do (see `reception`)."""
        ops: list[Op] = []
        config, put = self.config, self._admission.put
        reserved = self._origin.reserve(2 * len(outgoings))  # with what may carry them
        if reserved is not None:
            ops.append(Write(SPACE, SEQUENCE, reserved.to_bytes(8)))
        try:
            outgoings = self._allowed(outgoings, now_ms)
            made = self._origin.make_all(outgoings, now_ms, admin=admin)
            carried = [self._carried(*each, now_ms) for each in zip(outgoings, made, strict=True)]
            octets = [encode_bundle(bundle) for bundle in carried]
            for one, own, bundle, encoded in zip(outgoings, made, carried, octets, strict=True):
                if len(encoded) > config.bundle_bytes_max:
                    raise LocalError(
                        f"a payload of {len(one.payload)} octets makes a bundle over "
                        f"bundle_bytes_max {config.bundle_bytes_max}: send it as a file"
                    )
                expires_ms = now_ms + min(one.lifetime_ms, config.lifetime_ms_max)
                op = put(bundle, encoded, one.priority, expires_ms, now_ms, required=True)
                if bundle is not own:  # by the key of that one it is given up
                    key = bundle_key(own.primary) if one.priority < CRITICAL_PRIORITY else b""
                    op = self._admission.carrying(op, bundle, self._admission.made(own), key)
                ops.append(op)
        except Exception:
            self._origin.unreserve()  # what was reserved is not written down
            raise
        primaries = [bundle.primary for bundle in made]
        return [BundleId(one.source, one.creation_ms, one.sequence) for one in primaries], ops

    def _allowed(self, outgoings: Sequence[Outgoing], now_ms: int) -> Sequence[Outgoing]:
        """What is to be sent, as its data policies let it be."""
        found: list[Outgoing] | None = None
        policy = destination = None
        for index, one in enumerate(outgoings):
            if one.policy is None:
                continue
            if one.policy is not policy or one.destination is not destination:
                policy, destination = one.policy, one.destination  # most are as the one before
                self.check_policy(destination, policy, now_ms)
            if policy.expires_ms:
                found = found or [*outgoings]
                found[index] = cut(one, policy, now_ms)
        return found or outgoings

    def _carried(self, one: Outgoing, bundle: Bundle, now_ms: int) -> Bundle:
        """A bundle of our own, or what carries it through a tunnel."""
        tunnel = self._tunnels.of(bundle.primary)
        if tunnel is None:
            return bundle
        ends_ms = now_ms + one.lifetime_ms
        return self._tunnels.wrapped(
            tunnel, bundle, one.policy, one.priority, ends_ms, now_ms, own=True
        )
