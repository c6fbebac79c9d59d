"""A scenario: stations, satellites, links, planning, disturbances and work, checked as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

from msgspec import Meta

from link_models.disturbances.config import Disturbance
from stack.core.bounds import DayS
from stack.core.checks import check, check_bounds, check_node_id, check_unique
from stack.core.clock import dtn_from_iso
from stack.core.errors import ConfigError
from stack.simulator.scenario.links import (
    DISTURBANCES_MAX,
    CrosslinkConfig,
    RadioConfig,
    TerrestrialConfig,
)
from stack.simulator.scenario.nodes import (
    ConstellationConfig,
    Craft,
    GroundStationConfig,
    SatelliteConfig,
)
from stack.simulator.scenario.planning import PlanningConfig
from stack.simulator.scenario.work import (
    TASKS_MAX,
    FileTask,
    JobTask,
    MessageTask,
    Task,
    TrafficTask,
)

T = TypeVar("T")

NODES_MAX = 1200
"""Most stations and satellites together; docs/scale.md says what each costs in a run."""

DURATION_H_MAX = 31 * 24.0
"""Longest run; elements of orbits are worth little after some weeks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that a run is made of; with the seed and the input it determines every octet."""

    title: str
    """Heading of the report."""

    description: str = ""
    """Paragraph below it: where the numbers come from."""

    start: str
    """ISO 8601 time (UTC) of the start."""

    duration_h: Annotated[float, Meta(ge=0.001, le=DURATION_H_MAX)] = 24.0
    """Length of the run, hours."""

    dut1_s: Annotated[float, Meta(ge=-0.9, le=0.9)] = 0.0
    """UT1 - UTC, seconds (IERS Bulletin A); a second of it moves a low pass by up to 60 ms."""

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

    settle_s: DayS = 5.0
    """How long receivers of files wait for chunks that took another way before they ask for what
    is missing (`services.files` of a node).  With terrestrial links, chunks of one file may wait at
    different stations: give it the order of a gap between passes."""

    sample_s: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    """Time between samples of counters within passes, seconds."""

    burst_ms: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    """Datagrams leave and arrive in bursts of up to this long: a large scenario runs many times
    faster with 500, and its times are exact to about that.  0: 20 ms of sending, 5 of arriving."""

    stations: tuple[GroundStationConfig, ...]
    satellites: tuple[SatelliteConfig, ...] = ()
    constellations: tuple[ConstellationConfig, ...] = ()
    radios: tuple[RadioConfig, ...]
    crosslinks: tuple[CrosslinkConfig, ...] = ()
    terrestrial: tuple[TerrestrialConfig, ...] = ()
    planning: PlanningConfig = field(default_factory=PlanningConfig)
    disturbances: tuple[Disturbance, ...] = ()
    """What comes over stations or satellites: outages, clouds, rain fronts, jamming."""

    jobs: tuple[JobTask, ...] = ()
    files: tuple[FileTask, ...] = ()
    messages: tuple[MessageTask, ...] = ()
    traffic: tuple[TrafficTask, ...] = ()
    base: str = ""
    """Folder of relative paths: that of the scenario's file."""

    def __post_init__(self) -> None:
        _start_ms(self.start)
        check_bounds(self)
        check("code", not self.jobs or bool(self.code), "jobs need handlers: name a Python file")
        check("disturbances", len(self.disturbances) <= DISTURBANCES_MAX, "at most 100")
        ids = self.node_ids
        check("stations", len(ids) <= NODES_MAX, f"at most {NODES_MAX} nodes")
        check("satellites", len(ids) > len(self.stations) > 0, "one of each at least")
        for key, one in self._ids():
            check_node_id(key, one)
        check_unique(self._ids())
        self._check_links()
        self._check_tasks(set(ids))

    def _check_links(self) -> None:
        stations = {one.id for one in self.stations}
        groups = {one.id for one in self.constellations}
        satellites = {one.id for one in self.spacecraft()}
        for key, radio in _places("radios", self.radios):
            for one in radio.stations:
                check(f"{key}.stations", one in stations, f"{one} is none of the stations")
            for one in radio.satellites:
                known = one in satellites or one in groups
                check(f"{key}.satellites", known, f"{one} is none of the satellites")
        for key, crosslink in _places("crosslinks", self.crosslinks):
            for one in crosslink.among:
                known = one in satellites or one in groups
                check(f"{key}.among", known, f"{one} is none of the satellites")
            for pair in crosslink.pairs:
                known = satellites.issuperset(pair) and pair[0] != pair[1]
                check(f"{key}.pairs", known, "needs two different satellites")
            if crosslink.topology == "grid":
                one_group = len(crosslink.among) == 1 and crosslink.among[0] in groups
                check(f"{key}.among", one_group, "a grid is of one constellation")
        pairs = [frozenset(link.between) for link in self.terrestrial]
        for key, ground in _places("terrestrial", pairs):
            fits = ground <= stations and len(ground) == 2
            check(f"{key}.between", fits, "needs two different stations")
            check(f"{key}.between", pairs.count(ground) == 1, "a pair is given twice")
        for key, disturbance in _places("disturbances", self.disturbances):
            for one in disturbance.stations:
                check(f"{key}.stations", one in stations, f"{one} is none of the stations")
            for one in disturbance.satellites:
                known = one in satellites
                check(f"{key}.satellites", known, f"{one} is none of the satellites")

    def _check_tasks(self, nodes: set[str]) -> None:
        stations = {one.id for one in self.stations}
        kinds = ("jobs", "files", "messages")
        for kind in kinds:
            tasks: tuple[Task, ...] = getattr(self, kind)
            check(kind, len(tasks) <= TASKS_MAX, f"at most {TASKS_MAX}")
            for key, task in _places(kind, tasks):
                in_time = 0 <= task.at_s < self.duration_h * 3600
                check(f"{key}.at_s", in_time, "lies outside of the run")
                apart = task.source != task.destination
                check(f"{key}.destination", apart, "is the source too")
                for end in ("source", "destination"):
                    one = getattr(task, end)
                    check(f"{key}.{end}", one in nodes, f"{one} is no node here")
        for key, job in _places("jobs", self.jobs):
            goes_up = job.source in stations and job.destination not in stations
            check(f"{key}.source", goes_up, "jobs go from a station to a satellite")
        self._check_traffic()
        check_unique(
            (f"{key}.name", one.name)
            for kind in (*kinds, "traffic")
            for key, one in _places(kind, getattr(self, kind))
        )

    def _check_traffic(self) -> None:
        for key, task in _places("traffic", self.traffic):
            last_s = task.at_s + task.over_s
            in_time = last_s <= self.duration_h * 3600
            check(f"{key}.at_s, over_s", in_time, "it ends after the run")
            sources, destinations = self.group(task.source), self.group(task.destination)
            check(f"{key}.source", bool(sources), f"{task.source} is no node or group here")
            both = bool(destinations) and len({*sources, *destinations}) > 1
            check(f"{key}.destination", both, f"{task.destination} leaves nobody to send to")

    def _ids(self) -> Iterator[tuple[str, str]]:
        """Each node id, and where it stands in the file."""
        for kind in ("stations", "satellites"):
            for key, one in _places(kind, getattr(self, kind)):
                yield f"{key}.id", one.id
        for key, group in _places("constellations", self.constellations):
            for one in group.node_ids():
                yield f"{key}.id", one

    def spacecraft(self) -> list[Craft]:
        """All satellites: single ones first, then the constellations'."""
        single = [
            Craft(one.id, one.terminals, one.sunlit_only, one.weight) for one in self.satellites
        ]
        return single + [
            Craft(node_id, one.terminals, one.sunlit_only, one.weight, one.id)
            for one in self.constellations
            for node_id in one.node_ids()
        ]

    def group(self, name: str) -> list[str]:
        """The nodes that a traffic task means by `stations`, `satellites`, `all`, the id of a
        constellation or of a node; none for anything else."""
        satellites = self.spacecraft()
        groups = {
            "stations": [one.id for one in self.stations],
            "satellites": [one.id for one in satellites],
            "all": self.node_ids,
        }
        members = [one.id for one in satellites if one.constellation == name]
        return groups.get(name) or members or ([name] if name in self.node_ids else [])

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All work but traffic."""
        return self.jobs + self.files + self.messages

    @property
    def node_ids(self) -> list[str]:
        """All nodes: stations first."""
        return [one.id for one in self.stations] + [one.id for one in self.spacecraft()]

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

    def radios_by_pair(self) -> dict[tuple[str, str], RadioConfig]:
        """The radio of each pair of station and satellite that has one: the first that fits."""
        found: dict[tuple[str, str], RadioConfig] = {}
        for station in self.stations:
            for craft in self.spacecraft():
                for radio in self.radios:
                    here = not radio.stations or station.id in radio.stations
                    own = {craft.id, craft.constellation}
                    if here and (not radio.satellites or own & set(radio.satellites)):
                        found[station.id, craft.id] = radio
                        break
        return found


def _places(kind: str, values: Sequence[T]) -> Iterator[tuple[str, T]]:
    """Each entry of a list, and the path of its table in the file."""
    return ((f"{kind}[{index}]", one) for index, one in enumerate(values))


def _start_ms(text: str) -> int:
    try:
        return dtn_from_iso(text)
    except ValueError:
        raise ConfigError("start", f"{text!r} is no time", "2026-10-01T00:00:00Z") from None
