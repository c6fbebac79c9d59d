"""Where each stored bundle goes from here (RFC 9171 §5.3): to a neighbour, to a service of this
node, or to the other parts of the whole that it is a fragment of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from stack.audit.event import Happened
from stack.contacts.plan import Plan
from stack.engines.bundle_agent.custody import Custody
from stack.engines.bundle_agent.entry import Entry, node_and_service
from stack.engines.bundle_agent.events import Reassemble, TooLarge
from stack.engines.bundle_agent.notes import parse_note
from stack.engines.bundle_agent.permission import refusal
from stack.engines.bundle_agent.trail import FORWARDED, GONE, REFUSED, happens
from stack.policy import DataPolicy
from stack.ports.application import BundleId, Cancelled, Expected
from stack.ports.security import Opened
from stack.ports.store import Op, Place, RecordEvent, Release
from stack.routing.forecast import arrivals
from stack.routing.forwarder import DONE
from stack.routing.router import NOBODY
from stack.wire.bundle import REPORT_FORWARDING, ReportReason, is_of, whole_key

WHOLE = "the whole is here"
"""Why parts of a bundle go."""


class Dispatch(Custody):
    """Puts what is held into queues, takes it out of them, and again when contacts or the plan
    change.  Whoever is to act on it is told by an event."""

    def _dispatch(self, entry: Entry, now_ms: int, avoid: tuple[str, ...] = ()) -> None:
        ref = entry.ref
        self._hold(entry)
        if entry.place is Place.FORWARD:
            node, _ = node_and_service(entry.destination)
            try:
                part = self.forwarder.add(
                    ref,
                    node,
                    entry.size,
                    entry.priority,
                    entry.expires_ms,
                    now_ms,
                    exclude=(*avoid, entry.previous) if entry.previous else avoid,
                    barred=NOBODY if entry.policy is None else self._barred(entry.policy, node),
                    owner=entry.owner,
                )
            finally:
                if self.forwarder.displaced or self.forwarder.troubled:
                    self._displaced(now_ms)
            if part == DONE:
                self._forwarded(ref, now_ms)
            elif part:
                self._events.append(TooLarge(ref, part))
        elif entry.place in (Place.DELIVER, Place.DEFER):
            _, service = node_and_service(entry.destination)
            if self._withheld(entry):
                return
            self._await(service, ref)
        elif entry.place is Place.FRAGMENT:
            self._join(self._fragments.add(ref, parse_note(entry.note), entry.policy))

    def keys_changed(self) -> None:
        """Security has other keys: what none has opened is delivered or put together, if one does
        now."""
        sealed = [ref for ref, why in self._kept_back.items() if not why]
        for ref in sealed:
            del self._kept_back[ref]
            if (entry := self.entries.get(ref)) is not None:
                self._await(node_and_service(entry.destination)[1], ref)
        self._fragments.keys_changed()
        self._join_due()

    def _barred(self, policy: DataPolicy, node: str) -> frozenset[str]:
        """Where a bundle for `node` must not come."""
        forwarder, gate = self.forwarder, self._gate
        if gate is None:
            return frozenset((*forwarder.nodes(), node))
        return gate.barred(policy, node, forwarder.nodes, forwarder.router.plan_version)

    def _withheld(self, entry: Entry) -> bool:
        """Whether a bundle must not be delivered: since it came, what is known of this node may
        have changed.  It stays until its lifetime ends, or that is put right."""
        ref, policy = entry.ref, entry.policy
        before = self._kept_back.pop(ref, "") if self._kept_back else ""
        how, logged = (self._gate, self.config), self._trail is not None
        why = "" if policy is None else refusal(policy, *how, delivered=True, logged=logged)
        if not why:
            return False
        self._kept_back[ref] = why
        if why != before:
            self.counters["withheld"] += 1
            self._happens(entry, REFUSED, why=f"not delivered: {why}")
            self._trace("bundle_withheld", {"ref": ref, "source": entry.source, "why": why})
        return True

    def _join(self, refs: list[int] | None) -> None:
        if refs is not None:
            self._events.append(Reassemble(tuple(refs)))

    def _join_due(self) -> None:
        for refs in self._fragments.retry():
            self._join(refs)

    def _clear(self, opened: Opened, now_ms: int) -> None:
        """A whole has been proven: what else says that it is a part of it, is so or is forged, and
        of no use any more."""
        primary = None if opened.bundle is None else opened.bundle.primary
        if primary is not None and not primary.source.is_null:
            refs = self._fragments.parts_of(primary)
            for ref in refs:
                gone = happens(self._forget(ref, now_ms), GONE, why=WHOLE)
                self._ops.append(Release(ref, event=gone))

    def take(self, neighbour: str, room_bytes: int, limit: int, now_ms: int) -> list[int]:
        """Bundles for a neighbour whose link has room (see `Forwarder.take`)."""
        refs = self.forwarder.take(neighbour, room_bytes, limit, now_ms)
        self._confine(now_ms)
        return refs

    def forwarded(self, refs: Iterable[int], now_ms: int, neighbour: str = "") -> None:
        """A neighbour has these bundles durably: they are done here (§5.4 step 6), but for those
        that go to others too."""
        for ref in refs:
            try:  # as in `committed`
                self._acknowledged(ref, now_ms, neighbour)
            except Exception as error:
                self.fail(ref, error, now_ms)

    def _acknowledged(self, ref: int, now_ms: int, neighbour: str) -> None:
        if ref not in self.entries or (self._void and self._is_void(ref, neighbour, now_ms)):
            return
        self.counters["forwarded"] += 1
        if self.forwarder.forwarded(ref, neighbour):
            self._forwarded(ref, now_ms, neighbour)
        elif (event := self._went(self.entries[ref], FORWARDED, neighbour, now_ms)) is not None:
            self._ops.append(RecordEvent(event))

    def _forwarded(self, ref: int, now_ms: int, neighbour: str = "") -> None:
        entry = self._forget(ref, now_ms)
        if entry is not None:
            event = None
            if entry.told is not None:
                acts = GONE | FORWARDED if neighbour else GONE
                event = self._went(entry, acts, neighbour, now_ms)
            self._ops.append(Release(ref, event=event))
            if entry.note:
                self._report_end(entry, REPORT_FORWARDING, ReportReason.NO_INFORMATION, now_ms)

    def _went(self, entry: Entry, acts: int, neighbour: str, now_ms: int) -> Happened | None:
        """What is written down of a bundle that a neighbour has got, or that is done without."""
        told, trail = entry.told, self._trail
        if told is None or trail is None:
            return None
        if not neighbour:
            return happens(entry, acts)
        return trail.forwarded(told, acts, neighbour, self.forwarder.router.plan, now_ms)

    def echoed(self, ref: int, neighbour: str) -> None:
        """A neighbour has given us a bundle that we hold already, and may rely on our copy now.

        What is under way of it began before: the next node may have been given it by that very
        neighbour, so that both would rely on us.  Its acknowledgement is no reason to let go of
        the bundle; it is sent once more, another way if there is one.

        A fragment for here that another neighbour brings too counts as brought by both.
        """
        entry = self.entries.get(ref)
        if entry is not None and entry.place is Place.FRAGMENT:
            self._join(self._fragments.confirm(ref, neighbour))
        elif entry is not None:
            entry.previous = neighbour
            given_to = self.forwarder.given_to(ref)
            if given_to:
                self._void.setdefault(ref, set()).update(given_to)

    def _is_void(self, ref: int, neighbour: str, now_ms: int) -> bool:
        """Whether an acknowledgement means nothing (see `echoed`); the bundle then goes again."""
        void = self._void.get(ref)
        if void is None or neighbour not in void:
            return False
        void.discard(neighbour)
        if not void:
            del self._void[ref]
        if neighbour in self.forwarder.given_to(ref):
            self.counters["sent_again"] += 1
            self.forwarder.remove(ref, now_ms)
            self._reroute((ref,), now_ms)
        return True

    def set_aside(self, refs: Iterable[int], neighbour: str, now_ms: int) -> None:
        """A neighbour has refused these again and again, and the forwarder has put them aside: they
        go by another neighbour, if there is one and they are not for this one."""
        for ref in refs:
            self.counters["set_aside"] += 1
            entry = self.entries.get(ref)
            if entry is not None and node_and_service(entry.destination)[0] != neighbour:
                self._try(ref, now_ms, self._avoid, entry, neighbour, now_ms)

    def _avoid(self, entry: Entry, neighbour: str, now_ms: int) -> None:
        self.forwarder.remove(entry.ref, now_ms)
        self._dispatch(entry, now_ms, avoid=(neighbour,))

    def contact_ended(self, neighbour: str, now_ms: int) -> None:
        """What was meant for this contact and did not leave finds another way (or the next)."""
        self._reroute(self.forwarder.drain(neighbour, now_ms), now_ms)

    def contact_failed(self, neighbour: str, now_ms: int) -> None:
        """A neighbour does not answer in its contact: what waits for it looks for another way,
        unless there is another link to it that carries something."""
        if not self.links.idle(neighbour):
            return
        self.forwarder.contact_failed(neighbour, now_ms)
        self._reroute(self.forwarder.drain(neighbour, now_ms), now_ms)

    def contact_restored(self, neighbour: str, now_ms: int) -> None:
        """A neighbour is heard again."""
        if self.forwarder.contact_restored(neighbour):
            self._reroute(self.forwarder.drain_all(now_ms), now_ms)

    def contact_discovered(
        self, neighbour: str, rate_bps: float, now_ms: int, until_ms: int, owlt_ns: int = 0
    ) -> None:
        """A contact that no plan foresaw has begun; what waits may find a better way by it.
        Raises `ConfigError` when it makes no sense."""
        self.forwarder.router.contact_discovered(neighbour, rate_bps, now_ms, until_ms, owlt_ns)
        self._reroute(self.forwarder.drain_all(now_ms), now_ms)

    def contact_lost(self, neighbour: str, now_ms: int) -> bool:
        """Such a contact is over; whether there was one."""
        found = self.forwarder.router.contact_lost(neighbour, now_ms)
        if found:
            self._reroute(self.forwarder.drain(neighbour, now_ms), now_ms)
        return found

    def cancel(self, bundle: BundleId, now_ms: int) -> tuple[Cancelled, list[Op]]:
        """Give up a bundle that was made here and has not left yet, or what is left of its parts
        (§5.12), and the operations that let the store forget them.  Of one that goes by a tunnel
        that is what carries it, unless it is critical or goes in parts already."""
        key = whole_key(bundle.source, bundle.creation_ms, bundle.sequence)
        ours = str(bundle.source.node) == self._node  # what carries others' bundles is not theirs
        refs = [entry.ref for entry in self.own.values() if ours and is_of(entry.key, key)]
        under_way = sum(bool(self.forwarder.given_to(ref)) for ref in refs)
        self.counters["cancelled"] += len(refs)
        ops: list[Op] = []
        for ref in refs:
            gone = happens(self.entries.get(ref), GONE, why="given up here")
            ops.append(Release(ref, event=gone))
            reason = ReportReason.TRANSMISSION_CANCELED
            self._end(ref, now_ms, self._give_up, ref, reason, now_ms)
        return Cancelled(len(refs), under_way), ops

    def plan_changed(self, plan: Plan, now_ms: int) -> None:
        """Everything that waits finds its way by another contact plan."""
        refs = self.forwarder.drain_all(now_ms)
        try:
            self.forwarder.set_plan(plan)
        finally:  # whichever is in force now
            self._reroute(refs, now_ms)

    @property
    def stranded(self) -> int:
        """Bundles for which `retry` looks again."""
        return self.forwarder.stranded + self._fragments.due + len(self._postponed)

    def retry(self, now_ms: int) -> None:
        """Look for a way again for what has none, and for room for fragments that had none."""
        postponed, self._postponed = self._postponed, []
        self._reroute([*self.forwarder.drain("", now_ms), *postponed], now_ms)
        self._join_due()

    def _displaced(self, now_ms: int) -> None:
        """Bundles that have lost their room to one of higher priority go another way."""
        displaced, self.forwarder.displaced = self.forwarder.displaced, []
        self.counters["displaced"] += len(displaced)
        self._reroute(displaced, now_ms)

    def _confine(self, now_ms: int) -> None:
        """The forwarder has failed on some bundles while it worked on many."""
        if self.forwarder.troubled:
            troubled, self.forwarder.troubled = self.forwarder.troubled, []
            for ref, error in troubled:
                self.fail(ref, error, now_ms)

    def _reroute(self, refs: Iterable[int], now_ms: int) -> None:
        self._confine(now_ms)
        for ref in refs:
            entry = self.entries.get(ref)
            if entry is not None:
                self._try(ref, now_ms, self._dispatch, entry, now_ms)

    def waiting_bytes(self, neighbour: str) -> int:
        """Octets that wait for a neighbour."""
        return self.forwarder.bytes_for(neighbour)

    def reaches(self, node: str, now_ms: int) -> bool:
        """Whether any chain of links and contacts that are not over leads to a node."""
        return self.forwarder.router.reaches(node, now_ms)

    def expected(
        self,
        node: str,
        octets: Sequence[int],
        now_ms: int,
        unheard: Collection[str],
        policy: DataPolicy | None = None,
    ) -> list[Expected | None]:
        """When so many octets (ascending) from here have arrived there, by the contact plan and
        where their `policy` lets them come, if the neighbours answer from which nothing comes
        (`unheard`)."""
        router = self.forwarder.router
        barred = NOBODY if policy is None else self._barred(policy, node)
        return arrivals(
            router.plan, self._node, node, octets, now_ms, router.config, unheard, barred
        )
