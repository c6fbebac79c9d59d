"""Scenarios: what an engineer writes into a file about stations, satellites, radios and work."""

from stack.simulator.scenario.links import BlackoutConfig as BlackoutConfig
from stack.simulator.scenario.links import CrosslinkConfig as CrosslinkConfig
from stack.simulator.scenario.links import DirectionConfig as DirectionConfig
from stack.simulator.scenario.links import FecSection as FecSection
from stack.simulator.scenario.links import RadioConfig as RadioConfig
from stack.simulator.scenario.links import TerrestrialConfig as TerrestrialConfig
from stack.simulator.scenario.nodes import ConstellationConfig as ConstellationConfig
from stack.simulator.scenario.nodes import Craft as Craft
from stack.simulator.scenario.nodes import GroundStationConfig as GroundStationConfig
from stack.simulator.scenario.nodes import SatelliteConfig as SatelliteConfig
from stack.simulator.scenario.planning import PlanningConfig as PlanningConfig
from stack.simulator.scenario.reading import load_scenario as load_scenario
from stack.simulator.scenario.reading import parse_scenario as parse_scenario
from stack.simulator.scenario.scenario import Scenario as Scenario
from stack.simulator.scenario.work import FileTask as FileTask
from stack.simulator.scenario.work import JobTask as JobTask
from stack.simulator.scenario.work import MessageTask as MessageTask
from stack.simulator.scenario.work import Task as Task
from stack.simulator.scenario.work import TrafficTask as TrafficTask
