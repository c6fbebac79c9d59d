"""An authority whose clock is wrong: what it signs would take from its nodes what they have."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.strategies.nearly_certificate import NOW_MS
from stack.core.errors import ConfigError, SecurityError
from stack.identity import Terms, pem
from tests.identity.test_folder import approve, begun, domain, nothing
from tests.identity.worlds import DAY_MS, known

YEARS_MS = 3000 * DAY_MS


def test_a_clock_that_is_behind_signs_nothing(tmp_path: Path) -> None:
    kari, esa, node = domain(tmp_path), domain(tmp_path, "esa"), begun(tmp_path)
    approve(kari, node)
    terms = Terms("kari", frozenset({"pass"}), frozenset({"SE"}))
    offer = [pem.PemBlock(pem.REQUEST, esa.unlock(nothing).offer(terms))]
    before = {path: path.read_bytes() for path in kari.path.rglob("*.pem")}
    late_ms = NOW_MS - YEARS_MS
    key = kari.unlock(nothing)
    for signs in (
        lambda: approve(kari, node, late_ms),
        lambda: kari.revoke(key, "dtn://sat1/", late_ms),
        lambda: kari.federate(key, offer, terms, late_ms),
        lambda: kari.update(key, (), late_ms),
    ):
        with pytest.raises(ConfigError, match="set the clock"):
            signs()
    assert {path: path.read_bytes() for path in kari.path.rglob("*.pem")} == before


def test_what_a_clock_ahead_has_signed_stands_in_nothings_way(tmp_path: Path) -> None:
    kari, node, other = domain(tmp_path), begun(tmp_path), begun(tmp_path, "dtn://gs1/")
    for one in (node, other):
        one.accept(approve(kari, one), NOW_MS)
    ahead = approve(kari, node, NOW_MS + YEARS_MS)
    with pytest.raises(SecurityError, match="only"):
        node.accept(ahead, NOW_MS)
    with pytest.raises(ConfigError, match="--clock-is-right"):
        approve(kari, node, NOW_MS)
    assert kari.update(kari.unlock(nothing), (), NOW_MS, clock_is_right=True) == []
    answer = approve(kari, node, NOW_MS)
    for one in (node, other):
        assert one.accept(answer, NOW_MS).refusals == []
        assert known(one.trust()) == {"dtn://sat1/": "kari", "dtn://gs1/": "kari"}
    other.accept(ahead, NOW_MS)  # older news once more
    assert known(other.trust()) == {"dtn://sat1/": "kari", "dtn://gs1/": "kari"}
    assert node.unlock(nothing).certificate == kari.trust().certificate_of(node.request().node)
