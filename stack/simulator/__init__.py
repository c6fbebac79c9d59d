"""Whole nodes over simulated links in virtual time: a day of passes in seconds.

from stack.simulator import load_scenario, run_scenario

result = run_scenario(load_scenario(Path("examples/sso_day/scenario.toml")))
assert result.ok, result.problems
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stack.simulator.loopback.results import Result as Result
    from stack.simulator.run import run_scenario as run_scenario
    from stack.simulator.scenario import Scenario as Scenario
    from stack.simulator.scenario import load_scenario as load_scenario
    from stack.simulator.scenario import parse_scenario as parse_scenario
else:
    from stack import lazily

    __all__, _, __getattr__, __dir__ = lazily(
        __name__,
        """
        stack.simulator.loopback.results Result
        stack.simulator.run run_scenario
        stack.simulator.scenario Scenario load_scenario parse_scenario
        """,
    )
