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
