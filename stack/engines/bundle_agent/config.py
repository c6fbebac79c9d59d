"""What an operator decides about the bundle protocol agent of a node."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from msgspec import Meta

from stack.core.bounds import Octets, OctetsOrNone, YearsMs
from stack.core.checks import check_bounds, check_node_id
from stack.core.errors import ConfigError, DecodeError
from stack.core.limits import BUNDLE_BYTES_MAX, LIFETIME_MS_MAX
from stack.policy.eid_pattern import EidPattern
from stack.wire.bundle import PADDING_BYTES_MIN, PRIORITY

FRAGMENT_BYTES_MIN = 256
"""A fragment below this is mostly headers."""


SIZES = (1024, 4096, 16_384, 65_536, 262_144, 1_048_576)
"""Octets to which encapsulated bundles are padded; larger ones to a multiple of the last."""

SIZES_MAX = 64
TUNNELS_MAX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelConfig:
    """Flows that go to a far gateway within other bundles, and what comes back from there.  Raises
    `ConfigError`."""

    gateway: str
    """Node id of the far end.  What comes from there within bundles that security has proven is
    taken out, and from nobody else."""

    source: str = "*:**"
    """EID pattern of the sources whose bundles go this way (`docs/trust.md`)."""

    destination: str = "*:**"
    """EID pattern of their destinations.  What is for the gateway's own services goes so too, where
    it matches.  Of the tunnels that match the first counts."""

    sizes: tuple[int, ...] = SIZES
    """Octets to which bundles are padded within, ascending; larger ones to a multiple of the last.
    Fewer sizes tell less and cost more."""

    def __post_init__(self) -> None:
        check_node_id("gateway", self.gateway)
        for key, text in (("source", self.source), ("destination", self.destination)):
            try:
                EidPattern.parse(text)
            except DecodeError as error:
                raise ConfigError(key, error.reason, "see docs/trust.md, Rules") from None
        sizes = self.sizes
        if not 0 < len(sizes) <= SIZES_MAX or not 256 <= sizes[0] <= sizes[-1] <= 1 << 26:
            raise ConfigError("sizes", "1 to 64 sizes of 256 to 67108864 octets are asked for")
        if any(one >= other for one, other in pairwise(sizes)):
            raise ConfigError("sizes", "they do not ascend")

    def padded(self, length: int) -> int:
        """Octets to which a bundle of so many is padded."""
        length += PADDING_BYTES_MIN
        for size in self.sizes:
            if length <= size:
                return size
        return -(-length // self.sizes[-1]) * self.sizes[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """RFC 9171 §5 leaves these open; each default is the cautious choice.  Raises `ConfigError` for
    a key out of range."""

    trusted_clock: bool = True
    """False: this node does not know the time.  Its bundles carry creation time zero and an age
    block (RFC 9171 §4.2.7), and lifetimes of others are judged by age alone where there is one."""

    hop_limit: Annotated[int, Meta(ge=1, le=255)] = 32
    """Hop limit of bundles made here (RFC 9171 §4.4.3); 1 to 255.  Too small strands bundles, too
    large lets a routing loop live longer."""

    priority_block: Annotated[int, Meta(ge=PRIORITY, le=255)] = PRIORITY
    """Block type in which priority travels (RFC 9171 §9.1: 192 to 255 are for private use).  Ours
    is 192; choose another where a neighbour uses that for something else.  All nodes that honour
    each other's priorities must agree."""

    crc_type: Annotated[int, Meta(ge=0, le=2)] = 2
    """CRC of the blocks made here (RFC 9171 §4.2.1): 0 none (only the primary block keeps one),
    1 CRC-16, 2 CRC-32C."""

    bundle_bytes_max: Octets = BUNDLE_BYTES_MAX
    """Octets of the largest bundle accepted; larger ones are refused, not truncated."""

    lifetime_ms_max: Annotated[int, Meta(ge=1, le=10**12)] = LIFETIME_MS_MAX
    """Milliseconds: longer lifetimes are cut to this in this node's store (never on the wire)."""

    creation_ahead_ms_max: YearsMs = 300_000
    """Milliseconds: bundles made further ahead of this node's clock are refused (and not
    acknowledged), where the clock is trusted.  It is for clocks that differ a little; what is made
    further ahead would have to be remembered for as much longer.  Five minutes is what Kerberos
    allows (RFC 4120)."""

    replay_memory_ms: YearsMs = 30 * 86_400_000
    """Milliseconds for which a delivered bundle without creation time (or any, where this node's
    clock is not trusted) stays known: nothing else tells a recorded one from the first.  The store
    needs some 100 octets for each."""

    fragment_bytes: OctetsOrNone = 0
    """Bundles larger than this are fragmented before they are sent (RFC 9171 §5.8, proactive);
    0 fragments only on demand, when a contact cannot carry the whole."""

    lenient: bool = False
    """True reads what deployed peers send although RFC 9171 forbids it (see `decode_bundle`)."""

    status_reports: bool = False
    """True answers status report requests of others.  Off by default: RFC 9171 §5.1 warns that
    reports can multiply traffic, and they tell strangers where a bundle went."""

    status_reports_per_s: Annotated[float, Meta(ge=0.001, le=1e6)] = 10.0
    """Reports a second at most, all kinds together; the rest is counted and not sent."""

    critical: bool = True
    """False treats critical bundles of others as expedited ones.  A critical bundle goes over every
    neighbour that has a way (CCSDS 734.3-B-1 §3.2.8.1.4 b), which multiplies what it costs."""

    tunnels: tuple[TunnelConfig, ...] = ()
    """Flows that go to other gateways within other bundles (`docs/trust.md`, Tunnels)."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if len(self.tunnels) > TUNNELS_MAX:
            raise ConfigError("tunnels", f"more than {TUNNELS_MAX}", "join flows by EID patterns")
        if 0 < self.fragment_bytes < FRAGMENT_BYTES_MIN:
            raise ConfigError(
                "fragment_bytes",
                f"{self.fragment_bytes} is too small",
                f"use 0 for never, or at least {FRAGMENT_BYTES_MIN}",
            )
