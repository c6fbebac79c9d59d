"""Whole nodes over simulated links in virtual time: a day of passes in seconds.

from stack.simulator import load_scenario, run_scenario

result = run_scenario(load_scenario(Path("examples/sso_day/scenario.toml")))
assert result.ok, result.problems
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stack.simulator.loopback.results import Result as Result
    from stack.simulator.run import run_scenario as run_scenario
    from stack.simulator.scenario import Scenario as Scenario
    from stack.simulator.scenario import load_scenario as load_scenario
    from stack.simulator.scenario import parse_scenario as parse_scenario

_HOMES = {
    "Result": "stack.simulator.loopback.results",
    "Scenario": "stack.simulator.scenario",
    "load_scenario": "stack.simulator.scenario",
    "parse_scenario": "stack.simulator.scenario",
    "run_scenario": "stack.simulator.run",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'stack.simulator' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return list(_HOMES)
