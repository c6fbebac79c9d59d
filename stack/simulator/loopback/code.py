"""The Python file of a scenario: job handlers, and a maker of input."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.core.errors import ConfigError
from stack.services.files.source import walk_folder
from stack.services.jobs import Handler
from stack.simulator.scenario import Scenario

MakeInput = Callable[[Path], None]
"""`make_input(folder)` writes files into an empty folder, the same ones each time."""

INPUT_FILES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Code:
    """What the file of a scenario provides."""

    handlers: Mapping[str, Handler]
    make_input: MakeInput | None


def load_code(scenario: Scenario) -> Code:
    """Run the scenario's Python file.  Raises `ConfigError`."""
    if not scenario.code:
        return Code({}, None)
    path = scenario.path(scenario.code)
    spec = importlib.util.spec_from_file_location(f"orbitferry_scenario_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError("code", f"{path} is no Python file", "check the path")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError("code", f"{path} fails: {type(error).__name__}: {error}") from error
    handlers = getattr(module, "HANDLERS", {})
    if not isinstance(handlers, Mapping):
        raise ConfigError("code", f"HANDLERS in {path} is no mapping", "name: async function")
    for job in scenario.jobs:
        if job.handler not in handlers:
            known = ", ".join(sorted(handlers)) or "nothing"
            raise ConfigError("jobs.handler", f"{job.handler!r} is not in HANDLERS", known)
    return Code(handlers, getattr(module, "make_input", None))


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of the input, and its name as receivers see it."""

    path: Path
    name: str


def collect_input(
    scenario: Scenario, code: Code, given: Path | None, folder: Path
) -> list[InputFile]:
    """The input files, sorted by name: `given`, the scenario's own, or what its code makes in
    `folder`.  Raises `ConfigError`."""
    source = given or (scenario.path(scenario.input) if scenario.input else None)
    if source is None:
        if code.make_input is None:
            return []
        folder.mkdir(parents=True, exist_ok=True)
        code.make_input(folder)
        source = folder
    return list_files(source)


def list_files(source: Path) -> list[InputFile]:
    """A file, or all files of a folder, sorted by name.  Raises `ConfigError`."""
    if source.is_file():
        return [InputFile(source, source.name)]
    if not source.is_dir():
        raise ConfigError("input", f"{source} is neither a file nor a folder", "check the path")
    found = [
        InputFile(Path(path), name) for path, name in walk_folder(str(source), INPUT_FILES_MAX)
    ]
    if not found:
        raise ConfigError("input", f"{source} holds no files")
    return sorted(found, key=lambda one: one.name)
