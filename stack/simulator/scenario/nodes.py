"""Who takes part: stations, satellites, constellations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from link_models.orbit.constellation import ALTITUDE_M_MAX
from link_models.orbit.geometry import Altitude, Azimuth, Elevation, Station
from stack.core.bounds import Latitude, Longitude
from stack.core.checks import check, check_bounds

CONSTELLATION_MAX = 1000
"""Most satellites of one constellation."""

Few = Annotated[int, Meta(ge=1, le=1000)]
Weight = Annotated[float, Meta(ge=1e-6, le=1e6)]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundStationConfig:
    """A ground station."""

    id: str
    """Node id, `dtn://name/` or `ipn:N.0`."""

    latitude_deg: Latitude
    """Geodetic latitude (WGS-84), north positive."""

    longitude_deg: Longitude
    """Longitude, east positive."""

    altitude_m: Altitude = 0.0
    """Height above the ellipsoid."""

    mask_deg: Elevation = 5.0
    """Lowest usable elevation."""

    horizon: tuple[tuple[Azimuth, Elevation], ...] = ()
    """Obstacles as (azimuth_deg, elevation_deg) with rising azimuths; counts where it is above
    `mask_deg`."""

    antennas: Few = 1
    """Satellites that the station can serve at a time.  The planner gives each antenna the passes
    that are worth most; see `planning`."""

    sun_outage_deg: Annotated[float, Meta(ge=0, le=30)] = 0.0
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
        check_bounds(self)
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

    terminals: Few = 1
    """Stations that it can serve at a time."""

    sunlit_only: bool = False
    """Transmits to the ground only in sunlight: its batteries carry the computers, not the
    transmitter.  Foreseen by the plan."""

    weight: Weight = 1.0
    """Worth of its octets when satellites compete for an antenna."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstellationConfig:
    """Satellites of one kind: a Walker pattern, or all of a file of elements."""

    id: str
    """Node ids with a `{}` for the number, which counts from 1: `dtn://relay{}/`."""

    elements: str = ""
    """File of elements: its satellites in their order.  Empty: a Walker pattern."""

    count: Annotated[int, Meta(ge=1, le=CONSTELLATION_MAX)]
    """How many; from a file the first so many."""

    planes: Annotated[int, Meta(ge=1, le=CONSTELLATION_MAX)] = 1
    """Orbital planes, evenly spread; `count` is a multiple of it."""

    phasing: Annotated[int, Meta(ge=0, le=CONSTELLATION_MAX)] = 0
    """Walker's F: neighbours in adjacent planes are shifted by F x 360 / count degrees."""

    altitude_km: Annotated[float, Meta(ge=100, le=ALTITUDE_M_MAX / 1e3)] = 550.0
    """Height above the equatorial radius."""

    inclination_deg: Annotated[float, Meta(ge=0, le=180)] = 53.0
    """Inclination of all planes."""

    raan_deg: Annotated[float, Meta(ge=-360, le=360)] = 0.0
    """Right ascension of the first plane's ascending node."""

    star: bool = False
    """Planes over 180 degrees (a Walker star, for polar orbits) in place of 360 (a delta)."""

    terminals: Few = 1
    """Stations that each satellite can serve at a time."""

    sunlit_only: bool = False
    """As for a satellite."""

    weight: Weight = 1.0
    """As for a satellite."""

    def __post_init__(self) -> None:
        check("id", self.id.count("{}") == 1, "needs one {} for the number", "dtn://relay{}/")
        check_bounds(self)
        even = bool(self.elements) or self.count % self.planes == 0
        check("planes, count", even, "planes must divide the count")

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
