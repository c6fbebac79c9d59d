"""ACME node id validation (RFC 9891): the administrative records with which a certificate authority
challenges a node, and a node answers."""

from __future__ import annotations

from dataclasses import dataclass

from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer
from stack.wire import cbor

ACME_NODE_ID = 255
"""Administrative record type (RFC 9891 §7.3)."""

SHA_256, SHA_384, SHA_512 = -16, -43, -44
"""COSE algorithms (RFC 9054 §3.1); everybody has the first (RFC 9891 §3.3)."""

TOKEN_BYTES_MIN, TOKEN_BYTES_MAX = 16, 64
"""Octets of `id_chal` and `token_bundle`: 128 random bits at least (RFC 9891 §3.1, §3.3)."""

ALGORITHMS_MAX = 16
"""Algorithms in a challenge: there are six hashes in the registry of COSE."""

NAME_CHARS_MAX = 64
DIGEST_BYTES_MAX = 64

_ID_CHAL, _TOKEN_BUNDLE, _DIGEST, _ALGORITHMS = 1, 2, 3, 4
_SECTION = "RFC 9891 §3.3"

Algorithm = int | str
"""A hash of the registry of COSE algorithms, known or not."""


@dataclass(frozen=True, slots=True)
class AcmeChallenge:
    """What an ACME server asks of a node (RFC 9891 §3.3).  Raises `LocalError` for what no such
    record can have."""

    id_chal: bytes
    """Which challenge it is about: what a client has told its node to expect."""

    token_bundle: bytes
    """Random, and of this bundle alone."""

    algorithms: tuple[Algorithm, ...] = (SHA_256,)
    """Hashes that the server accepts, the most wanted first."""

    def __post_init__(self) -> None:
        _check_tokens(self.id_chal, self.token_bundle)
        if not 0 < len(self.algorithms) <= ALGORITHMS_MAX:
            raise LocalError(f"{len(self.algorithms)} hash algorithms")


@dataclass(frozen=True, slots=True)
class AcmeResponse:
    """What a node answers (RFC 9891 §3.4).  Raises `LocalError` likewise."""

    id_chal: bytes
    token_bundle: bytes
    """Both as in the challenge."""

    algorithm: Algorithm
    digest: bytes
    """Of the key authorization (RFC 8555 §8.1)."""

    def __post_init__(self) -> None:
        _check_tokens(self.id_chal, self.token_bundle)
        if not 0 < len(self.digest) <= DIGEST_BYTES_MAX:
            raise LocalError(f"a digest of {len(self.digest)} octets")


AcmeRecord = AcmeChallenge | AcmeResponse


def _check_tokens(*tokens: bytes) -> None:
    for token in tokens:
        if not TOKEN_BYTES_MIN <= len(token) <= TOKEN_BYTES_MAX:
            raise LocalError(f"a token of {len(token)} octets")


def encode_acme_record(record: AcmeRecord) -> bytes:
    """The payload of a bundle with IS_ADMIN; that of a challenge has ACK_REQUESTED too, that of a
    response has not.  Raises `LocalError`."""
    if isinstance(record, AcmeChallenge):
        key, value = _ALGORITHMS, cbor.array(map(_encode_algorithm, record.algorithms))
    else:
        key = _DIGEST
        value = cbor.array((_encode_algorithm(record.algorithm), cbor.bstr(record.digest)))
    content = (
        cbor.head(cbor.MAP, 3),
        *(cbor.uint(_ID_CHAL), cbor.bstr(record.id_chal)),
        *(cbor.uint(_TOKEN_BUNDLE), cbor.bstr(record.token_bundle)),
        *(cbor.uint(key), value),
    )
    return cbor.array((cbor.uint(ACME_NODE_ID), b"".join(content)))


def _encode_algorithm(algorithm: Algorithm) -> bytes:
    if isinstance(algorithm, str):
        return cbor.tstr(algorithm)
    return cbor.uint(algorithm) if algorithm >= 0 else cbor.head(cbor.NEGATIVE, -1 - algorithm)


def is_acme_record(payload: Buffer) -> bool:
    """Whether an administrative record is of this type, in whichever form its number is."""
    try:
        major, _, offset = cbor.read_head(payload, 0, False)
        return major == cbor.ARRAY and cbor.read_uint(payload, offset, False)[0] == ACME_NODE_ID
    except DecodeError:
        return False


def decode_acme_record(payload: Buffer) -> AcmeRecord:
    """Read such an administrative record.  Raises `DecodeError`."""
    try:
        return _read_record(payload)
    except cbor.IndefiniteLength:
        return _read_record(cbor.deterministic(payload))
    except LocalError as error:
        raise DecodeError(str(error), "RFC 9891 §3.3") from None


def _read_record(data: Buffer) -> AcmeRecord:
    count, offset = cbor.read_array(data, 0)
    kind, offset = cbor.read_uint(data, offset)
    if (count, kind) != (2, ACME_NODE_ID):
        raise DecodeError("no record of a node id validation", _SECTION)
    major, pairs, offset = cbor.read_head(data, offset)
    if pairs == cbor.INDEFINITE:
        raise cbor.IndefiniteLength(offset)
    if (major, pairs) != (cbor.MAP, 3):
        raise DecodeError("the content is a map of three pairs", _SECTION, offset)
    tokens: dict[int, bytes] = {}
    algorithms: tuple[Algorithm, ...] | None = None
    answer: tuple[Algorithm, bytes] | None = None
    for _ in range(pairs):
        key, offset = cbor.read_uint(data, offset)
        if key in (_ID_CHAL, _TOKEN_BUNDLE) and key not in tokens:
            view, offset = cbor.read_bstr(data, offset)
            tokens[key] = bytes(view)
        elif key == _ALGORITHMS and algorithms is None:
            algorithms, offset = _read_algorithms(data, offset)
        elif key == _DIGEST and answer is None:
            answer, offset = _read_answer(data, offset)
        else:
            raise DecodeError(f"key {key} twice, or unknown", _SECTION, offset)
    if offset != len(data):
        raise DecodeError("octets after the administrative record", "RFC 9171 §6.1", offset)
    if len(tokens) != 2:
        raise DecodeError("neither a challenge nor a response", _SECTION)
    id_chal, token_bundle = tokens[_ID_CHAL], tokens[_TOKEN_BUNDLE]
    if algorithms is not None:
        return AcmeChallenge(id_chal, token_bundle, algorithms)
    assert answer is not None  # three keys, none twice
    return AcmeResponse(id_chal, token_bundle, *answer)


def _read_algorithms(data: Buffer, offset: int) -> tuple[tuple[Algorithm, ...], int]:
    count, offset = cbor.read_array(data, offset)
    if not 0 < count <= ALGORITHMS_MAX:
        raise DecodeError(f"{count} hash algorithms", _SECTION, offset)
    found: list[Algorithm] = []
    for _ in range(count):
        algorithm, offset = _read_algorithm(data, offset)
        found.append(algorithm)
    return tuple(found), offset


def _read_answer(data: Buffer, offset: int) -> tuple[tuple[Algorithm, bytes], int]:
    count, offset = cbor.read_array(data, offset)
    if count != 2:
        raise DecodeError("a digest is a pair of algorithm and value", _SECTION, offset)
    algorithm, offset = _read_algorithm(data, offset)
    view, offset = cbor.read_bstr(data, offset)
    return (algorithm, bytes(view)), offset


def _read_algorithm(data: Buffer, offset: int) -> tuple[Algorithm, int]:
    major, value, end = cbor.read_head(data, offset)
    if major == cbor.UINT:
        return value, end
    if major == cbor.NEGATIVE:
        return -1 - value, end
    text, end = cbor.read_tstr(data, offset)
    if len(text) > NAME_CHARS_MAX:
        raise DecodeError(f"an algorithm of {len(text)} characters", _SECTION, offset)
    return text, end
