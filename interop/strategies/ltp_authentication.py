"""Signed segments of LTP (RFC 5327 §2.1): what a node accepts, and what nobody may.

signed_segments()         a segment and the key and salt that sign it
encoded_signed_segments() the octets of one
nearly_signed()           octets that break one rule of `SIGNED_RULES`, and say which
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from interop.strategies.choices import Choices
from interop.strategies.ltp import segments
from interop.strategies.making import strategy
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation
from stack.wire.ltp import EXTENSIONS_MAX, Extension, Segment, SessionId, encode_segment

HMAC_SHA1_80 = 0
AES_GMAC = 192
"""Ciphersuites: that which every implementation has, and the one of ours (docs/trust.md)."""


@dataclass(frozen=True, slots=True)
class LinkSecret:
    """What both ends of a link share."""

    suite: int
    secret: bytes
    key_id: bytes = b""

    @property
    def salt_bytes(self) -> int:
        """Octets of the salt that a signer draws."""
        return 12 if self.suite == AES_GMAC else 0

    @property
    def value_bytes(self) -> int:
        """Octets of an authentication value."""
        return 20 if self.suite == AES_GMAC else 10

    def value(self, covered: bytes, salt: bytes, count: int) -> bytes:
        """The authentication value of a segment, the `count`-th with this salt."""
        if self.suite == HMAC_SHA1_80:
            return hmac.new(self.secret, covered, hashlib.sha1).digest()[:10]
        info = b"Orbitferry LTP AES-GMAC signer"
        own = AESGCM(HKDF(hashes.SHA256(), 32, salt, info).derive(self.secret))
        return count.to_bytes(4, "big") + own.encrypt(count.to_bytes(12, "big"), b"", covered)


KEYS = (
    LinkSecret(AES_GMAC, bytes(range(32)), b"id-1"),
    LinkSecret(AES_GMAC, bytes(range(1, 33)), b"id-1"),
    LinkSecret(HMAC_SHA1_80, bytes(range(20)), b"id-2"),
    LinkSecret(HMAC_SHA1_80, bytes(range(1, 21))),
)
"""Whoever verifies these cases has them all: two share a KeyID, and one has none."""

STRANGERS = (
    LinkSecret(AES_GMAC, bytes(32), b"id-1"),
    LinkSecret(HMAC_SHA1_80, bytes(20), b"id-2"),
    LinkSecret(AES_GMAC, bytes(range(32)), b"id-9"),
)
"""Keys that he has not, of the same KeyIDs or with another."""


@dataclass(frozen=True, slots=True)
class SignedSegment:
    """A segment as it comes out, and what signs it; `place` is that of the header extension among
    the others."""

    segment: Segment
    key: LinkSecret
    salt: bytes
    count: int
    place: int

    @property
    def plain(self) -> bytes:
        """The octets without authentication."""
        return encode_segment(self.segment)

    def covered(self) -> bytes:
        """What is signed: all before the authentication value."""
        mark = Extension(0, bytes((self.key.suite,)) + self.key.key_id + self.salt)
        others = self.segment.header
        blank = replace(
            self.segment,
            header=(*others[: self.place], mark, *others[self.place :]),
            trailer=(*self.segment.trailer, Extension(0, bytes(self.key.value_bytes))),
        )
        return encode_segment(blank)[: -self.key.value_bytes]

    def value(self) -> bytes:
        """The authentication value."""
        return self.key.value(self.covered(), self.salt, self.count)


def encode_signed(signed: SignedSegment) -> bytes:
    """The octets of a signed segment."""
    return signed.covered() + signed.value()


@strategy
def signed_segments(choose: Choices) -> SignedSegment:
    """Any segment with any extensions, signed with one of `KEYS`."""
    return _signed(choose, KEYS)


def _signed(choose: Choices, keys: Sequence[LinkSecret]) -> SignedSegment:
    segment = segments.make(choose)
    header, trailer = (
        tuple(one for one in some if one.tag)[: EXTENSIONS_MAX - 1]
        for some in (segment.header, segment.trailer)
    )
    key = choose.pick(keys)
    salt = choose.octets(key.salt_bytes, key.salt_bytes)
    bare = replace(segment, header=header, trailer=trailer)
    place = choose.integer(0, len(header))
    return SignedSegment(bare, key, salt, choose.uint(32), place)


@strategy
def encoded_signed_segments(choose: Choices) -> bytes:
    """The octets of any signed segment."""
    return encode_signed(signed_segments.make(choose))


# ------------------------------------------------------------------------------ nearly valid

Spoil = Callable[[Choices, SignedSegment], bytes]


def _unsigned(choose: Choices, signed: SignedSegment) -> bytes:
    return signed.plain


def _strange(choose: Choices, signed: SignedSegment) -> bytes:
    key = choose.pick(STRANGERS)
    salt = choose.octets(key.salt_bytes, key.salt_bytes)
    return encode_signed(replace(signed, key=key, salt=salt))


def _other_content(choose: Choices, signed: SignedSegment) -> bytes:
    engine, number = signed.segment.session
    moved = SessionId(engine, number ^ 1 << choose.integer(0, 63))
    other = replace(signed, segment=replace(signed.segment, session=moved))
    return other.covered() + signed.value()


def _other_value(choose: Choices, signed: SignedSegment) -> bytes:
    value = bytearray(signed.value())
    value[choose.integer(0, len(value) - 1)] ^= 1 << choose.integer(0, 7)
    return signed.covered() + value


def _short_value(choose: Choices, signed: SignedSegment) -> bytes:
    """Its length said as it is."""
    value = signed.value()[: choose.integer(0, signed.key.value_bytes - 1)]
    return signed.covered()[:-1] + bytes((len(value),)) + value


def _nothing_for_a_value(choose: Choices, signed: SignedSegment) -> bytes:
    return signed.covered() + bytes(signed.key.value_bytes)


def _other_salt(choose: Choices, signed: SignedSegment) -> bytes:
    salt = bytearray(signed.salt)
    salt[choose.integer(0, len(salt) - 1)] ^= 1 << choose.integer(0, 7)
    return replace(signed, salt=bytes(salt)).covered() + signed.value()


def _other_suite(choose: Choices, signed: SignedSegment) -> bytes:
    """The key's secret is of no use to another ciphersuite."""
    mark = bytes((0, 1 + len(signed.key.key_id + signed.salt), signed.key.suite))
    at = signed.covered().index(mark + signed.key.key_id + signed.salt)
    octets = bytearray(signed.covered())
    octets[at + 2] = choose.pick((1, 2, 128, 191, 193, 255))
    return bytes(octets) + signed.key.value(bytes(octets), signed.salt, signed.count)


def _behind(choose: Choices, signed: SignedSegment) -> bytes:
    """An extension that nothing covers, after the value: counted, so that the segment is well
    formed."""
    room = replace(signed.segment, trailer=signed.segment.trailer[: EXTENSIONS_MAX - 2])
    counted = replace(room, trailer=(*room.trailer, Extension(0xC0, b"")))
    blank = replace(signed, segment=counted)
    extra = encode_segment(counted)[-2:]
    octets = blank.covered()
    before = len(octets) - 2 - len(extra)  # the trailer's tag and length stand last
    covered = octets[:before] + octets[-2:]
    return covered + signed.key.value(covered, signed.salt, signed.count) + extra


def _rule(words: str, spoil: Spoil, keys: Sequence[LinkSecret] = KEYS) -> WireRule[SignedSegment]:
    clause = Violation("RFC 5327 §2.1", words)
    return WireRule(clause, lambda choose: _signed(choose, keys), spoil)


_GMAC = KEYS[:2]

SIGNED_RULES = (
    _rule("no authentication", _unsigned),
    _rule("a key that nobody knows here", _strange),
    _rule("another session than was signed", _other_content),
    _rule("an authentication value that is damaged", _other_value),
    _rule("an authentication value that is cut", _short_value),
    _rule("an authentication value of zeros", _nothing_for_a_value),
    _rule("another salt than it was signed with", _other_salt, _GMAC),
    _rule("another ciphersuite than the key's", _other_suite),
    _rule("an extension behind the authentication value", _behind),
)
"""What `nearly_signed` breaks."""


@strategy
def nearly_signed(
    choose: Choices, *, rules: Sequence[WireRule[SignedSegment]] = SIGNED_RULES
) -> Nearly:
    """One signed segment that breaks one rule, of `rules`, and no other."""
    return nearly(choose, rules, encode_signed)
