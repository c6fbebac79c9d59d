"""The life of each stored bundle, from what brings it to its end (RFC 9171 §5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.engines.bundle_agent.begin import SEQUENCE, SPACE
from stack.engines.bundle_agent.blocks import ended, unproven
from stack.engines.bundle_agent.egress import depart
from stack.engines.bundle_agent.entry import Entry, entered, node_and_service, restored
from stack.engines.bundle_agent.events import Echo
from stack.engines.bundle_agent.notes import is_bare, parse_note, unlabelled
from stack.engines.bundle_agent.reception import Receiving
from stack.engines.bundle_agent.trail import CONSUMED, GONE, happens
from stack.ports.application import BundleId, Delivery, Outgoing
from stack.ports.security import Opened
from stack.ports.store import (
    DUPLICATE,
    OVER_SHARE,
    Committed,
    Move,
    Op,
    Place,
    Put,
    RecordEvent,
    Release,
    Stored,
    Write,
)
from stack.wire.bundle import (
    REPORT_DELIVERY,
    Bundle,
    ReportReason,
    encode_bundle,
)

NULL = str(Eid.NONE)


class BundleAgent(Receiving):
    """Decides about bundles; its driver stores, loads, sends and calls back.

    Commands return at once.  Store operations that the agent wants come out of `take_ops`; the
    driver commits them and hands the outcome to `committed`.
    """

    # ---- bundles come from here ------------------------------------------------------------

    def send(self, outgoing: Sequence[Outgoing], now_ms: int) -> tuple[list[BundleId], list[Op]]:
        """Make bundles of our own (§5.2): their ids, and the operations that store them.

        Raises `SecurityError` when policy demands protection that no key gives, `PolicyError` for
        what its own data policy forbids, `LocalError` for a payload larger than `bundle_bytes_max`.
        """
        ids, ops = self._make(outgoing, now_ms)
        self.counters["bundles_made"] += len(ids)
        return ids, ops

    def check_sending(self, outgoing: Outgoing, now_ms: int) -> None:
        """Raise what `send` would for this now, and send nothing."""
        try:
            self._make((outgoing,), now_ms)
        finally:
            self._origin.unreserve()  # what was reserved is not written down

    # ---- the store answers -----------------------------------------------------------------

    def committed(self, ops: Iterable[Op], outcome: Committed, now_ms: int) -> None:
        """The store has done `ops`: new bundles begin their life here, evicted ones end it."""
        refs = iter(outcome.refs)
        for op in ops:
            if type(op) is Release:
                if op.ref in self.entries:
                    try:  # as `_end` does, without the call: this is once for each bundle
                        self._released(op.ref, now_ms)
                    except Exception as error:
                        self._failed(op.ref, error)
                        self._gone(op.ref, now_ms)
                continue
            if type(op) is not Put:
                continue
            ref = next(refs)
            if self._proving and (old := self._proving.pop(op.key, None)) is not None:
                self._try(old, now_ms, self._proved, old, ref > 0 or ref == DUPLICATE, now_ms)
            if ref > 0:
                try:  # as `_try` does, likewise
                    self._entered(ref, op, now_ms)
                except Exception as error:
                    self.fail(ref, error, now_ms)
            elif ref == DUPLICATE:
                self.counters["duplicates"] += 1
                if op.known is None and op.place is not Place.QUARANTINE:
                    self._events.append(Echo(op.key, op.previous))
            else:
                over = ref == OVER_SHARE
                self.counters["dropped_over_share" if over else "dropped_no_room"] += 1
        for ref in outcome.evicted:
            self.counters["evicted"] += 1
            self._end(ref, now_ms, self._deleted, ref, ReportReason.DEPLETED_STORAGE, now_ms)

    def refused(self, ops: Iterable[Op]) -> list[Op]:
        """The store has done nothing of `ops`: those of them that are still to be done, when it
        works again (bundles that have left the agent must leave the store)."""
        owed: list[Op] = []
        for op in ops:
            if type(op) is Release:
                if op.ref not in self.entries:
                    owed.append(op)
            elif type(op) is Put and op.key in self._proving:
                self._postponed.append(self._proving.pop(op.key))
            elif type(op) is Move or type(op) is RecordEvent:
                owed.append(op)
            elif type(op) is Write and op.space == SPACE:
                if op.key == SEQUENCE:
                    self._origin.unreserve()
                else:
                    owed.append(op)
        return owed

    def restore(self, stored: Iterable[Stored], now_ms: int) -> int:
        """After a restart: take up every stored bundle where it was left."""
        count = 0
        for count, old in enumerate(stored, 1):  # noqa: B007 - the count is the result
            self._try(old.ref, now_ms, self._restored, old, now_ms)
        return count

    def policy_changed(self, now_ms: int, take_back: Callable[[str], object]) -> None:
        """Data policies are judged by another directory of nodes: what is held is judged anew, as
        it is by `restore`.  `take_back(neighbour)` has its links give back all that they have."""
        astray = self._astray()
        for neighbour in dict.fromkeys(one for each in astray.values() for one in each):
            take_back(neighbour)
        refs: list[int] = []
        for ref, neighbours in astray.items():
            # What cannot be stopped any more counts for nothing, as at a restart.
            if late := neighbours.intersection(self.forwarder.given_to(ref)):
                self._void.setdefault(ref, set()).update(late)
                self.forwarder.remove(ref, now_ms)
                refs.append(ref)
        refs += self.forwarder.drain_all(now_ms)
        self._reroute([*refs, *self.waiting.drain(), *self._kept_back], now_ms)

    def _astray(self) -> dict[int, set[str]]:
        """Bundles that links have though their neighbours, or those that they are for, may not have
        them, and these neighbours."""
        found: dict[int, set[str]] = {}
        for ref, entry in self.entries.items():
            policy, gate = entry.policy, self._gate
            if policy is None or gate is None or entry.place is not Place.FORWARD:
                continue
            node, _ = node_and_service(entry.destination)
            given = self.forwarder.given_to(ref)
            if given and gate.may_get(policy, node, node):
                given = [one for one in given if not gate.may_get(policy, one, node)]
            if given:
                found[ref] = set(given)
        return found

    def _entered(self, ref: int, put: Put, now_ms: int) -> None:
        self._remember(put.priority, put.key, put.place)
        self._dispatch(entered(ref, put, self._node), now_ms)
        if self._fragments.units and isinstance(put.known, Opened):
            self._clear(put.known, now_ms)

    def _restored(self, old: Stored, now_ms: int) -> None:
        self._remember(old.priority, old.key, old.place)
        told = None if self._trail is None else self._trail.held(old)
        self._dispatch(restored(old, self._node, told), now_ms)

    def expired(self, stored: Iterable[Stored], now_ms: int) -> None:
        """The store has let go of bundles whose lifetime ended (§5.5)."""
        for old in stored:
            self.counters["expired"] += 1
            self._end(old.ref, now_ms, self._expired, old, now_ms)

    def _expired(self, old: Stored, now_ms: int) -> None:
        reason = ReportReason.LIFETIME_EXPIRED
        _, note = unlabelled(old.note)
        if note and old.place is not Place.QUARANTINE and not is_bare(note):
            reason = ended(parse_note(note).primary, self.config, old.expires_ms, now_ms)
        self._give_up(old.ref, reason, now_ms)

    def _released(self, ref: int, now_ms: int) -> None:
        """A bundle has left the store as we asked; an application's is thereby delivered."""
        entry = self._forget(ref, now_ms)
        if entry is None or entry.place not in (Place.DELIVER, Place.DEFER):
            return
        self.counters["delivered"] += 1
        if entry.note:
            self._report_end(entry, REPORT_DELIVERY, ReportReason.NO_INFORMATION, now_ms)

    # ---- forwarding ------------------------------------------------------------------------

    def departing(self, entry: Entry, encoded: Buffer, now_ms: int) -> Buffer:
        """The octets in which a stored bundle goes to the next node (§5.4).  Raises `DecodeError`
        when they are damaged, as far as that shows here."""
        own, config = bool(entry.key), self.config
        if own and config.trusted_clock:
            return encoded
        waited_ms = now_ms - entry.received_ms
        hop_limit = 0 if config.trusted_clock else config.hop_limit
        bundle = self._decode(encoded)
        return encode_bundle(depart(bundle, self.node_id, waited_ms, own=own, hop_limit=hop_limit))

    # ---- delivery --------------------------------------------------------------------------

    def register(self, service: str) -> None:
        """Take bundles for a service of this node from now on."""
        self.services.add(service)

    def open(
        self,
        ref: int,
        encoded: Buffer,
        now_ms: int,
        known: Opened | Bundle | None = None,
        *,
        checked: bool = True,
    ) -> Delivery | None:
        """A delivery with its plain payload, or None when security forbids it (counted).

        `known` is that of the bundle's `Put`, where it is still at hand: most have been opened as
        they came.  Raises `DecodeError` for octets that cannot be read and, when they come from
        memory and are not `checked`, also for those that fail security: a bit may have flipped.
        """
        entry = self.entries[ref]
        if self._withheld(entry):  # it may have been with an application when that changed
            return None
        plain: Bundle | None
        if isinstance(known, Opened):
            plain = known.bundle
        else:
            plain = known or self._decode(encoded)
            opened = self._admission.open(plain)
            if opened is not None and not opened.ok:
                if not checked:
                    raise DecodeError(opened.failure, "RFC 9172 §5.1.1")
                if opened.later and entry.place is Place.DEFER:
                    self._kept_back[ref] = ""
                    return None
                self._unproven(ref, plain, opened, now_ms)
                return None
            if opened is not None and opened.proven and entry.by_content and entry.source != NULL:
                # From now on it is known by its identity: delivered once, whatever copies come.
                put = self._admission.successor(plain, [entry], opened)
                self._proving[put.key] = ref
                self._ops.append(put._replace(required=False))
                return None
            plain = plain if opened is None else opened.bundle
        assert plain is not None
        return entry.delivery(plain)

    def consumed(self, ref: int, now_ms: int) -> Release:
        """The operation by which an application lets go of a delivery.

        With a creation time a bundle that comes again has expired as soon as it is not known any
        more.  Without one it looks as young as it did, and is remembered for longer.
        """
        entry = self.entries.get(ref)
        if entry is None:
            return Release(ref)
        event = None
        if entry.told is not None:
            event = happens(entry, CONSUMED, entry.destination, "delivered")
        if self.config.trusted_clock and not entry.timeless:
            return Release(ref, None, event)
        return Release(ref, max(entry.expires_ms, now_ms + self.config.replay_memory_ms), event)

    def _unproven(self, ref: int, bundle: Bundle, opened: Opened, now_ms: int) -> None:
        """A stored bundle does not pass security any more: it goes, and was never received."""
        entry = self._forget(ref, now_ms)
        gone = happens(entry, GONE, why="it does not pass security")
        self._ops.append(Release(ref, 0, gone))
        self._refused(unproven(bundle, opened), now_ms)
