"""This project's own readers as implementations among others."""

from __future__ import annotations

from importlib import metadata

from interop.differential.verdict import Value, Verdict, refused
from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.wire.asb import decode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    BUNDLE_AGE,
    DELETE_UNPROCESSED,
    DISCARD_UNPROCESSED,
    HOP_COUNT,
    IS_ADMIN,
    IS_FRAGMENT,
    LENIENT,
    PREVIOUS_NODE,
    REPORT_DELETION,
    REPORT_UNPROCESSED,
    STRICT,
    Bundle,
    CanonicalBlock,
    check_bundle,
    decode_admin,
    decode_bundle,
    encode_bundle,
    encode_primary,
    encrypted_blocks,
    parse_bundle_age,
    parse_hop_count,
    parse_previous_node,
)


def version() -> str:
    """Of this project as it is installed."""
    try:
        return metadata.version("orbitferry")
    except metadata.PackageNotFoundError:
        return "?"


class OurBundles:
    """Our decoder of bundles, strict (all that RFC 9171 §4 asks for) or lenient (what is known of
    others' habits is taken), with the content of every block that RFC 9171 and 9172 define."""

    def __init__(self, *, strict: bool = True) -> None:
        self._mode = STRICT if strict else LENIENT
        self.name = "orbitferry" if strict else "orbitferry lenient"
        self.version = version()

    def read(self, encoded: bytes) -> Verdict:
        """RFC 9171 §4, §5.6."""
        try:
            bundle, end = decode_bundle(encoded, mode=self._mode)
            if end != len(encoded):
                raise DecodeError("octets after the bundle", "RFC 9171 §4.1", end)
            check_bundle(bundle)
            fields = bundle_fields(bundle)
            _contents(bundle, fields)
        except DecodeError as error:
            return refused(error.reason, error.section)
        return Verdict(True, fields=fields, sent=encode_bundle(bundle))


def endpoint(eid: Eid) -> str:
    """An EID as all implementations name it: an ipn EID with its node number in one piece
    (RFC 9758 §6.1.1)."""
    if isinstance(eid.ssp, tuple):
        allocator, node, service = eid.ssp
        return f"ipn:{allocator << 32 | node}.{service}"
    return str(eid)


def bundle_fields(bundle: Bundle) -> dict[str, Value]:
    """What the octets of the blocks say, contents apart."""
    primary, blocks = bundle.primary, bundle.blocks
    fields: dict[str, Value] = {
        "primary block": encode_primary(primary),
        "destination": endpoint(primary.destination),
        "source": endpoint(primary.source),
        "report to": endpoint(primary.report_to),
        "creation time": primary.creation_ms,
        "sequence number": primary.sequence,
        "lifetime": primary.lifetime_ms,
        "bundle flags": primary.flags,
        "primary CRC type": primary.crc_type,
        "deletion report asked for": int(bool(primary.flags & REPORT_DELETION)),
        "block types": tuple(block.type for block in blocks),
        "block numbers": tuple(block.number for block in blocks),
        "block flags": tuple(block.flags for block in blocks),
        "block CRC types": tuple(block.crc_type for block in blocks),
        "block sizes": tuple(len(block.data) for block in blocks),
        "payload": bytes(bundle.payload.data),
        "delete if unprocessed": _bits(blocks, DELETE_UNPROCESSED),
        "discard if unprocessed": _bits(blocks, DISCARD_UNPROCESSED),
        "report if unprocessed": _bits(blocks, REPORT_UNPROCESSED),
    }
    if primary.flags & IS_FRAGMENT:
        fields["fragment offset"] = primary.fragment_offset or 0
        fields["total length"] = primary.total_adu_length or 0
    return fields


def _bits(blocks: tuple[CanonicalBlock, ...], flag: int) -> tuple[int, ...]:
    return tuple(int(bool(block.flags & flag)) for block in blocks)


def _contents(bundle: Bundle, fields: dict[str, Value]) -> None:
    """Read every block of a known type that is not encrypted.  Raises `DecodeError`."""
    encrypted = encrypted_blocks(bundle.blocks)
    for block in bundle.blocks:
        if block.number in encrypted:
            continue
        if block.type == PREVIOUS_NODE:
            fields["previous node"] = endpoint(parse_previous_node(block))
        elif block.type == BUNDLE_AGE:
            fields["bundle age"] = parse_bundle_age(block)
        elif block.type == HOP_COUNT:
            fields["hop limit and count"] = parse_hop_count(block)
        elif block.type in (BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY):
            decode_asb(block.data)
    primary = bundle.primary
    whole = not primary.flags & IS_FRAGMENT
    if primary.flags & IS_ADMIN and whole and bundle.payload.number not in encrypted:
        decode_admin(bundle.payload.data)
