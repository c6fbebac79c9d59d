"""What proves that who has an account's key controls a node (RFC 8555 §8.1, RFC 9891 §3)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from stack.core.errors import DecodeError
from stack.wire.bundle import SHA_256, SHA_384, SHA_512, Algorithm

HASHES: Final[Mapping[Algorithm, Any]] = MappingProxyType(
    {SHA_256: hashlib.sha256, SHA_384: hashlib.sha384, SHA_512: hashlib.sha512}
)
"""Those of the registry of COSE algorithms that are used here."""

TOKEN_CHARS_MIN, TOKEN_CHARS_MAX = 22, 86
"""Of base64url: 128 bits at least (RFC 9891 §3.1), 64 octets at most."""

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


def base64url(octets: bytes) -> str:
    """RFC 4648 §5, without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """Inverse of `base64url`; what fills the last character up does not count, as in what servers
    draw from the alphabet.  Raises `DecodeError`."""
    if not _ALPHABET.fullmatch(text) or len(text) % 4 == 1:
        raise DecodeError("not base64url without padding", "RFC 4648 §5")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def check_token(text: str) -> str:
    """A token of a challenge object, as it came.  Raises `DecodeError`."""
    if not TOKEN_CHARS_MIN <= len(text) <= TOKEN_CHARS_MAX or not _ALPHABET.fullmatch(text):
        raise DecodeError(f"a token of {len(text)} characters of base64url", "RFC 9891 §3.1")
    return text


def best(offered: Iterable[Algorithm]) -> Algorithm | None:
    """The first of the algorithms offered that is known here."""
    return next((one for one in offered if one in HASHES), None)


def key_authorization(token_bundle: bytes, token_chal: str, thumbprint: str) -> str:
    """RFC 8555 §8.1, with a token that is joined from both its parts (RFC 9891 §3)."""
    return f"{base64url(token_bundle)}{token_chal}.{thumbprint}"


def digest_of(algorithm: Algorithm, token_bundle: bytes, token_chal: str, thumbprint: str) -> bytes:
    """The hash of that; `algorithm` is one of `HASHES`."""
    text = key_authorization(token_bundle, token_chal, thumbprint)
    found: bytes = HASHES[algorithm](text.encode("ascii")).digest()
    return found
