"""What every error of this project promises in its words; the tests of the core hold each error
that they meet against it (`kept` is in their conftest).

An error speaks to an engineer at a ground station.  So it is a sentence, or a part of one, on one
line: something in small letters, our own words never in capitals, acronyms always, nothing that
Python prints for want of a value.  Octets from outside break a rule that is named; configuration
is wrong at a key that is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from stack.core.errors import ConfigError, DecodeError, OrbitferryError, StoreError


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ACRONYMS = _words(
    "AAD ACK ACME ADU ADUI AES ASB ASCII BCB BCH BIB BPSEC CBOR CCSDS CFDP COSE CPU CRC DTN"
    " ECDH ECDSA EDDSA EID EOF ES256 ES384 ES512 FEC FECF FECFRAME FSSI GCM HKDF HMAC HPKE"
    " HTTP ICAO ID ION IP IPN IV JSON KEM KISS LTP LV MLKEM768 ML_DSA_44 ML_DSA_65"
    " ML_DSA_87 MRU NAK NORAD NUL OAEP OCF OMM PDU PEM PIN PKCS POSIX PS256 PS384 PS512 RAM"
    " RFC RSA SABR SBN SDNV SHA SQL TAI TCP TCPCL TLE TLS TLV TM TOML UDP URI URL UTC UTF"
    " VACUUM WAL X25519"
)
"""Words that are written in capitals."""

IN_SMALL = ACRONYMS - _words(
    "ACK ACME AES COSE DTN HMAC HTTP ID ION IP IPN KISS LTP LV PIN RSA TM URL UTF VACUUM"
)
"""Those that are also never written otherwise: `ipn`, `id` and the like are words as well."""

_QUOTED = re.compile(
    r"""'[^']*'|\S*\$\S*|"[^"]*"|`[^`]*`|b'.*'|b".*"|\{.*\}|\S*[/=.]\S*|\b[A-Za-z]+\(.*\)"""
)
_WORD = re.compile(r"(?<![\w-])[A-Za-z][A-Za-z_0-9]*(?![\w])")
_NOT_OURS = re.compile(r": .*? \(")
"""What SQLite or the system says stands between a colon and the remedy."""

_PLACE = re.compile(
    r".+ \[(RFC \d{4}( §[\dA-Z.]+(, §[\dA-Z.]+)*)?|CCSDS \d{3}\.\d-[BMG]-\d( §[\dA-Z.]+)?"
    r"|limits\.[A-Z_]+"
    r"|draft-[a-z-]+( §[\d.]+)?"
    r"|docs/[a-z-]+\.md( §[\d.]+)?)\]",
    re.DOTALL,
)


def fault(error: OrbitferryError) -> str | None:
    """What is wrong with the words of this error, or None."""
    (text,) = error.args
    if not isinstance(text, str) or not text.strip():
        return "no text"
    ours = text
    if isinstance(error, DecodeError):
        ours = text.partition(" [")[0]
    elif isinstance(error, StoreError):
        ours = _NOT_OURS.sub(" (", text)
    words = _WORD.findall(_QUOTED.sub(" ", ours))
    if not any(word.islower() for word in words):
        return "not a sentence"
    for word in words:
        if word.startswith("XX") or word.endswith("XX") or word == "None":
            return f"{word} is no word"
        named = isinstance(error, DecodeError) and "_" in word  # by the specification
        if len(word) > 2 and word.isupper() and word not in ACRONYMS and not named:
            return f"{word} in capitals"
        if word.islower() and word.upper() in IN_SMALL:
            return f"{word} without capitals"
    if isinstance(error, DecodeError) and not _PLACE.fullmatch(text):
        return "no section is named"
    if isinstance(error, ConfigError) and not (error.args[0].partition(": ")[0]):
        return "no key is named"
    return None


@pytest.fixture(autouse=True, scope="package")
def kept() -> Iterator[None]:
    """Every error that is made in the tests of a folder keeps the promise."""

    def worded(self: OrbitferryError, text: object) -> None:
        Exception.__init__(self, text)
        wrong = fault(self)
        assert wrong is None, f"{wrong}: {type(self).__name__}({text!r})"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OrbitferryError, "__init__", worded)
        yield
