"""`orbitferry domain`: from nothing to nodes with certificates, and what is asked before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import Cli
from tests.identity.softhsm import PIN, needs_softhsm, softhsm

PASSPHRASE = "correct horse"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("ORBITFERRY_PASSPHRASE", "ORBITFERRY_PIN"):
        monkeypatch.delenv(variable, raising=False)


def done(cli: Cli, *arguments: object) -> dict[str, Any]:
    """What a command answers that must succeed."""
    ran = cli("domain", *arguments, "--json")
    assert ran.code == 0, ran.err
    found: dict[str, Any] = ran.json[0]
    return found


def enrolled(cli: Cli, node: str, folder: str, *, domain: str = "domain") -> dict[str, Any]:
    """Both sides in one step."""
    return done(cli, "enroll", node, "--folder", folder, "--domain", domain, "-j", "KR")


def nodes(cli: Cli, folder: str) -> dict[str, str]:
    """Of each node why it is not trusted."""
    return {one["node"]: one["why_not"] for one in done(cli, "list", folder)["nodes"]}


def test_two_machines_and_a_stick(cli: Cli) -> None:
    """Each step says what to do next, and asks before somebody is believed."""
    began = cli("domain", "init", "kari", "--no-passphrase")
    assert (began.code, "next, at each node: orbitferry domain enroll" in began.out) == (0, True)
    asked = cli("domain", "enroll", "dtn://sat1/", "-j", "KR", "-r", "compute")
    assert "orbitferry domain approve" in asked.out
    (request,) = Path("identity").glob("request.pem")
    nobody = cli("domain", "approve", request)
    assert nobody.code == 1
    assert "say --yes" in nobody.err
    assert not Path("answer.pem").exists()
    approved = cli("domain", "approve", request, "--yes")
    assert "orbitferry domain enroll --answer answer.pem" in approved.out
    key = next(word for word in asked.out.split() if len(word) == 64)
    assert key in approved.err  # what both operators compare
    nobody = cli("domain", "enroll", "--answer", "answer.pem")
    assert (nobody.code, Path("identity/certificate.pem").exists()) == (1, False)
    mark = next(word for word in began.out.split() if len(word) == 64)
    taken = cli("domain", "enroll", "--answer", "answer.pem", "--authority", mark[:16])
    assert taken.code == 0, taken.err
    assert '[identity] folder = "identity"' in taken.out
    assert nodes(cli, "identity") == nodes(cli, "domain") == {"dtn://sat1/": ""}


def test_an_authority_that_is_not_the_one_told_is_not_taken(cli: Cli) -> None:
    done(cli, "init", "kari", "--no-passphrase")
    done(cli, "enroll", "dtn://sat1/")
    done(cli, "approve", "identity/request.pem", "--yes")
    ran = cli("domain", "enroll", "-a", "answer.pem", "--authority", "00" * 32)
    assert ran.code == 1
    assert "the authority's certificate is" in ran.err
    assert not Path("identity/certificate.pem").exists()


def test_what_a_request_asks_for_is_not_what_it_gets(cli: Cli) -> None:
    done(cli, "init", "kari", "--no-passphrase")
    done(cli, "enroll", "dtn://sat1/", "-j", "US", "-r", "everything")
    done(cli, "approve", "identity/request.pem", "-j", "KR", "-r", "relay", "--days", "3", "--yes")
    taken = done(cli, "enroll", "--answer", "answer.pem", "--yes")
    assert (taken["jurisdictions"], taken["roles"]) == (["KR"], ["relay"])


def test_revocation_and_renewal(cli: Cli) -> None:
    done(cli, "init", "kari", "--no-passphrase")
    enrolled(cli, "dtn://sat1/", "sat1")
    enrolled(cli, "dtn://gs1/", "gs1")
    assert cli("domain", "revoke", "dtn://sat1/").code == 1  # nobody has said yes
    assert done(cli, "revoke", "dtn://sat1/", "--dry-run")["certificates"] == 1
    assert nodes(cli, "domain")["dtn://sat1/"] == ""
    Path("domain/issued/1f.pem").write_bytes(b"")
    told = cli("domain", "revoke", "dtn://sat1/", "--yes", "--json")
    assert "issued/1f.pem" in told.err
    assert json.loads(told.out)["certificates"] == 2
    assert len(json.loads(told.out)["unread"]) == 1
    assert done(cli, "export")["nodes"] == 1
    done(cli, "enroll", "--answer", "update.pem", "--folder", "gs1")
    for folder in ("domain", "gs1"):
        assert "revoked" in nodes(cli, folder)["dtn://sat1/"]
        assert nodes(cli, folder)["dtn://gs1/"] == ""
    told = cli("domain", "enroll", "--answer", "update.pem", "--folder", "sat1")
    assert (told.code, "revoked" in told.err) == (1, True)
    done(cli, "approve", "dtn://sat1/", "--yes")  # the operator has thought again
    done(cli, "enroll", "--answer", "answer.pem", "--folder", "sat1")
    assert nodes(cli, "sat1") == {"dtn://sat1/": "", "dtn://gs1/": ""}
    assert cli("domain", "revoke", "dtn://nobody/", "--yes").code == 2
    assert cli("domain", "approve", "dtn://nobody/", "--yes").code == 2


def test_two_domains(cli: Cli) -> None:
    done(cli, "init", "kari", "--no-passphrase")
    done(cli, "init", "esa", "--folder", "esa", "--no-passphrase")
    enrolled(cli, "dtn://sat1/", "sat1")
    enrolled(cli, "dtn://kiruna/", "kiruna", domain="esa")
    offer = ("offer", "kari", "--folder", "esa", "-j", "KR", "-j", "SE", "--for")
    done(cli, *offer, "pass", "--for", "read")
    more = cli("domain", "federate", "offer.pem", "-j", "US", "--yes")
    assert more.code == 2
    assert "more than domain esa offers" in more.err
    agreed = done(cli, "federate", "offer.pem", "--for", "pass", "--yes")
    assert agreed["purposes"] == ["pass", "rest"]
    done(cli, "enroll", "--answer", "update.pem", "--folder", "sat1")
    assert nodes(cli, "sat1") == {"dtn://sat1/": "", "dtn://kiruna/": ""}
    (told,) = (one for one in [cli("domain", "list", "sat1")])
    assert "trusts domain esa: pass, rest at nodes under KR, SE" in told.out
    told = cli("domain", "revoke", "esa", "--yes")
    assert (told.code, "keys" in told.out) == (0, False)  # it has none of this domain
    done(cli, "enroll", "--answer", "update.pem", "--folder", "sat1")
    assert "revoked" in nodes(cli, "sat1")["dtn://kiruna/"]
    assert "KR, SE; not now: domain kari has revoked it" in cli("domain", "list", "sat1").out
    assert nodes(cli, "kiruna") == {"dtn://kiruna/": ""}


def test_a_domain_says_which_ids_its_nodes_have(cli: Cli) -> None:
    for name in ("kari", "esa", "nasa"):
        done(cli, "init", name, "--folder", name, "--no-passphrase")
    kari = ("--folder", "kari")
    assert "no name space" in cli("domain", "list", "kari").out
    done(cli, "export", *kari, "--names", "ipn:[100-199].*", "--names", "dtn://sat1/**")
    assert "ids of its nodes: dtn://sat1/**, ipn:[100-199].*\n" in cli("domain", "list", "kari").out
    enrolled(cli, "dtn://sat1/", "sat1", domain="kari")
    done(cli, "enroll", "dtn://kiruna/", "--folder", "kiruna")
    told = cli("domain", "approve", "kiruna/request.pem", *kari, "--yes")
    assert (told.code, "only, not dtn://kiruna/" in told.err) == (2, True)
    for name in ("esa", "nasa"):
        done(cli, "offer", "kari", "--folder", name, "--for", "pass", "--out", f"{name}.pem")
    told = cli("domain", "federate", "esa.pem", *kari, "--names", "ipn:1[00].*", "--yes")
    assert (told.code, "--names: no numbers" in told.err) == (2, True)
    agreed = done(cli, "federate", "esa.pem", *kari, "--names", "ipn:[200-299].*", "--yes")
    assert agreed["names"] == ["ipn:[200-299].*"]
    told = cli("domain", "federate", "nasa.pem", *kari, "--names", "ipn:[250+].*", "--yes")
    assert (told.code, "ids of domain esa, which gives ipn:[200-299].*" in told.err) == (2, True)
    done(cli, "enroll", "--answer", "update.pem", "--folder", "sat1")
    listed = done(cli, "list", "sat1")
    assert listed["names"] == ["dtn://sat1/**", "ipn:[100-199].*"]
    assert listed["federations"]["esa"]["names"] == ["ipn:[200-299].*"]
    # What a domain has said of itself is in its offers.
    done(cli, "export", "--folder", "nasa", "--names", "ipn:300.*")
    done(cli, "offer", "kari", "--folder", "nasa", "--for", "pass", "--out", "nasa.pem")
    told = cli("domain", "federate", "nasa.pem", *kari, "--names", "ipn:[300-301].*", "--yes")
    assert (told.code, "more than domain nasa offers" in told.err) == (2, True)
    assert done(cli, "federate", "nasa.pem", *kari, "--yes")["names"] == ["ipn:300.*"]


@pytest.mark.slow
def test_the_key_of_an_authority_has_a_passphrase_unless_somebody_says_no(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = cli("domain", "init", "kari")
    assert nobody.code == 1
    assert "--passphrase-file FILE, or say --no-passphrase" in nobody.err
    assert not Path("domain").exists()
    secret = Path("secret.txt")
    secret.write_text(PASSPHRASE + "\n")
    secret.chmod(0o644)
    assert "chmod 600" in cli("domain", "init", "kari", "--passphrase-file", secret).err
    secret.chmod(0o600)
    done(cli, "init", "kari", "--passphrase-file", secret)
    done(cli, "enroll", "dtn://sat1/")
    approve = ("domain", "approve", "identity/request.pem", "--yes")
    for given in ("", "wrong"):
        monkeypatch.setenv("ORBITFERRY_PASSPHRASE", given)
        refused = cli(*approve)
        assert (refused.code, "passphrase" in refused.err) == (1, True)
        assert not Path("answer.pem").exists()
    monkeypatch.setenv("ORBITFERRY_PASSPHRASE", PASSPHRASE)
    ran = cli(*approve)
    assert ran.code == 0
    assert PASSPHRASE not in ran.out + ran.err
    assert PASSPHRASE.encode() not in b"".join(
        path.read_bytes() for path in Path("domain").rglob("*.pem")
    )


def test_no_keys_are_made_for_an_authority_that_does_not_open(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORBITFERRY_PASSPHRASE", PASSPHRASE)
    done(cli, "init", "kari")
    monkeypatch.setenv("ORBITFERRY_PASSPHRASE", "wrong")
    refused = cli("domain", "enroll", "dtn://sat1/", "--domain", "domain")
    assert (refused.code, "passphrase is wrong" in refused.err) == (1, True)
    assert not Path("identity").exists()


@pytest.mark.slow
@needs_softhsm
def test_the_passphrase_of_the_authority_is_not_tried_as_the_pin_of_a_token(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORBITFERRY_PASSPHRASE", PASSPHRASE)
    done(cli, "init", "kari")
    with softhsm(Path("hsm").resolve()) as hsm:
        enroll = ("enroll", "dtn://gs1/", "--token", hsm.token("gs1"), "--domain", "domain")
        refused = cli("domain", *enroll)
        assert (refused.code, "no PIN was given" in refused.err) == (2, True), refused.err
        assert "ORBITFERRY_PIN" in refused.err
        monkeypatch.delenv("ORBITFERRY_PASSPHRASE")
        asked: list[str] = []

        def typed(words: str, **_: object) -> str:
            asked.append(words)
            return PIN.decode() if "PIN" in words else PASSPHRASE

        with monkeypatch.context() as terminal:
            terminal.setattr("sys.stdin.isatty", lambda: True, raising=False)
            terminal.setattr("typer.prompt", typed)
            assert done(cli, *enroll, "--yes")["node"] == "dtn://gs1/"
            assert done(cli, "destroy", "identity", "--yes")["destroyed"]
        assert asked == ["Passphrase of domain", "PIN of the token", "PIN of token gs1"]
        monkeypatch.setenv("ORBITFERRY_PASSPHRASE", PASSPHRASE)
        monkeypatch.setenv("ORBITFERRY_PIN", PIN.decode())
        assert done(cli, *enroll, "--folder", "other")["node"] == "dtn://gs1/"


def test_nothing_is_destroyed_without_a_word(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    done(cli, "init", "kari", "--no-passphrase")
    assert cli("domain", "destroy", "domain").code == 1
    found = done(cli, "destroy", "domain", "--dry-run")["files"]
    assert [Path(one).exists() for one in found] == [True, True]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert "nothing was done" in cli("domain", "destroy", "domain").err
    done(cli, "destroy", "domain", "--yes")
    assert [Path(one).exists() for one in found] == [False, False]
    assert cli("domain", "destroy", "domain", "--yes").code == 2


def test_dry_runs_do_nothing(cli: Cli) -> None:
    done(cli, "init", "kari", "--dry-run", "--no-passphrase")
    done(cli, "enroll", "dtn://sat1/", "--dry-run")
    assert list(Path().iterdir()) == []
    done(cli, "init", "kari", "--no-passphrase")
    done(cli, "enroll", "dtn://sat1/")
    before = {path: path.read_bytes() for path in Path().rglob("*.pem")}
    done(cli, "approve", "identity/request.pem", "--dry-run")
    done(cli, "offer", "esa", "--for", "pass", "--dry-run")
    done(cli, "export", "--dry-run")
    assert {path: path.read_bytes() for path in Path().rglob("*.pem")} == before
    assert cli("domain", "init", "kari", "--dry-run").code == 2  # it would be overwritten
    assert cli("domain", "enroll", "dtn://sat1/", "--dry-run").code == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("init", "a b", "--no-passphrase"), "is no name"),
        (("enroll",), "NODE: is missing"),
        (("enroll", "dtn://sat1/files"), "did you mean"),
        (("enroll", "dtn://sat1/", "-j", "kr"), "capitals"),
        (("enroll", "dtn://sat1/", "--domain", "gone"), "No such file"),
        (("approve", "gone.pem"), "No such file"),
        (("enroll", "--answer", "gone.pem"), "No such file"),
        (("offer", "kari", "--folder", "gone"), "read, rest or pass"),
        (("federate", "gone.pem"), "No such file"),
        (("list", "gone"), "No such file"),
        (("export", "--folder", "gone"), "No such file"),
    ],
)
def test_what_cannot_be(cli: Cli, arguments: tuple[str, ...], why: str) -> None:
    ran = cli("domain", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert why in ran.err
    assert not Path("identity").exists()


@needs_softhsm
def test_a_key_is_made_and_destroyed_in_a_token(cli: Cli) -> None:
    done(cli, "init", "kari", "--no-passphrase")
    secret = Path("pin")
    secret.write_bytes(PIN + b"\n")
    secret.chmod(0o600)
    with softhsm(Path("hsm").resolve()) as hsm:
        token = hsm.token("gs1")
        enroll = ("enroll", "dtn://gs1/", "--token", token, "--domain", "domain")
        refused = cli("domain", *enroll)
        assert refused.code == 2
        assert "token gs1: no PIN was given" in refused.err
        assert done(cli, *enroll, "--passphrase-file", "pin")["node"] == "dtn://gs1/"
        assert Path("identity/token.uri").read_text().startswith("pkcs11:token=gs1;object=dtn")
        assert done(cli, "list", "identity")["keys"] == {
            "signing": "token gs1",
            "opening": "key.pem",
        }
        listed = cli("domain", "list", "identity").out
        assert "private keys here: for signing in token gs1, for opening in key.pem" in listed
        assert done(cli, "list")["keys"] == {"signing": "key.pem"}
        destroy = ("destroy", "identity", "--yes", "--passphrase-file", "pin")
        assert "identity/token.uri" in done(cli, *destroy)["destroyed"]
        assert "private keys here: none" in cli("domain", "list", "identity").out
