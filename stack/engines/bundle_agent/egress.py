"""What changes in a bundle as it leaves (RFC 9171 §5.4), and fragmentation (§5.8)."""

from __future__ import annotations

from stack.core.eid import Eid
from stack.wire.bundle import (
    BUNDLE_AGE,
    HOP_COUNT,
    PREVIOUS_NODE,
    Bundle,
    CanonicalBlock,
    bundle_age,
    encrypted_blocks,
    free_number,
    hop_count,
    parse_bundle_age,
    parse_hop_count,
    previous_node,
)


def depart(
    bundle: Bundle, node: Eid, waited_ms: int, *, own: bool = False, hop_limit: int = 0
) -> Bundle:
    """A bundle as this node sends it on.

    The previous node block names us (§5.4 step 4), the hop count grows by one (§4.4.3), the age
    by the time that the bundle waited here (§4.4.2).  Everything else keeps its very octets, and
    so does what a BCB has encrypted: only who holds the key can change that.  A bundle of our
    `own` making names us and counts this hop already.  With a `hop_limit`, as of a node that
    cannot tell when lifetimes end, a bundle with neither age nor hop count begins to count here.
    """
    blocks: list[CanonicalBlock] = []
    encrypted = encrypted_blocks(bundle.blocks)
    named = own
    ends = own or not hop_limit
    for block in bundle.blocks:
        if block.number in encrypted:
            blocks.append(block)
            named = named or block.type == PREVIOUS_NODE  # there must be but one (§4.4.1)
            ends = ends or block.type == HOP_COUNT
        elif block.type == BUNDLE_AGE:
            blocks.append(_like(block, bundle_age(parse_bundle_age(block) + max(0, waited_ms))))
            ends = True
        elif own:
            blocks.append(block)
        elif block.type == PREVIOUS_NODE:
            blocks.append(_like(block, previous_node(node)))
            named = True
        elif block.type == HOP_COUNT:
            limit, count = parse_hop_count(block)
            blocks.append(_like(block, hop_count(limit, count + 1)))
            ends = True
        else:
            blocks.append(block)
    crc_type = bundle.primary.crc_type
    if not named:
        blocks.insert(0, previous_node(node, number=free_number(blocks), crc_type=crc_type))
    if not ends:
        blocks.insert(0, hop_count(hop_limit, 1, number=free_number(blocks), crc_type=crc_type))
    return Bundle(bundle.primary, tuple(blocks))


def aged(bundle: Bundle, more_ms: int) -> Bundle:
    """A bundle that is so much older, where it has an age in clear (§4.4.2).  Raises `DecodeError`
    for an age that cannot be read."""
    hidden = encrypted_blocks(bundle.blocks)
    blocks = [
        _like(block, bundle_age(parse_bundle_age(block) + more_ms))
        if block.type == BUNDLE_AGE and block.number not in hidden
        else block
        for block in bundle.blocks
    ]
    return Bundle(bundle.primary, tuple(blocks))


def _like(old: CanonicalBlock, new: CanonicalBlock) -> CanonicalBlock:
    """A block with new content and the number, flags and CRC type of the one that it replaces."""
    return CanonicalBlock(old.type, old.number, old.flags, new.data, old.crc_type)
