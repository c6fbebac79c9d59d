"""A small ACME server in memory that knows node ids (RFC 8555, RFC 9891): what a client sends is
read and verified with other code than the client's, and a node id is validated by our engine."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from stack.adapters.clock import SystemClock
from stack.core.eid import Eid
from stack.engines.acme.http import HttpReply, HttpRequest
from stack.engines.acme.responder import ExpectedChallenge
from stack.engines.acme.validator import SentChallenge, ValidationOutcome, Validator
from stack.identity import AuthorityFolder
from stack.identity.certificate import read_request
from stack.wire.bundle import AcmeResponse

BASE = "https://acme.example"
CA = Eid.parse("dtn://ca/")
URN = "urn:ietf:params:acme:error:"

Transport = Callable[[SentChallenge], AcmeResponse | None]
"""Brings a challenge to its node, and its answer back, if there is one."""


def nobody(sent: SentChallenge) -> None:
    """Brings nothing anywhere."""


def issued(folder: AuthorityFolder, csr: bytes) -> bytes:
    """The chain of a request that an authority without a passphrase approves."""
    authority = folder.unlock(lambda: b"")
    node = folder.approve(
        authority,
        read_request(csr),
        jurisdictions=["KR"],
        roles=["relay"],
        now_ms=SystemClock().dtn_ms(),
    )
    certificates = (node.certificate, authority.certificate)
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


class Refused(Exception):
    """A problem document."""

    def __init__(self, kind: str, detail: str, status: int = 400, **more: Any) -> None:
        self.status = status
        self.document = {"type": URN + kind, "detail": detail, **more}


def octets(text: str) -> bytes:
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class AcmeServer:
    """Answers requests; `bring` is the network of nodes, `issue` gives the chain for a request."""

    issue: Callable[[bytes], bytes]
    bring: Transport = nobody
    base: str = BASE
    now_ms: int = 0
    tamper: Callable[[HttpRequest, HttpReply], HttpReply] = lambda _, reply: reply
    accounts: dict[str, dict[str, str]] = field(default_factory=dict)
    seen: list[tuple[str, Any]] = field(default_factory=list)
    """Of every request that was signed well its path and payload."""

    def __post_init__(self) -> None:
        self.count = itertools.count(1)
        self.nonces: set[str] = set()
        self.validator = Validator(lambda size: next(self.count).to_bytes(size))
        self.authorization: dict[str, Any] = {}
        self.order: dict[str, Any] = {}
        self.expected: ExpectedChallenge | None = None
        self.chain = b""

    def handle(self, request: HttpRequest) -> HttpReply:
        """One request."""
        nonce = f"nonce-{next(self.count)}"
        self.nonces.add(nonce)
        headers = {"replay-nonce": nonce}
        try:
            status, content, more = self._answer(request)
        except Refused as refused:
            status, content, more = refused.status, refused.document, {}
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.tamper(request, HttpReply(status, {**headers, **more}, body))

    def _answer(self, request: HttpRequest) -> tuple[int, Any, dict[str, str]]:
        path = request.url.removeprefix(self.base)
        if (request.method, path) == ("GET", "/directory"):
            names = ("newNonce", "newAccount", "newOrder")
            meta = {"termsOfService": f"{self.base}/terms"}
            return 200, {**{name: f"{self.base}/{name}" for name in names}, "meta": meta}, {}
        if (request.method, path) == ("HEAD", "/newNonce"):
            return 200, b"", {}
        assert request.method == "POST"
        account, payload = self._verified(request)
        self.seen.append((path, payload))
        if path == "/newAccount":
            return self._account(payload, account)
        if path == "/newOrder":
            return self._new_order(payload)
        if path == "/challenge":
            return self._challenged(payload, account)
        if path == "/finalize":
            return self._finalized(payload)
        self._poll()
        found = {"/order": self.order, "/authorization": self.authorization}.get(path, self.chain)
        return 200, found, {"retry-after": "1"}

    def _verified(self, request: HttpRequest) -> tuple[str, Any]:
        """The thumbprint of who has signed a request, and its payload (RFC 8555 §6.2)."""
        message = json.loads(request.body)
        protected = json.loads(octets(message["protected"]))
        assert protected["alg"] == "ES256"
        assert protected["url"] == request.url
        if protected["nonce"] not in self.nonces:
            raise Refused("badNonce", "not one of ours")
        self.nonces.remove(protected["nonce"])
        new = request.url.endswith("/newAccount")
        assert new == ("jwk" in protected) != ("kid" in protected)
        jwk = protected["jwk"] if new else self.accounts[protected["kid"]]
        x, y = (int.from_bytes(octets(jwk[name])) for name in ("x", "y"))
        key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        signature = octets(message["signature"])
        r, s = (int.from_bytes(signature[at : at + 32]) for at in (0, 32))
        signed = f"{message['protected']}.{message['payload']}".encode()
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
        if new:
            self.accounts[f"{self.base}/account"] = jwk
        text = f'{{"crv":"P-256","kty":"EC","x":"{jwk["x"]}","y":"{jwk["y"]}"}}'
        thumbprint = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
        payload = json.loads(octets(message["payload"])) if message["payload"] else None
        return thumbprint.rstrip(b"=").decode(), payload

    def _account(self, payload: Any, account: str) -> tuple[int, Any, dict[str, str]]:
        if not payload.get("termsOfServiceAgreed"):
            raise Refused("userActionRequired", "agree to the terms first")
        return 201, {"status": "valid"}, {"location": f"{self.base}/account"}

    def _new_order(self, payload: Any) -> tuple[int, Any, dict[str, str]]:
        ((kind, value),) = (tuple(one.values()) for one in payload["identifiers"])
        if kind != "bundleEID":
            raise Refused("unsupportedIdentifier", f"no {kind} here")
        if not value.startswith(("dtn:", "ipn:")):
            raise Refused("rejectedIdentifier", "no scheme of ours")
        challenge = {
            "type": "bp-nodeid-00",
            "url": f"{self.base}/challenge",
            "status": "pending",
            "id-chal": "dDtaviYTPUWFS3NK37YWfQ",
            "token-chal": "tPUZNY4ONIk6LxErRFEjVw",
        }
        others = [{"type": "http-01", "url": f"{self.base}/other", "status": "pending"}]
        self.authorization = {
            "status": "pending",
            "identifier": {"type": kind, "value": value},
            "challenges": [*others, challenge],
        }
        self.order = {
            "status": "pending",
            "identifiers": payload["identifiers"],
            "authorizations": [f"{self.base}/authorization"],
            "finalize": f"{self.base}/finalize",
        }
        return 201, self.order, {"location": f"{self.base}/order"}

    def _challenged(self, payload: Any, account: str) -> tuple[int, Any, dict[str, str]]:
        challenge = self.authorization["challenges"][1]
        node = Eid.parse(self.authorization["identifier"]["value"])
        told = ExpectedChallenge(challenge["id-chal"], challenge["token-chal"], account)
        self.validate(node, told, payload.get("rtt"))
        challenge["status"] = "processing"
        return 200, challenge, {}

    def validate(self, node: Eid, told: ExpectedChallenge, rtt_s: float | None) -> None:
        """Begin the validation of a node id."""
        for sent in self.validator.begin(node, told, [CA], self.now_ms, rtt_s):
            answer = self.bring(sent)
            if answer is not None:
                self.validator.receive(node, sent.source, answer, self.now_ms)

    def poll(self) -> list[ValidationOutcome]:
        """What has come of it."""
        return self.validator.poll(self.now_ms)

    def _poll(self) -> None:
        for outcome in self.poll():
            self.authorization["status"] = "valid" if outcome.valid else "invalid"
            self.order["status"] = "ready" if outcome.valid else "invalid"
            if not outcome.valid:
                parts = [{"type": URN + "incorrectResponse", "detail": why}
                         for _, why in outcome.problems]  # fmt: skip
                self.authorization["challenges"][1]["error"] = {
                    "type": URN + "incorrectResponse",
                    "detail": "not validated",
                    "subproblems": parts,
                }

    def _finalized(self, payload: Any) -> tuple[int, Any, dict[str, str]]:
        if self.order["status"] != "ready":
            raise Refused("orderNotReady", "not yet", 403)
        request = octets(payload["csr"])
        csr = x509.load_der_x509_csr(request)
        assert csr.is_signature_valid
        if str(read_request(request).node) != self.order["identifiers"][0]["value"]:
            raise Refused("badCSR", "it names another node")
        self.chain = self.issue(request)
        self.order |= {"status": "valid", "certificate": f"{self.base}/certificate"}
        return 200, self.order, {}
