"""What a refusal is about, from the words of each implementation: to say whether two that refuse
an input refuse it for the same thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

TOPICS: Mapping[str, Sequence[str]] = {
    "an item cut short": ("truncated*", "CBORDecodeEOF*", "Unexpected end of data*"),
    "a reserved head": (
        "reserved CBOR head*", "Invalid additional info*", "CBORDecode*: unknown * subtype*",
    ),
    "a misplaced break": ("break outside*", "Unexpected break*"),
    "text that is no UTF-8": (
        "text that is no UTF*", "Invalid UTF*", "CBORDecode*: error decoding unicode*",
    ),
    "a chunk of another kind": (
        "a chunk of another kind*", "A chunk of an indefinite*",
        "CBORDecode*: non-* found in indefinite*",
    ),
    "CBOR at large": ("CBORDecode*", "CBOR cannot be decoded*"),
    "the outer array": ("a bundle is an indefinite-length*", "Expected indefinite length array*"),
    "the version": ("*primary block of version*", "Invalid BP version*"),
    "the CRC type": ("unknown CRC type*", "* is not a valid CRCType", "Unknown CRC Type*"),
    "the CRC": ("CRC does not match*", "Block failed CRC*"),
    "an endpoint": (
        "an EID is*", "not a dtn EID*", "an ipn EID*", "the only numeric dtn EID*",
        "reserved URI scheme*", "dtn:none is*", "ipn allocator or node*", "the local node*",
        "Unknown well-known scheme*", "Invalid scheme-specific part*", "Unknown schema*",
        "an EID matches none*",
    ),
    "the bundle age": ("creation time zero without*", "There must be a * block if the creation*"),
    "the payload block": (
        "payload block not*", "no payload block*", "Invalid payload block number*",
        "Payload must be the last*",
    ),
    "block numbers": ("block number * again*", "Duplicate block number*"),
    "what follows": ("octets after the *", "Trailing stray*", "Trailing data*"),
}  # fmt: skip
"""Reasons that name one thing, and no other could be meant; the first that fits counts."""


def topic_of(reason: str) -> str:
    """What it is about; empty when it does not say."""
    for topic, patterns in TOPICS.items():
        if any(fnmatchcase(reason, pattern) for pattern in patterns):
            return topic
    return ""
