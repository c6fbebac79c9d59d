"""Numbers of the COSE registries of IANA that nodes use, by the registries' names."""

from __future__ import annotations

from enum import IntEnum


class Algorithm(IntEnum):
    """COSE algorithms (RFC 9053, RFC 8230, RFC 9864, RFC 9964, draft-ietf-cose-hpke)."""

    ES256 = -7
    ES384 = -35
    ES512 = -36
    EDDSA = -8
    ESP256 = -9
    """ES256 on P-256 and nothing else (RFC 9864)."""

    ESP384 = -51
    ESP512 = -52
    ED25519 = -19
    """EdDSA on Ed25519 and nothing else (RFC 9864)."""

    ML_DSA_44 = -48
    ML_DSA_65 = -49
    ML_DSA_87 = -50
    PS256 = -37
    PS384 = -38
    PS512 = -39
    HMAC_256_64 = 4
    HMAC_256_256 = 5
    HMAC_384_384 = 6
    HMAC_512_512 = 7
    A128GCM = 1
    A192GCM = 2
    A256GCM = 3
    CHACHA20_POLY1305 = 24
    A128KW = -3
    A192KW = -4
    A256KW = -5
    DIRECT = -6
    """The content's key is the shared one (RFC 9053 §6.1.1)."""

    DIRECT_HKDF_SHA_256 = -10
    DIRECT_HKDF_SHA_512 = -11
    """The content's key is derived from the shared one (RFC 9053 §6.1.2)."""

    ECDH_ES_HKDF_256 = -25
    ECDH_ES_HKDF_512 = -26
    ECDH_SS_HKDF_256 = -27
    ECDH_SS_HKDF_512 = -28
    """The content's key is agreed upon, the sender's key ephemeral or static (RFC 9053 §6.3)."""

    ECDH_ES_A128KW = -29
    ECDH_ES_A192KW = -30
    ECDH_ES_A256KW = -31
    ECDH_SS_A128KW = -32
    ECDH_SS_A192KW = -33
    ECDH_SS_A256KW = -34
    """The content's key is wrapped with one that is agreed upon (RFC 9053 §6.4)."""

    RSAES_OAEP_SHA_256 = -41
    RSAES_OAEP_SHA_512 = -42
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
    """COSE header parameters (RFC 9052 §3.1, RFC 9053 §5 and §6.3, RFC 9360 §2, RFC 8613 §5.1,
    draft-ietf-cose-hpke)."""

    ALG = 1
    CRIT = 2
    CONTENT_TYPE = 3
    KID = 4
    IV = 5
    PARTIAL_IV = 6
    KID_CONTEXT = 10
    X5BAG = 32
    X5CHAIN = 33
    X5T = 34
    X5U = 35
    EPHEMERAL_KEY = -1
    STATIC_KEY = -2
    STATIC_KEY_ID = -3
    EK = -4
    SALT = -20
    PARTY_U_IDENTITY = -21
    PARTY_U_NONCE = -22
    PARTY_U_OTHER = -23
    PARTY_V_IDENTITY = -24
    PARTY_V_NONCE = -25
    PARTY_V_OTHER = -26
    X5T_SENDER = -27
    X5U_SENDER = -28
    X5CHAIN_SENDER = -29


class KeyType(IntEnum):
    """COSE key types (RFC 9053 §7, RFC 8230, RFC 9964)."""

    OKP = 1
    EC2 = 2
    RSA = 3
    AKP = 7


class KeyCurve(IntEnum):
    """COSE elliptic curves (RFC 9053 §7.1)."""

    P256 = 1
    P384 = 2
    P521 = 3
    X25519 = 4
    ED25519 = 6


class KeyParameter(IntEnum):
    """Parameters of a COSE_Key.  Below zero they depend on the key type: curve, x and y of EC2 and
    OKP; AKP has its public key at -1; RSA has modulus and exponent."""

    KTY = 1
    KID = 2
    ALG = 3
    CRV = -1
    PUB = -1
    X = -2
    Y = -3
    N = -1
    E = -2
