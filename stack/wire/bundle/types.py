"""The blocks of a bundle as immutable values (RFC 9171 §4.3).

Every block remembers the octets that it was decoded from (`encoded`), so that a forwarding node
sends on what it did not change exactly as it came, CRC and non-canonical forms included.  Build a
changed block with its constructor: a new block has no `encoded`, and is encoded afresh.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stack.core.eid import Eid
from stack.core.train import Buffer
from stack.core.value import quick

# Bundle processing control flags, RFC 9171 §4.2.3
IS_FRAGMENT = 0x000001
IS_ADMIN = 0x000002
NO_FRAGMENT = 0x000004
ACK_REQUESTED = 0x000020
STATUS_TIME = 0x000040
REPORT_RECEPTION = 0x004000
REPORT_FORWARDING = 0x010000
REPORT_DELIVERY = 0x020000
REPORT_DELETION = 0x040000
REPORT_ANY = REPORT_RECEPTION | REPORT_FORWARDING | REPORT_DELIVERY | REPORT_DELETION

# Block processing control flags, RFC 9171 §4.2.4
REPLICATE = 0x01
REPORT_UNPROCESSED = 0x02
DELETE_UNPROCESSED = 0x04
DISCARD_UNPROCESSED = 0x10

PAYLOAD_NUMBER = 1
"""Block number of the payload block (RFC 9171 §4.3.3)."""

# Block types, RFC 9171 §9.1 and RFC 9172 §11.1
PAYLOAD = 1
PREVIOUS_NODE = 6
BUNDLE_AGE = 7
HOP_COUNT = 10
BLOCK_INTEGRITY = 11
BLOCK_CONFIDENTIALITY = 12
PRIORITY = 192
"""Our priority block unless a node is configured otherwise (RFC 9171 §9.1: 192-255 are for private
use): one unsigned integer, larger goes first."""

BUNDLE_PADDING = 198
"""Zeros: of no type that anybody knows, so that whoever takes in the bundle leaves them out."""

DATA_POLICY = 197
"""Our data policy block, likewise for private use: see `stack.policy.label`."""

# CRC types, RFC 9171 §4.2.1
CRC_NONE = 0
CRC_16 = 1
CRC_32 = 2


@quick
@dataclass(frozen=True, slots=True)
class PrimaryBlock:
    """RFC 9171 §4.3.1.  Fragment fields are None unless `flags` has IS_FRAGMENT."""

    destination: Eid
    source: Eid
    report_to: Eid
    creation_ms: int
    sequence: int
    lifetime_ms: int
    flags: int = 0
    crc_type: int = CRC_32
    fragment_offset: int | None = None
    total_adu_length: int | None = None
    version: int = 7
    encoded: bytes | None = field(default=None, compare=False, repr=False)
    plain: bool = field(default=False, compare=False, repr=False)
    """Whether `encoded` is known to be in deterministic encoding (RFC 8949 §4.2.1)."""


@quick
@dataclass(frozen=True, slots=True)
class CanonicalBlock:
    """RFC 9171 §4.3.2.  `data` is the content of the block-type-specific byte string."""

    type: int
    number: int
    flags: int
    data: Buffer
    crc_type: int = CRC_NONE
    encoded: Buffer | None = field(default=None, compare=False, repr=False)


@quick
@dataclass(frozen=True, slots=True)
class Bundle:
    """A whole bundle; the payload block is the last of `blocks` (RFC 9171 §4.1)."""

    primary: PrimaryBlock
    blocks: tuple[CanonicalBlock, ...]
    opening: bytes = field(default=b"\x9f", compare=False, repr=False)
    """Head of the outer array as it came: other than 0x9f only when read leniently."""

    @property
    def payload(self) -> CanonicalBlock:
        """The payload block."""
        return self.blocks[-1]

    def block(self, block_type: int) -> CanonicalBlock | None:
        """The first block of a type, or None."""
        for candidate in self.blocks:
            if candidate.type == block_type:
                return candidate
        return None
