"""The abstract security block of BPSec (RFC 9172 §3.6), the content of BIB and BCB alike."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from stack.core.eid import EID_CHARS_MAX, Eid
from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.wire import cbor
from stack.wire.bundle import decode_eid, encode_eid

CONTEXT_BIB_HMAC_SHA2 = 1
"""RFC 9173 §3.1."""

CONTEXT_BCB_AES_GCM = 2
"""RFC 9173 §4.1."""

CONTEXT_COSE = 3
"""draft-ietf-dtn-bpsec-cose §7.1."""

HAS_PARAMETERS = 0x01
"""Security context flag: parameters are present (RFC 9172 §3.6)."""

TARGETS_MAX = 64
"""Targets of one security block: a bundle has few blocks, and each target costs a computation."""

PARAMETERS_MAX = 16
RESULTS_MAX = 16
"""Per block and per target; RFC 9173 defines four parameters and one result."""

ITEM_BYTES_MAX = 1024
"""Octets of all values of one block that are neither integers nor byte strings: what is known of
these is a scope with a few numbers, and each octet may be an item to look at."""

FORMS_MAX = 1024
"""Forms of security blocks that are known: those of a flow differ by their IV and tag alone."""

_FORM_BYTES_MAX = EID_CHARS_MAX + 64
"""Longest beginning of one that is known: an EID and a few numbers.  Anybody can make up forms."""

_IV_BYTES = 12
_TAG_BYTES = 16
_TAIL_BYTES = 39
"""Octets of the BCB-AES-GCM of RFC 9173 from the IV on, with AES variant, scope and tag: as this
node and most others write it."""

_SECTION = "RFC 9172 §3.6"


class EncodedItem(NamedTuple):
    """A value that is neither unsigned integer nor byte string, in its octets."""

    octets: bytes


Value = int | bytes | EncodedItem
Pair = tuple[int, Value]


class SecurityBlock(NamedTuple):
    """An abstract security block.

    Values of parameters and results are unsigned integers or byte strings, which is all that the
    contexts of RFC 9173 use, and in the COSE context any item; a block of another context that
    needs more is not read by this node (and passes through it unharmed, as every block does).
    """

    targets: tuple[int, ...]
    context: int
    source: Eid
    parameters: tuple[Pair, ...]
    results: tuple[tuple[Pair, ...], ...]
    """One tuple for each target, in the order of `targets`."""

    def parameter(self, number: int) -> int | bytes | None:
        """The value of a parameter of a context of RFC 9173, or None."""
        for key, value in self.parameters:
            if key == number and not isinstance(value, EncodedItem):
                return value
        return None


def encode_asb(block: SecurityBlock) -> bytes:
    """The block-type-specific data of a security block."""
    targets, context, source, parameters, results = block
    parts = [_opening(targets, context, bool(parameters)), encode_eid(source)]
    if parameters:
        _append_pairs(parameters, parts)
    parts.append(cbor.head(cbor.ARRAY, len(results)))
    for pairs in results:
        _append_pairs(pairs, parts)
    return b"".join(parts)


@lru_cache(maxsize=FORMS_MAX)
def _opening(targets: tuple[int, ...], context: int, has_parameters: bool) -> bytes:
    """What comes before the security source: blocks have few numbers."""
    return b"".join(
        (
            cbor.head(cbor.ARRAY, len(targets)),
            *map(cbor.uint, targets),
            _integer(context),
            cbor.uint(HAS_PARAMETERS if has_parameters else 0),
        )
    )


def decode_asb(data: Buffer) -> SecurityBlock:
    """Read the data of a security block.  Raises `DecodeError`, also for octets left over."""
    octets = bytes(data)
    iv_at = len(octets) - _TAIL_BYTES
    form = None
    if 0 < iv_at <= _FORM_BYTES_MAX:
        form = _form(octets[:iv_at], octets[iv_at + _IV_BYTES : -_TAG_BYTES])
    if form is not None:
        (iv, _), *others = form.parameters
        (((tag, _),),) = form.results
        return SecurityBlock(
            form.targets,
            form.context,
            form.source,
            ((iv, octets[iv_at : iv_at + _IV_BYTES]), *others),
            (((tag, octets[-_TAG_BYTES:]),),),
        )
    try:
        return _read_asb(octets)
    except cbor.IndefiniteLength:
        return _read_asb(cbor.deterministic(octets))


@lru_cache(maxsize=FORMS_MAX)
def _form(before: bytes, between: bytes) -> SecurityBlock | None:
    """The security block that begins so, goes on with its first parameter, an IV, and so, and ends
    with its one result, a tag; None if IV and tag are elsewhere, or something is wrong."""
    form = None
    for octet in (b"\0", b"\xff"):  # only what is neither is no part of something else
        iv, tag = octet * _IV_BYTES, octet * _TAG_BYTES
        try:
            form = _read_asb(b"".join((before, iv, between, tag)))
        except DecodeError:
            return None
        ivs, tags = form.parameters[:1], form.results
        if [value for _, value in ivs] != [iv] or [[v for _, v in pairs] for pairs in tags] != [
            [tag]
        ]:
            return None
    return form


def _read_asb(data: bytes) -> SecurityBlock:
    count, offset = cbor.read_array(data, 0)
    if not 1 <= count <= TARGETS_MAX:
        raise DecodeError(f"{count} security targets", _SECTION, 0)
    targets = []
    for _ in range(count):
        target, offset = cbor.read_uint(data, offset)
        targets.append(target)
    if len(set(targets)) != count:
        raise DecodeError("a security target is named twice", _SECTION, 0)
    context, offset = _read_integer(data, offset)
    room = ITEM_BYTES_MAX if context == CONTEXT_COSE else 0
    flags, offset = cbor.read_uint(data, offset)  # the others are reserved, and ignored
    source, offset = decode_eid(data, offset)
    parameters: tuple[Pair, ...] = ()
    if flags & HAS_PARAMETERS:
        parameters, offset, room = _read_pairs(data, offset, PARAMETERS_MAX, room)
    sets, offset = cbor.read_array(data, offset)
    if sets != count:
        raise DecodeError(f"{sets} sets of results for {count} targets", _SECTION, offset)
    results = []
    for _ in range(sets):
        pairs, offset, room = _read_pairs(data, offset, RESULTS_MAX, room)
        results.append(pairs)
    if offset != len(data):
        raise DecodeError("octets after the security results", _SECTION, offset)
    return SecurityBlock(tuple(targets), context, source, parameters, tuple(results))


def _integer(value: int) -> bytes:
    return cbor.uint(value) if value >= 0 else cbor.head(cbor.NEGATIVE, -1 - value)


def _read_integer(data: bytes, offset: int) -> tuple[int, int]:
    major, value, end = cbor.read_head(data, offset)
    if major == cbor.NEGATIVE:
        return -1 - value, end
    if major != cbor.UINT:
        raise DecodeError("the security context id is no integer", _SECTION, offset)
    return value, end


def _append_pairs(pairs: tuple[Pair, ...], parts: list[bytes]) -> None:
    parts.append(cbor.head(cbor.ARRAY, len(pairs)))
    for number, value in pairs:
        if isinstance(value, bytes):
            parts += (_head(number, cbor.BSTR, len(value)), value)
        elif isinstance(value, int):
            parts.append(_head(number, cbor.UINT, value))
        else:
            parts += (b"\x82", cbor.uint(number), value.octets)


@lru_cache(maxsize=256)
def _head(number: int, major: int, argument: int) -> bytes:
    """A pair but for a string's octets: variants, scopes, and sizes of IVs and tags are few."""
    return b"\x82" + cbor.uint(number) + cbor.head(major, argument)


def _read_pairs(
    data: bytes, offset: int, most: int, room: int
) -> tuple[tuple[Pair, ...], int, int]:
    """Pairs with at most `room` octets of other items, the offset after them, and what is left of
    that."""
    count, offset = cbor.read_array(data, offset)
    if count > most:
        raise DecodeError(f"{count} security parameters or results", _SECTION, offset)
    pairs: list[Pair] = []
    for _ in range(count):
        pair, offset = _quick_pair(data, offset) or _read_pair(data, offset, room)
        pairs.append(pair)
        if isinstance(pair[1], EncodedItem):
            room -= len(pair[1].octets)
    return tuple(pairs), offset, room


def _quick_pair(data: bytes, offset: int) -> tuple[Pair, int] | None:
    """A pair whose heads have one octet, or the last of them two, as nearly all; None for others,
    and whatever is wrong."""
    heads = data[offset : offset + 4]
    if len(heads) < 4 or heads[0] != 0x82 or heads[1] > 23:
        return None
    kind = heads[2]
    if kind < 24:
        return (heads[1], kind), offset + 3
    start = offset + 3
    size = kind - 0x40
    if size == 24:
        size = heads[3]
        start += 1
    elif not 0 <= size < 24:
        return None
    end = start + size
    if end > len(data) or (kind == 0x58 and size < 24):
        return None
    return (heads[1], data[start:end]), end


def _read_pair(data: bytes, offset: int, room: int) -> tuple[Pair, int]:
    size, offset = cbor.read_array(data, offset)
    if size != 2:
        raise DecodeError("a parameter or result is a pair", _SECTION, offset)
    number, offset = cbor.read_uint(data, offset)
    major, _, _ = cbor.read_head(data, offset)
    if major == cbor.UINT:
        value, offset = cbor.read_uint(data, offset)
        return (number, value), offset
    if room and major != cbor.BSTR:
        try:
            end = cbor.skip_item(data[offset : offset + room], 0)
        except DecodeError as error:
            words = f"{error.reason} in the {room} octets that are left for such values"
            raise DecodeError(words, error.section, offset) from None
        return (number, EncodedItem(data[offset : offset + end])), offset + end
    view, offset = cbor.read_bstr(data, offset)
    return (number, bytes(view)), offset
