"""Bundles that break exactly one rule of RFC 9171 or RFC 9758, and which."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from interop.strategies import raw as r
from interop.strategies.bundle import Kind, bundles
from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.nearly_eid import EID_RULES, GROUPS
from interop.strategies.nearly_record import RECORD_RULES
from interop.strategies.raw import RawBlock, RawBundle, crc_field
from interop.strategies.violation import Nearly, Violation
from stack.wire import cbor
from stack.wire.bundle import (
    BUNDLE_AGE,
    CRC_16,
    CRC_32,
    HOP_COUNT,
    NO_FRAGMENT,
    PREVIOUS_NODE,
    REPORT_DELETION,
    REPORT_DELIVERY,
    REPORT_FORWARDING,
    REPORT_RECEPTION,
    REPORT_UNPROCESSED,
    Bundle,
)
from stack.wire.crc import crc16_ccitt, crc32c

Break = Callable[[RawBundle, Choices], None]


@dataclass(frozen=True, slots=True)
class BundleRule:
    """One rule, and a way to break it and no other."""

    violation: Violation
    breaks: Break
    kind: Kind = "whole"
    """Of the valid bundle before."""

    extensions: int = 0
    """And its extension blocks at least."""


@strategy
def nearly_bundles(
    choose: Choices,
    *,
    rules: Sequence[BundleRule] | None = None,
    adapt: Callable[[Bundle], Bundle] | None = None,
) -> Nearly:
    """The octets of a bundle that breaks one rule, of `rules` or of all that there are
    (`BUNDLE_RULES`).

    `adapt` changes the valid bundle before that: so that it is for the node that is to be tried,
    and made just now.
    """
    rule = choose.pick(rules or BUNDLE_RULES)
    bundle = choose.prepared(
        bundles.make, kind=rule.kind, extensions_min=rule.extensions, payload_min=1
    )
    if adapt is not None:
        bundle = adapt(bundle)
    raw = RawBundle.of(bundle)
    valid = raw.encode()
    rule.breaks(raw, choose)
    return Nearly(raw.encode(), rule.violation, valid)


# ---- ways to break


def _number_of(item: bytes) -> int:
    return cbor.read_uint(item, 0)[0]


def _primary(index: int, *items: bytes) -> Break:
    """One of these items in the place of a field of the primary block."""

    def breaks(raw: RawBundle, choose: Choices) -> None:
        raw.primary.fields[index] = choose.pick(items)

    return breaks


def _any_block(index: int, *items: bytes) -> Break:
    """One of these items in the place of a field of a canonical block."""

    def breaks(raw: RawBundle, choose: Choices) -> None:
        choose.pick(raw.blocks[1:]).fields[index] = choose.pick(items)

    return breaks


def _extension(index: int, *items: bytes) -> Break:
    """The same of an extension block."""

    def breaks(raw: RawBundle, choose: Choices) -> None:
        choose.pick(raw.extensions).fields[index] = choose.pick(items)

    return breaks


def _flags(*wrong: int, clear: int = 0) -> Break:
    """One of these bundle flags set, and others not."""

    def breaks(raw: RawBundle, choose: Choices) -> None:
        flags = _number_of(raw.primary.fields[r.FLAGS]) & ~clear
        raw.primary.fields[r.FLAGS] = cbor.uint(flags | choose.pick(wrong))

    return breaks


def _block_report(raw: RawBundle, choose: Choices) -> None:
    block = choose.pick(raw.blocks[1:])
    flags = _number_of(block.fields[r.BLOCK_FLAGS]) | REPORT_UNPROCESSED
    block.fields[r.BLOCK_FLAGS] = cbor.uint(flags)


def _content(kind: int, *contents: bytes) -> Break:
    """The extension block of a type has one of these contents."""

    def breaks(raw: RawBundle, choose: Choices) -> None:
        _without(raw, kind)
        _add(raw, kind, choose.pick(contents), choose)

    return breaks


def _twice(kind: int, content: Callable[[Choices], bytes]) -> Break:
    """Two extension blocks of a type, with numbers of their own."""

    def breaks(raw: RawBundle, choose: Choices) -> None:
        _without(raw, kind)
        for _ in range(2):
            _add(raw, kind, content(choose), choose)

    return breaks


def _without(raw: RawBundle, kind: int) -> None:
    encoded = cbor.uint(kind)
    raw.blocks[1:-1] = [block for block in raw.extensions if block.fields[r.TYPE] != encoded]


def _add(raw: RawBundle, kind: int, content: bytes, choose: Choices) -> None:
    taken = {block.fields[r.NUMBER] for block in raw.blocks[1:]}
    number = next(n for n in range(2, len(taken) + 3) if cbor.uint(n) not in taken)
    at = choose.integer(1, len(raw.blocks) - 1)
    raw.blocks.insert(at, r.extension(kind, number, content))


def _blocks(change: Callable[[list[RawBlock]], object]) -> Break:
    """The blocks of the bundle, the primary among them, are others."""

    def breaks(raw: RawBundle, choose: Choices) -> None:
        change(raw.blocks)

    return breaks


def _definite(raw: RawBundle, choose: Choices) -> None:
    raw.opening = cbor.head(cbor.ARRAY, len(raw.blocks))
    raw.closing = b""


def _no_break(raw: RawBundle, choose: Choices) -> None:
    raw.closing = b""


def _payload_not_last(raw: RawBundle, choose: Choices) -> None:
    at = choose.integer(1, len(raw.blocks) - 2)
    raw.blocks.insert(at, raw.blocks.pop())


def _primary_not_first(raw: RawBundle, choose: Choices) -> None:
    raw.blocks.insert(choose.integer(1, len(raw.blocks) - 1), raw.blocks.pop(0))


def _item_between(raw: RawBundle, choose: Choices) -> None:
    raw.between.append(choose.pick((b"\x00", b"\x41\x00", b"\xa0", b"\xf6", b"\x80", b"\x61a")))


def _payload_number(raw: RawBundle, choose: Choices) -> None:
    taken = {block.fields[r.NUMBER] for block in raw.extensions}
    numbers = (0, *range(2, len(taken) + 4), 255)
    free = [n for n in numbers if cbor.uint(n) not in taken]
    raw.payload.fields[r.NUMBER] = cbor.uint(choose.pick(free))


def _same_number(raw: RawBundle, choose: Choices) -> None:
    first, second = raw.extensions[0], choose.pick(raw.extensions[1:])
    second.fields[r.NUMBER] = first.fields[r.NUMBER]


def _longer(item: bytes, choose: Choices) -> bytes:
    """The same integer or head, longer than it need be."""
    major, value, end = cbor.read_head(item, 0)
    room = [size for size in (1, 2, 4, 8) if size + 1 > cbor.head_size(value)]
    if not room:  # 64 bits are the most: begin with something else
        value, room = 7, [1, 2, 4, 8]
    size = choose.pick(room)
    head = bytes((major << 5 | 23 + size.bit_length(),)) + value.to_bytes(size, "big")
    return head + item[end:]


def _long_integer(raw: RawBundle, choose: Choices) -> None:
    places = [(raw.primary, n) for n in (r.VERSION, r.FLAGS, r.CRC_TYPE, r.LIFETIME)]
    places += [(block, n) for block in raw.blocks[1:] for n in range(r.DATA)]
    block, index = choose.pick(places)
    block.fields[index] = _longer(block.fields[index], choose)


def _long_length(raw: RawBundle, choose: Choices) -> None:
    block = choose.pick(raw.blocks[1:])
    block.fields[r.DATA] = _longer(block.fields[r.DATA], choose)


def _long_array(raw: RawBundle, choose: Choices) -> None:
    block = choose.pick(raw.blocks)
    block.head = _longer(block.encode()[:1], choose)


def _field_gone(which: Sequence[int]) -> Break:
    """The last, or one of `which`, of the fields of a block is not there."""

    def breaks(raw: RawBundle, choose: Choices) -> None:
        del raw.primary.fields[choose.pick(which)]

    return breaks


def _block_field_gone(raw: RawBundle, choose: Choices) -> None:
    del choose.pick(raw.blocks[1:]).fields[choose.integer(0, r.DATA)]


def _primary_field_more(raw: RawBundle, choose: Choices) -> None:
    raw.primary.fields.append(cbor.uint(choose.uint()))


def _block_field_more(raw: RawBundle, choose: Choices) -> None:
    choose.pick(raw.blocks[1:]).fields.append(cbor.uint(choose.uint()))


def _with_crc(raw: RawBundle, choose: Choices, crc_type: int = 0) -> tuple[RawBlock, bytes]:
    """A block with a CRC, and its octets up to there."""
    at = choose.integer(0, len(raw.blocks) - 1)
    block = raw.blocks[at]
    block.crc_type = crc_type or block.crc_type or CRC_32
    block.fields[r.BLOCK_CRC_TYPE if at else r.CRC_TYPE] = cbor.uint(block.crc_type)
    before = cbor.head(cbor.ARRAY, len(block.fields) + 1) + b"".join(block.fields)
    return block, before


def _crc_flipped(raw: RawBundle, choose: Choices) -> None:
    block, before = _with_crc(raw, choose)
    crc = bytearray(crc_field(before, block.crc_type))
    crc[choose.integer(1, len(crc) - 1)] ^= 1 << choose.integer(0, 7)
    block.crc = bytes(crc)


def _crc_instead(right: int, wrong: Callable[[bytes], int]) -> Break:
    """Something else computed than the CRC of the type, such as others have done."""

    def breaks(raw: RawBundle, choose: Choices) -> None:
        block, before = _with_crc(raw, choose, right)
        good = crc_field(before, right)
        size = len(good) - 1
        value = wrong(before + good[:1]).to_bytes(size, "big")
        block.crc = good[:1] + (value if value != good[1:] else bytes((value[0] ^ 1,)) + value[1:])

    return breaks


def _crc_backwards(raw: RawBundle, choose: Choices) -> None:
    block, before = _with_crc(raw, choose)
    crc = crc_field(before, block.crc_type)
    value = crc[:0:-1]
    block.crc = crc[:1] + (value if value != crc[1:] else bytes((value[0] ^ 1,)) + value[1:])


def _crc_size(raw: RawBundle, choose: Choices) -> None:
    block, before = _with_crc(raw, choose)
    block.crc = crc_field(before, CRC_16 if block.crc_type == CRC_32 else CRC_32)


def _crc_item(raw: RawBundle, choose: Choices) -> None:
    block, before = _with_crc(raw, choose)
    crc = crc_field(before, block.crc_type)
    block.crc = choose.pick((cbor.uint(int.from_bytes(crc[1:])), b"\x80", b"\xf6", b"\x5f\xff"))


def _crc_missing(raw: RawBundle, choose: Choices) -> None:
    block, _ = _with_crc(raw, choose)
    block.crc = b""


def _crc_too_many(raw: RawBundle, choose: Choices) -> None:
    block = choose.pick(raw.blocks[1:])
    block.fields[r.BLOCK_CRC_TYPE] = b"\x00"
    block.crc_type = CRC_32


def _crc_type(raw: RawBundle, choose: Choices) -> None:
    at = choose.integer(0, len(raw.blocks) - 1)
    block = raw.blocks[at]
    block.crc_type = CRC_32
    wrong = cbor.uint(choose.pick((3, 4, 23, 24, 255, 256, 1 << 32, (1 << 64) - 1)))
    block.fields[r.BLOCK_CRC_TYPE if at else r.CRC_TYPE] = wrong


def _no_protection(raw: RawBundle, choose: Choices) -> None:
    raw.primary.fields[r.CRC_TYPE] = b"\x00"
    raw.primary.crc_type = 0


def _ageless(raw: RawBundle, choose: Choices) -> None:
    _without(raw, BUNDLE_AGE)
    raw.primary.fields[r.TIMESTAMP] = b"\x82\x00" + cbor.uint(choose.uint())


def _beyond(raw: RawBundle, choose: Choices) -> None:
    size = cbor.read_head(raw.payload.fields[r.DATA], 0)[1]
    end = _number_of(raw.primary.fields[r.OFFSET]) + size
    raw.primary.fields[r.TOTAL] = cbor.uint(end - choose.pick((1, size, end)))


def _eid(make: Callable[[Choices], bytes]) -> Break:
    def breaks(raw: RawBundle, choose: Choices) -> None:
        raw.primary.fields[choose.pick((r.DESTINATION, r.SOURCE, r.REPORT_TO))] = make(choose)

    return breaks


def _record(make: Callable[[Choices], bytes]) -> Break:
    def breaks(raw: RawBundle, choose: Choices) -> None:
        raw.payload.fields[r.DATA] = cbor.bstr(make(choose))

    return breaks


# ---- the rules

_REPORTS = (REPORT_RECEPTION, REPORT_FORWARDING, REPORT_DELIVERY, REPORT_DELETION)
_NO_UINT = (b"\x20", b"\xf9\x3c\x00", b"\x41\x01", b"\x61\x31", b"\xf6", b"\x80", b"\xf5")
_BIGNUM = b"\xc2\x49\x01" + bytes(8)
_NO_BSTR = (b"\x61a", b"\x80", b"\x00", b"\xa0", b"\xf6", b"\xf9\x3c\x00")


def _rule(
    section: str, words: str, breaks: Break, kind: Kind = "whole", extensions: int = 0
) -> BundleRule:
    clause = section if section.startswith("RFC") else f"RFC 9171 {section}"
    return BundleRule(Violation(clause, words), breaks, kind, extensions)


STRUCTURE_RULES = (
    _rule("§4.1", "a bundle is an array of indefinite length", _definite),
    _rule("§4.1", "a bundle ends with a break", _no_break),
    _rule("§4.1", "a bundle has a payload block", _blocks(list.pop), extensions=1),
    _rule("§4.1", "the payload block is the last", _payload_not_last, extensions=1),
    _rule("§4.1", "a bundle has one payload block: two", _blocks(lambda b: b.append(b[-1]))),
    _rule("§4.1", "a bundle has a primary block", _blocks(lambda b: b.pop(0))),
    _rule(
        "§4.1", "a bundle has one primary block: two", _blocks(lambda all: all.insert(1, all[0]))
    ),
    _rule("§4.1", "the primary block is the first", _primary_not_first),
    _rule("§4.1", "all items of a bundle are blocks", _item_between),
    _rule("§4.1", "the payload block has number 1", _payload_number),
    _rule(
        "§4.1", "block number 0 is the primary block's", _extension(r.NUMBER, b"\0"), extensions=1
    ),
    _rule("§4.1", "block number 1 is the payload's", _extension(r.NUMBER, b"\x01"), extensions=1),
    _rule("§4.1", "block numbers are unique", _same_number, extensions=2),
    _rule("§4.1", "integers have their shortest form", _long_integer),
    _rule("§4.1", "lengths have their shortest form", _long_length),
    _rule("§4.1", "array heads have their shortest form", _long_array),
)
"""Blocks: which, how many, in which order, with which numbers."""

CRC_RULES = (
    _rule("§4.2.1", "CRC types are 0, 1 and 2", _crc_type),
    _rule("§4.2.2", "a CRC matches", _crc_flipped),
    _rule("§4.2.2", "a CRC is in network byte order", _crc_backwards),
    _rule("§4.2.1", "type 2 is CRC-32C, not CRC-32", _crc_instead(
        CRC_32, lambda octets: zlib.crc32(octets + bytes(4)))),
    _rule("§4.2.1", "type 1 is X-25, not CCITT-FALSE", _crc_instead(
        CRC_16, lambda octets: crc16_ccitt(octets + bytes(2)))),
    _rule("§4.2.2", "a CRC covers its own field, as zeros", _crc_instead(CRC_32, crc32c)),
    _rule("§4.2.2", "a CRC has the size of its type", _crc_size),
    _rule("§4.2.2", "a CRC is a byte string of definite length", _crc_item),
    _rule("§4.2.2", "a block with a CRC type has a CRC", _crc_missing),
    _rule("§4.2.2", "a block with CRC type 0 has no CRC", _crc_too_many),
    _rule("§4.2.1", "a CRC type is an unsigned integer", _any_block(r.BLOCK_CRC_TYPE, *_NO_UINT)),
)  # fmt: skip
"""Checksums, among them such as others have computed instead."""

FLAG_RULES = (
    _rule("§4.2.3", "a record asks for no status reports", _flags(*_REPORTS), "record"),
    _rule("§4.2.3", "a bundle of nobody asks for no status reports", _flags(*_REPORTS),
          "anonymous"),
    _rule("§4.2.3", "a bundle of nobody must not be fragmented", _flags(0, clear=NO_FRAGMENT),
          "anonymous"),
    _rule("§4.2.3", "what must not be fragmented is no fragment", _flags(NO_FRAGMENT), "fragment"),
    _rule("§4.2.4", "no block of a record asks for a report", _block_report, "record"),
    _rule("§4.2.4", "no block of a bundle of nobody asks for a report", _block_report,
          "anonymous"),
    _rule("§4.2.3", "bundle flags are an unsigned integer", _primary(r.FLAGS, *_NO_UINT, _BIGNUM)),
    _rule("§4.2.4", "block flags are an unsigned integer", _any_block(
        r.BLOCK_FLAGS, *_NO_UINT, _BIGNUM)),
)  # fmt: skip
"""Flags that contradict one another, or are none."""

PRIMARY_RULES = (
    _rule("§4.3.1", "the version is 7", _primary(
        r.VERSION, b"\x06", b"\x08", b"\x00", b"\x18\x80", b"\x617", b"\x26")),
    _rule("§4.3.1", "a primary block has 8 fields and those it must: one less",
          _field_gone((r.DESTINATION, r.TIMESTAMP, r.LIFETIME))),
    _rule("§4.3.1", "a primary block has 8 fields and those it must: one more",
          _primary_field_more),
    _rule("§4.3.1", "a fragment has offset and total length", _field_gone((r.OFFSET, r.TOTAL)),
          "fragment"),
    _rule("§4.3.1", "the primary block has a CRC, or a BIB", _no_protection),
    _rule("§4.2.5.2", "a source is no group", _primary(r.SOURCE, *GROUPS)),
    _rule("§4.2.7", "a timestamp is a pair of numbers", _primary(
        r.TIMESTAMP, b"\x81\x01", b"\x83\x01\x01\x01", b"\x01", b"\x80", b"\x41\x01")),
    _rule("§4.2.6", "a creation time is an unsigned integer", _primary(
        r.TIMESTAMP, *(b"\x82" + item + b"\x01" for item in (*_NO_UINT, _BIGNUM)))),
    _rule("§4.2.7", "a sequence number is an unsigned integer", _primary(
        r.TIMESTAMP, *(b"\x82\x01" + item for item in (*_NO_UINT, _BIGNUM)))),
    _rule("§4.3.1", "a lifetime is an unsigned integer", _primary(
        r.LIFETIME, *_NO_UINT, _BIGNUM)),
    _rule("§4.4.2", "creation time 0 goes with an age block", _ageless),
    _rule("§5.8", "a fragment ends within its data unit", _beyond, "fragment"),
    _rule("§4.3.1", "a fragment offset is an unsigned integer", _primary(r.OFFSET, *_NO_UINT),
          "fragment"),
    _rule("§4.3.1", "a total length is an unsigned integer", _primary(r.TOTAL, *_NO_UINT),
          "fragment"),
)  # fmt: skip
"""The primary block; its EIDs have rules of their own."""

BLOCK_RULES = (
    _rule("§4.3.2", "a block has 5 or 6 fields: one less", _block_field_gone),
    _rule("§4.3.2", "a block has 5 or 6 fields: one more", _block_field_more),
    _rule("§4.3.2", "a block type is an unsigned integer", _extension(r.TYPE, *_NO_UINT),
          extensions=1),
    _rule("§4.3.2", "a block number is an unsigned integer", _extension(r.NUMBER, *_NO_UINT),
          extensions=1),
    _rule("§4.3.2", "block data is a byte string", _any_block(r.DATA, *_NO_BSTR, b"\xd8\x18\x40")),
    _rule("§4.3.2", "block data has a definite length", _any_block(
        r.DATA, b"\x5f\xff", b"\x5f\x41\x00\xff", b"\x5f\x41\x00\x42\x00\x00\xff")),
    _rule("§4.4.1", "a bundle has at most one previous node block", _twice(
        PREVIOUS_NODE, lambda choose: b"\x82\x02\x82" + cbor.uint(choose.uint(31, 1)) + b"\x00")),
    _rule("§4.4.2", "a bundle has at most one age block", _twice(
        BUNDLE_AGE, lambda choose: cbor.uint(choose.uint()))),
    _rule("§4.4.3", "a bundle has at most one hop count block", _twice(
        HOP_COUNT, lambda choose: b"\x82\x18\x40" + cbor.uint(choose.uint(8)))),
)  # fmt: skip
"""Canonical blocks, and how many there may be of each."""

CONTENT_RULES = (
    _rule("§4.4.1", "a previous node is no group", _content(PREVIOUS_NODE, *GROUPS)),
    _rule("§4.4.1", "a previous node is an EID and nothing else", _content(
        PREVIOUS_NODE, b"", b"\x00", b"\x41\x00", b"\x82\x01\x00\x00", b"\x67ipn:5.0")),
    _rule("§4.4.2", "an age is an unsigned integer and nothing else", _content(
        BUNDLE_AGE, b"", *_NO_UINT, _BIGNUM, b"\x00\x00", b"\x18")),
    _rule("§4.4.3", "a hop count is a pair of numbers and nothing else", _content(
        HOP_COUNT, b"", b"\x05", b"\x81\x05", b"\x83\x05\x01\x01", b"\x82\x05", b"\x82\x05\x20",
        b"\x82\x05\x01\x00")),
    _rule("§4.4.3", "a hop limit is 1 to 255", _content(
        HOP_COUNT, b"\x82\x00\x00", b"\x82\x19\x01\x00\x01", b"\x82\x1b" + b"\xff" * 8 + b"\x01")),
)  # fmt: skip
"""What is inside blocks: whoever uses them must look, forwarders of other blocks need not."""

BUNDLE_EID_RULES = tuple(BundleRule(violation, _eid(make)) for violation, make in EID_RULES)
"""Endpoint identifiers."""

BUNDLE_RECORD_RULES = tuple(
    BundleRule(violation, _record(make), "record") for violation, make in RECORD_RULES
)
"""Administrative records."""

BUNDLE_RULES: tuple[BundleRule, ...] = (
    *STRUCTURE_RULES,
    *CRC_RULES,
    *FLAG_RULES,
    *PRIMARY_RULES,
    *BLOCK_RULES,
    *CONTENT_RULES,
    *BUNDLE_RECORD_RULES,
    *BUNDLE_EID_RULES,
)
"""All."""
