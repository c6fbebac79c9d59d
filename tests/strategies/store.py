"""Operations on a bundle store: few keys, small payloads, so that they collide and fill it."""

from __future__ import annotations

from hypothesis import strategies as st

from stack.ports.store import Place, Put, Write

KEYS = [bytes([0, number]) * 4 for number in range(24)]

keys = st.sampled_from(KEYS)
wires = st.builds(
    lambda size, octet: bytes([octet]) * size,
    st.sampled_from([300, 200, 100, 250, 1, 0]),
    st.integers(0, 255),
)
places = st.sampled_from(Place)
tags = st.binary(max_size=4)


@st.composite
def puts(draw: st.DrawFn, now_ms: int = 0) -> Put:
    """A bundle of up to 400 octets that lives up to 50 ms from `now_ms`, or is dead already."""
    return Put(
        key=draw(keys),
        wire=draw(wires),
        place=draw(places),
        destination=draw(st.sampled_from(["dtn://gs1/files", "ipn:5.1", "dtn://ü/\0"])),
        source=draw(st.sampled_from(["dtn://sat1/files", "ipn:7.2"])),
        priority=draw(st.sampled_from([1, 0, 2, 3])),
        expires_ms=now_ms + draw(st.sampled_from([40, 20, 10, 5, 0, -1])),
        received_ms=now_ms,
        note=draw(tags),
    )


writes = st.builds(
    Write,
    space=st.sampled_from(["jobs", "ltp"]),
    key=st.sampled_from(["", "a", "ab", "abc", "b", "é", "\uffff"]),
    value=st.none() | st.binary(max_size=16),
)
