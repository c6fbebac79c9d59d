"""What an operator decides about the bundle protocol agent of a node."""

from __future__ import annotations

from dataclasses import dataclass

from stack.core.errors import ConfigError
from stack.core.limits import BUNDLE_BYTES_MAX, LIFETIME_MS_MAX
from stack.wire.bundle import PRIORITY

FRAGMENT_BYTES_MIN = 256
"""A fragment below this is mostly headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """RFC 9171 §5 leaves these open; each default is the cautious choice."""

    trusted_clock: bool = True
    """False: this node does not know the time.  Its bundles carry creation time zero and an age
    block (RFC 9171 §4.2.7), and lifetimes of others are judged by age alone where there is one."""

    hop_limit: int = 32
    """Hop limit of bundles made here (RFC 9171 §4.4.3); 1 to 255.  Too small strands bundles, too
    large lets a routing loop live longer."""

    priority_block: int = PRIORITY
    """Block type in which priority travels (RFC 9171 §9.1: 192 to 255 are for private use).  Ours
    is 192; choose another where a neighbour uses that for something else.  All nodes that honour
    each other's priorities must agree."""

    crc_type: int = 2
    """CRC of the blocks made here (RFC 9171 §4.2.1): 0 none (only the primary block keeps one),
    1 CRC-16, 2 CRC-32C."""

    bundle_bytes_max: int = BUNDLE_BYTES_MAX
    """Octets of the largest bundle accepted; larger ones are refused, not truncated."""

    lifetime_ms_max: int = LIFETIME_MS_MAX
    """Milliseconds: longer lifetimes are cut to this in this node's store (never on the wire)."""

    creation_ahead_ms_max: int = 300_000
    """Milliseconds: bundles made further ahead of this node's clock are refused (and not
    acknowledged), where the clock is trusted.  It is for clocks that differ a little; what is made
    further ahead would have to be remembered for as much longer.  Five minutes is what Kerberos
    allows (RFC 4120)."""

    replay_memory_ms: int = 30 * 86_400_000
    """Milliseconds for which a delivered bundle without creation time (or any, where this node's
    clock is not trusted) stays known: nothing else tells a recorded one from the first.  The store
    needs some 100 octets for each."""

    fragment_bytes: int = 0
    """Bundles larger than this are fragmented before they are sent (RFC 9171 §5.8, proactive);
    0 fragments only on demand, when a contact cannot carry the whole."""

    lenient: bool = False
    """True reads what deployed peers send although RFC 9171 forbids it (see `decode_bundle`)."""

    status_reports: bool = False
    """True answers status report requests of others.  Off by default: RFC 9171 §5.1 warns that
    reports can multiply traffic, and they tell strangers where a bundle went."""

    status_reports_per_s: float = 10.0
    """Reports a second at most, all kinds together; the rest is counted and not sent."""

    critical: bool = True
    """False treats critical bundles of others as expedited ones.  A critical bundle goes over every
    neighbour that has a way (CCSDS 734.3-B-1 §3.2.8.1.4 b), which multiplies what it costs."""

    def __post_init__(self) -> None:
        if not 1 <= self.hop_limit <= 255:
            raise ConfigError("hop_limit", f"{self.hop_limit} is not 1 to 255 (RFC 9171 §4.4.3)")
        if not PRIORITY <= self.priority_block <= 255:
            raise ConfigError(
                "priority_block", f"{self.priority_block} is not 192 to 255 (RFC 9171 §9.1)"
            )
        if self.crc_type not in (0, 1, 2):
            raise ConfigError("crc_type", f"{self.crc_type} is not 0, 1 or 2 (RFC 9171 §4.2.1)")
        if self.fragment_bytes and self.fragment_bytes < FRAGMENT_BYTES_MIN:
            raise ConfigError(
                "fragment_bytes",
                f"{self.fragment_bytes} is too small",
                f"use 0 for never, or at least {FRAGMENT_BYTES_MIN}",
            )
        for key in ("creation_ahead_ms_max", "replay_memory_ms"):
            if getattr(self, key) < 0:
                raise ConfigError(key, "must not be negative")
        if self.status_reports_per_s <= 0:
            raise ConfigError("status_reports_per_s", "must be more than 0")
