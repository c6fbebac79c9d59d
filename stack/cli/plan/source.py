"""Where the commands about plans get their plan: a plan in any format, or a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stack.cli.common import time_of
from stack.cli.output import note, tell_doubts
from stack.contacts.plan import FILE_BYTES_MAX
from stack.core.errors import ConfigError

if TYPE_CHECKING:
    from stack.contacts.plan import Contact, Plan
    from stack.simulator.sky import Prediction

Format = Literal["json", "toml", "hdtn", "ion"]

Reference = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="ISO 8601 time that relative times in the file count from. Default: now.",
    ),
]
Kind = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="Format of the file, when its name does not tell."),
]
SourcePath = Annotated[
    Path, typer.Argument(metavar="PLAN", help="A contact plan in any format, or a scenario.")
]

PERIOD_MS_MAX = 400 * 86_400_000
"""A contact that lasts longer is a wire, and says nothing about the period of a plan."""


def load_plan_file(path: Path, reference: str | None, kind: Format | None) -> Plan:
    """A contact plan.  Raises `ConfigError`."""
    from stack.contacts.files import load_plan
    from stack.contacts.passed import PassedOver

    passed = PassedOver()
    plan = load_plan(path, time_of(reference, "--reference"), kind, passed)
    if passed.counts:
        note(f"{path}: passed over: {passed}")
    return plan


def numbers_text(numbers: Mapping[str, int]) -> str:
    """The node numbers that a file for ION or HDTN was written with, for a line about it."""
    listed = ", ".join(f"{node} is {number}" for node, number in numbers.items())
    return f"; node numbers: {listed}" if listed else ""


@dataclass(frozen=True, slots=True)
class Source:
    """A plan, and what a scenario knows beside it."""

    title: str
    plan: Plan
    start_ms: int
    end_ms: int
    antennas: Mapping[str, int] = field(default_factory=dict)
    """Of the stations; empty for a plan file, which does not say who is one."""

    prediction: Prediction | None = None
    """What a scenario's plan was made of."""

    @property
    def stations(self) -> tuple[str, ...]:
        """Node ids of the stations, if they are known."""
        return tuple(self.antennas)

    def check_node(self, key: str, name: str) -> None:
        """Raise `ConfigError` at `key` unless the plan has the node."""
        if name not in self.plan.nodes:
            some = ", ".join(self.plan.nodes[:8]) or "none"
            raise ConfigError(key, f"{name!r} is not in the plan", f"its nodes: {some}")


def load_source(path: Path, reference: str | None = None, kind: Format | None = None) -> Source:
    """A plan file, or a scenario whose plan is made.  Raises `ConfigError`."""
    if kind is None and _is_scenario(path):
        return _from_scenario(path)
    plan = load_plan_file(path, reference, kind)
    if not plan.contacts:
        raise ConfigError(str(path), "has no contacts", "is it the right file?")
    start_ms = plan.contacts[0].start_ms
    return Source(path.name, plan, start_ms, _end_ms(plan.contacts, start_ms))


def _end_ms(contacts: tuple[Contact, ...], start_ms: int) -> int:
    ends = [one.end_ms for one in contacts if one.end_ms - start_ms <= PERIOD_MS_MAX]
    return max(ends, default=max(one.start_ms for one in contacts) + 86_400_000)


def _is_scenario(path: Path) -> bool:
    """Whether a file is TOML with stations; what is wrong in it is found by who reads it."""
    from stack.core import toml

    if path.suffix.lower() != ".toml":
        return False
    try:
        return "stations" in toml.load(path, dict, what="a scenario", bytes_max=FILE_BYTES_MAX)
    except ConfigError:
        return False


def _from_scenario(path: Path) -> Source:
    from stack.simulator.scenario import load_scenario
    from stack.simulator.sky import predict

    scenario = load_scenario(path)
    found = predict(scenario)
    tell_doubts(found.doubts)
    antennas = {one.id: one.antennas for one in scenario.stations}
    return Source(scenario.title, found.plan, scenario.start_ms, scenario.end_ms, antennas, found)
