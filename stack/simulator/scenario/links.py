"""How they are connected: radios to the ground, links between satellites, wires."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from link_models.budget import LinkBudget, OpticalLink, RadioLink, RateTable, preset
from link_models.disturbances.config import Disturbance
from link_models.orbit.crosslink import CrosslinkLimits
from link_models.orbit.geometry import Elevation
from stack.core.bounds import DayS, Decibels, RateBps
from stack.core.checks import check, check_bounds
from stack.core.errors import ConfigError
from stack.core.limits import DATAGRAM_BYTES_MAX
from stack.engines.ltp.config import SEGMENT_BYTES_MIN
from stack.fec.config import BLOCKS_MAX, FecConfig
from stack.fec.erasure import SYMBOLS_MAX

DISTURBANCES_MAX = 100
"""Most disturbances of one list."""

SegmentBytes = Annotated[int, Meta(ge=SEGMENT_BYTES_MIN, le=DATAGRAM_BYTES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FecSection:
    """Erasure coding of one direction (RFC 6363, RFC 6865): `r` of `k` + `r` may be lost."""

    k: Annotated[int, Meta(ge=1, le=SYMBOLS_MAX)] = 64
    """Source packets of a block."""

    r: Annotated[int, Meta(ge=0, le=SYMBOLS_MAX)] = 16
    """Repair packets of a block."""

    interleave: Annotated[int, Meta(ge=1, le=BLOCKS_MAX // 2)] = 1
    """Blocks filled in turn."""

    def __post_init__(self) -> None:
        check_bounds(self)
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

    rates: tuple[tuple[Elevation, RateBps], ...] = ()
    """Bits per second as (elevation_deg, rate_bps), each from its elevation upward; links between
    satellites use the first."""

    margin_db: Decibels = 3.0
    """With `rates`: the fade that the link survives at those rates.  A budget knows its own."""

    disturbances: tuple[Disturbance, ...] = ()
    """What is lost, late or altered on the way; see docs/link-channel.md for the kinds."""

    fec: FecSection | None = None
    """Erasure coding; both directions have it or neither."""

    queue_bytes: Annotated[int, Meta(ge=0, le=1 << 32)] = 0
    """Octets that may wait for the transmitter; 0: 64 KiB, or 100 ms at the highest rate."""

    coalesce_ms: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    """Datagrams that arrive within this time of each other are delivered together; 0: 5 ms, or
    two datagrams at the highest rate.  Larger is faster to run and less exact."""

    def __post_init__(self) -> None:
        check_bounds(self)
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
        check("disturbances", len(self.disturbances) <= DISTURBANCES_MAX, "at most 100")

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

    per_hour: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    """How often one begins, an hour of pass."""

    mean_s: DayS = 20.0
    """Mean duration, seconds."""

    shape: Literal["exponential", "fixed", "lognormal"] = "exponential"
    """Distribution of the durations."""

    def __post_init__(self) -> None:
        check_bounds(self)


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

    segment_bytes: SegmentBytes = 1400
    """Octets of an LTP segment; at most 1400 with FEC."""

    band: str = ""
    """A name that jamming may be limited to."""

    def __post_init__(self) -> None:
        check_bounds(self)
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

    grazing_km: Annotated[float, Meta(ge=-10, le=1e5)] = 80.0
    """Least height of the line of sight above the Earth: 80 km keeps it out of the air."""

    range_max_km: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    """Greatest distance; 0: as far as the Earth and the budget let."""

    pointing_rate_max_deg_s: Annotated[float, Meta(ge=0, le=360)] = 0.0
    """Fastest turn that the terminals follow; 0: any."""

    sun_exclusion_deg: Annotated[float, Meta(ge=0, le=179)] = 0.0
    """Least angle between the line of sight and the Sun, either way; for optical terminals."""

    segment_bytes: SegmentBytes = 1400
    """Octets of an LTP segment; at most 1400 with FEC."""

    band: str = ""
    """A name that jamming may be limited to."""

    def __post_init__(self) -> None:
        check_bounds(self)
        check("pairs", bool(self.pairs) == (self.topology == "pairs"), 'go with topology "pairs"')
        _check_engines(self.link, self.link, self.segment_bytes)

    def limits(self) -> CrosslinkLimits:
        """What a pair must fulfil."""
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

    rate_bps: Annotated[float, Meta(ge=1e3, le=1e12)] = 100e6
    """Bits per second, each way."""

    delay_ms: Annotated[float, Meta(ge=0, le=10_000)] = 20.0
    """One-way delay."""

    def __post_init__(self) -> None:
        check_bounds(self)


def _check_engines(one: DirectionConfig, other: DirectionConfig, segment_bytes: int) -> None:
    if (one.fec is None) != (other.fec is None):
        raise ConfigError("fec", "one direction has it, the other has not", "give both")
    check("segment_bytes", segment_bytes <= 1400 or one.fec is None, "1400 with FEC")
