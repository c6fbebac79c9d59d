"""Folders of nodes and of authorities: from a request to an identity, and what never happens."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interop.strategies.nearly_certificate import NOW_MS
from stack.core.eid import Eid
from stack.core.errors import ConfigError, SecurityError
from stack.core.private import write_file
from stack.cose import decode_encrypt, encrypt_for
from stack.identity import AuthorityFolder, NodeFolder, Terms, disk, pem
from stack.identity.certificate import fingerprint
from stack.identity.disk import destroy, secret_files
from stack.identity.keys import ALGORITHMS
from tests.identity.worlds import DAY_MS, known

SAT = Eid.parse("dtn://sat1/")


def nothing() -> bytes:
    """No passphrase."""
    return b""


def domain(path: Path, name: str = "kari", algorithm: str = "ed25519") -> AuthorityFolder:
    """An authority without a passphrase."""
    folder = AuthorityFolder(path / name)
    folder.create(name, passphrase=b"", entropy=os.urandom, now_ms=NOW_MS, algorithm=algorithm)
    return folder


def begun(path: Path, node: str = "dtn://sat1/", *, algorithm: str = "ed25519") -> NodeFolder:
    """A node that has asked."""
    folder = NodeFolder(path / node.strip("/").rpartition("/")[2])
    folder.begin(
        Eid.parse(node),
        jurisdictions=["KR"],
        roles=[],
        passphrase=b"",
        entropy=os.urandom,
        algorithm=algorithm,
        kem="X25519" if algorithm == "p384" else "MLKEM768-X25519",
    )
    return folder


def approve(authority: AuthorityFolder, node: NodeFolder, now_ms: int = NOW_MS) -> bytes:
    """The answer of an authority."""
    authority.approve(
        authority.unlock(nothing),
        node.request(),
        jurisdictions=["KR"],
        roles=["relay"],
        now_ms=now_ms,
    )
    return pem.encode(authority.export()).encode()


def test_who_enrols_gets_a_hybrid_key_unless_he_asks_for_another(tmp_path: Path) -> None:
    folder = NodeFolder(tmp_path / "sat1")
    folder.begin(SAT, jurisdictions=[], roles=[], passphrase=b"", entropy=os.urandom)
    accepted = folder.accept(approve(domain(tmp_path), folder), NOW_MS)
    assert accepted.node.hpke.kem == folder.unlock(nothing).hpke.kem == "MLKEM768-X25519"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_from_a_request_to_an_identity(tmp_path: Path, algorithm: str) -> None:
    authority = domain(tmp_path, algorithm=algorithm)
    node = begun(tmp_path, algorithm=algorithm)
    accepted = node.accept(approve(authority, node), NOW_MS)
    assert (accepted.node.facts.id, accepted.refusals) == (SAT, [])
    # What the authority says counts, not what the node has asked for.
    assert accepted.node.facts.roles == frozenset({"relay"})
    identity = node.unlock(nothing)
    assert identity.node == SAT
    sealed = encrypt_for(b"secret", [accepted.node.hpke], os.urandom)
    assert decode_encrypt(sealed).open(identity.hpke) == b"secret"
    accepted.node.verifying_key.verify(identity.signing_key.sign(b"word"), b"word")
    assert known(node.trust()) == {"dtn://sat1/": "kari"}


def test_all_of_it_is_its_owners_alone(tmp_path: Path) -> None:
    authority, node = domain(tmp_path), begun(tmp_path)
    node.accept(approve(authority, node), NOW_MS)
    for folder in (node.path, authority.path):
        for path in (folder, *folder.rglob("*")):
            assert path.stat().st_mode & 0o077 == 0, path
    node.path.chmod(0o755)
    with pytest.raises(ConfigError, match=f"chmod 700 {node.path}"):
        node.unlock(nothing)
    node.path.chmod(0o700)
    (node.path / "key.pem").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        node.unlock(nothing)


@pytest.mark.slow
def test_a_passphrase_keeps_keys_and_tells_nothing(tmp_path: Path) -> None:
    node = NodeFolder(tmp_path / "sat1")
    node.begin(SAT, jurisdictions=(), roles=(), passphrase=b"right", entropy=os.urandom)
    authority = domain(tmp_path)
    node.accept(approve(authority, node), NOW_MS)
    assert node.unlock(lambda: b"right").node == SAT
    with pytest.raises(SecurityError, match="passphrase is wrong") as wrong:
        node.unlock(lambda: b"wrong")
    assert "right" not in str(wrong.value)
    with pytest.raises(SecurityError, match="no passphrase was given"):
        node.unlock(nothing)
    assert "key=" not in repr(node.unlock(lambda: b"right"))


@pytest.mark.slow
def test_openssl_reads_what_is_written(tmp_path: Path) -> None:
    """An outside program for each form: key under scrypt, request, certificate, revocations."""
    node = NodeFolder(tmp_path / "sat1")
    node.begin(SAT, jurisdictions=["KR"], roles=(), passphrase=b"right", entropy=os.urandom)
    authority = domain(tmp_path, algorithm="p256")
    answer = tmp_path / "answer.pem"
    answer.write_bytes(approve(authority, node))

    def openssl(*arguments: object) -> str:
        ran = subprocess.run(
            ["openssl", *map(str, arguments)], capture_output=True, text=True, check=True
        )
        return ran.stdout + ran.stderr

    key = node.path / "key.pem"
    assert "PRIVATE KEY" in openssl("pkey", "-in", key, "-passin", "pass:right")
    request = openssl("req", "-in", node.path / "request.pem", "-text", "-noout", "-verify")
    assert "othername: 1.3.6.1.5.5.7.8.11" in request
    node.accept(answer.read_bytes(), NOW_MS)
    assert "Serial Number" in openssl("x509", "-in", node.path / "certificate.pem", "-text")
    assert "X509v3 CRL Number" in openssl("crl", "-in", answer, "-text", "-noout")
    assert "OK" in openssl(
        *("verify", "-partial_chain", "-attime", str(NOW_MS // 1000 + 946_684_800)),
        *("-CAfile", answer, "-crl_check", "-purpose", "any", node.path / "certificate.pem"),
    )


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    node, authority = begun(tmp_path), domain(tmp_path)
    with pytest.raises(ConfigError, match="has keys already"):
        begun(tmp_path)
    with pytest.raises(ConfigError, match="has a domain already"):
        domain(tmp_path)
    node.request()
    authority.unlock(nothing)


def _another_request(path: Path) -> bytes:
    return approve(domain(path), begun(path, "dtn://sat2/"))


def _without_the_root(path: Path) -> bytes:
    authority = domain(path)
    approve(authority, NodeFolder(path / "sat1"))
    return pem.encode(authority.export()[1:]).encode()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (_another_request, "answer to another request"),
        (_without_the_root, "authority is not in this file"),
        (lambda path: b"nothing", "no PEM file"),
        (lambda path: b"\xff", "not text"),
        (lambda path: approve(domain(path), NodeFolder(path / "sat1"))[:-20], "cut off"),
    ],
)
def test_answers_that_are_none_change_nothing(
    tmp_path: Path, answer: Callable[[Path], bytes], why: str
) -> None:
    node = begun(tmp_path)
    with pytest.raises(SecurityError, match=why):
        node.accept(answer(tmp_path), NOW_MS)
    assert not node.enrolled
    assert sorted(one.name for one in node.path.iterdir()) == ["key.pem", "request.pem"]


def test_whom_to_believe_is_said_once(tmp_path: Path) -> None:
    """An authority of the same name does not take over a node."""
    node, right = begun(tmp_path), domain(tmp_path)
    answer = approve(right, node)
    with pytest.raises(SecurityError, match="authority's certificate is"):
        node.accept(answer, NOW_MS, root="00" * 32)
    assert not node.enrolled
    node.accept(answer, NOW_MS, root=fingerprint(right.trust().root))
    (tmp_path / "other").mkdir()
    forged = approve(domain(tmp_path / "other"), node, NOW_MS + DAY_MS)
    with pytest.raises(SecurityError, match="signature"):
        node.accept(forged, NOW_MS + DAY_MS)
    assert fingerprint(node.trust().root) == fingerprint(right.trust().root)


def test_who_is_revoked_hears_so_and_all_his_certificates_are(tmp_path: Path) -> None:
    authority, node, other = domain(tmp_path), begun(tmp_path), begun(tmp_path, "dtn://gs1/")
    first = approve(authority, node)
    node.accept(first, NOW_MS)
    old = node.unlock(nothing).certificate
    node.accept(approve(authority, node, NOW_MS + DAY_MS), NOW_MS + DAY_MS)
    other.accept(approve(authority, other, NOW_MS + DAY_MS), NOW_MS + DAY_MS)
    other.trust().verify([old], NOW_MS + DAY_MS)
    now_ms = NOW_MS + 2 * DAY_MS
    assert authority.revoke(authority.unlock(nothing), "dtn://sat1/", now_ms) == 2
    update = pem.encode(authority.export()).encode()
    with pytest.raises(SecurityError, match="revoked"):
        node.accept(update, now_ms)
    other.accept(update, now_ms)
    for folder in (node, other):
        assert known(folder.trust(), now_ms) == {"dtn://gs1/": "kari"}
    with pytest.raises(SecurityError, match="revoked"):
        other.trust().verify([old], now_ms)
    with pytest.raises(ConfigError, match="no such node or domain"):
        authority.revoke(authority.unlock(nothing), "dtn://nobody/", now_ms)


def _cut(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _of_another(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def _of_another_domain(path: Path, other: Path) -> None:
    authority = domain(path.parent.parent.parent, "esa")
    approve(authority, NodeFolder(path.parent.parent.parent / "sat1"))
    path.write_bytes(next((authority.path / "issued").iterdir()).read_bytes())


def _of_a_name_with_a_flipped_bit(path: Path, other: Path) -> None:
    (block,) = pem.decode(path.read_bytes())
    octets = block.octets.replace(b"sat1/", b"sat3/")
    assert octets != block.octets
    path.write_text(pem.encode([pem.PemBlock(block.label, octets)]))


def _a_folder(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "newest"),
    [
        (_cut, False),
        (_cut, True),
        (_of_another, False),
        (_of_another_domain, False),
        (_of_a_name_with_a_flipped_bit, False),
        (_a_folder, False),
    ],
)
def test_a_certificate_that_cannot_be_read_stops_no_revocation(
    tmp_path: Path, damage: Callable[[Path, Path], None], newest: bool
) -> None:
    authority, node, other = domain(tmp_path), begun(tmp_path), begun(tmp_path, "dtn://gs1/")
    issued = authority.path / "issued"
    approve(authority, node)
    (first,) = issued.iterdir()
    approve(authority, node, NOW_MS + DAY_MS)
    (second,) = set(issued.iterdir()) - {first}
    approve(authority, other, NOW_MS + DAY_MS)
    (third,) = set(issued.iterdir()) - {first, second}
    damage(second if newest else first, third)
    (issued / "note.pem").write_bytes(b"of nobody")
    now_ms = NOW_MS + 2 * DAY_MS
    # The newest is known from elsewhere; of an older one nobody knows whose it is, so it goes, too.
    told = authority.revocable("dtn://sat1/", now_ms).unread
    assert [why.rpartition(": ")[2] for why in told if str(first) in why] == (
        [] if newest else ["it is revoked, too, as it may be of dtn://sat1/"]
    )
    assert [why for why in told if "note.pem" in why and "is not revoked" in why]
    assert authority.revoke(authority.unlock(nothing), "dtn://sat1/", now_ms) == 2
    listed = authority.trust().revocations("kari")
    assert listed is not None
    assert {one.serial_number for one in listed} == {int(one.stem, 16) for one in (first, second)}
    assert known(authority.trust(), now_ms) == {"dtn://gs1/": "kari"}
    # It is told no more once it is revoked, and takes no other node with it.
    assert authority.revoke(authority.unlock(nothing), "dtn://gs1/", now_ms) == 1
    with pytest.raises(ConfigError, match=r"no such node or domain.*note\.pem"):
        authority.revocable("dtn://nobody/", now_ms)


def test_expired_certificates_are_forgotten_and_a_folder_that_is_gone_is_told(
    tmp_path: Path,
) -> None:
    authority, node = domain(tmp_path), begun(tmp_path)
    issued = authority.path / "issued"
    approve(authority, node)
    now_ms = NOW_MS + 89 * DAY_MS
    approve(authority, node, now_ms)
    assert len(authority.revocable("dtn://sat1/", NOW_MS + 91 * DAY_MS).serials) == 1
    assert len(list(issued.iterdir())) == 2  # who only asks changes nothing
    key = authority.unlock(nothing)
    assert authority.revoke(key, "dtn://sat1/", NOW_MS + 91 * DAY_MS) == 1
    assert len(list(issued.iterdir())) == 1
    issued.rename(tmp_path / "elsewhere")
    left = authority.revocable("dtn://sat1/", now_ms)
    assert (len(left.serials), len(left.unread)) == (1, 1)
    assert "issued: No such file" in left.unread[0]


def test_what_is_certified_again_within_a_second_is_the_newer(tmp_path: Path) -> None:
    kari, esa = domain(tmp_path), domain(tmp_path, "esa")
    node, kiruna = begun(tmp_path), begun(tmp_path, "dtn://kiruna/")
    approve(esa, kiruna)
    terms = Terms("kari", frozenset({"pass"}), frozenset({"KR", "SE"}))
    offer = [pem.PemBlock(pem.REQUEST, esa.unlock(nothing).offer(terms)), *esa.export()]
    for _ in range(6):  # as often as chance could not be right
        node.accept(approve(kari, node), NOW_MS)
        assert kari.federate(kari.unlock(nothing), offer, terms, NOW_MS) == []
        node.accept(pem.encode(kari.export()).encode(), NOW_MS)
        assert known(node.trust()) == {"dtn://sat1/": "kari", "dtn://kiruna/": "esa"}
        for subject in ("dtn://sat1/", "esa"):
            assert kari.revoke(kari.unlock(nothing), subject, NOW_MS)


def test_domains_federate_by_files(tmp_path: Path) -> None:
    kari, esa = domain(tmp_path), domain(tmp_path, "esa")
    node, kiruna = begun(tmp_path), begun(tmp_path, "dtn://kiruna/")
    approve(esa, kiruna)
    terms = Terms("kari", frozenset({"pass", "read"}), frozenset({"KR", "SE"}))
    offer = [pem.PemBlock(pem.REQUEST, esa.unlock(nothing).offer(terms)), *esa.export()]
    narrower = Terms("kari", frozenset({"pass"}), terms.jurisdictions)
    assert kari.federate(kari.unlock(nothing), offer, narrower, NOW_MS) == []
    node.accept(approve(kari, node), NOW_MS)
    assert known(node.trust()) == {"dtn://sat1/": "kari", "dtn://kiruna/": "esa"}
    assert kari.revoke(kari.unlock(nothing), "esa", NOW_MS) == 1
    node.accept(pem.encode(kari.export()).encode(), NOW_MS)
    assert known(node.trust()) == {"dtn://sat1/": "kari"}


def rekeyed(tmp_path: Path, kari: AuthorityFolder) -> Iterator[int]:
    """Domain esa, which has named kiruna once, and then twice another key."""
    terms = Terms("kari", frozenset({"pass"}), frozenset({"KR", "SE"}))
    for number in range(3):
        esa = domain(tmp_path / str(number), "esa")
        if number == 0:
            approve(esa, begun(tmp_path, "dtn://kiruna/"))
        offer = [pem.PemBlock(pem.REQUEST, esa.unlock(nothing).offer(terms)), *esa.export()]
        assert kari.federate(kari.unlock(nothing), offer, terms, NOW_MS) == []
        yield number


def test_a_folder_keeps_whom_other_domains_have_named_and_hands_it_to_nobody(
    tmp_path: Path,
) -> None:
    kari, node = domain(tmp_path), begun(tmp_path)
    node.accept(approve(kari, node), NOW_MS)
    for number in rekeyed(tmp_path, kari):
        assert node.accept(pem.encode(kari.export()).encode(), NOW_MS).refusals == []
        assert ("dtn://kiruna/" in known(node.trust())) == (number == 0)  # another key, then
        assert node.trust().is_foreign("dtn://kiruna/")
        assert not node.trust().is_foreign("dtn://sat1/")
    for exported in (kari.export(), node.trust().blocks()):
        assert pem.FOREIGN not in {block.label for block in exported}


def test_a_node_that_enrols_late_learns_whom_other_domains_have_named_before(
    tmp_path: Path,
) -> None:
    kari, late = domain(tmp_path), begun(tmp_path)
    assert pem.FOREIGN_LIST not in {block.label for block in kari.export()}
    assert list(rekeyed(tmp_path, kari)) == [0, 1, 2]
    assert late.accept(approve(kari, late), NOW_MS).refusals == []
    assert late.trust().is_foreign("dtn://kiruna/")
    assert not late.trust().is_foreign("dtn://sat1/")
    # Other domains are not told whom third ones have named.
    assert pem.FOREIGN_LIST not in {block.label for block in kari.export(own=True)}
    kari.revoke(kari.unlock(nothing), "esa", NOW_MS)
    later = begun(tmp_path, "dtn://sat2/")
    later.accept(approve(kari, later), NOW_MS)
    assert later.trust().is_foreign("dtn://kiruna/")


def test_what_is_destroyed_is_gone(tmp_path: Path) -> None:
    authority, node = domain(tmp_path), begun(tmp_path)
    node.accept(approve(authority, node), NOW_MS)
    for folder, files in (
        (node.path, ["key.pem"]),
        (authority.path, ["key.pem", "first-epoch.pem"]),
    ):
        assert [one.name for one in destroy(folder, nothing)] == files
        with pytest.raises(ConfigError, match="there are no keys"):
            destroy(folder, nothing)
    with pytest.raises(ConfigError):
        node.unlock(nothing)
    with pytest.raises(ConfigError):
        authority.unlock(nothing)


@pytest.mark.parametrize("make", [begun, domain])
@pytest.mark.parametrize("for_good", [False, True])
def test_where_the_disk_fails_no_key_stays_and_all_can_begin_anew(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], NodeFolder | AuthorityFolder],
    for_good: bool,
) -> None:
    """Whichever sync it is that fails."""
    real, left = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left == 0 or (left < 0 and for_good):
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    for fails in (1, 2, 3, 4, *((5, 6) if make is domain else ())):
        root, left = tmp_path / str(fails), fails
        with pytest.raises(ConfigError, match="No space left"):
            make(root)
        (folder,) = root.iterdir()
        assert {one.name for one in folder.iterdir()} <= {"request.pem", "issued"}
        left = 100  # the disk has room again
        make(root)


def test_what_a_kill_has_left_of_a_key_is_destroyed_too(tmp_path: Path) -> None:
    cut_off = [tmp_path / name for name in ("key.pem.new", "first-epoch.pem.new")]
    for path in cut_off:
        path.write_bytes(b"-----BEGIN PRIVATE KEY-----")
    assert secret_files(tmp_path) == destroy(tmp_path, nothing) == cut_off
    assert not list(tmp_path.iterdir())


CUT_OFF = r"was cut off while its keys were made.*`orbitferry domain destroy .*`, then"


@pytest.mark.parametrize("step", ["key.pem", "first-epoch.pem", "request.pem", "trust.pem"])
def test_who_was_cut_off_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """As a kill leaves it: nothing is undone, and that step is not done any more."""

    def killed(path: Path, octets: bytes) -> None:
        if path.name == step:
            raise SystemExit
        write_file(path, octets)

    make = begun if step == "request.pem" else domain
    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_file", killed)
        for module in ("disk", "folder"):
            patch.setattr(f"stack.identity.{module}.discard", lambda path: None)
        with pytest.raises(SystemExit):
            make(tmp_path)
    if step != "key.pem":  # of which nothing is there then
        with pytest.raises(ConfigError, match=CUT_OFF):
            make(tmp_path)
        destroy(next(tmp_path.iterdir()), nothing)
    make(tmp_path)


def test_a_key_without_what_it_has_signed_is_not_taken_for_one_that_was_cut_off(
    tmp_path: Path,
) -> None:
    authority, node = domain(tmp_path), begun(tmp_path)
    with pytest.raises(ConfigError, match=r"waits for the answer.*sat1/request\.pem approved"):
        begun(tmp_path)
    node.accept(approve(authority, node), NOW_MS)
    with pytest.raises(ConfigError, match=r"has keys already .choose another folder"):
        begun(tmp_path)
    (authority.path / "trust.pem").unlink()
    with pytest.raises(ConfigError, match=r"not its trust\.pem .put that back"):
        domain(tmp_path)


def test_a_domain_that_has_lost_its_key_is_not_overwritten(tmp_path: Path) -> None:
    authority = domain(tmp_path)
    destroy(authority.path, nothing)
    with pytest.raises(ConfigError, match=r"trust\.pem: is what a domain without a key has left"):
        domain(tmp_path)
    (authority.path / "trust.pem").unlink()
    domain(tmp_path).unlock(nothing)
