"""Hypothesis strategies for legal CBOR in other forms than ours: RFC 9171 §4.1 asks for core
deterministic encoding "except that indefinite-length items are not prohibited", and RFC 9758 §6.1
has two encodings of an ipn EID."""

from __future__ import annotations

import dataclasses
from typing import Any

import cbor2
from hypothesis import strategies as st

from interop.strategies.bundle import bundles, eids
from stack.core.eid import Eid
from stack.wire.bundle import HOP_COUNT, PREVIOUS_NODE, Bundle, CanonicalBlock
from tests.wire.bundle import reference


@st.composite
def loose(draw: st.DrawFn, item: Any) -> bytes:
    """An item in any legal form.  Byte strings keep a definite length, as block data and CRCs must
    have (RFC 9171 §4.2.1, §4.3.2)."""
    if isinstance(item, str):
        return draw(_loose_text(item))
    if not isinstance(item, list):
        return bytes(cbor2.dumps(item, canonical=True))
    if len(item) == 2 and item[0] == 2 and isinstance(item[1], list) and draw(st.booleans()):
        packed, service = item[1]
        item = [2, [packed >> 32, packed & 0xFFFF_FFFF, service]]
    parts = b"".join(draw(loose(part)) for part in item)
    if draw(st.booleans()):
        return b"\x9f" + parts + b"\xff"
    return bytes(cbor2.dumps([0] * len(item)))[: -len(item) or None] + parts


@st.composite
def _loose_text(draw: st.DrawFn, text: str) -> bytes:
    if draw(st.booleans()):
        return bytes(cbor2.dumps(text))
    cut = draw(st.integers(0, len(text)))
    chunks = draw(st.sampled_from([[text], [text[:cut], text[cut:]], [""] * (not text)]))
    return b"\x7f" + b"".join(bytes(cbor2.dumps(chunk)) for chunk in chunks or [text]) + b"\xff"


@st.composite
def loose_eids(draw: st.DrawFn) -> tuple[Eid, bytes]:
    """An EID, and any legal encoding of it."""
    eid = draw(eids())
    return eid, draw(loose(reference.eid_item(eid)))


@st.composite
def loose_bundles(
    draw: st.DrawFn, *, whole: bool = False, payload_min: int = 1
) -> tuple[Bundle, bytes]:
    """A bundle, and its octets with whatever forms RFC 9171 allows in every block and in the data
    of those blocks that have arrays."""
    bundle = draw(
        bundles(
            kind="whole" if whole else "any", payload=st.binary(min_size=payload_min, max_size=200)
        )
    )
    bundle = Bundle(bundle.primary, tuple(_loose_data(draw, block) for block in bundle.blocks))
    return bundle, reference.encode(bundle, lambda item: draw(loose(item)))


def _loose_data(draw: st.DrawFn, block: CanonicalBlock) -> CanonicalBlock:
    if block.type not in (HOP_COUNT, PREVIOUS_NODE):
        return block
    return dataclasses.replace(block, data=draw(loose(cbor2.loads(block.data))))
