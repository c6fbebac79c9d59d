"""The parts of the engine on their own: runs, buffers, timers, pacing."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stack.core.errors import DecodeError
from stack.engines.ltp import capsule_client
from stack.engines.ltp.bucket import Bucket
from stack.engines.ltp.envelope import Envelope
from stack.engines.ltp.extensions import pack
from stack.engines.ltp.red_part import FIRST_BYTES, SLACK_BYTES, RedPart
from stack.engines.ltp.timers import TimerKey, TimerKind, Timers
from stack.engines.ltp.trains import RunHeads, TrainPacker, data_step, sdnv_width
from stack.wire.ltp import DataSegment, Extension, SegmentType, SessionId, decode_segment
from stack.wire.sdnv import encode_sdnv

SESSION = SessionId(2, 3)
PREFIX = b"\x00\x02\x03\x00\x01"


# -------------------------------------------------------------------------------------- runs


@given(st.integers(0, (1 << 64) - 1))
def test_the_width_of_an_sdnv(value: int) -> None:
    assert sdnv_width(value) == len(encode_sdnv(value))


@given(st.integers(2, 70_000))
def test_a_step_fills_its_space(space: int) -> None:
    step = data_step(space)
    assert step + sdnv_width(step) <= space
    assert step + 1 + sdnv_width(step + 1) > space


@given(
    st.integers(0, 3_000_000),
    st.integers(1, 200_000),
    st.integers(128, 3000),
    st.integers(0, 300_000),
)
def test_a_run_is_what_the_codec_reads(
    start: int, length: int, segment_bytes: int, budget: int
) -> None:
    data = np.frombuffer(random.Random(length).randbytes(start % 1000 + length), np.uint8)
    data = np.concatenate((np.zeros(start - start % 1000, np.uint8), data))
    packer = TrainPacker(RunHeads(), segment_bytes, 64_000, 28, budget)
    reached, count = packer.run(PREFIX, data, start, start + length)
    packer.flush()
    datagrams = [bytes(each) for train in packer.trains for each in train.datagrams()]
    assert len(datagrams) == count
    assert packer.taken == sum(len(each) + 28 for each in datagrams) <= budget
    at = start
    for datagram in datagrams:
        assert segment_bytes - 1 <= len(datagram) <= segment_bytes
        segment, end = decode_segment(datagram)
        assert isinstance(segment, DataSegment)
        assert end == len(datagram)
        assert (segment.session, segment.kind, segment.offset) == (SESSION, SegmentType.RED, at)
        at += len(segment.data)
        assert bytes(segment.data) == data[segment.offset : at].tobytes()
    assert at == reached
    if packer.left >= segment_bytes + 28:  # the budget did not end it
        assert start + length - reached < segment_bytes


@given(
    st.integers(0, 100_000),
    st.integers(1, 300),
    st.integers(1, 64),
    st.integers(0, 70),
    st.integers(0, 3),
)
def test_a_run_is_recognised_up_to_where_it_breaks(
    offset: int, step: int, count: int, broken: int, where: int
) -> None:
    width = sdnv_width(offset)
    rows = np.zeros((count, len(PREFIX) + width + sdnv_width(step) + step), np.uint8)
    alike = 0
    for row in range(count):
        head = PREFIX + encode_sdnv(offset + row * step) + encode_sdnv(step)
        if len(head) + step != rows.shape[1]:
            break
        rows[row] = np.frombuffer(head + bytes(step), np.uint8)
        alike += 1
    rows = rows[:alike]
    head_bytes = rows.shape[1] - step
    if 0 < broken < alike:
        rows[broken, where] ^= 1
        alike = broken
    found = RunHeads().count_run(rows, PREFIX, offset, step, head_bytes)
    assert found == alike


def test_numbers_in_a_longer_form_are_left_to_the_general_decoder() -> None:
    rows = np.zeros((4, len(PREFIX) + 2 + 1 + 5), np.uint8)
    assert RunHeads().count_run(rows, PREFIX, 5, 5, len(PREFIX) + 3) == 1


def test_the_store_of_heads_is_bounded() -> None:
    heads = RunHeads()
    for offset in range(10_000):
        heads.tails(offset, 1000)
    assert len(heads._kept) <= 4096


def test_a_train_ends_with_its_first_shorter_segment() -> None:
    packer = TrainPacker(RunHeads(), 1400, 3000, 0, 1 << 40)
    for size in [10, 10, 4, 10, 20, 20, 1400, 1400, 1400, 7]:
        assert packer.segment(bytes(size))
    packer.flush()
    shapes = [(train.size, len(train.data)) for train in packer.trains]
    assert shapes == [(10, 24), (10, 10), (20, 40), (1400, 2800), (1400, 1407)]


ENVELOPE = Envelope(b"\0\x02hd", b"\0\x05" + bytes(5))


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 9000)), max_size=8),
    st.integers(128, 1400),
    st.integers(1, 30_000),
    st.integers(0, 100_000),
)
@example([(True, 5000), (False, 80), (False, 80)], 1400, 30_000, 100_000)
def test_an_envelope_is_put_around_each_segment_and_changes_nothing_else(
    added: list[tuple[bool, int]], segment_bytes: int, train_bytes: int, budget: int
) -> None:
    """Runs, and segments that follow them, are in the same trains as without."""
    data = np.frombuffer(random.Random(7).randbytes(9000), np.uint8)
    bare, enveloped = (
        TrainPacker(RunHeads(), segment_bytes, train_bytes, 40, budget, envelope)
        for envelope in (None, ENVELOPE)
    )
    for packer in (bare, enveloped):
        for as_run, count in added:
            if as_run:
                packer.run(PREFIX, data, 0, count)
            else:
                packer.segment(PREFIX + data[: min(count, segment_bytes - 5)].tobytes())
        packer.flush()
    assert (bare.left, bare.taken) == (enveloped.left, enveloped.taken)
    assert [
        [ENVELOPE.around(bytes(one)) for one in train.datagrams()] for train in bare.trains
    ] == [[bytes(one) for one in train.datagrams()] for train in enveloped.trains]


def test_what_has_an_envelope_has_both_extensions() -> None:
    segment, end = decode_segment(ENVELOPE.around(PREFIX + b"\x07\x02ab"))
    assert isinstance(segment, DataSegment)
    assert (segment.offset, bytes(segment.data)) == (7, b"ab")
    assert segment.header == (Extension(0, b"hd"),)
    assert segment.trailer == (Extension(0, bytes(5)),)
    assert end == len(PREFIX) + 4 + ENVELOPE.octets


@given(st.lists(st.integers(1, 4), max_size=12), st.integers(0, 3))
def test_datagrams_packed_into_trains_are_what_they_were(sizes: list[int], flow: int) -> None:
    datagrams = [bytes([n]) * size for n, size in enumerate(sizes)]
    trains = pack(datagrams, flow)
    assert [bytes(each) for train in trains for each in train.datagrams()] == datagrams
    assert {train.flow for train in trains} <= {flow}
    # No two that follow one another could have been one.
    for one, other in itertools.pairwise(trains):
        last = len(one.data) % one.size or one.size
        assert last < one.size or other.size > one.size


# --------------------------------------------------------------------------------- red parts


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.one_of(st.integers(0, 3000), st.integers(0, 400_000)), st.integers(0, 3000)),
        max_size=60,
    ),
    st.integers(0, 2000),
)
def test_a_red_part_is_the_first_octets_that_came(
    pieces: list[tuple[int, int]], capacity: int
) -> None:
    red = RedPart(capacity)
    end = max((offset + size for offset, size in pieces), default=0)
    model = np.full(end, -1, np.int16)
    for index, (offset, size) in enumerate(pieces):
        place = model[offset : offset + size]
        clash = bool(((place >= 0) & (place != index)).any())
        new = int((place < 0).sum())
        added, differs = red.write(offset, memoryview(bytes((index,)) * size))
        assert added == new
        # A difference is seen where the octets lie in the buffer, not while they wait apart.
        assert clash or not differs
        if offset + size <= len(red._buffer) and not red._far:
            assert differs == clash
        place[place < 0] = index
        assert red.allocated <= 4 * int((model >= 0).sum()) + 2 * FIRST_BYTES
    for start, stop in list(red.ranges.gaps(0, end)):
        red.write(start, memoryview(bytes(stop - start)))
    assert bytes(red.whole(end)) == np.maximum(model, 0).astype(np.uint8).tobytes()


# ------------------------------------------------------------------------------------ timers


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["arm", "cancel", "pop", "suspend", "resume"]),
            st.sampled_from(list(TimerKind)),
            st.integers(0, 3),
            st.integers(0, 20),
        ),
        max_size=200,
    )
)
@example(
    [
        ("arm", TimerKind.CHECKPOINT, 0, 10),
        ("suspend", TimerKind.CHECKPOINT, 0, 0),
        ("resume", TimerKind.CHECKPOINT, 0, 6),
        ("pop", TimerKind.CHECKPOINT, 0, 6),
    ]
)
def test_timers_do_what_a_simple_model_does(
    steps: list[tuple[str, TimerKind, int, int]],
) -> None:
    timers = Timers()
    now = 0
    suspended: int | None = None
    wall: dict[TimerKey, int] = {}
    peer: dict[TimerKey, int] = {}
    for action, kind, serial, amount in steps:
        now += amount % 7
        key = TimerKey(kind, SESSION, serial)
        waits = kind <= TimerKind.CANCEL_IMPORT
        table = peer if waits else wall
        match action:
            case "arm":
                timers.arm(key, now, amount)
                since = suspended if waits and suspended is not None else now
                table[key] = since + amount
            case "cancel":
                timers.cancel(key)
                table.pop(key, None)
            case "suspend" if suspended is None:
                suspended = now
                timers.suspend(now)
            case "resume" if suspended is not None:
                peer = {each: deadline + now - suspended for each, deadline in peer.items()}
                suspended = None
                timers.resume(now)
        live = wall if suspended is not None else {**wall, **peer}
        due = {each for each, deadline in live.items() if deadline <= now}
        if action == "pop":
            found = set()
            while (popped := timers.pop_due(now)) is not None:
                found.add(popped[0])
            assert found == due
            wall = {each: deadline for each, deadline in wall.items() if each not in due}
            peer = {each: deadline for each, deadline in peer.items() if each not in due}
            live = {each: deadline for each, deadline in live.items() if each not in due}
        assert timers.awaiting_peer == len(peer)
        assert timers.running(key) == (key in wall or key in peer)
        after = timers.next()
        earliest = min(live.values(), default=None)
        if suspended is not None and not wall:
            assert after is None, "what waits for the peer is not due while it is away"
        elif earliest is None:
            assert after is None or after >= 0
        else:
            assert after is not None
            assert after <= earliest  # never late; a stale entry may wake us early


def test_timers_that_are_armed_again_and_again_take_no_memory() -> None:
    for count, most in ((1, 64), (32, 64), (33, 66), (500, 1000)):
        timers = Timers()
        lengths = set()
        for now in range(3000):
            session = SessionId(2, now % count)
            timers.arm(TimerKey(TimerKind.EXPORT_LIFETIME, session), now, 1_000_000)
            lengths.add(len(timers._wall._heap))
        assert max(lengths) == most, "half of it are stale at most, if it is worth a look"


# ------------------------------------------------------------------------------------ pacing


@given(st.floats(1e3, 1e11), st.integers(0, 10**8), st.lists(st.integers(0, 10**8), max_size=50))
def test_sending_never_runs_further_ahead_than_the_burst(
    rate: float, burst_ns: int, waits: list[int]
) -> None:
    bucket = Bucket(burst_ns, 1428)
    bucket.set_rate(rate, 0)
    now = sent = 0
    for wait in waits:
        allowed = bucket.allowance(now)
        assert allowed >= 0
        bucket.take(allowed, now)
        sent += allowed
        depth = max(burst_ns * rate / 8e9, 1428 + 3 * rate / 8e9)
        assert sent <= now * rate / 8e9 + depth + 2 * len(waits) + sent * 1e-9
        ready = bucket.ready_at(64_000)
        assert bucket.allowance(max(now, ready)) >= 1428  # a promise that is kept
        now += wait


def test_a_link_without_a_rate_is_not_paced() -> None:
    bucket = Bucket(1000, 1428)
    assert not bucket.paced
    bucket.take(1 << 40, 0)
    bucket.set_rate(0, 5)
    assert bucket.paced
    assert bucket.allowance(5) >= 1428
    bucket.set_rate(None, 6)
    assert not bucket.paced


def test_capsules() -> None:
    assert capsule_client(b"\x01abc\x81\x00xyz", 0) == (1, 1)
    assert capsule_client(b"\x01abc\x81\x00xyz", 4) == (128, 6)
    with pytest.raises(DecodeError):
        capsule_client(b"\x01abc", 4)


def test_a_block_of_a_mebibyte_and_its_headers_is_copied_once_as_it_grows() -> None:
    """What is around the octets of a payload would otherwise have all of them copied again."""
    red = RedPart(512 * 1024)
    rows = np.ones((1, 1024), np.uint8)
    sizes = set()
    for offset in range(0, 1_048_576 + 8 * 1024, 1024):
        assert red.append_rows(offset, rows)
        sizes.add(red.allocated)
    assert len(sizes) == 2
    assert max(sizes) <= 2 * 512 * 1024 + SLACK_BYTES
