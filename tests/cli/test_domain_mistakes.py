"""`orbitferry domain` with the wrong file, the wrong mark or the wrong place: nothing is taken or
overwritten, the words say what to do, and a dry run says what would be refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from stack.security import first_epoch
from tests.cli.helpers import Cli
from tests.cli.test_domain import done, enrolled, folder, nodes  # noqa: F401 - its folder


def state(*folders: str) -> dict[str, bytes]:
    """Every octet that is in these folders."""
    paths = [path for name in folders for path in Path(name).rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in paths}


@pytest.fixture
def two(cli: Cli) -> None:
    """Two domains, each with a node."""
    for name, node in (("kari", "sat1"), ("esa", "kiruna")):
        done(cli, "init", name, "--folder", name, "--no-passphrase")
        enrolled(cli, f"dtn://{node}/", node, domain=name)


@pytest.mark.parametrize("mark", [":", " ", "a", "88eb", "z" * 64, "0" * 65])
def test_a_mark_that_says_too_little_vouches_for_nobody(cli: Cli, mark: str) -> None:
    done(cli, "init", "kari", "--no-passphrase")
    done(cli, "enroll", "dtn://sat1/")
    done(cli, "approve", "identity/request.pem", "--yes")
    ran = cli("domain", "enroll", "-a", "answer.pem", "--authority", mark)
    assert (ran.code, "first 16 digits" in ran.err) == (2, True)
    assert not Path("identity/certificate.pem").exists()


@pytest.mark.usefixtures("two")
def test_a_file_of_which_the_domain_knows_nothing_is_no_news(cli: Cli) -> None:
    done(cli, "export", "--folder", "esa", "--out", "esa.pem")
    done(cli, "export", "--folder", "kari", "--out", "kari.pem")
    before = state("sat1")
    for path in ("esa.pem", "sat1/key.pem", "sat1/request.pem"):
        for more in ([], ["--dry-run"]):
            ran = cli("domain", "enroll", "-f", "sat1", "-a", path, *more)
            assert (ran.code, "nothing in this file is of domain kari" in ran.err) == (1, True), (
                path
            )
    assert state("sat1") == before
    done(cli, "enroll", "-f", "sat1", "-a", "kari.pem")


@pytest.mark.usefixtures("two")
def test_a_node_that_begins_anew_waits_for_the_answer_to_its_new_request(cli: Cli) -> None:
    done(cli, "export", "--folder", "kari")
    done(cli, "destroy", "sat1", "--yes")
    done(cli, "enroll", "dtn://sat1/", "-f", "sat1")
    ran = cli("domain", "enroll", "-f", "sat1", "-a", "update.pem")
    assert (ran.code, "the answer to another request" in ran.err) == (1, True)
    told = cli("domain", "approve", "sat1/request.pem", "--folder", "esa", "--yes")
    assert told.code == 0, told.err
    ran = cli("domain", "enroll", "-f", "sat1", "-a", "answer.pem")
    assert (ran.code, "domain esa" in ran.err, "another folder" in ran.err) == (1, True, True)
    told = cli("domain", "approve", "sat1/request.pem", "--folder", "kari", "--yes")
    assert "has a certificate for another key so far" in told.err
    assert done(cli, "enroll", "-f", "sat1", "-a", "answer.pem")["domain"] == "kari"
    assert nodes(cli, "sat1") == {"dtn://sat1/": ""}


@pytest.mark.usefixtures("two")
def test_what_is_there_is_not_overwritten_by_something_else(cli: Cli, tmp_path: Path) -> None:
    Path("node.toml").write_text('id = "dtn://sat1/"\n')
    done(cli, "enroll", "dtn://sat2/", "-f", "sat2")
    done(cli, "offer", "kari", "--for", "pass", "-j", "KR", "--folder", "esa")
    before = state("kari", "esa")
    commands = [
        ("approve", "sat2/request.pem", "--yes"),
        ("revoke", "dtn://sat1/", "--yes"),
        ("federate", "offer.pem", "--yes"),
        ("offer", "esa", "--for", "pass", "-j", "KR"),
        ("export",),
    ]
    for command in commands:
        for out, why in {
            "kari/key.pem": "is something else",
            "kari/first-epoch.pem": "is something else",
            "node.toml": "is something else",
            "sat1": "is something else",
            "nowhere/x.pem": "there is no such folder",
        }.items():
            ran = cli("domain", *command, "--folder", "kari", "--out", out)
            assert (ran.code, why in ran.err) == (2, True), (command, out, ran.err)
    assert state("kari", "esa") == before
    for command in commands:
        done(cli, *command, "--folder", "kari", "--out", "kari.pem")


@pytest.mark.usefixtures("two")
def test_an_answer_does_not_take_the_place_of_that_for_another_node(cli: Cli) -> None:
    kari = ("--folder", "kari")
    done(cli, "enroll", "dtn://sat2/", "-f", "sat2")
    done(cli, "approve", "dtn://sat1/", *kari, "--yes")
    before = state("kari"), Path("answer.pem").read_bytes()
    for more in ("--dry-run", "--yes"):
        ran = cli("domain", "approve", "sat2/request.pem", *kari, more)
        assert (ran.code, "is there already, for dtn://sat1/" in ran.err) == (2, True), ran.err
    assert (state("kari"), Path("answer.pem").read_bytes()) == before
    done(cli, "approve", "sat2/request.pem", *kari, "--yes", "--out", "sat2.pem")
    done(cli, "enroll", "-f", "sat2", "-a", "sat2.pem", "--yes")
    done(cli, "approve", "dtn://sat1/", *kari, "--yes")  # once more for the same node
    done(cli, "enroll", "-f", "sat1", "-a", "answer.pem")


@pytest.mark.usefixtures("two")
def test_a_dry_run_says_what_would_be_refused_and_changes_nothing(cli: Cli) -> None:
    done(cli, "export", "--folder", "kari", "--names", "dtn://sat1/**")
    done(cli, "enroll", "dtn://gs9/", "-f", "gs9")
    done(cli, "offer", "nasa", "--for", "pass", "-j", "SE", "--folder", "esa")
    shutil.copy("offer.pem", "nasa.pem")
    done(cli, "offer", "kari", "--for", "pass", "-j", "SE", "--folder", "esa")
    before = state(".")
    for command, why in {
        ("approve", "gs9/request.pem"): "dtn://gs9/",
        ("federate", "nasa.pem"): "to domain nasa, not to kari",
        ("federate", "offer.pem", "--for", "read"): "more than domain esa offers",
        ("federate", "offer.pem", "--names", "dtn://sat1/**"): "has ids of domain kari",
        ("export", "--names", "dtn://gs1/**"): "dtn://sat1/ is a node of domain kari",
    }.items():
        for more in ("--dry-run", "--yes"):
            if command[0] == "export" and more == "--yes":
                more = "--json"
            ran = cli("domain", *command, "--folder", "kari", more)
            assert ran.code != 0, command
            assert why in ran.err + ran.out, (command, ran.err)
    for command in (
        ("federate", "offer.pem"),
        ("revoke", "dtn://sat1/"),
        ("export",),
        ("offer", "esa", "--for", "pass"),
    ):
        assert done(cli, *command, "--folder", "kari", "--dry-run")["dry_run"]
    assert state(".") == before


@pytest.mark.usefixtures("two")
def test_who_trusts_another_key_of_a_domain_is_told(cli: Cli) -> None:
    offer = ("offer", "kari", "--for", "pass", "-j", "SE", "--folder")
    done(cli, *offer, "esa")
    done(cli, "federate", "offer.pem", "--folder", "kari", "--yes")
    again = cli("domain", "federate", "offer.pem", "--folder", "kari", "--dry-run")
    assert "by another key so far" not in again.err
    done(cli, "init", "esa", "--folder", "forged", "--no-passphrase")
    done(cli, *offer, "forged")
    told = cli("domain", "federate", "offer.pem", "--folder", "kari", "--dry-run")
    assert "domain esa is trusted by another key so far" in told.err


def test_of_two_that_approve_at_once_neither_takes_the_answer_of_the_other(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(cli, "init", "kari", "--no-passphrase")
    for name in ("sat1", "gs1"):
        done(cli, "enroll", f"dtn://{name}/", "--folder", name)
    approve = first_epoch.approve_request

    def meanwhile(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(first_epoch, "approve_request", approve)
        done(cli, "approve", "gs1/request.pem", "--yes")
        return approve(*args, **options)

    monkeypatch.setattr(first_epoch, "approve_request", meanwhile)
    ran = cli("domain", "approve", "sat1/request.pem", "--yes")
    assert (ran.code, "is there already, for dtn://gs1/" in ran.err) == (2, True), ran.err
    assert "`orbitferry domain approve dtn://sat1/ --out FILE` writes another answer" in ran.err
    done(cli, "enroll", "--answer", "answer.pem", "--folder", "gs1", "--yes")
    done(cli, "approve", "dtn://sat1/", "--out", "sat1.pem", "--yes")
    done(cli, "enroll", "--answer", "sat1.pem", "--folder", "sat1", "--yes")
    assert nodes(cli, "sat1") == {"dtn://sat1/": "", "dtn://gs1/": ""}
