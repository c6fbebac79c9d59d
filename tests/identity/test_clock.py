"""An authority whose clock is wrong: what it signs would take from its nodes what they have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from interop.strategies.nearly_certificate import NOW_MS
from stack.core.errors import ConfigError, SecurityError
from stack.identity import AuthorityFolder, NodeFolder, Terms, pem
from stack.identity.certificate import domain_of, load_certificate
from tests.identity.test_folder import approve, begun, domain, nothing
from tests.identity.worlds import DAY_MS, known

YEARS_MS = 3000 * DAY_MS
PASS = Terms("kari", frozenset({"pass"}), frozenset({"KR", "SE"}))


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
    ahead = approve(kari, node, NOW_MS + 300 * DAY_MS)
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


def trusted_esa(tmp_path: Path) -> tuple[AuthorityFolder, NodeFolder, list[pem.PemBlock]]:
    """Domain kari, a node that knows nobody else's nodes yet, and an offer of esa."""
    kari, esa, node = domain(tmp_path), domain(tmp_path, "esa"), begun(tmp_path)
    approve(esa, begun(tmp_path, "dtn://kiruna/"))
    node.accept(approve(kari, node), NOW_MS)
    return kari, node, [pem.PemBlock(pem.REQUEST, esa.unlock(nothing).offer(PASS)), *esa.export()]


def federate(kari: AuthorityFolder, offer: list[pem.PemBlock], now_ms: int, *laws: str) -> bytes:
    """An update that says that esa is trusted, for nodes under `laws`."""
    terms = replace(PASS, jurisdictions=frozenset(laws)) if laws else PASS
    assert kari.federate(kari.unlock(nothing), offer, terms, now_ms) == []
    return pem.encode(kari.export()).encode()


def without_federations(octets: bytes) -> bytes:
    """What a carrier leaves of an update."""
    blocks = pem.decode(octets)
    return pem.encode([one for one in blocks if not is_cross(one)]).encode()


def is_cross(block: pem.PemBlock) -> bool:
    if block.label != pem.CERTIFICATE:
        return False
    found = load_certificate(block.octets)
    return domain_of(found.subject) != domain_of(found.issuer)


@pytest.mark.parametrize("times", [1, 2])
def test_a_federation_that_a_clock_ahead_has_made_stands_in_nothings_way(
    tmp_path: Path, times: int
) -> None:
    kari, node, offer = trusted_esa(tmp_path)
    both = {"dtn://sat1/": "kari", "dtn://kiruna/": "esa"}
    node.accept(federate(kari, offer, NOW_MS), NOW_MS)
    assert known(node.trust()) == both
    made = [federate(kari, offer, NOW_MS + (30 + n) * DAY_MS) for n in range(times)]
    for ahead in made:
        with pytest.raises(SecurityError, match="of a time to come"):
            node.accept(ahead, NOW_MS)
    kari.update(kari.unlock(nothing), (), NOW_MS, clock_is_right=True)
    node.accept(federate(kari, offer, NOW_MS), NOW_MS)
    assert known(node.trust()) == both
    node.accept(made[0], NOW_MS)  # older news once more
    assert known(node.trust()) == both
    assert kari.revoke(kari.unlock(nothing), "esa", NOW_MS) == 1
    update = pem.encode(kari.export()).encode()
    for late_ms in (NOW_MS, NOW_MS + 6 * DAY_MS):
        node.accept(update, late_ms)
        assert known(node.trust(), late_ms) == {"dtn://sat1/": "kari"}


def test_who_carries_an_update_cannot_leave_out_that_another_domain_is_trusted_for_less(
    tmp_path: Path,
) -> None:
    kari, node, offer = trusted_esa(tmp_path)
    wide = federate(kari, offer, NOW_MS)
    node.accept(wide, NOW_MS)
    assert known(node.trust()) == {"dtn://sat1/": "kari", "dtn://kiruna/": "esa"}
    narrow = federate(kari, offer, NOW_MS, "SE")  # kiruna is under KR, too
    node.accept(without_federations(narrow), NOW_MS)
    assert known(node.trust()) == {"dtn://sat1/": "kari"}
    kari.revoke(kari.unlock(nothing), "esa", NOW_MS)
    node.accept(without_federations(pem.encode(kari.export()).encode()), NOW_MS)
    node.accept(wide, NOW_MS)
    assert known(node.trust()) == {"dtn://sat1/": "kari"}


def test_all_certificates_of_a_node_that_a_clock_ahead_has_made_are_revoked(
    tmp_path: Path,
) -> None:
    kari, node = domain(tmp_path), begun(tmp_path)
    node.accept(approve(kari, node), NOW_MS)
    ahead = [approve(kari, node, NOW_MS + days * DAY_MS) for days in (30, 31)]
    kari.update(kari.unlock(nothing), (), NOW_MS, clock_is_right=True)
    answer = approve(kari, node, NOW_MS)
    node.accept(answer, NOW_MS)
    other = begun(tmp_path, "dtn://gs1/")
    other.accept(approve(kari, other), NOW_MS)
    for older in ahead:
        other.accept(older, NOW_MS)
        assert known(other.trust()) == {"dtn://sat1/": "kari", "dtn://gs1/": "kari"}


def test_a_clock_that_can_hardly_be_right_signs_nothing(tmp_path: Path) -> None:
    kari, node = domain(tmp_path), begun(tmp_path)
    approve(kari, node)
    before = (kari.path / "trust.pem").read_bytes()
    with pytest.raises(ConfigError, match=r"367 days.*--clock-is-right"):
        approve(kari, node, NOW_MS + 367 * DAY_MS)
    assert (kari.path / "trust.pem").read_bytes() == before
    kari.update(kari.unlock(nothing), (), NOW_MS + 367 * DAY_MS, clock_is_right=True)
    approve(kari, node, NOW_MS + 367 * DAY_MS)


def test_an_older_answer_does_not_take_the_place_of_the_certificate_that_a_node_has(
    tmp_path: Path,
) -> None:
    kari, node = domain(tmp_path), begun(tmp_path)
    older, newer = approve(kari, node), approve(kari, node, NOW_MS + DAY_MS)
    newest = kari.trust().certificate_of(node.request().node)
    node.accept(older, NOW_MS + DAY_MS)
    for answer in (newer, older):
        assert node.accept(answer, NOW_MS + DAY_MS).node.certificate == newest
        assert node.unlock(nothing).certificate == newest
