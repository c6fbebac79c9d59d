"""Hypothesis strategies for BPv7: EIDs, blocks, whole conforming bundles, and damaged octets."""

from __future__ import annotations

import dataclasses
import functools
import string

from hypothesis import strategies as st

from stack.core.eid import SCHEME_IPN, Eid
from stack.wire.bundle import (
    BUNDLE_AGE,
    CRC_32,
    HOP_COUNT,
    IS_ADMIN,
    IS_FRAGMENT,
    NO_FRAGMENT,
    PAYLOAD,
    PREVIOUS_NODE,
    REPORT_ANY,
    REPORT_UNPROCESSED,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    StatusReport,
    bundle_age,
    hop_count,
    previous_node,
    priority_block,
)

U32 = (1 << 32) - 1
U64 = (1 << 64) - 1

# Strategies are costly to build and cheap to draw from: each is built once.

_NODE_CHARS = string.ascii_letters + string.digits + "-._~!$&'()*+,;="
_DEMUX_CHARS = "".join(chr(code) for code in range(0x21, 0x7F))


@functools.cache
def uints(bits: int = 64, least: int = 0) -> st.SearchStrategy[int]:
    """Integers from `least` with the edges of every CBOR head width over-represented."""
    top = (1 << bits) - 1
    edges = (0, 23, 24, 0xFF, 0x100, 0xFFFF, 0x10000, U32, U32 + 1, U64)
    kept = [edge for edge in edges if least <= edge <= top]
    return st.sampled_from(kept) | st.integers(least, top)


@functools.cache
def dtn_eids() -> st.SearchStrategy[Eid]:
    """``dtn://node/demux`` of every shape that RFC 9171 §4.2.5.1.1 allows."""
    percent = st.integers(0, 255).map("%{:02x}".format)
    node = st.lists(st.sampled_from(_NODE_CHARS) | percent, min_size=1, max_size=40).map("".join)
    demux = st.text(_DEMUX_CHARS, max_size=40)
    return st.builds(lambda node, demux: Eid.parse(f"dtn://{node}/{demux}"), node, demux)


@functools.cache
def ipn_eids() -> st.SearchStrategy[Eid]:
    """ipn EIDs over the whole range of RFC 9758, null and local ones excepted."""
    parts = st.tuples(st.just(0) | uints(32), uints(32, 1), uints(64))
    endpoints = parts.map(lambda ssp: Eid(SCHEME_IPN, ssp))
    return endpoints.filter(lambda eid: not eid.is_local_node)


@functools.cache
def eids() -> st.SearchStrategy[Eid]:
    """Any EID of a known scheme, not null."""
    return dtn_eids() | ipn_eids()


@functools.cache
def nullable_eids() -> st.SearchStrategy[Eid]:
    """Any EID of a known scheme."""
    return eids() | st.sampled_from([Eid.NONE, Eid.parse("ipn:0.0")])


@functools.cache
def extension_blocks(crc_types: tuple[int, ...] = (0, 1, 2)) -> st.SearchStrategy[CanonicalBlock]:
    """One extension block of a known or unknown type; number 2, to be given another."""
    crc_type = st.sampled_from(crc_types)
    known = st.one_of(
        st.builds(previous_node, eids(), crc_type=crc_type),
        st.builds(bundle_age, uints(), crc_type=crc_type),
        st.builds(hop_count, st.integers(1, 255), uints(), crc_type=crc_type),
        st.builds(priority_block, uints(), crc_type=crc_type),
    )
    unknown = st.builds(
        CanonicalBlock,
        type=uints(64, HOP_COUNT + 1),
        number=st.just(2),
        flags=uints(8),
        data=st.binary(max_size=300),
        crc_type=crc_type,
    )
    return known | unknown


_ONCE = (PREVIOUS_NODE, BUNDLE_AGE, HOP_COUNT)


@functools.cache
def _extensions(crc_types: tuple[int, ...], most: int) -> st.SearchStrategy[list[CanonicalBlock]]:
    """Blocks that may stand beside each other, with numbers of their own."""
    if not most:
        return st.just([])
    blocks = st.lists(
        extension_blocks(crc_types),
        max_size=most,
        unique_by=lambda block: block.type if block.type in _ONCE else object(),
    )
    numbers = st.lists(uints(16, 2), min_size=most, max_size=most, unique=True)
    return st.builds(
        lambda drawn, numbers: [
            dataclasses.replace(block, number=number)
            for block, number in zip(drawn, numbers, strict=False)
        ],
        blocks,
        numbers,
    )


@functools.cache
def _primary_numbers() -> st.SearchStrategy[tuple[int, ...]]:
    """Creation time, sequence, lifetime, flags, payload flags, fragment offset, octets after."""
    return st.tuples(uints(64, 1), uints(), uints(), uints(21), uints(8), uints(40), uints(16))


_PAYLOAD = st.binary(max_size=600)


@st.composite
def bundles(
    draw: st.DrawFn,
    *,
    payload: st.SearchStrategy[bytes] = _PAYLOAD,
    crc_types: tuple[int, ...] = (0, 1, 2),
    whole: bool = False,
    extensions: int = 3,
) -> Bundle:
    """A bundle that keeps every rule of RFC 9171 §4; not a fragment if `whole`.

    At most `extensions` extension blocks.
    """
    data = draw(payload)
    destination, report_to = draw(nullable_eids()), draw(nullable_eids())
    source = draw(eids() if whole else nullable_eids())
    created, sequence, lifetime, flags, payload_flags, offset, after = draw(_primary_numbers())
    if not data or source.is_null or flags & NO_FRAGMENT:
        flags &= ~IS_FRAGMENT
    if whole:
        flags &= ~(IS_FRAGMENT | NO_FRAGMENT)
    block_mask = U64
    if source.is_null:
        flags |= NO_FRAGMENT
    if source.is_null or flags & IS_ADMIN:
        flags &= ~REPORT_ANY
        block_mask = ~REPORT_UNPROCESSED
    fragment = bool(flags & IS_FRAGMENT)
    crc_type = st.sampled_from(crc_types)
    primary = PrimaryBlock(
        destination,
        source,
        report_to,
        created,
        sequence,
        lifetime,
        flags,
        draw(crc_type) or CRC_32,
        offset if fragment else None,
        offset + len(data) + after if fragment else None,
    )
    last = CanonicalBlock(PAYLOAD, 1, payload_flags, data, draw(crc_type))
    blocks = (*draw(_extensions(crc_types, extensions)), last)
    return Bundle(
        primary,
        tuple(dataclasses.replace(block, flags=block.flags & block_mask) for block in blocks),
    )


@st.composite
def status_reports(draw: st.DrawFn) -> StatusReport:
    """Any bundle status report that RFC 9171 §6.1.1 can express."""
    asserted = draw(_FOUR_BOOLEANS)
    fragment = draw(_BOOLEANS)
    time_ms: int | None = None
    item_times: tuple[int | None, ...] | None = None
    if any(asserted):
        times = [draw(_TIMES) if flag else None for flag in asserted]
        told = {time for flag, time in zip(asserted, times, strict=True) if flag}
        if len(told) == 1:
            time_ms = told.pop()
        else:
            item_times = tuple(times)
    return StatusReport(
        source=draw(eids()),
        creation_ms=draw(uints()),
        sequence=draw(uints()),
        received=asserted[0],
        forwarded=asserted[1],
        delivered=asserted[2],
        deleted=asserted[3],
        time_ms=time_ms,
        reason=draw(uints(8)),
        fragment_offset=draw(uints()) if fragment else None,
        fragment_length=draw(uints()) if fragment else None,
        item_times_ms=item_times,
    )


_BOOLEANS = st.booleans()
_FOUR_BOOLEANS = st.tuples(*[_BOOLEANS] * 4)
_TIMES = st.none() | uints()


@st.composite
def damaged(draw: st.DrawFn, octets: st.SearchStrategy[bytes]) -> bytes:
    """Octets with a few of them overwritten, cut out, doubled or put in."""
    data = bytearray(draw(octets))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == 1:
            del data[at : at + draw(st.integers(1, 16))]
        elif kind == 2:
            data[at:at] = data[at : at + draw(st.integers(1, 16))]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=9))
    return bytes(data)
