"""EID patterns mean the endpoints that draft-ietf-dtn-eid-pattern has them mean."""

from __future__ import annotations

import pytest

from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.policy.eid_pattern import ITEMS_MAX, PATTERN_CHARS_MAX, EidPattern


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("ipn:3.*", ["ipn:3.0", "ipn:3.7"], ["ipn:4.0", "ipn:977.3.0", "dtn://3/"]),
        ("ipn:0.3.*", ["ipn:3.0"], ["ipn:1.3.0"]),
        (
            "ipn:[10-19,42].0",
            ["ipn:10.0", "ipn:19.0", "ipn:42.0"],
            ["ipn:9.0", "ipn:20.0", "ipn:10.1"],
        ),
        (
            "ipn:977.[100+].*",
            ["ipn:977.100.1", "ipn:977.4294967295.0"],
            ["ipn:977.99.0", "ipn:100.0"],
        ),
        ("ipn:**", ["ipn:1.1", "ipn:977.1.1"], ["dtn://a/"]),
        ("dtn:**", ["dtn://a/", "dtn:none"], ["ipn:1.0"]),
        ("*:**", ["dtn://a/b", "ipn:1.0"], []),
        ("dtn://kiruna/", ["dtn://kiruna/"], ["dtn://kiruna/x", "dtn://kiruna2/"]),
        ("dtn://kiruna/**", ["dtn://kiruna/", "dtn://kiruna/x", "dtn://kiruna/x/y"], ["dtn://k/"]),
        ("dtn://kiruna/a/**", ["dtn://kiruna/a/b", "dtn://kiruna/a/b/c"], ["dtn://kiruna/b/a"]),
        ("dtn://*/ping", ["dtn://a/ping"], ["dtn://a/pong", "dtn://a/ping/x", "dtn:none"]),
        ("dtn://a/|ipn:5.0", ["dtn://a/", "ipn:5.0"], ["dtn://b/", "ipn:5.1"]),
    ],
)
def test_endpoints(pattern: str, inside: list[str], outside: list[str]) -> None:
    found = EidPattern.parse(pattern)
    assert str(found) == pattern
    assert [eid for eid in inside if not found.matches(Eid.parse(eid))] == []
    assert [eid for eid in outside if found.matches(Eid.parse(eid))] == []


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "ipn",
        "ipn:",
        "ipn:1",
        "ipn:1.2.3.4",
        "ipn:01.0",
        "ipn:[].0",
        "ipn:[2-1].0",
        "ipn:1-2.0",
        "ipn:[1-].0",
        "ipn:a.0",
        f"ipn:{2**64}.0",
        "dtn:a",
        "dtn://",
        "dtn:///x",
        "dtn://a b/",
        "x:**",
        "dtn://a/" + "x" * PATTERN_CHARS_MAX,
        "|".join(["ipn:**"] * (ITEMS_MAX + 1)),
        "dtn://a",
        "ipn:[" + ",".join(["1"] * (ITEMS_MAX + 1)) + "].0",
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(DecodeError):
        EidPattern.parse(pattern)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("ipn:3.*", "ipn:3.0", True),
        ("ipn:[1-9].*", "ipn:[9-12,40].*", True),
        ("ipn:[1-9].*", "ipn:[10+].*", False),
        ("ipn:3.*", "ipn:1.3.*", False),
        ("ipn:3.0", "ipn:3.1", False),
        ("ipn:3.*", "dtn://3/**", False),
        ("ipn:**", "ipn:3.7", True),
        ("ipn:**", "dtn://a/", False),
        ("ipn:**", "dtn:**", False),
        ("dtn:**", "dtn:**", True),
        ("dtn:**", "dtn://a/b", True),
        ("*:**", "dtn:**", True),
        ("*:**", "ipn:1.1", True),
        ("dtn://a/**", "dtn://a/", True),
        ("dtn://a/**", "dtn://b/**", False),
        ("dtn://*/ping", "dtn://a/**", True),
        ("dtn://*/ping", "dtn://a/*", True),
        ("dtn://*/ping", "dtn://a/pong", False),
        ("dtn://a/b/**", "dtn://a/b", False),
        ("dtn://a/b/**", "dtn://a/*/c/d", True),
        ("dtn://a/b/**", "dtn://a/c/**", False),
        ("dtn://a/**", "dtn://a/b/c/**", True),
        ("dtn://a/b/c", "dtn://a/b", False),
        ("dtn://a/|ipn:5.0", "ipn:4.0|ipn:[5-6].0", True),
    ],
)
def test_patterns_meet_where_both_mean_an_endpoint(one: str, other: str, meet: bool) -> None:
    patterns = EidPattern.parse(one), EidPattern.parse(other)
    assert patterns[0].meets(patterns[1]) is meet
    assert patterns[1].meets(patterns[0]) is meet


_SOME = [
    *(f"ipn:{node}.{service}" for node in (1, 2, "7.1") for service in (0, 1)),
    *(f"dtn://{node}/{demux}" for node in "ab" for demux in ("", "x", "x/", "x/y", "y/x/x")),
    "dtn:none",
]
_PARTS = ["", "x", "y", "*", "x/*", "*/y", "**", "x/**", "*/**", "x/y/**", "*/*/x"]
_PATTERNS = [
    *(f"dtn://{node}/{demux}" for node in ("a", "*") for demux in _PARTS),
    *("ipn:1.*", "ipn:[1-2].0", "ipn:*.1", "ipn:7.*.*", "ipn:**", "dtn:**", "*:**"),
]


@pytest.mark.parametrize("one", _PATTERNS)
def test_what_two_patterns_mean_they_meet_in(one: str) -> None:
    """Never less than there is; of these every pair that meets does so in one of a few EIDs."""
    mine = EidPattern.parse(one)
    eids = [Eid.parse(eid) for eid in (*_SOME, "dtn://a/x/y/x", "dtn://a/y")]
    for text in _PATTERNS:
        other = EidPattern.parse(text)
        common = [eid for eid in eids if mine.matches(eid) and other.matches(eid)]
        assert mine.meets(other) is bool(common), text
