"""Secured bundles that break exactly one rule of RFC 9172 or RFC 9173, and which.

Who opens them with `interop.strategies.bpsec.KEYS` must not deliver their payload.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from interop.strategies.bpsec import Securing, security_blocks
from interop.strategies.bundle import bundles
from interop.strategies.choices import Choices, Source
from interop.strategies.making import strategy
from interop.strategies.raw_asb import RawAsb, pair
from interop.strategies.violation import Nearly, Violation
from stack.security import contexts
from stack.wire import cbor
from stack.wire.asb import Pair, SecurityBlock, decode_asb, encode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    DELETE_UNPROCESSED,
    DISCARD_UNPROCESSED,
    REPLICATE,
    Bundle,
    CanonicalBlock,
    encode_block,
    encode_bundle,
    free_number,
)

_PAYLOAD = 1
Shape = Literal["plain", "signed", "sealed", "both"]
"""Nothing; a BIB over the payload; a BCB over it; a BIB and BCBs over both."""


EditItems = Callable[[RawAsb, Choices], None]
EditValues = Callable[[SecurityBlock, Choices], SecurityBlock]
EditBundle = Callable[[Securing, Choices], None]


@dataclass(frozen=True, slots=True)
class SecurityRule:
    """One rule, and a way to break it: the items of a security block, what they say, or which
    operations there are on which blocks."""

    violation: Violation
    shape: Shape
    items: EditItems | None = None
    values: EditValues | None = None
    bundle: EditBundle | None = None


@strategy
def nearly_secured_bundles(
    choose: Choices,
    *,
    rules: Sequence[SecurityRule] | None = None,
    plain: Source[Bundle] | None = None,
) -> Nearly:
    """The octets of a secured bundle that breaks one rule, of `rules` or of all that there are
    (`SECURITY_RULES`).  `plain` is what is to be secured, if not any bundle: it has a payload."""
    rule = choose.pick(rules or SECURITY_RULES)
    if plain:
        right = _right_of(choose.draw(plain), rule.shape, choose)
    else:
        right = choose.prepared(_right, shape=rule.shape)
    if rule.bundle:
        work = Securing(right.bundle, choose)
        rule.bundle(work, choose)
        broken = encode_bundle(work.bundle())
    else:
        security = right.security
        assert security is not None, "what is plain has no content to be spoilt"
        broken = security.with_data(_spoilt(rule, security.asb, choose))
    return Nearly(broken, rule.violation, right.octets)


def _spoilt(rule: SecurityRule, asb: SecurityBlock, choose: Choices) -> bytes:
    """The octets of a security block in which a rule about its content is broken."""
    if rule.values:
        return encode_asb(rule.values(asb, choose))
    raw = RawAsb.of(asb)
    if rule.items:
        rule.items(raw, choose)
    return raw.encode()


class _Security(NamedTuple):
    """A security block, and what is around it."""

    before: bytes
    block: CanonicalBlock
    asb: SecurityBlock
    after: bytes

    def with_data(self, data: bytes) -> bytes:
        """The octets of the bundle, with other content in this block."""
        return self.before + encode_block(_like(self.block, self.block.number, data)) + self.after


class _Right(NamedTuple):
    """A secured bundle that breaks no rule."""

    bundle: Bundle
    """Its blocks have their octets."""

    octets: bytes
    security: _Security | None
    """The security block to be changed."""


def _right(choose: Choices, shape: Shape) -> _Right:
    bundle = bundles.make(choose, kind="whole", payload_min=1)
    return _right_of(bundle, shape, choose)


def _right_of(bundle: Bundle, shape: Shape, choose: Choices) -> _Right:
    work = Securing(bundle, choose)
    work.without_crc({_PAYLOAD})
    bib = work.sign([_PAYLOAD]) if shape in ("signed", "both") else 0
    bcb = work.seal(_PAYLOAD) if shape in ("sealed", "both") else 0
    if bib and bcb:
        work.seal(bib)
    made = work.bundle()
    blocks = [replace(block, encoded=encode_block(block)) for block in made.blocks]
    octets = encode_bundle(made)
    security = None
    for at, block in enumerate(blocks):
        if block.number == (bcb or bib):
            end = len(octets) - len(cbor.BREAK) - sum(map(_size, blocks[at + 1 :]))
            before, after = octets[: end - _size(block)], octets[end:]
            security = _Security(before, block, decode_asb(block.data), after)
    return _Right(Bundle(made.primary, tuple(blocks)), octets, security)


def _size(block: CanonicalBlock) -> int:
    return len(block.encoded or b"")


def _like(block: CanonicalBlock, number: int, data: bytes) -> CanonicalBlock:
    return CanonicalBlock(block.type, number, block.flags, data, block.crc_type)


@strategy
def nearly_security_blocks(choose: Choices) -> Nearly:
    """The octets of an abstract security block that breaks one rule of its form."""
    rule = choose.pick(FORM_RULES)
    asb = security_blocks.make(choose)
    return Nearly(_spoilt(rule, asb, choose), rule.violation, encode_asb(asb))


# ---- the form of a security block

_NO_UINT = (b"\x20", b"\xf9\x3c\x00", b"\x41\x01", b"\x61\x31", b"\xf6", b"\x80")


def _no_targets(raw: RawAsb, choose: Choices) -> None:
    raw.targets, raw.results = [], []


def _target_twice(raw: RawAsb, choose: Choices) -> None:
    raw.targets.append(raw.targets[0])
    raw.results.append(raw.results[0])


def _target_no_number(raw: RawAsb, choose: Choices) -> None:
    raw.targets[0] = choose.pick(_NO_UINT)


def _context_no_integer(raw: RawAsb, choose: Choices) -> None:
    raw.context = choose.pick(_NO_UINT[1:])


def _flag_without_parameters(raw: RawAsb, choose: Choices) -> None:
    raw.flags, raw.parameters = b"\x01", None


def _parameters_without_flag(raw: RawAsb, choose: Choices) -> None:
    raw.flags, raw.parameters = b"\x00", raw.parameters or [pair(3, 7)]


def _no_source(raw: RawAsb, choose: Choices) -> None:
    raw.source = choose.pick((b"\x00", b"\x81\x01", b"\x82\x01\x61x", cbor.tstr("dtn://gs1/")))


def _parameter_no_pair(raw: RawAsb, choose: Choices) -> None:
    raw.flags = b"\x01"
    wrong = choose.pick((b"\x81\x01", b"\x83\x01\x01\x01", b"\x01", b"\x80", b"\xa1\x01\x01"))
    raw.parameters = [*(raw.parameters or []), wrong]


def _parameter_id(raw: RawAsb, choose: Choices) -> None:
    raw.flags = b"\x01"
    raw.parameters = [*(raw.parameters or []), b"\x82" + choose.pick(_NO_UINT) + b"\x01"]


def _results_less(raw: RawAsb, choose: Choices) -> None:
    raw.results.pop()


def _results_more(raw: RawAsb, choose: Choices) -> None:
    raw.results.append(raw.results[0])


def _results_no_array(raw: RawAsb, choose: Choices) -> None:
    raw.results[0] = choose.pick((b"\x00", b"\x41\x00", b"\xa0", b"\xf6"))


def _octets_after(raw: RawAsb, choose: Choices) -> None:
    raw.after = choose.octets(1, 4)


def _form(words: str, items: EditItems) -> SecurityRule:
    return SecurityRule(Violation("RFC 9172 §3.6", words), "signed", items=items)


FORM_RULES = (
    _form("a security block has at least one target", _no_targets),
    _form("a security block names a target once", _target_twice),
    _form("a target is a block number", _target_no_number),
    _form("a security context id is an integer", _context_no_integer),
    _form("with their flag there are parameters", _flag_without_parameters),
    _form("without their flag there are no parameters", _parameters_without_flag),
    _form("a security source is an EID", _no_source),
    _form("a parameter is a pair", _parameter_no_pair),
    _form("a parameter id is an unsigned integer", _parameter_id),
    _form("each target has a set of results: one less", _results_less),
    _form("each target has a set of results: one more", _results_more),
    _form("a set of results is an array", _results_no_array),
    _form("nothing comes after the results", _octets_after),
)
"""What a security block of any context must be."""


# ---- which operations there are


def _add(work: Securing, kind: int, asb: SecurityBlock) -> None:
    number = free_number(work.blocks.values())
    header = next(block for block in work.blocks.values() if block.type == kind)
    work.blocks[number] = _like(header, number, encode_asb(asb))


def _asb(work: Securing, kind: int) -> SecurityBlock:
    return decode_asb(next(block.data for block in work.blocks.values() if block.type == kind))


def _number(work: Securing, kind: int) -> int:
    return next(block.number for block in work.blocks.values() if block.type == kind)


def _aims_at(kind: int, at: Callable[[Securing, int], int]) -> EditBundle:
    """One more target of the security block of a kind."""

    def edit(work: Securing, choose: Choices) -> None:
        asb, number = _asb(work, kind), _number(work, kind)
        asb = asb._replace(targets=(*asb.targets, at(work, number)), results=asb.results * 2)
        work.blocks[number] = _like(work.blocks[number], number, encode_asb(asb))

    return edit


def _nowhere(work: Securing, number: int) -> int:
    return free_number(work.blocks.values())


def _itself(work: Securing, number: int) -> int:
    return number


def _bib_over_bib(work: Securing, choose: Choices) -> None:
    work.sign([_number(work, BLOCK_INTEGRITY)])


def _bib_over_bcb(work: Securing, choose: Choices) -> None:
    work.sign([_number(work, BLOCK_CONFIDENTIALITY)])


def _bib_twice(work: Securing, choose: Choices) -> None:
    work.sign([_PAYLOAD])


def _bcb_over_bcb(work: Securing, choose: Choices) -> None:
    work.seal(_number(work, BLOCK_CONFIDENTIALITY))


def _bcb_twice(work: Securing, choose: Choices) -> None:
    work.seal(_PAYLOAD)


def _bib_stays_clear(work: Securing, choose: Choices) -> None:
    work.seal(_PAYLOAD)


def _bib_alone(work: Securing, choose: Choices) -> None:
    work.seal(_number(work, BLOCK_INTEGRITY))


def _bib_shared(work: Securing, choose: Choices) -> None:
    """One BIB over the payload, which is encrypted, and over the primary block or another one."""
    del work.blocks[_number(work, BLOCK_INTEGRITY)]
    other = choose.pick((0, *(number for number in work.blocks if number != _PAYLOAD)))
    work.without_crc({other})
    bib = work.sign(choose.pick(([_PAYLOAD, other], [other, _PAYLOAD])))
    work.seal(_PAYLOAD)
    work.seal(bib)


def _bcb_flags(*flags: int) -> EditBundle:
    """A BCB of the payload with flags that it must not have."""

    def edit(work: Securing, choose: Choices) -> None:
        work.seal(_PAYLOAD, flags=choose.pick(flags))

    return edit


def _bib_later(work: Securing, choose: Choices) -> None:
    work.sign([_PAYLOAD])


def _circle(work: Securing, choose: Choices) -> None:
    """Two BCBs, each of which says that it encrypts the other."""
    asb, first = _asb(work, BLOCK_CONFIDENTIALITY), _number(work, BLOCK_CONFIDENTIALITY)
    second = free_number(work.blocks.values())
    _add(work, BLOCK_CONFIDENTIALITY, asb._replace(targets=(first,)))
    one = asb._replace(targets=(_PAYLOAD, second), results=asb.results * 2)
    work.blocks[first] = _like(work.blocks[first], first, encode_asb(one))


def _operation(clause: str, words: str, shape: Shape, edit: EditBundle) -> SecurityRule:
    return SecurityRule(Violation(f"RFC 9172 {clause}", words), shape, bundle=edit)


_BIB, _BCB = BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY

OPERATION_RULES = (
    _operation("§3.2", "a block is signed once", "signed", _bib_twice),
    _operation("§3.2", "a block is encrypted once", "sealed", _bcb_twice),
    _operation("§3.7", "a BIB signs blocks that are there", "signed", _aims_at(_BIB, _nowhere)),
    _operation("§3.7", "a BIB does not sign itself", "signed", _aims_at(_BIB, _itself)),
    _operation("§3.7", "a BIB does not sign a BIB", "signed", _bib_over_bib),
    _operation("§3.7", "a BIB does not sign a BCB", "sealed", _bib_over_bcb),
    _operation("§3.8", "a BCB encrypts blocks that are there", "sealed", _aims_at(_BCB, _nowhere)),
    _operation("§3.8", "a BCB does not encrypt itself", "sealed", _aims_at(_BCB, _itself)),
    _operation("§3.8", "a BCB does not encrypt a BCB", "sealed", _bcb_over_bcb),
    _operation("§3.8", "a BCB does not encrypt a BCB: nor two each other", "sealed", _circle),
    _operation("§3.8", "a BCB does not encrypt the primary block", "sealed",
               _aims_at(_BCB, lambda work, number: 0)),
    _operation("§3.8", "a BCB encrypts a BIB with a target of it", "signed", _bib_alone),
    _operation("§3.8", "a BCB of the payload is in every fragment", "plain",
               _bcb_flags(0, DELETE_UNPROCESSED)),
    _operation("§3.8", "no BCB is discarded on the way", "plain",
               _bcb_flags(DISCARD_UNPROCESSED, REPLICATE | DISCARD_UNPROCESSED)),
    _operation("§3.9", "an encrypted BIB signs nothing in clear", "signed", _bib_shared),
    _operation("§3.9", "who encrypts a signed block encrypts the BIB", "signed", _bib_stays_clear),
    _operation("§3.9", "what is encrypted is not signed thereafter", "sealed", _bib_later),
)  # fmt: skip
"""Which block may be the target of which operation."""


# ---- what the contexts of RFC 9173 say


def _parameter(number: int, *values: int | bytes) -> EditValues:
    """A parameter with one of these values."""

    def edit(asb: SecurityBlock, choose: Choices) -> SecurityBlock:
        kept = tuple(pair for pair in asb.parameters if pair[0] != number)
        return asb._replace(parameters=(*kept, (number, choose.pick(values))))

    return edit


def _changed(number: int, values: Sequence[int], default: int) -> EditValues:
    """A parameter that is another one than what was computed with."""

    def edit(asb: SecurityBlock, choose: Choices) -> SecurityBlock:
        now = asb.parameter(number)
        now = default if now is None else now
        others = [value for value in values if value != now]
        return _parameter(number, *others)(asb, choose)

    return edit


def _without(number: int) -> EditValues:
    def edit(asb: SecurityBlock, choose: Choices) -> SecurityBlock:
        return asb._replace(parameters=tuple(p for p in asb.parameters if p[0] != number))

    return edit


def _iv_flipped(asb: SecurityBlock, choose: Choices) -> SecurityBlock:
    iv = asb.parameter(contexts.BCB_IV)
    return _parameter(contexts.BCB_IV, _flipped(iv if isinstance(iv, bytes) else b"\0", choose))(
        asb, choose
    )


def _flipped(octets: bytes, choose: Choices) -> bytes:
    at = choose.integer(0, len(octets) - 1)
    return octets[:at] + bytes((octets[at] ^ 1 << choose.integer(0, 7),)) + octets[at + 1 :]


def _result(change: Callable[[bytes, Choices], bytes | int]) -> EditValues:
    """The HMAC, or the tag, is another one."""

    def edit(asb: SecurityBlock, choose: Choices) -> SecurityBlock:
        ((number, value),) = asb.results[0] or ((contexts.BCB_RESULT_TAG, bytes(16)),)
        pairs: tuple[Pair, ...] = (
            ((number, change(value, choose)),) if isinstance(value, bytes) else ()
        )
        return asb._replace(results=(pairs,))

    return edit


def _no_results(asb: SecurityBlock, choose: Choices) -> SecurityBlock:
    return asb._replace(results=((),))


def _cut(octets: bytes, choose: Choices) -> bytes:
    return octets[: choose.pick((len(octets) - 1, 12, 4, 1))]


def _too_long(octets: bytes, choose: Choices) -> bytes:
    return octets + choose.octets(1, 4)


def _number_instead(octets: bytes, choose: Choices) -> int:
    return int.from_bytes(octets[:8])


def _context(*ids: int) -> EditValues:
    return lambda asb, choose: asb._replace(context=choose.pick(ids))


def _value(clause: str, words: str, shape: Shape, edit: EditValues) -> SecurityRule:
    return SecurityRule(Violation(f"RFC 9173 {clause}", words), shape, values=edit)


_c = contexts
_WRONG_KEYS = (b"", bytes(8), bytes(24), bytes(40), bytes(41), b"\xff" * 40)

CONTEXT_RULES = (
    _value("§3.1", "a BIB has a context that is known", "signed", _context(0, 2, 3, 99, -1)),
    _value("§3.3", "BIB-HMAC-SHA2 has parameters 1 to 3", "signed", _parameter(4, 0, b"x")),
    _value("§3.3.1", "SHA variants are 5, 6 and 7", "signed",
           _parameter(_c.BIB_SHA_VARIANT, 0, 4, 8, 255, (1 << 64) - 1)),
    _value("§3.3.1", "a SHA variant is an unsigned integer", "signed",
           _parameter(_c.BIB_SHA_VARIANT, b"\x06", b"")),
    _value("§3.3.1", "the SHA variant is that of the HMAC", "signed",
           _changed(_c.BIB_SHA_VARIANT, (5, 6, 7), _c.SHA_DEFAULT)),
    _value("§3.3.2", "a wrapped key is one (RFC 3394)", "signed",
           _parameter(_c.BIB_WRAPPED_KEY, *_WRONG_KEYS)),
    _value("§3.3.2", "a wrapped key is a byte string", "signed", _parameter(_c.BIB_WRAPPED_KEY, 0)),
    _value("§3.3.3", "the integrity scope is what was signed", "signed",
           _changed(_c.BIB_SCOPE, range(8), _c.SCOPE_ALL)),
    _value("§3.3.3", "an integrity scope is an unsigned integer", "signed",
           _parameter(_c.BIB_SCOPE, b"\x07", b"")),
    _value("§3.4", "a BIB has an HMAC", "signed", _no_results),
    _value("§3.4", "an HMAC has the size of its hash: shorter", "signed", _result(_cut)),
    _value("§3.4", "an HMAC has the size of its hash: longer", "signed", _result(_too_long)),
    _value("§3.4", "an HMAC is a byte string", "signed", _result(_number_instead)),
    _value("§3.8.2", "an HMAC matches", "signed", _result(_flipped)),
    _value("§4.1", "a BCB has a context that is known", "both", _context(0, 1, 3, 99, -1)),
    _value("§4.3", "BCB-AES-GCM has parameters 1 to 4", "sealed", _parameter(5, 0, b"x")),
    _value("§4.3.1", "a BCB has an IV", "sealed", _without(_c.BCB_IV)),
    _value("§4.3.1", "an IV has 8 to 16 octets", "sealed",
           _parameter(_c.BCB_IV, b"", bytes(1), bytes(7), bytes(17), bytes(300))),
    _value("§4.3.1", "an IV is a byte string", "sealed", _parameter(_c.BCB_IV, 0, 12)),
    _value("§4.3.1", "the IV is that of the encryption", "sealed", _iv_flipped),
    _value("§4.3.2", "AES variants are 1 and 3", "sealed",
           _parameter(_c.BCB_AES_VARIANT, 0, 2, 4, 255, (1 << 64) - 1)),
    _value("§4.3.2", "the AES variant is that of the encryption", "both",
           _changed(_c.BCB_AES_VARIANT, (1, 3), _c.AES_DEFAULT)),
    _value("§4.3.3", "a wrapped key is one (RFC 3394)", "sealed",
           _parameter(_c.BCB_WRAPPED_KEY, *_WRONG_KEYS)),
    _value("§4.3.3", "a wrapped key is a byte string", "sealed", _parameter(_c.BCB_WRAPPED_KEY, 0)),
    _value("§4.3.4", "the scope is that of the encryption", "sealed",
           _changed(_c.BCB_SCOPE, range(8), _c.SCOPE_ALL)),
    _value("§4.3.4", "a scope is an unsigned integer", "sealed",
           _parameter(_c.BCB_SCOPE, b"\x07", b"")),
    _value("§4.4", "a tag has 128 bits: less", "sealed", _result(_cut)),
    _value("§4.4", "a tag has 128 bits: more", "sealed", _result(_too_long)),
    _value("§4.8.2", "a tag matches", "both", _result(_flipped)),
)  # fmt: skip
"""What the parameters and results of RFC 9173 must be."""

SECURITY_RULES: tuple[SecurityRule, ...] = (*FORM_RULES, *OPERATION_RULES, *CONTEXT_RULES)
"""All."""
