"""What a satellite runs needs no extra; what does says which, and how to get it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from stack.core.extras import EXTRAS

ROOT = Path(__file__).parents[2]
SCENARIO = "examples/one_station/scenario.toml"

HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Hidden())
"""


def without(names: set[str], script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process in which these packages are not installed."""
    return subprocess.run(
        [sys.executable, "-c", HIDE.format(names=names) + script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )


def requirement(text: str) -> str:
    """The name under which it is imported."""
    return re.split(r"[^a-z0-9-]", text)[0].removeprefix("python-")


def test_the_table_is_that_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    brings = {requirement(one): name for name in extras for one in extras[name] if name != "dev"}
    del brings["orbitferry"]  # `all`
    assert brings == {name: extra for name, extra in EXTRAS.items() if name != "mpl_toolkits"}
    needed = {requirement(one) for one in project["dependencies"]}
    assert not needed & EXTRAS.keys()
    assert extras["all"] == [f"orbitferry[{','.join(dict.fromkeys(EXTRAS.values()))}]"]


@pytest.mark.slow
def test_a_node_needs_no_extra() -> None:
    done = without(
        set(EXTRAS) | {"cbor2"},
        "import orbitferry, stack.cli.main\n"
        "simulation = ('cenario', 'redict')\n"
        "for name in dir(orbitferry):\n"
        "    any(part in name for part in simulation) or getattr(orbitferry, name)",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "script"),
    [
        (
            {"pkcs11"},
            "from stack.identity.token import OpenToken, TokenUri\n"
            "OpenToken(TokenUri('/x', 'a'), b'pin')",
        ),
        ({"sgp4"}, "from orbitferry import run_scenario"),
        ({"hypothesis"}, "from interop.strategies.bundle import eids"),
        ({"hypothesis"}, "from interop.fuzzing import Campaign"),
        ({"sgp4"}, "import orbitferry; orbitferry.load_scenario"),
        (
            {"matplotlib"},
            "from orbitferry import load_scenario, run_scenario\n"
            f"run_scenario(load_scenario('{SCENARIO}'), report_dir='out/never')",
        ),
    ],
)
def test_a_library_call_names_the_extra(names: set[str], script: str) -> None:
    done = without(names, script)
    assert done.returncode == 1
    (name,) = names
    assert done.stderr.splitlines()[-1] == (
        "stack.core.errors.MissingExtraError: "
        f"{name} is not installed (pip install 'orbitferry[{EXTRAS[name]}]')"
    )
    assert not (ROOT / "out/never").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "arguments"),
    [
        ({"sgp4"}, ["loopback", SCENARIO]),
        ({"sgp4"}, ["plan", "schedule", SCENARIO]),
        ({"matplotlib"}, ["loopback", SCENARIO, "--report", "out/never"]),
        ({"matplotlib"}, ["plan", "report", SCENARIO, "--out", "out/never"]),
    ],
)
def test_a_command_names_the_extra(names: set[str], arguments: list[str]) -> None:
    done = without(names, f"from stack.cli.main import main; sys.exit(main({arguments!r}))")
    assert done.returncode == 1
    (name,) = names
    assert done.stderr.splitlines()[-1] == (
        f"orbitferry: {name} is not installed; pip install 'orbitferry[sim]'"
    )


def test_another_import_that_fails_stays_what_it_is() -> None:
    done = without({"numpy"}, "from orbitferry import Node")
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'numpy'"
