"""Hypothesis strategies for BPv7: EIDs, blocks, whole conforming bundles, and damaged octets."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from stack.core.eid import SCHEME_IPN, Eid
from stack.wire.bundle import (
    BUNDLE_AGE,
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

_NODE_CHARS = string.ascii_letters + string.digits + "-._"
_DEMUX_CHARS = "".join(chr(code) for code in range(0x21, 0x7F))


def uints(bits: int = 64) -> st.SearchStrategy[int]:
    """Integers with the edges of every CBOR head width over-represented."""
    top = (1 << bits) - 1
    edges = (0, 23, 24, 0xFF, 0x100, 0xFFFF, 0x10000, U32, U32 + 1, U64)
    return st.sampled_from([edge for edge in edges if edge <= top]) | st.integers(0, top)


def dtn_eids() -> st.SearchStrategy[Eid]:
    """``dtn://node/demux`` of every shape that RFC 9171 §4.2.5.1.1 allows."""
    node = st.text(_NODE_CHARS, min_size=1, max_size=40)
    demux = st.text(_DEMUX_CHARS, max_size=40)
    return st.builds(lambda node, demux: Eid.parse(f"dtn://{node}/{demux}"), node, demux)


def ipn_eids() -> st.SearchStrategy[Eid]:
    """ipn EIDs over the whole range of RFC 9758, null excepted."""
    return st.builds(
        lambda allocator, node, service: Eid(SCHEME_IPN, (allocator, node, service)),
        st.just(0) | uints(32),
        uints(32).filter(bool),
        uints(64),
    )


def eids() -> st.SearchStrategy[Eid]:
    """Any EID of a known scheme, not null."""
    return dtn_eids() | ipn_eids()


def nullable_eids() -> st.SearchStrategy[Eid]:
    """Any EID of a known scheme."""
    return eids() | st.sampled_from([Eid.NONE, Eid.parse("ipn:0.0")])


def extension_blocks(crc_type: st.SearchStrategy[int]) -> st.SearchStrategy[CanonicalBlock]:
    """One extension block of a known or unknown type; number 2, to be given another."""
    known = st.one_of(
        st.builds(previous_node, eids(), crc_type=crc_type),
        st.builds(bundle_age, uints(), crc_type=crc_type),
        st.builds(hop_count, st.integers(1, 255), uints(), crc_type=crc_type),
        st.builds(priority_block, uints(), crc_type=crc_type),
    )
    unknown = st.builds(
        CanonicalBlock,
        type=uints().filter(lambda kind: kind != PAYLOAD and kind not in _ONCE),
        number=st.just(2),
        flags=uints(8),
        data=st.binary(max_size=300),
        crc_type=crc_type,
    )
    return known | unknown


_ONCE = (PREVIOUS_NODE, BUNDLE_AGE, HOP_COUNT)


@st.composite
def bundles(
    draw: st.DrawFn,
    *,
    payload: st.SearchStrategy[bytes] | None = None,
    crc_types: tuple[int, ...] = (0, 1, 2),
    whole: bool = False,
) -> Bundle:
    """A bundle that keeps every rule of RFC 9171 §4; not a fragment if `whole`."""
    crc_type = st.sampled_from(crc_types)
    data = draw(payload if payload is not None else st.binary(max_size=600))
    source = draw(eids() if whole else nullable_eids())
    flags = draw(uints(21)) & ~IS_FRAGMENT
    block_mask = U64
    if source.is_null:
        flags = flags & ~REPORT_ANY | NO_FRAGMENT
    if flags & IS_ADMIN:
        flags &= ~REPORT_ANY
    if source.is_null or flags & IS_ADMIN:
        block_mask = ~REPORT_UNPROCESSED
    if whole:
        flags &= ~NO_FRAGMENT
    fragment_offset = total = None
    if data and not whole and not flags & NO_FRAGMENT and draw(st.booleans()):
        flags |= IS_FRAGMENT
        fragment_offset = draw(uints(40))
        total = fragment_offset + len(data) + draw(uints(16))
    primary = PrimaryBlock(
        destination=draw(nullable_eids()),
        source=source,
        report_to=draw(nullable_eids()),
        creation_ms=draw(uints().filter(bool)),
        sequence=draw(uints()),
        lifetime_ms=draw(uints()),
        flags=flags,
        crc_type=draw(st.sampled_from([kind for kind in crc_types if kind] or [2])),
        fragment_offset=fragment_offset,
        total_adu_length=total,
    )
    drawn = draw(
        st.lists(
            extension_blocks(crc_type),
            max_size=4,
            unique_by=lambda block: block.type if block.type in _ONCE else object(),
        )
    )
    numbers = draw(
        st.lists(
            uints(16).filter(lambda number: number > 1),
            min_size=len(drawn),
            max_size=len(drawn),
            unique=True,
        )
    )
    blocks = tuple(
        CanonicalBlock(block.type, number, block.flags & block_mask, block.data, block.crc_type)
        for block, number in zip(drawn, numbers, strict=True)
    )
    last = CanonicalBlock(PAYLOAD, 1, draw(uints(8)) & block_mask, data, draw(crc_type))
    return Bundle(primary, (*blocks, last))


@st.composite
def status_reports(draw: st.DrawFn) -> StatusReport:
    """Any bundle status report that RFC 9171 §6.1.1 can express."""
    asserted = draw(st.tuples(*[st.booleans()] * 4))
    fragment = draw(st.booleans())
    time_ms: int | None = None
    item_times: tuple[int | None, ...] | None = None
    if any(asserted):
        times = [draw(st.none() | uints()) if flag else None for flag in asserted]
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
