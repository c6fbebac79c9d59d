"""Security blocks of the COSE context of BPSec (draft-ietf-dtn-bpsec-cose): what is in them, valid
and breaking one rule.

Signatures and tags are octets of the right form and no more: these are cases for decoders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from interop.strategies.bundle import eids
from interop.strategies.choices import Choices
from interop.strategies.cose import message_parts, nearly_cose_messages
from interop.strategies.making import strategy
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation
from stack.cose.values import Label, Value, decode, encode
from stack.security.cose_context import (
    AAD_BTSD,
    AAD_METADATA,
    AAD_SCOPE,
    ADDITIONAL_PROTECTED,
    ADDITIONAL_UNPROTECTED,
    RESULT_ENCRYPT0,
    RESULT_MAC,
    RESULT_MAC0,
    RESULT_SIGN,
    RESULT_SIGN1,
    SECURITY_BLOCK,
    TARGET_BLOCK,
)
from stack.wire import cbor
from stack.wire.asb import CONTEXT_COSE, EncodedItem, Pair, SecurityBlock, encode_asb

_KINDS = {RESULT_SIGN1: "sign1", RESULT_MAC0: "mac0", RESULT_MAC: "mac", RESULT_SIGN: "sign"}
_OWN = (0, TARGET_BLOCK, SECURITY_BLOCK)


def _message(choose: Choices, number: int) -> bytes:
    """A message without its tag and its content, which are not in results (§2.3.1)."""
    parts = message_parts(choose, _KINDS[number])
    return encode([*parts[:2], None, *parts[3:]])


def _scope(choose: Choices) -> dict[Label, Value]:
    scope: dict[Label, Value] = {key: AAD_METADATA for key in _OWN if choose.flip()}
    if choose.flip(4):
        scope[choose.integer(1, 30)] = choose.pick((AAD_METADATA, AAD_BTSD, 3))
    return scope


def _block(choose: Choices) -> SecurityBlock:
    targets = tuple(dict.fromkeys(choose.uint(8) for _ in choose.many(1, 3)))
    pairs: list[Pair] = []
    if choose.flip():
        pairs.append((ADDITIONAL_PROTECTED, encode({1: choose.pick((-7, 5))})))
    if choose.flip():
        pairs.append((ADDITIONAL_UNPROTECTED, encode({4: choose.octets(1, 8)})))
    if choose.flip():
        pairs.append((AAD_SCOPE, EncodedItem(encode(_scope(choose)))))
    number = choose.pick(tuple(_KINDS))
    results = tuple(((number, _message(choose, number)),) for _ in targets)
    return SecurityBlock(targets, CONTEXT_COSE, eids.make(choose), tuple(pairs), results)


BlockBreak = Callable[[Choices, SecurityBlock], SecurityBlock]


def _parameter(number: int, *options: int | bytes | EncodedItem) -> BlockBreak:
    """A parameter has another value."""

    def spoil(choose: Choices, block: SecurityBlock) -> SecurityBlock:
        kept = tuple(pair for pair in block.parameters if pair[0] != number)
        return block._replace(parameters=(*kept, (number, choose.pick(options))))

    return spoil


def _scope_of(*scopes: dict[Label, Value]) -> BlockBreak:
    return _parameter(AAD_SCOPE, *(EncodedItem(encode(scope)) for scope in scopes))


def _twice(choose: Choices, block: SecurityBlock) -> SecurityBlock:
    pair = (ADDITIONAL_PROTECTED, encode({1: -7}))
    return block._replace(parameters=(pair, *block.parameters, pair))


def _both(choose: Choices, block: SecurityBlock) -> SecurityBlock:
    octets = encode({choose.pick((1, 4, "note")): 0})
    pairs: tuple[Pair, ...] = ((ADDITIONAL_PROTECTED, octets), (ADDITIONAL_UNPROTECTED, octets))
    return block._replace(parameters=pairs)


def _result(make: Callable[[Choices, Pair], tuple[Pair, ...]]) -> BlockBreak:
    """The results of one target are others."""

    def spoil(choose: Choices, block: SecurityBlock) -> SecurityBlock:
        at = choose.integer(0, len(block.results) - 1)
        made = make(choose, block.results[at][0])
        return block._replace(results=(*block.results[:at], made, *block.results[at + 1 :]))

    return spoil


def _with_content(choose: Choices, pair: Pair) -> tuple[Pair, ...]:
    parts = decode(pair[1], "made here")  # type: ignore[arg-type]
    assert isinstance(parts, Sequence)
    return ((pair[0], encode([*parts[:2], choose.octets(0, 9), *parts[3:]])),)


def _tagged(choose: Choices, pair: Pair) -> tuple[Pair, ...]:
    number, value = pair
    assert isinstance(value, bytes)
    return ((number, cbor.head(cbor.TAG, number) + value),)


def _parties(choose: Choices, pair: Pair) -> tuple[Pair, ...]:
    said: Value = choose.pick((choose.octets(0, 8), 7, None))
    unprotected: dict[Label, Value] = {choose.integer(-26, -21): said, -20: b"salt", 4: b"k"}
    recipient: Value = [encode({1: -11}), unprotected, b""]
    return ((RESULT_MAC, encode([encode({1: 6}), {}, None, choose.octets(48, 48), [recipient]])),)


def _nearly_message(choose: Choices, pair: Pair) -> tuple[Pair, ...]:
    broken = nearly_cose_messages.make(choose, kind=_KINDS[pair[0]])
    return ((pair[0], broken.encoded),)


_ITEMS = tuple(EncodedItem(one) for one in (b"\x80", b"\x60", b"\xf6", b"\x20"))
"""An array, text, null, and a number that is negative."""

_NO_OCTETS: tuple[int | EncodedItem, ...] = (0, EncodedItem(b"\xa0"), *_ITEMS)
_PARAMETERS, _RESULTS = "draft-ietf-dtn-bpsec-cose §2.2", "draft-ietf-dtn-bpsec-cose §2.3"
_RULES: tuple[tuple[str, str, BlockBreak], ...] = (
    (_PARAMETERS, "a parameter is known", _parameter(6, b"", 0, *_ITEMS)),
    (_PARAMETERS, "a parameter is there once", _twice),
    (_PARAMETERS, "protected headers are octets", _parameter(ADDITIONAL_PROTECTED, *_NO_OCTETS)),
    (_PARAMETERS, "protected headers are a map",
     _parameter(ADDITIONAL_PROTECTED, b"\x01", b"\x80", b"\xa1", b"\xa2\x01\x26\x01\x26")),
    (_PARAMETERS, "other headers are octets", _parameter(ADDITIONAL_UNPROTECTED, *_NO_OCTETS)),
    (_PARAMETERS, "other headers are a map",
     _parameter(ADDITIONAL_UNPROTECTED, b"\x01", b"\x80", b"\xa1", b"\xbf\xff")),
    (_PARAMETERS, "no header is protected and not", _both),
    (_PARAMETERS, "a scope is a map", _parameter(AAD_SCOPE, b"\xa0", 1, *_ITEMS)),
    (_PARAMETERS, "a scope names blocks by numbers", _scope_of({"1": 1}, {"": 1})),
    (_PARAMETERS, "the flags of a scope are numbers",
     _scope_of({0: "1"}, {0: True}, {1: []}, {1: b"\x01"})),
    (_PARAMETERS, "a scope has flags", _scope_of({0: 0}, {1: 0}, {-1: -1}, {5: -7})),
    (_PARAMETERS, "blocks of the operation give no data", _scope_of({0: 2}, {-1: 3}, {-2: 2})),
    (_RESULTS, "a target has one result", _result(
        lambda choose, pair: choose.pick(((), (pair, pair))))),
    (_RESULTS, "a result of integrity is a signature or a MAC", _result(
        lambda choose, pair: ((choose.pick((0, 1, RESULT_ENCRYPT0, 96, 99)), pair[1]),))),
    (_RESULTS, "a result is octets", _result(
        lambda choose, pair: ((pair[0], choose.pick(_NO_OCTETS)),))),
    (_RESULTS, "a result has no tag", _result(_tagged)),
    (_RESULTS, "a result has no content", _result(_with_content)),
    ("RFC 9052 §2", "a result is a message of COSE", _result(_nearly_message)),
    ("draft-ietf-dtn-bpsec-cose §3.3", "nothing is said of parties", _result(_parties)),
)  # fmt: skip


def _rule(clause: str, words: str, spoil: BlockBreak) -> WireRule[SecurityBlock]:
    return WireRule(
        Violation(clause, words), _block, lambda choose, block: encode_asb(spoil(choose, block))
    )


COSE_RULES: Final[tuple[WireRule[SecurityBlock], ...]] = tuple(_rule(*each) for each in _RULES)
"""What can be wrong with the data of a BIB of the COSE context."""


@strategy
def encoded_cose_blocks(choose: Choices) -> bytes:
    """The data of a BIB of the COSE context."""
    return encode_asb(_block(choose))


@strategy
def nearly_cose_blocks(
    choose: Choices, *, rules: Sequence[WireRule[SecurityBlock]] = COSE_RULES
) -> Nearly:
    """Such data that breaks one of some rules."""
    return nearly(choose, rules, encode_asb)
