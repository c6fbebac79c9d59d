"""What the plugin of pytest does with machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulator.test_testing import run_pytest

A_MACHINE = """
from hypothesis import settings
from hypothesis.stateful import initialize, rule
from interop.machines import PeerMachine, table

class DoorMachine(PeerMachine):
    table = table("door", {("open", "push"): "shut", ("shut", "pull"): "open"})

    @initialize()
    def begin(self):
        self.peer = type(self).adapter()

    @rule()
    def push(self):
        self.took("door", "open", "push", "shut")

class TestMine(DoorMachine):
    adapter = list

def test_how_many():
    print("examples:", settings().max_examples)
"""

PLUGINS = ("-p", "_hypothesis_pytestplugin", "-W", "error")


@pytest.mark.slow
def test_the_report_names_transitions_that_were_never_taken(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path, A_MACHINE, *PLUGINS, "-s", "--orbitferry-report", "--hypothesis-profile=quick"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "examples: 50" in done.stdout
    assert "machine test_program.TestMine" in done.stdout
    assert "1 of 2 transitions taken" in done.stdout
    assert "   never  door: shut -- pull -> open" in done.stdout


@pytest.mark.slow
def test_processes_of_xdist_hand_over_what_was_taken(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    options = (*PLUGINS, "-p", "xdist", "-n1", "--orbitferry-report")
    done = run_pytest(tmp_path, A_MACHINE, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 2 transitions taken" in done.stdout
    assert "   never  door: shut -- pull -> open" in done.stdout


@pytest.mark.slow
def test_a_profile_of_the_users_own_stays_and_nobody_is_told_unasked(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from hypothesis import settings\nsettings.register_profile('night', max_examples=7)\n"
    )
    done = run_pytest(tmp_path, A_MACHINE, *PLUGINS, "-s", "--hypothesis-profile=night")
    assert "examples: 7" in done.stdout, done.stdout + done.stderr
    assert "transitions" not in done.stdout
