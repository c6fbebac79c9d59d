"""Who takes part: stations, satellites, constellations."""

from __future__ import annotations

from dataclasses import dataclass

from link_models.orbit.geometry import Station
from stack.core.checks import check

CONSTELLATION_MAX = 1000
"""Most satellites of one constellation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StationConfig:
    """A ground station."""

    id: str
    """Node id, `dtn://name/` or `ipn:N.0`."""

    latitude_deg: float
    """Geodetic latitude (WGS-84), north positive."""

    longitude_deg: float
    """Longitude, east positive."""

    altitude_m: float = 0.0
    """Height above the ellipsoid."""

    mask_deg: float = 5.0
    """Lowest usable elevation."""

    horizon: tuple[tuple[float, float], ...] = ()
    """Obstacles as (azimuth_deg, elevation_deg) with rising azimuths; counts where it is above
    `mask_deg`."""

    antennas: int = 1
    """Satellites that the station can serve at a time.  The planner gives each antenna the passes
    that are worth most; see `planning`."""

    sun_outage_deg: float = 0.0
    """Within this angle of the Sun the receiver hears nothing but the Sun; 0 turns it off.
    Foreseen by the plan.  `link_models.orbit.sun.outage_half_angle_deg` gives it for a dish."""

    site: str = ""
    """Attenuation table of the place: a site that `orbitferry budget` lists; empty: no rain in
    the plan's rates and confidence."""

    owner: str = ""
    """Who operates the station; goes into the contact plan."""

    jurisdiction: str = ""
    """Under whose law the station stands; goes into the contact plan."""

    def __post_init__(self) -> None:
        check("antennas", 1 <= self.antennas <= 1000, "1 to 1000")
        check("sun_outage_deg", 0 <= self.sun_outage_deg <= 30, "0 to 30 degrees")
        self.station()

    def station(self) -> Station:
        """The place.  Raises `ConfigError`."""
        return Station(
            name=self.id,
            latitude_deg=self.latitude_deg,
            longitude_deg=self.longitude_deg,
            altitude_m=self.altitude_m,
            mask_deg=self.mask_deg,
            horizon=self.horizon,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SatelliteConfig:
    """A satellite."""

    id: str
    """Node id."""

    elements: str
    """File of orbital elements (TLE, or OMM as CSV, JSON, XML), relative to the scenario."""

    name: str = ""
    """Which satellite of the file, by its name there; empty: the first."""

    terminals: int = 1
    """Stations that it can serve at a time."""

    sunlit_only: bool = False
    """Transmits to the ground only in sunlight: its batteries carry the computers, not the
    transmitter.  Foreseen by the plan."""

    weight: float = 1.0
    """Worth of its octets when satellites compete for an antenna."""

    def __post_init__(self) -> None:
        check("terminals", 1 <= self.terminals <= 1000, "1 to 1000")
        check("weight", 0 < self.weight <= 1e6, "above 0, at most 1e6")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstellationConfig:
    """Satellites of one kind: a Walker pattern, or all of a file of elements."""

    id: str
    """Node ids with a `{}` for the number, which counts from 1: `dtn://relay{}/`."""

    elements: str = ""
    """File of elements: its satellites in their order.  Empty: a Walker pattern."""

    count: int
    """How many; from a file the first so many."""

    planes: int = 1
    """Orbital planes, evenly spread; `count` is a multiple of it."""

    phasing: int = 0
    """Walker's F: neighbours in adjacent planes are shifted by F x 360 / count degrees."""

    altitude_km: float = 550.0
    """Height above the equatorial radius."""

    inclination_deg: float = 53.0
    """Inclination of all planes."""

    raan_deg: float = 0.0
    """Right ascension of the first plane's ascending node."""

    star: bool = False
    """Planes over 180 degrees (a Walker star, for polar orbits) in place of 360 (a delta)."""

    terminals: int = 1
    """Stations that each satellite can serve at a time."""

    sunlit_only: bool = False
    """As for a satellite."""

    weight: float = 1.0
    """As for a satellite."""

    def __post_init__(self) -> None:
        check("id", self.id.count("{}") == 1, "needs one {} for the number", "dtn://relay{}/")
        check("count", 1 <= self.count <= CONSTELLATION_MAX, f"1 to {CONSTELLATION_MAX}")
        even = bool(self.elements) or (self.planes >= 1 and self.count % self.planes == 0)
        check("planes", even, "must divide the count")
        check("terminals", 1 <= self.terminals <= 1000, "1 to 1000")
        check("weight", 0 < self.weight <= 1e6, "above 0, at most 1e6")

    def node_ids(self) -> list[str]:
        """The node ids of the satellites."""
        return [self.id.replace("{}", str(number)) for number in range(1, self.count + 1)]


@dataclass(frozen=True, slots=True)
class Craft:
    """A satellite of a scenario, whether it stands alone or in a constellation."""

    id: str
    terminals: int
    sunlit_only: bool
    weight: float
    constellation: str = ""
    """The id of its constellation."""
