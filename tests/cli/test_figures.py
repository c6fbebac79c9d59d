"""Figures that the documents show are those that the commands print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.helpers import Cli

ROOT = Path(__file__).parents[2]

TOO_LONG = {"orbitferry plan make examples/relay_ring/scenario.toml --limit 4 --out ring.json"}
"""Commands that take more seconds than a test should: the text says when they were run."""

SHOWN = [
    pytest.param(command, block.splitlines(), id=f"{path.stem}: {' '.join(command.split()[1:4])}")
    for path in sorted((ROOT / "docs").glob("*.md"))
    for command, block in re.findall(
        r"^```text\n\$ (orbitferry [^\n]+)\n(.+?)^```", path.read_text(), re.DOTALL | re.MULTILINE
    )
    if command not in TOO_LONG
]

MATERA = "plan delivery examples/weather_day/scenario.toml dtn://sat1/ dtn://matera/ --size 2GB"

TOLD = [
    pytest.param(begins, commands, id=begins)
    for begins, commands in (
        (
            "The first says that",
            [f"{MATERA} --without dtn://hartebeesthoek/", f"{MATERA} --weather 70%"],
        ),
        ("`examples/one_station` delivers", ["loopback examples/one_station/scenario.toml"]),
    )
]
"""Paragraphs of `docs/how-to-test-a-link.md`, and what they tell the results of."""


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which a command finds the examples, and may write."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)


def figures(text: str) -> set[str]:
    """Every duration, volume and count."""
    return set(re.findall(r"\d+ h \d+ min|\d[\d.,]* (?:[kMGT]?B|ms|min|s)\b|\b\d+\b", text))


@pytest.mark.slow
@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize(("command", "lines"), SHOWN)
def test_what_a_command_prints(cli: Cli, command: str, lines: list[str]) -> None:
    ran = cli(*command.split()[1:])
    assert ran.code == 0, ran.err
    printed = iter([line.rstrip() for line in ran.out.splitlines()])
    for line in lines:
        assert line in ("...", "") or line in printed, f"{line!r} is not what it prints"


@pytest.mark.slow
@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize(("begins", "commands"), TOLD)
def test_what_the_text_tells_of_it(cli: Cli, begins: str, commands: list[str]) -> None:
    text = (ROOT / "docs/how-to-test-a-link.md").read_text()
    (paragraph,) = re.findall(rf"^{re.escape(begins)}.*?\n\n", text, re.DOTALL | re.MULTILINE)
    told = figures(re.sub(r"\s+", " ", paragraph)) - {"0", "3"}  # a probability
    printed = figures(" ".join(cli(*command.split()).out for command in commands))
    assert len(told) > 3
    assert told <= printed, f"not in what the command prints: {told - printed}"
