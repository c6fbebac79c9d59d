"""Signed requests of an ACME client (RFC 7515, RFC 8555 §6.2): flattened JSON, ES256."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from stack.core.errors import SecurityError
from stack.engines.acme.digest import base64url

_COORDINATE_BYTES: Final = 32


class AccountKey:
    """The key of an account, on P-256.  Raises `SecurityError` for a key of another kind."""

    def __init__(self, key: object) -> None:
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(
            key.curve, ec.SECP256R1
        ):
            raise SecurityError("the key of an ACME account is on P-256 (ES256)")
        self._key = key

    @property
    def jwk(self) -> dict[str, str]:
        """The public key (RFC 7517, RFC 7518 §6.2.1)."""
        numbers = self._key.public_key().public_numbers()
        x, y = (base64url(one.to_bytes(_COORDINATE_BYTES)) for one in (numbers.x, numbers.y))
        return {"crv": "P-256", "kty": "EC", "x": x, "y": y}

    @property
    def thumbprint(self) -> str:
        """RFC 7638 §3."""
        return base64url(hashlib.sha256(_json(self.jwk)).digest())

    def signed(self, url: str, nonce: str, payload: object, account: str = "") -> bytes:
        """A request to `url`: by the `account` with that URL, or by the key itself before there is
        one.  A `payload` of None reads what is there (RFC 8555 §6.3)."""
        who = {"kid": account} if account else {"jwk": self.jwk}
        protected = base64url(_json({"alg": "ES256", "nonce": nonce, "url": url, **who}))
        content = "" if payload is None else base64url(_json(payload))
        signature = self._key.sign(f"{protected}.{content}".encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        octets = r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)
        return _message(protected, content, octets)

    def bound(self, url: str, key_id: str, secret: bytes) -> dict[str, str]:
        """That this key's account belongs to one that the authority knows otherwise, by a `secret`
        from it (RFC 8555 §7.3.4): HS256 over the public key."""
        protected = base64url(_json({"alg": "HS256", "kid": key_id, "url": url}))
        content = base64url(_json(self.jwk))
        mac = hmac.digest(secret, f"{protected}.{content}".encode(), "sha256")
        found: dict[str, str] = json.loads(_message(protected, content, mac))
        return found


def _json(value: object) -> bytes:
    """As RFC 7638 §3.3 wants it; other uses leave the form open."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _message(protected: str, content: str, signature: bytes) -> bytes:
    fields: Mapping[str, Any] = {
        "protected": protected,
        "payload": content,
        "signature": base64url(signature),
    }
    return json.dumps(fields).encode()
