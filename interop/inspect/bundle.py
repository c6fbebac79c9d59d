"""BPv7 bundles as trees (RFC 9171, RFC 9172, RFC 9173).

Reading is lenient and goes on after a wrong CRC or a block that makes no sense, so that what is
there is seen; the verdict at the end is that of the codec which nodes use.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from interop.inspect import words
from interop.inspect.tree import ERROR, NONE, OK, WRONG, Branch, Walk
from stack.core.errors import DecodeError
from stack.wire import cbor
from stack.wire.bundle import (
    ACME_NODE_ID,
    BIBE_PDUS,
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    BLOCKS_MAX,
    BUNDLE_AGE,
    CRC_16,
    CRC_32,
    CRC_NONE,
    HOP_COUNT,
    IS_ADMIN,
    IS_FRAGMENT,
    PAYLOAD,
    PREVIOUS_NODE,
    PRIORITY,
    STATUS_REPORT,
    CanonicalBlock,
    check_bundle,
    decode_bundle,
    reason_words,
    security_targets,
)
from stack.wire.crc import crc16_x25, crc32c

_CRC_BYTES: Final = {CRC_16: 2, CRC_32: 4}
_RECORDS: Final = {
    STATUS_REPORT: "status report",
    ACME_NODE_ID: "ACME node id validation",
    **dict.fromkeys(BIBE_PDUS, "BIBE PDU"),
}

_ACME_KEYS: Final = {
    1: "id-chal",
    2: "token-bundle",
    3: "key authorization digest",
    4: "algorithms",
}
_ACME_KINDS: Final = {3: "response", 4: "challenge"}

DEPTH_MAX: Final = 4
"""Bundles within one another that are shown, as many as a node takes out."""

_STATUSES: Final = ("received", "forwarded", "delivered", "deleted")


def walk_bundle(walk: Walk, depth: int = 0) -> None:
    """Read one bundle, within `depth` others.  Raises `DecodeError` where it cannot go on."""
    start = walk.at
    encrypted = _encrypted(walk.view, start)
    with walk.branch("bundle", section="RFC 9171 §4.1") as bundle:
        count = _opening(walk)
        flags = _primary(walk)
        for _ in range(BLOCKS_MAX + 1):
            if count is None and walk.left and walk.view[walk.at] == 0xFF:
                walk.at += 1
                walk.leaf("end of the bundle", "", walk.at - 1, note="break")
                break
            if count == 0:
                break
            _block(walk, flags, encrypted, depth)
            count = None if count is None else count - 1
        else:
            raise DecodeError("too many blocks", "RFC 9171 §4.1", walk.at)
        _verdict(walk, bundle, start)


def _opening(walk: Walk) -> int | None:
    """The head of the outer array: blocks after the primary, or None: until the break."""
    start = walk.at
    major, count, walk.at = cbor.read_head(walk.view, start, False)
    if major != cbor.ARRAY:
        walk.at = start
        raise DecodeError("a bundle is an array", "RFC 9171 §4.1", start)
    if count == cbor.INDEFINITE:
        walk.leaf("bundle array", "indefinite length", start)
        return None
    walk.leaf("bundle array", count, start, note="definite length, against RFC 9171 §4.1")
    return max(0, count - 1)


def _primary(walk: Walk) -> int:
    """RFC 9171 §4.3.1.  The bundle's flags."""
    start = walk.at
    with walk.branch("primary block", section="RFC 9171 §4.3.1"):
        count = walk.array("fields")
        version = walk.uint("version")
        if version != 7:
            raise DecodeError(f"bundle protocol version {version}", "RFC 9171 §4.3.1", start)
        flags = walk.uint("processing control flags", words.bundle_flags)
        crc_type = walk.uint("CRC type", words.crc_type)
        walk.eid("destination")
        walk.eid("source")
        walk.eid("report to")
        with walk.branch("creation timestamp", section="RFC 9171 §4.2.7"):
            _pair(walk, "RFC 9171 §4.2.7")
            walk.uint("DTN time", words.dtn_time)
            walk.uint("sequence number")
        walk.uint("lifetime", words.milliseconds)
        expected = 8
        if flags & IS_FRAGMENT:
            expected = 10
            walk.uint("fragment offset")
            walk.uint("total data unit length")
        if count != expected + (crc_type != CRC_NONE):
            raise DecodeError(f"{count} fields in the primary block", "RFC 9171 §4.3.1", start)
        _crc(walk, crc_type, start)
    return flags


def _block(walk: Walk, bundle_flags: int, encrypted: dict[int, int], depth: int) -> None:
    """RFC 9171 §4.3.2."""
    start = walk.at
    with walk.branch("block", section="RFC 9171 §4.3.2") as block:
        count = walk.array("fields")
        if count not in (5, 6):
            raise DecodeError(f"{count} fields in a block", "RFC 9171 §4.3.2", start)
        kind = walk.uint("type", words.block_type)
        block.value = words.block_type(kind) if kind in words.BLOCK_NAMES else f"type {kind}"
        number = walk.uint("number")
        walk.uint("processing control flags", words.block_flags)
        crc_type = walk.uint("CRC type", words.crc_type)
        head = walk.at
        data, end = cbor.read_bstr(walk.view, head, False)
        walk.at = end - len(data)
        walk.leaf("data length", len(data), head)
        with walk.inside("data", len(data)) as branch:
            if number in encrypted:
                branch.note = f"encrypted by block {encrypted[number]}"
                walk.data("ciphertext", len(data), f"{len(data)} octets")
            else:
                _content(walk, kind, bundle_flags, depth)
        if count != 5 + (crc_type != CRC_NONE):
            raise DecodeError(f"{count} fields in a block", "RFC 9171 §4.3.2", start)
        _crc(walk, crc_type, start)


def _content(walk: Walk, kind: int, bundle_flags: int, depth: int) -> None:
    """The block-type-specific data, which are all that is in view."""
    if kind == PREVIOUS_NODE:
        walk.eid("forwarded by")
    elif kind == BUNDLE_AGE:
        walk.uint("age", words.milliseconds)
    elif kind == PRIORITY:
        walk.uint("priority")
    elif kind == HOP_COUNT:
        _pair(walk, "RFC 9171 §4.4.3")
        walk.uint("limit")
        walk.uint("count")
    elif kind in (BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY):
        _security_block(walk)
    elif kind == PAYLOAD and bundle_flags & IS_ADMIN and not bundle_flags & IS_FRAGMENT:
        _admin_record(walk, depth)
    else:
        walk.data("octets", walk.left)


def _pair(walk: Walk, section: str) -> None:
    start = walk.at
    if walk.array("items") != 2:
        raise DecodeError("not a pair", section, start)


def _crc(walk: Walk, crc_type: int, start: int) -> None:
    """The CRC field here, of the block that began at `start` (RFC 9171 §4.2.1)."""
    if crc_type == CRC_NONE:
        walk.leaf("CRC", "", note="none", status=NONE)
        return
    if crc_type not in _CRC_BYTES:
        raise DecodeError(f"unknown CRC type {crc_type}", "RFC 9171 §4.2.1", walk.at)
    head = walk.at
    field, end = cbor.read_bstr(walk.view, head, False)
    if len(field) != _CRC_BYTES[crc_type]:
        raise DecodeError("CRC field of the wrong size", "RFC 9171 §4.2.2", head)
    # Computed with zeros in its own field, and over the break of the block if it has one.
    covered = bytes(walk.view[start : end - len(field)]) + bytes(len(field))
    covered += cbor.BREAK if walk.view[start] == cbor.ARRAY_OPEN[0] else b""
    value = crc16_x25(covered) if crc_type == CRC_16 else crc32c(covered)
    expected = value.to_bytes(len(field), "big")
    walk.at = end
    good = expected == field
    walk.leaf(
        "CRC",
        bytes(field).hex(),
        head,
        note="right" if good else f"wrong: of these octets it is {expected.hex()}",
        status=OK if good else WRONG,
        section="" if good else "RFC 9171 §4.2.1",
    )


def _encrypted(view: memoryview, at: int) -> dict[int, int]:
    """Numbers of blocks that are encrypted, each with that of its confidentiality block.

    What cannot be read is for the walk to complain about.
    """
    found: dict[int, int] = {}
    try:
        _, _, at = cbor.read_head(view, at, False)
        at = cbor.skip_item(view, at, False)
        for _ in range(BLOCKS_MAX + 1):
            _, _, after = cbor.read_head(view, at, False)
            kind, after = cbor.read_uint(view, after, False)
            number, after = cbor.read_uint(view, after, False)
            if kind == BLOCK_CONFIDENTIALITY:
                flags, after = cbor.read_uint(view, after, False)
                crc_type, after = cbor.read_uint(view, after, False)
                data, _ = cbor.read_bstr(view, after, False)
                block = CanonicalBlock(kind, number, flags, data, crc_type)
                for target in security_targets(block):
                    found[target] = number
            at = cbor.skip_item(view, at, False)
    except DecodeError:
        pass
    return found


# ---------------------------------------------------------------------------------- contents


def _admin_record(walk: Walk, depth: int) -> None:
    """RFC 9171 §6.1."""
    with walk.branch("administrative record", section="RFC 9171 §6.1"):
        _pair(walk, "RFC 9171 §6.1")
        kind = walk.uint("record type", partial(words.names, _RECORDS))
        if kind == STATUS_REPORT:
            _status_report(walk)
        elif kind in BIBE_PDUS:
            _encapsulated(walk, depth)
        elif kind == ACME_NODE_ID:
            _node_id_validation(walk)
        else:
            walk.item("content")


def _node_id_validation(walk: Walk) -> None:
    """A map of three pairs (RFC 9891 Appendix A)."""
    section = "RFC 9891 §3.3"
    with walk.branch("node id validation", section=section) as branch:
        start = walk.at
        major, count, walk.at = cbor.read_head(walk.view, start, False)
        if (major, count) != (cbor.MAP, 3):
            raise DecodeError("not a map of three pairs", section, start)
        for _ in range(count):
            key = walk.uint("key", partial(words.names, _ACME_KEYS))
            branch.value = _ACME_KINDS.get(key, branch.value)
            walk.item(_ACME_KEYS.get(key, "value"))


def _encapsulated(walk: Walk, depth: int) -> None:
    """A bundle within the bundle."""
    section = "draft-ietf-dtn-bibect"
    with walk.branch("encapsulated bundle", section=section):
        start = walk.at
        if walk.array("fields") != 3:
            raise DecodeError("not three fields", section, start)
        walk.uint("transmission id")
        walk.uint("retransmission time", lambda ms: words.dtn_time(ms) if ms else "none")
        head = walk.at
        data, end = cbor.read_bstr(walk.view, head, False)
        walk.at = end - len(data)
        walk.leaf("bundle length", len(data), head)
        if depth < DEPTH_MAX:
            with walk.inside("octets", len(data)):
                walk_bundle(walk, depth + 1)
        else:
            walk.data("octets", len(data))


def _status_report(walk: Walk) -> None:
    """RFC 9171 §6.1.1."""
    section = "RFC 9171 §6.1.1"
    with walk.branch("status report", section="RFC 9171 §6.1.1"):
        start = walk.at
        count = walk.array("fields")
        if count not in (4, 6):
            raise DecodeError(f"status report of {count} fields", section, start)
        with walk.branch("status"):
            if walk.array("items") != len(_STATUSES):
                raise DecodeError("not four statuses", section, walk.at)
            for name in _STATUSES:
                _status(walk, name)
        walk.uint("reason", reason_words)
        walk.eid("source of the bundle")
        with walk.branch("creation timestamp of the bundle"):
            _pair(walk, "RFC 9171 §4.2.7")
            walk.uint("DTN time", words.dtn_time)
            walk.uint("sequence number")
        if count == 6:
            walk.uint("fragment offset")
            walk.uint("fragment payload length")


def _status(walk: Walk, name: str) -> None:
    with walk.branch(name) as branch:
        start = walk.at
        size = walk.array("items")
        if size not in (1, 2):
            raise DecodeError("malformed status item", "RFC 9171 §6.1.1", start)
        start = walk.at
        asserted, walk.at = cbor.read_bool(walk.view, start)
        branch.value = "yes" if asserted else "no"
        walk.leaf("asserted", branch.value, start)
        if size == 2:
            walk.uint("time", words.dtn_time)


def _security_block(walk: Walk) -> None:
    """An abstract security block (RFC 9172 §3.6)."""
    with walk.branch("abstract security block", section="RFC 9172 §3.6"):
        with walk.branch("targets"):
            count = walk.array("items")
            targets = [walk.uint("block", _target_words) for _ in range(count)]
        start = walk.at
        major, value, walk.at = cbor.read_head(walk.view, start, False)
        if major not in (cbor.UINT, cbor.NEGATIVE):
            raise DecodeError("security context id is no integer", "RFC 9172 §3.6", start)
        context = -1 - value if major == cbor.NEGATIVE else value
        walk.leaf(
            "security context", context, start, note=words.names(words.CONTEXT_NAMES, context)
        )
        flags = walk.uint("security context flags", partial(words.flags, {1: "has parameters"}))
        walk.eid("security source")
        if flags & 1:
            with walk.branch("parameters"):
                _pairs(walk, context, words.PARAMETER_NAMES.get(context, {}), "parameter")
        with walk.branch("results"):
            for index in range(walk.array("items")):
                with walk.branch("of target", targets[index] if index < len(targets) else "?"):
                    _pairs(walk, 0, words.RESULT_NAMES.get(context, {}), "result")


def _target_words(number: int) -> str:
    return "primary block" if number == 0 else "payload" if number == 1 else ""


def _pairs(walk: Walk, context: int, known: dict[int, str], kind: str) -> None:
    """Parameters or results: pairs of an id and a value."""
    for _ in range(walk.array("items")):
        with walk.branch(kind) as branch:
            _pair(walk, "RFC 9172 §3.6")
            number = walk.uint("id", partial(words.names, known))
            branch.value = known.get(number, number)
            walk.item("value", _value_words(walk, context, number))


def _value_words(walk: Walk, context: int, number: int) -> str:
    """What the value at hand of a parameter means, if it is a number with a meaning."""
    major, value, _ = cbor.read_head(walk.view, walk.at, False)
    if major != cbor.UINT:
        return ""
    if (context, number) in words.SCOPE_PARAMETERS:
        return words.flags(words.SCOPE_FLAGS, value) or "target only"
    return words.VALUE_NAMES.get((context, number), {}).get(value, "")


# ----------------------------------------------------------------------------------- verdict


def _verdict(walk: Walk, bundle: Branch, start: int) -> None:
    """What a node says of the bundle that was read (RFC 9171 §4, and §4.3.1, §4.4.2, §5.8)."""
    try:
        found, _ = decode_bundle(walk.view, offset=start)
        check_bundle(found)
    except DecodeError as error:
        walk.leaf("verdict", error.reason, status=WRONG, section=error.section)
        return
    bundle.value = f"{found.primary.source} to {found.primary.destination}"
    bad = any(tree.status == ERROR for child in bundle.children for tree in child.freeze().walk())
    note = "well-formed, but a block's content is not" if bad else "well-formed"
    walk.leaf("verdict", note, status=OK)
