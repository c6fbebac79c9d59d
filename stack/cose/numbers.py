"""Numbers of the COSE registries of IANA that nodes use, by the registries' names."""

from __future__ import annotations

from enum import IntEnum


class Algorithm(IntEnum):
    """COSE algorithms (RFC 9053, RFC 9864, RFC 9964, draft-ietf-cose-hpke)."""

    ES256 = -7
    ES384 = -35
    EDDSA = -8
    ESP256 = -9
    """ES256 on P-256 and nothing else (RFC 9864)."""

    ESP384 = -51
    ED25519 = -19
    """EdDSA on Ed25519 and nothing else (RFC 9864)."""

    ML_DSA_44 = -48
    ML_DSA_65 = -49
    ML_DSA_87 = -50
    HMAC_256_64 = 4
    HMAC_256_256 = 5
    HMAC_384_384 = 6
    HMAC_512_512 = 7
    A128GCM = 1
    A192GCM = 2
    A256GCM = 3
    CHACHA20_POLY1305 = 24
    A256KW = -5
    HPKE_0_KE = 46
    """DHKEM(P-256), HKDF-SHA256, AES-128-GCM (draft-ietf-cose-hpke-27 §4)."""

    HPKE_3_KE = 49
    """DHKEM(X25519), HKDF-SHA256, AES-128-GCM."""

    HPKE_4_KE = 50
    """DHKEM(X25519), HKDF-SHA256, ChaCha20Poly1305."""

    HPKE_MLKEM768_X25519_KE = -65600
    """MLKEM768-X25519, SHAKE256, AES-256-GCM.  No number is registered yet: this one is of the
    range for private use (RFC 9053 §11.1)."""


class HeaderLabel(IntEnum):
    """COSE header parameters (RFC 9052 §3.1, RFC 9360 §2, draft-ietf-cose-hpke)."""

    ALG = 1
    CRIT = 2
    CONTENT_TYPE = 3
    KID = 4
    IV = 5
    PARTIAL_IV = 6
    X5BAG = 32
    X5CHAIN = 33
    X5T = 34
    X5U = 35
    EK = -4


class KeyType(IntEnum):
    """COSE key types (RFC 9053 §7, RFC 9964)."""

    OKP = 1
    EC2 = 2
    AKP = 7


class KeyCurve(IntEnum):
    """COSE elliptic curves (RFC 9053 §7.1)."""

    P256 = 1
    P384 = 2
    X25519 = 4
    ED25519 = 6


class KeyParameter(IntEnum):
    """Parameters of a COSE_Key.  Below zero they depend on the key type: curve, x and y of EC2 and
    OKP; AKP has its public key at -1."""

    KTY = 1
    KID = 2
    ALG = 3
    CRV = -1
    PUB = -1
    X = -2
    Y = -3
