"""Octets of FECFRAME (RFC 6363) with the simple Reed-Solomon scheme of RFC 6865.

Only FEC Encoding ID 8 with m = 8 is here: code symbols of one octet, at most 255 encoding
symbols in a block.  A source packet is an application data unit (ADU) followed by its FEC payload
id; a repair packet is a FEC payload id followed by one repair symbol.  Both ids look alike:

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-----------------------------------------------+---------------+
    |         source block number (24 bits)         |      ESI      |
    +-------------------------------+---------------+---------------+
    |    source block length (k)    |
    +-------------------------------+
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from stack.core.errors import DecodeError
from stack.core.train import Buffer

M: Final = 8
"""Bits of a code symbol; other values of m need other arithmetic and are refused."""

SBN_MODULUS: Final = 1 << (32 - M)
"""Source block numbers have 32 - m bits and wrap around (RFC 6865 §5.1.2)."""

ENCODING_SYMBOLS_MAX: Final = (1 << M) - 1
"""n <= 2^m - 1 (RFC 6865 §4.1)."""

PAYLOAD_ID_BYTES: Final = 6
ADUI_HEADER_BYTES: Final = 3
FSSI_BYTES: Final = 3

_ID = np.dtype([("word", ">u4"), ("k", ">u2")])

Ints = npt.NDArray[np.int64]


class PayloadId(NamedTuple):
    """A source or repair FEC payload id (RFC 6865 §5.1.2, §5.1.3): block number, encoding symbol
    id (below k: source; from k on: repair), source block length."""

    sbn: int
    esi: int
    k: int


class Fssi(NamedTuple):
    """FEC scheme-specific information (RFC 6865 §5.1.1.2), given out of band.

    `symbol_bytes` (E) is the length of every encoding symbol when `strict`, else the largest.
    """

    symbol_bytes: int
    strict: bool = False
    m: int = M


def encode_payload_id(value: PayloadId) -> bytes:
    """The six octets of a FEC payload id; ValueError if a field is out of range."""
    sbn, esi, k = value
    if not (0 <= sbn < SBN_MODULUS and 0 <= esi < ENCODING_SYMBOLS_MAX):
        raise ValueError(f"not a FEC payload id: {value}")
    if not 1 <= k <= ENCODING_SYMBOLS_MAX:
        raise ValueError(f"not a source block length: {k}")
    return (sbn << 8 | esi).to_bytes(4, "big") + k.to_bytes(2, "big")


def decode_payload_id(data: Buffer, *, repair: bool) -> tuple[PayloadId, int]:
    """The id at the start of `data`, and the octets consumed.  Raises DecodeError."""
    section = "RFC 6865 §5.1.3" if repair else "RFC 6865 §5.1.2"
    if len(data) < PAYLOAD_ID_BYTES:
        raise DecodeError("FEC payload id cut short", section, len(data))
    k = int.from_bytes(data[4:6], "big")
    value = PayloadId(int.from_bytes(data[:3], "big"), data[3], k)
    if not 1 <= k <= ENCODING_SYMBOLS_MAX:
        raise DecodeError(f"source block length {k} is not 1 to 255", section, 4)
    if value.esi >= ENCODING_SYMBOLS_MAX:
        raise DecodeError("encoding symbol id 255 does not exist", section, 3)
    if (value.esi >= k) != repair:
        kind = "repair" if repair else "source"
        raise DecodeError(f"id {value.esi} of {k} is not a {kind} symbol", section, 3)
    return value, PAYLOAD_ID_BYTES


def encode_payload_ids(sbn: Ints, esi: Ints, k: Ints | int) -> npt.NDArray[np.uint8]:
    """Ids as an array of shape (n, 6); the caller answers for the ranges."""
    ids = np.empty(sbn.size, _ID)
    ids["word"] = sbn << 8 | esi
    ids["k"] = k
    return ids.view(np.uint8).reshape(-1, PAYLOAD_ID_BYTES)


class PacketRun(NamedTuple):
    """Packets of one train with the same block and consecutive symbol ids `esi`, `esi` + 1, ...

    `rows` says which packets of the train they are, in the order of their ids.
    """

    sbn: int
    esi: int
    k: int
    rows: Ints


def decode_runs(ids: npt.NDArray[np.uint8]) -> list[PacketRun]:
    """All ids of a train, from an array of shape (n, 6) with n > 0, gathered into runs.

    The fields are as unchecked as they came: see `fits`.
    """
    if len(ids) == 1:
        word, k = divmod(int.from_bytes(ids.tobytes(), "big"), 1 << 16)
        return [PacketRun(word >> 8, word & 0xFF, k, np.zeros(1, np.int64))]
    wide = np.zeros((len(ids), 8), np.uint8)
    wide[:, 2:] = ids
    key = wide.view(">i8")[:, 0].astype(np.int64)  # sbn, esi, k: 24, 8 and 16 bits
    order = np.arange(key.size)
    gaps = np.flatnonzero(key[1:] - key[:-1] != 1 << 16)
    if gaps.size:
        order = np.argsort(key, kind="stable")
        key = key[order]
        gaps = np.flatnonzero(key[1:] - key[:-1] != 1 << 16)
    edges = [0, *(gaps + 1).tolist(), key.size]
    return [
        PacketRun(first >> 24, first >> 16 & 0xFF, first & 0xFFFF, order[start:end])
        for first, start, end in zip(key[edges[:-1]].tolist(), edges, edges[1:], strict=False)
    ]


def split_run(run: PacketRun) -> list[PacketRun]:
    """One run for each packet."""
    sbn, esi, k, rows = run
    first = sbn << 8 | esi  # ids that go beyond symbol 255 go on in the next block
    return [
        PacketRun((first + i) >> 8 & SBN_MODULUS - 1, (first + i) & 0xFF, k, rows[i : i + 1])
        for i in range(rows.size)
    ]


def fits(run: PacketRun, *, repair: bool) -> bool:
    """Whether `decode_payload_id` would accept every id of the run."""
    end = run.esi + run.rows.size
    if not 1 <= run.k <= ENCODING_SYMBOLS_MAX:
        return False
    return run.esi >= run.k and end <= ENCODING_SYMBOLS_MAX if repair else end <= run.k


def encode_adui(flow_id: int, adu: Buffer, symbol_bytes: int) -> bytes:
    """ADU information: flow id, length, ADU and zero padding up to the symbol length
    (RFC 6865 §4.3, RFC 6363 §5.1).  ValueError if it does not fit."""
    if not 0 <= flow_id <= 0xFF:
        raise ValueError(f"flow id {flow_id} is not one octet")
    if not ADUI_HEADER_BYTES + len(adu) <= symbol_bytes <= 0xFFFF:
        raise ValueError(f"ADU of {len(adu)} octets does not fit a symbol of {symbol_bytes}")
    header = bytes((flow_id,)) + len(adu).to_bytes(2, "big")
    return b"".join((header, adu, bytes(symbol_bytes - ADUI_HEADER_BYTES - len(adu))))


def decode_adui(symbol: Buffer) -> tuple[int, memoryview]:
    """Flow id and ADU of a recovered source symbol.  Raises DecodeError.

    Padding that is not zero is refused: no sender makes it, so the block was corrupt.
    """
    section = "RFC 6865 §4.3"
    view = memoryview(symbol)
    if len(view) < ADUI_HEADER_BYTES:
        raise DecodeError("ADUI cut short", section, len(view))
    length = int.from_bytes(view[1:3], "big")
    end = ADUI_HEADER_BYTES + length
    if end > len(view):
        raise DecodeError(f"ADU of {length} octets in a symbol of {len(view)}", section, 1)
    if any(view[end:]):
        raise DecodeError("padding is not zero", section, end)
    return view[0], view[ADUI_HEADER_BYTES:end]


def encode_fssi(value: Fssi) -> bytes:
    """E (16 bits), S (1 bit), m (7 bits); ValueError if out of range."""
    if not (1 <= value.symbol_bytes <= 0xFFFF and 0 <= value.m < 128):
        raise ValueError(f"not FEC scheme-specific information: {value}")
    return value.symbol_bytes.to_bytes(2, "big") + bytes((value.strict << 7 | value.m,))


def decode_fssi(data: Buffer) -> tuple[Fssi, int]:
    """The information at the start of `data`, and the octets consumed.  Raises DecodeError."""
    section = "RFC 6865 §5.1.1.2"
    if len(data) < FSSI_BYTES:
        raise DecodeError("FSSI cut short", section, len(data))
    value = Fssi(int.from_bytes(data[:2], "big"), bool(data[2] & 0x80), data[2] & 0x7F)
    if value.m != M:
        raise DecodeError(f"m = {value.m} is not supported, only 8", section, 2)
    if value.symbol_bytes <= ADUI_HEADER_BYTES:
        raise DecodeError("symbols too short for an ADUI", section, 0)
    return value, FSSI_BYTES
