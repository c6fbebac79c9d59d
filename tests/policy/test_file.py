"""Policy files say what is wrong with them, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.core.clock import dtn_from_iso
from stack.core.errors import ConfigError
from stack.policy import DataPolicy, Marking, NodeSet
from stack.policy.file import load_policy

NOW = 800_000_000_000
TEXT = """
readers = "KR"
rest = "KR | EU"
transit = "any - XX"
expires = "7d"
audit = true

[[marking]]
policy_id = "KR-MSIT"
classification = "RESTRICTED"
categories = ["SPACE"]
review = "2028-01-01T00:00:00Z"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text)
    return path


def test_a_policy_is_read(tmp_path: Path) -> None:
    review_ms = dtn_from_iso("2028-01-01T00:00:00Z")
    assert load_policy(written(tmp_path, TEXT), NOW) == DataPolicy(
        readers=NodeSet.parse("KR"),
        rest=NodeSet.parse("EU | KR"),
        transit=NodeSet.parse("any - XX"),
        expires_ms=NOW + 7 * 86_400_000,
        audit=True,
        markings=frozenset({Marking("KR-MSIT", "RESTRICTED", ("SPACE",), review_ms)}),
    )
    assert load_policy(written(tmp_path, ""), NOW) == DataPolicy()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"any - XX"', '"any -XX"', ":4: transit: node set"),
        ("readers", "reader", ":2: reader: .*readers"),
        ('"7d"', '"soon"', ":5: expires: 'soon' is no time.*7d"),
        ('"2028-01-01T00:00:00Z"', '"7d"', "review: '7d' is no time"),
        ("true", '"yes"', ":6: audit"),
        ('classification = "RESTRICTED"', "", "classification: is missing"),
        ('"KR-MSIT"', f'"{"x" * 300}"', "marking.0.: .*long text"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_policy(written(tmp_path, TEXT.replace(old, new)), NOW)


def test_a_policy_that_cannot_travel_is_none(tmp_path: Path) -> None:
    markings = "".join(f'[[marking]]\npolicy_id = "{n}"\nclassification = "X"\n' for n in range(17))
    with pytest.raises(ConfigError, match="markings"):
        load_policy(written(tmp_path, markings), NOW)
