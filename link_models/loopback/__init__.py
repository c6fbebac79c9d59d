"""Whole nodes over simulated links in virtual time: a day of passes in seconds.

from link_models.loopback import load_scenario, run_scenario

result = run_scenario(load_scenario(Path("examples/sso_day/scenario.toml")))
assert result.ok, result.problems
"""

from link_models.loopback.results import Result
from link_models.loopback.run import run_scenario
from link_models.scenario import Scenario, load_scenario, parse_scenario

__all__ = ["Result", "Scenario", "load_scenario", "parse_scenario", "run_scenario"]
