"""LTP segments for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from stack.wire.ltp import (
    CancelAck,
    CancelSegment,
    Claim,
    DataSegment,
    Extension,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
)

numbers = st.one_of(st.integers(0, 300), st.integers(0, (1 << 64) - 1))
"""Values of SDNV fields: mostly small, sometimes as large as they may be."""

serials = st.one_of(st.integers(1, 300), st.integers(1, (1 << 64) - 1))

session_ids = st.builds(SessionId, numbers, numbers)

extensions = st.lists(
    st.builds(Extension, st.integers(0, 255), st.binary(max_size=40)), max_size=15
).map(tuple)

few_extensions = st.one_of(st.just(()), extensions)

DATA_KINDS = [SegmentType(kind) for kind in (0, 1, 2, 3, 4, 7)]


@st.composite
def data_segments(draw: st.DrawFn) -> DataSegment:
    """Red and green data, checkpoints among them."""
    kind = draw(st.sampled_from(DATA_KINDS))
    checkpoint = kind in (1, 2, 3)
    return DataSegment(
        session=draw(session_ids),
        header=draw(few_extensions),
        trailer=draw(few_extensions),
        kind=kind,
        client_service=draw(numbers),
        offset=draw(numbers),
        data=draw(st.binary(max_size=200)),
        checkpoint_serial=draw(serials) if checkpoint else 0,
        report_serial=draw(numbers) if checkpoint else 0,
    )


@st.composite
def report_segments(draw: st.DrawFn) -> ReportSegment:
    """Reports whose claims lie in order within their scope."""
    edges = draw(st.lists(st.integers(0, 10_000), unique=True, max_size=20).map(sorted))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    claims = tuple(Claim(start, stop - start) for start, stop in pairs)
    scope = (claims[-1].offset + claims[-1].length if claims else 0) + draw(st.integers(0, 50))
    lower = draw(st.integers(0, 1 << 40))
    return ReportSegment(
        session=draw(session_ids),
        header=draw(few_extensions),
        trailer=draw(few_extensions),
        report_serial=draw(serials),
        checkpoint_serial=draw(numbers),
        upper=lower + scope,
        lower=lower,
        claims=claims,
    )


def _with_session(kind: type, **fields: st.SearchStrategy[object]) -> st.SearchStrategy[Segment]:
    return st.builds(
        kind, session=session_ids, header=few_extensions, trailer=few_extensions, **fields
    )


segments: st.SearchStrategy[Segment] = st.one_of(
    data_segments(),
    report_segments(),
    _with_session(ReportAck, report_serial=numbers),
    _with_session(CancelSegment, by_sender=st.booleans(), reason=st.integers(0, 255)),
    _with_session(CancelAck, to_sender=st.booleans()),
)
"""Any segment that may be on the wire."""


@st.composite
def mutations(draw: st.DrawFn, octets: bytes) -> bytes:
    """Octets with some of them changed, cut off, inserted or repeated."""
    data = bytearray(octets)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0 if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case 1:
                del data[at:]
            case 2:
                data[at:at] = draw(st.binary(min_size=1, max_size=4))
            case _:
                data += data[at:]
    return bytes(data)
