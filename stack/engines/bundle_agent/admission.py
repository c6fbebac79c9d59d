"""As what a bundle is stored: why it is held, and what makes another one the same.

An identity (RFC 9171 §4.2.7) proves nothing: whoever has seen one, or guesses it, can put it on
something else.  So a bundle is known by its identity alone only where security has proven it; where
nobody here can tell, by its identity and a digest of its content, and whatever contradicts it is
a bundle of its own beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from stack.audit.event import Act, Happened
from stack.core.eid import Eid
from stack.core.train import Buffer
from stack.engines.bundle_agent.config import AgentConfig
from stack.engines.bundle_agent.content import ContentDigest
from stack.engines.bundle_agent.entry import Entry, node_and_service
from stack.engines.bundle_agent.extensions import Extensions, extensions_of
from stack.engines.bundle_agent.notes import (
    NOTED,
    bare,
    is_returned,
    label_alone,
    labelled,
    note_of,
    unlabelled,
)
from stack.engines.bundle_agent.shares import NOTHING, OWN, Shares
from stack.engines.bundle_agent.trail import AuditTrail, asks, wrapped
from stack.policy.label import label_of
from stack.ports.application import CRITICAL_PRIORITY
from stack.ports.security import Opened, Security
from stack.ports.store import Place, Put
from stack.wire.bundle import (
    IS_FRAGMENT,
    Bundle,
    PrimaryBlock,
    adu_key,
    bundle_key,
    encode_bundle,
)

HOPS_AMPLE = 16
"""More hops than any way that we know of.  Copies of a bundle that may still make so many are the
same to us; one that may make fewer is not the same as one that may make more, or a copy with its
hop count raised would take the place of the bundle and end before its destination."""

AGE_BITS = 3
"""Of what is left of a lifetime that is told by age, the leading bits that count, likewise."""


MADE, RECEIVED, OPENED = int(Act.MADE), int(Act.RECEIVED), int(Act.OPENED)
SEALED = MADE | int(Act.SEALED)


class Admission:
    """Makes the store operation for each bundle."""

    def __init__(
        self,
        node_id: Eid,
        config: AgentConfig,
        security: Security | None,
        secret: bytes,
        shares: Shares,
        trail: AuditTrail | None = None,
    ) -> None:
        self.trail = trail
        self._node = str(node_id)
        self._made = MADE if security is None else SEALED
        self._trusted_clock = config.trusted_clock
        self._security = security
        self._digest = ContentDigest(secret)
        self._shares = shares

    def place_of(self, bundle: Bundle) -> Place:
        """Why a bundle is held: where it has to go decides."""
        primary = bundle.primary
        if node_and_service(str(primary.destination))[0] != self._node:
            return Place.FORWARD
        return Place.FRAGMENT if primary.flags & IS_FRAGMENT else Place.DELIVER

    def open(self, bundle: Bundle) -> Opened | None:
        """What security says of a whole bundle for here; None where it has no say."""
        return None if self._security is None else self._security.open(bundle)

    def verify(self, bundle: Bundle) -> Opened | None:
        """What security says of a bundle that passes through; None where it has no say."""
        return None if self._security is None else self._security.verify(bundle)

    def secure(self, bundle: Bundle) -> Opened | None:
        """What passes through, with what security has this node add; None where it has no say.
        Raises `SecurityError`."""
        return None if self._security is None else self._security.secure(bundle)

    def digest(self, bundle: Bundle) -> bytes:
        """What tells this bundle from all that differ in what stays the same on the way."""
        return self._digest.whole(bundle)

    def put(
        self,
        bundle: Bundle,
        encoded: Buffer,
        priority: int,
        expires_ms: int,
        received_ms: int,
        *,
        place: Place | None = None,
        opened: Opened | None = None,
        required: bool = False,
        evicts: bool = True,
        found: Extensions | None = None,
        previous: str = "",
        outside: bool = False,
        owner: str = OWN,
        acts: int | None = None,
    ) -> Put:
        """Store a bundle.  `outside`: a link brought it, from node `previous`.  `place` is that of
        `place_of`, and `found` what its extension blocks say, where that was asked already.  It
        counts to the share of `owner`.  `acts`: what else is done with it by that (`Act`).

        `opened` is what security has made of it, where it has: it goes along for the
        delivery; with a bundle for elsewhere, or a fragment, goes `previous`."""
        primary = bundle.primary
        flags = primary.flags
        place = self.place_of(bundle) if place is None else place
        key = bundle_key(primary, len(bundle.blocks[-1].data))
        known = (opened or bundle) if place is Place.DELIVER else None
        source, destination = str(primary.source), str(primary.destination)
        ours = node_and_service(source)[0] == self._node
        if place is Place.DELIVER:
            if opened is None or primary.source.is_null:
                key += self._digest.payload(bundle)
        elif outside or not ours or priority >= CRITICAL_PRIORITY or flags & IS_FRAGMENT:
            found = found or extensions_of(bundle)
            key += self._digest.whole(bundle, self._variant(primary, found), found.encrypted)
        returned = outside and ours
        if flags & NOTED or returned:
            brought_by = previous if place is Place.FRAGMENT else ""
            note = note_of(bundle, encoded, returned=returned, neighbour=brought_by, owner=owner)
        else:
            note = bare(owner)
        label = label_of(bundle.blocks) if found is None or found.label is None else found.label
        event, trail = None, self.trail
        if trail is not None and (trail.everything or (label and asks(label))):
            peer = destination if acts is None and not outside else previous
            did = acts if acts is not None else RECEIVED if outside else self._made
            event = trail.came(bundle, source, label, did if opened is None else did | OPENED, peer)
        # Else we have made it ourselves, and nobody else can make one that is known so here: if it
        # comes back, it is one more to us.  Only a critical one must not go every way again.
        return Put(
            key,
            encoded,
            place,
            destination,
            source,
            priority,
            expires_ms,
            received_ms,
            label_alone(label) + note if label else note,
            required,
            evicts,
            known,
            "" if known else previous,
            NOTHING if required or owner == OWN else self._shares.spare(owner, len(encoded)),
            self._whole(primary) if place is Place.FRAGMENT else b"",
            owner,
            event,
        )

    def carrying(
        self, carrier: Put, outer: Bundle, inner: Happened | None, key: bytes = b""
    ) -> Put:
        """Store what carries another bundle through a tunnel, and is known by the `key` of that one
        if it is given: so its note says what it is.  `inner`: what is written down of the other
        one, if anything."""
        label, _ = unlabelled(carrier.note)
        note = note_of(outer, carrier.encoded, carries=True, owner=carrier.owner)
        also: tuple[Happened, ...] = ()
        if inner is not None and carrier.event is not None:
            also = wrapped(inner, carrier.event, carrier.destination)
        return carrier._replace(key=key or carrier.key, note=labelled(note, label), also=also)

    def emptied(self, inner: Put, outer: Bundle, previous: str) -> Put:
        """Store what was within a bundle from `previous`, which ends here by that."""
        event = None if self.trail is None else self.trail.emptied(outer, previous)
        return inner if event is None else inner._replace(also=(*inner.also, event))

    def made(self, bundle: Bundle) -> Happened | None:
        """What is written down of a bundle of our own that is not stored itself."""
        label, primary, trail = label_of(bundle.blocks), bundle.primary, self.trail
        if trail is None or not trail.wants(label):
            return None
        return trail.came(bundle, str(primary.source), label, self._made, str(primary.destination))

    def successor(
        self, bundle: Bundle, entries: Sequence[Entry], opened: Opened | None = None
    ) -> Put:
        """Store a bundle in the place of others, for what is left of their time."""
        return self.put(
            bundle,
            encode_bundle(bundle),
            entries[0].priority,
            min(entry.expires_ms for entry in entries),
            min(entry.received_ms for entry in entries),
            opened=opened,
            required=True,
            outside=any(is_returned(entry.note) for entry in entries),
            owner=OWN if opened else entries[0].owner,
            acts=0,
        )

    def _whole(self, primary: PrimaryBlock) -> bytes:
        """The key by which the whole is known of which this is a part, once it was proven."""
        proves = self._security is not None and not primary.source.is_null
        return adu_key(primary) if proves else b""

    def _variant(self, primary: PrimaryBlock, found: Extensions) -> int:
        """How far a copy can still go, roughly: 0 for as far as anybody may want."""
        hops = HOPS_AMPLE
        left = 0
        if found.hops is not None:
            limit, count = found.hops
            hops = min(hops, max(0, limit - count))
        if found.age_ms is not None and not (primary.creation_ms and self._trusted_clock):
            left_ms = max(0, primary.lifetime_ms - found.age_ms)
            shift = max(0, left_ms.bit_length() - AGE_BITS)
            left = left_ms >> shift | shift + 1 << AGE_BITS
        return left * (HOPS_AMPLE + 1) + HOPS_AMPLE - hops
