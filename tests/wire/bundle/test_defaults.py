"""The blocks and identifiers that we make ourselves, field by field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stack.core.eid import Eid
from stack.wire.bundle import (
    CRC_16,
    CRC_NONE,
    REPLICATE,
    CanonicalBlock,
    bundle_age,
    decode_eid,
    encode_eid,
    hop_count,
    previous_node,
    priority_block,
)


@pytest.mark.parametrize(
    ("make", "kind", "number", "flags", "content"),
    [
        (lambda **more: previous_node(Eid.parse("ipn:1.0"), **more), 6, 2, 0, "8202820100"),
        (lambda **more: bundle_age(500, **more), 7, 3, REPLICATE, "1901f4"),
        (lambda **more: hop_count(30, 2, **more), 10, 4, REPLICATE, "82181e02"),
        (lambda **more: priority_block(3, **more), 192, 5, REPLICATE, "03"),
    ],
)
def test_blocks_of_our_own(
    make: Callable[..., Any], kind: int, number: int, flags: int, content: str
) -> None:
    data = bytes.fromhex(content)
    assert make() == CanonicalBlock(kind, number, flags, data, CRC_NONE)
    assert make(number=9) == CanonicalBlock(kind, 9, flags, data, CRC_NONE)
    assert make(crc_type=CRC_16) == CanonicalBlock(kind, number, flags, data, CRC_16)


def test_a_private_type_for_the_priority() -> None:
    assert priority_block(3, kind=201).type == 201


@pytest.mark.parametrize("octets", ["820100", "9f0100ff", "8201" + "1800"])
def test_the_null_endpoint(octets: str) -> None:
    eid, end = decode_eid(bytes.fromhex(octets), strict=False)
    assert end == len(octets) // 2
    assert str(eid) == "dtn:none"
    assert eid.is_null
    assert eid == Eid.parse("dtn:none")
    assert encode_eid(Eid.parse("dtn:none")) == bytes.fromhex("820100")
