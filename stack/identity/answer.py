"""Whose the certificates are that come in an authority's answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from cryptography import x509

from stack.core.errors import ConfigError, SecurityError
from stack.identity import pem
from stack.identity.certificate import (
    NodeRequest,
    Principal,
    domain_of,
    fingerprint,
    load_certificate,
    read_authority,
    read_node,
)
from stack.identity.keys import public_octets
from stack.identity.trust import Trust, certificate_block

_MARK: Final = re.compile("[0-9a-f]{16,64}")
"""Of a fingerprint (SHA-256) at least 64 bits: nobody makes another authority for these."""


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
            if _is_asked(node, request):
                found.append(node.certificate)
    return max(found, key=lambda one: one.not_valid_before_utc, default=None)


def newest_of(own: x509.Certificate, request: NodeRequest, trust: Trust) -> x509.Certificate:
    """The certificate of a node's own key that counts: that of an older answer does not.  Raises
    `SecurityError` for one that the authority has not signed."""
    trust.read(own)
    known = trust.certificate_of(request.node)
    return known if known is not None and _is_asked(read_node(known), request) else own


def _is_asked(node: Principal, request: NodeRequest) -> bool:
    same = public_octets(node.public_key) == public_octets(request.public_key)
    return same and node.facts.id == request.node and node.hpke == request.hpke


def check_own(own: x509.Certificate, request: NodeRequest) -> x509.Certificate:
    """The certificate that a folder has, if it is of the key that has asked.  Raises
    `SecurityError`, as where there is none."""
    if public_octets(read_node(own).public_key) != public_octets(request.public_key):
        raise not_ours(request)
    return own


def not_ours(request: NodeRequest) -> SecurityError:
    """No certificate of what a node has asked for."""
    return SecurityError(
        f"no certificate for {request.node} and its key is in this file: is it the answer "
        "to another request?"
    )


def check_mark(mark: str, root: x509.Certificate) -> None:
    """Raise unless the fingerprint of an authority begins with `mark`: `ConfigError` for one that
    says too little, `SecurityError` for another one's."""
    text = mark.lower().replace(":", "").replace(" ", "")
    if not _MARK.fullmatch(text):
        remedy = "take what `orbitferry domain init` has shown, or its first 16 digits at least"
        raise ConfigError("--authority", "is no fingerprint", remedy)
    if not fingerprint(root).startswith(text):
        raise SecurityError(f"the authority's certificate is {fingerprint(root)}, not {mark}")


def check_domain_of(
    blocks: Sequence[pem.PemBlock], own: x509.Certificate, trust: Trust, refusals: Sequence[str]
) -> None:
    """Raise `SecurityError` for a file of which the domain that a node belongs to knows nothing:
    of another domain, or no file from an authority at all."""
    domain = domain_of(own.issuer)
    if domain != trust.domain:
        raise SecurityError(
            f"this answer is from domain {domain}, and the node belongs to domain {trust.domain}: "
            "enrol it in another folder"
        )
    ours = {certificate_block(trust.root), certificate_block(own), *trust.blocks()}
    if ours.isdisjoint(blocks):
        why = "".join(f"; {one}" for one in refusals[:3])
        raise SecurityError(
            f"nothing in this file is of domain {trust.domain}, to which the node belongs: is it "
            f"the right file?{why}"
        )


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
