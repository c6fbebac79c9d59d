"""LTP authentication (RFC 5327 §2.1): a layer between the engine and the link.

What leaves the engine is signed, and what arrives is verified and stripped before any session sees
it.  A header extension names ciphersuite and key, and a trailer extension, the last of its
segment, carries the authentication value: computed over every octet of the segment before it.

Segments are packed with both around them, and signed where they stand.  Those of a train that have
heads of one length are verified together: the octets around them move as one matrix (see
`stack.engines.ltp.trains`), and with AES-GMAC nothing is done for each (`stack.engines.ltp.gmac`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from stack.core.sansio import Entropy
from stack.core.train import Buffer, Train
from stack.engines.ltp.accepted import (
    AUTHENTICATION_TAG,
    AcceptedKeys,
    extension,
    header,
    overhead_bytes,
    trailer,
)
from stack.engines.ltp.ciphersuites import AES_GMAC, AuthKey
from stack.engines.ltp.envelope import COUNTS, Envelope, counts_at
from stack.engines.ltp.extensions import pack, segments, without
from stack.engines.ltp.trains import RUN_MIN, Octets
from stack.wire.ltp import encode_segment


class Authenticator:
    """Signs with one key, and accepts what any of some keys has signed."""

    def __init__(self, sending: AuthKey, accepting: Sequence[AuthKey], entropy: Entropy) -> None:
        """ValueError when `sending` cannot sign."""
        self._entropy = entropy
        self.change(sending, accepting)
        self.counters = dict.fromkeys(("signed", "verified", "unsigned", "forged"), 0)
        """Segments; `unsigned` and `forged` ones were dropped."""

    def change(self, sending: AuthKey, accepting: Sequence[AuthKey]) -> None:
        """Sign and accept with these from now on.  ValueError when `sending` cannot sign."""
        if sending.signer is None:
            raise ValueError("the private key is not known")
        self.state: Literal["keyed", "open", "shut"] = "keyed"
        """`keyed` as long as there are keys; `open`: without any, all passes as it is; `shut`:
        without any, nothing passes."""

        self._signer, self._sending = sending.signer, sending
        self._left = 0  # what is never to sign draws no salt
        self.overhead_bytes = overhead_bytes(sending)
        """Octets that signing adds to a segment."""

        self._accepted = AcceptedKeys(accepting)

    @property
    def is_ours(self) -> bool:
        """Whether it signs with a ciphersuite that our nodes alone have."""
        return self.state == "keyed" and self._sending.suite == AES_GMAC

    def let_go(self, state: Literal["open", "shut"]) -> None:
        """Have no key any more, until the next `change`."""
        self.state = state
        self._accepted = AcceptedKeys(())

    def _begin(self) -> None:
        """Sign with a new salt from now on."""
        salt = self._entropy(self._sending.salt_bytes)
        value = bytes(self._sending.value_bytes)
        self._signs = self._signer(salt)
        self._envelope = Envelope(header(self._sending, salt), trailer(self._sending) + value)
        self._left = self._sending.signs_max

    def envelope(self) -> Envelope:
        """What segments need around them for `sign`, until this is asked for again."""
        if self._left <= self._sending.signs_max // 2:
            self._begin()
        return self._envelope

    def sign(self, train: Train) -> Train:
        """The same train, each segment of which has the envelope around it, signed in place if its
        octets can be written.  Raises `OverflowError` for more than half of what a signer may sign
        since the envelope was asked for."""
        data, size, flow = train
        count = train.datagram_count
        if count > self._left:
            raise OverflowError("more segments than one salt may sign")
        self._left -= count
        self.counters["signed"] += count
        if memoryview(data).readonly:
            data = bytearray(data)
        view, value_bytes, at = memoryview(data), self._sending.value_bytes, 0
        if len(view) >= RUN_MIN * size:
            rows = _rows(data, size)
            self._signs.run(rows)
            at = rows.size
        for start in range(at, len(view), size):
            end = min(start + size, len(view))
            view[end - value_bytes : end] = self._signs.one(view[start : end - value_bytes])
        return Train(data, size, flow)

    def verify(self, train: Train) -> list[Train]:
        """What of a train is authentic, without the extensions; the rest is counted."""
        data, size, flow = train
        run = None if len(data) < RUN_MIN * size else self._verified_run(train)
        if run is None:
            return pack(self._each(train), flow)
        self.counters["verified"] += len(run)
        found = [Train(run.reshape(-1).data, run.shape[1], flow)]
        end = len(run) * size
        if end < len(data):
            found += pack(self._each(Train(memoryview(data)[end:], size, flow)), flow)
        return found

    def _each(self, train: Train) -> list[Buffer]:
        """The authentic segments of datagrams that are looked at one by one."""
        parts: list[Buffer] = []
        for datagram in train.datagrams():
            plain = self._plain(datagram)
            if plain is None:
                parts += self._segments(datagram)
            else:
                parts += plain
                self.counters["verified"] += 1
        return parts

    def _verified_run(self, train: Train) -> Octets | None:
        """The segments of full size without their extensions, in rows, if they are alike, and all
        just as `sign` makes them; else None."""
        rows = _rows(train.data, train.size)
        count, size = len(rows), train.size
        first = memoryview(train.data)[:size]
        try:
            cut = counts_at(first) + 1
            body = cut + 2 + first[cut + 1]
        except IndexError:
            return None
        if not _equal(rows[:, cut:body]) or not all(
            map(_signed_counts, set(rows[:, cut - 1].tobytes()))
        ):
            return None
        heads = _heads(rows, cut)
        if heads is None:
            return None
        named = bytes(first[cut:body])
        for checks, value_bytes, ending in self._accepted.named(named):
            value = size - value_bytes
            tail = value - len(ending)
            if tail < body or first[tail:value] != ending or not _equal(rows[:, tail:value]):
                continue
            if checks.run(rows[:, :value], rows[:, value:]):
                self._accepted.proven(named)
                plain: Octets = np.empty((count, cut + tail - body), np.uint8)
                plain[:, :cut] = heads
                plain[:, cut:] = rows[:, body:tail]
                return plain
        return None

    @property
    def judge(self) -> Callable[[memoryview], bool] | None:
        """`genuine`, while there is something to tell by."""
        return None if self.state == "open" else self.genuine

    def genuine(self, datagram: memoryview) -> bool:
        """Whether a datagram is one segment just as `sign` makes them; counts nothing."""
        return self._plain(datagram) is not None

    def _plain(self, datagram: memoryview) -> tuple[bytes] | None:
        """The segment of a datagram that is just as `sign` makes them, or None."""
        try:
            at = counts_at(datagram) + 1
            counts = datagram[at - 1]
            body = at + 2 + datagram[at + 1]
        except IndexError:
            return None
        if not _signed_counts(counts):
            return None
        head = bytes(datagram[at:body])
        for checks, value_bytes, ending in self._accepted.named(head):
            value = len(datagram) - value_bytes
            tail = value - len(ending)
            if tail < body or datagram[tail:value] != ending:
                continue
            if checks.one(datagram[:value], datagram[value:]):
                self._accepted.proven(head)
                plain = (datagram[: at - 1], bytes((counts - COUNTS,)), datagram[body:tail])
                return (b"".join(plain),)
        return None

    def _segments(self, datagram: memoryview) -> list[bytes]:
        """The authentic segments of any other datagram, however it is put together."""
        out: list[bytes] = []
        salts: list[bytes] = []
        for segment, octets in segments(datagram):
            if segment is None:
                self.counters["forged"] += 1
                continue
            marks = [one.value for one in segment.header if one.tag == AUTHENTICATION_TAG]
            if not marks or not segment.trailer or segment.trailer[-1].tag != AUTHENTICATION_TAG:
                self.counters["unsigned"] += 1
                continue
            value = segment.trailer[-1].value
            data = octets[: len(octets) - len(value)]
            if not self._signed(marks, data, value, salts):
                self.counters["forged"] += 1
                continue
            self.counters["verified"] += 1
            bare = dataclasses.replace(
                segment,
                header=without(segment.header, AUTHENTICATION_TAG),
                trailer=without(segment.trailer, AUTHENTICATION_TAG),
            )
            out.append(encode_segment(bare))
        return out

    def _signed(
        self, marks: Sequence[bytes], data: Buffer, value: bytes, salts: list[bytes]
    ) -> bool:
        """Whether a key that one of the header extensions names has signed, each of which counts
        once.  Who signs has one salt: of those of a datagram that are not known the first one is
        tried, which then is in `salts`, and no other."""
        for mark in dict.fromkeys(marks):
            head = extension(mark)
            if self._accepted.unproven(head):
                if salts not in ([], [head]):
                    continue
                salts[:] = [head]
            for checks, value_bytes, _ in self._accepted.named(head):
                if value_bytes == len(value) and checks.one(data, value):
                    self._accepted.proven(head)
                    return True
        return False


def _rows(data: Buffer, size: int) -> Octets:
    """The datagrams of full size in rows."""
    count = len(data) // size
    return np.frombuffer(data, np.uint8, count * size).reshape(count, size)


def _heads(rows: Octets, cut: int) -> Octets | None:
    """What segments have before `cut`, without the extensions in their counts: one row if all have
    the same.  None unless the counts end there, as those of the first do, so that the numbers
    before them (RFC 5326 §3.1) are as long."""
    octets = rows[:, :cut].tobytes()
    first = octets[:cut]
    if octets == first * len(rows):
        return np.frombuffer(first[:-1] + bytes((first[-1] - COUNTS,)), np.uint8)
    ends = rows[:, 1 : cut - 1] & 0x80
    if (ends != ends[0]).any():
        return None
    heads = rows[:, :cut].copy()
    heads[:, cut - 1] -= COUNTS
    return heads


def _equal(columns: Octets) -> bool:
    """Whether all rows are the same."""
    octets = columns.tobytes()
    return octets == octets[: columns.shape[1]] * len(columns)


def _signed_counts(counts: int) -> bool:
    """Whether there are extensions in header and trailer."""
    return counts & 0x0F > 0 < counts & 0xF0
