"""What the blocks of a bundle say that comes in, and what follows (RFC 9171 §4.4, §5.6)."""

from __future__ import annotations

from dataclasses import dataclass

from stack.audit.event import Happened
from stack.core.errors import DecodeError
from stack.engines.bundle_agent.config import AgentConfig
from stack.engines.bundle_agent.extensions import Extensions
from stack.policy import DataPolicy
from stack.policy.label import LABEL_FLAGS, decode_label, is_label, policy_of
from stack.ports.application import CRITICAL_PRIORITY
from stack.ports.security import Opened
from stack.ports.store import Place
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    BUNDLE_AGE,
    DATA_POLICY,
    DELETE_UNPROCESSED,
    DISCARD_UNPROCESSED,
    HOP_COUNT,
    LENIENT,
    PAYLOAD,
    PREVIOUS_NODE,
    REPORT_UNPROCESSED,
    STRICT,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    ReportReason,
    encrypted_blocks,
    parse_bundle_age,
    parse_hop_count,
    parse_previous_node,
    parse_priority,
)

UNINTELLIGIBLE = ReportReason.BLOCK_UNINTELLIGIBLE
PLAIN = frozenset({PAYLOAD, BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY})
"""Known types of block that say nothing to be judged here."""


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

    once: bool = False
    """As of `Reception`."""

    name: str = ""
    """The bundle in the words of logs for people, where it could be read (`name_of`)."""

    event: Happened | None = None
    """What is written down of that."""

    policy: DataPolicy | None = None
    """Its data policy, which holds for what is said of it."""


class BlockReader:
    """Reads the blocks that this node knows, and judges what they say."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._mode = LENIENT if config.lenient else STRICT
        self._known = PLAIN | {PREVIOUS_NODE, BUNDLE_AGE, HOP_COUNT, config.priority_block}
        self._priority_max = CRITICAL_PRIORITY if config.critical else CRITICAL_PRIORITY - 1
        self._label: bytes | None = None
        """That of the last bundle which had any: a flow's bundles share these octets."""

        self._policy: DataPolicy | None = None
        """What it says."""

    def extensions(
        self, bundle: Bundle, found: Extensions, kept: list[CanonicalBlock]
    ) -> Refused | None:
        """Read the blocks that we know, and deal with others as they ask (§5.6 step 4).

        What a BCB has encrypted is kept as it is.
        """
        found.label = b""
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
                elif kind == DATA_POLICY and (block.data is self._label or is_label(block.data)):
                    if found.policy is not None:
                        raise DecodeError("a second data policy", "docs/sovereignty.md")
                    if block.flags & LABEL_FLAGS != LABEL_FLAGS:
                        words = "a data policy that may get lost on the way by its flags"
                        raise DecodeError(words, "docs/sovereignty.md")
                    if block.data is not self._label:
                        try:
                            self._policy = decode_label(block.data)
                        except DecodeError as error:  # nobody can tell who may hear of it
                            return Refused(UNINTELLIGIBLE, "malformed", str(error))
                        self._label = bytes(block.data)
                    found.label, found.policy = self._label, self._policy
                elif not self._priority(block, found):
                    flags = block.flags
                    if flags & REPORT_UNPROCESSED:
                        found.unprocessed += 1
                    if flags & DELETE_UNPROCESSED:
                        words = f"block {block.number} of unknown type {kind} demands deletion"
                        return refused(
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
            return malformed(bundle, error, found.unprocessed)
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

    def limits(
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
                return refused(bundle, reason, "hop_limit_exceeded", words, found.unprocessed)
        elif found.age_ms is None and place is Place.FORWARD and self._endless(bundle, found):
            words = "nobody on its way could read when it ends, nor how far it came"
            return refused(bundle, UNINTELLIGIBLE, "endless", words, found.unprocessed)
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

    def expiry(self, primary: PrimaryBlock, age_ms: int | None, now_ms: int) -> int:
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


def refused(
    bundle: Bundle, reason: ReportReason, counter: str, words: str, unprocessed: int = 0
) -> Refused:
    """A bundle that has been read and must not be stored."""
    length, primary = len(bundle.payload.data), bundle.primary
    try:
        policy = policy_of(bundle.blocks)
    except DecodeError:  # nobody can tell who may hear of it
        return Refused(reason, counter, words)
    return Refused(reason, counter, words, primary, length, unprocessed, policy=policy)


def malformed(bundle: Bundle, error: DecodeError, unprocessed: int = 0) -> Refused:
    """A bundle whose content is not what a specification allows."""
    return refused(bundle, UNINTELLIGIBLE, "malformed", str(error), unprocessed)


def unproven(bundle: Bundle, opened: Opened, unprocessed: int = 0) -> Refused:
    """A bundle for here that does not pass security."""
    reason = ReportReason(opened.reason)
    return refused(bundle, reason, "security", opened.failure, unprocessed)


def ended(primary: PrimaryBlock, config: AgentConfig, expires_ms: int, now_ms: int) -> ReportReason:
    """Why a bundle that had until `expires_ms` here is deleted: its own lifetime has ended, or
    that which we have cut it to (§5.5)."""
    cut_ms = primary.lifetime_ms - config.lifetime_ms_max
    if cut_ms > 0 and expires_ms + cut_ms > now_ms:
        return ReportReason.TRAFFIC_PARED
    return ReportReason.LIFETIME_EXPIRED
