"""Edits reach the code under test in both ways that `rows` makes them, and what proves nothing is
told."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conformance.edited import FAILED, NOT_EXCHANGED, PASSED, Verdict
from tests.conformance.record import ROOT, Case, Document, Edit, Row
from tests.conformance.rows import told

TEST = "tests/wire/test_sdnv.py::test_bounds"

SCRIPT = f"""
import json
from tests.conformance.edited import Trial, fresh, quickly
from tests.conformance.record import Edit
file, tests = "stack/wire/sdnv.py", [{TEST!r}]
old = "if value > SDNV_MAX:\\n        raise"
inside = Trial(tests, Edit(file, old, old.replace("value > SDNV_MAX", "False")))
outside = Trial(tests, Edit(file, "SDNV_BYTES_MAX = 10\\n", "SDNV_BYTES_MAX = 11\\n"))
print(json.dumps([*quickly([Trial(tests), inside, outside]), fresh(inside), fresh(outside)]))
"""


@pytest.mark.slow
def test_edits_are_in_force_in_forks_and_where_all_is_loaded_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where pytest would load the module itself, as it does ours where the package is
    installed, and after our tests' own conftest has frozen what the collector of garbage sees."""
    monkeypatch.setenv("PYTEST_PLUGINS", "stack.wire.sdnv")
    command = [sys.executable, "-c", SCRIPT]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    plain, *quick_and_fresh = json.loads(ran.stdout)
    assert plain == [PASSED, {}]
    assert [ended for ended, _ in quick_and_fresh] == [FAILED, NOT_EXCHANGED, FAILED, FAILED]
    assert [list(failed) for _, failed in quick_and_fresh] == [[TEST], [], [TEST], [TEST]]


@pytest.mark.parametrize(
    ("verdicts", "proven"),
    [
        ([{"a": "AssertionError"}, {"b": "AssertionError"}], True),
        ([{"a[1]": "AssertionError", "b": "AssertionError"}, {"b": "Failed"}], True),
        ([{"a": "AssertionError"}, {"a": "AssertionError"}], False),  # `b` is idle
        ([{"a": "AssertionError", "b": "AssertionError"}, {}], False),
        ([{"a": "AssertionError"}, {"b": ""}], False),  # the edit is no code
    ],
)
def test_a_row_is_proven_by_every_edit_and_every_test(
    verdicts: list[dict[str, str]], proven: bool
) -> None:
    edit = Edit("", "", "")
    row = Row(1, "a rule", {}, tests=("a", "b"), edit=(edit, edit))
    case = Case("page", Document("RFC X", "", "X", row=(row,)), row)
    left = list(told([case], [Verdict(int(bool(each)), each) for each in verdicts]))
    assert left == ([] if proven else [case])
