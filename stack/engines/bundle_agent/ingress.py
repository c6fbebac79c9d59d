"""Bundle reception (RFC 9171 §5.6): what may be taken in, and as what."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from stack.audit.event import AuditEvent
from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.engines.bundle_agent.admission import Admission
from stack.engines.bundle_agent.config import AgentConfig
from stack.engines.bundle_agent.entry import node_and_service
from stack.engines.bundle_agent.extensions import Extensions
from stack.engines.bundle_agent.origin import PRIORITY_DEFAULT
from stack.engines.bundle_agent.permission import refusal
from stack.engines.bundle_agent.shares import NOWHERE, OWN, Shares
from stack.policy import DataPolicy, PolicyGate
from stack.policy.label import decode_label, is_label
from stack.ports.application import CRITICAL_PRIORITY
from stack.ports.security import Opened
from stack.ports.store import Place, Put
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    BUNDLE_AGE,
    DATA_POLICY,
    DELETE_UNPROCESSED,
    DISCARD_UNPROCESSED,
    HOP_COUNT,
    IS_FRAGMENT,
    LENIENT,
    PAYLOAD,
    PREVIOUS_NODE,
    REPORT_UNPROCESSED,
    STRICT,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    ReportReason,
    check_bundle,
    decode_bundle,
    decode_primary,
    encode_bundle,
    encrypted_blocks,
    parse_bundle_age,
    parse_hop_count,
    parse_previous_node,
    parse_priority,
)

PLAIN = frozenset({PAYLOAD, BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY})
"""Known types of block that say nothing to be judged here."""


UNPROVEN_MAX = 1024
"""Bundles that did not verify, and are known if they come again."""


class Taken(NamedTuple):
    """A bundle that may be stored."""

    bundle: Bundle
    put: Put
    unprocessed: int
    """Blocks that asked for a report because they could not be processed (§5.6 step 4)."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A bundle that must not be stored."""

    reason: ReportReason
    counter: str
    words: str
    primary: PrimaryBlock | None = None
    """None when not even that could be read."""

    payload_length: int = 0
    unprocessed: int = 0
    """As of `Taken`."""

    intact: bool = True
    """Whether it is a bundle at all, if one that we do not take.  False: its sender keeps it."""

    event: AuditEvent | None = None
    """What is written down of that."""


class Ingress:
    """Checks bundles from outside, whoever sent them."""

    def __init__(
        self,
        config: AgentConfig,
        admission: Admission,
        shares: Shares,
        leads_to: Callable[[str], bool],
        gate: PolicyGate | None = None,
    ) -> None:
        """`leads_to` tells whether any contact leads to a node; `gate` what data policies allow
        here: without one no bundle that has such a policy is taken."""
        self._gate = gate
        self._config = config
        self._admission = admission
        self._neighbours = shares.neighbours
        self._leads_to = leads_to
        self._mode = LENIENT if config.lenient else STRICT
        self._unproven: OrderedDict[bytes, None] = OrderedDict()
        self._known = PLAIN | {PREVIOUS_NODE, BUNDLE_AGE, HOP_COUNT, config.priority_block}
        self._priority_max = CRITICAL_PRIORITY if config.critical else CRITICAL_PRIORITY - 1

    def take(
        self,
        data: Buffer,
        now_ms: int,
        offset: int = 0,
        *,
        previous: str = "",
        trusted: bool = False,
    ) -> tuple[Taken | Refused, int]:
        """Judge the bundle that begins at `offset` of what node `previous` sent, and say where it
        ends.  `trusted`: the priority that it claims is believed.

        Never raises for what it contains.  Where a bundle cannot be read nobody can tell where it
        ends: then the end is that of `data`.
        """
        config = self._config
        size = len(data) - offset
        if size > config.bundle_bytes_max:
            words = f"{size} octets, more than bundle_bytes_max {config.bundle_bytes_max}"
            reason = ReportReason.DEPLETED_STORAGE
            return Refused(reason, "too_large", words, self._primary(data, offset)), len(data)
        try:
            bundle, end = decode_bundle(data, offset=offset, mode=self._mode)
        except DecodeError as error:
            reason, primary = ReportReason.BLOCK_UNINTELLIGIBLE, self._primary(data, offset)
            return Refused(reason, "malformed", str(error), primary, intact=False), len(data)
        try:
            check_bundle(bundle)
        except DecodeError as error:
            return _malformed(bundle, error), end
        total = bundle.primary.total_adu_length or 0
        if total > config.bundle_bytes_max:
            words = f"part of {total} octets, more than bundle_bytes_max {config.bundle_bytes_max}"
            return _refused(bundle, ReportReason.DEPLETED_STORAGE, "too_large", words), end
        wire = memoryview(data)[offset:end]
        judged = self.judge(bundle, wire, now_ms, previous, trusted)
        trail = self._admission.trail
        if trail is not None and isinstance(judged, Refused):
            event = trail.refused(bundle, judged.words, previous, now_ms)
            judged = dataclasses.replace(judged, event=event)
        return judged, end

    def _primary(self, data: Buffer, offset: int) -> PrimaryBlock | None:
        """Whom to tell about a bundle that cannot be read as a whole, if that much is certain.

        A report about a fragment would have to say how long it is, which nobody knows.
        """
        try:
            primary, _ = decode_primary(data, offset + 1, mode=self._mode)
        except DecodeError:
            return None
        return primary if primary.crc_type and not primary.flags & IS_FRAGMENT else None

    def judge(
        self, bundle: Bundle, wire: Buffer, now_ms: int, previous: str, trusted: bool
    ) -> Taken | Refused:
        """Judge a bundle that has been decoded and checked already."""
        primary, config, admission = bundle.primary, self._config, self._admission
        found = Extensions()
        kept: list[CanonicalBlock] = []
        place = admission.place_of(bundle)
        refused = (
            self._extensions(bundle, found, kept)
            or self._limits(bundle, found, place, now_ms)
            or self._permitted(primary, found.policy, place, now_ms)
        )
        if refused is not None:
            return refused
        expires_ms = self._expiry(primary, found.age_ms, now_ms)
        if found.policy and found.policy.expires_ms and config.trusted_clock:
            expires_ms = min(expires_ms, found.policy.expires_ms)
        if expires_ms <= now_ms:
            words = f"lifetime ended {now_ms - expires_ms} ms ago"
            reason = ended(primary, config, expires_ms, now_ms)
            return _refused(bundle, reason, "expired_on_arrival", words, found.unprocessed)
        priority = found.priority
        if place is Place.FORWARD and not trusted and priority > PRIORITY_DEFAULT:
            # The next node may trust us: what is not believed is not passed on.
            kept = [block for block in kept if block.type != config.priority_block]
        renumbered = self._mode is LENIENT and any(block.wire is None for block in bundle.blocks)
        if renumbered or len(kept) != len(bundle.blocks):
            bundle = Bundle(primary, tuple(kept))
            wire = encode_bundle(bundle)
        opened = None
        if place is Place.FORWARD:
            verified = admission.verify(bundle)
            if verified is not None and not verified.ok:
                return unproven(bundle, verified, found.unprocessed)
        elif place is Place.DELIVER:
            opened = admission.open(bundle)
            if opened is not None and not opened.ok:
                # Neither kept nor known: it must not stand in anybody's place.
                if opened.reason == ReportReason.FAILED_SECURITY_OPERATION and self._is_new(bundle):
                    words = f"{opened.failure}: asked for once more"
                    return Refused(ReportReason.NO_INFORMATION, "security", words, intact=False)
                return unproven(bundle, opened, found.unprocessed)
        owner = OWN
        if previous in self._neighbours and not (trusted or opened):
            owner = self._owner(primary, place, previous)
        put = admission.put(
            bundle,
            wire,
            priority if trusted or opened else min(priority, PRIORITY_DEFAULT),
            expires_ms,
            now_ms,
            place=place,
            opened=opened,
            evicts=trusted,
            found=found,
            previous=previous,
            outside=True,
            owner=owner,
        )
        return Taken(bundle, put, found.unprocessed)

    def _is_new(self, bundle: Bundle) -> bool:
        """Whether what does not verify comes for the first time.  What is encrypted has no CRC
        (RFC 9173 §4.8.1), so it may have been damaged since its sender loaded it, who then sends
        something else the next time; what a forger made comes again as it is, and goes."""
        unproven, digest = self._unproven, self._admission.digest(bundle)
        if digest in unproven:
            del unproven[digest]
            return False
        unproven[digest] = None
        if len(unproven) > UNPROVEN_MAX:
            unproven.popitem(last=False)
        return True

    def _permitted(
        self, primary: PrimaryBlock, policy: DataPolicy | None, place: Place, now_ms: int
    ) -> Refused | None:
        """Refuse what must not come to rest here.  Its sender keeps it: there may be a way that is
        allowed."""
        if policy is None:
            return None
        why = refusal(policy, self._gate, now_ms, delivered=place is not Place.FORWARD)
        if not why:
            return None
        words = f"the policy of data from {primary.source}: {why}"
        return Refused(ReportReason.NO_INFORMATION, "not_permitted", words, intact=False)

    def _owner(self, primary: PrimaryBlock, place: Place, previous: str) -> str:
        """To whose share of the store a bundle counts that nobody has proven."""
        if place is not Place.FORWARD or self._leads_to(
            node_and_service(str(primary.destination))[0]
        ):
            return previous
        return NOWHERE

    def _extensions(
        self, bundle: Bundle, found: Extensions, kept: list[CanonicalBlock]
    ) -> Refused | None:
        """Read the blocks that we know, and deal with others as they ask (§5.6 step 4).

        What a BCB has encrypted is kept as it is.
        """
        try:
            encrypted = found.encrypted = encrypted_blocks(bundle.blocks)
            for block in bundle.blocks:
                kind = block.type
                if kind in PLAIN or (block.number in encrypted and kind in self._known):
                    pass
                elif kind == HOP_COUNT:
                    found.hops = parse_hop_count(block)
                elif kind == BUNDLE_AGE:
                    found.age_ms = parse_bundle_age(block)
                elif kind == PREVIOUS_NODE:
                    parse_previous_node(block, strict=self._mode is STRICT)
                elif kind == DATA_POLICY and is_label(block.data):
                    if found.policy is not None:
                        raise DecodeError("a second data policy", "docs/sovereignty.md")
                    found.policy = decode_label(block.data)
                elif not self._priority(block, found):
                    flags = block.flags
                    if flags & REPORT_UNPROCESSED:
                        found.unprocessed += 1
                    if flags & DELETE_UNPROCESSED:
                        words = f"block {block.number} of unknown type {kind} demands deletion"
                        return _refused(
                            bundle,
                            ReportReason.BLOCK_UNSUPPORTED,
                            "unsupported_block",
                            words,
                            found.unprocessed,
                        )
                    if flags & DISCARD_UNPROCESSED:
                        continue
                kept.append(block)
        except DecodeError as error:
            return _malformed(bundle, error, found.unprocessed)
        return None

    def _priority(self, block: CanonicalBlock, found: Extensions) -> bool:
        """Whether a block is our priority block, and not somebody else's of the same type."""
        if block.type != self._config.priority_block:
            return False
        try:
            found.priority = min(parse_priority(block), self._priority_max)
        except DecodeError:
            return False
        return True

    def _limits(
        self, bundle: Bundle, found: Extensions, place: Place, now_ms: int
    ) -> Refused | None:
        """Refuse what has come too far already, or would with the next hop (§4.4.3); what nothing
        would ever end, as nobody here can tell how old it is or how far it came; and what was
        made in the future: it would outlive what is known of it (§4.2.7)."""
        if found.hops is not None:
            limit, count = found.hops
            if count > limit or (count == limit and place is Place.FORWARD):
                words = f"hop count {count} {'at' if count == limit else 'over'} its limit {limit}"
                reason = ReportReason.HOP_LIMIT_EXCEEDED
                return _refused(bundle, reason, "hop_limit_exceeded", words, found.unprocessed)
        elif found.age_ms is None and place is Place.FORWARD and self._endless(bundle, found):
            words = "nobody on its way could read when it ends, nor how far it came"
            reason = ReportReason.BLOCK_UNINTELLIGIBLE
            return _refused(bundle, reason, "endless", words, found.unprocessed)
        primary, config = bundle.primary, self._config
        ahead_ms = primary.creation_ms - now_ms
        if ahead_ms > config.creation_ahead_ms_max and config.trusted_clock:
            # It may be this node's clock that is wrong: so it is not deleted, its sender keeps it.
            words = f"{primary.source} made it {ahead_ms} ms ahead of the clock here"
            words += ": check both clocks"
            return Refused(ReportReason.NO_INFORMATION, "from_the_future", words, intact=False)
        return None

    def _endless(self, bundle: Bundle, found: Extensions) -> bool:
        """Whether nothing would ever end a bundle without age and hop count in clear.

        Without creation time no node on its way could bring its age up to date (§4.4.2, §5.4
        step 4).  With one, nodes that have no clock could send it in a circle; where it has no hop
        count, `depart` begins one, but where that is encrypted there must be no other (§4.4.3).
        """
        if not bundle.primary.creation_ms:
            return True
        return not self._config.trusted_clock and any(
            block.type == HOP_COUNT and block.number in found.encrypted for block in bundle.blocks
        )

    def _expiry(self, primary: PrimaryBlock, age_ms: int | None, now_ms: int) -> int:
        """When a bundle's lifetime ends on this node's clock (§4.2.6, §4.4.2, §5.5)."""
        if age_ms is not None and age_ms >= primary.lifetime_ms:
            return now_ms + primary.lifetime_ms - age_ms  # whatever its creation time says
        lifetime_ms = min(primary.lifetime_ms, self._config.lifetime_ms_max)
        if primary.creation_ms == 0:  # then there is an age block, if one that we may not be able
            return now_ms + lifetime_ms - (age_ms or 0)  # to read: lifetime starts anew here
        if age_ms is not None and not self._config.trusted_clock:
            return now_ms + lifetime_ms - age_ms
        if self._config.trusted_clock:
            return primary.creation_ms + lifetime_ms
        return min(primary.creation_ms, now_ms) + lifetime_ms


def _refused(
    bundle: Bundle, reason: ReportReason, counter: str, words: str, unprocessed: int = 0
) -> Refused:
    length = len(bundle.payload.data)
    return Refused(reason, counter, words, bundle.primary, length, unprocessed)


def _malformed(bundle: Bundle, error: DecodeError, unprocessed: int = 0) -> Refused:
    reason = ReportReason.BLOCK_UNINTELLIGIBLE
    return _refused(bundle, reason, "malformed", str(error), unprocessed)


def unproven(bundle: Bundle, opened: Opened, unprocessed: int = 0) -> Refused:
    """A bundle for here that does not pass security."""
    reason = ReportReason(opened.reason)
    return _refused(bundle, reason, "security", opened.failure, unprocessed)


def ended(primary: PrimaryBlock, config: AgentConfig, expires_ms: int, now_ms: int) -> ReportReason:
    """Why a bundle that had until `expires_ms` here is deleted: its own lifetime has ended, or
    that which we have cut it to (§5.5)."""
    cut_ms = primary.lifetime_ms - config.lifetime_ms_max
    if cut_ms > 0 and expires_ms + cut_ms > now_ms:
        return ReportReason.TRAFFIC_PARED
    return ReportReason.LIFETIME_EXPIRED
