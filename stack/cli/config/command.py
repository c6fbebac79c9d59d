"""`orbitferry config`: configuration files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stack.cli.common import Json
from stack.cli.output import answer, note, say
from stack.core.units import count_text

if TYPE_CHECKING:
    from stack.node.config import NodeConfig

HELP = "Check a configuration, or begin with one."


class Subject(StrEnum):
    """What can be configured."""

    NODE = "node"
    EMULATOR = "emulator"
    SCENARIO = "scenario"


SUBJECTS: Final = "node, emulator or scenario."

SubjectArgument = Annotated[Subject, typer.Argument(metavar="SUBJECT", help=SUBJECTS)]


def check(
    path: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="Of a node or emulator, or a scenario.")
    ],
    as_json: Json = False,
) -> None:
    """Check a node's configuration, its key file and its contact plan, and start nothing.

    Emulators and scenarios are checked too: which it is, the file's keys tell.  Exit code 2 when
    something is wrong; the error names the line, the key and the remedy.

    \b
    Examples:
      orbitferry config check node.toml
      orbitferry config check scenario.toml
    """
    kind = _kind_of(path)
    if kind is not Subject.NODE:
        what = "an emulator's" if kind is Subject.EMULATOR else "a scenario"
        note(f"{path}: read as {what}")
    report, text = _CHECKS[kind](path)
    answer({"path": str(path), "kind": kind.value} | report, as_json, f"{path}: fine; {text}")


def _kind_of(path: Path) -> Subject:
    """What a file configures: that of whose keys it has most."""
    from dataclasses import fields

    from stack.cli.emulate.config import EmulateConfig
    from stack.core import toml
    from stack.node.config import CONFIG_BYTES_MAX, NodeConfig
    from stack.simulator.scenario import Scenario

    data = toml.load(path, dict, what="a configuration", bytes_max=CONFIG_BYTES_MAX)
    files = {
        Subject.NODE: NodeConfig,
        Subject.EMULATOR: EmulateConfig,
        Subject.SCENARIO: Scenario,
    }
    return max(files, key=lambda one: len(data.keys() & {key.name for key in fields(files[one])}))


def _check_node(path: Path) -> tuple[dict[str, Any], str]:
    from stack.node.config import load_config

    config = load_config(path)
    found = _look(config)
    links = ", ".join(f"{link.name} to {link.peer}" for link in config.links) or "no links"
    counts = f"{count_text(found['keys'], 'key')}, {count_text(found['contacts'], 'contact')}"
    report = {"node": config.id, "control": str(config.control_path)} | found
    return report, f"{config.id}, {links}, {counts}"


def _check_emulator(path: Path) -> tuple[dict[str, Any], str]:
    from stack.cli.emulate.config import load_emulate_config

    config = load_emulate_config(path)
    config.emulator(config.plan())
    report = {"listen_a": config.listen_a, "listen_b": config.listen_b}
    return report, f"an emulator between {config.listen_a} and {config.listen_b}"


def _check_scenario(path: Path) -> tuple[dict[str, Any], str]:
    from stack.simulator.scenario import load_scenario

    scenario = load_scenario(path)
    stations, satellites = len(scenario.stations), len(scenario.spacecraft())
    report = {"title": scenario.title, "stations": stations, "satellites": satellites}
    counts = f"{count_text(stations, 'station')}, {count_text(satellites, 'satellite')}"
    return report, f"a scenario, {counts}"


_CHECKS: Final = {
    Subject.NODE: _check_node,
    Subject.EMULATOR: _check_emulator,
    Subject.SCENARIO: _check_scenario,
}


def _look(config: NodeConfig) -> dict[str, int]:
    """Read what the configuration names.  Raises `ConfigError`."""
    from stack.adapters.clock import SystemClock
    from stack.contacts.files import load_plan
    from stack.contacts.passed import PassedOver
    from stack.core.clock import dtn_from_iso
    from stack.core.errors import ConfigError
    from stack.node.environment import parse_address
    from stack.security.keys import load_keys

    keys = contacts = 0
    if config.identity.folder:
        from stack.core.sansio import no_trace
        from stack.node.identity import Membership

        member = Membership(config, SystemClock(), no_trace)
        keys = len(member.keys)
        if member.why_not:
            note(f"identity.folder: under data policies it will do nothing: {member.why_not}")
    if config.security.key_file:
        keys = len(load_keys(Path(config.security.key_file)).keys)
    section = config.contacts
    if section.plan:
        try:
            reference = section.reference
            zero = dtn_from_iso(reference) if reference else SystemClock().dtn_ms()
        except ValueError:
            raise ConfigError(
                "contacts.reference", f"{section.reference!r} is no time", "2026-10-01T12:00:00Z"
            ) from None
        passed = PassedOver()
        contacts = len(load_plan(Path(section.plan), zero, passed=passed).contacts)
        if passed.counts:
            note(f"{section.plan}: passed over: {passed}")
    for link in config.links:
        parse_address(f"links.{link.name}.local", link.local)
        if link.remote:
            parse_address(f"links.{link.name}.remote", link.remote)
    return {"keys": keys, "contacts": contacts}


def example(subject: SubjectArgument = Subject.NODE) -> None:
    """Print a commented example to begin with.

    \b
    Examples:
      orbitferry config example > node.toml
      orbitferry config example emulator > link.toml
      orbitferry config example scenario > scenario.toml
    """
    say(example_text(subject).rstrip("\n"))


def example_text(subject: Subject) -> str:
    """The example file of a subject."""
    from importlib.resources import files

    name = f"{subject.value}.toml"
    return (files("stack.cli.data") / name).read_text(encoding="utf-8")


def reference(
    subject: Annotated[Subject | None, typer.Argument(metavar="SUBJECT", help=SUBJECTS)] = None,
) -> None:
    """Print every key with its type, default and reason.

    The output is Markdown.

    \b
    Examples:
      orbitferry config reference | less
      orbitferry config reference emulator
    """
    say("\n".join(reference_text(one) for one in ([subject] if subject else Subject)).rstrip("\n"))


def reference_text(subject: Subject) -> str:
    """The reference of a subject."""
    from stack.cli.config.reference import reference_markdown

    if subject is Subject.SCENARIO:
        from stack.cli.config.scenario import scenario_reference

        return scenario_reference()
    if subject is Subject.EMULATOR:
        from stack.cli.emulate.config import EmulateConfig

        return reference_markdown(
            "Configuration of the link emulator",
            "For `orbitferry emulate CONFIG`, in TOML; begin with "
            "`orbitferry config example emulator`.",
            EmulateConfig,
        )
    from stack.node.config import NodeConfig

    return reference_markdown(
        "Configuration of a node",
        "One TOML file, read by `orbitferry node`; begin with `orbitferry config example`, and "
        "check it with\n`orbitferry config check`.  Relative paths count from the file.",
        NodeConfig,
    )
