"""Whoever opens the repository sees the architecture, and nothing that was left there."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.installed import ROOT

TOP = {
    *(".ci", ".gitignore", ".importlinter", "CHANGELOG.md", "LICENSE", "Makefile", "README.md"),
    *("pyproject.toml", "docs", "examples", "interop", "link_models", "orbitferry"),
    *("scripts", "stack", "tests"),
}


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_nothing_lies_about() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f"not a checkout of one's own: {listed.stderr.strip()}")
    assert {path.split("/")[0] for path in listed.stdout.split("\0") if path} == TOP
