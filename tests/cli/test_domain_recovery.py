"""`orbitferry domain export --recover`: an authority whose folder came from a backup goes on after
what it has signed since, as any node has it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.helpers import Cli
from tests.cli.test_domain import done, enrolled, folder, nodes  # noqa: F401 - its folder
from tests.cli.test_domain_mistakes import state, two  # noqa: F401 - its fixture

REVOKED = "has revoked it"


def number(cli: Cli, place: str) -> int:
    """Of the revocation list."""
    found: int = done(cli, "list", place)["revocations_number"]
    return found


@pytest.fixture
def restored(cli: Cli) -> None:
    """A domain with nodes a, b, c, d and e.  After a backup of its folder d and e came and b was
    revoked; then the backup took the folder's place.  Node a has all of it in its `trust.pem`."""
    done(cli, "init", "kari", "--no-passphrase")
    for name in "abc":
        enrolled(cli, f"dtn://{name}/", name)
    shutil.copytree("domain", "backup")
    for name in "de":
        enrolled(cli, f"dtn://{name}/", name)
    done(cli, "revoke", "dtn://b/", "--yes", "--out", "news.pem")
    done(cli, "enroll", "-f", "a", "-a", "news.pem")
    Path("news.pem").unlink()
    shutil.rmtree("domain")
    Path("backup").rename("domain")


@pytest.mark.usefixtures("restored")
def test_what_an_authority_from_a_backup_revokes_counts_once_it_has_taken_a_nodes_file(
    cli: Cli,
) -> None:
    done(cli, "revoke", "dtn://c/", "--yes")
    ran = cli("domain", "enroll", "-f", "a", "-a", "update.pem")
    assert "is passed over, as there is list" in ran.err
    assert nodes(cli, "a")["dtn://c/"] == ""  # that is why
    newest = number(cli, "a")
    told = done(cli, "export", "--recover", "a/trust.pem")
    assert told["nodes"] == 3
    assert number(cli, "domain") == newest + 1
    ran = cli("domain", "enroll", "-f", "a", "-a", "update.pem")
    assert (ran.code, "passed over" in ran.err) == (0, False)
    for place in ("a", "domain"):
        why = nodes(cli, place)
        assert [name for name in "abcde" if REVOKED in why[f"dtn://{name}/"]] == ["b", "c"]
    assert done(cli, "list")["revoked"] == 2
    assert "; 2 revoked, of at most 50000" in cli("domain", "list").out
    # Certificates that were given since can be revoked, also once there are newer ones.
    done(cli, "approve", "dtn://d/", "--yes", "--out", "d.pem")
    assert done(cli, "revoke", "dtn://d/", "--yes")["certificates"] == 2
    assert REVOKED in nodes(cli, "domain")["dtn://d/"]


@pytest.mark.usefixtures("restored")
def test_an_older_file_gives_back_its_revocations_too(cli: Cli) -> None:
    """The authority has counted on past the number of the file."""
    for _ in range(5):
        done(cli, "export")
    before = number(cli, "domain")
    assert before > number(cli, "a")
    done(cli, "export", "--recover", "a/trust.pem")
    assert number(cli, "domain") == before + 1
    assert REVOKED in nodes(cli, "domain")["dtn://b/"]


@pytest.mark.usefixtures("restored")
def test_a_dry_run_says_what_would_be_taken_in_and_does_nothing(cli: Cli) -> None:
    before = state("domain")
    ran = cli("domain", "export", "--recover", "a/trust.pem", "--dry-run")
    assert ran.code == 0
    assert "news to it: 1 revocation and 2 certificates of nodes" in ran.err
    assert f"The next list is {number(cli, 'a') + 1}" in ran.err
    assert state("domain") == before
    assert not Path("update.pem").exists()


@pytest.mark.usefixtures("restored")
def test_commands_say_that_a_file_at_hand_is_newer_than_the_folder(cli: Cli) -> None:
    shutil.copy("a/trust.pem", "update.pem")
    for command in (
        ["list"],
        ["revoke", "dtn://c/", "--dry-run"],
        ["approve", "dtn://c/", "--dry-run"],
    ):
        ran = cli("domain", *command)
        assert (ran.code, "First: orbitferry domain export --recover" in ran.err) == (0, True)
    Path("update.pem").unlink()
    ran = cli("domain", "approve", "a/request.pem", "--dry-run")  # a/trust.pem is beside it
    assert "--recover a/trust.pem" in ran.err
    done(cli, "export", "--recover", "a/trust.pem")
    for command in (["list"], ["approve", "a/request.pem", "--dry-run"]):
        assert "--recover" not in cli("domain", *command).err


@pytest.mark.usefixtures("two")
def test_a_domain_says_at_federate_too_that_its_folder_is_older(cli: Cli) -> None:
    shutil.copytree("kari", "backup")
    done(cli, "export", "-f", "kari")
    shutil.rmtree("kari")
    Path("backup").rename("kari")
    done(cli, "offer", "kari", "--for", "pass", "-j", "SE", "-f", "esa")
    ran = cli("domain", "federate", "offer.pem", "-f", "kari", "--dry-run")
    assert (ran.code, "--recover" in ran.err) == (0, True)


@pytest.mark.usefixtures("two")
def test_what_another_authority_has_signed_is_not_taken_in(cli: Cli) -> None:
    done(cli, "init", "kari", "--folder", "other", "--no-passphrase")
    done(cli, "export", "--folder", "other", "--out", "other.pem")
    before = state("kari")
    for path in ("other.pem", "esa/trust.pem", "sat1/request.pem"):
        ran = cli("domain", "export", "-f", "kari", "--recover", path)
        assert (ran.code, "has signed is in it" in ran.err) == (1, True), ran.err
    assert state("kari") == before


@pytest.mark.usefixtures("two")
def test_a_federation_that_is_not_in_the_backup_counts_again_and_the_former_one_no_more(
    cli: Cli,
) -> None:
    done(cli, "offer", "kari", "--for", "pass", "-j", "SE", "-j", "KR", "-f", "esa")
    done(cli, "federate", "offer.pem", "-f", "kari", "--yes")
    shutil.copytree("kari", "backup")
    done(cli, "federate", "offer.pem", "-f", "kari", "--yes")
    done(cli, "enroll", "-f", "sat1", "-a", "update.pem")
    shutil.copy("update.pem", "one.pem")
    shutil.rmtree("kari")
    Path("backup").rename("kari")
    done(cli, "federate", "offer.pem", "-f", "kari", "--yes", "--out", "other.pem")
    done(cli, "export", "-f", "kari", "--recover", "sat1/trust.pem")
    done(cli, "enroll", "-f", "sat1", "-a", "update.pem")
    for place in ("kari", "sat1"):
        assert done(cli, "list", place)["federations"]["esa"]["why_not"] == ""
    done(cli, "revoke", "esa", "-f", "kari", "--yes")
    done(cli, "enroll", "-f", "sat1", "-a", "update.pem")
    for path in ("one.pem", "other.pem"):  # each has a certificate of esa
        done(cli, "enroll", "-f", "sat1", "-a", path)
        assert REVOKED in done(cli, "list", "sat1")["federations"]["esa"]["why_not"]
