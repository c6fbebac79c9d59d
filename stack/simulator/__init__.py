"""Whole nodes over simulated links in virtual time: a day of passes in seconds.

from stack.simulator import load_scenario, run_scenario

result = run_scenario(load_scenario(Path("examples/sso_day/scenario.toml")))
assert result.ok, result.problems
"""

from stack.simulator.loopback.results import Result
from stack.simulator.run import run_scenario
from stack.simulator.scenario import Scenario, load_scenario, parse_scenario

__all__ = ["Result", "Scenario", "load_scenario", "parse_scenario", "run_scenario"]
