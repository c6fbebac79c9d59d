"""Bundle reception (RFC 9171 §5.6): what may be taken in, and as what."""

from __future__ import annotations

from dataclasses import dataclass

from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.engines.bundle_agent.config import AgentConfig
from stack.engines.bundle_agent.notes import note_of
from stack.ports.application import CRITICAL_PRIORITY
from stack.ports.store import Place, Put
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    BUNDLE_AGE,
    DELETE_UNPROCESSED,
    DISCARD_UNPROCESSED,
    HOP_COUNT,
    IS_FRAGMENT,
    LENIENT,
    PAYLOAD,
    PREVIOUS_NODE,
    PRIORITY,
    REPORT_UNPROCESSED,
    STRICT,
    Bundle,
    CanonicalBlock,
    ReportReason,
    bundle_key,
    check_bundle,
    decode_bundle,
    encode_bundle,
    parse_bundle_age,
    parse_hop_count,
    parse_priority,
)

KNOWN = frozenset(
    {
        PAYLOAD,
        PREVIOUS_NODE,
        BUNDLE_AGE,
        HOP_COUNT,
        BLOCK_INTEGRITY,
        BLOCK_CONFIDENTIALITY,
        PRIORITY,
    }
)


@dataclass(frozen=True, slots=True)
class Taken:
    """A bundle that may be stored."""

    bundle: Bundle
    wire: Buffer
    put: Put
    unprocessed: bool
    """A block asked for a report because it could not be processed (§5.6 step 4)."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A bundle that must not be stored; `bundle` is None when it could not even be read."""

    bundle: Bundle | None
    reason: ReportReason
    counter: str
    words: str
    intact: bool = True
    """Whether it is a bundle at all, if one that we do not take."""


class Ingress:
    """Checks bundles from outside, whoever sent them."""

    def __init__(self, node_id: Eid, config: AgentConfig) -> None:
        self._node_id = node_id
        self._config = config
        self._mode = LENIENT if config.lenient else STRICT
        self._priority_max = CRITICAL_PRIORITY if config.critical else CRITICAL_PRIORITY - 1

    def take(self, data: Buffer, now_ms: int, offset: int = 0) -> tuple[Taken | Refused, int]:
        """Judge the bundle that begins at `offset`, and say where it ends.

        Never raises for what it contains.  Where a bundle cannot be read nobody can tell where it
        ends: then the end is that of `data`.
        """
        config = self._config
        size = len(data) - offset
        if size > config.bundle_bytes_max:
            words = f"{size} octets, more than bundle_bytes_max {config.bundle_bytes_max}"
            return Refused(None, ReportReason.DEPLETED_STORAGE, "too_large", words), len(data)
        try:
            bundle, end = decode_bundle(data, offset=offset, mode=self._mode)
        except DecodeError as error:
            reason = ReportReason.BLOCK_UNINTELLIGIBLE
            return Refused(None, reason, "malformed", str(error), False), len(data)
        try:
            check_bundle(bundle)
        except DecodeError as error:
            reason = ReportReason.BLOCK_UNINTELLIGIBLE
            return Refused(bundle, reason, "malformed", str(error)), end
        return self.judge(bundle, memoryview(data)[offset:end], now_ms), end

    def judge(self, bundle: Bundle, wire: Buffer, now_ms: int) -> Taken | Refused:
        """Judge a bundle that has been decoded and checked already."""
        try:
            judged = self._extensions(bundle)
        except DecodeError as error:
            return Refused(bundle, ReportReason.BLOCK_UNINTELLIGIBLE, "malformed", str(error))
        if isinstance(judged, Refused):
            return judged
        bundle, changed, unprocessed, age_ms, priority = judged
        expires_ms = self._expiry(bundle, age_ms, now_ms)
        if expires_ms <= now_ms:
            words = f"lifetime ended {now_ms - expires_ms} ms ago"
            return Refused(bundle, ReportReason.LIFETIME_EXPIRED, "expired_on_arrival", words)
        if changed:
            wire = encode_bundle(bundle)
        put = put_for(bundle, wire, self._node_id, priority, expires_ms, now_ms)
        return Taken(bundle, wire, put, unprocessed)

    def _extensions(self, bundle: Bundle) -> tuple[Bundle, bool, bool, int | None, int] | Refused:
        """Hop limit, age, priority, and blocks that we do not know (§5.6 step 4)."""
        kept: list[CanonicalBlock] = []
        unprocessed = False
        age_ms: int | None = None
        priority = 1
        for block in bundle.blocks:
            kind = block.type
            if kind == HOP_COUNT:
                limit, count = parse_hop_count(block)
                if count > limit:
                    words = f"hop count {count} over its limit {limit}"
                    return Refused(
                        bundle, ReportReason.HOP_LIMIT_EXCEEDED, "hop_limit_exceeded", words
                    )
            elif kind == BUNDLE_AGE:
                age_ms = parse_bundle_age(block)
            elif kind == PRIORITY:
                priority = min(parse_priority(block), self._priority_max)
            elif kind not in KNOWN:
                unprocessed = unprocessed or bool(block.flags & REPORT_UNPROCESSED)
                if block.flags & DELETE_UNPROCESSED:
                    words = f"block {block.number} of unknown type {kind} demands deletion"
                    return Refused(
                        bundle, ReportReason.BLOCK_UNSUPPORTED, "unsupported_block", words
                    )
                if block.flags & DISCARD_UNPROCESSED:
                    continue
            kept.append(block)
        changed = len(kept) != len(bundle.blocks)
        if changed:
            bundle = Bundle(bundle.primary, tuple(kept))
        return bundle, changed, unprocessed, age_ms, priority

    def _expiry(self, bundle: Bundle, age_ms: int | None, now_ms: int) -> int:
        """When the bundle's lifetime ends on this node's clock (§4.2.6, §4.4.2, §5.5)."""
        primary = bundle.primary
        lifetime_ms = min(primary.lifetime_ms, self._config.lifetime_ms_max)
        by_age = age_ms is not None and (primary.creation_ms == 0 or not self._config.trusted_clock)
        if by_age and age_ms is not None:
            return now_ms + lifetime_ms - age_ms
        return min(primary.creation_ms, now_ms) + lifetime_ms


def put_for(
    bundle: Bundle,
    wire: Buffer,
    node: Eid,
    priority: int,
    expires_ms: int,
    now_ms: int,
    *,
    required: bool = False,
) -> Put:
    """The store operation for a bundle: where it has to go decides why it is held.

    Its memo is the bundle itself, where a delivery will want it.
    """
    primary = bundle.primary
    if primary.destination.node != node:
        place = Place.FORWARD
    elif primary.flags & IS_FRAGMENT:
        place = Place.FRAGMENT
    else:
        place = Place.DELIVER
    return Put(
        key=bundle_key(primary, len(bundle.payload.data)),
        wire=wire,
        place=place,
        destination=str(primary.destination),
        source=str(primary.source),
        priority=priority,
        expires_ms=expires_ms,
        received_ms=now_ms,
        tag=note_of(bundle, wire),
        required=required,
        memo=bundle if place is Place.DELIVER else None,
    )
