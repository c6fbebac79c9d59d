"""CFDP PDUs for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from stack.wire.cfdp import (
    Ack,
    Directive,
    Eof,
    FaultHandlerOverride,
    FileData,
    FilestoreRequest,
    FilestoreResponse,
    Finished,
    Header,
    KeepAlive,
    Metadata,
    Nak,
    Pdu,
    Prompt,
    SegmentMetadata,
    Tlv,
    entity_id,
    fault_handler_override,
    filestore_request,
    filestore_response,
)

_names = st.binary(max_size=30)
_code = st.integers(0, 15)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Any header that fits its fields."""
    entity_bytes, sequence_bytes = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    entity = st.integers(0, (1 << 8 * entity_bytes) - 1)
    flag = st.booleans()
    return Header(
        source=draw(entity),
        sequence=draw(st.integers(0, (1 << 8 * sequence_bytes) - 1)),
        destination=draw(entity),
        entity_bytes=entity_bytes,
        sequence_bytes=sequence_bytes,
        toward_sender=draw(flag),
        unacknowledged=draw(flag),
        crc=draw(flag),
        large=draw(flag),
    )


@st.composite
def filestore_requests(draw: st.DrawFn) -> FilestoreRequest:
    """Requests of every action, a second name where there may be one."""
    action = draw(_code)
    return FilestoreRequest(action, draw(_names), draw(_names) if action in (2, 3, 4) else b"")


@st.composite
def filestore_responses(draw: st.DrawFn) -> FilestoreResponse:
    """Responses of every action and status."""
    request = draw(filestore_requests())
    return FilestoreResponse(
        request.action, draw(_code), request.first_name, request.second_name, draw(_names)
    )


overrides = st.builds(FaultHandlerOverride, _code, _code)

entity_ids = st.integers(1, 8).flatmap(
    lambda size: st.builds(entity_id, st.integers(0, (1 << 8 * size) - 1), st.just(size))
)

tlvs: st.SearchStrategy[Tlv] = st.one_of(
    st.builds(Tlv, st.integers(0, 255), st.binary(max_size=255)),
    filestore_requests().map(filestore_request),
    filestore_responses().map(filestore_response),
    overrides.map(fault_handler_override),
    entity_ids,
)


def directives(large: bool) -> st.SearchStrategy[Directive]:
    """Every directive, its file sizes as wide as the large file flag allows."""
    size = st.integers(0, (1 << (64 if large else 32)) - 1)
    fault = st.integers(1, 15)
    no_fault: st.SearchStrategy[tuple[int, Tlv | None]] = st.just((0, None))
    ends = no_fault | st.tuples(fault, st.none() | entity_ids)
    return st.one_of(
        st.builds(
            lambda end, checksum, file_bytes: Eof(
                condition=end[0], checksum=checksum, file_bytes=file_bytes, fault_location=end[1]
            ),
            ends,
            st.integers(0, (1 << 32) - 1),
            size,
        ),
        st.builds(
            lambda end, incomplete, status, responses: Finished(
                condition=end[0],
                incomplete=incomplete,
                file_status=status,
                responses=tuple(map(filestore_response, responses)),
                fault_location=end[1],
            ),
            ends,
            st.booleans(),
            st.integers(0, 3),
            st.lists(filestore_responses(), max_size=3),
        ),
        st.builds(
            Ack, directive=st.sampled_from([4, 5]), condition=_code, status=st.integers(0, 3)
        ),
        st.builds(
            Metadata,
            closure_requested=st.booleans(),
            checksum_type=_code,
            file_bytes=size,
            source_name=_names,
            destination_name=_names,
            options=st.lists(tlvs, max_size=3).map(tuple),
        ),
        st.builds(
            Nak,
            start=size,
            end=size,
            segments=st.lists(st.tuples(size, size), max_size=10).map(tuple),
        ),
        st.builds(Prompt, st.booleans()),
        st.builds(KeepAlive, size),
    )


@st.composite
def pdus(draw: st.DrawFn) -> Pdu:
    """Any PDU: a directive or file data."""
    header = draw(headers())
    if draw(st.booleans()):
        return Pdu(header, draw(directives(header.large)))
    metadata = st.builds(SegmentMetadata, st.integers(0, 3), st.binary(max_size=63))
    offset = st.integers(0, (1 << (64 if header.large else 32)) - 1)
    body = st.builds(FileData, offset, st.binary(max_size=200), st.none() | metadata)
    return Pdu(header, draw(body))
