"""The codecs of the services: what goes in comes out, and nothing else comes in."""

from __future__ import annotations

import unicodedata

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.services.codec import DEPTH_MAX, ITEMS_MAX, Item, decode, encode
from stack.services.files import messages as files
from stack.services.files.paths import DEPTH_MAX as NAME_DEPTH_MAX
from stack.services.files.paths import safe_name
from stack.services.files.state import InObject, OutObject, OutSpec, Received
from stack.services.jobs import messages as jobs
from stack.services.jobs.state import ClientJob, ServerJob
from tests.strategies import services as some

scalars = (
    st.integers(-(1 << 64), (1 << 64) - 1)
    | st.binary(max_size=300)
    | st.text(max_size=80)
    | st.booleans()
    | st.none()
)
arrays = st.lists(st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=20))


def plain(item: object) -> object:
    """Views as bytes, tuples as lists."""
    if isinstance(item, memoryview):
        return bytes(item)
    return [plain(part) for part in item] if isinstance(item, (list, tuple)) else item


@given(arrays)
def test_encoding_is_canonical_cbor(items: list[Item]) -> None:
    """An independent codec writes the same octets and reads the same values."""
    try:
        data = encode(items)
        fields = decode(data, "test")
    except DecodeError as error:
        assert "deeper" in str(error)  # noqa: PT017
        return
    assert data == cbor2.dumps(items, canonical=True)
    assert plain(fields._items) == items


@given(st.binary(max_size=100))
def test_arbitrary_octets(data: bytes) -> None:
    """Whatever is read is canonical: encoding it again gives the same octets."""
    try:
        fields = decode(data, "test")
    except DecodeError:
        return
    assert encode(fields._items) == data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "ends early"),
        (b"\x01", "not an array"),
        (b"\x81", "longer than"),
        (b"\x81\x18\x17", "shortest"),
        (b"\x81\x19\x00\xff", "shortest"),
        (b"\x81\x1a\x00\x00\xff\xff", "shortest"),
        (b"\x81\x1b\x00\x00\x00\x00\xff\xff\xff\xff", "shortest"),
        (b"\x81\x1c", "reserved"),
        (b"\x81\x19\x01", "truncated"),
        (b"\x9f\x01\xff", "indefinite"),
        (b"\x81\xa0", "not allowed"),
        (b"\x81\xc2\x41\x01", "not allowed"),
        (b"\x81\xf9\x00\x00", "not allowed"),
        (b"\x81\xf7", "not allowed"),
        (b"\x81\x61\xff", "UTF-8"),
        (b"\x81\x5b\x00\x00\x00\xff\x00\x00\x00\x00", "past the end"),
        (b"\x9b\x00\x00\x00\xff\x00\x00\x00\x00", "longer than"),
        (b"\x80\x00", "after the message"),
        (b"\x81" * (DEPTH_MAX + 1) + b"\x01", "deeper"),
        (b"\x9a\x00\x01\x00\x01" + b"\x01" * (ITEMS_MAX + 1), "more than"),
    ],
)
def test_what_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        decode(data, "test")


def test_depth_at_the_bound() -> None:
    assert decode(b"\x81" * DEPTH_MAX + b"\x01", "test").section == "test"


@given(some.offers | some.repairs | some.receipts | some.file_cancels)
def test_file_messages_round_trip(
    message: files.Offer | files.Repair | files.Receipt | files.Cancel,
) -> None:
    assert files.decode_message(message.encode()) == message


@given(some.chunks())
def test_chunks_round_trip(data: bytes) -> None:
    chunk = files.decode_message(data)
    assert isinstance(chunk, files.Chunk)
    head = files.chunk_head(
        chunk.object_id, chunk.size, chunk.chunk_bytes, chunk.offset, chunk.crc, len(chunk.data)
    )
    assert head + bytes(chunk.data) == data


@given(some.job_messages)
def test_job_messages_round_trip(message: jobs.Message) -> None:
    assert jobs.decode_message(message.encode()) == message


@given(some.mutated(some.file_payloads))
def test_mutated_file_messages(data: bytes) -> None:
    try:
        message = files.decode_message(data)
    except DecodeError:
        return
    if not isinstance(message, files.Chunk):
        assert message.encode() == data


@given(some.mutated(some.job_messages.map(lambda message: message.encode())))
def test_mutated_job_messages(data: bytes) -> None:
    try:
        message = jobs.decode_message(data)
    except DecodeError:
        return
    assert message.encode() == data


@given(some.mutated(st.just(b"\x80") | some.file_payloads) | st.binary(max_size=64))
def test_damaged_records_raise_only_decode_errors(data: bytes) -> None:
    for read in (
        OutSpec.decode,
        ClientJob.decode,
        lambda data: InObject.decode("k", data),
        lambda data: Received.decode("k", data),
        lambda data: ServerJob.decode("k", data),
    ):
        with pytest.raises(DecodeError):
            read(data)
    spec = OutSpec.decode(_SPEC)
    try:
        OutObject.decode(spec, data)
    except DecodeError:
        return


_SPEC = OutSpec(
    bytes(16), "/x", Eid.parse("dtn://a/files"), "x", 10, bytes(32), 0, 256, 1, "", 5, 0
).encode()


@given(some.names)
def test_plain_names_pass(name: str) -> None:
    assert "/".join(safe_name(name)) == name


@pytest.mark.parametrize("name", ["9.41\u202fAM.png", "a\u00a0b", "\u3000", "a b/c\u2003d"])
def test_spaces_of_every_kind_may_stand_in_names(name: str) -> None:
    assert "/".join(safe_name(name)) == name


@pytest.mark.parametrize(
    ("char", "why"),
    [
        ("\x07", r"a control character \(U\+0007\)"),
        ("\x9b", r"a control character \(U\+009B\)"),
        ("\u202e", r"an invisible format character \(U\+202E\)"),
        ("\u2028", r"a line separator \(U\+2028\)"),
        ("\u2029", r"a paragraph separator \(U\+2029\)"),
        ("\udc80", r"octets that are no UTF-8 \(U\+DC80\)"),
        ("\ue000", r"a private-use character \(U\+E000\)"),
        ("\U000e0fff", r"does not know \(U\+E0FFF\)"),
        ("\\", r"a backslash \(U\+005C\)"),
    ],
)
def test_the_reason_is_the_true_one(char: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        safe_name(f"folder/a\u00a0{char}b")


@given(st.characters(exclude_characters="/"))
def test_every_character_passes_or_has_a_reason_that_names_it(char: str) -> None:
    name = f"a{char}b"
    if char != "\\" and (char.isprintable() or unicodedata.category(char) == "Zs"):
        assert safe_name(name) == (name,)
    else:
        with pytest.raises(DecodeError, match=rf"U\+{ord(char):04X}"):
            safe_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "a/",
        "./a",
        "a/.",
        "a\\b",
        "a\0b",
        "a\nb",
        "\x1b[2J",
        "a\u202eb",
        ".partial/x",
        "x" * 256,
        "é" * 128,
        "a/" * NAME_DEPTH_MAX + "a",
        "x/" * 600,
    ],
)
def test_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(DecodeError):
        safe_name(name)


@pytest.mark.parametrize(
    "change",
    [
        {"time_s": 0.0},
        {"time_s": 1e12},
        {"memory_bytes": 0},
        {"output_bytes": 1 << 60},
    ],
)
def test_limits_are_checked(change: dict[str, float]) -> None:
    with pytest.raises(LocalError):
        jobs.JobLimits(**change)  # type: ignore[arg-type]
