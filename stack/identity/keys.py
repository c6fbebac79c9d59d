"""Private keys, and how they lie on a disk: PKCS #8, under a passphrase with scrypt and AES-256
where there is one (PBES2, RFC 8018; RFC 7914 §7), so that OpenSSL reads them too.

Python cannot wipe what it has read: a passphrase and a key stay in the memory of the process until
it ends (`stack.identity.memory` keeps that out of core dumps, and where allowed out of swap).
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from stack.core.errors import SecurityError
from stack.core.sansio import Entropy
from stack.cose import Algorithm

SigningPrivateKey = (
    ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)
"""What certificates are signed with.  A key in a token (PKCS #11) is an object of one of these
classes whose `sign` asks the token."""

SigningPublicKey = (
    ec.EllipticCurvePublicKey
    | ed25519.Ed25519PublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
)

ALGORITHMS: Final = {
    "p256": Algorithm.ES256,
    "p384": Algorithm.ES384,
    "ed25519": Algorithm.EDDSA,
    "mldsa44": Algorithm.ML_DSA_44,
    "mldsa65": Algorithm.ML_DSA_65,
    "mldsa87": Algorithm.ML_DSA_87,
}
"""What nodes and authorities may sign with."""

Hash = hashes.SHA256 | hashes.SHA384

_HASHES: dict[str, Hash] = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384()}

SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 14, 8, 5
"""16 MiB and five passes: the costliest that OpenSSL takes without being told to."""

_PBES2 = x509.ObjectIdentifier("1.2.840.113549.1.5.13")
_SCRYPT = x509.ObjectIdentifier("1.3.6.1.4.1.11591.4.11")
_AES256_CBC = x509.ObjectIdentifier("2.16.840.1.101.3.4.1.42")


@asn1.sequence
class _ScryptParameters:
    salt: bytes
    cost: int
    block_size: int
    parallelization: int


@asn1.sequence
class _Kdf:
    algorithm: x509.ObjectIdentifier
    parameters: _ScryptParameters


@asn1.sequence
class _Scheme:
    algorithm: x509.ObjectIdentifier
    iv: bytes


@asn1.sequence
class _Pbes2:
    kdf: _Kdf
    scheme: _Scheme


@asn1.sequence
class _Encryption:
    algorithm: x509.ObjectIdentifier
    parameters: _Pbes2


@asn1.sequence
class _EncryptedPrivateKey:
    algorithm: _Encryption
    data: bytes


def hash_for(key: object) -> Hash | None:
    """What a key signs with; None for those that need no hash.  Raises `SecurityError` for curves
    that are not ours."""
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        if key.curve.name not in _HASHES:
            raise SecurityError(f"keys on curve {key.curve.name} are not taken")
        return _HASHES[key.curve.name]
    return None


def check_public(key: object) -> SigningPublicKey:
    """A public key of an algorithm that nodes and domains may have.  Raises `SecurityError`."""
    if not isinstance(key, SigningPublicKey):
        raise SecurityError(f"keys of kind {type(key).__name__} are not taken")
    hash_for(key)
    return key


def public_octets(key: SigningPublicKey) -> bytes:
    """SubjectPublicKeyInfo, DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def encode_private(key: object, passphrase: bytes, entropy: Entropy) -> bytes:
    """PKCS #8 in DER, encrypted unless `passphrase` is empty.  Raises `SecurityError` for a key
    that does not leave its token."""
    export = getattr(key, "private_bytes", None)
    try:
        assert export is not None
        octets: bytes = export(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    except (NotImplementedError, ValueError):
        raise SecurityError("this key does not leave its token") from None
    if not passphrase:
        return octets
    salt, iv = entropy(16), entropy(16)
    derived = Scrypt(salt, 32, SCRYPT_N, SCRYPT_R, SCRYPT_P).derive(passphrase)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(derived), modes.CBC(iv)).encryptor()
    data = encryptor.update(padder.update(octets) + padder.finalize()) + encryptor.finalize()
    parameters = _ScryptParameters(
        salt=salt, cost=SCRYPT_N, block_size=SCRYPT_R, parallelization=SCRYPT_P
    )
    scheme = _Pbes2(
        kdf=_Kdf(algorithm=_SCRYPT, parameters=parameters),
        scheme=_Scheme(algorithm=_AES256_CBC, iv=iv),
    )
    encrypted = _EncryptedPrivateKey(
        algorithm=_Encryption(algorithm=_PBES2, parameters=scheme), data=data
    )
    return asn1.encode_der(encrypted)


def decode_private(octets: bytes, passphrase: bytes) -> object:
    """The key of `encode_private`.  Raises `SecurityError`; its text has nothing of the key."""
    try:
        return load_der_private_key(octets, passphrase or None)
    except TypeError:
        why = "no passphrase was given" if not passphrase else "it has no passphrase"
        raise SecurityError(why) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SecurityError("the passphrase is wrong, or the file is damaged") from None
