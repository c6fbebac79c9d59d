"""The key of a log belongs to a node because the node's certificate says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stack.audit.note import NoteKey, NoteSigner
from stack.audit.proof import Owner, RestClaim, check_proof, make_proof
from stack.core.eid import Eid
from stack.core.errors import OrbitferryError, SecurityError
from stack.identity import Identity, NodeFolder, Trust
from stack.policy import Directory, NodeFacts, NodeSet
from stack.security.vouchers import make_voucher, owner, read_voucher
from tests.audit.logs import BUNDLE, DIRECTORY, HOUR, T0, exports, journey
from tests.node import test_identity as enrolled
from tests.node.test_federated import Domains
from tests.node.world import EPOCH_MS

NOW_MS = EPOCH_MS + 60_000


def key_of(node: str, secret: int = 1) -> NoteKey:
    return NoteSigner(f"dtn://{node}/audit/0011223344556677", bytes([secret]) * 32).key


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trust, dict[str, Identity]]:
    """Two nodes of a domain, and one of another domain that nobody here trusts."""
    found = {}
    roots = {home: tmp_path_factory.mktemp(home) for home in ("kari", "esa")}
    for home, names in (("kari", ("gs1", "sat1")), ("esa", ("relay",))):
        authority = enrolled.domain(roots[home])
        for name in names:
            found[name] = enrolled.member(roots[home], authority, name).unlock(enrolled.nothing)
    return NodeFolder(roots["kari"] / "gs1-identity").trust(), found


def test_a_node_vouches_for_its_own_log(nodes: tuple[Trust, dict[str, Identity]]) -> None:
    trust, identities = nodes
    for name in ("gs1", "sat1"):
        voucher = make_voucher(identities[name], key_of(name), NOW_MS)
        key, node = read_voucher(voucher, trust, NOW_MS)
        assert (key, str(node.facts.id)) == (key_of(name), f"dtn://{name}/")


FOREIGN: dict[str, tuple[Callable[[dict[str, Identity]], bytes], str]] = {
    "the log of another node": (
        lambda ids: make_voucher(ids["gs1"], key_of("sat1"), NOW_MS),
        "vouches for the log of dtn://sat1/",
    ),
    "a domain that is not trusted": (
        lambda ids: make_voucher(ids["relay"], key_of("relay"), NOW_MS),
        "the signature is wrong",
    ),
    "before its certificate": (
        lambda ids: make_voucher(ids["gs1"], key_of("gs1"), NOW_MS - 400 * 86_400_000),
        "was not valid when it said so",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_nobody_else_vouches_for_it(name: str, nodes: tuple[Trust, dict[str, Identity]]) -> None:
    make, words = FOREIGN[name]
    with pytest.raises(SecurityError, match=words):
        read_voucher(make(nodes[1]), nodes[0], NOW_MS)


def test_who_is_revoked_vouches_for_nothing_any_more(tmp_path: Path) -> None:
    authority = enrolled.domain(tmp_path)
    auditor = enrolled.member(tmp_path, authority, "gs1")
    identity = enrolled.member(tmp_path, authority, "sat1").unlock(enrolled.nothing)
    voucher = make_voucher(identity, key_of("sat1"), NOW_MS)
    authority.revoke(authority.unlock(enrolled.nothing), "dtn://sat1/", NOW_MS)
    enrolled.update(authority, auditor, NOW_MS)
    with pytest.raises(SecurityError, match="has revoked it"):
        read_voucher(voucher, auditor.trust(), NOW_MS)


def test_who_is_revoked_vouches_for_nothing_when_its_certificate_has_long_ended_either(
    tmp_path: Path,
) -> None:
    """The thief of its key says that it was then: so no entry leaves a revocation list."""
    authority = enrolled.domain(tmp_path)
    auditor = enrolled.member(tmp_path, authority, "gs1", days=3000)
    thief = enrolled.member(tmp_path, authority, "sat1").unlock(enrolled.nothing)
    key = authority.unlock(enrolled.nothing)
    authority.revoke(key, "dtn://sat1/", NOW_MS)
    voucher = make_voucher(thief, key_of("sat1", 7), NOW_MS)
    now_ms = NOW_MS
    for _ in range(4):
        now_ms += 360 * 86_400_000
        authority.update(key, (), now_ms)
    enrolled.update(authority, auditor, now_ms)
    with pytest.raises(SecurityError, match="has revoked it"):
        read_voucher(voucher, auditor.trust(), now_ms)


def test_another_domain_vouches_for_its_own_nodes_alone_and_while_it_is_trusted(
    tmp_path: Path,
) -> None:
    domains = Domains(tmp_path)
    taken = domains.enrolled(tmp_path / "again", "gs1", "esa")
    domains.trusts("kari", "esa", "pass")
    domains.bring()
    auditor = domains.nodes["sat1"]

    def read(folder: NodeFolder, name: str) -> NoteKey:
        voucher = make_voucher(folder.unlock(enrolled.nothing), key_of(name), NOW_MS)
        return read_voucher(voucher, auditor.trust(), NOW_MS)[0]

    for name in ("gs1", "kiruna"):
        assert read(domains.nodes[name], name) == key_of(name)
    with pytest.raises(SecurityError, match="a node of domain kari"):
        read(taken, "gs1")
    kari = domains.authorities["kari"]
    kari.revoke(kari.unlock(enrolled.nothing), "esa", NOW_MS)
    domains.bring(NOW_MS)
    assert read(domains.nodes["gs1"], "gs1") == key_of("gs1")
    with pytest.raises(SecurityError, match="domain kari has revoked it"):
        read(domains.nodes["kiruna"], "kiruna")


def test_a_proof_holds_by_what_certificates_say_of_its_nodes(tmp_path: Path) -> None:
    domains = Domains(tmp_path)
    domains.trusts("kari", "esa", "pass")
    domains.bring()
    auditor = domains.nodes["sat1"]
    said = journey("kiruna")
    home = NodeFacts(Eid.parse("dtn://kiruna/"), "", frozenset({"KR"}))  # as the prover has it
    directory = Directory((home, *DIRECTORY))

    def proof(places: str, **vouchers: bytes) -> bytes:
        logs = exports(said)
        for log, name in zip(logs, said, strict=True):
            identity = domains.nodes[name].unlock(enrolled.nothing)
            log.voucher = vouchers.get(name, make_voucher(identity, log.key, NOW_MS))
        claim = RestClaim(BUNDLE, NodeSet.parse(places), T0, T0 + 8 * HOUR)
        return json.dumps(make_proof(claim, logs, directory, NOW_MS)).encode()

    def by_trust() -> Owner:
        return partial(owner, trust=auditor.trust(), now_ms=NOW_MS)

    assert check_proof(proof("KR | SE"), owner=by_trust()).holds
    assert check_proof(proof("KR")).fits
    by_certificates = check_proof(proof("KR"), owner=by_trust())
    assert by_certificates.against == [
        f"{BUNDLE} was at dtn://kiruna/: 'SE, domain:esa', outside 'KR'"
    ]
    gs1 = domains.nodes["gs1"].unlock(enrolled.nothing)
    for voucher, words in (
        (b"", "no certificate goes with it"),
        (make_voucher(gs1, key_of("gs1"), NOW_MS), "its node vouches for another key"),
    ):
        with pytest.raises(SecurityError, match=f"a foreign key: .* of dtn://gs1/: {words}"):
            check_proof(proof("KR | SE", gs1=voucher), owner=by_trust())
    kari = domains.authorities["kari"]
    kari.revoke(kari.unlock(enrolled.nothing), "esa", NOW_MS)
    domains.bring(NOW_MS)
    with pytest.raises(SecurityError, match=r"a foreign key: .* of dtn://kiruna/: .* revoked it"):
        check_proof(proof("KR | SE"), owner=by_trust())
    assert check_proof(proof("KR | SE")).fits


def test_a_domain_vouches_for_no_node_under_laws_that_were_not_agreed(tmp_path: Path) -> None:
    """Its authority signs what it likes: else a proof would hold that data never left a country in
    which none of its nodes is."""
    domains = Domains(tmp_path)
    domains.trusts("kari", "esa", "pass")
    domains.bring()
    auditor = domains.nodes["sat1"].trust()
    kiruna = domains.enrolled(tmp_path / "liar", "kiruna", "esa", "KR").unlock(enrolled.nothing)
    with pytest.raises(SecurityError, match="may not say that it is under KR"):
        read_voucher(make_voucher(kiruna, key_of("kiruna"), NOW_MS), auditor, NOW_MS)


def test_what_was_altered_vouches_for_nothing(nodes: tuple[Trust, dict[str, Identity]]) -> None:
    trust, identities = nodes
    voucher = make_voucher(identities["gs1"], key_of("gs1"), NOW_MS)
    genuine: Any = read_voucher(voucher, trust, NOW_MS)
    for at in range(0, len(voucher), 7):
        changed = bytearray(voucher)
        changed[at] ^= 1
        try:
            assert read_voucher(bytes(changed), trust, NOW_MS) == genuine  # what is not signed
        except OrbitferryError:
            continue
