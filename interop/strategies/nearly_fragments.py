"""Fragments of one data unit that contradict one another (RFC 9171 §5.8, §5.9)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from interop.strategies.bundle import bundles, fragment_of
from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.violation import NearlySet, Violation
from stack.wire.bundle import Bundle, encode_bundle

Forge = Callable[[Bundle, bytes, Choices], Bundle]
"""One more fragment, of a bundle and its payload."""


@strategy
def nearly_fragment_sets(
    choose: Choices, *, rules: Sequence[tuple[Violation, Forge]] | None = None
) -> NearlySet:
    """All fragments of a data unit, and somewhere among them, but not last, one that contradicts
    the others.  Nothing may come of them but the data unit of the others."""
    violation, forge = choose.pick(rules or FRAGMENT_RULES)
    whole = choose.prepared(bundles.make, kind="whole", payload_min=4)
    data = bytes(whole.payload.data)
    cut = choose.integer(1, len(data) - 1)
    parts = [
        fragment_of(whole, 0, data[:cut], len(data)),
        fragment_of(whole, cut, data[cut:], len(data)),
    ]
    if choose.flip():
        parts.reverse()
    valid = tuple(map(encode_bundle, parts))
    parts.insert(choose.integer(0, 1), forge(whole, data, choose))
    return NearlySet(tuple(map(encode_bundle, parts)), violation, valid)


def _other_total(whole: Bundle, data: bytes, choose: Choices) -> Bundle:
    at = choose.integer(0, len(data) - 1)
    total = len(data) + choose.pick((1, -1, 1 << 20, (1 << 63) - len(data)))
    if at >= total:
        at = 0
    return fragment_of(whole, at, data[at : at + 1], total)


def _other_octets(whole: Bundle, data: bytes, choose: Choices) -> Bundle:
    at = choose.integer(0, len(data) - 1)
    piece = bytearray(data[at : at + choose.integer(1, 4)])
    piece[choose.integer(0, len(piece) - 1)] ^= 1 << choose.integer(0, 7)
    return fragment_of(whole, at, bytes(piece), len(data))


def _beyond(whole: Bundle, data: bytes, choose: Choices) -> Bundle:
    at = choose.integer(0, len(data) - 1)
    return fragment_of(whole, at, data[at:] + choose.octets(1, 4), len(data))


def _far_beyond(whole: Bundle, data: bytes, choose: Choices) -> Bundle:
    at = choose.pick((len(data), len(data) + 1, 1 << 32, (1 << 63), (1 << 64) - 1))
    return fragment_of(whole, at, data[:1], len(data))


def _empty(whole: Bundle, data: bytes, choose: Choices) -> Bundle:
    return fragment_of(whole, choose.integer(0, len(data)), b"", len(data))


def _other_lifetime(whole: Bundle, data: bytes, choose: Choices) -> Bundle:
    lifetime = whole.primary.lifetime_ms ^ 1
    other = Bundle(dataclasses.replace(whole.primary, lifetime_ms=lifetime), whole.blocks)
    at = choose.integer(0, len(data) - 1)
    return fragment_of(other, at, data[at : at + 1], len(data))


FRAGMENT_RULES: tuple[tuple[Violation, Forge], ...] = (
    (Violation("RFC 9171 §4.3.1", "all fragments name the same total length"), _other_total),
    (
        Violation("RFC 9171 §5.8", "fragments have the same octets where they overlap"),
        _other_octets,
    ),
    (Violation("RFC 9171 §5.8", "a fragment ends within its data unit"), _beyond),
    (Violation("RFC 9171 §5.8", "a fragment begins within its data unit"), _far_beyond),
    (Violation("RFC 9171 §5.8", "a fragment has at least one octet"), _empty),
    (Violation("RFC 9171 §5.8", "fragments have the lifetime of their bundle"), _other_lifetime),
)
"""What one fragment must not be beside others."""
