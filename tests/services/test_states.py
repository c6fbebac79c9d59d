"""The state machines as tables, and durable records as values."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.core.ranges import RangeSet
from stack.services.files.state import InObject, OutObject, OutSpec, Received
from stack.services.files.steps import (
    IN_STEPS,
    OUT_OPEN,
    OUT_STEPS,
    InState,
    InStep,
    OutState,
    OutStep,
)
from stack.services.jobs.messages import JobState
from stack.services.jobs.state import (
    JOB_STEPS,
    ClientJob,
    JobStep,
    ServerJob,
    job_of_tag,
    tag_of,
)
from tests.strategies import services as some

eids = st.sampled_from(["dtn://gs1/files", "ipn:5.64", "ipn:977000.7.65"]).map(Eid.parse)
times = st.integers(0, 1 << 50)
paths = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40
) | st.just("/data/\udcff.bin")
tags = st.text(max_size=30)

specs = st.builds(
    OutSpec, some.ids, paths, eids, some.names, st.integers(0, 1 << 30), some.digests, times,
    st.integers(1024, 1 << 20), st.integers(0, 2), tags, times, times,
)  # fmt: skip


def test_file_states_full_product() -> None:
    """Final states are left by nothing; open ones are ended by each step that ends."""
    for state, step in itertools.product(OutState, OutStep):
        then = OUT_STEPS.get((state, step))
        if state not in OUT_OPEN:
            assert then is None
        elif step in (OutStep.DRAINED, OutStep.REPAIR, OutStep.BUSY):
            assert then is None or then in OUT_OPEN
        else:
            assert then is not None
            assert then not in OUT_OPEN
    for in_state, in_step in itertools.product(InState, InStep):
        assert ((in_state, in_step) in IN_STEPS) == (in_state is InState.RECEIVING)


def test_job_states_full_product() -> None:
    for state, step in itertools.product(JobState, JobStep):
        then = JOB_STEPS.get((state, step))
        if state.final or state is JobState.SUBMITTED:
            assert then is None
        elif step in (JobStep.CANCEL, JobStep.DEADLINE, JobStep.FAIL):
            assert then is not None
            assert then.final
    # Results come from a run only, and a run only from the queue.
    assert [key for key, then in JOB_STEPS.items() if then is JobState.FINISHED] == [
        (JobState.RUNNING, JobStep.SUCCEED)
    ]
    assert [key for key, then in JOB_STEPS.items() if then is JobState.RUNNING] == [
        (JobState.QUEUED, JobStep.START)
    ]


@given(specs)
def test_out_specs_round_trip(spec: OutSpec) -> None:
    assert OutSpec.decode(spec.encode()) == spec


@given(specs, st.data())
def test_out_progress_round_trips(spec: OutSpec, data: st.DataObject) -> None:
    pending = [span for span in data.draw(some.spans) if span[1] <= spec.chunks]
    obj = OutObject(
        spec,
        data.draw(st.sampled_from(OutState)),
        data.draw(st.integers(0, 1000)),
        data.draw(st.booleans()),
        data.draw(st.text(max_size=50)),
        pending,
    )
    assert OutObject.decode(spec, obj.encode()) == obj


@given(
    some.offers | st.none(), eids, times, st.sampled_from(InState), some.spans, st.integers(0, 9)
)
def test_in_objects_round_trip(
    offer: object, source: Eid, expires_ms: int, state: InState, spans: object, count: int
) -> None:
    obj = InObject("key", source, bytes(16), 10**8, 1024, expires_ms, offer)  # type: ignore[arg-type]
    obj.state, obj.round, obj.failures, obj.text = state, count + 1, count, "why"
    obj.have = RangeSet(spans)  # type: ignore[arg-type]
    assert InObject.decode("key", obj.encode()) == obj


@given(st.builds(
    Received, st.just("key"), eids, some.ids, some.names, paths.map(Path), st.integers(0, 1 << 40),
    some.digests, tags, st.integers(0, 2), times,
))  # fmt: skip
def test_received_round_trips(received: Received) -> None:
    assert Received.decode("key", received.encode()) == received


@pytest.mark.slow
@given(some.requests, some.reports | st.none(), eids, times, st.lists(some.ids, max_size=3), paths)
def test_client_jobs_round_trip(
    request: object, report: object, server: Eid, when: int, ids: list[bytes], path: str
) -> None:
    job = ClientJob(b"", server, request, when, report)  # type: ignore[arg-type]
    job.job_id = job.request.job_id
    job.files = dict.fromkeys(ids, path)
    job.cancelling = when % 2 == 0
    assert ClientJob.decode(job.encode()) == job


@given(some.requests | st.none(), eids, times, st.integers(0, 100), st.lists(some.refs, max_size=3))
def test_server_jobs_round_trip(
    request: object, client: Eid, when: int, attempt: int, outputs: list[object]
) -> None:
    job = ServerJob("key", client, bytes(16), request, when, when)  # type: ignore[arg-type]
    job.state, job.attempt, job.text = JobState.RUNNING, attempt, "why"
    job.exit_code = attempt - 50 if attempt else None
    job.outputs = tuple(outputs)  # type: ignore[arg-type]
    assert ServerJob.decode("key", job.encode()) == job


@given(st.sampled_from(["job-in/", "job-out/"]), some.ids, st.integers(0, 255))
def test_tags_round_trip(prefix: str, job_id: bytes, index: int) -> None:
    assert job_of_tag(tag_of(prefix, job_id, index)) == (job_id, index)


@given(st.text(max_size=60))
def test_arbitrary_tags_are_none_of_ours(tag: str) -> None:
    assert job_of_tag(tag) is None


@given(specs, st.integers(1, 50))
def test_chunks_are_taken_in_order_and_once(spec: OutSpec, room: int) -> None:
    pending = [(2, 5), (7, 8), (20, 90)]
    obj = OutObject(spec, pending=list(pending))
    taken: list[int] = []
    while obj.pending:
        got = obj.take(room)
        assert 0 < len(got) <= room
        taken += got
    assert taken == [index for start, end in pending for index in range(start, end)]
