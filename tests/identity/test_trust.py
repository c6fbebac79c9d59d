"""What a node believes of others, and what nobody can make it believe."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from cryptography import x509

from interop.strategies.nearly_certificate import NOW_MS, CertificateParts, authority, key
from stack.core.errors import ConfigError, SecurityError
from stack.cose import sign1
from stack.identity import Authority, Trust, pem
from stack.identity.trust import certificate_block, revocations_block
from stack.policy import DataPolicy, NodeSet, PolicyGate
from tests.identity.worlds import (
    DAY_MS,
    ESA,
    KARI,
    federation,
    known,
    listed,
    node,
    terms,
    trust,
)

SAT = node(KARI, "dtn://sat1/")
KIRUNA = node(ESA, "dtn://kiruna/", laws=("SE",))
ESA_ANEW = authority("esa", 4)


def test_policies_know_whom_the_domain_has_certified() -> None:
    made = trust(certificate_block(SAT))
    (facts,) = made.directory(NOW_MS)
    assert (str(facts.id), facts.domain) == ("dtn://sat1/", "kari")
    assert (facts.jurisdictions, facts.roles) == (frozenset({"KR"}), frozenset({"relay"}))
    assert facts.purposes == frozenset({"read", "rest", "pass"})


def test_what_holds_ends_in_time() -> None:
    made = trust(certificate_block(node(KARI, "dtn://sat1/", days=3)))
    assert known(made, NOW_MS + 3 * DAY_MS - 1000) == {"dtn://sat1/": "kari"}
    assert known(made, NOW_MS + 3 * DAY_MS) == {}
    assert made.changes_ms(NOW_MS) == NOW_MS + 3 * DAY_MS
    assert known(made, 0) == {}  # no clock that could be trusted


def test_who_hears_nothing_of_revocations_for_too_long_believes_nobody() -> None:
    """Seven days, and the grace of two."""
    made = trust(certificate_block(SAT))
    assert known(made, NOW_MS + 9 * DAY_MS - 1000)
    assert known(made, NOW_MS + 9 * DAY_MS) == {}
    with pytest.raises(SecurityError, match="too old"):
        made.verify([SAT], NOW_MS + 9 * DAY_MS)
    assert made.changes_ms(NOW_MS) == NOW_MS + 9 * DAY_MS
    later = NOW_MS + 8 * DAY_MS
    made.learn([listed(KARI, after=made.revocations("kari"), now_ms=later)])
    assert known(made, NOW_MS + 9 * DAY_MS) == {"dtn://sat1/": "kari"}


def test_without_a_revocation_list_nobody_is_believed() -> None:
    made = Trust(KARI.certificate)
    assert made.learn([certificate_block(SAT)]) == []
    assert known(made) == {}
    with pytest.raises(SecurityError, match="no revocation list"):
        made.verify([SAT], NOW_MS)


def test_what_is_revoked_stays_so() -> None:
    """Nobody makes it good again with an older list."""
    made = trust(certificate_block(SAT))
    before = made.revocations("kari")
    assert before is not None
    made.learn([listed(KARI, SAT.serial_number, after=before)])
    assert known(made) == {}
    with pytest.raises(SecurityError, match="revoked"):
        made.verify([SAT], NOW_MS)
    made.learn([revocations_block(before)])
    assert known(made) == {}


def _on_some_only() -> pem.PemBlock:
    now = KARI.certificate.not_valid_before_utc
    builder = x509.CertificateRevocationListBuilder(KARI.certificate.subject, now, now)
    builder = builder.add_extension(x509.CRLNumber(9), False).add_extension(
        x509.IssuingDistributionPoint(None, None, True, False, None, False, False), True
    )
    return revocations_block(builder.sign(key(1), None))


def _der(tag: int, content: bytes) -> bytes:
    assert len(content) < 256
    return bytes((tag, 0x81, len(content)) if len(content) > 127 else (tag, len(content))) + content


def _last() -> pem.PemBlock:
    """Without a next update: RFC 5280 §5.1.2.5 asks for one, and X.509 does not."""
    now = KARI.certificate.not_valid_before_utc
    builder = x509.CertificateRevocationListBuilder(KARI.certificate.subject, now, now)
    builder = builder.add_extension(x509.CRLNumber(9), False)
    like = builder.sign(key(1), None)
    time = _der(0x17, f"{now:%y%m%d%H%M%SZ}".encode())
    whole = like.tbs_certlist_bytes
    content = _der(0x30, whole[whole.index(b"\x02\x01\x01") :].replace(time + time, time))
    algorithm = _der(0x30, bytes.fromhex("06032b6570"))
    signature = _der(0x03, b"\0" + key(1).sign(content))
    return pem.PemBlock(pem.REVOCATIONS, _der(0x30, content + algorithm + signature))


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        (listed(authority("kari", 9)), "not signed by"),
        (listed(ESA), "does not trust"),
        (_on_some_only(), "critical extension"),
        (_last(), "says not when the next one comes"),
        (pem.PemBlock(pem.REVOCATIONS, b"\x30\x00"), "not well formed"),
        (listed(KARI, now_ms=NOW_MS + DAY_MS, after=None), ""),
    ],
    ids=["forged", "of another", "partial", "last", "damaged", "older"],
)
def test_revocation_lists_of_others_count_for_nothing(forged: pem.PemBlock, why: str) -> None:
    made = trust(certificate_block(SAT))
    first = made.revocations("kari")
    assert why in " ".join(made.learn([forged]))
    assert made.revocations("kari") == first
    assert known(made) == {"dtn://sat1/": "kari"}


def test_a_list_of_a_time_to_come_is_not_believed() -> None:
    made = Trust(KARI.certificate)
    made.learn([certificate_block(SAT), listed(KARI, now_ms=NOW_MS + DAY_MS)])
    with pytest.raises(SecurityError, match="time to come"):
        made.verify([SAT], NOW_MS)


# ---- other domains ---------------------------------------------------------------------------


def test_another_domain_is_trusted_for_what_both_have_signed() -> None:
    made = trust(
        certificate_block(SAT), *federation(terms("pass")), listed(ESA), certificate_block(KIRUNA)
    )
    assert known(made) == {"dtn://sat1/": "kari", "dtn://kiruna/": "esa"}
    gate = PolicyGate(made.directory(NOW_MS), "dtn://sat1/")
    anywhere = DataPolicy(transit=NodeSet.parse("any"))
    assert gate.may_carry(anywhere, "dtn://kiruna/")
    assert gate.may_hold(anywhere, "dtn://kiruna/")
    assert not gate.may_read(anywhere, "dtn://kiruna/")
    assert gate.may_read(anywhere, "dtn://sat1/")


def test_trusted_for_rest_alone_is_for_nothing_else() -> None:
    made = trust(*federation(terms("rest")), listed(ESA), certificate_block(KIRUNA))
    gate = PolicyGate(made.directory(NOW_MS), "dtn://kiruna/")
    anywhere = DataPolicy()
    assert gate.may_hold(anywhere, "dtn://kiruna/")
    assert not gate.may_carry(anywhere, "dtn://kiruna/")
    assert not gate.may_read(anywhere, "dtn://kiruna/")
    assert "trusted to rest only" in gate.refusal(anywhere, delivered=True)


def test_no_domain_is_trusted_that_is_not_named() -> None:
    made = Trust(KARI.certificate)
    refusals = made.learn([listed(KARI), listed(ESA), certificate_block(KIRUNA)])
    assert len(refusals) == 2
    assert known(made) == {}
    with pytest.raises(SecurityError, match="does not trust"):
        made.verify([KIRUNA, ESA.certificate], NOW_MS)


def _other_offer() -> list[pem.PemBlock]:
    """Signed by esa, but for less."""
    (_, cross) = federation(terms("pass", "read"))
    return [pem.PemBlock(pem.REQUEST, ESA.offer(terms("pass"))), cross]


def _to_another() -> list[pem.PemBlock]:
    offer = ESA.offer(terms("pass", to="nasa"))
    cross = authority("nasa", 3).federate(offer, terms("pass", to="nasa"), NOW_MS, 9)
    return [pem.PemBlock(pem.REQUEST, offer), certificate_block(cross)]


def _by_another() -> list[pem.PemBlock]:
    offer = ESA.offer(terms("pass"))
    cross = authority("kari", 3).federate(offer, terms("pass"), NOW_MS, 9)
    return [pem.PemBlock(pem.REQUEST, offer), certificate_block(cross)]


def _another_key() -> list[pem.PemBlock]:
    offer = authority("esa", 5).offer(terms("pass"))
    return [pem.PemBlock(pem.REQUEST, offer), federation(terms("pass"))[1]]


def _longer() -> list[pem.PemBlock]:
    """Esa could make authorities of its own."""
    offer, block = federation(terms("pass"))
    parts = CertificateParts.of(x509.load_der_x509_certificate(block.octets), key(1))
    cross = parts.having(x509.BasicConstraints(True, 1), critical=True)
    return [offer, certificate_block(cross.signed())]


@pytest.mark.parametrize(
    "made",
    [
        lambda: federation(terms("pass"))[1:],
        _other_offer,
        _to_another,
        _by_another,
        _another_key,
        _longer,
        lambda: [certificate_block(ESA.certificate)],
    ],
    ids=["one side", "more", "for another", "forged", "renamed", "path length", "itself"],
)
def test_a_federation_is_signed_by_both_for_just_that(made: object) -> None:
    assert callable(made)
    believing = Trust(KARI.certificate)
    believing.learn([listed(KARI), *made(), listed(ESA), certificate_block(KIRUNA)])
    assert known(believing) == {}
    assert believing.federations == {}


def test_no_chain_is_longer_than_that_of_a_federation() -> None:
    """An authority that esa has made is nobody's."""
    made = trust(*federation(terms("pass")), listed(ESA))
    parts = replace(CertificateParts.of(ESA.certificate, key(2)), key=key(6).public_key())
    below = Authority(parts.signed(), key(6))
    mars = node(below, "dtn://mars/", laws=("SE",))
    with pytest.raises(SecurityError, match="signature"):
        made.verify([mars, below.certificate], NOW_MS)
    with pytest.raises(SecurityError, match="chain of 4"):
        made.verify([KIRUNA] * 4, NOW_MS)
    with pytest.raises(SecurityError, match="chain of 0"):
        made.verify([], NOW_MS)


def test_another_domain_does_not_say_what_is_not_its_to_say() -> None:
    liar = node(ESA, "dtn://liar/", laws=("SE", "KR"))
    made = trust(*federation(terms("pass")), listed(ESA), certificate_block(liar))
    assert known(made) == {}
    with pytest.raises(SecurityError, match="may not say"):
        made.verify([liar], NOW_MS)


def test_another_domain_takes_no_name_of_this_one() -> None:
    thief = node(ESA, "dtn://sat1/", laws=("SE",))
    both = [*federation(terms("read")), listed(ESA), certificate_block(thief)]
    assert known(trust(*both)) == {"dtn://sat1/": "esa"}
    assert known(trust(certificate_block(SAT), *both)) == {"dtn://sat1/": "kari"}


def test_a_name_that_two_others_give_is_nobodys() -> None:
    nasa = authority("nasa", 3)
    offer = nasa.offer(terms("pass"))
    cross = KARI.federate(offer, terms("pass"), NOW_MS, 9)
    made = trust(
        *federation(terms("pass")),
        listed(ESA),
        certificate_block(KIRUNA),
        certificate_block(cross),
        pem.PemBlock(pem.REQUEST, offer),
        listed(nasa),
        certificate_block(node(nasa, "dtn://kiruna/", laws=("SE",))),
    )
    assert known(made) == {}


def test_a_federation_ends_when_it_is_revoked_and_when_the_other_is_silent() -> None:
    made = trust(*federation(terms("pass")), listed(ESA), certificate_block(KIRUNA))
    later = NOW_MS + 8 * DAY_MS
    made.learn([listed(KARI, after=made.revocations("kari"), now_ms=later)])
    assert known(made, later)
    assert known(made, NOW_MS + 9 * DAY_MS) == {}  # nothing newer came from esa
    made.learn([listed(ESA, after=made.revocations("esa"), now_ms=later)])
    assert known(made, NOW_MS + 9 * DAY_MS)
    serial = made.federations["esa"].certificate.serial_number
    made.learn([listed(KARI, serial, after=made.revocations("kari"), now_ms=later)])
    assert known(made, later) == {}


def test_what_is_revoked_and_withdrawn_stays_so_in_whatever_order_all_comes() -> None:
    """As at a node that was out of reach for days: what is older, replayed, brings nothing back."""
    agreed = federation(terms("pass"))
    made = trust(*agreed, listed(ESA))
    before = made.revocations("kari")
    cross = made.federations["esa"].certificate.serial_number
    later = NOW_MS + 5 * DAY_MS
    older = listed(KARI, SAT.serial_number, after=before, now_ms=NOW_MS + DAY_MS)
    assert made.learn([older]) == []
    newest = listed(KARI, SAT.serial_number, cross, after=made.revocations("kari"), now_ms=later)
    theirs = [listed(ESA, after=made.revocations("esa"), now_ms=later), certificate_block(KIRUNA)]
    assert made.learn(theirs) == []
    assert set(known(made, later)) == {"dtn://kiruna/"}, "else this shows nothing"
    assert before is not None
    rest = [*agreed, *theirs, certificate_block(SAT)]
    parts = [[newest], [older], [revocations_block(before)], rest]
    for order in itertools.permutations(parts):
        at = Trust(KARI.certificate)
        for number, part in enumerate((*order, *order)):
            at.learn(part)
            if number >= order.index([newest]):
                assert known(at, later) == {}
                assert not at.is_trusted("esa", later)


def test_a_federation_ends_in_time() -> None:
    offer = ESA.offer(terms("pass"))
    cross = certificate_block(KARI.federate(offer, terms("pass"), NOW_MS, 3))
    offered = pem.PemBlock(pem.REQUEST, offer)
    made = trust(offered, cross, listed(ESA), certificate_block(KIRUNA))
    ends = NOW_MS + 3 * DAY_MS
    assert made.changes_ms(NOW_MS) == ends
    assert known(made, ends - 1000)
    assert known(made, ends) == {}
    with pytest.raises(SecurityError, match="has expired"):
        made.check_trusted("esa", ends)
    with pytest.raises(SecurityError, match="has expired"):
        made.verify([KIRUNA], ends)


def test_terms_that_are_newer_count() -> None:
    made = trust(*federation(terms("pass", "read")), listed(ESA), certificate_block(KIRUNA))
    offer = ESA.offer(terms("pass", "read"))
    narrower = KARI.federate(offer, terms("pass"), NOW_MS + 1000, 365)
    made.learn([pem.PemBlock(pem.REQUEST, offer), certificate_block(narrower)])
    made.learn(federation(terms("pass", "read")))
    (facts,) = made.directory(NOW_MS + 2000)
    assert facts.purposes == frozenset({"pass", "rest"})


def test_no_more_is_agreed_than_is_offered() -> None:
    offer = ESA.offer(terms("pass"))
    with pytest.raises(ConfigError, match="more than domain esa offers"):
        KARI.federate(offer, terms("read"), NOW_MS, 9)
    with pytest.raises(ConfigError, match="more than domain esa offers"):
        KARI.federate(offer, terms("pass", laws=("SE", "NO")), NOW_MS, 9)
    with pytest.raises(SecurityError, match="offers this to domain kari"):
        authority("nasa", 3).federate(offer, terms("pass"), NOW_MS, 9)


def test_a_root_signs_itself() -> None:
    forger = CertificateParts.of(KARI.certificate, key(9))
    with pytest.raises(SecurityError, match="signature"):
        Trust(replace(forger, key=key(1).public_key()).signed())
    with pytest.raises(SecurityError):
        Trust(SAT)


def test_what_is_believed_is_the_same_after_a_restart() -> None:
    made = trust(
        certificate_block(SAT), *federation(terms("pass")), listed(ESA), certificate_block(KIRUNA)
    )
    again = Trust(KARI.certificate, made.grace_ms)
    assert again.learn(made.blocks()) == []
    assert list(again.directory(NOW_MS)) == list(made.directory(NOW_MS))
    assert again.changes_ms(NOW_MS) == made.changes_ms(NOW_MS)


def rekeyed(made: Trust, *more: pem.PemBlock) -> None:
    """Domain esa has another key, and kari federates with it anew."""
    offer = ESA_ANEW.offer(terms("pass"))
    cross = KARI.federate(offer, terms("pass"), NOW_MS + 1000, 365)
    blocks = [pem.PemBlock(pem.REQUEST, offer), certificate_block(cross), listed(ESA_ANEW), *more]
    assert made.learn(blocks) == []


def restarted(made: Trust) -> Trust:
    again = Trust(made.root, made.grace_ms)
    assert again.learn(made.blocks()) == []
    again.foreign.recall(made.foreign.memory())
    return again


def test_nodes_of_a_domain_that_has_another_key_do_not_become_ours() -> None:
    made = trust(*federation(terms("pass")), listed(ESA), certificate_block(KIRUNA))
    assert not made.is_foreign("dtn://sat1/")
    rekeyed(made)
    for believing in (made, restarted(made), restarted(restarted(made))):
        assert known(believing) == {}
        assert believing.is_foreign("dtn://kiruna/")
        assert not believing.is_foreign("dtn://sat1/")


def test_a_name_that_this_domain_gives_is_ours_whoever_has_given_it_before() -> None:
    thief = node(ESA, "dtn://sat1/", laws=("SE",))
    made = trust(*federation(terms("pass")), listed(ESA), certificate_block(thief))
    assert made.is_foreign("dtn://sat1/")
    made.learn([certificate_block(SAT)])
    assert not made.is_foreign("dtn://sat1/")
    assert not restarted(made).is_foreign("dtn://sat1/")


def test_what_a_former_key_has_signed_stands_in_the_way_of_nothing() -> None:
    """A list of a higher number, and a certificate of a time to come."""
    high = listed(ESA, after=ESA.revocations(None, [], NOW_MS, 7))
    dated = node(ESA, "dtn://kiruna/", laws=("SE",), now_ms=NOW_MS + DAY_MS)
    made = trust(*federation(terms("pass")), high, certificate_block(dated))
    rekeyed(made, certificate_block(node(ESA_ANEW, "dtn://kiruna/", laws=("SE",))))
    assert known(made) == known(restarted(made)) == {"dtn://kiruna/": "esa"}


def test_no_name_is_foreign_for_saying_so() -> None:
    """What nobody has signed counts in a node's own file alone."""
    made = trust(certificate_block(SAT))
    said = pem.PemBlock(pem.FOREIGN, b"dtn://sat2/")
    assert made.learn([said]) == []
    assert not made.is_foreign("dtn://sat2/")
    made.foreign.recall([said])
    assert made.is_foreign("dtn://sat2/")
    for octets in (b"sat2", b"\xff"):
        with pytest.raises(SecurityError, match="not the id of a node of another domain"):
            made.foreign.recall([pem.PemBlock(pem.FOREIGN, octets)])


def test_more_foreign_names_than_are_kept_make_nobody_one_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stack.identity.foreign.FOREIGN_MAX", 2)
    names = [certificate_block(node(ESA, f"dtn://esa{n}/", laws=("SE",))) for n in range(3)]
    made = trust(certificate_block(SAT), *federation(terms("pass")), *names[:1])
    assert not made.is_foreign("dtn://late/")
    assert made.learn(names) == []
    assert len(made.foreign.memory()) == 2
    for believing in (made, restarted(made)):
        assert all(believing.is_foreign(f"dtn://{name}/") for name in ("esa0", "esa2", "late"))
        assert not believing.is_foreign("dtn://sat1/")


def foreign_list(
    of: Authority, *names: str, domain: str = "kari", octets: bytes | None = None
) -> pem.PemBlock:
    """What an authority has signed of `names`, or of `octets`, for the nodes of a domain."""
    content = "\n".join(names).encode() if octets is None else octets
    aad = f"Orbitferry foreign names\0{domain}".encode()
    return pem.PemBlock(pem.FOREIGN_LIST, sign1(content, of.signing_key, external_aad=aad))


def test_the_list_of_foreign_names_is_the_authoritys_word_alone() -> None:
    made = trust(certificate_block(SAT))
    good = foreign_list(KARI, "dtn://sat2/", "dtn://sat1/")
    for bad in (
        foreign_list(ESA, "dtn://sat3/"),
        foreign_list(KARI, "dtn://sat3/", domain="esa"),
        foreign_list(KARI, "dtn://sat3/", "sat3"),
        foreign_list(KARI, octets=b"\xff"),
        foreign_list(KARI, octets=b""),
        pem.PemBlock(pem.FOREIGN_LIST, good.octets[:-1] + b"\0"),
        pem.PemBlock(pem.FOREIGN_LIST, b""),
    ):
        (why,) = made.learn([bad])
        assert why.startswith("names of other domains: ")
    assert made.blocks() == trust(certificate_block(SAT)).blocks()
    assert not made.is_foreign("dtn://sat3/")
    assert made.learn([good]) == []
    assert made.is_foreign("dtn://sat2/")
    assert not made.is_foreign("dtn://sat1/")  # ours, whoever has said so before


def test_an_older_list_of_foreign_names_takes_nothing_away() -> None:
    made = trust(foreign_list(KARI, "dtn://a/", "dtn://b/"))
    assert made.learn([foreign_list(KARI, "dtn://c/")]) == []
    assert made.foreign.list_blocks() == [foreign_list(KARI, "dtn://a/", "dtn://b/")]
    for believing in (made, restarted(made)):
        assert all(believing.is_foreign(f"dtn://{name}/") for name in "abc")
    made.foreign.sign("kari", KARI.signing_key)
    assert made.foreign.list_blocks() == [foreign_list(KARI, "dtn://a/", "dtn://b/", "dtn://c/")]


def test_foreign_names_that_are_too_long_for_one_list_make_nobody_one_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stack.identity.foreign.FOREIGN_CHARS_MAX", 20)
    made = trust(foreign_list(KARI, "dtn://first/"))
    assert not made.is_foreign("dtn://late/")
    made.learn([foreign_list(KARI, "dtn://first/", "dtn://another/", "dtn://third/")])
    assert len(made.foreign.memory()) == 2
    assert made.is_foreign("dtn://late/")
