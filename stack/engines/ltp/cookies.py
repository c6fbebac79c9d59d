"""LTP cookies (RFC 5327 §2.2): a layer that keeps off whoever cannot read the link.

Each session of ours has a cookie, which all its segments carry in a header extension, those of the
peer too; a session of the peer's has the one that the peer gives it, if it gives one.  Segments
with another cookie, or without where one is due, are dropped.  Whoever reads the link reads the
cookies: against him there is authentication.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections import OrderedDict
from typing import Final

from stack.core.sansio import Entropy
from stack.core.train import Buffer, Train
from stack.engines.ltp.driver import Shim
from stack.engines.ltp.extensions import Layer, pack, segments, without
from stack.wire.ltp import Segment, SegmentType, SessionId, encode_segment
from stack.wire.sdnv import decode_sdnv

COOKIE_TAG: Final = 0x01
"""Extension tag (RFC 5327 §2.2)."""

COOKIE_BYTES: Final = 8
"""Of ours: 64 bits to guess, beside those of the numbers of session and checkpoint."""

COOKIE_BYTES_MAX: Final = 16
"""Of a peer's, and of one of ours that it has extended; a longer one is a wrong one."""

OVERHEAD_BYTES: Final = 2 + COOKIE_BYTES_MAX
"""Octets that a cookie adds to a segment at most: 8 fewer as long as the peer extends none."""

SESSIONS_MAX: Final = 8192
"""Of the peer's, whose cookies are kept; the oldest are forgotten, and may then have a new one."""

_ANSWERS: Final = frozenset(
    (SegmentType.REPORT, SegmentType.CANCEL_BY_RECEIVER, SegmentType.CANCEL_ACK_TO_SENDER)
)
"""What the receiver of a session sends."""


class Cookies(Layer):
    """Puts cookies into what leaves, and demands them of what arrives.

    A peer that has never returned a cookie may not know the extension, and passes it over (RFC 5326
    §3.1.4): as long as this is so, what comes without is taken.  From the first cookie that it
    returns on it must do so always.
    """

    def __init__(self, entropy: Entropy, inner: Shim | None = None) -> None:
        super().__init__(inner)
        self._secret = entropy(32)
        self._kept: OrderedDict[tuple[bool, SessionId], bytes] = OrderedDict()
        self.returned = False
        """The peer has returned a cookie of ours: it knows them."""

        self._engine, self._first, self._last = -1, 0, -1
        """The sessions that were begun here: their numbers count up (RFC 5326 §9.1)."""

        self._counters = dict.fromkeys(("good", "absent", "missing", "wrong"), 0)

    def counters(self) -> dict[str, int]:
        """Segments that arrived: with a good cookie, without one and none was due; dropped as one
        was due, dropped for a wrong one."""
        return dict(self._counters)

    def _down(self, train: Train) -> list[Train]:
        return pack([self._marked(datagram) for datagram in train.datagrams()], train.flow)

    def _up(self, trains: list[Train]) -> list[Train]:
        return [
            passed
            for train in trains
            for passed in pack(
                [segment for one in train.datagrams() for segment in self._passing(one)],
                train.flow,
            )
        ]

    def _marked(self, segment: memoryview) -> Buffer:
        """A segment of the engine's with the cookie that its session has, if any: behind what it
        has in its header, which is of a layer below and comes before it."""
        engine, at = decode_sdnv(segment, 1)
        number, at = decode_sdnv(segment, at)
        kind = segment[0] & 0x0F
        if kind < SegmentType.REPORT:
            self._first = min(self._first, number) if engine == self._engine else number
            self._engine, self._last = engine, max(self._last, number)
        cookie = self._cookie(kind not in _ANSWERS, SessionId(engine, number))
        if not cookie:
            return segment
        envelope = self.envelope()
        behind = at + 1 + (0 if envelope is None else len(envelope.header))
        parts = (
            segment[:at],
            bytes((segment[at] + 0x10,)),
            segment[at + 1 : behind],
            bytes((COOKIE_TAG, len(cookie))),
            cookie,
            segment[behind:],
        )
        return b"".join(parts)

    def _passing(self, datagram: memoryview) -> list[Buffer]:
        """The segments of a datagram that pass, without cookies."""
        out: list[Buffer] = []
        for segment, octets in segments(datagram):
            if segment is None:
                out.append(octets)  # the engine says what is wrong with it
                continue
            verdict = self._judge(segment, ours=octets[0] & 0x0F in _ANSWERS)
            self._counters[verdict] += 1
            if verdict == "good":
                bare = dataclasses.replace(segment, header=without(segment.header, COOKIE_TAG))
                out.append(encode_segment(bare))
            elif verdict == "absent":
                out.append(octets)
        return out

    def _judge(self, segment: Segment, *, ours: bool) -> str:
        """Which of the counters a segment is for; remembers a cookie that is new.  A good one
        begins with that of its session, or is the first there; a longer one replaces it."""
        due = self._cookie(ours, segment.session)
        found = [one.value for one in segment.header if one.tag == COOKIE_TAG]
        if not found:
            return "missing" if due and (self.returned or not ours) else "absent"
        cookie = found[0]
        if (
            len(found) > 1
            or len(cookie) > COOKIE_BYTES_MAX
            or not hmac.compare_digest(cookie[: len(due)], due)
        ):
            return "wrong"
        self.returned |= ours and self._begun(segment.session)
        if cookie != due:
            self._kept[ours, segment.session] = cookie
            if len(self._kept) > SESSIONS_MAX:
                self._kept.popitem(last=False)
        return "good"

    def _cookie(self, ours: bool, session: SessionId) -> bytes:
        """That which a session has now, empty for none.  Ours are computed, and cost no memory.

        A session of an earlier life has what its answers have: it hears that it is over.
        """
        kept = self._kept.get((ours, session), b"")
        if kept or not (ours and self._begun(session)):
            return kept
        name = f"{session.engine}.{session.number}".encode()
        return hashlib.blake2b(name, key=self._secret, digest_size=COOKIE_BYTES).digest()

    def _begun(self, session: SessionId) -> bool:
        return session.engine == self._engine and self._first <= session.number <= self._last
