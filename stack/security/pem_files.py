"""Files beside the key file, each with a key or certificate in PEM, and how files with keys are
read."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
    load_pem_public_key,
)

from stack.core.errors import ConfigError, DecodeError, LocalError, SecurityError
from stack.cose import (
    AgreementPrivateKey,
    AgreementPublicKey,
    RsaPrivateKey,
    RsaPublicKey,
    SigningKey,
    VerifyingKey,
)
from stack.identity import pem
from stack.identity.certificate import load_revocations
from stack.security.pinned import Period, period_of

FILE_BYTES_MAX = 1024 * 1024
"""Longest file of keys."""

RSA_BITS = (2048, 4096)
"""Smallest and largest modulus of an RSA key, bits: its octets are added to every segment."""

EncryptionKey: TypeAlias = AgreementPrivateKey | AgreementPublicKey | RsaPrivateKey | RsaPublicKey
"""A key of key agreement or of RSA, this node's own or another's."""

_FAULTS = (
    TypeError,
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
)
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


def read_file(path: Path, remedy: str, *, secret: bool) -> bytes:
    """The octets of a file.  Raises `ConfigError` where it is not there, too long, or where others
    may read what is `secret`."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if secret and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(
                    str(path),
                    f"others may read this key file (mode {stat.S_IMODE(status.st_mode):04o})",
                    f"chmod 600 {path}",
                )
            if status.st_size > FILE_BYTES_MAX:
                raise ConfigError(str(path), "too large for a key file")
            return file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), remedy) from None


def _read(path: Path, where: str, what: str, *, secret: bool) -> bytes:
    try:
        return read_file(path, f"a PEM file with {what}", secret=secret)
    except ConfigError as error:
        raise ConfigError(where, f"{path}: {error.message}", error.remedy) from None


def rsa_key(path: Path, where: str, *, private: bool) -> RSAPrivateKey | RSAPublicKey:
    """An RSA key from a PEM file, which `where` names.  Raises `ConfigError`."""
    what = "private" if private else "public"
    octets = _read(path, where, f"an RSA {what} key", secret=private)
    key: object
    try:
        key = load_pem_private_key(octets, None) if private else load_pem_public_key(octets)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        why = f"no RSA {what} key in PEM without a passphrase"
        raise ConfigError(where, f"{path}: {why}: {type(error).__name__}", "openssl rsa") from None
    if not isinstance(key, RSAPrivateKey if private else RSAPublicKey):
        raise ConfigError(where, f"{path}: a key of another kind", f"an RSA {what} key")
    if not RSA_BITS[0] <= key.key_size <= RSA_BITS[1]:
        limits = f"{RSA_BITS[0]} to {RSA_BITS[1]}"
        raise ConfigError(where, f"{path}: an RSA key of {key.key_size} bits", limits)
    return key


def signature_key(path: Path, where: str, *, private: bool) -> SigningKey | VerifyingKey:
    """A key of signatures from a PEM file, which `where` names.  Raises `ConfigError`."""
    octets = _read(path, where, f"a {'private' if private else 'public'} key", secret=private)
    try:
        return SigningKey.from_pem(octets) if private else VerifyingKey.from_pem(octets)
    except SecurityError as error:
        kinds = "P-256, P-384, P-521, Ed25519, ML-DSA or RSA, as of openssl genpkey"
        raise ConfigError(where, f"{path}: {error}", kinds) from None


@dataclass(frozen=True, slots=True)
class Pinning:
    """What a certificate in the key file has to stand up to."""

    issuer: Path | None = None
    """Who has signed it, or those that follow it."""

    revocations: Path | None = None
    """Revocation lists of all who have signed."""

    grace_ms: int | None = None
    """How long those are believed after their next update; None: for ever."""


def encryption_key(
    path: Path, where: str, key_id: bytes, *, private: bool, pinning: Pinning
) -> tuple[EncryptionKey, Period | None]:
    """A key of key agreement or RSA from a PEM file, which `where` names: a private key with its
    certificate or without, a certificate, or a public key; and when its certificate holds, for
    which others may follow it.  Raises `ConfigError`."""
    octets = _read(path, where, "a key or certificate", secret=private)
    issuer, lists = (
        None if file is None else _read(file, where, what, secret=False)
        for file, what in (
            (pinning.issuer, "a certificate"),
            (pinning.revocations, "revocation lists"),
        )
    )
    try:
        begin = octets.find(_CERTIFICATE)
        certificate = x509.load_pem_x509_certificate(octets[begin:]) if begin >= 0 else None
        key = (_private if private else _public)(octets, certificate, key_id)
        if certificate is None:
            if issuer is not None:
                raise SecurityError("an issuer is named, and there is no certificate")
            return key, None
        if issuer is None:
            return key, period_of([certificate], None)
        return key, period_of(
            x509.load_pem_x509_certificates(octets[begin:]),
            x509.load_pem_x509_certificate(issuer),
            None if lists is None else _lists(lists),
            pinning.grace_ms,
        )
    except (*_FAULTS, DecodeError, LocalError, SecurityError) as error:
        # words of the library may have parts of the key
        own = isinstance(error, DecodeError | LocalError | SecurityError)
        why = str(error) if own else f"no key in PEM without passphrase: {type(error).__name__}"
        kinds = "P-256, P-384, P-521, X25519 or RSA of 2048 to 4096 bits, as of openssl genpkey"
        raise ConfigError(where, f"{path}: {why}", kinds) from None


def _lists(octets: bytes) -> list[x509.CertificateRevocationList]:
    blocks = pem.decode(octets)
    return [load_revocations(one.octets) for one in blocks if one.label == pem.REVOCATIONS]


def _private(octets: bytes, certificate: x509.Certificate | None, key_id: bytes) -> EncryptionKey:
    key = load_pem_private_key(octets, None)
    if certificate is not None and certificate.public_key() != key.public_key():
        raise SecurityError("the certificate is of another key")
    der = _der(certificate)
    if isinstance(key, RSAPrivateKey):
        return RsaPrivateKey(key, key_id, der)
    return AgreementPrivateKey(key, key_id, der)  # type: ignore[arg-type]


def _public(octets: bytes, certificate: x509.Certificate | None, key_id: bytes) -> EncryptionKey:
    key: object = load_pem_public_key(octets) if certificate is None else certificate.public_key()
    der = _der(certificate)
    if isinstance(key, RSAPublicKey):
        return RsaPublicKey(key, key_id, der)
    return AgreementPublicKey(key, key_id, der)  # type: ignore[arg-type]


def _der(certificate: x509.Certificate | None) -> bytes:
    """The octets of a certificate whose key is there to encrypt (draft-ietf-dtn-bpsec-cose §4).
    Raises `SecurityError` for another."""
    if certificate is None:
        return b""
    _check_usage(certificate.extensions)
    return certificate.public_bytes(Encoding.DER)


def _check_usage(extensions: x509.Extensions) -> None:
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not (usage.key_agreement or usage.key_encipherment):
        raise SecurityError("its certificate is for neither key agreement nor encipherment")
