"""Reads scenarios from TOML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stack.core import toml
from stack.core.errors import ConfigError
from stack.simulator.scenario.scenario import Scenario

SCENARIO_BYTES_MAX = 1024 * 1024
"""A scenario larger than this is some other file."""


def load_scenario(path: str | Path) -> Scenario:
    """Read and check a scenario.  Raises `ConfigError` that names file, line, key and remedy."""
    path = Path(path)
    base = path.resolve().parent
    return toml.load(
        path,
        lambda data: parse_scenario(data, base),
        what="a scenario",
        bytes_max=SCENARIO_BYTES_MAX,
    )


def parse_scenario(data: Mapping[str, Any], base: Path) -> Scenario:
    """A scenario from a mapping; `base` is the folder of its relative paths.  Raises
    `ConfigError`."""
    if "base" in data:
        raise ConfigError("base", "is taken from where the scenario lies", "remove this line")
    return toml.convert({**data, "base": str(base)}, Scenario)
