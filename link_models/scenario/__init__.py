"""Scenarios: what an engineer writes into a file about stations, satellites, radios and work."""

from link_models.scenario.links import (
    BlackoutConfig,
    CrosslinkConfig,
    DirectionConfig,
    FecSection,
    RadioConfig,
    TerrestrialConfig,
)
from link_models.scenario.nodes import ConstellationConfig, Craft, SatelliteConfig, StationConfig
from link_models.scenario.planning import PlanningConfig
from link_models.scenario.reading import load_scenario, parse_scenario
from link_models.scenario.scenario import Scenario
from link_models.scenario.work import FileTask, JobTask, MessageTask, Task, TrafficTask

__all__ = [
    "BlackoutConfig",
    "ConstellationConfig",
    "Craft",
    "CrosslinkConfig",
    "DirectionConfig",
    "FecSection",
    "FileTask",
    "JobTask",
    "MessageTask",
    "PlanningConfig",
    "RadioConfig",
    "SatelliteConfig",
    "Scenario",
    "StationConfig",
    "Task",
    "TerrestrialConfig",
    "TrafficTask",
    "load_scenario",
    "parse_scenario",
]
