"""LTP segments that are hard to bear (RFC 5326), each kind by its name."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from interop.strategies.choices import Choices
from interop.strategies.hostile import (
    LARGE,
    MOST,
    Hostile,
    HostileKinds,
    Weakness,
    one_hostile,
)
from interop.strategies.ltp import (
    CHECKPOINT_KINDS,
    Fields,
    data_segments,
    fields,
    report_segments,
    sdnv,
)
from interop.strategies.making import strategy
from stack.wire.ltp import (
    EXTENSIONS_MAX,
    CancelSegment,
    Claim,
    DataSegment,
    Extension,
    ReportSegment,
    SegmentType,
    SessionId,
    encode_segment,
)

DATAGRAM_BYTES = 65_507
"""Nothing longer comes over UDP."""


def _data(choose: Choices) -> DataSegment:
    return replace(data_segments.make(choose, kinds=CHECKPOINT_KINDS), header=(), trailer=())


def _report(choose: Choices) -> ReportSegment:
    return replace(report_segments.make(choose), header=(), trailer=())


def _with(parts: Fields, **values: bytes) -> bytes:
    """The octets with other fields: underscores stand for blanks."""
    return b"".join((parts | {key.replace("_", " "): one for key, one in values.items()}).values())


def _beyond(choose: Choices) -> bytes:
    return _with(fields(_data(choose)), length=sdnv(choose.pick((*LARGE, MOST))))


def _short(choose: Choices) -> bytes:
    parts = fields(_data(choose)) | {"data": choose.octets(2, 60)}
    return _with(parts, length=sdnv(choose.integer(0, len(parts["data"]) - 1)))


def _many_claims(choose: Choices) -> bytes:
    return _with(fields(_report(choose)), claim_count=sdnv(choose.pick((*LARGE, MOST))))


def _no_extensions(choose: Choices) -> bytes:
    parts = fields(_report(choose))
    kept = ("control", "engine", "number")
    return b"".join(parts[name] for name in kept) + choose.pick((b"\xff", b"\xf0", b"\xff\x00"))


def _long_extension(choose: Choices) -> bytes:
    size = sdnv(choose.pick((*LARGE, MOST)))
    return _with(fields(_data(choose)), counts=b"\x10", header=b"\x00" + size)


def _counters(choose: Choices) -> bytes:
    session = SessionId(MOST, MOST)
    if choose.flip():
        claims = (Claim(0, choose.pick((1, 1 << 63, MOST))),)
        return encode_segment(
            replace(
                _report(choose), session=session, report_serial=MOST, checkpoint_serial=MOST,
                lower=0, upper=MOST, claims=claims,
            )
        )  # fmt: skip
    return encode_segment(
        replace(
            _data(choose), session=session, checkpoint_serial=MOST, report_serial=MOST,
            client_service=MOST, offset=choose.pick((1 << 63, MOST - 200)), data=b"x",
        )
    )  # fmt: skip


def _over_the_end(choose: Choices) -> bytes:
    return _with(fields(replace(_data(choose), data=b"abcd")), offset=sdnv(MOST - 2))


def _claim_over_the_end(choose: Choices) -> bytes:
    claim = sdnv(choose.pick((1, MOST))) + sdnv(MOST)
    return _with(
        fields(_report(choose)),
        upper=sdnv(MOST), lower=sdnv(choose.pick((1, MOST - 1))), claim_count=b"\x01", claims=claim,
    )  # fmt: skip


def _full_report(choose: Choices) -> bytes:
    count = choose.pick((1_000, 9_000))
    return _with(
        fields(_report(choose)),
        upper=sdnv(2 * count), lower=b"\0", claim_count=sdnv(count), claims=_apart(count),
    )  # fmt: skip


@functools.lru_cache(maxsize=2)
def _apart(count: int) -> bytes:
    """So many claims of one octet, each beyond the last one."""
    return b"".join(sdnv(2 * at) + sdnv(1) for at in range(count))


def _full_extensions(choose: Choices) -> bytes:
    tag = choose.integer(0, 255)
    some = tuple(Extension(tag, choose.octets(0, 3)) for _ in range(EXTENSIONS_MAX))
    return encode_segment(replace(_data(choose), header=some, trailer=some))


def _padded(choose: Choices) -> bytes:
    """Every number in ten octets, as RFC 6256 §3 lets senders write them."""
    parts = fields(_data(choose))
    names = ("engine", "number", "client service", "offset", "length", "checkpoint serial",
             "report serial")  # fmt: skip
    return b"".join(
        bytes((0x80,)) * (10 - len(one)) + one if name in names else one
        for name, one in parts.items()
    )


def _endless(choose: Choices) -> bytes:
    parts = fields(_data(choose))
    return parts["control"] + b"\x80" * choose.pick((10, 1_000, DATAGRAM_BYTES - 1))


def _empty(choose: Choices) -> bytes:
    kind = choose.pick((SegmentType.RED, SegmentType.RED_END_BLOCK, SegmentType.GREEN))
    checkpoint = kind is SegmentType.RED_END_BLOCK
    return encode_segment(
        replace(
            _data(choose), kind=kind, offset=0, data=b"",
            checkpoint_serial=1 if checkpoint else 0, report_serial=0,
        )
    )  # fmt: skip


def _again(choose: Choices) -> bytes:
    return _claims(choose, ((5, 5), (5, 5)))


def _reordered(choose: Choices) -> bytes:
    return _claims(choose, ((30, 5), (20, 5), (10, 5)))


def _claims(choose: Choices, claims: tuple[tuple[int, int], ...]) -> bytes:
    octets = b"".join(sdnv(value) for claim in claims for value in claim)
    return _with(
        fields(_report(choose)),
        upper=sdnv(100), lower=b"\0", claim_count=sdnv(len(claims)), claims=octets,
    )  # fmt: skip


def _reason(choose: Choices) -> bytes:
    session = SessionId(choose.uint(), choose.uint())
    reason = choose.integer(6, 255)
    return encode_segment(CancelSegment(session=session, by_sender=choose.flip(), reason=reason))


def _nothing(choose: Choices) -> bytes:
    return fields(_data(choose))["control"] * choose.integer(0, 1)


SEGMENT_WEAKNESSES: HostileKinds = {
    Weakness("a length field beyond the buffer", False): _beyond,
    Weakness("a length field short of its content", False): _short,
    Weakness("more claims than there are", False): _many_claims,
    Weakness("extensions that are counted and not there", False): _no_extensions,
    Weakness("an extension longer than the buffer", False): _long_extension,
    Weakness("counters at their ends", True): _counters,
    Weakness("data that go over the end of 64 bits", True): _over_the_end,
    Weakness("a claim that goes over the end of 64 bits", False): _claim_over_the_end,
    Weakness("as many claims as a datagram holds", True): _full_report,
    Weakness("as many extensions as there may be, all of one tag", True): _full_extensions,
    Weakness("numbers of every width, padded", True): _padded,
    Weakness("a number that does not end", False): _endless,
    Weakness("empty things", True): _empty,
    Weakness("duplicate claims", False): _again,
    Weakness("claims in another order", False): _reordered,
    Weakness("reasons that nobody has assigned", True): _reason,
    Weakness("a segment of hardly an octet", False): _nothing,
}
"""All kinds, and what makes them.  SDNVs have no end (RFC 6256): what goes beyond 64 bits is for an
engine to refuse, whose blocks are not as long."""


@strategy
def hostile_segments(choose: Choices, *, weaknesses: Sequence[Weakness] | None = None) -> Hostile:
    """A segment of one of `weaknesses`, or of all (`SEGMENT_WEAKNESSES`)."""
    return one_hostile(choose, SEGMENT_WEAKNESSES, weaknesses)
