"""Endpoint identifiers on the wire (RFC 9171 §4.2.5.1, RFC 9758 §6)."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from stack.core.eid import EID_CHARS_MAX, SCHEME_DTN, SCHEME_IPN, Eid
from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer
from stack.wire import cbor

EID_BYTES_MAX = EID_CHARS_MAX + 16
"""Array head, scheme code and string head beside the longest scheme-specific part."""

_SECTION = "RFC 9171 §4.2.5.1"

UINT_WIDTH = (*[1] * 24, 2, 3, 5, 9, *[0] * 228)
"""Octets that an unsigned integer takes, by its first octet; 0 for what begins something else."""


def encode_eid(eid: Eid) -> bytes:
    """The encoding of an EID: as it came, or else ours (`canonical_eid`).  Raises `LocalError`."""
    return eid.encoded or canonical_eid(eid)


@lru_cache(maxsize=4096)
def canonical_eid(eid: Eid) -> bytes:
    """The one encoding that all EIDs of an endpoint share; of an ipn EID the two-element form,
    which every BPv7 node reads (RFC 9758 §6.1.1).

    Raises `LocalError` when an opaque EID is not well-formed CBOR, and for ``ipn:!.service``,
    which must not leave the node (RFC 9758 §3.4.2).
    """
    ssp = eid.ssp
    if isinstance(ssp, str):
        encoded = cbor.uint(0) if ssp == "none" else cbor.tstr(ssp)  # RFC 9171 §4.2.5.1.1
    elif isinstance(ssp, tuple):
        if eid.is_local_node:
            raise LocalError(f"{eid} has a meaning on its own node only (RFC 9758 §3.4.2)")
        encoded = cbor.array((cbor.uint(ssp[0] << 32 | ssp[1]), cbor.uint(ssp[2])))
    else:
        try:
            end = cbor.skip_item(ssp, 0, strict=False)
        except DecodeError as error:
            raise LocalError(f"{eid} is not well-formed: {error.reason}") from error
        if end != len(ssp):
            raise LocalError(f"{eid} holds more than one CBOR item")
        encoded = ssp
    return b"\x82" + cbor.uint(eid.scheme) + encoded


def decode_eid(data: Buffer, offset: int = 0, *, strict: bool = True) -> tuple[Eid, int]:
    """Read an EID: (the EID, offset after it).  Raises `DecodeError`.

    Flows use the same few EIDs over and over: the octets are delimited first, and then looked up
    in a bounded table, so that only new ones are taken apart.
    """
    end = _eid_end(data, offset, strict)
    if end - offset > EID_BYTES_MAX:
        raise DecodeError("endpoint identifier too long", _SECTION, offset)
    try:
        octets = data[offset:end]
        return _known_eid(octets if type(octets) is bytes else bytes(octets), strict), end
    except DecodeError as error:
        raise DecodeError(error.reason, error.section, offset) from None


def is_plain(eid: Eid) -> bool:
    """Whether an EID that was read strictly came in deterministic encoding (RFC 8949 §4.2.1)."""
    if eid.encoded is None and not isinstance(eid.ssp, bytes):
        return True  # it came in the one encoding that we would give it
    encoded = encode_eid(eid)
    return cbor.deterministic(encoded) == encoded


def _eid_end(data: Buffer, offset: int, strict: bool) -> int:
    """Where the EID at `offset` ends."""
    try:
        if data[offset] == 0x82:
            kind = data[offset + 1 : offset + 3]
            if kind[0] == SCHEME_DTN:
                if not kind[1]:
                    return offset + 3  # dtn:none
                start = offset + 3
                size = kind[1] - 0x60
                if size == 24:
                    size = data[start]
                    start += 1
                if 0x60 < kind[1] <= 0x78 and start + size <= len(data):
                    return start + size
            elif kind[0] == SCHEME_IPN and kind[1] == 0x82:
                node = UINT_WIDTH[data[offset + 3]]
                service = UINT_WIDTH[data[offset + 3 + node]]
                if node and service and offset + 3 + node + service <= len(data):
                    return offset + 3 + node + service
    except IndexError:
        raise DecodeError("truncated endpoint identifier", _SECTION, offset) from None
    return cbor.skip_item(data, offset, strict)


@lru_cache(maxsize=4096)
def _known_eid(encoded: bytes, strict: bool) -> Eid:
    if not strict:
        try:
            return _known_eid(encoded, True)
        except DecodeError:
            return _read_eid(encoded, False)  # whoever sends this EID on writes it as is legal
    eid = _read_eid(encoded, True)
    return eid if encoded == canonical_eid(eid) else replace(eid, encoded=encoded)


def _read_eid(encoded: bytes, strict: bool) -> Eid:
    if encoded[:1] == cbor.ARRAY_OPEN:
        count, offset = cbor.INDEFINITE, 1
    else:
        count, offset = cbor.read_array(encoded, 0, strict)
    scheme, offset = cbor.read_uint(encoded, offset, strict)
    end = cbor.skip_item(encoded, offset, strict)
    after = cbor.BREAK if count == cbor.INDEFINITE else b""
    if count not in (2, cbor.INDEFINITE) or encoded[end:] != after:
        raise DecodeError("an EID is an array of two items", _SECTION)
    ssp = encoded[offset:end]
    if scheme not in (SCHEME_DTN, SCHEME_IPN):
        return Eid(scheme, ssp)
    read = _read_dtn if scheme == SCHEME_DTN else _read_ipn
    try:
        return read(ssp, 0, strict)
    except cbor.IndefiniteLength:
        return read(cbor.deterministic(ssp, strict), 0, strict)


def _read_dtn(encoded: bytes, offset: int, strict: bool) -> Eid:
    if encoded[offset] >> 5 == cbor.UINT:
        value, _ = cbor.read_uint(encoded, offset, strict)
        if value:
            raise DecodeError("the only numeric dtn EID is 0", "RFC 9171 §4.2.5.1.1")
        return Eid(SCHEME_DTN, "none")
    text, _ = cbor.read_tstr(encoded, offset, strict)
    if text == "none":
        raise DecodeError("dtn:none is encoded as 0", "RFC 9171 §4.2.5.1.1")
    return Eid(SCHEME_DTN, text)


def _read_ipn(encoded: bytes, offset: int, strict: bool) -> Eid:
    count, offset = cbor.read_array(encoded, offset, strict)
    if count not in (2, 3):
        raise DecodeError("an ipn EID has two or three numbers", "RFC 9758 §6.1")
    numbers = []
    for _ in range(count):
        number, offset = cbor.read_uint(encoded, offset, strict)
        numbers.append(number)
    if count == 2:  # RFC 9758 §6.1.1: allocator and node packed into one number
        numbers[:1] = numbers[0] >> 32, numbers[0] & 0xFFFF_FFFF
    allocator, node, service = numbers
    eid = Eid(SCHEME_IPN, (allocator, node, service))
    if eid.is_local_node:
        raise DecodeError("the local node of another node", "RFC 9758 §3.4.2")
    return eid
