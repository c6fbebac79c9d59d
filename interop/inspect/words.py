"""Numbers of BPv7, BPSec and LTP in words."""

from __future__ import annotations

from typing import Final

from stack.core.clock import dtn_to_iso
from stack.wire import ltp
from stack.wire.asb import CONTEXT_BCB_AES_GCM, CONTEXT_BIB_HMAC_SHA2, CONTEXT_COSE
from stack.wire.bundle import types

BUNDLE_FLAGS: Final = {
    types.IS_FRAGMENT: "is a fragment",
    types.IS_ADMIN: "payload is an administrative record",
    types.NO_FRAGMENT: "must not be fragmented",
    types.ACK_REQUESTED: "acknowledgement by the application requested",
    types.STATUS_TIME: "status time requested in reports",
    types.REPORT_RECEPTION: "report reception",
    types.REPORT_FORWARDING: "report forwarding",
    types.REPORT_DELIVERY: "report delivery",
    types.REPORT_DELETION: "report deletion",
}
"""RFC 9171 §4.2.3."""

BLOCK_FLAGS: Final = {
    types.REPLICATE: "replicate in every fragment",
    types.REPORT_UNPROCESSED: "report if not processed",
    types.DELETE_UNPROCESSED: "delete the bundle if not processed",
    types.DISCARD_UNPROCESSED: "discard if not processed",
}
"""RFC 9171 §4.2.4."""

BLOCK_NAMES: Final = {
    types.PAYLOAD: "payload",
    types.PREVIOUS_NODE: "previous node",
    types.BUNDLE_AGE: "bundle age",
    types.HOP_COUNT: "hop count",
    types.BLOCK_INTEGRITY: "block integrity (BIB)",
    types.BLOCK_CONFIDENTIALITY: "block confidentiality (BCB)",
    types.PRIORITY: "priority (private use)",
}
"""RFC 9171 §9.1, RFC 9172 §11.1."""

CONTEXT_NAMES: Final = {
    CONTEXT_BIB_HMAC_SHA2: "BIB-HMAC-SHA2",
    CONTEXT_BCB_AES_GCM: "BCB-AES-GCM",
    CONTEXT_COSE: "COSE",
}
"""RFC 9173 §5.1, draft-ietf-dtn-bpsec-cose §7.1."""

PARAMETER_NAMES: Final = {
    CONTEXT_BIB_HMAC_SHA2: {1: "SHA variant", 2: "wrapped key", 3: "integrity scope flags"},
    CONTEXT_BCB_AES_GCM: {
        1: "initialization vector",
        2: "AES variant",
        3: "wrapped key",
        4: "AAD scope flags",
    },
    CONTEXT_COSE: {
        3: "additional protected headers",
        4: "additional unprotected headers",
        5: "AAD scope",
    },
}
"""RFC 9173 §3.3, §4.3, draft-ietf-dtn-bpsec-cose §2.2."""

RESULT_NAMES: Final = {
    CONTEXT_BIB_HMAC_SHA2: {1: "expected HMAC"},
    CONTEXT_BCB_AES_GCM: {1: "authentication tag"},
    CONTEXT_COSE: {
        16: "COSE_Encrypt0",
        17: "COSE_Mac0",
        18: "COSE_Sign1",
        96: "COSE_Encrypt",
        97: "COSE_Mac",
        98: "COSE_Sign",
    },
}
"""RFC 9173 §3.4, §4.4, draft-ietf-dtn-bpsec-cose §2.3."""

VALUE_NAMES: Final = {
    (CONTEXT_BIB_HMAC_SHA2, 1): {5: "HMAC 256/256", 6: "HMAC 384/384", 7: "HMAC 512/512"},
    (CONTEXT_BCB_AES_GCM, 2): {1: "A128GCM", 3: "A256GCM"},
}
"""Numbers that parameters of a context take."""

SCOPE_PARAMETERS: Final = frozenset(((CONTEXT_BIB_HMAC_SHA2, 3), (CONTEXT_BCB_AES_GCM, 4)))
SCOPE_FLAGS: Final = {1: "primary block", 2: "target header", 4: "security header"}
"""RFC 9173 §3.3.3, §4.3.4."""

CRC_NAMES: Final = {types.CRC_NONE: "no CRC", types.CRC_16: "CRC-16/X-25", types.CRC_32: "CRC-32C"}

CLIENT_NAMES: Final = {
    ltp.CLIENT_BP: "Bundle Protocol",
    ltp.CLIENT_SDA: "LTP service data aggregation",
    3: "CCSDS File Delivery Protocol",
}
"""LTP client services (RFC 7116 §3, SANA)."""

EXTENSION_NAMES: Final = {0: "authentication", 1: "cookie"}
"""RFC 5327 §2."""

SUITE_NAMES: Final = {
    0: "HMAC-SHA1-80",
    1: "RSA-SHA256",
    192: "AES-GMAC, private to Orbitferry",
    255: "NULL",
}
"""RFC 5327 §2.1, and one that is ours (docs/trust.md, "Links")."""


def names(table: dict[int, str], value: int) -> str:
    """The name of a number, or that it has none."""
    return table.get(value, "unassigned")


def flags(table: dict[int, str], value: int) -> str:
    """The names of the bits that are set."""
    words = [name for bit, name in table.items() if value & bit]
    rest = value & ~sum(table)
    if rest:
        words.append(f"reserved {rest:#x}")
    return ", ".join(words)


def bundle_flags(value: int) -> str:
    """Bundle processing control flags."""
    return flags(BUNDLE_FLAGS, value)


def block_flags(value: int) -> str:
    """Block processing control flags."""
    return flags(BLOCK_FLAGS, value)


def block_type(value: int) -> str:
    """Name of a block type."""
    return names(BLOCK_NAMES, value)


def crc_type(value: int) -> str:
    """Name of a CRC type."""
    return names(CRC_NAMES, value)


def dtn_time(value: int) -> str:
    """DTN time in milliseconds as UTC."""
    if not value:
        return "no clock"
    try:
        return dtn_to_iso(value)
    except (ValueError, OverflowError, OSError):
        return "after the year 9999"


def milliseconds(value: int) -> str:
    """A duration, in the unit in which people would say it."""
    seconds = value / 1000
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.6g} {unit}"
    return f"{seconds:.6g} s"


def client_service(value: int) -> str:
    """Name of an LTP client service."""
    return names(CLIENT_NAMES, value)


def extension_tag(value: int) -> str:
    """Name of an LTP extension tag."""
    return names(EXTENSION_NAMES, value)


def ciphersuite(value: int) -> str:
    """Name of a ciphersuite of LTP authentication."""
    return names(SUITE_NAMES, value)


def segment_type(value: int) -> str:
    """What an LTP segment type code means (RFC 5326 §3.1.2)."""
    return _SEGMENT_WORDS[value]


_SEGMENT_WORDS: Final = (
    "red data",
    "red data, checkpoint",
    "red data, checkpoint, end of red part",
    "red data, checkpoint, end of red part, end of block",
    "green data",
    "undefined",
    "undefined",
    "green data, end of block",
    "report",
    "report acknowledgement",
    "undefined control",
    "undefined control",
    "cancellation by the sender",
    "acknowledgement of a cancellation, to the sender",
    "cancellation by the receiver",
    "acknowledgement of a cancellation, to the receiver",
)

_CANCEL_WORDS: Final = {
    ltp.CancelReason.USR_CNCLD: "the client service cancelled",
    ltp.CancelReason.UNREACH: "client service unreachable",
    ltp.CancelReason.RLEXC: "retransmission limit exceeded",
    ltp.CancelReason.MISCOLORED: "miscoloured data",
    ltp.CancelReason.SYS_CNCLD: "system error",
    ltp.CancelReason.RXMTCYCEXC: "retransmission cycles exceeded",
}


def cancel_reason(value: int) -> str:
    """What an LTP cancellation reason means."""
    return names({int(key): words for key, words in _CANCEL_WORDS.items()}, value)
