"""A protocol of somebody's own: messages of a type, a length and a value, with a strategy for them.

    orbitferry fuzz --target python:examples.fuzz.tlv:decode --protocol raw \\
        --strategy examples.fuzz.tlv:messages
"""

from __future__ import annotations

from hypothesis import strategies as st

TEMPERATURES, NAME, STOP = 1, 2, 3


def encode(kind: int, value: bytes) -> bytes:
    """One message."""
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def decode(data: bytes) -> object:
    """What one message says.  Raises `ValueError`."""
    if len(data) < 3:
        raise ValueError("too short")
    kind, size = data[0], int.from_bytes(data[1:3], "big")
    value = data[3:]
    if kind == TEMPERATURES:
        count = size // 2
        return sum(value[at * 2] << 8 | value[at * 2 + 1] for at in range(count)) / max(1, count)
    if len(value) != size:
        raise ValueError("length")
    if kind == NAME:
        return value.decode()
    if kind == STOP and not value:
        return None
    raise ValueError("type")


messages = st.one_of(
    st.lists(st.integers(0, 0xFFFF), max_size=8).map(
        lambda given: encode(TEMPERATURES, b"".join(each.to_bytes(2, "big") for each in given))
    ),
    st.text(max_size=20).map(lambda text: encode(NAME, text.encode())),
    st.just(encode(STOP, b"")),
)
