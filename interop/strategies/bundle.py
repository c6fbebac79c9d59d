"""Valid BPv7 (RFC 9171, RFC 9758): endpoint identifiers, blocks, bundles, fragments, records.

What breaks a rule is in `interop.strategies.nearly_bundle`, what is legal and yet hard to bear in
`interop.strategies.hostile`.
"""

from __future__ import annotations

import dataclasses
import itertools
import string
from collections.abc import Sequence
from typing import Literal

from interop.strategies.choices import Choices, Source
from interop.strategies.making import strategy
from stack.core.eid import IPN_LOCAL_NODE, SCHEME_DTN, SCHEME_IPN, Eid
from stack.wire import cbor
from stack.wire.bundle import (
    BUNDLE_AGE,
    CRC_32,
    CRC_NONE,
    HOP_COUNT,
    IS_ADMIN,
    IS_FRAGMENT,
    NO_FRAGMENT,
    PAYLOAD,
    PREVIOUS_NODE,
    REPLICATE,
    REPORT_ANY,
    REPORT_UNPROCESSED,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    StatusReport,
    bundle_age,
    encode_bundle,
    encode_eid,
    encode_status_report,
    hop_count,
    previous_node,
    priority_block,
)

PAYLOAD_BYTES = 600
"""Payloads that nobody asked for otherwise have at most so many octets."""

EXTENSIONS = 3
"""And bundles so many extension blocks."""

Kind = Literal["any", "whole", "fragment", "anonymous", "record"]
"""Bundles of any kind; such as may be fragmented and are not; fragments; bundles of nobody; whole
bundles that carry a status report."""

_NODE_CHARS = string.ascii_letters + string.digits + "-._~!$&'()*+,;="
_DEMUX_CHARS = "".join(chr(code) for code in range(0x21, 0x7F))
_ONCE = (PREVIOUS_NODE, BUNDLE_AGE, HOP_COUNT)
_NULLS = (Eid.NONE, Eid.parse("ipn:0.0"))
_ALL = (1 << 64) - 1


# ---- endpoint identifiers


@strategy
def dtn_eids(choose: Choices) -> Eid:
    """``dtn://node/demux`` of every shape that RFC 9171 §4.2.5.1.1 allows."""
    node = choose.text(_NODE_CHARS, 1, 40)
    if choose.flip(4):
        at = choose.integer(0, len(node))
        node = f"{node[:at]}%{choose.integer(0, 255):02x}{node[at:]}"
    return Eid(SCHEME_DTN, f"//{node}/{choose.text(_DEMUX_CHARS, 0, 40)}")


@strategy
def ipn_eids(choose: Choices) -> Eid:
    """ipn EIDs over the whole range of RFC 9758, null and local ones excepted."""
    allocator = choose.uint(32) if choose.flip() else 0
    node = choose.uint(32, 1)
    if node == IPN_LOCAL_NODE and not allocator:
        node -= 1
    return Eid(SCHEME_IPN, (allocator, node, choose.uint()))


@strategy
def eids(choose: Choices) -> Eid:
    """Any EID of a known scheme, not null."""
    return dtn_eids.make(choose) if choose.flip() else ipn_eids.make(choose)


@strategy
def nullable_eids(choose: Choices) -> Eid:
    """Any EID of a known scheme."""
    return choose.pick(_NULLS) if choose.flip(4) else eids.make(choose)


@strategy
def encoded_eids(choose: Choices) -> bytes:
    """Any EID in one of its encodings: of an ipn EID there are two (RFC 9758 §6.1)."""
    eid = nullable_eids.make(choose)
    if isinstance(eid.ssp, tuple) and choose.flip():
        return b"\x82\x02\x83" + b"".join(map(cbor.uint, eid.ssp))
    return encode_eid(eid)


def _node_eid(choose: Choices) -> Eid:
    """One of a node, and not of a group (RFC 9171 §4.2.5.2)."""
    eid = eids.make(choose)
    return eid if eid.is_singleton else eid.node


# ---- blocks


@strategy
def extension_blocks(choose: Choices, crc_types: Sequence[int] = (0, 1, 2)) -> CanonicalBlock:
    """One extension block of a known or unknown type; number 2, to be given another."""
    crc_type = choose.pick(crc_types)
    which = choose.integer(0, 7)
    if which == 0:
        return previous_node(_node_eid(choose), crc_type=crc_type)
    if which == 1:
        return bundle_age(choose.uint(), number=2, crc_type=crc_type)
    if which == 2:
        limit = choose.integer(1, 255)
        return hop_count(limit, choose.uint(), number=2, crc_type=crc_type)
    if which == 3:
        return priority_block(choose.uint(), number=2, crc_type=crc_type)
    kind = choose.uint(64, HOP_COUNT + 3)  # beyond the security blocks, which are not so simple
    flags = choose.uint(8)
    return CanonicalBlock(kind, 2, flags, choose.octets(0, 300), crc_type)


@strategy
def primary_blocks(choose: Choices, kind: Kind = "any") -> PrimaryBlock:
    """The primary block of some bundle."""
    return bundles.make(choose, kind=kind, extensions=0).primary


def _extensions(
    choose: Choices,
    blocks: Source[CanonicalBlock] | None,
    crc_types: Sequence[int],
    least: int,
    most: int,
) -> list[CanonicalBlock]:
    """Blocks that may stand beside each other, with numbers of their own."""
    found: list[CanonicalBlock] = []
    taken: set[int] = set()
    for _ in choose.many(least, most):
        block = (
            choose.draw(blocks) if blocks is not None else extension_blocks.make(choose, crc_types)
        )
        if block.type in _ONCE and block.type in taken:
            if blocks is not None:
                continue
            crc_type = CRC_NONE if CRC_NONE in crc_types else block.crc_type
            block = priority_block(choose.uint(), crc_type=crc_type)
        number = choose.uint(16, 2)
        while ~number in taken:
            number = number % 0xFFFF + 2
        taken |= {block.type, ~number}
        found.append(CanonicalBlock(block.type, number, block.flags, block.data, block.crc_type))
    return found


# ---- bundles


@strategy
def bundles(
    choose: Choices,
    payload: Source[bytes] | None = None,
    blocks: Source[CanonicalBlock] | None = None,
    crc_types: Sequence[int] = (0, 1, 2),
    kind: Kind = "any",
    extensions: int = EXTENSIONS,
    extensions_min: int = 0,
    payload_min: int = 0,
) -> Bundle:
    """A bundle that keeps every rule of RFC 9171 §4.

    `payload` and `blocks` are where the payload, of `payload_min` octets or more, and each of
    `extensions_min` to `extensions` extension blocks come from; blocks get numbers of their own.
    Blocks have one of `crc_types`; the primary block has one in any case.
    """
    flags = choose.uint(21)
    source = _node_eid(choose)
    if kind == "anonymous" or (kind == "any" and choose.flip(4)):
        source = choose.pick(_NULLS)
    data, flags = _payload(choose, payload, kind, flags, payload_min)
    if source.is_null:
        flags = flags & ~IS_FRAGMENT | NO_FRAGMENT
    elif kind == "fragment":
        flags = flags & ~NO_FRAGMENT | IS_FRAGMENT
    elif kind != "any":
        flags &= ~(IS_FRAGMENT | NO_FRAGMENT)
    elif not data or flags & NO_FRAGMENT:
        flags &= ~IS_FRAGMENT
    mask = _ALL
    if source.is_null or flags & IS_ADMIN:
        flags &= ~REPORT_ANY
        mask = ~REPORT_UNPROCESSED
    found = _extensions(choose, blocks, crc_types, extensions_min, extensions)
    found.append(CanonicalBlock(PAYLOAD, 1, choose.uint(8), data, choose.pick(crc_types)))
    if mask != _ALL:
        found = [dataclasses.replace(block, flags=block.flags & mask) for block in found]
    offset = total = None
    if flags & IS_FRAGMENT:
        offset = choose.uint(40)
        total = offset + len(data) + choose.uint(16)
    aged = any(block.type == BUNDLE_AGE for block in found)
    primary = PrimaryBlock(
        nullable_eids.make(choose),
        source,
        nullable_eids.make(choose),
        0 if aged and choose.flip(4) else choose.uint(64, 1),  # RFC 9171 §4.2.7
        choose.uint(),
        choose.uint(),
        flags,
        choose.pick(crc_types) or CRC_32,
        offset,
        total,
    )
    return Bundle(primary, tuple(found))


@strategy
def encoded_bundles(
    choose: Choices,
    *,
    payload: Source[bytes] | None = None,
    blocks: Source[CanonicalBlock] | None = None,
    crc_types: Sequence[int] = (0, 1, 2),
    kind: Kind = "any",
    extensions: int = EXTENSIONS,
) -> bytes:
    """The octets of such bundles."""
    return encode_bundle(bundles.make(choose, payload, blocks, crc_types, kind, extensions))


def _payload(
    choose: Choices, payload: Source[bytes] | None, kind: Kind, flags: int, least: int
) -> tuple[bytes, int]:
    """Octets for a payload, and the flags with which they are what these say."""
    if kind == "record":
        return encode_status_report(status_reports.make(choose)), flags | IS_ADMIN
    if payload is not None:
        return choose.draw(payload), flags & ~IS_ADMIN
    if flags & IS_ADMIN and not flags & IS_FRAGMENT and kind == "any":
        return encode_status_report(status_reports.make(choose)), flags
    if kind != "fragment":
        flags &= ~IS_ADMIN
    return choose.octets(1 if kind == "fragment" else least, PAYLOAD_BYTES), flags


@strategy
def fragment_sets(
    choose: Choices, *, bundle: Source[Bundle] | None = None, most: int = 6
) -> tuple[Bundle, ...]:
    """All fragments of one data unit (RFC 9171 §5.8), in any order, some of them overlapping or
    there twice.  `bundle` must be whole, and have at least one octet of payload."""
    whole = choose.draw(bundle) if bundle is not None else bundles.make(choose, kind="whole")
    data = bytes(whole.payload.data) or b"\0"
    cuts = {0, len(data)}
    for _ in choose.many(1, most - 1):
        cuts.add(choose.integer(0, len(data)))
    starts = sorted(cuts)
    found = []
    for start, end in itertools.pairwise(starts):
        if choose.flip(4):  # what is sent on another path need not end where this one does
            end = choose.integer(end, len(data))
        found.append(fragment_of(whole, start, data[start:end], len(data)))
    if choose.flip(4):
        found.append(choose.pick(found))
    for at in range(len(found) - 1, 0, -1):
        other = at - choose.integer(0, at)
        found[at], found[other] = found[other], found[at]
    return tuple(found)


def fragment_of(whole: Bundle, offset: int, data: bytes, total: int) -> Bundle:
    """The fragment of a bundle that has these octets at this offset: extension blocks go with
    the first one, and with the others if they are to be replicated (RFC 9171 §5.8)."""
    primary = dataclasses.replace(
        whole.primary,
        flags=whole.primary.flags | IS_FRAGMENT,
        fragment_offset=offset,
        total_adu_length=total,
        encoded=None,
    )
    kept = [block for block in whole.blocks[:-1] if offset == 0 or block.flags & REPLICATE]
    if not primary.creation_ms and not any(block.type == BUNDLE_AGE for block in kept):
        kept += [block for block in whole.blocks[:-1] if block.type == BUNDLE_AGE]
    payload = dataclasses.replace(whole.payload, data=data, encoded=None)
    return Bundle(primary, (*kept, payload))


# ---- administrative records


@strategy
def status_reports(choose: Choices) -> StatusReport:
    """Any bundle status report that RFC 9171 §6.1.1 can express."""
    asserted = [choose.flip() for _ in range(4)]
    fragment = choose.flip()
    time_ms: int | None = None
    item_times: tuple[int | None, ...] | None = None
    if any(asserted):
        alike = choose.uint() if choose.flip() else None
        times = [alike] * 4 if choose.flip() else [choose.uint() for _ in asserted]
        kept = [time if flag else None for flag, time in zip(asserted, times, strict=True)]
        told = {time for flag, time in zip(asserted, kept, strict=True) if flag}
        if len(told) == 1:
            time_ms = told.pop()
        else:
            item_times = tuple(kept)
    return StatusReport(
        source=eids.make(choose),
        creation_ms=choose.uint(),
        sequence=choose.uint(),
        received=asserted[0],
        forwarded=asserted[1],
        delivered=asserted[2],
        deleted=asserted[3],
        time_ms=time_ms,
        reason=choose.uint(8),
        fragment_offset=choose.uint() if fragment else None,
        fragment_length=choose.uint() if fragment else None,
        item_times_ms=item_times,
    )


@strategy
def encoded_status_reports(choose: Choices) -> bytes:
    """Their octets: the payload of a bundle that carries one."""
    return encode_status_report(status_reports.make(choose))
