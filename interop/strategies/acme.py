"""Records of ACME node id validation, and those that break one rule (RFC 9891 §3.3, §3.4)."""

from __future__ import annotations

from collections.abc import Callable

from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.violation import Nearly, Violation
from stack.wire import cbor
from stack.wire.bundle import (
    SHA_256,
    SHA_384,
    SHA_512,
    AcmeChallenge,
    AcmeRecord,
    AcmeResponse,
    Algorithm,
    encode_acme_record,
)

_KNOWN: tuple[Algorithm, ...] = (SHA_256, SHA_384, SHA_512)
_UNKNOWN: tuple[Algorithm, ...] = (-17, -45, 0, -65_537, (1 << 64) - 1, -(1 << 64), "", "HSS-LMS")

_NO_BSTR = (b"\x00", b"\x20", b"\xf6", b"\x80", b"\x70" + b"a" * 16, b"\xa0")
_NO_ALGORITHM = (b"\xf6", b"\xf5", b"\x80", b"\xa0", b"\x41\x01", b"\xf9\x3c\x00", b"\xc1\x00")

Pairs = list[tuple[bytes, bytes]]


def _token(choose: Choices) -> bytes:
    return _octets(choose, 16, 17, 32, 64)


def _octets(choose: Choices, *sizes: int) -> bytes:
    size = choose.pick(sizes)
    return choose.octets(size, size)


def _algorithm(choose: Choices) -> Algorithm:
    return choose.pick(_KNOWN if choose.flip() else _UNKNOWN)


@strategy
def acme_records(choose: Choices) -> AcmeRecord:
    """Challenges and responses."""
    id_chal, token_bundle = _token(choose), _token(choose)
    if choose.flip():
        wanted = tuple(_algorithm(choose) for _ in range(choose.integer(1, 16)))
        return AcmeChallenge(id_chal, token_bundle, wanted)
    digest = _octets(choose, 1, 32, 48, 64)
    return AcmeResponse(id_chal, token_bundle, _algorithm(choose), digest)


@strategy
def encoded_acme_records(choose: Choices) -> bytes:
    """Their octets, pairs in any order."""
    pairs = _pairs(choose)
    for last in range(len(pairs) - 1, 0, -1):
        at = choose.integer(0, last)
        pairs[at], pairs[last] = pairs[last], pairs[at]
    return _record(pairs)


def _pairs(choose: Choices, *, challenge: bool | None = None) -> Pairs:
    record = acme_records.make(choose)
    while challenge is not None and isinstance(record, AcmeChallenge) != challenge:
        record = acme_records.make(choose)
    octets = encode_acme_record(record)
    offset, found = 4, []  # the heads of the pair, its type and the map
    while offset < len(octets):
        after = cbor.skip_item(octets, offset)
        end = cbor.skip_item(octets, after)
        found.append((octets[offset:after], octets[after:end]))
        offset = end
    return found


def _content(pairs: Pairs) -> bytes:
    return cbor.head(cbor.MAP, len(pairs)) + b"".join(key + value for key, value in pairs)


def _record(pairs: Pairs, kind: bytes = b"\x18\xff") -> bytes:
    return cbor.array((kind, _content(pairs)))


def _value(pairs: Pairs, at: int, value: bytes) -> bytes:
    pairs[at] = pairs[at][0], value
    return _record(pairs)


def _no_pair(choose: Choices, pairs: Pairs) -> bytes:
    content = _content(pairs)
    return choose.pick((content, b"\x81\x18\xff", b"\x83\x18\xff" + content + b"\x00", b"\x00"))


def _another_type(choose: Choices, pairs: Pairs) -> bytes:
    return _record(pairs, choose.pick((b"\x01", b"\x03", b"\x18\xfe", b"\x19\x01\x00", b"\x20")))


def _not_whole(choose: Choices, pairs: Pairs) -> bytes:
    record = _record(pairs)
    return choose.pick((record + b"\x00", record[:-1], record + record))


def _no_map(choose: Choices, pairs: Pairs) -> bytes:
    items = [item for pair in pairs for item in pair]
    return cbor.array((b"\x18\xff", choose.pick((cbor.array(items), b"\x00", b"\xf6", b"\x40"))))


def _not_three(choose: Choices, pairs: Pairs) -> bytes:
    more = [*pairs, (b"\x05", b"\x00")]
    return _record(choose.pick((pairs[:2], pairs[1:], [pairs[0], pairs[2]], more, [])))


def _twice(choose: Choices, pairs: Pairs) -> bytes:
    at = choose.integer(0, 2)
    pairs[(at + 1) % 3] = pairs[at]
    return _record(pairs)


def _another_key(choose: Choices, pairs: Pairs) -> bytes:
    at = choose.integer(0, 2)
    key = choose.pick((b"\x00", b"\x05", b"\x20", b"\x61\x31", b"\x41\x01", b"\x18\x2a"))
    pairs[at] = key, pairs[at][1]
    return _record(pairs)


def _both(choose: Choices, pairs: Pairs) -> bytes:
    """Algorithms and a digest in place of one of the tokens."""
    digest = cbor.array((b"\x2f", cbor.bstr(bytes(32))))
    answer = (b"\x03", digest) if pairs[2][0] == b"\x04" else (b"\x04", b"\x81\x2f")
    pairs[choose.integer(0, 1)] = answer
    return _record(pairs)


def _no_token(choose: Choices, pairs: Pairs) -> bytes:
    return _value(pairs, choose.integer(0, 1), choose.pick(_NO_BSTR))


def _guessed(choose: Choices, pairs: Pairs) -> bytes:
    return _value(pairs, choose.integer(0, 1), cbor.bstr(_octets(choose, 0, 1, 8, 15)))


def _too_long(choose: Choices, pairs: Pairs) -> bytes:
    return _value(pairs, choose.integer(0, 1), cbor.bstr(_octets(choose, 65, 300)))


def _no_list(choose: Choices, pairs: Pairs) -> bytes:
    return _value(pairs, 2, choose.pick((b"\x80", b"\x2f", b"\xa0", b"\x91" + b"\x2f" * 17)))


def _no_hash(choose: Choices, pairs: Pairs) -> bytes:
    return _value(pairs, 2, cbor.array((choose.pick(_NO_ALGORITHM),)))


def _no_answer(choose: Choices, pairs: Pairs) -> bytes:
    digest = cbor.bstr(bytes(32))
    items = ((b"\x2f",), (b"\x2f", digest, b"\x00"), (digest,), (digest, b"\x2f"), ())
    return _value(pairs, 2, cbor.array(choose.pick(items)))


def _no_digest(choose: Choices, pairs: Pairs) -> bytes:
    wrong = (*_NO_BSTR, b"\x40", cbor.bstr(bytes(65)))
    return _value(pairs, 2, cbor.array((b"\x2f", choose.pick(wrong))))


Break = Callable[[Choices, Pairs], bytes]

_RULES: tuple[tuple[str, str, Break, bool | None], ...] = (
    ("RFC 9171 §6.1", "a record is a pair of type and content", _no_pair, None),
    ("RFC 9171 §6.1", "a record is one item and nothing else", _not_whole, None),
    ("RFC 9891 §7.3", "the type is that of a node id validation", _another_type, None),
    ("RFC 9891 §3.3", "the content is a map", _no_map, None),
    ("RFC 9891 §3.3", "there are three pairs", _not_three, None),
    ("RFC 8949 §5.6", "a key stands once", _twice, None),
    ("RFC 9891 §3.3", "keys are known", _another_key, None),
    ("RFC 9891 §3.3", "it is a challenge or a response, with both tokens", _both, None),
    ("RFC 9891 §3.3", "tokens are byte strings", _no_token, None),
    ("RFC 9891 §3.3", "tokens have 128 bits at least", _guessed, None),
    ("ours: TOKEN_BYTES_MAX", "tokens have 64 octets at most", _too_long, None),
    ("RFC 9891 §3.3", "a challenge has 1 to 16 algorithms", _no_list, True),
    ("RFC 9891 §3.3", "an algorithm is an integer or a text", _no_hash, True),
    ("RFC 9891 §3.4", "an answer is a pair of algorithm and digest", _no_answer, False),
    ("RFC 9891 §3.4", "a digest is a byte string of 1 to 64 octets", _no_digest, False),
)


@strategy
def nearly_acme_records(choose: Choices) -> Nearly:
    """The octets of such a record that breaks one rule."""
    clause, words, breaks, challenge = choose.pick(_RULES)
    pairs = _pairs(choose, challenge=challenge)
    valid = _record(list(pairs))
    return Nearly(breaks(choose, pairs), Violation(clause, words), valid)
