"""The sending side: blocks cut into segments, recovery, pacing and bounds."""

from __future__ import annotations

from typing import Any

import pytest

from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError, LocalError
from stack.engines.ltp import (
    Failed,
    LinkAlive,
    LinkStalled,
    LtpConfig,
    LtpEngine,
    LtpEvent,
    PeerViolation,
    Sent,
    capsule_client,
)
from stack.engines.ltp.aggregator import UNITS_MAX
from stack.engines.ltp.config import DAY_NS
from stack.engines.ltp.retreat import DELAY_FIRST_NS
from stack.wire.ltp import (
    CancelAck,
    CancelReason,
    CancelSegment,
    DataSegment,
    ReportAck,
    Segment,
    SegmentType,
    SessionId,
    decode_segment,
)
from tests.engines.ltp.lone import (
    BURST,
    INTERVAL,
    LOCAL,
    OWLT,
    REMOTE,
    Lone,
    cancel,
    cancel_ack,
    red,
    report,
)


def data_said(lone: Lone) -> list[DataSegment]:
    return [segment for segment in lone.said() if isinstance(segment, DataSegment)]


def block_of(segments: list[DataSegment]) -> bytes:
    """The octets of the one block that these segments carry, which must be in order."""
    at = 0
    for segment in segments:
        assert segment.offset == at
        at += len(segment.data)
    return b"".join(bytes(segment.data) for segment in segments)


def last_checkpoint(segments: list[DataSegment]) -> DataSegment:
    return [segment for segment in segments if segment.is_checkpoint][-1]


def whole(segments: list[DataSegment], serial: int = 1) -> Any:
    """The report that claims all of a block."""
    last = last_checkpoint(segments)
    upper = last.offset + len(last.data)
    return report(last.session, serial, last.checkpoint_serial, 0, upper, (0, upper))


def given_back(lone: Lone) -> list[LtpEvent]:
    """What a block's first failure gives back, not before its time."""
    lone.wait(DELAY_FIRST_NS - 1)
    assert not any(isinstance(event, Failed) for event in lone.events())
    lone.wait(1)
    return lone.events()


# --------------------------------------------------------------------------------- segments


@pytest.mark.parametrize("segment_bytes", [128, 200, 1400, 16_390, 65_507])
@pytest.mark.parametrize("size", [1, 5000, 100_000, 262_000])
def test_a_block_becomes_equal_segments_that_end_in_a_checkpoint(
    segment_bytes: int, size: int
) -> None:
    config = {"train_bytes": max(64_000, segment_bytes), "checkpoint_every": 0}
    lone = Lone(segment_bytes=segment_bytes, **config)
    sdu = lone.submit(size)
    trains = lone.trains()
    sizes = [len(datagram) for train in trains for datagram in train.datagrams()]
    # Equal but for the checkpoint, one short segment before it when the rest of the block does
    # not fit both, and one octet where the length field of 16,384 octets would need one more.
    assert all(segment_bytes - 1 <= each <= segment_bytes for each in sizes[:-2])
    assert max(sizes) <= segment_bytes
    lone = Lone(segment_bytes=segment_bytes, **config)
    lone.submit(size)
    segments = data_said(lone)
    assert block_of(segments) == sdu
    assert [segment.kind for segment in segments[:-1]] == [SegmentType.RED] * (len(segments) - 1)
    assert segments[-1].kind == SegmentType.RED_END_BLOCK
    assert segments[-1].report_serial == 0
    assert {segment.client_service for segment in segments} == {1}
    assert {segment.session.engine for segment in segments} == {LOCAL}


def test_trains_fit_one_offload_call() -> None:
    lone = Lone()
    lone.submit(1_200_000)
    for train in lone.trains():
        assert len(train.data) <= 64_000
        assert train.datagram_count <= 64


def test_session_and_serial_numbers_are_not_predictable() -> None:
    runs = []
    for seed in (9, 9, 10):
        lone = Lone(seed=seed)
        for ref in range(3):
            lone.submit(1_200_000, ref)
        asked = [segment for segment in data_said(lone) if segment.is_checkpoint]
        runs.append([(each.session.number, each.checkpoint_serial) for each in asked])
    # The same entropy gives the same numbers, and nothing else does.
    assert runs[0] == runs[1]
    for which in range(2):
        assert len({pair[which] for pair in runs[0] + runs[2]}) == 6


@pytest.mark.parametrize("bits", [31, 48])
def test_session_numbers_begin_anywhere_in_their_range(bits: int) -> None:
    """Whoever has a recording of a number that comes again has the peer acknowledge the old block
    for the new one."""
    for octet, number in ((0xFF, (1 << bits) - 1), (0, 1)):
        config = LtpConfig(local_engine_id=1, remote_engine_id=2, session_bits=bits)
        engine = LtpEngine(config, entropy=bytes([octet]).__mul__)
        engine.submit(b"data", 1, 0)
        (train,) = engine.data_to_send(0)
        assert decode_segment(train.data)[0].session.number == number


def test_small_units_share_a_block() -> None:
    lone = Lone()
    units = [lone.submit(100 + ref, ref) for ref in range(5)]
    segments = data_said(lone)
    assert {segment.client_service for segment in segments} == {2}
    block = block_of(segments)
    at = 0
    for unit in units:
        client, at = capsule_client(block, at)
        assert client == 1
        assert block[at : at + len(unit)] == unit
        at += len(unit)
    assert at == len(block)
    lone.feed(whole(segments))
    assert lone.events() == [Sent((0, 1, 2, 3, 4))]


def test_a_block_is_sent_when_full_and_a_large_unit_has_its_own() -> None:
    lone = Lone(block_bytes=1000)
    for ref, size in enumerate([400, 400, 400, 5000, 10]):
        lone.submit(size, ref)
    blocks: dict[int, list[DataSegment]] = {}
    for segment in data_said(lone):
        blocks.setdefault(segment.session.number, []).append(segment)
    lone.wait(2 * MILLISECOND)
    for segment in data_said(lone):
        blocks.setdefault(segment.session.number, []).append(segment)
    sizes = [(len(block_of(each)), each[0].client_service) for each in blocks.values()]
    assert sizes == [(802, 2), (400, 1), (5000, 1), (10, 1)]


def test_a_block_has_512_units_at_most() -> None:
    lone = Lone()
    for ref in range(UNITS_MAX + 3):
        lone.submit(10, ref)
    first = data_said(lone)
    lone.wait(2 * MILLISECOND)
    blocks = [block_of(first), block_of(data_said(lone))]
    assert [len(block) for block in blocks] == [11 * UNITS_MAX, 33]


def test_an_idle_link_sends_at_once_and_a_busy_one_lets_units_gather() -> None:
    lone = Lone(aggregation_ns=3 * MILLISECOND)
    lone.submit(10, 1)
    assert len(lone.said()) == 1
    lone.submit(10, 2)
    lone.wait(MILLISECOND)
    lone.submit(10, 3)
    assert lone.said() == []
    assert lone.engine.next_deadline() == 3 * MILLISECOND
    lone.wait(2 * MILLISECOND)
    (segment,) = data_said(lone)
    assert len(segment.data) == 22


def test_discretionary_checkpoints() -> None:
    lone = Lone(checkpoint_every=10)
    sdu = lone.submit(100_000)
    segments = data_said(lone)
    assert block_of(segments) == sdu
    kinds = "".join(str(int(segment.kind)) for segment in segments)
    # 73 segments; none shortly before the checkpoint that ends the block.
    assert kinds == "0000000001" * 6 + "0000000000003"
    assert kinds[70:] in ("3", "03", "003")  # a rest that does not fit its checkpoint
    serials = [each.checkpoint_serial for each in segments if each.is_checkpoint]
    assert serials == list(range(serials[0], serials[0] + len(serials)))


def test_green_units_need_no_answer() -> None:
    lone = Lone()
    sdu = lone.submit(5000, 4, green=True)
    segments = data_said(lone)
    assert block_of(segments) == sdu
    assert [int(segment.kind) for segment in segments] == [4, 4, 4, 7]
    assert lone.events() == [Sent((4,))]
    assert lone.engine.next_deadline() is None
    assert lone.engine.held_bytes == 0


def test_a_block_of_both_colours() -> None:
    lone = Lone()
    lone.engine.submit_block([b"r" * 2000, b"g" * 2000], [1, 2], 2000, 7)
    segments = data_said(lone)
    assert block_of(segments) == b"r" * 2000 + b"g" * 2000
    assert [int(segment.kind) for segment in segments] == [0, 2, 4, 7]
    assert {segment.client_service for segment in segments} == {7}
    assert lone.events() == []
    lone.feed(whole(segments))
    assert lone.events() == [Sent((1, 2))]


def test_red_acknowledged_before_the_green_part_has_left() -> None:
    lone = Lone()
    lone.link(rate_bps=1e6)
    lone.engine.submit_block([b"r" * 400, b"g" * 100_000], [1], 400, 7)
    first = data_said(lone)
    lone.feed(whole([segment for segment in first if segment.kind < 4]))
    assert lone.events() == []
    for _ in range(1000):
        lone.wait(MILLISECOND)
        lone.said()
    assert lone.events() == [Sent((1,))]


# --------------------------------------------------------------------------------- recovery


def test_only_the_gaps_of_a_report_are_sent_again_and_end_in_a_checkpoint() -> None:
    lone = Lone()
    sdu = lone.submit(20_000)
    segments = data_said(lone)
    last = segments[-1]
    gaps = [2, 3, 7]
    spans = [
        (segment.offset, segment.offset + len(segment.data))
        for index, segment in enumerate(segments)
        if index not in gaps
    ]
    lone.feed(report(last.session, 40, last.checkpoint_serial, 0, 20_000, *spans))
    answer, *again = lone.said()
    assert answer == ReportAck(session=last.session, report_serial=40)
    missing = [segments[index] for index in gaps]
    assert sum(len(segment.data) for segment in again) == sum(len(gap.data) for gap in missing)
    for segment in again:
        stop = segment.offset + len(segment.data)
        assert bytes(segment.data) == sdu[segment.offset : stop]
        assert any(gap.offset <= segment.offset < gap.offset + len(gap.data) for gap in missing)
    assert [segment.is_checkpoint for segment in again] == [False] * (len(again) - 1) + [True]
    assert again[-1].kind == SegmentType.RED_CHECKPOINT  # not the end of the red part
    assert again[-1].report_serial == 40
    assert again[-1].checkpoint_serial == last.checkpoint_serial + 1
    secondary = report(
        last.session, 41, again[-1].checkpoint_serial, 0, again[-1].offset + len(again[-1].data),
        (0, again[-1].offset + len(again[-1].data)),
    )  # fmt: skip
    lone.feed(secondary)
    assert lone.said() == [ReportAck(session=last.session, report_serial=41)]
    assert lone.events() == [Sent((1,))]
    assert lone.engine.next_deadline() is None


def halves(lone: Lone, *, apart: int) -> list[Segment]:
    """A block is claimed in two reports, the second after the first but for `apart`: what is said
    then.  The first claims all but its beginning."""
    lone.submit(20_000)
    first, *_, last = data_said(lone)
    begin = len(first.data)
    lone.feed(report(last.session, 40, last.checkpoint_serial, 0, 20_000, (begin, 20_000)))
    *_, again = lone.said()
    assert isinstance(again, DataSegment)
    lone.feed(report(last.session, 41 + apart, again.checkpoint_serial, 0, begin, (0, begin)))
    return lone.said()


def test_what_a_receiver_claimed_before_it_was_set_back_does_not_count() -> None:
    """Its reports are counted from elsewhere then (RFC 5326 §3.2.2)."""
    lone = Lone()
    said = halves(lone, apart=100_000)
    assert any(isinstance(one, CancelSegment) for one in said)
    assert [type(event) for event in lone.events()] == [PeerViolation]
    lone.wait(DELAY_FIRST_NS)
    assert [event.refs for event in lone.events() if isinstance(event, Failed)] == [(1,)]
    lone = Lone()
    halves(lone, apart=20)
    assert lone.events() == [Sent((1,))]


def test_a_peer_that_never_counts_its_reports_is_served_all_the_same() -> None:
    lone = Lone()
    ended: list[type] = []
    for number in range(5):
        for one in halves(lone, apart=100_000 + number):
            if isinstance(one, CancelSegment):
                lone.feed(CancelAck(session=one.session, to_sender=True))
        ended += [type(event) for event in lone.events() if not isinstance(event, Failed)]
    assert ended == [PeerViolation] * 3 + [Sent] * 2


def test_a_report_says_nothing_of_what_lies_outside_its_scope() -> None:
    lone = Lone()
    lone.submit(20_000)
    last = data_said(lone)[-1]
    ask = last.checkpoint_serial
    lone.feed(report(last.session, 9, ask, 10_000, 20_000, (10_000, 12_000), (19_000, 20_000)))
    again = data_said(lone)
    assert min(segment.offset for segment in again) == 12_000
    assert max(segment.offset + len(segment.data) for segment in again) <= 19_000


def test_the_lost_end_is_sent_again_as_the_end() -> None:
    lone = Lone(checkpoint_every=2)
    lone.submit(5000)
    segments = data_said(lone)
    first = next(segment for segment in segments if segment.is_checkpoint)
    last = segments[-1]
    stop = first.offset + len(first.data)
    lone.feed(report(last.session, 9, first.checkpoint_serial, 0, stop, (0, stop)))
    lone.wait(INTERVAL)
    repeated = data_said(lone)
    assert repeated == [last]
    lone.feed(report(last.session, 10, last.checkpoint_serial, stop, 5000))
    again = data_said(lone)
    assert again[-1].kind == SegmentType.RED_END_BLOCK
    assert again[0].offset == stop
    lone.feed(whole(again, 11))
    assert lone.events() == [Sent((1,))]


def test_a_redundant_report_is_acknowledged_and_not_acted_on() -> None:
    lone = Lone()
    lone.submit(20_000)
    segments = data_said(lone)
    last = segments[-1]
    lost = report(last.session, 40, last.checkpoint_serial, 0, 20_000, (0, 10_000))
    lone.feed(lost)
    assert len(lone.said()) > 2
    lone.feed(lost)
    assert lone.said() == [ReportAck(session=last.session, report_serial=40)]
    lone.feed(whole(segments, 41))
    lone.said()
    lone.feed(whole(segments, 42))
    assert lone.said() == [ReportAck(session=last.session, report_serial=42)]
    unknown = SessionId(LOCAL, 5)
    lone.feed(report(unknown, 3, 1, 0, 10, (0, 10)))
    assert lone.said() == [ReportAck(session=unknown, report_serial=3)]


def test_gaps_that_wait_already_are_not_queued_twice() -> None:
    lone = Lone()
    lone.submit(20_000)
    last = data_said(lone)[-1]
    lone.link(tx_up=False)
    lone.feed(report(last.session, 40, last.checkpoint_serial, 0, 20_000, (0, 10_000)))
    lone.feed(report(last.session, 41, 0, 0, 20_000, (0, 10_000)))
    lone.link()
    assert sum(len(segment.data) for segment in data_said(lone)) == 10_000


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_one_of_several_reports_lost_does_not_hang_the_session(lost: int) -> None:
    lone = Lone()
    lone.submit(20_000)
    segments = data_said(lone)
    last = segments[-1]
    reports = [
        report(last.session, 40 + index, last.checkpoint_serial, lower, upper, (lower, upper))
        for index, (lower, upper) in enumerate([(0, 5000), (5000, 12_000), (12_000, 20_000)])
    ]
    lone.feed(*(each for index, each in enumerate(reports) if index != lost))
    assert len(lone.said()) == 2
    # The checkpoint is not accounted for: it asks again, and the receiver repeats its reports.
    lone.wait(INTERVAL)
    assert lone.said() == [last]
    lone.feed(*reports)
    assert lone.events() == [Sent((1,))]


def test_a_checkpoint_answered_while_its_repeat_waits_is_not_repeated() -> None:
    lone = Lone()
    lone.submit(3000)
    segments = data_said(lone)
    last = segments[-1]
    lone.link(tx_up=False)
    lone.wait(INTERVAL)
    lone.feed(report(last.session, 5, last.checkpoint_serial, 0, 3000, (10, 3000)))
    lone.link()
    again = data_said(lone)
    assert [(segment.offset, len(segment.data)) for segment in again] == [(0, 10)]


def test_a_later_report_speaks_for_an_earlier_checkpoint() -> None:
    lone = Lone(checkpoint_every=3)
    lone.submit(8000)
    segments = data_said(lone)
    lone.feed(report(segments[0].session, 9, segments[-1].checkpoint_serial, 0, 8000, (100, 8000)))
    again = data_said(lone)
    assert sum(len(segment.data) for segment in again) == 100
    lone.wait(INTERVAL)
    assert [each.checkpoint_serial for each in data_said(lone)] == [again[-1].checkpoint_serial]


def test_checkpoints_are_repeated_as_they_were_with_growing_intervals() -> None:
    lone = Lone(backoff_ns_max=SECOND)
    lone.submit(3000)
    last = data_said(lone)[-1]
    times = []
    for _ in range(3000):
        lone.wait(2 * MILLISECOND)
        if lone.engine.next_deadline() == 0:
            assert lone.said() == [last]
            times.append(lone.now)
    assert INTERVAL <= times[0] <= INTERVAL + 2 * MILLISECOND
    assert len(times) > 5
    assert lone.engine.counters()["checkpoints_repeated"] == len(times)


def test_a_peer_that_lives_but_never_reports_exhausts_the_limit() -> None:
    lone = Lone(checkpoint_limit=3)
    lone.submit(3000)
    repeats = 0
    said = lone.said()
    while lone.events() == []:
        lone.wait(MILLISECOND)
        lone.feed(cancel(SessionId(REMOTE, 9), by_sender=True))
        lone.said()
        lone.wait(10 * SECOND)
        said = lone.said()
        repeats += sum(isinstance(segment, DataSegment) for segment in said)
        assert repeats < 20
    assert repeats == 3
    (cancelled,) = [segment for segment in said if isinstance(segment, CancelSegment)]
    assert (cancelled.by_sender, cancelled.reason) == (True, CancelReason.RLEXC)
    lone.feed(cancel_ack(cancelled.session, to_sender=True))
    assert lone.engine.next_deadline() is None


# -------------------------------------------------------------------------------- link state


def test_timers_are_suspended_while_the_peer_is_away() -> None:
    lone = Lone()
    lone.submit(3000)
    last = data_said(lone)[-1]
    lone.wait(INTERVAL // 2)
    lone.link(rx_up=False)
    lone.wait(3600 * SECOND)
    assert lone.said() == []
    lone.link()
    lone.wait(INTERVAL - INTERVAL // 2 - 1)
    assert lone.said() == []
    lone.wait(1)
    assert lone.said() == [last]


def test_a_timer_that_starts_while_the_peer_is_away_starts_when_it_returns() -> None:
    lone = Lone()
    lone.link(rx_up=False)
    lone.submit(3000)
    last = data_said(lone)[-1]
    lone.wait(3600 * SECOND)
    lone.link()
    lone.wait(INTERVAL - 1)
    assert lone.said() == []
    lone.wait(1)
    assert lone.said() == [last]


def test_nothing_leaves_while_we_cannot_transmit_and_no_timer_counts() -> None:
    lone = Lone()
    lone.link(tx_up=False)
    lone.submit(3000)
    assert lone.said() == []
    lone.wait(3600 * SECOND)
    assert lone.engine.next_deadline() is None
    lone.link()
    assert len(data_said(lone)) == 3


def test_a_stall_holds_new_data_back_until_the_peer_is_heard_or_a_contact_begins() -> None:
    lone = Lone(stall_after=3)
    lone.submit(3000, 1)
    lone.said()
    for _ in range(20):
        lone.wait(6 * SECOND)
        lone.said()
    assert lone.events() == [LinkStalled()]
    lone.submit(3000, 2)
    assert lone.said() == []
    lone.feed(red(0, b"abc"))
    assert lone.events() == [LinkAlive()]
    assert len(data_said(lone)) == 1  # the checkpoint, before the new block
    lone.wait(lone.config.aggregation_ns)
    assert len(data_said(lone)) == 3
    for _ in range(20):
        lone.wait(6 * SECOND)
        lone.said()
    assert lone.events() == [LinkStalled()]
    lone.link(rx_up=False)
    lone.link()
    assert lone.events() == [LinkAlive()]
    assert len(data_said(lone)) == 2


def test_a_stall_with_nothing_left_to_ask_lets_new_data_probe() -> None:
    lone = Lone(stall_after=1, session_lifetime_ns=60 * SECOND, cancel_limit=1)
    lone.submit(3000, 1)
    lone.said()
    for _ in range(20):
        lone.wait(6 * SECOND)
        lone.said()
    assert lone.events() == [LinkStalled(), Failed((1,), CancelReason.SYS_CNCLD)]
    lone.submit(3000, 2)
    assert len(data_said(lone)) == 3


def test_the_rate_counts_datagram_overhead() -> None:
    lone = Lone(overhead_bytes=100, train_bytes=2800)
    lone.link(rate_bps=8e6)  # one octet a microsecond
    lone.submit(262_000)
    octets = 0
    while lone.now < 100 * MILLISECOND:
        for train in lone.trains():
            octets += len(train.data) + 100 * train.datagram_count
        assert octets <= (lone.now + BURST) / 1000 + 2
        deadline = lone.engine.next_deadline()
        assert deadline is not None
        assert deadline > lone.now
        lone.now = deadline
        lone.engine.handle_deadline(lone.now)
    assert octets >= 100_000


def test_a_very_slow_link_still_sends_whole_segments() -> None:
    lone = Lone()
    lone.link(rate_bps=1000)
    lone.submit(3000)
    count = 0
    for _ in range(100):
        count += len(lone.said())
        deadline = lone.engine.next_deadline()
        assert deadline is not None
        lone.now = max(lone.now, deadline)
        lone.engine.handle_deadline(lone.now)
        if count == 3:
            break
    # Two more segments at 11.4 s each after the first.
    assert 2 * 11 * SECOND < lone.now < 3 * 12 * SECOND


def test_an_unpaced_link_has_a_window_that_reports_open() -> None:
    lone = Lone(window_bytes=100_000, window_bytes_max=0)
    lone.submit(1_000_000)
    first = data_said(lone)
    sent = sum(len(segment.data) for segment in first)
    assert 100_000 <= sent <= 150_000
    assert first[-1].is_checkpoint  # or the window would never open again
    assert lone.said() == []
    one = next(segment for segment in first if segment.is_checkpoint)
    upper = one.offset + len(one.data)
    lone.feed(report(one.session, 5, one.checkpoint_serial, 0, upper, (0, upper)))
    assert sum(len(segment.data) for segment in data_said(lone)) <= upper + 50_000


def test_repeats_keep_to_the_rate_too() -> None:
    lone = Lone(checkpoint_every=2)
    lone.submit(50_000)
    segments = data_said(lone)
    last = segments[-1]
    lone.link(rate_bps=1e6)  # 4 ms of it hold less than one full datagram
    spans = [(at, at + 100) for at in range(0, 49_000, 1000)]
    lone.feed(report(last.session, 5, last.checkpoint_serial, 0, 50_000, *spans))
    octets = 0
    for _ in range(2000):
        trains = lone.trains()
        assert sum(len(train.data) + 28 * train.datagram_count for train in trains) <= 1429
        octets += sum(len(train.data) for train in trains)
        lone.wait(MILLISECOND)
    # Every gap again, and every checkpoint some times, at 125 octets a millisecond.
    assert 45_000 < octets < 2000 * 125 + 1429


def test_a_block_cancelled_while_it_is_being_sent() -> None:
    lone = Lone(session_lifetime_ns=60 * SECOND)
    lone.link(rate_bps=1e6)
    lone.engine.submit_block([bytes(50_000)], [1], 50_000, 1)
    lone.engine.submit_block([bytes(50_000)], [2], 50_000, 1)
    session = data_said(lone)[0].session
    lone.engine.cancel([1])
    lone.now += 20 * MILLISECOND
    assert lone.said()[0] == cancel(session, by_sender=True, reason=CancelReason.USR_CNCLD)
    lone.link(tx_up=False, rx_up=False)
    assert lone.events() == []
    lone.wait(120 * SECOND)  # both are too old now, and the second is cancelled
    assert lone.events() == [Failed((2,), CancelReason.SYS_CNCLD)]
    (other,) = lone.engine._sender._table.sessions.values()
    assert other.refs == (2,)
    assert lone.engine.held_bytes == 0


# ------------------------------------------------------------------------------ cancellation


def test_the_receiver_cancels() -> None:
    lone = Lone()
    lone.submit(3000)
    session = data_said(lone)[0].session
    lone.feed(cancel(session, by_sender=False, reason=CancelReason.UNREACH))
    assert lone.said() == [cancel_ack(session, to_sender=False)]
    assert given_back(lone) == [Failed((1,), CancelReason.UNREACH)]
    lone.feed(cancel(session, by_sender=False, reason=CancelReason.UNREACH))
    assert lone.said() == [cancel_ack(session, to_sender=False)]
    assert lone.events() == []
    assert lone.engine.next_deadline() is None


def test_the_client_cancels() -> None:
    lone = Lone(cancel_limit=2)
    lone.submit(3000)
    session = data_said(lone)[0].session
    lone.engine.cancel([2])
    assert lone.said() == []
    lone.engine.cancel([1, 2])
    lone.engine.cancel([1])
    assert lone.events() == [], "the client has said so itself"
    assert lone.engine.held_bytes == 0
    assert lone.engine.count("export_given_up") == 1
    assert not lone.engine.count("export_failed"), "nothing is wrong with the link"
    ours = cancel(session, by_sender=True, reason=CancelReason.USR_CNCLD)
    assert lone.said() == [ours]
    # A report on it is acknowledged and changes nothing.
    lone.feed(report(session, 5, 0, 0, 100, (0, 100)))
    assert lone.said() == [ReportAck(session=session, report_serial=5)]
    lone.wait(10 * SECOND)
    assert lone.said() == [ours]
    lone.wait(10 * SECOND)
    assert lone.said() == [ours]
    lone.wait(10 * SECOND)
    assert lone.said() == []
    assert lone.engine.next_deadline() is None


def test_a_block_goes_on_while_any_of_its_units_is_of_use() -> None:
    lone = Lone()
    for ref in (1, 2, 3):
        lone.submit(500, ref)
    segments = data_said(lone)
    session = segments[-1].session
    lone.engine.cancel([1, 3])
    assert lone.said() == []
    serial, length = segments[-1].checkpoint_serial, sum(len(one.data) for one in segments)
    lone.feed(report(session, 5, serial, 0, length, (0, length)))
    assert lone.events() == [Sent((2,))], "of what was given up nothing is said"
    for ref in (4, 5):
        lone.submit(500, ref)
    session = data_said(lone)[0].session
    lone.engine.cancel([4])
    lone.engine.cancel([5])
    assert lone.said() == [cancel(session, by_sender=True, reason=CancelReason.USR_CNCLD)]
    assert lone.engine.count("export_given_up") == 1


def test_what_no_session_has_begun_is_given_up_without_a_word() -> None:
    lone = Lone(export_sessions_max=1)
    lone.submit(3000)
    session = data_said(lone)[0].session
    for ref, size in ((2, 1_200_000), (3, 500), (4, 500), (5, 1_200_000), (6, 500)):
        lone.submit(size, ref)
    lone.engine.cancel([2, 3, 6])
    lone.engine.cancel([5])
    assert lone.said() == []
    lone.engine.cancel([1])
    assert lone.said() == [cancel(session, by_sender=True, reason=CancelReason.USR_CNCLD)]
    lone.feed(CancelAck(session=session, to_sender=True))
    assert sum(len(one.data) for one in data_said(lone)) == 1002, "a block of units 3 and 4"
    assert lone.engine.held_bytes == 1000
    assert lone.events() == []
    assert lone.engine.withdraw() == ()


def test_what_is_under_way_can_be_taken_back() -> None:
    lone = Lone(export_sessions_max=2, cancel_limit=1)
    assert not lone.engine.asking
    blocks = []
    for ref in (1, 2):
        lone.submit(1_200_000, ref)
        blocks.append(data_said(lone))
    sessions = [segments[0].session for segments in blocks]
    lone.submit(3000, 3)
    assert lone.engine.withdraw() == (3,)
    assert lone.engine.asking
    lone.submit(3000, 4)
    assert lone.engine.withdraw(begun=True) == (1, 2, 4), "in the order of their sending"
    assert lone.engine.held_bytes == 0
    said = [cancel(one, by_sender=True, reason=CancelReason.USR_CNCLD) for one in sessions]
    assert lone.said() == said
    # That the last one had arrived changes nothing: the client sends it again.
    lone.feed(whole(blocks[1]))
    assert lone.events() == []
    assert lone.engine.withdraw(begun=True) == ()
    lone.said()
    lone.feed(CancelAck(session=sessions[0], to_sender=True))
    assert lone.engine.asking, "the other has not been answered"
    lone.wait(10 * SECOND)
    assert lone.said() == said[1:]
    lone.wait(10 * SECOND)
    assert not lone.engine.asking, "that was the last time"


def test_the_acknowledgement_of_our_cancellation_stops_it() -> None:
    lone = Lone()
    lone.submit(3000)
    session = data_said(lone)[0].session
    lone.engine.cancel([1])
    assert lone.said() == [cancel(session, by_sender=True, reason=CancelReason.USR_CNCLD)]
    lone.feed(CancelAck(session=session, to_sender=True))
    lone.wait(100 * SECOND)
    assert lone.said() == []
    assert lone.engine.next_deadline() is None


def test_both_sides_cancel_at_once() -> None:
    lone = Lone()
    lone.submit(3000)
    session = data_said(lone)[0].session
    lone.engine.cancel([1])
    lone.feed(cancel(session, by_sender=False))
    assert lone.events() == []
    assert lone.said() == [cancel_ack(session, to_sender=False)]
    assert lone.engine.next_deadline() is None


def test_sessions_always_end() -> None:
    lone = Lone(session_lifetime_ns=60 * SECOND)
    lone.submit(3000, 1)
    lone.said()
    lone.link(tx_up=False, rx_up=False)
    lone.wait(60 * SECOND)
    assert lone.events() == [Failed((1,), CancelReason.SYS_CNCLD)]
    assert lone.engine.held_bytes == 0


# --------------------------------------------------------------------------- hostile reports


def test_reports_that_cannot_be_true_change_nothing() -> None:
    lone = Lone()
    lone.submit(20_000)
    segments = data_said(lone)
    last = segments[-1]
    cases = [
        (report(last.session, 5, last.checkpoint_serial, 0, 20_001, (0, 20_001)),
         "report on data never sent"),
        (report(last.session, 6, last.checkpoint_serial + 1, 0, 20_000, (0, 20_000)),
         "report answers a checkpoint never sent"),
        (report(last.session, 7, last.checkpoint_serial - 1, 0, 20_000, (0, 20_000)),
         "report answers a checkpoint never sent"),
    ]  # fmt: skip
    for each, code in cases:
        lone.feed(each)
        assert lone.events() == [PeerViolation(code, "RFC 5326 §3.2.2")]
    assert all(isinstance(segment, ReportAck) for segment in lone.said())
    lone.feed(whole(segments, 8))
    assert lone.events() == [Sent((1,))]


def test_claims_on_data_that_has_not_left_yet_are_not_believed() -> None:
    lone = Lone()
    lone.link(rate_bps=1e6)
    lone.submit(20_000)
    session = data_said(lone)[0].session
    lone.feed(report(session, 5, 0, 0, 20_000, (0, 20_000)))
    assert [type(event) for event in lone.events()] == [PeerViolation]


def test_a_receiver_that_takes_claims_back_has_lost_the_block() -> None:
    lone = Lone()
    lone.submit(20_000)
    last = data_said(lone)[-1]
    lone.feed(report(last.session, 5, last.checkpoint_serial, 0, 20_000, (0, 10_000)))
    second = last_checkpoint(data_said(lone))
    lone.feed(report(last.session, 99, second.checkpoint_serial, 0, 20_000, (15_000, 20_000)))
    assert [type(event) for event in lone.events()] == [PeerViolation]
    assert given_back(lone) == [Failed((1,), CancelReason.SYS_CNCLD)]


def test_a_session_combed_by_reports_is_cancelled() -> None:
    lone = Lone()
    lone.submit(20_000)
    last = data_said(lone)[-1]
    for serial in range(1, 200):
        lone.feed(report(last.session, serial, 0, 0, 20_000, (serial, serial + 1)))
    lone.events()
    assert given_back(lone) == [Failed((1,), CancelReason.RXMTCYCEXC)]
    (session,) = lone.engine._sender._table.sessions.values()
    assert len(session.reports_seen) < 100  # 15 segments and some slack


def test_claims_in_finer_pieces_than_segments_are_not_followed() -> None:
    """One report of 4,000 claims would have 4,000 small segments sent."""
    lone = Lone()
    lone.submit(20_000)
    last = data_said(lone)[-1]
    claims = [(at, at + 1) for at in range(0, 8000, 2)]
    lone.feed(report(last.session, 1, last.checkpoint_serial, 0, 20_000, *claims))
    assert [type(each).__name__ for each in lone.said()] == ["ReportAck", "CancelSegment"]
    lone.events()
    assert given_back(lone) == [Failed((1,), CancelReason.RXMTCYCEXC)]


def test_what_is_sent_again_is_bounded_by_the_size_of_the_block() -> None:
    """A report that denies everything takes twenty octets to write."""
    lone = Lone()
    lone.submit(50_000)
    last = data_said(lone)[-1]
    sent = 0
    for serial in range(1, 90):
        lone.feed(report(last.session, serial, last.checkpoint_serial, 0, 50_000))
        sent += sum(len(train.data) for train in lone.trains())
    lone.events()
    assert given_back(lone) == [Failed((1,), CancelReason.RXMTCYCEXC)]
    assert 2 * 50_000 < sent < 10 * (50_000 + 64 * 1400)


def test_a_report_without_a_checkpoint_completes_nothing() -> None:
    """Whoever sees a session id can write one (RFC 5326 §6.11: only before the red part ended)."""
    lone = Lone()
    lone.submit(5000, 7)
    segments = data_said(lone)
    last = segments[-1]
    lone.feed(report(last.session, 50, 0, 0, 5000, (0, 5000)))
    assert [type(segment).__name__ for segment in lone.said()] == ["ReportAck"]
    assert lone.events() == []
    # The checkpoint that ends the block is asked again all the same.
    lone.wait(INTERVAL)
    assert data_said(lone) == [last]
    lone.feed(report(last.session, 51, last.checkpoint_serial, 0, 5000, (0, 5000)))
    assert lone.events() == [Sent((7,))]


def test_what_only_such_a_report_claims_is_asked_about_once() -> None:
    """It is not sent again (another stack says so when the last hole closed late), but the
    receiver is asked, and what it denies then goes again."""
    lone = Lone()
    lone.submit(5000, 7)
    segments = data_said(lone)
    last = segments[-1]
    lone.feed(report(last.session, 50, 0, 0, 5000, (0, 5000)))
    lone.feed(report(last.session, 51, last.checkpoint_serial, 0, 5000, (3000, 5000)))
    asked = data_said(lone)
    assert sum(len(each.data) for each in asked) < 1400
    (checkpoint,) = (each for each in asked if each.is_checkpoint)
    assert checkpoint.report_serial == 51
    start, stop = asked[0].offset, checkpoint.offset + len(checkpoint.data)
    assert stop == 3000
    lone.feed(report(last.session, 52, checkpoint.checkpoint_serial, 0, stop, (start, stop)))
    again = data_said(lone)
    assert sum(len(each.data) for each in again) == start
    lone.feed(report(last.session, 53, again[-1].checkpoint_serial, 0, start, (0, start)))
    assert lone.events() == [Sent((7,))]


def test_reports_that_come_together_are_answered_by_one_checkpoint() -> None:
    lone = Lone()
    lone.submit(20_000)
    last = data_said(lone)[-1]
    ask = last.checkpoint_serial
    lone.feed(report(last.session, 50, ask, 0, 9000, (1000, 2000), (4000, 9000)))
    plain = data_said(lone)
    assert not any(segment.is_checkpoint for segment in plain)
    lone.feed(report(last.session, 51, ask, 9000, 20_000, (9500, 20_000)))
    rest = data_said(lone)
    assert [segment.is_checkpoint for segment in rest] == [False] * (len(rest) - 1) + [True]
    assert rest[-1].report_serial == 50  # that of the lowest lower bound: it speaks for both
    again = {at for each in plain + rest for at in range(each.offset, each.offset + len(each.data))}
    assert again == {*range(1000), *range(2000, 4000), *range(9000, 9500)}


# ------------------------------------------------------------------------------------ bounds


@pytest.mark.parametrize("gap", [*range(1378, 1390), 1, 5000])
def test_what_is_kept_back_for_the_checkpoint_holds_up_nothing(gap: int) -> None:
    lone = Lone()
    lone.submit(200_000, 1)
    last = data_said(lone)[-1]
    ask, stop = last.checkpoint_serial, 100 + gap
    lone.feed(report(last.session, 50, ask, 0, 1 << 16, (0, 100), (stop, 1 << 16)))
    lone.said()
    deadline = lone.engine.next_deadline()
    assert deadline is not None
    assert deadline > lone.now, "nothing can leave, and it would be asked for ever"
    lone.submit(100, 2)
    lone.wait(2 * MILLISECOND)
    assert [segment.session for segment in data_said(lone)] != [last.session]


def test_room_is_given_back_by_success_failure_and_withdrawal() -> None:
    lone = Lone(queue_bytes=10_000, block_bytes=4000)
    assert lone.engine.room() == 10_000
    lone.submit(3000, 1)
    segments = data_said(lone)
    assert lone.engine.room() == 7000
    lone.submit(50_000, 2)  # one unit of any size while there is room
    assert lone.engine.room() == 0
    with pytest.raises(LocalError):
        lone.submit(1, 3)
    lone.feed(whole(segments))
    assert lone.engine.room() == 0
    assert lone.engine.withdraw() == (2,)
    assert lone.engine.room() == 10_000
    lone.submit(10, 4)
    lone.submit(10, 5)
    assert lone.engine.withdraw() == (4, 5)
    assert lone.engine.withdraw() == ()
    assert lone.engine.room() == 10_000
    lone.submit(10, 6)
    lone.submit(10, 7)
    session = data_said(lone)[0].session
    lone.feed(cancel(session, by_sender=False))
    assert lone.engine.room() == 10_000


@pytest.mark.parametrize("size", [0, 70_000_000])
def test_units_that_cannot_be_sent_are_refused(size: int) -> None:
    lone = Lone()
    with pytest.raises(LocalError):
        lone.engine.submit(bytes(size), 1, lone.now)
    with pytest.raises(LocalError):
        lone.engine.submit_block([bytes(10)], [1], 11, 1)


def test_sessions_at_once_are_bounded() -> None:
    lone = Lone(export_sessions_max=2, block_bytes=100)
    for ref in range(5):
        lone.submit(100, ref)
    segments = data_said(lone)
    assert len(segments) == 2
    assert lone.said() == []
    lone.feed(whole(segments[:1]))
    assert len(data_said(lone)) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"segment_bytes": 127},
        {"segment_bytes": 65_508},
        {"train_bytes": 1399},
        {"block_bytes": 0},
        {"window_bytes": 1400},
        {"remote_engine_id": 1 << 64},
        {"checkpoint_limit": 0},
        {"timer_margin_ns": 0},
        {"burst_ns": -1},
        {"session_lifetime_ns": 3661 * DAY_NS},
    ],
)
def test_configurations_that_cannot_work_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LtpConfig(**{"local_engine_id": 1, "remote_engine_id": 2, **fields})


def test_timers_know_the_light_time() -> None:
    lone = Lone()
    lone.engine.link(0, tx_up=True, rx_up=True, rate_bps=None, owlt_ns=240 * SECOND)
    lone.submit(3000)
    lone.said()
    assert lone.engine.next_deadline() is not None
    lone.wait(480 * SECOND)
    assert lone.said() == []
    lone.wait(INTERVAL - 2 * OWLT)
    assert len(lone.said()) == 1


def test_units_that_wait_for_company_are_not_overtaken_by_whole_blocks() -> None:
    """Found by the swarm: while a peer refused all, and blocks went one at a time, units that
    waited for company waited for ever behind blocks that came after them."""
    lone = Lone()
    lone.submit(10, 1)
    lone.said()  # the link is busy from now on
    lone.submit(20, 2)
    lone.engine.submit_block([b"x" * 30], [3], 30, 1)
    lone.submit(40, 4, green=True)
    sizes = [len(segment.data) for segment in data_said(lone)]
    assert sizes == [20, 30, 40]
