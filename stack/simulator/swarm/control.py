"""What somebody without keys makes of the LTP sessions that he hears: reports, acknowledgements,
cancellations and data that fit, in sessions of both sides of a link."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Final

from stack.core.errors import DecodeError
from stack.wire.ltp import (
    CLIENT_BP,
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
    decode_segment,
    encode_segment,
    session_octets,
)
from stack.wire.sdnv import encode_sdnv

SEEN_MAX: Final = 8
"""Sessions that he thinks of at a time: the latest ones."""

SERIALS_MAX: Final = 32
SERIAL_BITS: Final = 14
COMB_SEGMENTS: Final = 60
"""Segments of one octet in a datagram."""

NULL_SUITE: Final = 255
"""The ciphersuite whose key everybody knows (RFC 5327 §2.1)."""


@dataclass(slots=True)
class _Seen:
    """One session, as far as it was heard."""

    end: int = 0
    client_service: int = CLIENT_BP
    checkpoints: list[int] = field(default_factory=list)
    reports: list[int] = field(default_factory=list)
    header: tuple[Extension, ...] = ()
    trailer: tuple[Extension, ...] = ()
    """Of the segment that was heard last: authentication, if there is any."""


class Sessions:
    """The sessions of a link, of both its ends."""

    def __init__(self, engine: int, rng: random.Random) -> None:
        """`engine` is that of the end in whose name he sends."""
        self._engine = engine
        self._rng = rng
        self._seen: dict[SessionId, _Seen] = {}
        self._comb = self._foreign()
        self._comb_at = 0

    def read(self, octets: bytes) -> None:
        """A datagram goes by, in either direction."""
        try:
            segment, _ = decode_segment(octets)
        except DecodeError:
            return
        seen = self._seen.pop(segment.session, None) or _Seen()
        self._seen[segment.session] = seen
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        seen.header, seen.trailer = segment.header, segment.trailer
        if isinstance(segment, DataSegment):
            seen.end = max(seen.end, segment.offset + len(segment.data))
            seen.client_service = segment.client_service
            if segment.is_checkpoint:
                _keep(seen.checkpoints, segment.checkpoint_serial)
        elif isinstance(segment, ReportSegment):
            _keep(seen.reports, segment.report_serial)

    def forged(self, *, reports: bool) -> list[bytes]:
        """Something for some of them; `reports` says whether he claims what nobody has."""
        found = []
        for session, seen in list(self._seen.items())[-3:]:
            if session.engine == self._engine:
                segments = self._as_sender(session, seen)
            else:
                segments = self._as_receiver(session)
                if reports:
                    segments += [self._report(session, seen) for _ in range(2)]
            found += [encode_segment(self._marked(one, seen)) for one in segments]
        return found

    def _marked(self, segment: Segment, seen: _Seen) -> Segment:
        """Without authentication, with that of another segment, or as everybody can."""
        kind = self._rng.randrange(3)
        if kind == 0:
            return segment
        if kind == 1:
            return replace(segment, header=seen.header, trailer=seen.trailer)
        null = (Extension(0, bytes((NULL_SUITE,))),)
        return replace(segment, header=null, trailer=(Extension(0, bytes(10)),))

    def _serial(self, known: list[int]) -> int:
        if known and self._rng.random() < 0.6:
            return self._rng.choice(known)
        return self._rng.getrandbits(SERIAL_BITS) or 1

    def _as_receiver(self, session: SessionId) -> list[Segment]:
        """To the sender of a block, as if from its receiver."""
        rng = self._rng
        found: list[Segment] = [CancelAck(session=session, to_sender=True)]
        if rng.random() < 0.3:
            reason = rng.choice((0, 1, 2, 3, 4, 5, 200))
            found.append(CancelSegment(session=session, by_sender=False, reason=reason))
        return found

    def _report(self, session: SessionId, seen: _Seen) -> ReportSegment:
        rng, end = self._rng, seen.end
        serials = seen.checkpoints
        asked = rng.choice((0, serials[-1])) if serials else 0
        if rng.random() < 0.3 and end > 4:  # every other octet
            claims = tuple(Claim(at, 1) for at in range(0, min(end, 400) - 1, 2))
        else:
            claims = (Claim(0, end),) if end else ()
        return ReportSegment(
            session=session,
            report_serial=self._serial([]),
            checkpoint_serial=asked,
            upper=end,
            lower=0,
            claims=claims,
        )

    def _as_sender(self, session: SessionId, seen: _Seen) -> list[Segment]:
        """To the receiver of a block, as if from its sender."""
        rng = self._rng
        found: list[Segment] = [
            ReportAck(session=session, report_serial=self._serial(seen.reports)),
            CancelAck(session=session, to_sender=False),
        ]
        if rng.random() < 0.3:
            found.append(CancelSegment(session=session, by_sender=True, reason=rng.randrange(6)))
        kinds = (SegmentType.RED, SegmentType.RED_CHECKPOINT, SegmentType.RED_END_BLOCK)
        kind = rng.choice((*kinds, SegmentType.GREEN))
        data = rng.randbytes(rng.choice((1, 100)))
        asks = kind in (SegmentType.RED_CHECKPOINT, SegmentType.RED_END_BLOCK)
        found.append(
            DataSegment(
                session=session,
                kind=kind,
                client_service=seen.client_service,
                offset=rng.choice((0, seen.end, rng.randrange(seen.end + 1))),
                data=data,
                checkpoint_serial=self._serial(seen.checkpoints) if asks else 0,
                report_serial=self._serial(seen.reports) if asks and rng.random() < 0.5 else 0,
            )
        )
        return found

    # ---- a session of his own ------------------------------------------------------------

    def _foreign(self) -> SessionId:
        return SessionId(self._engine, self._rng.getrandbits(32))

    def combed(self) -> list[bytes]:
        """More of a session in which every other octet is missing, and questions about it."""
        rng = self._rng
        if rng.random() < 0.002:
            self._comb, self._comb_at = self._foreign(), 0
        head = (
            b"\x00" + session_octets(self._comb) + b"\x00\x01"
        )  # red data, for the Bundle Protocol
        found = []
        for _ in range(2):
            crumbs = []
            for _ in range(COMB_SEGMENTS):
                self._comb_at += 2
                crumbs.append(b"%b%b\x01x" % (head, encode_sdnv(self._comb_at)))
            found.append(b"".join(crumbs))
        for _ in range(2):
            asks = DataSegment(
                session=self._comb,
                kind=SegmentType.RED_CHECKPOINT,
                client_service=CLIENT_BP,
                offset=self._comb_at,
                data=b"x",
                checkpoint_serial=rng.getrandbits(SERIAL_BITS) or 1,
            )
            found.append(encode_segment(asks))
        return found


def _keep(numbers: list[int], one: int) -> None:
    if one not in numbers:
        numbers.append(one)
        del numbers[:-SERIALS_MAX]
