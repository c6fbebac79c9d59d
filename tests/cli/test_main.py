"""The program as a whole: help, examples, versions, errors, and what it imports."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stack
from stack import models
from stack.cli import main as main_module
from stack.cli.api import _definition, _methods
from stack.cli.documents import (
    MARK,
    api_reference,
    command_reference,
    commands,
    configuration_document,
    models_reference,
    scenario_document,
)
from stack.cli.main import GROUPS, PROGRAM, parser
from stack.node.control.protocol import ControlError
from tests.cli.helpers import ROOT, Cli

DOCS = ROOT / "docs"
COMMANDS = {" ".join(path): command for path, command, _ in commands()}


def examples() -> Iterator[tuple[str, str]]:
    """Every command line that help or documentation shows, with where it is from."""
    for name, command in COMMANDS.items():
        for line in command.help.splitlines():
            if re.match(r"\s+(\w[^|]*\| )?orbitferry ", line):
                yield name, line.strip()
    text = (DOCS / "command-line.md").read_text().partition(MARK)[0]
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("orbitferry "):
                yield "command-line.md", line


def parsed(line: str) -> tuple[str, ...]:
    """Parse a command line as the shell and the program would; the command that it names."""
    words = shlex.split(line.partition(" #")[0])
    words = words[words.index(PROGRAM) + 1 :]
    for stop in ("|", ">"):
        if stop in words:
            words = words[: words.index(stop)]
    command = parser()
    context = command.make_context(PROGRAM, words)
    path: tuple[str, ...] = ()
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        path += (name,)
        context = command.make_context(name, rest, parent=context)
    return path


@pytest.mark.parametrize(("where", "line"), list(examples()))
def test_examples_are_real_commands(where: str, line: str) -> None:
    if "--install-completion" in line:
        return  # eager: parsing it would do it
    path = parsed(line)
    if where in COMMANDS:
        assert " ".join((PROGRAM, *path)) == where, "the example is of another command"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_examples_exit_codes_and_json(name: str) -> None:
    command = COMMANDS[name]
    assert "Examples:" in command.help
    assert "Exit codes:" in command.epilog
    options = {option for param in command.params for option in param.opts}
    if name not in ("orbitferry config example", "orbitferry config reference"):
        assert "--json" in options
    for param in command.params:
        assert getattr(param, "help", None), f"{param.name} is not explained"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal(cli: Cli, name: str) -> None:
    ran = cli(*name.split()[1:], "--help")
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 100


def test_documents_are_up_to_date() -> None:
    remedy = "run: python -m stack.cli.documents docs"
    assert (DOCS / "configuration.md").read_text() == configuration_document(), remedy
    assert (DOCS / "scenario.md").read_text() == scenario_document(), remedy
    assert (DOCS / "api.md").read_text() == api_reference(), remedy
    assert (DOCS / "api-models.md").read_text() == models_reference(), remedy
    generated = (DOCS / "command-line.md").read_text().partition(MARK)[2]
    assert generated == "\n" + command_reference(), remedy


def test_every_public_name_is_explained() -> None:
    homes = {name: vars(one)["home_of"](name) for one in (stack, models) for name in dir(one)}
    for name, home in homes.items():
        node, text = _definition(name, home)
        assert text, name
        if isinstance(node, ast.ClassDef):
            for method in _methods(node):
                assert ast.get_docstring(method), f"{name}.{method.name}"


def test_version(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"1.2.3-{name}")
    ran = cli("--version")
    assert (ran.code, ran.out) == (0, "orbitferry 1.2.3-orbitferry\n")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["sedn"], ["No such command 'sedn'", "send"]),
        (["send"], ["DESTINATION", "orbitferry send --help"]),
        (["ping", "dtn://a/", "--count", "0"], ["--count"]),
        (["ping", "dtn://a/", "--timeout", "soon"], ["soon", "90s"]),
        (["ping", "dtn://a/", "--size", "big"], ["big", "64k"]),
        (["status", "--colour"], ["--colour"]),
        (["keys", "new"], ["FILE"]),
        (["swarm", "0"], ["'N'", "must be 1 or more"]),
        (["plan", "delivery", "x", "y", "z", "--least", "2"], ["must be 1 or less"]),
        (["swarm", "many"], ["must be a whole number"]),
        (["plan", "show", "x", "--format", "xml"], ["xml", "hdtn"]),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(
    cli: Cli, arguments: list[str], parts: list[str]
) -> None:
    ran = cli(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    for part in parts:
        assert part in ran.err


def test_a_group_alone_shows_its_help(cli: Cli) -> None:
    ran = cli("keys")
    assert ran.code == 2
    assert "Usage: orbitferry keys" in ran.err


@pytest.mark.parametrize(
    ("error", "code", "parts"),
    [
        (ControlError("refused", "gone", "come back"), 1, ["gone", "come back"]),
        (ControlError("timeout", "late"), 3, ["late"]),
        (FileNotFoundError(2, "No such file or directory", "/x"), 1, ["/x", "No such file"]),
        (RuntimeError("bug"), 1, ["internal error", "RuntimeError", "ORBITFERRY_DEBUG"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
    ],
)
def test_errors_become_one_line(
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    parts: list[str],
) -> None:
    def failing(as_json: bool = False) -> None:
        raise error

    monkeypatch.setattr(main_module, "COMMANDS", (("status", failing),))
    monkeypatch.setattr(main_module, "parser", parser.__wrapped__)
    ran = cli("status")
    assert ran.code == code
    assert ran.err.count("\n") == 1
    for part in parts:
        assert part in ran.err


def test_errors_are_json_too(cli: Cli, tmp_path: Path) -> None:
    ran = cli("status", "--node", tmp_path, "--json")
    assert ran.code == 4
    (line,) = ran.json
    assert line["error"]["kind"] == "not_running"
    assert "orbitferry node" in line["error"]["remedy"]


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from stack.cli.main import main; main(['send', '--help']);"
        "heavy = {'numpy', 'rich', 'msgspec', 'asyncio', 'cbor2', 'cryptography', 'uvloop',"
        " 'matplotlib', 'hypothesis', 'sgp4'} & set(sys.modules);"
        "sys.exit(f'imported for a help text: {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_completion_is_offered() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stack.cli.main"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={
            "_ORBITFERRY_COMPLETE": "complete_bash",
            "COMP_WORDS": "orbitferry pi",
            "COMP_CWORD": "1",
            "PATH": "/usr/bin:/bin",
        },
    )
    assert done.stdout.split() == ["ping"]


def test_lists_of_commands_are_not_cut_short(cli: Cli) -> None:
    for group in ((), *((name,) for name, _, _ in GROUPS)):
        text = cli(*group, "--help").out
        listed = text[text.index("Commands:") : text.index("Exit codes:")]
        assert "..." not in listed


def test_defaults_carry_units() -> None:
    """Every default that is a number of something: no bare `5.0`."""
    for path, command, _ in commands():
        for option in command.params:
            if isinstance(option.default, float) and option.name != "least":  # a probability
                assert not str(option.default).replace(".", "").isdecimal(), (path, option.name)
