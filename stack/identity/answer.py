"""Whose the certificates are that come in an authority's answer."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509

from stack.core.errors import SecurityError
from stack.identity import pem
from stack.identity.certificate import (
    NodeRequest,
    load_certificate,
    read_authority,
    read_node,
)
from stack.identity.keys import public_octets


def own_certificate(
    blocks: Iterable[pem.PemBlock], request: NodeRequest
) -> x509.Certificate | None:
    """The newest certificate of a node's own key."""
    found = []
    for block in blocks:
        if block.label == pem.CERTIFICATE:
            try:
                node = read_node(load_certificate(block.octets))
            except SecurityError:
                continue
            same = public_octets(node.public_key) == public_octets(request.public_key)
            if same and node.facts.id == request.node and node.hpke == request.hpke:
                found.append(node.certificate)
    return max(found, key=lambda one: one.not_valid_before_utc, default=None)


def root_of(blocks: Iterable[pem.PemBlock], own: x509.Certificate) -> x509.Certificate:
    """The authority that has signed a certificate, from the same file.  Raises `SecurityError`."""
    for block in blocks:
        if block.label == pem.CERTIFICATE:
            try:
                certificate = load_certificate(block.octets)
                read_authority(certificate)
            except SecurityError:
                continue
            if certificate.subject == certificate.issuer == own.issuer:
                return certificate
    raise SecurityError("the certificate of the authority is not in this file")
