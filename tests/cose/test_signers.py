"""Several signatures of one message, and RSASSA-PSS."""

from __future__ import annotations

from typing import Any

import pytest

from stack.core.errors import DecodeError, LocalError, SecurityError
from stack.cose import (
    Algorithm,
    HeaderLabel,
    SigningKey,
    VerifyingKey,
    decode_sign,
    decode_sign1,
    sign1,
    sign_by,
    values,
)
from stack.cose.layers import SIGNERS_MAX
from stack.cose.numbers import KeyParameter
from tests.cose.test_recipients import AAD, RSA, entropy, rsa_of


def test_each_of_several_signatures_verifies() -> None:
    keys = [SigningKey.generate(alg, entropy) for alg in (Algorithm.ES384, Algorithm.ML_DSA_87)]
    found = decode_sign(sign_by(b"x", keys, external_aad=AAD))
    for index, key in enumerate(keys):
        assert found.signatures[index].headers.kid == key.key_id
        assert found.verify(index, key.public, external_aad=AAD) == b"x"
        with pytest.raises(SecurityError):
            found.verify(index, key.public)
        with pytest.raises(SecurityError):
            found.verify(1 - index, key.public, external_aad=AAD)
    detached = decode_sign(sign_by(b"x", keys, detached=True, tagged=False))
    assert detached.verify(1, keys[1].public, payload=b"x") == b"x"
    with pytest.raises(SecurityError):
        detached.verify(1, keys[1].public, payload=b"y")
    for count in (0, SIGNERS_MAX + 1):
        with pytest.raises(LocalError):
            sign_by(b"x", keys[:1] * count)


@pytest.mark.parametrize("alg", [Algorithm.PS256, Algorithm.PS384, Algorithm.PS512])
def test_rsa_signs(alg: Algorithm) -> None:
    key = SigningKey(RSA)
    assert key.alg == Algorithm.PS384
    found = decode_sign1(sign1(b"x", key, external_aad=AAD))
    assert found.verify(key.public, external_aad=AAD) == b"x"
    with pytest.raises(SecurityError, match="PS384"):
        found.verify(key.public)
    again = VerifyingKey.from_cose_key(key.public.cose_key())
    assert again == key.public
    other = sign1(b"x", key, protected={HeaderLabel.ALG: alg})
    if alg == Algorithm.PS384:
        assert decode_sign1(other).verify(again) == b"x"
    else:  # another hash than the signature was made with
        with pytest.raises(SecurityError):
            decode_sign1(other).verify(again)
    for size in (2047, 4097):
        with pytest.raises(LocalError, match="RSA key"):
            VerifyingKey(rsa_of(size))
    for size in (2048, 4096):
        VerifyingKey(rsa_of(size))


def test_rsa_keys_are_bounded() -> None:
    found: Any = values.decode(SigningKey(RSA).public.cose_key(), "")
    for label, value in (
        (KeyParameter.N, b"\xff" * 513), (KeyParameter.N, b"\x07"), (KeyParameter.E, b"\1" * 5),
        (KeyParameter.E, b""), (KeyParameter.E, b"\2"), (KeyParameter.E, 3),
    ):  # fmt: skip
        with pytest.raises(DecodeError):
            VerifyingKey.from_cose_key(values.encode({**found, label: value}))
