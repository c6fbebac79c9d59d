"""`orbitferry domain acme`: from nothing to a node with a certificate, by a server of ACME."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stack.adapters.https import HttpsClient
from stack.core.eid import Eid
from stack.engines.acme.digest import base64url
from stack.engines.acme.http import HttpReply, HttpRequest
from stack.engines.acme.responder import ExpectedChallenge, Responder
from stack.engines.acme.validator import SentChallenge
from stack.identity import AuthorityFolder, pem
from stack.identity.pem import decode
from stack.node.control.challenges import ChallengeOperations
from stack.node.control.client import ControlClient
from stack.node.control.request import Request
from stack.wire.bundle import AcmeResponse
from tests.cli.helpers import Cli, Ran
from tests.cli.test_domain import done
from tests.engines.acme.server import BASE, AcmeServer, issued

NODE = "dtn://gs1/"
SERVER = f"{BASE}/directory"


class Station:
    """The running node, as its control socket and its bundles show it."""

    def __init__(self, node_id: str) -> None:
        self.node_id = Eid.parse(node_id)
        self.node_ids = self
        self.responder = Responder()
        self.asked: list[tuple[str, float]] = []
        self.forgotten: list[str] = []

    async def expect(self, expected: ExpectedChallenge, seconds: float) -> int:
        self.asked.append((expected.id_chal, seconds))
        self.responder.expect(expected, round(seconds * 1000), 0)
        return len(self.responder.pending(0))

    async def forget(self, id_chal: str) -> int | None:
        self.forgotten.append(id_chal)
        return self.responder.forget(id_chal)

    def bring(self, sent: SentChallenge) -> AcmeResponse | None:
        assert sent.destination == self.node_id
        return self.responder.receive(sent.record, 0).response

    def call(self, op: str, **fields: Any) -> dict[str, Any]:
        """As over the socket."""
        operations: Any = ChallengeOperations(SimpleNamespace(**vars(self)))  # type: ignore[arg-type]
        work = {"expect_challenge": operations.expect, "forget_challenge": operations.forget}[op]
        found: dict[str, Any] = asyncio.run(work(Request({"op": op, **fields}), None))
        return found


class World:
    """A domain whose ACME server issues what its authority signs."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        done(cli, "init", "kari", "--no-passphrase")
        done(cli, "export", "--out", "update.pem")
        self.folder = AuthorityFolder(Path("domain"))
        self.station = Station(NODE)
        self.server = AcmeServer(self.issue, self.station.bring)
        self.requests: list[HttpRequest] = []

    def issue(self, csr: bytes) -> bytes:
        return issued(self.folder, csr)

    def handle(self, request: HttpRequest) -> HttpReply:
        self.requests.append(request)
        return self.server.handle(request)

    def run(self, *arguments: object) -> Ran:
        return self.cli("domain", "acme", *arguments, "--server", SERVER)

    def enrol(self, *arguments: object) -> Ran:
        return self.run(NODE, "--update", "update.pem", "--agree", "--yes", *arguments)


@pytest.fixture
def world(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(tmp_path)
    for variable in ("ORBITFERRY_PASSPHRASE", "ORBITFERRY_PIN"):
        monkeypatch.delenv(variable, raising=False)
    made = World(cli)

    def wait(seconds: float) -> None:
        made.server.now_ms += round(seconds * 1000)

    monkeypatch.setattr(HttpsClient, "fetch", lambda _, request: made.handle(request))
    monkeypatch.setattr(
        ControlClient, "call", lambda _, op, **fields: made.station.call(op, **fields)
    )
    monkeypatch.setattr(time, "sleep", wait)
    monkeypatch.setenv("ORBITFERRY_NODE", str(tmp_path / "control.sock"))
    return made


def test_a_node_gets_its_certificate_and_renews_it(world: World) -> None:
    ran = world.enrol("--rtt", "20s", "-j", "KR", "--contact", "mailto:ops@example.org")
    assert ran.code == 0, ran.err
    assert "dtn://gs1/ belongs to domain kari" in ran.out
    assert "answers the server's challenge" in ran.err
    asked = dict(world.server.seen)
    assert asked["/challenge"] == {"rtt": 20.0}
    assert asked["/newAccount"]["contact"] == ["mailto:ops@example.org"]
    ((id_chal, seconds),) = world.station.asked
    assert seconds == 100.0
    assert world.station.forgotten == [id_chal]
    assert Path("identity/acme-account.pem").stat().st_mode & 0o777 == 0o600
    first = Path("identity/certificate.pem").read_bytes()
    account = Path("identity/acme-account.pem").read_bytes()
    again = world.run("--agree", "--json")
    assert again.code == 0, again.err
    assert again.json[0]["roles"] == ["relay"]
    assert Path("identity/certificate.pem").read_bytes() != first
    assert Path("identity/acme-account.pem").read_bytes() == account


def test_a_node_that_does_not_answer_gets_nothing_and_may_try_again(world: World) -> None:
    bring, world.server.bring = world.server.bring, lambda sent: None
    ran = world.enrol()
    assert ran.code == 1
    assert '"no response in time"' in ran.err
    assert not Path("identity/certificate.pem").exists()
    assert len(world.station.forgotten) == 1
    world.server.bring = bring
    assert world.enrol().code == 0


def test_nothing_is_agreed_to_unasked(world: World) -> None:
    ran = world.run(NODE, "--update", "update.pem", "--yes")
    assert ran.code == 1
    assert f"terms of service: {BASE}/terms" in ran.err
    assert world.server.seen == []


def test_a_dry_run_asks_nobody_and_makes_nothing(world: World) -> None:
    ran = world.run(NODE, "--update", "update.pem", "--dry-run", "--json")
    assert ran.json == [{"dry_run": True, "node": NODE, "server": SERVER}]
    assert world.requests == []
    assert not Path("identity").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([NODE], "--update: is missing"),
        (["--update", "update.pem"], "NODE: is missing"),
        ([NODE, "--update", "nothing.pem"], "nothing.pem"),
        (["gs1", "--update", "update.pem"], "NODE"),
        ([NODE, "--update", "update.pem", "--rtt", "13h"], "--rtt: is too long"),
        ([NODE, "--update", "update.pem", "--ca-file", "update"], "update"),
        ([NODE, "--update", "update.pem", "--binding-id", "x"], "--binding-id: goes with"),
        ([NODE, "-u", "update.pem", "--binding-id", "x", "--binding-file", "update.pem"],
         "has no secret"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_anything_is_made(
    world: World, arguments: list[str], words: str
) -> None:
    ran = world.run(*arguments)
    assert ran.code == 2
    assert words in ran.err
    assert world.requests == []
    assert not Path("identity").exists()


@pytest.mark.parametrize("server", ["", "http://ca.example/directory", "ca.example"])
def test_a_server_is_never_asked_in_clear(world: World, server: str) -> None:
    ran = world.cli("domain", "acme", NODE, "-u", "update.pem", "--server", server)
    assert ran.code == 2
    assert "no URL with https" in ran.err


def test_an_identity_is_of_one_node(world: World) -> None:
    assert world.enrol().code == 0
    ran = world.run("dtn://gs2/", "--agree")
    assert ran.code == 2
    assert "is not that of identity, dtn://gs1/" in ran.err


def test_another_node_runs_here(world: World) -> None:
    world.station.node_id = Eid.parse("dtn://gs2/")
    ran = world.enrol()
    assert ran.code == 1
    assert "this node is dtn://gs2/, not dtn://gs1/" in ran.err
    assert "/challenge" not in dict(world.server.seen)


def others(world: World) -> Callable[[bytes], bytes]:
    """Another authority that calls itself the same."""
    done(world.cli, "init", "kari", "--folder", "other", "--no-passphrase")
    world.folder = AuthorityFolder(Path("other"))
    return world.issue


def with_more(world: World) -> Callable[[bytes], bytes]:
    """What no chain of certificates has in it."""
    issue = world.issue
    block = pem.encode([pem.PemBlock(pem.EPOCHS, b"epochs")]).encode()
    return lambda csr: issue(csr) + block


def test_a_server_cannot_put_another_authority_in_its_place(world: World) -> None:
    world.server.issue = others(world)
    ran = world.enrol()
    assert (ran.code, "the signature is wrong" in ran.err) == (1, True), ran.err
    assert not Path("identity/certificate.pem").exists()
    assert not Path("identity/trust.pem").exists()


def test_of_what_a_server_says_certificates_count_alone(world: World) -> None:
    world.server.issue = with_more(world)
    assert world.enrol().code == 0
    assert not Path("identity/epochs.pem").exists()


@pytest.mark.parametrize("chain", [b"", b"no certificate", b"\xff\xfe"])
def test_what_is_no_certificate_is_not_taken(world: World, chain: bytes) -> None:
    world.server.issue = lambda csr: chain
    ran = world.enrol()
    assert ran.code == 1
    assert not Path("identity/certificate.pem").exists()


@pytest.mark.slow
def test_the_keys_of_an_account_are_under_the_passphrase_and_are_destroyed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORBITFERRY_PASSPHRASE", "correct horse")
    assert world.enrol().code == 0
    (block,) = decode(Path("identity/acme-account.pem").read_bytes())
    assert block.label == pem.ENCRYPTED_KEY
    monkeypatch.setenv("ORBITFERRY_PASSPHRASE", "wrong")
    assert world.run("--agree").code == 1
    monkeypatch.setenv("ORBITFERRY_PASSPHRASE", "correct horse")
    assert world.cli("domain", "destroy", "identity", "--yes").code == 0
    assert not Path("identity/acme-account.pem").exists()


def test_an_account_that_the_authority_knows_otherwise(world: World) -> None:
    Path("secret").write_text(base64url(os.urandom(32)) + "\n")
    assert world.enrol("--binding-id", "kid-1", "--binding-file", "secret").code == 0
    binding = dict(world.server.seen)["/newAccount"]["externalAccountBinding"]
    assert set(binding) == {"protected", "payload", "signature"}
