"""CFDP PDUs (CCSDS 727.0-B-5 §5) that are simpler than one, and like it.

A field or a TLV is gone or smaller, and all lengths and the CRC are right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from stack.core.errors import DecodeError, LocalError
from stack.wire.cfdp import decode_pdu, encode_pdu


def simpler_pdus(encoded: bytes) -> Iterator[bytes]:
    """Of a PDU that can be read, and what is after it; of all else nothing."""
    try:
        pdu, end = decode_pdu(encoded)
    except DecodeError:
        return
    for simpler in _simpler(pdu):
        with suppress(LocalError):  # a value that does not fit its field is no candidate
            yield encode_pdu(simpler) + encoded[end:]


def _simpler(value: Any) -> Iterator[Any]:
    """A value with one part of it gone, or smaller."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _with_less(value)
    elif isinstance(value, tuple):
        for span in dict.fromkeys((max(len(value) // 2, 1), 1)):
            for at in range(0, len(value), span):
                yield value[:at] + value[at + span :]
        for at, item in enumerate(value):
            for less in _simpler(item):
                yield (*value[:at], less, *value[at + 1 :])
    elif isinstance(value, bytes | memoryview):
        for size in (0, len(value) // 2, len(value) - 1):
            if 0 <= size < len(value):
                yield bytes(value[:size])
    elif isinstance(value, int):
        yield from (type(value)(less) for less in (0, 1, value // 2) if less < value)


def _with_less(whole: Any) -> Iterator[Any]:
    for field in dataclasses.fields(whole):
        part = getattr(whole, field.name)
        gone = (None,) if part is not None and field.default is None else ()
        for less in (*gone, *_simpler(part)):
            with suppress(LocalError):
                yield dataclasses.replace(whole, **{field.name: less})
