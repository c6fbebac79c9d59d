"""A client of ACME (RFC 8555) that gets one certificate, without I/O: a generator that yields what
it needs and is sent what came of it.

    HttpRequest   an `HttpReply`
    Wait          None, when so much time has passed
    Offered       the response object for that challenge: whoever drives it has made sure that the
                  challenge can be met from now on, until the generator ends

Everything the server says is checked; what it may not say, and what it refuses, ends in
`AcmeError`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from stack.core.errors import DecodeError
from stack.engines.acme.digest import base64url
from stack.engines.acme.http import (
    AcmeError,
    HttpReply,
    HttpRequest,
    check_url,
    list_of,
    printable,
    problem,
    problem_of,
    text_of,
)
from stack.engines.acme.jws import AccountKey
from stack.engines.acme.responder import ExpectedChallenge

BUNDLE_EID: Final = "bundleEID"
"""Type of identifier (RFC 9891 §7.1)."""

BP_NODEID: Final = "bp-nodeid-00"
"""Validation method (RFC 9891 §7.2)."""

METHODS: Final[Mapping[str, str]] = MappingProxyType({BUNDLE_EID: BP_NODEID})
CHAIN: Final = "application/pem-certificate-chain"

NONCE_TRIES: Final = 3
"""So often is a request signed anew when its nonce was too old (RFC 8555 §6.5)."""

CHALLENGES_MAX: Final = 32
AUTHORIZATIONS_MAX: Final = 32
POLL_S_MIN, POLL_S_MAX = 0.1, 60.0
"""A server that asks for less or more patience is asked again after so long."""

T = TypeVar("T")


class Identifier(NamedTuple):
    """What a certificate is to name."""

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Step: so much time has to pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Offered:
    """Step: a challenge of the server for an identifier, which can be met now or not at all."""

    identifier: Identifier
    challenge: Mapping[str, Any]
    thumbprint: str


Step = HttpRequest | Wait | Offered
Work = Generator[Step, Any, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who asks."""

    key: AccountKey
    contact: tuple[str, ...] = ()
    """URLs such as mailto:."""

    agreed: bool = False
    """To the terms of service of the authority."""

    key_id: str = ""
    secret: bytes = field(default=b"", repr=False)
    """By which the authority knows the account otherwise (RFC 8555 §7.3.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for the server."""

    poll_s: float = 2.0
    """Between two looks, where the server does not say."""

    total_s: float = 120.0
    """For one validation, and for the certificate."""


def expected_of(offered: Offered) -> ExpectedChallenge:
    """What a node has to be told for a challenge of `BP_NODEID`.  Raises `DecodeError`."""
    found = offered.challenge
    id_chal, token_chal = (text_of(found, name) for name in ("id-chal", "token-chal"))
    return ExpectedChallenge(id_chal, token_chal, offered.thumbprint)


class AcmeClient:
    """One account at one server."""

    def __init__(
        self,
        directory: str,
        account: Account,
        patience: Patience | None = None,
        methods: Mapping[str, str] = METHODS,
    ) -> None:
        """`methods`: by type of identifier, how it is validated.  Raises `DecodeError`."""
        self._directory_url = check_url(directory)
        self._account = account
        self._patience = patience or Patience()
        self._methods = methods
        self._directory: dict[str, Any] = {}
        self._nonce = ""
        self._url = ""

    def terms(self) -> Work[str]:
        """Ask the server where its terms of service are; empty: it has none."""
        try:
            yield from self._look()
        except DecodeError as error:
            raise _misunderstood(error) from None
        meta = self._directory.get("meta")
        return printable(meta.get("termsOfService", "")) if isinstance(meta, dict) else ""

    def certify(self, identifiers: Sequence[Identifier], csr: bytes) -> Work[bytes]:
        """Have a request (PKCS #10, DER) certified, which names these and no others: the chain, in
        PEM, as it came."""
        try:
            yield from self._register()
            return (yield from self._order(identifiers, csr))
        except DecodeError as error:
            raise _misunderstood(error) from None

    def _look(self) -> Work[None]:
        if not self._directory:
            reply = yield HttpRequest("GET", self._directory_url)
            if reply.status != 200:
                raise problem_of(reply)
            self._directory = reply.object()

    def _register(self) -> Work[None]:
        """An account; the one that the key has already, where it has one (RFC 8555 §7.3)."""
        yield from self._look()
        account, url = self._account, self._resource("newAccount")
        asked: dict[str, Any] = {"contact": list(account.contact)} if account.contact else {}
        if account.agreed:
            asked["termsOfServiceAgreed"] = True
        if account.key_id:
            bound = account.key.bound(url, account.key_id, account.secret)
            asked["externalAccountBinding"] = bound
        reply = yield from self._post(url, asked)
        self._url = check_url(reply.headers.get("location"))
        if reply.object().get("status") != "valid":
            raise AcmeError("the account is not valid any more")

    def _order(self, identifiers: Sequence[Identifier], csr: bytes) -> Work[bytes]:
        wanted = [one._asdict() for one in identifiers]
        reply = yield from self._post(self._resource("newOrder"), {"identifiers": wanted})
        url, order = check_url(reply.headers.get("location")), reply.object()
        for one in list_of(order, "authorizations", AUTHORIZATIONS_MAX):
            yield from self._authorize(check_url(one), identifiers)
        order = yield from self._until(url, "order", ("ready", "valid"))
        if order["status"] == "ready":
            finalize = check_url(order.get("finalize"))
            yield from self._post(finalize, {"csr": base64url(csr)})
            order = yield from self._until(url, "order", ("valid",))
        reply = yield from self._post(check_url(order.get("certificate")), None, CHAIN)
        chain: bytes = reply.body
        return chain

    def _authorize(self, url: str, identifiers: Sequence[Identifier]) -> Work[None]:
        """Have one identifier validated, unless it has been."""
        reply = yield from self._post(url, None)
        found = reply.object()
        if text_of(found, "status") == "valid":
            return
        named = found.get("identifier")
        if not isinstance(named, dict):
            raise DecodeError("an authorization without identifier", "RFC 8555 §7.1.4")
        identifier = Identifier(text_of(named, "type"), text_of(named, "value"))
        if identifier not in identifiers:
            raise DecodeError("an authorization for what was not ordered", "RFC 8555 §7.1.4")
        method = self._methods.get(identifier.type)
        for one in list_of(found, "challenges", CHALLENGES_MAX):
            if isinstance(one, dict) and one.get("type") == method:
                yield from self._meet(url, Offered(identifier, one, self._account.key.thumbprint))
                return
        words = f"the server does not offer to validate {identifier.type} by {method}"
        raise AcmeError(words, "unsupportedIdentifier")

    def _meet(self, url: str, offered: Offered) -> Work[None]:
        """The response to a challenge is sent when the challenge can be met (RFC 9891 §3.2)."""
        target = check_url(offered.challenge.get("url"))
        response = yield offered
        yield from self._post(target, response)
        yield from self._until(url, "authorization", ("valid",))

    def _until(self, url: str, what: str, wanted: Sequence[str]) -> Work[dict[str, Any]]:
        """Look until a resource has one of these states; it ends in words of the server where it
        will have none."""
        left_s = self._patience.total_s
        while True:
            reply = yield from self._post(url, None)
            found: dict[str, Any] = reply.object()
            status = text_of(found, "status")
            if status in wanted:
                return found
            if status not in ("pending", "processing", "ready"):
                raise _failed(found, f'that the {what} is "{printable(status)}"')
            if left_s <= 0:
                waited = f"{self._patience.total_s:g} seconds"
                raise AcmeError(f"the {what} is still {status} after {waited}", "timeout")
            wait_s = _retry_after_s(reply, self._patience.poll_s)
            left_s -= wait_s
            yield Wait(wait_s)

    def _post(self, url: str, payload: object, accept: str = "application/json") -> Work[HttpReply]:
        """A signed request; None reads what is there (RFC 8555 §6.2 to §6.5)."""
        tries = NONCE_TRIES
        while True:
            if not self._nonce:
                yield from self._ask_nonce()
            nonce, self._nonce = self._nonce, ""
            body = self._account.key.signed(url, nonce, payload, self._url)
            reply: HttpReply = yield HttpRequest("POST", url, body, accept)
            self._keep_nonce(reply)
            if 200 <= reply.status < 300:
                return reply
            refusal, tries = problem_of(reply), tries - 1
            if refusal.kind != "badNonce" or not tries:
                raise refusal

    def _ask_nonce(self) -> Work[None]:
        """RFC 8555 §7.2."""
        reply: HttpReply = yield HttpRequest("HEAD", self._resource("newNonce"))
        if not 200 <= reply.status < 300:
            raise problem_of(reply)
        self._keep_nonce(reply)
        if not self._nonce:
            raise AcmeError("the server gives no nonce for a request")

    def _keep_nonce(self, reply: HttpReply) -> None:
        found = reply.headers.get("replay-nonce", "")
        if found.replace("-", "").replace("_", "").isalnum() and found.isascii():
            self._nonce = found

    def _resource(self, name: str) -> str:
        if name not in self._directory:
            words = f"no {name} in what should be its directory: is {self._directory_url} that?"
            raise DecodeError(words, "RFC 8555 §7.1.1")
        return check_url(self._directory[name])


def _retry_after_s(reply: HttpReply, otherwise: float) -> float:
    """RFC 8555 §7.5.1; a date is not looked at."""
    text = reply.headers.get("retry-after", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        return otherwise
    return min(max(float(text), POLL_S_MIN), POLL_S_MAX)


def _failed(found: Mapping[str, Any], otherwise: str) -> AcmeError:
    """Why an order or authorization will not become valid: the error of a challenge of it, or its
    own."""
    challenges = found.get("challenges")
    for one in challenges if isinstance(challenges, list) else ():
        if isinstance(one, dict) and "error" in one:
            return problem(one["error"], otherwise)
    return problem(found.get("error"), otherwise)


def _misunderstood(error: DecodeError) -> AcmeError:
    return AcmeError(f"the server is not understood: {error}")
