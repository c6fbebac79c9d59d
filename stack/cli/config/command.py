"""`orbitferry config`: configuration files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from stack.cli.common import Json
from stack.cli.output import emit, note, say

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
    path: Annotated[Path, typer.Argument(metavar="CONFIG", help="A node's configuration.")],
    as_json: Json = False,
) -> None:
    """Check a node's configuration, its key file and its contact plan, and start nothing.

    Exit code 2 when something is wrong; the error names the line, the key and the remedy.

    \b
    Examples:
      orbitferry config check node.toml
    """
    from stack.node.config import load_config

    config = load_config(path)
    found = _look(config)
    if as_json:
        emit({"path": str(path), "node": config.id, "control": str(config.control_path)} | found)
    else:
        links = ", ".join(f"{link.name} to {link.peer}" for link in config.links) or "no links"
        counts = f"{found['keys']} keys, {found['contacts']} contacts"
        say(f"{path}: fine; {config.id}, {links}, {counts}")


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
