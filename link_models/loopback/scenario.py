"""A scenario: stations, satellites, links and work, from one TOML file that is checked whole."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from link_models.budget import RateTable, preset
from stack.core.clock import dtn_from_iso
from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError
from stack.engines.ltp import LtpConfig
from stack.fec.config import FecConfig
from stack.node.config import reject_unknown

SCENARIO_BYTES_MAX = 1024 * 1024
"""A scenario larger than this is some other file."""

NODES_MAX = 64
"""Most stations and satellites together: every pair is a link with two engines in this process."""

TASKS_MAX = 1000
"""Most jobs, files and messages of a run, each."""

DURATION_H_MAX = 31 * 24.0
"""Longest run; elements of orbits are worth little after some weeks."""


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
    """Lowest usable elevation; see `link_models.orbit.geometry.Station`."""

    owner: str = ""
    """Who operates the station; goes into the contact plan."""

    jurisdiction: str = ""
    """Under whose law the station stands; goes into the contact plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SatelliteConfig:
    """A satellite."""

    id: str
    """Node id."""

    elements: str
    """File of orbital elements (TLE, or OMM as CSV, JSON, XML), relative to the scenario."""

    name: str = ""
    """Which satellite of the file, by its name there; empty: the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """How one direction loses datagrams; by default it loses none."""

    good_s: float = 0.0
    """Gilbert-Elliott: mean seconds of the good state; 0 turns the model off."""

    bad_s: float = 0.0
    """Gilbert-Elliott: mean seconds of the bad state."""

    good_loss: float = 0.0
    """Share of datagrams lost in the good state, 0 to 1."""

    bad_loss: float = 1.0
    """Share of datagrams lost in the bad state, 0 to 1."""

    bit_error_rate: float = 0.0
    """Wrong bits after channel decoding; a datagram with any of them is dropped."""

    def __post_init__(self) -> None:
        if (self.good_s > 0) != (self.bad_s > 0):
            raise ConfigError("good_s, bad_s", "one without the other", "give both, or neither")
        for key in ("good_s", "bad_s"):
            _check(key, 0 <= getattr(self, key) < math.inf, "seconds, 0 or more")
        for key in ("good_loss", "bad_loss", "bit_error_rate"):
            _check(key, 0 <= getattr(self, key) <= 1, "a share from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class FecSection:
    """Erasure coding of one direction (RFC 6363, RFC 6865); see `stack.fec.config`."""

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
    """One direction of the links between stations and satellites."""

    preset: str = ""
    """A ready rate table of `link_models.budget`: `s-band-up` or `x-band-down`."""

    rates: tuple[tuple[float, float], ...] = ()
    """Instead of a preset: (elevation_deg, bits per second) from each elevation upward."""

    loss: LossConfig = field(default_factory=LossConfig)
    """What is lost on the way, beside blackouts."""

    fec: FecSection | None = None
    """Erasure coding; both directions have it or neither."""

    queue_bytes: int = 0
    """Octets that may wait for the transmitter; 0: 64 KiB, or 100 ms at the highest rate."""

    coalesce_ms: float = 0.0
    """Datagrams that arrive within this time of each other are delivered together; 0: 5 ms, or
    two datagrams at the highest rate.  Larger is faster to run and less exact."""

    def __post_init__(self) -> None:
        if bool(self.preset) == bool(self.rates):
            raise ConfigError(
                "preset", "a direction has a preset or rates", 'write preset = "s-band-up"'
            )
        table = self.table()
        _check("rates", table.steps[-1][1] <= 1e12, "at most 1e12 bits per second")
        _check("queue_bytes", 0 <= self.queue_bytes <= 1 << 32, "0 to 4 GiB")
        _check("coalesce_ms", 0 <= self.coalesce_ms <= 10_000, "0 to 10 000 ms")

    def table(self) -> RateTable:
        """Rates by elevation.  Raises `ConfigError`."""
        return preset(self.preset) if self.preset else RateTable(self.rates)


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
        _check("per_hour", 0 <= self.per_hour <= 3600, "0 to 3600")
        _check("mean_s", 0 <= self.mean_s <= 86_400, "0 to 86 400 seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioConfig:
    """The links of some pairs of station and satellite."""

    stations: tuple[str, ...] = ()
    """Node ids of the stations; empty means all.  The first radio that fits a pair is used."""

    satellites: tuple[str, ...] = ()
    """Node ids of the satellites; empty means all."""

    up: DirectionConfig
    """Station to satellite."""

    down: DirectionConfig
    """Satellite to station."""

    blackouts: BlackoutConfig = field(default_factory=BlackoutConfig)
    """Unannounced interruptions."""

    segment_bytes: int = 1400
    """Octets of an LTP segment; see `LtpConfig`."""

    def __post_init__(self) -> None:
        if (self.up.fec is None) != (self.down.fec is None):
            raise ConfigError("fec", "one direction has it, the other has not", "give both")
        LtpConfig(local_engine_id=1, remote_engine_id=2, segment_bytes=self.segment_bytes)
        _check("segment_bytes", self.segment_bytes <= 1400 or self.up.fec is None, "1400 with FEC")


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
        _check("rate_bps", 1e3 <= self.rate_bps <= 1e12, "1e3 to 1e12 bits per second")
        _check("delay_ms", 0 <= self.delay_ms <= 10_000, "0 to 10 000 ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTask:
    """A job: a share of the input goes up, its results come down."""

    name: str
    """What reports call it."""

    at_s: float
    """When it is submitted, seconds after the start."""

    source: str
    """Node id of the station that submits it and gets the results."""

    destination: str
    """Node id of the satellite that runs it."""

    handler: str
    """The handler's name in `code`."""

    args: dict[str, str] = field(default_factory=dict)
    """The handler's arguments."""

    part: int = 1
    """Which part of the input files this job takes, 1 to `parts`."""

    parts: int = 1
    """Into how many equal parts the sorted list of input files is cut."""

    files_max: int = 0
    """Take only this many files of the part; 0 takes all."""

    priority: int = 1
    """0 bulk, 1 normal, 2 expedited; for the inputs, and for results without one of their own."""

    def __post_init__(self) -> None:
        _check("parts", 1 <= self.part <= self.parts <= TASKS_MAX, "1 <= part <= parts <= 1000")
        _check("priority", 0 <= self.priority <= 2, "0, 1 or 2")
        _check("files_max", self.files_max >= 0, "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTask:
    """A file or folder to deliver."""

    name: str
    """What reports call it."""

    at_s: float
    """When it is handed over, seconds after the start."""

    source: str
    """Node id of the sender."""

    destination: str
    """Node id of the receiver."""

    path: str = ""
    """File or folder, relative to the scenario; empty: all input files."""

    priority: int = 1
    """0 bulk, 1 normal, 2 expedited."""

    def __post_init__(self) -> None:
        _check("priority", 0 <= self.priority <= 2, "0, 1 or 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTask:
    """A message of one bundle."""

    name: str
    """What reports call it."""

    at_s: float
    """When it is sent, seconds after the start."""

    source: str
    """Node id of the sender."""

    destination: str
    """Node id of the receiver."""

    text: str
    """Its content."""

    priority: int = 2
    """0 bulk, 1 normal, 2 expedited."""

    def __post_init__(self) -> None:
        _check("priority", 0 <= self.priority <= 2, "0, 1 or 2")
        _check("text", 0 < len(self.text) <= 65_536, "1 to 65 536 characters")


Task = JobTask | FileTask | MessageTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that a run is made of; with the seed and the input it determines every octet."""

    title: str
    """Heading of the report."""

    description: str = ""
    """Paragraph below it: where the numbers come from."""

    start: str
    """ISO 8601 time (UTC) of the start."""

    duration_h: float = 24.0
    """Length of the run, hours."""

    seed: int = 1
    """Seed of everything random; the command line may give another."""

    code: str = ""
    """Python file, relative to the scenario, with `HANDLERS` (job handlers by name) and
    `make_input(folder)`, which writes the input files.  It is run: trust it as you would the
    scenario's author."""

    input: str = ""
    """File or folder of input, relative to the scenario, instead of `make_input`."""

    protect: bool = True
    """Encrypt and authenticate every bundle (BPSec)."""

    settle_s: float = 5.0
    """How long receivers of files wait for chunks that took another way before they ask for what
    is missing (see `FilesConfig`).  With terrestrial links, chunks of one file may wait at
    different stations: give it the order of a gap between passes."""

    sample_s: float = 5.0
    """Time between samples of counters within passes, seconds."""

    stations: tuple[StationConfig, ...]
    satellites: tuple[SatelliteConfig, ...]
    radios: tuple[RadioConfig, ...]
    terrestrial: tuple[TerrestrialConfig, ...] = ()
    jobs: tuple[JobTask, ...] = ()
    files: tuple[FileTask, ...] = ()
    messages: tuple[MessageTask, ...] = ()
    base: str = ""
    """Folder of relative paths: that of the scenario's file."""

    def __post_init__(self) -> None:
        _start_ms(self.start)
        _check("duration_h", 0 < self.duration_h <= DURATION_H_MAX, "above 0, at most 744")
        _check("sample_s", 0.1 <= self.sample_s <= 3600, "0.1 to 3600")
        _check("settle_s", 0 <= self.settle_s <= 86_400, "0 to 86 400 seconds")
        _check("code", not self.jobs or bool(self.code), "jobs need handlers: name a Python file")
        ids = self.node_ids
        _check("stations", len(ids) <= NODES_MAX, f"at most {NODES_MAX} nodes")
        _check("satellites", bool(self.satellites) and bool(self.stations), "one of each at least")
        for one in ids:
            _node_id(one)
            _check("id", ids.count(one) == 1, f"{one} is used twice")
        self._check_links()
        self._check_tasks()

    def _check_links(self) -> None:
        stations = {one.id for one in self.stations}
        satellites = {one.id for one in self.satellites}
        for radio in self.radios:
            for one in radio.stations:
                _check("radios.stations", one in stations, f"{one} is none of the stations")
            for one in radio.satellites:
                _check("radios.satellites", one in satellites, f"{one} is none of the satellites")
        pairs = [frozenset(link.between) for link in self.terrestrial]
        for pair in pairs:
            fits = pair <= stations and len(pair) == 2
            _check("terrestrial.between", fits, "needs two different stations")
            _check("terrestrial.between", pairs.count(pair) == 1, "a pair is given twice")

    def _check_tasks(self) -> None:
        stations = {one.id for one in self.stations}
        satellites = {one.id for one in self.satellites}
        for kind in ("jobs", "files", "messages"):
            tasks: tuple[Task, ...] = getattr(self, kind)
            _check(kind, len(tasks) <= TASKS_MAX, f"at most {TASKS_MAX}")
            for task in tasks:
                in_time = 0 <= task.at_s < self.duration_h * 3600
                _check(f"{kind}.at_s", in_time, "lies outside of the run")
                apart = task.source != task.destination
                _check(f"{kind}.destination", apart, "is the source too")
                for one in (task.source, task.destination):
                    _check(f"{kind}.source", one in stations | satellites, f"{one} is no node here")
        for job in self.jobs:
            goes_up = job.source in stations and job.destination in satellites
            _check("jobs.source", goes_up, "jobs go from a station to a satellite")
        names = [task.name for task in self.tasks]
        for name in names:
            _check("name", names.count(name) == 1, f"{name!r} is used twice")

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All work."""
        return self.jobs + self.files + self.messages

    @property
    def node_ids(self) -> list[str]:
        """All nodes: stations first."""
        return [one.id for one in self.stations] + [one.id for one in self.satellites]

    @property
    def start_ms(self) -> int:
        """DTN time of the start."""
        return _start_ms(self.start)

    @property
    def end_ms(self) -> int:
        """DTN time of the end."""
        return self.start_ms + round(self.duration_h * 3_600_000)

    def path(self, text: str) -> Path:
        """A path of the scenario."""
        return Path(self.base) / text

    def radio(self, station: str, satellite: str) -> RadioConfig | None:
        """The radio of a pair, if it has one."""
        for radio in self.radios:
            at_station = not radio.stations or station in radio.stations
            if at_station and (not radio.satellites or satellite in radio.satellites):
                return radio
        return None


def load_scenario(path: Path) -> Scenario:
    """Read and check a scenario.  Raises `ConfigError` that names file, line, key and remedy."""
    try:
        if path.stat().st_size > SCENARIO_BYTES_MAX:
            raise ConfigError(str(path), "too large for a scenario", "is it the right file?")
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), "check the path") from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), "not UTF-8 text", "is it the right file?") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), f"not TOML: {error}") from None
    try:
        return parse_scenario(data, path.resolve().parent)
    except ConfigError as error:
        line = _line_of(text, error.key)
        where = f"{path}:{line}: {error.key}" if line else f"{path}: {error.key}"
        raise ConfigError(where, error.message, error.remedy) from None


def parse_scenario(data: Mapping[str, Any], base: Path) -> Scenario:
    """A scenario from a mapping; `base` is the folder of its relative paths."""
    if "base" in data:
        raise ConfigError("base", "is taken from where the scenario lies", "remove this line")
    reject_unknown(data, Scenario, "")
    try:
        return msgspec.convert({**data, "base": str(base)}, Scenario, strict=True)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        key = where.rstrip("`").lstrip(".")
        cause = error.__cause__
        if isinstance(cause, ConfigError):
            full = f"{key}.{cause.key}" if key else cause.key
            raise ConfigError(full, cause.message, cause.remedy) from None
        raise ConfigError(key or "scenario", message) from None


def _check(key: str, fine: bool, message: str) -> None:
    if not fine:
        raise ConfigError(key, message)


def _node_id(text: str) -> None:
    try:
        eid = Eid.parse(text)
    except DecodeError as error:
        raise ConfigError("id", str(error), 'a node id is "dtn://name/" or "ipn:5.0"') from None
    if eid != eid.node or eid.is_null:
        raise ConfigError("id", f"{text!r} is no node id", f'did you mean "{eid.node}"?')


def _start_ms(text: str) -> int:
    try:
        return dtn_from_iso(text)
    except ValueError:
        raise ConfigError("start", f"{text!r} is no time", "2026-10-01T00:00:00Z") from None


def _line_of(text: str, key: str) -> int:
    """The line where a key such as `jobs[1].part` most likely stands, or 0."""
    parts = key.split(", ")[0].split(".")
    table, _, index = parts[0].partition("[")
    wanted = int(index.rstrip("]")) + 1 if index.rstrip("]").isdecimal() else 0
    seen, near = 0, 0
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith(f"[[{table}]]"):
            seen += 1
            near = number if seen == wanted else near
        name = stripped.split("=")[0].strip()
        if seen == wanted and name.strip("[]").split(".")[-1] == parts[-1].split("[")[0]:
            return number
    return near
