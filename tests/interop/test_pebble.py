"""Our ACME client against a server by others (RFC 8555).  It knows no node ids, so it is asked for
certificates of DNS names: account, nonces, signatures, order, certificate, problem documents."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from stack.adapters.https import HttpsClient
from stack.engines.acme.client import (
    Account,
    AcmeClient,
    Identifier,
    Offered,
    Patience,
    Wait,
    Work,
)
from stack.engines.acme.http import AcmeError, HttpReply, HttpRequest
from stack.engines.acme.jws import AccountKey
from tests.interop.pebble import Pebble, needs_pebble, pebble

T = TypeVar("T")

pytestmark = needs_pebble

NAMES = [Identifier("dns", "gs1.example.org"), Identifier("dns", "gs2.example.org")]
KEY = ec.derive_private_key(11, ec.SECP256R1())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble")) as found:
        yield found


def request_of(names: Sequence[Identifier]) -> bytes:
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    alternative = x509.SubjectAlternativeName([x509.DNSName(one.value) for one in names])
    csr = builder.add_extension(alternative, False).sign(KEY, hashes.SHA256())
    return csr.public_bytes(Encoding.DER)


class Driven:
    """A client, and all that was said."""

    def __init__(self, server: Pebble, **changes: Any) -> None:
        key = changes.pop("key", ec.generate_private_key(ec.SECP256R1()))
        account = Account(**{"key": AccountKey(key), "agreed": True, **changes})
        patience = Patience(poll_s=0.1, total_s=20.0)
        methods = {"dns": "http-01"}
        self.client = AcmeClient(server.directory, account, patience, methods)
        self.http = HttpsClient(server.ca_file)
        self.replies: list[HttpReply] = []
        self.offered: list[Offered] = []

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
                    told = self.http.fetch(step)
                    self.replies.append(told)
                case Wait():
                    time.sleep(step.seconds)  # another process has to go on
                    told = None
                case Offered():
                    self.offered.append(step)
                    told = {}

    def certify(self, names: Sequence[Identifier] = NAMES) -> bytes:
        return self.drive(self.client.certify(names, request_of(names)))


def test_a_certificate_for_what_was_ordered(server: Pebble) -> None:
    driven = Driven(server, contact=("mailto:ops@example.org",))
    assert driven.drive(driven.client.terms()).startswith("data:")
    leaf, issuer = x509.load_pem_x509_certificates(driven.certify())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [one.value for one in NAMES]
    assert leaf.public_key() == KEY.public_key()
    leaf.verify_directly_issued_by(issuer)
    assert {one.identifier for one in driven.offered} == set(NAMES)


def test_an_account_is_found_again_by_its_key(server: Pebble) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    found = []
    for _ in range(2):
        driven = Driven(server, key=key)
        driven.certify()
        account = driven.replies[2]  # after directory and nonce
        found.append((account.status, account.headers["location"]))
    (made, first), (again, second) = found
    assert (made, again) == (201, 200)
    assert first == second


def test_a_nonce_that_the_server_does_not_know_is_replaced(server: Pebble) -> None:
    driven = Driven(server)
    driven.client._nonce = "AAAAAAAAAAAAAAAAAAAAAA"
    assert driven.certify()
    refused = [one for one in driven.replies if one.status >= 400]
    assert [one.object()["type"] for one in refused] == ["urn:ietf:params:acme:error:badNonce"]


def test_who_does_not_agree_to_its_terms_is_refused(server: Pebble) -> None:
    with pytest.raises(AcmeError, match="agreementRequired"):
        Driven(server, agreed=False).certify()


def test_it_knows_no_node_ids_and_says_so(server: Pebble) -> None:
    driven = Driven(server)
    work = driven.client.certify([Identifier("bundleEID", "dtn://gs1/")], request_of(NAMES))
    with pytest.raises(AcmeError, match="the server says"):
        driven.drive(work)


def test_a_request_for_other_names_than_were_ordered_is_refused(server: Pebble) -> None:
    driven = Driven(server)
    with pytest.raises(AcmeError) as raised:
        driven.drive(driven.client.certify(NAMES, request_of(NAMES[:1])))
    assert raised.value.kind in ("unauthorized", "badCSR")


def test_an_authority_that_is_not_named_is_not_believed(server: Pebble) -> None:
    with pytest.raises(AcmeError, match="certificate verify failed"):
        HttpsClient().fetch(HttpRequest("GET", server.directory))


@pytest.mark.slow
def test_an_account_that_the_authority_knows_otherwise(tmp_path: Path) -> None:
    secret = bytes(range(32))
    keys = {"kid-1": base64.urlsafe_b64encode(secret).rstrip(b"=").decode()}
    with pebble(
        tmp_path, externalAccountBindingRequired=True, externalAccountMACKeys=keys
    ) as server:
        assert Driven(server, key_id="kid-1", secret=secret).certify(NAMES[:1])
        for wrong in ({}, {"key_id": "kid-1", "secret": bytes(32)}):
            with pytest.raises(AcmeError):
                Driven(server, **wrong).certify(NAMES[:1])
