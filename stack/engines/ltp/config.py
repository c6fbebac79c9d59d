"""What can be set on an LTP engine, with the reason of every default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from stack.core.bounds import Count
from stack.core.checks import check, check_bounds, check_range
from stack.core.clock import MILLISECOND, SECOND
from stack.core.limits import BUNDLE_BYTES_MAX, DATAGRAM_BYTES_MAX, IPV4_UDP_BYTES
from stack.wire.sdnv import SDNV_MAX

SEGMENT_BYTES_MIN = 128
"""A report with a few claims, whose every number takes its longest form, fits in it."""

DAY_NS = 86_400 * SECOND

_Large = Annotated[int, Meta(ge=1, le=10**12)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LtpConfig:
    """One LTP engine for one peer over one link.  Times are nanoseconds, sizes octets."""

    local_engine_id: int
    """Engine id under which this node begins sessions (RFC 5326 §3.1; RFC 7116: the node number
    of an ipn node)."""

    remote_engine_id: int
    """Engine id of the peer at the other end of the link."""

    accept_unknown_engines: bool = False
    """Take blocks from engine ids other than `remote_engine_id`.  Off: a stranger on the same
    UDP port can then open no sessions.  On: for ground stations that serve satellites which are
    not configured beforehand."""

    segment_bytes: Annotated[int, Meta(ge=SEGMENT_BYTES_MIN, le=DATAGRAM_BYTES_MAX)] = 1400
    """Octets of a full segment.  Every plain data segment has exactly this length, so that UDP
    segmentation offload and packet erasure codes see equal datagrams.  1400 leaves room for IPv6,
    UDP and a FEC payload id in 1500; larger is faster where the path carries it (64,000 on a
    loopback).  Too large: IP fragments, which multiply the loss."""

    train_bytes: Annotated[int, Meta(ge=SEGMENT_BYTES_MIN, le=1 << 24)] = 64_000
    """Most octets of one train.  One UDP segmentation offload call carries 65,000 octets and 64
    datagrams; the rest is left to FEC payload ids."""

    block_bytes: Annotated[int, Meta(ge=1, le=1 << 34)] = 1056 * 1024
    """Service data units are aggregated into blocks of up to this size and 512 units (CCSDS
    734.1-B-1 service data aggregation), down to a quarter of it on a link with a rate where more
    would take longer than `queue_ns`; a larger unit has a block of its own.  A block costs both
    ends together some 0.3 ms, whatever is in it: a unit of 64 KiB takes 9 % less than in blocks of
    half this size (`tests/benchmarks/bench_pair.py`).  There is room for the heads of four units of
    256 KiB, which files have."""

    block_bytes_max: Annotated[int, Meta(ge=1, le=1 << 34)] = BUNDLE_BYTES_MAX + 65_536
    """Largest block taken from the peer or the client.  Offsets beyond it are a violation."""

    aggregation_ns: Annotated[int, Meta(ge=0, le=DAY_NS)] = 2 * MILLISECOND
    """A unit waits for company at most this long, and only while earlier blocks are on their
    way: an idle link sends at once.  Too large: latency (ION waits for a second)."""

    checkpoint_every: Annotated[int, Meta(ge=0, le=10**12)] = 1024
    """A discretionary checkpoint after this many red segments of one block, 0 for none: a long
    block learns early what it lost.  1024 segments of 1400 octets are more than an aggregated block
    has.  None any more towards a peer that has cancelled a block with RLEXC: it grants few reports
    (ION)."""

    export_sessions_max: _Large = 1024
    """Blocks under way to the peer at once.  Paced links need rate x round trip x (rounds of
    retransmission + 1) / block_bytes of them."""

    import_sessions_max: _Large = 2048
    """Blocks arriving at once; more than a peer of the same kind ever starts, so that only an
    attacker or a dead peer's remains meet it."""

    queue_bytes: _Large = 64 * 1024 * 1024
    """Octets taken from the client and not yet acknowledged or failed.  It bounds the memory of
    the sending side; less is taken ahead, see `queue_ns`."""

    queue_ns: Annotated[int, Meta(ge=MILLISECOND, le=DAY_NS)] = SECOND
    """On a link with a rate no more is taken ahead of what has left than it carries in this time,
    though always a block of a quarter of `block_bytes`: what is urgent waits behind that.  What was
    sent and is not acknowledged does not count.  A link without a rate takes twice its window
    ahead.  Too small: blocks begin before they are full."""

    import_bytes_max: Annotated[int, Meta(ge=0, le=10**12)] = 256 * 1024 * 1024
    """Buffers of unfinished incoming blocks; segments beyond it are dropped and sent again."""

    window_bytes: Annotated[int, Meta(ge=4 * SEGMENT_BYTES_MIN, le=10**12)] = 2 * 1024 * 1024
    """Red octets on their way and not acknowledged, on a link without a rate, up to twice as many
    where blocks are so large that four of them are more: the receiver's socket buffer is the only
    queue there.  Where that loses a part, as an untuned buffer of 208 KiB does, smaller windows are
    tried, and kept where they bring more: bundles of 64 KiB come at 0.4 Gbit/s after some seconds,
    instead of 0.05 to 0.1.  A link with a rate is paced instead, and this does not apply."""

    window_bytes_max: Annotated[int, Meta(ge=0, le=10**12)] = 16 * 1024 * 1024
    """How far that may grow while more arrives for it and nothing is lost: acknowledgements wait
    for the peer's commit, so a slow disk needs a larger window.  Not above `window_bytes`: not at
    all.  Measured between two processes, sockets of 4 MiB, a disk that syncs in 5 to 8 ms: bundles
    of 1 MB at 2.0 instead of 0.7 Gbit/s, and with stores in memory at 12.8 instead of 5.5."""

    overhead_bytes: Annotated[int, Meta(ge=0, le=10**12)] = IPV4_UDP_BYTES
    """Octets that lower layers add to each datagram, counted against the link's rate: UDP and
    IPv4 headers."""

    burst_ns: Annotated[int, Meta(ge=0, le=DAY_NS)] = 4 * MILLISECOND
    """How far sending may run ahead of the link's rate.  It covers the lateness of timers; too
    large overruns the modem's queue."""

    timer_margin_ns: Annotated[int, Meta(ge=1, le=3660 * DAY_NS)] = 150 * MILLISECOND
    """Added to the round trip before an answer counts as lost (RFC 5326 §6.2, §6.3): the peer's
    queues and its durable commit.  Too small: needless repeats; too large: slow recovery.  Over
    FEC whose `report_delay_ns` is not set, a node adds twice the FEC's `block_time_ns`."""

    backoff_ns_max: Annotated[int, Meta(ge=1, le=3660 * DAY_NS)] = 5 * SECOND
    """Repeats double their interval up to this (never below one round trip and margin)."""

    checkpoint_limit: Annotated[int, Meta(ge=1, le=1 << 20)] = 20
    """Repeats of one checkpoint before the session is cancelled (RFC 5326 §6.7), counting only
    those since which the peer was heard: a blackout alone never cancels.  At 20 % loss each way
    one block in 10^9 fails."""

    report_limit: Annotated[int, Meta(ge=1, le=1 << 20)] = 20
    """The same for one report segment (RFC 5326 §6.8)."""

    cancel_limit: Annotated[int, Meta(ge=1, le=1 << 20)] = 10
    """Repeats of a cancel segment before the session is closed without its acknowledgement
    (RFC 5326 §6.16)."""

    stall_after: _Large = 8
    """Timers that expire with nothing heard in between before the link counts as stalled: new
    data waits, and single checkpoints or reports probe the link."""

    session_lifetime_ns: Annotated[int, Meta(ge=1, le=3660 * DAY_NS)] = DAY_NS
    """A session ends after this time whatever happens; it must span the gap between passes."""

    green_idle_ns: Annotated[int, Meta(ge=1, le=3660 * DAY_NS)] = 10 * SECOND
    """State of a green-only session is kept this long after its last segment; also the silence
    after which an unfinished session may be evicted when `import_sessions_max` is reached."""

    report_delay_ns: Annotated[int, Meta(ge=0, le=DAY_NS)] = 0
    """How long a report on an incomplete scope waits for stragglers: the decoding time of the FEC
    underneath, whose repairs arrive after the checkpoint.  0: none, and over FEC its
    `block_time_ns`."""

    async_report_ns: Annotated[int, Meta(ge=0, le=DAY_NS)] = 0
    """Send an asynchronous report (RFC 5326 §6.11) when a hole in the red part has lasted this
    long before its end arrived; 0 for never.  Useful for large blocks on slow links."""

    claims_max: Annotated[int, Meta(ge=1, le=1 << 20)] = 128
    """Reception claims in one report segment; fewer when `segment_bytes` holds fewer."""

    gaps_max: Count = 4096
    """Disjoint received runs of one block: bounds the memory of a hostile or hopeless block."""

    reports_max: Count = 64
    """Reports of one session under way at once, and checkpoints of it that wait for an answer;
    more are answered when these are acknowledged.  It bounds floods of either."""

    session_bits: Annotated[int, Meta(ge=8, le=62)] = 31
    """Bits of the random number from which sessions are counted, at each start (RFC 5326 §9.1).
    Where a number comes that the peer has had, in a session that it remembers or somebody has
    recorded and sends once more, it takes the new block for the old one, and what has not arrived
    counts as sent.  Other implementations have numbers of 32 bits; where AES-GMAC signs, which
    our nodes alone do, a node takes 48 at least."""

    closed_max: Count = 8192
    """Closed sessions remembered, so that late segments open no ghosts (RFC 5326 §6.20)."""

    acks_max: Count = 8192
    """Acknowledgements queued at once; those beyond are dropped and asked for again."""

    green_bytes_max: Annotated[int, Meta(ge=0, le=10**12)] = 16 * 1024 * 1024
    """Green data waiting in events that nobody takes; beyond it green segments are dropped."""

    violations_max: Count = 64
    """`PeerViolation` events waiting at once; beyond it they are only counted."""

    def __post_init__(self) -> None:
        check_bounds(self)
        for key in ("local_engine_id", "remote_engine_id"):
            check_range(key, getattr(self, key), 0, SDNV_MAX)
        for low, high in (
            ("segment_bytes", "train_bytes"),
            ("block_bytes", "block_bytes_max"),
        ):
            fits = getattr(self, low) <= getattr(self, high)
            check(f"{low}, {high}", fits, f"{low} is above {high}")
        fits = 4 * self.segment_bytes <= self.window_bytes
        check("window_bytes, segment_bytes", fits, "window_bytes is below 4 segment_bytes")
