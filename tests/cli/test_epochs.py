"""`orbitferry keys` of a running node: its epochs shown, rotated and destroyed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from interop.machines.ports import free_ports
from stack.audit.export import LogExport, read_export
from stack.audit.note import LogCheckpoint, NoteSigner
from stack.audit.receipt import VOUCHER, log_key, make_statement
from stack.cli.node import epochs
from stack.identity import pem
from tests.cli.helpers import Cli, running_node, write_config


@pytest.fixture
def station(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of a domain's only node, which is that of its authority."""
    monkeypatch.chdir(tmp_path)
    for words in ("init kari --no-passphrase", "enroll dtn://gs1/ --domain domain"):
        assert cli("domain", *words.split()).code == 0
    path = write_config(tmp_path, "gs1")
    identity = 'folder = "identity"\nkeys_from = "dtn://gs1/"\nauthority = "domain"'
    lines = path.read_text().replace("[security]", "[identity]")
    path.write_text(lines.replace('key_file = "keys.toml"', identity))
    return path


@pytest.mark.slow
def test_epochs_are_shown_rotated_and_destroyed(cli: Cli, station: Path, tmp_path: Path) -> None:
    def done(*words: object) -> dict[str, Any]:
        ran = cli("keys", *words, "--node", station, "--json")
        assert ran.code == 0, ran.err
        found: dict[str, Any] = ran.json[0]
        return found

    with running_node(station):
        assert done("status")["sending"] == 1
        assert "makes the epochs of domain kari" in cli("keys", "status", "-n", station).out
        assert done("rotate", "--dry-run")["nodes"] == 1
        nobody = cli("keys", "rotate", "-n", station)
        assert (nobody.code, "say --yes" in nobody.err) == (1, True)
        assert done("status")["sending"] == 1
        number = done("rotate", "--overlap", "1d", "--yes")["epoch"]["number"]
        assert done("status")["sending"] == number
        listed = cli("keys", "list", "-n", station).out
        assert all(str(one) in listed for one in (1, number))

        stick = tmp_path / "stick.pem"
        assert done("export", "dtn://gs1/", "--out", stick)["epochs"] == [1, number]
        assert stick.stat().st_mode & 0o077 == 0
        stick.write_bytes(b"of another node")
        there = cli("keys", "export", "dtn://gs1/", "--out", stick, "-n", station)
        assert (there.code, "say --force" in there.err) == (2, True)
        assert stick.read_bytes() == b"of another node"
        done("export", "dtn://gs1/", "--out", stick, "--force")
        assert done("import", stick, "--dry-run")["new"] == []
        assert "nothing of domain kari new here" in cli("keys", "import", stick, "-n", station).out
        nobody = cli("keys", "export", "dtn://sat1/", "-n", station)
        assert (nobody.code, "approve it first" in nobody.err) == (1, True)
        other = cli("keys", "import", "domain/first-epoch.pem", "-n", station)
        assert (other.code, "keys export" in other.err) == (2, True), other.err

        unknown = cli("keys", "destroy", number + 1, "--yes", "-n", station)
        assert (unknown.code, f"there are: 1, {number}" in unknown.err) == (1, True)
        assert done("destroy", number, "--dry-run")["epochs"] == [1, number]
        nobody = cli("keys", "destroy", number, "-n", station)
        assert (nobody.code, "say --yes" in nobody.err) == (1, True)
        first = [Path("domain/first-epoch.pem"), Path("identity/epochs.pem")]
        copies = {path: path.read_bytes() for path in first}
        for path in first:  # as a kill leaves one
            shutil.copy(path, f"{path}.new")
        assert done("destroy", number, "--yes")["destroyed"] == [1, number]
        told = done("status")
        assert told["destroyed_up_to"] == number < told["sending"]
        # Nor is it where it came from.
        assert not any(path.exists() or Path(f"{path}.new").exists() for path in first)
        assert cli("stop", "-n", station).code == 0
    log = tmp_path / "gs1.audit"
    assert cli("audit", "export", "gs1", "-o", log).code == 0
    told_by = cli("audit", "verify", log, "--trust", "domain")
    assert (told_by.code, "WRONG" in told_by.out) == (0, False)
    assert cli("domain", "init", "esa", "--folder", "esa", "--no-passphrase").code == 0
    what_is_made_of_it_is_judged_by_trust(cli, tmp_path, log, f"key:kari-epoch-{number}")
    for others, words in (("esa", "a foreign key"), ("domain", "vouches for another key")):
        ran = cli("audit", "verify", log, "--trust", others)
        assert (ran.code, words in " ".join(ran.out.split())) == (1, True), ran.out
        forge(log)  # by somebody who has the certificate of the node, and its word
    for vouched, code in ((("--trust", "domain"), 1), (("--unvouched",), 0)):  # it is forged
        ran = cli("audit", "story", f"key:kari-epoch-{number}", log, *vouched)
        assert (ran.code, "key destroyed" in ran.out) == (code, True)
    for path, octets in copies.items():  # from a backup, or an answer that is taken once more
        path.write_bytes(octets)
    with running_node(station):
        assert done("status")["sending"] == told["sending"]
        assert not any(path.exists() for path in first)
    assert cli("domain", "enroll", "dtn://sat1/", "--domain", "domain", "--folder", "s").code == 0


def test_an_import_that_destroys_asks_first(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bool] = []
    destroys = [4]

    class Node:
        def call(self, verb: str, *, grants: list[str], dry_run: bool = False) -> dict[str, Any]:
            assert (verb, grants) == ("import_keys", [b"grant".hex()])
            taken.append(not dry_run)
            return {"domain": "kari", "new": [5], "destroys": destroys}

    monkeypatch.setattr(epochs, "client_of", lambda node: Node())
    file = tmp_path / "epochs.pem"
    file.write_text(pem.encode([pem.PemBlock(pem.GRANT, b"grant")]))
    nobody = cli("keys", "import", file)
    assert (nobody.code, taken) == (1, [False])
    assert "Destroy epoch 4 of domain kari" in nobody.err
    assert "epoch 4 would be destroyed" in cli("keys", "import", file, "--dry-run").out
    assert taken == [False, False]
    assert "epoch 4 destroyed" in cli("keys", "import", file, "--yes").out
    destroys.clear()
    assert cli("keys", "import", file).code == 0  # nothing that cannot be undone
    assert taken == [False, False, False, True, False, True]


def what_is_made_of_it_is_judged_by_trust(cli: Cli, folder: Path, log: Path, name: str) -> None:
    """Statements and proofs of a log hold by the certificate of its node, as the log does."""

    def refused(file: Path, domain: str) -> str:
        ran = cli("audit", "verify", file, "--trust", domain)
        assert ran.code == 1 or not ran.err
        return " ".join(ran.err.split())

    receipts, proof, nodes = folder / "receipts", folder / "proof.json", folder / "nodes.toml"
    nodes.write_text('[[node]]\nid = "dtn://gs1/"\njurisdictions = ["KR"]\n')
    span = ("--from", "2026-01-01T00:00:00Z", "--to", "2027-01-01T00:00:00Z")
    assert cli("audit", "export", "gs1", "-o", log, "--receipts", receipts).code == 0
    asked = ("audit", "prove", name, log, "--rest", "KR", *span, "-o", proof)
    assert cli("audit", "story", name, log, "--trust", "domain").code == 0
    for vouched, words in (
        (("--trust", "esa"), "a foreign key"),
        (("-d", nodes), "UNVOUCHED"),
        (("--trust", "domain"), ""),
    ):
        ran = cli(*asked, *vouched)
        assert (ran.code, words in ran.out + ran.err) == (1, True)
        # Where a key was, no log says.
        assert words == "a foreign key" or "MISSING: where a key is" in ran.out
    statement = receipts / "0.cose"
    for file, words in ((statement, "whose log this is"), (proof, "the log of dtn://gs1/")):
        assert not refused(file, "domain")
        assert f"{words}: domain esa does not trust domain kari" in refused(file, "esa")
    export = read_export(log.read_bytes().splitlines(keepends=True))
    statement.write_bytes(make_statement(export, 0, log_key(bytes(32)), 1))
    assert "0.cose: not by the log of dtn://gs1/" in refused(statement, "domain")
    (receipts / VOUCHER).unlink()
    assert "no certificate goes with it" in refused(statement, "domain")


def forge(path: Path) -> None:
    """Sign a log anew, with a key of one's own."""
    log = read_export(path.read_bytes().splitlines(keepends=True))
    signer = NoteSigner(log.origin, bytes(32))
    size = log.size
    note = LogCheckpoint(log.origin, size, log.tree().root(size)).signed(signer).encode()
    fake = LogExport(log.origin, signer.key, log.base, log.events, [note], [], log.voucher)
    path.write_text("".join(fake.lines()))


@pytest.mark.slow
def test_a_node_with_a_key_file_has_no_epochs(cli: Cli, tmp_path: Path) -> None:
    path = write_config(tmp_path, "gs1")
    with running_node(path):
        ran = cli("keys", "status", "-n", path)
    assert (ran.code, "identity.keys_from" in ran.err) == (1, True)


@pytest.mark.slow
def test_a_key_file_is_read_anew(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_config(tmp_path, "gs1", peer="sat1", ports=free_ports(2))
    assert cli("keys", "new", "next.toml").code == 0
    old, new = (Path(name).read_text() for name in ("keys.toml", "next.toml"))
    with running_node(path):
        Path("keys.toml").write_text(new + old)
        would = cli("keys", "reload", "--dry-run", "-n", path)
        assert (would.code, "the node would have 6 keys, new: next-aes" in would.out) == (0, True)
        told = cli("keys", "reload", "-n", path, "--json").json[0]
        assert (told["new"], told["gone"]) == (["next-aes", "next-hmac", "next-ltp"], [])
        assert told["dry_run"] is False
        again = cli("keys", "reload", "-n", path)
        assert "6 keys, the same as before" in again.out
        Path("keys.toml").write_text(old + new)
        assert "6 keys, in another order" in cli("keys", "reload", "-n", path).out
        Path("keys.toml").write_text("[[key]")
        wrong = cli("keys", "reload", "-n", path)
        assert (wrong.code, "keys.toml" in wrong.err, "line 1" in wrong.err) == (2, True, True)
        Path("keys.toml").write_text(old.rpartition("[[key]]")[0])
        shut = cli("keys", "reload", "-n", path)
        words = "no ltp key for dtn://sat1/ is left: nothing passes on its link"
        assert words in " ".join(shut.out.split())
        (link,) = cli("status", "-n", path, "--json").json[0]["links"]
        assert link["state"] == "shut"


def test_of_two_that_export_at_once_neither_takes_the_file_of_the_other(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "epochs.pem"

    class Node:
        def call(self, verb: str, *, node: str) -> dict[str, Any]:
            file.write_bytes(b"of another node")
            return {"domain": "kari", "node": node, "epochs": [5], "grants": [b"grant".hex()]}

    monkeypatch.setattr(epochs, "client_of", lambda node: Node())
    ran = cli("keys", "export", "dtn://gs1/", "--out", file)
    assert (ran.code, "say --force" in ran.err) == (2, True)
    assert file.read_bytes() == b"of another node"
    assert cli("keys", "export", "dtn://gs1/", "--out", file, "--force").code == 0
    assert b"for dtn://gs1/ alone" in file.read_bytes()
