"""LTP transfers: one block as its sender's segments, as they may reach a receiver (RFC 5326 §6.1,
§6.9), and the same with one segment that contradicts those before it.

    pieces()             a block's segments as they leave for the first time
    transfers()          and as they arrive: lost, late, twice, again
    nearly_transfers()   one segment among them breaks a rule of `TRANSFER_RULES`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from interop.strategies.choices import Choices, Source
from interop.strategies.ltp import U64, number, session_ids
from interop.strategies.making import Maker, strategy
from interop.strategies.violation import Violation
from stack.wire.ltp import (
    CLIENT_BP,
    CancelReason,
    CancelSegment,
    DataSegment,
    SegmentType,
    SessionId,
    encode_segment,
)

_SESSIONS = session_ids.maker()

_RED_ENDS = (SegmentType.RED_END, SegmentType.RED_END_BLOCK)


@dataclass(frozen=True, slots=True)
class Transfer:
    """One block, and the segments of its sender that reach a receiver, in this order."""

    session: SessionId
    block: bytes
    red_bytes: int
    """Length of the red part; the rest of the block is green."""

    segments: tuple[DataSegment | CancelSegment, ...]

    @property
    def datagrams(self) -> tuple[bytes, ...]:
        """One for each segment."""
        return tuple(map(encode_segment, self.segments))

    @property
    def cancelled(self) -> bool:
        """Whether the sender gave it up."""
        return any(isinstance(one, CancelSegment) for one in self.segments)

    @property
    def whole(self) -> bool:
        """Whether all red octets and their end are here, and nothing cancels them: a receiver has
        to report all of the red part (§6.9)."""
        red = [one for one in self.segments if isinstance(one, DataSegment) and one.kind <= 3]
        spans = [(one.offset, one.offset + len(one.data)) for one in red]
        ends = any(one.kind in _RED_ENDS for one in red)
        return ends and not self.cancelled and not holes(spans, 0, self.red_bytes)


@dataclass(frozen=True, slots=True)
class NearlyTransfer:
    """A transfer of which one segment contradicts those before it."""

    transfer: Transfer
    """Right without segment `at`."""

    at: int
    """Which of its segments breaks the rule."""

    violation: Violation


def holes(spans: Iterable[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    """What half-open spans leave of [start, stop)."""
    found = []
    for first, last in sorted(spans):
        if first > start:
            found.append((start, min(first, stop)))
        start = max(start, last)
        if start >= stop:
            return found
    return [*found, (start, stop)] if start < stop else found


@strategy
def pieces(
    choose: Choices,
    *,
    session: Source[SessionId] = _SESSIONS,
    part_bytes_max: int = 300,
    red: bool | None = None,
    green: bool | None = None,
) -> Transfer:
    """A block in segments as they leave for the first time (§6.1): each octet once, in order, the
    last red one a checkpoint, others as it likes.  Parts that are wished for (True) have two
    pieces or more; None leaves it open whether there is one."""
    red_bytes, red_cuts = _part(choose, red, part_bytes_max)
    green_bytes, green_cuts = _part(choose, green, part_bytes_max)
    if red_bytes + green_bytes == 0:
        red_bytes = 1
    block = choose.octets(red_bytes + green_bytes, red_bytes + green_bytes)
    name, serial = choose.draw(session), choose.integer(1, 1 << 20)
    found = []
    for start, stop in _cut(choose, 0, red_bytes, red_cuts):
        kind = SegmentType.RED_CHECKPOINT if choose.flip(4) else SegmentType.RED
        if stop == red_bytes:
            kind = SegmentType.RED_END if green_bytes else SegmentType.RED_END_BLOCK
        found.append(data_segment(name, block, start, stop, kind, serial))
        serial += found[-1].is_checkpoint
    for start, stop in _cut(choose, red_bytes, len(block), green_cuts):
        kind = SegmentType.GREEN_END_BLOCK if stop == len(block) else SegmentType.GREEN
        found.append(data_segment(name, block, start, stop, kind, serial))
    return Transfer(name, block, red_bytes, tuple(found))


def _part(choose: Choices, wished: bool | None, most: int) -> tuple[int, int]:
    """Length of the red or the green part, and the cuts that it has at least."""
    if wished:
        return choose.integer(3, most), 1
    return (0 if wished is False or choose.flip(3) else choose.integer(1, most)), 0


def _cut(choose: Choices, start: int, stop: int, least: int) -> list[tuple[int, int]]:
    """Some pieces of [start, stop), each of one octet or more."""
    found = []
    for _ in choose.many(least, 7):
        if start + 1 < stop:
            found.append((start, choose.integer(start + 1, stop - 1)))
            start = found[-1][1]
    return [*found, (start, stop)] if start < stop else found


def data_segment(
    session: SessionId, block: bytes, start: int, stop: int, kind: SegmentType, serial: int
) -> DataSegment:
    """Octets [start, stop) of a block; `serial` is for checkpoints."""
    return DataSegment(
        session=session,
        kind=kind,
        client_service=CLIENT_BP,
        offset=start,
        data=block[start:stop],
        checkpoint_serial=serial if SegmentType.RED < kind < SegmentType.GREEN else 0,
    )


@strategy
def transfers(
    choose: Choices,
    *,
    session: Source[SessionId] = _SESSIONS,
    part_bytes_max: int = 300,
    losses: bool = True,
    cancels: bool = True,
) -> Transfer:
    """A block on its way over a link: segments are lost, come twice or late, and are sent again,
    the last of each round as a checkpoint (§6.13); or its sender gives it up (§4.2)."""
    first = pieces.make(choose, session=session, part_bytes_max=part_bytes_max)
    serial = 1 + max((one.checkpoint_serial for one in parts(first)), default=0)
    arrived, lost = _pass(choose, list(parts(first)), losses)
    for last in (False, False, True):
        lost = [one for one in lost if one.kind <= SegmentType.RED_END_BLOCK]
        if lost:
            closing = lost[-1].kind
            if closing not in _RED_ENDS:
                closing = SegmentType.RED_CHECKPOINT
            lost[-1] = replace(lost[-1], kind=closing, checkpoint_serial=serial)
            serial += 1
            more, lost = _pass(choose, lost, losses and not last)
            arrived += more
    segments: list[DataSegment | CancelSegment] = list(arrived)
    if losses and choose.flip(4):
        segments = segments[: choose.integer(0, len(segments))]
    if cancels and choose.flip(6):
        reason = choose.pick((CancelReason.USR_CNCLD, CancelReason.SYS_CNCLD))
        cancel = CancelSegment(session=first.session, by_sender=True, reason=reason)
        segments.insert(choose.integer(0, len(segments)), cancel)
    return replace(first, segments=tuple(segments))


def parts(transfer: Transfer) -> tuple[DataSegment, ...]:
    """The data segments of a transfer."""
    return tuple(one for one in transfer.segments if isinstance(one, DataSegment))


def _pass(
    choose: Choices, sent: list[DataSegment], losses: bool
) -> tuple[list[DataSegment], list[DataSegment]]:
    """What of the segments arrives, in which order, and what is lost."""
    arrived: list[DataSegment] = []
    lost: list[DataSegment] = []
    for segment in sent:
        if losses and choose.flip(4):
            lost.append(segment)
            continue
        late = choose.integer(0, min(2, len(arrived))) if choose.flip(5) else 0
        arrived.insert(len(arrived) - late, segment)
        if choose.flip(8):
            arrived.append(segment)
    return arrived, lost


# ----------------------------------------------------------------- what contradicts a transfer

_Spoiled = tuple[tuple[DataSegment, ...], DataSegment, tuple[DataSegment, ...]]
"""What comes before, the segment that contradicts it, and what comes after."""


def _of(transfer: Transfer, kind: int, offset: int, data: bytes, serial: int = 0) -> DataSegment:
    return DataSegment(
        session=transfer.session,
        kind=SegmentType(kind),
        client_service=CLIENT_BP,
        offset=offset,
        data=data,
        checkpoint_serial=serial,
    )


def _with_a_hole(
    choose: Choices, transfer: Transfer
) -> tuple[DataSegment, tuple[DataSegment, ...]]:
    """One plain red segment, and all the others."""
    data = parts(transfer)
    late = choose.pick([one for one in data if one.kind <= SegmentType.RED_CHECKPOINT])
    return late, tuple(one for one in data if one is not late)


def _endless(transfer: Transfer) -> tuple[DataSegment, ...]:
    """The same data, of which nothing says where red part and block end."""
    return tuple(
        replace(one, kind=SegmentType(one.kind & 4), checkpoint_serial=0) for one in parts(transfer)
    )


def _red_beyond(choose: Choices, transfer: Transfer, kind: int = 0, serial: int = 0) -> _Spoiled:
    late, before = _with_a_hole(choose, transfer)
    offset = transfer.red_bytes + choose.integer(-1, 100)
    data = transfer.block[offset:] + choose.octets(1, 40)
    return before, _of(transfer, kind, offset, data, serial), (late,)


def _ends_elsewhere(choose: Choices, transfer: Transfer) -> _Spoiled:
    kind, serial = choose.pick((2, 3)), choose.integer(1 << 21, 1 << 22)
    if choose.flip():
        return _red_beyond(choose, transfer, kind, serial)
    late, before = _with_a_hole(choose, transfer)
    stop = choose.integer(1, transfer.red_bytes - 1)
    offset = choose.integer(0, stop - 1)
    return before, _of(transfer, kind, offset, transfer.block[offset:stop], serial), (late,)


def _other_client(choose: Choices, transfer: Transfer) -> _Spoiled:
    late, before = _with_a_hole(choose, transfer)
    again = choose.pick(before)
    return before, replace(again, client_service=number(choose, CLIENT_BP + 1)), (late,)


def _other_octets(choose: Choices, transfer: Transfer) -> _Spoiled:
    late, before = _with_a_hole(choose, transfer)
    again = choose.pick(before)
    at = choose.integer(0, len(again.data) - 1)
    data = bytearray(again.data)
    data[at] ^= choose.integer(1, 255)
    return before, _of(transfer, 0, again.offset, bytes(data)), (late,)


def _serial_again(choose: Choices, transfer: Transfer) -> _Spoiled:
    late, before = _with_a_hole(choose, transfer)
    first = next(one for one in before if one.is_checkpoint)
    end = first.offset + len(first.data)
    stop = choose.pick([at for at in (1, 2, transfer.red_bytes) if at != end])
    data = transfer.block[stop - 1 : stop]
    return before, _of(transfer, 1, stop - 1, data, first.checkpoint_serial), (late,)


def _after_the_block(choose: Choices, transfer: Transfer) -> _Spoiled:
    offset = len(transfer.block) + choose.integer(0, 100)
    return parts(transfer), _of(transfer, choose.pick((4, 7)), offset, choose.octets(1, 40)), ()


def _block_ends_early(choose: Choices, transfer: Transfer) -> _Spoiled:
    start, block = transfer.red_bytes, transfer.block
    red = tuple(one for one in parts(transfer) if one.kind < SegmentType.GREEN)
    before = (*red, _of(transfer, 4, start, block[start:]))
    return (
        before,
        _of(transfer, 7, start, block[start : choose.integer(start + 1, len(block) - 1)]),
        (),
    )


def _past_64_bits(choose: Choices, transfer: Transfer) -> _Spoiled:
    data = choose.octets(2, 40)
    before = _endless(transfer)
    return before, _of(transfer, 0, U64 - choose.integer(0, len(data) - 2), data), ()


def _red_behind_green(choose: Choices, transfer: Transfer) -> _Spoiled:
    offset = choose.integer(transfer.red_bytes + 1, len(transfer.block) + 50)
    return _endless(transfer), _of(transfer, 0, offset, choose.octets(1, 40)), ()


def _green_before_red(choose: Choices, transfer: Transfer) -> _Spoiled:
    before = _endless(transfer)
    offset = choose.integer(0, before[-1].offset - 1)
    return before, _of(transfer, 4, offset, choose.octets(1, 40)), ()


_RED = pieces.maker(red=True, green=False)
_BOTH = pieces.maker(red=True, green=True)


@dataclass(frozen=True, slots=True)
class TransferRule:
    """One rule, and a way to break it within a transfer."""

    violation: Violation
    made: Maker[Transfer]
    spoil: Callable[[Choices, Transfer], _Spoiled]


TRANSFER_RULES = (
    TransferRule(
        Violation("RFC 5326 §3.2.1", "red data beyond the end of the red part"), _RED, _red_beyond
    ),
    TransferRule(
        Violation("RFC 5326 §3.2.1", "the red part ends a second time, elsewhere"),
        _RED,
        _ends_elsewhere,
    ),
    TransferRule(Violation("RFC 5326 §3.2.1", "the client service changes"), _BOTH, _other_client),
    TransferRule(
        Violation("RFC 5326 §3.2.1", "octets differ from those that came before"),
        _RED,
        _other_octets,
    ),
    TransferRule(
        Violation("RFC 5326 §3.2.1", "a checkpoint serial number comes again, for another scope"),
        _RED,
        _serial_again,
    ),
    TransferRule(
        Violation("RFC 5326 §3.2.1", "data beyond the end of the block"), _BOTH, _after_the_block
    ),
    TransferRule(
        Violation("RFC 5326 §3.2.1", "the block ends before green data that have come"),
        _BOTH,
        _block_ends_early,
    ),
    TransferRule(Violation("RFC 5326 §3.2.1", "data beyond 2^64 octets"), _RED, _past_64_bits),
    TransferRule(
        Violation("RFC 5326 §6.21", "red data behind green data"), _BOTH, _red_behind_green
    ),
    TransferRule(
        Violation("RFC 5326 §6.21", "green data before red data"), _RED, _green_before_red
    ),
)
"""What `nearly_transfers` breaks: it shows only against what came before."""


@strategy
def nearly_transfers(
    choose: Choices,
    *,
    session: Source[SessionId] = _SESSIONS,
    rules: Sequence[TransferRule] = TRANSFER_RULES,
) -> NearlyTransfer:
    """A transfer of which one segment breaks one rule, of `rules`, and no other.  Without this
    segment the transfer is right, if maybe not whole."""
    rule = choose.pick(rules)
    name = choose.draw(session)
    whole = rule.made(choose)
    whole = replace(
        whole,
        session=name,
        segments=tuple(replace(one, session=name) for one in whole.segments),
    )
    before, bad, after = rule.spoil(choose, whole)
    segments = (*before, bad, *after)
    return NearlyTransfer(replace(whole, segments=segments), len(before), rule.violation)
