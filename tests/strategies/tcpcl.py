"""TCPCL messages for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from stack.wire.tcpcl import (
    SEGMENT_START,
    ExtensionItem,
    Keepalive,
    Message,
    MessageReject,
    RefuseReason,
    SessionInit,
    SessionTerm,
    TermReason,
    TransferAck,
    TransferRefuse,
    TransferSegment,
)

octet = st.integers(0, 255)
u64 = st.integers(0, 300) | st.integers(0, (1 << 64) - 1)

extensions = st.lists(
    st.builds(ExtensionItem, st.integers(0, 0xFFFF), st.binary(max_size=40), octet), max_size=4
).map(tuple)

_segments = st.builds(
    lambda transfer, flags, data, items: TransferSegment(
        transfer=transfer,
        flags=flags,
        data=data,
        extensions=items if flags & SEGMENT_START else (),
    ),
    u64,
    octet,
    st.binary(max_size=200),
    extensions,
)

messages: st.SearchStrategy[Message] = st.one_of(
    _segments,
    st.builds(TransferAck, transfer=u64, flags=octet, acked_bytes=u64),
    st.builds(TransferRefuse, transfer=u64, reason=st.sampled_from(list(RefuseReason))),
    st.builds(Keepalive),
    st.builds(SessionTerm, reason=st.sampled_from(list(TermReason)), flags=octet),
    st.builds(MessageReject, reason=octet, rejected=octet),
    st.builds(
        SessionInit,
        keepalive_s=st.integers(0, 0xFFFF),
        segment_mru=u64,
        transfer_mru=u64,
        node_id=st.text(max_size=60),
        extensions=extensions,
    ),
)
"""Any message whose reason code RFC 9174 assigns."""
