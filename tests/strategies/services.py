"""Messages of the file and job services, and octets that are almost messages."""

from __future__ import annotations

from hypothesis import strategies as st

from stack.services.files import messages as files
from stack.services.jobs import messages as jobs
from stack.wire.crc import crc32c

ids = st.binary(min_size=16, max_size=16)
digests = st.binary(min_size=32, max_size=32)
plain = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
parts = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="/\\"),
    min_size=1,
    max_size=20,
).filter(lambda part: part not in (".", "..", ".partial") and len(part.encode()) <= 255)
names = st.lists(parts, min_size=1, max_size=4).map("/".join)
spans = st.lists(st.integers(0, 5000), min_size=2, max_size=20, unique=True).map(
    lambda cuts: tuple(zip(*[iter(sorted(cuts))] * 2, strict=False))
)

offers = st.builds(
    files.Offer,
    ids,
    names,
    st.integers(0, 1 << 30),
    digests,
    st.integers(1024, 1 << 20),
    st.integers(0, 2),
    st.text(max_size=20),
    st.integers(0, 1000),
)
repairs = st.builds(files.Repair, ids, st.integers(2, 1000), spans)
receipts = st.builds(files.Receipt, ids, st.sampled_from(files.Outcome), st.text(max_size=50))
file_cancels = st.builds(files.Cancel, ids)


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    """An encoded chunk."""
    chunk_bytes = draw(st.integers(256, 1024))
    size = draw(st.integers(1, 5000))
    index = draw(st.integers(0, (size - 1) // chunk_bytes))
    length = min(chunk_bytes, size - index * chunk_bytes)
    data = draw(st.binary(min_size=length, max_size=length))
    head = files.chunk_head(draw(ids), size, chunk_bytes, index * chunk_bytes, crc32c(data), length)
    return head + data


file_payloads = st.one_of(
    offers.map(lambda message: message.encode()),
    repairs.map(lambda message: message.encode()),
    receipts.map(lambda message: message.encode()),
    file_cancels.map(lambda message: message.encode()),
    chunks(),
)

refs = st.builds(jobs.FileRef, ids, names, st.integers(0, 1 << 30), digests, st.integers(0, 2))
limits = st.builds(
    jobs.JobLimits,
    time_s=st.integers(1, 10**8).map(lambda ms: ms / 1000),
    memory_bytes=st.integers(1, 1 << 40),
    output_bytes=st.integers(1, 1 << 40),
)
retries = st.builds(
    jobs.RetryPolicy,
    attempts=st.integers(1, 100),
    after_crash=st.sampled_from(["repeat", "report"]),
    failures=st.booleans(),
)
requests = st.builds(
    jobs.JobRequest,
    ids,
    plain,
    st.dictionaries(plain, st.text(max_size=50).filter(lambda text: "\0" not in text), max_size=5),
    st.lists(refs, max_size=4).map(tuple),
    limits,
    retries,
    st.integers(0, 2),
)
reports = st.builds(
    jobs.JobReport,
    ids,
    st.integers(0, 1 << 40),
    st.sampled_from([state for state in jobs.JobState if state is not jobs.JobState.SUBMITTED]),
    st.integers(0, 100),
    st.none() | st.integers(-64, 255),
    st.integers(0, 1000),
    st.text(max_size=50),
    st.integers(0, 1 << 40),
    st.integers(0, 1 << 40),
    st.lists(refs, max_size=4).map(tuple),
)
job_messages = st.one_of(
    requests, reports, st.builds(jobs.JobCancel, ids), st.builds(jobs.JobAck, ids)
)


@st.composite
def mutated(draw: st.DrawFn, payloads: st.SearchStrategy[bytes]) -> bytes:
    """A message with some octets changed, cut off, or added."""
    data = bytearray(draw(payloads))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.integers(0, 3)):
            case 0 if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 1 if data:
                data[at] = draw(st.integers(0, 255))
            case 2:
                del data[at:]
            case _:
                data[at:at] = draw(st.binary(max_size=9))
    return bytes(data)
