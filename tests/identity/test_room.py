"""What other domains sign takes nothing from this one: neither room, nor time, nor the file in
which a node has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.strategies.nearly_certificate import NOW_MS
from stack.core.errors import ConfigError, SecurityError
from stack.identity import Terms, authority, pem, room, trust
from stack.identity.certificate import read_offer
from stack.identity.naming import check_offer
from stack.identity.trust import Trust, certificate_block
from tests.identity.test_folder import approve, begun, domain, nothing
from tests.identity.worlds import ESA, KARI, federation, known, listed, node, terms
from tests.identity.worlds import trust as believing


def nodes(count: int) -> list[pem.PemBlock]:
    """Certificates of so many nodes of esa."""
    made = [node(ESA, f"dtn://foreign{number}/", laws=("SE",)) for number in range(count)]
    return [certificate_block(one) for one in made]


def full(monkeypatch: pytest.MonkeyPatch, limit: str, most: int) -> Trust:
    """Somebody who knows of esa as many nodes as there may be: four."""
    monkeypatch.setattr(room, limit, most)
    made = believing(*federation(terms("pass")), listed(ESA))
    (why,) = made.learn(nodes(5))
    assert "more than" in why
    assert len(known(made)) == 4
    return made


SIZE = len(nodes(1)[0].octets)


@pytest.mark.parametrize(
    ("limit", "most"),
    [("NODES_MAX", 4), ("DOMAIN_BYTES_MAX", 4 * SIZE + 100), ("OTHERS_BYTES_MAX", 4 * SIZE + 100)],
)
def test_a_domain_that_has_as_many_nodes_as_can_be_takes_no_room_from_this_one(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    made = full(monkeypatch, limit, most)
    assert made.learn([certificate_block(node(KARI, f"dtn://{name}/")) for name in "abcd"]) == []
    assert len(known(made)) == 8
    newer = node(ESA, "dtn://foreign0/", laws=("SE",), now_ms=NOW_MS + 1000)
    assert made.learn([certificate_block(newer)]) == []  # in the place of the former one
    refusals = made.learn([certificate_block(node(KARI, "dtn://e/"))])
    assert bool(refusals) is (limit == "NODES_MAX")


def test_the_list_of_another_domain_has_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LIST_BYTES_MAX", 500)
    made = believing(*federation(terms("pass")))
    (why,) = made.learn([listed(ESA, *range(1, 20))])
    assert "of another domain" in why
    assert made.learn([listed(ESA)]) == []
    after = made.revocations("kari")
    assert made.learn([listed(KARI, *range(1, 20), after=after)]) == []


def test_each_offer_is_read_once_however_often_its_federation_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[bytes] = []

    def counted(octets: bytes) -> object:
        read.append(octets)
        return read_offer(octets)

    monkeypatch.setattr(trust, "read_offer", counted)
    others = [pem.PemBlock(pem.REQUEST, ESA.offer(terms("pass", to=f"d{n}"))) for n in range(9)]
    offer, cross = federation(terms("pass"))
    made = believing(*others, *[cross] * 9, offer, *others)
    assert set(made.federations) == {"esa"}
    assert len(read) == 10


def test_what_nobody_could_read_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kari, one = domain(tmp_path), begun(tmp_path)
    one.accept(approve(kari, one), NOW_MS)
    before = (kari.path / "trust.pem").read_bytes()
    monkeypatch.setattr(pem, "FILE_BYTES_MAX", len(before) + 100)
    with pytest.raises(ConfigError, match="which nobody reads"):
        approve(kari, begun(tmp_path, "dtn://gs1/"))
    assert (kari.path / "trust.pem").read_bytes() == before
    assert known(kari.trust()) == {"dtn://sat1/": "kari"}


def test_an_authority_that_has_revoked_as_many_as_can_be_says_what_to_do_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kari, one = domain(tmp_path), begun(tmp_path)
    one.accept(approve(kari, one), NOW_MS)
    approve(kari, begun(tmp_path, "dtn://gs1/"))
    monkeypatch.setattr(authority, "REVOCATIONS_MAX", 1)
    key = kari.unlock(nothing)
    kari.revoke(key, "dtn://gs1/", NOW_MS)
    with pytest.raises(SecurityError, match="begin a new authority"):
        kari.revoke(key, "dtn://sat1/", NOW_MS)
    assert one.accept(approve(kari, one, NOW_MS + 1000), NOW_MS + 1000).refusals == []
    assert kari.trust().lists.count("kari") == 1
    assert known(one.trust()) == {"dtn://sat1/": "kari"}


@pytest.mark.parametrize("name", ["kaRi", "Kari", "Esa"])
def test_a_domain_whose_name_looks_like_anothers_is_not_trusted(name: str) -> None:
    made = believing(*federation(terms("pass")))
    offered = Terms("kari", frozenset({"pass"}), frozenset({"SE"}))
    check_offer(made, "esa", offered, offered, NOW_MS)
    check_offer(made, "essa", offered, offered, NOW_MS)
    with pytest.raises(SecurityError, match="but for capitals"):
        check_offer(made, name, offered, offered, NOW_MS)
