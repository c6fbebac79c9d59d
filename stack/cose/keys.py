"""Keys that sign and verify: ECDSA on P-256, P-384 and P-521, Ed25519, ML-DSA, RSASSA-PSS (RFC 9053
§2, RFC 9964, RFC 8230 §2)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from stack.core.errors import DecodeError, LocalError, SecurityError
from stack.core.sansio import Entropy
from stack.core.train import Buffer
from stack.cose import values
from stack.cose.numbers import Algorithm, KeyCurve, KeyParameter, KeyType
from stack.cose.values import Label, Value, is_label

PrivateKey: TypeAlias = (
    ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | rsa.RSAPrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)
PublicKey: TypeAlias = (
    ec.EllipticCurvePublicKey
    | ed25519.Ed25519PublicKey
    | rsa.RSAPublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
)

_COSE_KEY = "RFC 9052 §7"
_CURVES: dict[str, tuple[Algorithm, KeyCurve, int, HashAlgorithm]] = {
    "secp256r1": (Algorithm.ES256, KeyCurve.P256, 32, SHA256()),
    "secp384r1": (Algorithm.ES384, KeyCurve.P384, 48, SHA384()),
    "secp521r1": (Algorithm.ES512, KeyCurve.P521, 66, SHA512()),
}
"""Algorithm, curve, octets of a coordinate, and hash of the curves that are used."""

_NAMED = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
_PSS: dict[Algorithm, HashAlgorithm] = {
    Algorithm.PS256: SHA256(),
    Algorithm.PS384: SHA384(),
    Algorithm.PS512: SHA512(),
}

RSA_BITS = (2048, 4096)
"""Smallest and largest modulus of an RSA key, bits (RFC 8230 §6.1)."""

_ML_DSA: tuple[
    tuple[
        Algorithm,
        type[mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey],
        type[mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey],
    ],
    ...,
] = (
    (Algorithm.ML_DSA_44, mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey),
    (Algorithm.ML_DSA_65, mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey),
    (Algorithm.ML_DSA_87, mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey),
)
_ALSO = {
    Algorithm.ES256: Algorithm.ESP256,
    Algorithm.ES384: Algorithm.ESP384,
    Algorithm.ES512: Algorithm.ESP512,
    Algorithm.EDDSA: Algorithm.ED25519,
}
"""The same algorithm under its fully specified number (RFC 9864)."""


class VerifyingKey:
    """A public key that verifies signatures, and its key id: 1 to 255 octets, by default its
    thumbprint (RFC 9679)."""

    def __init__(self, key: PublicKey, key_id: bytes = b"") -> None:
        """Raises `LocalError` for a key of another kind."""
        self.key = key
        self.alg = _algorithm(key)
        self.algs = frozenset({self.alg, _ALSO.get(self.alg, self.alg)})
        if self.alg in _PSS:
            self.algs = frozenset(_PSS)
        self.key_id = key_id or self.thumbprint

    @classmethod
    def from_pem(cls, pem: bytes, key_id: bytes = b"") -> VerifyingKey:
        """Of a SubjectPublicKeyInfo in PEM.  Raises `SecurityError` for anything else."""
        try:
            return cls(load_pem_public_key(pem), key_id)  # type: ignore[arg-type]
        except (ValueError, UnsupportedAlgorithm, LocalError) as error:
            kind = type(error).__name__
            raise SecurityError(f"no public key that verifies: {kind}") from None

    @classmethod
    def from_cose_key(cls, data: Buffer) -> VerifyingKey:
        """Of a COSE_Key (RFC 9052 §7).  Raises `DecodeError` for what is none, or of another
        kind."""
        return _from_map(values.decode(data, _COSE_KEY))

    @cached_property
    def thumbprint(self) -> bytes:
        """SHA-256 of what must be in the COSE_Key, 32 octets (RFC 9679 §3)."""
        return sha256(values.encode(_required(self.key))).digest()

    def cose_key(self) -> bytes:
        """The COSE_Key with key id and algorithm (RFC 9052 §7.1)."""
        more: dict[Label, Value] = {KeyParameter.KID: self.key_id, KeyParameter.ALG: self.alg}
        return values.encode({**_required(self.key), **more})

    def verify(self, signature: bytes, data: Buffer, alg: Value = None) -> None:
        """Raises `SecurityError` unless this key's owner has signed `data`.  `alg`: which of
        `self.algs` was used, where it is another than `self.alg`."""
        key = self.key
        try:
            if isinstance(key, ec.EllipticCurvePublicKey):
                _, _, size, digest = _CURVES[key.curve.name]
                if len(signature) != 2 * size:
                    raise InvalidSignature
                halves = (int.from_bytes(signature[:size]), int.from_bytes(signature[size:]))
                key.verify(encode_dss_signature(*halves), data, ec.ECDSA(digest))
            elif isinstance(key, rsa.RSAPublicKey):
                digest = _PSS[self.alg if alg is None else Algorithm(alg)]  # type: ignore[arg-type]
                key.verify(signature, bytes(data), _pss(digest), digest)
            else:
                key.verify(signature, data)
        except InvalidSignature:
            raise SecurityError(f"the {self.alg.name} signature does not verify") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifyingKey) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.thumbprint)

    def __repr__(self) -> str:
        return f"VerifyingKey({self.alg.name}, {self.thumbprint.hex()[:16]})"


class SigningKey:
    """A private key that signs; `public` verifies."""

    def __init__(self, key: PrivateKey, key_id: bytes = b"") -> None:
        """Raises `LocalError` for a key of another kind."""
        self.key = key
        self.public = VerifyingKey(key.public_key(), key_id)

    @classmethod
    def generate(cls, alg: Algorithm, entropy: Entropy, key_id: bytes = b"") -> SigningKey:
        """A fresh key of ES256, ES384, ES512, EDDSA or ML_DSA_44, _65 or _87.  Raises `LocalError`
        for another algorithm."""
        for named, private, _ in _ML_DSA:
            if alg is named:
                return cls(private.from_seed_bytes(entropy(32)), key_id)
        if alg is Algorithm.EDDSA:
            return cls(ed25519.Ed25519PrivateKey.from_private_bytes(entropy(32)), key_id)
        for curve in _NAMED:
            if alg is _CURVES[curve.name][0]:
                return cls(fresh_on(curve, entropy), key_id)
        raise LocalError(f"{alg!r} does not sign")

    @classmethod
    def from_pem(cls, pem: bytes, key_id: bytes = b"") -> SigningKey:
        """Of a private key in PEM without a passphrase.  Raises `SecurityError` for anything
        else."""
        try:
            return cls(load_pem_private_key(pem, None), key_id)  # type: ignore[arg-type]
        except (TypeError, ValueError, UnsupportedAlgorithm, LocalError) as error:
            kind = type(error).__name__  # its words may have parts of the key
            raise SecurityError(f"no private key that signs, without passphrase: {kind}") from None

    @property
    def alg(self) -> Algorithm:
        """The algorithm that it signs with."""
        return self.public.alg

    @property
    def key_id(self) -> bytes:
        """The key id (`kid`) that verifiers know it by."""
        return self.public.key_id

    def sign(self, data: Buffer) -> bytes:
        """The signature in the form of RFC 9053 §2, RFC 9964 and RFC 8230.  ECDSA takes its nonce
        from key and data (RFC 6979), so that no weak randomness gives the key away."""
        key = self.key
        if isinstance(key, rsa.RSAPrivateKey):
            digest = _PSS[self.alg]
            return key.sign(bytes(data), _pss(digest), digest)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(bytes(data))
        _, _, size, digest = _CURVES[key.curve.name]
        der = key.sign(bytes(data), ec.ECDSA(digest, deterministic_signing=True))
        return b"".join(half.to_bytes(size, "big") for half in decode_dss_signature(der))

    def __repr__(self) -> str:
        return f"SigningKey({self.alg.name}, {self.public.thumbprint.hex()[:16]})"


def fresh_on(curve: ec.EllipticCurve, entropy: Entropy) -> ec.EllipticCurvePrivateKey:
    """A fresh key on P-256, P-384 or P-521."""
    # 64 bits more than the order leave no bias (FIPS 186-5 A.2.1)
    octets = entropy(_CURVES[curve.name][2] + 8)
    return ec.derive_private_key(int.from_bytes(octets) % (curve.group_order - 1) + 1, curve)


def _pss(digest: HashAlgorithm) -> padding.PSS:
    """RFC 8230 §2: a salt as long as the hash."""
    return padding.PSS(padding.MGF1(digest), digest.digest_size)


def check_rsa(key: rsa.RSAPublicKey) -> None:
    """Raises `LocalError` for an RSA key that is too small, too large or too slow."""
    if not RSA_BITS[0] <= key.key_size <= RSA_BITS[1] or key.public_numbers().e >= 1 << 32:
        raise LocalError(f"an RSA key of {key.key_size} bits: {RSA_BITS[0]} to {RSA_BITS[1]}")


def _algorithm(key: PublicKey) -> Algorithm:
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name][0]
    if isinstance(key, ed25519.Ed25519PublicKey):
        return Algorithm.EDDSA
    if isinstance(key, rsa.RSAPublicKey):
        check_rsa(key)
        return Algorithm.PS384
    for alg, _, kind in _ML_DSA:
        if isinstance(key, kind):
            return alg
    raise LocalError(f"none of P-256, P-384, P-521, Ed25519, ML-DSA and RSA: {type(key)}")


def point_map(key: ec.EllipticCurvePublicKey) -> dict[Label, Value]:
    """What must be in the COSE_Key of a point."""
    _, curve, size, _ = _CURVES[key.curve.name]
    point = key.public_numbers()
    return {
        KeyParameter.KTY: KeyType.EC2,
        KeyParameter.CRV: curve,
        KeyParameter.X: point.x.to_bytes(size, "big"),
        KeyParameter.Y: point.y.to_bytes(size, "big"),
    }


def _required(key: PublicKey) -> dict[Label, Value]:
    """What must be in the COSE_Key (RFC 9679 §4, RFC 9964)."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return point_map(key)
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {
            KeyParameter.KTY: KeyType.RSA,
            KeyParameter.N: numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big"),
            KeyParameter.E: numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big"),
        }
    raw = key.public_bytes_raw()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {
            KeyParameter.KTY: KeyType.OKP,
            KeyParameter.CRV: KeyCurve.ED25519,
            KeyParameter.X: raw,
        }
    return {
        KeyParameter.KTY: KeyType.AKP,
        KeyParameter.ALG: _algorithm(key),
        KeyParameter.PUB: raw,
    }


def _from_map(found: Value) -> VerifyingKey:
    if not isinstance(found, Mapping):
        raise DecodeError("a COSE_Key that is no map", _COSE_KEY)
    key_id = found.get(KeyParameter.KID, b"")
    if not isinstance(key_id, bytes) or len(key_id) > 255:
        raise DecodeError("a kid that is no byte string, or too long", _COSE_KEY)
    try:
        key = VerifyingKey(_public(found), key_id)
    except (ValueError, UnsupportedAlgorithm, LocalError):
        raise DecodeError("a COSE_Key that is no point or key of its kind", _COSE_KEY) from None
    alg = found.get(KeyParameter.ALG, key.alg)
    if not is_label(alg) or alg not in key.algs:
        raise DecodeError("a COSE_Key for another algorithm than its kind has", _COSE_KEY)
    return key


def _public(found: Mapping[Label, Value]) -> PublicKey:
    kind, curve = found.get(KeyParameter.KTY), found.get(KeyParameter.CRV)
    if kind == KeyType.AKP:
        for alg, _, public in _ML_DSA:
            if found.get(KeyParameter.ALG) == alg:
                return public.from_public_bytes(_octets(found, KeyParameter.PUB))
    if kind == KeyType.RSA:
        parts = (_octets(found, KeyParameter.E), _octets(found, KeyParameter.N))
        if len(parts[0]) > 4 or len(parts[1]) > RSA_BITS[1] // 8:
            raise DecodeError("an RSA key that is too large", _COSE_KEY)
        return rsa.RSAPublicNumbers(*map(int.from_bytes, parts)).public_key()
    if kind == KeyType.OKP and curve == KeyCurve.ED25519:
        return ed25519.Ed25519PublicKey.from_public_bytes(_octets(found, KeyParameter.X))
    return read_point(found)


def read_point(found: Mapping[Label, Value]) -> ec.EllipticCurvePublicKey:
    """The point of a COSE_Key on P-256, P-384 or P-521.  Raises `DecodeError` for another kind, and
    `ValueError` for what is no point."""
    x = _octets(found, KeyParameter.X)
    for named in _NAMED:
        _, number, size, _ = _CURVES[named.name]
        kinds = (found.get(KeyParameter.KTY), found.get(KeyParameter.CRV))
        if kinds == (KeyType.EC2, number) and len(x) == size:
            y = found.get(KeyParameter.Y)
            if isinstance(y, bool):  # RFC 9053 §7.1.1: the sign of y
                point = bytes((3 if y else 2,)) + x
            else:
                point = b"\x04" + x + _octets(found, KeyParameter.Y)
            return ec.EllipticCurvePublicKey.from_encoded_point(named, point)
    raise DecodeError("a COSE_Key of a kind that is not known here", _COSE_KEY)


def _octets(found: Mapping[Label, Value], parameter: KeyParameter) -> bytes:
    value = found.get(parameter)
    if not isinstance(value, bytes):
        raise DecodeError(f"parameter {parameter.value} of a COSE_Key is no byte string", _COSE_KEY)
    return value
