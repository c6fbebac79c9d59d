"""Messages of COSE, of one layer and of two (RFC 9052): valid, and breaking one rule.

Signatures and tags are octets of the right form and no more: these are cases for decoders.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.violation import Nearly, Violation
from stack.cose import values
from stack.cose.values import Value
from stack.wire import cbor

TAGS = {"sign1": 18, "mac0": 17, "encrypt0": 16, "encrypt": 96, "mac": 97, "sign": 98}
"""Kinds of messages, and their tags."""

LAYERED = ("encrypt", "mac")
"""Those with recipients."""

_NO_BSTR: tuple[Value, ...] = (0, "", [], {}, True)
_NO_MAP: tuple[Value, ...] = (0, b"", [], None, "")


def _octets(choose: Choices, most: int = 40) -> bytes:
    return bytes(choose.integer(0, 255) for _ in choose.many(0, most))


def _unprotected(choose: Choices) -> dict[int | str, Value]:
    found: dict[int | str, Value] = {}
    if choose.flip():
        found[4] = _octets(choose, 8)
    if choose.flip(4):
        label: int | str = choose.pick((-70000, 396)) if choose.flip() else "note"
        found[label] = [choose.uint(16), None]
    return found


_POINT: Value = {1: 2, -1: 2, -2: bytes(48), -3: bytes(48)}


def _headers(protected: dict[int | str, Value], unprotected: Value) -> tuple[bytes, Value]:
    return values.encode(protected) if protected else b"", unprotected


_DIRECT: tuple[tuple[bytes, Value], ...] = (
    _headers({}, {1: -6, 4: b"k"}),
    _headers({1: -10}, {-20: b"salt"}),
    _headers({1: -11}, {-20: b"salt", 4: b"k"}),
    _headers({1: -25}, {-1: {1: 1, -1: 4, -2: bytes(32)}}),
    _headers({1: -26}, {-1: _POINT, 34: [-16, bytes(32)]}),
    _headers({1: -28}, {-3: b"s", -20: b"salt", 4: b"k"}),
)
"""Headers of recipients who make the content's key themselves."""

_WRAPPED: tuple[tuple[bytes, Value], ...] = (
    _headers({1: 50}, {-4: bytes(32), 4: b"k"}),
    _headers({}, {1: -5, 4: b"k"}),
    _headers({}, {1: -42, 34: [-15, bytes(8)]}),
    _headers({1: -31}, {-1: _POINT, 4: b"k"}),
    _headers({1: -34}, {-2: _POINT, -20: b"salt", 4: b"k"}),
)
"""Of such to whom it is sent."""


def _recipient(headers: tuple[bytes, Value], sent: bytes) -> list[Value]:
    return [*headers, sent]


def _recipients(choose: Choices) -> list[Value]:
    if choose.flip(3):
        return [_recipient(choose.pick(_DIRECT), b"")]
    return [_recipient(choose.pick(_WRAPPED), _octets(choose)) for _ in range(choose.integer(1, 3))]


@functools.cache
def _protected(algorithm: int, content: int | str | None) -> bytes:
    """A protected header: there are few."""
    return values.encode({1: algorithm} if content is None else {1: algorithm, 3: content})


def message_parts(choose: Choices, kind: str) -> list[Value]:
    """The parts of a message of a kind of `TAGS` that is right in every way."""
    algorithm = choose.pick((-7, -8, -50, 5, 3))
    content = choose.pick((0, "text/plain")) if choose.flip(4) else None
    parts: list[Value] = [_protected(algorithm, content), _unprotected(choose)]
    parts.append(choose.pick((_octets(choose), None)))
    if kind == "sign":
        signature: Value = [_protected(-50, None), {4: b"k"}, _octets(choose)]
        return [*parts, [signature for _ in range(choose.integer(1, 3))]]
    if kind in ("mac0", "sign1", "mac"):
        parts.append(_octets(choose))
    return [*parts, _recipients(choose)] if kind in LAYERED else parts


@strategy
def encoded_cose_messages(choose: Choices, *, kind: str = "sign1") -> bytes:
    """The octets of a message of a kind of `TAGS`, with its tag or none."""
    body = values.encode(message_parts(choose, kind))
    return body if choose.flip() else cbor.head(cbor.TAG, TAGS[kind]) + body


Break = Callable[[Choices, list[Value]], None]


def _set(index: int, *options: Value) -> Break:
    def breaks(choose: Choices, parts: list[Value]) -> None:
        parts[index] = choose.pick(options)

    return breaks


def _both_headers(choose: Choices, parts: list[Value]) -> None:
    parts[1] = {1: choose.pick((-7, 5))}


def _two_ivs(choose: Choices, parts: list[Value]) -> None:
    parts[1] = {5: bytes(12), 6: bytes(choose.integer(1, 4))}


def _critical(choose: Choices, parts: list[Value]) -> None:
    parts[1] = {2: [choose.pick((1, 4))]}


def _not_critical(choose: Choices, parts: list[Value]) -> None:
    crit: Value = choose.pick((7, "", None, {}, [], [[1]], [{}], [True], [None]))
    parts[0] = values.encode({1: -7, 2: crit})


def _no_algorithm(choose: Choices, parts: list[Value]) -> None:
    alg: Value = choose.pick(([1], {}, b"", None, True))
    parts[0] = values.encode({1: alg})


def _fewer(choose: Choices, parts: list[Value]) -> None:
    del parts[choose.integer(0, len(parts) - 1)]


def _more(choose: Choices, parts: list[Value]) -> None:
    parts.insert(choose.integer(2, len(parts)), choose.pick((b"", None)))


_TWICE, _NO_LABEL, _NO_MAP_IN = b"\xa2\x01\x26\x01\x26", b"\xa1\x41\x01\x26", b"\x81\x01"
RULES: tuple[tuple[Violation, Break], ...] = (
    (Violation("RFC 9052 §3", "the protected header is a byte string"), _set(0, *_NO_BSTR)),
    (Violation("RFC 9052 §3", "the protected header is a map"), _set(0, _NO_MAP_IN, b"\xa1")),
    (Violation("RFC 9052 §3", "the unprotected header is a map"), _set(1, *_NO_MAP)),
    (Violation("RFC 9052 §3", "no label is in both headers"), _both_headers),
    (Violation("RFC 9052 §3", "no label is in a header twice"), _set(0, _TWICE)),
    (Violation("RFC 9052 §1.5", "a label is an integer or text"), _set(0, _NO_LABEL)),
    (Violation("RFC 9052 §3.1", "crit is protected"), _critical),
    (Violation("RFC 9052 §3.1", "crit is an array of labels"), _not_critical),
    (Violation("RFC 9052 §3.1", "an algorithm is an integer or text"), _no_algorithm),
    (Violation("RFC 9052 §3.1", "IV or Partial IV"), _two_ivs),
    (Violation("RFC 9052 §2", "a message has its number of parts: fewer"), _fewer),
    (Violation("RFC 9052 §2", "a message has its number of parts: more"), _more),
    (Violation("RFC 9052 §4.2", "the last part is of its kind"), _set(-1, 0, "", {}, True)),
)
"""What is wrong with a message, and what makes it so."""


def _last(*options: Value) -> Break:
    return _set(-1, *options)


_KEY = _recipient(_WRAPPED[1], b"key")
_ALONE = tuple(_recipient(headers, b"") for headers in _DIRECT)
LAYER_RULES: tuple[tuple[Violation, Break], ...] = (
    (Violation("RFC 9052 §5.1", "there is a recipient"), _last([])),
    (Violation("RFC 9052 §5.1", "recipients are an array of them"), _last([7], [[]], [b""], {})),
    (Violation("RFC 9052 §5.1", "a recipient has three parts"),
     _last([_KEY[:2]], [[*_KEY, b""]], [[]])),
    (Violation("draft-ietf-dtn-bpsec-cose §3.1", "a message has two layers"),
     _last([[*_KEY, [_KEY]]])),
    (Violation("RFC 9052 §5.1", "a recipient has octets"),
     _last([[*_KEY[:2], None]], [[b"", {}, 7]])),
    (Violation("RFC 9052 §3", "headers of a recipient are one map in two"),
     _last([[values.encode({1: -5}), {1: -5}, b""]], [[b"\x01", {}, b""]], [[b"", [], b""]])),
    (Violation("RFC 9052 §8.5", "who makes the key himself is alone"),
     _last(*([one, _KEY] for one in _ALONE), [_ALONE[0], _ALONE[1]])),
    (Violation("RFC 9053 §6.1", "no key is sent where one is made"),
     _last(*([[*one[:2], b"key"]] for one in _ALONE))),
)  # fmt: skip
"""What can be wrong with the recipients of a message that is one of `LAYERED`."""


@strategy
def nearly_cose_messages(
    choose: Choices,
    *,
    kind: str = "sign1",
    rules: Sequence[tuple[Violation, Break]] = RULES,
) -> Nearly:
    """A message of a kind of `TAGS` that breaks one rule, of `rules` and of `LAYER_RULES`."""
    violation, breaks = choose.pick((*rules, *LAYER_RULES) if kind in LAYERED else rules)
    parts = message_parts(choose, kind)
    valid = values.encode(parts)
    breaks(choose, parts)
    return Nearly(values.encode(parts), violation, valid)
