"""The ACME client against a server that verifies all it sends (RFC 8555, RFC 9891)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.core.errors import DecodeError, SecurityError
from stack.cose import HpkePrivateKey
from stack.engines.acme.client import (
    Account,
    AcmeClient,
    Identifier,
    Offered,
    Patience,
    Wait,
    Work,
    expected_of,
)
from stack.engines.acme.http import AcmeError, HttpReply, HttpRequest, check_url
from stack.engines.acme.jws import AccountKey
from stack.engines.acme.responder import Responder
from stack.engines.acme.validator import SentChallenge
from stack.identity.authority import make_request
from stack.wire.bundle import AcmeResponse
from tests.engines.acme.server import BASE, AcmeServer, Refused

T = TypeVar("T")

KEY = ec.derive_private_key(7, ec.SECP256R1())
NODE = "dtn://sat1/"
WANTED = [Identifier("bundleEID", NODE)]


def request_of(node: str) -> bytes:
    hpke = HpkePrivateKey("X25519", bytes(32)[:-1] + b"\x01")
    return make_request(Eid.parse(node), ec.derive_private_key(9, ec.SECP256R1()), hpke.public,
                        ["KR"], ["relay"])  # fmt: skip


CSR = request_of(NODE)


class World:
    """A server, the node it validates, and who drives a client between them."""

    def __init__(self, **options: Any) -> None:
        self.node = Responder()
        self.server = AcmeServer(lambda csr: b"CHAIN of " + csr[:4], self.bring, **options)
        self.answers = True
        self.waited: list[float] = []

    def bring(self, sent: SentChallenge) -> AcmeResponse | None:
        assert str(sent.destination) == NODE
        return self.node.receive(sent.record, 0).response if self.answers else None

    def meet(self, offered: Offered) -> Mapping[str, Any]:
        self.node.expect(expected_of(offered), 60_000, 0)
        return {"rtt": 3.5}

    def drive(self, work: Work[T]) -> T:
        told: Any = None
        while True:
            try:
                step = work.send(told)
            except StopIteration as stop:
                found: T = stop.value
                return found
            match step:
                case HttpRequest():
                    told = self.server.handle(step)
                case Wait():
                    self.waited.append(step.seconds)
                    self.server.now_ms += round(step.seconds * 1000)
                    told = None
                case Offered():
                    told = self.meet(step)


def client(**changes: Any) -> AcmeClient:
    account = Account(key=AccountKey(KEY), agreed=True)
    return AcmeClient(f"{BASE}/directory", replace(account, **changes), Patience(total_s=20.0))


def test_a_node_that_answers_gets_its_certificate() -> None:
    world = World()
    chain = world.drive(client(contact=("mailto:ops@example.org",)).certify(WANTED, CSR))
    assert chain == b"CHAIN of " + CSR[:4]
    asked = dict(world.server.seen)
    assert asked["/newAccount"]["contact"] == ["mailto:ops@example.org"]
    assert asked["/newOrder"] == {"identifiers": [{"type": "bundleEID", "value": NODE}]}
    assert asked["/challenge"] == {"rtt": 3.5}
    assert asked["/certificate"] is None


def test_a_node_that_does_not_answer_gets_none_and_is_told_why() -> None:
    world = World()
    world.answers = False
    with pytest.raises(
        AcmeError, match='"incorrectResponse: not validated"; "no response in time"'
    ):
        world.drive(client().certify(WANTED, CSR))
    assert sum(world.waited) == 7.0  # twice the round trip that was told
    assert "/finalize" not in dict(world.server.seen)


def test_patience_ends() -> None:
    world = World()
    world.answers = False
    patient = AcmeClient(
        f"{BASE}/directory", Account(key=AccountKey(KEY), agreed=True), Patience(total_s=3.0)
    )
    with pytest.raises(AcmeError, match="still pending after 3 seconds") as raised:
        world.drive(patient.certify(WANTED, CSR))
    assert raised.value.kind == "timeout"


def test_terms_are_told_before_anything_is_agreed_to() -> None:
    world = World()
    one = client(agreed=False)
    assert world.drive(one.terms()) == f"{BASE}/terms"
    assert world.server.seen == []
    with pytest.raises(AcmeError, match="userActionRequired: agree to the terms first"):
        world.drive(one.certify(WANTED, CSR))


def test_what_is_no_directory_is_told() -> None:
    world = World()
    world.server.tamper = lambda request, reply: replace(reply, body=b'{"hello": "world"}')
    with pytest.raises(AcmeError, match=f"no newAccount in .* is {BASE}/directory that"):
        world.drive(client().certify(WANTED, CSR))


def test_a_nonce_that_is_too_old_is_replaced() -> None:
    world = World()

    def forgetful(request: HttpRequest, reply: HttpReply) -> HttpReply:
        if request.url.endswith("/newOrder") and reply.status == 201:
            world.server.nonces.clear()
        return reply

    world.server.tamper = forgetful
    assert world.drive(client().certify(WANTED, CSR))


def test_a_server_that_never_takes_a_nonce_is_left_alone() -> None:
    world = World()

    def refuse(request: HttpRequest, reply: HttpReply) -> HttpReply:
        refused = Refused("badNonce", "never")
        body = json.dumps(refused.document).encode()
        return replace(reply, status=400, body=body) if request.method == "POST" else reply

    world.server.tamper = refuse
    with pytest.raises(AcmeError, match="badNonce"):
        world.drive(client().certify(WANTED, CSR))
    assert len(world.server.seen) == 3


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (200, "the server gives no nonce for a request"),
        (503, "the server answers with HTTP status 503"),
    ],
)
def test_a_server_without_nonces_is_not_asked_on(status: int, words: str) -> None:
    world = World()

    def without(request: HttpRequest, reply: HttpReply) -> HttpReply:
        return HttpReply(status, {}, b"") if request.method == "HEAD" else reply

    world.server.tamper = without
    with pytest.raises(AcmeError, match=words):
        world.drive(client().certify(WANTED, CSR))


def test_a_request_that_names_another_node_is_refused() -> None:
    world = World()
    with pytest.raises(AcmeError, match="badCSR: it names another node"):
        world.drive(client().certify(WANTED, request_of("dtn://sat2/")))
    assert [path for path, _ in world.server.seen].count("/finalize") == 1


def test_another_kind_of_identifier_is_refused() -> None:
    with pytest.raises(AcmeError, match="unsupportedIdentifier: no dns here"):
        World().drive(client().certify([Identifier("dns", "a.example")], CSR))


def edited(path: str, **changes: Any) -> Callable[[HttpRequest, HttpReply], HttpReply]:
    def tamper(request: HttpRequest, reply: HttpReply) -> HttpReply:
        if not request.url.endswith(path):
            return reply
        body = json.dumps({**json.loads(reply.body), **changes}).encode()
        return replace(reply, body=body)

    return tamper


@pytest.mark.parametrize(
    ("path", "changes", "words"),
    [
        ("/directory", {"newNonce": "http://acme.example/nonce"}, "no URL with https"),
        ("/directory", {"newAccount": 5}, "has to be a URL"),
        ("/newAccount", {"status": "deactivated"}, "not valid any more"),
        ("/newOrder", {"authorizations": []}, "authorizations is no list"),
        ("/newOrder", {"authorizations": ["https://x/"] * 33}, "authorizations is no list"),
        ("/newOrder", {"authorizations": ["file:///etc/passwd"]}, "no URL with https"),
        ("/authorization", {"identifier": None}, "without identifier"),
        ("/authorization", {"identifier": {"type": "bundleEID", "value": "dtn://me/"}},
         "not ordered"),
        ("/authorization", {"challenges": [{"type": "http-01"}, 5]}, "does not offer to validate"),
        ("/authorization", {"status": 5}, "status is no text"),
        ("/order", {"status": "revoked"}, 'the order is "revoked"'),
        ("/finalize", {"type": "x"}, ""),
    ],
)  # fmt: skip
def test_what_no_server_may_say_ends_it(path: str, changes: dict[str, Any], words: str) -> None:
    world = World()
    world.server.tamper = edited(path, **changes)
    if not words:
        assert world.drive(client().certify(WANTED, CSR))
        return
    with pytest.raises(AcmeError, match=words):
        world.drive(client().certify(WANTED, CSR))


@pytest.mark.parametrize("token", ["", "short", "A" * 21 + "=", 7, None, "A" * 100])
@pytest.mark.parametrize("name", ["id-chal", "token-chal"])
def test_a_challenge_that_could_be_guessed_is_not_met(name: str, token: object) -> None:
    challenge = {"id-chal": "A" * 22, "token-chal": "A" * 22, name: token}
    with pytest.raises(DecodeError):
        expected_of(Offered(WANTED[0], challenge, "A" * 43))


@given(status=st.integers(100, 599), body=st.binary(max_size=300), nonce=st.text(max_size=20))
def test_any_answer_is_understood_or_refused(status: int, body: bytes, nonce: str) -> None:
    world = World()

    def tamper(request: HttpRequest, reply: HttpReply) -> HttpReply:
        if request.method == "POST":
            return HttpReply(status, {"replay-nonce": nonce}, body)
        return reply

    world.server.tamper = tamper
    with pytest.raises(AcmeError):
        world.drive(client().certify(WANTED, CSR))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    path=st.sampled_from(["/newAccount", "/newOrder", "/authorization", "/order", "/challenge"]),
    name=st.sampled_from(
        ["status", "authorizations", "finalize", "identifier", "challenges", "error"]
    ),
    value=JSON,
)
def test_any_object_is_understood_or_refused(path: str, name: str, value: object) -> None:
    world = World()
    world.server.tamper = edited(path, **{name: value})
    with suppress(AcmeError):
        world.drive(client().certify(WANTED, CSR))


def test_words_of_a_server_do_no_harm_to_a_terminal() -> None:
    world = World()

    def shout(request: HttpRequest, reply: HttpReply) -> HttpReply:
        document = {"type": "\x1b[2J", "detail": "a\nb\x07" + "x" * 10_000, "subproblems": [{}, 5]}
        return HttpReply(500, {}, json.dumps(document).encode())

    world.server.tamper = shout
    with pytest.raises(AcmeError) as raised:
        world.drive(client().terms())
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("url", "sound"),
    [
        ("https://acme.example/directory", True),
        ("https://acme.example:14000/", True),
        ("http://127.0.0.1:8080/", True),
        ("http://localhost/", True),
        ("http://[::1]:1/", True),
        ("http://acme.example/", False),
        ("http://127.0.0.1.example/", False),
        ("https://user@acme.example/", False),
        ("https:///directory", False),
        ("https://[::1/", False),
        ("https://acme.example:port/", False),
        ("https://acme.example/a b", False),
        ("https://acme.example/\r\nX: y", False),
        ("https://acme.example/" + "a" * 2048, False),
        ("ftp://acme.example/", False),
        ("", False),
        (None, False),
    ],
)
def test_nothing_is_said_to_others_in_clear(url: object, sound: bool) -> None:
    if sound:
        assert check_url(url) == url
        return
    with pytest.raises(DecodeError):
        check_url(url)


def test_an_account_has_a_key_on_p_256() -> None:
    for key in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(SecurityError):
            AccountKey(key)


def test_secrets_are_not_shown() -> None:
    told = Account(key=AccountKey(KEY), key_id="kid", secret=b"of the authority")
    assert "authority" not in repr(told)
