"""Reads scenarios from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from stack.core.errors import ConfigError
from stack.node.config import reject_unknown
from stack.simulator.scenario.scenario import Scenario

SCENARIO_BYTES_MAX = 1024 * 1024
"""A scenario larger than this is some other file."""


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
