"""Secured bundles that are hard to bear (RFC 9172, RFC 9173), each kind by its name.

What is legal opens with `interop.strategies.bpsec.KEYS`; what is not must open nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from interop.strategies.bpsec import Securing
from interop.strategies.bundle import bundles
from interop.strategies.choices import Choices
from interop.strategies.hostile import (
    LARGE,
    MOST,
    Hostile,
    HostileKinds,
    Weakness,
    one_hostile,
)
from interop.strategies.making import strategy
from stack.wire import cbor
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    CanonicalBlock,
    encode_bundle,
    encode_eid,
    free_number,
)

_PAYLOAD = 1
_COUNTS = (*LARGE, MOST)
_UNKNOWN = 200


def _work(choose: Choices) -> Securing:
    bundle = choose.prepared(bundles.make, kind="whole", extensions_min=1, payload_min=1)
    work = Securing(bundle, choose)
    work.without_crc({_PAYLOAD})
    return work


def _add(work: Securing, kind: int, data: bytes, number: int = 0) -> int:
    number = number or free_number(work.blocks.values())
    work.blocks[number] = CanonicalBlock(kind, number, 0, data)
    return number


def _asb(
    work: Securing,
    targets: bytes = b"\x81\x01",
    context: bytes = b"\x01",
    parameters: bytes = b"",
    results: bytes = b"\x81\x81\x82\x01\x58\x20" + bytes(32),
) -> bytes:
    """An abstract security block of items, each as it is given."""
    flags = b"\x01" if parameters else b"\x00"
    return targets + context + flags + encode_eid(work.primary.source) + parameters + results


def _spoilt(
    make: Callable[[Securing, Choices], bytes], kind: int = BLOCK_INTEGRITY
) -> Callable[[Choices], bytes]:
    """A bundle with one security block more, of this content."""

    def made(choose: Choices) -> bytes:
        work = _work(choose)
        _add(work, kind, make(work, choose))
        return encode_bundle(work.bundle())

    return made


def _itself(choose: Choices) -> bytes:
    work = _work(choose)
    number = free_number(work.blocks.values())
    kind = choose.pick((BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY))
    _add(work, kind, _asb(work, b"\x81" + cbor.uint(number)), number)
    return encode_bundle(work.bundle())


def _ring(choose: Choices) -> bytes:
    """Blocks that each point at the next one, and the last at the first."""
    work = _work(choose)
    first = max(work.blocks) + 1
    count = choose.pick((2, 3, 30))
    for at in range(count):
        number, target = first + at, first + (at + 1) % count
        kind = choose.pick((BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY))
        _add(work, kind, _asb(work, b"\x81" + cbor.uint(target)), number)
    return encode_bundle(work.bundle())


def _same_target(choose: Choices) -> bytes:
    """Many blocks that encrypt one."""
    work = _work(choose)
    for _ in range(choose.pick((2, 50))):
        _add(work, BLOCK_CONFIDENTIALITY, _asb(work, context=b"\x02"))
    return encode_bundle(work.bundle())


def _targets(head: int, *targets: int) -> bytes:
    return cbor.head(cbor.ARRAY, head) + b"".join(map(cbor.uint, targets))


def _parameters(count: int, octets: bytes = b"") -> bytes:
    return cbor.head(cbor.ARRAY, count) + octets


def _large_context(choose: Choices) -> bytes:
    return cbor.head(choose.pick((cbor.UINT, cbor.NEGATIVE)), choose.pick(_COUNTS))


def _nested(choose: Choices) -> bytes:
    depth = choose.pick((17, 1_000, 50_000))
    return choose.pick((b"\x81", b"\x9f", b"\xc1", b"\xa1\x00")) * depth


def _sealed_with(key: int) -> Callable[[Securing, Choices], bytes]:
    """A parameter of a BCB (RFC 9173 §4.3) of an impossible size."""

    def make(work: Securing, choose: Choices) -> bytes:
        size = choose.pick((0, 1, 17, 60_000))
        values = {1: bytes(12), key: bytes(size)}
        pairs = [cbor.array((cbor.uint(k), cbor.bstr(value))) for k, value in values.items()]
        return _asb(
            work, context=b"\x02", parameters=cbor.array(pairs),
            results=b"\x81\x81\x82\x01\x50" + bytes(16),
        )  # fmt: skip

    return make


def _many_signed(choose: Choices) -> bytes:
    """One BIB over as many blocks as there may be."""
    work = _work(choose)
    first = max(work.blocks) + 1
    for number in range(first, first + choose.pick((10, 40))):
        work.blocks[number] = CanonicalBlock(_UNKNOWN, number, 0, b"")
    payload = work.blocks.pop(_PAYLOAD)
    work.blocks[_PAYLOAD] = payload
    work.without_crc(set(work.blocks))
    work.sign(sorted(work.blocks))
    return encode_bundle(work.bundle())


def _one_by_one(choose: Choices) -> bytes:
    """A BIB and a BCB for every block."""
    work = _work(choose)
    numbers = sorted(work.blocks)
    work.without_crc(set(numbers))
    for number in numbers:
        work.seal(work.sign([number]))
        work.seal(number)
    return encode_bundle(work.bundle())


SECURED_WEAKNESSES: HostileKinds = {
    Weakness("a security block that points at nothing", False): _spoilt(
        lambda work, choose: _asb(
            work, _targets(1, choose.pick([n for n in (2, 77, *LARGE, MOST)
                                           if n not in work.blocks])))),
    Weakness("a security block that points at itself", False): _itself,
    Weakness("security blocks that point at one another", False): _ring,
    Weakness("many security blocks that point at one", False): _same_target,
    Weakness("a security block that points at the primary block, to encrypt it", False): _spoilt(
        lambda work, choose: _asb(work, _targets(1, 0), b"\x02"), BLOCK_CONFIDENTIALITY),
    Weakness("more targets than there are", False): _spoilt(
        lambda work, choose: _asb(work, _targets(choose.pick(_COUNTS), 1))),
    Weakness("duplicate targets", False): _spoilt(
        lambda work, choose: _asb(work, _targets(3, 1, 1, 1))),
    Weakness("more parameters than there are", False): _spoilt(
        lambda work, choose: _asb(work, parameters=_parameters(choose.pick(_COUNTS)))),
    Weakness("more results than there are", False): _spoilt(
        lambda work, choose: _asb(work, results=_parameters(choose.pick(_COUNTS)))),
    Weakness("no results for its targets", False): _spoilt(
        lambda work, choose: _asb(work, results=choose.pick((b"\x80", b"\x81\x80")))),
    Weakness("a result longer than the buffer", False): _spoilt(
        lambda work, choose: _asb(
            work, results=b"\x81\x81\x82\x01" + cbor.head(cbor.BSTR, choose.pick(_COUNTS)))),
    Weakness("absurd nesting in a parameter", False): _spoilt(
        lambda work, choose: _asb(work, parameters=b"\x81\x82\x01" + _nested(choose))),
    Weakness("a context id at the end of its width", False): _spoilt(
        lambda work, choose: _asb(work, context=_large_context(choose))),
    Weakness("a parameter id at the end of its width", False): _spoilt(
        lambda work, choose: _asb(
            work, parameters=b"\x81\x82" + cbor.uint(choose.pick(_COUNTS)) + b"\x00")),
    Weakness("an IV of an impossible length", False): _spoilt(
        _sealed_with(1), BLOCK_CONFIDENTIALITY),
    Weakness("a wrapped key of an impossible length", False): _spoilt(
        _sealed_with(3), BLOCK_CONFIDENTIALITY),
    Weakness("empty things", False): _spoilt(
        lambda work, choose: choose.pick((b"", b"\x80", b"\x80\x01\x00\x82\x01\x00\x80"))),
    Weakness("as many targets as there may be", True): _many_signed,
    Weakness("a security block for every block and security block", True): _one_by_one,
}  # fmt: skip
"""All kinds, and what makes them."""


@strategy
def hostile_secured_bundles(
    choose: Choices, *, weaknesses: Sequence[Weakness] | None = None
) -> Hostile:
    """A secured bundle of one of `weaknesses`, or of all (`SECURED_WEAKNESSES`)."""
    return one_hostile(choose, SECURED_WEAKNESSES, weaknesses)
