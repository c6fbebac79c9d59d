"""How they are connected: radios to the ground, links between satellites, wires."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from link_models.budget import LinkBudget, OpticalLink, RadioLink, RateTable, preset
from link_models.disturbances.config import Disturbance
from link_models.orbit.crosslink import CrosslinkLimits
from stack.core.checks import check
from stack.core.errors import ConfigError
from stack.engines.ltp import LtpConfig
from stack.fec.config import FecConfig

DISTURBANCES_MAX = 100
"""Most disturbances of one list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FecSection:
    """Erasure coding of one direction (RFC 6363, RFC 6865): `r` of `k` + `r` may be lost."""

    k: int = 64
    """Source packets of a block."""

    r: int = 16
    """Repair packets of a block."""

    interleave: int = 1
    """Blocks filled in turn."""

    def __post_init__(self) -> None:
        FecConfig(k=self.k, r=self.r, interleave=self.interleave)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionConfig:
    """One direction of a link: what it carries, from a `preset`, a budget of its own (`radio` or
    `optical`) or plain `rates`, and what disturbs it."""

    preset: str = ""
    """A ready link budget; `orbitferry budget` lists them with their sources."""

    radio: RadioLink | None = None
    """A radio's own budget; see docs/link-budget.md."""

    optical: OpticalLink | None = None
    """An optical link's own budget; see docs/link-budget.md."""

    rates: tuple[tuple[float, float], ...] = ()
    """Bits per second as (elevation_deg, rate_bps), each from its elevation upward; links between
    satellites use the first."""

    margin_db: float = 3.0
    """With `rates`: the fade that the link survives at those rates.  A budget knows its own."""

    disturbances: tuple[Disturbance, ...] = ()
    """What is lost, late or altered on the way; see docs/link-channel.md for the kinds."""

    fec: FecSection | None = None
    """Erasure coding; both directions have it or neither."""

    queue_bytes: int = 0
    """Octets that may wait for the transmitter; 0: 64 KiB, or 100 ms at the highest rate."""

    coalesce_ms: float = 0.0
    """Datagrams that arrive within this time of each other are delivered together; 0: 5 ms, or
    two datagrams at the highest rate.  Larger is faster to run and less exact."""

    def __post_init__(self) -> None:
        given = (bool(self.preset), self.radio is not None, self.optical is not None)
        check(
            "preset",
            sum((*given, bool(self.rates))) == 1,
            "a direction has one of preset, radio, optical and rates",
            'write preset = "s-band-up"',
        )
        if self.rates:
            self.table()
        check("rates", self.rate_max_bps <= 1e12, "at most 1e12 bits per second")
        check("margin_db", 0 <= self.margin_db <= 100, "0 to 100 dB")
        check("disturbances", len(self.disturbances) <= DISTURBANCES_MAX, "at most 100")
        check("queue_bytes", 0 <= self.queue_bytes <= 1 << 32, "0 to 4 GiB")
        check("coalesce_ms", 0 <= self.coalesce_ms <= 10_000, "0 to 10 000 ms")

    def link(self) -> LinkBudget | None:
        """The budget; None where there are only rates.  Raises `ConfigError`."""
        if self.preset:
            return preset(self.preset).link
        return self.radio or self.optical

    def table(self) -> RateTable:
        """The rates by elevation, where they are given."""
        return RateTable(self.rates)

    @property
    def rate_min_bps(self) -> float:
        """The lowest rate."""
        link = self.link()
        return self.rates[0][1] if link is None else link.waveforms[0].rate_bps

    @property
    def rate_max_bps(self) -> float:
        """The highest rate."""
        link = self.link()
        return self.rates[-1][1] if link is None else link.waveforms[-1].rate_bps


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackoutConfig:
    """Times inside passes in which nothing gets through either way, and nobody was told."""

    per_hour: float = 0.0
    """How often one begins, an hour of pass."""

    mean_s: float = 20.0
    """Mean duration, seconds."""

    shape: Literal["exponential", "fixed", "lognormal"] = "exponential"
    """Distribution of the durations."""

    def __post_init__(self) -> None:
        check("per_hour", 0 <= self.per_hour <= 3600, "0 to 3600")
        check("mean_s", 0 <= self.mean_s <= 86_400, "0 to 86 400 seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioConfig:
    """The links of some pairs of station and satellite."""

    stations: tuple[str, ...] = ()
    """Node ids of the stations; empty means all.  The first radio that fits a pair is used."""

    satellites: tuple[str, ...] = ()
    """Node ids of the satellites, or ids of constellations; empty means all."""

    up: DirectionConfig
    """Station to satellite."""

    down: DirectionConfig
    """Satellite to station."""

    blackouts: BlackoutConfig = field(default_factory=BlackoutConfig)
    """Unannounced interruptions."""

    segment_bytes: int = 1400
    """Octets of an LTP segment; at most 1400 with FEC."""

    band: str = ""
    """A name that jamming may be limited to."""

    def __post_init__(self) -> None:
        _check_engines(self.up, self.down, self.segment_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrosslinkConfig:
    """Links between satellites, alike both ways."""

    among: tuple[str, ...] = ()
    """Node ids, or ids of constellations, in their order; empty means all satellites."""

    topology: Literal["ring", "grid", "all", "pairs"] = "ring"
    """`ring`: each with the next, and the last with the first; `grid`: both neighbours in the
    plane and one in each plane beside (one constellation); `all`: each with each; `pairs`: those
    listed."""

    pairs: tuple[tuple[str, str], ...] = ()
    """For `pairs`: node ids."""

    link: DirectionConfig
    """What it carries, each way."""

    grazing_km: float = 80.0
    """Least height of the line of sight above the Earth: 80 km keeps it out of the air."""

    range_max_km: float = 0.0
    """Greatest distance; 0: as far as the Earth and the budget let."""

    pointing_rate_max_deg_s: float = 0.0
    """Fastest turn that the terminals follow; 0: any."""

    sun_exclusion_deg: float = 0.0
    """Least angle between the line of sight and the Sun, either way; for optical terminals."""

    segment_bytes: int = 1400
    """Octets of an LTP segment; at most 1400 with FEC."""

    band: str = ""
    """A name that jamming may be limited to."""

    def __post_init__(self) -> None:
        check("pairs", bool(self.pairs) == (self.topology == "pairs"), 'go with topology "pairs"')
        _check_engines(self.link, self.link, self.segment_bytes)
        self.limits()

    def limits(self) -> CrosslinkLimits:
        """What a pair must fulfil.  Raises `ConfigError`."""
        return CrosslinkLimits(
            grazing_m=self.grazing_km * 1e3,
            range_max_m=self.range_max_km * 1e3 or math.inf,
            pointing_rate_max_deg_s=self.pointing_rate_max_deg_s or math.inf,
            sun_exclusion_deg=self.sun_exclusion_deg,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TerrestrialConfig:
    """A link on the ground that is always up."""

    between: tuple[str, str]
    """Node ids of two stations."""

    rate_bps: float = 100e6
    """Bits per second, each way."""

    delay_ms: float = 20.0
    """One-way delay."""

    def __post_init__(self) -> None:
        check("rate_bps", 1e3 <= self.rate_bps <= 1e12, "1e3 to 1e12 bits per second")
        check("delay_ms", 0 <= self.delay_ms <= 10_000, "0 to 10 000 ms")


def _check_engines(one: DirectionConfig, other: DirectionConfig, segment_bytes: int) -> None:
    if (one.fec is None) != (other.fec is None):
        raise ConfigError("fec", "one direction has it, the other has not", "give both")
    LtpConfig(local_engine_id=1, remote_engine_id=2, segment_bytes=segment_bytes)
    check("segment_bytes", segment_bytes <= 1400 or one.fec is None, "1400 with FEC")
