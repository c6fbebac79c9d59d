"""Certificates in the key file whose issuer has signed others that lead to them, and revocation
lists of all of these."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from stack.core.errors import ConfigError
from stack.identity.certificate import milliseconds
from stack.security.pinned import CHAIN_MAX, OutOfDate, Period
from stack.security.reasons import FAILED
from tests.security.test_cose_keys import pem_of, rules_for, taking
from tests.security.test_pinned import (
    BEGIN,
    END,
    FROM,
    ISSUER,
    KEYS,
    UNTIL,
    Clock,
    Folder,
    name,
)
from tests.security.test_rules import EXIT, GATE, passed, plain

DAY = datetime.timedelta(days=1)
SOON = BEGIN + 7 * DAY
LISTED = ISSUER + '\nrevocations = "lists.pem"'


@pytest.fixture
def folder(tmp_path: Any) -> Folder:
    return Folder(tmp_path)


class Made(NamedTuple):
    """A certificate, and what signs with it."""

    key: Any
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def made(
    subject: str,
    by: Made | None,
    *,
    key: Any = None,
    serial: int = 1,
    end: datetime.datetime = END,
    authority: bool | None = True,
    path_length: int | None = None,
    usage: str = "",
    critical: str = "",
) -> Made:
    """A certificate of a key, by default one that is made of the subject; of an authority unless
    it is said otherwise."""
    own = key or ec.derive_private_key(sum(subject.encode()), ec.SECP256R1())
    issuer = name(subject) if by is None else by.certificate.subject
    builder = x509.CertificateBuilder(issuer, name(subject), own.public_key(), serial, BEGIN, end)
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, path_length), True)
    if usage:
        may = [usage in (one, "both") for one in ("certificates", "lists")]
        flags = [usage == "neither", False, False, False, False, *may, False, False]
        builder = builder.add_extension(x509.KeyUsage(*flags), True)
    if critical:
        oid = x509.ObjectIdentifier(critical)
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, b"\5\0"), True)
    return Made(own, builder.sign(own if by is None else by.key, hashes.SHA256()))


def listed(
    by: Made,
    *serials: int,
    until: datetime.datetime | None = SOON,
    begin: datetime.datetime = BEGIN,
    signed: Any = None,
    partial: bool = False,
) -> bytes:
    """A revocation list."""
    builder = x509.CertificateRevocationListBuilder(by.certificate.subject, begin, until or SOON)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(BEGIN + DAY)
        builder = builder.add_revoked_certificate(entry.build())
    if partial:
        point = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)
        builder = builder.add_extension(point, True)
    return builder.sign(signed or by.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def chain(*changes: dict[str, Any], leaf: dict[str, Any] | None = None) -> list[Made]:
    """From the pinned certificate to its issuer; `changes` of the issuer and those below it."""
    found: list[Made] = []
    for number, one in enumerate(changes):
        found.append(made(f"ca{number}", found[-1] if found else None, serial=100 + number, **one))
    options: dict[str, Any] = {"authority": None, "serial": 7} | (leaf or {})
    found.append(made("exit", found[-1], key=KEYS["P-384"](), **options))
    return found[::-1]


def pinned(folder: Folder, path: list[Made], more: str = ISSUER, lists: bytes = b"") -> Period:
    """When the first of a path holds, of which all but the last are in its file."""
    folder.text = ""
    folder.key("public", b"".join(one.pem for one in path[:-1]), more)
    folder.write("authority.pem", path[-1].pem)
    folder.write("lists.pem", lists)
    (key,) = folder.keys()
    assert key.period is not None
    return key.period


def refused(folder: Folder, path: list[Made], words: str, *more: Any) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        pinned(folder, path, *more)
    assert raised.value.key.endswith("key[0].file")


@pytest.mark.parametrize("length", range(2, CHAIN_MAX + 2))
def test_so_many_may_lead_to_an_issuer(folder: Folder, length: int) -> None:
    assert CHAIN_MAX == 4
    path = chain(*[{}] * (length - 1))
    assert len(path) == length
    if length <= CHAIN_MAX:
        assert pinned(folder, path) == Period(FROM, UNTIL)
    else:
        refused(folder, path, "not signed by the issuer that is named, nor is one that follows")


def test_each_is_signed_by_the_next(folder: Folder) -> None:
    leaf, two, one, root = chain({}, {}, {})
    refused(folder, [leaf, one, root], "not signed by the issuer")
    refused(folder, [leaf, one, two, root], "not signed by the issuer")
    stranger = made("ca1", None, key=ec.derive_private_key(3, ec.SECP256R1()))
    refused(folder, [leaf, two, stranger, root], "not signed by the issuer")
    # What follows and is not needed says nothing; so it was before there were chains.
    assert pinned(folder, [leaf, stranger, two]) == Period(FROM, UNTIL)
    assert pinned(folder, [leaf, two, one, stranger, root]) == Period(FROM, UNTIL)


def test_the_key_of_its_owner_has_the_chain_behind_it(folder: Folder) -> None:
    leaf, one, root = chain({}, {})
    folder.key("private", pem_of(leaf.key) + leaf.pem + one.pem, ISSUER)
    folder.write("authority.pem", root.pem)
    assert folder.keys()[0].period == Period(FROM, UNTIL)
    folder.text = ""
    folder.key("private", leaf.pem + one.pem + pem_of(leaf.key), ISSUER)
    assert folder.keys()[0].period == Period(FROM, UNTIL)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([{}, {"authority": None}], "CN=ca1, its issuer, may sign no certificates"),
        ([{}, {"authority": False}], "CN=ca1, its issuer, may sign no certificates"),
        ([{"authority": False}, {}], "CN=ca0, its issuer, may sign no certificates"),
        ([{}, {"usage": "lists"}], "CN=ca1, its issuer, may sign no certificates"),
        ([{}, {"usage": "certificates"}], ""),
        ([{"path_length": 1}, {"path_length": 0}], ""),
        ([{"path_length": 0}, {}], "CN=ca0 may have 0 authorities below it, and here are 1"),
        ([{}, {"path_length": 0}, {}], "CN=ca1 may have 0 authorities below it, and here are 1"),
        ([{"path_length": 1}, {}, {}], "CN=ca0 may have 1 authorities below it, and here are 2"),
        ([{"path_length": 2}, {}, {}], ""),
        ([{}, {"critical": "1.2.3"}], "CN=ca1: critical extension 1.2.3 is not known"),
        ([{"critical": "1.2.3"}], "CN=ca0: critical extension 1.2.3 is not known"),
    ],
)
def test_who_leads_to_an_issuer_may_sign(
    folder: Folder, changes: list[dict[str, Any]], words: str
) -> None:
    path = chain(*changes)
    if words:
        refused(folder, path, words)
    else:
        assert pinned(folder, path) == Period(FROM, UNTIL)


def test_who_signs_himself_counts_for_no_length(folder: Folder) -> None:
    """An authority that has another key (RFC 5280 §4.2.1.9)."""
    root = made("ca0", None, path_length=0)
    anew = made("ca0", root, key=ec.derive_private_key(3, ec.SECP256R1()))
    leaf = made("exit", anew, key=KEYS["P-384"](), authority=None)
    assert pinned(folder, [leaf, anew, root]) == Period(FROM, UNTIL)


def test_critical_words_of_the_pinned_one_count_too(folder: Folder) -> None:
    refused(folder, chain({}, leaf={"critical": "1.2.3"}), "CN=exit: critical extension 1.2.3")


@pytest.mark.parametrize("which", [0, 1, 2])
def test_all_of_a_chain_have_to_hold(folder: Folder, which: int) -> None:
    changes: list[dict[str, Any]] = [{}, {}, {}]
    changes[which] = {"end": BEGIN + DAY}
    path = chain(*changes)
    assert pinned(folder, path) == Period(FROM, milliseconds(BEGIN + DAY))


# ---- revocation lists --------------------------------------------------------------------------


def lists_of(path: list[Made], *serials: int) -> bytes:
    """Of all that have signed in a path."""
    return b"".join(listed(one, *serials) for one in path[1:])


@pytest.mark.parametrize("serial", [7, 101])
def test_what_is_revoked_is_used_no_more_at_either_end(folder: Folder, serial: int) -> None:
    """The pinned one, or one that leads to its issuer."""
    path = chain({}, {})
    clock = Clock(FROM)
    whole = path[0].pem + path[1].pem

    def ends() -> Any:
        folder.text = ""
        folder.key("public", whole, LISTED)
        makes = clock.node(GATE, folder.keys(), *rules_for("P-384"))
        folder.text = ""
        folder.key("private", pem_of(path[0].key) + whole, LISTED)
        return makes, clock.node(EXIT, folder.keys(), *taking(rules_for("P-384")))

    folder.write("authority.pem", path[-1].pem)
    folder.write("lists.pem", lists_of(path, 8))
    makes, opens = ends()
    secured = passed(makes, plain()).bundle
    assert secured is not None
    assert passed(opens, secured).ok
    folder.write("lists.pem", lists_of(path, serial))
    makes, opens = ends()
    who, by = ("exit", "ca1") if serial == 7 else ("ca1", "ca0")
    words = f"CN={by} has revoked that of CN={who} at 2026-01-02T00:00:00Z"
    with pytest.raises(OutOfDate, match=words):
        makes.secure(plain())
    opened = passed(opens, secured)
    assert (opened.bundle, opened.reason) == (None, FAILED)
    assert words in opened.failure


def test_of_several_keys_the_one_that_is_not_revoked_is_used(folder: Folder) -> None:
    path = chain({})
    other = made("exit", path[-1], key=ec.derive_private_key(8, ec.SECP384R1()), authority=None)
    folder.write("authority.pem", path[-1].pem)
    folder.write("lists.pem", listed(path[-1], 7))
    folder.key("public", path[0].pem, LISTED)
    folder.key("public", other.pem, LISTED)
    makes = Clock(FROM).node(GATE, folder.keys(), *rules_for("P-384"))
    folder.text = ""
    folder.key("private", pem_of(other.key) + other.pem, LISTED)
    opens = Clock(FROM).node(EXIT, folder.keys(), *taking(rules_for("P-384")))
    secured = passed(makes, plain()).bundle
    assert secured is not None
    assert passed(opens, secured).ok


def test_every_issuer_has_to_have_a_list_where_lists_are_asked_for(folder: Folder) -> None:
    path = leaf, one, root = chain({}, {})
    assert pinned(folder, path, LISTED, lists_of(path)).revoked == ""
    for present, absent in ((one, "ca0"), (root, "ca1")):
        words = f"no revocation list that CN={absent} has signed"
        refused(folder, path, words, LISTED, listed(present))
    forged = listed(one, signed=ec.derive_private_key(3, ec.SECP256R1())) + listed(root)
    refused(folder, path, "no revocation list that CN=ca1 has signed", LISTED, forged)
    refused(folder, path, "no PEM file", LISTED, b"")
    refused(folder, path, "no revocation list that CN=ca1", LISTED, leaf.pem)
    (folder.path / "lists.pem").unlink()
    folder.text = folder.text.replace("lists.pem", "gone.pem")
    with pytest.raises(ConfigError, match="No such file"):
        folder.keys()


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (lambda root: listed(root, partial=True), "critical extension 2.5.29.28"),
        (lambda root: listed(root)[:-40], "has no end"),
        (lambda root: b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n", "well formed"),
    ],
    ids=["of some alone", "cut off", "damaged"],
)
def test_a_list_that_says_something_else_is_none(
    folder: Folder, octets: Callable[[Made], bytes], words: str
) -> None:
    path = chain({})
    refused(folder, path, words, LISTED, octets(path[-1]))


def test_who_may_sign_no_lists_has_none(folder: Folder) -> None:
    path = chain({"usage": "certificates"})
    refused(folder, path, "CN=ca0 may sign no revocation lists", LISTED, lists_of(path))
    path = chain({"usage": "both"})
    assert pinned(folder, path, LISTED, lists_of(path)) == Period(FROM, UNTIL)


@pytest.mark.parametrize("newest_first", [False, True])
def test_the_newest_list_counts(folder: Folder, newest_first: bool) -> None:
    path = chain({})
    both = [listed(path[-1]), listed(path[-1], 7, begin=BEGIN + DAY)]
    found = pinned(folder, path, LISTED, b"".join(both[::-1] if newest_first else both))
    assert "has revoked" in found.revoked


def test_a_list_that_is_too_old_counts_unless_it_is_said_for_how_long(folder: Folder) -> None:
    """Satellites may be out of reach for days."""
    path = chain({})
    lists = lists_of(path)
    late = milliseconds(SOON) + 30 * 86_400_000
    found = pinned(folder, path, LISTED, lists)
    assert found.refusal("k", late) is None
    end = 0
    for days in (0, 2.5):
        grace = f"{LISTED}\nrevocations_grace_days = {days}"
        found = pinned(folder, path, grace, lists)
        end = milliseconds(SOON) + round(days * 86_400_000)
        assert found == Period(FROM, UNTIL, listed_until_ms=end)
        assert found.refusal("k", end - 1) is None
        refusal = found.refusal("k", end)
        assert "list for the certificate of key k was believed until 2026-01" in str(refusal)
    clock = Clock(end)
    makes = clock.node(GATE, folder.keys(), *rules_for("P-384"))
    with pytest.raises(OutOfDate, match="bring a newer one"):
        makes.secure(plain())


def test_the_oldest_list_of_a_chain_ends_it(folder: Folder) -> None:
    path = chain({}, {})
    lists = listed(path[1], until=SOON + DAY) + listed(path[2])
    found = pinned(folder, path, f"{LISTED}\nrevocations_grace_days = 1", lists)
    assert found.listed_until_ms == milliseconds(SOON + DAY)


@pytest.mark.parametrize(
    ("more", "key", "words"),
    [
        ('revocations = "lists.pem"', "revocations", "whose they are"),
        (f"{ISSUER}\nrevocations_grace_days = 1", "revocations_grace_days", "no revocation list"),
        (f"{LISTED}\nrevocations_grace_days = -1", "revocations_grace_days", "0"),
        (f"{LISTED}\nrevocations_grace_days = 3651", "revocations_grace_days", "3 650"),
    ],
)
def test_what_does_not_go_together(folder: Folder, more: str, key: str, words: str) -> None:
    path = chain({})
    with pytest.raises(ConfigError, match=words) as raised:
        pinned(folder, path, more, lists_of(path))
    assert raised.value.key.endswith(f"key[0].{key}")


def test_a_key_of_another_kind_has_no_list(folder: Folder) -> None:
    folder.text = f'[[key]]\nid = "k"\nkind = "kdk"\nsecret = "{bytes(32).hex()}"\n'
    folder.text += 'revocations = "lists.pem"\n'
    with pytest.raises(ConfigError, match="have no certificate") as raised:
        folder.keys()
    assert raised.value.key.endswith("key[0].revocations")
