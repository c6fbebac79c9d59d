"""Scenarios: what an engineer writes into a file about stations, satellites, radios and work."""

from stack.simulator.scenario.links import (
    BlackoutConfig,
    CrosslinkConfig,
    DirectionConfig,
    FecSection,
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
from stack.simulator.scenario.reading import load_scenario, parse_scenario
from stack.simulator.scenario.scenario import Scenario
from stack.simulator.scenario.work import FileTask, JobTask, MessageTask, Task, TrafficTask

__all__ = [
    "BlackoutConfig",
    "ConstellationConfig",
    "Craft",
    "CrosslinkConfig",
    "DirectionConfig",
    "FecSection",
    "FileTask",
    "GroundStationConfig",
    "JobTask",
    "MessageTask",
    "PlanningConfig",
    "RadioConfig",
    "SatelliteConfig",
    "Scenario",
    "Task",
    "TerrestrialConfig",
    "TrafficTask",
    "load_scenario",
    "parse_scenario",
]
