"""Code values of CFDP and the small readers that every PDU uses (CCSDS 727.0-B-5 §5)."""

from __future__ import annotations

import enum
from typing import Final

from stack.core.errors import DecodeError, LocalError

VERSION: Final = 1
"""Version number of the protocol of 727.0-B-5 in the header (§5.1)."""

U32_MAX: Final = (1 << 32) - 1
U64_MAX: Final = (1 << 64) - 1

DATA_FIELD_BYTES_MAX: Final = 0xFFFF
"""The PDU data field length has 16 bits (§5.1)."""

VALUE_BYTES_MAX: Final = 0xFF
"""The length of an LV or TLV has 8 bits (§5.1)."""


class ConditionCode(enum.IntEnum):
    """Condition codes (§5.2.1.1, table 5-5); 9, 12 and 13 are reserved."""

    NO_ERROR = 0
    POSITIVE_ACK_LIMIT = 1
    KEEP_ALIVE_LIMIT = 2
    INVALID_TRANSMISSION_MODE = 3
    FILESTORE_REJECTION = 4
    CHECKSUM_FAILURE = 5
    SIZE_ERROR = 6
    NAK_LIMIT = 7
    INACTIVITY = 8
    CHECK_LIMIT = 10
    UNSUPPORTED_CHECKSUM = 11
    SUSPEND_REQUEST = 14
    CANCEL_REQUEST = 15


class DirectiveCode(enum.IntEnum):
    """File directive codes (§5.2.1.1, table 5-4)."""

    EOF = 4
    FINISHED = 5
    ACK = 6
    METADATA = 7
    NAK = 8
    PROMPT = 9
    KEEP_ALIVE = 12


class FileStatus(enum.IntEnum):
    """What became of the file (§5.2.3)."""

    DISCARDED = 0
    REJECTED = 1
    """Discarded because the filestore refused it."""

    RETAINED = 2
    UNREPORTED = 3


class TransactionStatus(enum.IntEnum):
    """Status of the transaction at who acknowledges (§5.2.4)."""

    UNDEFINED = 0
    """Not active, and nothing is kept of past ones."""

    ACTIVE = 1
    TERMINATED = 2
    UNRECOGNIZED = 3


class ChecksumType(enum.IntEnum):
    """Checksum identifiers (§5.2.5; SANA registry "Checksum Identifiers")."""

    MODULAR = 0
    CRC_32_PROXIMITY_1 = 1
    CRC_32C = 2
    CRC_32 = 3
    NULL = 15


class TlvType(enum.IntEnum):
    """Types of TLV fields (§5.4)."""

    FILESTORE_REQUEST = 0
    FILESTORE_RESPONSE = 1
    MESSAGE_TO_USER = 2
    FAULT_HANDLER_OVERRIDE = 4
    FLOW_LABEL = 5
    ENTITY_ID = 6


class FilestoreAction(enum.IntEnum):
    """Actions of a filestore request (§5.4.1)."""

    CREATE_FILE = 0
    DELETE_FILE = 1
    RENAME_FILE = 2
    APPEND_FILE = 3
    REPLACE_FILE = 4
    CREATE_DIRECTORY = 5
    REMOVE_DIRECTORY = 6
    DENY_FILE = 7
    DENY_DIRECTORY = 8


TWO_NAMES: Final = frozenset(
    (FilestoreAction.RENAME_FILE, FilestoreAction.APPEND_FILE, FilestoreAction.REPLACE_FILE)
)
"""Actions whose request and response name a second file."""


def require(holds: bool, fault: str) -> None:
    """Raise `LocalError` unless `holds`."""
    if not holds:
        raise LocalError(f"CFDP PDU: {fault}")


def take(view: memoryview, at: int, size: int, section: str) -> int:
    """The offset after `size` octets at `at`, which must all be there.  Raises `DecodeError` when
    they are not."""
    if size > len(view) - at:
        raise DecodeError("truncated PDU", section, len(view))
    return at + size


def read_uint(view: memoryview, at: int, size: int, section: str) -> tuple[int, int]:
    """A big-endian number of `size` octets."""
    end = take(view, at, size, section)
    return int.from_bytes(view[at:end], "big"), end


def file_size_octets(size: int, large: bool) -> bytes:
    """A file-size-sensitive field: 64 bits when the large file flag is set, else 32 (§5.1).  Raises
    `LocalError` when it does not fit."""
    if not 0 <= size <= (U64_MAX if large else U32_MAX):
        raise LocalError(f"CFDP PDU: {size} does not fit its file-size-sensitive field")
    return size.to_bytes(8 if large else 4, "big")


def lv(value: bytes) -> bytes:
    """A length and value field (§5.1)."""
    require(len(value) <= VALUE_BYTES_MAX, "LV of more than 255 octets")
    return bytes((len(value),)) + value


def read_lv(view: memoryview, at: int, section: str) -> tuple[bytes, int]:
    """Read a length and value field."""
    size, at = read_uint(view, at, 1, section)
    end = take(view, at, size, section)
    return bytes(view[at:end]), end
