"""A name space is its domain's alone: nobody else takes a name in it that nobody has had yet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography import x509

from interop.strategies.nearly_certificate import NOW_MS, authority, key
from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError, SecurityError
from stack.cose import HpkePrivateKey
from stack.identity import Authority, AuthorityFolder, Terms, Trust, pem
from stack.identity.authority import described, make_request
from stack.identity.certificate import load_revocations, read_request
from stack.identity.forms import NAMES, names_extension, read_terms, terms_extension
from stack.identity.names import PATTERNS_MAX, UNSAID, NameSpace, name_space
from stack.identity.trust import certificate_block, revocations_block
from tests.identity.worlds import DAY_MS, ESA, KARI, known, listed, node

KARIS = NameSpace.of(["ipn:[100-199].*", "dtn://sat1/**"])
ESAS = NameSpace.of(["ipn:[200-299].*", "dtn://kiruna/**"])
NASA = authority("nasa", 3)
SAT = node(KARI, "dtn://sat1/")


def agreed(
    names: NameSpace = UNSAID, of: Authority = ESA, now_ms: int = NOW_MS
) -> list[pem.PemBlock]:
    """That kari trusts another domain, which gives these ids; and the revocation list of that."""
    terms = Terms("kari", frozenset({"read"}), frozenset({"SE"}), names)
    offer = of.offer(terms)
    cross = KARI.federate(offer, terms, now_ms, 365)
    return [pem.PemBlock(pem.REQUEST, offer), certificate_block(cross), listed(of)]


def saying(names: NameSpace) -> pem.PemBlock:
    """The revocation list of kari, with its name space."""
    return revocations_block(KARI.revocations(None, [], NOW_MS, 7, names))


def foreign(name: str, of: Authority = ESA) -> pem.PemBlock:
    return certificate_block(node(of, name, laws=("SE",)))


def believing(*blocks: pem.PemBlock, own: NameSpace = UNSAID) -> Trust:
    made = Trust(KARI.certificate)
    assert made.learn([saying(own), *blocks]) == []
    return made


def restarted(made: Trust) -> Trust:
    again = Trust(made.root, made.grace_ms)
    assert again.learn(made.blocks()) == []
    again.foreign.recall(made.foreign.memory())
    return again


def test_a_domain_names_no_node_outside_of_what_was_agreed() -> None:
    made = believing(*agreed(ESAS))
    (why,) = made.learn([foreign("dtn://mine/"), foreign("dtn://kiruna/"), foreign("ipn:200.0")])
    assert "domain esa gives ids of dtn://kiruna/**, ipn:[200-299].* only, not dtn://mine/" in why
    assert known(made) == {"dtn://kiruna/": "esa", "ipn:200.0": "esa"}
    assert not made.is_foreign("dtn://mine/")  # what it may not give it does not make foreign
    with pytest.raises(SecurityError, match="only, not dtn://mine/"):
        made.verify([node(ESA, "dtn://mine/", laws=("SE",))], NOW_MS)


def test_a_name_that_nobody_has_had_yet_is_not_taken_by_another_domain() -> None:
    """Neither from this domain, nor from one whose name space is known."""
    made = believing(*agreed(), *agreed(ESAS, NASA), own=KARIS)
    made.learn([foreign("ipn:100.0"), foreign("ipn:200.0"), foreign("ipn:300.0")])
    assert known(made) == {"ipn:300.0": "esa"}
    thief = next(one for one in made.nodes() if str(one.facts.id) == "ipn:100.0")
    assert "ipn:100.0 is an id of domain kari" in made.why_not(thief, NOW_MS)
    with pytest.raises(SecurityError, match="an id of domain kari"):  # its log vouches for nothing
        made.check_may_name(thief, NOW_MS)
    assert not made.is_foreign("ipn:100.0")


def test_a_name_space_of_who_is_trusted_no_more_is_free_for_others() -> None:
    made = believing(*agreed(), *agreed(ESAS, NASA))
    made.learn([foreign("ipn:200.0")])
    assert known(made) == {}
    serial = made.federations["nasa"].certificate.serial_number
    made.learn([listed(KARI, serial, after=made.revocations("kari"))])
    assert known(made) == {"ipn:200.0": "esa"}


def test_keys_of_this_domain_speak_for_nobody_in_the_name_space_of_another() -> None:
    made = believing(certificate_block(SAT), *agreed(ESAS))
    serial = made.federations["esa"].certificate.serial_number
    for one in (made, restarted(made)):
        assert one.is_foreign("ipn:200.0")
        assert one.is_foreign("dtn://kiruna/")
        assert not any(one.is_foreign(name) for name in ("dtn://sat1/", "ipn:300.0", "dtn:none"))
        one.learn([listed(KARI, serial, after=made.revocations("kari"))])
        assert one.is_foreign("ipn:200.0")  # also when that domain is trusted no more


def test_keys_of_this_domain_speak_for_nobody_outside_of_its_name_space() -> None:
    made = believing(*agreed(), own=KARIS)
    for one in (made, restarted(made)):
        outside = ("ipn:200.0", "ipn:99.0", "dtn://sat2/", "no id")
        assert all(one.is_foreign(name) for name in outside)
        assert not any(one.is_foreign(name) for name in ("ipn:199.0", "dtn://sat1/", "dtn:none"))


def test_many_foreign_names_take_none_from_a_name_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.identity.foreign.FOREIGN_MAX", 2)
    names = [foreign(f"dtn://esa{n}/") for n in range(3)]
    assert believing(*agreed(), *names).is_foreign("ipn:100.0")
    assert not believing(*agreed(), *names, own=KARIS).is_foreign("ipn:100.0")


def test_of_many_ids_the_answers_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.identity.names._ANSWERS_MAX", 2)
    made = believing(own=KARIS)
    assert [made.is_foreign(f"ipn:{n}.0") for n in (99, 100, 200, 99)] == [True, False, True, True]
    assert len(made.names._answers) == 2


def test_a_node_of_this_domain_that_is_not_of_its_name_space_is_nobody() -> None:
    made = believing(certificate_block(SAT), certificate_block(node(KARI, "dtn://x/")), own=KARIS)
    assert known(made) == {"dtn://sat1/": "kari"}
    assert made.is_foreign("dtn://x/")


def test_a_name_space_stays_until_a_newer_list_says_another() -> None:
    made = believing(own=KARIS)
    first = made.revocations("kari")
    assert first is not None
    second = KARI.revocations(first, [], NOW_MS, 7)
    third = KARI.revocations(second, [], NOW_MS, 7, ESAS)
    for found, names in ((second, KARIS), (third, ESAS), (second, ESAS)):
        assert made.learn([revocations_block(found)]) == []
        assert made.names.own == names
    # What another domain says of itself is not what was agreed with it.
    made.learn(agreed())
    made.learn([revocations_block(ESA.revocations(None, [], NOW_MS, 7, KARIS))])
    assert made.names.of("esa") == UNSAID


def test_newer_terms_bring_another_name_space() -> None:
    made = believing(*agreed(ESAS))
    made.learn([foreign("dtn://kiruna/")])
    made.learn(agreed(NameSpace.of(["ipn:[200-299].*"]), now_ms=NOW_MS + 1000))
    assert known(made, NOW_MS + 2000) == {}
    assert made.is_foreign("dtn://kiruna/")  # it has been another domain's


def test_no_more_names_are_agreed_than_are_offered() -> None:
    offered = Terms("kari", frozenset({"read"}), frozenset({"SE"}), ESAS)
    for names, fits in (
        (ESAS, True),
        (NameSpace.of(["dtn://kiruna/**"]), True),
        (NameSpace.of(["dtn://kiruna/**", "dtn://mine/**"]), False),
        (UNSAID, False),
    ):
        terms = Terms("kari", offered.purposes, offered.jurisdictions, names)
        assert terms.within(offered) is fits
        made = Trust(KARI.certificate)
        cross = KARI.federate(ESA.offer(terms), terms, NOW_MS, 365)
        made.learn([listed(KARI), pem.PemBlock(pem.REQUEST, ESA.offer(offered))])
        made.learn([certificate_block(cross), pem.PemBlock(pem.REQUEST, ESA.offer(offered))])
        assert bool(made.federations) is fits
    assert offered.within(Terms("kari", offered.purposes, offered.jurisdictions))
    assert described(offered).endswith("under SE, of ids in dtn://kiruna/**, ipn:[200-299].*")


def test_without_a_name_space_all_is_as_it_was() -> None:
    """The octets, too, so that nodes of before read them."""
    terms = Terms("kari", frozenset({"rest"}), frozenset({"SE"}))
    (octets,) = (one.public_bytes() for one in [terms_extension(terms)])
    assert octets.hex() == "30140c046b61726930060c047265737430040c025345"
    assert read_terms(octets) == terms
    found = load_revocations(listed(KARI).octets)
    assert len(found.extensions) == 2
    assert described(terms) == "rest at nodes under SE"


@pytest.mark.parametrize(
    "octets",
    [b"", b"0\x00", names_extension(NameSpace.of(["ipn:1.*"])).public_bytes()[:-1] + b"!"],
)
def test_a_list_whose_name_space_cannot_be_read_is_not_taken(octets: bytes) -> None:
    now = KARI.certificate.not_valid_before_utc
    builder = x509.CertificateRevocationListBuilder(KARI.certificate.subject, now, now)
    builder = builder.add_extension(x509.CRLNumber(9), False).add_extension(
        x509.UnrecognizedExtension(NAMES, octets), False
    )
    made = believing(own=KARIS)
    (why,) = made.learn([revocations_block(builder.sign(key(1), None))])
    assert why.startswith("revocation list: ")
    assert made.names.own == KARIS


def test_name_spaces_are_bounded_and_have_one_form() -> None:
    assert NameSpace.of(["ipn:2.*", "ipn:1.*", "ipn:2.*"]).texts == ("ipn:1.*", "ipn:2.*")
    NameSpace.of(f"ipn:{n}.*" for n in range(PATTERNS_MAX))
    with pytest.raises(DecodeError, match="65 patterns"):
        NameSpace.of(f"ipn:{n}.*" for n in range(PATTERNS_MAX + 1))
    with pytest.raises(ConfigError, match="--names: not an EID pattern"):
        name_space("--names", ["kiruna"])


# ---- what an authority signs -----------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> AuthorityFolder:
    """That of domain kari, with its name space and node dtn://sat1/."""
    made = AuthorityFolder(tmp_path / "kari")
    facts = {"passphrase": b"", "entropy": os.urandom, "now_ms": NOW_MS, "algorithm": "ed25519"}
    made.create("kari", names=KARIS, **facts)  # type: ignore[arg-type]
    approve(made, "dtn://sat1/")
    return made


def approve(folder: AuthorityFolder, name: str, now_ms: int = NOW_MS) -> None:
    hpke = HpkePrivateKey("X25519", bytes(32))
    request = read_request(make_request(Eid.parse(name), key(7), hpke.public, (), ()))
    authority = folder.unlock(lambda: b"")
    folder.approve(authority, request, jurisdictions=["KR"], roles=(), now_ms=now_ms)


def federate(
    folder: AuthorityFolder, names: NameSpace, of: Authority = ESA, now_ms: int = NOW_MS
) -> None:
    terms = Terms("kari", frozenset({"read"}), frozenset({"SE"}), names)
    blocks = [pem.PemBlock(pem.REQUEST, of.offer(terms)), listed(of)]
    assert folder.federate(folder.unlock(lambda: b""), blocks, terms, now_ms) == []


def test_an_authority_gives_no_id_that_is_not_its_own(folder: AuthorityFolder) -> None:
    with pytest.raises(ConfigError, match="only, not dtn://x/"):
        approve(folder, "dtn://x/")
    approve(folder, "ipn:150.0")


@pytest.mark.parametrize("late_ms", [0, 60 * DAY_MS], ids=["now", "with an old revocation list"])
def test_no_two_domains_have_an_id_in_common(folder: AuthorityFolder, late_ms: int) -> None:
    now_ms = NOW_MS + late_ms
    federate(folder, ESAS, now_ms=NOW_MS)
    with pytest.raises(ConfigError, match="has ids of domain kari, which gives"):
        federate(folder, NameSpace.of(["ipn:[150-250].*"]), NASA, now_ms)
    with pytest.raises(ConfigError, match="has ids of domain esa, which gives"):
        federate(folder, NameSpace.of(["dtn://kiruna/"]), NASA, now_ms)
    federate(folder, NameSpace.of(["ipn:300.*"]), NASA, now_ms)
    federate(folder, NameSpace.of(["ipn:[200-250].*"]), ESA, now_ms)  # its own, anew
    for bad, why in (
        (["ipn:**"], "has ids of domain esa"),
        (["ipn:[100-199].*"], "dtn://sat1/ is a node of domain kari, and not in"),
    ):
        with pytest.raises(ConfigError, match=why):
            folder.update(folder.unlock(lambda: b""), (), now_ms, NameSpace.of(bad))
    assert folder.trust().names.own == KARIS
    wider = NameSpace.of(["ipn:[100-198].*", "dtn://sat1/**"])
    assert folder.update(folder.unlock(lambda: b""), (), now_ms, wider) == []
    assert folder.update(folder.unlock(lambda: b""), (), now_ms) == []
    assert folder.trust().names.own == wider


def test_a_domain_without_a_name_space_keeps_its_nodes_and_gives_nobody_elses(
    tmp_path: Path,
) -> None:
    folder = AuthorityFolder(tmp_path / "kari")
    folder.create("kari", passphrase=b"", entropy=os.urandom, now_ms=NOW_MS, algorithm="ed25519")
    approve(folder, "dtn://sat1/")
    with pytest.raises(ConfigError, match="dtn://sat1/ is a node of domain kari, and in"):
        federate(folder, NameSpace.of(["dtn://sat1/**"]))
    federate(folder, ESAS)
    with pytest.raises(ConfigError, match="dtn://kiruna/ is an id of domain esa"):
        approve(folder, "dtn://kiruna/")
    folder.revoke(folder.unlock(lambda: b""), "esa", NOW_MS)
    approve(folder, "dtn://kiruna/")
