"""Every threat of `docs/security.md` has tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(
    r"^\| ([^|]+) \| [^|]+ \| [^|]+ \| (`.+) \|$", (ROOT / "docs/security.md").read_text(), re.M
)

THREATS = (
    "foreign relay",
    "compromised satellite",
    "network observer",
    "malicious ground peer",
    "insider with an expired certificate",
    "disk thief",
    "quantum recorder",
    "dishonest witness",
    "dishonest prover",
    "federated domain",
    "denial by exhaustion",
)


def test_every_threat_has_a_row() -> None:
    assert [re.split("[:,]", who)[0] for who, _ in ROWS] == list(THREATS)


@pytest.mark.parametrize("tests", [pytest.param(tests, id=who[:20]) for who, tests in ROWS])
def test_the_tests_of_a_row_exist(tests: str) -> None:
    for group in tests.split("; "):
        path, _, names = group.partition(": ")
        text = (ROOT / "tests" / path.strip("`")).read_text()
        assert names
        for name in names.split(", "):
            assert re.search(rf"^def {name.strip('`')}\(", text, re.M), group
