"""A protocol of somebody's own: messages of a type, a length and a value, with a strategy for them.

    orbitferry fuzz --target python:examples.fuzz.tlv:decode --protocol raw \\
        --strategy examples.fuzz.tlv:messages

And how two ends of it carry messages over a channel: `carry` sends each again until it is
acknowledged.  With numbers of one bit that goes wrong where the channel keeps a copy for later
(`tests/interop/fuzzing/test_toys.py` has Hypothesis find out).
"""

from __future__ import annotations

from hypothesis import strategies as st

from interop.strategies.channel import ChannelScript

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

PATIENCE = 5
"""The sender repeats what was not acknowledged for so long."""

TIME_MAX = 5_000


def carry(
    given: list[bytes], there: ChannelScript, back: ChannelScript, numbers: int = 256
) -> list[bytes]:
    """What the receiver has of some messages in the end, each with the next of so many numbers."""
    out, home = there.channel(), back.channel()
    got: list[bytes] = []
    sent, said = 0, -PATIENCE
    for now in range(TIME_MAX):
        for packet in out.take(now):
            if packet[0] == len(got) % numbers:
                got.append(packet[1:])
            home.put(packet[:1], now)
        for ack in home.take(now):
            if sent < len(given) and ack[0] == sent % numbers:
                sent, said = sent + 1, now - PATIENCE
        if sent == len(given):
            return got
        if now - said >= PATIENCE:
            out.put(bytes((sent % numbers,)) + given[sent], now)
            said = now
    return got
